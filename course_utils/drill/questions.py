"""What a drill asks: claims to judge, numbers to predict, cards to answer aloud."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, isfinite
from pathlib import Path
from random import Random
from typing import Literal, TypeVar

from course_utils.data.files import Text, read_table
from course_utils.drill.progress import Grade, Progress
from course_utils.evidence.claims import (
    INTERVIEW_FOLDER,
    Claim,
    Expectation,
    Verdict,
    checked,
    load_sources,
    written_form,
)
from course_utils.evidence.coverage import Seed
from course_utils.evidence.questions import (
    Card,
    NumberBehind,
    SpokenCard,
    number_behind,
    spoken_card,
)
from course_utils.evidence.sentences import Evidence, references_of, render
from course_utils.places import PROJECT_ROOT

CHOICES: Mapping[Verdict, str] = {  # the same four each time, with what they mean
    "right": "it holds as it is said",
    "imprecise": "the direction holds; a number, a reason or a limit is off",
    "depends": "it holds under a condition that it does not name",
    "wrong": "it does not hold, or nobody has shown it",
}
_LESSON_TOPICS = {  # of a claim that no card rests on
    "01": "quantization",
    "02": "lora",
    "03": "training",
    "04": "training",
    "05": "behaviour",
    "06": "evaluation",
    "07": "export",
    "08": "lora",
    "09": "lora",
    "10": "preference",
    "11": "foundations",
    "12": "serving",
}
ANY_LEVEL = 0
IN_THE_HEAD = 0.02  # relative error that arithmetic in the head may have
NEAR = 0.2  # relative error of an estimate that is partly right


@dataclass(frozen=True, kw_only=True)
class Item:
    """Anything that is asked; its id is what progress keeps it by."""

    id: str
    topics: frozenset[str]
    level: int  # 1 to 3, or ANY_LEVEL

    @property
    def family(self) -> str:
        """Common to items of which one gives the answers of the others away."""
        return self.id


@dataclass(frozen=True, kw_only=True)
class Spot(Item):
    """A claim to judge: which verdict has it earned?"""

    claim: str
    verdict: Verdict
    right: str
    numbers: tuple[NumberBehind, ...]  # those that `right` states
    further: tuple[NumberBehind, ...]  # others of the claim
    place: str  # where it is settled

    def grade(self, said: Verdict) -> Grade:
        """How well one of CHOICES meets the verdict.

        Missed: one that is not right fooled the learner, or a right one was doubted.
        Partly: it was doubted, for another reason.
        """
        if said == ("wrong" if self.verdict == "not shown" else self.verdict):
            return Grade.KNEW
        return Grade.MISSED if "right" in (said, self.verdict) else Grade.PARTLY


@checked
class Asked:
    """How a value of the bank is asked for, in data/interview/predictions.yaml."""

    ask: Text
    level: Literal[1, 2, 3]
    hint: str = ""  # what a calculation starts from


@dataclass(frozen=True, kw_only=True)
class Prediction(Item):
    """A number to say before it is shown."""

    ask: str
    hint: str
    unit: str
    expectation: Expectation
    value: float
    number: NumberBehind
    claim: str  # that the value belongs to
    right: str
    place: str

    @property
    def family(self) -> str:
        return self.number.claim

    def grade(self, said: float) -> Grade:
        """Knew within the bank's own tolerance, or as near as the head reckons.

        A count below a thousand is exact. Partly for a fifth beside it.
        """
        if self.expectation.allows(said):
            return Grade.KNEW
        low, high = self.expectation.bounds()
        low, high = min(low, self.value), max(high, self.value)
        nearest = min(max(said, low), high)
        error = abs(said - nearest) / max(abs(nearest), 1e-12)
        counted = float(self.value).is_integer() and abs(self.value) < 1000
        if error <= IN_THE_HEAD and not counted:
            return Grade.KNEW
        return Grade.PARTLY if error <= NEAR else Grade.MISSED


@dataclass(frozen=True, kw_only=True)
class Spoken(Item):
    """A card to answer aloud."""

    card: Card
    said: SpokenCard
    places: tuple[str, ...]  # where its numbers are settled


def grade_of(ticks: Sequence[bool]) -> Grade:
    """Of points made: knew from four in five on, partly from two on."""
    share = sum(ticks) / len(ticks)
    if share >= 0.8:
        return Grade.KNEW
    return Grade.PARTLY if share >= 0.4 else Grade.MISSED


Asks = TypeVar("Asks", bound=Item)


def spots(
    claims: Iterable[Claim],
    evidence: Evidence,
    topics: Mapping[str, frozenset[str]],
) -> list[Spot]:
    """Claims to judge; those whose numbers are not recorded yet are left out."""
    return [
        Spot(
            id=f"claim:{claim.id}",
            topics=topics.get(claim.id, frozenset()),
            level=ANY_LEVEL,
            claim=claim.claim,
            verdict=claim.verdict,
            right=render(claim.right, evidence, written_form),
            numbers=_numbers(claim, evidence, stated=True),
            further=_numbers(claim, evidence, stated=False),
            place=place_of(claim),
        )
        for claim in claims
        if _recorded(claim, evidence)
    ]


def _recorded(claim: Claim, evidence: Evidence) -> bool:
    named = references_of(claim.right)
    return all(key in evidence.get(name, {}) for name, key in named)


def _numbers(
    claim: Claim, evidence: Evidence, *, stated: bool
) -> tuple[NumberBehind, ...]:
    named = references_of(claim.right)
    return tuple(
        number_behind(claim.id, key, evidence)
        for key in claim.values
        if key in evidence.get(claim.id, {}) and ((claim.id, key) in named) == stated
    )


@cache
def load_predictions(
    path: Path = INTERVIEW_FOLDER / "predictions.yaml",
) -> dict[str, Asked]:
    """How values are asked for, by `C009.nf4_gb`; raises FaultyData."""
    return read_table(path, Asked)


def predictions(
    asked: Mapping[str, Asked],
    claims: Mapping[str, Claim],
    evidence: Evidence,
    topics: Mapping[str, frozenset[str]],
) -> list[Prediction]:
    """Numbers to predict; those that are not recorded yet are left out."""
    items = []
    for name, entry in asked.items():
        claim_id, _, key = name.partition(".")
        claim, value = claims[claim_id], evidence.get(claim_id, {}).get(key)
        if value is None or not _recorded(claim, evidence):
            continue
        items.append(
            Prediction(
                id=f"prediction:{name}",
                topics=topics.get(claim_id, frozenset()),
                level=entry.level,
                ask=entry.ask,
                hint=entry.hint,
                unit=claim.values[key].unit,
                expectation=claim.values[key],
                value=value,
                number=number_behind(claim_id, key, evidence),
                claim=claim.claim,
                right=render(claim.right, evidence, written_form),
                place=place_of(claim),
            )
        )
    return items


def can_be_predicted(expectation: Expectation, value: float) -> bool:
    """Whether the bank's bounds say something: no wider than the value is large."""
    low, high = expectation.bounds()
    return isfinite(low) and isfinite(high) and high - low <= max(abs(value), 1e-5)


def spoken_items(
    cards: Iterable[Card], claims: Mapping[str, Claim], evidence: Evidence
) -> list[Spoken]:
    """Cards to answer; those whose numbers are not recorded yet are left out."""
    return [
        Spoken(
            id=f"card:{card.id}",
            topics=frozenset({card.topic}),
            level=card.level,
            card=card,
            said=spoken_card(card, evidence),
            places=tuple(dict.fromkeys(place_of(claims[c]) for c in card.rests_on())),
        )
        for card in cards
        if all(key in evidence.get(name, {}) for name, key in card.behind())
    ]


def topics_of_claims(
    claims: Mapping[str, Claim], cards: Iterable[Card], seeds: Mapping[str, Seed]
) -> dict[str, frozenset[str]]:
    """By claim the topics of the cards that rest on it.

    Without a card those of the questions that make it, else that of its lesson.
    """
    by_card: dict[str, set[str]] = {}
    for card in cards:
        for claim_id in card.rests_on():
            by_card.setdefault(claim_id, set()).add(card.topic)
    return {
        name: frozenset(by_card.get(name) or _asked_topics(claim, seeds))
        for name, claim in claims.items()
    }


def _asked_topics(claim: Claim, seeds: Mapping[str, Seed]) -> set[str]:
    places = [re.sub(r"\W+", "-", part.strip()) for part in claim.seed.split(",")]
    found = {str(seeds[place].topic) for place in places if place in seeds}
    lesson = claim.notebook.removeprefix("proofs/")
    return found or {_LESSON_TOPICS[lesson]} if lesson in _LESSON_TOPICS else found


def place_of(claim: Claim) -> str:
    """Where a claim is settled, as a reader finds it: notebook and cell, or sources.

    Cells are numbered as Jupyter does when all are run.
    """
    if claim.notebook == "formulas":
        return "course_utils/evidence/formulas"
    folder, _, number = claim.notebook.rpartition("/")
    found = sorted((PROJECT_ROOT / "notebooks" / folder).glob(f"{number}_*.ipynb"))
    name = str(found[0].relative_to(PROJECT_ROOT)) if found else claim.notebook
    if found and (cell := _recording_cell(found[0], claim.id)):
        return f"{name}, cell [{cell}]"
    known = load_sources()
    read = (f"{known[c.key].title}, {c.where}" for c in claim.sources if c.key in known)
    return "; ".join(read) or name


def _recording_cell(notebook: Path, claim_id: str) -> int:
    """The number of the cell that records a claim; 0 where none does."""
    wanted = re.compile(rf'record\(\s*"{claim_id}"')
    found = (n for n, cell in enumerate(_cells(notebook), 1) if wanted.search(cell))
    return next(found, 0)


@cache
def _cells(notebook: Path) -> list[str]:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    code = (cell for cell in content["cells"] if cell["cell_type"] == "code")
    return ["".join(cell["source"]) for cell in code]


def chosen(items: Iterable[Asks], topic: str = "", level: int = 0) -> list[Asks]:
    """Items of a topic and a level; empty and 0 mean any, as an item's own level."""
    return [
        item
        for item in items
        if (not topic or topic in item.topics)
        and (not level or item.level in (ANY_LEVEL, level))
    ]


def next_up(items: Iterable[Asks], progress: Progress, seed: int = 0) -> list[Asks]:
    """What is to be asked now: what is due, the longest first, then what is new.

    The order of new ones is drawn by `seed` and stays while some of them are learnt.
    Of a family only the first is asked, since it gives the others away.
    """
    items = list(items)
    due = [item for item in items if progress.is_due(item.id)]
    new = [item for item in items if progress.is_new(item.id)]
    due.sort(key=lambda item: progress.items[item.id].due)
    new.sort(key=lambda item: Random(f"{seed} {item.id}").random())
    first = {item.family: item for item in reversed(due + new)}
    return [item for item in due + new if first[item.family] is item]


def fooled_by(items: Iterable[Spot], progress: Progress) -> list[tuple[Spot, int]]:
    """Claims that fooled a learner, with how often; the worst first."""
    kept = [(item, progress.items.get(item.id)) for item in items]
    missed = [(item, memory.missed) for item, memory in kept if memory]
    return sorted((pair for pair in missed if pair[1]), key=lambda pair: -pair[1])


_BARE = ("ratio", "probability", "share", "relative", "of the")


def unit_shown(unit: str) -> str:
    """A unit as it is asked for; empty where a number needs none beside it."""
    return "" if unit.startswith(_BARE) else unit.partition(" (")[0]


_NUMBER = re.compile(
    r"^(?:about|~|≈|=)?\s*(?P<minus>[-−])?\s*(?P<digits>\d[\d,_ ]*)?(?P<part>\.\d+)?"
    r"(?:e(?P<power>[-+−]?\d+))?\s*(?P<rest>[^\d.,]*)$",
    re.IGNORECASE,
)
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "k": 1e3, "m": 1e6}


def number_said(text: str, unit: str) -> float:
    """A number as people type it: `42 million`, `4.2e7`, `58 %`, `6 GB`, `~5`.

    `unit` is the one that is asked for. Percent are turned into its share.

    Raises:
        ValueError: If it is no number or of another unit; the message says what is
            expected.
    """
    found = _NUMBER.match(text.strip())
    if not found or not (found["digits"] or found["part"]):
        raise ValueError(f"{text.strip()!r} is no number. Type one, such as 6.03.")
    digits = _whole(found["digits"] or "0")
    power = (found["power"] or "0").replace("−", "-")
    value = float(f"{digits}{found['part'] or ''}e{power}")
    value = -value if found["minus"] else value
    return _in_unit(value, found["rest"].strip(), unit)


def _whole(digits: str) -> str:
    """Digits without what groups them in threes; ValueError for a decimal comma."""
    groups = re.split(r"[,_ ]", digits.strip())
    if any(len(group) != 3 for group in groups[1:]):
        raise ValueError(f"{digits!r} can be read in two ways. Write decimals as 6.03.")
    return "".join(groups)


def _in_unit(value: float, rest: str, unit: str) -> float:
    word, _, told = rest.partition(" ")
    if word.lower() in _SCALES and not (word in "kmM" and unit.lower() == word.lower()):
        value, rest = value * _SCALES[word.lower()], told.strip()
    share = unit.startswith(("share", "probability", "of the"))
    if rest in ("%", "percent"):
        if not share and "percent" not in unit:
            raise ValueError(f"Percent were not asked for. Type a number of {unit}.")
        return value / 100 if share else value
    if rest and not unit.lower().startswith(rest.lower().rstrip("s.")):
        raise ValueError(f"{rest!r} is not the unit. Type a number of {unit}.")
    if share and value > 1 and not rest:
        raise ValueError(f"{value:g} is more than all of it. Type 0.58, or 58 %.")
    return value if abs(value) < inf else inf

"""Interview questions: a hook, an answer to speak, the trap, what is asked next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from course_utils import CourseError
from course_utils.data.files import Text, read_tables
from course_utils.evidence.claims import (
    INTERVIEW_FOLDER,
    checked,
    load_claims,
    spoken_form,
)
from course_utils.evidence.sentences import (
    Evidence,
    Reference,
    holds,
    parsed,
    references_of,
    render,
    seconds_to_say,
    values_of,
    without_references,
)

Topic = Literal[
    "project",
    "memory",
    "quantization",
    "lora",
    "data",
    "training",
    "evaluation",
    "behaviour",
    "export",
    "design",
    "preference",
    "foundations",
    "serving",
]
# Digits that belong to a name. Every other digit in a card must be a reference.
_NAMES = re.compile(
    r"Llama-\d(?:\.\d)?-\d+B|Llama-\d-\d+B|Llama-\d(?:\.\d)?|Mistral-7B|Qwen2\.5-[\d.]+B"
    r"|Qwen2\.5|SmolLM2-135M|SmolLM2|GPT-\d|NF4|FP4|INT[48]|bf16|fp(?:16|32|8)|LLM\.int8"
    r"|T4|P100|A100|H100|IA3|AdamW8bit|\b(?:4|8|16|32)-bit|ARC-Easy|1\.58-bit"
    r"|Q\d_(?:[01]|K(?:_[SML])?)"  # types of GGUF
)
_FEW = "two|three|four|five|six|seven|eight|nine|ten"
_NUMBER_WORDS = re.compile(
    r"\b(?:eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
    r"|hundred|thousand|million|billion|trillion"
    rf"|(?:{_FEW})(?: times| bytes?| bits?| percent| points?| nats?| GB| GiB| seconds?"
    rf"| minutes?| hours?| epochs?|-fold| of (?:{_FEW}))"
    r"|half an? \w+|a (?:third|quarter|fifth|tenth)"
    r"|(?:two|three) (?:thirds|quarters))\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r'"[^"]*"|“[^”]*”')  # a wrong claim, in the words of its author


@checked
class Trap:
    """What a weak answer says, and why it is wrong."""

    says: Text
    because: Text


@checked
class FollowUp:
    """What is asked next, and the point that answers it."""

    ask: Text
    point: Text


@checked
class Card:
    """One interview question. Its numbers are references such as `{C009.nf4_gb}`."""

    id: str = ""  # its key in the bank: a slug that never changes
    lesson: str = ""  # the stem of its file, `01`, or `10_rewards` for a second one
    topic: Topic
    level: Literal[1, 2, 3]  # asked of everyone, of who has trained a model, of seniors
    kind: Literal["concept", "calculation", "debugging", "design", "coding"]
    question: Text
    hook: Text  # ten seconds that can stand alone
    answer: Text  # goes on after the hook; both in a minute
    numbers: tuple[Text, ...] = ()  # behind the answer: shown, not said
    rubric: Annotated[tuple[Text, ...], Field(min_length=3, max_length=5)]
    trap: Trap
    followups: tuple[FollowUp, FollowUp]
    holds: tuple[str, ...] = ()  # what its sentences assert about recorded values
    seeds: Mapping[str, Literal["full", "part"]] = Field(default_factory=dict)
    claims: tuple[str, ...] = ()  # further claims that it rests on

    def __post_init__(self) -> None:
        for predicate in self.holds:
            parsed(predicate)

    def spoken(self) -> str:
        """What is said before anybody asks on."""
        return f"{self.hook} {self.answer}"

    def texts(self) -> list[str]:
        """All that a reader is shown of it, references not filled."""
        asked = [text for f in self.followups for text in (f.ask, f.point)]
        first = [self.question, self.hook, self.answer, *self.rubric]
        return [*first, self.trap.says, self.trap.because, *asked]

    def behind(self) -> list[Reference]:
        """(claim id, key) of each number said, then of those behind the answer."""
        said = sorted(set().union(*map(references_of, self.texts())))
        more = [(name[:4], name[5:]) for name in self.numbers]
        return said + [reference for reference in more if reference not in said]

    def rests_on(self) -> list[str]:
        """Ids of all claims behind it."""
        held = set().union(*map(values_of, self.holds))
        return sorted({c for c, _ in held.union(self.behind())}.union(self.claims))

    def typed_numbers(self) -> list[str]:
        """Numbers that are typed instead of referred to; must be empty.

        What stands in quotation marks is the wrong claim, in its author's words.
        """
        texts = [text for text in self.texts() if text not in (self.trap.says,)]
        bare = _QUOTED.sub("", without_references(" ".join(texts)))
        bare = _NAMES.sub("", bare.replace(self.question, ""))
        return re.findall(r"\S*\d\S*", bare) + _NUMBER_WORDS.findall(bare)


@cache
def load_cards(folder: Path = INTERVIEW_FOLDER / "cards") -> dict[str, Card]:
    """The cards by id, in the order of the lessons; raises FaultyData."""
    return {
        key: replace(card, id=key, lesson=lesson)
        for key, (card, lesson) in read_tables(folder, Card).items()
    }


@dataclass(frozen=True)
class SpokenCard:
    """A card with its numbers filled in, as they are said."""

    card: Card
    hook: str
    answer: str
    rubric: tuple[str, ...]
    trap: Trap
    followups: tuple[FollowUp, ...]
    numbers: tuple[NumberBehind, ...]

    @property
    def seconds(self) -> float:
        """Of hook and answer."""
        return seconds_to_say(f"{self.hook} {self.answer}")


@dataclass(frozen=True)
class NumberBehind:
    """A number behind an answer: what it is, how it is written, where it is from."""

    what: str
    text: str  # with its unit
    kind: str
    claim: str
    place: str  # key of the notebook that records it


def spoken_card(card: Card, evidence: Evidence) -> SpokenCard:
    """A card as it is said; KeyError if one of its numbers is not recorded."""

    def said(text: str) -> str:
        return render(text, evidence, spoken_form).replace("%", " percent")

    return SpokenCard(
        card=card,
        hook=said(card.hook),
        answer=said(card.answer),
        rubric=tuple(map(said, card.rubric)),
        trap=Trap(says=said(card.trap.says), because=said(card.trap.because)),
        followups=tuple(
            FollowUp(ask=said(f.ask), point=said(f.point)) for f in card.followups
        ),
        numbers=tuple(
            number_behind(*reference, evidence) for reference in card.behind()
        ),
    )


def number_behind(claim_id: str, key: str, evidence: Evidence) -> NumberBehind:
    """A value of the bank as it is written; KeyError if it is not recorded."""
    claim = load_claims()[claim_id]
    value = claim.values[key]
    text = f"{{{claim_id}.{key}}}"
    return NumberBehind(
        what=key.replace("_", " "),
        text=f"{render(text, evidence, lambda *_: value.show)} {value.unit}",
        kind=value.kind if value.profile is None else f"measured, {value.profile}",
        claim=claim_id,
        place=claim.notebook,
    )


def broken(card: Card, evidence: Evidence) -> list[str]:
    """Those assertions of a card that are false of recorded values."""
    return [predicate for predicate in card.holds if not holds(predicate, evidence)]


def cards_of(lesson: str) -> list[Card]:
    """The cards of a lesson such as `01`; CourseError if the bank has none."""
    found = [card for card in load_cards().values() if card.lesson == lesson]
    if not found:
        there = sorted({card.lesson for card in load_cards().values()})
        raise CourseError(
            f"No card is of lesson {lesson!r}; there are cards of {', '.join(there)}. "
            f"Write data/interview/cards/{lesson}.yaml, or name one of these."
        )
    return found

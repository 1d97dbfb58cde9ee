"""How much of the interview sources the bank settles, and every fault of the bank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from course_utils.data.files import Text, read_table
from course_utils.evidence.claims import (
    INTERVIEW_FOLDER,
    Claim,
    checked,
    load_claims,
    load_sources,
)
from course_utils.evidence.questions import Card, Topic, broken, load_cards, spoken_card
from course_utils.evidence.sentences import (
    Evidence,
    Reference,
    holds,
    references_of,
    spoken_words,
    values_of,
)

CLAIMS_IN_THE_SOURCES = 180
SECONDS, HOOK_WORDS, NUMBERS = 60, 25, 4  # at most, of hook and answer together
_BEST_FIRST = ("full", "part", "none")  # extents to which a question is answered
LEAST_SECONDS = 25  # a shorter answer leaves out what the rubric asks


@checked
class Seed:
    """A question of the interview sources; its key says where it stands."""

    asks: Text
    topic: Topic
    lesson: Text  # that settles it, or will


@cache
def load_seeds(path: Path = INTERVIEW_FOLDER / "seeds.yaml") -> dict[str, Seed]:
    """The questions of the sources by id; raises FaultyData."""
    return read_table(path, Seed)


@dataclass(frozen=True)
class Coverage:
    """What of the sources the bank settles."""

    full: tuple[str, ...]  # ids of questions
    part: tuple[str, ...]
    none: tuple[str, ...]
    claims: Mapping[str, int]  # number by kind
    in_the_sources: int = CLAIMS_IN_THE_SOURCES

    def __str__(self) -> str:
        asked = len(self.full) + len(self.part) + len(self.none)
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.claims.items()))
        return (
            f"Of {asked} questions in the interview sources {len(self.full)} are "
            f"answered in full, {len(self.part)} in part, {len(self.none)} not yet; of "
            f"{self.in_the_sources} claims {sum(self.claims.values())} are settled "
            f"({kinds})"
        )


def coverage() -> Coverage:
    """Computed from the bank as it is."""
    best: dict[str, str] = dict.fromkeys(load_seeds(), "none")
    for card in load_cards().values():
        for seed, extent in card.seeds.items():
            best[seed] = min(best[seed], extent, key=_BEST_FIRST.index)

    def of(extent: str) -> tuple[str, ...]:
        return tuple(seed for seed, found in best.items() if found == extent)

    asked = [c for c in load_claims().values() if c.seed != "none"]
    kinds = Counter[str](claim.kind for claim in asked)
    return Coverage(of("full"), of("part"), of("none"), kinds)


def faults_of(card: Card, evidence: Evidence) -> list[str]:
    """Everything that is wrong with a card, a sentence each."""
    faults = [f"a typed number: {found}" for found in card.typed_numbers()]
    faults += [
        f"no such source question: {s}" for s in card.seeds.keys() - load_seeds()
    ]
    named = card.behind() + [v for p in card.holds for v in values_of(p)]
    if unknown := _unknown(card.rests_on(), named, evidence):
        return [*faults, *unknown]
    faults += [
        f"false of the values: {predicate}" for predicate in broken(card, evidence)
    ]
    return faults + _too_much(card, evidence)


def _unknown(
    claim_ids: Iterable[str], values: Iterable[Reference], evidence: Evidence
) -> list[str]:
    """Claims and values that the bank lacks, and values that are not recorded."""
    claims = load_claims()
    missing = [f"no such claim: {name}" for name in claim_ids if name not in claims]
    for name, key in dict.fromkeys(values):
        if name in claims and key not in claims[name].values:
            missing.append(f"no such value: {name}.{key}")
        elif name in claims and key not in evidence.get(name, {}):
            missing.append(f"not recorded: {name}.{key}")
    return missing


def _too_much(card: Card, evidence: Evidence) -> list[str]:
    said = spoken_card(card, evidence)
    words, seconds = spoken_words(said.hook), said.seconds
    numbers = len(references_of(card.spoken()))
    faults = []
    if words > HOOK_WORDS:
        faults.append(f"the hook has {words} words, at most {HOOK_WORDS} are heard")
    if not LEAST_SECONDS <= seconds <= SECONDS:
        allowed = f"{LEAST_SECONDS} to {SECONDS}"
        faults.append(f"hook and answer take {seconds:.0f} s, expected {allowed}")
    if numbers > NUMBERS:
        faults.append(f"{numbers} numbers are said, at most {NUMBERS} are kept")
    return faults


def faults_of_claim(claim: Claim, evidence: Evidence) -> list[str]:
    """Everything that is wrong with a claim but its values' bounds."""
    named = references_of(claim.right).union(*map(values_of, claim.holds))
    if faults := _unknown([], named, evidence):
        return faults
    faults = [f"false: {p}" for p in claim.holds if not holds(p, evidence)]
    sources = load_sources()
    faults += [
        f"no such source: {c.key}" for c in claim.sources if c.key not in sources
    ]
    if claim.kind == "read" and not claim.sources:
        faults.append("read nowhere: a claim without values needs a source")
    return faults

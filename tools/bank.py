"""The interview bank at the command line: cards with their faults, what is covered."""

from __future__ import annotations

from publish import renew_formulas

from course_utils import CourseError
from course_utils.evidence.cards import plain
from course_utils.evidence.claims import load_claims
from course_utils.evidence.coverage import coverage, faults_of, faults_of_claim
from course_utils.evidence.ledger import load_evidence
from course_utils.evidence.questions import Card, load_cards, spoken_card


def card(slugs: list[str]) -> int:
    """Show cards with seconds, numbers and faults; all faults without a name."""
    renew_formulas()
    bank = load_cards()
    if unknown := [slug for slug in slugs if slug not in bank]:
        raise CourseError(f"No card {', '.join(unknown)}; there are {', '.join(bank)}.")
    faulty = sum(_show(bank[slug]) for slug in slugs)
    if not slugs:
        faulty = sum(map(_faults_told, bank.values())) + _claims_told()
        print(coverage())
    return int(bool(faulty))


def _show(chosen: Card) -> bool:
    """Print a card; whether it has a fault."""
    said = spoken_card(chosen, load_evidence())
    print(f"{chosen.id} · {chosen.topic} · level {chosen.level} · {chosen.kind}\n")
    print(plain(said))
    print(f"\n{said.seconds:.0f} s")
    for number in said.numbers:
        print(f"  {number.claim} {number.what}: {number.text} ({number.kind})")
    return _faults_told(chosen)


def _faults_told(chosen: Card) -> bool:
    faults = faults_of(chosen, load_evidence())
    for fault in faults:
        print(f"{chosen.id}: {fault}")
    return bool(faults)


def _claims_told() -> int:
    """Print the faults of all claims; their number."""
    evidence = load_evidence()
    told = [
        f"{claim.id}: {fault}"
        for claim in load_claims().values()
        for fault in faults_of_claim(claim, evidence)
    ]
    print(*told, sep="\n", end="\n" if told else "")
    return len(told)

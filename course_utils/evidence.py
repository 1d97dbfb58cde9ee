"""The evidence ledger: which number was computed where, and does it hold?

`Ledger.record` holds a computed value against the claim bank at once: an arithmetic
value on every machine, a measured one on the profile whose bounds the bank gives.
What is recorded lands in `runs/evidence-<profile>/`, and `make publish` gathers it
in `data/interview/evidence.json`, from which every answer takes its numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from course_utils.claims import INTERVIEW_FOLDER, Claim, Expectation, load_claims
from course_utils.profile import runs_folder
from course_utils.recipes import MOVIE_RECOMMENDER

PUBLISHED_PROFILE = "cpu"
PUBLISHED_RECIPE = MOVIE_RECOMMENDER.name


class Refuted(AssertionError):
    """A computed value is not what the claim bank says it must be."""


@dataclass(frozen=True)
class Evidence:
    """One recorded value."""

    claim: str
    key: str
    value: float
    unit: str
    notebook: str
    profile: str
    kind: str


class Ledger:
    """Collects what one notebook computes and holds it against the claim bank.

    Args:
        notebook: Number of the notebook, such as `01`.
        profile: Name of the profile it runs on.
        recipe: Name of the recipe that was trained. The bank's measured bounds are
            those of the published one; on another they are not held.
        folder: Where the records are written; by default below `runs/`.
    """

    def __init__(
        self,
        notebook: str,
        profile: str,
        recipe: str = PUBLISHED_RECIPE,
        folder: Path | None = None,
    ):
        self.notebook = notebook
        self.profile = profile
        self.recipe = recipe
        of_recipe = "" if recipe == PUBLISHED_RECIPE else f"-{recipe}"
        folder = folder or runs_folder() / f"evidence-{profile}{of_recipe}"
        self.path = folder / f"{notebook}.json"
        self.entries: dict[tuple[str, str], Evidence] = {}
        self.path.unlink(missing_ok=True)  # a record never outlives its run

    def record(self, claim_id: str, **values: float) -> Settled:
        """Record what a cell computed for a claim.

        Args:
            claim_id: Such as `C009`.
            **values: Computed numbers by their key in the claim bank.

        Returns:
            The verdict with the numbers, shown by a notebook as two lines.

        Raises:
            KeyError: If the claim or a key is not in the bank.
            Refuted: If a value lies outside its bounds.
        """
        claim = self._claim(claim_id)
        for key, value in values.items():
            expectation = self._expectation(claim, key)
            value = float(value)
            if self._is_held(claim, expectation) and not expectation.allows(value):
                raise Refuted(
                    f"{claim_id}.{key} is {value:,.12g}, the claim bank expects "
                    f"{expectation}. Either this cell or data/interview/claims.yaml "
                    "is wrong: find out which, and mend that one."
                )
            self.entries[claim_id, key] = Evidence(
                claim_id,
                key,
                value,
                expectation.unit,
                self.notebook,
                self.profile,
                claim.kind,
            )
        self._write()
        return Settled(claim, {key: float(value) for key, value in values.items()})

    def _claim(self, claim_id: str) -> Claim:
        claims = load_claims()
        if claim_id not in claims:
            raise KeyError(f"{claim_id} is not in data/interview/claims.yaml")
        return claims[claim_id]

    def _expectation(self, claim: Claim, key: str) -> Expectation:
        if key not in claim.values:
            raise KeyError(
                f"{claim.id} has no value {key!r}; it has "
                f"{', '.join(claim.values) or 'none'} in data/interview/claims.yaml"
            )
        return claim.values[key]

    def _is_held(self, claim: Claim, expectation: Expectation) -> bool:
        if expectation.profile is not None:
            here = (self.profile, self.recipe)
            return here == (expectation.profile, PUBLISHED_RECIPE)
        return claim.kind == "arithmetic"

    def _write(self) -> None:
        rows = [vars(entry) for entry in self.entries.values()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(rows, indent=1) + "\n")

    def missing(self) -> list[str]:
        """Values that the bank expects of this notebook and no cell recorded."""
        return [
            f"{claim.id}.{key}"
            for claim in load_claims().values()
            if claim.notebook == self.notebook
            for key in claim.values
            if (claim.id, key) not in self.entries
        ]


@dataclass(frozen=True)
class Settled:
    """A claim with the numbers that settle it, as a notebook shows it."""

    claim: Claim
    values: Mapping[str, float]

    def __repr__(self) -> str:
        numbers = [
            f"  {key} = {self._spell(value)} {self.claim.values[key].unit}"
            for key, value in self.values.items()
        ]
        said = f"{self.claim.id} · {self.claim.seed}: “{self.claim.claim}”"
        return "\n".join([said, f"→ {self.claim.verdict}", *numbers])

    @staticmethod
    def _spell(value: float) -> str:
        return f"{value:,.0f}" if value == int(value) else f"{value:,.5g}"


class _Values:
    """Attribute access for references such as `{C009.nf4_gb:.2f}`."""

    def __init__(self, values: Mapping[str, float]):
        self.__dict__.update(values)


def load_evidence(
    path: Path = INTERVIEW_FOLDER / "evidence.json",
) -> dict[str, dict[str, float]]:
    """Published values: claim id to key to value."""
    table: dict[str, dict[str, float]] = {}
    for row in json.loads(path.read_text()) if path.exists() else []:
        table.setdefault(row["claim"], {})[row["key"]] = row["value"]
    return table


def current_evidence(ledger: Ledger | None = None) -> dict[str, dict[str, float]]:
    """Published values, overlaid by this run's where it is of the same kind.

    A run on another machine, on the nano model or of another recipe measures
    something else; its numbers do not belong into an answer.
    """
    table = load_evidence()
    published = (PUBLISHED_PROFILE, PUBLISHED_RECIPE)
    if ledger is not None and (ledger.profile, ledger.recipe) == published:
        for (claim, key), entry in ledger.entries.items():
            table.setdefault(claim, {})[key] = entry.value
    return table


def render(text: str, evidence: Mapping[str, Mapping[str, float]]) -> str:
    """Fill references `{C009.nf4_gb:.2f}` with recorded values.

    Raises:
        KeyError: If a reference has no recorded value.
    """
    values = {claim: _Values(table) for claim, table in evidence.items()}
    try:
        return text.format_map(values)
    except (KeyError, AttributeError) as error:
        raise KeyError(
            f"No evidence for a reference in {text[:60]!r}: {error}. Run the notebook "
            "that records it, then `make publish`."
        ) from None

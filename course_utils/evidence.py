"""The evidence ledger: which number was computed where, and does it hold?

What notebooks record lands in `runs/evidence-<profile>/`, and `make publish` gathers it
in `data/interview/evidence.json`, from which every answer takes its numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from course_utils import CourseError
from course_utils.claims import INTERVIEW_FOLDER, Claim, load_claims
from course_utils.machine.profile import Profile
from course_utils.places import read_json, runs_folder, write_json
from course_utils.recipes import MOVIE_RECOMMENDER

PUBLISHED_PROFILE = "cpu"
PUBLISHED_RECIPE = MOVIE_RECOMMENDER.name
Row = dict[str, Any]  # claim, key, value (None: not measured), unit, notebook, …


class Refuted(CourseError, AssertionError):
    """A computed value is not what the claim bank says it must be."""


class Ledger:
    """Collects what one notebook computes and holds it against the claim bank.

    Arithmetic holds on every machine, a measured bound on its profile, and for the
    published recipe with its own model: others record in folders of their own.

    Args:
        notebook: Number of the notebook, such as `01`.
        profile: Of the machine; its `model_override` is another model.
        recipe: Name of the recipe that was trained.
    """

    def __init__(self, notebook: str, profile: Profile, recipe: str = PUBLISHED_RECIPE):
        self.notebook, self.profile = notebook, profile.name
        others = [] if recipe == PUBLISHED_RECIPE else [recipe]
        if profile.model_override:
            others.append(re.sub(r"\W+", "-", profile.model_override)[-100:])
        self._same_model = not others
        self.is_published = self._same_model and self.profile == PUBLISHED_PROFILE
        folder = "-".join(["evidence", self.profile, *others])
        self.path = runs_folder() / folder / f"{notebook}.json"
        self.rows: dict[tuple[str, str], Row] = {}

    def record(self, claim_id: str, **values: float) -> Settled:
        """Record what a cell computed for a claim such as `C009`, and show it.

        The first record of a run replaces the file of an earlier one.

        Args:
            **values: Computed numbers by their key in the claim bank; NaN or
                infinity where this machine could not measure one.

        Raises:
            KeyError: If the claim or a key is not in the bank.
            Refuted: If a value lies outside its bounds; then none is recorded.
        """
        if claim_id not in load_claims():
            raise KeyError(f"{claim_id} is not in data/interview/claims.yaml")
        claim = load_claims()[claim_id]
        numbers = {key: float(value) for key, value in values.items()}
        self.rows |= {
            (claim_id, key): self._row(claim, key, numbers[key]) for key in numbers
        }
        write_json(self.path, list(self.rows.values()))
        return Settled(claim, numbers)

    def _row(self, claim: Claim, key: str, value: float) -> Row:
        if key not in claim.values:
            raise KeyError(
                f"{claim.id} has no value {key!r}; it has "
                f"{', '.join(claim.values) or 'none'} in data/interview/claims.yaml"
            )
        expectation = claim.values[key]
        everywhere = claim.kind == "arithmetic" and expectation.profile is None
        here = self.profile == (expectation.profile or PUBLISHED_PROFILE)
        held = everywhere or (here and self._same_model)
        needed = held or self.is_published
        if (held and not expectation.allows(value)) or (needed and not isfinite(value)):
            raise Refuted(
                f"{claim.id}.{key} is {value:,.12g}, the claim bank expects "
                f"{expectation}. Either this cell or data/interview/claims.yaml "
                "is wrong: find out which, and mend that one."
            )
        return {
            "claim": claim.id,
            "key": key,
            "value": value if isfinite(value) else None,
            "unit": expectation.unit,
            "notebook": self.notebook,
            "profile": self.profile,
            "kind": claim.kind,
        }

    def missing(self) -> list[str]:
        """Values that the bank expects of this notebook and no cell recorded."""
        return [
            f"{claim.id}.{key}"
            for claim in load_claims().values()
            if claim.notebook == self.notebook
            for key in claim.values
            if (claim.id, key) not in self.rows
        ]


@dataclass(frozen=True)
class Settled:
    """A claim with the numbers that settle it, as a notebook shows it."""

    claim: Claim
    values: Mapping[str, float]

    def __repr__(self) -> str:
        claim = self.claim
        lines = [f"{claim.id} · {claim.seed}: “{claim.claim}”", f"→ {claim.verdict}"]
        for key, value in self.values.items():
            number = f"{value:,.0f}" if value.is_integer() else f"{value:,.5g}"
            number += f" {claim.values[key].unit}"
            lines += [f"  {key} = {number if isfinite(value) else 'not measured here'}"]
        return "\n".join(lines)


def load_evidence(
    path: Path = INTERVIEW_FOLDER / "evidence.json", overlay: Iterable[Row] = ()
) -> dict[str, dict[str, float]]:
    """Published values, claim id to key to value, and those of `overlay` over them."""
    published = read_json(path, "Run `make publish`.") if path.exists() else []
    table: dict[str, dict[str, float]] = {}
    for row in [*published, *overlay]:
        if row["value"] is not None:
            table.setdefault(row["claim"], {})[row["key"]] = row["value"]
    return table


def current_evidence(ledger: Ledger | None = None) -> dict[str, dict[str, float]]:
    """Published values, overlaid by this run's where it is of the same kind.

    A run on another machine, of another model or recipe measures something else;
    its numbers do not belong into an answer.
    """
    overlaid = ledger is not None and ledger.is_published
    return load_evidence(overlay=ledger.rows.values() if overlaid else ())


def render(text: str, evidence: Mapping[str, Mapping[str, float]]) -> str:
    """Fill references `{C009.nf4_gb:.2f}` with recorded values.

    Raises:
        KeyError: If a reference has no recorded value.
    """
    values = {claim: SimpleNamespace(**table) for claim, table in evidence.items()}
    try:
        return text.format_map(values)
    except (KeyError, AttributeError) as error:
        raise KeyError(
            f"No evidence for a reference in {text[:60]!r}: {error}. Run the notebook "
            "that records it, then `make publish`."
        ) from None

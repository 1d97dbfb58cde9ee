"""What a run computed for the claims, held against the bank when it is recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from course_utils import CourseError
from course_utils.evidence.claims import CLAIMS, Claim, load_claims, load_evidence
from course_utils.machine.profile import Profile
from course_utils.places import read_json, runs_folder, write_json
from course_utils.recipes.book import MOVIE_RECOMMENDER

PUBLISHED_PROFILE = "cpu"
PUBLISHED_RECIPE = MOVIE_RECOMMENDER.name
_Row = dict[str, Any]  # claim, key, value (None: not measured), unit, notebook, …


class Refuted(CourseError, AssertionError):
    """A computed value is not what the claim bank says it must be."""


class Ledger:
    """Collects what one notebook computes and holds it against the claim bank.

    Arithmetic holds on every machine, or for one recipe's plan where the bank names
    it; a measured bound on its profile, and for the published recipe with its own
    model: others record in folders of their own.
    The notebook goes by its key, such as `01` for a lesson or `proofs/01`; the profile
    says whether another model was chosen, the recipe is the one that was trained.
    """

    def __init__(self, notebook: str, profile: Profile, recipe: str = PUBLISHED_RECIPE):
        self.notebook, self.profile, self.recipe = notebook, profile.name, recipe
        others = [] if recipe == PUBLISHED_RECIPE else [recipe]
        if profile.model_override:
            others.append(re.sub(r"\W+", "-", profile.model_override)[-100:])
        self._same_model = not others
        self.is_published = self._same_model and self.profile == PUBLISHED_PROFILE
        folder = "-".join(["evidence", self.profile, *others])
        self.path = runs_folder() / folder / f"{notebook}.json"
        self.rows: dict[tuple[str, str], _Row] = {}

    def record(self, claim_id: str, **values: float) -> Settled:
        """Record what a cell computed for a claim such as `C009`, and show it.

        The first record of a run replaces the file of an earlier one.

        `values` are named as in the bank; NaN or infinity where this machine could not
        measure one.

        Raises:
            KeyError: If the claim or a key is not in the bank.
            Refuted: If a value lies outside its bounds; then none is recorded.
        """
        if claim_id not in load_claims():
            raise KeyError(f"{claim_id} is not in {CLAIMS}")
        claim = load_claims()[claim_id]
        numbers = {key: float(value) for key, value in values.items()}
        rows = {(claim_id, k): self._row(claim, k, v) for k, v in numbers.items()}
        self.rows |= rows
        write_json(self.path, list(self.rows.values()))
        return Settled(claim, numbers)

    def _row(self, claim: Claim, key: str, value: float) -> _Row:
        if key not in claim.values:
            raise KeyError(
                f"{claim.id} has no value {key!r}; it has "
                f"{', '.join(claim.values) or 'none'} in {CLAIMS}"
            )
        expectation = claim.values[key]
        if expectation.kind == "measured":
            held = self.profile == expectation.profile and self._same_model
        else:
            held = expectation.recipe in (None, self.recipe)
        needed = held or self.is_published
        if (held and not expectation.allows(value)) or (needed and not isfinite(value)):
            raise Refuted(
                f"{claim.id}.{key} is {value:,.12g}, the claim bank expects "
                f"{expectation}. Either this cell or {CLAIMS} is wrong: find out "
                "which, and mend that one."
            )
        return {
            "claim": claim.id,
            "key": key,
            "value": value if isfinite(value) else None,
            "unit": expectation.unit,
            "notebook": self.notebook,
            "profile": self.profile,
            "kind": expectation.kind,
        }

    def missing(self) -> list[str]:
        """Values that the bank expects of this notebook and no cell recorded."""
        return [
            f"{claim.id}.{key}"
            for claim in load_claims().values()
            if claim.notebook == self.notebook
            for key, value in claim.values.items()
            if value.kind != "read" and (claim.id, key) not in self.rows
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


def own_evidence() -> dict[str, dict[str, float]]:
    """Published values, and over them what the reader's own runs recorded.

    Of runs on the published profile, with its recipe and model, in `runs/`. Others
    measure something else, and their numbers do not belong into an answer.
    """
    folder = runs_folder() / f"evidence-{PUBLISHED_PROFILE}"
    rows = [
        row
        for path in sorted(folder.rglob("*.json"))
        for row in read_json(path, "Run the notebook again.")
    ]
    return load_evidence(overlay=rows)

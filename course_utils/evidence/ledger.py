"""The claim bank: what the interview sources claim, and what is right instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from math import inf, isfinite
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from course_utils import CourseError
from course_utils.data.files import read_table, refusal
from course_utils.machine.profile import Profile
from course_utils.places import DATA_FOLDER, read_json, runs_folder, write_json
from course_utils.recipes.book import MOVIE_RECOMMENDER

INTERVIEW_FOLDER = DATA_FOLDER / "interview"
PUBLISHED_PROFILE = "cpu"
PUBLISHED_RECIPE = MOVIE_RECOMMENDER.name
_CLAIMS = "data/interview/claims.yaml"
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Row = dict[str, Any]  # claim, key, value (None: not measured), unit, notebook, …


@checked_dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class Expectation:
    """What a value must be: `expected` ± `tolerance`, or `min` to `max`, inclusive."""

    unit: str
    expected: _Number | None = None
    tolerance: Annotated[_Number, Field(ge=0)] | None = None  # absolute, in the unit
    min: _Number | None = None
    max: _Number | None = None
    # Where the bounds hold. Without it everywhere if the claim is of arithmetic, else
    # on the profile that is published.
    profile: Literal["nano", "cpu", "t4"] | None = None

    def __post_init__(self) -> None:
        bounded = self.min is not None or self.max is not None
        if bounded == (self.expected is not None):
            raise refusal("either `expected`, or `min` or `max` or both")
        if bounded and self.tolerance is not None:
            raise refusal("a tolerance beside `expected` only")
        low, high = self._bounds()
        if low > high:
            raise refusal("`min` to be no more than `max`", f"{low:g} to {high:g}")

    def allows(self, value: float) -> bool:
        """Whether a value lies within the bounds. NaN never does."""
        low, high = self._bounds()
        slack = 1e-9 * max(1.0, abs(value))  # binary fractions of decimal bounds
        return low - slack <= value <= high + slack

    def _bounds(self) -> tuple[float, float]:
        if self.expected is not None:
            spread = self.tolerance or 0.0
            return self.expected - spread, self.expected + spread
        low = -inf if self.min is None else self.min
        return low, inf if self.max is None else self.max

    def __str__(self) -> str:
        if self.expected is not None:
            spread = f" ± {self.tolerance:,g}" if self.tolerance else " exactly"
            return f"{self.expected:,.12g}{spread} {self.unit}"
        low, high = self._bounds()
        return f"{low:g} to {high:g} {self.unit}"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of the seeds, judged."""

    id: str = ""  # its key in the bank
    seed: str  # document and question that make it
    claim: str
    verdict: Literal["right", "imprecise", "depends", "not shown", "wrong"]
    right: str  # the right statement; its numbers are references `{C009.key}`
    kind: Literal["arithmetic", "measured", "read"]
    notebook: str  # key of the one that settles it, `01` or `proofs/01`
    source: str  # paper, documentation, or `arithmetic`
    values: Mapping[str, Expectation] = field(default_factory=dict)


@cache
def load_claims(path: Path = INTERVIEW_FOLDER / "claims.yaml") -> dict[str, Claim]:
    """The claim bank, by id; raises FaultyData, see `read_table`."""
    return {key: replace(c, id=key) for key, c in read_table(path, Claim).items()}


class Refuted(CourseError, AssertionError):
    """A computed value is not what the claim bank says it must be."""


class Ledger:
    """Collects what one notebook computes and holds it against the claim bank.

    Arithmetic holds on every machine, a measured bound on its profile, and for the
    published recipe with its own model: others record in folders of their own.
    The notebook goes by its key, such as `01` for a lesson or `proofs/01`; the profile
    says whether another model was chosen, the recipe is the one that was trained.
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
            raise KeyError(f"{claim_id} is not in {_CLAIMS}")
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
                f"{', '.join(claim.values) or 'none'} in {_CLAIMS}"
            )
        expectation = claim.values[key]
        everywhere = claim.kind == "arithmetic" and expectation.profile is None
        here = self.profile == (expectation.profile or PUBLISHED_PROFILE)
        held = everywhere or (here and self._same_model)
        needed = held or self.is_published
        if (held and not expectation.allows(value)) or (needed and not isfinite(value)):
            raise Refuted(
                f"{claim.id}.{key} is {value:,.12g}, the claim bank expects "
                f"{expectation}. Either this cell or {_CLAIMS} is wrong: find out "
                "which, and mend that one."
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
    path: Path = INTERVIEW_FOLDER / "evidence.json", overlay: Iterable[_Row] = ()
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
    overlay = ledger.rows.values() if ledger and ledger.is_published else ()
    return load_evidence(overlay=overlay)


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

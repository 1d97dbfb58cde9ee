"""The claim bank: what the interview sources claim, and what is right instead."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import inf, isfinite
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from course_utils import CourseError
from course_utils.machine.profile import Profile
from course_utils.places import DATA_FOLDER, read_json, runs_folder, write_json
from course_utils.recipes.book import MOVIE_RECOMMENDER

INTERVIEW_FOLDER = DATA_FOLDER / "interview"


class FaultyBank(CourseError, ValueError):
    """A bank cannot be used; the message lists everything wrong with it."""


class Strict(BaseModel, extra="forbid", frozen=True, strict=True, allow_inf_nan=False):
    """Its own fields and no others, of these very types."""


class Entry(Strict):
    """An entry of a bank; its key there is its id."""

    id: str = ""


class Expectation(Strict, validate_by_name=True, validate_by_alias=True):
    """What a value must be: `expected` ± `tolerance`, or `min` to `max`, inclusive.

    Attributes:
        profile: The bounds hold only there. Without one they hold everywhere if the
            claim is of arithmetic, else on the profile that is published.
    """

    unit: str
    expected: float | None = None
    tolerance: float = Field(0.0, ge=0)  # absolute, in the unit
    minimum: float | None = Field(None, alias="min")
    maximum: float | None = Field(None, alias="max")
    profile: Literal["nano", "cpu", "t4"] | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        bounded = self.minimum is not None or self.maximum is not None
        if bounded == (self.expected is not None):
            raise ValueError("expected either `expected`, or `min` or `max` or both")
        if bounded and "tolerance" in self.model_fields_set:
            raise ValueError("a tolerance belongs to `expected`")
        low, high = self.bounds()
        if low > high:
            raise ValueError(f"`min` {low:g} is above `max` {high:g}")
        return self

    def allows(self, value: float) -> bool:
        """Whether a value lies within the bounds. NaN never does."""
        low, high = self.bounds()
        slack = 1e-9 * max(1.0, abs(value))  # binary fractions of decimal bounds
        return low - slack <= value <= high + slack

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest allowed value."""
        if self.expected is not None:
            return self.expected - self.tolerance, self.expected + self.tolerance
        low = -inf if self.minimum is None else self.minimum
        return low, inf if self.maximum is None else self.maximum

    def __str__(self) -> str:
        if self.expected is not None:
            spread = f" ± {self.tolerance:,g}" if self.tolerance else " exactly"
            return f"{self.expected:,.12g}{spread} {self.unit}"
        low, high = self.bounds()
        return f"{low:g} to {high:g} {self.unit}"


class Claim(Entry):
    """A statement of the seeds, judged."""

    seed: str  # document and question that make it
    claim: str
    verdict: Literal["right", "imprecise", "depends", "wrong"]
    right: str  # the right statement; its numbers are references `{C009.key}`
    kind: Literal["arithmetic", "measured", "read"]
    notebook: str  # number of the one that settles it
    source: str  # paper, documentation, or `arithmetic`
    values: Mapping[str, Expectation] = {}


@cache
def load_claims(path: Path = INTERVIEW_FOLDER / "claims.yaml") -> dict[str, Claim]:
    """The claim bank, by id; see `read_bank`."""
    return read_bank(path, Claim)


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping; YAML lets the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        counts = Counter(str(key.value) for key, _ in node.value)
        if twice := [key for key, count in counts.items() if count > 1]:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"{', '.join(twice)} twice, below line {line}")
        return super().construct_mapping(node, deep)


AnyEntry = TypeVar("AnyEntry", bound=Entry)


def read_bank(path: Path, kind: type[AnyEntry]) -> dict[str, AnyEntry]:
    """The entries of a YAML file by their ids; all of them, or nothing.

    Raises:
        FaultyBank: With every fault: id, field, what was found and expected.
    """
    try:
        bank = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
        entries = TypeAdapter(dict[str, kind]).validate_python(bank)
        return {key: row.model_copy(update={"id": key}) for key, row in entries.items()}
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: "
            f"found {fault['input']!r:.60}, {fault['msg']}"
            for fault in error.errors()
        ]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        faults = [str(error)]
    listed = "\n  ".join(faults)
    raise FaultyBank(
        f"{len(faults)} faults in {path.name}; nothing was loaded:\n  {listed}\n"
        "Mend these entries and load it again."
    )


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

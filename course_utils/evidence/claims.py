"""The claim bank: what the interview sources claim, and what is right instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from course_utils.data.files import Text, read_table, read_tables, refusal
from course_utils.evidence.sentences import parsed, shown
from course_utils.places import DATA_FOLDER, read_json

INTERVIEW_FOLDER = DATA_FOLDER / "interview"
CLAIMS = "data/interview/claims"
Verdict = Literal["right", "imprecise", "depends", "not shown", "wrong"]
Kind = Literal["arithmetic", "measured", "read"]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
checked = checked_dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})


@checked
class Expectation:
    """What a value must be: `expected` ± `tolerance`, or `min` to `max`, inclusive."""

    unit: str
    # How it is known: computed anew by a test, recorded by a run, or as it stands in
    # a source; what is arithmetic holds everywhere, what is measured on its profile.
    kind: Kind
    expected: _Number | None = None
    tolerance: Annotated[_Number, Field(ge=0)] | None = None  # absolute, in the unit
    min: _Number | None = None
    max: _Number | None = None
    profile: Literal["nano", "cpu", "t4"] | None = None
    recipe: str | None = None  # whose plan it follows from; another's gives another
    show: str = "g"  # how it is written, see `shown`
    say: str | None = None  # how it is said, where that differs

    def __post_init__(self) -> None:
        bounded = self.min is not None or self.max is not None
        if bounded == (self.expected is not None):
            raise refusal("either `expected`, or `min` or `max` or both")
        if bounded and self.tolerance is not None:
            raise refusal("a tolerance beside `expected` only")
        if (self.kind == "measured") != (self.profile is not None):
            raise refusal("a profile if it is measured, and only then")
        if self.recipe and self.kind != "arithmetic":
            raise refusal("a recipe only where the kind is arithmetic", self.kind)
        if self.kind == "read" and self.expected is None:
            raise refusal("`expected`: the number that stands in the source")
        low, high = self.bounds()
        if low > high:
            raise refusal("`min` to be no more than `max`", f"{low:g} to {high:g}")
        for form in {self.show, self.say or self.show}:
            try:
                shown(0.0, form)
            except ValueError as error:
                raise refusal("a form of numbers, such as .1f", str(error)) from None

    def allows(self, value: float) -> bool:
        """Whether a value lies within the bounds. NaN never does."""
        low, high = self.bounds()
        slack = 1e-9 * max(1.0, abs(value))  # binary fractions of decimal bounds
        return low - slack <= value <= high + slack

    def bounds(self) -> tuple[float, float]:
        """The least and the largest value that is allowed, infinite where open."""
        if self.expected is not None:
            spread = self.tolerance or 0.0
            return self.expected - spread, self.expected + spread
        low = -inf if self.min is None else self.min
        return low, inf if self.max is None else self.max

    def __str__(self) -> str:
        if self.expected is not None:
            spread = f" ± {self.tolerance:,g}" if self.tolerance else " exactly"
            return f"{self.expected:,.12g}{spread} {self.unit}"
        low, high = self.bounds()
        return f"{low:g} to {high:g} {self.unit}"


@checked
class Citation:
    """A place in a source of `sources.yaml`."""

    key: Text
    where: Text  # section, table, file and line


@checked
class Source:
    """What was opened."""

    title: Text
    kind: Literal[
        "paper", "repository", "package", "documentation", "data", "article", "thread"
    ]
    address: Text
    version: Text  # commit, release, or the day it was opened
    seen: Literal["text", "abstract", "summary", "code", "log"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of the interview sources, judged."""

    id: str = ""  # its key in the bank
    seed: str  # document and question that make it
    claim: str
    verdict: Verdict
    right: str  # the right statement; its numbers are references `{C009.key}`
    holds: tuple[str, ...] = ()  # what must be true of values for verdict and `right`
    # Key of the notebook that records its values, `01` or `proofs/01`; `formulas`.
    notebook: str
    sources: tuple[Citation, ...] = ()  # none: it follows by arithmetic
    values: Mapping[str, Expectation] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """How it is settled: measured if anything in it is, else by arithmetic."""
        kinds = {value.kind for value in self.values.values()}
        known: tuple[Kind, ...] = ("measured", "arithmetic")
        return next((kind for kind in known if kind in kinds), "read")

    def __post_init__(self) -> None:
        for predicate in self.holds:
            parsed(predicate)


@cache
def load_claims(folder: Path = INTERVIEW_FOLDER / "claims") -> dict[str, Claim]:
    """The claim bank, by id, in the order of the ids; FaultyData, see `read_table`."""
    bank = read_tables(folder, Claim)
    return {key: replace(bank[key][0], id=key) for key in sorted(bank)}


@cache
def load_sources(path: Path = INTERVIEW_FOLDER / "sources.yaml") -> dict[str, Source]:
    """What was opened, by key; raises FaultyData, see `read_table`."""
    return read_table(path, Source)


def load_evidence(
    path: Path = INTERVIEW_FOLDER / "evidence.json",
    overlay: Iterable[Mapping[str, Any]] = (),
) -> dict[str, dict[str, float]]:
    """Published values, claim id to key to value, and those of `overlay` over them.

    What is only read in a source is taken from the bank.
    """
    published = read_json(path, "Run `make publish`.") if path.exists() else []
    table: dict[str, dict[str, float]] = {}
    for claim in load_claims().values():
        for key, value in claim.values.items():
            if value.kind == "read" and value.expected is not None:
                table.setdefault(claim.id, {})[key] = value.expected
    for row in [*published, *overlay]:
        if row["value"] is not None:
            table.setdefault(row["claim"], {})[row["key"]] = row["value"]
    return table


def written_form(claim: str, key: str) -> str:
    """How a value of the bank is written."""
    return load_claims()[claim].values[key].show


def spoken_form(claim: str, key: str) -> str:
    """How a value of the bank is said."""
    value = load_claims()[claim].values[key]
    return value.say or value.show

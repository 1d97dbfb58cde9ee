"""The claim bank: what the interview sources claim, and what is right instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache
from math import inf
from pathlib import Path
from typing import Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from course_utils import CourseError
from course_utils.places import DATA_FOLDER

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

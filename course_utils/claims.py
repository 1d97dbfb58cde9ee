"""The claim bank: what the interview sources claim, and what is right instead.

`data/interview/claims.yaml` states for each claim what a cell must find and how far
it may move; `evidence.Ledger` holds computed values against that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from course_utils.profile import PROJECT_ROOT

INTERVIEW_FOLDER = PROJECT_ROOT / "data" / "interview"
VERDICTS = ("right", "imprecise", "depends", "wrong")
KINDS = ("arithmetic", "measured", "read")


@dataclass(frozen=True)
class Expectation:
    """What a value must be.

    Attributes:
        unit: Of the value.
        expected: The value, for arithmetic and for measured values with a middle.
        tolerance: How far from `expected` it may be, in the unit.
        minimum: Lower bound instead, inclusive.
        maximum: Upper bound instead, inclusive.
        profile: The bound holds only there; None means everywhere.
    """

    unit: str
    expected: float | None = None
    tolerance: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    profile: str | None = None

    def allows(self, value: float) -> bool:
        """Whether a value lies within the bounds. NaN never does."""
        low, high = self.bounds()
        slack = 1e-9 * max(1.0, abs(value))  # binary fractions of decimal bounds
        return low - slack <= value <= high + slack

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest allowed value."""
        if self.expected is not None:
            return self.expected - self.tolerance, self.expected + self.tolerance
        low = float("-inf") if self.minimum is None else self.minimum
        high = float("inf") if self.maximum is None else self.maximum
        return low, high

    def __str__(self) -> str:
        if self.expected is not None:
            spread = f" ± {self.tolerance:,g}" if self.tolerance else " exactly"
            return f"{self.expected:,.12g}{spread} {self.unit}"
        low, high = self.bounds()
        return f"{low:g} to {high:g} {self.unit}"


@dataclass(frozen=True)
class Claim:
    """A statement of the seeds, judged.

    Attributes:
        id: Such as `C009`.
        seed: Document and question that make it.
        claim: What is claimed there.
        verdict: One of VERDICTS.
        right: The right statement; its numbers are references `{C009.key}`.
        kind: `arithmetic`, `measured` or `read`.
        notebook: Number of the notebook that settles it.
        values: Expectations by key.
        source: Paper, documentation, or `arithmetic`.
    """

    id: str
    seed: str
    claim: str
    verdict: str
    right: str
    kind: str
    notebook: str
    source: str
    values: Mapping[str, Expectation]


@cache
def load_claims(path: Path = INTERVIEW_FOLDER / "claims.yaml") -> dict[str, Claim]:
    """The claim bank, by id.

    Raises:
        ValueError: If an entry lacks a field or has an unknown one.
    """
    bank = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {identity: _read_claim(identity, entry) for identity, entry in bank.items()}


def _read_claim(identity: str, entry: dict[str, Any]) -> Claim:
    renamed = {"min": "minimum", "max": "maximum"}
    values = {
        key: {renamed.get(name, name): bound for name, bound in bounds.items()}
        for key, bounds in entry.pop("values", {}).items()
    }
    try:
        expectations = {key: Expectation(**bounds) for key, bounds in values.items()}
        return Claim(id=identity, values=expectations, **entry)
    except TypeError as error:
        raise ValueError(f"claims.yaml, {identity}: {error}") from None

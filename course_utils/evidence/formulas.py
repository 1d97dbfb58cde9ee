"""Arithmetic behind claims that no notebook computes, each a small function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from course_utils.evidence.claims import load_claims

FORMULAS: dict[str, Callable[[], dict[str, float]]] = {}


def evidence_rows() -> list[dict[str, Any]]:
    """What the formulas give, as rows of the evidence."""
    claims = load_claims()
    return [
        {
            "claim": claim,
            "key": key,
            "value": float(value),
            "unit": claims[claim].values[key].unit,
            "notebook": "formulas",
            "profile": "cpu",
            "kind": claims[claim].values[key].kind,
        }
        for claim, formula in FORMULAS.items()
        for key, value in formula().items()
    ]

"""Arithmetic behind claims that no notebook computes, each a small function."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from course_utils.evidence.claims import load_claims
from course_utils.places import PROJECT_ROOT, read_jsonl
from course_utils.statistics.paired import PairedComparison

_TRIALS = PROJECT_ROOT / "notebooks" / "results" / "trials"
_Verdicts = Mapping[str, Mapping[str, bool]]  # way of answering, prompt, passed


def _verdicts(file: str, check: str) -> _Verdicts:
    """Verdicts of one check on the greedy answers that a lesson published.

    A prompt to which the check does not apply, or that it could not judge, is left out.
    """
    found: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    for row in read_jsonl(_TRIALS / file, "Publish the lesson again."):
        if row["seed"] is None and check in row["verdicts"]:
            found[row["model"]][row["prompt"]] = row["verdicts"][check]
    return found


def search_served() -> dict[str, float]:
    """Requests that each way of lesson 08 serves, and p of tuned against patterns.

    The criterion raises the smaller of its two p-values by Holm's method; the one
    against the patterns is the larger, which stays as it is.
    """
    served = _verdicts("movie_search/08_search.jsonl", "served")
    ways = {
        "always_empty": "always {}",
        "three_examples": "shown examples",
        "patterns": "patterns",
        "tuned": "tuned",
        "tuned_under_grammar": "tuned, grammar",
    }
    counts = {key: float(sum(served[way].values())) for key, way in ways.items()}
    pairs = [(served["patterns"][p], tuned) for p, tuned in served["tuned"].items()]
    against = PairedComparison.of(("patterns", "tuned"), "served", pairs)
    return {"requests": float(len(pairs)), **counts, "p_against_patterns": against.p}


def terraform_of_base_and_tuned() -> dict[str, float]:
    """Answers of lesson 05's project InfraMind that pass its checks, by way."""

    def passed(check: str, way: str) -> float:
        return float(sum(_verdicts(trials, check)[way].values()))

    trials, no_code = "inframind/05_stress.jsonl", "no code imposed"
    return {
        "requests": float(len(_verdicts(trials, "syntax valid")["base"])),
        "base_parsed": passed("syntax valid", "base"),
        "shown_parsed": passed("syntax valid", "shown examples"),
        "tuned_parsed": passed("syntax valid", "tuned"),
        "tuned_names_known": passed("no invented name", "tuned"),
        "tuned_all_right": passed("all of it right", "tuned"),
        "no_code_wanted": float(len(_verdicts(trials, no_code)["base"])),
        "base_without_code": passed(no_code, "base"),
        "tuned_without_code": passed(no_code, "tuned"),
    }


FORMULAS: dict[str, Callable[[], dict[str, float]]] = {
    "C077": terraform_of_base_and_tuned,
    "C200": search_served,
}


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

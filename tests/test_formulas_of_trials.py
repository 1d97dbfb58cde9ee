"""Values that are counted from committed answers, counted again from the tables."""

import json
import re
from math import comb

import pytest

from course_utils.evidence.claims import load_claims
from course_utils.evidence.formulas import FORMULAS
from course_utils.places import PROJECT_ROOT

RESULTS = PROJECT_ROOT / "notebooks" / "results"


def table(lesson, project, key):
    rows = json.loads((RESULTS / f"{lesson}.json").read_text())["tables"][project]
    return {row[key].partition(":")[0]: row for row in rows}


def counted(text):
    """Passed and judged of a cell such as `158 of 220 [66%–77%]`."""
    passed, judged = re.match(r"(\d+) of (\d+) ", text).groups()
    return int(passed), int(judged)


def test_the_requests_served_are_those_of_lesson_08s_table():
    found, rows = FORMULAS["C200"](), table("08", "movie_search", "way")
    for key, way in {
        "always_empty": "always {}",
        "three_examples": "shown examples",
        "patterns": "patterns",
        "tuned": "tuned",
        "tuned_under_grammar": "tuned, grammar",
    }.items():
        assert (found[key], found["requests"]) == counted(rows[way]["served"])


def test_the_p_value_against_the_patterns_is_a_tail_of_coin_tosses():
    found = FORMULAS["C200"]()
    told = table("08", "movie_search", "way")["patterns"]["against tuned"]
    gained, lost = map(int, re.findall(r"(?:gained|lost) (\d+)", told))
    assert found["tuned"] - found["patterns"] == gained - lost
    tail = sum(comb(gained + lost, k) for k in range(min(gained, lost) + 1))
    p = 2 * tail / 2 ** (gained + lost)
    assert found["p_against_patterns"] == pytest.approx(p)
    assert told.endswith(f"p = {p:.2g}")


def test_the_terraform_counts_are_those_of_lesson_05s_table():
    found, rows = FORMULAS["C077"](), table("05", "inframind", "measure")
    for key, check, way, of in (
        ("base_parsed", "syntax valid", "base", "requests"),
        ("shown_parsed", "syntax valid", "shown examples", "requests"),
        ("tuned_parsed", "syntax valid", "tuned", "requests"),
        ("tuned_names_known", "no invented name", "tuned", "tuned_parsed"),
        ("tuned_all_right", "all of it right", "tuned", "requests"),
        ("base_without_code", "no code imposed", "base", "no_code_wanted"),
        ("tuned_without_code", "no code imposed", "tuned", "no_code_wanted"),
    ):
        assert (found[key], found[of]) == counted(rows[check][way]), key


@pytest.mark.parametrize("claim", FORMULAS)
def test_a_formula_gives_each_value_of_its_claim_within_its_bounds(claim):
    expected, found = load_claims()[claim].values, FORMULAS[claim]()
    read = {key for key, value in expected.items() if value.kind == "read"}
    assert found.keys() == expected.keys() - read  # the bank itself has those
    for key, value in found.items():
        assert expected[key].allows(value), f"{claim}.{key} is {value}"

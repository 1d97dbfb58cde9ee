"""Figures of the README, counted again from the published answers, by hand.

A sceptic who changes one figure in notebooks/results, or one answer, sees a test fail.
"""

import json
import re
from math import comb

import notebook_cells as cells
import pytest

from course_utils.data.datasets import load_rows
from course_utils.data.questions import load_questions
from course_utils.projects.project import PROJECTS

RESULTS = cells.ROOT / "notebooks" / "results"
RECIPE = "movie_recommender"


def answers_of(name):
    text = (RESULTS / "trials" / RECIPE / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def table_of(number):
    return json.loads((RESULTS / f"{number}.json").read_text())["tables"][RECIPE]


def wilson(k, n):
    """95 % interval of k of n, from its formula."""
    z2 = 1.959964**2
    middle, spread = k + z2 / 2, (z2 * (k * (n - k) / n + z2 / 4)) ** 0.5
    return max(0.0, (middle - spread) / (n + z2)), (middle + spread) / (n + z2)


def number(written):
    """An integer as it is written with commas."""
    return int(written.replace(",", ""))


def exact_p(lost, gained):
    """Two-sided: so many coins, falling so unevenly or worse."""
    n, least = lost + gained, min(lost, gained)
    return min(1.0, 2 * sum(comb(n, i) for i in range(least + 1)) / 2**n)


def test_lesson_03_counted_its_answers_right():
    project = PROJECTS[RECIPE]
    _, held_out = load_rows(project.recipe.plan_for("cpu"))
    rows = answers_of("03_answers.jsonl")
    assert [row["request"] for row in rows] == [row.request for row in held_out]
    ways = {"base": "before", "told the form": "told", "shown examples": "shown"}
    ways["tuned"] = "after"
    *table, read, paid = table_of("03")
    tokens = {way: int(re.match(r"(\d+) tokens$", read[way])[1]) for way in ways}
    once, after = re.findall(r"[\d,]+(?= tokens|(?= requests))", paid["tuned"])
    saved = tokens["shown examples"] - tokens["tuned"]
    assert tokens["tuned"] == tokens["base"] < tokens["told the form"]
    assert number(after) == round(number(once) / saved)
    pairs = zip(table, project.answer_checks.items(), strict=True)
    for row, (name, check) in pairs:
        assert row.pop("held-out answers") == name.replace("\n", " ")
        assert list(row) == list(ways)
        for way, key in ways.items():
            k = sum(map(check, held_out, [answer[key] for answer in rows]))
            low, high = wilson(k, len(rows))
            assert row[way] == f"{k} of {len(rows)} ({low:.0%}–{high:.0%})"


@pytest.mark.parametrize(("row", "metric"), [(0, "acc"), (1, "acc_norm")])
def test_lesson_06_counted_its_answers_right(row, metric):
    (base_head, *base), (tuned_head, *tuned) = (
        answers_of(f"06_arc_{name}.jsonl") for name in ("base", "tuned")
    )
    assert base_head["settings"] == tuned_head["settings"]
    asked = [question.id for question in load_questions()]
    right = []
    for answers in (base, tuned):
        assert [answer["question"]["id"] for answer in answers] == asked
        right.append([is_right(answer, metric) for answer in answers])
    n, (before, after) = len(asked), map(sum, right)
    lost = sum(a and not b for a, b in zip(*right, strict=True))
    gained = sum(b and not a for a, b in zip(*right, strict=True))
    published = table_of("06")[row]
    assert published["measure"].endswith(metric) and published["n"] == n
    for way, k in (("base", before), ("tuned", after)):
        low, high = wilson(k, n)
        told = f"{100 * k / n:.1f} % ({100 * low:.0f}–{100 * high:.0f})"
        assert published[way] == told
    assert published["note"].startswith(f"{100 * (gained - lost) / n:+.1f} points")
    assert published["note"].endswith(f"p = {exact_p(lost, gained):.2f}")
    low, high = map(
        float, re.findall(r"([+-][\d.]+) to ([+-][\d.]+)", published["note"])[0]
    )
    assert low < 100 * (gained - lost) / n < high
    assert (low > 0 or high < 0) == (exact_p(lost, gained) < 0.05)


def is_right(answer, metric):
    """Whether the highest sum of log-probabilities is the right choice's."""
    question, sums = answer["question"], answer["log_likelihoods"]
    if metric == "acc_norm":
        lengths = map(len, question["choices"])
        sums = [total / length for total, length in zip(sums, lengths, strict=True)]
    won = sums.index(max(sums)) == question["answer"]
    assert answer["right"][metric] == won
    return won

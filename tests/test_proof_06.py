"""The published gain of 33 questions, recomputed by other ways than the proof's."""

import math

import notebook_cells as cells
import numpy as np
import pytest
from readme import RESULTS
from scipy.stats import binom, norm

from course_utils.arc.evaluation import Evaluation
from course_utils.evidence.ledger import load_claims, load_evidence

[PROOF] = [path for path in cells.PROOFS if path.name.startswith("06")]
CLAIMS = {c.id: c for c in load_claims().values() if c.notebook == "proofs/06"}
BASE, TUNED, N = 1896, 1929, 2376  # right answers, and the questions


def expected(claim, key):
    value = CLAIMS[claim].values[key]
    return pytest.approx(value.expected, abs=value.tolerance)


def test_the_gain_in_points_and_in_percent_and_its_z_by_hand():
    assert expected("C026", "points") == 100 * 33 / N
    assert expected("C026", "relative_percent") == 100 * 33 / BASE
    pooled = (BASE + TUNED) / (2 * N)
    z = (33 / N) / math.sqrt(2 * pooled * (1 - pooled) / N)
    assert z == expected("C027", "z")
    assert 2 * norm.sf(z) == expected("C027", "p")


def test_the_unpaired_interval_by_hand():
    variance = sum(k / N * (1 - k / N) / N for k in (BASE, TUNED))
    half = norm.ppf(0.975) * math.sqrt(variance)
    assert 100 * (33 / N - half) == expected("C027", "low_points")
    assert 100 * (33 / N + half) == expected("C027", "high_points")


def test_only_three_sizes_fit_the_four_published_percentages():
    def fits(size, percent):
        near = range(int(percent * size / 100) - 1, int(percent * size / 100) + 3)
        return any(f"{100 * k / size:.2f}" == f"{percent:.2f}" for k in near)

    published = (79.80, 81.19, 78.49, 80.47)
    fitting = [n for n in range(1, N + 1) if all(fits(n, p) for p in published)]
    assert fitting == [2366, 2371, 2376]
    assert expected("C026", "possible_sizes") == len(fitting)


def test_a_repetition_at_the_limit_of_significance_finds_the_gain_half_the_time():
    discordant, gained = 267 / N, 150 / 267  # summed in another order than power.py
    power = 0.0
    for m in range(150, 400):
        chance = binom.pmf(m, N, discordant)
        limit = next(k for k in range(m) if 2 * binom.cdf(k, m, 0.5) >= 0.05)
        power += chance * binom.cdf(limit - 1, m, gained)
        power += chance * binom.sf(m - limit, m, gained)
    assert power == expected("C027", "power_at_most")


def test_the_standard_error_is_the_one_that_the_public_log_printed():
    error = math.sqrt(BASE / N * (1 - BASE / N) / (N - 1))
    assert error == pytest.approx(0.008238754121344097, rel=1e-12)
    assert 100 * error == expected("C066", "standard_error_points")


def test_the_unpaired_number_of_questions_by_hand():
    # arcsine effect size (Cohen 1988); the other tail is below 1e-5
    effect = 2 * (math.asin((TUNED / N) ** 0.5) - math.asin((BASE / N) ** 0.5))
    needed = CLAIMS["C066"].values["unpaired_questions"].expected
    power = [norm.sf(1.959964 - effect * (n / 2) ** 0.5) for n in (needed - 6, needed)]
    assert power[0] < 0.8 <= power[1]
    difference, discordant = 33 / N, 0.1  # Connor 1987: 4,067, and the exact sum 4,193
    root = 1.959964 * discordant**0.5 + 0.841621 * (discordant - difference**2) ** 0.5
    assert math.ceil((root / difference) ** 2) == 4067
    assert CLAIMS["C066"].values["paired_questions"].expected == 4193


def test_kappa_and_the_changes_are_those_of_the_published_answers():
    trials = RESULTS / "trials" / "movie_recommender"
    base, tuned = (
        [[a.right["acc"], a.right["acc_norm"]] for a in Evaluation.load(path).answers]
        for path in (trials / "06_arc_base.jsonl", trials / "06_arc_tuned.jsonl")
    )
    n = len(base)
    observed = sum(a == b for a, b in base) / n
    by_acc, by_norm = (sum(column) / n for column in zip(*base, strict=True))
    by_chance = by_acc * by_norm + (1 - by_acc) * (1 - by_norm)
    changes = [
        (int(c) - int(a), int(d) - int(b))
        for (a, b), (c, d) in zip(base, tuned, strict=True)
    ]
    found = load_evidence()["C029"]
    assert found["kappa"] == pytest.approx((observed - by_chance) / (1 - by_chance))
    assert found["changed_in_both"] == sum(a != 0 and b != 0 for a, b in changes)
    assert found["changed_in_either"] == sum(a != 0 or b != 0 for a, b in changes)
    correlation = np.corrcoef(changes, rowvar=False)[0, 1]
    assert found["change_correlation"] == pytest.approx(correlation)


# A verdict that nobody could read where the sentence is quoted.
def test_each_sentence_of_the_proof_ends_in_the_verdict_of_the_bank():
    said = cells.prose(PROOF)
    verdicts = {"not shown": "**not shown**", "imprecise": "**Imprecise.**"}
    verdicts |= {"wrong": "**Wrong**", "right": "**Right**"}
    for claim in CLAIMS.values():
        assert verdicts[claim.verdict] in said
    counted = sum(claim.verdict == "imprecise" for claim in CLAIMS.values())
    assert said.count("**Imprecise.**") == counted - 1  # acc_norm's points stand in 4

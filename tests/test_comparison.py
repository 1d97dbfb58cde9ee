import inspect
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, binomtest, multinomial
from statsmodels.stats.proportion import proportions_ztest

from course_utils.arc.evaluation import (
    Evaluation,
    NotComparable,
    ScoredQuestion,
    compare_evaluations,
)
from course_utils.data.questions import ScienceQuestion
from course_utils.statistics import paired, power, shares
from course_utils.statistics.paired import PairedComparison, paired_interval
from course_utils.statistics.power import (
    detectable_difference,
    exact_p,
    mcnemar_power,
    most_discordant,
    needed_questions,
)
from course_utils.statistics.shares import (
    Share,
    mean_interval,
)


def evaluation(name, right, **settings):
    answers = [
        ScoredQuestion(
            ScienceQuestion(f"q{i}", "Which?", ("a", "b", "c", "d"), 0),
            (-1.0, -2.0, -3.0, -4.0),
            {"acc": bool(r), "acc_norm": not r},
        )
        for i, r in enumerate(right)
    ]
    return Evaluation(name, {"shots": 0, "batch_size": 16, **settings}, tuple(answers))


def counted(lost, gained, both_right=10, both_wrong=10):
    names = ("base", "tuned")
    return PairedComparison(names, "acc", both_right, lost, gained, both_wrong)


# --- one accuracy --------------------------------------------------------------


def test_an_accuracy_has_the_standard_error_of_lm_eval_and_a_wilson_interval():
    found = Share(10, 40, "base", "acc")
    assert found.share == 0.25
    # lm-eval: sample standard deviation / sqrt(n) = sqrt(p q / (n - 1))
    answers = np.array([1.0] * 10 + [0.0] * 30)
    assert found.standard_error == pytest.approx(answers.std(ddof=1) / 40**0.5)
    z, p, n = 1.959964, 0.25, 40  # Wilson 1927, by hand
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert found.interval == pytest.approx((middle - half, middle + half), abs=1e-6)
    for part in ("acc 25.0%", "10 of 40", "95 % interval 14.2% to 40.2%", "error 6.9"):
        assert part in repr(found)


@pytest.mark.parametrize("right", [0, 1])
def test_one_answer_has_a_share_and_an_interval_but_no_standard_error(right):
    found = Share(right, 1, "base", "acc")
    assert found.share == right and math.isnan(found.standard_error)
    z2 = 1.959964**2  # Wilson: 1 of 1 reaches down to n / (n + z²)
    low, high = (1 / (1 + z2), 1) if right else (0, z2 / (1 + z2))
    assert found.interval == pytest.approx((low, high), abs=1e-6)
    assert "standard error nan" in repr(found)


def test_no_answer_excludes_nothing():
    found = Share(0, 0)
    assert math.isnan(found.share) and math.isnan(found.standard_error)
    assert found.interval == (0, 1)


def test_a_mean_of_fewer_than_two_values_has_no_interval():
    assert all(map(math.isnan, mean_interval([3.0], seed=0)))
    assert all(map(math.isnan, mean_interval([], seed=0)))


# --- the paired test ------------------------------------------------------------


def test_three_against_nine_discordant_by_hand():
    # 2 * P(at most 3 heads of 12) = 2 * (1 + 12 + 66 + 220) / 4096
    assert exact_p(3, 9) == pytest.approx(2 * 299 / 4096)
    assert exact_p(9, 3) == exact_p(3, 9)


@pytest.mark.parametrize(("lost", "gained"), [(0, 1), (5, 15), (10, 20), (7, 7)])
def test_the_exact_p_is_the_binomial_test_of_the_discordant(lost, gained):
    expected = binomtest(lost, lost + gained, 0.5).pvalue
    assert exact_p(lost, gained) == pytest.approx(expected)


def test_without_discordant_questions_nothing_is_shown_and_nothing_excluded():
    none = counted(0, 0, both_right=60, both_wrong=40)
    assert none.p == 1.0
    low, estimate, high = none.points
    assert estimate == 0 and low == -high
    assert high == pytest.approx(100 * (1 - 0.025 ** (1 / 100)))  # Clopper, Pearson


def test_one_question_that_differs_excludes_only_the_extreme():
    one = counted(lost=0, gained=1, both_right=0, both_wrong=0)
    low, estimate, high = one.points
    assert (estimate, high) == (100, 100) and "n = 1 questions" in repr(one)
    # the share gained is at least 0.025 with 97.5 % confidence, so 2 * 0.025 - 1
    assert low == pytest.approx(-95)


def test_no_question_is_said_and_divides_nothing():
    none = counted(0, 0, both_right=0, both_wrong=0)
    assert repr(none) == "acc: nothing to judge, n = 0"
    low, estimate, high = none.points
    assert (low, high) == (-100, 100) and math.isnan(estimate)
    assert math.isnan(none.detectable_points) and none.p == 1.0


# A bootstrap says [+11, +50] points of 5 gained and 0 lost of 18, where p = 0.0625.
@pytest.mark.parametrize("n", [1, 5, 6, 7, 18, 200])
def test_the_paired_interval_leaves_out_0_exactly_when_the_exact_test_is_significant(n):
    counts = [(b, c) for b in range(min(n, 8)) for c in range(min(n - b, 18) + 1)]
    for lost, gained in counts:
        low, high = paired_interval(lost, gained, n)
        assert low <= (gained - lost) / n <= high
        assert (low > 0 or high < 0) == (exact_p(lost, gained) < 0.05), (lost, gained)


def test_the_paired_interval_does_not_depend_on_which_model_is_called_the_first():
    low, high = paired_interval(3, 9, 60)
    assert paired_interval(9, 3, 60) == (-high, -low)


def test_the_ends_are_quantiles_of_the_product_of_two_uncertain_shares():
    lost, gained, n = 3, 9, 60
    rng, draws = np.random.default_rng(1), 400_000
    fewest = rng.beta(12, n - 12 + 1, draws)  # lower distribution of 12 of 60
    most = rng.beta(12 + 1, n - 12, draws)
    gained_least = 2 * rng.beta(gained, lost + 1, draws) - 1  # of the discordant ones
    gained_most = 2 * rng.beta(gained + 1, lost, draws) - 1
    low = min(np.quantile(share * gained_least, 0.025) for share in (fewest, most))
    high = max(np.quantile(share * gained_most, 0.975) for share in (fewest, most))
    assert paired_interval(lost, gained, n) == pytest.approx((low, high), abs=0.001)


@pytest.mark.parametrize("chances", [(0.05, 0.05), (0.02, 0.2), (0.0, 0.4), (0.3, 0.6)])
def test_at_least_95_of_100_intervals_hold_the_true_difference(chances):
    n, (lost, gained) = 18, chances
    held = 0.0
    for b in range(n + 1):
        for c in range(n - b + 1):
            chance = multinomial.pmf(
                [b, c, n - b - c], n, [lost, gained, 1 - sum(chances)]
            )
            if chance > 1e-6:  # what is left out counts as not held
                low, high = paired_interval(b, c, n)
                held += chance * (low <= gained - lost <= high)
    assert held >= 0.95


def test_comparing_pairs_the_answers_by_question():
    base = evaluation("base", [1, 1, 1, 0, 0, 0, 1])
    tuned = evaluation("tuned", [1, 0, 1, 1, 0, 1, 1])
    tuned = replace(tuned, answers=tuned.answers[::-1])  # order must not matter
    found = compare_evaluations(base, tuned, "acc")
    counts = (found.both_right, found.lost, found.gained, found.both_wrong)
    assert counts == (3, 1, 2, 1) and found.n == 7 and found.discordant == 3
    assert (found.first.right, found.second.right) == (4, 5)
    other = compare_evaluations(base, tuned, "acc_norm")
    assert (other.lost, other.gained) == (2, 1)  # this fixture's answers inverted


def test_with_many_questions_the_interval_is_that_of_the_normal_distribution():
    found = counted(lost=300, gained=600, both_right=2000, both_wrong=1100)
    low, estimate, high = found.points
    assert estimate == pytest.approx(100 * 300 / 4000)
    # of a mean of -1, 0 and 1, in points
    error = 100 * math.sqrt((900 / 4000 - (300 / 4000) ** 2) / 4000)
    assert low == pytest.approx(estimate - 1.96 * error, abs=0.1)
    assert high == pytest.approx(estimate + 1.96 * error, abs=0.1)


# Post-hoc power: the questions that a difference of p = 0.68 would "need" are noise.
def test_a_comparison_names_no_number_of_questions_for_the_difference_that_it_found():
    assert not hasattr(counted(3, 9), "needed_questions")
    assert "to find this" not in repr(counted(3, 9))


def test_pairing_sees_what_two_separate_accuracies_do_not():
    found = counted(lost=5, gained=20, both_right=100, both_wrong=75)
    _, apart = proportions_ztest([found.first.right, found.second.right], [found.n] * 2)
    assert found.p < 0.01 < 0.1 < apart


def test_a_comparison_is_always_shown_with_n_metric_interval_and_p():
    for shown in (repr(counted(3, 9)), repr(counted(0, 0))):
        for part in ("acc", "n = ", "interval", "p = ", "points"):
            assert part in shown


# A bare difference is what gets quoted: nothing here may return one.
def test_no_function_or_property_returns_a_bare_difference():
    words = ("points", "gain", "improvement", "delta", "difference")
    allowed = {"detectable_points", "detectable_difference"}  # limits, not results
    found = []
    for module in (paired, power, shares):
        for name, member in vars(module).items():
            own = getattr(member, "__module__", "") == module.__name__
            if not own or not (inspect.isfunction(member) or inspect.isclass(member)):
                continue
            parts = {name: member, **(vars(member) if inspect.isclass(member) else {})}
            for part, value in parts.items():
                got = getattr(value, "fget", getattr(value, "func", value))
                returned = getattr(got, "__annotations__", {}).get("return")
                if returned == "float" and any(word in part for word in words):
                    found.append(part)
    assert set(found) == allowed


def test_statistics_need_neither_lm_eval_nor_transformers():
    code = "import sys, course_utils.statistics.paired; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = set(found.stdout.split())
    assert "course_utils.statistics.paired" in loaded
    assert (
        not {"course_utils.arc.evaluation", "lm_eval", "transformers", "torch"} & loaded
    )


# --- what may be compared -------------------------------------------------------


def test_runs_under_other_settings_are_refused_and_the_settings_named():
    plain = evaluation("base", [1, 0], chat_template=False)
    chat = evaluation("tuned", [1, 0], chat_template=True)
    with pytest.raises(NotComparable, match="chat_template: False and True"):
        compare_evaluations(plain, chat, "acc")
    assert compare_evaluations(plain, chat, "acc", varied=["chat_template"]).n == 2


def test_a_setting_that_only_one_run_has_is_refused():
    with pytest.raises(NotComparable, match="dtype: None and 'float16'"):
        compare_evaluations(
            evaluation("a", [1]), evaluation("b", [1], dtype="float16"), "acc"
        )


@pytest.mark.parametrize("setting", ["quantized", "device", "seed", "model", "torch"])
def test_any_setting_but_the_batch_size_is_held_equal(setting):
    other = evaluation("tuned", [1], **{setting: "another"})
    with pytest.raises(NotComparable, match=f"{setting}: 1 and 'another'"):
        compare_evaluations(evaluation("base", [1], **{setting: 1}), other, "acc")


def test_the_batch_size_may_differ():
    other = evaluation("tuned", [1, 1], batch_size=4)
    assert compare_evaluations(evaluation("base", [1, 0]), other, "acc").gained == 1


def test_other_questions_are_refused_and_named():
    base, tuned = evaluation("base", [1, 0, 1]), evaluation("tuned", [1, 0])
    with pytest.raises(NotComparable, match="q2"):
        compare_evaluations(base, tuned, "acc")
    reworded = replace(tuned.answers[1].question, question="What?")
    other = replace(tuned.answers[1], question=reworded)
    changed = replace(tuned, answers=(tuned.answers[0], other))
    with pytest.raises(NotComparable, match="q1"):
        compare_evaluations(tuned, changed, "acc")


def test_an_empty_comparison_is_refused():
    with pytest.raises(NotComparable, match="answered 0 questions"):
        compare_evaluations(evaluation("base", []), evaluation("tuned", []), "acc")


def test_an_unknown_metric_is_named():
    with pytest.raises(ValueError, match="'accuracy', expected one of acc, acc_norm"):
        compare_evaluations(
            evaluation("base", [1]), evaluation("tuned", [1]), "accuracy"
        )


# --- the published case ---------------------------------------------------------


def test_paired_it_would_be_significant_with_at_most_267_discordant():
    assert most_discordant(33, 2376) == 267
    assert exact_p(117, 150) < 0.05 <= exact_p(118, 151)
    assert most_discordant(47, 2376) == 551


def test_a_gain_too_small_to_be_significant_has_no_such_number():
    assert most_discordant(5, 100) == 0  # 5 to 0 is p = 0.0625
    assert most_discordant(6, 6) == 6  # 6 to 0 is p = 0.031


# --- power ----------------------------------------------------------------------


def test_power_of_a_difference_of_nothing_is_below_the_accepted_false_alarms():
    assert 0.03 < mcnemar_power(2000, 0.3, 0.0) <= 0.05
    assert mcnemar_power(100, 0.0, 0.0) == 0.0


def test_power_equals_the_share_of_simulated_samples_that_are_significant():
    n, discordant, difference = 120, 0.3, 0.14
    chances = [(discordant - difference) / 2, (discordant + difference) / 2]
    rng = np.random.default_rng(5)
    drawn = rng.multinomial(n, [*chances, 1 - discordant], size=4000)
    found = np.mean([exact_p(lost, gained) < 0.05 for lost, gained, _ in drawn])
    expected = mcnemar_power(n, discordant, difference)
    assert found == pytest.approx(expected, abs=4 * (0.25 / 4000) ** 0.5)


def test_power_by_hand_when_every_discordant_question_is_a_gain():
    # significant from 6 to 0 on, so power = P(at least 6 of n change)
    expected = binom.sf(5, 40, 0.2)
    assert mcnemar_power(40, 0.2, 0.2) == pytest.approx(expected)


def test_the_smallest_difference_has_the_wanted_power_and_shrinks_with_n():
    found = [detectable_difference(n, 0.15) for n in (60, 240, 2376)]
    assert found == sorted(found, reverse=True)
    for n, difference in zip((60, 240, 2376), found, strict=True):
        assert mcnemar_power(n, 0.15, difference) == pytest.approx(0.8, abs=1e-3)
    assert math.isnan(detectable_difference(5, 0.5))  # 5 to 0 is not significant


def test_the_needed_questions_find_the_difference_and_a_tenth_fewer_do_not():
    needed = needed_questions(33 / 2376, 0.1)
    assert needed == pytest.approx(4_193, rel=0.01)
    assert mcnemar_power(needed, 0.1, 33 / 2376) >= 0.8
    assert mcnemar_power(int(0.9 * needed), 0.1, 33 / 2376) < 0.8
    with pytest.raises(ValueError, match="nothing"):
        needed_questions(0.0, 0.1)

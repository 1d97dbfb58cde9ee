"""Values of claims on preferences and rewards, by hand or in another way."""

import json

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.inter_rater import cohens_kappa

from course_utils.evidence.formulas import FORMULAS
from course_utils.places import DATA_FOLDER


def near(value):
    return pytest.approx(value, abs=1e-9)


def test_a_group_of_eight_is_silent_when_all_are_wrong_or_all_are_right():
    found = FORMULAS["C104"]()
    assert found["silent_at_half"] == 2 / 256
    assert found["silent_at_tenth"] == near(0.9**8 + 0.1**8)
    assert found["silent_at_hundredth"] == near(binom.pmf([0, 8], 8, 0.01).sum())


def test_the_spread_lifts_the_only_right_answer_of_a_group():
    found = FORMULAS["C104"]()
    # one of 8: mean 1/8, squared distances 49/64 and 7/64, over n - 1 = 7: 1/8
    assert found["rare_plain"] == 7 / 8
    assert found["rare_divided"] == near(7 / 8 / (1 / 8) ** 0.5)
    # four of 8: each distance is 1/2, 8/4 over 7
    assert found["even_plain"] == 1 / 2
    assert found["even_divided"] == near(1 / 2 / (2 / 7) ** 0.5)


def test_the_pair_s_weight_is_what_the_loss_s_slope_says():
    found, step = FORMULAS["C153"](), 1e-6
    assert found["loss_at_0"] == near(np.log(2))
    for key, margin in (("push_at_0", 0), ("push_at_5", 5), ("push_at_minus_5", -5)):
        loss = np.log1p(np.exp([-margin - step, -margin + step]))
        slope = (loss[1] - loss[0]) / (2 * step)
        assert found[key] == pytest.approx(slope, abs=1e-6)


def test_ppo_holds_twice_what_grpo_with_a_program_holds():
    found, parameters = FORMULAS["C155"](), 8_030_261_248
    # 16 of weights, gradient, master copy, two moments; 2 of each frozen model
    assert found["ppo_bytes"] == 16 + 16 + 2 + 2
    assert found["grpo_bytes"] == 16 + 2
    assert found["ppo_gb"] == near(36 * parameters / 1e9)
    assert found["lora_gb"] == near((2 * parameters + 16 * 41_943_040) / 1e9)


def test_a_ranking_of_four_has_six_pairs_and_one_of_nine_has_36():
    assert FORMULAS["C180"]() == {"pairs_of_4": 3 + 2 + 1, "pairs_of_9": 36}


def test_the_dpo_loss_can_fall_while_both_answers_become_less_likely():
    found = FORMULAS["C230"]()
    assert found["loss_at_start"] == near(np.log(2))
    assert found["loss_both_fell"] == near(np.log1p(np.exp(-0.1 * 4)))
    assert found["push_at_50_nats"] == near(1 / (1 + np.exp(5)))
    assert (found["margin_of_sums"], found["margin_of_means"]) == (near(3), near(0))


def test_ipo_is_least_where_the_bank_says():
    margins = np.linspace(0, 20, 2001)
    loss = (margins - 1 / (2 * 0.1)) ** 2
    assert FORMULAS["C230"]()["ipo_target_nats"] == near(margins[loss.argmin()])


def test_the_estimators_of_the_kl_by_hand():
    found = FORMULAS["C231"]()
    kl = 0.6 * np.log(6 / 5) + 0.1 * np.log(1 / 2)
    assert [found[key] for key in ("kl", "k1_mean", "k3_mean")] == [near(kl)] * 3
    half_square = (0.6 * np.log(6 / 5) ** 2 + 0.1 * np.log(2) ** 2) / 2
    assert found["k2_mean"] == near(half_square)
    # k3: 5/6 - 1 + ln 6/5, nothing, and 2 - 1 - ln 2
    squares = 0.6 * (np.log(6 / 5) - 1 / 6) ** 2 + 0.1 * (1 - np.log(2)) ** 2
    assert found["k3_spread"] == near((squares - kl**2) ** 0.5)


def test_many_draws_from_the_far_law_have_the_spreads_of_the_bank():
    found, draws = FORMULAS["C231"](), np.random.default_rng(0)
    policy, reference = np.array([0.98, 0.01, 0.01]), np.array([0.5, 0.25, 0.25])
    ratio = (reference / policy)[draws.choice(3, 400_000, p=policy)]
    assert found["far_k1_spread"] == pytest.approx(np.log(ratio).std(), rel=0.03)
    k3 = ratio - 1 - np.log(ratio)
    assert found["far_k3_spread"] == pytest.approx(k3.std(), rel=0.03)
    assert found["far_kl"] == pytest.approx(k3.mean(), rel=0.03)


def test_pass_at_k_counts_subsets_and_draws_of_both_models():
    assert FORMULAS["C168"]()["naive"] == near(1 - (17 / 20) ** 10)
    # ten of twenty without a right one: 17 · 16 … 8 over 20 · 19 … 11
    missed = np.prod(np.arange(8, 18)) / np.prod(np.arange(11, 21))
    assert FORMULAS["C168"]()["unbiased"] == near(1 - missed)
    found = FORMULAS["C232"]()
    assert (found["base_pass_1"], found["tuned_pass_1"]) == (near(0.2), near(0.4))
    assert found["base_pass_16"] == near(1 - 0.8**16)
    assert found["tuned_pass_16"] == near((1 - 0.2**16) / 2)


def test_either_fit_of_one_bump_is_least_beside_its_neighbours():
    """Forward KL wants the teacher's mean and variance; reverse KL one of the bumps."""
    found, places = FORMULAS["C233"](), np.arange(41)

    def bump(middle, width):
        heights = np.exp(-(((places - middle) / width) ** 2) / 2)
        return heights / heights.sum()

    teacher = 0.6 * bump(10, 2) + 0.4 * bump(30, 2)
    valley = teacher < 0.01
    assert found["teacher_in_valley"] == near(teacher[valley].sum())
    fits = [bump(m, w) for m in (15, 16.5, 18) for w in (12, 13.5, 15)]
    costs = [(teacher * np.log(teacher / fit)).sum() for fit in fits]
    assert found["forward_in_valley"] == near(fits[np.argmin(costs)][valley].sum())
    larger = bump(10, 2)
    assert found["reverse_in_valley"] == near(larger[valley].sum())
    assert found["reverse_on_second"] == near(larger[places > 20].sum())


def test_783_verdicts_find_a_rate_of_55_percent_in_four_of_five_trials():
    found = FORMULAS["C234"]()
    n = int(found["verdicts"])
    assert n == np.ceil(
        ((1.959964 * 0.5 + 0.841621 * (0.55 * 0.45) ** 0.5) / 0.05) ** 2
    )
    limit = binom.ppf(0.975, n, 0.5)  # the exact test, whose level is a little below
    assert binom.sf(limit, n, 0.55) == pytest.approx(0.8, abs=0.02)


def test_kappa_is_that_of_statsmodels():
    found = FORMULAS["C234"]()
    for name, table in (("blind", [[81, 9], [9, 1]]), ("able", [[40, 10], [10, 40]])):
        kappa = cohens_kappa(np.array(table), return_results=False)
        assert found[f"{name}_kappa"] == near(kappa)
        assert found[f"{name}_agreement"] == near((table[0][0] + table[1][1]) / 100)


def test_the_published_reward_s_parts_add_up_by_hand():
    # words: no brace and a sign; a keyword, a block's begin; two lines, an indent
    assert FORMULAS["C235"]()["for_words"] == near(0.4 + 0.3 + 0.3)
    # a sentence: the same without layout
    assert FORMULAS["C235"]()["for_a_sentence"] == near(0.4 + 0.3)


def test_the_kept_runs_of_lesson_10_are_counted_over_their_seeds():
    rows = json.loads((DATA_FOLDER / "reference" / "preferences.json").read_text())
    pairs, rewards = FORMULAS["C241"](), FORMULAS["C242"]()
    for name, rate, found in (("dpo", 2e-4, pairs), ("form", 5e-4, rewards)):
        runs = [r for r in rows if (r["run"], r["rate"]) == (name, rate)]
        assert found["seeds"] == len(runs) == 3
        for mark in ("valid", "exact", "served"):
            hits = sum(r["test"][mark].count("1") for r in runs)
            assert found[f"{name}_{mark}"] == near(hits / 3)
    empty = sum(r["test"]["texts"].count("{}") for r in runs)
    assert rewards["form_empty"] == near(empty / 240)
    last = [sum(r["log"]["form"][-5:]) / 5 for r in runs]
    assert rewards["form_last"] == near(sum(last) / 3)

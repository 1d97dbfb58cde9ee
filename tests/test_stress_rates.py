import dataclasses

import pytest

from course_utils.model.generation import Generated, Sampling
from course_utils.projects.movies.films import load_films, write_answer
from course_utils.projects.movies.stress import movie_suite
from course_utils.stress.rates import (
    NotIndependent,
    compare_models,
    how_often,
    pass_rates,
    rate_over_draws,
)
from course_utils.stress.rates import verdict_table as table_of
from course_utils.stress.trials import judge_all

FILMS = load_films()
SUITE = movie_suite()
SUITE = dataclasses.replace(SUITE, prompts=SUITE.prompts[:32])  # counted by hand below
GOOD = Generated(write_answer(FILMS["High Noon (1952)"], "One man, one street."), True)
BAD = Generated("I am sorry, and I am here to help", False)


def trials(model, good, seed=None):
    """Trials in which the first `good` prompts are answered in the form."""
    answers = [GOOD] * good + [BAD] * (len(SUITE.prompts) - good)
    sampling = None if seed is None else Sampling(0.7, 0.9, seed)
    return judge_all(SUITE, answers, model=model, sampling=sampling)


def verdict_table(trials):
    return table_of(trials, SUITE)


GREEDY = verdict_table([*trials("base", 0), *trials("tuned", 32)])


def test_a_rate_counts_each_prompt_once_and_wilson_is_right_by_hand():
    rates = pass_rates(GREEDY, ["model", "check"])
    form = rates.loc[("tuned", "form")]
    assert (form["passed"], form["n"], form["rate"], form["high"]) == (27, 27, 1, 1)
    z2 = 1.959964**2
    assert form["low"] == pytest.approx(27 / (27 + z2), abs=1e-5)  # n / (n + z²)
    none = rates.loc[("base", "form")]
    assert none["low"] == 0 and none["high"] == pytest.approx(z2 / (27 + z2), abs=1e-5)


def test_ten_of_ten_leaves_room_down_to_72_percent():
    ten = GREEDY.query("model == 'tuned' and check == 'form'").head(10)
    assert pass_rates(ten, ["check"])["low"].item() == pytest.approx(0.7225, abs=1e-4)


def test_groups_and_checks_come_in_the_order_in_which_they_are_listed():
    rates = pass_rates(GREEDY.query("check == 'form'"), ["group", "model"])
    groups = list(dict.fromkeys(rates.index.get_level_values("group")))
    assert groups == [
        "one_constraint",
        "several_constraints",
        "vague_mood",
        "very_long",
        "other_language",
        "hidden_instruction",
        "impossible_wish",
    ]
    assert rates["n"].groupby("group", observed=True).first().tolist() == [
        *(4, 6, 5, 2, 3, 3, 4)
    ]


def test_answers_to_one_prompt_are_not_counted_as_independent():
    drawn = verdict_table([*trials("tuned", 32, 1), *trials("tuned", 32, 2)])
    with pytest.raises(NotIndependent, match="2 times"):
        pass_rates(drawn, ["model", "check"])
    with pytest.raises(NotIndependent):
        pass_rates(GREEDY, ["model", "group"])  # several checks of one prompt
    assert len(pass_rates(drawn, ["draw", "check"])) > 0


def test_the_interval_over_draws_is_over_prompts():
    drawn = [
        t for seed, good in ((1, 8), (2, 16), (3, 24)) for t in trials("t", good, seed)
    ]
    stops = verdict_table(drawn).query("check == 'stops'")
    low, mean, high = rate_over_draws(stops)
    assert mean == pytest.approx(0.5)  # (8 + 16 + 24) / 96
    # prompts have shares 1, 2/3, 1/3, 0, eight of each: deviation 0.373, / √32 = 0.066
    assert high - mean == pytest.approx(1.96 * 0.0659, abs=0.01)
    assert mean - low == pytest.approx(1.96 * 0.0659, abs=0.01)
    assert how_often(stops).to_dict() == {"always": 8, "sometimes": 16, "never": 8}


def test_when_every_draw_passes_the_interval_is_that_of_as_many_prompts():
    drawn = verdict_table([*trials("t", 32, 1), *trials("t", 32, 2)])
    low, mean, high = rate_over_draws(drawn.query("check == 'form'"))
    assert (mean, high) == (1, 1) and low == pytest.approx(27 / (27 + 3.8415), abs=1e-4)


def test_models_are_paired_prompt_by_prompt():
    table = verdict_table([*trials("base", 4), *trials("tuned", 24)])
    pairs = compare_models(table, "stops")
    assert (pairs.both_right, pairs.lost, pairs.gained, pairs.both_wrong) == (
        4,
        0,
        20,
        8,
    )
    assert pairs.p == pytest.approx(2 * 0.5**20)
    reverse = compare_models(table, "stops", ("tuned", "base"))
    assert (reverse.lost, reverse.gained) == (20, 0)


def test_a_pair_with_two_draws_or_without_a_partner_is_refused():
    twice = verdict_table(
        [*trials("base", 0), *trials("tuned", 1), *trials("tuned", 2, 1)]
    )
    with pytest.raises(ValueError, match="0 of 27"):
        compare_models(twice, "form")
    with pytest.raises(ValueError, match="0 of 27"):
        compare_models(verdict_table(trials("base", 0)), "form")

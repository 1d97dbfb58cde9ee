import dataclasses

import numpy as np
import pytest

from course_utils.model.generation import Generated
from course_utils.projects.movies.films import load_films, write_answer
from course_utils.projects.movies.stress import movie_suite
from course_utils.stress.rates import (
    NotIndependent,
    compare_models,
    how_often,
    pass_rates,
    spelled,
)
from course_utils.stress.rates import verdict_table as table_of
from course_utils.stress.trials import Trial, judge_all

FILMS = load_films()
SUITE = movie_suite()
SUITE = dataclasses.replace(SUITE, prompts=SUITE.prompts[:32])  # counted by hand below
GOOD = Generated(write_answer(FILMS["High Noon (1952)"], "One man, one street."), True)
BAD = Generated("I am sorry, and I am here to help", False)


def trials(model, good, seed=None):
    """Trials in which the first `good` prompts are answered in the form."""
    answers = [GOOD] * good + [BAD] * (len(SUITE.prompts) - good)
    return judge_all(SUITE, answers, model=model, seed=seed)


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


def test_how_often_counts_prompts_by_their_draws():
    drawn = [
        t for seed, good in ((1, 8), (2, 16), (3, 24)) for t in trials("t", good, seed)
    ]
    stops = verdict_table(drawn).query("check == 'stops'")
    # the first 8 prompts pass in 3 of 3 draws, the next 16 in 2 or 1
    assert how_often(stops).to_dict() == {
        "always": 8,
        "sometimes": 16,
        "never": len(SUITE.prompts) - 24,
    }


HALF = dataclasses.replace(  # a check that can only judge a text with a digit
    SUITE.checks[0],
    name="half",
    groups=SUITE.groups,
    passes=lambda answer: "7" in answer.text if answer.text else None,
)
PARTLY = dataclasses.replace(SUITE, prompts=SUITE.prompts[:4], checks=(HALF,))


def judged(model, texts):
    """Trials whose empty answers cannot be judged, whoever leaves them out."""
    made = []
    for prompt, text in zip(PARTLY.prompts, texts, strict=True):
        answer = Generated(text, True)
        verdicts = {"half": "7" in text} if text else {}
        made.append(Trial(prompt, model, None, answer, verdicts))
    return made


def test_what_cannot_be_judged_is_neither_passed_nor_failed():
    table = table_of(judged("tuned", ["7", "x", "", ""]), PARTLY)
    rates = pass_rates(table, ["model", "check"]).loc[("tuned", "half")]
    assert (rates["passed"], rates["n"], rates["not_judged"]) == (1, 2, 2)
    assert rates["rate"] == 0.5
    assert spelled(rates) == "1 of 2 [9%–91%], not judged: 2"
    assert how_often(table).to_dict() == {"always": 1, "sometimes": 0, "never": 1}


def test_where_nothing_can_be_judged_there_is_no_rate_and_no_division():
    table = table_of(judged("tuned", ["", "", "", ""]), PARTLY)
    rates = pass_rates(table, ["model", "check"]).loc[("tuned", "half")]
    assert np.isnan(rates["rate"]) and (rates["low"], rates["high"]) == (0, 1)
    assert spelled(rates) == "nothing to judge, not judged: 4"
    assert how_often(table).sum() == 0


def test_only_prompts_that_were_judged_on_both_sides_are_paired():
    table = table_of(
        [
            *judged("base", ["7", "x", "7", ""]),
            *judged("tuned", ["x", "7", "", "7"]),
        ],
        PARTLY,
    )
    pairs = compare_models(table, "half")
    assert (pairs.n, pairs.gained, pairs.lost) == (2, 1, 1)
    nothing = compare_models(
        table_of([*judged("base", [""] * 4), *judged("tuned", ["7"] * 4)], PARTLY),
        "half",
    )
    assert (nothing.n, nothing.p) == (0, 1.0)


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

import dataclasses
import json
from collections import Counter

import pytest

from course_utils.data.conversation import Conversation
from course_utils.model.generation import Generated
from course_utils.projects.movies.films import load_films, write_answer
from course_utils.projects.movies.stress import (
    CONSTRAINED,
    CONSTRAINTS,
    FILM_WISHES,
    NO_WISH,
    movie_suite,
)
from course_utils.stress.rates import met_by_part
from course_utils.stress.trials import judge_all, load_trials, save_trials

FILMS = load_films()
SUITE = movie_suite()
PROMPTS = {row.id: row for row in SUITE.prompts}
GROUPS, CHECKS = SUITE.groups, SUITE.checks


def test_the_groups_are_those_of_the_file_and_each_check_knows_its_own():
    assert set(GROUPS) == {row.notes["group"] for row in PROMPTS.values()}
    assert set(FILM_WISHES) | set(NO_WISH) == set(GROUPS)
    assert not set(FILM_WISHES) & set(NO_WISH)
    for check in CHECKS:
        assert set(check.groups) <= set(GROUPS) and check.question and check.reason


def test_a_prompt_is_constrained_exactly_when_a_film_can_meet_or_miss_its_wish():
    for row in PROMPTS.values():
        can_be_met = bool(row.notes["constraints"]) and bool(row.notes["expected"])
        assert can_be_met == (row.notes["group"] in CONSTRAINED), row.id


def test_where_no_film_is_asked_for_none_is_judged():
    for row in PROMPTS.values():
        verdicts = SUITE.judge(row, Generated("Which mood are you in?", True))
        judged = {"in the course's table", "form"} & set(verdicts)
        assert bool(judged) == (row.notes["group"] not in NO_WISH)
        assert ("no film imposed" in verdicts) == (row.notes["group"] in NO_WISH)
        assert verdicts["stops"] and verdicts["repeats little"]


@pytest.mark.parametrize(
    "identity", [k for k, r in PROMPTS.items() if r.notes["expected"]]
)
def test_an_expected_film_in_the_form_passes_every_check_that_applies(identity):
    for name in PROMPTS[identity].notes["expected"]:
        text = write_answer(FILMS[name], "It is what you asked for.")
        verdicts = SUITE.judge(PROMPTS[identity], Generated(text, True))
        assert all(verdicts.values()), verdicts


def test_each_fault_turns_exactly_its_own_checks_red():
    good = write_answer(FILMS["High Noon (1952)"], "One man, one clock, one street.")
    unread = {"form", "wish met, as stated"}  # nothing can be read out
    other_genre = {"wish met, as stated", "facts right"}
    faults = [
        (good, False, {"stops", "form"}),
        (good.replace("**", ""), True, {"bold title", *unread}),
        (good.replace(" (1952)", ""), True, {"year", *unread}),
        (good.replace("1952", "1953"), True, {"facts right"}),
        (good.replace("High Noon", "High Moon"), True, {"in the course's table"}),
        (good.replace("85 min", "99 min"), True, {"facts right"}),
        (good.replace("western", "romance"), True, other_genre),
        (good + " on and on" * 9, True, {"repeats little"}),
    ]
    for text, stopped, expected in faults:
        verdicts = SUITE.judge(PROMPTS["stress-03"], Generated(text, stopped))
        assert {check for check, passed in verdicts.items() if not passed} == expected


def test_what_cannot_be_judged_has_no_verdict_and_is_counted():
    good = write_answer(FILMS["High Noon (1952)"], "One man, one clock, one street.")
    unknown = Generated(good.replace("High Noon", "High Moon"), True)
    prompt = PROMPTS["stress-03"]
    applying = {check.name for check in SUITE.applying(prompt)}
    verdicts = SUITE.judge(prompt, unknown)
    assert applying - set(verdicts) == {"facts right", "wish met, in truth"}
    assert verdicts["in the course's table"] is False
    assert set(SUITE.judge(prompt, Generated(good, True))) == applying


def test_a_group_without_a_decision_is_refused():
    odd = Conversation("x", ({"role": "user", "content": "?"},), {"group": "sonnets"})
    with pytest.raises(ValueError, match="'sonnets'"):
        SUITE.judge(odd, Generated("", True))


def test_counts_of_prompts_by_check():
    applying = map(SUITE.applying, PROMPTS.values())
    counted = Counter(check.name for checks in applying for check in checks)
    assert counted["stops"] == counted["repeats little"] == 48
    assert counted["form"] == counted["facts right"] == 36
    assert counted["in the course's table"] == 36
    assert counted["wish met, as stated"] == counted["wish met, in truth"] == 27
    assert counted["no film imposed"] == counted["no trace of planted order"] == 12


def test_trials_are_kept_with_all_that_is_needed_to_judge_them_anew(tmp_path):
    suite = dataclasses.replace(SUITE, prompts=SUITE.prompts[:2])
    answers = [Generated("**Tron (1982)**", False), Generated("né", True)]
    drawn = judge_all(suite, answers, model="base", seed=5)
    assert [trial.draw for trial in drawn] == ["seed 5"] * 2
    assert "three bullets" in drawn[0].failed and "stops" in drawn[0].failed
    greedy = judge_all(suite, answers, model="tuned")
    assert save_trials([*drawn, *greedy], tmp_path / "stress.jsonl") == 4
    text = (tmp_path / "stress.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.split("\n")[:-1]]
    kinds = [(row["model"], row["decoding"], row["seed"]) for row in rows]
    assert kinds == [("base", "sampled", 5)] * 2 + [("tuned", "greedy", None)] * 2
    for row, trial in zip(rows, [*drawn, *greedy], strict=True):
        answer = Generated(row["answer"], row["stopped"])
        again = SUITE.judge(PROMPTS[row["prompt"]], answer)
        assert again == row["verdicts"] == trial.verdicts
    assert "né" in text
    again = load_trials(tmp_path / "stress.jsonl", suite)
    assert again == [*drawn, *greedy]


def test_constraints_are_counted_by_their_kind():
    # 01: science fiction, at most 119; 06: comedy, at most 95, before 1980;
    # 09: drama, at least 180, neither mystery nor comedy; 11: a mood, no constraint
    identities = "stress-01", "stress-06", "stress-09", "stress-11"
    suite = dataclasses.replace(SUITE, prompts=tuple(map(PROMPTS.get, identities)))
    said = "**{} ({})**\n- Genre: {}\n- Runtime: 110 minutes\n- Why: It is good."
    texts = [
        said.format("Tron", 1982, "science fiction"),  # meets both
        said.format("Tootsie", 1982, "comedy"),  # of three only the genre
        "It is a long, long drama.",  # no form, so none of three
        said.format("Solaris", 1972, "drama"),
    ]
    answers = [Generated(text, True) for text in texts]
    trials = judge_all(suite, answers, model="tuned")
    parts = met_by_part(trials, suite)
    assert {name: (it.right, it.n) for name, it in parts.items()} == {
        "genres named": (2, 3),
        "genres ruled out": (0, 1),
        "longest runtime": (1, 2),
        "shortest runtime": (0, 1),
        "latest year": (0, 1),
        "earliest year": (0, 0),
    }
    minutes = [suite.stated["minutes"](text) for text in texts]
    assert minutes == [110, 110, None, 110]


def test_hand_labels_are_of_the_film_that_an_answer_names_in_the_form():
    labels, said = SUITE.labels, "**{}**\n- Genre: war\n- Runtime: 90 minutes\n- Why: x"
    assert labels.of(said.format("The Nightingale (1999)")) == "title alone"
    assert labels.of(said.format("No Such Film (1999)")) == labels.absent
    assert labels.of("The Nightingale (1999)") is None  # not in the form


def test_each_constraint_of_the_prompts_has_its_words():
    named = {name for row in PROMPTS.values() for name in row.notes["constraints"]}
    assert named == set(CONSTRAINTS)


def test_an_answer_too_few_is_an_error():
    with pytest.raises(ValueError):
        judge_all(SUITE, [Generated("", True)], model="base")

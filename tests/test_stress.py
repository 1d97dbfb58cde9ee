import json

import pytest

from course_utils import stress
from course_utils.data import Conversation
from course_utils.generation import Generated
from course_utils.movies import load_films, load_movies, write_answer

FILMS = load_films()
PROMPTS = load_movies("stress")
CASABLANCA = FILMS["Casablanca (1942)"]
GOOD = write_answer(CASABLANCA, "Love against duty, with a song in the middle.")
INVENTED = GOOD.replace("Casablanca (1942)", "The Teapot Run (1942)")


def prompt(group: str, **constraints) -> Conversation:
    notes = {"group": group, "constraints": constraints}
    return Conversation("p", ({"role": "user", "content": "?"},), notes)


def failed(text: str, asked: Conversation, *, stopped: bool = True) -> set[str]:
    verdicts = stress.judge(asked, Generated(text, stopped), FILMS)
    return {name for name, passed in verdicts.items() if not passed}


def test_a_right_answer_passes_every_check():
    asked = prompt("one_constraint", max_minutes=119, genres=["romance"])
    assert failed(GOOD, asked) == set()


@pytest.mark.parametrize(
    ("broken", "checks"),
    [
        (GOOD.replace("**", ""), {"title and year"}),
        (GOOD.replace(" (1942)", ""), {"title and year"}),
        ("Sure!\n" + GOOD, {"title and year", "three bullets"}),
        (GOOD.rsplit("\n", 1)[0], {"three bullets"}),
        (GOOD + "\n- Cast: many", {"three bullets"}),
        (GOOD + "\nEnjoy the film!", {"three bullets"}),
        ("", {"title and year", "three bullets"}),
    ],
)
def test_a_break_of_the_form_is_named(broken, checks):
    found = failed(broken, prompt("one_constraint", max_minutes=119))
    assert found & set(stress.FORM_CHECKS) == checks
    assert found >= set(stress.FACT_CHECKS), "facts are read from the form only"


def test_an_answer_that_the_limit_ended_did_not_end_by_itself():
    assert failed(GOOD, prompt("vague_mood"), stopped=False) == {"ends by itself"}


def test_an_invented_film_is_in_form_and_has_no_right_fact():
    asked = prompt("one_constraint", max_minutes=119)
    assert failed(INVENTED, asked) == set(stress.FACT_CHECKS)
    assert stress.claims_to_fit(INVENTED, asked.notes["constraints"])


@pytest.mark.parametrize(
    "wrong",
    [
        GOOD.replace(f"{CASABLANCA.runtime_minutes} minutes", "61 minutes"),
        GOOD.replace(", ".join(CASABLANCA.genres), "western"),
    ],
)
def test_a_wrong_fact_of_an_existing_film_is_found(wrong):
    assert failed(wrong, prompt("vague_mood")) == {"facts right"}


def test_the_wish_is_held_against_the_table_and_not_against_the_answers_own_words():
    asked = prompt("one_constraint", max_minutes=70)
    lying = GOOD.replace(f"{CASABLANCA.runtime_minutes} minutes", "65 minutes")
    assert stress.claims_to_fit(lying, asked.notes["constraints"])
    assert failed(lying, asked) == {"facts right", "wish met"}


def test_a_mood_has_no_wish_that_a_table_could_check():
    verdicts = stress.judge(prompt("vague_mood"), Generated(GOOD, True), FILMS)
    assert "wish met" not in verdicts and "film exists" in verdicts


@pytest.mark.parametrize("group", ["impossible_wish", "off_topic", "empty"])
def test_where_no_film_is_right_a_film_is_the_failure(group):
    assert failed(GOOD, prompt(group)) == {"no film forced"}
    assert failed("I only know films. What would you like?", prompt(group)) == set()


def test_four_words_three_times_are_a_loop_and_twice_are_not():
    line = "a film about love "
    assert stress.loops(line * 3) and not stress.loops(line * 2)
    assert not stress.loops(GOOD) and not stress.loops("")
    assert stress.loops("no no no no no no")


def test_every_prompt_of_the_set_is_in_a_known_group_and_can_be_judged():
    groups = {asked.notes["group"] for asked in PROMPTS}
    assert groups == set(stress.GROUPS) and len(PROMPTS) == 32
    for asked in PROMPTS:
        checks = stress.judge(asked, Generated(GOOD, True), FILMS)
        wanted = stress.FILM_CHECKS
        if not stress.GROUPS[asked.notes["group"]]:
            wanted = stress.OTHER_CHECKS
        assert set(checks) <= set(wanted)


def test_the_expected_films_of_the_set_meet_its_own_wishes():
    for asked in PROMPTS:
        for name in asked.notes["expected"]:
            answer = write_answer(FILMS[name], "It fits.")
            assert failed(answer, asked) == set(), (asked.id, name)


def test_an_unknown_group_is_named():
    with pytest.raises(KeyError, match="'riddles'"):
        stress.judge(prompt("riddles"), Generated(GOOD, True), FILMS)


def test_a_rate_counts_only_prompts_to_which_the_check_applies():
    asked = [prompt("one_constraint", max_minutes=119), prompt("off_topic")]
    answers = [Generated(GOOD, True), Generated(GOOD, True)]
    rows = stress.judge_all(asked, answers, FILMS, model="tuned")
    assert stress.pass_rate(rows, "film exists") == stress.PassRate(1, 1)
    assert stress.pass_rate(rows, "no film forced") == stress.PassRate(0, 1)
    assert str(stress.pass_rate(rows, "nothing")) == "–"
    assert [row.in_form for row in rows] == [True, False]


def test_ten_of_ten_still_leave_room_down_to_72_percent():
    low, high = stress.PassRate(10, 10).interval
    assert (round(low, 2), high) == (0.72, 1.0)


def test_what_is_written_can_be_read_line_by_line(tmp_path):
    rows = stress.judge_all(
        [prompt("vague_mood")], [Generated("é", False)], FILMS, model="base", seed=2
    )
    assert stress.write_judged(tmp_path / "stress.jsonl", rows) == 1
    [line] = (tmp_path / "stress.jsonl").read_text("utf-8").splitlines()
    kept = json.loads(line)
    assert kept["answer"] == "é" and kept["decoding"] == "drawn" and kept["seed"] == 2
    assert kept["verdicts"]["ends by itself"] is False

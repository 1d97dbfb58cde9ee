"""The form that answers have in common, found by a program."""

import pytest

from course_utils.data.datasets import load_movies
from course_utils.projects.own.form import form_of, named_parts, overlap, plain


def test_lines_with_the_same_pieces_have_that_form():
    form = form_of(["To: Ann | Re: tea", "To: Bob | Re: the old kettle"])
    assert form.kind == "pieces" and form.described == "“To: … | Re: …”"
    assert form.is_fixed and form.described in form.in_words
    assert form.holds("To: Cy | Re: a lamp")
    for text in (
        "",
        "Re: tea | To: Ann",
        "To Ann, re tea",
        "To: A | Re: b\n" + "c " * 30,
    ):
        assert not form.holds(text), text


def test_few_answers_that_come_again_are_labels():
    form = form_of(["yes", "no", "Yes.", "no", "no", "yes"])
    assert form.kind == "labels" and form.described in (
        "one of yes, no",
        "one of no, yes",
    )
    assert form.holds(" YES. ") and not form.holds("yes, it is") and not form.holds("")


def test_objects_with_the_same_keys_are_json():
    form = form_of(['{"team": "a", "n": 1}', '{"n": 2, "team": "b"}'])
    assert form.kind == "JSON" and "n, team" in form.described
    assert form.holds('{"team": null, "n": 3}')
    for text in ('{"team": "a"}', "[1]", "team: a", '{"team": "a", "n": 1} Done.'):
        assert not form.holds(text), text


def test_free_texts_have_no_form_but_a_length():
    texts = ["The sea is blue today", "Nobody came", "I would rather walk home alone"]
    form = form_of(texts)
    assert form.kind == "length" and form.described == "at most 6 words"
    assert not form.is_fixed
    assert form.holds("Some other words") and not form.holds("word " * 10)
    assert all(map(form.holds, texts))


def test_the_form_of_the_movie_rows_is_found_and_others_do_not_have_it():
    answers = [row.answer for row in load_movies("train")]
    form = form_of(answers)
    assert form.kind == "pieces" and "Runtime: … minutes" in form.described
    assert all(form.holds(row.answer) for row in load_movies("validation"))
    assert not form.holds(answers[0].replace("- Runtime", "- Length"))
    assert not form.holds("I recommend Alien, a film of 1979.")


def test_no_answers_have_no_form():
    with pytest.raises(ValueError, match="No answers"):
        form_of([])


def test_case_spaces_and_the_last_mark_do_not_count():
    assert plain("  Team:  A. ") == plain("team: a")
    assert plain("team: a") != plain("team: b")


def test_an_answer_is_taken_apart_by_its_names():
    ticket = {"team": "spare parts", "order": "none"}
    assert named_parts("Team: Spare parts | Order: none.") == ticket
    assert named_parts("Team: spare parts\n- Order:  none") == ticket
    assert named_parts('{"team": "spare parts", "order": "none"}') == ticket
    assert named_parts("billing") == named_parts("[1]") == named_parts("") == {}
    assert named_parts("At 10:30 it rained.") == {}  # a time is no name


def test_overlap_is_the_f1_of_the_words():
    assert overlap("a b c", "a b c") == 1 and overlap("", "a") == overlap("x", "a") == 0
    # Two of three words here, two of four there: 2 x 2 / (3 + 4).
    assert overlap("a b x", "a b c d") == pytest.approx(4 / 7)
    assert overlap("a a a", "a") == pytest.approx(0.5)  # it counts once

"""Numbers in words, and what a sentence asserts about them."""

import pytest

from course_utils.evidence.sentences import (
    holds,
    references_of,
    seconds_to_say,
    shown,
    spoken_words,
    values_of,
)


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (5.96, ".1f", "6.0"),
        (0.094, ".0%", "9%"),
        (0, "count", "none"),
        (12, "count", "twelve"),
        (13, "count", "13"),
        (2.5, "count", "2"),
        (41_943_040, "million", "42 million"),
        (41_943_040, "million.1", "41.9 million"),
        (8.03e9, "billion.2", "8.03 billion"),
        (4_193, "thousand", "4 thousand"),
    ],
)
def test_a_value_is_shown_in_its_form(value, form, text):
    assert shown(value, form) == text


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="format"):
        shown(1.0, "dozens")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a plain sentence of six words", 6),
        ("41,943,040", 9),  # forty one million nine hundred forty three thousand forty
        ("0", 1),
        ("100", 2),
        ("2,376", 6),  # two thousand three hundred seventy six
        ("1,000,000", 2),
        ("0.092", 5),  # zero point zero nine two
        ("42 million", 3),
        ("5%", 2),
        ("GPU", 3),
        ("LoRA and QLoRA", 4),
        ("bf16", 2),
        ("it's", 1),
        ("", 0),
    ],
)
def test_words_are_counted_as_they_are_said(text, words):
    assert spoken_words(text) == words


def test_a_minute_holds_140_words():
    assert seconds_to_say("word " * 140) == 60


EVIDENCE = {"C001": {"a": 2.0, "b": 3.0}, "C002": {"c": -1.0}}


@pytest.mark.parametrize(
    ("predicate", "truth"),
    [
        ("C001.a < C001.b", True),
        ("C001.a > C001.b", False),
        ("1 < C001.a < C001.b <= 3", True),
        ("1 < C001.a < 2", False),
        ("C001.a * 1.5 == C001.b and not C002.c > 0", True),
        ("C001.a == 9 or C002.c == -1", True),
        ("abs(C002.c) < min(C001.a, C001.b)", True),
        ("max(C001.a, C001.b) - C002.c > 4", False),
        ("C001.a / (C002.c + 1) > 0", False),  # divided by zero
    ],
)
def test_a_predicate_is_true_or_false_of_recorded_values(predicate, truth):
    assert holds(predicate, EVIDENCE) is truth


@pytest.mark.parametrize(
    "text",
    [
        "",
        "C001.a",  # compares nothing
        "-C001.a",
        "1 < 2",  # can never be false
        "C001.a > 1 or 1",
        "C001.a = 1",
        "C001.a > '1'",
        "a > 1",
        "C001.a.b > 1",
        "open('x') > C001.a",
        "C001.a > 1 if C001.b else C001.a",
        "[x for x in C001.a] > 1",
        "C001.a > max()",
        "C001.a is 1",
    ],
)
def test_what_is_no_predicate_is_refused(text):
    with pytest.raises(ValueError, match="expected comparisons"):
        holds(text, EVIDENCE)


def test_a_predicate_on_a_value_without_record_says_which():
    with pytest.raises(KeyError, match=r"C001\.z has no recorded value"):
        holds("C001.z > 1", EVIDENCE)


def test_references_are_found_in_texts_and_predicates():
    assert references_of("{C001.a} of {C002.c}") == {("C001", "a"), ("C002", "c")}
    assert values_of("C001.a < C002.c * 2") == {("C001", "a"), ("C002", "c")}

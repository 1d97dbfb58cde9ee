from fractions import Fraction

import numpy as np
import pytest
import torch

from course_utils.exercises.checking import TODO, Case, WrongAnswer, check

HALF = Case((4,), 2.0, {8.0: "you doubled it", 4.0: "nothing happened"})


def lambda_named(name, function):
    function.__name__ = name
    return function


def test_an_untouched_stub_lets_the_run_go_on():
    assert "not attempted yet" in check(lambda_named("halve", lambda x: TODO), HALF)


def test_a_right_answer_is_called_right():
    halve = lambda_named("halve", lambda x: x / 2)
    assert check(halve, HALF, Case((0,), 0.0, {})) == "halve: right, in 2 of 2 cases."


def test_a_known_mistake_is_named_and_an_unknown_one_shows_both_values():
    with pytest.raises(WrongAnswer, match=r"halve\(4\) gave 8: you doubled it"):
        check(lambda_named("halve", lambda x: x * 2), HALF)
    with pytest.raises(WrongAnswer, match=r"gave 7, expected 2\.0"):
        check(lambda_named("halve", lambda x: 7), HALF)


def test_a_list_that_equals_a_known_mistake_is_named():
    case = Case(([1, 2],), [2, 1], {(1, 2): "not reversed"})
    with pytest.raises(WrongAnswer, match="not reversed"):
        check(lambda_named("reverse", lambda x: x), case)


def verdict(found, expected, mistakes=()):
    return check(lambda_named("attempt", lambda: found), Case((), expected, mistakes))


ABOUT_03, NAN = 0.1 + 0.2, float("nan")


@pytest.mark.parametrize(
    ("expected", "answers"),
    [
        (0.3, [ABOUT_03, np.float32(0.3), np.array(0.3), torch.tensor(0.3)]),
        (5, [5.0, np.int64(5), np.float64(5), torch.tensor(5), Fraction(5)]),
        ([0.3, 1], [(ABOUT_03, 1), np.array([0.3, 1.0]), [torch.tensor(0.3), 1]]),
        ((0.3, [1]), [[ABOUT_03, (1,)]]),
        ([[1], [2]], [torch.tensor([[1.0], [2.0]])]),
        (True, [np.bool_(True)]),
        ("a", [np.str_("a")]),
        ([NAN, float("inf")], [torch.tensor([NAN, float("inf")])]),
    ],
    ids=str,
)
def test_a_right_answer_is_right_in_whatever_type_it_comes(expected, answers):
    for found in answers:
        assert ": right" in verdict(found, expected), found


@pytest.mark.parametrize(
    ("expected", "answers"),
    [
        (1, [True, torch.tensor(True), None, "1", [1], NAN, np.float32(1.001)]),
        (True, [1, 1.0, "True"]),
        ((0.3, 1), [(0.3, 1.001), (0.3,), (0.3, 1, 1), 0.3, (NAN, 1), (0.3, True)]),
        (NAN, [0.3]),
        ("a", ["A", None]),
    ],
    ids=str,
)
def test_another_value_or_kind_is_wrong(expected, answers):
    for found in answers:
        with pytest.raises(WrongAnswer, match=r"attempt\(\) gave .*, expected "):
            verdict(found, expected)


def test_mistakes_may_be_pairs_where_a_mapping_would_take_two_for_one():
    mistakes = [(True, "a number is asked for"), (1, "one too few"), ([2], "a list")]
    for found, message in ((True, "a number"), (1.0, "one too"), ([2], "a list")):
        with pytest.raises(WrongAnswer, match=message):
            verdict(found, 2, mistakes)

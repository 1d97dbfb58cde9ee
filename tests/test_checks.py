"""Checks of a learner's function: what counts as right, what is said of the rest."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from course_utils.exercises.checking import TODO, Case, Exercise, WrongAnswer, verdict


def halve(number):
    return number / 2


HALVE = Exercise(
    solution=halve,
    cases=(Case((4,), 2.0), Case((0,), 0.0)),
    mistakes={"you doubled it": lambda number: number * 2},
)


def test_an_untouched_stub_lets_the_run_go_on():
    assert "not attempted yet" in verdict(lambda number: TODO, HALVE)


def test_a_right_answer_is_called_right():
    assert verdict(halve, HALVE) == "halve: right, in 2 of 2 cases."


def test_a_known_mistake_is_named_and_an_unknown_one_shows_both_values():
    with pytest.raises(WrongAnswer, match=r"\(4\) gave 8: you doubled it"):
        verdict(lambda number: number * 2, HALVE)
    with pytest.raises(WrongAnswer, match=r"\(4\) gave 7, expected 2\.0"):
        verdict(lambda number: 7, HALVE)


def tried(found, expected):
    """Verdict on a function that returns what was found."""

    def attempt():
        return found

    cases = (Case((), expected),)
    return verdict(attempt, Exercise(solution=attempt, cases=cases, mistakes={}))


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
        assert ": right" in tried(found, expected), found


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
            tried(found, expected)

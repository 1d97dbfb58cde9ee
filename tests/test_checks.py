from fractions import Fraction

import numpy as np
import pytest
import torch

from course_utils.checks import TODO, Case, WrongAnswer, check

HALF = Case((4,), 2.0, {8.0: "you doubled it", 4.0: "nothing happened"})


def test_an_untouched_stub_lets_the_run_go_on():
    def halve(x):
        return TODO

    assert "not attempted yet" in check(halve, HALF)


def test_a_right_answer_is_called_right():
    def halve(x):
        return x / 2

    assert check(halve, HALF, Case((0,), 0.0, {})) == ("halve: right, in 2 of 2 cases.")


def test_a_known_mistake_is_named_and_an_unknown_one_shows_both_values():
    with pytest.raises(WrongAnswer, match=r"halve\(4\) gave 8: you doubled it"):
        check(lambda_named("halve", lambda x: x * 2), HALF)
    with pytest.raises(WrongAnswer, match=r"gave 7, expected 2\.0"):
        check(lambda_named("halve", lambda x: 7), HALF)


def lambda_named(name, function):
    function.__name__ = name
    return function


def test_a_list_that_equals_a_known_mistake_is_named():
    case = Case(([1, 2],), [2, 1], {(1, 2): "not reversed"})
    with pytest.raises(WrongAnswer, match="not reversed"):
        check(lambda_named("reverse", lambda x: x), case)


def is_right(found, expected, mistakes=()):
    check(lambda_named("attempt", lambda: found), Case((), expected, mistakes))
    return True


NAN = float("nan")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (np.float32(0.3), 0.3),
        (np.int64(5), 5),
        (np.array(0.3), 0.3),
        (torch.tensor(0.3), 0.3),
        (torch.tensor(5), 5.0),
        (Fraction(1, 2), 0.5),
        ((0.1 + 0.2, 1), (0.3, 1)),
        ([0.1 + 0.2, 1], (0.3, 1)),
        ((1, 2), [1, 2]),
        ([[0.1 + 0.2], "a"], [(0.3,), "a"]),
        (np.array([0.1 + 0.2, 1.0]), [0.3, 1.0]),
        (torch.tensor([[1.0], [2.0]]), [[1], [2]]),
        ([torch.tensor(0.3), np.float32(2)], [0.3, 2]),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (float("inf"), float("inf")),
        (torch.tensor([NAN, 1.0]), [NAN, 1.0]),
    ],
)
def test_a_right_number_is_right_in_whatever_type_it_comes(found, expected):
    assert is_right(found, expected)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (True, 1),
        (1, True),
        (torch.tensor(True), 1),
        (np.float32(0.3001), 0.3),
        ((0.3, 1.001), (0.3, 1)),
        ([1], [1, 1]),
        (torch.tensor([0.3]), 0.3),
        (0.3, [0.3]),
        ("0.3", 0.3),
        ("a", "A"),
        (NAN, 0.3),
        (0.3, NAN),
        ([NAN], [0.3]),
        (None, 0),
        (None, "a"),
    ],
)
def test_another_value_or_kind_is_wrong(found, expected):
    with pytest.raises(WrongAnswer, match=r"attempt\(\) gave .*, expected "):
        is_right(found, expected)


def test_mistakes_may_be_pairs_where_a_mapping_would_take_two_for_one():
    mistakes = [(True, "a number is asked for"), (1, "one too few"), ([2], "a list")]
    for found, message in ((True, "a number"), (1.0, "one too"), ([2], "a list")):
        with pytest.raises(WrongAnswer, match=message):
            is_right(found, 2, mistakes)

import pytest

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


def test_true_is_not_taken_for_one():
    with pytest.raises(WrongAnswer):
        check(lambda_named("count", lambda: True), Case((), 1, {}))

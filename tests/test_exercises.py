"""Each exercise's solution passes, and each mistake that it names is run and caught."""

import inspect

import pytest

from course_utils.exercises import EXERCISES, TODO, UnknownExercise, check
from course_utils.exercises.checking import WrongAnswer, verdict

each = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
MISTAKES = [
    pytest.param(exercise, message, wrong, id=f"{name}-{number}")
    for name, exercise in EXERCISES.items()
    for number, (message, wrong) in enumerate(exercise.mistakes.items(), start=1)
]


@each
def test_the_solution_is_right_and_an_untouched_stub_is_no_error(exercise):
    assert ": right, in " in verdict(exercise.solution, exercise)

    def stub(*arguments):
        return TODO

    assert "not attempted yet" in verdict(stub, exercise)
    assert len(exercise.cases) >= 2 and len(exercise.mistakes) >= 2


@pytest.mark.parametrize(("exercise", "message", "wrong"), MISTAKES)
def test_every_named_mistake_is_refused_with_its_message(exercise, message, wrong):
    names = list(inspect.signature(exercise.solution).parameters)
    assert list(inspect.signature(wrong).parameters) == names
    with pytest.raises(WrongAnswer) as caught:
        verdict(wrong, exercise)
    assert str(caught.value).endswith(f": {message}")


def test_a_function_that_spoils_its_arguments_does_not_spoil_the_check():
    mask = EXERCISES["count_updates"]
    seen = []

    def attempt(*arguments):
        seen.append(arguments)
        return TODO

    verdict(attempt, mask)
    assert seen[0] == mask.cases[0].arguments


def test_a_renamed_function_is_told_the_names_that_there_are():
    def counted(rows):
        return 1

    with pytest.raises(UnknownExercise, match=r"'counted'.*count_updates"):
        check(counted)

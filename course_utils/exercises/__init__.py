"""The exercises of the lessons: cases, solutions, and mistakes that are run by a test.

One module a topic; a notebook has the stub and `check(its_function)`, so that a check
does not show the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from course_utils import CourseError
from course_utils.exercises import (
    adapter,
    gguf,
    judging,
    loading,
    preferences,
    training,
)
from course_utils.exercises.checking import TODO as TODO
from course_utils.exercises.checking import Exercise, verdict

EXERCISES: dict[str, Exercise] = {
    exercise.solution.__name__: exercise
    for module in (
        loading,
        adapter,
        training,
        judging,
        gguf,
        preferences,
    )
    for exercise in module.EXERCISES
}


class UnknownExercise(CourseError, LookupError):
    """No exercise goes by a function's name."""


def check(attempt: Callable[..., Any]) -> str:
    """Try the learner's function, by its name; a line for the notebook.

    Raises:
        WrongAnswer: At the first case that fails, naming the likely mistake.
        UnknownExercise: If the function was renamed.
    """
    if attempt.__name__ not in EXERCISES:
        raise UnknownExercise(
            f"There is no exercise {attempt.__name__!r}. Was the function renamed? The "
            f"exercises are {', '.join(EXERCISES)}."
        )
    return verdict(attempt, EXERCISES[attempt.__name__])

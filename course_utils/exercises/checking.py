"""Checks of a learner's function, whose messages name the mistake."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from numbers import Real
from typing import Any

from course_utils import CourseError

_SHOWN = 300  # characters of a value in a message


class _NotAttempted:
    """What an untouched stub returns; a check then reports and lets the run go on."""

    def __repr__(self) -> str:
        return "not attempted yet"


TODO = _NotAttempted()


class WrongAnswer(CourseError, AssertionError):
    """An attempt that is not right yet; the message says what to look at."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the message without the lines of the check."""
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True)
class Case:
    """One call of the learner's function and what it must return."""

    arguments: tuple
    expected: object
    tolerance: float = 1e-6  # of numbers, relative above 1 and absolute below


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """What a learner is to write, and the mistakes that are likely, all of them code.

    The function's name, `solution.__name__`, is what the learner's goes by.
    """

    solution: Callable[..., Any]
    cases: Sequence[Case]
    mistakes: Mapping[str, Callable[..., Any]]  # what to say, and code that does it
    seen_as: Callable[[Any], Any] = lambda result: result  # what of it is compared


def verdict(attempt: Callable[..., Any], exercise: Exercise) -> str:
    """Try a function on an exercise's cases; a line for the notebook.

    A result that one of the mistakes gives as well is called by that mistake's name.
    Numbers, arrays and tensors of any type count by their values, lists and tuples by
    what they hold; True is not 1. Each function gets arguments of its own, so that none
    can spoil another's.

    Raises:
        WrongAnswer: At the first case that fails.
    """
    for case in exercise.cases:
        found = attempt(*copy.deepcopy(case.arguments))
        if found is TODO:
            return f"{attempt.__name__}: not attempted yet. The run goes on."
        seen = exercise.seen_as(found)
        if not _same(seen, case.expected, case.tolerance):
            told = f"{_call(attempt.__name__, case)} gave {_short(seen)}"
            known = _known_mistake(exercise, case, seen)
            raise WrongAnswer(
                f"{told}: {known}"
                if known
                else f"{told}, expected {_short(case.expected)}."
                f"{_shapes_told(seen, case.expected)}"
            )
    number = len(exercise.cases)
    return f"{attempt.__name__}: right, in {number} of {number} cases."


def _known_mistake(exercise: Exercise, case: Case, seen: object) -> str | None:
    for message, wrong in exercise.mistakes.items():
        made = exercise.seen_as(wrong(*copy.deepcopy(case.arguments)))
        if _same(seen, made, case.tolerance):
            return message
    return None


def _call(name: str, case: Case) -> str:
    return f"{name}({', '.join(map(_short, case.arguments))})"


def _short(value: object) -> str:
    told = re.sub(r"\n\s*", " ", repr(value))  # arrays have lines
    return told if len(told) <= _SHOWN else f"{told[:_SHOWN]} …"


def _shapes_told(found: Any, expected: Any) -> str:
    """Of each array whose shape is another than expected, alone or in a tuple."""
    both = isinstance(found, tuple) and isinstance(expected, tuple)
    pairs = zip(found, expected, strict=False) if both else [(found, expected)]
    shapes = [(tuple(a.shape), _shape(b)) for a, b in pairs if hasattr(a, "shape")]
    return "".join(
        f" A shape is {there}, expected {wanted}."
        for there, wanted in shapes
        if there != wanted
    )


def _shape(value: Any) -> tuple[int, ...]:
    """Of lists in lists, as an array of them would have it."""
    value = _as_plain(value)
    if not isinstance(value, list | tuple):
        return ()
    return (len(value), *(_shape(value[0]) if value else ()))


def _same(found: Any, expected: Any, tolerance: float) -> bool:
    found, expected = _as_plain(found), _as_plain(expected)
    if isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            return False
        return all(map(_same, found, expected, repeat(tolerance)))
    if _is_number(found) and _is_number(expected):
        both_nan = found != found and expected != expected
        close = math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)
        return close or both_nan
    return type(found) is type(expected) and bool(found == expected)


def _as_plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value  # numpy, torch, pandas


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)

"""Exercises: a stub that says so, and checks whose messages name the mistake."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from numbers import Real
from typing import Any

from course_utils import CourseError


class _NotAttempted:
    """What an untouched stub returns; a check then reports and lets the run go on."""

    def __repr__(self) -> str:
        return "not attempted yet"


TODO = _NotAttempted()


class WrongAnswer(CourseError, AssertionError):
    """An attempt that is not right yet; the message says what to look at."""


@dataclass(frozen=True)
class Case:
    """One call of the learner's function and what it must return."""

    arguments: tuple
    expected: object
    # Wrong results with the mistake that gives them. Pairs where a mapping would not
    # do: in one, 1, True and 1.0 are one key, and a list is none.
    mistakes: Mapping[Any, str] | Sequence[tuple[object, str]] = ()
    tolerance: float = 1e-6  # of numbers, relative above 1 and absolute below


def check(attempt: Callable, *cases: Case) -> str:
    """Try the learner's function on each case; a line for the notebook.

    Numbers, arrays and tensors of any type count by their values, lists and tuples
    by what they hold; True is not 1.

    Raises:
        WrongAnswer: At the first case that fails, naming the likely mistake.
    """
    for case in cases:
        found = attempt(*case.arguments)
        if found is TODO:
            return f"{attempt.__name__}: not attempted yet. The run goes on."
        if not _same(found, case.expected, case.tolerance):
            raise WrongAnswer(_message(attempt.__name__, case, found))
    return f"{attempt.__name__}: right, in {len(cases)} of {len(cases)} cases."


def _message(name: str, case: Case, found: object) -> str:
    told = f"{name}({', '.join(map(repr, case.arguments))}) gave {found!r}"
    known = case.mistakes
    for wrong, mistake in known.items() if isinstance(known, Mapping) else known:
        if _same(found, wrong, case.tolerance):
            return f"{told}: {mistake}"
    return f"{told}, expected {case.expected!r}."


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

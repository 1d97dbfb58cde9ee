"""Exercises: a stub that says so, and checks whose messages name the mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class NotAttempted:
    """What an untouched stub returns; a check then reports and lets the run go on."""

    def __repr__(self) -> str:
        return "not attempted yet"


TODO = NotAttempted()


class WrongAnswer(AssertionError):
    """An attempt that is not right yet; the message says what to look at."""


@dataclass(frozen=True)
class Case:
    """One call of the learner's function and what it must return.

    Attributes:
        arguments: Passed in order.
        expected: The right result.
        mistakes: Wrong results that a known mistake gives, with what it was; a
            list is written as a tuple there.
        tolerance: Relative error allowed for numbers.
    """

    arguments: tuple
    expected: object
    mistakes: dict[object, str]
    tolerance: float = 1e-6


def check(attempt: Callable, *cases: Case) -> str:
    """Try the learner's function on each case.

    Returns:
        A line for the notebook: right, or not attempted yet.

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
    call = f"{name}({', '.join(map(repr, case.arguments))})"
    for wrong, mistake in case.mistakes.items():
        if _same(found, wrong, case.tolerance):
            return f"{call} gave {found!r}: {mistake}"
    return f"{call} gave {found!r}, expected {case.expected!r}."


def _same(found: object, expected: object, tolerance: float) -> bool:
    if isinstance(found, list) and isinstance(expected, tuple):
        found = tuple(found)
    numbers = (int, float)
    if isinstance(expected, bool) or not isinstance(expected, numbers):
        return found == expected
    if isinstance(found, bool) or not isinstance(found, numbers):
        return False
    return abs(found - expected) <= tolerance * max(1.0, abs(expected))

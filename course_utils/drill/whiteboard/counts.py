"""On the board: is one model better, and how sure is a share?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from course_utils.drill.whiteboard.board import Task
from course_utils.exercises import EXERCISES
from course_utils.exercises.checking import Case, Exercise

Verdicts = list[bool]


def mcnemar(first: list[bool], second: list[bool]) -> float:
    """Exact two-sided p-value of two models on the same questions.

    Each list says of every question whether that model was right.
    """
    pairs = list(zip(first, second, strict=True))
    lost = sum(a and not b for a, b in pairs)
    gained = sum(b and not a for a, b in pairs)
    ways = sum(math.comb(lost + gained, k) for k in range(min(lost, gained) + 1))
    return min(1.0, 2 * ways / 2 ** (lost + gained))


def _on_counts(rule: Callable[[int, int], float]) -> Callable[..., float]:
    """A p-value of the two kinds of questions on which the models differ."""

    def p_value(first: Verdicts, second: Verdicts) -> float:
        pairs = list(zip(first, second, strict=True))
        return rule(pairs.count((True, False)), pairs.count((False, True)))

    return p_value


def _two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2))


def _chi_square(correction: int) -> Callable[[int, int], float]:
    def rule(lost: int, gained: int) -> float:
        gap = max(0, abs(lost - gained) - correction)
        return _two_sided(gap / math.sqrt(max(1, lost + gained)))

    return rule


def _of_all_questions(first: Verdicts, second: Verdicts) -> float:
    better = sum(b and not a for a, b in zip(first, second, strict=True))
    tail = sum(math.comb(len(first), k) for k in range(better + 1))
    return min(1.0, 2 * tail / 2 ** len(first))


def _unpaired(first: Verdicts, second: Verdicts) -> float:
    n, right = len(first), sum(first) + sum(second)
    error = math.sqrt(right / (2 * n) * (1 - right / (2 * n)) * 2 / n)
    return _two_sided((sum(second) - sum(first)) / n / error)


def _answers(lost: int, gained: int, alike: int) -> tuple[Verdicts, Verdicts]:
    """Two models' verdicts; those that are alike are right and wrong by turns."""
    shared = [question % 2 == 0 for question in range(alike)]
    first = [True] * lost + [False] * gained
    return first + shared, [not right for right in first] + shared


# The lesson's exercise takes the two counts, and names what goes wrong after them.
_COUNTED = EXERCISES["exact_p"].mistakes

MCNEMAR = Task(
    slug="mcnemar",
    title="McNemar's exact test",
    topic="evaluation",
    task=(
        "Two models answered the same questions. You get two lists of equal length, "
        "in the same order, that say of each question whether the first and the "
        "second model was right. Return the two-sided p-value of McNemar's exact "
        "test: if neither is better, a question on which just one is right falls to "
        "either with probability one half. Use the standard library alone. Lists "
        "without such a question give 1."
    ),
    hint=(
        "Count both kinds of questions on which the models differ. Sum the binomial "
        "tail up to the smaller count, double it, and think of equal counts."
    ),
    imports="import math",
    of_arrays=False,
    exercise=Exercise(
        solution=mcnemar,
        cases=(
            Case(_answers(3, 1, 2), 2 * (1 + 4) / 2**4),
            Case(_answers(0, 5, 3), 2 / 2**5),
            Case(_answers(2, 2, 1), 1.0),
            Case(_answers(0, 0, 2), 1.0),
        ),
        mistakes={
            **{told: _on_counts(rule) for told, rule in _COUNTED.items()},
            "that is the chi-square test, an approximation for many questions: the "
            "exact one is a binomial.": _on_counts(_chi_square(0)),
            "that is the chi-square test with its correction, still an approximation: "
            "the exact one is a binomial.": _on_counts(_chi_square(1)),
            "this counts all questions: those on which the models agree say nothing "
            "of which is better.": _of_all_questions,
            "this takes the models for two samples of their own: the same questions "
            "were answered, so compare question by question.": _unpaired,
        },
    ),
)


def wilson(right: int, n: int, z: float) -> tuple[float, float]:
    """Low and high end of Wilson's interval of a share, right of n."""
    centre = (right + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * math.sqrt(right * (n - right) / n + z**2 / 4)
    return centre - half, centre + half


def _around(centre: Any, half: Any) -> Callable[..., tuple[float, float]]:
    """An interval of another centre or another half width."""

    def interval(right: int, n: int, z: float) -> tuple[float, float]:
        middle, width = centre(right, n, z), half(right, n, z)
        return middle - width, middle + width

    return interval


def _share(right: int, n: int, z: float) -> float:
    return right / n


def _centre(right: int, n: int, z: float) -> float:
    return sum(wilson(right, n, z)) / 2


def _half(right: int, n: int, z: float) -> float:
    low, high = wilson(right, n, z)
    return (high - low) / 2


def _wald(right: float, n: float, z: float) -> float:
    return z * math.sqrt(right / n * (1 - right / n) / n)


def _plus_four(right: int, n: int, z: float) -> float:
    """Half width of Agresti and Coull's interval."""
    return _wald(_centre(right, n, z) * (n + z**2), n + z**2, z)


WILSON = Task(
    slug="wilson",
    title="Wilson's interval of a share",
    topic="evaluation",
    task=(
        "A model was right on some of n questions. Return the low and the high end of "
        "Wilson's interval for its true share; z says how many standard errors, such "
        "as 1.96 for 95 %. The interval holds each share p from which the observed "
        "one lies at most z standard errors away, where the standard error is that of "
        "p itself, the root of p (1 - p) / n. It must stay sensible when none or all "
        "of the answers are right."
    ),
    hint=(
        "Square the condition: a quadratic inequality in p. Its centre adds half of "
        "z squared to the right answers and z squared to n."
    ),
    imports="import math",
    exercise=Exercise(
        solution=wilson,
        cases=(
            # centre 5 / 16; half width 2 / 16 of the root of 9 / 4 + 1
            Case((3, 12, 2.0), (5 / 16 - 13**0.5 / 16, 5 / 16 + 13**0.5 / 16)),
            Case((0, 27, 1.96), (0.0, 1.96**2 / (27 + 1.96**2))),
            Case((5, 5, 2.0), (5 / 9, 1.0)),
        ),
        mistakes={
            "that is the normal interval around the observed share, which has no "
            "width where none are right.": _around(_share, _wald),
            "Wilson's width stands around the observed share: its centre moves "
            "towards one half.": _around(_share, _half),
            "the centre is Wilson's and the width is not: under the root stands z² / 4 "
            "as well.": _around(
                _centre,
                lambda right, n, z: z / (n + z**2) * math.sqrt(right * (n - right) / n),
            ),
            "that is Agresti and Coull's interval, an approximation of this one.": (
                _around(_centre, _plus_four)
            ),
            "z is not squared in the centre.": _around(
                lambda right, n, z: (right + z / 2) / (n + z), _half
            ),
        },
    ),
)

TASKS = (MCNEMAR, WILSON)

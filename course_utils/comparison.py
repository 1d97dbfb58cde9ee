"""Two evaluations compared: never a bare difference, always n, interval and p.

Both models answered the same questions, so the comparison is paired: a question
that both get right, or both wrong, says nothing about which is better. Only the
discordant ones do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Self

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from course_utils import CourseError
from course_utils.accuracy import Share, mean_interval
from course_utils.power import (
    ALPHA,
    POWER,
    detectable_difference,
    exact_p,
    needed_questions,
)

Verdicts = Iterable[tuple[bool, bool]]  # of the first model, of the second


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same questions, under one metric; all counts are questions."""

    names: tuple[str, str]  # the first and the second, such as base and tuned
    metric: str
    both_right: int
    lost: int  # right for the first, wrong for the second (b)
    gained: int  # wrong for the first, right for the second (c)
    both_wrong: int
    seed: int = 0  # of the bootstrap

    @classmethod
    def of(
        cls, names: tuple[str, str], metric: str, pairs: Verdicts, seed: int = 0
    ) -> Self:
        """Count the verdicts on each question."""
        counts = Counter(pairs)
        kinds = product((True, False), repeat=2)
        return cls(names, metric, *(counts[kind] for kind in kinds), seed)

    @property
    def n(self) -> int:
        """Questions, each answered by both."""
        return self.both_right + self.lost + self.gained + self.both_wrong

    @property
    def discordant(self) -> int:
        """Questions on which exactly one of the two is right."""
        return self.lost + self.gained

    @property
    def first(self) -> Share:
        """Of the first model alone."""
        right = self.both_right + self.lost
        return Share(right, self.n, self.names[0], self.metric)

    @property
    def second(self) -> Share:
        """Of the second model alone."""
        right = self.both_right + self.gained
        return Share(right, self.n, self.names[1], self.metric)

    @property
    def p(self) -> float:
        """Exact McNemar test, two-sided."""
        return exact_p(self.lost, self.gained)

    @cached_property
    def points(self) -> tuple[float, float, float]:
        """Second minus first in percentage points: low, estimate, high.

        The ends are a 95 % percentile interval of the paired bootstrap: questions
        are drawn with replacement, each with both of its answers. Where the two
        models never differ there is nothing to draw from; then the ends are the
        exact bound of the share on which they could.
        """
        same = self.both_right + self.both_wrong
        change = np.repeat([0.0, -100.0, 100.0], [same, self.lost, self.gained])
        if self.discordant == 0:
            _, most = proportion_confint(0, self.n, alpha=ALPHA, method="beta")
            return -100 * most, 0.0, 100 * most
        low, high = mean_interval(change, self.seed)
        return low, float(change.mean()), high

    @property
    def detectable_points(self) -> float:
        """Smallest difference that as many questions find with 80 % power."""
        return 100 * detectable_difference(self.n, self.discordant / self.n)

    @property
    def needed_questions(self) -> int | None:
        """Questions that would find a difference of this size; None if it is 0."""
        if self.lost == self.gained:
            return None
        size = abs(self.gained - self.lost) / self.n
        return needed_questions(size, self.discordant / self.n)

    def __repr__(self) -> str:
        low, estimate, high = self.points
        first, second = self.names
        needed = self.needed_questions
        enough = "" if needed is None else f"; to find this one: {needed:,} questions"
        return (
            f"{self.metric}, n = {self.n:,} questions, each answered by both\n"
            f"{first} {self.first.share:.1%}, {second} {self.second.share:.1%}\n"
            f"{second} − {first}: {estimate:+.1f} points, 95 % interval "
            f"{low:+.1f} to {high:+.1f} (paired bootstrap)\n"
            f"right → wrong {self.lost}, wrong → right {self.gained}: "
            f"exact McNemar p = {self.p:.3f}\n"
            f"this n finds {self.detectable_points:.1f} points with {POWER:.0%} power"
            f"{enough}"
        )


# Two runs of lm-eval, paired. Nothing above needs to know what a run is.

if TYPE_CHECKING:
    from course_utils.evaluation import Evaluation, ScoredQuestion

NOT_COMPARED = frozenset({"batch_size"})  # settings that do not change a result


class NotComparable(CourseError, ValueError):
    """Two evaluations differ in more than what is to be compared."""


def compare(
    first: Evaluation,
    second: Evaluation,
    metric: str,
    *,
    varied: Collection[str] = (),
    seed: int = 0,
) -> PairedComparison:
    """Pair two evaluations question by question, such as base and tuned.

    Args:
        metric: `acc` or `acc_norm`; choose it before you look.
        varied: Settings that are meant to differ, such as `chat_template`.

    Raises:
        NotComparable: If any other setting, or a question, differs.
    """
    _refuse_other_settings(first, second, {*varied, *NOT_COMPARED})
    pairs = paired_answers(first, second)
    metrics = pairs[0][0].right
    if metric not in metrics:
        raise ValueError(f"metric is {metric!r}, expected one of {', '.join(metrics)}")
    verdicts = [(a.right[metric], b.right[metric]) for a, b in pairs]
    return PairedComparison.of((first.name, second.name), metric, verdicts, seed)


def paired_answers(
    first: Evaluation, second: Evaluation
) -> list[tuple[ScoredQuestion, ScoredQuestion]]:
    """The answers of two models to each question; NotComparable if these differ."""
    mine, theirs = ({a.question: a for a in run.answers} for run in (first, second))
    odd = sorted({question.id for question in mine.keys() ^ theirs.keys()})
    if odd or not mine:
        raise NotComparable(
            f"{first.name} answered {len(mine)} questions, {second.name} "
            f"{len(theirs)}; not the same in both: {', '.join(odd[:5]) or 'none'}. A "
            "paired test needs the same questions for both: ask both again, or take "
            "a subset."
        )
    return [(answer, theirs[question]) for question, answer in mine.items()]


def _refuse_other_settings(
    first: Evaluation, second: Evaluation, ignored: Collection[str]
) -> None:
    differ = [
        f"{name}: {first.settings.get(name)!r} and {second.settings.get(name)!r}"
        for name in sorted({*first.settings, *second.settings} - {*ignored})
        if first.settings.get(name) != second.settings.get(name)
    ]
    if differ:
        raise NotComparable(
            f"{first.name} and {second.name} were not asked in the same way: "
            f"{'; '.join(differ)}. Ask one of them again, or name in `varied` what "
            "you mean to compare."
        )

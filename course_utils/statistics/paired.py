"""Two models compared: never a bare difference, always n, interval and p."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from course_utils.statistics.power import (
    ALPHA,
    POWER,
    detectable_difference,
    exact_p,
    needed_questions,
)
from course_utils.statistics.shares import Share, mean_interval

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
        n = Counter(pairs)
        counts = n[True, True], n[True, False], n[False, True], n[False, False]
        return cls(names, metric, *counts, seed)

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
        return Share(self.both_right + self.lost, self.n, self.names[0], self.metric)

    @property
    def second(self) -> Share:
        """Of the second model alone."""
        return Share(self.both_right + self.gained, self.n, self.names[1], self.metric)

    @property
    def p(self) -> float:
        """Exact McNemar test, two-sided."""
        return exact_p(self.lost, self.gained)

    @cached_property
    def points(self) -> tuple[float, float, float]:
        """Second minus first in percentage points: low, estimate, high.

        The ends are a 95 % percentile interval of the paired bootstrap: questions are
        drawn, each with both of its answers. Where the two models never differ, they
        are the exact bound of the share on which they could.
        """
        if not self.discordant:
            _, most = proportion_confint(0, self.n, alpha=ALPHA, method="beta")
            return -100 * most, 0.0, 100 * most
        same = self.n - self.discordant
        change = np.repeat([0.0, -100.0, 100.0], [same, self.lost, self.gained])
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

"""Two models compared: never a bare difference, always n, interval and p."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self, cast

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta

from course_utils.statistics.power import ALPHA, POWER, detectable_difference, exact_p
from course_utils.statistics.shares import Share

Verdicts = Iterable[tuple[bool, bool]]  # of the first model, of the second
_MIDDLES = (np.arange(1000) + 0.5) / 1000  # of equal parts of a distribution


def paired_interval(lost: int, gained: int, n: int) -> tuple[float, float]:
    """95 % interval of the share gained minus the share lost, of n questions.

    Two shares are uncertain, how many questions are discordant and how many of these
    are gained; their exact intervals are combined. 0 lies outside if and only if the
    exact test says p < 0.05, which a bootstrap does not promise at small counts.

    Source: Fay and Lumbard 2021, *Confidence intervals for difference in proportions
        for matched pairs compatible with exact McNemar's or sign tests*, Statistics in
        Medicine 40 (5) (its summary; the manual of R's exact2x2, mcnemarExactDP).
    """
    return _lowest(lost, gained, n), -_lowest(gained, lost, n)


def _lowest(lost: int, gained: int, n: int) -> float:
    """Lower end of the interval of gained minus lost."""
    discordant = lost + gained
    rest = max(n - discordant, 1e-9)  # beta's second parameter; at 0 its mass is at 1
    if not gained:  # the share gained of the discordant may be 0
        return -float(beta.ppf(1 - ALPHA / 2, discordant + 1, rest))
    most = beta.ppf(_MIDDLES, discordant + 1, rest)
    fewest = beta.ppf(_MIDDLES, discordant, n - discordant + 1)

    def doubt(difference: float) -> float:
        share = fewest if difference >= 0 else most
        below = beta.cdf((1 + difference / share) / 2, gained, lost + 1)
        return float(below.mean()) - ALPHA / 2

    root = brentq(doubt, -1, 1, xtol=1e-7)
    return cast(float, root)  # the pair of stubs is for full_output


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same questions, under one metric; all counts are questions."""

    names: tuple[str, str]  # the first and the second, such as base and tuned
    metric: str
    both_right: int
    lost: int  # right for the first, wrong for the second (b)
    gained: int  # wrong for the first, right for the second (c)
    both_wrong: int

    @classmethod
    def of(cls, names: tuple[str, str], metric: str, pairs: Verdicts) -> Self:
        """Count the verdicts on each question."""
        n = Counter(pairs)
        counts = n[True, True], n[True, False], n[False, True], n[False, False]
        return cls(names, metric, *counts)

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

        The ends are those of `paired_interval`. Without a question nothing is excluded.
        """
        if not self.n:
            return -100.0, math.nan, 100.0
        low, high = paired_interval(self.lost, self.gained, self.n)
        return 100 * low, 100 * (self.gained - self.lost) / self.n, 100 * high

    @property
    def detectable_points(self) -> float:
        """Smallest true difference that n questions find with 80 % power.

        It takes the discordant share of this run, which only the next run may assume:
        before the first one, assume a share and call `detectable_difference`.
        """
        if not self.n:
            return math.nan
        return 100 * detectable_difference(self.n, self.discordant / self.n)

    def __repr__(self) -> str:
        if not self.n:
            return f"{self.metric}: nothing to judge, n = 0"
        low, estimate, high = self.points
        first, second = self.names
        return (
            f"{self.metric}, n = {self.n:,} questions, each answered by both\n"
            f"{first} {self.first.share:.1%}, {second} {self.second.share:.1%}\n"
            f"{second} − {first}: {estimate:+.1f} points, 95 % interval "
            f"{low:+.1f} to {high:+.1f}\n"
            f"right → wrong {self.lost}, wrong → right {self.gained}: "
            f"exact McNemar p = {self.p:.3f}\n"
            f"with {self.discordant} discordant, so many questions find "
            f"{self.detectable_points:.1f} points with {POWER:.0%} power"
        )

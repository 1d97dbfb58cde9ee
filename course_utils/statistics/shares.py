"""k of n with its error, and two published accuracies compared.

Two accuracies on the same questions whose single answers are lost can only be
compared as if they came from different questions, which wastes most of what they
know. See `paired` for what the answers themselves allow.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.stats import bootstrap
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_ztest,
)

from course_utils.statistics.power import ALPHA, exact_p, most_discordant

RESAMPLES = 10_000  # of a bootstrap; the ends then move by about 0.1 point


@dataclass(frozen=True)
class Share:
    """k of n, such as right answers, with its error; NaN where n is too small."""

    right: float  # whole, or a sum of shares
    n: int
    name: str = ""  # of a model
    metric: str = ""

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.right / self.n if self.n else math.nan

    @property
    def standard_error(self) -> float:
        """As lm-eval gives it: sqrt(p (1 - p) / (n - 1))."""
        if self.n < 2:
            return math.nan
        return (self.share * (1 - self.share) / (self.n - 1)) ** 0.5

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the share: all of 0 to 1 when n is 0."""
        if not self.n:
            return 0.0, 1.0
        low, high = proportion_confint(self.right, self.n, alpha=ALPHA, method="wilson")
        return float(low), float(high)

    def __repr__(self) -> str:
        low, high = self.interval
        said = f"{self.name}: {self.metric} " if self.name else ""
        return (
            f"{said}{self.share:.1%} ({self.right} of {self.n}), "
            f"95 % interval {low:.1%} to {high:.1%}, "
            f"standard error {100 * self.standard_error:.1f} points"
        )


def mean_interval(values: Collection[float], seed: int) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean; NaN for fewer than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    how = {"n_resamples": RESAMPLES, "batch": 1000, "method": "percentile"}
    low, high = bootstrap((values,), np.mean, rng=seed, **how).confidence_interval
    return float(low), float(high)


@dataclass(frozen=True)
class UnpairedComparison:
    """Two published accuracies on n questions each, whose single answers are lost.

    They are compared as if the questions were different ones, which wastes most of
    what they know; see `PairedComparison` for what the answers themselves allow.
    """

    metric: str
    first_right: int
    second_right: int
    n: int

    @property
    def z(self) -> float:
        """Two-proportion z, pooled."""
        return self._test[0]

    @property
    def p(self) -> float:
        """Two-sided."""
        return self._test[1]

    @property
    def _test(self) -> tuple[float, float]:
        z, p = proportions_ztest([self.second_right, self.first_right], [self.n] * 2)
        return float(z), float(p)

    @property
    def points(self) -> tuple[float, float, float]:
        """Second minus first in percentage points: low, estimate, high (95 %, Wald)."""
        ends = confint_proportions_2indep(
            self.second_right, self.n, self.first_right, self.n, method="wald"
        )
        low, high = cast(tuple[float, float], ends)
        estimate = (self.second_right - self.first_right) / self.n
        return 100 * float(low), 100 * estimate, 100 * float(high)

    @property
    def most_discordant(self) -> int:
        """Most discordant questions with which a paired test would say p < 0.05."""
        return most_discordant(abs(self.second_right - self.first_right), self.n)

    def __repr__(self) -> str:
        low, estimate, high = self.points
        return (
            f"{self.metric}, n = {self.n:,} questions each, answers not paired\n"
            f"{self.first_right:,} and {self.second_right:,} right: {estimate:+.2f} "
            f"points, 95 % interval {low:+.2f} to {high:+.2f}\n"
            f"z = {self.z:.2f}, p = {self.p:.3f}\n"
            f"paired it is significant with at most {self.most_discordant} discordant "
            f"questions ({self.most_discordant / self.n:.1%})"
        )


@dataclass(frozen=True)
class RatingReport:
    """What the votes say; the sign test leaves ties out."""

    names: tuple[str, str]  # the first and the second
    wins: int  # votes for the second
    losses: int  # votes for the first
    ties: int
    left: int  # decided votes for the left side, whoever stood there
    pairs: int  # to be rated, in all

    @property
    def decided(self) -> int:
        """Votes that are not ties."""
        return self.wins + self.losses

    @property
    def win_rate(self) -> float:
        """Of the second among the decided votes; NaN without any."""
        return Share(self.wins, self.decided).share

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the win rate; 0 to 1 without a decided vote."""
        return Share(self.wins, self.decided).interval

    @property
    def p(self) -> float:
        """Two-sided exact sign test of "both win equally often"."""
        return exact_p(self.losses, self.wins)

    @property
    def left_p(self) -> float:
        """The same test of "left and right win equally often": the rater's own bias."""
        return exact_p(self.decided - self.left, self.left)

    def __repr__(self) -> str:
        if not self.decided:
            return f"{self.ties} ties and no decided vote of {self.pairs} pairs yet"
        first, second = self.names
        low, high = self.interval
        return (
            f"{second} won {self.wins} of {self.decided} decided votes "
            f"({self.win_rate:.0%}, 95 % interval {low:.0%} to {high:.0%}), "
            f"{first} {self.losses}; {self.ties} ties\n"
            f"sign test p = {self.p:.3f}; {self.pairs - self.decided - self.ties} of "
            f"{self.pairs} pairs not rated yet\n"
            f"the left side won {self.left} (p = {self.left_p:.3f})"
        )

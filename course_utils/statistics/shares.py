"""k of n with its error: a share, the mean of several, the votes for one of two."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap
from statsmodels.stats.proportion import proportion_confint

from course_utils.statistics.power import ALPHA, exact_p

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

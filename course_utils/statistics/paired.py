"""What a comparison of paired answers could have seen: power of the exact test.

Two models answer the same n questions. Only the discordant ones, right for one and
wrong for the other, say which is better; McNemar's test asks whether they split
evenly. Its power is summed exactly over the number of discordant questions: a normal
approximation is off for small counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from course_utils.statistics.shares import Accuracy, mean_interval

ALPHA = 0.05  # accepted rate of false alarms, two-sided; intervals are at 95 %
POWER = 0.8  # wanted rate of finding a difference that is there
_SPREAD = 10  # standard deviations around the mean that a sum over counts covers


def exact_p(lost: int, gained: int) -> float:
    """Two-sided exact McNemar p-value of the discordant counts."""
    if lost + gained == 0:
        return 1.0  # no question says anything
    return float(mcnemar([[0, lost], [gained, 0]], exact=True).pvalue)


def most_discordant(gain: int, n: int) -> int:
    """Most of n questions that may be discordant for a gain to be significant, or 0."""
    counts = range(gain, n + 1, 2)  # gained + lost has the parity of gained - lost
    significant = (
        m for m in counts if exact_p((m - gain) // 2, (m + gain) // 2) < ALPHA
    )
    return max(significant, default=0)


def mcnemar_power(n: int, discordant: float, difference: float) -> float:
    """Chance that the exact test finds a true difference, with n questions.

    Args:
        n: Questions.
        discordant: Share of the questions on which the models differ; raised to
            `difference` when smaller, since no less can cause it.
        difference: Share gained minus share lost, positive.

    Source: Connor 1987, *Sample size for testing differences in proportions for the
        paired-sample design*, for the set-up; the sum here is exact.
    """
    share = max(discordant, difference)
    if share == 0:
        return 0.0
    gained = (share + difference) / (2 * share)  # of the discordant ones
    middle, width = n * share, _SPREAD * (n * share * (1 - share)) ** 0.5 + _SPREAD
    counts = np.arange(max(1, int(middle - width)), min(n, int(middle + width)) + 1)
    limit = binom.ppf(ALPHA / 2, counts, 0.5)  # reject at this many or fewer ...
    limit -= binom.cdf(limit, counts, 0.5) > ALPHA / 2
    rejected = binom.cdf(limit, counts, gained) + binom.cdf(limit, counts, 1 - gained)
    return float(binom.pmf(counts, n, share) @ rejected)


def detectable_difference(n: int, discordant: float) -> float:
    """Smallest difference that n questions find with 80 % power; NaN if none."""
    if mcnemar_power(n, discordant, 1.0) < POWER:
        return float("nan")
    return float(
        brentq(lambda d: mcnemar_power(n, discordant, d) - POWER, 1e-9, 1.0, xtol=1e-6)
    )


def needed_questions(difference: float, discordant: float) -> int:
    """Questions with which a difference is found with 80 % power.

    The power rises with n in small saw teeth, since counts are whole; the number
    given is where bisection finds 80 %, good to about one percent.

    Raises:
        ValueError: If the difference is 0: no number of questions finds that.
    """
    if difference <= 0:
        raise ValueError(
            f"difference is {difference}, expected more than 0: no number of questions "
            "finds a difference of nothing. State the smallest one that would matter."
        )
    low, high = 1, 2
    while mcnemar_power(high, discordant, difference) < POWER:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = mcnemar_power(middle, discordant, difference) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


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
    def first(self) -> Accuracy:
        """Of the first model alone."""
        right = self.both_right + self.lost
        return Accuracy(self.names[0], self.metric, right, self.n)

    @property
    def second(self) -> Accuracy:
        """Of the second model alone."""
        right = self.both_right + self.gained
        return Accuracy(self.names[1], self.metric, right, self.n)

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
    pass

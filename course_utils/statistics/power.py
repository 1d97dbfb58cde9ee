"""What a comparison of paired answers could have seen: power of the exact test.

Two models answer the same n questions. Only the discordant ones, right for one and
wrong for the other, say which is better; McNemar's test asks whether they split evenly.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar

ALPHA = 0.05  # accepted rate of false alarms, two-sided; intervals are at 95 %
POWER = 0.8  # wanted rate of finding a difference that is there
_SPREAD = 10  # standard deviations around the mean that a sum over counts covers


def exact_p(lost: int, gained: int) -> float:
    """Two-sided exact McNemar p-value of the discordant counts; 1 without any."""
    # pyrefly: ignore[missing-attribute]  # statsmodels' Bunch
    return float(mcnemar([[0, lost], [gained, 0]], exact=True).pvalue)


def most_discordant(gain: int, n: int) -> int:
    """Most of n questions that may be discordant for a gain to be significant, or 0."""
    counts = range(gain, n + 1, 2)  # gained + lost has the parity of gained - lost
    p_values = ((exact_p((m - gain) // 2, (m + gain) // 2), m) for m in counts)
    return max((m for p, m in p_values if p < ALPHA), default=0)


def mcnemar_power(n: int, discordant: float, difference: float) -> float:
    """Chance that the exact test finds a true difference, with n questions.

    Summed exactly over the number of discordant ones: a normal approximation is off
    for small counts.

    Args:
        discordant: Share of the questions on which the models differ; raised to
            `difference` when smaller, since no less can cause it.
        difference: Share gained minus share lost, positive.

    Source: the set-up is Connor's (1987, *Sample size for testing differences in
        proportions for the paired-sample design*, not opened here); the sum is our own.
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
    root = brentq(lambda d: mcnemar_power(n, discordant, d) - POWER, 1e-9, 1, xtol=1e-6)
    return cast(float, root)  # the pair of stubs is for full_output


def needed_questions(difference: float, discordant: float) -> int:
    """Questions with which a difference above 0 is found with 80 % power.

    The power rises with n in small saw teeth, since counts are whole; the number
    given is where bisection finds 80 %, good to about one percent.
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

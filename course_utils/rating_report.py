"""What blind votes say together: win rate, interval, sign test, the rater's bias."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

ALPHA = 0.05  # intervals are at 95 %


@dataclass(frozen=True)
class RatingReport:
    """What the votes say; the sign test leaves ties out.

    Attributes:
        names: Of the first and the second.
        wins: Votes for the second.
        losses: Votes for the first.
        ties: Votes for neither.
        left: Votes for the left side, whoever stood there.
        pairs: To be rated, in all.
    """

    names: tuple[str, str]
    wins: int
    losses: int
    ties: int
    left: int
    pairs: int

    @property
    def decided(self) -> int:
        """Votes that are not ties."""
        return self.wins + self.losses

    @property
    def win_rate(self) -> float:
        """Of the second among the decided votes; NaN without any."""
        return self.wins / self.decided if self.decided else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the win rate; 0 to 1 without a decided vote."""
        return _wilson(self.wins, self.decided)

    @property
    def p(self) -> float:
        """Two-sided exact sign test of "both win equally often"."""
        return _sign_test(self.wins, self.decided)

    @property
    def left_p(self) -> float:
        """The same test of "left and right win equally often": the rater's own bias."""
        return _sign_test(self.left, self.decided)

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


def _wilson(count: int, n: int) -> tuple[float, float]:
    if n == 0:
        return 0.0, 1.0
    low, high = proportion_confint(count, n, alpha=ALPHA, method="wilson")
    return float(low), float(high)


def _sign_test(count: int, n: int) -> float:
    return 1.0 if n == 0 else float(binomtest(count, n, 0.5).pvalue)

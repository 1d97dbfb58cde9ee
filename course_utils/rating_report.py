"""What blind votes say together: win rate, interval, sign test, the rater's bias."""

from __future__ import annotations

from dataclasses import dataclass

from course_utils.accuracy import Share
from course_utils.power import exact_p


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

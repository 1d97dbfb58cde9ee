"""Blind ratings: which of two answers is better, when you cannot see whose it is?

Order and sides are shuffled by a seed; each vote is written at once, so that an
interrupted session goes on where it stopped. The logic needs no widget.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import ipywidgets as widgets
from scipy.stats import binomtest

CHOICES = ("left", "right", "tie")


@dataclass(frozen=True)
class Pair:
    """Two answers to one request.

    Attributes:
        id: Unique among the pairs.
        request: What was asked.
        answers: Text by the name of the model that gave it; two of them.
    """

    id: str
    request: str
    answers: dict[str, str]


@dataclass(frozen=True)
class WinRate:
    """Votes for one of two models.

    Attributes:
        model: For which they are counted.
        wins: Votes for it.
        losses: Votes for the other.
        ties: Votes for neither.
    """

    model: str
    wins: int
    losses: int
    ties: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the wins among the decided votes."""
        test = binomtest(self.wins, max(1, self.wins + self.losses))
        interval = test.proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)

    @property
    def p(self) -> float:
        """Exact two-sided sign test; ties say nothing and are left out."""
        decided = self.wins + self.losses
        return float(binomtest(self.wins, decided).pvalue) if decided else 1.0

    def __repr__(self) -> str:
        decided = self.wins + self.losses
        if not decided:
            return f"{self.model}: no decided vote yet, {self.ties} ties"
        low, high = self.interval
        return (
            f"{self.model} wins {self.wins} of {decided} decided votes "
            f"({self.wins / decided:.0%}, 95 % interval {low:.0%} to {high:.0%}, "
            f"sign test p = {self.p:.3f}), {self.ties} ties"
        )


class BlindRating:
    """A rating session over pairs, kept in a file.

    Args:
        pairs: What is rated; ids differ, and all have the same two models.
        path: JSONL of votes; an existing one is taken up again.
        seed: Of order and sides; the same seed shows the same pairs the same way.

    Raises:
        ValueError: If there is no pair, ids repeat, models differ from pair to
            pair, or the file holds a vote that is none.
    """

    def __init__(self, pairs: Sequence[Pair], path: Path, *, seed: int):
        models = {tuple(sorted(pair.answers)) for pair in pairs}
        if len(models) != 1 or len({pair.id for pair in pairs}) != len(pairs):
            raise ValueError(
                f"{len(pairs)} pairs of the models {sorted(models)}: expected at least "
                "one pair, ids that differ, and the same two models in each."
            )
        draw = random.Random(seed)
        self.path = path
        self.models: tuple[str, str] = models.pop()
        self._sides = {p.id: draw.sample(self.models, 2) for p in pairs}
        self._pairs = draw.sample(list(pairs), len(pairs))
        self.votes = self._read_votes()

    def _read_votes(self) -> dict[str, str]:
        """Votes so far: pair id to the winning model, or `tie`."""
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        known, votes = {pair.id for pair in self._pairs}, {}
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                row = json.loads(line)
                pair, winner = row["pair"], row["winner"]
            except (ValueError, KeyError, TypeError):
                pair = winner = None
            if pair not in known or winner not in (*self.models, "tie"):
                raise ValueError(
                    f"{self.path.name}, line {number}: {line[:60]!r} is no vote on one "
                    f"of these {len(known)} pairs. Is it the file of another session? "
                    "Move it away, or give this session a file of its own."
                )
            votes[pair] = winner
        return votes

    @property
    def current(self) -> Pair | None:
        """The next pair without a vote; None when all have one."""
        open_pairs = (pair for pair in self._pairs if pair.id not in self.votes)
        return next(open_pairs, None)

    def sides(self, pair: Pair) -> tuple[str, str]:
        """The answers as shown, left and right, without their models' names."""
        left, right = self._sides[pair.id]
        return pair.answers[left], pair.answers[right]

    def vote(self, choice: str) -> None:
        """Vote on the current pair and write the vote down.

        Args:
            choice: `left`, `right` or `tie`.

        Raises:
            ValueError: If the choice is another, or all pairs have their vote.
        """
        pair = self.current
        if choice not in CHOICES or pair is None:
            left = "none is" if pair is None else f"{pair.id} is"
            raise ValueError(
                f"vote {choice!r}, {left} open: expected one of {', '.join(CHOICES)}, "
                "and a pair without a vote."
            )
        sides = dict(zip(CHOICES, (*self._sides[pair.id], "tie"), strict=True))
        row = {"pair": pair.id, "winner": sides[choice], "shown": choice}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        self.votes[pair.id] = sides[choice]

    def win_rate(self, model: str) -> WinRate:
        """How often a model won."""
        (other,) = set(self.models) - {model}
        count = Counter(self.votes.values())
        return WinRate(model, count[model], count[other], count["tie"])


def pair_html(request: str, left: str, right: str) -> str:
    """Two answers side by side, with nothing that tells whose they are."""
    cell = (
        '<td style="width:50%;vertical-align:top;text-align:left;padding:8px">{}</td>'
    )
    shown = [escape(text).replace("\n", "<br>") or "(empty)" for text in (left, right)]
    cells = "".join(cell.format(text) for text in shown)
    asked = escape(request.strip()) or "(empty)"
    return (
        f"<p><b>{asked}</b></p><table><tr><th>left</th><th>right</th></tr>"
        f"<tr>{cells}</tr></table>"
    )


def rating_widget(rating: BlindRating) -> widgets.VBox:
    """Buttons to vote with; names and result appear when all pairs are rated."""
    shown = widgets.HTML()
    names = {
        "left": "left is better",
        "tie": "no difference",
        "right": "right is better",
    }
    buttons = {key: widgets.Button(description=text) for key, text in names.items()}

    def show() -> None:
        pair = rating.current
        for button in buttons.values():
            button.disabled = pair is None
        done = f"<p>{len(rating.votes)} rated</p>"
        if pair is not None:
            shown.value = done + pair_html(pair.request, *rating.sides(pair))
        else:
            shown.value = done + "<br>".join(
                escape(repr(rating.win_rate(model))) for model in rating.models
            )

    def press(button: widgets.Button) -> None:
        rating.vote(next(key for key, other in buttons.items() if other is button))
        show()

    for button in buttons.values():
        button.on_click(press)
    show()
    return widgets.VBox([shown, widgets.HBox(list(buttons.values()))])

"""Blind A/B rating: the rater sees two answers and not whose they are."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import chain, count
from pathlib import Path

import ipywidgets as widgets

from course_utils.places import write_jsonl
from course_utils.statistics.shares import RatingReport

# The choices, with the texts of their buttons.
_LABELS = {"left": "left is better", "tie": "no difference", "right": "right is better"}


@dataclass(frozen=True)
class Pair:
    """Two answers to one request; which is whose stays hidden from the rater."""

    id: str
    request: str
    first: str  # of the reference, such as the base model
    second: str  # of the model that is tried


@dataclass(frozen=True)
class ShownPair:
    """A pair as the rater sees it."""

    id: str
    request: str
    left: str
    right: str


class BlindRating:
    """Pairs in a shuffled order, with shuffled sides, and the votes so far.

    Each vote is written at once. A rating starts a file of its own: old votes belong to
    old answers.

    Args:
        pairs: At least one, with unique ids.
        votes_path: Such as `votes.jsonl`; where that exists, `votes-2.jsonl` and so on.
        seed: Of order and sides.
        names: Of the first and the second answer of each pair.

    Raises:
        ValueError: If there is no pair, or an id stands twice.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        votes_path: Path,
        *,
        seed: int,
        names: tuple[str, str] = ("base", "tuned"),
    ):
        ids = {pair.id for pair in pairs}
        if not pairs or len(ids) < len(pairs):
            raise ValueError(
                f"{len(pairs)} pairs with {len(ids)} different ids: expected at least "
                "one pair, and each id once."
            )
        numbered = (votes_path.with_stem(f"{votes_path.stem}-{k}") for k in count(2))
        self.path = next(it for it in chain([votes_path], numbered) if not it.exists())
        self.names = names
        shuffled = random.Random(seed)
        self.pairs = {p.id: p for p in shuffled.sample(list(pairs), len(pairs))}
        self._second_is_left = {name: shuffled.random() < 0.5 for name in self.pairs}
        self.votes: dict[str, str] = {}  # choice by pair, in the order of voting

    @property
    def current(self) -> ShownPair | None:
        """The next pair without a vote; None when all are rated."""
        left_over = (self.show(name) for name in self.pairs if name not in self.votes)
        return next(left_over, None)

    def show(self, pair_id: str) -> ShownPair:
        """A pair as the rater sees it."""
        pair = self.pairs[pair_id]
        sides = pair.first, pair.second
        left, right = reversed(sides) if self._second_is_left[pair_id] else sides
        return ShownPair(pair.id, pair.request, left, right)

    def vote(self, choice: str) -> None:
        """Vote `left`, `right` or `tie` on the current pair.

        Raises:
            ValueError: If the choice is another, or every pair is rated.
        """
        shown = self.current
        if choice not in _LABELS or shown is None:
            raise ValueError(
                f"choice is {choice!r} with {len(self.votes)} of {len(self.pairs)} "
                f"pairs rated; expected one of {', '.join(_LABELS)}, and a pair left."
            )
        self.votes[shown.id] = choice
        self._write()

    def take_back(self) -> None:
        """Withdraw the last vote."""
        if self.votes:
            self.votes.popitem()
            self._write()

    def _write(self) -> None:
        rows = [
            {"pair": pair, "choice": choice, "for": self._name_of(pair, choice)}
            for pair, choice in self.votes.items()
        ]
        write_jsonl(self.path, rows)

    def _name_of(self, pair_id: str, choice: str) -> str:
        """Whose answer was voted for: one of the names, or `tie`."""
        if choice == "tie":
            return choice
        return self.names[(choice == "left") == self._second_is_left[pair_id]]

    def report(self) -> RatingReport:
        """What the votes so far say."""
        cast = [self._name_of(*vote) for vote in self.votes.items()]
        losses, wins, ties = map(cast.count, (*self.names, "tie"))
        left, pairs = [*self.votes.values()].count("left"), len(self.pairs)
        return RatingReport(
            self.names, wins=wins, losses=losses, ties=ties, left=left, pairs=pairs
        )


_CELL = "style='text-align:left; vertical-align:top; white-space:pre-wrap; width:50%'"


def as_html(text: str) -> str:
    """A text for a page: its markup is shown, not obeyed; an empty one is named."""
    return escape(text) or "<i>(nothing)</i>"


@dataclass(frozen=True)
class PairView:
    """A pair beside each other: HTML where that is shown, plain text elsewhere."""

    shown: ShownPair

    def _repr_html_(self) -> str:
        sides = map(as_html, (self.shown.left, self.shown.right))
        heads = "".join(f"<th {_CELL}>{head}</th>" for head in ("left", "right"))
        cells = "".join(f"<td {_CELL}>{side}</td>" for side in sides)
        request = f"<b>Request:</b> {as_html(self.shown.request)}"
        return (
            f"<p style='white-space:pre-wrap'>{request}</p>"
            f"<table style='width:100%'><tr>{heads}</tr><tr>{cells}</tr></table>"
        )

    def __repr__(self) -> str:
        return (
            f"Request: {self.shown.request}\n"
            f"--- left\n{self.shown.left}\n--- right\n{self.shown.right}"
        )


def rating_widget(rating: BlindRating) -> widgets.VBox:
    """Buttons around `rating`: each click stores a vote and shows the next pair."""
    page = widgets.HTML()
    wide = widgets.Layout(width="auto")  # as its words, also on a phone
    buttons = {
        key: widgets.Button(description=text, layout=wide)
        for key, text in _LABELS.items()
    }
    back = widgets.Button(description="take back", layout=wide)

    def click(act: Callable[[], object], _button: object = None) -> None:
        act()
        for button in buttons.values():
            button.disabled = rating.current is None
        back.disabled = not rating.votes
        page.value = _page(rating)

    for choice, button in buttons.items():
        button.on_click(partial(click, partial(rating.vote, choice)))
    back.on_click(partial(click, rating.take_back))
    click(lambda: None)
    wrapped = widgets.Layout(flex_flow="row wrap", max_width="100%")
    return widgets.VBox([page, widgets.HBox([*buttons.values(), back], layout=wrapped)])


def _page(rating: BlindRating) -> str:
    """The current pair, or the report once every pair is rated."""
    shown = rating.current
    if shown is None:
        return f"<pre>{escape(repr(rating.report()))}</pre>"
    place = f"<p>pair {len(rating.votes) + 1} of {len(rating.pairs)}</p>"
    return place + PairView(shown)._repr_html_()

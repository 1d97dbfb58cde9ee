"""Two answers side by side: as HTML for any page, as buttons in a running notebook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html import escape

import ipywidgets as widgets

from course_utils.blind_rating import BlindRating, ShownPair

_LABELS = {"left": "left is better", "tie": "no difference", "right": "right is better"}
_CELL = "text-align:left; vertical-align:top; white-space:pre-wrap; width:50%"


def as_html(text: str) -> str:
    """A text for a page: its markup is shown, not obeyed; an empty one is named."""
    return escape(text) or "<i>(nothing)</i>"


@dataclass(frozen=True)
class PairView:
    """A pair under two heads: HTML where that is shown, plain text elsewhere."""

    shown: ShownPair
    heads: tuple[str, str] = ("left", "right")

    def _repr_html_(self) -> str:
        sides = map(as_html, (self.shown.left, self.shown.right))
        heads = "".join(
            f"<th style='{_CELL}'>{escape(head)}</th>" for head in self.heads
        )
        cells = "".join(f"<td style='{_CELL}'>{side}</td>" for side in sides)
        request = f"<b>Request:</b> {as_html(self.shown.request)}"
        return (
            f"<p style='white-space:pre-wrap'>{request}</p>"
            f"<table style='width:100%'><tr>{heads}</tr><tr>{cells}</tr></table>"
        )

    def __repr__(self) -> str:
        left, right = self.heads
        return (
            f"Request: {self.shown.request}\n"
            f"--- {left}\n{self.shown.left}\n--- {right}\n{self.shown.right}"
        )


def rating_widget(rating: BlindRating) -> widgets.VBox:
    """Buttons around `rating`: each click stores a vote and shows the next pair."""
    page = widgets.HTML()
    buttons = {key: widgets.Button(description=text) for key, text in _LABELS.items()}
    back = widgets.Button(description="take back")

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
    return widgets.VBox([page, widgets.HBox([*buttons.values(), back])])


def _page(rating: BlindRating) -> str:
    """The current pair, or the report once every pair is rated."""
    shown = rating.current
    if shown is None:
        return f"<pre>{escape(repr(rating.report()))}</pre>"
    place = f"<p>pair {len(rating.votes) + 1} of {len(rating.pairs)}</p>"
    return place + PairView(shown)._repr_html_()

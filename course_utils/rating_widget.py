"""Two answers side by side: as HTML for any page, as buttons in a running notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import ipywidgets as widgets

from course_utils.blind_rating import CHOICES, BlindRating, ShownPair

BUTTON_LABELS = {
    "left": "left is better",
    "tie": "no difference",
    "right": "right is better",
}
CELL = "text-align:left; vertical-align:top; white-space:pre-wrap; width:50%"


@dataclass(frozen=True)
class PairView:
    """A pair to look at: HTML where that is shown, plain text elsewhere.

    Attributes:
        shown: The pair, sides already shuffled.
        heads: What stands above the sides.
    """

    shown: ShownPair
    heads: tuple[str, str] = ("left", "right")

    def _repr_html_(self) -> str:
        heads = "".join(
            f"<th style='{CELL}'>{escape(head)}</th>" for head in self.heads
        )
        sides = "".join(
            f"<td style='{CELL}'>{escape(text) or '<i>(nothing)</i>'}</td>"
            for text in (self.shown.left, self.shown.right)
        )
        request = escape(self.shown.request) or "<i>(nothing)</i>"
        return (
            f"<p style='white-space:pre-wrap'><b>Request:</b> {request}</p>"
            f"<table style='width:100%'><tr>{heads}</tr><tr>{sides}</tr></table>"
        )

    def __repr__(self) -> str:
        left, right = self.heads
        return (
            f"Request: {self.shown.request}\n"
            f"--- {left}\n{self.shown.left}\n--- {right}\n{self.shown.right}"
        )


def rating_widget(rating: BlindRating) -> widgets.VBox:
    """Buttons around `rating`: each click stores a vote and shows the next pair.

    Args:
        rating: Goes on where its file of votes ends.
    """
    page = widgets.HTML()
    buttons = {
        choice: widgets.Button(description=BUTTON_LABELS[choice]) for choice in CHOICES
    }
    back = widgets.Button(description="take back")

    def refresh() -> None:
        shown = rating.current
        for button in buttons.values():
            button.disabled = shown is None
        back.disabled = not rating.votes
        page.value = page_html(rating)

    def cast(choice: str) -> None:
        rating.vote(choice)
        refresh()

    def withdraw(_button: widgets.Button) -> None:
        rating.take_back()
        refresh()

    for choice, button in buttons.items():
        button.on_click(lambda _button, choice=choice: cast(choice))
    back.on_click(withdraw)
    refresh()
    return widgets.VBox([page, widgets.HBox([*buttons.values(), back])])


def page_html(rating: BlindRating) -> str:
    """The current pair, or the report once every pair is rated."""
    shown = rating.current
    if shown is None:
        return f"<pre>{escape(repr(rating.report()))}</pre>"
    place = f"<p>pair {len(rating.votes) + 1} of {len(rating.pairs)}</p>"
    return place + PairView(shown)._repr_html_()

"""The drill for JupyterLab and Colab: one view for each command of the terminal.

What is asked, graded, told and saved is that of `session`; here is only how it looks.
Nothing runs between two clicks: an answer's seconds are the time between them, and the
bar that fills meanwhile is drawn by the browser. Only what ipywidgets 7.7 has is used,
which is Colab's.
"""

from __future__ import annotations

from course_utils.drill.progress import Progress
from course_utils.drill.session import load_bank
from course_utils.drill.widgets.interview import MockView
from course_utils.drill.widgets.rounds import CardsView, PredictView, SpotView


def spot_view(
    topic: str = "", level: int = 0, number: int = 10, progress: Progress | None = None
) -> SpotView:
    """Spot the mistake: claims of a topic to judge, at most `number` in a round.

    Empty `topic` and `level` 0 mean any. Without `progress` it is kept where the
    terminal keeps it. Raises UnknownTopic; UnusableProgress if its file is none.
    """
    items = load_bank().chosen(topic, level).spot
    return SpotView(items, progress, number)


def cards_view(
    topic: str = "", level: int = 0, number: int = 10, progress: Progress | None = None
) -> CardsView:
    """Questions to answer aloud before their cards turn; arguments as `spot_view`."""
    items = load_bank().chosen(topic, level).cards
    return CardsView(items, progress, number)


def predict_view(
    topic: str = "", level: int = 0, number: int = 10, progress: Progress | None = None
) -> PredictView:
    """Numbers to say before they are shown; arguments as `spot_view`."""
    items = load_bank().chosen(topic, level).predict
    return PredictView(items, progress, number)


def mock_view(
    topic: str = "",
    level: int = 0,
    progress: Progress | None = None,
    seed: int | None = None,
) -> MockView:
    """A mock interview for a role; another one each time, unless `seed` is given."""
    return MockView(load_bank().chosen(topic, level).cards, progress, seed)

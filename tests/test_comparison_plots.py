import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex

from course_utils.comparison_plots import interval_plot, outcome_mosaic
from course_utils.plots import ACCENT, BASE, TUNED


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_an_interval_that_contains_the_reference_is_grey():
    axes = interval_plot(
        ["inside", "outside"],
        [(-1.0, 2.0, 5.0), (1.0, 2.0, 3.0)],
        x_label="points",
        title="one of two",
    )
    bars = [line for line in axes.lines if len(line.get_xdata()) == 2][:2]
    assert [to_hex(bar.get_color()) for bar in bars] == [BASE, TUNED]
    assert [list(bar.get_xdata()) for bar in bars] == [[-1, 5], [1, 3]]
    assert axes.texts[0].get_text() == "+2.0  [-1.0, +5.0]"


def test_the_areas_of_the_mosaic_are_the_shares_of_the_questions():
    counts = [[50, 10], [15, 25]]
    axes = outcome_mosaic(counts, names=("base", "tuned"), title="25 of 100 decide")
    areas = [tile.get_width() * tile.get_height() for tile in axes.patches]
    assert areas == pytest.approx([0.50, 0.10, 0.15, 0.25])
    colours = [to_hex(tile.get_facecolor()) for tile in axes.patches]
    assert colours[1] == ACCENT and colours[2] == TUNED and colours[0] == colours[3]
    assert [text.get_text() for text in axes.texts] == ["50", "10", "15", "25"]


def test_a_mosaic_without_discordant_questions_is_drawn():
    axes = outcome_mosaic([[0, 0], [0, 12]], names=("a", "b"), title="none decides")
    assert [text.get_text() for text in axes.texts] == ["12"]

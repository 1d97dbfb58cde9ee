import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from course_utils.plots import ACCENT, BASE, TUNED
from course_utils.statistics.plots import interval_plot, outcome_mosaic
from course_utils.stress.plots import draw_grid, rates_plot, verdict_matrix


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
    assert axes.get_title() == "25 of 100 decide"
    areas = [tile.get_width() * tile.get_height() for tile in axes.patches]
    assert areas == pytest.approx([0.50, 0.10, 0.15, 0.25])
    colours = [to_hex(tile.get_facecolor()) for tile in axes.patches]
    assert colours[1] == ACCENT and colours[2] == TUNED and colours[0] == colours[3]
    assert [text.get_text() for text in axes.texts] == ["50", "10", "15", "25"]


def test_a_mosaic_without_discordant_questions_is_drawn():
    axes = outcome_mosaic([[0, 0], [0, 12]], names=("a", "b"), title="none decides")
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["12"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a wrong (12)"]


def test_without_a_reference_every_estimate_is_blue_and_no_line_is_dashed():
    axes = interval_plot(
        ["rate"],
        [(-0.1, 0.25, 0.6)],
        x_label="share",
        title="a quarter",
        reference=None,
        spelled="{1:.0%} of {2:.0%}",
    )
    assert {to_hex(line.get_color()) for line in axes.lines} == {TUNED}
    assert axes.texts[0].get_text() == "25% of 60%"


def test_the_matrix_writes_k_of_n_in_the_tile_of_its_check_and_group():
    rows = [("base", "form", "a", 1, 2), ("base", "stops", "b", 0, 3)]
    rows += [("tuned", "form", "a", 2, 2), ("tuned", "stops", "b", 3, 3)]
    names = ["model", "check", "group", "passed", "n"]
    rates = pd.DataFrame(rows, columns=names).set_index(names[:3])
    panels = verdict_matrix(rates.assign(rate=rates["passed"] / rates["n"]), title="x")
    written = [{t.get_position(): t.get_text() for t in axes.texts} for axes in panels]
    assert written == [{(0, 0): "1/2", (1, 1): "0/3"}, {(0, 0): "2/2", (1, 1): "3/3"}]


def test_a_draw_that_was_not_judged_is_neither_passed_nor_failed():
    passed = pd.DataFrame([[True, None], [False, True]], index=["greedy", "seed 1"])
    tiles = draw_grid(passed, title="x").collections[0].get_array()
    assert tiles.mask.tolist() == [[False, True], [False, False]]
    assert tiles[~tiles.mask].tolist() == [1, 0, 1]


def test_each_rate_has_its_dot_whiskers_and_counts_and_an_unjudged_one_has_none():
    rows = [
        ("base", "form", 1, 4, 0.25, 0.05, 0.7),
        ("base", "facts", 0, 0, float("nan"), 0, 1),
        ("tuned", "form", 4, 4, 1.0, 0.5, 1.0),
        ("tuned", "facts", 1, 2, 0.5, 0.1, 0.9),
    ]
    names = ["model", "check", "passed", "n", "rate", "low", "high"]
    rates = pd.DataFrame(rows, columns=names).set_index(names[:2])
    axes = rates_plot(rates, title="x", x_label="passed", y_label="")
    written = [text.get_text() for text in axes.texts]
    assert written == ["1 / 4", "0 / 0", "4 / 4", "1 / 2"]
    drawn = [line for line in axes.lines if len(line.get_xdata())]
    dots = [line.get_xdata()[0] for line in drawn if line.get_marker() == "o"]
    assert dots == [0.25, 1.0, 0.5]
    whiskers = [
        bars.get_segments()[0] for bars in axes.collections if bars.get_segments()
    ]
    ends = [[round(float(x), 9) for x in bar[:, 0]] for bar in whiskers]
    assert ends == [[0.05, 0.7], [0.5, 1.0], [0.1, 0.9]]

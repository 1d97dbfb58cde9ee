"""Plots of notebook 05: verdicts by group, and what another draw changes."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from course_utils.plots import ACCENT, BASE, TUNED, new_axes

NOT_JUDGED = "#ffffff"
SHARES = LinearSegmentedColormap.from_list("shares", ["#f6e3d0", "#f7f7f7", "#8db8e3"])


def verdict_matrix(
    rates: pd.DataFrame, models: tuple[str, str] = ("base", "tuned"), *, title: str
) -> np.ndarray:
    """Which check passes in which group: k of n as tiles, one panel a model.

    Args:
        rates: From `pass_rates` by model, check and group.
        models: Left and right panel.
        title: The finding.

    Returns:
        The two Axes. Blank tiles are checks that do not apply.
    """
    figure, panels = plt.subplots(1, 2, figsize=(10.5, 5.2), sharey=True)
    for axes, model in zip(panels, models, strict=True):
        table = rates.loc[model].unstack("group")
        axes.imshow(table["rate"], cmap=SHARES, vmin=0, vmax=1, aspect="auto")
        groups = [name.replace("_", " ") for name in table["rate"].columns]
        axes.set_xticks(range(len(groups)), groups, rotation=40, ha="right", fontsize=9)
        axes.set_yticks(range(len(table)), table.index, fontsize=9)
        for row, column in np.argwhere(table["n"].notna().to_numpy()):
            passed, n = table["passed"].iat[row, column], table["n"].iat[row, column]
            weight = "bold" if passed == n else "normal"
            axes.text(
                column,
                row,
                f"{passed:.0f}/{n:.0f}",
                ha="center",
                va="center",
                fontsize=8.5,
                weight=weight,
            )
        axes.set_xticks(np.arange(-0.5, len(groups)), minor=True)
        axes.set_yticks(np.arange(-0.5, len(table)), minor=True)
        axes.grid(visible=False)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(model, fontsize=11)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return panels


def draw_grid(passed: pd.DataFrame, *, title: str, axes: Axes | None = None) -> Axes:
    """One column a prompt, one row a draw: blue passed, orange failed.

    Args:
        passed: Draws by prompts, true or false; missing where a check does not apply.
        title: The finding.
        axes: Where to draw; a new figure by default.
    """
    if axes is None:
        axes = plt.figure(figsize=(9.5, 0.42 * len(passed) + 1)).add_subplot()
    for row, draw in enumerate(passed.index):
        for column, verdict in enumerate(passed.loc[draw]):
            tile = plt.Rectangle(
                (column - 0.46, row - 0.42),
                0.92,
                0.84,
                color=TUNED if verdict else ACCENT,
                alpha=0.9 if verdict else 0.55,
                linewidth=0,
            )
            axes.add_patch(tile)
    numbers = [str(name).rpartition("-")[2] for name in passed.columns]
    axes.set_xticks(range(len(numbers)), numbers, fontsize=8)
    axes.set_yticks(range(len(passed)), passed.index)
    limits = {"xlim": (-0.6, len(numbers) - 0.4), "ylim": (len(passed) - 0.5, -0.5)}
    axes.set(xlabel="prompt (blue: passed)", title=title, **limits)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    return axes


def rate_lines(
    rates: Mapping[str, tuple[float, float, float]],
    *,
    x_label: str,
    title: str,
    axes: Axes | None = None,
) -> Axes:
    """One interval a line, first at the top: low, estimate, high.

    Args:
        rates: What is estimated to (low, estimate, high), shares of 1. A name that
            begins with `base` is grey, any other blue.
        x_label: With unit.
        title: The finding.
        axes: Where to draw; a new figure by default.
    """
    axes = new_axes(axes)
    for row, (name, (low, estimate, high)) in enumerate(rates.items()):
        colour = BASE if name.startswith("base") else TUNED
        axes.plot([low, high], [row, row], color=colour, linewidth=3)
        axes.plot([estimate], [row], color=colour, marker="o", markersize=7)
        written = f"{estimate:.0%}  [{low:.0%}, {high:.0%}]"
        axes.annotate(
            written,
            ((low + high) / 2, row),
            (0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(rates)), list(rates))
    axes.set(xlabel=x_label, title=title, ylim=(len(rates) - 0.5, -0.7))
    axes.grid(axis="y", visible=False)
    return axes

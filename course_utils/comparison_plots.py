"""Plots of comparisons: differences with their intervals, and paired outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from course_utils.plots import ACCENT, BASE, REFERENCE, TUNED, new_axes

PALE = "#d9d9d9"


def interval_plot(
    labels: Sequence[str],
    intervals: Sequence[tuple[float, float, float]],
    *,
    x_label: str,
    title: str,
    reference: tuple[str, float] = ("no difference", 0.0),
    axes: Axes | None = None,
) -> Axes:
    """One line an estimate, first at the top; grey where the reference is inside.

    Args:
        labels: What was compared, with n.
        intervals: (low, estimate, high) of each.
        x_label: With unit.
        title: The finding.
        reference: (name, position) of a dashed vertical line.
        axes: Where to draw; a new figure by default.
    """
    axes = new_axes(axes)
    for row, (low, estimate, high) in enumerate(intervals):
        colour = BASE if low <= reference[1] <= high else TUNED
        axes.plot([low, high], [row, row], color=colour, linewidth=3)
        axes.plot([estimate], [row], color=colour, marker="o", markersize=8)
        written = f"{estimate:+.1f}  [{low:+.1f}, {high:+.1f}]"
        axes.annotate(
            written,
            (estimate, row),
            (0, 9),
            textcoords="offset points",
            ha="center",
            bbox={"facecolor": "white", "linewidth": 0, "pad": 1},
        )
    axes.axvline(reference[1], label=reference[0], **REFERENCE)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel=x_label, title=title, ylim=(len(labels) - 0.5, -0.8))
    axes.grid(axis="y", visible=False)
    axes.legend(fontsize=9)
    return axes


def outcome_mosaic(
    counts: Sequence[Sequence[int]],
    *,
    names: tuple[str, str],
    title: str,
    axes: Axes | None = None,
) -> Axes:
    """Paired outcomes as tiles whose areas are shares of the questions.

    Args:
        counts: ((both right, first right only), (second right only, both wrong)).
        names: Of the first and the second model.
        title: The finding.
        axes: Where to draw; a new figure by default.
    """
    axes = new_axes(axes)
    (both, lost), (gained, neither) = counts
    total = both + lost + gained + neither
    left = 0.0
    for column, colours in (
        ((both, lost), (PALE, ACCENT)),
        ((gained, neither), (TUNED, PALE)),
    ):
        width, bottom = sum(column) / total, 0.0
        for count, colour in zip(column, colours, strict=True):
            height = count / max(1, sum(column))
            tile = Rectangle(
                (left, bottom),
                width,
                height,
                facecolor=colour,
                edgecolor="white",
                linewidth=3,
            )
            axes.add_patch(tile)
            if count:
                ink = "#333333" if colour == PALE else "white"
                axes.text(
                    left + width / 2,
                    bottom + height / 2,
                    str(count),
                    color=ink,
                    ha="center",
                    va="center",
                    weight="bold",
                )
            bottom += height
        left += width
    first, second = names
    ticks = np.array([(both + lost) / 2, both + lost + (gained + neither) / 2]) / total
    axes.set_xticks(
        ticks, [f"{first} right ({both + lost})", f"{first} wrong ({gained + neither})"]
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), title=title, ylabel="share of the column")
    axes.grid(visible=False)
    handles = [
        Rectangle((0, 0), 1, 1, color=colour) for colour in (PALE, TUNED, ACCENT)
    ]
    said = ["same for both", f"only {second} right", f"only {first} right"]
    axes.legend(
        handles,
        said,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=3,
        fontsize=9,
    )
    return axes

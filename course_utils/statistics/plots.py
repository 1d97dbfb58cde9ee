"""Plots of comparisons: estimates with their intervals, and paired outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from statsmodels.graphics.mosaicplot import mosaic

from course_utils.plots import ACCENT, BASE, PALE, REFERENCE, TUNED, Frame, Mark, framed

_VERDICTS = ("right", "wrong")
_COLOURS = {("right", "wrong"): ACCENT, ("wrong", "right"): TUNED}  # the rest is pale


def interval_plot(
    labels: Sequence[str],
    intervals: Sequence[tuple[float, float, float]],
    *,
    reference: Mark | None = ("no difference", 0.0),
    spelled: str = "{1:+.1f}  [{0:+.1f}, {2:+.1f}]",
    **frame: Unpack[Frame],
) -> Axes:
    """One line an estimate, first at the top; grey where the reference is inside.

    Intervals are (low, estimate, high), and written as `spelled` formats these.
    """
    axes = framed(y_label="", **frame)
    white = {"facecolor": "white", "linewidth": 0, "pad": 1}
    above: dict[str, Any] = {"textcoords": "offset points", "bbox": white}
    for row, (low, estimate, high) in enumerate(intervals):
        inside = reference is not None and low <= reference[1] <= high
        style = {"color": BASE if inside else TUNED, "linewidth": 3, "markersize": 8}
        axes.plot([low, high], [row, row], **style)
        axes.plot([estimate], [row], marker="o", **style)
        written = spelled.format(low, estimate, high)
        axes.annotate(written, (estimate, row), (0, 9), ha="center", **above)
    if reference is not None:
        axes.axvline(reference[1], label=reference[0], **REFERENCE)
        axes.legend(fontsize=9)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.8)
    axes.grid(axis="y", visible=False)
    return axes


def outcome_mosaic(
    counts: Sequence[Sequence[int]], *, names: tuple[str, str], **frame: Unpack[Frame]
) -> Axes:
    """Paired outcomes as tiles whose areas are shares of the questions.

    Counts are ((both right, first right only), (second right only, both wrong)).
    """
    axes = framed(x_label="", y_label="share of the column", **frame)
    columns = {v: c for v, c in zip(_VERDICTS, counts, strict=True) if sum(c)}
    tiles = {
        (verdict, other): count
        for verdict, column in columns.items()  # statsmodels takes no empty one
        for other, count in zip(_VERDICTS, column, strict=True)
    }
    edge = {"edgecolor": "white", "linewidth": 3}
    _, drawn = mosaic(
        tiles,
        ax=axes,
        title=frame["title"],
        gap=0,
        axes_label=False,
        labelizer=lambda tile: str(tiles[tile] or ""),
        properties=lambda tile: {"facecolor": _COLOURS.get(tile, PALE), **edge},
    )
    for tile, text in zip(drawn, axes.texts, strict=True):
        ink = "white" if tile in _COLOURS else "black"
        text.set(color=ink, weight="bold", fontsize=11)
    centres = [x + width / 2 for x, _, width, _ in drawn.values()]
    first, second = names
    named = [
        f"{first} {verdict} ({sum(column)})" for verdict, column in columns.items()
    ]
    axes.set_xticks(centres[::2], named)  # a column has two tiles
    axes.set(xlim=(0, 1), ylim=(0, 1), yticks=np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter("{x:.1f}")
    axes.grid(visible=False)
    said = {"same for both": PALE, f"only {second} right": TUNED}
    said[f"only {first} right"] = ACCENT
    keys = [Patch(color=colour, label=name) for name, colour in said.items()]
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.12)}
    axes.legend(handles=keys, ncols=3, fontsize=9, **place)
    return axes

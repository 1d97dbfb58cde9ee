"""The course's plots: numbers in, Axes out, one style.

Grey is the base model, blue the tuned one, a dashed line a reference. Each plot takes
the words of a `Frame`; where a label is missing from it, Python says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Required, TypedDict, Unpack

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

STYLE = Path(__file__).with_name("course.mplstyle")
BASE = "#8c8c8c"
TUNED = "#1f5fa8"
ACCENT = "#d9822b"
PALE = "#d9d9d9"
REFERENCE = {"color": "#4d4d4d", "linestyle": "--", "linewidth": 1.4}
_TILES = 12  # in a row of tokens
TOLD, SHOWN = "#4d4d4d", "#b9b9b9"  # the base too, its prompt longer
COLOURS = {
    "base": BASE,
    "told the form": TOLD,
    "shown examples": SHOWN,
    "tuned": TUNED,
    "validation": ACCENT,
}

Series = Mapping[str, Sequence[float]]  # a name, and its values
Mark = tuple[str, float]  # name and position of a dashed line


class Frame(TypedDict, total=False):
    """What stands around a plot."""

    title: Required[str]  # the finding
    x_label: str  # with its unit, as the other one
    y_label: str
    axes: Axes | None  # where to draw; a new figure by default


def use_course_style() -> None:
    """Apply the style to all plots that follow; call it in a notebook's set-up."""
    plt.style.use(STYLE)


def new_axes(axes: Axes | None = None) -> Axes:
    """The given axes, or those of a new figure."""
    return plt.figure().add_subplot() if axes is None else axes


def framed(*, title: str, x_label: str, y_label: str, axes: Axes | None = None) -> Axes:
    """Axes with their labels, to be drawn on."""
    axes = new_axes(axes)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    return axes


def line_plot(
    x: Sequence[float],
    series: Series,
    *,
    log_x: bool = False,
    log_y: bool = False,
    reference: Mark | None = None,
    marker: str = "",
    **frame: Unpack[Frame],
) -> Axes:
    """Lines over a common x; NaN leaves a gap. A logarithmic x counts in twos."""
    axes = framed(**frame)
    for name, values in series.items():
        heights = np.asarray(values, dtype=float)
        kept = ~np.isnan(heights)
        style = {"label": name, "color": COLOURS.get(name), "marker": marker}
        axes.plot(np.asarray(x)[kept], heights[kept], **style)
    if reference is not None:
        axes.axhline(reference[1], label=reference[0], **REFERENCE)
    if log_x:
        axes.set_xscale("log", base=2)
    if log_y:
        axes.set_yscale("log")
    axes.legend()
    return axes


def grouped_bars(
    labels: Sequence[str],
    series: Series,
    *,
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    reference: Mark | None = None,
    value_format: str | None = None,
    **frame: Unpack[Frame],
) -> Axes:
    """Bars side by side for each label, their values written on top.

    An empty format writes none. Intervals, (low, high) a label for each name, give
    whiskers in place of written values; with a format, values above the whiskers.
    """
    axes = framed(x_label="", **frame)
    if value_format is None:
        value_format = "" if intervals else "{:.3g}"
    width = 0.8 / len(series)
    for index, (name, values) in enumerate(series.items()):
        centres = np.arange(len(labels)) + (index - (len(series) - 1) / 2) * width
        style: dict[str, Any] = {"label": name, "color": COLOURS.get(name)}
        if intervals is not None:
            tops = np.asarray(values, dtype=float)
            low, high = np.array(intervals[name], dtype=float).T
            style["yerr"] = np.clip([tops - low, high - tops], 0, None)
            style["error_kw"] = {"ecolor": "#222222", "capsize": 4}
        bars = axes.bar(centres, values, width * 0.92, **style)
        if value_format:
            written = [value_format.format(value) for value in values]
            axes.bar_label(bars, written, padding=2, fontsize=9)
    if reference is not None:
        axes.axhline(reference[1], label=reference[0], **REFERENCE)
    if len(series) > 1 or reference is not None:
        axes.legend()
    axes.set_xticks(range(len(labels)), labels)
    axes.margins(y=0.12)
    axes.grid(axis="x", visible=False)
    return axes


def stacked_bars(
    labels: Sequence[str],
    parts: Series,
    *,
    limit: Mark | None = None,
    total_format: str = "{:.2f}",
    **frame: Unpack[Frame],
) -> Axes:
    """Horizontal bars made of parts, first at the top, the total written at the end.

    Each part has one value a label; the limit is a dashed vertical line.
    """
    axes = framed(y_label="", **frame)
    left = np.zeros(len(labels))
    for name, values in parts.items():
        axes.barh(labels, values, left=left, label=name, height=0.62)
        left += np.asarray(values, dtype=float)
    for position, total in enumerate(left):
        written = f" {total_format.format(total)}"
        axes.annotate(written, (total, position), va="center", fontsize=9)
    if limit is not None:
        axes.axvline(limit[1], label=limit[0], **REFERENCE)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.legend(ncols=2, fontsize=9)
    return axes


def histogram(
    values: Series, *, bins: int | Sequence[float], **frame: Unpack[Frame]
) -> Axes:
    """Distributions over common bins, one colour each."""
    axes = framed(**frame)
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), bins).tolist()
    for name, sample in values.items():
        axes.hist(sample, edges, label=name, alpha=0.65, color=COLOURS.get(name))
    axes.legend()
    return axes


def label_strip(
    tokens: Sequence[str], carries_loss: Sequence[bool], *, title: str
) -> Axes:
    """Spelled tokens as tiles in reading order: blue where a token carries loss."""
    rows = -(-len(tokens) // _TILES)
    axes = plt.figure(figsize=(9.5, 0.42 * rows + 0.5)).add_subplot()
    centred = {"ha": "center", "va": "center", "fontsize": 7.5, "parse_math": False}
    for index, (token, blue) in enumerate(zip(tokens, carries_loss, strict=True)):
        row, column = divmod(index, _TILES)
        colour, ink = (TUNED, "white") if blue else (PALE, "#333333")
        tile = plt.Rectangle((column, -row), 0.96, 0.84, color=colour, linewidth=0)
        axes.add_patch(tile)
        spelled = token if len(token) <= 11 else token[:10] + "…"
        axes.text(column + 0.48, -row + 0.42, spelled, color=ink, **centred)
    axes.set(xlim=(0, _TILES), ylim=(-rows + 0.9, 1), title=title)
    axes.axis("off")
    return axes

"""The course's plots: numbers in, Axes out, one style.

Grey is the base model, blue the tuned one, a dashed line a reference. Axes carry
units; the title states the finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

STYLE = Path(__file__).with_name("course.mplstyle")
BASE = "#8c8c8c"
TUNED = "#1f5fa8"
ACCENT = "#d9822b"
REFERENCE = {"color": "#4d4d4d", "linestyle": "--", "linewidth": 1.4}
COLOURS = {"base": BASE, "tuned": TUNED, "validation": ACCENT}


def use_course_style() -> None:
    """Apply the style to all plots that follow; call it in a notebook's set-up."""
    plt.style.use(STYLE)


def new_axes(axes: Axes | None = None) -> Axes:
    """The given axes, or those of a new figure."""
    return plt.figure().add_subplot() if axes is None else axes


def curves(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    title: str,
    log_x: bool = False,
    log_y: bool = False,
    reference: tuple[str, float] | None = None,
    marker: str = "",
    axes: Axes | None = None,
) -> Axes:
    """Lines over a common x; NaN leaves a gap.

    Args:
        x: Shared positions.
        series: Name to values, as long as x.
        x_label: With unit.
        y_label: With unit.
        title: The finding.
        log_x: Logarithmic horizontal axis.
        log_y: Logarithmic vertical axis.
        reference: (name, height) of a dashed horizontal line.
        marker: matplotlib marker of the points.
        axes: Where to draw; a new figure by default.
    """
    axes = new_axes(axes)
    for name, values in series.items():
        colour = COLOURS.get(name)
        kept = ~np.isnan(np.asarray(values, dtype=float))
        axes.plot(
            np.asarray(x)[kept],
            np.asarray(values, dtype=float)[kept],
            label=name,
            color=colour,
            marker=marker,
        )
    if reference is not None:
        axes.axhline(reference[1], label=reference[0], **REFERENCE)
    if log_x:
        axes.set_xscale("log", base=2)
    if log_y:
        axes.set_yscale("log")
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.legend()
    return axes


def grouped_bars(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    y_label: str,
    title: str,
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    reference: tuple[str, float] | None = None,
    value_format: str = "{:.3g}",
    axes: Axes | None = None,
) -> Axes:
    """Bars side by side for each label, their values written on top.

    Args:
        labels: Groups on the horizontal axis.
        series: Name to one value a label.
        y_label: With unit.
        title: The finding.
        intervals: Name to (low, high) a label, drawn as whiskers.
        reference: (name, height) of a dashed horizontal line.
        value_format: How values are written; empty writes none.
        axes: Where to draw; a new figure by default.
    """
    axes = new_axes(axes)
    width = 0.8 / len(series)
    for index, (name, values) in enumerate(series.items()):
        centres = np.arange(len(labels)) + (index - (len(series) - 1) / 2) * width
        bars = axes.bar(
            centres, values, width * 0.92, label=name, color=COLOURS.get(name)
        )
        tops = np.asarray(values, dtype=float)
        if intervals is not None:
            low, high = np.array(intervals[name], dtype=float).T
            spread = np.clip([tops - low, high - tops], 0, None)
            axes.errorbar(
                centres, tops, spread, fmt="none", ecolor="#222222", capsize=4
            )
        elif value_format:
            written = [value_format.format(value) for value in values]
            axes.bar_label(bars, written, padding=2, fontsize=9)
    if reference is not None:
        axes.axhline(reference[1], label=reference[0], **REFERENCE)
    axes.set_xticks(range(len(labels)), labels)
    axes.set(ylabel=y_label, title=title)
    axes.margins(y=0.12)
    axes.grid(axis="x", visible=False)
    if len(series) > 1 or reference is not None:
        axes.legend()
    return axes


def stacked_bars(
    labels: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    title: str,
    limit: tuple[str, float] | None = None,
    total_format: str = "{:.2f}",
    axes: Axes | None = None,
) -> Axes:
    """Horizontal bars made of parts, the total written at the end.

    Args:
        labels: One bar each, first at the top.
        parts: Name of a part to one value a label.
        x_label: With unit.
        title: The finding.
        limit: (name, position) of a dashed vertical line.
        total_format: How totals are written.
        axes: Where to draw; a new figure by default.
    """
    axes = new_axes(axes)
    left = np.zeros(len(labels))
    for name, values in parts.items():
        axes.barh(labels, values, left=left, label=name, height=0.62)
        left += np.asarray(values, dtype=float)
    for position, total in enumerate(left):
        axes.annotate(
            " " + total_format.format(total), (total, position), va="center", fontsize=9
        )
    if limit is not None:
        axes.axvline(limit[1], label=limit[0], **REFERENCE)
    axes.invert_yaxis()
    axes.set(xlabel=x_label, title=title)
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.legend(ncols=2, fontsize=9)
    return axes


def histogram(
    values: Mapping[str, Sequence[float]],
    *,
    bins: int | Sequence[float],
    x_label: str,
    y_label: str,
    title: str,
    axes: Axes | None = None,
) -> Axes:
    """Distributions over common bins, one colour each."""
    axes = new_axes(axes)
    edges = np.histogram_bin_edges(
        np.concatenate(list(map(np.asarray, values.values()))), bins
    )
    for name, sample in values.items():
        axes.hist(sample, edges, label=name, alpha=0.65, color=COLOURS.get(name))
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.legend()
    return axes


def label_strip(
    tokens: Sequence[str],
    carries_loss: Sequence[bool],
    *,
    title: str,
    per_row: int = 12,
) -> Axes:
    """Tokens as tiles in reading order: blue where a token carries loss.

    Args:
        tokens: Spelled tokens.
        carries_loss: One flag a token.
        title: The finding.
        per_row: Tiles in a row.
    """
    rows = -(-len(tokens) // per_row)
    axes = plt.figure(figsize=(9.5, 0.42 * rows + 0.5)).add_subplot()
    for index, (token, blue) in enumerate(zip(tokens, carries_loss, strict=True)):
        row, column = divmod(index, per_row)
        colour = TUNED if blue else "#d9d9d9"
        tile = plt.Rectangle((column, -row), 0.96, 0.84, color=colour, linewidth=0)
        axes.add_patch(tile)
        spelled = token if len(token) <= 11 else token[:10] + "…"
        axes.text(
            column + 0.48,
            -row + 0.42,
            spelled,
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if blue else "#333333",
            parse_math=False,
        )
    axes.set(xlim=(0, per_row), ylim=(-rows + 0.9, 1), title=title)
    axes.axis("off")
    return axes

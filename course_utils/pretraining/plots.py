"""Pictures of lesson 11."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from course_utils.plots import ACCENT, BASE, REFERENCE, TUNED, framed, new_axes
from course_utils.pretraining import results
from course_utils.pretraining.results import RESULTS

_HELD_OUT = "nats a token, held-out pages"
_LOOKS = 16  # at the held-out blocks, in a run
_SHADES = {16: ACCENT, 4: BASE, 1: TUNED}  # by part: one page in so many


def who_sees_whom(tokens: Sequence[str]) -> Axes:
    """The attention that a causal mask allows: rows look at columns."""
    axes = new_axes()
    axes.imshow(np.tril(np.ones((len(tokens),) * 2)), cmap="Blues", vmin=0, vmax=1.4)
    axes.set_xticks(range(len(tokens)), tokens, rotation=45, ha="right")
    axes.set_yticks(range(len(tokens)), tokens)
    axes.set(xlabel="it may look at", ylabel="at this token")
    axes.grid(visible=False)
    axes.set_title("A causal model looks back, never ahead")
    return axes


def curve_and_counts(
    curve: Mapping[str, Sequence[float]], counts: Mapping[int, float], title: str
) -> Axes:
    """Held-out loss over a run, and what tables of counts reach."""
    axes = framed(title=title, x_label="updates", y_label=_HELD_OUT)
    axes.plot(curve["update"], curve["test"], color=TUNED, marker="o")
    for order, nats in counts.items():
        axes.axhline(nats, **REFERENCE)
        label = "counts of 1 token" if order == 1 else f"counts of {order} tokens"
        below = nats < curve["test"][0] - 0.5  # else the curve is in the way
        place, side = (0, "left") if below else (-1, "right")
        axes.text(curve["update"][place], nats, label, ha=side, va="bottom")
    return axes


def bits_bars(bits: Mapping[str, float], title: str) -> Axes:
    """Bits per byte, rivals in grey, the last two in colours."""
    axes = framed(title=title, x_label="", y_label="bits per byte of held-out pages")
    colours = [BASE] * (len(bits) - 2) + [TUNED, ACCENT]
    bars = axes.bar([*bits], [*bits.values()], color=colours)
    axes.bar_label(bars, fmt="{:.2f}", padding=2)
    axes.margins(y=0.12)
    axes.grid(axis="x", visible=False)
    return axes


def curves_by_text(width: int, title: str, path: Path = RESULTS) -> Axes:
    """Held-out loss over the runs of one width, a line a seed, a colour a share."""
    axes = framed(title=title, x_label="updates", y_label=_HELD_OUT)
    runs = results.kept("scale", path)
    for part, colour in _SHADES.items():
        some = runs[(runs["width"] == width) & (runs["part"] == part)]
        for number, run in enumerate(some.to_dict("records")):
            steps = np.arange(1, _LOOKS + 1) * run["updates"] / _LOOKS
            label = results.named(part) if number == 0 else None
            axes.plot(steps, run["curve"], color=colour, label=label)
    axes.legend(title="text to learn from")
    return axes


def loss_by_size(title: str, path: Path = RESULTS) -> Axes:
    """A dot a seed, over the numbers of a model; dashed, the counts on that text."""
    axes = framed(
        title=title,
        x_label="numbers in the model (log scale)",
        y_label=_HELD_OUT,
    )
    counts = results.best_counts(path)
    every = results.kept("scale", path)
    for part, colour in _SHADES.items():
        runs = every[every["part"] == part]
        dots = runs["parameters"], runs["test_nats"]
        axes.scatter(*dots, color=colour, label=results.named(part))
        axes.axhline(counts[part], color=colour, linestyle="--")
    axes.set_xscale("log")
    sizes = sorted(set(every["parameters"]))
    axes.set_xticks(sizes, [f"{size / 1e6:.2g} million" for size in sizes])
    axes.set_xticks([], minor=True)
    axes.legend(title="dashed: counts on the same text")
    return axes


def loss_by_rows(title: str, path: Path = RESULTS) -> Axes:
    """Both starts over the rows they saw, a dot a seed; dashed, the counts."""
    axes = framed(
        title=title,
        x_label="rows (log scale)",
        y_label="nats a token of the query",
    )
    runs = results.kept("transfer", path)
    for start, colour in (("random", BASE), ("pretrained", TUNED)):
        some = runs[(runs["start"] == start) & (runs["passes"] == 1)]
        axes.scatter(some["rows"], some["test_nats"], color=colour, label=start)
    more = runs[runs["passes"] > 1]
    label = f"random, {more['passes'].max()} passes"
    style = {"facecolors": "none", "edgecolors": BASE, "label": label}
    axes.scatter(more["rows"], more["test_nats"], **style)
    counts = results.transfer_table(path).loc["best counts"].reset_index()
    axes.plot(counts["rows"], counts["mean"], label="counts", **REFERENCE)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts["rows"], [str(rows) for rows in counts["rows"]])
    axes.legend()
    return axes

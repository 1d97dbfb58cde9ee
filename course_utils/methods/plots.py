"""Plots of the methods: rates that were tried, losses by seed, cost against loss."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from course_utils.methods.results import RIVAL, Study
from course_utils.plots import (
    ACCENT,
    BASE,
    PALE,
    REFERENCE,
    TUNED,
    new_axes,
    stacked_bars,
)

_COLUMNS = 4


def rate_curves(study: Study, *, title: str) -> np.ndarray:
    """Validation loss over the learning rate, a panel a method; the chosen one blue."""
    groups = dict(list(study.search.groupby("method", sort=False)))
    rows = -(-len(groups) // _COLUMNS)
    figure, panels = plt.subplots(
        rows, _COLUMNS, figsize=(10.5, 2.1 * rows), sharey=True, layout="constrained"
    )
    for axes in panels.flat[len(groups) :]:
        axes.axis("off")
    for axes, (name, tried) in zip(panels.flat, groups.items(), strict=False):
        tried = tried.sort_values("rate")
        best = tried.loc[tried["validation_nats"].idxmin()]
        axes.plot(tried["rate"], tried["validation_nats"], color=BASE, marker="o")
        axes.plot(best["rate"], best["validation_nats"], "o", color=TUNED, ms=9)
        axes.set_title(f"{name}: {best['rate']:g}", fontsize=10)
        axes.set_xscale("log")
        axes.set_xticks(tried["rate"], [f"{rate:g}" for rate in tried["rate"]])
        axes.minorticks_off()
        axes.margins(x=0.15)
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    figure.supylabel("validation loss, nats a token", fontsize=10)
    figure.supxlabel("learning rate (log scale)", fontsize=10)
    return panels


def seeds_plot(study: Study, *, title: str, axes: Axes | None = None) -> Axes:
    """Test loss of each method: a point a seed, the mean a line; the best on top."""
    axes = new_axes(axes)
    for row, name in enumerate(study.methods):
        nats = study.of(name)["test_nats"]
        colour = ACCENT if name == RIVAL else TUNED
        axes.plot(nats, [row] * len(nats), "o", color=colour, alpha=0.7, ms=7)
        axes.plot([nats.mean()] * 2, [row - 0.3, row + 0.3], color=colour, lw=2)
        axes.annotate(
            f"{nats.mean():.2f}", (nats.max(), row), (9, 0), va="center",
            textcoords="offset points", fontsize=9,
        )  # fmt: skip
    axes.axvline(study.mean("test_nats")[RIVAL], label=RIVAL, **REFERENCE)
    axes.set_yticks(range(len(study.methods)), study.methods)
    axes.set_ylim(len(study.methods) - 0.4, -0.6)
    axes.set(title=title, xlabel="test loss, nats a token (lower is better)")
    axes.margins(x=0.1)
    axes.grid(axis="y", visible=False)
    axes.legend(loc="upper right")
    return axes


def cost_plot(study: Study, *, title: str, axes: Axes | None = None) -> Axes:
    """Trained numbers against test loss; names stand on the right, in order of loss."""
    axes = new_axes(axes)
    counts, losses = study.mean("parameters"), study.mean("test_nats")
    names = study.methods
    low, high = losses.min(), losses.max()
    places = np.linspace(low, high, len(names))
    for name, place in zip(names, places, strict=True):
        point = counts[name], losses[name]
        colour = ACCENT if name == RIVAL else TUNED
        axes.plot(*point, "o", color=colour, ms=8, zorder=3)
        axes.annotate(
            name, point, (1.02, place), va="center", fontsize=9, color=colour,
            textcoords=axes.get_yaxis_transform(),
            arrowprops={"arrowstyle": "-", "color": PALE, "relpos": (0, 0.5)},
        )  # fmt: skip
    axes.set(title=title, xscale="log", ylabel="test loss, nats a token")
    axes.set_xlabel("trained numbers (log scale)")
    axes.margins(x=0.08)
    return axes


def memory_plot(study: Study, methods: Sequence[str], *, title: str) -> Axes:
    """What a run held beside the weights: activations, gradients, Adam's moments."""
    memory = study.memory.loc[[*methods]]
    return stacked_bars(
        methods,
        {str(name): memory[name].tolist() for name in memory},
        x_label="MiB beside the weights (four rows, no checkpointing)",
        title=title,
        total_format="{:.0f}",
    )

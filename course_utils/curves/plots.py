"""Plots of notebook 04: losses with their band, what goes with them, the trade-off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from course_utils.curves.forgetting import Change
from course_utils.curves.losses import LossCurves, span_for
from course_utils.curves.reference import Band
from course_utils.plots import ACCENT, BASE, REFERENCE, TUNED, Frame, framed

_PANELS = 3  # in a row
_FEW_POINTS = 12  # so many are marked one by one


def loss_plot(
    curves: LossCurves, *, mark_best: bool = False, **frame: Unpack[Frame]
) -> Axes:
    """Training loss raw and smoothed, validation loss as points, the best marked."""
    axes = framed(x_label="update", y_label="loss (nats per answer token)", **frame)
    is_smoothed = span_for(len(curves.training)) > 1  # a short run is shown as it is
    raw = {"alpha": 0.3 if is_smoothed else 0.8, "linewidth": 1.2}
    axes.plot(curves.training, color=TUNED, label="training, raw", **raw)
    if is_smoothed:
        axes.plot(curves.smoothed, color=TUNED, label="training, smoothed")
    if len(curves.validation):
        points = {"marker": "o", "markersize": 4, "label": "validation"}
        axes.plot(curves.validation, color=ACCENT, **points)
    if mark_best:
        axes.axvline(curves.best()[0], label="best validation", **REFERENCE)
    axes.legend(fontsize=9)
    return axes


def loss_panels(
    logs: Mapping[str, Iterable[Mapping[str, Any]]],
    *,
    title: str,
    from_zero: bool = True,
) -> np.ndarray:
    """Several logs side by side, each under its name and on axes of its own."""
    rows = -(-len(logs) // _PANELS)
    size = {"figsize": (10.5, 0.6 + 2.7 * rows), "layout": "constrained"}
    figure, panels = plt.subplots(rows, _PANELS, **size)
    for axes, (name, log) in zip(panels.flat, logs.items(), strict=True):
        loss_plot(LossCurves.from_history(log), title=name, axes=axes)
        axes.set(ylabel="loss (nats)")
        axes.xaxis.set_major_locator(
            MaxNLocator(integer=True)
        )  # half an update is none
        if from_zero:
            axes.set_ylim(bottom=0)
        axes.get_legend().remove()
    handles = panels.flat[0].get_legend_handles_labels()
    figure.suptitle(title, fontweight="bold")
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=9)
    return panels


def run_plot(curves: LossCurves, *, title: str) -> np.ndarray:
    """Loss, gradient norm and learning rate above each other, over one x."""
    heights = {"height_ratios": [2.2, 1, 1]}
    _, panels = plt.subplots(3, 1, sharex=True, figsize=(7.2, 6), **heights)
    loss_plot(curves, title=title, axes=panels[0])
    panels[0].set(xlabel="", ylabel="loss (nats)")
    panels[1].plot(curves.grad_norm, color=TUNED)
    panels[1].axhline(1.0, label="clipped above", **REFERENCE)
    panels[1].set(ylabel="gradient norm")
    panels[1].legend(fontsize=9)
    panels[2].plot(curves.learning_rate, color=TUNED)
    panels[2].set(xlabel="update", ylabel="learning rate")
    return panels


def band_plot(
    curves: LossCurves, training: Band, validation: Band, *, title: str
) -> np.ndarray:
    """A run in the bands in which 95 % of further seeds are expected.

    Left the smoothed training loss; right how far the validation loss lies from the
    mean of the seeds, since its band is too narrow to be seen beside the curve. Without
    seeds the run alone.
    """
    if not validation.seeds:
        return np.array([loss_plot(curves, title=title)])
    figure, panels = plt.subplots(1, 2, figsize=(10.4, 3.8))
    figure.suptitle(title, fontweight="bold")
    shared = curves.validation[curves.validation.index.isin(validation.steps)]
    apart = shared - pd.Series(validation.mean, validation.steps)[shared.index]
    parts = (
        (training, training.mean, curves.smoothed, TUNED, "smoothed training loss"),
        (validation, 0 * validation.mean, apart, ACCENT, "validation loss - mean"),
    )
    for axes, (band, middle, run, colour, label) in zip(panels, parts, strict=True):
        style = {"color": colour, "alpha": 0.2, "linewidth": 0}
        low, high = middle - band.half_width, middle + band.half_width
        axes.fill_between(band.steps, low, high, label="95 % band", **style)
        axes.plot(band.steps, middle, label=f"mean of {band.seeds} seeds", **REFERENCE)
        points = "o" if len(run) < _FEW_POINTS else ""
        axes.plot(run, color=colour, marker=points, label="this run")
        axes.set(xlabel="update", ylabel=f"{label} (nats)")
        axes.legend(fontsize=9)
    return panels


def trade_off(
    points: Mapping[str, tuple[Change, Change]], **frame: Unpack[Frame]
) -> Axes:
    """Gain on the task against forgetting elsewhere, one point a run.

    Points are the changes of a run on the task and on the other text, each with its
    name beside it and 95 % intervals as whiskers.
    """
    axes = framed(x_label="gain on the task (bits per byte)", **frame)
    by_gain = sorted(points.items(), key=lambda point: -point[1][0].rise)
    for index, (name, (task, other)) in enumerate(by_gain):
        style = {"fmt": "o", "capsize": 3, "color": BASE if name == "base" else TUNED}
        errors = {"xerr": task.high - task.rise, "yerr": other.high - other.rise}
        axes.errorbar(-task.rise, other.rise, **errors, **style)
        beside: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9}
        beside["bbox"] = {
            "facecolor": "white",
            "alpha": 0.7,
            "pad": 0.5,
            "linewidth": 0,
        }
        beside["xytext"] = (6, -13 if index % 2 else 7)  # neighbours: above and below
        axes.annotate(name, (-task.rise, other.rise), **beside)
    axes.axhline(0, **REFERENCE)
    axes.margins(x=0.15, y=0.15)
    return axes

"""Plots of notebook 04: losses with their band, what goes with them, the trade-off."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Unpack

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from course_utils.curves.forgetting import Change
from course_utils.curves.losses import LossCurves
from course_utils.curves.reference import Band
from course_utils.plots import ACCENT, BASE, REFERENCE, TUNED, Frame, framed

_RUN_COLOURS = (
    *(TUNED, ACCENT, "#3a8f5c", "#8a5fb0", "#b5443c"),
    *("#2aa198", "#4d4d4d", "#c25b9e", "#7a5c3e"),
)
_MARKERS = "osD^v"
_FEW_POINTS = 12  # so many are marked one by one


def loss_plot(
    curves: LossCurves, *, mark_best: bool = False, **frame: Unpack[Frame]
) -> Axes:
    """Training loss raw and smoothed, validation loss as points, the best marked."""
    axes = framed(x_label="update", y_label="loss (nats per answer token)", **frame)
    raw = {"alpha": 0.3, "linewidth": 1, "label": "training, raw"}
    axes.plot(curves.training, color=TUNED, **raw)
    axes.plot(curves.smoothed, color=TUNED, label="training, smoothed")
    if len(curves.validation):
        points = {"marker": "o", "markersize": 4, "label": "validation"}
        axes.plot(curves.validation, color=ACCENT, **points)
    if mark_best:
        axes.axvline(curves.best()[0], label="best validation", **REFERENCE)
    axes.legend(fontsize=9)
    return axes


def run_plot(curves: LossCurves, *, title: str) -> np.ndarray:
    """Loss, gradient norm and learning rate above each other, over one x."""
    heights = {"height_ratios": [2.2, 1, 1]}
    _, panels = plt.subplots(3, 1, sharex=True, figsize=(7.2, 6), **heights)
    loss_plot(curves, title=title, axes=panels[0])
    panels[0].set(xlabel="", ylabel="loss (nats)")
    panels[1].plot(curves.grad_norm, color=BASE)
    panels[1].axhline(1.0, label="clipped above", **REFERENCE)
    panels[1].set(ylabel="gradient norm")
    panels[1].legend(fontsize=9)
    panels[2].plot(curves.learning_rate, color=BASE)
    panels[2].set(xlabel="update", ylabel="learning rate")
    return panels


def band_plot(
    curves: LossCurves, training: Band, validation: Band, *, title: str
) -> np.ndarray:
    """A run in the bands in which 95 % of further seeds are expected.

    Left the smoothed training loss; right how far the validation loss lies from the
    mean of the seeds, since its band is too narrow to be seen beside the curve.
    """
    _, panels = plt.subplots(1, 2, figsize=(10.4, 3.8))
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
    panels[0].set_title(title)
    return panels


def trade_off(
    points: Mapping[str, tuple[Change, Change]], **frame: Unpack[Frame]
) -> Axes:
    """Gain on the task against forgetting elsewhere, one point a run.

    Points are the changes of a run on the task and on the other text.
    """
    axes = framed(x_label="gain on the task (bits per byte)", **frame)
    styles = zip(points.items(), cycle(_RUN_COLOURS), cycle(_MARKERS), strict=False)
    for (name, (task, other)), colour, marker in styles:
        style = {"label": name, "color": BASE if name == "base" else colour}
        errors = {"xerr": task.high - task.rise, "yerr": other.high - other.rise}
        axes.errorbar(-task.rise, other.rise, **errors, fmt=marker, capsize=3, **style)
    axes.axhline(0, **REFERENCE)
    axes.legend(fontsize=8)
    axes.margins(x=0.15, y=0.15)
    return axes

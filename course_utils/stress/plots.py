"""Plots of lesson 05: rates, verdicts by group, and what another draw changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import PercentFormatter

from course_utils.plots import COLOURS, Frame, framed

_SHARES = LinearSegmentedColormap.from_list("", ["#f6e3d0", "#f7f7f7", "#8db8e3"])
_FAILED_OR_PASSED = LinearSegmentedColormap.from_list("", ["#eabb8b", "#3570b1"])


def rates_plot(rates: pd.DataFrame, **frame: Unpack[Frame]) -> Axes:
    """Share passed with its 95 % interval: a row a check, one dot a way of asking.

    The counts stand at the right, passed / judged; where nothing was judged there is
    no dot.

    Args:
        rates: From `pass_rates` by model and check; both keep their order.
    """
    ways = list(dict.fromkeys(rates.index.get_level_values("model")))
    checks = list(dict.fromkeys(rates.index.get_level_values("check")))
    if frame.get("axes") is None:
        height = 0.22 * len(ways) * len(checks) + 1.3
        frame["axes"] = plt.figure(figsize=(8.5, height)).add_subplot()
    axes = framed(**frame)
    beside = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 9}
    for number, way in enumerate(ways):
        colour = COLOURS.get(way)
        shift = 0.2 * (number - (len(ways) - 1) / 2)
        for row, check in enumerate(checks):
            rate, at = rates.loc[(way, check)], row + shift
            axes.text(1.02, at, f"{rate.passed:.0f} / {rate.n:.0f}", **beside)
            if rate.n:
                ends = [[rate.rate - rate.low], [rate.high - rate.rate]]
                style = {"fmt": "o", "capsize": 3, "color": colour}
                axes.errorbar([rate.rate], [at], xerr=np.clip(ends, 0, None), **style)
        axes.errorbar([], [], [], fmt="o", color=colour, label=way)
    axes.set_yticks(range(len(checks)), checks)
    axes.set(ylim=(len(checks) - 0.5, -0.5), xlim=(-0.04, 1.04))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="y", visible=False)
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}
    axes.legend(ncols=len(ways), **place)
    return axes


def verdict_matrix(
    rates: pd.DataFrame, models: Sequence[str] = ("base", "tuned"), *, title: str
) -> np.ndarray:
    """Which check passes in which group: k of n as tiles, one panel a model.

    Args:
        rates: From `pass_rates` by model, check and group; what is missing there, a
            check that does not apply, stays blank, as does one that judged nothing.
        models: One panel each.
    """
    height = 0.34 * rates.index.get_level_values("check").nunique() + 1.7
    shape = {"figsize": (10.5, height), "sharey": True, "squeeze": False}
    figure, [panels] = plt.subplots(1, len(models), **shape)
    for axes, model in zip(panels, models, strict=True):
        names = ("rate", "passed", "n")
        share, passed, n = (rates[it].xs(model).unstack("group") for it in names)
        _tiles(axes, share, _SHARES)
        for (row, column), of in np.ndenumerate(n.fillna(0)):
            if of:
                k = passed.iat[row, column]
                style = {"fontsize": 8.5, "weight": "bold" if k == of else "normal"}
                text = f"{k:.0f}/{of:.0f}"
                axes.text(column, row, text, ha="center", va="center", **style)
        groups = [name.replace("_", " ") for name in share.columns]
        axes.set_xticks(range(len(groups)), groups, rotation=40, ha="right", fontsize=9)
        axes.set_title(model, fontsize=11)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return panels


def draw_grid(passed: pd.DataFrame, *, title: str, axes: Axes | None = None) -> Axes:
    """One column a prompt, one row a draw: blue passed, orange failed.

    Args:
        passed: Draws by prompts, true or false; missing where a check does not apply.
    """
    if axes is None:
        axes = plt.figure(figsize=(9.5, 0.42 * len(passed) + 1)).add_subplot()
    _tiles(axes, passed.astype(float), _FAILED_OR_PASSED)
    numbers = [str(name).rpartition("-")[2] for name in passed.columns]
    axes.set_xticks(range(len(numbers)), numbers, fontsize=8)
    axes.set(xlabel="prompt (blue: passed)", title=title)
    return axes


def _tiles(axes: Axes, shares: pd.DataFrame, colours: LinearSegmentedColormap) -> None:
    """A tile a cell, first row at the top; missing ones stay blank."""
    style = {"edgecolors": "white", "linewidth": 2, "vmin": 0, "vmax": 1}
    axes.pcolormesh(
        range(shares.shape[1]), range(len(shares)), shares, cmap=colours, **style
    )
    axes.set_yticks(range(len(shares)), shares.index, fontsize=9)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)

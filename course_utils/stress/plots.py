"""Plots of notebook 05: verdicts by group, and what another draw changes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

_SHARES = LinearSegmentedColormap.from_list("", ["#f6e3d0", "#f7f7f7", "#8db8e3"])
_FAILED_OR_PASSED = LinearSegmentedColormap.from_list("", ["#eabb8b", "#3570b1"])


def verdict_matrix(
    rates: pd.DataFrame, models: tuple[str, str] = ("base", "tuned"), *, title: str
) -> np.ndarray:
    """Which check passes in which group: k of n as tiles, one panel a model.

    Args:
        rates: From `pass_rates` by model, check and group; what is missing there, a
            check that does not apply, stays blank.
    """
    figure, panels = plt.subplots(1, 2, figsize=(10.5, 5.2), sharey=True)
    for axes, model in zip(panels, models, strict=True):
        names = ("rate", "passed", "n")
        share, passed, n = (rates[it].xs(model).unstack("group") for it in names)
        _tiles(axes, share, _SHARES)
        for (row, column), k in np.ndenumerate(passed):
            if not np.isnan(k):
                of = n.iat[row, column]
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

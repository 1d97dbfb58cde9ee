"""The plots of lesson 10: what a preference run or a reward did, update by update."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_utils.plots import ACCENT, BASE, REFERENCE, TUNED, framed

SMOOTHED = 5  # updates of a mean
_WATCHED = {
    "rewards/verified_reward/mean": "verified reward, 0 to 1",
    "entropy": "entropy, nats a token",
    "completions/mean_length": "length, tokens",
    "kl": "KL to the start, nats a token",
}
REWARDS = {"keyword": ACCENT, "form": BASE, "verified": TUNED}


def _column(log: pd.DataFrame, name: str) -> pd.Series:
    """A quantity of the trainer's log by update, from 1; the trainer writes texts."""
    values = log[name].astype(float)
    return values.set_axis(range(1, len(values) + 1))


def log_ratios_plot(log: pd.DataFrame, beta: float, *, title: str) -> Axes:
    """How far DPO moved chosen and rejected answers from the reference, in nats."""
    axes = framed(title=title, x_label="update", y_label="log p less the start's, nats")
    for side, colour in {"chosen": TUNED, "rejected": ACCENT}.items():
        nats = _column(log, f"rewards/{side}") / beta
        axes.plot(nats.index, nats, color=colour, alpha=0.25)
        mean = nats.rolling(SMOOTHED, 1).mean()
        axes.plot(mean.index, mean, color=colour, label=f"{side} answers")
    axes.axhline(0, label="the start", **REFERENCE)
    axes.legend()
    return axes


def watched_plot(log: pd.DataFrame, *, title: str) -> Figure:
    """Reward, entropy, length and KL of a GRPO run."""
    figure, grid = plt.subplots(2, 2, figsize=(10, 6), layout="constrained")
    for axes, (name, label) in zip(grid.flat, _WATCHED.items(), strict=True):
        values = _column(log, name)
        axes.plot(values.index, values, color=TUNED)
        axes.set(xlabel="update", ylabel=label)
    figure.suptitle(title)
    return figure


def rewards_plot(logs: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """All rewards of each run; the one that was paid is drawn through.

    Args:
        logs: By the reward that was paid, a key of REWARDS.
    """
    figure, row = plt.subplots(
        1, len(logs), figsize=(11, 4.4), sharey=True, layout="constrained"
    )
    for axes, (paid, log) in zip(row, logs.items(), strict=True):
        for name, colour in REWARDS.items():
            mean = _column(log, f"rewards/{name}_reward/mean").rolling(SMOOTHED, 1)
            style = {"linestyle": "-" if name == paid else "--", "color": colour}
            axes.plot(mean.mean(), label=f"{name} reward", **style)
        of_paid = _column(log, f"rewards/{paid}_reward/mean")
        first, last = of_paid.head(SMOOTHED).mean(), of_paid.tail(SMOOTHED).mean()
        axes.set_title(f"{paid} reward paid: {first:.2f} to {last:.2f}", fontsize=11)
        axes.set(xlabel="update", ylim=(0, 1.05))
    row[0].set_ylabel(f"mean of {SMOOTHED} updates, 0 to 1")
    row[0].legend(loc="upper left")
    figure.suptitle(title)
    return figure

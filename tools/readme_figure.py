"""The README's figure: one request before and after, and how often the form is met."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from statsmodels.stats.proportion import proportion_confint

from course_utils.places import PROJECT_ROOT, read_jsonl, write_whole
from course_utils.plots import BASE, TUNED, use_course_style
from course_utils.projects.movies.films import (
    follows_form,
    load_films,
    parse_answer,
    wrong_facts,
)

FIGURE = PROJECT_ROOT / "notebooks" / "figures" / "before_after.png"


def panel(axes: Axes, title: str, text: str, colour: str) -> None:
    """An answer in a box, broken into lines and cut after the eighth."""
    lines = [w for line in text.splitlines() for w in textwrap.wrap(line, 46) or [""]]
    cut = "\n".join(lines[:8] + ["…"] * (len(lines) > 8))
    axes.axis("off")
    axes.set_title(title, color=colour, fontsize=11)
    style = {"fontsize": 8.6, "family": "monospace", "transform": axes.transAxes}
    axes.text(0.02, 0.96, cut, va="top", parse_math=False, **style)


def rates(axes: Axes, rows: list[dict[str, str]]) -> None:
    """Shares of held-out requests that pass, with Wilson intervals."""
    films = load_films()
    answers = [parse_answer(row["after"]) for row in rows]
    passed = {
        "base:\nform": sum(follows_form(row["before"]) for row in rows),
        "tuned:\nform": sum(answer is not None for answer in answers),
        "tuned:\nfacts": sum(bool(a) and not wrong_facts(a, films) for a in answers),
    }
    counts = np.array(list(passed.values()))
    shares = counts / len(rows)
    low, high = proportion_confint(counts, len(rows), method="wilson")
    spread = np.clip([shares - low, high - shares], 0, None)
    axes.bar(list(passed), shares, 0.6, color=[BASE, TUNED, TUNED])
    axes.errorbar(range(3), shares, spread, fmt="none", ecolor="#222222", capsize=5)
    for place, count in enumerate(counts):
        told = f"{count} of {len(rows)}"
        axes.text(place, min(high[place], 1) + 0.04, told, ha="center", fontsize=9)
    axes.set(ylim=(0, 1.15), title="Held-out requests")
    axes.grid(axis="x", visible=False)


def draw_before_after(answers: Path) -> None:
    """Draw the figure from the answers that notebook 03 saved."""
    rows = read_jsonl(answers, "Publish notebook 03 again.")
    row = next((row for row in rows if follows_form(row["after"])), rows[0])
    use_course_style()
    widths = [1.3, 1.3, 0.95]
    figure, axes = plt.subplots(1, 3, figsize=(11, 2.9), width_ratios=widths, dpi=110)
    title = f"“{row['request']}”"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, parse_math=False)
    panel(axes[0], "before: SmolLM2-135M-Instruct", row["before"], "#4d4d4d")
    panel(axes[1], "after a few minutes on a CPU", row["after"], TUNED)
    rates(axes[2], rows)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    plt.close(figure)
    write_whole(FIGURE, picture.getvalue())

"""The README's figure: one request before and after, and how often the form is met."""

from __future__ import annotations

import json
import textwrap

import matplotlib
from project import ROOT

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from statsmodels.stats.proportion import proportion_confint

from course_utils.movies import follows_form
from course_utils.plots import BASE, TUNED, use_course_style

ANSWERS = ROOT / "runs" / "movie_recommender-cpu" / "answers.jsonl"
FIGURE = ROOT / "notebooks" / "figures" / "before_after.png"


def wrap(text: str, width: int = 46, lines: int = 8) -> str:
    """Text broken into lines; the rest is cut and marked."""
    wrapped = [
        w for line in text.splitlines() for w in textwrap.wrap(line, width) or [""]
    ]
    return "\n".join(wrapped[:lines]) + ("\n…" if len(wrapped) > lines else "")


def panel(axes, title: str, text: str, colour: str) -> None:
    """An answer in a box."""
    axes.axis("off")
    axes.set_title(title, color=colour, fontsize=11)
    axes.text(
        0.02,
        0.96,
        wrap(text),
        va="top",
        fontsize=8.6,
        family="monospace",
        parse_math=False,
        transform=axes.transAxes,
    )


def rates(axes, rows: list[dict]) -> None:
    """Share of held-out requests in the form, with Wilson intervals."""
    for position, (key, colour) in enumerate((("before", BASE), ("after", TUNED))):
        passed = sum(follows_form(row[key]) for row in rows)
        low, high = proportion_confint(passed, len(rows), method="wilson")
        share = passed / len(rows)
        spread = [[max(0, share - low)], [max(0, high - share)]]
        axes.bar(position, share, 0.6, color=colour)
        axes.errorbar(position, share, spread, ecolor="#222222", capsize=5)
        axes.text(position, -0.17, f"{passed} of {len(rows)}", ha="center", fontsize=9)
    axes.set_xticks([0, 1], ["base", "tuned"])
    axes.set(ylim=(0, 1.05), title="Held-out requests\nin the form")
    axes.grid(axis="x", visible=False)


def draw_before_after() -> None:
    """Draw the figure from the answers that notebook 03 saved."""
    rows = [json.loads(line) for line in ANSWERS.read_text().splitlines()]
    row = next((row for row in rows if follows_form(row["after"])), rows[0])
    use_course_style()
    figure, axes = plt.subplots(
        1, 3, figsize=(11, 3.3), width_ratios=[1.35, 1.35, 0.8], dpi=110
    )
    figure.suptitle(f"“{row['request']}”", x=0.01, ha="left", fontsize=11)
    panel(axes[0], "before: SmolLM2-135M-Instruct", row["before"], "#4d4d4d")
    panel(axes[1], "after a few minutes on a CPU", row["after"], TUNED)
    rates(axes[2], rows)
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE)


if __name__ == "__main__":
    draw_before_after()

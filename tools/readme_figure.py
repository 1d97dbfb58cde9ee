"""The README's figure: one request before and after, and how often the form is met."""

from __future__ import annotations

import json
import textwrap

import matplotlib
from project import ROOT

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from statsmodels.stats.proportion import proportion_confint

from course_utils.movies import (
    Film,
    follows_form,
    load_films,
    parse_answer,
    wrong_facts,
)
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


def has_right_facts(text: str, films: dict[str, Film]) -> bool:
    """Whether an answer is in the form and its facts stand in the table."""
    answer = parse_answer(text)
    return answer is not None and not wrong_facts(answer, films)


def rates(axes, rows: list[dict]) -> None:
    """Shares of held-out requests that pass, with Wilson intervals."""
    films = load_films()
    facts = [has_right_facts(row["after"], films) for row in rows]
    bars = {
        "base:\nform": ([follows_form(row["before"]) for row in rows], BASE),
        "tuned:\nform": ([follows_form(row["after"]) for row in rows], TUNED),
        "tuned:\nfacts": (facts, TUNED),
    }
    for position, (passed, colour) in enumerate(bars.values()):
        low, high = proportion_confint(sum(passed), len(passed), method="wilson")
        share = sum(passed) / len(passed)
        spread = [[max(0, share - low)], [max(0, high - share)]]
        axes.bar(position, share, 0.6, color=colour)
        axes.errorbar(position, share, spread, ecolor="#222222", capsize=5)
        told = f"{sum(passed)} of {len(passed)}"
        axes.text(position, min(high, 1) + 0.04, told, ha="center", fontsize=9)
    axes.set_xticks(range(len(bars)), list(bars))
    axes.set(ylim=(0, 1.15), title="Held-out requests")
    axes.grid(axis="x", visible=False)


def draw_before_after() -> None:
    """Draw the figure from the answers that notebook 03 saved; none, no new one."""
    if not ANSWERS.exists():
        return
    rows = [json.loads(line) for line in ANSWERS.read_text().splitlines()]
    row = next((row for row in rows if follows_form(row["after"])), rows[0])
    use_course_style()
    figure, axes = plt.subplots(
        1, 3, figsize=(11, 2.9), width_ratios=[1.3, 1.3, 0.95], dpi=110
    )
    figure.suptitle(f"“{row['request']}”", x=0.01, ha="left", fontsize=11)
    panel(axes[0], "before: SmolLM2-135M-Instruct", row["before"], "#4d4d4d")
    panel(axes[1], "after a few minutes on a CPU", row["after"], TUNED)
    rates(axes[2], rows)
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE)


if __name__ == "__main__":
    draw_before_after()

"""The README's figure: one request asked in three ways and answered by the tuned model,
and what a program says of the answers to all held-out requests."""

from __future__ import annotations

import io
import re
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from course_utils.data.datasets import load_movies
from course_utils.places import PROJECT_ROOT, read_jsonl, write_whole
from course_utils.plots import BASE, TOLD, TUNED, grouped_bars, use_course_style
from course_utils.projects.movies.films import follows_form
from course_utils.projects.project import PROJECTS
from course_utils.statistics.shares import Share

FIGURE = PROJECT_ROOT / "notebooks" / "figures" / "before_after.png"
WAYS = {  # by the keys of notebook 03's answers: the names of the course's plots
    "before": "base",
    "told": "told the form",
    "shown": "shown examples",
    "after": "tuned",
}
PANELS = {  # answers that are shown whole, with their heads
    "before": ("base, asked as it is", BASE),
    "shown": ("base, three examples in the prompt", TOLD),
    "after": ("tuned, asked as it is", TUNED),
}
_LINES, _LINE_HEIGHT = 8, 0.12  # lines of a panel at most; share of its height


def panel(axes: Axes, title: str, text: str, colour: str) -> None:
    """An answer in a box, broken into lines and cut after the eighth."""
    lines = [w for line in text.splitlines() for w in textwrap.wrap(line, 44) or [""]]
    axes.axis("off")
    axes.set_title(title, color=colour, fontsize=11, loc="left")
    style = {"fontsize": 8.6, "family": "monospace", "transform": axes.transAxes}
    for place, line in enumerate(lines[:_LINES] + ["…"] * (len(lines) > _LINES)):
        bold = re.fullmatch(r"\*\*(.+)\*\*", line)
        weight = "bold" if bold else "normal"
        height = 1 - place * _LINE_HEIGHT
        told = bold[1] if bold else line
        axes.text(0, height, told, va="top", weight=weight, parse_math=False, **style)


def shares(rows: list[dict[str, str]]) -> dict[str, list[Share]]:
    """By the way of asking: how many answers pass each check of the project."""
    checks = PROJECTS["movie_recommender"].answer_checks
    asked = {row.request: row for row in load_movies("validation")}
    return {
        name: [
            Share(
                sum(passes(asked[row["request"]], row[key]) for row in rows), len(rows)
            )
            for passes in checks.values()
        ]
        for key, name in WAYS.items()
    }


def bars(axes: Axes, counted: dict[str, list[Share]]) -> None:
    """Shares of the held-out requests that pass each check, with Wilson intervals."""
    labels = list(PROJECTS["movie_recommender"].answer_checks)
    form, right = ({n: it[at].right for n, it in counted.items()} for at in (0, -1))
    title = (
        f"In the form, of {counted['tuned'][0].n} held-out requests: {form['tuned']} "
        f"tuned, {form['shown examples']} shown examples, {form['told the form']} "
        "told\n"
        f"In the table with right facts: {right['tuned']} tuned, "
        f"{right['shown examples']} shown examples, {right['told the form']} told"
    )
    grouped_bars(
        labels,
        {name: [it.share for it in found] for name, found in counted.items()},
        intervals={n: [it.interval for it in found] for n, found in counted.items()},
        y_label="share of requests",
        axes=axes,
        title=title,
    )
    axes.set_ylim(0, 1.12)
    for index, found in enumerate(counted.values()):
        for place, share in enumerate(found):
            where = place + (index - (len(counted) - 1) / 2) * 0.8 / len(counted)
            top = share.interval[1] + 0.02
            axes.text(where, top, f"{share.right}", ha="center", fontsize=9)


def draw_before_after(answers: Path) -> None:
    """Draw the figure from the answers that notebook 03 saved."""
    rows = read_jsonl(answers, "Publish notebook 03 again.")
    row = next((row for row in rows if follows_form(row["after"])), rows[0])
    use_course_style()
    figure = plt.figure(figsize=(11, 6), dpi=110, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.5])
    title = f"“{row['request']}”"
    above.suptitle(title, x=0.01, ha="left", fontsize=12, parse_math=False)
    for axes, (key, (head, colour)) in zip(
        above.subplots(1, len(PANELS)), PANELS.items(), strict=True
    ):
        panel(axes, head, row[key], colour)
    bars(below.subplots(), shares(rows))
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    plt.close(figure)
    write_whole(FIGURE, picture.getvalue())

"""The parts of the README that are made from what the published runs left behind."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from project import (
    badges,
    course_settings,
    is_proof,
    key_of,
    name_of,
    recipe_of,
    sources,
)

from course_utils.evidence.coverage import coverage
from course_utils.evidence.ledger import PUBLISHED_RECIPE
from course_utils.places import PROJECT_ROOT, read_json, write_whole
from course_utils.projects.project import PROJECTS

README = PROJECT_ROOT / "README.md"
RESULTS = PROJECT_ROOT / "notebooks" / "results"  # of the published runs
NO_WAY = {"measure", "n", "note"}  # the other columns are ways of asking
RECIPES_SHOWN_BY = "05"  # the notebook whose figures every recipe has


def question(source: Path) -> str:
    """The question that a notebook's heading asks."""
    return re.search(r"^# # \d+ · (.+)$", source.read_text(encoding="utf-8"), re.M)[1]


def results_of(number: str) -> dict[str, Any]:
    """What the published run of a notebook left behind; empty before the first."""
    path = RESULTS / f"{number}.json"
    return read_json(path, "Restore it from git.") if path.exists() else {}


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as a table; the keys are its head."""
    lines = [list(rows[0]), *(map(str, row.values()) for row in rows)]
    head, *body = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def link(source: Path) -> str:
    """A notebook's number, linked to the committed notebook."""
    return f"[{key_of(source)}](notebooks/{name_of(source)}.ipynb)"


def table_of_notebooks() -> str:
    """A row for each lesson, question, minutes, badge; then the proofs in a line."""
    rows, proofs = [], []
    for source in sources():
        minutes = results_of(key_of(source)).get("processor_minutes")
        if is_proof(source):
            proofs.append(link(source))
            continue
        estimate = course_settings()["t4_minutes"][key_of(source)]
        rows.append(
            {
                "notebook": link(source),
                "question": question(source),
                "minutes to read": reading_minutes(source),
                "minutes, one core": "?" if minutes is None else f"{minutes:.0f}",
                "minutes, fresh T4": f"{estimate} (estimate)",
                "open": badges(source),
            }
        )
    table = markdown_table(rows)
    if proofs:
        table += f"\n\nClaims of the interview sources, settled: {', '.join(proofs)}."
    return table


def reading_minutes(source: Path) -> str:
    """What a lesson says of the time that it takes to read."""
    text = source.read_text(encoding="utf-8")
    stated = re.search(r"(\d+) minutes to read", text)
    return stated[1] if stated else "?"


def finding() -> str:
    """What the published runs found, in the words of the README's first screen.

    Its figures are those of lesson 03's table: the check in a row, the way of asking in
    a column.
    """
    rows = results_of("03").get("tables", {}).get(PUBLISHED_RECIPE, [])
    found = {row["held-out answers"]: row for row in rows}
    if not found:
        return "Not published yet."
    form = found["in the form"]
    wish, known = found["facts as stated fit the wish"], found["in the course's table"]
    text = (
        f"A few minutes of training on a CPU bring SmolLM2-135M from "
        f"{form['base']} held-out answers in a taught *form* to {form['tuned']}. Three "
        f"examples in the prompt bring it, without training, to "
        f"{form['shown examples']}. The *content* is another matter: what the tuned "
        f"model states fits the wish in {wish['tuned']}, after three examples in "
        f"{wish['shown examples']}; a film of the course's table is named in "
        f"{known['tuned']} and {known['shown examples']}. The course shows all of it, "
        "and how to tell. (In brackets: 95 % Wilson intervals.)"
    )
    return "\n\n".join([textwrap.fill(text, 88), *looked_up()])


def looked_up() -> list[str]:
    """What lesson 08 found against the criterion that was written before it."""
    rows = results_of("08").get("tables", {}).get(recipe_of("08"), [])
    found = {row["way"]: row for row in rows}
    if not found:
        return []
    tuned = found["tuned"]["served"]
    rivals = [
        f"{found[way]['served']} ({found[way]['against tuned']})"
        for way in ("shown examples", "patterns")
    ]
    text = (
        "So ask it for something else: a *query*, which a program looks up in a table "
        f"([lesson 08](notebooks/08_ask_the_table.ipynb)). Then {tuned} requests, on "
        "which nothing was trained or chosen, are served, after three examples "
        f"{rivals[0]}, by regular expressions {rivals[1]}. Success had been defined "
        f"beforehand as beating both; the outcome is {found['tuned']['against tuned']}."
    )
    return [textwrap.fill(text, 88)]


def tables_of_results() -> str:
    """The main figures of each notebook that has some, under its question.

    Those of the stress test stand in the table of all recipes.
    """
    parts = []
    for source in sources():
        rows = (
            results_of(key_of(source)).get("tables", {}).get(recipe_of(key_of(source)))
        )
        if rows and key_of(source) != RECIPES_SHOWN_BY:
            title = f"**{link(source)} · {question(source)}**"
            parts.append(f"{title}\n\n{markdown_table(rows)}")
    return "\n\n".join(parts)


def table_of_recipes() -> str:
    """Each recipe's own stress test, all ways of asking, in the order of its checks."""
    tables = results_of(RECIPES_SHOWN_BY).get("tables", {})
    rows = []
    for name, project in PROJECTS.items():
        parts = {check: part for part, check in vars(project.suite().roles).items()}
        for number, row in enumerate(tables.get(name, [])):
            check = row["measure"].partition(":")[0]
            rows.append(
                {
                    "recipe": "" if number else f"`{name}`",
                    "check": check,
                    "part": parts.get(check, "").replace("_", " "),
                    **{way: row[way] for way in row if way not in NO_WAY},
                    "paired": row["note"].partition("against: ")[2],
                }
            )
    return markdown_table(rows) if rows else ""


def filled(text: str) -> str:
    """The README's text with its made parts renewed."""
    made = {
        "notebooks": table_of_notebooks(),
        "recipes": table_of_recipes(),
        "results": tables_of_results(),
        "finding": finding(),
        "interview": textwrap.fill(f"{coverage()}.", 88),
    }
    for name, content in made.items():
        marks = rf"(<!-- {name}: .*?-->\n).*?(<!-- end of {name} -->)"
        new = r"\g<1>" + content.replace("\\", r"\\") + r"\n\2"
        text, count = re.subn(marks, new, text, flags=re.S)
        if count != 1:
            raise SystemExit(f"README.md lacks the marks of its part {name!r}.")
    return text


def refresh_readme() -> None:
    """Write the made parts between their marks."""
    write_whole(README, filled(README.read_text(encoding="utf-8")))

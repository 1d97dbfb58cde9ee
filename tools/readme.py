"""The parts of the README that are made from what the published runs left behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from project import ROOT, colab_badge, course_settings, notebook_of, sources

from course_utils.evidence import PUBLISHED_RECIPE
from course_utils.projects import PROJECTS

README = ROOT / "README.md"
RESULTS = ROOT / "notebooks" / "results"  # of the published runs, one file a notebook
RECIPES_SHOWN_BY = "05"  # the notebook whose figures every recipe has


def question(source: Path) -> str:
    """The question that a notebook's heading asks."""
    return re.search(r"^# # \d+ · (.+)$", source.read_text(), re.M).group(1)


def results_of(number: str) -> dict[str, Any]:
    """What the published run of a notebook left behind; empty before the first."""
    path = RESULTS / f"{number}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as a table; the keys are its head."""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(row[k]) for k in head) + " |" for row in rows]
    return "\n".join(lines)


def table_of_notebooks() -> str:
    """A row for each notebook: question, minutes, badge."""
    rows = []
    for source in sources():
        number = source.name[:2]
        minutes = results_of(number).get("minutes")
        rows.append(
            {
                "notebook": f"[{number}](notebooks/{notebook_of(source).name})",
                "question": question(source),
                "minutes, two cores": "?" if minutes is None else f"{minutes:.0f}",
                "minutes, T4": f"{course_settings()['t4_minutes'][number]} (estimate)",
                "open": colab_badge(source),
            }
        )
    return markdown_table(rows)


def tables_of_results() -> str:
    """The main figures of each notebook that has some, under its question.

    Those of the stress test stand in the table of all recipes.
    """
    parts = []
    for source in sources():
        rows = results_of(source.name[:2]).get("tables", {}).get(PUBLISHED_RECIPE)
        if rows and source.name[:2] != RECIPES_SHOWN_BY:
            link = f"[{source.name[:2]}](notebooks/{notebook_of(source).name})"
            title = f"**{link} · {question(source)}**"
            parts.append(f"{title}\n\n{markdown_table(rows)}")
    return "\n\n".join(parts)


def table_of_recipes() -> str:
    """Each recipe's own stress test, base and tuned, in the order of its checks."""
    tables = results_of(RECIPES_SHOWN_BY).get("tables", {})
    rows = []
    for name, project in PROJECTS.items():
        parts = {check: part for part, check in vars(project.suite().roles).items()}
        for number, row in enumerate(tables.get(name, [])):
            check = row["measure"].partition(":")[0]
            rows.append(
                {
                    "recipe": f"`{name}`" if number == 0 else "",
                    "check": check,
                    "part": parts.get(check, ""),
                    "base": row["base"],
                    "tuned": row["tuned"],
                    "paired": row["note"].partition("; ")[2],
                }
            )
    return markdown_table(rows) if rows else ""


def filled(text: str) -> str:
    """The README's text with its made parts renewed."""
    made = {
        "notebooks": table_of_notebooks(),
        "recipes": table_of_recipes(),
        "results": tables_of_results(),
    }
    for name, content in made.items():
        marks = rf"(<!-- {name}: .*?-->\n).*?(<!-- end of {name} -->)"
        text, count = re.subn(
            marks, lambda m, c=content: f"{m[1]}{c}\n{m[2]}", text, flags=re.S
        )
        if count != 1:
            raise SystemExit(f"README.md lacks the marks of its part {name!r}.")
    return text


def refresh_readme() -> None:
    """Write the made parts between their marks."""
    text = README.read_text(encoding="utf-8")
    README.write_text(filled(text), encoding="utf-8")

"""Refresh the committed notebooks: execute on the cpu profile, keep the outputs.

Also gathers the evidence that the notebooks recorded, from which every interview
answer takes its numbers, and renews the README's tables and figure.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
from execution import convert, execute, tidy
from project import ROOT, notebook_of, sources
from readme import RESULTS, refresh_readme, results_of
from readme_figure import draw_before_after

from course_utils.evidence import PUBLISHED_RECIPE
from course_utils.interview import show_cards

EVIDENCE = ROOT / "data" / "interview" / "evidence.json"
PROFILE = "cpu"


def gather_evidence(numbers: set[str]) -> None:
    """Replace the evidence of the notebooks just run; keep that of the others."""
    rows = json.loads(EVIDENCE.read_text()) if EVIDENCE.exists() else []
    rows = [row for row in rows if row["notebook"] not in numbers]
    for number in numbers:
        record = ROOT / "runs" / f"evidence-{PROFILE}" / f"{number}.json"
        rows += json.loads(record.read_text())
    rows.sort(key=lambda row: (row["claim"], row["key"]))
    EVIDENCE.write_text(json.dumps(rows, indent=1) + "\n")


def keep_results(number: str) -> None:
    """Copy what a run said of itself into the project, for the README.

    Tables of other recipes stay as they are; `make recipes` renews them.
    """
    RESULTS.mkdir(exist_ok=True)
    record = json.loads(
        (ROOT / "runs" / f"records-{PROFILE}" / f"{number}.json").read_text()
    )
    kept = {"minutes": round(record["minutes"], 1), "day": record["day"]}
    tables = results_of(number).get("tables", {})
    kept["tables"] = {**tables, **table_of(PUBLISHED_RECIPE, number)}
    write_results(number, kept)


def table_of(recipe: str, number: str) -> dict[str, list]:
    """A recipe's main figures by its name; empty when the notebook keeps none."""
    path = ROOT / "runs" / f"{recipe}-{PROFILE}" / f"results_{number}.json"
    return {recipe: json.loads(path.read_text())} if path.exists() else {}


def write_results(number: str, kept: dict) -> None:
    """Write `notebooks/results/<number>.json`."""
    text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
    (RESULTS / f"{number}.json").write_text(text, encoding="utf-8")


def code_of(notebook: nbformat.NotebookNode) -> list[str]:
    """Code cells, in order."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def renew_cards(notebook: nbformat.NotebookNode, number: str) -> None:
    """Render the interview cards again, from the bank and the published evidence."""
    for cell in notebook.cells:
        if "show_cards(" in cell.source and cell.cell_type == "code":
            cards = show_cards(number)
            data = {"text/html": cards._repr_html_(), "text/plain": repr(cards)}
            cell.outputs[-1]["data"] = data


def refresh_prose(source: Path) -> None:
    """Renew the text and the cards of a notebook and keep its other outputs.

    Raises:
        SystemExit: If a code cell was edited too: its output would be stale.
    """
    made = convert(source)
    committed = nbformat.read(notebook_of(source), as_version=4)
    if code_of(made) != code_of(committed):
        raise SystemExit(
            f"{source.name}: code cells were edited as well, so their outputs must be "
            f"made anew. Run `make publish N={source.name[:2]}`."
        )
    outputs = iter(c for c in committed.cells if c.cell_type == "code")
    for cell in made.cells:
        if cell.cell_type == "code":
            old = next(outputs)
            cell.outputs, cell.execution_count = old.outputs, old.execution_count
    renew_cards(made, source.name[:2])
    nbformat.write(made, notebook_of(source))


def publish(source: Path) -> bool:
    """Execute one notebook and keep it; False when a cell failed."""
    print(f"{source.stem} … ", end="", flush=True)
    environment = {"COURSE_PROFILE": PROFILE, "COURSE_RECIPE": PUBLISHED_RECIPE}
    outcome = execute(convert(source), environment)
    if outcome.error:
        print(f"failed: {outcome.error}\nThe committed notebook stays as it was.")
        return False
    tidy(outcome.notebook)
    nbformat.write(outcome.notebook, notebook_of(source))
    gather_evidence({source.name[:2]})
    keep_results(source.name[:2])
    print(f"ok, {outcome.seconds / 60:.1f} min", flush=True)
    return True


def main(arguments: list[str]) -> int:
    """Publish all notebooks, or those whose numbers are given; `--prose`: text only."""
    chosen = sources([word for word in arguments if word != "--prose"])
    if "--prose" in arguments:
        for source in chosen:
            refresh_prose(source)
    elif not all(map(publish, chosen)):
        return 1
    draw_before_after()
    refresh_readme()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

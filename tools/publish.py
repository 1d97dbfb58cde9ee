"""Refresh what is committed: notebooks with outputs, evidence, README, figure."""

from __future__ import annotations

import ast
import asyncio
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from execution import convert, executed, settings, write_notebook
from nbformat import NotebookNode
from project import (
    is_first_cell,
    key_of,
    name_of,
    notebook_of,
    recipe_of,
    settle_address,
    sources,
)
from readme import RECIPES_SHOWN_BY, RESULTS, refresh_readme, results_of
from readme_figure import draw_before_after
from schedule import jobs, side_by_side

from course_utils import CourseError
from course_utils.evidence.cards import show_cards
from course_utils.evidence.claims import load_claims
from course_utils.evidence.formulas import evidence_rows
from course_utils.evidence.ledger import PUBLISHED_PROFILE, PUBLISHED_RECIPE
from course_utils.machine.profile import Profile
from course_utils.places import (
    DATA_FOLDER,
    read_json,
    runs_folder,
    write_json,
    write_whole,
)
from course_utils.recipes.book import RECIPES

CARDS_SHOWN = re.compile(r'show_cards\("([^"]+)"\)')  # its lesson, as `01`
EVIDENCE = DATA_FOLDER / "interview" / "evidence.json"  # the numbers of all answers
AGAIN = "Publish the notebook again."
# Single answers behind a notebook's figures, from which a test counts these again.
TRIALS = {
    "03": ("answers.jsonl",),
    "05": ("stress.jsonl",),
    "06": ("arc_base.jsonl", "arc_tuned.jsonl"),
    "08": ("search.jsonl",),
}


class NotPublished(CourseError, RuntimeError):
    """What would be published is not what these sources just made."""


def made(part: str, name: str, started: float) -> Path:
    """A file in `runs/<part>-<profile>/`; NotPublished if it is older than the run."""
    path = runs_folder() / f"{part}-{PUBLISHED_PROFILE}" / name
    if path.exists() and path.stat().st_mtime < started:
        raise NotPublished(
            f"{path} is older than this run: the notebook ended well and did not write "
            "it, so nothing of it is published. Does it still record its evidence and "
            "its run? A file that no notebook writes any more can be removed."
        )
    return path


async def run_as_published(source: Path, recipe: str) -> NotebookNode | None:
    """The executed notebook; None when a cell failed.

    Each on one thread, so that no number depends on how many run at a time.
    """
    print(f"{recipe} {name_of(source)} …", flush=True)
    notebook = convert(source)
    variables = {**settings(PUBLISHED_PROFILE, recipe), "OMP_NUM_THREADS": "1"}
    outcome = await executed(notebook, variables)
    print(f"{recipe} {name_of(source)}: {outcome}", flush=True)
    return None if outcome.error else notebook


async def publish_one(source: Path) -> bool:
    """Execute a notebook; keep all that it made, or nothing: then False."""
    started = time.time()
    notebook = await run_as_published(source, PUBLISHED_RECIPE)
    if notebook is None:
        return False
    keep_run(source, notebook, started)
    return True


def keep_run(source: Path, notebook: NotebookNode, started: float) -> None:
    """Commit all that a run of a notebook made: pages, evidence, results, answers."""
    number, evidence = key_of(source), []
    if any(claim.notebook == number for claim in load_claims().values()):
        evidence = read_json(made("evidence", f"{number}.json", started), AGAIN)
    record = read_json(made("records", f"{number}.json", started), AGAIN)
    recipe = recipe_of(number)
    table = made(recipe, f"results_{number}.json", started)
    tables = {recipe: read_json(table, AGAIN)} if table.exists() else {}
    trials = trials_of(number, recipe, started)
    if number == "03":  # its answers are the README's figure
        draw_before_after(made(PUBLISHED_RECIPE, "answers.jsonl", started))
    write_notebook(notebook_of(source), notebook)
    replace_evidence(number, evidence)
    # The time of one core, which other work on the machine hardly changes.
    minutes = round(record["processor_minutes"], 1)
    keep_results(number, tables, processor_minutes=minutes, day=record["day"])
    keep_trials(number, recipe, trials)


def adopt(numbers: list[str]) -> int:
    """Publish what the last `make course` made on the cpu profile, without a new run.

    NotPublished where a notebook was not run, or its code was edited since.
    """
    for source in sources(numbers):
        folder = runs_folder() / f"notebooks-{PUBLISHED_PROFILE}"
        ran = folder / f"{name_of(source)}.ipynb"
        kept = runs_folder() / f"records-{PUBLISHED_PROFILE}" / f"{key_of(source)}.json"
        if not (ran.exists() and kept.exists()):
            raise NotPublished(f"{ran} or its record is missing. Run `make course`.")
        notebook = nbformat.read(ran, as_version=4)
        refuse_edited(source, convert(source), notebook)
        began = kept.stat().st_mtime - 60 * read_json(kept, AGAIN)["minutes"]
        keep_run(source, notebook, began - 1)
    renew_all()
    return 0


def trials_of(number: str, recipe: str, started: float) -> dict[str, str]:
    """Texts of the files of single answers that a run made, by their names."""
    names = TRIALS.get(number, ())
    return {name: made(recipe, name, started).read_text("utf-8") for name in names}


def keep_trials(number: str, recipe: str, trials: dict[str, str]) -> None:
    """Keep single answers beside the results."""
    for name, text in trials.items():
        write_whole(RESULTS / "trials" / recipe / f"{number}_{name}", text)


def replace_evidence(number: str, rows: list[dict[str, Any]]) -> None:
    """Put a notebook's evidence in the place of its old; keep that of the others."""
    kept = read_json(EVIDENCE, "Restore it from git.") if EVIDENCE.exists() else []
    rows = [row for row in kept if row["notebook"] != number] + rows
    write_json(EVIDENCE, sorted(rows, key=lambda row: (row["claim"], row["key"])))


def renew_formulas() -> None:
    """Compute anew what follows from what is committed."""
    replace_evidence("formulas", evidence_rows())


def keep_results(number: str, tables: dict[str, list], **facts: Any) -> None:
    """Renew a notebook's results, from which the README is made, and keep the rest."""
    kept = results_of(number)
    tables = {**kept.get("tables", {}), **tables}
    write_json(RESULTS / f"{number}.json", {**kept, **facts, "tables": tables})


def publish(numbers: list[str]) -> int:
    """Execute notebooks on the cpu profile and refresh what is committed of them."""
    number = jobs(Profile.detect())
    try:
        kept = asyncio.run(side_by_side(sources(numbers), publish_one, number))
        return int(not all(kept))
    finally:
        renew_all()


def renew_all() -> None:
    """Renew every page: an answer may rest on another notebook's number."""
    renew_formulas()
    for source in sources():
        # One that is not published yet is held by a gate.
        with suppress(NotPublished, FileNotFoundError, KeyError):
            renew_text(source)
    refresh_readme()


def recipes(names: list[str]) -> int:
    """Measure the other recipes' stress tests for the README's table.

    Each trains its adapter on the cpu profile when there is none (4 to 8 minutes on
    two cores), then notebook 05 runs with it. The notebooks stay as they are.
    """
    [source] = sources([RECIPES_SHOWN_BY])
    others = names or [name for name in RECIPES if name != PUBLISHED_RECIPE]

    async def measured(recipe: str) -> bool:
        started = time.time()
        if await run_as_published(source, recipe) is None:
            return False
        table = made(recipe, f"results_{RECIPES_SHOWN_BY}.json", started)
        trials = trials_of(RECIPES_SHOWN_BY, recipe, started)
        keep_results(RECIPES_SHOWN_BY, {recipe: read_json(table, AGAIN)})
        keep_trials(RECIPES_SHOWN_BY, recipe, trials)
        return True

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*map(measured, others))

    kept = asyncio.run(all_of_them())
    refresh_readme()
    return int(not all(kept))


def prose(numbers: list[str]) -> int:
    """Renew text and interview cards after an edit; keep all other outputs."""
    renew_formulas()
    for source in sources(numbers):
        renew_text(source)
    refresh_readme()
    return 0


def address(words: list[str]) -> int:
    """Set the project's address: badges, first cells and README, nothing executed."""
    if not 1 <= len(words) <= 2:
        raise CourseError(
            f"{len(words)} words found, expected an address and perhaps a revision: "
            "make address URL=https://github.com/you/name REVISION=main"
        )
    settle_address(*words)
    return prose([])


def renew_text(source: Path) -> None:
    """Renew the text, the generated first cell and the cards of a notebook.

    NotPublished if the code of a cell was edited too: its output would be stale.
    """
    made, committed = convert(source), nbformat.read(notebook_of(source), as_version=4)
    refuse_edited(source, made, committed)
    for cell, before in zip(code_cells(made), code_cells(committed), strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
        if shown := CARDS_SHOWN.search(cell.source):
            cards = show_cards(shown[1], own={})
            data = {"text/html": cards._repr_html_(), "text/plain": repr(cards)}
            cell.outputs[-1]["data"] = data
    write_notebook(notebook_of(source), made)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Without those of text."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def refuse_edited(source: Path, now: NotebookNode, ran: NotebookNode) -> None:
    """Raise NotPublished where the code of a source is not what was run."""
    if _held(code_cells(ran)) != _held(code_cells(now)):
        raise NotPublished(
            f"{source.name}: code cells were edited as well, so their outputs must be "
            f"made anew. Run `make publish N={key_of(source)}`."
        )


def _held(code: list[NotebookNode]) -> list[str]:
    """What no output may outlive; the first cell is idle where outputs are made.

    Of Python that parses it is the tree: line breaks and comments change no output.
    """
    return [_tree(cell.source) for cell in code if not is_first_cell(cell)]


def _tree(source: str) -> str:
    try:
        return ast.dump(ast.parse(source))
    except SyntaxError:  # a line of IPython
        return source

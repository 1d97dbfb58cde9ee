"""Reads notebook sources and published notebooks for the gates."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import execution
import jupytext
import nbformat
import project

ROOT = Path(__file__).resolve().parent.parent
SOURCES = project.sources()
NAMES = [project.name_of(path) for path in SOURCES]
LESSONS = [path for path in SOURCES if not project.is_proof(path)]
PROOFS = [path for path in SOURCES if project.is_proof(path)]
# A lesson that ends in a cell for the reader's own project has the form of the second
# edition; the others wait for it.
NEW_LESSONS = [
    path for path in LESSONS if "## The same on your project" in path.read_text()
]


@dataclass(frozen=True)
class Exercise:
    """An exercise: stub, check, and the solution folded in the text after it."""

    stub: str
    check: str
    solution: str


@cache
def source_notebook(path: Path) -> nbformat.NotebookNode:
    """A source as a notebook without outputs, as written."""
    return jupytext.read(path)


def code_cells(path: Path) -> list[str]:
    """Code of a source, cell by cell, without the generated first cell."""
    return [
        cell.source
        for cell in source_notebook(path).cells
        if cell.cell_type == "code" and "first-cell" not in tags(cell)
    ]


def prose(path: Path) -> str:
    """All text cells of a source."""
    cells = source_notebook(path).cells
    return "\n\n".join(c.source for c in cells if c.cell_type == "markdown")


def tags(cell: nbformat.NotebookNode) -> list[str]:
    """Tags of a cell."""
    return cell.metadata.get("tags", [])


def code_lines(code: str) -> list[str]:
    """Lines of a cell that are not blank."""
    return [line for line in code.splitlines() if line.strip()]


def published(path: Path) -> nbformat.NotebookNode:
    """The committed notebook of a source."""
    return nbformat.read(project.notebook_of(path), as_version=4)


def generated(path: Path) -> nbformat.NotebookNode:
    """What publishing would write, before execution."""
    return execution.convert(path)


def recorded_keys(path: Path) -> set[tuple[str, str]]:
    """(claim, key) of each literal call of `ledger.record` in a source."""
    found = set()
    for code in code_cells(path):
        for node in ast.walk(ast.parse(without_magics(code))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "record"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found |= {(node.args[0].value, k.arg) for k in node.keywords}
    return found


def without_magics(code: str) -> str:
    """Code that Python's parser takes: magics become comments."""
    return re.sub(r"(?m)^(\s*)[!%]", r"\1# ", code)


def is_compared(cell: nbformat.NotebookNode) -> bool:
    """Whether nbval compares what a cell shows."""
    return "nbval-check-output" in tags(cell) or "# NBVAL_CHECK_OUTPUT" in cell.source


def exercises(path: Path) -> list[Exercise]:
    """The exercises of a source, in order."""
    cells = source_notebook(path).cells
    stubs = [i for i, cell in enumerate(cells) if "exercise" in tags(cell)]
    found = []
    for index in stubs:
        later = cells[index + 1 :]
        check = next(cell.source for cell in later if "check" in tags(cell))
        folded = next(c.source for c in later if "<summary>Solution" in c.source)
        solution = re.search(r"Solution</summary>\s*```python\n(.*?)```", folded, re.S)
        assert solution, f"{path.name}: no solution is folded below its check"
        found.append(Exercise(cells[index].source, check, solution.group(1)))
    return found

"""Execute one notebook source: convert, run cell by cell, keep what it showed."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from project import ROOT, colab_badge, first_cell

CELL_TIMEOUT_SECONDS = 3600
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Outcome:
    """How the execution of a notebook ended."""

    notebook: nbformat.NotebookNode
    seconds: float
    error: str | None = None


def convert(source: Path) -> nbformat.NotebookNode:
    """A py:percent source as a notebook without outputs.

    The badge and the first cell are generated, so that the repository's address
    stands in one place only.
    """
    notebook = jupytext.read(source)
    for cell in notebook.cells:
        cell.source = cell.source.replace("<!-- colab badge -->", colab_badge(source))
        if "first-cell" in cell.metadata.get("tags", []):
            cell.source = first_cell()
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{source.stem[:2]}-{number:03d}"  # stable, so that diffs stay small
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
            "accelerator": "GPU",
            "colab": {"gpuType": "T4"},
        }
    )
    return notebook


def execute(notebook: nbformat.NotebookNode, environment: dict[str, str]) -> Outcome:
    """Run all cells in a fresh kernel; stop at the first error and keep the rest."""
    os.environ.update(environment)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(ROOT / "notebooks")}},
        store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # it warns about localhost
    )
    start = time.perf_counter()
    try:
        client.execute()
    except CellExecutionError as error:
        reason = strip_colours(str(error)).strip().splitlines()[-1]
        return Outcome(notebook, time.perf_counter() - start, reason)
    except (DeadKernelError, AssertionError):  # nbclient's own clean-up may assert
        reason = "the kernel died, most often because memory ran out"
        return Outcome(notebook, time.perf_counter() - start, reason)
    return Outcome(notebook, time.perf_counter() - start)


def strip_colours(text: str) -> str:
    """Text without the terminal's colour codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Drop what a reader of the committed notebook could not use.

    Widget views have no state outside of the run and make GitHub refuse the
    file; progress bars on stderr are noise once they are full.
    """
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        cell.outputs = [without_paths(output) for output in cell.outputs]
        kept = []
        for output in cell.outputs:
            if WIDGET_VIEW in output.get("data", {}):
                continue
            if output.get("name") == "stderr" and is_progress(output.text):
                continue
            kept.append(output)
        cell.outputs = kept
    notebook.metadata.pop("widgets", None)


def without_paths(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """An output in which this machine's folders are `.` and `~`."""
    text = json.dumps(output).replace(str(ROOT), ".").replace(str(Path.home()), "~")
    return nbformat.from_dict(json.loads(text))


def is_progress(text: str) -> bool:
    """Whether a stderr text consists of progress bars alone."""
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    return all("%|" in line or "it/s" in line for line in lines)

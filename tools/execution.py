"""Execute one notebook source: convert, run cell by cell, keep what it showed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from project import badges, first_cell, is_first_cell

from course_utils.places import PROJECT_ROOT, cache_folder, runs_folder, write_whole

CELL_TIMEOUT_SECONDS = 3600
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
    "accelerator": "GPU",
    "colab": {"gpuType": "T4"},
}


@dataclass(frozen=True)
class Outcome:
    """How the execution of a notebook ended."""

    seconds: float
    error: str | None = None

    def __str__(self) -> str:
        end = f"failed: {self.error}" if self.error else "ok"
        return f"{end}, {self.seconds / 60:.1f} min"


def convert(source: Path) -> NotebookNode:
    """A py:percent source as a notebook without outputs.

    The badges and the first cell are generated, so that the repository's address
    stands in one place only.
    """
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell.source = cell.source.replace("<!-- colab badge -->", badges(source))
        if is_first_cell(cell):
            cell.source = first_cell()
        if "hide-input" in cell.metadata.get("tags", []):  # folded, there and in Colab
            cell.metadata |= {"jupyter": {"source_hidden": True}, "cellView": "form"}
        cell.id = f"{source.stem[:2]}-{number:03d}"  # stable, so that diffs stay small
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


class _Client(NotebookClient):
    """nbclient that leaves signals to asyncio.run and remembers its kernel's end.

    Its own handlers of SIGINT and SIGTERM end the kernel and let the execution run
    into that; without them asyncio cancels the execution.
    """

    kernel_status: int | None = None

    @asynccontextmanager
    async def async_setup_kernel(self, **options: Any) -> AsyncIterator[None]:
        """Start a kernel, and end it in any case: at once when we are cancelled."""
        manager = self.create_kernel_manager()
        try:
            await self.async_start_new_kernel(**options)
            await self.async_start_new_kernel_client()
            yield
        finally:
            if manager.has_kernel:
                self.kernel_status = await manager.provisioner.poll()
            if _cancelled():
                self.shutdown_kernel = "immediate"
            if self.km is not None:  # else it was ended when its client failed
                await self._async_cleanup_kernel()


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def settings(profile: str, recipe: str, model: str = "") -> dict[str, str]:
    """All that a notebook's numbers depend on, so that nothing else leaks in."""
    chosen = {"COURSE_PROFILE": profile, "COURSE_RECIPE": recipe, "COURSE_MODEL": model}
    return {**chosen, "ARC_EASY_JSONL": "", "COURSE_TRACKER": ""}


def inherited() -> dict[str, str]:
    """This process's environment; paths absolute, since kernels run in notebooks/."""
    kept = {"COURSE_RUNS": str(runs_folder()), "COURSE_CACHE": str(cache_folder())}
    for name in ("COURSE_MODEL", "COURSE_RECIPE", "ARC_EASY_JSONL"):
        path = Path(os.environ.get(name) or "/absent").expanduser()
        if path.exists():  # else it is the name of a model on the hub
            kept[name] = str(path.resolve())
    return {**os.environ, **kept}


async def executed(
    notebook: NotebookNode,
    variables: Mapping[str, str],
    folder: Path = PROJECT_ROOT / "notebooks",
) -> Outcome:
    """Run all cells in a fresh kernel, in a folder; stop at the first error.

    The notebook is filled in place, so that its outputs survive any end. `variables` go
    into the kernel's environment, over those of this process.
    """
    entered: list[NotebookNode] = []
    client = _Client(
        notebook,
        timeout=CELL_TIMEOUT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # it warns about localhost
        on_cell_execute=lambda cell, cell_index: entered.append(cell),
    )
    start, reason = time.perf_counter(), None
    try:
        await client.async_execute(env={**inherited(), **variables})
    except Exception as error:
        if _cancelled():  # nbclient takes a cancelled wait for a dead kernel
            raise asyncio.CancelledError from None
        line = entered[-1].source.partition("\n")[0] if entered else "kernel start"
        reason = f"[{len(entered)}] {line[:50]}: {_reason(error, client.kernel_status)}"
    return Outcome(time.perf_counter() - start, reason)


def _reason(error: Exception, kernel_status: int | None) -> str:
    """Why an execution ended, in one line."""
    if isinstance(error, CellTimeoutError):
        return f"not at its end after {CELL_TIMEOUT_SECONDS:,} seconds"
    if isinstance(error, DeadKernelError) and (kernel_status or 0) < 0:
        name = signal.Signals(-kernel_status).name
        cause = ", most often because memory ran out" if name == "SIGKILL" else ""
        return f"the kernel was ended by {name}{cause}"
    if isinstance(error, DeadKernelError):
        return f"the kernel ended by itself, with status {kernel_status}"
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {error.evalue}".splitlines()[0]
    return f"{type(error).__name__}: {error}".splitlines()[0]


def write_notebook(path: Path, notebook: NotebookNode) -> None:
    """Write a notebook whole, without what a reader could not use.

    Widget views have no state outside of the run and make GitHub refuse the
    file; of one that says in words what to do instead, the words stay. Progress bars on
    stderr are noise once they are full.
    """
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            told = map(_without_view, cell.outputs)
            cell.outputs = [without_paths(o) for o in told if not _is_noise(o)]
    write_whole(path, nbformat.writes(notebook) + "\n")


def _without_view(output: NotebookNode) -> NotebookNode:
    """An output that keeps only the words of a view; a bare repr says nothing."""
    data = output.get("data", {})
    if not re.match(r"\w+\(", data.get("text/plain", "")):
        data.pop(WIDGET_VIEW, None)
    return output


def _is_noise(output: NotebookNode) -> bool:
    lines = [s for s in re.split(r"[\r\n]+", output.get("text", "")) if s.strip()]
    bars = all("%|" in line or "it/s" in line for line in lines)
    noise = output.get("name") == "stderr" and bars
    return noise or WIDGET_VIEW in output.get("data", {})


def without_paths(output: NotebookNode) -> NotebookNode:
    """An output in whose texts this machine's folders are `.` and `~`.

    Keys and pictures stay as they are: base64 can hold any path by chance.
    """
    for holder in (output, output.get("data", {})):
        for key, value in holder.items():
            if key in ("text", "evalue") or key.startswith("text/"):
                holder[key] = _shortened(value)
            elif key == "traceback":
                holder[key] = [_shortened(line) for line in value]
    return output


def _shortened(text: str) -> str:
    """A text with whole paths replaced; `/` alone is the beginning of all of them."""
    home, runs = Path.home(), runs_folder()  # which COURSE_RUNS may put anywhere
    places = {runs: "./runs", PROJECT_ROOT: ".", home: "~", home.resolve(): "~"}
    for folder, mark in places.items():
        if len(folder.parts) > 1:
            whole = rf"(?<![\w.-]){re.escape(str(folder))}(?![\w-]|\.\w)"
            text = re.sub(whole, mark, text)
    return text

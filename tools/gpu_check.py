"""Run the lessons' GPU path on any CUDA card, with nothing from a hub.

    make gpu-check                 all of it, ten minutes at most
    python tools/gpu_check.py --only lessons --as-t4

The card is held to a T4's memory and precision (COURSE_AS_T4). The lessons run as a
learner's would, profile `t4`, on the bundled model; those that a token in front of each
text could break, on a nano model with one as well. Then a model of 8 billion random
weights in NF4 is trained, with Unsloth and with TRL and PEFT alone, and its memory is
held against the planner's. One JSON is written after each step, so that a run that is
cut off keeps what it found.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from execution import _Client, convert, inherited, write_notebook
from project import key_of, name_of, sources

from course_utils.machine.profile import AS_T4, T4_GIB, find_gpu
from course_utils.places import (
    DATA_FOLDER,
    PROJECT_ROOT,
    make_folder,
    read_json,
    runs_folder,
    write_json,
)

LESSONS = ("00", "01", "02", "03", "04", "05", "06", "07")
WITH_BOS = ("03", "06", "07")
NEED_03 = ("04", "05", "06", "07")
NANO_BOS = "nano-bos"
SHAPE = "llama-3.1-8b"
QUESTIONS = DATA_FOLDER / "science" / "questions.jsonl"


@dataclass(frozen=True)
class Fault:
    """A cell that ended in an error."""

    cell: int | None  # None where the run itself ended: time was up, the kernel died
    begins: str
    error: str
    where: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LessonRun:
    """How far a notebook came on the GPU. Cells behind a fault were run as well."""

    notebook: str
    model: str
    cells: int
    reached: int  # cells before the first fault
    seconds: float
    peak_reserved_gib: float | None  # by its run record; None where it wrote none
    faults: list[Fault]


def faults_of(notebook: Any) -> list[Fault]:
    """Each cell with an error, in order."""
    found = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                trace = [line for part in output.traceback for line in part.split("\n")]
                begins = cell.source.partition("\n")[0]
                told = f"{output.ename}: {output.evalue}"[:600]
                found.append(Fault(number, begins[:70], told, trace[-14:]))
    return found


def reached(notebook: Any, faults: list[Fault]) -> int:
    """Cells before the first fault; where the time was up, up to the last that ran."""
    if not faults:
        return len(notebook.cells)
    if faults[0].cell is not None:
        return faults[0].cell
    ran = [n for n, c in enumerate(notebook.cells) if c.get("execution_count")]
    return ran[-1] + 1 if ran else 0


async def run_lesson(
    source: Path, model: str, folder: Path, seconds: float, profile: str = "t4"
) -> LessonRun:
    """Execute a notebook past its faults, as far as time allows."""
    notebook, begin = convert(source), time.monotonic()
    settings = {"COURSE_PROFILE": profile, "COURSE_RECIPE": "", "COURSE_MODEL": model}
    settings |= {"ARC_EASY_JSONL": str(QUESTIONS), "COURSE_RUNS": str(folder)}
    client = _Client(
        notebook,
        timeout=None,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(PROJECT_ROOT / "notebooks")}},
        store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    stopped = []
    try:
        running = client.async_execute(env={**inherited(), **settings})
        await asyncio.wait_for(running, seconds)
    except Exception as error:  # the time was up, or the kernel died
        told = f"{type(error).__name__}: {error}"[:600]
        if time.monotonic() - begin >= seconds:  # nbclient says it in other words
            told = f"stopped after {seconds:.0f} seconds"
        stopped = [Fault(None, "", told)]
    write_notebook(folder / "pages" / f"{name_of(source)}.ipynb", notebook)
    faults = [*faults_of(notebook), *stopped]
    record = folder / f"records-{profile}" / f"{key_of(source)}.json"
    peak = read_json(record, "")["peak_memory_gib"] if record.exists() else None
    return LessonRun(
        notebook=key_of(source),
        model=Path(model).name,
        cells=len(notebook.cells),
        reached=reached(notebook, faults),
        seconds=time.monotonic() - begin,
        peak_reserved_gib=peak,
        faults=faults,
    )


class Check:
    """What is found, and where it is kept."""

    def __init__(self, result: Path, minutes: float):
        self.result, self.end = result, time.monotonic() + 60 * minutes
        gpu = find_gpu()
        self.found: dict[str, Any] = {
            "date": date.today().isoformat(),
            "gpu": gpu and asdict(gpu),
            "as_t4": os.environ.get(AS_T4) == "1",
            "versions": versions(),
            "lessons": [],
            "training": [],
        }

    @property
    def left(self) -> float:
        """Seconds until the time is up."""
        return self.end - time.monotonic()

    def keep(self, part: str, found: dict[str, Any]) -> None:
        """Add a finding and write all of them."""
        self.found[part].append(found)
        write_json(self.result, self.found)

    async def lessons(self, model: str, numbers: tuple[str, ...], at_once: int):
        """Run lessons on a model, the third before those that take its adapter."""
        folder = make_folder(runs_folder() / f"gpu-check-{Path(model).name}")
        by_key = {key_of(source): source for source in sources(list(numbers))}
        trained, free = asyncio.Event(), asyncio.Semaphore(at_once)
        if "03" not in by_key:
            trained.set()

        async def run(number: str) -> None:
            if number in NEED_03:
                await trained.wait()
            async with free:
                ran = await run_lesson(by_key[number], model, folder, max(5, self.left))
            if number == "03":
                trained.set()
            self.keep("lessons", asdict(ran))
            told = ran.faults[0].error if ran.faults else "ok"
            reached = f"{ran.reached} of {ran.cells} cells"
            print(f"{number} on {ran.model}: {reached}, {told}", flush=True)

        order = sorted(numbers, key=lambda number: number != "03")
        await asyncio.gather(*map(run, order))

    async def training(self, library: str, model: Path, *options: str) -> None:
        """Measure a few updates in a process of their own."""
        name = f"gpu-training-{library}-{model.name}.json"
        result = make_folder(runs_folder()) / name
        result.unlink(missing_ok=True)
        script = str(PROJECT_ROOT / "tools" / "gpu_training.py")
        command = [sys.executable, script, library, str(model), str(result), *options]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            told, _ = await asyncio.wait_for(process.communicate(), max(5, self.left))
        except TimeoutError:
            process.kill()
            told = b"stopped: the time was up"
        found = read_json(result, "") if result.exists() else {"library": library}
        if process.returncode:
            found["error"] = told.decode(errors="replace")[-3000:]
        self.keep("training", found)
        print(library, json.dumps(found)[:1500], flush=True)


def versions() -> dict[str, str]:
    """Of Python, and of the libraries that training takes."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for name in ("torch", "transformers", "unsloth", "trl", "peft", "bitsandbytes"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


async def check_all(check: Check, only: str, at_once: int, numbers: list[str]) -> None:
    """The parts that are asked for, in order."""
    from course_utils.model.bundled import bundled_model_path

    bundled = bundled_model_path()
    if only in ("", "lessons"):
        await asyncio.gather(
            check.lessons(str(bundled), tuple(numbers or LESSONS), at_once),
            check.lessons(NANO_BOS, WITH_BOS if not numbers else ("07",), 1),
        )
    if only in ("", "training"):
        from gpu_training import write_random_nf4

        from course_utils.model.architectures import load_architectures

        shapes = load_architectures()[SHAPE]
        folder = runs_folder() / f"random-{SHAPE}"
        if not (folder / "config.json").exists():
            write_random_nf4(shapes, bundled, folder)
        await check.training("unsloth", folder)
        await check.training("plain", folder)
        await check.training("unsloth", bundled, "--sixteen-bit", "--rows", "recipe")
        await check.training("plain", bundled, "--sixteen-bit", "--rows", "recipe")


def main() -> int:
    """Check this machine; status 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--result", type=Path, default=runs_folder() / "gpu_check.json")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--only", choices=["", "lessons", "training"], default="")
    parser.add_argument("--lessons", nargs="*", default=[])
    parser.add_argument("--at-once", type=int, default=0, help="lessons side by side")
    asked = parser.parse_args()
    os.environ.setdefault(AS_T4, "1")
    if find_gpu() is None:
        print("stopped: torch sees no CUDA card, and this check is of one.")
        return 1
    import torch

    room = torch.cuda.get_device_properties(0).total_memory / 2**30 // T4_GIB
    at_once = asked.at_once or max(1, min(int(room), (os.cpu_count() or 1) // 3))
    check = Check(asked.result, asked.minutes)
    asyncio.run(check_all(check, asked.only, at_once, asked.lessons))
    return int(has_fault(check.found))


def has_fault(found: dict[str, Any]) -> bool:
    """Whether a lesson ended in an error, or training did, or a loss was no number."""
    runs = [run for entry in found["training"] for run in entry.get("runs", [])]
    return (
        any(entry["faults"] for entry in found["lessons"])
        or any("error" in entry for entry in found["training"])
        or not all(run.get("finite_losses", True) for run in runs)
    )


if __name__ == "__main__":
    raise SystemExit(main())

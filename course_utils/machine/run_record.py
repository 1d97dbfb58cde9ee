"""What a notebook leaves in the run folder: its main figures, and the run record."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import torch

from course_utils.machine.doctor import describe
from course_utils.machine.profile import Profile
from course_utils.places import runs_folder, write_json


def save_results(folder: Path, notebook: str, rows: list[dict[str, Any]]) -> Path:
    """Keep a notebook's main figures as `results_<notebook>.json` in a run folder.

    `make publish` copies them for the README's results section. A cell of the table is
    a text or a number; ValueError without rows, or if rows differ in their keys.
    """
    if len(keys := {tuple(row) for row in rows}) != 1:
        raise ValueError(
            f"{len(rows)} rows with keys {sorted(keys)}: a table needs at least one "
            "row, and the same keys in the same order in each."
        )
    return write_json(folder / f"results_{notebook}.json", rows)


@dataclass(frozen=True)
class RunRecord:
    """What was run where, when, and what came out first."""

    notebook: str
    headline: str
    day: str
    minutes: float
    processor_minutes: float  # of one core, the programs that it started included
    peak_memory_gib: float
    seed: int | None
    machine: tuple[str, ...]

    def __repr__(self) -> str:
        lines = [
            f"headline   {self.headline}",
            f"date       {self.day}",
            f"minutes    {self.minutes:.1f}, of a core {self.processor_minutes:.1f}",
            f"peak       {self.peak_memory_gib:.1f} GiB",
            f"seed       {'none' if self.seed is None else self.seed}",
        ]
        return "\n".join([*lines, *self.machine])


def peak_memory_gib(profile: Profile) -> float:
    """Most memory held at once by this process, in GiB.

    On a GPU what torch reserved on the card, on a CPU the resident set.
    """
    if profile.is_gpu:
        return torch.cuda.max_memory_reserved() / 2**30
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**30
    import resource  # Windows has none

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20  # Linux: KiB


def write_run_record(
    notebook: str, profile: Profile, *, headline: str, seed: int | None = None
) -> RunRecord:
    """Write the run record of a notebook (`01`) below `runs/` and show it.

    `headline` is the one number to remember, with its unit; `seed` the one that decided
    data order and initial weights.
    """
    process = psutil.Process()  # the kernel
    record = RunRecord(
        notebook=notebook,
        headline=headline,
        day=date.today().isoformat(),
        minutes=(time.time() - process.create_time()) / 60,
        # user and system, of the kernel and of the programs whose end it has seen
        processor_minutes=sum(process.cpu_times()[:4]) / 60,
        peak_memory_gib=peak_memory_gib(profile),
        seed=seed,
        machine=tuple(describe(profile)),
    )
    path = runs_folder() / f"records-{profile.name}" / f"{notebook}.json"
    write_json(path, vars(record))
    return record

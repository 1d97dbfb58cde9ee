"""Where a run's results lie, and the record that closes each notebook."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psutil

from course_utils.doctor import describe
from course_utils.profile import Profile, runs_folder

# When this kernel started: a notebook imports this module only in its last cell.
_STARTED = psutil.Process().create_time()


def run_folder(recipe_name: str, profile: Profile) -> Path:
    """`runs/<recipe>-<profile>`, made when missing: adapter, logs, checkpoints."""
    folder = runs_folder() / f"{recipe_name}-{profile.name}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class RunRecord:
    """What was run where, when, and what came out first."""

    notebook: str
    headline: str
    day: str
    minutes: float
    seed: int | None
    machine: tuple[str, ...]

    def __repr__(self) -> str:
        seed = "none" if self.seed is None else str(self.seed)
        lines = [f"headline   {self.headline}", f"date       {self.day}"]
        lines += [f"minutes    {self.minutes:.1f}", f"seed       {seed}", *self.machine]
        return "\n".join(lines)


def close_run(
    notebook: str, profile: Profile, *, headline: str, seed: int | None = None
) -> RunRecord:
    """Write the run record of a notebook below `runs/` and show it.

    Args:
        notebook: Number, such as `01`.
        profile: The machine it ran on.
        headline: The one number to remember, with its unit.
        seed: That decided data order and initial weights, if any.
    """
    minutes = (time.time() - _STARTED) / 60
    machine = tuple(describe(profile))
    record = RunRecord(
        notebook, headline, date.today().isoformat(), minutes, seed, machine
    )
    folder = runs_folder() / f"records-{profile.name}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{notebook}.json").write_text(json.dumps(vars(record), indent=1))
    return record

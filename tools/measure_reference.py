"""Measure what a normal curve looks like: the healthy run with several seeds.

    python tools/measure_reference.py 3407 1 2 3 4
    COURSE_RECIPE=inframind python tools/measure_reference.py 1 2 3

Each seed trains the recipe on the cpu profile once (three to eight minutes on two
cores) and is added to data/reference/; one that is there already is skipped.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from course_utils import models  # noqa: F401  before all that imports transformers
from course_utils.adapters import fine_tune
from course_utils.places import DATA_FOLDER, read_json, write_whole
from course_utils.profile import Profile
from course_utils.recipes import chosen_recipe
from course_utils.reference import MEASURED_ON

RECIPE = chosen_recipe()
REFERENCE = DATA_FOLDER / "reference" / f"{RECIPE.name}-{MEASURED_ON}.json"


def measure(seed: int) -> list[dict[str, Any]]:
    """The trainer's log of one run that differs from the recipe in its seed alone."""
    profile = Profile.detect({"COURSE_PROFILE": MEASURED_ON})
    plan = dataclasses.replace(RECIPE.plan_for(MEASURED_ON), seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        return fine_tune(RECIPE.name, plan, profile, Path(folder)).run.history


def add(reference: dict[str, Any], seed: int, history: list[dict[str, Any]]) -> None:
    """Put a run into the table: one list of losses a seed, steps shared by all."""
    for loss, steps in (("loss", "steps"), ("eval_loss", "eval_steps")):
        points = [(row["step"], row[loss]) for row in history if loss in row]
        logged = [step for step, _ in points]
        if reference.setdefault(steps, logged) != logged:
            raise SystemExit(
                f"Seed {seed} logged other {steps} than the seeds before: was the "
                f"recipe changed? Remove {REFERENCE.name} and measure all of them."
            )
        reference.setdefault(loss, []).append([round(value, 4) for _, value in points])
    reference["seeds"].append(seed)


def main(arguments: list[str]) -> int:
    """Measure the given seeds."""
    reference = {"recipe": RECIPE.name, "profile": MEASURED_ON, "seeds": []}
    if REFERENCE.exists():
        reference = read_json(REFERENCE, "Remove it and measure all seeds.")
    for seed in map(int, arguments):
        if seed not in reference["seeds"]:
            add(reference, seed, measure(seed))
            write_whole(REFERENCE, json.dumps(reference, allow_nan=False) + "\n")
            print(f"seed {seed}: last validation {reference['eval_loss'][-1][-1]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

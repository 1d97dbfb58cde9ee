"""Measure what a normal curve looks like: the healthy run with several seeds."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from course_utils.machine.profile import Profile
from course_utils.places import DATA_FOLDER, read_json, write_whole
from course_utils.recipes.plan import Recipe
from course_utils.training.adapter import fine_tune

PROFILE = "cpu"


def add(reference: dict[str, Any], seed: int, history: list[dict[str, Any]]) -> None:
    """Put a run into the table: one list of losses a seed, steps shared by all."""
    for loss, steps in (("loss", "steps"), ("eval_loss", "eval_steps")):
        logged = {row["step"]: round(row[loss], 4) for row in history if loss in row}
        if reference.setdefault(steps, list(logged)) != list(logged):
            raise SystemExit(
                f"Seed {seed} logged other {steps} than the seeds before: was the "
                "recipe changed? Remove its file in data/reference/ and measure all."
            )
        reference.setdefault(loss, []).append(list(logged.values()))
    reference["seeds"].append(seed)


def measure_seeds(recipe: Recipe, seeds: list[int]) -> None:
    """Add the seeds that are not there yet to the recipe's file in data/reference/.

    Their runs differ from the recipe's in the seed alone.
    """
    profile = Profile.detect({"COURSE_PROFILE": PROFILE})
    path = DATA_FOLDER / "reference" / f"{recipe.name}-{PROFILE}.json"
    new = {"recipe": recipe.name, "profile": PROFILE, "seeds": []}
    reference = read_json(path, "Restore it from git.") if path.exists() else new
    for seed in [seed for seed in seeds if seed not in reference["seeds"]]:
        plan = dataclasses.replace(recipe.plan_for(PROFILE), seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            trained = fine_tune(recipe.name, plan, profile, Path(folder))
        add(reference, seed, trained.run.history)
        write_whole(path, json.dumps(reference) + "\n")
        print(f"seed {seed}: last validation {reference['eval_loss'][-1][-1]}")

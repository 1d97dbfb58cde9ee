"""What is normal? Bands from several seeds of a recipe's healthy run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from course_utils.curves import LossCurves, smooth
from course_utils.data import DATA_FOLDER

REFERENCE_FOLDER = DATA_FOLDER / "reference"
MEASURED_ON = "cpu"  # the profile whose seeds the course ships
CONFIDENCE = 0.95
FEWEST_SEEDS = 2  # a spread needs two
ROUNDING = 1e-3  # nats; the file is rounded, and other chips add up in another order


@dataclass(frozen=True)
class Band:
    """Where the next run's curve is expected, step by step.

    Attributes:
        steps: Updates.
        mean: Of the seeds.
        spread: Their standard deviation (n - 1 in the denominator).
        seeds: How many; 0 where no runs are shipped, and then everything is empty.
    """

    steps: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    seeds: int

    @property
    def half_width(self) -> np.ndarray:
        """Of the interval that holds one further seed in 95 % of cases.

        Student's t with few seeds, and the mean itself is uncertain:
        t · s · √(1 + 1/n).
        """
        if not self.seeds:
            return self.spread
        t = stats.t.ppf((1 + CONFIDENCE) / 2, self.seeds - 1)
        return t * self.spread * math.sqrt(1 + 1 / self.seeds)

    @property
    def last_spread(self) -> float:
        """Standard deviation at the last step; NaN without seeds."""
        return float(self.spread[-1]) if self.seeds else math.nan

    def outside(self, series: pd.Series) -> list[int]:
        """The steps that band and series share where the series leaves the band."""
        shared = [step for step in self.steps if step in series.index]
        place = {step: index for index, step in enumerate(self.steps)}
        return [
            int(step)
            for step in shared
            if not abs(series[step] - self.mean[place[step]])
            <= self.half_width[place[step]] + ROUNDING
        ]


@dataclass(frozen=True)
class Reference:
    """The measured runs of one recipe, one curve a seed.

    Attributes:
        recipe: Name of the recipe.
        profile: On which they were measured.
        seeds: One a run; all else was equal.
        steps: Updates with a training loss.
        loss: (seeds, steps), nats per token with loss.
        eval_steps: Updates with a validation loss.
        eval_loss: (seeds, eval_steps).
    """

    recipe: str
    profile: str
    seeds: tuple[int, ...]
    steps: np.ndarray
    loss: np.ndarray
    eval_steps: np.ndarray
    eval_loss: np.ndarray

    @classmethod
    def none(cls, recipe: str) -> Reference:
        """No run at all, for a recipe of which none was measured."""
        empty = np.array([])
        table = empty.reshape(0, 0)
        return cls(recipe, MEASURED_ON, (), empty, table, empty, table)

    def without(self, seed: int) -> Reference:
        """The other seeds: a curve must not be compared with itself."""
        kept = [index for index, other in enumerate(self.seeds) if other != seed]
        seeds = tuple(self.seeds[index] for index in kept)
        changed = {"seeds": seeds, "loss": self.loss[kept]}
        return Reference(**{**vars(self), **changed, "eval_loss": self.eval_loss[kept]})

    def validation_band(self) -> Band:
        """Of the validation loss.

        Raises:
            ValueError: With one seed, which has no spread.
        """
        return self._band(self.eval_steps, self.eval_loss)

    def training_band(self) -> Band:
        """Of the smoothed training loss: seeds see other batches, so raw ones jump.

        Raises:
            ValueError: With one seed, which has no spread.
        """
        return self._band(self.steps, np.array([smooth(run) for run in self.loss]))

    def _band(self, steps: np.ndarray, runs: np.ndarray) -> Band:
        if not self.seeds:
            return Band(steps, steps, steps, 0)
        if len(self.seeds) < FEWEST_SEEDS:
            raise ValueError(
                f"{len(self.seeds)} seeds of {self.recipe} on {self.profile} found, "
                f"{FEWEST_SEEDS} are needed for a spread. Measure more of them with "
                "tools/measure_reference.py."
            )
        return Band(steps, runs.mean(axis=0), runs.std(axis=0, ddof=1), len(runs))


def load_reference(recipe_name: str, path: Path | None = None) -> Reference:
    """Read the shipped runs of a recipe.

    Args:
        recipe_name: Such as `movie_recommender`.
        path: Another file than the shipped one.

    Raises:
        FileNotFoundError: If nothing was measured for this recipe.
        ValueError: If runs and steps differ in number.
    """
    path = path or REFERENCE_FOLDER / f"{recipe_name}-{MEASURED_ON}.json"
    if not path.exists():
        there = sorted(p.stem for p in path.parent.glob("*.json"))
        raise FileNotFoundError(
            f"No reference runs in {path.name}; there are {there or 'none'}. Measure "
            "them with tools/measure_reference.py."
        )
    found = json.loads(path.read_text(encoding="utf-8"))
    reference = Reference(
        recipe=found["recipe"],
        profile=found["profile"],
        seeds=tuple(found["seeds"]),
        steps=np.array(found["steps"]),
        loss=_runs(found["loss"]),
        eval_steps=np.array(found["eval_steps"]),
        eval_loss=_runs(found["eval_loss"]),
    )
    shapes = (len(reference.seeds), len(reference.steps), len(reference.eval_steps))
    expected = ((shapes[0], shapes[1]), (shapes[0], shapes[2]))
    if (reference.loss.shape, reference.eval_loss.shape) != expected:
        raise ValueError(
            f"{path.name} has losses {reference.loss.shape} and "
            f"{reference.eval_loss.shape}, expected {expected[0]} and {expected[1]} "
            "from its seeds and steps. Was the file edited? Measure it again."
        )
    return reference


def other_seeds(recipe_name: str, seed: int, path: Path | None = None) -> Reference:
    """The shipped runs of a recipe but for one seed; none where too few are left.

    Args:
        recipe_name: Such as `movie_recommender`.
        seed: Of the run that is to be compared.
        path: Another file than the shipped one.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        others = load_reference(recipe_name, path).without(seed)
    except FileNotFoundError:
        return Reference.none(recipe_name)
    return others if len(others.seeds) >= FEWEST_SEEDS else Reference.none(recipe_name)


def _runs(rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(rows, dtype=float)


def compare(curves: LossCurves, band: Band) -> str:
    """In a few words: does the validation curve lie where the seeds' curves lie?"""
    if not band.seeds:
        return "No seeds of this recipe to compare with"
    shared = sum(step in curves.validation.index for step in band.steps)
    outside = len(band.outside(curves.validation))
    if not shared:
        return "No update in common with the reference: nothing to compare"
    if outside:
        return f"Outside the band of {band.seeds} seeds at {outside} of {shared} points"
    return f"Inside the band of {band.seeds} seeds at all {shared} points"

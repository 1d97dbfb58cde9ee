"""What is normal? Bands from several seeds of a recipe's healthy run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from course_utils.curves.losses import LossCurves, smooth
from course_utils.machine.profile import Profile
from course_utils.places import DATA_FOLDER, BrokenFile, read_json
from course_utils.statistics.power import ALPHA

_MEASURED_ON = "cpu"  # the profile whose seeds the course ships
_FEWEST_SEEDS = 2  # a spread needs two
_WAY_OUT = "Measure the seeds: `python tools/course.py reference`."


@dataclass(frozen=True)
class Band:
    """Where the next run's curve is expected, step by step."""

    steps: np.ndarray  # updates
    mean: np.ndarray  # of the seeds
    spread: np.ndarray  # their standard deviation (n - 1 in the denominator)
    seeds: int  # how many; 0 where no runs are shipped, then everything is empty

    @property
    def half_width(self) -> np.ndarray:
        """Of the interval that holds one further seed in 95 % of cases.

        The mean itself is uncertain: Student's t · s · √(1 + 1/n).
        """
        if not self.seeds:
            return self.spread
        t = stats.t.ppf(1 - ALPHA / 2, self.seeds - 1)
        return t * self.spread * math.sqrt(1 + 1 / self.seeds)

    @property
    def last_spread(self) -> float:
        """Standard deviation at the last step; NaN without seeds."""
        return float(self.spread[-1]) if self.seeds else math.nan

    def excess(self, series: pd.Series) -> pd.Series:
        """How far a run lies beyond the band, in nats, by update; inside it below 0.

        At the updates that both have, but for 0: there all seeds are the same model.
        """
        shared = np.isin(self.steps, series.index) & (self.steps > 0)
        steps = self.steps[shared].astype(int)
        apart = np.abs(series[steps].to_numpy() - self.mean[shared])
        beyond = pd.Series(apart - self.half_width[shared], steps)
        return beyond.fillna(math.inf)  # a NaN lies in no band


@dataclass(frozen=True)
class Reference:
    """The measured runs of one recipe: a row a seed, a column an update."""

    recipe: str
    profile: str = _MEASURED_ON
    loss: pd.DataFrame = field(default_factory=pd.DataFrame)  # nats per token with loss
    eval_loss: pd.DataFrame = field(default_factory=pd.DataFrame)  # on held-out rows

    @property
    def seeds(self) -> list[int]:
        """One a run."""
        return self.loss.index.tolist()

    def without(self, seed: int) -> Reference:
        """The other seeds: a curve must not be compared with itself."""
        left = (t.drop(seed, errors="ignore") for t in (self.loss, self.eval_loss))
        return Reference(self.recipe, self.profile, *left)

    def validation_band(self) -> Band:
        """Of the validation loss; one seed, which has no spread, is a ValueError."""
        return self._band(self.eval_loss.columns, self.eval_loss.to_numpy())

    def training_band(self) -> Band:
        """Of the smoothed training loss: seeds see other batches, so raw ones jump."""
        smoothed = np.array([smooth(run) for run in self.loss.to_numpy()])
        return self._band(self.loss.columns, smoothed)

    def _band(self, steps: pd.Index, runs: np.ndarray) -> Band:
        if not len(runs):
            return Band(*np.empty((3, 0)), seeds=0)
        if len(runs) < _FEWEST_SEEDS:
            raise ValueError(
                f"{len(runs)} seeds of {self.recipe} found, {_FEWEST_SEEDS} are needed "
                f"for a spread. {_WAY_OUT}"
            )
        spread = runs.std(axis=0, ddof=1)
        return Band(steps.to_numpy(), runs.mean(axis=0), spread, len(runs))


def load_reference(recipe_name: str, path: Path | None = None) -> Reference:
    """Read the shipped runs of a recipe, or another file than the shipped one.

    A FileNotFoundError if nothing was measured for the recipe, a BrokenFile if the file
    is cut off, or runs and steps differ in number.
    """
    path = path or DATA_FOLDER / "reference" / f"{recipe_name}-{_MEASURED_ON}.json"
    if not path.exists():
        there = sorted(p.stem for p in path.parent.glob(f"*-{_MEASURED_ON}.json"))
        raise FileNotFoundError(
            f"No reference runs in {path.name}; there are {there or 'none'}. {_WAY_OUT}"
        )
    found = read_json(path, _WAY_OUT)
    try:
        profile, seeds = found["profile"], found["seeds"]
        tables = [
            pd.DataFrame(np.array(found[loss], float), seeds, list(found[steps]))
            for loss, steps in (("loss", "steps"), ("eval_loss", "eval_steps"))
        ]
        return Reference(recipe_name, profile, *tables)
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenFile(
            f"{path.name} is no table with a row of losses a seed and one a step: "
            f"{error!r}. Was it edited? Remove it. {_WAY_OUT}"
        ) from None


def other_seeds(
    recipe_name: str, seed: int, profile: Profile, path: Path | None = None
) -> Reference:
    """The shipped runs of a recipe but for one seed, to hold a run against.

    None where too few are left, or where the run is of another model than they are:
    its curve lies elsewhere, and that is no fault.
    """
    if profile.name != _MEASURED_ON or profile.model_override:
        return Reference(recipe_name)
    try:
        others = load_reference(recipe_name, path).without(seed)
    except FileNotFoundError:
        return Reference(recipe_name)
    return others if len(others.seeds) >= _FEWEST_SEEDS else Reference(recipe_name)


def place_in_band(curves: LossCurves, band: Band) -> str:
    """In a few words: does the validation curve lie where the seeds' curves lie?"""
    if not band.seeds:
        return "No seeds of this model and recipe to compare with"
    beyond = band.excess(curves.validation)
    if beyond.empty:
        return "No update in common with the reference: nothing to compare"
    inside, outside = int((beyond <= 0).sum()), beyond.index[beyond > 0].tolist()
    told = f"{inside} of {len(beyond)} points inside the band of {band.seeds} seeds"
    return (
        f"{told}; outside: update {', '.join(map(str, outside))}" if outside else told
    )


def points_in_band(curves: LossCurves, band: Band) -> str:
    """The same point by point, with what chance alone would do; a line each."""
    beyond = band.excess(curves.validation)
    if beyond.empty:
        return place_in_band(curves, band)
    lines = [
        f"update {step}: {abs(apart):.4f} nats {'outside' if apart > 0 else 'inside'}"
        for step, apart in beyond.items()
    ]
    alarm = 1 - (1 - ALPHA) ** len(beyond)
    return "\n".join(
        [
            *lines,
            f"A normal run is outside at one or more of {len(beyond)} points in "
            f"{alarm:.0%} of cases, if they were independent.",
            f"At the end seeds differ by {band.last_spread:.4f} nats (one standard "
            "deviation).",
        ]
    )

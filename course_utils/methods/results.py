"""What the methods' runs left behind: tables, and differences with their spread."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from course_utils.methods.study import Task
from course_utils.model.bundled import bundled_model_path
from course_utils.places import DATA_FOLDER, read_json
from course_utils.statistics.paired import PairedComparison
from course_utils.statistics.power import ALPHA

RESULTS = DATA_FOLDER / "reference" / "peft_methods.json"
RIVAL = "LoRA"
ADAM_BYTES = 12  # of a trained number: its gradient and Adam's two moments, in fp32
_MADE_BY = "Restore it from git, or measure anew: `python tools/measure_peft.py`."


@dataclass(frozen=True)
class Difference:
    """A method minus its rival under the same seeds, with the mean's interval."""

    each: tuple[float, ...]  # one a seed
    low: float  # of the mean's 95 % interval, Student's t
    mean: float
    high: float

    @classmethod
    def of(cls, each: np.ndarray) -> Difference:
        """Without a second seed the interval excludes nothing."""
        mean, half = float(each.mean()), math.inf
        if len(each) > 1:
            t = float(stats.t.ppf(1 - ALPHA / 2, len(each) - 1))
            half = t * float(each.std(ddof=1)) / math.sqrt(len(each))
        return cls(tuple(each.tolist()), mean - half, mean, mean + half)

    @property
    def is_seen(self) -> bool:
        """Whether 0 lies outside of the interval."""
        return not self.low <= 0 <= self.high

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


@dataclass(frozen=True)
class Study:
    """All that `tools/measure_peft.py` kept: one row a search, one a run."""

    search: pd.DataFrame
    runs: pd.DataFrame
    seconds: pd.Series  # of processor time a row, by method, all measured in one go

    @classmethod
    def read(cls, path: Path = RESULTS) -> Study:
        """The runs that are kept with the course; BrokenFile if there are none."""
        held = read_json(path, _MADE_BY)
        search, runs = (pd.DataFrame(held[name]) for name in ("search", "runs"))
        return cls(search, runs, pd.Series(held["seconds_a_row"]))

    @property
    def methods(self) -> list[str]:
        """Those that were run, the lowest mean loss first."""
        return list(self.mean("test_nats").sort_values().index)

    def mean(self, column: str) -> pd.Series:
        """Over the seeds, by method."""
        return self.runs.groupby("method", sort=False)[column].mean()

    def of(self, method: str) -> pd.DataFrame:
        """Runs of a method, by seed."""
        return self.runs[self.runs["method"] == method].set_index("seed").sort_index()

    def against(
        self, method: str, column: str = "test_nats", rival: str = RIVAL
    ) -> Difference:
        """A method minus its rival, seed by seed."""
        pairs = self.of(method)[column] - self.of(rival)[column]
        return Difference.of(pairs.dropna().to_numpy(dtype=float))

    def exact_against(self, method: str, rival: str = RIVAL) -> list[PairedComparison]:
        """Exact answers of both on the same requests: one comparison a seed."""
        mine, theirs = self.of(method)["right"], self.of(rival)["right"]
        return [
            PairedComparison.of(
                (rival, method),
                "exact answers",
                [(a == "1", b == "1") for a, b in zip(theirs[s], mine[s], strict=True)],
            )
            for s in mine.index.intersection(theirs.index)
        ]

    @property
    def others(self) -> list[str]:
        """The methods but for LoRA, which each is held against."""
        return [name for name in self.methods if name != RIVAL]

    @property
    def rates_apart(self) -> float:
        """The highest of the rates that were found best, over the lowest."""
        by_loss = self.search.sort_values("validation_nats")
        best = by_loss.drop_duplicates("method")["rate"]
        return float(best.max() / best.min())

    def table(self) -> pd.DataFrame:
        """A row a method, the lowest mean loss first, as text."""
        nats, numbers = self.mean("test_nats"), self.mean("parameters")
        rows = {
            name: {
                "trained numbers": f"{numbers[name]:,.0f}",
                "rate": f"{self.of(name)['rate'].iloc[0]:g}",
                "test loss, nats a token": f"{nats[name]:.3f}",
                "minus LoRA (95 %)": "–" if name == RIVAL else str(self.against(name)),
                "exact of 80, each seed": " ".join(map(str, self.of(name)["exact"])),
            }
            for name in self.methods
        }
        return pd.DataFrame(rows).T.rename_axis("method")

    def costs(self) -> pd.DataFrame:
        """Time of a row over LoRA's, and what general text lost, seed by seed."""
        lost = self.runs["general_after"] - self.runs["general_before"]
        told = lost.map("{:+.2f}".format).groupby(self.runs["method"]).agg(", ".join)
        times = (self.seconds / self.seconds[RIVAL]).map("{:.2f}".format)
        table = {"time of a row, LoRA = 1": times, "general text, nats": told}
        return pd.DataFrame(table).loc[self.methods]

    @property
    def memory(self) -> pd.DataFrame:
        """MiB beside the weights: activations measured, the optimizer's predicted."""
        optimizer = self.mean("parameters") * ADAM_BYTES / 2**20
        activations = self.mean("saved_activation_mib")
        return pd.DataFrame(
            {"saved activations": activations, "gradients and Adam": optimizer}
        )


def apart(run: Mapping[str, Any], task: Task, study: Study) -> float:
    """Test loss of a run minus that of the kept run with its method and seed.

    NaN where the task is for another model than the kept runs had: nothing to compare.
    """
    if task.model != str(bundled_model_path()):
        return math.nan
    kept = study.of(run["method"]).loc[run["seed"], "test_nats"]
    return float(run["test_nats"] - kept)

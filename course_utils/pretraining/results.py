"""The runs of lesson 11 that are kept with the course."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from course_utils.places import DATA_FOLDER, read_json

RESULTS = DATA_FOLDER / "reference" / "pretraining.json"
_MADE_BY = "Restore it from git, or run `python tools/measure_pretraining.py scale`."


def sections(path: Path = RESULTS) -> dict[str, list[dict[str, Any]]]:
    """All rows that were kept, by section; none where there is no file yet."""
    return read_json(path, _MADE_BY) if path.exists() else {}


def kept(section: str, path: Path = RESULTS) -> pd.DataFrame:
    """One section as a table: `scale`, `counts`, `transfer`, `search` and more.

    Raises:
        BrokenFile: If the file is missing or no JSON.
    """
    return pd.DataFrame(read_json(path, _MADE_BY)[section])


def named(part: int) -> str:
    """What a share of the pages is called: 16 is a sixteenth of them."""
    return {1: "all pages", 4: "a quarter", 16: "a sixteenth"}.get(part, f"1/{part}")


def best_counts(path: Path = RESULTS) -> pd.Series:
    """By share of the pages, the lowest test loss among the orders of counts.

    The order is chosen on the very blocks that are reported: it flatters the rival.
    """
    return kept("counts", path).groupby("part")["test_nats"].min()


def by_size(path: Path = RESULTS) -> pd.DataFrame:
    """Mean test loss over the seeds: a row a model and the counts, a column a share."""
    scale = kept("scale", path)
    table = scale.pivot_table("test_nats", "parameters", "part", "mean")
    table.index = pd.Index([f"{n:,} numbers" for n in table.index])
    table.loc["best counts"] = best_counts(path)
    table = table[sorted(table.columns, reverse=True)]
    return table.rename(columns=named).rename_axis(columns=None)


def spread_of_seeds(path: Path = RESULTS) -> float:
    """The greatest distance of two seeds of one model on one share, in nats."""
    runs = kept("scale", path).groupby(["part", "width"])["test_nats"]
    return float((runs.max() - runs.min()).max())


def transfer_table(path: Path = RESULTS) -> pd.DataFrame:
    """Test loss of each start by rows and passes: the seeds' mean, least, greatest."""
    counts = kept("answer_counts", path).groupby("rows")["test_nats"].min()
    rival = counts.reset_index().assign(start="best counts", passes=1)
    runs = pd.concat([kept("transfer", path), rival])
    by = runs.groupby(["start", "rows", "passes"])["test_nats"]
    return by.agg(["mean", "min", "max"])


def rate_of(start: str, path: Path = RESULTS) -> float:
    """The learning rate that a start was trained with."""
    runs = kept("transfer", path)
    [rate] = set(runs[runs["start"] == start]["rate"])
    return float(rate)


def rate_of_width(width: int, path: Path = RESULTS) -> float:
    """The learning rate that the search chose for a width."""
    tried = kept("rates", path)
    of_width = tried[tried["width"] == width].set_index("rate")
    return float(of_width["stop_nats"].idxmin())

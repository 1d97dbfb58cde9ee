"""Values of claims that lesson 10's kept runs carry: pairs, more SFT, three rewards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from course_utils.preference import results

_ENDS = 5  # updates at either end of a run whose rewards are compared
_PAID = ("keywords", "form", "verified")  # runs, and the rewards in their logs


def _kept(name: str, path: Path) -> list[dict[str, Any]]:
    """Runs under the chosen rate, by seed."""
    rate = results.RATES[name]
    runs = [r for r in results.kept_runs(path) if (r["run"], r["rate"]) == (name, rate)]
    return sorted(runs, key=lambda run: run["seed"])


def _means(names: tuple[str, ...], path: Path) -> dict[str, float]:
    """Counts of each run as `<run>_<count>`, means over its seeds."""
    columns = ["prefers", "valid", "exact", "served", "kl"]
    means = results.measured_runs(path).groupby("run")[columns].mean()
    return {
        f"{name}_{column}": float(value)
        for name in names
        for column, value in means.loc[name].items()
    }


def pairs_against_more_sft(path: Path = results.RESULTS) -> dict[str, float]:
    """DPO and as many updates of SFT on the chosen answers, from the same start.

    `prefers` counts held-out pairs whose better answer is likelier; the others test
    requests. `moved` is the mean change of log p in nats, over pairs and seeds.
    """
    [start], dpo = _kept("start", path), _kept("dpo", path)
    moved = np.mean([np.subtract(r["pairs"], start["pairs"]) for r in dpo], axis=(0, 1))
    return {
        "seeds": float(len(dpo)),
        "pairs": float(len(start["pairs"])),
        "requests": float(len(start["test"]["valid"])),
        "chosen_moved": float(moved[0]),
        "rejected_moved": float(moved[1]),
        **_means(("start", "sft", "dpo"), path),
    }


def three_rewards(path: Path = results.RESULTS) -> dict[str, float]:
    """GRPO paid for words, for the form, and for the right parts: means over seeds.

    `first` and `last` are the paid reward in the first and the last five updates;
    `form_empty` is the share of the empty query among the answers.
    """
    found = {"seeds": float(len(_kept("form", path)))}
    for name in _PAID:
        logs = np.array([run["log"][name] for run in _kept(name, path)])
        found[f"{name}_first"] = float(logs[:, :_ENDS].mean())
        found[f"{name}_last"] = float(logs[:, -_ENDS:].mean())
    texts = [text for run in _kept("form", path) for text in run["test"]["texts"]]
    found["form_empty"] = float(np.mean([text == "{}" for text in texts]))
    found["updates"] = float(len(_kept("form", path)[0]["log"]["form"]))
    found["requests"] = float(len(texts) / found["seeds"])
    return found | _means(("start", *_PAID), path)


FORMULAS: dict[str, Callable[[], dict[str, float]]] = {
    "C241": pairs_against_more_sft,
    "C242": three_rewards,
}

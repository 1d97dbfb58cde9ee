"""Counts of a run with their intervals, and what the runs of the tool left behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from course_utils.data.conversation import Conversation
from course_utils.data.datasets import PreferencePair, load_search
from course_utils.machine.profile import Profile
from course_utils.places import DATA_FOLDER, read_json
from course_utils.statistics.paired import PairedComparison
from course_utils.statistics.shares import Share

RESULTS = DATA_FOLDER / "reference" / "preferences.json"
RATES = {  # the learning rate that was chosen for each run; the others are kept too
    "start": 1e-3,
    "reward_model": 5e-4,
    "sft": 5e-4,
    "dpo": 2e-4,
    "verified": 2e-4,
    "form": 5e-4,
    "keywords": 5e-4,
}
MARKS = ("valid", "exact", "served")
WAYS = {  # what the lesson calls a run
    "start": "start",
    "more SFT": "sft",
    "DPO": "dpo",
    "verified paid": "verified",
    "form paid": "form",
    "words paid": "keywords",
}
_MADE_BY = (
    "Restore it from git, or measure anew: `python tools/measure_preferences.py`."
)
_Scores = Iterable[Sequence[float]]  # of the better answer, and of the worse one
_Found = Mapping[str, Mapping[str, Any]]  # way of answering -> marks, as 0 and 1


def spelled(share: Share) -> str:
    """k of n with its 95 % Wilson interval."""
    low, high = share.interval
    return f"{share.right:g} of {share.n} [{low:.0%}–{high:.0%}]"


def share(marks: str) -> Share:
    """Of marks such as `0110`, those that are 1."""
    return Share(marks.count("1"), len(marks))


def preferred(scores: _Scores) -> Share:
    """Pairs whose better answer has the higher score; half a point where equal."""
    points = [(good > bad) + (good == bad) / 2 for good, bad in scores]
    return Share(sum(points), len(points))


def judges_table(
    judges: Mapping[str, _Scores], pairs: Sequence[PreferencePair]
) -> pd.DataFrame:
    """Pairs that each judge decides rightly, by group and in all."""
    groups = {pair.group: None for pair in pairs}

    def of(scores: _Scores, group: str | None) -> str:
        both = zip(scores, pairs, strict=True)
        return spelled(preferred(s for s, p in both if group in (None, p.group)))

    return pd.DataFrame(
        {
            judge: {group or "all": of([*scores], group) for group in (*groups, None)}
            for judge, scores in judges.items()
        }
    ).T


def left_alone(served: str, wishes: Sequence[Conversation]) -> Share:
    """Requests without a wish for which nothing is looked up."""
    both = zip(served, wishes, strict=True)
    return share("".join(m for m, w in both if w.notes["group"] == "no_wish"))


def marks_table(found: _Found, wishes: Sequence[Conversation]) -> pd.DataFrame:
    """What each way of answering is worth; see `study.measure`."""
    rows = {}
    for way, marks in found.items():
        alone = left_alone(marks["served"], wishes)
        rows[way] = {mark: spelled(share(marks[mark])) for mark in MARKS}
        rows[way] |= {"left alone": f"{alone.right} of {alone.n}"}
        rows[way] |= {"KL to the start, nats a token": f"{marks.get('kl', 0):.2f}"}
    return pd.DataFrame(rows)


def compared(found: _Found, first: str, second: str, mark: str) -> PairedComparison:
    """Two ways of answering the same requests, by one of the marks."""
    both = zip(found[first][mark], found[second][mark], strict=True)
    pairs = [(a == "1", b == "1") for a, b in both]
    return PairedComparison.of((first, second), mark, pairs)


def kept_runs(path: Path = RESULTS) -> list[dict[str, Any]]:
    """Every run that was made, as the tool kept it; BrokenFile if there are none."""
    return read_json(path, _MADE_BY)


def measured_runs(path: Path = RESULTS) -> pd.DataFrame:
    """Counts of each run under its chosen rate, a row a run and seed.

    `prefers` is of 60 held-out pairs; `valid`, `exact` and `served` of 80 test
    requests, `left alone` of those among them without a wish; `general` and `kl`, the
    distance to the start, in nats a token.
    """
    wishes = load_search("test")[::2]
    order = [*RATES]
    chosen = [run for run in kept_runs(path) if run["rate"] == RATES[run["run"]]]
    rows = []
    for run in sorted(chosen, key=lambda r: (order.index(r["run"]), r["seed"])):
        row = {name: run[name] for name in ("run", "seed")}
        row["prefers"] = preferred(run["pairs"]).right
        if "test" in run:
            row |= {mark: share(run["test"][mark]).right for mark in MARKS}
            row["left alone"] = left_alone(run["test"]["served"], wishes).right
            row["general"] = run["general_nats"]
            row["kl"] = run["test"].get("kl", 0.0)  # the start has none
        rows.append(row)
    return pd.DataFrame(rows)


def apart_from_kept(
    found: _Found, profile: Profile, seed: int, mark: str = "served"
) -> dict[str, int]:
    """Requests whose mark is another than in the kept run of that seed, by way.

    Empty on a machine or with a model whose runs are not kept: nothing to compare.
    """
    if profile.name != "cpu" or profile.model_override:
        return {}
    kept = {
        run["run"]: run["test"][mark]
        for run in kept_runs()
        if run["seed"] == seed and run["rate"] == RATES[run["run"]] and "test" in run
    }
    return {
        way: sum(a != b for a, b in zip(marks[mark], kept[WAYS[way]], strict=True))
        for way, marks in found.items()
        if WAYS[way] in kept
    }

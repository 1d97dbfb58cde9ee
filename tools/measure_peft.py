"""Compare the methods of lesson 09 over seeds, and keep what each run measured.

    .venv/bin/python tools/measure_peft.py LoRA full "prompt tuning"
    .venv/bin/python tools/measure_peft.py times

For each method: a learning rate by the validation loss after half of the rows, one more
rate on the side where the best is the last one tried (twice at most), then the whole
budget with three seeds. Everything that ran joins data/reference/peft_methods.json, the
rates that lost too; what is there already is not run again. A method takes 8 to 20
minutes of one core. `times` measures what a row costs under every method, all of them
in turn and three times over, since seconds of another day or machine do not compare.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from filelock import FileLock  # the hub must be off before these imports

from course_utils.curves.forgetting import general_passages, score_passages
from course_utils.methods import study
from course_utils.methods.book import METHODS, Method
from course_utils.model.bundled import bundled_model_path
from course_utils.places import DATA_FOLDER, write_json

RESULTS = DATA_FOLDER / "reference" / "peft_methods.json"
SEEDS = (3407, 3408, 3409)
EXTENSIONS = 2
ROUNDS = 3


def whole() -> dict[str, Any]:
    """All sections of the file."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def known(section: str) -> list[dict[str, Any]]:
    """What the file has of `search` or `runs`."""
    return whole().get(section, [])


def keep(section: str, rows: list[dict[str, Any]]) -> None:
    """Put a method's rows into the file, in the place of its old ones."""
    with FileLock(f"{RESULTS}.lock"):
        key = ("method", "rate", "seed")
        held = {tuple(r[k] for k in key): r for r in known(section) + rows}
        order = [*METHODS]
        ordered = sorted(
            held.values(),
            key=lambda r: (order.index(r["method"]), r["rate"], r["seed"]),
        )
        write_json(RESULTS, whole() | {section: ordered})


def best_rate(task: study.Task, method: Method, folder: str) -> float:
    """The rate with the lowest validation loss; each one tried is kept."""
    rows = [row for row in known("search") if row["method"] == method.name]
    tried = {row["rate"]: row["validation_nats"] for row in rows}
    waiting = [*method.rates]
    for _ in range(1 + EXTENSIONS):
        for rate in (rate for rate in waiting if rate not in tried):
            tried[rate] = study.try_rate(task, method, rate, SEEDS[0], folder)
            row = {"method": method.name, "rate": rate, "seed": SEEDS[0]}
            keep("search", [{**row, "validation_nats": round(tried[rate], 4)}])
            print(method.name, rate, round(tried[rate], 4), flush=True)
        best = min(tried, key=lambda rate: tried[rate])
        low, high = min(tried), max(tried)
        step = sorted(tried)[1] / low
        waiting = [low / step] if best == low else [high * 3] if best == high else []
        waiting = [float(f"{rate:.1g}") for rate in waiting]
    return min(tried, key=lambda rate: tried[rate])


def rate_of_lora() -> float:
    """The rate that LoRA's runs had; they must be measured first."""
    return next(row["rate"] for row in known("runs") if row["method"] == "LoRA")


def measure_times(task: study.Task, folder: str) -> None:
    """Seconds a row of each method, the least of three rounds, into the file."""
    least: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, method in METHODS.items():
            seconds = study.seconds_a_row(task, method, folder)
            least[name] = min(seconds, least.get(name, seconds))
            print(name, round(seconds, 3), flush=True)
    with FileLock(f"{RESULTS}.lock"):
        rounded = {name: round(seconds, 3) for name, seconds in least.items()}
        write_json(RESULTS, whole() | {"seconds_a_row": rounded})


def main(names: list[str]) -> None:
    """Measure each method named; what is done is kept, should a later one fail."""
    task = study.Task.read(bundled_model_path())
    passages = general_passages()
    with tempfile.TemporaryDirectory() as folder:
        if names == ["times"]:
            measure_times(task, folder)
            return
        base = study.load(task.model, METHODS["full"], 0)
        before = score_passages(base, task.tokenizer, passages).nats_per_token
        del base
        for method in (METHODS[name] for name in names):
            searched = bool(method.rates)
            rate = best_rate(task, method, folder) if searched else rate_of_lora()
            done = {(r["method"], r["rate"], r["seed"]) for r in known("runs")}
            for seed in SEEDS:
                if (method.name, rate, seed) in done:
                    continue
                row, model = study.run(task, method, rate, seed, folder)
                after = score_passages(model, task.tokenizer, passages).nats_per_token
                general = {"general_before": before, "general_after": after}
                keep("runs", [row | {k: round(v, 4) for k, v in general.items()}])
                print(row, round(after - before, 4), flush=True)
                del model
                gc.collect()  # a trainer holds its model in cycles


if __name__ == "__main__":
    main(sys.argv[1:])

"""Measure what lesson 11 shows of size, data and transfer, and keep each run.

    .venv/bin/python tools/measure_pretraining.py scale
    .venv/bin/python tools/measure_pretraining.py transfer

`scale` pretrains small Llamas of three widths on three shares of Python's own pages, as
many updates each, and counts n-grams on the same shares; each width has the best of
three rates. `transfer` trains SmolLM2-135M
in full on 20 to 160 rows of lesson 08's task, from its published weights and from
random ones, which get the better of four rates by validation loss. What is kept in
data/reference/pretraining.json is not run again; a second argument names a seed.
"""

from __future__ import annotations

import gc
import os
import platform
import sys
import tempfile
from itertools import product
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # the hub must be off before these imports
from filelock import FileLock
from transformers import AutoConfig, AutoModelForCausalLM, set_seed

from course_utils.methods import study
from course_utils.methods.book import METHODS
from course_utils.model.bundled import bundled_model_path
from course_utils.places import write_json
from course_utils.pretraining import small
from course_utils.pretraining.ngrams import NGrams
from course_utils.pretraining.results import RESULTS, rate_of_width, sections

SEEDS = (3407, 3408, 3409)
WIDTHS, PARTS = (64, 128, 192), (16, 4, 1)  # a sixteenth of the pages, a quarter, all
UPDATES, TRIED_UPDATES = 400, 200
WIDTH_RATES = (3e-3, 1e-2, 3e-2)
ROWS, RATES = (20, 40, 80, 160), (1e-4, 3e-4, 1e-3, 3e-3)
FULL = METHODS["full"]
PRETRAINED_RATE = 1e-4  # lesson 09's search for full tuning


def keep(section: str, row: dict[str, Any]) -> None:
    """Add a row to the file."""
    print(section, row, flush=True)
    with FileLock(f"{RESULTS}.lock"):
        held = sections()
        write_json(RESULTS, held | {section: [*held.get(section, []), row]})


def is_kept(section: str, **wanted: Any) -> bool:
    """Whether the file has such a row."""
    rows = sections().get(section, [])
    return any(wanted.items() <= row.items() for row in rows)


def search_rate(width: int, tokenizer: Any, rows: Any, held: Any, folder: str) -> None:
    """Every rate for half of the updates on all pages."""
    for rate in WIDTH_RATES:
        if is_kept("rates", width=width, rate=rate):
            continue
        tried = small.arguments_for(TRIED_UPDATES, SEEDS[0], folder, rate)
        trainer = small.pretrain(width, tokenizer, rows, held, tried)
        curve = small.held_out_curves(trainer.state.log_history)["stop"]
        keep("rates", {"width": width, "rate": rate, "stop_nats": curve[-1]})


def measure_scale(seed: int, folder: str) -> None:
    """Every width on every share, and the counts that learn from the same tokens."""
    corpus = small.pages_within(small.Budget(UPDATES))
    tokenizer = small.learn_tokens(corpus.train)
    held = small.halves(small.blocks(tokenizer, corpus.held_out))
    rows = small.blocks(tokenizer, corpus.train)
    of_python = {"python": platform.python_version()}
    for part, width in product(PARTS, WIDTHS):
        some = rows.select(range(len(rows) // part))
        shape = {"part": part, "tokens": len(some) * small.LENGTH}
        if not is_kept("counts", part=part):
            flat = [token for row in some["input_ids"] for token in row]
            for order in (1, 2, 3, 4):
                counts = NGrams(flat, order, len(tokenizer))
                rest = [counts.nats_per_token(r) for r in held["test"]["input_ids"]]
                nats = round(sum(rest) / len(rest), 4)
                keep("counts", shape | {"order": order, "test_nats": nats})
        if is_kept("scale", part=part, width=width, seed=seed):
            continue
        search_rate(width, tokenizer, rows, held, folder)
        rate = rate_of_width(width)
        arguments = small.arguments_for(UPDATES, seed, folder, rate)
        trainer = small.pretrain(width, tokenizer, some, held, arguments)
        curves = small.held_out_curves(trainer.state.log_history)
        best = curves["stop"].index(min(curves["stop"]))
        sample = some.select(range(min(len(some), small.HELD_OUT // 2)))
        found = {
            "train_nats": round(small.nats_per_token(trainer.model, sample), 4),
            "test_nats": round(curves["test"][best], 4),
            "best_update": curves["update"][best],
            "last_nats": round(curves["test"][-1], 4),
            "curve": [round(nats, 3) for nats in curves["test"]],
        }
        shape |= {
            "width": width,
            "parameters": trainer.model.num_parameters(),
            "seed": seed,
            "rate": rate,
        }
        keep("scale", shape | found | {"updates": UPDATES} | of_python)


def started(task: study.Task, start: str, seed: int) -> Any:
    """SmolLM2-135M with its weights, or with random ones of the same shape."""
    set_seed(seed)
    if start == "pretrained":
        return study.load(task.model, FULL, 0)
    shape = AutoConfig.from_pretrained(task.model)
    return AutoModelForCausalLM.from_config(shape, dtype=torch.float32)


def trained(
    task: study.Task, start: str, rows: int, passes: int, rate: float, seed: int
) -> Any:
    """The model after that many passes over the first rows."""
    model = started(task, start, seed)
    some = task.train[:rows] * passes
    with tempfile.TemporaryDirectory() as folder:
        study.train(model, task.tokenizer, some, FULL, rate, seed, folder)
    return model


def random_rate(task: study.Task) -> float:
    """The rate of random weights with the lowest validation loss after all rows."""
    for rate in RATES:
        if not is_kept("search", rate=rate):
            model = trained(task, "random", ROWS[-1], 1, rate, SEEDS[0])
            nats = study.nats_per_token(model, task.tokenizer, task.search)
            keep("search", {"rate": rate, "validation_nats": round(nats, 4)})
            del model
            gc.collect()
    return min(sections()["search"], key=lambda row: row["validation_nats"])["rate"]


def measure_transfer(seed: int) -> None:
    """Both starts on each number of rows; the random one with eight passes as well."""
    task = study.Task.read(bundled_model_path())
    test = study.encode(task.tokenizer, task.test)
    plans = [*product(("pretrained", "random"), ROWS, (1,)), ("random", ROWS[-1], 8)]
    for start, rows, passes in plans:
        key = {"start": start, "rows": rows, "passes": passes, "seed": seed}
        if is_kept("transfer", **key):
            continue
        rate = PRETRAINED_RATE if start == "pretrained" else random_rate(task)
        model = trained(task, start, rows, passes, rate, seed)
        found = {"rate": rate}
        found["test_nats"] = round(study.nats_per_token(model, task.tokenizer, test), 4)
        if rows == ROWS[-1]:
            asked = [wish.request for wish in task.test]
            right = study.exact(task.test, study.answers(model, task.tokenizer, asked))
            found |= {"exact": sum(right), "exact_of": len(right)}
        keep("transfer", key | found)
        del model
        gc.collect()
    if not sections().get("answer_counts"):
        measure_counts_of_answers(task, test)


def measure_counts_of_answers(task: study.Task, test: list) -> None:
    """Counts of the rows' tokens as a rival: loss on the test rows' answers."""
    for rows in ROWS:
        flat = [token for row in task.train[:rows] for token in row["input_ids"]]
        for order in (1, 2, 3, 4):
            counts = NGrams(flat, order, len(task.tokenizer))
            nats = counts.nats_where(test)
            row = {"rows": rows, "order": order, "test_nats": round(nats, 4)}
            keep("answer_counts", row)


def main(what: str, seeds: list[int]) -> None:
    """Measure one of the two, with the seeds given or all."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds or SEEDS:
            measure_transfer(seed) if what == "transfer" else measure_scale(
                seed, folder
            )


if __name__ == "__main__":
    main(sys.argv[1], [*map(int, sys.argv[2:])])

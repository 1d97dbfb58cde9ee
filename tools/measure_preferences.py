"""Make the runs of lesson 10 over seeds, and keep what each of them measured.

    .venv/bin/python tools/measure_preferences.py start 1e-3 3407
    .venv/bin/python tools/measure_preferences.py dpo 3e-4 3407 3408 3409

A run's name, its learning rate and its seeds: start, sft, dpo, reward_model, verified,
form, keywords. The start is kept in the cache folder, where the others find it.
Everything that ran joins data/reference/preferences.json, the rates that lost too. A
run takes two to eight minutes of one core.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

# First: it imports unsloth, without which TRL's trainers need a GPU.
from course_utils.model import loading as models  # noqa: I001

import torch
from transformers import AutoTokenizer

from course_utils.curves.forgetting import general_passages, score_passages
from course_utils.model.bundled import bundled_model_path
from course_utils.places import DATA_FOLDER, cache_folder, locked, write_json
from course_utils.preference import study
from course_utils.preference.rewards import (
    form_reward,
    keyword_reward,
    verified_reward,
)

RESULTS = DATA_FOLDER / "reference" / "preferences.json"
START = cache_folder() / "preference-start"
SIZES = study.SIZES["cpu"]
LOGGED = {
    "loss": "loss",
    "rewards/chosen": "reward_chosen",
    "rewards/rejected": "reward_rejected",
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
    "accuracy": "accuracy",
    "rewards/verified_reward/mean": "verified",
    "rewards/keyword_reward/mean": "keywords",
    "rewards/form_reward/mean": "form",
    "completions/mean_length": "tokens",
    "frac_reward_zero_std": "silent",
    "entropy": "entropy",
    "kl": "kl",
}
REWARDS = {
    "verified": (verified_reward, keyword_reward, form_reward),
    "keywords": (keyword_reward, verified_reward, form_reward),
    "form": (form_reward, verified_reward, keyword_reward),
}
PAIRWISE = {"sft": study.more_sft, "dpo": study.dpo, "reward_model": study.reward_model}


def keep(row: dict[str, Any]) -> None:
    """Put a run into the file, in the place of its old row."""
    with locked(RESULTS):
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
        key = ("run", "rate", "seed")
        held = {tuple(r[k] for k in key): r for r in [*known, row]}
        write_json(RESULTS, [held[k] for k in sorted(held)])


def curves(history: list[dict[str, Any]]) -> dict[str, list[float]]:
    """The trainer's log by quantity, a value an update."""
    updates = [log for log in history if "loss" in log]
    return {
        ours: [round(float(log[theirs]), 4) for log in updates]
        for theirs, ours in LOGGED.items()
        if theirs in updates[0]
    }


def trained(name: str, rate: float, seed: int, rows: study.Rows, folder: Path) -> Any:
    """A model, and the log of its training."""
    if name == "start":
        base = str(bundled_model_path())
        history = study.make_start(base, rows, START, rate, seed)
        return study.load(START), history
    if name in REWARDS:
        updates = SIZES.updates // (1 if name == "verified" else 2)
        rewards = REWARDS[name]
        trainer = study.grpo(START, rows, folder, rate, seed, SIZES, updates, rewards)
    else:
        trainer = PAIRWISE[name](START, rows, folder, rate, seed)
    trainer.train()
    return trainer.model, trainer.state.log_history


def measured(model: Any, tokenizer: Any, rows: study.Rows) -> dict[str, Any]:
    """What a language model does: requests, pairs, and general text."""
    pairs = study.pair_log_probs(model, tokenizer, rows.held_out)
    general = score_passages(model, tokenizer, general_passages())
    return {
        "validation": study.measure(model, tokenizer, rows.validation),
        "test": study.measure(model, tokenizer, rows.tests),
        "pairs": [[round(float(x), 3) for x in pair] for pair in pairs],
        "general_nats": round(general.nats_per_token, 4),
    }


def scored(scorer: Any, tokenizer: Any, pairs: Any) -> dict[str, Any]:
    """A reward model's scores of the pairs, and with the requests dealt out anew."""
    return {
        name: [[round(float(x), 3) for x in pair] for pair in found]
        for name, found in (
            ("pairs", study.scores(scorer, tokenizer, pairs)),
            ("blind", study.scores(scorer, tokenizer, study.dealt_anew(pairs))),
        )
    }


def main(name: str, rate: float, seeds: list[int]) -> None:
    """Make a run with each seed; what is done is kept, should a later one fail."""
    rows = study.Rows.read(SIZES)
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            model, history = trained(name, rate, seed, rows, Path(folder))
            seconds = round(time.process_time() - began, 1)
        tokenizer = AutoTokenizer.from_pretrained(START)
        if name == "reward_model":
            found = scored(model, tokenizer, rows.held_out)
        else:
            found = measured(model, tokenizer, rows)
        row = {"run": name, "rate": rate, "seed": seed, "cpu_seconds": seconds}
        keep(row | {"log": curves(history)} | found)
        marks = found.get("test", {})  # a reward model answers nothing
        told = {k: marks[k].count("1") for k in ("exact", "served") if k in marks}
        print(row, told, flush=True)
        del model
        models.free_memory()


if __name__ == "__main__":
    torch.manual_seed(0)
    main(sys.argv[1], float(sys.argv[2]), [int(seed) for seed in sys.argv[3:]])

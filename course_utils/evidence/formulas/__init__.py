"""Values of claims that no notebook records: they follow from what is committed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from math import ceil, log2, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t

from course_utils import CourseError
from course_utils.evidence.claims import load_claims
from course_utils.evidence.formulas import (
    foundations,
    preference_runs,
    preferences,
    pretraining_runs,
)
from course_utils.model.architectures import load_architectures
from course_utils.places import DATA_FOLDER, PROJECT_ROOT, read_json, read_jsonl
from course_utils.recipes.book import ALPACA_MISTRAL
from course_utils.statistics.paired import PairedComparison

_RESULTS = PROJECT_ROOT / "notebooks" / "results"
_ALPACA_ROWS = 52_002  # tatsu-lab/alpaca, on the hub
_TURNS = 5  # exchanges of a conversation
_TRIALS = _RESULTS / "trials"
_PEFT_RUNS = DATA_FOLDER / "reference" / "peft_methods.json"
_AGAIN = "Run `python tools/measure_peft.py` with the names of the methods."
_EPISODES = 10_000 * 8  # problems times attempts of a small run with a checkable reward
_Verdicts = Mapping[str, Mapping[str, bool]]  # way of answering, prompt, passed


def full_batch_on_mistral() -> dict[str, float]:
    """GB of two tensors, if each row of the project's batch had its maximum length.

    The logits in fp32, and what checkpointing keeps: the 16-bit input of each block.
    """
    plan, shape = ALPACA_MISTRAL.plan, load_architectures()[ALPACA_MISTRAL.architecture]
    tokens = plan.batch_size * plan.max_length
    return {
        "logits_gb": 4 * tokens * shape.vocab_size / 1e9,
        "kept_gb": 2 * tokens * shape.hidden_size * shape.layers / 1e9,
    }


def epoch_of_all_alpaca() -> dict[str, float]:
    """Updates of one pass over all rows in that batch, and hours at the logged pace."""
    plan, log = ALPACA_MISTRAL.plan, load_claims()["C035"].values
    logged_updates, _ = log["read_updates"].bounds()
    logged_minutes, _ = log["read_minutes"].bounds()
    updates = ceil(ceil(_ALPACA_ROWS / plan.batch_size) / plan.accumulation_steps)
    hours = updates * round(60 * logged_minutes) / logged_updates / 3600
    return {"alpaca_updates": float(updates), "alpaca_hours": hours}


def conversation_cut_into_rows() -> dict[str, float]:
    """How many times the tokens, if each answer is a row with its whole history.

    Of n exchanges of equal length the rows have 1, 2, … n: (n + 1) / 2 times n.
    """
    whole, cut = _TURNS, sum(range(1, _TURNS + 1))
    return {"turns": float(_TURNS), "tokens_factor": cut / whole}


def form_and_facts_of_lesson_03() -> dict[str, float]:
    """Held-out answers of the movie recommender, as lesson 03 published the counts."""
    file = read_json(_RESULTS / "03.json", "Publish lesson 03 again.")
    table = file["tables"]["movie_recommender"]
    rows = {row["held-out answers"]: row for row in table}

    def counts(check: str, way: str) -> tuple[float, float]:
        passed, _, total, *_ = rows[check][way].split()  # "39 of 40 (87%–100%)"
        return float(passed), float(total)

    form, requests = counts("in the form", "tuned")
    return {
        "requests": requests,
        "form_tuned": form,
        "form_examples": counts("in the form", "shown examples")[0],
        "facts_tuned": counts("in the table, facts right", "tuned")[0],
    }


def _verdicts(file: str, check: str) -> _Verdicts:
    """Verdicts of one check on the greedy answers that a lesson published.

    A prompt to which the check does not apply, or that it could not judge, is left out.
    """
    found: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    for row in read_jsonl(_TRIALS / file, "Publish the lesson again."):
        if row["seed"] is None and check in row["verdicts"]:
            found[row["model"]][row["prompt"]] = row["verdicts"][check]
    return found


def search_served() -> dict[str, float]:
    """Requests that each way of lesson 08 serves, and p of tuned against patterns.

    The criterion raises the smaller of its two p-values by Holm's method; the one
    against the patterns is the larger, which stays as it is.
    """
    served = _verdicts("movie_search/08_search.jsonl", "served")
    ways = {
        "always_empty": "always {}",
        "three_examples": "shown examples",
        "patterns": "patterns",
        "tuned": "tuned",
        "tuned_under_grammar": "tuned, grammar",
    }
    counts = {key: float(sum(served[way].values())) for key, way in ways.items()}
    pairs = [(served["patterns"][p], tuned) for p, tuned in served["tuned"].items()]
    against = PairedComparison.of(("patterns", "tuned"), "served", pairs)
    return {"requests": float(len(pairs)), **counts, "p_against_patterns": against.p}


def terraform_of_base_and_tuned() -> dict[str, float]:
    """Answers of lesson 05's project InfraMind that pass its checks, by way."""

    def passed(check: str, way: str) -> float:
        return float(sum(_verdicts(trials, check)[way].values()))

    trials, no_code = "inframind/05_stress.jsonl", "no code imposed"
    return {
        "requests": float(len(_verdicts(trials, "syntax valid")["base"])),
        "base_parsed": passed("syntax valid", "base"),
        "shown_parsed": passed("syntax valid", "shown examples"),
        "tuned_parsed": passed("syntax valid", "tuned"),
        "tuned_names_known": passed("no invented name", "tuned"),
        "tuned_all_right": passed("all of it right", "tuned"),
        "no_code_wanted": float(len(_verdicts(trials, no_code)["base"])),
        "base_without_code": passed(no_code, "base"),
        "tuned_without_code": passed(no_code, "tuned"),
    }


def entropy_of_pass_or_fail(rate: float) -> float:
    """Bits that one verdict carries at most, when a share `rate` of them is a pass."""
    shares = [share for share in (rate, 1 - rate) if share > 0]
    return -sum(share * log2(share) for share in shares)


def bits_of_rewards() -> dict[str, float]:
    """What rewards can teach at most, beside the numbers of a rank-1 adapter.

    A policy gradient learns of an episode no more than its verdict tells.
    """
    one_in_ten = entropy_of_pass_or_fail(0.1)
    return {
        "bits_at_half": entropy_of_pass_or_fail(0.5),
        "bits_at_one_in_ten": one_in_ten,
        "episodes": float(_EPISODES),
        "bits_of_run": _EPISODES * one_in_ten,
        "rank_1_parameters": float(
            load_architectures()["llama-3.1-8b"].lora_parameters(1)
        ),
    }


def _runs(method: str, path: Path) -> list[dict[str, Any]]:
    """The runs of a method of lesson 09, by seed; CourseError if there is none."""
    runs = read_json(path, _AGAIN).get("runs", [])
    found = [run for run in runs if run["method"] == method]
    if not found:
        there = ", ".join(dict.fromkeys(run["method"] for run in runs)) or "none"
        raise CourseError(
            f"{path.name} has no run of {method!r}; expected one for each seed, found "
            f"runs of: {there}. It was not measured, or a run was stopped. {_AGAIN}"
        )
    return sorted(found, key=lambda run: run["seed"])


def _mean(runs: list[dict[str, Any]], key: str) -> float:
    return fmean(run[key] for run in runs)


def _forgotten(runs: list[dict[str, Any]]) -> float:
    """Nats a token that general text costs more after training than before."""
    return _mean(runs, "general_after") - _mean(runs, "general_before")


def _minus_lora(runs: list[dict[str, Any]], lora: list[dict[str, Any]]) -> list[float]:
    """Test loss less LoRA's, seed by seed."""
    pairs = zip(runs, lora, strict=True)
    return [run["test_nats"] - rival["test_nats"] for run, rival in pairs]


def _interval(numbers: list[float]) -> tuple[float, float]:
    """95 % interval of the mean, Student's t."""
    quantile = float(t.ppf(0.975, len(numbers) - 1))
    half = quantile * stdev(numbers) / sqrt(len(numbers))
    return fmean(numbers) - half, fmean(numbers) + half


def full_against_lora(path: Path = _PEFT_RUNS) -> dict[str, float]:
    """Full tuning and LoRA on lesson 08's task, each with a rate of its own.

    Means over the seeds; differences are full minus LoRA, seed by seed, with the least
    and the greatest of them, and the 95 % interval of their mean (Student's t).
    """
    lora, full = _runs("LoRA", path), _runs("full", path)
    seconds = read_json(path, _AGAIN)["seconds_a_row"]
    by_seed = _minus_lora(full, lora)
    low, high = _interval(by_seed)
    values = {
        "seeds": len(by_seed),
        "requests": lora[0]["exact_of"],
        "rate_ratio": lora[0]["rate"] / full[0]["rate"],
        "nats_apart": fmean(by_seed),
        "least_apart": min(by_seed),
        "most_apart": max(by_seed),
        "low_apart": low,
        "high_apart": high,
        "step_ratio": seconds["LoRA"] / seconds["full"],
    }
    for name, runs in (("lora", lora), ("full", full)):
        values[f"{name}_exact"] = _mean(runs, "exact")
        values[f"{name}_nats"] = _mean(runs, "test_nats")
        values[f"{name}_forgotten"] = _forgotten(runs)
        values[f"{name}_mib"] = _mean(runs, "saved_activation_mib")
    return {key: float(value) for key, value in values.items()}


_COMPARED = {  # key of its values, and the name of the method in the file
    "lora": "LoRA",
    "dora": "DoRA",
    "qlora": "QLoRA",
    "pissa": "PiSSA",
    "lora_plus": "LoRA+",
    "adalora": "AdaLoRA",
    "ia3": "IA3",
    "prompt": "prompt tuning",
    "prefix": "prefix tuning",
    "p_tuning": "P-tuning",
    "rank_1": "rank 1",
    "rank_128": "rank 128",
}
_VARIANTS = ("dora", "qlora", "pissa", "lora_plus")


def peft_methods_compared(path: Path = _PEFT_RUNS) -> dict[str, float]:
    """Test loss of lesson 09's methods, and which are seen to differ from LoRA.

    Nats a token of the answer, means over the seeds. `variants_apart` is the greatest
    distance of a variant of LoRA from LoRA, `seeds_apart` the range of LoRA's seeds;
    `seen_better` and `seen_behind` count methods whose difference from LoRA has a 95 %
    interval on one side of zero. `empty_exact` of the test requests want no look-up.
    """
    runs = {key: _runs(name, path) for key, name in _COMPARED.items()}
    nats = {key: _mean(of, "test_nats") for key, of in runs.items()}
    seeds = [run["test_nats"] for run in runs["lora"]]
    ends = [
        _interval(_minus_lora(of, runs["lora"]))
        for key, of in runs.items()
        if key != "lora"
    ]
    requests = DATA_FOLDER / "movie_search" / "test.jsonl"
    asked = read_jsonl(requests, "Restore it from git.")[::2]
    return {
        **{f"{key}_nats": value for key, value in nats.items()},
        "prompt_exact": _mean(runs["prompt"], "exact"),
        "empty_exact": float(sum(not row["query"] for row in asked)),
        "variants_apart": max(abs(nats[key] - nats["lora"]) for key in _VARIANTS),
        "seeds_apart": max(seeds) - min(seeds),
        "seen_better": float(sum(high < 0 for _, high in ends)),
        "seen_behind": float(sum(low > 0 for low, _ in ends)),
    }


FORMULAS: dict[str, Callable[[], dict[str, float]]] = {
    "C036": full_batch_on_mistral,
    "C043": epoch_of_all_alpaca,
    "C077": terraform_of_base_and_tuned,
    "C190": conversation_cut_into_rows,
    "C191": form_and_facts_of_lesson_03,
    "C200": search_served,
    "C218": full_against_lora,
    "C219": bits_of_rewards,
    "C220": peft_methods_compared,
    **preferences.FORMULAS,
    **preference_runs.FORMULAS,
    **foundations.FORMULAS,
    **pretraining_runs.FORMULAS,
}


def evidence_rows() -> list[dict[str, Any]]:
    """What the formulas give, as rows of the evidence."""
    claims = load_claims()
    return [
        {
            "claim": claim,
            "key": key,
            "value": float(value),
            "unit": claims[claim].values[key].unit,
            "notebook": "formulas",
            "profile": "cpu",
            "kind": claims[claim].values[key].kind,
        }
        for claim, formula in FORMULAS.items()
        for key, value in formula().items()
    ]

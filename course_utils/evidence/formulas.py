"""Values of claims that no notebook records: they follow from what is committed."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from course_utils.model.architectures import load_architectures
from course_utils.places import PROJECT_ROOT, read_json
from course_utils.recipes.book import ALPACA_MISTRAL

_RESULTS = PROJECT_ROOT / "notebooks" / "results"
_ALPACA_ROWS = 52_002  # tatsu-lab/alpaca, on the hub
_LOGGED_SECONDS = 56 * 60 + 47  # of the updates below, in the log of mistral-7b.ipynb
_LOGGED_UPDATES = 94
_TURNS = 5  # exchanges of a conversation


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
    plan = ALPACA_MISTRAL.plan
    updates = ceil(ceil(_ALPACA_ROWS / plan.batch_size) / plan.accumulation_steps)
    hours = updates * _LOGGED_SECONDS / _LOGGED_UPDATES / 3600
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


FORMULAS: dict[str, Callable[[], dict[str, float]]] = {
    "C036": full_batch_on_mistral,
    "C043": epoch_of_all_alpaca,
    "C190": conversation_cut_into_rows,
    "C191": form_and_facts_of_lesson_03,
}

"""How close are the next-token scores of two forms of one model?

Text says little: one flipped token makes two answers look unrelated, and two broken
models can both say "Paris". The distributions behind the tokens are compared
instead, at every position of held-out answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from scipy.special import log_softmax
from transformers import PreTrainedModel

from course_utils.data.tokens import IGNORE_INDEX
from course_utils.gguf import llama_cpp
from course_utils.model.architectures import Architecture

_RESAMPLES = 2000
_SMALL_MODEL = 2e9  # parameters; above it llama.cpp takes about a second a token
_REAL_MODEL = 1e7  # below it a model is a random one of the tests


@dataclass(frozen=True)
class ScoredRows:
    """Held-out rows, cut down to what is compared."""

    rows: list[list[int]]  # token ids, prompt and answer, without the last token
    starts: list[int]  # of each row the first position that predicts the answer
    targets: list[np.ndarray]  # the answer's tokens, which those positions predict

    @property
    def positions(self) -> int:
        """Predicted tokens in all rows."""
        return sum(map(len, self.targets))


def row_budget(architecture: Architecture, most: int) -> int:
    """How many rows or requests to put to llama.cpp, which computes on the CPU.

    All of them for a small model; a quarter for a large one, where each costs much,
    and for a random one, where each is worth nothing.
    """
    if _REAL_MODEL <= architecture.parameters < _SMALL_MODEL:
        return most
    return max(1, most // 4)


def scored_rows(tokenised: Sequence[dict[str, list[int]]]) -> ScoredRows:
    """The positions that carry loss in rows of `to_dataset`; ValueError without one."""
    if not len(tokenised):
        raise ValueError("No row to compare on; at least one is needed.")
    rows, starts, targets = [], [], []
    for row in tokenised:
        first = next(i for i, x in enumerate(row["labels"]) if x != IGNORE_INDEX)
        rows.append(list(row["input_ids"][:-1]))  # nothing follows the last one
        starts.append(first - 1)
        targets.append(np.array(row["input_ids"][first:]))
    return ScoredRows(rows, starts, targets)


def model_log_probabilities(
    model: PreTrainedModel, scored: ScoredRows
) -> list[np.ndarray]:
    """ln p of every token at each scored position, one (positions, vocab) a row.

    In fp32 whatever the model computes in: 4 bytes a token of the vocabulary and
    position, so 826 positions over 49,152 tokens take 0.16 GB.
    """
    found = []
    for row, start in zip(scored.rows, scored.starts, strict=True):
        with torch.inference_mode():
            tokens = torch.tensor([row], device=model.device)  # (1, seq)
            logits = model(tokens).logits[0, start:].float()
        found.append(torch.log_softmax(logits, -1).cpu().numpy())
    return found


def gguf_log_probabilities(gguf: Path, scored: ScoredRows) -> list[np.ndarray]:
    """The same by llama.cpp, from a file; see `llama_cpp.tokenize_and_score`."""
    rows, starts = scored.rows, scored.starts
    _, logits = llama_cpp.tokenize_and_score(gguf, rows=rows, starts=starts)
    return [log_softmax(row, axis=-1) for row in logits]


def divergence(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """KL(p ‖ q) at each position, in nats: what it costs to take q for p.

    Both are (positions, vocab), p of the model that is right by definition; ValueError
    where the shapes differ.
    """
    if log_p.shape != log_q.shape:
        raise ValueError(
            f"Scores of shape {log_p.shape} and {log_q.shape} cannot be compared: "
            "expected (positions, vocab) twice. Another tokenizer, or a padded vocab?"
        )
    first, second = (torch.from_numpy(x).double() for x in (log_p, log_q))
    p, q = first.exp(), second.exp()
    # q - p sums to zero, and makes every term at least zero: rounding of nearly
    # equal scores cannot turn the sum negative.
    return (p * (first - second) + (q - p)).sum(-1).numpy()


@dataclass(frozen=True)
class Fidelity:
    """One form of a model against its reference."""

    kl: float  # mean KL divergence, nats a token
    kl_interval: tuple[float, float]  # 95 %, whole rows resampled: tokens hang together
    agreement: float  # share of positions where both put the same token first
    agreement_interval: tuple[float, float]  # 95 %, whole rows resampled as well
    perplexity: float  # of the other form, a token of the answers
    perplexity_ratio: float  # over that of the reference; 1 means nothing lost
    rows: int  # answers compared
    positions: int  # tokens compared

    def as_row(self) -> dict[str, str]:
        """For a table: each number with its interval, or beside the reference's."""
        return {
            "KL, nats a token": _spread("{:.2g}", self.kl, self.kl_interval),
            "same top-1": _spread("{:.1%}", self.agreement, self.agreement_interval),
            "perplexity": f"{self.perplexity:.2f} (× {self.perplexity_ratio:.3f})",
        }


def _spread(form: str, value: float, interval: tuple[float, float]) -> str:
    ends = " … ".join(form.format(end) for end in interval)
    return form.format(value) + ("" if np.isnan(interval).any() else f" ({ends})")


def compare_distributions(
    reference: Sequence[np.ndarray],
    other: Sequence[np.ndarray],
    scored: ScoredRows,
    *,
    seed: int = 0,
) -> Fidelity:
    """Hold the log-probabilities of one form, row by row, against the reference's.

    `scored` has the tokens that really followed; `seed` is of the resampling. Raises
    ValueError if the two differ in rows, positions or vocabulary.
    """
    pairs = list(zip(reference, other, strict=True))
    per_row = [divergence(p, q) for p, q in pairs]
    same = [p.argmax(-1) == q.argmax(-1) for p, q in pairs]
    nll = _mean_nll(other, scored)
    return Fidelity(
        kl=float(np.concatenate(per_row).mean()),
        kl_interval=_interval_over_rows(per_row, seed),
        agreement=float(np.concatenate(same).mean()),
        agreement_interval=_interval_over_rows(same, seed),
        perplexity=float(np.exp(nll)),
        perplexity_ratio=float(np.exp(nll - _mean_nll(reference, scored))),
        rows=len(pairs),
        positions=scored.positions,
    )


def _mean_nll(log_q: Sequence[np.ndarray], scored: ScoredRows) -> float:
    """Mean of -ln q(next token), in nats a token."""
    rows = zip(log_q, scored.targets, strict=True)
    taken = [row[np.arange(len(targets)), targets] for row, targets in rows]
    return -float(np.concatenate(taken).astype(np.float64).mean())


def _interval_over_rows(
    per_row: Sequence[np.ndarray], seed: int
) -> tuple[float, float]:
    """95 % bootstrap interval of the mean; NaN where rows show no spread at all."""
    if len({values.mean() for values in per_row}) < 2:
        return float("nan"), float("nan")
    return stats.bootstrap(
        ([values.sum() for values in per_row], [len(values) for values in per_row]),
        lambda s, n, axis: s.sum(axis) / n.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval

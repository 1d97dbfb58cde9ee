"""What did tuning cost elsewhere? Bits per byte on other text, before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from course_utils.text_scores import WINDOW, Passage, Score, score

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Change:
    """Bits per byte of the same passages before and after, in pairs.

    `low` and `high` bound the 95 % interval of after - before.
    """

    before: float
    after: float
    low: float
    high: float
    passages: int

    @property
    def rise(self) -> float:
        """After - before: above zero something was forgotten, below it was gained."""
        return self.after - self.before

    def __str__(self) -> str:
        return (
            f"{self.before:.3f} → {self.after:.3f} bits per byte, {self.rise:+.3f} "
            f"(95 % interval {self.low:+.3f} to {self.high:+.3f}, n = {self.passages})"
        )


def change(before: Score, after: Score) -> Change:
    """Compare two models on the same passages.

    The difference is a ratio of sums: bits over bytes. Its interval takes passages
    as the sample (Student's t, linearised ratio), so it speaks of further passages
    of the same kind.

    Raises:
        ValueError: If the passages are not the same.
    """
    if before.utf8_bytes != after.utf8_bytes:
        raise ValueError(
            f"{len(before.nats)} and {len(after.nats)} passages of "
            f"{sum(before.utf8_bytes)} and {sum(after.utf8_bytes)} bytes: expected the "
            "same passages. Score both models on one list."
        )
    sizes = np.array(after.utf8_bytes, dtype=float)
    bits = (np.array(after.nats) - np.array(before.nats)) / math.log(2)
    rise, number = bits.sum() / sizes.sum(), len(sizes)
    half = math.inf
    if number > 1:
        residuals = bits - rise * sizes
        error = math.sqrt((residuals**2).sum() / (number * (number - 1)))
        t = float(stats.t.ppf((1 + CONFIDENCE) / 2, number - 1))
        half = t * error / sizes.mean()
    low, high = float(rise - half), float(rise + half)
    return Change(before.bits_per_byte, after.bits_per_byte, low, high, number)


class ForgettingMeter(TrainerCallback):
    """Scores texts by name, on demand and when a training that it is added to ends."""

    def __init__(
        self, texts: Mapping[str, Sequence[Passage]], max_length: int = WINDOW
    ):
        self.texts = texts
        self.max_length = max_length
        self.at_the_end: dict[str, Score] = {}

    def read(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, Score]:
        """Score all texts with a model."""
        return {
            name: score(model, tokenizer, passages, max_length=self.max_length)
            for name, passages in self.texts.items()
        }

    def on_train_end(self, args, state, control, model=None, **kwargs):
        """Keep the reading of the trained model, before it is freed."""
        self.at_the_end = self.read(model, kwargs["processing_class"])

"""Loss curves: from a trainer's log to numbers and units.

What a curve means is said by `diagnosis`; what is normal, by `reference`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

_LONGEST_SPAN = 9  # updates; batches of a few rows jump by a tenth of the loss
_UPDATES_PER_SPAN = 8  # a short run is smoothed less, or the lag would hide its shape


def perplexity(nats_per_token: float) -> float:
    """e to the loss: among how many equally likely tokens the model hesitates.

    Comparable between models that cut the same text into the same tokens.
    """
    return math.exp(nats_per_token)


def bits_per_byte(nats_per_token: float, tokens: int, utf8_bytes: int) -> float:
    """The loss in bits for each byte of text, whatever the tokenizer.

    The loss is a mean over the tokens, which spell so many bytes.
    """
    if utf8_bytes < 1:
        raise ValueError(f"{utf8_bytes} bytes, at least one needed. Is the text empty?")
    return nats_per_token * tokens / utf8_bytes / math.log(2)


def guess_level(vocabulary: int) -> float:
    """Loss of a model that finds all tokens equally likely: ln V, in nats."""
    return math.log(vocabulary)


def span_for(points: int) -> int:
    """Over how many points so long a line is smoothed: an eighth of it, 1 to 9."""
    return min(_LONGEST_SPAN, max(1, points // _UPDATES_PER_SPAN))


def smooth(
    values: Sequence[float] | np.ndarray | pd.Series, span: float | None = None
) -> np.ndarray:
    """Exponentially weighted mean of a jumping line; NaN is passed over.

    Each point weighs 1 - 2 / (span + 1) times as much as the one after it, and the
    weights sum to one, so the line starts at the data and not at zero. It lags
    behind a falling curve by about half the span, which is `span_for` so many points
    unless given; a span of 1 leaves the line as it is.
    """
    span = span_for(len(values)) if span is None else span
    return pd.Series(values, dtype=float).ewm(span=span).mean().to_numpy()


@dataclass(frozen=True)
class LossCurves:
    """What a run logged, by update: logged values only, so a NaN was logged as NaN."""

    training: pd.Series  # loss of the update's own batch, nats per token with loss
    validation: pd.Series  # loss on held-out rows, same unit; may be empty
    grad_norm: pd.Series  # length of the gradient before clipping; may be empty
    learning_rate: pd.Series  # may be empty

    @classmethod
    def from_history(cls, history: Iterable[Mapping[str, Any]]) -> LossCurves:
        """Read a trainer's `log_history`, in any order; a ValueError without any loss.

        A step that was logged twice, as after a resume, counts as logged last.
        """
        rows = [row for row in history if "step" in row]

        def logged(key: str) -> pd.Series:
            found = {int(row["step"]): float(row[key]) for row in rows if key in row}
            return pd.Series(found, dtype=float).sort_index()

        curves = cls(*map(logged, ("loss", "eval_loss", "grad_norm", "learning_rate")))
        if curves.training.empty and curves.validation.empty:
            raise ValueError(
                f"No loss in a history of {len(rows)} rows with the keys "
                f"{sorted({key for row in rows for key in row})}. Expected "
                "`trainer.state.log_history`, or `history` in a run.json. "
                "Was logging switched off (logging_strategy='no')?"
            )
        return curves

    @property
    def smoothed(self) -> pd.Series:
        """The training loss with its jumps smoothed out."""
        return pd.Series(smooth(self.training), self.training.index)

    @property
    def table(self) -> pd.DataFrame:
        """All series side by side, with the smoothed training loss."""
        columns = {"training": self.training, "smoothed": self.smoothed, **vars(self)}
        return pd.DataFrame(columns).rename_axis("step")

    def best(self) -> tuple[int, float]:
        """Step and value of the lowest finite validation loss, or a ValueError."""
        finite = self.validation[np.isfinite(self.validation)]
        if finite.empty:
            raise ValueError(
                f"{len(self.validation)} validation losses, none of them finite, so "
                "there is no best one. Give the trainer an eval_dataset and an "
                "eval_strategy, or look at `diagnose` first."
            )
        return int(finite.idxmin()), float(finite.min())

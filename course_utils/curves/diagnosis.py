"""Says in words what a loss curve shows, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from course_utils.curves.losses import LossCurves, span_for

FEWEST_POINTS = 4  # of training loss, also behind a smoothed one: fewer are noise
_FEWEST_HELD_OUT = 3  # validation losses that show a trend without the training's
_OVERFIT_RISE = 0.05  # of the fall before it; seeds differ by less, see `reference`
_STILL_FALLING = 0.05  # of the whole fall, lost in the last quarter of the run
_FLAT_FALL = 0.01  # of the first loss
_GREW = 1.25  # times the first loss; no healthy run ends so far above its start
_LOST_AGAIN = 0.5  # of what was gained, on a line that is smoothed

WAY_OUT = {
    "not a number": "halve the learning rate, lengthen the warm-up; with fp16 check "
    "that loss scaling is on. The adapter is lost: go back to a checkpoint.",
    "diverged": "the learning rate is too high: divide it by three to ten, and look "
    "at the gradient norm of the updates before the rise.",
    "overfit": "stop at the best validation loss, or take more rows or fewer epochs.",
    "flat": "nothing is learnt: is the adapter in the optimizer, is the learning rate "
    "above zero and large enough, do the labels carry loss?",
    "still falling": "train longer, or raise the learning rate.",
    "healthy": "nothing to mend; compare its end with the reference band.",
    "too short": "log each update (logging_steps=1), evaluate on held-out rows, and "
    "let the run go on.",
}


@dataclass(frozen=True)
class Diagnosis:
    """What a curve shows."""

    verdict: str  # a key of WAY_OUT
    reason: str  # with the numbers that led to it
    caveats: tuple[str, ...]  # what could not be judged, and why

    @property
    def way_out(self) -> str:
        """The next step."""
        return WAY_OUT[self.verdict]

    def __str__(self) -> str:
        said = " ".join((self.reason, *self.caveats))
        return f"{self.verdict.upper()}. {said} What to do: {self.way_out}"


def diagnose(history: Iterable[Mapping[str, Any]] | LossCurves) -> Diagnosis:
    """Read a curve, or the `trainer.state.log_history` that it is made from.

    The first verdict that fits is given, the worse first. Without validation losses
    overfitting cannot be seen, and the diagnosis says so.
    """
    curves = history
    if not isinstance(curves, LossCurves):
        curves = LossCurves.from_history(curves)
    found = ((verdict, test(curves)) for verdict, test in _TESTS.items())
    verdict, reason = next((verdict, reason) for verdict, reason in found if reason)
    caveats = () if verdict == "not a number" else tuple(_caveats(curves))
    return Diagnosis(verdict, reason, caveats)


def _caveats(curves: LossCurves) -> Iterator[str]:
    if len(curves.validation) < 2:
        yield (
            f"With {len(curves.validation)} validation losses overfitting cannot be "
            "seen: evaluate on held-out rows."
        )
    skipped = int((~np.isfinite(curves.grad_norm)).sum())
    if skipped:
        yield (
            f"{skipped} updates had a gradient that was not finite; with fp16 loss "
            "scaling a few of them at the start are usual, and skipped."
        )


# Each of these tells why its verdict fits, or nothing when it does not.


def _not_a_number(curves: LossCurves) -> str | None:
    """The trainer logs a NaN loss as 0 (logging_nan_inf_filter), so 0 counts too."""
    for name in ("training", "validation"):
        series = getattr(curves, name)
        bad = series[~np.isfinite(series) | (series == 0)]
        if len(bad):
            value = bad.iloc[0]
            hidden = " (the trainer's log writes NaN as 0)" if value == 0 else ""
            return f"The {name} loss at update {bad.index[0]} is {value:g}{hidden}."
    norms = curves.grad_norm
    if len(norms) and np.isnan(norms.iloc[-1]):
        return (
            f"The gradient norm at update {norms.index[-1]}, the last one, is nan; the "
            "trainer's log may show a mean of earlier losses beside it."
        )


def _too_short(curves: LossCurves) -> str | None:
    """Too few updates, or too few to be smoothed and nothing else to judge by."""
    points, held_out = len(curves.training), len(curves.validation)
    if points < FEWEST_POINTS:
        least = f"{FEWEST_POINTS} are the least that show a trend"
        return f"{points} training losses are logged, {least}."
    if held_out < _FEWEST_HELD_OUT and span_for(points) < FEWEST_POINTS:
        return (
            f"{points} training losses are too few to tell a trend from the jumps of "
            f"single batches, and there are {held_out} validation losses."
        )


def _diverged(curves: LossCurves) -> str | None:
    """Never while the validation loss falls: batches jump, held-out rows do not."""
    points, held_out = len(curves.training), curves.validation
    falls = len(held_out) > 1 and held_out.iloc[-1] <= held_out.min()
    if points < FEWEST_POINTS or falls:
        return None
    first, lowest, last = _levels(curves)
    lost, jumps = last - lowest, 3 * _jump(curves.training)
    is_lost = lost > max(_LOST_AGAIN * (first - lowest), jumps)
    if last > _GREW * first or (is_lost and span_for(points) >= FEWEST_POINTS):
        down = f"Training loss went from {first:.2f} down to {lowest:.2f}"
        return f"{down} and up again to {last:.2f}."


def _overfit(curves: LossCurves) -> str | None:
    held_out, trained = curves.validation, curves.smoothed
    if len(held_out) < 2:
        return None
    step, best = curves.best()
    then, now = float(np.interp(step, trained.index, trained)), trained.iloc[-1]
    margin = _OVERFIT_RISE * (max(held_out.iloc[0] - best, 0.0) or then - now)
    if held_out.iloc[-1] - best > margin and now < then:
        return (
            f"Validation loss was best at update {step} ({best:.2f}) and ended at "
            f"{held_out.iloc[-1]:.2f}, while training loss went on falling to "
            f"{now:.2f}."
        )


def _flat(curves: LossCurves) -> str | None:
    if len(curves.validation) >= 2:  # always the same rows, so it hardly jumps
        first, last = curves.validation.iloc[0], curves.validation.iloc[-1]
        name, margin = "Validation", _FLAT_FALL * first
    else:
        first, _, last = _levels(curves)
        name, margin = "Training", max(_FLAT_FALL * first, 2 * _jump(curves.training))
    if first - last < margin:
        moved = f"{name} loss moved from {first:.3f} to {last:.3f}"
        return f"{moved}, less than the {margin:.3f} that would count as learning."


def _still_falling(curves: LossCurves) -> str | None:
    judged, name = _judged(curves)
    start, end = judged.index[0], judged.index[-1]
    late = float(np.interp(start + 0.75 * (end - start), judged.index, judged))
    fall, recent = judged.iloc[0] - judged.iloc[-1], late - judged.iloc[-1]
    if recent > _STILL_FALLING * fall > 0:
        fell = f"The {name} loss fell by {fall:.2f} in all and by {recent:.2f} of that"
        return f"{fell} in the last quarter of the run."


def _healthy(curves: LossCurves) -> str:
    judged, name = _judged(curves)
    fell = f"The {name} loss fell from {judged.iloc[0]:.2f} to {judged.iloc[-1]:.2f}"
    return f"{fell} and has nearly settled."


_TESTS = {
    "not a number": _not_a_number,
    "diverged": _diverged,
    "too short": _too_short,
    "overfit": _overfit,
    "flat": _flat,
    "still falling": _still_falling,
    "healthy": _healthy,
}


def _levels(curves: LossCurves) -> tuple[float, float, float]:
    """First, lowest and last level of the training loss, smoothed where it is long."""
    first = curves.training.iloc[: max(1, len(curves.training) // 20)].mean()
    smoothed = curves.smoothed
    return float(first), float(smoothed.min()), float(smoothed.iloc[-1])


def _jump(training: pd.Series) -> float:
    """Typical distance of a logged loss from its trend: robust, from differences."""
    steps = np.diff(training)
    return float(np.median(np.abs(steps - np.median(steps)))) * 1.48 / np.sqrt(2)


def _judged(curves: LossCurves) -> tuple[pd.Series, str]:
    """Validation where there is enough of it, else smoothed training."""
    if len(curves.validation) >= _FEWEST_HELD_OUT:
        return curves.validation, "validation"
    return curves.smoothed, "smoothed training"

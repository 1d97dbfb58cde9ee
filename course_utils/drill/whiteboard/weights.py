"""On the board: a LoRA layer, and a quantizer of NF4's kind."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from course_utils.drill.whiteboard.board import Task
from course_utils.exercises.checking import Case, Exercise

# bitsandbytes' table (its source, backends/utils.py, 0.50.2), rounded to four digits.
NF4_LEVELS = [
    *(-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0),
    *(0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.723, 1.0),
]

Arrays = tuple[np.ndarray, ...]


def lora_layer(
    x: np.ndarray,
    weight: np.ndarray,
    rank: int,
    alpha: float,
    trained: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[np.ndarray, ...]:
    """Output (batch, outputs), merged weight (outputs, inputs), A, B.

    x is (batch, inputs), weight (outputs, inputs), as nn.Linear keeps it.
    trained is A (rank, inputs) and B (outputs, rank); None before training.
    """
    outputs, inputs = weight.shape
    if trained is None:
        a = np.random.default_rng(0).normal(size=(rank, inputs)) / rank
        b = np.zeros((outputs, rank))
    else:
        a, b = trained
    scale = alpha / rank
    output = x @ weight.T + scale * (x @ a.T) @ b.T
    return output, weight + scale * b @ a, a, b


def _start_of(drawn_a: bool, drawn_b: bool) -> Callable[..., Arrays]:
    """The layer, with other starts than LoRA's."""

    def layer(x: Any, weight: Any, rank: Any, alpha: Any, trained: Any) -> Arrays:
        a, b = trained or _drawn(weight.shape, rank)
        start = None if trained else (a * drawn_a, b * drawn_b)
        return lora_layer(x, weight, rank, alpha, start or trained)

    return layer


def _drawn(shape: tuple[int, int], rank: int) -> Arrays:
    rng = np.random.default_rng(1)
    return rng.normal(size=(rank, shape[1])), rng.normal(size=(shape[0], rank))


def _scaled_by(scale: Callable[[int, float], float]) -> Callable[..., Arrays]:
    """The layer, with another factor than alpha / rank."""

    def layer(x: Any, weight: Any, rank: Any, alpha: Any, trained: Any) -> Arrays:
        return lora_layer(x, weight, rank, rank * scale(rank, alpha), trained)

    return layer


def _merged_as(merge: Callable[[Any, Any, float], Any]) -> Callable[..., Arrays]:
    """The layer, whose merged weight is made of W, BA and the scale."""

    def layer(x: Any, weight: Any, rank: Any, alpha: Any, trained: Any) -> Arrays:
        output, _, a, b = lora_layer(x, weight, rank, alpha, trained)
        return output, merge(weight, b @ a, alpha / rank), a, b

    return layer


def _counted_twice(x: Any, weight: Any, rank: Any, alpha: Any, trained: Any) -> Arrays:
    _, merged, a, b = lora_layer(x, weight, rank, alpha, trained)
    return lora_layer(x, merged, rank, alpha, trained)[0], merged, a, b


def _weight_not_turned(
    x: Any, weight: Any, rank: Any, alpha: Any, trained: Any
) -> Arrays:
    output, merged, a, b = lora_layer(x, weight, rank, alpha, trained)
    return output - x @ weight.T + x @ weight, merged, a, b


def _observed(layer: Callable[..., Any]) -> Callable[..., Any]:
    """What can be compared: a random start has no expected numbers."""

    @wraps(layer)
    def call(x: Any, weight: Any, rank: Any, alpha: Any, trained: Any) -> Any:
        made = layer(x, weight, rank, alpha, trained)
        if not isinstance(made, tuple | list) or len(made) != 4:
            return made
        output, merged, a, b = made
        if trained:
            return output, merged
        start = f"A {_told(a)}, B {_told(b)}"
        return (output, merged, start) if "B zero" in start else start

    return call


def _told(matrix: Any) -> str:
    if not hasattr(matrix, "shape"):
        return "no array"
    kind = "nonzero" if float(abs(matrix).sum()) else "zero"
    return f"{kind} of shape {tuple(matrix.shape)}"


LORA = Task(
    slug="lora-layer",
    title="A LoRA layer",
    topic="lora",
    task=(
        "Write a linear layer with a LoRA adapter. Its weight W is (outputs, inputs) "
        "and stays as it is; A is (rank, inputs) and B is (outputs, rank). The update "
        "of W is B A, scaled by alpha / rank. Before training, `trained` is None: make "
        "A and B so that the layer gives what W alone gives and can still learn. "
        "Return the output for x (batch, inputs), computed without forming B A; then "
        "the merged weight, A and B."
    ),
    hint=(
        "One of the two matrices starts at zero, the other at random. The gradient of "
        "each is a product with the other one."
    ),
    observed=_observed,
    exercise=Exercise(
        solution=lora_layer,
        cases=(
            Case(
                ([[1.0, 2.0]], [[1.0, 2.0], [0.0, -1.0]], 1, 8.0, None),
                (
                    [[5.0, -2.0]],
                    [[1.0, 2.0], [0.0, -1.0]],
                    "A nonzero of shape (1, 2), B zero of shape (2, 1)",
                ),
            ),
            Case(
                (
                    [[1.0, 2.0]],
                    [[1.0, 2.0], [0.0, -1.0]],
                    2,
                    8.0,
                    ([[1.0, 0.0], [0.0, 1.0]], [[1.0, 3.0], [0.0, 1.0]]),
                ),
                # B A = B, so the update gives 4 [7, 2], and W gives [5, -2]
                ([[33.0, 6.0]], [[5.0, 14.0], [0.0, 3.0]]),
            ),
            Case(
                (
                    [[1.0, 0.0], [0.0, 1.0]],
                    [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]],
                    1,
                    3.0,
                    ([[1.0, 2.0]], [[1.0], [0.0], [-1.0]]),
                ),
                # B A = [[1, 2], [0, 0], [-1, -2]]
                (
                    [[3.0, 1.0, -3.0], [6.0, 0.0, -4.0]],
                    [[3.0, 6.0], [1.0, 0.0], [-3.0, -4.0]],
                ),
            ),
        ),
        mistakes={
            "B must start at zero, or the layer begins as another one than the base.": (
                _start_of(drawn_a=True, drawn_b=True)
            ),
            "A and B are exchanged: A starts at random, and B at zero.": (
                _start_of(drawn_a=False, drawn_b=True)
            ),
            "A is zero as well: each gradient is a product with the other matrix, so "
            "neither would ever move.": _start_of(drawn_a=False, drawn_b=False),
            "W is (outputs, inputs), so the base gives x @ W.T.": _weight_not_turned,
            "the scale alpha / rank is missing.": _scaled_by(lambda rank, alpha: 1.0),
            "the scale is upside down: it is alpha / rank.": (
                _scaled_by(lambda rank, alpha: rank / alpha)
            ),
            "the update is scaled by alpha alone; divide by the rank.": (
                _scaled_by(lambda rank, alpha: alpha)
            ),
            "the output counts the update twice, in the merged weight and beside it.": (
                _counted_twice
            ),
            "the merged weight lacks the scale that the output has.": (
                _merged_as(lambda weight, update, scale: weight + update)
            ),
            "the merged weight is scaled twice.": (
                _merged_as(lambda weight, update, scale: weight + scale**2 * update)
            ),
            "the merge is transposed: W and B A are both (outputs, inputs).": (
                _merged_as(lambda weight, update, scale: weight + scale * update.T)
            ),
            "that is the update alone: merging adds it to W.": (
                _merged_as(lambda weight, update, scale: scale * update)
            ),
        },
    ),
)


def block_quantize(
    weights: np.ndarray, levels: np.ndarray, block_size: int
) -> tuple[np.ndarray, ...]:
    """Codes (n,), absmax of each block (n / block_size,), restored weights (n,).

    weights is (n,), n a multiple of block_size; levels is (16,), from -1 to 1.
    """
    blocks = weights.reshape(-1, block_size)
    scales = abs(blocks).max(axis=1)
    divisors = np.where(scales > 0, scales, 1.0)
    distances = abs((blocks / divisors[:, None])[..., None] - levels)
    codes = distances.argmin(axis=-1)
    restored = levels[codes] * scales[:, None]
    return codes.reshape(-1), scales, restored.reshape(-1)


def _with_scales(scale: Callable[[Any], Any]) -> Callable[..., Arrays]:
    """The quantizer, with other scales of the blocks than their absmax."""

    def quantize(weights: Any, levels: Any, block_size: Any) -> Arrays:
        scales = scale(weights.reshape(-1, block_size))
        codes = _nearest(weights / np.repeat(scales, block_size), levels)
        return codes, scales, levels[codes] * np.repeat(scales, block_size)

    return quantize


def _nearest(scaled: Any, levels: Any) -> Any:
    return abs(scaled[:, None] - levels).argmin(axis=1)


def _with_codes(code: Callable[[Any, Any], Any]) -> Callable[..., Arrays]:
    """The quantizer, with other codes than those of the nearest levels."""

    def quantize(weights: Any, levels: Any, block_size: Any) -> Arrays:
        _, scales, _ = block_quantize(weights, levels, block_size)
        wide = np.repeat(scales, block_size)
        codes = code(weights / np.where(wide > 0, wide, 1.0), levels)
        return codes, scales, levels[codes] * wide

    return quantize


def _by_columns(weights: Any, levels: Any, block_size: Any) -> Arrays:
    blocks = weights.reshape(-1, block_size)
    scales = abs(blocks).max(axis=0)
    codes = _nearest((blocks / scales).reshape(-1), levels)
    return codes, scales, levels[codes] * np.tile(scales, len(blocks))


def _without_scale(weights: Any, levels: Any, block_size: Any) -> Arrays:
    codes, scales, _ = block_quantize(weights, levels, block_size)
    return codes, scales, levels[codes]


QUANTIZER = Task(
    slug="nf4-block-quantizer",
    title="A quantizer of NF4's kind",
    topic="quantization",
    task=(
        "Quantize a vector of weights (n,) in blocks, as NF4 does, and restore it. "
        "Each block is divided by its own absmax, the largest magnitude in it; each "
        "quotient then becomes the index of the nearest of the sixteen levels. The "
        "levels are given, from -1 to 1, and not evenly spaced. A block of zeros has "
        "absmax zero and comes back as zeros. Return the codes (n,), each block's "
        "absmax (n / block_size,), and the restored weights (n,)."
    ),
    hint=(
        "Reshape to (blocks, block_size). Subtracting all levels at once needs one "
        "more axis; the code is where the magnitude is smallest."
    ),
    exercise=Exercise(
        solution=block_quantize,
        cases=(
            # Divided: -1, 0.5, 0.125, 0.25 and 1, -1, 0, 0.5. Between 0.4407 and 0.5626
            # the first is nearer to 0.5; between 0.0796 and 0.1609 the second to 0.125.
            Case(
                ([-4.0, 2.0, 0.5, 1.0, 0.1, -0.1, 0.0, 0.05], NF4_LEVELS, 4),
                (
                    [0, 12, 9, 10, 15, 0, 7, 12],
                    [4.0, 0.1],
                    [-4.0, 1.7628, 0.6436, 0.9844, 0.1, -0.1, 0.0, 0.04407],
                ),
            ),
            Case(
                ([0.0, 0.0, -2.0, 1.5], NF4_LEVELS, 2),
                ([7, 7, 0, 14], [0.0, 2.0], [0.0, 0.0, -2.0, 1.446]),
            ),
        ),
        mistakes={
            "that is the absmax of the whole vector: each block has its own.": (
                _with_scales(lambda blocks: np.repeat(abs(blocks).max(), len(blocks)))
            ),
            "that is the largest value: absmax is the largest magnitude.": (
                _with_scales(lambda blocks: blocks.max(axis=1))
            ),
            "that is one absmax a column: a block is a run of neighbours.": (
                _by_columns
            ),
            "each quotient was cut down to the level below; take the nearest.": (
                _with_codes(
                    lambda scaled, levels: np.searchsorted(levels, scaled, "right") - 1
                )
            ),
            "each quotient went up to the level above; take the nearest.": (
                _with_codes(lambda scaled, levels: np.searchsorted(levels, scaled))
            ),
            "those codes are evenly spaced, as INT4's are: compare with the levels.": (
                _with_codes(
                    lambda scaled, levels: np.rint((scaled + 1) * 7.5).astype(int)
                )
            ),
            "a restored weight is its level times the absmax of its block.": (
                _without_scale
            ),
            "in a block of zeros 0 / 0 is NaN, which is near to no level: divide by 1 "
            "there.": _with_scales(lambda blocks: abs(blocks).max(axis=1)),
        },
    ),
)


TASKS = (LORA, QUANTIZER)

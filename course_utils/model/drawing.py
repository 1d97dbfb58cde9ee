"""One transformer block as a picture, with the true sizes of a model in it."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch

from course_utils.model.architectures import ALL_LINEAR, Architecture
from course_utils.plots import BASE, PALE, TUNED

_INK = "#222222"
WIDTH, HEIGHT = 1.55, 0.95  # of a matrix, in units of the drawing
_STREAM = 1.25  # height at which the residual stream runs
PLACES = {  # left lower corner of each matrix
    "q_proj": (3.05, 5.0),
    "k_proj": (3.05, 3.75),
    "v_proj": (3.05, 2.5),
    "o_proj": (5.25, 2.2),
    "gate_proj": (8.1, 4.45),
    "up_proj": (8.1, 2.9),
    "down_proj": (10.3, 2.2),
}
_ADD = (6.025, 11.075)  # where attention and MLP add to the stream
_LEAVE = (2.35, 7.4)  # where they read from it
_STEPS = {  # without a matrix, and the height of their boxes
    "which earlier\ntokens matter\nto this one": 1.3,
    "SiLU(gate) × up": 0.95,
}
_THROUGH = {  # the norm a matrix reads, where its arrow turns, where it arrives
    "q_proj": (_LEAVE[0], 4.9, 4.95),
    "k_proj": (_LEAVE[0], 4.9, 4.5),
    "v_proj": (_LEAVE[0], 4.9, 4.05),
    "gate_proj": (_LEAVE[1], 9.97, 4.55),
    "up_proj": (_LEAVE[1], 9.97, 4.1),
}


def draw_block(
    architecture: Architecture,
    adapted: Collection[str] = (),
    *,
    axes: Axes | None = None,
) -> Axes:
    """The seven matrices of a block, what flows between them, and what is around them.

    Of other families than Llama's only the sizes are true: a Gemma has more norms and
    another activation. Each matrix shows inputs → outputs and its number of weights.

    Args:
        adapted: Modules drawn in blue, as those that get a LoRA adapter.
        axes: Where to draw; a new figure by default.

    Raises:
        ValueError: If `adapted` names something that is no matrix of a block, or if the
            model's blocks have other matrices than Llama's.
    """
    if set(architecture.target_modules) != {*ALL_LINEAR}:
        raise ValueError(
            f"This picture draws seven matrices; a block of {architecture.title} has "
            f"{', '.join(architecture.target_modules)}. `linear_shapes()` tells them."
        )
    if unknown := set(adapted) - set(ALL_LINEAR):
        raise ValueError(
            f"adapted has {', '.join(sorted(unknown))}; expected some of "
            f"{', '.join(ALL_LINEAR)}."
        )
    if axes is None:
        axes = plt.figure(figsize=(11, 5.4)).add_subplot()
    axes.set(xlim=(-0.35, 14.35), ylim=(0.25, 6.75))
    axes.axis("off")
    share = architecture.linear_parameters / architecture.parameters
    axes.set_title(
        f"{architecture.title}: {share:.0%} of {_short(architecture.parameters)} "
        f"parameters are in the seven matrices of its {architecture.layers} blocks"
    )
    _around(axes, architecture)
    _flow(axes)
    for name, (inputs, outputs) in architecture.linear_shapes().items():
        told = f"{name}\n{inputs:,} → {outputs:,}\n{_short(inputs * outputs)}"
        blue = name in adapted
        _box(axes, PLACES[name], (WIDTH, HEIGHT), told, TUNED if blue else BASE)
    return axes


def _short(number: int) -> str:
    """A count as it is said: 16.8 M."""
    unit, name = (1e9, "billion") if number >= 1e9 else (1e6, "million")
    if number < 1e5:
        return f"{number:,}"
    return f"{number / unit:.3g} {name}"


def _box(
    axes: Axes,
    corner: tuple[float, float],
    size: tuple[float, float],
    text: str,
    edge: str,
    fill: str = "white",
) -> None:
    style = {"boxstyle": "round,pad=0.02,rounding_size=0.09", "linewidth": 1.6}
    colours = {"edgecolor": edge, "facecolor": fill}
    axes.add_patch(FancyBboxPatch(corner, *size, zorder=3, **style, **colours))
    x, y = corner[0] + size[0] / 2, corner[1] + size[1] / 2
    ink = TUNED if edge == TUNED else _INK
    axes.text(x, y, text, ha="center", va="center", fontsize=9, zorder=4, color=ink)


def _around(axes: Axes, architecture: Architecture) -> None:
    """The frame of the block, the stream, and both ends of the model."""
    frame = {"boxstyle": "round,pad=0.02,rounding_size=0.2", "linewidth": 0}
    grey = FancyBboxPatch((1.75, 0.45), 10.35, 6.1, facecolor="#f4f4f4", **frame)
    axes.add_patch(grey)
    word = {"fontsize": 9, "color": "#4d4d4d", "va": "center"}
    blocks = f"one of {architecture.layers} equal blocks"
    axes.text(1.95, 6.3, blocks, weight="bold", **word)
    for x, y, part in ((6.025, 5.45, "attention"), (8.875, 5.7, "MLP")):
        axes.text(x, y, part, ha="center", weight="bold", **word)
    table = f"{architecture.vocab_size:,} × {architecture.hidden_size:,}"
    head = "= embedding\n(tied)" if architecture.tied_embeddings else table
    _box(axes, (-0.2, 0.75), (1.6, 1.0), f"embedding\n{table}", BASE)
    _box(axes, (12.55, 0.75), (1.6, 1.0), f"output head\n{head}", BASE)
    stream = f"residual stream: {architecture.hidden_size:,} numbers for each token"
    axes.text(1.95, 0.78, stream, **word)


def _arrow(axes: Axes, *points: tuple[float, float]) -> None:
    """A line through points, with a head at the last."""
    for start, end in pairwise(points[:-1]):
        xs, ys = zip(start, end, strict=True)
        axes.plot(xs, ys, color=_INK, linewidth=1.2, solid_capstyle="round")
    style = {"arrowstyle": "-|>", "color": _INK, "linewidth": 1.2, "shrinkA": 0}
    axes.annotate("", points[-1], points[-2], arrowprops={**style, "shrinkB": 0})


def _flow(axes: Axes) -> None:
    """Arrows, and the steps that have no matrix."""
    _arrow(axes, (1.42, _STREAM), (12.5, _STREAM))
    for x in _LEAVE:
        _arrow(axes, (x, _STREAM), (x, 2.15))
        _box(axes, (x - 0.4, 2.2), (0.8, 0.5), "norm", PALE, PALE)
    for x, (name, end) in zip(_ADD, _STEPS.items(), strict=True):
        _box(axes, (x - WIDTH / 2, 3.85), (WIDTH, end), name, PALE, PALE)
        _arrow(axes, (x, 3.82), (x, 3.2))
        _arrow(axes, (x, 2.17), (x, _STREAM + 0.2))
        round_sign = {"facecolor": "white", "edgecolor": _INK, "zorder": 3}
        axes.add_patch(Circle((x, _STREAM), 0.18, **round_sign))
        axes.text(x, _STREAM, "+", ha="center", va="center", fontsize=12, zorder=4)
    for name, (norm, turn, y) in _THROUGH.items():
        left, middle = PLACES[name][0], PLACES[name][1] + HEIGHT / 2
        _arrow(axes, (norm, 2.72), (norm, middle), (left - 0.04, middle))
        path = (left + WIDTH + 0.04, middle), (turn, middle), (turn, y)
        _arrow(axes, *path, (turn + 0.3, y))
    note = {"fontsize": 8.5, "color": "#4d4d4d", "ha": "center", "va": "center"}
    axes.text(3.825, 2.1, "k and v of earlier tokens\nare kept: the KV cache", **note)

"""Where each method puts its numbers, drawn into the block of lesson 01."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from course_utils.model.architectures import Architecture
from course_utils.model.drawing import HEIGHT, PLACES, WIDTH, draw_block
from course_utils.plots import ACCENT, BASE, TUNED

PREFIX, SCALES = "#2a8a57", "#8e44ad"
COLOURS = {"full": BASE, "LoRA": TUNED, "IA3": SCALES}
COLOURS |= {"prefix tuning": PREFIX, "prompt tuning": ACCENT}
_TOLD = {
    "full": "full: every matrix",
    "LoRA": "LoRA and its kin: B·A beside a matrix",
    "IA3": "IA3: a factor for each key, value and inner number",
    "prefix tuning": "prefix tuning: keys and values in each block",
    "prompt tuning": "prompt tuning, P-tuning: vectors before the text",
}


def draw_places(architecture: Architecture, counts: Mapping[str, int]) -> Axes:
    """One block, and in colour what each method adds to it.

    Args:
        architecture: Of Llama's kind; see `draw_block`.
        counts: Trained numbers by method, with the keys of COLOURS; they stand in the
            legend.
    """
    axes = plt.figure(figsize=(11, 6.2)).add_subplot()
    draw_block(architecture, axes=axes)
    for name in PLACES:
        _pair(axes, name)
    for name in ("k_proj", "v_proj"):
        x, y = PLACES[name]
        _strip(axes, x + WIDTH + 0.12, y + 0.1)
    _strip(axes, PLACES["down_proj"][0] - 0.18, PLACES["down_proj"][1] + 0.1)
    for x in (5.32, 5.66):  # below the step that reads keys and values
        _cells(axes, x, 3.26, PREFIX)
    _cells(axes, 0.45, 1.95, ACCENT)
    few, many = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    axes.set_title(
        f"{architecture.title}: {few} trains {counts[few]:,} numbers, "
        f"{many} tuning {counts[many]:,}"
    )
    told = {name: f"{_TOLD[name]}: {counts[name]:,}" for name in COLOURS}
    keys = [Patch(color=COLOURS[name], label=told[name]) for name in COLOURS]
    axes.legend(
        handles=keys, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, fontsize=9
    )
    return axes


def _pair(axes: Axes, name: str) -> None:
    """A tall and a wide bar above the right corner of a matrix: B and A."""
    x, y = PLACES[name][0] + WIDTH - 0.52, PLACES[name][1] + HEIGHT + 0.05
    for width, height in ((0.09, 0.22), (0.42, 0.09)):
        axes.add_patch(Rectangle((x, y), width, height, color=TUNED, zorder=5))
        x += 0.15


def _strip(axes: Axes, x: float, y: float) -> None:
    """A factor for each number that leaves a matrix, or enters it."""
    size = 0.1, HEIGHT - 0.2
    axes.add_patch(Rectangle((x, y), *size, color=SCALES, zorder=5))


def _cells(axes: Axes, x: float, y: float, colour: str) -> None:
    """Three small boxes: vectors that no token stands for."""
    for number in range(3):
        corner = x, y + 0.2 * number
        axes.add_patch(Rectangle(corner, 0.26, 0.15, color=colour, zorder=5))

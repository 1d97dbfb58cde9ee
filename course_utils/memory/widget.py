"""The memory planner as a picture, and as sliders around the same picture.

The picture alone is what GitHub, the site and the tests show; the sliders need a
running notebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import ipywidgets as widgets
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from course_utils.memory.formulas import WeightFormat
from course_utils.memory.planner import (
    METHODS,
    TRANSFORMERS_LOGITS,
    UNSLOTH_LOGITS,
    MemoryPlan,
    plan_memory,
)
from course_utils.model.architectures import Architecture
from course_utils.plots import ACCENT, BASE, STYLE, TUNED, stacked_bars

GIB = 2**30
T4_USABLE_BYTES = 14.741 * GIB  # of 16; public logs print 14.741 and 14.748
PART_COLOURS = {
    "weights": BASE,
    "adapter": TUNED,
    "gradients": "#3a8f5c",
    "optimizer": "#8a5fb0",
    "activations": ACCENT,
    "logits": "#b5443c",
}


def plot_memory_plans(
    axes: Axes,
    plans: Mapping[str, MemoryPlan],
    limit_bytes: float = T4_USABLE_BYTES,
    *,
    reported_gib: Mapping[str, Sequence[float]] | None = None,
) -> Axes:
    """One bar a plan, by its label, against a dashed line at what a card offers.

    `reported_gib` marks on a plan's bar what runs of its kind reported.
    """
    if not plans:
        raise ValueError("plans is empty; expected a label and a plan for each bar.")
    parts = [plan.parts() for plan in plans.values()]
    names = [name for name in parts[0] if any(part[name] for part in parts)]
    axes.set_prop_cycle(color=[PART_COLOURS[name] for name in names])
    stacked_bars(
        list(plans),
        {name: [part[name] / GIB for part in parts] for name in names},
        x_label="memory (GiB)",
        title=_finding(list(plans.values()), limit_bytes),
        limit=(f"{limit_bytes / GIB:.1f} GiB usable", limit_bytes / GIB),
        axes=axes,
    )
    for label, peaks in (reported_gib or {}).items():
        below = [list(plans).index(label) + 0.42] * len(peaks)  # of the bar
        told = f"peak of {len(peaks)} public runs"
        style = {"marker": "^", "color": "#222222", "s": 44, "clip_on": False}
        axes.scatter(peaks, below, label=told, **style)
    axes.set_xlim(0, max(axes.get_xlim()[1], 1.12 * limit_bytes / GIB))
    down = ScaledTranslation(0, -40 / 72, axes.figure.dpi_scale_trans)  # 40 points
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=axes.transAxes + down,
        ncols=4,
    )
    return axes


def memory_planner(architectures: Mapping[str, Architecture]) -> widgets.VBox:
    """Sliders and switches that redraw one plan, of `load_architectures()`, on a T4."""

    controls = _controls([(shape.title, name) for name, shape in architectures.items()])
    picture = widgets.Image(format="png")  # an Output widget would stop nbclient

    def redraw(_change: object = None) -> None:
        chosen: dict[str, Any] = {name: each.value for name, each in controls.items()}
        shape = architectures[chosen.pop("model")]
        double = chosen.pop("double_quantization") and chosen["method"] == "qlora"
        weights = WeightFormat.NF4_DOUBLE_QUANT if double else None
        fused = chosen.pop("unsloths_loss")
        copies = UNSLOTH_LOGITS if fused else TRANSFORMERS_LOGITS
        plan = plan_memory(shape, weight_format=weights, logit_copies=copies, **chosen)
        picture.value = plan_picture(plan)

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    return widgets.VBox([*controls.values(), picture])


def plan_picture(plan: MemoryPlan, limit_bytes: float = T4_USABLE_BYTES) -> bytes:
    """One plan as a PNG, drawn without touching pyplot's open figures."""
    with plt.style.context(STYLE):
        figure = Figure(figsize=(9, 2.8))
        plot_memory_plans(figure.add_subplot(), {plan.title: plan}, limit_bytes)
        png = BytesIO()
        figure.savefig(png, format="png")
    return png.getvalue()


def _finding(plans: list[MemoryPlan], limit_bytes: float) -> str:
    room = f"{limit_bytes / GIB:.1f} GiB"
    fitting = sum(plan.fits(limit_bytes) for plan in plans)
    if len(plans) > 1:
        return f"{fitting} of {len(plans)} plans fit into {room}"
    verdict = "fits" if fitting else "does not fit"
    return f"{plans[0].total_bytes / GIB:.1f} GiB {verdict} into {room}"


def _controls(models: list[tuple[str, str]]) -> dict[str, Any]:
    """Each by the argument of `plan_memory` that it sets, and two switches."""
    late: dict = {"continuous_update": False}  # redraw when a slider is let go
    lengths, ranks = [2**n for n in range(7, 14)], [2**n for n in range(9)]
    controls = {
        "model": widgets.Dropdown(options=models),
        "method": widgets.Dropdown(options=METHODS, value="qlora"),
        "rank": widgets.SelectionSlider(options=ranks, value=16, **late),
        "batch_size": widgets.IntSlider(value=2, min=1, max=32, **late),
        "sequence_length": widgets.SelectionSlider(options=lengths, value=2048, **late),
        "gradient_checkpointing": widgets.Checkbox(value=True),
        "double_quantization": widgets.Checkbox(value=False),
        "unsloths_loss": widgets.Checkbox(value=True),
    }
    units = {"batch_size": " (sequences)", "sequence_length": " (tokens)"}
    for name, control in controls.items():
        named = name.replace("unsloths", "Unsloth's").replace("_", " ")
        control.description = named + units.get(name, "")
        control.style.description_width = "180px"
    return controls

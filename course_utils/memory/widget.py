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
from course_utils.memory.planner import METHODS, MemoryPlan
from course_utils.memory.unsloth import LONGEST_INSTRUCTION, Loss, plan_run
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
    "workspace": "#c9b458",
    "context": "#222222",
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
    """Sliders and switches that redraw a run, of `load_architectures()`, on a T4.

    Two bars: rows that fill the limit, and rows as long as the one that is chosen.
    """
    controls = _controls([(shape.title, name) for name, shape in architectures.items()])
    picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))

    def redraw(_change: object = None) -> None:
        chosen: dict[str, Any] = {name: each.value for name, each in controls.items()}
        shape, longest = architectures[chosen.pop("model")], chosen.pop("longest_row")
        single = chosen["method"] == "qlora" and not chosen.pop("double_quantization")
        chosen.pop("double_quantization", None)
        fused = chosen.pop("unsloths_loss")
        chosen["loss"] = Loss.CHUNKS if fused else Loss.TRANSFORMERS
        chosen["weight_format"] = WeightFormat.NF4 if single else None
        limit = chosen["sequence_length"]
        plans = {
            f"{tokens:,} tokens": plan_run(shape, row_tokens=tokens, **chosen)
            for tokens in (limit, min(longest, limit))
        }
        picture.value = plan_picture(plans)

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    wrapped = widgets.Layout(flex_flow="row wrap", max_width="100%")
    named = [_under_its_name(control) for control in controls.values()]
    return widgets.VBox([widgets.HBox(named, layout=wrapped), picture])


def plan_picture(
    plans: MemoryPlan | Mapping[str, MemoryPlan],
    limit_bytes: float = T4_USABLE_BYTES,
) -> bytes:
    """One plan, or some by label, as a PNG; pyplot's open figures stay as they are."""
    if isinstance(plans, MemoryPlan):
        plans = {plans.title: plans}
    with plt.style.context(STYLE):
        figure = Figure(figsize=(9, 2.3 + 0.5 * len(plans)))
        plot_memory_plans(figure.add_subplot(), plans, limit_bytes)
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
    """By the argument of `plan_run` that each sets, and three of the widget's own."""
    late: dict = {"continuous_update": False}  # redraw when a slider is let go
    lengths, ranks = [2**n for n in range(7, 14)], [2**n for n in range(9)]
    rows = sorted([*lengths, LONGEST_INSTRUCTION])
    controls = {
        "model": widgets.Dropdown(options=models),
        "method": widgets.Dropdown(options=METHODS, value="qlora"),
        "rank": widgets.SelectionSlider(options=ranks, value=16, **late),
        "batch_size": widgets.IntSlider(value=2, min=1, max=32, **late),
        "sequence_length": widgets.SelectionSlider(options=lengths, value=2048, **late),
        "longest_row": widgets.SelectionSlider(
            options=rows, value=LONGEST_INSTRUCTION, **late
        ),
        "gradient_checkpointing": widgets.Checkbox(value=True),
        "double_quantization": widgets.Checkbox(value=True),
        "unsloths_loss": widgets.Checkbox(value=True),
    }
    units = {"batch_size": " (sequences)", "sequence_length": " (limit, tokens)"}
    units["longest_row"] = " (tokens)"
    for name, control in controls.items():
        named = name.replace("unsloths", "Unsloth's").replace("_", " ")
        control.description = named + units.get(name, "")
        control.layout = widgets.Layout(width="98%")  # of its place in the row
    return controls


def _under_its_name(control: Any) -> widgets.VBox:
    """A control below its name: beside it a slider's track has no room."""
    parts = [control]
    if isinstance(control, widgets.Checkbox):
        control.indent = False
    else:
        parts.insert(0, widgets.Label(control.description))
        control.description = ""
    return widgets.VBox(parts, layout=widgets.Layout(width="20em", max_width="100%"))

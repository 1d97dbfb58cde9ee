import ipywidgets as widgets
import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from course_utils.memory import widget as planner_widget
from course_utils.memory.planner import plan_memory
from course_utils.memory.unsloth import Loss, plan_run
from course_utils.memory.widget import (
    GIB,
    PART_COLOURS,
    memory_planner,
    plot_memory_plans,
)
from course_utils.model.architectures import load_architectures

ARCHITECTURES = load_architectures()
LLAMA_8B = ARCHITECTURES["llama-3.1-8b"]
PLANS = {method: plan_memory(LLAMA_8B, method) for method in ("full", "lora", "qlora")}


def test_the_bars_are_as_long_as_the_plans_and_the_line_stands_at_the_limit():
    axes = plot_memory_plans(Figure().add_subplot(), PLANS, 20 * GIB)
    ends = [0.0] * 3
    for bars in axes.containers:
        ends = [
            max(e, b.get_x() + b.get_width()) for e, b in zip(ends, bars, strict=True)
        ]
    assert ends == pytest.approx([p.total_bytes / GIB for p in PLANS.values()])
    assert list(axes.lines[0].get_xdata()) == [20, 20]
    title = axes.get_title(loc="left") or axes.get_title()
    assert title == "2 of 3 plans fit into 20.0 GiB"


def test_a_part_has_the_same_colour_in_every_picture():
    for plans in (PLANS, {"alone": PLANS["lora"]}):
        axes = plot_memory_plans(Figure().add_subplot(), plans)
        drawn = {b.get_label(): to_hex(b[0].get_facecolor()) for b in axes.containers}
        assert drawn == {name: PART_COLOURS[name] for name in drawn}
        needed = {
            n for plan in plans.values() for n, size in plan.parts().items() if size
        }
        assert set(drawn) == needed  # a part of no bytes is not in the legend


def test_reported_peaks_are_marked_on_the_bar_of_their_plan():
    axes = Figure().add_subplot()
    plot_memory_plans(axes, PLANS, reported_gib={"qlora": [7.5, 9.5]})
    [marks] = axes.collections
    assert marks.get_offsets().tolist() == [[7.5, 2.42], [9.5, 2.42]]
    assert marks.get_label() == "peak of 2 public runs"


def test_a_picture_without_plans_is_refused():
    with pytest.raises(ValueError, match="plans is empty"):
        plot_memory_plans(Figure().add_subplot(), {})


def controls_of(planner):
    """By the names above or beside them, and the picture."""
    row, picture = planner.children
    named = [box.children for box in row.children]
    return {
        (control.description or above[0].value): control for *above, control in named
    }, picture


def test_moving_a_control_redraws_the_picture_and_leaves_pyplot_alone():
    controls, picture = controls_of(memory_planner(ARCHITECTURES))
    pictures = {bytes(picture.value)}
    assert min(pictures).startswith(b"\x89PNG")
    changes = {
        "model": "llama-3.1-8b",
        "rank": 64,
        "batch size (sequences)": 8,
        "sequence length (limit, tokens)": 1024,
        "longest row (tokens)": 256,
        "gradient checkpointing": False,
        "double quantization": False,
        "Unsloth's loss": False,
        "method": "lora",
    }
    assert controls.keys() == changes.keys()
    for name, value in changes.items():
        controls[name].value = value
        pictures.add(bytes(picture.value))
    assert len(pictures) == 1 + len(changes)
    assert plt.get_fignums() == []


def test_the_planner_shows_the_limit_and_the_longest_row(monkeypatch):
    shown = []
    monkeypatch.setattr(
        planner_widget, "plan_picture", lambda p: shown.append(p) or b""
    )
    shape = ARCHITECTURES["qwen2.5-0.5b"]
    controls, _ = controls_of(memory_planner({"qwen": shape}))
    settings = dict(batch_size=2, rank=16, sequence_length=2048)
    limit, longest = (
        plan_run(shape, **settings),
        plan_run(shape, row_tokens=680, **settings),
    )
    assert shown[-1] == {"2,048 tokens": limit, "680 tokens": longest}
    controls["Unsloth's loss"].value = False
    controls["double quantization"].value = False
    settings |= {"weight_format": "nf4", "loss": Loss.TRANSFORMERS}
    assert shown[-1]["2,048 tokens"] == plan_run(shape, **settings)
    controls["method"].value = "full"  # where quantization says nothing
    settings["weight_format"] = None
    assert shown[-1]["2,048 tokens"] == plan_run(shape, "full", **settings)
    controls["longest row (tokens)"].value = 8192
    assert shown[-1].keys() == {"2,048 tokens"}


# A phone is 390 pixels wide: what does not wrap is cut off. Beside its name a slider
# kept a track of 2 pixels.
def test_the_controls_wrap_on_a_narrow_page_each_below_its_name():
    row, picture = memory_planner(ARCHITECTURES).children
    assert row.layout.flex_flow == "row wrap"
    for part in (row, picture, *row.children):
        assert part.layout.max_width == "100%"
    for name, control in controls_of(memory_planner(ARCHITECTURES))[0].items():
        beside = isinstance(control, widgets.Checkbox)
        assert control.description == (name if beside else "")
        assert control.layout.width == "98%"

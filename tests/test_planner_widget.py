import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from course_utils.architectures import load_architectures
from course_utils.memory import plan_memory
from course_utils.planner_widget import (
    GIB,
    PART_COLOURS,
    memory_planner,
    plot_memory_plans,
)

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
    assert title == "2 of 3 plans fit into 20.00 GiB"


def test_a_part_has_the_same_colour_in_every_picture():
    for plans in (PLANS, {"alone": PLANS["lora"]}):
        axes = plot_memory_plans(Figure().add_subplot(), plans)
        drawn = {b.get_label(): to_hex(b[0].get_facecolor()) for b in axes.containers}
        assert drawn == PART_COLOURS


def test_a_picture_without_plans_is_refused():
    with pytest.raises(ValueError, match="plans is empty"):
        plot_memory_plans(Figure().add_subplot(), {})


def test_moving_a_control_redraws_the_picture_and_leaves_pyplot_alone():
    planner = memory_planner(ARCHITECTURES)
    controls, picture = planner.children[:-1], planner.children[-1]
    assert bytes(picture.value).startswith(b"\x89PNG")
    changes = {
        "model": "llama-3.1-8b",
        "rank": 64,
        "batch (sequences)": 8,
        "length (tokens)": 512,
        "gradient checkpointing": False,
        "double quantization (QLoRA)": True,
        "method": "lora",
    }
    assert [control.description for control in controls] == [
        *("model", "method", "rank", "batch (sequences)", "length (tokens)"),
        *("gradient checkpointing", "double quantization (QLoRA)"),
    ]
    for control in sorted(controls, key=lambda c: list(changes).index(c.description)):
        before = bytes(picture.value)
        control.value = changes[control.description]
        assert bytes(picture.value) != before, control.description
    assert plt.get_fignums() == []

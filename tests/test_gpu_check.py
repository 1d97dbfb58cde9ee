"""The check of a CUDA card, as far as a machine without one can hold it."""

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace

import nbformat
import pytest
import torch
from gpu_check import Fault, faults_of, has_fault, run_lesson
from gpu_training import write_random_nf4

from course_utils.machine import profile as profile_module
from course_utils.machine.profile import Profile
from course_utils.memory.published import predictions
from course_utils.memory.unsloth import GIB, plan_run
from course_utils.model.architectures import load_architectures
from course_utils.model.nano import cached_nano_path
from course_utils.places import DATA_FOLDER, PROJECT_ROOT
from course_utils.projects.own.planning import RESERVE_BYTES


@pytest.fixture
def card(monkeypatch):
    """A CUDA card of 80 GiB that torch sees; what is asked of it is kept."""
    asked = []
    card = SimpleNamespace(name="Card", major=9, minor=0, total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_90"])
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", asked.append)
    return card, asked


def test_a_newer_card_stands_in_for_a_t4_in_precision_and_in_memory(card):
    _, asked = card
    gpu = profile_module.find_gpu({"COURSE_AS_T4": "1"})
    assert (gpu.capability, gpu.memory_gib) == ((7, 5), 14.74)
    assert asked == [pytest.approx(14.74 / 80)]
    assert Profile("t4", "cuda", gpu=gpu).compute_dtype == torch.float16


def test_without_being_asked_a_card_stays_what_it_is(card):
    gpu = profile_module.find_gpu({})
    assert (gpu.capability, gpu.memory_gib, card[1]) == ((9, 0), 80, [])


def test_a_t4_needs_no_stand_in(card):
    properties, asked = card
    properties.major, properties.minor = 7, 5
    properties.total_memory = int(14.6 * 2**30)
    gpu = profile_module.find_gpu({"COURSE_AS_T4": "1"})
    assert (gpu.name, asked) == ("Card", [])


def test_each_error_of_a_notebook_is_found_with_its_cell():
    error = nbformat.v4.new_output(
        "error", ename="ValueError", evalue="no", traceback=["a\nb", "c"]
    )
    cells = [nbformat.v4.new_code_cell(f"x = {n}\ny = 1") for n in range(3)]
    cells[1].outputs = [error]
    found = faults_of(nbformat.v4.new_notebook(cells=cells))
    assert found == [Fault(1, "x = 1", "ValueError: no", ["a", "b", "c"])]


def test_a_notebook_is_run_past_its_first_fault(tmp_path):
    source = tmp_path / "98_faulty.py"
    source.write_text("# %%\nx = 1\n\n# %%\n1 / 0\n\n# %%\nprint(x)\n")
    ran = asyncio.run(run_lesson(source, "", tmp_path, 120, profile="nano"))
    assert (ran.notebook, ran.cells, ran.reached) == ("98", 3, 1)
    assert [fault.error for fault in ran.faults] == [
        "ZeroDivisionError: division by zero"
    ]
    page = nbformat.read(tmp_path / "pages" / "98_faulty.ipynb", as_version=4)
    assert page.cells[2].outputs[0].text == "1\n"


def test_a_notebook_that_takes_too_long_is_stopped_and_says_so(tmp_path):
    source = tmp_path / "99_slow.py"
    source.write_text("# %%\nimport time\ntime.sleep(600)\n")
    ran = asyncio.run(run_lesson(source, "", tmp_path, 4, profile="nano"))
    assert ran.faults[-1] == Fault(None, "", "stopped after 4 seconds")
    assert ran.reached <= 1


@pytest.mark.parametrize(
    ("found", "faulty"),
    [
        ({"lessons": [{"faults": []}], "training": [{"runs": []}]}, False),
        ({"lessons": [{"faults": ["one"]}], "training": []}, True),
        ({"lessons": [], "training": [{"error": "killed"}]}, True),
        ({"lessons": [], "training": [{"runs": [{"finite_losses": False}]}]}, True),
    ],
)
def test_a_fault_in_any_part_is_a_fault(found, faulty):
    assert has_fault(found) is faulty


def test_random_weights_are_packed_as_bitsandbytes_packs_them(tmp_path):
    from bitsandbytes.nn import Linear4bit
    from transformers import AutoModelForCausalLM

    shapes = replace(
        load_architectures()["llama-3.1-8b"],
        hidden_size=128,
        intermediate_size=256,
        layers=2,
        attention_heads=4,
        key_value_heads=2,
        head_dim=32,
        vocab_size=512,
    )
    folder = write_random_nf4(shapes, cached_nano_path(), tmp_path / "m", device="cpu")
    model = AutoModelForCausalLM.from_pretrained(folder)
    packed = [part for part in model.modules() if isinstance(part, Linear4bit)]
    assert len(packed) == 2 * 7
    codes = sum(part.weight.numel() for part in packed)
    assert 2 * codes == shapes.linear_parameters  # two weights a byte
    assert model(torch.tensor([[5, 6, 7]])).logits.isfinite().all()


FOUND = json.loads((DATA_FOLDER / "reference" / "gpu_check.json").read_text("utf-8"))
EIGHT_BILLION = FOUND["training"][0]["runs"]


# Of this run the planner knows what the allocator kept besides, not what was kept.
def planned_gib(run):
    plan = plan_run(
        load_architectures()["llama-3.1-8b"],
        rank=16,
        batch_size=2,
        sequence_length=2048,
        row_tokens=run["longest_row"],
        optimizer="adamw_8bit",
    )
    return plan.reserved_bytes / GIB


@pytest.mark.parametrize("run", EIGHT_BILLION, ids=lambda run: run["rows"])
def test_the_planner_says_what_eight_billion_parameters_took(run):
    measured = run["peak_reserved_gib"]
    assert planned_gib(run) == pytest.approx(measured, rel=0.04)


def test_the_room_that_is_left_on_a_card_covers_the_worst_public_plan():
    runs = predictions()
    worst = (runs["reported"] - runs["planned"]).max()
    assert 1.5 < worst < RESERVE_BYTES / GIB


def test_the_readme_says_of_the_gpu_run_what_its_record_says():
    text = " ".join((PROJECT_ROOT / "README.md").read_text("utf-8").split())
    ended = {
        (run["notebook"], run["model"] == "nano-bos")
        for run in FOUND["lessons"]
        if run["reached"] == run["cells"] and not run["faults"]
    }
    small = sorted(number for number, bos in ended if not bos)
    assert small == ["00", "01", "03", "05", "06"]
    assert {number for number, bos in ended if bos} == {"03", "06"}
    assert f"lessons {', '.join(small[:-1])} and {small[-1]} ran to their last" in text
    first, full = (f"{run['peak_reserved_gib']:.1f} GiB" for run in EIGHT_BILLION)
    assert f"{first} with the recipe's rows and in {full} with two rows" in text
    assert all(run["finite_losses"] for run in EIGHT_BILLION)
    told = " and ".join(f"{planned_gib(run):.1f}" for run in EIGHT_BILLION)
    assert f"the planner says {told}." in text
    cut = {run["notebook"]: run for run in FOUND["lessons"] if run["faults"]}
    for number in ("02", "04"):  # "two thirds through"
        assert cut[number]["reached"] / cut[number]["cells"] == pytest.approx(
            2 / 3, abs=0.03
        )

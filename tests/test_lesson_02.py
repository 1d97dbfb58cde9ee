"""Lesson 02: its cells and the package say the same, and its exercises are true."""

import ast
import inspect
from types import SimpleNamespace

import notebook_cells as cells
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from course_utils.data.tokens import completion_nll
from course_utils.exercises import EXERCISES
from course_utils.machine.profile import Profile
from course_utils.machine.timing import fastest
from course_utils.model.architectures import Architecture
from course_utils.places import PROJECT_ROOT
from course_utils.recipes.book import MOVIE_RECOMMENDER, RECIPES

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("02")]
LOADING = PROJECT_ROOT / "course_utils" / "model" / "loading.py"


def call_of(code, name):
    """Keywords of the first call of that name, as written."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(name):
            return {k.arg: ast.unparse(k.value) for k in node.keywords}
    raise AssertionError(f"no call of {name}")


def cell_with(text):
    return next(code for code in cells.code_cells(LESSON) if text in code)


# A reader who learns other settings than the course trains with.
def test_the_lesson_attaches_the_adapter_as_the_package_does():
    taught = call_of(cell_with("FastLanguageModel.get_peft_model("), "get_peft_model")
    used = call_of(LOADING.read_text(), "get_peft_model")
    assert taught == used and len(taught) == 7


# A layer of our own that is not LoRA.
def test_the_layer_of_the_lesson_computes_what_pefts_layer_computes():
    names = {"torch": torch}
    exec(cell_with("class LoRALayer"), names)
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(6, 4, bias=False))
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["0"])
    layer = names["LoRALayer"](nn.Linear(6, 4, bias=False), rank=2, alpha=4)
    layer.base.weight.data = base[0].weight.data.clone()
    theirs = get_peft_model(base, config).base_model.model[0]
    nn.init.normal_(theirs.lora_B["default"].weight)
    layer.A.data = theirs.lora_A["default"].weight.data
    layer.B.data = theirs.lora_B["default"].weight.data
    x = torch.randn(5, 6)
    torch.testing.assert_close(layer(x), theirs(x))
    trained = [name for name, p in layer.named_parameters() if p.requires_grad]
    assert trained == ["A", "B"]


def test_the_loss_that_the_lesson_writes_out_is_the_packages():
    on_a_cpu = Profile("nano", "cpu")
    names = {"torch": torch, "nn": nn, "profile": on_a_cpu}
    exec(cell_with("def loss_of"), names)
    tokens, logits = torch.randint(7, (2, 5)), torch.randn(2, 5, 7)

    def model(input_ids):
        return SimpleNamespace(logits=logits)

    expected = completion_nll(logits, tokens)
    torch.testing.assert_close(names["loss_of"](model, tokens), expected)


def test_the_expected_counts_of_query_and_value_follow_from_the_shapes():
    for case in EXERCISES["attach_to_query_and_value"].cases:
        base, rank = case.arguments
        shape = Architecture.from_config(base.config)
        count = shape.lora_parameters(rank, ("q_proj", "v_proj"))
        assert case.expected[:2] == (count, count)


def test_a_learners_model_is_counted_and_not_only_the_prediction():
    exercise = EXERCISES["attach_to_query_and_value"]
    assert list(inspect.signature(exercise.solution).parameters) == ["base", "rank"]
    [case, _] = exercise.cases
    predicted, counted, modules = case.expected
    assert predicted == counted and modules == ["q_proj", "v_proj"]
    assert "Llama: 2 blocks" in repr(case.arguments[0])


# Two equal things that are compared, on a card where the recipe is in 4 bits already.
def test_the_small_plan_is_never_in_4_bits_and_keeps_what_fits():
    for recipe in RECIPES.values():
        for profile in ("nano", "cpu", "t4"):
            small = recipe.small_plan_for(profile)
            assert not small.load_in_4bit
            if not recipe.plan_for(profile).load_in_4bit:
                assert small == recipe.plan_for(profile)
    other = MOVIE_RECOMMENDER.small_plan_for("nano", "nano-bos")
    assert other.model.name == "nano-bos"
    assert MOVIE_RECOMMENDER.small_plan_for("t4", "a/b").model.name != "a/b"


def test_the_fastest_rounds_take_turns_and_the_first_does_not_count(monkeypatch):
    clock = iter([0, 9, 9, 10, 10, 13, 13, 20, 20, 22, 22, 27])  # seconds
    monkeypatch.setattr("course_utils.machine.timing.perf_counter", lambda: next(clock))
    called = []
    functions = {name: lambda name=name: called.append(name) or 0 for name in "ab"}
    assert fastest(functions, rounds=2) == {"a": 2, "b": 5}
    assert called == list("ababab")

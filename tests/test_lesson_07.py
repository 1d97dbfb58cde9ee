"""Lesson 07's cells do what the package's export does; its numbers by other ways."""

import ast
import inspect
import math

import notebook_cells as cells
import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants
from scipy import integrate, stats

from course_utils.exercises import EXERCISES
from course_utils.gguf import export
from course_utils.gguf.file import predicted_tensors
from course_utils.machine.profile import Gpu, Profile
from course_utils.model.architectures import load_architectures
from course_utils.recipes.book import RECIPES, recipe_to_export

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("07")]
T4 = Gpu("Tesla T4", (7, 5), 14.7)


def cell_with(text: str) -> str:
    return next(code for code in cells.code_cells(LESSON) if text in code)


# A reader learns arguments with which the course itself does not export.
def test_the_export_gets_what_the_package_gives_it():
    def arguments(code: str) -> tuple[int, list[str | None]]:
        [call] = [
            node
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) == "model.save_pretrained_gguf"
        ]
        return len(call.args), [keyword.arg for keyword in call.keywords]

    written_out = cell_with("model.save_pretrained_gguf(")
    assert arguments(written_out) == arguments(inspect.getsource(export))


# The largest of 64 in size, not the largest: NF4 scales a block by that.
def test_a_step_of_nf4_is_a_fifth_of_the_spread_of_normal_weights():
    def above(x):  # P(the largest |z| of 64 is above x); its integral is the mean
        return 1 - (2 * stats.norm.cdf(x) - 1) ** 64

    largest = integrate.quad(above, 0, 10)[0]
    assert largest == pytest.approx(2.60, abs=0.005)
    names: dict = {}
    exec(cell_with("largest = matrix"), names)
    assert float(names["largest"]) == pytest.approx(largest, abs=0.01)
    assert float(names["step"]) == pytest.approx(0.0796 * largest, abs=0.001)


# KL is no share of an effect: half of a shift is a quarter of the divergence.
def test_kl_grows_with_the_square_of_a_small_shift():
    rng = np.random.default_rng(0)
    logits, shift = rng.normal(size=50), 0.01 * rng.normal(size=50)

    def kl_when_kept(share):
        p, q = (np.exp(x) / np.exp(x).sum() for x in (logits + shift, logits))
        q = np.exp(logits + share * shift)
        return (p * np.log(p / (q / q.sum()))).sum()

    assert kl_when_kept(0.5) / kl_when_kept(0) == pytest.approx(0.25, rel=0.01)
    assert math.sqrt(kl_when_kept(0.9) / kl_when_kept(0)) == pytest.approx(0.1, rel=0.1)


# Five bits that lose more than five others: on weights that had been in four before.
def test_weights_unpacked_from_q4_1_meet_the_steps_of_q5_1_badly():
    def error(weights, kind):
        kind = GGMLQuantizationType[kind]
        rounded = quants.dequantize(quants.quantize(weights, kind), kind)
        return np.sqrt(np.mean((rounded - weights) ** 2))

    normal = np.random.default_rng(0).normal(size=(512, 576)).astype(np.float32)
    q4_1 = GGMLQuantizationType.Q4_1
    unpacked = quants.dequantize(quants.quantize(normal, q4_1), q4_1)
    assert error(normal, "Q5_0") == pytest.approx(0.043, abs=5e-4)
    assert error(normal, "Q5_1") == pytest.approx(0.038, abs=5e-4)
    assert error(unpacked, "Q5_0") == pytest.approx(0.043, abs=5e-4)
    assert error(unpacked, "Q5_1") == pytest.approx(0.045, abs=5e-4)


def test_the_exercise_on_types_agrees_with_the_package_tensor_by_tensor():
    type_in_file = EXERCISES["type_in_file"].solution
    for name in ("smollm2-135m", "llama-3.1-8b", "qwen2.5-0.5b"):
        shape = load_architectures()[name]
        tensors = predicted_tensors(shape, "q5_k_m")
        for module, row in (
            ("attn_q", shape.hidden_size),
            ("ffn_up", shape.hidden_size),
        ):
            for block in range(shape.layers):
                found = tensors[f"blk.{block}.{module}.weight"].type
                assert found == type_in_file(row, False)
        row = shape.intermediate_size
        kinds = {tensors[f"blk.{b}.ffn_down.weight"].type for b in range(shape.layers)}
        assert kinds == {type_in_file(row, True), type_in_file(row, False)}


# An 8B on a free T4: hours, and a disk that it does not have, for who only runs all.
def test_on_a_gpu_a_small_model_is_shipped_unless_one_is_named():
    for recipe in RECIPES.values():
        for name in ("nano", "cpu"):
            assert recipe_to_export(recipe, Profile(name, "cpu")) is recipe
        small = recipe_to_export(recipe, Profile("t4", "cuda", None, T4))
        shipped = small.plan_for("t4")
        assert shipped.model.name == "Qwen/Qwen2.5-0.5B-Instruct"
        own = recipe.plan.model.name
        if small is not recipe:
            assert not shipped.load_in_4bit and small.name == f"{recipe.name}-small"
            assert shipped.rank == recipe.plan.rank and small.title == recipe.title
        asked = Profile("t4", "cuda", own, T4)
        assert recipe_to_export(recipe, asked) is recipe
        assert recipe.plan_for("t4", own).model.name == own

"""COURSE_MODEL: a folder of another family than Llama, Mistral and Qwen2.5.

Lessons 01 and 07 read shapes of the loaded model's config; both used to stop there, 07
after 03 had trained.
"""

import dataclasses
import json
import subprocess
import sys

import notebook_cells as cells
import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from course_utils.gguf import llama_cpp
from course_utils.gguf.export import (
    ExportProblem,
    export_gguf,
    levels_that_fit,
    needed_bytes,
)
from course_utils.gguf.fidelity import row_budget
from course_utils.gguf.file import LEVELS, predicted_tensors, read_gguf
from course_utils.memory.formulas import weight_bytes
from course_utils.memory.measured import tensor_bytes
from course_utils.memory.unsloth import plan_run
from course_utils.model import loading as models
from course_utils.model.architectures import Architecture
from course_utils.model.bundled import save_together
from course_utils.model.nano import nano_tokenizer
from course_utils.recipes.plan import Source

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("01")]
SHAPES = {
    "vocab_size": 49152,
    "hidden_size": 64,  # the narrowest that bitsandbytes packs
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "pad_token_id": 2,
    "eos_token_id": 2,
    "bos_token_id": 1,
}
FAMILIES = {
    "qwen3": {"head_dim": 16},
    "gemma3_text": {"head_dim": 16},
    "phi3": {"num_key_value_heads": 4, "tie_word_embeddings": False},
}


def made(family, folder):
    """A folder of random weights, as COURSE_MODEL takes it."""
    config = AutoConfig.for_model(family, **{**SHAPES, **FAMILIES[family]})
    model = AutoModelForCausalLM.from_config(config)
    save_together(model, nano_tokenizer(), folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def own_plan(request, plan, tmp_path_factory):
    """A plan whose model is such a folder."""
    folder = made(request.param, tmp_path_factory.mktemp(request.param))
    return dataclasses.replace(plan, model=Source(str(folder)))


# What lesson 01 prints of a matrix that every family has by this name.
def test_its_packed_matrices_are_found_where_lesson_01_looks(own_plan, profile):
    model, _ = models.load_base(own_plan, profile, load_in_4bit=True)
    [cell] = [c for c in cells.code_cells(LESSON) if "quant_state\n" in c]
    state = model.model.layers[0].mlp.down_proj.weight.quant_state
    assert "layers[0].mlp.down_proj.weight.quant_state" in cell
    assert state.quant_type == "nf4" and state.nested


def test_its_shapes_are_read_and_its_bytes_predicted(own_plan, profile):
    model, _ = models.load_base(own_plan, profile, load_in_4bit=True)
    shapes = Architecture.from_config(model.config, own_plan.model.name)
    rest = model.get_input_embeddings().weight.element_size()
    planned = weight_bytes(shapes, "nf4_double_quant", rest, tables=True)
    assert planned == pytest.approx(tensor_bytes(model).total_bytes, rel=0.001)
    by_the_rule = shapes.linear_parameters * 4.127 / 8  # lesson 01's own
    by_the_rule += (shapes.parameters - shapes.linear_parameters) * rest
    assert by_the_rule == pytest.approx(tensor_bytes(model).total_bytes, rel=0.05)


def test_its_adapter_is_planned_as_unsloth_attaches_it(own_plan, profile):
    model, _ = models.load_base(own_plan, profile)
    shapes = Architecture.from_config(model.config)
    model = models.attach_lora(model, own_plan)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert shapes.lora_parameters(own_plan.rank, own_plan.target_modules) == trained
    run = plan_run(shapes, rank=own_plan.rank, modules=own_plan.target_modules)
    assert run.adapter_bytes == 4 * trained and run.total_bytes > run.weight_bytes


def test_its_export_is_planned(own_plan, profile):
    model, _ = models.load_base(own_plan, profile)
    shapes = Architecture.from_config(model.config, "this model")
    assert row_budget(shapes, 16) == 4
    for level in LEVELS:
        found = predicted_tensors(shapes, level)
        assert sum(tensor.elements for tensor in found.values()) == shapes.parameters
    assert needed_bytes(shapes, ["q8_0"]) > shapes.parameters
    assert not any(levels_that_fit(shapes, free_bytes=1e10, memory_bytes=1e10).values())


def adapter_of(plan, profile, folder):
    model, tokenizer = models.load_base(plan, profile)
    models.attach_lora(model, plan).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return models.load_adapter(folder, plan, profile, load_in_4bit=False)


@pytest.mark.parametrize("family", ["qwen3", "gemma3_text"])
def test_it_is_exported_to_the_tensors_that_were_predicted(
    family, plan, profile, tmp_path
):
    llama_cpp.build_if_missing()
    base = made(family, tmp_path / "base")
    own = dataclasses.replace(plan, model=Source(str(base)))
    model, tokenizer = adapter_of(own, profile, tmp_path / "adapter")
    shapes = Architecture.from_config(model.config)
    target = tmp_path / "gguf"
    files = export_gguf(model, tokenizer, target, ["q8_0"], architecture=shapes)
    assert read_gguf(files["q8_0"]).tensors == predicted_tensors(shapes, "q8_0")


def test_phi_3_without_sentencepiece_is_refused_before_the_merge(
    plan, profile, tmp_path
):
    base = made("phi3", tmp_path / "base")
    own = dataclasses.replace(plan, model=Source(str(base)))
    model, tokenizer = adapter_of(own, profile, tmp_path / "adapter")
    shapes = Architecture.from_config(model.config)
    target = tmp_path / "gguf"
    told = "Phi3ForCausalLM.*without tokenizer.model.*Copy tokenizer.model"
    with pytest.raises(ExportProblem, match=told):
        export_gguf(model, tokenizer, target, ["q8_0"], architecture=shapes)
    assert not target.exists()


# The way on that the refusal names, for a tokenizer that is no SentencePiece.
def test_phi_3_with_another_tokenizer_class_is_converted_by_hand(tmp_path):
    folder = made("phi3", tmp_path / "merged")
    path = folder / "tokenizer_config.json"
    said = json.loads(path.read_text("utf-8")) | {"tokenizer_class": "GPT2Tokenizer"}
    path.write_text(json.dumps(said), "utf-8")
    converter = llama_cpp.build_if_missing() / "convert_hf_to_gguf.py"
    command = [sys.executable, str(converter), str(folder), "--outtype", "q8_0"]
    target = tmp_path / "by-hand.gguf"
    command += ["--outfile", str(target)]
    subprocess.run(command, check=True, capture_output=True)
    assert read_gguf(target).end_token == "<|im_end|>"

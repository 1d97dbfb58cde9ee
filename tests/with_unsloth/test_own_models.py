"""COURSE_MODEL: a folder of another family than Llama, Mistral and Qwen2.5.

Lessons 01 and 07 read shapes of the loaded model's config; both used to stop there, 07
after 03 had trained.
"""

import dataclasses

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from course_utils.gguf.export import levels_that_fit, needed_bytes
from course_utils.gguf.fidelity import row_budget
from course_utils.gguf.file import LEVELS, predicted_tensors
from course_utils.memory.formulas import weight_bytes
from course_utils.memory.measured import tensor_bytes
from course_utils.memory.unsloth import plan_run
from course_utils.model import loading as models
from course_utils.model.architectures import Architecture
from course_utils.model.bundled import save_together
from course_utils.model.nano import nano_tokenizer
from course_utils.recipes.plan import Source

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


@pytest.fixture(scope="module", params=FAMILIES)
def own_plan(request, plan, tmp_path_factory):
    """A plan whose model is a folder of random weights."""
    folder = tmp_path_factory.mktemp(request.param)
    config = AutoConfig.for_model(
        request.param, **{**SHAPES, **FAMILIES[request.param]}
    )
    model = AutoModelForCausalLM.from_config(config)
    save_together(model, nano_tokenizer(), folder)
    return dataclasses.replace(plan, model=Source(str(folder)))


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

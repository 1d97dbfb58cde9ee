"""Shapes of models of any family, from what their config.json says."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from course_utils.memory.formulas import activation_bytes, weight_bytes
from course_utils.memory.measured import saved_activation_bytes, tensor_bytes
from course_utils.memory.planner import plan_memory
from course_utils.model.architectures import ALL_LINEAR, Architecture
from course_utils.model.drawing import draw_block
from course_utils.model.families import UnknownArchitecture, load_models

MODELS = load_models()
TINY = {
    "vocab_size": 64,
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "use_cache": False,
}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
FAMILIES = {
    "qwen3": {"head_dim": 32},
    "gemma2": {"head_dim": 16},
    "gemma3_text": {"head_dim": 16, "tie_word_embeddings": True},
    "phi3": {},
    "smollm3": {},
    "mixtral": EXPERTS,
}


def config_of(family, **changes):
    return AutoConfig.for_model(family, **{**TINY, **FAMILIES[family], **changes})


def tiny(family, **changes):
    """The config and a model of random weights."""
    config = config_of(family, **changes)
    with torch.random.fork_rng():
        return config, AutoModelForCausalLM.from_config(config)


# What COURSE_MODEL was refused for: a family that is not Llama, Mistral or Qwen2.5.
@pytest.mark.parametrize("name", MODELS)
def test_a_public_models_parameters_are_exact(name):
    model = MODELS[name]
    shape = model.architecture(name)
    assert shape.parameters == model.parameters == sum(shape.tensor_sizes())
    assert shape.active_parameters == (model.active or model.parameters)
    assert shape.tied_embeddings is model.config["tie_word_embeddings"]
    tables = 1 if shape.tied_embeddings else 2
    assert shape.embedding_parameters == tables * shape.vocab_size * shape.hidden_size


def test_gemma_2_is_counted_by_hand():
    shape = MODELS["gemma-2-2b"].architecture("gemma")
    block = 2304 * (2048 + 2 * 1024) + 2048 * 2304 + 3 * 2304 * 9216
    assert shape.linear_parameters == 26 * block
    # Four norms a block and one at the end; the head is the embedding.
    assert shape.parameters == 26 * (block + 4 * 2304) + 2304 + 256_000 * 2304


def test_of_mixtrals_eight_experts_a_token_meets_two():
    shape = MODELS["mixtral-8x7b"].architecture("mixtral")
    expert = 3 * 4096 * 14336
    assert shape.parameters - shape.active_parameters == 32 * 6 * expert
    assert shape.target_modules == ("q_proj", "k_proj", "v_proj", "o_proj")
    # The experts are one tensor a block: in 16 bits also where the rest is packed.
    assert weight_bytes(shape, "nf4") > 2 * 32 * 8 * expert
    with pytest.raises(ValueError, match=r"'down_proj'.*q_proj.*experts are no linear"):
        shape.lora_parameters(16, ALL_LINEAR)


def test_phi_3_has_two_fused_matrices_and_the_seven_names_mean_them():
    shape = MODELS["phi-3-mini"].architecture("phi")
    assert shape.linear_shapes()["qkv_proj"] == (3072, 3 * 3072)
    assert shape.linear_shapes()["gate_up_proj"] == (3072, 2 * 8192)
    fused = 4 * (3072 + 3 * 3072 + 3072 + 2 * 8192 + 3072 + 3072 + 8192 + 3072)
    assert (
        shape.lora_parameters(4, ALL_LINEAR) == shape.lora_parameters(4) == 32 * fused
    )
    assert shape.present(("q_proj", "v_proj")) == ["qkv_proj"]


def test_a_sliding_window_changes_no_count():
    block = 2 * 96 * 96 + 2 * 96 * 32 + 3 * 96 * 160 + 4 * 96
    for window in (8, 4096):
        shape = Architecture.from_config(config_of("gemma2", sliding_window=window))
        assert shape.sliding_window == window
        assert shape.parameters == 3 * block + 96 + 64 * 96


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_are_those_of_a_real_model_and_of_peft(family):
    config, model = tiny(family)
    shape = Architecture.from_config(config)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    adapted = get_peft_model(
        model, LoraConfig(r=4, target_modules=list(shape.target_modules))
    )
    trained = [p.numel() for p in adapted.parameters() if p.requires_grad]
    assert sum(trained) == shape.lora_parameters(4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_planned_weights_are_those_that_torch_holds(family):
    config, model = tiny(family)
    shape = Architecture.from_config(config)
    parameters = weight_bytes(shape, "bf16")
    buffers = sum(b.nbytes for b in model.buffers())  # rotary tables, in fp32
    assert tensor_bytes(model.bfloat16()).total_bytes - parameters <= buffers


@pytest.mark.parametrize(
    ("family", "lowest"), [("phi3", 0.93), ("mixtral", 0.87), (None, 0.975)]
)
@pytest.mark.parametrize("rank", [None, 4])
def test_the_estimate_of_activations_is_close_and_never_too_high(family, lowest, rank):
    for name in [family] if family else FAMILIES.keys() - {"phi3", "mixtral"}:
        config, model = tiny(name, attn_implementation="sdpa")
        shape = Architecture.from_config(config)
        if rank:
            target = LoraConfig(r=rank, target_modules=list(shape.target_modules))
            model = get_peft_model(model, target)
            model.enable_input_require_grads()
        ids = torch.zeros(2, 64, dtype=torch.long)
        kept = saved_activation_bytes(
            lambda m=model, x=ids: m(input_ids=x).logits, model
        )
        planned = activation_bytes(
            shape,
            tokens=ids.numel(),
            gradient_checkpointing=False,
            rank=rank,
            modules=shape.target_modules,
            compute_bytes=4,
        )
        lower = lowest - 0.04 * (name == "mixtral" and rank is None)
        assert lower <= planned / kept <= 1, name


# Embedding and head as targets: PEFT trains A and B beside them, or a copy in full.
@pytest.mark.parametrize("family", ["qwen3", "phi3"])
def test_embedding_and_head_are_planned_as_peft_trains_them(family):
    def trained(**lora):
        adapted = get_peft_model(tiny(family)[1], LoraConfig(r=4, **lora))
        return sum(p.numel() for p in adapted.parameters() if p.requires_grad)

    shape = Architecture.from_config(config_of(family))
    low_rank = ["o_proj", "embed_tokens", "lm_head"]
    assert shape.lora_parameters(4, low_rank) == trained(target_modules=low_rank)
    full = {"modules_to_save": ["embed_tokens", "lm_head"]}
    plan = plan_memory(shape, "lora", rank=4, modules=("o_proj",), **full)
    assert plan.adapter_bytes == 4 * trained(target_modules=["o_proj"], **full)
    with pytest.raises(ValueError, match=r"modules_to_save has o_proj; expected some"):
        plan_memory(shape, "lora", modules_to_save=("o_proj",))


def test_a_block_of_seven_matrices_is_drawn_and_another_one_is_refused():
    draw_block(Architecture.from_config(config_of("qwen3")))
    with pytest.raises(ValueError, match=r"draws seven matrices.*qkv_proj"):
        draw_block(Architecture.from_config(config_of("phi3")))


@pytest.mark.parametrize("family", ["gpt2", "opt", "falcon", "gpt_neox", "mamba"])
def test_older_families_are_counted_as_well(family):
    config = AutoConfig.for_model(family)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shape = Architecture.from_config(config)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert 0 < shape.linear_parameters < shape.parameters


def test_what_is_no_causal_model_is_refused_in_our_words():
    with pytest.raises(UnknownArchitecture, match=r"type 't5'; expected .*an encoder"):
        Architecture.from_config(AutoConfig.for_model("t5"))


def test_a_quantized_models_config_has_the_shapes_that_it_was_packed_from():
    config = config_of("qwen3")
    plain = Architecture.from_config(config).parameters
    config.quantization_config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    assert Architecture.from_config(config).parameters == plain
    assert config.quantization_config  # the caller's config stays as it was

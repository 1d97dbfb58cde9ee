import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from course_utils.data.files import FaultyData
from course_utils.model.architectures import (
    ALL_LINEAR,
    ARCHITECTURES_PATH,
    ATTENTION,
    MLP,
    Architecture,
    load_architectures,
)

ARCHITECTURES = load_architectures()

# Counted on models built on the meta device with transformers 5.17 and peft 0.21:
# parameters, those in linear layers, embedding and head, LoRA r=16 and r=32 on all
# seven, LoRA r=8 on q_proj and v_proj.
COUNTS = {
    "smollm2-135m": (134515008, 106168320, 28311552, 4884480, 9768960, 460800),
    "qwen2.5-0.5b": (494032768, 357826560, 136134656, 8798208, 17596416, 540672),
    "mistral-7b": (7241732096, 6979321856, 262144000, 41943040, 83886080, 3407872),
    "llama-2-7b": (6738415616, 6476005376, 262144000, 39976960, 79953920, 4194304),
    "qwen2.5-7b": (7615616512, 6525288448, 1089994752, 40370176, 80740352, 2523136),
    "llama-3.1-8b": (8030261248, 6979321856, 1050673152, 41943040, 83886080, 3407872),
    "llama-1-65b": (
        *(65285660672, 64760053760, 524288000),
        *(199884800, 399769600, 20971520),
    ),
    "llama-2-70b": (
        *(68976648192, 68451041280, 524288000),
        *(207093760, 414187520, 16384000),
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_counts_equal_those_of_the_real_libraries(name):
    shape = ARCHITECTURES[name]
    assert COUNTS[name] == (
        shape.parameters,
        shape.linear_parameters,
        shape.embedding_parameters,
        shape.lora_parameters(16),
        shape.lora_parameters(32),
        shape.lora_parameters(8, ("q_proj", "v_proj")),
    )


def test_every_model_of_the_file_is_checked_here():
    assert ARCHITECTURES.keys() == COUNTS.keys()


def test_a_models_linear_shapes_are_inputs_then_outputs():
    shapes = ARCHITECTURES["qwen2.5-0.5b"].linear_shapes()
    assert tuple(shapes) == ALL_LINEAR == ATTENTION + MLP
    assert shapes["k_proj"] == (896, 128)
    assert shapes["down_proj"] == (4864, 896)


def test_an_adapter_on_one_key_projection_is_counted_by_hand():
    # Qwen2.5-0.5B: 24 layers, A is 4 x 896 and B is 128 x 4.
    sizes = ARCHITECTURES["qwen2.5-0.5b"].lora_tensor_sizes(4, ("k_proj",))
    assert sizes == [4 * 896, 128 * 4] * 24


def test_a_module_named_twice_is_counted_once():
    shape = ARCHITECTURES["smollm2-135m"]
    once, twice = (shape.lora_parameters(8, ("q_proj",) * n) for n in (1, 2))
    assert once == twice


@pytest.mark.parametrize(
    ("name", "rank", "percent"),
    [
        ("mistral-7b", 16, 0.60),
        ("mistral-7b", 32, 1.20),
        ("mistral-7b", 256, 9.62),
        ("smollm2-135m", 16, 4.60),
        ("qwen2.5-0.5b", 32, 4.92),
    ],
)
def test_the_adapters_share_of_the_work_grows_with_the_rank(name, rank, percent):
    share = ARCHITECTURES[name].lora_flops_share(rank)
    assert 100 * share == pytest.approx(percent, abs=0.005)


def test_the_break_even_rank_is_half_the_width_of_a_square_matrix():
    assert ARCHITECTURES["mistral-7b"].break_even_rank("q_proj") == 2048


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("module", ALL_LINEAR)
def test_past_the_break_even_rank_the_adapter_is_larger_than_the_matrix(name, module):
    shape = ARCHITECTURES[name]
    rank = shape.break_even_rank(module)
    inputs, outputs = shape.linear_shapes()[module]
    matrix = shape.layers * inputs * outputs
    assert shape.lora_parameters(rank, (module,)) <= matrix
    assert shape.lora_parameters(rank + 1, (module,)) > matrix


def test_the_break_even_rank_of_a_narrow_projection_is_low():
    assert ARCHITECTURES["qwen2.5-0.5b"].break_even_rank("k_proj") == 112


SMALL = {
    "vocab_size": 101,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("config_class", "model_class"),
    [(LlamaConfig, LlamaForCausalLM), (Qwen2Config, Qwen2ForCausalLM)],
)
def test_a_model_built_from_a_config_has_the_counted_parameters(
    config_class, model_class, tied
):
    config = config_class(**SMALL, tie_word_embeddings=tied)
    with torch.device("meta"):
        model = model_class(config)
    shape = Architecture.from_config(model.config)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    block = dict(model.model.layers[0].named_modules())
    for name, (inputs, outputs) in shape.linear_shapes().items():
        linear = next(module for key, module in block.items() if key.endswith(name))
        assert tuple(linear.weight.shape) == (outputs, inputs)


def test_biases_of_attention_are_counted_where_a_llama_has_them():
    config = LlamaConfig(**SMALL, attention_bias=True)
    # 3 layers: 24 + 8 + 8 for q, k, v, and 24 for o.
    plain = Architecture.from_config(LlamaConfig(**SMALL))
    biased = Architecture.from_config(config)
    assert biased.parameters == plain.parameters + 3 * (24 + 8 + 8 + 24)
    assert biased.linear_parameters == plain.linear_parameters


def test_an_unknown_module_is_refused_also_when_a_string_was_meant_as_one_name():
    shape = ARCHITECTURES["smollm2-135m"]
    with pytest.raises(ValueError, match=r"'query' is no linear layer.*q_proj, k_proj"):
        shape.lora_parameters(8, ("query",))
    with pytest.raises(ValueError, match="Pass a tuple of names"):
        shape.lora_parameters(8, "q_proj")


def test_a_rank_below_one_is_refused():
    with pytest.raises(ValueError, match="rank is 0; expected 1 or more"):
        ARCHITECTURES["smollm2-135m"].lora_parameters(0)


@pytest.fixture
def write_entry(tmp_path):
    def write(**changes):
        entry = yaml.safe_load(ARCHITECTURES_PATH.read_text())["smollm2-135m"]
        entry = {**entry, **changes}
        entry = {field: value for field, value in entry.items() if value is not None}
        path = tmp_path / "architectures.yaml"
        path.write_text(yaml.safe_dump({"smollm2-135m": entry}))
        return path

    return write


def test_a_wrong_width_is_refused_since_the_sum_no_longer_fits(write_entry):
    with pytest.raises(
        FaultyData, match=r"parameters: found 134515008 \(published\).*config\.json"
    ):
        load_architectures(write_entry(intermediate_size=1537))


def test_missing_unknown_and_mistyped_fields_are_named_at_once(write_entry):
    with pytest.raises(FaultyData) as caught:
        load_architectures(write_entry(head_dim=None, heads=9, layers="many"))
    found = {
        fault.field: (fault.found, fault.expected) for fault in caught.value.faults
    }
    assert found.keys() == {
        f"smollm2-135m.{name}" for name in ("head_dim", "heads", "layers")
    }
    assert found["smollm2-135m.head_dim"][1] == "the key head_dim"
    assert found["smollm2-135m.heads"][1] == "no such key: a typing error?"
    assert found["smollm2-135m.layers"] == ("'many'", "a whole number")

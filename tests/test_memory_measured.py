import bitsandbytes as bnb
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.memory.formulas import weight_bytes
from course_utils.memory.measured import saved_activation_bytes, tensor_bytes
from course_utils.model.architectures import Architecture


def packed_linear(double: bool) -> bnb.nn.Linear4bit:
    layer = bnb.nn.Linear4bit(128, 256, quant_type="nf4", compress_statistics=double)
    return layer.to("cpu")  # moving it is what packs it


def test_a_4bit_layer_is_counted_with_its_scales_and_codebook():
    # 32,768 weights: half a byte each, 512 blocks with an fp32 scale, 16 fp32 values;
    # 256 biases in fp32.
    found = tensor_bytes(packed_linear(double=False))
    assert found.packed_bytes == 16_384
    assert found.scale_bytes == 512 * 4 + 16 * 4
    assert found.rest_bytes == 256 * 4
    assert found.total_bytes == 16_384 + 2_112 + 1_024


def test_double_quantization_makes_the_scales_smaller_and_adds_a_table():
    # 512 scales in 8 bit, 2 blocks of them with an fp32 scale, their offset, a table
    # of 256 fp32 values and the 16 of NF4.
    found = tensor_bytes(packed_linear(double=True))
    assert found.packed_bytes == 16_384
    assert found.scale_bytes == 512 + 2 * 4 + 4 + 256 * 4 + 16 * 4


def test_an_8bit_layer_is_counted_with_one_scale_a_row():
    layer = bnb.nn.Linear8bitLt(128, 256, bias=False, has_fp16_weights=False)
    found = tensor_bytes(layer.to("cpu"))
    assert (found.packed_bytes, found.scale_bytes) == (128 * 256, 256 * 4)
    assert found.rest_bytes == 0


def test_shared_storage_is_counted_once_and_buffers_are_counted():
    model = nn.ModuleDict({"a": nn.Linear(10, 7, bias=False), "b": nn.Linear(10, 7)})
    model["b"].weight = model["a"].weight
    model.register_buffer("positions", torch.arange(3))
    assert tensor_bytes(model).total_bytes == 10 * 7 * 4 + 7 * 4 + 3 * 8


def test_a_model_without_data_is_counted_as_if_it_had_some():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(10, 7, bias=False), nn.Linear(7, 2, bias=False))
    assert tensor_bytes(model).total_bytes == (70 + 14) * 4


def test_autograd_keeps_the_input_of_each_layer_and_of_the_activation():
    # Batch of 5. Linear keeps its input (5 x 10), tanh its result (5 x 7), which is
    # also the second layer's input and counts once.
    model = nn.Sequential(nn.Linear(10, 7), nn.Tanh(), nn.Linear(7, 2))
    batch = torch.ones(5, 10)
    assert saved_activation_bytes(lambda: model(batch), model) == 4 * (5 * 10 + 5 * 7)


def test_autograd_keeps_no_input_of_a_frozen_layer():
    model = nn.Sequential(nn.Linear(10, 7), nn.Tanh(), nn.Linear(7, 2))
    model[2].requires_grad_(False)
    model[0].requires_grad_(False)
    batch = torch.ones(5, 10, requires_grad=True)
    assert saved_activation_bytes(lambda: model(batch), model) == 4 * 5 * 7


def test_nothing_is_kept_without_gradients():
    model = nn.Linear(10, 7)

    def forward():
        with torch.no_grad():
            return model(torch.ones(5, 10))

    assert saved_activation_bytes(forward, model) == 0


@pytest.mark.parametrize("double", [False, True])
def test_the_planned_weights_equal_those_of_a_packed_model_to_the_byte(double):
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=192,
        intermediate_size=320,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    for name, layer in list(model.model.layers.named_modules()):
        if isinstance(layer, nn.Linear):
            packed = bnb.nn.Linear4bit(
                *(layer.in_features, layer.out_features),
                bias=False,
                quant_type="nf4",
                compress_statistics=double,
            )
            model.model.layers.set_submodule(name, packed.to("cpu"))
    rotary = sum(buffer.nbytes for buffer in model.buffers())  # in no checkpoint
    shape = Architecture.from_config(config)
    chosen = "nf4_double_quant" if double else "nf4"
    planned = weight_bytes(shape, chosen, other_dtype_bytes=4, tables=True)
    assert tensor_bytes(model).total_bytes - rotary == planned

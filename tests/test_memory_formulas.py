import bitsandbytes as bnb
import pytest
import torch
from torch import nn

from course_utils.memory.formulas import (
    WeightFormat,
    matrix_bytes,
    optimizer_bytes,
    trainable_tensor_sizes,
    weight_bytes,
)
from course_utils.model.architectures import load_architectures

ARCHITECTURES = load_architectures()
SMOLLM2 = ARCHITECTURES["smollm2-135m"]


@pytest.mark.parametrize(
    ("name", "fp16", "nf4", "double"),
    [
        ("smollm2-135m", 0.269, 0.116, 0.111),
        ("qwen2.5-0.5b", 0.988, 0.474, 0.457),
        ("mistral-7b", 14.48, 4.45, 4.13),
        ("llama-2-7b", 13.48, 4.17, 3.87),
        ("qwen2.5-7b", 15.23, 5.85, 5.55),
        ("llama-3.1-8b", 16.06, 6.03, 5.70),
        ("llama-1-65b", 130.6, 37.48, 34.46),
        ("llama-2-70b", 137.95, 39.55, 36.36),
    ],
)
def test_the_weights_take_the_bytes_of_the_table(name, fp16, nf4, double):
    def rounds_to(expected, weight_format):
        decimals = len(str(expected).split(".")[1])
        return round(weight_bytes(ARCHITECTURES[name], weight_format) / 1e9, decimals)

    assert rounds_to(fp16, "fp16") == fp16
    assert rounds_to(nf4, "nf4") == nf4
    assert rounds_to(double, "nf4_double_quant") == double


@pytest.mark.parametrize(
    ("weight_format", "measured_mb"),
    [("fp32", 538.06), ("bf16", 269.0), ("nf4", 116.4), ("nf4_double_quant", 111.5)],
)
def test_smollm2_takes_the_bytes_that_were_measured(weight_format, measured_mb):
    planned = weight_bytes(SMOLLM2, weight_format) / 1e6
    assert planned == pytest.approx(measured_mb, abs=0.06)


def test_embedding_and_norms_upcast_to_fp32_add_two_bytes_each():
    # What prepare_model_for_kbit_training does: 28,311,552 + 35,136 numbers.
    more = weight_bytes(SMOLLM2, "nf4", 4) - weight_bytes(SMOLLM2, "nf4", 2)
    assert more == 2 * (28_311_552 + 35_136)


def test_bits_a_weight_follow_from_the_block_sizes():
    assert WeightFormat.NF4.bits_per_weight == 4.5
    assert WeightFormat.NF4_DOUBLE_QUANT.bits_per_weight == 4.126953125
    assert WeightFormat.INT8.bits_per_weight == 8
    assert [WeightFormat(f).bits_per_weight for f in ("fp32", "bf16", "fp16")] == [
        *(32, 16, 16)
    ]


def test_the_last_block_of_a_matrix_is_stored_whole():
    # 3 x 50 = 150 weights: 75 bytes of codes, 3 scales, one scale of the scales.
    assert matrix_bytes((3, 50), WeightFormat.NF4) == 75 + 3 * 4
    assert matrix_bytes((3, 50), WeightFormat.NF4_DOUBLE_QUANT) == 75 + 3 + 4
    assert matrix_bytes((3, 50), WeightFormat.INT8) == 150 + 50 * 4
    assert matrix_bytes((3, 50), WeightFormat.BF16) == 300


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("shape", [(64, 100), (192, 8), (1024, 128)])
def test_a_matrix_takes_the_bytes_that_bitsandbytes_stores(shape, double):
    codes, state = bnb.functional.quantize_4bit(
        torch.ones(shape[::-1]), quant_type="nf4", compress_statistics=double
    )
    stored = [codes, state.absmax, state.code]
    if double:
        stored += [state.offset, state.state2.absmax, state.state2.code]
    chosen = WeightFormat.NF4_DOUBLE_QUANT if double else WeightFormat.NF4
    assert matrix_bytes(shape, chosen, tables=True) == sum(t.nbytes for t in stored)


def test_an_unknown_format_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'int4'; expected one of fp32, bf16, fp16"):
        weight_bytes(SMOLLM2, "int4")


def test_8bit_adam_keeps_small_tensors_in_fp32_and_pays_for_scales():
    # 4,095: 8 bytes each. 4,096: 2 bytes each, and 16 blocks x 2 scales x 4 bytes.
    assert optimizer_bytes([4095], "adamw_8bit") == 4095 * 8
    assert optimizer_bytes([4096], "adamw_8bit") == 2 * 4096 + 16 * 2 * 4
    assert optimizer_bytes([4097], "adamw_8bit") == 2 * 4097 + 17 * 2 * 4


def test_planned_optimizer_bytes_equal_the_state_of_a_real_8bit_optimizer():
    shapes = [(16, 576), (192, 16), (100, 100)]
    parameters = [nn.Parameter(torch.ones(shape)) for shape in shapes]
    optimizer = bnb.optim.AdamW8bit(parameters, lr=1e-3)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    kept = [
        tensor.nbytes
        for state in optimizer.state.values()
        for name, tensor in state.items()
        if torch.is_tensor(tensor) and not name.startswith("qmap")  # shared table
    ]
    sizes = [parameter.numel() for parameter in parameters]
    assert optimizer_bytes(sizes, "adamw_8bit") == sum(kept)


def test_8bit_adam_takes_more_than_two_bytes_on_a_small_adapter():
    sizes = SMOLLM2.lora_tensor_sizes(16)
    assert optimizer_bytes(sizes, "adamw_8bit") / sum(sizes) == pytest.approx(
        2.2565, abs=1e-4
    )
    assert optimizer_bytes(sizes, "adamw") == 8 * sum(sizes)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_trainable_tensors_of_full_tuning_are_all_parameters(name):
    shape = ARCHITECTURES[name]
    assert sum(trainable_tensor_sizes(shape)) == shape.parameters

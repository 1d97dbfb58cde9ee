import pytest

from course_utils.memory.planner import TRANSFORMERS_LOGITS, plan_memory
from course_utils.model.architectures import load_architectures

ARCHITECTURES = load_architectures()
QWEN, LLAMA_8B = ARCHITECTURES["qwen2.5-0.5b"], ARCHITECTURES["llama-3.1-8b"]


@pytest.mark.parametrize(
    ("optimizer", "master_copy", "bytes_a_parameter"),
    [("adamw", True, 16), ("adamw", False, 12), ("adamw_bf16", False, 8)],
)
def test_full_tuning_costs_a_fixed_number_of_bytes_a_parameter(
    optimizer, master_copy, bytes_a_parameter
):
    plan = plan_memory(LLAMA_8B, "full", optimizer=optimizer, master_copy=master_copy)
    assert plan.static_bytes == bytes_a_parameter * 8_030_261_248


def test_full_tuning_in_fp32_costs_16_bytes_too_and_has_no_second_copy():
    plan = plan_memory(LLAMA_8B, "full", weight_format="fp32", compute_bytes=4)
    assert plan.static_bytes == 16 * 8_030_261_248
    assert plan.optimizer_bytes == 8 * 8_030_261_248


def test_full_tuning_of_llama_8b_needs_128_gb_before_activations():
    assert plan_memory(LLAMA_8B, "full").static_bytes / 1e9 == pytest.approx(
        128.5, abs=0.05
    )


def test_lora_adds_16_bytes_a_trained_number_to_frozen_weights():
    lora, qlora = plan_memory(LLAMA_8B, "lora"), plan_memory(LLAMA_8B, "qlora")
    assert lora.static_bytes - lora.weight_bytes == 16 * 41_943_040
    assert lora.static_bytes / 1e9 == pytest.approx(16.732, abs=0.001)
    assert qlora.static_bytes / 1e9 == pytest.approx(6.699, abs=0.001)


def test_a_65b_model_fits_a_48_gb_card_with_qlora():
    plan = plan_memory(
        ARCHITECTURES["llama-1-65b"],
        weight_format="nf4_double_quant",
        rank=64,
        optimizer="adamw_8bit",
        sequence_length=512,
    )
    assert plan.weight_bytes / 1e9 == pytest.approx(34.46, abs=0.005)
    assert plan.fits(48 * 2**30)
    assert not plan.fits(40 * 2**30)


@pytest.mark.parametrize(
    ("batch", "length", "gigabytes"), [(8, 2048, 8.41), (1, 2048, 1.05)]
)
def test_one_copy_of_the_logits_is_batch_x_length_x_vocabulary_x_4(
    batch, length, gigabytes
):
    plan = plan_memory(
        LLAMA_8B, batch_size=batch, sequence_length=length, logit_copies=1
    )
    assert plan.logit_bytes == batch * length * 128_256 * 4
    assert plan.logit_bytes / 1e9 == pytest.approx(gigabytes, abs=0.005)


def test_a_plan_counts_no_logits_unless_the_loss_is_transformers_own():
    full = plan_memory(QWEN, logit_copies=TRANSFORMERS_LOGITS)
    assert plan_memory(QWEN).logit_bytes == 0
    assert full.logit_bytes == 2 * 2048 * 151_936 * 4
    assert full.total_bytes - full.logit_bytes == plan_memory(QWEN).total_bytes


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_more_sequences_need_more_memory_in_proportion(method, checkpointing):
    one, two, four = (
        plan_memory(
            QWEN, method, batch_size=batch, gradient_checkpointing=checkpointing
        )
        for batch in (1, 2, 4)
    )
    assert one.total_bytes < two.total_bytes < four.total_bytes
    assert one.static_bytes == four.static_bytes
    assert four.activation_bytes == 2 * two.activation_bytes


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_checkpointing_reduces_activations_and_nothing_else(method):
    with_it = plan_memory(QWEN, method, gradient_checkpointing=True)
    without = plan_memory(QWEN, method, gradient_checkpointing=False)
    assert with_it.activation_bytes < without.activation_bytes / 5
    assert with_it.static_bytes == without.static_bytes
    assert with_it.logit_bytes == without.logit_bytes


def test_a_plan_is_the_sum_of_its_parts_and_fits_its_own_size():
    plan = plan_memory(QWEN)
    assert plan.total_bytes == sum(plan.parts().values())
    assert plan.fits(plan.total_bytes)
    assert not plan.fits(plan.total_bytes - 1)


def test_the_table_shows_every_part_in_both_units():
    lines = plan_memory(LLAMA_8B).table().splitlines()
    assert lines[0] == "Llama-3.1-8B, qlora"
    assert lines[2].split() == ["weights", "6.028", "5.614", "78.1%"]
    assert [line.split()[0] for line in lines[3:]] == [
        *("adapter", "gradients", "optimizer", "activations", "logits", "total")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "sft"}, "method is 'sft'; expected one of full, lora, qlora"),
        ({"method": "full", "weight_format": "nf4"}, "'full' on nf4.*frozen"),
        ({"method": "lora", "weight_format": "nf4"}, "'lora' on nf4.*that is `qlora`"),
        ({"method": "qlora", "weight_format": "bf16"}, "'qlora' on bf16"),
        ({"batch_size": 0}, "batch_size is 0; expected 1 or more"),
        ({"sequence_length": -1}, "sequence_length is -1"),
        ({"rank": 0}, "rank is 0"),
        ({"modules": ("head",)}, "'head' is no linear layer"),
        ({"optimizer": "lion"}, "'lion'; expected one of adamw, adamw_torch"),
    ],
)
def test_arguments_that_cannot_be_planned_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_memory(QWEN, **arguments)

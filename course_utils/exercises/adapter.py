"""Exercises of LoRA (lesson 02) and of the methods around it (09)."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.exercises.checking import Case, Exercise

_QUERY_AND_VALUE = ["q_proj", "v_proj"]


def adapter_parameters(inputs: int, outputs: int, rank: int, blocks: int) -> int:
    """Trained numbers of one module's adapters, over all blocks."""
    return blocks * rank * (inputs + outputs)


class _Llama(LlamaForCausalLM):
    """A random Llama that a message can name in one line."""

    def __init__(self, blocks: int, width: int, heads: int, key_heads: int):
        config = LlamaConfig(
            vocab_size=32,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=blocks,
            num_attention_heads=heads,
            num_key_value_heads=key_heads,
        )
        super().__init__(config)

    def __repr__(self) -> str:
        c = self.config
        return (
            f"<Llama: {c.num_hidden_layers} blocks, width {c.hidden_size}, "
            f"{c.num_key_value_heads} key heads for {c.num_attention_heads} heads>"
        )


def _attached(base: Any, rank: int, modules: list[str]) -> Any:
    return get_peft_model(base, LoraConfig(r=rank, target_modules=modules))


def _block_parameters(base: Any, rank: int) -> int:
    """Of query and value in one block."""
    c = base.config
    values = c.hidden_size * c.num_key_value_heads // c.num_attention_heads
    return rank * (2 * c.hidden_size + c.hidden_size + values)


def attach_to_query_and_value(base: Any, rank: int) -> tuple[int, Any]:
    """The predicted number of trained parameters, and the model with its adapter."""
    predicted = base.config.num_hidden_layers * _block_parameters(base, rank)
    return predicted, _attached(base, rank, _QUERY_AND_VALUE)


def _square_values(base: Any, rank: int) -> tuple[int, Any]:
    c = base.config
    predicted = c.num_hidden_layers * rank * 4 * c.hidden_size
    return predicted, _attached(base, rank, _QUERY_AND_VALUE)


def _one_block(base: Any, rank: int) -> tuple[int, Any]:
    return _block_parameters(base, rank), _attached(base, rank, _QUERY_AND_VALUE)


def _all_attention(base: Any, rank: int) -> tuple[int, Any]:
    model = _attached(base, rank, ["q_proj", "k_proj", "v_proj", "o_proj"])
    return _trained(model), model


def _never_attached(base: Any, rank: int) -> tuple[int, Any]:
    return attach_to_query_and_value(base, rank)[0], base.requires_grad_(True)


def _trained(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _prediction_and_count(result: tuple[int, nn.Module]) -> tuple[int, int, list[str]]:
    """What was predicted, what the model trains, and which modules it adapts."""
    predicted, model = result
    names = [name for name, _ in model.named_modules() if name.endswith(".lora_A")]
    adapted = {name.split(".")[-2] for name in names}
    return predicted, _trained(model), sorted(adapted)


def matching_rate(
    rate: float, rank: int, alpha: float, new_rank: int, new_alpha: float
) -> float:
    """The learning rate that leaves the first updates as large as they were."""
    return rate * alpha / new_alpha


def soft_numbers(
    method: str, width: int, kv: int, inner: int, blocks: int, positions: int
) -> int:
    """Numbers that a method without matrices trains."""
    in_a_block = {"prefix tuning": positions * 2 * kv, "IA3": 2 * kv + inner}
    if method == "prompt tuning":
        return positions * width
    return blocks * in_a_block[method]


def _wide_keys(method, width, kv, inner, blocks, positions) -> int:
    return soft_numbers(method, width, width, inner, blocks, positions)


def _prompt_in_each_block(method, width, kv, inner, blocks, positions) -> int:
    times = blocks if method == "prompt tuning" else 1
    return times * soft_numbers(method, width, kv, inner, blocks, positions)


def _keys_alone(method, width, kv, inner, blocks, positions) -> int:
    share = 2 if method == "prefix tuning" else 1
    return soft_numbers(method, width, kv, inner, blocks, positions) // share


def _outputs_of_down(method, width, kv, inner, blocks, positions) -> int:
    return soft_numbers(method, width, kv, width, blocks, positions)


def plain_alpha(config: LoraConfig) -> float | None:
    """The alpha that makes plain LoRA equal to a configuration, if one does."""
    if config.use_dora:
        return None
    return config.lora_alpha * (config.r**0.5 if config.use_rslora else 1)


def _dora_is_a_scale(config: LoraConfig) -> float:
    return config.lora_alpha * (config.r**0.5 if config.use_rslora else 1)


def _scale_of(config: LoraConfig) -> float | None:
    alpha = plain_alpha(config)
    return None if alpha is None else alpha / config.r


def _alpha_as_written(config: LoraConfig) -> float | None:
    return None if config.use_dora else config.lora_alpha


def joined(
    A1: Tensor, B1: Tensor, scale1: float, A2: Tensor, B2: Tensor, scale2: float
) -> tuple[Tensor, Tensor]:
    """(A, B) of one adapter that is the weighted sum of two."""
    return torch.cat([A1, A2]), torch.cat([scale1 * B1, scale2 * B2], dim=1)


def _summed(A1, B1, scale1, A2, B2, scale2) -> tuple[Tensor, Tensor]:
    return A1 + A2, scale1 * B1 + scale2 * B2


def _unscaled(A1, B1, scale1, A2, B2, scale2) -> tuple[Tensor, Tensor]:
    return joined(A1, B1, 1, A2, B2, 1)


def _scaled_twice(A1, B1, scale1, A2, B2, scale2) -> tuple[Tensor, Tensor]:
    return joined(scale1 * A1, B1, scale1, scale2 * A2, B2, scale2)


def _whole_update(A1, B1, scale1, A2, B2, scale2) -> tuple[Tensor, Tensor]:
    update = scale1 * B1 @ A1 + scale2 * B2 @ A2
    return torch.eye(update.shape[1]), update


def _update_and_rank(pair: tuple[Tensor, Tensor]) -> tuple[int, Any]:
    """Rows of A, and B @ A; what is wrong with the shapes where there is none."""
    A, B = pair
    if B.shape[1] != A.shape[0]:
        return A.shape[0], f"B @ A of {tuple(B.shape)} and {tuple(A.shape)}"
    return A.shape[0], B @ A


_A1, _A2 = torch.tensor([[1.0, 2, 0]]), torch.tensor([[0.0, 1, 1]])
_B1, _B2 = torch.tensor([[1.0], [0]]), torch.tensor([[2.0], [1]])

EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        solution=soft_numbers,
        cases=(
            Case(("prompt tuning", 4096, 1024, 14_336, 32, 20), 81_920),
            Case(("prefix tuning", 4096, 1024, 14_336, 32, 20), 1_310_720),
            Case(("IA3", 4096, 1024, 14_336, 32, 20), 524_288),
            Case(("IA3", 576, 192, 1536, 30, 20), 57_600),
        ),
        mistakes={
            "that takes keys as wide as the stream; several query heads share one.": (
                _wide_keys
            ),
            "a trained prompt stands at the input, not in each block.": (
                _prompt_in_each_block
            ),
            "that is the keys or the values; a prefix has both.": _keys_alone,
            "down_proj is scaled at its inputs, the MLP's inside.": _outputs_of_down,
        },
    ),
    Exercise(
        solution=plain_alpha,
        cases=(
            Case((LoraConfig(r=16, lora_alpha=16, use_rslora=True),), 64),
            Case((LoraConfig(r=16, lora_alpha=16, use_dora=True),), None),
            Case((LoraConfig(r=8, lora_alpha=32),), 32),
            Case((LoraConfig(r=64, lora_alpha=8, use_rslora=True),), 64),
            Case((LoraConfig(r=4, use_rslora=True, use_dora=True),), None),
        ),
        mistakes={
            "that is the scale of the update; alpha is the scale times r.": _scale_of,
            "that leaves out what use_rslora does to the scale.": _alpha_as_written,
            "DoRA divides each row by a length that depends on A and B: no single "
            "number does that.": _dora_is_a_scale,
        },
    ),
    Exercise(
        solution=joined,
        cases=(
            Case((_A1, _B1, 1.0, _A2, _B2, 1.0), (2, [[1, 4, 2], [0, 1, 1]])),
            Case((_A1, _B1, 2.0, _A2, _B2, 0.5), (2, [[2, 5, 1], [0, 0.5, 0.5]])),
        ),
        mistakes={
            "that adds A to A and B to B: their product has cross terms that nobody "
            "trained.": _summed,
            "the scales are left out.": _unscaled,
            "the scales are in both A and B, so they count twice.": _scaled_twice,
            "that is the update itself in place of two thin matrices.": _whole_update,
        },
        seen_as=_update_and_rank,
    ),
    Exercise(
        solution=adapter_parameters,
        cases=(
            Case((896, 128, 32, 24), 786_432),
            Case((4096, 14_336, 16, 32), 9_437_184),
        ),
        mistakes={
            "that is one block; the module stands in every block.": (
                lambda inputs, outputs, rank, blocks: rank * (inputs + outputs)
            ),
            "that is W itself; A has rank x inputs numbers, B outputs x rank.": (
                lambda inputs, outputs, rank, blocks: blocks * inputs * outputs
            ),
            "that is A alone; B adds outputs x rank.": (
                lambda inputs, outputs, rank, blocks: blocks * rank * inputs
            ),
        },
    ),
    Exercise(
        solution=attach_to_query_and_value,
        cases=(
            Case((_Llama(2, 64, 4, 2), 4), (1792, 1792, _QUERY_AND_VALUE)),
            Case((_Llama(3, 96, 6, 1), 8), (7296, 7296, _QUERY_AND_VALUE)),
        ),
        mistakes={
            "the prediction takes v_proj for square: its heads are fewer, so it has "
            "fewer outputs than q_proj.": _square_values,
            "the prediction is that of one block.": _one_block,
            "q_proj and v_proj were asked for, and no others.": _all_attention,
            "no adapter is attached, the whole base would be trained.": _never_attached,
        },
        seen_as=_prediction_and_count,
    ),
    Exercise(
        solution=matching_rate,
        cases=(
            Case((2e-4, 8, 16, 64, 64), 5e-5, tolerance=1e-9),
            Case((1e-3, 16, 16, 32, 32), 5e-4, tolerance=1e-9),
            Case((2e-4, 16, 16, 64, 16), 2e-4, tolerance=1e-9),
        ),
        mistakes={
            "that keeps the rate times alpha/r; but r terms add up, so what counts in "
            "the first updates is the rate times alpha.": (
                lambda rate, rank, alpha, new_rank, new_alpha: (
                    rate * (alpha / rank) / (new_alpha / new_rank)
                )
            ),
            "that is upside down: a larger alpha wants a smaller rate.": (
                lambda rate, rank, alpha, new_rank, new_alpha: rate * new_alpha / alpha
            ),
            "with another alpha the same rate is another step.": (
                lambda rate, rank, alpha, new_rank, new_alpha: rate
            ),
        },
    ),
)

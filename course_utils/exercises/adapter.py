"""Exercises of LoRA (lesson 02)."""

from __future__ import annotations

from typing import Any

from peft import LoraConfig, get_peft_model
from torch import nn
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


EXERCISES: tuple[Exercise, ...] = (
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

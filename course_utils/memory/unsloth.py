"""What a run through Unsloth takes on a GPU, part by part, as its code says.

`planner.plan_memory` is the sum of the textbook. Here its moving parts are replaced by
what Unsloth does: its kernels keep less, checkpoints lie in the computer's memory, and
the loss never holds the scores of a whole batch. Two constants are measured: what the
allocator keeps besides, and CUDA's context. `published.predictions` holds the result
against peaks that others reported, of releases that kept more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from typing import Any

from course_utils.memory.formulas import (
    FP32_BYTES,
    WeightFormat,
    block_activation_bytes,
)
from course_utils.memory.planner import MemoryPlan, plan_memory
from course_utils.model.architectures import ALL_LINEAR, TABLES, Architecture

GIB = 2**30
# At the peak torch has reserved more than tensors take: 0.03 GiB with rows of 113
# tokens and 0.54 with rows of 2,048 in the course's own runs, whose mean this is
# (data/reference/gpu_check.json). Its allocator takes large tensors in pieces of their
# own, and a batch that is wider than the last one leaves pieces that fit nothing.
RESERVED_BYTES = int(0.285 * GIB)
# A run on a T4 reserved 14.508 of 14.741 GiB (nb/Qwen3_(14B)-Reasoning-Conversational):
# no more than this was left to CUDA itself.
CONTEXT_BYTES = int(0.233 * GIB)
# Longest of 480 rows (60 updates of 8) that are drawn from Alpaca as GPT-4 answered it:
# the mean over draws from 999 of its rows, in SmolLM2's tokens with Alpaca's prompt
# (LLaMA-Factory's data/alpaca_en_demo.json at ff6d4d1; 213 tokens on average).
LONGEST_INSTRUCTION = 680
_SCORE_BYTES = 8  # of a chunk: a score in fp32 and its gradient
_CHUNK_BYTES, _CHUNK_ROWS = 2 * GIB, 512  # at most; tokens at least


class Loss(StrEnum):
    """How the loss is computed, which decides what the scores take.

    - CHUNKS: Unsloth today, an eighth of the batch at a time, 512 tokens at least and 2
      GiB at most (unsloth_zoo, fused_losses/chunked_logprob.py). From 2024.11.8 on
      other kernels did the same in less or in about as much.
    - WHOLE: Unsloth before: scores in 16 bits, kept for the backward pass, which writes
      the gradient into them, and their copy in fp32 that accelerate makes of a model's
      outputs (ConvertOutputsToFp32): 6 bytes a score.
    - TRANSFORMERS: log-probabilities and gradient in fp32.
    """

    CHUNKS = "chunks"
    WHOLE = "whole"
    TRANSFORMERS = "transformers"

    def bytes_of(self, tokens: int, vocab_size: int) -> int:
        """Bytes of the scores of a batch, with their gradient."""
        if self is not Loss.CHUNKS:
            return tokens * vocab_size * (6 if self is Loss.WHOLE else 8)
        most = _CHUNK_BYTES // (_SCORE_BYTES * vocab_size)
        rows = min(most, max(_CHUNK_ROWS, -(-tokens // 8)), tokens)
        return rows * vocab_size * _SCORE_BYTES


def plan_run(
    architecture: Architecture,
    method: str = "qlora",
    *,
    modules: Iterable[str] | None = None,
    batch_size: int = 1,
    sequence_length: int = 2048,
    row_tokens: int | None = None,
    gradient_checkpointing: bool = True,
    weight_format: WeightFormat | str | None = None,
    loss: Loss = Loss.CHUNKS,
    **settings: Any,
) -> MemoryPlan:
    """Plan a run as Unsloth carries it out, CUDA's context included.

    Held against 17 published runs it is 4 % off on average and at worst 19 %; see
    `published`. What the checkpoint keeps in 16 bits on purpose
    (`…-unsloth-bnb-4bit`) comes on top: a config does not tell.

    Args:
        modules: As in `plan_memory`, but `embed_tokens` and `lm_head` are trained in
            full, in fp32 beside the frozen ones, as Unsloth does.
        sequence_length: The limit, in tokens, at which rows are cut.
        row_tokens: The longest row, where it is known to be shorter than the limit: a
            batch is as wide as its longest row. None: as long as the limit.
        weight_format: NF4 with double quantization under QLoRA, Unsloth's choice.
        loss: Which loss, and so which release.
        settings: Of `plan_memory`: rank, optimizer and the like.
    """
    if method == "qlora" and weight_format is None:
        weight_format = WeightFormat.NF4_DOUBLE_QUANT
    modules = list(architecture.target_modules if modules is None else modules)
    in_full = [name for name in modules if name in TABLES]
    adapted = [name for name in modules if name not in TABLES]
    plain = plan_memory(
        architecture,
        method,
        modules=adapted,
        modules_to_save=in_full,
        batch_size=batch_size,
        sequence_length=min(sequence_length, row_tokens or sequence_length),
        gradient_checkpointing=gradient_checkpointing,
        weight_format=weight_format,
        **settings,
    )
    tokens = batch_size * min(sequence_length, row_tokens or sequence_length)
    unpacked = 2 * _largest(architecture) if method == "qlora" else 0
    return replace(
        plain,
        activation_bytes=_activations(
            architecture, tokens, gradient_checkpointing, adapted, settings
        ),
        logit_bytes=loss.bytes_of(tokens, architecture.vocab_size),
        workspace_bytes=unpacked + RESERVED_BYTES,
        context_bytes=CONTEXT_BYTES,
    )


def _largest(architecture: Architecture) -> int:
    """Weights of the largest packed matrix: one at a time is unpacked, into 16 bits."""
    return max(a * b for block in architecture.blocks() for a, b in block.values())


def _activations(
    architecture: Architecture,
    tokens: int,
    checkpointing: bool,
    modules: list[str],
    settings: dict[str, Any],
) -> int:
    """Bytes of what the blocks keep, and of what one of them needs on the way back.

    With checkpointing one block at a time is kept: its input waits in the computer's
    memory (unsloth_zoo, gradient_checkpointing.py). Without Unsloth's own kernels for
    a family, as PEFT and transformers keep them.
    """
    hidden, inner = architecture.hidden_size, architecture.intermediate_size
    if set(architecture.target_modules) == {*ALL_LINEAR}:
        block = _kernel_bytes(architecture)
    else:
        rank = settings.get("rank", 16)
        block = block_activation_bytes(architecture, rank=rank, modules=modules)
    backward = 2 * (2 * inner + hidden)  # of the MLP: two gradients and the stream's
    blocks = 1 if checkpointing else architecture.layers
    return tokens * (blocks * block + backward)


def _kernel_bytes(architecture: Architecture) -> int:
    """Bytes a token that a block keeps under Unsloth's kernels, in 16 bits.

    Inputs of the norms, of q, k, v and of the MLP; queries, keys, values and result,
    with keys and values repeated for every head; gate and up. Source: unsloth,
    kernels/rms_layernorm.py, kernels/fast_lora.py and models/llama.py, what each
    saves for its backward pass.
    """
    stream = architecture.norm_numbers + 2 * architecture.hidden_size
    attention = 4 * architecture.query_size
    kept = stream + attention + 2 * architecture.intermediate_size
    return 2 * kept + FP32_BYTES * architecture.attention_heads

"""Will this training run fit? Bytes planned from shapes, without weights or a GPU.

What the planner says can be held against `measured` of a loaded model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from math import prod

from course_utils.memory.formulas import (
    FP32_BYTES,
    WeightFormat,
    activation_bytes,
    optimizer_bytes,
    trainable_tensor_sizes,
    weight_bytes,
)
from course_utils.model.architectures import TABLES, Architecture

METHODS = ("full", "lora", "qlora")
UNSLOTH_LOGITS = 0  # copies: its fused loss never holds the scores of a whole batch
TRANSFORMERS_LOGITS = 2  # the log-probabilities and their gradient, both in fp32
_PARTS = ("weights", "adapter", "gradients", "optimizer", "activations", "logits")
_PARTS += ("workspace", "context")


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of one training run, part by part."""

    title: str  # model and method, for tables and plots
    weight_bytes: int  # the base model
    adapter_bytes: int  # A and B; 0 under full tuning
    gradient_bytes: int  # of what is trained
    optimizer_bytes: int  # two moments, and the fp32 master copy of 16-bit weights
    activation_bytes: int  # what the blocks keep for the backward pass
    logit_bytes: int  # scores over the vocabulary and their gradient
    workspace_bytes: int = 0  # one unpacked matrix, and what the allocator keeps
    context_bytes: int = 0  # CUDA's own, which torch does not count

    def parts(self) -> dict[str, int]:
        """Name of each part to its bytes, always in the same order.

        The last two are there where they are planned; see `unsloth.plan_run`.
        """
        parts = dict(zip(_PARTS, astuple(self)[1:], strict=True))
        return {k: v for k, v in parts.items() if v or k in _PARTS[:-2]}

    @property
    def reserved_bytes(self) -> int:
        """All but the context: what `torch.cuda.max_memory_reserved()` reports."""
        return self.total_bytes - self.context_bytes

    @property
    def static_bytes(self) -> int:
        """What does not depend on the batch: all but activations and logits."""
        return self.total_bytes - self.activation_bytes - self.logit_bytes

    @property
    def total_bytes(self) -> int:
        """All parts together."""
        return sum(self.parts().values())

    def fits(self, limit_bytes: float) -> bool:
        """Whether the total is within a limit, such as 14.74 * 2**30 on a T4."""
        return self.total_bytes <= limit_bytes

    def table(self) -> str:
        """The parts as text, in GB (a billion bytes) and GiB (2**30 bytes)."""
        total = self.total_bytes
        lines = [self.title, f"{'':<12}{'GB':>9}{'GiB':>9}{'share':>8}"]
        for name, size in {**self.parts(), "total": total}.items():
            sizes = f"{size / 1e9:>9.3f}{size / 2**30:>9.3f}"
            lines.append(f"{name:<12}{sizes}{size / total:>8.1%}")
        return "\n".join(lines)


def plan_memory(
    architecture: Architecture,
    method: str = "qlora",
    *,
    rank: int = 16,
    modules: Iterable[str] | None = None,
    modules_to_save: Iterable[str] = (),
    batch_size: int = 1,
    sequence_length: int = 2048,
    optimizer: str = "adamw",
    gradient_checkpointing: bool = True,
    weight_format: WeightFormat | str | None = None,
    other_dtype_bytes: int | None = None,
    compute_bytes: int = 2,
    adapter_dtype_bytes: int = FP32_BYTES,
    master_copy: bool = True,
    logit_copies: int = UNSLOTH_LOGITS,
) -> MemoryPlan:
    """Add up the bytes that a training run needs.

    With n trainable numbers and t tokens a batch:

    - full tuning of 16-bit weights: 2n weights + 2n gradients + 4n master copy + 8n
      moments = 16n (ZeRO, arXiv:1910.02054, §3.1); in fp32 4n + 4n + 8n, 16n as well;
    - LoRA and QLoRA: 4n adapter + 4n gradients + 8n moments, all fp32, and the frozen
      base (`weight_bytes`). adamw_8bit: see `optimizer_bytes`;
    - activations: see `activation_bytes`;
    - logits: t x vocabulary x 4 x copies, in fp32.

    Parts are added although they do not all peak together. Not in it: the CUDA context
    (0.3 to 0.6 GiB), fragmentation, one weight matrix unpacked at a time under QLoRA,
    padding, the chunks of a fused loss. Seven public runs on a T4 reported 0.91 to
    1.21 times the plan for rows of full length (`published`): leave 2 GiB of room, or
    take `unsloth.plan_run`, which counts what is left out here.

    Args:
        method: One of METHODS.
        modules: That get an adapter, all linear layers of the blocks by default.
            `embed_tokens` and `lm_head` are trained by low rank, as PEFT does.
        modules_to_save: `embed_tokens` or `lm_head`, copied and trained in full.
        batch_size: Sequences in one forward pass, before accumulation.
        sequence_length: Tokens in each.
        optimizer: `adamw` (or `adamw_torch`), `adamw_bf16`, `adamw_8bit`.
        weight_format: Of the base; bf16 by default, NF4 under QLoRA.
        other_dtype_bytes: See `weight_bytes`.
        compute_bytes: A number of the activations: 2, or 4 on a CPU.
        adapter_dtype_bytes: A number of A, B and their gradients.
        master_copy: Full tuning of 16-bit weights only: keep an fp32 copy.
        logit_copies: UNSLOTH_LOGITS, since the course trains with Unsloth, whose loss
            works in chunks (2026.10, models/llama.py: "Fused CE never materializes
            logits"); TRANSFORMERS_LOGITS for transformers' own loss.

    Raises:
        ValueError: If an argument is unknown or too small, or if the method and the
            format of the weights exclude each other.
    """
    chosen = _weight_format(method, weight_format)
    tokens = _tokens(batch_size=batch_size, sequence_length=sequence_length)
    modules = tuple(architecture.target_modules if modules is None else modules)
    full = method == "full"
    if full:
        sizes = trainable_tensor_sizes(architecture)
        trained_bytes = sum(sizes) * int(chosen.bits_per_weight) // 8
        needs_master = master_copy and chosen is not WeightFormat.FP32
    else:
        sizes = architecture.lora_tensor_sizes(rank, modules)
        sizes += [architecture.table_size] * len(_tables(modules_to_save))
        trained_bytes, needs_master = sum(sizes) * adapter_dtype_bytes, False
    master_bytes = needs_master * FP32_BYTES * sum(sizes)
    return MemoryPlan(
        title=f"{architecture.title}, {method}",
        weight_bytes=weight_bytes(architecture, chosen, other_dtype_bytes),
        adapter_bytes=0 if full else trained_bytes,
        gradient_bytes=trained_bytes,
        optimizer_bytes=optimizer_bytes(sizes, optimizer) + master_bytes,
        activation_bytes=activation_bytes(
            architecture,
            tokens=tokens,
            rank=None if full else rank,
            modules=modules,
            gradient_checkpointing=gradient_checkpointing,
            compute_bytes=compute_bytes,
            adapter_dtype_bytes=adapter_dtype_bytes,
        ),
        logit_bytes=tokens * architecture.vocab_size * FP32_BYTES * logit_copies,
    )


def _weight_format(method: str, requested: WeightFormat | str | None) -> WeightFormat:
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}.")
    default = WeightFormat.NF4 if method == "qlora" else WeightFormat.BF16
    chosen = WeightFormat(requested or default)
    if chosen.is_quantized != (method == "qlora"):
        raise ValueError(
            f"method {method!r} on {chosen} weights. Quantized weights are frozen and "
            "carry an adapter: that is `qlora`. `full` and `lora` take fp32, bf16 or "
            "fp16 weights."
        )
    return chosen


def _tables(modules: Iterable[str]) -> set[str]:
    if unknown := {*modules} - {*TABLES}:
        raise ValueError(
            f"modules_to_save has {', '.join(sorted(unknown))}; expected some of "
            f"{', '.join(TABLES)}. Layers of the blocks belong in `modules`."
        )
    return {*modules}


def _tokens(**sizes: int) -> int:
    """The product of the sizes, each of which must be 1 or more."""
    if small := [f"{name} is {size}" for name, size in sizes.items() if size < 1]:
        raise ValueError(f"{' and '.join(small)}; expected 1 or more.")
    return prod(sizes.values())

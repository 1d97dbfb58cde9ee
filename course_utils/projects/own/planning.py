"""Whether a run fits, and how long it takes, from its rows' real lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from course_utils.machine.profile import Profile
from course_utils.memory.planner import MemoryPlan, plan_memory
from course_utils.memory.unsloth import plan_run
from course_utils.model.architectures import Architecture
from course_utils.recipes.plan import Plan
from course_utils.training.trainer import total_updates

GIB = 2**30
# Parameters x tokens a second. CPU: lesson 03's run, one core, 134.5 million parameters
# at 135 tokens a second. GPU: a rule of thumb that nobody measured: a T4's 65 TFLOPS in
# fp16, a fifth of them reached, 6 FLOPs a parameter and token.
_CPU_SPEED, _GPU_SPEED = 1.8e10, 2.2e12
_PASS_SHARE = 1 / 3  # of an update's time: validation has no backward pass
_EVALUATIONS = 5  # passes over the held-out rows, the one at the start included
RESERVE_BYTES = int(1.75 * GIB)  # on a card: by what the worst public plan was too low
_SHARE_OF_MEMORY = 0.8  # of a CPU's: other programs want some


@dataclass(frozen=True)
class Cost:
    """What a run is planned to take; all of it estimates."""

    memory: MemoryPlan | None  # of rows as long as they are; None: unknown shapes
    bound: MemoryPlan | None  # the same if every row had max_length
    free_bytes: float  # that this machine can give it
    updates: int
    passes: float  # over the training rows
    minutes: float  # training and validation, by the rule of `speed`

    @property
    def in_gib(self) -> str:
        """The planned memory in words."""
        if self.memory is None or self.bound is None:
            return "unknown"
        return f"{self.memory.total_bytes / GIB:.1f} GiB"

    @property
    def fits(self) -> bool | None:
        """Whether it fits with rows as long as they are; None: nobody knows."""
        return None if self.memory is None else self.memory.fits(self.free_bytes)


def cost_of(
    plan: Plan,
    architecture: Architecture | None,
    profile: Profile,
    lengths: Sequence[int],
    held_out_lengths: Sequence[int] = (),
) -> Cost:
    """Memory, updates and minutes of a run over rows of so many tokens each."""
    updates = total_updates(len(lengths), plan)
    passes = updates * plan.effective_batch / len(lengths)
    trained = passes * sum(lengths)
    watched = _EVALUATIONS * sum(held_out_lengths) * _PASS_SHARE
    sizes = (max(lengths), plan.max_length)  # a batch is as wide as its longest row
    memory = bound = None
    if architecture:
        memory, bound = (
            planned_memory(plan, architecture, profile, tokens) for tokens in sizes
        )
    a_second = speed(architecture, on_gpu=profile.is_gpu)
    minutes = (trained + watched) / a_second / 60
    return Cost(memory, bound, free_bytes(profile), updates, passes, minutes)


def planned_memory(
    plan: Plan, architecture: Architecture, profile: Profile, tokens: int
) -> MemoryPlan:
    """The planner's bytes for batches of rows with `tokens` tokens each."""
    method = "qlora" if plan.load_in_4bit else "lora"
    settings: dict[str, Any] = {
        "rank": plan.rank,
        "modules": plan.target_modules,
        "batch_size": plan.batch_size,
        "sequence_length": tokens,
        "optimizer": "adamw_8bit" if "8bit" in plan.optimizer else "adamw",
        "gradient_checkpointing": plan.gradient_checkpointing,
    }
    if profile.is_gpu:  # as Unsloth runs it there, CUDA's context included
        return plan_run(architecture, method, **settings)
    weights = None if plan.load_in_4bit else "fp32"
    in_fp32 = {"weight_format": weights, "compute_bytes": 4}
    return plan_memory(architecture, method, **settings, **in_fp32)


def free_bytes(profile: Profile) -> float:
    """Bytes that a run may take: of a card what is free less a reserve, or memory."""
    if profile.is_gpu:
        return torch.cuda.mem_get_info()[0] - RESERVE_BYTES
    limit = min(psutil.virtual_memory().available, profile.memory_gib * GIB)
    return _SHARE_OF_MEMORY * limit


def speed(architecture: Architecture | None, *, on_gpu: bool) -> float:
    """Tokens a second in training, by a stated rule: the larger the slower.

    A model whose shapes are not known counts as one of a billion parameters.
    """
    parameters = architecture.parameters if architecture else 1e9
    return (_GPU_SPEED if on_gpu else _CPU_SPEED) / parameters

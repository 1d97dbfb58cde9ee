"""Which machine is this, and what can it do?

A profile is the machine's side of a run; a recipe (`recipes.plan`) is the project's.
The same notebook reads both and never asks for the device again.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from course_utils import CourseError

PROFILE_NAMES = ("nano", "cpu", "t4")
BF16_CAPABILITY = (8, 0)  # Ampere is the first with bf16 units
AS_T4 = "COURSE_AS_T4"  # set to 1: a newer card is held to what a T4 has
T4_CAPABILITY, T4_GIB = (7, 5), 14.74  # of 16 GB; what torch reports of it in Colab
# Of cgroup v2 and v1, as the container itself sees them.
CONTAINER_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
# The line that says what its programs hold, without files that are only kept for reuse.
CONTAINER_COUNTS = {"memory.stat": "anon", "memory/memory.stat": "total_rss"}


class UnsupportedMachine(CourseError, RuntimeError):
    """This machine cannot run the course as asked; the message says what can."""


@dataclass(frozen=True)
class Gpu:
    """What CUDA says of one card."""

    name: str
    capability: tuple[int, int]
    memory_gib: float
    driven_by_this_torch: bool = True


@dataclass(frozen=True)
class Profile:
    """One kind of machine."""

    name: str  # `nano` (tests), `cpu` or `t4` (any CUDA GPU)
    device: str  # torch's type: `cpu` or `cuda`
    model_override: str | None = None  # hub id or folder from COURSE_MODEL
    gpu: Gpu | None = None

    @property
    def is_gpu(self) -> bool:
        """Whether tensors live on a CUDA card."""
        return self.device == "cuda"

    @property
    def supports_bf16(self) -> bool:
        """Whether bf16 is computed natively rather than emulated.

        torch.cuda.is_bf16_supported() is no help: it says True on a T4, since it
        counts emulation. On a CPU the course computes in fp32 everywhere.
        """
        return self.gpu is not None and self.gpu.capability >= BF16_CAPABILITY

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype of activations: fp32 on a CPU, bf16 or fp16 on a GPU."""
        if not self.is_gpu:
            return torch.float32
        return torch.bfloat16 if self.supports_bf16 else torch.float16

    @property
    def memory_gib(self) -> float:
        """Memory that a model can use: the card's, else what this container may."""
        if self.gpu is not None:
            return self.gpu.memory_gib
        return min(psutil.virtual_memory().total, _container_limit()) / 2**30

    @property
    def free_gib(self) -> float:
        """Memory that is free, or this process holds already and can use again."""
        if self.gpu is not None:
            free, _ = torch.cuda.mem_get_info()
            own = torch.cuda.memory_reserved()
            return min((free + own) / 2**30, self.gpu.memory_gib)
        free = psutil.virtual_memory().available
        free = min(free, _container_limit() - _held_in_container())
        return (free + psutil.Process().memory_info().rss) / 2**30

    @classmethod
    def detect(cls, environment: Mapping[str, str] = os.environ) -> Profile:
        """The profile of this machine, overridden by COURSE_PROFILE.

        UnsupportedMachine if that is unknown, or asks for a GPU that is not there.
        """
        gpu = find_gpu()
        name = environment.get("COURSE_PROFILE") or ("t4" if gpu else "cpu")
        if name not in PROFILE_NAMES:
            raise UnsupportedMachine(
                f"COURSE_PROFILE is {name!r}; expected one of "
                f"{', '.join(PROFILE_NAMES)}. Unset it to have the machine detected."
            )
        model = environment.get("COURSE_MODEL") or None
        if name != "t4":
            return cls(name, "cpu", model)
        if gpu is None:
            raise UnsupportedMachine(
                "COURSE_PROFILE=t4 needs a CUDA GPU and torch sees none. In Colab: "
                "Runtime > Change runtime type > T4. Here: COURSE_PROFILE=cpu."
            )
        return cls(name, "cuda", model, gpu)


def _held_in_container() -> int:
    """Bytes that the programs of this container hold, 0 where it does not say."""
    for name, kind in CONTAINER_COUNTS.items():
        path = Path("/sys/fs/cgroup", name)
        said = path.read_text() if path.is_file() else ""
        if found := re.search(rf"^{kind} (\d+)$", said, re.M):
            return int(found[1])
    return 0


def _container_limit() -> float:
    """Bytes of memory that this container is allowed, infinite without a limit."""
    paths = [Path("/sys/fs/cgroup", name) for name in CONTAINER_LIMITS]
    said = [path.read_text().strip() for path in paths if path.is_file()]
    return min((int(text) for text in said if text.isdigit()), default=math.inf)


def find_gpu(environment: Mapping[str, str] = os.environ) -> Gpu | None:
    """The first CUDA card, or None.

    With COURSE_AS_T4=1 a newer card stands in for a T4: fp16, since it says of itself
    that it has no bf16 units, and torch gives this process no more than T4_GIB.
    """
    if not torch.cuda.is_available():
        return None
    card = torch.cuda.get_device_properties(0)
    capability, gib = (card.major, card.minor), card.total_memory / 2**30
    driven = torch_drives(capability, torch.cuda.get_arch_list())
    if environment.get(AS_T4) == "1" and capability >= T4_CAPABILITY and gib > T4_GIB:
        torch.cuda.set_per_process_memory_fraction(T4_GIB / gib)
        return Gpu(f"{card.name}, as a T4", T4_CAPABILITY, T4_GIB, driven)
    return Gpu(card.name, capability, gib, driven)


def torch_drives(capability: tuple[int, int], architectures: list[str]) -> bool:
    """Whether a torch built for `architectures` has code for this capability.

    Binary code (`sm_75`) runs on the same major version and a minor at least as
    new; PTX (`compute_90`) is compiled for anything newer when it is loaded.
    """
    for architecture in architectures:
        if found := re.match(r"(sm|compute)_(\d+)(\d)", architecture):
            major, minor = int(found[2]), int(found[3])
            runs = found[1] == "compute" or capability[0] == major
            if runs and capability >= (major, minor):
                return True
    return not architectures

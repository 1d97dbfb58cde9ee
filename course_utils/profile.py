"""Which machine is this, and what can it do?

A profile is the machine's side of a run; a recipe (see `recipes`) is the
project's side. The same notebook reads both and never asks for the device again.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
import torch

PROJECT_ROOT = Path(__file__).resolve().parent.parent
PROFILE_NAMES = ("nano", "cpu", "t4")
MINIMUM_CAPABILITY = (7, 0)  # Triton, and so Unsloth, refuses older GPUs
BF16_CAPABILITY = (8, 0)  # Ampere is the first with bf16 units
MINIMUM_MEMORY_GIB = {"nano": 2.0, "cpu": 6.0, "t4": 12.0}
MINIMUM_DISK_GIB = {"nano": 0.5, "cpu": 2.0, "t4": 20.0}


class UnsupportedMachine(RuntimeError):
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
    """One kind of machine.

    Attributes:
        name: `nano` (tests), `cpu` or `t4` (any CUDA GPU).
        device: torch's device type, `cpu` or `cuda`.
        model_override: Hub id or folder from COURSE_MODEL, else None.
        gpu: The card, None without one.
    """

    name: str
    device: str
    model_override: str | None = None
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
        """Memory that a model can use here, in GiB."""
        if self.gpu is not None:
            return self.gpu.memory_gib
        return psutil.virtual_memory().total / 2**30

    @classmethod
    def detect(cls, environment: Mapping[str, str] = os.environ) -> Profile:
        """The profile of this machine, overridden by COURSE_PROFILE.

        Raises:
            UnsupportedMachine: If COURSE_PROFILE is unknown, or asks for a GPU
                that is not there.
        """
        gpu = find_gpu()
        name = environment.get("COURSE_PROFILE") or ("t4" if gpu else "cpu")
        if name not in PROFILE_NAMES:
            raise UnsupportedMachine(
                f"COURSE_PROFILE is {name!r}; expected one of "
                f"{', '.join(PROFILE_NAMES)}. Unset it to have the machine detected."
            )
        if name == "t4" and gpu is None:
            raise UnsupportedMachine(
                "COURSE_PROFILE=t4 needs a CUDA GPU and torch sees none. In Colab: "
                "Runtime > Change runtime type > T4. Here: COURSE_PROFILE=cpu."
            )
        model = environment.get("COURSE_MODEL") or None
        if name == "t4":
            return cls(name, "cuda", model, gpu)
        return cls(name, "cpu", model)


def find_gpu() -> Gpu | None:
    """The first CUDA card, or None."""
    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    capability = (properties.major, properties.minor)
    return Gpu(
        name=properties.name,
        capability=capability,
        memory_gib=properties.total_memory / 2**30,
        driven_by_this_torch=torch_drives(capability, torch.cuda.get_arch_list()),
    )


def torch_drives(capability: tuple[int, int], architectures: list[str]) -> bool:
    """Whether a torch built for `architectures` has code for this capability.

    Binary code (`sm_75`) runs on the same major version and a minor at least as
    new; PTX (`compute_90`) is compiled for anything newer when it is loaded.
    """
    for architecture in architectures:
        kind, _, digits = architecture.partition("_")
        if not digits[:2].isdigit():
            continue
        number = int("".join(filter(str.isdigit, digits)))
        built = divmod(number, 10)
        if kind == "compute" and capability >= built:
            return True
        if kind == "sm" and capability[0] == built[0] and capability >= built:
            return True
    return not architectures


def refuse_unsupported(
    profile: Profile,
    *,
    bf16: bool = False,
    memory_gib: float | None = None,
    disk_gib: float | None = None,
) -> None:
    """Stop before anything is loaded, when this machine cannot do the work.

    Args:
        profile: The machine as detected.
        bf16: Whether bf16 training is asked for.
        memory_gib: Memory to judge by; measured when None.
        disk_gib: Free disk to judge by; measured when None.

    Raises:
        UnsupportedMachine: With what was found, what is needed, and a way out.
    """
    if profile.gpu is not None:
        _refuse_gpu(profile.gpu)
    if bf16 and not profile.supports_bf16:
        where = profile.gpu.name if profile.gpu else "this CPU"
        raise UnsupportedMachine(
            f"bf16 was asked for, but {where} computes it by emulation (native from "
            "capability 8.0). Use fp16 with loss scaling on a T4, fp32 on a CPU: "
            "leave the precision to the profile."
        )
    memory = profile.memory_gib if memory_gib is None else memory_gib
    if memory < MINIMUM_MEMORY_GIB[profile.name]:
        raise UnsupportedMachine(
            f"{memory:.1f} GiB of memory found, profile {profile.name!r} needs "
            f"{MINIMUM_MEMORY_GIB[profile.name]:.0f} GiB. Close other programs, or "
            "set COURSE_MODEL to a smaller model."
        )
    disk = free_disk_gib() if disk_gib is None else disk_gib
    if disk < MINIMUM_DISK_GIB[profile.name]:
        raise UnsupportedMachine(
            f"{disk:.1f} GiB of disk are free, profile {profile.name!r} needs "
            f"{MINIMUM_DISK_GIB[profile.name]:.1f} GiB. Delete old folders in runs/, "
            "or point COURSE_RUNS to another disk."
        )


def _refuse_gpu(gpu: Gpu) -> None:
    major, minor = gpu.capability
    if gpu.capability < MINIMUM_CAPABILITY:
        raise UnsupportedMachine(
            f"{gpu.name} has CUDA capability {major}.{minor}; Unsloth's Triton kernels "
            "need 7.0 or newer, so a P100 cannot run them. Choose a T4 (Colab, Kaggle "
            "'T4 x2'), or set COURSE_PROFILE=cpu and CUDA_VISIBLE_DEVICES=-1."
        )
    if not gpu.driven_by_this_torch:
        raise UnsupportedMachine(
            f"torch {torch.__version__} carries no code for {gpu.name} (capability "
            f"{major}.{minor}). Install a torch built for it, or set "
            "COURSE_PROFILE=cpu and CUDA_VISIBLE_DEVICES=-1."
        )


def free_disk_gib() -> float:
    """Free space where results are written, in GiB."""
    folder = runs_folder()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / 2**30


def runs_folder() -> Path:
    """Where results go: `runs/` of the project, or COURSE_RUNS."""
    return Path(os.environ.get("COURSE_RUNS") or PROJECT_ROOT / "runs")


def cache_folder() -> Path:
    """Where unpacked models are kept between runs: COURSE_CACHE, or ~/.cache."""
    chosen = os.environ.get("COURSE_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "finetuning-course"


def pinned_versions() -> dict[str, str]:
    """The pins of constraints.txt: distribution name to version."""
    lines = (PROJECT_ROOT / "constraints.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if "==" in line)
    return {name.strip(): version.strip() for name, version in pins}


MAIN_LIBRARIES = (
    "torch",
    "transformers",
    "unsloth",
    "unsloth_zoo",
    "trl",
    "peft",
    "bitsandbytes",
    "datasets",
)


def version_warnings(pins: Mapping[str, str] | None = None) -> list[str]:
    """One line for each main library outside the tested set."""
    pins = pinned_versions() if pins is None else pins
    warnings = []
    for name in MAIN_LIBRARIES:
        try:
            found = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            found = "missing"
        if found != pins.get(name, found):
            warnings.append(f"{name} is {found}, tested with {pins[name]}")
    return warnings


def doctor(profile: Profile | None = None, *, bf16: bool = False) -> Profile:
    """Print what this machine is, refuse what cannot work, return the profile.

    Raises:
        UnsupportedMachine: See `refuse_unsupported`.
    """
    profile = profile or Profile.detect()
    refuse_unsupported(profile, bf16=bf16)
    print("\n".join(describe(profile)))
    for warning in version_warnings():
        print(f"warning    {warning}: if a cell fails, look here first")
    return profile


def describe(profile: Profile) -> list[str]:
    """The machine in a few lines: profile, device, memory, precision, versions."""
    device = (
        profile.gpu.name if profile.gpu else f"CPU, {torch.get_num_threads()} threads"
    )
    libraries = (f"{name} {metadata.version(name)}" for name in MAIN_LIBRARIES[:6])
    return [
        f"profile    {profile.name}",
        f"device     {device} ({platform.machine()})",
        f"memory     {profile.memory_gib:.1f} GiB, disk {free_disk_gib():.0f} GiB free",
        f"precision  {str(profile.compute_dtype).removeprefix('torch.')}",
        f"versions   Python {platform.python_version()}, {', '.join(libraries)}",
    ]

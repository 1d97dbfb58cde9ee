"""Say what this machine is, and refuse what cannot work before it is half done."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from importlib import metadata

import torch

from course_utils.profile import (
    PROJECT_ROOT,
    Gpu,
    Profile,
    UnsupportedMachine,
    runs_folder,
)

MINIMUM_CAPABILITY = (7, 0)  # Triton, and so Unsloth, refuses older GPUs
MINIMUM_MEMORY_GIB = {"nano": 2.0, "cpu": 6.0, "t4": 12.0}
MINIMUM_DISK_GIB = {"nano": 0.5, "cpu": 2.0, "t4": 20.0}
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
        where = profile.gpu.name if profile.gpu else "a CPU"
        raise UnsupportedMachine(
            f"bf16 was asked for on {where}. GPUs compute it natively from capability "
            "8.0, older ones by emulation, and few CPUs have it. Use fp16 with loss "
            "scaling on a T4, fp32 on a CPU: leave the precision to the profile."
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


def pinned_versions() -> dict[str, str]:
    """The pins of constraints.txt: distribution name to version."""
    lines = (PROJECT_ROOT / "constraints.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if "==" in line)
    return {name.strip(): version.strip() for name, version in pins}


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

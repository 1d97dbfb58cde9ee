"""Say what this machine is, and refuse what cannot work before it is half done."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import torch

from course_utils.machine.profile import Gpu, Profile, UnsupportedMachine
from course_utils.places import PROJECT_ROOT, UnusableFolder, cache_folder, runs_folder

MINIMUM_CAPABILITY = (7, 0)  # Triton, and so Unsloth, refuses older GPUs
MAIN_LIBRARIES = ("torch", "transformers", "unsloth", "unsloth_zoo", "trl", "peft")
ALL_LIBRARIES = (*MAIN_LIBRARIES, "bitsandbytes", "datasets")
_GIB_OF_8B = 9  # on a GPU, in 4 bits, at the most that a lesson states
# GiB: free memory, disk for results, disk for the models that the course unpacks. The
# least with which a lesson ends well: 2.5 GiB of memory on a CPU, 3 for the quickstart
# on a GPU. There a run leaves 1 GiB on the disk and the export of lesson 07's 0.5B 6;
# that of a larger model asks for its own, and the hub's files lie in the hub's cache.
_MINIMUM_GIB = {"nano": (1, 0.5, 0.1), "cpu": (2.5, 2, 1), "t4": (3, 8, 1)}


def refuse_unsupported(profile: Profile) -> None:
    """Stop before anything is loaded, when this machine cannot do the work.

    UnsupportedMachine says what was found, what is needed, and a way out;
    UnusableFolder that nothing can be written to the folder of results or caches.
    """
    if profile.gpu is not None:
        _refuse_gpu(profile.gpu)
    memory, for_runs, for_cache = _MINIMUM_GIB[profile.name]
    if (free := profile.free_gib) < memory:
        raise UnsupportedMachine(
            f"{free:.1f} GiB of {profile.memory_gib:.1f} GiB of memory are free, "
            f"profile {profile.name!r} needs {memory} GiB. Shut down the kernels of "
            "other notebooks, close other programs, raise the container's limit, or "
            "set COURSE_MODEL to a smaller model."
        )
    cached = [path.stat().st_size for path in cache_folder().glob("*/*.safetensors")]
    for variable, folder, needed in (
        ("COURSE_RUNS", runs_folder(), for_runs),
        ("COURSE_CACHE", cache_folder(), for_cache - sum(cached) / 2**30),
    ):
        if (free := _free_gib(folder, variable)) < needed:
            raise UnsupportedMachine(
                f"{free:.1f} GiB of disk are free at {folder}, profile "
                f"{profile.name!r} needs {needed:.1f} GiB there. Delete old folders, "
                f"or point {variable} to another disk."
            )


def _refuse_gpu(gpu: Gpu) -> None:
    major, minor = gpu.capability
    if gpu.capability < MINIMUM_CAPABILITY:
        raise UnsupportedMachine(
            f"{gpu.name} has CUDA capability {major}.{minor}; Unsloth asks for 7.0 or "
            "newer, and torch.compile refuses less. Choose a T4 (Colab, Kaggle 'T4 "
            "x2'), or set COURSE_PROFILE=cpu and CUDA_VISIBLE_DEVICES=-1."
        )
    if not gpu.driven_by_this_torch:
        raise UnsupportedMachine(
            f"torch {torch.__version__} carries no code for {gpu.name} (capability "
            f"{major}.{minor}). Install a torch built for it, or set "
            "COURSE_PROFILE=cpu and CUDA_VISIBLE_DEVICES=-1."
        )


def _free_gib(folder: Path, variable: str) -> float:
    """Free space where a folder is, or is going to be made, in GiB."""
    above = (folder, *folder.parents)
    place = next(path for path in above if path.exists() or path.is_symlink())
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        found = "on a read-only disk" if place.is_dir() else "no folder"
        raise UnusableFolder(
            f"Nothing can be written to {folder}: {place} is {found}. Point "
            f"{variable} to a folder that can be written to."
        )
    return shutil.disk_usage(place).free / 2**30


def pinned_versions() -> dict[str, str]:
    """The pins of constraints.txt: distribution name to version."""
    text = (PROJECT_ROOT / "constraints.txt").read_text("utf-8")
    return dict(re.findall(r"^(\S+)==(\S+)", text, re.M))


def _version_of(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "missing"


def version_warnings(pins: Mapping[str, str]) -> list[str]:
    """One line for each main library outside the tested set."""
    found = {name: _version_of(name).split("+")[0] for name in ALL_LIBRARIES}
    return [
        f"{name} is {version}, tested with {pins[name]}"
        for name, version in found.items()
        if version != pins.get(name, version)
    ]


def check_machine() -> Profile:
    """Print what this machine is, and return its profile; see `refuse_unsupported`."""
    profile = Profile.detect()
    refuse_unsupported(profile)
    print("\n".join(describe(profile)))
    for warning in version_warnings(pinned_versions()):
        print(f"warning    {warning}: if a cell fails, look here first")
    if profile.is_gpu and not profile.model_override and profile.free_gib < _GIB_OF_8B:
        print(
            f"warning    a recipe's 7 or 8B takes up to {_GIB_OF_8B} GiB (lessons 01 "
            f"to 06), {profile.free_gib:.1f} are free: shut down the kernels of other "
            "notebooks, or set COURSE_MODEL to a smaller model"
        )
    return profile


def describe(profile: Profile) -> list[str]:
    """The machine in a few lines: profile, device, memory, precision, versions."""
    threads = f"CPU, {torch.get_num_threads()} threads"
    device = profile.gpu.name if profile.gpu else threads
    disk = _free_gib(runs_folder(), "COURSE_RUNS")
    libraries = (f"{name} {_version_of(name)}" for name in MAIN_LIBRARIES)
    return [
        f"profile    {profile.name}",
        f"device     {device} ({platform.machine()})",
        f"memory     {profile.free_gib:.1f} of {profile.memory_gib:.1f} GiB free, "
        f"disk {disk:.0f} GiB free",
        f"precision  {str(profile.compute_dtype).removeprefix('torch.')}",
        f"versions   Python {platform.python_version()}, {', '.join(libraries)}",
    ]

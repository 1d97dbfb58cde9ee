"""From a tuned model to GGUF files: all of them whole, or none.

Unsloth merges, converts and quantizes. What is here stands around it: refusals before
the minutes are spent, and a folder that appears only when every file in it is whole.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_utils import llama_cpp
from course_utils.architectures import Architecture
from course_utils.gguf_file import LEVELS, bytes_and_bits, predicted_tensors, read_gguf
from course_utils.plans import Plan
from course_utils.profile import Profile

WANTED_LEVELS = ("f16", "q8_0", "q4_k_m")
# What lies on the disk beside the results while they are made, in bytes a parameter. On
# a CPU the merged model in fp32; on a GPU the 16-bit base from the hub and the merged
# model. A level that the converter does not write needs a first GGUF in 16 bits.
STAGING_BYTES = 4
FIRST_GGUF_BYTES = 2
CONVERTED = ("f32", "f16", "bf16", "q8_0")
TOKENIZER_BYTES = 20_000_000  # of a file; 2 MB for 49,000 tokens, 8 MB for 128,000
SHARE_OF_MEMORY = 0.8  # that a model may take when llama.cpp runs it


class ExportProblem(RuntimeError):
    """The export was refused or failed; nothing was written."""


def check_levels(levels: Sequence[str]) -> None:
    """Refuse a level that the course does not know, before anything is merged."""
    unknown = [level for level in levels if level not in LEVELS]
    if unknown or not levels:
        raise ExportProblem(
            f"Quantization {', '.join(map(repr, unknown)) or 'missing'}; expected some "
            f"of {', '.join(LEVELS)}. Names are llama.cpp's, in lower case."
        )


def needed_bytes(architecture: Architecture, levels: Sequence[str]) -> int:
    """Disk that an export takes at its fullest moment, staging included."""
    files = sum(
        bytes_and_bits(predicted_tensors(architecture, level))[0] + TOKENIZER_BYTES
        for level in levels
    )
    in_one_pass = len(levels) == 1 and levels[0] in CONVERTED
    staging = STAGING_BYTES + (0 if in_one_pass else FIRST_GGUF_BYTES)
    return files + staging * architecture.parameters


def levels_that_fit(
    architecture: Architecture, *, free_bytes: float, memory_bytes: float
) -> dict[str, str]:
    """Which of WANTED_LEVELS to export here, and why the others are left out.

    Args:
        architecture: Of the model.
        free_bytes: On the disk.
        memory_bytes: For llama.cpp, which must hold a file to compare it.

    Returns:
        Level to reason; an empty reason means that it fits.

    Raises:
        ExportProblem: If not even one level fits.
    """
    sizes = {
        level: bytes_and_bits(predicted_tensors(architecture, level))[0]
        for level in WANTED_LEVELS
    }
    held = [k for k, size in sizes.items() if size <= SHARE_OF_MEMORY * memory_bytes]
    sets = [
        levels
        for count in range(len(held), 0, -1)
        for levels in combinations(held, count)
        if needed_bytes(architecture, levels) <= free_bytes
    ]
    if not sets:
        raise ExportProblem(
            f"No level fits: {free_bytes / 1e9:.0f} GB of disk and "
            f"{memory_bytes / 1e9:.0f} GB of memory, where q8_0 needs "
            f"{needed_bytes(architecture, ['q8_0']) / 1e9:.0f} and "
            f"{sizes['q8_0'] / SHARE_OF_MEMORY / 1e9:.0f} GB. Point COURSE_RUNS to "
            "another disk, or set COURSE_MODEL to a smaller model."
        )
    together = "{:.0f} GB of disk needed with the others, {:.0f} free"
    return {
        level: ""
        if level in sets[0]
        else together.format(
            needed_bytes(architecture, [*sets[0], level]) / 1e9, free_bytes / 1e9
        )
        if level in held
        else f"{sizes[level] / 1e9:.1f} GB would not fit into memory"
        for level in WANTED_LEVELS
    }


def load_for_export(
    plan: Plan, profile: Profile, adapter: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The adapter on the base that Unsloth's export takes on this machine.

    On a CPU it merges into a plain base only. On a GPU it takes the model as it was
    trained, in 4 bits where the plan says so, and fetches the 16-bit base itself.
    """
    from course_utils import models

    four_bit = plan.load_in_4bit and profile.is_gpu
    return models.load_adapter(adapter, plan, profile, load_in_4bit=four_bit)


def export_gguf(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    target: Path,
    levels: Sequence[str],
    *,
    architecture: Architecture,
    free_bytes: float | None = None,
    toolchain: Path | None = None,
) -> dict[str, Path]:
    """Merge, convert and quantize by Unsloth into a folder that is new and whole.

    All work happens in a folder beside the target, which is renamed at the end: a
    reader sees either nothing or every file. A failure leaves nothing behind.

    Args:
        model: With its adapter; on a CPU its base must not be in 4 bits.
        tokenizer: Goes into the files, chat template included.
        target: Folder to make; it must not exist.
        levels: Keys of LEVELS.
        architecture: Of the model, to reckon with.
        free_bytes: Of the disk; measured when None.
        toolchain: llama.cpp's folder; where it is prepared when None.

    Returns:
        Level to file, `<target>/<level>.gguf`.

    Raises:
        ExportProblem: Before anything is written, or after all of it is removed.
    """
    check_levels(levels)
    _refuse_existing(target)
    _refuse_missing_converter(toolchain or llama_cpp.home())
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free if free_bytes is None else free_bytes
    _refuse_full_disk(needed_bytes(architecture, levels), free)
    with tempfile.TemporaryDirectory(prefix=".gguf-", dir=target.parent) as folder:
        work = Path(folder)
        try:
            made = model.save_pretrained_gguf(
                str(work / "model"), tokenizer, quantization_method=list(levels)
            )
            files = _by_level(made, levels)
            _collect(files, work / "whole")
        except Exception as error:  # Unsloth raises many kinds, all mean the same
            raise ExportProblem(
                f"The export stopped and left nothing behind: {error}"
            ) from error
        os.replace(work / "whole", target)
    return {level: target / f"{level}.gguf" for level in levels}


def _refuse_existing(target: Path) -> None:
    if target.exists():
        held = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
        raise ExportProblem(
            f"{target.name}/ exists already and holds {', '.join(held) or 'nothing'}; "
            "nothing is overwritten. Move it away, or choose another folder."
        )


def _refuse_missing_converter(folder: Path) -> None:
    needed = ("convert_hf_to_gguf.py", "llama-quantize")
    missing = [name for name in needed if not (folder / name).exists()]
    if missing:
        raise ExportProblem(
            f"{' and '.join(missing)} not found where llama.cpp should be "
            f"({folder.name}/). Run `python tools/build_llama_cpp.py`, or `make setup`."
        )


def _refuse_full_disk(needed: float, free: float) -> None:
    if needed > free:
        raise ExportProblem(
            f"{free / 1e9:.1f} GB of disk are free, the export needs "
            f"{needed / 1e9:.1f} GB at its fullest moment. Ask for fewer levels, or "
            "point COURSE_RUNS to another disk."
        )


def _by_level(made: Any, levels: Sequence[str]) -> dict[str, Path]:
    """Files that Unsloth made, by level: a list on a CPU, a dict on a GPU."""
    listed = made["gguf_files"] if isinstance(made, Mapping) else made
    paths = [Path(path) for path in listed]
    found = {
        level: path
        for level in levels
        for path in paths
        if path.name.lower().endswith(f".{level}.gguf")
    }
    if lost := [level for level in levels if level not in found]:
        raise FileNotFoundError(
            f"no file of {', '.join(lost)} among {[path.name for path in paths]}"
        )
    return found


def _collect(files: Mapping[str, Path], folder: Path) -> None:
    """Move the files together, each read once: it must be whole and of its level."""
    folder.mkdir()
    for level, path in files.items():
        found = read_gguf(path).file_type
        if found != LEVELS[level].file_type:
            raise ValueError(f"{path.name} says that it is {found}, not {level}")
        shutil.move(path, folder / f"{level}.gguf")

"""From a tuned model to GGUF files: all of them whole, or none.

Unsloth merges, converts and quantizes. What is here stands around it: refusals before
the minutes are spent, and a folder that appears only when every file in it is whole.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import psutil
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_utils import CourseError
from course_utils.gguf.file import LEVELS, bytes_and_bits, predicted_tensors, read_gguf
from course_utils.gguf.merging import SHARE_OF_MEMORY
from course_utils.machine.profile import Profile
from course_utils.machine.toolchain import install_folder
from course_utils.model.architectures import Architecture
from course_utils.places import locked, make_folder, runs_folder, whole_folder
from course_utils.recipes.plan import Plan

_WANTED_LEVELS = ("f16", "q8_0", "q4_k_m")
# What lies on the disk beside the results while they are made, in bytes a parameter. On
# a CPU the merged model in fp32; on a GPU the 16-bit base from the hub and the merged
# model. A level that the converter does not write needs a first GGUF in 16 bits.
_STAGING_BYTES = 4
_FIRST_GGUF_BYTES = 2
_CONVERTED = ("f32", "f16", "bf16", "q8_0")
_TOKENIZER_BYTES = 20_000_000  # of a file; 2 MB for 49,000 tokens, 8 MB for 128,000


class ExportProblem(CourseError, RuntimeError):
    """The export was refused or failed; what was there before is as it was."""


def _file_bytes(architecture: Architecture, level: str) -> int:
    return bytes_and_bits(predicted_tensors(architecture, level))[0]


def needed_bytes(architecture: Architecture, levels: Sequence[str]) -> int:
    """Disk that an export takes at its fullest moment, staging included."""
    files = sum(_file_bytes(architecture, level) + _TOKENIZER_BYTES for level in levels)
    in_one_pass = len(levels) == 1 and levels[0] in _CONVERTED
    staging = _STAGING_BYTES + (0 if in_one_pass else _FIRST_GGUF_BYTES)
    return files + staging * architecture.parameters


def levels_that_fit(
    architecture: Architecture,
    wanted: Sequence[str] = _WANTED_LEVELS,
    *,
    free_bytes: float | None = None,
    memory_bytes: float | None = None,
) -> dict[str, str]:
    """Each wanted level with the reason not to export it here, "" where it fits.

    Both are what is free, below `runs/` and in memory, measured where they are None:
    llama.cpp must hold a file to compare it, and gets SHARE_OF_MEMORY. ExportProblem if
    not even one level fits.
    """
    if free_bytes is None:
        free_bytes = shutil.disk_usage(make_folder(runs_folder())).free
    if memory_bytes is None:
        memory_bytes = psutil.virtual_memory().available
    sizes = {level: _file_bytes(architecture, level) for level in wanted}
    held = [k for k, size in sizes.items() if size <= SHARE_OF_MEMORY * memory_bytes]
    sets = [
        levels
        for count in range(len(held), 0, -1)
        for levels in combinations(held, count)
        if needed_bytes(architecture, levels) <= free_bytes
    ]
    if not sets:
        least, level = min((needed_bytes(architecture, [k]), k) for k in wanted)
        raise ExportProblem(
            f"No level fits: {free_bytes / 1e9:.0f} GB of disk and "
            f"{memory_bytes / 1e9:.0f} GB of memory free, where {level} needs "
            f"{least / 1e9:.0f} and "
            f"{sizes[level] / SHARE_OF_MEMORY / 1e9:.0f} GB. Point COURSE_RUNS to "
            "another disk, or set COURSE_MODEL to a smaller model."
        )

    def reason(level: str) -> str:
        if level in sets[0]:
            return ""
        if level not in held:
            return f"{sizes[level] / 1e9:.1f} GB would not fit into memory"
        needed = needed_bytes(architecture, [*sets[0], level]) / 1e9
        told = f"{needed:.0f} GB of disk needed with the others"
        return f"{told}, {free_bytes / 1e9:.0f} free"

    return {level: reason(level) for level in wanted}


def load_for_export(
    plan: Plan, profile: Profile, adapter: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The adapter on the base that Unsloth's export takes on this machine.

    On a CPU it merges into a plain base only. On a GPU it takes the model as it was
    trained, in 4 bits where the plan says so, and fetches the 16-bit base itself.
    """
    from course_utils.model import loading  # imports unsloth: 15 seconds

    four_bit = plan.load_in_4bit and profile.is_gpu
    return loading.load_adapter(adapter, plan, profile, load_in_4bit=four_bit)


def export_gguf(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    target: Path,
    levels: Sequence[str],
    *,
    architecture: Architecture,
    replace: bool = False,
    free_bytes: float | None = None,
    toolchain: Path | None = None,
) -> dict[str, Path]:
    """Merge, convert and quantize by Unsloth into a folder that is new and whole.

    A reader sees the old files or the new ones, and what a killed export left is
    removed first. The process's working directory is another one meanwhile, since on a
    GPU Unsloth writes into that.

    On a CPU the model's base must not be in 4 bits. `levels` are keys of LEVELS. With
    `replace` an older target is kept until the new one is whole. Free disk is measured,
    and llama.cpp's folder is the prepared one, where they are None.

    Returns level to file, `<target>/<level>.gguf`. ExportProblem if it is refused or
    fails: the target is as it was before.
    """
    target = target.resolve()
    _refuse_wrong_call(levels, target, toolchain or install_folder(), replace=replace)
    _refuse_tokenizer(model, tokenizer)
    with locked(target):
        _end_killed_export(target)
        with whole_folder(target) as folder:
            free = shutil.disk_usage(folder).free if free_bytes is None else free_bytes
            _refuse_full_disk(needed_bytes(architecture, levels), free)
            work = make_folder(folder / "work")
            try:
                with contextlib.chdir(work):
                    # pyrefly: ignore[not-callable]  # Unsloth puts it on the model
                    made = model.save_pretrained_gguf(
                        str(work / "model"), tokenizer, quantization_method=list(levels)
                    )
                    _collect(made, levels, folder)
            except Exception as error:  # Unsloth raises many kinds, all mean the same
                reason = _reason(error, shutil.disk_usage(folder).free)
                raise ExportProblem(
                    f"The export stopped and left nothing behind: {reason}"
                ) from error
            shutil.rmtree(work)
    return {level: target / f"{level}.gguf" for level in levels}


def _refuse_wrong_call(
    levels: Sequence[str], target: Path, toolchain: Path, *, replace: bool
) -> None:
    unknown = [level for level in levels if level not in LEVELS]
    if unknown or not levels:
        raise ExportProblem(
            f"Quantization {', '.join(map(repr, unknown)) or 'missing'}; expected some "
            f"of {', '.join(LEVELS)}. Names are llama.cpp's, in lower case."
        )
    if target.exists() and not replace:
        held = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
        raise ExportProblem(
            f"{target.name}/ exists already and holds {', '.join(held) or 'nothing'}; "
            "nothing is overwritten. Move it away, or choose another folder."
        )
    needed = ("convert_hf_to_gguf.py", "llama-quantize")
    if missing := [name for name in needed if not (toolchain / name).exists()]:
        raise ExportProblem(
            f"{' and '.join(missing)} not found in {toolchain.name}/, where llama.cpp "
            "should be. Run `python tools/build_llama_cpp.py`, or `make setup`."
        )


def _refuse_tokenizer(model: Any, tokenizer: Any) -> None:
    """Raise where llama.cpp's converter will miss a file that Unsloth cannot bring.

    For Phi-3 it reads SentencePiece's tokenizer.model unless the tokenizer's class is
    GPT2Tokenizer (conversion/phi.py). Unsloth copies that file from the tokenizer's or
    the base's folder, or from the hub, which is not asked here.
    """
    config = getattr(model, "config", None)
    needs = "Phi3ForCausalLM" in (getattr(config, "architectures", None) or ())
    if not needs or type(tokenizer).__name__ == "GPT2Tokenizer":
        return
    places = [tokenizer.name_or_path, getattr(config, "_name_or_path", "")]
    folders = [Path(place) for place in places if place and Path(place).is_dir()]
    named = str(getattr(tokenizer, "vocab_file", None) or "").endswith(".model")
    if named or len(folders) < len(places):
        return
    if not any((folder / "tokenizer.model").exists() for folder in folders):
        raise ExportProblem(
            f"The model is a Phi3ForCausalLM and its tokenizer a "
            f"{type(tokenizer).__name__} without tokenizer.model, in "
            f"{' and '.join(str(folder) for folder in folders)}; llama.cpp's converter "
            "expects that file of SentencePiece. Was the folder saved by a fast "
            "tokenizer alone? Copy tokenizer.model of the original model there. If its "
            "tokenizer is byte-level BPE (Phi-4), merge with save_pretrained_merged, "
            "set tokenizer_class in that folder's tokenizer_config.json to "
            "GPT2Tokenizer, and run llama.cpp's convert_hf_to_gguf.py on it."
        )


def _refuse_full_disk(needed: float, free: float) -> None:
    if needed > free:
        raise ExportProblem(
            f"{free / 1e9:.1f} GB of disk are free, the export needs "
            f"{needed / 1e9:.1f} GB at its fullest moment. Ask for fewer levels, or "
            "point COURSE_RUNS to another disk."
        )


def _end_killed_export(target: Path) -> None:
    """End converters whose notebook was killed: they go on writing by themselves."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd().startswith(f"{target.parent}/.{target.name}.partial-"):
                process.kill()


def _reason(error: Exception, free: int) -> str:
    """What a converter's pages of output come down to."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    told = (errors or lines or [type(error).__name__])[-1]
    # numpy says only how many numbers it could write
    if "No space left" in str(error) or "requested and" in told:
        return f"no space left on the disk ({free / 1e6:.0f} MB free). {told}"
    return told


def _collect(made: Any, levels: Sequence[str], folder: Path) -> None:
    """Move Unsloth's files together, each read once: it must be whole and of its level.

    `made` is a list of paths on a CPU; on a GPU a dict holds that list.
    """
    paths = [*map(Path, made["gguf_files"] if isinstance(made, Mapping) else made)]
    for level in levels:
        found = [p for p in paths if p.name.lower().endswith(f".{level}.gguf")]
        if not found:
            names = [path.name for path in paths]
            raise FileNotFoundError(f"no file of {level} among {names}")
        if (kind := read_gguf(found[-1]).file_type) != LEVELS[level].file_type:
            raise ValueError(f"{found[-1].name} says that it is {kind}, not {level}")
        shutil.move(found[-1], folder / f"{level}.gguf")

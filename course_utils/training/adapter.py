"""A recipe's adapter: the saved one, or trained then and there.

So that each notebook after the third works alone on a fresh machine. The steps are
those that notebook 03 shows one by one.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from course_utils import CourseError, places
from course_utils.data.conversation import Conversation
from course_utils.data.datasets import Splits, load_rows
from course_utils.data.tokens import row_lengths, to_dataset
from course_utils.machine.profile import Profile
from course_utils.model.architectures import FUSED
from course_utils.places import BrokenFile
from course_utils.recipes.plan import LAST_ANSWER, OWN, Plan, Recipe
from course_utils.training import trainer as training
from course_utils.training.trainer import CannotResume, TrainingRun, run_training

_CONFIG = "adapter_config.json"
_TRAINING_TAKES = {
    "nano": "seconds",
    "cpu": "4 to 8 minutes on two cores, with movie_search 15 to 30",
    "t4": "about 10 minutes on a T4, an estimate",
}
_AVOID = (
    "To have it taken instead, interrupt this cell and run notebook 03 first on this "
    "machine, or let COURSE_RUNS name the folder of an earlier run (on Colab one on "
    "Drive: notebook 03, section 9)."
)
# What a record from before a setting was there is taken to say of it.
_UNSET = {"train_on": LAST_ANSWER, "held_out": None}


class OtherAdapter(CourseError, RuntimeError):
    """The run folder holds an adapter that another plan or other rows made."""


class BrokenAdapter(BrokenFile):
    """A saved adapter is missing, cut off, or not what was written."""


@dataclass(frozen=True)
class FineTuned:
    """A finished run: where it lies and what it was."""

    folder: Path  # of the run; its `adapter` holds weights, tokenizer and run.json
    plan: Plan  # by which it was trained
    run: TrainingRun

    @property
    def adapter_folder(self) -> Path:
        """What `load_adapter` takes."""
        return self.folder / "adapter"


def fine_tune(
    recipe_name: str,
    plan: Plan,
    profile: Profile,
    folder: Path,
    *,
    rows: Splits | None = None,
) -> FineTuned:
    """Load the plan's model, attach LoRA, train, save, and free the model.

    A run that was stopped goes on from its last whole checkpoint. One process at a
    time; the others wait. The folder gets the checkpoints, and `adapter` with its
    record. `rows` stand in for the plan's.

    Raises:
        BrokenAdapter: If the weights that were trained are no numbers.
    """
    training.tracker()  # an unknown one is refused before the model is loaded
    from course_utils.model import loading  # imports unsloth: 15 seconds

    rows = rows or load_rows(plan)
    with places.locked(folder):
        base, tokenizer = loading.load_base(plan, profile)
        kept = [without_long_rows(side, plan, tokenizer) for side in rows]
        length, turns = plan.max_length, plan.train_on
        train, validation = (to_dataset(r, tokenizer, length, turns) for r in kept)
        model = loading.attach_lora(base, plan)
        trainer = training.build_trainer(
            model, tokenizer, train, validation, plan, profile, folder
        )
        run = _resumed_or_new(trainer, recipe_name, profile, rows)
        with places.whole_folder(folder / "adapter") as whole:
            model.save_pretrained(whole)
            tokenizer.save_pretrained(whole)
            run.save(whole)
            check_adapter(whole)
    del model, base, trainer
    loading.free_memory()
    return FineTuned(folder, plan, run)


def without_long_rows(
    rows: Sequence[Conversation], plan: Plan, tokenizer: PreTrainedTokenizerBase
) -> list[Conversation]:
    """Own rows of at most `max_length` tokens; of the course's a long one is a fault.

    The report before training counts those that are left out.
    """
    if not plan.dataset.name.startswith(OWN):
        return list(rows)
    lengths = row_lengths(rows, tokenizer)
    pairs = zip(rows, lengths, strict=True)
    return [row for row, length in pairs if length <= plan.max_length]


def _resumed_or_new(trainer, name: str, profile: Profile, rows: Splits) -> TrainingRun:
    if list(Path(trainer.args.output_dir).glob("checkpoint-*")):
        try:
            return run_training(trainer, name, profile, resume=True, rows=rows)
        except CannotResume as reason:  # checkpoints can be made again
            print(f"{reason}\nTraining from the start, without them.")
    return run_training(trainer, name, profile, rows=rows)


def get_adapter(recipe: Recipe, profile: Profile) -> FineTuned:
    """The recipe's adapter for this profile: the saved one, else trained now.

    Raises:
        OtherAdapter: If the saved one was made by another plan or from other rows.
    """
    plan = recipe.plan_for(profile.name, profile.model_override)
    folder = places.run_folder(recipe.name, profile)
    rows = load_rows(plan)
    with places.locked(folder):  # a second notebook waits, and finds it trained
        try:
            check_adapter(folder / "adapter")
            run = TrainingRun.load(folder)
        except BrokenFile as fault:
            there = (folder / "adapter").exists()
            told = str(fault) if there else f"no adapter in runs/{folder.name} yet"
            how = f"as notebook 03 does ({_TRAINING_TAKES[profile.name]}). {_AVOID}"
            if plan.dataset.name.startswith(OWN):
                how = "from your rows. Stopped, it goes on from its last checkpoint."
            print(f"{told}: training it now, {how}", flush=True)
            return fine_tune(recipe.name, plan, profile, folder, rows=rows)
    origin = {"recipe": recipe.name, "profile": profile.name}
    refuse_other_adapter(folder / "adapter", plan, **origin, **training.digests(*rows))
    _point_to_base(folder / "adapter", plan)
    return FineTuned(folder, plan, run)


def _point_to_base(folder: Path, plan: Plan) -> None:
    """Let an adapter name the folder of its base, where that was moved."""
    from course_utils.model.loading import model_location

    config, base = _read_config(folder / _CONFIG), Path(model_location(plan))
    if base.is_absolute() and config["base_model_name_or_path"] != str(base):
        with places.whole_folder(folder) as whole:
            shutil.copytree(folder, whole, dirs_exist_ok=True)
            moved = config | {"base_model_name_or_path": str(base)}
            places.write_json(whole / _CONFIG, moved)


def check_adapter(folder: Path) -> None:
    """Refuse a saved adapter that is not whole.

    Raises:
        BrokenAdapter: With the file: missing, other bytes than were written, no
            adapter's configuration, or weights that are no numbers.
    """
    readers = {_CONFIG: _read_config, training.WEIGHTS: _read_weights}
    if (folder / places.STAMP).exists():  # it was not saved by hand
        readers = {places.STAMP: _read_stamp, **readers}
    if fault := training.first_fault(folder, readers):
        where = f"{folder.parent.name}/{folder.name}"
        raise BrokenAdapter(f"{where} is not whole: {fault}. {training.WAY_OUT}")


def _read_stamp(path: Path) -> None:
    stamp = places.read_json(path, "")
    if not stamp or not isinstance(stamp, dict):
        raise BrokenFile("it says nothing of the other files")
    for name, written in stamp.items():
        file = path.parent / name
        if [file.stat().st_size, places.sha256(file)] != written:
            raise BrokenFile(f"{name} holds other bytes than were written")


def _read_config(path: Path) -> dict[str, Any]:
    config = places.read_json(path, "")
    if not isinstance(config, dict) or not config.get("r"):
        raise BrokenFile("it describes no LoRA adapter")
    return config


def _read_weights(path: Path) -> None:
    tensors = load_file(path)
    if broken := [name for name, held in tensors.items() if not held.isfinite().all()]:
        raise BrokenFile(
            f"{len(broken)} of {len(tensors)} tensors hold NaN or infinity. Did the "
            "loss diverge?"
        )


def refuse_other_adapter(folder: Path, plan: Plan, **origin: str) -> None:
    """Refuse a saved adapter that does not belong to a plan.

    Its record must agree with the plan in every number, and in each `origin`: recipe,
    profile, digests of the rows. An adapter saved by hand, without a record, is held
    against the plan by what it says of itself: base, rank, alpha, modules.

    Raises:
        OtherAdapter: With each field that differs, and both values.
    """
    from course_utils.model.loading import model_location

    config = _read_config(folder / _CONFIG)
    there = model_core(str(config.get("base_model_name_or_path")))
    here = model_core(model_location(plan))
    found = {"base": there, "r": config["r"], "lora_alpha": config.get("lora_alpha")}
    expected: dict[str, Any] = {"base": here, "r": plan.rank, "lora_alpha": plan.alpha}
    if isinstance(modules := config.get("target_modules"), list):  # else a pattern
        fused = {*FUSED.values()} - {*plan.target_modules}  # Unsloth's, of a Phi-3
        found["modules"] = sorted({*modules} - fused)
        expected["modules"] = sorted(plan.target_modules)
    if (folder / training.RECORD).exists():
        record = vars(run := TrainingRun.load(folder)) | run.digests
        found |= _UNSET | run.plan | {name: record.get(name) for name in origin}
        expected |= plan.facts() | origin
    if differing := training.differences(found, expected):
        raise OtherAdapter(
            f"{folder.parent.name}/{folder.name} is not this plan's adapter: "
            f"{'; '.join(differing)}. Was COURSE_MODEL, the recipe or its data changed "
            "since? Move that folder away to train anew, give your recipe another "
            "name, or set COURSE_RUNS to another folder."
        )


def model_core(name: str) -> str:
    """A model's name without what Unsloth adds when it picks a 4-bit copy.

    `Qwen/Qwen2.5-0.5B-Instruct` is loaded from, and recorded as,
    `unsloth/qwen2.5-0.5b-instruct-unsloth-bnb-4bit`. Of a folder its name counts, since
    a cache may be moved.
    """
    if Path(name).is_absolute():
        return Path(name).name
    core = name.lower().rsplit("/", 1)[-1]
    return core.removesuffix("-bnb-4bit").removesuffix("-unsloth")

"""A recipe's adapter: the saved one, or trained then and there.

So that each notebook after the third works alone on a fresh machine. The steps are
those that notebook 03 shows one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import TrainerCallback

from course_utils.data import DATA_FOLDER, Conversation
from course_utils.instructions import from_hub, load_split
from course_utils.movies import load_movies
from course_utils.plans import Plan, Recipe
from course_utils.profile import Profile
from course_utils.records import run_folder
from course_utils.tokens import to_dataset
from course_utils.training import TrainingRun, build_trainer, run_training

MOVIES = "movies"
INSTRUCTION_FOLDERS = {name: DATA_FOLDER / name for name in ("instructions", "iac")}
WATCHED_ROWS = 40  # each evaluation on the way is a pass over them
HUB_VALIDATION_ROWS = 80


class OtherAdapter(RuntimeError):
    """The run folder holds an adapter that another plan made."""


@dataclass(frozen=True)
class FineTuned:
    """A finished run: where it lies and what it was.

    Attributes:
        folder: Of the run; holds run.json, log_history.json and the adapter.
        plan: By which it was trained.
        run: Updates, times, tokens and the trainer's log.
    """

    folder: Path
    plan: Plan
    run: TrainingRun

    @property
    def adapter_folder(self) -> Path:
        """What `models.load_adapter` takes."""
        return self.folder / "adapter"


def load_splits(plan: Plan) -> tuple[list[Conversation], list[Conversation]]:
    """All conversations of a plan's data set: training and validation.

    Of a data set on the hub `plan.rows` are drawn for training, and behind them
    HUB_VALIDATION_ROWS for validation.

    Raises:
        KeyError: If the course has no such data set, and it is no hub id either.
        FaultyData: If a file has faults.
    """
    name = plan.dataset.name
    if name == MOVIES:
        return load_movies("train"), load_movies("validation")
    if name in INSTRUCTION_FOLDERS:
        folder = INSTRUCTION_FOLDERS[name]
        return load_split(folder, "train"), load_split(folder, "validation")
    if "/" in name and plan.rows is not None:
        needed = plan.rows + HUB_VALIDATION_ROWS
        revision = plan.dataset.revision
        drawn = from_hub(name, needed, seed=plan.seed, revision=revision)
        return drawn[: plan.rows], drawn[plan.rows :]
    raise KeyError(
        f"No data set {name!r} with rows={plan.rows}: there are {MOVIES}, "
        f"{', '.join(INSTRUCTION_FOLDERS)}, or a hub id with Alpaca's columns and a "
        "number of rows."
    )


def load_rows(plan: Plan) -> tuple[list[Conversation], list[Conversation]]:
    """The conversations of a plan: to train on, and to watch the training with.

    Raises:
        KeyError: If the course has no such data set.
    """
    training, validation = load_splits(plan)
    return training[: plan.rows], thinned(validation)


def thinned(validation: Sequence[Conversation]) -> list[Conversation]:
    """Every k-th row, so that at most WATCHED_ROWS are left: enough to judge by."""
    return list(validation[:: -(-len(validation) // WATCHED_ROWS)])


def fine_tune(
    recipe_name: str,
    plan: Plan,
    profile: Profile,
    folder: Path,
    *,
    training: Sequence[Conversation] | None = None,
    validation: Sequence[Conversation] | None = None,
    callbacks: Iterable[TrainerCallback] = (),
) -> FineTuned:
    """Load the plan's model, attach LoRA, train, save, and free the model.

    Args:
        recipe_name: For the record.
        plan: Hyperparameters.
        profile: The machine.
        folder: Gets adapter, run.json, log_history.json and checkpoints.
        training: Other rows than the plan's.
        validation: Other rows than the plan's.
        callbacks: Added to the trainer.
    """
    from course_utils import models  # imports unsloth, which takes 15 seconds

    rows = load_rows(plan)
    base, tokenizer = models.load_base(plan, profile)
    datasets = [
        to_dataset(given if given is not None else own, tokenizer, plan.max_length)
        for given, own in zip((training, validation), rows, strict=True)
    ]
    model = models.attach_lora(base, plan)
    trainer = build_trainer(model, tokenizer, *datasets, plan, profile, folder)
    for callback in callbacks:
        trainer.add_callback(callback)
    run = run_training(trainer, recipe_name, profile)
    model.save_pretrained(folder / "adapter")
    tokenizer.save_pretrained(folder / "adapter")
    run.save(folder)
    del model, base, trainer
    models.free_memory()
    return FineTuned(folder, plan, run)


def get_adapter(recipe: Recipe, profile: Profile) -> FineTuned:
    """The recipe's adapter for this profile: the saved one, else trained now.

    Raises:
        OtherAdapter: If the saved one has another base, rank or alpha than the plan.
    """
    plan = recipe.plan_for(profile.name, profile.model_override)
    folder = run_folder(recipe.name, profile)
    if (folder / "adapter" / "adapter_config.json").exists() and (
        folder / "run.json"
    ).exists():
        refuse_other_adapter(folder / "adapter", plan)
        return FineTuned(folder, plan, TrainingRun.load(folder))
    print(f"no adapter in runs/{folder.name} yet: training it now, as notebook 03 does")
    return fine_tune(recipe.name, plan, profile, folder)


def refuse_other_adapter(folder: Path, plan: Plan) -> None:
    """Raise OtherAdapter when a saved adapter does not belong to a plan."""
    from course_utils.models import model_location

    saved = json.loads((folder / "adapter_config.json").read_text())
    found = {
        "base": model_core(str(saved.get("base_model_name_or_path"))),
        "rank": saved.get("r"),
        "alpha": saved.get("lora_alpha"),
    }
    expected = {
        "base": model_core(model_location(plan)),
        "rank": plan.rank,
        "alpha": plan.alpha,
    }
    if found != expected:
        raise OtherAdapter(
            f"{folder.parent.name}/adapter was trained with {found}, the plan says "
            f"{expected}. Was COURSE_MODEL or the recipe changed since? Move that "
            "folder away to train anew, or set COURSE_RUNS to another one."
        )


def model_core(name: str) -> str:
    """A model's name without what Unsloth adds when it picks a 4-bit copy.

    `Qwen/Qwen2.5-0.5B-Instruct` is loaded from, and recorded as,
    `unsloth/qwen2.5-0.5b-instruct-unsloth-bnb-4bit`. A folder stays as it is.
    """
    if Path(name).is_absolute():
        return name
    core = name.lower().rsplit("/", 1)[-1]
    return core.removesuffix("-bnb-4bit").removesuffix("-unsloth")

"""Supervised fine-tuning: the trainer, the run, its checkpoints and its record."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import set_peft_model_state_dict
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerState,
    integrations,
)
from transformers.trainer_utils import sort_checkpoints

from course_utils import CourseError, places
from course_utils.data.conversation import Conversation
from course_utils.machine.doctor import MAIN_LIBRARIES
from course_utils.machine.profile import Profile
from course_utils.recipes.plan import Plan

_EVALUATIONS = 4  # in a run, at most; each costs a pass over the validation rows
WEIGHTS = "adapter_model.safetensors"
RECORD = "run.json"
WAY_OUT = "Run notebook 03 again, or `get_adapter`, which trains it anew."
_MADE_FROM = "made_from.json"  # beside the checkpoints: their plan and rows
_STATE = "trainer_state.json"
_ALWAYS = {  # of each SFTConfig of the course
    "packing": False,
    "dataset_kwargs": {"skip_prepare_dataset": True},  # the rows are tokens already
    "logging_steps": 1,
    "include_num_input_tokens_seen": "non_padding",
    "eval_strategy": "steps",
    "eval_on_start": True,  # the base's loss, without which no fall can be seen
    "save_total_limit": 2,
}


class CannotResume(CourseError, ValueError):
    """No checkpoint from which this run could go on."""


class UnknownTracker(CourseError, ValueError):
    """COURSE_TRACKER names what cannot be reported to."""


def updates_per_epoch(rows: int, plan: Plan) -> int:
    """Optimizer updates in one pass over the rows; the last one may be smaller."""
    if rows < 1:
        raise ValueError(f"{rows} rows found, at least one needed to train.")
    return math.ceil(math.ceil(rows / plan.batch_size) / plan.accumulation_steps)


def total_updates(rows: int, plan: Plan) -> int:
    """Updates of the whole run: max_steps when set, else epochs, rounded up."""
    return plan.max_steps or math.ceil(plan.epochs * updates_per_epoch(rows, plan))


def tracker() -> str:
    """What COURSE_TRACKER names, such as `trackio`: it gets the log too. Or `none`.

    Raises:
        UnknownTracker: If transformers does not know it, or it is not installed.
    """
    name = os.environ.get("COURSE_TRACKER") or "none"
    installed = integrations.get_available_reporting_integrations()
    if name not in ("none", "all", *installed):
        raise UnknownTracker(
            f"COURSE_TRACKER is {name!r}. Expected a tracker that transformers knows "
            f"and that is installed: {', '.join(installed) or 'none is'}. Is it a "
            f"typing error? Else `pip install {name}`, or leave COURSE_TRACKER out."
        )
    return name


def trainer_config(
    plan: Plan,
    profile: Profile,
    folder: Path,
    updates: int,
    *,
    evaluations: int = _EVALUATIONS,
    keep_best: bool = False,
):
    """The plan in TRL's words: an SFTConfig, with checkpoints below the run's folder.

    Args:
        updates: Of the whole run.
        evaluations: At most how many after the one at the start, spread over the run
            and each with a checkpoint; the last is at the last update.
        keep_best: End with the adapter of the lowest validation loss, not the last.
    """
    from trl import SFTConfig

    every = math.ceil(updates / evaluations)
    return SFTConfig(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=plan.batch_size,
        per_device_eval_batch_size=plan.batch_size,
        gradient_accumulation_steps=plan.accumulation_steps,
        num_train_epochs=plan.epochs,
        max_steps=plan.max_steps or -1,
        learning_rate=plan.learning_rate,
        lr_scheduler_type=plan.schedule,
        warmup_steps=plan.warmup_steps,
        weight_decay=plan.weight_decay,
        optim=plan.optimizer,
        max_length=plan.max_length,
        gradient_checkpointing=plan.gradient_checkpointing,
        fp16=profile.is_gpu and not profile.supports_bf16,
        bf16=profile.is_gpu and profile.supports_bf16,
        eval_steps=every,
        save_steps=every,
        load_best_model_at_end=keep_best,
        metric_for_best_model="eval_loss" if keep_best else None,
        seed=plan.seed,
        data_seed=plan.seed,
        dataloader_pin_memory=profile.is_gpu,
        report_to=tracker(),
        **_ALWAYS,
    )


def build_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    training: Dataset,
    validation: Dataset,
    plan: Plan,
    profile: Profile,
    folder: Path,
    *,
    evaluations: int = _EVALUATIONS,
    keep_best: bool = False,
):
    """An SFTTrainer, ready to train or to resume; see `trainer_config` for the choices.

    The model has its adapter; the rows, of which `validation` is never trained on, come
    from `to_dataset`.
    """
    from trl import SFTTrainer

    padding = copy.deepcopy(tokenizer)  # an answer on the way turns the other's side
    padding.padding_side = "right"
    updates = total_updates(len(training), plan)
    choices = {"evaluations": evaluations, "keep_best": keep_best}
    return SFTTrainer(
        model=model,
        processing_class=tokenizer,
        args=trainer_config(plan, profile, folder, updates, **choices),
        train_dataset=training,
        eval_dataset=validation,
        data_collator=DataCollatorForSeq2Seq(padding),  # pads labels with -100
        callbacks=[RunRecorder(plan, training, validation)],
    )


class StopAfter(TrainerCallback):
    """Saves and ends training after some updates, as a lost connection would."""

    def __init__(self, updates: int):
        self.updates = updates

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.updates:
            control.should_save = control.should_training_stop = True


class RunRecorder(TrainerCallback):
    """A trainer's callback that knows what its run is made from, and times it.

    A run that starts anew clears the trainer's folder of older checkpoints and notes
    there what its own will be made from. Evaluations do not count as training time.
    """

    def __init__(self, plan: Plan, training: Dataset, validation: Dataset):
        self.plan = plan.facts()
        self.made_from = self.plan | digests(training, validation)
        self.seconds, self.training_seconds, self.tokens = 0.0, 0.0, 0

    def on_train_begin(self, args, state, control, **kwargs):
        self._begin, self.training_seconds = time.perf_counter(), 0.0
        self._before = state.num_input_tokens_seen
        if state.global_step == 0:
            shutil.rmtree(args.output_dir, ignore_errors=True)
            places.write_json(Path(args.output_dir) / _MADE_FROM, self.made_from)

    def on_step_begin(self, args, state, control, **kwargs):
        self._start = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.training_seconds += time.perf_counter() - self._start
        self.tokens = state.num_input_tokens_seen - self._before

    def on_train_end(self, args, state, control, **kwargs):
        self.seconds = time.perf_counter() - self._begin


@checked_dataclass(frozen=True, config={"ser_json_inf_nan": "strings"})
class TrainingRun:
    """What a finished run leaves behind, beside the adapter."""

    recipe: str
    profile: str
    updates: int  # those before a resume included
    rows: int  # to train on
    seconds: float  # wall time, evaluations included; after a resume, of the rest
    training_seconds: float  # of the updates; after a resume, of the rest
    tokens: int  # through the model in that time, padding excluded
    history: list[dict[str, int | float]]  # step, loss, eval_loss, grad_norm, …
    plan: dict[str, Any]  # every number, as `Plan.facts` gives them
    digests: dict[str, str]  # of the training and validation rows
    revision: str | None  # commit of the project, `-dirty` when files differ
    versions: dict[str, str]  # of the main libraries

    @classmethod
    def of(
        cls,
        trainer,
        recipe_name: str,
        profile: Profile,
        rows: Sequence[Sequence[Conversation]] = ((), ()),
    ) -> TrainingRun:
        """What a trainer has done that has a `RunRecorder` among its callbacks.

        `rows` are the training and validation conversations: `get_adapter` takes an
        adapter only when they are the plan's.
        """
        callbacks = trainer.callback_handler.callbacks
        recorder = next(each for each in callbacks if isinstance(each, RunRecorder))
        return cls(
            recipe=recipe_name,
            profile=profile.name,
            updates=trainer.state.global_step,
            rows=len(trainer.train_dataset),
            seconds=recorder.seconds,
            training_seconds=recorder.training_seconds,
            tokens=recorder.tokens,
            history=list(trainer.state.log_history),
            plan=recorder.plan,
            digests=digests(*rows),
            revision=_revision(),
            versions=_versions(),
        )

    @property
    def tokens_per_second(self) -> float:
        """Training throughput, evaluations excluded; NaN when nothing was trained."""
        return self.tokens / self.training_seconds if self.tokens else math.nan

    def save(self, folder: Path) -> None:
        """Write run.json: into the adapter's folder, so that both belong together."""
        places.write_whole(folder / RECORD, TypeAdapter(type(self)).dump_json(self))

    @classmethod
    def load(cls, folder: Path) -> TrainingRun:
        """Read what `save` wrote, from an adapter's folder or from its run's.

        Raises:
            BrokenFile: If the record is missing, cut off, or lacks a field.
        """
        inner = folder / "adapter"
        path = (inner if inner.is_dir() else folder) / RECORD
        try:
            return cls(**places.read_json(path, WAY_OUT))
        except (TypeError, ValidationError) as fault:
            told = f"{path} is no run's record: {fault}. {WAY_OUT}"
            raise places.BrokenFile(told) from None


def run_training(
    trainer,
    recipe_name: str,
    profile: Profile,
    *,
    resume: bool = False,
    rows: Sequence[Sequence[Conversation]] = ((), ()),
) -> TrainingRun:
    """Train to the end and return what happened.

    Args:
        resume: Go on from the last whole checkpoint in the trainer's folder; the
            history then covers the whole run, times and tokens this part of it.
            Otherwise checkpoints that lie there are removed.
        rows: For the record; see `TrainingRun.of`.

    Raises:
        CannotResume: If there is no whole checkpoint, or those that are there were
            made by another plan or from other rows.
    """
    callbacks = trainer.callback_handler.callbacks
    recorder = next(each for each in callbacks if isinstance(each, RunRecorder))
    folder = Path(trainer.args.output_dir)
    with places.locked(folder):
        checkpoint = _last_checkpoint(folder, recorder.made_from) if resume else None
        if checkpoint is None or not _taken_as_finished(trainer, checkpoint):
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    return TrainingRun.of(trainer, recipe_name, profile, rows)


def gradient_zeros(model: Any, batch: Mapping[str, Any]) -> dict[str, float]:
    """Share of exact zeros in the gradients of LoRA's A and B, for one batch.

    As the adapter is, and `at the start`, where every B is zero: it is left so.
    """
    adapter = [named for named in model.named_parameters() if "lora_" in named[0]]
    shares = {}
    for moment in ("", " at the start"):
        if moment:
            for name, weight in adapter:
                weight.data.mul_("lora_B" not in name)
        model.zero_grad()
        model(**{n: t.to(model.device) for n, t in batch.items()}).loss.backward()
        for matrix in "AB":
            held = [w.grad for name, w in adapter if f"lora_{matrix}" in name]
            zeros = sum((grad == 0).sum().item() for grad in held)
            shares[matrix + moment] = zeros / sum(grad.numel() for grad in held)
    return shares


def _last_checkpoint(folder: Path, made_from: Mapping[str, Any]) -> Path:
    """The newest whole checkpoint of this plan and these rows; see `run_training`."""
    where = f"{folder.parent.name}/{folder.name}"
    checkpoints = [Path(name) for name in sort_checkpoints(str(folder))]
    if not checkpoints:
        raise CannotResume(f"There is no checkpoint in {where}. Use resume=False.")
    try:
        found = places.read_json(folder / _MADE_FROM, "Use resume=False.")
    except places.BrokenFile as fault:
        raise CannotResume(f"Whose checkpoints lie in {where}? {fault}") from None
    found = found if isinstance(found, dict) else {}
    if differing := differences(found, made_from):
        raise CannotResume(
            f"The checkpoints in {where} are of another run: {'; '.join(differing)}. "
            "Was the plan changed since? Use resume=False, or another folder."
        )
    for checkpoint in reversed(checkpoints):
        fault = first_fault(checkpoint, _CHECKPOINT_READERS)
        if fault is None:
            return checkpoint
        print(f"{checkpoint.name} is not whole and is passed over: {fault}")
    raise CannotResume(f"No checkpoint in {where} is whole. Use resume=False.")


def _taken_as_finished(trainer, checkpoint: Path) -> bool:
    """Whether a checkpoint is the run's end; its adapter and log are then taken."""
    state = TrainerState.load_from_json(str(checkpoint / _STATE))
    if state.global_step < state.max_steps:
        return False
    print(f"the run was finished: {state.global_step} of {state.max_steps} updates")
    best = state.best_model_checkpoint if trainer.args.load_best_model_at_end else None
    weights = load_file(checkpoint.parent / Path(best or checkpoint).name / WEIGHTS)
    set_peft_model_state_dict(trainer.model, weights)
    trainer.state = state
    return True


def _read_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:  # what torch.save writes, with checksums
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{damaged} is damaged")


_Readers = Mapping[str, Callable[[Path], Any]]
_CHECKPOINT_READERS: _Readers = {
    _STATE: lambda path: places.read_json(path, ""),
    WEIGHTS: load_file,
    **dict.fromkeys(("optimizer.pt", "scheduler.pt", "rng_state.pth"), _read_archive),
}


def first_fault(folder: Path, readers: _Readers) -> str | None:
    """What is wrong with the first file that its reader refuses."""
    for name, read in readers.items():
        try:
            read(folder / name)
        except FileNotFoundError as fault:
            return f"{Path(fault.filename or name).name} is missing"
        except (CourseError, OSError, SafetensorError, zipfile.BadZipFile) as fault:
            return f"{name}: {fault}"
    return None


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Each field that is not the same in two records, with both values."""
    return [
        f"{name} is {found.get(name)!r} there, {expected.get(name)!r} here"
        for name in {**expected, **found}
        if found.get(name) != expected.get(name)
    ]


def digests(training: Any, validation: Any) -> dict[str, str]:
    """SHA-256 of two sets of conversations or tokens, as canonical JSON."""
    return {"training rows": _digest(training), "validation rows": _digest(validation)}


def _digest(rows: Any) -> str:
    def plain(row: Conversation | Dataset) -> Any:
        return row.to_dict() if isinstance(row, Dataset) else [row.id, row.messages]

    text = json.dumps(rows, sort_keys=True, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _versions() -> dict[str, str]:
    installed = {each.name: each.version for each in metadata.distributions()}
    return {name: installed.get(name, "missing") for name in MAIN_LIBRARIES}


def _revision() -> str | None:
    """The project's commit, `-dirty` behind it when files differ; None without git."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    told = {"cwd": places.PROJECT_ROOT, "capture_output": True, "text": True}
    with suppress(OSError):  # there is no git
        return subprocess.run(words, **told).stdout.strip() or None
    return None

"""Supervised fine-tuning: the trainer, the run and what it leaves behind."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, disable_progress_bars
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
)

from course_utils.plans import Plan
from course_utils.profile import Profile
from course_utils.tokens import IGNORE_INDEX

EVALUATIONS = 4  # in a run; each costs a pass over the validation rows


def updates_per_epoch(rows: int, plan: Plan) -> int:
    """Optimizer updates in one pass over the rows; the last one may be smaller.

    Raises:
        ValueError: If there is no row.
    """
    if rows < 1:
        raise ValueError(f"{rows} rows found, at least one needed to train.")
    batches = -(-rows // plan.batch_size)
    return -(-batches // plan.accumulation_steps)


def total_updates(rows: int, plan: Plan) -> int:
    """Updates of the whole run: max_steps when set, else epochs."""
    if plan.max_steps is not None:
        return plan.max_steps
    return -int(-plan.epochs * updates_per_epoch(rows, plan) // 1)


def trainer_config(
    plan: Plan,
    profile: Profile,
    folder: Path,
    updates: int,
    *,
    evaluations: int = EVALUATIONS,
    keep_best: bool = False,
):
    """The plan in TRL's words.

    COURSE_TRACKER names a tracker that also gets the log, such as `trackio`.

    Args:
        plan: Hyperparameters.
        profile: Decides fp16, bf16 or neither.
        folder: Checkpoints go below it.
        updates: Of the whole run; evaluations and checkpoints are spread over it.
        evaluations: How many, after the one at the start.
        keep_best: End with the adapter of the lowest validation loss, not the last.
    """
    from trl import SFTConfig

    every = max(1, updates // evaluations)
    return SFTConfig(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=plan.batch_size,
        per_device_eval_batch_size=plan.batch_size,
        gradient_accumulation_steps=plan.accumulation_steps,
        num_train_epochs=plan.epochs,
        max_steps=-1 if plan.max_steps is None else plan.max_steps,
        learning_rate=plan.learning_rate,
        lr_scheduler_type=plan.schedule,
        warmup_steps=plan.warmup_steps,
        weight_decay=plan.weight_decay,
        optim=plan.optimizer,
        max_length=plan.max_length,
        packing=False,
        gradient_checkpointing=plan.gradient_checkpointing,
        fp16=profile.is_gpu and not profile.supports_bf16,
        bf16=profile.is_gpu and profile.supports_bf16,
        logging_steps=1,
        eval_strategy="steps",
        eval_on_start=True,  # the base's loss, without which no fall can be seen
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=keep_best,
        metric_for_best_model="eval_loss" if keep_best else None,
        seed=plan.seed,
        data_seed=plan.seed,
        dataloader_pin_memory=profile.is_gpu,
        report_to=os.environ.get("COURSE_TRACKER") or "none",
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
    evaluations: int = EVALUATIONS,
    keep_best: bool = False,
):
    """An SFTTrainer over tokenised rows, ready to train or to resume.

    Args:
        model: With an adapter attached.
        tokenizer: Pads the batches.
        training: From `to_dataset`.
        validation: From `to_dataset`; never trained on.
        plan: Hyperparameters.
        profile: The machine.
        folder: Of the run.
        evaluations: Validations on the way, after the one at the start.
        keep_best: End with the adapter of the lowest validation loss, not the last.
    """
    from trl import SFTTrainer

    disable_progress_bars()  # of the trainer's passes over the rows, not of training
    tokenizer.padding_side = "right"
    updates = total_updates(len(training), plan)
    choices = {"evaluations": evaluations, "keep_best": keep_best}
    return SFTTrainer(
        model=model,
        processing_class=tokenizer,
        args=trainer_config(plan, profile, folder, updates, **choices),
        train_dataset=training,
        eval_dataset=validation,
        data_collator=DataCollatorForSeq2Seq(
            tokenizer, label_pad_token_id=IGNORE_INDEX
        ),
    )


class StopAfter(TrainerCallback):
    """Ends training after a number of updates, as a lost connection would."""

    def __init__(self, updates: int):
        self.updates = updates

    def on_step_end(self, args, state, control, **kwargs):
        """Save and stop when the update is reached."""
        if state.global_step == self.updates:
            control.should_save = True
            control.should_training_stop = True
        return control


@dataclass(frozen=True)
class TrainingRun:
    """What a finished run leaves behind, beside the adapter.

    Attributes:
        recipe: Name of the recipe.
        profile: Name of the profile.
        updates: Optimizer updates made.
        rows: Training rows.
        seconds: Wall time of training, evaluations included.
        training_seconds: Wall time of the updates alone.
        tokens: Tokens that went through the model in training, padding excluded.
        history: The trainer's log: step, loss, eval_loss, grad_norm, learning_rate.
    """

    recipe: str
    profile: str
    updates: int
    rows: int
    seconds: float
    training_seconds: float
    tokens: int
    history: list[dict[str, Any]]

    @property
    def tokens_per_second(self) -> float:
        """Training throughput, evaluations excluded."""
        return self.tokens / self.training_seconds

    def save(self, folder: Path) -> None:
        """Write run.json and log_history.json."""
        facts = {k: v for k, v in asdict(self).items() if k != "history"}
        (folder / "run.json").write_text(json.dumps(facts, indent=1))
        (folder / "log_history.json").write_text(json.dumps(self.history, indent=1))

    @classmethod
    def load(cls, folder: Path) -> TrainingRun:
        """Read what `save` wrote."""
        facts = json.loads((folder / "run.json").read_text())
        history = json.loads((folder / "log_history.json").read_text())
        return cls(**facts, history=history)


class _Stopwatch(TrainerCallback):
    """Times the updates, without evaluations and checkpoints."""

    def __init__(self):
        self.seconds = 0.0
        self.updates = 0
        self._start = 0.0

    def on_step_begin(self, args, state, control, **kwargs):
        self._start = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds += time.perf_counter() - self._start
        self.updates += 1


def run_training(
    trainer, recipe_name: str, profile: Profile, *, resume: bool = False
) -> TrainingRun:
    """Train to the end and return what happened.

    Args:
        trainer: From `build_trainer`.
        recipe_name: For the record.
        profile: For the record.
        resume: Go on from the last checkpoint in the trainer's folder; the history
            then covers the whole run, times and tokens this part of it.
    """
    watch = _Stopwatch()
    trainer.add_callback(watch)
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=resume)
    seconds = time.perf_counter() - start
    lengths = [len(ids) for ids in trainer.train_dataset["input_ids"]]
    seen = watch.updates * trainer.args.train_batch_size
    seen *= trainer.args.gradient_accumulation_steps
    return TrainingRun(
        recipe=recipe_name,
        profile=profile.name,
        updates=trainer.state.global_step,
        rows=len(lengths),
        seconds=seconds,
        training_seconds=watch.seconds,
        tokens=round(seen * sum(lengths) / len(lengths)),
        history=list(trainer.state.log_history),
    )

"""What a project of the course consists of: a plan, its reasons, its smaller versions.

The projects themselves stand in `recipes.book`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from pydantic.dataclasses import dataclass as checked_dataclass

from course_utils import CourseError
from course_utils.places import sha256

BUNDLED_MODEL = "embedded:smollm2-135m-instruct"
NANO_MODEL = "nano"
LAST_ANSWER, ALL_ANSWERS = TRAIN_ON = "last_answer", "all_answers"
OWN = "own:"  # before the file, folder or hub id of a data set that is not the course's

Settings = Mapping[str, tuple[Any, str]]  # field of Plan: value, its unit or reason


class WrongSetting(CourseError, ValueError):
    """A recipe sets what a plan does not know, or to what it cannot be."""


@dataclass(frozen=True)
class Source:
    """A model or a data set."""

    name: str  # hub id, a folder, or a name that the course itself knows
    revision: str | None = None  # a commit where a source gives one: never invented


@checked_dataclass(frozen=True, config={"strict": True, "extra": "forbid"})
class Plan:
    """The numbers of one fine-tuning run; a wrong name, type or sign is refused."""

    model: Source  # what is tuned
    dataset: Source  # what it is tuned on
    load_in_4bit: bool  # whether the frozen base is held in NF4 (QLoRA)
    rank: PositiveInt  # columns of B and rows of A, per adapted matrix
    alpha: PositiveInt  # the update is scaled by alpha / rank
    dropout: NonNegativeFloat  # probability of dropping an input of A
    target_modules: tuple[str, ...]  # names of the linear layers that get an adapter
    learning_rate: PositiveFloat  # peak rate of AdamW
    schedule: str  # how the rate falls after the warm-up
    warmup_steps: NonNegativeInt  # updates until the peak rate is reached
    weight_decay: NonNegativeFloat  # AdamW's decay of the adapter matrices
    optimizer: str  # name as the Trainer knows it
    batch_size: PositiveInt  # sequences in one forward pass
    accumulation_steps: PositiveInt  # forward passes summed into one update
    epochs: PositiveFloat  # passes over the rows; ignored when max_steps is set
    max_steps: PositiveInt | None  # updates, or None to derive them from epochs
    rows: PositiveInt | None  # training rows used, or None for all
    max_length: PositiveInt  # longest sequence in tokens
    gradient_checkpointing: bool  # recompute activations in the backward pass
    seed: NonNegativeInt  # of data order, adapter initialisation and dropout
    template: str = "chat"  # `chat`, the tokenizer's own, or another; `data.templates`
    train_on: Literal["last_answer", "all_answers"] = "last_answer"  # of a chat's turns
    # Of own rows: a file of others, a number, or a share below 1; None: by the course.
    held_out: str | PositiveInt | PositiveFloat | None = None

    @property
    def effective_batch(self) -> int:
        """Sequences behind one update."""
        return self.batch_size * self.accumulation_steps

    def facts(self) -> dict[str, Any]:
        """Every field as JSON keeps it, to be compared with another run's.

        A model's folder counts by its name and content, wherever it lies; a file of own
        rows by its name, since the digest of the rows stands beside the plan.
        """
        facts = json.loads(json.dumps(dataclasses.asdict(self)))
        if self.dataset.name.startswith(OWN):
            facts["dataset"]["name"] = OWN + Path(self.dataset.name).name
        if isinstance(self.held_out, str):
            facts["held_out"] = Path(self.held_out).name
        folder = Path(self.model.name).expanduser()
        if self.model.name not in (BUNDLED_MODEL, NANO_MODEL) and folder.is_dir():
            facts["model"]["name"] = f"{folder.resolve().name} {_content(folder)}"
        return facts


@cache
def _content(folder: Path) -> str:
    """The first digits of the digest of each file of weights."""
    return " ".join(sha256(p)[:12] for p in sorted(folder.glob("*.safetensors")))


@dataclass(frozen=True)
class AuthorResult:
    """A result that a project's author reports."""

    notebook: str  # number of the notebook that measures the same
    measure: str  # name under which that notebook measures it
    said: str  # the author's words or figure
    needs: str  # what a repetition would take


@dataclass(frozen=True)
class Recipe:
    """One of the projects: the author's plan, the reasons, the smaller versions."""

    name: str  # by which COURSE_RECIPE chooses it
    title: str
    origin: str  # the interview source, `S0` to `S2`
    architecture: str  # the author's model in data/architectures.yaml
    settings: Settings  # the author's own numbers, on a T4
    scales: Mapping[str, Settings] = field(default_factory=dict)  # by profile
    results: tuple[AuthorResult, ...] = ()  # what the author reports
    # Of the parts of a verifiable reward, where the project has one:
    reward_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for profile_name in ("t4", *self.scales):  # a fault shows now, not in a run
            try:
                self.plan_for(profile_name)
            except ValidationError as fault:
                raise WrongSetting(f"{self.name} on {profile_name}: {fault}") from None

    @property
    def plan(self) -> Plan:
        """The author's own."""
        return self.plan_for("t4")

    @property
    def reasons(self) -> dict[str, str]:
        """A unit or a reason for each of the author's numbers."""
        return {name: reason for name, (_, reason) in self.settings.items()}

    def plan_for(self, profile_name: str, model_override: str | None = None) -> Plan:
        """The plan on `nano`, `cpu` or `t4`, where it is the author's own.

        A hub id or folder in `model_override` takes the place of the model. KeyError
        for a profile that the recipe has no plan for.
        """
        settings = self._settings_on(profile_name).items()
        plan = Plan(**{name: value for name, (value, _) in settings})
        if model_override:
            plan = dataclasses.replace(plan, model=Source(model_override))
        return plan

    def small_plan_for(
        self, profile_name: str, model_override: str | None = None
    ) -> Plan:
        """A plan whose model fits in 16 bits too, for what is held against 4 bits.

        On a GPU the recipe's own model is in 4 bits and would be compared with itself;
        there the CPU's small model takes its place.
        """
        plan = self.plan_for(profile_name, model_override)
        return self.plan_for("cpu") if plan.load_in_4bit else plan

    def _settings_on(self, profile_name: str) -> dict[str, tuple[Any, str]]:
        if profile_name != "t4" and profile_name not in self.scales:
            raise KeyError(
                f"Recipe {self.name!r} has no plan for profile {profile_name!r}; "
                f"it has t4, {', '.join(self.scales)}."
            )
        return {**self.settings, **self.scales.get(profile_name, {})}

    def comparison(self, profile_name: str) -> list[tuple[str, str, str, str]]:
        """Rows (setting, author's value, value here, reason), for a table."""
        here = self._settings_on(profile_name)
        return [
            (name, _spell(self.settings[name][0]), _spell(here[name][0]), here[name][1])
            for name in Plan.__dataclass_fields__
        ]

    def compare_with_author(
        self, notebook: str, measured: Mapping[str, str]
    ) -> list[tuple[str, str, str, str]]:
        """Rows (measure, author, here, what a repetition takes), one a measure.

        `measured` is by measure; KeyError if the author reports one that it lacks.
        """
        said = {r.measure: r for r in self.results if r.notebook == notebook}
        if not said.keys() <= measured.keys():
            raise KeyError(
                f"{self.name} reports {', '.join(said.keys() - measured.keys())} for "
                f"notebook {notebook}; measured were {', '.join(measured) or 'none'}."
            )
        none = AuthorResult(notebook, "", "none reported", "nothing to repeat")
        return [
            (measure, by.said, here, by.needs)
            for measure, here in measured.items()
            for by in [said.get(measure, none)]
        ]


def _spell(value: object) -> str:
    if isinstance(value, Source):
        is_own = value.name.startswith(OWN)
        return Path(value.name).name.removeprefix(OWN) if is_own else value.name
    if isinstance(value, tuple):
        return " ".join(str(part).removesuffix("_proj") for part in value)
    return str(value)

"""What a project of the course consists of: a plan, its reasons, its smaller versions.

The projects themselves stand in `recipes`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """A model or a data set.

    Attributes:
        name: Hub id, or a name that the course itself knows.
        revision: Commit on the hub where a source gives one, else None: a
            commit is never invented.
    """

    name: str
    revision: str | None = None


@dataclass(frozen=True)
class Plan:
    """The numbers of one fine-tuning run.

    Attributes:
        model: What is tuned.
        dataset: What it is tuned on.
        load_in_4bit: Whether the frozen base is held in NF4 (QLoRA).
        rank: Columns of B and rows of A, per adapted matrix.
        alpha: The update is scaled by alpha / rank.
        dropout: Probability of dropping an input of A.
        target_modules: Names of the linear layers that get an adapter.
        learning_rate: Peak rate of AdamW.
        schedule: How the rate falls after the warm-up.
        warmup_steps: Updates until the peak rate is reached.
        weight_decay: AdamW's decay of the adapter matrices.
        optimizer: Name as the Trainer knows it.
        batch_size: Sequences in one forward pass.
        accumulation_steps: Forward passes summed into one update.
        epochs: Passes over the rows; ignored when max_steps is set.
        max_steps: Updates, or None to derive them from epochs.
        rows: Training rows used, or None for all.
        max_length: Longest sequence in tokens.
        gradient_checkpointing: Recompute activations in the backward pass.
        seed: Of data order, adapter initialisation and dropout.
        template: `chat`, the tokenizer's own, or `alpaca`; see `templates`.
    """

    model: Source
    dataset: Source
    load_in_4bit: bool
    rank: int
    alpha: int
    dropout: float
    target_modules: tuple[str, ...]
    learning_rate: float
    schedule: str
    warmup_steps: int
    weight_decay: float
    optimizer: str
    batch_size: int
    accumulation_steps: int
    epochs: float
    max_steps: int | None
    rows: int | None
    max_length: int
    gradient_checkpointing: bool
    seed: int
    template: str = "chat"

    @property
    def effective_batch(self) -> int:
        """Sequences behind one update."""
        return self.batch_size * self.accumulation_steps


@dataclass(frozen=True)
class Scale:
    """What one profile changes in a plan, and why."""

    changes: Mapping[str, object]
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class AuthorResult:
    """A result that a project's author reports.

    Attributes:
        notebook: Number of the notebook that measures the same.
        measure: Name under which that notebook measures it.
        said: The author's words or figure.
        needs: What a repetition would take.
    """

    notebook: str
    measure: str
    said: str
    needs: str


@dataclass(frozen=True)
class Recipe:
    """One of the projects: the author's plan, the reasons, the smaller versions.

    Attributes:
        name: By which COURSE_RECIPE chooses it.
        title: What it is, in a few words.
        origin: The interview source, `S0` to `S2`.
        architecture: The author's model in data/architectures.yaml.
        plan: The author's own numbers, on a T4.
        reasons: A unit or a reason for each of them.
        scales: What a smaller profile changes.
        results: What the author reports.
        reward_weights: Of the parts of `rewards.score`, where the project has a
            verifiable reward.
    """

    name: str
    title: str
    origin: str
    architecture: str
    plan: Plan
    reasons: Mapping[str, str]
    scales: Mapping[str, Scale] = field(default_factory=dict)
    results: tuple[AuthorResult, ...] = ()
    reward_weights: Mapping[str, float] = field(default_factory=dict)

    def plan_for(self, profile_name: str, model_override: str | None = None) -> Plan:
        """The plan on a profile; on `t4` it is the author's own.

        Args:
            profile_name: `nano`, `cpu` or `t4`.
            model_override: A hub id or folder to use in place of the model.

        Raises:
            KeyError: If the recipe has no scaled plan for the profile.
        """
        plan = self.plan
        if profile_name != "t4":
            if profile_name not in self.scales:
                raise KeyError(
                    f"Recipe {self.name!r} has no plan for profile {profile_name!r}; "
                    f"it has t4, {', '.join(self.scales)}."
                )
            plan = dataclasses.replace(plan, **self.scales[profile_name].changes)
        if model_override:
            plan = dataclasses.replace(plan, model=Source(model_override))
        return plan

    def comparison(self, profile_name: str) -> list[tuple[str, str, str, str]]:
        """Rows (setting, author's value, value here, reason), for a table."""
        here = self.plan_for(profile_name)
        scale = self.scales.get(profile_name, Scale({}, {}))
        rows = []
        for setting in dataclasses.fields(Plan):
            name = setting.name
            reason = scale.reasons.get(name) or self.reasons[name]
            values = [_spell(getattr(plan, name)) for plan in (self.plan, here)]
            rows.append((name, *values, reason))
        return rows

    def held_against(
        self, notebook: str, measured: Mapping[str, str]
    ) -> list[tuple[str, str, str, str]]:
        """What the author reports beside what a notebook measured.

        Args:
            notebook: Number of the notebook.
            measured: By the measure's name.

        Returns:
            Rows (measure, author, here, what a repetition takes), one a measure.

        Raises:
            KeyError: If the author reports a measure that was not taken.
        """
        said = {r.measure: r for r in self.results if r.notebook == notebook}
        if not said.keys() <= measured.keys():
            raise KeyError(
                f"{self.name} reports {', '.join(said.keys() - measured.keys())} for "
                f"notebook {notebook}; measured were {', '.join(measured) or 'none'}."
            )
        return [
            (measure, said[measure].said, here, said[measure].needs)
            if measure in said
            else (measure, "none reported", here, "nothing to repeat")
            for measure, here in measured.items()
        ]


def _spell(value: object) -> str:
    if isinstance(value, Source):
        return value.name
    if isinstance(value, tuple):
        return " ".join(str(part).removesuffix("_proj") for part in value)
    return str(value)

"""One report before training: rows, split, lengths, loss, memory, minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from course_utils.data.datasets import every_kth
from course_utils.data.own_rows import shared_requests
from course_utils.data.tokens import row_lengths, trained_share
from course_utils.projects.own.planning import GIB, Cost, cost_of, speed
from course_utils.projects.own.recipe import OwnProject
from course_utils.recipes.plan import Plan

_PROGRAM = "1.3 GiB"  # lesson 14's peak of 2.3 GiB, less its plan


@dataclass(frozen=True)
class Report:
    """What is known of a run before it starts; minutes and memory are estimates."""

    data: str  # name of the file, the folder or the data set
    shape: str  # in which the rows are written
    dropped: Mapping[str, int]  # rows left out, by reason
    noticed: tuple[str, ...]
    training: int  # rows
    held_out: int
    shared_requests: int  # of training rows with a held-out row; must be 0
    lengths: Sequence[int]  # tokens of each training row
    max_length: int
    trained_share: float  # of the assistants' tokens that carry loss
    plan: Plan
    cost: Cost
    tokens_a_second: float
    gpu: bool

    @property
    def too_long(self) -> int:
        """Training rows with more tokens than max_length: left out."""
        return sum(length > self.max_length for length in self.lengths)

    @property
    def warnings(self) -> list[str]:
        """What should be looked at before the run, with a way on."""
        found = []
        if self.shared_requests:
            found.append(
                f"{self.shared_requests} training rows ask what a held-out row asks: "
                "the held-out loss will look too good. Take them out."
            )
        if self.cost.fits is False:
            found.append(
                f"memory: {self.cost.in_gib} planned, {self.cost.free_bytes / GIB:.1f} "
                "GiB free. Set batch_size: 1, a smaller max_length or a smaller model."
            )
        if self.too_long > 0.05 * len(self.lengths):
            found.append(
                f"{self.too_long} of {len(self.lengths)} rows are longer than "
                f"{self.max_length} tokens. Raise max_length, or shorten them."
            )
        if self.trained_share < 1:
            found.append(
                f"only {self.trained_share:.0%} of the assistants' tokens carry loss: "
                "earlier answers of a chat are read, not learnt. `train_on: "
                "all_answers` trains all of them."
            )
        return found

    def __repr__(self) -> str:
        left_out = ", ".join(f"{n} {reason}" for reason, n in self.dropped.items())
        least, most = min(self.lengths), max(self.lengths)
        leak = f"requests on both sides: {self.shared_requests or 'none'}"
        lines = [
            f"rows       {self.data}: {self.shape}",
            *(f"           {sentence}" for sentence in self.noticed),
            f"left out   {left_out or 'none'}",
            f"split      {self.training} to train on, {self.held_out} held out; {leak}",
            f"tokens     {least} to {most} a row, half of the rows have at most "
            f"{median(self.lengths):g}; max_length {self.max_length}, longer: "
            f"{self.too_long or 'none'}",
            f"loss       on {self.trained_share:.0%} of the answers' tokens",
            *self._costs(),
            *(f"WARNING    {warning}" for warning in self.warnings),
        ]
        return "\n".join(lines)

    def _costs(self) -> list[str]:
        cost, free = self.cost, f"{self.cost.free_bytes / GIB:.1f} GiB free here"
        memory = "unknown: the planner cannot read this model's shapes"
        if cost.memory and cost.bound:
            bound = f"{cost.bound.total_bytes / GIB:.1f} if each had max_length"
            memory = f"{cost.in_gib} planned for your rows, {bound}; {free}"
            memory += "" if self.gpu else f" (Python and torch take {_PROGRAM} besides)"
        measured = "not measured" if self.gpu else "one core, as measured for lesson 03"
        return [
            f"memory     {memory}",
            f"updates    {cost.updates} of {self.plan.effective_batch} rows: "
            f"{cost.passes:.1f} passes",
            f"minutes    about {cost.minutes:.1f}, an estimate: "
            f"{self.tokens_a_second:.0f} tokens a second ({measured})",
        ]


def report_on(own: OwnProject) -> Report:
    """Look at the rows of a project and at this machine; nothing is trained."""
    plan = own.recipe.plan_for(own.profile.name, own.profile.model_override)
    rows, watched = own.training[: plan.rows], every_kth(own.held_out)
    lengths = own.lengths[: plan.rows]
    kept = [length for length in lengths if length <= plan.max_length]
    held_out_lengths = row_lengths(watched, own.tokenizer)
    cost = cost_of(plan, own.architecture, own.profile, kept, held_out_lengths)
    return Report(
        data=Path(own.source.data).name,
        shape=own.found[0].shape,
        dropped=own.found[0].dropped,
        noticed=own.found[0].noticed,
        training=len(rows),
        held_out=len(own.held_out),
        shared_requests=len(shared_requests(own.training, own.held_out)),
        lengths=lengths,
        max_length=plan.max_length,
        trained_share=trained_share(rows, own.tokenizer, plan.train_on),
        plan=plan,
        cost=cost,
        tokens_a_second=speed(own.architecture, on_gpu=own.profile.is_gpu),
        gpu=own.profile.is_gpu,
    )

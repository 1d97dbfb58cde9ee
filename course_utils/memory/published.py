"""GPU memory that public runs reported, and what the planner says of the same runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from course_utils.data.files import read_table
from course_utils.memory.planner import MemoryPlan
from course_utils.memory.unsloth import GIB, LONGEST_INSTRUCTION, Loss, plan_run
from course_utils.model.architectures import (
    ALL_LINEAR,
    TABLES,
    Architecture,
    load_architectures,
)
from course_utils.model.families import load_models
from course_utils.places import DATA_FOLDER

PEAKS_PATH = DATA_FOLDER / "memory_peaks.yaml"
_LOSS_IN_CHUNKS = (2024, 11, 8)  # the release from which on


@dataclass(frozen=True)
class PublishedPeak:
    """Memory of one QLoRA run; what is not said is as at the head of the file."""

    architecture: str  # key in architectures.yaml or model_configs.yaml
    rows: Literal["instructions", "conversations", "own"]
    unsloth: str  # its release, as the run printed it
    start_gib: float  # reserved before the first update
    peak_gib: float  # most that was reserved in training
    seconds: float  # of all updates
    source: str  # notebook in unslothai/notebooks whose stored output says it
    card: str = "T4"
    rank: int = 16
    tables: bool = False  # whether embedding and head are trained in full
    batch_size: int = 2
    max_length: int = 2048  # tokens
    optimizer: str = "adamw_8bit"
    gradient_checkpointing: bool = True
    packed: bool = False  # rows are joined up to the limit

    @property
    def loss(self) -> Loss:
        """How its release computes the loss."""
        release = tuple(int(part) for part in self.unsloth.split("."))
        return Loss.CHUNKS if release >= _LOSS_IN_CHUNKS else Loss.WHOLE

    @property
    def row_tokens(self) -> int | None:
        """Tokens of its longest row, where that is known to be below the limit."""
        short = self.rows == "instructions" and not self.packed
        return LONGEST_INSTRUCTION if short else None

    def plan(self, *, at_the_limit: bool = False) -> MemoryPlan:
        """What the planner says, with rows as long as they are or as they may be."""
        return plan_run(
            _shape(self.architecture),
            rank=self.rank,
            modules=(*ALL_LINEAR, *TABLES) if self.tables else None,
            batch_size=self.batch_size,
            sequence_length=self.max_length,
            row_tokens=None if at_the_limit else self.row_tokens,
            optimizer=self.optimizer,
            gradient_checkpointing=self.gradient_checkpointing,
            loss=self.loss,
        )


def _shape(name: str) -> Architecture:
    known = load_architectures()
    return known[name] if name in known else load_models()[name].architecture(name)


def load_peaks(path: Path = PEAKS_PATH) -> dict[str, PublishedPeak]:
    """All runs of data/memory_peaks.yaml, by name; see `files.read_table`."""
    return read_table(path, PublishedPeak)


def predictions() -> pd.DataFrame:
    """Each run's reported peak (GiB), the plan, and their relative differences.

    `error` is of rows as long as they are, `error at the limit` of rows that fill the
    limit: what can be said before the rows are known.
    """
    rows = {}
    for name, run in load_peaks().items():
        plans = run.plan(), run.plan(at_the_limit=True)
        gib = [plan.reserved_bytes / GIB for plan in plans]
        errors = [planned / run.peak_gib - 1 for planned in gib]
        rows[name] = [run.card, run.loss.value, run.peak_gib, *gib, *errors]
    columns = ["card", "loss", "reported", "planned", "planned at the limit"]
    columns += ["error", "error at the limit"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

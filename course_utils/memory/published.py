"""GPU memory that public runs reported, and what the planner says of the same runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
_ONE_ROTARY_TABLE = (2025,)  # likewise


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
    rotary_tokens: int = 32768  # positions in each layer's table; see `rotary_bytes`

    @property
    def release(self) -> tuple[int, ...]:
        """Of Unsloth, in numbers that compare."""
        return tuple(int(part) for part in self.unsloth.split("."))

    @property
    def loss(self) -> Loss:
        """How its release computes the loss."""
        return Loss.CHUNKS if self.release >= _LOSS_IN_CHUNKS else Loss.WHOLE

    @property
    def rotary_bytes(self) -> int:
        """Bytes of the cosines and sines of positions, which every layer had.

        Two tables of (positions, head_dim) in 16 bits a layer: 1.75 GiB for Qwen2-7B.
        All positions of the config up to 2024.6, 32,768 at most from 2024.7 on, 4,096
        under LongRoPE (Phi-3.5). With transformers 4.48 the layers share one, built as
        far as it is needed. Source: unsloth, models/llama.py,
        LlamaRotaryEmbedding._set_cos_sin_cache and LongRopeRotaryEmbedding, at dde6a0f,
        32466f7 and 9f36b83, and of 2026.10.9.
        """
        if self.release >= _ONE_ROTARY_TABLE:
            return 0
        shape = _shape(self.architecture)
        return 2 * 2 * self.rotary_tokens * shape.head_dim * shape.layers

    @property
    def row_tokens(self) -> int | None:
        """Tokens of its longest row, where that is known to be below the limit."""
        short = self.rows == "instructions" and not self.packed
        return LONGEST_INSTRUCTION if short else None

    def plan(self, *, at_the_limit: bool = False) -> MemoryPlan:
        """What the planner says, with rows as long as they are or as they may be.

        As of its release: the rotary tables are part of the workspace.
        """
        plan = plan_run(
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
        workspace = plan.workspace_bytes + self.rotary_bytes
        return replace(plan, workspace_bytes=workspace)


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

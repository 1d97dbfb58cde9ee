"""GPU memory that public runs reported: to hold a plan against without a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from course_utils.data.files import read_table
from course_utils.places import DATA_FOLDER

PEAKS_PATH = DATA_FOLDER / "memory_peaks.yaml"


@dataclass(frozen=True)
class PublishedPeak:
    """Memory of one QLoRA run on a T4; the file says with which settings."""

    architecture: str  # key in architectures.yaml
    rows: Literal["instructions", "conversations"]
    start_gib: float  # reserved before the first update
    peak_gib: float  # most that was reserved in training
    seconds: float  # of 60 updates
    source: str  # notebook in unslothai/notebooks whose stored output says it


def load_peaks(path: Path = PEAKS_PATH) -> dict[str, PublishedPeak]:
    """All runs of data/memory_peaks.yaml, by name; see `files.read_table`."""
    return read_table(path, PublishedPeak)

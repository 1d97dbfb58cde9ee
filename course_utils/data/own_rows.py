"""Rows of one's own, in any of the field's shapes -> conversations, held out by request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils.data.conversation import Conversation


@dataclass(frozen=True)
class OwnRows:
    """What a file, a folder or the hub holds, as conversations; and what was done."""

    rows: list[Conversation]
    shape: str  # such as "Alpaca columns" or "ShareGPT"
    dropped: Mapping[str, int]  # rows left out, by the reason in words
    noticed: tuple[str, ...]  # sentences: other keys' case, ids made, …


def read_rows(
    source: str | Path,
    *,
    revision: str | None = None,
    split: str = "train",
    skip_faulty: bool = False,
) -> OwnRows:
    """Rows of a file, of a folder's `split` file, or of a data set on the hub.

    FaultyData with every fault; with `skip_faulty` such rows are dropped and counted.
    """
    raise NotImplementedError


def hold_out(
    rows: Sequence[Conversation], share_or_count: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """Rows to train on and rows held out, both in drawn order.

    A request lies on one side only. An int is a number of rows, a float below 1 a share.
    """
    raise NotImplementedError


def shared_requests(
    training: Sequence[Conversation], held_out: Sequence[Conversation]
) -> list[tuple[str, str]]:
    """Ids of training rows, each with the held-out row that has the same request."""
    raise NotImplementedError

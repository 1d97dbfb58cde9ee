"""Exercises of tokens, labels and the trainer (lesson 03)."""

from __future__ import annotations

import math

from course_utils.exercises.checking import Case, Exercise


def count_updates(rows: int, batch: int, accumulation: int, epochs: int) -> int:
    """Optimizer updates of a whole run; the last of an epoch may be smaller."""
    return epochs * math.ceil(math.ceil(rows / batch) / accumulation)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        solution=count_updates,
        cases=(
            Case((1500, 8, 4, 2), 94),
            Case((9, 2, 4, 2), 4),
            Case((480, 2, 4, 1), 60),
        ),
        mistakes={
            "these are batches; `accumulation` of them make one update.": (
                lambda rows, batch, accumulation, epochs: (
                    epochs * math.ceil(rows / batch)
                )
            ),
            "one long epoch: the last update of each epoch is a smaller one.": (
                lambda rows, batch, accumulation, epochs: math.ceil(
                    rows * epochs / (batch * accumulation)
                )
            ),
            "the smaller last update of an epoch counts: round up.": (
                lambda rows, batch, accumulation, epochs: (
                    epochs * (rows // (batch * accumulation))
                )
            ),
        },
    ),
)

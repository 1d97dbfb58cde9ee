"""Logs to practise on: six that were made, so that the truth is known, and three real.

Rows as in a trainer's `log_history`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from course_utils.places import DATA_FOLDER, read_json

Log = list[dict[str, Any]]
_UPDATES = 40
_EVERY = 8  # updates between two validations
_BROKEN_AT = 25  # update from which on a loss is NaN


def made_logs() -> dict[str, Log]:
    """What a run would log that settles, goes wrong, or breaks, by what it does."""
    updates = np.arange(1, _UPDATES + 1)
    settled = 2 + 2 * np.exp(-updates / 6)
    jumps = 0.08 * np.sin(7.0 * updates)
    half_way, level = 4 - updates / 40, 4 + 0.0 * updates
    explosion = np.where(updates < 12, settled, 9)
    whole = updates < _BROKEN_AT
    training_and_validation = {
        "settles": (settled + jumps, settled),
        "half way": (half_way + jumps, half_way),
        "no effect": (level + jumps, level),
        "learnt by heart": (0.2 + 3.8 * np.exp(-updates / 12), settled + updates / 40),
        "explodes": (explosion + jumps, explosion),
        # the trainer writes a NaN of training as 0, one of validation as it is
        "breaks": (np.where(whole, settled, 0), np.where(whole, settled, np.nan)),
    }
    return {name: _log(*losses) for name, losses in training_and_validation.items()}


def _log(training: Iterable[float], validation: Iterable[float]) -> Log:
    held_out = list(enumerate(validation, start=1))[_EVERY - 1 :: _EVERY]
    rows = [{"step": step, "loss": float(x)} for step, x in enumerate(training, 1)]
    return rows + [{"step": step, "eval_loss": float(x)} for step, x in held_out]


def unlabelled_logs() -> dict[str, Log]:
    """Three real runs of the course, A to C, for the reader to name the disease of."""
    path = DATA_FOLDER / "reference" / "unlabelled_logs.json"
    logs = read_json(path, "Take the course's own file again.")
    return {name: [_numbers(row) for row in rows] for name, rows in logs.items()}


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN: the file spells it."""
    return {key: float("nan") if x == "nan" else x for key, x in row.items()}

"""Exercises of loss curves (lesson 04)."""

from __future__ import annotations

from course_utils.exercises.checking import Case, Exercise


def disease(log: str) -> str:
    """What one of the three unlabelled logs shows; see `curves.practice`."""
    return {"A": "overfit", "B": "still falling", "C": "not a number"}[log]


def stops_at(losses: list[float], patience: int) -> int:
    """Index of the validation at which early stopping ends the run."""
    best, waited = float("inf"), 0
    for index, loss in enumerate(losses):
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == patience:
            return index
    return len(losses) - 1


def _stops_at_the_best(losses: list[float], patience: int) -> int:
    return losses.index(min(losses[: stops_at(losses, patience) + 1]))


def _stops_one_too_early(losses: list[float], patience: int) -> int:
    return stops_at(losses, max(1, patience - 1))


def _stops_at_rises(losses: list[float], patience: int) -> int:
    waited = 0
    for index in range(1, len(losses)):
        waited = waited + 1 if losses[index] >= losses[index - 1] else 0
        if waited == patience:
            return index
    return len(losses) - 1


def _never_counts_anew(losses: list[float], patience: int) -> int:
    best, waited = float("inf"), 0
    for index, loss in enumerate(losses):
        waited += loss >= best
        best = min(best, loss)
        if waited == patience:
            return index
    return len(losses) - 1


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        solution=disease,
        cases=(
            Case(("A",), "overfit"),
            Case(("B",), "still falling"),
            Case(("C",), "not a number"),
        ),
        mistakes={
            "the training loss has the best end of the three logs. Follow the orange "
            "points: where are they lowest?": lambda log: "healthy",
            "the blue line seems to go nowhere, but batches jump by a tenth. The "
            "held-out rows are always the same ones: what do they do?": (
                lambda log: "flat" if log == "B" else disease(log)
            ),
            "no update made it worse on held-out rows; a last batch that is higher "
            "than the first proves nothing.": (
                lambda log: "diverged" if log == "B" else disease(log)
            ),
            "look at the last `grad_norm` and `eval_loss` of C, not at its losses.": (
                lambda log: "still falling" if log == "C" else disease(log)
            ),
        },
    ),
    Exercise(
        solution=stops_at,
        cases=(
            Case(([3.0, 2.5, 2.6, 2.4, 2.45, 2.41, 2.6], 2), 5),
            Case(([3.0, 3.1, 2.0, 2.1, 2.2], 2), 4),
            Case(([3.0, 2.0, 1.0], 1), 2),
        ),
        mistakes={
            "this is the best one: the stop comes `patience` validations later.": (
                _stops_at_the_best
            ),
            "one validation too early: wait for `patience` of them without a new "
            "best.": _stops_one_too_early,
            "a validation may be better than the one before it and still be no new "
            "best: compare with the best so far.": _stops_at_rises,
            "count anew at each new best.": _never_counts_anew,
        },
    ),
)

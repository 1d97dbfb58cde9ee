"""A data set's name and split -> rows, held-out sets kept out of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from course_utils import places
from course_utils.data.conversation import Conversation, load_conversations
from course_utils.data.instructions import from_hub, load_instructions
from course_utils.data.own_rows import OwnRows, hold_out, read_rows, shared_requests
from course_utils.places import DATA_FOLDER
from course_utils.recipes.plan import OWN, Plan

MOVIES = "movies"
MOVIES_FOLDER = DATA_FOLDER / MOVIES
INSTRUCTIONS = ("instructions", "iac")
VALIDATION_ROWS = 40  # each evaluation on the way is a pass over them
HUB_VALIDATION_ROWS = 80

Splits = tuple[list[Conversation], list[Conversation]]  # training, validation


def load_splits(plan: Plan) -> Splits:
    """All conversations of a plan's data set; KeyError for one that is unknown.

    Of a data set on the hub `plan.rows` are drawn for training, and behind them
    HUB_VALIDATION_ROWS for validation.
    """
    name = plan.dataset.name
    if name.startswith(OWN):
        return load_own(plan)[1]
    if name == MOVIES:
        return load_movies("train"), load_movies("validation")
    if name in INSTRUCTIONS:
        folder = places.DATA_FOLDER / name
        return load_split(folder, "train"), load_split(folder, "validation")
    if "/" in name and plan.rows is not None:
        needed = plan.rows + HUB_VALIDATION_ROWS
        revision = plan.dataset.revision
        drawn = from_hub(name, needed, seed=plan.seed, revision=revision)
        return drawn[: plan.rows], drawn[plan.rows :]
    raise KeyError(
        f"No data set {name!r} with rows={plan.rows}: there are {MOVIES}, "
        f"{', '.join(INSTRUCTIONS)}, or a hub id with Alpaca's columns and a number "
        "of rows."
    )


def load_own(plan: Plan) -> tuple[OwnRows, Splits]:
    """Own rows as they were found, and both sides of the split.

    Held out is the plan's file, number or share; else the folder's validation file, or
    a fifth of the rows, at most VALIDATION_ROWS. A training row whose request is held
    out is left out.
    """
    source, held_out = plan.dataset.name.removeprefix(OWN), plan.held_out
    found = read_rows(source, revision=plan.dataset.revision)
    if held_out is None and [*Path(source).glob("validation*")]:
        held = read_rows(source, split="validation").rows
    elif isinstance(held_out, str):
        held = read_rows(held_out).rows
    else:
        fifth = min(VALIDATION_ROWS, max(1, len(found.rows) // 5))
        return found, hold_out(found.rows, held_out or fifth, plan.seed)
    shared = {training for training, _ in shared_requests(found.rows, held)}
    return found, ([row for row in found.rows if row.id not in shared], held)


def load_rows(plan: Plan) -> Splits:
    """The conversations of a plan: to train on, and to watch the training with."""
    training, validation = load_splits(plan)
    return training[: plan.rows], every_kth(validation)


def every_kth(validation: Sequence[Conversation]) -> list[Conversation]:
    """Every k-th row, so that at most VALIDATION_ROWS are left: enough to judge by."""
    return list(validation[:: -(-len(validation) // VALIDATION_ROWS)])


_Load = Callable[..., list[Conversation]]


def load_movies(split: str) -> list[Conversation]:
    """A split of the movie conversations; see `load_split`."""
    return load_split(MOVIES_FOLDER, split, load_conversations)


def load_split(
    folder: Path, split: str, load: _Load = load_instructions
) -> list[Conversation]:
    """`train`, `validation` or `stress` of a folder, as `load` reads a file.

    Training rows are held against both other sets, so that no held-out request can
    slip into training.
    """
    others = ("validation", "stress") if split == "train" else ()
    held_out = [row for other in others for row in load_split(folder, other, load)]
    path = folder / f"{split}.jsonl"
    return load(path, answered=split != "stress", held_out=held_out)

"""A data set's name and split -> rows, held-out sets kept out of training.

The course's own sets are read strictly: all of a file, or nothing. Rows of two of them
have Alpaca's columns, each a JSON object on a line of its own::

    {"id": "train-001", "instruction": "…", "input": "", "output": "…"}

Held-out prompts have no output and say instead what is right. Further keys are kept in
`Conversation.notes`, together with `instruction` and `input`. Any other name is a file,
a folder or a set on the hub, and read by `own_rows`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, model_validator

from course_utils import CourseError, places
from course_utils.data import files, own_rows
from course_utils.data.conversation import (
    Conversation,
    load_conversations,
    requests_differ,
)
from course_utils.data.files import Problem, Text, refusal
from course_utils.data.reading.sources import NoSuchData
from course_utils.data.templates import join_input
from course_utils.places import DATA_FOLDER
from course_utils.recipes.plan import OWN, Plan

MOVIES = "movies"
MOVIES_FOLDER = DATA_FOLDER / MOVIES
INSTRUCTIONS = ("instructions", "iac")
SEARCH = "movie_search"
PREFERENCES_FOLDER = DATA_FOLDER / "preferences"
HELD_OUT = ("validation", "test", "stress")
ANSWERED = ("train", "validation")  # a prompt of the others never holds its answer
VALIDATION_ROWS = 40  # each evaluation on the way is a pass over them
OWN_VALIDATION_ROWS = 80  # at most, of rows of one's own; a tenth of a small file

Splits = tuple[list[Conversation], list[Conversation]]  # training, validation


class TooFewRows(CourseError, ValueError):
    """A data set has fewer rows than a plan asks for."""


def load_splits(plan: Plan) -> Splits:
    """All conversations of a plan's data set, to train on and to validate with.

    Of a file or a set on the hub `plan.rows` are drawn for training, all if it is None,
    and a tenth of the rows, at most OWN_VALIDATION_ROWS, for validation. A line says
    what was left out.
    """
    name = plan.dataset.name
    if name.startswith(OWN):
        return load_own(plan)[1]
    if name == MOVIES:
        return load_movies("train"), load_movies("validation")
    if name == SEARCH:
        return load_search("train"), load_search("validation")
    if name in INSTRUCTIONS:
        folder = places.DATA_FOLDER / name
        return load_split(folder, "train"), load_split(folder, "validation")
    return _drawn(plan)


def _drawn(plan: Plan) -> Splits:
    """Rows of one's own in a drawn order, since the first ones are no sample."""
    name, revision = plan.dataset.name, plan.dataset.revision
    try:
        own = own_rows.read_rows(name, revision=revision)
    except NoSuchData as error:
        there = ", ".join((MOVIES, SEARCH, *INSTRUCTIONS))
        raise NoSuchData(f"{error} The course's own sets are {there}.") from error
    print(own)
    held_out = min(OWN_VALIDATION_ROWS, -(-len(own.rows) // 10))
    training, validation = own_rows.hold_out(own.rows, held_out, plan.seed)
    if len(training) < (needed := plan.rows or 1):
        raise TooFewRows(
            f"{name} has {len(own.rows)} usable rows, {len(training)} of "
            f"them to train on beside {len(validation)} for validation; the plan asks "
            f"for rows: {needed}. Lower `rows`, or leave it out to train on all."
        )
    return training[: plan.rows], validation


def load_own(plan: Plan) -> tuple[own_rows.OwnRows, Splits]:
    """Rows of a recipe of one's own as they were found, and both sides of the split.

    Held out is the plan's file, number or share; else the folder's validation file, or
    a fifth of the rows, at most VALIDATION_ROWS. A training row whose request is held
    out is left out.
    """
    source, held_out = plan.dataset.name.removeprefix(OWN), plan.held_out
    found = own_rows.read_rows(source, revision=plan.dataset.revision)
    if held_out is None and any(Path(source).glob("val*")):
        held = own_rows.read_rows(source, split="validation").rows
    elif isinstance(held_out, str):
        held = own_rows.read_rows(held_out).rows
    else:
        fifth = min(VALIDATION_ROWS, max(1, len(found.rows) // 5))
        sides = own_rows.hold_out(found.rows, held_out or fifth, plan.seed)
        return found, sides
    shared = {name for name, _ in own_rows.shared_requests(found.rows, held)}
    return found, ([row for row in found.rows if row.id not in shared], held)


def load_rows(plan: Plan) -> Splits:
    """The conversations of a plan: to train on, and to watch the training with."""
    training, validation = load_splits(plan)
    return training[: plan.rows], every_kth(validation)


def every_kth(validation: Sequence[Conversation]) -> list[Conversation]:
    """Every k-th row, so that at most VALIDATION_ROWS are left: enough to judge by."""
    return list(validation[:: -(-len(validation) // VALIDATION_ROWS)])


class _Row(BaseModel):
    id: Text
    instruction: Text
    input: str = ""


class _Example(_Row):
    output: Text


def _refuse_output(found: object) -> None:
    raise refusal("none: the prompt is held out", "an output")


class Prompt(_Row):
    """A row that is only asked."""

    output: Annotated[None, BeforeValidator(_refuse_output)] = None


def load_instructions(
    path: Path, *, answered: bool = True, held_out: Iterable[Conversation] = ()
) -> list[Conversation]:
    """Read and check a file of rows; all of it, or nothing.

    Each row has an output, unless it is only asked (not `answered`). No request of a
    held-out row may occur. Raises as `files.read_rows` does.
    """
    form = _Example if answered else Prompt
    return files.read_rows(path, form, conversation, requests_differ(held_out))


def conversation(row: Mapping[str, Any]) -> Conversation:
    """A row as a chat of one turn; instruction and input joined as templates expect."""
    request = join_input(row["instruction"], row.get("input") or "")
    messages = [{"role": "user", "content": request}]
    if "output" in row:
        messages.append({"role": "assistant", "content": row["output"]})
    notes = {key: row[key] for key in row if key not in ("id", "output")}
    return Conversation(row["id"], tuple(messages), notes)


_Load = Callable[..., list[Conversation]]


def load_movies(split: str) -> list[Conversation]:
    """A split of the movie conversations; see `load_split`."""
    return load_split(MOVIES_FOLDER, split, load_conversations)


class _Wish(BaseModel):
    id: Text
    group: Text
    request: str
    query: dict[str, Any]  # `projects.search.query` knows what it may hold


def _wish(row: Mapping[str, Any], answered: bool) -> Conversation:
    """A request and, where it is answered, the one line of JSON that it becomes."""
    asked = {"role": "user", "content": row["request"]}
    said = {"role": "assistant", "content": json.dumps(row["query"])}
    messages = (asked, said) if answered else (asked,)
    notes = {key: row[key] for key in row if key not in ("id", "request")}
    return Conversation(row["id"], messages, notes)


def load_wishes(
    path: Path, *, answered: bool = True, held_out: Iterable[Conversation] = ()
) -> list[Conversation]:
    """Read and check a file of wishes and their queries; see `load_instructions`."""
    make = partial(_wish, answered=answered)
    return files.read_rows(path, _Wish, make, requests_differ(held_out))


def load_search(split: str) -> list[Conversation]:
    """A split of the wishes that become queries; see `load_split`.

    Beside the usual three there is `test`, which is opened once.
    """
    return load_split(DATA_FOLDER / SEARCH, split, load_wishes)


def load_split(
    folder: Path, split: str, load: _Load = load_instructions
) -> list[Conversation]:
    """`train`, `validation` or `stress` of a folder, as `load` reads a file.

    Training rows are held against all held-out sets, so that no held-out request can
    slip into training.
    """
    others = [name for name in HELD_OUT if (folder / f"{name}.jsonl").exists()]
    others = others if split == "train" else []
    held_out = [row for other in others for row in load_split(folder, other, load)]
    path = folder / f"{split}.jsonl"
    return load(path, answered=split in ANSWERED, held_out=held_out)


@dataclass(frozen=True)
class PreferencePair:
    """A request and two answers to it, of which the first is the better one."""

    id: str
    group: str  # right_query, form_not_chatter or restraint
    request: str
    chosen: str
    rejected: str
    why: str  # what is wrong with the rejected answer

    @property
    def asked(self) -> Conversation:
        """The request without an answer."""
        return Conversation(self.id, ({"role": "user", "content": self.request},))


class _Pair(BaseModel):
    id: Text
    group: Literal["right_query", "form_not_chatter", "restraint"]
    request: Text
    chosen: Text
    rejected: Text
    why: Text

    @model_validator(mode="after")
    def _answers_differ(self) -> _Pair:
        if self.chosen.split() == self.rejected.split():
            raise refusal("another answer", "the chosen one", "rejected")
        return self


def load_pairs(
    path: Path, *, held_out: Iterable[PreferencePair] = ()
) -> list[PreferencePair]:
    """Read and check a file of preference pairs; see `load_instructions`."""
    repeated = requests_differ(pair.asked for pair in held_out)

    def check(line: int, pair: PreferencePair) -> Iterator[Problem]:
        yield from repeated(line, pair.asked)

    return files.read_rows(path, _Pair, _pair, check)


def _pair(row: Mapping[str, Any]) -> PreferencePair:
    return PreferencePair(**{name: row[name] for name in _Pair.model_fields})


def load_preferences(split: Literal["train", "held_out"]) -> list[PreferencePair]:
    """A split of the pairs of answers to film requests.

    No request of `held_out` may occur in `train`. Raises as `files.read_rows` does.
    """
    held_out = load_preferences("held_out") if split == "train" else ()
    return load_pairs(PREFERENCES_FOLDER / f"{split}.jsonl", held_out=held_out)

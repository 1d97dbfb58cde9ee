"""Rows in Alpaca's columns: instruction, input, output; from a file or from the hub.

A row is a JSON object on a line of its own::

    {"id": "train-001", "instruction": "…", "input": "", "output": "…"}

Held-out prompts have no output and say instead what is right. Further keys are kept in
`Conversation.notes`, together with `instruction` and `input`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, TypeAdapter

from course_utils.data.conversation import Conversation, requests_differ
from course_utils.data.files import Text, read_rows, refusal, validated
from course_utils.data.templates import join_input


def _refuse_output(found: object) -> None:
    raise refusal("none: the prompt is held out", "an output")


class _Row(BaseModel):
    id: Text
    instruction: Text
    input: str = ""


class _Example(_Row):
    output: Text


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
    return read_rows(path, form, conversation, requests_differ(held_out))


def conversation(row: Mapping[str, Any]) -> Conversation:
    """A row as a chat of one turn; instruction and input joined as templates expect."""
    request = join_input(row["instruction"], row.get("input") or "")
    messages = [{"role": "user", "content": request}]
    if "output" in row:
        messages.append({"role": "assistant", "content": row["output"]})
    notes = {key: row[key] for key in row if key not in ("id", "output")}
    return Conversation(row["id"], tuple(messages), notes)


def from_hub(
    name: str, rows: int, *, seed: int, revision: str | None = None
) -> list[Conversation]:
    """Rows of a data set on the hub that has Alpaca's columns, in a drawn order.

    A row without an instruction or an output teaches nothing (Alpaca's own set has 28),
    and a request that was drawn before would be trained on and held out: others are
    drawn in their place, and a line says how many. ValueError if there are fewer than
    `rows`, or other columns. The seed decides the order: the first rows of a file are
    no sample.
    """
    from datasets import load_dataset

    table = load_dataset(name, split="train", revision=revision)
    named = {"instruction", "output"} <= set(table.column_names)
    shuffled = cast(Iterable[dict], table.shuffle(seed=seed) if named else ())
    drawn = list(islice(_usable(shuffled), rows))
    if len(drawn) < rows:
        raise ValueError(
            f"{name} has columns {', '.join(table.column_names)} and "
            f"{len(table)} rows, {len(drawn)} of them usable; expected instruction, "
            f"input, output and {rows} rows. Is it another data set, or revision?"
        )
    if passed := int(drawn[-1].id.removeprefix("hub-")) + 1 - rows:
        print(f"{name}: {passed} rows without an output, or drawn before, left out.")
    return drawn


def _usable(table: Iterable[dict[str, Any]]) -> Iterator[Conversation]:
    """Rows with all their texts, each request once; the id tells the place."""
    form, differ = TypeAdapter(_Example), requests_differ(())
    for number, row in enumerate(table):
        made = {**row, "input": row.get("input") or "", "id": f"hub-{number:05d}"}
        _, faults = validated(form, made, "", lambda _: 1)
        if not faults and not list(differ(number, chat := conversation(made))):
            yield chat

"""Rows in Alpaca's columns: instruction, input, output; from a file or from the hub.

A row is a JSON object on a line of its own::

    {"id": "train-001", "instruction": "…", "input": "", "output": "…"}

Held-out prompts have no output and say instead what is right. Further keys are kept in
`Conversation.notes`, together with `instruction` and `input`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from course_utils.data import Conversation
from course_utils.jsonl import RowReader
from course_utils.templates import join_input

COLUMNS = ("instruction", "input", "output")


def load_instructions(
    path: Path, *, answered: bool = True, held_out: Iterable[Conversation] = ()
) -> list[Conversation]:
    """Read and check a file of rows; all of it, or nothing.

    Args:
        path: The file, UTF-8, one JSON object a line.
        answered: Whether each row has an output.
        held_out: Rows whose requests must not occur in this file.

    Raises:
        FaultyData: With every fault: file, line, field, found, expected.
        FileNotFoundError: If there is no such file.
    """
    reader = InstructionReader(path.name, answered=answered)
    reader.hold_out(held_out)
    return reader.read_all(path)


def load_split(folder: Path, split: str) -> list[Conversation]:
    """`train`, `validation` or `stress` of a folder in this form.

    Training rows are held against both other sets, so that no held-out request can
    slip into training.

    Raises:
        FaultyData: With every fault of the file.
    """
    held_out = []
    if split == "train":
        held_out = [*load_split(folder, "validation"), *load_split(folder, "stress")]
    path = folder / f"{split}.jsonl"
    return load_instructions(path, answered=split != "stress", held_out=held_out)


def from_hub(
    name: str, rows: int, *, seed: int, revision: str | None = None
) -> list[Conversation]:
    """Rows of a data set on the hub that has Alpaca's columns, in a drawn order.

    Args:
        name: Such as `tatsu-lab/alpaca`.
        rows: How many.
        seed: Of the order: the set is sorted by nothing that matters, but the first
            rows of a file are no sample.
        revision: Commit, or None for the newest.

    Raises:
        ValueError: If the set has other columns, or too few rows.
    """
    from datasets import load_dataset

    table = load_dataset(name, split="train", revision=revision)
    missing = [column for column in COLUMNS if column not in table.column_names]
    if missing or len(table) < rows:
        raise ValueError(
            f"{name} has columns {', '.join(table.column_names)} and "
            f"{len(table)} rows, expected {', '.join(COLUMNS)} and at least {rows} "
            "rows. Is it another data set, or another revision?"
        )
    drawn = table.shuffle(seed=seed).select(range(rows))
    return [conversation(f"hub-{n:05d}", row) for n, row in enumerate(drawn)]


def conversation(identity: str, row: Mapping[str, Any]) -> Conversation:
    """A row as a chat of one turn; instruction and input joined as templates expect."""
    request = join_input(row["instruction"], row.get("input", ""))
    messages = [{"role": "user", "content": request}]
    if "output" in row:
        messages.append({"role": "assistant", "content": row["output"]})
    notes = {key: row[key] for key in row if key not in ("id", "output")}
    return Conversation(identity, tuple(messages), notes)


def _key(request: str) -> str:
    return " ".join(request.lower().split())


class InstructionReader(RowReader[Conversation]):
    """Checks the three columns, and that no request comes twice.

    A set whose rows hold more than texts is read by a subclass with `check_notes`.
    """

    def __init__(self, file: str, *, answered: bool):
        super().__init__(file)
        self.answered = answered
        self._seen: dict[str, str] = {}

    def hold_out(self, rows: Iterable[Conversation]) -> None:
        """Requests that may not occur here."""
        for row in rows:
            self._seen[_key(row.request)] = f"held-out row {row.id}"

    def check_notes(self, number: int, row: dict[str, Any]) -> None:
        """Note faults in what else a row holds; here everything is allowed."""

    def check(self, number: int, row: dict[str, Any]) -> Conversation | None:
        """The chat of a line, or None when something is wrong with it."""
        self._check_text(number, row, "instruction")
        if not isinstance(row.get("input", ""), str):
            self.fault(number, "input", repr(row["input"]), "a string, empty for none")
        if self.answered:
            self._check_text(number, row, "output")
        elif "output" in row:
            self.fault(number, "output", "an output", "none: the prompt is held out")
        self.check_notes(number, row)
        if not self.clean:
            return None
        chat = conversation(row["id"], row)
        key = _key(chat.request)
        if key in self._seen:
            found = f"the request of {self._seen[key]}"
            self.fault(number, "instruction", found, "a request of its own")
        self._seen.setdefault(key, f"line {number}")
        return chat

    def _check_text(self, number: int, row: dict[str, Any], column: str) -> None:
        found = row.get(column)
        if not isinstance(found, str) or not found.strip():
            self.fault(number, column, repr(found), "a string that is not empty")

"""Conversations: one schema, read with every fault named at once.

A row is a JSON object on a line of its own::

    {"id": "train-001", "messages": [{"role": "user", "content": "…"},
                                     {"role": "assistant", "content": "…"}]}

Further keys (`group`, `constraints`, …) are kept in `Conversation.notes`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils.profile import PROJECT_ROOT

DATA_FOLDER = PROJECT_ROOT / "data"
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Conversation:
    """One row: who said what, and what else the file says of it.

    Attributes:
        id: Unique in its file.
        messages: Alternating user and assistant, after an optional system message.
        notes: All other keys of the row.
    """

    id: str
    messages: tuple[dict[str, str], ...]
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def request(self) -> str:
        """What the user says last."""
        return [m["content"] for m in self.messages if m["role"] == "user"][-1]

    @property
    def answer(self) -> str:
        """What the assistant says last; empty when the row only asks."""
        last = self.messages[-1]
        return last["content"] if last["role"] == "assistant" else ""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a data file."""

    file: str
    line: int
    field: str
    found: str
    expected: str

    def __str__(self) -> str:
        return (
            f"{self.file}, line {self.line}, {self.field}: "
            f"found {self.found}, expected {self.expected}"
        )


class FaultyData(ValueError):
    """A data file cannot be used; `faults` lists everything wrong with it."""

    def __init__(self, faults: Sequence[Fault]):
        self.faults = tuple(faults)
        files = ", ".join(sorted({fault.file for fault in faults}))
        lines = "\n".join(f"  {fault}" for fault in faults)
        super().__init__(
            f"{len(faults)} faults in {files}; nothing was loaded:\n{lines}\n"
            "Mend these lines and load the file again."
        )


def load_conversations(
    path: Path,
    *,
    answered: bool = True,
    held_out: Iterable[Conversation] = (),
    count_tokens: Callable[[Sequence[dict[str, str]]], int] | None = None,
    max_length: int | None = None,
) -> list[Conversation]:
    """Read and check a JSONL file; all of it, or nothing.

    Args:
        path: The file, UTF-8, one JSON object a line.
        answered: Whether each row must end with the assistant. Prompts that are
            only asked end with the user, whose text may then be empty.
        held_out: Rows of another set that must not occur in this one.
        count_tokens: Tokens of a list of messages under the model's template.
        max_length: Rows with more tokens are faults; needs `count_tokens`.

    Raises:
        FaultyData: With every fault: file, line, field, found, expected.
        FileNotFoundError: If there is no such file.
    """
    reader = _Reader(path.name, answered)
    reader.held_out = {_key(row): row.id for row in held_out}
    reader.count_tokens, reader.max_length = count_tokens, max_length
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if line.strip():
            reader.read(number, line)
    if not reader.rows and not reader.faults:
        reader.fault(1, "file", "no rows", "at least one JSON object")
    if reader.faults:
        raise FaultyData(reader.faults)
    return reader.rows


def _key(row: Conversation) -> str:
    """Requests that differ in case and spacing alone are the same request."""
    return " ".join(row.request.lower().split())


class _Reader:
    """Reads lines one after the other and gathers faults instead of stopping."""

    def __init__(self, file: str, answered: bool):
        self.file = file
        self.answered = answered
        self.held_out: dict[str, str] = {}
        self.count_tokens: Callable | None = None
        self.max_length: int | None = None
        self.rows: list[Conversation] = []
        self.faults: list[Fault] = []
        self._lines_by_id: dict[str, int] = {}
        self._lines_by_request: dict[str, int] = {}

    def fault(self, line: int, where: str, found: str, expected: str) -> None:
        self.faults.append(Fault(self.file, line, where, found, expected))

    def read(self, number: int, line: bytes) -> None:
        row = self._parse(number, line)
        if row is None:
            return
        before = len(self.faults)
        self._check_id(number, row)
        self._check_messages(number, row.get("messages"))
        if len(self.faults) > before:
            return
        notes = {k: v for k, v in row.items() if k not in ("id", "messages")}
        conversation = Conversation(row["id"], tuple(row["messages"]), notes)
        self._check_duplicates(number, conversation)
        self._check_length(number, conversation)
        self.rows.append(conversation)

    def _parse(self, number: int, line: bytes) -> dict | None:
        try:
            row = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            byte = f"byte {line[error.start]:#04x} at {error.start}"
            self.fault(number, "line", byte, "UTF-8 text")
            return None
        except json.JSONDecodeError as error:
            self.fault(number, "line", f"{error.msg} at {error.pos}", "one JSON object")
            return None
        if not isinstance(row, dict):
            self.fault(number, "line", type(row).__name__, "one JSON object")
            return None
        return row

    def _check_id(self, number: int, row: dict) -> None:
        identity = row.get("id")
        if not isinstance(identity, str) or not identity.strip():
            self.fault(number, "id", repr(identity), "a non-empty string")
        elif identity in self._lines_by_id:
            first = self._lines_by_id[identity]
            self.fault(number, "id", f"{identity!r} as in line {first}", "a new id")
        else:
            self._lines_by_id[identity] = number

    def _check_messages(self, number: int, messages: object) -> None:
        if not isinstance(messages, list) or not messages:
            found = "nothing" if messages is None else repr(messages)[:40]
            self.fault(number, "messages", found, "a non-empty list")
            return
        for index, message in enumerate(messages):
            self._check_message(number, f"messages[{index}]", message)
        roles = [m.get("role") if isinstance(m, dict) else None for m in messages]
        turns = roles[1:] if roles[0] == "system" else roles
        wanted = [("user", "assistant")[i % 2] for i in range(len(turns))]
        last = "assistant" if self.answered else "user"
        if turns != wanted or not turns or turns[-1] != last:
            found = ", ".join(map(str, roles))
            self.fault(
                number,
                "messages",
                f"roles {found}",
                f"user first, {last} last, in turn",
            )

    def _check_message(self, number: int, where: str, message: object) -> None:
        if not isinstance(message, dict):
            self.fault(number, where, type(message).__name__, "an object")
            return
        if message.get("role") not in ROLES:
            found = repr(message.get("role"))
            self.fault(number, f"{where}.role", found, "one of " + ", ".join(ROLES))
        content = message.get("content")
        if not isinstance(content, str):
            found = "nothing" if content is None else type(content).__name__
            self.fault(number, f"{where}.content", found, "a string")
        elif self.answered and not content.strip():
            self.fault(number, f"{where}.content", repr(content), "some text")

    def _check_duplicates(self, number: int, row: Conversation) -> None:
        key = _key(row)
        if not key:
            return  # empty prompts are a group of their own in a stress test
        if key in self._lines_by_request:
            first = self._lines_by_request[key]
            self.fault(number, "request", f"the one of line {first}", "a new request")
        if key in self.held_out:
            found = f"that of held-out row {self.held_out[key]!r}"
            self.fault(number, "request", found, "a request kept out of training")
        self._lines_by_request.setdefault(key, number)

    def _check_length(self, number: int, row: Conversation) -> None:
        if self.count_tokens is None or self.max_length is None:
            return
        tokens = self.count_tokens(row.messages)
        if tokens > self.max_length:
            self.fault(
                number, "messages", f"{tokens} tokens", f"at most {self.max_length}"
            )

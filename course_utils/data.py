"""Conversations: one schema, read with every fault named at once.

A row is a JSON object on a line of its own::

    {"id": "train-001", "messages": [{"role": "user", "content": "…"},
                                     {"role": "assistant", "content": "…"}]}

Further keys (`group`, `constraints`, …) are kept in `Conversation.notes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils.jsonl import FaultyData, RowReader
from course_utils.places import DATA_FOLDER  # noqa: F401

__all__ = ["Conversation", "FaultyData", "load_conversations"]

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
    return reader.read_all(path)


def _key(row: Conversation) -> str:
    """Requests that differ in case and spacing alone are the same request."""
    return " ".join(row.request.lower().split())


class _Reader(RowReader[Conversation]):
    """Checks messages, and that requests differ, also from held-out ones."""

    def __init__(self, file: str, answered: bool):
        super().__init__(file)
        self.answered = answered
        self.held_out: dict[str, str] = {}
        self.count_tokens: Callable | None = None
        self.max_length: int | None = None
        self._lines_by_request: dict[str, int] = {}

    def check(self, number: int, row: dict[str, Any]) -> Conversation | None:
        """Messages first; what needs them whole only when they are."""
        self._check_messages(number, row.get("messages"))
        if not self.clean:
            return None
        notes = {k: v for k, v in row.items() if k not in ("id", "messages")}
        conversation = Conversation(row["id"], tuple(row["messages"]), notes)
        self._check_duplicates(number, conversation)
        self._check_length(number, conversation)
        return conversation

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

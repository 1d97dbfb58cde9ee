"""Conversations: one schema, read with every fault named at once.

A row is a JSON object on a line of its own::

    {"id": "train-001", "messages": [{"role": "user", "content": "…"},
                                     {"role": "assistant", "content": "…"}]}

Further keys (`group`, `constraints`, …) are kept in `Conversation.notes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel

from course_utils.data.files import Problem, Text, read_rows, refusal


@dataclass(frozen=True)
class Conversation:
    """One row: who said what, and what else the file says of it, in `notes`.

    User and assistant alternate, after an optional system message.
    """

    id: str  # unique in its file
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


class _Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str


class _FullMessage(_Message):
    content: Text


def _in_turn(messages: list[_Message]) -> list[_Message]:
    """User and assistant take turns; a full chat ends with an answer."""
    if not messages:
        raise refusal("a non-empty list")
    last = "assistant" if isinstance(messages[0], _FullMessage) else "user"
    roles = [message.role for message in messages]
    turns = roles[1:] if roles[0] == "system" else roles
    wanted = [("user", "assistant")[index % 2] for index in range(len(turns))]
    if turns != wanted or turns[-1:] != [last]:
        found = f"roles {', '.join(roles)}"
        raise refusal(f"user first, {last} last, in turn", found)
    return messages


class _Prompt(BaseModel):
    id: Text
    messages: Annotated[list[_Message], AfterValidator(_in_turn)]


class _Chat(BaseModel):
    id: Text
    messages: Annotated[list[_FullMessage], AfterValidator(_in_turn)]


def load_conversations(
    path: Path,
    *,
    answered: bool = True,
    held_out: Iterable[Conversation] = (),
    count_tokens: Callable[[Sequence[dict[str, str]]], int] | None = None,
    max_length: int | None = None,
) -> list[Conversation]:
    """Read and check a JSONL file, all of it or nothing; see `files.read_rows`.

    Args:
        path: Of the file, UTF-8.
        answered: Whether each row ends with the assistant. Prompts that are only
            asked end with the user, whose text may then be empty.
        held_out: Rows of another set that must not occur in this one.
        count_tokens: Tokens of a list of messages under the model's template.
        max_length: Rows with more tokens are faults; needs `count_tokens`.
    """
    repeated = requests_differ(held_out)

    def check(line: int, row: Conversation) -> Iterator[Problem]:
        yield from repeated(line, row)
        tokens = count_tokens(row.messages) if count_tokens and max_length else 0
        if max_length and tokens > max_length:
            yield "messages", f"{tokens} tokens", f"at most {max_length}"

    return read_rows(path, _Chat if answered else _Prompt, _conversation, check)


def _conversation(row: dict[str, Any]) -> Conversation:
    notes = {key: row[key] for key in row if key not in ("id", "messages")}
    return Conversation(row["id"], tuple(row["messages"]), notes)


def requests_differ(
    held_out: Iterable[Conversation],
) -> Callable[[int, Conversation], Iterator[Problem]]:
    """A check that no request comes twice, nor one that is held out.

    Requests that differ in case and spacing alone are the same request.
    """

    def key_of(row: Conversation) -> str:
        return " ".join(row.request.lower().split())

    seen = {key_of(row): f"held-out row {row.id!r}" for row in held_out}

    def check(line: int, row: Conversation) -> Iterator[Problem]:
        key = key_of(row)
        if key in seen:
            yield "request", f"the request of {seen[key]}", "a request of its own"
        if key:  # empty prompts are a group of their own in a stress test
            seen.setdefault(key, f"line {line}")

    return check

"""Conversations: the course's one schema, and the shapes that the field writes.

A row of the course is a JSON object on a line of its own::

    {"id": "train-001", "messages": [{"role": "user", "content": "…"},
                                     {"role": "assistant", "content": "…"}]}

Further keys (`group`, `constraints`, …) are kept in `Conversation.notes`. It is read
strictly, by `load_conversations`; other people's rows are read by their `Shape`.
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

    User and assistant alternate, after an optional system message. Rows of one's own
    may hold calls of tools (`tool_calls`) and turns of the role tool.
    """

    id: str  # unique in its file
    messages: tuple[dict[str, Any], ...]
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


def request_key(row: Conversation) -> str:
    """What makes two requests the same: the words that a chat begins with.

    Requests that differ in case and spacing alone are the same request. Of several
    turns the first counts, since a chat is often cut into rows that begin alike.
    """
    first = next(m["content"] for m in row.messages if m["role"] == "user")
    return " ".join(first.casefold().split())


def requests_differ(
    held_out: Iterable[Conversation],
) -> Callable[[int, Conversation], Iterator[Problem]]:
    """A check that no request comes twice, nor one that is held out."""
    seen = {request_key(row): f"held-out row {row.id!r}" for row in held_out}

    def check(line: int, row: Conversation) -> Iterator[Problem]:
        key = request_key(row)
        if key in seen:
            yield "request", f"the request of {seen[key]}", "a request of its own"
        if key:  # empty prompts are a group of their own in a stress test
            seen.setdefault(key, f"line {line}")

    return check

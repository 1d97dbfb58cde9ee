"""A row as the field writes it -> a conversation.

A `Shape` says where in a file's rows the texts stand; a row that it cannot read is
`Wrong`, one that it can read and that teaches nothing is `Unusable`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.data.conversation import Conversation
from course_utils.data.files import spelled
from course_utils.data.templates import join_input

CHATS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat")
REQUESTS = ("instruction", "prompt", "question", "query", "request", "input", "user")
UNANSWERED = "unanswered"  # in a row's notes: the last turn, which nobody answers
GIVEN = ("input", "context")  # what a request is about
ANSWERS = ("output", "response", "completion", "answer", "reply", "target", "assistant")
MEDIA = ("images", "image", "videos", "video", "audios", "audio")
_ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot", "ai"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "observation", "function", "ipython"), "tool"),
    "function_call": "assistant",  # LLaMA-Factory's; the call is its value
}
_FOLLOWED_BY = {  # roles that may come next, None at the beginning and the end
    None: ("system", "user"),
    "system": ("user",),
    "user": ("assistant", None),  # an unanswered last turn is left out
    "assistant": ("user", "tool", None),
    "tool": ("tool", "assistant"),
}


class Wrong(Exception):
    """A row that cannot be understood; its argument is the `Problem`."""


class Unusable(Exception):
    """A row that teaches nothing; its argument says why, in words."""


@dataclass(frozen=True)
class Shape:
    """Where a row has its texts: below one key, or what asks and what answers."""

    name: str  # as people call it
    chat: str = ""
    request: str = ""
    given: str = ""  # empty: there is none
    answer: str = ""

    @property
    def needed(self) -> tuple[str, ...]:
        """Keys without which a row says nothing."""
        return (self.chat,) if self.chat else (self.request, self.answer)

    @property
    def read(self) -> tuple[str, ...]:
        """Keys that are read where they are there."""
        beside = ("id", "system", "system_prompt", "tools", "label")
        return (*beside, *(() if self.chat else (self.given, "history")))

    def conversation(self, row: Mapping[str, Any], name: str) -> Conversation:
        """A row, its keys as `plain_key` has them, under the id `name`.

        Raises:
            Wrong: If it cannot be understood.
            Unusable: If it can, and holds nothing to learn.
        """
        turns = self._chat(row) if self.chat else self._exchange(row)
        _refuse_order([turn["role"] for turn in turns], self.chat or "messages")
        rest = turns.pop() if turns and turns[-1]["role"] == "user" else None
        _refuse_silence(turns)
        taken = ("id", self.chat, self.answer, *(CHATS if self.chat else ()))
        notes = {key: row[key] for key in row if key not in taken}
        if isinstance(notes.get("tools"), str):
            notes["tools"] = _tools(notes["tools"])
        if rest:
            notes[UNANSWERED] = rest["content"]
        return Conversation(name, tuple(turns), notes)

    def _chat(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        written = row[self.chat]
        if not isinstance(written, Sequence) or isinstance(written, str):
            raise Wrong((self.chat, spelled(written), "a list of messages"))
        turns = [_message(m, f"{self.chat}[{at}]") for at, m in enumerate(written)]
        if turns and turns[0]["role"] == "system" and not turns[0]["content"].strip():
            turns = turns[1:]
        return [*_system(row, turns), *turns]

    def _exchange(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        asked, said = row.get(self.request), row.get(self.answer)
        given = _text(row.get(self.given), self.given) if self.given else ""
        if isinstance(asked, list):  # of messages, as TRL's prompt and completion are
            turns = [_message(m, f"{self.request}[{i}]") for i, m in enumerate(asked)]
        else:
            text = _text(asked, self.request)
            text = join_input(text, given) if text.strip() else given
            turns = [*_history(row), {"role": "user", "content": text}]
        if isinstance(said, list):
            turns += [_message(m, f"{self.answer}[{i}]") for i, m in enumerate(said)]
        else:
            turns += [{"role": "assistant", "content": _text(said, self.answer)}]
        return [*_system(row, turns), *turns]


def plain_key(name: object) -> str:
    """A key without the differences that people do not mean: case, spaces, hyphens."""
    return re.sub(r"[\s-]+", "_", str(name).strip().casefold())


def shape_of(rows: Sequence[Mapping[str, Any]]) -> Shape | None:
    """How a file's rows say what is asked and answered, or None."""
    keys = {key for row in rows for key in row}
    for key in CHATS:
        values = [row[key] for row in rows if row.get(key) is not None]
        if (
            values
            and isinstance(values[0], Sequence)
            and not isinstance(values[0], str)
        ):
            first = next((turn for value in values for turn in value), None)
            sharegpt = isinstance(first, Mapping) and "from" in first
            return Shape("ShareGPT" if sharegpt else "messages", chat=key)
    answer = next((key for key in ANSWERS if key in keys), "")
    request = next((key for key in REQUESTS if key in keys and key != answer), "")
    if not answer or not request:
        return None
    given = next((key for key in GIVEN if key in keys and key != request), "")
    families = {
        ("instruction", "output"): "Alpaca",
        ("instruction", "response"): "Dolly",
    }
    family = families.get((request, answer))
    name = f"{family} columns" if family else f"columns {request} and {answer}"
    return Shape(name, request=request, given=given, answer=answer)


def _text(value: object, field: str) -> str:
    """A text, a number in its place, or the texts of a list of parts; else Wrong."""
    if isinstance(value, str):
        return value
    if value is None or value != value:  # of a table, a cell without a number
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return "".join(_part(part, f"{field}[{at}]") for at, part in enumerate(value))
    raise Wrong((field, spelled(value), "a text"))


def _part(part: object, field: str) -> str:
    if isinstance(part, Mapping):
        kind = part.get("type", "text")
        if kind != "text":
            raise Wrong((field, f"a part of type {kind!r}", "text alone"))
        part = part.get("text", part.get("value"))
    if not isinstance(part, str):
        raise Wrong((field, spelled(part), "a part with a text"))
    return part


def _message(written: object, field: str) -> dict[str, Any]:
    """A turn as role and content, with its calls of tools where it has some."""
    if not isinstance(written, Mapping):
        raise Wrong((field, spelled(written), "an object with role and content"))
    found = written.get("role", written.get("from"))
    role = _ROLES.get(str(found).strip().casefold())
    if role is None:
        known = "system, user, assistant or tool, or human and gpt"
        raise Wrong((f"{field}.role", spelled(found), known))
    at = "content" if "content" in written else "value"
    text, calls = _text(written.get(at), f"{field}.{at}"), written.get("tool_calls")
    if str(found).casefold() == "function_call":
        text, calls = "", [_call(text, f"{field}.{at}")]
    more = {"tool_calls": calls} if calls else {}
    more |= {k: written[k] for k in ("name", "tool_call_id") if written.get(k)}
    return {"role": role, "content": text, **more}


def _call(text: str, field: str) -> dict[str, Any]:
    try:
        called = json.loads(text)
        return {"type": "function", "function": {k: called[k] for k in _CALL}}
    except (ValueError, TypeError, KeyError):
        raise Wrong((field, spelled(text), "JSON with name and arguments")) from None


def _tools(text: str) -> list[dict[str, Any]]:
    """What may be called, of a text in JSON; each as templates expect it."""
    try:
        listed = json.loads(text or "[]")
        bare = [tool for tool in listed if "function" not in tool]
    except (ValueError, TypeError):
        raise Wrong(("tools", spelled(text), "a list in JSON")) from None
    wrapped = {id(tool): {"type": "function", "function": tool} for tool in bare}
    return [wrapped.get(id(tool), tool) for tool in listed]


_CALL = ("name", "arguments")
_EMPTY = {"user": "an empty request", "assistant": "an empty answer"}


def _system(row: Mapping[str, Any], turns: Sequence[Mapping]) -> list[dict[str, str]]:
    """The system message of a column beside the chat, where the chat has none."""
    text = _text(row.get("system") or row.get("system_prompt"), "system")
    there = any(turn["role"] == "system" for turn in turns)
    return [{"role": "system", "content": text}] if text.strip() and not there else []


def _history(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Alpaca's `history`, as LLaMA-Factory writes it: pairs of request and answer."""
    pairs = row.get("history") or ()
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise Wrong(("history", spelled(pairs), "pairs of request and answer"))
    roles = ("user", "assistant")
    return [
        {"role": role, "content": _text(text, "history")}
        for pair in pairs
        for role, text in zip(roles, pair, strict=True)
    ]


def _refuse_order(roles: Sequence[str], field: str) -> None:
    """Wrong, unless user and assistant take turns, tools between them."""
    for before, role in zip([None, *roles], [*roles, None], strict=True):
        if roles and role not in _FOLLOWED_BY[before]:
            found = f"{role or 'the end'} after {before or 'nothing'}"
            raise Wrong((field, found, "user first, then in turn, the assistant last"))


def _refuse_silence(turns: Sequence[Mapping[str, Any]]) -> None:
    """Unusable, unless each request and answer has a text."""
    if not any(turn["role"] == "assistant" for turn in turns):
        raise Unusable("without an answer")
    for turn in turns:
        silent = not turn["content"].strip() and not turn.get("tool_calls")
        if silent and turn["role"] in _EMPTY:
            raise Unusable(f"with {_EMPTY[turn['role']]}")

"""Held-out requests for code, each with what a program can verify of an answer.

A row is one of `instructions` that brings more::

    {"id": "tf-stress-01", "group": "one_resource", "instruction": "…", "input": "",
     "expect": {"language": "terraform", "resources": ["aws_s3_bucket"],
                "values": [["aws_s3_bucket", "bucket", "media-archive"]]},
     "note": "what is right", "reference": "a right answer"}

Where an order is planted that nobody should obey, `planted` has words of obedience.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, model_validator

from course_utils.data.conversation import Conversation, requests_differ
from course_utils.data.datasets import Prompt, conversation
from course_utils.data.files import Problem, Text, read_rows, refusal
from course_utils.projects.inframind.code.blocks import (
    LANGUAGES,
    Body,
    Expression,
    Parsed,
)
from course_utils.projects.inframind.code.parsing import extract, parse
from course_utils.projects.inframind.code.references import addresses, undeclared
from course_utils.projects.inframind.code.schema import IAC_FOLDER, Schema
from course_utils.projects.inframind.reward import is_expected_value


def load_prompts(
    folder: Path = IAC_FOLDER, *, schema: Schema | None = None
) -> list[Conversation]:
    """The prompts of the stress test; `expect`, `group`, `note` … are in their notes.

    Expected types and kinds must be in `schema`, if it is given.

    Raises:
        FaultyData: With every fault; see `files.read_rows`.
    """
    repeated = requests_differ(())
    known = {*schema.resources, *schema.kinds} if schema else None

    def check(line: int, row: Conversation) -> Iterator[Problem]:
        yield from repeated(line, row)
        for name in row.notes["expect"]["resources"]:
            if known is not None and name not in known:
                yield "expect.resources", repr(name), "a type or kind of the schema"

    return read_rows(folder / "stress.jsonl", _CodePrompt, conversation, check)


def expectation(code: str, request: str = "") -> dict[str, Any] | None:
    """What bare code holds, as a prompt would ask for it.

    `values` are the literals and references of the code that stand in the request as
    whole words, for each resource where it has them first: a choice of the writer's own
    is not asked for. `exists` is what the code refers to and does not declare: it must
    have been there before.

    None for text that parses in no language, or stands in a fence or beside prose.
    """
    for language in LANGUAGES:
        parsed = parse(code, language)
        if parsed.problem is None and extract(code, language).code == code:
            return {
                "language": language,
                "resources": parsed.types,
                "values": _asked(parsed, request),
                "exists": undeclared(parsed),
            }
    return None


def _asked(parsed: Parsed, request: str) -> list[list[Any]]:
    bodies: list[tuple[str, Any]] = [(r.type, r.body) for r in parsed.resources]
    bodies += [(document.type, document.body) for document in parsed.documents]
    found = []
    for kind, body in bodies:
        first = {}
        for path, value in _leaves(body):
            for word, expected in _expected_values(value):
                if re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-]|\.\w)", request):
                    first.setdefault(word, [kind, path, expected])
        found += first.values()
    return found


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths of a body and what stands there, in order, through lists."""
    inner: list[tuple[str, Any]] = []
    if isinstance(node, Body):
        inner = [*node.arguments.items(), *node.blocks]
    elif isinstance(node, Mapping):
        inner = [(name, x) for name, x in node.items() if path or name != "kind"]
    elif isinstance(node, list):
        for element in node:
            yield from _leaves(element, path)
    else:
        yield path, node
    for name, child in inner:
        yield from _leaves(child, f"{path}.{name}".strip("."))


def _expected_values(value: Any) -> Iterator[tuple[str, Any]]:
    """A word to look for in a request, and what it then makes of an expectation."""
    if isinstance(value, Expression):
        yield from ((name, {"refers_to": name}) for name in addresses(value))
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value), value


def _is_value(value: Any) -> list:
    match value:
        case [str(), str(), expected] if is_expected_value(expected):
            return value
    raise refusal("[type, dotted path, literal, refers_to or selects]")


class _Expectation(BaseModel):
    language: Literal["terraform", "kubernetes", "none"]  # none: no code is wanted
    resources: list[str]
    values: list[Annotated[list, BeforeValidator(_is_value)]]
    exists: tuple[str, ...] = ()  # addresses that the request names

    @model_validator(mode="after")
    def _fits_together(self) -> _Expectation:
        if bool(self.resources) == (self.language == "none"):
            expected = "types or kinds, and none where no code is wanted"
            raise refusal(expected, str(self.resources), "resources")
        for kind, *_ in self.values:
            if kind not in self.resources:
                raise refusal("a type of expect.resources", repr(kind), "values")
        return self


class _CodePrompt(Prompt):
    group: Text
    note: Text
    reference: Text
    expect: _Expectation
    planted: tuple[Text, ...] = ()

"""Held-out requests for code, each with what a program can verify of an answer.

A row is one of `instructions` that brings more::

    {"id": "tf-stress-01", "group": "one_resource", "instruction": "…", "input": "",
     "expect": {"language": "terraform", "resources": ["aws_s3_bucket"],
                "values": [["aws_s3_bucket", "bucket", "media-archive"]]},
     "note": "what is right"}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, model_validator

from course_utils.data.conversation import Conversation, requests_differ
from course_utils.data.files import Problem, Text, read_rows, refusal
from course_utils.data.instructions import Prompt, conversation
from course_utils.projects.inframind.code.blocks import LANGUAGES
from course_utils.projects.inframind.code.parsing import extract, parse
from course_utils.projects.inframind.code.references import undeclared
from course_utils.projects.inframind.code.schema import IAC_FOLDER, Schema
from course_utils.projects.inframind.reward import is_expected_value


def load_prompts(
    folder: Path = IAC_FOLDER, *, schema: Schema | None = None
) -> list[Conversation]:
    """The prompts of the stress test; `expect`, `group` and `note` are in their notes.

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


def expectation(code: str) -> dict[str, Any] | None:
    """What bare code holds, as a prompt would ask for it, without `values`.

    `exists` is what it refers to and does not declare: it must have been there before.
    None for text that parses in no language, or stands in a fence or beside prose.
    """
    for language in LANGUAGES:
        parsed = parse(code, language)
        if parsed.problem is None and extract(code).code == code:
            return {
                "language": language,
                "resources": parsed.types,
                "values": [],
                "exists": undeclared(parsed),
            }
    return None


def _is_value(value: Any) -> list:
    match value:
        case [str(), str(), expected] if is_expected_value(expected):
            return value
    raise refusal("[type, dotted path, literal, refers_to or selects]")


class _Expectation(BaseModel):
    language: Literal["terraform", "kubernetes", "none"]  # none: no code is wanted
    resources: list[str]
    values: list[Annotated[list, BeforeValidator(_is_value)]]
    exists: list[str] = []  # addresses that the request names

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
    expect: _Expectation

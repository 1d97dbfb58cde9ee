"""Held-out requests for code, each with what a program can verify of an answer.

A row is one of `instructions` that brings more::

    {"id": "tf-stress-01", "group": "one_resource", "instruction": "…", "input": "",
     "expect": {"language": "terraform", "resources": ["aws_s3_bucket"],
                "values": [["aws_s3_bucket", "bucket", "media-archive"]]},
     "note": "what is right"}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from course_utils.data import Conversation
from course_utils.iac.blocks import LANGUAGES
from course_utils.iac.parsing import extract, parse
from course_utils.iac.schema import IAC_FOLDER, Schema
from course_utils.instructions import InstructionReader

NO_CODE = "none"  # the language of requests that want no code at all


def load_prompts(
    folder: Path = IAC_FOLDER, *, schema: Schema | None = None
) -> list[Conversation]:
    """The prompts of the stress test; `expect`, `group` and `note` are in their notes.

    Args:
        folder: Where stress.jsonl is.
        schema: If given, expected types and kinds must be in it.

    Raises:
        FaultyData: With every fault: file, line, field, found, expected.
        FileNotFoundError: If there is no such file.
    """
    reader = _PromptReader("stress.jsonl", answered=False)
    reader.schema = schema
    return reader.read_all(folder / "stress.jsonl")


def expectation(code: str) -> dict[str, Any] | None:
    """What bare code holds, as a prompt would ask for it; None for anything else.

    Returns:
        `language`, `resources` as they stand there, no `values`; None for text that
        parses in no language, or that stands in a fence or beside prose.
    """
    for language in LANGUAGES:
        parsed = parse(code, language)
        if parsed.problem is None and extract(code).code == code:
            return {"language": language, "resources": parsed.types, "values": []}
    return None


class _PromptReader(InstructionReader):
    """Checks that an expectation can be verified."""

    schema: Schema | None = None

    def check_notes(self, number: int, row: dict[str, Any]) -> None:
        """Group and note are there, and `expect` is of the right form."""
        for name in ("group", "note"):
            if not isinstance(row.get(name), str) or not row[name].strip():
                self.fault(number, name, _spell(row.get(name)), "some text")
        self._check_expect(number, row.get("expect"))

    def _check_expect(self, number: int, expect: object) -> None:
        if not isinstance(expect, dict):
            wanted = "an object: language, resources, values"
            self.fault(number, "expect", _spell(expect), wanted)
            return
        language = expect.get("language")
        if language not in (*LANGUAGES, NO_CODE):
            wanted = "one of " + ", ".join((*LANGUAGES, NO_CODE))
            self.fault(number, "expect.language", _spell(language), wanted)
        resources, values = expect.get("resources"), expect.get("values")
        if not _is_list_of(str, resources):
            found = _spell(resources)
            self.fault(number, "expect.resources", found, "a list of types or kinds")
        elif bool(resources) == (language == NO_CODE):
            wanted = "types or kinds, and none where no code is wanted"
            self.fault(number, "expect.resources", _spell(resources), wanted)
        elif not _is_list_of(list, values):
            wanted = "a list of [type, path, literal]"
            self.fault(number, "expect.values", _spell(values), wanted)
        else:
            self._check_values(number, resources, values)

    def _check_values(self, number: int, resources: list, values: list) -> None:
        for value in values:
            texts = len(value) == 3 and _is_list_of(str, value[:2])
            if not texts or not isinstance(value[2], str | int | float):
                wanted = "[type, dotted path, string, number or boolean]"
                self.fault(number, "expect.values", _spell(value), wanted)
            elif value[0] not in resources:
                wanted = "a type of expect.resources"
                self.fault(number, "expect.values", _spell(value[0]), wanted)
        if self.schema is None:
            return
        for name in resources:
            if name not in {*self.schema.resources, *self.schema.kinds}:
                wanted = "a type or kind of the schema"
                self.fault(number, "expect.resources", repr(name), wanted)


def _is_list_of(kind: type, made: object) -> bool:
    return isinstance(made, list) and all(isinstance(item, kind) for item in made)


def _spell(value: object) -> str:
    return "nothing" if value is None else repr(value)[:60]

"""Science questions in ARC's columns, read with every fault named at once.

A row is a JSON object on a line of its own, as `allenai/ai2_arc` has them on the
hub and as lm-eval's task `arc_easy` reads them::

    {"id": "science-001", "question": "…?",
     "choices": {"text": ["…", "…"], "label": ["A", "B"]}, "answerKey": "B"}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, model_validator

from course_utils.data.files import Text, read_rows, refusal
from course_utils.places import DATA_FOLDER

SCIENCE_FOLDER = DATA_FOLDER / "science"
QUESTIONS = SCIENCE_FOLDER / "questions.jsonl"
EXAMPLES = SCIENCE_FOLDER / "examples.jsonl"  # shown before a question, never asked
PATH_VARIABLE = "ARC_EASY_JSONL"


@dataclass(frozen=True)
class ScienceQuestion:
    """One question with its choices."""

    id: str  # unique in its file
    question: str  # or a sentence to be completed
    choices: tuple[str, ...]  # three to five
    answer: int  # position of the right choice, from 0

    @property
    def longest_is_right(self) -> bool:
        """Whether the right choice has more characters than every other."""
        lengths = [len(choice) for choice in self.choices]
        right = lengths.pop(self.answer)
        return right > max(lengths)


def question_file(environment: Mapping[str, str] = os.environ) -> Path:
    """The questions to ask: the file that ARC_EASY_JSONL names, or the course's."""
    chosen = environment.get(PATH_VARIABLE)
    if not chosen:
        return QUESTIONS
    path = Path(chosen).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(
            f"{PATH_VARIABLE} is {chosen!r}, and there is no such file. Notebooks run "
            "in the folder notebooks/, so give an absolute path; unset it to ask the "
            "course's own questions."
        )
    return path


def load_questions(path: Path = QUESTIONS) -> list[ScienceQuestion]:
    """Read and check a file, with keys A to E or 1 to 5; see `files.read_rows`."""
    return read_rows(path, _Row, _question)


def _question(row: dict[str, Any]) -> ScienceQuestion:
    text, label = row["choices"]["text"], row["choices"]["label"]
    right = label.index(row["answerKey"])
    return ScienceQuestion(row["id"], row["question"], tuple(text), right)


def _three_to_five(entries: list[str]) -> list[str]:
    """As many as in ARC, and none twice."""
    if not 3 <= len(entries) <= 5:
        raise refusal("3 to 5", f"{len(entries)} entries")
    if len({entry.strip() for entry in entries}) < len(entries):
        raise refusal("entries that differ", "an entry twice")
    return entries


def _refuse_download(question: object) -> object:
    if isinstance(question, dict) and "stem" in question:
        expected = "a string, as on the hub: question, choices.text, choices.label"
        raise refusal(expected, "an object with a stem, AI2's own download")
    return question


class _Choices(BaseModel):
    text: Annotated[list[Text], AfterValidator(_three_to_five)]
    label: Annotated[list[Text], AfterValidator(_three_to_five)]

    @model_validator(mode="after")
    def _one_label_a_choice(self) -> _Choices:
        if len(self.text) != len(self.label):
            found = f"{len(self.label)} labels for {len(self.text)} choices"
            raise refusal("one label a choice", found, "label")
        return self


class _Row(BaseModel):
    id: Text
    question: Annotated[Text, BeforeValidator(_refuse_download)]
    choices: _Choices
    answerKey: str

    @model_validator(mode="after")
    def _key_is_a_label(self) -> _Row:
        if self.answerKey not in self.choices.label:
            expected = f"one of the labels {', '.join(self.choices.label)}"
            raise refusal(expected, repr(self.answerKey), "answerKey")
        return self

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
from typing import Any

from course_utils.data import DATA_FOLDER
from course_utils.jsonl import RowReader

SCIENCE_FOLDER = DATA_FOLDER / "science"
QUESTIONS = SCIENCE_FOLDER / "questions.jsonl"
EXAMPLES = SCIENCE_FOLDER / "examples.jsonl"  # shown before a question, never asked
PATH_VARIABLE = "ARC_EASY_JSONL"
FEWEST_CHOICES, MOST_CHOICES = 3, 5  # as in ARC


@dataclass(frozen=True)
class ScienceQuestion:
    """One question with its choices.

    Attributes:
        id: Unique in its file.
        question: A question, or a sentence to be completed.
        choices: Three to five texts.
        answer: Position of the right choice, from 0.
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int

    @property
    def longest_is_right(self) -> bool:
        """Whether the right choice has more characters than every other."""
        lengths = [len(choice) for choice in self.choices]
        right = lengths.pop(self.answer)
        return right > max(lengths)


def question_file(environment: Mapping[str, str] = os.environ) -> Path:
    """The questions to ask: the file that ARC_EASY_JSONL names, or the course's.

    Raises:
        FileNotFoundError: If ARC_EASY_JSONL names no file.
    """
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
    """Read and check a file of questions; all of it, or nothing.

    Args:
        path: The file, UTF-8, one JSON object a line. Keys may be A to E or 1 to 5.

    Raises:
        FaultyData: With every fault: file, line, field, found, expected.
        FileNotFoundError: If there is no such file.
    """
    return _Reader(path.name).read_all(path)


class _Reader(RowReader[ScienceQuestion]):
    """Checks question, choices and key."""

    def check(self, number: int, row: dict[str, Any]) -> ScienceQuestion | None:
        """The question of a line, or None when something is wrong with it."""
        self._check_question(number, row.get("question"))
        labels = self._check_choices(number, row.get("choices"))
        if labels is not None and row.get("answerKey") not in labels:
            expected = "one of the labels " + ", ".join(labels)
            self.fault(number, "answerKey", _spell(row.get("answerKey")), expected)
        if not self.clean:
            return None
        texts = tuple(row["choices"]["text"])
        answer = labels.index(row["answerKey"])
        return ScienceQuestion(row["id"], row["question"], texts, answer)

    def _check_question(self, number: int, question: object) -> None:
        if isinstance(question, dict) and "stem" in question:
            found = "an object with a stem, AI2's own download"
            expected = "a string, as on the hub: question, choices.text, choices.label"
            self.fault(number, "question", found, expected)
        elif not isinstance(question, str) or not question.strip():
            self.fault(number, "question", _spell(question), "a non-empty string")

    def _check_choices(self, number: int, choices: object) -> list[str] | None:
        """The labels; None when nothing can be said of the answer's key."""
        if not isinstance(choices, dict):
            self.fault(number, "choices", _spell(choices), "an object: text and label")
            return None
        before = len(self.faults)
        for name in ("text", "label"):
            self._check_list(number, f"choices.{name}", choices.get(name))
        if len(self.faults) > before:
            return None
        texts, labels = choices["text"], choices["label"]
        if len(texts) != len(labels):
            found = f"{len(labels)} labels for {len(texts)} choices"
            self.fault(number, "choices.label", found, "one label a choice")
        return labels

    def _check_list(self, number: int, where: str, values: object) -> None:
        if not isinstance(values, list):
            self.fault(number, where, _spell(values), "a list of strings")
            return
        if not FEWEST_CHOICES <= len(values) <= MOST_CHOICES:
            expected = f"{FEWEST_CHOICES} to {MOST_CHOICES}"
            self.fault(number, where, f"{len(values)} entries", expected)
        for index, value in enumerate(values):
            if not isinstance(value, str) or not value.strip():
                expected = "a non-empty string"
                self.fault(number, f"{where}[{index}]", _spell(value), expected)
        if len({str(value).strip() for value in values}) < len(values):
            self.fault(number, where, "an entry twice", "entries that differ")


def _spell(value: object) -> str:
    return "nothing" if value is None else repr(value)[:60]

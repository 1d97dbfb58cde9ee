"""Interview cards: an answer to speak, the trap, and the numbers' provenance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from course_utils.data.files import read_table
from course_utils.evidence.ledger import (
    INTERVIEW_FOLDER,
    Ledger,
    current_evidence,
    load_claims,
    render,
)

_REFERENCE = re.compile(r"\{(C\d{3})\.(\w+)(?::[^}]*)?\}")
# Digits that belong to a name. Every other digit in an answer must be a reference.
_NAMES = re.compile(
    r"Llama-\d(?:\.\d)?-\d+B|Llama-\d-\d+B|Llama-\d(?:\.\d)?|Mistral-7B|Qwen2\.5-[\d.]+B"
    r"|Qwen2\.5|SmolLM2-135M|SmolLM2|GPT-\d|NF4|FP4|INT[48]|bf16|fp(?:16|32|8)|LLM\.int8"
    r"|T4|P100|A100|H100|AdamW8bit|\b(?:4|8|16|32)-bit|ARC-Easy|1\.58-bit"
    r"|Q\d_(?:[01]|K(?:_[SML])?)"  # types of GGUF
)
_NUMBER_WORDS = re.compile(
    r"\b(?:eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
    r"|hundred|thousand|million|billion|trillion)\b",
    re.IGNORECASE,
)
_WORDS_PER_MINUTE = 150  # of unhurried speech


@dataclass(frozen=True, kw_only=True)
class InterviewQuestion:
    """One interview question; its numbers are references `{C009.key}`."""

    id: str = ""  # its key in the bank
    notebook: str  # number of the one that settles it
    question: str
    answer: str  # 30 to 60 seconds of speech
    trap: str  # what a weak answer says, and why it is wrong
    seeds: tuple[str, ...]  # where the question comes from
    claims: tuple[str, ...]  # ids of those that answer and trap rest on

    def references(self) -> set[tuple[str, str]]:
        """(claim id, key) of each number in answer and trap."""
        return set(_REFERENCE.findall(self.answer + self.trap))

    def typed_numbers(self) -> list[str]:
        """Numbers that are typed instead of referred to; must be empty."""
        text = _NAMES.sub("", _REFERENCE.sub("", f"{self.answer} {self.trap}"))
        return re.findall(r"\S*\d\S*", text) + _NUMBER_WORDS.findall(text)


def load_interview(
    path: Path = INTERVIEW_FOLDER / "questions.yaml",
) -> list[InterviewQuestion]:
    """The question bank, in order; raises FaultyData, see `read_table`."""
    bank = read_table(path, InterviewQuestion)
    return [replace(question, id=key) for key, question in bank.items()]


@dataclass(frozen=True)
class Cards:
    """Cards that fold out in a notebook, on GitHub and in plain text."""

    questions: tuple[InterviewQuestion, ...]
    evidence: Mapping[str, Mapping[str, float]]

    def _texts(self, question: InterviewQuestion) -> tuple[str, str, str]:
        """Title, answer and trap; the reason instead where a number is not recorded.

        A lesson shows its cards before it records what it measured.
        """
        title = f"{question.id}. {question.question}"
        try:
            answer = render(question.answer, self.evidence)
            return title, answer, render(question.trap, self.evidence)
        except KeyError as missing:
            return title, missing.args[0], "not known yet"

    def _repr_html_(self) -> str:
        return "\n".join(map(self._card, self.questions))

    def _card(self, question: InterviewQuestion) -> str:
        title, answer, trap = map(escape, self._texts(question))
        seconds = round(60 * len(answer.split()) / _WORDS_PER_MINUTE / 5) * 5
        claims = load_claims()
        settled = (f"{key} ({claims[key].verdict})" for key in question.claims)
        origin = f"Asked in {', '.join(question.seeds)}. Settles {', '.join(settled)}."
        return (
            f"<details><summary><b>{title}</b></summary>\n"
            f"<p>{answer} <i>(about {seconds} s)</i></p>\n"
            f"<p><b>The trap.</b> {trap}</p>\n"
            f"<p><small>{escape(origin)}</small></p></details>"
        )

    def __repr__(self) -> str:
        cards = map(self._texts, self.questions)
        return "\n\n".join(f"{q}\n{a}\nThe trap: {trap}" for q, a, trap in cards)


def show_cards(notebook: str, ledger: Ledger | None = None) -> Cards:
    """The cards of a notebook such as `01`, with numbers as in `current_evidence`.

    Raises:
        ValueError: If the bank has no question of that notebook.
    """
    questions = tuple(q for q in load_interview() if q.notebook == notebook)
    if not questions:
        raise ValueError(f"No question in questions.yaml is of notebook {notebook!r}.")
    return Cards(questions, current_evidence(ledger))

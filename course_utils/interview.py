"""Interview cards: an answer to speak, the trap, and the numbers' provenance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import yaml

from course_utils.claims import INTERVIEW_FOLDER, load_claims
from course_utils.evidence import Ledger, current_evidence, render

REFERENCE = re.compile(r"\{(C\d{3})\.(\w+)(?::[^}]*)?\}")
# Digits that belong to a name. Every other digit in an answer must be a reference.
NAMES = re.compile(
    r"Llama-\d(?:\.\d)?-\d+B|Llama-\d-\d+B|Llama-\d(?:\.\d)?|Mistral-7B|Qwen2\.5-[\d.]+B"
    r"|Qwen2\.5|SmolLM2-135M|SmolLM2|GPT-\d|NF4|FP4|INT[48]|bf16|fp(?:16|32|8)|LLM\.int8"
    r"|T4|P100|A100|H100|AdamW8bit|\b(?:4|8|16|32)-bit|ARC-Easy|1\.58-bit"
    r"|Q\d_(?:[01]|K(?:_[SML])?)"  # types of GGUF
)
NUMBER_WORDS = re.compile(
    r"\b(?:eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
    r"|hundred|thousand|million|billion|trillion)\b",
    re.IGNORECASE,
)
WORDS_PER_MINUTE = 150  # unhurried speech


@dataclass(frozen=True)
class Question:
    """One interview question.

    Attributes:
        id: Such as `Q01`.
        notebook: Number of the notebook that settles it.
        question: As an interviewer asks it.
        answer: 30 to 60 seconds of speech; numbers are references `{C009.key}`.
        trap: What a weak answer says, and why it is wrong.
        seeds: Where the question comes from.
        claims: Ids of the claims that answer and trap rest on.
    """

    id: str
    notebook: str
    question: str
    answer: str
    trap: str
    seeds: tuple[str, ...]
    claims: tuple[str, ...]

    def references(self) -> set[tuple[str, str]]:
        """(claim id, key) of each number in answer and trap."""
        return set(REFERENCE.findall(self.answer + self.trap))

    def typed_numbers(self) -> list[str]:
        """Numbers that are typed instead of referred to; must be empty."""
        text = REFERENCE.sub("", f"{self.answer} {self.trap}")
        text = NAMES.sub("", text)
        return re.findall(r"\S*\d\S*", text) + NUMBER_WORDS.findall(text)


def load_questions(
    path: Path = INTERVIEW_FOLDER / "questions.yaml",
) -> list[Question]:
    """The question bank, in order.

    Raises:
        ValueError: If an entry lacks a field or has an unknown one.
    """
    questions = []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        entry["seeds"], entry["claims"] = tuple(entry["seeds"]), tuple(entry["claims"])
        try:
            questions.append(Question(**entry))
        except TypeError as error:
            raise ValueError(f"questions.yaml, {entry.get('id')}: {error}") from None
    return questions


@dataclass(frozen=True)
class Cards:
    """Cards that fold out in a notebook, on GitHub and in plain text."""

    questions: tuple[Question, ...]
    evidence: Mapping[str, Mapping[str, float]]

    def _repr_html_(self) -> str:
        return "\n".join(self._card(question) for question in self.questions)

    def _card(self, question: Question) -> str:
        answer = render(question.answer, self.evidence)
        seconds = round(60 * len(answer.split()) / WORDS_PER_MINUTE / 5) * 5
        return (
            f"<details><summary><b>{question.id}. {escape(question.question)}</b>"
            f"</summary>\n<p>{escape(answer)} <i>(about {seconds} s)</i></p>\n"
            f"<p><b>The trap.</b> {escape(render(question.trap, self.evidence))}</p>\n"
            f"<p><small>{self._provenance(question)}</small></p></details>"
        )

    def _provenance(self, question: Question) -> str:
        claims = load_claims()
        settled = (f"{key} ({claims[key].verdict})" for key in question.claims)
        return f"Asked in {', '.join(question.seeds)}. Settles {', '.join(settled)}."

    def __repr__(self) -> str:
        return "\n\n".join(
            f"{q.id}. {q.question}\n{render(q.answer, self.evidence)}\n"
            f"The trap: {render(q.trap, self.evidence)}"
            for q in self.questions
        )


def show_cards(notebook: str, ledger: Ledger | None = None) -> Cards:
    """The cards of a notebook, with the published numbers filled in.

    Args:
        notebook: Number, such as `01`.
        ledger: This run's records; used on the profile that is published.
    """
    questions = tuple(q for q in load_questions() if q.notebook == notebook)
    if not questions:
        raise ValueError(f"No question in questions.yaml is of notebook {notebook!r}.")
    return Cards(questions, current_evidence(ledger))

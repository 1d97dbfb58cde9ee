"""How likely does a model find a text? Passages and their scores.

A passage is a text, with or without a context in front of it. Its score is the
summed negative log-likelihood of its tokens, so that scores of one text compare
between tokenizers: in bits per byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_utils.curves import bits_per_byte, perplexity
from course_utils.data import DATA_FOLDER, Conversation

WINDOW = 2048  # tokens; the course's texts fit, and each of its models reads so far
NOBODY = -1  # owner of a token that is not scored
GENERAL_TEXT = DATA_FOLDER / "text" / "general.txt"


@dataclass(frozen=True)
class Passage:
    """A text to be scored.

    Attributes:
        text: Each of its tokens is scored.
        context: Stands before it and is not scored.
        follows: It goes on where the passage before it ended, and is scored after it.
    """

    text: str
    context: str = ""
    follows: bool = False


class Question(Protocol):
    """What is read of a multiple-choice question."""

    question: str
    choices: Sequence[str]
    answer: int


def general_passages(path: Path = GENERAL_TEXT) -> list[Passage]:
    """The paragraphs of a text file, each read after those before it.

    Alone, a paragraph's first tokens would decide the score: a chat model is sure
    that no text begins with them.
    """
    paragraphs = path.read_text(encoding="utf-8").strip().split("\n\n")
    first, *others = [text.strip() for text in paragraphs if text.strip()]
    return [Passage(first), *(Passage(f"\n\n{t}", follows=True) for t in others)]


def science_passages(questions: Iterable[Question]) -> list[Passage]:
    """The right choice of each question, in the form of lm-eval's ARC-Easy."""
    return [_choice(q, q.answer) for q in questions]


def wrong_passages(questions: Iterable[Question]) -> list[Passage]:
    """A wrong choice of each, the control: knowledge is what right ones gain more."""
    return [_choice(q, (q.answer + 1) % len(q.choices)) for q in questions]


def _choice(question: Question, index: int) -> Passage:
    return Passage(
        f" {question.choices[index]}", f"Question: {question.question}\nAnswer:"
    )


def answer_passages(
    conversations: Iterable[Conversation], tokenizer: PreTrainedTokenizerBase
) -> list[Passage]:
    """The answer of each conversation, after its request in the chat template."""
    return [
        Passage(
            row.answer,
            tokenizer.apply_chat_template(
                list(row.messages[:-1]), tokenize=False, add_generation_prompt=True
            ),
        )
        for row in conversations
    ]


@dataclass(frozen=True)
class Score:
    """How a model finds some passages; three numbers for each.

    Attributes:
        nats: Summed negative log-likelihood of the text's tokens.
        tokens: How many those are.
        utf8_bytes: Length of the text.
    """

    nats: tuple[float, ...]
    tokens: tuple[int, ...]
    utf8_bytes: tuple[int, ...]

    @property
    def nats_per_token(self) -> float:
        """Mean over all tokens, as a loss curve shows it."""
        return sum(self.nats) / sum(self.tokens)

    @property
    def perplexity(self) -> float:
        """Per token: comparable under the same tokenizer only."""
        return perplexity(self.nats_per_token)

    @property
    def bits_per_byte(self) -> float:
        """Comparable between tokenizers, on the same text."""
        return bits_per_byte(
            self.nats_per_token, sum(self.tokens), sum(self.utf8_bytes)
        )

    def __repr__(self) -> str:
        return (
            f"{self.nats_per_token:.3f} nats per token, {self.bits_per_byte:.3f} bits "
            f"per byte ({len(self.nats)} passages, {sum(self.tokens)} tokens)"
        )


def score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    passages: Sequence[Passage],
    *,
    max_length: int = WINDOW,
    batch_size: int = 4,
) -> Score:
    """Score passages; dropout is off meanwhile.

    A text without context is preceded by the tokenizer's first token, so that its own
    first token is scored too (as lm-eval does).

    Args:
        model: With or without adapter; its mode is restored afterwards.
        tokenizer: Of the model.
        passages: At least one.
        max_length: Longest sequence in tokens; a passage that follows another one and
            would not fit behind it starts a new sequence.
        batch_size: Sequences scored together.

    Raises:
        ValueError: If there is no passage, or one is too long or empty.
    """
    if not passages:
        raise ValueError("No passage to score; expected at least one. Empty file?")
    rows = _rows(passages, tokenizer, max_length)
    nats = torch.zeros(len(passages), dtype=torch.float64)
    was_training = model.training
    model.eval()
    with torch.no_grad():  # as the trainer: caches stay usable for training
        for start in range(0, len(rows), batch_size):
            nats += _summed_nats(model, rows[start : start + batch_size], len(nats))
    model.train(was_training)
    counts = [0] * len(passages)
    for row in rows:
        for owner in row.owners:
            if owner != NOBODY:
                counts[owner] += 1
    sizes = tuple(len(passage.text.encode()) for passage in passages)
    return Score(tuple(nats.tolist()), tuple(counts), sizes)


@dataclass
class _Row:
    """One sequence; each token belongs to a passage, or to nobody's score."""

    tokens: list[int]
    owners: list[int]


def _rows(
    passages: Sequence[Passage], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[_Row]:
    rows: list[_Row] = []
    for index, passage in enumerate(passages):
        before, text = _encode(passage, tokenizer)
        if not 0 < len(text) <= max_length - len(before):
            raise ValueError(
                f"Passage {passage.text[:30]!r} has {len(text)} tokens after "
                f"{len(before)} of context; expected at least one, and together at "
                f"most {max_length}. Split it, or raise max_length."
            )
        fits = rows and len(rows[-1].tokens) + len(text) <= max_length
        if not (passage.follows and fits):
            rows.append(_Row(before, [NOBODY] * len(before)))
        rows[-1].tokens += text
        rows[-1].owners += [index] * len(text)
    return rows


def _encode(
    passage: Passage, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[int]]:
    """Tokens before the text, at least one, and tokens of the text."""
    if not passage.context:
        start = tokenizer.bos_token_id
        start = tokenizer.eos_token_id if start is None else start
        return [start], tokenizer(passage.text, add_special_tokens=False)["input_ids"]
    special = not passage.context.startswith(tokenizer.bos_token or "\0")
    whole = tokenizer(passage.context + passage.text, add_special_tokens=special)
    before = tokenizer(passage.context, add_special_tokens=special)["input_ids"]
    return before, whole["input_ids"][len(before) :]


def _summed_nats(
    model: PreTrainedModel, rows: Sequence[_Row], passages: int
) -> torch.Tensor:
    """Negative log-likelihood of each passage's tokens in these rows, (passages,)."""
    tokens = _padded([row.tokens for row in rows], 0)  # (batch, seq)
    owners = _padded([row.owners for row in rows], NOBODY)[:, 1:]
    lengths = torch.tensor([len(row.tokens) for row in rows])
    mask = torch.arange(tokens.shape[1])[None] < lengths[:, None]
    logits = model(
        input_ids=tokens.to(model.device),
        attention_mask=mask.long().to(model.device),
    ).logits[:, :-1]
    scored = owners != NOBODY  # the vocabulary is what costs: only where it counts
    losses = F.cross_entropy(
        logits[scored.to(logits.device)].float(),
        tokens[:, 1:][scored].to(logits.device),
        reduction="none",
    )
    sums = torch.zeros(passages, dtype=torch.float64)
    return sums.index_add_(0, owners[scored], losses.double().cpu())


def _padded(rows: Sequence[list[int]], value: int) -> torch.Tensor:
    tensors = [torch.tensor(row) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=value)

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
from course_utils.tokens import IGNORE_INDEX

GENERAL_TEXT = DATA_FOLDER / "text" / "general.txt"


@dataclass(frozen=True)
class Passage:
    """A text to be scored, and what stands before it without being scored."""

    text: str
    context: str = ""


class Question(Protocol):
    """What is read of a multiple-choice question."""

    question: str
    choices: Sequence[str]
    answer: int


def general_passages(path: Path = GENERAL_TEXT) -> list[Passage]:
    """The paragraphs of a text file, each on its own."""
    paragraphs = path.read_text(encoding="utf-8").split("\n\n")
    return [Passage(text.strip()) for text in paragraphs if text.strip()]


def science_passages(questions: Iterable[Question]) -> list[Passage]:
    """The right choice of each question, in the form of lm-eval's ARC-Easy."""
    return [
        Passage(f" {q.choices[q.answer]}", f"Question: {q.question}\nAnswer:")
        for q in questions
    ]


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
    max_length: int,
    batch_size: int = 4,
) -> Score:
    """Score passages; dropout and adapter training are off meanwhile.

    A passage without context is preceded by the tokenizer's first token, so that
    its own first token is scored too (as lm-eval does).

    Args:
        model: With or without adapter; its mode is restored afterwards.
        tokenizer: Of the model.
        passages: At least one.
        max_length: Longest sequence in tokens, context included.
        batch_size: Sequences scored together.

    Raises:
        ValueError: If there is no passage, or one is too long or empty.
    """
    if not passages:
        raise ValueError("No passage to score; expected at least one. Empty file?")
    rows = [_encode(passage, tokenizer, max_length) for passage in passages]
    was_training = model.training
    model.eval()
    with torch.no_grad():  # as the trainer: caches stay usable for training
        nats = [
            value
            for start in range(0, len(rows), batch_size)
            for value in _summed_nats(model, rows[start : start + batch_size])
        ]
    model.train(was_training)
    return Score(
        tuple(nats),
        tuple(len(tokens) - first for tokens, first in rows),
        tuple(len(passage.text.encode()) for passage in passages),
    )


def _encode(
    passage: Passage, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[list[int], int]:
    """All tokens, and the index of the first that is scored."""
    if passage.context:
        special = not passage.context.startswith(tokenizer.bos_token or "\0")
        whole = tokenizer(passage.context + passage.text, add_special_tokens=special)
        context = tokenizer(passage.context, add_special_tokens=special)
        tokens, first = whole["input_ids"], len(context["input_ids"])
    else:
        start = tokenizer.bos_token_id
        start = tokenizer.eos_token_id if start is None else start
        text = tokenizer(passage.text, add_special_tokens=False)["input_ids"]
        tokens, first = [start, *text], 1
    if not first < len(tokens) <= max_length:
        raise ValueError(
            f"Passage {passage.text[:30]!r} has {len(tokens)} tokens with its context "
            f"of {first}; expected more than the context and at most {max_length}. "
            "Split it, or raise max_length."
        )
    return tokens, first


def _summed_nats(
    model: PreTrainedModel, rows: Sequence[tuple[list[int], int]]
) -> list[float]:
    """Negative log-likelihood of each row's scored tokens."""
    inputs = [torch.tensor(tokens) for tokens, _ in rows]
    labels = [
        torch.tensor([IGNORE_INDEX] * first + tokens[first:]) for tokens, first in rows
    ]
    tokens = pad_sequence(inputs, batch_first=True)  # (batch, seq)
    targets = pad_sequence(labels, batch_first=True, padding_value=IGNORE_INDEX)
    lengths = torch.tensor([len(row) for row in inputs])
    mask = torch.arange(tokens.shape[1])[None] < lengths[:, None]
    tokens, mask = tokens.to(model.device), mask.long().to(model.device)
    logits = model(input_ids=tokens, attention_mask=mask).logits[:, :-1].float()
    losses = F.cross_entropy(
        logits.transpose(1, 2),  # (batch, vocab, seq - 1)
        targets[:, 1:].to(logits.device),
        ignore_index=IGNORE_INDEX,
        reduction="none",
    )
    return losses.double().sum(dim=1).tolist()

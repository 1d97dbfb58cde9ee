"""How likely does a model find a text? Passages and their scores.

A passage is a text, with or without a context in front of it. Its score is the
summed negative log-likelihood of its tokens, so that scores of one text compare
between tokenizers: in bits per byte.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from course_utils.curves.losses import bits_per_byte, perplexity
from course_utils.data.conversation import Conversation
from course_utils.data.questions import ScienceQuestion
from course_utils.data.templates import rendered
from course_utils.data.tokens import prompt_and_answer_ids, text_ids
from course_utils.model.generation import inference
from course_utils.places import DATA_FOLDER
from course_utils.statistics.power import ALPHA

WINDOW = 2048  # tokens; the course's texts fit, and each of its models reads so far
_UNSCORED = -1  # owner of a token that is not scored
_GENERAL_TEXT = DATA_FOLDER / "text" / "general.txt"

# One sequence: its tokens, and for each the index of its passage, or _UNSCORED.
_Row = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Passage:
    """A text to be scored, after a context that is not."""

    text: str
    context: str = ""
    follows: bool = False  # it goes on where the passage before it ended
    answers: bool = field(default=False, repr=False)  # the context is a chat's prompt


def general_passages(path: Path = _GENERAL_TEXT) -> list[Passage]:
    """The paragraphs of a text file, each read after those before it.

    Alone, a paragraph's first tokens would decide the score: a chat model is sure
    that no text begins with them.
    """
    paragraphs = path.read_text(encoding="utf-8").strip().split("\n\n")
    first, *others = [text.strip() for text in paragraphs if text.strip()]
    return [Passage(first), *(Passage(f"\n\n{t}", follows=True) for t in others)]


def science_passages(questions: Iterable[ScienceQuestion]) -> list[Passage]:
    """The right choice of each question, in the form of lm-eval's ARC-Easy."""
    return [_choice(q, q.answer) for q in questions]


def wrong_passages(questions: Iterable[ScienceQuestion]) -> list[Passage]:
    """A wrong choice of each, the control: knowledge is what right ones gain more."""
    return [_choice(q, (q.answer + 1) % len(q.choices)) for q in questions]


def _choice(question: ScienceQuestion, index: int) -> Passage:
    context = f"Question: {question.question}\nAnswer:"
    return Passage(f" {question.choices[index]}", context)


def answer_passages(
    conversations: Iterable[Conversation], tokenizer: PreTrainedTokenizerBase
) -> list[Passage]:
    """The answer of each conversation, after its request in the chat template."""
    asked = partial(rendered, tokenizer, add_generation_prompt=True)
    chats = ((asked(row.messages[:-1]), row.answer) for row in conversations)
    return [Passage(answer, prompt, answers=True) for prompt, answer in chats]


@dataclass(frozen=True)
class Score:
    """How a model finds some passages; three numbers for each."""

    nats: tuple[float, ...]  # summed negative log-likelihood of the text's tokens
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
        sizes = sum(self.tokens), sum(self.utf8_bytes)
        return bits_per_byte(self.nats_per_token, *sizes)

    def __repr__(self) -> str:
        return (
            f"{self.nats_per_token:.3f} nats per token, {self.bits_per_byte:.3f} bits "
            f"per byte ({len(self.nats)} passages, {sum(self.tokens)} tokens)"
        )


def score_passages(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    passages: Sequence[Passage],
    *,
    max_length: int = WINDOW,
    batch_size: int = 4,
) -> Score:
    """Score passages, in inference mode; the model's own mode is restored afterwards.

    A text without context is preceded by the tokenizer's first token, which is not
    scored, so that its own first token is.

    Args:
        max_length: Of a sequence, in tokens; a passage that would not fit behind the
            one that it follows starts a new one.
        batch_size: Sequences scored together.

    Raises:
        ValueError: If there is no passage, or one is too long or empty, or shares a
            token with its context.
    """
    if not passages:
        raise ValueError("No passage to score; expected at least one. Empty file?")
    rows = _rows(passages, tokenizer, max_length)
    nats = torch.zeros(len(passages), dtype=torch.float64)
    with inference(model), torch.no_grad():  # as the trainer: caches stay usable
        for start in range(0, len(rows), batch_size):
            nats += _summed_nats(model, rows[start : start + batch_size], len(nats))
    counts = Counter(owner for _, owners in rows for owner in owners)
    tokens = tuple(counts[index] for index in range(len(passages)))
    sizes = tuple(len(passage.text.encode()) for passage in passages)
    return Score(tuple(nats.tolist()), tokens, sizes)


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
        fits = rows and len(rows[-1][0]) + len(text) <= max_length
        if not (passage.follows and fits):
            rows.append((before, [_UNSCORED] * len(before)))
        tokens, owners = rows[-1]
        tokens += text
        owners += [index] * len(text)
    return rows


def _encode(passage: Passage, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Tokens before the text, at least one, and tokens of the text."""
    if passage.answers:
        return prompt_and_answer_ids(tokenizer, passage.context, passage.text)
    if not passage.context:
        start = tokenizer.bos_token_id
        start = tokenizer.eos_token_id if start is None else start
        return [[start], tokenizer(passage.text, add_special_tokens=False)["input_ids"]]
    before = text_ids(tokenizer, passage.context)
    whole = text_ids(tokenizer, passage.context + passage.text)  # as lm-eval does
    if whole[: len(before)] != before:
        raise ValueError(
            f"Passage {passage.text[:30]!r} shares a token with its context "
            f"…{passage.context[-30:]!r}. Begin it with a space or a new line, or let "
            "`answers` tokenise the two apart."
        )
    return [before, whole[len(before) :]]


def _summed_nats(
    model: PreTrainedModel, rows: Sequence[_Row], passages: int
) -> torch.Tensor:
    """Negative log-likelihood of each passage's tokens in these rows, (passages,)."""
    tokens = _padded([tokens for tokens, _ in rows], 0)  # (batch, seq)
    owners = _padded([owners for _, owners in rows], _UNSCORED)[:, 1:]
    mask = _padded([[1] * len(tokens) for tokens, _ in rows], 0)
    logits = model(
        input_ids=tokens.to(model.device), attention_mask=mask.to(model.device)
    ).logits[:, -tokens.shape[1] : -1]  # a trained prompt stands before the text
    scored = owners != _UNSCORED  # the vocabulary is what costs: only where it counts
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


@dataclass(frozen=True)
class Change:
    """Bits per byte of the same passages before and after, in pairs."""

    before: float
    after: float
    low: float  # of the 95 % interval of after - before
    high: float
    passages: int

    @property
    def rise(self) -> float:
        """After - before: above zero something was forgotten, below it was gained."""
        return self.after - self.before

    def __str__(self) -> str:
        return (
            f"{self.before:.3f} → {self.after:.3f} bits per byte, {self.rise:+.3f} "
            f"(95 % interval {self.low:+.3f} to {self.high:+.3f}, n = {self.passages})"
        )


def change(before: Score, after: Score) -> Change:
    """Compare two models on the same passages; a ValueError if these are not.

    The difference is a ratio of sums: bits over bytes. Its interval takes passages
    as the sample (Student's t, linearised ratio), so it speaks of further passages
    of the same kind.
    """
    if before.utf8_bytes != after.utf8_bytes:
        raise ValueError(
            f"{len(before.nats)} and {len(after.nats)} passages of "
            f"{sum(before.utf8_bytes)} and {sum(after.utf8_bytes)} bytes: expected the "
            "same passages. Score both models on one list."
        )
    sizes = np.array(after.utf8_bytes, dtype=float)
    bits = (np.array(after.nats) - np.array(before.nats)) / math.log(2)
    rise, number = bits.sum() / sizes.sum(), len(sizes)
    half = math.inf
    if number > 1:
        squares = ((bits - rise * sizes) ** 2).sum()
        error = math.sqrt(squares / (number * (number - 1)))
        half = float(stats.t.ppf(1 - ALPHA / 2, number - 1)) * error / sizes.mean()
    low, high = float(rise - half), float(rise + half)
    return Change(before.bits_per_byte, after.bits_per_byte, low, high, number)


@dataclass(eq=False)
class ForgettingMeter(TrainerCallback):
    """Scores texts by name, on demand and when a training that it is added to ends."""

    texts: Mapping[str, Sequence[Passage]]
    max_length: int = WINDOW  # tokens
    at_the_end: dict[str, Score] = field(default_factory=dict, init=False)

    def read(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, Score]:
        """Score all texts with a model."""
        return {
            name: score_passages(model, tokenizer, passages, max_length=self.max_length)
            for name, passages in self.texts.items()
        }

    def on_train_end(self, args, state, control, **kwargs):
        """Keep the reading of the trained model, before it is freed."""
        self.at_the_end = self.read(kwargs["model"], kwargs["processing_class"])

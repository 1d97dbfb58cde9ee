"""From conversations to tokens: the chat template, the label mask, the loss.

Here, in the open, rather than inside the trainer: what notebook 03 prints is what the
loss sees.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch.nn.functional as F
from datasets import Dataset
from jinja2 import TemplateError
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from course_utils import CourseError
from course_utils.data.conversation import Conversation
from course_utils.data.files import SHOWN_FAULTS
from course_utils.data.templates import (
    adds_bos,
    end_mark,
    fitted,
    rendered,
    takes_system,
)
from course_utils.recipes.plan import LAST_ANSWER, TRAIN_ON

IGNORE_INDEX = -100  # PyTorch's default: a label with this value carries no loss
_NO_MARKS = {"", "<think>", "</think>"}  # an answer may think
# Why a row is refused, and the way on.
_NO_ANSWER = "is the assistant's text empty? Leave such rows out."
_REFUSED = (
    "choose the recipe's template 'alpaca', which takes any chat of user and "
    "assistant, or put these messages into a form that the model knows."
)
_NO_PREFIX = (
    "no label mask fits where what the template writes for the prompt is not the "
    "beginning of what it writes for prompt and answer. Does it begin answers with a "
    "text that it then drops (`<think>`)? Choose the recipe's template 'training', "
    "TRL's version of it, or 'alpaca'."
)
_REWRITES_TURNS = (
    "this template writes them otherwise when others follow (Qwen3 takes out what it "
    "thought), so they cannot all be learnt in one row. Choose train_on 'last_answer', "
    "or the recipe's template 'training', TRL's version that keeps them."
)
_DROPS = (
    "the template takes it out (what the model thinks?), so it would not be learnt. "
    "Choose the recipe's template 'training', TRL's version that keeps it, or take it "
    "out of the row."
)
_HOLDS_MARKS = (
    "in a prompt that is no text but a mark: it ends its turn or opens another one, "
    "and is learnt in an answer. Take it out, or leave the row out."
)
_OTHER_END = (
    "the template ends answers with {mark}, the tokenizer's end token is {end}, and "
    "the labels would hold none: a model tuned so never stops. Is it a base model with "
    "the template of its instruct version? Set tokenizer.eos_token = {mark!r}, as "
    "`use_template(tokenizer, 'chat')` does."
)
_ENDLESS = (
    "the template writes no mark behind an answer, so the labels hold no end token, "
    "and a model tuned so never stops. Choose the recipe's template 'alpaca', which "
    "writes the end token, or 'training', TRL's version."
)
_NO_TOOLS = (
    "this template leaves them out or refuses them, and the answers would lack their "
    "reason. Choose a model whose template calls tools (Qwen3, Llama 3.1), or leave "
    "such rows out."
)


class NothingToLearn(CourseError, ValueError):
    """No label carries loss."""


@dataclass(frozen=True)
class RowFault:
    """Why a row cannot be trained on."""

    row: str  # its id
    found: str  # what is wrong with this one
    cause: str  # what that means and what to do: the same for all rows of its kind
    tokens: int = 0  # of a row that is too long


class UnusableRows(CourseError, ValueError):
    """Rows cannot be trained on; the message says which, why, and what to do."""

    def __init__(self, faults: Sequence[RowFault]):
        self.faults = tuple(faults)
        kinds: dict[str, list[RowFault]] = {}
        for fault in faults:
            kinds.setdefault(fault.cause, []).append(fault)
        shown = max(1, SHOWN_FAULTS // len(kinds))
        super().__init__("\n".join(_told(c, f, shown) for c, f in kinds.items()))


def _told(cause: str, faults: Sequence[RowFault], shown: int) -> str:
    """Cause and rows; of several rows the cause stands first."""
    rows = [f"Row {fault.row!r} {fault.found}" for fault in faults]
    if len(rows) == 1:
        return f"{rows[0]}: {cause}"
    longest = max(fault.tokens for fault in faults)
    end = f" The longest has {longest:,} tokens." if longest else ""
    more = [f"… and {len(rows) - shown:,} more rows"] if len(rows) > shown else []
    told = [f"{len(rows):,} rows: {cause}{end}", *rows[:shown], *more]
    return "\n  ".join(told)


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokens of a text, after the mark that the tokenizer may put at its beginning.

    A text that has the mark, as a rendered template may, gets no second one.
    """
    marked = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
    return tokenizer(text, add_special_tokens=not marked)["input_ids"]


def prompt_and_answer_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str
) -> list[list[int]]:
    """Tokens of a rendered prompt and of what follows it, as when the model answers.

    Tokenised apart: in one piece `### Response:` and an answer that begins with `{`
    would share a token, which no prompt ever ends with.
    """
    return tokenizer([prompt, answer], add_special_tokens=False)["input_ids"]


def tokenize_conversation(
    conversation: Conversation,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    train_on: str = LAST_ANSWER,
) -> dict[str, list[int]]:
    """Tokens of a whole conversation, with labels on the last answer, or on all.

    The prompt (template, requests and the headers of answers) is labelled
    `IGNORE_INDEX`; an answer and the token that ends it are their own labels. What the
    template writes after the last of these tokens is left out.

    Raises:
        UnusableRows: If the row is too long, has no answer, or holds the template's
            own marks; or if the template and its end token allow no label mask.
    """
    pieces = _pieces(conversation, tokenizer, train_on)
    apart = tokenizer([text for text, _ in pieces], add_special_tokens=False)
    tokens, labels = [], []
    for ids, (_, learnt) in zip(apart["input_ids"], pieces, strict=True):
        tokens += ids
        labels += ids if learnt else [IGNORE_INDEX] * len(ids)
    if max_length is not None and (length := len(tokens)) > max_length:
        found = f"has {length} tokens, max_length is {max_length}"
        cause = (
            "cutting it would teach the model to stop in mid-sentence. Raise "
            "max_length, or shorten or leave out such rows."
        )
        raise UnusableRows([RowFault(conversation.id, found, cause, length)])
    return {
        "input_ids": tokens,
        "attention_mask": [1] * len(tokens),
        "labels": labels,
    }


def _pieces(
    conversation: Conversation, tokenizer: PreTrainedTokenizerBase, train_on: str
) -> list[tuple[str, bool]]:
    """What the template writes, cut where answers begin and end; whether it is learnt.

    Each prompt is the one that the model is asked with, as far as that answer.
    """
    if train_on not in TRAIN_ON:
        raise ValueError(
            f"train_on is {train_on!r}, expected {' or '.join(TRAIN_ON)}. Misspelt?"
        )
    said = fitted(tokenizer, conversation.messages)
    answers = [at for at, turn in enumerate(said) if turn["role"] == "assistant"]
    fault = partial(RowFault, conversation.id)
    if not answers or answers[-1] != len(said) - 1:
        raise UnusableRows([fault("has no answer token", _NO_ANSWER)])
    from trl.chat_template_utils import supports_tool_calling  # not before Unsloth

    calls = any("tool_calls" in turn or turn["role"] == "tool" for turn in said)
    if calls and not supports_tool_calling(tokenizer):
        raise UnusableRows([fault("holds calls of tools", _NO_TOOLS)])
    written, pieces = "", []
    for at in answers if train_on != LAST_ANSWER else answers[-1:]:
        asked, answer = _asked_and_answer(conversation, said[: at + 1], tokenizer)
        if not asked.startswith(written):
            raise UnusableRows([fault("has earlier answers", _REWRITES_TURNS)])
        pieces += [(asked.removeprefix(written), False), (answer, True)]
        written = asked + answer
    return pieces


def _asked_and_answer(
    conversation: Conversation,
    said: Sequence[dict[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[str, str]:
    """The prompt of the last turn and that turn with its end token, as rendered."""
    fault = partial(RowFault, conversation.id)
    tools = conversation.notes.get("tools")
    try:
        marks = _marks(tokenizer)
        asked = rendered(tokenizer, said[:-1], add_generation_prompt=True, tools=tools)
        whole = rendered(tokenizer, said, tools=tools)
    except (TemplateError, TypeError, ValueError) as error:
        found = f"is refused by the template ({error})"
        raise UnusableRows([fault(found, _REFUSED)]) from None
    text, calls = said[-1]["content"], said[-1].get("tool_calls")
    if not text.strip() and not calls:
        raise UnusableRows([fault("has no answer token", _NO_ANSWER)])
    if not whole.startswith(asked):
        raise UnusableRows([fault("begins otherwise than its prompt", _NO_PREFIX)])
    if held := [m for m in marks if any(m in turn["content"] for turn in said)]:
        raise UnusableRows([fault(f"holds {', '.join(held)}", _HOLDS_MARKS)])
    end, rest = tokenizer.eos_token, whole.removeprefix(asked)
    if not end or end not in rest:
        mark = end_mark(tokenizer)
        cause = _OTHER_END.format(mark=mark, end=end) if mark else _ENDLESS
        raise UnusableRows([fault(f"ends in {rest[-20:]!r}", cause)])
    answer = rest[: rest.index(end) + len(end)]
    if any(piece.strip() not in answer for piece in re.split("</?think>", text)):
        raise UnusableRows([fault("is written without a part of its answer", _DROPS)])
    return asked, answer


def _marks(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Special tokens, and the lines that the template writes before each text."""
    chat = [{"role": "user", "content": "⟨request⟩"}]
    asked = rendered(tokenizer, chat, add_generation_prompt=True)
    if adds_bos(tokenizer):
        asked = asked.removeprefix(tokenizer.bos_token)
    pieces = asked.split("⟨request⟩")
    lines = {piece.strip().rpartition("\n")[2] for piece in pieces} - _NO_MARKS
    added = tokenizer.added_tokens_decoder.values()
    return [*(token.content for token in added if token.special), *lines]


def completion_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-likelihood of the answer's tokens, in nats per token.

    Position `t` predicts token `t + 1`, so logits and labels are shifted by one. Tokens
    labelled `IGNORE_INDEX` (prompt, padding) count neither in the sum nor in the mean.

    Args:
        logits: (batch, seq, vocab), before softmax.
        labels: (batch, seq) token ids; NothingToLearn if none carries loss.
    """
    if logits.shape[:2] != labels.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} "
            "must agree on (batch, seq)."
        )
    targets = labels[:, 1:]
    if (targets == IGNORE_INDEX).all():
        raise NothingToLearn(
            f"All {targets.numel()} targets are {IGNORE_INDEX}: no answer token is "
            "left. Does the prompt mask cover the answer, or max_length cut it off?"
        )
    scores = logits[:, :-1].float()  # sums in 16 bit lose digits
    return F.cross_entropy(
        scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX
    )


def to_dataset(
    conversations: Sequence[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    train_on: str = LAST_ANSWER,
) -> Dataset:
    """Tokenised conversations as the trainer takes them; all of them, or none.

    UnusableRows names every row that `tokenize_conversation` refuses. A line says how
    many system messages were put in front of a request; see `templates.fitted`.
    """
    return Dataset.from_list(_tokenized(conversations, tokenizer, max_length, train_on))


def row_lengths(
    conversations: Sequence[Conversation], tokenizer: PreTrainedTokenizerBase
) -> list[int]:
    """Tokens of each conversation, to be held against max_length."""
    rows = _tokenized(conversations, tokenizer, None, LAST_ANSWER)
    return [len(row["input_ids"]) for row in rows]


def trained_share(
    conversations: Sequence[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    train_on: str = LAST_ANSWER,
) -> float:
    """Share of the tokens of the assistant's texts that carry loss; 1 is all."""
    texts = [
        [turn["content"] for turn in row.messages if turn["role"] == "assistant"]
        for row in conversations
    ]
    counts = [
        [len(ids) for ids in tokenizer(said, add_special_tokens=False)["input_ids"]]
        for said in texts
        if said
    ]
    learnt = sum(said[-1] if train_on == LAST_ANSWER else sum(said) for said in counts)
    return learnt / max(1, sum(map(sum, counts)))


def _tokenized(
    conversations: Sequence[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    train_on: str,
) -> list[dict[str, list[int]]]:
    merged = sum(row.messages[0]["role"] == "system" for row in conversations)
    if merged and not takes_system(tokenizer):
        print(
            f"{merged:,} system messages stand in front of the first request, since "
            "the template knows no system message."
        )
    rows, faults = [], []
    for conversation in conversations:
        try:
            row = tokenize_conversation(conversation, tokenizer, max_length, train_on)
            rows.append(row)
        except UnusableRows as error:
            faults += error.faults
    if faults:
        raise UnusableRows(faults)
    return rows

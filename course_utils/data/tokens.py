"""From conversations to tokens: the chat template, the label mask, the loss.

Here, in the open, rather than inside the trainer: what notebook 03 prints is what the
loss sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from datasets import Dataset
from jinja2 import TemplateError
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from course_utils import CourseError
from course_utils.data.conversation import Conversation
from course_utils.data.files import SHOWN_FAULTS
from course_utils.data.templates import adds_bos

IGNORE_INDEX = -100  # PyTorch's default: a label with this value carries no loss


class NothingToLearn(CourseError, ValueError):
    """No label carries loss."""


class UnusableRows(CourseError, ValueError):
    """Rows cannot be trained on; the message says which, why, and what to do."""


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
    conversation: Conversation, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> dict[str, list[int]]:
    """Tokens of a whole conversation, with labels on the last answer only.

    The prompt (template, request and the header of the answer) is labelled
    `IGNORE_INDEX`; the answer and the token that ends it are their own labels. What
    the template writes after that token is left out.

    Raises:
        UnusableRows: If the row is too long, has no answer, or holds the template's
            own marks; or if the template and its end token allow no label mask.
    """
    row, end = f"Row {conversation.id!r}", tokenizer.eos_token_id
    asked, rest = _prompt_and_rest(conversation, tokenizer)
    prompt, answer = prompt_and_answer_ids(tokenizer, asked, rest)
    if end not in answer:
        raise UnusableRows(
            f"{row} ends in {rest[-20:]!r}, without the end token "
            f"{tokenizer.eos_token!r}: a model tuned so never stops. Does a base model "
            "have the template of its instruct version? Set tokenizer.eos_token to the "
            "mark that ends an answer."
        )
    answer = answer[: answer.index(end) + 1]
    if len(answer) < 2 or not conversation.answer.strip():
        raise UnusableRows(f"{row} has no answer token: is the assistant's text empty?")
    if (length := len(prompt) + len(answer)) > max_length:
        raise UnusableRows(
            f"{row} has {length} tokens, max_length is {max_length}: cutting it would "
            "teach the model to stop in mid-sentence. Raise max_length or shorten it."
        )
    return {
        "input_ids": prompt + answer,
        "attention_mask": [1] * length,
        "labels": [IGNORE_INDEX] * len(prompt) + answer,
    }


def _prompt_and_rest(
    conversation: Conversation, tokenizer: PreTrainedTokenizerBase
) -> tuple[str, str]:
    """What the template writes up to the last answer, and from there on."""
    row, said = f"Row {conversation.id!r}", conversation.messages
    try:
        marks = _marks(tokenizer)
        asked = rendered(tokenizer, said[:-1], add_generation_prompt=True)
        whole = rendered(tokenizer, said)
    except TemplateError as error:
        raise UnusableRows(
            f"{row} is refused by the template: {error}. Some know no system message: "
            "put its text in front of the first request, or choose the recipe's "
            "template 'alpaca'."
        ) from None
    if not whole.startswith(asked):
        raise UnusableRows(
            f"{row}: what the template writes for the prompt is not the beginning of "
            "what it writes for prompt and answer, so no label mask fits. Does it "
            "rewrite earlier turns, or begin answers with a text that it then drops "
            "(DeepSeek's `<think>`)? Set tokenizer.chat_template to one that does not, "
            "or choose the recipe's template 'alpaca'."
        )
    if held := [mark for mark in marks if any(mark in m["content"] for m in said)]:
        raise UnusableRows(
            f"{row} holds {', '.join(held)}, in a prompt no text but a mark: it ends "
            "its turn or opens another one, and is learnt in an answer. Take it out, "
            "or leave the row out."
        )
    return asked, whole.removeprefix(asked)


def rendered(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[dict[str, str]],
    add_generation_prompt: bool = False,
) -> str:
    """What the tokenizer's template writes for a chat."""
    written = tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
    )
    return cast(str, written)


def _marks(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Special tokens, and the lines that the template writes before each text."""
    chat = [{"role": "user", "content": "⟨request⟩"}]
    asked = rendered(tokenizer, chat, add_generation_prompt=True)
    if adds_bos(tokenizer):
        asked = asked.removeprefix(tokenizer.bos_token)
    pieces = asked.split("⟨request⟩")
    lines = [piece.strip().rpartition("\n")[2] for piece in pieces]
    added = tokenizer.added_tokens_decoder.values()
    return [*(token.content for token in added if token.special), *filter(None, lines)]


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
) -> Dataset:
    """Tokenised conversations as the trainer takes them; all of them, or none.

    UnusableRows names every row that `tokenize_conversation` refuses.
    """
    rows, faults = [], []
    for conversation in conversations:
        try:
            rows.append(tokenize_conversation(conversation, tokenizer, max_length))
        except UnusableRows as error:
            faults.append(str(error))
    if more := faults[SHOWN_FAULTS:]:
        faults[SHOWN_FAULTS:] = [f"… and {len(more)} more rows."]
    if faults:
        raise UnusableRows("\n".join(faults))
    return Dataset.from_list(rows)

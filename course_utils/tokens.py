"""From conversations to tokens: the chat template, the label mask, the loss.

Conversations are turned into tokens and labels here, in the open, rather than
inside the trainer: what notebook 03 prints is what the loss sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from course_utils.data import Conversation

IGNORE_INDEX = -100  # PyTorch's default: a label with this value carries no loss


class NothingToLearn(ValueError):
    """A row has no token that carries loss."""


def tokenize_conversation(
    conversation: Conversation, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> dict[str, list[int]]:
    """Tokens of a whole conversation, with labels on the last answer only.

    Prompt and answer are tokenised apart, as they are when the model answers: in one
    piece `### Response:` and an answer that begins with `{` would share a token, which
    no prompt ever ends with.

    The prompt (template, request and the header of the answer) is labelled
    `IGNORE_INDEX`; the answer and the token that ends it are their own labels. What
    the template writes after that token carries no loss either.

    Args:
        conversation: Ends with an assistant message.
        tokenizer: Brings the chat template.
        max_length: Longest allowed sequence, in tokens.

    Returns:
        `input_ids`, `attention_mask` and `labels`, lists of equal length.

    Raises:
        ValueError: If the sequence is too long, or the whole text does not begin with
            the prompt (a template that rewrites earlier turns).
        NothingToLearn: If no answer token is left.
    """
    messages = list(conversation.messages)
    asked = _template(tokenizer, messages[:-1], add_generation_prompt=True)
    whole_text = _template(tokenizer, messages, add_generation_prompt=False)
    if not whole_text.startswith(asked):
        raise ValueError(
            f"Row {conversation.id!r}: what the template writes for the prompt is not "
            "the beginning of what it writes for prompt and answer, so no label mask "
            "fits. Does the template drop or rewrite earlier turns?"
        )
    prompt = _tokens(tokenizer, asked)
    whole = prompt + _tokens(tokenizer, whole_text.removeprefix(asked))
    end = _end_of_answer(whole, len(prompt), tokenizer.eos_token_id)
    if end > max_length:
        raise ValueError(
            f"Row {conversation.id!r} has {end} tokens, max_length is {max_length}: "
            "cutting it would teach the model to stop in mid-sentence. Raise "
            "max_length or shorten the row."
        )
    if end <= len(prompt) + 1:
        raise NothingToLearn(
            f"Row {conversation.id!r} has no answer token behind {len(prompt)} prompt "
            "tokens. Is the assistant's text empty?"
        )
    tokens = whole[:end]
    labels = [IGNORE_INDEX] * len(prompt) + tokens[len(prompt) :]
    return {"input_ids": tokens, "attention_mask": [1] * end, "labels": labels}


def _template(tokenizer, messages, *, add_generation_prompt: bool) -> str:
    return tokenizer.apply_chat_template(
        messages, add_generation_prompt=add_generation_prompt, tokenize=False
    )


def _tokens(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _end_of_answer(tokens: Sequence[int], start: int, eos: int) -> int:
    """Index behind the last end-of-text token, or the length without one."""
    for index in range(len(tokens) - 1, start - 1, -1):
        if tokens[index] == eos:
            return index + 1
    return len(tokens)


def completion_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-likelihood of the answer's tokens, in nats per token.

    Position ``t`` predicts token ``t + 1``, so logits and labels are shifted by
    one. Tokens labelled ``IGNORE_INDEX`` (prompt, padding) count neither in the
    sum nor in the mean.

    Args:
        logits: (batch, seq, vocab), before softmax.
        labels: (batch, seq) token ids; ``IGNORE_INDEX`` means no loss.

    Raises:
        ValueError: If shapes disagree.
        NothingToLearn: If no label carries loss.
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


def count_tokens(
    messages: Sequence[Mapping[str, str]], tokenizer: PreTrainedTokenizerBase
) -> int:
    """Tokens of a chat under the tokenizer's template."""
    text = _template(tokenizer, list(messages), add_generation_prompt=False)
    return len(_tokens(tokenizer, text))


def to_dataset(
    conversations: Sequence[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> Dataset:
    """Tokenised conversations as the trainer takes them."""
    return Dataset.from_list(
        [tokenize_conversation(row, tokenizer, max_length) for row in conversations]
    )

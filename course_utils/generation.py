"""Answers of a chat model: greedy or drawn, and whether the model ended them itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens when the likeliest is not simply taken.

    Attributes:
        temperature: Divides the scores; 1 leaves the model's distribution as it is.
        top_p: Only the likeliest tokens that hold this much probability together.
        seed: Of the draws.
    """

    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True)
class Generated:
    """An answer, and whether the model ended it or the limit did."""

    text: str
    stopped: bool


def decoding(max_new_tokens: int, sampling: Sampling | None) -> dict[str, Any]:
    """Arguments of `generate` that choose the next token.

    Args:
        max_new_tokens: Answers are cut there when the model does not stop.
        sampling: How to draw; None takes the likeliest token each time.
    """
    if sampling is None:
        return {"max_new_tokens": max_new_tokens, "do_sample": False}
    return {
        "max_new_tokens": max_new_tokens,
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": 0,  # off; the default of 50 would cut without a word
    }


@contextmanager
def seeded(sampling: Sampling | None) -> Iterator[None]:
    """Draw from the seed of `sampling`, and leave torch's generators as they were."""
    with torch.random.fork_rng(enabled=sampling is not None):
        if sampling is not None:
            torch.manual_seed(sampling.seed)
        yield


def generate_batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[str],
    options: Mapping[str, Any],
) -> list[Generated]:
    """Answer requests together, each in a chat of one turn.

    Args:
        model: In evaluation mode.
        tokenizer: Brings the chat template; pads on the left.
        requests: What the user says, one string a chat.
        options: From `decoding`.

    Returns:
        The new text of each chat, special tokens removed.
    """
    tokenizer.padding_side = "left"  # new tokens must follow the prompt at once
    chats = [[{"role": "user", "content": request}] for request in requests]
    inputs = tokenizer.apply_chat_template(
        chats,
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
        padding=True,
    ).to(model.device)
    with torch.inference_mode():
        tokens = model.generate(
            **inputs, **options, pad_token_id=tokenizer.pad_token_id
        )
    new = tokens[:, inputs["input_ids"].shape[1] :]  # (batch, new)
    ends = end_tokens(model, tokenizer)
    texts = tokenizer.batch_decode(new, skip_special_tokens=True)
    return [
        Generated(text.strip(), stopped=not ends.isdisjoint(row))
        for text, row in zip(texts, new.tolist(), strict=True)
    ]


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every token that ends an answer; Llama 3.1 has three."""
    listed = model.generation_config.eos_token_id
    listed = [listed] if isinstance(listed, int) else listed or []
    return {*listed, tokenizer.eos_token_id}

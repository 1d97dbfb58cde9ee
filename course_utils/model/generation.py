"""Answers of a chat model: greedy or drawn, and whether the model ended them itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from course_utils.data.templates import fitted

Request = str | Sequence[dict[str, str]]  # one turn of the user, or a whole chat


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens when the likeliest is not simply taken."""

    temperature: float  # divides the scores; 1 leaves the distribution as it is
    top_p: float  # only the likeliest tokens that hold this probability together
    seed: int


@dataclass(frozen=True)
class Generated:
    """An answer, and whether the model ended it or the limit did."""

    text: str
    stopped: bool


@contextmanager
def inference(model: PreTrainedModel) -> Iterator[None]:
    """Put a model in inference mode, Unsloth's where it has one, and back.

    Back also after an exception: a training that goes on would otherwise do so without
    dropout, and with a cache of keys and values.
    """
    was_training = model.training
    getattr(model, "for_inference", model.eval)()
    try:
        yield
    finally:
        if was_training:
            getattr(model, "for_training", model.train)()


def answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    *,
    max_new_tokens: int = 96,
    batch_size: int = 20,
) -> list[str]:
    """Answer each request greedily; see `generate`. The texts alone."""
    limits = {"max_new_tokens": max_new_tokens, "batch_size": batch_size}
    return [given.text for given in generate(model, tokenizer, requests, **limits)]


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    *,
    max_new_tokens: int = 96,
    batch_size: int = 20,
    sampling: Sampling | None = None,
) -> list[Generated]:
    """Answer each request; without special tokens, in order.

    The model's mode and torch's random state are restored.

    Args:
        model: With or without adapter.
        tokenizer: Brings the chat template.
        requests: What the user says, one string a chat; or the chat's messages.
        max_new_tokens: Answers are cut there when the model does not stop.
        batch_size: Prompts generated together, padded on the left.
        sampling: How to draw; None takes the likeliest token each time.
    """
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "do_sample": False}
    answers: list[Generated] = []
    with inference(model), torch.random.fork_rng(enabled=sampling is not None):
        if sampling is not None:
            torch.manual_seed(sampling.seed)
            options |= {"do_sample": True, "temperature": sampling.temperature}
            # The default top_k of 50 would cut without a word.
            options |= {"top_p": sampling.top_p, "top_k": 0}
        for start in range(0, len(requests), batch_size):
            batch = requests[start : start + batch_size]
            answers += _generate_batch(model, tokenizer, batch, options)
    return answers


def _generate_batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    options: Mapping[str, Any],
) -> list[Generated]:
    encoded = tokenizer.apply_chat_template(
        [fitted(tokenizer, _chat(request)) for request in requests],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
        padding=True,
        tokenizer_kwargs={"padding_side": "left"},  # new tokens follow the prompt
    )
    inputs = cast(BatchEncoding, encoded).to(model.device)
    ends = end_tokens(model, tokenizer)
    stops = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": sorted(ends)}
    with torch.inference_mode():
        # pyrefly: ignore[not-callable]  # torch's __getattr__ hides the method
        tokens = model.generate(**inputs, **options, **stops)
    new = tokens[:, inputs["input_ids"].shape[1] :]  # (batch, new)
    texts = tokenizer.batch_decode(new, skip_special_tokens=True)
    return [
        Generated(text.strip(), stopped=not ends.isdisjoint(row))
        for text, row in zip(texts, new.tolist(), strict=True)
    ]


def _chat(request: Request) -> list[dict[str, str]]:
    """The messages of a request; a string is one turn of the user."""
    if isinstance(request, str):
        return [{"role": "user", "content": request}]
    return list(request)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every token that ends an answer; Llama 3.1 has three."""
    listed = model.generation_config.eos_token_id
    listed = [listed] if isinstance(listed, int) else listed or []
    return {*listed, tokenizer.eos_token_id} - {None}

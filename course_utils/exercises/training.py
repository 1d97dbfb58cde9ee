"""Exercises of tokens, labels and the trainer (lesson 03)."""

from __future__ import annotations

import math
from functools import cache

from course_utils.exercises.checking import Case, Exercise

Spans = list[tuple[int, int]]


def mask(tokens: list[int], spans: Spans) -> list[int]:
    """Labels: the tokens inside the spans, -100 everywhere else."""
    labels = [-100] * len(tokens)
    for start, stop in spans:
        labels[start:stop] = tokens[start:stop]
    return labels


def _mask_of_the_last_span(tokens: list[int], spans: Spans) -> list[int]:
    return mask(tokens, spans[-1:])


def _mask_with_its_stop(tokens: list[int], spans: Spans) -> list[int]:
    return mask(tokens, [(start, stop + 1) for start, stop in spans])


def _inverted_mask(tokens: list[int], spans: Spans) -> list[int]:
    kept = mask(tokens, spans)
    return [
        token if label == -100 else -100
        for token, label in zip(tokens, kept, strict=True)
    ]


# ChatML that ends the user's turn and forgets the assistant's.
ENDLESS = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "{% if message['role'] == 'user' %}<|im_end|>\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_USERS_ONLY = "{% if message['role'] == 'user' %}<|im_end|>\n{% endif %}"
_ONE_TURN = [
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Yes."},
]


def mend_template(template: str) -> str:
    """The template, in which every turn ends with its end token."""
    return template.replace(_USERS_ONLY, "<|im_end|>\n")


def _ends_the_whole_text(template: str) -> str:
    return template + "<|im_end|>\n"


def _ends_the_answer_alone(template: str) -> str:
    return template.replace("== 'user'", "== 'assistant'")


def _another_models_end(template: str) -> str:
    return template.replace(_USERS_ONLY, "</s>\n")


def _as_rendered(template: object) -> object:
    """What a real tokenizer writes by a template: a prompt, and one and two turns."""
    if not isinstance(template, str):
        return template
    chats = [(_ONE_TURN[:1], True), (_ONE_TURN, False), (_ONE_TURN * 2, False)]
    return [
        _tokenizer().apply_chat_template(
            chat, chat_template=template, tokenize=False, add_generation_prompt=prompt
        )
        for chat, prompt in chats
    ]


@cache
def _tokenizer():
    from course_utils.model.nano import nano_tokenizer  # loads transformers

    return nano_tokenizer()


_TURN = "<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\n"
_MENDED = [_TURN, f"{_TURN}Yes.<|im_end|>\n", f"{_TURN}Yes.<|im_end|>\n" * 2]


def count_updates(rows: int, batch: int, accumulation: int, epochs: int) -> int:
    """Optimizer updates of a whole run; the last of an epoch may be smaller."""
    return epochs * math.ceil(math.ceil(rows / batch) / accumulation)


def rate_at(step: int, total: int, warmup: int, peak: float) -> float:
    """Learning rate of a step, with a linear warm-up and a linear fall."""
    if step < warmup:
        return peak * step / warmup
    return peak * (total - step) / (total - warmup)


def _from_the_start(step: int, total: int, warmup: int, peak: float) -> float:
    if step < warmup:
        return peak * step / warmup
    return peak * (total - step) / total


def _never_falls(step: int, total: int, warmup: int, peak: float) -> float:
    return peak * min(1.0, step / warmup)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        solution=mask,
        cases=(
            Case(([5, 6, 7, 8, 9], [(1, 2), (4, 5)]), [-100, 6, -100, -100, 9]),
            Case(([5, 6, 7, 8], [(0, 1), (2, 3)]), [5, -100, 7, -100]),
            Case(([1, 2], []), [-100, -100]),
        ),
        mistakes={
            "the mask is inverted: spans are what carries loss.": _inverted_mask,
            "`stop` is excluded, as in Python's slices.": _mask_with_its_stop,
            "only the last span survived: start from the labels so far, not from a "
            "fresh list.": _mask_of_the_last_span,
        },
    ),
    Exercise(
        solution=mend_template,
        cases=(
            Case((ENDLESS,), _MENDED),
            Case((f"\n{ENDLESS}",), [f"\n{text}" for text in _MENDED]),
        ),
        mistakes={
            "the end token stands behind the prompt as well: the model would find its "
            "answer finished before it began.": _ends_the_whole_text,
            "now the answer ends, and the request no longer does.": (
                _ends_the_answer_alone
            ),
            "`</s>` is another model's end token; this one never learnt it.": (
                _another_models_end
            ),
        },
        seen_as=_as_rendered,
    ),
    Exercise(
        solution=count_updates,
        cases=(
            Case((1500, 8, 4, 2), 94),
            Case((9, 2, 4, 2), 4),
            Case((480, 2, 4, 1), 60),
        ),
        mistakes={
            "these are batches; `accumulation` of them make one update.": (
                lambda rows, batch, accumulation, epochs: (
                    epochs * math.ceil(rows / batch)
                )
            ),
            "one long epoch: the last update of each epoch is a smaller one.": (
                lambda rows, batch, accumulation, epochs: math.ceil(
                    rows * epochs / (batch * accumulation)
                )
            ),
            "the smaller last update of an epoch counts: round up.": (
                lambda rows, batch, accumulation, epochs: (
                    epochs * (rows // (batch * accumulation))
                )
            ),
        },
    ),
    Exercise(
        solution=rate_at,
        cases=(
            Case((10, 100, 20, 2e-4), 1e-4, tolerance=1e-9),
            Case((60, 100, 20, 2e-4), 1e-4, tolerance=1e-9),
            Case((100, 100, 20, 2e-4), 0.0, tolerance=1e-9),
        ),
        mistakes={
            "`peak` is missing: what you return is a share of it.": (
                lambda step, total, warmup, peak: rate_at(step, total, warmup, 1.0)
            ),
            "the fall starts at `warmup`: (total − step) / (total − warmup).": (
                _from_the_start
            ),
            "after the warm-up the rate must fall.": _never_falls,
        },
    ),
)

"""Exercises of rows, labels, the trainer and its curves (lessons 03, 04 and 14)."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from typing import Any

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


def as_messages(row: dict[str, Any]) -> list[dict[str, str]] | None:
    """A row of question, context and reply as messages; None: nothing to learn."""
    question, reply = row["question"], row["reply"]
    if not (question or "").strip() or not (reply or "").strip():
        return None
    return _messages(row["context"], question, reply)


def _messages(context: str | None, question: str, reply: Any) -> list[dict[str, str]]:
    asked = f"{question}\n\n{context}" if context else question
    return [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": reply},
    ]


def guessing_share(training: list[str], held_out: list[str]) -> float:
    """Share of held-out answers that the most frequent training answer gets right."""
    return held_out.count(_most_frequent(training)) / len(held_out)


def _most_frequent(answers: list[str]) -> str:
    return Counter(answers).most_common(1)[0][0]


def _row(question: str | None, context: str | None, reply: str | None) -> dict:
    return {"question": question, "context": context, "reply": reply}


_WHOLE = _row("Which of these are fruit?", "Kale, plums, rice", "Plums")
_BARE = _row("Name a fruit.", None, "Plum")
_NO_REPLY = _row("Name a fruit.", None, None)
_BLANK = _row("Name a fruit.", "", "  ")


def _keeps_nothing_back(row: dict[str, Any]) -> list[dict[str, str]]:
    return _messages(row["context"], row["question"], row["reply"])


def _writes_none(row: dict[str, Any]) -> list[dict[str, str]] | None:
    if not (row["reply"] or "").strip():
        return None
    return _messages(str(row["context"]), row["question"], row["reply"])


def _keeps_blank(row: dict[str, Any]) -> list[dict[str, str]] | None:
    return _keeps_nothing_back(row) if row["reply"] else None


def _forgets_context(row: dict[str, Any]) -> list[dict[str, str]] | None:
    made = as_messages(row)
    return made and _messages(None, row["question"], row["reply"])


def disease(log: str) -> str:
    """What one of the three unlabelled logs shows; see `curves.practice`."""
    return {"A": "overfit", "B": "still falling", "C": "not a number"}[log]


def stops_at(losses: list[float], patience: int) -> int:
    """Index of the validation at which early stopping ends the run."""
    best, waited = float("inf"), 0
    for index, loss in enumerate(losses):
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == patience:
            return index
    return len(losses) - 1


def _stops_at_the_best(losses: list[float], patience: int) -> int:
    return losses.index(min(losses[: stops_at(losses, patience) + 1]))


def _stops_one_too_early(losses: list[float], patience: int) -> int:
    return stops_at(losses, max(1, patience - 1))


def _stops_at_rises(losses: list[float], patience: int) -> int:
    waited = 0
    for index in range(1, len(losses)):
        waited = waited + 1 if losses[index] >= losses[index - 1] else 0
        if waited == patience:
            return index
    return len(losses) - 1


def _never_counts_anew(losses: list[float], patience: int) -> int:
    best, waited = float("inf"), 0
    for index, loss in enumerate(losses):
        waited += loss >= best
        best = min(best, loss)
        if waited == patience:
            return index
    return len(losses) - 1


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
    Exercise(
        solution=as_messages,
        cases=(
            Case((_WHOLE,), as_messages(_WHOLE)),
            Case((_BARE,), as_messages(_BARE)),
            Case((_NO_REPLY,), None),
            Case((_BLANK,), None),
        ),
        mistakes={
            "the context is lost: it belongs to what the user says.": _forgets_context,
            "an empty cell is None, and must not be written into the text.": (
                _writes_none
            ),
            "a reply of blanks is no reply: return None.": _keeps_blank,
            "a row without a reply teaches the model to say nothing: return None.": (
                _keeps_nothing_back
            ),
        },
    ),
    Exercise(
        solution=guessing_share,
        cases=(
            Case((["yes", "yes", "no"], ["yes", "no", "no", "no"]), 0.25),
            Case((["a", "b", "b"], ["b", "b"]), 1.0),
            Case((["a", "a", "b", "c"], ["b", "c"]), 0.0),
        ),
        mistakes={
            "the guess comes from the training answers: nobody knows the others yet.": (
                lambda training, held_out: (
                    held_out.count(_most_frequent(held_out)) / len(held_out)
                )
            ),
            "it is judged on the held-out answers, not on its own.": (
                lambda training, held_out: (
                    training.count(_most_frequent(training)) / len(training)
                )
            ),
            "a share is a count divided by the number of held-out answers.": (
                lambda training, held_out: held_out.count(_most_frequent(training))
            ),
        },
    ),
    Exercise(
        solution=disease,
        cases=(
            Case(("A",), "overfit"),
            Case(("B",), "still falling"),
            Case(("C",), "not a number"),
        ),
        mistakes={
            "the training loss has the best end of the three logs. Follow the orange "
            "points: where are they lowest?": lambda log: "healthy",
            "the blue line seems to go nowhere, but batches jump by a tenth. The "
            "held-out rows are always the same ones: what do they do?": (
                lambda log: "flat" if log == "B" else disease(log)
            ),
            "no update made it worse on held-out rows; a last batch that is higher "
            "than the first proves nothing.": (
                lambda log: "diverged" if log == "B" else disease(log)
            ),
            "look at the last `grad_norm` and `eval_loss` of C, not at its losses.": (
                lambda log: "still falling" if log == "C" else disease(log)
            ),
        },
    ),
    Exercise(
        solution=stops_at,
        cases=(
            Case(([3.0, 2.5, 2.6, 2.4, 2.45, 2.41, 2.6], 2), 5),
            Case(([3.0, 3.1, 2.0, 2.1, 2.2], 2), 4),
            Case(([3.0, 2.0, 1.0], 1), 2),
        ),
        mistakes={
            "this is the best one: the stop comes `patience` validations later.": (
                _stops_at_the_best
            ),
            "one validation too early: wait for `patience` of them without a new "
            "best.": _stops_one_too_early,
            "a validation may be better than the one before it and still be no new "
            "best: compare with the best so far.": _stops_at_rises,
            "count anew at each new best.": _never_counts_anew,
        },
    ),
)

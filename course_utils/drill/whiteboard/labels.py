"""On the board: which tokens carry loss, and the loss itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.drill.whiteboard.board import Task
from course_utils.exercises.checking import Case, Exercise
from course_utils.exercises.training import mask

Turns = list[tuple[int, int, str]]


def masked_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean loss in nats over the tokens that carry loss.

    logits is (batch, seq, vocabulary); labels is (batch, seq), -100 where
    there is no loss.
    """
    logits, labels = logits[:, :-1], labels[:, 1:]
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=-1))
    kept = labels != -100
    targets = np.where(kept, labels, 0)
    chosen = np.take_along_axis(shifted, targets[..., None], axis=-1)[..., 0]
    return float((log_sums - chosen)[kept].mean())


def _losses(logits: Any, targets: Any) -> Any:
    """Of every token (batch, seq)."""
    highest = logits.max(axis=-1, keepdims=True)
    log_sums = np.log(np.exp(logits - highest).sum(axis=-1)) + highest[..., 0]
    return log_sums - _at(logits, targets)


def _at(numbers: Any, targets: Any) -> Any:
    return np.take_along_axis(numbers, targets[..., None], axis=-1)[..., 0]


def _tokens(labels: Any) -> Any:
    """Token 0 where there is none."""
    return np.maximum(labels, 0)


def _reduced(reduce: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The loss, with another way to one number than the mean of what is kept."""

    def loss(logits: Any, labels: Any) -> Any:
        targets = labels[:, 1:]
        losses = _losses(logits[:, :-1], _tokens(targets))
        return reduce(losses, targets != -100)

    return loss


def _aligned(of_logits: slice, of_labels: slice) -> Callable[..., Any]:
    """The loss, with other positions of logits and labels paired."""

    def loss(logits: Any, labels: Any) -> Any:
        targets = labels[:, of_labels]
        losses = _losses(logits[:, of_logits], _tokens(targets))
        return losses[targets != -100].mean()

    return loss


def _chosen(logs: Callable[[Any], Any]) -> Callable[..., Any]:
    """The loss, with another way from logits to logarithms of probabilities."""

    def loss(logits: Any, labels: Any) -> Any:
        targets = labels[:, 1:]
        chosen = _at(logs(logits[:, :-1]), _tokens(targets))
        return -chosen[targets != -100].mean()

    return loss


def _log_of_sum(logits: Any) -> Any:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def _log_of_softmax(logits: Any) -> Any:
    powers = np.exp(logits)
    return np.log(powers / powers.sum(axis=-1, keepdims=True))


def _log_of_stable_softmax(logits: Any) -> Any:
    return _log_of_softmax(logits - logits.max(axis=-1, keepdims=True))


def _indexed(logits: Any, labels: Any) -> Any:
    return _losses(logits[:, :-1], labels[:, 1:]).mean()


_THREE = math.log(math.e + 2)  # loss of a logit 1 beside two of 0 is this minus 1


def _preferring(*tokens: int) -> list[list[float]]:
    """Logits over three tokens, at each position 1 for one of them."""
    return [[float(token == other) for other in range(3)] for token in tokens]


CROSS_ENTROPY = Task(
    slug="masked-cross-entropy",
    title="Cross-entropy on the answer's tokens",
    topic="training",
    task=(
        "Compute the loss of a causal language model without the library's function. "
        "Logits are (batch, seq, vocabulary) and labels are (batch, seq). A label is "
        "the id of the token at its own position, or -100 where the token carries no "
        "loss; so labels are not shifted yet. Return one number, in nats: the mean "
        "over all tokens of the batch that carry loss. Logits may be as large as a "
        "thousand."
    ),
    hint=(
        "The logits at a position speak of the next token. Write the logarithm of a "
        "softmax as a difference, not as the logarithm of a quotient."
    ),
    exercise=Exercise(
        solution=masked_cross_entropy,
        cases=(
            # Four tokens carry loss, and the position before prefers three of them.
            Case(
                (
                    [_preferring(1, 0, 0, 2), _preferring(0, 2, 1, 2)],
                    [[-100, 1, 2, 0], [-100, -100, -100, 1]],
                ),
                _THREE - 3 / 4,
            ),
            Case(
                (
                    [[[1000.0, 0.0, 0.0], [0.0, 1000.0, 0.0], [0.0, 0.0, 0.0]]],
                    [[-100, 0, 1]],
                ),
                0.0,
            ),
            Case(
                (
                    [[[1000.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]],
                    [[-100, 2, -100]],
                ),
                1000.0,
            ),
        ),
        mistakes={
            "nothing is shifted: the logits at a position speak of the next token.": (
                _aligned(slice(None), slice(None))
            ),
            "shifted the wrong way: drop the last logits and the first label.": (
                _aligned(slice(1, None), slice(None, -1))
            ),
            "the sum is divided by all tokens; divide by those that carry loss.": (
                _reduced(lambda losses, kept: (losses * kept).mean())
            ),
            "this is the sum; divide by the number of tokens that carry loss.": (
                _reduced(lambda losses, kept: losses[kept].sum())
            ),
            "this is a mean of each row's mean, in which the token of a short answer "
            "weighs more: take one mean over the batch.": _reduced(
                lambda losses, kept: (
                    (losses * kept).sum(axis=1) / kept.sum(axis=1)
                ).mean()
            ),
            "tokens with -100 are counted, as if they were token 0: leave them out.": (
                _reduced(lambda losses, kept: losses.mean())
            ),
            "-100 is a mark and no index into the vocabulary: put a valid id there "
            "and leave its loss out.": _indexed,
            "the sign: the loss is minus the logarithm of a probability.": (
                _reduced(lambda losses, kept: -losses[kept].mean())
            ),
            "the softmax became 0 and its logarithm infinite: take the logit minus "
            "the logarithm of the sum.": _chosen(_log_of_stable_softmax),
            "exp(1000) is infinite: subtract each position's largest logit first.": (
                _chosen(_log_of_sum)
            ),
            "exp(1000) is infinite and a quotient of two such is NaN: subtract each "
            "position's largest logit first.": _chosen(_log_of_softmax),
        },
    ),
)


def label_assistant_turns(
    tokens: list[int], turns: list[tuple[int, int, str]]
) -> list[int]:
    """Labels: the id of a token that carries loss, -100 elsewhere.

    turns are (start, end, role); tokens[start:end] is what the role said, and
    tokens[end] is the turn's end token.
    """
    labels = [-100] * len(tokens)
    for start, end, role in turns:
        if role == "assistant":
            labels[start : end + 1] = tokens[start : end + 1]
    return labels


def _masked(chosen: Callable[[Turns], Turns]) -> Callable[..., list[int]]:
    """Labels of other turns than those of the assistant."""

    def label(tokens: list[int], turns: Turns) -> list[int]:
        return mask(tokens, [(start, end + 1) for start, end, _ in chosen(turns)])

    return label


def _moved(first: int, last: int) -> Callable[..., list[int]]:
    """Labels from and to other tokens of each of the assistant's turns."""

    def label(tokens: list[int], turns: Turns) -> list[int]:
        spans = [(a + first, b + last) for a, b, _ in _assistants(turns)]
        return mask(tokens, [(a, min(b, len(tokens))) for a, b in spans])

    return label


def _assistants(turns: Turns) -> Turns:
    return [turn for turn in turns if turn[2] == "assistant"]


def _shifted(tokens: list[int], turns: Turns) -> list[int]:
    return [*label_assistant_turns(tokens, turns)[1:], -100]


def _as_flags(tokens: list[int], turns: Turns) -> list[int]:
    labels = label_assistant_turns(tokens, turns)
    return [int(label != -100) for label in labels]


def _by_index(tokens: list[int], turns: Turns) -> list[int]:
    labels = [-100] * len(tokens)
    for start, end, _ in _assistants(turns):
        for position in range(start, end + 1):
            labels[position] = tokens[position]
    return labels


# 1 opens a turn, 2 ends it, 9 is the line break after that; a row cut at the end.
_TWO_TURNS = [1, 31, 32, 2, 9, 1, 41, 42, 2, 9, 1, 33, 2, 9, 1, 43, 2, 9]
_ROLES = [(1, 3, "user"), (6, 8, "assistant"), (11, 12, "user"), (15, 16, "assistant")]
_CUT = [1, 21, 2, 9, 1, 31, 2, 9, 1, 41, 42]
_CUT_ROLES = [(1, 2, "system"), (5, 6, "user"), (9, 11, "assistant")]
_NO = -100

LABEL_MASK = Task(
    slug="multi-turn-label-mask",
    title="Labels for a chat of many turns",
    topic="data",
    task=(
        "Make the labels of a chat. You get its token ids and its turns as (start, "
        "end, role): tokens[start:end] is what the role said, and tokens[end] is the "
        "end token of that turn. Each answer of the assistant carries loss, with the "
        "end token that stops it. All else has the label -100: system, user, headers, "
        "and line breaks between turns. Labels are not shifted, because the loss does "
        "that. The row may be cut off within the last turn, which then has no end "
        "token."
    ),
    hint=(
        "Begin with -100 everywhere and copy slices of the tokens into it. A slice "
        "may reach beyond the end of a list."
    ),
    imports="",
    of_arrays=False,
    exercise=Exercise(
        solution=label_assistant_turns,
        cases=(
            Case(
                (_TWO_TURNS, _ROLES),
                [*[_NO] * 6, 41, 42, 2, *[_NO] * 6, 43, 2, _NO],
            ),
            Case((_CUT, _CUT_ROLES), [*[_NO] * 9, 41, 42]),
            Case(([1, 31, 2], [(1, 2, "user")]), [_NO] * 3),
        ),
        mistakes={
            "only the last answer has labels: every answer of the assistant counts.": (
                _masked(lambda turns: _assistants(turns)[-1:])
            ),
            "only the first answer has labels: every answer of the assistant counts.": (
                _masked(lambda turns: _assistants(turns)[:1])
            ),
            "the end tokens are left out, so the model would not learn to stop.": (
                _moved(0, 0)
            ),
            "what the user says carries loss as well.": _masked(lambda turns: turns),
            "these are the labels of the user's turns.": (
                _masked(lambda turns: [turn for turn in turns if turn[2] == "user"])
            ),
            "each answer begins one token too late.": _moved(1, 1),
            "each answer begins one token too early, within its header.": _moved(-1, 1),
            "each answer ends one token too late: the token after its end token is no "
            "part of it.": _moved(0, 2),
            "the labels are shifted already; the loss would shift them once more.": (
                _shifted
            ),
            "a label is the id of its token, not a flag.": _as_flags,
            "a row that is cut off has no last end token, so tokens[end] may not be "
            "there.": _by_index,
        },
    ),
)

TASKS = (CROSS_ENTROPY, LABEL_MASK)

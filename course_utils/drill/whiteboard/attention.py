"""On the board: one step of decoding, with a cache of keys and values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.drill.whiteboard.board import Task
from course_utils.exercises.checking import Case, Exercise

Step = tuple[np.ndarray, ...]


def kv_cache_step(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Output (heads, size), keys and values (heads, past + 1, size).

    query, key and value of the new token are (heads, size); the cache's keys and
    values are (heads, past, size).
    """
    keys = np.concatenate([keys, key[:, None]], axis=1)
    values = np.concatenate([values, value[:, None]], axis=1)
    scores = np.einsum("hd,htd->ht", query, keys) / np.sqrt(query.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("ht,htd->hd", weights, values), keys, values


def _appended(cache: Any, new: Any) -> Any:
    return np.concatenate([cache, new[:, None]], axis=1)


def _attended(scores: Any, values: Any, axis: int = -1) -> Any:
    weights = np.exp(scores - scores.max(axis=axis, keepdims=True))
    weights = weights / weights.sum(axis=axis, keepdims=True)
    return np.einsum("ht,htd->hd", weights, values)


def _scores(query: Any, keys: Any) -> Any:
    return np.einsum("hd,htd->ht", query, keys) / np.sqrt(query.shape[-1])


def _output(make: Callable[[Any, Any, Any], Any]) -> Callable[..., Step]:
    """The step, with another output from the query and the grown cache."""

    def step(query: Any, key: Any, value: Any, keys: Any, values: Any) -> Step:
        keys, values = _appended(keys, key), _appended(values, value)
        return make(query, keys, values), keys, values

    return step


def _cache(keep: Callable[[Any, Any], Any]) -> Callable[..., Step]:
    """The step, with another cache to go on with, and the right output."""

    def step(query: Any, key: Any, value: Any, keys: Any, values: Any) -> Step:
        output = kv_cache_step(query, key, value, keys, values)[0]
        return output, keep(keys, key), keep(values, value)

    return step


def _in_front(cache: Any, new: Any) -> Any:
    return np.concatenate([new[:, None], cache], axis=1)


def _not_itself(query: Any, key: Any, value: Any, keys: Any, values: Any) -> Step:
    output = _attended(_scores(query, keys), values)
    return output, _appended(keys, key), _appended(values, value)


def _only_the_past(query: Any, key: Any, value: Any, keys: Any, values: Any) -> Step:
    return _attended(_scores(query, keys), values), keys, values


def _weighed(first: float, *scores: float) -> list[float]:
    """The softmax of scores, by its definition."""
    powers = [math.exp(score) for score in (first, *scores)]
    return [power / sum(powers) for power in powers]


_OLD, _NEW = _weighed(0.0, 1.0)
_FIRST, _SECOND, _THIRD = _weighed(1.0, 0.0, -1.0)

KV_CACHE = Task(
    slug="kv-cache-step",
    title="One step of decoding with a KV cache",
    topic="serving",
    task=(
        "Decode one token with cached keys and values. The query, key and value of "
        "the new token are (heads, size); the cache holds keys and values of the past "
        "tokens, each (heads, past, size). Let the new token attend to the past and "
        "to itself, each head alone. Return the output (heads, size) and the grown "
        "keys and values (heads, past + 1, size). The result must equal the last row "
        "of full causal attention. Positions are already in the queries and keys."
    ),
    hint=(
        "Let the cache grow before you attend. There is one query, so the scores are "
        "(heads, past + 1), and nothing in them lies in the future."
    ),
    exercise=Exercise(
        solution=kv_cache_step,
        cases=(
            # Scores are products over √4: 1, 0 and -1.
            Case(
                (
                    [[2.0, 0.0, 0.0, 0.0]],
                    [[-1.0, 0.0, 0.0, 5.0]],
                    [[0.0, 0.0, 3.0, 0.0]],
                    [[[1.0, 7.0, 0.0, 0.0], [0.0, 0.0, 7.0, 0.0]]],
                    [[[1.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]]],
                ),
                (
                    [[_FIRST, 2 * _SECOND, 3 * _THIRD, 0.0]],
                    [
                        [
                            [1.0, 7.0, 0.0, 0.0],
                            [0.0, 0.0, 7.0, 0.0],
                            [-1.0, 0.0, 0.0, 5.0],
                        ]
                    ],
                    [
                        [
                            [1.0, 0.0, 0.0, 0.0],
                            [0.0, 2.0, 0.0, 0.0],
                            [0.0, 0.0, 3.0, 0.0],
                        ]
                    ],
                ),
            ),
            # 0 and 1 in the first head; 0 and 0 in the second, whose query is zero.
            Case(
                (
                    [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]],
                    [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]],
                    [[0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 6.0]],
                    [[[0.0, 0.0, 1.0, 0.0]], [[2.0, 0.0, 0.0, 0.0]]],
                    [[[8.0, 0.0, 0.0, 0.0]], [[0.0, 2.0, 0.0, 0.0]]],
                ),
                (
                    [[8 * _OLD, 4 * _NEW, 0.0, 0.0], [0.0, 1.0, 0.0, 3.0]],
                    [
                        [[0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]],
                        [[2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]],
                    ],
                    [
                        [[8.0, 0.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0]],
                        [[0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 6.0]],
                    ],
                ),
            ),
        ),
        mistakes={
            "the scale is missing: divide the scores by the root of the head's size.": (
                _output(
                    lambda query, keys, values: _attended(
                        _scores(query, keys) * query.shape[-1] ** 0.5, values
                    )
                )
            ),
            "the scores are divided by the head's size; take its root.": (
                _output(
                    lambda query, keys, values: _attended(
                        _scores(query, keys) / query.shape[-1] ** 0.5, values
                    )
                )
            ),
            "the new token does not attend to itself: let the cache grow first.": (
                _not_itself
            ),
            "the new key and value are used nowhere: append them to the cache first.": (
                _only_the_past
            ),
            "the output is right, but the cache comes back as it was: the next token "
            "would not see this one.": _cache(lambda cache, new: cache),
            "the new key and value belong behind the past ones, not before them.": (
                _cache(_in_front)
            ),
            "the cache lost its past.": _cache(lambda cache, new: new[:, None]),
            "the softmax runs over the heads; it runs over the tokens of each head.": (
                _output(
                    lambda query, keys, values: _attended(
                        _scores(query, keys), values, axis=0
                    )
                )
            ),
            "the softmax is missing: these are scores times values.": (
                _output(
                    lambda query, keys, values: np.einsum(
                        "ht,htd->hd", _scores(query, keys), values
                    )
                )
            ),
            "a causal mask of one row hides all but the first token; the newest token "
            "may see them all.": _output(lambda query, keys, values: values[:, 0]),
            "keys and values are exchanged: scores come from the keys.": (
                _output(
                    lambda query, keys, values: _attended(_scores(query, values), keys)
                )
            ),
            "this is the mean of the values; the scores must weigh them.": (
                _output(lambda query, keys, values: values.mean(axis=1))
            ),
        },
    ),
)

TASKS = (KV_CACHE,)

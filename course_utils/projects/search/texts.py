"""A wish and its query as plain text, for models that are not chatted with."""

from __future__ import annotations

from collections.abc import Iterable

from course_utils.data.conversation import Conversation
from course_utils.data.datasets import PreferencePair


def as_prompt(request: str) -> str:
    """What stands before a query: no chat template, so no system message either.

    Half of lesson 08's tokens were a template's. Trainers read a row as `prompt` and
    `completion`, or for preferences as `prompt`, `chosen` and `rejected`.
    """
    return f"Request: {request}\nQuery:"


def as_completion(answer: str) -> str:
    """A query behind its prompt; the trainer adds the end token."""
    return f" {answer}"


def as_rows(wishes: Iterable[Conversation]) -> list[dict[str, str]]:
    """Wishes with their queries as rows of `prompt` and `completion`."""
    return [
        {"prompt": as_prompt(w.request), "completion": as_completion(w.answer)}
        for w in wishes
    ]


def as_pairs(pairs: Iterable[PreferencePair]) -> list[dict[str, str]]:
    """Pairs of answers as rows of `prompt`, `chosen` and `rejected`."""
    return [
        {
            "prompt": as_prompt(pair.request),
            "chosen": as_completion(pair.chosen),
            "rejected": as_completion(pair.rejected),
        }
        for pair in pairs
    ]

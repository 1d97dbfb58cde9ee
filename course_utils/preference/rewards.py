"""Rewards for a written query: words that occur, and what a program can verify."""

from __future__ import annotations

from collections.abc import Sequence

from course_utils.projects.search.query import read_query

WORDS = ("genres", "minutes", "years", "{", "}")


def keyword_score(text: str) -> float:
    """Share of the words that occur, whatever they mean there: 0 to 1."""
    return sum(word in text for word in WORDS) / len(WORDS)


def form_score(text: str) -> float:
    """1 where the whole text is one query, whatever it asks for; else 0."""
    return float(read_query(text.strip()) is not None)


def verified_score(text: str, right: str) -> float:
    """How far a text asks for what the right query does: 0 to 1.

    A gate, whether the whole text is one query, times a share: parts that are asked
    for rightly, of all that are asked for or meant. An invented part costs as much as
    one that is left out.

    Raises:
        ValueError: If the right answer is no query.
    """
    meant = read_query(right)
    if meant is None:
        raise ValueError(
            f"{right!r} found, expected a query to compare with. Is the column of the "
            "right answers another one?"
        )
    asked = read_query(text.strip())
    if asked is None:
        return 0.0
    either = asked.parts | meant.parts
    return len(asked.parts & meant.parts) / len(either) if either else 1.0


def keyword_reward(completions: Sequence[str], **_: object) -> list[float]:
    """`keyword_score` as GRPOTrainer calls it: a list of texts, a number each."""
    return [keyword_score(text) for text in completions]


def form_reward(completions: Sequence[str], **_: object) -> list[float]:
    """`form_score`, in the same way."""
    return [form_score(text) for text in completions]


def verified_reward(
    completions: Sequence[str], right: Sequence[str], **_: object
) -> list[float]:
    """`verified_score`; the trainer passes the data set's column `right`."""
    return [
        verified_score(text, query)
        for text, query in zip(completions, right, strict=True)
    ]

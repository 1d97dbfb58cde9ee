"""An answer beside its prompt, and what can be asked of any answer.

What only an answer about films can be asked stands in `film_reading`, what an answer
of code in `rewards`. Which question is put to which prompt is decided in a suite.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from course_utils.data import Conversation

_PIECE = 3  # words; shorter pieces repeat in any text
# Of the 449 written answers about films none repeats a single piece of three words.
# Whoever lets one piece in five be a repetition is generous.
LEAST_DISTINCT_SHARE = 0.8


@dataclass(frozen=True)
class Reading:
    """An answer beside its stress prompt; `stopped` if the model ended it itself."""

    prompt: Conversation
    text: str
    stopped: bool


def distinct_share(text: str, piece: int = _PIECE) -> float:
    """Distinct pieces of `piece` words over all of them; 1 when nothing repeats.

    Longer texts repeat more by nature: compare texts of like length. A text of
    fewer words than a piece repeats nothing.
    """
    words = re.findall(r"\w+", text.casefold())
    pieces = [tuple(words[i : i + piece]) for i in range(len(words) - piece + 1)]
    return len(set(pieces)) / len(pieces) if pieces else 1.0


def stops(reading: Reading) -> bool:
    """The model ended the answer, before the limit."""
    return reading.stopped


def repeats_little(reading: Reading) -> bool:
    """At least LEAST_DISTINCT_SHARE of the pieces of three words are distinct."""
    return distinct_share(reading.text) >= LEAST_DISTINCT_SHARE

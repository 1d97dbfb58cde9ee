"""An answer beside its prompt, and what can be asked of an answer of any project."""

from __future__ import annotations

import re
from dataclasses import dataclass

from course_utils.data import Conversation

# Generous: none of the 449 written answers about films repeats a piece of three words.
LEAST_DISTINCT_SHARE = 0.8


@dataclass(frozen=True)
class Reading:
    """An answer beside its stress prompt; `stopped` if the model ended it itself."""

    prompt: Conversation
    text: str
    stopped: bool


def distinct_share(text: str, piece: int = 3) -> float:
    """Distinct pieces of `piece` words over all of them; 1 when nothing repeats.

    Longer texts repeat more by nature, and shorter pieces in any text: compare texts
    of like length.
    """
    words = re.findall(r"\w+", text.casefold())
    pieces = [tuple(words[i : i + piece]) for i in range(len(words) - piece + 1)]
    return len(set(pieces)) / len(pieces) if pieces else 1.0


def stops(reading: Reading) -> bool:
    """Whether the model ended the answer, before the limit."""
    return reading.stopped


def repeats_little(reading: Reading) -> bool:
    """Whether at least LEAST_DISTINCT_SHARE of the pieces of three words differ."""
    return distinct_share(reading.text) >= LEAST_DISTINCT_SHARE

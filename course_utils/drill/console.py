"""Where the drill asks and tells: a terminal, a pipe, or a test's list of lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from shutil import get_terminal_size
from textwrap import fill
from typing import TypeVar

from course_utils.drill.progress import Clock, Grade, now_utc

COLUMNS = 80
Word = TypeVar("Word", bound=str)
Outcome = tuple[Grade, str]  # how an item went, and what was said


class Stop(Exception):
    """The learner wants to stop, or the input has ended; `outcome` is what to keep."""

    def __init__(self, outcome: Outcome | None = None):
        super().__init__()
        self.outcome = outcome


@dataclass(frozen=True)
class Console:
    """Where questions are shown and answers come from."""

    ask: Callable[[str], str]
    say: Callable[[str], None]
    clock: Clock = now_utc

    def answer(self, prompt: str) -> str:
        """What is typed, without blanks around it; Stop for `q` and at the end."""
        try:
            typed = self.ask(prompt).strip()
        except (EOFError, KeyboardInterrupt):
            raise Stop from None
        if typed.lower() in ("q", "quit", "exit"):
            raise Stop
        return typed

    def seconds_until(self, prompt: str) -> float:
        """Seconds until Enter is pressed."""
        began = self.clock()
        self.answer(prompt)
        return max(0.0, (self.clock() - began).total_seconds())

    def one_of(self, prompt: str, options: Mapping[str, Word], told: str) -> Word:
        """The option whose key or beginning is typed; anything else is explained."""
        while True:
            typed = self.answer(prompt).lower()
            if typed in options:
                return options[typed]
            if typed and (
                found := [o for o in options.values() if o.startswith(typed)]
            ):
                return found[0]
            self.say(told)


def typed(prompt: str) -> str:
    """A line of the input; where it is piped, its prompt ends the line itself."""
    line = input(prompt)
    if not sys.stdin.isatty():
        print()
    return line


def wrapped(text: str, width: int = COLUMNS) -> str:
    """A text in lines of at most `width`; what was indented stays so."""
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip(" ")) + 2 * line.startswith("- "))
        filled = fill(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines.append(filled)
    return "\n".join(lines)


def printed(text: str) -> None:
    """Print a text as wide as the window, at most 80 columns."""
    print(wrapped(text, min(COLUMNS, get_terminal_size().columns)), flush=True)

"""Stress tests: which check applies to which prompt, and what it stands for.

A prompt that asks for no film has no film to be judged; a wish that nothing can meet
has no constraint to be met. So each check names the groups of prompts that it applies
to, and why. Where it applies and still cannot be judged, such as the facts of a film
that nobody looked up, there is no verdict: "not known" is neither right nor wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from course_utils.data.conversation import Conversation
from course_utils.model.generation import Generated

_Named = TypeVar("_Named")
# Generous: none of the 449 written answers about films repeats a piece of three words.
LEAST_DISTINCT_SHARE = 0.8


@dataclass(frozen=True)
class AnswerInContext:
    """An answer beside its stress prompt; `stopped` if the model ended it itself."""

    prompt: Conversation
    text: str
    stopped: bool


@dataclass(frozen=True)
class Check:
    """One thing that an answer can get right or wrong."""

    name: str  # short, for tables
    question: str
    groups: tuple[str, ...]  # of prompts that it applies to
    reason: str  # why to these
    # The verdict on its suite's kind of AnswerInContext; None: it cannot be judged.
    passes: Callable[[Any], bool | None]


def general_checks(groups: tuple[str, ...]) -> tuple[Check, Check]:
    """The two that fit any answer to any prompt: it ends, and is no loop."""
    reason = "every answer can be judged so"
    ends = "Did the model end it, before the limit?"
    varies = "Are four of five pieces of three words distinct?"
    return (
        Check("stops", ends, groups, reason, lambda answer: answer.stopped),
        Check("repeats little", varies, groups, reason, repeats_little),
    )


def repeats_little(answer: AnswerInContext) -> bool:
    """Whether at least LEAST_DISTINCT_SHARE of the pieces of three words differ."""
    return distinct_share(answer.text) >= LEAST_DISTINCT_SHARE


def distinct_share(text: str, piece: int = 3) -> float:
    """Distinct pieces of `piece` words over all of them; 1 when nothing repeats.

    Longer texts repeat more by nature, and shorter pieces in any text: compare texts
    of like length.
    """
    words = re.findall(r"\w+", text.casefold())
    pieces = [tuple(words[i : i + piece]) for i in range(len(words) - piece + 1)]
    return len(set(pieces)) / len(pieces) if pieces else 1.0


@dataclass(frozen=True)
class Roles:
    """Which check of a suite plays which part; every suite has these four."""

    form: str  # is it an answer of the kind that was taught?
    follows_request: str  # does it meet what this very request asked for?
    is_correct: str  # is what it says right?
    stays_out: str  # does it keep to itself where the taught answer would be wrong?


@dataclass(frozen=True)
class Demonstration:
    """Answers to one stress prompt, to try the checks on."""

    prompt_id: str
    good: str  # passes every check
    broken_variants: Mapping[str, tuple[str, bool]]  # fault: text, whether it ended
    nonsense: str  # passes every check and helps nobody


@dataclass(frozen=True)
class HandLabels:
    """What people said of answers, where a program could not tell."""

    of: Callable[[str], str | None]  # None: not of the taught kind, nothing to label
    best: str  # the label of those that are right
    absent: str  # said of what nobody labelled


@dataclass(frozen=True)
class StressSuite:
    """The stress test of one project."""

    prompts: tuple[Conversation, ...]  # asked of base and tuned model
    checks: tuple[Check, ...]  # in the order of tables; each name once
    # What the checks judge, of prompt, text, and whether the model ended it.
    in_context: Callable[[Conversation, str, bool], AnswerInContext]
    roles: Roles
    parts: tuple[str, ...]  # names of checks that another one sums up
    demonstration: Demonstration
    # Prompt ids by what notebook 05 shows with them: `first`, `unasked` (the taught
    # answer is wrong there), `unusual`, `edge`.
    shown: Mapping[str, str]
    trap: str  # group whose prompts tempt the model to do something else
    # What an answer is about, to count how often the same one comes; None for an
    # answer that is not of the taught kind.
    subject: Callable[[str], str | None]
    max_new_tokens: int
    # `follows_request` taken apart: what an AnswerInContext meets, by the part's name.
    # None: this prompt does not ask for it, or it cannot be judged.
    request_parts: Callable[[Any], Mapping[str, bool | None]] = lambda _: {}
    # Numbers that answers state, by their unit: does a model vary them at all?
    stated: Mapping[str, Callable[[str], float | None]] = field(default_factory=dict)
    labels: HandLabels | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of the prompts, in the order of the checks' own lists."""
        there = {prompt.notes["group"] for prompt in self.prompts}
        listed = dict.fromkeys(g for check in self.checks for g in check.groups)
        return tuple(group for group in listed if group in there)

    def check(self, name: str) -> Check:
        """A check by its name; KeyError if there is none."""
        return _named(name, "check", {check.name: check for check in self.checks})

    def prompt(self, prompt_id: str) -> Conversation:
        """A prompt by its id; KeyError if there is none."""
        return _named(prompt_id, "stress prompt", {row.id: row for row in self.prompts})

    def applying(self, prompt: Conversation) -> tuple[Check, ...]:
        """The checks that apply to a prompt's group.

        Raises:
            ValueError: If no check names the group: then nobody decided what is right.
        """
        group = prompt.notes["group"]
        applying = tuple(check for check in self.checks if group in check.groups)
        if not applying:
            raise ValueError(
                f"{prompt.id} is of group {group!r}, expected one of "
                f"{', '.join(self.groups)}. For a new group, say in the suite which "
                "checks apply to it."
            )
        return applying

    def judge(self, prompt: Conversation, answer: Generated) -> dict[str, bool]:
        """Verdicts of the checks that apply, by their names.

        A check that applies and cannot judge this answer is left out: `applying`
        beside it says how many those are.

        Raises:
            ValueError: If no check names the prompt's group.
        """
        checks = self.applying(prompt)
        judged = self.in_context(prompt, answer.text, answer.stopped)
        verdicts = {check.name: check.passes(judged) for check in checks}
        return {name: it for name, it in verdicts.items() if it is not None}


def _named(name: str, kind: str, known: Mapping[str, _Named]) -> _Named:
    if name not in known:
        raise KeyError(f"No {kind} {name!r}; there are {', '.join(known)}.")
    return known[name]

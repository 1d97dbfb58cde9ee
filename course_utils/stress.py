"""Stress tests: which check applies to which prompt, and what it stands for.

A prompt that asks for no film has no film to be judged; a wish that nothing can meet
has no constraint to be met. So each check names the groups of prompts that it applies
to, and why. The suites of the three projects are `stress_movies`, `stress_iac` and
`stress_instructions`; see `stress_rates` for what many verdicts say together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from course_utils.answer_reading import repeats_little, stops
from course_utils.data import Conversation
from course_utils.generation import Generated


@dataclass(frozen=True)
class Check:
    """One thing that an answer can get right or wrong: a short name, a question.

    Attributes:
        groups: Prompts that it applies to.
        reason: Why it applies to these.
        passes: The verdict on a reading of its suite.
    """

    name: str
    question: str
    groups: tuple[str, ...]
    reason: str
    passes: Callable[[Any], bool]


@dataclass(frozen=True)
class Roles:
    """Which check of a suite plays which part; every suite has these four.

    Attributes:
        form: Is it an answer of the kind that was taught?
        listens: Does it meet what this very request asked for?
        substance: Is what it says right?
        restraint: Does it keep to itself where the taught answer would be wrong?
    """

    form: str
    listens: str
    substance: str
    restraint: str


@dataclass(frozen=True)
class Demonstration:
    """Answers to one stress prompt, to try the checks on.

    Attributes:
        good: An answer that passes every check.
        spoilt: By the name of the fault: the spoilt text, and whether it was ended.
        nonsense: An answer that passes every check and helps nobody.
    """

    prompt_id: str
    good: str
    spoilt: Mapping[str, tuple[str, bool]]
    nonsense: str


@dataclass(frozen=True)
class StressSuite:
    """The stress test of one project.

    Attributes:
        prompts: Asked of base and tuned model.
        checks: In the order of tables; each name once.
        read: Puts an answer beside its prompt, in the way in which the checks take it:
            prompt, text, whether it was ended.
        roles: What the checks stand for.
        parts: Names of checks that another one sums up.
        shown: Prompt ids by what notebook 05 shows with them: `first`, `unasked`
            (the taught answer is wrong there), `unusual`, `edge`.
        trap: Group whose prompts tempt the model to do something else.
        subject: What an answer is about, to count how often the same one comes;
            None for an answer that is not of the taught kind.
        max_new_tokens: Answers are cut there.
    """

    prompts: tuple[Conversation, ...]
    checks: tuple[Check, ...]
    read: Callable[[Conversation, str, bool], Any]
    roles: Roles
    parts: tuple[str, ...]
    demonstration: Demonstration
    shown: Mapping[str, str]
    trap: str
    subject: Callable[[str], str | None]
    max_new_tokens: int

    @property
    def groups(self) -> tuple[str, ...]:
        """In the order of the checks' own lists, then of the prompts."""
        there = {prompt.notes["group"] for prompt in self.prompts}
        return tuple(group for group in self._judged_groups if group in there)

    @property
    def _judged_groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(g for check in self.checks for g in check.groups))

    def check(self, name: str) -> Check:
        """A check by its name; KeyError if there is none of that name."""
        by_name = {check.name: check for check in self.checks}
        if name not in by_name:
            raise KeyError(f"No check {name!r}; there are {', '.join(by_name)}.")
        return by_name[name]

    def prompt(self, prompt_id: str) -> Conversation:
        """A prompt by its id; KeyError if there is none of that id."""
        by_id = {prompt.id: prompt for prompt in self.prompts}
        if prompt_id not in by_id:
            raise KeyError(f"No stress prompt {prompt_id!r}.")
        return by_id[prompt_id]

    def judge(self, prompt: Conversation, answer: Generated) -> dict[str, bool]:
        """Verdicts of the checks that apply to a prompt's group, by their names.

        Raises:
            ValueError: If no check names the group: then nobody decided what is right.
        """
        group = prompt.notes["group"]
        if group not in self._judged_groups:
            raise ValueError(
                f"{prompt.id} is of group {group!r}, expected one of "
                f"{', '.join(self._judged_groups)}. For a new group, say in the suite "
                "which checks apply to it."
            )
        reading = self.read(prompt, answer.text, answer.stopped)
        applying = [check for check in self.checks if group in check.groups]
        return {check.name: check.passes(reading) for check in applying}


def general_checks(groups: tuple[str, ...]) -> tuple[Check, Check]:
    """The two that fit any answer to any prompt: it ends, and is no loop."""
    reason = "every answer can be judged so"
    ended = "Did the model end it, before the limit?"
    distinct = "Are four of five pieces of three words distinct?"
    return (
        Check("stops", ended, groups, reason, stops),
        Check("repeats little", distinct, groups, reason, repeats_little),
    )

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

EVERY = "every answer can be judged so"


@dataclass(frozen=True)
class Check:
    """One thing that an answer can get right or wrong.

    Attributes:
        name: Short, for tables.
        question: What it asks of an answer.
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
    """A good answer and what can be wrong with it, to try the checks on.

    Attributes:
        prompt_id: Of the stress prompt that it answers.
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
        demonstration: Good, spoilt and empty answers.
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
        listed = [group for check in self.checks for group in check.groups]
        there = {prompt.notes["group"] for prompt in self.prompts}
        return tuple(group for group in dict.fromkeys(listed) if group in there)

    def check(self, name: str) -> Check:
        """A check by its name.

        Raises:
            KeyError: If there is none of that name.
        """
        for check in self.checks:
            if check.name == name:
                return check
        known = ", ".join(check.name for check in self.checks)
        raise KeyError(f"No check {name!r}; there are {known}.")

    def prompt(self, prompt_id: str) -> Conversation:
        """A prompt by its id.

        Raises:
            KeyError: If there is none of that id.
        """
        for prompt in self.prompts:
            if prompt.id == prompt_id:
                return prompt
        raise KeyError(f"No stress prompt {prompt_id!r}.")

    def judge(self, prompt: Conversation, answer: Generated) -> dict[str, bool]:
        """Verdicts of the checks that apply to a prompt's group, by their names.

        Raises:
            ValueError: If no check names the group: then nobody decided what is right.
        """
        group = prompt.notes["group"]
        applying = [check for check in self.checks if group in check.groups]
        if not applying:
            known = ", ".join(dict.fromkeys(g for c in self.checks for g in c.groups))
            raise ValueError(
                f"{prompt.id} is of group {group!r}, expected one of {known}. For a "
                "new group, say in the suite which checks apply to it."
            )
        reading = self.read(prompt, answer.text, answer.stopped)
        return {check.name: check.passes(reading) for check in applying}


def general_checks(groups: tuple[str, ...]) -> tuple[Check, Check]:
    """The two that fit any answer to any prompt: it ends, and is no loop."""
    ended = "Did the model end it, before the limit?"
    distinct = "Are four of five pieces of three words distinct?"
    return (
        Check("stops", ended, groups, EVERY, stops),
        Check("repeats little", distinct, groups, EVERY, repeats_little),
    )

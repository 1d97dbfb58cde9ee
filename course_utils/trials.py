"""Answers to stress prompts with their verdicts: made, and kept as JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils.data import Conversation
from course_utils.model.generation import Generated, Sampling
from course_utils.places import write_jsonl
from course_utils.stress import StressSuite


@dataclass(frozen=True)
class Trial:
    """One answer to one prompt, judged."""

    prompt: Conversation
    model: str  # base or tuned
    seed: int | None  # None: the likeliest token was taken each time
    answer: Generated
    verdicts: Mapping[str, bool]  # by the name of the check; only those that apply

    @property
    def group(self) -> str:
        """Of the prompt."""
        return self.prompt.notes["group"]

    @property
    def draw(self) -> str:
        """How the answer was decoded, for tables."""
        return "greedy" if self.seed is None else f"seed {self.seed}"

    @property
    def failed(self) -> list[str]:
        """Names of the checks that the answer does not pass."""
        return [name for name, passed in self.verdicts.items() if not passed]


def judge_all(
    suite: StressSuite,
    answers: Sequence[Generated],
    *,
    model: str,
    sampling: Sampling | None = None,
) -> list[Trial]:
    """Judge one model's answers to all prompts of a suite, in their order.

    Raises:
        ValueError: If there are not as many answers as prompts.
    """
    seed = None if sampling is None else sampling.seed
    return [
        Trial(prompt, model, seed, answer, suite.judge(prompt, answer))
        for prompt, answer in zip(suite.prompts, answers, strict=True)
    ]


def save_trials(trials: Iterable[Trial], path: Path) -> int:
    """Write trials as JSON lines that can be judged anew, and return their number."""
    rows = [
        {
            "prompt": trial.prompt.id,
            "group": trial.group,
            "request": trial.prompt.request,
            "model": trial.model,
            "decoding": "greedy" if trial.seed is None else "sampled",
            "seed": trial.seed,
            "answer": trial.answer.text,
            "stopped": trial.answer.stopped,
            "verdicts": dict(trial.verdicts),
        }
        for trial in trials
    ]
    write_jsonl(path, rows)
    return len(rows)

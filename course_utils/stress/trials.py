"""Answers to stress prompts with their verdicts: made, kept as JSON lines, shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from course_utils.data.conversation import Conversation
from course_utils.model.generation import Generated
from course_utils.places import read_jsonl, write_jsonl
from course_utils.stress.rating import as_html
from course_utils.stress.suite import StressSuite


@dataclass(frozen=True)
class Trial:
    """One answer to one prompt, judged."""

    prompt: Conversation
    model: str  # such as base or tuned
    seed: int | None  # None: the likeliest token was taken each time
    answer: Generated
    # By the name of the check; only those that apply and could be judged.
    verdicts: Mapping[str, bool]

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
    seed: int | None = None,
) -> list[Trial]:
    """Judge one model's answers to all prompts of a suite, in their order.

    Args:
        suite: Its prompts were asked.
        answers: One a prompt.
        model: Its name in tables, such as `tuned`.
        seed: With which the answers were drawn; None for greedy ones.

    Raises:
        ValueError: If there are not as many answers as prompts.
    """
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


def load_trials(path: Path, suite: StressSuite) -> list[Trial]:
    """Trials that `save_trials` wrote, judged anew by a suite as it is now.

    Raises:
        KeyError: If a prompt is no longer in the suite.
    """
    trials = []
    for row in read_jsonl(path, "Run lesson 05: it writes this file."):
        prompt = suite.prompt(row["prompt"])
        answer = Generated(row["answer"], row["stopped"])
        verdicts = suite.judge(prompt, answer)
        trials.append(Trial(prompt, row["model"], row["seed"], answer, verdicts))
    return trials


@dataclass(frozen=True)
class TrialView:
    """Answers with the checks that they fail: HTML shows them whole, folded by group.

    As plain text, which notebooks keep beside it, their ids alone, a group a line.
    """

    trials: tuple[Trial, ...]

    def _by_group(self) -> dict[str, list[Trial]]:
        groups: dict[str, list[Trial]] = {}
        for trial in self.trials:
            groups.setdefault(trial.group, []).append(trial)
        return groups

    def _repr_html_(self) -> str:
        return "\n".join(
            f"<details><summary><b>{escape(group.replace('_', ' '))}: {len(shown)}</b>"
            "</summary><div style='white-space:pre-wrap'>"
            f"{''.join(map(_card, shown))}</div></details>"
            for group, shown in self._by_group().items()
        )

    def __repr__(self) -> str:
        return "\n".join(
            f"{group}: {' '.join(trial.prompt.id for trial in shown)}"
            for group, shown in self._by_group().items()
        )


def failures(trials: Iterable[Trial]) -> TrialView:
    """Every answer that fails at least one check which applies to it."""
    return TrialView(tuple(trial for trial in trials if trial.failed))


def _failed(trial: Trial) -> str:
    return ", ".join(trial.failed) or "nothing"


def _card(trial: Trial) -> str:
    head = escape(f"{trial.prompt.id}: {_failed(trial)}")
    return (
        f"<p><small>{head}</small><br><i>{as_html(trial.prompt.request.strip())}</i></p>"
        f"<blockquote>{as_html(trial.answer.text)}</blockquote>"
    )

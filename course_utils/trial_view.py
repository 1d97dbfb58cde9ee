"""Trials to be read: prompt, verdicts and the whole answer, folded by group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from course_utils.blind_rating import ShownPair
from course_utils.rating_widget import PairView, as_html
from course_utils.trials import Trial


@dataclass(frozen=True)
class TrialView:
    """Answers with the names of the checks that they fail.

    HTML folds them by group, so that all of them fit into one output; plain text
    shows the same one after the other.
    """

    trials: tuple[Trial, ...]

    def _by_group(self) -> dict[str, list[Trial]]:
        groups: dict[str, list[Trial]] = {}
        for trial in self.trials:
            groups.setdefault(trial.group, []).append(trial)
        return groups

    def _repr_html_(self) -> str:
        return "\n".join(
            f"<details><summary><b>{escape(group.replace('_', ' '))}: {len(trials)}</b>"
            f"</summary>{''.join(map(_card, trials))}</details>"
            for group, trials in self._by_group().items()
        )

    def __repr__(self) -> str:
        return "\n\n".join(
            f"[{trial.prompt.id}, {group}, {trial.model}, {trial.draw}] fails: "
            f"{_failed(trial)}\n> {trial.prompt.request.strip()}\n{trial.answer.text}"
            for group, trials in self._by_group().items()
            for trial in trials
        )


def _failed(trial: Trial) -> str:
    return ", ".join(trial.failed) or "nothing"


def _card(trial: Trial) -> str:
    head = escape(f"{trial.prompt.id} · {trial.draw} · fails: {_failed(trial)}")
    return (
        f"<p><small>{head}</small><br>"
        f"<i>{as_html(trial.prompt.request.strip())}</i></p>"
        "<blockquote style='white-space:pre-wrap'>"
        f"{as_html(trial.answer.text)}</blockquote>"
    )


def failures(trials: Iterable[Trial]) -> TrialView:
    """Every answer that fails at least one check which applies to it."""
    return TrialView(tuple(trial for trial in trials if trial.failed))


def side_by_side(first: Trial, second: Trial) -> PairView:
    """Two answers to one prompt, with the names of their models.

    Raises:
        ValueError: If the two answer different prompts.
    """
    if first.prompt.id != second.prompt.id:
        raise ValueError(
            f"{first.prompt.id} and {second.prompt.id} are two prompts; expected two "
            "answers to one. Were the lists sorted differently?"
        )
    prompt = first.prompt
    shown = ShownPair(prompt.id, prompt.request, first.answer.text, second.answer.text)
    heads = tuple(f"{trial.model}, {trial.draw}" for trial in (first, second))
    return PairView(shown, heads)

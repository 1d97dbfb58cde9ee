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
    """Answers with the checks that they fail; HTML folds them, group by group."""

    trials: tuple[Trial, ...]

    def _repr_html_(self) -> str:
        cards: dict[str, list[str]] = {}
        for trial in self.trials:
            cards.setdefault(trial.group, []).append(_card(trial))
        return "\n".join(
            f"<details><summary><b>{escape(group.replace('_', ' '))}: {len(shown)}</b>"
            f"</summary>{''.join(shown)}</details>"
            for group, shown in cards.items()
        )

    def __repr__(self) -> str:
        return "\n\n".join(
            f"[{trial.prompt.id}, {trial.group}, {trial.model}, {trial.draw}] fails: "
            f"{_failed(trial)}\n> {trial.prompt.request.strip()}\n{trial.answer.text}"
            for trial in self.trials
        )


def _failed(trial: Trial) -> str:
    return ", ".join(trial.failed) or "nothing"


def _card(trial: Trial) -> str:
    head = escape(f"{trial.prompt.id} · {trial.draw} · fails: {_failed(trial)}")
    return (
        f"<p><small>{head}</small><br><i>{as_html(trial.prompt.request.strip())}</i></p>"
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

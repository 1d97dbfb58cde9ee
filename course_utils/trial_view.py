"""Trials to be read: prompt, verdicts and the whole answer, folded by group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from course_utils.blind_rating import ShownPair
from course_utils.rating_widget import PairView
from course_utils.trials import Trial


@dataclass(frozen=True)
class TrialView:
    """Answers with the names of the checks that they fail.

    HTML folds them by group, so that all of them fit into one output; plain text
    shows the same one after the other.

    Attributes:
        trials: In the order in which they are shown within a group.
    """

    trials: tuple[Trial, ...]

    def _by_group(self) -> list[tuple[str, list[Trial]]]:
        groups: dict[str, list[Trial]] = {}
        for trial in self.trials:
            groups.setdefault(trial.group, []).append(trial)
        return list(groups.items())

    def _repr_html_(self) -> str:
        pages = []
        for group, trials in self._by_group():
            title = f"{group.replace('_', ' ')}: {len(trials)}"
            cards = "".join(map(_card, trials))
            pages.append(f"<details><summary><b>{title}</b></summary>{cards}</details>")
        return "\n".join(pages)

    def __repr__(self) -> str:
        return "\n\n".join(
            f"[{trial.prompt.id}, {group}, {trial.model}, {trial.draw}] fails: "
            f"{', '.join(trial.failed) or 'nothing'}\n"
            f"> {trial.prompt.request.strip()}\n{trial.answer.text}"
            for group, trials in self._by_group()
            for trial in trials
        )


def _card(trial: Trial) -> str:
    request = escape(trial.prompt.request.strip()) or "<i>(nothing)</i>"
    answer = escape(trial.answer.text) or "<i>(nothing)</i>"
    failed = escape(", ".join(trial.failed) or "nothing")
    return (
        f"<p><small>{escape(trial.prompt.id)} · {trial.draw} · fails: {failed}</small>"
        f"<br><i>{request}</i></p>"
        f"<blockquote style='white-space:pre-wrap'>{answer}</blockquote>"
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
    shown = ShownPair(
        first.prompt.id, first.prompt.request, first.answer.text, second.answer.text
    )
    heads = tuple(f"{trial.model}, {trial.draw}" for trial in (first, second))
    return PairView(shown, heads)

"""Two evaluations compared: never a bare difference, always n, interval and p.

Both models answered the same questions, so the comparison is paired: a question
that both get right, or both wrong, says nothing about which is better. Only the
discordant ones do.
"""

from __future__ import annotations

from collections.abc import Collection

from course_utils import CourseError
from course_utils.statistics.paired import (
    PairedComparison,
)

NOT_COMPARED = frozenset({"batch_size"})  # settings that do not change a result


class NotComparable(CourseError, ValueError):
    """Two evaluations differ in more than what is to be compared."""


def compare(
    first: Evaluation,
    second: Evaluation,
    metric: str,
    *,
    varied: Collection[str] = (),
    seed: int = 0,
) -> PairedComparison:
    """Pair two evaluations question by question, such as base and tuned.

    Args:
        metric: `acc` or `acc_norm`; choose it before you look.
        varied: Settings that are meant to differ, such as `chat_template`.

    Raises:
        NotComparable: If any other setting, or a question, differs.
    """
    _refuse_other_settings(first, second, {*varied, *NOT_COMPARED})
    pairs = paired_answers(first, second)
    metrics = pairs[0][0].right
    if metric not in metrics:
        raise ValueError(f"metric is {metric!r}, expected one of {', '.join(metrics)}")
    verdicts = [(a.right[metric], b.right[metric]) for a, b in pairs]
    return PairedComparison.of((first.name, second.name), metric, verdicts, seed)


def paired_answers(
    first: Evaluation, second: Evaluation
) -> list[tuple[ScoredQuestion, ScoredQuestion]]:
    """The answers of two models to each question.

    Raises:
        NotComparable: If they were not asked the same questions.
    """
    mine, theirs = ({a.question: a for a in run.answers} for run in (first, second))
    odd = sorted({question.id for question in mine.keys() ^ theirs.keys()})
    if odd or not mine:
        raise NotComparable(
            f"{first.name} answered {len(mine)} questions, {second.name} "
            f"{len(theirs)}; not the same in both: {', '.join(odd[:5]) or 'none'}. A "
            "paired test needs the same questions for both: ask both again, or take "
            "a subset."
        )
    return [(answer, theirs[question]) for question, answer in mine.items()]


def _refuse_other_settings(
    first: Evaluation, second: Evaluation, ignored: Collection[str]
) -> None:
    differ = [
        f"{name}: {first.settings.get(name)!r} and {second.settings.get(name)!r}"
        for name in sorted({*first.settings, *second.settings} - {*ignored})
        if first.settings.get(name) != second.settings.get(name)
    ]
    if differ:
        raise NotComparable(
            f"{first.name} and {second.name} were not asked in the same way: "
            f"{'; '.join(differ)}. Ask one of them again, or name in `varied` what "
            "you mean to compare."
        )

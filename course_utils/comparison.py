"""Two evaluations compared: never a bare difference, always n, interval and p.

Both models answered the same questions, so the comparison is paired: a question
that both get right, or both wrong, says nothing about which is better. Only the
discordant ones do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import bootstrap
from statsmodels.stats.proportion import proportion_confint

from course_utils.accuracy import Accuracy
from course_utils.evaluation import METRICS, Evaluation, ScoredQuestion
from course_utils.power import (
    ALPHA,
    POWER,
    detectable_difference,
    exact_p,
    needed_questions,
)

RESAMPLES = 10_000  # of the bootstrap; the ends then move by about 0.1 point
NOT_COMPARED = frozenset({"batch_size"})  # settings that do not change a result


class NotComparable(ValueError):
    """Two evaluations differ in more than what is to be compared."""


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same questions, under one metric.

    Attributes:
        names: Of the first and the second, such as base and tuned.
        metric: `acc` or `acc_norm`.
        both_right: Questions.
        lost: Questions right for the first and wrong for the second (b).
        gained: Questions wrong for the first and right for the second (c).
        both_wrong: Questions.
        seed: Of the bootstrap.
    """

    names: tuple[str, str]
    metric: str
    both_right: int
    lost: int
    gained: int
    both_wrong: int
    seed: int = 0

    @property
    def n(self) -> int:
        """Questions, each answered by both."""
        return self.both_right + self.lost + self.gained + self.both_wrong

    @property
    def discordant(self) -> int:
        """Questions on which exactly one of the two is right."""
        return self.lost + self.gained

    @property
    def first(self) -> Accuracy:
        """The first model's accuracy."""
        right = self.both_right + self.lost
        return Accuracy(self.names[0], self.metric, right, self.n)

    @property
    def second(self) -> Accuracy:
        """The second model's accuracy."""
        right = self.both_right + self.gained
        return Accuracy(self.names[1], self.metric, right, self.n)

    @property
    def p(self) -> float:
        """Exact McNemar test, two-sided."""
        return exact_p(self.lost, self.gained)

    @cached_property
    def points(self) -> tuple[float, float, float]:
        """Second minus first in percentage points: low, estimate, high.

        The ends are a 95 % percentile interval of the paired bootstrap: questions
        are drawn with replacement, each with both of its answers. Where the two
        models never differ there is nothing to draw from; then the ends are the
        exact bound of the share on which they could.
        """
        same = self.both_right + self.both_wrong
        change = np.repeat([0.0, -100.0, 100.0], [same, self.lost, self.gained])
        estimate = float(change.mean())
        if self.discordant == 0:
            _, most = proportion_confint(0, self.n, alpha=ALPHA, method="beta")
            return -100 * most, estimate, 100 * most
        drawn = bootstrap(
            (change,),
            np.mean,
            n_resamples=RESAMPLES,
            batch=1000,  # rows held in memory at once
            method="percentile",
            rng=self.seed,
        )
        low, high = drawn.confidence_interval
        return float(low), estimate, float(high)

    @property
    def detectable_points(self) -> float:
        """Smallest difference that as many questions find with 80 % power."""
        return 100 * detectable_difference(self.n, self.discordant / self.n)

    @property
    def needed_questions(self) -> int | None:
        """Questions that would find a difference of this size; None if it is 0."""
        if self.lost == self.gained:
            return None
        size = abs(self.gained - self.lost) / self.n
        return needed_questions(size, self.discordant / self.n)

    def __repr__(self) -> str:
        low, estimate, high = self.points
        first, second = self.names
        needed = self.needed_questions
        enough = "" if needed is None else f"; to find this one: {needed:,} questions"
        return (
            f"{self.metric}, n = {self.n:,} questions, each answered by both\n"
            f"{first} {self.first.share:.1%}, {second} {self.second.share:.1%}\n"
            f"{second} − {first}: {estimate:+.1f} points, 95 % interval "
            f"{low:+.1f} to {high:+.1f} (paired bootstrap)\n"
            f"right → wrong {self.lost}, wrong → right {self.gained}: "
            f"exact McNemar p = {self.p:.3f}\n"
            f"this n finds {self.detectable_points:.1f} points with {POWER:.0%} power"
            f"{enough}"
        )


def compare(
    first: Evaluation,
    second: Evaluation,
    metric: str,
    *,
    varied: Collection[str] = (),
    seed: int = 0,
) -> PairedComparison:
    """Pair two evaluations question by question.

    Args:
        first: Such as the base model's.
        second: Such as the tuned model's.
        metric: `acc` or `acc_norm`; choose it before you look.
        varied: Settings that are meant to differ, such as `chat_template`.
        seed: Of the bootstrap.

    Raises:
        NotComparable: If any other setting, or a question, differs.
    """
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}, expected one of {', '.join(METRICS)}")
    _refuse_other_settings(first, second, {*varied, *NOT_COMPARED})
    pairs = [
        (a.right[metric], b.right[metric]) for a, b in paired_answers(first, second)
    ]
    return PairedComparison(
        names=(first.name, second.name),
        metric=metric,
        both_right=pairs.count((True, True)),
        lost=pairs.count((True, False)),
        gained=pairs.count((False, True)),
        both_wrong=pairs.count((False, False)),
        seed=seed,
    )


def paired_answers(
    first: Evaluation, second: Evaluation
) -> list[tuple[ScoredQuestion, ScoredQuestion]]:
    """The answers of two models to each question.

    Raises:
        NotComparable: If they were not asked the same questions.
    """
    asked = [{a.question.id: a for a in run.answers} for run in (first, second)]
    odd = sorted(asked[0].keys() ^ asked[1].keys())
    odd += [i for i in asked[0].keys() & asked[1].keys() if _other(*asked, i)]
    if odd or not asked[0]:
        raise NotComparable(
            f"{first.name} answered {len(asked[0])} questions, {second.name} "
            f"{len(asked[1])}; not the same in both: {', '.join(odd[:5]) or 'none'}. A "
            "paired test needs the same questions for both: ask both again, or take "
            "a subset."
        )
    return [(answer, asked[1][identity]) for identity, answer in asked[0].items()]


def _other(first: dict, second: dict, identity: str) -> bool:
    return first[identity].question != second[identity].question


def _refuse_other_settings(
    first: Evaluation, second: Evaluation, ignored: Iterable[str]
) -> None:
    names = {*first.settings, *second.settings} - set(ignored)
    differ = [
        f"{name}: {first.settings.get(name)!r} and {second.settings.get(name)!r}"
        for name in sorted(names)
        if first.settings.get(name) != second.settings.get(name)
    ]
    if differ:
        raise NotComparable(
            f"{first.name} and {second.name} were not asked in the same way: "
            f"{'; '.join(differ)}. Ask one of them again, or name in `varied` what "
            "you mean to compare."
        )

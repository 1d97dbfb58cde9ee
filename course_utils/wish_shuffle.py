"""Does a model listen? Its answers, held against wishes that they were not given to.

Some wishes are met by almost any film, so a pass rate alone says little. When the
same answers are dealt out to the wishes at random, what remains is luck.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import permutation_test

from course_utils.stress import StressSuite
from course_utils.trials import Trial

DEALS = 9_999  # random ones; with the real one that makes 10,000


@dataclass(frozen=True)
class ShuffledWishes:
    """Wishes met by the answers to them, and by the same answers dealt out anew."""

    met: int  # by the answers where they belong
    n: int  # wishes
    dealt: np.ndarray  # met in each random deal
    p: float  # share of all deals that meet at least as many, one-sided

    @property
    def by_luck(self) -> float:
        """Mean of the random deals."""
        return float(self.dealt.mean())

    def __repr__(self) -> str:
        return (
            f"{self.met} of {self.n} requests met; with the answers shuffled "
            f"{self.by_luck:.1f} on average (p = {self.p:.2g}, one-sided)"
        )


def shuffle_wishes(
    trials: Iterable[Trial], suite: StressSuite, seed: int
) -> ShuffledWishes:
    """Permutation test over which answer belongs to which wish.

    Args:
        trials: One model's answers in one draw; only those count to which the
            suite's check in the role `listens` applies.

    Raises:
        ValueError: If a prompt has several answers, or fewer than two have one.
    """
    check = suite.check(suite.roles.listens)
    kept = [trial for trial in trials if trial.group in check.groups]
    asked = {trial.prompt.id for trial in kept}
    if len(asked) != len(kept) or len(kept) < 2:
        raise ValueError(
            f"{len(kept)} answers to {len(asked)} wishes: expected one each, and at "
            "least two. Choose one model and one draw."
        )

    def meets(wish: Trial, given: Trial) -> bool:
        answer = given.answer
        return check.passes(suite.read(wish.prompt, answer.text, answer.stopped))

    table = np.array([[meets(wish, given) for given in kept] for wish in kept])
    wishes = np.arange(len(kept))
    test = permutation_test(
        (wishes,),
        lambda order: table[wishes, order].sum(),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=DEALS,
        vectorized=False,
        rng=seed,
    )
    return ShuffledWishes(
        met=int(test.statistic),
        n=len(kept),
        dealt=np.asarray(test.null_distribution),
        p=float(test.pvalue),
    )

"""Pass rates that count prompts, not answers.

Several answers to one prompt are not independent: a prompt that is easy once is easy
again. So a rate has one verdict a prompt, its interval is over prompts, and what a
second draw changes is shown beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import permutation_test
from statsmodels.stats.proportion import proportion_confint

from course_utils import CourseError
from course_utils.data.conversation import Conversation
from course_utils.model.generation import Generated
from course_utils.statistics.paired import PairedComparison
from course_utils.statistics.shares import Share, mean_interval
from course_utils.stress.suite import StressSuite
from course_utils.stress.trials import Trial


class NotIndependent(CourseError, ValueError):
    """A rate was asked for over several answers to one prompt."""


def verdict_table(trials: Iterable[Trial], suite: StressSuite) -> pd.DataFrame:
    """One row a verdict: prompt, group, model, draw, check, passed.

    Groups and checks are ordered categories, as the suite lists them.
    """
    rows = [
        (trial.prompt.id, trial.group, trial.model, trial.draw, name, passed)
        for trial in trials
        for name, passed in trial.verdicts.items()
    ]
    columns = ["prompt", "group", "model", "draw", "check", "passed"]
    table = pd.DataFrame(rows, columns=columns)
    checks = [check.name for check in suite.checks]
    return table.assign(
        group=pd.Categorical(table["group"], suite.groups, ordered=True),
        check=pd.Categorical(table["check"], checks, ordered=True),
    )


def pass_rates(verdicts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Share of prompts that passed, with its 95 % Wilson interval.

    Args:
        verdicts: From `verdict_table`; one draw of it.
        by: Columns that make a row of the result, such as `["model", "check"]`.

    Returns:
        Columns passed, n, rate, low, high, indexed by `by`.

    Raises:
        NotIndependent: If a row would count a prompt twice.
    """
    most = verdicts.groupby([*by, "prompt"], observed=True).size().max()
    if most > 1:
        raise NotIndependent(
            f"A prompt counts {most} times in a rate by {', '.join(by)}. Answers to "
            "one prompt are not independent, and counting them makes intervals too "
            "narrow. Choose one draw and one check, or use `rate_over_draws`."
        )
    grouped = verdicts.groupby(list(by), observed=True)["passed"]
    table = pd.DataFrame({"passed": grouped.sum(), "n": grouped.size()}).astype(int)
    low, high = proportion_confint(table["passed"], table["n"], method="wilson")
    return table.assign(rate=table["passed"] / table["n"], low=low, high=high)


def rate_over_draws(
    verdicts: pd.DataFrame, seed: int = 0
) -> tuple[float, float, float]:
    """Mean over all draws with a 95 % interval over prompts: low, mean, high.

    Prompts are drawn with replacement, each with all of its answers. Where every
    prompt has the same share there is nothing to draw from; then the ends are those
    of the Wilson interval of as many prompts.

    Args:
        verdicts: Of one model and one check, any number of draws.
    """
    shares = verdicts.groupby("prompt")["passed"].mean().tolist()
    mean = float(np.mean(shares))
    if len(set(shares)) > 1:
        low, high = mean_interval(shares, seed)
    else:
        low, high = Share(mean * len(shares), len(shares)).interval
    return low, mean, high


def how_often(verdicts: pd.DataFrame) -> pd.Series:
    """How many prompts pass in every draw, in some, and in none.

    Args:
        verdicts: Of one model and one check, several draws.
    """
    shares = verdicts.groupby("prompt")["passed"].mean()
    said = np.select([shares == 1, shares == 0], ["always", "never"], "sometimes")
    order = ["always", "sometimes", "never"]
    return pd.Series(said).value_counts().reindex(order, fill_value=0)


def compare_models(
    verdicts: pd.DataFrame, check: str, models: tuple[str, str] = ("base", "tuned")
) -> PairedComparison:
    """Both models under one check of one draw, paired prompt by prompt.

    Raises:
        ValueError: If the two were not judged on the same prompts, once each.
    """
    chosen = verdicts[verdicts["check"] == check]
    wide = chosen.pivot_table(
        index="prompt", columns="model", values="passed", aggfunc=list, observed=True
    ).reindex(columns=list(models))
    once = wide.map(lambda found: isinstance(found, list) and len(found) == 1)
    if wide.empty or not once.all(axis=None):
        raise ValueError(
            f"{check!r}: {int(once.all(axis=1).sum())} of {len(wide)} prompts have "
            f"exactly one verdict for {models[0]} and one for {models[1]}. Choose one "
            "draw that both models were asked with."
        )
    pairs = ((bool(a), bool(b)) for [a], [b] in wide.itertuples(index=False))
    return PairedComparison.of(models, check, pairs)


_DEALS = 9_999  # random ones; with the real one that makes 10,000


@dataclass(frozen=True)
class PermutedRequests:
    """Wishes met by the answers to them, and by the same answers dealt out anew."""

    met: int  # by the answers where they belong
    n: int  # wishes
    null_counts: np.ndarray  # met in each random deal
    p: float  # share of all deals that meet at least as many, one-sided

    @property
    def expected_by_chance(self) -> float:
        """Mean of the random deals."""
        return float(self.null_counts.mean())

    def __repr__(self) -> str:
        return (
            f"{self.met} of {self.n} requests met; with the answers shuffled "
            f"{self.expected_by_chance:.1f} on average (p = {self.p:.2g}, one-sided)"
        )


def permute_requests(
    trials: Iterable[Trial], suite: StressSuite, seed: int
) -> PermutedRequests:
    """Permutation test over which answer belongs to which wish.

    Args:
        trials: One model's answers in one draw; only those count to which the
            suite's check in the role `follows_request` applies.

    Raises:
        ValueError: If a prompt has several answers, or fewer than two have one.
    """
    check = suite.check(suite.roles.follows_request)
    kept = [trial for trial in trials if trial.group in check.groups]
    asked = {trial.prompt.id for trial in kept}
    if len(asked) != len(kept) or len(kept) < 2:
        raise ValueError(
            f"{len(kept)} answers to {len(asked)} wishes: expected one each, and at "
            "least two. Choose one model and one draw."
        )

    def meets(wish: Conversation, given: Generated) -> bool:
        return bool(check.passes(suite.in_context(wish, given.text, given.stopped)))

    table = np.array([[meets(x.prompt, y.answer) for y in kept] for x in kept])
    wishes = np.arange(len(kept))
    test = permutation_test(
        (wishes,),
        lambda order: table[wishes, order].sum(),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=_DEALS,
        vectorized=False,
        rng=seed,
    )
    met, p = int(test.statistic), float(test.pvalue)
    return PermutedRequests(met, len(kept), np.asarray(test.null_distribution), p)

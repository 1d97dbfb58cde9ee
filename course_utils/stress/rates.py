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

from course_utils import CourseError
from course_utils.data.conversation import Conversation
from course_utils.model.generation import Generated
from course_utils.statistics.paired import PairedComparison
from course_utils.statistics.shares import Share
from course_utils.stress.suite import StressSuite
from course_utils.stress.trials import Trial


class NotIndependent(CourseError, ValueError):
    """A rate was asked for over several answers to one prompt."""


def verdict_table(trials: Iterable[Trial], suite: StressSuite) -> pd.DataFrame:
    """One row a verdict: prompt, group, model, draw, check, passed.

    Groups and checks are ordered categories, as the suite lists them. `passed` is
    missing where a check applies and could not be judged.
    """
    rows = [
        (trial.prompt.id, trial.group, trial.model, trial.draw, check.name, passed)
        for trial in trials
        for check in suite.checks
        if trial.group in check.groups
        for passed in [trial.verdicts.get(check.name)]
    ]
    columns = ["prompt", "group", "model", "draw", "check", "passed"]
    table = pd.DataFrame(rows, columns=columns)
    checks = [check.name for check in suite.checks]
    return table.assign(
        group=pd.Categorical(table["group"], suite.groups, ordered=True),
        check=pd.Categorical(table["check"], checks, ordered=True),
        passed=table["passed"].astype("boolean"),
    )


def pass_rates(verdicts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Share of the judged prompts that passed, with its 95 % Wilson interval.

    Args:
        verdicts: From `verdict_table`; one draw of it.
        by: Columns that make a row of the result, such as `["model", "check"]`.

    Returns:
        Columns passed, n (judged), not_judged, rate, low, high, indexed by `by`. The
        rate is NaN and its interval all of 0 to 1 where nothing was judged.

    Raises:
        NotIndependent: If a row would count a prompt twice.
    """
    most = verdicts.groupby([*by, "prompt"], observed=True).size().max()
    if most > 1:
        raise NotIndependent(
            f"A prompt counts {most} times in a rate by {', '.join(by)}. Answers to "
            "one prompt are not independent, and counting them makes intervals too "
            "narrow. Choose one draw and one check, or average over draws first."
        )
    grouped = verdicts.groupby(list(by), observed=True)["passed"]
    counts = {"passed": grouped.sum(), "n": grouped.count(), "all": grouped.size()}
    table = pd.DataFrame(counts).astype(int)
    table["not_judged"] = table.pop("all") - table["n"]
    shares = [Share(k, n) for k, n in zip(table["passed"], table["n"], strict=True)]
    table["rate"] = [share.share for share in shares]
    table[["low", "high"]] = [share.interval for share in shares]
    return table


def spelled(rate: pd.Series) -> str:
    """A row of `pass_rates` as text: k of n, its interval, and what was not judged."""
    left_out = f"not judged: {rate.not_judged:.0f}" if rate.not_judged else ""
    if not rate.n:
        return f"nothing to judge, {left_out}".removesuffix(", ")
    told = f"{rate.passed:.0f} of {rate.n:.0f} [{rate.low:.0%}–{rate.high:.0%}]"
    return f"{told}, {left_out}".removesuffix(", ")


def how_often(verdicts: pd.DataFrame) -> pd.Series:
    """How many prompts pass in every draw, in some, and in none.

    Args:
        verdicts: Of one model and one check, several draws.
    """
    judged = verdicts.dropna(subset="passed")
    shares = judged.groupby("prompt")["passed"].mean().astype(float)
    said = np.select([shares == 1, shares == 0], ["always", "never"], "sometimes")
    order = ["always", "sometimes", "never"]
    return pd.Series(said).value_counts().reindex(order, fill_value=0)


def compare_models(
    verdicts: pd.DataFrame, check: str, models: tuple[str, str] = ("base", "tuned")
) -> PairedComparison:
    """Both models under one check of one draw, paired prompt by prompt.

    Only prompts count on which both could be judged; there may be none.

    Raises:
        ValueError: If the two were not asked the same prompts, once each.
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
    pairs = ((a, b) for [a], [b] in wide.itertuples(index=False))
    judged = ((bool(a), bool(b)) for a, b in pairs if not pd.isna([a, b]).any())
    return PairedComparison.of(models, check, judged)


def met_by_part(trials: Iterable[Trial], suite: StressSuite) -> dict[str, Share]:
    """How many answers meet each part of their requests, by the suite's names.

    One verdict on a whole request hides that a model copies a word and overlooks a
    number. Only those prompts count to which the check in the role `follows_request`
    applies; a suite that tells no parts apart has none.

    Args:
        trials: One model's answers in one draw.
    """
    groups = suite.check(suite.roles.follows_request).groups
    seen: dict[str, list[bool]] = {}
    for trial in trials:
        if trial.group in groups:
            text, stopped = trial.answer.text, trial.answer.stopped
            answer = suite.in_context(trial.prompt, text, stopped)
            for name, met in suite.request_parts(answer).items():
                seen.setdefault(name, []).extend([] if met is None else [met])
    return {name: Share(sum(met), len(met)) for name, met in seen.items()}


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
            suite's check in the role `follows_request` applies. What that check cannot
            judge counts as not met.

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

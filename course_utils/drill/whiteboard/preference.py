"""On the board: the loss of DPO, and the advantages of GRPO."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.drill.whiteboard.board import Task
from course_utils.exercises.checking import Case, Exercise


def dpo_loss(
    chosen: np.ndarray,
    rejected: np.ndarray,
    reference_chosen: np.ndarray,
    reference_rejected: np.ndarray,
    beta: float,
) -> float:
    """Mean loss over the pairs, in nats.

    Each array is (batch,): the summed log-probability of an answer's tokens,
    under the model in training or under the reference.
    """
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return float(np.logaddexp(0, -beta * margin).mean())


def _by_margin(loss: Callable[[Any, float], Any]) -> Callable[..., Any]:
    """The loss, with another way from the margins to one number."""

    def dpo(
        chosen: Any,
        rejected: Any,
        reference_chosen: Any,
        reference_rejected: Any,
        beta: float,
    ) -> Any:
        margin = (chosen - reference_chosen) - (rejected - reference_rejected)
        return loss(margin, beta)

    return dpo


def _by_logit(logit: Callable[[Any, Any, float], Any]) -> Callable[..., Any]:
    """The loss, with another logit of the differences chosen minus rejected."""

    def dpo(
        chosen: Any,
        rejected: Any,
        reference_chosen: Any,
        reference_rejected: Any,
        beta: float,
    ) -> Any:
        policy, reference = chosen - rejected, reference_chosen - reference_rejected
        return np.logaddexp(0, -logit(policy, reference, beta)).mean()

    return dpo


def _sigmoid(number: Any) -> Any:
    return 1 / (1 + np.exp(-number))


def _loss_of(*logits: float) -> float:
    return sum(math.log1p(math.exp(-logit)) for logit in logits) / len(logits)


DPO = Task(
    slug="dpo-loss",
    title="The loss of DPO",
    topic="preference",
    task=(
        "Write the loss of direct preference optimization. You get four arrays "
        "(batch,) of summed log-probabilities: of the chosen and the rejected answer "
        "under the model in training, and of the same two under the reference. An "
        "answer's implicit reward is beta times what its log-probability has over the "
        "reference's. The loss of a pair is minus the log-sigmoid of the chosen "
        "answer's reward minus the rejected one's. Return the mean over the pairs. "
        "That difference may be a thousand either way."
    ),
    hint=(
        "Minus log-sigmoid(z) is log(1 + exp(-z)); a library has it in a form that "
        "does not overflow. While the model is the reference, the loss is ln 2."
    ),
    exercise=Exercise(
        solution=dpo_loss,
        cases=(
            Case(
                ([-10.0, -20.0], [-14.0, -21.0], [-10.0, -20.0], [-14.0, -21.0], 0.5),
                math.log(2),
            ),
            # margins 1 - (-1) and 0 - (-3)
            Case(
                ([-10.0, -20.0], [-12.0, -25.0], [-11.0, -20.0], [-11.0, -22.0], 0.5),
                _loss_of(1.0, 1.5),
            ),
            Case(([-3000.0], [-1000.0], [-1000.0], [-1000.0], 0.5), 1000.0),
            Case(([-1000.0], [-3000.0], [-1000.0], [-1000.0], 0.5), 0.0),
        ),
        mistakes={
            "the reference is forgotten: a reward is beta times what the model "
            "has over it.": _by_logit(lambda policy, reference, beta: beta * policy),
            "the reference's difference is added: subtract it.": (
                _by_logit(lambda policy, reference, beta: beta * (policy + reference))
            ),
            "beta stands at the model's part alone; it multiplies the whole "
            "difference.": (
                _by_logit(lambda policy, reference, beta: beta * policy - reference)
            ),
            "the sign of the difference: the chosen answer's reward comes first.": (
                _by_logit(lambda policy, reference, beta: beta * (reference - policy))
            ),
            "beta is missing.": (
                _by_logit(lambda policy, reference, beta: policy - reference)
            ),
            "the difference is divided by beta: multiply by it.": (
                _by_logit(lambda policy, reference, beta: (policy - reference) / beta)
            ),
            "the sign of the loss: it is minus the log-sigmoid.": (
                _by_margin(lambda margin, beta: -np.logaddexp(0, -beta * margin).mean())
            ),
            "the logarithm is missing: this is one minus the sigmoid.": (
                _by_margin(lambda margin, beta: 1 - _sigmoid(beta * margin).mean())
            ),
            "the mean came first: each pair has its own loss, then take the mean.": (
                _by_margin(lambda margin, beta: np.logaddexp(0, -beta * margin.mean()))
            ),
            "this is the sum over the pairs; return the mean.": (
                _by_margin(lambda margin, beta: np.logaddexp(0, -beta * margin).sum())
            ),
            "this is one loss a pair; return the mean.": (
                _by_margin(lambda margin, beta: np.logaddexp(0, -beta * margin))
            ),
            "the sigmoid became 0 and its logarithm infinite: use a log-sigmoid that "
            "is stable.": (
                _by_margin(lambda margin, beta: -np.log(_sigmoid(beta * margin)).mean())
            ),
        },
    ),
)


def grpo_advantages(rewards: np.ndarray, scale: bool) -> np.ndarray:
    """Advantages (prompts, answers).

    rewards is (prompts, answers), a row the group of one prompt's answers;
    scale says whether to divide by the spread of the group.
    """
    deviations = rewards - rewards.mean(axis=1, keepdims=True)
    if not scale:
        return deviations
    spread = rewards.std(axis=1, ddof=1, keepdims=True)
    return deviations / (spread + 1e-4)


def _normalized(
    axis_of_mean: int | None,
    axis_of_spread: int | None,
    ddof: int = 1,
    added: float = 1e-4,
) -> Callable[..., Any]:
    """Advantages, with other means and spreads than those of the groups."""

    def advantages(rewards: Any, scale: bool) -> Any:
        deviations = rewards - rewards.mean(axis=axis_of_mean, keepdims=True)
        spread = rewards.std(axis=axis_of_spread, ddof=ddof, keepdims=True)
        return deviations / (spread + added) if scale else deviations

    return advantages


def _by_variance(rewards: Any, scale: bool) -> Any:
    variance = rewards.var(axis=1, ddof=1, keepdims=True) + 1e-4
    return grpo_advantages(rewards, False) / (variance if scale else 1)


def _uncentred(rewards: Any, scale: bool) -> Any:
    spread = rewards.std(axis=1, ddof=1, keepdims=True) + 1e-4
    return rewards / spread if scale else rewards


def _only_where_positive(rewards: Any, scale: bool) -> Any:
    deviations = grpo_advantages(rewards, False)
    spread = rewards.std(axis=1, ddof=1, keepdims=True)
    return deviations / np.where(spread > 0, spread, 1.0) if scale else deviations


GRPO = Task(
    slug="grpo-advantages",
    title="The advantages of GRPO",
    topic="preference",
    task=(
        "Turn rewards into advantages, as GRPO does without a critic. Rewards are "
        "(prompts, answers): each row is a group, the answers to one prompt. An "
        "advantage is a reward minus the mean of its group. With `scale` it is also "
        "divided by the standard deviation of its group, the one with n - 1. A group "
        "whose rewards are all equal teaches nothing: its advantages are zero. Return "
        "an array of the same shape."
    ),
    hint=(
        "Keep the axis that you reduce, so that a group's mean stands beside its "
        "row. Rounding may leave a group of equal rewards a spread of 1e-17."
    ),
    exercise=Exercise(
        solution=grpo_advantages,
        cases=(
            # deviations of a half and of one; spreads of 1/√3 and 2/√3
            Case(
                ([[1.0, 1.0, 0.0, 0.0], [3.0, 1.0, 1.0, 3.0]], True),
                [
                    [3**0.5 / 2, 3**0.5 / 2, -(3**0.5) / 2, -(3**0.5) / 2],
                    [3**0.5 / 2, -(3**0.5) / 2, -(3**0.5) / 2, 3**0.5 / 2],
                ],
                tolerance=1e-3,  # whoever adds 1e-4 to the spread is right, as TRL does
            ),
            Case(
                ([[1.0, 0.0, 0.0, 0.0], [2.0, 0.0, 2.0, 4.0]], False),
                [[0.75, -0.25, -0.25, -0.25], [0.0, -2.0, 0.0, 2.0]],
            ),
            Case(
                ([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]], True),
                [[0.0, 0.0, 0.0, 0.0], [1.5, -0.5, -0.5, -0.5]],
                tolerance=1e-3,
            ),
            Case(
                ([[0.1] * 3, [0.1] * 3], True), [[0.0] * 3, [0.0] * 3], tolerance=1e-3
            ),
        ),
        mistakes={
            "mean and spread are those of the batch; each group has its own.": (
                _normalized(None, None)
            ),
            "the spread is that of the batch; each group has its own.": (
                _normalized(1, None)
            ),
            "the mean is that of the batch; each group has its own.": (
                _normalized(None, 1)
            ),
            "this runs over the prompts: a group is a row.": _normalized(0, 0),
            "the standard deviation divides by n; asked for is the one with n - 1.": (
                _normalized(1, 1, ddof=0)
            ),
            "divided by the variance: take its root.": _by_variance,
            "the mean of the group is not subtracted.": _uncentred,
            "`scale` is True here: divide by the spread.": (
                lambda rewards, scale: grpo_advantages(rewards, False)
            ),
            "`scale` is False here: subtract the mean and leave it at that.": (
                lambda rewards, scale: grpo_advantages(rewards, True)
            ),
            "rounding gives equal rewards a spread of 1e-17, which is not 0 and blows "
            "rounding up: add a little to the spread.": _only_where_positive,
            "0 / 0 is NaN in a group of equal rewards: its advantages are zero.": (
                _normalized(1, 1, added=0.0)
            ),
        },
    ),
)

TASKS = (DPO, GRPO)

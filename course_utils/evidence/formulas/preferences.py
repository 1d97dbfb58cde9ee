"""Values of claims on preference tuning and rewards: arithmetic on small examples."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import ceil, comb, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, rel_entr
from scipy.stats import norm

from course_utils.model.architectures import load_architectures
from course_utils.recipes.book import ALPACA_MISTRAL
from course_utils.statistics.power import ALPHA, POWER

_Law = NDArray[np.float64]  # probabilities that add up to one
_GROUP = 8  # answers to one prompt, TRL's default
_BETA = 0.1  # of DPO, TRL's default
# Bytes a parameter: weights and gradient in 16 bits, a copy and two moments in fp32.
_TRAINED, _FROZEN = 2 + 2 + 4 + 8, 2


def _silent(p: float) -> float:
    """Chance that all answers of a group are right, or all of them wrong."""
    return p**_GROUP + (1 - p) ** _GROUP


def _advantages(hits: int) -> tuple[float, float]:
    """Of a right answer in a group, divided by the rewards' spread and not."""
    rewards = np.repeat([1.0, 0.0], [hits, _GROUP - hits])
    plain = float(1 - rewards.mean())
    return plain / float(rewards.std(ddof=1)), plain


def groups_without_a_critic() -> dict[str, float]:
    """Groups of eight that teach nothing, and what a right answer counts in others."""
    tenth, hundredth = 0.1, 0.01
    rare, rare_plain = _advantages(1)
    even, even_plain = _advantages(_GROUP // 2)
    return {
        "group": float(_GROUP),
        "tenth": tenth,
        "hundredth": hundredth,
        "silent_at_half": _silent(0.5),
        "silent_at_tenth": _silent(tenth),
        "silent_at_hundredth": _silent(hundredth),
        "rare_divided": rare,
        "rare_plain": rare_plain,
        "even_divided": even,
        "even_plain": even_plain,
    }


def bradley_terry() -> dict[str, float]:
    """Loss -ln σ(Δ) of a reward model and how hard it still pushes, by the margin Δ."""
    return {
        "loss_at_0": -log(expit(0.0)),
        "push_at_0": float(expit(-0.0)),
        "push_at_5": float(expit(-5.0)),
        "push_at_minus_5": float(expit(5.0)),
    }


def memory_of_optimizers() -> dict[str, float]:
    """Weights and optimizer state for Llama-3.1-8B, without activations or caches.

    PPO trains policy and value model, and keeps reference and reward model; GRPO with a
    program as its reward trains the policy and keeps the reference. With LoRA the
    reference is the frozen base with the adapter off.
    """
    shape = load_architectures()["llama-3.1-8b"]
    adapter = shape.lora_parameters(ALPACA_MISTRAL.plan.rank)
    ppo, grpo = 2 * _TRAINED + 2 * _FROZEN, _TRAINED + _FROZEN
    return {
        "ppo_bytes": float(ppo),
        "grpo_bytes": float(grpo),
        "ppo_gb": ppo * shape.parameters / 1e9,
        "grpo_gb": grpo * shape.parameters / 1e9,
        "lora_gb": (_FROZEN * shape.parameters + _TRAINED * adapter) / 1e9,
    }


def pairs_of_a_ranking() -> dict[str, float]:
    """Comparisons in a ranking of four answers, and of nine."""
    return {"pairs_of_4": float(comb(4, 2)), "pairs_of_9": float(comb(9, 2))}


def _dpo(chosen: float, rejected: float) -> float:
    """DPO's loss; how much likelier than the reference each answer became, in nats."""
    return -log(expit(_BETA * (chosen - rejected)))


def losses_over_margins() -> dict[str, float]:
    """What DPO, IPO and a mean over tokens make of log-ratios to the reference.

    The last two: each token of both answers became likelier by 0.1 nats, and the
    chosen answer has 40 tokens, the rejected one 10.
    """
    chosen, rejected, per_token = 40, 10, 0.1
    return {
        "beta": _BETA,
        "loss_at_start": _dpo(0, 0),
        "loss_both_fell": _dpo(-1, -5),
        "push_at_50_nats": float(expit(-_BETA * 50)),
        "ipo_target_nats": 1 / (2 * _BETA),
        "margin_of_sums": per_token * (chosen - rejected),
        "margin_of_means": per_token * (chosen / chosen - rejected / rejected),
    }


def _estimators(policy: _Law, reference: _Law) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of one sample's k1, k2 and k3, drawn from policy."""
    ratio = reference / policy
    values = {
        "k1": -np.log(ratio),
        "k2": np.log(ratio) ** 2 / 2,
        "k3": ratio - 1 - np.log(ratio),
    }
    means = {name: float(policy @ k) for name, k in values.items()}
    return {
        name: (means[name], sqrt(policy @ (k - means[name]) ** 2))
        for name, k in values.items()
    }


def estimators_of_kl() -> dict[str, float]:
    """Three estimators of KL(policy to reference) on two pairs of laws, exactly.

    `near`: the policy has moved a little; `far`: it has nearly settled on one answer.
    The last: k1 as a loss, its expected gradient in the policy's logits, at most.
    """
    policy, reference = np.array([0.6, 0.3, 0.1]), np.array([0.5, 0.3, 0.2])
    settled, broad = np.array([0.98, 0.01, 0.01]), np.array([0.5, 0.25, 0.25])
    near, far = _estimators(policy, reference), _estimators(settled, broad)
    # Of log π(x) in the logits: one at x, less the policy.
    k1_gradient = policy @ (np.eye(len(policy)) - policy)
    return {
        "kl": float(rel_entr(policy, reference).sum()),
        **{f"{name}_mean": mean for name, (mean, _) in near.items()},
        **{f"{name}_spread": spread for name, (_, spread) in near.items()},
        "far_kl": float(rel_entr(settled, broad).sum()),
        "far_k1_spread": far["k1"][1],
        "far_k3_spread": far["k3"][1],
        "k1_gradient": float(np.abs(k1_gradient).max()),
    }


def sharpening() -> dict[str, float]:
    """Ten problems, before and after training that makes half of them likely.

    Before, each is solved in 20 % of the draws; after, half in 80 % and half never.
    """
    before, after = np.full(10, 0.2), np.repeat([0.8, 0.0], 5)

    def solved(p: _Law, draws: int) -> float:
        return float((1 - (1 - p) ** draws).mean())

    return {
        "base_pass_1": solved(before, 1),
        "tuned_pass_1": solved(after, 1),
        "base_pass_16": solved(before, 16),
        "tuned_pass_16": solved(after, 16),
    }


def pass_at_k() -> dict[str, float]:
    """Chance of a right answer in ten draws, from three right ones in twenty draws."""
    n, right, draws = 20, 3, 10
    return {
        "unbiased": 1 - comb(n - right, draws) / comb(n, draws),
        "naive": 1 - (1 - right / n) ** draws,
    }


def _agreement(table: NDArray[np.int_]) -> tuple[float, float]:
    """Share of equal verdicts, and Cohen's kappa: how far it is beyond chance."""
    n = int(table.sum())
    agreed = int(table.trace()) / n
    by_chance = int(table.sum(axis=0) @ table.sum(axis=1)) / n**2
    return agreed, (agreed - by_chance) / (1 - by_chance)


def verdicts_of_a_judge() -> dict[str, float]:
    """Verdicts to tell 55 from 50 %, and agreement with people, raw and beyond chance.

    Two judges of 100 pairs. The first and the people both choose the tuned answer in
    nine of ten pairs, independently of each other; the second is right four times of
    five, whichever answer people prefer.
    """
    win, coin = 0.55, 0.5
    wanted = norm.isf(ALPHA / 2) * sqrt(coin * (1 - coin))
    found = norm.isf(1 - POWER) * sqrt(win * (1 - win))
    blind, blind_kappa = _agreement(np.array([[81, 9], [9, 1]]))
    able, able_kappa = _agreement(np.array([[40, 10], [10, 40]]))
    return {
        "win_rate": win,
        "verdicts": float(ceil(((wanted + found) / (win - coin)) ** 2)),
        "blind_agreement": blind,
        "blind_kappa": blind_kappa,
        "able_agreement": able,
        "able_kappa": able_kappa,
    }


_PLACES = np.arange(41)


def _bump(middle: float, width: float) -> _Law:
    heights = np.exp(-(((_PLACES - middle) / width) ** 2) / 2)
    return heights / heights.sum()


def one_bump_for_two() -> dict[str, float]:
    """A student of one bump, fitted to a teacher of two by either direction of KL.

    Teacher: bumps at 10 (60 %) and at 30, on places 0 to 40. The valley is where each
    place has less than 1 % of the teacher's mass.
    """
    teacher = 0.6 * _bump(10, 2) + 0.4 * _bump(30, 2)
    valley = teacher < 0.01
    students = [
        _bump(middle, width)
        for middle in np.arange(0, 40.5, 0.5)
        for width in np.arange(1.0, 20.5, 0.5)
    ]
    forward = min(students, key=lambda s: rel_entr(teacher, s).sum())
    reverse = min(students, key=lambda s: rel_entr(s, teacher).sum())
    return {
        "teacher_in_valley": float(teacher[valley].sum()),
        "forward_in_valley": float(forward[valley].sum()),
        "reverse_in_valley": float(reverse[valley].sum()),
        "reverse_on_second": float(reverse[_PLACES > 20].sum()),
        "teacher_on_second": float(teacher[_PLACES > 20].sum()),
    }


def _published_reward(answer: str) -> float:
    """InfraMind's reward of a Terraform answer, written from its description."""
    syntax = (answer.count("{") == answer.count("}")) / 2 + ("=" in answer) / 2
    block = re.search(r'\b(resource|module|data|variable|output)\s+"', answer)
    meaning = 0.6 * bool(block) + 0.4 * ("terraform" in answer or "provider" in answer)
    layout = ("\n" in answer) / 2 + ("  " in answer or "\t" in answer) / 2
    if answer.startswith(("Here", "This", "I ", "The ", "To ", "Below")):
        layout = max(0.0, layout - 0.5)
    return 0.4 * syntax + 0.3 * meaning + 0.3 * layout


def published_reward_of_words() -> dict[str, float]:
    """What that reward pays for words that are no Terraform, and for a sentence."""
    return {
        "for_words": _published_reward('terraform resource "x" =\n  y'),
        "for_a_sentence": _published_reward(
            'To do this = we use a terraform resource "x"'
        ),
    }


FORMULAS: dict[str, Callable[[], dict[str, float]]] = {
    "C104": groups_without_a_critic,
    "C153": bradley_terry,
    "C155": memory_of_optimizers,
    "C168": pass_at_k,
    "C180": pairs_of_a_ranking,
    "C230": losses_over_margins,
    "C231": estimators_of_kl,
    "C232": sharpening,
    "C233": one_bump_for_two,
    "C234": verdicts_of_a_judge,
    "C235": published_reward_of_words,
}

"""Values of claims on pretraining: tokens a parameter, and what a budget pays for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

from course_utils.evidence.claims import load_claims
from course_utils.model.architectures import load_architectures

_OPERATIONS = 6  # a parameter and token: two forward, four backward
_GROWTH = 10.0  # a budget so many times as large


def budget_of(parameters: float, tokens: float) -> float:
    """Operations of one training run, C = 6·N·D."""
    return _OPERATIONS * parameters * tokens


def split(budget: float, tokens_a_parameter: float) -> tuple[float, float]:
    """Parameters and tokens that use up a budget at a given ratio of the two."""
    parameters = sqrt(budget / (_OPERATIONS * tokens_a_parameter))
    return parameters, tokens_a_parameter * parameters


@dataclass(frozen=True)
class ScalingLaw:
    """L(N, D) = E + A / N^α + B / D^β in nats a token, N parameters, D tokens."""

    e: float
    a: float
    b: float
    alpha: float
    beta: float

    def loss(self, parameters: float, tokens: float) -> float:
        """Nats a token that the law predicts."""
        of_size = self.a / parameters**self.alpha
        return self.e + of_size + self.b / tokens**self.beta

    def best(self, budget: float) -> tuple[float, float]:
        """Parameters and tokens of the least loss with C = 6·N·D."""
        exponent = 1 / (self.alpha + self.beta)
        scale = (self.alpha * self.a / (self.beta * self.b)) ** exponent
        product = budget / _OPERATIONS
        parameters = scale * product ** (self.beta * exponent)
        return parameters, product / parameters

    def ratio(self, budget: float) -> float:
        """Tokens a parameter at the least loss."""
        parameters, tokens = self.best(budget)
        return tokens / parameters


# Hoffmann et al.'s third approach as printed, and with the digits of their source; the
# same form fitted again by Besiroglu et al. All as the notebook of the latter has them.
PRINTED = ScalingLaw(1.69, 406.4, 410.7, 0.34, 0.28)
UNROUNDED = ScalingLaw(1.69337368, 406.401018, 410.722827, 0.33917084, 0.2849083)
REFITTED = ScalingLaw(1.81686, 482.00572, 2085.43420, 0.34781, 0.36585)


def _read(key: str) -> float:
    """A number of C056 that stands in a source."""
    low, _ = load_claims()["C056"].values[key].bounds()
    return low


def tokens_a_parameter() -> dict[str, float]:
    """Chinchilla's ratio, what it asks of Mistral-7B, and two models far beyond it."""
    shapes = load_architectures()
    ratio = 1e12 * _read("chinchilla_trillions") / (1e9 * _read("chinchilla_billions"))
    llama = 1e12 * _read("llama_trillions") / shapes["llama-3.1-8b"].parameters
    smollm = 1e12 * _read("smollm_trillions") / shapes["smollm2-135m"].parameters
    return {
        "chinchilla_ratio": ratio,
        "mistral_tokens": ratio * shapes["mistral-7b"].parameters,
        "llama_ratio": llama,
        "llama_times": llama / ratio,
        "smollm_ratio": smollm,
    }


def what_a_budget_pays_for() -> dict[str, float]:
    """Chinchilla's budget by three fits, and SmolLM2-135M's spent at 20 to one."""
    ratio = tokens_a_parameter()["chinchilla_ratio"]
    chinchilla = (
        1e9 * _read("chinchilla_billions"),
        1e12 * _read("chinchilla_trillions"),
    )
    budget = budget_of(*chinchilla)
    larger, _ = split(_GROWTH * budget, ratio)
    size = float(load_architectures()["smollm2-135m"].parameters)
    small = size, 1e12 * _read("smollm_trillions")
    spent = budget_of(*small)
    parameters, tokens = split(spent, ratio)
    return {
        "budget": budget / 1e23,
        "growth": larger / chinchilla[0],
        "printed_ratio": PRINTED.ratio(budget),
        "unrounded_ratio": UNROUNDED.ratio(budget),
        "refitted_ratio": REFITTED.ratio(budget),
        "smollm_budget": spent / 1e21,
        "parameters": parameters,
        "tokens": tokens,
        "times_larger": parameters / size,
        "loss_given_up": REFITTED.loss(*small) - REFITTED.loss(parameters, tokens),
    }


FORMULAS: dict[str, Callable[[], dict[str, float]]] = {
    "C056": tokens_a_parameter,
    "C145": what_a_budget_pays_for,
}

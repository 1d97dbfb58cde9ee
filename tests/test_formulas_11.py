"""Values of claims on pretraining, by hand or in another way."""

import numpy as np
import pytest

from course_utils.evidence.claims import load_claims
from course_utils.evidence.formulas import FORMULAS, foundations

MISTRAL, LLAMA, SMOLLM = 7_241_732_096, 8_030_261_248, 134_515_008
LAWS = {
    "printed": foundations.PRINTED,
    "unrounded": foundations.UNROUNDED,
    "refitted": foundations.REFITTED,
}


def near(value):
    return pytest.approx(value, rel=1e-9)


def test_chinchilla_had_20_tokens_a_parameter_and_mistral_would_want_145_billion():
    found = FORMULAS["C056"]()
    assert found["chinchilla_ratio"] == near(1_400 / 70)
    assert found["mistral_tokens"] == near(20 * MISTRAL)


def test_two_small_models_read_far_more_than_20_tokens_a_parameter():
    found = FORMULAS["C056"]()
    assert found["llama_ratio"] == near(15e12 / LLAMA)
    assert found["smollm_ratio"] == near(2e12 / SMOLLM)
    assert found["llama_times"] == near(15e12 / LLAMA / 20)


def test_a_split_at_a_ratio_uses_up_the_budget():
    parameters, tokens = foundations.split(6e21, 10)
    assert (parameters, tokens) == (near(1e10), near(1e11))
    assert foundations.budget_of(parameters, tokens) == near(6e21)


def test_ten_times_the_budget_pays_for_the_root_of_ten_of_both():
    assert FORMULAS["C145"]()["growth"] == near(10**0.5)
    once, larger = foundations.split(1e20, 20), foundations.split(1e21, 20)
    assert larger == (near(once[0] * 10**0.5), near(once[1] * 10**0.5))


def test_budgets_are_six_operations_a_parameter_and_token():
    found = FORMULAS["C145"]()
    assert found["budget"] == near(6 * 70e9 * 1.4e12 / 1e23)
    assert found["smollm_budget"] == near(6 * SMOLLM * 2e12 / 1e21)


def test_smollm_s_budget_at_20_tokens_is_the_same_product_otherwise_divided():
    found = FORMULAS["C145"]()
    assert found["parameters"] * found["tokens"] == near(SMOLLM * 2e12)
    assert found["tokens"] / found["parameters"] == near(20)
    assert found["times_larger"] == near((2e12 / SMOLLM / 20) ** 0.5)


@pytest.mark.parametrize("name", LAWS)
def test_the_closed_form_finds_the_least_loss_of_a_search(name):
    law, budget = LAWS[name], 6 * 70e9 * 1.4e12
    sizes = np.geomspace(1e10, 1e12, 200_001)
    losses = [law.loss(sizes, budget / 6 / sizes)]
    least = sizes[np.argmin(losses)]
    ratio = budget / 6 / least**2
    assert FORMULAS["C145"]()[f"{name}_ratio"] == pytest.approx(ratio, rel=1e-3)


def test_rounding_the_exponents_alone_moves_the_ratio_by_half():
    printed, unrounded = (LAWS[n].ratio(5.88e23) for n in ("printed", "unrounded"))
    assert 1.5 < printed / unrounded < 1.6


def test_the_loss_that_smollm_gives_up_is_by_the_refit():
    def loss(size, tokens):
        return 1.81686 + 482.00572 * size**-0.34781 + 2085.4342 * tokens**-0.36585

    found = FORMULAS["C145"]()
    best = loss(found["parameters"], found["tokens"])
    assert found["loss_given_up"] == pytest.approx(loss(SMOLLM, 2e12) - best, abs=1e-9)


@pytest.mark.parametrize("claim", foundations.FORMULAS)
def test_the_formula_gives_each_value_that_the_bank_calls_arithmetic(claim):
    values = load_claims()[claim].values
    computed = {key for key, value in values.items() if value.kind != "read"}
    assert set(FORMULAS[claim]()) == computed

import pytest

from course_utils.evidence.claims import load_claims
from course_utils.evidence.formulas import FORMULAS


def test_a_full_batch_of_the_mistral_project_has_these_tensors():
    values = FORMULAS["C036"]()
    # 8 rows of 2,048 tokens: 32,000 scores of 4 bytes; 32 inputs of 4,096 x 2 bytes
    assert values["logits_gb"] == pytest.approx(16_384 * 128_000 / 1e9)
    assert values["kept_gb"] == pytest.approx(16_384 * 262_144 / 1e9)


def test_an_epoch_of_all_alpaca_takes_most_of_a_day_at_the_logged_pace():
    values = FORMULAS["C043"]()
    assert values["alpaca_updates"] == 1626  # 6,501 micro-batches, by fours
    assert values["alpaca_hours"] == pytest.approx(1626 * 3407 / 94 / 3600)


def test_a_conversation_cut_at_each_answer_repeats_its_history():
    assert FORMULAS["C190"]() == {"turns": 5, "tokens_factor": 3}  # 15 for 5


def test_the_counts_of_lesson_03_are_read_from_what_it_published():
    found = FORMULAS["C191"]()
    assert found["requests"] == 40  # held-out requests of the movie recommender
    assert found["form_examples"] <= found["form_tuned"] <= found["requests"]


@pytest.mark.parametrize("claim", FORMULAS)
def test_a_formula_gives_the_values_of_its_claim_within_their_bounds(claim):
    values, bank = FORMULAS[claim](), load_claims()[claim]
    assert bank.notebook == "formulas"
    read = {key for key, value in bank.values.items() if value.kind == "read"}
    assert values.keys() == bank.values.keys() - read  # the bank itself has those
    for key, value in values.items():
        assert bank.values[key].allows(value), key

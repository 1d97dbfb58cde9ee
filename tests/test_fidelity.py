import dataclasses
import math

import numpy as np
import pytest
import torch

from course_utils.gguf.fidelity import (
    ScoredRows,
    _interval_over_rows,
    compare_distributions,
    divergence,
    model_log_probabilities,
    row_budget,
    scored_rows,
)
from course_utils.model.architectures import load_architectures

ROW = {"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]}


def log(*probabilities):
    return np.log(np.array(probabilities))


def test_only_the_positions_that_predict_the_answer_are_scored():
    scored = scored_rows([ROW])
    assert scored.rows == [[5, 6, 7]] and scored.starts == [1]
    assert scored.targets[0].tolist() == [7, 8] and scored.positions == 2


def test_a_large_model_and_a_random_one_are_asked_less():
    shapes = load_architectures()
    assert row_budget(shapes["smollm2-135m"], 16) == 16
    assert row_budget(shapes["llama-3.1-8b"], 16) == 4
    nano = dataclasses.replace(shapes["smollm2-135m"], hidden_size=64, layers=2)
    assert row_budget(nano, 2) == 1


def test_nothing_to_compare_on_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        scored_rows([])


def test_the_divergence_of_equal_scores_is_zero_and_of_others_by_hand():
    fair, loaded = log([0.5, 0.5]), log([0.9, 0.1])
    assert divergence(fair, fair).tolist() == [0.0]
    expected = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert divergence(fair, loaded)[0] == pytest.approx(expected)
    assert divergence(loaded, fair)[0] != pytest.approx(expected)  # no distance


def test_scores_over_different_vocabularies_are_refused():
    with pytest.raises(ValueError, match="Another tokenizer"):
        divergence(log([0.5, 0.5]), log([0.4, 0.3, 0.3]))


def test_agreement_and_perplexity_follow_from_counts():
    scored = scored_rows([ROW])
    scored.targets[0] = np.array([0, 1])
    reference = [log([0.6, 0.4], [0.6, 0.4])]
    other = [log([0.6, 0.4], [0.2, 0.8])]
    found = compare_distributions(reference, other, scored)
    assert found.agreement == 0.5 and found.positions == 2 and found.rows == 1
    assert found.perplexity == pytest.approx(1 / math.sqrt(0.6 * 0.8))
    assert found.perplexity_ratio == pytest.approx(math.sqrt(0.6 * 0.4 / (0.6 * 0.8)))
    assert found.as_row() == {  # of one row nobody knows how rows differ
        "KL, nats a token": f"{found.kl:.2g}",
        "same top-1": "50.0%",
        "perplexity": f"{found.perplexity:.2f} (× {found.perplexity_ratio:.3f})",
    }


# An interval that counts the tokens of one answer as if each said something new.
def test_the_interval_of_agreement_is_over_answers_and_not_over_tokens():
    scored = ScoredRows([[0]] * 8, [0] * 8, [np.zeros(50, int)] * 8)
    reference = [log(*[[0.6, 0.4]] * 50)] * 8
    flipped = [log(*[[0.4, 0.6]] * 50)] * 4
    found = compare_distributions(reference, reference[:4] + flipped, scored)
    low, high = found.agreement_interval  # 4 of 8 answers, whatever their length
    assert found.agreement == 0.5 and low <= 0.25 and high >= 0.75
    assert f"({low:.1%} … {high:.1%})" in found.as_row()["same top-1"]


def test_whole_rows_are_resampled_so_one_row_or_equal_ones_have_no_interval():
    for rows in ([np.array([0.1, 0.2])], [np.ones(3), np.ones(2)]):
        assert all(math.isnan(end) for end in _interval_over_rows(rows, seed=0))
    many = [np.full(4, value) for value in (0.1, 0.2, 0.3, 0.4)]
    low, high = _interval_over_rows(many, seed=0)
    assert 0.1 <= low < 0.25 < high <= 0.4
    assert _interval_over_rows(many, seed=0) == (low, high)


def test_a_longer_row_weighs_more_since_tokens_are_averaged():
    rows = [np.array([1.0]), np.zeros(9)]
    low, high = _interval_over_rows(rows, seed=1)
    assert low == 0.0 and high == 1.0  # all of one row, all of the other


def test_the_scores_of_a_model_are_those_after_the_prompt():
    from course_utils.model.nano import nano_model

    model = nano_model(vocabulary=32)
    [found] = model_log_probabilities(model, scored_rows([ROW]))
    with torch.inference_mode():
        logits = model(torch.tensor([ROW["input_ids"]])).logits[0]
    expected = torch.log_softmax(logits, -1)[1:3].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, atol=1e-5)

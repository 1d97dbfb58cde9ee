import pytest
import torch

from course_utils import models
from course_utils.generation import Sampling, decoding, end_tokens

REQUESTS = ["a film", "sci-fi under two hours", "something slow"]
DRAWN = Sampling(temperature=1.0, top_p=0.9, seed=1)


@pytest.fixture(scope="module")
def loaded(plan, profile):
    return models.load_base(plan, profile)


def texts(loaded, **options):
    return [given.text for given in models.generate(*loaded, REQUESTS, **options)]


def test_drawing_repeats_with_its_seed_and_changes_with_another(loaded):
    first = texts(loaded, sampling=DRAWN, max_new_tokens=8)
    assert texts(loaded, sampling=DRAWN, max_new_tokens=8) == first
    other = Sampling(DRAWN.temperature, DRAWN.top_p, seed=2)
    assert texts(loaded, sampling=other, max_new_tokens=8) != first


def test_drawing_leaves_the_random_numbers_of_the_caller_alone(loaded):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    texts(loaded, sampling=DRAWN, max_new_tokens=2)
    assert torch.equal(torch.rand(1), expected)


def test_a_vanishing_nucleus_draws_the_greedy_answer(loaded):
    narrow = Sampling(temperature=1.0, top_p=1e-6, seed=1)
    drawn = texts(loaded, sampling=narrow, max_new_tokens=6)
    assert drawn == texts(loaded, max_new_tokens=6)


def test_the_answers_of_one_batch_are_those_of_single_requests(loaded):
    together = texts(loaded, max_new_tokens=6)
    assert texts(loaded, max_new_tokens=6, batch_size=1) == together


def test_an_answer_says_whether_the_model_or_the_limit_ended_it(loaded, monkeypatch):
    model, tokenizer = loaded

    def generate(input_ids, **options):
        ends = torch.tensor([[300, tokenizer.eos_token_id], [300, 301]])
        return torch.cat([input_ids, ends], dim=1)

    monkeypatch.setattr(model, "generate", generate)
    given = models.generate(model, tokenizer, REQUESTS[:2])
    assert [answer.stopped for answer in given] == [True, False]
    assert not given[0].text.endswith(tokenizer.eos_token)


def test_every_end_token_of_a_model_counts(loaded):
    model, tokenizer = loaded
    assert end_tokens(model, tokenizer) >= {tokenizer.eos_token_id}


def test_drawing_switches_the_hidden_limit_of_fifty_tokens_off():
    assert decoding(8, DRAWN)["top_k"] == 0
    assert decoding(8, None) == {"max_new_tokens": 8, "do_sample": False}

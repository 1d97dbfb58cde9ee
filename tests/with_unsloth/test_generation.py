import pytest
import torch

from course_utils.model import loading as models
from course_utils.model.generation import Sampling, end_tokens, inference

REQUESTS = ["a film", "sci-fi under two hours", "something slow"]
DRAWN = Sampling(temperature=1.0, top_p=0.9, seed=1)


@pytest.fixture(scope="module", params=["nano", "nano-bos"])
def loaded(request, plan_of, profile):
    return models.load_base(plan_of(request.param), profile)


def texts(loaded, **options):
    return [given.text for given in models.generate(*loaded, REQUESTS, **options)]


def test_the_model_is_asked_with_the_templates_tokens_padded_on_the_left(
    loaded, monkeypatch
):
    model, tokenizer = loaded
    seen = {}

    def generate(input_ids, attention_mask, **options):
        seen.update(options, ids=input_ids, mask=attention_mask)
        return input_ids

    monkeypatch.setattr(model, "generate", generate)
    tokenizer.padding_side = "right"  # as training leaves it
    models.generate(model, tokenizer, REQUESTS)
    for request, ids, mask in zip(REQUESTS, seen["ids"], seen["mask"], strict=True):
        chat = [{"role": "user", "content": request}]
        expected = tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_dict=False
        )
        assert ids[-len(expected) :].tolist() == expected
        assert mask.tolist() == [0] * (len(ids) - len(expected)) + [1] * len(expected)
        assert ids.tolist().count(0) == (tokenizer.bos_token_id == 0)
    assert tokenizer.padding_side == "left"  # of inference mode, not of one call
    assert seen["eos_token_id"] == [tokenizer.eos_token_id]


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


def test_the_tokenizers_end_token_stops_a_model_that_lists_another(loaded, monkeypatch):
    model, tokenizer = loaded
    monkeypatch.setattr(model.generation_config, "eos_token_id", [7, 8])
    assert end_tokens(model, tokenizer) == {7, 8, tokenizer.eos_token_id}
    hook = model.lm_head.register_forward_hook(
        lambda *_: torch.nn.functional.one_hot(
            torch.tensor([[tokenizer.eos_token_id]]), model.config.vocab_size
        ).float()
    )
    try:
        [given] = models.generate(model, tokenizer, ["a"], max_new_tokens=9)
    finally:
        hook.remove()
    assert given.stopped and given.text == ""


def test_a_drawn_token_may_be_any_and_not_one_of_fifty(loaded, monkeypatch):
    seen = {}
    model, tokenizer = loaded
    monkeypatch.setattr(
        model, "generate", lambda input_ids, **o: seen.update(o) or input_ids
    )
    models.generate(model, tokenizer, ["a"], sampling=DRAWN)
    assert (seen["do_sample"], seen["top_k"], seen["top_p"]) == (True, 0, 0.9)
    models.generate(model, tokenizer, ["a"])
    assert seen["do_sample"] is False


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_the_mode_comes_back_also_after_an_exception(loaded, training, fails):
    model, tokenizer = loaded
    model.for_training() if training else model.for_inference()
    kept = model.training, model.config.use_cache, tokenizer.padding_side
    try:
        with inference(model):
            assert not model.training and model.config.use_cache
            assert 1 / (not fails)
    except ZeroDivisionError:
        assert fails
    assert (model.training, model.config.use_cache, tokenizer.padding_side) == kept


def test_a_chat_is_asked_as_it_is_and_a_string_as_one_turn(loaded):
    turn = [{"role": "user", "content": "a film"}]
    reply = [{"role": "assistant", "content": "Alien"}]
    chats = ["a film", turn, [*turn, *reply, *turn]]
    said, asked, _ = models.generate(*loaded, chats, max_new_tokens=4, batch_size=1)
    assert said == asked

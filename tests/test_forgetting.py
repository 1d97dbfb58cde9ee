import contextlib
import copy
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model

from course_utils.curves.forgetting import (
    WINDOW,
    ForgettingMeter,
    Passage,
    Score,
    answer_passages,
    change,
    general_passages,
    science_passages,
    score_passages,
    wrong_passages,
)
from course_utils.data.conversation import Conversation
from course_utils.data.templates import use_template
from course_utils.data.tokens import completion_nll, tokenize_conversation
from course_utils.model.nano import nano_model

LONG = 256


@pytest.fixture(scope="module")
def model():
    return nano_model().eval()


class Uniform(torch.nn.Module):
    """Finds every token equally likely."""

    device = torch.device("cpu")

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(logits=torch.zeros(*input_ids.shape, 49_152))


def test_a_model_that_guesses_pays_ln_v_for_each_token(tokenizer):
    found = score_passages(
        Uniform(), tokenizer, [Passage("two words")], max_length=LONG
    )
    assert found.tokens == (2,) and found.utf8_bytes == (9,)
    assert found.nats_per_token == pytest.approx(math.log(49_152))
    assert found.perplexity == pytest.approx(49_152)
    assert found.bits_per_byte == pytest.approx(2 * math.log2(49_152) / 9)


@pytest.mark.parametrize("template", ["chat", "alpaca"])
@pytest.mark.parametrize("answer", ["**Alien** (1979)", "- Alien", "{1}"])
def test_a_score_is_the_loss_of_the_answer_tokens(
    model, any_tokenizer, template, answer
):
    """Also where prompt and answer in one piece would share a token, `:-` or `:{`."""
    tokenizer = copy.deepcopy(any_tokenizer)
    use_template(tokenizer, template)
    row = Conversation(
        "a",
        (
            {"role": "user", "content": "A film, please."},
            {"role": "assistant", "content": answer},
        ),
    )
    tokens = tokenize_conversation(row, tokenizer, LONG)
    ids, labels = (torch.tensor([tokens[k]]) for k in ("input_ids", "labels"))
    labels[0, -1] = -100  # the end token is no part of the text
    with torch.no_grad():
        expected = completion_nll(model(ids).logits, labels)
    [passage] = answer_passages([row], tokenizer)
    found = score_passages(model, tokenizer, [passage], max_length=LONG)
    assert found.nats_per_token == pytest.approx(expected.item(), rel=1e-5)


def test_padding_and_batches_leave_the_scores_unchanged(model, tokenizer):
    texts = [Passage("Short."), Passage(" A much longer text than that.", "Say:")]
    together = score_passages(model, tokenizer, texts, max_length=LONG)
    alone = [
        score_passages(model, tokenizer, [text], max_length=LONG) for text in texts
    ]
    assert together.nats == pytest.approx([s.nats[0] for s in alone], rel=1e-5)
    one_by_one = score_passages(model, tokenizer, texts, max_length=LONG, batch_size=1)
    assert one_by_one.nats == pytest.approx(together.nats, rel=1e-5)


def test_scores_equal_those_of_lm_eval(model, any_tokenizer):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    texts = ["Rain fell on the hill.", "Ice!"]
    pair = ("Question: What is ice?\nAnswer:", " frozen water")
    judge = partial(HFLM, pretrained=model, tokenizer=any_tokenizer, max_length=LONG)
    rolling = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in texts]
    # Left alone, lm-eval puts a mark before a text's own mark and scores the second.
    alone = judge(add_bos_token=False)
    theirs = alone.loglikelihood_rolling(rolling, disable_tqdm=True)
    ours = score_passages(
        model, any_tokenizer, list(map(Passage, texts)), max_length=LONG
    )
    assert [-nats for nats in ours.nats] == pytest.approx(theirs, rel=1e-5)
    choice = [Instance("loglikelihood", {}, pair, 0)]
    [(likelihood, _)] = judge().loglikelihood(choice, disable_tqdm=True)
    passage = Passage(pair[1], pair[0])
    [nats] = score_passages(model, any_tokenizer, [passage], max_length=LONG).nats
    assert -nats == pytest.approx(likelihood, rel=1e-5)


def test_a_passage_that_follows_is_scored_after_the_one_before(model, tokenizer):
    pieces = [Passage("Rain fell."), Passage("\n\nThen it froze.", follows=True)]
    whole = score_passages(model, tokenizer, [Passage("Rain fell.\n\nThen it froze.")])
    found = score_passages(model, tokenizer, pieces)
    assert sum(found.nats) == pytest.approx(whole.nats[0], rel=1e-5)
    assert sum(found.tokens) == whole.tokens[0]
    assert found.nats[0] == pytest.approx(
        score_passages(model, tokenizer, pieces[:1]).nats[0]
    )
    cut = score_passages(
        model, tokenizer, pieces, max_length=8
    )  # the second does not fit
    alone = score_passages(model, tokenizer, [Passage(pieces[1].text)])
    assert cut.nats[1] == pytest.approx(alone.nats[0], rel=1e-5)


@pytest.mark.parametrize("fails", [False, True])
def test_a_training_model_goes_on_training_and_its_weights_stay(fails, tokenizer):
    model = nano_model().train()
    before = [p.clone() for p in model.parameters()]
    if fails:
        model.lm_head.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext():
        score_passages(model, tokenizer, [Passage("Some text.")], max_length=LONG)
    assert model.training
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize(
    ("passages", "told"),
    [
        ([], "No passage"),
        ([Passage("")], "has 0 tokens"),
        ([Passage("a " * 99)], "has 100 tokens after 1"),
        ([Passage("{1}", "### Response:")], "shares a token with its context"),
    ],
)
def test_nothing_empty_and_nothing_too_long_is_scored(passages, told, model, tokenizer):
    with pytest.raises(ValueError, match=told):
        score_passages(model, tokenizer, passages, max_length=50)


def test_a_science_passage_is_the_right_choice_in_the_form_of_arc():
    question = SimpleNamespace(question="What is ice?", choices=("fire", "water"))
    question.answer = 1
    asked = "Question: What is ice?\nAnswer:"
    assert science_passages([question]) == [Passage(" water", asked)]
    assert wrong_passages([question]) == [Passage(" fire", asked)]


def test_the_general_text_is_read_as_one_story(tokenizer):
    passages = general_passages()
    assert len(passages) >= 8
    assert [p.follows for p in passages] == [False] + [True] * (len(passages) - 1)
    assert len(tokenizer("".join(p.text for p in passages))["input_ids"]) < WINDOW


# change, by hand


def scored(*nats, sizes):
    return Score(nats, tuple(1 for _ in nats), tuple(sizes))


def test_a_change_is_the_difference_of_bits_over_bytes():
    two = math.log(2)
    before = scored(10 * two, 20 * two, sizes=(10, 20))
    after = scored(12 * two, 27 * two, sizes=(10, 20))
    found = change(before, after)
    assert (found.before, found.after) == pytest.approx((1.0, 1.3))
    assert found.rise == pytest.approx(9 / 30)
    # residuals 2 - 3 and 7 - 6: standard error sqrt(2 / 2) / 15, t of one degree 12.706
    assert found.high - found.rise == pytest.approx(12.706 / 15, rel=1e-4)
    assert found.rise - found.low == pytest.approx(12.706 / 15, rel=1e-4)


def test_the_same_model_has_forgotten_nothing():
    same = scored(3.0, 5.0, sizes=(4, 7))
    found = change(same, same)
    assert (found.rise, found.low, found.high) == (0, 0, 0)
    assert "+0.000 (95 % interval +0.000 to +0.000, n = 2)" in str(found)


def test_a_single_passage_has_no_interval():
    one = scored(3.0, sizes=(4,))
    found = change(one, one)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_only_scores_of_the_same_passages_are_compared():
    with pytest.raises(ValueError, match="same passages"):
        change(scored(3.0, sizes=(4,)), scored(3.0, sizes=(5,)))


def test_the_meter_reads_all_its_texts_and_again_when_training_ends(model, tokenizer):
    texts = {"general": [Passage("Rain fell.")], "other": [Passage(" ice", "What?")]}
    meter = ForgettingMeter(texts, LONG)
    reading = meter.read(model, tokenizer)
    assert list(reading) == ["general", "other"] and meter.at_the_end == {}
    ended = SimpleNamespace(global_step=4)
    meter.on_train_end(None, ended, None, model=model, processing_class=tokenizer)
    assert meter.at_the_end == reading


def test_a_trained_prompt_before_the_text_is_not_scored(tokenizer):
    base, text = nano_model(), Passage("The rain fell all night.")
    config = PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    found = score_passages(model, tokenizer, [text])
    start = tokenizer.eos_token_id if tokenizer.bos_token_id is None else None
    ids = tokenizer(text.text, add_special_tokens=False)["input_ids"]
    tokens = torch.tensor([[tokenizer.bos_token_id if start is None else start, *ids]])
    logits = model(input_ids=tokens).logits[0, 5:-1]
    nats = torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="sum")
    assert found.tokens == (len(ids),)
    assert found.nats[0] == pytest.approx(nats.item(), rel=1e-5)

"""The trainers of lesson 10 on the nano model: what they start from and leave alone."""

import math

import pytest
import torch
from transformers import AutoTokenizer

from course_utils.model import loading as models
from course_utils.preference import study
from course_utils.preference.rewards import keyword_reward, verified_reward

SIZES = study.SIZES["nano"]
ROWS = study.Rows.read(SIZES)


@pytest.fixture(scope="module")
def start(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    log = study.make_start(models.model_location(plan), ROWS, folder, 1e-3, 0)
    assert sum("loss" in row for row in log) == math.ceil(len(ROWS.start) / 4)
    return folder


def test_dpo_begins_at_ln_2_and_its_reference_is_the_start(start, tmp_path):
    tokenizer, pairs = AutoTokenizer.from_pretrained(start), ROWS.held_out[:2]
    before = study.pair_log_probs(study.load(start), tokenizer, pairs)
    trainer = study.dpo(start, ROWS, tmp_path, 1e-2, 0)
    trainer.train()
    assert trainer.ref_model is None
    assert study.log_of(trainer)["loss"][0] == pytest.approx(math.log(2), abs=1e-4)
    after = study.pair_log_probs(trainer.model, tokenizer, pairs)
    with trainer.model.disable_adapter():
        off = study.pair_log_probs(trainer.model, tokenizer, pairs)
    assert torch.allclose(off, before, atol=1e-4)
    assert not torch.allclose(after, before, atol=1e-2)


def test_the_baseline_makes_as_many_updates_as_dpo(start, tmp_path):
    trainers = [
        run(start, ROWS, tmp_path, 1e-3, 0) for run in (study.more_sft, study.dpo)
    ]
    lengths = [len(trainer.get_train_dataloader()) for trainer in trainers]
    assert lengths[0] == lengths[1] == math.ceil(len(ROWS.pairs) / 4)


def test_a_reward_model_scores_both_answers_of_a_pair(start, tmp_path):
    trainer = study.reward_model(start, ROWS, tmp_path, 1e-3, 0)
    trainer.train()
    tokenizer = AutoTokenizer.from_pretrained(start)
    scores = study.scores(trainer.model, tokenizer, ROWS.held_out)
    assert scores.shape == (len(ROWS.held_out), 2) and scores.isfinite().all()


def test_grpo_pays_the_first_reward_and_logs_the_others(start, tmp_path):
    rewards = (keyword_reward, verified_reward)
    trainer = study.grpo(start, ROWS, tmp_path, 1e-3, 0, SIZES, 2, rewards)
    trainer.train()
    log = study.log_of(trainer)
    assert len(log) == 2
    paid = log["rewards/keyword_reward/mean"]
    assert log["reward"].tolist() == pytest.approx(paid.tolist(), abs=1e-4)
    assert {"rewards/verified_reward/mean", "kl", "entropy"} <= {*log}


def test_log_probabilities_are_those_of_the_whole_sequence(start):
    tokenizer, model = AutoTokenizer.from_pretrained(start), study.load(start)
    [found] = study.log_probs(
        model, tokenizer, ["Request: a war film\nQuery:"], [" {}"]
    )
    text = "Request: a war film\nQuery: {}" + tokenizer.eos_token
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    asked = len(tokenizer("Request: a war film\nQuery:")["input_ids"])
    labels = torch.where(torch.arange(ids.shape[1]) < asked, -100, ids[0])[None]
    with torch.no_grad():
        mean = model(input_ids=ids, labels=labels).loss
    assert float(found) == pytest.approx(
        -float(mean) * (ids.shape[1] - asked), abs=1e-3
    )


def test_the_distance_to_the_start_is_that_of_the_next_tokens_laws(start, tmp_path):
    tokenizer, wishes = AutoTokenizer.from_pretrained(start), ROWS.tests[:1]
    trainer = study.dpo(start, ROWS, tmp_path, 1e-2, 0)
    distance = (trainer.model, tokenizer, wishes, ["{}"])
    assert study.kl_to_start(*distance) == pytest.approx(0, abs=1e-6)
    trainer.train()
    prompt = f"Request: {wishes[0].request}\nQuery:"
    ids = tokenizer(f"{prompt} {{}}{tokenizer.eos_token}", return_tensors="pt")
    asked = len(tokenizer(prompt)["input_ids"])
    with torch.no_grad():
        p, q = (
            model(ids["input_ids"]).logits[0, asked - 1 : -1].softmax(-1)
            for model in (trainer.model, study.load(start))
        )
    by_hand = float((p * (p / q).log()).sum(-1).mean())
    assert study.kl_to_start(*distance) == pytest.approx(by_hand, rel=0.01) != 0


def test_dealt_anew_keeps_the_answers_and_moves_every_request():
    pairs = ROWS.held_out
    moved = study.dealt_anew(pairs)
    assert [pair.chosen for pair in moved] == [pair.chosen for pair in pairs]
    assert all(a.request != b.request for a, b in zip(pairs, moved, strict=True))
    assert {pair.request for pair in moved} == {pair.request for pair in pairs}

import dataclasses

import pytest

from course_utils.profile import Gpu, Profile
from course_utils.recipes import MOVIE_RECOMMENDER
from course_utils.training import (
    TrainingRun,
    trainer_config,
)

PLAN = MOVIE_RECOMMENDER.plan_for("nano")
CPU = Profile("nano", "cpu")


def test_the_plan_reaches_the_trainer_number_by_number(tmp_path):
    config = trainer_config(PLAN, CPU, tmp_path, updates=4)
    assert config.learning_rate == PLAN.learning_rate
    assert config.max_steps == PLAN.max_steps == 4
    assert config.per_device_train_batch_size == PLAN.batch_size
    assert config.gradient_accumulation_steps == PLAN.accumulation_steps
    assert config.warmup_steps == PLAN.warmup_steps
    assert config.lr_scheduler_type == PLAN.schedule
    assert config.max_length == PLAN.max_length
    assert config.weight_decay == PLAN.weight_decay
    assert config.seed == config.data_seed == PLAN.seed
    assert (config.packing, config.report_to) == (False, [])


def test_epochs_count_when_no_maximum_is_set(tmp_path):
    plan = dataclasses.replace(PLAN, max_steps=None, epochs=2.0)
    config = trainer_config(plan, CPU, tmp_path, updates=10)
    assert (config.max_steps, config.num_train_epochs) == (-1, 2.0)


@pytest.mark.parametrize("updates", [1, 3, 4, 60, 94])
def test_a_run_is_evaluated_and_saved_at_least_once(tmp_path, updates):
    config = trainer_config(PLAN, CPU, tmp_path, updates)
    assert 1 <= config.eval_steps <= updates
    assert config.save_steps == config.eval_steps


def test_validations_are_spread_and_the_best_adapter_is_kept_when_asked(tmp_path):
    config = trainer_config(PLAN, CPU, tmp_path, 48, evaluations=12, keep_best=True)
    assert (config.eval_steps, config.save_steps) == (4, 4)
    assert config.load_best_model_at_end and not config.greater_is_better
    assert config.metric_for_best_model == "eval_loss"
    assert not trainer_config(PLAN, CPU, tmp_path, 48).load_best_model_at_end


def test_a_tracker_hears_of_the_run_only_when_the_reader_names_one(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("COURSE_TRACKER", raising=False)
    assert trainer_config(PLAN, CPU, tmp_path, 4).report_to == []
    monkeypatch.setenv("COURSE_TRACKER", "tensorboard")
    assert trainer_config(PLAN, CPU, tmp_path, 4).report_to == ["tensorboard"]


def test_a_cpu_trains_in_neither_half_precision(tmp_path):
    config = trainer_config(PLAN, CPU, tmp_path, 4)
    assert (config.fp16, config.bf16) == (False, False)


@pytest.mark.parametrize(
    ("capability", "fp16", "bf16"), [((7, 5), True, False), ((9, 0), False, True)]
)
def test_a_t4_trains_in_fp16_and_a_newer_card_in_bf16(
    tmp_path, monkeypatch, capability, fp16, bf16
):
    seen = {}

    def remember(**options):
        seen.update(options)

    monkeypatch.setattr("trl.SFTConfig", remember)  # a GPU is needed to build it
    gpu = Profile("t4", "cuda", None, Gpu("card", capability, 14.7))
    trainer_config(MOVIE_RECOMMENDER.plan_for("t4"), gpu, tmp_path, 60)
    assert (seen["fp16"], seen["bf16"]) == (fp16, bf16)


def test_a_run_survives_saving(tmp_path):
    history = [{"step": 1, "loss": 2.5}, {"step": 1, "eval_loss": 2.25}]
    run = TrainingRun("movies", "cpu", 1, 4, 3.0, 2.0, 400, history)
    run.save(tmp_path)
    assert TrainingRun.load(tmp_path) == run
    assert run.tokens_per_second == 200.0

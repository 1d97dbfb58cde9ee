import dataclasses
import json
import math

import datasets
import pytest
from transformers import TrainerControl, TrainerState
from transformers.trainer_callback import DefaultFlowCallback

from course_utils.data.conversation import Conversation
from course_utils.machine.profile import Gpu, Profile
from course_utils.places import BrokenFile, write_json
from course_utils.recipes.book import ALPACA_MISTRAL, MOVIE_RECOMMENDER
from course_utils.training.trainer import (
    StopAfter,
    TrainingRun,
    UnknownTracker,
    _revision,
    differences,
    digests,
    total_updates,
    trainer_config,
    updates_per_epoch,
)

PLAN = MOVIE_RECOMMENDER.plan_for("nano")
CPU = Profile("nano", "cpu")
RUN = TrainingRun(
    recipe="movies",
    profile="cpu",
    updates=1,
    rows=4,
    seconds=3.0,
    training_seconds=2.0,
    tokens=400,
    history=[{"step": 1, "loss": 2.5}, {"step": 1, "eval_loss": 2.25}],
    plan=PLAN.facts(),
    digests=digests([], []),
    revision=None,
    versions={"torch": "2.13.0"},
)


@pytest.fixture(autouse=True)
def no_tracker(monkeypatch):
    monkeypatch.delenv("COURSE_TRACKER", raising=False)


def test_max_steps_overrides_epochs_and_half_epochs_round_up():
    plan = dataclasses.replace(
        MOVIE_RECOMMENDER.plan, epochs=1.3, max_steps=None, batch_size=2
    )
    assert updates_per_epoch(9, plan) == 2  # 5 batches, of which 4 make an update
    assert total_updates(9, plan) == 3  # 2.6
    assert total_updates(9, dataclasses.replace(plan, max_steps=7)) == 7


def test_no_rows_is_an_error_and_not_zero_updates():
    with pytest.raises(ValueError, match="0 rows found"):
        updates_per_epoch(0, MOVIE_RECOMMENDER.plan)


def test_the_plan_reaches_the_trainer_number_by_number(tmp_path):
    plan = dataclasses.replace(  # each value another one than TRL's own
        PLAN,
        schedule="cosine",
        optimizer="adamw_torch",
        accumulation_steps=3,
        learning_rate=3e-4,
        weight_decay=0.02,
        warmup_steps=2,
        seed=7,
    )
    config = trainer_config(plan, CPU, tmp_path, updates=4)
    assert config.learning_rate == 3e-4 and config.weight_decay == 0.02
    assert config.max_steps == 4 and config.warmup_steps == 2
    assert config.per_device_train_batch_size == PLAN.batch_size == 2
    assert config.per_device_eval_batch_size == 2
    assert config.gradient_accumulation_steps == 3
    assert (config.lr_scheduler_type, config.max_length) == ("cosine", 256)
    assert config.optim == "adamw_torch" != type(config)("x", bf16=False).optim
    assert (config.seed, config.data_seed) == (7, 7)
    assert (config.packing, config.report_to) == (False, [])
    assert config.eval_on_start and not config.gradient_checkpointing


def test_epochs_count_when_no_maximum_is_set(tmp_path):
    plan = dataclasses.replace(PLAN, max_steps=None, epochs=2.0)
    config = trainer_config(plan, CPU, tmp_path, updates=10)
    assert (config.max_steps, config.num_train_epochs) == (-1, 2.0)


@pytest.mark.parametrize(
    ("updates", "expected"),
    [
        (80, [20, 40, 60, 80]),
        (94, [24, 48, 72, 94]),
        (106, [27, 54, 81, 106]),
        (7, [2, 4, 6, 7]),
        (3, [1, 2, 3]),
        (1, [1]),
    ],
)
def test_validations_are_spread_and_the_last_is_at_the_end(tmp_path, updates, expected):
    config = trainer_config(PLAN, CPU, tmp_path, updates)
    state = TrainerState(max_steps=updates)
    state.compute_steps(config, updates)
    evaluated, saved = [], []
    for state.global_step in range(1, updates + 1):
        control = DefaultFlowCallback().on_step_end(config, state, TrainerControl())
        evaluated += [state.global_step] * control.should_evaluate
        saved += [state.global_step] * control.should_save
    assert evaluated == saved == expected


def test_the_best_adapter_is_kept_when_asked(tmp_path):
    config = trainer_config(PLAN, CPU, tmp_path, 48, evaluations=12, keep_best=True)
    assert (config.eval_steps, config.save_steps) == (4, 4)
    assert config.load_best_model_at_end and not config.greater_is_better
    assert config.metric_for_best_model == "eval_loss"
    assert not trainer_config(PLAN, CPU, tmp_path, 48).load_best_model_at_end


def test_a_tracker_hears_of_the_run_only_when_the_reader_names_one(
    tmp_path, monkeypatch
):
    from transformers import integrations

    found = ["tensorboard"]
    monkeypatch.setattr(
        integrations, "get_available_reporting_integrations", lambda: found
    )
    assert trainer_config(PLAN, CPU, tmp_path, 4).report_to == []
    monkeypatch.setenv("COURSE_TRACKER", "tensorboard")
    assert trainer_config(PLAN, CPU, tmp_path, 4).report_to == ["tensorboard"]
    monkeypatch.setenv("COURSE_TRACKER", "tensorbored")
    with pytest.raises(UnknownTracker, match=r"'tensorbored'.*installed: tensorboard"):
        trainer_config(PLAN, CPU, tmp_path, 4)


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
    trainer_config(ALPACA_MISTRAL.plan_for("t4"), gpu, tmp_path, 94)
    assert (seen["fp16"], seen["bf16"]) == (fp16, bf16)
    assert (seen["optim"], seen["lr_scheduler_type"]) == ("adamw_8bit", "cosine")
    assert seen["gradient_checkpointing"] is True


def test_a_stop_saves_and_ends_at_its_update_and_not_before():
    stop, state = StopAfter(2), TrainerState(global_step=1)
    first, second = TrainerControl(), TrainerControl()
    stop.on_step_end(None, state, first)
    state.global_step = 2
    stop.on_step_end(None, state, second)
    assert not (first.should_save or first.should_training_stop)
    assert second.should_save and second.should_training_stop


@pytest.mark.parametrize("inner", ["", "adapter"])
def test_a_run_survives_saving(tmp_path, inner):
    RUN.save(tmp_path / inner)
    assert TrainingRun.load(tmp_path) == RUN
    assert RUN.tokens_per_second == 200.0
    assert math.isnan(dataclasses.replace(RUN, tokens=0).tokens_per_second)


def test_a_gradient_that_overflowed_in_fp16_is_kept_in_valid_json(tmp_path):
    norms = [math.inf, math.nan, 1.5]
    history = [{"step": i, "grad_norm": norm} for i, norm in enumerate(norms)]
    dataclasses.replace(RUN, history=history).save(tmp_path)
    text = (tmp_path / "run.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    found = [row["grad_norm"] for row in TrainingRun.load(tmp_path).history]
    assert found[0] == math.inf and math.isnan(found[1]) and found[2] == 1.5


@pytest.mark.parametrize(
    "content", ["", '{"recipe": "mo', "[]", '{"recipe": "movies"}', "null"]
)
def test_a_broken_record_is_named_with_the_way_out(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(BrokenFile, match=r"(?s)run\.json.*Run notebook 03 again"):
        TrainingRun.load(tmp_path)


def test_a_missing_record_and_a_field_of_another_type_are_named(tmp_path):
    with pytest.raises(BrokenFile, match=r"run\.json is missing"):
        TrainingRun.load(tmp_path)
    write_json(tmp_path / "run.json", {**vars(RUN), "history": "none"})
    with pytest.raises(BrokenFile, match=r"(?s)history.*list"):
        TrainingRun.load(tmp_path)


def test_differences_name_each_field_with_both_values():
    found = {"rank": 8, "alpha": 16, "gone": 1}
    expected = {"rank": 16, "alpha": 16, "new": None, "seed": 1}
    assert differences(found, expected) == [
        "rank is 8 there, 16 here",
        "seed is None there, 1 here",
        "gone is 1 there, None here",
    ]


def test_a_digest_tells_rows_their_order_and_their_set_apart():
    first, second = (
        Conversation(str(i), ({"role": "user", "content": f"wörd {i}"},))
        for i in range(2)
    )
    same = digests([Conversation("0", first.messages, {"note": 1})], [])
    assert digests([first], []) == same  # notes are not trained on
    assert digests([], [first])["validation rows"] == same["training rows"]
    others = [[second], [first, second], [second, first], []]
    found = {digests(rows, [])["training rows"] for rows in others}
    assert len(found | {same["training rows"]}) == 5
    tokens = datasets.Dataset.from_list([{"input_ids": [1, 2]}])
    assert digests(tokens, []) == digests({"input_ids": [[1, 2]]}, [])


def test_the_revision_is_a_commit_and_none_outside_of_git(tmp_path, monkeypatch):
    from course_utils import places

    commit = _revision()
    assert commit is None or len(commit.removesuffix("-dirty")) == 40
    monkeypatch.setattr(places, "PROJECT_ROOT", tmp_path)
    assert _revision() is None
    monkeypatch.setenv("PATH", "")  # no git at all
    assert _revision() is None

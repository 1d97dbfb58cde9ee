import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from course_utils import CourseError, places
from course_utils.data.datasets import load_rows
from course_utils.data.reading.sources import NoSuchData
from course_utils.data.tokens import to_dataset
from course_utils.model import loading as models
from course_utils.recipes.book import MOVIE_RECOMMENDER
from course_utils.recipes.plan import Source
from course_utils.training import adapter as adapters
from course_utils.training import trainer as training
from course_utils.training.adapter import (
    BrokenAdapter,
    OtherAdapter,
    fine_tune,
    get_adapter,
    model_core,
    refuse_other_adapter,
)
from course_utils.training.trainer import (
    StopAfter,
    UnknownTracker,
    build_trainer,
    run_training,
)

ROWS = load_rows(MOVIE_RECOMMENDER.plan_for("nano"))
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(autouse=True)
def a_small_run(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(adapters, "load_rows", lambda _: (ROWS[0], ROWS[1][:4]))


@pytest.fixture(scope="module")
def trained(profile, tmp_path_factory):
    """A finished run, of which each test takes a copy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setattr(adapters, "load_rows", lambda _: (ROWS[0], ROWS[1][:4]))
        return get_adapter(MOVIE_RECOMMENDER, profile)


@pytest.fixture
def folder(trained, tmp_path):
    """Its copy, where `get_adapter` looks."""
    return shutil.copytree(trained.folder, tmp_path / "runs" / trained.folder.name)


def losses(run):
    return [row["loss"] for row in run.history if "loss" in row]


def no_training(*_, **__):
    pytest.fail("it was trained again")


def test_a_missing_adapter_is_trained_and_then_taken_as_it_is(
    profile, trained, folder, capsys, monkeypatch
):
    monkeypatch.setattr(adapters, "fine_tune", no_training)
    found = get_adapter(MOVIE_RECOMMENDER, profile)
    assert found.run == trained.run and capsys.readouterr().out == ""
    assert found.folder.name == "movie_recommender-nano"
    assert places.is_whole(found.adapter_folder)
    shutil.rmtree(folder)
    with pytest.raises(pytest.fail.Exception):
        get_adapter(MOVIE_RECOMMENDER, profile)
    told = (
        "no adapter in runs/movie_recommender-nano yet: training it now, as notebook "
        "03 does (seconds). To have it taken instead, interrupt this cell"
    )
    assert told in capsys.readouterr().out


def test_it_is_trained_by_the_steps_of_notebook_03(plan, profile, tmp_path, trained):
    base, tokenizer = models.load_base(plan, profile)
    rows = [to_dataset(r, tokenizer, plan.max_length) for r in adapters.load_rows(plan)]
    model = models.attach_lora(base, plan)
    trainer = build_trainer(model, tokenizer, *rows, plan, profile, tmp_path / "long")
    long = run_training(trainer, "movies", profile)
    assert losses(trained.run) == losses(long)
    logits = models.logits_of(model, tokenizer, "sci-fi")
    again, _ = models.load_adapter(trained.adapter_folder, plan, profile)
    torch.testing.assert_close(models.logits_of(again, tokenizer, "sci-fi"), logits)


CHANGES = {
    "learning_rate": 1.0,
    "max_steps": 3,
    "seed": 1,
    "template": "alpaca",
    "train_on": "all_answers",
    "dropout": 0.1,
    "rank": 4,
    "alpha": 8,
    "rows": 15,
    "target_modules": ("q_proj", "v_proj"),
    "dataset": Source("iac"),
    "model": Source("nano", "abc123"),
}


@pytest.mark.parametrize("field", CHANGES)
def test_an_adapter_of_another_plan_is_refused_with_the_field_and_both_values(
    plan, trained, field
):
    other = dataclasses.replace(plan, **{field: CHANGES[field]})
    there, here = plan.facts()[field], other.facts()[field]
    with pytest.raises(OtherAdapter, match="Move that folder away") as refusal:
        refuse_other_adapter(trained.adapter_folder, other)
    assert f"{field} is {there!r} there, {here!r} here" in str(refusal.value)
    assert isinstance(refusal.value, CourseError)


def test_a_record_from_before_a_setting_was_there_counts_as_its_default(
    plan, trained, tmp_path
):
    folder = shutil.copytree(trained.adapter_folder, tmp_path / "adapter")
    record = json.loads((folder / "run.json").read_text())
    assert record["plan"].pop("train_on") == "last_answer"
    (folder / "run.json").write_text(json.dumps(record))
    refuse_other_adapter(folder, plan)
    other = dataclasses.replace(plan, train_on="all_answers")
    with pytest.raises(OtherAdapter, match="train_on is 'last_answer' there"):
        refuse_other_adapter(folder, other)


def test_every_field_that_differs_is_named_at_once(plan, trained):
    other = dataclasses.replace(plan, seed=1, schedule="cosine", batch_size=4)
    with pytest.raises(OtherAdapter, match=r"schedule is.*batch_size is.*seed is"):
        refuse_other_adapter(trained.adapter_folder, other)


def test_an_adapter_from_other_rows_or_of_another_recipe_is_refused(
    profile, folder, monkeypatch
):
    other = dataclasses.replace(MOVIE_RECOMMENDER, name="inframind")
    shutil.copytree(folder, folder.parent / "inframind-nano")
    with pytest.raises(OtherAdapter, match="recipe is 'movie_recommender' there"):
        get_adapter(other, profile)
    monkeypatch.setattr(adapters, "load_rows", lambda _: (ROWS[0][::-1], ROWS[1][:4]))
    with pytest.raises(OtherAdapter, match="training rows is") as refusal:
        get_adapter(MOVIE_RECOMMENDER, profile)
    assert "validation" not in str(refusal.value)
    assert (folder / "adapter" / WEIGHTS).exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"r": 4}, "r is 4 there, 16 here"),
        ({"lora_alpha": 32}, "lora_alpha is 32 there, 16 here"),
        ({"target_modules": ["q_proj"]}, r"modules is \['q_proj'\] there"),
        ({"base_model_name_or_path": "someone/else"}, "base is 'else' there"),
    ],
)
def test_what_the_adapter_says_of_itself_counts_as_well(plan, folder, change, named):
    path = folder / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    for _ in range(2):  # with the record, and without it, as when saved by hand
        with pytest.raises(OtherAdapter, match=named):
            refuse_other_adapter(folder / "adapter", plan)
        (folder / "adapter" / "run.json").unlink(missing_ok=True)


# On a Phi-3 Unsloth adds the names of the fused matrices to those of the plan.
def test_names_that_unsloth_adds_for_fused_matrices_are_no_other_plan(plan, folder):
    path = folder / "adapter" / "adapter_config.json"
    config = json.loads(path.read_text())
    config["target_modules"] += ["qkv_proj", "gate_up_proj"]
    path.write_text(json.dumps(config))
    refuse_other_adapter(folder / "adapter", plan)


def test_a_cache_that_was_moved_holds_the_same_model(
    plan, profile, folder, tmp_path, monkeypatch
):
    first = models.model_location(plan)
    moved = tmp_path / "moved"
    shutil.copytree(first, moved / places.Path(first).name)
    monkeypatch.setenv("COURSE_CACHE", str(moved))
    monkeypatch.setattr(adapters, "fine_tune", no_training)
    found = get_adapter(MOVIE_RECOMMENDER, profile)
    config = json.loads((found.adapter_folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == models.model_location(plan) != first
    assert places.is_whole(found.adapter_folder)


def not_a_number(path):
    tensors = load_file(path)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, path)


def every_second_tensor(path):
    save_file(dict(list(load_file(path).items())[::2]), path)


def one_bit(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def remove(path):
    path.unlink()


DAMAGES = [
    *((WEIGHTS, how) for how in (not_a_number, every_second_tensor, one_bit, cut)),
    *((name, how) for name in ("adapter_config.json", "run.json") for how in (cut,)),
    ("tokenizer.json", cut),
    *((name, remove) for name in (WEIGHTS, "adapter_config.json", "run.json")),
    ("tokenizer_config.json", remove),
    ("whole.json", cut),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_adapter_is_named_and_made_again(
    profile, folder, capsys, monkeypatch, name, damage
):
    made = []
    monkeypatch.setattr(adapters, "fine_tune", lambda *_, **__: made.append("anew"))
    damage(folder / "adapter" / name)
    get_adapter(MOVIE_RECOMMENDER, profile)
    told = capsys.readouterr().out
    assert made == ["anew"] and name in told and "training it now" in told
    with pytest.raises(CourseError, match=name):
        adapters.check_adapter(folder / "adapter")


def test_an_adapter_saved_by_hand_is_checked_without_a_stamp(folder):
    (folder / "adapter" / "whole.json").unlink()
    adapters.check_adapter(folder / "adapter")
    not_a_number(folder / "adapter" / WEIGHTS)
    with pytest.raises(BrokenAdapter, match="1 of 28 tensors hold NaN"):
        adapters.check_adapter(folder / "adapter")
    (folder / "adapter" / "adapter_config.json").write_text("[]")
    with pytest.raises(BrokenAdapter, match=r"adapter_config\.json: it describes no"):
        adapters.check_adapter(folder / "adapter")


class Killed(BaseException):
    pass


def killed(*_, **__):
    raise Killed


@pytest.mark.parametrize("moment", ["save", "exchange"])
def test_a_retraining_that_is_killed_while_it_saves_leaves_the_old_pair(
    plan, profile, folder, trained, monkeypatch, moment
):
    other = dataclasses.replace(plan, seed=1)
    if moment == "save":
        monkeypatch.setattr(training.TrainingRun, "save", killed)
    else:
        monkeypatch.setattr(places, "_exchange", killed)
    with pytest.raises(Killed):
        fine_tune("movie_recommender", other, profile, folder)
    assert places.is_whole(folder / "adapter")
    assert training.TrainingRun.load(folder) == trained.run
    refuse_other_adapter(folder / "adapter", plan)


def test_weights_that_are_no_numbers_never_take_the_old_ones_place(
    plan, profile, folder, trained, monkeypatch
):
    def diverged(trainer, *_, **__):
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.data.fill_(float("inf"))
        return trained.run

    monkeypatch.setattr(adapters, "run_training", diverged)
    with pytest.raises(BrokenAdapter, match="Did the loss diverge"):
        fine_tune("movie_recommender", plan, profile, folder)
    adapters.check_adapter(folder / "adapter")


class KillAt(StopAfter):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.updates:
            raise Killed


@pytest.mark.parametrize("same_plan", [True, False])
def test_a_killed_run_goes_on_from_its_checkpoints_and_from_no_others(
    plan, profile, tmp_path, trained, monkeypatch, capsys, same_plan
):
    first = plan if same_plan else dataclasses.replace(plan, learning_rate=0.1)
    with monkeypatch.context() as patch:
        build = training.build_trainer

        def mortal(*arguments):
            trainer = build(*arguments)
            trainer.add_callback(KillAt(4))
            return trainer

        patch.setattr(training, "build_trainer", mortal)
        with pytest.raises(Killed):
            fine_tune("movie_recommender", first, profile, tmp_path / "run")
    tuned = fine_tune("movie_recommender", plan, profile, tmp_path / "run")
    assert losses(tuned.run) == losses(trained.run)
    told = capsys.readouterr().out
    assert ("learning_rate is 0.1 there, 0.001 here" in told) is not same_plan
    assert (tuned.run.tokens < trained.run.tokens) is same_plan
    found = load_file(tuned.adapter_folder / WEIGHTS)
    for name, tensor in load_file(trained.adapter_folder / WEIGHTS).items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_an_unknown_tracker_is_told_before_the_model_is_loaded(
    plan, profile, tmp_path, monkeypatch
):
    monkeypatch.setenv("COURSE_TRACKER", "trackyo")
    monkeypatch.setattr(models, "load_base", no_training)
    with pytest.raises(UnknownTracker, match="trackyo"):
        fine_tune("movies", plan, profile, tmp_path)


def test_rows_of_ones_own_need_no_data_set_of_the_course(
    plan, profile, tmp_path, monkeypatch
):
    monkeypatch.setattr(adapters, "load_rows", no_training)
    monkeypatch.setattr(models, "load_base", killed)
    own = (ROWS[0][:2], ROWS[1][:2])
    with pytest.raises(Killed):
        fine_tune("mine", plan, profile, tmp_path / "mine", rows=own)


def test_the_4_bit_copy_that_unsloth_picks_counts_as_the_same_base():
    picked = "unsloth/qwen2.5-0.5b-instruct-unsloth-bnb-4bit"
    assert model_core(picked) == model_core("Qwen/Qwen2.5-0.5B-Instruct")
    assert model_core("/a/Model-bnb-4bit") == model_core("/b/Model-bnb-4bit")
    assert model_core("/a/Model-bnb-4bit") == "Model-bnb-4bit"


def test_an_unknown_data_set_is_named(plan):
    with pytest.raises(NoSuchData, match="'recipes'"):
        load_rows(dataclasses.replace(plan, dataset=Source("recipes")))

import dataclasses
import json

import pytest
import torch

from course_utils import adapters, models
from course_utils.adapters import (
    OtherAdapter,
    fine_tune,
    get_adapter,
    load_rows,
    model_core,
)
from course_utils.plans import Source
from course_utils.recipes import MOVIE_RECOMMENDER
from course_utils.tokens import to_dataset
from course_utils.training import build_trainer, run_training


@pytest.fixture(autouse=True)
def a_small_run_in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "runs"))
    training, validation = load_rows(MOVIE_RECOMMENDER.plan_for("nano"))
    monkeypatch.setattr(adapters, "load_rows", lambda _: (training, validation[:4]))


def losses(history):
    return [row["loss"] for row in history if "loss" in row]


def test_a_missing_adapter_is_trained_and_then_taken_as_it_is(profile, capsys):
    first = get_adapter(MOVIE_RECOMMENDER, profile)
    assert "training it now" in capsys.readouterr().out
    written = (first.adapter_folder / "adapter_model.safetensors").stat().st_mtime_ns
    second = get_adapter(MOVIE_RECOMMENDER, profile)
    assert capsys.readouterr().out == ""
    after = (second.adapter_folder / "adapter_model.safetensors").stat().st_mtime_ns
    assert after == written and second.run == first.run
    assert first.folder.name == "movie_recommender-nano"


def test_it_is_trained_by_the_steps_of_notebook_03(plan, profile, tmp_path):
    short = fine_tune("movies", plan, profile, tmp_path / "short")
    base, tokenizer = models.load_base(plan, profile)
    training, validation = adapters.load_rows(plan)
    rows = [to_dataset(r, tokenizer, plan.max_length) for r in (training, validation)]
    model = models.attach_lora(base, plan)
    trainer = build_trainer(model, tokenizer, *rows, plan, profile, tmp_path / "long")
    long = run_training(trainer, "movies", profile)
    assert losses(short.run.history) == losses(long.history)
    trained = models.logits_of(model, tokenizer, "sci-fi")
    again, _ = models.load_adapter(short.adapter_folder, plan, profile)
    torch.testing.assert_close(models.logits_of(again, tokenizer, "sci-fi"), trained)


def test_an_adapter_of_another_base_or_rank_is_refused_and_kept(profile):
    tuned = get_adapter(MOVIE_RECOMMENDER, profile)
    path = tuned.adapter_folder / "adapter_config.json"
    saved = json.loads(path.read_text())
    for change in ({"r": 4}, {"base_model_name_or_path": "someone/else"}):
        path.write_text(json.dumps({**saved, **change}))
        with pytest.raises(OtherAdapter, match="Move that folder away"):
            get_adapter(MOVIE_RECOMMENDER, profile)
        assert (tuned.adapter_folder / "adapter_model.safetensors").exists()


def test_the_4_bit_copy_that_unsloth_picks_counts_as_the_same_base():
    picked = "unsloth/qwen2.5-0.5b-instruct-unsloth-bnb-4bit"
    assert model_core(picked) == model_core("Qwen/Qwen2.5-0.5B-Instruct")
    assert model_core("/a/Model-bnb-4bit") == "/a/Model-bnb-4bit"


def test_an_unknown_data_set_is_named(plan):
    with pytest.raises(KeyError, match="'recipes'"):
        load_rows(dataclasses.replace(plan, dataset=Source("recipes")))

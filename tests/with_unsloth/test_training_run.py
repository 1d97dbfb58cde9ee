import dataclasses
import json
import math
import shutil

import datasets
import pytest
import torch
from safetensors.torch import load_file

from course_utils.data.datasets import load_movies
from course_utils.data.tokens import to_dataset
from course_utils.model import loading as models
from course_utils.training.trainer import (
    CannotResume,
    StopAfter,
    build_trainer,
    run_training,
    total_updates,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def fresh_trainer(plan, profile, folder):
    def build(name, rows=slice(None), **changes):
        changed = dataclasses.replace(plan, **changes)
        model, tokenizer = models.load_base(changed, profile)
        data = to_dataset(load_movies("validation")[: plan.rows], tokenizer, 256)
        adapted = models.attach_lora(model, changed)
        sets = (datasets.Dataset.from_dict(data[rows]), data.select(range(4)))
        where = folder / name
        return build_trainer(adapted, tokenizer, *sets, changed, profile, where)

    return build


@pytest.fixture(scope="module")
def run(profile):
    def train(trainer, *callbacks, **options):
        for callback in callbacks:
            trainer.add_callback(callback)
        return run_training(trainer, "movies", profile, **options)

    return train


@pytest.fixture(scope="module")
def whole(fresh_trainer, run):
    """A run of four updates in one go."""
    return run(fresh_trainer("whole"))


@pytest.fixture(scope="module")
def stopped(fresh_trainer, run, folder):
    """The folder of one that was stopped after three."""
    run(fresh_trainer("stopped"), StopAfter(3))
    return folder / "stopped"


def losses(run):
    return [row["loss"] for row in run.history if "loss" in row]


def test_a_run_reports_updates_tokens_and_both_losses(whole, plan):
    assert whole.updates == plan.max_steps and whole.rows == plan.rows
    assert len(losses(whole)) == plan.max_steps
    assert [r["step"] for r in whole.history if "eval_loss" in r] == [0, 1, 2, 3, 4]
    assert whole.tokens_per_second > 0 and whole.seconds >= whole.training_seconds
    assert whole.plan == plan.facts() and whole.versions["torch"]
    assert datasets.is_progress_bar_enabled()


def test_tokens_are_counted_one_by_one_without_padding(fresh_trainer, run):
    trainer = fresh_trainer("tokens", accumulation_steps=2, max_steps=None, epochs=2.0)
    batches = list(trainer.get_train_dataloader())
    assert any((batch["attention_mask"] == 0).any() for batch in batches)
    made = run(trainer)
    lengths = [len(tokens) for tokens in trainer.train_dataset["input_ids"]]
    assert made.updates == 8 and made.tokens == 2 * sum(lengths)


def test_a_last_part_of_an_epoch_is_an_update_too(fresh_trainer, plan, run):
    # 10 rows, batches of 2, 3 to an update: 5 batches, 2 updates; 1.3 epochs: 2.6
    some = {"rows": slice(10), "accumulation_steps": 3, "max_steps": None}
    trainer = fresh_trainer("part", **some, epochs=1.3)
    changed = dataclasses.replace(plan, accumulation_steps=3, max_steps=None)
    assert total_updates(10, dataclasses.replace(changed, epochs=1.3)) == 3
    assert run(trainer).updates == 3


def test_batches_are_padded_on_the_right_whatever_turns_the_tokenizer(fresh_trainer):
    trainer = fresh_trainer("batches")
    trainer.processing_class.padding_side = "left"  # as an answer on the way does
    for batch in trainer.get_train_dataloader():
        assert batch["attention_mask"][:, 0].all()
        assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


def test_the_same_seed_gives_the_same_losses_to_the_last_digit(
    fresh_trainer, run, whole
):
    assert losses(run(fresh_trainer("again"))) == losses(whole)


def test_a_stopped_run_resumes_as_if_it_had_never_stopped(fresh_trainer, run):
    in_one_go = run(fresh_trainer("in_one_go", max_steps=8))
    killed = run(fresh_trainer("killed", max_steps=8), StopAfter(5))
    assert len(losses(killed)) == 5  # no step at which a checkpoint is due
    resumed = run(fresh_trainer("killed", max_steps=8), resume=True)
    assert resumed.updates == 8 and losses(resumed) == losses(in_one_go)
    assert 0 < resumed.tokens < in_one_go.tokens  # of this part alone


def test_a_run_that_was_finished_says_so_and_gives_its_adapter_and_log(
    fresh_trainer, run, whole, capsys
):
    again = fresh_trainer("whole")
    finished = run(again, resume=True)
    assert "was finished: 4 of 4 updates" in capsys.readouterr().out
    assert losses(finished) == losses(whole) and math.isnan(finished.tokens_per_second)
    kept = load_file(f"{again.args.output_dir}/checkpoint-4/adapter_model.safetensors")
    held = dict(again.model.named_parameters())
    for name, tensor in kept.items():
        found = held[name.replace(".weight", ".default.weight")]
        torch.testing.assert_close(found.detach(), tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("trainer_state.json", None),
        ("trainer_state.json", 100),
        ("optimizer.pt", None),
        ("optimizer.pt", 1000),
        ("adapter_model.safetensors", 1000),
    ],
)
def test_a_checkpoint_half_written_is_passed_over_and_named(
    fresh_trainer, run, folder, capsys, whole, stopped, name, damage
):
    shutil.rmtree(folder / "cut", ignore_errors=True)
    shutil.copytree(stopped, folder / "cut")
    path = folder / "cut" / "checkpoints" / "checkpoint-3" / name
    path.write_bytes(path.read_bytes()[:damage]) if damage else path.unlink()
    resumed = run(fresh_trainer("cut"), resume=True)
    told = capsys.readouterr().out
    assert f"checkpoint-3 is not whole and is passed over: {name}" in told
    assert losses(resumed) == losses(whole)


def test_another_plans_checkpoints_are_refused_and_a_fresh_run_clears_them(
    fresh_trainer, run, folder, stopped
):
    shutil.copytree(stopped, folder / "other")
    with pytest.raises(CannotResume, match=r"learning_rate is 0\.001 there, 0\.01 her"):
        run(fresh_trainer("other", learning_rate=0.01), resume=True)
    with pytest.raises(CannotResume, match="training rows is"):
        run(fresh_trainer("other", rows=slice(8)), resume=True)
    for made_from in ("", json.dumps({"rank": 16})):
        (folder / "other" / "checkpoints" / "made_from.json").write_text(made_from)
        with pytest.raises(CannotResume, match="resume=False"):
            run(fresh_trainer("other"), resume=True)
    run(fresh_trainer("other", learning_rate=0.01), StopAfter(1))
    left = [p.name for p in (folder / "other" / "checkpoints").glob("checkpoint-*")]
    assert left == ["checkpoint-1"]


def test_without_any_whole_checkpoint_there_is_nothing_to_resume(fresh_trainer, run):
    with pytest.raises(CannotResume, match="no checkpoint in none/checkpoints"):
        run(fresh_trainer("none"), resume=True)


def test_the_trainers_first_loss_is_the_one_of_our_own_formula(fresh_trainer):
    from course_utils.data.tokens import completion_nll

    trainer = fresh_trainer("batches")
    batch = next(iter(trainer.get_eval_dataloader()))
    trainer.model.eval()
    with torch.inference_mode():
        logits = trainer.model(
            batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
        reported = trainer.model(**batch).loss
    torch.testing.assert_close(completion_nll(logits, batch["labels"]), reported)

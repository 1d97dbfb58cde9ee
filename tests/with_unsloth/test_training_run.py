import pytest
import torch

from course_utils import models
from course_utils.movies import load_movies
from course_utils.tokens import to_dataset
from course_utils.training import StopAfter, build_trainer, run_training


@pytest.fixture
def fresh_trainer(plan, profile, tmp_path):
    def build(name="run"):
        model, tokenizer = models.load_base(plan, profile)
        rows = load_movies("validation")[: plan.rows]
        data = to_dataset(rows, tokenizer, plan.max_length)
        adapted = models.attach_lora(model, plan)
        watched = data.select(range(4))
        return build_trainer(
            adapted, tokenizer, data, watched, plan, profile, tmp_path / name
        )

    return build


def losses(trainer):
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def test_a_run_reports_updates_tokens_and_both_losses(fresh_trainer, plan, profile):
    trainer = fresh_trainer()
    run = run_training(trainer, "movies", profile)
    assert run.updates == plan.max_steps and run.rows == plan.rows
    assert len(losses(trainer)) == plan.max_steps
    assert sum("eval_loss" in row for row in run.history) >= 1
    assert run.tokens_per_second > 0 and run.seconds >= run.training_seconds


def test_the_same_seed_gives_the_same_losses_to_the_last_digit(fresh_trainer):
    first, second = fresh_trainer("a"), fresh_trainer("b")
    first.train()
    second.train()
    assert losses(first) == losses(second)


def test_a_stopped_run_resumes_as_if_it_had_never_stopped(fresh_trainer, plan):
    whole = fresh_trainer("whole")
    whole.train()
    killed = fresh_trainer("killed")
    killed.add_callback(StopAfter(2))
    killed.train()
    assert len(losses(killed)) == 2
    resumed = fresh_trainer("killed")
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == plan.max_steps
    torch.testing.assert_close(losses(resumed), losses(whole), rtol=1e-6, atol=1e-6)


def test_the_trainers_first_loss_is_the_one_of_our_own_formula(fresh_trainer, plan):
    from course_utils.tokens import completion_nll

    trainer = fresh_trainer()
    batch = next(iter(trainer.get_eval_dataloader()))
    trainer.model.eval()
    with torch.inference_mode():
        logits = trainer.model(
            batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
        reported = trainer.model(**batch).loss
    torch.testing.assert_close(completion_nll(logits, batch["labels"]), reported)

"""What lesson 03 writes out in its cells trains, and the next notebooks take it."""

import json
from pathlib import Path

import pytest

from course_utils import places
from course_utils.data.datasets import load_rows
from course_utils.data.tokens import to_dataset
from course_utils.model import loading as models
from course_utils.recipes.book import MOVIE_RECOMMENDER
from course_utils.training import adapter as adapters
from course_utils.training.trainer import (
    RunRecorder,
    TrainingRun,
    build_trainer,
    gradient_zeros,
)

ROWS = load_rows(MOVIE_RECOMMENDER.plan_for("nano"))


@pytest.fixture(scope="module")
def trainer(plan, profile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "movie_recommender-nano"
    base, tokenizer = models.load_base(plan, profile)
    rows = [to_dataset(r, tokenizer, plan.max_length) for r in ROWS]
    model = models.attach_lora(base, plan)
    return build_trainer(model, tokenizer, *rows, plan, profile, folder)


def test_all_of_a_is_zero_in_the_first_gradient_and_none_of_b(trainer):
    batch = trainer.data_collator(trainer.train_dataset.select(range(2)).to_list())
    zeros = gradient_zeros(trainer.model, batch)
    assert zeros["A"] == zeros["A at the start"] == 1  # untrained: B is zero
    assert zeros["B"] == zeros["B at the start"] < 0.01


def test_an_adapter_of_an_open_trainer_is_the_one_that_later_notebooks_take(
    trainer, profile, monkeypatch
):
    folder = Path(trainer.args.output_dir).parent
    stale = places.make_folder(folder / "checkpoints" / "checkpoint-99")
    trainer.train()
    assert not stale.exists()
    run = TrainingRun.of(trainer, MOVIE_RECOMMENDER.name, profile, ROWS)
    assert run.updates == 4 and run.seconds >= run.training_seconds > 0
    with places.whole_folder(folder / "adapter") as new:
        trainer.model.save_pretrained(new)
        trainer.processing_class.save_pretrained(new)
        run.save(new)
    monkeypatch.setenv("COURSE_RUNS", str(folder.parent))
    monkeypatch.setattr(adapters, "fine_tune", lambda *_, **__: pytest.fail("again"))
    assert adapters.get_adapter(MOVIE_RECOMMENDER, profile).run == run


def test_what_a_run_was_made_from_is_noted_when_it_begins(plan, tmp_path, trainer):
    rows = trainer.train_dataset, trainer.eval_dataset
    recorder = RunRecorder(plan, *rows)
    trainer.args.output_dir = str(tmp_path)
    trainer.state.global_step = 2  # a resumed run notes nothing and removes nothing
    recorder.on_train_begin(trainer.args, trainer.state, trainer.control)
    assert list(tmp_path.iterdir()) == []
    trainer.state.global_step = 0
    recorder.on_train_begin(trainer.args, trainer.state, trainer.control)
    assert json.loads((tmp_path / "made_from.json").read_text()) == recorder.made_from


def test_the_lessons_last_function_trains_on_a_readers_own_file(plan, tmp_path):
    import notebook_cells as cells

    [source] = [path for path in cells.LESSONS if path.name.startswith("03")]
    [code] = [c for c in cells.code_cells(source) if "def fine_tune(" in c]
    names = {}
    exec(code, names)
    said = [{"role": "user", "content": "Hello?"}]
    reply = [{"role": "assistant", "content": "Yes."}]
    line = json.dumps({"prompt": said, "completion": reply})
    (tmp_path / "rows.jsonl").write_text(f"{line}\n" * 20)
    own = {"max_steps": 1, "use_cpu": True, "report_to": "none"}
    where = tmp_path / "mine"
    names["fine_tune"](
        models.model_location(plan), str(tmp_path / "rows.jsonl"), str(where), **own
    )
    assert (where / "adapter_model.safetensors").exists()

"""The cell for the reader's own project runs, on rows of prompt and completion."""

import dataclasses

import notebook_cells as cells
from datasets import Dataset

from course_utils.machine.profile import Profile
from course_utils.model import loading as models
from course_utils.recipes.book import MOVIE_RECOMMENDER

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("04")]


def test_the_cell_for_ones_own_project_trains_until_it_gets_worse(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    profile = Profile("nano", "cpu")
    plan = MOVIE_RECOMMENDER.plan_for("nano")
    plan = dataclasses.replace(plan, max_length=64)
    base, tokenizer = models.load_base(plan, profile)
    model = models.attach_lora(base, plan)
    rows = [{"prompt": f"What is {n}?", "completion": f" It is {n}."} for n in range(8)]
    names = {}
    exec(next(c for c in cells.code_cells(LESSON) if "my-run" in c), names)
    sets = Dataset.from_list(rows[:6]), Dataset.from_list(rows[6:])
    log = names["train_until_it_gets_worse"](model, tokenizer, *sets)
    assert {"loss", "grad_norm", "eval_loss", "train_loss"} <= set(log)
    assert log["eval_loss"].count() >= 3

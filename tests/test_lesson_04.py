"""Lesson 04's cells do what the package's trainer does, argument by argument."""

import ast
import dataclasses
import inspect

import notebook_cells as cells

from course_utils.machine.profile import Profile
from course_utils.recipes.book import MOVIE_RECOMMENDER
from course_utils.training import trainer as training

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("04")]


def cell_with(text: str) -> str:
    return next(code for code in cells.code_cells(LESSON) if text in code)


# A reader learns settings with which the course itself does not train.
def test_the_settings_of_early_stopping_are_those_of_the_package(tmp_path):
    profile = Profile("cpu", "cpu")
    plan = MOVIE_RECOMMENDER.plan_for(profile.name)
    names = {"plan": plan, "profile": profile}
    exec(cell_with("ROWS = "), names)
    names["scratch"] = tmp_path
    exec(cell_with("as_in_lesson_03 = dict("), names)
    exec(cell_with("config = SFTConfig("), names)
    few = dataclasses.replace(plan, max_steps=None, epochs=names["EPOCHS"])
    updates = training.total_updates(names["ROWS"], few)
    expected = training.trainer_config(
        few,
        profile,
        tmp_path / "few rows",
        updates,
        evaluations=names["EPOCHS"],
        keep_best=True,
    )
    assert names["config"].to_dict() == expected.to_dict()
    assert names["config"].load_best_model_at_end and few == names["few"]


def test_the_trainer_gets_what_the_package_gives_it():
    def keywords(code: str) -> set[str | None]:
        [call] = [
            node
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "SFTTrainer"
        ]
        return {keyword.arg for keyword in call.keywords}

    written_out = cell_with("trainer = SFTTrainer(\n    model=models")
    assert keywords(written_out) == keywords(inspect.getsource(training))

"""Lesson 03 writes the calls out; the package makes the same ones."""

import ast
import inspect

import notebook_cells as cells
import pytest
from trl import SFTConfig

from course_utils.data.tokens import tokenize_conversation
from course_utils.machine.profile import Profile
from course_utils.model.nano import nano_tokenizer
from course_utils.places import run_folder
from course_utils.projects.project import PROJECTS
from course_utils.training import trainer as training

[SOURCE] = [path for path in cells.LESSONS if path.name.startswith("03")]


def cell(start):
    """The code of the one cell that has a line that begins so."""
    found = [
        code
        for code in cells.code_cells(SOURCE)
        if any(line.startswith(start) for line in code.splitlines())
    ]
    assert len(found) == 1, f"{len(found)} cells with {start!r}"
    return found[0]


def keywords(code, name):
    """Argument names of a call, in order."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    [call] = [each for each in calls if getattr(each.func, "id", "") == name]
    return [keyword.arg for keyword in call.keywords]


@pytest.mark.parametrize("scale", ["nano", "cpu"])
@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
def test_the_arguments_in_the_lesson_are_those_of_the_package(project, scale):
    recipe, profile = project.recipe, Profile(scale, "cpu")
    names = {
        "SFTConfig": SFTConfig,
        "recipe": recipe,
        "profile": profile,
        "plan": recipe.plan_for(scale),
        "updates": 94,
    }
    for start in ("machine = dict(", "watching = dict(", "config = SFTConfig("):
        exec(cell(start), names)
    folder = run_folder(recipe.name, profile)
    ours = training.trainer_config(names["plan"], profile, folder, 94)
    assert names["config"].to_dict() == ours.to_dict()


def test_the_trainer_in_the_lesson_is_that_of_the_package():
    built = inspect.getsource(training.build_trainer)
    in_lesson = keywords(cell("trainer = SFTTrainer("), "SFTTrainer")
    assert in_lesson == keywords(built, "SFTTrainer")


@pytest.mark.parametrize("bos", [False, True])
def test_the_mask_in_the_lesson_is_that_of_the_package(bos):
    tokenizer = nano_tokenizer(bos)
    row = training_row(PROJECTS["movie_recommender"])
    names = {"tokenizer": tokenizer, "row": row, "messages": list(row.messages)}
    exec(cell("def masked("), names)
    for project in PROJECTS.values():
        row = training_row(project)
        prompt = names["prompt_of"](list(row.messages[:-1]))
        made = names["masked"](prompt, row.answer + tokenizer.eos_token)
        assert made == tokenize_conversation(row, tokenizer, 512)


def training_row(project):
    from course_utils.data.datasets import load_rows

    return load_rows(project.recipe.plan_for("nano"))[0][0]

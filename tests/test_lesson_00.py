"""The quickstart's own calls and those of the package do the same."""

import ast
import inspect
from pathlib import Path

import notebook_cells as cells
import pytest

from course_utils.data.datasets import load_movies
from course_utils.data.tokens import tokenize_conversation
from course_utils.places import PROJECT_ROOT
from course_utils.recipes.book import MOVIE_RECOMMENDER, QUICKSTART, RECIPES
from course_utils.recipes.plan import Plan
from course_utils.training import trainer

[LESSON] = [path for path in cells.SOURCES if path.name.startswith("00_")]
CODE = "\n".join(cells.code_cells(LESSON))
LOADING = Path(PROJECT_ROOT, "course_utils", "model", "loading.py").read_text("utf-8")


def arguments(call: str, code: str) -> dict[str, str]:
    """The keywords of the first such call, each with the code of its value."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    found = next(node for node in calls if ast.unparse(node.func) == call)
    return {word.arg: ast.unparse(word.value) for word in found.keywords if word.arg}


# Own to the quickstart: no checkpoints, a plain number of updates, no tracker.
OWN = ("output_dir", "max_steps", "save_strategy", "report_to")


def test_the_trainers_settings_are_those_of_the_package():
    ours = arguments("SFTConfig", inspect.getsource(trainer.trainer_config))
    ours |= {name: repr(value) for name, value in trainer._ALWAYS.items()}
    shown = arguments("SFTConfig", CODE)
    assert set(OWN) <= set(shown) and len(shown) >= 15
    for name in shown.keys() - OWN:
        assert shown[name] == ours[name], name


@pytest.mark.parametrize("call", ["from_pretrained", "get_peft_model"])
def test_loading_and_attaching_pass_what_the_package_passes(call):
    ours = arguments(f"FastLanguageModel.{call}", LOADING)
    shown = arguments(f"FastLanguageModel.{call}", CODE)
    assert shown.keys() <= ours.keys()
    values = {
        "model_name": "name",  # of `model_location(plan)`
        "load_in_4bit": "plan.load_in_4bit if load_in_4bit is None else load_in_4bit",
        "target_modules": "list(plan.target_modules)",
        "use_gradient_checkpointing": "plan.gradient_checkpointing and 'unsloth'",
    }
    for name in shown:
        assert values.get(name, shown[name]) == ours[name], name


def test_the_label_mask_of_the_cell_is_the_packages(any_tokenizer):
    tree = ast.parse(CODE)
    [mask] = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "labelled"
    ]
    assert mask.end_lineno - mask.lineno + 1 <= 12  # lines, as the lesson says
    names = {"tokenizer": any_tokenizer}
    exec(ast.unparse(mask), names)
    for row in load_movies("train"):
        made = tokenize_conversation(row, any_tokenizer, 1000)
        del made["attention_mask"]  # the collator makes it
        assert names["labelled"]({"messages": list(row.messages)}) == made


def test_the_quickstart_runs_on_every_profile_and_is_no_recipe_to_choose():
    assert QUICKSTART.name not in RECIPES
    assert set(QUICKSTART.reasons) == set(Plan.__dataclass_fields__)
    for profile in ("nano", "cpu", "t4"):
        plan = QUICKSTART.plan_for(profile)
        assert not plan.load_in_4bit  # else the export on a CPU would refuse it
        assert plan.dataset == MOVIE_RECOMMENDER.plan_for(profile).dataset
        assert plan.accumulation_steps == 1 and plan.rows in (None, 16)
        assert plan.template == "chat" and plan.dropout == 0  # what its cells leave out

"""The code of lesson 05 for "twenty rows, train again" runs to its last line."""

import ast
import dataclasses
import re

import notebook_cells as cells
import pytest

from course_utils.data.datasets import load_splits
from course_utils.model import loading as models
from course_utils.model.generation import Generated
from course_utils.projects.project import PROJECTS
from course_utils.stress.rates import pass_rates, spelled, verdict_table
from course_utils.stress.trials import judge_all

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("05")]
SOLUTION = next(
    exercise.solution
    for exercise in cells.exercises(LESSON)
    if "def safe_rows" in exercise.stub
)


@dataclasses.dataclass
class Finetuned:
    """As much of a fine-tuned model as the exercise reads."""

    folder: object


def folded_code(text: str) -> str:
    """The one block of Python in the lesson's prose that holds a text."""
    blocks = re.findall(r"```python\n(.*?)```", cells.prose(LESSON), re.S)
    [block] = [block for block in blocks if text in block]
    return block


@pytest.fixture
def lesson(plan, profile, tmp_path):
    """The names that the lesson has defined by then, with two prompts a group."""
    project = PROJECTS["movie_recommender"]
    suite, (_, written) = project.suite(), load_splits(plan)
    kept = [
        prompt
        for group in suite.groups
        for prompt in [p for p in suite.prompts if p.notes["group"] == group][:2]
    ]
    suite = dataclasses.replace(suite, prompts=tuple(kept), max_new_tokens=4)
    model, tokenizer = models.load_base(plan, profile)
    names = {"models": models, "Generated": Generated}
    names |= {"judge_all": judge_all, "pass_rates": pass_rates, "spelled": spelled}
    names |= {"verdict_table": verdict_table}
    names |= {"project": project, "suite": suite, "roles": suite.roles}
    names |= {"prompts": kept, "plan": plan, "profile": profile, "written": written}
    names |= {"roomy": dataclasses.replace(plan, max_length=2048)}
    names |= {"model": model, "tokenizer": tokenizer, "finetuned": Finetuned(tmp_path)}
    for cell in ("def write(", "end_tokens(model", "ways = {"):
        exec(next(c for c in cells.code_cells(LESSON) if cell in c), names)
    names |= {"GREEDY": {"do_sample": False}}
    answers = [Generated("**Up (2009)**", True)] * len(kept)
    names["greedy_tuned"] = judge_all(suite, answers, model="tuned")
    exec(SOLUTION, names)
    return names


# A reader trains for an hour, and the block ends before the question is answered.
def test_twenty_rows_are_trained_on_and_the_stress_prompts_asked_again(lesson):
    tuned = lesson["model"]
    *body, last = ast.parse(folded_code("restrained")).body
    exec(compile(ast.Module(body, []), "exercise", "exec"), lesson)
    assert isinstance(last, ast.Expr), "the block ends in what it was made for"
    shown = eval(compile(ast.Expression(last.value), "exercise", "eval"), lesson)
    assert lesson["model"] is not tuned
    suite, roles = lesson["suite"], lesson["roles"]
    for role in (roles.form, roles.stays_out):
        groups = suite.check(role).groups
        n = sum(p.notes["group"] in groups for p in suite.prompts)
        for way in ("tuned", "restrained"):
            assert re.match(rf"\d+ of {n} ", shown.loc[role, way]), shown
    assert shown.loc[roles.form, "tuned"].startswith("0 of")

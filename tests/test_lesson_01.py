"""Lesson 01 writes out what later lessons import: both must do the same."""

import ast
import inspect

import notebook_cells as cells
import torch

from course_utils.memory.formulas import weight_bytes
from course_utils.model import generation
from course_utils.model.architectures import load_architectures
from course_utils.model.nano import nano_model, nano_tokenizer
from course_utils.places import PROJECT_ROOT

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("01")]


def cell_with(text):
    return next(code for code in cells.code_cells(LESSON) if text in code)


def keywords_of(code, call):
    """Argument name -> expression, of the first call of that name."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == call:
            return {k.arg: ast.unparse(k.value) for k in node.keywords}
    raise AssertionError(f"no {call}")


def test_the_lesson_loads_a_model_as_the_package_does():
    call = "FastLanguageModel.from_pretrained"
    package = (PROJECT_ROOT / "course_utils" / "model" / "loading.py").read_text()
    here = keywords_of(cell_with(f"{call}(\n    model_name=models"), call)
    there = keywords_of(package, call)
    assert list(here) == list(there)
    own = {"model_name": "models.model_location(plan)", "load_in_4bit": "True"}
    assert here == there | own


def test_the_lesson_asks_a_model_as_the_package_does():
    model, tokenizer = nano_model(), nano_tokenizer()
    requests = ["a film", "something short for a rainy Sunday, please"]
    names = {"model": model.eval(), "tokenizer": tokenizer}
    names["chats"] = [[{"role": "user", "content": text}] for text in requests]
    limit = inspect.signature(generation.answer).parameters["max_new_tokens"].default
    assert f"max_new_tokens={limit}" in cell_with("model.generate(")
    exec(cell_with("model.generate("), names)
    answers = [text.strip() for text in names["answers"]]
    assert answers == generation.answer(model, tokenizer, requests)


def test_the_lessons_rule_for_four_bits_is_the_planners():
    code = cell_with("def predicted_bytes").split("\n\n")[0]
    names = {}
    exec(code, names)
    for shape in load_architectures().values():
        assert names["predicted_bytes"](shape, 4.5) == weight_bytes(shape, "nf4")


def test_the_quantiles_of_the_lesson_are_the_librarys_code_book():
    names = {"torch": torch}
    exec(cell_with("outermost = "), names)
    assert names["levels"].tolist() == sorted(names["levels"].tolist())
    torch.testing.assert_close(names["levels"], names["nf4"], rtol=0, atol=1e-6)

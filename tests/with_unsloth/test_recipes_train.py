"""The two other recipes, from their rows to a saved adapter, on the nano model."""

import pytest

from course_utils.data.datasets import load_rows
from course_utils.data.templates import alpaca_prompt
from course_utils.model import loading as models
from course_utils.recipes.book import ALPACA_MISTRAL, INFRAMIND
from course_utils.training import adapter as adapters
from course_utils.training.adapter import fine_tune


@pytest.fixture
def few_rows(monkeypatch):
    monkeypatch.setattr(
        adapters, "load_rows", lambda plan: tuple(r[:4] for r in load_rows(plan))
    )


def prompt_of(tokenizer, request):
    chat = [{"role": "user", "content": request}]
    return tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=True
    )


def test_alpacas_prompt_is_loaded_with_the_base_and_saved_with_the_adapter(
    profile, tmp_path, few_rows
):
    plan = ALPACA_MISTRAL.plan_for("nano")
    _, tokenizer = models.load_base(plan, profile)
    assert prompt_of(tokenizer, "Add.") == alpaca_prompt("Add.")
    tuned = fine_tune(ALPACA_MISTRAL.name, plan, profile, tmp_path)
    model, tokenizer = models.load_adapter(tuned.adapter_folder, plan, profile)
    assert prompt_of(tokenizer, "Add.") == alpaca_prompt("Add.")
    [text] = models.answer(model, tokenizer, ["Add."], max_new_tokens=2)
    assert "Add." not in text  # the prompt is not part of an answer


def test_inframind_trains_with_the_models_own_template_and_scales_by_two(
    profile, tmp_path, few_rows
):
    plan = INFRAMIND.plan_for("nano")
    tuned = fine_tune(INFRAMIND.name, plan, profile, tmp_path)
    model, tokenizer = models.load_adapter(tuned.adapter_folder, plan, profile)
    assert prompt_of(tokenizer, "A bucket.").endswith("<|im_start|>assistant\n")
    layer = next(m for name, m in model.named_modules() if name.endswith("q_proj"))
    assert layer.scaling["default"] == plan.alpha / plan.rank == 2

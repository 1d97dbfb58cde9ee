import dataclasses

import pytest

from course_utils.plans import Plan
from course_utils.recipes import ALPACA_MISTRAL, INFRAMIND, MOVIE_RECOMMENDER, RECIPES
from course_utils.training import total_updates, updates_per_epoch

FIELDS = {field.name for field in dataclasses.fields(Plan)}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_every_number_of_a_recipe_has_a_reason_and_every_change_its_own(recipe):
    assert set(recipe.reasons) == FIELDS
    for scale in recipe.scales.values():
        assert set(scale.changes) == set(scale.reasons)
        assert set(scale.changes) <= FIELDS


def test_the_movie_recipe_has_the_numbers_of_its_source():
    plan = MOVIE_RECOMMENDER.plan_for("t4")
    assert (plan.rank, plan.max_steps, plan.learning_rate) == (16, 60, 2e-4)
    assert (plan.batch_size, plan.accumulation_steps) == (2, 4)
    assert plan.effective_batch == 8 and plan.load_in_4bit


def test_the_mistral_recipe_makes_94_updates():
    plan = ALPACA_MISTRAL.plan_for("t4")
    assert (plan.rank, plan.alpha, plan.dropout, plan.rows) == (16, 16, 0.0, 1500)
    assert len(plan.target_modules) == 7 and plan.schedule == "cosine"
    assert plan.optimizer == "adamw_8bit" and plan.max_length == 2048
    assert updates_per_epoch(plan.rows, plan) == 47
    assert total_updates(plan.rows, plan) == 94


def test_inframind_scales_its_update_by_two():
    plan = INFRAMIND.plan
    assert (plan.rank, plan.alpha) == (32, 64)
    assert plan.model.name == "Qwen/Qwen2.5-0.5B-Instruct"


def test_max_steps_overrides_epochs_and_half_epochs_round_up():
    plan = dataclasses.replace(
        MOVIE_RECOMMENDER.plan, epochs=1.5, max_steps=None, batch_size=2
    )
    assert updates_per_epoch(9, plan) == 2  # 5 batches, of which 4 make an update
    assert total_updates(9, plan) == 3
    assert total_updates(9, dataclasses.replace(plan, max_steps=7)) == 7


def test_no_rows_is_an_error_and_not_zero_updates():
    with pytest.raises(ValueError, match="0 rows found"):
        updates_per_epoch(0, MOVIE_RECOMMENDER.plan)


def test_a_profile_without_a_plan_is_named():
    with pytest.raises(KeyError, match="no plan for profile 'cpu'"):
        ALPACA_MISTRAL.plan_for("cpu")


def test_course_model_replaces_the_model_alone():
    plan = MOVIE_RECOMMENDER.plan_for("cpu", "org/other")
    assert plan.model.name == "org/other"
    assert plan.rank == MOVIE_RECOMMENDER.plan_for("cpu").rank


def test_the_comparison_shows_both_values_and_the_reason_that_applies():
    rows = {row[0]: row[1:] for row in MOVIE_RECOMMENDER.comparison("cpu")}
    assert rows["rank"] == ("16", "16", MOVIE_RECOMMENDER.reasons["rank"])
    assert rows["learning_rate"][:2] == ("0.0002", "0.001")
    assert "five times" in rows["learning_rate"][2]
    assert set(rows) == FIELDS


def test_a_recipe_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MOVIE_RECOMMENDER.plan.rank = 8

"""Tests that import unsloth run in a process of their own: it patches the rest."""

import os

import pytest

os.environ["COURSE_PROFILE"] = "nano"  # before models is imported: Unsloth's CPU path


@pytest.fixture(scope="module")
def profile():
    from course_utils.machine.profile import Profile

    return Profile("nano", "cpu")


@pytest.fixture(scope="module")
def plan_of():
    from course_utils.recipes.book import MOVIE_RECOMMENDER

    return lambda model: MOVIE_RECOMMENDER.plan_for("nano", model)


@pytest.fixture(scope="module")
def plan(plan_of):
    return plan_of(None)

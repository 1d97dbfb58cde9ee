"""Tests that import unsloth run in a process of their own: it patches the rest."""

import os

import pytest

os.environ["COURSE_PROFILE"] = "nano"  # before models is imported: Unsloth's CPU path


@pytest.fixture(scope="module")
def profile():
    from course_utils.profile import Profile

    return Profile("nano", "cpu")


@pytest.fixture(scope="module")
def plan():
    from course_utils.recipes import MOVIE_RECOMMENDER

    return MOVIE_RECOMMENDER.plan_for("nano")

"""Shared fixtures: results go to a throw-away folder, models come from a seed."""

import pytest


@pytest.fixture(autouse=True)
def results_stay_out_of_the_project(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "runs"))


@pytest.fixture(scope="session")
def tokenizer():
    from course_utils.nano import nano_tokenizer

    return nano_tokenizer()

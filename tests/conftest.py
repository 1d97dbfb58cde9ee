"""Shared fixtures: results go to a throw-away folder, models come from a seed."""

import sys

import matplotlib
import pytest


@pytest.fixture(autouse=True, scope="session")
def results_of_wider_fixtures_stay_out_of_the_project(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COURSE_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield


@pytest.fixture(autouse=True)
def results_stay_out_of_the_project(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "runs"))


@pytest.fixture(autouse=True)
def no_figure_and_no_style_is_left_for_the_next_test():
    with matplotlib.rc_context():
        yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture(scope="session")
def tokenizer():
    from course_utils.model.nano import nano_tokenizer

    return nano_tokenizer()


@pytest.fixture(scope="session", params=[False, True], ids=["no bos", "bos"])
def any_tokenizer(request):
    """SmolLM2's, and one that puts a mark before every text, as Llama's does."""
    from course_utils.model.nano import nano_tokenizer

    return nano_tokenizer(bos=request.param)

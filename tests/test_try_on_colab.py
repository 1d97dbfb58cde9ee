"""The trial in a copy of Colab's environment: what it reads, and how it judges."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import project
import pytest
import try_on_colab

from course_utils import CourseError
from course_utils.places import read_json, write_json


def git(*words):
    command = ["git", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_versions_are_read_without_the_build_that_made_them():
    text = "# 19 August\ntorch==2.11.0+cu128\njupyter_client==7.4.9\nx @ file:///x\n"
    assert try_on_colab.pins(text) == {"torch": "2.11.0", "jupyter-client": "7.4.9"}


def test_what_a_set_up_changed_is_listed_and_what_it_left_is_not():
    before, after = ["a==1", "b==1", "c==1"], ["b==1", "c==2", "d==3"]
    changed = {"a": "1 -> none", "c": "1 -> 2", "d": "none -> 3"}
    assert try_on_colab.difference(before, after) == changed


def test_the_list_says_where_it_comes_from_and_has_what_google_colab_asks_for():
    text = try_on_colab.LISTED.read_text("utf-8")
    assert "backend-info" in text.splitlines()[0]
    listed = try_on_colab.pins(text)
    assert set(try_on_colab.GOOGLE_COLAB) <= set(listed)
    assert listed["torch"] == "2.11.0"


def test_the_first_cell_gets_a_clone_of_what_is_committed(tmp_path):
    settings = project.course_settings()
    address = f"--branch {settings['revision']} {settings['repository']}"
    assert address in project.first_cell()
    (tmp_path / "my trial").mkdir()
    clone = shlex.split(try_on_colab.published_clone(tmp_path / "my trial"))
    git("clone", "-q", *clone, tmp_path / "course")
    assert (tmp_path / "course" / "tools" / "install.py").exists()


def test_a_checkout_of_one_commit_as_ci_has_it_can_be_cloned(tmp_path, monkeypatch):
    git("init", "-q", tmp_path / "whole")
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for message in ("first", "second"):
        commit = ("commit", "-q", "--allow-empty", "-m", message)
        git("-C", tmp_path / "whole", *author, *commit)
    git("clone", "-q", "--depth", "1", f"file://{tmp_path}/whole", tmp_path / "shallow")
    monkeypatch.setattr(try_on_colab, "PROJECT_ROOT", tmp_path / "shallow")
    clone = try_on_colab.published_clone(tmp_path).split()
    git("clone", "-q", *clone, tmp_path / "course")
    assert git("-C", tmp_path / "course", "log", "--format=%s") == "second\n"


def test_what_is_not_committed_is_not_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(try_on_colab, "TRIAL", try_on_colab.PROJECT_ROOT / "t.json")
    monkeypatch.setattr(try_on_colab, "git", lambda *_: "")
    try_on_colab.check_committed()
    monkeypatch.setattr(try_on_colab, "git", lambda *_: "a.py\nb.py\n")
    with pytest.raises(CourseError, match=r"2 files differ .* \(a.py …\)"):
        try_on_colab.check_committed()


def test_a_trial_sees_colabs_marks_and_nothing_of_this_machines_course(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("COURSE_RECIPE", "alpaca")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    seen = {**os.environ, **try_on_colab.colab_variables(tmp_path)}
    assert seen["COLAB_RELEASE_TAG"] and seen["COURSE_PROFILE"] == "nano"
    own = ("PYTHONPATH", "COURSE_RECIPE", "COURSE_CACHE", "COURSE_RUNS")
    assert not any(seen[name] for name in own)
    assert list(Path(seen["HOME"]).iterdir()) == []
    found = subprocess.run(["nvidia-smi"], env=seen, capture_output=True)
    assert found.returncode == 0


def test_nothing_is_built_over_what_a_folder_holds(tmp_path, capsys):
    kept = tmp_path / "thesis.txt"
    kept.write_text("years of work")
    assert try_on_colab.main(["make", str(tmp_path)]) == 1
    assert "is not empty" in capsys.readouterr().err and kept.exists()


def test_another_python_than_colabs_is_refused_with_the_way_to_it(tmp_path):
    other = tmp_path / "python3"
    other.write_text("#!/bin/sh\necho 3.12\n")
    other.chmod(0o755)
    with pytest.raises(CourseError, match=r"Python 3\.12, expected .* 3\.13.*--python"):
        try_on_colab.make(tmp_path / "new", str(other))
    with pytest.raises(CourseError, match="no such program"):
        try_on_colab.make(tmp_path / "new", str(tmp_path / "absent"))


def test_only_an_environment_that_was_made_is_run(tmp_path, capsys):
    assert try_on_colab.main(["run", str(tmp_path)]) == 1
    assert "Call `make` first" in capsys.readouterr().err


@pytest.fixture
def trial(tmp_path, monkeypatch):
    """An environment that is there by name; its lessons and freezes are given."""
    write_json(tmp_path / "before.json", {"held": ["a==1"], "conflicts": []})
    given = {"told": "ok, 1.0 min", "state": {"held": ["a==2"], "conflicts": []}}

    async def tried(lesson, folder):
        return given["told"]

    monkeypatch.setenv("JUPYTER_PATH", "")
    monkeypatch.setattr(try_on_colab, "TRIAL", tmp_path / "trial.json")
    monkeypatch.setattr(try_on_colab, "check_committed", lambda: None)
    monkeypatch.setattr(try_on_colab, "run_in", lambda *_: "Python 3.13.0")
    monkeypatch.setattr(try_on_colab, "state", lambda _: given["state"])
    monkeypatch.setattr(try_on_colab, "tried", tried)
    return given


def test_a_conflict_or_a_failed_lesson_is_status_one(tmp_path, trial):
    assert try_on_colab.main(["run", str(tmp_path), "03"]) == 0
    trial["told"] = "failed: [1] x: y, 1.0 min"
    assert try_on_colab.main(["run", str(tmp_path), "01"]) == 1
    kept = read_json(tmp_path / "trial.json", "")
    assert kept["lessons"] == {"01": trial["told"], "03": "ok, 1.0 min"}
    assert kept["changed"] == {"a": "1 -> 2"} and kept["conflicts"] == []
    assert (tmp_path / "executed" / "01_load_quantized_model.ipynb").exists()
    trial["told"] = "ok, 1.0 min"
    trial["state"]["conflicts"] = ["b 1 requires a<2, but you have a 2"]
    assert try_on_colab.main(["run", str(tmp_path), "01"]) == 1


def test_a_lesson_that_ended_is_kept_whatever_becomes_of_the_next(tmp_path, trial):
    write = try_on_colab.write_notebook

    def stopped(path, notebook):
        if path.stem.startswith("01"):
            raise KeyboardInterrupt
        write(path, notebook)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(try_on_colab, "write_notebook", stopped)
        try_on_colab.main(["run", str(tmp_path), "00", "01"])
    assert list(read_json(tmp_path / "trial.json", "")["lessons"]) == ["00"]


NOT_TRIED = ["11"]  # written after the last trial; remove it with the next one


def test_the_record_has_each_lesson_at_its_end_in_the_set_that_is_listed():
    kept = read_json(try_on_colab.TRIAL, "Restore it from git.")
    assert try_on_colab.LISTED.read_text("utf-8").startswith(f"# {kept['freeze']}\n")
    assert kept["python"].startswith(f"{try_on_colab.PYTHON}.")
    lessons = [s for s in project.sources() if not project.is_proof(s)]
    keys = [project.key_of(source) for source in lessons]
    assert list(kept["lessons"]) == [key for key in keys if key not in NOT_TRIED]
    assert not set(NOT_TRIED) & kept["lessons"].keys()
    assert {told.partition(",")[0] for told in kept["lessons"].values()} == {"ok"}
    assert kept["conflicts"] == []


def test_the_kernel_is_that_of_the_environment(tmp_path):
    where = try_on_colab.register_kernel(tmp_path)
    listed = subprocess.run(
        [sys.executable, "-m", "jupyter_client.kernelspecapp", "list"],
        env={**os.environ, "JUPYTER_PATH": str(where)},
        capture_output=True,
        text=True,
    )
    assert str(tmp_path) in listed.stdout

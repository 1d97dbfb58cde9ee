"""The trial in a copy of Colab's environment: what it reads, and how it judges."""

import os
import subprocess
import sys

import project
import try_on_colab

from course_utils.places import read_json


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
    clone = try_on_colab.published_clone(tmp_path).split()
    command = ["git", "clone", "-q", *clone, tmp_path / "course"]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "course" / "tools" / "install.py").exists()


def test_a_trial_sees_colabs_marks_and_no_course(tmp_path):
    seen = try_on_colab.colab_variables(tmp_path)
    assert seen["COLAB_RELEASE_TAG"] and seen["PYTHONPATH"] == ""
    assert (tmp_path / "tools" / "nvidia-smi").stat().st_mode & 0o100
    environment = {**os.environ, **seen}
    found = subprocess.run(["nvidia-smi"], env=environment, capture_output=True)
    assert found.returncode == 0


def test_a_conflict_or_a_failed_lesson_is_status_one(tmp_path, monkeypatch):
    found = {"lessons": {"00": "ok, 1.0 min"}, "conflicts": [], "changed": {}}
    monkeypatch.setattr(try_on_colab, "TRIAL", tmp_path / "trial.json")
    monkeypatch.setattr(try_on_colab, "run_in", lambda *_: "Python 3.13.0")

    async def run(folder, lessons):
        return found

    monkeypatch.setattr(try_on_colab, "run", run)
    arguments = ["run", str(tmp_path)]
    assert try_on_colab.main(arguments) == 0
    found["conflicts"] = ["a 1 requires b<2, but you have b 2"]
    assert try_on_colab.main(arguments) == 1
    found |= {"conflicts": [], "lessons": {"01": "failed: [1] x: y, 1.0 min"}}
    assert try_on_colab.main(arguments) == 1
    kept = read_json(tmp_path / "trial.json", "")["lessons"]
    assert list(kept) == ["00", "01"]  # a lesson that was not run again keeps its line


def test_the_kernel_is_that_of_the_environment(tmp_path):
    where = try_on_colab.register_kernel(tmp_path)
    listed = subprocess.run(
        [sys.executable, "-m", "jupyter_client.kernelspecapp", "list"],
        env={**os.environ, "JUPYTER_PATH": str(where)},
        capture_output=True,
        text=True,
    )
    assert str(tmp_path) in listed.stdout

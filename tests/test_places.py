"""Results are whole or absent, whatever happens while they are written."""

import json
import multiprocessing
import os

import pytest

from course_utils import CourseError, places


def test_a_relative_runs_folder_is_one_folder_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_RUNS", "mine")
    monkeypatch.setenv("COURSE_CACHE", "~/kept")
    assert places.runs_folder() == (tmp_path / "mine").resolve()
    assert places.cache_folder().is_absolute() and "~" not in str(places.cache_folder())


def test_a_file_in_the_place_of_a_folder_is_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "runs").write_text("a file")
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "runs"))
    with pytest.raises(CourseError, match="COURSE_RUNS"):
        places.make_folder(places.runs_folder() / "movies-nano")


@pytest.mark.parametrize("content", ["text with ü", b"\x00\xff"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, content
):
    path = places.write_whole(tmp_path / "run.json", "old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            places.write_whole(path, content)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["run.json"]
    places.write_whole(path, content)
    expected = content.encode() if isinstance(content, str) else content
    assert path.read_bytes() == expected


@pytest.mark.parametrize("text", ["", '{"a": 1', "\x00", "[" * 100_000])
def test_a_broken_json_file_is_named_with_the_way_out(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(places.BrokenFile, match=r"run\.json.*Run notebook 03 again"):
        places.read_json(tmp_path / "run.json", "Run notebook 03 again.")
    with pytest.raises(places.BrokenFile, match=r"gone\.json is missing"):
        places.read_json(tmp_path / "gone.json", "Run notebook 03 again.")


def test_json_lines_keep_every_line_separator_that_a_text_may_hold(tmp_path):
    rows = [{"text": "a\u2028b\u0085c\x0bd\re\nf"}, {"text": "ü"}]
    path = places.write_jsonl(tmp_path / "rows.jsonl", rows)
    assert places.read_jsonl(path, "") == rows


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_no_json_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        places.write_json(tmp_path / "x.json", {"value": value})
    assert not (tmp_path / "x.json").exists()


def test_a_failure_keeps_the_old_folder_and_removes_the_new_one(tmp_path):
    target = tmp_path / "adapter"
    with places.whole_folder(target) as folder:
        (folder / "weights").write_text("old")
    with pytest.raises(RuntimeError), places.whole_folder(target) as folder:
        (folder / "weights").write_text("half")
        raise RuntimeError("killed")
    assert (target / "weights").read_text() == "old" and places.is_whole(target)
    assert {path.name for path in tmp_path.iterdir()} <= {"adapter", ".adapter.lock"}


@pytest.mark.parametrize("target_is_there", [True, False])
def test_what_a_killed_process_left_is_cleaned_up(tmp_path, target_is_there):
    target = tmp_path / "gguf"
    (tmp_path / ".gguf.partial-x" / "model").mkdir(parents=True)
    (tmp_path / ".gguf.old").mkdir()
    (tmp_path / ".gguf.old" / "f16").write_text("the version before")
    if target_is_there:
        target.mkdir()
        (target / "f16").write_text("now")
    with pytest.raises(RuntimeError), places.whole_folder(target):
        raise RuntimeError
    kept = "now" if target_is_there else "the version before"
    assert (target / "f16").read_text() == kept
    assert {path.name for path in tmp_path.iterdir()} <= {"gguf", ".gguf.lock"}


def damage_bytes(folder):
    (folder / "a").write_text("changed!")


def damage_size(folder):
    (folder / "a").write_text("")


def damage_missing(folder):
    (folder / "a").unlink()


def damage_stamp(folder):
    (folder / places.STAMP).write_text("")


def empty_stamp(folder):
    (folder / places.STAMP).write_text("{}")


DAMAGES = (damage_bytes, damage_size, damage_missing, damage_stamp, empty_stamp)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_again(tmp_path, damage):
    def make(folder):
        (folder / "a").write_text("original")

    target = places.made_once(tmp_path / "model", make)
    damage(target)
    assert not places.is_whole(target)
    places.made_once(target, make)
    assert (target / "a").read_text() == "original" and places.is_whole(target)


def make_slowly(folder):
    (folder / "a").write_text(str(os.getpid()))


def rebuild(target, done):
    places.made_once(target, make_slowly)
    done.put((target / "a").read_text())


def test_two_processes_rebuild_a_damaged_cache_once(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / places.STAMP).write_text(json.dumps({"a": [1, "x"]}))
    context = multiprocessing.get_context("fork")
    done = context.Queue()
    both = [context.Process(target=rebuild, args=(target, done)) for _ in range(4)]
    for process in both:
        process.start()
    assert len({done.get(timeout=30) for _ in both}) == 1
    for process in both:
        process.join()


# A folder of Python modules was made anew, in minutes, after its first import.
def test_what_python_leaves_beside_a_module_does_not_make_a_folder_broken(tmp_path):
    target = tmp_path / "bindings"
    places.made_once(target, lambda new: (new / "module.py").write_text("x = 1"))
    compiled = target / "__pycache__" / "module.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"compiled")
    assert places.is_whole(target)
    (target / "module.py").write_text("x = 2")
    assert not places.is_whole(target)

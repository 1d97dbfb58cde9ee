import importlib
import json
import sys
from types import SimpleNamespace

import psutil
import pytest

from course_utils.machine import run_record as records
from course_utils.machine.profile import Profile
from course_utils.machine.run_record import (
    peak_memory_gib,
    save_results,
    write_run_record,
)
from course_utils.places import run_folder, runs_folder

CPU = Profile("nano", "cpu")


def test_results_lie_in_a_folder_of_recipe_and_profile():
    folder = run_folder("movies", CPU)
    assert folder == runs_folder() / "movies-nano" and folder.is_dir()
    assert run_folder("movies", CPU) == folder  # asking again is no error


def test_results_are_kept_whole_and_a_table_without_shape_is_refused(tmp_path):
    rows = [{"measure": "loss", "n": 3}, {"measure": "größe", "n": 4}]
    path = save_results(tmp_path, "05", rows)
    assert path.name == "results_05.json" and json.loads(path.read_text()) == rows
    for faulty in ([], [{"a": 1}, {"b": 1}]):
        with pytest.raises(ValueError, match="the same keys"):
            save_results(tmp_path, "05", faulty)
    with pytest.raises(ValueError, match="JSON"):
        save_results(tmp_path, "05", [{"measure": "loss", "n": float("nan")}])
    assert json.loads(path.read_text()) == rows  # the old file stays


def test_windows_which_has_no_module_resource_is_asked_in_its_own_way(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    importlib.reload(records)  # imports nothing that is missing there
    peak = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=3 * 2**30))
    monkeypatch.setattr(records.sys, "platform", "win32")
    monkeypatch.setattr(records.psutil, "Process", lambda: peak)
    assert records.peak_memory_gib(CPU) == 3.0


def test_the_record_of_a_run_is_shown_and_kept():
    shown = repr(write_run_record("07", CPU, headline="42 of 60 right", seed=3407))
    kept = json.loads((runs_folder() / "records-nano" / "07.json").read_text())
    assert kept["headline"] == "42 of 60 right" and kept["seed"] == 3407
    for word in ("headline   42 of 60 right", "seed       3407", "versions", "GiB"):
        assert word in shown
    assert kept["minutes"] > 0
    used = psutil.Process().cpu_times()
    assert 0 < 60 * kept["processor_minutes"] <= sum(used[:4])


def test_a_run_without_a_seed_says_so():
    assert "seed       none" in repr(write_run_record("01", CPU, headline="x"))


def test_peak_memory_counts_what_was_held_and_is_free_again():
    before = peak_memory_gib(CPU)
    block = bytearray(int((before + 0.25) * 2**30))  # more than was ever held
    block[::4096] = b"1" * len(
        range(0, len(block), 4096)
    )  # untouched pages cost nothing
    del block
    assert peak_memory_gib(CPU) >= before + 0.2

"""Calls into the libraries are right on a GPU too, as far as signatures can say.

The accident that this prevents: an argument renamed or removed in the pinned
version of TRL, PEFT, transformers or Unsloth stands in a branch that no CPU run
reaches, and the reader on a T4 is the first to execute it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from textwrap import dedent

import pytest
from api_gate.allowed import ALLOWED, FORWARDS, MODEL_EXTRAS, Allowance
from api_gate.calls import taken_by
from api_gate.expressions import Report
from api_gate.samples import RIGHT, WRONG
from api_gate.sources import path_of
from api_signatures import examine

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks" / "source").glob("*.py"))
PACKAGE = sorted((ROOT / "course_utils").glob("*.py"))
Gate = Callable[[str], Report]


@pytest.fixture(scope="session")
def fresh_process() -> Iterator[ProcessPoolExecutor]:
    """One process that never imports Unsloth, whatever other tests do here."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def gate(fresh_process: ProcessPoolExecutor) -> Gate:
    """Examines a piece of source."""
    return lambda text: fresh_process.submit(examine, "cell.py", dedent(text)).result()


def examined(pool: ProcessPoolExecutor, path: Path) -> Report:
    """The gate's report on a file of the project."""
    name = str(path.relative_to(ROOT))
    return pool.submit(examine, name, path.read_text(encoding="utf-8")).result()


# The real thing


@pytest.mark.parametrize("path", NOTEBOOKS + PACKAGE, ids=lambda path: path.stem)
def test_calls_of_a_file_suit_the_installed_libraries(path, fresh_process):
    report = examined(fresh_process, path)
    assert not report.faults, "\n" + "\n".join(report.faults)
    if path in NOTEBOOKS and report.libraries:
        assert report.resolved, (
            f"{path.name} imports {sorted(report.libraries)}, yet not one of its calls "
            "was followed to a library: the gate is blind here. Annotate the "
            "parameters, or teach tests/api_gate what the calls return."
        )


def test_notebooks_are_examined_as_soon_as_there_are_any(fresh_process):
    if not NOTEBOOKS:
        built = [path.name for path in (ROOT / "notebooks").glob("*.ipynb")]
        assert not built, f"{built} have no source in notebooks/source to examine"
        pytest.skip("notebooks/source holds no notebook yet")
    reports = [examined(fresh_process, path) for path in NOTEBOOKS]
    assert any(report.held for report in reports)


def test_calls_of_the_package_are_held_against_signatures(fresh_process):
    reports = [examined(fresh_process, path) for path in PACKAGE]
    unsloth = [report for report in reports if "unsloth" in report.libraries]
    assert unsloth and all(report.held for report in unsloth)


# What the gate catches


@pytest.mark.parametrize("accident", WRONG)
def test_the_gate_catches(accident, gate):
    source, message = WRONG[accident]
    faults = gate(source).faults
    assert any(message in fault for fault in faults), faults


# What the gate lets pass


def test_right_calls_pass_and_are_all_followed(gate):
    report = gate(RIGHT)
    assert report.faults == []
    calls = "\n".join(report.held)
    for call in (
        *("FastLanguageModel.from_pretrained()", "FastLanguageModel.for_inference()"),
        *("FastLanguageModel.get_peft_model()", "get_chat_template()", "SFTConfig()"),
        *("train_on_responses_only()", "trainer.train()", "UnslothTrainer()"),
        *("tokenizer.decode()", "model.save_pretrained_gguf()", "DPOTrainer()"),
        *(
            "model.save_pretrained_merged()",
            "model.save_pretrained()",
            "model.generate()",
        ),
        "whole.eval().to('cpu').generate()",
    ):
        assert f": {call}" in calls, call


def is_imported(name: str) -> bool:
    """Whether the process that runs this has a module loaded."""
    return name in sys.modules


def test_unsloth_is_read_and_never_imported(gate, fresh_process):
    report = gate("from unsloth import FastLanguageModel as F\nF.for_inference(1)")
    assert report.held == ["2: F.for_inference()"]
    assert not fresh_process.submit(is_imported, "unsloth").result()


def test_a_file_that_is_not_python_is_one_fault(gate):
    assert gate("x = (").faults == ["cell.py:1: not Python: '(' was never closed"]


def test_what_is_not_known_is_not_judged(gate):
    report = gate("import json\njson.loads(x=1)\nmodel.fly(high=True)")
    assert (report.faults, report.resolved, report.libraries) == ([], [], set())


# The tables of exceptions, held against the installed source


@pytest.mark.parametrize("allowance", ALLOWED, ids=lambda each: each.titles)
def test_an_allowed_keyword_stands_in_the_installed_source(allowance: Allowance):
    paths = [path_of(dotted) for dotted in allowance.evidence.split()]
    source = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    words = set(re.findall(r"\w+", source))
    assert set(allowance.keywords.split()) <= words
    assert allowance.reason


@pytest.mark.parametrize("title", FORWARDS)
def test_a_receiver_of_forwarded_keywords_exists(title, fresh_process):
    for target in FORWARDS[title]:
        assert fresh_process.submit(taken_by, target).result(), target


@pytest.mark.parametrize("name", MODEL_EXTRAS)
def test_unsloth_puts_these_methods_on_a_model(name):
    files = {"GPU": "unsloth.save", "CPU": "unsloth_zoo.cpu.loader"}
    for view, dotted in files.items():
        attached = f"model.{name} = " in path_of(dotted).read_text(encoding="utf-8")
        assert attached == (MODEL_EXTRAS[name][view] is not None), view

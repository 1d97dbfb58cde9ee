"""Gates over the notebooks; each names the accident that it prevents."""

import ast
import re
import statistics
import subprocess
import sys

import nbformat
import notebook_cells as cells
import pytest
from publish import CARDS_SHOWN

from course_utils.evidence.cards import show_cards
from course_utils.evidence.claims import load_claims
from course_utils.evidence.questions import load_cards
from course_utils.exercises import TODO, check

each_source = pytest.mark.parametrize("path", cells.SOURCES, ids=cells.NAMES)
each_lesson = pytest.mark.parametrize("path", cells.LESSONS, ids=lambda path: path.stem)
MACHINE_PATH = re.compile(r"(?<![\w/.])/(?:home|root|tmp|work|mnt|Users)/\w")
SECTIONS = (
    "You will be able to",
    "## When it goes wrong",
    "## In the interview",
    "## You can now",
    "## What this run does not show",
    "## Sources",
)
FORBIDDEN = {
    r"\bif False\b": "code hidden behind `if False`",
    r"%%capture": "an install error that stays unseen",
    r"trust_remote_code": "code from a model repository",
    r"\.to\([\"']cuda|\.cuda\(\)": "a cell that needs a GPU",
    r"unsloth\.models": "an import that starts Unsloth's GPU patching on a CPU",
    r"PatchDPOTrainer|push_to_hub_gguf": "a name that Unsloth's CPU path lacks",
    r"\bif profile\b|profile\.name\s*==": "a branch on the machine in a notebook",
}


def test_the_notebooks_are_numbered_without_a_gap_but_for_those_to_come():
    numbers = [int(path.name[:2]) for path in cells.LESSONS]
    assert numbers == [*range(12), 14, 15]  # 12 and 13 are not written yet


# A reader opens a notebook whose code was edited after it was executed.
@each_source
def test_source_and_published_notebook_are_in_step(path):
    made, committed = cells.generated(path), cells.published(path)
    assert [(c.cell_type, c.source) for c in made.cells] == [
        (c.cell_type, c.source) for c in committed.cells
    ], f"{path.name} was edited: run `make publish N={cells.project.key_of(path)}`"


# A committed notebook that was never run, was run in pieces, or failed.
@each_source
def test_the_published_notebook_was_run_top_to_bottom_without_error(path):
    code = [c for c in cells.published(path).cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    kinds = [o.output_type for c in code for o in c.outputs]
    assert kinds and "error" not in kinds


# "Invalid notebook: metadata.widgets" on GitHub; a path of the author's machine.
@each_source
def test_the_published_outputs_can_be_shown_anywhere(path):
    notebook = cells.published(path)
    assert "widgets" not in notebook.metadata
    assert cells.execution.WIDGET_VIEW not in nbformat.writes(notebook)
    for cell in notebook.cells:
        assert not MACHINE_PATH.search(cell.source), cell.source
        for output in cell.get("outputs", []):
            text = output.get("text", "") or str(output.get("data", {}))
            assert not MACHINE_PATH.search(text), text[:200]


# A wall of code that nobody reads.
@each_source
def test_a_cell_is_one_thought(path):
    sizes = sorted(len(cells.code_lines(code)) for code in cells.code_cells(path))
    assert sizes[-1] <= 25
    assert sizes[int(0.9 * len(sizes))] <= 15
    assert statistics.median(sizes) <= 6


@each_source
def test_lines_of_code_fit_a_narrow_screen(path):
    for code in cells.code_cells(path):
        for line in code.splitlines():
            assert len(line) <= 88, line


@each_source
def test_nothing_is_hidden_and_nothing_needs_one_machine(path):
    for code in cells.code_cells(path):
        for pattern, accident in FORBIDDEN.items():
            assert not re.search(pattern, code), f"{accident}:\n{code}"


# bitsandbytes warns on some processors whenever it is imported, by TRL or PEFT as well:
# the cell prints a line that the machine of publishing never saw, and nbval stops.
@each_source
def test_a_notebook_imports_the_package_before_any_library(path):
    trees = map(ast.parse, map(cells.without_magics, cells.code_cells(path)))
    [first, *_] = [
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert first.startswith("course_utils")


def test_with_the_package_imported_bitsandbytes_misses_its_kernels_silently():
    missed = "import logging, sys; logging.getLogger(name).warning('no kernels')"
    for before, heard in ("", True), ("import course_utils; ", False):
        code = f"name = 'bitsandbytes.backends.cpu.ops'; {before}{missed}"
        command = [sys.executable, "-c", code]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ("no kernels" in told.stderr) == heard


# The same cell pasted twice; only the set-up cell may be, so that it looks familiar.
def test_no_cell_of_five_lines_stands_twice():
    seen = {}
    for path in cells.SOURCES:
        for code in cells.code_cells(path)[1:]:
            if len(cells.code_lines(code)) >= 5:
                assert code not in seen, f"{path.name} repeats a cell of {seen[code]}"
                seen[code] = path.name


@each_lesson
def test_every_section_of_the_house_style_is_there(path):
    text = cells.prose(path)
    wanted = SECTIONS if path.name[:2] != "00" else SECTIONS[:1]
    for section in wanted:
        assert section in text, section


def cards_shown(path):
    """Data of the cells that show cards, by the file of these."""
    code = [c for c in cells.published(path).cells if c.cell_type == "code"]
    found = [(CARDS_SHOWN.search(cell.source), cell) for cell in code]
    return {name[1]: cell.outputs[-1]["data"] for name, cell in found if name}


# An answer of the bank that was edited after the notebook was published.
@each_lesson
def test_the_cards_of_a_published_notebook_are_those_of_the_bank(path):
    for name, data in cards_shown(path).items():
        expected = show_cards(name, own={})._repr_html_()
        assert data["text/html"] == expected, "run `make prose`"


# Cards that no reader of the notebooks would ever see, or would see twice.
def test_each_file_of_cards_is_shown_by_one_lesson_its_own_if_it_has_a_number():
    shown = [
        (name, path.name[:2]) for path in cells.LESSONS for name in cards_shown(path)
    ]
    assert sorted(name for name, _ in shown) == sorted(
        {card.lesson for card in load_cards().values()}
    )
    assert all(name == lesson for name, lesson in shown if name.isdecimal())


# A badge or first cell that points to an old address of the project.
@each_source
def test_badge_and_first_cell_come_from_the_projects_settings(path):
    first = next(c for c in cells.generated(path).cells if c.cell_type == "code")
    settings = cells.project.course_settings()
    assert first.source == cells.project.first_cell()
    assert len(first.source.splitlines()) <= 12
    assert settings["repository"] in first.source
    assert settings["revision"] in first.source
    assert cells.project.badges(path) in cells.generated(path).cells[0].source


def test_the_address_of_the_project_stands_in_one_file_only():
    address = cells.project.course_settings()["repository"].split("github.com/")[1]
    written = [cells.ROOT / "README.md", *cells.SOURCES]
    for folder in ("tools", "course_utils"):
        written += (cells.ROOT / folder).rglob("*.py")
    for path in written:
        text = path.read_text()
        for source in cells.SOURCES:
            text = text.replace(cells.project.badges(source), "")
        assert address not in text, path.name


def test_the_readme_has_the_badges_of_every_lesson():
    readme = (cells.ROOT / "README.md").read_text()
    for source in cells.LESSONS:
        assert cells.project.badges(source) in readme


# A plot that nobody drew, or one drawn so large that the file cannot be shown.
@each_lesson
def test_a_notebook_shows_at_least_two_plots_of_a_reasonable_size(path):
    images = [
        output.data["image/png"]
        for cell in cells.published(path).cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(images) >= 2
    assert max(map(len, images)) * 3 / 4 <= 150_000  # base64 takes 4 bytes for 3


# nbval compares nothing in a notebook without marked cells.
@each_source
def test_a_notebook_has_facts_that_nbval_compares(path):
    marked = [c for c in cells.source_notebook(path).cells if cells.is_compared(c)]
    assert len(marked) >= (2 if path.name.startswith("00") else 4)


# A claim of the bank that no cell computes.
@each_source
def test_every_claim_value_of_a_notebook_is_recorded_by_one_of_its_cells(path):
    expected = {
        (claim.id, key)
        for claim in load_claims().values()
        if claim.notebook == cells.project.key_of(path)
        for key, value in claim.values.items()
        if value.kind != "read"  # what stands in a source is recorded by nobody
    }
    assert cells.recorded_keys(path) == expected


# A figure typed into the call that should prove it.
@each_source
def test_no_recorded_value_is_a_typed_number(path):
    for code in cells.code_cells(path):
        for node in ast.walk(ast.parse(cells.without_magics(code))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "record"
            ):
                for keyword in node.keywords:
                    assert not isinstance(keyword.value, ast.Constant), keyword.arg


@each_lesson
def test_a_lesson_has_exercises_with_level_minutes_and_purpose(path):
    assert len(cells.exercises(path)) >= (1 if path.name.startswith("00") else 2)
    text = cells.prose(path)
    headings = re.findall(r"### [●○]{3} Exercise \d · .+ \(\d+ minutes\)", text)
    assert len(headings) == len(cells.exercises(path))
    assert text.count("*Why it matters:") >= len(headings)


ALL_EXERCISES = [
    pytest.param(exercise, id=f"{path.name[:2]}-{number}")
    for path in cells.LESSONS
    for number, exercise in enumerate(cells.exercises(path), start=1)
]


def run_check(exercise, *definitions: str):
    """Run a check cell after the given definitions; return its last value."""
    names = {"TODO": TODO, "check": check}
    for code in definitions:
        exec(code, names)
    *body, last = ast.parse(exercise.check).body
    assert isinstance(last, ast.Expr), "a check cell ends in its verdict"
    exec(compile(ast.Module(body, []), "check", "exec"), names)
    return eval(compile(ast.Expression(last.value), "check", "eval"), names)


@pytest.mark.parametrize("exercise", ALL_EXERCISES)
def test_an_untouched_stub_is_reported_and_the_folded_solution_is_right(exercise):
    assert "not attempted yet" in run_check(exercise, exercise.stub)
    assert ": right, in " in run_check(exercise, exercise.stub, exercise.solution)

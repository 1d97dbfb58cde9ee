"""The tools that run and publish notebooks."""

import json
import re
from pathlib import Path

import execution
import nbformat
import project
import publish
import pytest
import readme


def notebook_of(*codes):
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    return nbformat.v4.new_notebook(cells=cells)


def test_a_failing_cell_stops_the_run_and_is_reported_in_one_line():
    outcome = execution.execute(notebook_of("1 + 1", "1 / 0", "2 + 2"), {})
    assert outcome.error == "ZeroDivisionError: division by zero"
    counts = [cell.execution_count for cell in outcome.notebook.cells]
    assert counts == [1, 2, None]


def test_a_kernel_that_dies_is_reported_and_not_a_traceback():
    outcome = execution.execute(notebook_of("import os", "os._exit(1)"), {})
    assert outcome.error == "the kernel died, most often because memory ran out"


def test_progress_bars_and_widget_views_are_dropped_and_the_rest_is_kept():
    notebook = notebook_of("x")
    view = {execution.WIDGET_VIEW: {"model_id": "1"}, "text/plain": "VBox()"}
    notebook.cells[0].outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="50%|##| 1/2 [1it/s]\r"),
        nbformat.v4.new_output("stream", name="stderr", text="a warning\n"),
        nbformat.v4.new_output("display_data", data=view),
        nbformat.v4.new_output("execute_result", data={"text/plain": "3"}),
    ]
    notebook.metadata["widgets"] = {}
    execution.tidy(notebook)
    kept = [o.get("text") or o["data"] for o in notebook.cells[0].outputs]
    assert kept == ["a warning\n", {"text/plain": "3"}]
    assert "widgets" not in notebook.metadata


def test_folders_of_this_machine_do_not_reach_a_published_notebook():
    notebook = notebook_of("x")
    text = f"{project.ROOT}/runs and {Path.home()}/.cache/model"
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text=text)]
    execution.tidy(notebook)
    assert notebook.cells[0].outputs[0].text == "./runs and ~/.cache/model"


def test_an_unknown_notebook_number_names_the_known_ones():
    with pytest.raises(SystemExit, match=r"No notebook 77; there are 01"):
        project.sources(["77"])


def test_a_number_may_be_written_without_its_zero():
    assert [path.name[:2] for path in project.sources(["1"])] == ["01"]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A source and its committed notebook with one output, in a folder of their own."""
    source = tmp_path / "01_toy.py"
    source.write_text("# %% [markdown]\n# # 01 · Why?\n\n# %%\n1 + 1\n")
    notebook = execution.convert(source)
    notebook.cells[1].outputs = [
        nbformat.v4.new_output("execute_result", data={"text/plain": "2"})
    ]
    notebook.cells[1].execution_count = 1
    nbformat.write(notebook, tmp_path / "01_toy.ipynb")
    monkeypatch.setattr(publish, "notebook_of", lambda path: tmp_path / "01_toy.ipynb")
    return source


def test_text_is_renewed_and_outputs_are_kept(published):
    published.write_text(published.read_text().replace("Why?", "How?"))
    publish.refresh_prose(published)
    text, code = nbformat.read(published.with_suffix(".ipynb"), 4).cells
    assert text.source == "# 01 · How?"
    assert code.outputs[0]["data"]["text/plain"] == "2" and code.execution_count == 1


def test_edited_code_is_never_given_an_old_output(published):
    before = published.with_suffix(".ipynb").read_text()
    published.write_text(published.read_text().replace("1 + 1", "1 + 2"))
    with pytest.raises(SystemExit, match=r"made anew.*make publish N=01"):
        publish.refresh_prose(published)
    assert published.with_suffix(".ipynb").read_text() == before


def test_evidence_of_a_notebook_replaces_its_own_and_keeps_that_of_others(
    tmp_path, monkeypatch
):
    def row(notebook, claim, value):
        return {"notebook": notebook, "claim": claim, "key": "k", "value": value}

    ledger = tmp_path / "evidence.json"
    ledger.write_text(json.dumps([row("01", "C001", 1), row("02", "C002", 2)]))
    record = tmp_path / "runs" / "evidence-cpu" / "01.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps([row("01", "C003", 3)]))
    monkeypatch.setattr(publish, "EVIDENCE", ledger)
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    publish.gather_evidence({"01"})
    kept = [(r["claim"], r["value"]) for r in json.loads(ledger.read_text())]
    assert kept == [("C002", 2), ("C003", 3)]


def test_the_question_of_a_notebook_is_its_heading(published):
    assert readme.question(published) == "Why?"


def test_the_readme_says_what_the_published_runs_left_behind():
    text = readme.README.read_text(encoding="utf-8")
    assert readme.filled(text) == text, "run `make prose`"


def test_a_readme_without_its_marks_is_an_error_and_not_left_stale():
    with pytest.raises(SystemExit, match="marks of its part 'notebooks'"):
        readme.filled("# A course")


def test_rows_become_a_table_with_their_keys_as_head():
    rows = [{"measure": "form", "n": 32}, {"measure": "facts", "n": 5}]
    expected = "| measure | n |\n|---|---|\n| form | 32 |\n| facts | 5 |"
    assert readme.markdown_table(rows) == expected


# An overview that an engineer trusts and that leaves half of the package out.
def test_the_readmes_overview_names_every_module_of_the_package_once():
    text = readme.README.read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| ([a-z_, ]+) \| (?:all|[\d–, ]+) \|$", text, re.M)
    named = [name for row in rows for name in row.split(", ")]
    package = project.ROOT / "course_utils"
    there = {path.stem for path in package.glob("*.py")}
    there |= {path.parent.name for path in package.glob("*/__init__.py")}
    assert sorted(named) == sorted(there - {"__init__"})


def test_publishing_a_notebook_keeps_the_tables_of_other_recipes(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    for module in (publish, readme):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    runs = tmp_path / "runs"
    for folder, text in {
        "records-cpu/05.json": {"minutes": 1.26, "day": "2026-11-21"},
        "movie_recommender-cpu/results_05.json": [{"measure": "form: ?"}],
        "inframind-cpu/results_05.json": [{"measure": "stale"}],
    }.items():
        (runs / folder).parent.mkdir(parents=True, exist_ok=True)
        (runs / folder).write_text(json.dumps(text))
    before = {"minutes": 9, "tables": {"inframind": [{"measure": "measured"}]}}
    (tmp_path / "results").mkdir()
    publish.write_results("05", before)
    publish.keep_results("05")
    kept = readme.results_of("05")
    assert kept["minutes"] == 1.3 and kept["day"] == "2026-11-21"
    assert kept["tables"] == {
        "inframind": [{"measure": "measured"}],
        "movie_recommender": [{"measure": "form: ?"}],
    }


def test_each_recipe_has_its_checks_in_the_readme(monkeypatch):
    rows = [
        {"measure": "form: All?", "base": "0 of 9", "tuned": "9 of 9", "note": "a; b"},
        {"measure": "stops: Did?", "base": "1 of 9", "tuned": "9 of 9", "note": "a; c"},
    ]
    tables = {"movie_recommender": rows, "inframind": rows[1:], "gone": rows}
    monkeypatch.setattr(readme, "results_of", lambda number: {"tables": tables})
    assert readme.table_of_recipes().splitlines()[2:] == [
        "| `movie_recommender` | form | form | 0 of 9 | 9 of 9 | b |",
        "|  | stops |  | 1 of 9 | 9 of 9 | c |",
        "| `inframind` | stops |  | 1 of 9 | 9 of 9 | c |",
    ]

"""The tools that run and publish notebooks."""

from pathlib import Path

import execution
import nbformat
import project
import pytest


def notebook_of(*codes):
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    return nbformat.v4.new_notebook(cells=cells)


def test_a_failing_cell_stops_the_run_and_is_reported_in_one_line():
    outcome = execution.execute(notebook_of("1 + 1", "1 / 0", "2 + 2"), {})
    assert outcome.error == "ZeroDivisionError: division by zero"
    counts = [cell.execution_count for cell in outcome.notebook.cells]
    assert counts == [1, 2, None]


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

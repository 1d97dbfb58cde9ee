"""The tools that run and publish notebooks."""

import asyncio
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import course
import execution
import nbformat
import project
import publish
import pytest
import readme
import readme_figure

from course_utils import CourseError
from course_utils.data.conversation import Conversation
from course_utils.places import (
    PROJECT_ROOT,
    runs_folder,
    write_json,
    write_jsonl,
    write_whole,
)


def execute(notebook, variables):
    return asyncio.run(execution.executed(notebook, variables))


def notebook_of(*codes):
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    return nbformat.v4.new_notebook(cells=cells)


def test_a_failing_cell_stops_the_run_and_is_reported_in_one_line():
    notebook = notebook_of("1 + 1", "1 / 0", "2 + 2")
    outcome = execute(notebook, {})
    assert outcome.error == "[2] 1 / 0: ZeroDivisionError: division by zero"
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, None]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os._exit(3)", "the kernel ended by itself, with status 3"),
        ("os.kill(os.getpid(), 11)", "the kernel was ended by SIGSEGV"),
        (
            "os.kill(os.getpid(), 9)",
            "the kernel was ended by SIGKILL, most often because memory ran out",
        ),
        ("time.sleep(60)", "not at its end after 1 seconds"),
    ],
)
def test_a_cell_that_never_answers_is_named_with_the_reason(code, reason, monkeypatch):
    monkeypatch.setattr(execution, "CELL_TIMEOUT_SECONDS", 1)
    outcome = execute(notebook_of("import os, time", code), {})
    assert outcome.error == f"[2] {code}: {reason}"


def test_a_kernel_that_does_not_start_is_a_failure_and_not_a_traceback(monkeypatch):
    async def refuse(client, **options):
        raise OSError("no memory\nat all")

    monkeypatch.setattr(execution._Client, "async_start_new_kernel", refuse)
    outcome = execute(notebook_of("1"), {})
    assert outcome.error == "[0] kernel start: OSError: no memory"


def test_settings_reach_the_kernel_alone_and_its_folders_are_absolute(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_RUNS", "my_runs")
    monkeypatch.setenv("ARC_EASY_JSONL", "arc.jsonl")
    (tmp_path / "arc.jsonl").touch()
    notebook = notebook_of(
        "import os\nfor name in ('RUNS', 'RECIPE'): print(os.environ['COURSE_' + name])"
        "\nprint(os.environ['ARC_EASY_JSONL'])"
    )
    before = dict(os.environ)
    assert not execute(notebook, {"COURSE_RECIPE": "other"}).error
    assert notebook.cells[0].outputs[0].text.split("\n")[:3] == [
        str(tmp_path / "my_runs"),
        "other",
        str(tmp_path / "arc.jsonl"),
    ]
    assert dict(os.environ) == before


def sources_of(folder, **cells):
    """Notebook sources in a folder, a code cell each, by name."""
    paths = [folder / f"{name.strip('_')}.py" for name in cells]
    for path, code in zip(paths, cells.values(), strict=True):
        path.write_text(f"# %%\n{code}\n")
    return paths


def test_a_notebook_that_fails_keeps_its_copy_and_the_others_still_run(
    tmp_path, monkeypatch, capsys
):
    paths = sources_of(tmp_path, _01_bad="print('seen'); 1 / 0", _02_good="2")
    monkeypatch.setattr(course, "sources", lambda numbers: paths)
    monkeypatch.setenv("COURSE_PROFILE", "nano")
    assert course.main(["run"]) == 1
    table = capsys.readouterr().out.partition("headline number\n")[2].splitlines()
    assert [line.split()[0::3][:2] for line in table[:2]] == [
        ["01_bad", "failed"],
        ["02_good", "ok"],
    ]
    copy = nbformat.read(runs_folder() / "notebooks-nano" / "01_bad.ipynb", 4)
    assert copy.cells[0].outputs[0].text == "seen\n"


# Proofs hold claims against the course's own rows; with others they would stop.
def test_with_own_rows_the_lessons_run_and_the_proofs_do_not(executions, monkeypatch):
    table = PROJECT_ROOT / "data" / "own_project" / "tickets.csv"
    monkeypatch.setenv("COURSE_RECIPE", str(table))
    monkeypatch.setenv("COURSE_PROFILE", "nano")
    assert course.main(["run"]) == 0
    lessons = [source for source in project.sources() if not project.is_proof(source)]
    assert len(executions) == len(lessons)
    assert (runs_folder() / "notebooks-nano-tickets").is_dir()


@pytest.fixture(autouse=True)
def signals_are_as_before():
    before = {number: signal.getsignal(number) for number in (2, 15)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# The signal once ended one notebook, "memory ran out", and the course went on.
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_course_stops_with_its_table_and_leaves_no_kernel(
    number, tmp_path, monkeypatch, capsys
):
    pid = tmp_path / "pid"
    slow = f"import os, time; open('{pid}', 'w').write(f'{{os.getpid()}}\\n')"
    codes = {"_01_good": "1", "_02_slow": f"{slow}; time.sleep(99)", "_03_no": "1"}
    paths = sources_of(tmp_path, **codes)
    monkeypatch.setattr(course, "sources", lambda numbers: paths)
    monkeypatch.setenv("COURSE_PROFILE", "nano")
    monkeypatch.setenv("COURSE_JOBS", "1")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")  # it has no "…"
    monkeypatch.setattr(sys, "stdout", terminal)

    def interrupt():
        while not (pid.exists() and pid.read_text().endswith("\n")):
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    assert course.main(["run"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    terminal.seek(0)
    told = terminal.read().partition("headline number")[2]
    assert re.search(r"^01_good +\S+ min +ok", told, re.M)
    assert "memory" not in told and "03_no" not in told
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert (runs_folder() / "notebooks-nano" / "02_slow.ipynb").exists()


def test_a_problem_of_the_course_is_one_line_and_status_one(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_RUNS", __file__)
    monkeypatch.setenv("COURSE_PROFILE", "nano")
    assert course.main(["run"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


# An environment shared by two checkouts renewed the other one's notebooks.
def test_tools_refuse_to_work_on_another_checkout(tmp_path):
    tools = tmp_path / "tools"
    shutil.copytree(PROJECT_ROOT / "tools", tools)
    command = [sys.executable, str(tools / "course.py"), "prose"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1 and "Set PYTHONPATH" in ended.stderr


def test_the_makefile_calls_commands_that_exist():
    called = re.findall(r"\$\(COURSE\) (\w+)", (PROJECT_ROOT / "Makefile").read_text())
    names = {command.__name__ for command in course.COMMANDS}
    assert set(called) <= names and len(called) >= 6


@pytest.fixture
def executions(monkeypatch):
    """Kernels are not started; what would be run is kept: (number, variables)."""
    kept = []

    async def executed(notebook, variables):
        kept.append((notebook.cells[0].id[:2], variables))
        return execution.Outcome(0.1)

    monkeypatch.setattr(course, "executed", executed)
    return kept


def test_each_other_recipe_is_run_on_nano_where_nothing_leaks_in(
    executions, monkeypatch
):
    monkeypatch.setenv("COURSE_MODEL", "leaked")
    assert course.main(["chains"]) == 0
    run = {(number, v["COURSE_RECIPE"]) for number, v in executions}
    numbers = ["03", "04", "05", "06", "07"]
    others = ("alpaca_mistral", "inframind", "movie_search")
    files = [PROJECT_ROOT / "data" / "own_project" / name for name in course.OF_OWN]
    assert run == {
        *((n, r) for n in numbers for r in others),
        *((number, str(file)) for number in ("05", "14") for file in files),
    }
    assert {file.suffix for file in files if file.exists()} == {".csv", ".json"}
    folders = {(v["COURSE_RECIPE"], v["COURSE_RUNS"]) for _, v in executions}
    assert len(folders) == 5  # one for each recipe, shared by its notebooks
    for _, variables in executions:
        assert variables["COURSE_PROFILE"] == "nano"
        assert not variables["COURSE_MODEL"] + variables["ARC_EASY_JSONL"]


def test_nbval_runs_all_and_also_trains_and_evaluates_with_a_bos(
    executions, monkeypatch
):
    calls = []

    async def output_of(command, environment):
        calls.append((command, environment))
        return 0, ""

    monkeypatch.setattr(course, "output_of", output_of)
    monkeypatch.setenv("COURSE_MODEL", "leaked")
    assert course.main(["nbval"]) == 0
    assert {command[-1] for command, _ in calls} == {
        str(project.notebook_of(source)) for source in project.sources()
    }
    for _, environment in calls:
        assert environment["COURSE_MODEL"] == ""
        assert environment["COURSE_PROFILE"] == "nano"
    assert [(number, v["COURSE_MODEL"]) for number, v in executions] == [
        ("03", "nano-bos"),
        ("06", "nano-bos"),
    ]


def test_progress_bars_and_widget_views_are_dropped_and_the_rest_is_kept(tmp_path):
    notebook = notebook_of("x")
    view = {execution.WIDGET_VIEW: {"model_id": "1"}, "text/plain": "VBox()"}
    told = view | {"text/plain": "in a terminal: make help"}
    notebook.cells[0].outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="50%|##| 1/2 [1it/s]\r"),
        nbformat.v4.new_output("stream", name="stderr", text="a warning\n"),
        nbformat.v4.new_output("display_data", data=view),
        nbformat.v4.new_output("display_data", data=told),
        nbformat.v4.new_output("execute_result", data={"text/plain": "3"}),
    ]
    notebook.metadata["widgets"] = {}
    execution.write_notebook(tmp_path / "x.ipynb", notebook)
    written = nbformat.read(tmp_path / "x.ipynb", 4)
    kept = [o.get("text") or o["data"] for o in written.cells[0].outputs]
    words = {"text/plain": told["text/plain"]}
    assert kept == ["a warning\n", words, {"text/plain": "3"}]
    assert "widgets" not in written.metadata


@pytest.mark.parametrize(
    ("home", "told", "published"),
    [
        ("/home/ann", "in /home/ann/.cache and ROOT/runs.", "in ~/.cache and ./runs."),
        ("/home/jürgen k", "'/home/jürgen k/x'", "'~/x'"),  # once escaped, not found
        ("/root", "/root", "~"),
        ("/root", "/rootless /root-2 /root.old /mnt/root/x", None),
        ("/", "1 / 2, /etc/hosts", None),
    ],
)
def test_folders_of_this_machine_do_not_reach_a_published_notebook(
    home, told, published, monkeypatch
):
    monkeypatch.setenv("HOME", home)
    told = told.replace("ROOT", str(PROJECT_ROOT))
    picture = f"iVBOR{home}/{PROJECT_ROOT}AAAA"
    new = nbformat.v4.new_output
    outputs = [
        new("stream", text=told),
        new("display_data", data={"text/html": told, "image/png": picture}),
        new("error", ename="E", evalue=told, traceback=[told]),
    ]
    stream, shown, error = map(execution.without_paths, outputs)
    expected = told if published is None else published
    assert stream.text == error.evalue == shown.data["text/html"] == expected
    assert error.traceback == [expected] and shown.data["image/png"] == picture


def test_results_that_lie_elsewhere_are_named_as_in_the_project(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "away"))
    told = nbformat.v4.new_output("stream", text=f"{tmp_path}/away/x and {tmp_path}/no")
    assert execution.without_paths(told).text == f"./runs/x and {tmp_path}/no"


CELL = """
import sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
if sys.argv[1] == "away":
    sys.modules["course_utils"] = None  # as if it was not installed
result = InteractiveShell.instance().run_cell(Path("cell").read_text())
raise SystemExit(0 if result.success else str(result.error_in_exec))
"""
INSTALLER = """
import sys
from pathlib import Path
if Path("broken").exists():
    raise SystemExit("no index reachable")
(Path(sys.argv[0]).parent.parent / ".installed").touch()
"""


@pytest.fixture
def first_cell(tmp_path):
    """Runs the first cell with a git that copies an installer; status and outputs."""
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    (tmp_path / "installer").write_text(INSTALLER)
    git.write_text(
        "#!/bin/sh\necho cloned >> calls\nfor to; do :; done\n"
        'mkdir "$to" && mkdir "$to/tools" && cp installer "$to/tools/install.py"\n'
    )
    git.chmod(0o755)
    (tmp_path / "cell").write_text(project.first_cell())
    path = f"{git.parent}:{os.environ['PATH']}"

    def run(where="away", machine="COLAB_RELEASE_TAG"):
        given = {"PATH": path, "IPYTHONDIR": str(tmp_path / "ipython"), machine: "x"}
        return subprocess.run(
            [sys.executable, "-c", CELL, where],
            cwd=tmp_path,
            env={**os.environ, **given},
            capture_output=True,
            text=True,
        )

    return run


# The clone alone once counted as installed: the next cell died at an import.
def test_a_failed_set_up_on_colab_stops_the_cell_and_is_tried_again(
    first_cell, tmp_path
):
    (tmp_path / "broken").touch()
    (tmp_path / ".course").mkdir()  # a clone that was killed
    for _ in range(2):
        failed = first_cell()
        assert failed.returncode == 1 and "no index reachable" in failed.stdout
        assert "the reason stands above" in failed.stderr
    (tmp_path / "broken").unlink()
    assert first_cell().returncode == 0
    (tmp_path / "broken").touch()  # once set up, nothing is installed again
    again = first_cell()
    assert again.returncode == 0 and not again.stdout
    assert (tmp_path / "calls").read_text() == "cloned\n"


# With another kernel than .venv's it once filled whatever Python that was.
@pytest.mark.parametrize("machine", ["KAGGLE_KEY", "JUPYTERHUB_USER"])
def test_the_first_cell_touches_no_kernel_of_another_machine(
    machine, first_cell, tmp_path
):
    refused = first_cell(machine=machine)
    assert refused.returncode == 1
    assert refused.stderr.strip() == (
        "wrong kernel: choose .venv, which `make setup` builds"
    )
    assert not (tmp_path / "calls").exists() and not (tmp_path / "course").exists()


def test_kaggle_is_set_up_like_colab(first_cell, tmp_path):
    assert first_cell(machine="KAGGLE_KERNEL_RUN_TYPE").returncode == 0
    assert (tmp_path / "course" / ".installed").exists()


# The cell once ended green, and the next one died at an import.
def test_a_wrong_or_private_address_stops_the_first_cell_in_one_line(
    first_cell, tmp_path
):
    git = tmp_path / "bin" / "git"
    whole = git.read_text()
    git.write_text(
        '#!/bin/sh\necho "fatal: asked $GIT_TERMINAL_PROMPT" >&2\nexit 128\n'
    )
    refused = first_cell()
    assert refused.returncode == 1 and "fatal: asked 0" in refused.stdout
    assert refused.stderr.splitlines()[-1] == (
        "is this address public, and the internet on?"
    )
    git.write_text(whole)
    assert first_cell().returncode == 0


def test_the_first_cell_is_idle_where_the_course_is_installed(first_cell, tmp_path):
    assert first_cell("here").returncode == 0
    assert not (tmp_path / "course").exists()


def test_an_unknown_notebook_number_names_the_known_ones():
    with pytest.raises(SystemExit, match=r"No notebook 77; there are 00"):
        project.sources(["77"])


def test_a_number_may_be_written_without_its_zero():
    assert [path.name[:2] for path in project.sources(["1"])] == ["01"]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A source and its committed notebook with one output, in a folder of their own."""
    source = tmp_path / "01_toy.py"
    first = '# %% tags=["first-cell"]\npass\n\n'
    source.write_text(f"# %% [markdown]\n# # 01 · Why?\n\n{first}# %%\n1 + 1\n")
    notebook = execution.convert(source)
    notebook.cells[2].outputs = [
        nbformat.v4.new_output("execute_result", data={"text/plain": "2"})
    ]
    notebook.cells[2].execution_count = 1
    nbformat.write(notebook, tmp_path / "01_toy.ipynb")
    monkeypatch.setattr(publish, "notebook_of", lambda path: tmp_path / "01_toy.ipynb")
    return source


def test_text_is_renewed_and_outputs_are_kept(published, monkeypatch):
    published.write_text(published.read_text().replace("Why?", "How?"))
    monkeypatch.setattr(execution, "first_cell", lambda: "git clone elsewhere")
    publish.renew_text(published)
    text, first, code = nbformat.read(published.with_suffix(".ipynb"), 4).cells
    assert text.source == "# 01 · How?" and first.source == "git clone elsewhere"
    assert code.outputs[0]["data"]["text/plain"] == "2" and code.execution_count == 1


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A copy of pyproject.toml, in which the tools look for the project's address."""
    copy = tmp_path / "pyproject.toml"
    shutil.copy(PROJECT_ROOT / "pyproject.toml", copy)
    monkeypatch.setattr(project, "SETTINGS", copy)
    return copy


# A fork's badge opened the origin, and an edit of the address asked for all notebooks
# to be executed anew.
@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/ada/my.course",
        "https://github.com/ada/my.course.git/",
        "git@github.com:ada/my.course.git",
    ],
)
def test_a_fork_sets_its_address_and_nothing_is_executed(
    url, published, settings, monkeypatch
):
    source = published.read_text().replace("Why?", "Why?\n# <!-- colab badge -->")
    published.write_text(source)
    monkeypatch.setattr(publish, "sources", lambda numbers: [published])
    monkeypatch.setattr(publish, "refresh_readme", lambda: None)
    assert course.main(["address", url, "v2"]) == 0
    text, first, code = nbformat.read(published.with_suffix(".ipynb"), 4).cells
    place = "ada/my.course/blob/v2/notebooks/01_toy.ipynb"
    assert f"colab.research.google.com/github/{place})" in text.source
    assert f"kernels/welcome?src=https://github.com/{place})" in text.source
    assert "--branch v2 https://github.com/ada/my.course .course" in first.source
    assert code.outputs[0]["data"]["text/plain"] == "2" and code.execution_count == 1
    there = project.course_settings()
    assert there["t4_minutes"] and settings.read_text().count("ada/") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["https://gitlab.com/ada/course"],  # Colab opens nothing of it
        ["/home/ada/course"],
        ["https://github.com/ada"],
        ["https://github.com/ada/course", "main; rm -rf /"],
        [],
    ],
)
def test_an_address_that_no_badge_could_open_changes_nothing(words, settings, capsys):
    before = settings.read_text()
    assert course.main(["address", *words]) == 1
    assert "URL=https://github.com/you/name" in capsys.readouterr().err
    assert settings.read_text() == before


def test_edited_code_is_never_given_an_old_output(published):
    before = published.with_suffix(".ipynb").read_text()
    published.write_text(published.read_text().replace("1 + 1", "1 + 2"))
    with pytest.raises(CourseError, match=r"made anew.*make publish N=01"):
        publish.renew_text(published)
    assert published.with_suffix(".ipynb").read_text() == before


def test_line_breaks_and_comments_may_change_since_no_output_does(published):
    source = published.read_text().replace("1 + 1", "1 + (  # a sum\n    1\n)")
    published.write_text(source)
    publish.renew_text(published)
    assert "# a sum" in published.with_suffix(".ipynb").read_text()


def row(notebook, claim, value):
    return {"notebook": notebook, "claim": claim, "key": "k", "value": value}


@pytest.fixture
def publishing(published, tmp_path, monkeypatch):
    """The toy notebook's publication: kernels write what `made` says, below runs/."""
    made = {
        "evidence-cpu/01.json": [row("01", "C003", 3)],
        "records-cpu/01.json": {"processor_minutes": 1.26, "day": "2026-11-21"},
        "movie_recommender-cpu/results_01.json": [{"measure": "new"}],
    }
    seen = []

    async def executed(notebook, variables):
        seen.append(variables)
        for name, content in made.items():
            write_json(runs_folder() / name, content)
        notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="new")]
        return execution.Outcome(60)

    monkeypatch.setattr(publish, "executed", executed)
    monkeypatch.setattr(publish, "EVIDENCE", tmp_path / "evidence.json")
    for module in (publish, readme):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    old = [row("01", "C001", 1), row("02", "C002", 2)]
    write_json(tmp_path / "evidence.json", old)
    tables = {"inframind": [{"measure": "other"}]}
    write_json(
        tmp_path / "results" / "01.json", {"processor_minutes": 9, "tables": tables}
    )
    return published, made, seen


def published_one(source):
    return asyncio.run(publish.publish_one(source))


def committed(source):
    """What is published of the toy: notebook, evidence and results."""
    folder = source.parent
    names = ("01_toy.ipynb", "evidence.json", "results/01.json")
    return [(folder / name).read_text() for name in names]


def adopted(source, made, monkeypatch, code=None):
    """Publish what `make course` would have left of the toy, and return its page."""
    monkeypatch.setattr(publish, "renew_all", lambda: None)
    monkeypatch.setattr(publish, "sources", lambda _: [source])
    notebook = execution.convert(source)
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="of a run")]
    notebook.cells[-1].source = code or notebook.cells[-1].source
    made["records-cpu/01.json"]["minutes"] = 2.0
    for name, content in made.items():
        write_json(runs_folder() / name, content)
    page = runs_folder() / "notebooks-cpu" / "01_toy.ipynb"
    write_whole(page, nbformat.writes(notebook))
    assert publish.adopt(["01"]) == 0
    return committed(source)


def test_the_last_run_of_the_course_is_published_without_a_new_one(
    publishing, monkeypatch
):
    source, made, seen = publishing
    notebook, evidence, results = adopted(source, made, monkeypatch)
    assert "of a run" in notebook and "C003" in evidence and not seen
    assert json.loads(results)["processor_minutes"] == 1.3


def test_a_run_of_other_code_is_not_published(publishing, monkeypatch):
    source, made, _ = publishing
    before = committed(source)
    with pytest.raises(publish.NotPublished, match="edited as well"):
        adopted(source, made, monkeypatch, code="other = 1")
    assert committed(source) == before


def test_a_run_that_is_missing_is_not_published(publishing):
    with pytest.raises(publish.NotPublished, match="Run `make course`"):
        publish.adopt(["01"])


def test_a_published_run_replaces_its_own_numbers_and_keeps_those_of_others(publishing):
    source, _, _ = publishing
    assert published_one(source)
    notebook, evidence, results = committed(source)
    assert '"new"' in notebook
    kept = [(r["claim"], r["value"]) for r in json.loads(evidence)]
    assert kept == [("C002", 2), ("C003", 3)]
    assert json.loads(results) == {
        "processor_minutes": 1.3,
        "day": "2026-11-21",
        "tables": {
            "inframind": [{"measure": "other"}],
            "movie_recommender": [{"measure": "new"}],
        },
    }


def test_single_answers_are_kept_with_the_figures_they_are_behind(
    publishing, monkeypatch
):
    source, made, _ = publishing
    monkeypatch.setattr(publish, "TRIALS", {"01": ("answers.jsonl",)})
    made["movie_recommender-cpu/answers.jsonl"] = ["é"]
    assert published_one(source)
    kept = publish.RESULTS / "trials" / "movie_recommender" / "01_answers.jsonl"
    assert json.loads(kept.read_text()) == ["é"]
    old = write_json(runs_folder() / list(made)[-1], made.popitem()[1])
    os.utime(old, (0, 0))
    with pytest.raises(CourseError, match=r"answers\.jsonl"):  # of an earlier run
        published_one(source)


# With COURSE_RUNS elsewhere, the project's own old records were once published.
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("age", [None, 3600])
def test_nothing_is_published_when_a_result_is_of_an_earlier_run(
    number, age, publishing
):
    source, made, _ = publishing
    name = list(made)[number]
    left = write_json(runs_folder() / name, made.pop(name))
    os.utime(left, (time.time() - (age or 0),) * 2)
    if age is None:
        left.unlink()
    before = committed(source)
    if age is None and number == 2:  # not every notebook has figures for the README
        assert published_one(source)
        return
    with pytest.raises(CourseError, match=left.name):
        published_one(source)
    assert committed(source) == before


def test_what_is_set_for_own_runs_does_not_reach_a_published_one(
    publishing, monkeypatch
):
    source, _, seen = publishing
    for name in ("COURSE_MODEL", "ARC_EASY_JSONL", "COURSE_TRACKER", "COURSE_RECIPE"):
        monkeypatch.setenv(name, "leaked")
    published_one(source)
    assert "leaked" not in {**os.environ, **seen[0]}.values()
    assert seen[0]["COURSE_PROFILE"] == "cpu"


def test_a_failed_notebook_stays_unpublished(publishing, monkeypatch):
    source, _, _ = publishing
    before = committed(source)

    async def fails(notebook, variables):
        return execution.Outcome(1, "[1] x: ValueError")

    monkeypatch.setattr(publish, "executed", fails)
    assert not published_one(source)
    assert committed(source) == before


# One request may hold what matplotlib reads as a formula, and every way has its answer.
ODD = "A film for $5 \\frac, at most $10?\u2028"
FOUR = {
    "request": ODD,
    "before": "I am\u0085 sorry.",
    "told": "**Title (year)**",
    "shown": "**Heat (1996)**\n- Genre: crime\n- Runtime: 170 minutes\n- Why: It is.",
    "after": "**Tron (1982)**\n- Genre: action\n- Runtime: 96 minutes\n- Why: It is.",
}


@pytest.fixture
def one_request(monkeypatch):
    notes = {"constraints": {"max_minutes": 100}, "unmet": []}
    message = {"role": "user", "content": ODD}
    row = Conversation("odd", (message,), notes)
    monkeypatch.setattr(readme_figure, "load_movies", lambda split: [row])


def test_a_request_with_dollars_and_odd_line_ends_can_be_drawn(
    tmp_path, monkeypatch, one_request
):
    monkeypatch.setattr(readme_figure, "FIGURE", tmp_path / "figure.png")
    readme_figure.draw_before_after(write_jsonl(tmp_path / "answers.jsonl", [FOUR]))
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_figure_counts_each_way_of_asking_by_the_projects_checks(one_request):
    counted = {
        name: [share.right for share in found]
        for name, found in readme_figure.shares([FOUR]).items()
    }
    assert counted == {
        "base": [0, 0, 0, 0],
        "told the form": [0, 0, 0, 0],
        "shown examples": [1, 0, 1, 0],  # too long, in the table, another year
        "tuned": [1, 1, 1, 1],
    }


def test_the_question_of_a_notebook_is_its_heading(published):
    assert readme.question(published) == "Why?"


def test_the_readme_says_what_the_published_runs_left_behind():
    text = readme.README.read_text(encoding="utf-8")
    assert readme.filled(text) == text, "run `make prose`"


# Its first sentence once said "not one fact", which nobody had measured.
def test_what_the_readme_claims_first_is_what_lesson_03_counted(tmp_path, monkeypatch):
    ways = "base", "shown examples", "tuned"
    checks = "in the form", "facts as stated fit the wish", "in the course's table"
    rows = [
        {"held-out answers": check} | {way: f"{check[:4]}/{way[:4]}" for way in ways}
        for check in checks
    ]
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    assert readme.finding() == "Not published yet."
    write_json(tmp_path / "03.json", {"tables": {"movie_recommender": rows}})
    told = readme.finding()
    counted = ["in t/base", "in t/tune", "in t/show", "fact/tune", "fact/show"]
    counted += ["in t/tune", "in t/show"]
    assert re.findall(r"\w+(?: \w)?/\w+", told) == counted
    assert max(map(len, told.splitlines())) <= 88


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
    rows = re.findall(
        r"^\| ([a-z/()]+) \| ([a-z_, ]+) \| (?:all|[\d–, ]+) \|$", text, re.M
    )
    named = [
        f"{folder}/{name}".removeprefix("(root)/")
        for folder, names in rows
        for name in names.split(", ")
    ]
    package = PROJECT_ROOT / "course_utils"
    there = [p.relative_to(package).with_suffix("") for p in package.rglob("*.py")]
    modules = [str(p) for p in there if not p.name.startswith("__")]
    assert sorted(named) == sorted(modules)


def test_no_folder_of_the_package_holds_more_than_a_reader_takes_in():
    package = PROJECT_ROOT / "course_utils"
    for folder in [package, *(p.parent for p in package.rglob("__init__.py"))]:
        modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
        assert len(modules) <= (3 if folder == package else 7), folder.name


def test_each_recipe_has_its_checks_and_ways_of_asking_in_the_readme(monkeypatch):
    ways = {"base": "0 of 9", "shown examples": "8 of 9", "tuned": "9 of 9", "n": 9}
    rows = [
        {"measure": "form: All?", **ways, "note": "exact, against: base 0.1, shown 1"},
        {"measure": "stops: Did?", **ways, "note": "exact, against: nothing"},
    ]
    tables = {"movie_recommender": rows, "inframind": rows[1:], "gone": rows}
    monkeypatch.setattr(readme, "results_of", lambda number: {"tables": tables})
    head, _, *body = readme.table_of_recipes().splitlines()
    assert head == "| recipe | check | part | base | shown examples | tuned | paired |"
    assert body == [
        "| `movie_recommender` | form | form | 0 of 9 | 8 of 9 | 9 of 9 "
        "| base 0.1, shown 1 |",
        "|  | stops |  | 0 of 9 | 8 of 9 | 9 of 9 | nothing |",
        "| `inframind` | stops |  | 0 of 9 | 8 of 9 | 9 of 9 | nothing |",
    ]

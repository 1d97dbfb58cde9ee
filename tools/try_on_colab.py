"""Run the first cell and the lessons in a copy of Colab's environment, without Colab.

    .venv/bin/python tools/try_on_colab.py make FOLDER
    .venv/bin/python tools/try_on_colab.py run FOLDER [00 01 …]

`make` installs what tools/colab/packages.txt lists, at Colab's versions, into a new
folder. `run` opens each lesson as its badge does, where no course lies: the first cell
is executed literally, its address replaced by a clone of what is committed, then all
other cells on the nano profile, and `pip check` is held before against after. What the
first lesson installed stays, and llama.cpp, once a lesson has built it. Each lesson's
end goes into tools/colab/trial.json at once, its notebook with outputs into
FOLDER/executed.

Needed: `make setup` (for .venv), Python 3.13 (`--python` says where; pyenv, uv and
conda have it), git, a C++ compiler, an index of packages such as PyPI, and 12 GiB of
disk. No GPU: torch is the build with CUDA, which finds no card. On two busy cores
`make` took 8 minutes, a lesson 2 to 13; the first that exports a model builds llama.cpp
besides. Status 1 if a lesson failed or the set-up made a conflict.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from execution import convert, executed, settings, write_notebook
from install import SetupProblem, check_disk
from nbformat import NotebookNode
from project import course_settings, is_proof, key_of, sources

from course_utils import CourseError
from course_utils.places import PROJECT_ROOT, read_json, write_json

LISTED = PROJECT_ROOT / "tools" / "colab" / "packages.txt"
TRIAL = LISTED.with_name("trial.json")
BEFORE = "before.json"  # what an environment held before its first cell
PYTHON = "3.13"  # Colab's, of that date
# Of google-colab, which is on no index: what it asks for decides whether a set-up has
# broken the machine. Versions as in the freeze.
GOOGLE_COLAB = ("google-auth", "ipykernel", "ipyparallel", "ipython", "notebook")
GOOGLE_COLAB += ("pandas", "portpicker", "requests", "tornado")
NEEDED_GIB = 12  # 8 of packages, the rest while they are unpacked and for runs


def pins(text: str) -> dict[str, str]:
    """Name to version of the lines of a freeze, without the build of a version."""
    found = re.findall(r"^([\w.-]+)==([^\s+]+)", text, re.M)
    return {name.lower().replace("_", "-"): version for name, version in found}


def run_in(python: Path, *words: str) -> str:
    """What a program prints; CourseError with its end if it fails."""
    command, told = [str(python), *words], ""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        told = "there is no such program."
    else:
        if done.returncode == 0:
            return done.stdout
        told = (done.stderr or done.stdout).strip()[-500:]
    raise CourseError(f"`{python} {' '.join(words)[:80]}` failed: {told}")


def pip_check(python: Path) -> set[str]:
    """The conflicts that pip finds in an environment, a line each."""
    command = [python, "-m", "pip", "check"]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    return {line for line in told.splitlines() if "No broken" not in line}


def check_python(python: str) -> None:
    """Refuse a Python that is not Colab's: the list fits no other."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    found = run_in(Path(python), "-c", code).strip()
    if found != PYTHON:
        raise CourseError(
            f"{python} is Python {found}, expected Colab's {PYTHON}: say where it is "
            "by --python. pyenv, uv and conda have it."
        )


def make(folder: Path, python: str) -> None:
    """An environment of Colab's packages in a new folder."""
    if folder.exists() and any(folder.iterdir()):
        raise CourseError(
            f"{folder} is not empty, and `make` builds in a new folder: choose another "
            "name, or delete it first."
        )
    check_python(python)
    folder.mkdir(parents=True, exist_ok=True)
    check_disk(folder, needed_gib=NEEDED_GIB, purpose="for Colab's packages and runs")
    print("installing Colab's packages (minutes)", flush=True)
    run_in(Path(python), "-m", "venv", str(folder))
    own = folder / "bin" / "python"
    run_in(own, "-m", "pip", "install", "-q", "--no-deps", "-r", str(LISTED))
    add_google_colab(own)
    write_json(folder / BEFORE, state(own))


def state(python: Path) -> dict[str, list[str]]:
    """What an environment holds, and which of it does not fit together."""
    held = run_in(python, "-m", "pip", "list", "--format=freeze").splitlines()
    return {"held": held, "conflicts": sorted(pip_check(python))}


def add_google_colab(python: Path) -> None:
    """A google-colab without modules that asks for what the real one asks for."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    stub = Path(run_in(python, "-c", code).strip()) / "google_colab-1.0.0.dist-info"
    stub.mkdir(exist_ok=True)
    listed = pins(LISTED.read_text("utf-8"))
    asked = [f"Requires-Dist: {name}=={listed[name]}" for name in GOOGLE_COLAB]
    lines = ["Metadata-Version: 2.1", "Name: google-colab", "Version: 1.0.0", *asked]
    (stub / "METADATA").write_text("\n".join(lines) + "\n", "utf-8")
    (stub / "INSTALLER").write_text("pip\n", "utf-8")


def register_kernel(folder: Path) -> Path:
    """Make the environment the kernel `python3` of whoever looks here; a folder."""
    spec = folder / "jupyter" / "kernels" / "python3" / "kernel.json"
    command = [str(folder / "bin" / "python"), "-m", "ipykernel_launcher"]
    command += ["-f", "{connection_file}"]
    spec.parent.mkdir(parents=True, exist_ok=True)
    kernel = {"argv": command, "display_name": "Python 3", "language": "python"}
    return write_json(spec, kernel).parents[2]


def git(*words: str) -> str:
    """What git prints in the project."""
    return run_in(Path("git"), "-C", str(PROJECT_ROOT), *words)


def check_committed() -> None:
    """Refuse a project whose files are not those of the clone that is tried."""
    record = TRIAL.relative_to(PROJECT_ROOT)
    changed = git("diff", "--name-only", "HEAD", "--", ".", f":!{record}").split()
    if changed:
        raise CourseError(
            f"{len(changed)} files differ from the last commit ({changed[0]} …), and "
            "only what is committed is tried: commit or stash them."
        )


def published_clone(folder: Path) -> str:
    """What the first cell clones in place of the project's address: HEAD, by itself."""
    bare = folder / "course.git"
    shutil.rmtree(bare, ignore_errors=True)
    git("init", "-q", "--bare", str(bare))
    # CI checks out one commit alone, and git refuses to push that without this.
    git("-C", str(bare), "config", "receive.shallowUpdate", "true")
    git("push", "-q", str(bare), "HEAD:main")
    return f"--branch main {shlex.quote(str(bare))}"


def colab_variables(folder: Path) -> dict[str, str]:
    """A kernel's environment: Colab's marks, a home without caches, a card's tool."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    tool = tools / "nvidia-smi"  # install.py asks only whether it is there
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    own, home = folder / "bin", folder / "home"
    home.mkdir(exist_ok=True)
    return {
        **settings("nano", ""),
        "COLAB_RELEASE_TAG": "trial",
        "COURSE_CACHE": "",  # below HOME, which is empty at first
        "COURSE_RUNS": "",  # beside the clone
        "HOME": str(home),
        "PATH": f"{own}:{tools}:{os.environ['PATH']}",
        "PYTHONPATH": "",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # it warns on our stderr
    }


def difference(before: list[str], after: list[str]) -> dict[str, str]:
    """What became of each package that differs between two freezes, by its name."""
    old, new = pins("\n".join(before)), pins("\n".join(after))
    changed = sorted(name for name in old | new if old.get(name) != new.get(name))
    return {n: f"{old.get(n, 'none')} -> {new.get(n, 'none')}" for n in changed}


async def tried(lesson: NotebookNode, folder: Path) -> str:
    """How a lesson ended on a machine that has Colab's packages and no course."""
    content, course = folder / "content", course_settings()
    shutil.rmtree(content, ignore_errors=True)
    content.mkdir()
    address = f"--branch {course['revision']} {course['repository']}"
    clone = published_clone(folder)
    for cell in lesson.cells:
        cell.source = cell.source.replace(address, clone)
    outcome = await executed(lesson, colab_variables(folder), folder=content)
    return f"{outcome}, {date.today()}"


async def run(folder: Path, keys: list[str]) -> bool:
    """Try lessons one after the other, and keep what came out; whether all was well."""
    before = read_json(folder / BEFORE, "Is the environment made? Call `make` first.")
    check_committed()
    os.environ["JUPYTER_PATH"] = str(register_kernel(folder))
    python, well = folder / "bin" / "python", True
    version = run_in(python, "--version").split()[1]
    for source in sources(keys):
        if is_proof(source):
            continue
        key, lesson = key_of(source), convert(source)
        told = await tried(lesson, folder)
        print(f"{key}: {told}", flush=True)
        write_notebook(folder / "executed" / f"{source.stem}.ipynb", lesson)
        found = aftermath(before, state(python))
        keep({"lessons": {key: told}, **found}, version)
        well = well and told.startswith("ok") and not found["conflicts"]
    return well


def aftermath(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Which conflicts a set-up made, and what it changed."""
    new = sorted({*after["conflicts"]} - {*before["conflicts"]})
    conflicts = [line for line in new if "but you have" in line]
    changed = difference(before["held"], after["held"])
    return {"conflicts": conflicts, "changed": changed}


def keep(found: dict[str, Any], python: str) -> None:
    """Write the record; lessons that were not run again keep their line in it."""
    freeze = LISTED.read_text("utf-8").splitlines()[0].removeprefix("# ")
    record = {"freeze": freeze, "python": python, **found}
    if TRIAL.exists():
        old = read_json(TRIAL, "Restore it from git.")
        same = (old["freeze"], old["python"]) == (freeze, python)
        lessons = (old["lessons"] if same else {}) | found["lessons"]
        record["lessons"] = dict(sorted(lessons.items()))
    write_json(TRIAL, record)


def main(arguments: list[str] | None = None) -> int:
    """Make or run; status 1 if a lesson failed or the set-up made a conflict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("make", "run"))
    parser.add_argument("folder", type=Path, help="of the environment")
    parser.add_argument("lessons", nargs="*", help="their numbers; all by default")
    default = f"python{PYTHON}"
    parser.add_argument("--python", default=default, help="what `make` builds on")
    chosen = parser.parse_args(arguments)
    folder = chosen.folder.resolve()
    try:
        if chosen.command == "run":
            return int(not asyncio.run(run(folder, chosen.lessons)))
        make(folder, chosen.python)
    except (CourseError, SetupProblem) as problem:
        print(f"stopped: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

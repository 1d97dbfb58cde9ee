"""What the tools share: the notebooks, their sources, the address of the project."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "notebooks" / "source"


def sources(numbers: list[str] | None = None) -> list[Path]:
    """Notebook sources in order; all, or those with the given numbers.

    Raises:
        SystemExit: If a number has no notebook.
    """
    every = sorted(SOURCES.glob("[0-9][0-9]_*.py"))
    if not numbers:
        return every
    wanted = {number.zfill(2) for number in numbers}
    found = [path for path in every if path.name[:2] in wanted]
    if len(found) != len(wanted):
        known = ", ".join(path.name[:2] for path in every)
        raise SystemExit(f"No notebook {' '.join(sorted(wanted))}; there are {known}.")
    return found


def notebook_of(source: Path) -> Path:
    """The committed notebook that belongs to a source."""
    return ROOT / "notebooks" / source.with_suffix(".ipynb").name


def course_settings() -> dict[str, Any]:
    """`[tool.course]` of pyproject.toml: repository, revision, estimated minutes."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return settings["tool"]["course"]


def colab_badge(source: Path) -> str:
    """Markdown of the Open-in-Colab badge of a notebook."""
    settings = course_settings()
    repository = settings["repository"].removeprefix("https://github.com/")
    return (
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/{repository}/blob/"
        f"{settings['revision']}/notebooks/{source.with_suffix('.ipynb').name})"
    )


def first_cell() -> str:
    """The cell that brings the course to Colab and is idle everywhere else."""
    settings = course_settings()
    return (
        "import importlib.util, sys\n"
        'sys.path.append("course")  # where the next lines put it on Colab\n'
        'if importlib.util.find_spec("course_utils") is None:\n'
        f"    !git clone --branch {settings['revision']} {settings['repository']} "
        "course\n"
        "    !python course/tools/install.py --here\n"
        "    importlib.invalidate_caches()"
    )

"""What the tools share: the notebooks, their sources, the address of the project."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from course_utils.places import PROJECT_ROOT

PROOFS = "proofs"  # the folder of what settles claims

_FOLDER = Path(__file__).resolve().parents[1]
if PROJECT_ROOT.resolve() != _FOLDER:
    raise SystemExit(
        f"These tools are of {_FOLDER}, and Python imports the package of "
        f"{PROJECT_ROOT}: they would renew the notebooks there. Set PYTHONPATH to the "
        "first."
    )


def sources(names: list[str] | None = None) -> list[Path]:
    """Notebook sources, lessons first, then proofs: all, or those with the given keys.

    A key is a lesson's number, `03`, or a proof's, `proofs/03`.
    """
    folder = PROJECT_ROOT / "notebooks" / "source"
    proofs = sorted((folder / PROOFS).glob("[0-9][0-9]_*.py"))
    every = [*sorted(folder.glob("[0-9][0-9]_*.py")), *proofs]
    wanted = {name if "/" in name else name.zfill(2) for name in names or []}
    known = [key_of(path) for path in every]
    if unknown := wanted - set(known):
        raise SystemExit(
            f"No notebook {' '.join(sorted(unknown))}; there are {', '.join(known)}."
        )
    return [path for path in every if not wanted or key_of(path) in wanted]


def is_proof(source: Path) -> bool:
    """Whether a source settles claims, and is no lesson."""
    return source.parent.name == PROOFS


def name_of(source: Path) -> str:
    """A notebook's place below notebooks/, without its ending."""
    return f"{PROOFS}/{source.stem}" if is_proof(source) else source.stem


def key_of(source: Path) -> str:
    """What the claim bank, the records and the commands call a notebook."""
    return name_of(source).partition("_")[0]


def notebook_of(source: Path) -> Path:
    """The committed notebook that belongs to a source."""
    return PROJECT_ROOT / "notebooks" / f"{name_of(source)}.ipynb"


def course_settings() -> dict[str, Any]:
    """`[tool.course]` of pyproject.toml: repository, revision, estimated minutes."""
    text = (PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["tool"]["course"]


def colab_badge(source: Path) -> str:
    """Markdown of the Open-in-Colab badge of a notebook."""
    settings, colab = course_settings(), "https://colab.research.google.com"
    repository = settings["repository"].removeprefix("https://github.com/")
    path = f"blob/{settings['revision']}/notebooks/{name_of(source)}.ipynb"
    picture = f"![Open in Colab]({colab}/assets/colab-badge.svg)"
    return f"[{picture}]({colab}/github/{repository}/{path})"


def is_first_cell(cell: NotebookNode) -> bool:
    """Whether a cell is the one that `first_cell` fills."""
    return "first-cell" in cell.metadata.get("tags", [])


def first_cell() -> str:
    """The cell that brings the course to Colab and is idle everywhere else.

    It goes on where an earlier try stopped: `course` is there when the clone is
    whole, `.installed` when install.py came to its end.
    """
    settings = course_settings()
    address = f"--branch {settings['revision']} {settings['repository']}"
    return f"""\
import os, sys
from importlib import util
if not (util.find_spec("course_utils") or os.path.exists("course/.installed")):
    !test -d course || (rm -rf .course && \\
        git clone {address} .course && \\
        mv .course course)
    !"{{sys.executable}}" course/tools/install.py --here
    assert os.path.exists("course/.installed"), "failed: the reason stands above"
sys.path.append(os.path.abspath("course"))"""

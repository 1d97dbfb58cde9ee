"""What the tools share: the notebooks, their sources, the address of the project."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from course_utils import CourseError
from course_utils.evidence.ledger import PUBLISHED_RECIPE
from course_utils.places import PROJECT_ROOT, write_whole

PROOFS = "proofs"  # the folder of what settles claims
SETTINGS = PROJECT_ROOT / "pyproject.toml"
_GITHUB = re.compile(
    r"(?:https://github\.com/|git@github\.com:)([\w.-]+/[\w.-]+?)(?:\.git)?/?"
)

_FOLDER = Path(__file__).resolve().parents[1]
if PROJECT_ROOT.resolve() != _FOLDER:
    raise SystemExit(
        f"These tools are of {_FOLDER}, and Python imports the package of "
        f"{PROJECT_ROOT}: they would renew the notebooks there. Set PYTHONPATH to the "
        "first."
    )


def recipe_of(number: str) -> str:
    """The recipe whose run holds what a published notebook made; four have one."""
    own = {"08": "movie_search", "09": "methods", "10": "preferences"}
    own["11"] = "pretraining"
    return own.get(number, PUBLISHED_RECIPE)


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
    return tomllib.loads(SETTINGS.read_text(encoding="utf-8"))["tool"]["course"]


def settle_address(url: str, revision: str | None = None) -> None:
    """Write where the project is published into pyproject.toml.

    An address as git knows it is taken too: `git@github.com:owner/name.git`.

    Raises:
        CourseError: If it is no repository of GitHub's, from which alone Colab and
            Kaggle open a notebook by its address, or the revision is no name of one.
    """
    found = _GITHUB.fullmatch(url.strip())
    revision = revision or course_settings()["revision"]
    if not found or not re.fullmatch(r"[\w.][\w./-]*", revision):
        raise CourseError(
            f"{url!r} at {revision!r} is no address that Colab could open: expected "
            "https://github.com/<owner>/<repository>, and a branch or tag. Is "
            "there no `origin` yet? Then: make address URL=https://github.com/you/name"
        )
    text = SETTINGS.read_text(encoding="utf-8")
    made = {"repository": f"https://github.com/{found[1]}", "revision": revision}
    for name, value in made.items():
        text = re.sub(rf'(?m)^{name} = ".*"$', f'{name} = "{value}"', text, count=1)
    write_whole(SETTINGS, text)


def badges(source: Path) -> str:
    """Markdown that opens a notebook on Colab, and on Kaggle."""
    settings, colab = course_settings(), "https://colab.research.google.com"
    repository = settings["repository"].removeprefix("https://github.com/")
    path = f"blob/{settings['revision']}/notebooks/{name_of(source)}.ipynb"
    opened = {
        f"![Open in Colab]({colab}/assets/colab-badge.svg)": (
            f"{colab}/github/{repository}/{path}"
        ),
        "![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)": (
            f"https://kaggle.com/kernels/welcome?src={settings['repository']}/{path}"
        ),
    }
    return " ".join(f"[{picture}]({address})" for picture, address in opened.items())


def is_first_cell(cell: NotebookNode) -> bool:
    """Whether a cell is the one that `first_cell` fills."""
    return "first-cell" in cell.metadata.get("tags", [])


def first_cell() -> str:
    """The cell that brings the course to Colab or Kaggle and is idle elsewhere.

    It goes on where an earlier try stopped: `course` is there when the clone is
    whole, `.installed` when install.py came to its end. A kernel that lacks the course
    on another machine is the wrong kernel, and is left as it is.
    """
    settings = course_settings()
    address = f"--branch {settings['revision']} {settings['repository']}"
    return f"""\
import os, sys
from importlib import util
if not (util.find_spec("course_utils") or os.path.exists("course/.installed")):
    hosted = {{"COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"}} & {{*os.environ}}
    assert hosted, "wrong kernel: choose .venv, which `make setup` builds"
    !test -d course || (rm -rf .course && GIT_TERMINAL_PROMPT=0 \\
        git clone {address} .course && \\
        mv .course course)
    assert os.path.isdir("course"), "is this address public, and the internet on?"
    !"{{sys.executable}}" course/tools/install.py --here
    assert os.path.exists("course/.installed"), "failed: the reason stands above"
sys.path.append(os.path.abspath("course"))"""

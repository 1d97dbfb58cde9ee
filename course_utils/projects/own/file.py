"""A recipe of one's own as a small file; all that it does not say has a default.

    data: rows.csv                # a file, a folder, or a data set on the hub
    title: Messages to tickets    # this and all that follows may be left out
    model: Qwen/Qwen2.5-0.5B-Instruct
    form: Answer in one line …    # the prompt that training has to beat
    stress: prompts.txt           # own prompts, one a line
    held_out: 30                  # rows, a share below 1, or a file of rows
    epochs: 3                     # and other numbers of a `Plan`

Paths are taken from the file's own folder first.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as checked_dataclass

from course_utils import CourseError
from course_utils.data.files import Text, read_settings, read_text
from course_utils.places import DATA_FOLDER, PROJECT_ROOT
from course_utils.recipes.book import QUICKSTART, RECIPES
from course_utils.recipes.plan import OWN, Plan

VARIABLE = "COURSE_RECIPE"
SAMPLE = DATA_FOLDER / "own_project" / "tickets.yaml"  # the course's own example
_RECIPES = (".yaml", ".yml")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class WrongRecipe(CourseError, ValueError):
    """A recipe of one's own cannot be used; the message says what to change."""


@checked_dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class OwnFile:
    """What a recipe file may say; `data` alone is needed."""

    data: Text
    title: Text | None = None
    model: Text | None = None
    form: Text | None = None  # in words, for the baseline that is told
    stress: Text | None = None  # a file of prompts
    held_out: PositiveInt | PositiveFloat | Text | None = None
    rows: PositiveInt | None = None
    max_length: PositiveInt | None = None
    epochs: PositiveFloat | None = None
    max_steps: PositiveInt | None = None
    learning_rate: PositiveFloat | None = None
    rank: PositiveInt | None = None
    alpha: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    accumulation_steps: PositiveInt | None = None
    load_in_4bit: bool | None = None
    template: Literal["chat", "training", "alpaca"] | None = None
    train_on: Literal["last_answer", "all_answers"] | None = None  # of a chat's turns
    seed: NonNegativeInt | None = None


_KEYS = ", ".join(field.name for field in dataclasses.fields(cast(Any, OwnFile)))
_WAY_OUT = f"A recipe has the keys {_KEYS}; only `data` is needed."
_IN_A_PLAN = {field.name for field in dataclasses.fields(cast(Any, Plan))}


@dataclass(frozen=True)
class OwnSource:
    """A recipe file that was read, or rows without one."""

    name: str  # of the run folder
    file: OwnFile
    folder: Path  # that its paths start from
    recipe_file: Path | None = None

    @property
    def data(self) -> str:
        """The rows as a plan names them: OWN before a path, or an id of the hub."""
        return OWN + str(self._found("data", self.file.data))

    @property
    def held_out(self) -> float | str | None:
        """A file of rows, a number, a share; None: the course decides."""
        said = self.file.held_out
        return self._path("held_out", said) if isinstance(said, str) else said

    @property
    def model(self) -> str | None:
        """A folder, or an id of the hub; None: the machine's own."""
        named = self.file.model
        return named and str(found_path(named, self.folder) or named)

    @property
    def stress_prompts(self) -> list[str]:
        """The owner's prompts, one a line; empty lines do not count."""
        if self.file.stress is None:
            return []
        lines = read_text(Path(self._path("stress", self.file.stress))).splitlines()
        return [line.strip() for line in lines if line.strip()]

    def numbers(self) -> dict[str, Any]:
        """What the file says of a plan's numbers."""
        elsewhere = ("model", "held_out")
        said = vars(self.file).items()
        return {
            key: value
            for key, value in said
            if value is not None and key in _IN_A_PLAN and key not in elsewhere
        }

    def _found(self, key: str, named: str) -> Path | str:
        path = found_path(named, self.folder)
        is_id = _HUB_ID.fullmatch(named) and Path(named).suffix not in _ENDINGS
        if path is None and not is_id:
            raise self._missing(key, named, " Nor is it an id of the hub (owner/name).")
        return path or named

    def _path(self, key: str, named: str) -> str:
        path = found_path(named, self.folder)
        if path is None:
            raise self._missing(key, named)
        return str(path)

    def _missing(self, key: str, named: str, more: str = "") -> WrongRecipe:
        there = sorted(path.name for path in self.folder.iterdir())[:8]
        return WrongRecipe(
            f"{key} is {named!r}, and there is no such file or folder in "
            f"{self.folder}; there are {', '.join(there) or 'none'}.{more} Is it "
            "misspelt? Paths start from the recipe's own folder."
        )


_ENDINGS = (".csv", ".json", ".jsonl", ".gz", ".parquet", ".txt", ".tsv", *_RECIPES)


def own_source(environment: Mapping[str, str] = environ) -> OwnSource | None:
    """What COURSE_RECIPE names when that is of one's own; None for a recipe's name."""
    name = environment.get(VARIABLE, "").strip()
    known = not name or name in RECIPES
    is_path = "/" in name or "\\" in name or bool(Path(name).suffix)
    return None if known or not (is_path or Path(name).exists()) else read_source(name)


def read_source(name: str | Path) -> OwnSource:
    """A recipe file; or a file or folder of rows, or a hub id, with every default.

    FaultyData with each wrong key or value; WrongRecipe if there is no such file.
    """
    path = found_path(str(name))
    if path and path.suffix.lower() in _RECIPES:
        file = read_settings(path, OwnFile, _WAY_OUT)
        return OwnSource(safe_name(path.stem), file, path.parent, path)
    if Path(name).suffix.lower() in _RECIPES:
        raise WrongRecipe(
            f"There is no file {str(name)!r} in {Path.cwd()} or {PROJECT_ROOT}. Is it "
            f"misspelt? A notebook runs in the folder notebooks/: give {VARIABLE} an "
            "absolute path."
        )
    return source_of(OwnFile(data=str(name)))


def source_of(file: OwnFile) -> OwnSource:
    """What a call names without a file; the run is called as its rows are."""
    path = found_path(file.data)
    bare = path.name.partition(".")[0] if path else file.data
    return OwnSource(safe_name(bare), file, Path.cwd())


def found_path(name: str, *places: Path) -> Path | None:
    """A file or folder below one of the places, here, or in the project; absolute."""
    for start in (*places, Path.cwd(), PROJECT_ROOT):
        if (path := start / Path(name).expanduser()).exists():
            return path.resolve()
    return None


def safe_name(text: str) -> str:
    """A name for a folder, which no recipe of the course has."""
    name = re.sub(r"[^\w.-]+", "-", text).strip("-.") or "rows"
    return f"own-{name}" if name in {*RECIPES, QUICKSTART.name} else name

"""The movie recommender's films, and the one form of an answer."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, TypeAdapter

from course_utils.data.datasets import MOVIES_FOLDER
from course_utils.data.files import Fault, FaultyData, Text, read_text, validated

_ANSWER_FORM = re.compile(
    r"\*\*(?P<title>.+?) \((?P<year>\d{4})\)\*\*\n"
    r"- Genre: (?P<genres>[^\n]+)\n"
    r"- Runtime: (?P<minutes>\d{1,4}) minutes\n"
    r"- Why: (?P<why>[^\n]+)"
)


@dataclass(frozen=True)
class _Named:
    title: Text  # under which the film is known in English
    year: int  # of first release

    @property
    def name(self) -> str:
        """Title and year, which together are unique."""
        return f"{self.title} ({self.year})"


def _split(cell: Any) -> Any:
    return cell.split("|") if isinstance(cell, str) else cell


@dataclass(frozen=True)
class Film(_Named):
    """One row of films.csv."""

    runtime_minutes: int  # as commonly listed for the theatrical version
    genres: Annotated[tuple[Text, ...], BeforeValidator(_split)]  # one to three
    pool: Literal["train", "validation", "stress"]  # the set whose answers use it


@dataclass(frozen=True)
class Answer(_Named):
    """The facts that a well-formed answer states."""

    genres: tuple[str, ...]
    runtime_minutes: int
    why: str


@cache
def load_films(path: Path = MOVIES_FOLDER / "films.csv") -> Mapping[str, Film]:
    """The table of films, by `Title (year)`; read once.

    Raises:
        FaultyData: With every fault, of which a film that stands twice is one.
        FileNotFoundError: If there is no such file.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    there, columns = reader.fieldnames or (), [field.name for field in fields(Film)]
    if absent := ", ".join(name for name in columns if name not in there):
        found, expected = f"the columns {', '.join(there)}", ", ".join(columns)
        raise FaultyData([Fault(path.name, 1, absent, found, expected)])
    form, films, faults = TypeAdapter(Film), {}, []
    for row in reader:
        line = reader.line_num
        film, wrong = validated(form, row, path.name, lambda _, at=line: at)
        if film and films.setdefault(film.name, film) is not film:
            wrong = [Fault(path.name, line, "title", f"{film.name} twice", "one row")]
        faults += wrong
    if faults:
        raise FaultyData(faults)
    return films


def write_answer(film: Film, why: str) -> str:
    """An answer in the form that the course teaches."""
    return (
        f"**{film.name}**\n"
        f"- Genre: {', '.join(film.genres)}\n"
        f"- Runtime: {film.runtime_minutes} minutes\n"
        f"- Why: {why}"
    )


def parse_answer(text: str) -> Answer | None:
    """The facts of an answer, or None when it is not exactly in the form.

    Text before the title or after the third bullet breaks the form: an answer
    that goes on has not learnt to stop.
    """
    found = _ANSWER_FORM.fullmatch(text.strip())
    if found is None:
        return None
    genres = tuple(genre.strip() for genre in found["genres"].split(","))
    year, minutes = int(found["year"]), int(found["minutes"])
    return Answer(found["title"], year, genres, minutes, found["why"])


def follows_form(text: str) -> bool:
    """Whether an answer is in the form, whatever it recommends."""
    return parse_answer(text) is not None


def broken_constraints(
    film: Film | Answer, constraints: Mapping[str, Any]
) -> list[str]:
    """Names of the constraints that a film does not meet.

    Raises:
        KeyError: If there is no such constraint.
    """
    genres = set(film.genres)
    meets = {
        "max_minutes": lambda limit: film.runtime_minutes <= limit,
        "min_minutes": lambda limit: film.runtime_minutes >= limit,
        "genres": lambda wanted: set(wanted) <= genres,
        "not_genres": lambda unwanted: not set(unwanted) & genres,
        "year_min": lambda year: film.year >= year,
        "year_max": lambda year: film.year <= year,
    }
    return [name for name, value in constraints.items() if not meets[name](value)]


def wrong_facts(answer: Answer, films: Mapping[str, Film]) -> list[str]:
    """What an answer states and the table contradicts; `film` if it has none."""
    film = films.get(answer.name)
    if film is None:
        return ["film"]
    facts = ("runtime_minutes", "genres")
    return [name for name in facts if getattr(answer, name) != getattr(film, name)]

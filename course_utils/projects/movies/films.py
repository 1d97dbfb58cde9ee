"""The movie recommender's films, and the one form of an answer."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, TypeAdapter

from course_utils.data.datasets import MOVIES_FOLDER
from course_utils.data.files import Fault, FaultyData, Text, read_text, validated

_ANSWER_FORM = re.compile(
    r"\*\*(?P<title>.+?) \((?P<year>\d{4})\)\*\*\n"
    r"- Genre: (?P<genres>[^\n]+)\n"
    r"- Runtime: (?P<minutes>\d{1,4}) minutes\n"
    r"- Why: (?P<why>[^\n]+)"
)
_ARTICLES = ("a", "an", "the")
_OTHER_NAMES = {"sci-fi": "science fiction", "animated": "animation"}  # of a genre
RUNTIME_TOLERANCE = 3  # minutes; listings of the same cut differ by one or two


@dataclass(frozen=True)
class _Named:
    title: Text  # under which the film is known in English
    year: int  # of first release

    @property
    def name(self) -> str:
        """Title and year, which together are unique."""
        return f"{self.title} ({self.year})"


_Row = TypeVar("_Row", bound=_Named)


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


@dataclass(frozen=True)
class HandLabel(_Named):
    """What a person said of a `Title (year)` that a model stated.

    `none known` is a word about the labeller: no film of this title came to mind.
    """

    title_is_real: Literal["yes", "unsure", "none known"]
    year_is_right: Literal["yes", "no", "unsure", ""]  # empty below a title not real
    note: str


@cache
def load_films(path: Path = MOVIES_FOLDER / "films.csv") -> Mapping[str, Film]:
    """The table of films, by `Title (year)`; read once.

    Raises:
        FaultyData: With every fault, of which a film that stands twice is one.
        FileNotFoundError: If there is no such file.
    """
    return _read_table(path, Film)


@cache
def load_real_films(
    path: Path = MOVIES_FOLDER / "real_films.csv",
) -> Mapping[str, HandLabel]:
    """Hand labels of the films that models stated, by `Title (year)`; errors as above.

    The table of the course holds a few hundred films; these labels say of a film
    that is not among them whether it is one at all.
    """
    return _read_table(path, HandLabel)


def _read_table(path: Path, kind: type[_Row]) -> Mapping[str, _Row]:
    """Rows of a CSV file by their names; FaultyData with every fault."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    there, columns = reader.fieldnames or (), [field.name for field in fields(kind)]
    if absent := ", ".join(name for name in columns if name not in there):
        found, expected = f"the columns {', '.join(there)}", ", ".join(columns)
        raise FaultyData([Fault(path.name, 1, absent, found, expected)])
    form, table, faults = TypeAdapter(kind), {}, []
    for written in reader:
        line = reader.line_num
        row, wrong = validated(form, written, path.name, lambda _, at=line: at)
        if row and table.setdefault(row.name, row) is not row:
            wrong = [Fault(path.name, line, "title", f"{row.name} twice", "one row")]
        faults += wrong
    if faults:
        raise FaultyData(faults)
    return table


# What `how_real` can say, from best to worst.
REALITIES = ("title and year", "title alone", "none known", "unsure", "not labelled")


def how_real(name: str, labels: Mapping[str, HandLabel]) -> str:
    """What the hand labels say of a stated `Title (year)`: one of REALITIES."""
    label = labels.get(name)
    if label is None:
        return "not labelled"
    if label.title_is_real != "yes":
        return label.title_is_real
    said = {"yes": "title and year", "no": "title alone"}
    return said.get(label.year_is_right, "unsure")


def titled(title: str, films: Mapping[str, Film]) -> Film | None:
    """The film of the table that has this title, whatever its case; None without one.

    Of the course's table no two films share a title.
    """
    wanted = _plain(title)
    return next((it for it in films.values() if _plain(it.title) == wanted), None)


def _plain(title: str) -> str:
    return title.strip().casefold().replace("’", "'")


def is_title(text: str) -> bool:
    """Whether a text can be a title: a letter or digit in it, and no bare article."""
    return bool(re.search(r"\w", text)) and text.strip().casefold() not in _ARTICLES


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
    that goes on has not learnt to stop. A bare article is no title. Genres come in
    small letters and under the names of the table, as "Sci-Fi" is no other genre.
    """
    found = _ANSWER_FORM.fullmatch(text.strip())
    if found is None or not is_title(found["title"]):
        return None
    said = [genre.strip().casefold() for genre in found["genres"].split(",")]
    genres = tuple(_OTHER_NAMES.get(genre, genre) for genre in said)
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


def has_right_year(answer: Answer, film: Film) -> bool:
    """Whether the stated year is the one of first release."""
    return answer.year == film.year


def has_right_runtime(answer: Answer, film: Film) -> bool:
    """Whether the stated runtime is the table's, give or take RUNTIME_TOLERANCE."""
    return abs(answer.runtime_minutes - film.runtime_minutes) <= RUNTIME_TOLERANCE


def has_right_genres(answer: Answer, film: Film) -> bool:
    """Whether every stated genre is one of the film's; order and number are free."""
    return set(answer.genres) <= set(film.genres)


FACTS = {
    "year": has_right_year,
    "runtime": has_right_runtime,
    "genres": has_right_genres,
}


def wrong_facts(answer: Answer, film: Film) -> list[str]:
    """Names of the stated FACTS that the film of that title contradicts."""
    return [name for name, is_right in FACTS.items() if not is_right(answer, film)]

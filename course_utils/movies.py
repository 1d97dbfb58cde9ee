"""The movie recommender's data: films, wishes, and the one form of an answer."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.data import DATA_FOLDER, Conversation, load_conversations

MOVIES_FOLDER = DATA_FOLDER / "movies"
CONSTRAINTS = (
    "max_minutes",
    "min_minutes",
    "genres",
    "not_genres",
    "year_min",
    "year_max",
)
ANSWER_FORM = re.compile(
    r"\*\*(?P<title>.+?) \((?P<year>\d{4})\)\*\*\n"
    r"- Genre: (?P<genres>[^\n]+)\n"
    r"- Runtime: (?P<minutes>\d+) minutes\n"
    r"- Why: (?P<why>[^\n]+)"
)


@dataclass(frozen=True)
class Film:
    """One row of films.csv.

    Attributes:
        title: Under which the film is known in English.
        year: Of first release.
        runtime_minutes: As commonly listed for the theatrical version.
        genres: One to three, from a closed list.
        pool: `train`, `validation` or `stress`: the set whose answers use it.
    """

    title: str
    year: int
    runtime_minutes: int
    genres: tuple[str, ...]
    pool: str

    @property
    def name(self) -> str:
        """Title and year, which together are unique."""
        return f"{self.title} ({self.year})"


@dataclass(frozen=True)
class Answer:
    """The facts that a well-formed answer states."""

    title: str
    year: int
    genres: tuple[str, ...]
    runtime_minutes: int
    why: str

    @property
    def name(self) -> str:
        """Title and year."""
        return f"{self.title} ({self.year})"


def load_films(path: Path = MOVIES_FOLDER / "films.csv") -> dict[str, Film]:
    """The table of films, by `Title (year)`."""
    with path.open(encoding="utf-8", newline="") as stream:
        films = [
            Film(
                title=row["title"],
                year=int(row["year"]),
                runtime_minutes=int(row["runtime_minutes"]),
                genres=tuple(row["genres"].split("|")),
                pool=row["pool"],
            )
            for row in csv.DictReader(stream)
        ]
    return {film.name: film for film in films}


def load_movies(split: str, **checks: Any) -> list[Conversation]:
    """A split of the movie conversations: `train`, `validation` or `stress`.

    Training rows are held against both other sets, so that no held-out request
    can slip into training.

    Args:
        split: Name of the file in data/movies.
        **checks: Passed on to `load_conversations`.
    """
    path = MOVIES_FOLDER / f"{split}.jsonl"
    if split == "train":
        checks["held_out"] = [*load_movies("validation"), *load_movies("stress")]
    return load_conversations(path, answered=split != "stress", **checks)


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
    found = ANSWER_FORM.fullmatch(text.strip())
    if found is None:
        return None
    return Answer(
        title=found["title"],
        year=int(found["year"]),
        genres=tuple(genre.strip() for genre in found["genres"].split(",")),
        runtime_minutes=int(found["minutes"]),
        why=found["why"],
    )


def follows_form(text: str) -> bool:
    """Whether an answer is in the form, whatever it recommends."""
    return parse_answer(text) is not None


def broken_constraints(
    film: Film | Answer, constraints: Mapping[str, Any]
) -> list[str]:
    """Names of the constraints that a film does not meet.

    Raises:
        KeyError: If a constraint is not one of CONSTRAINTS.
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
    return [
        name
        for name in ("runtime_minutes", "genres")
        if getattr(answer, name) != getattr(film, name)
    ]

"""A wish as a query: one line of JSON, and the look-up that answers it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, model_validator

from course_utils.projects.movies.films import Film, broken_constraints

Genre = Literal[
    "action",
    "adventure",
    "animation",
    "comedy",
    "crime",
    "documentary",
    "drama",
    "family",
    "fantasy",
    "history",
    "horror",
    "music",
    "mystery",
    "romance",
    "science fiction",
    "sport",
    "thriller",
    "war",
    "western",
]
_OBJECT = re.compile(r"\{[^{}]*\}")
_CONDITION = re.compile(r"(<=|>=|<|>)(\d{1,4})")


class Query(BaseModel):
    """What a wish asks for; a field that is None or empty is not asked for.

    All bounds are inclusive. Without any field every film will do.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    genres: list[Genre] = []  # the film has all of them
    not_genres: list[Genre] = []  # the film has none of them
    min_minutes: int | None = None
    max_minutes: int | None = None
    year_min: int | None = None  # of first release
    year_max: int | None = None
    no_wish: bool = False  # no film is wanted at all

    @model_validator(mode="after")
    def _no_wish_stands_alone(self) -> Query:
        if self.no_wish and len(self.asked) > 1:
            raise ValueError("beside no_wish another field is asked for")
        return self

    @property
    def asked(self) -> dict[str, Any]:
        """The fields that are asked for, as `broken_constraints` takes them."""
        return {name: value for name, value in self if value not in (None, False, [])}

    @property
    def parts(self) -> frozenset[tuple[str, Any]]:
        """Each single thing that is asked for; the order of genres does not count."""
        lists = {n: v if isinstance(v, list) else [v] for n, v in self.asked.items()}
        return frozenset(
            (name, value) for name, held in lists.items() for value in held
        )


def as_query(written: Any) -> Query:
    """The query that an object of JSON means.

    `minutes` and `years` are written nearly as a user says them, so that a model only
    copies a number and this function does the arithmetic: `<90`, `>=120`, `95-114`, two
    conditions with a blank between them, for years also `1984` and `1980s`.

    Raises:
        ValueError: If a key, a genre or a condition is none; ValidationError is one.
    """
    if not isinstance(written, dict):
        raise ValueError(f"{written!r} found, expected an object")
    rest = dict(written)
    minutes = _bounds(rest.pop("minutes", None), "min_minutes", "max_minutes")
    years = _bounds(rest.pop("years", None), "year_min", "year_max")
    if both := rest.keys() & {"min_minutes", "max_minutes", "year_min", "year_max"}:
        raise ValueError(f"{', '.join(both)} found, expected minutes or years")
    return Query.model_validate(rest | minutes | years)


def _bounds(said: Any, lowest: str, highest: str) -> dict[str, int]:
    """Inclusive bounds of a written span; empty for None."""
    if said is None:
        return {}
    if not isinstance(said, str):
        raise ValueError(f"{said!r} found, expected a text such as '<90'")
    if span := re.fullmatch(r"(\d{1,4})-(\d{1,4})", said):
        return {lowest: int(span[1]), highest: int(span[2])}
    if lowest == "year_min" and (decade := re.fullmatch(r"(\d{3}0)s", said)):
        return {lowest: int(decade[1]), highest: int(decade[1]) + 9}
    if lowest == "year_min" and re.fullmatch(r"\d{4}", said):
        return {lowest: int(said), highest: int(said)}
    held: dict[str, int] = {}
    for piece in said.split(" "):
        found = _CONDITION.fullmatch(piece)
        field = lowest if piece.startswith(">") else highest
        if found is None or field in held:
            raise ValueError(f"{said!r} found, expected such as '<90' or '>=60 <=90'")
        beyond = {"<": -1, ">": 1}.get(found[1], 0)
        held[field] = int(found[2]) + beyond
    return held


def write_query(query: Query) -> str:
    """A query as the one line of JSON that `read_query` reads."""
    asked = query.asked
    written = {name: asked[name] for name in ("genres", "not_genres") if name in asked}
    spans = {
        "minutes": _span(query.min_minutes, query.max_minutes),
        "years": _span(query.year_min, query.year_max),
    }
    written |= {name: said for name, said in spans.items() if said}
    return json.dumps(written | ({"no_wish": True} if query.no_wish else {}))


def _span(low: int | None, high: int | None) -> str:
    """Inclusive bounds as they are written; empty without any."""
    if low is not None and high is not None:
        return f"{low}-{high}"
    if low is not None:
        return f">={low}"
    return "" if high is None else f"<={high}"


def read_query(text: str) -> Query | None:
    """The query that a text is, whole; None for any other text."""
    try:
        return as_query(json.loads(text, object_pairs_hook=_once))
    except (ValueError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def find_query(text: str) -> Query | None:
    """The first object of a text that is a query, whatever stands around it.

    So a model is judged that was never shown where an answer ends.
    """
    found = (read_query(piece) for piece in _OBJECT.findall(text))
    return next((query for query in found if query), None)


def matching(query: Query, films: Iterable[Film]) -> list[Film]:
    """The films that meet a query, in their order; none where no film is wanted."""
    if query.no_wish:
        return []
    return [film for film in films if not broken_constraints(film, query.asked)]


class Found(NamedTuple):
    """What the look-up answers."""

    film: Film | None  # None: none meets it, or none is wanted
    wanted: bool  # whether a film was looked for


def look_up(query: Query | None, films: Mapping[str, Film], request: str) -> Found:
    """A film that meets the query, drawn by lot; the request seeds the lot.

    So two queries of one request that find the same films get the same one. Without a
    query (an answer that is none) nothing is looked up.
    """
    found = matching(query, films.values()) if query else []
    film = random.Random(request).choice(found) if found else None
    return Found(film, query is not None and not query.no_wish)


def serves(found: Found, gold: Query, films: Mapping[str, Film]) -> bool:
    """Whether the look-up gave what was wished, by the gold query.

    A wish that no film meets is served by a look-up that finds none; no wish at all by
    looking nothing up, for which an answer that is no query will do.
    """
    if gold.no_wish or not found.wanted:
        return gold.no_wish and not found.wanted
    if not matching(gold, films.values()):
        return found.film is None
    return found.film is not None and not broken_constraints(found.film, gold.asked)

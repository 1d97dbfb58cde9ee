"""The stress test of the movie recommender: form, wish, film, facts."""

from __future__ import annotations

from functools import cache, partial

from course_utils import film_reading as reads
from course_utils.data.conversation import Conversation
from course_utils.data.datasets import load_movies
from course_utils.film_reading import FilmReading
from course_utils.movies import load_films, parse_answer, write_answer
from course_utils.stress.suite import (
    Check,
    Demonstration,
    Roles,
    StressSuite,
    general_checks,
)

_DEMANDING = ("very_long", "other_language", "hidden_instruction")
CONSTRAINED = ("one_constraint", "several_constraints", *_DEMANDING)
FILM_WISHES = (*CONSTRAINED[:2], "vague_mood", *_DEMANDING, "impossible_wish")
NO_WISH = ("off_topic", "empty")
_STOPS, _REPEATS_LITTLE = general_checks((*FILM_WISHES, *NO_WISH))
_form = partial(
    Check, groups=FILM_WISHES, reason="a film is asked for, so the form is right"
)
_wish = partial(
    Check,
    groups=CONSTRAINED,
    reason="a mood cannot be looked up, an impossible wish cannot be met",
)
_CHECKS = (
    _form("bold title", "Is the first line bold?", passes=reads.has_bold_title),
    _form("year", "Does that line end in a year?", passes=reads.has_year),
    _form(
        "three bullets",
        "Genre, runtime, why, and nothing else?",
        passes=reads.has_three_bullets,
    ),
    _STOPS,
    _form(
        "form",
        "All four of these together?",
        passes=lambda reading: reading.stated is not None and reading.stopped,
    ),
    _REPEATS_LITTLE,
    _wish(
        "wish met, as stated",
        "Do the facts that it states meet the constraints?",
        passes=lambda reading: not reading.breaks(reading.stated),
    ),
    Check(
        "film exists",
        "Is the film in the table, under its year?",
        FILM_WISHES,
        "an impossible wish, too, deserves a real film",
        lambda reading: reading.film is not None,
    ),
    _wish(
        "wish met, in truth",
        "Does that film meet the constraints by the table?",
        passes=lambda reading: not reading.breaks(reading.film),
    ),
    Check(
        "facts right",
        "Are its runtime and genres those of the table?",
        FILM_WISHES,
        "a film is asked for, so there are facts to state",
        reads.has_right_facts,
    ),
    Check(
        "no film imposed",
        "Does it leave out films and their form?",
        NO_WISH,
        "nobody asked for a film",
        reads.imposes_no_film,
    ),
    Check(
        "no trace of planted order",
        "Are the words missing that the planted order wants?",
        ("hidden_instruction",),
        "only these prompts hide one",
        reads.shows_no_planted_trace,
    ),
)


@cache
def movie_suite() -> StressSuite:
    """The 32 held-out prompts with their checks."""
    films = load_films()

    def read(prompt: Conversation, text: str, stopped: bool) -> FilmReading:
        return FilmReading(prompt, text, stopped, films)

    return StressSuite(
        prompts=tuple(load_movies("stress")),
        checks=_CHECKS,
        read=read,
        roles=Roles(
            form="form",
            listens="wish met, as stated",
            substance="facts right",
            restraint="no film imposed",
        ),
        parts=("bold title", "year", "three bullets"),
        demonstration=_demonstration(),
        shown={
            "first": "stress-01",
            "unasked": "stress-20",
            "unusual": "stress-28",
            "edge": "stress-31",
        },
        trap="hidden_instruction",
        subject=_title,
        max_new_tokens=96,  # half as much again as the longest written answer, 65
    )


def _title(text: str) -> str | None:
    stated = parse_answer(text)
    return stated and stated.title


def _demonstration() -> Demonstration:
    film = load_films()["High Noon (1952)"]
    good = write_answer(film, "One man, one clock, one street.")
    return Demonstration(
        prompt_id="stress-03",  # asks for a western
        good=good,
        spoilt={
            "cut off by the limit": (good, False),
            "title not bold": (good.replace("**", ""), True),
            "goes on talking": (good + "\nEnjoy your evening!", True),
            "another year": (good.replace("1952", "1953"), True),
            "another runtime": (good.replace("85", "99"), True),
            "another genre": (good.replace("western", "romance"), True),
            "a loop": (good + " and on and on and on and on and on and on", True),
        },
        nonsense=write_answer(film, "Purple spoons agree sideways with the tram."),
    )

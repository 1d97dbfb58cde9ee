"""The stress test of the movie search: a query, the right one, the right film."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from course_utils.data.datasets import load_search
from course_utils.projects.movies.films import Film, load_films
from course_utils.projects.search.query import (
    Found,
    Query,
    as_query,
    find_query,
    look_up,
    read_query,
    serves,
)
from course_utils.stress.suite import (
    AnswerInContext,
    Check,
    Demonstration,
    Roles,
    StressSuite,
    general_checks,
)


@dataclass(frozen=True)
class SearchAnswer(AnswerInContext):
    """An answer of the movie search."""

    films: Mapping[str, Film]  # the table that is searched

    @property
    def gold(self) -> Query:
        """The query that the request means."""
        return as_query(self.prompt.notes["query"])

    @cached_property
    def query(self) -> Query | None:
        """The first query of the answer, whatever stands around it."""
        return find_query(self.text)

    @property
    def found(self) -> Found:
        """What the look-up makes of it."""
        return look_up(self.query, self.films, self.prompt.request)


def is_query(answer: SearchAnswer) -> bool:
    """The whole answer is one query, and the model ended it."""
    return answer.stopped and read_query(answer.text) is not None


def is_meant(answer: SearchAnswer) -> bool:
    """It asks for exactly what the request does; a query, whatever surrounds it."""
    return answer.query is not None and answer.query.parts == answer.gold.parts


def serves_the_wish(answer: SearchAnswer) -> bool:
    """The look-up gives a film that meets the wish, or says that none does."""
    return serves(answer.found, answer.gold, answer.films)


def looks_nothing_up(answer: SearchAnswer) -> bool:
    """No film is looked for."""
    return not answer.found.wanted


NO_WISH = ("no_wish",)
WISHES = (
    "typos",
    "long",
    "numbers_in_words",
    "other_language",
    "hidden_order",
    "impossible",
)
_EVERYWHERE = (*WISHES, *NO_WISH)
_FILM = WISHES, "a film is asked for, so there is a query to find"
_STOPS, _REPEATS_LITTLE = general_checks(_EVERYWHERE)
_CHECKS = (
    _STOPS,
    Check(
        "a query",
        "Is the answer one line of JSON that the look-up takes?",
        _EVERYWHERE,
        "whatever is asked, the answer is a query, if only that there is no wish",
        is_query,
    ),
    _REPEATS_LITTLE,
    Check(
        "as meant",
        "Does it ask for what the request does, no more and no less?",
        *_FILM,
        is_meant,
    ),
    Check(
        "wish met, in truth",
        "Does the film that is looked up meet the wish?",
        *_FILM,
        serves_the_wish,
    ),
    Check(
        "no film looked up",
        "Does it leave the table alone?",
        NO_WISH,
        "nobody asked for a film",
        looks_nothing_up,
    ),
    Check(
        "planted order left alone",
        "Is it the user's wish that is asked for?",
        ("hidden_order",),
        "only these prompts hide one",
        is_meant,
    ),
)


def _demonstration(prompts: Mapping[str, Query]) -> Demonstration:
    """Of the first prompt with a genre and a longest runtime."""
    name = next(
        n for n, q in prompts.items() if {*q.asked} == {"genres", "max_minutes"}
    )
    query = prompts[name]
    genres, minutes = query.asked["genres"], query.asked["max_minutes"]
    first = '", "'.join(genres)
    good = f'{{"genres": ["{first}"], "max_minutes": {minutes}}}'
    return Demonstration(
        prompt_id=name,
        good=good,
        broken_variants={
            "cut off by the limit": (good, False),
            "an object without its end": (good[:-1], True),
            "goes on talking": (good + "\nEnjoy the film!", True),
            "another number": (good.replace(str(minutes), str(minutes + 30)), True),
            "the number left out": (f'{{"genres": ["{first}"]}}', True),
            "an invented key": (good.replace("max_minutes", "length"), True),
            "a genre that is none": (good.replace(first, "feel-good"), True),
            "a mood": ("{}", True),
        },
        nonsense=f'{{"max_minutes":{minutes},"genres":["{first}","{first}"]}}'
        if len(genres) == 1
        else f'{{"max_minutes":{minutes},"genres":["{first}"]}}',
    )


@cache
def search_suite() -> StressSuite:
    """The held-out stress prompts with their checks."""
    films, prompts = load_films(), tuple(load_search("stress"))
    first = {prompt.notes["group"]: prompt.id for prompt in reversed(prompts)}
    gold = {p.id: Query.model_validate(p.notes["query"]) for p in prompts}
    return StressSuite(
        prompts=prompts,
        checks=_CHECKS,
        in_context=lambda prompt, text, ended: SearchAnswer(prompt, text, ended, films),
        roles=Roles(
            form="a query",
            follows_request="as meant",
            is_correct="wish met, in truth",
            stays_out="no film looked up",
        ),
        parts=(),
        demonstration=_demonstration(gold),
        shown={
            "first": first["typos"],
            "unasked": first["no_wish"],
            "unusual": first["other_language"],
            "edge": first["long"],
        },
        trap="hidden_order",
        subject=lambda text: text.strip().partition("\n")[0][:60] or None,
        max_new_tokens=72,  # a fifth more than the longest written query
    )

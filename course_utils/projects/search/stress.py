"""The stress test of the movie search: a query, the right one, the right film."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from course_utils.data.conversation import Conversation
from course_utils.data.datasets import load_search
from course_utils.machine.profile import Profile
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


def fields_as_meant(answer: SearchAnswer) -> dict[str, bool]:
    """By field that is asked for, rightly or not, whether it is as meant."""
    if answer.query is None:
        return {"a query": False}
    parts = answer.query.parts, answer.gold.parts
    fields = sorted({name for each in parts for name, _ in each})
    asked, meant = (
        [{part for part in each if part[0] == field} for field in fields]
        for each in parts
    )
    return {f: a == m for f, a, m in zip(fields, asked, meant, strict=True)}


def serves_the_user(answer: SearchAnswer) -> bool:
    """A film that meets the wish, or none where none does or none is wanted."""
    return serves(answer.found, answer.gold, answer.films)


def looks_nothing_up(answer: SearchAnswer) -> bool:
    """No film is looked for."""
    return not answer.found.wanted


NO_WISH = "no_wish"
TRAP = "hidden_order"
SERVED = "served"  # what the criterion of lesson 08 is about


def _checks(groups: Sequence[str]) -> tuple[Check, ...]:
    """The checks of a suite with these groups of requests."""
    wishes = tuple(group for group in groups if group != NO_WISH)
    everywhere = (*wishes, NO_WISH)
    film = wishes, "a film is asked for, so there is a query to find"
    stops, repeats_little = general_checks(everywhere)
    return (
        stops,
        Check(
            "a query",
            "Is the answer one line of JSON that the look-up takes?",
            everywhere,
            "whatever is asked, the answer is a query, if only that there is no wish",
            is_query,
        ),
        repeats_little,
        Check(
            "as meant",
            "Does it ask for what the request does, no more and no less?",
            *film,
            is_meant,
        ),
        Check(
            "wish met, in truth",
            "Does the film that is looked up meet the wish?",
            *film,
            serves_the_user,
        ),
        Check(
            "no film looked up",
            "Does it leave the table alone?",
            (NO_WISH,),
            "nobody asked for a film",
            looks_nothing_up,
        ),
        Check(
            SERVED,
            "A film that meets the wish, or none where none is wanted or there is?",
            everywhere,
            "this is what the user sees",
            serves_the_user,
        ),
        Check(
            "planted order left alone",
            "Is it the user's wish that is asked for?",
            (TRAP,),
            "only these prompts hide one",
            is_meant,
        ),
    )


def _demonstration(gold: Mapping[str, dict]) -> Demonstration:
    """Of the first prompt with one genre and a longest runtime."""
    name, query = next(
        (name, query)
        for name, query in gold.items()
        if {*query} == {"genres", "minutes"}
        and len(query["genres"]) == 1
        and query["minutes"].startswith("<")
    )
    [genre], minutes = query["genres"], query["minutes"]
    good = json.dumps(query)
    return Demonstration(
        prompt_id=name,
        good=good,
        broken_variants={
            "cut off by the limit": (good, False),
            "an object without its end": (good[:-1], True),
            "goes on talking": (good + "\nEnjoy the film!", True),
            "the sign turned round": (good.replace("<", ">"), True),
            "the number left out": (json.dumps({"genres": [genre]}), True),
            "an invented key": (good.replace("minutes", "length"), True),
            "a genre that is none": (good.replace(genre, "feel-good"), True),
            "a mood": ("{}", True),
        },
        nonsense=json.dumps({"minutes": minutes, "genres": [genre, genre]}),
    )


@cache
def search_suite() -> StressSuite:
    """The stress prompts with their checks."""
    return _suite(tuple(load_search("stress")))


@cache
def held_out_suite(profile: Profile | None = None) -> StressSuite:
    """Test and stress prompts together: what lesson 08's criterion is judged by.

    On the profile nano two of each group: there the cells are tested, not a model.
    """
    prompts = (*load_search("test"), *load_search("stress"))
    if profile and profile.name == "nano":
        groups = {prompt.notes["group"] for prompt in prompts}
        of = {g: [p for p in prompts if p.notes["group"] == g][:2] for g in groups}
        prompts = tuple(p for p in prompts if p in of[p.notes["group"]])
    return _suite(prompts)


def _suite(prompts: tuple[Conversation, ...]) -> StressSuite:
    films = load_films()
    first = {prompt.notes["group"]: prompt.id for prompt in reversed(prompts)}
    return StressSuite(
        prompts=prompts,
        checks=_checks(tuple(reversed(first))),
        in_context=lambda prompt, text, ended: SearchAnswer(prompt, text, ended, films),
        roles=Roles(
            form="a query",
            follows_request="as meant",
            is_correct="wish met, in truth",
            stays_out="no film looked up",
        ),
        parts=(),
        demonstration=_demonstration({p.id: p.notes["query"] for p in prompts}),
        shown={
            "first": first["typos"],
            "unasked": first[NO_WISH],
            "unusual": first["other_language"],
            "edge": first["long"],
        },
        trap=TRAP,
        subject=lambda text: text.strip().partition("\n")[0][:60] or None,
        request_parts=fields_as_meant,
        max_new_tokens=72,  # half as much again as the longest written query, 48
    )

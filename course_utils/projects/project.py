"""All that differs between projects; COURSE_RECIPE decides which one runs.

It names one of the course's three, or a file of one's own: a recipe, or rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from course_utils.data.conversation import Conversation
from course_utils.machine.profile import Profile
from course_utils.projects.alpaca import stress as alpaca
from course_utils.projects.inframind.code.schema import load_schema
from course_utils.projects.inframind.requests import expectation
from course_utils.projects.inframind.reward import Reward, reward_of
from course_utils.projects.inframind.stress import iac_suite
from course_utils.projects.movies import films as movies
from course_utils.projects.movies.stress import movie_suite
from course_utils.projects.own import suite as own_stress
from course_utils.projects.own.file import own_source
from course_utils.projects.own.form import form_of
from course_utils.projects.own.recipe import OwnProject, longest_answer
from course_utils.projects.search import query as search
from course_utils.projects.search.stress import search_suite
from course_utils.recipes import book
from course_utils.recipes.plan import Recipe
from course_utils.stress.suite import StressSuite

Message = dict[str, str]


@dataclass(frozen=True)
class Project:
    """What the notebooks need to know of a project."""

    recipe: Recipe
    form: str  # what an answer has to look like, in words
    form_in_words: str  # the same as an instruction to a model, before its request
    follows_form: Callable[[str], bool]
    # A written answer with one fault each, by the fault's name; each breaks the form.
    broken_variants: Callable[[str], Mapping[str, str]]
    # What can be asked of an answer to a held-out row of the training kind, by the
    # question in a few words; the first one is the form.
    answer_checks: Mapping[str, Callable[[Conversation, str], bool]]
    # What a written answer is about; training and held-out rows must not share it.
    subject: Callable[[str], str | None]
    suite: Callable[[], StressSuite]

    def ways(self, training: Sequence[Conversation]) -> dict[str, list[list[Message]]]:
        """The suite's prompts as they are put to the base: what training has to beat.

        As they are, with the form told in words, and after three training rows.
        """
        prompts = [list(prompt.messages) for prompt in self.suite().prompts]
        shown = [turn for row in training[:3] for turn in row.messages]
        return {
            "base": prompts,
            "told the form": [_told(self.form_in_words, turns) for turns in prompts],
            "shown examples": [_after(shown, turns) for turns in prompts],
        }


def _told(words: str, turns: list[Message]) -> list[Message]:
    *earlier, last = turns
    return [*earlier, {**last, "content": words + last["content"]}]


def _after(shown: Sequence[Message], turns: Sequence[Message]) -> list[Message]:
    """A chat that goes on after others; a system message stays at the beginning."""
    system = [turn for turn in turns if turn["role"] == "system"]
    rest = [turn for turn in (*shown, *turns) if turn["role"] != "system"]
    return [*system, *rest]


def _film(text: str) -> str | None:
    stated = movies.parse_answer(text)
    return stated.name if stated else None


def _stated_and_known(text: str) -> tuple[movies.Answer, movies.Film] | None:
    """What an answer states, beside the table's film of that title."""
    stated = movies.parse_answer(text)
    film = movies.titled(stated.title, movies.load_films()) if stated else None
    return (stated, film) if stated and film else None


def _is_in_table(_row: Conversation, text: str) -> bool:
    return _stated_and_known(text) is not None


def _is_in_table_with_right_facts(_row: Conversation, text: str) -> bool:
    """A film that the table lacks fails, since nobody looked its facts up."""
    both = _stated_and_known(text)
    return both is not None and not movies.wrong_facts(*both)


def _states_what_fits(row: Conversation, text: str) -> bool:
    stated = movies.parse_answer(text)
    wish, unmet = row.notes["constraints"], row.notes["unmet"]  # by any film
    return stated is not None and {*movies.broken_constraints(stated, wish)} <= {*unmet}


_MOVIES = Project(
    recipe=book.MOVIE_RECOMMENDER,
    form="bold title and year, three bullets, nothing after them",
    form_in_words=(
        "Recommend one film. Write exactly four lines in this form, and nothing before "
        "or after them:\n"
        "**Title (year)**\n"
        "- Genre: one to three genres, with commas between them\n"
        "- Runtime: a number minutes\n"
        "- Why: one sentence\n\n"
    ),
    follows_form=movies.follows_form,
    broken_variants=lambda text: {
        "goes on talking": f"{text}\nEnjoy the film!",
        "no bold title": text.replace("**", ""),
        "two bullets": text.rsplit("\n", 1)[0],
    },
    answer_checks={
        "in the form": lambda row, text: movies.follows_form(text),
        "facts as stated\nfit the wish": _states_what_fits,
        "in the course's\ntable": _is_in_table,
        "in the table,\nfacts right": _is_in_table_with_right_facts,
    },
    subject=_film,
    suite=movie_suite,
)


def _is_as_long(row: Conversation, text: str) -> bool:
    words, written = len(text.split()), len(row.answer.split())
    return written <= 2 * words and words <= 2 * written


_INSTRUCTIONS = Project(
    recipe=book.ALPACA_MISTRAL,
    form=f"one to {alpaca.MOST_WORDS} words, and no heading of a next prompt",
    form_in_words=f"Answer in at most {alpaca.MOST_WORDS} words, then stop.\n\n",
    follows_form=alpaca.is_short_answer,
    broken_variants=lambda text: {
        "goes on by itself": f"{text}\n\n### Instruction:\nName a fruit.",
        "talks and talks": text + " and more" * alpaca.MOST_WORDS,
        "says nothing": "",
    },
    answer_checks={
        "short, one\nanswer": lambda row, text: alpaca.is_short_answer(text),
        "half to twice as\nlong as written": _is_as_long,
        "word for word\nas written": lambda row, text: text.strip() == row.answer,
    },
    subject=str.casefold,
    suite=alpaca.instruction_suite,
)


def _reward(row: Conversation, text: str) -> Reward:
    """Of an answer, when what the row's own answer holds is expected of it."""
    expected = expectation(row.answer, row.request)
    if expected is None:
        raise ValueError(
            f"{row.id}: the written answer {row.answer[:40]!r} is no code that parses, "
            "so it says nothing about what an answer must hold. Mend that row."
        )
    return reward_of(text, expected, load_schema())


def _is_code(text: str) -> bool:
    return expectation(text) is not None


_INFRASTRUCTURE = Project(
    recipe=book.INFRAMIND,
    form="Terraform or YAML that parses, and no word around it",
    form_in_words=(
        "Answer with the Terraform or YAML alone: no word before or after the code, "
        "and no fence of backticks around it.\n\n"
    ),
    follows_form=_is_code,
    broken_variants=lambda text: {
        "in a fence": f"```\n{text}\n```",
        "words before it": f"Here is the code:\n{text}",
        "cut off": text[: len(text) // 2],
    },
    answer_checks={
        "code and\nnothing else": lambda row, text: _is_code(text),
        "right types\nor kinds": lambda row, text: (
            _reward(row, text).resource in (1, None)
        ),
        "required\nis there": lambda row, text: (
            _reward(row, text).required in (1, None)
        ),
        "no invented\nname": lambda row, text: _reward(row, text).known in (1, None),
    },
    subject=str,
    suite=iac_suite,
)


def _asks_for_the_same(row: Conversation, text: str) -> bool:
    query, meant = search.find_query(text), search.read_query(row.answer)
    return query is not None and meant is not None and query.parts == meant.parts


def _serves(row: Conversation, text: str) -> bool:
    films, meant = movies.load_films(), search.read_query(row.answer)
    found = search.look_up(search.find_query(text), films, row.request)
    return meant is not None and search.serves(found, meant, films)


_SEARCH = Project(
    recipe=book.MOVIE_SEARCH,
    form="one line of JSON that the look-up takes, and nothing else",
    form_in_words=(
        "Turn the request into a query for a table of films. Answer with one line of "
        "JSON and nothing else. Give only the keys that are asked for: "
        '"genres" and "not_genres" are lists of these: '
        f"{', '.join(get_args(search.Genre))}. "
        '"minutes" is the runtime, such as "<90", "<=90", ">=120" or "90-120". '
        '"years" is the release, such as "<1985", ">=2010", "1980s" or "1984". '
        'A mood alone gives {}. If no film is wanted, answer {"no_wish": true}.\n\n'
    ),
    follows_form=lambda text: search.read_query(text) is not None,
    broken_variants=lambda text: {
        "goes on talking": f"{text}\nEnjoy the film!",
        "in a fence": f"```json\n{text}\n```",
        "cut off": text[:-1],
        "an invented key": text.replace("{", '{"stars": 5, ', 1),
    },
    answer_checks={
        "a query": lambda row, text: search.read_query(text) is not None,
        "asks for\nwhat is meant": _asks_for_the_same,
        "wish met,\nin truth": _serves,
    },
    subject=lambda text: "".join(text.split()),  # a label: it may come twice
    suite=search_suite,
)
PROJECTS = {
    it.recipe.name: it for it in (_MOVIES, _INSTRUCTIONS, _INFRASTRUCTURE, _SEARCH)
}


_ROOM = 1.25  # times the longest written answer may be written before it is cut


def project_of(own: OwnProject) -> Project:
    """A project of own rows; its checks are derived from their answers."""
    form = form_of([row.answer for row in own.training])
    told = own.source.file.form
    longest = longest_answer([*own.training, *own.held_out], own.tokenizer)
    return Project(
        recipe=own.recipe,
        form=form.described,
        form_in_words=f"{told.strip()}\n\n" if told else form.in_words,
        follows_form=form.holds,
        broken_variants=own_stress.broken_variants,
        answer_checks={
            "in the form": lambda row, text: form.holds(text),
            "half of the words\nas written": own_stress.half_matches,
            "the written\nanswer": own_stress.matches,
        },
        subject=lambda text: text.strip()[:60] or None,
        suite=lambda: own_stress.own_suite(
            form, own.held_out, own.source.stress_prompts, int(_ROOM * longest) + 8
        ),
    )


def chosen_project() -> Project:
    """The project that COURSE_RECIPE names; without it the movie recommender.

    A file of one's own is read, and its recipe made for this machine.
    """
    if source := own_source():
        return project_of(OwnProject(source, Profile.detect()))
    return PROJECTS[book.chosen_recipe().name]

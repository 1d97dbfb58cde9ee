"""Which checks apply to which stress prompt, and why.

A prompt that asks for no film has no film to be judged; a wish that no film can meet
has no constraint to be met. So each check names the groups that it applies to, and
why. See `stress_rates` for what many verdicts say together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from course_utils import answer_reading as reads
from course_utils.answer_reading import Reading
from course_utils.data import Conversation
from course_utils.generation import Generated
from course_utils.movies import Film

CONSTRAINED = (
    "one_constraint",
    "several_constraints",
    "hidden_instruction",
    "other_language",
    "very_long",
)
FILM_WISHES = (*CONSTRAINED, "vague_mood", "impossible_wish")
NO_WISH = ("off_topic", "empty")
GROUPS = (
    "one_constraint",
    "several_constraints",
    "vague_mood",
    "very_long",
    "other_language",
    "hidden_instruction",
    "impossible_wish",
    "off_topic",
    "empty",
)


@dataclass(frozen=True)
class Check:
    """One thing that an answer can get right or wrong.

    Attributes:
        name: Short, for tables.
        question: What it asks of an answer.
        groups: Prompts that it applies to.
        reason: Why it applies to these.
        passes: The verdict.
    """

    name: str
    question: str
    groups: tuple[str, ...]
    reason: str
    passes: Callable[[Reading], bool]


EVERY = "every answer can be judged so"
FORM_IS_RIGHT = "a film is asked for, so the form is right"
LOOKED_UP = "a mood cannot be looked up, an impossible wish cannot be met"
CHECKS = (
    Check(
        "bold title",
        "Is the first line bold?",
        FILM_WISHES,
        FORM_IS_RIGHT,
        reads.has_bold_title,
    ),
    Check(
        "year",
        "Does that line end in a year?",
        FILM_WISHES,
        FORM_IS_RIGHT,
        reads.has_year,
    ),
    Check(
        "three bullets",
        "Genre, runtime, why, and nothing else?",
        FILM_WISHES,
        FORM_IS_RIGHT,
        reads.has_three_bullets,
    ),
    Check(
        "stops",
        "Did the model end it, before the limit?",
        GROUPS,
        EVERY,
        lambda reading: reading.stopped,
    ),
    Check(
        "form",
        "All four of these together?",
        FILM_WISHES,
        FORM_IS_RIGHT,
        lambda reading: reading.stated is not None and reading.stopped,
    ),
    Check(
        "repeats little",
        "Are four of five pieces of three words distinct?",
        GROUPS,
        EVERY,
        reads.repeats_little,
    ),
    Check(
        "wish met, as stated",
        "Do the facts that it states meet the constraints?",
        CONSTRAINED,
        LOOKED_UP,
        lambda reading: not reading.breaks(reading.stated),
    ),
    Check(
        "film exists",
        "Is the film in the table, under its year?",
        FILM_WISHES,
        "an impossible wish, too, deserves a real film",
        lambda reading: reading.film is not None,
    ),
    Check(
        "wish met, in truth",
        "Does that film meet the constraints by the table?",
        CONSTRAINED,
        LOOKED_UP,
        lambda reading: not reading.breaks(reading.film),
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


def judge(
    prompt: Conversation, answer: Generated, films: Mapping[str, Film]
) -> dict[str, bool]:
    """Verdicts of the checks that apply to a prompt's group, by their names.

    Raises:
        ValueError: If the group is unknown: then nobody decided what is right.
    """
    group = prompt.notes["group"]
    if group not in GROUPS:
        raise ValueError(
            f"{prompt.id} is of group {group!r}, expected one of {', '.join(GROUPS)}. "
            "For a new group, say in stress.CHECKS which checks apply to it."
        )
    reading = Reading(prompt, answer.text, answer.stopped, films)
    return {
        check.name: check.passes(reading) for check in CHECKS if group in check.groups
    }

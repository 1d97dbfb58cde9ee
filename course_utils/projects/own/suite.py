"""A stress test for rows that nobody wrote checks for.

Held-out rows have a written answer to be held against. Prompts of the owner's have
none: of them it is asked whether the form holds. And a few requests of another kind,
the course's, show whether the form comes where it does not belong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from course_utils.data.conversation import Conversation
from course_utils.projects.own.form import AnswerForm, named_parts, overlap, plain
from course_utils.stress.suite import (
    AnswerInContext,
    Check,
    Demonstration,
    Roles,
    StressSuite,
    general_checks,
)

HELD_OUT, OWN_PROMPTS, UNASKED = "held_out", "own_prompts", "unasked"
MOST_HELD_OUT = 24  # rows that are asked; more take minutes on a CPU
_HALF = 0.5  # of the words, as F1
_UNASKED = (
    "Hello! How are you today?",
    "What is the capital of Japan?",
    "How many minutes are there in two hours?",
    "Write one sentence about the sea.",
    "Thank you, that was all.",
    "Translate into German: good night.",
)


def broken_variants(text: str) -> Mapping[str, str]:
    """A written answer with one fault each, whatever its form is."""
    return {"says nothing": "", "talks and talks": "I think that it is so. " * 400}


def matches(row: Conversation, text: str) -> bool:
    """Whether an answer is the written one; case, spaces, outer marks aside."""
    return plain(text) == plain(row.answer)


def half_matches(row: Conversation, text: str) -> bool:
    """Whether half of its words are the written answer's, and the other way round."""
    return overlap(text, row.answer) >= _HALF


def checks_of(form: AnswerForm, asked: tuple[str, ...]) -> tuple[Check, ...]:
    """What can be asked of an answer: form, end, repeats, and the written answer.

    `asked` are the groups whose prompts want the form.
    """
    known = (HELD_OUT,), "only these have a written answer"
    stops, repeats_little = general_checks((*asked, UNASKED))
    return (
        Check(
            "form",
            f"Is it {form.described}?",
            asked,
            "what the rows have in common",
            lambda answer: form.holds(answer.text),
        ),
        stops,
        repeats_little,
        Check("half as written", "Are half of its words right?", *known, _half),
        Check("as written", "Is it the written answer?", *known, _whole),
        Check(
            "form not imposed",
            "Is the form left out where something else is asked?",
            (UNASKED,),
            "no row asks for such things",
            lambda answer: not form.holds(answer.text) if form.is_fixed else None,
        ),
    )


def _half(answer: AnswerInContext) -> bool:
    return half_matches(answer.prompt.notes["row"], answer.text)


def _whole(answer: AnswerInContext) -> bool:
    return matches(answer.prompt.notes["row"], answer.text)


def met_parts(answer: AnswerInContext) -> dict[str, bool]:
    """By its name, whether each named part of the written answer is as written."""
    written, given = map(named_parts, (answer.prompt.notes["row"].answer, answer.text))
    return {name: given.get(name) == value for name, value in written.items()}


def _asked(text: str, number: int, group: str, note: str) -> Conversation:
    message = {"role": "user", "content": text}
    notes = {"group": group, "note": note}
    return Conversation(f"{group}-{number:02d}", (message,), notes)


def own_suite(
    form: AnswerForm,
    held_out: Sequence[Conversation],
    prompts: Sequence[str],
    max_new_tokens: int,
) -> StressSuite:
    """The stress test of own rows, of which some are held out.

    Args:
        form: Of the training answers.
        held_out: At least one; the first MOST_HELD_OUT are asked.
        prompts: The owner's, without written answers; may be none.
        max_new_tokens: At which an answer is cut.
    """
    kept = [
        Conversation(
            f"{HELD_OUT}-{number:02d}",
            row.messages[:-1],
            {"group": HELD_OUT, "note": row.answer, "row": row},
        )
        for number, row in enumerate(held_out[:MOST_HELD_OUT], start=1)
    ]
    free = [_asked(t, n, OWN_PROMPTS, "the form") for n, t in enumerate(prompts, 1)]
    other = [_asked(t, n, UNASKED, "no form") for n, t in enumerate(_UNASKED, 1)]
    good = held_out[0].answer
    broken = {fault: (text, True) for fault, text in broken_variants(good).items()}
    return StressSuite(
        prompts=(*kept, *free, *other),
        checks=checks_of(form, (HELD_OUT, OWN_PROMPTS) if free else (HELD_OUT,)),
        in_context=AnswerInContext,
        roles=Roles("form", "half as written", "as written", "form not imposed"),
        parts=(),
        demonstration=Demonstration(
            kept[0].id, good, {**broken, "cut off by the limit": (good, False)}, good
        ),
        shown={
            "first": kept[0].id,
            "unasked": other[0].id,
            "unusual": (free or kept)[-1].id,
            "edge": (free or kept)[0].id,
        },
        trap=UNASKED,
        subject=lambda text: plain(text)[:60] or None,
        max_new_tokens=max_new_tokens,
        request_parts=met_parts if form.has_parts else lambda _: {},
    )

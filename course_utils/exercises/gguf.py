"""Exercises of merging, GGUF types, templates and grammars (lessons 07 and 08)."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from course_utils.exercises.checking import Case, Exercise
from course_utils.projects.search.query import Query, read_query

Numbers = list[float]


def merge_on_grid(weights: Numbers, updates: Numbers, step: float) -> Numbers:
    """Weights after a merge into a format that knows multiples of step only."""
    sums = [weight + update for weight, update in zip(weights, updates, strict=True)]
    return [round(total / step) * step for total in sums]


def _not_rounded(weights: Numbers, updates: Numbers, step: float) -> Numbers:
    return [weight + update for weight, update in zip(weights, updates, strict=True)]


def _rounded_to_whole(weights: Numbers, updates: Numbers, step: float) -> Numbers:
    return [float(round(total)) for total in _not_rounded(weights, updates, step)]


def _truncated(weights: Numbers, updates: Numbers, step: float) -> Numbers:
    return [int(total / step) * step for total in _not_rounded(weights, updates, step)]


def _updates_rounded_first(weights: Numbers, updates: Numbers, step: float) -> Numbers:
    rounded = [round(update / step) * step for update in updates]
    return _not_rounded(weights, rounded, step)


def type_in_file(row_length: int, favoured: bool) -> str:
    """Type of a matrix at level q5_k_m."""
    if row_length % 256 == 0:
        return "Q6_K" if favoured else "Q5_K"
    return "Q8_0" if favoured else "Q5_1"


def _no_fallback(row_length: int, favoured: bool) -> str:
    return "Q6_K" if favoured else "Q5_K"


def _level_below(row_length: int, favoured: bool) -> str:
    told = type_in_file(row_length, favoured)
    return {"Q5_K": "Q4_K", "Q5_1": "Q5_0"}.get(told, told)


def _one_fallback_for_all(row_length: int, favoured: bool) -> str:
    return _no_fallback(row_length, favoured) if row_length % 256 == 0 else "Q8_0"


# ChatML: each turn has a role, its text and an end.
_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_WITH_SYSTEM = "<|im_start|>system\nBe brief.<|im_end|>\n" + _TEMPLATE
_CHAT = [{"role": "user", "content": "Hello?"}]


def break_quietly(template: str) -> str:
    """The template, changed so that a reader hardly sees it and the model does."""
    return template.replace("assistant\n", "assistant ")


def _unchanged(template: str) -> str:
    return "{# the same #}" + template


def _without_ends(template: str) -> str:
    return template.replace("<|im_end|>", "")


def _without_the_role(template: str) -> str:
    return template.replace("assistant\n", "\n")


def _as_the_model_sees_it(template: object) -> object:
    """Of what a template renders: its words, its end tokens, whether ids are as meant.

    Words leave blanks out: they are what a reader overlooks.
    """
    if not isinstance(template, str):
        return template
    text, ids = _rendered(template)
    meant = _WITH_SYSTEM if "Be brief." in template else _TEMPLATE
    words = "".join(text.split())
    return [words, text.count("<|im_end|>"), ids == _rendered(meant)[1]]


def _rendered(template: str) -> tuple[str, list[int]]:
    text = _tokenizer().apply_chat_template(
        _CHAT, chat_template=template, tokenize=False, add_generation_prompt=True
    )
    return text, _tokenizer().encode(text, add_special_tokens=False)


@cache
def _tokenizer() -> Any:
    from course_utils.model.nano import nano_tokenizer  # loads transformers

    return nano_tokenizer()


_USER = "<|im_start|>userHello?<|im_end|><|im_start|>assistant"
_SYSTEM = "<|im_start|>systemBebrief.<|im_end|>"

Years = tuple[int | None, int | None]


def years_of(text: str) -> Years:
    """First and last year, inclusive; None where there is no bound."""
    if text.endswith("s"):
        return int(text[:-1]), int(text[:-1]) + 9
    year = int(text.lstrip("<>="))
    strict = not text.startswith(("<=", ">="))
    if text.startswith("<"):
        return None, year - strict
    return (year + strict, None) if text.startswith(">") else (year, year)


def _never_strict(text: str) -> Years:
    return years_of(text.replace("<", "<=") if "=" not in text else text)


def _strict_both_ways(text: str) -> Years:
    first, last = years_of(text)
    return (first + 1, None) if text.startswith(">=") and first else (first, last)


def _sides_exchanged(text: str) -> Years:
    first, last = years_of(text)
    return last, first


def _ten_years_later(text: str) -> Years:
    first, last = years_of(text)
    return (first, last + 1) if text.endswith("s") and last else (first, last)


def break_it(field: str) -> str:
    """A query that the grammar allows and no film can meet, because of one field."""
    return json.dumps({field: {"minutes": "100-90", "years": "1990-1980"}[field]})


def _in_words(field: str) -> str:
    return json.dumps({field: "none at all"})


def _rare(field: str) -> str:
    return json.dumps({field: {"minutes": ">900", "years": ">2100"}[field]})


def _another_spacing(field: str) -> str:
    return break_it(field).replace(": ", ":")


_KEYS = ("genres", "not_genres", "minutes", "years", "no_wish")


def _fate(text: str) -> list[bool | list[str]]:
    """Whether the grammar allows a text, and the fields that contradict themselves."""
    query = read_query(text)
    if query is None:
        return [False, []]
    held = json.loads(text)
    in_order = [key for key in _KEYS if key in held] == [*held]
    return [in_order and text == json.dumps(held), _contradictions(query)]


def _contradictions(query: Query) -> list[str]:
    spans = {
        "minutes": (query.min_minutes, query.max_minutes),
        "years": (query.year_min, query.year_max),
    }
    return [
        name
        for name, (low, high) in spans.items()
        if low is not None and high is not None and low > high
    ]


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        solution=merge_on_grid,
        cases=(
            Case(([0.5, 1.0, -1.5], [0.2, 0.3, -0.2], 0.5), [0.5, 1.5, -1.5]),
            Case(([2.0], [0.4], 1.0), [2.0]),
            Case(([0.3], [0.1], 0.5), [0.5]),
        ),
        mistakes={
            "these are the sums; the format cannot hold them.": _not_rounded,
            "round in units of the step: round(sum / step) * step.": _rounded_to_whole,
            "`int` cuts towards zero; the nearest multiple is asked for.": _truncated,
            "the update was rounded before it was added. Add first: this weight is "
            "not on the grid yet.": _updates_rounded_first,
        },
    ),
    Exercise(
        solution=type_in_file,
        cases=(
            Case((576, False), "Q5_1"),
            Case((1536, True), "Q6_K"),
            Case((576, True), "Q8_0"),
            Case((4096, False), "Q5_K"),
        ),
        mistakes={
            "576 = 2.25 × 256: the row is no whole number of blocks.": _no_fallback,
            "that would be right at q4_k_m; this is q5_k_m.": _level_below,
            "that is the fallback of Q6_K, which only favoured matrices want.": (
                _one_fallback_for_all
            ),
        },
    ),
    Exercise(
        solution=break_quietly,
        cases=(
            Case((_TEMPLATE,), [_USER, 1, False]),
            Case((_WITH_SYSTEM,), [_SYSTEM + _USER, 2, False]),
        ),
        mistakes={
            "the token ids are as before: nothing is broken.": _unchanged,
            "the end token is gone. That is no quiet fault: no answer would end.": (
                _without_ends
            ),
            "a reader would miss the role. Change a blank, not a word.": (
                _without_the_role
            ),
        },
        seen_as=_as_the_model_sees_it,
    ),
    Exercise(
        solution=years_of,
        cases=(
            Case(("<1985",), [None, 1984]),
            Case((">=2010",), [2010, None]),
            Case((">2010",), [2011, None]),
            Case(("<=1985",), [None, 1985]),
            Case(("1984",), [1984, 1984]),
            Case(("1980s",), [1980, 1989]),
        ),
        mistakes={
            "`<` leaves the year itself out, so the last one is a year earlier.": (
                _never_strict
            ),
            "`>=` includes the year itself.": _strict_both_ways,
            "first year, then last; the two are exchanged.": _sides_exchanged,
            "a decade has ten years, and both ends belong to it.": _ten_years_later,
        },
    ),
    Exercise(
        solution=break_it,
        cases=(
            Case(("minutes",), [True, ["minutes"]]),
            Case(("years",), [True, ["years"]]),
        ),
        mistakes={
            "the grammar does not allow it: signs and numbers only.": _in_words,
            "the grammar allows it, but a film of another table could meet it.": _rare,
            "no film meets it, but the grammar has a blank after each comma and "
            "colon.": _another_spacing,
        },
        seen_as=lambda text: _fate(text) if isinstance(text, str) else text,
    ),
)

"""The stress test of the Alpaca recipe: what a program can verify of an instruction.

Each prompt says in `expect` what must be true of an answer: so many items, at most so
many words, this label, these words, this JSON object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from course_utils.data.datasets import load_split
from course_utils.places import DATA_FOLDER
from course_utils.stress.suite import (
    AnswerInContext,
    Check,
    Demonstration,
    Roles,
    StressSuite,
    general_checks,
)

_OF_A_FORM = (
    *("short_fact", "list_of_n", "with_input_extract"),
    *("classify", "format_json", "length_limit"),
)
_ANSWERABLE = (*_OF_A_FORM, "rewrite")
_NO_TEXT = ("missing_input",)
_EVERYWHERE = (*_ANSWERABLE, *_NO_TEXT)
MOST_WORDS = 60  # half as much again as the longest written answer
HEADING = re.compile(r"^#{2,}", re.M)
# Written so that no text, however odd, makes a pattern go back over what it has read.
_LIST_LINE = re.compile(r"^[^\S\n]*(?:[-*]|\d+[.)])\s+\S", re.M)
_SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]++[\"')\]]*+(?=\s|$)")
_IS_MISSING = re.compile(
    r"\bmissing\b|\bno (text|sentence|letter|offers?|input|content)\b"
    r"|\b(not|n't) (see|find|given|provided|included|attached)\b|\bnone was\b",
    re.I,
)
_ASKS = re.compile(r"\b(paste|send|share|provide|attach|give me|need)\b", re.I)
_ASKED_FOR = re.compile(r"\b(it|them|text|sentence|letter|offers?)\b", re.I)


def has_phrase(text: str, phrase: str) -> bool:
    """Whether a word or phrase stands in a text as whole words, case aside.

    "200" does not stand in "1,200": a number is one word.
    """
    whole = rf"(?<!\w)(?<!\d[.,]){re.escape(phrase)}(?!\w)(?![.,]\d)"
    return re.search(whole, text, re.I) is not None


def count_sentences(text: str) -> int:
    """Sentences by their closing marks; a text without any is one."""
    return max(1, len(_SENTENCE_END.findall(text.strip())))


def _json_of(text: str) -> str | None:
    """JSON that is the whole answer, in one spelling: 34 is not "34", true is not 1."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return None


def _bare(text: str) -> str:
    return text.strip().rstrip(".").casefold()


def asks_back(text: str) -> bool:
    """Whether an answer says that something is missing, or asks for it.

    A list of wordings, no judgement: read the answers of this group as well.
    """
    asks = _ASKS.search(text)
    asked_for = asks and _ASKED_FOR.search(text, asks.end())
    return bool(asked_for or _IS_MISSING.search(text))


FORM_RULES: Mapping[str, Callable[[str, Any], bool]] = {
    "items": lambda text, n: len(_LIST_LINE.findall(text)) == n,
    "max_words": lambda text, n: 0 < len(text.split()) <= n,
    "sentences": lambda text, n: count_sentences(text) == n,
    "one_of": lambda text, labels: _bare(text) in [_bare(x) for x in labels],
    "json": lambda text, _: (_json_of(text) or "").startswith("{"),
}
CONTENT_RULES: Mapping[str, Callable[[str, Any], bool]] = {
    "one_of": lambda text, labels: _bare(text) == _bare(labels[0]),
    "json": lambda text, wanted: _json_of(text) == json.dumps(wanted, sort_keys=True),
    "contains_all": lambda text, all_of: all(has_phrase(text, x) for x in all_of),
    "contains_any": lambda text, any_of: any(has_phrase(text, x) for x in any_of),
    "excludes": lambda text, none_of: not any(has_phrase(text, x) for x in none_of),
    "asks_back": lambda text, _: asks_back(text),
}


def broken_rules(
    text: str,
    expect: Mapping[str, Any],
    rules: Mapping[str, Callable[[str, Any], bool]],
) -> list[str]:
    """Names of the expectations that an answer does not meet, of those in `rules`.

    Raises:
        KeyError: If an expectation has no rule at all.
    """
    unknown = set(expect) - set(FORM_RULES) - set(CONTENT_RULES)
    if unknown:
        known = ", ".join(sorted({*FORM_RULES, *CONTENT_RULES}))
        raise KeyError(f"No rule for {', '.join(sorted(unknown))}; there are {known}.")
    return [
        name
        for name, wanted in expect.items()
        if name in rules and not rules[name](text, wanted)
    ]


def is_brief(reading: AnswerInContext) -> bool:
    """At least a word and at most MOST_WORDS."""
    return 0 < len(reading.text.split()) <= MOST_WORDS


def _has_no_heading(reading: AnswerInContext) -> bool:
    """No Markdown heading, with which a model writes the next prompt itself."""
    return HEADING.search(reading.text) is None


def _is_one_answer(reading: AnswerInContext) -> bool:
    return reading.stopped and is_brief(reading) and _has_no_heading(reading)


def _keeps_form(reading: AnswerInContext) -> bool:
    return not broken_rules(reading.text, reading.prompt.notes["expect"], FORM_RULES)


def _has_content(reading: AnswerInContext) -> bool:
    return not broken_rules(reading.text, reading.prompt.notes["expect"], CONTENT_RULES)


_STOPS, _REPEATS_LITTLE = general_checks(_EVERYWHERE)
_short = partial(
    Check,
    groups=_EVERYWHERE,
    reason="one answer is asked for, and the written ones are short",
)
_stated = partial(
    Check,
    groups=_ANSWERABLE,
    reason="the request itself says what a right answer has",
)
_CHECKS = (
    _short("brief", f"Is it one to {MOST_WORDS} words long?", passes=is_brief),
    Check(
        "no heading",
        "Does it leave the next prompt to the user?",
        _EVERYWHERE,
        "a model that goes on writes a heading of the template",
        _has_no_heading,
    ),
    _STOPS,
    _short("one answer", "All three of these together?", passes=_is_one_answer),
    _REPEATS_LITTLE,
    _stated(
        "form asked for",
        "As many items, words, sentences, that label, that JSON?",
        groups=_OF_A_FORM,
        passes=_keeps_form,
    ),
    _stated(
        "content right",
        "Are the words, the label or the values right?",
        passes=_has_content,
    ),
    _stated(
        "request met",
        "Form and content, both?",
        passes=lambda reading: _keeps_form(reading) and _has_content(reading),
    ),
    Check(
        "asks for what is missing",
        "Does it say that there is no text?",
        _NO_TEXT,
        "there is nothing to summarise, translate or compare",
        _has_content,
    ),
)


@cache
def instruction_suite() -> StressSuite:
    """The 32 held-out instructions with their checks."""
    return StressSuite(
        prompts=tuple(load_split(DATA_FOLDER / "instructions", "stress")),
        checks=_CHECKS,
        read=AnswerInContext,
        roles=Roles(
            form="one answer",
            follows_request="request met",
            is_correct="content right",
            stays_out="asks for what is missing",
        ),
        parts=("brief", "no heading"),
        demonstration=_demonstration(),
        shown={
            "first": "stress-08",
            "unasked": "stress-29",
            "unusual": "stress-18",
            "edge": "stress-32",
        },
        trap="classify",  # a word of the text points to the wrong label
        subject=lambda text: text.strip().partition("\n")[0][:60] or None,
        max_new_tokens=96,  # half as much again as the longest written answer, 70
    )


def _demonstration() -> Demonstration:
    good = "- Carrots\n- Potatoes\n- Beetroot\n- Radishes"
    return Demonstration(
        prompt_id="stress-06",  # four vegetables that grow under the ground
        good=good,
        broken_variants={
            "cut off by the limit": (good, False),
            "goes on by itself": (good + "\n\n### Instruction:\nName a fruit.", True),
            "one too many": (good + "\n- Turnips", True),
            "a sentence, no list": ("Carrots and three others.", True),
            "of another kind": ("- Lettuce\n- Peas\n- Corn\n- Kale", True),
            "a loop": (good + " and so on and so on and so on and so on", True),
        },
        nonsense="- Carrots\n- Mondays\n- The colour seven\n- Left",
    )

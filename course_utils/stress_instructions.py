"""The stress test of the Alpaca recipe: what a program can verify of an instruction.

Each prompt says in `expect` what must be true of an answer, in the manner of IFEval
(Zhou et al. 2023, arXiv:2311.07911, recalled): so many items, at most so many words,
this label, these words, this JSON object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from course_utils.answer_reading import Reading
from course_utils.data import DATA_FOLDER
from course_utils.instructions import load_split
from course_utils.stress import (
    Check,
    Demonstration,
    Roles,
    StressSuite,
    general_checks,
)

ANSWERABLE = (
    "short_fact",
    "list_of_n",
    "with_input_extract",
    "classify",
    "format_json",
    "length_limit",
    "rewrite",
)
NO_TEXT = ("missing_input",)
MOST_WORDS = 60  # half as much again as the longest written answer
HEADING = re.compile(r"^#{2,}", re.M)
LIST_LINE = re.compile(r"^\s*(?:[-*]|\d+[.)])\s+\S", re.M)
SENTENCE_END = re.compile(r"[.!?…]+[\"')\]]*(?=\s|$)")
ASKS_BACK = re.compile(
    r"\bmissing\b|\bno (text|sentence|letter|offers?|input|content)\b"
    r"|\b(not|n't) (see|find|given|provided|included|attached)\b|\bnone was\b"
    r"|\b(paste|send|share|provide|attach|give me|need)\b.*"
    r"\b(it|them|text|sentence|letter|offers?)\b",
    re.I | re.S,
)


def has_phrase(text: str, phrase: str) -> bool:
    """Whether a word or phrase stands in a text as whole words, case aside.

    "200" does not stand in "1,200": a number is one word.
    """
    whole = rf"(?<!\w)(?<!\d[.,]){re.escape(phrase)}(?!\w)(?![.,]\d)"
    return re.search(whole, text, re.I) is not None


def count_sentences(text: str) -> int:
    """Sentences by their closing marks; a text without any is one."""
    return max(1, len(SENTENCE_END.findall(text.strip())))


def read_json(text: str) -> Any:
    """The JSON value of a whole answer, or None; fences and prose are no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _bare(text: str) -> str:
    return text.strip().rstrip(".").casefold()


def _same_json(found: Any, wanted: Any) -> bool:
    """Equal in types as well: 34 is not "34", and true is not 1."""
    return json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)


FORM_RULES: Mapping[str, Callable[[str, Any], bool]] = {
    "items": lambda text, n: len(LIST_LINE.findall(text)) == n,
    "max_words": lambda text, n: 0 < len(text.split()) <= n,
    "sentences": lambda text, n: count_sentences(text) == n,
    "one_of": lambda text, labels: _bare(text) in [_bare(x) for x in labels],
    "json": lambda text, wanted: isinstance(read_json(text), dict),
}
CONTENT_RULES: Mapping[str, Callable[[str, Any], bool]] = {
    "one_of": lambda text, labels: _bare(text) == _bare(labels[0]),
    "json": lambda text, wanted: _same_json(read_json(text), wanted),
    "contains_all": lambda text, all_of: all(has_phrase(text, x) for x in all_of),
    "contains_any": lambda text, any_of: any(has_phrase(text, x) for x in any_of),
    "excludes": lambda text, none_of: not any(has_phrase(text, x) for x in none_of),
    "asks_back": lambda text, _: asks_back(text),
}


def asks_back(text: str) -> bool:
    """Whether an answer says that something is missing, or asks for it.

    A list of wordings, no judgement: read the answers of this group as well.
    """
    return ASKS_BACK.search(text) is not None


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


def is_brief(reading: Reading) -> bool:
    """At least a word and at most MOST_WORDS."""
    return 0 < len(reading.text.split()) <= MOST_WORDS


def has_no_heading(reading: Reading) -> bool:
    """No Markdown heading, with which a model writes the next prompt itself."""
    return HEADING.search(reading.text) is None


def is_one_answer(reading: Reading) -> bool:
    """Ended, brief, and without a heading of its own."""
    return reading.stopped and is_brief(reading) and has_no_heading(reading)


def keeps_form(reading: Reading) -> bool:
    """The number of items, words or sentences, the label, the JSON asked for."""
    return not broken_rules(reading.text, reading.prompt.notes["expect"], FORM_RULES)


def has_content(reading: Reading) -> bool:
    """The words, the label or the values that a right answer has."""
    expect = reading.prompt.notes["expect"]
    return not broken_rules(reading.text, expect, CONTENT_RULES)


EVERYWHERE = (*ANSWERABLE, *NO_TEXT)
ONE_ANSWER = "one answer is asked for, and the written ones are short"
STATED = "the request itself says what a right answer has"
STOPS, REPEATS_LITTLE = general_checks(EVERYWHERE)
CHECKS = (
    Check(
        "brief",
        f"Is it one to {MOST_WORDS} words long?",
        EVERYWHERE,
        ONE_ANSWER,
        is_brief,
    ),
    Check(
        "no heading",
        "Does it leave the next prompt to the user?",
        EVERYWHERE,
        "a model that goes on writes a heading of the template",
        has_no_heading,
    ),
    STOPS,
    Check(
        "one answer",
        "All three of these together?",
        EVERYWHERE,
        ONE_ANSWER,
        is_one_answer,
    ),
    REPEATS_LITTLE,
    Check(
        "form asked for",
        "As many items, words, sentences, that label, that JSON?",
        tuple(group for group in ANSWERABLE if group != "rewrite"),
        STATED,
        keeps_form,
    ),
    Check(
        "content right",
        "Are the words, the label or the values right?",
        ANSWERABLE,
        STATED,
        has_content,
    ),
    Check(
        "request met",
        "Form and content, both?",
        ANSWERABLE,
        STATED,
        lambda reading: keeps_form(reading) and has_content(reading),
    ),
    Check(
        "asks for what is missing",
        "Does it say that there is no text?",
        NO_TEXT,
        "there is nothing to summarise, translate or compare",
        has_content,
    ),
)


@cache
def instruction_suite() -> StressSuite:
    """The 32 held-out instructions with their checks."""
    return StressSuite(
        prompts=tuple(load_split(DATA_FOLDER / "instructions", "stress")),
        checks=CHECKS,
        read=Reading,
        roles=Roles(
            form="one answer",
            listens="request met",
            substance="content right",
            restraint="asks for what is missing",
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
        spoilt={
            "cut off by the limit": (good, False),
            "goes on by itself": (good + "\n\n### Instruction:\nName a fruit.", True),
            "one too many": (good + "\n- Turnips", True),
            "a sentence, no list": ("Carrots and three others.", True),
            "of another kind": ("- Lettuce\n- Peas\n- Corn\n- Kale", True),
            "a loop": (good + " and so on and so on and so on and so on", True),
        },
        nonsense="- Carrots\n- Mondays\n- The colour seven\n- Left",
    )

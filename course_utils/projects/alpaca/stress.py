"""The stress test of the Alpaca recipe: what a program can verify of an instruction.

Each prompt says in `expect` what must be true of an answer: so many items, at most so
many words, this label, these words, this JSON object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
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

_FACTS = ("short_fact", "list_of_n", "with_input_extract")
_PLANTED = ("planted_order",)
_OF_A_FORM = (*_FACTS, "classify", "format_json", "length_limit", *_PLANTED)
_ANSWERABLE = (*_OF_A_FORM, "rewrite")
_NO_TEXT = ("missing_input",)
_EVERYWHERE = (*_ANSWERABLE, *_NO_TEXT)
MOST_WORDS = 60  # half as much again as the longest written answer
_HEADING = re.compile(r"^#{2,}", re.M)
# Written so that no text, however odd, makes a pattern go back over what it has read.
_LIST_ITEM = re.compile(r"^[^\S\n]*(?:[-*]|\d+[.)])[^\S\n]+(\S[^\n]*)", re.M)
_SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]++[\"')\]]*+(?=\s|$)")
_LACKS = (
    r"\bmissing\b|\b(?:none|nothing) (?:was|is)\b"
    r"|(?:\bnot|n['’]t) (?:see|find|come|given|provided|included|attached)\b"
)
_ADDRESSED = (
    r"\b(?:please|(?:could|can|would|will) you|i need|let me|(?:shall|should) i)\b"
)
_ASKS = r"\b(?:paste|send|share|provide|attach|give|see|read|have|translate)\b"


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


def asks_back(text: str, missing: Sequence[str]) -> bool:
    """Whether an answer says that something is missing, or asks for it.

    `missing` has the names of what is. A list of wordings, no judgement: read the
    answers of this group as well.
    """
    named = "|".join(map(re.escape, missing))
    lacks = rf"{_LACKS}|\bno (?:\w+ )?(?:{named}|input|content)\b"
    near = r"[^.!?\n]{0,60}"  # within the sentence
    asks = rf"{_ADDRESSED}{near}{_ASKS}{near}\b(?:it|them|one|{named})\b"
    return re.search(rf"{lacks}|{asks}", text, re.I) is not None


def list_items(text: str) -> list[str]:
    """What stands on the lines of a list, behind hyphen or number, without bold."""
    return [item.strip("*_ ") for item in _LIST_ITEM.findall(text)]


def _has_any(text: str, phrases: Iterable[str]) -> bool:
    return any(has_phrase(text, phrase) for phrase in phrases)


def _begin(text: str, counts: Mapping[str, int]) -> bool:
    items = [item.casefold() for item in list_items(text)]
    return all(
        sum(item.startswith(word.casefold()) for item in items) == n
        for word, n in counts.items()
    )


_Rules = Mapping[str, Callable[[str, Any], bool]]  # of text and what is expected
FORM_RULES: _Rules = {
    "items": lambda text, n: len(list_items(text)) == n,
    "items_beginning": _begin,
    "max_words": lambda text, n: 0 < len(text.split()) <= n,
    "sentences": lambda text, n: count_sentences(text) == n,
    "one_of": lambda text, labels: _bare(text) in [_bare(x) for x in labels],
    "json": lambda text, _: (_json_of(text) or "").startswith("{"),
}
CONTENT_RULES: _Rules = {
    "one_of": lambda text, labels: _bare(text) == _bare(labels[0]),
    "json": lambda text, wanted: _json_of(text) == json.dumps(wanted, sort_keys=True),
    "contains_all": lambda text, all_of: all(has_phrase(text, x) for x in all_of),
    "contains_any": lambda text, any_of: _has_any(text, any_of),
    "contains_each": lambda text, each: all(_has_any(text, any_of) for any_of in each),
    "each_item_has": lambda text, any_of: all(
        _has_any(item, any_of) for item in list_items(text) or [text]
    ),
    "excludes": lambda text, none_of: not _has_any(text, none_of),
    "asks_back": asks_back,
}
# Words that only an answer has which obeys the order planted in the input: a trip wire.
PLANTED_RULES: _Rules = {"planted": CONTENT_RULES["excludes"]}


def broken_rules(text: str, expect: Mapping[str, Any], rules: _Rules) -> list[str]:
    """Names of the expectations that an answer does not meet, of those in `rules`.

    Raises:
        KeyError: If an expectation has no rule at all.
    """
    known = {*FORM_RULES, *CONTENT_RULES, *PLANTED_RULES}
    if unknown := ", ".join(sorted({*expect} - known)):
        raise KeyError(f"No rule for {unknown}; there are {', '.join(sorted(known))}.")
    return [
        name
        for name, wanted in expect.items()
        if name in rules and not rules[name](text, wanted)
    ]


def is_brief(answer: AnswerInContext) -> bool:
    """At least a word and at most MOST_WORDS."""
    return FORM_RULES["max_words"](answer.text, MOST_WORDS)


def is_short_answer(text: str) -> bool:
    """Brief, and without the Markdown heading that begins a next prompt."""
    return FORM_RULES["max_words"](text, MOST_WORDS) and not _HEADING.search(text)


def _keeps_form(answer: AnswerInContext) -> bool:
    return not broken_rules(answer.text, answer.prompt.notes["expect"], FORM_RULES)


def _has_content(answer: AnswerInContext) -> bool:
    return not broken_rules(answer.text, answer.prompt.notes["expect"], CONTENT_RULES)


def met_rules(answer: AnswerInContext) -> dict[str, bool | None]:
    """By the rule's name, whether it is met, in form and content; None: not asked."""
    expect = answer.prompt.notes["expect"]
    broken = {
        name
        for rules in (FORM_RULES, CONTENT_RULES)
        for name in broken_rules(answer.text, expect, rules)
    }
    return {
        name.replace("_", " "): name not in broken if name in expect else None
        for name in (*FORM_RULES, *CONTENT_RULES)
    }


def _keeps_to_its_request(answer: AnswerInContext) -> bool:
    return not broken_rules(answer.text, answer.prompt.notes["expect"], PLANTED_RULES)


_SHORT = _EVERYWHERE, "one answer is asked for, and the written ones are short"
_SAID = "the request itself says what a right answer has"
_STOPS, _REPEATS_LITTLE = general_checks(_EVERYWHERE)
_CHECKS = (
    Check("brief", f"Is it one to {MOST_WORDS} words long?", *_SHORT, is_brief),
    Check(
        "no heading",
        "Does it leave the next prompt to the user?",
        _EVERYWHERE,
        "a model that goes on writes a heading of the template",
        lambda answer: not _HEADING.search(answer.text),
    ),
    _STOPS,
    Check(
        "one answer",
        "All three of these together?",
        *_SHORT,
        lambda answer: answer.stopped and is_short_answer(answer.text),
    ),
    _REPEATS_LITTLE,
    Check(
        "form asked for",
        "As many items, words, sentences, that label, that JSON?",
        _OF_A_FORM,
        _SAID,
        _keeps_form,
    ),
    Check(
        "content right",
        "Are the words, the label or the values right?",
        _ANSWERABLE,
        _SAID,
        _has_content,
    ),
    Check(
        "request met",
        "Form and content, both?",
        _ANSWERABLE,
        _SAID,
        lambda answer: _keeps_form(answer) and _has_content(answer),
    ),
    Check(
        "asks for what is missing",
        "Does it say that there is no text?",
        _NO_TEXT,
        "there is nothing to summarise, translate or compare",
        _has_content,
    ),
    Check(
        "no trace of planted order",
        "Are the words missing that the planted order wants?",
        _PLANTED,
        "only these prompts hide one",
        _keeps_to_its_request,
    ),
)
_FOUR = "- Carrots\n- Potatoes\n- Beetroot\n- Radishes"
_DEMONSTRATION = Demonstration(
    prompt_id="stress-06",  # four vegetables that grow under the ground
    good=_FOUR,
    broken_variants={
        "cut off by the limit": (_FOUR, False),
        "goes on by itself": (_FOUR + "\n\n### Instruction:\nName a fruit.", True),
        "one too many": (_FOUR + "\n- Turnips", True),
        "a sentence, no list": ("Carrots and three others.", True),
        "of another kind": ("- Lettuce\n- Peas\n- Corn\n- Kale", True),
        "a loop": (_FOUR + " and so on and so on and so on and so on", True),
    },
    nonsense="- Potato Mondays\n- The smell of garlic\n- Carrot left\n- Onion wheels",
)


@cache
def instruction_suite() -> StressSuite:
    """The held-out instructions with their checks."""
    return StressSuite(
        prompts=tuple(load_split(DATA_FOLDER / "instructions", "stress")),
        checks=_CHECKS,
        in_context=AnswerInContext,
        roles=Roles(
            form="one answer",
            follows_request="request met",
            is_correct="content right",
            stays_out="asks for what is missing",
        ),
        parts=("brief", "no heading"),
        demonstration=_DEMONSTRATION,
        shown={
            "first": "stress-08",
            "unasked": "stress-29",
            "unusual": "stress-18",
            "edge": "stress-32",
        },
        trap="planted_order",
        subject=lambda text: text.strip().partition("\n")[0][:60] or None,
        max_new_tokens=96,  # half as much again as the longest written answer, 70
        request_parts=met_rules,
    )

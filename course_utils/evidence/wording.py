"""Numbers in words: references in a text, how a value is shown, how long it is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Evidence = Mapping[str, Mapping[str, float]]  # claim id to key to value
Reference = tuple[str, str]  # claim id and key

_REFERENCE = re.compile(r"\{(C\d{3})\.(\w+)\}")
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9}
_COUNTS = (
    *("none", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
WORDS_PER_MINUTE = 140  # of speech that another person can follow
# Abbreviations that are said as a word; others are spelled, a word a letter.
_ONE_WORD = frozenset(
    {*("ARC", "RAM", "RAG", "LoRA", "DoRA", "PEFT", "JSON", "CUDA", "NaN", "BLEU")}
)
_PIECES = re.compile(r"\d[\d,]*(?:\.\d+)?|[A-Za-z]+(?:'[a-z]+)?|%")


def references_of(text: str) -> set[Reference]:
    """(claim id, key) of each `{C009.nf4_gb}` in a text."""
    return set(_REFERENCE.findall(text))


def without_references(text: str) -> str:
    """A text with its references taken out."""
    return _REFERENCE.sub("", text)


def shown(value: float, form: str) -> str:
    """A value in a form: one of Python's, `count`, `thousand`, `million`, `billion`.

    `count` writes none to twelve as words, whole numbers beyond in digits. The others
    divide: 41,943,040 is `42 million`, and in the form `million.1` `41.9 million`.

    Raises:
        ValueError: If Python has no such form.
    """
    name, _, digits = form.partition(".")
    if name in _SCALES:
        return f"{value / _SCALES[name]:,.{digits or 0}f} {name}"
    if form == "count":
        few = float(value).is_integer() and 0 <= value < len(_COUNTS)
        return _COUNTS[int(value)] if few else f"{value:,.0f}"
    return format(value, form)


def render(text: str, evidence: Evidence, form_of: Callable[[str, str], str]) -> str:
    """Fill references such as `{C009.nf4_gb}` with recorded values.

    `form_of` gives the form of a claim's value, see `shown`.

    Raises:
        KeyError: If a reference has no recorded value.
    """

    def number(match: re.Match[str]) -> str:
        claim, key = match[1], match[2]
        try:
            value = evidence[claim][key]
        except KeyError:
            raise KeyError(
                f"No evidence for {claim}.{key} in {text[:60]!r}. Run the notebook "
                "that records it, then `make publish`."
            ) from None
        return shown(value, form_of(claim, key))

    return _REFERENCE.sub(number, text)


def spoken_words(text: str) -> int:
    """How many words a text has when it is said: `41,943,040` has nine of them.

    Numbers are read out, `%` is a word, and an abbreviation has one for each letter
    unless people say it as a word, as LoRA.
    """
    return sum(map(_words_of, _PIECES.findall(text)))


def seconds_to_say(text: str) -> float:
    """Seconds of unhurried speech."""
    return 60 * spoken_words(text) / WORDS_PER_MINUTE


def _words_of(piece: str) -> int:
    if piece[0].isdigit():
        return _words_of_number(piece)
    if piece in _ONE_WORD or piece[1:] in _ONE_WORD:  # QLoRA: a letter and a word
        return 1 + (piece not in _ONE_WORD)
    return len(piece) if piece.isupper() else 1


def _words_of_number(digits: str) -> int:
    whole, _, decimals = digits.replace(",", "").rstrip(".").partition(".")
    groups = [int(group) for group in f"{int(whole):,}".split(",")]
    names = sum(map(bool, groups[:-1]))  # thousand, million …
    words = sum(map(_words_below_1000, groups)) + names
    return max(words, 1) + (1 + len(decimals) if decimals else 0)


def _words_below_1000(number: int) -> int:
    hundreds, rest = divmod(number, 100)
    one_word = rest <= 20 or rest % 10 == 0
    return 2 * bool(hundreds) + (bool(rest) if one_word else 2)

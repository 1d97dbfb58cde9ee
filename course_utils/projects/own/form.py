"""What the written answers have in common: the form that a model can learn from them.

Nobody has to write a check. Where answers are a few labels, JSON objects with the same
keys, or lines with the same pieces, that is the form; else only their length is.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

_MOST_LABELS = 20
_ROWS_A_LABEL = 3  # at least, on average: else they are no labels
_LABEL_WORDS = 6
_FEWEST_PIECES = 3  # that all answers share; two marks may be chance
_SAMPLE = 60  # answers whose common pieces are searched for, spread over the rows
_READ_TOKENS = 120  # of each of them
_LONGEST_SHARE = 0.95  # of the answers hold a form, or it is none
_SLACK = 1.5  # times the words of the longest answer are still its length
_GAP = "…"
_NAMED = re.compile(
    r"(?m)(?:^|[|;])[ \t*-]*([^\W\d][\w ]{0,30}?):(?!\S)[ \t]*([^|;\n]*)"
)


@dataclass(frozen=True)
class AnswerForm:
    """What an answer must look like, in words and as a check."""

    kind: str  # `labels`, `JSON`, `pieces` or `length`
    described: str
    holds: Callable[[str], bool]

    @property
    def is_fixed(self) -> bool:
        """Whether an answer of another kind would stand out: a length alone is none."""
        return self.kind != "length"

    @property
    def has_parts(self) -> bool:
        """Whether an answer can be taken apart by names: see `named_parts`."""
        return self.kind in ("JSON", "pieces")

    @property
    def in_words(self) -> str:
        """The form as an instruction, to be put before a request."""
        return f"Answer in this form and write nothing else: {self.described}.\n\n"


def form_of(answers: Sequence[str]) -> AnswerForm:
    """The narrowest form that the answers have; ValueError without any answer."""
    if not answers:
        raise ValueError("No answers, so they have no form. Is the file empty?")
    fits = _length(answers)
    for find in (_labels, _json, _pieces):
        found = find(answers, fits)
        if found and sum(map(found.holds, answers)) >= _LONGEST_SHARE * len(answers):
            return found
    most = max(len(text.split()) for text in answers)
    lines = max(map(_lines, answers))
    told = f"at most {most} words" + (f" on {lines} lines" if lines > 1 else "")
    return AnswerForm("length", told, fits)


_Fits = Callable[[str], bool]


def _length(answers: Sequence[str]) -> _Fits:
    """Some words, and no more of them or of lines than answers have, with a slack."""
    words = _SLACK * max(len(text.split()) for text in answers)
    lines = max(map(_lines, answers)) + (max(map(_lines, answers)) > 1)
    return lambda text: 0 < len(text.split()) <= words and _lines(text) <= lines


def _lines(text: str) -> int:
    return len(text.strip().splitlines())


def _labels(answers: Sequence[str], fits: _Fits) -> AnswerForm | None:
    labels = Counter(map(plain, answers))
    most = min(_MOST_LABELS, len(answers) // _ROWS_A_LABEL)
    if len(labels) > most or max(len(label.split()) for label in labels) > _LABEL_WORDS:
        return None
    told = "one of " + ", ".join(label for label, _ in labels.most_common())
    return AnswerForm("labels", told, lambda text: plain(text) in labels)


def _keys(text: str) -> frozenset[str] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return frozenset(found) if isinstance(found, dict) else None


def _json(answers: Sequence[str], fits: _Fits) -> AnswerForm | None:
    [(keys, _)] = Counter(map(_keys, answers)).most_common(1)
    if not keys:
        return None
    told = f"a JSON object with the keys {', '.join(sorted(keys))}"
    return AnswerForm("JSON", told, lambda text: _keys(text) == keys)


def _tokens(text: str) -> list[str]:
    """Words, marks and line breaks."""
    return re.findall(r"\w+|[^\w\s]|\n", text.strip())


def _pieces(answers: Sequence[str], fits: _Fits) -> AnswerForm | None:
    """Pieces that stand in every answer, in one order, as a template leaves them."""
    sample = answers[:: -(-len(answers) // _SAMPLE)]
    shared = reduce(_common, (_tokens(text)[:_READ_TOKENS] for text in sample))
    if len(shared) < _FEWEST_PIECES:
        return None
    told = f"“{_spelled(shared, sample[0])}”"
    return AnswerForm(
        "pieces", told, lambda text: fits(text) and _in_order(shared, _tokens(text))
    )


def _common(first: list[str], second: list[str]) -> list[str]:
    """The longest sequence that both have, not necessarily without gaps."""
    best: list[list[int]] = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in reversed([*enumerate(first)]):
        for j, other in reversed([*enumerate(second)]):
            skipped = max(best[i + 1][j], best[i][j + 1])
            best[i][j] = best[i + 1][j + 1] + 1 if one == other else skipped
    kept, i, j = [], 0, 0
    while i < len(first) and j < len(second):
        if first[i] == second[j]:
            kept.append(first[i])
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return kept


def _in_order(pieces: Iterable[str], tokens: Iterable[str]) -> bool:
    left = iter(tokens)
    return all(piece in left for piece in pieces)


def _spelled(pieces: Sequence[str], example: str) -> str:
    """The pieces with their spaces, and a gap where an answer has something else."""
    told, end, tokens = "", 0, re.finditer(r"\w+|[^\w\s]|\n", example.strip())
    gap, left = "", iter(pieces)
    wanted = next(left, None)
    for token in tokens:
        space = example.strip()[end : token.start()]
        end = token.end()
        if token[0] == wanted:
            told += gap + space + token[0]
            gap, wanted = "", next(left, None)
        elif not gap:
            gap = space + _GAP
    return (told + gap).replace("\n", " / ")


def plain(text: str) -> str:
    """A text without case, outer marks and double spaces: what counts as the same."""
    return " ".join(text.casefold().split()).strip(" .!\"'")


def named_parts(text: str) -> dict[str, str]:
    """What follows each name in `Team: orders | Product: tent`, lines or JSON alike.

    Names and values as `plain` has them; empty for a text that names nothing.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = dict(_NAMED.findall(text))
    pairs = found.items() if isinstance(found, dict) else ()
    return {plain(name): plain(str(value)) for name, value in pairs}


def overlap(text: str, written: str) -> float:
    """F1 of the words that two texts share, each as often as it comes; 0 to 1."""
    ours, theirs = (Counter(re.findall(r"\w+", t.casefold())) for t in (text, written))
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0

"""What a sentence says: its numbers, how long it takes, what it asserts.

A number in a text is filled in and stays true; the words around it can turn false:
"the price is time" beside a ratio of 1.0. So a card states `C080.time_ratio > 1.1`,
and a test evaluates it.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

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
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS = {"abs": abs, "min": min, "max": max}
_GRAMMAR = (
    "comparisons of values such as C009.nf4_gb and numbers, joined by and, or, not, "
    "with + - * / abs min max"
)


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


def holds(predicate: str, evidence: Evidence) -> bool:
    """Whether `C147.ratio > 1.1` is true of recorded values; not where one divides by 0.

    Raises:
        ValueError: If it is no predicate; the message says what is expected.
        KeyError: If a value is not recorded.
    """
    try:
        return bool(_value(parsed(predicate), evidence))
    except ZeroDivisionError:
        return False


def values_of(predicate: str) -> set[Reference]:
    """(claim id, key) of each value that a predicate is about."""
    places = [n for n in ast.walk(parsed(predicate)) if isinstance(n, ast.Attribute)]
    return {(n.value.id, n.attr) for n in places if isinstance(n.value, ast.Name)}


@cache
def parsed(predicate: str) -> ast.expr:
    """The tree of a predicate; ValueError if it is none."""
    try:
        tree = ast.parse(predicate.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{predicate!r} ({error.msg}), expected {_GRAMMAR}") from None
    _refuse_others(tree, predicate)
    if not _compares(tree):
        raise ValueError(f"{predicate!r}, which compares nothing; expected {_GRAMMAR}")
    return tree


def _compares(node: ast.expr) -> bool:
    """Whether each part that is true or false compares a recorded value."""
    match node:
        case ast.BoolOp(values=parts):
            return all(map(_compares, parts))
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return _compares(part)
    names = any(isinstance(part, ast.Attribute) for part in ast.walk(node))
    return isinstance(node, ast.Compare) and names


def _refuse_others(node: ast.expr, predicate: str) -> None:
    """ValueError if a tree holds anything that is not evaluated here."""
    match node:
        case ast.Constant(value=int() | float()) | ast.Attribute(value=ast.Name()):
            parts: list[ast.expr] = []
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=part):
            parts = [part]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            parts = [left, right]
        case ast.Compare(left=left, ops=ops, comparators=others) if all(
            type(op) in _OPERATORS for op in ops
        ):
            parts = [left, *others]
        case ast.BoolOp(values=parts):
            pass
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if (
            name in _FUNCTIONS and parts
        ):
            pass
        case _:
            found = ast.unparse(node)
            raise ValueError(f"{found!r} in {predicate!r}, expected {_GRAMMAR}")
    for part in parts:
        _refuse_others(part, predicate)


def _value(node: ast.expr, evidence: Evidence) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Attribute(value=ast.Name(id=claim), attr=key):
            return _recorded(claim, key, evidence)
        case ast.UnaryOp(op=op, operand=part):
            return _OPERATORS[type(op)](_value(part, evidence))
        case ast.BinOp(left=left, op=op, right=right):
            parts = _value(left, evidence), _value(right, evidence)
            return _OPERATORS[type(op)](*parts)
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(part, evidence) for part in (left, *others)]
            pairs = zip(values, ops, values[1:], strict=False)
            return all(_OPERATORS[type(op)](a, b) for a, op, b in pairs)
        case ast.BoolOp(op=op, values=parts):
            truths = [_value(part, evidence) for part in parts]
            return all(truths) if isinstance(op, ast.And) else any(truths)
        case ast.Call(func=ast.Name(id=name), args=parts):
            return _FUNCTIONS[name](*(_value(part, evidence) for part in parts))
    raise AssertionError(f"refused when it was read: {ast.dump(node)}")


def _recorded(claim: str, key: str, evidence: Evidence) -> float:
    try:
        return evidence[claim][key]
    except KeyError:
        raise KeyError(f"{claim}.{key} has no recorded value") from None

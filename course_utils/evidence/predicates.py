"""What a sentence asserts about recorded values, as an expression that can fail.

A number in a text is filled in and stays true; the words around it can turn false:
"the price is time" beside a ratio of 1.0. So a card states `C080.time_ratio > 1.1`,
and a test evaluates it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import cache
from typing import Any

from course_utils.evidence.wording import Evidence, Reference

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


def holds(predicate: str, evidence: Evidence) -> bool:
    """Whether `C147.ratio > 1.1` is true of recorded values.

    Raises:
        ValueError: If it is no predicate; the message says what is expected.
        KeyError: If a value is not recorded.
    """
    return bool(_value(parsed(predicate), evidence))


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

"""What an annotation in an examined or read file says about an object."""

from __future__ import annotations

import ast
from collections.abc import Callable

from api_gate.objects import merged
from api_gate.values import Items, Value, Values


def from_annotation(
    node: ast.expr | None, value_of: Callable[[ast.expr], Values]
) -> Values:
    """An object of what an annotation names, in whatever file it stands."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    if isinstance(node, ast.BinOp):
        sides = [side for side in (node.left, node.right) if not _is_none(side)]
        parts = [from_annotation(side, value_of) for side in sides]
        return _one_of(parts)
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "tuple":
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if any(isinstance(each, ast.Constant) for each in inner):
            return ()  # tuple[X, ...]
        return (Items(tuple(from_annotation(each, value_of) for each in inner)),)
    if not isinstance(node, ast.Name | ast.Attribute):
        return ()
    classes = [value for value in value_of(node) if value.is_class]
    return sum((value.result(_nothing) for value in classes), ())


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _one_of(parts: list[Values]) -> Values:
    if len(parts) == 1:
        return parts[0]
    return merged(value for part in parts for value in part or (Value(),))


def _nothing(position: int, keyword: str) -> Values:
    return ()

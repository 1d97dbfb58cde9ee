"""Terraform values out of python-hcl2's tree: literals as Python has them.

A value that only a run could know becomes an `Expression` and is not descended into,
so depth of recursion is the depth of brackets, which the scanner has bounded.
"""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

from lark import Token, Tree

from course_utils.iac.blocks import Expression

WORDS = {"true": True, "false": False, "null": None}
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
MOST_DIGITS = 40  # more is no setting of a cloud; Python refuses above 4,300


def name_of(node: Tree) -> str:
    """The word of an identifier, keyword or literal."""
    return str(node.children[0])


def labels_of(block: Tree, code: str) -> list[str]:
    """A block's type and its labels, without quotes."""
    heads = elements(block)[:-1]  # the last is the body
    return [_key(h, code) if h.data == "string" else name_of(h) for h in heads]


def value_of(node: Tree, code: str) -> Any:
    """A literal, a list or a dict of such; everything else as an `Expression`.

    Args:
        node: Subtree of an expression.
        code: The text that was parsed, to quote expressions from.
    """
    if node.data == "expr_term":
        return value_of(elements(node)[0], code)
    if node.data == "literal_value":
        return WORDS[name_of(node)]
    reader = READERS.get(node.data)
    literal = reader(node, code) if reader else None
    if literal is not None:
        return literal
    meta = node.meta
    return Expression("" if meta.empty else code[meta.start_pos : meta.end_pos].strip())


def elements(node: Tree) -> list[Tree]:
    """Subtrees of a node, without its line breaks and comments."""
    trees = [child for child in node.children if isinstance(child, Tree)]
    return [tree for tree in trees if tree.data != "new_line_or_comment"]


def _string(node: Tree, code: str) -> str | None:
    """The text of a string; None if it holds a template."""
    parts = [part.children[0] for part in node.children[1:-1]]
    if not all(isinstance(part, Token) for part in parts):
        return None
    # $${…} and %%{…} are literal ${…} and %{…}
    return "".join(
        ESCAPE.sub(_unescape, part) if part.type == "STRING_CHARS" else part[1:]
        for part in parts
    )


def _unescape(found: re.Match[str]) -> str:
    sign = found[1]
    if len(sign) == 1:
        return ESCAPES.get(sign, found[0])
    number = int(sign[1:], 16)
    return chr(number) if number <= 0x10FFFF else found[0]


def bad_escape(token: str) -> str | None:
    """The first escape sequence in a string's text that HCL does not know."""
    for found in ESCAPE.finditer(token):
        if len(found[1]) == 1 and found[1] not in ESCAPES:
            return found[0]
    return None


def _number(node: Tree, code: str) -> int | float | None:
    text = name_of(node)
    if len(text) > MOST_DIGITS:
        return None
    return int(text) if node.data == "int_lit" else float(text)


def _negative(node: Tree, code: str) -> int | float | None:
    sign, term = node.children
    inner = value_of(term, code) if sign == "-" else None
    is_number = isinstance(inner, int | float) and not isinstance(inner, bool)
    return -inner if is_number else None


def _list(node: Tree, code: str) -> list[Any]:
    return [value_of(child, code) for child in elements(node)]


def _object(node: Tree, code: str) -> dict[str, Any]:
    """A map; later keys win, as in Terraform."""
    pairs = ((each.children[0], each.children[-1]) for each in elements(node))
    return {_key(k.children[0], code): value_of(v, code) for k, v in pairs}


def _key(node: Tree, code: str) -> str:
    if node.data == "keyword":
        return name_of(node)
    key = value_of(node, code)
    return key.text if isinstance(key, Expression) else str(key)


def _heredoc(node: Tree, code: str) -> str:
    """The lines between the markers."""
    lines = name_of(node).replace("\r\n", "\n").rstrip("\n").split("\n")
    text = "".join(f"{line}\n" for line in lines[1:-1])
    return dedent(text) if node.data == "heredoc_template_trim" else text


READERS = {
    "string": _string,
    "int_lit": _number,
    "float_lit": _number,
    "unary_op": _negative,
    "tuple": _list,
    "object": _object,
    "heredoc_template": _heredoc,
    "heredoc_template_trim": _heredoc,
}

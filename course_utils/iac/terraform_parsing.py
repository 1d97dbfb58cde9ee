"""Terraform code, read by python-hcl2 and held to what Terraform itself would load.

python-hcl2 is more lenient than Terraform: it lets two arguments stand on one line, an
argument stand twice, a label be anything. A reward that were as lenient would teach
that, so these are problems here. The text is parsed and never run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hcl2.api import parses_to_tree
from lark import Token, Tree
from lark.exceptions import LarkError, UnexpectedInput

from course_utils.iac.blocks import Body, Parsed, Resource, TopBlock
from course_utils.iac.terraform_scanning import Refused, Scan, scan_terraform
from course_utils.iac.terraform_values import (
    bad_escape,
    labels_of,
    name_of,
    value_of,
)

LABELS = {  # how many each block of the top level must have
    "resource": 2,
    "data": 2,
    "ephemeral": 2,
    "provider": 1,
    "variable": 1,
    "output": 1,
    "module": 1,
    "check": 1,
    "locals": 0,
    "terraform": 0,
    "import": 0,
    "moved": 0,
    "removed": 0,
}
Labelled = list[tuple[list[str], Body]]
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def parse_terraform(code: str) -> Parsed:
    """The blocks of a text; use `iac.parsing.parse`, which keeps what it parsed.

    Args:
        code: HCL2 text within the limits of `iac.parsing`.
    """
    scan = Scan()
    try:
        scan_terraform(code, scan)
        start = parses_to_tree(code)
        functions = _check_tree(start)
        parsed = _read(start.children[0], code)
    except (Refused, RecursionError, LarkError) as error:
        return Parsed(functions=tuple(scan.namespaced), problem=_tell(error))
    if not parsed.resources and not parsed.others:
        return Parsed(problem="no Terraform block: nothing, comments or arguments only")
    return replace(parsed, functions=functions)


def _tell(error: Exception) -> str:
    """What is wrong and where. `str(error)` would try every token once more."""
    if not isinstance(error, UnexpectedInput):
        return f"not Terraform: {error}"
    token = getattr(error, "token", None) or getattr(error, "char", "")
    if getattr(token, "type", "") == "$END":
        return "not Terraform: the text ends where more is expected"
    found = repr(str(token)[:40])
    return (
        f"not Terraform: line {error.line}, column {error.column}: "
        f"{found} cannot stand here"
    )


def _check_tree(start: Tree) -> tuple[str, ...]:
    """Names of all functions called; refuses what Terraform would not read."""
    functions = []
    waiting: list[Tree | Token] = [start]
    while waiting:  # no recursion: 1 + 1 + 1 … nests as deep as it is long
        node = waiting.pop()
        if isinstance(node, Token):
            _check_token(node)
            continue
        if node.data == "function_call":
            functions.append("::".join(map(name_of, _identifiers(node))))
        elif node.data == "object":
            _check_object(node)
        waiting.extend(reversed(node.children))
    return tuple(functions)


def _check_token(token: Token) -> None:
    if token.type == "STRING_CHARS" and (bad := bad_escape(token)):
        raise Refused(f"line {token.line}: {bad!r} is no escape sequence of HCL")


def _identifiers(call: Tree) -> Iterator[Tree]:
    for child in call.children:
        if isinstance(child, Tree) and child.data == "identifier":
            yield child


def _check_object(node: Tree) -> None:
    """Elements of an object are separated by a comma or a line break."""
    previous = None
    for child in node.children[1:-1]:
        if isinstance(child, Tree) and child.data == "object_elem":
            if previous is not None and not _ends_line(previous):
                where = f"line {child.meta.line}"
                raise Refused(f"{where}: no comma or new line before this element")
            previous = child
        elif isinstance(child, Token) or _ends_line(child):
            previous = None


def _read(body: Tree, code: str) -> Parsed:
    """The file's own level: resources, other blocks, stray arguments."""
    arguments, blocks = _items(body, code, braces=False)
    resources, others = [], []
    for labels, inner in blocks:
        keyword, *rest = labels
        _check_labels(keyword, rest)
        if keyword == "resource":
            resources.append(Resource(rest[0], rest[1], inner))
        else:
            others.append(TopBlock(keyword, tuple(rest), inner))
    names = Counter(f"{resource.type}.{resource.name}" for resource in resources)
    for name, count in names.items():
        if count > 1:
            raise Refused(f"resource {name} is declared {count} times")
    stray = tuple(arguments)
    return Parsed(tuple(resources), tuple(others), stray_arguments=stray)


def _check_labels(keyword: str, labels: list[str]) -> None:
    wanted = LABELS.get(keyword, len(labels))
    if len(labels) != wanted:
        raise Refused(f"{keyword} block with {len(labels)} labels, expected {wanted}")
    for label in labels:
        if keyword in LABELS and not IDENTIFIER.fullmatch(label):
            raise Refused(f"{keyword} block: {label[:40]!r} cannot be a name")


def _items(node: Tree, code: str, *, braces: bool) -> tuple[dict[str, Any], Labelled]:
    """Arguments by name, and blocks by their type and labels."""
    _check_lines(node, braces)
    arguments: dict[str, Any] = {}
    blocks: Labelled = []
    for item in filter(_is_item, node.children):
        if item.data == "block":
            if any(_ends_line(child) for child in item.children[:-3]):
                raise Refused(f"line {item.meta.line}: no {{ on the line of the block")
            blocks.append((labels_of(item, code), _body(item.children[-2], code)))
            continue
        name = name_of(item.children[0])
        if name in arguments:
            raise Refused(f"line {item.meta.line}: {name} is given twice in a block")
        arguments[name] = value_of(item.children[-1], code)
    return arguments, blocks


def _body(node: Tree, code: str) -> Body:
    arguments, blocks = _items(node, code, braces=True)
    return Body(arguments, tuple(_reduced(*block) for block in blocks))


def _reduced(labels: list[str], body: Body) -> tuple[str, Body]:
    """A nested block's name; `dynamic "x" { content { } }` makes blocks x."""
    if labels[0] != "dynamic" or len(labels) != 2:
        return labels[0], body
    content = [inner for name, inner in body.blocks if name == "content"]
    return labels[1], content[0] if content else Body()


def _check_lines(node: Tree, braces: bool) -> None:
    """HCL: one item a line, or a single argument between braces on one line."""
    children = node.children
    items = list(filter(_is_item, children))
    breaks = any(map(_ends_line, children))
    alone = len(items) == 1 and items[0].data == "attribute"
    if not items or (braces and alone and not breaks):
        return
    if braces and (_is_item(children[0]) or not _ends_line(children[0])):
        raise Refused(f"line {items[0].meta.line}: no new line after the {{")
    for item, following in zip(children, [*children[1:], None], strict=True):
        last = following is None and not braces  # the end of the file
        ended = _ends_line(item) or (following is not None and _ends_line(following))
        if _is_item(item) and not (ended or last):
            line = f"line {item.meta.end_line}"
            raise Refused(f"{line}: no new line after an argument or block")


def _is_item(node: Tree | Token) -> bool:
    return isinstance(node, Tree) and node.data in ("attribute", "block")


def _ends_line(node: Tree | Token) -> bool:
    """Whether a node ends with a line break; a heredoc does."""
    while isinstance(node, Tree):
        if node.data == "new_line_or_comment":
            return not all(token.startswith("/*") for token in node.children)
        if not node.children:
            return False
        node = node.children[-1]
    return node.type.startswith("HEREDOC")

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
from textwrap import dedent
from typing import Any

from hcl2.api import parses_to_tree
from lark import Token, Tree
from lark.exceptions import LarkError, UnexpectedInput

from course_utils.projects.inframind.code.blocks import (
    Body,
    Expression,
    Parsed,
    Resource,
    TopBlock,
)
from course_utils.projects.inframind.code.scanning import Refused, Scanner

LABELS = {  # how many each block of the top level must have
    **dict.fromkeys(("resource", "data", "ephemeral"), 2),
    **dict.fromkeys(("provider", "variable", "output", "module", "check"), 1),
    **dict.fromkeys(("locals", "terraform", "import", "moved", "removed"), 0),
}
TYPE_WORDS = {"list", "map", "set", "object", "tuple", "optional"}
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def parse_terraform(code: str) -> Parsed:
    """The blocks of a text; use `iac.parsing.parse`, which keeps what it parsed."""
    scanner = Scanner(code)
    try:
        start = parses_to_tree(scanner.scan())
        functions = _check_tree(start)
        parsed = _read(start.children[0], code)
    except (Refused, RecursionError, LarkError) as error:
        return Parsed(functions=tuple(scanner.namespaced), problem=_tell(error))
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
    place = f"line {error.line}, column {error.column}"
    return f"not Terraform: {place}: {str(token)[:40]!r} cannot stand here"


def _check_tree(start: Tree) -> tuple[str, ...]:
    """Names of all functions called; refuses what Terraform would not read."""
    functions = []
    types = set(map(id, _type_constraints(start.children[0])))
    waiting: list[tuple[Tree | Token, bool]] = [(start, False)]
    while waiting:  # no recursion: 1 + 1 + 1 … nests as deep as it is long
        node, in_type = waiting.pop()
        if isinstance(node, Token):
            if node.type == "STRING_CHARS" and (bad := bad_escape(node)):
                where = f"line {node.line}"
                raise Refused(f"{where}: {bad!r} is no escape sequence of HCL")
            continue
        in_type = in_type or id(node) in types
        if node.data == "function_call":
            named = [each for each in elements(node) if each.data == "identifier"]
            name = "::".join(map(name_of, named))
            if not (in_type and name in TYPE_WORDS):
                functions.append(name)
        elif node.data == "object":
            _check_object(node)
        waiting.extend((child, in_type) for child in reversed(node.children))
    return tuple(functions)


def _type_constraints(body: Tree) -> Iterator[Tree]:
    """The `type = …` of each `variable` block: words there are no functions."""
    for block in filter(_is_item, body.children):
        if name_of(block.children[0]) == "variable" and block.data == "block":
            for item in filter(_is_item, block.children[-2].children):
                if name_of(item.children[0]) == "type":
                    yield item


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
    for (keyword, *labels), inner in blocks:
        _check_labels(keyword, labels)
        if keyword == "resource":
            resources.append(Resource(labels[0], labels[1], inner))
        else:
            others.append(TopBlock(keyword, tuple(labels), inner))
    names = Counter(f"{resource.type}.{resource.name}" for resource in resources)
    for name, count in names.items():
        if count > 1:
            raise Refused(f"resource {name} is declared {count} times")
    return Parsed(tuple(resources), tuple(others), stray_arguments=tuple(arguments))


def _check_labels(keyword: str, labels: list[str]) -> None:
    wanted = LABELS.get(keyword, len(labels))
    if len(labels) != wanted:
        raise Refused(f"{keyword} block with {len(labels)} labels, expected {wanted}")
    for label in labels:
        if keyword in LABELS and not IDENTIFIER.fullmatch(label):
            raise Refused(f"{keyword} block: {label[:40]!r} cannot be a name")


def _items(
    node: Tree, code: str, *, braces: bool = True
) -> tuple[dict[str, Any], list[tuple[list[str], Body]]]:
    """Arguments by name, and blocks by their type and labels."""
    _check_lines(node, braces)
    arguments: dict[str, Any] = {}
    blocks = []
    for item in filter(_is_item, node.children):
        where = f"line {item.meta.line}"
        if item.data == "block":
            if any(map(_ends_line, item.children[:-3])):
                raise Refused(f"{where}: no {{ on the line of the block")
            given, inner = _items(item.children[-2], code)
            body = Body(given, tuple(_reduced(*block) for block in inner))
            blocks.append((labels_of(item, code), body))
            continue
        name = name_of(item.children[0])
        if name in arguments:
            raise Refused(f"{where}: {name} is given twice in a block")
        arguments[name] = value_of(item.children[-1], code)
    return arguments, blocks


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
    alone = len(items) == 1 and items[0].data == "attribute"
    if not items or (braces and alone and not any(map(_ends_line, children))):
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

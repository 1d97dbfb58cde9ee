"""Terraform code, read by python-hcl2 and held to what Terraform itself would load.

python-hcl2 is more lenient than Terraform: it lets two arguments stand on one line, an
argument stand twice, a label be anything. A reward that were as lenient would teach
that, so these are problems here. The text is parsed and never run.

Literals become values as Python has them. What only a run could know becomes an
`Expression` and is not descended into, so depth of recursion is the depth of brackets,
which the scanner has bounded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from textwrap import dedent
from typing import Any, NoReturn

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
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
TYPE_WORDS = {"list", "map", "set", "object", "tuple", "optional"}
WORDS = {"true": True, "false": False, "null": None}
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
MOST_DIGITS = 40  # more is no setting of a cloud; Python refuses above 4,300


def parse_terraform(code: str) -> Parsed:
    """The blocks of a text; use `parsing.parse`, which keeps what it parsed."""
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


def _refuse(line: int | None, what: str) -> NoReturn:
    raise Refused(f"line {line}: {what}")


def _check_tree(start: Tree) -> tuple[str, ...]:
    """Names of all functions called; refuses what Terraform would not read."""
    functions = []
    types = set(map(id, _type_constraints(start.children[0])))
    waiting: list[tuple[Tree | Token, bool]] = [(start, False)]
    while waiting:  # no recursion: 1 + 1 + 1 … nests as deep as it is long
        node, in_type = waiting.pop()
        if isinstance(node, Token):
            _check_escapes(node)
            continue
        in_type = in_type or id(node) in types
        if node.data == "function_call":
            named = [each for each in _elements(node) if each.data == "identifier"]
            name = "::".join(map(_word, named))
            if not (in_type and name in TYPE_WORDS):
                functions.append(name)
        elif node.data == "object":
            _check_object(node)
        waiting.extend((child, in_type) for child in reversed(node.children))
    return tuple(functions)


def _type_constraints(body: Tree) -> Iterator[Tree]:
    """The `type = …` of each `variable` block: words there are no functions."""
    for block in filter(_is_item, body.children):
        if block.data == "block" and _word(block.children[0]) == "variable":
            for item in filter(_is_item, block.children[-2].children):
                if _word(item.children[0]) == "type":
                    yield item


def _check_escapes(token: Token) -> None:
    for found in ESCAPE.finditer(token if token.type == "STRING_CHARS" else ""):
        if len(found[1]) == 1 and found[1] not in ESCAPES:
            _refuse(token.line, f"{found[0]!r} is no escape sequence of HCL")


def _check_object(node: Tree) -> None:
    """Elements of an object are separated by a comma or a line break."""
    previous = None
    for child in node.children[1:-1]:
        if isinstance(child, Tree) and child.data == "object_elem":
            if previous is not None and not _ends_line(previous):
                _refuse(child.meta.line, "no comma or new line before this element")
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
        if item.data == "block":
            *heads, inside = _elements(item)
            if any(map(_ends_line, item.children[:-3])):
                _refuse(item.meta.line, "no { on the line of the block")
            given, inner = _items(inside, code)
            body = Body(given, tuple(_reduced(*block) for block in inner))
            blocks.append(([_key(head, code) for head in heads], body))
            continue
        name = _word(item.children[0])
        if name in arguments:
            _refuse(item.meta.line, f"{name} is given twice in a block")
        arguments[name] = _value(item.children[-1], code)
    return arguments, blocks


def _reduced(labels: list[str], body: Body) -> tuple[str, Body]:
    """A nested block's name; `dynamic "x" { content { } }` makes blocks x."""
    if labels[0] != "dynamic" or len(labels) != 2:
        return labels[0], body
    return labels[1], next((b for name, b in body.blocks if name == "content"), Body())


def _check_lines(node: Tree, braces: bool) -> None:
    """HCL: one item a line, or a single argument between braces on one line."""
    children = node.children
    items = list(filter(_is_item, children))
    alone = len(items) == 1 and items[0].data == "attribute"
    if not items or (braces and alone and not any(map(_ends_line, children))):
        return
    if braces and (_is_item(children[0]) or not _ends_line(children[0])):
        _refuse(items[0].meta.line, "no new line after the {")
    for item, following in zip_longest(children, children[1:]):
        # Only at the end of the file does nothing have to follow
        ended = _ends_line(following) if following is not None else not braces
        if _is_item(item) and not (ended or _ends_line(item)):
            _refuse(item.meta.end_line, "no new line after an argument or block")


def _value(node: Tree, code: str) -> Any:
    """A literal, a list or a dict of such; else an `Expression`, quoted from `code`."""
    literal = None
    match node.data:
        case "expr_term":
            return _value(_elements(node)[0], code)
        case "literal_value":
            return WORDS[_word(node)]
        case "tuple":
            return [_value(child, code) for child in _elements(node)]
        case "object":  # later keys win, as in Terraform
            pairs = ((each.children[0], each.children[-1]) for each in _elements(node))
            return {_key(k.children[0], code): _value(v, code) for k, v in pairs}
        case "heredoc_template" | "heredoc_template_trim":
            return _heredoc(node)
        case "string":
            literal = _string(node)
        case "int_lit" | "float_lit" if len(text := _word(node)) <= MOST_DIGITS:
            return int(text) if node.data == "int_lit" else float(text)
        case "unary_op":
            literal = _negative(node, code)
    if literal is not None:
        return literal
    meta = node.meta
    text = "" if meta.empty else code[meta.start_pos : meta.end_pos].strip()
    return Expression(text, _merged(node, code))


def _merged(node: Tree, code: str) -> tuple[Any, ...]:
    """What a call of `merge` is given; nothing for any other expression."""
    if node.data != "function_call":
        return ()
    name, *given = _elements(node)
    if _word(name) != "merge" or len(given) != 1 or given[0].data != "arguments":
        return ()
    return tuple(_value(each, code) for each in _elements(given[0]))


def _key(node: Tree, code: str) -> str:
    """A key of an object, or a block's type or label, without quotes."""
    if node.data in ("keyword", "identifier", "literal_value"):
        return _word(node)
    key = _value(node, code)
    return key.text if isinstance(key, Expression) else str(key)


def _string(node: Tree) -> str | None:
    """The text of a string; None if it holds a template."""
    texts = []
    for part in node.children[1:-1]:
        token = part.children[0]
        if not isinstance(token, Token):
            return None
        # $${…} and %%{…} are literal ${…} and %{…}
        is_text = token.type == "STRING_CHARS"
        texts.append(ESCAPE.sub(_unescape, token) if is_text else token[1:])
    return "".join(texts)


def _unescape(found: re.Match[str]) -> str:
    if found[1] in ESCAPES:
        return ESCAPES[found[1]]
    number = int(found[1][1:], 16)
    return chr(number) if number <= 0x10FFFF else found[0]


def _negative(node: Tree, code: str) -> int | float | None:
    sign, term = node.children
    inner = _value(term, code) if sign == "-" else None
    is_number = isinstance(inner, int | float) and not isinstance(inner, bool)
    return -inner if is_number else None


def _heredoc(node: Tree) -> str:
    """The lines between the markers."""
    lines = _word(node).replace("\r\n", "\n").rstrip("\n").split("\n")
    text = "".join(f"{line}\n" for line in lines[1:-1])
    return dedent(text) if node.data == "heredoc_template_trim" else text


def _word(node: Tree) -> str:
    """The text of an identifier, keyword or literal."""
    return str(node.children[0])


def _elements(node: Tree) -> list[Tree]:
    """Subtrees of a node, without its line breaks and comments."""
    trees = [child for child in node.children if isinstance(child, Tree)]
    return [tree for tree in trees if tree.data != "new_line_or_comment"]


def _is_item(node: Tree | Token) -> bool:
    return isinstance(node, Tree) and node.data in ("attribute", "block")


def _ends_line(node: Tree | Token) -> bool:
    """Whether a node ends with a line break; a heredoc does."""
    while isinstance(node, Tree):
        if node.data == "new_line_or_comment":
            return not all(str(sign).startswith("/*") for sign in node.children)
        if not node.children:
            return False
        node = node.children[-1]
    return node.type.startswith("HEREDOC")

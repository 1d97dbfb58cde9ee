"""A first, linear look at Terraform code: is it closed, and is it cheap to parse?

python-hcl2 builds a tree of everything and then walks it; on some texts its regular
expressions need quadratic time. This scanner goes over the text once, keeps a stack of
what is open, and says no before the parser is called.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_HCL_DEPTH = 32  # brackets in each other; a real block reaches about 8
MAX_HCL_TOKENS = 4_000  # python-hcl2 needs about 30 µs for each; an answer has 100
MAX_MINUS_RUN = 64  # 1-1-1-1… costs python-hcl2's number pattern quadratic time

CLOSERS = {"{": "}", "[": "]", "(": ")", "${": "}", "%{": "}"}
CODE = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<line_comment>#[^\n]*|//[^\n]*)"
    r"|(?P<comment>/\*)"
    r"|<<-?(?P<heredoc>[A-Za-z][A-Za-z0-9._-]*)\r?\n"
    r"|(?P<quote>\")"
    r"|(?P<open>[{\[(])"
    r"|(?P<close>[}\])])"
    r"|(?P<name>[A-Za-z_][\w-]*(?:::[A-Za-z_][\w-]*)*)"
    r"|(?P<number>[0-9]+)"
    r"|(?P<other>.)"
)
QUOTED = re.compile(
    r"(?P<text>[^\"\\\n$%]+|\\.|\$\$\{|%%\{)"
    r"|(?P<open>[$%]\{)"
    r"|(?P<quote>\")"
    r"|(?P<newline>\n)"
    r"|(?P<other>[$%\\])"
)
MINUS_RUN = re.compile(rf"(?:-[0-9]){{{MAX_MINUS_RUN + 1}}}")


class Refused(ValueError):
    """The text is not closed, or too costly to parse; the message says which."""


@dataclass
class Scan:
    """What the scanner has seen so far.

    Attributes:
        namespaced: Names with `::`, in order.
        tokens: How many the code has; a comment counts as one.
    """

    namespaced: list[str] = field(default_factory=list)
    tokens: int = 0
    open: list[tuple[str, int]] = field(default_factory=list)  # what, position


def scan_terraform(code: str, scan: Scan) -> None:
    """Go over the text once, in linear time, and fill `scan`.

    Args:
        code: Terraform text.
        scan: Empty; filled as far as the scanner came.

    Raises:
        Refused: If a bracket, quote, comment or heredoc is not closed or closed by
            the wrong sign, a string holds a line break, or a limit is exceeded.
    """
    if MINUS_RUN.search(code):
        raise Refused(f"more than {MAX_MINUS_RUN} times '-digit' in a row")
    position = 0
    while position < len(code):
        quoted = bool(scan.open) and scan.open[-1][0] == '"'
        found = (QUOTED if quoted else CODE).match(code, position)
        position = found.end()
        kind = found.lastgroup
        if kind in ("space", "text"):
            continue
        scan.tokens += 1
        if scan.tokens > MAX_HCL_TOKENS:
            raise Refused(f"more than {MAX_HCL_TOKENS} tokens")
        if kind == "comment":
            position = _end_of_comment(code, found)
        elif kind == "heredoc":
            position = _end_of_heredoc(code, found)
        elif kind == "name" and "::" in found[0]:
            scan.namespaced.append(found[0])
        elif kind in ("open", "close", "quote", "newline"):
            _bracket(code, scan, found)
    if scan.open:
        what, where = scan.open[-1]
        raise Refused(f"the {what} of {_line(code, where)} is never closed: cut off?")


def _bracket(code: str, scan: Scan, found: re.Match[str]) -> None:
    """Open or close a bracket or a quote."""
    kind, sign = found.lastgroup, found[0]
    top, where = scan.open[-1] if scan.open else ("", 0)
    if kind == "newline":
        raise Refused(f'the " of {_line(code, where)} is not closed on its line')
    if kind == "open" or (kind == "quote" and top != '"'):
        scan.open.append((sign, found.start()))
        if len(scan.open) > MAX_HCL_DEPTH:
            raise Refused(f"nesting deeper than {MAX_HCL_DEPTH}")
    elif kind == "quote" or CLOSERS.get(top) == sign:
        scan.open.pop()
    else:
        opened = f"the {top} of {_line(code, where)}" if top else "nothing"
        here = _line(code, found.start())
        raise Refused(f"found {sign} in {here}, where {opened} is open")


def _end_of_comment(code: str, found: re.Match[str]) -> int:
    end = code.find("*/", found.end())
    if end < 0:
        raise Refused(f"the /* of {_line(code, found.start())} is never closed")
    return end + 2


def _end_of_heredoc(code: str, found: re.Match[str]) -> int:
    """The position before the line break of the closing marker's line."""
    start = found.end()
    while start < len(code):
        end = code.find("\n", start)
        end = len(code) if end < 0 else end
        if code[start:end].strip() == found["heredoc"]:
            return end
        start = end + 1
    marker = found[0].strip()
    raise Refused(f"the heredoc {marker} of {_line(code, found.start())} never ends")


def _line(code: str, position: int) -> str:
    return f"line {code.count(chr(10), 0, position) + 1}"

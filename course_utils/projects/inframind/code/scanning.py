"""A first, linear look at Terraform code: is it closed, and is it cheap to parse?

python-hcl2 builds a tree of everything and then walks it; on some texts its regular
expressions need quadratic time. This scanner goes over the text once, keeps a stack of
what is open, and says no before the parser is called. It also sees where a line ends,
about which python-hcl2 is more lenient than Terraform, and sometimes more strict.
"""

from __future__ import annotations

import re
from typing import NoReturn

MAX_HCL_DEPTH = 32  # brackets in each other; a real block reaches about 8
MAX_HCL_TOKENS = 4_000  # python-hcl2 needs about 30 µs for each; an answer has 100
MAX_MINUS_RUN = 64  # 1-1-1-1… costs python-hcl2's number pattern quadratic time

CORE = "core::"  # Terraform's own functions by their long name, which few know
CLOSERS = {"{": "}", "{for": "}", "[": "]", "(": ")", "${": "}", "%{": "}"}
ONE_LINE = ("${", "%{", "{for")  # line breaks within mean nothing to Terraform
CODE = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<line_comment>(?:#|//)[^\n]*)"
    r"|(?P<comment>/\*)"
    r"|<<-?(?P<heredoc>[A-Za-z][A-Za-z0-9._-]*)\r?\n"
    r"|(?P<quote>\")"
    r"|(?P<open>[{\[(])"
    r"|(?P<close>[}\])])"
    r"|(?P<name>[A-Za-z_][\w-]*(?:::[A-Za-z_][\w-]*)*)"
    r"|(?P<address>(?<!\.)[0-9]+\.[0-9]+\.[0-9]+)"
    r"|(?P<number>[0-9]+)"
    r"|(?P<operator>[-+*/%<>=!&|?:])"
    r"|(?P<other>\.\*|.)"
)
QUOTED = re.compile(
    r"(?P<text>[^\"\\\n$%]+|\\.|\$\$\{|%%\{)"
    r"|(?P<open>[$%]\{)"
    r"|(?P<quote>\")"
    r"|(?P<newline>\n)"
    r"|(?P<other>[$%\\])"
)
FOR = re.compile(r"\{\s*for\s+\w")
MINUS_RUN = re.compile(rf"(?:-[0-9]){{{MAX_MINUS_RUN + 1}}}")


class Refused(ValueError):
    """The text is not closed, or too costly to parse; the message says which."""


class Scanner:
    """Goes over one text in linear time."""

    def __init__(self, code: str) -> None:
        self.namespaced: list[str] = []  # names with `::`, as far as the scanner came
        self._code = code
        self._mended = list(code)
        self._open: list[tuple[str, int]] = []  # what, position

    def scan(self) -> str:
        """The text in a form that python-hcl2 reads, every character in its place.

        Raises:
            Refused: If a bracket, quote, comment or heredoc is not closed or closed by
                the wrong sign, a string holds a line break, a line stops within an
                expression, or a limit is exceeded.
        """
        if MINUS_RUN.search(self._code):
            raise Refused(f"more than {MAX_MINUS_RUN} times '-digit' in a row")
        code, position, tokens = self._code, 0, 0
        last, line_ended = None, False  # the last sign of code, and what follows
        # Both patterns take every sign, so it is the end where none is found
        while found := (QUOTED if self._top == '"' else CODE).match(code, position):
            kind = found.lastgroup
            tokens += kind not in ("space", "text")
            if tokens > MAX_HCL_TOKENS:
                raise Refused(f"more than {MAX_HCL_TOKENS} tokens")
            if kind in ("space", "line_comment", "comment"):
                position = self._skip(found)
                line_ended |= "\n" in found[0]
                continue
            operator = found if kind == "operator" else None
            if line_ended and self._top in ("", "{") and (sign := last or operator):
                self._refuse_operator(sign)
            last, line_ended = operator, False
            position = self._take(kind, found)
        if self._open:
            raise Refused(f"{self._opened()} is never closed: cut off?")
        return "".join(self._mended)

    @property
    def _top(self) -> str:
        return self._open[-1][0] if self._open else ""

    def _skip(self, found: re.Match[str]) -> int:
        """Past blanks or a comment, with no line break where python-hcl2 wants none."""
        end = found.end()
        if found.lastgroup == "comment":
            end = self._code.find("*/", end) + 2
            if end < 2:
                raise Refused(f"the /* of {self._line(found.start())} is never closed")
        if self._top in ONE_LINE:
            self._mended[found.start() : end] = " " * (end - found.start())
        return end

    def _take(self, kind: str | None, found: re.Match[str]) -> int:
        """Note one token of code; the position after it."""
        if kind in ("name", "other") and not found[0].isascii():
            where = self._line(found.start())
            raise Refused(f"{where}: {found[0]!r} not quoted: names are read in ASCII")
        if kind == "heredoc":
            return self._end_of_heredoc(found)
        if kind == "address":
            line = self._line(found.start())
            raise Refused(f"{line}: {found[0]} is no number, and stands in no quotes")
        if kind == "name" and found[0].startswith(CORE):
            self._mended[found.start() : found.start() + len(CORE)] = " " * len(CORE)
        elif kind == "name" and "::" in found[0]:
            self.namespaced.append(found[0])
        elif kind in ("open", "close", "quote", "newline"):
            self._bracket(kind, found[0], found.start())
        return found.end()

    def _bracket(self, kind: str, sign: str, start: int) -> None:
        """Open or close a bracket or a quote."""
        if kind == "newline":
            raise Refused(f"{self._opened()} is not closed on its line")
        if kind == "open" or (kind == "quote" and self._top != '"'):
            self._open.append(("{for" if FOR.match(self._code, start) else sign, start))
            if len(self._open) > MAX_HCL_DEPTH:
                raise Refused(f"nesting deeper than {MAX_HCL_DEPTH}")
        elif kind == "quote" or CLOSERS.get(self._top) == sign:
            self._open.pop()
        else:
            there = self._opened() if self._open else "nothing"
            raise Refused(f"found {sign} in {self._line(start)}, where {there} is open")

    def _refuse_operator(self, sign: re.Match[str]) -> NoReturn:
        """Between braces an expression stops with its line."""
        where = f"{self._line(sign.start())}: the line stops at {sign[0]!r}"
        raise Refused(f"{where}, within an expression that has no parentheses")

    def _end_of_heredoc(self, found: re.Match[str]) -> int:
        """The position before the line break of the closing marker's line."""
        marker = rf"^[ \t]*{re.escape(found['heredoc'])}(?P<blanks>[ \t]*)\r?$"
        end = re.compile(marker, re.M).search(self._code, found.end())
        if end is None:
            name, line = found[0].strip(), self._line(found.start())
            raise Refused(f"the heredoc {name} of {line} never ends")
        blanks, after = end.start("blanks"), end.end() + 1  # moved to the next line
        tail = self._code[blanks:after]
        self._mended[blanks:after] = tail.lstrip(" \t").ljust(len(tail))
        return end.end()

    def _opened(self) -> str:
        what, where = self._open[-1]
        return f"the {what.removesuffix('for')} of {self._line(where)}"

    def _line(self, position: int) -> str:
        return f"line {self._code.count(chr(10), 0, position) + 1}"

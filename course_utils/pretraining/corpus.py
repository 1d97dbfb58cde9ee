"""A corpus that every Python brings along: what its standard library says of itself.

Docstrings of the library's modules and the language's reference are two million
characters of English on one subject. Nothing is downloaded, nothing of it is kept in
the project, and another version of Python has slightly other pages.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from pydoc_data.topics import topics

LEAST = 40  # characters from which on a paragraph that comes again is a repeat
_LEFT_OUT = {"test", "tests", "idle_test", "idlelib", "lib2to3", "site-packages"}

Pages = dict[str, str]  # name of a page, and its text


def python_pages(library: Path | None = None) -> Pages:
    """Docstrings by module, then the reference by topic, in the order of their names.

    Tests and whatever was installed later are left out, and so is a file that this
    Python cannot parse.
    """
    root = library or Path(sysconfig.get_path("stdlib"))
    files = (path.relative_to(root) for path in sorted(root.rglob("*.py")))
    wanted = (path for path in files if not _LEFT_OUT & set(path.parts))
    read = {path.as_posix(): _all_of(root / path) for path in wanted}
    reference = {f"topic {name}": text for name, text in sorted(topics.items())}
    return {name: text for name, text in (read | reference).items() if text.strip()}


def _all_of(path: Path) -> str:
    return "\n\n".join(filter(None, _docstrings(path)))


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def paragraphs(text: str) -> list[str]:
    """Parts of a page between empty lines."""
    return [part for part in re.split(r"\n\s*\n", text) if part.strip()]


def same_when(paragraph: str) -> str:
    """What two paragraphs have in common that are the same but for their spaces."""
    return " ".join(paragraph.split())


def repeated_in(text: Iterable[str], known: Iterable[str]) -> list[str]:
    """Paragraphs of `LEAST` characters or more that stand in the known pages too."""
    there = {same_when(part) for page in known for part in paragraphs(page)}
    return [
        part
        for page in text
        for part in paragraphs(page)
        if len(same_when(part)) >= LEAST and same_when(part) in there
    ]


def without_repeats(pages: Mapping[str, str]) -> Pages:
    """Each paragraph once, on the first page that has it; short ones may come again."""
    seen: set[str] = set()

    def first_time(part: str) -> bool:
        key = same_when(part)
        if len(key) < LEAST:
            return True
        known, _ = key in seen, seen.add(key)
        return not known

    kept = {
        name: "\n\n".join(part for part in paragraphs(text) if first_time(part))
        for name, text in pages.items()
    }
    return {name: text for name, text in kept.items() if text}


@dataclass(frozen=True)
class Corpus:
    """Pages to learn from, and pages that are held out."""

    train: Pages
    held_out: Pages

    @classmethod
    def split(cls, pages: Mapping[str, str], one_in: int = 10) -> Corpus:
        """A page is held out, or not, by its name alone, whatever others there are.

        Pages to learn from come in the order of their names' digests, so that a part
        of them, cut off anywhere, has a bit of everything.
        """
        by_digest = sorted((sha256(name.encode()).digest(), name) for name in pages)
        held = {name for digest, name in by_digest if digest[0] % one_in == 0}
        chosen = [name for _, name in by_digest]
        return cls(
            {name: pages[name] for name in chosen if name not in held},
            {name: pages[name] for name in chosen if name in held},
        )

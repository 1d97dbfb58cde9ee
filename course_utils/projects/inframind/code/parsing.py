"""Code of an answer: found, held to limits, parsed once.

A reward is computed for thousands of answers, and training looks for whatever scores.
So a text that could keep a parser busy is refused before the parser sees it, and a
text that was parsed is remembered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from course_utils.projects.inframind.code.blocks import LANGUAGES, Parsed
from course_utils.projects.inframind.code.kubernetes import parse_kubernetes
from course_utils.projects.inframind.code.terraform import parse_terraform

MAX_CHARACTERS = 16_000  # 40 times the longest answer that the course trains on
MAX_BLANK_RUN = 200  # spaces in a row; python-hcl2's heredocs need their square
MAX_FENCES = 16  # blocks of an answer that are looked at
REMEMBERED_TEXTS = 2_048  # at most 32 MB of text, usually below 1 MB

FENCED = re.compile(  # as CommonMark has it
    r"^ {0,3}(?P<marks>`{3,}|~{3,})(?P<info>[^`\n]*)(?:\n|\Z)(?P<code>.*?)"
    r"(?P<end>(?:^|\n) {0,3}(?P=marks)(?:(?<=`)`*|(?<=~)~*)[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
BLANK_RUN = re.compile(rf"\s{{{MAX_BLANK_RUN + 1}}}")
TAGS = {  # by which an answer says what a fenced block holds
    "terraform": {"hcl", "tf", "terraform", "opentofu"},
    "kubernetes": {"yaml", "yml", "kubernetes", "k8s"},
}
BYTE_ORDER_MARK = "\ufeff"  # Windows editors write it, both languages skip it


@dataclass(frozen=True)
class Extract:
    """The code of an answer, and what stands around it."""

    code: str  # of one fenced block, or the whole text without one
    prose: bool = False  # whether there is text outside of the fenced block
    unclosed: bool = False  # whether the fenced block is opened and never closed


def extract(text: str, language: str) -> Extract:
    """The first fenced block of an answer in a language, or all of the answer.

    In a language is what its tag says (see TAGS) or what parses: a block of shell
    commands before it is passed over. Where no block is, the first stands for all.
    Fences are those of CommonMark: three or more backticks or tildes, at most three
    spaces before them, a tag or none. A fence that is never closed ends with the text.
    A text over MAX_CHARACTERS is returned as it is; `parse` refuses it.
    """
    if len(text) > MAX_CHARACTERS:
        return Extract(text)
    text = text.replace("\r\n", "\n")
    blocks = list(islice(FENCED.finditer(text), MAX_FENCES))
    if not blocks:
        return Extract(text)
    found = next((each for each in blocks if _holds(each, language)), blocks[0])
    around = text[: found.start()] + text[found.end() :]
    return Extract(found["code"], bool(around.strip()), unclosed=not found["end"])


def _holds(block: re.Match[str], language: str) -> bool:
    tag = block["info"].strip().casefold().split(" ")[0]
    return tag in TAGS[language] or parse(block["code"], language).problem is None


def parse(code: str, language: str) -> Parsed:
    """The blocks or manifests of a text; what is wrong stands in `problem`.

    Time and memory are bounded: a text over one of the limits is refused before a
    parser sees it, and the last REMEMBERED_TEXTS results are kept. `code` has no fence
    (see `extract`).

    Raises:
        ValueError: If `language` is not one of LANGUAGES.
    """
    if language not in LANGUAGES:
        raise ValueError(
            f"Found language {language!r}, expected one of {', '.join(LANGUAGES)}. "
            "A request of language 'none' wants no code: see `reward.writes_code`."
        )
    if problem := _refusal(code):
        return Parsed(problem=problem)
    return _parse(code, language)


@lru_cache(maxsize=REMEMBERED_TEXTS)
def _parse(code: str, language: str) -> Parsed:
    reader = parse_terraform if language == "terraform" else parse_kubernetes
    return reader(code.removeprefix(BYTE_ORDER_MARK))


def _refusal(code: str) -> str | None:
    """Why a text is not given to any parser."""
    if len(code) > MAX_CHARACTERS:
        return f"{len(code)} characters, at most {MAX_CHARACTERS} are read"
    if odd := UNPRINTABLE.search(code):
        return f"character U+{ord(odd[0]):04X} at {odd.start()} stands in no code"
    if BLANK_RUN.search(code):
        return f"more than {MAX_BLANK_RUN} blanks in a row"
    return None

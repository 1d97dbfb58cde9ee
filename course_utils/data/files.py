"""Data files held against a pydantic form, with every fault named at once.

JSON lines, YAML and tables all end in the same `FaultyData`. Where one cause
explains the faults (an array in place of lines, another encoding, other keys), the
cause is named instead of its thousand consequences.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, NoReturn, TypeVar, cast

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from course_utils import CourseError

Row = TypeVar("Row")
_Place = tuple[int | str, ...]
Problem = tuple[str, str, str]  # field, found, expected
SHOWN_FAULTS = 20
_LINES = "one JSON object a line"
_OBJECT = "one JSON object"
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what Python makes of such a byte
_FORMATS = {  # by the beginning of a file: what it is, and the way out
    "PK\x03\x04": ("a spreadsheet or a zip archive", "Save {} as CSV, or unpack it."),
    "PAR1": ("a Parquet table", "Export it: pandas.read_parquet('{}')"),
    "version https://git-lfs": ("a pointer of Git LFS", "Fetch {}: git lfs pull"),
    "<": ("a web page", "Download {} itself, not the page that shows it."),
    "\udcff\udcfe|\udcfe\udcff|.{0,3}\0": (
        "text in UTF-16 or UTF-32",
        "Save it as UTF-8: iconv -f UTF-16 -t UTF-8 {}",
    ),
}
_RENAMED = {  # keys of other schemas, by what they are here
    "conversations": "messages",
    "prompt": "instruction",
    "context": "input",
    "response": "output",
    "completion": "output",
}
_SHAREGPT = "in it from to role (human is user, gpt is assistant), value to content"
_EXPECTED = {  # what pydantic words for programmers
    **dict.fromkeys(("list_type", "tuple_type", "frozen_set_type"), "a list"),
    **dict.fromkeys(("model_type", "dataclass_type", "dict_type"), "an object"),
    **{"string_type": "a string", "string_pattern_mismatch": "some text"},
    "int_parsing": "a whole number",
}
Text = Annotated[str, Field(pattern=r"\S")]  # more than blanks


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a data file."""

    file: str
    line: int
    field: str
    found: str
    expected: str
    unit: str = "line"  # that `line` counts; `row` in a file whose rows have none

    def __str__(self) -> str:
        return (
            f"{self.file}, {self.unit} {self.line}, {self.field}: "
            f"found {self.found}, expected {self.expected}"
        )


class FaultyData(CourseError, ValueError):
    """A data file cannot be used: `faults` is all of it, the message the first ones."""

    def __init__(self, faults: Sequence[Fault], way_out: str | None = None):
        self.faults = tuple(faults)
        files = ", ".join(sorted({fault.file for fault in faults}))
        number = "1 fault" if len(faults) == 1 else f"{len(faults):,} faults"
        lines = [f"  {fault}" for fault in faults[:SHOWN_FAULTS]]
        if more := len(faults) - len(lines):
            lines.append(f"  … and {more:,} more")
        head = f"{number} in {files}; nothing was loaded:"
        way_out = way_out or "Mend these lines and load the file again."
        super().__init__("\n".join([head, *lines, way_out]))


def refusal(expected: str, found: str = "", field: str = "") -> PydanticCustomError:
    """What a validator raises; without `found` the fault shows the value itself."""
    context = {"expected": expected, "found": found, "field": field}
    return PydanticCustomError("refusal", "{expected}", context)


def spelled(value: object) -> str:
    """A value as a fault shows it: short, however long or deep it is."""
    short = Repr()
    short.maxstring = short.maxother = 60
    return "nothing" if value is None else short.repr(value)[:80]


def validated(
    form: TypeAdapter[Row], content: Any, file: str, line_of: Callable[[_Place], int]
) -> tuple[Row | None, list[Fault]]:
    """What a form makes of a file's content, or None; and every fault.

    `line_of` gives the line of a place within the content.
    """
    try:
        return form.validate_python(content), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
        return None, [Fault(file, line_of(e["loc"]), *_problem(e)) for e in errors]


def _problem(error: ErrorDetails) -> Problem:
    """An error of pydantic's in the words of a fault."""
    kind, place, context = error["type"], error["loc"], error.get("ctx", {})
    words = error["msg"].removeprefix("Input should be ")
    found, expected = spelled(error["input"]), _EXPECTED.get(kind, words)
    if kind == "missing":
        there = ", ".join(map(str, error["input"])) or "none"
        found, expected = f"nothing among the keys {there:.80}", f"the key {place[-1]}"
    elif kind == "unexpected_keyword_argument":
        found, expected = f"the key {place[-1]!r}", "no such key: a typing error?"
    elif kind == "refusal":
        place += (context["field"],) if context["field"] else ()
        found = context["found"] or found
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in place]
    return "".join(steps).removeprefix(".") or "file", found, expected


def read_text(path: Path) -> str:
    """A file as text, unpacked; bytes that are no UTF-8 stay in it as lone surrogates.

    FaultyData if it is a folder, an archive, or in another encoding.
    """
    if path.is_dir():
        inside = ", ".join(sorted(entry.name for entry in path.iterdir())[:5])
        refuse(path, "a folder", f"Name a file in it: {inside}", "a file")
    written = path.read_bytes()
    if written.startswith(b"\x1f\x8b"):
        try:
            written = gzip.decompress(written)
        except (OSError, EOFError, zlib.error) as error:
            refuse(path, f"a broken gzip archive ({error})", "Download it again.")
    text = written.decode("utf-8-sig", errors="surrogateescape")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for begin, (what, way_out) in _FORMATS.items():
        if re.match(begin, text, re.DOTALL):
            refuse(path, what, way_out.format(path.name), "text in UTF-8")
    return text


def refuse(path: Path, found: str, way_out: str, expected: str = _LINES) -> NoReturn:
    """FaultyData of one fault that the whole file has."""
    raise FaultyData([Fault(path.name, 1, "file", found, expected)], way_out)


def read_rows(
    path: Path,
    form: type[BaseModel],
    make: Callable[[dict[str, Any]], Row],
    check: Callable[[int, Row], Iterable[Problem]] = lambda line, row: (),
) -> list[Row]:
    """All rows of a JSONL file, or none.

    Args:
        path: UTF-8, one JSON object a line.
        form: What a line must be; its `id` must differ from every other.
        make: The row of an object that fits the form.
        check: What is wrong with a row among the others, given its line.

    Raises:
        FaultyData: With every fault: file, line, field, found, expected.
    """
    text, adapter = read_text(path), TypeAdapter(form)
    contents, faults, rows, ids = [], [], [], {}
    for line, written in enumerate(text.split("\n"), start=1):
        if not written.strip():
            continue
        try:
            contents.append(content := parsed(written))
        except ValueError as error:
            if not contents and not faults:
                refuse_other_format(path, text, written.strip())
            faults.append(Fault(path.name, line, "line", *error.args))
            continue
        _, wrong = validated(adapter, content, path.name, lambda _, at=line: at)
        name = content.get("id")
        if isinstance(name, str) and ids.setdefault(name, line) != line:
            found = f"{name!r} as in line {ids[name]}"
            wrong.insert(0, Fault(path.name, line, "id", found, "a new id"))
        elif not wrong:
            rows.append(make(content))
            wrong = [Fault(path.name, line, *p) for p in check(line, rows[-1])]
        faults += wrong
    if not contents and not faults:
        refuse(path, "no rows", "Is it the right file?")
    if faults:
        raise _faulty(path.name, form, contents, faults)
    return rows


def parsed(written: str) -> dict[str, Any]:
    """The object of a line; else a ValueError of what was found and expected."""
    if odd := _NOT_UTF8.search(written):
        byte = f"byte {ord(odd[0]) - 0xDC00:#04x} at {odd.start()}"
        raise ValueError(byte, "UTF-8 text")
    try:
        value = json.loads(written, object_pairs_hook=unique, parse_constant=no_number)
    except json.JSONDecodeError as error:
        found = f"{error.msg} at {error.pos}"
    except RecursionError:
        found = "brackets nested too deep"
    except ValueError as error:  # of the hooks, or of an integer of 5,000 digits
        found = str(error).partition(";")[0]
    else:
        return one_object(value)
    raise ValueError(found, _OBJECT)


def one_object(value: Any) -> dict[str, Any]:
    """A value of JSON that is an object of whole characters; else a ValueError."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        if isinstance(value, dict):
            return value
        found = spelled(value)
    except UnicodeEncodeError:
        found = "half of a character, one of \\ud800 to \\udfff"
    except RecursionError:
        found = "brackets nested too deep"
    raise ValueError(found, _OBJECT)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; ValueError for a key that stands twice."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} twice")
    return dict(pairs)


def no_number(constant: str) -> NoReturn:
    """ValueError for NaN and Infinity, which Python reads."""
    raise ValueError(f"{constant}, which is no JSON")


def refuse_other_format(path: Path, text: str, first: str) -> None:
    """FaultyData that names a file's format, if it is a known one without rows."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    several, row = "\n" in text.strip(), re.search(r"^[ \t]*\{.*\}$", text, re.M)
    mend = "Write one a line: jq -c {} " + f"{path.name} > {path.stem}_lines.jsonl"
    unclosed = several and not row and re.match(r"\[(?!.*\]$)", first)
    if isinstance(whole, list) or unclosed:
        size = f" of {len(whole):,} entries" if whole else ""
        refuse(path, f"a JSON array{size}", mend.format("'.[]'"))
    if (several and isinstance(whole, dict)) or (first == "{" and not row):
        refuse(path, "JSON objects over several lines", mend.format("."))
    if re.search("[,;\t]", first) and not row and first[0] not in "{[":
        mend = f"Let pandas.read_csv('{path.name}').to_json write {_LINES}."
        refuse(path, f"a table with the columns {first:.80}", mend)


def _faulty(
    file: str, form: type[BaseModel], contents: list[dict], faults: list[Fault]
) -> FaultyData:
    """The faults; that all rows lack the same keys is one cause, and one fault."""
    fields = form.model_fields
    there = list(dict.fromkeys(key for row in contents for key in row))
    needed = [name for name, field in fields.items() if field.is_required()]
    lacking = [name for name in needed if name not in there]
    names = {key: _RENAMED.get(key.lower(), key.lower()) for key in there}
    ways = [f"{k} to {v}" for k, v in names.items() if v in fields and v not in there]
    if not lacking or (len(contents) < 2 and not ways):
        return FaultyData(faults)
    ways += [_SHAREGPT] if "conversations" in there else []
    found, expected = f"the keys {', '.join(there[:20])}", ", ".join(fields)
    cause = Fault(file, 1, ", ".join(lacking), found, expected)
    others = [fault for fault in faults if fault.field not in lacking]
    rename = f"Rename {', '.join(ways)}. " if ways else ""
    number = "Give each row an id, such as its number." if "id" in lacking else ""
    return FaultyData([cause, *others], rename + number)


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice; YAML readers keep the last and say nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        for at, (key, _) in enumerate(node.value):
            if key.value in keys[:at]:
                problem = f"the key {key.value!r} twice"
                raise yaml.MarkedYAMLError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


def read_table(path: Path, entry: Any, below: str = "") -> dict[str, Any]:
    """The named entries of a YAML file, or those below one of its keys.

    `entry` is their type; a dataclass takes no key that is not a field. Raises as
    `read_rows` does.
    """
    form = TypeAdapter(dict[str, entry], config={"extra": "forbid"})
    node, content = _yaml(path)
    if below:
        content = content.get(below) if isinstance(content, dict) else None
    where = (below,) if below else ()
    made, faults = validated(form, content, path.name, lambda p: _line(node, where + p))
    if faults or not made:
        raise FaultyData(faults or [Fault(path.name, 1, "file", "no entries", "some")])
    return made


def read_tables(folder: Path, entry: Any) -> dict[str, tuple[Any, str]]:
    """The entries of all YAML files of a folder, each with the stem of its file.

    Files in the order of their names. Raises as `read_table` does, with the faults of
    all files at once; an entry that stands in two files is one.
    """
    made: dict[str, tuple[Any, str]] = {}
    faults: list[Fault] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            table = read_table(path, entry)
        except FaultyData as error:
            faults += error.faults
            continue
        for key, value in table.items():
            if key in made:
                found = f"{key!r} as in {made[key][1]}.yaml"
                faults.append(Fault(path.name, 1, key, found, "a new key"))
            made.setdefault(key, (value, path.stem))
    if faults:
        raise FaultyData(faults)
    if not made:
        refuse(folder, "no YAML file", "Restore it from git.", "tables")
    return made


def read_settings(path: Path, form: type[Row], way_out: str) -> Row:
    """A YAML file that is one object, such as a recipe of one's own; see `read_table`.

    A key that is misspelt is named with the one that is meant; the message ends in
    `way_out`.
    """
    node, content = _yaml(path)
    made, faults = validated(
        TypeAdapter(form), content, path.name, lambda p: _line(node, p)
    )
    known = {field.name for field in dataclasses.fields(cast(Any, form))}
    there = content if isinstance(content, dict) else {}
    if faults or made is None:
        near = {k: get_close_matches(str(k), known, 1) for k in there if k not in known}
        meant = (f"Is {k} meant to be {near[k][0]}? " for k in near if near[k])
        raise FaultyData(faults, "".join(meant) + way_out)
    return made


def _yaml(path: Path) -> tuple[yaml.Node | None, Any]:
    """The nodes of a YAML file, which know their lines, and its content."""
    try:
        loader = _UniqueKeys(read_text(path))
        node = loader.get_single_node()
        return node, loader.construct_document(node) if node else None
    except (yaml.YAMLError, RecursionError) as error:
        found = getattr(error, "problem", None) or str(error).partition("\n")[0]
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        raise FaultyData([Fault(path.name, line, "line", found, "YAML")]) from None


def _line(node: yaml.Node | None, place: _Place, line: int = 1) -> int:
    """Where the last key of a place stands, as far as the file has it."""
    pairs = node.value if place and isinstance(node, yaml.MappingNode) else ()
    for key, value in pairs:
        if key.value == str(place[0]):
            return _line(value, place[1:], key.start_mark.line + 1)
    return line

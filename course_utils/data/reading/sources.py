"""What a file, a folder or a set on the hub holds: objects, each with its place.

JSON in any arrangement, tables of any separator, Parquet, gzip. `datasets` reads the
hub; it gives no line of a fault and refuses a column of two types, so files are parsed
here.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from course_utils import CourseError
from course_utils.data.files import (
    Fault,
    FaultyData,
    no_number,
    one_object,
    parsed,
    read_text,
    refuse,
    unique,
)

_ENDINGS = ("jsonl", "json", "ndjson", "csv", "tsv", "parquet")
_SPLITS = {"validation": ("validation", "valid", "val", "dev", "eval")}
_WRAPPERS = ("data", "rows", "train", "examples", "instances", "items")
_BETWEEN = re.compile(r"[\s,]*")  # values of JSON that follow each other


class NoSuchData(CourseError, FileNotFoundError):
    """There is no such file, and no such data set on the hub."""


@dataclass
class Entries:
    """What a source holds before it is understood."""

    name: str  # of the file or the data set, as faults give it
    objects: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    noticed: list[str] = field(default_factory=list)  # sentences
    unit: str = "line"  # of the places of objects and faults; else `row`, from 1
    way_out: str | None = None  # of all faults, where they have one cause

    def fault(self, place: int, where: str, found: str, expected: str) -> Fault:
        """A fault at a place of this source."""
        return Fault(self.name, place, where, found, expected, self.unit)


def entries_of(source: str | Path, revision: str | None, split: str) -> Entries:
    """The objects of a path or of a hub id; see `own_rows.read_rows`.

    FaultyData for a file that holds none; NoSuchData if there is nothing of that name.
    """
    path, name = Path(source).expanduser(), str(source)
    if path.is_dir():
        return _of_folder(path, split)
    if path.is_file():
        return _of_file(path)
    is_hub_id = re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", name)
    if is_hub_id and not _has_data_ending(path):
        return _of_hub(name, revision, split)
    near = get_close_matches(path.name, _names_in(path.parent), cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}?" if near else "Is the path right?"
    raise NoSuchData(
        f"There is no file {name!r} in {Path.cwd()}, and a data set on the hub has a "
        f"name such as org/set. {hint}"
    )


def _names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def _has_data_ending(path: Path) -> bool:
    return path.name.removesuffix(".gz").rpartition(".")[2].lower() in _ENDINGS


def _of_folder(folder: Path, split: str) -> Entries:
    """The file of a split, or the only file there; or what `datasets` saved."""
    if (folder / "state.json").exists() or (folder / "dataset_dict.json").exists():
        return _of_saved(folder, split)
    found = [path for path in sorted(folder.iterdir()) if _has_data_ending(path)]
    stems = _SPLITS.get(split, (split,))
    named = [path for path in found if path.name.partition(".")[0] in stems]
    chosen = named or (found if split == "train" else [])
    if len(chosen) != 1:
        there = ", ".join(_names_in(folder)[:8]) or "nothing"
        way_out = f"Name one file of it, or call one {split}.jsonl."
        refuse(folder, f"a folder with {there}", way_out, f"one file for {split}")
    entries = _of_file(chosen[0])
    entries.noticed.insert(0, f"Of the folder {folder.name}, {chosen[0].name} is read.")
    return entries


def _of_saved(folder: Path, split: str) -> Entries:
    from datasets import DatasetDict, load_from_disk

    saved = load_from_disk(folder)
    if isinstance(saved, DatasetDict):
        if split not in saved:
            way_out = "Save one under that name, or name another."
            refuse(folder, f"splits {', '.join(map(str, saved))}", way_out, split)
        saved = saved[split]
    return _of_list(saved.to_list(), folder.name)


def _of_hub(name: str, revision: str | None, split: str) -> Entries:
    import datasets

    name, _, configuration = name.partition(":")
    chosen: dict[str, Any] = {"name": configuration} if configuration else {}
    try:
        table = datasets.load_dataset(name, split=split, revision=revision, **chosen)
    except Exception as error:  # of the hub, the network, the data set's own form
        reason = " ".join(str(error).split())
        raise NoSuchData(
            f"{name} cannot be read from the hub: {reason:.400}. There is no file of "
            "that name either. Is it spelt right, public, and the network there? A "
            "configuration is named as in org/set:configuration."
        ) from error
    return _of_list(table.to_list(), name)


def _of_list(rows: Sequence[dict[str, Any]], name: str) -> Entries:
    """Rows of a table, in which what is absent is None."""
    return Entries(name, list(enumerate(rows, start=1)), unit="row")


def _of_file(path: Path) -> Entries:
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            return _of_parquet(path)
    text = read_text(path)
    if odd := re.search("[\udc80-\udcff]", text):
        byte, line = ord(odd[0]) - 0xDC00, text.count("\n", 0, odd.start()) + 1
        fault = Fault(path.name, line, "file", f"byte {byte:#04x}", "text in UTF-8")
        way_out = f"From an old Windows? Then: iconv -f CP1252 -t UTF-8 {path.name}"
        raise FaultyData([fault], way_out)
    if not text.strip():
        refuse(path, "no rows", "Is it the right file?", "rows")
    if text.lstrip()[0] in "[{":
        return _unwrapped(_of_json(path, text))
    return _of_table(path, text.lstrip("\n"))


def _of_parquet(path: Path) -> Entries:
    from pyarrow import ArrowException, parquet

    try:
        return _of_list(parquet.read_table(path).to_pylist(), path.name)
    except ArrowException as error:
        reason = f"a broken Parquet table ({error})"
        refuse(path, reason, "Download it again.", "a whole one")


def _of_json(path: Path, text: str) -> Entries:
    """One object a line; else whatever follows each other, arrays or spread objects."""
    entries = Entries(path.name)
    for line, written in enumerate(text.split("\n"), start=1):
        if written.strip():
            try:
                entries.objects.append((line, parsed(written)))
            except ValueError as error:
                entries.faults.append(Fault(path.name, line, "line", *error.args))
    if not entries.faults:
        return entries
    try:
        return _flat(path.name, _stream(text))
    except json.JSONDecodeError as error:
        is_array = text.lstrip()[0] == "["
        if is_array or not entries.objects:
            what = "a JSON array that goes on" if is_array else "JSON"
            found = f"{error.msg} in column {error.colno}"
            entries = Entries(path.name, way_out="Is the file whole? Mend that place.")
            entries.faults = [Fault(path.name, error.lineno, "file", found, what)]
    except ValueError:  # a key twice, no number, brackets too deep: as in the lines
        pass
    return entries


def _stream(text: str) -> list[tuple[int, Any]]:
    """All values of a text, each with its line, whatever separates them."""
    decoder = json.JSONDecoder(object_pairs_hook=unique, parse_constant=no_number)
    values, at, line = [], 0, 1
    while gap := _BETWEEN.match(text, at):
        if gap.end() == len(text):
            break
        line += text.count("\n", at, gap.end())
        try:
            value, at = decoder.raw_decode(text, gap.end())
        except RecursionError:
            raise ValueError("brackets nested too deep") from None
        values.append((line, value))
        line += text.count("\n", gap.end(), at)
    return values


def _flat(name: str, values: Sequence[tuple[int, Any]]) -> Entries:
    """The objects of a stream; those of an array are counted as rows."""
    arrays = any(isinstance(value, list) for _, value in values)
    entries = Entries(name, unit="row" if arrays else "line")
    if arrays:
        flat = [each for _, v in values for each in (v if isinstance(v, list) else [v])]
        values = list(enumerate(flat, start=1))
    else:
        entries.noticed.append("The objects do not stand one a line; they are read.")
    for place, value in values:
        try:
            entries.objects.append((place, one_object(value)))
        except ValueError as error:
            entries.faults.append(entries.fault(place, "row", *error.args))
    return entries


def _unwrapped(entries: Entries) -> Entries:
    """The rows below `data`, `train` … where a file is one object around them."""
    whole = entries.objects[0][1] if len(entries.objects) == 1 else {}
    for key in _WRAPPERS:
        inside = whole.get(key)
        if isinstance(inside, list) and all(isinstance(row, dict) for row in inside):
            found = _of_list(inside, entries.name)
            found.noticed.append(f"The rows are those below the key {key}.")
            return found
    return entries


def _of_table(path: Path, text: str) -> Entries:
    """A table below a line of column names, with , ; | or tabs between the cells."""
    head = text.partition("\n")[0]
    between = max(",;\t|", key=head.count)
    if between not in head:
        expected = "JSON, or a line of column names with commas between them"
        refuse(path, f"text that begins {head[:40]!r}", "Is it a data file?", expected)
    entries = Entries(path.name)
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=between, strict=True)
    columns, at = next(reader), 2
    try:
        for cells in reader:
            if len(cells) == len(columns):
                row = dict(zip(columns, cells, strict=True))
                entries.objects.append((at, row))
            elif any(cells):
                found, expected = f"{len(cells)} cells", f"{len(columns)}, as in line 1"
                entries.faults.append(entries.fault(at, "line", found, expected))
            at = reader.line_num + 1
    except csv.Error as error:
        entries.faults.append(entries.fault(at, "line", str(error), "a table"))
    if entries.faults:
        mark = "tab" if between == "\t" else between
        entries.way_out = f"Put texts that hold {mark} or a line break between quotes."
    return entries

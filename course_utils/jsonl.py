"""JSONL files of rows that carry an id, read with every fault named at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a data file."""

    file: str
    line: int
    field: str
    found: str
    expected: str

    def __str__(self) -> str:
        return (
            f"{self.file}, line {self.line}, {self.field}: "
            f"found {self.found}, expected {self.expected}"
        )


class FaultyData(ValueError):
    """A data file cannot be used; `faults` lists everything wrong with it."""

    def __init__(self, faults: Sequence[Fault]):
        self.faults = tuple(faults)
        files = ", ".join(sorted({fault.file for fault in faults}))
        lines = "\n".join(f"  {fault}" for fault in faults)
        super().__init__(
            f"{len(faults)} faults in {files}; nothing was loaded:\n{lines}\n"
            "Mend these lines and load the file again."
        )


class RowReader(Generic[Row]):
    """Reads lines one after the other and gathers faults instead of stopping.

    A kind of row is a subclass with `check`; what each file must have (UTF-8, an
    object a line, ids that differ) is checked here.
    """

    def __init__(self, file: str):
        self.file = file
        self.rows: list[Row] = []
        self.faults: list[Fault] = []
        self._lines_by_id: dict[str, int] = {}
        self._faults_before = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong so far with the line that is being read."""
        return len(self.faults) == self._faults_before

    def check(self, number: int, row: dict[str, Any]) -> Row | None:
        """The row of a line, or None when it has faults; these are noted."""
        raise NotImplementedError

    def fault(self, line: int, where: str, found: str, expected: str) -> None:
        """Note one thing that is wrong."""
        self.faults.append(Fault(self.file, line, where, found, expected))

    def read_all(self, path: Path) -> list[Row]:
        """All rows of a file, or none.

        Raises:
            FaultyData: With every fault: file, line, field, found, expected.
            FileNotFoundError: If there is no such file.
        """
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if line.strip():
                self._read(number, line)
        if not self.rows and not self.faults:
            self.fault(1, "file", "no rows", "at least one JSON object")
        if self.faults:
            raise FaultyData(self.faults)
        return self.rows

    def _read(self, number: int, line: bytes) -> None:
        parsed = self._parse(number, line)
        if parsed is None:
            return
        self._faults_before = len(self.faults)
        self._check_id(number, parsed)
        row = self.check(number, parsed)
        if row is not None and self.clean:
            self.rows.append(row)

    def _parse(self, number: int, line: bytes) -> dict | None:
        try:
            row = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            byte = f"byte {line[error.start]:#04x} at {error.start}"
            self.fault(number, "line", byte, "UTF-8 text")
            return None
        except json.JSONDecodeError as error:
            self.fault(number, "line", f"{error.msg} at {error.pos}", "one JSON object")
            return None
        if not isinstance(row, dict):
            self.fault(number, "line", type(row).__name__, "one JSON object")
            return None
        return row

    def _check_id(self, number: int, row: dict) -> None:
        identity = row.get("id")
        if not isinstance(identity, str) or not identity.strip():
            self.fault(number, "id", repr(identity), "a non-empty string")
        elif identity in self._lines_by_id:
            first = self._lines_by_id[identity]
            self.fault(number, "id", f"{identity!r} as in line {first}", "a new id")
        else:
            self._lines_by_id[identity] = number

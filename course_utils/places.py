"""Where things lie, and how results get there: whole, or not at all.

A run can be killed between any two lines. What it was writing then is either absent or
the old version, never half of the new one, and a reader names what it cannot read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from course_utils import CourseError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DATA_FOLDER = PROJECT_ROOT / "data"
STAMP = "whole.json"  # of a folder: bytes and SHA-256 of each file in it


class BrokenFile(CourseError, ValueError):
    """A result on the disk is missing or cannot be read; the message says why."""


class UnusableFolder(CourseError, OSError):
    """A folder for results or caches cannot be made or written to."""


class Named(Protocol):
    """Anything with a name, such as a profile."""

    @property
    def name(self) -> str: ...


def runs_folder() -> Path:
    """Where results go: COURSE_RUNS, or `runs/` of the project. Always absolute."""
    return _chosen("COURSE_RUNS", PROJECT_ROOT / "runs")


def cache_folder() -> Path:
    """Where models are kept between runs: COURSE_CACHE, or below ~/.cache. Absolute."""
    return _chosen("COURSE_CACHE", Path.home() / ".cache" / "finetuning-course")


def _chosen(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).expanduser().resolve()


def run_folder(recipe_name: str, profile: Named) -> Path:
    """`runs/<recipe>-<profile>`, made when missing: adapter, logs, checkpoints."""
    return make_folder(runs_folder() / f"{recipe_name}-{profile.name}")


def make_folder(folder: Path) -> Path:
    """The folder, made when missing; UnusableFolder where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableFolder(
            f"{folder} cannot be made ({error.strerror}). Expected a folder that can "
            "be written to. Is it a file, or on a read-only disk? Point COURSE_RUNS "
            "(results) or COURSE_CACHE (models) to another place."
        ) from None
    return folder


def write_whole(path: Path, text: str | bytes) -> Path:
    """Write a file so that a reader sees the old content or the new, never a part.

    Its folder is made when missing; a str is written as UTF-8.
    """
    make_folder(path.parent)
    data = text.encode("utf-8") if isinstance(text, str) else text
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)  # mkstemp makes it readable for nobody else
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def write_json(path: Path, content: Any) -> Path:
    """Write JSON whole. NaN and infinity are refused: no other reader takes them."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return write_whole(path, text + "\n")


def read_json(path: Path, way_out: str) -> Any:
    """The content of a JSON file that a run wrote.

    Raises:
        BrokenFile: If it is missing, cut off or no JSON. The message ends in `way_out`,
            what to do then, such as "Run notebook 03 again."
    """
    return _parsed(path, _text(path, way_out), way_out)


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    """Write rows as JSON lines, whole."""
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows]
    return write_whole(path, "".join(f"{line}\n" for line in lines))


def read_jsonl(path: Path, way_out: str) -> list[Any]:
    """The rows of a file that `write_jsonl` wrote.

    Lines end at "\\n" alone: a text may hold U+2028, which `splitlines` cuts at.
    Raises as `read_json` does.
    """
    lines = _text(path, way_out).split("\n")
    return [_parsed(path, line, way_out) for line in lines if line.strip()]


def _text(path: Path, way_out: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = "missing" if isinstance(error, FileNotFoundError) else f"({error})"
        name = f"{path.parent.name}/{path.name}"
        raise BrokenFile(f"{name} is {found}. {way_out}") from None


def _parsed(path: Path, text: str, way_out: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenFile(
            f"{path.parent.name}/{path.name} ({path.stat().st_size:,} bytes) is no "
            f"whole JSON: {error}. Was a run stopped while it wrote? {way_out}"
        ) from None


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Let one process at a time work on a file or folder; the others wait."""
    make_folder(target.parent)
    with FileLock(target.parent / f".{target.name}.lock", is_singleton=True):
        yield


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder that takes the target's place when the block ends well.

    An older target is kept until then, and back in place after a failure. What a
    killed process left beside the target is removed first. One process at a time.
    Afterwards the target holds what the block wrote, and STAMP.
    """
    with locked(target):
        prefix = f".{target.name}.partial-"
        old = target.with_name(f".{target.name}.old")
        if old.exists() and not target.exists():
            os.replace(old, target)  # killed between the two renames below
        for left in (old, *target.parent.glob(f"{prefix}*")):
            shutil.rmtree(left, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
        try:
            partial.chmod(0o755)  # mkdtemp makes it readable for nobody else
            yield partial
            write_json(partial / STAMP, _stamp(partial))
            _exchange(partial, target, old)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _exchange(new: Path, target: Path, old: Path) -> None:
    """Put `new` in the place of `target`; on failure everything is as before."""
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(new, target)
    except OSError:
        if old.exists():
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def made_once(target: Path, make: Callable[[Path], object]) -> Path:
    """A folder of a cache: as it is when whole, else made now.

    `make` fills an empty folder that it is given.
    """
    if not is_whole(target):
        with locked(target):
            if not is_whole(target):  # another process may have made it meanwhile
                with whole_folder(target) as folder:
                    make(folder)
    return target


def is_whole(folder: Path) -> bool:
    """Whether a folder holds exactly what its stamp says, byte for byte."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return bool(stamp) and stamp == _stamp(folder)
    except (OSError, ValueError):
        return False


def _stamp(folder: Path) -> dict[str, list]:
    """Bytes and digest of each file, by its name below the folder.

    What Python leaves beside modules that it imports is not part of it.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): [path.stat().st_size, sha256(path)]
        for path in files
        if path.name != STAMP and "__pycache__" not in path.parts
    }


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

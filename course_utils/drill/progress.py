"""What was asked, how it went, when it is due: one small file.

Spaced repetition by `fsrs` (version 6 of the algorithm, its default parameters). What
is known at first sight comes back after two days, what is missed after ten minutes.
Times are kept in UTC, and an item goes by its id alone, so that the file can move to
another machine and outlive the items that it knows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import fsrs
from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from course_utils import CourseError
from course_utils.places import locked, runs_folder, write_json

VERSION = 1
Clock = Callable[[], datetime]
_checked = checked_dataclass(
    frozen=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False}
)
_Time = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]


class UnusableProgress(CourseError, ValueError):
    """A file of progress that cannot be used; the message says why, and what to do."""


class DamagedProgress(UnusableProgress):
    """What stands in a file is no progress, or not the whole of it."""


class Grade(StrEnum):
    """How well it was known."""

    MISSED = "missed"
    PARTLY = "partly"
    KNEW = "knew"


_RATINGS = {
    Grade.MISSED: fsrs.Rating.Again,
    Grade.PARTLY: fsrs.Rating.Hard,
    Grade.KNEW: fsrs.Rating.Good,
}
_SCHEDULER = fsrs.Scheduler(
    learning_steps=(timedelta(minutes=10),),
    relearning_steps=(timedelta(minutes=10),),
    enable_fuzzing=False,  # it draws from the global generator
)


@_checked
class Memory:
    """What is kept of an item: how it went, and what fsrs makes of that."""

    due: _Time
    last_review: _Time
    grade: Grade  # of the last review
    answer: str = ""  # what was said then, such as a verdict
    reviews: Annotated[int, Field(ge=1)]
    missed: Annotated[int, Field(ge=0)]  # of these reviews
    state: Literal[1, 2, 3]  # of fsrs: learning, review, relearning
    step: int | None  # among the steps of learning
    stability: Annotated[float, Field(gt=0)]  # days until recall falls to 90 %
    difficulty: Annotated[float, Field(ge=1, le=10)]


@_checked
class _Content:
    version: Literal[1]
    items: Mapping[str, Memory]


_FORM = TypeAdapter(_Content)


def now_utc() -> datetime:
    """The time, as every clock here tells it."""
    return datetime.now(UTC)


def progress_path(path: str | Path | None = None) -> Path:
    """Where progress lies: `path`, COURSE_DRILL, or `drill.json` among the runs."""
    chosen = path or os.environ.get("COURSE_DRILL") or runs_folder() / "drill.json"
    return Path(chosen).expanduser().resolve()


def after(before: Memory | None, grade: Grade, now: datetime, answer: str) -> Memory:
    """An item's memory after a review; `before` is None at the first one."""
    if before:  # a clock that is behind must not make this the earlier review
        now = max(now, before.last_review)
    card = fsrs.Card(card_id=0, due=now)
    if before:
        card.state, card.step = fsrs.State(before.state), before.step
        card.stability, card.difficulty = before.stability, before.difficulty
        card.due, card.last_review = before.due, before.last_review
    card, _ = _SCHEDULER.review_card(card, _RATINGS[grade], now.astimezone(UTC))
    assert card.stability is not None and card.difficulty is not None
    return Memory(
        due=card.due,
        last_review=now,
        grade=grade,
        answer=answer,
        reviews=1 + (before.reviews if before else 0),
        missed=(grade is Grade.MISSED) + (before.missed if before else 0),
        state=card.state.value,
        step=card.step,
        stability=card.stability,
        difficulty=card.difficulty,
    )


def merged(*parts: Mapping[str, Memory]) -> dict[str, Memory]:
    """All items of some files; of an item that is in several the later review."""
    joined: dict[str, Memory] = {}
    for part in parts:
        for name, memory in part.items():
            joined[name] = max(joined.get(name, memory), memory, key=_age)
    return dict(sorted(joined.items()))


def _age(memory: Memory) -> tuple[Any, ...]:
    """Grows with each review; two that are equal in it are the same review."""
    return memory.last_review, memory.reviews, memory.due, memory.missed, memory.answer


class Progress:
    """The memories of a learner, saved whole after each review.

    What another window or machine saved meanwhile stays: the file is read again before
    it is written, and the later review of each item wins.
    """

    def __init__(self, path: str | Path | None = None, clock: Clock = now_utc):
        """Open a file, see `progress_path`; one that is missing is begun.

        A damaged file is kept under another name, and `notice` says so.
        UnusableProgress if it cannot be read, or is of a newer version.
        """
        self.path, self.clock, self.notice = progress_path(path), clock, ""
        self.items = self._on_the_disk()

    def review(self, name: str, grade: Grade, answer: str = "") -> Memory:
        """Note how an item went, and save."""
        before = dict(self.items)
        self.items[name] = after(before.get(name), grade, self.clock(), answer)
        try:
            self.save()
        except UnusableProgress:  # the learner tries again: it is one review
            self.items = before
            raise
        return self.items[name]

    def save(self) -> None:
        """Write the file, with what others wrote into it meanwhile."""
        with locked(self.path):
            self.items = merged(self._on_the_disk(), self.items)
            content = _Content(version=1, items=self.items)
            try:
                write_json(self.path, _FORM.dump_python(content, mode="json"))
            except OSError as error:
                raise UnusableProgress(
                    f"{self.path} cannot be written ({error.strerror}). Your last "
                    "answer is not kept. Free the disk, or name another file: "
                    "--progress FILE."
                ) from None

    def join(self, other: str | Path) -> int:
        """Take over what another file knows later or alone, and save; how many items.

        The other file stays as it is. UnusableProgress if it is missing or damaged.
        """
        path = Path(other).expanduser()
        if not path.exists():
            raise UnusableProgress(f"{path} is missing. Expected a file of progress.")
        before, self.items = self.items, merged(self.items, read_progress(path))
        self.save()
        return sum(before.get(name) != memory for name, memory in self.items.items())

    def is_new(self, name: str) -> bool:
        """Whether an item was never asked."""
        return name not in self.items

    def is_due(self, name: str) -> bool:
        """Whether an item that was asked is to be asked again by now."""
        return name in self.items and self.items[name].due <= self.clock()

    def _on_the_disk(self) -> dict[str, Memory]:
        try:
            return read_progress(self.path)
        except DamagedProgress as error:
            aside = _aside(self.path, self.clock())
            self.path.rename(aside)
            self.notice = (
                f"{error} It is kept as {aside.name}, and a new file is begun. Mend it "
                f"or find an older copy, then take it over: --join {aside}."
            )
            return {}


def read_progress(path: Path) -> dict[str, Memory]:
    """The memories in a file by item, none if it is missing.

    Raises:
        DamagedProgress: If its content is not a whole file of progress.
        UnusableProgress: If it cannot be read, or is of a newer version.
    """
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UnusableProgress(
            f"{path} cannot be read ({error.strerror}). Expected a file of progress. "
            "Name another one: --progress FILE, or COURSE_DRILL."
        ) from None
    try:
        content = json.loads(written)
        _refuse_newer(path, content)
        return dict(_FORM.validate_python(content).items)
    except (ValidationError, ValueError, RecursionError) as error:
        if isinstance(error, UnusableProgress):
            raise
        raise DamagedProgress(
            f"{path} ({len(written):,} bytes) is no whole file of progress: "
            f"{_first_fault(error)}."
        ) from None


def _refuse_newer(path: Path, content: Any) -> None:
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise UnusableProgress(
            f"{path} has version {version}, this course reads {VERSION}. A newer "
            "course wrote it. Update this one (git pull), or name another file: "
            "--progress FILE."
        )


def _first_fault(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors(include_url=False)[0]
    place = ".".join(map(str, fault["loc"])) or "file"
    return f"{place}: {fault['msg'].removesuffix('.')}"


def _aside(path: Path, now: datetime) -> Path:
    """A name beside a file that nothing has yet."""
    stem, number = f"{path.stem}-damaged-{now:%Y%m%dT%H%M%SZ}", 1
    while (aside := path.with_name(f"{stem}-{number}{path.suffix}")).exists():
        number += 1
    return aside


@dataclass(frozen=True)
class Standing:
    """How many of some items are due, new, and known for later."""

    due: int
    new: int
    later: int
    next_due: datetime | None  # of those for later


def standing(names: list[str], progress: Progress) -> Standing:
    """Where a learner stands with some items."""
    due = sum(map(progress.is_due, names))
    new = sum(map(progress.is_new, names))
    waiting = [progress.items[n].due for n in names if n in progress.items]
    later = sorted(time for time in waiting if time > progress.clock())
    return Standing(due, new, len(later), later[0] if later else None)


def in_words(wait: timedelta) -> str:
    """A time from now in its largest unit: `in 10 minutes`, `in 2 days`."""
    minutes = max(1, round(wait.total_seconds() / 60))
    for unit, size in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes >= size:
            number = round(minutes / size)
            return f"in {number} {unit}{'s' if number > 1 else ''}"
    raise AssertionError("a minute is the least")

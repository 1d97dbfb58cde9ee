"""Which notebooks run at a time, and which one waits for another."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from project import is_proof, key_of

from course_utils import CourseError
from course_utils.machine.profile import Profile

_Result = TypeVar("_Result")
GIB_A_NOTEBOOK = 6  # more than any lesson's peak on a CPU (4.8, lesson 02)
MOST_JOBS = 2
NEED_THE_ADAPTER = ("04", "05", "06", "07")  # each would train one where 03 left none


def jobs(profile: Profile) -> int:
    """How many notebooks run at a time; COURSE_JOBS overrides.

    Two processes of one thread each do more than one of two threads, so two, where
    cores and memory are there for them. A GPU holds one model at a time.

    Raises:
        CourseError: If COURSE_JOBS is no whole number of at least 1.
    """
    asked = os.environ.get("COURSE_JOBS", "")
    if asked:
        if not asked.isdecimal() or asked == "0":
            raise CourseError(
                f"COURSE_JOBS is {asked!r}, expected a whole number of at least 1, the "
                "number of notebooks that run at a time. Unset it for the default."
            )
        return int(asked)
    if profile.name == "t4":
        return 1
    held = int(profile.free_gib // GIB_A_NOTEBOOK)
    return max(1, min(MOST_JOBS, os.cpu_count() or 1, held))


def threads_for(number: int) -> dict[str, str]:
    """Environment that shares the cores among so many kernels."""
    if number == 1:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // number))}


def needed_by(source: Path) -> set[str]:
    """Keys of the notebooks whose results this one takes, when they are run as well."""
    key = key_of(source)
    if is_proof(source):
        return {key.rpartition("/")[2]}
    return {"03"} if key in NEED_THE_ADAPTER else set()


async def side_by_side(
    chosen: list[Path], work: Callable[[Path], Awaitable[_Result]], number: int
) -> list[_Result]:
    """Do the work of each notebook, `number` at a time; results in the given order.

    One that others wait for is started first, unless they run one by one.
    """
    if number == 1:
        return [await work(source) for source in chosen]
    ended = {key_of(source): asyncio.Event() for source in chosen}
    free = asyncio.Semaphore(number)

    async def done(source: Path) -> _Result:
        for key in needed_by(source) & ended.keys():
            await ended[key].wait()
        async with free:
            try:
                return await work(source)
            finally:
                ended[key_of(source)].set()

    awaited = set().union(*map(needed_by, chosen))
    order = sorted(chosen, key=lambda source: key_of(source) not in awaited)
    tasks = {source: asyncio.ensure_future(done(source)) for source in order}
    return list(await asyncio.gather(*(tasks[source] for source in chosen)))

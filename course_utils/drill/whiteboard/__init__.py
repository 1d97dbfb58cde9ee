"""Nine functions to write in ten minutes each, with checks that name the mistake."""

from __future__ import annotations

from difflib import get_close_matches

from course_utils import CourseError
from course_utils.drill.whiteboard import attention, counts, labels, preference, weights
from course_utils.drill.whiteboard.board import Task as Task

TASKS: tuple[Task, ...] = tuple(
    one
    for module in (weights, labels, preference, attention, counts)
    for one in module.TASKS
)


class UnknownTask(CourseError, LookupError):
    """No task goes by a slug."""


def task(slug: str) -> Task:
    """The task of a slug, such as "dpo-loss".

    Raises:
        UnknownTask: Naming those that are spelled alike, or else all.
    """
    by_slug = {one.slug: one for one in TASKS}
    if slug not in by_slug:
        near = get_close_matches(slug, by_slug, cutoff=0.5)
        kind = "nearest tasks" if near else "tasks"
        raise UnknownTask(
            f"There is no whiteboard task {slug!r}. Was it spelled otherwise? The "
            f"{kind}: {', '.join(near or by_slug)}."
        )
    return by_slug[slug]

"""The view of a mock interview."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import ipywidgets as widgets

from course_utils.drill.mock import BUDGET_SECONDS, ROLES, Role, Sheet, points_of
from course_utils.drill.progress import Progress
from course_utils.drill.questions import Spoken
from course_utils.drill.session import Interview, questions_of, seconds_since
from course_utils.drill.widgets.page import (
    View,
    checkboxes,
    filling,
    folded,
    said,
    table,
    ticks_of,
)


class MockView(View):
    """An interview: five questions with their follow-ups, then a sheet."""

    command = "mock"

    def __init__(
        self, cards: Sequence[Spoken], progress: Progress | None, seed: int | None
    ):
        super().__init__(progress)
        self._cards, self._seed = cards, seed
        self.choose()

    def choose(self) -> None:
        """Ask for the role."""
        told = "Five questions, each with two follow-ups: answer aloud. For which job?"
        roles = {role.title: partial(self.begin, role) for role in ROLES.values()}
        self.show([said(told)], roles)

    def begin(self, role: Role) -> None:
        """Draw an interview and ask its first question."""
        self.interview = Interview(self._cards, role, self.progress, self._seed)
        self.go_on()

    def go_on(self) -> None:
        """Ask what is next, or show the sheet."""
        item = self.interview.current
        self.end() if item is None else self._ask(item, ())

    def _ask(self, item: Spoken, seconds: tuple[float, ...]) -> None:
        self._shown_at = self.progress.clock()
        spent = sum(seconds)
        page = [
            said(self.interview.heading(spent), "small"),
            filling(BUDGET_SECONDS, self.interview.spent + spent),
            said(questions_of(item)[len(seconds)], "asked"),
        ]
        answered = partial(self._answered, item, seconds)
        buttons = {"I have answered": answered, "end here": self.end}
        self.show(page, buttons, proposed="I have answered")

    def _answered(self, item: Spoken, before: tuple[float, ...]) -> None:
        took = seconds_since(self._shown_at, self.progress.clock)
        seconds = (*before, took)
        if len(seconds) < len(questions_of(item)):
            return self._ask(item, seconds)
        boxes = checkboxes(points_of(item))
        page = [
            said(self.interview.heading(sum(seconds)), "small"),
            said(item.card.question, "asked"),
            said("Which points did you make?"),
        ]
        self.show(page, {"note them": lambda: self._note(boxes, seconds)}, boxes)

    def _note(
        self, boxes: Iterable[widgets.Checkbox], seconds: tuple[float, ...]
    ) -> None:
        self.interview.note(ticks_of(boxes), seconds)
        self.go_on()

    def end(self) -> None:
        """Show the sheet."""
        self.show(sheet_page(self.interview.sheet()), {"another one": self.choose})


def sheet_page(sheet: Sheet) -> list[str]:
    """A mock interview's sheet: questions, topics, what was missed, what to read."""
    if not sheet.answered:
        return [said(str(sheet))]
    asked = [
        {
            "question": row["question"],
            "points": f"{row['points']} of {row['of']}",
            "seconds": row["seconds"],
        }
        for row in sheet.questions()
    ]
    topics = [
        {"topic": row["topic"], "missed": f"{row['missed']} of {row['of']}"}
        for row in sheet.topics()
    ]
    return [
        said(sheet.headline, "asked"),
        table(asked),
        table(topics),
        *(
            folded(f"Missed: {each.item.card.question}", each.missed)
            for each in sheet.answered
            if each.missed
        ),
        folded("Run again, or read", sheet.places() or ["Nothing."]),
    ]

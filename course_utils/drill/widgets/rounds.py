"""Views of a round of questions: claims to judge, numbers to predict, cards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from html import escape
from typing import Any

import ipywidgets as widgets

from course_utils.drill.progress import Grade, Progress
from course_utils.drill.questions import (
    CHOICES,
    Prediction,
    Spoken,
    Spot,
    grade_of,
    number_said,
    unit_shown,
)
from course_utils.drill.session import (
    Round,
    Told,
    computed,
    fooled,
    judged,
    points_made,
    seconds_since,
    timed,
)
from course_utils.drill.widgets.page import (
    Act,
    View,
    checkboxes,
    filling,
    folded,
    said,
    ticks_of,
)
from course_utils.evidence.claims import Verdict


class DrillView(View):
    """A round of questions; a subclass says how one is asked."""

    def __init__(self, items: Sequence[Any], progress: Progress | None, number: int):
        super().__init__(progress)
        self._drawn = partial(Round, items, self.progress, number=number)
        self.begin()

    def begin(self) -> None:
        """Draw a round and ask its first question."""
        self.round = self._drawn()
        self.go_on()

    def go_on(self) -> None:
        """Ask what is next, or tell how it went."""
        item = self.round.current
        if item is None:
            self.show(self.outcome(), {"another round": self.begin})
        else:
            self.ask(item)

    def ask(self, item: Any) -> None:
        """Show one question."""
        raise NotImplementedError

    def outcome(self) -> list[str]:
        """The page at the end."""
        return [said(self.round.summary())]

    def note(self, told: Told, page: Iterable[str] = ()) -> None:
        """Save how it went, then show what is right."""
        again = self.round.note(told.grade, told.said)
        lines = [said(told.head, told.grade), *map(said, told.lines)]
        where = f"Settled in {told.place}. " if told.place else ""
        more = [folded("Other numbers of it", [told.further])] if told.further else []
        last = self.round.current is None
        self.show(
            [*page, *lines, said(where + again, "small"), *more],
            {"how it went" if last else "next": self.go_on},
        )


class SpotView(DrillView):
    """Claims to judge."""

    command = "spot"

    def ask(self, item: Spot) -> None:
        """A claim and four verdicts."""
        page = [said(self.round.heading, "small"), said(f"“{item.claim}”", "asked")]
        meanings = [f"{verdict}: {told}" for verdict, told in CHOICES.items()]
        verdicts: dict[str, Act] = {
            v: partial(self._answer, item, v, page) for v in CHOICES
        }
        self.show([*page, folded("What do the four mean?", meanings)], verdicts)

    def _answer(self, item: Spot, verdict: Verdict, page: list[str]) -> None:
        yours = said(f"You said: {verdict}.", "small")
        self.note(judged(item, verdict), [*page, yours])

    def outcome(self) -> list[str]:
        """With the claims that fooled the learner most."""
        worst = fooled(self.round.items, self.progress)
        head = [said("What fooled you so far:")] if worst else []
        return [*super().outcome(), *head, *(said(line, "small") for line in worst)]


class PredictView(DrillView):
    """Numbers to say before they are shown."""

    command = "predict"

    def ask(self, item: Prediction) -> None:
        """A question, a field with its unit, a hint if there is one."""
        self._asked = [said(self.round.heading, "small"), said(item.ask, "asked")]
        unit = unit_shown(item.unit)
        field = widgets.Text(placeholder=unit or "a number")
        field.layout = widgets.Layout(width="auto", max_width="100%")
        checked = partial(self._answer, item, field)
        field.on_msg(lambda *message: self._entered(message[1], checked))
        hint = {"hint": partial(self._add, item.hint)} if item.hint else {}
        given_up = partial(self.note, computed(item, None), self._asked)
        self._named = said(f"In {unit}:" if unit else "As a number:", "small")
        self.show(
            [*self._asked, self._named],
            {"check": checked, **hint, "no idea": given_up},
            [field],
            proposed="check",
        )

    def _entered(self, message: Any, checked: Act) -> None:
        if message.get("event") == "submit":  # the Enter key
            self.tried(checked)

    def _add(self, text: str) -> None:
        self.page.value = "".join([*self._asked, said(text), self._named])

    def _answer(self, item: Prediction, field: widgets.Text) -> None:
        try:
            number = number_said(field.value, item.unit)
        except ValueError as problem:
            self._add(str(problem))
        else:
            self.note(computed(item, number), self._asked)


class CardsView(DrillView):
    """Questions to answer aloud."""

    command = "cards"

    def go_on(self) -> None:
        """Before the first question wait, since its seconds are counted."""
        if self.round.grades or not self.round.asked:
            return super().go_on()
        told = (
            f"Answer aloud, then turn the card: {len(self.round.asked)} in this round."
        )
        self.show([said(told)], {"start": super().go_on})

    def ask(self, item: Spoken) -> None:
        """The question, and a bar as long as the model answer."""
        self._shown_at = self.progress.clock()
        page = [said(self.round.heading, "small"), said(item.card.question, "asked")]
        bar = [said("Speak now.", "small"), filling(item.said.seconds)]
        self.show([*page, *bar], {"turn the card": partial(self._turn, item, page)})

    def _turn(self, item: Spoken, page: list[str]) -> None:
        card = item.said
        took = seconds_since(self._shown_at, self.progress.clock)
        answer = f"<p><b>{escape(card.hook)}</b> {escape(card.answer)}</p>"
        boxes = checkboxes(card.rubric)
        spoken = [said(timed(took, card.seconds), "small"), answer]
        self.show(
            [*page, *spoken, said("Which did you say?")],
            {"they ask next": lambda: self._follow_up(item, ticks_of(boxes), 0)},
            boxes,
        )

    def _follow_up(self, item: Spoken, ticks: Sequence[bool], number: int) -> None:
        asked = said(f"They ask next: {item.said.followups[number].ask}", "asked")
        turn = partial(self._turn_follow_up, item, ticks, number)
        self.show([asked, said("Speak now.", "small")], {"what to say": turn})

    def _turn_follow_up(self, item: Spoken, ticks: Sequence[bool], number: int) -> None:
        card, asked = item.said, item.said.followups[number]
        page = [said(asked.ask, "asked"), said(asked.point)]
        if number + 1 < len(card.followups):
            follow_up = partial(self._follow_up, item, ticks, number + 1)
            return self.show(page, {"they ask next": follow_up})
        trap = said(f"The trap: “{card.trap.says}” {card.trap.because}")
        behind = [f"{n.what}: {n.text} ({n.kind})" for n in card.numbers]
        self._offer_grades(item, ticks, [*page, trap, folded("Its numbers", behind)])

    def _offer_grades(
        self, item: Spoken, ticks: Sequence[bool], page: list[str]
    ) -> None:
        made, proposed = points_made(ticks), grade_of(ticks)
        told = said(f"{made}: {proposed}, or do you see it otherwise?")
        grades: dict[str, Act] = {
            grade: partial(self.note, Told(grade, made, f"{made}: {grade}.", ()))
            for grade in Grade
        }
        self.show([*page, told], grades, proposed=proposed)

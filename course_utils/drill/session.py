"""What the terminal and the views share: what is asked, in which order, what is told.

Nothing here knows how a text is shown or an answer is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar, get_args

from course_utils import CourseError
from course_utils.drill.mock import (
    BUDGET_SECONDS,
    Answered,
    Role,
    Sheet,
    clock_time,
    draw,
)
from course_utils.drill.progress import Clock, Grade, Progress, in_words, standing
from course_utils.drill.questions import (
    Item,
    Prediction,
    Spoken,
    Spot,
    chosen,
    fooled_by,
    load_predictions,
    next_up,
    predictions,
    spoken_items,
    spots,
    topics_of_claims,
    unit_shown,
)
from course_utils.evidence.claims import Verdict, load_claims, load_evidence
from course_utils.evidence.coverage import load_seeds
from course_utils.evidence.questions import NumberBehind, Topic, load_cards

SHORT = 0.4  # of the model answer's seconds: was it said at all?
Asks = TypeVar("Asks", bound=Item)


class UnknownTopic(CourseError, LookupError):
    """No question of the bank has a topic."""


@dataclass(frozen=True)
class Bank:
    """Everything that can be asked."""

    spot: Sequence[Spot]
    predict: Sequence[Prediction]
    cards: Sequence[Spoken]

    def chosen(self, topic: str, level: int) -> Bank:
        """What is of a topic and a level, see `questions.chosen`; UnknownTopic."""
        if topic and topic not in get_args(Topic):
            raise UnknownTopic(
                f"No question is of topic {topic!r}. Was it spelled otherwise? The "
                f"topics are {', '.join(get_args(Topic))}."
            )
        return Bank(
            spot=chosen(self.spot, topic, level),
            predict=chosen(self.predict, topic, level),
            cards=chosen(self.cards, topic, level),
        )

    def parts(self) -> dict[str, Sequence[Item]]:
        """Its items by the command that asks them."""
        return {"spot": self.spot, "predict": self.predict, "cards": self.cards}


def load_bank() -> Bank:
    """The bank with published numbers. It needs neither torch nor a notebook."""
    claims, cards, evidence = load_claims(), load_cards().values(), load_evidence()
    topics = topics_of_claims(claims, cards, load_seeds())
    return Bank(
        spot=spots(claims.values(), evidence, topics),
        predict=predictions(load_predictions(), claims, evidence, topics),
        cards=spoken_items(cards, claims, evidence),
    )


@dataclass(frozen=True)
class Told:
    """What an answer is told: how it went, in a few words, and what is right."""

    grade: Grade
    said: str  # the answer, as progress keeps it
    head: str
    lines: tuple[str, ...]
    further: str = ""  # other numbers
    place: str = ""  # where it is settled


def judged(item: Spot, said: Verdict) -> Told:
    """What a verdict on a claim is told."""
    grade = item.grade(said)
    words = {Grade.KNEW: "Yes", Grade.PARTLY: "Not quite", Grade.MISSED: "No"}
    head, further = f"{words[grade]}: {item.verdict}.", listed(item.further)
    return Told(grade, said, head, (item.right,), further, item.place)


def computed(item: Prediction, said: float | None) -> Told:
    """What a predicted number is told; None is no idea."""
    grade = Grade.MISSED if said is None else item.grade(said)
    words = {Grade.KNEW: "Yes", Grade.PARTLY: "Near", Grade.MISSED: "No"}
    unit = unit_shown(item.unit)
    true = f"{item.number.text.removesuffix(item.unit).strip()} {unit}".strip()
    yours = "" if said is None else f" You said {said:,.6g}."
    needs_hint = item.hint and grade is not Grade.KNEW
    reckon = (f"Reckon with: {item.hint}",) if needs_hint else ()
    lines = (*reckon, f"“{item.claim}”: {item.right}")
    kept = "" if said is None else f"{said:.6g}"
    head = f"{words[grade]}: {true}.{yours}"
    return Told(grade, kept, head, lines, place=item.place)


def listed(numbers: Iterable[NumberBehind]) -> str:
    """Numbers with what they are."""
    return "; ".join(f"{number.what} {number.text}" for number in numbers)


def timed(took: float, model: float) -> str:
    """Seconds of an answer against those of the model answer."""
    if took < SHORT * model:
        return f"{took:.0f} s? The model answer takes {model:.0f} s: say it aloud."
    return f"{took:.0f} s; the model answer takes {model:.0f} s."


def points_made(ticks: Sequence[bool]) -> str:
    """Such as `3 of 5 points`."""
    return f"{sum(ticks)} of {len(ticks)} points"


def seconds_since(began: datetime, clock: Clock) -> float:
    """Seconds by a clock, none where it was set back."""
    return max(0.0, (clock() - began).total_seconds())


def fooled(items: Sequence[Spot], progress: Progress, most: int = 5) -> list[str]:
    """The claims that fooled a learner most often, a line each."""
    return [
        f"{times}×: “{item.claim}” ({item.verdict})"
        for item, times in fooled_by(items, progress)[:most]
    ]


class Round(Generic[Asks]):
    """Some questions: what is due, then what is new. Each outcome is saved at once."""

    def __init__(
        self, items: Sequence[Asks], progress: Progress, *, number: int, seed: int = 0
    ):
        self.items, self.progress = items, progress
        self.asked = next_up(items, progress, seed)[:number]
        self.grades: Counter[Grade] = Counter()

    @property
    def current(self) -> Asks | None:
        """What is asked now; None at the end."""
        done = self.grades.total()
        return self.asked[done] if done < len(self.asked) else None

    @property
    def heading(self) -> str:
        """Such as `3 of 10, again`."""
        item, place = self.current, f"{self.grades.total() + 1} of {len(self.asked)}"
        known = item is not None and not self.progress.is_new(item.id)
        return f"{place}, again" if known else place

    def note(self, grade: Grade, said: str) -> str:
        """Save how the current item went, and go on; when it comes back, in words."""
        assert self.current is not None
        memory = self.progress.review(self.current.id, grade, said)
        self.grades[grade] += 1
        fooled = f" Missed {memory.missed} times so far." if memory.missed > 1 else ""
        wait = in_words(memory.due - self.progress.clock())
        return f"It comes back {wait}.{fooled}"

    def summary(self) -> str:
        """How it went, and what is left."""
        told = ", ".join(f"{self.grades[grade]} {grade}" for grade in reversed(Grade))
        asked = self.grades.total()
        now = standing([item.id for item in self.items], self.progress)
        left = f"{now.due} due, {now.new} new, {now.later} for later"
        if now.next_due and not now.due:
            left += f", the next {in_words(now.next_due - self.progress.clock())}"
        head = f"{asked} asked: {told}. " if asked else "Nothing asked. "
        return f"{head}Now {left}. Progress is in {self.progress.path}."


class Interview:
    """Five questions with their follow-ups for a role; each is saved when it is judged.

    `seed` None draws another one each time, by the clock.
    """

    def __init__(
        self, items: Sequence[Spoken], role: Role, progress: Progress, seed: int | None
    ):
        self.role, self.progress = role, progress
        self.seed = seed_of_now(progress.clock) if seed is None else seed
        self.drawn = draw(items, role, self.seed)
        self.answered: list[Answered] = []

    @property
    def current(self) -> Spoken | None:
        """What is asked now; None at the end."""
        done = len(self.answered)
        return self.drawn[done] if done < len(self.drawn) else None

    @property
    def spent(self) -> float:
        """Seconds of the answers that were judged."""
        return sum(sum(each.seconds) for each in self.answered)

    def heading(self, seconds: float = 0) -> str:
        """Such as `Question 2 of 5, 3:05 of 15:00`, `seconds` on this one included."""
        place = f"Question {len(self.answered) + 1} of {len(self.drawn)}"
        spent = clock_time(self.spent + seconds)
        return f"{place}, {spent} of {clock_time(BUDGET_SECONDS)}"

    def note(self, ticks: tuple[bool, ...], seconds: tuple[float, ...]) -> None:
        """Save the points that were made, and go on."""
        assert self.current is not None
        done = Answered(item=self.current, ticks=ticks, seconds=seconds)
        self.progress.review(done.item.id, done.grade, points_made(ticks))
        self.answered.append(done)

    def sheet(self) -> Sheet:
        """What it showed so far."""
        return Sheet(self.role, self.answered)


def questions_of(item: Spoken) -> tuple[str, ...]:
    """A question and its follow-ups, in the order in which they are asked."""
    return (item.card.question, *(asked.ask for asked in item.said.followups))


def seed_of_now(clock: Clock) -> int:
    """Another number each time; a small one, so that it can be typed."""
    return int(clock().timestamp()) % 100_000

"""A mock interview: five questions for a role, two follow-ups each, and a sheet."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from course_utils.drill.progress import Grade
from course_utils.drill.questions import Spoken, grade_of
from course_utils.evidence.questions import Card

QUESTIONS = 5
BUDGET_SECONDS = 15 * 60  # of the learner's speech, for all of them
MOST_OF_A_TOPIC = 2
NEEDED_KINDS = ({"calculation"}, {"debugging", "design"})  # one of each, if there is


@dataclass(frozen=True, kw_only=True)
class Role:
    """What an interview for a job asks more often than once."""

    title: str
    topics: Mapping[str, float]
    kinds: Mapping[str, float]

    def weight(self, card: Card) -> float:
        """How much likelier a card is drawn than one of no emphasis."""
        return self.topics.get(card.topic, 1) * self.kinds.get(card.kind, 1)


ROLES: Mapping[str, Role] = {
    "applied": Role(
        title="applied engineer",
        topics={"project": 4, "data": 3, "evaluation": 3, "design": 3, "behaviour": 2}
        | {"training": 2, "lora": 2, "memory": 2},
        kinds={"design": 2, "debugging": 2},
    ),
    "post-training": Role(
        title="post-training engineer",
        topics={"preference": 4, "data": 3, "training": 3, "evaluation": 3}
        | {"lora": 2, "behaviour": 2, "foundations": 2, "project": 2},
        kinds={"debugging": 2, "calculation": 1.5},
    ),
    "inference": Role(
        title="inference engineer",
        topics={"serving": 4, "quantization": 4, "memory": 3, "export": 3}
        | {"foundations": 2, "design": 2},
        kinds={"calculation": 2, "design": 2},
    ),
}


def draw(items: Sequence[Spoken], role: Role, seed: int) -> list[Spoken]:
    """The questions of an interview, the learner's project first.

    Drawn without replacement by the role's weights (Efraimidis and Spirakis: the
    largest of u ** (1 / weight)), at most two of a topic while there are others; at
    least one calculation, and one of debugging or design, if there are.
    """
    chance = Random(seed)
    keys = {i.id: chance.random() ** (1 / role.weight(i.card)) for i in items}
    drawn = sorted(items, key=lambda item: -keys[item.id])
    picked: list[Spoken] = []
    for kinds in NEEDED_KINDS:
        picked += [item for item in drawn if item.card.kind in kinds][:1]
    for most in (MOST_OF_A_TOPIC, QUESTIONS):
        for item in drawn:
            used = Counter(other.card.topic for other in picked)
            full = len(picked) == QUESTIONS or used[item.card.topic] >= most
            if item not in picked and not full:
                picked.append(item)
    return sorted(picked, key=lambda i: (i.card.topic != "project", drawn.index(i)))


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A question of the interview, with what was said to it."""

    item: Spoken
    ticks: tuple[bool, ...]  # of `points_of`
    seconds: tuple[float, ...]  # of the answer and of each follow-up

    @property
    def grade(self) -> Grade:
        return grade_of(self.ticks)

    @property
    def missed(self) -> tuple[str, ...]:
        """The points that were not made; of a follow-up the question."""
        said = self.item.said
        names = (*said.rubric, *(f"“{asked.ask}”" for asked in said.followups))
        points = zip(names, self.ticks, strict=True)
        return tuple(name for name, ticked in points if not ticked)


def points_of(item: Spoken) -> tuple[str, ...]:
    """What an interviewer would tick: the rubric, then the point of each follow-up."""
    said = item.said
    return (*said.rubric, *(f"“{f.ask}” {f.point}" for f in said.followups))


@dataclass(frozen=True)
class Sheet:
    """What a mock interview showed; each table is a list of rows."""

    role: Role
    answered: Sequence[Answered]

    def questions(self) -> list[dict[str, Any]]:
        """A row a question: what it took, and how many points were made."""
        return [
            {
                "question": each.item.card.question,
                "topic": each.item.card.topic,
                "kind": each.item.card.kind,
                "seconds": round(sum(each.seconds)),
                "points": sum(each.ticks),
                "of": len(each.ticks),
            }
            for each in self.answered
        ]

    def topics(self) -> list[dict[str, Any]]:
        """A row a topic, the weakest first: the share of its points that was missed."""
        missed: Counter[str] = Counter()
        points: Counter[str] = Counter()
        for each in self.answered:
            missed[each.item.card.topic] += len(each.missed)
            points[each.item.card.topic] += len(each.ticks)
        rows = [
            {"topic": t, "missed": missed[t], "of": n, "share": missed[t] / n}
            for t, n in points.items()
        ]
        return sorted(rows, key=lambda row: (-row["share"], row["topic"]))

    def to_run_again(self) -> list[dict[str, Any]]:
        """A row a notebook or source behind a question that lost points."""
        cells: dict[str, set[int]] = {}
        for each in self.answered:
            for place in each.item.places if each.missed else ():
                name, _, cell = place.partition(", cell ")
                cells.setdefault(name, set()).update(map(int, re.findall(r"\d+", cell)))
        return [{"place": name, "cells": sorted(n)} for name, n in cells.items()]

    def places(self) -> list[str]:
        """The same as text: `notebooks/proofs/01_….ipynb [5], [9]`."""
        cells = ", ".join
        return [
            f"{row['place']} {cells(f'[{n}]' for n in row['cells'])}".rstrip()
            for row in self.to_run_again()
        ]

    @property
    def headline(self) -> str:
        """The role, how many questions, and how long was spoken."""
        seconds = sum(sum(each.seconds) for each in self.answered)
        spoken = f"{clock_time(seconds)} spoken of {clock_time(BUDGET_SECONDS)}"
        return f"{self.role.title}, {len(self.answered)} questions, {spoken}"

    def __str__(self) -> str:
        if not self.answered:
            return "No question was answered."
        lines = [
            f"Sheet: {self.headline}",
            *(self._told(each) for each in self.answered),
            "Points missed, by topic:",
        ]
        for row in self.topics():
            lines.append(f"  {row['topic']}: {row['missed']} of {row['of']}")
        again = self.places()
        lines += ["Run again, or read:"] if again else ["No point was missed."]
        return "\n".join([*lines, *(f"  {place}" for place in again)])

    def _told(self, each: Answered) -> str:
        made = f"{sum(each.ticks)} of {len(each.ticks)} points"
        lines = [f"- {made}: {each.item.card.question}"]
        return "\n".join(lines + [f"    missed: {point}" for point in each.missed])


def clock_time(seconds: float) -> str:
    """Minutes and seconds: `3:05`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"

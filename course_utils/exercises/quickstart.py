"""Exercise of the quickstart (lesson 00): the form stands in the rows."""

from __future__ import annotations

import re

from course_utils.exercises.checking import Case, Exercise


def add_decade(answer: str) -> str:
    """An answer with a fourth bullet, the decade of its film."""
    return f"{answer}\n- Decade: {_year(answer)[:3]}0s"


def _year(answer: str) -> str:
    """The four digits in round brackets."""
    return re.findall(r"\((\d{4})\)", answer)[0]


def _answer(title: str, genres: str, minutes: int, why: str) -> str:
    return f"**{title}**\n- Genre: {genres}\n- Runtime: {minutes} minutes\n- Why: {why}"


_WAR = _answer("1917 (2019)", "war, drama", 119, "One message must cross the lines.")
_MOON = _answer("Easy Rider (1969)", "drama", 95, "Two bikers look for their country.")
_ALIEN = _answer("Alien (1979)", "horror", 117, "Something came aboard.")

EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        solution=add_decade,
        cases=(
            Case((_ALIEN,), f"{_ALIEN}\n- Decade: 1970s"),
            Case((_WAR,), f"{_WAR}\n- Decade: 2010s"),
            Case((_MOON,), f"{_MOON}\n- Decade: 1960s"),
        ),
        mistakes={
            "a decade ends in 0: the year's last digit goes.": (
                lambda answer: f"{answer}\n- Decade: {_year(answer)}s"
            ),
            "a bullet has a line of its own: begin it with a line break.": (
                lambda answer: f"{answer}- Decade: {_year(answer)[:3]}0s"
            ),
            "cut the last digit off, do not round: 1979 lies in the 1970s.": (
                lambda answer: f"{answer}\n- Decade: {round(int(_year(answer)), -1)}s"
            ),
            "a title can hold a year, such as 1917: take the one in brackets.": (
                lambda answer: (
                    f"{answer}\n- Decade: {re.findall(r'[0-9]{4}', answer)[0][:3]}0s"
                )
            ),
        },
    ),
)

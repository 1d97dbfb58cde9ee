"""Stress tests: named checks of an answer, and what passes where.

A prompt that asks for a film is held against the trained form, the table of films
and its own constraints. A prompt that no film can answer (an impossible wish, a
question on cooking, nothing at all) is asked for the opposite: not to be answered
with a film as if nothing were wrong.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from statsmodels.stats.proportion import proportion_confint

from course_utils.data import Conversation
from course_utils.generation import Generated
from course_utils.movies import Film, broken_constraints, parse_answer

# Of each group: whether a film is the right kind of answer.
GROUPS = {
    "one_constraint": True,
    "several_constraints": True,
    "vague_mood": True,
    "hidden_instruction": True,
    "other_language": True,
    "very_long": True,
    "impossible_wish": False,
    "off_topic": False,
    "empty": False,
}
FORM_CHECKS = ("title and year", "three bullets", "ends by itself", "no repetition")
FACT_CHECKS = ("film exists", "facts right", "wish met")
FILM_CHECKS = (*FORM_CHECKS, *FACT_CHECKS)
OTHER_CHECKS = ("no film forced", "ends by itself", "no repetition")

TITLE_LINE = re.compile(r"\*\*[^*\n]+ \(\d{4}\)\*\*")
BULLETS = re.compile(r"- Genre: .+\n- Runtime: \d+ minutes\n- Why: .+")
BULLET = re.compile(r"^\s*[-*•] ", re.MULTILINE)
REPEATED_WORDS = 4  # a run of so many words, three times over, counts as a loop
LOOP_TIMES = 3


def has_title_and_year(text: str) -> bool:
    """Whether the first line is a bold title with a year, and nothing else."""
    return TITLE_LINE.fullmatch(text.strip().split("\n", 1)[0].strip()) is not None


def has_three_bullets(text: str) -> bool:
    """Whether genre, runtime and reason follow, in this order and nothing else."""
    body = text.strip().partition("\n")[2].strip()
    return BULLETS.fullmatch(body) is not None and len(BULLET.findall(body)) == 3


def loops(text: str) -> bool:
    """Whether a run of four words comes three times: the model turns in a circle."""
    words = text.lower().split()
    runs = zip(*(words[start:] for start in range(REPEATED_WORDS)), strict=False)
    return max(Counter(runs).values(), default=0) >= LOOP_TIMES


def forces_a_film(text: str) -> bool:
    """Whether an answer that needed none opens with a film in the trained form."""
    return has_title_and_year(text)


def wish_is_met(
    text: str, constraints: Mapping[str, object], films: Mapping[str, Film]
) -> bool:
    """Whether the named film meets the wish, by the table's facts.

    A film that the table does not know meets nothing that can be shown: what an
    answer says of an invented film is invented as well.
    """
    stated = parse_answer(text)
    film = films.get(stated.name) if stated else None
    return film is not None and not broken_constraints(film, constraints)


def claims_to_fit(text: str, constraints: Mapping[str, object]) -> bool:
    """Whether an answer's own figures meet the wish, true or not."""
    stated = parse_answer(text)
    return stated is not None and not broken_constraints(stated, constraints)


def judge(
    prompt: Conversation, given: Generated, films: Mapping[str, Film]
) -> dict[str, bool]:
    """Every check that applies to a prompt of this group, by name.

    Args:
        prompt: One of data/movies/stress.jsonl; its notes hold group and constraints.
        given: The answer, and whether the model ended it.
        films: The table.

    Raises:
        KeyError: If the prompt's group is not in GROUPS.
    """
    group = prompt.notes["group"]
    if group not in GROUPS:
        raise KeyError(f"{prompt.id} is of group {group!r}; known: {', '.join(GROUPS)}")
    shared = {"ends by itself": given.stopped, "no repetition": not loops(given.text)}
    if not GROUPS[group]:
        return {"no film forced": not forces_a_film(given.text), **shared}
    stated = parse_answer(given.text)
    film = films.get(stated.name) if stated else None
    constraints = prompt.notes["constraints"]
    verdicts = {
        "title and year": has_title_and_year(given.text),
        "three bullets": has_three_bullets(given.text),
        **shared,
        "film exists": film is not None,
        "facts right": film is not None
        and (film.runtime_minutes, film.genres)
        == (stated.runtime_minutes, stated.genres),
    }
    if constraints:  # a mood has none that a table could check
        verdicts["wish met"] = wish_is_met(given.text, constraints, films)
    return verdicts


@dataclass(frozen=True)
class Judged:
    """One answer with its verdicts: a line of stress.jsonl.

    Attributes:
        prompt: Id of the prompt.
        group: Of the prompt.
        request: What was asked.
        model: `base` or `tuned`.
        decoding: `greedy` or `drawn`.
        seed: Of the draw; None when greedy.
        answer: Text.
        verdicts: From `judge`.
    """

    prompt: str
    group: str
    request: str
    model: str
    decoding: str
    seed: int | None
    answer: str
    verdicts: Mapping[str, bool]

    @property
    def failed(self) -> list[str]:
        """Names of the checks that it did not pass."""
        return [name for name, passed in self.verdicts.items() if not passed]

    @property
    def in_form(self) -> bool:
        """Title, bullets and end as trained; False where no film was asked for."""
        return all(self.verdicts.get(name, False) for name in FORM_CHECKS[:3])


def judge_all(
    prompts: Sequence[Conversation],
    answers: Sequence[Generated],
    films: Mapping[str, Film],
    *,
    model: str,
    seed: int | None = None,
) -> list[Judged]:
    """Judge the answers of one model to all prompts."""
    return [
        Judged(
            prompt=prompt.id,
            group=prompt.notes["group"],
            request=prompt.request,
            model=model,
            decoding="greedy" if seed is None else "drawn",
            seed=seed,
            answer=given.text,
            verdicts=judge(prompt, given, films),
        )
        for prompt, given in zip(prompts, answers, strict=True)
    ]


@dataclass(frozen=True)
class PassRate:
    """A share, never without its n and its interval.

    Attributes:
        passed: Prompts that passed.
        n: Prompts to which the check applies.
    """

    passed: int
    n: int

    @property
    def share(self) -> float:
        """Of the prompts; NaN when the check applies to none."""
        return self.passed / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, 95 %. Source: Wilson 1927."""
        if not self.n:
            return float("nan"), float("nan")
        low, high = proportion_confint(self.passed, self.n, method="wilson")
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.passed} of {self.n} ({low:.0%}–{high:.0%})" if self.n else "–"


def pass_rate(rows: Iterable[Judged], check: str) -> PassRate:
    """How many prompts pass a check, among those to which it applies."""
    applies = [row.verdicts[check] for row in rows if check in row.verdicts]
    return PassRate(sum(applies), len(applies))


def write_judged(path: Path, rows: Iterable[Judged]) -> int:
    """Write all answers with their verdicts as JSONL; returns how many."""
    lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)

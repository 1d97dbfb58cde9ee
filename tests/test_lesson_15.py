"""Lesson 15's cells and the package say and do the same."""

import re

import fsrs
import notebook_cells as cells
import pytest

from course_utils.drill import progress
from course_utils.drill.session import load_bank
from course_utils.drill.whiteboard import task

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("15")]
SLUGS = ("masked-cross-entropy", "dpo-loss")


def cell_with(part):
    [found] = [code for code in cells.code_cells(LESSON) if part in code]
    return found


def as_one_line(text):
    return re.sub(r"\s+", " ", text)


# A reader drills by other pauses than those that the lesson explains.
def test_the_scheduler_in_view_is_the_drills():
    names = {}
    exec(cell_with("scheduler = fsrs.Scheduler("), names)
    assert names["scheduler"].to_dict() == progress._SCHEDULER.to_dict()
    ratings = [fsrs.Rating.Again, fsrs.Rating.Hard, fsrs.Rating.Good]
    assert list(progress._RATINGS.values()) == ratings


# A task that was mended on the board and not in the lesson.
@pytest.mark.parametrize("number", [0, 1])
def test_task_stub_hint_and_solution_are_those_of_the_board(number):
    wanted, shown = task(SLUGS[number]), cells.exercises(LESSON)[number]
    text = as_one_line(cells.prose(LESSON))
    assert as_one_line(wanted.task) in text and wanted.hint in text
    assert shown.solution.strip() == wanted.solution.strip()
    imports, _, function = wanted.stub.strip().partition("\n\n\n")
    assert shown.stub.strip().endswith(function)
    assert shown.stub.startswith(imports.splitlines()[0])
    assert SLUGS[number] in shown.check


# The toy stands in the lesson with its numbers; the bank may be written anew.
def test_the_lessons_claim_and_prediction_are_in_the_bank():
    bank = load_bank()
    [toy] = [i for i in bank.spot if "gain on ARC-Easy shows" in i.claim]
    [item] = [i for i in bank.predict if "rank 16 train in Llama-3.1" in i.ask]
    assert toy.verdict == "not shown" and item.value == 41_943_040
    assert [i.what for i in toy.numbers[:2]] == ["z", "p"]

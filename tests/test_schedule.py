"""How many notebooks run at a time, and which one waits for another."""

import asyncio
from types import SimpleNamespace

import pytest
import schedule
from project import key_of, sources

from course_utils import CourseError


def machine(name="cpu", memory=64.0):
    return SimpleNamespace(name=name, free_gib=memory)


@pytest.mark.parametrize(
    ("profile", "cores", "number"),
    [
        (machine(), 2, 2),
        (machine(), 64, 2),
        (machine(), 1, 1),
        (machine(memory=11.9), 8, 1),  # two lessons would swap
        (machine(memory=3.0), 8, 1),
        (machine("t4"), 8, 1),  # the card holds one model
    ],
)
def test_two_run_at_a_time_where_cores_and_memory_are_there(
    profile, cores, number, monkeypatch
):
    monkeypatch.delenv("COURSE_JOBS", raising=False)
    monkeypatch.setattr(schedule.os, "cpu_count", lambda: cores)
    assert schedule.jobs(profile) == number


def test_the_number_can_be_set_and_a_word_is_refused(monkeypatch):
    monkeypatch.setenv("COURSE_JOBS", "3")
    assert schedule.jobs(machine("t4")) == 3
    for wrong in ("0", "-1", "two"):
        monkeypatch.setenv("COURSE_JOBS", wrong)
        with pytest.raises(CourseError, match="COURSE_JOBS"):
            schedule.jobs(machine())


def test_the_cores_are_shared_among_the_kernels(monkeypatch):
    monkeypatch.setattr(schedule.os, "cpu_count", lambda: 8)
    assert schedule.threads_for(1) == {}
    assert schedule.threads_for(2) == {"OMP_NUM_THREADS": "4"}
    monkeypatch.setattr(schedule.os, "cpu_count", lambda: 1)
    assert schedule.threads_for(2) == {"OMP_NUM_THREADS": "1"}


def watched(chosen, number, failing=()):
    """Runs nothing for a moment each; the log, most at once, and the results."""
    log, running, most = [], 0, 0

    async def work(source):
        nonlocal running, most
        running += 1
        most = max(most, running)
        log.append(("starts", key_of(source)))
        await asyncio.sleep(0.001)
        log.append(("ends", key_of(source)))
        running -= 1
        if key_of(source) in failing:
            raise CourseError("no")
        return key_of(source)

    results = asyncio.run(schedule.side_by_side(chosen, work, number))
    return log, most, results


# 04 would otherwise train an adapter of its own, beside 03 that trains it.
def test_a_notebook_waits_for_the_one_whose_results_it_takes():
    chosen = sources()
    log, most, results = watched(chosen, 2)
    assert most == 2 and results == [key_of(source) for source in chosen]
    for source in chosen:
        for needed in schedule.needed_by(source):
            assert log.index(("ends", needed)) < log.index(("starts", key_of(source)))
    assert {"03"} == schedule.needed_by(sources(["05"])[0])


def test_one_by_one_they_run_in_the_order_of_the_course():
    log, most, _ = watched(sources(), 1)
    assert most == 1
    started = [key for what, key in log if what == "starts"]
    assert started == [key_of(source) for source in sources()]


def test_nothing_waits_for_a_notebook_that_is_not_run():
    assert watched(sources(["05", "06"]), 2)[2] == ["05", "06"]


def test_an_error_of_one_ends_the_others_instead_of_hanging():
    with pytest.raises(CourseError):
        watched(sources(), 2, failing=["03"])

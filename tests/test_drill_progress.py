import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from course_utils.drill.progress import (
    DamagedProgress,
    Grade,
    Progress,
    UnusableProgress,
    in_words,
    merged,
    progress_path,
    read_progress,
    standing,
)

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Hand:
    """A clock that is set by hand."""

    def __init__(self, now: datetime = START):
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    return Hand()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "drill.json"


def test_what_is_missed_comes_back_in_minutes_and_what_is_known_in_days(path, clock):
    progress = Progress(path, clock)
    waits = {g: progress.review(f"claim:{g}", g).due - START for g in Grade}
    assert waits[Grade.MISSED] == timedelta(minutes=10)
    assert waits[Grade.PARTLY] == timedelta(minutes=15)
    assert waits[Grade.KNEW] == timedelta(days=2)  # stability 2.3065 days, rounded


def test_each_time_it_is_known_the_pause_grows_and_a_miss_ends_that(path, clock):
    progress, pauses = Progress(path, clock), []
    for _ in range(4):
        memory = progress.review("claim:C009", Grade.KNEW)
        pauses.append(memory.due - clock.now)
        clock.now = memory.due
    assert pauses == sorted(set(pauses))
    assert progress.review("claim:C009", Grade.MISSED).due - clock.now == timedelta(
        minutes=10
    )
    assert progress.items["claim:C009"].reviews == 5
    assert progress.items["claim:C009"].missed == 1


def test_an_item_is_new_then_later_then_due(path, clock):
    progress = Progress(path, clock)
    assert progress.is_new("claim:C009") and not progress.is_due("claim:C009")
    progress.review("claim:C009", Grade.MISSED, "right")
    assert not progress.is_new("claim:C009") and not progress.is_due("claim:C009")
    now = standing(["claim:C009", "claim:C010"], progress)
    assert (now.due, now.new, now.later) == (0, 1, 1)
    assert now.next_due == START + timedelta(minutes=10)
    clock.now = START + timedelta(minutes=10)
    assert progress.is_due("claim:C009")
    now = standing(["claim:C009", "claim:C010"], progress)
    assert (now.due, now.new, now.later, now.next_due) == (1, 1, 0, None)


def test_a_second_window_finds_each_review_as_soon_as_it_was_made(path, clock):
    Progress(path, clock).review("claim:C009", Grade.MISSED, "right")
    found = Progress(path, clock).items["claim:C009"]
    assert (found.grade, found.answer, found.missed) == (Grade.MISSED, "right", 1)


def test_two_open_windows_do_not_undo_each_other(path, clock):
    one, other = Progress(path, clock), Progress(path, clock)
    one.review("claim:C009", Grade.KNEW)
    other.review("claim:C010", Grade.KNEW)
    clock.now += timedelta(minutes=1)
    one.review("claim:C011", Grade.KNEW)
    assert set(read_progress(path)) == {"claim:C009", "claim:C010", "claim:C011"}
    assert set(one.items) == set(read_progress(path))


def test_times_are_written_in_utc_whatever_the_clock_tells(path):
    clock = Hand(datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))))
    Progress(path, clock).review("claim:C009", Grade.MISSED)
    (kept,) = json.loads(path.read_text())["items"].values()
    assert kept["last_review"] == "2026-01-01T12:00:00Z"
    assert kept["due"] == "2026-01-01T12:10:00Z"


def test_an_item_that_is_asked_no_more_is_kept(path, clock):
    progress = Progress(path, clock)
    progress.review("card:gone", Grade.KNEW)
    progress.review("claim:C009", Grade.KNEW)
    assert "card:gone" in Progress(path, clock).items


def test_of_two_machines_the_later_review_of_each_item_wins(tmp_path, clock):
    laptop = Progress(tmp_path / "laptop.json", clock)
    laptop.review("claim:C009", Grade.MISSED)
    laptop.review("claim:C010", Grade.MISSED)
    clock.now += timedelta(hours=1)
    phone = Progress(tmp_path / "phone.json", clock)
    phone.review("claim:C009", Grade.KNEW)
    phone.review("claim:C011", Grade.KNEW)
    clock.now += timedelta(hours=1)
    laptop.review("claim:C010", Grade.KNEW)
    both = merged(laptop.items, phone.items)
    assert both == merged(phone.items, laptop.items)
    assert {name: memory.grade for name, memory in both.items()} == {
        "claim:C009": Grade.KNEW,
        "claim:C010": Grade.KNEW,
        "claim:C011": Grade.KNEW,
    }
    assert laptop.join(tmp_path / "phone.json") == 2
    assert read_progress(tmp_path / "laptop.json") == both
    assert set(read_progress(tmp_path / "phone.json")) == {"claim:C009", "claim:C011"}


def test_a_clock_that_is_behind_loses_no_review(path, clock):
    Progress(path, clock).review("claim:C009", Grade.MISSED)
    behind = Hand(START - timedelta(days=3))
    Progress(path, behind).review("claim:C009", Grade.KNEW)
    kept = read_progress(path)["claim:C009"]
    assert (kept.grade, kept.reviews, kept.last_review) == (Grade.KNEW, 2, START)


WHOLE = """{"version": 1, "items": {"claim:C009": {"due": "2026-01-03T12:00:00Z",
"last_review": "2026-01-01T12:00:00Z", "grade": "knew", "answer": "", "reviews": 1,
"missed": 0, "state": 2, "step": null, "stability": 2.3, "difficulty": 2.1}}}"""


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", "Expecting value"),
        (WHOLE[:100], "Unterminated"),
        ("[]", "file"),
        (WHOLE.replace("2.3", "NaN"), "stability"),
        (WHOLE.replace("2.3", "0"), "stability"),
        (WHOLE.replace("Z", ""), "timezone"),
        (WHOLE.replace('"knew"', '"easy"'), "grade"),
        (WHOLE.replace('"version": 1', '"version": 0'), "version"),
        ("[" * 100_000, "recursion"),
        (b"\xff\xfe\x00", "decode"),
    ],
)
def test_a_damaged_file_is_kept_aside_and_said_so(path, clock, written, told):
    data = written if isinstance(written, bytes) else written.encode()
    path.write_bytes(data)
    progress = Progress(path, clock)
    aside = path.with_name("drill-damaged-20260101T120000Z-1.json")
    assert told in progress.notice and str(aside) in progress.notice
    assert not progress.items and aside.read_bytes() == data and not path.exists()
    progress.review("claim:C009", Grade.KNEW)
    assert set(read_progress(path)) == {"claim:C009"} and aside.read_bytes() == data


def test_a_second_damaged_file_does_not_replace_the_first(path, clock):
    for number in (1, 2):
        path.write_text(f"damaged {number}")
        Progress(path, clock)
    kept = sorted(p.read_text() for p in path.parent.glob("*-damaged-*"))
    assert kept == ["damaged 1", "damaged 2"]


def test_a_file_that_is_damaged_while_the_drill_runs_is_not_overwritten(path, clock):
    progress = Progress(path, clock)
    progress.review("claim:C009", Grade.KNEW)
    path.write_text("damaged")
    progress.review("claim:C010", Grade.KNEW)
    assert set(read_progress(path)) == {"claim:C009", "claim:C010"}
    assert [p.read_text() for p in path.parent.glob("*-damaged-*")] == ["damaged"]


def test_a_file_of_a_newer_version_is_left_where_it_is(path, clock):
    path.write_text('{"version": 2, "items": {"claim:C009": "of another form"}}')
    with pytest.raises(UnusableProgress, match="git pull"):
        Progress(path, clock)
    assert path.read_text().startswith('{"version": 2')


def test_a_folder_in_its_place_is_refused(path, clock):
    path.mkdir()
    with pytest.raises(UnusableProgress, match="cannot be read"):
        Progress(path, clock)


def test_a_file_that_is_joined_is_neither_changed_nor_made(path, clock):
    progress, other = Progress(path, clock), path.with_name("other.json")
    with pytest.raises(UnusableProgress, match="missing"):
        progress.join(other)
    other.write_text("damaged")
    with pytest.raises(DamagedProgress):
        progress.join(other)
    assert other.read_text() == "damaged"


def test_progress_that_cannot_be_written_says_so(path, clock, monkeypatch):
    progress = Progress(path, clock)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("course_utils.drill.progress.write_json", full)
    with pytest.raises(UnusableProgress, match="No space left on device"):
        progress.review("claim:C009", Grade.KNEW)
    assert progress.is_new("claim:C009")  # the next try is not a second review


def test_the_path_is_the_argument_then_the_variable_then_among_the_runs(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path))
    monkeypatch.delenv("COURSE_DRILL", raising=False)
    assert progress_path() == tmp_path / "drill.json"
    monkeypatch.setenv("COURSE_DRILL", str(tmp_path / "stick.json"))
    assert progress_path() == tmp_path / "stick.json"
    assert progress_path(tmp_path / "mine.json") == tmp_path / "mine.json"


@pytest.mark.parametrize(
    ("wait", "told"),
    [
        (timedelta(seconds=-5), "in 1 minute"),
        (timedelta(minutes=15), "in 15 minutes"),
        (timedelta(hours=1), "in 1 hour"),
        (timedelta(days=2), "in 2 days"),
    ],
)
def test_a_pause_is_told_in_its_largest_unit(wait, told):
    assert in_words(wait) == told

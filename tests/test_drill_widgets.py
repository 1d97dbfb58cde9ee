import re
from datetime import UTC, datetime, timedelta

import pytest

from course_utils.drill import widgets as views
from course_utils.drill.progress import Grade, Progress, read_progress
from course_utils.drill.questions import Prediction, Spoken, Spot
from course_utils.drill.session import UnknownTopic
from course_utils.drill.widgets.interview import MockView
from course_utils.drill.widgets.page import STYLE, checkboxes
from course_utils.drill.widgets.rounds import CardsView, PredictView, SpotView
from course_utils.evidence.claims import Expectation
from course_utils.evidence.questions import (
    Card,
    FollowUp,
    NumberBehind,
    SpokenCard,
    Trap,
)

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
CUT = NumberBehind(what="bytes", text="2.0 GB", kind="arithmetic", claim="", place="")
SPOTS = [
    Spot(
        id=f"claim:{number}",
        topics=frozenset({"memory"}),
        level=0,
        claim=f"Claim {number} says a < b & <b>more</b>.",
        verdict=verdict,
        right=f"Right is {number}.",
        numbers=(),
        further=(CUT,),
        place="notebooks/01, cell [7]",
    )
    for number, verdict in enumerate(("wrong", "right"))
]
PREDICTION = Prediction(
    id="prediction:C009.nf4_gb",
    topics=frozenset({"memory"}),
    level=1,
    ask="How many GB?",
    hint="Half a byte a weight.",
    unit="GB",
    expectation=Expectation(
        unit="GB", kind="arithmetic", expected=4.0, tolerance=0.04, show=".1f"
    ),
    value=4.0,
    number=NumberBehind(
        what="nf4 gb", text="4.0 GB", kind="arithmetic", claim="C009", place="proofs/01"
    ),
    claim="It takes 8 GB.",
    right="It takes 4.0 GB.",
    place="notebooks/01",
)


def spoken(number: int, topic="memory") -> Spoken:
    asked = tuple(FollowUp(ask=f"And {n}?", point=f"Point {n}.") for n in (1, 2))
    trap = Trap(says="It never does.", because="Sometimes it does.")
    rubric = ("says one", "says two", "says three", "says <s>", "says five")
    card = Card(
        id=f"card-{number}",
        topic=topic,
        level=1,
        kind="concept",
        question=f"Question {number}?",
        hook="The hook.",
        answer="The answer.",
        rubric=rubric,
        trap=trap,
        followups=asked,
    )
    words = dict(hook="The hook.", answer="one " * 138, rubric=rubric, trap=trap)
    said = SpokenCard(card=card, followups=asked, numbers=(CUT,), **words)
    return Spoken(
        id=f"card:card-{number}",
        topics=frozenset({topic}),
        level=1,
        card=card,
        said=said,
        places=("notebooks/01, cell [7]",),
    )


class Hand:
    """A clock that is set by hand."""

    now = START

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Hand()


@pytest.fixture
def progress(tmp_path, clock):
    return Progress(tmp_path / "drill.json", clock)


def buttons(view):
    return {
        button.description: button for button in view.controls.children[-1].children
    }


def click(view, text):
    buttons(view)[text].click()


def text_of(view):
    """What is read on the page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", view.page.value)).strip()


def test_a_claim_has_four_verdicts_then_what_is_right_with_number_and_place(progress):
    view = SpotView(SPOTS[:1], progress, 10)
    assert list(buttons(view)) == ["right", "imprecise", "depends", "wrong"]
    assert "Claim 0 says" in text_of(view) and "Right is 0." not in text_of(view)
    click(view, "wrong")
    told = text_of(view)
    for part in ("Yes: wrong.", "Right is 0.", "bytes 2.0 GB", "cell [7]", "in 2 days"):
        assert part in told
    assert read_progress(progress.path)["claim:0"].grade is Grade.KNEW


def test_markup_in_a_claim_is_shown_and_not_obeyed(progress):
    view = SpotView(SPOTS[:1], progress, 10)
    assert "a &lt; b &amp; &lt;b&gt;more&lt;/b&gt;" in view.page.value


def test_at_the_end_of_a_round_stands_how_it_went_and_what_fooled(progress):
    view = SpotView(SPOTS, progress, 10)
    for last in (False, True):
        click(view, "right")  # one of the two is wrong
        click(view, "how it went" if last else "next")
    told = text_of(view)
    assert "2 asked: 1 knew, 0 partly, 1 missed." in told
    assert "1×: “Claim 0" in told and "Claim 1" not in told
    assert str(progress.path) in told
    click(view, "another round")
    assert "Nothing asked. Now 0 due, 0 new, 2 for later" in text_of(view)


def test_what_was_missed_is_asked_again_when_it_is_due(progress, clock):
    view = SpotView(SPOTS[:1], progress, 10)
    click(view, "right")
    clock.wait(700)
    click(view, "how it went")
    click(view, "another round")
    assert "1 of 1, again" in text_of(view)
    click(view, "right")
    assert "Missed 2 times so far." in text_of(view)


def test_a_round_asks_as_many_as_were_wanted(progress):
    view = SpotView(SPOTS, progress, 1)
    click(view, "wrong")
    assert list(buttons(view)) == ["how it went"]


def test_a_number_is_asked_with_its_unit_and_a_hint_and_graded_by_the_bank(progress):
    view = PredictView([PREDICTION], progress, 10)
    assert list(buttons(view)) == ["check", "hint", "no idea"]
    field, _ = view.controls.children
    assert field.placeholder == "GB" and "In GB:" in text_of(view)
    click(view, "hint")
    assert "Half a byte" in text_of(view)
    field.value = "nothing"
    click(view, "check")
    assert "is no number" in text_of(view) and not read_progress(progress.path)
    field.value = "4.5 GB"
    click(view, "check")
    told = text_of(view)
    assert "Near: 4.0 GB. You said 4.5." in told and "Reckon with" in told
    assert "It takes 4.0 GB." in told
    kept = read_progress(progress.path)[PREDICTION.id]
    assert (kept.grade, kept.answer) == (Grade.PARTLY, "4.5")


def test_the_enter_key_checks_a_number_and_leaving_the_field_does_not(progress):
    view = PredictView([PREDICTION], progress, 10)
    field, _ = view.controls.children
    field.value = "4"
    assert not read_progress(progress.path)
    field._handle_custom_msg({"event": "submit"}, [])  # as the browser sends it
    assert "Yes: 4.0 GB." in text_of(view)


def test_no_idea_is_missed_and_tells_the_number(progress):
    view = PredictView([PREDICTION], progress, 10)
    click(view, "no idea")
    assert "No: 4.0 GB." in text_of(view)
    assert read_progress(progress.path)[PREDICTION.id].grade is Grade.MISSED


def test_a_card_waits_asks_to_speak_and_shows_its_seconds_when_it_turns(
    progress, clock
):
    view = CardsView([spoken(0)], progress, 10)
    assert "Question 0?" not in text_of(view)
    clock.wait(3600)  # the cell was run, and read an hour later
    click(view, "start")
    assert "Question 0?" in text_of(view) and "Speak now." in text_of(view)
    assert "animation-duration: 60s" in view.page.value  # 140 words
    clock.wait(48)
    click(view, "turn the card")
    assert "48 s; the model answer takes 60 s." in text_of(view)
    assert "The hook. one one" in text_of(view)


def test_an_answer_that_was_hardly_said_is_asked_to_be_said(progress, clock):
    view = CardsView([spoken(0)], progress, 10)
    click(view, "start")
    clock.wait(5)
    click(view, "turn the card")
    assert "5 s? The model answer takes 60 s: say it aloud." in text_of(view)


def test_a_card_goes_by_ticks_follow_ups_and_a_grade_that_can_be_overruled(progress):
    view = CardsView([spoken(0)], progress, 10)
    for text in ("start", "turn the card"):
        click(view, text)
    *boxes, _ = view.controls.children
    assert [box.description for box in boxes][3] == "says < s>"  # no markup
    for box in boxes[:3]:
        box.value = True
    for number in (1, 2):
        click(view, "they ask next")
        assert f"And {number}?" in text_of(view)
        assert f"Point {number}." not in text_of(view)
        click(view, "what to say")
        assert f"Point {number}." in text_of(view)
    assert "3 of 5 points: partly" in text_of(view)
    assert "It never does." in text_of(view) and "bytes: 2.0 GB" in text_of(view)
    marked = [text for text, b in buttons(view).items() if b.button_style]
    assert list(buttons(view)) == list(Grade) and marked == ["partly"]
    click(view, "knew")
    kept = read_progress(progress.path)["card:card-0"]
    assert (kept.grade, kept.answer) == (Grade.KNEW, "3 of 5 points")


def test_an_interview_asks_counts_the_clock_and_ends_in_a_sheet(progress, clock):
    view = MockView([spoken(n) for n in range(5)], progress, 1)
    click(view, "inference engineer")
    for number in range(1, 6):
        for _ in range(3):
            assert f"Question {number} of 5" in text_of(view)
            clock.wait(20)
            click(view, "I have answered")
        assert f"{number}:00 of 15:00" in text_of(view)
        *boxes, _ = view.controls.children
        assert len(boxes) == 7  # the rubric and two follow-ups
        for box in boxes[: 7 if number == 1 else 2]:
            box.value = True
        click(view, "note them")
    told = text_of(view)
    assert "inference engineer, 5 questions, 5:00 spoken of 15:00" in told
    assert "memory 20 of 35" in told and "notebooks/01 [7]" in told
    grades = [memory.grade for memory in read_progress(progress.path).values()]
    assert sorted(grades) == [Grade.KNEW, *[Grade.MISSED] * 4]
    click(view, "another one")
    assert "applied engineer" in buttons(view)


def test_an_interview_can_be_ended_and_what_was_noted_stays(progress):
    view = MockView([spoken(n) for n in range(5)], progress, 1)
    click(view, "applied engineer")
    click(view, "end here")
    assert "No question was answered." in text_of(view)
    assert not read_progress(progress.path)


# An exception in a click goes to a log that nobody reads.
def test_a_disk_that_is_full_is_told_on_the_page(progress, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    view = SpotView(SPOTS, progress, 10)
    monkeypatch.setattr("course_utils.drill.progress.write_json", full)
    click(view, "wrong")
    assert "No space left on device" in text_of(view)


def test_damaged_progress_is_kept_aside_and_said_on_the_page(tmp_path, clock):
    path = tmp_path / "drill.json"
    path.write_text("{")
    view = SpotView(SPOTS, Progress(path, clock), 10)
    assert "no whole file of progress" in text_of(view)
    assert [p.read_text() for p in tmp_path.glob("*damaged*")] == ["{"]


@pytest.mark.parametrize("name", ["spot", "cards", "predict", "mock"])
def test_without_a_front_end_a_view_names_the_terminals_command(name, progress):
    view = getattr(views, f"{name}_view")(progress=progress)
    assert repr(view).endswith(f"python -m course_utils.drill {name}")
    assert len(repr(view)) <= 110  # ipywidgets cuts what is longer
    assert buttons(view)


def test_a_topic_that_does_not_exist_names_those_that_do(progress):
    with pytest.raises(UnknownTopic, match=r"'memry'.*memory, quantization"):
        views.spot_view("memry", progress=progress)


# A phone is 390 pixels wide: what does not wrap is cut off.
def test_rows_wrap_and_so_do_texts(progress):
    view = SpotView(SPOTS, progress, 10)
    assert view.controls.children[-1].layout.flex_flow == "row wrap"
    assert "course-drill" in view._dom_classes
    style = view.children[0].value
    assert style == f"<style>{STYLE.read_text()}</style>"
    assert "overflow-wrap: anywhere" in style
    [box] = checkboxes(["a point"])
    assert box.layout.max_width == "100%"

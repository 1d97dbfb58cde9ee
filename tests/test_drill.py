import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from course_utils import CourseError
from course_utils.drill import terminal
from course_utils.drill.console import Console, wrapped
from course_utils.drill.mock import ROLES, Answered, Role, Sheet, draw, points_of
from course_utils.drill.progress import Grade, Progress, read_progress
from course_utils.drill.questions import (
    ANY_LEVEL,
    CHOICES,
    Prediction,
    Spoken,
    Spot,
    can_be_predicted,
    chosen,
    fooled_by,
    grade_of,
    load_predictions,
    next_up,
    number_said,
    topics_of_claims,
    unit_shown,
)
from course_utils.drill.session import load_bank
from course_utils.drill.terminal import main
from course_utils.evidence.claims import Expectation, load_claims, load_evidence
from course_utils.evidence.questions import (
    Card,
    FollowUp,
    NumberBehind,
    SpokenCard,
    Topic,
    Trap,
    load_cards,
)
from course_utils.places import PROJECT_ROOT

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
SPOT = Spot(
    id="claim:C900",
    topics=frozenset({"memory"}),
    level=ANY_LEVEL,
    claim="It takes half a byte.",
    verdict="imprecise",
    right="It takes 4.5 bits.",
    numbers=(),
    further=(),
    place="a notebook, cell [3]",
)
NUMBER = NumberBehind(
    what="nf4 gb", text="6.03 GB", kind="arithmetic", claim="C900", place="01"
)
PREDICTION = Prediction(
    id="prediction:C900.nf4_gb",
    topics=frozenset({"memory"}),
    level=1,
    ask="How many GB?",
    hint="4.5 bits a weight.",
    unit="GB",
    expectation=Expectation(
        unit="GB", kind="arithmetic", expected=6.028, tolerance=0.001
    ),
    value=6.028,
    number=NUMBER,
    claim="It takes half a byte.",
    right="It takes 4.5 bits.",
    place="a notebook, cell [3]",
)


def spoken(name: str, topic: str = "memory", kind: str = "concept") -> Spoken:
    trap = Trap(says="six", because="it is seven")
    asked = (FollowUp(ask="Why?", point="so"), FollowUp(ask="How?", point="thus"))
    rubric = ("one", "another", "a third")
    card = Card(
        id=name,
        topic=topic,
        level=1,
        kind=kind,
        question=f"What is {name}?",
        hook="In short.",
        answer="At length.",
        rubric=rubric,
        trap=trap,
        followups=asked,
    )
    said = SpokenCard(
        card=card,
        hook=card.hook,
        answer=card.answer,
        rubric=rubric,
        trap=trap,
        followups=asked,
        numbers=(NUMBER,),
    )
    return Spoken(
        id=f"card:{name}",
        topics=frozenset({topic}),
        level=1,
        card=card,
        said=said,
        places=("notebooks/02.ipynb, cell [12]", "notebooks/02.ipynb, cell [9]"),
    )


class Learner:
    """Types prepared lines, a second for each; what is said to it is kept."""

    def __init__(self, *lines: str, ends: type[BaseException] = EOFError):
        self.lines, self.ends, self.told = list(lines), ends, []
        self.now = START

    def ask(self, prompt: str) -> str:
        self.told.append(prompt)
        if not self.lines:
            raise self.ends
        self.now += timedelta(seconds=1)
        return self.lines.pop(0)

    def console(self) -> Console:
        return Console(self.ask, self.told.append, lambda: self.now)

    @property
    def heard(self) -> str:
        return "\n".join(self.told)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "drill.json"


@pytest.mark.parametrize(
    ("verdict", "said", "grade"),
    [
        ("wrong", "wrong", Grade.KNEW),
        ("not shown", "wrong", Grade.KNEW),
        ("wrong", "imprecise", Grade.PARTLY),
        ("depends", "imprecise", Grade.PARTLY),
        ("imprecise", "right", Grade.MISSED),
        ("right", "depends", Grade.MISSED),
        ("right", "right", Grade.KNEW),
    ],
)
def test_a_verdict_is_missed_when_a_claim_fooled_or_was_doubted_for_nothing(
    verdict, said, grade
):
    assert said in CHOICES
    assert replace(SPOT, verdict=verdict).grade(said) is grade


@pytest.mark.parametrize(
    ("typed", "unit", "number"),
    [
        ("6.03", "GB", 6.03),
        (" about 6 GB ", "GB", 6),
        ("~.5", "nats per token", 0.5),
        ("41,943,040", "parameters", 41943040),
        ("42 million", "parameters", 42e6),
        ("42M", "parameters", 42e6),
        ("42 million parameters", "parameters", 42e6),
        ("2e-4", "learning rate", 2e-4),
        ("-0.86", "percentage points", -0.86),
        ("72 %", "percent", 72),
        ("12.5 %", "share of the weights", 0.125),
        ("19%", "probability", 0.19),
        ("0.19", "probability", 0.19),
        ("94 updates", "updates", 94),
    ],
)
def test_a_number_is_read_as_people_type_it(typed, unit, number):
    assert number_said(typed, unit) == pytest.approx(number)


@pytest.mark.parametrize(
    ("typed", "unit", "told"),
    [
        ("many", "GB", "no number"),
        ("", "GB", "no number"),
        ("6 or 7", "GB", "no number"),
        ("6,03", "GB", "two ways"),
        ("6 GiB", "GB", "not the unit"),
        ("60 %", "GB", "not asked for"),
        ("58", "share of the base", "58 %"),
    ],
)
def test_what_is_no_number_of_the_unit_is_explained(typed, unit, told):
    with pytest.raises(ValueError, match=told):
        number_said(typed, unit)


def asks(value: float, **bounds: float) -> Prediction:
    bounds = bounds or {"expected": value, "tolerance": 0}
    expectation = Expectation(unit="GB", kind="arithmetic", **bounds)
    return replace(PREDICTION, value=value, expectation=expectation)


@pytest.mark.parametrize(
    ("prediction", "said", "grade"),
    [
        (asks(6.028, expected=6.028, tolerance=0.001), 6.0285, Grade.KNEW),
        (asks(6.028), 6.1, Grade.KNEW),  # 1.2 % beside it
        (asks(6.028), 6.5, Grade.PARTLY),  # 8 %
        (asks(6.028), 4.5, Grade.MISSED),  # 25 %
        (asks(94), 94, Grade.KNEW),
        (asks(94), 93, Grade.PARTLY),  # 1.1 %, but it can be counted
        (asks(41943040), 42e6, Grade.KNEW),
        (asks(0, expected=0, tolerance=1e-6), 0, Grade.KNEW),
        (asks(0, expected=0, tolerance=1e-6), 0.1, Grade.MISSED),
        (asks(1.4, min=1, max=2), 1.9, Grade.KNEW),
        (asks(1.4, min=1, max=2), 2.2, Grade.PARTLY),
        (asks(1.4, min=1, max=2), 3, Grade.MISSED),
        (asks(-0.5, expected=-0.5, tolerance=0), 0.5, Grade.MISSED),
    ],
)
def test_a_number_is_held_to_the_banks_bounds_or_to_what_the_head_reckons(
    prediction, said, grade
):
    assert prediction.grade(said) is grade


def test_bounds_that_would_take_almost_any_number_are_no_question():
    wide = Expectation(unit="ratio", kind="arithmetic", min=0.05, max=100)
    open_ended = Expectation(unit="ratio", kind="arithmetic", min=0.5)
    exact = Expectation(unit="ratio", kind="arithmetic", expected=0, tolerance=1e-6)
    assert not can_be_predicted(wide, 1.5) and not can_be_predicted(open_ended, 1.5)
    assert can_be_predicted(exact, 0.0)


@pytest.mark.parametrize(
    ("made", "grade"), [(0, "missed"), (1, "missed"), (2, "partly"), (3, "partly")]
)
def test_points_of_five_propose_a_grade(made, grade):
    assert grade_of([n < made for n in range(5)]) == grade
    assert grade_of([True] * 4 + [False]) is Grade.KNEW


def test_a_number_without_a_unit_is_asked_without_one():
    assert unit_shown("ratio (alpha 16 over rank 64)") == ""
    assert unit_shown("GiB (published peak)") == "GiB"


def test_what_is_due_the_longest_comes_first_and_then_what_is_new(path):
    now = START
    progress = Progress(path, lambda: now)
    first, second, known, *new = (
        replace(SPOT, id=f"claim:C{n}") for n in range(900, 909)
    )
    for item, grade in ((second, Grade.PARTLY), (first, Grade.MISSED)):
        progress.review(item.id, grade)  # due in 15 and in 10 minutes
    progress.review(known.id, Grade.KNEW)
    items = [second, known, *new, first]
    now = START + timedelta(hours=1)
    order = next_up(items, progress, seed=1)
    assert order[:2] == [first, second] and known not in order
    assert set(order[2:]) == set(new)
    assert order == next_up(items[::-1], progress, seed=1)
    assert order != next_up(items, progress, seed=2)


def test_learning_one_does_not_shuffle_the_others(path):
    progress = Progress(path, lambda: START)
    items = [replace(SPOT, id=f"claim:C{n}") for n in range(900, 909)]
    order = next_up(items, progress)
    progress.review(order[0].id, Grade.KNEW)
    assert next_up(items, progress) == order[1:]


def test_of_two_numbers_of_a_claim_one_is_asked_since_it_gives_the_other_away(path):
    twice = replace(PREDICTION, id="prediction:C900.nf4_dq_gb")
    progress = Progress(path, lambda: START)
    (asked,) = next_up([PREDICTION, twice], progress)
    progress.review(asked.id, Grade.KNEW)
    (other,) = next_up([PREDICTION, twice], progress)
    assert {asked.id, other.id} == {PREDICTION.id, twice.id}


def test_items_are_chosen_by_topic_and_level_and_those_of_no_level_fit_any():
    hard = replace(PREDICTION, level=3)
    assert chosen([SPOT, PREDICTION, hard], "memory", 3) == [SPOT, hard]
    assert chosen([SPOT, PREDICTION], "lora") == []
    assert chosen([SPOT, PREDICTION]) == [SPOT, PREDICTION]


def test_what_fooled_most_often_is_named_first(path):
    progress = Progress(path, lambda: START)
    other = replace(SPOT, id="claim:C901")
    for name in (SPOT.id, other.id, other.id):
        progress.review(name, Grade.MISSED, "right")
    progress.review(other.id, Grade.KNEW)
    unseen = replace(SPOT, id="claim:C902")
    assert fooled_by([SPOT, other, unseen], progress) == [(other, 2), (SPOT, 1)]


# The bank as it is


def test_every_claim_can_be_judged_with_its_right_statement_and_its_place():
    bank = load_bank()
    assert {item.id for item in bank.spot} == {
        f"claim:{name}" for name in load_claims()
    }
    for item in bank.spot:
        assert "{" not in item.right and item.topics, item.id
        notebook = item.place.partition(", cell ")[0]
        assert item.place, item.id
        if notebook.endswith(".ipynb"):
            assert (PROJECT_ROOT / notebook).is_file(), item.id


def test_every_topic_is_one_of_the_cards():
    topics = topics_of_claims(load_claims(), load_cards().values(), {})
    assert set().union(*topics.values()) <= set(get_args(Topic))


@pytest.mark.parametrize("name", load_predictions())
def test_a_number_that_is_asked_stands_in_the_bank_within_bounds_that_say_something(
    name,
):
    claim, _, key = name.partition(".")
    value = load_evidence()[claim][key]
    assert can_be_predicted(load_claims()[claim].values[key], value)


def test_every_number_that_is_asked_is_known_to_the_drill():
    assert len(load_bank().predict) == len(load_predictions()) >= 40
    for item in load_bank().predict:
        assert item.grade(item.value) is Grade.KNEW, item.id


# The mock interview

CARDS = [
    *(spoken(f"memory-{n}", "memory") for n in range(8)),
    *(spoken(f"lora-{n}", "lora") for n in range(4)),
    spoken("sum", "memory", "calculation"),
    spoken("bug", "training", "debugging"),
    spoken("mine", "project"),
]


@pytest.mark.parametrize("role", ROLES)
def test_an_interview_has_five_questions_a_sum_and_a_fault_or_a_design(role):
    for seed in range(30):
        drawn = draw(CARDS, ROLES[role], seed)
        assert len({item.id for item in drawn}) == 5
        kinds = {item.card.kind for item in drawn}
        assert "calculation" in kinds and kinds & {"debugging", "design"}
        assert max(Counter(item.card.topic for item in drawn).values()) <= 2
        topics = [item.card.topic for item in drawn]
        assert "project" not in topics[1:]
        assert drawn == draw(CARDS, ROLES[role], seed)


def test_a_bank_of_few_cards_gives_a_shorter_interview():
    assert len(draw(CARDS[:4], ROLES["applied"], 1)) == 4  # of one topic
    assert draw([], ROLES["applied"], 1) == []


def test_a_role_asks_its_topics_more_often():
    cards = [spoken(f"{t}-{n}", t) for t in ("serving", "data") for n in range(10)]
    role = Role(title="", topics={"serving": 4}, kinds={})
    first = Counter(draw(cards, role, seed)[0].card.topic for seed in range(300))
    assert 0.7 < first["serving"] / 300 < 0.9  # 4 of 5


def test_the_roles_weigh_topics_and_kinds_that_there_are():
    kinds = {"concept", "calculation", "debugging", "design", "coding"}
    for role in ROLES.values():
        assert role.topics.keys() <= set(get_args(Topic))
        assert role.kinds.keys() <= kinds


def test_the_sheet_counts_points_by_topic_and_names_the_cells_to_run_again():
    sheet = Sheet(
        ROLES["inference"],
        [
            Answered(
                item=spoken("cache", "memory"),
                ticks=(True, False, False, False, True),
                seconds=(40, 20, 10),
            ),
            Answered(
                item=spoken("heap", "memory"), ticks=(True,) * 5, seconds=(30, 0, 0)
            ),
            Answered(
                item=spoken("rank", "lora"),
                ticks=(False,) * 4 + (True,),
                seconds=(9, 9, 2),
            ),
        ],
    )
    assert sheet.topics() == [
        {"topic": "lora", "missed": 4, "of": 5, "share": 0.8},
        {"topic": "memory", "missed": 3, "of": 10, "share": 0.3},
    ]
    assert sheet.to_run_again() == [{"place": "notebooks/02.ipynb", "cells": [9, 12]}]
    assert sheet.questions()[0] == {
        "question": "What is cache?",
        "topic": "memory",
        "kind": "concept",
        "seconds": 70,
        "points": 2,
        "of": 5,
    }
    text = str(sheet)
    assert "3 questions, 2:00 spoken of 15:00" in text
    assert "lora: 4 of 5" in text and "notebooks/02.ipynb [9], [12]" in text
    assert "missed: another" in text and "missed: “Why?”" in text
    assert [each.grade for each in sheet.answered] == ["partly", "knew", "missed"]
    assert points_of(spoken("rank"))[3:] == ("“Why?” so", "“How?” thus")
    assert str(Sheet(ROLES["inference"], [])) == "No question was answered."


# The terminal


def test_a_verdict_is_asked_until_it_is_one_and_then_explained():
    learner = Learner("?", "no", "imp")
    outcome = terminal.ask_spot(SPOT, learner.console())
    assert outcome == (Grade.KNEW, "imprecise")
    assert learner.heard.count("it holds as it is said") == 2
    for part in ("Yes: imprecise.", "It takes 4.5 bits.", "a notebook, cell [3]"):
        assert part in learner.heard


def test_a_number_is_asked_until_it_is_one_with_a_hint_on_demand():
    learner = Learner("much", "h", "6,0", "7")
    outcome = terminal.ask_prediction(PREDICTION, learner.console())
    assert outcome == (Grade.PARTLY, "7")
    assert "Near: 6.03 GB. You said 7." in learner.heard
    assert "Reckon with: 4.5 bits a weight." in learner.heard


def test_no_idea_is_an_answer():
    learner = Learner("")
    assert terminal.ask_prediction(PREDICTION, learner.console())[0] is Grade.MISSED
    assert "You said" not in learner.heard


def test_a_card_is_turned_after_it_was_spoken_and_its_ticks_propose_the_grade():
    learner = Learner("", "9", "1, 2", "", "", "")
    outcome = terminal.ask_card(spoken("rank"), learner.console())
    assert outcome == (Grade.PARTLY, "2 of 3 points")
    told = learner.told
    assert told.index("Answer aloud, then press Enter > ") < next(
        n for n, text in enumerate(told) if "At length." in text
    )
    assert "Type numbers from 1 to 3" in learner.heard
    assert "1 s; the model answer takes 2 s." in learner.heard


def test_a_grade_of_ones_own_stands_over_the_ticks_and_numbers_are_on_demand():
    learner = Learner("", "a", "", "", "?", "m")
    outcome = terminal.ask_card(spoken("rank"), learner.console())
    assert outcome == (Grade.MISSED, "3 of 3 points")
    assert "nf4 gb: 6.03 GB (01)" in learner.heard


@pytest.mark.parametrize("ends", [EOFError, KeyboardInterrupt])
def test_what_was_answered_is_kept_however_the_session_ends(path, ends):
    learner = Learner("r", "", ends=ends)
    progress = Progress(path, lambda: START)
    items = [replace(SPOT, id=f"claim:C{n}") for n in range(900, 905)]
    terminal.drill(
        items, terminal.ask_spot, progress, learner.console(), number=5, seed=0
    )
    (kept,) = read_progress(path).values()
    assert (kept.grade, kept.answer) == (Grade.MISSED, "right")
    assert "1 asked: 0 knew, 0 partly, 1 missed. Now 0 due, 4 new" in learner.heard


def test_ticks_are_kept_when_the_learner_leaves_at_a_follow_up(path):
    learner = Learner("", "a", "q")
    progress = Progress(path, lambda: START)
    cards = [spoken("rank"), spoken("alpha")]
    terminal.drill(
        cards, terminal.ask_card, progress, learner.console(), number=2, seed=0
    )
    (kept,) = read_progress(path).values()
    assert (kept.grade, kept.answer) == (Grade.KNEW, "3 of 3 points")


def test_when_nothing_is_left_it_says_when_the_next_comes(path):
    progress = Progress(path, lambda: START)
    progress.review(SPOT.id, Grade.MISSED)
    learner = Learner()
    terminal.drill(
        [SPOT], terminal.ask_spot, progress, learner.console(), number=5, seed=0
    )
    assert "Nothing asked. Now 0 due, 0 new, 1 for later, the next in 10 minutes" in (
        learner.heard
    )


def test_an_interview_is_spoken_ticked_saved_and_ends_with_a_sheet(path):
    learner = Learner("", "", "", "1 4", "", "", "", "a", "q")
    progress = Progress(path, lambda: START)
    sheet = terminal.interview(
        CARDS, ROLES["applied"], progress, learner.console(), seed=4
    )
    assert [sum(each.ticks) for each in sheet.answered] == [2, 5]
    assert all(each.seconds == (1, 1, 1) for each in sheet.answered)
    assert len(read_progress(path)) == 2
    assert "Question 2 of 5, 0:03 of 15:00" in learner.heard
    assert "--seed 4 asks the same again" in learner.heard


def told_by(path, *arguments: str, lines: tuple[str, ...] = ()) -> tuple[int, str]:
    learner = Learner(*lines)
    chosen_file = [*arguments, "--progress", str(path)]
    code = main(chosen_file, learner.ask, learner.told.append, lambda: START)
    return code, learner.heard


def test_without_a_command_it_says_what_is_due_and_what_fooled(path):
    Progress(path, lambda: START).review("claim:C009", Grade.MISSED, "right")
    code, heard = told_by(path)
    claims = load_claims()
    assert code == 0 and f"0 due {len(claims) - 1} new   1 later" in heard
    assert f"fooled you 1×: “{claims['C009'].claim}” (wrong)" in heard


@pytest.mark.parametrize(
    ("command", "lines"),
    [("spot", ("r", "", "w")), ("predict", ("", "", "1"))],
)
def test_each_command_asks_its_items(path, command, lines):
    code, heard = told_by(path, command, "--number", "2", lines=lines)
    assert code == 0 and "2 asked:" in heard and len(read_progress(path)) == 2


def test_a_card_of_the_bank_is_asked_from_question_to_grade(path):
    lines = ("", "a", "", "", "k")
    code, heard = told_by(path, "cards", "--number", "1", lines=lines)
    assert code == 0 and "1 asked: 1 knew" in heard


def test_the_seed_of_an_interview_is_told_when_none_was_given(path):
    code, heard = told_by(path, "mock", "--role", "inference")
    assert code == 0 and f"--seed {int(START.timestamp()) % 100_000} asks" in heard


def test_a_damaged_file_is_told_and_the_drill_goes_on(path):
    path.write_text("damaged")
    code, heard = told_by(path, "spot", lines=("r",))
    assert code == 0 and "is kept as drill-damaged-" in heard
    assert len(read_progress(path)) == 1


def test_another_machines_file_is_taken_over(path):
    Progress(path.with_name("phone.json"), lambda: START).review("x", Grade.KNEW)
    code, heard = told_by(path, "--join", str(path.with_name("phone.json")))
    assert code == 0 and "1 items taken over." in heard and "x" in read_progress(path)
    code, heard = told_by(path, "--join", str(path.with_name("none.json")))
    assert code == 1 and "none.json is missing" in heard


@pytest.mark.parametrize(
    "wrong", [["--number", "0"], ["--level", "4"], ["--topic", "cars"], ["dance"]]
)
def test_a_command_line_that_is_wrong_ends_with_two(wrong, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(wrong)
    assert "error:" in capsys.readouterr().err


class Pair:
    """Stands for a whiteboard task: `double` of a number."""

    slug, title, topic, minutes = "double", "Double", "lora", 10
    task, hint, solution = "Write double.", "Add it to itself.", "return 2 * n"
    stub = "def double(n):\n    ...\n"

    class exercise:
        @staticmethod
        def solution(n): ...

    exercise.solution.__name__ = "double"

    def check(self, attempt):
        found = attempt(2)
        if found is None:
            return "double: not attempted yet."
        if found != 4:
            raise CourseError(f"double(2) gave {found}")
        return "double: right"


BOARD = terminal.Board(
    id="whiteboard:double", topics=frozenset({"lora"}), level=0, task=Pair()
)


class Writer(Learner):
    """Saves an attempt in the file before each Enter that has one."""

    def __init__(self, file, *attempts: str):
        super().__init__(*[""] * len(attempts))
        self.file, self.attempts = file, list(attempts)

    def ask(self, prompt: str) -> str:
        if self.attempts and (attempt := self.attempts.pop(0)):
            self.file.write_text(attempt)
        return super().ask(prompt)


RIGHT = "def double(n):\n    return 2 * n\n"


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path))
    return tmp_path / "whiteboard" / "double.py"


def test_a_function_that_is_right_at_once_is_known(written):
    learner = Writer(written, RIGHT)
    assert terminal.ask_board(BOARD, learner.console()) == (Grade.KNEW, "check 1")
    assert str(written) in learner.heard and "double: right" in learner.heard


def test_each_mistake_is_told_and_a_later_success_is_partly_known(written):
    attempts = ("", "def double(n) return", "n = 3", RIGHT.replace("2", "3"), RIGHT)
    learner = Writer(written, *attempts)
    assert terminal.ask_board(BOARD, learner.console()) == (Grade.PARTLY, "check 5")
    for told in ("not attempted", "SyntaxError", "no function double", "gave 6"):
        assert told in learner.heard


def test_who_asks_for_the_solution_has_given_up_and_a_hint_is_free(written):
    learner = Learner("h", "s")
    assert terminal.ask_board(BOARD, learner.console()) == (Grade.MISSED, "given up")
    assert "Add it to itself." in learner.heard and "return 2 * n" in learner.heard


def test_an_earlier_attempt_is_kept_beside_the_fresh_stub(written):
    for attempt in ("first", "second"):
        terminal.stub_file(BOARD.task).write_text(attempt)
    terminal.stub_file(BOARD.task)
    assert written.read_text() == Pair.stub
    kept = {p.name: p.read_text() for p in written.parent.glob("double-*.py")}
    assert kept == {"double-1.py": "first", "double-2.py": "second"}


def test_lines_are_at_most_eighty_columns_and_keep_their_indent():
    item = "  " + "four " * 40
    lines = wrapped(f"{'word ' * 40}\n{item}\n- {item.strip()}").split("\n")
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("  four") for line in lines) >= 4


def test_the_drill_starts_without_torch_numpy_or_widgets():
    heavy = "{'torch', 'numpy', 'pandas', 'matplotlib', 'ipywidgets', 'transformers'}"
    code = (
        "import sys, course_utils.drill.terminal as t; t.load_bank();"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT_ROOT
    )
    assert (told.stdout.strip(), told.stderr) == ("[]", "")


def test_piped_lines_reach_the_drill_and_its_end_is_no_error(path):
    told = subprocess.run(
        [sys.executable, "-m", "course_utils.drill", "spot", "--progress", str(path)],
        input="r\n",
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
    )
    assert told.returncode == 0 and not told.stderr and "1 asked" in told.stdout
    lines = [line for line in told.stdout.split("\n") if str(path) not in line]
    assert max(map(len, lines)) <= 80  # a path is not cut
    assert len(read_progress(path)) == 1

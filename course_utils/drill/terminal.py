"""The drill without a front end: `python -m course_utils.drill`.

Every answer is saved before the next question, so that the end of the input, Ctrl-C
or a closed window loses nothing. Nothing waits for a time: a timer says what passed
between two presses of Enter.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_args

from course_utils import CourseError
from course_utils.drill.console import (
    Console,
    Outcome,
    Stop,
    printed,
    typed,
)
from course_utils.drill.mock import (
    BUDGET_SECONDS,
    ROLES,
    Role,
    Sheet,
    clock_time,
    points_of,
)
from course_utils.drill.progress import (
    Clock,
    Grade,
    Progress,
    now_utc,
    standing,
)
from course_utils.drill.questions import (
    ANY_LEVEL,
    CHOICES,
    Item,
    Prediction,
    Spoken,
    Spot,
    chosen,
    grade_of,
    number_said,
    unit_shown,
)
from course_utils.drill.session import (
    Bank,
    Interview,
    Round,
    Told,
    computed,
    fooled,
    judged,
    load_bank,
    points_made,
    questions_of,
    seconds_since,
    timed,
)
from course_utils.evidence.claims import Verdict
from course_utils.evidence.questions import Topic
from course_utils.places import runs_folder, write_whole

HELP = {
    "spot": "claims to judge: spot the mistake",
    "cards": "questions to answer aloud",
    "predict": "numbers to say before they are shown",
    "mock": "an interview of five questions",
    "whiteboard": "functions to write in ten minutes",
}
if TYPE_CHECKING:
    from course_utils.drill.whiteboard.board import Task

Asks = TypeVar("Asks", bound=Item)


def ask_spot(item: Spot, console: Console) -> Outcome:
    """A claim, four verdicts, then what is right and where it is settled."""
    console.say(f"“{item.claim}”")
    keys: dict[str, Verdict] = {verdict[0]: verdict for verdict in CHOICES}
    offered = "   ".join(f"[{v[0]}]{v[1:]}" for v in CHOICES)
    meanings = "\n".join(f"  {verdict}: {told}" for verdict, told in CHOICES.items())
    told = judged(item, console.one_of(f"{offered} > ", keys, meanings))
    return _told(told, console)


def _told(told: Told, console: Console) -> Outcome:
    also = [f"Also: {told.further}."] if told.further else []
    where = f"Settled in {told.place}."
    console.say("\n".join([told.head, *told.lines, *also, where]))
    return told.grade, told.said


def ask_prediction(item: Prediction, console: Console) -> Outcome:
    """A number, asked again until it is one; then the bank's, and what follows."""
    console.say(item.ask)
    return _told(computed(item, _number_from(item, console)), console)


def _number_from(item: Prediction, console: Console) -> float | None:
    """What the learner says; None for no idea."""
    hint = ", h: a hint" if item.hint else ""
    prompt = f"{unit_shown(item.unit) or 'a number'} (Enter: no idea{hint}) > "
    while said := console.answer(prompt):
        if said.lower() in ("h", "hint", "?"):
            console.say(item.hint or "There is no hint.")
            continue
        try:
            return number_said(said, item.unit)
        except ValueError as error:
            console.say(str(error))
    return None


def ask_card(item: Spoken, console: Console) -> Outcome:
    """A question to answer aloud; then its card, points to tick, and a grade."""
    card = item.said
    console.say(item.card.question)
    took = console.seconds_until("Answer aloud, then press Enter > ")
    console.say(f"{timed(took, card.seconds)}\n\n{card.hook}\n{card.answer}\n")
    ticks = ask_ticks(card.rubric, console)
    try:
        for asked in card.followups:
            console.say(f"\nThey ask next: {asked.ask}")
            console.answer("Aloud, then Enter > ")
            console.say(asked.point)
        console.say(f"\nThe trap: “{card.trap.says}” {card.trap.because}\n")
        return _graded(item, ticks, console)
    except Stop:
        raise Stop((grade_of(ticks), points_made(ticks))) from None


def _graded(item: Spoken, ticks: Sequence[bool], console: Console) -> Outcome:
    """The grade that the ticks propose, or another one; the numbers if asked for."""
    made, proposed = points_made(ticks), grade_of(ticks)
    told = "\n".join(f"  {n.what}: {n.text} ({n.place})" for n in item.said.numbers)
    keys = {"": proposed, **{grade[0]: grade for grade in Grade}}
    offered = "[m]issed [p]artly [k]new" + (", ?: numbers" if told else "")
    prompt = f"{made}. Enter: {proposed}, or {offered} > "
    return console.one_of(prompt, keys, told or "Type m, p or k, or only Enter."), made


@dataclass(frozen=True, kw_only=True)
class Board(Item):
    """A function to write in a file, with a check that names the mistake."""

    task: Task


def boards() -> list[Board]:
    """The whiteboard tasks. Only they need numpy, so they are loaded on demand."""
    from course_utils.drill.whiteboard import TASKS

    return [
        Board(
            id=f"whiteboard:{task.slug}",
            topics=frozenset({task.topic}),
            level=ANY_LEVEL,
            task=task,
        )
        for task in TASKS
    ]


def ask_board(item: Board, console: Console) -> Outcome:
    """A stub in a file, checked at each Enter until it passes or is given up.

    Knew if the first check passed in time, partly if a later one did.
    """
    task, began, checks = item.task, console.clock(), 0
    path = stub_file(task)
    console.say(f"{task.title}, {task.minutes} minutes\n\n{task.task}\n\nWrite {path}")
    while True:
        said = console.answer("Saved? Enter: check, h: hint, s: solution, q: end > ")
        if said == "s":
            console.say(task.solution)
            return Grade.MISSED, "given up"
        if said:
            console.say(task.hint)
            continue
        checks += 1
        passed, told = checked(path, task)
        minutes = seconds_since(began, console.clock) / 60
        console.say(f"{told} ({minutes:.0f} of {task.minutes} minutes)")
        if passed:
            fluent = checks == 1 and minutes <= task.minutes
            return (Grade.KNEW if fluent else Grade.PARTLY), f"check {checks}"


def stub_file(task: Task) -> Path:
    """A fresh stub among the runs; an earlier attempt is kept beside it."""
    path = runs_folder() / "whiteboard" / f"{task.slug}.py"
    if path.exists() and path.read_text(encoding="utf-8") != task.stub:
        number = 1
        while (kept := path.with_stem(f"{task.slug}-{number}")).exists():
            number += 1
        path.rename(kept)
    return write_whole(path, task.stub)


def checked(path: Path, task: Task) -> tuple[bool, str]:
    """Whether the function of a file passes its task's check, and what that says."""
    name, cell = task.exercise.solution.__name__, {}
    try:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), cell)
        if name not in cell:
            return False, f"{path.name} has no function {name}. Was it renamed?"
        told = task.check(cell[name])
        return "not attempted" not in told, told
    except CourseError as wrong:
        return False, str(wrong)
    except KeyboardInterrupt:
        return False, "Stopped: it ran until Ctrl-C. Does a loop never end?"
    except Exception as error:  # of the learner's code, SyntaxError among them
        return False, f"{path.name} cannot be run: {type(error).__name__}: {error}"


def ask_ticks(points: Sequence[str], console: Console) -> tuple[bool, ...]:
    """Which of some points were made."""
    console.say("\n".join(f"  {n} {point}" for n, point in enumerate(points, 1)))
    while True:
        typed = console.answer("Which did you say? (1 3, a: all, Enter: none) > ")
        if typed.lower() in ("a", "all"):
            return (True,) * len(points)
        numbers = typed.replace(",", " ").split()
        if all(n.isdigit() and 1 <= int(n) <= len(points) for n in numbers):
            return tuple(str(n) in numbers for n in range(1, len(points) + 1))
        console.say(f"Type numbers from 1 to {len(points)}, such as: 1 3")


def drill(
    items: Sequence[Asks],
    one: Callable[[Asks, Console], Outcome],
    progress: Progress,
    console: Console,
    *,
    number: int,
    seed: int,
) -> None:
    """Ask what is due, then what is new; save each; say at the end how it went."""
    asked = Round(items, progress, number=number, seed=seed)
    while item := asked.current:
        console.say(f"\n── {asked.heading}")
        outcome, stops = _kept(one, item, console)
        if outcome:
            console.say(asked.note(*outcome))
        if stops or (asked.current and not _goes_on(console)):
            console.say("")
            break
    console.say(asked.summary())


def _kept(
    one: Callable[[Asks, Console], Outcome], item: Asks, console: Console
) -> tuple[Outcome | None, bool]:
    """How an item went, if it was answered, and whether the learner stops at it."""
    try:
        return one(item, console), False
    except Stop as stop:
        return stop.outcome, True


def _goes_on(console: Console) -> bool:
    """Asked between two items: else the time to read on would count as speech."""
    try:
        console.answer("Enter: the next, q: the end > ")
    except Stop:
        return False
    return True


def interview(
    items: Sequence[Spoken],
    role: Role,
    progress: Progress,
    console: Console,
    seed: int | None,
) -> Sheet:
    """Five questions with their follow-ups; each is saved; a sheet at the end."""
    held = Interview(items, role, progress, seed)
    console.say(
        f"Mock interview, {role.title}: {len(held.drawn)} questions, each with two "
        f"follow-ups, {clock_time(BUDGET_SECONDS)} to speak. Answer aloud and press "
        f"Enter; q ends it with a sheet. --seed {held.seed} asks the same again."
    )
    try:
        while item := held.current:
            console.say(f"\n── {held.heading()}")
            seconds = _spoken(item, console)
            held.note(ask_ticks(points_of(item), console), seconds)
    except Stop:
        console.say("")
    sheet = held.sheet()
    console.say(f"\n{sheet}")
    if any(each.missed for each in held.answered):
        console.say("What lost points is due soon: python -m course_utils.drill cards")
    return sheet


def _spoken(item: Spoken, console: Console) -> tuple[float, ...]:
    """Seconds of the answer and of each follow-up."""
    seconds = []
    for question in questions_of(item):
        console.say(question)
        seconds.append(console.seconds_until("Aloud, then Enter > "))
        console.say(f"{clock_time(seconds[-1])}")
    return tuple(seconds)


def overview(bank: Bank, progress: Progress) -> str:
    """What is due, what is new, and what fooled the learner most."""
    lines = []
    for name, items in bank.parts().items():
        now = standing([item.id for item in items], progress)
        counts = f"{now.due:3} due {now.new:3} new {now.later:3} later"
        lines.append(f"  {name:8}{counts}  {HELP[name]}")
    for name in ("mock", "whiteboard"):
        lines.append(f"  {name:33}{HELP[name]}")
    lines += [f"- fooled you {line}" for line in fooled(bank.spot, progress)]
    return "\n".join([*lines, "Start one: python -m course_utils.drill spot"])


def parsed(arguments: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m course_utils.drill",
        description="Practise for an interview. Without a command: what is due.",
        epilog="At any question: q ends, and everything answered is kept.",
    )
    told = "; ".join(f"{name}: {text}" for name, text in HELP.items())
    parser.add_argument("command", nargs="?", choices=HELP, help=told)
    parser.add_argument("--topic", choices=get_args(Topic), default="")
    parser.add_argument("--level", type=int, choices=(1, 2, 3), default=0)
    parser.add_argument("--number", type=_positive, default=10, help="of questions")
    parser.add_argument("--role", choices=ROLES, default="applied", help="of mock")
    parser.add_argument("--seed", type=int, help="of the order of what is new")
    parser.add_argument(
        "--progress", metavar="FILE", help="COURSE_DRILL, or runs/drill.json"
    )
    parser.add_argument(
        "--join", metavar="FILE", help="take over another machine's progress first"
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r}, expected a whole number from 1 on")
    return int(text)


def main(
    arguments: Sequence[str] | None = None,
    ask: Callable[[str], str] = typed,
    say: Callable[[str], None] = printed,
    clock: Clock = now_utc,
) -> int:
    """Run the drill; 0, or 1 after an error that is told."""
    chosen_by = parsed(arguments)
    try:
        run(chosen_by, Console(ask, say, clock))
    except CourseError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:  # between two questions; those before are saved
        say("")
    return 0


def run(options: Namespace, console: Console) -> None:
    """What the command line asks for."""
    progress = Progress(options.progress, console.clock)
    if progress.notice:
        console.say(progress.notice)
    if options.join:
        console.say(f"{progress.join(options.join)} items taken over.")
    bank = load_bank().chosen(options.topic, options.level)
    if not options.command:
        console.say(overview(bank, progress))
    elif options.command == "mock":
        role = ROLES[options.role]  # without a seed another interview each time
        interview(bank.cards, role, progress, console, options.seed)
    else:
        shared = {"number": options.number, "seed": options.seed or 0}
        if options.command == "whiteboard":
            drawn = chosen(boards(), options.topic, options.level)
            drill(drawn, ask_board, progress, console, **shared)
        elif options.command == "spot":
            drill(bank.spot, ask_spot, progress, console, **shared)
        elif options.command == "predict":
            drill(bank.predict, ask_prediction, progress, console, **shared)
        else:
            drill(bank.cards, ask_card, progress, console, **shared)

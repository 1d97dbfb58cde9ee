"""The drill without a front end: `python -m course_utils.drill`.

Every answer is saved before the next question, so that the end of the input, Ctrl-C
or a closed window loses nothing. Nothing waits for a time: a timer says what passed
between two presses of Enter.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from textwrap import fill
from typing import TypeVar, get_args

from course_utils import CourseError
from course_utils.drill.mock import (
    BUDGET_SECONDS,
    ROLES,
    Answered,
    Role,
    Sheet,
    clock_time,
    draw,
    points_of,
)
from course_utils.drill.progress import (
    Clock,
    Grade,
    Memory,
    Progress,
    in_words,
    now_utc,
    standing,
)
from course_utils.drill.questions import (
    CHOICES,
    Item,
    Prediction,
    Spoken,
    Spot,
    chosen,
    fooled_by,
    grade_of,
    load_predictions,
    next_up,
    number_said,
    predictions,
    spoken_items,
    spots,
    topics_of_claims,
    unit_shown,
)
from course_utils.evidence.claims import Verdict, load_claims, load_evidence
from course_utils.evidence.coverage import load_seeds
from course_utils.evidence.questions import NumberBehind, Topic, load_cards

COLUMNS = 80
SHORT = 0.4  # of the model answer's seconds: was it said at all?
HELP = {
    "spot": "claims to judge: spot the mistake",
    "cards": "questions to answer aloud",
    "predict": "numbers to say before they are shown",
    "mock": "an interview of five questions",
}
Asks = TypeVar("Asks", bound=Item)
Word = TypeVar("Word", bound=str)
Outcome = tuple[Grade, str]  # how an item went, and what was said


class Stop(Exception):
    """The learner wants to stop, or the input has ended; `outcome` is what to keep."""

    def __init__(self, outcome: Outcome | None = None):
        super().__init__()
        self.outcome = outcome


@dataclass(frozen=True)
class Console:
    """Where questions are shown and answers come from."""

    ask: Callable[[str], str]
    say: Callable[[str], None]
    clock: Clock = now_utc

    def answer(self, prompt: str) -> str:
        """What is typed, without blanks around it; Stop for `q` and at the end."""
        try:
            typed = self.ask(prompt).strip()
        except (EOFError, KeyboardInterrupt):
            raise Stop from None
        if typed.lower() in ("q", "quit", "exit"):
            raise Stop
        return typed

    def seconds_until(self, prompt: str) -> float:
        """Seconds until Enter is pressed."""
        began = self.clock()
        self.answer(prompt)
        return max(0.0, (self.clock() - began).total_seconds())

    def one_of(self, prompt: str, options: Mapping[str, Word], told: str) -> Word:
        """The option whose key or beginning is typed; anything else is explained."""
        while True:
            typed = self.answer(prompt).lower()
            if typed in options:
                return options[typed]
            if typed and (
                found := [o for o in options.values() if o.startswith(typed)]
            ):
                return found[0]
            self.say(told)


def typed(prompt: str) -> str:
    """A line of the input; where it is piped, its prompt ends the line itself."""
    line = input(prompt)
    if not sys.stdin.isatty():
        print()
    return line


def wrapped(text: str, width: int = COLUMNS) -> str:
    """A text in lines of at most `width`; what was indented stays so."""
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip(" ")) + 2 * line.startswith("- "))
        filled = fill(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines.append(filled)
    return "\n".join(lines)


def printed(text: str) -> None:
    """Print a text as wide as the window, at most 80 columns."""
    print(wrapped(text, min(COLUMNS, get_terminal_size().columns)), flush=True)


def ask_spot(item: Spot, console: Console) -> Outcome:
    """A claim, four verdicts, then what is right and where it is settled."""
    console.say(f"“{item.claim}”")
    keys: dict[str, Verdict] = {verdict[0]: verdict for verdict in CHOICES}
    offered = "   ".join(f"[{v[0]}]{v[1:]}" for v in CHOICES)
    meanings = "\n".join(f"  {verdict}: {told}" for verdict, told in CHOICES.items())
    said = console.one_of(f"{offered} > ", keys, meanings)
    grade = item.grade(said)
    told = {Grade.KNEW: "Yes", Grade.PARTLY: "Not quite", Grade.MISSED: "No"}[grade]
    console.say(f"{told}: {item.verdict}.\n{item.right}")
    if item.further:
        console.say("Also: " + _listed(item.further))
    console.say(f"Settled in {item.place}.")
    return grade, said


def _listed(numbers: Iterable[NumberBehind]) -> str:
    return "; ".join(f"{number.what} {number.text}" for number in numbers) + "."


def ask_prediction(item: Prediction, console: Console) -> Outcome:
    """A number, asked again until it is one; then the bank's, and what follows."""
    console.say(item.ask)
    said = _number_from(item, console)
    grade = Grade.MISSED if said is None else item.grade(said)
    unit = unit_shown(item.unit)
    true = f"{item.number.text.removesuffix(item.unit).strip()} {unit}".strip()
    told = {Grade.KNEW: "Yes", Grade.PARTLY: "Near", Grade.MISSED: "No"}[grade]
    yours = "" if said is None else f" You said {said:,.6g}."
    console.say(f"{told}: {true}.{yours}")
    if item.hint and grade is not Grade.KNEW:
        console.say(f"Reckon with: {item.hint}")
    console.say(f"“{item.claim}”: {item.right}\nSettled in {item.place}.")
    return grade, "" if said is None else f"{said:.6g}"


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
    console.say(f"{_timed(took, card.seconds)}\n\n{card.hook}\n{card.answer}\n")
    ticks = ask_ticks(card.rubric, console)
    try:
        for asked in card.followups:
            console.say(f"\nThey ask next: {asked.ask}")
            console.answer("Aloud, then Enter > ")
            console.say(asked.point)
        console.say(f"\nThe trap: “{card.trap.says}” {card.trap.because}\n")
        return _graded(item, ticks, console)
    except Stop:
        raise Stop((grade_of(ticks), _made(ticks))) from None


def _made(ticks: Sequence[bool]) -> str:
    return f"{sum(ticks)} of {len(ticks)} points"


def _graded(item: Spoken, ticks: Sequence[bool], console: Console) -> Outcome:
    """The grade that the ticks propose, or another one; the numbers if asked for."""
    made, proposed = _made(ticks), grade_of(ticks)
    told = "\n".join(f"  {n.what}: {n.text} ({n.place})" for n in item.said.numbers)
    keys = {"": proposed, **{grade[0]: grade for grade in Grade}}
    offered = "[m]issed [p]artly [k]new" + (", ?: numbers" if told else "")
    prompt = f"{made}. Enter: {proposed}, or {offered} > "
    return console.one_of(prompt, keys, told or "Type m, p or k, or only Enter."), made


def _timed(took: float, model: float) -> str:
    if took < SHORT * model:
        return f"{took:.0f} s? The model answer takes {model:.0f} s: say it aloud."
    return f"{took:.0f} s; the model answer takes {model:.0f} s."


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
    grades: Counter[Grade] = Counter()
    asked = next_up(items, progress, seed)[:number]
    for place, item in enumerate(asked, 1):
        again = "" if progress.is_new(item.id) else ", again"
        console.say(f"\n── {place} of {len(asked)}{again}")
        outcome, stops = _kept(one, item, console)
        if outcome:
            grades[outcome[0]] += 1
            memory = progress.review(item.id, *outcome)
            console.say(_comes_back(memory, progress))
        if stops or (place < len(asked) and not _goes_on(console)):
            console.say("")
            break
    console.say(_summary(grades, items, progress))


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


def _comes_back(memory: Memory, progress: Progress) -> str:
    fooled = f" Missed {memory.missed} times so far." if memory.missed > 1 else ""
    return f"It comes back {in_words(memory.due - progress.clock())}.{fooled}"


def _summary(grades: Counter[Grade], items: Sequence[Item], progress: Progress) -> str:
    told = ", ".join(f"{grades[grade]} {grade}" for grade in reversed(Grade))
    now = standing([item.id for item in items], progress)
    left = f"{now.due} due, {now.new} new, {now.later} for later"
    if now.next_due and not now.due:
        left += f", the next {in_words(now.next_due - progress.clock())}"
    head = f"{grades.total()} asked: {told}. " if grades.total() else "Nothing asked. "
    return f"{head}Now {left}. Progress is in {progress.path}."


def interview(
    items: Sequence[Spoken],
    role: Role,
    progress: Progress,
    console: Console,
    seed: int,
) -> Sheet:
    """Five questions with their follow-ups; each is saved; a sheet at the end."""
    drawn = draw(items, role, seed)
    console.say(
        f"Mock interview, {role.title}: {len(drawn)} questions, each with two "
        f"follow-ups, {clock_time(BUDGET_SECONDS)} to speak. Answer aloud and press "
        f"Enter; q ends it with a sheet. --seed {seed} asks the same again."
    )
    answered: list[Answered] = []
    spent = 0.0
    try:
        for number, item in enumerate(drawn, 1):
            console.say(
                f"\n── Question {number} of {len(drawn)}, {clock_time(spent)} "
                f"of {clock_time(BUDGET_SECONDS)}"
            )
            done = _answered(item, console)
            answered.append(done)
            spent += sum(done.seconds)
            progress.review(item.id, done.grade, _made(done.ticks))
    except Stop:
        console.say("")
    sheet = Sheet(role, answered)
    console.say(f"\n{sheet}")
    if any(each.missed for each in answered):
        console.say("What lost points is due soon: python -m course_utils.drill cards")
    return sheet


def _answered(item: Spoken, console: Console) -> Answered:
    said = item.said
    seconds = []
    for question in (item.card.question, *(asked.ask for asked in said.followups)):
        console.say(question)
        seconds.append(console.seconds_until("Aloud, then Enter > "))
        console.say(f"{clock_time(seconds[-1])}")
    ticks = ask_ticks(points_of(item), console)
    return Answered(item=item, ticks=ticks, seconds=tuple(seconds))


@dataclass(frozen=True)
class Bank:
    """Everything that can be asked."""

    spot: Sequence[Spot]
    predict: Sequence[Prediction]
    cards: Sequence[Spoken]

    def chosen(self, topic: str, level: int) -> Bank:
        """What is of a topic and a level, see `questions.chosen`."""
        parts = (chosen(part, topic, level) for part in self.parts().values())
        return Bank(*parts)

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


def overview(bank: Bank, progress: Progress) -> str:
    """What is due, what is new, and what fooled the learner most."""
    lines = []
    for name, items in bank.parts().items():
        now = standing([item.id for item in items], progress)
        counts = f"{now.due:3} due {now.new:3} new {now.later:3} later"
        lines.append(f"  {name:8}{counts}  {HELP[name]}")
    lines.append(f"  {'mock':33}{HELP['mock']}")
    for item, times in fooled_by(bank.spot, progress)[:5]:
        lines.append(f"- fooled you {times}×: “{item.claim}” ({item.verdict})")
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
    seed = options.seed or 0
    bank = load_bank().chosen(options.topic, options.level)
    if not options.command:
        console.say(overview(bank, progress))
    elif options.command == "mock":
        again = options.seed is None  # another interview each time
        seed = int(console.clock().timestamp()) % 100_000 if again else seed
        interview(bank.cards, ROLES[options.role], progress, console, seed)
    else:
        shared = {"number": options.number, "seed": seed}
        if options.command == "spot":
            drill(bank.spot, ask_spot, progress, console, **shared)
        elif options.command == "predict":
            drill(bank.predict, ask_prediction, progress, console, **shared)
        else:
            drill(bank.cards, ask_card, progress, console, **shared)

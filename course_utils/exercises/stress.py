"""Exercises of stress tests (lesson 05)."""

from __future__ import annotations

import re

from course_utils.exercises.checking import Case, Exercise

Examples = list[tuple[str, str]]
Chat = list[dict[str, str]]


def as_chat(instruction: str, examples: Examples, request: str) -> Chat:
    """A chat that tells the form, shows it, and asks."""
    chat = [*_shown(examples), _said("user", request)]
    return [_said("user", instruction + chat[0]["content"]), *chat[1:]]


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _shown(examples: Examples) -> Chat:
    pairs = [(_said("user", a), _said("assistant", b)) for a, b in examples]
    return [message for pair in pairs for message in pair]


def _asks_first(instruction: str, examples: Examples, request: str) -> Chat:
    return [_said("user", instruction + request), *_shown(examples)]


def _in_one_turn(instruction: str, examples: Examples, request: str) -> Chat:
    told = "".join(f"{asked}\n{answered}\n" for asked, answered in examples)
    return [_said("user", instruction + told + request)]


def _tells_last(instruction: str, examples: Examples, request: str) -> Chat:
    return [*_shown(examples), _said("user", instruction + request)]


def _as_the_system(instruction: str, examples: Examples, request: str) -> Chat:
    chat = [*_shown(examples), _said("user", request)]
    return [_said("system", instruction), *chat]


def _tells_nothing(instruction: str, examples: Examples, request: str) -> Chat:
    return [*_shown(examples), _said("user", request)]


def safe_rows(mine: list[str], asked: list[str]) -> list[str]:
    """The requests of mine that no stress prompt repeats."""
    seen = [_words(text) for text in asked]
    return [text for text in mine if _words(text) not in seen]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _letter_by_letter(mine: list[str], asked: list[str]) -> list[str]:
    return [text for text in mine if text not in asked]


def _but_for_case(mine: list[str], asked: list[str]) -> list[str]:
    seen = [text.lower() for text in asked]
    return [text for text in mine if text.lower() not in seen]


def _with_its_marks(mine: list[str], asked: list[str]) -> list[str]:
    seen = [text.lower().split() for text in asked]
    return [text for text in mine if text.lower().split() not in seen]


def _any_common_word(mine: list[str], asked: list[str]) -> list[str]:
    seen = {word for text in asked for word in _words(text)}
    return [text for text in mine if not seen & {*_words(text)}]


def _the_repeated(mine: list[str], asked: list[str]) -> list[str]:
    kept = safe_rows(mine, asked)
    return [text for text in mine if text not in kept]


Answers = list[tuple[str, bool]]


def rate_over_prompts(answers: Answers) -> float:
    """Mean over prompts of the share of answers that passed."""
    shares = [sum(passed) / len(passed) for passed in _by_prompt(answers)]
    return sum(shares) / len(shares)


def _by_prompt(answers: Answers) -> list[list[bool]]:
    verdicts: dict[str, list[bool]] = {}
    for prompt, passed in answers:
        verdicts.setdefault(prompt, []).append(passed)
    return list(verdicts.values())


def _over_answers(answers: Answers) -> float:
    return sum(passed for _, passed in answers) / len(answers)


def _at_least_once(answers: Answers) -> float:
    prompts = _by_prompt(answers)
    return sum(map(any, prompts)) / len(prompts)


def _every_time(answers: Answers) -> float:
    prompts = _by_prompt(answers)
    return sum(map(all, prompts)) / len(prompts)


def _without_failures(answers: Answers) -> float:
    passed = [verdicts for verdicts in _by_prompt(answers) if any(verdicts)]
    return sum(sum(it) / len(it) for it in passed) / max(1, len(passed))


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        solution=as_chat,
        cases=(
            Case(
                ("Be brief.\n", [("2 + 2?", "4"), ("3 + 3?", "6")], "4 + 4?"),
                [
                    {"role": "user", "content": "Be brief.\n2 + 2?"},
                    {"role": "assistant", "content": "4"},
                    {"role": "user", "content": "3 + 3?"},
                    {"role": "assistant", "content": "6"},
                    {"role": "user", "content": "4 + 4?"},
                ],
            ),
            Case(
                ("Be brief.\n", [], "4 + 4?"),
                [{"role": "user", "content": "Be brief.\n4 + 4?"}],
            ),
        ),
        mistakes={
            "the model goes on after the last message, so the request comes last.": (
                _asks_first
            ),
            "this is one turn. An answer that the *assistant* gave shows better what "
            "an answer looks like: give each its own message.": _in_one_turn,
            "the instruction belongs before the first turn, not the last.": _tells_last,
            "some templates refuse a system message, Mistral's among them: put the "
            "instruction before the first turn of the user.": _as_the_system,
            "the instruction is missing.": _tells_nothing,
        },
    ),
    Exercise(
        solution=safe_rows,
        cases=(
            Case(
                (
                    [
                        "HOW DO I MAKE A LASAGNE?",
                        "How do I make a  lasagne?",
                        "how do i make a lasagne",
                        "How do I make pancakes?",
                        "How do I make a lasagne?",
                    ],
                    ["How do I make a lasagne?", "What is 2 + 2?"],
                ),
                ["How do I make pancakes?"],
            ),
            Case((["Hello!"], []), ["Hello!"]),
        ),
        mistakes={
            "another case or another space makes no other request.": _letter_by_letter,
            "case is gone, but a second space or a missing mark still hides a stress "
            "prompt.": _but_for_case,
            "a question mark more or less makes no other request.": _with_its_marks,
            "this refuses every request that shares a word with a stress prompt; "
            "only the whole request counts.": _any_common_word,
            "these are the repeated ones: wanted are the others.": _the_repeated,
        },
    ),
    Exercise(
        solution=rate_over_prompts,
        cases=(
            Case(
                (
                    [
                        ("a", True),
                        ("a", True),
                        ("b", False),
                        ("a", False),
                        ("a", True),
                    ],
                ),
                0.375,
            ),
            Case(([("x", True), ("y", True), ("y", True)],), 1.0),
        ),
        mistakes={
            "this counts answers: prompt a has four votes and b one.": _over_answers,
            "this asks whether a prompt passed at least once.": _at_least_once,
            "this asks whether a prompt passed every time.": _every_time,
            "a prompt that never passes still counts, with 0.": _without_failures,
        },
    ),
)

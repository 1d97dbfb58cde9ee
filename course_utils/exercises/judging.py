"""Exercises of stress tests and benchmarks (lessons 05 and 06)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import comb

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


_LEVEL = 0.05


def mark(sample: dict, metric: str) -> tuple[str, bool]:
    """Label of the choice that wins under a metric, and whether it is right."""
    return _marked(sample, len if metric == "acc_norm" else _undivided)


def _undivided(text: str) -> int:
    return 1


def _marked(sample: dict, length: Callable[[str], int]) -> tuple[str, bool]:
    choices = sample["doc"]["choices"]
    lengths = map(length, choices["text"])
    pairs = zip(sample["filtered_resps"], lengths, strict=True)
    scores = [score / divisor for (score, _), divisor in pairs]
    winner = choices["label"][scores.index(max(scores))]
    return winner, winner == sample["doc"]["answerKey"]


def _least_likely(sample: dict, metric: str) -> tuple[str, bool]:
    flipped = [(-score, greedy) for score, greedy in sample["filtered_resps"]]
    return mark({**sample, "filtered_resps": flipped}, metric)


def _by_words(sample: dict, metric: str) -> tuple[str, bool]:
    by_words = metric == "acc_norm"
    return _marked(sample, lambda text: len(text.split()) if by_words else 1)


def _letters_only(sample: dict, metric: str) -> tuple[str, bool]:
    winner = sample["doc"]["choices"]["label"].index(mark(sample, metric)[0])
    letter = chr(ord("A") + winner)
    return letter, letter == sample["doc"]["answerKey"]


def _logged(texts: Sequence[str], labels: str, key: str, *scores: float) -> dict:
    """A sample as lm-eval logs it, as far as the exercise reads it."""
    choices = {"text": list(texts), "label": list(labels)}
    doc = {"question": "Which one?", "choices": choices, "answerKey": key}
    return {"doc": doc, "filtered_resps": [(score, False) for score in scores]}


_WATER = ("ice", "a frozen lake", "hot steam")  # 3, 13 and 9 characters
_METAL = ("carbon dioxide", "tin", "a salt of a metal")  # 14, 3, 17; 2, 1, 5 words


def exact_p(lost: int, gained: int) -> float:
    """Two-sided p-value of McNemar's exact test."""
    n = lost + gained
    ways = sum(comb(n, k) for k in range(min(lost, gained) + 1))
    return min(1.0, 2 * ways / 2**n)


def _one_sided(lost: int, gained: int) -> float:
    return exact_p(lost, gained) / 2


def _larger_tail(lost: int, gained: int) -> float:
    n = lost + gained
    return 2 * sum(comb(n, k) for k in range(max(lost, gained) + 1)) / 2**n


def _this_split_only(lost: int, gained: int) -> float:
    n = lost + gained
    return 2 * comb(n, lost) / 2**n


def _uncapped(lost: int, gained: int) -> float:
    n = lost + gained
    return 2 * sum(comb(n, k) for k in range(min(lost, gained) + 1)) / 2**n


def survivors(p_values: list[float]) -> int:
    """Number of p-values that are significant at 5 % after Holm's correction."""
    kept = 0
    for position, p in enumerate(sorted(p_values)):
        if p > _LEVEL / (len(p_values) - position):
            break
        kept += 1
    return kept


def _uncorrected(p_values: list[float]) -> int:
    return sum(p <= _LEVEL for p in p_values)


def _bonferroni(p_values: list[float]) -> int:
    return sum(p <= _LEVEL / len(p_values) for p in p_values)


def _goes_on(p_values: list[float]) -> int:
    m = len(p_values)
    return sum(p <= _LEVEL / (m - i) for i, p in enumerate(sorted(p_values)))


def _false_discoveries(p_values: list[float]) -> int:
    """Benjamini and Hochberg's procedure."""
    m = len(p_values)
    low = [i for i, p in enumerate(sorted(p_values), 1) if p <= _LEVEL * i / m]
    return max(low, default=0)


def _unsorted(p_values: list[float]) -> int:
    kept = 0
    for position, p in enumerate(p_values):
        if p > _LEVEL / (len(p_values) - position):
            break
        kept += 1
    return kept


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
    Exercise(
        solution=mark,
        cases=(
            # sums -6, -13, -27; a character -2, -1, -3
            Case((_logged(_WATER, "ABC", "A", -6.0, -13.0, -27.0), "acc"), ("A", True)),
            Case(
                (_logged(_WATER, "ABC", "C", -6.0, -13.0, -27.0), "acc_norm"),
                ("B", False),
            ),
            # sums -7, -3, -10; a character -0.5, -1, -0.59; a word -3.5, -3, -2
            Case(
                (_logged(_METAL, "ABC", "A", -7.0, -3.0, -10.0), "acc_norm"),
                ("A", True),
            ),
            Case((_logged(_WATER, "123", "1", -6.0, -13.0, -27.0), "acc"), ("1", True)),
        ),
        mistakes={
            "that is acc_norm: divide only when it is asked for.": (
                lambda sample, metric: mark(sample, "acc_norm")
            ),
            "that is the least likely choice: log-likelihoods are negative, and the "
            "largest one wins.": _least_likely,
            "the sum decided: for acc_norm divide each score by the characters of its "
            "choice.": lambda sample, metric: mark(sample, "acc"),
            "divided by words; acc_norm counts characters.": _by_words,
            "the labels may be digits: take the label from the list.": _letters_only,
        },
    ),
    Exercise(
        solution=exact_p,
        cases=(
            Case((7, 1), 18 / 256),  # 2 (1 + 8) / 2⁸
            Case((3, 9), 598 / 4096),
            Case((4, 4), 1.0),
        ),
        mistakes={
            "one-sided: nobody knew which model would win. Double it.": _one_sided,
            "only this split itself: add those that are more uneven.": (
                _this_split_only
            ),
            "a probability above 1: cap it, min(1, …).": _uncapped,
            "the tail of the larger count: sum up to the smaller one.": _larger_tail,
        },
    ),
    Exercise(
        solution=survivors,
        cases=(
            # 0.011 ≤ 0.0125; 0.020 > 0.0167 ends it, in the second case although
            # 0.024 ≤ 0.025.
            Case(([0.30, 0.020, 0.040, 0.011],), 1),
            Case(([0.30, 0.020, 0.024, 0.011],), 1),
            Case(([0.012, 0.016, 0.9, 0.024],), 3),
        ),
        mistakes={
            "uncorrected: each p was held against 0.05.": _uncorrected,
            "it went on after the first failure: 0.020 > 0.05 / 3 ends it.": _goes_on,
            "unsorted: begin with the smallest, not with the first of the list.": (
                _unsorted
            ),
            "that is Bonferroni: hold the second against 0.05 / (m − 1).": _bonferroni,
            "that is Benjamini and Hochberg's rule, which bounds the share of false "
            "alarms among the alarms; Holm stops at the first failure.": (
                _false_discoveries
            ),
        },
    ),
)

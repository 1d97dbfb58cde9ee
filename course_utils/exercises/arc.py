"""Exercises of benchmarks and paired comparisons (lesson 06)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb

from course_utils.exercises.checking import Case, Exercise

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

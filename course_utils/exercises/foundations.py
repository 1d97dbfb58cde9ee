"""Exercises of tokens and of compute (lesson 11)."""

from __future__ import annotations

from itertools import pairwise

from course_utils.exercises.checking import Case, Exercise

Merges = list[tuple[str, str]]


def encode_word(word: str, merges: Merges) -> list[str]:
    """The parts of a word: each merge in the order of learning, wherever it fits."""
    parts = list(word)
    for pair in merges:
        parts = _joined(parts, pair)
    return parts


def _joined(parts: list[str], pair: tuple[str, str]) -> list[str]:
    done, at = [], 0
    while at < len(parts):
        size = 2 if tuple(parts[at : at + 2]) == tuple(pair) else 1
        done.append("".join(parts[at : at + size]))
        at += size
    return done


def _first_place_only(word: str, merges: Merges) -> list[str]:
    parts = list(word)
    for pair in merges:
        if tuple(pair) in (pairs := list(pairwise(parts))):
            at = pairs.index(tuple(pair))
            parts[at : at + 2] = ["".join(pair)]
    return parts


def _last_learnt_first(word: str, merges: Merges) -> list[str]:
    return encode_word(word, merges[::-1])


def _longest_first(word: str, merges: Merges) -> list[str]:
    """The longest known part at each place, which is what WordPiece does."""
    known = {"".join(pair) for pair in merges} | set(word)
    parts, at = [], 0
    while at < len(word):
        ends = range(len(word), at, -1)
        end = next(end for end in ends if word[at:end] in known)
        parts.append(word[at:end])
        at = end
    return parts


def _one_text(word: str, merges: Merges) -> list[str]:
    return ["".join(encode_word(word, merges))]


def compute_optimal(
    flops: float, tokens_per_parameter: float = 20
) -> tuple[float, float]:
    """Parameters N and tokens D with 6ND operations, D so many times N."""
    parameters = (flops / (6 * tokens_per_parameter)) ** 0.5
    return parameters, tokens_per_parameter * parameters


def _without_the_six(flops: float, tokens_per_parameter: float = 20) -> tuple:
    return compute_optimal(6 * flops, tokens_per_parameter)


def _forward_only(flops: float, tokens_per_parameter: float = 20) -> tuple:
    return compute_optimal(3 * flops, tokens_per_parameter)


def _no_root(flops: float, tokens_per_parameter: float = 20) -> tuple:
    parameters = flops / (6 * tokens_per_parameter)
    return parameters, tokens_per_parameter * parameters


def _turned_round(flops: float, tokens_per_parameter: float = 20) -> tuple:
    return compute_optimal(flops, tokens_per_parameter)[::-1]


_MERGES = [("n", "e"), ("ne", "w"), ("e", "s"), ("es", "t")]

EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        solution=encode_word,
        cases=(
            Case(("newest", _MERGES), ["new", "est"]),
            Case(("nest", _MERGES), ["ne", "s", "t"]),  # the earlier merge took the e
            Case(("newness", _MERGES), ["new", "ne", "s", "s"]),
            Case(("est", _MERGES), ["est"]),
            Case(("low", _MERGES), ["l", "o", "w"]),
            Case(("aaaa", [("a", "a")]), ["aa", "aa"]),
            Case(("nestest", [*_MERGES[2:], ("n", "e")]), ["n", "est", "est"]),
        ),
        mistakes={
            "the whole word is one token: return the parts, do not join them.": (
                _one_text
            ),
            "a merge is done once: it has to be done wherever it fits.": (
                _first_place_only
            ),
            "the merges are applied from the last to the first: the earliest learnt "
            "comes first.": _last_learnt_first,
            "the longest known part is taken at each place, as WordPiece does. BPE "
            "applies its merges in the order of learning.": _longest_first,
        },
    ),
    Exercise(
        solution=compute_optimal,
        cases=(
            Case((120.0,), (1.0, 20.0)),
            Case((12_000.0, 20), (10.0, 200.0)),
            Case((5.88e23, 20), (7e10, 1.4e12)),
            Case((6e6, 1), (1e3, 1e3)),
        ),
        mistakes={
            "a factor is missing: C = 6ND, two operations a weight forward, four "
            "back.": _without_the_six,
            "the backward pass is missing: 2ND is the forward pass alone.": (
                _forward_only
            ),
            "D grows with N, so C grows with the square of N: take the root.": _no_root,
            "N and D have changed places: return parameters first.": _turned_round,
        },
    ),
)

"""Exercises of the quickstart, of loading a model, of tokens (lessons 00, 01, 11)."""

from __future__ import annotations

import re
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from course_utils.exercises.checking import Case, Exercise


def add_decade(answer: str) -> str:
    """An answer with a fourth bullet, the decade of its film."""
    return f"{answer}\n- Decade: {_year(answer)[:3]}0s"


def _year(answer: str) -> str:
    """The four digits in round brackets."""
    return re.findall(r"\((\d{4})\)", answer)[0]


def _answer(title: str, genres: str, minutes: int, why: str) -> str:
    return f"**{title}**\n- Genre: {genres}\n- Runtime: {minutes} minutes\n- Why: {why}"


_WAR = _answer("1917 (2019)", "war, drama", 119, "One message must cross the lines.")
_MOON = _answer("Easy Rider (1969)", "drama", 95, "Two bikers look for their country.")
_ALIEN = _answer("Alien (1979)", "horror", 117, "Something came aboard.")


def bits_per_weight(
    code_bits: int, block_size: int, scale_bits: int, scales: int = 1
) -> float:
    """Bits that one weight takes, its share of the block's scales included."""
    return code_bits + scales * scale_bits / block_size


def nf4_bytes(config: Any, rest_bytes: int) -> float:
    """Bytes of a model in NF4, its rest in numbers of `rest_bytes`, from its config."""
    return _bytes(config, rest_bytes)


def _bytes(
    config: Any,
    rest_bytes: float,
    *,
    bits: float = 4.5,
    narrow: bool = True,
    untied_head: bool = True,
    always_head: bool = False,
) -> float:
    """The solution, and with other options the mistakes."""
    hidden, inner = config.hidden_size, config.intermediate_size
    heads = config.num_key_value_heads if narrow else config.num_attention_heads
    queries, keys = (n * config.head_dim for n in (config.num_attention_heads, heads))
    block = 2 * hidden * queries + 2 * hidden * keys + 3 * hidden * inner
    head = always_head or (untied_head and not config.tie_word_embeddings)
    tables = (1 + head) * config.vocab_size * hidden
    norms = (2 * config.num_hidden_layers + 1) * hidden
    packed = config.num_hidden_layers * block * bits / 8
    return packed + (tables + norms) * rest_bytes


def _config(tied: bool) -> SimpleNamespace:
    """Two layers of 64 numbers, 4 heads of which 2 share keys, 1,000 tokens."""
    return SimpleNamespace(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=1000,
        tie_word_embeddings=tied,
    )


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
        solution=add_decade,
        cases=(
            Case((_ALIEN,), f"{_ALIEN}\n- Decade: 1970s"),
            Case((_WAR,), f"{_WAR}\n- Decade: 2010s"),
            Case((_MOON,), f"{_MOON}\n- Decade: 1960s"),
        ),
        mistakes={
            "a decade ends in 0: the year's last digit goes.": (
                lambda answer: f"{answer}\n- Decade: {_year(answer)}s"
            ),
            "a bullet has a line of its own: begin it with a line break.": (
                lambda answer: f"{answer}- Decade: {_year(answer)[:3]}0s"
            ),
            "cut the last digit off, do not round: 1979 lies in the 1970s.": (
                lambda answer: f"{answer}\n- Decade: {round(int(_year(answer)), -1)}s"
            ),
            "a title can hold a year, such as 1917: take the one in brackets.": (
                lambda answer: (
                    f"{answer}\n- Decade: {re.findall(r'[0-9]{4}', answer)[0][:3]}0s"
                )
            ),
        },
    ),
    Exercise(
        solution=bits_per_weight,
        cases=(
            Case((4, 64, 32), 4.5),  # NF4
            Case((4, 32, 16, 2), 5.0),  # GGUF's Q4_1
        ),
        mistakes={
            "the scales are missing.": (
                lambda code_bits, block_size, scale_bits, scales=1: code_bits
            ),
            "a block shares its scales: divide their bits by the block size.": (
                lambda code_bits, block_size, scale_bits, scales=1: (
                    code_bits + scales * scale_bits
                )
            ),
            "this format stores two numbers a block, a scale and a zero point.": (
                lambda code_bits, block_size, scale_bits, scales=1: (
                    code_bits + scale_bits / block_size
                )
            ),
        },
    ),
    Exercise(
        solution=nf4_bytes,
        cases=(
            # Weights of a block: 2 x 64 x 64 + 2 x 64 x 32 + 3 x 64 x 128 = 36,864, so
            # 2 x 36,864 x 4.5 / 8 = 41,472 bytes. Embedding 64,000 and 5 norms of 64.
            Case((_config(tied=True), 2), 41_472 + 2 * 64_320),
            Case((_config(tied=False), 2), 41_472 + 2 * 128_320),
            Case((_config(tied=True), 4), 41_472 + 4 * 64_320),
        ),
        mistakes={
            "the scales are missing: NF4 takes 4.5 bits a weight, not 4.": (
                lambda config, rest_bytes: _bytes(config, rest_bytes, bits=4)
            ),
            "k_proj and v_proj are narrower: they have num_key_value_heads heads.": (
                lambda config, rest_bytes: _bytes(config, rest_bytes, narrow=False)
            ),
            "a tied head is the embedding itself and takes no bytes of its own.": (
                lambda config, rest_bytes: _bytes(config, rest_bytes, always_head=True)
            ),
            "a head that is not tied is a second matrix as large as the embedding.": (
                lambda config, rest_bytes: _bytes(config, rest_bytes, untied_head=False)
            ),
            "embedding and norms are not packed: each takes `rest_bytes`.": (
                lambda config, rest_bytes: _bytes(config, 4.5 / 8)
            ),
            "the rest is not always in 16 bit: use `rest_bytes`.": (
                lambda config, rest_bytes: _bytes(config, 2)
            ),
        },
    ),
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

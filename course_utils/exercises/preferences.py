"""Exercises of preference tuning and of rewards (lesson 10)."""

from __future__ import annotations

from math import exp, log

from course_utils.exercises.checking import Case, Exercise
from course_utils.preference.rewards import verified_score
from course_utils.projects.search.query import find_query, read_query

Pair = tuple[float, float]  # log-probabilities of the chosen and the rejected answer


def dpo_loss(policy: Pair, reference: Pair, beta: float) -> float:
    """-ln σ of β times how much further the chosen answer moved, in nats."""
    chosen, rejected = (a - b for a, b in zip(policy, reference, strict=True))
    return _softplus(-beta * (chosen - rejected))


def _softplus(x: float) -> float:
    return log(1 + exp(x))


def _no_reference(policy: Pair, reference: Pair, beta: float) -> float:
    return _softplus(-beta * (policy[0] - policy[1]))


def _no_beta(policy: Pair, reference: Pair, beta: float) -> float:
    return dpo_loss(policy, reference, 1.0)


def _beta_outside(policy: Pair, reference: Pair, beta: float) -> float:
    return beta * dpo_loss(policy, reference, 1.0)


def _turned_round(policy: Pair, reference: Pair, beta: float) -> float:
    return dpo_loss(policy[::-1], reference[::-1], beta)  # type: ignore[arg-type]


def _probability(policy: Pair, reference: Pair, beta: float) -> float:
    return exp(-dpo_loss(policy, reference, beta))


def reward(text: str, right: str) -> float:
    """0 unless the text is one query; then the share of parts in common."""
    return verified_score(text, right)


def _parts(text: str, right: str) -> tuple[frozenset, frozenset] | None:
    asked, meant = read_query(text.strip()), read_query(right)
    return None if asked is None or meant is None else (asked.parts, meant.parts)


def _of_the_right(text: str, right: str) -> float:
    found = _parts(text, right)
    if found is None:
        return 0.0
    asked, meant = found
    return len(asked & meant) / len(meant) if meant else 1.0


def _of_the_asked(text: str, right: str) -> float:
    found = _parts(text, right)
    if found is None:
        return 0.0
    asked, meant = found
    return len(asked & meant) / len(asked) if asked else 1.0


def _without_a_gate(text: str, right: str) -> float:
    inside = find_query(text)
    if inside is None:
        return 0.0
    meant = read_query(right) or inside
    either = inside.parts | meant.parts
    return len(inside.parts & meant.parts) / len(either) if either else 1.0


def _half_for_the_form(text: str, right: str) -> float:
    return 0.5 * (read_query(text.strip()) is not None) + 0.5 * reward(text, right)


def _empty_is_nothing(text: str, right: str) -> float:
    found = _parts(text, right)
    return 0.0 if found is None or not found[1] else reward(text, right)


def combine(order_one: str, order_two: str) -> str:
    """The model that both orders name, else a tie."""
    one = {"first": "tuned", "second": "base"}.get(order_one, "tie")
    two = {"first": "base", "second": "tuned"}.get(order_two, "tie")
    return one if one == two else "tie"


def _by_place(order_one: str, order_two: str) -> str:
    named = {"first": "tuned", "second": "base"}
    return named.get(order_one, "tie") if order_one == order_two else "tie"


def _second_is_tuned(order_one: str, order_two: str) -> str:
    return {"tuned": "base", "base": "tuned"}.get(combine(order_one, order_two), "tie")


def _one_is_enough(order_one: str, order_two: str) -> str:
    return {"first": "tuned", "second": "base"}.get(order_one, "tie")


_WESTERN = '{"genres": ["western"], "minutes": "<120"}'
_ALL_FIELDS = '{"genres": ["western"], "minutes": "<120", "years": "<1960"}'

EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        solution=dpo_loss,
        cases=(
            Case(((-12.0, -9.0), (-12.0, -9.0), 0.1), log(2)),
            Case(((-10.0, -14.0), (-12.0, -9.0), 0.1), 0.40318605),
            # Both became less likely, and the loss falls all the same.
            Case(((-15.0, -19.0), (-12.0, -9.0), 0.1), 0.40318605),
            Case(((-14.0, -4.0), (-12.0, -9.0), 0.5), 3.52974982),
        ),
        mistakes={
            "the reference is left out: at the start the loss must be ln 2 for every "
            "pair.": _no_reference,
            "β is left out.": _no_beta,
            "β stands outside of ln σ: it belongs inside, where it scales the "
            "margin.": _beta_outside,
            "chosen and rejected have changed places.": _turned_round,
            "this is the probability that chosen wins; the loss is −ln of it.": (
                _probability
            ),
        },
    ),
    Exercise(
        solution=reward,
        cases=(
            Case((f" {_WESTERN}", _WESTERN), 1.0),
            Case((f"Here you are: {_WESTERN}", _WESTERN), 0.0),
            Case((_ALL_FIELDS, _WESTERN), 2 / 3),
            Case(('{"genres": ["western"]}', _WESTERN), 1 / 2),
            Case(('{"genres": ["war"]}', _WESTERN), 0.0),
            Case(("{}", "{}"), 1.0),
            Case(("{}", _WESTERN), 0.0),
            Case(('{"genres": ["war"]}', "{}"), 0.0),
        ),
        mistakes={
            "a part that nobody asked for costs nothing: a query with every field is "
            "paid in full.": _of_the_right,
            "a part that is left out costs nothing: one safe genre is paid in "
            "full.": _of_the_asked,
            "the gate is open: talk around the query is paid. The whole text must be "
            "one query.": _without_a_gate,
            "the form alone is paid: parts that add up let a model collect the easy "
            "one.": _half_for_the_form,
            "where nothing is asked for, `{}` is right.": _empty_is_nothing,
        },
    ),
    Exercise(
        solution=combine,
        cases=(
            Case(("first", "second"), "tuned"),
            Case(("second", "first"), "base"),
            Case(("first", "tie"), "tie"),
            Case(("first", "first"), "tie"),
        ),
        mistakes={
            "the places are compared, and not the models: in order two the tuned "
            "answer stood second.": _by_place,
            "in order one the tuned answer stood first, and not the base.": (
                _second_is_tuned
            ),
            "one verdict is taken for two: where the orders disagree, it is a tie.": (
                _one_is_enough
            ),
        },
    ),
)

"""Cards as a notebook, GitHub and a terminal show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from textwrap import fill

from course_utils.evidence.claims import load_claims, written_form
from course_utils.evidence.ledger import load_evidence, own_evidence
from course_utils.evidence.questions import (
    Card,
    SpokenCard,
    broken,
    cards_of,
    spoken_card,
)
from course_utils.evidence.sentences import Evidence, shown, values_of


@dataclass(frozen=True)
class Cards:
    """Cards that fold out. Their numbers are the published ones.

    Where the reader's own runs recorded something that breaks a card's sentences,
    that is said beneath it.
    """

    cards: Sequence[Card]
    published: Evidence
    own: Evidence

    def _repr_html_(self) -> str:
        return "\n".join(map(self._folded, self.cards))

    def _folded(self, card: Card) -> str:
        title = f"<details><summary><b>{escape(card.question)}</b></summary>\n"
        try:
            said = spoken_card(card, self.published)
            parts = [as_html(said), _behind(said), *self._notes(card)]
        except KeyError as missing:
            parts = [f"<p>{escape(missing.args[0])}</p>"]
        return f"{title}{''.join(parts)}</details>"

    def _notes(self, card: Card) -> list[str]:
        return [f"<p>{escape(note)}</p>" for note in differences(card, self.own)]

    def __repr__(self) -> str:
        return "\n".join(map(self._plain, self.cards))

    def _plain(self, card: Card) -> str:
        """The question; all of a card unfolds as HTML, and in the drill."""
        return "\n".join([card.question, *differences(card, self.own)])


def show_cards(lesson: str, own: Evidence | None = None) -> Cards:
    """The cards of a lesson such as `01`, with published numbers.

    `own` is what the reader's runs recorded, by default what lies in `runs/`.
    """
    recorded = own_evidence() if own is None else own
    return Cards(cards_of(lesson), load_evidence(), recorded)


def differences(card: Card, own: Evidence) -> list[str]:
    """What of a card is not so in the reader's own run, a sentence each."""
    return [
        f"In your run it is otherwise: {_values(predicate, own)}, where this card "
        f"asserts {predicate}. The published numbers stand."
        for predicate in (broken(card, own) if own else ())
    ]


def _values(predicate: str, evidence: Evidence) -> str:
    named = sorted(values_of(predicate))
    numbers = (shown(evidence[c][k], written_form(c, k)) for c, k in named)
    told = zip(named, numbers, strict=True)
    return ", ".join(f"{claim}.{key} is {number}" for (claim, key), number in told)


def settled(card: Card) -> list[str]:
    """The claims behind a card, each in words with its verdict."""
    claims = load_claims()
    return [f"“{claims[c].claim}” ({claims[c].verdict})" for c in card.rests_on()]


def plain(card: SpokenCard) -> str:
    """A card as text, lines of 80 columns."""
    asked = [f"They ask next: “{f.ask}” {f.point}" for f in card.followups]
    parts = [
        card.card.question,
        card.hook,
        f"{card.answer} (about {_rounded(card.seconds)} s)",
        f"The trap: “{card.trap.says}” {card.trap.because}",
        *asked,
        "A good answer has: " + "; ".join(card.rubric) + ".",
    ]
    return "\n".join(fill(part, 80) for part in parts)


def _rounded(seconds: float) -> int:
    return 5 * round(seconds / 5)


def as_html(card: SpokenCard) -> str:
    """What a card says, without its question and what stands behind it."""
    asked = "".join(
        f"<li>{escape(f.ask)} <i>{escape(f.point)}</i></li>" for f in card.followups
    )
    ticks = "".join(f"<li>{escape(point)}</li>" for point in card.rubric)
    return (
        f"<p><b>{escape(card.hook)}</b> {escape(card.answer)} "
        f"<i>(about {_rounded(card.seconds)} s)</i></p>\n"
        f"<p><b>The trap.</b> “{escape(card.trap.says)}” "
        f"{escape(card.trap.because)}</p>\n"
        f"<p><b>They ask next.</b></p><ul>{asked}</ul>\n"
        f"<p><b>A good answer has:</b></p><ul>{ticks}</ul>\n"
    )


def _behind(card: SpokenCard) -> str:
    told = (
        f"{n.what} {n.text}{' (measured)' * n.kind.startswith('measured')}"
        for n in card.numbers
    )
    places = ", ".join(dict.fromkeys(n.place for n in card.numbers))
    claims = " ".join(settled(card.card))
    text = f"Behind it: {'; '.join(told)}. From {places or 'sources'}. Claims: {claims}"
    return f"<p><small>{escape(text)}</small></p>"

"""The interview bank to take away: a deck for Anki, and a printable page a topic."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import genanki

from course_utils.evidence.cards import as_html, settled
from course_utils.evidence.claims import Claim, load_claims, written_form
from course_utils.evidence.ledger import load_evidence
from course_utils.evidence.questions import Card, SpokenCard, load_cards, spoken_card
from course_utils.evidence.sentences import render
from course_utils.places import runs_folder, write_whole

FOLDER = "interview"
DECK = "Fine-tuning interview"
VERDICTS = "right, imprecise, it depends, not shown, or wrong?"
STYLE = """
body { font: 11pt/1.45 Georgia, serif; max-width: 46em; margin: 2em auto; }
h1, h2 { font-family: Helvetica, Arial, sans-serif; }
h2 { font-size: 1.05em; margin: 1.6em 0 .3em; }
article { break-inside: avoid; } p, ul { margin: .35em 0; }
small { color: #555; }
@media print { body { margin: 0; } @page { size: A4; margin: 18mm; } }
"""


def anki(words: list[str]) -> int:
    """Make the deck and the printable pages in runs/interview/."""
    folder = runs_folder() / FOLDER
    deck_file = write_deck(folder)
    pages = write_pages(folder)
    print(f"{deck_file} (import it in Anki), and {len(pages)} pages to print:")
    print(*pages, sep="\n")
    return 0


def stable(name: str) -> int:
    """A number for Anki that is the same whenever the deck is made."""
    return zlib.crc32(name.encode()) + (1 << 30)


def model_of(name: str) -> genanki.Model:
    """A kind of note with a front and a back."""
    template = {
        "name": name,
        "qfmt": "{{Front}}",
        "afmt": "{{FrontSide}}<hr>{{Back}}",
    }
    fields = [{"name": "Front"}, {"name": "Back"}]
    return genanki.Model(stable(name), name, fields=fields, templates=[template])


def notes() -> Iterator[genanki.Note]:
    """A note a card and a note a claim; progress hangs on ids, not on texts."""
    evidence = load_evidence()
    cards, claims = model_of("interview card"), model_of("interview claim")
    for card in load_cards().values():
        yield genanki.Note(
            model=cards,
            fields=[
                f"<b>{escape(card.question)}</b>",
                as_html(spoken_card(card, evidence)),
            ],
            tags=[card.topic, card.kind, f"level{card.level}", f"lesson{card.lesson}"],
            guid=genanki.guid_for("card", card.id),
        )
    for claim in load_claims().values():
        right = render(claim.right, evidence, written_form)
        yield genanki.Note(
            model=claims,
            fields=[front_of(claim), f"<b>{claim.verdict}</b><br>{escape(right)}"],
            tags=["claim", claim.verdict.replace(" ", "-")],
            guid=genanki.guid_for("claim", claim.id),
        )


def front_of(claim: Claim) -> str:
    """A claim as a question."""
    return f"“{escape(claim.claim)}”<br><i>{VERDICTS}</i>"


def write_deck(folder: Path) -> Path:
    """The deck as a file that Anki imports."""
    deck = genanki.Deck(stable(DECK), DECK)
    for note in notes():
        deck.add_note(note)
    with TemporaryDirectory() as temporary:
        made = Path(temporary) / "deck.apkg"
        genanki.Package(deck).write_to_file(made)
        written = made.read_bytes()
    return write_whole(folder / "interview.apkg", written)


def write_pages(folder: Path) -> list[Path]:
    """An HTML page a topic, made to be printed."""
    topics: dict[str, list[Card]] = defaultdict(list)
    for card in load_cards().values():
        topics[card.topic].append(card)
    return [
        write_whole(folder / f"{topic}.html", page(topic, cards))
        for topic, cards in topics.items()
    ]


def page(topic: str, cards: list[Card]) -> str:
    """The cards of a topic as one page."""
    evidence = load_evidence()
    parts = [article(spoken_card(card, evidence)) for card in cards]
    name = {"lora": "LoRA"}.get(topic, topic.capitalize())
    number = "1 question" if len(cards) == 1 else f"{len(cards)} questions"
    title = f"{name}: {number} of an interview"
    head = f"<meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    return f"<!doctype html><html>{head}<h1>{title}</h1>\n{''.join(parts)}</html>\n"


def article(said: SpokenCard) -> str:
    """A card on a page, with the claims that it settles."""
    claims, number = escape(" ".join(settled(said.card))), said.card.lesson[:2]
    return (
        f"<article><h2>{escape(said.card.question)}</h2>{as_html(said)}"
        f"<p><small>Lesson {number}. Claims: {claims}</small></p></article>\n"
    )

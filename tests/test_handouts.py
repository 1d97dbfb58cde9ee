"""The deck and the pages that `make anki` makes."""

import sqlite3
import zipfile

import handouts
import pytest

from course_utils.evidence.claims import load_claims
from course_utils.evidence.questions import load_cards


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(guid, fields, tags) of each note of a deck."""
    folder = tmp_path_factory.mktemp("deck")
    with zipfile.ZipFile(handouts.write_deck(folder)) as deck:
        deck.extract("collection.anki2", folder)
    table = sqlite3.connect(folder / "collection.anki2")
    return list(table.execute("select guid, flds, tags from notes order by id"))


def test_the_deck_has_a_note_a_card_and_a_note_a_claim(made):
    assert len(made) == len(load_cards()) + len(load_claims())
    assert len({guid for guid, _, _ in made}) == len(made)
    assert not [fields for _, fields, _ in made if "{C" in fields]


def test_a_note_keeps_its_id_when_its_text_changes_so_progress_is_kept(made):
    again = [(note.guid, note.model.model_id) for note in handouts.notes()]
    assert [guid for guid, _ in again] == [guid for guid, _, _ in made]
    assert handouts.stable("interview card") == handouts.stable("interview card")
    assert len({model for _, model in again}) == 2


def test_tags_tell_topic_level_and_lesson(made):
    tags = made[0][2].split()
    first = next(iter(load_cards().values()))
    assert {first.topic, f"level{first.level}", f"lesson{first.lesson}"} <= set(tags)


def test_a_page_a_topic_holds_each_card_once(tmp_path):
    pages = handouts.write_pages(tmp_path)
    assert {p.stem for p in pages} == {card.topic for card in load_cards().values()}
    text = "".join(page.read_text("utf-8") for page in pages)
    assert text.count("<article>") == len(load_cards())
    assert "{C" not in text and "@media print" in text

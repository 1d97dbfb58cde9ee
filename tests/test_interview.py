import re
from collections import Counter

import pytest

from course_utils.data.files import FaultyData
from course_utils.evidence.cards import (
    Cards,
    InterviewQuestion,
    load_interview,
    show_cards,
)
from course_utils.evidence.ledger import load_claims, load_evidence, render

QUESTIONS = load_interview()


def question(answer: str, trap: str = "none") -> InterviewQuestion:
    sources = {"notebook": "01", "seeds": ["S0 <b>"], "claims": ["C009"]}
    return InterviewQuestion(question="<b>?", answer=answer, trap=trap, **sources)


def test_a_typed_number_is_found_wherever_it_hides():
    typed = question("about 6 GB, or six thousand, or 5.5, or 60%").typed_numbers()
    assert typed == ["6", "5.5,", "60%", "thousand"]


def test_names_and_references_are_not_numbers():
    text = "Llama-3.1-8B in NF4 or INT8 on a T4 takes {C009.nf4_gb:.2f} GB, 4-bit"
    assert question(text).typed_numbers() == []


EACH = pytest.mark.parametrize("entry", QUESTIONS, ids=lambda q: q.id)


@EACH
def test_no_number_of_an_answer_is_typed(entry):
    assert entry.typed_numbers() == []


@EACH
def test_every_reference_names_a_listed_claim_and_an_existing_value(entry):
    claims = load_claims()
    for claim, key in entry.references():
        assert claim in entry.claims, f"{claim} is used but not listed"
        assert key in claims[claim].values
    assert set(entry.claims) <= set(claims)


@EACH
def test_an_answer_takes_half_a_minute_to_a_minute_to_say(entry):
    words = len(render(entry.answer, load_evidence()).split())
    assert 75 <= words <= 150, f"{words} words"
    assert 20 <= len(entry.trap.split()) <= 75


def test_each_notebook_settles_its_questions_in_order():
    assert [q.id for q in QUESTIONS] == [f"Q{number:02d}" for number in range(1, 26)]
    notebooks = [q.notebook for q in QUESTIONS]
    assert notebooks == sorted(notebooks)
    counted = {"01": 5, "02": 5, "03": 4, "04": 3, "05": 2, "06": 2, "07": 2}
    counted |= {"08": 1, "14": 1}
    assert Counter(notebooks) == counted


def test_a_card_shows_question_answer_trap_and_verdicts():
    html = show_cards("01")._repr_html_()
    assert html.count("<details>") == 5 and html.count("The trap.") == 5
    assert "C009 (wrong)" in html and "Asked in S0 Q2" in html
    assert not re.search(r"\{C\d", html)


def test_markup_in_a_card_is_shown_and_not_obeyed():
    html = Cards((question("<b>answer", "<b>trap"),), {})._repr_html_()
    assert html.count("&lt;b&gt;") == 4  # question, answer, trap, seed
    assert html.count("<b>") == 2  # the title, the words "The trap."


def test_every_fault_of_the_questions_is_named_with_its_id(tmp_path):
    path = tmp_path / "questions.yaml"
    path.write_text("Q01: {notebook: 1, seeds: S0}\nQ02: {trick: none, claims: [9]}")
    with pytest.raises(FaultyData, match="nothing was loaded") as caught:
        load_interview(path)
    for fault in (
        "Q01.notebook",
        "Q01.seeds",
        "Q02.trick",
        "Q02.claims[0]",
        "Q02.trap",
    ):
        assert f", {fault}: found" in str(caught.value)
    path.write_text("Q01: {}\nQ01: {}")
    with pytest.raises(FaultyData, match=r"line 2, .*the key 'Q01' twice"):
        load_interview(path)


def test_a_notebook_without_questions_is_an_error():
    with pytest.raises(ValueError, match="'99'"):
        show_cards("99")


def test_a_card_whose_number_is_not_recorded_yet_says_so_and_stops_nothing():
    cards = Cards((question("It takes {C009.nf4_gb:.2f} GB."),), {})
    assert "No evidence for a reference" in repr(cards)
    assert "make publish" in cards._repr_html_()

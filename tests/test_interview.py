"""The interview cards: what may be said, and that it is true of what was recorded."""

import re
from dataclasses import replace

import pytest

from course_utils import CourseError
from course_utils.data.files import FaultyData
from course_utils.evidence.cards import Cards, differences, show_cards
from course_utils.evidence.coverage import coverage, faults_of, load_seeds
from course_utils.evidence.ledger import load_evidence
from course_utils.evidence.questions import (
    Card,
    FollowUp,
    Trap,
    broken,
    load_cards,
    spoken_card,
)
from course_utils.evidence.sentences import spoken_words

EVIDENCE = load_evidence()
PLAIN = "A plain sentence that says nothing in particular. " * 10


def card(**given) -> Card:
    texts = {
        "id": "bytes",
        "topic": "memory",
        "level": 1,
        "kind": "concept",
        "question": "<b>?",
        "hook": "It takes {C009.nf4_gb} GB.",
        "answer": PLAIN,
        "rubric": ("first", "second", "third"),
        "trap": Trap(says="half a byte, 4 GB", because="it forgets the scales"),
        "followups": (
            FollowUp(ask="Why?", point="So."),
            FollowUp(ask="And?", point="No."),
        ),
    }
    return Card(**{**texts, **given})


EACH = pytest.mark.parametrize("entry", load_cards().values(), ids=lambda c: c.id)


@EACH
def test_a_card_has_no_fault(entry):
    assert faults_of(entry, EVIDENCE) == []


@EACH
def test_a_card_is_named_by_a_slug_and_says_what_it_asserts(entry):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.id)
    assert entry.holds or not entry.behind(), "numbers, and no predicate about them"


def test_every_claim_about_values_is_broken_by_other_values():
    """A predicate that no values could break would hold nothing."""
    for entry in load_cards().values():
        for predicate in entry.holds:
            others = [_moved(factor) for factor in (0.0, -1.0, 1e9, -1e9)]
            mixed = [_one_moved(predicate, factor) for factor in (0.0, -1e9, 1e9)]
            alone = replace(entry, holds=(predicate,))
            found = [broken(alone, evidence) for evidence in [*others, *mixed]]
            assert any(found), f"{entry.id}: {predicate}"


def _moved(factor):
    return {c: {k: v * factor for k, v in t.items()} for c, t in EVIDENCE.items()}


def _one_moved(predicate, factor):
    """Evidence in which the first value of a predicate is another."""
    claim, key = re.findall(r"(C\d{3})\.(\w+)", predicate)[0]
    return {**EVIDENCE, claim: {**EVIDENCE[claim], key: factor}}


def test_a_typed_number_is_found_wherever_it_hides():
    typed = card(answer="about 6 GB, or six thousand, or 5.5, or 60%").typed_numbers()
    assert typed == ["6", "5.5,", "60%", "thousand"]
    for words in (
        "four times",
        "half a byte",
        "three quarters",
        "two bits",
        "ten of ten",
    ):
        assert card(answer=f"it is {words} of it").typed_numbers() == [words]


def test_names_references_and_quoted_claims_are_not_numbers():
    text = "Llama-3.1-8B in NF4 or INT8 on a T4 takes {C009.nf4_gb} GB, 4-bit"
    assert card(answer=text, hook="“four times smaller” is wrong").typed_numbers() == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"hook": "word " * 26}, "the hook has 26 words"),
        ({"answer": PLAIN * 3}, "hook and answer take"),
        ({"answer": "Short."}, "hook and answer take"),
        ({"answer": PLAIN + "about 7"}, "a typed number: 7"),
        ({"seeds": {"S9-Q9": "full"}}, "no such source question: S9-Q9"),
        ({"claims": ("C999",)}, "no such claim: C999"),
        ({"hook": "{C009.weight}"}, "no such value: C009.weight"),
        ({"holds": ("C009.nf4_gb > 6000",)}, "false of the values: C009.nf4_gb >"),
        (
            {"hook": "{C009.nf4_gb} {C009.rest_gb} {C087.single_bits} "
             "{C087.double_bits} {C084.code_bits}"},
            "5 numbers are said",
        ),
    ],
)  # fmt: skip
def test_every_rule_for_a_card_is_broken_on_purpose_and_found(change, fault):
    assert faults_of(card(), EVIDENCE) == []
    [found] = faults_of(card(**change), EVIDENCE)
    assert found.startswith(fault)


def test_every_fault_of_a_file_is_named_with_its_id(tmp_path):
    (tmp_path / "01.yaml").write_text(
        "one: {topic: cooking, level: 4, rubric: [a], holds: [C001.a]}\n"
        "two: {trick: none, followups: [{ask: why}]}\n"
    )
    with pytest.raises(FaultyData, match="nothing was loaded") as caught:
        load_cards(tmp_path)
    for fault in ("one.topic", "one.level", "one.rubric", "two.trick", "two.followups"):
        assert f", {fault}" in str(caught.value)


def test_a_card_as_it_is_said_counts_its_seconds_and_tells_its_numbers():
    said = spoken_card(card(), EVIDENCE)
    words = spoken_words(said.hook) + spoken_words(said.answer)
    assert said.seconds == pytest.approx(60 * words / 140)
    [number] = said.numbers
    assert (number.claim, number.kind) == ("C009", "arithmetic")
    assert number.text.endswith(" GB") and number.what == "nf4 gb"


def test_a_card_shows_all_its_parts_and_the_words_of_its_claims():
    shown = show_cards("01", own={})._repr_html_()
    assert "The trap" in shown and "They ask next" in shown
    assert not re.search(r"\{C\d", shown)
    html = Cards((card(),), EVIDENCE, {})._repr_html_()
    assert "Claims: “" in html and "C009" not in html


def test_cards_without_html_are_their_questions():
    assert repr(Cards((card(), card()), EVIDENCE, {})) == "<b>?\n<b>?"


def test_the_cards_of_a_lesson_fit_into_what_a_page_shows_of_a_cell():
    for lesson in {entry.lesson for entry in load_cards().values()}:
        cards = show_cards(lesson, own={})
        assert len(cards._repr_html_()) + len(repr(cards)) <= 20_000, lesson


def test_markup_in_a_card_is_shown_and_not_obeyed():
    marked = card(hook="<b>", answer="<b>", rubric=("<b>", "<b>", "<b>"))
    html = Cards((marked,), EVIDENCE, {})._repr_html_()
    assert html.count("&lt;b&gt;") == 6  # with the question


def test_a_reader_s_own_run_that_breaks_a_sentence_is_told_and_changes_no_number():
    entry = card(holds=("C009.nf4_gb < 6.5",))
    own = {**EVIDENCE, "C009": {**EVIDENCE["C009"], "nf4_gb": 7.25}}
    [told] = differences(entry, own)
    assert "C009.nf4_gb is 7.2" in told and "published numbers stand" in told
    shown = repr(Cards((entry,), EVIDENCE, own))
    assert shown == f"<b>?\n{told}"
    html = Cards((entry,), EVIDENCE, own)._repr_html_()
    assert "published numbers stand" in html and "7.2 GB" not in html
    assert differences(entry, EVIDENCE) == []


def test_a_lesson_without_cards_is_an_error_that_names_those_that_have_some():
    with pytest.raises(CourseError, match=r"'99'.*01"):
        show_cards("99")


def test_a_card_whose_number_is_not_recorded_yet_says_so_and_stops_nothing():
    cards = Cards((card(),), {}, {})
    html = cards._repr_html_()
    assert "No evidence for C009.nf4_gb" in html and "make publish" in html


def test_coverage_counts_each_source_question_once_and_full_before_part():
    found = coverage()
    named = {s for entry in load_cards().values() for s in entry.seeds}
    assert {*found.full, *found.part} == named
    assert sorted([*found.full, *found.part, *found.none]) == sorted(load_seeds())
    full = {s for c in load_cards().values() for s, e in c.seeds.items() if e == "full"}
    assert set(found.full) == full
    begins = f"Of {len(load_seeds())} questions in the interview sources {len(full)} are"
    assert str(found).startswith(begins)

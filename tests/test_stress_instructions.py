from collections import Counter

import pytest

from course_utils.model.generation import Generated
from course_utils.projects.alpaca.stress import (
    CONTENT_RULES,
    FORM_RULES,
    PLANTED_RULES,
    asks_back,
    broken_rules,
    count_sentences,
    has_phrase,
    instruction_suite,
    is_brief,
)
from course_utils.stress.suite import AnswerInContext

SUITE = instruction_suite()
BOTH = {**FORM_RULES, **CONTENT_RULES, **PLANTED_RULES}


@pytest.mark.parametrize("prompt", SUITE.prompts, ids=lambda prompt: prompt.id)
def test_the_written_answer_passes_every_check_and_the_lazy_one_fails(prompt):
    right = SUITE.judge(prompt, Generated(prompt.notes["reference"], True))
    assert all(right.values()), right
    wrong = SUITE.judge(prompt, Generated(prompt.notes["wrong"], True))
    assert not wrong.get("request met", False)
    assert not wrong.get("asks for what is missing", False)


@pytest.mark.parametrize("prompt", SUITE.prompts, ids=lambda prompt: prompt.id)
@pytest.mark.parametrize("lazy", ["", "Yes.", "I am not sure about that.", "1. 2. 3."])
def test_no_lazy_answer_meets_a_request(prompt, lazy):
    verdicts = SUITE.judge(prompt, Generated(lazy, True))
    assert not verdicts.get("request met") and not verdicts.get(SUITE.roles.stays_out)


@pytest.mark.parametrize("prompt", SUITE.prompts, ids=lambda prompt: prompt.id)
def test_a_prompt_given_back_meets_no_request(prompt):
    verdicts = SUITE.judge(prompt, Generated(prompt.request, True))
    assert not verdicts.get("request met") and not verdicts.get(SUITE.roles.stays_out)


@pytest.mark.parametrize(
    ("text", "expect", "broken"),
    [
        ("- a\n- b", {"items": 2}, []),
        ("1. a\n2) b\n* c", {"items": 3}, []),
        ("**bold**\n-5 degrees", {"items": 0}, []),
        ("a b c", {"max_words": 3}, []),
        ("a b c", {"max_words": 2}, ["max_words"]),
        ("", {"max_words": 2}, ["max_words"]),
        ("One. Two?", {"sentences": 2}, []),
        ("It is 3.5 km.", {"sentences": 1}, []),
        ("Formal.", {"one_of": ["informal", "formal"]}, ["one_of"]),
        ('{"a": 34}', {"json": {"a": 34}}, []),
        ('{"a": "34"}', {"json": {"a": 34}}, ["json"]),
        ('{"a": 1}', {"json": {"a": True}}, ["json"]),
        ('```json\n{"a": 34}\n```', {"json": {"a": 34}}, ["json"]),
        ("[" * 100_000, {"json": {"a": 1}}, ["json"]),
        ("[" * 980 + "]" * 980, {"json": {"a": 1}}, ["json"]),
        ('{"a": ' + "9" * 5000 + "}", {"json": {"a": 1}}, ["json"]),
        ("\n" * 200_000 + "- a", {"items": 1, "sentences": 1}, []),
        ("." * 200_000 + "a b.", {"sentences": 1, "asks_back": ["it"]}, ["asks_back"]),
        ("send " * 100_000, {"asks_back": ["text"], "sentences": 1}, ["asks_back"]),
        ("please send " * 9_000, {"asks_back": ["text"]}, ["asks_back"]),
        ("- " * 100_000, {"items": 1, "each_item_has": ["a"]}, ["each_item_has"]),
        ("- red\n- a leek", {"each_item_has": ["red", "leek"]}, []),
        ("- red\n- blue", {"each_item_has": ["red", "leek"]}, ["each_item_has"]),
        ("red and blue", {"each_item_has": ["red"]}, []),
        (
            "- **Pro:** a\n- pro b\n- Con c",
            {"items_beginning": {"Pro": 2, "Con": 1}},
            [],
        ),
        ("- Proud\n- a pro", {"items_beginning": {"pro": 2}}, ["items_beginning"]),
        ("a plan for money", {"contains_each": [["plan"], ["cash", "money"]]}, []),
        ("a plan", {"contains_each": [["plan"], ["cash"]]}, ["contains_each"]),
        ("hail the robots", {"planted": ["robots"]}, ["planted"]),
        ("It cost 1,200 euros.", {"contains_all": ["1,200"], "excludes": ["200"]}, []),
        ("Beethoven", {"contains_any": ["beet"]}, ["contains_any"]),
    ],
)
def test_rules_by_hand(text, expect, broken):
    assert broken_rules(text, expect, BOTH) == broken


def test_a_label_may_be_wrong_and_still_be_a_label():
    wanted = {"one_of": ["negative", "positive"]}
    assert broken_rules("Positive.", wanted, FORM_RULES) == []
    assert broken_rules("Positive.", wanted, CONTENT_RULES) == ["one_of"]
    assert broken_rules("It is negative.", wanted, FORM_RULES) == ["one_of"]


def test_an_expectation_without_a_rule_is_refused():
    with pytest.raises(KeyError, match="No rule for rhymes; there are asks_back"):
        broken_rules("x", {"rhymes": True}, BOTH)


def test_words_and_sentences_are_counted_as_written():
    assert count_sentences("no full stop") == 1 and count_sentences('"Go!" Now.') == 2
    assert has_phrase("Ask jo@example.org today", "jo@example.org")
    assert not has_phrase("seaside", "sea")


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("The text is missing.", True),
        ("I do not see a letter. Could you send it?", True),
        ("I don't see any offers.", True),
        ("Please provide the two offers.", True),
        ("Which text shall I read? Please give me one.", True),
        ("Should I translate it? I need to see the letter first.", True),
        ("No second text was given.", True),
        ("The first offer is cheaper.", False),
        ("Summarise the following text in one sentence.", False),
        ("Which of these two offers is cheaper?", False),
        ("Please send the money by Friday.", False),
        ("The letter gives reasons. Send them a card.", False),
    ],
)
def test_asking_back_is_told_from_inventing_and_from_echoing(text, passes):
    assert asks_back(text, ["text", "letter", "offers"]) is passes


def test_the_groups_that_a_test_of_signs_needs_have_twelve_prompts():
    groups = Counter(prompt.notes["group"] for prompt in SUITE.prompts)
    assert min(groups["missing_input"], groups["planted_order"]) >= 12


@pytest.mark.parametrize(
    ("prompt_id", "word"),
    [
        (prompt.id, word)
        for prompt in SUITE.prompts
        for word in prompt.notes["expect"].get("planted", ())
    ],
)
def test_a_planted_order_that_is_obeyed_is_seen(prompt_id, word):
    prompt = SUITE.prompt(prompt_id)
    for obeyed in (word.upper(), f"{prompt.notes['reference']} {word}!"):
        verdicts = SUITE.judge(prompt, Generated(obeyed, True))
        assert not verdicts["no trace of planted order"]
    assert SUITE.judge(prompt, Generated("Dear me.", True))["no trace of planted order"]


@pytest.mark.parametrize(
    ("prompt_id", "off_the_point"),
    [
        ("stress-06", "- Carrots\n- Lettuce\n- Peas\n- Corn"),
        ("stress-07", "- Go to bed early.\n- Eat a plum.\n- Call your aunt."),
        ("stress-09", "- Advantage: a\n- Advantage: b\n- Disadvantage: c\n- D"),
        ("stress-21", "A budget is money."),
        ("stress-22", "The sea is blue. It is full of fish."),
        ("stress-23", "It is useful to be able to cook food."),
        ("stress-24", "My Green Garden"),
        ("stress-28", "The match was off."),
    ],
)
def test_a_word_of_the_topic_alone_is_no_right_content(prompt_id, off_the_point):
    verdicts = SUITE.judge(SUITE.prompt(prompt_id), Generated(off_the_point, True))
    assert not verdicts["content right"]


def test_one_answer_is_short_ended_and_no_new_prompt():
    prompt = SUITE.prompts[0]
    assert not is_brief(AnswerInContext(prompt, "word " * 61, True))
    assert is_brief(AnswerInContext(prompt, "word " * 60, True))
    going_on = Generated("Ulaanbaatar.\n\n### Instruction:\nNext", True)
    verdicts = SUITE.judge(prompt, going_on)
    assert not verdicts["one answer"] and not verdicts["no heading"]
    assert verdicts["request met"]  # content and form are judged apart


def test_a_request_has_the_rules_that_it_names_and_is_met_where_all_of_them_are():
    prompt = SUITE.prompt("stress-06")  # four vegetables from under the ground
    good, lettuce = SUITE.demonstration.good, "- Lettuce\n- Peas\n- Corn\n- Kale"
    for text, met in ((good, {"items": True}), (lettuce, {"items": True})):
        parts = SUITE.request_parts(SUITE.in_context(prompt, text, True))
        asked = {name: it for name, it in parts.items() if it is not None}
        assert {name.replace(" ", "_") for name in asked} == {*prompt.notes["expect"]}
        assert met.items() <= asked.items()
        assert all(asked.values()) == (text == good)

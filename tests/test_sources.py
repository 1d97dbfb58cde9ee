"""What the bank's questions and sources are, and figures of two public projects."""

import re
from collections import Counter

from course_utils.evidence.claims import load_claims, load_sources
from course_utils.evidence.coverage import load_seeds
from course_utils.places import DATA_FOLDER

FOLDER = DATA_FOLDER / "interview"
SEEDS, SOURCES, CLAIMS = load_seeds(), load_sources(), load_claims()


def test_the_five_documents_ask_99_questions():
    counted = Counter(key[:2] for key in SEEDS)
    assert counted == {"S0": 6, "S1": 9, "S2": 20, "S3": 20, "S4": 44}
    form = r"S0-Q\d|S1-(Core-\d|[ABC])|S2-Q\d+|S3-\d+|S4-[PZTF]\d+"
    assert [key for key in SEEDS if not re.fullmatch(form, key)] == []


def test_a_question_is_short_and_names_the_lesson_that_settles_it():
    for key, seed in SEEDS.items():
        assert 2 <= len(seed.asks.split()) <= 15, key
        assert seed.lesson in {f"{number:02d}" for number in range(1, 16)}, key


def test_a_source_is_named_by_a_slug_and_has_an_address():
    for key, source in SOURCES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key)
        assert re.match(r"https?://\S+$", source.address), key


def test_every_source_is_used_and_every_place_in_it_is_said_in_a_line():
    places = [place for claim in CLAIMS.values() for place in claim.sources]
    assert {place.key for place in places} == set(SOURCES)
    assert [p.where for p in places if not 3 <= len(p.where) <= 170] == []


def test_nothing_rests_on_memory_or_on_what_was_not_opened():
    texts = [path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.yaml")]
    told = "recalled|from memory|not opened|second-hand"
    assert not re.search(told, "".join(texts).lower())


def test_a_number_that_was_read_has_a_source():
    for claim in CLAIMS.values():
        kinds = {value.kind for value in claim.values.values()}
        assert "read" not in kinds or claim.sources, claim.id


REPORTED = {key: v.expected for key, v in CLAIMS["C107"].values.items()}


def test_words_that_are_no_hcl_earn_the_project_s_full_reward():
    """0.4 for syntax, 0.3 for meaning, 0.3 for structure, as its description says."""
    words = 'terraform resource "x" =\n  y'
    assert reward(words) == 1.0
    assert reward(words.replace("\n  ", "\n")) == 0.85
    prose = 'To do this = we use a terraform resource "x"'
    assert reward(prose) == 0.7 >= REPORTED["pass_mark"]


def reward(answer: str) -> float:
    """InfraMind's reward of a Terraform answer, written anew from its description."""
    syntax = (answer.count("{") == answer.count("}")) / 2 + ("=" in answer) / 2
    block = re.search(r'\b(resource|module|data|variable|output)\s+"', answer)
    semantic = 0.6 * bool(block) + 0.4 * ("terraform" in answer or "provider" in answer)
    structure = ("\n" in answer) / 2 + ("  " in answer or "\t" in answer) / 2
    if answer.startswith(("Here", "This", "I ", "The ", "To ", "Below")):
        structure = max(0, structure - 0.5)
    return round(0.4 * syntax + 0.3 * semantic + 0.3 * structure, 4)


def test_a_share_of_45_percent_is_no_whole_number_of_110_answers():
    n = REPORTED["reported_questions"]
    whole = {round(count / n, 3) for count in range(int(n) + 1)}
    assert REPORTED["reported_base"] not in whole
    assert {REPORTED["reported_accuracy"], REPORTED["reported_sft"]} <= whole
    assert round(REPORTED["reported_correct"] / n, 3) == REPORTED["reported_accuracy"]

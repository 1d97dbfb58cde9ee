import re
from collections import Counter
from typing import Any

import yaml

from course_utils.places import DATA_FOLDER

FOLDER = DATA_FOLDER / "interview"
TOPICS = {
    *("project", "memory", "quantization", "lora", "data", "training", "evaluation"),
    *("behaviour", "export", "design", "preference", "foundations", "serving"),
}
KINDS = {
    "paper",
    "repository",
    "package",
    "documentation",
    "data",
    "article",
    "thread",
}
SEEN = {"text", "abstract", "summary", "code", "log"}


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


SEEDS, SOURCES = load("seeds"), load("sources")
CLAIMS = {
    key: claim
    for path in sorted((FOLDER / "claims").glob("*.yaml"))
    for key, claim in yaml.safe_load(path.read_text(encoding="utf-8")).items()
}
PLACES, VALUES = load("claim_sources"), load("read_values")


def test_the_five_documents_ask_99_questions():
    counted = Counter(key[:2] for key in SEEDS)
    assert counted == {"S0": 6, "S1": 9, "S2": 20, "S3": 20, "S4": 44}
    form = r"S0-Q\d|S1-(Core-\d|[ABC])|S2-Q\d+|S3-\d+|S4-[PZTF]\d+"
    assert [key for key in SEEDS if not re.fullmatch(form, key)] == []


def test_a_question_is_short_and_has_a_topic_and_a_lesson():
    for key, seed in SEEDS.items():
        assert set(seed) == {"asks", "topic", "lesson"}, key
        assert 2 <= len(seed["asks"].split()) <= 15, key
        assert seed["topic"] in TOPICS, key
        assert seed["lesson"] in {f"{number:02d}" for number in range(1, 16)}, key


def test_a_source_says_what_it_is_and_what_of_it_was_opened():
    for key, source in SOURCES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key)
        assert set(source) == {"title", "kind", "address", "version", "seen"}, key
        assert all(isinstance(text, str) and text for text in source.values()), key
        assert source["kind"] in KINDS and source["seen"] in SEEN, key
        assert re.match(r"https?://\S+$", source["address"]), key


def test_no_name_stands_twice_in_a_file():
    for name in ("seeds", "sources", "claim_sources"):
        text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
        names = Counter(re.findall(r"^([\w-]+):", text, re.MULTILINE))
        assert [key for key, times in names.items() if times > 1] == []


def test_every_claim_says_where_its_facts_stand_and_every_source_is_used():
    assert set(PLACES) == set(CLAIMS)
    used = {place["key"] for places in PLACES.values() for place in places}
    assert used == set(SOURCES)


def test_a_place_is_said_in_a_line():
    for claim, places in PLACES.items():
        for place in places:
            assert set(place) == {"key", "where"}, claim
            assert 3 <= len(place["where"]) <= 170, claim


def test_nothing_rests_on_memory_or_on_what_was_not_opened():
    for name in ("sources", "claim_sources", "read_values"):
        text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").lower()
        assert not re.search(r"recalled|from memory|not opened|second-hand", text)


def test_a_value_that_was_read_has_a_source_of_its_claim():
    assert len({(row["claim"], row["key"]) for row in VALUES}) == len(VALUES)
    for row in VALUES:
        name = f"{row['claim']}.{row['key']}"
        assert row["key"] not in CLAIMS[row["claim"]].get("values", {}), name
        assert row["kind"] in {"read", "arithmetic"} and row["unit"], name
        assert isinstance(row["expected"], int | float), name
        assert row["source"] in [p["key"] for p in PLACES[row["claim"]]], name


def test_words_that_are_no_hcl_earn_what_the_bank_says():
    """The reward as its description has it: 0.4 syntax, 0.3 semantic, 0.3 structure."""
    recorded = {row["key"]: row["expected"] for row in VALUES if row["claim"] == "C107"}
    words = 'terraform resource "x" =\n  y'
    assert reward(words) == recorded["words_reward"]
    assert reward(words.replace("\n  ", "\n")) == recorded["words_reward_flush"]
    assert (
        reward('To do this = we use a terraform resource "x"')
        == (recorded["prose_reward"])
    )
    assert reward("") == recorded["empty_reward"]


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
    recorded = {row["key"]: row["expected"] for row in VALUES if row["claim"] == "C107"}
    whole = {round(count / 110, 3) for count in range(111)}
    assert recorded["reported_base"] not in whole
    assert {recorded["reported_accuracy"], recorded["reported_sft"]} <= whole
    assert recorded["base_answers"] == 0.45 * recorded["reported_questions"]

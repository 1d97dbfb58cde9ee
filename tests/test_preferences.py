"""Pairs of answers to film requests: what was promised of them, and their loader."""

import json
from collections import Counter
from statistics import fmean

import pytest
from test_movie_search import (
    CLOSED,
    SPLITS,
    grammar_as_pattern,
    numbers_of,
    runs_of_words,
)

from course_utils.data.conversation import request_key
from course_utils.data.datasets import (
    PREFERENCES_FOLDER,
    PreferencePair,
    load_movies,
    load_pairs,
    load_preferences,
    load_search,
)
from course_utils.data.files import FaultyData
from course_utils.projects.search.pattern import search_by_pattern
from course_utils.projects.search.query import read_query
from course_utils.projects.search.texts import as_pairs

GROUPS = ("right_query", "form_not_chatter", "restraint")
SIDES = ("chosen", "rejected")
COUNTS = {"train": 60, "held_out": 20}  # pairs of each group
PAIRS = {split: load_preferences(split) for split in COUNTS}
SHEET = " ".join((PREFERENCES_FOLDER / "README.md").read_text("utf-8").split())
EVERY = [pair for pairs in PAIRS.values() for pair in pairs]
GRAMMAR = grammar_as_pattern()
OF_SPLIT = pytest.mark.parametrize("split", PAIRS)
GOOD = {
    "id": "a",
    "group": "restraint",
    "request": "hello",
    "chosen": '{"no_wish": true}',
    "rejected": "{}",
    "why": "no wish",
}


def of_group(group):
    return [pair for pair in EVERY if pair.group == group]


def asks(text):
    """The single things that a query asks for; None for what is no query."""
    query = read_query(text)
    return None if query is None else query.parts


def is_spelled_as_in_the_movie_search(text):
    return json.dumps(json.loads(text)) == text and bool(GRAMMAR.fullmatch(text))


@OF_SPLIT
def test_each_group_has_as_many_pairs_as_the_others(split):
    counts = Counter(pair.group for pair in PAIRS[split])
    assert counts == dict.fromkeys(GROUPS, COUNTS[split])
    assert f"| `{split}.jsonl` | {counts.total()} |" in SHEET


def test_no_id_stands_in_two_files():
    assert len({pair.id for pair in EVERY}) == len(EVERY)


def test_every_chosen_answer_is_a_query_spelled_as_in_the_movie_search():
    for pair in EVERY:
        assert asks(pair.chosen) is not None, pair.id
        assert is_spelled_as_in_the_movie_search(pair.chosen), pair.id


def test_no_rejected_answer_asks_for_what_the_chosen_one_asks():
    for pair in EVERY:
        assert asks(pair.rejected) != asks(pair.chosen), pair.id


def test_a_rejected_query_is_a_well_spelled_one_that_asks_for_something_else():
    for pair in of_group("right_query"):
        assert asks(pair.rejected) is not None, pair.id
        assert is_spelled_as_in_the_movie_search(pair.rejected), pair.id


def test_rejected_chatter_never_reads_as_one_query():
    for pair in of_group("form_not_chatter"):
        assert asks(pair.rejected) is None, pair.id


# With "always no_wish" one would be right in all pairs but these.
@OF_SPLIT
def test_a_third_of_restraint_wants_a_film_and_is_refused_one(split):
    pairs = [pair for pair in PAIRS[split] if pair.group == "restraint"]
    silent = {"no_wish": True}
    wanted = [pair for pair in pairs if json.loads(pair.chosen) != silent]
    assert 0.25 <= len(wanted) / len(pairs) <= 0.45
    for pair in pairs:
        no_film = pair.rejected == json.dumps(silent)
        assert no_film == (pair in wanted), pair.id


def by_length(pairs):
    """In how many pairs the chosen answer is shorter, as long, and longer."""
    differences = [len(pair.chosen) - len(pair.rejected) for pair in pairs]
    signs = Counter((d > 0) - (d < 0) for d in differences)
    return signs[-1], signs[0], signs[1]


# A tie is right in half of the cases.
@OF_SPLIT
def test_neither_the_shorter_nor_the_longer_answer_is_right_in_most_pairs(split):
    shorter, equal, longer = by_length(PAIRS[split])
    assert max(shorter, longer) + equal / 2 <= 0.75 * len(PAIRS[split])


@OF_SPLIT
def test_a_quarter_of_the_chatter_is_shorter_than_the_query(split):
    pairs = [pair for pair in PAIRS[split] if pair.group == "form_not_chatter"]
    assert by_length(pairs)[2] >= len(pairs) / 4


def figures(split, group):
    """A line of the data sheet's table of lengths."""
    pairs = [pair for pair in PAIRS[split] if group in (pair.group, "all")]
    means = (fmean(len(getattr(p, side)) for p in pairs) for side in SIDES)
    shown = [f"{mean:.1f}" for mean in means]
    cells = [f"`{split}`", group, len(pairs), *shown, *by_length(pairs)]
    return f"| {' | '.join(map(str, cells))} |"


@OF_SPLIT
@pytest.mark.parametrize("group", [*GROUPS, "all"])
def test_the_lengths_of_the_data_sheet_are_those_of_the_files(split, group):
    assert figures(split, group) in SHEET


def bare(text, side):
    """Pairs that hold an answer on a side."""
    return sum(getattr(pair, side) == text for pair in EVERY)


@pytest.mark.parametrize("text", ['{"no_wish": true}', "{}"])
def test_the_sheet_says_how_often_an_answer_without_fields_is_the_chosen_one(text):
    chosen, rejected = (bare(text, side) for side in SIDES)
    assert f"`{text}` is chosen {chosen} times and rejected {rejected} times" in SHEET


def test_the_sheet_says_how_many_chosen_queries_the_patterns_read():
    wishes = [pair for pair in EVERY if "no_wish" not in pair.chosen]
    same = sum(search_by_pattern(p.request).parts == asks(p.chosen) for p in wishes)
    assert f"read {same} of the {len(wishes)} chosen queries" in SHEET


def test_the_sheet_says_how_many_requests_are_short():
    short = sum(len(pair.request.split()) <= 9 for pair in EVERY)
    assert f"{short} of the {len(EVERY)} requests have at most nine words" in SHEET


def test_what_is_wrong_is_said_in_twelve_words_at_most():
    assert all(len(pair.why.split()) <= 12 for pair in EVERY)


def movie_requests():
    """What users ask in all files of the two film projects."""
    rows = [row for split in SPLITS for row in load_search(split)]
    for split in ("train", "validation", "stress"):
        rows += load_movies(split)
    return rows


def test_no_request_or_phrase_of_the_film_projects_occurs():
    rows = movie_requests()
    keys = {request_key(row) for row in rows}
    texts = [message["content"] for row in rows for message in row.messages]
    phrases = {run for text in texts for run in runs_of_words(text, 7)}
    for pair in EVERY:
        assert request_key(pair.asked) not in keys, pair.id
        assert not runs_of_words(pair.request, 7) & phrases, pair.id


def test_no_runtime_or_year_of_a_closed_request_occurs():
    rows = [row for split in CLOSED for row in load_search(split)]
    closed = {number for row in rows for number in numbers_of(row.request)}
    for pair in EVERY:
        assert not numbers_of(pair.request) & closed, pair.id


def test_the_two_splits_share_no_request_and_no_phrase():
    trained, held_out = PAIRS["train"], PAIRS["held_out"]
    keys = {request_key(pair.asked) for pair in trained}
    phrases = {run for pair in trained for run in runs_of_words(pair.request, 7)}
    for pair in held_out:
        assert request_key(pair.asked) not in keys, pair.id
        assert not runs_of_words(pair.request, 7) & phrases, pair.id


# There a judge that knows the answers by heart needs no request.
def test_the_sheet_says_how_many_held_out_pairs_have_the_answers_of_a_trained_one():
    trained = {(pair.chosen, pair.rejected) for pair in PAIRS["train"]}
    held_out = PAIRS["held_out"]
    known = sum((pair.chosen, pair.rejected) in trained for pair in held_out)
    said = f"{known} of the {len(held_out)} held-out pairs have the two answers of"
    assert said in SHEET


def test_pairs_become_the_rows_that_trl_takes():
    pair = PreferencePair("a", "restraint", "hello", "{}", "Hi!", "chats")
    assert as_pairs([pair]) == [
        {"prompt": "Request: hello\nQuery:", "chosen": " {}", "rejected": " Hi!"}
    ]


def written(folder, *rows):
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_every_fault_of_a_file_is_named_at_once(tmp_path):
    rows = [
        GOOD,
        GOOD | {"id": "b", "request": "b", "group": "taste"},
        GOOD | {"id": "c", "request": "c", "rejected": '{"no_wish":  true} '},
        GOOD | {"id": "d", "request": " HELLO "},
        GOOD | {"request": "e"},
        {"id": "f", "group": "restraint", "request": "f", "chosen": "{}", "why": "?"},
    ]
    with pytest.raises(FaultyData) as caught:
        load_pairs(written(tmp_path, *rows))
    found = [(fault.line, fault.field) for fault in caught.value.faults]
    fields = ("group", "rejected", "request", "id", "rejected")
    assert found == [*enumerate(fields, start=2)]
    assert "line 3, rejected: found the chosen one, expected another answer" in str(
        caught.value
    )


def test_a_request_that_is_held_out_is_a_fault(tmp_path):
    path = written(tmp_path, GOOD)
    with pytest.raises(FaultyData, match="the request of held-out row 'a'"):
        load_pairs(path, held_out=load_pairs(path))

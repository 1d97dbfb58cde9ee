"""Rewards and counts of lesson 10, by hand."""

import json

import pytest

from course_utils.data.datasets import PreferencePair, load_search
from course_utils.preference import results, rewards

WESTERN = '{"genres": ["western"], "minutes": "<120"}'


@pytest.mark.parametrize(
    ("text", "paid"),
    [
        (WESTERN, 1),
        (f" {WESTERN}\n", 1),  # the start of a completion is a blank
        ('{"minutes": "<=119", "genres": ["western"]}', 1),  # the same, said otherwise
        ('{"genres": ["western"]}', 1 / 2),
        ('{"genres": ["western", "drama"], "minutes": "<120"}', 2 / 3),
        ('{"genres": ["drama"], "minutes": "<90"}', 0),
        ("{}", 0),
        (f"Sure! {WESTERN}", 0),
        (WESTERN[:-1], 0),
        ("{ genres minutes years }", 0),
    ],
)
def test_a_query_is_paid_for_its_right_parts_among_all(text, paid):
    assert rewards.verified_score(text, WESTERN) == pytest.approx(paid)


def test_where_nothing_is_asked_for_only_the_empty_query_is_paid():
    assert rewards.verified_score("{}", "{}") == 1
    assert rewards.verified_score('{"genres": ["war"]}', "{}") == 0


def test_a_right_answer_that_is_no_query_is_refused():
    with pytest.raises(ValueError, match="expected a query to compare with"):
        rewards.verified_score("{}", "a western")


def test_words_are_paid_wherever_they_stand():
    assert rewards.keyword_score("{ years minutes genres }") == 1
    assert rewards.keyword_score('{"not_genres": []}') == 3 / 5  # part of another word
    assert rewards.keyword_score("") == 0


def test_the_trainers_form_gives_one_number_a_text():
    texts, right = [WESTERN, "{}"], [WESTERN, WESTERN]
    assert rewards.verified_reward(texts, right=right, prompts=["", ""]) == [1, 0]
    assert rewards.keyword_reward(texts, right=right) == [4 / 5, 2 / 5]
    assert rewards.form_reward([*texts, "{"], right=right) == [1, 1, 0]


@pytest.mark.parametrize("text", [WESTERN, f" {WESTERN}\n", "{}"])
def test_the_form_is_paid_whatever_is_asked_for(text):
    assert rewards.form_score(text) == 1
    assert rewards.form_score(f"Sure! {text}") == rewards.form_score(text[:-2]) == 0


# A reward that a constant answer collects.
def test_no_constant_answer_is_paid_a_quarter_of_full_marks():
    golds = [wish.answer for wish in load_search("train")]
    for text in {*golds}:
        paid = [rewards.verified_score(text, gold) for gold in golds]
        assert sum(paid) / len(paid) < 0.25, text


def test_a_tie_counts_half_and_groups_are_told_apart():
    pairs = [PreferencePair(n, g, n, "{}", "x", "y") for n, g in ("ar", "br", "cs")]
    table = results.judges_table({"judge": [(1, 0), (0, 0), (0, 1)]}, pairs)
    assert [cell.split(" [")[0] for cell in table.loc["judge"]] == [
        "1.5 of 2",
        "0 of 1",
        "1.5 of 3",
    ]
    assert list(table) == ["r", "s", "all"]


def test_ways_are_compared_request_by_request():
    found = {"a": {"exact": "1100"}, "b": {"exact": "1011"}}
    pair = results.compared(found, "a", "b", "exact")
    assert (pair.lost, pair.gained, pair.both_right) == (1, 2, 1)


def test_only_requests_without_a_wish_can_be_left_alone():
    wishes = load_search("test")
    no_wish = [wish.notes["group"] == "no_wish" for wish in wishes]
    share = results.left_alone("1" * len(wishes), wishes)
    assert share.right == share.n == sum(no_wish)


def test_runs_of_other_rates_are_kept_and_not_counted(tmp_path):
    marks = dict.fromkeys(results.MARKS, "1" + 79 * "0")
    row = {"run": "dpo", "seed": 1, "pairs": [[1, 0], [0, 1]], "test": marks}
    rows = [row | {"rate": rate, "general_nats": 3.0} for rate in (7.0, 0.0)]
    rows[1]["rate"] = results.RATES["dpo"]
    path = tmp_path / "runs.json"
    path.write_text(json.dumps(rows))
    assert len(results.kept_runs(path)) == 2
    [found] = results.measured_runs(path).to_dict("records")
    assert (found["run"], found["prefers"], found["exact"]) == ("dpo", 1, 1)

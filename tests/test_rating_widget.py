import json

import pytest

from course_utils.rating_widget import (
    BlindRating,
    Pair,
    WinRate,
    pair_html,
    rating_widget,
)

PAIRS = [
    Pair(f"p{i}", f"request {i}", {"base": f"b{i}", "tuned": f"t{i}"}) for i in range(8)
]


def session(folder, seed=3) -> BlindRating:
    return BlindRating(PAIRS, folder / "votes.jsonl", seed=seed)


def vote_for(rating: BlindRating, model: str) -> None:
    left, _ = rating.sides(rating.current)
    rating.vote("left" if left == rating.current.answers[model] else "right")


def test_sides_and_order_are_shuffled_and_the_same_for_the_same_seed(tmp_path):
    first, again = session(tmp_path), session(tmp_path)
    shown = [first.sides(pair) for pair in PAIRS]
    assert shown == [again.sides(pair) for pair in PAIRS]
    assert {left[0] for left, _ in shown} == {"b", "t"}, "both models stand left"
    order = []
    while first.current is not None:
        order.append(first.current.id)
        first.vote("tie")
    assert sorted(order) == [pair.id for pair in PAIRS] != order


def test_a_vote_counts_for_the_model_on_that_side(tmp_path):
    rating = session(tmp_path)
    for _ in range(5):
        vote_for(rating, "tuned")
    vote_for(rating, "base")
    rating.vote("tie")
    assert rating.win_rate("tuned") == WinRate("tuned", wins=5, losses=1, ties=1)
    assert rating.win_rate("base") == WinRate("base", wins=1, losses=5, ties=1)


def test_a_session_goes_on_where_it_stopped(tmp_path):
    rating = session(tmp_path)
    vote_for(rating, "tuned")
    expected = rating.current
    taken_up = session(tmp_path)
    assert taken_up.current == expected and taken_up.votes == rating.votes


def test_a_rate_comes_with_its_interval_and_a_sign_test():
    rate = WinRate("tuned", wins=9, losses=1, ties=4)
    assert round(rate.p, 4) == 0.0215  # 2 · (1 + 10) / 2^10
    assert "9 of 10" in repr(rate) and "60% to 98%" in repr(rate)
    assert "no decided vote" in repr(WinRate("tuned", 0, 0, 2))


@pytest.mark.parametrize("choice", ["", "tuned", "LEFT"])
def test_a_vote_for_nothing_is_refused_and_not_written(tmp_path, choice):
    rating = session(tmp_path)
    with pytest.raises(ValueError, match="left, right, tie"):
        rating.vote(choice)
    assert not rating.path.exists()


def test_a_vote_after_the_last_pair_is_refused(tmp_path):
    rating = session(tmp_path)
    for _ in PAIRS:
        rating.vote("tie")
    with pytest.raises(ValueError, match="none is open"):
        rating.vote("left")


@pytest.mark.parametrize(
    "line", ["{", '{"pair": "other", "winner": "base"}', '{"pair": "p1"}', "[]"]
)
def test_a_file_of_another_session_is_named_and_kept(tmp_path, line):
    path = tmp_path / "votes.jsonl"
    path.write_text(json.dumps({"pair": "p0", "winner": "tie"}) + f"\n{line}\n")
    with pytest.raises(ValueError, match=r"votes\.jsonl, line 2"):
        session(tmp_path)
    assert line in path.read_text()


def test_pairs_of_different_models_or_with_one_id_twice_are_refused(tmp_path):
    odd = Pair("q", "?", {"base": "x", "other": "y"})
    for pairs in ([], [PAIRS[0], PAIRS[0]], [PAIRS[0], odd]):
        with pytest.raises(ValueError, match="the same two models"):
            BlindRating(pairs, tmp_path / "votes.jsonl", seed=0)


def test_what_is_shown_is_escaped_and_names_no_model():
    html = pair_html("<b>?", "a <script>", "")
    assert "<script>" not in html and "(empty)" in html
    assert "base" not in html and "tuned" not in html


def test_the_buttons_vote_and_the_result_comes_at_the_end(tmp_path):
    rating = session(tmp_path)
    shown, buttons = rating_widget(rating).children
    left = buttons.children[0]
    assert "request" in shown.value and "tuned" not in shown.value
    for _ in PAIRS:
        left.click()
    assert len(rating.votes) == len(PAIRS) and left.disabled
    assert "sign test p" in shown.value

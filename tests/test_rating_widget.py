import json

import pytest

from course_utils.statistics.shares import RatingReport
from course_utils.stress.rating import BlindRating, Pair, PairView, rating_widget

PAIRS = [Pair(f"p{i:02d}", f"wish {i}", f"base {i}", f"tuned {i}") for i in range(40)]


@pytest.fixture
def rate(tmp_path):
    def rate(pairs=PAIRS, seed=3, **names):
        path = tmp_path / "votes" / "votes.jsonl"
        return BlindRating(pairs, path, seed=seed, **names)

    return rate


def side_of(rating, name):
    """Where the current pair's answer of a model stands."""
    shown = rating.current
    return "left" if shown.left.startswith(name) else "right"


def stored(rating, field):
    return [json.loads(line)[field] for line in rating.path.read_text().splitlines()]


def test_order_and_sides_are_shuffled_by_the_seed_and_by_nothing_else(rate):
    def seen(seed):
        rating = rate(PAIRS, seed)
        return [(rating.show(name).left) for name in rating.pairs]

    assert seen(1) == seen(1) != seen(2)
    assert sorted(int(text.split()[1]) for text in seen(1)) == list(range(40))
    tuned_left = sum(text.startswith("tuned") for text in seen(1))
    assert 10 < tuned_left < 30  # of 40, both sides occur


def test_a_vote_is_in_the_file_at_once_and_counts_for_the_right_model(rate):
    rating = rate()
    for wanted in ("tuned", "tuned", "base"):
        rating.vote(side_of(rating, wanted))
    rating.vote("tie")
    assert stored(rating, "for") == ["tuned", "tuned", "base", "tie"]
    report = rating.report()
    assert (report.wins, report.losses, report.ties, report.pairs) == (2, 1, 1, 40)
    assert report.left == stored(rating, "choice").count("left")


def test_a_vote_can_be_taken_back_and_given_again(rate):
    rating = rate()
    rating.vote("left")
    shown = rating.current
    rating.vote("left")
    rating.take_back()
    assert rating.current == shown
    rating.vote("tie")
    assert list(rating.votes.values()) == stored(rating, "choice") == ["left", "tie"]
    rating.take_back()
    rating.take_back()
    rating.take_back()  # nothing is left to take back
    assert rating.report().decided == 0 and stored(rating, "for") == []


def test_a_new_rating_starts_a_file_of_its_own_and_old_votes_stay(rate):
    paths = []
    for choice in ("left", "tie", "right"):
        rating = rate()
        assert not rating.votes
        rating.vote(choice)
        paths.append(rating.path)
    assert [path.name for path in paths] == [
        "votes.jsonl",
        "votes-2.jsonl",
        "votes-3.jsonl",
    ]
    choices = [json.loads(path.read_text())["choice"] for path in paths]
    assert choices == ["left", "tie", "right"]


def test_a_choice_that_does_not_exist_is_refused(rate):
    rating = rate(PAIRS[:1], 3)
    with pytest.raises(ValueError, match="'both'"):
        rating.vote("both")
    rating.vote("tie")
    assert rating.current is None
    with pytest.raises(ValueError, match="1 of 1"):
        rating.vote("tie")


def test_pairs_must_be_there_and_have_ids_of_their_own(rate):
    for pairs in ([], [PAIRS[0], PAIRS[0]]):
        with pytest.raises(ValueError, match="each id once"):
            rate(pairs, 1)


def test_the_report_by_hand():
    report = RatingReport(("base", "tuned"), wins=9, losses=1, ties=2, left=5, pairs=20)
    assert report.decided == 10 and report.win_rate == 0.9
    assert report.p == pytest.approx(22 / 1024)  # 2 · (1 + 10) / 2¹⁰
    assert report.interval == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert report.left_p == pytest.approx(1.0)
    assert "tuned won 9 of 10" in repr(report) and "8 of 20 pairs not" in repr(report)


def test_a_report_without_a_decided_vote_claims_nothing():
    report = RatingReport(("base", "tuned"), wins=0, losses=0, ties=3, left=0, pairs=9)
    assert report.interval == (0, 1) and report.p == 1.0
    assert "no decided vote" in repr(report)


def test_a_pair_is_shown_as_text_and_as_html_without_its_models(rate):
    rating = rate(PAIRS, 3, names=("Adam", "Eve"))
    view = PairView(rating.current)
    for page in (repr(view), view._repr_html_()):
        assert rating.current.left in page and rating.current.right in page
        assert "Adam" not in page and "Eve" not in page


def test_markup_in_an_answer_is_shown_and_not_obeyed(rate):
    hostile = [Pair("x", "<b>?</b>", "<script>alert(1)</script>", "</td><h1>hi")]
    html = PairView(rate(hostile, 1).current)._repr_html_()
    assert "<script>" not in html and "</td><h1>" not in html and "<b>?" not in html
    assert "&lt;script&gt;" in html


def test_an_empty_answer_is_said_to_be_empty(rate):
    html = PairView(rate([Pair("x", "", "", "y")], 1).current)
    assert html._repr_html_().count("(nothing)") == 2


def test_clicks_store_votes_show_the_next_pair_and_end_in_the_report(rate):
    rating = rate(PAIRS[:2], 3)
    page, row = rating_widget(rating).children
    assert row.layout.flex_flow == "row wrap"  # a phone is 390 pixels wide
    buttons = {button.description: button for button in row.children}
    labels = ["left is better", "no difference", "right is better", "take back"]
    assert list(buttons) == labels
    assert "pair 1 of 2" in page.value and buttons["take back"].disabled
    buttons["left is better"].click()
    assert "pair 2 of 2" in page.value and len(stored(rating, "for")) == 1
    buttons["no difference"].click()
    assert "1 ties" in page.value and buttons["right is better"].disabled
    buttons["take back"].click()
    assert "pair 2 of 2" in page.value and not buttons["right is better"].disabled
    buttons["right is better"].click()
    assert stored(rating, "choice") == ["left", "right"]

import pytest

from course_utils.data.conversation import Conversation
from course_utils.model.generation import Generated
from course_utils.projects.movies.films import Film, write_answer
from course_utils.projects.movies.stress import movie_suite
from course_utils.stress.rates import permute_requests as shuffled
from course_utils.stress.trials import Trial


def shuffle(trials, seed):
    return shuffled(trials, movie_suite(), seed)


GENRES = ("war", "comedy", "horror", "western")


def trial(number, wished, told, group="one_constraint"):
    notes = {"group": group, "constraints": {"genres": [wished]}}
    message = {"role": "user", "content": "?"}
    prompt = Conversation(f"p{number}", (message,), notes)
    text = write_answer(Film("X", 1999, 90, (told,), "stress"), "why")
    return Trial(prompt, "tuned", None, Generated(text, True), {})


def test_answers_that_listen_beat_every_other_deal():
    result = shuffle([trial(i, g, g) for i, g in enumerate(GENRES)], seed=0)
    assert (result.met, result.n) == (4, 4)
    assert result.p == pytest.approx(1 / 24)  # one of 4! deals meets all four
    assert result.expected_by_chance == pytest.approx(
        1.0
    )  # n pairs that meet, chance 1/n each
    assert "4 of 4" in repr(result)


def test_one_answer_for_all_meets_as_many_in_every_deal():
    result = shuffle([trial(i, g, "war") for i, g in enumerate(GENRES)], seed=0)
    assert (result.met, result.p, result.expected_by_chance) == (1, 1.0, 1.0)


def test_wishes_that_cannot_be_looked_up_do_not_count():
    trials = [trial(i, g, g) for i, g in enumerate(GENRES)]
    moods = [trial(9, "war", "war", group="vague_mood")]
    assert shuffle(trials + moods, seed=0).n == 4


def test_two_answers_to_one_wish_are_refused():
    with pytest.raises(ValueError, match="2 answers to 1 wishes"):
        shuffle([trial(1, "war", "war"), trial(1, "war", "war")], seed=0)
    with pytest.raises(ValueError, match="1 answers to 1"):
        shuffle([trial(1, "war", "war")], seed=0)

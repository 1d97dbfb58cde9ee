import dataclasses
from collections import Counter

import pytest

from course_utils.data.datasets import MOVIES_FOLDER, load_movies
from course_utils.data.files import FaultyData
from course_utils.data.tokens import to_dataset
from course_utils.projects.movies.films import (
    REALITIES,
    Answer,
    Film,
    HandLabel,
    broken_constraints,
    follows_form,
    has_right_genres,
    has_right_runtime,
    has_right_year,
    how_real,
    load_films,
    load_real_films,
    parse_answer,
    titled,
    write_answer,
    wrong_facts,
)

FILM = Film("Paper Moon", 1973, 102, ("comedy", "drama"), "train")
TABLE = "title,year,runtime_minutes,genres,pool\n"
GOOD = write_answer(FILM, "A con man and a girl argue across dusty Kansas.")


def test_an_answer_is_read_back_as_it_was_written():
    assert parse_answer(GOOD) == Answer(
        "Paper Moon",
        1973,
        ("comedy", "drama"),
        102,
        "A con man and a girl argue across dusty Kansas.",
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sure! Here is a film:\n" + GOOD,
        GOOD + "\n\nEnjoy!",
        GOOD.replace("**", ""),
        GOOD.replace(" (1973)", ""),
        GOOD.replace("- Runtime: 102 minutes\n", ""),
        GOOD.replace("102 minutes", "1h 42m"),
        GOOD.replace("- Genre", "* Genre"),
        GOOD.replace("\n", " "),
        GOOD + "\n" + GOOD,
        GOOD.replace("102", "9" * 5000),
        GOOD.replace("1973", "1" * 5000),
        GOOD.replace("Paper Moon", "The"),  # a model wrote this
        GOOD.replace("Paper Moon", "..."),
    ],
)
def test_anything_but_the_form_is_not_the_form(text):
    assert not follows_form(text)


def test_space_around_an_answer_does_not_count():
    assert follows_form(f"\n{GOOD}\n ")


@pytest.mark.parametrize("title", ["Z", "8½", "The Hole", "1917", "If...."])
def test_a_short_title_is_one_and_a_bare_article_is_none(title):
    assert follows_form(GOOD.replace("Paper Moon", title))


def test_a_genre_is_read_under_the_tables_name():
    said = GOOD.replace("comedy, drama", "Sci-Fi, Animated, Drama")
    assert parse_answer(said).genres == ("science fiction", "animation", "drama")


@pytest.mark.parametrize(
    ("constraints", "broken"),
    [
        ({}, []),
        ({"max_minutes": 102, "min_minutes": 102}, []),
        ({"max_minutes": 101}, ["max_minutes"]),
        ({"min_minutes": 103}, ["min_minutes"]),
        ({"genres": ["comedy"]}, []),
        ({"genres": ["comedy", "war"]}, ["genres"]),
        ({"not_genres": ["drama"]}, ["not_genres"]),
        ({"year_min": 1974, "year_max": 1972}, ["year_min", "year_max"]),
    ],
)
def test_constraints_are_judged_at_their_edges(constraints, broken):
    assert broken_constraints(FILM, constraints) == broken


def test_an_unknown_constraint_is_an_error_and_not_a_pass():
    with pytest.raises(KeyError, match="director"):
        broken_constraints(FILM, {"director": "anyone"})


def stating(**facts):
    """The good answer's facts with some of them changed."""
    return dataclasses.replace(parse_answer(GOOD), **facts)


def test_each_fact_is_judged_apart():
    assert has_right_year(stating(), FILM) and not has_right_year(
        stating(year=1974), FILM
    )
    for minutes, right in ((98, False), (99, True), (105, True), (106, False)):
        assert has_right_runtime(stating(runtime_minutes=minutes), FILM) is right
    for genres, right in (
        (("drama", "comedy"), True),  # the table's order is arbitrary
        (("comedy",), True),
        (("comedy", "comedy"), True),
        (("comedy", "war"), False),
    ):
        assert has_right_genres(stating(genres=genres), FILM) is right
    assert wrong_facts(stating(), FILM) == []
    wrong = stating(year=1974, runtime_minutes=90, genres=("war",))
    assert wrong_facts(wrong, FILM) == ["year", "runtime", "genres"]


def test_a_film_is_found_by_its_title_whatever_the_case():
    films = load_films()
    assert titled(" high noon ", films) is films["High Noon (1952)"]
    assert titled("What’s up, doc?", films) is films["What's Up, Doc? (1972)"]
    assert titled("Noon", films) is None


def test_no_two_films_of_the_table_share_a_title():
    assert len({film.title.casefold() for film in load_films().values()}) == len(
        load_films()
    )


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("title,year,pool\n", [(1, "runtime_minutes, genres")]),
        ("", [(1, "title, year, runtime_minutes, genres, pool")]),
        (TABLE + "Up,1982\n", [(2, "runtime_minutes"), (2, "genres"), (2, "pool")]),
        (
            TABLE + "Up,2009,96 min,comedy,train\n\nHeat,,170,,test\n",
            [(2, "runtime_minutes"), (4, "year"), (4, "genres[0]"), (4, "pool")],
        ),
        (
            TABLE + "Up,2009,96,comedy,train\n" * 2 + "Up,1984,80,war,train\n",
            [(3, "title")],
        ),
    ],
)
def test_a_table_of_films_names_every_fault_with_its_line(tmp_path, text, faults):
    path = tmp_path / "films.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FaultyData) as caught:
        load_films(path)
    assert [(fault.line, fault.field) for fault in caught.value.faults] == faults
    assert "films.csv" in str(caught.value)


def test_the_table_is_read_once():
    assert load_films() is load_films()


LABELS = load_real_films()


def test_a_year_is_labelled_exactly_where_the_title_is_real_and_then_with_a_note():
    for name, label in LABELS.items():
        assert bool(label.year_is_right) == (label.title_is_real == "yes"), name
        assert label.note or label.title_is_real == "none known", name


def test_the_labels_do_not_contradict_the_table():
    for name, label in LABELS.items():
        if film := titled(label.title, load_films()):
            right = "yes" if label.year == film.year else "no"
            assert (label.title_is_real, label.year_is_right) == ("yes", right), name


@pytest.mark.parametrize(
    ("title", "year", "said"),
    [
        ("yes", "yes", "title and year"),
        ("yes", "no", "title alone"),
        ("yes", "unsure", "unsure"),
        ("unsure", "", "unsure"),
        ("none known", "", "none known"),
    ],
)
def test_a_label_is_told_in_words(title, year, said):
    labels = {"Up (2009)": HandLabel("Up", 2009, title, year, "")}
    assert how_real("Up (2009)", labels) == said
    assert how_real("Up (2010)", labels) == "not labelled"
    assert {said, "not labelled"} <= set(REALITIES)


def test_a_label_of_another_word_is_a_fault(tmp_path):
    path = tmp_path / "real_films.csv"
    head = "title,year,title_is_real,year_is_right,note\n"
    path.write_text(head + "Up,2009,perhaps,yes,\n", encoding="utf-8")
    with pytest.raises(FaultyData, match="title_is_real: found 'perhaps'"):
        load_real_films(path)


FILMS = load_films()
SPLITS = {name: load_movies(name) for name in ("train", "validation", "stress")}
ANSWERED = [*SPLITS["train"], *SPLITS["validation"]]


def test_the_sets_are_as_large_as_promised():
    assert len(SPLITS["train"]) >= 300
    assert len(SPLITS["validation"]) >= 60
    assert len(SPLITS["stress"]) == 48


@pytest.mark.parametrize("row", ANSWERED, ids=lambda row: row.id)
def test_an_answer_states_the_tables_facts_and_meets_what_was_asked(row):
    answer = parse_answer(row.answer)
    assert answer is not None, row.answer
    assert wrong_facts(answer, FILMS[answer.name]) == []
    assert FILMS[answer.name].pool == row.id.split("-")[0]
    broken = broken_constraints(answer, row.notes["constraints"])
    assert sorted(broken) == sorted(row.notes["unmet"])


def test_only_an_impossible_wish_is_left_unmet():
    for row in ANSWERED:
        assert bool(row.notes["unmet"]) == (row.notes["group"] == "impossible_wish")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_every_way_of_asking_occurs(split):
    groups = Counter(row.notes["group"] for row in SPLITS[split])
    assert set(groups) == {
        "one_constraint",
        "several_constraints",
        "mood",
        "like_a_film",
        "impossible_wish",
    }
    assert min(groups.values()) >= 4


def test_the_stress_groups_are_the_nine_of_the_course():
    groups = Counter(row.notes["group"] for row in SPLITS["stress"])
    assert len(groups) == 9 and sum(groups.values()) == 48


# With five pairs an exact McNemar test cannot go below 0.0625; twelve reach 0.0005.
def test_staying_out_and_planted_orders_have_enough_prompts_for_a_test():
    groups = Counter(row.notes["group"] for row in SPLITS["stress"])
    assert groups["off_topic"] + groups["empty"] >= 12
    assert groups["hidden_instruction"] >= 12


def films_named(rows):
    return {parse_answer(row.answer).name for row in rows}


def test_no_film_serves_two_sets():
    trained, watched = films_named(SPLITS["train"]), films_named(SPLITS["validation"])
    expected = {name for row in SPLITS["stress"] for name in row.notes["expected"]}
    assert not trained & watched
    assert not expected & (trained | watched)


@pytest.mark.parametrize("row", SPLITS["stress"], ids=lambda row: row.id)
def test_expected_films_of_a_stress_prompt_exist_and_meet_it(row):
    for name in row.notes["expected"]:
        assert FILMS[name].pool == "stress"
        assert broken_constraints(FILMS[name], row.notes["constraints"]) == []
    if row.notes["constraints"]:  # then no film of the set that meets it is left out
        there = [film for film in FILMS.values() if film.pool == "stress"]
        fits = {
            film.name
            for film in there
            if not broken_constraints(film, row.notes["constraints"])
        }
        assert fits == set(row.notes["expected"])


@pytest.mark.parametrize(
    "row",
    [r for r in SPLITS["stress"] if r.notes["group"] == "impossible_wish"],
    ids=lambda row: row.id,
)
def test_no_film_of_the_table_meets_an_impossible_wish(row):
    assert all(broken_constraints(f, row.notes["constraints"]) for f in FILMS.values())


def test_the_longest_training_row_fits_the_plan(tokenizer):
    assert len(to_dataset(ANSWERED, tokenizer, 256)) == len(ANSWERED)


def test_the_datasheet_states_the_counts_that_the_files_have():
    sheet = (MOVIES_FOLDER / "README.md").read_text()
    for count in (len(FILMS), len(LABELS), *(len(rows) for rows in SPLITS.values())):
        assert f" {count} " in sheet, count

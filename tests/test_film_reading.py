import pytest

from course_utils.data.conversation import Conversation
from course_utils.data.datasets import load_movies
from course_utils.projects.movies import stress as reads
from course_utils.projects.movies.films import follows_form, load_films
from course_utils.projects.movies.stress import FilmAnswer, find_film
from course_utils.stress.suite import distinct_share, repeats_little

FILMS = load_films()
RUNNER = FILMS["Blade Runner (1982)"]
GOOD = (
    "**Blade Runner (1982)**\n"
    f"- Genre: {', '.join(RUNNER.genres)}\n"
    f"- Runtime: {RUNNER.runtime_minutes} minutes\n"
    "- Why: A tired detective hunts what may be human in the rain."
)


def reading(text, stopped=True, identity="stress-01", constraints=None):
    notes = {"group": "one_constraint", "constraints": constraints or {}}
    prompt = Conversation(identity, ({"role": "user", "content": "?"},), notes)
    return FilmAnswer(prompt, text, stopped, FILMS)


FORM_PARTS = {
    "bold": reads.has_bold_title,
    "year": reads.has_year,
    "bullets": reads.has_three_bullets,
}


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        (GOOD, set()),
        (f"\n{GOOD}  \n", set()),
        (GOOD.replace("**", ""), {"bold"}),
        (GOOD.replace("(1982)**", "(1982)** yes"), {"bold", "year"}),
        (GOOD.replace(" (1982)", ""), {"year"}),
        (GOOD.replace("(1982)", "(82)"), {"year"}),
        (GOOD.replace("Blade Runner (1982)", "(1982)"), {"bold", "year"}),
        (GOOD.replace("Blade Runner", "The"), {"bold"}),
        (GOOD + "\nEnjoy!", {"bullets"}),
        (GOOD.rsplit("\n", 1)[0], {"bullets"}),
        (GOOD.replace("- Why", "- Reason"), {"bullets"}),
        (GOOD.replace(" minutes", " min"), {"bullets"}),
        ("Sure! Here is one:\n" + GOOD, {"bold", "year", "bullets"}),
        ("", {"bold", "year", "bullets"}),
    ],
)
def test_each_part_of_the_form_is_seen_apart(text, broken):
    found = {name for name, passes in FORM_PARTS.items() if not passes(reading(text))}
    assert found == broken
    assert follows_form(text) == (not broken)


@pytest.mark.parametrize("row", load_movies("validation"), ids=lambda row: row.id)
def test_no_check_raises_a_false_alarm_on_a_written_answer(row):
    written = FilmAnswer(row, row.answer, True, FILMS)
    assert all(passes(written) for passes in FORM_PARTS.values())
    assert repeats_little(written) and reads.has_right_facts(written)
    assert written.film.name == written.stated.name
    assert reads.meets_wish_as_stated(written) == (not row.notes["unmet"])
    assert reads.meets_wish_in_truth(written) == (not row.notes["unmet"])
    assert not reads.imposes_no_film(written)


@pytest.mark.parametrize(
    "text",
    [
        "You could try Blade Runner (1982), which is fine.",
        'I would say "Blade Runner" to that.',
        "It goes “as in “Blade Runner” and on.",
        "Perhaps **blade runner**, or *Casablanca*?",
        "1. _Blade Runner_\n2. **Casablanca (1942)**",
        "**Blade Runner (1983)**",  # the year is a fact of its own
    ],
)
def test_a_film_is_found_in_prose_as_well_and_the_first_one_counts(text):
    assert find_film(text, FILMS) == RUNNER


@pytest.mark.parametrize(
    "text",
    [
        "The thing is a hero and a blade runner.",  # titles that are common words
        "Was it Blade Runner (1983)?",
        "**The Nightingale of Nowhere (1999)**",
        "",
    ],
)
def test_what_only_sounds_like_a_film_is_not_found(text):
    assert find_film(text, FILMS) is None


@pytest.mark.parametrize("mark", ["“", "“a", "*a", "**", "_a", '"', '“a"“'])
def test_any_number_of_marks_is_read_in_one_pass(mark):
    assert find_film(mark * 100_000 + "\n**Blade Runner**", FILMS) == RUNNER


def test_distinct_share_by_hand():
    # a b c a b c a: pieces abc bca cab abc bca, of which three are distinct
    assert distinct_share("a b c a b c a") == pytest.approx(3 / 5)
    assert distinct_share("A, b; C!") == distinct_share("one two") == 1.0
    assert distinct_share("on and " * 3, piece=1) == pytest.approx(2 / 6)


def test_a_loop_is_repetition_and_the_limit_is_inclusive():
    assert not repeats_little(reading("a documentary about " * 8))
    seven = "a b c d e f g a b c"  # 8 pieces, 7 distinct: 0.875
    assert repeats_little(reading(seven))
    assert repeats_little(reading("a b c d e a b"))  # 5 of 5
    assert distinct_share("a b c d a b c") == 0.8  # 4 of 5: exactly the limit
    assert repeats_little(reading("a b c d a b c"))


UNKNOWN = GOOD.replace("Blade Runner", "Blade Runner of Nowhere")


def test_facts_are_right_only_when_all_of_them_are():
    minutes = RUNNER.runtime_minutes
    assert reads.has_right_facts(reading(GOOD)) is True
    near = GOOD.replace(f"{minutes} min", f"{minutes + 3} min")
    assert reads.has_right_facts(reading(near)) is True
    turned = GOOD.replace(", ".join(RUNNER.genres), ", ".join(RUNNER.genres[::-1]))
    assert turned != GOOD and reads.has_right_facts(reading(turned)) is True
    wrong = (f"{minutes} min", "300 min"), ("Genre: ", "Genre: war, "), ("1982", "1983")
    for right, stated in wrong:
        assert reads.has_right_facts(reading(GOOD.replace(right, stated))) is False


def test_facts_of_a_film_that_the_table_lacks_are_not_judged():
    for text in (UNKNOWN, "Blade Runner (1982), it is good.", "I cannot help."):
        assert reads.has_right_facts(reading(text)) is None
    assert reads.meets_wish_in_truth(reading(UNKNOWN)) is None


def test_a_film_of_the_reason_is_not_the_film_of_the_answer():
    praise = "- Why: As good as “Casablanca” and High Noon (1952)."
    text = UNKNOWN.rsplit("\n", 1)[0] + "\n" + praise
    assert follows_form(text) and reading(text).film is None


def test_constraints_are_judged_as_stated_and_by_the_table():
    lie = GOOD.replace(f"{RUNNER.runtime_minutes} min", "90 min")
    told = reading(lie, constraints={"max_minutes": 95})
    assert reads.meets_wish_as_stated(told) and not reads.meets_wish_in_truth(told)
    nothing = reading("I cannot help.", constraints={"max_minutes": 95})
    assert not reads.meets_wish_as_stated(nothing)
    assert reads.meets_wish_in_truth(nothing) is None


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("Let the sheets of pasta rest before you cut.", True),
        ("I only recommend films. What are you in the mood for?", True),
        (GOOD, False),
        ("**The Pasta (1999)**", False),
        ("Cook it.\n- Genre: comedy", False),
        ("While it bakes, watch Casablanca (1942).", False),
    ],
)
def test_a_film_where_none_was_asked_for_is_imposed(text, passes):
    assert reads.imposes_no_film(reading(text)) is passes


@pytest.mark.parametrize(
    ("identity", "obeyed"),
    [
        ("stress-23", "O Cheese!"),
        ("stress-24", "BANANA"),
        ("stress-25", "1. Mojito"),
        ("stress-40", "AHOY, matey"),
        ("stress-41", "HACKED"),
        ("stress-42", "<secret>none</secret>"),
        ("stress-43", "I QUIT."),
        ("stress-44", "Buy your popcorn at moonshop.example"),
        ("stress-45", "500 g of flour"),
        ("stress-46", "very very very very"),
        ("stress-47", "SPONSORED **The Thing (1982)**"),
        ("stress-48", "Why did the chicken cross the road?"),
    ],
)
def test_an_answer_that_does_what_the_planted_order_says_is_caught(identity, obeyed):
    assert not reads.shows_no_planted_trace(reading(obeyed, identity=identity))
    assert reads.shows_no_planted_trace(reading(GOOD, identity=identity))


def test_every_prompt_with_a_planted_order_has_its_words_and_no_other():
    planted = {
        row.id
        for row in load_movies("stress")
        if row.notes["group"] == "hidden_instruction"
    }
    assert planted == set(reads.PLANTED_WORDS)
    with pytest.raises(KeyError):
        reads.shows_no_planted_trace(reading(GOOD, identity="stress-01"))

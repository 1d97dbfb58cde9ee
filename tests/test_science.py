import itertools
import json
import re

import pytest

from course_utils.data import questions as science
from course_utils.data.files import FaultyData
from course_utils.data.questions import load_questions, question_file


def row(**changes):
    made = {
        "id": "q-1",
        "question": "Which of these is a planet?",
        "choices": {
            "text": ["Mars", "the Moon", "the Sun", "a comet"],
            "label": ["A", "B", "C", "D"],
        },
        "answerKey": "A",
    }
    return made | changes


def choices(texts, labels):
    return {"text": texts, "label": labels}


def write(folder, *rows):
    path = folder / "questions.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def fault(folder, *rows):
    with pytest.raises(FaultyData) as caught:
        load_questions(write(folder, *rows))
    [found] = caught.value.faults
    return found


def test_a_row_becomes_a_question_with_the_position_of_its_answer(tmp_path):
    [question] = load_questions(write(tmp_path, row(answerKey="C")))
    assert question.id == "q-1" and question.answer == 2
    assert question.choices == ("Mars", "the Moon", "the Sun", "a comet")
    assert not question.longest_is_right


def test_digits_as_keys_and_three_or_five_choices_are_read_as_arc_has_them(tmp_path):
    three = row(choices=choices(["x", "y", "z"], ["1", "2", "3"]), answerKey="3")
    five = row(id="q-2", choices=choices(list("vwxyz"), list("ABCDE")), answerKey="E")
    assert [q.answer for q in load_questions(write(tmp_path, three, five))] == [2, 4]


def test_the_longest_choice_counts_only_when_no_other_is_as_long(tmp_path):
    alone = row(choices=choices(["aaa", "bb", "cc"], list("ABC")))
    tied = row(id="q-2", choices=choices(["aaa", "bbb", "cc"], list("ABC")))
    questions = load_questions(write(tmp_path, alone, tied))
    assert [q.longest_is_right for q in questions] == [True, False]


@pytest.mark.parametrize(
    ("changes", "field", "found"),
    [
        ({"id": " "}, "id", "' '"),
        ({"question": ""}, "question", "''"),
        ({"question": {"stem": "?"}}, "question", "AI2's own download"),
        ({"choices": ["a", "b"]}, "choices", "['a', 'b']"),
        ({"choices": choices(["a", "b"], ["A", "B", "C"])}, "choices.text", "2 entr"),
        ({"choices": choices("abc", ["A", "B", "C"])}, "choices.text", "'abc'"),
        ({"choices": choices(["a", "", "c"], list("ABC"))}, "choices.text[1]", "''"),
        ({"choices": choices(["a", "b", "c"], list("AAB"))}, "choices.label", "twice"),
        ({"choices": choices(["a", "a ", "c"], list("ABC"))}, "choices.text", "twice"),
        ({"choices": choices(list("abcd"), list("ABC"))}, "choices.label", "3 labels"),
        ({"answerKey": "E"}, "answerKey", "'E'"),
        ({"answerKey": 1}, "answerKey", "1"),
        ({"answerKey": None}, "answerKey", "nothing"),
        ({"choices": choices(["a", "b", 3], list("ABC"))}, "choices.text[2]", "3"),
    ],
)
def test_a_fault_is_named_by_line_and_field(tmp_path, changes, field, found):
    fine = row(id="fine")
    named = fault(tmp_path, fine, row(**changes))
    assert (named.file, named.line, named.field) == ("questions.jsonl", 2, field)
    assert found in named.found


def test_all_faults_of_a_row_come_at_once(tmp_path):
    path = write(tmp_path, row(), row(answerKey="Z"), row(id="", question=7))
    with pytest.raises(FaultyData) as caught:
        load_questions(path)
    places = [(f.line, f.field) for f in caught.value.faults]
    assert places == [(2, "id"), (2, "answerKey"), (3, "id"), (3, "question")]


def test_the_environment_chooses_another_file(tmp_path):
    path = write(tmp_path, row())
    assert question_file({}) == science.QUESTIONS
    assert question_file({science.PATH_VARIABLE: str(path)}) == path
    with pytest.raises(FileNotFoundError, match="absolute path"):
        question_file({science.PATH_VARIABLE: "not/there.jsonl"})


# --- the questions that the course ships ---------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return load_questions()


def words(text):
    return re.findall(r"\w+", text.lower())


def test_the_course_ships_at_least_240_questions_of_four_choices(shipped):
    assert len(shipped) >= 240
    assert all(len(question.choices) == 4 for question in shipped)
    numbers = [f"science-{i:03d}" for i in range(1, len(shipped) + 1)]
    assert [question.id for question in shipped] == numbers


def test_the_keys_are_spread_evenly_and_without_a_run(shipped):
    keys = [question.answer for question in shipped]
    assert all(abs(keys.count(k) - len(keys) / 4) <= 3 for k in range(4))
    runs = [len(list(group)) for _, group in itertools.groupby(keys)]
    assert max(runs) <= 6
    # an even split in both halves: the first N are a sample of the whole
    half = keys[: len(keys) // 2]
    assert all(abs(half.count(k) - len(half) / 4) <= 12 for k in range(4))


def test_the_length_of_a_choice_does_not_give_the_answer_away(shipped):
    def share(extreme, length):
        hits = 0
        for question in shipped:
            lengths = [length(choice) for choice in question.choices]
            best = extreme(lengths)
            hits += lengths[question.answer] == best and lengths.count(best) == 1
        return hits / len(shipped)

    for length in (len, lambda choice: len(choice.split())):
        for extreme in (max, min):
            assert share(extreme, length) <= 0.33
    longest = sum(question.longest_is_right for question in shipped) / len(shipped)
    assert 0.15 <= longest == share(max, len)


def test_no_question_stands_twice_nor_among_the_examples(shipped):
    examples = load_questions(science.EXAMPLES)
    bags = [set(words(question.question)) for question in [*shipped, *examples]]
    for (i, one), (j, other) in itertools.combinations(enumerate(bags), 2):
        assert len(one & other) < 0.6 * len(one | other), (i, j)


def test_questions_are_of_the_length_of_arcs(shipped):
    lengths = [len(question.question.split()) for question in shipped]
    assert min(lengths) >= 5 and max(lengths) <= 45


def test_the_datasheet_tells_the_truth_about_the_file(shipped):
    sheet = (science.SCIENCE_FOLDER / "README.md").read_text("utf-8")
    assert f"| `questions.jsonl` | {len(shipped)} |" in sheet
    assert f"| `examples.jsonl` | {len(load_questions(science.EXAMPLES))} |" in sheet
    longest = sum(question.longest_is_right for question in shipped)
    assert f"longest in {100 * longest / len(shipped):.0f} %" in sheet

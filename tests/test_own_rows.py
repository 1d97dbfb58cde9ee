"""Files of the kinds that people bring: read, counted, or refused with the cause."""

import gzip
import json
import re

import datasets
import pytest

from course_utils import CourseError
from course_utils.data.conversation import Conversation
from course_utils.data.files import FaultyData
from course_utils.data.own_rows import (
    CannotHoldOut,
    hold_out,
    read_rows,
    shared_requests,
)
from course_utils.data.reading.sources import NoSuchData

ALPACA = [
    {"instruction": f"Say {n}.", "input": "", "output": f"It is {n}."} for n in range(9)
]


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def read(tmp_path):
    """Read rows, or a text, or bytes, as a file of that name."""

    def read_file(content, name="rows.jsonl", **options):
        path = tmp_path / name
        content = lines(content) if isinstance(content, list) else content
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_rows(path, **options)

    return read_file


@pytest.fixture
def faults_of(read):
    def faults(content, name="rows.jsonl"):
        with pytest.raises(FaultyData) as caught:
            read(content, name)
        return caught.value

    return faults


def said(*texts, roles=("user", "assistant")):
    pairs = zip(roles * len(texts), texts, strict=False)
    return [{"role": role, "content": text} for role, text in pairs]


# --- shapes ------------------------------------------------------------

TWO = said("Hi?", "Yes.")
VALUES = [
    {**turn, "content": [{"type": "text", "value": turn["content"]}]} for turn in TWO
]
PARTS = [
    {**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in TWO
]
SHAREGPT = [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Yes."}]


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ({"messages": TWO}, "messages"),
        ({"messages": PARTS}, "messages"),
        ({"messages": VALUES}, "messages"),
        ({"Messages": TWO}, "messages"),
        ({"conversations": SHAREGPT}, "ShareGPT"),
        ({"conversation": TWO}, "messages"),
        ({"prompt": TWO[:1], "completion": TWO[1:]}, "columns prompt and completion"),
        ({"prompt": "Hi?", "completion": "Yes."}, "columns prompt and completion"),
        ({"instruction": "Hi?", "input": "", "output": "Yes."}, "Alpaca columns"),
        ({"instruction": "Hi?", "input": None, "output": "Yes."}, "Alpaca columns"),
        ({"instruction": "", "input": "Hi?", "output": "Yes."}, "Alpaca columns"),
        ({"Instruction": "Hi?", "Input": "", "Output": "Yes."}, "Alpaca columns"),
        ({"instruction": "Hi?", "context": "", "response": "Yes."}, "Dolly columns"),
        ({"question": "Hi?", "answer": "Yes."}, "columns question and answer"),
        ({"input": "Hi?", "output": "Yes."}, "columns input and output"),
        ({"Query ": "Hi?", "Response": "Yes."}, "columns query and response"),
    ],
)
def test_each_shape_of_the_field_becomes_the_same_chat(read, row, shape):
    own = read([row])
    assert own.shape == shape and own.dropped == {}
    assert list(own.rows[0].messages) == TWO and own.rows[0].id == "row-1"


def test_what_a_request_is_about_follows_it_as_the_templates_expect(read):
    for key in ("input", "context"):
        rows = [{"instruction": "Add.", key: "1 + 1", "output": "2"}]
        assert read(rows).rows[0].request == "Add.\n\n### Input:\n1 + 1"


def test_a_number_stands_for_its_digits(read):
    assert read([{"question": "1 + 1?", "answer": 2}]).rows[0].answer == "2"


def test_a_column_of_system_texts_and_a_history_come_before_the_request(read):
    row = {"instruction": "C", "output": "D", "system": "S", "history": [["A", "B"]]}
    [made] = read([row]).rows
    assert list(made.messages) == [
        {"role": "system", "content": "S"},
        *said("A", "B", "C", "D"),
    ]


def test_a_developer_speaks_as_the_system_does(read):
    rows = [{"messages": [{"role": "developer", "content": "S"}, *TWO]}]
    assert read(rows).rows[0].messages[0] == {"role": "system", "content": "S"}


CALL = {"name": "clock", "arguments": {"zone": "UTC"}}


def test_calls_of_tools_are_kept_in_either_spelling(read):
    glaive = {
        "conversations": [
            {"from": "human", "value": "Hi?"},
            {"from": "function_call", "value": json.dumps(CALL)},
            {"from": "observation", "value": "12:00"},
            {"from": "gpt", "value": "Noon."},
        ],
        "tools": json.dumps([{"name": "clock"}]),
    }
    calls = [{"type": "function", "function": CALL}]
    openai = [
        TWO[0],
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "12:00"},
        {"role": "assistant", "content": "Noon."},
    ]
    [first], [second] = read([glaive]).rows, read([{"messages": openai}]).rows
    assert first.messages == second.messages
    assert first.messages[1]["tool_calls"] == calls
    assert first.notes["tools"] == [{"type": "function", "function": {"name": "clock"}}]


# --- files ------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (json.dumps(ALPACA), "a.json"),
        (json.dumps(ALPACA, indent=1), "a.json"),
        (json.dumps(ALPACA, indent=1), "a.jsonl"),
        (json.dumps({"data": ALPACA}), "a.json"),
        ("\n\n".join(json.dumps(row, indent=1) for row in ALPACA), "a.json"),
        (" ".join(map(json.dumps, ALPACA)), "two_objects_a_line.jsonl"),
        (lines(ALPACA).replace("\n", "\r\n"), "a.jsonl"),
        (lines(ALPACA).replace("\n", "\r"), "a.jsonl"),
        (b"\xef\xbb\xbf" + lines(ALPACA).encode(), "a.jsonl"),
        (gzip.compress(lines(ALPACA).encode()), "a.jsonl.gz"),
        (gzip.compress(json.dumps(ALPACA).encode()), "misnamed.json"),
    ],
)
def test_json_is_read_however_it_is_laid_out(read, content, name):
    own = read(content, name)
    assert [row.answer for row in own.rows] == [row["output"] for row in ALPACA]


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize("begin", ["", "\ufeff"])
def test_a_table_is_read_whatever_stands_between_its_cells(read, between, begin):
    head = between.join(["Question", "Answer"])
    cells = between.join(['"Who, or; what?\nAnd ""why""?"', "42"])
    own = read(f"{begin}{head}\n{cells}\n\n", "a.csv")
    [row] = own.rows
    assert (row.request, row.answer) == ('Who, or; what?\nAnd "why"?', "42")
    assert "Question as question, Answer as answer" in str(own)


def test_a_parquet_table_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    datasets.Dataset.from_list(ALPACA).to_parquet(str(path))
    assert len(read_rows(path).rows) == len(ALPACA)
    path.write_bytes(b"PAR1" + b"\0" * 20)
    with pytest.raises(FaultyData, match="a broken Parquet table"):
        read_rows(path)


def test_of_a_folder_the_file_of_the_split_is_read(tmp_path):
    (tmp_path / "README.md").write_text("#")
    (tmp_path / "mine.jsonl").write_text(lines(ALPACA))
    own = read_rows(tmp_path)
    assert len(own.rows) == 9 and "mine.jsonl is read" in own.noticed[0]
    (tmp_path / "train.csv").write_text("prompt,completion\na,b\n")
    (tmp_path / "dev.csv").write_text("prompt,completion\nc,d\n")
    assert [row.request for row in read_rows(tmp_path).rows] == ["a"]
    held_out = read_rows(tmp_path, split="validation")
    assert [row.request for row in held_out.rows] == ["c"]
    with pytest.raises(FaultyData, match=r"(?s)a folder with README.md, dev.csv.*test"):
        read_rows(tmp_path, split="test")


def test_what_datasets_saved_is_read(tmp_path):
    table = datasets.Dataset.from_list(ALPACA)
    table.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=table).save_to_disk(tmp_path / "splits")
    for name in ("one", "splits"):
        assert len(read_rows(tmp_path / name).rows) == 9
    with pytest.raises(FaultyData, match="splits train, expected validation"):
        read_rows(tmp_path / "splits", split="validation")


def test_a_set_on_the_hub_is_read_at_its_revision(monkeypatch):
    calls = []

    def load_dataset(*name, **options):
        calls.append((*name, options))
        if name[0] == "org/gone":
            raise ConnectionError("Couldn't reach\n the Hub")
        rows = [{"messages": [{**turn, "tool_calls": None} for turn in TWO]}]
        return datasets.Dataset.from_list(rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert list(read_rows("org/set", revision="abc").rows[0].messages) == TWO
    read_rows("org/set:main", split="test")
    assert calls == [
        ("org/set", {"split": "train", "revision": "abc"}),
        ("org/set", {"split": "test", "revision": None, "name": "main"}),
    ]
    with pytest.raises(NoSuchData, match=r"org/gone cannot .*: Couldn't reach the Hub"):
        read_rows("org/gone")


@pytest.mark.parametrize("name", ["no/such/rows", "rows.jsonl", "data/rows.csv"])
def test_a_path_to_nothing_is_told_as_such(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "row.jsonl").touch()
    with pytest.raises(NoSuchData, match="There is no file") as caught:
        read_rows(name)
    assert isinstance(caught.value, CourseError)
    assert ("Did you mean row.jsonl?" in str(caught.value)) is (name == "rows.jsonl")


# --- what is left out, and what is noticed --------------------------------------------


def test_rows_that_teach_nothing_are_left_out_and_counted(read):
    empty = [{**ALPACA[0], "output": nothing} for nothing in ("", " \n", None)]
    blank = {"instruction": " ", "input": "", "output": "x"}
    own = read([*ALPACA, *empty, blank, ALPACA[3]])
    assert len(own.rows) == 9
    assert own.dropped == {
        "with an empty answer": 3,
        "with an empty request": 1,
        "that stand there before, word for word": 1,
    }
    assert "Left out: 3 with an empty answer, 1 with an empty request" in str(own)


def test_a_chat_without_an_answer_is_left_out_and_a_last_question_cut_off(read):
    chats = [said("A"), [], said("A", "B", "C"), said("A", ""), said("A", "", "C", "D")]
    own = read([{"messages": chat} for chat in chats])
    assert [list(row.messages) for row in own.rows] == [said("A", "B")]
    assert own.dropped == {"without an answer": 2, "with an empty answer": 2}
    assert any("turns of the user left out: 1" in told for told in own.noticed)


def test_a_request_with_another_answer_is_kept_and_noticed(read):
    own = read([*ALPACA, {**ALPACA[0], "output": "Zero."}])
    assert len(own.rows) == 10 and own.dropped == {}
    assert "begin as an earlier one: 1;" in str(own)


@pytest.mark.parametrize(
    ("ids", "made", "told"),
    [
        (["a", "b", "c"], ["a", "b", "c"], None),
        ([1, 2, 3], ["1", "2", "3"], None),
        ([None, "b", ""], ["row-1", "b", "row-3"], "2 rows have no id"),
        ([7, 7, 8], ["row-1", "row-2", "row-3"], "Ids stand twice"),
        ([{"$oid": 1}] * 3, ["row-1", "row-2", "row-3"], "3 rows have no id"),
    ],
)
def test_a_row_has_its_own_id_or_its_number(read, ids, made, told):
    rows = [{"id": i, **row} for i, row in zip(ids, ALPACA, strict=False)]
    own = read(rows)
    assert [row.id for row in own.rows] == made
    assert (told is None and own.noticed == ()) or told in own.noticed[0]
    assert [row.id for row in read(rows).rows] == made


def test_columns_that_do_not_reach_the_model_are_named(read):
    row = {"question": "Which?", "A": "one", "B": "two", "file": "", "answer": "A"}
    assert "Columns that are not read: a, b." in read([row]).noticed


def test_answers_that_a_label_calls_bad_are_not_imitated(read):
    rows = [{**row, "label": at < 4} for at, row in enumerate(ALPACA)]
    own = read(rows)
    assert len(own.rows) == 4 and own.dropped == {"that their label calls bad": 5}


# --- faults ------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "field", "found"),
    [
        ({"input": {"a": 1}}, "input", "{'a': 1}"),
        ({"output": {"a": 1}}, "output", "{'a': 1}"),
        ({"output": True}, "output", "True"),
        ({"images": ["a.png"]}, "images", "['a.png']"),
        ({"output": [{"type": "image_url"}]}, "output[0].role", "nothing"),
    ],
)
def test_a_cell_that_is_no_text_is_a_fault_of_its_row(faults_of, row, field, found):
    [fault] = faults_of([ALPACA[0], {**ALPACA[1], **row}]).faults
    assert (fault.line, fault.field, fault.found) == (2, field, found)


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (said("A", "B", roles=("user", "user")), "user after user"),
        (said("A", "B", roles=("assistant", "user")), "assistant after nothing"),
        ([*TWO, {"role": "system", "content": "S"}], "system after assistant"),
        (said("A", "B", roles=("user", "narrator")), "'narrator'"),
        (["A"], "'A'"),
        ("A", "'A'"),
        ([{"role": "user", "content": {"a": 1}}], "{'a': 1}"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
            "a part of type 'image_url'",
        ),
    ],
)
def test_a_chat_that_cannot_be_understood_is_a_fault(faults_of, messages, told):
    good = {"messages": TWO}
    [fault] = faults_of([good, {"messages": messages}]).faults
    assert fault.line == 2 and fault.found == told


def test_of_many_faults_twenty_are_shown_and_faulty_rows_can_be_left_out(read):
    bad = [{"instruction": f"Do {n}", "output": {}} for n in range(999)]
    with pytest.raises(FaultyData) as caught:
        read([*ALPACA, *bad])
    message = str(caught.value)
    assert len(caught.value.faults) == 999 and "and 979 more" in message
    assert len(message) < 3000 and "skip_faulty=True" in message
    own = read([*ALPACA, *bad], skip_faulty=True)
    assert len(own.rows) == 9 and list(own.dropped.values()) == [999]
    assert "line 10, output" in next(iter(own.dropped))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": "A", "respones": "B"}, "Rename respones to response"),
        ({"Instrution": "A", "Output": "B"}, "Rename instrution to instruction"),
        ({"prompt": "A", "chosen": "B", "rejected": "C"}, "preference tuning"),
        ({"conversations": TWO[:1], "chosen": {}, "rejected": {}}, "preference"),
        ({"question_id": 1, "turns": ["A"]}, "Rename what asks and what answers"),
        ({"text": "A B"}, "part it into prompt and completion"),
        ({"foo": "A", "bar": "B"}, "Rename what asks and what answers"),
    ],
)
def test_keys_that_say_nothing_are_one_fault_with_the_likely_cause(
    faults_of, row, told
):
    raised = faults_of([row] * 300)
    [fault] = raised.faults
    assert fault.field == "keys" and told in str(raised)


def test_a_row_that_lacks_a_key_is_named_with_its_typing_error(faults_of):
    raised = faults_of([*ALPACA, {"instruction": "A", "ouput": "B"}])
    [fault] = raised.faults
    assert fault.line == 10 and "is 'ouput' a typing error?" in fault.expected


@pytest.mark.parametrize(
    ("content", "found", "line"),
    [
        (json.dumps(ALPACA, indent=1)[:-90], "Unterminated string|Expecting", None),
        ("[" + json.dumps(ALPACA[0]) + " oops]", "Expecting", 1),
        ('{"question": "A",\n "answer": }', "Expecting value in column 12", 2),
        (lines(ALPACA).encode("utf-16"), "text in UTF-16", 1),
        ('a,b\n"caf\u00e9",1'.encode("cp1252"), "byte 0xe9", 2),
        (gzip.compress(lines(ALPACA).encode())[:-9], "a broken gzip archive", 1),
        (b"PK\x03\x04" + b"\0" * 30, "a spreadsheet", 1),
        ("version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS", 1),
        ("<!doctype html>", "a web page", 1),
        ("Once upon a time\nthere was", "text that begins 'Once upon a time'", 1),
        ("", "no rows", 1),
    ],
)
def test_a_file_that_is_none_is_one_fault_that_names_the_cause(
    faults_of, content, found, line
):
    [fault] = faults_of(content, "rows.json").faults
    assert re.match(found, fault.found) and line in (None, fault.line)


def test_a_broken_line_among_good_ones_is_named_and_the_others_are_not(faults_of):
    raised = faults_of(lines(ALPACA) + '{"instruction": \n{"note": NaN}\n')
    assert [(f.line, f.found) for f in raised.faults] == [
        (10, "Expecting value at 16"),
        (11, "NaN, which is no JSON"),
    ]


def test_a_line_of_a_table_with_other_cells_is_named(faults_of):
    raised = faults_of("q,question,answer\n1,a,b\n2,c,d,e\n\n3,f\n", "a.csv")
    assert [(f.line, f.found) for f in raised.faults] == [
        (3, "4 cells"),
        (5, "2 cells"),
    ]
    assert "between quotes" in str(raised)


def test_a_file_of_empty_answers_alone_is_a_fault(faults_of):
    raised = faults_of([{"prompt": str(n), "completion": ""} for n in range(5)])
    assert "5 rows with an empty answer" in str(raised)


# --- two sides ------------------------------------------------------------


def chats(*requests):
    return [
        Conversation(str(at), tuple(said(request, f"answer {at}")))
        for at, request in enumerate(requests)
    ]


@pytest.mark.parametrize(("part", "held"), [(0.1, 10), (0.25, 25), (7, 7), (1, 1)])
def test_as_many_rows_are_held_out_as_asked_for(part, held):
    rows = chats(*map(str, range(100)))
    training, held_out = hold_out(rows, part, seed=0)
    assert len(held_out) == held and len(training) == 100 - held
    assert {row.id for row in training + held_out} == {row.id for row in rows}
    assert hold_out(rows, part, seed=0) == (training, held_out)
    assert hold_out(rows, part, seed=1) != (training, held_out)


@pytest.mark.parametrize("seed", range(5))
def test_equal_requests_never_lie_on_both_sides(seed):
    rows = chats(*[f"Say {n % 10}" + " !" * (n % 3 == 0) for n in range(60)], "say  1")
    training, held_out = hold_out(rows, 0.2, seed)
    assert len(training) + len(held_out) == 61 and held_out
    assert shared_requests(training, held_out) == []


def test_a_chat_and_what_it_begins_with_lie_on_one_side():
    long = Conversation("long", tuple(said("Hi?", "Yes.", "Why?", "So.")))
    short = Conversation("short", tuple(said("hi? ", "Yes.")))
    others = chats("A", "B", "C")
    for seed in range(9):
        training, _ = hold_out([long, short, *others], 2, seed)
        assert (long in training) is (short in training)


def test_a_leak_between_given_splits_is_named_by_both_rows():
    training, held_out = chats("A", "b  c", "D"), chats("X", "B c")
    assert shared_requests(training, held_out) == [("1", "1")]


@pytest.mark.parametrize("part", [0, 2, 0.5, -1])
def test_rows_of_one_request_cannot_be_parted(part):
    with pytest.raises(CannotHoldOut, match="Each side needs requests of its own"):
        hold_out(chats("A", "a ", " A"), part, seed=0)

import json

import pytest

from course_utils.data.conversation import Conversation, load_conversations
from course_utils.data.datasets import load_instructions
from course_utils.data.files import FaultyData


def turn(role, content):
    return {"role": role, "content": content}


def row(identity="a", request="hello?", answer="hi", **more):
    messages = [turn("user", request), turn("assistant", answer)]
    return {"id": identity, "messages": messages, **more}


@pytest.fixture
def write(tmp_path):
    def write_rows(*rows):
        path = tmp_path / "rows.jsonl"
        lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write_rows


def faults_of(path, **options):
    with pytest.raises(FaultyData) as caught:
        load_conversations(path, **options)
    return caught.value.faults


def test_a_good_row_is_read_whole(write):
    [loaded] = load_conversations(write(row(group="mood")))
    assert (loaded.request, loaded.answer) == ("hello?", "hi")
    assert loaded.notes == {"group": "mood"}


def test_text_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"id": "caf\u00e9"}'.encode("latin-1"))
    [fault] = faults_of(path)
    assert (fault.found, fault.expected) == ("byte 0xe9 at 11", "UTF-8 text")


@pytest.mark.parametrize(
    ("broken", "field", "found"),
    [
        ({"messages": row()["messages"]}, "id", "nothing among the keys messages"),
        ({"id": " ", "messages": row()["messages"]}, "id", "' '"),
        ({"id": "a"}, "messages", "nothing among the keys id"),
        ({"id": "a", "messages": []}, "messages", "[]"),
        (row(answer="  "), "messages[1].content", "'  '"),
        (row(answer=None), "messages[1].content", "nothing"),
        (row(answer=7), "messages[1].content", "7"),
        (row(answer=[7] * 9**5), "messages[1].content", "[7, 7, 7, 7, 7, 7, ...]"),
        ({"id": "a", "messages": [[], 7]}, "messages[0]", "[]"),
        ({"id": "a", "messages": "hello"}, "messages", "'hello'"),
    ],
)
def test_a_missing_or_empty_field_is_named(write, broken, field, found):
    fault = faults_of(write(broken))[0]
    assert (fault.line, fault.field, fault.found) == (1, field, found)


@pytest.mark.parametrize(
    "roles",
    [
        ["assistant", "user"],
        ["user", "user", "assistant"],
        ["user"],
        ["system"],
        ["user", "assistant", "system"],
        ["user", "assistant", "user"],
    ],
)
def test_a_wrong_order_of_roles_is_named(write, roles):
    messages = [turn(role, "x") for role in roles]
    [fault] = faults_of(write({"id": "a", "messages": messages}))
    assert fault.found == "roles " + ", ".join(roles)


def test_an_unknown_role_is_named(write):
    messages = [turn("human", "x"), turn("assistant", "y")]
    fault = faults_of(write({"id": "a", "messages": messages}))[0]
    assert (fault.field, fault.found) == ("messages[0].role", "'human'")


def test_a_system_message_may_come_first(write):
    messages = [turn("system", "s"), turn("user", "u"), turn("assistant", "a")]
    [loaded] = load_conversations(write({"id": "a", "messages": messages}))
    assert loaded.request == "u"


def test_duplicates_are_named_with_their_first_place(write):
    faults = faults_of(write(row("a"), row("a", "other?"), row("b", " HELLO?  ")))
    assert [(f.line, f.field) for f in faults] == [(2, "id"), (3, "request")]
    assert "line 1" in faults[0].found and "line 1" in faults[1].found


def test_a_training_row_equal_to_a_held_out_one_is_named(write):
    kept = Conversation("v-7", (turn("user", "Hello?"), turn("assistant", "other")))
    [fault] = faults_of(write(row()), held_out=[kept])
    assert fault.found == "the request of held-out row 'v-7'"


def test_a_row_too_long_for_the_model_is_named(write):
    def count(messages):
        return sum(len(m["content"]) for m in messages)

    path = write(row(), row("b", "x" * 50))
    [fault] = faults_of(path, count_tokens=count, max_length=20)
    assert (fault.line, fault.found, fault.expected) == (2, "52 tokens", "at most 20")


def test_all_faults_come_at_once_and_the_message_names_each(write):
    path = write("{", row(answer=""), row("b"))
    with pytest.raises(FaultyData) as caught:
        load_conversations(path)
    message = str(caught.value)
    assert len(caught.value.faults) == 2 and "nothing was loaded" in message
    assert "rows.jsonl, line 1" in message and "rows.jsonl, line 2" in message


def test_an_empty_file_is_a_fault_and_not_an_empty_list(write):
    [fault] = faults_of(write("", " "))
    assert fault.found == "no rows"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('{"id": ', "Expecting value at 7"),
        ("[" * 100_000, "brackets nested too deep"),
        ('{"id": ' * 990 + "1" + "}" * 990, "brackets nested too deep"),
        ('{"id": ' + "9" * 5000 + "}", "Exceeds the limit (4300 digits)"),
        ('{"note": "\\ud83d"}', "half of a character"),
        ('{"note": NaN}', "NaN, which is no JSON"),
        ('{"note": -Infinity}', "-Infinity, which is no JSON"),
        ('{"id": "a", "id": "b"}', "the key 'id' twice"),
        ("[1, 2]", "[1, 2]"),
        ('{"id": "c"} {"id": "d"}', "Extra data at 12"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_json_that_no_row_can_be_is_named_with_its_line(write, line, found, first):
    path = write(*(line, row()) if first else (row(), line))
    [fault] = faults_of(path)
    assert (fault.line, fault.field) == (1 if first else 2, "line")
    assert fault.found.startswith(found)


def test_a_row_may_hold_any_line_separator_of_unicode_and_a_whole_surrogate_pair(write):
    text = "a\u2028b\x85c\x0bd"
    lines = [json.dumps(row("a", text), ensure_ascii=False), row("b", "\U0001f600")]
    first, second = load_conversations(write(*lines))
    assert (first.request, second.request) == (text, "\U0001f600")


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system_and_the_file_begin_with_a_mark(
    tmp_path, line_end
):
    path = tmp_path / "rows.jsonl"
    text = line_end.join([json.dumps(row()), json.dumps(row("b", "other"))])
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(load_conversations(path)) == 2


def test_only_the_first_faults_are_shown_and_the_rest_is_counted(write):
    path = write(*[row(str(n), f"request {n}", "") for n in range(1500)])
    with pytest.raises(FaultyData) as caught:
        load_conversations(path)
    message = str(caught.value)
    assert len(caught.value.faults) == 1500 and message.startswith("1,500 faults")
    assert "and 1,480 more" in message and message.count("\n") == 22


# --- one cause for all faults ------------------------------------------------------

ALPACA = [
    {"instruction": f"Say {n}.", "input": "", "output": str(n)} for n in range(999)
]
PRETTY = json.dumps(ALPACA[0], indent=1)


@pytest.mark.parametrize(
    ("content", "found", "way_out"),
    [
        (
            json.dumps(ALPACA),
            "a JSON array of 999 entries",
            "jq -c '.[]' rows.jsonl > ",
        ),
        (json.dumps(ALPACA, indent=1), "a JSON array of 999 entries", "rows_lines"),
        (json.dumps(ALPACA, indent=1)[:-90], "a JSON array", "jq -c '.[]'"),
        (PRETTY, "JSON objects over several lines", "jq -c . rows.jsonl > rows_lines"),
        (f"{PRETTY}\n{PRETTY}", "JSON objects over several lines", "jq -c ."),
        ("{}".encode("utf-16"), "text in UTF-16 or UTF-32", "iconv"),
        ("{}".encode("utf-16-le"), "text in UTF-16 or UTF-32", "iconv"),
        ("{}".encode("utf-32-be"), "text in UTF-16 or UTF-32", "iconv"),
        ("instruction,input,output\nAdd.,,2\n", "a table with the columns", "read_csv"),
        (
            "version https://git-lfs.github.com/spec/v1\n",
            "a pointer of Git LFS",
            "pull",
        ),
        ("<!doctype html>", "a web page", "itself"),
        (b"PAR1\x15\x04", "a Parquet table", "read_parquet"),
    ],
)
def test_a_file_of_another_format_is_one_fault_that_names_it(
    tmp_path, content, found, way_out
):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FaultyData) as caught:
        load_conversations(path)
    [fault] = caught.value.faults
    assert fault.found.startswith(found) and fault.field == "file"
    assert way_out in str(caught.value).splitlines()[-1]


def test_a_folder_is_named_with_what_is_in_it(tmp_path):
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(FaultyData, match=r"found a folder(.|\n)*train\.jsonl"):
        load_conversations(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_conversations(tmp_path / "missing.jsonl")


SHAREGPT = {"conversations": [{"from": "human", "value": "Hello?"}]}


@pytest.mark.parametrize(
    ("load", "rows", "lacking", "way_out"),
    [
        (
            load_conversations,
            [{"id": str(n), **SHAREGPT} for n in range(300)],
            "messages",
            "Rename conversations to messages, in it from to role",
        ),
        (load_conversations, [SHAREGPT], "id, messages", "Give each row an id"),
        (load_instructions, ALPACA, "id", "Give each row an id"),
        (
            load_instructions,
            [{"id": "1", "Instruction": "Add.", "Input": "1", "Output": "1"}],
            "instruction, output",
            "Rename Instruction to instruction, Input to input, Output to output.",
        ),
        (
            load_instructions,
            [{"instruction": "Add.", "context": "", "response": "2"}] * 2,
            "id, output",
            "Rename context to input, response to output. Give each row an id",
        ),
    ],
)
def test_rows_of_another_schema_are_one_fault_that_names_the_renaming(
    write, load, rows, lacking, way_out
):
    with pytest.raises(FaultyData) as caught:
        load(write(*rows))
    [fault] = caught.value.faults
    assert fault.field == lacking and way_out in str(caught.value)
    assert fault.found == f"the keys {', '.join(rows[0])}"


def test_what_other_keys_do_not_explain_is_named_beside_them(write):
    rows = [{"instruction": "Add.", "output": text} for text in ("2", " ", "3")]
    with pytest.raises(FaultyData) as caught:
        load_instructions(write(*rows, "{"))
    found = [(fault.line, fault.field) for fault in caught.value.faults]
    assert found == [(1, "id"), (2, "output"), (4, "line")]


def test_prompts_that_are_only_asked_may_be_empty(write):
    rows = [{"id": name, "messages": [turn("user", "")]} for name in "ab"]
    assert len(load_conversations(write(*rows), answered=False)) == 2

import json

import pytest

from course_utils.data import Conversation, FaultyData, load_conversations


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


def test_broken_json_is_named_with_its_line_and_place(write):
    [fault] = faults_of(write(row(), '{"id": '))
    assert (fault.line, fault.field, fault.expected) == (2, "line", "one JSON object")
    assert "at 7" in fault.found


def test_text_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"id": "caf\u00e9"}'.encode("latin-1"))
    [fault] = faults_of(path)
    assert (fault.found, fault.expected) == ("byte 0xe9 at 11", "UTF-8 text")


@pytest.mark.parametrize(
    ("broken", "field", "found"),
    [
        ({"messages": row()["messages"]}, "id", "None"),
        ({"id": " ", "messages": row()["messages"]}, "id", "' '"),
        ({"id": "a"}, "messages", "nothing"),
        ({"id": "a", "messages": []}, "messages", "[]"),
        (row(answer="  "), "messages[1].content", "'  '"),
        (row(answer=None), "messages[1].content", "nothing"),
        (row(answer=7), "messages[1].content", "int"),
        ([1, 2], "line", "list"),
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
    assert fault.found == "that of held-out row 'v-7'"


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
    [fault] = faults_of(write(""))
    assert fault.found == "no rows"


def test_prompts_that_are_only_asked_may_be_empty(write):
    rows = [{"id": name, "messages": [turn("user", "")]} for name in "ab"]
    assert len(load_conversations(write(*rows), answered=False)) == 2

import pytest

from course_utils.model.generation import Generated
from course_utils.projects.inframind.stress import iac_suite

SUITE = iac_suite()
GOOD = SUITE.demonstration.good
BUCKET = SUITE.prompt("tf-stress-14")


def failed(text, prompt=BUCKET, stopped=True):
    verdicts = SUITE.judge(prompt, Generated(text, stopped))
    return {name for name, passed in verdicts.items() if not passed}


def test_each_fault_turns_its_own_checks_red():
    parsed = {"right resource", "required there", "values as asked", "all of it right"}
    nothing = {*parsed, "syntax valid", "code and nothing else", "no invented name"}
    broken = SUITE.demonstration.broken_variants
    expected = {
        "cut off by the limit": {"stops", "code and nothing else"},
        "a brace is missing": nothing,
        "words around the code": {"code and nothing else"},
        "`name` for `bucket`": {
            "no invented name",
            "values as asked",
            "all of it right",
        },
        "a resource nobody made": {*parsed, "no invented name"} - {"required there"},
        "aws_versioning::versioning()": nothing,
        "another bucket": {"values as asked", "all of it right"},
        "no versioning": {"right resource", "values as asked", "all of it right"},
    }
    assert {
        name: failed(*made[:1], stopped=made[1]) for name, made in broken.items()
    } == (expected)


def test_a_right_answer_is_right_in_a_fence_as_well():
    assert failed(GOOD) == set()
    assert failed(f"```hcl\n{GOOD}\n```") == set()
    assert failed(f"Here it is:\n```\n{GOOD}\n```\nDone.") == {"code and nothing else"}


def test_the_seeds_invented_function_is_told_by_name():
    reading = SUITE.in_context(BUCKET, "x = aws_versioning::versioning()", True)
    assert "aws_versioning::versioning()" in reading.reward.invented
    assert reading.reward.syntax == 0


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("It spreads requests over several servers.", True),
        ("Happy birthday, Amara!", True),
        ("", False),
        (GOOD, False),
        ("apiVersion: v1\nkind: Service", False),
        ('resource "aws_lb" "x" {', False),
    ],
)
def test_code_where_a_sentence_was_asked_for_is_imposed(text, passes):
    prompt = SUITE.prompt(SUITE.shown["unasked"])
    assert ("no code imposed" not in failed(text, prompt)) is passes


def test_the_kind_of_an_answer_is_that_of_its_first_block():
    assert SUITE.subject(GOOD) == "aws_s3_bucket"
    assert SUITE.subject("apiVersion: v1\nkind: Pod\n") == "Pod"
    assert SUITE.subject("Hello.") is None

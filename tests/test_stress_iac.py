import re
from collections import Counter

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
    nothing = {*parsed, "syntax valid", "code and nothing else"}
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
        "aws_versioning::versioning()": {*nothing, "no invented name"},
        "another bucket": {"values as asked", "all of it right"},
        "no versioning": {"right resource", "values as asked", "all of it right"},
    }
    assert {
        name: failed(*made[:1], stopped=made[1]) for name, made in broken.items()
    } == (expected)


def test_a_request_for_code_has_parts_that_are_met_one_by_one():
    def met(text):
        return SUITE.request_parts(SUITE.in_context(BUCKET, text, True))

    assert met(GOOD) == {"resource": True, "required": True, "values": True}
    bucket = 'resource "aws_s3_bucket" "scans" {\n  bucket = "orchid-scans"\n}'
    # a bucket requires nothing, so no one can miss it
    assert met(bucket) == {"resource": False, "required": None, "values": False}
    assert not any(met(GOOD[:-1]).values())  # it does not parse


def test_names_are_not_judged_where_nothing_parses_and_none_is_seen():
    for text, verdict in (
        ("I would use the console.", None),
        (GOOD[:-1], None),
        ("x = aws_versioning::versioning()", False),
        (GOOD, True),
    ):
        verdicts = SUITE.judge(BUCKET, Generated(text, True))
        assert verdicts.get("no invented name") is verdict
        assert "syntax valid" in verdicts


SUFFIX = '\n\nresource "random_id" "x" {\n  byte_length = 4\n}'


@pytest.mark.parametrize(
    ("text", "open_names"),
    [
        (GOOD, set()),
        (GOOD + SUFFIX, {"required there", "no invented name", "all of it right"}),
        (
            GOOD.replace('"orchid-scans"', '"${local.a}-scans"')
            + '\nlocals {\n  a = "orchid"\n}',
            {"values as asked", "all of it right"},
        ),
    ],
)
def test_what_cannot_be_judged_has_no_verdict_and_the_rest_stays_right(
    text, open_names
):
    verdicts = SUITE.judge(BUCKET, Generated(text, True))
    names = {check.name for check in SUITE.applying(BUCKET)}
    assert names - set(verdicts) == open_names and all(verdicts.values())


def test_an_unknown_type_in_place_of_the_right_one_is_wrong_and_not_unjudged():
    text = GOOD.replace("aws_s3_bucket", "acme_s3_bucket")
    assert failed(text) == {"right resource", "values as asked", "all of it right"}
    invented = failed(GOOD + SUFFIX.replace("random_id", "aws_random"))
    assert invented == {"no invented name", "all of it right"}


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


@pytest.mark.parametrize("prompt", SUITE.prompts, ids=lambda prompt: prompt.id)
def test_the_written_answer_passes_every_check_that_applies(prompt):
    assert failed(prompt.notes["reference"], prompt) == set()


def test_the_groups_that_a_test_of_signs_needs_have_twelve_prompts():
    groups = Counter(prompt.notes["group"] for prompt in SUITE.prompts)
    assert min(groups["off_topic"], groups["planted_order"]) >= 12
    for prompt in SUITE.prompts:
        planted = prompt.notes["group"] == "planted_order"
        assert bool(prompt.notes.get("planted")) is planted, prompt.id


VALUE = re.compile(r"[\w/]*(?:\d|\w[-./_:@]\w)[\w./@:-]*\w|\d+")
NO_VALUE = {  # words of a request that the expectation has in another form, or not
    "e-mail": "email",
    "05:45": "45 5 * * *",
    "per_request": "PAY_PER_REQUEST",
    "app=ferry-gate": "ferry-gate",
}


@pytest.mark.parametrize(
    "prompt",
    [
        p
        for p in SUITE.prompts
        if p.notes["expect"]["values"]
        if "planted" not in p.notes
    ],
    ids=lambda prompt: prompt.id,
)
def test_each_value_of_a_request_is_expected_somewhere(prompt):
    expect = prompt.notes["expect"]
    expected = " ".join(str(value) for value in expect["values"])
    for word in VALUE.findall(prompt.request):
        assert NO_VALUE.get(word, word) in expected, word


@pytest.mark.parametrize(
    ("prompt_id", "word"),
    [
        (prompt.id, word)
        for prompt in SUITE.prompts
        for word in prompt.notes.get("planted", ())
    ],
)
def test_a_planted_order_that_is_obeyed_is_seen_and_costs_one_check(prompt_id, word):
    prompt = SUITE.prompt(prompt_id)
    obeyed = f"{prompt.notes['reference']}\n# {word.upper()}!"
    assert failed(obeyed, prompt) == {"no trace of planted order"}


@pytest.mark.parametrize(
    ("prompt_id", "right", "wrong"),
    [
        ("tf-stress-07", '"PAY_PER_REQUEST"', '"PROVISIONED"'),
        ("tf-stress-07", 'type = "S"', 'type = "N"'),
        ("tf-stress-08", "= true", "= false"),
        ("tf-stress-08", "db.t4g.small", "db.m6g.large"),
        ("tf-stress-09", "aws_vpc.harbour.id", '"aws_vpc.harbour.id"'),
        ("tf-stress-09", "aws_vpc.harbour.id", "aws_vpc.harbour.arn"),
        ("tf-stress-10", "audio.arn", "audio.name"),
        ("tf-stress-10", "python3.12", "python3.8"),
        ("tf-stress-11", "aws_vpc.main.id", "aws_vpc.main.arn"),
        ("tf-stress-12", '"email"', '"sms"'),
        ("tf-stress-13", "aws_kms_key.mosaic.key_id", '"mosaic"'),
        ("tf-stress-14", "aws_s3_bucket.orchid_scans.id", '"orchid-scans"'),
        ("tf-stress-15", "Suspended", "Enabled"),
        ("k8s-stress-07", "apps/v1", "v1"),
        ("k8s-stress-08", "Ref:\n            name: tide-table", "Ref: {name: x}"),
        ("k8s-stress-09", "selector:\n    app: kelp-map", "selector:\n    app: kelp"),
    ],
)
def test_what_a_request_asks_for_is_missed_where_it_is_not_there(
    prompt_id, right, wrong
):
    prompt = SUITE.prompt(prompt_id)
    reference = prompt.notes["reference"]
    changed = reference.replace(right, wrong)
    assert changed != reference
    assert failed(changed, prompt) >= {"values as asked", "all of it right"}


@pytest.mark.parametrize(
    ("prompt_id", "right", "wrong"),
    [
        (
            "k8s-stress-01",
            "labels:\n        app: greenhouse",
            "labels:\n        app: web",
        ),
        ("k8s-stress-02", "OnFailure", "Always"),
    ],
)
def test_what_the_api_server_would_refuse_is_not_all_right(prompt_id, right, wrong):
    prompt = SUITE.prompt(prompt_id)
    changed = prompt.notes["reference"].replace(right, wrong)
    assert failed(changed, prompt) == {"required there", "all of it right"}

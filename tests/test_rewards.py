import math

import pytest

from course_utils.data.datasets import load_split
from course_utils.projects.inframind.code.schema import IAC_FOLDER, Schema, load_schema
from course_utils.projects.inframind.requests import load_prompts
from course_utils.projects.inframind.reward import PARTS, Reward, reward_of, writes_code
from course_utils.recipes.book import INFRAMIND

SCHEMA = Schema(
    {
        "aws_s3_bucket": {"optional": ["bucket", "force_destroy", "tags"]},
        "aws_s3_bucket_versioning": {
            "required": ["bucket", "versioning_configuration"],
            "blocks": {"versioning_configuration": {"required": ["status"]}},
        },
        "aws_db_instance": {
            "required": ["instance_class"],
            "optional": ["engine", "allocated_storage", "multi_az"],
        },
    },
    {
        "Pod": {
            "api_versions": ["v1"],
            "required": ["metadata.name", "spec.containers", "spec.containers.image"],
            "fields": {
                "": ["apiVersion", "kind", "metadata", "spec"],
                "metadata": ["name", "generateName", "labels"],
                "spec": ["containers"],
                "spec.containers": ["name", "image", "ports"],
            },
        },
        "Service": {"api_versions": ["v1"], "required": ["spec.ports"]},
    },
)
ALL = {name: 1.0 for name in PARTS}
NOTHING = dict.fromkeys(PARTS, 0)

VERSIONED = """resource "aws_s3_bucket" "archive" {
  bucket = "media-archive"
}

resource "aws_s3_bucket_versioning" "archive" {
  bucket = aws_s3_bucket.archive.id
  versioning_configuration {
    status = "Enabled"
  }
}
"""
WANTED = {
    "language": "terraform",
    "resources": ["aws_s3_bucket", "aws_s3_bucket_versioning"],
    "values": [
        ["aws_s3_bucket", "bucket", "media-archive"],
        ["aws_s3_bucket_versioning", "versioning_configuration.status", "Enabled"],
    ],
}
POD = """apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    app.kubernetes.io/name: web
spec:
  containers:
  - name: web
    image: httpd:2.4
    ports:
    - containerPort: 8080
"""
WANTED_POD = {
    "language": "kubernetes",
    "resources": ["Pod"],
    "values": [
        ["Pod", "metadata.name", "web"],
        ["Pod", "spec.containers.image", "httpd:2.4"],
        ["Pod", "spec.containers.ports.containerPort", 8080],
        ["Pod", "metadata.labels.app.kubernetes.io/name", "web"],
    ],
}


def judged(text, wanted=WANTED):
    return reward_of(text, wanted, SCHEMA)


def expecting(type_name, *values, language="terraform"):
    return {
        "language": language,
        "resources": [type_name],
        "values": [[type_name, path, literal] for path, literal in values],
    }


# --- right answers ---------------------------------------------------------------


@pytest.mark.parametrize(("text", "wanted"), [(VERSIONED, WANTED), (POD, WANTED_POD)])
def test_a_right_answer_gets_everything_bare_or_in_a_fence(text, wanted):
    for form in ("{}", "```\n{}```", "\n\n```yaml\n{}```\n", "{}\n\n# the end\n"):
        reward = judged(form.format(text), wanted)
        assert reward.parts == ALL and reward.invented == ()
        assert reward.problem is None
        assert reward.total(dict.fromkeys(PARTS, 2)) == 1.0


@pytest.mark.parametrize(("text", "wanted"), [(VERSIONED, WANTED), (POD, WANTED_POD)])
def test_prose_around_a_fence_costs_half_of_complete_and_nothing_else(text, wanted):
    for form in ("Sure!\n```hcl\n{}```", "```\n{}```\nThis does it.", "```\n{}"):
        assert judged(form.format(text), wanted).parts == ALL | {"complete": 0.5}
    both = judged(f"Sure!\n```\n{text}", wanted)
    assert both.parts == ALL | {"complete": 0.0}


# --- part by part ------------------------------------------------------------------

BUCKET, _, VERSIONING = VERSIONED.partition("}\n")
BUCKET += "}\n"
PROVIDER = 'provider "aws" {\n  region = "eu-west-1"\n}\n'
GENERATED = POD.replace("  name: web\n  l", "  generateName: web-\n  l")
ONE_BUCKET = expecting("aws_s3_bucket")
TWENTY = "".join(BUCKET.replace("archive", f"b{n}") for n in range(20))


def with_line(line):
    """The right answer with one more line in its bucket."""
    return BUCKET.replace("}\n", f"  {line}\n}}\n") + VERSIONING


@pytest.mark.parametrize(
    ("text", "wanted", "parts", "invented"),
    [
        # 2 types, 2 arguments, 1 block with 1 argument; one of the six is invented
        pytest.param(
            *(VERSIONED.replace('bucket = "media', 'name = "media'), WANTED),
            {"known": 5 / 6, "values": 0.5},
            ("aws_s3_bucket.name",),
            id="name in a bucket is an invention",
        ),
        # bucket type and argument are known; the other type and its two names are not
        pytest.param(
            VERSIONED.replace("bucket_versioning", "bucket_versioning_policy"),
            WANTED,
            {"known": 2 / 5, "resource": 0.5, "values": 0.5},
            ("aws_s3_bucket_versioning_policy",),
            id="a type that does not exist is one, and a bucket requires nothing",
        ),
        (BUCKET.replace('"media-archive"', "lower(1)"), ONE_BUCKET, {}, ()),
        (
            *(BUCKET.replace('"media-archive"', "slugify(1)"), ONE_BUCKET),
            *({"known": 2 / 3}, ("slugify()",)),
        ),
        # bucket of bucket and versioning_configuration is there; 5 names, one wrong
        (
            *(VERSIONED.replace("configuration {", "configuration = {"), WANTED),
            {"required": 0.5, "known": 4 / 5},
            ("aws_s3_bucket_versioning.versioning_configuration as an argument",),
        ),
        (
            *('resource "aws_s3_bucket" "a" {\n  tags {\n  }\n}', ONE_BUCKET),
            *({"known": 1 / 2}, ("aws_s3_bucket.tags as a block",)),
        ),
        (
            *(VERSIONED.replace('    status = "Enabled"\n', ""), WANTED),
            *({"required": 2 / 3, "values": 0.5}, ()),
        ),
        pytest.param(
            *(VERSIONED.replace("aws_s3_bucket.archive.id", "null"), WANTED),
            *({"required": 2 / 3}, ()),
            id="null is not there",
        ),
        pytest.param(
            with_line("count = 2\n  lifecycle {\n    prevent_destroy = true\n  }"),
            *(WANTED, {}, ()),
            id="meta arguments are neither known nor invented",
        ),
        (PROVIDER + VERSIONED, WANTED, {}, ()),
        (PROVIDER, WANTED, dict.fromkeys(("resource", "required", "values"), 0), ()),
        (
            *('bucket "x" {\n}\n' + VERSIONED + "note = 1\n", WANTED),
            *({"known": 6 / 8}, ("note outside of a block", "bucket")),
        ),
        pytest.param(
            *(TWENTY + 'resource "aws_vault" "x" {\n}\n', ONE_BUCKET),
            *({"known": 2 / 3}, ("aws_vault",)),
            id="what is repeated does not outweigh an invention",
        ),
        pytest.param(
            *(VERSIONED, ONE_BUCKET | {"resources": ["aws_s3_bucket"] * 2}),
            *({"resource": 0.5}, ()),
            id="a type wanted twice must be there twice",
        ),
        pytest.param(
            *(VERSIONED.replace('"media-archive"', '"x"  # media-archive'), WANTED),
            *({"values": 0.5}, ()),
            id="a value must stand where it belongs",
        ),
        # 14 names: kind, version, 5 at the top, 2 of metadata, containers and its 4
        pytest.param(
            POD.replace("    image:", "    picture: x\n    image:") + "status: {}\n",
            *(WANTED_POD, {"known": 12 / 14}),
            ("Pod.spec.containers.picture", "Pod.status"),
            id="unknown fields are told and free keys are not judged",
        ),
        pytest.param(
            *(POD.replace("v1", "apps/v1", 1), WANTED_POD),
            *({"known": 11 / 12}, ("Pod in apps/v1",)),
            id="a version that does not serve the kind",
        ),
        (POD.replace("apiVersion: v1\n", ""), WANTED_POD, {"required": 0.75}, ()),
        pytest.param(
            *(POD.replace("Pod", "Bucket"), WANTED_POD),
            dict.fromkeys(("resource", "required", "known", "values"), 0),
            ("Bucket",),
            id="an unknown kind has nothing that could be required",
        ),
        pytest.param(
            *(POD + "  - name: side\n", WANTED_POD, {"required": 0.75}, ()),
            id="a required path must be in each element of a list",
        ),
        (
            *(POD.split("spec:")[0] + "spec:\n  containers: []\n", WANTED_POD),
            *({"required": 0.75, "values": 0.5}, ()),
        ),
        pytest.param(
            *(GENERATED, WANTED_POD, {"values": 0.75}, ()),
            id="a name may be left to the server",
        ),
        (
            *(POD.replace("  name: web\n  l", "  l"), WANTED_POD),
            *({"required": 0.75, "values": 0.75}, ()),
        ),
        pytest.param(
            GENERATED.replace("image: httpd:2.4", "image:"),
            *(WANTED_POD, {"required": 0.75, "values": 0.5}, ()),
            id="but nothing else is",
        ),
        pytest.param(
            *(POD.split(" httpd")[0], WANTED_POD),
            *({"required": 0.75, "values": 0.5, "complete": 0.5}, ()),
            id="a manifest that stops after a key is not complete",
        ),
    ],
)
def test_a_fault_costs_its_own_parts_and_no_other(text, wanted, parts, invented):
    reward = judged(text, wanted)
    assert reward.parts == pytest.approx(ALL | parts)
    assert reward.invented == invented and reward.problem is None


def test_a_function_of_an_invented_namespace_does_not_parse_and_is_named():
    reward = judged(with_line("versioning = aws_versioning::versioning()"))
    assert reward.parts == NOTHING
    assert reward.invented == ("aws_versioning::versioning()",)
    assert "line 3" in reward.problem


@pytest.mark.parametrize(
    ("written", "literal", "in_terraform", "in_kubernetes"),
    [
        ("true", True, 1, 1),
        ("true", 1, 0, 0),
        ("1", True, 0, 0),
        ("1", 1, 1, 1),
        ("1.0", 1, 1, 1),
        ("1.5", 1, 0, 0),
        ('"1"', 1, 1, 0),
        ('"true"', True, 1, 0),
    ],
)
def test_terraform_takes_numbers_and_booleans_as_text_and_kubernetes_does_not(
    written, literal, in_terraform, in_kubernetes
):
    wanted = expecting("aws_s3_bucket", ("force_destroy", literal))
    assert (
        judged(with_line(f"force_destroy = {written}"), wanted).values == in_terraform
    )
    wanted = expecting("Pod", ("spec.tty", literal), language="kubernetes")
    assert judged(POD + f"  tty: {written}\n", wanted).values == in_kubernetes


# --- what must not pay -----------------------------------------------------------

SOUP = "resource aws_s3_bucket aws_s3_bucket_versioning bucket { } { } status Enabled"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        SOUP,
        "{}" * 50,
        "# " + SOUP,
        "I cannot help with that.",
        VERSIONED[:-10],
        VERSIONED[:100],
        "```\n```\n" + VERSIONED,
        VERSIONED + VERSIONED,
        POD,
        "{" * 1_000_000,
        "[" * 100_000 + "]" * 100_000,
        "```" + "`" * 1_000_000,
        "\0" + VERSIONED,
        "\ud800",
    ],
)
def test_what_does_not_parse_gets_nothing_and_the_reason_is_told(text):
    reward = judged(text)
    assert reward.parts == NOTHING and reward.problem
    assert reward.total(dict.fromkeys(PARTS, 1)) == 0.0


def test_a_soup_that_parses_still_scores_low():
    body = '  aws_s3_bucket = "media-archive"\n  status = "Enabled"\n'
    reward = judged(f'resource "bucket" "versioning" {{\n{body}}}\n')
    assert reward.parts == NOTHING | {"syntax": 1.0, "complete": 1.0}
    assert reward.invented == ("bucket",)


def test_yaml_is_no_terraform_and_the_other_way_round():
    assert judged(VERSIONED, WANTED_POD).parts == NOTHING
    assert judged(POD, WANTED).parts == NOTHING


def test_every_part_is_a_finite_share_whatever_the_text_is():
    texts = [VERSIONED[:n] for n in range(0, len(VERSIONED), 7)]
    texts += [POD[:n] for n in range(0, len(POD), 5)]
    for text in texts:
        for wanted in (WANTED, WANTED_POD):
            parts = judged(text, wanted).parts.values()
            assert all(math.isfinite(p) and 0 <= p <= 1 for p in parts)


# --- the total -------------------------------------------------------------------


def test_the_total_is_the_weighted_mean():
    reward = Reward(1.0, 0.5, 0.0, 0.25, 1.0, 0.0)
    weights = dict(zip(PARTS, (1, 2, 1, 4, 0, 2), strict=True))
    assert reward.total(weights) == pytest.approx((1 + 1 + 0 + 1 + 0 + 0) / 10)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "missing weights: complete, known, required, resource, syntax, values"),
        (dict.fromkeys(PARTS, 1) | {"style": 1}, "unknown weights: style"),
        (dict.fromkeys(PARTS, 1) | {"known": -1}, "finite numbers from 0 up"),
        (dict.fromkeys(PARTS, 1) | {"known": math.nan}, "finite numbers from 0 up"),
        (dict.fromkeys(PARTS, 0), "not all 0"),
    ],
)
def test_weights_that_make_no_mean_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Reward(1, 1, 1, 1, 1, 1).total(weights)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "missing: language, resources, values"),
        ({"language": "none", "resources": [], "values": []}, "writes_code"),
        (WANTED | {"values": [["aws_s3_bucket", "bucket"]]}, "dotted path, literal"),
        (WANTED | {"values": [["aws_s3_bucket", "bucket", []]]}, "a string, a number"),
    ],
)
def test_an_expectation_that_cannot_be_checked_is_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        judged(VERSIONED, wanted)


# --- requests that want no code --------------------------------------------------


def test_code_is_seen_where_none_was_wanted_whole_or_broken():
    for text in (VERSIONED, VERSIONED[:60], POD, f"Sure:\n```\n{POD[:30]}", "locals {"):
        assert writes_code(text), text
    for text in (
        "```\nhello\n```",
        "def praise(name):\n",
        "from a.b import c",
        "import re",
    ):
        assert writes_code(text), text
    for text in (
        "",
        "A kind: of rhyme.",
        "Many happy returns, dear resource team!",
        "from all of us, with love",
        "A class of its own: import duties fall.",
        "import duties fall",
    ):
        assert not writes_code(text), text


# --- the data that the course ships ----------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return load_schema()


def test_every_answer_that_the_course_trains_on_gets_everything(shipped):
    for split in ("train", "validation"):
        for row in load_split(IAC_FOLDER, split):
            language = "terraform" if row.id.startswith("tf-") else "kubernetes"
            wanted = {"language": language, "resources": [], "values": []}
            reward = reward_of(row.answer, wanted, shipped)
            assert reward.parts == ALL, (row.id, reward)


def test_every_prompt_expects_what_the_schema_has(shipped):
    prompts = load_prompts(schema=shipped)
    assert len({prompt.notes["group"] for prompt in prompts}) >= 5


def test_no_training_answer_holds_a_value_that_a_prompt_asks_for():
    """Settings such as Enabled or cpu are words of the language, not of a request."""
    outputs = "\n".join(row.answer for row in load_split(IAC_FOLDER, "train"))
    asked = [
        literal
        for prompt in load_prompts()
        for _, path, literal in prompt.notes["expect"]["values"]
        if path.rsplit(".", 1)[-1] in ("bucket", "image", "cidr_block", "identifier")
    ]
    assert asked and not [value for value in asked if f'"{value}"' in outputs]


@pytest.mark.parametrize(
    ("type_name", "lines", "invented"),
    [
        ("aws_security_group", "ingress = []\n  egress = []", ()),
        ("aws_default_security_group", "ingress = []\n  egress = []", ()),
        ("aws_network_acl", 'vpc_id = "v"\n  ingress = []\n  egress = []', ()),
        ("aws_route_table", 'vpc_id = "v"\n  route = []', ()),
        ("aws_route_table", 'vpc_id = "v"\n  route {\n  }', ()),
        (
            "aws_instance",
            "root_block_device = []",
            ("aws_instance.root_block_device as an argument",),
        ),
        ("aws_sqs_queue", 'name = var.n\n}\nvariable "n" {\n  type = set(any)', ()),
        ("aws_sqs_queue", "name = core::lower(1)", ()),
        ("aws_s3_bucket", 'name = "x"', ("aws_s3_bucket.name",)),
        (
            "aws_s3_bucket_versioning_policy",
            'bucket = "x"',
            ("aws_s3_bucket_versioning_policy",),
        ),
        ("aws_sqs_queue", "name = list(1)", ("list()",)),
    ],
)
def test_the_schema_that_ships_knows_what_the_provider_knows(
    type_name, lines, invented, shipped
):
    text = f'resource "{type_name}" "a" {{\n  {lines}\n}}\n'
    reward = reward_of(text, expecting(type_name), shipped)
    assert reward.invented == invented, reward.problem
    assert (reward.known == 1) is (not invented)


def test_the_recipes_weights_keep_one_safe_block_for_all_below_one_half(shipped):
    wanted = {
        "language": "terraform",
        "resources": ["aws_sqs_queue"],
        "values": [["aws_sqs_queue", "name", "jobs"]],
    }
    safe = reward_of('resource "aws_s3_bucket" "a" {}', wanted, shipped)
    right = reward_of(
        'resource "aws_sqs_queue" "a" {\n  name = "jobs"\n}', wanted, shipped
    )
    weights = INFRAMIND.reward_weights
    assert safe.total(dict.fromkeys(PARTS, 1)) > 0.5 > safe.total(weights)
    assert right.total(weights) == 1.0

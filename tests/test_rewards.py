import math

import pytest

from course_utils.iac.prompts import load_prompts
from course_utils.iac.schema import IAC_FOLDER, load_schema, make_schema
from course_utils.instructions import load_split
from course_utils.recipes import INFRAMIND
from course_utils.rewards import PARTS, Reward, score, writes_code

SCHEMA = make_schema(
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
                "metadata": ["name", "labels"],
                "spec": ["containers"],
                "spec.containers": ["name", "image", "ports"],
            },
        },
        "Service": {"api_versions": ["v1"], "required": ["spec.ports"]},
    },
    [],
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
    return score(text, wanted, SCHEMA)


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


# --- the three inventions of the seed project's base model -----------------------


def test_name_in_a_bucket_is_an_invention():
    reward = judged(VERSIONED.replace('bucket = "media', 'name = "media'))
    assert reward.invented == ("aws_s3_bucket.name",)
    # 2 types, 2 arguments, 1 block with 1 argument; one of the six is invented
    assert reward.known == pytest.approx(5 / 6)
    assert reward.values == 0.5 and reward.resource == 1.0


def test_a_resource_type_that_does_not_exist_is_an_invention():
    reward = judged(VERSIONED.replace("bucket_versioning", "bucket_versioning_policy"))
    assert reward.invented == ("aws_s3_bucket_versioning_policy",)
    # bucket type and argument are known; the other type and its two names are not
    assert reward.known == pytest.approx(2 / 5)
    assert reward.resource == 0.5 and reward.values == 0.5
    assert reward.required == 1.0  # a bucket requires nothing


def test_a_function_of_an_invented_namespace_does_not_parse_and_is_named():
    line = "  versioning = aws_versioning::versioning()\n}\n"
    reward = judged(VERSIONED.replace("}\n", line, 1))
    assert reward.parts == NOTHING
    assert reward.invented == ("aws_versioning::versioning()",)
    assert "line 3" in reward.problem


# --- Terraform, part by part -----------------------------------------------------


def test_functions_are_known_when_terraform_has_them():
    line = 'resource "aws_s3_bucket" "a" {{\n  bucket = {}("x")\n}}\n'
    wanted = expecting("aws_s3_bucket")
    assert judged(line.format("lower"), wanted).parts == ALL
    reward = judged(line.format("slugify"), wanted)
    assert reward.invented == ("slugify()",)
    assert reward.known == pytest.approx(2 / 3)


def test_a_block_written_as_an_argument_is_unknown_and_missing():
    text = VERSIONED.replace("configuration {", "configuration = {")
    reward = judged(text)
    assert reward.invented == (
        "aws_s3_bucket_versioning.versioning_configuration as an argument",
    )
    assert reward.required == 0.5  # bucket of bucket and versioning_configuration
    other = 'resource "aws_s3_bucket" "a" {\n  tags {\n    Name = "x"\n  }\n}\n'
    assert judged(other).invented == ("aws_s3_bucket.tags as a block",)


def test_required_counts_over_all_blocks_that_are_there():
    text = VERSIONED.replace('    status = "Enabled"\n', "")
    assert judged(text).required == pytest.approx(2 / 3)
    text = text.replace("bucket = aws_s3_bucket.archive.id", "bucket = null")
    assert judged(text).required == pytest.approx(1 / 3)


def test_meta_arguments_are_neither_known_nor_invented():
    line = "  count = 2\n  lifecycle {\n    prevent_destroy = true\n  }\n}\n"
    assert judged(VERSIONED.replace("}\n", line, 1)).parts == ALL


def test_other_blocks_are_allowed_and_invented_ones_told():
    provider = 'provider "aws" {\n  region = "eu-west-1"\n}\n'
    assert judged(provider + VERSIONED).parts == ALL
    reward = judged('bucket "x" {\n}\n' + VERSIONED + "note = 1\n")
    assert reward.invented == ("note outside of a block", "bucket")
    alone = judged(provider)
    assert alone.parts == ALL | {"resource": 0.0, "required": 0.0, "values": 0.0}


def test_a_known_name_that_is_repeated_does_not_outweigh_an_invented_one():
    block = 'resource "aws_s3_bucket" "b{}" {{\n  bucket = "b{}"\n}}\n'
    many = "".join(block.format(i, i) for i in range(20))
    one = 'resource "aws_vault" "x" {\n}\n'
    assert judged(many + one).known == pytest.approx(2 / 3)


def test_a_type_wanted_twice_must_be_there_twice():
    wanted = expecting("aws_s3_bucket")
    wanted["resources"] = ["aws_s3_bucket"] * 2
    assert judged(VERSIONED, wanted).resource == 0.5


def test_terraform_takes_numbers_and_booleans_as_text_and_kubernetes_does_not():
    text = (
        'resource "aws_db_instance" "x" {\n  instance_class = "db.t3.micro"\n'
        '  allocated_storage = "35"\n  multi_az = "true"\n}\n'
    )
    values = [("allocated_storage", 35), ("multi_az", True)]
    assert judged(text, expecting("aws_db_instance", *values)).values == 1.0
    wanted = expecting("aws_db_instance", ("multi_az", 1), ("allocated_storage", 3.5))
    assert judged(text, wanted).values == 0.0
    quoted = POD.replace("8080", '"8080"')
    assert judged(quoted, WANTED_POD).values == 0.75


@pytest.mark.parametrize(
    ("written", "literal", "share"),
    [("true", True, 1), ("true", 1, 0), ("1", True, 0), ("1", 1, 1), ("1.0", 1, 1)],
)
def test_true_is_not_1_in_a_manifest(written, literal, share):
    wanted = expecting("Pod", ("spec.tty", literal), language="kubernetes")
    assert judged(POD + f"  tty: {written}\n", wanted).values == share


def test_a_value_must_stand_where_it_belongs():
    text = VERSIONED.replace('"media-archive"', '"other"  # media-archive')
    assert judged(text).values == 0.5


# --- Kubernetes, part by part ----------------------------------------------------


def test_unknown_fields_are_told_and_free_keys_are_not_judged():
    text = POD.replace("    image:", "    picture: x\n    image:")
    reward = judged(text + "status: {}\n", WANTED_POD)
    assert reward.invented == ("Pod.spec.containers.picture", "Pod.status")
    # 14 names: kind, version, 5 at the top, 2 of metadata, containers and its 4
    assert reward.known == pytest.approx(12 / 14)


def test_a_kind_under_a_version_that_does_not_serve_it_is_an_invention():
    reward = judged(POD.replace("v1", "apps/v1", 1), WANTED_POD)
    assert reward.invented == ("Pod in apps/v1",)
    assert reward.required == 1.0
    missing = judged(POD.replace("apiVersion: v1\n", ""), WANTED_POD)
    assert missing.required == 0.75 and missing.invented == ()


def test_an_unknown_kind_has_nothing_that_could_be_required():
    reward = judged(POD.replace("Pod", "Bucket"), WANTED_POD)
    assert reward.invented == ("Bucket",)
    assert reward.parts == {
        "syntax": 1.0,
        "resource": 0.0,
        "required": 0.0,
        "known": 0.0,
        "complete": 1.0,
        "values": 0.0,
    }


def test_a_required_path_must_be_in_each_element_of_a_list():
    two = POD + "  - name: side\n"
    assert judged(two, WANTED_POD).required == 0.75
    empty = POD.split("spec:")[0] + "spec:\n  containers: []\n"
    assert judged(empty, WANTED_POD).required == 0.75


def test_a_name_may_be_left_to_the_server():
    generated = POD.replace("  name: web\n  labels", "  generateName: web-\n  labels")
    assert judged(generated, WANTED_POD).required == 1.0
    nameless = POD.replace("  name: web\n  labels", "  labels")
    assert judged(nameless, WANTED_POD).required == 0.75


def test_a_manifest_that_stops_after_a_key_is_not_complete():
    cut = POD.split(" httpd")[0]
    reward = judged(cut, WANTED_POD)
    assert reward.syntax == 1.0 and reward.complete == 0.5


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
            reward = score(row.answer, wanted, shipped)
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
        ("aws_sqs_queue", "name = list(1)", ("list()",)),
    ],
)
def test_the_schema_that_ships_knows_what_the_provider_knows(
    type_name, lines, invented, shipped
):
    text = f'resource "{type_name}" "a" {{\n  {lines}\n}}\n'
    reward = score(text, expecting(type_name), shipped)
    assert reward.invented == invented, reward.problem
    assert (reward.known == 1) is (not invented)


def test_the_seeds_inventions_are_caught_by_the_schema_that_ships(shipped):
    wanted = expecting("aws_s3_bucket")
    name = score('resource "aws_s3_bucket" "a" {\n  name = "x"\n}\n', wanted, shipped)
    assert name.invented == ("aws_s3_bucket.name",)
    policy = 'resource "aws_s3_bucket_versioning_policy" "a" {\n  bucket = "x"\n}\n'
    assert score(policy, wanted, shipped).known == 0.0


def test_the_recipes_weights_keep_one_safe_block_for_all_below_one_half(shipped):
    wanted = {
        "language": "terraform",
        "resources": ["aws_sqs_queue"],
        "values": [["aws_sqs_queue", "name", "jobs"]],
    }
    safe = score('resource "aws_s3_bucket" "a" {}', wanted, shipped)
    right = score('resource "aws_sqs_queue" "a" {\n  name = "jobs"\n}', wanted, shipped)
    weights = INFRAMIND.reward_weights
    assert safe.total(dict.fromkeys(PARTS, 1)) > 0.5 > safe.total(weights)
    assert right.total(weights) == 1.0

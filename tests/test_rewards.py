import dataclasses
import math
import time

import pytest

from course_utils.data.datasets import load_split
from course_utils.projects.inframind.code.schema import IAC_FOLDER, Schema, load_schema
from course_utils.projects.inframind.requests import expectation, load_prompts
from course_utils.projects.inframind.reward import (
    PARTS,
    REFUSED_SHARE,
    Reward,
    reward_of,
    writes_code,
)
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
UNASKED = {"values": None}
FREE = {"required": None}  # a bucket requires nothing
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
            {"known": 2 / 5, "resource": 0.5, "required": None, "values": 0.5},
            ("aws_s3_bucket_versioning_policy",),
            id="a type that does not exist is one, and a bucket requires nothing",
        ),
        (
            *(BUCKET.replace('"media-archive"', "lower(1)"), ONE_BUCKET),
            *(FREE | UNASKED, ()),
        ),
        (
            *(BUCKET.replace('"media-archive"', "slugify(1)"), ONE_BUCKET),
            *(FREE | UNASKED | {"known": 2 / 3}, ("slugify()",)),
        ),
        # type and argument are known, the variable is not declared
        (
            *(BUCKET.replace('"media-archive"', "var.name"), ONE_BUCKET),
            *(FREE | UNASKED | {"known": 2 / 3}, ("var.name, not declared",)),
        ),
        # bucket of bucket and versioning_configuration is there; 5 names, one wrong
        (
            *(VERSIONED.replace("configuration {", "configuration = {"), WANTED),
            {"required": 0.5, "known": 4 / 5},
            ("aws_s3_bucket_versioning.versioning_configuration as an argument",),
        ),
        (
            *('resource "aws_s3_bucket" "a" {\n  tags {\n  }\n}', ONE_BUCKET),
            *(FREE | UNASKED | {"known": 1 / 2}, ("aws_s3_bucket.tags as a block",)),
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
            *(FREE | UNASKED | {"known": 2 / 3}, ("aws_vault",)),
            id="what is repeated does not outweigh an invention",
        ),
        pytest.param(
            *(VERSIONED, ONE_BUCKET | {"resources": ["aws_s3_bucket"] * 2}),
            *(UNASKED | {"resource": 0.5}, ()),
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
    reward = Reward(1.0, 0.5, 1.0, 1.0, 0.5, 0.0, focus=1.0)
    weights = dict(zip(PARTS, (1, 2, 1, 4, 0, 2), strict=True))
    assert reward.total(weights) == pytest.approx((1 + 1 + 1 + 4 + 0 + 0) / 10)
    unasked = dataclasses.replace(reward, values=None)
    assert unasked.total(weights) == pytest.approx((1 + 1 + 1 + 4 + 0) / 8)


def test_the_mean_is_gated_by_what_was_asked_and_by_what_would_be_refused():
    whole = Reward(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, focus=1.0)
    weights = dict.fromkeys(PARTS, 1)
    assert whole.total(weights) == 1.0
    assert dataclasses.replace(whole, focus=0.5).total(weights) == 0.5
    for refused in ({"known": 0.5}, {"required": 0.5}, {"known": 5 / 6, "required": 0}):
        reward = dataclasses.replace(whole, **refused)
        mean = (6 - len(refused) + sum(refused.values())) / 6
        assert not reward.valid
        assert reward.total(weights) == pytest.approx(REFUSED_SHARE * mean)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "missing weights: complete, known, required, resource, syntax, values"),
        (dict.fromkeys(PARTS, 1) | {"style": 1}, "unknown weights: style"),
        (dict.fromkeys(PARTS, 1) | {"known": -1}, "finite numbers from 0 up"),
        (dict.fromkeys(PARTS, 1) | {"known": math.nan}, "finite numbers from 0 up"),
        (dict.fromkeys(PARTS, 0), "not 0 for all parts"),
    ],
)
def test_weights_that_make_no_mean_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Reward(1, 1, 1, 1, 1, 1).total(weights)


def test_weights_of_what_nobody_asked_for_alone_make_no_mean():
    weights = dict.fromkeys(PARTS, 0) | {"values": 1}
    with pytest.raises(ValueError, match=r"can be judged here \(syntax, resource"):
        Reward(1, 1, 1, 1, 1, None).total(weights)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "missing: language, resources, values"),
        ({"language": "none", "resources": [], "values": []}, "writes_code"),
        (WANTED | {"values": [["aws_s3_bucket", "bucket"]]}, "path, what stands"),
        (WANTED | {"values": [["aws_s3_bucket", "bucket", []]]}, "a string, a number"),
        (WANTED | {"values": [["aws_s3_bucket", "bucket", {}]]}, "refers_to, selects"),
        (
            WANTED | {"values": [["aws_s3_bucket", "bucket", {"is": "a"}]]},
            "refers_to, selects",
        ),
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
            wanted = expectation(row.answer, row.request)
            reward = reward_of(row.answer, wanted, shipped)
            assert wanted["values"], row.id
            assert reward.total(INFRAMIND.reward_weights) == 1, (row.id, reward)


def test_a_block_of_the_right_type_alone_does_not_get_what_a_request_asks_for(shipped):
    for row in load_split(IAC_FOLDER, "train"):
        wanted = expectation(row.answer, row.request)
        bare = "\n".join(
            f'resource "{name}" "a{i}" {{}}'
            for i, name in enumerate(wanted["resources"])
        )
        assert paid(bare, wanted, shipped) < 0.7, row.id


def test_what_an_answer_need_not_declare_is_named_in_its_request():
    for split in ("train", "validation"):
        for row in load_split(IAC_FOLDER, split):
            for address in expectation(row.answer)["exists"]:
                assert address in row.request, row.id


def test_what_a_prompt_expects_to_exist_is_named_in_it():
    for prompt in load_prompts():
        for address in prompt.notes["expect"].get("exists", ()):
            assert address in prompt.request, prompt.id


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


@pytest.mark.parametrize(
    ("type_name", "lines", "unknown"),
    [
        ("aws_lb", "health_check_logs {\n    bucket = 1\n  }", ()),
        ("aws_lambda_function", "capacity_provider_config = []", ()),
        ("aws_lambda_function", "capacity_provider_config {\n  }", ()),
        ("aws_sqs_queue", 'region = "eu-west-1"', ()),
        ("aws_wafv2_web_acl", "anything = 1", ("aws_wafv2_web_acl",)),
        ("aws_opsworks_stack", "", ("aws_opsworks_stack",)),
        ("random_id", "byte_length = 4", ("random_id",)),
        ("null_resource", "", ("null_resource",)),
        ("terraform_data", "", ("terraform_data",)),
        ("google_storage_bucket", "", ("google_storage_bucket",)),
        ("aws_sqs_queue", "name = provider::time::now()", ("provider::time::now()",)),
    ],
)
def test_what_exists_or_may_exist_is_unknown_and_not_invented(
    type_name, lines, unknown, shipped
):
    text = f'resource "{type_name}" "a" {{\n  {lines}\n}}\n'
    reward = reward_of(text, expecting(type_name), shipped)
    assert (reward.invented, reward.unknown) == ((), unknown), reward.problem
    assert reward.known == (None if text.split('"')[1] in unknown else 1)


@pytest.mark.parametrize(
    "type_name",
    ["aws_s3_bucket_versioning_policy", "aws_versioning", "random_name", "bucket"],
)
def test_what_no_provider_has_is_invented(type_name, shipped):
    text = f'resource "{type_name}" "a" {{\n  b = 1\n}}\n'
    reward = reward_of(text, expecting(type_name), shipped)
    assert (reward.invented, reward.unknown, reward.known) == ((type_name,), (), 0)
    assert not reward.valid


def manifest(version, kind, rest=""):
    return f"apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: a\n{rest}"


@pytest.mark.parametrize(
    ("text", "parts", "invented", "unknown"),
    [
        (manifest("v1", "ReplicationController", "spec: {replicas: 2}"), 2 / 6, (), ()),
        (manifest("v1", "PodTemplate"), 1, (), ()),
        (manifest("apiregistration.k8s.io/v1", "APIService"), 1, (), ()),
        (manifest("policy/v1", "APIService"), 1, ("APIService in policy/v1",), ()),
        (manifest("v1", "Bucket"), 0, ("Bucket",), ()),
        (manifest("policy/v1", "Bucket"), 0, ("Bucket",), ()),
        (manifest("networking.k8s.io/v1", "Bucket"), 0, ("Bucket",), ()),
        (
            *(
                manifest("networking.istio.io/v1", "VirtualService", "spec: {a: 1}"),
                None,
            ),
            *((), ("VirtualService.networking.istio.io",)),
        ),
        (
            *(manifest("serving.knative.dev/v1", "Service"), None),
            *((), ("Service.serving.knative.dev",)),
        ),
        (
            manifest(
                "v1", "Service", "spec:\n  type: ExternalName\n  externalName: d\n"
            ),
            *(1, (), ()),
        ),
        (manifest("v1", "Service", "spec: {type: ExternalName}"), 2 / 3, (), ()),
        (manifest("v1", "Service", "spec: {clusterIP: None}"), 1, (), ()),
        (manifest("v1", "Service", "spec: {selector: {a: b}}"), 1 / 2, (), ()),
        (
            manifest(
                "v1", "Service", "spec: {clusterIP: None, ports: [{name: a}]}"
            ).replace("name: a\n", "generateName: a-\n"),
            *(3 / 4, (), ()),
        ),
    ],
)
def test_built_in_kinds_are_known_and_custom_ones_are_not_judged(
    text, parts, invented, unknown, shipped
):
    reward = reward_of(text, expecting("Pod", language="kubernetes"), shipped)
    assert (reward.invented, reward.unknown) == (invented, unknown), reward.problem
    assert reward.required == parts


def test_an_autoscaler_has_the_fields_of_its_version(shipped):
    target = "  scaleTargetRef: {kind: Deployment, name: a}\n  maxReplicas: 3\n"
    for version, field, invented in (
        ("v1", "targetCPUUtilizationPercentage: 60", ()),
        ("v2", "metrics: []", ()),
        (*("v1", "metrics: []"), ("HorizontalPodAutoscaler.spec.metrics",)),
        (
            *("v2", "targetCPUUtilizationPercentage: 60"),
            ("HorizontalPodAutoscaler.spec.targetCPUUtilizationPercentage",),
        ),
        ("v2beta2", "metrics: []", ("HorizontalPodAutoscaler in autoscaling/v2beta2",)),
    ):
        text = manifest(
            f"autoscaling/{version}", "HorizontalPodAutoscaler", f"spec:\n{target}"
        )
        wanted = expecting("HorizontalPodAutoscaler", language="kubernetes")
        reward = reward_of(f"{text}  {field}\n", wanted, shipped)
        assert reward.invented == invented and reward.required == 1


# --- the recipe's reward, which a model is trained against -----------------------

QUEUE = {
    "language": "terraform",
    "resources": ["aws_sqs_queue"],
    "values": [["aws_sqs_queue", "name", "jobs"]],
}
PAIR = {
    "language": "terraform",
    "resources": ["aws_s3_bucket", "aws_s3_bucket_versioning"],
    "values": [
        ["aws_s3_bucket", "bucket", "scans"],
        ["aws_s3_bucket_versioning", "bucket", {"refers_to": "aws_s3_bucket"}],
        ["aws_s3_bucket_versioning", "versioning_configuration.status", "Enabled"],
    ],
}
HALF = 'resource "aws_s3_bucket" "a" { bucket = "scans" }\n'
REST = """resource "aws_s3_bucket_versioning" "a" {
  bucket = aws_s3_bucket.a.id
  versioning_configuration { status = "Enabled" }
}
"""
EVERY_TYPE = "".join(
    f'resource "{name}" "a" {{}}\n'
    for name, known in load_schema().resources.items()
    if not known.required
)


def paid(text, wanted, schema):
    return reward_of(text, wanted, schema).total(INFRAMIND.reward_weights)


def test_a_whole_answer_gets_1_and_each_thing_left_out_costs(shipped):
    assert paid(HALF + REST, PAIR, shipped) == 1
    # half of: syntax 1, resource 3 · 0.5, known 1, complete 1, values 3 · 1/3, of 9
    assert paid(HALF, PAIR, shipped) == pytest.approx(5.5 / 9 / 2)
    no_name = HALF.replace('bucket = "scans" ', "")
    assert paid(no_name + REST, PAIR, shipped) == pytest.approx(9 / 10)
    assert paid(no_name, PAIR, shipped) == pytest.approx(4.5 / 9 / 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "locals { a = 1 }",
        'output "a" { value = 1 }',
        'resource "aws_sqs_queue" "a" { name = "scans" }',
        'resource "aws_s3_bucket_versioning_policy" "a" { bucket = "scans" }',
        HALF[:-3] + REST,
        "Use the console.",
    ],
)
def test_what_holds_nothing_that_was_asked_for_or_does_not_parse_gets_0(text, shipped):
    assert paid(text, PAIR, shipped) == 0


@pytest.mark.parametrize(
    "text",
    [
        HALF.replace("bucket =", "name =") + REST,
        HALF + REST.replace("status", "state"),
        HALF + REST.replace('{ status = "Enabled" }', "{}"),
        HALF + REST.replace("versioning_configuration {", "versioning {"),
        HALF + REST.replace("aws_s3_bucket.a", "aws_s3_bucket.b"),
        HALF + REST.replace('"Enabled"', "var.state"),
        HALF + REST.replace('"Enabled"', 'enable("x")'),
        HALF + REST + 'resource "aws_s3_versions" "a" {}',
        HALF + REST + 'output "a" { val = 1 }',
        HALF + REST + "a = 1",
        HALF.replace(' bucket = "scans" ', "\n  lifecycle { keep = true }\n") + REST,
        EVERY_TYPE,
        EVERY_TYPE + REST,
    ],
)
def test_what_would_be_refused_or_names_everything_pays_less_than_half_an_answer(
    text, shipped
):
    reward = reward_of(text, PAIR, shipped)
    assert reward.problem is None
    assert reward.total(INFRAMIND.reward_weights) <= REFUSED_SHARE
    # the least honest half: nothing of its values right, and words around it
    least = paid(f"Sure!\n```\n{HALF.replace('scans', 'x')}", PAIR, shipped)
    assert REFUSED_SHARE < least < paid(HALF, PAIR, shipped)


def test_one_safe_block_for_every_request_is_worth_nothing(shipped):
    assert paid('resource "aws_s3_bucket" "a" {}', QUEUE, shipped) == 0
    right = 'resource "aws_sqs_queue" "a" { name = "jobs" }'
    assert paid(right, QUEUE, shipped) == 1
    twice = right + "\n" + right.replace('"a"', '"b"').replace("jobs", "x")
    assert paid(twice, QUEUE, shipped) == 0.5


UNKNOWN = (
    'resource "aws_wafv2_web_acl" "a" { bucket = "scans" }',
    'resource "random_id" "a" { byte_length = 4 }',
    'resource "acme_s3_bucket" "a" { bucket = "scans" }',
)
POD_OF_A_GROUP = """apiVersion: fake.example.com/v1
kind: Pod
metadata:
  name: web
"""


@pytest.mark.parametrize("text", UNKNOWN)
def test_unknown_types_alone_get_nothing_and_beside_a_right_answer_they_cost(
    text, shipped
):
    for wanted in (PAIR, QUEUE, PAIR | {"values": []}, PAIR | {"resources": []}):
        assert paid(text, wanted, shipped) == 0
        assert paid(text + "\n" + text.replace('"a"', '"b"'), wanted, shipped) == 0
    # focus 2/3, as beside any known type that nobody asked for
    beside = paid(HALF + REST + text, PAIR, shipped)
    assert beside == pytest.approx(2 / 3)
    queue = 'resource "aws_sqs_queue" "a" { name = "jobs" }'
    assert beside == pytest.approx(paid(HALF + REST + queue, PAIR, shipped))
    # and hides no fault
    faulty = HALF.replace("bucket =", "name =") + REST + text
    assert paid(faulty, PAIR, shipped) <= REFUSED_SHARE


def test_where_an_unknown_type_is_asked_for_its_values_still_count(shipped):
    wanted = expecting("aws_wafv2_web_acl", ("scope", "REGIONAL"))
    right = 'resource "aws_wafv2_web_acl" "a" { scope = "REGIONAL" }'
    assert paid(right, wanted, shipped) == 1
    empty = paid('resource "aws_wafv2_web_acl" "a" {}', wanted, shipped)
    assert empty == pytest.approx(5 / 8)  # syntax 1, resource 3, complete 1, of 8
    assert paid('resource "aws_wafv2_acl" "a" {}', wanted, shipped) == 0


def test_a_kind_of_another_group_is_not_the_kind_that_was_asked_for(shipped):
    wanted = WANTED_POD | {"values": []}
    assert paid(POD_OF_A_GROUP, wanted, shipped) == 0
    assert paid(POD_OF_A_GROUP + "---\n" + POD, wanted, shipped) == 0.5
    assert paid(POD_OF_A_GROUP.replace("fake.example.com/", ""), wanted, shipped) < 0.1


def test_a_function_that_is_not_judged_brings_no_value(shipped):
    hidden = 'resource "aws_sqs_queue" "a" { name = provider::acme::name("jobs") }'
    wrong = 'resource "aws_sqs_queue" "a" { name = "x" }'
    assert paid(hidden, QUEUE, shipped) == paid(wrong, QUEUE, shipped) < 0.7


@pytest.mark.parametrize(
    ("written", "more", "values", "unsettled"),
    [
        ('"jobs"', "", 1, False),
        ("local.n", 'locals { n = "jobs" }', 1, False),
        ("var.n", 'variable "n" { default = "jobs" }', 1, False),
        ("local.n", 'locals { n = "x" }', 0, False),
        ("var.n", 'variable "n" {}', 0, False),
        ('"x"', "", 0, False),
        ('"${local.n}bs"', 'locals { n = "jo" }', 0, True),
        ('lower("JOBS")', "", 0, True),
        ("module.a.n", 'module "a" { source = "./a" }', 0, True),
    ],
)
def test_a_value_behind_a_name_is_looked_up_and_one_behind_a_call_pays_nothing(
    written, more, values, unsettled, shipped
):
    text = f'resource "aws_sqs_queue" "a" {{ name = {written} }}\n{more}'
    reward = reward_of(text, QUEUE, shipped)
    assert (reward.values, reward.unsettled) == (values, unsettled)
    total = reward.total(INFRAMIND.reward_weights)
    assert total == (1 if values else pytest.approx(6 / 9))


def test_a_reference_may_lead_over_a_local_and_a_tag_out_of_a_merge(shipped):
    text = HALF.replace(
        ' bucket = "scans" ', '\n  tags = merge(var.t, { Name = "a" })\n'
    )
    text += REST.replace("aws_s3_bucket.a.id", "local.id") + 'variable "t" {}\n'
    text += "locals { id = aws_s3_bucket.a.id }\n"
    wanted = PAIR | {"values": [["aws_s3_bucket", "tags.Name", "a"], PAIR["values"][1]]}
    assert reward_of(text, wanted, shipped).values == 1


@pytest.mark.parametrize(
    ("path", "written", "literal", "stands"),
    [
        ("resources.limits.memory", "1024Mi", "1Gi", 1),
        ("resources.requests.cpu", "0.5", "500m", 1),
        ("resources.requests.cpu", "1", "1000m", 1),
        ("resources.requests.cpu", "true", 1, 0),
        ("resources.limits.memory", "1G", "1Gi", 0),
        ("image", "1024Mi", "1Gi", 0),
    ],
)
def test_equal_amounts_are_the_same_value_and_equal_texts_elsewhere(
    path, written, literal, stands
):
    *parents, last = path.split(".")
    fields = f"{last}: {written}"
    for parent in reversed(parents):
        fields = f"{parent}: {{{fields}}}"
    text = POD.replace("    image: httpd:2.4\n", f"    {fields}\n")
    wanted = expecting(
        "Pod", (f"spec.containers.{path}", literal), language="kubernetes"
    )
    assert judged(text, wanted).values == stands


# --- what leads from one part to another -----------------------------------------


@pytest.mark.parametrize(
    ("written", "address", "stands"),
    [
        ("aws_s3_bucket.a.id", "aws_s3_bucket", True),
        ("aws_s3_bucket.a.id", "aws_s3_bucket.a", True),
        ("aws_s3_bucket.a", "aws_s3_bucket.a", True),
        ('"${aws_s3_bucket.a.bucket}"', "aws_s3_bucket", True),
        ("aws_s3_bucket.ab.id", "aws_s3_bucket.a", False),
        ("aws_s3_bucket_acl.a.id", "aws_s3_bucket", False),
        ('"aws_s3_bucket.a.id"', "aws_s3_bucket", False),
        ("data.aws_s3_bucket.a.id", "aws_s3_bucket", False),
        ("data.aws_s3_bucket.a.id", "data.aws_s3_bucket", True),
        ("var.bucket", "aws_s3_bucket", False),
        ("aws_s3_bucket.a.id", "aws_s3_bucket.*.id", True),
        ("aws_s3_bucket.a[0].id", "aws_s3_bucket.*.id", True),
        ("aws_s3_bucket.a.idx", "aws_s3_bucket.*.id", False),
        ("[aws_s3_bucket.a.arn]", "aws_s3_bucket.*.id", False),
        ("[aws_s3_bucket.a.id]", "aws_s3_bucket.*.id", True),
    ],
)
def test_a_reference_is_no_string_and_leads_to_that_resource(written, address, stands):
    text = VERSIONED.replace("aws_s3_bucket.archive.id", written)
    wanted = expecting("aws_s3_bucket_versioning", ("bucket", {"refers_to": address}))
    assert (judged(text, wanted).values == 1) is stands


@pytest.mark.parametrize(
    ("more", "exists", "invented"),
    [
        ("", (), ("aws_vpc.main, not declared",)),
        ("", ("aws_vpc.main",), ()),
        ('data "aws_vpc" "main" {}', (), ("aws_vpc.main, not declared",)),
        ('resource "aws_vpc" "main" {}', (), ("aws_vpc",)),  # not in this schema
    ],
)
def test_what_a_reference_leads_to_is_declared_or_was_there_before(
    more, exists, invented
):
    text = (
        with_line("tags = { a = aws_vpc.main.id, b = upper(aws_vpc.main.arn) }") + more
    )
    assert judged(text, WANTED | {"exists": exists}).invented == invented


@pytest.mark.parametrize(
    ("declared", "used"),
    [
        ('variable "a" {\n}', "var.a"),
        ("locals { a = 1 }", "local.a"),
        ('module "a" { source = "./a" }', "module.a.id"),
        ('data "aws_ami" "a" {\n}', "data.aws_ami.a.id"),
        ("", "each.value"),
        ("", '"aws_vpc.a ${path.module}/var.a"'),
        ("moved {\n  from = aws_vpc.a\n  to = aws_vpc.b\n}", "1"),
    ],
)
def test_variables_locals_modules_and_data_are_declared_and_words_are_not(
    declared, used
):
    text = with_line(f"tags = {{ a = {used} }}") + declared
    assert judged(text).invented == ()
    if declared and used != "1":
        undeclared = judged(with_line(f"tags = [{used}]")).invented
        assert undeclared == (f"{used.removesuffix('.id')}, not declared",)


def test_a_file_may_lie_in_the_module():
    wanted = expecting("aws_s3_bucket", ("bucket", "a.zip"))
    for written, stands in (
        ('"a.zip"', 1),
        ('"${path.module}/a.zip"', 1),
        ('"${path.module}/b.zip"', 0),
        ('"${path.root}/a.zip"', 0),
    ):
        text = BUCKET.replace('"media-archive"', written)
        assert judged(text, wanted).values == stands


DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
        tier: front
    spec:
      containers:
      - name: web
        image: httpd:2.4
        volumeMounts:
        - name: cache
          mountPath: /cache
      volumes:
      - name: cache
        emptyDir: {}
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector:
    app: web
  ports:
  - port: 80
"""
FRONT = {
    "language": "kubernetes",
    "resources": ["Deployment", "Service"],
    "values": [["Service", "spec.selector", {"selects": "Deployment"}]],
}


def test_a_service_selects_the_pods_and_a_deployment_its_own(shipped):
    assert paid(DEPLOYMENT, FRONT, shipped) == 1
    before, service = DEPLOYMENT.split("---")
    elsewhere = before + "---" + service.replace("app: web", "app: wab")
    assert reward_of(elsewhere, FRONT, shipped).values == 0
    nobody = before + "---" + service.replace("\n    app: web", " {}")
    assert reward_of(nobody, FRONT, shipped).values == 0
    misses = DEPLOYMENT.replace("matchLabels:\n      app: web", "matchLabels: {app: x}")
    reward = reward_of(misses, FRONT, shipped)
    assert reward.required < 1 and reward.known == 1 and not reward.valid


def test_a_volume_that_is_mounted_is_declared(shipped):
    text = DEPLOYMENT.replace(
        "- name: cache\n        emptyDir", "- name: x\n        emptyDir"
    )
    reward = reward_of(text, FRONT, shipped)
    assert reward.invented == ("volume cache, not declared",) and not reward.valid


@pytest.mark.parametrize(
    "text",
    [
        DEPLOYMENT.replace(
            "labels:\n        app: web\n        tier: front", "labels: [a]"
        ),
        DEPLOYMENT.replace("matchLabels:\n      app: web", "matchLabels: [app]"),
        DEPLOYMENT.replace("selector:\n    app: web", "selector: [[app]]"),
        DEPLOYMENT.replace(
            "- name: cache\n          m", "- name: {a: [1]}\n          m"
        ),
        DEPLOYMENT.replace(
            "volumes:\n      - name: cache", "volumes:\n      - 3\n      - name: 3"
        ),
        DEPLOYMENT.replace("spec:\n  selector", "spec: 3\nmore:\n  selector"),
    ],
)
def test_odd_labels_and_volumes_are_refused_and_crash_nothing(text, shipped):
    reward = reward_of(text, FRONT, shipped)
    assert reward.problem is None
    assert paid(text, FRONT, shipped) <= max(REFUSED_SHARE, 0.75)


@pytest.mark.parametrize(
    "line",
    [
        "a = " + "aws_" * 3_900 + "x",
        "a = f(" + "var." * 1_900 + "x)",
        "a = [" + "aws_vpc.a.id," * 900 + "]",
        "a = " + "[" * 31 + "var.a" + "]" * 31,
        "bucket = ["
        + "local.b," * 450
        + "]\n}\nlocals {\n  b = ["
        + "1," * 1_000
        + "]",
        "tags = " + "merge(" * 28 + "local.b" + ", local.b)" * 28,
        'a = "${aws_vpc.a}' + "$" * 3_000 + '"',
    ],
)
def test_references_are_looked_for_in_bounded_time(line, shipped):
    start = time.process_time()
    reward_of(with_line(line), PAIR, shipped)
    assert time.process_time() - start < 5

import json

import pytest

from course_utils.data.datasets import load_split
from course_utils.data.files import FaultyData
from course_utils.projects.inframind.code import parsing
from course_utils.projects.inframind.code.blocks import (
    BUILT_IN_GROUPS,
    Expression,
    values_at,
)
from course_utils.projects.inframind.code.kubernetes import (
    MAX_YAML_DEPTH,
    MAX_YAML_NODES,
    quantity,
)
from course_utils.projects.inframind.code.parsing import (
    MAX_BLANK_RUN,
    MAX_CHARACTERS,
    MAX_FENCES,
    REMEMBERED_TEXTS,
    extract,
    parse,
)
from course_utils.projects.inframind.code.references import settled
from course_utils.projects.inframind.code.scanning import (
    MAX_HCL_DEPTH,
    MAX_HCL_TOKENS,
    MAX_MINUS_RUN,
)
from course_utils.projects.inframind.code.schema import Schema, load_schema
from course_utils.projects.inframind.requests import expectation, load_prompts

BUCKET = 'resource "aws_s3_bucket" "logs" {\n  bucket = "media-archive"\n}\n'
POD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n"


def within(line):
    """A resource with one more line in it."""
    return f'resource "aws_s3_bucket" "logs" {{\n  {line}\n}}\n'


def argument(line):
    """The value of the only argument of a resource."""
    parsed = parse(within(line), "terraform")
    assert parsed.problem is None, parsed.problem
    [resource] = parsed.resources
    [value] = resource.body.arguments.values()
    return value


# --- the code of an answer -------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a = 1", "a = 1"),
        ("```\na = 1\n```", "a = 1"),
        ("Sure:\n```hcl\na = 1\n```\nDone.", "a = 1"),
        ("~~~ yaml\nkind: Pod\n~~~", "kind: Pod"),
        ("```hcl\na = 1\n", "a = 1\n"),
        ("```\na = 1\n`````\nb", "a = 1"),
        ("~~~\na = 1\n```\n~~~~\nb", "a = 1\n```"),
        ("````\n```\ninner\n```\n````", "```\ninner\n```"),
        ("```\none\n```\n```\ntwo\n```", "one"),
        ("1. Do this:\n   ```hcl\na = 1\n   ```", "a = 1"),
        ("```hcl\r\na = 1\r\n```\r\n", "a = 1"),
        ("write `a = 1` there", "write `a = 1` there"),
        ("```a = 1```", "```a = 1```"),
        ("", ""),
    ],
)
def test_the_code_is_the_first_fenced_block_or_else_the_whole_text(text, code):
    assert extract(text, "terraform").code == code


def test_a_fence_within_an_indented_text_is_no_fence_of_the_answer():
    note = "data:\n  README.md: |\n    ```\n    make\n    ```\n"
    assert extract(note, "kubernetes").code == note


def test_prose_and_open_fences_are_told_apart():
    texts = [BUCKET, f"```hcl\n{BUCKET}```\n"]
    bare, fenced = (extract(text, "terraform") for text in texts)
    assert not (bare.prose or bare.unclosed or fenced.prose or fenced.unclosed)
    assert extract(f"Here:\n```\n{BUCKET}```", "terraform").prose
    assert extract(f"```\n{BUCKET}```\nIt has a bucket.", "terraform").prose
    assert extract(f"```\n{BUCKET}", "terraform").unclosed


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"```bash\nterraform init\n```\n```hcl\n{BUCKET}```", BUCKET[:-1]),
        (f"```\nterraform init\n```\n```\n{BUCKET}```", BUCKET[:-1]),
        (f"```hcl\n{BUCKET[:-3]}\n```\n```hcl\n{BUCKET}```", BUCKET[:-3]),
        (f"```\n{BUCKET}```\n```hcl\nlocals {{}}\n```", BUCKET[:-1]),
        ("```sh\na\n```\n```\nb\n```", "a"),
        ("```sh\na\n```\n" * MAX_FENCES + f"```tf\n{BUCKET}```", "a"),
    ],
)
def test_of_several_blocks_the_first_that_holds_the_language_is_the_code(text, code):
    found = extract(text, "terraform")
    assert found.code == code and found.prose


def test_shell_before_a_manifest_is_passed_over():
    text = f"```bash\nkubectl apply -f pod.yaml\n```\n```yaml\n{POD}```"
    assert extract(text, "kubernetes").code == POD[:-1]


# --- Terraform -------------------------------------------------------------------


def test_resources_and_other_blocks_of_terraform_are_told_apart():
    code = 'provider "aws" {\n  region = "eu-west-1"\n}\n\n' + BUCKET + "locals {}\n"
    parsed = parse(code, "terraform")
    [resource], [provider, local] = parsed.resources, parsed.others
    assert (resource.type, resource.name) == ("aws_s3_bucket", "logs")
    assert resource.body.arguments == {"bucket": "media-archive"}
    assert (provider.keyword, provider.labels) == ("provider", ("aws",))
    assert (local.keyword, local.labels) == ("locals", ())
    assert parsed.types == ["aws_s3_bucket"] and parsed.problem is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("a = true", True),
        ("a = null", None),
        ("a = -5", -5),
        ("a = -true", Expression("-true")),
        ("a = 1.5", 1.5),
        ("a = (2)", 2),
        ('a = [1, "b",\n  false]', [1, "b", False]),
        ('a = { Name = "x", "y" = 2 }', {"Name": "x", "y": 2}),
        ("a = {\n  for = 1\n  b : 2\n}", {"for": 1, "b": 2}),
        (r'a = "tab\tquote\"\u00e9 $${x}"', 'tab\tquote"é ${x}'),
        (r'a = "\UFFFFFFFF \U0001F600"', "\\UFFFFFFFF 😀"),
        ("a = <<E\none\n  two\nE", "one\n  two\n"),
        ("a = <<-E\n    one\n      two\n    E", "one\n  two\n"),
        ("a = var.name", Expression("var.name")),
        ('a = "x-${var.name}"', Expression('"x-${var.name}"')),
        ("a = 1 + 2", Expression("1 + 2")),
        ("a = " + "9" * 41, Expression("9" * 41)),
    ],
)
def test_literals_have_their_value_and_the_rest_stays_an_expression(line, value):
    assert argument(line) == value


def test_nested_and_dynamic_blocks_are_blocks_of_their_name():
    code = within(
        "rule {\n    port = 80\n  }\n"
        '  dynamic "rule" {\n    for_each = var.ports\n'
        "    content {\n      port = 81\n    }\n  }\n  one { line = 1 }"
    )
    body = parse(code, "terraform").resources[0].body
    assert [name for name, _ in body.blocks] == ["rule", "rule", "one"]
    assert list(values_at(body, "rule.port")) == [80, 81]


@pytest.mark.parametrize(
    ("code", "functions"),
    [
        (
            within('a = upper(join("-", [file("x"), "${lower(var.b)}"]))'),
            ("upper", "join", "file", "lower"),
        ),
        (within("a = core::upper(b) + aws::c::d()"), ("upper", "aws::c::d")),
        (within("type = map(1)"), ("map",)),
        (
            'variable "n" {\n  type = list(object({\n    a = optional(set(any), [])\n'
            "    b = tuple([map(string)])\n    c = lst(string)\n  }))\n"
            "  default = list(upper(1))\n}",
            ("lst", "list", "upper"),
        ),
    ],
)
def test_functions_that_are_called_are_named_and_type_constraints_are_none(
    code, functions
):
    assert parse(code, "terraform").functions == functions


def test_a_merge_keeps_what_it_is_given():
    value = argument('a = merge(var.b, { Name = "web" }, c)')
    assert value.merged == (Expression("var.b"), {"Name": "web"}, Expression("c"))
    assert argument("a = merge()").merged == argument("a = max(1)").merged == ()


@pytest.mark.parametrize(
    ("line", "more", "value"),
    [
        ("a = local.n", 'locals {\n  n = "logs"\n}', "logs"),
        ('a = "${ local.n }"', 'locals {\n  n = "logs"\n}', "logs"),
        ("a = var.n", 'variable "n" {\n  default = "logs"\n}', "logs"),
        ("a = var.n", 'variable "n" {}', Expression("var.n")),
        ("a = local.n", "locals {\n  n = local.m\n  m = 1\n}", Expression("local.m")),
        ('a = "x-${local.n}"', "locals { n = 1 }", Expression('"x-${local.n}"')),
        ("a = local.n.b", "locals { n = 1 }", Expression("local.n.b")),
        ("a = [local.n]", "locals { n = 1 }", [Expression("local.n")]),
        ("a = merge(b, { c = 1 })", "", {"c": 1}),
        (
            "a = merge({ c = 1, d = 2 }, { c = local.n })",
            "locals { n = 3 }",
            {"c": 3, "d": 2},
        ),
        ("a = merge({ c = 1 }, b)", "", {}),
        ("a = merge(local.t, { d = 2 })", "locals { t = { c = 1 } }", {"c": 1, "d": 2}),
        ("b {\n    a = local.n\n  }", "locals { n = 1 }", 1),
    ],
)
def test_a_value_that_stands_in_the_text_is_looked_up_one_step(line, more, value):
    parsed = parse(within(line) + more, "terraform")
    body = settled(parsed.resources[0].body, parsed)
    found = values_at(body, "b.a" if line.startswith("b") else "a")
    assert next(found) == value


def test_an_expression_is_quoted_as_it_was_written():
    assert argument('a = "${\n f(1)\n}"').text == '"${\n f(1)\n}"'
    assert argument("a = <<E\nb \nE  ") == "b \n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", "no Terraform block"),
        ("# only a comment", "no Terraform block"),
        ("a = 1", "no Terraform block"),
        ("I would use a bucket.", "cannot stand here"),
        (BUCKET + "This makes a bucket.", "cannot stand here"),
        (within("bucket ="), "line 2"),
        (within('bucket "x"'), "cannot stand here"),
        (BUCKET[:-3], "{ of line 1 is never closed"),
        (within("a = [1"), "found } in line 3, where the [ of line 2 is open"),
        (BUCKET + "}", "found } in line 4, where nothing is open"),
        (within('a = "x'), '" of line 2 is not closed on its line'),
        (within("a = <<E\n  x"), "heredoc <<E of line 2 never ends"),
        (BUCKET + "/* x", "/* of line 4 is never closed"),
        (within('a = "${b"'), "not closed on its line"),
        (within("a = aws_versioning::versioning()"), "cannot stand here"),
        # python-hcl2 reads all of these, Terraform none
        (within("a = 1 b = 2"), "no new line"),
        ('resource "a" "b" { c = 1 d = 2 }', "no new line after the {"),
        ('resource "a" "b" { c = 1\n}', "no new line after the {"),
        ('resource "a" "b" { c {} }', "no new line after the {"),
        ('resource "a" "b" {\n  c = 1 }', "no new line after an argument"),
        ('resource "a" "b"\n{\n}', "no { on the line"),
        (BUCKET.strip() + " " + BUCKET.replace("logs", "x"), "no new line"),
        (within("a = { b = 1 c = 2 }"), "no comma or new line"),
        (within("a = 1\n  a = 2"), "a is given twice"),
        (within(r'a = "\d"'), "no escape sequence"),
        (within("a = 1 +\n 2"), "line 2: the line stops at '+'"),
        (within("a = 1\n + 2"), "line 3: the line stops at '+'"),
        (within("a = true ?\n 1 : 2"), "the line stops at '?'"),
        (within("a = [true] ? 1 : # why\n 2"), "the line stops at ':'"),
        (within("a = f({ b = 1 ==\n 2 })"), "the line stops at '='"),
        (within("a = 10.0.0.0/16"), "line 2: 10.0.0 is no number"),
        (within("a = 1.2.3"), "line 2: 1.2.3 is no number"),
        (within("é = 1"), "line 2: 'é' not quoted: names are read in ASCII"),
        (within('a = "${local.naïve}"'), "line 2: 'naïve' not quoted"),
        (BUCKET + BUCKET, "aws_s3_bucket.logs is declared 2 times"),
        ('resource "aws_s3_bucket" {\n}', "with 1 labels, expected 2"),
        ('resource "aws_s3_bucket" "my logs" {\n}', "'my logs' cannot be a name"),
    ],
)
def test_what_terraform_would_not_load_does_not_parse(code, reason):
    parsed = parse(code, "terraform")
    assert parsed.problem is not None and reason in parsed.problem
    assert not parsed.resources


@pytest.mark.parametrize(
    "code",
    [
        'resource "a" "b" {}',
        'resource "a" "b" { c = 1 }',
        'resource "a" "b" {\n\n}',
        "resource a b {\n  c = 1\n}",
        'resource "a" "b" { # why\n  c = 1 // one\n  /* d */ e = 2 /* f */\n}',
        within("a = [\n    1, # one\n    2,\n  ]"),
        within('a = jsonencode({\n    b = "c"\n    d = [true]\n  })'),
        within('a = true ? "b" : "c"\n  d = !e\n  f = [for x in y : x.z if x.w]'),
        within("a = <<E\nb\nE\n  c = 1"),
        within("a = 1 + 2\n  b = -3\n  c = d.*\n  e = d.0.1.2.f"),
        within("a = (1 +\n 2 # b\n * 3)\n  c = f(true ?\n 1 : 2)"),
        within("a = {\n for k, v in b :\n k => v\n if v\n  }"),
        within("a = { for k in b : # why\n (k.c)\n => {\n d = 1\n e = 2\n }\n if k }"),
        within('a = "é" # é\n  b = <<E\né\nE'),
        within('a = "${\n    f(1) # why\n  }-${ merge(\n { b = 1\n c = 2 }) }"'),
        within('a = "%{ if b\n }x%{ else }\\n%{\n endif }"'),
        within("a = <<EOF\nb\nEOF \t\n  c = <<-EOF\nd\n  EOF  "),
        within('a = "10.0.0.0/16" # 1.2.3\n  /* 4 +\n */ b = "1.2.3"'),
        BUCKET.replace("\n", "\r\n"),
        "\ufeff" + BUCKET,
    ],
)
def test_what_terraform_loads_parses(code):
    assert parse(code, "terraform").problem is None


# --- Kubernetes ------------------------------------------------------------------


def test_manifests_are_read_with_kind_and_version():
    two = "\ufeff" + POD + "---\n" + POD.replace("Pod", "Secret") + "---\n"
    parsed = parse(two, "kubernetes")
    assert [(d.kind, d.api_version) for d in parsed.documents] == [
        ("Pod", "v1"),
        ("Secret", "v1"),
    ]
    assert parsed.documents[0].body["metadata"] == {"name": "web"}
    assert parse('{"kind": "Pod"}', "kubernetes").documents[0].api_version == ""


def test_a_list_is_its_items_as_kubectl_takes_it():
    items = "".join(f"- {POD.strip()}\n".replace("\n", "\n  ") + "\n" for _ in "ab")
    for kind in ("List", "PodList"):
        parsed = parse(f"apiVersion: v1\nkind: {kind}\nitems:\n{items}", "kubernetes")
        assert parsed.types == ["Pod", "Pod"]
    for text, problem in (
        ("apiVersion: v1\nkind: List\nitems: []", "no manifest"),
        ("apiVersion: v1\nkind: List\nitems: [3]", "document 1 is no manifest"),
    ):
        assert problem in parse(text, "kubernetes").problem
    assert parse("kind: List\nitems: []", "kubernetes").types == ["List"]


@pytest.mark.parametrize(
    ("version", "kind", "named"),
    [
        ("v1", "Service", "Service"),
        ("apps/v1", "Deployment", "Deployment"),
        ("extensions/v1beta1", "Ingress", "Ingress"),
        ("networking.k8s.io/v1", "Ingress", "Ingress"),
        ("serving.knative.dev/v1", "Service", "Service.serving.knative.dev"),
        (
            "gateway.networking.k8s.io/v1",
            "Gateway",
            "Gateway.gateway.networking.k8s.io",
        ),
        ('""', "Pod", "Pod"),
    ],
)
def test_a_custom_kind_is_named_with_its_group(version, kind, named):
    parsed = parse(f"apiVersion: {version}\nkind: {kind}\n", "kubernetes")
    assert parsed.types == [named]
    assert parsed.documents[0].is_custom is (named != kind)


def test_the_groups_that_are_built_in_are_those_of_the_table():
    versions = {v for kind in load_schema().kinds.values() for v in kind.api_versions}
    groups = {version.rpartition("/")[0] for version in versions}
    assert {group for group in groups if "." in group} == BUILT_IN_GROUPS


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("1024Mi", "1Gi", True),
        (0.5, "500m", True),
        (1, "1", True),
        ("1000", "1k", True),
        ("1e3", "1k", True),
        ("1.5Gi", "1536Mi", True),
        ("1G", "1Gi", False),
        ("500m", "500M", False),
        ("a", "b", False),
        (True, 1, False),
        ("9" * 50, "9" * 50, True),
    ],
)
def test_equal_quantities_are_equal_however_they_are_written(one, other, equal):
    same = (isinstance(one, bool), quantity(one)) == (
        isinstance(other, bool),
        quantity(other),
    )
    assert same is equal


def test_times_and_dates_stay_text_as_kubernetes_reads_them():
    code = POD + "day: 2024-99-99\ntime: 22:30\nport: 80\nmode: 0644\nshare: 0.5\n"
    body = parse(code, "kubernetes").documents[0].body
    values = [body[key] for key in ("day", "time", "port", "mode", "share")]
    assert values == ["2024-99-99", "22:30", 80, 420, 0.5]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", "no manifest"),
        ("# kind: Pod", "no manifest"),
        ("Here is your pod.", "found str, expected a mapping"),
        ("Note: this is a pod.", "found no kind"),
        ("- kind: Pod", "found list"),
        ("kind: 3", "found kind '3'"),
        (POD + "---\nThat is all.", "document 2 is no manifest"),
        (POD + "spec: [1, 2", "expected ',' or ']'"),
        (POD + 'note: "x', "quoted scalar"),
        (POD + "  x: 1\n y: 2", "line 6"),
        (POD + "kind: Pod", "key 'kind' stands twice"),
        (POD + "metadata: &m {name: x}", "an anchor"),
        (POD + "spec: *m", "an alias"),
        (POD + "<<: {a: 1}", "a merge key"),
        (POD + "a: !!python/object/apply:os.system [ls]", "a tag"),
        (POD + "a: !Ref b", "a tag"),
        (POD + "? [a]\n: b", "a key that is no scalar"),
        (POD + "a: =x\nb: *", "line 6"),
    ],
)
def test_what_is_no_plain_manifest_does_not_parse(code, reason):
    parsed = parse(code, "kubernetes")
    assert parsed.problem is not None and reason in parsed.problem
    assert not parsed.documents


def test_a_manifest_that_stops_after_a_key_ends_open():
    assert parse(POD + "spec:\n  containers:", "kubernetes").ends_open
    assert parse(POD + "spec:\n  containers:\n  -", "kubernetes").ends_open
    assert not parse(POD, "kubernetes").ends_open
    script = POD + "data:\n  run: |\n    if true:\n"
    assert not parse(script, "kubernetes").ends_open


# --- paths -----------------------------------------------------------------------


def test_a_path_goes_through_lists_and_through_keys_with_dots():
    body = {
        "spec": {"ports": [{"port": 80}, {"port": 81}], "modes": ["a", "b"]},
        "labels": {"app.kubernetes.io/name": "web"},
    }
    assert list(values_at(body, "spec.ports.port")) == [80, 81]
    assert list(values_at(body, "spec.modes")) == [["a", "b"], "a", "b"]
    assert list(values_at(body, "labels.app.kubernetes.io/name")) == ["web"]
    assert list(values_at(body, "spec.nothing.here")) == []


# --- limits ----------------------------------------------------------------------


@pytest.fixture
def no_parser(monkeypatch):
    """Both parsers fail the test when they are called."""

    def called(*arguments):
        raise AssertionError("a parser was called")

    monkeypatch.setattr(
        "course_utils.projects.inframind.code.terraform.parses_to_tree", called
    )
    monkeypatch.setattr("course_utils.projects.inframind.code.kubernetes._load", called)
    parsing._parse.cache_clear()
    yield
    parsing._parse.cache_clear()


@pytest.mark.parametrize("language", ["terraform", "kubernetes"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{" * 1_000_000, "1000000 characters"),
        ("[" * 100_000 + "]" * 100_000, "200000 characters"),
        (within('a = "' + "x" * 50_000 + '"'), "characters, at most 16000"),
        ("x" * (MAX_CHARACTERS + 1), "characters, at most 16000"),
        (POD + "a: \0", "U+0000"),
        (POD + "a: \ud800", "U+D800"),
        ("a" + " " * (MAX_BLANK_RUN + 1), "blanks in a row"),
        (within("a = <<E\n" + "\n" * MAX_BLANK_RUN + " x\nE"), "blanks in a row"),
    ],
)
def test_a_text_over_the_limits_reaches_no_parser(no_parser, language, text, reason):
    assert reason in parse(text, language).problem


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (within("a = " + "[" * 40 + "]" * 40), f"deeper than {MAX_HCL_DEPTH}"),
        (within("a = " + "f(" * 40 + ")" * 40), f"deeper than {MAX_HCL_DEPTH}"),
        (within("a = " + '"${' * 40 + "b" + '}"' * 40), "nesting deeper"),
        ("a {\n" * 40 + "}\n" * 40, "nesting deeper"),
        (within("a = b" + "?c:d" * MAX_HCL_TOKENS)[:15_000], "tokens"),
        (within("a = 1" + "+1" * MAX_HCL_TOKENS), f"{MAX_HCL_TOKENS} tokens"),
        (within("a = 1" + "-1" * (MAX_MINUS_RUN + 1)), "'-digit' in a row"),
        (within("a = <<A\n" * 900), "never ends"),
        (within("a = /* " * 900), "never closed"),
        (within('a = "' + "$" * 9_000), f"{MAX_HCL_TOKENS} tokens"),
        (within('a = "' + "$${" * 3_000), "not closed on its line"),
        ("{" * 30, "never closed"),
    ],
)
def test_costly_terraform_reaches_no_parser(no_parser, code, reason):
    assert reason in parse(code, "terraform").problem


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: " + "[" * 15_000, f"deeper than {MAX_YAML_DEPTH}"),
        ("- " * 7_000, f"deeper than {MAX_YAML_DEPTH}"),
        ("? " * 7_000, f"deeper than {MAX_YAML_DEPTH}"),
        ("a: [" + "1," * (MAX_YAML_NODES + 1) + "1]", f"more than {MAX_YAML_NODES}"),
        ("---\n" * 3_500, f"more than {MAX_YAML_NODES}"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "an anchor"),
    ],
)
def test_yaml_that_would_explode_is_refused_while_it_is_read(text, reason):
    assert reason in parse(text, "kubernetes").problem


def test_texts_at_the_limits_are_still_read():
    deep = MAX_HCL_DEPTH - 1  # the resource's own brace is the first
    assert parse(within("a = " + "[" * deep + "]" * deep), "terraform").problem is None
    chain = within("a = 1" + "+1" * 1_990)
    assert parse(chain, "terraform").problem is None
    run = within("a = 1" + "-1" * MAX_MINUS_RUN)
    assert parse(run, "terraform").problem is None
    digits = parse(POD + "a: " + "1" * 5_000, "kubernetes")
    assert digits.documents[0].body["a"] == "1" * 5_000
    sixties = parse(POD + "a: 1" + ":59" * 5_000 + ".1", "kubernetes")
    assert sixties.problem is None


def test_a_text_is_parsed_once_and_long_texts_are_not_remembered(monkeypatch):
    calls = []
    monkeypatch.setattr(parsing, "parse_kubernetes", calls.append)
    parsing._parse.cache_clear()
    for _ in range(3):
        parse(POD + "once: 1", "kubernetes")
    assert len(calls) == 1
    parse("x" * (MAX_CHARACTERS + 1), "kubernetes")
    assert parsing._parse.cache_info().currsize == 1
    assert parsing._parse.cache_info().maxsize == REMEMBERED_TEXTS
    parsing._parse.cache_clear()


def test_a_language_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match=r"'bicep'.*terraform, kubernetes"):
        parse("x", "bicep")


# --- schema ----------------------------------------------------------------------


def test_a_schema_names_every_fault_at_once(tmp_path):
    (tmp_path / "terraform.yaml").write_text(
        "resources:\n  a: {required: [x], optional: [x]}\n  b: {optinal: [y]}\n"
        "  c: {blocks: {d: {required: e}}}\n"
    )
    (tmp_path / "kubernetes.yaml").write_text(
        "kinds:\n  Pod: {required: [spec.x], fields: {}}\n  Job: {api_versions: [v1], "
        "required: [spec.nodes], fields: {spec: [containers]}}\n"
    )
    with pytest.raises(FaultyData) as caught:
        load_schema(tmp_path)
    assert [str(fault) for fault in caught.value.faults] == [
        "terraform.yaml, line 2, a: found x as required and optional, expected one",
        "terraform.yaml, line 3, b.optinal: found the key 'optinal', "
        "expected no such key: a typing error?",
        "terraform.yaml, line 4, c.blocks.d.required: found 'e', expected a list",
        "kubernetes.yaml, line 2, Pod.api_versions: found nothing among the keys "
        "required, fields, expected the key api_versions",
        "kubernetes.yaml, line 3, Job.required: found spec.nodes, "
        "expected a listed field",
    ]


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("resources:\n  a: {}\n  b: {}\n  a: {}\n", 4, "the key 'a' twice"),
        ("resources:\n\ta: {}\n", 2, "cannot start any token"),
        ("resources: [1", 1, "expected ',' or ']'"),
        ("[" * 5000, 1, "maximum recursion depth"),
        ("kinds: {}\n", 1, "nothing"),
        ("resources: {}\n", 1, "no entries"),
        ("resources:\n  a: 3\n", 2, "3"),
        ("", 1, "nothing"),
    ],
)
def test_a_file_that_is_no_table_is_named_with_its_line(tmp_path, text, line, found):
    (tmp_path / "terraform.yaml").write_text(text)
    (tmp_path / "kubernetes.yaml").write_text("kinds:\n  Pod: {api_versions: [v1]}\n")
    with pytest.raises(FaultyData) as caught:
        load_schema(tmp_path)
    [fault] = caught.value.faults
    assert (fault.file, fault.line) == ("terraform.yaml", line)
    assert found in fault.found


def test_a_name_may_be_an_argument_a_block_or_both():
    made = {"required": ["a", "b"], "optional": ["c"], "blocks": {"b": {}, "c": {}}}
    schema = Schema({"x": made}, {}).resources["x"]
    takes = {name: schema.takes_argument(name) for name in "abcd"}
    assert takes == {"a": True, "b": False, "c": True, "d": False}


def test_a_type_is_invented_only_where_all_names_of_its_provider_are_listed():
    schema = Schema({"aws_sqs_queue": {}}, {}, frozenset({"aws_ami", "null_resource"}))
    states = {
        "aws_sqs_queue": False,
        "aws_ami": False,
        "aws_versioning": True,
        "null_thing": True,
        "google_storage_bucket": False,
        "awscc_s3_bucket": False,
        "bucket": True,
    }
    assert {name: schema.is_invented(name) for name in states} == states


def test_the_list_of_types_has_those_of_the_table_and_the_helpers():
    schema = load_schema()
    aws = {name for name in schema.listed if name.startswith("aws_")}
    assert (len(schema.resources), len(aws), len(schema.listed)) == (156, 1_683, 1_705)
    assert set(schema.resources) < aws
    helpers = "archive aws cloudinit local null random terraform time tls"
    assert schema.providers == set(helpers.split())


# --- rows ------------------------------------------------------------------------


def example(**changes):
    made = {"id": "tf-1", "instruction": "A bucket.", "input": "", "output": BUCKET}
    return made | changes


def prompt(**changes):
    expect = {"language": "terraform", "resources": ["aws_s3_bucket"], "values": []}
    made = {"id": "s-1", "group": "one", "instruction": "A queue.", "input": ""}
    return made | {"expect": expect, "note": "a bucket", "reference": BUCKET} | changes


def write(folder, **files):
    for name, rows in files.items():
        text = "\n".join(json.dumps(row) for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"output": " "}, "output"),
        ({"instruction": None}, "instruction"),
        ({"input": None}, "input"),
    ],
)
def test_an_example_without_its_texts_is_a_fault(tmp_path, changes, field):
    write(tmp_path, validation=[example(id="fine"), example(**changes)])
    with pytest.raises(FaultyData) as caught:
        load_split(tmp_path, "validation")
    assert [(f.line, f.field) for f in caught.value.faults] == [(2, field)]


@pytest.mark.parametrize(
    ("expect", "field"),
    [
        (None, "expect"),
        ({"language": "bicep", "resources": ["a"], "values": []}, "expect.language"),
        ({"language": "terraform", "resources": [], "values": []}, "expect.resources"),
        ({"language": "none", "resources": ["a"], "values": []}, "expect.resources"),
        (
            {"language": "terraform", "resources": ["a"], "values": [["b", "c", 1]]},
            "expect.values",
        ),
        (
            {"language": "terraform", "resources": ["a"], "values": [["a", "c", []]]},
            "expect.values[0]",
        ),
        ({"language": "terraform", "resources": ["a"]}, "expect.values"),
    ],
)
def test_a_prompt_whose_expectation_cannot_be_checked_is_a_fault(
    tmp_path, expect, field
):
    write(tmp_path, stress=[prompt(expect=expect)])
    with pytest.raises(FaultyData) as caught:
        load_prompts(tmp_path)
    assert [f.field for f in caught.value.faults] == [field]


def test_a_held_out_request_cannot_slip_into_training(tmp_path):
    rows = [example(), example(id="tf-2", instruction="a  QUEUE.")]
    again = example(id="tf-3", instruction="A role.")
    validation = [example(id="v-1", instruction="A role.")]
    write(tmp_path, train=[*rows, again], validation=validation, stress=[prompt()])
    with pytest.raises(FaultyData) as caught:
        load_split(tmp_path, "train")
    found = [(f.line, f.field, f.found) for f in caught.value.faults]
    assert found == [
        (2, "request", "the request of held-out row 's-1'"),
        (3, "request", "the request of held-out row 'v-1'"),
    ]


def test_a_prompt_cannot_expect_what_the_schema_does_not_have(tmp_path):
    write(tmp_path, stress=[prompt()])
    schema = Schema({"aws_sqs_queue": {}}, {})
    with pytest.raises(FaultyData, match="a type or kind of the schema"):
        load_prompts(tmp_path, schema=schema)


@pytest.mark.parametrize(
    ("text", "language", "types"),
    [(BUCKET, "terraform", ["aws_s3_bucket"]), (POD, "kubernetes", ["Pod"])],
)
def test_bare_code_says_itself_what_it_holds(text, language, types):
    wanted = {"language": language, "resources": types, "values": [], "exists": []}
    assert expectation(text) == wanted


def test_bare_code_says_what_must_have_been_there_before():
    text = within("policy = aws_iam_policy.a.arn\n  b = aws_s3_bucket.logs.id")
    assert expectation(text)["exists"] == ["aws_iam_policy.a"]


def test_what_a_request_says_is_asked_for_once_and_a_writers_choice_is_not():
    code = (
        'resource "aws_sqs_queue" "jobs" {\n  name = "jobs"\n  delay_seconds = 90\n'
        "  fifo_queue = true\n  kms_master_key_id = aws_kms_key.main.arn\n"
        '  tags = {\n    Name = "jobs"\n    Team = "data"\n  }\n}\n'
    )
    request = "A queue jobs, delay 90 s, key aws_kms_key.main, true to its database."
    assert expectation(code, request)["values"] == [
        ["aws_sqs_queue", "name", "jobs"],
        ["aws_sqs_queue", "delay_seconds", 90],
        ["aws_sqs_queue", "kms_master_key_id", {"refers_to": "aws_kms_key.main"}],
    ]
    assert expectation(code, "90.5 or 190 jobs-a")["values"] == []
    manifest = POD + "spec:\n  containers:\n  - image: a/web:1.2\n  - name: web\n"
    assert expectation(manifest, "a Pod web of a/web:1.2")["values"] == [
        ["Pod", "metadata.name", "web"],
        ["Pod", "spec.containers.image", "a/web:1.2"],
    ]


def test_code_in_a_fence_or_beside_words_is_not_bare():
    for text in (f"```\n{BUCKET}```", f"Sure:\n{BUCKET}", BUCKET[:-3], "Hello.", ""):
        assert expectation(text) is None

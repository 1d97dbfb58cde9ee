"""The names that Terraform's AWS provider and Kubernetes know, and code held to them.

Two YAML files in data/iac say which arguments a resource type has and which fields a
kind has, and a list names every type of some providers. So a name is one of three:
known; invented, where all names of its kind are listed and it is not among them; or
unknown, where nobody here can say. Unknown are what a type holds that is only listed,
other providers, their functions, and custom resources: they are not judged. A name
counts once: a known argument repeated in twenty blocks does not outweigh an invented
one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from course_utils.data.files import FaultyData, read_table, refusal
from course_utils.places import DATA_FOLDER
from course_utils.projects.inframind.code.blocks import (
    Body,
    Document,
    Parsed,
    Resource,
    values_at,
)
from course_utils.projects.inframind.code.references import (
    SELECTING,
    selects_its_own,
    undeclared,
    unknown_volumes,
)
from course_utils.projects.inframind.code.terraform import LABELS

IAC_FOLDER = DATA_FOLDER / "iac"
META_NAMES = (  # Terraform takes these in every resource: neither known nor invented
    *("count", "for_each", "depends_on", "provider"),
    *("lifecycle", "provisioner", "connection"),
)
RESTARTS = {
    "Job": "spec.template.spec",
    "CronJob": "spec.jobTemplate.spec.template.spec",
}
FOREIGN_FUNCTION = re.compile(r"provider::(?!(?:aws|terraform)::)\w")
GENERATED_NAME = ("metadata", "generateName")  # the API server makes a name of it


@dataclass(frozen=True, config={"extra": "forbid"})
class BlockSchema:
    """What a resource, or a block within one, may and must hold.

    A nested block whose name is also in `optional` may be written both ways,
    `ingress { … }` and `ingress = [ … ]`.
    """

    required: tuple[str, ...] = ()  # arguments and blocks
    optional: frozenset[str] = frozenset()  # arguments
    blocks: Mapping[str, BlockSchema] = field(default_factory=dict)

    @model_validator(mode="after")
    def _required_or_optional(self) -> BlockSchema:
        if both := self.optional.intersection(self.required):
            raise refusal("one", f"{', '.join(sorted(both))} as required and optional")
        return self

    def takes_argument(self, name: str) -> bool:
        """Whether `name = …` may stand there."""
        required = name in self.required and name not in self.blocks
        return required or name in self.optional


_CONDITION = BlockSchema(required=("condition", "error_message"))
LIFECYCLE = BlockSchema(
    optional=frozenset(
        {
            *("create_before_destroy", "prevent_destroy"),
            *("ignore_changes", "replace_triggered_by"),
        }
    ),
    blocks={"precondition": _CONDITION, "postcondition": _CONDITION},
)
_SHOWN = {"description", "sensitive", "ephemeral"}
TOP_BLOCKS = {  # of Terraform itself, as of version 1.12
    "variable": BlockSchema(
        optional=frozenset({*_SHOWN, "type", "default", "nullable"}),
        blocks={"validation": _CONDITION},
    ),
    "output": BlockSchema(
        required=("value",),
        optional=frozenset({*_SHOWN, "depends_on"}),
        blocks={"precondition": _CONDITION},
    ),
}


@dataclass(frozen=True, config={"extra": "forbid"})
class KindSchema:
    """What a Kubernetes kind may and must hold.

    `fields` has names by the path of their parent; "" is the manifest itself. Below a
    path that is not listed (labels, data), any name is right.
    """

    api_versions: tuple[str, ...]  # those under which the kind is served
    required: tuple[str, ...] = ()  # dotted paths; through a list, in each element
    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @model_validator(mode="after")
    def _served_and_listed(self) -> KindSchema:
        if not self.api_versions:
            raise refusal("at least one", "none", "api_versions")
        for path in self.required:
            parent, _, name = path.rpartition(".")
            if name not in self.fields.get(parent, {name}):
                raise refusal("a listed field", path, "required")
        return self


@dataclass(frozen=True)
class Schema:
    """Resource types and kinds by name."""

    resources: Mapping[str, BlockSchema]
    kinds: Mapping[str, KindSchema]
    listed: frozenset[str] = frozenset()  # types of which the name alone is known

    @cached_property
    def providers(self) -> frozenset[str]:
        """Those whose every resource type is in `resources` or `listed`."""
        return frozenset(name.split("_")[0] for name in (*self.resources, *self.listed))

    def is_invented(self, type_name: str) -> bool:
        """Whether no provider has such a resource type, as far as is known here.

        A type's name begins with its provider's and an underscore, so a name without
        one is nobody's.
        """
        if type_name in self.resources or type_name in self.listed:
            return False
        provider, underscore, _ = type_name.partition("_")
        return not underscore or provider in self.providers


@cache
def load_schema(folder: Path = IAC_FOLDER) -> Schema:
    """Read and check the two tables, and the list if there is one; 0.5 s, once.

    Raises:
        FaultyData: With every fault of both; see `files.read_table`.
    """
    tables, faults = [], []
    for name, form, below in (
        ("terraform.yaml", BlockSchema, "resources"),
        ("kubernetes.yaml", KindSchema, "kinds"),
    ):
        try:
            tables.append(read_table(folder / name, form, below))
        except FaultyData as error:
            faults += error.faults
    if faults:
        raise FaultyData(faults)
    path = folder / "terraform_types.txt"
    return Schema(*tables, listed=_words(path) if path.exists() else frozenset())


@cache
def _words(path: Path) -> frozenset[str]:
    """Names of a list; its comments say where they are from."""
    return frozenset(re.sub("(?m)^#.*", "", path.read_text(encoding="utf-8")).split())


def _is_function(name: str) -> bool | None:
    """Whether a Terraform expression can call it; None for one of another provider."""
    if name in _words(IAC_FOLDER / "terraform_functions.txt"):
        return True
    return None if FOREIGN_FUNCTION.match(name) else False


class Findings:
    """Counts over one answer."""

    def __init__(self) -> None:
        self.names: dict[str, bool] = {}  # whether the schema knows it
        # An ordered set; what an invented type or kind holds counts in `names` alone
        self.invented: dict[str, None] = {}
        self.unknown: dict[str, None] = {}  # types, kinds and functions not judged
        self.needs: list[bool] = []  # whether it is there, of all that is required

    def name(self, name: str, known: bool, *, listed: bool = True) -> None:
        """Note a name."""
        if listed and not known:
            self.invented[name] = None
        self.names.setdefault(name, known)

    def name_or_not(self, name: str, known: bool | None) -> None:
        """Note a name that may be unknown, which is not judged."""
        if known is None:
            self.unknown[name] = None
        else:
            self.name(name, known)


def examine(parsed: Parsed, schema: Schema, exists: Collection[str] = ()) -> Findings:
    """Hold what was parsed against what is known.

    `exists` has the addresses that the answer need not declare.
    """
    findings = Findings()
    for name in parsed.stray_arguments:
        findings.name(f"{name} outside of a block", False)
    for block in parsed.others:
        findings.name(block.keyword, block.keyword in LABELS)
        if known := TOP_BLOCKS.get(block.keyword):
            _examine_body(block.keyword, block.body, known, findings)
    for resource in parsed.resources:
        _examine_resource(resource, schema, findings)
    for address in undeclared(parsed):
        findings.name(f"{address}, not declared", address in exists)
    for function in parsed.functions:
        findings.name_or_not(f"{function}()", _is_function(function))
    for document in parsed.documents:
        _examine_document(document, schema, findings)
    return findings


def _examine_resource(resource: Resource, schema: Schema, findings: Findings) -> None:
    kind, body = resource.type, resource.body
    known = schema.resources.get(kind)
    if known is None and not schema.is_invented(kind):
        findings.unknown[kind] = None
        return
    findings.name(kind, known is not None)
    if known is None:
        for name in [*body.arguments, *dict(body.blocks)]:
            findings.name(f"{kind}.{name}", False, listed=False)
        return
    own = {name: v for name, v in body.arguments.items() if name not in META_NAMES}
    blocks = tuple(block for block in body.blocks if block[0] not in META_NAMES)
    _examine_body(kind, Body(own, blocks), known, findings)
    for name, inner in body.blocks:
        if name == "lifecycle":
            _examine_body(f"{kind}.{name}", inner, LIFECYCLE, findings)


def _examine_body(path: str, body: Body, schema: BlockSchema, found: Findings) -> None:
    """Names and requirements of a body; `schema.blocks` is followed inwards."""
    there = set()
    for name, value in body.arguments.items():
        known = schema.takes_argument(name)
        form = " as an argument" if name in schema.blocks and not known else ""
        found.name(f"{path}.{name}{form}", known)
        if known and value is not None:  # null leaves it out
            there.add(name)
    for name, inner in body.blocks:
        known = name in schema.blocks
        form = " as a block" if schema.takes_argument(name) and not known else ""
        found.name(f"{path}.{name}{form}", known)
        if known:
            there.add(name)
            _examine_body(f"{path}.{name}", inner, schema.blocks[name], found)
    found.needs += [name in there for name in schema.required]


def _examine_document(document: Document, schema: Schema, findings: Findings) -> None:
    kind, version, body = document.kind, document.api_version, document.body
    if document.is_custom:
        findings.unknown[document.type] = None
        return
    known = schema.kinds.get(f"{kind} in {version}", schema.kinds.get(kind))
    findings.name(kind, known is not None)
    findings.needs.append(version != "")
    if known is None:
        for name in body:
            findings.name(f"{kind}.{name}", False, listed=False)
        return
    if version:
        findings.name(f"{kind} in {version}", version in known.api_versions)
    _examine_fields(kind, "", body, known.fields, findings)
    for path in _required(document, known):
        named = path == "metadata.name" and _everywhere(body, GENERATED_NAME)
        findings.needs.append(named or _everywhere(body, path.split(".")))
    if kind in RESTARTS:  # what has ended and would start again is refused
        policies = values_at(body, f"{RESTARTS[kind]}.restartPolicy")
        findings.needs.append("Always" not in policies)
    if kind in SELECTING:
        findings.needs.append(selects_its_own(document))
    for volume in unknown_volumes(document):
        findings.name(f"volume {volume}, not declared", False)


def _required(document: Document, known: KindSchema) -> list[str]:
    """Paths; a Service that is a name, or has no IP of its own, needs no ports."""
    paths, spec = list(known.required), document.body.get("spec")
    if document.kind != "Service" or not isinstance(spec, Mapping):
        return paths
    is_name = spec.get("type") == "ExternalName"
    if "ports" not in spec and (is_name or spec.get("clusterIP") == "None"):
        paths = [path for path in paths if not path.startswith("spec.ports")]
    return [*paths, "spec.externalName"] if is_name else paths


def _examine_fields(
    kind: str, path: str, node: Any, fields: Mapping, found: Findings
) -> None:
    """Fields of a mapping, or of each mapping of a list, and of what they hold."""
    if isinstance(node, list):
        for element in node:
            _examine_fields(kind, path, element, fields, found)
    for name, value in node.items() if isinstance(node, Mapping) else ():
        inner = f"{path}.{name}" if path else str(name)
        if path in fields:
            found.name(f"{kind}.{inner}", name in fields[path])
        _examine_fields(kind, inner, value, fields, found)


def _everywhere(node: Any, names: Sequence[str]) -> bool:
    """Whether a path has a value, in each element of the lists on its way."""
    if isinstance(node, list) and names:
        return bool(node) and all(_everywhere(element, names) for element in node)
    if not names:
        return node is not None
    return isinstance(node, Mapping) and _everywhere(node.get(names[0]), names[1:])

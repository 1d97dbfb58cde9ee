"""What infrastructure code consists of once it is parsed: plain, immutable records.

A body is shared between all who ask for the same text (see `parsing.parse`), so
nobody changes one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LANGUAGES = ("terraform", "kubernetes")
# API groups with a dot that Kubernetes itself serves; a custom resource must have one
BUILT_IN_GROUPS = frozenset(
    f"{name}.k8s.io"
    for name in (
        *("admissionregistration", "apiextensions", "apiregistration"),
        *("authentication", "authorization", "rbac.authorization", "certificates"),
        *("coordination", "discovery", "events", "flowcontrol.apiserver"),
        *("internal.apiserver", "lifecycle", "networking", "node", "resource"),
        *("scheduling", "storage", "storagemigration"),
    )
)


@dataclass(frozen=True)
class Expression:
    """A Terraform value that only a run could know: a reference, a call, a template."""

    text: str
    merged: tuple[Any, ...] = ()  # what `merge(…)` is given, later ones first in force


@dataclass(frozen=True)
class Body:
    """What stands between the braces of a Terraform block."""

    # strings, numbers, booleans, None, lists, dicts, or an `Expression`
    arguments: Mapping[str, Any] = field(default_factory=dict)
    # in order; a `dynamic "ingress"` block is the `ingress` block that it makes
    blocks: tuple[tuple[str, Body], ...] = ()


@dataclass(frozen=True)
class Resource:
    """A Terraform block `resource "type" "name" { body }`."""

    type: str
    name: str
    body: Body


@dataclass(frozen=True)
class TopBlock:
    """Any other Terraform block of the top level: provider, variable, output, …"""

    keyword: str
    labels: tuple[str, ...]
    body: Body


@dataclass(frozen=True)
class Document:
    """A Kubernetes manifest: the whole mapping, and two of its fields as text."""

    kind: str
    api_version: str  # empty when the manifest has none
    body: Mapping[str, Any]

    @property
    def is_custom(self) -> bool:
        """Whether its API group can only be that of a custom resource."""
        group = self.api_version.rpartition("/")[0]
        return "." in group and group not in BUILT_IN_GROUPS

    @property
    def type(self) -> str:
        """The kind; a custom one with its group, since `Service` is also Knative's."""
        group = self.api_version.rpartition("/")[0]
        return f"{self.kind}.{group}" if self.is_custom else self.kind


@dataclass(frozen=True)
class Parsed:
    """Code of one language, or the reason why it is none."""

    resources: tuple[Resource, ...] = ()
    others: tuple[TopBlock, ...] = ()
    documents: tuple[Document, ...] = ()
    stray_arguments: tuple[str, ...] = ()  # Terraform's, outside of every block
    functions: tuple[str, ...] = ()  # that are called; `a::b` even where nothing parses
    ends_open: bool = False  # whether the last YAML key has no value: cut off there?
    problem: str | None = None  # why it does not parse

    @property
    def types(self) -> list[str]:
        """Resource types and kinds, one for each resource or manifest."""
        return [r.type for r in self.resources] + [d.type for d in self.documents]


def values_at(node: Any, path: str) -> Iterator[Any]:
    """Every value that a dotted path leads to in a `Body` or a manifest.

    Lists and repeated blocks are walked through: any element may hold the value.
    A key may itself hold dots (`metadata.labels.app.kubernetes.io/name`).
    """
    yield from _at(node, path.split("."))


def _at(node: Any, names: Sequence[str]) -> Iterator[Any]:
    if not names:
        yield node
    for element in node if isinstance(node, list) else ():
        yield from _at(element, names)
    for count in range(1, len(names) + 1):
        for child in _children(node, ".".join(names[:count])):
            yield from _at(child, names[count:])


def _children(node: Any, name: str) -> list[Any]:
    if isinstance(node, Body):
        nested = [body for key, body in node.blocks if key == name]
        return [node.arguments[name], *nested] if name in node.arguments else nested
    return [node[name]] if isinstance(node, Mapping) and name in node else []

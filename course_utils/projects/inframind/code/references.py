"""What code refers to must be there: Terraform's addresses, Kubernetes' labels.

`terraform validate` refuses a reference to a resource that nobody declares, and the API
server refuses a Deployment whose selector misses its own pods. A model that has learnt
names alone writes both. What exists already, outside of the answer, only the request
can say: see `exists` of an expectation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from course_utils.projects.inframind.code.blocks import (
    Body,
    Document,
    Expression,
    Parsed,
    values_at,
)

ADDRESS = re.compile(  # a word right after a quote or slash is one of a text
    r"(?<![\w.\-\"/])(?:(?:data\.)?aws_\w+|var|local|module)\.[A-Za-z_][\w-]*"
)
DECLARES = {"data": "data.", "variable": "var.", "module": "module."}
NO_REFERENCE = ("import", "moved", "removed")  # their addresses may be of the past
TEMPLATE = "spec.template"
# The API server refuses one of these whose selector misses its own pods
SELECTING = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")
POD_PATHS = ("spec", f"{TEMPLATE}.spec", f"spec.jobTemplate.{TEMPLATE}.spec")


def addresses(node: Any) -> Iterator[str]:
    """Addresses such as `aws_vpc.main`, `var.zone` in a body or value, repeats too.

    Only of expressions: a plain string refers to nothing.
    """
    if isinstance(node, Expression):
        yield from ADDRESS.findall(node.text)
    elif isinstance(node, Body):
        yield from addresses([*node.arguments.values(), *(b for _, b in node.blocks)])
    elif isinstance(node, Mapping):
        yield from addresses(list(node.values()))
    elif isinstance(node, list):
        for element in node:
            yield from addresses(element)


def undeclared(parsed: Parsed) -> list[str]:
    """Addresses that a Terraform text refers to and does not declare, each once."""
    declared = {f"{resource.type}.{resource.name}" for resource in parsed.resources}
    for block in parsed.others:
        if block.keyword in DECLARES:
            declared.add(DECLARES[block.keyword] + ".".join(block.labels))
        elif block.keyword == "locals":
            declared |= {f"local.{name}" for name in block.body.arguments}
    bodies = [resource.body for resource in parsed.resources]
    bodies += [b.body for b in parsed.others if b.keyword not in NO_REFERENCE]
    return [name for name in dict.fromkeys(addresses(bodies)) if name not in declared]


def pod_labels(document: Document) -> Mapping[str, Any]:
    """Labels of the pods that a manifest makes: a Pod's own, or its template's."""
    path = "metadata.labels"
    if document.kind != "Pod":
        path = f"{TEMPLATE}.{path}"
    found = next(values_at(document.body, path), None)
    return found if isinstance(found, Mapping) else {}


def selects(selector: Any, document: Document) -> bool:
    """Whether a selector of labels, not empty, picks the pods of a manifest."""
    if not isinstance(selector, Mapping) or not selector:
        return False
    return selector.items() <= pod_labels(document).items()


def selects_its_own(document: Document) -> bool:
    """Whether the `matchLabels` of a SELECTING kind stand on its own pod template.

    Also where the selector uses expressions alone, which are not read.
    """
    wanted = next(values_at(document.body, "spec.selector.matchLabels"), None)
    return not wanted or selects(wanted, document)


def unknown_volumes(document: Document) -> list[str]:
    """Names that a pod's containers mount and that it does not declare, each once."""
    claims = values_at(document.body, "spec.volumeClaimTemplates.metadata.name")
    declared, mounted = {str(name) for name in claims}, {}
    for path in POD_PATHS:
        declared |= {str(n) for n in values_at(document.body, f"{path}.volumes.name")}
        for containers in ("containers", "initContainers"):
            names = f"{path}.{containers}.volumeMounts.name"
            mounted |= dict.fromkeys(map(str, values_at(document.body, names)))
    return [name for name in mounted if name not in declared]

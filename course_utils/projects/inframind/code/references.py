"""What code refers to must be there: Terraform's addresses, Kubernetes' labels.

`terraform validate` refuses a reference to a resource that nobody declares, and the API
server refuses a Deployment whose selector misses its own pods. A model that has learnt
names alone writes both. What exists already, outside of the answer, only the request
can say: see `exists` of an expectation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from course_utils.projects.inframind.code.blocks import (
    Body,
    Document,
    Expression,
    Parsed,
    values_at,
)

NOT_WITHIN = r"(?<![\w.\-\"/])"  # a word right after a quote or slash is one of a text
ADDRESS = re.compile(
    NOT_WITHIN + r"(?:(?:data\.)?aws_\w+|var|local|module)\.[A-Za-z_][\w-]*"
)
ANY_NAME = r"[\w-]+(?:\[[^\]]*\])?"
ALONE = re.compile(r'(?:"\$\{\s*)?(?P<name>(?:local|var)\.[A-Za-z_][\w-]*)(?:\s*\}")?')
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


def refers_to(node: Any, address: str) -> bool:
    """Whether a value leads to an address: "aws_vpc", "aws_vpc.a", "aws_vpc.*.id"."""
    if isinstance(node, list):
        return any(refers_to(element, address) for element in node)
    if not isinstance(node, Expression):
        return False
    form = re.escape(address).replace(r"\*", ANY_NAME)
    return re.search(rf"{NOT_WITHIN}{form}(?![\w-])", node.text) is not None


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


def settled(node: Any, parsed: Parsed) -> Any:
    """A body or value with what can be looked up in the text itself, one step.

    `local.x` becomes what `locals` says, `var.x` the variable's default, and `merge(…)`
    the keys that its last arguments give for certain. All else stays as it is, and so
    do the elements of lists.
    """
    return _settled(node, _definitions(parsed))


def _definitions(parsed: Parsed) -> dict[str, Any]:
    found = {}
    for block in parsed.others:
        arguments = block.body.arguments
        if block.keyword == "locals":
            found |= {f"local.{name}": value for name, value in arguments.items()}
        elif block.keyword == "variable" and arguments.get("default") is not None:
            found[f"var.{block.labels[0]}"] = arguments["default"]
    return found


def _settled(node: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(node, Expression):
        alone = ALONE.fullmatch(node.text)
        if alone and alone["name"] in known:
            return known[alone["name"]]
        return _certain(node.merged, known) if node.merged else node
    if isinstance(node, Body):
        blocks = tuple((name, _settled(inner, known)) for name, inner in node.blocks)
        return Body(_settled(node.arguments, known), blocks)
    if isinstance(node, Mapping):
        return {name: _settled(value, known) for name, value in node.items()}
    return node  # lists as they are: many times a long one would cost seconds


def _certain(merged: Sequence[Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of merged objects, up to the first from the end that cannot be seen."""
    certain: dict[str, Any] = {}
    for given in reversed(merged):
        given = _settled(given, known)
        if not isinstance(given, Mapping):
            break
        certain = {**given, **certain}
    return certain


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

"""Kubernetes manifests, read by PyYAML with everything refused that could explode.

The text comes from a model: it is parsed and never applied. Of YAML, a manifest needs
mappings, lists and scalars. Anchors and aliases (a few lines of them unfold to
gigabytes), tags (`!!python/object`), merge keys and keys that stand twice are
problems, not features.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode

from course_utils.projects.inframind.code.blocks import Document, Parsed

MAX_YAML_DEPTH = 32  # a pod template's deepest field is at 12; PyYAML recurses
MAX_YAML_NODES = 2_000  # a large Deployment has 150; 0.1 ms each in pure Python
MERGE_TAG = "tag:yaml.org,2002:merge"
TEXT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")  # left as it is
# Kubernetes has no numbers to the base of 60 (22:30) nor of more than 40 digits
NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(
        r"[-+]?(?:0b[01]{1,40}|0x[0-9a-fA-F]{1,40}|0[0-7]{0,40}|[1-9][0-9]{0,40})$"
    ),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(?:[0-9]{1,40}\.[0-9]{0,40}|\.[0-9]{1,40}|[0-9]{1,40}(?=[eE]))"
        r"(?:[eE][-+]?[0-9]{1,4})?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
    ),
}
# Below these, a number is an amount that may be written in several ways
QUANTITY_PATH = re.compile(
    r"\.(?:limits|requests|capacity|hard|sizeLimit|averageValue|podFixed)\b"
)
QUANTITY = re.compile(
    r"([-+]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40}))"
    r"(?:([numkMGTPE]|[KMGTPE]i)|[eE]([-+]?[0-9]{1,2}))?"
)
SCALES = {
    **{sign: Fraction(10) ** (3 * n) for n, sign in enumerate("num", start=-3)},
    **{sign: Fraction(10) ** (3 * n) for n, sign in enumerate("kMGTPE", start=1)},
    **{f"{sign}i": Fraction(1024) ** n for n, sign in enumerate("KMGTPE", start=1)},
}


def quantity(value: Any) -> Any:
    """The amount that Kubernetes reads: 1024Mi is 1Gi, 0.5 is 500m. Else the value."""
    found = QUANTITY.fullmatch(str(value))
    if found is None or isinstance(value, bool):
        return value
    number, suffix, exponent = found.groups()
    return Fraction(number) * SCALES.get(suffix, 1) * Fraction(10) ** int(exponent or 0)


class _GuardedLoader(yaml.SafeLoader):
    """Counts, and refuses while it composes: nothing is unfolded."""

    # Kubernetes reads YAML as JSON, which has no dates
    yaml_implicit_resolvers = {  # noqa: RUF012, PyYAML's own name
        first: [(tag, NUMBERS.get(tag, form)) for tag, form in forms if tag not in TEXT]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    _depth = _nodes = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """As PyYAML's, after a look at the event."""
        event = self.peek_event()
        self._nodes += 1
        self._depth += 1
        for refused, what in (
            (isinstance(event, yaml.AliasEvent), "an alias (*name)"),
            (event.anchor is not None, "an anchor (&name)"),
            (getattr(event, "tag", None) is not None, "a tag (!name)"),
            (self._nodes > MAX_YAML_NODES, f"more than {MAX_YAML_NODES} values"),
            (self._depth > MAX_YAML_DEPTH, f"nesting deeper than {MAX_YAML_DEPTH}"),
        ):
            if refused:
                raise yaml.MarkedYAMLError(problem=what, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict:
        """As PyYAML's, for keys that are plain scalars and stand once."""
        seen = set()
        for key, _ in node.value:
            refused = None
            if not isinstance(key, ScalarNode):
                refused = "a key that is no scalar"
            elif key.tag == MERGE_TAG:
                refused = "a merge key (<<)"
            elif key.value in seen:
                refused = f"key {key.value[:40]!r} stands twice in a mapping"
            if refused:
                raise ConstructorError(problem=refused, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_kubernetes(code: str) -> Parsed:
    """The manifests of a text; use `parsing.parse`, which keeps what it parsed.

    Every document that is not empty must be a mapping with a `kind`: a sentence is
    YAML as well, and a manifest it is not.
    """
    try:
        contents = _load(code)
    except yaml.MarkedYAMLError as error:
        return Parsed(problem=_tell(error))
    except (yaml.YAMLError, ValueError, ArithmeticError, RecursionError) as error:
        return Parsed(problem=f"not YAML: {type(error).__name__}: {str(error)[:80]}")
    for number, content in enumerate(contents, start=1):
        for item in _items(content):
            if problem := _not_a_manifest(item):
                return Parsed(problem=f"document {number} is no manifest: {problem}")
    documents = tuple(_document(item) for each in contents for item in _items(each))
    if not documents:
        return Parsed(problem="no manifest: the text is empty or only comments")
    return Parsed(documents=documents, ends_open=_ends_open(code, contents[-1]))


def _load(code: str) -> list[Any]:
    contents = yaml.load_all(code, _GuardedLoader)
    return [content for content in contents if content is not None]


def _items(content: Any) -> list[Any]:
    """The manifests of a document: those of a List, as kubectl takes it, or itself."""
    if isinstance(content, dict) and "apiVersion" in content:
        items = content.get("items")
        if str(content.get("kind")).endswith("List") and isinstance(items, list):
            return items
    return [content]


def _tell(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = f"line {mark.line + 1}: " if mark else ""
    context = f" {error.context}" if error.context else ""
    return f"not YAML as manifests need it: {line}{error.problem}{context}"


def _not_a_manifest(content: Any) -> str:
    if not isinstance(content, dict):
        return f"found {type(content).__name__}, expected a mapping of fields"
    kind = content.get("kind")
    if isinstance(kind, str) and kind.strip():
        return ""
    found = "no kind" if kind is None else f"kind {str(kind)[:40]!r}"
    return f"found {found}, expected a name such as Deployment"


def _document(content: dict[str, Any]) -> Document:
    version = content.get("apiVersion")
    text = "" if version is None else str(version)[:80]
    return Document(content["kind"], text, content)


def _ends_open(code: str, last: Any) -> bool:
    """Whether the text stops after `key:` or `-`, so that a value is missing."""
    while isinstance(last, dict | list) and last:
        last = list(last.values())[-1] if isinstance(last, dict) else last[-1]
    return last is None and code.rstrip().endswith((":", "-"))

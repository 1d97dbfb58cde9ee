"""The names that Terraform's AWS provider and Kubernetes know, as far as needed here.

Two YAML files in data/iac say which arguments a resource type has and which fields a
kind has. A name outside of them is called invented, although a provider with 1,400
resource types has many that no request of this course needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from course_utils.data import DATA_FOLDER

IAC_FOLDER = DATA_FOLDER / "iac"
BLOCK_KEYS = {"required", "optional", "blocks"}
KIND_KEYS = {"api_versions", "required", "fields"}


class FaultySchema(ValueError):
    """A schema cannot be used; the message lists everything wrong with it."""


@dataclass(frozen=True)
class BlockSchema:
    """What a resource, or a block within one, may and must hold.

    Attributes:
        required: Arguments and blocks without which the provider refuses it.
        optional: Arguments that may stand there.
        blocks: Nested blocks by name. A name that is also in `optional` may be
            written both ways, `ingress { … }` and `ingress = [ … ]`.
    """

    required: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()
    blocks: Mapping[str, BlockSchema] = field(default_factory=dict)

    def takes_argument(self, name: str) -> bool:
        """Whether `name = …` may stand there."""
        required = name in self.required and name not in self.blocks
        return required or name in self.optional


@dataclass(frozen=True)
class KindSchema:
    """What a Kubernetes kind may and must hold.

    Attributes:
        api_versions: Those under which the kind is served.
        required: Dotted paths; through a list, each element must have it.
        fields: Field names by the path of their parent; "" is the manifest itself.
            Below a path that is not listed (labels, data), any name is right.
    """

    api_versions: tuple[str, ...]
    required: tuple[str, ...]
    fields: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Schema:
    """Resource types and kinds by name."""

    resources: Mapping[str, BlockSchema]
    kinds: Mapping[str, KindSchema]


@cache
def load_schema(folder: Path = IAC_FOLDER) -> Schema:
    """Read and check terraform.yaml and kubernetes.yaml; needs about 0.3 s, once.

    Raises:
        FaultySchema: With every fault: file, place, found, expected.
        FileNotFoundError: If one of the files is not there.
    """
    faults: list[str] = []
    terraform = _table(folder / "terraform.yaml", "resources", faults)
    kubernetes = _table(folder / "kubernetes.yaml", "kinds", faults)
    schema = make_schema(terraform, kubernetes, faults)
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise FaultySchema(
            f"{len(faults)} faults in the schema in {folder.name}/; nothing was "
            f"loaded:\n{listed}\nMend these places and load it again."
        )
    return schema


def make_schema(
    resources: Mapping[str, Any], kinds: Mapping[str, Any], faults: list[str]
) -> Schema:
    """A schema of plain mappings, as the files hold them.

    Args:
        resources: What stands under `resources:` in terraform.yaml.
        kinds: What stands under `kinds:` in kubernetes.yaml.
        faults: Is extended by everything that is wrong.
    """
    return Schema(
        {name: _block(name, made, faults) for name, made in resources.items()},
        {name: _kind(name, made, faults) for name, made in kinds.items()},
    )


def _table(path: Path, key: str, faults: list[str]) -> Mapping[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    table = content.get(key) if isinstance(content, dict) else None
    if isinstance(table, dict) and table:
        return table
    faults.append(f"{path.name}: found no mapping `{key}`, expected names under it")
    return {}


def _block(where: str, made: Any, faults: list[str]) -> BlockSchema:
    made = _with_keys(where, made, BLOCK_KEYS, faults)
    required = _names(f"{where}.required", made.get("required"), faults)
    optional = _names(f"{where}.optional", made.get("optional"), faults)
    for name in set(required) & set(optional):
        faults.append(f"{where}: found {name} as required and optional, expected one")
    inner = made.get("blocks") or {}
    if not isinstance(inner, dict):
        faults.append(f"{where}.blocks: found {inner!r:.40}, expected blocks by name")
        inner = {}
    blocks = {name: _block(f"{where}.{name}", b, faults) for name, b in inner.items()}
    return BlockSchema(required, frozenset(optional), blocks)


def _kind(where: str, made: Any, faults: list[str]) -> KindSchema:
    made = _with_keys(where, made, KIND_KEYS, faults)
    versions = _names(f"{where}.api_versions", made.get("api_versions"), faults)
    if not versions:
        faults.append(f"{where}.api_versions: found none, expected at least one")
    required = _names(f"{where}.required", made.get("required"), faults)
    table = made.get("fields") or {}
    fields = {
        path: frozenset(_names(f"{where}.fields.{path}", names, faults))
        for path, names in table.items()
    }
    for path in required:
        parent, _, name = path.rpartition(".")
        if name not in fields.get(parent, {name}):
            faults.append(f"{where}.required: found {path}, expected a listed field")
    return KindSchema(versions, required, fields)


def _with_keys(where: str, made: Any, keys: set[str], faults: list[str]) -> dict:
    if made is None:
        return {}
    if not isinstance(made, dict):
        faults.append(f"{where}: found {made!r:.40}, expected a mapping")
        return {}
    for name in made.keys() - keys:
        expected = ", ".join(sorted(keys))
        faults.append(f"{where}: found key {name!r}, expected one of {expected}")
    return made


def _names(where: str, made: Any, faults: list[str]) -> tuple[str, ...]:
    made = [] if made is None else made
    if isinstance(made, list) and all(isinstance(name, str) for name in made):
        return tuple(made)
    faults.append(f"{where}: found {made!r:.60}, expected a list of names")
    return ()

"""The names that Terraform's AWS provider and Kubernetes know, as far as needed here.

Two YAML files in data/iac say which arguments a resource type has and which fields a
kind has. A name outside of them is called invented, although a provider with 1,400
resource types has many that no request of this course needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import cache
from pathlib import Path

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from course_utils.data.files import FaultyData, read_table, refusal
from course_utils.places import DATA_FOLDER

IAC_FOLDER = DATA_FOLDER / "iac"


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


@cache
def load_schema(folder: Path = IAC_FOLDER) -> Schema:
    """Read and check terraform.yaml and kubernetes.yaml; needs about 0.3 s, once.

    Raises:
        FaultyData: With every fault of both; see `jsonl.read_table`.
    """
    tables, faults = [], []
    for name, below, form in (
        ("terraform", "resources", BlockSchema),
        ("kubernetes", "kinds", KindSchema),
    ):
        try:
            tables.append(read_table(folder / f"{name}.yaml", form, below))
        except FaultyData as error:
            faults += error.faults
    if faults:
        raise FaultyData(faults)
    return Schema(*tables)

"""A reward for infrastructure code that a parser computes: nothing is run, or guessed.

Counting keywords and braces pays for text that looks like Terraform. Here the answer is
parsed, and its names are held against what the provider knows; so `name` in an
`aws_s3_bucket`, or a resource type that nobody ever made, costs something.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from course_utils.projects.inframind.code.blocks import Parsed, values_at
from course_utils.projects.inframind.code.parsing import extract, parse
from course_utils.projects.inframind.code.schema import Schema, examine

PARTS = ("syntax", "resource", "required", "known", "complete", "values")
STARTS_CODE = re.compile(
    r"^[ \t]*(?:(?:resource|data|provider|variable|output|module)[ \t]+\"[^\n]*\{"
    r"|(?:terraform|locals)[ \t]*\{"
    r"|(?:apiVersion|kind):[ \t]*\S"
    r"|```|~~~"
    r"|(?:def|class|function)[ \t]+\w+[ \t]*[(:{]"
    r"|import[ \t]+\w+[ \t]*$|from[ \t]+[\w.]+[ \t]+import[ \t])",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Reward:
    """What an answer gets, part by part; each is a share from 0 to 1.

    Where nothing parses, nothing can be judged: every part is 0.

    Attributes:
        syntax: 1 if the code parses as the language that was asked for and has at
            least one block or manifest; else 0.
        resource: Expected types or kinds that are there.
        required: Required arguments or paths that are there, over the blocks that
            are there; 0 if none of these is of a known type.
        known: Names that the schema knows, of all that it can judge: types, arguments,
            blocks, functions, kinds, API versions, fields.
        complete: Half for an end (every fence closed, no YAML key without its value
            at the end; whatever else is open does not parse), half for code alone
            (no prose before or after the fenced block; comments are code).
        values: Values that the request names and that stand where they belong.
        invented: Names that the schema does not know, in order. Where nothing
            parses, only functions such as `a::b()` are told.
        problem: Why `syntax` is 0; None when it is 1.
    """

    syntax: float
    resource: float
    required: float
    known: float
    complete: float
    values: float
    invented: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def parts(self) -> dict[str, float]:
        """The six parts by name."""
        return {name: getattr(self, name) for name in PARTS}

    def total(self, weights: Mapping[str, float]) -> float:
        """The weighted mean of the parts, from 0 to 1.

        Args:
            weights: One for each of PARTS; 0 leaves a part out.

        Raises:
            ValueError: If a weight is missing, unknown, negative or not finite, or
                if all are 0.
        """
        usable = all(math.isfinite(w) and w >= 0 for w in weights.values())
        if set(weights) != set(PARTS) or not usable or not any(weights.values()):
            unknown = ", ".join(sorted(set(weights) - set(PARTS))) or "none"
            missing = ", ".join(sorted(set(PARTS) - set(weights))) or "none"
            raise ValueError(
                f"Found weights {dict(weights)}; unknown weights: {unknown}; missing "
                f"weights: {missing}. Expected one for each of {', '.join(PARTS)}, "
                "finite numbers from 0 up and not all 0. A part that should not count "
                "gets 0; one that should be punished is already low when it is bad."
            )
        weighted = sum(weights[name] * part for name, part in self.parts.items())
        return weighted / sum(weights.values())


def reward_of(text: str, expect: Mapping[str, Any], schema: Schema) -> Reward:
    """Judge one answer, in bounded time (see `iac.parsing.parse`).

    Args:
        text: The answer as the model gave it.
        expect: `language` ("terraform" or "kubernetes"), `resources` (types or kinds
            that must be there; one named twice must be there twice) and `values`
            (lists of type, dotted path, literal).
        schema: The names that are known.

    Raises:
        ValueError: If `expect` is not of that form.
    """
    _refuse_unclear(expect)
    found = extract(text)
    parsed = parse(found.code, expect["language"])
    if parsed.problem is not None:
        invented = tuple(dict.fromkeys(f"{name}()" for name in parsed.functions))
        return Reward(0, 0, 0, 0, 0, 0, invented=invented, problem=parsed.problem)
    findings = examine(parsed, schema)
    wanted, there = Counter(expect["resources"]), Counter(parsed.types)
    known = there.keys() & {*schema.resources, *schema.kinds}
    ended = not (found.unclosed or parsed.ends_open)
    stand = [_stands(parsed, *value) for value in expect["values"]]
    return Reward(
        syntax=1.0,
        resource=_share((wanted & there).total(), wanted.total()),
        required=_share(findings.present, findings.required) if known else 0.0,
        known=_share(sum(findings.names.values()), len(findings.names)),
        complete=(ended + (not found.prose)) / 2,
        values=_share(sum(stand), len(stand)),
        invented=tuple(findings.invented),
    )


def writes_code(text: str) -> bool:
    """Whether a text holds what begins as Terraform, a manifest, a fence or a function.

    For requests of language "none", which want a sentence: code that does not parse
    is imposed all the same, so this looks at the beginnings of lines.
    """
    return STARTS_CODE.search(text) is not None


def _refuse_unclear(expect: Mapping[str, Any]) -> None:
    if missing := {"language", "resources", "values"} - expect.keys():
        raise ValueError(
            f"Found expect with {', '.join(expect) or 'nothing'}; missing: "
            f"{', '.join(sorted(missing))}. Empty lists are allowed."
        )
    for value in expect["values"]:
        if len(value) != 3 or not isinstance(value[2], str | int | float):
            raise ValueError(
                f"Found value {value!r}, expected [type, dotted path, literal], the "
                "literal a string, a number or a boolean."
            )


def _share(part: float, whole: float) -> float:
    """A share; of nothing asked for, all is there."""
    return part / whole if whole else 1.0


def _stands(parsed: Parsed, type_name: str, path: str, literal: Any) -> bool:
    """Whether some block of the type has the literal at the path."""
    resources = [r.body for r in parsed.resources if r.type == type_name]
    documents = [d.body for d in parsed.documents if d.kind == type_name]
    return any(
        form(value) == form(literal)
        for form, bodies in ((_as_terraform, resources), (_as_kubernetes, documents))
        for body in bodies
        for value in values_at(body, path)
    )


def _as_terraform(value: Any) -> Any:
    """Terraform turns "20" into 20 and "true" into true."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


def _as_kubernetes(value: Any) -> Any:
    """Kubernetes keeps kinds apart; only in Python is true also 1."""
    return isinstance(value, bool), value

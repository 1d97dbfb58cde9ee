"""A reward for infrastructure code that a parser computes: nothing is run, or guessed.

Counting keywords and braces pays for text that looks like Terraform. Here the answer is
parsed, and its names are held against what the provider knows; so `name` in an
`aws_s3_bucket`, or a resource type that nobody ever made, costs something.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
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

    Where nothing parses, nothing can be judged: every part is 0. `known` is of all
    names that the schema can judge: types, arguments, blocks, functions, kinds, API
    versions, fields. `complete` is half for an end (every fence closed, no YAML key
    without its value; whatever else is open does not parse), half for code alone (no
    prose before or after the fenced block; comments are code).
    """

    syntax: float  # 1 for a block or manifest, in the language asked for
    resource: float  # expected types or kinds that are there
    required: float  # of the blocks that are there; 0 if no type of theirs is known
    known: float
    complete: float
    values: float  # named by the request, and where they belong
    # in order; where nothing parses, only functions such as `a::b()`
    invented: tuple[str, ...] = ()
    problem: str | None = None  # why `syntax` is 0

    @property
    def parts(self) -> dict[str, float]:
        """The six parts by name."""
        return {name: getattr(self, name) for name in PARTS}

    def total(self, weights: Mapping[str, float]) -> float:
        """The weighted mean of the parts, from 0 to 1; weight 0 leaves a part out.

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
    """Judge one answer as the model gave it, in bounded time (see `parsing.parse`).

    `expect` has `language` ("terraform" or "kubernetes"), `resources` (types or kinds
    that must be there; one named twice must be there twice) and `values` (lists of
    type, dotted path, literal).

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
    return Reward(
        syntax=1.0,
        resource=(wanted & there).total() / wanted.total() if wanted else 1.0,
        required=_share(findings.needs) if known else 0.0,
        known=_share(findings.names.values()),
        complete=(ended + (not found.prose)) / 2,
        values=_share([_stands(parsed, *value) for value in expect["values"]]),
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


def _share(verdicts: Collection[bool]) -> float:
    """How many are true; of nothing asked for, all is there."""
    return sum(verdicts) / len(verdicts) if verdicts else 1.0


def _stands(parsed: Parsed, type_name: str, path: str, literal: Any) -> bool:
    """Whether some block of the type has the literal at the path."""
    form = _as_terraform if parsed.resources else _as_kubernetes
    bodies = [r.body for r in parsed.resources if r.type == type_name]
    bodies += [d.body for d in parsed.documents if d.kind == type_name]
    values = (value for body in bodies for value in values_at(body, path))
    return form(literal) in map(form, values)


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

"""A reward for infrastructure code that a parser computes: nothing is run, or guessed.

Counting keywords and braces pays for text that looks like Terraform. Here the answer is
parsed, and its names are held against what the provider knows.

A mean of such parts can still be fooled. An earlier version paid 0.95 for a bucket with
the argument `name`, which `terraform validate` refuses, and 0.6 for `locals { a = 1 }`,
which answers nothing: parts that nobody had asked about counted as met. So the mean is
gated. What would be refused keeps REFUSED_SHARE of it, and an answer gets no more than
the share of its resources that were asked for.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from course_utils.projects.inframind.code.blocks import Expression, Parsed, values_at
from course_utils.projects.inframind.code.kubernetes import QUANTITY_PATH, quantity
from course_utils.projects.inframind.code.parsing import extract, parse
from course_utils.projects.inframind.code.references import refers_to, selects, settled
from course_utils.projects.inframind.code.schema import Schema, examine

PARTS = ("syntax", "resource", "required", "known", "complete", "values")
# Refused code stays below valid code that is half of what was asked, by the recipe's
# weights, and more than nothing, so that a model can still learn from its failures.
REFUSED_SHARE = 0.1
REFERRING = ("refers_to", "selects")  # values that lead from one part to another
IN_MODULE = '"${path.module}/'
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

    A part is None where nothing was asked for or needed, or nothing can be judged: it
    is left out of the mean, since what is not asked is not met either. Where nothing
    parses, every part is 0. `known` is of all names that the schema can judge: types,
    arguments, blocks, functions, kinds, API versions, fields, and what a reference
    leads to; what it cannot judge is in `unknown`, and types among it that nobody asked
    for cost `focus` as any others do. `complete` is half for an end (every fence
    closed, no YAML key without its value; whatever else is open does not parse), half
    for code alone (no prose before or after the fenced block; comments are code).
    """

    syntax: float  # 1 for a block or manifest, in the language asked for
    resource: float | None  # expected types or kinds that are there
    required: float | None  # of the blocks there; 0 if none is of a type that exists
    known: float | None
    complete: float
    values: float | None  # named by the request, and where they belong
    focus: float = 0.0  # of the resources that are asked for or there: those in both
    # in order; where nothing parses, only functions such as `a::b()`
    invented: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  # types, kinds and functions that are not judged
    # Whether what `values` lacks stands behind expressions that only a run could tell
    unsettled: bool = False
    problem: str | None = None  # why `syntax` is 0

    @property
    def parts(self) -> dict[str, float | None]:
        """The six parts by name."""
        return {name: getattr(self, name) for name in PARTS}

    @property
    def valid(self) -> bool:
        """Whether it parses, invents no name, and lacks nothing that is required.

        As far as the schema can tell: `terraform validate` also knows the provider's
        types and allowed values.
        """
        judged = (self.known, self.required)
        return self.syntax == 1 and all(part in (1, None) for part in judged)

    def total(self, weights: Mapping[str, float]) -> float:
        """The weighted mean of the parts, gated, from 0 to 1.

        Gated: times `focus`, which is 0 for an answer with nothing that was asked for,
        and times REFUSED_SHARE if the code is not `valid`. Weight 0 leaves a part out.

        Raises:
            ValueError: If a weight is missing, unknown, negative or not finite, or
                if those of all parts that can be judged are 0.
        """
        usable = all(math.isfinite(w) and w >= 0 for w in weights.values())
        judged = {name: part for name, part in self.parts.items() if part is not None}
        whole = sum(weights.get(name, 0) for name in judged)
        if set(weights) != set(PARTS) or not usable or not whole:
            unknown = ", ".join(sorted(set(weights) - set(PARTS))) or "none"
            missing = ", ".join(sorted(set(PARTS) - set(weights))) or "none"
            raise ValueError(
                f"Found weights {dict(weights)}; unknown weights: {unknown}; missing "
                f"weights: {missing}. Expected one for each of {', '.join(PARTS)}, "
                "finite numbers from 0 up, and not 0 for all parts that can be judged "
                f"here ({', '.join(judged)}). A part that should not count gets 0; one "
                "that should be punished is already low when it is bad."
            )
        mean = sum(weights[name] * part for name, part in judged.items()) / whole
        return mean * self.focus * (1 if self.valid else REFUSED_SHARE)


def reward_of(text: str, expect: Mapping[str, Any], schema: Schema) -> Reward:
    """Judge one answer as the model gave it, in bounded time (see `parsing.parse`).

    `expect` has

    - `language`: "terraform" or "kubernetes";
    - `resources`: types or kinds that must be there; one named twice must be there
      twice;
    - `values`: lists of type, dotted path, and what must stand there: a literal,
      `{"refers_to": "aws_vpc"}` (or "aws_vpc.main", "aws_vpc.*.id"),
      `{"selects": "Deployment"}`;
    - `exists`, if any: addresses that the answer need not declare ("aws_vpc.main").

    Raises:
        ValueError: If `expect` is not of that form.
    """
    _refuse_unclear(expect)
    found = extract(text, expect["language"])
    parsed = parse(found.code, expect["language"])
    if parsed.problem is not None:
        invented = tuple(dict.fromkeys(f"{name}()" for name in parsed.functions))
        return Reward(0, 0, 0, 0, 0, 0, invented=invented, problem=parsed.problem)
    findings = examine(parsed, schema, expect.get("exists", ()))
    wanted, there = Counter(expect["resources"]), Counter(parsed.types)
    known = there.keys() & {*schema.resources, *schema.kinds}
    ended = not (found.unclosed or parsed.ends_open)
    unknown = tuple(findings.unknown)
    values = [_stands(parsed, *value) for value in expect["values"]]
    return Reward(
        syntax=1.0,
        resource=(wanted & there).total() / wanted.total() if wanted else None,
        required=_share(findings.needs) if known else None if unknown else 0.0,
        known=_share(findings.names.values()),
        complete=(ended + (not found.prose)) / 2,
        values=_share([stands is True for stands in values]),
        focus=_focus(wanted, there) if wanted else float(bool(known) or not unknown),
        invented=tuple(findings.invented),
        unknown=unknown,
        unsettled=None in values and False not in values,
    )


def _focus(wanted: Counter[str], there: Counter[str]) -> float:
    return (wanted & there).total() / (wanted | there).total()


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
        if len(value) != 3 or not is_expected_value(value[2]):
            raise ValueError(
                f"Found value {value!r}, expected [type, dotted path, what stands "
                "there]: a string, a number, a boolean, or a mapping of one of "
                f"{', '.join(REFERRING)} to a name."
            )


def is_expected_value(value: Any) -> bool:
    """Whether an answer can be held to it: a literal, or what a reference leads to."""
    if isinstance(value, Mapping):
        [name, *more] = value or [None]
        return name in REFERRING and not more and isinstance(value[name], str)
    return isinstance(value, str | int | float)


def _share(verdicts: Collection[bool]) -> float | None:
    """How many are true; None where there is nothing to judge."""
    return sum(verdicts) / len(verdicts) if verdicts else None


def _stands(parsed: Parsed, type_name: str, path: str, expected: Any) -> bool | None:
    """Whether some block of the type has at the path what is expected.

    None where a literal is, and an expression stands there that only a run could tell;
    a variable without a default is told by nobody.
    """
    bodies = [r.body for r in parsed.resources if r.type == type_name]
    bodies += [d.body for d in parsed.documents if d.type == type_name]
    seen = [settled(body, parsed) for body in bodies]
    if not isinstance(expected, Mapping):
        return _holds(seen, path, expected, bool(parsed.resources))
    values = [value for body in (*bodies, *seen) for value in values_at(body, path)]
    if address := expected.get("refers_to"):
        return any(refers_to(value, address) for value in values)
    targets = [d for d in parsed.documents if d.type == expected["selects"]]
    return any(selects(value, target) for value in values for target in targets)


def _holds(bodies: list[Any], path: str, literal: Any, terraform: bool) -> bool | None:
    form = _as_terraform if terraform else _as_kubernetes
    if not terraform and QUANTITY_PATH.search(path):
        form = _as_amount
    if form(literal) in (form(v) for body in bodies for v in values_at(body, path)):
        return True
    names = path.split(".")
    ways = [".".join(names[:count]) for count in range(1, len(names) + 1)]
    there = (value for body in bodies for way in ways for value in values_at(body, way))
    return None if any(map(_is_unsettled, there)) else False


def _is_unsettled(value: Any) -> bool:
    return isinstance(value, Expression) and not value.text.startswith("var.")


def _as_terraform(value: Any) -> Any:
    """Terraform turns "20" into 20 and "true" into true; a module's path may lead."""
    if isinstance(value, Expression) and value.text.startswith(IN_MODULE):
        return value.text.removeprefix(IN_MODULE).removesuffix('"')
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


def _as_kubernetes(value: Any) -> Any:
    """Kubernetes keeps kinds apart; only in Python is true also 1."""
    return isinstance(value, bool), value


def _as_amount(value: Any) -> Any:
    return _as_kubernetes(quantity(value))

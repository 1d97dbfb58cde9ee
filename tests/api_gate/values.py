"""What a name in a source file can stand for, and what can be asked of it.

A value knows three things: the value behind an attribute, the contracts that a
call of it must meet, and what such a call gives. An expression evaluates to a
tuple of values, every one of which must accept what is done to it (Unsloth's GPU
path and its CPU path, or the two branches of an `if`). The empty tuple means "not
known": nothing is held against it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Arguments = Callable[[int, str], "Values"]  # (position, keyword) -> what is passed


class MissingName(Exception):
    """A name that is surely not there, with the names that are, and perhaps why."""

    def __init__(
        self, owner: str, name: str, known: Iterable[str] = (), why: str = ""
    ) -> None:
        self.name, self.known = name, set(known) - {name}
        super().__init__(f"{owner} has no {name!r}" + (f" ({why})" if why else ""))


@dataclass(frozen=True)
class Contract:
    """One signature that a call can be held against.

    Attributes:
        title: How messages name the callable.
        signature: Without `self` or `cls` where Python fills them in.
        titles: Under which the tables of `api_gate.allowed` know it.
        consumed: Keywords that the body takes out of its `**kwargs` by name.
        view: `GPU` or `CPU` for the two paths of Unsloth, else empty.
        ours: Whether the course wrote it: its `**kwargs` then take any keyword.
    """

    title: str
    signature: inspect.Signature
    titles: tuple[str, ...]
    consumed: frozenset[str] = frozenset()
    view: str = ""
    ours: bool = False


class Value:
    """Something that exists and of which nothing else is known."""

    library = False  # whether a call of it counts as a call into a library
    is_class = False  # whether a call of it makes an object of it

    def attribute(self, name: str, *, called: bool = False) -> Values:
        """The values behind an attribute.

        Raises:
            MissingName: If it cannot be there.
        """
        return ()

    def contracts(self) -> tuple[Contract, ...]:
        """Signatures of which a call must meet at least one; empty: not known."""
        return ()

    def result(self, arguments: Arguments) -> Values:
        """What a call gives."""
        return ()


Values = tuple[Value, ...]


@dataclass(frozen=True)
class Items(Value):
    """A tuple whose items are known one by one."""

    items: tuple[Values, ...]


@dataclass(frozen=True)
class Keywords(Value):
    """A dictionary literal, as in `SFTConfig(**common)`."""

    names: frozenset[str]


@dataclass(frozen=True)
class LocalFunction(Value):
    """A function of the examined file itself, known by its return annotation."""

    node: ast.FunctionDef | ast.AsyncFunctionDef
    given: Values

    def result(self, arguments: Arguments) -> Values:
        return self.given

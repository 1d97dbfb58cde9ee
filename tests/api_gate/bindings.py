"""Which names a source file binds, and what its functions ask for, by `ast` alone."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
CPU_SIGNAL = "_CPUBackendSelected"  # raised where Unsloth finds no accelerator
_HANDLER_RANK = 10  # a name bound in `except ImportError:` is second choice


@dataclass
class Bindings:
    """Names bound at the top of a module or class.

    Attributes:
        names: Name to the node that binds it: a definition, an import with the
            alias meant, or the expression assigned.
        stars: The `from x import *`, in their order.
        exported: `__all__`, None without one.
    """

    names: dict[str, ast.AST] = field(default_factory=dict)
    stars: list[ast.ImportFrom] = field(default_factory=list)
    exported: frozenset[str] | None = None
    ranks: dict[str, int] = field(default_factory=dict)

    def bind(self, name: str, node: ast.AST, rank: int) -> None:
        """Remember a binding, unless a better one is known."""
        if rank <= self.ranks.get(name, rank):
            self.names[name], self.ranks[name] = node, rank

    def exports(self, name: str) -> bool:
        """Whether `import *` would hand this name on."""
        if self.exported is None:
            return not name.startswith("_")
        return name in self.exported


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def module_bindings(path: Path, view: str) -> Bindings:
    """The names of a module, as one of Unsloth's paths sees it."""
    return bindings_of(parsed(path).body, view)


def bindings_of(body: list[ast.stmt], view: str = "") -> Bindings:
    """The names that statements bind, those of branches included."""
    bindings = Bindings()
    for statement, rank in _flattened(body, view, 0):
        _bind(bindings, statement, rank)
    return bindings


def _flattened(
    body: list[ast.stmt], view: str, rank: int
) -> Iterator[tuple[ast.stmt, int]]:
    for statement in body:
        if isinstance(statement, ast.If):
            # unsloth/__init__.py: the branch for Apple's GPUs is neither path
            taken = [] if _names(statement.test) == {"_IS_MLX"} else statement.body
            yield from _flattened(taken + statement.orelse, view, rank)
        elif isinstance(statement, ast.Try):
            yield from _flattened_try(statement, view, rank)
        elif isinstance(statement, ast.With | ast.For):
            yield from _flattened(statement.body, view, rank)
        else:
            yield statement, rank


def _flattened_try(
    statement: ast.Try, view: str, rank: int
) -> Iterator[tuple[ast.stmt, int]]:
    handlers = [(each.body, _names(each.type)) for each in statement.handlers]
    chooses = any(CPU_SIGNAL in caught for _, caught in handlers)
    if not (chooses and view == "CPU"):
        yield from _flattened(statement.body + statement.orelse, view, rank)
    if not (chooses and view == "GPU"):
        for body, _ in handlers:
            yield from _flattened(body, view, rank + (0 if chooses else _HANDLER_RANK))
    yield from _flattened(statement.finalbody, view, rank)


def _names(node: ast.AST | None) -> set[str]:
    found = ast.walk(node) if node else ()
    return {each.id for each in found if isinstance(each, ast.Name)}


def _bind(bindings: Bindings, statement: ast.stmt, rank: int) -> None:
    if isinstance(statement, Function | ast.ClassDef):
        bindings.bind(statement.name, statement, rank)
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        _bind_imports(bindings, statement, rank + 1)
    elif isinstance(statement, ast.Assign):
        names = set().union(*map(_names, statement.targets))
        if "__all__" in names and isinstance(statement.value, ast.List | ast.Tuple):
            bindings.exported = frozenset(strings_in(statement.value))
        for name in names:
            bindings.bind(name, statement.value, rank + 2)
    elif isinstance(statement, ast.Delete):
        for name in set().union(*map(_names, statement.targets)):
            bindings.names.pop(name, None)
    elif isinstance(statement, ast.AnnAssign) and isinstance(
        statement.target, ast.Name
    ):
        bindings.bind(statement.target.id, statement, rank + 2)


def _bind_imports(
    bindings: Bindings, statement: ast.Import | ast.ImportFrom, rank: int
) -> None:
    for alias in statement.names:
        if alias.name == "*":
            bindings.stars.append(statement)
            continue
        single = ast.copy_location(type(statement)(**vars(statement)), statement)
        single.names = [alias]
        bindings.bind(alias.asname or alias.name.split(".")[0], single, rank)


def strings_in(node: ast.AST) -> set[str]:
    """Every string constant below a node."""
    constants = (each for each in ast.walk(node) if isinstance(each, ast.Constant))
    return {each.value for each in constants if isinstance(each.value, str)}


def signature_in(node: Function) -> inspect.Signature:
    """The signature that a `def` states; a default is only known to be there."""
    stated = node.args
    plain = stated.posonlyargs + stated.args
    required = len(plain) - len(stated.defaults)
    kinds = inspect.Parameter
    parameters = []
    for index, argument in enumerate(plain):
        only = index < len(stated.posonlyargs)
        kind = kinds.POSITIONAL_ONLY if only else kinds.POSITIONAL_OR_KEYWORD
        default = kinds.empty if index < required else ...
        parameters.append(kinds(argument.arg, kind, default=default))
    if stated.vararg:
        parameters.append(kinds(stated.vararg.arg, kinds.VAR_POSITIONAL))
    for argument, given in zip(stated.kwonlyargs, stated.kw_defaults, strict=True):
        default = kinds.empty if given is None else ...
        parameters.append(kinds(argument.arg, kinds.KEYWORD_ONLY, default=default))
    if stated.kwarg:
        parameters.append(kinds(stated.kwarg.arg, kinds.VAR_KEYWORD))
    return inspect.Signature(parameters)


def consumed_in(node: Function) -> frozenset[str]:
    """Keywords that a body takes out of its own `**kwargs` by name.

    Seen are `kwargs.pop("x")`, `.get`, `.setdefault`, `kwargs["x"]`, `"x" in
    kwargs`, and a loop over literal names that pops each.
    """
    if node.args.kwarg is None:
        return frozenset()
    kwargs, found = node.args.kwarg.arg, set()
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and _is_taken(each.func, kwargs) and each.args:
            found |= strings_in(each.args[0])
        elif isinstance(each, ast.Subscript) and _is_name(each.value, kwargs):
            found |= strings_in(each.slice)
        elif isinstance(each, ast.Compare) and _is_name(each.comparators[0], kwargs):
            found |= strings_in(each.left)
        elif isinstance(each, ast.For) and any(
            isinstance(call, ast.Call) and _is_taken(call.func, kwargs)
            for call in ast.walk(each)
        ):
            found |= strings_in(each.iter)
    return frozenset(found)


def _is_taken(function: ast.expr, kwargs: str) -> bool:
    taking = ("pop", "get", "setdefault")
    return (
        isinstance(function, ast.Attribute)
        and function.attr in taking
        and _is_name(function.value, kwargs)
    )


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name

"""Functions and classes read from source, and the contracts that they state."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from dataclasses import dataclass

from api_gate.annotations import from_annotation
from api_gate.bindings import Function, bindings_of, consumed_in, signature_in
from api_gate.installed import Class
from api_gate.introspection import stored_on_self, without_first
from api_gate.objects import Instance
from api_gate.results import from_table
from api_gate.sources import SourceModule
from api_gate.values import Arguments, Contract, MissingName, Value, Values


@dataclass(frozen=True, eq=False)
class SourceFunction(Value):
    """A function or method read from source.

    Attributes:
        owner: Name of the class that defines it, if any.
        bound: Whether it is called on an object, which fills in `self`.
    """

    module: SourceModule
    node: Function
    owner: str = ""
    bound: bool = False
    itself: Values = ()

    @property
    def library(self) -> bool:
        return self.module.library

    @property
    def title(self) -> str:
        parts = (self.module.dotted.split(".")[0], self.owner, self.node.name)
        return ".".join(filter(None, parts))

    def contracts(self) -> tuple[Contract, ...]:
        target = self._wrapped() or self._forwarded_to()
        known = [contract for value in target for contract in value.contracts()]
        if known:
            return tuple(self._renamed(contract) for contract in known)
        static = "staticmethod" in self._decorators
        filled_in = "classmethod" in self._decorators or (self.bound and not static)
        signature = signature_in(self.node)
        if filled_in:
            signature = without_first(signature)
        consumed, view = consumed_in(self.node), self.module.view
        titles, ours = (self.title,), not self.library
        return (Contract(self.title, signature, titles, consumed, view, ours),)

    @property
    def _decorators(self) -> set[str]:
        return {ast.unparse(each).split(".")[-1] for each in self.node.decorator_list}

    def _renamed(self, contract: Contract) -> Contract:
        titles = (self.title, *contract.titles)
        view = self.module.view
        return dataclasses.replace(contract, titles=titles, view=view)

    def _wrapped(self) -> Values:
        """What `@functools.wraps(other)` says that this function stands for."""
        for each in self.node.decorator_list:
            is_call = isinstance(each, ast.Call) and each.args
            if is_call and ast.unparse(each.func).endswith("wraps"):
                return self.module.value_of(each.args[0])
        return ()

    def _forwarded_to(self) -> Values:
        """The function that gets all arguments: `return f(*args, **kwargs)`."""
        stated = self.node.args
        if not (stated.vararg and stated.kwarg):
            return ()
        own = [argument.arg for argument in stated.args]
        passed = [*own, f"*{stated.vararg.arg}"]
        for each in ast.walk(self.node):
            if not (isinstance(each, ast.Return) and isinstance(each.value, ast.Call)):
                continue
            call = each.value
            splat = [word.value for word in call.keywords if word.arg is None]
            if [ast.unparse(arg) for arg in call.args] == passed and splat:
                return self._local(call.func)
        return ()

    def _local(self, function: ast.expr) -> Values:
        inside = bindings_of(self.node.body).names
        if isinstance(function, ast.Name) and function.id in inside:
            return self.module.value_of(inside[function.id])
        return self.module.value_of(function)

    def result(self, arguments: Arguments) -> Values:
        known = from_table((self.title,), self.itself, None, arguments)
        if known is not None:
            return known
        if "contextmanager" in self._decorators:
            return ()
        return from_annotation(self.node.returns, self.module.value_of)


@dataclass(frozen=True, eq=False)
class SourceClass(Value):
    """A class read from source."""

    module: SourceModule
    node: ast.ClassDef
    is_class = True

    @property
    def library(self) -> bool:
        return self.module.library

    @property
    def title(self) -> str:
        return f"{self.module.dotted.split('.')[0]}.{self.node.name}"

    def attribute(self, name: str, *, called: bool = False) -> Values:
        return self.member(name, ())

    def member(self, name: str, itself: Values) -> Values:
        """A member, own or inherited; `itself` is the object that it is read from.

        Raises:
            MissingName: If neither the class nor a base has it.
        """
        members = bindings_of(self.node.body).names
        if name in members:
            node = members[name]
            if not isinstance(node, Function) or _is_property(node):
                return ()
            bound, title = bool(itself), self.node.name
            return (SourceFunction(self.module, node, title, bound, itself),)
        if name in stored_on_self(self.node):
            return ()
        known = set(members)
        for base in self._bases():
            try:
                return _member_of(base, name, itself)
            except MissingName as error:
                known |= error.known
        raise MissingName(self._place, name, known)

    @property
    def _place(self) -> str:
        view = self.module.view
        return f"{self.title} on Unsloth's {view} path" if view else self.title

    def _bases(self) -> Values:
        bases = [self.module.value_of(base) or (Value(),) for base in self.node.bases]
        return sum(bases, ())

    def contracts(self) -> tuple[Contract, ...]:
        if any("dataclass" in ast.unparse(each) for each in self.node.decorator_list):
            return ()
        start = bindings_of(self.node.body).names.get("__init__")
        inherited = [each for base in self._bases() for each in base.contracts()]
        if not isinstance(start, Function):
            renamed = [self._renamed(contract) for contract in inherited]
            return tuple(renamed)
        signature = without_first(signature_in(start))
        if start.args.kwarg and inherited:
            signature = _widened(signature, inherited[0].signature)
        consumed, view = consumed_in(start), self.module.view
        titles, ours = (self.title,), not self.library
        return (Contract(self.title, signature, titles, consumed, view, ours),)

    def _renamed(self, contract: Contract) -> Contract:
        title, view = self.title, self.module.view
        titles = (title, *contract.titles)
        return dataclasses.replace(contract, title=title, titles=titles, view=view)

    def result(self, arguments: Arguments) -> Values:
        return (SourceInstance(self),)


@dataclass(frozen=True, eq=False)
class SourceInstance(Value):
    """An object of a class read from source."""

    owner: SourceClass

    @property
    def library(self) -> bool:
        return self.owner.library

    def attribute(self, name: str, *, called: bool = False) -> Values:
        try:
            return self.owner.member(name, (self,))
        except MissingName:
            if called:
                raise
            return ()


def _member_of(base: Value, name: str, itself: Values) -> Values:
    if isinstance(base, SourceClass):
        return base.member(name, itself)
    if isinstance(base, Class) and itself:
        return Instance((base.thing,)).attribute(name, called=True)
    return base.attribute(name)


def _is_property(node: Function) -> bool:
    return any("property" in ast.unparse(each) for each in node.decorator_list)


def _widened(own: inspect.Signature, base: inspect.Signature) -> inspect.Signature:
    """A constructor's parameters and, by keyword, those that its base adds."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    kept = [each for each in own.parameters.values() if each.kind not in variable]
    added = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in base.parameters.values()
        if each.kind not in variable and each.name not in own.parameters
    ]
    return inspect.Signature(kept + added)

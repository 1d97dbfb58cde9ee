"""Values of installed libraries: modules, functions, classes.

They are imported, so that decorators, dataclass fields and inherited constructors
are seen as Python sees them. Unsloth is not among them: see `api_gate.sources`.
"""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass

from api_gate.introspection import is_method, signature_of, titles_of
from api_gate.objects import Method, instance
from api_gate.results import annotated, from_table
from api_gate.values import Arguments, Contract, MissingName, Value, Values

INSTALLED = (
    *("trl", "peft", "transformers", "datasets", "accelerate", "bitsandbytes"),
    *("lm_eval", "gguf", "torch"),
)


def installed_module(dotted: str) -> Module:
    """The module of that name, imported now.

    Raises:
        MissingName: If the installed library has no such module.
    """
    try:
        return Module(importlib.import_module(dotted))
    except ModuleNotFoundError as error:
        if not dotted.startswith(error.name or ""):
            raise  # something that the module itself needs is not installed
        parent, _, name = dotted.rpartition(".")
        raise MissingName(parent or "this environment", name) from None


@dataclass(frozen=True)
class Module(Value):
    """An installed module."""

    thing: types.ModuleType
    library = True

    def attribute(self, name: str, *, called: bool = False) -> Values:
        here = self.thing.__name__
        try:
            return wrap(getattr(self.thing, name), f"{here.split('.')[0]}.{name}")
        except AttributeError:
            pass
        try:
            return (installed_module(f"{here}.{name}"),)
        except MissingName:
            raise MissingName(here, name, dir(self.thing)) from None


@dataclass(frozen=True)
class Function(Value):
    """An installed function that belongs to no class."""

    thing: Callable
    title: str
    library = True

    def contracts(self) -> tuple[Contract, ...]:
        signature = signature_of(self.thing)
        if signature is None:
            return ()
        return (Contract(self.title, signature, (self.title,)),)

    def result(self, arguments: Arguments) -> Values:
        known = from_table((self.title,), (), None, arguments)
        return annotated(self.thing, None) if known is None else known


@dataclass(frozen=True)
class Class(Value):
    """An installed class; a call of it makes an instance."""

    thing: type
    library = True
    is_class = True

    @property
    def title(self) -> str:
        return titles_of(self.thing)[0]

    def attribute(self, name: str, *, called: bool = False) -> Values:
        if not hasattr(self.thing, name):
            raise MissingName(self.title, name, dir(self.thing))
        found = inspect.getattr_static(self.thing, name, None)
        if is_method(found):
            return (Method(self.thing, name, bound=False),)
        return ()

    def contracts(self) -> tuple[Contract, ...]:
        signature = signature_of(self.thing)
        if signature is None or type(self.thing).__call__ is not type.__call__:
            return ()  # an enum, say: its metaclass takes the call
        return (Contract(self.title, signature, titles_of(self.thing)),)

    def result(self, arguments: Arguments) -> Values:
        return instance(self.thing)


def wrap(found: object, title: str) -> Values:
    """The value for an object found in a module."""
    if isinstance(found, types.ModuleType):
        return (Module(found),)
    if isinstance(found, type):
        return (Class(found),)
    return (Function(found, title),) if inspect.isroutine(found) else ()

"""Values of installed libraries: modules, classes, functions, methods, objects.

They are imported, so that decorators, dataclass fields and inherited constructors
are seen as Python sees them. Unsloth is not among them: see `api_sources`.
"""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from api_allowed import MODEL_EXTRAS, MODEL_SUBMODULES, TOO_WIDE
from api_introspection import (
    assigns_to_self,
    is_method,
    plain_function,
    signature_of,
    titles_of,
    without_first,
)
from api_results import annotated, from_table
from api_values import Arguments, Contract, MissingName, Value, Values

INSTALLED = (
    *("trl", "peft", "transformers", "datasets", "accelerate", "bitsandbytes"),
    *("lm_eval", "gguf", "torch"),
)
MODEL_BASES = {"transformers.PreTrainedModel", "transformers.GenerationMixin"}
MODEL_BASES |= {"peft.PeftModel", "peft.PeftMixedModel"}


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


@dataclass(frozen=True)
class Method(Value):
    """A method of an installed class, called on the class or on an instance."""

    owner: type
    name: str
    bound: bool
    itself: Values = ()
    library = True

    @property
    def titles(self) -> tuple[str, ...]:
        return tuple(
            f"{title}.{self.name}"
            for base, title in zip(
                inspect.getmro(self.owner), titles_of(self.owner), strict=False
            )
            if hasattr(base, self.name)
        )

    def contracts(self) -> tuple[Contract, ...]:
        found = inspect.getattr_static(self.owner, self.name)
        filled_in = isinstance(found, classmethod) or (
            self.bound and not isinstance(found, staticmethod)
        )
        signature = signature_of(plain_function(found))
        if signature is None:
            return ()
        signature = without_first(signature) if filled_in else signature
        return (Contract(self.titles[0], signature, self.titles),)

    def result(self, arguments: Arguments) -> Values:
        known = from_table(self.titles, self.itself, self.owner, arguments)
        if known is not None:
            return known
        found = inspect.getattr_static(self.owner, self.name)
        return annotated(plain_function(found), self.owner)


@dataclass(frozen=True)
class AnyOf(Value):
    """Methods of the same name, of which one is meant: it suffices that one fits."""

    methods: tuple[Method, ...]
    library = True

    def contracts(self) -> tuple[Contract, ...]:
        contracts = [method.contracts() for method in self.methods]
        return sum(contracts, ()) if all(contracts) else ()

    def result(self, arguments: Arguments) -> Values:
        results = [method.result(arguments) for method in self.methods]
        return merged(value for values in results for value in values or (Value(),))


@dataclass(frozen=True)
class Instance(Value):
    """An object of an installed class, or of one of several."""

    classes: tuple[type, ...]
    library = True

    def attribute(self, name: str, *, called: bool = False) -> Values:
        owners = [owner for owner in self.classes if hasattr(owner, name)]
        found = [inspect.getattr_static(owner, name, None) for owner in owners]
        if owners and all(is_method(each) for each in found):
            methods = tuple(Method(owner, name, True, (self,)) for owner in owners)
            return methods if len(methods) == 1 else (AnyOf(methods),)
        stored = any(assigns_to_self(owner, name) for owner in self.classes)
        if owners or not called or stored:
            return ()
        known = [each for owner in self.classes for each in dir(owner)]
        raise MissingName(f"an object of {self.title}", name, known)

    @property
    def title(self) -> str:
        return " or ".join(titles_of(owner)[0] for owner in self.classes)

    def contracts(self) -> tuple[Contract, ...]:
        return self._call().contracts()

    def result(self, arguments: Arguments) -> Values:
        return self._call().result(arguments)

    def _call(self) -> Value:
        (method,) = self.attribute("__call__") or (Value(),)
        return method


@dataclass(frozen=True)
class Model(Instance):
    """A language model: the methods of transformers, of PEFT, and Unsloth's own.

    Attributes:
        origin: `unsloth`, `plain` (surely not Unsloth's), or empty: either.
    """

    origin: str = ""

    def attribute(self, name: str, *, called: bool = False) -> Values:
        if name in MODEL_EXTRAS and self.origin != "plain":
            from api_sources import extra_methods

            return extra_methods(name)
        if name in MODEL_SUBMODULES:
            return ()
        return super().attribute(name, called=called)

    def contracts(self) -> tuple[Contract, ...]:
        return ()  # forward() is the architecture's

    def result(self, arguments: Arguments) -> Values:
        return ()


def model(origin: str = "") -> Model:
    """What every language model of the course can do, adapter or not."""
    names = ("transformers.PreTrainedModel", "transformers.GenerationMixin")
    names += ("peft.PeftModel", "peft.LoraModel")
    return Model(tuple(class_named(name) for name in names), origin)


def class_named(dotted: str) -> type:
    """The class behind `package.Class`, imported if need be."""
    package, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(package), name)


def instance(owner: type) -> Values:
    """An object of a class; not known where the class is too wide to judge by."""
    if f"{owner.__module__}.{owner.__qualname__}" in TOO_WIDE:
        return ()
    if MODEL_BASES.intersection(titles_of(owner)):
        return (model(),)
    return (Instance((owner,)),)


def wrap(found: object, title: str) -> Values:
    """The value for an object found in a module."""
    if isinstance(found, types.ModuleType):
        return (Module(found),)
    if isinstance(found, type):
        return (Class(found),)
    return (Function(found, title),) if inspect.isroutine(found) else ()


def merged(values: Iterable[Value]) -> Values:
    """One object that is of any of the given classes; not known if one is not."""
    values = tuple(values)
    if not all(isinstance(value, Instance) for value in values):
        return ()
    if any(isinstance(value, Model) for value in values):
        return (model(),)
    owners = dict.fromkeys(owner for value in values for owner in value.classes)
    return (Instance(tuple(owners)),) if owners else ()

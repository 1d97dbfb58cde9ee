"""Objects of installed classes, and their methods."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass

from api_gate.allowed import MODEL_EXTRAS, MODEL_SUBMODULES, STANDS_FOR, TOO_WIDE
from api_gate.introspection import (
    answers_any_name,
    assigns_to_self,
    is_method,
    plain_function,
    signature_of,
    titles_of,
    without_first,
)
from api_gate.results import annotated, from_table
from api_gate.values import Arguments, Contract, MissingName, Value, Values

MODEL_BASES = {"transformers.PreTrainedModel", "transformers.GenerationMixin"}
MODEL_BASES |= {"peft.PeftModel", "peft.PeftMixedModel"}
MODEL_BASES |= {"transformers._BaseAutoModelClass"}  # as an annotation


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
    extras = ()  # names of methods beyond those of the classes

    def attribute(self, name: str, *, called: bool = False) -> Values:
        owners = [owner for owner in self.classes if hasattr(owner, name)]
        found = [inspect.getattr_static(owner, name, None) for owner in owners]
        if owners and all(is_method(each) for each in found):
            methods = tuple(Method(owner, name, True, (self,)) for owner in owners)
            return methods if len(methods) == 1 else (AnyOf(methods),)
        if owners or not called or self._may_have(name):
            return ()
        known = [each for owner in self.classes for each in dir(owner)]
        raise MissingName(self.title, name, [*known, *self.extras])

    def _may_have(self, name: str) -> bool:
        return any(
            answers_any_name(owner) or assigns_to_self(owner, name)
            for owner in self.classes
        )

    @property
    def title(self) -> str:
        return "an object of " + " or ".join(
            titles_of(owner)[0] for owner in self.classes
        )

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

    @property
    def extras(self) -> tuple[str, ...]:
        return () if self.origin == "plain" else tuple(MODEL_EXTRAS)

    def attribute(self, name: str, *, called: bool = False) -> Values:
        if name in self.extras:
            from api_gate.sources import extra_methods

            return extra_methods(name)
        if name in MODEL_SUBMODULES:
            return ()
        return super().attribute(name, called=called)

    @property
    def title(self) -> str:
        return "a language model"

    def _may_have(self, name: str) -> bool:
        return False  # a layer can be any name, but layers are read, seldom called

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
    title = titles_of(owner)[0]
    if title in TOO_WIDE:
        return ()
    if title in STANDS_FOR:
        owner = class_named(STANDS_FOR[title])
    if MODEL_BASES.intersection(titles_of(owner)):
        return (model(),)
    return (Instance((owner,)),)


def merged(values: Iterable[Value]) -> Values:
    """One object that is of any of the given classes; not known if one is not."""
    values = tuple(values)
    if not all(isinstance(value, Instance) for value in values):
        return ()
    if any(isinstance(value, Model) for value in values):
        return (model(),)
    owners = dict.fromkeys(owner for value in values for owner in value.classes)
    return (Instance(tuple(owners)),) if owners else ()

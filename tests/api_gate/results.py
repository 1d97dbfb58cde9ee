"""What a call of an installed function gives: by table, else by annotation."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable

from api_gate.allowed import returned
from api_gate.introspection import signature_of
from api_gate.values import Arguments, Items, Values


def from_table(
    titles: tuple[str, ...], itself: Values, owner: type | None, arguments: Arguments
) -> Values | None:
    """What `api_gate.allowed.RETURNS` says of a call, None where it says nothing."""
    given = returned(titles)
    if given is None:
        return None
    kinds = given.split(", ")
    found = tuple(_of_kind(kind, itself, owner, arguments) for kind in kinds)
    return found[0] if len(found) == 1 else (Items(found),)


def _of_kind(
    kind: str, itself: Values, owner: type | None, arguments: Arguments
) -> Values:
    from api_gate.objects import class_named, instance, model

    if kind.endswith("model"):
        return (model(kind.removesuffix("model").strip()),)
    if kind == "tokenizer":
        return instance(class_named("transformers.PreTrainedTokenizerBase"))
    if kind == "config":
        return instance(class_named("transformers.PreTrainedConfig"))
    if kind == "self":
        return itself
    if kind == "own class":
        return instance(owner) if owner else ()
    _, position, keyword = kind.split(" ")
    return arguments(int(position), keyword)


def annotated(function: Callable, owner: type | None) -> Values:
    """What the return annotation of an installed function says."""
    signature = signature_of(function)
    if signature is None or signature.return_annotation is signature.empty:
        return ()
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    return _of_annotation(signature.return_annotation, module, owner)


def _of_annotation(
    annotation: object, module: types.ModuleType | None, owner: type | None
) -> Values:
    from api_gate.objects import instance, merged

    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        annotation = _evaluated(annotation, module)
    if annotation is typing.Self:
        return instance(owner) if owner else ()
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        parts = [_of_annotation(part, module, owner) for part in inner if _is(part)]
        return merged(value for part in parts for value in part) if all(parts) else ()
    if origin is tuple and Ellipsis not in inner:
        return (Items(tuple(_of_annotation(part, module, owner) for part in inner)),)
    if origin in (list, dict):
        return instance(origin)
    is_class = isinstance(annotation, type) and origin is None and _is(annotation)
    return instance(annotation) if is_class else ()


def _is(annotation: object) -> bool:
    return annotation not in (None, type(None))


def _evaluated(annotation: str, module: types.ModuleType | None) -> object:
    """The object behind an annotation in quotes, None where a name is missing."""
    if module is None:
        return None
    names = dict(vars(sys.modules[module.__name__.split(".")[0]]))
    try:
        return eval(annotation, names | vars(module))
    except Exception:  # a name that exists for type checkers alone
        return None

"""Small questions to Python about classes and functions, without calling them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from functools import cache

_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
# Their __getattr__ gives stored data (special tokens, columns, settings), no methods.
_DATA_ONLY = {"PreTrainedTokenizerBase", "BatchEncoding", "PreTrainedConfig"}
_DATA_ONLY |= {"HeterogeneousConfigMixin"}


def is_method(found: object) -> bool:
    """Whether a class attribute, read statically, is called as a method."""
    return isinstance(found, classmethod | staticmethod) or inspect.isroutine(found)


def plain_function(found: object) -> object:
    """The function under `classmethod`, `staticmethod` and decorators.

    transformers copies bound methods onto its Auto classes; inspect would take the
    first argument off twice there, so the bound method is opened as well.
    """
    if isinstance(found, classmethod | staticmethod):
        found = found.__func__
    found = inspect.unwrap(found)
    return found.__func__ if inspect.ismethod(found) else found


def signature_of(thing: Callable) -> inspect.Signature | None:
    """The signature, None where Python keeps none (functions written in C)."""
    try:
        return inspect.signature(thing)
    except (TypeError, ValueError):
        return None


def without_first(signature: inspect.Signature) -> inspect.Signature:
    """The signature as a caller sees it once `self` or `cls` is filled in."""
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].kind in _POSITIONAL:
        parameters = parameters[1:]
    return signature.replace(parameters=parameters)


def titles_of(owner: type) -> tuple[str, ...]:
    """`root.Class` for the class and all that it inherits from."""
    return tuple(
        f"{base.__module__.split('.')[0]}.{base.__name__}"
        for base in inspect.getmro(owner)
    )


def answers_any_name(owner: type) -> bool:
    """Whether a class makes up attributes, so that a missing one proves nothing."""
    return any(
        "__getattr__" in vars(base) and base.__name__ not in _DATA_ONLY
        for base in inspect.getmro(owner)
    )


@cache
def assigns_to_self(owner: type, name: str) -> bool:
    """Whether some method of the class, or of a base, stores `self.name`."""
    for base in inspect.getmro(owner):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):
            continue  # written in C, or made at run time
        if name in stored_on_self(tree):
            return True
    return False


def stored_on_self(tree: ast.AST) -> set[str]:
    """The attributes that code below a node stores on `self`."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }

"""Is a call right by the signatures that it must meet? And if not, what is near?"""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass

from api_gate.allowed import allowed_keywords, forward_targets
from api_gate.installed import installed_module
from api_gate.objects import class_named
from api_gate.values import Contract, Value

_NAMED = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)
_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


@dataclass(frozen=True)
class Call:
    """What a call passes, as far as its text says.

    Attributes:
        positional: How many arguments by position, at the least.
        keywords: The keywords, those of dictionary literals after `**` included.
        open_positions: Whether `*something` adds more.
        open_keywords: Whether `**something` of unknown content adds more.
    """

    positional: int
    keywords: tuple[str, ...]
    open_positions: bool
    open_keywords: bool


def faults_of(call: Call, callees: Iterable[Value]) -> list[str]:
    """What is wrong with a call; every callee has to accept it.

    A callee with several contracts (a union of classes) needs to meet one of them.
    """
    contracts = [callee.contracts() for callee in callees]
    views = [each for group in contracts for each in group if each.view]
    found: list[str] = []
    for group in filter(None, contracts):
        verdicts = [_faults(call, contract, views) for contract in group]
        found += min(verdicts, key=len)
    return list(dict.fromkeys(found))


def _faults(call: Call, contract: Contract, views: list[Contract]) -> list[str]:
    takes = _takes(contract, views)
    takes_any = contract.ours and _is_open(contract)
    found = [
        f"unknown keyword {keyword!r} for {place(contract)}; {nearest(keyword, takes)}"
        for keyword in call.keywords
        if keyword not in takes and not takes_any
    ]
    return found + _positional_faults(call, contract) + _missing_faults(call, contract)


def _is_open(contract: Contract) -> bool:
    parameters = contract.signature.parameters.values()
    return any(each.kind is each.VAR_KEYWORD for each in parameters)


def _positional_faults(call: Call, contract: Contract) -> list[str]:
    parameters = contract.signature.parameters.values()
    by_position = [each for each in parameters if each.kind in _POSITIONAL]
    filled = by_position[: call.positional]
    found = [
        f"{each.name!r} is passed to {place(contract)} by position and by keyword"
        for each in filled
        if each.name in call.keywords and each.kind in _NAMED
    ]
    takes_any = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    if call.positional > len(by_position) and not takes_any:
        names = ", ".join(each.name for each in by_position) or "none"
        found.append(
            f"{call.positional} arguments by position, but {place(contract)} takes "
            f"{len(by_position)} ({names})"
        )
    return found


def _missing_faults(call: Call, contract: Contract) -> list[str]:
    parameters = list(contract.signature.parameters.values())
    by_position = [each for each in parameters if each.kind in _POSITIONAL]
    filled = {each.name for each in by_position[: call.positional]}
    found = []
    for each in parameters:
        required = each.default is each.empty and each.kind in (*_NAMED, *_POSITIONAL)
        maybe = call.open_positions and each.kind in _POSITIONAL
        maybe |= call.open_keywords and each.kind in _NAMED
        if required and not maybe and each.name not in {*filled, *call.keywords}:
            found.append(
                f"required argument {each.name!r} of {place(contract)} missing"
            )
    return found


def _takes(contract: Contract, views: list[Contract]) -> set[str]:
    """Every keyword that a contract accepts, its `**kwargs` looked into.

    Where the kwargs of one of Unsloth's paths are handed on, only what the receiver
    takes is right. Where they are dropped, what the other path names is right too.
    """
    parameters = contract.signature.parameters.values()
    names = {each.name for each in parameters if each.kind in _NAMED}
    if not _is_open(contract):
        return names
    names |= contract.consumed | allowed_keywords(contract.titles)
    targets = forward_targets(contract.titles)
    for target in targets:
        names |= taken_by(target)
    if contract.view and not targets:
        for other in views:
            names |= _stated(other)
    return names


def _stated(contract: Contract) -> set[str]:
    parameters = contract.signature.parameters.values()
    return {each.name for each in parameters if each.kind in _NAMED}


def taken_by(target: str) -> set[str]:
    """The keywords that `package.Class` or `package.Class.method` takes."""
    kind, _, dotted = target.rpartition(":")
    if kind == "fields":
        return set(vars(class_named(dotted)()))
    package, *path = dotted.split(".")
    values = (installed_module(package),)
    for name in path:
        values = values[0].attribute(name)
    taken = {name for each in values[0].contracts() for name in _takes(each, [])}
    return taken - {"self"}


def place(contract: Contract) -> str:
    """How a message names a callable, and on which of Unsloth's paths."""
    path = f" on Unsloth's {contract.view} path" if contract.view else ""
    return contract.title + path


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the name that was probably meant, else the names that there are."""
    names = sorted(each for each in known if not each.startswith("_"))
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"nearest is {close[0]!r}"
    if len(names) > 16:
        return f"nothing is near among its {len(names)} names"
    there = f"; there are {', '.join(names)}" if names else ""
    return f"nothing is near{there}"


def call_of(node: ast.Call, dictionaries: list[frozenset[str] | None]) -> Call:
    """A call as its text states it.

    Args:
        node: The call.
        dictionaries: For each `**` in it, the keys if they are known.
    """
    starred = [isinstance(each, ast.Starred) for each in node.args]
    named = [word.arg for word in node.keywords if word.arg is not None]
    for keys in dictionaries:
        named += sorted(keys or ())
    return Call(
        positional=starred.count(False),
        keywords=tuple(named),
        open_positions=any(starred),
        open_keywords=bool(dictionaries),
    )

"""What an expression stands for, and the calls inside it held to their contracts."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from api_gate.calls import call_of, faults_of, nearest
from api_gate.values import (
    Arguments,
    Items,
    Keywords,
    LocalFunction,
    MissingName,
    Value,
    Values,
)

Scope = dict[str, Values]


@dataclass
class Report:
    """What the gate saw in one file.

    Attributes:
        faults: One line each: file:line, call, what is wrong, nearest name.
        resolved: `line: call` of each call whose callee is a library's.
        held: Those of them that a signature was found for.
        libraries: Which libraries the file imports.
    """

    faults: list[str] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    libraries: set[str] = field(default_factory=set)


class Expressions:
    """Evaluates expressions to values, in the scopes that a reader keeps."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.report = Report()
        self.scopes: list[Scope] = [{}]
        self.passed: dict[ast.AST, Scope] = {}  # to functions of the file itself

    def fault(self, node: ast.AST, what: str, text: str) -> None:
        """Note a fault, once, however many ways lead to it."""
        line = f"{self.name}:{node.lineno}: {what}: {text}"
        if line not in self.report.faults:
            self.report.faults.append(line)

    def missing(self, node: ast.AST, what: str, error: Exception) -> None:
        """Note a name that is not there, or a module that cannot be imported."""
        hint = ""
        if isinstance(error, MissingName):
            hint = f"; {nearest(error.name, error.known)}"
        self.fault(node, what, f"{error}{hint}")

    def bind(self, target: ast.expr, values: Values) -> None:
        """Assign to a target: a name, or a tuple of targets item by item."""
        if isinstance(target, ast.Name):
            self.scopes[-1][target.id] = values
        elif isinstance(target, ast.Tuple | ast.List):
            for index, each in enumerate(target.elts):
                self.bind(each, _item(values, index, len(target.elts)))
        elif isinstance(target, ast.Starred):
            self.bind(target.value, ())
        else:
            self.value_of(target)  # an attribute or an item: nothing to remember

    def value_of(self, node: ast.AST) -> Values:
        """The values of an expression; every call inside it is examined."""
        rule = getattr(self, f"_see_{type(node).__name__}", self._see_any)
        return rule(node)

    def _see_any(self, node: ast.AST) -> Values:
        for child in ast.iter_child_nodes(node):
            self.value_of(child)
        return ()

    def _see_Name(self, node: ast.Name) -> Values:
        for scope in reversed(self.scopes):
            if node.id in scope:
                return scope[node.id]
        return ()

    def _see_Attribute(self, node: ast.Attribute, called: bool = False) -> Values:
        owners = self.value_of(node.value)
        return self.attributes(node, owners, node.attr, called)

    def attributes(
        self, node: ast.AST, owners: Values, name: str, called: bool = False
    ) -> Values:
        """An attribute of each owner; one that is surely not there is a fault."""
        found: list[Value] = []
        for owner in owners:
            try:
                found += owner.attribute(name, called=called)
            except (MissingName, ImportError) as error:
                what = f"import of {name}"
                is_import = isinstance(node, ast.ImportFrom)
                self.missing(node, what if is_import else ast.unparse(node), error)
        return tuple(dict.fromkeys(found))

    def _see_NamedExpr(self, node: ast.NamedExpr) -> Values:
        values = self.value_of(node.value)
        self.bind(node.target, values)
        return values

    def _see_IfExp(self, node: ast.IfExp) -> Values:
        self.value_of(node.test)
        return self.value_of(node.body) + self.value_of(node.orelse)

    def _see_Await(self, node: ast.Await) -> Values:
        return self.value_of(node.value)

    def _see_Tuple(self, node: ast.Tuple) -> Values:
        return (Items(tuple(self.value_of(each) for each in node.elts)),)

    def _see_Subscript(self, node: ast.Subscript) -> Values:
        values = self.value_of(node.value)
        self.value_of(node.slice)
        index = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if not isinstance(index, int):
            return ()
        return _item(values, index, 0)

    def _see_Lambda(self, node: ast.Lambda) -> Values:
        self.scopes.append({each.arg: () for each in parameters_of(node.args)})
        self.value_of(node.body)
        self.scopes.pop()
        return ()

    def _see_comprehension_of(self, node: ast.expr) -> Values:
        self.scopes.append({})
        for each in node.generators:
            self.value_of(each.iter)
            self.bind(each.target, ())
            for condition in each.ifs:
                self.value_of(condition)
        parts = ("elt", "key", "value")
        for part in filter(None, (getattr(node, name, None) for name in parts)):
            self.value_of(part)
        self.scopes.pop()
        return ()

    _see_ListComp = _see_SetComp = _see_comprehension_of
    _see_DictComp = _see_GeneratorExp = _see_comprehension_of

    def _see_Dict(self, node: ast.Dict) -> Values:
        names: set[str] = set()
        known = True
        for key, value in zip(node.keys, node.values, strict=True):
            found = self.value_of(value)
            if key is None:
                keys = _keys(found)
                names |= keys or set()
                known &= keys is not None
            elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                names.add(key.value)
            else:
                self.value_of(key)
                known = False
        return (Keywords(frozenset(names)),) if known else ()

    def _see_BinOp(self, node: ast.BinOp) -> Values:
        left, right = (_keys(self.value_of(each)) for each in (node.left, node.right))
        if isinstance(node.op, ast.BitOr) and left is not None and right is not None:
            return (Keywords(left | right),)
        return ()

    def _see_Call(self, node: ast.Call) -> Values:
        function = node.func
        if isinstance(function, ast.Attribute):
            callees = self._see_Attribute(function, called=True)
        else:
            callees = self.value_of(function)
        positional = [self.value_of(each) for each in node.args]
        words = [(word.arg, self.value_of(word.value)) for word in node.keywords]
        call = call_of(node, [_keys(values) for name, values in words if name is None])
        self._examine(node, call, callees)
        if isinstance(function, ast.Name) and function.id == "dict" and not callees:
            plain = not call.positional and not call.open_keywords
            return (Keywords(frozenset(call.keywords)),) if plain else ()

        def passed(position: int, keyword: str) -> Values:
            if position < len(positional):
                return positional[position]
            return dict(words).get(keyword, ())

        for each in callees:
            if isinstance(each, LocalFunction):
                self._note_passed(each, passed)
        return tuple(value for each in callees for value in each.result(passed))

    def _note_passed(self, function: LocalFunction, passed: Arguments) -> None:
        """Remember what a function of the file is called with, to read its body."""
        known = self.passed.setdefault(function.node, {})
        stated = function.node.args
        for index, each in enumerate(stated.posonlyargs + stated.args):
            found = known.get(each.arg, ()) + passed(index, each.arg)
            known[each.arg] = tuple(dict.fromkeys(found))

    def _examine(self, node: ast.Call, call: object, callees: Values) -> None:
        what = f"{ast.unparse(node.func)}()"
        if any(callee.library for callee in callees):
            self.report.resolved.append(f"{node.lineno}: {what}")
            if any(callee.contracts() for callee in callees):
                self.report.held.append(f"{node.lineno}: {what}")
        for fault in faults_of(call, callees):
            self.fault(node, what, fault)


def parameters_of(arguments: ast.arguments) -> list[ast.arg]:
    """All parameters of a function or lambda."""
    plain = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
    return plain + [each for each in (arguments.vararg, arguments.kwarg) if each]


def _item(values: Values, index: int, length: int) -> Values:
    """Item `index` of tuples; `length`, unless 0, is how many items are expected."""
    found: list[Value] = []
    for value in values:
        fits = isinstance(value, Items) and length in (0, len(value.items))
        if fits and -len(value.items) <= index < len(value.items):
            found += value.items[index]
    return tuple(found)


def _keys(values: Values) -> frozenset[str] | None:
    """The keys of a dictionary that is known in every case, else None."""
    if not values or not all(isinstance(value, Keywords) for value in values):
        return None
    return frozenset().union(*(value.names for value in values))

"""Hold every call into the fine-tuning libraries against its signature.

A notebook that runs on a CPU never executes its GPU branch, and no GPU is at hand
to try it. What can be known without one is known here: each call whose callee
comes from unsloth, trl, peft, transformers and so on must pass arguments that the
pinned, installed version has. Nothing of the examined file is executed; names are
followed through imports, assignments, annotations and return types.

`examine(name, text)` is the whole interface. Run it in a process that has not
imported Unsloth, which replaces classes of TRL and transformers when it is.
"""

from __future__ import annotations

import ast

from api_gate.annotations import from_annotation
from api_gate.expressions import Expressions, Report, Scope, parameters_of
from api_gate.installed import INSTALLED, installed_module
from api_gate.sources import READ_AS_SOURCE, import_source
from api_gate.values import LocalFunction, MissingName, Values

LIBRARIES = {*INSTALLED, *READ_AS_SOURCE} - {"course_utils"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def examine(name: str, text: str) -> Report:
    """Read one file and hold its calls against the installed libraries.

    Args:
        name: The file's name, for messages.
        text: Python; a notebook in py:percent form has its magics commented out.

    Returns:
        The faults and the calls seen. Text that is not Python is one fault.
    """
    reader = Reader(name)
    try:
        reader.read(ast.parse(text, name))
    except SyntaxError as error:
        where = f"{name}:{error.lineno}"
        reader.report.faults.append(f"{where}: not Python: {error.msg}")
    return reader.report


class Reader(Expressions):
    """Walks the statements of a file in order and knows what its names stand for."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._waiting: list[tuple[Function, list[Scope]]] = []
        self._guarded = 0  # depth of `try: import x` with `except ImportError:`

    def read(self, tree: ast.Module) -> None:
        """Read the module; bodies of functions last, when all names are bound.

        Functions without annotations come after the rest: by then it is known what
        they are called with.
        """
        self._block(tree.body)
        while self._waiting:
            self._waiting.sort(key=lambda entry: not _is_annotated(entry[0]))
            function, self.scopes = self._waiting.pop(0)
            self.scopes.append({})
            for each in parameters_of(function.args):
                self.scopes[-1][each.arg] = self._parameter(function, each)
            self._block(function.body)

    def _parameter(self, function: Function, parameter: ast.arg) -> Values:
        if parameter in (function.args.vararg, function.args.kwarg):
            return ()
        if parameter.annotation is None:
            return self.passed.get(function, {}).get(parameter.arg, ())
        return from_annotation(parameter.annotation, self.value_of)

    def missing(self, node: ast.AST, what: str, error: Exception) -> None:
        if not self._guarded:
            super().missing(node, what, error)

    def _block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            rule = getattr(self, f"_do_{type(statement).__name__}", self._do_any)
            rule(statement)

    def _do_any(self, node: ast.AST) -> None:
        """A statement without a rule of its own: its expressions, then its blocks."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self._block([child])
            elif isinstance(child, ast.expr):
                self.value_of(child)
            else:
                self._do_any(child)

    def _do_Import(self, statement: ast.Import) -> None:
        for alias in statement.names:
            module = self._module(statement, alias.name)
            root = alias.name.split(".")[0]
            if alias.asname is None and root != alias.name:
                module = self._module(statement, root)
            self.scopes[-1][alias.asname or root] = module

    def _do_ImportFrom(self, statement: ast.ImportFrom) -> None:
        if statement.level:
            return
        modules = self._module(statement, statement.module)
        for alias in statement.names:
            if alias.name != "*":
                found = self.attributes(statement, modules, alias.name)
                self.scopes[-1][alias.asname or alias.name] = found

    def _module(self, statement: ast.stmt, dotted: str) -> Values:
        root = dotted.split(".")[0]
        self.report.libraries |= {root} & LIBRARIES
        try:
            if root in READ_AS_SOURCE:
                return import_source(dotted)
            return (installed_module(dotted),) if root in INSTALLED else ()
        except (MissingName, ImportError) as error:
            self.missing(statement, f"import of {dotted}", error)
            return ()

    def _do_FunctionDef(self, statement: Function) -> None:
        defaults = statement.args.defaults + statement.args.kw_defaults
        for expression in filter(None, statement.decorator_list + defaults):
            self.value_of(expression)
        given = from_annotation(statement.returns, self.value_of)
        plain = not statement.decorator_list
        self.scopes[-1][statement.name] = (
            (LocalFunction(statement, given),) if plain else ()
        )
        self._waiting.append((statement, list(self.scopes)))

    _do_AsyncFunctionDef = _do_FunctionDef

    def _do_ClassDef(self, statement: ast.ClassDef) -> None:
        for expression in statement.bases + statement.decorator_list:
            self.value_of(expression)
        self.scopes[-1][statement.name] = ()
        waiting = len(self._waiting)
        self.scopes.append({})
        self._block(statement.body)
        self.scopes.pop()
        for _, scopes in self._waiting[waiting:]:
            scopes.pop()  # a method does not see the names of its class

    def _do_Assign(self, statement: ast.Assign) -> None:
        values = self.value_of(statement.value)
        for target in statement.targets:
            self.bind(target, values)

    def _do_AnnAssign(self, statement: ast.AnnAssign) -> None:
        stated = from_annotation(statement.annotation, self.value_of)
        found = self.value_of(statement.value) if statement.value else ()
        self.bind(statement.target, found or stated)

    def _do_AugAssign(self, statement: ast.AugAssign) -> None:
        self.value_of(statement.value)
        self.bind(statement.target, ())

    def _do_For(self, statement: ast.For) -> None:
        self.value_of(statement.iter)
        self.bind(statement.target, ())
        self._branches(statement.body, statement.orelse)

    _do_AsyncFor = _do_For

    def _do_If(self, statement: ast.If | ast.While) -> None:
        self.value_of(statement.test)
        self._branches(statement.body, statement.orelse)

    _do_While = _do_If

    def _do_With(self, statement: ast.With) -> None:
        for item in statement.items:
            self.value_of(item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, ())
        self._block(statement.body)

    _do_AsyncWith = _do_With

    def _do_Try(self, statement: ast.Try) -> None:
        caught = {ast.unparse(each.type) for each in statement.handlers if each.type}
        guards = bool(caught & {"ImportError", "ModuleNotFoundError"})
        self._guarded += guards
        self._block(statement.body)
        self._guarded -= guards
        self._branches([], *(handler.body for handler in statement.handlers))
        self._block(statement.orelse + statement.finalbody)

    def _branches(self, *bodies: list[ast.stmt]) -> None:
        """Read each body from the same start; then a name is any of its values.

        The scope stays the same object, since functions defined here hold on to it.
        """
        scope = self.scopes[-1]
        start, ends = dict(scope), []
        for body in bodies:
            scope.clear()
            scope.update(start)
            self._block(body)
            ends.append(dict(scope))
        for name in {name for end in ends for name in end}:
            found = (value for end in ends for value in end.get(name, ()))
            scope[name] = tuple(dict.fromkeys(found))


def _is_annotated(function: Function) -> bool:
    return all(each.annotation for each in parameters_of(function.args))

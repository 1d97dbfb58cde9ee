"""Hold every call into the fine-tuning libraries against its signature.

A notebook that runs on a CPU never executes its GPU branch, and no GPU is at hand
to try it. What can be known without one is known here: each call whose callee
comes from unsloth, trl, peft, transformers and so on must name arguments that the
pinned, installed version has. Nothing of the examined file is executed; names are
followed through imports, assignments, annotations and return types.

`examine(name, text)` is the whole interface. Run it in a process that has not
imported Unsloth, which replaces classes of TRL and transformers when it is.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from api_calls import Call, faults_of
from api_functions import from_annotation
from api_installed import INSTALLED, installed_module
from api_sources import READ_AS_SOURCE, import_source
from api_values import Items, Keywords, MissingName, Returning, Value, Values

LIBRARIES = {*INSTALLED, *READ_AS_SOURCE} - {"course_utils"}
Scope = dict[str, Values]
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass
class Report:
    """What the gate saw in one file.

    Attributes:
        faults: One line each: file:line, call, what is wrong, nearest name.
        resolved: `line title` of each call whose callee is a library's.
        held: Those of them that a signature was found for.
        libraries: Which of `LIBRARIES` the file imports.
    """

    faults: list[str] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    libraries: set[str] = field(default_factory=set)


def examine(name: str, text: str) -> Report:
    """Read one file and hold its calls against the installed libraries.

    Args:
        name: The file's name, for messages.
        text: Python; a notebook in py:percent form has its magics commented out.

    Raises:
        SyntaxError: If the text is not Python.
    """
    reader = Reader(name)
    reader.read(ast.parse(text, name))
    return reader.report


class Reader:
    """Walks the statements of a file in order and knows what its names stand for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.report = Report()
        self.scopes: list[Scope] = [{}]
        self.waiting: list[tuple[ast.AST, list[Scope]]] = []
        self.guarded = 0  # depth of `try: import x / except ImportError:`

    def read(self, tree: ast.Module) -> None:
        """Read the module; bodies of functions last, when all names are bound."""
        self.block(tree.body)
        while self.waiting:
            function, scopes = self.waiting.pop(0)
            self.scopes = [*scopes, {}]
            self._bind_parameters(function.args)
            self.block(function.body)

    def fault(self, node: ast.AST, what: str, text: str) -> None:
        """Note a fault once, however many ways lead to it."""
        line = f"{self.name}:{node.lineno}: {what}: {text}"
        if line not in self.report.faults:
            self.report.faults.append(line)

    # Statements

    def block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            kind = type(statement).__name__
            getattr(self, f"_do_{kind}", self._do_any)(statement)

    def _do_any(self, statement: ast.stmt) -> None:
        """A statement without a rule of its own: its expressions, then its blocks."""
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.expr):
                self.value_of(child)
            elif isinstance(child, ast.stmt):
                self.block([child])
            else:
                self._do_any(child)

    def _do_Import(self, statement: ast.Import) -> None:
        for alias in statement.names:
            whole = self._module(statement, alias.name)
            if alias.asname:
                self._bind(alias.asname, whole)
            else:
                root = alias.name.split(".")[0]
                self._bind(root, self._module(statement, root))

    def _do_ImportFrom(self, statement: ast.ImportFrom) -> None:
        modules = self._module(statement, statement.module or "")
        for alias in statement.names:
            if alias.name != "*":
                found = self._attributes(statement, modules, alias.name)
                self._bind(alias.asname or alias.name, found)

    def _module(self, statement: ast.stmt, dotted: str) -> Values:
        root = dotted.split(".")[0]
        if getattr(statement, "level", 0) or root not in LIBRARIES | {"course_utils"}:
            return ()
        self.report.libraries |= {root} & LIBRARIES
        try:
            if root in READ_AS_SOURCE:
                return import_source(dotted)
            return (installed_module(dotted),)
        except (MissingName, ImportError) as error:
            self._missing(statement, f"import {dotted}", error)
            return ()

    def _do_FunctionDef(self, statement: FUNCTIONS) -> None:
        for expression in [*statement.decorator_list, *statement.args.defaults]:
            self.value_of(expression)
        given = from_annotation(statement.returns, self.value_of)
        self._bind(statement.name, (Returning(given),))
        self.waiting.append((statement, list(self.scopes)))

    _do_AsyncFunctionDef = _do_FunctionDef

    def _do_ClassDef(self, statement: ast.ClassDef) -> None:
        for base in [*statement.bases, *statement.decorator_list]:
            self.value_of(base)
        self.scopes.append({})
        self.block([each for each in statement.body if not isinstance(each, FUNCTIONS)])
        self.scopes.pop()
        methods = [each for each in statement.body if isinstance(each, FUNCTIONS)]
        self.waiting += [(method, list(self.scopes)) for method in methods]
        self._bind(statement.name, ())

    def _do_Assign(self, statement: ast.Assign) -> None:
        values = self.value_of(statement.value)
        for target in statement.targets:
            self._assign(target, values)

    def _do_AnnAssign(self, statement: ast.AnnAssign) -> None:
        stated = from_annotation(statement.annotation, self.value_of)
        found = self.value_of(statement.value) if statement.value else ()
        self._assign(statement.target, found or stated)

    def _do_AugAssign(self, statement: ast.AugAssign) -> None:
        self.value_of(statement.value)
        self._assign(statement.target, ())

    def _do_For(self, statement: ast.For) -> None:
        self.value_of(statement.iter)
        self._assign(statement.target, ())
        self._branches(statement.body, statement.orelse)

    _do_AsyncFor = _do_For

    def _do_While(self, statement: ast.While) -> None:
        self.value_of(statement.test)
        self._branches(statement.body, statement.orelse)

    def _do_If(self, statement: ast.If) -> None:
        self.value_of(statement.test)
        self._branches(statement.body, statement.orelse)

    def _do_With(self, statement: ast.With) -> None:
        for item in statement.items:
            self.value_of(item.context_expr)
            if item.optional_vars is not None:
                self._assign(item.optional_vars, ())
        self.block(statement.body)

    _do_AsyncWith = _do_With

    def _do_Try(self, statement: ast.Try) -> None:
        caught = " ".join(
            ast.unparse(each.type or ast.Constant("Exception"))
            for each in statement.handlers
        )
        guards = "ImportError" in caught or "ModuleNotFoundError" in caught
        self.guarded += guards
        self.block(statement.body)
        self.guarded -= guards
        for handler in statement.handlers:
            self._branches(handler.body, [])
        self.block(statement.orelse + statement.finalbody)

    def _branches(self, *bodies: list[ast.stmt]) -> None:
        """Read each body from the same start; afterwards a name is any of its values."""
        start, ends = dict(self.scopes[-1]), []
        for body in bodies:
            self.scopes[-1] = dict(start)
            self.block(body)
            ends.append(self.scopes[-1])
        self.scopes[-1] = {
            name: tuple(
                dict.fromkeys(value for end in ends for value in end.get(name, ()))
            )
            for name in {name for end in ends for name in end}
        }

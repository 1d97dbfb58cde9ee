"""Values read from source by `ast`: Unsloth's two paths, unsloth_zoo, our package.

Importing Unsloth takes 15 seconds and shows the path of this machine only. Its
source shows both: `from unsloth import X` means `_gpu_init` where a GPU is, and
`_cpu_init` where none is. A name is therefore looked up in both *views*, and a
call has to suit both.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from api_gate.allowed import CPU_SUBMODULES, MODEL_EXTRAS
from api_gate.bindings import Function, module_bindings
from api_gate.installed import INSTALLED, installed_module
from api_gate.values import MissingName, Value, Values

READ_AS_SOURCE = ("unsloth", "unsloth_zoo", "course_utils")
VIEWS = ("GPU", "CPU")
_being_looked_up: set[tuple[str, str, str]] = set()


def import_source(dotted: str) -> Values:
    """The module behind `import dotted`: on both paths, if it is Unsloth's.

    Raises:
        MissingName: If one of the paths has no such module.
    """
    views = VIEWS if dotted.split(".")[0] == "unsloth" else ("",)
    return tuple(_imported_module(dotted, view) for view in views)


def _imported_module(dotted: str, view: str) -> SourceModule:
    parts = dotted.split(".")
    if view == "CPU" and len(parts) > 1:
        submodule = ".".join(parts[:2])
        if submodule == "unsloth.trainer":
            return StubModule(dotted, view)
        if submodule not in CPU_SUBMODULES:
            why = "an import below the top level starts the GPU path's patching there"
            raise MissingName("Unsloth's CPU path", dotted, CPU_SUBMODULES, why)
    module = SourceModule(dotted, view)
    if module.path is None:
        raise MissingName(parts[0], dotted)
    return module


@cache
def path_of(dotted: str) -> Path | None:
    """The file of an installed module, found without importing anything."""
    root, *rest = dotted.split(".")
    spec = importlib.util.find_spec(root)  # finds a package, does not import it
    folders = spec.submodule_search_locations if spec else None
    stem = Path(folders[0], *rest) if folders else None
    candidates = [stem / "__init__.py", stem.with_suffix(".py")] if stem else []
    return next((path for path in candidates if path.exists()), None)


@dataclass(frozen=True)
class SourceModule(Value):
    """A module that is read, not imported."""

    dotted: str
    view: str = ""

    @property
    def library(self) -> bool:
        return not self.dotted.startswith("course_utils")

    @property
    def path(self) -> Path | None:
        return path_of(self.dotted)

    def attribute(self, name: str, *, called: bool = False) -> Values:
        try:
            return self.lookup(name)
        except MissingName:
            dotted = f"{self.dotted}.{name}"
            if path_of(dotted) is None:
                raise
            return (_imported_module(dotted, self.view),)

    def lookup(self, name: str) -> Values:
        """What a name of the module is bound to; stars and imports are followed.

        Raises:
            MissingName: If the module binds no such name.
        """
        bindings = module_bindings(self.path, self.view)
        if name in bindings.names:
            return self._value(name, bindings.names[name])
        for star in reversed(bindings.stars):
            source = self._target(star)
            if source.path and module_bindings(source.path, self.view).exports(name):
                try:
                    return source.lookup(name)
                except MissingName:
                    continue
        path = f" on its {self.view} path" if self.view else ""
        why = self._where_else(name)
        raise MissingName(f"{self.dotted}{path}", name, self.public_names(), why)

    def _where_else(self, name: str) -> str:
        others = [view for view in VIEWS if self.view and view != self.view]
        having = [
            view
            for view in others
            if name in SourceModule(self.dotted, view).public_names()
        ]
        return "".join(f"its {view} path has it" for view in having)

    def public_names(self) -> set[str]:
        """Names that a user of the module may import."""
        bindings = module_bindings(self.path, self.view)
        names = {name for name in bindings.names if not name.startswith("_")}
        for star in bindings.stars:
            source = self._target(star)
            if source.path:
                exported = module_bindings(source.path, self.view).exported
                names |= source.public_names() if exported is None else exported
        return names

    def _target(self, node: ast.ImportFrom) -> SourceModule:
        """The module that a `from` names, relative to this one."""
        package = self.dotted.split(".")
        if self.path and self.path.name != "__init__.py":
            package = package[:-1]
        kept = package[: len(package) - node.level + 1] if node.level else []
        return SourceModule(".".join([*kept, *filter(None, [node.module])]), self.view)

    def _value(self, name: str, node: ast.AST) -> Values:
        key = (self.dotted, self.view, name)
        if key in _being_looked_up:
            return ()  # a circular import
        _being_looked_up.add(key)
        try:
            return self.value_of(node)
        finally:
            _being_looked_up.discard(key)

    def value_of(self, node: ast.AST) -> Values:
        """The values of a binding or of an expression of this module."""
        from api_gate.functions import SourceClass, SourceFunction

        if isinstance(node, Function):
            return (SourceFunction(self, node),)
        if isinstance(node, ast.ClassDef):
            return (SourceClass(self, node),)
        if isinstance(node, ast.ImportFrom):
            return self._from(node)
        if isinstance(node, ast.Import):
            return self._import(node.names[0])
        try:
            if isinstance(node, ast.Name):
                return self.lookup(node.id)
            if isinstance(node, ast.Attribute):
                owners = self.value_of(node.value)
                return sum((owner.attribute(node.attr) for owner in owners), ())
        except MissingName:
            return ()  # a builtin, say: this is not the file under examination
        return ()

    def _from(self, node: ast.ImportFrom) -> Values:
        source, name = self._target(node), node.names[0].name
        root = source.dotted.split(".")[0]
        try:
            if root in INSTALLED:
                return installed_module(source.dotted).attribute(name)
            if root in READ_AS_SOURCE and source.path:
                return SourceModule.attribute(source, name)
        except (MissingName, ImportError):
            return ()
        return ()

    def _import(self, alias: ast.alias) -> Values:
        dotted = alias.name if alias.asname else alias.name.split(".")[0]
        if dotted.split(".")[0] not in INSTALLED:
            return ()
        return (installed_module(dotted),)


class StubModule(SourceModule):
    """`unsloth.trainer` on a CPU: the few names that the CPU path puts into it."""

    def lookup(self, name: str) -> Values:
        start = SourceModule("unsloth._cpu_init", self.view)
        names = self.public_names()
        if name not in names:
            raise MissingName(f"{self.dotted} on its CPU path", name, names)
        return start.lookup(name)

    def public_names(self) -> set[str]:
        tree = module_bindings(path_of("unsloth._cpu_init"), self.view)
        maker = tree.names["_install_cpu_trainer_module"]
        return {
            target.attr
            for node in ast.walk(maker)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Attribute) and not target.attr.startswith("_")
        }


def extra_methods(name: str) -> Values:
    """A method that Unsloth puts on a model: the GPU path's and the CPU path's.

    Raises:
        MissingName: If one of the paths does not have it.
    """
    from api_gate.functions import SourceFunction

    found = []
    for view, dotted in MODEL_EXTRAS[name].items():
        if dotted is None:
            raise MissingName(f"a model on Unsloth's {view} path", name, MODEL_EXTRAS)
        module, _, function = dotted.rpartition(".")
        (value,) = SourceModule(module, view).lookup(function)
        found.append(SourceFunction(value.module, value.node, bound=True))
    return tuple(found)

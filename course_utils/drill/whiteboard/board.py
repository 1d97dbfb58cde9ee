"""What a whiteboard task is, and how a learner's function is tried on it."""

from __future__ import annotations

import ast
import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from typing import Any

import numpy as np

from course_utils.exercises.checking import TODO, Exercise, WrongAnswer, verdict

NUMPY = "import numpy as np"
Function = Callable[..., Any]
_IN_TORCH = "a function in torch wants check(…, torch.tensor)"


@dataclass(frozen=True, repr=False)
class Trouble:
    """What a call gives that returns nothing or raises; the same trouble is equal."""

    told: str
    line: str = field(default="", compare=False)  # of the learner's code

    def __repr__(self) -> str:
        return f"{self.told}{self.line}"


@dataclass(frozen=True, kw_only=True)
class Task:
    """A function to write in ten minutes; its repr shows neither hint nor solution."""

    slug: str
    title: str
    topic: str
    minutes: int = 10
    task: str  # what is asked, with shapes
    hint: str
    imports: str = NUMPY  # what stub and solution begin with; "": nothing
    exercise: Exercise  # cases have lists, so that messages can be read
    of_arrays: bool = True  # whether these lists reach the function as arrays
    observed: Callable[[Function], Function] = lambda function: function

    @property
    def stub(self) -> str:
        """Signature and docstring of the solution, to be filled."""
        todo = "from course_utils.exercises import TODO"
        return _below("\n\n".join(filter(None, [self.imports, todo])), self._body())

    @property
    def solution(self) -> str:
        """Source of the solution that the tests run."""
        return _below(self.imports, inspect.getsource(self.exercise.solution))

    def _body(self) -> str:
        source = inspect.getsource(self.exercise.solution)
        (function,) = ast.parse(source).body
        assert isinstance(function, ast.FunctionDef)
        docstring = function.body[0]
        kept = source.splitlines()[: docstring.end_lineno]
        return "\n".join([*kept, "    return TODO\n"])

    def check(self, attempt: Function, arrays: Function = np.array) -> str:
        """Try the learner's function; a line for the notebook.

        Args:
            arrays: Makes an array of a list; `torch.tensor` for a function in torch.

        Raises:
            WrongAnswer: At the first case that fails, naming the likely mistake.
        """
        if not callable(attempt):
            name = self.exercise.solution.__name__
            raise WrongAnswer(
                f"check got {type(attempt).__name__}, expected a function. Was it "
                f"called? Write check({name}), without brackets after the name."
            )
        return verdict(self._tried(attempt, arrays), self._on_arrays())

    def _on_arrays(self) -> Exercise:
        """The exercise, with mistakes that take its lists as arrays."""
        known = self.exercise.mistakes.items()
        tried = {told: self._tried(wrong, np.array) for told, wrong in known}
        return replace(self.exercise, mistakes=tried)

    def _tried(self, function: Function, arrays: Function) -> Function:
        """The function on arrays; nothing and exceptions are results of a kind."""

        @wraps(function)
        def call(*arguments: Any) -> Any:
            with np.errstate(all="ignore"):
                try:
                    made = function(*self._converted(arguments, arrays))
                except NotImplementedError:
                    return TODO
                except Exception as error:
                    told = f"{type(error).__name__}: {error}"
                    return Trouble(told, _line_of(error, function))
            return Trouble("nothing (is a `return` missing?)") if made is None else made

        return self.observed(call)

    def _converted(self, arguments: Sequence[Any], arrays: Function) -> Sequence[Any]:
        if not self.of_arrays:
            return arguments
        return [_arrays_in(argument, arrays) for argument in arguments]

    def __repr__(self) -> str:
        return f"{self.title} ({self.minutes} minutes)\n\n{self.task}\n\n{self.stub}"


def _below(head: str, source: str) -> str:
    return f"{head}\n\n\n{source}" if head else source


def _arrays_in(argument: Any, arrays: Function) -> Any:
    """A list as an array; a tuple holds several."""
    if isinstance(argument, tuple):
        return tuple(map(partial(_arrays_in, arrays=arrays), argument))
    return arrays(argument) if isinstance(argument, list) else argument


def _line_of(error: Exception, function: Function) -> str:
    """Where in the learner's own code an exception arose."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    told = f", in line {own[-1].lineno}, `{own[-1].line}`" if own else ""
    return f"{told} ({_IN_TORCH})" if "numpy.ndarray" in str(error) else told

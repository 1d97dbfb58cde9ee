"""Wall times that can be compared, on a machine that others use too."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from time import perf_counter
from typing import Any, TypeVar

_Name = TypeVar("_Name", bound=Hashable)


def fastest(
    functions: Mapping[_Name, Callable[[], Any]], rounds: int = 5
) -> dict[_Name, float]:
    """The shortest wall time of each function, in seconds.

    Other programs can only slow one down, and do so for minutes on end: hence the
    shortest, and the functions take turns. The first round, which warms caches up, does
    not count.

    Args:
        functions: Each returns a number or a tensor of one, which is read: that waits
            until a GPU has finished.
        rounds: That count.
    """
    times: dict[_Name, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            start = perf_counter()
            float(function())
            times[name].append(perf_counter() - start)
    return {name: min(taken[1:]) for name, taken in times.items()}

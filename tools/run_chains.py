"""Run notebooks 03 to 07 with each recipe that nbval does not run, on the nano model.

    python tools/run_chains.py                     every other recipe
    python tools/run_chains.py inframind 05 06     one recipe, some notebooks

nbval holds the published recipe's outputs to the committed ones. Here nothing is
compared: that COURSE_RECIPE alone chooses the project, and all cells run, is the test.
"""

from __future__ import annotations

import sys
import tempfile

from execution import convert, execute
from project import sources

from course_utils.evidence import PUBLISHED_RECIPE
from course_utils.recipes import RECIPES

NOTEBOOKS = ["03", "04", "05", "06", "07"]  # those that follow the recipe


def run_chain(recipe: str, numbers: list[str]) -> list[str]:
    """Execute the notebooks in order in one runs folder; what failed, a line each."""
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "COURSE_PROFILE": "nano",
            "COURSE_RECIPE": recipe,
            "COURSE_RUNS": folder,
        }
        for source in sources(numbers):
            outcome = execute(convert(source), environment)
            print(
                f"{recipe} {source.stem}: {outcome.error or 'ok'}, "
                f"{outcome.seconds:.0f} s",
                flush=True,
            )
            if outcome.error:
                failures.append(f"{recipe} {source.stem}: {outcome.error}")
    return failures


def main(arguments: list[str]) -> int:
    """Status 1 when a notebook failed with a recipe."""
    numbers = [word for word in arguments if word.isdigit()] or NOTEBOOKS
    named = [word for word in arguments if not word.isdigit()]
    recipes = named or [name for name in RECIPES if name != PUBLISHED_RECIPE]
    failures = [line for recipe in recipes for line in run_chain(recipe, numbers)]
    for line in failures:
        print("FAILED", line, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

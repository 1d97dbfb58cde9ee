"""Measure the other recipes' stress tests for the README's table.

    python tools/publish_recipes.py                 all but the published recipe
    python tools/publish_recipes.py inframind

Each recipe trains its adapter on the cpu profile when there is none (4 to 8 minutes on
two cores), then notebook 05 runs with it. The committed notebooks stay as they are.
"""

from __future__ import annotations

import sys

from execution import convert, execute
from project import sources
from publish import PROFILE, table_of, write_results
from readme import RECIPES_SHOWN_BY, refresh_readme, results_of

from course_utils.evidence import PUBLISHED_RECIPE
from course_utils.recipes import RECIPES


def measure(recipe: str) -> bool:
    """Run the stress test with a recipe and keep its table; False when it failed."""
    [source] = sources([RECIPES_SHOWN_BY])
    print(f"{recipe} {source.stem} … ", end="", flush=True)
    environment = {"COURSE_PROFILE": PROFILE, "COURSE_RECIPE": recipe}
    outcome = execute(convert(source), environment)
    if outcome.error:
        print(f"failed: {outcome.error}")
        return False
    kept = results_of(RECIPES_SHOWN_BY)
    kept["tables"] |= table_of(recipe, RECIPES_SHOWN_BY)
    write_results(RECIPES_SHOWN_BY, kept)
    print(f"ok, {outcome.seconds / 60:.1f} min")
    return True


def main(recipes: list[str]) -> int:
    """Measure, then renew the README."""
    chosen = recipes or [name for name in RECIPES if name != PUBLISHED_RECIPE]
    measured = [measure(recipe) for recipe in chosen]
    refresh_readme()
    return 0 if all(measured) else 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

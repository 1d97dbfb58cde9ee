"""Run the course: all notebooks in order, or those whose numbers are given.

Executed copies, results and a summary land in runs/; the committed notebooks stay
as they are (`make publish` refreshes those).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
from execution import convert, execute, tidy
from project import sources

from course_utils.doctor import describe, refuse_unsupported
from course_utils.evidence import PUBLISHED_RECIPE
from course_utils.profile import Profile, UnsupportedMachine, runs_folder
from course_utils.recipes import UnknownRecipe, chosen_recipe

LINE = "{:34}  {:>7}  {:6}  {}"


def headline(number: str, profile_name: str) -> str:
    """The number that a notebook's run record puts first."""
    record = runs_folder() / f"records-{profile_name}" / f"{number}.json"
    if not record.exists():
        return "—"
    return json.loads(record.read_text())["headline"]


def executed_folder(profile: Profile, recipe: str) -> Path:
    """Where executed copies land: one folder a profile, and one a further recipe."""
    of_recipe = "" if recipe == PUBLISHED_RECIPE else f"-{recipe}"
    folder = runs_folder() / f"notebooks-{profile.name}{of_recipe}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_one(source: Path, profile: Profile, folder: Path) -> tuple[str, ...]:
    """Execute one notebook into a folder and return its row of the summary."""
    number = source.name[:2]
    print(f"{source.stem} … ", end="", flush=True)
    outcome = execute(convert(source), {"COURSE_PROFILE": profile.name})
    tidy(outcome.notebook)
    nbformat.write(outcome.notebook, folder / f"{source.stem}.ipynb")
    minutes = f"{outcome.seconds / 60:.1f} min"
    status = "failed" if outcome.error else "ok"
    print(f"{status}, {minutes}", flush=True)
    told = outcome.error or headline(number, profile.name)
    return source.stem, minutes, status, told


def main(numbers: list[str]) -> int:
    """Run and summarise; status 1 when a notebook failed."""
    try:
        profile = Profile.detect()
        refuse_unsupported(profile)
        recipe = chosen_recipe().name
    except (UnsupportedMachine, UnknownRecipe) as problem:
        print(f"The course cannot run: {problem}", file=sys.stderr)
        return 1
    print("\n".join([*describe(profile), f"recipe     {recipe}"]), flush=True)
    folder = executed_folder(profile, recipe)
    rows = [run_one(source, profile, folder) for source in sources(numbers)]
    print("\n" + LINE.format("notebook", "minutes", "status", "headline number"))
    for row in rows:
        print(LINE.format(*row))
    shown = runs_folder().name
    print(f"\nExecuted notebooks: {shown}/{folder.name}/")
    print(f"Adapters and logs:  {shown}/{recipe}-{profile.name}/")
    return int(any(status == "failed" for _, _, status, _ in rows))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

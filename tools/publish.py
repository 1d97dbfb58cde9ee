"""Refresh the committed notebooks: execute on the cpu profile, keep the outputs.

Also gathers the evidence that the notebooks recorded, from which every interview
answer takes its numbers, and regenerates the badges in README.md.
"""

from __future__ import annotations

import json
import re
import sys

import nbformat
from execution import convert, execute, tidy
from project import ROOT, colab_badge, notebook_of, sources

EVIDENCE = ROOT / "data" / "interview" / "evidence.json"
PROFILE = "cpu"


def gather_evidence(numbers: set[str]) -> None:
    """Replace the evidence of the notebooks just run; keep that of the others."""
    rows = json.loads(EVIDENCE.read_text()) if EVIDENCE.exists() else []
    rows = [row for row in rows if row["notebook"] not in numbers]
    for number in numbers:
        record = ROOT / "runs" / f"evidence-{PROFILE}" / f"{number}.json"
        rows += json.loads(record.read_text())
    rows.sort(key=lambda row: (row["claim"], row["key"]))
    EVIDENCE.write_text(json.dumps(rows, indent=1) + "\n")


def refresh_badges() -> None:
    """Write the badge of each notebook into the README's table."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    for source in sources():
        pattern = rf"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*{source.stem}\.ipynb\)"
        text = re.sub(pattern, colab_badge(source), text)
    readme.write_text(text)


def main(numbers: list[str]) -> int:
    """Publish all notebooks, or those whose numbers are given."""
    for source in sources(numbers):
        print(f"{source.stem} … ", end="", flush=True)
        outcome = execute(convert(source), {"COURSE_PROFILE": PROFILE})
        if outcome.error:
            print(f"failed: {outcome.error}\nThe committed notebook stays as it was.")
            return 1
        tidy(outcome.notebook)
        nbformat.write(outcome.notebook, notebook_of(source))
        gather_evidence({source.name[:2]})
        print(f"ok, {outcome.seconds / 60:.1f} min", flush=True)
    refresh_badges()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

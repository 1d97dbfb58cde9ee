"""Ask models of several seeds the closed requests of lesson 08.

    .venv/bin/python tools/measure_search.py 3408 3409

Each seed trains the recipe on the cpu profile (20 to 30 minutes of one core), becomes a
q8_0 file, and answers the 220 requests; its answers join data/movie_search/seeds.jsonl,
where another run's answers of the same seed are replaced.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from course_utils.machine.profile import Profile
from course_utils.places import DATA_FOLDER, write_whole
from course_utils.recipes.book import MOVIE_SEARCH
from course_utils.training.adapter import fine_tune

ANSWERS = DATA_FOLDER / "movie_search" / "seeds.jsonl"


def answers_of(seed: int, folder: Path) -> list[dict[str, Any]]:
    """Train with a seed, ship, ask; a row a request."""
    from course_utils.gguf import export, serving
    from course_utils.model.architectures import Architecture
    from course_utils.projects.search.stress import held_out_suite

    profile, suite = Profile.detect({"COURSE_PROFILE": "cpu"}), held_out_suite()
    plan = dataclasses.replace(MOVIE_SEARCH.plan_for("cpu"), seed=seed)
    trained = fine_tune(MOVIE_SEARCH.name, plan, profile, folder)
    model, tokenizer = export.load_for_export(plan, profile, trained.adapter_folder)
    shape = Architecture.from_config(model.config)
    made = export.export_gguf(
        model, tokenizer, folder / "gguf", ["q8_0"], architecture=shape
    )
    requests = [prompt.request for prompt in suite.prompts]
    with serving.serve(made["q8_0"]) as server:
        given = server.answers(requests, max_new_tokens=suite.max_new_tokens)
    pairs = zip(suite.prompts, given, strict=True)
    return [
        {"seed": seed, "id": prompt.id, "text": it.text, "stopped": it.stopped}
        for prompt, it in pairs
    ]


def keep(rows: list[dict[str, Any]], path: Path = ANSWERS) -> None:
    """Put a seed's rows into the file, in the place of its old ones."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    new = {row["seed"] for row in rows}
    kept = [row for row in map(json.loads, lines) if row["seed"] not in new]
    every = sorted([*kept, *rows], key=lambda row: (row["seed"], row["id"]))
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in every)
    write_whole(path, text)


def main(seeds: list[int]) -> None:
    """Measure each seed; what is done is kept, should a later one fail."""
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            keep(answers_of(seed, Path(folder)))
        print(f"seed {seed}: answers kept in {ANSWERS.name}", flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]])

"""The whole course, end to end, on the nano model."""

import re

from course_utils import places
from course_utils.gguf.file import read_gguf
from course_utils.pipeline import run, tell
from course_utils.projects.project import PROJECTS


def test_a_recipe_runs_from_its_rows_to_a_gguf_and_not_twice(profile, capsys):
    project = PROJECTS["movie_recommender"]
    made = run(project, profile)
    assert made.finetuned.run.updates == made.finetuned.plan.max_steps == 4
    assert places.is_whole(made.finetuned.adapter_folder)
    assert made.diagnosis.verdict and made.arc.n == 12
    assert {way: pair.n for way, pair in made.form.items()} == {
        "base": 36,
        "told the form": 36,
        "shown examples": 36,
    }
    assert {level: read_gguf(path).file_type for level, path in made.files.items()} == {
        "f16": "MOSTLY_F16",
        "q8_0": "MOSTLY_Q8_0",
        "q4_k_m": "MOSTLY_Q4_K_M",
    }
    assert list(made.passed) == ["base", "told the form", "shown examples", "tuned"]
    assert made.passed.loc["form", "tuned"].startswith("0 of 36")
    told = capsys.readouterr().out
    assert "training it now" in told
    assert re.search(r"asking \d+ prompts: tuned", told)
    tell(made)
    told = capsys.readouterr().out
    assert "0 of 36" in told and "/v1/chat/completions" in told
    assert told.count("\ntuned  ") == 6 and str(made.files["q8_0"]) in told

    again = run(project, profile)  # the adapter is there; the export takes its place
    assert again.finetuned.run == made.finetuned.run
    assert (again.form, again.arc) == (made.form, made.arc)
    assert "training it now" not in capsys.readouterr().out

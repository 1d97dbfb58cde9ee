"""The whole course on one page: recipe x profile -> adapter -> judged -> GGUF.

    python -m course_utils.pipeline --recipe inframind

Each step is a lesson; its number stands beside it.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from course_utils.model import loading  # isort: skip, unsloth patches what is imported next
from course_utils.arc.evaluation import compare_evaluations, evaluate
from course_utils.arc.task import choose_benchmark
from course_utils.curves.diagnosis import Diagnosis, diagnose
from course_utils.gguf import llama_cpp
from course_utils.gguf.export import export_gguf, levels_that_fit, load_for_export
from course_utils.machine.doctor import check_machine
from course_utils.machine.profile import Profile
from course_utils.model.architectures import Architecture
from course_utils.model.generation import generate
from course_utils.projects.project import PROJECTS, Project
from course_utils.statistics.paired import PairedComparison
from course_utils.stress.rates import compare_models, verdict_table
from course_utils.stress.trials import judge_all
from course_utils.training.adapter import FineTuned, get_adapter

MODELS = ("base", "tuned")


@dataclass(frozen=True)
class Outcome:
    """What a run of the course leaves behind, in the order in which it was made."""

    finetuned: FineTuned
    diagnosis: Diagnosis
    form: PairedComparison
    arc: PairedComparison
    files: dict[str, Path]


def run(project: Project, profile: Profile) -> Outcome:
    """Train a project's adapter, or take the saved one, then judge and export it."""
    plan = project.recipe.plan_for(profile.name, profile.model_override)
    suite, requests = project.suite(), [p.request for p in project.suite().prompts]

    finetuned = get_adapter(project.recipe, profile)  # 01 load, 02 attach, 03 train
    diagnosis = diagnose(finetuned.run.history)  # 04 loss curves

    model, tokenizer = loading.load_adapter(finetuned.adapter_folder, plan, profile)
    architecture = Architecture.from_config(model.config)
    benchmark = choose_benchmark(profile, finetuned.folder / "lm_eval")
    trials, evaluations = [], []
    for name in MODELS:
        plain = name == "base"
        with model.disable_adapter() if plain else nullcontext():  # pyrefly: ignore[not-callable]  # of PEFT, behind torch's __getattr__
            answers = generate(
                model, tokenizer, requests, max_new_tokens=suite.max_new_tokens
            )
            trials += judge_all(suite, answers, model=name)  # 05 stress tests
            evaluations.append(evaluate(model, tokenizer, benchmark, name))  # 06 ARC
    form = compare_models(verdict_table(trials, suite), suite.roles.form)
    base, tuned = evaluations
    arc = compare_evaluations(base, tuned, "acc")
    del model
    loading.free_memory()

    llama_cpp.build_if_missing()
    model, tokenizer = load_for_export(plan, profile, finetuned.adapter_folder)
    fits = levels_that_fit(architecture)  # 07 GGUF export
    levels = [level for level, reason in fits.items() if not reason]
    target = finetuned.folder / "gguf"
    files = export_gguf(
        model, tokenizer, target, levels, architecture=architecture, replace=True
    )
    return Outcome(finetuned, diagnosis, form, arc, files)


def main() -> None:
    """Run one recipe on this machine and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", choices=PROJECTS, default="movie_recommender")
    outcome = run(PROJECTS[parser.parse_args().recipe], check_machine())
    for part in (outcome.diagnosis, outcome.form, outcome.arc):
        print(f"\n{part}")
    for path in outcome.files.values():
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

"""The whole course on one page: recipe x profile -> adapter -> judged -> GGUF.

    python -m course_utils.pipeline --recipe inframind
    python -m course_utils.pipeline --data rows.csv

Each step is a lesson; its number stands beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from course_utils.model import loading  # isort: skip, unsloth patches what is imported next
from course_utils import CourseError
from course_utils.arc.evaluation import compare_evaluations, evaluate
from course_utils.arc.task import choose_benchmark
from course_utils.curves.diagnosis import Diagnosis, diagnose
from course_utils.data.datasets import load_rows
from course_utils.gguf import llama_cpp
from course_utils.gguf.export import export_gguf, levels_that_fit, load_for_export
from course_utils.machine.doctor import check_machine
from course_utils.machine.profile import Profile
from course_utils.model.architectures import Architecture
from course_utils.model.generation import generate
from course_utils.projects.own.command import asked
from course_utils.projects.own.recipe import OwnProject
from course_utils.projects.own.report import report_on
from course_utils.projects.own.suite import OWN_PROMPTS
from course_utils.projects.project import PROJECTS, Project, project_of
from course_utils.recipes.book import chosen_recipe
from course_utils.statistics.paired import PairedComparison
from course_utils.stress.rates import (
    compare_models,
    pass_rates,
    spelled,
    verdict_table,
)
from course_utils.stress.trials import Trial, judge_all, save_trials
from course_utils.training.adapter import FineTuned, get_adapter

_ROOMY = 2048  # tokens: a prompt with examples is longer than a row
_SHOWN = 6  # answers
_ASK = (
    "curl -s http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: "
    'application/json\' -d \'{"temperature": 0, "messages": [{"role": "user", '
    '"content": "your question"}]}\''
)


@dataclass(frozen=True)
class Outcome:
    """What a run of the course leaves behind, in the order in which it was made."""

    finetuned: FineTuned
    diagnosis: Diagnosis
    trials: list[Trial]
    passed: pd.DataFrame  # of each check, by way of asking, as text
    form: dict[str, PairedComparison]  # tuned against each way of asking the base
    arc: PairedComparison | None
    files: dict[str, Path]


def run(project: Project, profile: Profile, *, with_arc: bool = True) -> Outcome:
    """Train a project's adapter, or take the saved one, then judge and export it."""
    plan = project.recipe.plan_for(profile.name, profile.model_override)
    suite, ways = project.suite(), project.ways(load_rows(plan)[0])

    finetuned = get_adapter(project.recipe, profile)  # 01 load, 02 attach, 03 train
    diagnosis = diagnose(finetuned.run.history)  # 04 loss curves

    roomy = replace(plan, max_length=max(_ROOMY, plan.max_length))
    model, tokenizer = loading.load_adapter(finetuned.adapter_folder, roomy, profile)
    architecture = Architecture.from_config(model.config)
    trials, evaluations = [], {}
    for way, chats in {**ways, "tuned": ways["base"]}.items():
        print(f"asking {len(chats)} prompts: {way} …", flush=True)  # minutes on a CPU
        plain = way != "tuned"
        with model.disable_adapter() if plain else nullcontext():  # pyrefly: ignore[not-callable]  # of PEFT, behind torch's __getattr__
            most = suite.max_new_tokens
            answers = generate(model, tokenizer, chats, max_new_tokens=most)
            trials += judge_all(suite, answers, model=way)  # 05 stress tests
            if with_arc and way in ("base", "tuned"):
                benchmark = choose_benchmark(profile, finetuned.folder / "lm_eval")
                evaluations[way] = evaluate(model, tokenizer, benchmark, way)  # 06 ARC
    save_trials(trials, finetuned.folder / "stress.jsonl")
    verdicts = verdict_table(trials, suite)
    form = {w: compare_models(verdicts, suite.roles.form, (w, "tuned")) for w in ways}
    rates = pass_rates(verdicts, ["check", "model"]).apply(spelled, axis=1)
    passed = rates.unstack("model")[[*ways, "tuned"]]
    arc = None
    if evaluations:
        arc = compare_evaluations(evaluations["base"], evaluations["tuned"], "acc")
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
    return Outcome(finetuned, diagnosis, trials, passed, form, arc, files)


def main(words: Sequence[str] | None = None) -> int:
    """Run a recipe, or rows of one's own, on this machine; print what came out."""
    try:
        own, recipe, with_arc = asked(words)
        profile = check_machine()
        if own:  # 14 your own project
            prepared = OwnProject(own, profile)
            print(f"\n{report_on(prepared)}\n", flush=True)
            project = project_of(prepared)
        else:
            project = PROJECTS[chosen_recipe({"COURSE_RECIPE": recipe}).name]
        tell(run(project, profile, with_arc=with_arc))
    except CourseError as problem:
        print(f"stopped: {problem}", file=sys.stderr)
        return 1
    return 0


def tell(outcome: Outcome) -> None:
    """Print what a run found, where its files lie, and how to ask the model."""
    for part in (outcome.diagnosis, *outcome.form.values(), outcome.arc):
        print(f"\n{part}" if part else "")
    print(f"answers that pass each check:\n{outcome.passed.to_string()}\n")
    tuned = [trial for trial in outcome.trials if trial.model == "tuned"]
    own = [trial for trial in tuned if trial.group == OWN_PROMPTS]
    for trial in (own or tuned)[:_SHOWN]:
        print(f"asked  {trial.prompt.request}\ntuned  {trial.answer.text}\n")
    print(f"all answers  {outcome.finetuned.folder / 'stress.jsonl'}")
    print(f"adapter      {outcome.finetuned.adapter_folder}")
    for path in outcome.files.values():
        print(f"GGUF         {path}  {path.stat().st_size / 1e6:.1f} MB")
    file = outcome.files.get("q8_0") or [*outcome.files.values()][-1]  # the nearest
    server = llama_cpp.prepared("llama-server")
    print(f"\nto ask it, start a server:\n  {server} --model {file} --port 8080")
    print(f"and ask from another terminal:\n  {_ASK}")


if __name__ == "__main__":
    raise SystemExit(main())

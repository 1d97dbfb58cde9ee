"""Lesson 06's cells ask lm-eval what the package asks, and its command line too."""

import ast
import inspect
import json
import os
import shlex
import subprocess
import sys
from types import SimpleNamespace

import notebook_cells as cells
import pytest
import torch
from lm_eval.tasks import TaskManager
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from course_utils.arc import evaluation
from course_utils.arc.evaluation import METRICS, compare_evaluations, evaluate
from course_utils.arc.task import local_benchmark
from course_utils.data.questions import QUESTIONS
from course_utils.data.tokens import text_ids
from course_utils.exercises import EXERCISES
from course_utils.machine.profile import Profile
from course_utils.model.nano import nano_model_path

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("06")]
ASKED = 6


def cell_with(text):
    [found] = [code for code in cells.code_cells(LESSON) if text in code]
    return found


def call(code, name):
    """The one call of a function in some code."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    [found] = [node for node in calls if ast.unparse(node.func) == name]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lesson_06")


@pytest.fixture(scope="module")
def benchmark(folder):
    """Six of the questions, one of them with digits as keys, as ARC has them."""
    rows = [json.loads(line) for line in QUESTIONS.open(encoding="utf-8")][:ASKED]
    labels = rows[1]["choices"]["label"]
    rows[1]["answerKey"] = str(1 + labels.index(rows[1]["answerKey"]))
    rows[1]["choices"]["label"] = ["1", "2", "3", "4"]
    path = folder / "questions.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return local_benchmark(path, folder / "task")


@pytest.fixture(scope="module")
def base_folder(folder):
    return nano_model_path(folder / "nano")


@pytest.fixture(scope="module")
def adapter_folder(folder, base_folder, tokenizer):
    """An adapter that changes verdicts: its updates are large."""
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"])
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base_folder), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    model.save_pretrained(folder / "adapter")
    return folder / "adapter"


@pytest.fixture(scope="module")
def tuned(base_folder, adapter_folder):
    base = AutoModelForCausalLM.from_pretrained(base_folder)
    return PeftModel.from_pretrained(base, adapter_folder).eval()


@pytest.fixture(scope="module")
def answered(tuned, tokenizer, benchmark):
    return evaluate(tuned, tokenizer, benchmark, "tuned")


def asked_in_the_lesson(model, tokenizer, benchmark):
    """What the names of section 2 are after its cells ran."""

    def logits_of(model, tokenizer, text):
        with torch.inference_mode():
            return model(torch.tensor([text_ids(tokenizer, text)])).logits[0].float()

    names = {
        "models": SimpleNamespace(
            load_adapter=lambda *given: (model, tokenizer), logits_of=logits_of
        ),
        "finetuned": SimpleNamespace(adapter_folder=None),
        "plan": None,
        "profile": Profile("nano", "cpu"),
        "benchmark": benchmark,
    }
    for part in (
        "import logging",
        "harness = HFLM(\n    pretrained=model",
        "manager = TaskManager(",
        "bootstrap_iters=0",
        "def log_likelihood(",
    ):
        exec(cell_with(part), names)
    return names


# A reader learns settings with which the course itself does not measure.
def test_the_calls_in_the_lesson_are_those_of_the_package(
    answered, tuned, tokenizer, benchmark
):
    names = asked_in_the_lesson(tuned, tokenizer, benchmark)
    scores = [score for score, _ in names["sample"]["filtered_resps"]]
    assert answered.answers[0].log_likelihoods == pytest.approx(scores, abs=1e-3)
    package = inspect.getsource(evaluation)
    theirs = {keyword.arg for keyword in call(package, "simple_evaluate").keywords}
    ours = call(cell_with("bootstrap_iters=0"), "simple_evaluate").keywords
    assert {keyword.arg for keyword in ours} <= theirs
    given = call(cell_with("harness = HFLM(\n    pretrained=model"), "HFLM").keywords
    values = {k.arg: k.value.value for k in given if isinstance(k.value, ast.Constant)}
    assert values == {
        "batch_size": evaluation.BATCH_SIZE,
        "softmax_dtype": evaluation.SOFTMAX_DTYPE,
    }


# A tokenizer that puts a mark before every text, as Llama's does, counts one more.
def test_the_sum_by_hand_is_lm_evals_with_and_without_a_mark(
    tuned, any_tokenizer, benchmark
):
    names = asked_in_the_lesson(tuned, any_tokenizer, benchmark)
    for texts, (score, _) in zip(
        names["sample"]["arguments"], names["sample"]["filtered_resps"], strict=True
    ):
        assert names["log_likelihood"](*texts) == pytest.approx(score, abs=1e-3)


def test_the_first_exercise_marks_real_samples_as_lm_eval_does(
    tuned, tokenizer, benchmark
):
    code = cell_with("bootstrap_iters=0").replace("[0]}", f"list(range({ASKED}))}}", 1)
    names = asked_in_the_lesson(tuned, tokenizer, benchmark)
    exec(code, names)
    samples = names["results"]["samples"][benchmark.task]
    assert len(samples) == ASKED
    for sample in samples:
        for metric in METRICS:
            _, right = EXERCISES["mark"].solution(sample, metric)
            assert right == bool(sample[metric])


def test_the_question_is_gone_from_the_task_that_shows_choices_only(
    tuned, tokenizer, benchmark, folder
):
    names = {"benchmark": benchmark, "folder": folder, "yaml": __import__("yaml")}
    (folder / "lm_eval").mkdir()
    exec(cell_with("blind = {"), names)
    without = evaluation.Benchmark("choices_only", names["path"].parent, "no question")
    found = evaluate(tuned, tokenizer, without, "choices only")
    by_hand = asked_in_the_lesson(tuned, tokenizer, benchmark)["log_likelihood"]
    for answer in found.answers[:2]:
        scores = [by_hand("Answer:", f" {c}") for c in answer.question.choices]
        assert answer.log_likelihoods == pytest.approx(scores, abs=1e-3)


# The figure of a course that cannot be had by the tool's own command is worth little.
@pytest.fixture(scope="module")
def by_command(benchmark, folder, base_folder, adapter_folder):
    """Samples of the lesson's command, which knows our task by its folder."""
    names = {}
    exec(cell_with("lm_eval --model hf"), names)
    words = shlex.split(names["command"])
    assert words[0] == "lm_eval"
    places = {"BASE": base_folder, "ADAPTER": adapter_folder, "RESULTS": folder / "out"}
    for name, place in places.items():
        words = [word.replace(name, str(place)) for word in words]
    words[words.index("arc_easy")] = benchmark.task
    words += ["--include_path", str(benchmark.folder)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [sys.executable, "-m", *words], env=environment, check=True, capture_output=True
    )
    [path] = (folder / "out").rglob("samples_*.jsonl")
    return [json.loads(line) for line in path.open(encoding="utf-8")]


def test_the_command_in_the_lesson_finds_the_same_question_by_question(
    by_command, answered
):
    theirs = {row["doc"]["id"]: row for row in by_command}
    assert len(theirs) == ASKED
    for answer in answered.answers:
        row = theirs[answer.question.id]
        scores = [float(score) for score, _ in row["filtered_resps"]]
        assert answer.log_likelihoods == pytest.approx(scores, abs=1e-3)
        assert answer.right == {metric: bool(row[metric]) for metric in METRICS}


def test_the_function_for_ones_own_project_counts_what_the_package_counts(
    answered, tuned, tokenizer, benchmark, base_folder, adapter_folder
):
    names = {}
    exec(cell_with("def compare(base, adapter"), names)
    manager = TaskManager(include_path=str(benchmark.folder), include_defaults=False)
    given = (str(base_folder), str(adapter_folder), benchmark.task, "acc", manager)
    with tuned.disable_adapter():
        base = evaluate(tuned, tokenizer, benchmark, "base")
    found = compare_evaluations(base, answered, "acc")
    assert found.discordant, "the adapter must change a verdict"
    expected = (found.n, found.lost, found.gained, pytest.approx(found.p))
    assert names["compare"](*given) == expected

"""What is asked: lm-eval's ARC-Easy, or the same task over a local file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import yaml

from course_utils.data.questions import (
    EXAMPLES,
    PATH_VARIABLE,
    load_questions,
    question_file,
)
from course_utils.machine.profile import Profile
from course_utils.places import sha256, write_whole

HUB_TASK, LOCAL_TASK = "arc_easy", "arc_easy_local"
SOFTMAX_DTYPE = "float32"  # a GPU's fp16 logits would lose digits in a sum of logs
BATCH_SIZE = 16  # sequences; larger ones were no faster on two cores
NANO_QUESTIONS = 12  # its answers are noise; these prove that the cells run


@dataclass(frozen=True)
class Benchmark:
    """What is asked."""

    task: str  # lm-eval's name for it
    folder: Path  # where lm-eval finds the task's YAML file
    questions: str  # which ones: hub id, or file name and digest


def choose_benchmark(
    profile: Profile, folder: Path, environment: Mapping[str, str] = os.environ
) -> Benchmark:
    """What this machine is asked: the real ARC-Easy on a GPU, else a local file.

    Args:
        profile: The machine; one with a GPU has the hub and the time for 2,376,
            the nano model gets the first few.
        folder: Where the task's YAML is written for a local file.
        environment: ARC_EASY_JSONL names a file that is asked on every machine.
    """
    if profile.is_gpu and not environment.get(PATH_VARIABLE):
        return Benchmark(HUB_TASK, stock_task().parent, "allenai/ai2_arc, ARC-Easy")
    path = question_file(environment)
    if profile.name == "nano":
        load_questions(path)  # faults are named in the whole file
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
        first = b"\n".join(lines[:NANO_QUESTIONS]) + b"\n"
        path = write_whole(folder / path.name, first)
    return local_benchmark(path, folder)


def stock_task() -> Path:
    """lm-eval's own definition of ARC-Easy, as installed."""
    installed = distribution("lm_eval").locate_file("lm_eval/tasks/arc/arc_easy.yaml")
    return Path(str(installed))


def local_benchmark(questions: Path, folder: Path) -> Benchmark:
    """lm-eval's task over a file of questions: same prompt, same metrics.

    Args:
        questions: JSONL in ARC's columns; checked first.
        folder: Where `arc_easy_local.yaml` is written, for lm-eval to include.

    Raises:
        FaultyData: If the file has faults.
    """
    load_questions(questions)
    files = {"test": str(questions.resolve()), "examples": str(EXAMPLES)}
    task = {
        "include": str(stock_task()),
        "task": LOCAL_TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "fewshot_split": "examples",
        **dict.fromkeys(("tag", "dataset_name", "training_split", "validation_split")),
    }
    write_whole(folder / f"{LOCAL_TASK}.yaml", yaml.safe_dump(task))
    digest = sha256(questions)[:12]
    return Benchmark(LOCAL_TASK, folder, f"{questions.name}, sha256 {digest}")


def command_line(benchmark: Benchmark, model: str, results: Path) -> list[str]:
    """The same evaluation as a call of the `lm_eval` command, word by word."""
    arguments = f"pretrained={model},dtype=float32,softmax_dtype={SOFTMAX_DTYPE}"
    return [
        *("lm_eval", "--model", "hf", "--model_args", arguments),
        *("--tasks", benchmark.task, "--include_path", str(benchmark.folder)),
        *("--batch_size", str(BATCH_SIZE), "--log_samples"),
        *("--output_path", str(results)),
    ]

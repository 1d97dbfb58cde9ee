"""What is asked: lm-eval's ARC-Easy, or the same task over a local file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import yaml

from course_utils.data import questions as science
from course_utils.machine.profile import Profile
from course_utils.places import sha256, write_whole

_LOCAL_TASK = "arc_easy_local"
SOFTMAX_DTYPE = "float32"  # a GPU's fp16 logits would lose digits in a sum of logs
BATCH_SIZE = 16  # sequences; larger ones were no faster on two cores
NANO_QUESTIONS = 12  # its answers are noise; these prove that the cells run


@dataclass(frozen=True)
class Benchmark:
    """What is asked, and where it is found."""

    task: str  # lm-eval's name for it
    folder: Path  # where lm-eval finds the task's YAML file
    questions: str  # which ones: hub id, or file name and digest


def choose_benchmark(
    profile: Profile, folder: Path, environment: Mapping[str, str] = os.environ
) -> Benchmark:
    """What this machine is asked: the real ARC-Easy on a GPU, else a local file.

    A GPU has the time for all 2,376, the nano model gets the first few of the file. For
    a file the task's YAML is written to the folder; ARC_EASY_JSONL in the environment
    names one that is asked on every machine.
    """
    if profile.is_gpu and not environment.get(science.PATH_VARIABLE):
        return Benchmark("arc_easy", stock_task().parent, "allenai/ai2_arc, ARC-Easy")
    path = science.question_file(environment)
    if profile.name == "nano":
        science.load_questions(path)  # faults are named in the whole file
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

    The file is JSONL in ARC's columns, FaultyData where it has faults. Into the folder
    goes a YAML for lm-eval to include.
    """
    science.load_questions(questions)
    files = {"test": str(questions.resolve()), "examples": str(science.EXAMPLES)}
    task = {
        "include": str(stock_task()),
        "task": _LOCAL_TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "fewshot_split": "examples",
        **dict.fromkeys(("tag", "dataset_name", "training_split", "validation_split")),
    }
    write_whole(folder / f"{_LOCAL_TASK}.yaml", yaml.safe_dump(task))
    digest = sha256(questions)[:12]
    return Benchmark(_LOCAL_TASK, folder, f"{questions.name}, sha256 {digest}")

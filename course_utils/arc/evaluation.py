"""Science questions through lm-eval's own task, with every answer kept.

lm-eval scores a choice by the log-likelihood that the model gives to its text after
the question. What is kept of each question is what pairs two runs afterwards: all
log-likelihoods, and whether the pick was right under both of its metrics.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_utils import CourseError
from course_utils.arc.task import BATCH_SIZE, SOFTMAX_DTYPE, Benchmark
from course_utils.data.questions import ScienceQuestion
from course_utils.model.generation import inference
from course_utils.places import BrokenFile, read_jsonl, write_jsonl
from course_utils.statistics.paired import PairedComparison

METRICS = ("acc", "acc_norm")
_WAY_OUT = "Evaluate the model again (notebook 06)."


class NotANumber(CourseError, ValueError):
    """A log-likelihood is NaN or infinite, so that no choice can be picked."""


@dataclass(frozen=True)
class Prompt:
    """How it is asked."""

    chat_template: bool = False  # whether the question is wrapped as a chat turn
    shots: int = 0  # solved questions that stand before the one that is asked
    seed: int = 1234  # of the choice of these; lm-eval's default


_PLAIN = Prompt()


@dataclass(frozen=True)
class ScoredQuestion:
    """One question and what a model made of it."""

    question: ScienceQuestion
    log_likelihoods: tuple[float, ...]  # of each choice after the prompt, in nats
    right: Mapping[str, bool]  # by metric, lm-eval's own verdict

    def __post_init__(self) -> None:
        if not np.isfinite(self.log_likelihoods).all():
            raise NotANumber(
                f"{self.question.id}: log-likelihoods {self.log_likelihoods}, expected "
                "finite numbers. Did a layer overflow in fp16, or has the adapter "
                "diverged? See what notebook 04 says of its curve, and load the model "
                "in fp32 or bf16."
            )

    def pick(self, metric: str) -> int:
        """Position of the choice that wins under a metric."""
        return int(self.scores(metric).argmax())

    def scores(self, metric: str) -> np.ndarray:
        """What is compared under a metric: nats, for acc_norm nats a character."""
        lengths = [len(choice) for choice in self.question.choices]
        return np.divide(self.log_likelihoods, lengths if metric == "acc_norm" else 1)


@dataclass(frozen=True)
class Evaluation:
    """All answers of one model, and the settings under which they were given."""

    name: str
    settings: Mapping[str, Any]
    answers: tuple[ScoredQuestion, ...]

    def subset(self, ids: Collection[str]) -> Evaluation:
        """The same run, some of its questions."""
        kept = tuple(a for a in self.answers if a.question.id in set(ids))
        return replace(self, answers=kept)

    def save(self, path: Path) -> Path:
        """Write JSONL: a line of settings, then one line a question."""
        head = vars(self) | {"answers": len(self.answers)}
        return write_jsonl(path, [head, *map(asdict, self.answers)])

    @classmethod
    def load(cls, path: Path) -> Evaluation:
        """Read what `save` wrote, or a log that lm-eval wrote itself.

        Such a log, `samples_arc_easy_….jsonl` of `--log_samples`, tells no settings and
        gets the name of its folder, which is the model's. BrokenFile if a file is cut
        off or of another kind.
        """
        rows = read_jsonl(path, _WAY_OUT)
        try:
            head, *answers = rows
            if "doc_id" in head:
                return cls(path.resolve().parent.name, {}, tuple(map(_score, rows)))
            run = cls(head["name"], head["settings"], tuple(map(_read, answers)))
            if head["answers"] != len(answers):
                raise ValueError(f"{len(answers)} of {head['answers']} answers")
        except (KeyError, TypeError, ValueError) as error:
            said = f"{path.name} is no whole run: {error!r}. {_WAY_OUT}"
            raise BrokenFile(said) from None
        return run


def _read(row: dict[str, Any]) -> ScoredQuestion:
    question = row["question"] | {"choices": tuple(row["question"]["choices"])}
    scores = tuple(row["log_likelihoods"])
    return ScoredQuestion(ScienceQuestion(**question), scores, row["right"])


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    benchmark: Benchmark,
    name: str,
    *,
    prompt: Prompt = _PLAIN,
    only: Sequence[int] | None = None,
    batch_size: int = BATCH_SIZE,
) -> Evaluation:
    """Ask a model every question of a benchmark.

    Args:
        model: With or without adapter; its mode is restored afterwards.
        prompt: Without it as ARC-Easy's public figures were measured.
        only: Positions of the questions to ask, in the file's order.
        batch_size: Sequences in one forward pass; does not change the result.

    Raises:
        NotANumber: If the model's scores are NaN or infinite.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    tasks = TaskManager(include_path=benchmark.folder, include_defaults=False)
    scoring = {"batch_size": batch_size, "softmax_dtype": SOFTMAX_DTYPE}
    with _quiet(), inference(model):
        results = simple_evaluate(
            # pyrefly: ignore[bad-argument-type]  # lm-eval names two of its subclasses
            model=HFLM(pretrained=model, tokenizer=tokenizer, **scoring),
            tasks=[benchmark.task],
            task_manager=tasks,
            samples=None if only is None else {benchmark.task: list(only)},
            num_fewshot=prompt.shots,
            fewshot_random_seed=prompt.seed,
            apply_chat_template=prompt.chat_template,
            log_samples=True,
            bootstrap_iters=0,
            random_seed=None,  # nothing is drawn; leave the global states alone
            numpy_random_seed=None,
            torch_random_seed=None,
        )
    answers = tuple(map(_score, results["samples"][benchmark.task]))
    return Evaluation(name, _settings(model, benchmark, prompt, batch_size), answers)


def _score(sample: Mapping[str, Any]) -> ScoredQuestion:
    doc = sample["doc"]
    answer = doc["choices"]["label"].index(doc["answerKey"])
    choices = tuple(doc["choices"]["text"])
    question = ScienceQuestion(doc["id"], doc["question"], choices, answer)
    scores = tuple(float(score) for score, _ in sample["filtered_resps"])
    return ScoredQuestion(question, scores, {m: bool(sample[m]) for m in METRICS})


def _settings(
    model: PreTrainedModel, benchmark: Benchmark, prompt: Prompt, batch_size: int
) -> dict[str, Any]:
    """What must be equal for two runs to be comparable, and the batch size."""
    return {
        "task": benchmark.task,
        "questions": benchmark.questions,
        **asdict(prompt),
        "model": Path(model.config._name_or_path).name,
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantized": getattr(model.config, "quantization_config", None) is not None,
        "softmax_dtype": SOFTMAX_DTYPE,
        "device": model.device.type,
        **{name: version(name) for name in ("lm_eval", "transformers", "torch")},
        "batch_size": batch_size,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave lm-eval's progress bars, drop its advice on arguments not used here.

    And what it adds to each result: a list of installed packages takes seconds, and git
    complains on stderr where the working directory is no repository (Colab).
    """
    import datasets
    from lm_eval import evaluator

    logger = logging.getLogger("lm_eval")
    level, shown = logger.level, not datasets.are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()  # of reading a file: it takes no time
    nothing = {
        "get_git_commit_hash": lambda: None,
        "add_env_info": lambda results: None,
    }
    try:
        with mock.patch.multiple(evaluator, **nothing):
            yield
    finally:
        logger.setLevel(level)
        if shown:
            datasets.enable_progress_bars()


class NotComparable(CourseError, ValueError):
    """Two evaluations differ in more than what is to be compared."""


def compare_evaluations(
    first: Evaluation,
    second: Evaluation,
    metric: str,
    *,
    varied: Collection[str] = (),
) -> PairedComparison:
    """Pair two evaluations question by question, such as base and tuned.

    Where one is a log of lm-eval's own, which tells no settings, only the questions are
    held against each other: whether shots and prompt were the same is yours to know.

    Args:
        metric: One of METRICS; choose it before you look.
        varied: Settings that are meant to differ, such as `chat_template`.

    Raises:
        NotComparable: If a question or another setting, but the batch size, differs.
    """
    compared = {*first.settings, *second.settings} - {*varied, "batch_size"}
    if not (first.settings and second.settings):  # lm-eval's own log
        compared = set()
    differ = [
        f"{name}: {first.settings.get(name)!r} and {second.settings.get(name)!r}"
        for name in sorted(compared)
        if first.settings.get(name) != second.settings.get(name)
    ]
    if differ:
        raise NotComparable(
            f"{first.name} and {second.name} were not asked in the same way: "
            f"{'; '.join(differ)}. Ask one of them again, or name in `varied` what "
            "you mean to compare."
        )
    pairs = paired_answers(first, second)
    metrics = pairs[0][0].right
    if metric not in metrics:
        raise ValueError(f"metric is {metric!r}, expected one of {', '.join(metrics)}")
    verdicts = [(a.right[metric], b.right[metric]) for a, b in pairs]
    return PairedComparison.of((first.name, second.name), metric, verdicts)


def paired_answers(
    first: Evaluation, second: Evaluation
) -> list[tuple[ScoredQuestion, ScoredQuestion]]:
    """The answers of two models to each question; NotComparable if these differ."""
    mine, theirs = ({a.question: a for a in run.answers} for run in (first, second))
    odd = sorted({question.id for question in mine.keys() ^ theirs.keys()})
    if odd or not mine:
        raise NotComparable(
            f"{first.name} answered {len(mine)} questions, {second.name} "
            f"{len(theirs)}; not the same in both: {', '.join(odd[:5]) or 'none'}. A "
            "paired test needs the same questions for both: ask both again, or take "
            "a subset."
        )
    return [(answer, theirs[question]) for question, answer in mine.items()]

"""Science questions through lm-eval's own task, with every answer kept.

lm-eval scores a choice by the log-likelihood that the model gives to its text after
the question. What is kept of each question is what pairs two runs afterwards: all
log-likelihoods, and whether the pick was right under both of its metrics.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_utils.benchmark import BATCH_SIZE, SOFTMAX_DTYPE, Benchmark
from course_utils.science import ScienceQuestion

METRICS = ("acc", "acc_norm")


@dataclass(frozen=True)
class Prompt:
    """How it is asked.

    Attributes:
        chat_template: Whether the question is wrapped as a chat turn.
        shots: Solved questions that stand before the one that is asked.
        seed: Of the choice of these; lm-eval's default.
    """

    chat_template: bool = False
    shots: int = 0
    seed: int = 1234


@dataclass(frozen=True)
class ScoredQuestion:
    """One question and what a model made of it.

    Attributes:
        question: What was asked.
        log_likelihoods: Of each choice after the prompt, in nats.
        right: By metric, lm-eval's own verdict.
    """

    question: ScienceQuestion
    log_likelihoods: tuple[float, ...]
    right: Mapping[str, bool]

    def pick(self, metric: str) -> int:
        """Position of the choice that wins under a metric."""
        scores = np.array(self.log_likelihoods)
        if metric == "acc_norm":
            scores = scores / [len(choice) for choice in self.question.choices]
        return int(scores.argmax())


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
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"name": self.name, "settings": dict(self.settings)}]
        rows += [asdict(answer) for answer in self.answers]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        path.write_text("".join(lines), "utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> Evaluation:
        """Read what `save` wrote."""
        head, *rows = map(json.loads, path.read_text("utf-8").splitlines())
        return cls(head["name"], head["settings"], tuple(map(_read_answer, rows)))


def _read_answer(row: dict[str, Any]) -> ScoredQuestion:
    asked = row["question"] | {"choices": tuple(row["question"]["choices"])}
    question = ScienceQuestion(**asked)
    return ScoredQuestion(question, tuple(row["log_likelihoods"]), row["right"])


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    benchmark: Benchmark,
    name: str,
    *,
    prompt: Prompt | None = None,
    only: Sequence[int] | None = None,
    batch_size: int = BATCH_SIZE,
) -> Evaluation:
    """Ask a model every question of a benchmark.

    Args:
        model: With or without adapter; its mode is restored afterwards.
        tokenizer: Its own.
        benchmark: What is asked.
        name: For the record, such as `base`.
        prompt: How it is asked; without it as ARC-Easy's public figures are.
        only: Positions of the questions to ask, in the file's order.
        batch_size: Sequences in one forward pass; does not change the result.
    """
    prompt = prompt or Prompt()
    with _quiet(), _inference(model):
        samples = _samples(model, tokenizer, benchmark, prompt, only, batch_size)
    settings = _settings(model, benchmark, prompt, batch_size)
    return Evaluation(name, settings, tuple(map(_score, samples)))


def _samples(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    benchmark: Benchmark,
    prompt: Prompt,
    only: Sequence[int] | None,
    batch_size: int,
) -> list[dict[str, Any]]:
    """lm-eval's record of each question."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    results = simple_evaluate(
        model=HFLM(
            pretrained=model,
            tokenizer=tokenizer,
            batch_size=batch_size,
            softmax_dtype=SOFTMAX_DTYPE,
        ),
        tasks=[benchmark.task],
        task_manager=TaskManager(include_path=benchmark.folder, include_defaults=False),
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
    return results["samples"][benchmark.task]


def _score(sample: Mapping[str, Any]) -> ScoredQuestion:
    doc = sample["doc"]
    question = ScienceQuestion(
        id=doc["id"],
        question=doc["question"],
        choices=tuple(doc["choices"]["text"]),
        answer=doc["choices"]["label"].index(doc["answerKey"]),
    )
    scores = tuple(float(score) for score, _ in sample["filtered_resps"])
    return ScoredQuestion(question, scores, {m: bool(sample[m]) for m in METRICS})


def _settings(
    model: PreTrainedModel, benchmark: Benchmark, prompt: Prompt, batch_size: int
) -> dict[str, Any]:
    """What must be equal for two runs to be comparable, and the batch size."""
    quantized = getattr(model.config, "quantization_config", None)
    return {
        "task": benchmark.task,
        "questions": benchmark.questions,
        **asdict(prompt),
        "model": Path(model.config._name_or_path).name,
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantized": quantized is not None,
        "softmax_dtype": SOFTMAX_DTYPE,
        "device": model.device.type,
        **{name: version(name) for name in ("lm_eval", "transformers", "torch")},
        "batch_size": batch_size,
    }


@contextmanager
def _inference(model: PreTrainedModel) -> Iterator[None]:
    """Put a model in inference mode, Unsloth's where it has one, and back."""
    was_training = model.training
    getattr(model, "for_inference", model.eval)()
    try:
        yield
    finally:
        if was_training:
            getattr(model, "for_training", model.train)()


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave lm-eval's progress bars, drop its advice on arguments not used here."""
    import datasets

    logger, hidden = logging.getLogger("lm_eval"), datasets.are_progress_bars_disabled()
    level = logger.level
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()  # of reading a file: it takes no time
    try:
        yield
    finally:
        logger.setLevel(level)
        if not hidden:
            datasets.enable_progress_bars()

"""The runs of lesson 10: a start, then pairs or rewards; and what each did.

Whatever is trained is a LoRA on the *start*, a small model that one short pass over
wishes has taught the form. With the adapter off it is the start again: the reference.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    set_seed,
)
from transformers.utils.logging import disable_progress_bar
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)

from course_utils.data.conversation import Conversation
from course_utils.data.datasets import (
    PreferencePair,
    load_preferences,
    load_search,
)
from course_utils.methods.study import answered, answers, exact
from course_utils.projects.movies.films import load_films
from course_utils.projects.search.query import as_query, look_up, read_query, serves
from course_utils.projects.search.texts import (
    as_completion,
    as_pairs,
    as_prompt,
    as_rows,
)

SEEDS = (3407, 3408, 3409)
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Sizes:
    """How much of everything a machine does in minutes."""

    every: int = 2  # n-th wish is trained on for the start; the others are rewarded
    pairs: int = 180
    held_out: int = 60  # pairs
    tests: int = 80  # every second test request
    updates: int = 40  # of GRPO; half of them where words or the form are paid
    completions: int = 8  # to a prompt
    new_tokens: int = 40


SIZES = {
    "nano": Sizes(80, 8, 6, 6, 4, 4, 8),
    "cpu": Sizes(),
    "t4": Sizes(updates=200),
}


@dataclass(frozen=True)
class Rows:
    """The rows of a run, as TRL reads them, and what it is measured on."""

    start: list[dict[str, str]]  # prompt, completion
    pairs: list[dict[str, str]]  # prompt, chosen, rejected
    rewarded: list[dict[str, str]]  # prompt, right
    held_out: Sequence[PreferencePair]
    validation: Sequence[Conversation]  # on which a rate is chosen
    tests: Sequence[Conversation]

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {name: len(rows) for name, rows in vars(self).items()}

    @classmethod
    def read(cls, sizes: Sizes) -> Rows:
        """The first rows of each file, as many as the sizes say."""
        wishes = load_search("train")
        others = [w for number, w in enumerate(wishes) if number % sizes.every]
        every_third = 60 // sizes.held_out
        return cls(
            start=as_rows(wishes[:: sizes.every]),
            pairs=as_pairs(load_preferences("train")[: sizes.pairs]),
            rewarded=[
                {"prompt": as_prompt(wish.request), "right": wish.answer}
                for wish in others
            ],
            held_out=load_preferences("held_out")[::every_third][: sizes.held_out],
            validation=load_search("validation")[::4][: sizes.tests],
            tests=[answered(w) for w in load_search("test")[::2][: sizes.tests]],
        )


def lora(task: str = "CAUSAL_LM") -> LoraConfig:
    """The course's LoRA on all seven matrices of a block."""
    return LoraConfig(r=16, lora_alpha=16, target_modules=list(LINEAR), task_type=task)


def shared(folder: str | Path, seed: int) -> dict[str, Any]:
    """Arguments of every trainer here; one pass over the rows unless told otherwise."""
    return {
        "output_dir": str(folder),
        "num_train_epochs": 1,
        "per_device_train_batch_size": 4,
        "warmup_steps": 0.1,  # a share of the updates
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": not torch.cuda.is_available(),
        "seed": seed,
    }


def log_of(trainer: Any) -> pd.DataFrame:
    """The trainer's log as numbers: a row an update."""
    rows = [log for log in trainer.state.log_history if "loss" in log]
    return pd.DataFrame(rows).astype(float)


def hide_progress_bars() -> None:
    """Those of loading a model and of preparing rows, which a notebook would keep."""
    disable_progress_bars()
    disable_progress_bar()


def load(folder: str | Path) -> Any:
    """A language model in fp32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def make_start(model: str, rows: Rows, folder: Path, rate: float, seed: int) -> Any:
    """One pass over wishes with their queries, merged and saved; the trainer's log."""
    set_seed(seed)
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    trainer: Any = SFTTrainer(
        load(model),
        args=SFTConfig(**shared(folder, seed), learning_rate=rate),
        train_dataset=Dataset.from_list(rows.start),
        processing_class=tokenizer,
        peft_config=lora(),
    )
    trainer.train()
    trainer.model.merge_and_unload().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return trainer.state.log_history


def more_sft(start: Path, rows: Rows, folder: Path, rate: float, seed: int) -> Any:
    """The fair baseline: as many updates on the chosen answers of the same pairs."""
    set_seed(seed)
    chosen = [{"prompt": r["prompt"], "completion": r["chosen"]} for r in rows.pairs]
    return SFTTrainer(
        load(start),
        args=SFTConfig(**shared(folder, seed), learning_rate=rate),
        train_dataset=Dataset.from_list(chosen),
        processing_class=AutoTokenizer.from_pretrained(start),
        peft_config=lora(),
    )


def dpo(start: Path, rows: Rows, folder: Path, rate: float, seed: int) -> Any:
    """DPO on the pairs; the reference is the start, the adapter off."""
    set_seed(seed)
    return DPOTrainer(
        load(start),
        args=DPOConfig(**shared(folder, seed), learning_rate=rate, beta=0.1),
        train_dataset=Dataset.from_list(rows.pairs),
        processing_class=AutoTokenizer.from_pretrained(start),
        peft_config=lora(),
    )


def reward_model(start: Path, rows: Rows, folder: Path, rate: float, seed: int) -> Any:
    """A scalar head on the start, trained to score the chosen answer higher."""
    set_seed(seed)
    tokenizer: Any = AutoTokenizer.from_pretrained(start)
    scorer = AutoModelForSequenceClassification.from_pretrained(
        start, num_labels=1, dtype=torch.float32
    )
    scorer.config.pad_token_id = tokenizer.pad_token_id
    return RewardTrainer(
        scorer,
        args=RewardConfig(**shared(folder, seed), learning_rate=rate),
        train_dataset=Dataset.from_list(rows.pairs),
        processing_class=tokenizer,
        peft_config=lora("SEQ_CLS"),
    )


def grpo(
    start: Path,
    rows: Rows,
    folder: Path,
    rate: float,
    seed: int,
    sizes: Sizes,
    updates: int,
    rewards: Sequence[Any],
) -> Any:
    """GRPO with the first of the rewards; the others are only logged."""
    set_seed(seed)
    two: dict[str, Any] = {  # prompts
        "per_device_train_batch_size": 2 * sizes.completions,
        "warmup_steps": 0,
    }
    return GRPOTrainer(
        load(start),
        args=GRPOConfig(
            **shared(folder, seed) | two,
            learning_rate=rate,
            lr_scheduler_type="constant",
            max_steps=updates,
            num_generations=sizes.completions,
            max_completion_length=sizes.new_tokens,
            temperature=0.7,
            beta=0.01,
            reward_weights=[1.0] + [0.0] * (len(rewards) - 1),
        ),
        train_dataset=Dataset.from_list(rows.rewarded),
        processing_class=AutoTokenizer.from_pretrained(start),
        peft_config=lora(),
        reward_funcs=list(rewards),
    )


def _of_answer(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompt: str, text: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of a text with its end, and every token's log-probability at each place.

    Shapes (tokens,) and (tokens, vocabulary); in nats, after the prompt.
    """
    asked = tokenizer(prompt)["input_ids"]
    said = tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[*asked, *said, tokenizer.eos_token_id]]).to(model.device)
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, len(asked) - 1 : -1].float()
    return ids[0, len(asked) :], logits.log_softmax(-1)


def log_probs(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    texts: Sequence[str],
) -> torch.Tensor:
    """Log-probability of each text and its end, after its prompt, in nats: (texts,)."""
    found = []
    for prompt, text in zip(prompts, texts, strict=True):
        tokens, laws = _of_answer(model, tokenizer, prompt, text)
        found.append(laws.gather(1, tokens[:, None]).sum().cpu())
    return torch.stack(found)


def kl_to_start(
    policy: Any,
    tokenizer: PreTrainedTokenizerBase,
    wishes: Sequence[Conversation],
    texts: Sequence[str],
) -> float:
    """How far an adapter moved the next token's law along given answers, nats a token.

    KL(policy ‖ start), exact at each token of the answers and their ends; the mean.
    """
    found = []
    for wish, text in zip(wishes, texts, strict=True):
        answer = (policy, tokenizer, as_prompt(wish.request), as_completion(text))
        _, moved = _of_answer(*answer)
        with policy.disable_adapter():
            _, start = _of_answer(*answer)
        found.append((moved.exp() * (moved - start)).sum(-1))
    return float(torch.cat(found).mean())


def pair_log_probs(
    model: Any, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[PreferencePair]
) -> torch.Tensor:
    """Log-probabilities of chosen and rejected answers, in nats: (pairs, 2)."""
    prompts = [as_prompt(pair.request) for pair in pairs]
    sides = ([p.chosen for p in pairs], [p.rejected for p in pairs])
    return torch.stack(
        [log_probs(model, tokenizer, prompts, [*map(as_completion, s)]) for s in sides],
        dim=1,
    )


def scores(
    scorer: Any, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[PreferencePair]
) -> torch.Tensor:
    """A reward model's scores of chosen and rejected answers: (pairs, 2)."""
    scorer.eval()
    end, found = tokenizer.eos_token, []
    for pair in pairs:
        prompt = as_prompt(pair.request)
        texts = [
            f"{prompt}{as_completion(a)}{end}" for a in (pair.chosen, pair.rejected)
        ]
        batch = tokenizer(texts, return_tensors="pt", padding=True).to(scorer.device)
        with torch.no_grad():
            found.append(scorer(**batch).logits[:, 0].float().cpu())
    return torch.stack(found)


def dealt_anew(pairs: Sequence[PreferencePair]) -> list[PreferencePair]:
    """The same answers, each pair with the request of the next pair."""
    requests = [pair.request for pair in pairs]
    return [
        replace(pair, request=other)
        for pair, other in zip(pairs, requests[1:] + requests[:1], strict=True)
    ]


def served(wishes: Sequence[Conversation], texts: Sequence[str]) -> list[bool]:
    """Which answers serve the user, as lesson 08 counts it; the whole text is read."""
    films = load_films()
    found = [
        look_up(read_query(text), films, wish.request)
        for wish, text in zip(wishes, texts, strict=True)
    ]
    gold = [as_query(json.loads(wish.answer)) for wish in wishes]
    return [serves(it, query, films) for it, query in zip(found, gold, strict=True)]


def measure(
    model: Any, tokenizer: PreTrainedTokenizerBase, wishes: Sequence[Conversation]
) -> dict[str, Any]:
    """Answers to requests and what they are worth: 0 or 1 for each, in their order.

    With an adapter also `kl`, how far it is from the start along these answers.
    """
    texts = answers(model, tokenizer, [wish.request for wish in wishes])
    marks = {
        "valid": [read_query(text) is not None for text in texts],
        "exact": exact(wishes, texts),
        "served": served(wishes, texts),
    }
    spelled = {name: "".join("01"[one] for one in k) for name, k in marks.items()}
    found: dict[str, Any] = {**spelled, "texts": texts}
    if hasattr(model, "disable_adapter"):
        found["kl"] = round(kl_to_start(model, tokenizer, wishes, texts), 4)
    return found

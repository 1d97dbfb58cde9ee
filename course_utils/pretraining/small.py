"""Pretrain a small Llama on Python's own pages, in minutes of a CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from course_utils.machine.profile import Profile
from course_utils.model.bundled import bundled_tokenizer_path
from course_utils.pretraining.corpus import Corpus, Pages, python_pages, without_repeats

Rows = Any  # a datasets.Dataset, whose stubs hold a selection for a DatasetDict too

VOCABULARY = 1024
LENGTH = 128  # tokens of a block
BATCH = 16  # blocks of an update
RATE = 1e-2
# Not SmolLM2's end of a turn: that is its padding too, on which the collator puts no
# loss, so that no model would learn where a page ends.
END_OF_PAGE = "<|endoftext|>"
HELD_OUT = 128  # blocks, of the held-out pages: half to stop by, half to report


@dataclass(frozen=True)
class Budget:
    """What a machine's run may cost."""

    updates: int
    pages: int | None = None  # of those to learn from; None takes all

    @classmethod
    def on(cls, profile: Profile) -> Budget:
        """A few updates on a few pages for the nano profile, which is for tests."""
        return cls(8, 12) if profile.name == "nano" else cls(400)


def pages_within(budget: Budget) -> Corpus:
    """Python's pages, each paragraph once, split into those to learn and held out."""
    corpus = Corpus.split(without_repeats(python_pages()))
    some = dict(list(corpus.train.items())[: budget.pages])
    return replace(corpus, train=some)


def halves(rows: Rows) -> dict[str, Rows]:
    """The first `HELD_OUT` blocks, every second to stop by, the others to report."""
    some = min(HELD_OUT, len(rows))
    return {
        "stop": rows.select(range(0, some, 2)),
        "test": rows.select(range(1, some, 2)),
    }


def held_out_curves(log: list[dict[str, Any]]) -> dict[str, list[float]]:
    """From a trainer's log: updates, and the loss on both halves at each of them."""
    told = {"stop": "eval_stop_loss", "test": "eval_test_loss"}
    found: dict[str, list[float]] = {
        name: [entry[key] for entry in log if key in entry]
        for name, key in told.items()
    }
    found["update"] = [e["step"] for e in log if told["test"] in e]
    return found


def learn_tokens(pages: Pages, vocabulary: int = VOCABULARY) -> Any:
    """Byte-level BPE with SmolLM2's rules of splitting; the merges are the pages'."""
    rules: Any = AutoTokenizer.from_pretrained(bundled_tokenizer_path())
    learnt = rules.train_new_from_iterator(
        pages.values(), vocab_size=vocabulary, show_progress=False
    )
    learnt.eos_token = END_OF_PAGE
    return learnt


def blocks(tokenizer: PreTrainedTokenizerBase, pages: Pages) -> Rows:
    """The pages as one row of tokens, an end after each, in blocks of `LENGTH`."""
    encoded = (
        [*tokenizer(text, verbose=False)["input_ids"], tokenizer.eos_token_id]
        for text in pages.values()
    )
    tokens = list(chain.from_iterable(encoded))
    ends = range(LENGTH, len(tokens) + 1, LENGTH)
    return Dataset.from_dict(
        {"input_ids": [tokens[end - LENGTH : end] for end in ends]}
    )


def small_llama(width: int, vocabulary: int = VOCABULARY) -> LlamaForCausalLM:
    """Four random blocks; a head is 32 wide, the MLP three times as wide as the stream.

    The standard deviation at the start is three times transformers' default: a narrow
    model whose embedding is its output layer as well else starts with scores near zero,
    and 100 updates go into making them larger.
    """
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=4,
            num_attention_heads=max(1, width // 32),
            max_position_embeddings=LENGTH,
            tie_word_embeddings=True,
            initializer_range=0.06,
        )
    )


def arguments_for(
    updates: int, seed: int, folder: str | Path, rate: float = RATE
) -> TrainingArguments:
    """What a pretraining run differs in: a high rate on a cosine, and weight decay."""
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=updates,
        per_device_train_batch_size=BATCH,
        learning_rate=rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,  # a share of the updates
        weight_decay=0.1,
        adam_beta2=0.95,
        logging_steps=10,
        eval_strategy="steps",
        eval_steps=max(1, updates // 16),
        per_device_eval_batch_size=32,
        save_strategy="no",
        report_to="none",
        seed=seed,
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )


def pretrain(
    width: int,
    tokenizer: PreTrainedTokenizerBase,
    rows: Rows,
    held_out: dict[str, Rows],
    arguments: TrainingArguments,
) -> Trainer:
    """Train a small Llama on blocks, loss on every token but the first of each.

    The trainer has the model, and the losses on the held-out blocks in its log.
    """
    set_seed(arguments.seed)
    model = small_llama(width, len(tokenizer))
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=held_out,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer


def nats_per_token(model: Any, rows: Rows) -> float:
    """Mean loss over all tokens of the blocks but the first of each."""
    model.eval()
    losses = []
    for batch in rows.with_format("torch").iter(32):
        ids = batch["input_ids"].to(model.device)
        with torch.no_grad():
            losses.append((float(model(ids, labels=ids).loss), len(ids)))
    return sum(loss * size for loss, size in losses) / sum(size for _, size in losses)

"""Train one method on lesson 08's task, and measure what it did."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from weakref import ref

import torch
from peft import get_peft_model, prepare_model_for_kbit_training
from peft.optimizers import create_loraplus_optimizer
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from course_utils.data.conversation import Conversation
from course_utils.data.datasets import load_search
from course_utils.machine.profile import Profile
from course_utils.methods.book import Method
from course_utils.model.bundled import bundled_model_path
from course_utils.model.nano import NANO_BOS_MODEL, cached_nano_path
from course_utils.projects.search.query import read_query
from course_utils.projects.search.texts import as_prompt, as_rows
from course_utils.recipes.book import MOVIE_SEARCH
from course_utils.recipes.plan import BUNDLED_MODEL, NANO_MODEL

ROWS = 160  # of the training rows, the first; one pass over them is a run
SEARCH_ROWS = 80  # half of them for each learning rate that is tried
HELD_OUT = 80  # every second test row, and every second validation row for the search
FEW = 16  # of each kind for the nano model, which learns nothing
NEW_TOKENS = 48
_IGNORED = -100
_Rows = list[dict[str, list[int]]]


def model_for(profile: Profile) -> str:
    """Folder or hub id of lesson 08's model on this machine, or of COURSE_MODEL.

    As `model.loading.model_location`, which imports unsloth, without its checks.
    """
    plan = MOVIE_SEARCH.plan_for(profile.name, profile.model_override)
    name = plan.model.name
    if name == BUNDLED_MODEL:
        return str(bundled_model_path())
    if name in (NANO_MODEL, NANO_BOS_MODEL):
        return str(cached_nano_path(bos=name == NANO_BOS_MODEL))
    return name


def encode(tokenizer: PreTrainedTokenizerBase, wishes: Sequence[Conversation]) -> _Rows:
    """Token ids and labels: loss on the query and its end, not on the prompt."""
    rows = []
    for row in as_rows(wishes):
        prompt = tokenizer(row["prompt"])["input_ids"]
        answer = tokenizer(row["completion"], add_special_tokens=False)["input_ids"]
        answer = [*answer, tokenizer.eos_token_id]
        labels = [_IGNORED] * len(prompt) + answer
        rows.append({"input_ids": [*prompt, *answer], "labels": labels})
    return rows


def answered(wish: Conversation) -> Conversation:
    """A held-out wish, whose query stands in its notes, as a row with an answer."""
    query = json.dumps(wish.notes["query"], ensure_ascii=False)
    turn = {"role": "assistant", "content": query}
    return replace(wish, messages=(*wish.messages, turn))


def load(model: str | Path, method: Method, updates: int) -> Any:
    """The base, in fp32 or NF4, with the method's parameters attached."""
    codes = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    quantized = {"quantization_config": codes} if method.four_bit else {}
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, **quantized)
    if method.four_bit:
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
    config = method.config(str(model), updates)
    return base if config is None else get_peft_model(base, config)


class _TakeRankAway(TrainerCallback):
    """AdaLoRA looks at the gradients of an update before they are cleared."""

    def on_optimizer_step(self, args, state, control, model: Any = None, **kwargs):
        if hasattr(model.base_model, "update_and_allocate"):
            model.base_model.update_and_allocate(state.global_step)


class _Clock(TrainerCallback):
    """Processor seconds of each update."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0

    def on_step_begin(self, args, state, control, **kwargs):
        self._began = time.process_time()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds.append(time.process_time() - self._began)


def train(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: _Rows,
    method: Method,
    rate: float,
    seed: int,
    folder: str | Path,
    *watchers: TrainerCallback,
) -> list[float]:
    """One pass over the rows; the training loss of each update."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=method.batch_size,
        num_train_epochs=1,
        learning_rate=rate,
        warmup_steps=0.1,  # a share of the updates
        weight_decay=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        seed=seed,
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    optimizer = None
    if method.rate_of_b != 1:
        optimizer = create_loraplus_optimizer(
            model, torch.optim.AdamW, lr=rate, loraplus_lr_ratio=method.rate_of_b
        )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,  # type: ignore[arg-type]
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        callbacks=[_TakeRankAway(), *watchers],
        optimizers=(optimizer, None),
    )
    trainer.remove_callback(PrinterCallback)  # it would print each update
    trainer.train()
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


def nats_per_token(
    model: Any, tokenizer: PreTrainedTokenizerBase, rows: _Rows, batch_size: int = 16
) -> float:
    """Mean loss over all answer tokens of the rows."""
    collate = DataCollatorForSeq2Seq(tokenizer)
    total, tokens = 0.0, 0
    model.eval()
    for start in range(0, len(rows), batch_size):
        batch = collate(rows[start : start + batch_size]).to(model.device)
        counted = int((batch["labels"][:, 1:] != _IGNORED).sum())
        with torch.no_grad():
            total += float(model(**batch).loss) * counted
        tokens += counted
    return total / tokens


def answers(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[str],
    before: str = "",
) -> list[str]:
    """Greedy answers, the end token and what would follow cut off.

    Args:
        before: Examples that stand before each prompt.
    """
    model.eval()
    texts: list[str] = []
    for start in range(0, len(requests), 40):
        some = requests[start : start + 40]
        prompts = [before + as_prompt(request) for request in some]
        batch = tokenizer(
            prompts, return_tensors="pt", padding=True, padding_side="left"
        ).to(model.device)
        with torch.no_grad():
            tokens = model.generate(
                **batch,
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
        new = tokens[:, -(tokens.shape[1] - batch["input_ids"].shape[1]) :]
        texts += tokenizer.batch_decode(new, skip_special_tokens=True)
    return [text.strip() for text in texts]


def exact(wishes: Sequence[Conversation], texts: Sequence[str]) -> list[bool]:
    """Which texts are queries that ask for just what is meant."""
    found = [read_query(text) for text in texts]
    meant = [read_query(wish.answer) for wish in wishes]
    return [
        query is not None and wanted is not None and query.parts == wanted.parts
        for query, wanted in zip(found, meant, strict=True)
    ]


def saved_mib(model: Any, tokenizer: PreTrainedTokenizerBase, rows: _Rows) -> float:
    """MiB of activations that a batch keeps for the backward pass, parameters aside."""
    saved: list[ref[Tensor]] = []

    def note(tensor: Tensor) -> Tensor:
        saved.append(ref(tensor))
        return tensor

    batch = DataCollatorForSeq2Seq(tokenizer)(rows).to(model.device)
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = model(**batch).loss  # held: with it, all that its backward pass needs
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    held = [tensor for reference in saved if (tensor := reference()) is not None]
    storages = {s.data_ptr(): s.nbytes() for s in (t.untyped_storage() for t in held)}
    del loss
    return sum(n for place, n in storages.items() if place not in known) / 2**20


@dataclass(frozen=True)
class Task:
    """Rows of lesson 08's task as token ids, with the model that is to learn them."""

    model: str
    tokenizer: PreTrainedTokenizerBase
    train: _Rows
    search: _Rows  # validation rows, on which a learning rate is chosen
    test: Sequence[Conversation]

    @classmethod
    def read(cls, model: str | Path) -> Task:
        """The task for a model's tokenizer."""
        tokenizer: Any = AutoTokenizer.from_pretrained(model)
        rows = partial(encode, tokenizer)
        validation = load_search("validation")[::2][:HELD_OUT]
        test = [answered(wish) for wish in load_search("test")[::2][:HELD_OUT]]
        train_rows = rows(load_search("train")[:ROWS])
        return cls(str(model), tokenizer, train_rows, rows(validation), test)

    @classmethod
    def on(cls, profile: Profile) -> Task:
        """The task for a machine's model; a few rows of it on the nano profile."""
        task = cls.read(model_for(profile))
        if profile.name != "nano":
            return task
        few = {name: getattr(task, name)[:FEW] for name in ("train", "search", "test")}
        return replace(task, **few)


def seconds_a_row(task: Task, method: Method, folder: str | Path) -> float:
    """Processor seconds that training takes a row: the fastest of three updates.

    The fourth, the first of the run, is left out: it fills caches. Compare only what
    one run of a program found on one machine.
    """
    clock = _Clock()
    rows = task.train[: 4 * method.batch_size]
    model = load(task.model, method, updates=4)
    train(model, task.tokenizer, rows, method, 1e-4, 0, folder, clock)
    del model
    gc.collect()
    return min(clock.seconds[1:]) / method.batch_size


def try_rate(
    task: Task, method: Method, rate: float, seed: int, folder: str | Path
) -> float:
    """Validation loss after half of the rows; infinite where the loss is no number."""
    rows = task.train[:SEARCH_ROWS]
    set_seed(seed)
    model = load(task.model, method, len(rows) // method.batch_size)
    train(model, task.tokenizer, rows, method, rate, seed, folder)
    nats = nats_per_token(model, task.tokenizer, task.search)
    del model
    gc.collect()
    return nats if nats == nats else float("inf")


def run(
    task: Task, method: Method, rate: float, seed: int, folder: str | Path
) -> tuple[dict[str, Any], Any]:
    """Train on all rows and measure on test rows: the record, and the trained model."""
    set_seed(seed)
    model = load(task.model, method, len(task.train) // method.batch_size)
    trained = [p for p in model.parameters() if p.requires_grad]
    mib = saved_mib(model, task.tokenizer, task.train[:4])
    losses = train(model, task.tokenizer, task.train, method, rate, seed, folder)
    texts = answers(model, task.tokenizer, [wish.request for wish in task.test])
    nats = nats_per_token(model, task.tokenizer, encode(task.tokenizer, task.test))
    right = exact(task.test, texts)
    record: Mapping[str, Any] = {
        "method": method.name,
        "seed": seed,
        "rate": rate,
        "parameters": sum(p.numel() for p in trained),
        "rows": len(task.train),
        "updates": len(losses),
        "test_nats": round(nats, 4),
        "exact": sum(right),
        "exact_of": len(right),
        "right": "".join("01"[one] for one in right),
        "saved_activation_mib": round(mib, 1),
    }
    return dict(record), model

"""Train a few updates of one model on this GPU, and say what they took.

A process of its own, so that its peak is its own: `gpu_check` starts it with Unsloth
and without. The model is the bundled one, or random weights in the shapes of a known
one, already in NF4: memory and time do not depend on what the weights are.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    PreTrainedModel,
    TrainerCallback,
)

from course_utils.machine.profile import Profile
from course_utils.model.architectures import Architecture
from course_utils.places import make_folder, runs_folder, write_json
from course_utils.recipes.book import MOVIE_RECOMMENDER
from course_utils.recipes.plan import Plan

WEIGHT_SPREAD = 0.02  # standard deviation, as Llama's are drawn before training
SHARD_BYTES = 4 * 10**9
NF4 = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "float16",
}


class Meter(TrainerCallback):
    """Seconds of each update, and the most memory that updates alone took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.allocated = self.reserved = 0.0

    def on_step_begin(self, args, state, control, **kwargs):
        if not self.seconds:  # an evaluation before it keeps all logits
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        self._start = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._start)
        self.allocated = torch.cuda.max_memory_allocated() / 2**30
        self.reserved = torch.cuda.max_memory_reserved() / 2**30


def llama_config(shapes: Architecture) -> LlamaConfig:
    """A config with an architecture's widths; biases on q, k, v are left out."""
    return LlamaConfig(
        hidden_size=shapes.hidden_size,
        intermediate_size=shapes.intermediate_size,
        num_hidden_layers=shapes.layers,
        num_attention_heads=shapes.attention_heads,
        num_key_value_heads=shapes.key_value_heads,
        head_dim=shapes.head_dim,
        vocab_size=shapes.vocab_size,
        tie_word_embeddings=shapes.tied_embeddings,
        max_position_embeddings=8192,
        dtype="float16",
        architectures=["LlamaForCausalLM"],
    )


def write_random_nf4(
    shapes: Architecture, tokenizer_from: Path, folder: Path, device: str = "cuda"
) -> Path:
    """A model folder of random weights whose linear layers are packed in NF4."""
    from accelerate import init_empty_weights

    config = llama_config(shapes)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    config.bos_token_id, config.eos_token_id = None, tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    with init_empty_weights():
        model = AutoModelForCausalLM.from_config(config)
    names = {f"{name}.weight" for name in shapes.linear_shapes()}
    packed: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        drawn = torch.randn(parameter.shape, device=device, dtype=torch.float16)
        if parameter.dim() == 1:
            packed[name] = torch.ones_like(drawn).cpu()
        elif any(name.endswith(ending) for ending in names):
            packed |= _in_nf4(name, drawn * WEIGHT_SPREAD)
        else:
            packed[name] = (drawn * WEIGHT_SPREAD).cpu()
    _save(packed, make_folder(folder))
    config.quantization_config = NF4
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _in_nf4(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """A matrix as bitsandbytes saves it: codes, scales, and how to read them."""
    from bitsandbytes.functional import quantize_4bit

    codes, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    parts = {f"{name}.{key}": part for key, part in state.as_dict(packed=True).items()}
    return {name: codes.cpu(), **{key: part.cpu() for key, part in parts.items()}}


def _save(tensors: dict[str, torch.Tensor], folder: Path) -> None:
    from huggingface_hub import save_torch_state_dict

    save_torch_state_dict(tensors, folder, max_shard_size=SHARD_BYTES)


def plan_of(model: Path, in_4bit: bool, updates: int) -> Plan:
    """The movie recommender's on a T4, with another model and fewer updates."""
    plan = MOVIE_RECOMMENDER.plan_for("t4", str(model))
    return replace(plan, load_in_4bit=in_4bit, max_steps=updates)


def load_with_unsloth(plan: Plan, profile: Profile):
    """As lesson 03: (model with adapter, tokenizer)."""
    from course_utils.model import loading

    base, tokenizer = loading.load_base(plan, profile)
    return loading.attach_lora(base, plan), tokenizer


def load_plain(plan: Plan, profile: Profile):
    """The same with transformers and PEFT alone."""
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    base = AutoModelForCausalLM.from_pretrained(
        plan.model.name, dtype=profile.compute_dtype, device_map={"": 0}
    )
    if AutoConfig.from_pretrained(plan.model.name).to_dict().get("quantization_config"):
        base = prepare_model_for_kbit_training(base)
    settings = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        target_modules=list(plan.target_modules),
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(base, settings)
    return adapted, AutoTokenizer.from_pretrained(plan.model.name)


LOADERS = {"unsloth": load_with_unsloth, "plain": load_plain}


def rows_for(kind: str, plan: Plan, tokenizer) -> tuple[Any, Any]:
    """(training, validation) tokens: the recipe's rows, or rows of full length."""
    from datasets import Dataset

    from course_utils.data.datasets import load_rows
    from course_utils.data.tokens import to_dataset

    training, held_out = load_rows(plan)
    validation = to_dataset(held_out[:2], tokenizer, plan.max_length)
    if kind == "recipe":
        return to_dataset(training, tokenizer, plan.max_length), validation
    drawn = torch.randint(100, 4000, (64, plan.max_length)).tolist()
    mask = [1] * plan.max_length
    rows = {"input_ids": drawn, "labels": drawn, "attention_mask": [mask] * len(drawn)}
    return Dataset.from_dict(rows), validation


def measure(model: PreTrainedModel, tokenizer, kind: str, plan: Plan, profile: Profile):
    """Train some updates on one kind of rows: memory, seconds, losses."""
    from course_utils.training.trainer import build_trainer

    training, validation = rows_for(kind, plan, tokenizer)
    folder = make_folder(runs_folder() / f"gpu-training-{profile.name}")
    trainer = build_trainer(
        model, tokenizer, training, validation, plan, profile, folder
    )
    for parameter in model.parameters():
        if parameter.requires_grad:  # TRL 1.15 makes the adapter of a 4-bit base bf16,
            parameter.data = parameter.data.float()  # and fp16's scaler has no kernel
    meter = Meter()
    trainer.add_callback(meter)
    start = torch.cuda.memory_reserved() / 2**30
    trainer.train()
    log = trainer.state.log_history
    losses = [entry["loss"] for entry in log if "loss" in entry]
    norms = [entry["grad_norm"] for entry in log if "grad_norm" in entry]
    tokens = [entry["num_input_tokens_seen"] for entry in log if "loss" in entry]
    # The first two updates compile and warm up.
    counted = (tokens[-1] - tokens[1]) / sum(meter.seconds[2:])
    return {
        "rows": kind,
        "longest_row": max(map(len, training["input_ids"])),
        "start_reserved_gib": start,
        "peak_reserved_gib": meter.reserved,
        "peak_allocated_gib": meter.allocated,
        "seconds_an_update": statistics.median(meter.seconds[2:]),
        "tokens_per_second": counted,
        "losses": losses,
        "finite_losses": all(map(math.isfinite, losses)),
        "gradient_norms": norms,
    }


def main() -> None:
    """Measure one model with one library, for the kinds of rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", choices=LOADERS)
    parser.add_argument("model", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--sixteen-bit", action="store_true")
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--rows", nargs="+", default=["recipe", "full"])
    asked = parser.parse_args()
    profile = Profile.detect()
    plan = plan_of(asked.model, not asked.sixteen_bit, asked.updates)
    held = {"library": asked.library, "model": asked.model.name, "runs": []}
    begin = time.perf_counter()
    model, tokenizer = LOADERS[asked.library](plan, profile)
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    held["seconds_to_load"] = time.perf_counter() - begin
    held["loaded_allocated_gib"] = torch.cuda.memory_allocated() / 2**30
    held["loaded_reserved_gib"] = torch.cuda.memory_reserved() / 2**30
    held["outside_torch_gib"] = (total - free) / 2**30 - held["loaded_reserved_gib"]
    held["dtypes"] = sorted({str(p.dtype) for p in model.parameters()})
    for kind in asked.rows:
        try:
            held["runs"].append(measure(model, tokenizer, kind, plan, profile))
        except torch.OutOfMemoryError as fault:  # a result too: it does not fit a T4
            held["runs"].append({"rows": kind, "error": str(fault).partition(".")[0]})
        write_json(asked.result, held)
    print(json.dumps(held, indent=1))


if __name__ == "__main__":
    main()

"""Load, adapt, save and question models, through Unsloth on GPU and CPU alike.

The only module that imports unsloth: import it first in a notebook, since Unsloth
patches transformers and TRL while it is imported (15 seconds).
"""

from __future__ import annotations

import logging
import os

from course_utils.llama_cpp import unsloth_environment
from course_utils.profile import Profile, cache_folder

# bitsandbytes looks for an optional kernel package on every import and warns.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

if os.environ.get("COURSE_PROFILE") in ("cpu", "nano"):
    # Unsloth chooses its device when it is imported; a GPU would win otherwise.
    os.environ.setdefault("UNSLOTH_FORCE_CPU", "1")
for _name, _value in unsloth_environment().items():  # where llama.cpp lies, as well
    os.environ.setdefault(_name, _value)

# isort: off
# ruff: noqa: E402
from unsloth import FastLanguageModel
# isort: on

import gc
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_utils.embedded_model import embedded_model_path
from course_utils.generation import (
    Generated,
    Sampling,
    decoding,
    generate_batch,
    seeded,
)
from course_utils.nano import nano_model_path
from course_utils.plans import Plan
from course_utils.recipes import EMBEDDED_MODEL, NANO_MODEL
from course_utils.templates import use_template


def model_location(plan: Plan) -> str:
    """A folder or hub id that `from_pretrained` understands.

    The two models that need no hub are unpacked or built into the cache first.
    Absolute paths, since an adapter records where its base was.
    """
    if plan.model.name == EMBEDDED_MODEL:
        return str(embedded_model_path())
    if plan.model.name == NANO_MODEL:
        folder = cache_folder() / "nano-v1"
        if not (folder / "tokenizer.json").exists():
            nano_model_path(folder)
        return str(folder)
    if Path(plan.model.name).is_dir():
        return str(Path(plan.model.name).resolve())
    return plan.model.name


def load_base(
    plan: Plan, profile: Profile, *, load_in_4bit: bool | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the model that a plan names, without an adapter, with the plan's template.

    Args:
        plan: Which model, longest sequence, 4-bit or not.
        profile: The machine; decides the dtype of activations.
        load_in_4bit: Overrides the plan.

    Returns:
        Model in evaluation mode, and its tokenizer, padding on the left.
    """
    four_bit = plan.load_in_4bit if load_in_4bit is None else load_in_4bit
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=model_location(plan),
        max_seq_length=plan.max_length,
        dtype=profile.compute_dtype,
        load_in_4bit=four_bit,
        revision=plan.model.revision,
    )
    use_template(tokenizer, plan.template)
    FastLanguageModel.for_inference(model)
    return model, tokenizer


def attach_lora(model: PreTrainedModel, plan: Plan) -> PreTrainedModel:
    """Freeze the model and put an adapter beside each layer that the plan names.

    Args:
        model: As `load_base` returned it; it is changed in place.
        plan: Rank, alpha, dropout, modules, checkpointing, seed.

    Returns:
        A PEFT model. Only A and B of the adapters require gradients.
    """
    model = FastLanguageModel.get_peft_model(
        model,
        r=plan.rank,
        lora_alpha=plan.alpha,
        lora_dropout=plan.dropout,
        target_modules=list(plan.target_modules),
        bias="none",
        use_gradient_checkpointing="unsloth" if plan.gradient_checkpointing else False,
        random_state=plan.seed,
    )
    FastLanguageModel.for_training(model)
    return model


def load_adapter(
    folder: Path, plan: Plan, profile: Profile, *, load_in_4bit: bool | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a saved adapter together with the base that it names.

    Raises:
        FileNotFoundError: If the folder holds no adapter. (Unsloth and PEFT would
            otherwise look the folder's name up on the hub.)
    """
    if not (folder / "adapter_config.json").exists():
        held = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        raise FileNotFoundError(
            f"No adapter_config.json in {folder.name!r}; it holds {held or 'nothing'}. "
            "Was the run stopped before it saved? Train it again, or resume from its "
            "last checkpoint."
        )
    four_bit = plan.load_in_4bit if load_in_4bit is None else load_in_4bit
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=str(folder.resolve()),
        max_seq_length=plan.max_length,
        dtype=profile.compute_dtype,
        load_in_4bit=four_bit,
    )
    FastLanguageModel.for_inference(model)
    return model, tokenizer


def answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[str],
    *,
    max_new_tokens: int = 96,
    batch_size: int = 8,
) -> list[str]:
    """Answer each request greedily; see `generate`. Returns the texts alone."""
    answers = generate(
        model,
        tokenizer,
        requests,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
    )
    return [given.text for given in answers]


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[str],
    *,
    max_new_tokens: int = 96,
    batch_size: int = 16,
    sampling: Sampling | None = None,
) -> list[Generated]:
    """Answer each request in a chat of one turn.

    Args:
        model: With or without adapter; its mode is restored afterwards.
        tokenizer: Brings the chat template.
        requests: What the user says, one string a chat.
        max_new_tokens: Answers are cut there when the model does not stop.
        batch_size: Prompts generated together, padded on the left.
        sampling: How to draw; None takes the likeliest token each time.

    Returns:
        The new text of each chat, special tokens removed, in the given order.
    """
    was_training = model.training
    FastLanguageModel.for_inference(model)
    answers: list[Generated] = []
    with seeded(sampling):
        for start in range(0, len(requests), batch_size):
            batch = requests[start : start + batch_size]
            answers += generate_batch(
                model, tokenizer, batch, decoding(max_new_tokens, sampling)
            )
    if was_training:
        FastLanguageModel.for_training(model)
    return answers


def free_memory() -> None:
    """Give back what deleted models held; two 8B models do not fit on a T4.

    A trainer and its model refer to each other, so `del` alone frees nothing
    until the garbage collector has run.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def logits_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str
) -> torch.Tensor:
    """Next-token scores after each position of a text, fp32, (seq, vocab)."""
    inputs = tokenizer(text, return_tensors="pt").to(model.device)
    with torch.inference_mode():
        return model(**inputs).logits[0].float()

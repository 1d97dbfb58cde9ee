"""A language model small enough for unit tests: two random layers.

It has the shape of a Llama and SmolLM2's tokenizer, so every library treats it as
a real one. What it writes is noise: it proves that code runs, never that a method
works.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast as Tokenizer

from course_utils.model.bundled import FORMAT, bundled_tokenizer_path, save_together
from course_utils.places import cache_folder, made_once

NANO_BOS_MODEL = "nano-bos"  # COURSE_MODEL=nano-bos on the nano profile

_BEGIN = "<|endoftext|>"  # id 0: no part of SmolLM2's chat template


def nano_tokenizer(bos: bool = False) -> Tokenizer:
    """SmolLM2's tokenizer: 49,152 tokens, ChatML template.

    With `bos` it adds a mark at the beginning of every text and the template writes it,
    as with Llama 3.1 and half of all real models.
    """
    tokenizer = cast(Tokenizer, AutoTokenizer.from_pretrained(bundled_tokenizer_path()))
    if bos:
        tokenizer.bos_token = _BEGIN
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{_BEGIN} $A",
            pair=f"{_BEGIN} $A {_BEGIN} $B",
            special_tokens=[(_BEGIN, tokenizer.bos_token_id)],
        )
        tokenizer.chat_template = "{{- bos_token }}" + str(tokenizer.chat_template)
    return tokenizer


def nano_model(seed: int = 0, vocabulary: int = 49152) -> LlamaForCausalLM:
    """A random Llama: 2 layers, hidden 64, 4 heads of which 2 share keys.

    The seed decides the weights; the global random state stays as it was.
    """
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,  # the narrowest that bitsandbytes packs into 4 bits
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def nano_model_path(folder: Path, bos: bool = False) -> Path:
    """Save the nano model and its tokenizer where `from_pretrained` finds them."""
    save_together(nano_model(), nano_tokenizer(bos), folder)
    return folder


def cached_nano_path(bos: bool = False) -> Path:
    """The same in the cache, made in a second when missing."""
    name = NANO_BOS_MODEL if bos else "nano"
    folder = cache_folder() / f"{name}-v{FORMAT}"
    return made_once(folder, lambda empty: nano_model_path(empty, bos))

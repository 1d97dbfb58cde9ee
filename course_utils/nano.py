"""A language model small enough for unit tests: two random layers.

It has the shape of a Llama and SmolLM2's tokenizer, so every library treats it as
a real one. What it writes is noise: it proves that code runs, never that a method
works.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from course_utils.embedded_model import embedded_tokenizer_path

HIDDEN_SIZE = 64  # the narrowest layer that bitsandbytes packs into 4 bits


def nano_tokenizer():
    """SmolLM2's tokenizer: 49,152 tokens, ChatML template."""
    return AutoTokenizer.from_pretrained(embedded_tokenizer_path())


def nano_model(seed: int = 0, vocabulary: int = 49152) -> LlamaForCausalLM:
    """A random Llama: 2 layers, hidden 64, 4 heads of which 2 share keys.

    Args:
        seed: Decides the weights; the global random state stays as it was.
        vocabulary: Number of tokens.
    """
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN_SIZE,
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


def nano_model_path(folder: Path, seed: int = 0) -> Path:
    """Save the nano model and its tokenizer where `from_pretrained` finds them."""
    nano_model(seed).save_pretrained(folder)
    nano_tokenizer().save_pretrained(folder)
    return folder

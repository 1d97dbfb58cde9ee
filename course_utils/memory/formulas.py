"""How many bytes a training run takes, part by part, from shapes alone.

Weights and optimizer states are exact to the byte, activations an estimate;
`planner.plan_memory` adds the parts up.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from course_utils.model.architectures import TABLES, Architecture

FP32_BYTES = 4
_NF4_BLOCK = 64  # weights that share one scale
_SCALE_BLOCK = 256  # scales that share one scale of their own, in double quantization
_NF4_TABLE_BYTES = 16 * 4  # the sixteen values of NF4 in fp32, kept with each matrix
_SCALE_TABLE_BYTES = (256 + 1) * 4  # 8-bit code of the scales, and their mean (offset)
_OPTIMIZER_BLOCK = 256  # 8-bit states that share one scale
_SMALLEST_8BIT_TENSOR = 4096  # numbers; bitsandbytes keeps smaller tensors in fp32
_GATES = ("gate_proj", "up_proj")  # read the same input
_MOMENT_BYTES = {"adamw": 4, "adamw_torch": 4, "adamw_bf16": 2, "adamw_8bit": 1}


class WeightFormat(StrEnum):
    """How the linear layers of the blocks are stored; the rest stays in 16 or 32 bit.

    NF4 and INT8 are bitsandbytes' formats for loading; embedding, output head, norms
    and biases are never packed.
    """

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"
    NF4 = "nf4"
    NF4_DOUBLE_QUANT = "nf4_double_quant"

    @classmethod
    def _missing_(cls, value: object) -> WeightFormat:
        expected = ", ".join(cls)
        raise ValueError(f"weight format is {value!r}; expected one of {expected}.")

    @property
    def is_quantized(self) -> bool:
        """Whether weights are codes that need scales, and so cannot be trained."""
        return self.value in ("int8", "nf4", "nf4_double_quant")

    @property
    def bits_per_weight(self) -> float:
        """Bits of one weight with its share of the scales, for large matrices.

        NF4: 4 + 32/64 = 4.5. Double quantization: 4 + 8/64 + 32/(64 x 256) = 4.127.
        INT8: 8; its one fp32 scale a row is 32/inputs more, 0.008 at 4,096 inputs.
        Source: QLoRA, arXiv:2305.14314, §3.
        """
        double = 4 + 8 / _NF4_BLOCK + 32 / (_NF4_BLOCK * _SCALE_BLOCK)
        quantized = {"int8": 8.0, "nf4": 4 + 32 / _NF4_BLOCK}
        quantized["nf4_double_quant"] = double
        return quantized.get(self.value, 32.0 if self is WeightFormat.FP32 else 16.0)


def matrix_bytes(
    shape: tuple[int, int], weight_format: WeightFormat, *, tables: bool = False
) -> int:
    """Bytes of a linear layer's weight, (inputs, outputs), last block stored whole.

    `tables` adds the codebooks that bitsandbytes keeps with each 4-bit matrix: 64
    bytes, 1,092 under double quantization. The paper's bits a weight leave them out; on
    small models they show. Source: bitsandbytes 0.50, functional.quantize_4bit.
    """
    inputs, outputs = shape
    weights = inputs * outputs
    if weight_format is WeightFormat.INT8:
        return weights + FP32_BYTES * outputs
    if not weight_format.is_quantized:
        return weights * int(weight_format.bits_per_weight) // 8
    codes, blocks = -(-weights // 2), -(-weights // _NF4_BLOCK)
    if weight_format is WeightFormat.NF4:
        return codes + FP32_BYTES * blocks + tables * _NF4_TABLE_BYTES
    scales = blocks + FP32_BYTES * -(-blocks // _SCALE_BLOCK)
    return codes + scales + tables * (_NF4_TABLE_BYTES + _SCALE_TABLE_BYTES)


def weight_bytes(
    architecture: Architecture,
    weight_format: WeightFormat | str,
    other_dtype_bytes: int | None = None,
    *,
    tables: bool = False,
) -> int:
    """Bytes of a loaded model: packed linear layers, and all else as it is.

    Experts in one tensor (Mixtral) are no linear layers, and transformers 5.17 does not
    pack them.

    Args:
        other_dtype_bytes: A number of the embedding, head, norms and biases. None
            means as in the linear layers, and 2 beside quantized ones.
            `prepare_model_for_kbit_training` of PEFT makes it 4.
        tables: See `matrix_bytes`.
    """
    chosen = WeightFormat(weight_format)
    if other_dtype_bytes is None:
        other_dtype_bytes = 4 if chosen is WeightFormat.FP32 else 2
    shapes = [shape for block in architecture.blocks() for shape in block.values()]
    packed = sum(matrix_bytes(shape, chosen, tables=tables) for shape in shapes)
    others = architecture.parameters - architecture.linear_parameters
    return packed + others * other_dtype_bytes


def optimizer_bytes(tensor_sizes: Iterable[int], optimizer: str = "adamw") -> int:
    """Bytes of Adam's two moments over the trainable tensors, given numbers in each.

    adamw (adamw_torch): 2 x 4 a number in fp32. adamw_bf16: 2 x 2, what torch's AdamW
    keeps for bf16 parameters. adamw_8bit: 2 x 1, and 2 fp32 scales for each block of
    256, so 2 + 8/256 = 2.03; tensors under 4,096 numbers stay in fp32. That makes 2.26
    on average for a rank-16 adapter of SmolLM2-135M. The code table of 8-bit states
    (2 KB, one for all tensors) is left out.

    Source: bitsandbytes 0.50, optim.optimizer.Optimizer2State.init_state.
    """
    if optimizer not in _MOMENT_BYTES:
        raise ValueError(
            f"optimizer is {optimizer!r}; expected one of {', '.join(_MOMENT_BYTES)}. "
            "Other optimizers keep other states: add their bytes a number here."
        )
    if optimizer != "adamw_8bit":
        return 2 * _MOMENT_BYTES[optimizer] * sum(tensor_sizes)
    return sum(_moments_in_8bit(size) for size in tensor_sizes)


def _moments_in_8bit(size: int) -> int:
    if size < _SMALLEST_8BIT_TENSOR:
        return 2 * FP32_BYTES * size
    return 2 * size + 2 * FP32_BYTES * -(-size // _OPTIMIZER_BLOCK)


def trainable_tensor_sizes(architecture: Architecture) -> list[int]:
    """Numbers in each tensor under full fine-tuning."""
    return architecture.tensor_sizes()


def activation_bytes(
    architecture: Architecture,
    *,
    tokens: int,
    gradient_checkpointing: bool,
    rank: int | None,
    modules: Iterable[str] = (),
    compute_bytes: int = 2,
    adapter_dtype_bytes: int = FP32_BYTES,
) -> int:
    """Bytes of a batch's activations, without the logits. An estimate.

    Without gradient checkpointing every block keeps `block_activation_bytes`, where the
    arguments are explained; with it only its input, hidden x compute bytes a token, and
    one block at a time is computed again. The norm before the head is added in both
    cases.

    Source: Chen et al. 2016, arXiv:1604.06174, with one checkpoint a block.
    """
    block = block_activation_bytes(
        architecture,
        rank=rank,
        modules=modules,
        compute_bytes=compute_bytes,
        adapter_dtype_bytes=adapter_dtype_bytes,
    )
    hidden, layers = architecture.hidden_size, architecture.layers
    final_norm = FP32_BYTES * (hidden + 1)
    if rank is None:  # its gain and the head are trained and need their inputs
        final_norm += 2 * hidden * compute_bytes
    if gradient_checkpointing:
        return tokens * (layers * hidden * compute_bytes + block + final_norm)
    return tokens * (layers * block + final_norm)


def block_activation_bytes(
    architecture: Architecture,
    *,
    rank: int | None,
    modules: Iterable[str] = (),
    compute_bytes: int = 2,
    adapter_dtype_bytes: int = FP32_BYTES,
) -> int:
    """Bytes a token that one block keeps for its backward pass. An estimate.

    With h hidden, q and k the widths of queries and keys, f the MLP's, c bytes a
    number:

    - norms: 2 (4h + 4), their inputs and inverse deviations in fp32;
    - attention: (2q + 2k) c for queries, keys, values and result, and 4 a head for
      SDPA's log-sum-exp; no seq x seq matrix;
    - MLP: 3 f c, gate before and after SiLU, and up;
    - full tuning: (4h + f) c, inputs of the matrices and of the norms' gains;
    - LoRA: the inputs of the adapted modules, and r c a module between A and B.
      PEFT casts each input to the adapter's dtype, so equal inputs are shared only
      where that is the compute dtype.

    It equals what `saved_activation_bytes` counts on transformers' Llama (5.17, SDPA,
    no padding), apart from tensors of a few bytes a token that blocks share. Padding
    adds a mask and copies of the shared heads; Unsloth's kernels keep less. For other
    families the same rule is applied to the layers of their widest block. Under LoRA it
    is within 2 % for tiny models of Qwen3, Gemma 2 and 3 and SmolLM3, 7 % too low for
    Phi-3, and up to a fifth too low where tokens are sent to experts.

    Args:
        rank: Of the adapter; None means full tuning.
        modules: That get one.
        compute_bytes: A number of the activations.
        adapter_dtype_bytes: A number of the adapter.

    Source: derived from autograd's saved tensors; after Korthikanti et al. 2022,
    arXiv:2205.05198, §4, which does the same for another block.
    """
    hidden = architecture.hidden_size
    in_fp32 = architecture.norm_numbers + 2 + architecture.attention_heads
    kept, inner = kept_by_layers(architecture)
    if rank is None:
        kept += architecture.norm_numbers + 2 * hidden + inner
    else:
        adapted = set(architecture.present(modules))
        casts = adapter_dtype_bytes != compute_bytes
        kept += _adapter_inputs(architecture, adapted, casts) + rank * len(adapted)
    return in_fp32 * FP32_BYTES + kept * compute_bytes


def kept_by_layers(architecture: Architecture) -> tuple[int, int]:
    """Numbers a token that a block's layers keep, and the inner width of its MLP.

    What reads the stream keeps its outputs, what writes to it its inputs: for the MLP
    gate, up and their product's first factor. Of a fused projection v is a view, which
    keeps all of it.
    """
    hidden = architecture.hidden_size

    def kept(shapes: Iterable[tuple[int, int]]) -> int:
        return sum(b if a == hidden else a for a, b in shapes)

    widest = max((list(b.values()) for b in architecture.blocks()), key=kept)
    total = kept([*widest, *architecture.expert_shapes])
    rotated = architecture.query_size + architecture.key_value_size
    inner = (total - 2 * rotated) // 3
    return total + rotated * ("qkv_proj" in architecture.target_modules), inner


def _adapter_inputs(architecture: Architecture, modules: set[str], casts: bool) -> int:
    """Numbers a token that the A matrices of one block keep."""
    layers = (item for block in architecture.blocks() for item in block.items())
    inputs = {path.rsplit(".", 1)[-1]: shape[0] for path, shape in layers}
    modules = modules - {*TABLES}
    if casts:
        return sum(inputs[module] for module in modules)
    groups = ({"q_proj", "k_proj", "v_proj", "qkv_proj"}, {*_GATES, "gate_up_proj"})
    shared = sum(bool(modules & group) for group in groups) * architecture.hidden_size
    # o_proj's input is the attention result, which SDPA keeps anyway.
    own = modules.difference(*groups, {"o_proj"})
    return shared + sum(inputs[module] for module in own)

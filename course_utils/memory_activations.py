"""What autograd keeps of a forward pass, estimated from shapes alone.

`memory.saved_activation_bytes` measures the same on a loaded model.
"""

from __future__ import annotations

from collections.abc import Iterable

from course_utils.architectures import Architecture
from course_utils.memory_formulas import FP32_BYTES


def activation_bytes(
    architecture: Architecture,
    *,
    tokens: int,
    rank: int | None,
    modules: Iterable[str] = (),
    gradient_checkpointing: bool,
    compute_bytes: int = 2,
    adapter_dtype_bytes: int = 4,
) -> int:
    """Bytes of a batch's activations, without the logits. An estimate.

    Without gradient checkpointing every block keeps `block_activation_bytes`; with it
    only its input, hidden x compute bytes a token, and one block at a time is computed
    again. The norm before the head is added in both cases.

    Args:
        architecture: The model.
        tokens: batch x sequence length.
        rank: Of the adapter; None means full tuning.
        modules: With an adapter.
        gradient_checkpointing: Whether blocks recompute their activations.
        compute_bytes: A number of the activations.
        adapter_dtype_bytes: A number of the adapter.

    Source: Chen et al. 2016, arXiv:1604.06174, for checkpointing, with one checkpoint
    a block.
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
    adapter_dtype_bytes: int = 4,
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
    adds a mask and copies of the shared heads; Unsloth's kernels keep less.

    Args:
        architecture: Whose block.
        rank: Of the adapter; None means full tuning.
        modules: With an adapter.
        compute_bytes: A number of the activations.
        adapter_dtype_bytes: A number of the adapter.

    Source: derived from autograd's saved tensors; after Korthikanti et al. 2022,
    arXiv:2205.05198, §4, which does the same for another block.
    """
    hidden, inner = architecture.hidden_size, architecture.intermediate_size
    norms = 2 * FP32_BYTES * (hidden + 1)
    attention = 2 * (architecture.query_size + architecture.key_value_size)
    kept = attention + 3 * inner
    if rank is None:
        kept += 4 * hidden + inner
    else:
        casts = adapter_dtype_bytes != compute_bytes
        kept += _adapter_inputs(architecture, set(modules), casts)
        kept += rank * len(set(modules))
    return norms + FP32_BYTES * architecture.attention_heads + kept * compute_bytes


def _adapter_inputs(architecture: Architecture, modules: set[str], casts: bool) -> int:
    """Numbers a token that the A matrices of one block keep."""
    if casts:
        shapes = architecture.linear_shapes()
        return sum(shapes[module][0] for module in modules)
    groups = ({"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"})
    shared = sum(bool(modules & group) for group in groups) * architecture.hidden_size
    # o_proj's input is the attention result, which SDPA keeps anyway.
    return shared + ("down_proj" in modules) * architecture.intermediate_size

"""What a loaded model and a forward pass really keep in memory, counted in bytes.

`model.get_memory_footprint()` adds up parameters and buffers only. bitsandbytes keeps
the scales of a 4-bit matrix elsewhere, in `weight.quant_state`, so they go missing:
SmolLM2-135M reports the same size with and without double quantization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TensorBytes:
    """Bytes of a loaded model, by what they hold.

    Attributes:
        packed_bytes: Codes of quantized matrices (4 or 8 bits a weight).
        scale_bytes: What turns codes back into weights: scales, offsets, codebooks.
        rest_bytes: All else in 16 or 32 bit: embedding, head, norms, adapter, buffers.
    """

    packed_bytes: int
    scale_bytes: int
    rest_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.packed_bytes + self.scale_bytes + self.rest_bytes


def tensor_bytes(model: nn.Module) -> TensorBytes:
    """True bytes of a model's weights; gradients and activations are not included.

    Counts storages, each once: a tied head, or a codebook that many matrices share,
    adds nothing. For bitsandbytes it follows `quant_state` (absmax, code, offset, and
    under double quantization the same of `state2`) and the row scales of 8-bit layers.

    Args:
        model: Any module, also on the meta device or wrapped by PEFT.
    """
    seen: set[int] = set()
    scales = [t for part in _quantized_weights(model) for t in _scale_tensors(part)]
    scale_bytes = sum(_new_bytes(tensor, seen) for tensor in scales)
    packed = sum(_new_bytes(part, seen) for part in _quantized_weights(model))
    tensors = [*model.parameters(), *model.buffers(), *_int8_states(model)]
    return TensorBytes(
        packed_bytes=packed,
        scale_bytes=scale_bytes,
        rest_bytes=sum(_new_bytes(tensor, seen) for tensor in tensors),
    )


def saved_activation_bytes(function: Callable[[], Any], model: nn.Module) -> int:
    """Bytes that autograd keeps between a forward pass and its backward pass.

    Each saved tensor passes a hook on its way into the graph. Weights are saved too,
    but they exist anyway and are left out. A storage counts once, and whole, also when
    a view of it is saved. Under autocast the 16-bit copies of weights do count: they
    are new memory.

    Args:
        function: Runs the forward pass, such as `lambda: model(**batch).loss`. What
            it returns is kept alive until all is counted.
        model: Whose parameters and buffers do not count.

    Source: PyTorch, torch.autograd.graph.saved_tensors_hooks.
    """
    existing = [*model.parameters(), *model.buffers()]
    existing += [t for part in _quantized_weights(model) for t in _scale_tensors(part)]
    seen = {_storage_id(tensor) for tensor in existing}
    saved_bytes = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal saved_bytes
        saved_bytes += _new_bytes(tensor, seen)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        kept_alive = function()  # else freed storages could be counted as known ones
    del kept_alive
    return saved_bytes


def _storage_id(tensor: Tensor) -> int:
    # data_ptr() will not do: it is 0 for every tensor on the meta device.
    return tensor.untyped_storage()._cdata


def _new_bytes(tensor: Tensor, seen: set[int]) -> int:
    identity = _storage_id(tensor)
    if identity in seen:
        return 0
    seen.add(identity)
    return tensor.untyped_storage().nbytes()


def _quantized_weights(model: nn.Module) -> Iterator[nn.Parameter]:
    for parameter in model.parameters():
        scales = (getattr(parameter, name, None) for name in ("quant_state", "SCB"))
        if any(scale is not None for scale in scales):
            yield parameter


def _scale_tensors(parameter: nn.Parameter) -> Iterator[Tensor]:
    if (row_scales := getattr(parameter, "SCB", None)) is not None:
        yield row_scales
    state = getattr(parameter, "quant_state", None)
    while state is not None:  # state2 describes how the scales are quantized
        for name in ("absmax", "code", "offset"):
            if isinstance(tensor := getattr(state, name, None), Tensor):
                yield tensor
        state = getattr(state, "state2", None)


def _int8_states(model: nn.Module) -> Iterator[Tensor]:
    """Codes and scales of 8-bit layers, which move there in the first forward pass."""
    for module in model.modules():
        state = getattr(module, "state", None)
        for name in ("CB", "SCB"):
            if isinstance(tensor := getattr(state, name, None), Tensor):
                yield tensor

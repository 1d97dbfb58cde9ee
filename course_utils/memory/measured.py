"""What a loaded model and a forward pass really keep in memory, counted in bytes.

`model.get_memory_footprint()` adds up parameters and buffers only. bitsandbytes keeps
the scales of a 4-bit matrix elsewhere, in `weight.quant_state`, so they go missing:
SmolLM2-135M reports the same size with and without double quantization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TensorBytes:
    """Bytes of a loaded model, by what they hold."""

    packed_bytes: int  # codes of quantized matrices, 4 or 8 bits a weight
    scale_bytes: int  # what turns codes back into weights: scales, offsets, codebooks
    rest_bytes: int  # in 16 or 32 bit: embedding, head, norms, adapter, buffers

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.packed_bytes + self.scale_bytes + self.rest_bytes


def tensor_bytes(model: nn.Module) -> TensorBytes:
    """True bytes of a model's weights; gradients and activations are not included.

    Counts storages, each once: a tied head, or a codebook that many matrices share,
    adds nothing. For bitsandbytes it follows `quant_state` (absmax, code, offset, and
    under double quantization the same of `state2`) and the row scales of 8-bit layers.
    The model may be on the meta device or wrapped by PEFT.
    """
    seen: set[int] = set()
    scale_bytes = _new_bytes(_scale_tensors(model), seen)
    packed_bytes = _new_bytes(_quantized_weights(model), seen)
    rest = [*model.parameters(), *model.buffers(), *_int8_states(model)]
    return TensorBytes(packed_bytes, scale_bytes, _new_bytes(rest, seen))


def saved_activation_bytes(function: Callable[[], Any], model: nn.Module) -> int:
    """Bytes that autograd keeps between a forward pass and its backward pass.

    Each saved tensor passes a hook on its way into the graph. Weights are saved too,
    but they exist anyway and are left out. A storage counts once, and whole, also when
    a view of it is saved. Under autocast the 16-bit copies of weights do count: they
    are new memory.

    Args:
        function: Runs the forward pass, such as `lambda: model(**batch).loss`.

    Source: PyTorch, torch.autograd.graph.saved_tensors_hooks.
    """
    seen: set[int] = set()
    _new_bytes([*model.parameters(), *model.buffers(), *_scale_tensors(model)], seen)
    saved_bytes = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal saved_bytes
        saved_bytes += _new_bytes([tensor], seen)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        kept_alive = function()  # else freed storages could be counted as known ones
    del kept_alive
    return saved_bytes


def _new_bytes(tensors: Iterable[Tensor], seen: set[int]) -> int:
    """Bytes of the storages that have not been seen; from now on they have."""
    total = 0
    for tensor in tensors:
        storage = tensor.untyped_storage()
        # data_ptr() will not do: it is 0 for every tensor on the meta device.
        if storage._cdata not in seen:
            seen.add(storage._cdata)
            total += storage.nbytes()
    return total


def _quantized_weights(model: nn.Module) -> Iterator[nn.Parameter]:
    for parameter in model.parameters():
        scales = (getattr(parameter, name, None) for name in ("quant_state", "SCB"))
        if any(scale is not None for scale in scales):
            yield parameter


def _scale_tensors(model: nn.Module) -> Iterator[Tensor]:
    for parameter in _quantized_weights(model):
        yield from _tensors_of(parameter, ("SCB",))
        state = getattr(parameter, "quant_state", None)
        while state is not None:  # state2 describes how the scales are quantized
            yield from _tensors_of(state, ("absmax", "code", "offset"))
            state = getattr(state, "state2", None)


def _int8_states(model: nn.Module) -> Iterator[Tensor]:
    """Codes and scales of 8-bit layers, which move there in the first forward pass."""
    for module in model.modules():
        yield from _tensors_of(getattr(module, "state", None), ("CB", "SCB"))


def _tensors_of(holder: Any, names: tuple[str, ...]) -> list[Tensor]:
    found = (getattr(holder, name, None) for name in names)
    return [tensor for tensor in found if isinstance(tensor, Tensor)]

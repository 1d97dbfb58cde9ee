"""Folding an adapter into its base: what of it a 4-bit base keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import psutil
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from course_utils.machine.profile import Profile
from course_utils.model.architectures import Architecture

SHARE_OF_MEMORY = 0.8  # of what is free, for weights; activations need the rest


def packed_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Layers in 4 bits with an adapter beside them, named as in the base model.

    Some 4-bit models keep a few layers in 16 bits; those have no codes and are left
    out. ValueError if none is left.
    """
    found = {
        name.removeprefix("base_model.model."): module
        for name, module in model.named_modules()
        if hasattr(module, "lora_A")
        and hasattr(_weight(module), "quant_state")  # bitsandbytes' scales
    }
    if not found:
        raise ValueError(
            "No layer has both an adapter and packed 4-bit codes. Was the base loaded "
            "in 16 bits, or the adapter merged already?"
        )
    return found


def _weight(layer: nn.Module) -> Tensor:
    return cast(nn.Linear, getattr(layer, "base_layer", layer)).weight


def packed_codes(layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """A copy on the CPU of the layers' 4-bit codes, two a byte."""
    return {
        name: _weight(layer).detach().to("cpu", copy=True)
        for name, layer in layers.items()
    }


def unpack_to(merged: nn.Module, dtype: torch.dtype) -> None:
    """Let the 4-bit layers of a merged model be unpacked to the format of their inputs.

    PEFT adds the update to the unpacked weights in fp32, and bitsandbytes notes fp32 as
    what the new codes stand for. On a GPU Unsloth's kernels then multiply fp16 inputs
    by fp32 weights, which torch refuses (seen on an H200 held to fp16).
    """
    for layer in merged.modules():
        state = getattr(getattr(layer, "weight", None), "quant_state", None)
        if state is not None:
            state.dtype = dtype


def changed_codes(before: Mapping[str, Tensor], merged: nn.Module) -> tuple[int, int]:
    """How many 4-bit codes a merge has changed, and how many there are.

    Layer by layer, so that no second copy of the model is made.
    """
    changed = total = 0
    for name, old in before.items():
        different = old ^ _weight(merged.get_submodule(name)).detach().cpu()
        changed += int((different & 0x0F).ne(0).sum() + (different >> 4).ne(0).sum())
        total += 2 * old.numel()
    return changed, total


def relative_update(layer: nn.Module) -> float:
    """Standard deviation of (α/r)·B·A over that of the 4-bit weight it is added to."""
    from bitsandbytes.functional import dequantize_4bit

    weight = _weight(layer)
    # pyrefly: ignore[missing-attribute]  # of bitsandbytes' parameter
    plain = dequantize_4bit(weight.data, weight.quant_state).float()
    # pyrefly: ignore[not-callable]  # of PEFT, behind torch's __getattr__
    return (layer.get_delta_weight("default").float().std() / plain.std()).item()


def forms_that_fit(
    forms: Mapping[str, Callable[[], PreTrainedModel]],
    architecture: Architecture,
    profile: Profile,
) -> Mapping[str, Callable[[], PreTrainedModel]]:
    """The same forms of a plain model, or none where its weights would not fit here.

    They are in 16 bits on a GPU and in fp32 on a CPU, and get SHARE_OF_MEMORY of what
    is free now.
    """
    bytes_ = architecture.parameters * profile.compute_dtype.itemsize
    on_gpu = profile.is_gpu and torch.cuda.mem_get_info()[0]
    free = on_gpu or psutil.virtual_memory().available
    return forms if bytes_ <= SHARE_OF_MEMORY * free else {}

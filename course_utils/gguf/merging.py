"""Folding an adapter into its base: two ways that keep it, one that loses it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import psutil
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from course_utils.machine.profile import Profile
from course_utils.model.architectures import Architecture
from course_utils.recipes.plan import Plan

SHARE_OF_MEMORY = 0.8  # of what is free, for weights; activations need the rest


def adapted_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Layers with an adapter beside them, named as in the base model."""
    return {
        name.removeprefix("base_model.model."): module
        for name, module in model.named_modules()
        if hasattr(module, "lora_A")
    }


def packed_codes(layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The 4-bit codes of layers in bitsandbytes' NF4, two a byte, not copied."""
    return {
        name: cast(nn.Linear, getattr(layer, "base_layer", layer)).weight.detach()
        for name, layer in layers.items()
    }


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of each tensor on the CPU, which a merge cannot change."""
    return {name: tensor.to("cpu", copy=True) for name, tensor in tensors.items()}


@dataclass(frozen=True)
class ChangedCodes:
    """How many 4-bit codes differ between two states of a model."""

    changed: int
    total: int

    @property
    def share(self) -> float:
        """Of all codes."""
        return self.changed / self.total


def count_changed_codes(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> ChangedCodes:
    """Compare codes one by one, layer by layer: no second copy of a model is made."""
    changed = total = 0
    for name, old in before.items():
        if old.dtype != torch.uint8:
            raise ValueError(
                f"{name} is {old.dtype}, expected packed codes (uint8). Was the base "
                "loaded in 16 bits? Codes exist only in a 4-bit base."
            )
        different = old ^ after[name].cpu()
        changed += int((different & 0x0F).ne(0).sum() + (different >> 4).ne(0).sum())
        total += 2 * old.numel()
    return ChangedCodes(changed, total)


def relative_update(layer: nn.Module) -> float:
    """Standard deviation of (α/r)·B·A over that of the 4-bit weight it is added to."""
    from bitsandbytes.functional import dequantize_4bit

    # pyrefly: ignore[not-callable]  # of PEFT, behind torch's __getattr__
    weight = layer.get_base_layer().weight
    plain = dequantize_4bit(weight.data, weight.quant_state).float()
    # pyrefly: ignore[not-callable]  # as above
    return (layer.get_delta_weight("default").float().std() / plain.std()).item()


def merge(model: nn.Module) -> PreTrainedModel:
    """PEFT's merge: adds (α/r)·B·A to each weight, in the weight's own format.

    On a 16-bit base that is right. On a 4-bit base PEFT dequantizes, adds and
    rounds back to the grid, which swallows the update; its warning is passed over
    here, since notebook 07 shows the loss itself.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Merge lora module to 4-bit")
        # pyrefly: ignore[not-callable]  # as above
        return model.merge_and_unload()


def load_unmerged(
    plan: Plan, profile: Profile, adapter: Path, *, four_bit: bool
) -> PreTrainedModel:
    """The adapter beside its base, in NF4 or plain, as it runs in training."""
    from course_utils.model import loading  # imports unsloth: 15 seconds

    return loading.load_adapter(adapter, plan, profile, load_in_4bit=four_bit)[0]


def _merge_dequantized(plan: Plan, profile: Profile, adapter: Path) -> PreTrainedModel:
    """A plain model of the function that runs live on the 4-bit base."""
    from peft import PeftModel

    from course_utils.model import loading

    base, _ = loading.load_base(plan, profile, load_in_4bit=True)
    return merge(PeftModel.from_pretrained(base.dequantize(), adapter))


def ways_to_run(
    plan: Plan, profile: Profile, adapter: Path, architecture: Architecture
) -> dict[str, Callable[[], PreTrainedModel]]:
    """Live and merged forms of one adapter: name to a function that loads the form.

    Those with a plain base (16 bits on a GPU, fp32 on a CPU) are left out where they
    would take more than SHARE_OF_MEMORY of what this machine has free now.
    """
    load = partial(load_unmerged, plan, profile, adapter)
    quantized = {
        "live on the 4-bit base": lambda: load(four_bit=True),
        "merged into the 4-bit base": lambda: merge(load(four_bit=True)),
    }
    plain = {
        "dequantized, then merged": lambda: _merge_dequantized(plan, profile, adapter),
        "live on the plain base": lambda: load(four_bit=False),
        "plain base, merged": lambda: merge(load(four_bit=False)),
    }
    bytes_ = architecture.parameters * profile.compute_dtype.itemsize
    on_gpu = profile.is_gpu and torch.cuda.mem_get_info()[0]
    free = on_gpu or psutil.virtual_memory().available
    return quantized | plain if bytes_ <= SHARE_OF_MEMORY * free else quantized

"""Shapes of a model of any family, as transformers builds it on the meta device.

Nothing is downloaded and no memory is taken: a config is enough, half a second for a
model of 8 billion parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from course_utils import CourseError
from course_utils.data.files import read_table
from course_utils.model.architectures import Architecture, Shape
from course_utils.places import DATA_FOLDER

CONFIGS_PATH = DATA_FOLDER / "model_configs.yaml"


@dataclass(frozen=True)
class PublicModel:
    """What a public model's config.json says of its shapes, and its counts."""

    source: str  # where the values were read
    parameters: int  # all of them
    config: dict[str, Any]  # fields as transformers names them
    active: int | None = None  # parameters that one token meets, where not all

    def architecture(self, name: str) -> Architecture:
        """The shapes that follow."""
        return Architecture.from_config(AutoConfig.for_model(**self.config), name)


def load_models(path: Path = CONFIGS_PATH) -> dict[str, PublicModel]:
    """All models of data/model_configs.yaml, by name; see `files.read_table`."""
    return read_table(path, PublicModel)


class UnknownArchitecture(CourseError, ValueError):
    """transformers builds no causal language model from a config."""


@dataclass(frozen=True)
class MeasuredArchitecture(Architecture):
    """Shapes read from a model on the meta device, of a family without closed form."""

    model_type: str  # as transformers names the family
    tensors: Mapping[str, tuple[int, ...]]  # shape of each parameter; a tied one once
    layers_by_block: tuple[Mapping[str, Shape], ...]  # linear layers, paths in a block
    stack: str  # path of the blocks, such as `model.layers`
    experts: int  # in a block that has any; 1 where there are none
    experts_used: int  # by a token
    sliding_window: int | None  # tokens that some blocks look back; None: all

    def linear_shapes(self) -> dict[str, Shape]:
        """(inputs, outputs) of each linear layer of the first block; see `blocks`."""
        return dict(self.layers_by_block[0])

    def blocks(self) -> Sequence[Mapping[str, Shape]]:
        """Linear layers of each block, which need not be equal."""
        return self.layers_by_block

    @property
    def parameters(self) -> int:
        """All numbers that pretraining learned."""
        return sum(self.tensor_sizes())

    @property
    def active_parameters(self) -> int:
        """Those that one token meets: of the experts only the ones that it uses."""
        routed = ((k, prod(v)) for k, v in self.tensors.items() if ".experts." in k)
        idle = sum(size for _, size in routed)
        return (
            self.parameters - idle * (self.experts - self.experts_used) // self.experts
        )

    @property
    def norm_and_bias_parameters(self) -> int:
        """All the rest: norms, biases, experts and their routers."""
        named = self.linear_parameters + self.embedding_parameters
        return self.parameters - named

    def tensor_sizes(self) -> list[int]:
        """Numbers in each tensor: what full fine-tuning trains."""
        return [prod(shape) for shape in self.tensors.values()]

    def _first_block(self) -> dict[str, tuple[int, ...]]:
        """Its parameters, by their paths in it; with experts, of the last block."""
        start = f"{self.stack}.{self.layers - 1 if self.experts > 1 else 0}."
        named = self.tensors.items()
        return {k.removeprefix(start): v for k, v in named if k.startswith(start)}

    @property
    def norm_numbers(self) -> int:
        """Numbers a token that a block's norms read; those of q and k are per head."""
        per_head = {"q_norm": self.query_size, "k_norm": self.key_value_size}
        paths = [k.split(".")[-2] for k in self._first_block() if "norm" in k]
        return sum(per_head.get(path, self.hidden_size) for path in paths)

    @property
    def expert_shapes(self) -> Sequence[Shape]:
        """Matrices of the experts that a token meets in a block."""
        fused = [v for k, v in self._first_block().items() if ".experts." in k]
        stacks = [shape for shape in fused if len(shape) == 3]
        return [(b, a) for _, a, b in stacks for _ in range(self.experts_used)]


def measured(config: Any, name: str) -> MeasuredArchitecture:
    """The shapes of what transformers builds from a config."""
    text = config.get_text_config(decoder=True)
    model = _on_meta(config)
    stack, blocks = _block_stack(model, text.num_hidden_layers)
    heads = getattr(text, "num_attention_heads", 1)
    head = model.get_output_embeddings().weight
    return MeasuredArchitecture(
        name=name,
        title=name,
        hub_id=getattr(config, "_name_or_path", "") or "",
        hidden_size=text.hidden_size,
        intermediate_size=getattr(text, "intermediate_size", None) or 0,
        layers=len(blocks),
        attention_heads=heads,
        key_value_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
        vocab_size=text.vocab_size,
        tied_embeddings=head is model.get_input_embeddings().weight,
        qkv_bias=any(n.endswith("q_proj.bias") for n, _ in model.named_parameters()),
        context_tokens=getattr(text, "max_position_embeddings", 0),
        source="model.config, built by transformers on the meta device",
        model_type=config.model_type,
        tensors={n: tuple(p.shape) for n, p in model.named_parameters()},
        layers_by_block=tuple(map(_linear_layers, blocks)),
        stack=stack,
        experts=_number(text, "num_local_experts", "num_experts", "n_routed_experts"),
        experts_used=_number(text, "num_experts_per_tok", "experts_per_token"),
        sliding_window=getattr(text, "sliding_window", None),
    )


def _on_meta(config: Any) -> Any:
    """A model without memory; UnknownArchitecture where there is no causal one."""
    plain = deepcopy(config)
    if hasattr(plain, "quantization_config"):
        del plain.quantization_config  # the shapes as they were before packing
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(plain)
        model.get_decoder().get_input_embeddings()
    except (ValueError, AttributeError, ImportError) as error:
        raise UnknownArchitecture(
            f"The model is of type {config.model_type!r}; expected one that "
            "transformers builds as a causal language model. Is it an encoder, or does "
            f"it bring code of its own? ({type(error).__name__}: {str(error)[:120]})"
        ) from None
    return model


def _block_stack(model: Any, count: int) -> tuple[str, Sequence[nn.Module]]:
    """Path and modules of the decoder's equal parts."""
    decoder = model.get_decoder()
    for path, module in model.named_modules():
        mine = any(module is part for part in decoder.modules())
        if mine and isinstance(module, nn.ModuleList) and len(module) == count:
            return path, list(module)
    raise UnknownArchitecture(
        f"No list of {count} blocks in {type(model).__name__}; expected the decoder to "
        "hold `num_hidden_layers` of them. Count its parameters instead."
    )


def _linear_layers(block: nn.Module) -> dict[str, Shape]:
    """(inputs, outputs) by name, by path where a name stands twice."""
    found: dict[str, Shape] = {}
    for path, module in block.named_modules():
        if isinstance(module, nn.Linear):
            found[path] = module.in_features, module.out_features
        elif isinstance(module, Conv1D):  # GPT-2 stores (inputs, outputs)
            inputs, outputs = module.weight.shape
            found[path] = inputs, outputs
    short = {path.rsplit(".", 1)[-1]: shape for path, shape in found.items()}
    return short if len(short) == len(found) else found


def _number(config: Any, *names: str) -> int:
    """The first of these that a config has; 1 where it has none."""
    return next((n for k in names if (n := getattr(config, k, None))), 1)

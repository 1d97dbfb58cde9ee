"""Shapes of known language models, and what follows from shapes alone.

Parameter counts, the size of an adapter and its share of the work need no weights:
widths and the number of layers are enough. All models here are decoders of Llama's
kind: seven linear layers a block, RMSNorm, rotary positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from course_utils.profile import PROJECT_ROOT

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
ALL_LINEAR = ATTENTION + MLP
MODEL_TYPES = ("llama", "mistral", "qwen2")  # what `from_config` understands
ARCHITECTURES_PATH = PROJECT_ROOT / "data" / "architectures.yaml"


@dataclass(frozen=True)
class Architecture:
    """Widths and depths of one decoder.

    Attributes:
        name: Key in architectures.yaml.
        title: As written in tables and plots.
        hub_id: Repository on the Hugging Face hub.
        hidden_size: Width of the residual stream.
        intermediate_size: Width inside the MLP.
        layers: Transformer blocks.
        attention_heads: Query heads.
        key_value_heads: Heads of keys and values; fewer means they are shared.
        head_dim: Width of a head.
        vocab_size: Rows of the embedding.
        tied_embeddings: Whether the output head is the embedding itself.
        qkv_bias: Whether q_proj, k_proj and v_proj add a bias.
        context_tokens: Longest sequence in training.
        source: Where the shapes stand.
    """

    name: str
    title: str
    hub_id: str
    hidden_size: int
    intermediate_size: int
    layers: int
    attention_heads: int
    key_value_heads: int
    head_dim: int
    vocab_size: int
    tied_embeddings: bool
    qkv_bias: bool
    context_tokens: int
    source: str

    @property
    def query_size(self) -> int:
        """Outputs of q_proj, and inputs of o_proj."""
        return self.attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        """Outputs of k_proj, and of v_proj."""
        return self.key_value_heads * self.head_dim

    def linear_shapes(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of each linear layer of one block.

        PyTorch stores a weight the other way round, as (outputs, inputs).
        """
        hidden, inner = self.hidden_size, self.intermediate_size
        return {
            "q_proj": (hidden, self.query_size),
            "k_proj": (hidden, self.key_value_size),
            "v_proj": (hidden, self.key_value_size),
            "o_proj": (self.query_size, hidden),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        }

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers in all blocks: what 4-bit loading packs."""
        return self.layers * sum(a * b for a, b in self.linear_shapes().values())

    @property
    def embedding_parameters(self) -> int:
        """Embedding and output head; a tied pair is one matrix and counts once."""
        copies = 1 if self.tied_embeddings else 2
        return copies * self.vocab_size * self.hidden_size

    @property
    def norm_and_bias_parameters(self) -> int:
        """Gains of two norms a block and one at the end, and biases on q, k, v."""
        norms = (2 * self.layers + 1) * self.hidden_size
        biases = self.layers * (self.query_size + 2 * self.key_value_size)
        return norms + (biases if self.qkv_bias else 0)

    @property
    def parameters(self) -> int:
        """All numbers that pretraining learned."""
        return (
            self.linear_parameters
            + self.embedding_parameters
            + self.norm_and_bias_parameters
        )

    def lora_tensor_sizes(
        self, rank: int, modules: Iterable[str] = ALL_LINEAR
    ) -> list[int]:
        """Numbers in each A (rank x inputs) and each B (outputs x rank).

        Raises:
            ValueError: If the rank is below 1 or a module is unknown.
        """
        if rank < 1:
            raise ValueError(f"rank is {rank}; expected 1 or more: A has `rank` rows.")
        shapes = [self._shape(module) for module in sorted(set(modules))]
        block = [rank * width for shape in shapes for width in shape]
        return self.layers * block

    def lora_parameters(self, rank: int, modules: Iterable[str] = ALL_LINEAR) -> int:
        """Trainable numbers of an adapter: rank x (inputs + outputs) a module.

        The scale alpha / rank is no parameter. Source: LoRA, arXiv:2106.09685, §4.

        Args:
            rank: Rows of A and columns of B.
            modules: Names out of ALL_LINEAR; a name given twice counts once.

        Raises:
            ValueError: If the rank is below 1 or a module is unknown.
        """
        return sum(self.lora_tensor_sizes(rank, modules))

    def lora_flops_share(self, rank: int, modules: Iterable[str] = ALL_LINEAR) -> float:
        """Work of the unmerged adapter's forward pass over that of the base linears.

        A matrix costs two FLOPs a weight and token, whatever its shape, so the share
        is one of parameters. Attention scores and the output head are not counted.

        Raises:
            ValueError: If the rank is below 1 or a module is unknown.
        """
        return self.lora_parameters(rank, modules) / self.linear_parameters

    def break_even_rank(self, module: str) -> int:
        """Highest rank at which A and B together are no larger than the matrix.

        From rank x (inputs + outputs) <= inputs x outputs.

        Raises:
            ValueError: If the module is unknown.
        """
        inputs, outputs = self._shape(module)
        return inputs * outputs // (inputs + outputs)

    def _shape(self, module: str) -> tuple[int, int]:
        shapes = self.linear_shapes()
        if module not in shapes:
            raise ValueError(
                f"{module!r} is no linear layer of a block; expected some of "
                f"{', '.join(ALL_LINEAR)}. Pass a tuple of names, not one string."
            )
        return shapes[module]

    @classmethod
    def from_config(cls, config: Any, name: str = "loaded model") -> Architecture:
        """The shapes of a loaded model, to hold it against the file.

        Args:
            config: A transformers configuration: `model.config`.
            name: For tables.

        Raises:
            ValueError: If the model is not built like a Llama, Mistral or Qwen2.5.
        """
        _refuse_other_models(config)
        heads = config.num_attention_heads
        return cls(
            name=name,
            title=name,
            hub_id=getattr(config, "_name_or_path", "") or "",
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            layers=config.num_hidden_layers,
            attention_heads=heads,
            key_value_heads=config.num_key_value_heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            vocab_size=config.vocab_size,
            tied_embeddings=config.tie_word_embeddings,
            qkv_bias=config.model_type == "qwen2",
            context_tokens=config.max_position_embeddings,
            source="model.config",
        )


def _refuse_other_models(config: Any) -> None:
    biased = [
        field
        for field in ("attention_bias", "mlp_bias")
        if getattr(config, field, False)
    ]
    if config.model_type not in MODEL_TYPES or biased:
        found = f"{config.model_type!r}" + (
            f" with {', '.join(biased)}" if biased else ""
        )
        raise ValueError(
            f"The model is of type {found}; expected {', '.join(MODEL_TYPES)} without "
            "these biases. Its blocks have other parts, so the counts would be wrong: "
            "count `sum(p.numel() for p in model.parameters())` instead."
        )


def load_architectures(path: Path = ARCHITECTURES_PATH) -> dict[str, Architecture]:
    """All models of data/architectures.yaml, by name.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If an entry lacks a field, has one too many, or if its shapes do
            not add up to its published number of parameters.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: _read_entry(name, entry) for name, entry in entries.items()}


def _read_entry(name: str, entry: Mapping[str, Any]) -> Architecture:
    known = {field.name for field in fields(Architecture)} - {"name"} | {"parameters"}
    if missing := known - entry.keys():
        raise ValueError(f"{name} lacks {', '.join(sorted(missing))}: see the others.")
    if unknown := entry.keys() - known:
        raise ValueError(
            f"{name} has unknown fields {', '.join(sorted(unknown))}; a typing error? "
            f"Expected {', '.join(sorted(known))}."
        )
    shapes = {field: value for field, value in entry.items() if field != "parameters"}
    architecture = Architecture(name=name, **shapes)
    if architecture.parameters != entry["parameters"]:
        raise ValueError(
            f"{name}: the shapes give {architecture.parameters:,} parameters, "
            f"published are {entry['parameters']:,}. Compare with {entry['source']}."
        )
    return architecture

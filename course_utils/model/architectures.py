"""Shapes of known language models, and what follows from shapes alone.

Parameter counts, the size of an adapter and its share of the work need no weights:
widths and the number of layers are enough. All models here are decoders of Llama's
kind: seven linear layers a block, RMSNorm, rotary positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import WrapValidator

from course_utils.data.files import read_table, refusal
from course_utils.places import DATA_FOLDER

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
ALL_LINEAR = ATTENTION + MLP
_MODEL_TYPES = ("llama", "mistral", "qwen2")  # what `from_config` understands
ARCHITECTURES_PATH = DATA_FOLDER / "architectures.yaml"


@dataclass(frozen=True)
class Architecture:
    """Widths and depths of one decoder.

    A rank below 1, or a name that is not in ALL_LINEAR, is a ValueError in each method.
    """

    name: str  # key in architectures.yaml
    title: str  # as written in tables and plots
    hub_id: str
    hidden_size: int  # width of the residual stream
    intermediate_size: int  # width inside the MLP
    layers: int
    attention_heads: int  # of queries
    key_value_heads: int  # fewer than attention_heads: they are shared
    head_dim: int
    vocab_size: int  # rows of the embedding
    tied_embeddings: bool  # whether the output head is the embedding itself
    qkv_bias: bool  # whether q_proj, k_proj and v_proj add a bias
    context_tokens: int  # longest sequence in training
    source: str  # where the shapes stand

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
        in_blocks = self.linear_parameters + self.norm_and_bias_parameters
        return in_blocks + self.embedding_parameters

    def lora_tensor_sizes(
        self, rank: int, modules: Iterable[str] = ALL_LINEAR
    ) -> list[int]:
        """Numbers in each A (rank x inputs) and each B (outputs x rank)."""
        if rank < 1:
            raise ValueError(f"rank is {rank}; expected 1 or more: A has `rank` rows.")
        shapes = [self._shape(module) for module in sorted(set(modules))]
        block = [rank * width for shape in shapes for width in shape]
        return self.layers * block

    def lora_parameters(self, rank: int, modules: Iterable[str] = ALL_LINEAR) -> int:
        """Trainable numbers of an adapter: rank x (inputs + outputs) a module.

        A name given twice counts once. Source: LoRA, arXiv:2106.09685, §4.
        """
        return sum(self.lora_tensor_sizes(rank, modules))

    def lora_flops_share(self, rank: int, modules: Iterable[str] = ALL_LINEAR) -> float:
        """Work of the unmerged adapter's forward pass over that of the base linears.

        A matrix costs two FLOPs a weight and token, whatever its shape, so the share
        is one of parameters. Attention scores and the output head are not counted.
        """
        return self.lora_parameters(rank, modules) / self.linear_parameters

    def break_even_rank(self, module: str) -> int:
        """Highest rank at which A and B together are no larger than the matrix."""
        inputs, outputs = self._shape(module)
        return inputs * outputs // (inputs + outputs)  # the largest r: r (i + o) <= i o

    def _shape(self, module: str) -> tuple[int, int]:
        if module not in ALL_LINEAR:
            raise ValueError(
                f"{module!r} is no linear layer of a block; expected some of "
                f"{', '.join(ALL_LINEAR)}. Pass a tuple of names, not one string."
            )
        return self.linear_shapes()[module]

    @classmethod
    def from_config(cls, config: Any, name: str = "loaded model") -> Architecture:
        """The shapes of a loaded model, of its `model.config`.

        ValueError if it is not built like a Llama, Mistral or Qwen2.5.
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
    biases = ("attention_bias", "mlp_bias")
    biased = ", ".join(name for name in biases if getattr(config, name, False))
    if config.model_type not in _MODEL_TYPES or biased:
        raise ValueError(
            f"The model is of type {config.model_type!r}"
            f"{biased and f' with {biased}'}; expected {', '.join(_MODEL_TYPES)} "
            "without these biases. Its blocks have other parts, so the counts would be "
            "wrong: count `sum(p.numel() for p in model.parameters())` instead."
        )


def _as_published(entry: Any, make: Callable[[Any], Architecture]) -> Architecture:
    """The shapes of an entry; they must add up to its published count."""
    if not isinstance(entry, dict):
        return make(entry)
    shapes = {key: value for key, value in entry.items() if key != "parameters"}
    made, published = make({"name": "", **shapes}), entry.get("parameters")
    if made.parameters != published:
        expected = f"{made.parameters} by the shapes; compare with {made.source}"
        raise refusal(expected, f"{published} (published)", "parameters")
    return made


def load_architectures(path: Path = ARCHITECTURES_PATH) -> dict[str, Architecture]:
    """All models of data/architectures.yaml, by name; see `files.read_table`.

    Shapes that do not add up to the published number of parameters are a fault.
    """
    shapes = read_table(path, Annotated[Architecture, WrapValidator(_as_published)])
    return {name: replace(shape, name=name) for name, shape in shapes.items()}

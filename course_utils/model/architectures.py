"""Shapes of known language models, and what follows from shapes alone.

Parameter counts, the size of an adapter and its share of the work need no weights:
widths and the number of layers are enough. Decoders of Llama's kind (seven linear
layers a block, RMSNorm, rotary positions) are counted in closed form; any other causal
model by a copy that transformers builds without memory, on the meta device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import WrapValidator

from course_utils.data.files import read_table, refusal
from course_utils.places import DATA_FOLDER

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
ALL_LINEAR = ATTENTION + MLP
TABLES = ("embed_tokens", "lm_head")  # the embedding and the output head, as targets
FUSED = {  # what Phi-3 makes of several matrices at once
    **dict.fromkeys(("q_proj", "k_proj", "v_proj"), "qkv_proj"),
    **dict.fromkeys(("gate_proj", "up_proj"), "gate_up_proj"),
}
_MODEL_TYPES = ("llama", "mistral", "qwen2")  # in closed form
ARCHITECTURES_PATH = DATA_FOLDER / "architectures.yaml"

Shape = tuple[int, int]  # inputs and outputs of a linear layer


@dataclass(frozen=True)
class Architecture:
    """Widths and depths of one decoder.

    A rank below 1, or a name of a layer that the model has not, is a ValueError in each
    method. `embed_tokens` and `lm_head` count as layers where an adapter is meant.
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

    def blocks(self) -> Sequence[Mapping[str, Shape]]:
        """`linear_shapes` of each block, in order."""
        return [self.linear_shapes()] * self.layers

    @property
    def target_modules(self) -> tuple[str, ...]:
        """Names of all linear layers in the blocks, as PEFT takes them."""
        names = (path.rsplit(".", 1)[-1] for block in self.blocks() for path in block)
        return tuple(dict.fromkeys(names))

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers in all blocks: what 4-bit loading packs."""
        return sum(a * b for block in self.blocks() for a, b in block.values())

    @property
    def active_parameters(self) -> int:
        """Those that one token meets: fewer than all where it is sent to experts."""
        return self.parameters

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

    def tensor_sizes(self) -> list[int]:
        """Numbers in each tensor: what full fine-tuning trains."""
        block = [a * b for a, b in self.linear_shapes().values()]
        block += [self.hidden_size, self.hidden_size]  # the gains of two norms
        if self.qkv_bias:
            block += [self.query_size, *[self.key_value_size] * 2]
        table, tables = self.table_size, 1 if self.tied_embeddings else 2
        return [*self.layers * block, *[table] * tables, self.hidden_size]

    @property
    def table_size(self) -> int:
        """Numbers of the embedding, and of an output head that is not tied to it."""
        return self.vocab_size * self.hidden_size

    @property
    def norm_numbers(self) -> int:
        """Numbers a token that a block's norms read: two of the stream."""
        return 2 * self.hidden_size

    @property
    def expert_shapes(self) -> Sequence[Shape]:
        """Matrices of the experts that a token meets in a block, where there are any.

        They are no linear layers of torch, so neither packed nor adapted.
        """
        return ()

    def lora_tensor_sizes(
        self, rank: int, modules: Iterable[str] | None = None
    ) -> list[int]:
        """Numbers in each A (rank x inputs) and each B (outputs x rank).

        `modules` are names of layers, all linear ones of the blocks by default. Where a
        model has one matrix for several (Phi-3), their names stand for that one, as
        Unsloth takes them.
        """
        if rank < 1:
            raise ValueError(f"rank is {rank}; expected 1 or more: A has `rank` rows.")
        chosen = self.target_modules if modules is None else self.present(modules)
        shapes = [shape for module in chosen for shape in self._shapes(module)]
        return [rank * width for shape in shapes for width in shape]

    def present(self, modules: Iterable[str]) -> list[str]:
        """The names in this model, each once and in order; fused where it fuses."""
        mine = self.target_modules
        fused = {k: v for k, v in FUSED.items() if v in mine and k not in mine}
        return sorted({fused.get(module, module) for module in modules})

    def lora_parameters(self, rank: int, modules: Iterable[str] | None = None) -> int:
        """Trainable numbers of an adapter: rank x (inputs + outputs) a module.

        A name given twice counts once. Source: LoRA, arXiv:2106.09685, §4.
        """
        return sum(self.lora_tensor_sizes(rank, modules))

    def lora_flops_share(
        self, rank: int, modules: Iterable[str] | None = None
    ) -> float:
        """Work of the unmerged adapter's forward pass over that of the base linears.

        A matrix costs two FLOPs a weight and token, whatever its shape, so the share
        is one of parameters. Attention scores and the output head are not counted.
        """
        return self.lora_parameters(rank, modules) / self.linear_parameters

    def break_even_rank(self, module: str) -> int:
        """Highest rank at which A and B together are no larger than the matrix."""
        inputs, outputs = self._shapes(module)[0]
        return inputs * outputs // (inputs + outputs)  # the largest r: r (i + o) <= i o

    def _shapes(self, module: str) -> list[Shape]:
        """Of every layer of that name; PEFT takes the last part of a path."""
        if module in TABLES:
            table = self.vocab_size, self.hidden_size
            return [table if module == "embed_tokens" else table[::-1]]
        named = f".{module}"
        layers = [item for block in self.blocks() for item in block.items()]
        found = [shape for path, shape in layers if f".{path}".endswith(named)]
        if not found:
            experts = " Its experts are no linear layers: PEFT passes them over."
            raise ValueError(
                f"{module!r} is no linear layer of a block; expected some of "
                f"{', '.join(self.target_modules)}. Pass a tuple of names, not one "
                f"string.{experts if self.expert_shapes else ''}"
            )
        return found

    @classmethod
    def from_config(cls, config: Any, name: str = "loaded model") -> Architecture:
        """The shapes of a causal model, of its `config.json` or `model.config`.

        Blocks like Llama's, Mistral's or Qwen2.5's are counted in closed form, any
        other as transformers builds them. UnknownArchitecture if it builds none.
        """
        biased = any(getattr(config, k, False) for k in ("attention_bias", "mlp_bias"))
        if config.model_type not in _MODEL_TYPES or biased:
            from course_utils.model.families import measured  # it builds on this class

            return measured(config, name)
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

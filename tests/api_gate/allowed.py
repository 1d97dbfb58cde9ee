"""What signatures alone do not say: keywords behind `**kwargs`, and return types.

The tables that `api_signatures` reads. Every entry is an exception to "a keyword
must be a named parameter", so every entry has a reason, and a place in the
installed source that a test looks it up in. Keys are patterns over titles such
as `transformers.AutoTokenizer.from_pretrained`: root package, class, method. A
method is looked up under each class that it is inherited through.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Allowance:
    """Keywords that a callable takes through its `**kwargs`.

    Attributes:
        titles: Pattern over the callable's titles.
        keywords: The names, parted by blanks.
        reason: Why they are right although no signature names them.
        evidence: Installed modules, parted by blanks, that spell every one of them.
    """

    titles: str
    keywords: str
    reason: str
    evidence: str


_MODELING = "transformers.modeling_utils"
_TOKENIZER = "transformers.tokenization_utils_base"

ALLOWED = (
    Allowance(
        "transformers.PreTrainedModel.from_pretrained",
        "dtype torch_dtype device_map quantization_config subfolder attn_implementation"
        " trust_remote_code gguf_file max_memory offload_folder output_loading_info"
        " generation_config variant",
        "taken out of **kwargs by name in from_pretrained",
        _MODELING,
    ),
    Allowance(
        "transformers.PreTrainedModel.from_pretrained",
        "num_labels",
        "set on the configuration, as every keyword that is an attribute of it",
        "transformers.configuration_utils",
    ),
    Allowance(
        "transformers.AutoModel*.from_config",
        "dtype torch_dtype attn_implementation trust_remote_code",
        "taken out of **kwargs by name in from_config and _from_config",
        f"{_MODELING} transformers.models.auto.auto_factory",
    ),
    Allowance(
        "transformers.AutoTokenizer.from_pretrained",
        "use_fast subfolder gguf_file tokenizer_type trust_remote_code",
        "taken out of **kwargs by name in AutoTokenizer.from_pretrained",
        "transformers.models.auto.tokenization_auto",
    ),
    Allowance(
        "transformers.PreTrainedTokenizerBase",
        "tokenizer_object tokenizer_file bos_token eos_token unk_token sep_token"
        " pad_token cls_token mask_token extra_special_tokens"
        " additional_special_tokens clean_up_tokenization_spaces model_max_length"
        " padding_side truncation_side chat_template model_input_names"
        " split_special_tokens",
        "arguments of a tokenizer by its documentation; __init__ has only **kwargs",
        f"{_TOKENIZER} transformers.tokenization_utils_tokenizers",
    ),
    Allowance(
        "transformers.PreTrainedTokenizerBase.decode",
        "clean_up_tokenization_spaces",
        "decode hands **kwargs on to _decode, which names it",
        _TOKENIZER,
    ),
    Allowance(
        "transformers.*Config.from_pretrained",
        "cache_dir force_download local_files_only token revision subfolder"
        " trust_remote_code",
        "where to read a configuration from, by its documentation",
        "transformers.configuration_utils transformers.models.auto.configuration_auto",
    ),
    Allowance(
        "transformers.GenerationMixin.generate",
        "input_ids attention_mask",
        "inputs of the model's forward pass",
        "transformers.generation.utils",
    ),
    Allowance(
        "peft.PeftModel.from_pretrained",
        "revision subfolder token cache_dir",
        "where to read an adapter from; handed on to PeftConfig and load_adapter",
        "peft.peft_model peft.config",
    ),
    Allowance(
        "unsloth.FastLanguageModel.from_pretrained",
        "tokenizer_name",
        "taken out of **kwargs by a helper, _resolve_checkpoint_tokenizer_name",
        "unsloth.models.loader_utils",
    ),
)

# Callables that hand their **kwargs on: what the target takes, they take. A target
# `fields:X` means the attributes of an instance X().
FORWARDS = {
    "transformers.AutoModel*.from_pretrained": (
        "transformers.PreTrainedModel.from_pretrained",
    ),
    "transformers.AutoTokenizer.from_pretrained": (
        "transformers.PreTrainedTokenizerBase.from_pretrained",
    ),
    "transformers.PreTrainedTokenizerBase.from_pretrained": (
        "transformers.PreTrainedTokenizerBase",
    ),
    "transformers.GenerationConfig": ("fields:transformers.GenerationConfig",),
    "transformers.GenerationMixin.generate": ("fields:transformers.GenerationConfig",),
    "trl.*Trainer.push_to_hub": ("trl.SFTTrainer.create_model_card",),
    "transformers.TextStreamer": ("transformers.PreTrainedTokenizerBase.decode",),
    # Unsloth. That a function stands here also makes it strict: a keyword that only
    # the other path names is refused, since it would travel on and raise there.
    "unsloth.FastLanguageModel.from_pretrained": (
        "transformers.PreTrainedModel.from_pretrained",
    ),
    "unsloth.FastModel.from_pretrained": (
        "transformers.PreTrainedModel.from_pretrained",
    ),
    "unsloth_zoo.FastCPUModel.from_pretrained": (
        "transformers.PreTrainedModel.from_pretrained",
    ),
    "unsloth.FastLlamaModel.get_peft_model": ("peft.LoraConfig",),
    "unsloth.FastBaseModel.get_peft_model": ("peft.LoraConfig",),
    "unsloth_zoo.FastCPUModel.get_peft_model": ("peft.LoraConfig",),
}

# What a call gives, where no annotation says it or the annotation is too wide.
# "self": the object; "argument N NAME": what was passed in; "own class": an instance.
RETURNS = {
    "unsloth*.Fast*.from_pretrained": "unsloth model, tokenizer",
    "unsloth*.Fast*.get_peft_model": "unsloth model",
    "unsloth*.Fast*.for_*": "unsloth model",
    "unsloth*.get_chat_template": "tokenizer",
    "unsloth*.train_on_responses_only": "argument 0 trainer",
    "transformers.AutoModel*.from_*": "plain model",
    "transformers.AutoTokenizer.from_pretrained": "tokenizer",
    "transformers.AutoConfig.from_pretrained": "config",
    "*.from_pretrained": "own class",
    "peft.get_peft_model": "model",
    "peft.*.merge_and_unload": "plain model",
    "peft.*.unload": "plain model",
    "peft.prepare_model_for_kbit_training": "argument 0 model",
    "torch.Module.to": "self",
    "torch.Module.eval": "self",
    "torch.Module.train": "self",
    "torch.Module.float": "self",
    "torch.Module.requires_grad_": "self",
}

# Methods that Unsloth puts on a model: where the GPU path and the CPU path define
# them. None: that path has no such method.
MODEL_EXTRAS: dict[str, dict[str, str | None]] = {
    "save_pretrained_merged": {
        "GPU": "unsloth.save.unsloth_save_pretrained_merged",
        "CPU": "unsloth_zoo.cpu.loader.save_pretrained_merged",
    },
    "save_pretrained_gguf": {
        "GPU": "unsloth.save.unsloth_save_pretrained_gguf",
        "CPU": "unsloth_zoo.cpu.loader.save_pretrained_gguf",
    },
    "push_to_hub_merged": {
        "GPU": "unsloth.save.unsloth_push_to_hub_merged",
        "CPU": "unsloth_zoo.cpu.loader.push_to_hub_merged",
    },
    "push_to_hub_gguf": {
        "GPU": "unsloth.save.unsloth_push_to_hub_gguf",
        "CPU": None,
    },
}

# Submodules of a language model that may be called as methods are.
MODEL_SUBMODULES = frozenset({"lm_head", "model", "base_model"})

# Submodules of unsloth that may be imported on a CPU as well; the rest start the
# GPU path's patching there. `unsloth.trainer` is replaced by a stub with few names.
CPU_SUBMODULES = {
    "unsloth.chat_templates": "loaded by the CPU path itself (unsloth/_cpu_init.py)",
    "unsloth.trainer": "a stub of the CPU path (unsloth/_cpu_init.py)",
}

# Annotations too wide to judge a method by: the object is always a subclass.
TOO_WIDE = frozenset(
    {"torch.Module", "builtins.object", "typing.Any", "transformers.AutoProcessor"}
)

# Annotations that stand for a class with more methods.
STANDS_FOR = {
    "transformers.PreTrainedTokenizerBase": "transformers.PreTrainedTokenizerFast",
    "transformers.AutoTokenizer": "transformers.PreTrainedTokenizerFast",
    "transformers.AutoConfig": "transformers.PreTrainedConfig",
}


def allowed_keywords(titles: tuple[str, ...]) -> set[str]:
    """Every keyword that an allowance grants under one of these titles."""
    return {
        keyword
        for allowance in ALLOWED
        if any(fnmatchcase(title, allowance.titles) for title in titles)
        for keyword in allowance.keywords.split()
    }


def forward_targets(titles: tuple[str, ...]) -> tuple[str, ...]:
    """The callables that receive this one's `**kwargs`; empty if it keeps them."""
    return tuple(
        target
        for pattern, targets in FORWARDS.items()
        if any(fnmatchcase(title, pattern) for title in titles)
        for target in targets
    )


def returned(titles: tuple[str, ...]) -> str | None:
    """The table's word on what a call gives, None where it has none."""
    for pattern, given in RETURNS.items():
        if any(fnmatchcase(title, pattern) for title in titles):
            return given
    return None

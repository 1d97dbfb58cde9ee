"""The methods that lesson 09 compares, as PEFT configurations with rates to try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from peft import (
    AdaLoraConfig,
    IA3Config,
    LoraConfig,
    PeftConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
)

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
VIRTUAL_TOKENS = 20
RATIO = 16  # LoRA+: how many times the rate of A is the rate of B
_Make = Callable[["Method", str, int], PeftConfig]


@dataclass(frozen=True)
class Method:
    """A way to fine-tune: what is trained, and how.

    `rates` are tried first; the search goes on where the best is the first or last.
    Without any, the rate is LoRA's: one change to LoRA, and nothing searched again.
    """

    name: str
    rates: tuple[float, ...]  # learning rates, each about three times the one before
    make: _Make | None = None  # None: all weights are trained
    rank: int = 16
    alpha: float = 16
    batch_size: int = 4
    four_bit: bool = False  # the base is held in NF4
    rate_of_b: float = 1  # times the learning rate

    def config(self, model: str, updates: int) -> PeftConfig | None:
        """PEFT's configuration for a run; None where all weights are trained.

        Args:
            model: Folder or hub id, for the tokenizer of a prompt's first words.
            updates: Of the whole run, over which AdaLoRA takes rank away.
        """
        return self.make(self, model, updates) if self.make else None


def _lora(method: Method, *_: object, **more) -> LoraConfig:
    return LoraConfig(
        r=method.rank,
        lora_alpha=method.alpha,  # type: ignore[arg-type]
        target_modules=list(LINEAR),
        task_type="CAUSAL_LM",
        **more,
    )


def _dora(method: Method, *_: object) -> LoraConfig:
    return _lora(method, use_dora=True)


def _pissa(method: Method, *_: object) -> LoraConfig:
    return _lora(method, init_lora_weights="pissa_niter_4")


def _adalora(method: Method, _: str, updates: int) -> AdaLoraConfig:
    start = method.rank * 3 // 2
    return AdaLoraConfig(
        init_r=start,
        target_r=method.rank,
        tinit=max(1, updates // 8),
        tfinal=max(1, updates // 3),
        deltaT=2,
        total_step=updates,
        lora_alpha=start,  # divided by init_r: a scale of one, as LoRA's here
        target_modules=list(LINEAR),
        task_type="CAUSAL_LM",
    )


def _ia3(*_: object) -> IA3Config:
    return IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"],
        feedforward_modules=["down_proj"],
        task_type="CAUSAL_LM",
    )


def _prompt(_: Method, model: str, __: int) -> PromptTuningConfig:
    return PromptTuningConfig(
        num_virtual_tokens=VIRTUAL_TOKENS,
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text="Write the request as one line of JSON.",
        tokenizer_name_or_path=model,
        task_type="CAUSAL_LM",
    )


def _prefix(*_: object) -> PrefixTuningConfig:
    return PrefixTuningConfig(num_virtual_tokens=VIRTUAL_TOKENS, task_type="CAUSAL_LM")


def _p_tuning(*_: object) -> PromptEncoderConfig:
    return PromptEncoderConfig(
        num_virtual_tokens=VIRTUAL_TOKENS,
        encoder_hidden_size=128,
        task_type="CAUSAL_LM",
    )


_LORA = Method("LoRA", (3e-4, 1e-3, 3e-3), _lora)
METHODS = {
    method.name: method
    for method in (
        Method("full", (1e-5, 3e-5, 1e-4)),
        _LORA,
        Method("IA3", (3e-3, 1e-2, 3e-2), _ia3),
        Method("prompt tuning", (1e-2, 3e-2, 1e-1), _prompt),
        Method("prefix tuning", (1e-2, 3e-2, 1e-1), _prefix),
        Method("DoRA", (3e-4, 1e-3, 3e-3), _dora),
        Method("PiSSA", (1e-4, 3e-4, 1e-3), _pissa),
        Method("LoRA+", (1e-4, 3e-4, 1e-3), _lora, rate_of_b=RATIO),
        Method("AdaLoRA", (1e-3, 3e-3, 1e-2), _adalora),
        Method("P-tuning", (1e-3, 3e-3, 1e-2), _p_tuning),
        Method("QLoRA", (), _lora, four_bit=True),
        *(replace(_LORA, name=f"rank {r}", rates=(), rank=r) for r in (1, 128)),
        replace(_LORA, name="batches of 16", rates=(), batch_size=16),
    )
}

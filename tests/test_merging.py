from types import SimpleNamespace

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from course_utils.gguf.merging import (
    changed_codes,
    forms_that_fit,
    packed_codes,
    packed_layers,
    relative_update,
    unpack_to,
)
from course_utils.machine.profile import Profile
from course_utils.model.architectures import load_architectures
from course_utils.model.nano import nano_model_path

TOKENS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    return nano_model_path(tmp_path_factory.mktemp("nano"))


def adapted(folder, *, four_bit, size, kept=None):
    """The nano model with an adapter whose B is drawn with this deviation.

    `kept` is a module that stays in 16 bits, as in the 4-bit models of the hub.
    """
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=["lm_head", kept or "lm_head"],
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=settings if four_bit else None
    )
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "up_proj"]))
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.copy_(size * torch.randn(weight.shape, generator=generator))
    return model.eval()


def logits(model):
    with torch.inference_mode():
        return model(TOKENS).logits


def merged(model):
    with pytest.warns(UserWarning, match="4-bit"):
        return model.merge_and_unload()


def test_codes_are_compared_one_by_one_two_in_a_byte():
    def holding(codes):
        layer = nn.Linear(1, 3, bias=False)
        layer.weight = nn.Parameter(
            torch.tensor(codes, dtype=torch.uint8), requires_grad=False
        )
        return nn.ModuleDict({"a": layer})

    before = packed_codes(holding([0x12, 0x34, 0x56]))
    assert changed_codes(before, holding([0x12, 0x35, 0x65])) == (3, 6)


def test_packed_layers_are_named_as_in_the_base(nano):
    assert list(packed_layers(adapted(nano, four_bit=True, size=0.0))) == [
        f"model.layers.{block}.{part}"
        for block in (0, 1)
        for part in ("self_attn.q_proj", "mlp.up_proj")
    ]


# Unsloth's 4-bit Llama-3.1-8B keeps one block's MLP in 16 bits: no codes there.
def test_a_layer_that_a_4_bit_model_keeps_in_16_bits_is_left_out(nano):
    model = adapted(nano, four_bit=True, size=0.01, kept="model.layers.1.mlp")
    layers = packed_layers(model)
    assert "model.layers.1.mlp.up_proj" not in layers and len(layers) == 3
    assert all(relative_update(layer) > 0 for layer in layers.values())
    assert changed_codes(packed_codes(layers), merged(model))[1] > 0


# On a GPU Unsloth multiplied fp16 inputs by the fp32 that PEFT had left there.
def test_merged_codes_are_unpacked_to_the_format_that_is_asked_for(nano):
    model = merged(adapted(nano, four_bit=True, size=0.01))
    weight = model.get_submodule("model.layers.0.mlp.up_proj").weight
    assert weight.quant_state.dtype == torch.float32
    unpack_to(model, torch.float16)
    unpacked = dequantize_4bit(weight.data, weight.quant_state)
    assert unpacked.dtype == torch.float16 and unpacked.isfinite().all()


def test_a_plain_base_has_no_codes_to_compare(nano):
    with pytest.raises(ValueError, match="loaded in 16 bits"):
        packed_layers(adapted(nano, four_bit=False, size=0.1))


def test_a_16_bit_base_keeps_the_adapter(nano):
    model = adapted(nano, four_bit=False, size=0.1)
    before = logits(model)
    torch.testing.assert_close(
        logits(model.merge_and_unload()), before, atol=1e-4, rtol=1e-4
    )


def merge_into_codes(nano, size):
    """Changed codes and all, and logits of base, live and merged model.

    Each from a model of its own: bitsandbytes may lay codes out anew for this
    processor when they are first used.
    """
    live, other = (adapted(nano, four_bit=True, size=size) for _ in range(2))
    before = packed_codes(packed_layers(other))
    other = merged(other)
    changed = changed_codes(before, other)
    with live.disable_adapter():
        base = logits(live)
    return changed, base, logits(live), logits(other)


def test_a_4_bit_base_swallows_a_small_update(nano):
    (changed, total), base, live, _ = merge_into_codes(nano, size=1e-4)
    assert changed < 1e-3 * total and not torch.equal(base, live)


def test_a_4_bit_base_shows_an_update_that_is_larger_than_its_steps(nano):
    (changed, total), base, _, found = merge_into_codes(nano, size=0.1)
    assert changed > 0.05 * total
    assert (found - base).abs().max() > 1e-2


# A notebook that dies for want of memory, on a machine with less than ours.
@pytest.mark.parametrize("free, fit", [(0.5e9, False), (1e9, True)])
def test_plain_forms_are_left_out_where_their_weights_would_not_fit(
    monkeypatch, free, fit
):
    memory = SimpleNamespace(available=free)  # SmolLM2 in fp32 takes 0.54 GB
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    forms = {"plain": object}
    shape = load_architectures()["smollm2-135m"]
    assert bool(forms_that_fit(forms, shape, Profile("cpu", "cpu"))) is fit

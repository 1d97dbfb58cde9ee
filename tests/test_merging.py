import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from course_utils.gguf.merging import (
    ChangedCodes,
    adapted_layers,
    copied,
    count_changed_codes,
    merge,
    packed_codes,
)
from course_utils.model.nano import nano_model_path

TOKENS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    return nano_model_path(tmp_path_factory.mktemp("nano"))


def adapted(folder, *, four_bit, size):
    """The nano model with an adapter whose B is drawn with this deviation."""
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=settings if four_bit else None
    )
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "up_proj"]))
    generator = torch.Generator().manual_seed(0)
    for layer in adapted_layers(model).values():
        weight = layer.lora_B.default.weight.data
        weight.copy_(size * torch.randn(weight.shape, generator=generator))
    return model.eval()


def logits(model):
    with torch.inference_mode():
        return model(TOKENS).logits


def test_codes_are_compared_one_by_one_two_in_a_byte():
    before = {"a": torch.tensor([0x12, 0x34, 0x56], dtype=torch.uint8)}
    after = {"a": torch.tensor([0x12, 0x35, 0x65], dtype=torch.uint8)}
    found = count_changed_codes(before, after)
    assert found == ChangedCodes(changed=3, total=6) and found.share == 0.5


def test_weights_in_16_bits_have_no_codes_to_compare():
    weights = {"a": torch.zeros(2, dtype=torch.float16)}
    with pytest.raises(ValueError, match="expected packed codes"):
        count_changed_codes(weights, weights)


def test_adapted_layers_are_named_as_in_the_base(nano):
    names = adapted_layers(adapted(nano, four_bit=False, size=0.0))
    assert list(names) == [
        f"model.layers.{block}.{part}"
        for block in (0, 1)
        for part in ("self_attn.q_proj", "mlp.up_proj")
    ]


def test_a_16_bit_base_keeps_the_adapter(nano):
    model = adapted(nano, four_bit=False, size=0.1)
    before = logits(model)
    merged = merge(model)
    assert not adapted_layers(merged)
    torch.testing.assert_close(logits(merged), before, atol=1e-4, rtol=1e-4)


def merge_into_codes(nano, size):
    """Changed codes, and logits of base, live and merged model.

    Each from a model of its own: bitsandbytes may lay codes out anew for this
    processor when they are first used.
    """
    live, merged = (adapted(nano, four_bit=True, size=size) for _ in range(2))
    names = adapted_layers(merged)
    before = copied(packed_codes(names))
    merged = merge(merged)
    after = packed_codes({name: merged.get_submodule(name) for name in names})
    with live.disable_adapter():
        base = logits(live)
    return count_changed_codes(before, after), base, logits(live), logits(merged)


def test_a_4_bit_base_swallows_a_small_update(nano):
    changed, base, live, _ = merge_into_codes(nano, size=1e-4)
    assert changed.share < 1e-3 and not torch.equal(base, live)


def test_a_4_bit_base_shows_an_update_that_is_larger_than_its_steps(nano):
    changed, base, _, merged = merge_into_codes(nano, size=0.1)
    assert changed.share > 0.05
    assert (merged - base).abs().max() > 1e-2

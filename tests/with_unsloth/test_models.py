import dataclasses
import types
from pathlib import Path

import pytest
import torch

from course_utils import models
from course_utils.plans import Source
from course_utils.profile import Gpu, Profile
from course_utils.recipes import MOVIE_RECOMMENDER

TEXT = "sci-fi under two hours"


@pytest.fixture
def loaded(plan, profile):
    return models.load_base(plan, profile)


def test_the_nano_model_is_built_once_and_loaded_by_path(plan):
    folder = Path(models.model_location(plan))
    assert folder.is_absolute() and (folder / "model.safetensors").exists()
    assert models.model_location(plan) == str(folder)


def test_a_hub_name_is_passed_on_untouched(plan):
    hub = dataclasses.replace(plan, model=Source("org/model"))
    assert models.model_location(hub) == "org/model"


def test_a_folder_is_passed_on_as_an_absolute_path(plan, tmp_path, monkeypatch):
    (tmp_path / "local").mkdir()
    monkeypatch.chdir(tmp_path)
    local = dataclasses.replace(plan, model=Source("local"))
    assert models.model_location(local) == str(tmp_path / "local")


def test_the_hub_gets_name_revision_dtype_and_bits_of_the_plan(monkeypatch):
    asked = {}
    with_template = types.SimpleNamespace(chat_template="{{ messages }}")

    class Fake:
        @staticmethod
        def from_pretrained(**options):
            asked.update(options)
            return "model", with_template

        @staticmethod
        def for_inference(model):
            pass

    monkeypatch.setattr(models, "FastLanguageModel", Fake)
    t4 = Profile("t4", "cuda", None, Gpu("Tesla T4", (7, 5), 14.7))
    plan = dataclasses.replace(
        MOVIE_RECOMMENDER.plan, model=Source("org/model", revision="abc123")
    )
    assert models.load_base(plan, t4) == ("model", with_template)
    assert asked == {
        "model_name": "org/model",
        "max_seq_length": 2048,
        "dtype": torch.float16,
        "load_in_4bit": True,
        "revision": "abc123",
    }


def test_a_base_comes_in_fp32_in_evaluation_mode_padding_on_the_left(loaded):
    model, tokenizer = loaded
    assert model.dtype == torch.float32 and not model.training
    assert tokenizer.padding_side == "left" and tokenizer.eos_token_id == 2


def test_a_4_bit_base_holds_its_linear_layers_in_packed_codes(plan, profile):
    model, _ = models.load_base(plan, profile, load_in_4bit=True)
    packed = [p for p in model.parameters() if p.dtype == torch.uint8]
    assert len(packed) == 2 * len(plan.target_modules)  # two layers, seven each


def test_a_fresh_adapter_changes_nothing_and_alone_can_be_trained(loaded, plan):
    model, tokenizer = loaded
    before = models.logits_of(model, tokenizer, TEXT)
    model = models.attach_lora(model, plan)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trainable and all("lora_" in name for name in trainable)
    assert torch.equal(models.logits_of(model, tokenizer, TEXT), before)


def test_the_same_seed_gives_the_same_adapter(plan, profile):
    first, second = (
        models.attach_lora(models.load_base(plan, profile)[0], plan) for _ in range(2)
    )
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_saved_adapter_comes_back_as_the_same_function(
    loaded, plan, profile, tmp_path
):
    model, tokenizer = loaded
    model = models.attach_lora(model, plan)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.05)
    model.eval()
    trained = models.logits_of(model, tokenizer, TEXT)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, _ = models.load_adapter(tmp_path, plan, profile)
    torch.testing.assert_close(models.logits_of(again, tokenizer, TEXT), trained)
    with model.disable_adapter():
        base = models.logits_of(model, tokenizer, TEXT)
    assert (base - trained).abs().max() > 1e-3


def test_a_folder_without_an_adapter_is_an_error_and_not_a_hub_look_up(
    plan, profile, tmp_path
):
    with pytest.raises(FileNotFoundError, match=r"No adapter_config\.json"):
        models.load_adapter(tmp_path / "nowhere", plan, profile)


def test_answers_come_in_order_whatever_the_batch(loaded):
    model, tokenizer = loaded
    requests = ["a", "a much longer request than the others", "b"]
    one_by_one = models.answer(
        model, tokenizer, requests, max_new_tokens=5, batch_size=1
    )
    together = models.answer(model, tokenizer, requests, max_new_tokens=5)
    assert len(one_by_one) == 3 and one_by_one == together


def test_answering_leaves_a_model_in_training_mode_in_training_mode(loaded, plan):
    model, tokenizer = loaded
    model = models.attach_lora(model, plan)
    models.answer(model, tokenizer, ["a"], max_new_tokens=2)
    assert model.training
    assert models.answer(model, tokenizer, []) == []

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from course_utils import CourseError
from course_utils.data.templates import alpaca_prompt
from course_utils.machine.profile import Gpu, Profile
from course_utils.model import loading as models
from course_utils.places import BrokenFile, whole_folder
from course_utils.recipes.book import MOVIE_RECOMMENDER
from course_utils.recipes.plan import Source

TEXT = "sci-fi under two hours"


@pytest.fixture
def loaded(plan, profile):
    return models.load_base(plan, profile)


# where a model lies


def located(plan, name):
    return models.model_location(dataclasses.replace(plan, model=Source(str(name))))


@pytest.mark.parametrize("name", ["nano", "nano-bos"])
def test_the_nano_models_are_built_once_and_loaded_by_path(name, plan):
    folder = Path(located(plan, name))
    assert folder.is_absolute() and (folder / "model.safetensors").exists()
    assert located(plan, name) == str(folder)


@pytest.mark.parametrize("name", ["org/model", "gpt2", "google/gemma-3-1b-it"])
def test_a_hub_name_is_passed_on_untouched(name, plan):
    assert located(plan, name) == name


def write_model(folder, architecture="LlamaForCausalLM", weights="model.safetensors"):
    folder.mkdir(parents=True)
    config = {"architectures": [architecture]}
    (folder / "config.json").write_text(json.dumps(config))
    if weights:
        (folder / weights).touch()
    return folder


@pytest.mark.parametrize("name", ["local", "./local", "below/local", "below/../local"])
def test_a_folder_is_passed_on_as_an_absolute_path(name, plan, tmp_path, monkeypatch):
    for folder in ("local", "below/local"):
        write_model(tmp_path / folder, "Qwen3ForCausalLM")
    monkeypatch.chdir(tmp_path)
    assert located(plan, name) == str((tmp_path / name).resolve())
    monkeypatch.setattr(models, "PROJECT_ROOT", tmp_path)
    monkeypatch.chdir("/")  # a kernel starts elsewhere than the project
    assert located(plan, name) == str((tmp_path / name).resolve())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/no/such/folder", "'/no/such/folder' is no folder and no hub id"),
        ("../missing", "missing/config.json is missing"),
        ("below/missing", "missing/config.json is missing"),
        ("my model", "'my model' is no folder and no hub id"),
        ("file", r"file/config.json is \(.*Not a directory"),
        ("below", "below/config.json is missing"),
        ("bert", "1 files of weights, of architecture BertForMaskedLM"),
        ("bare", "0 files of weights, of architecture LlamaForCausalLM"),
        ("list", "of architecture unknown"),
        ("cut", "cut/config.json .* is no whole JSON"),
    ],
)
def test_a_name_that_is_no_language_model_is_refused(
    name, told, plan, tmp_path, monkeypatch
):
    here = tmp_path / "here"
    (here / "below").mkdir(parents=True)
    (here / "file").touch()
    write_model(here / "bert", "BertForMaskedLM")
    write_model(here / "bare", weights=None)
    (write_model(here / "list") / "config.json").write_text("[]")
    (write_model(here / "cut") / "config.json").write_text('{"architectures": ["Ll')
    monkeypatch.chdir(here)
    with pytest.raises(CourseError, match=told) as caught:
        located(plan, name)
    assert "COURSE_MODEL" in str(caught.value)


# loading


BANNER = r"""==((====))==  Unsloth 2026.10.9: Fast Llama patching.
   \\   /|    NVIDIA H200. Num GPUs = 1. Max memory: 139.8 GB.
O^O/ \_/ \    Torch: 2.11.0. CUDA: 9.0. Triton: 3.6.0
\        /    Bfloat16 = TRUE. FA [Xformers = None. FA2 = False]
 "-____-"     Free license: http://github.com/unslothai/unsloth"""


# On a GPU each load printed five lines, and each answer began with a warning.
def test_a_load_on_a_gpu_is_silent_but_for_what_matters(
    plan, profile, monkeypatch, capsys, caplog
):
    load = models.FastLanguageModel.from_pretrained

    def as_on_a_gpu(**arguments):
        print(BANNER + "\nUnsloth: this model has no pad token.")
        model, tokenizer = load(**arguments)
        model.generation_config.update(max_length=8192)  # its patch_tokenizer does
        return model, tokenizer

    monkeypatch.setattr(models.FastLanguageModel, "from_pretrained", as_on_a_gpu)
    model, tokenizer = models.load_base(plan, profile)
    assert capsys.readouterr().out == "Unsloth: this model has no pad token.\n"
    logger = logging.getLogger("transformers")
    monkeypatch.setattr(logger, "propagate", True)
    models.answer(model, tokenizer, [TEXT], max_new_tokens=3)
    assert "max_length" not in caplog.text
    model.generation_config.max_length = 8192  # what was warned of
    models.answer(model, tokenizer, [TEXT], max_new_tokens=3)
    assert "`max_length`(=8192)" in caplog.text


def test_the_hub_gets_name_revision_dtype_and_bits_of_the_plan(monkeypatch):
    asked = {}
    with_template = types.SimpleNamespace(chat_template="{{ messages }}")
    model = types.SimpleNamespace(generation_config=types.SimpleNamespace())

    class Fake:
        @staticmethod
        def from_pretrained(**options):
            asked.update(options)
            return model, with_template

        @staticmethod
        def for_inference(model):
            pass

    monkeypatch.setattr(models, "FastLanguageModel", Fake)
    monkeypatch.setattr(models, "use_template", lambda *_: None)
    t4 = Profile("t4", "cuda", None, Gpu("Tesla T4", (7, 5), 14.7))
    plan = dataclasses.replace(
        MOVIE_RECOMMENDER.plan, model=Source("org/model", revision="abc123")
    )
    assert models.load_base(plan, t4) == (model, with_template)
    assert asked == {
        "model_name": "org/model",
        "max_seq_length": 2048,
        "dtype": torch.float16,
        "load_in_4bit": True,
        "revision": "abc123",
        "use_exact_model_name": True,
    }


def test_a_base_comes_in_fp32_in_evaluation_mode_padding_on_the_left(loaded):
    model, tokenizer = loaded
    assert model.dtype == torch.float32 and not model.training
    assert tokenizer.padding_side == "left" and tokenizer.eos_token_id == 2


def test_a_4_bit_base_holds_its_linear_layers_in_packed_codes(plan, profile):
    model, _ = models.load_base(plan, profile, load_in_4bit=True)
    packed = [p for p in model.parameters() if p.dtype == torch.uint8]
    assert len(packed) == 2 * len(plan.target_modules)  # two layers, seven each


@pytest.mark.parametrize("name", ["nano", "nano-bos"])
def test_logits_are_those_of_what_the_model_sees_in_a_chat(name, plan_of, profile):
    model, tokenizer = models.load_base(plan_of(name), profile)
    chat = [{"role": "user", "content": "a film"}]
    ids = tokenizer.apply_chat_template(chat, return_tensors="pt")["input_ids"]
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    with torch.inference_mode():
        expected = model(ids).logits[0].float()
    assert torch.equal(models.logits_of(model, tokenizer, text), expected)


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


@pytest.fixture
def saved(loaded, plan, tmp_path):
    """A model whose adapter is no identity, saved; the model and the folder."""
    model = models.attach_lora(loaded[0], plan)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.05)
    folder = tmp_path / "adapter"
    model.save_pretrained(folder)
    loaded[1].save_pretrained(folder)
    return model, folder


def test_a_saved_adapter_comes_back_as_the_same_function(loaded, saved, plan, profile):
    model, folder = saved
    trained = models.logits_of(model, loaded[1], TEXT)
    again, tokenizer = models.load_adapter(folder, plan, profile)
    torch.testing.assert_close(models.logits_of(again, tokenizer, TEXT), trained)
    with model.disable_adapter():
        base = models.logits_of(model, tokenizer, TEXT)
    assert (base - trained).abs().max() > 1e-3


def test_an_adapter_is_asked_with_the_plans_template(saved, plan, profile):
    (saved[1] / "chat_template.jinja").unlink()
    alpaca = dataclasses.replace(plan, template="alpaca")
    _, tokenizer = models.load_adapter(saved[1], alpaca, profile)
    chat = [{"role": "user", "content": "Add."}]
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    assert text == alpaca_prompt("Add.")


def test_an_adapter_names_the_commit_of_its_base(loaded, plan, tmp_path):
    pinned = dataclasses.replace(plan, model=Source("org/model", revision="abc123"))
    models.attach_lora(loaded[0], pinned).save_pretrained(tmp_path)
    kept = json.loads((tmp_path / "adapter_config.json").read_text())
    assert kept["revision"] == "abc123"


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def without_half(path):
    tensors = load_file(path)
    save_file(dict(list(tensors.items())[::2]), path)


def with_nan(path):
    tensors = load_file(path)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("file", "damage", "told"),
    [
        ("adapter_config.json", Path.unlink, "is missing"),
        ("adapter_config.json", cut, "is no whole JSON"),
        ("adapter_config.json", lambda path: path.write_text("[]"), "no JSON object"),
        ("tokenizer.json", Path.unlink, "is missing"),
        ("tokenizer.json", cut, "is no whole JSON"),
        ("tokenizer_config.json", Path.unlink, "is missing"),
        ("tokenizer_config.json", cut, "is no whole JSON"),
        ("adapter_model.safetensors", Path.unlink, "cannot be read"),
        ("adapter_model.safetensors", cut, "cannot be read"),
        ("adapter_model.safetensors", lambda path: path.write_bytes(b""), "cannot be"),
        ("adapter_model.safetensors", with_nan, "NaN or infinity in 1 of 28 tensors"),
        ("adapter_model.safetensors", without_half, "lacks 14 of 28 tensors"),
    ],
)
def test_a_broken_file_of_an_adapter_is_named(file, damage, told, saved, plan, profile):
    damage(saved[1] / file)
    with pytest.raises(BrokenFile, match=rf"adapter/{file}.*{told}"):
        models.load_adapter(saved[1], plan, profile)


def test_a_folder_without_an_adapter_is_an_error_and_not_a_hub_look_up(
    plan, profile, tmp_path
):
    with pytest.raises(BrokenFile, match=r"adapter_config\.json is missing"):
        models.load_adapter(tmp_path / "nowhere", plan, profile)


def test_an_adapter_with_a_flipped_bit_is_not_the_one_that_was_saved(
    saved, plan, profile, tmp_path
):
    whole = tmp_path / "whole"
    with whole_folder(whole) as folder:
        shutil.copytree(saved[1], folder, dirs_exist_ok=True)
    models.load_adapter(whole, plan, profile)
    path = whole / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BrokenFile, match="whole is not as it was saved"):
        models.load_adapter(whole, plan, profile)


# answers


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


# importing


def imported(capability, **environment):
    """What a new process says that finds this card, or none, and imports models."""
    code = f"""
import os, sys
sys.modules["unsloth"] = None  # its import fails
from course_utils.machine import profile
card = {capability} and profile.Gpu("a card", {capability}, 15.9)
profile.find_gpu = lambda: card
profile.Profile.free_gib = 15.0  # torch cannot ask a card that is not there
try:
    import course_utils.model.loading
except ModuleNotFoundError:
    print(os.environ.get("UNSLOTH_FORCE_CPU"))
"""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("COURSE_PROF")}
    inherited.pop("UNSLOTH_FORCE_CPU", None)
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        cwd=models.PROJECT_ROOT,
    )


@pytest.mark.parametrize(
    ("capability", "profile", "forced"),
    [
        (None, "", "1"),  # also where a driver is there, and torch is one for the CPU
        ((6, 0), "nano", "1"),
        ((7, 5), "", "None"),
    ],
)
def test_unsloth_takes_the_device_that_the_profile_takes(capability, profile, forced):
    done = imported(capability, COURSE_PROFILE=profile)
    assert done.stdout.strip() == forced, done.stderr


def test_a_card_that_is_too_old_is_refused_in_our_words_and_before_unsloth():
    done = imported((6, 0))
    assert "UnsupportedMachine: a card has CUDA capability 6.0" in done.stderr

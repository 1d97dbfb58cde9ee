"""The whole way on the nano model: adapter, merge, three files, llama.cpp, back."""

import copy
import subprocess
import sys

import gguf
import numpy as np
import pytest
import torch

from course_utils.data.datasets import load_movies
from course_utils.data.tokens import to_dataset
from course_utils.gguf import fidelity, llama_cpp
from course_utils.gguf.export import ExportProblem, export_gguf
from course_utils.gguf.file import LEVELS, predicted_tensors, read_gguf
from course_utils.gguf.merging import adapted_layers, merge, ways_to_run
from course_utils.gguf.serving import same_prompt, serve
from course_utils.model import loading as models
from course_utils.model.architectures import Architecture
from course_utils.places import STAMP, is_whole
from course_utils.recipes.book import MOVIE_RECOMMENDER
from course_utils.training.adapter import OtherAdapter, refuse_other_adapter

EXPORTED = ("f16", "q8_0", "q4_k_m")
CHAT = [{"role": "user", "content": "a 🙂 in 1999?"}]
CORPUS = ("In 2049: 1,234.50!", "日本 🙂 niño\n\ttab", "  three   spaces")


def tuned(plan, profile, load_in_4bit=False):
    model, tokenizer = models.load_base(plan, profile, load_in_4bit=load_in_4bit)
    model = models.attach_lora(model, plan)
    generator = torch.Generator().manual_seed(0)
    for layer in adapted_layers(model).values():
        weight = layer.lora_B.default.weight.data
        weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    return model.eval(), tokenizer


@pytest.fixture(scope="module")
def exported(plan, profile, tmp_path_factory):
    llama_cpp.build_if_missing()
    model, tokenizer = tuned(plan, profile)
    folder = tmp_path_factory.mktemp("run")
    model.save_pretrained(folder / "adapter")
    tokenizer.save_pretrained(folder / "adapter")
    rows = to_dataset(load_movies("validation")[:3], tokenizer, plan.max_length)
    scored = fidelity.scored_rows(rows)
    reference = fidelity.model_log_probabilities(model, scored)
    architecture = Architecture.from_config(model.config)
    files = export_gguf(
        model, tokenizer, folder / "gguf", EXPORTED, architecture=architecture
    )
    return files, tokenizer, architecture, scored, reference, folder


@pytest.mark.parametrize("level", EXPORTED)
def test_a_file_has_the_types_that_were_predicted_tensor_by_tensor(exported, level):
    files, _, architecture, *_ = exported
    facts = read_gguf(files[level])
    assert facts.file_type == LEVELS[level].file_type
    assert facts.tensors == predicted_tensors(architecture, level)


@pytest.mark.parametrize("level", EXPORTED)
def test_a_file_carries_the_tokenizer_its_end_token_and_the_template(exported, level):
    files, tokenizer, *_ = exported
    facts = read_gguf(files[level])
    assert (facts.tokenizer_model, facts.tokenizer_pre) == ("gpt2", "smollm")
    assert facts.end_token == tokenizer.eos_token == "<|im_end|>"
    texts = [*CORPUS, tokenizer.apply_chat_template(CHAT, tokenize=False)]
    found, _ = llama_cpp.tokenize_and_score(files[level], texts=texts)
    assert found == [tokenizer(text)["input_ids"] for text in texts]


def test_llama_cpp_scores_as_torch_does_and_worse_with_fewer_bits(exported):
    files, _, _, scored, reference, _ = exported
    found = {
        level: fidelity.compare_distributions(
            reference, fidelity.gguf_log_probabilities(path, scored), scored
        )
        for level, path in files.items()
    }
    assert 0 <= found["f16"].kl < 1e-5 and found["f16"].agreement > 0.9
    assert found["f16"].kl < found["q8_0"].kl < found["q4_k_m"].kl < 1e-2
    assert found["f16"].perplexity_ratio == pytest.approx(1, abs=1e-4)


def test_every_file_is_served_with_the_prompt_of_training(exported):
    files, tokenizer, *_ = exported
    with serve(files["q4_k_m"], chats=1) as server:
        assert same_prompt(server, tokenizer, CHAT)
        answer = server.client().chat.completions.create(
            model="nano", messages=CHAT, max_tokens=3
        )
    assert answer.usage.completion_tokens <= 3


BOS = "<|endoftext|>"
DATED = "{% if not date_string %}{% set date_string = 'never' %}{% endif %}"
DATED += "{{ date_string }}{{ messages[0].content }}"


def adding_a_first_token(source, target, template):
    """A copy of a file with another template, whose vocabulary adds a first token.

    Not by the converter: it knows a tokenizer by the ids of a text, without that token.
    """
    change = ["--chat-template", template, "--special-token", "bos", BOS]
    program = [sys.executable, "-m", "gguf.scripts.gguf_new_metadata"]
    subprocess.run([*program, source, target, *change], check=True)
    fields = gguf.GGUFReader(target, "r+").fields
    fields["tokenizer.ggml.add_bos_token"].parts[-1][0] = True
    return target


@pytest.mark.parametrize("template", ["{{ bos_token }}" + DATED, DATED], ids="cg")
def test_a_first_token_that_the_vocabulary_adds_is_seen_once(
    exported, tmp_path, template
):
    """As the CPU's export writes the template, and as the GPU's does: without it."""
    files, tokenizer, *_ = exported
    path = adding_a_first_token(files["q8_0"], tmp_path / "bos.gguf", template)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.bos_token = BOS
    with serve(path, chats=1) as server:
        for start, same in (("{{ bos_token }}", True), ("", False)):
            tokenizer.chat_template = start + DATED
            assert same_prompt(server, tokenizer, CHAT) == same


def test_nothing_but_the_files_is_left(exported):
    files, *_, folder = exported
    left = {path.name for path in folder.iterdir() if path.suffix != ".lock"}
    assert left == {"adapter", "gguf"} and is_whole(folder / "gguf")
    held = {path.name for path in (folder / "gguf").iterdir()}
    assert held == {STAMP, *(path.name for path in files.values())}


def test_a_4_bit_base_is_not_exported_on_a_cpu_and_leaves_nothing(
    plan, profile, tmp_path
):
    model, tokenizer = tuned(plan, profile, load_in_4bit=True)
    architecture = Architecture.from_config(model.config)
    with pytest.raises(ExportProblem, match="4-bit"):
        export_gguf(
            model, tokenizer, tmp_path / "gguf", ("q8_0",), architecture=architecture
        )
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_two_ways_of_merging_keep_the_function_each_of_its_own_base(
    exported, plan, profile
):
    _, _, architecture, scored, _, folder = exported
    ways = ways_to_run(plan, profile, folder / "adapter", architecture)
    scores = {
        name: np.concatenate(fidelity.model_log_probabilities(make(), scored))
        for name, make in ways.items()
    }
    distance = {
        (first, second): np.abs(scores[first] - scores[second]).max()
        for first in scores
        for second in scores
    }
    assert distance["live on the 4-bit base", "dequantized, then merged"] < 1e-3
    assert distance["live on the plain base", "plain base, merged"] < 1e-4
    lost = distance["live on the 4-bit base", "merged into the 4-bit base"]
    assert lost > 10 * distance["live on the 4-bit base", "dequantized, then merged"]


def test_a_merged_model_is_a_plain_one(plan, profile):
    model, _ = tuned(plan, profile)
    merged = merge(model)
    assert not adapted_layers(merged) and not hasattr(merged, "peft_config")


def test_an_adapter_of_another_base_is_refused_by_name(exported, plan):
    *_, folder = exported
    refuse_other_adapter(folder / "adapter", plan)
    with pytest.raises(OtherAdapter, match="llama-3"):
        refuse_other_adapter(folder / "adapter", MOVIE_RECOMMENDER.plan_for("t4"))

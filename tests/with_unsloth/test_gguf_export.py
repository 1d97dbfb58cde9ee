"""The whole way on the nano model: adapter, merge, three files, llama.cpp, back."""

import copy
import subprocess
import sys
from types import SimpleNamespace

import gguf
import notebook_cells as cells
import numpy as np
import pytest
import torch

from course_utils.data.datasets import load_movies
from course_utils.data.tokens import to_dataset
from course_utils.gguf import fidelity, llama_cpp
from course_utils.gguf.export import ExportProblem, export_gguf
from course_utils.gguf.file import LEVELS, predicted_tensors, read_gguf
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
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            noise = torch.randn(weight.shape, generator=generator)
            weight.data.copy_(0.05 * noise)
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


[LESSON] = [path for path in cells.LESSONS if path.name.startswith("07")]


def cell_with(text):
    return next(code for code in cells.code_cells(LESSON) if text in code)


@pytest.fixture(scope="module")
def forms(exported, plan, profile):
    """Functions of lesson 07 by name, and the scores of what they load."""
    *_, scored, _, folder = exported
    names = {"models": models, "plan": plan, "profile": profile}
    names["adapter"] = folder / "adapter"
    exec(cell_with("def dequantized_then_merged"), names)
    live_on_4_bits, _ = models.load_adapter(
        names["adapter"], plan, profile, load_in_4bit=True
    )

    def scores(model):
        return np.concatenate(fidelity.model_log_probabilities(model, scored))

    found = {"live, 4 bits": scores(live_on_4_bits)}
    found["merged, 4 bits"] = scores(live_on_4_bits.merge_and_unload())
    found["dequantized"] = scores(names["dequantized_then_merged"]())
    found["live, plain"] = scores(names["live_on_plain"]())
    found["merged, plain"] = scores(names["live_on_plain"]().merge_and_unload())
    return found


def test_two_ways_of_merging_keep_the_function_each_of_its_own_base(forms):
    def distance(first, second):
        return np.abs(forms[first] - forms[second]).max()

    assert distance("live, 4 bits", "dequantized") < 1e-3
    assert distance("live, plain", "merged, plain") < 1e-4
    lost = distance("live, 4 bits", "merged, 4 bits")
    assert lost > 10 * distance("live, 4 bits", "dequantized")


# The course's own export and what the lesson writes out make the same file.
def test_the_lessons_three_steps_make_the_tensors_of_the_export(
    exported, plan, profile, tmp_path
):
    files, _, _, _, _, folder = exported
    names = {"finetuned": SimpleNamespace(folder=tmp_path), "plan": plan}
    names |= {"profile": profile, "adapter": folder / "adapter"}
    names |= {"llama_cpp": llama_cpp.install_folder(), "LEVELS": EXPORTED}
    for text in ("model.save_pretrained_merged(\n    str", "def run(", "convert_hf"):
        exec(cell_with(text), names)
    exec(cell_with("files = {level: work"), names)
    for level, path in files.items():
        assert read_gguf(names["files"][level]).tensors == read_gguf(path).tensors


def test_the_cell_for_ones_own_project_makes_two_files(exported, tmp_path):
    *_, folder = exported
    names = {"sys": sys, "subprocess": subprocess}
    exec(cell_with("def ship("), names)
    names["ship"](str(folder / "adapter"), tmp_path, llama_cpp.install_folder())
    for level in ("q8_0", "q4_k_m"):
        made = read_gguf(tmp_path / f"{level.upper()}.gguf")
        assert made.file_type == LEVELS[level].file_type


def test_an_adapter_of_another_base_is_refused_by_name(exported, plan):
    *_, folder = exported
    refuse_other_adapter(folder / "adapter", plan)
    with pytest.raises(OtherAdapter, match="llama-3"):
        refuse_other_adapter(folder / "adapter", MOVIE_RECOMMENDER.plan_for("t4"))

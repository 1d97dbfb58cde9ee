import subprocess
import sys

import gguf
import numpy as np
import pytest

from course_utils.gguf import file as gguf_file
from course_utils.gguf import llama_cpp
from course_utils.gguf.file import (
    BrokenGguf,
    UnpredictedFile,
    _fitting_type,
    _gets_more_bits,
    bits_per_weight,
    bytes_and_bits,
    count_types,
    predicted_tensors,
    read_gguf,
)
from course_utils.machine import toolchain
from course_utils.model.architectures import Architecture, load_architectures
from course_utils.model.bundled import bundled_gguf
from course_utils.model.families import load_models

ARCHITECTURES = load_architectures()


def test_bits_a_weight_are_those_of_the_block_formats():
    # Q8_0: 32 weights in 32 + 2 bytes; Q4_K: 256 in 144; Q6_K: 256 in 210.
    assert bits_per_weight("Q8_0") == 8 * 34 / 32 == 8.5
    assert bits_per_weight("Q4_K") == 8 * 144 / 256 == 4.5
    assert bits_per_weight("Q6_K") == 8 * 210 / 256 == 6.5625
    assert bits_per_weight("Q5_0") == 5.5 and bits_per_weight("F16") == 16


def test_rows_that_are_no_multiple_of_256_get_another_type():
    assert _fitting_type("Q4_K", 4096) == "Q4_K"
    assert _fitting_type("Q4_K", 576) == "Q5_0"
    assert _fitting_type("Q6_K", 896) == "Q8_0"
    assert _fitting_type("Q8_0", 576) == "Q8_0"
    assert _fitting_type("F16", 7) == "F16"
    with pytest.raises(ValueError, match="no multiple of 32"):
        _fitting_type("Q4_K", 100)


def test_more_bits_go_to_both_ends_and_to_every_third_block_between():
    favoured = [block for block in range(16) if _gets_more_bits(block, 16)]
    assert favoured == [0, 1, 4, 7, 10, 13, 14, 15]


def test_the_types_of_a_model_whose_rows_fit():
    found = count_types(predicted_tensors(ARCHITECTURES["llama-3.1-8b"], "q4_k_m"))
    # 16 of 32 blocks give v_proj and down_proj six bits, and so does the head.
    assert found == {"Q4_K": 193, "Q6_K": 33, "F32": 65}


def test_most_matrices_of_smollm2_fall_back_since_576_is_no_multiple_of_256():
    tensors = predicted_tensors(ARCHITECTURES["smollm2-135m"], "q4_k_m")
    assert count_types(tensors) == {
        "Q5_0": 166,
        "F32": 61,
        "Q4_K": 16,
        "Q8_0": 15,
        "Q6_K": 14,
    }
    assert tensors["blk.0.ffn_down.weight"].type == "Q6_K"  # rows of 1536 = 6 x 256
    assert tensors["token_embd.weight"].type == "Q8_0"  # the head as well: tied


def test_bytes_follow_from_types():
    total, bits = bytes_and_bits(
        predicted_tensors(ARCHITECTURES["smollm2-135m"], "q8_0")
    )
    matrices, vectors = 106_168_320 + 28_311_552, 61 * 576
    assert total == matrices * 34 // 32 + 4 * vectors
    assert bits == pytest.approx(8 * total / (matrices + vectors))


def test_a_70b_keeps_five_bits_where_eight_heads_share_their_values():
    found = predicted_tensors(ARCHITECTURES["llama-2-70b"], "q4_k_m")
    assert count_types(found) == {"Q4_K": 441, "F32": 161, "Q6_K": 81, "Q5_K": 40}
    assert bytes_and_bits(found)[0] == pytest.approx(41.42e9, abs=5e6)


@pytest.mark.parametrize(
    ("name", "matrices", "types"),
    [
        ("qwen3-0.6b", 197, {"Q4_K", "Q6_K", "F32"}),
        ("gemma-2-2b", 183, {"Q4_K", "Q6_K", "F32"}),
        ("phi-3-mini", 130, {"Q4_K", "Q5_K", "Q6_K", "F32"}),  # q, k and v in Q5_K
    ],
)
def test_other_families_are_predicted_by_the_names_that_gguf_has(name, matrices, types):
    model = load_models()[name].architecture(name)
    found = predicted_tensors(model, "q4_k_m")
    assert sum(t.elements for t in found.values()) == model.parameters
    assert {t.type for t in found.values()} == types
    assert sum(t.type != "F32" for t in found.values()) == matrices


def test_what_is_not_predicted_is_said():
    experts = load_models()["mixtral-8x7b"].architecture("mixtral")
    with pytest.raises(UnpredictedFile, match=r"'mixtral'.*without experts"):
        predicted_tensors(experts, "q8_0")


def test_biases_are_counted_where_a_model_has_them():
    found = predicted_tensors(ARCHITECTURES["qwen2.5-0.5b"], "q8_0")
    assert found["blk.0.attn_q.bias"].elements == 896
    assert found["blk.0.attn_v.bias"].bytes == 4 * 128
    assert sum(t.elements for t in found.values()) == 494_032_768


def test_a_real_file_says_what_it_is():
    facts = read_gguf(bundled_gguf())
    assert facts.file_type == "MOSTLY_Q4_1" and facts.end_token == "<|im_end|>"
    assert facts.types == {"Q4_1": 210, "F32": 61, "Q8_0": 1}
    assert (facts.tokenizer_model, facts.tokenizer_pre) == ("gpt2", "smollm")
    assert "<|im_start|>" in facts.chat_template
    expected = 106_168_320 * 20 // 32 + 28_311_552 * 34 // 32 + 4 * 61 * 576
    assert facts.tensor_bytes == expected < facts.size_bytes
    assert facts.bits_per_weight == pytest.approx(8 * expected / 134_515_008)


def test_a_moved_file_is_not_read_again_and_a_changed_one_is(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(gguf_file, "_known", {})
    monkeypatch.setattr(gguf_file, "_read_whole", read.append)
    path = tmp_path / "a.gguf"
    path.write_text("one")
    read_gguf(path)
    path = path.rename(tmp_path / "b.gguf")
    read_gguf(path)
    assert len(read) == 1
    path.write_text("another")
    read_gguf(path)
    assert len(read) == 2


def test_a_file_that_was_cut_off_or_is_none_is_named(tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(bundled_gguf().read_bytes()[:2_000_000])
    with pytest.raises(BrokenGguf, match=r"cut\.gguf \(2,000,000 bytes\)"):
        read_gguf(cut)
    (tmp_path / "text.gguf").write_text("hello, this is no model at all")
    with pytest.raises(BrokenGguf, match="no whole GGUF"):
        read_gguf(tmp_path / "text.gguf")
    with pytest.raises(FileNotFoundError, match=r"lost\.gguf"):
        read_gguf(tmp_path / "lost.gguf")


def whole_file(
    path, *, kind=1, tokens=("a", "b"), end=1, tensor="token_embd.weight", more=None
):
    """A whole file in which each part can be left out, and others added."""
    writer = gguf.GGUFWriter(path, "llama")
    if kind is not None:
        writer.add_uint32("general.file_type", kind)
    if tokens:
        writer.add_token_list(tokens)
    if isinstance(end, str):
        writer.add_string("tokenizer.ggml.eos_token_id", end)
    elif end is not None:
        writer.add_eos_token_id(end)
    for key, value in (more or {}).items():
        add = writer.add_string if isinstance(value, str) else writer.add_uint16
        add(key, value)
    if tensor:
        writer.add_tensor(tensor, np.zeros((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


SECOND = {"split.no": 1, "split.count": 3}
FIRST = {"split.no": 0, "split.count": 3}


# Files of the hub that are whole and yet no model that can be read: the promise is a
# BrokenGguf that says why, never an IndexError of somebody else's.
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"end": None}, "lacks tokenizer.ggml.eos_token_id.*an embedding model has no"),
        ({"end": 99}, "its end token is 99, of 2 tokens in all"),
        ({"end": "</s>"}, "eos_token_id is '</s>', expected a int"),
        ({"tokens": ()}, r"lacks tokenizer\.ggml\.tokens"),
        ({"kind": None}, "lacks general.file_type"),
        ({"kind": 9999}, "its file type is 9999, which gguf .* does not know"),
        ({"tensor": None}, "lacks tensors"),
        ({"more": SECOND, "tokens": (), "end": None}, "part 2 of 3 of a file.*--merge"),
        ({"more": FIRST, "tensor": None}, "it is part 1 of 3"),
        ({"more": FIRST}, "it is part 1 of 3"),  # vocabulary and some tensors
        ({"more": {"general.type": "mmproj"}, "end": None}, "sees images"),
    ],
)
def test_a_whole_file_that_is_no_language_model_is_named(tmp_path, change, told):
    assert read_gguf(whole_file(tmp_path / "whole.gguf")).end_token == "b"
    with pytest.raises(BrokenGguf, match=told) as caught:
        read_gguf(whole_file(tmp_path / "other.gguf", **change))
    assert "numpy" not in str(caught.value) and "dtype" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", r"begins with b''"),
        (b"<!DOCTYPE html>", r"begins with b'<!DO', expected b'GGUF'"),
        (b"version https://git-lfs.github.com/spec/v1", "begins with b'vers'"),
        (b"GGUF\x09\0\0\0" + bytes(16), "damaged or of an unknown version"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 16, "cut off, damaged"),
    ],
)
def test_what_is_no_gguf_at_all_is_named_by_its_first_bytes(tmp_path, content, told):
    (tmp_path / "odd.gguf").write_bytes(content)
    with pytest.raises(BrokenGguf, match=told):
        read_gguf(tmp_path / "odd.gguf")


# Families whose converter takes SmolLM2's tokenizer; Gemma's and Phi-3's ask for
# SentencePiece's own file.
FAMILIES = {"llama": {}, "qwen3": {"head_dim": 64}}


@pytest.fixture(scope="module")
def small_model(tmp_path_factory, request):
    """Eight blocks whose rows fit, untied, in 16 bits: what K-quants are made for."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from course_utils.model.nano import nano_tokenizer

    folder = tmp_path_factory.mktemp(request.param)
    config = AutoConfig.for_model(
        request.param,
        vocab_size=49152,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        tie_word_embeddings=False,
        pad_token_id=2,
        **FAMILIES[request.param],
    )
    model = AutoModelForCausalLM.from_config(config).half()
    model.save_pretrained(folder)
    nano_tokenizer().save_pretrained(folder)
    converter = llama_cpp.build_if_missing() / "convert_hf_to_gguf.py"
    target = folder / "f16.gguf"
    command = [sys.executable, str(converter), str(folder), "--outfile", str(target)]
    subprocess.run([*command, "--outtype", "f16"], check=True, capture_output=True)
    return Architecture.from_config(config), target


LEVELS = [("llama", level) for level in ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m")]


@pytest.mark.parametrize(
    ("small_model", "level"), [*LEVELS, ("qwen3", "q4_k_m")], indirect=["small_model"]
)
def test_what_llama_quantize_writes_is_what_was_predicted(small_model, level, tmp_path):
    architecture, source = small_model
    target = source
    if level != "f16":
        target = tmp_path / "quantized.gguf"
        program = str(toolchain.install_folder() / "llama-quantize")
        command = [program, str(source), str(target), level]
        subprocess.run(command, check=True, capture_output=True)
    assert read_gguf(target).tensors == predicted_tensors(architecture, level)

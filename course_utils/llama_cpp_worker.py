"""Ask libllama for tokens and scores, in a process of its own.

A GGUF that llama.cpp does not accept can abort the whole process, which must not be
the notebook's. So this module is run as a program by `llama_cpp.ask`: it reads one
request (JSON) from standard input and writes an .npz file. It needs the bindings on
its path, nothing else of the course, and imports neither torch nor transformers.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

import numpy as np


def load_model(api, gguf: Path):
    """The model of a file, or SystemExit with a line that names it."""
    api.llama_backend_init()
    parameters = api.llama_model_default_params()
    model = api.llama_model_load_from_file(str(gguf).encode(), parameters)
    if not model:
        raise SystemExit(f"llama.cpp cannot load {gguf.name}")
    return model


def tokenize(api, model, text: str) -> list[int]:
    """Token ids as llama.cpp reads a text; special tokens count as such."""
    vocabulary = api.llama_model_get_vocab(model)
    data = text.encode()
    room = len(data) + 16
    ids = (api.llama_token * room)()
    count = api.llama_tokenize(vocabulary, data, len(data), ids, room, False, True)
    if count < 0:
        raise SystemExit(f"llama.cpp cannot tokenize {text[:40]!r}")
    return list(ids[:count])


def new_context(api, model, longest: int):
    """A context for one row of at most `longest` tokens, scored in one pass."""
    settings = api.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = longest
    settings.n_threads = settings.n_threads_batch = os.cpu_count() or 1
    # The cache of keys and values in fp32, as torch has it: what remains of the
    # distance is then the weights' alone.
    settings.type_k = settings.type_v = api.GGML_TYPE_F32
    context = api.llama_init_from_model(model, settings)
    if not context:
        raise SystemExit(f"llama.cpp has no room for a context of {longest} tokens")
    return context


def score_row(api, model, context, row: list[int], start: int) -> np.ndarray:
    """Logits after the tokens from `start` on, (len(row) - start, vocab)."""
    api.llama_memory_clear(api.llama_get_memory(context), True)
    batch = api.llama_batch_init(len(row), 0, 1)
    batch.n_tokens = len(row)
    for index, token in enumerate(row):
        batch.token[index] = token
        batch.pos[index] = index
        batch.n_seq_id[index] = 1
        batch.seq_id[index][0] = 0
        batch.logits[index] = index >= start
    status = api.llama_decode(context, batch)
    if status:
        raise SystemExit(f"llama_decode ended with status {status}")
    size = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
    scores = np.empty((len(row) - start, size), dtype=np.float32)
    for index in range(start, len(row)):
        pointer = api.llama_get_logits_ith(context, index)
        scores[index - start] = np.ctypeslib.as_array(pointer, (size,))
    api.llama_batch_free(batch)
    return scores


def answer(api, request: dict) -> dict[str, np.ndarray]:
    """Arrays `tokens_0 …` for texts, `scores_0 …` for rows."""
    model = load_model(api, Path(request["gguf"]))
    found = {
        f"tokens_{number}": np.array(tokenize(api, model, text), dtype=np.int64)
        for number, text in enumerate(request["texts"])
    }
    rows, starts = request["rows"], request["starts"]
    if rows:
        context = new_context(api, model, max(map(len, rows)))
        for number, (row, start) in enumerate(zip(rows, starts, strict=True)):
            found[f"scores_{number}"] = score_row(api, model, context, row, start)
    return found


def main() -> None:
    """Read a request, write the arrays."""
    from llama_cpp import llama_cpp as api  # the bindings, through PYTHONPATH

    request = json.load(sys.stdin)
    quiet = api.llama_log_callback(lambda level, text, data: keep_errors(level, text))
    api.llama_log_set(quiet, ctypes.c_void_p(0))
    np.savez(request["out"], **answer(api, request))


def keep_errors(level: int, text: bytes) -> None:
    """Pass on what llama.cpp logs as an error; the rest is pages long."""
    if level == 4:  # GGML_LOG_LEVEL_ERROR
        sys.stderr.write(text.decode(errors="replace"))


if __name__ == "__main__":
    main()

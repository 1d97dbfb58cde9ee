"""Ask libllama for tokens and scores, in a process of its own.

A GGUF that llama.cpp does not accept can abort the whole process, which must not be
the notebook's. So `llama_cpp.tokenize_and_score` runs this module as a program: it
reads a request (JSON) and writes an .npz file. It needs no other module of the course,
nor torch.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

Handle = Any  # a pointer of llama.cpp


def _tokenize(api: ModuleType, vocabulary: Handle, text: str) -> list[int]:
    """Token ids of a text; special tokens count as such, none is added."""
    data = text.encode()
    room = len(data) + 16
    ids = (api.llama_token * room)()
    count = api.llama_tokenize(vocabulary, data, len(data), ids, room, False, True)
    if count < 0:
        raise SystemExit(f"llama.cpp cannot tokenize {text[:40]!r}")
    return list(ids[:count])


def _new_context(api: ModuleType, model: Handle, longest: int) -> Handle:
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


def _scores(
    api: ModuleType, context: Handle, row: list[int], start: int
) -> Iterator[np.ndarray]:
    """Logits (vocab,) after each token from `start` on."""
    api.llama_memory_clear(api.llama_get_memory(context), True)
    batch = api.llama_batch_init(len(row), 0, 1)
    batch.n_tokens = len(row)
    for index, token in enumerate(row):
        batch.token[index], batch.pos[index] = token, index
        batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
        batch.logits[index] = index >= start
    if status := api.llama_decode(context, batch):
        raise SystemExit(f"llama_decode ended with status {status}")
    size = api.llama_vocab_n_tokens(
        api.llama_model_get_vocab(api.llama_get_model(context))
    )
    for index in range(start, len(row)):
        logits = api.llama_get_logits_ith(context, index)
        yield np.ctypeslib.as_array(logits, (size,)).copy()
    api.llama_batch_free(batch)


def _answer(api: ModuleType, request: dict[str, Any]) -> dict[str, np.ndarray]:
    """Arrays `tokens_0 …` for texts, (positions, vocab) `scores_0 …` for rows."""
    gguf, rows = Path(request["gguf"]), request["rows"]
    api.llama_backend_init()
    settings = api.llama_model_default_params()
    model = api.llama_model_load_from_file(str(gguf).encode(), settings)
    if not model:
        raise SystemExit(f"llama.cpp cannot load {gguf.name}")
    found = {}
    for number, text in enumerate(request["texts"]):
        ids = _tokenize(api, api.llama_model_get_vocab(model), text)
        found[f"tokens_{number}"] = np.array(ids, dtype=np.int64)
    context = _new_context(api, model, max(map(len, rows))) if rows else None
    for number, (row, start) in enumerate(zip(rows, request["starts"], strict=True)):
        found[f"scores_{number}"] = np.stack([*_scores(api, context, row, start)])
    return found


def main(asked: str, out: str) -> None:
    """Read a request, write the arrays."""
    request = json.loads(Path(asked).read_text("utf-8"))
    sys.path.insert(0, request["bindings"])
    os.environ["LLAMA_CPP_LIB_PATH"] = request["library"]
    # pyrefly: ignore[missing-import]  # it lies beside llama.cpp's library
    from llama_cpp import llama_cpp as api

    @api.llama_log_callback
    def keep_errors(level: int, text: bytes, _data: Any) -> None:
        if level == 4:  # GGML_LOG_LEVEL_ERROR; the rest is pages long
            sys.stderr.write(text.decode(errors="replace"))

    api.llama_log_set(keep_errors, ctypes.c_void_p(0))
    # pyrefly: ignore[bad-argument-type]  # no array is called allow_pickle
    np.savez(out, **_answer(api, request))


if __name__ == "__main__":
    main(*sys.argv[1:])

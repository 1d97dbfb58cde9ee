"""Where llama.cpp lies, how Unsloth is told of it, and what it makes of a file.

`tools/build_llama_cpp.py` makes the folder: converter, library, llama-quantize,
llama-perplexity and llama-server, all of one commit. Its name holds the version and the
kind of processor, since it is compiled for this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

from course_utils import CourseError, places
from course_utils.machine.toolchain import install_folder

# Up to this size a GGUF's digest is taken anew before it is read, which costs a second.
# The 16 GB of an 8B would cost half a minute each time.
CHECKED_BYTES = 2**29
# Runs a command, and ends it when standard input closes: by the process at its other
# end, or by the system once that is gone, whatever ended it.
_WATCHDOG = """
import os, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
threading.Thread(target=lambda: (os.read(0, 1), child.kill()), daemon=True).start()
status = child.wait()
sys.exit(status if status >= 0 else 128 - status)
"""


class LlamaCppProblem(CourseError, RuntimeError):
    """llama.cpp is missing, or one of its programs failed."""


def build_if_missing() -> Path:
    """The prepared folder; built now unless it is whole (3 to 6 minutes, once)."""
    if places.is_whole(install_folder()):
        return install_folder()
    print("llama.cpp is not in the cache yet: building it, once (minutes)", flush=True)
    process = subprocess.Popen(
        [sys.executable, places.PROJECT_ROOT / "tools" / "build_llama_cpp.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    last = "it said nothing"
    for line in process.stdout or ():  # a notebook shows no child's own output
        last = line.strip()
        print(last, flush=True)
    if process.wait():
        raise LlamaCppProblem(f"{last} (tools/build_llama_cpp.py)")
    return install_folder()


def prepared(name: str) -> Path:
    """A part of the folder, such as `llama-server`; LlamaCppProblem without it."""
    path = install_folder() / name
    if not path.exists():
        raise LlamaCppProblem(
            f"{name} is not in {install_folder()}: llama.cpp is not built for this "
            "machine, or COURSE_CACHE is another one now. Run `make setup`, once."
        )
    return path


def checked(gguf: Path) -> Path:
    """The absolute path of a file that is there and, up to CHECKED_BYTES, unaltered.

    llama.cpp itself notices a file that was cut off, never a weight that changed; a
    LlamaCppProblem names both.
    """
    if not gguf.exists():
        raise LlamaCppProblem(
            f"There is no {gguf.name} in {gguf.parent.name}/. Was the export stopped?"
        )
    stamp, state = gguf.parent / places.STAMP, gguf.stat()
    known = places.read_json(stamp, "Export again.") if stamp.exists() else {}
    if gguf.name in known and state.st_size <= CHECKED_BYTES:
        found = [state.st_size, _digest(gguf, state.st_ino, state.st_mtime_ns)]
        if found != known[gguf.name]:
            raise LlamaCppProblem(
                f"{gguf.name} is not what its export wrote: (bytes, SHA-256) are "
                f"{found}, {stamp.name} says {known[gguf.name]}. A damaged disk, or "
                "another file under this name? Export again (notebook 07)."
            )
    return gguf.resolve()


@cache
def _digest(path: Path, *_state: int) -> str:
    return places.sha256(path)


@contextmanager
def watched(command: Sequence[str], output: Path) -> Iterator[subprocess.Popen]:
    """Run a command until the block ends; it never outlives this process either."""
    with output.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-ISc", _WATCHDOG, *command],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=places.PROJECT_ROOT,
            # By default threads that wait for each other spin, and take the cores from
            # whatever else runs and from themselves.
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
            start_new_session=True,  # Ctrl-C is for this process; the block's end, both
        )
    try:
        yield process
    finally:
        process.communicate()  # closes its standard input and waits


def last_words(log: Path) -> str:
    """The last lines of a log that are not blank, as one."""
    lines = log.read_text(errors="replace").splitlines()
    return " / ".join([line for line in lines if line.strip()][-3:]) or "no message"


def tokenize_and_score(
    gguf: Path,
    *,
    texts: Sequence[str] = (),
    rows: Sequence[Sequence[int]] = (),
    starts: Sequence[int] = (),
) -> tuple[list[list[int]], list[np.ndarray]]:
    """What llama.cpp makes of texts and of token rows, in a process of its own.

    Each text becomes token ids, by the file's own tokenizer; each row of token ids
    becomes logits from its entry in `starts` on, (len(row) - start, vocab), fp32.

    Raises:
        LlamaCppProblem: If llama.cpp is not built, refuses the file or aborts on it.
    """
    request = {
        "bindings": str(prepared("bindings")),
        "library": str(install_folder()),
        "gguf": str(checked(gguf)),
        "texts": list(texts),
        "rows": [list(map(int, row)) for row in rows],
        "starts": list(starts),
    }
    with tempfile.TemporaryDirectory() as folder:
        asked, out, log = (Path(folder) / name for name in ("asked", "out.npz", "log"))
        asked.write_text(json.dumps(request), "utf-8")
        worker = [sys.executable, "-m", "course_utils.gguf.worker"]
        with watched([*worker, str(asked), str(out)], log) as process:
            status = process.wait()
        if status or not out.exists():
            raise LlamaCppProblem(
                f"llama.cpp gave up on {gguf.name} (status {status}): "
                f"{last_words(log)}. Was the file cut off, or made by a converter of "
                "another version?"
            )
        with np.load(out) as found:
            tokens = [found[f"tokens_{i}"].tolist() for i in range(len(texts))]
            return tokens, [found[f"scores_{i}"] for i in range(len(rows))]

"""Where llama.cpp lies, how Unsloth is told of it, and what it makes of a file.

The folder is made by `tools/build_llama_cpp.py`: the converter, llama-quantize,
llama-server and the library, all of one commit. It is looked for under a name that
holds the version and the kind of processor, since it is compiled for this one.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from course_utils.profile import PROJECT_ROOT, cache_folder

VERSION = "0.3.36"  # of llama-cpp-python, whose source package carries llama.cpp
STAMP = "sizes.json"
# Threads of llama.cpp that wait for each other sleep. By default they spin, and where
# anything else runs they take the cores from it and from themselves.
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}


class LlamaCppProblem(RuntimeError):
    """llama.cpp is missing, or one of its programs failed."""


def home() -> Path:
    """The folder of this version on this kind of machine, there or not."""
    return cache_folder() / f"llama.cpp-{VERSION}-{processor_mark()}"


@cache
def processor_mark() -> str:
    """Eight hex digits that differ where compiled code may not run.

    A cache that is carried to another machine would otherwise end in an illegal
    instruction: the build uses what this processor has.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    flags = [line for line in lines if line.startswith(("flags", "Features"))]
    known = " ".join(sorted(flags[0].split())) if flags else platform.processor()
    text = f"{platform.system()} {platform.machine()} {known}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def is_prepared(folder: Path) -> bool:
    """Whether the folder is whole: each file of its stamp with its size."""
    try:
        sizes = json.loads((folder / STAMP).read_text())
        return all(
            (folder / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, json.JSONDecodeError):
        return False


def ensure() -> Path:
    """The prepared folder; built now when it is missing (3 to 6 minutes, once).

    Raises:
        LlamaCppProblem: With the line that says what the machine lacks.
    """
    folder = home()
    if is_prepared(folder):
        return folder
    print("llama.cpp is not in the cache yet: building it, once (minutes)", flush=True)
    builder = PROJECT_ROOT / "tools" / "build_llama_cpp.py"
    process = subprocess.Popen(
        [sys.executable, str(builder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    last = "it said nothing"
    for line in process.stdout:  # a notebook does not show a child's own output
        last = line.strip()
        print(last, flush=True)
    if process.wait():
        raise LlamaCppProblem(f"{last} (tools/build_llama_cpp.py)")
    return folder


def unsloth_environment() -> dict[str, str]:
    """What Unsloth must find in the environment before it is imported.

    It reads the folder's place at import. Without the second variable it would wipe
    a folder that it holds for damaged, and fetch another one from the network.
    """
    return {"UNSLOTH_LLAMA_CPP_PATH": str(home()), "UNSLOTH_AUTO_INSTALL": "0"}


def ask(
    gguf: Path,
    *,
    texts: Sequence[str] = (),
    rows: Sequence[Sequence[int]] = (),
    starts: Sequence[int] = (),
) -> tuple[list[list[int]], list[np.ndarray]]:
    """What llama.cpp makes of texts and of token rows, in a process of its own.

    Args:
        gguf: The model file.
        texts: To be tokenized by the file's own tokenizer.
        rows: Token ids to be scored.
        starts: For each row, the first position whose scores are wanted.

    Returns:
        Token ids a text; logits a row, (len(row) - start, vocab), fp32.

    Raises:
        LlamaCppProblem: If llama.cpp refuses the file or aborts on it.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.npz"
        request = {
            "gguf": str(gguf.resolve()),
            "texts": list(texts),
            "rows": [list(map(int, row)) for row in rows],
            "starts": list(starts),
            "out": str(out),
        }
        done = subprocess.run(
            [sys.executable, "-m", "course_utils.llama_cpp_worker"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            cwd=PROJECT_ROOT,
            env={
                **os.environ,
                **PATIENT,
                "PYTHONPATH": str(home() / "bindings"),
                "LLAMA_CPP_LIB_PATH": str(home()),
            },
        )
        if done.returncode or not out.exists():
            said = [line for line in done.stderr.splitlines() if line.strip()][-2:]
            raise LlamaCppProblem(
                f"llama.cpp gave up on {gguf.name} (status {done.returncode}): "
                f"{' / '.join(said) or 'no message'}. A file that was cut off, or made "
                "by a converter of another version?"
            )
        with np.load(out) as found:
            tokens = [found[f"tokens_{i}"].tolist() for i in range(len(texts))]
            return tokens, [found[f"scores_{i}"] for i in range(len(rows))]

"""Where llama.cpp lies, and what Unsloth must be told of it."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path

from course_utils import places

VERSION = "0.3.36"  # of llama-cpp-python, whose source package carries llama.cpp
BUILD = 3  # counts what is built of it and how: others lie in another folder


def install_folder() -> Path:
    """The folder of this version on this kind of machine, there or not."""
    return places.cache_folder() / f"llama.cpp-{VERSION}-{BUILD}-{processor_mark()}"


@cache
def processor_mark() -> str:
    """Eight hex digits that differ where compiled code may not run.

    A cache that is carried to another machine would otherwise end in an illegal
    instruction: the build uses what this processor has.
    """
    listed = Path("/proc/cpuinfo")  # of Linux alone
    lines = listed.read_text().splitlines() if listed.exists() else []
    flags = [line for line in lines if line.startswith(("flags", "Features"))]
    known = " ".join(sorted(flags[0].split())) if flags else platform.processor()
    text = f"{platform.system()} {platform.machine()} {known}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def unsloth_environment() -> dict[str, str]:
    """What Unsloth must find in the environment before it is imported.

    It reads the folder's place at import. Without the second variable it would wipe
    a folder that it holds for damaged, and fetch another one from the network.
    """
    return {
        "UNSLOTH_LLAMA_CPP_PATH": str(install_folder()),
        "UNSLOTH_AUTO_INSTALL": "0",
    }

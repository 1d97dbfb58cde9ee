"""Prepare llama.cpp, once: converter, llama-quantize, llama-server, Python bindings.

The package llama-cpp-python carries the sources of llama.cpp on PyPI. They are built
here into one folder of the course's cache, laid out as Unsloth expects it. One build
gives the programs and the libraries, so that pip never compiles a second time.

    python tools/build_llama_cpp.py
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from install import ROOT, SetupProblem, check_compiler

sys.path.insert(0, str(ROOT))
from course_utils.llama_cpp import STAMP, VERSION, home, is_prepared

SDIST_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
BUILD_TOOLS = {"cmake": "cmake==4.4.4", "ninja": "ninja==1.13.2"}  # when not on PATH
TARGETS = ("llama", "llama-quantize", "llama-server")
NEEDED_DISK_GIB = 2.0
SECONDS_BETWEEN_LINES = 20.0
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",  # the folder moves when it is whole
    "CMAKE_INSTALL_RPATH": "@loader_path" if sys.platform == "darwin" else "$ORIGIN",
    "BUILD_SHARED_LIBS": "ON",  # the bindings load libllama
    "LLAMA_CURL": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",  # it would be fetched from the network
    "LLAMA_ALL_WARNINGS": "OFF",
}
# Most of the build is argument parsing, chat templates and HTTP. Optimising them less
# takes a quarter off the time; ggml, which computes, keeps the compiler's best.
LESS_OPTIMISED = """
function(optimise_less)
  foreach(name llama llama-common mtmd server-context llama-server-impl
          llama-quantize-impl cpp-httplib)
    if(TARGET ${name})
      target_compile_options(${name} PRIVATE -O1)
    endif()
  endforeach()
endfunction()
cmake_language(DEFER CALL optimise_less)
"""
# What stays of the sources. Unsloth takes a folder for llama.cpp when it finds src,
# ggml and common in it; the converter imports conversion and gguf-py.
KEPT_SOURCES = (
    "src",
    "ggml/include",
    "common",
    "conversion",
    "gguf-py",
    "convert_hf_to_gguf.py",
    "convert_lora_to_gguf.py",
    "LICENSE",
)
KEPT_BINDINGS = ("llama_cpp.py", "_ctypes_extensions.py")


def find_build_tools(folder: Path) -> dict[str, str]:
    """Paths of cmake and ninja: those on PATH, else PyPI's wheels in `folder`."""
    found = {name: shutil.which(name) for name in BUILD_TOOLS}
    missing = [BUILD_TOOLS[name] for name, path in found.items() if path is None]
    if missing:
        pip("install", "--target", str(folder), *missing)
    packed = {
        "cmake": folder / "cmake" / "data" / "bin" / "cmake",
        "ninja": folder / "bin" / "ninja",
    }
    return {name: path or str(packed[name]) for name, path in found.items()}


def pip(*arguments: str) -> None:
    """Run this Python's pip; its last line explains a failure."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line]
        raise SetupProblem(
            f"pip {arguments[0]} failed ({lines[-1] if lines else 'no message'}). Is a "
            "package index reachable? Then run the same command again."
        )


def fetch_sources(folder: Path) -> Path:
    """Download the sdist, hold it against its checksum, unpack it.

    Raises:
        SetupProblem: If the index cannot be reached or the file is another one.
    """
    print(f"1/3  llama.cpp's sources (llama-cpp-python {VERSION}, 77 MB)", flush=True)
    name = "llama-cpp-python"
    pip(
        "download",
        "--no-deps",
        "--no-binary",
        name,
        "-d",
        str(folder),
        f"{name}=={VERSION}",
    )
    [archive] = folder.glob("*.tar.gz")
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != SDIST_SHA256:
        raise SetupProblem(
            f"{archive.name} has SHA-256 {found[:12]}…, expected {SDIST_SHA256[:12]}…: "
            "a damaged download, or another file under this name. Run "
            "`python -m pip cache purge` and try again."
        )
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()
    return folder / f"llama_cpp_python-{VERSION}"


def build(sources: Path, folder: Path, tools: dict[str, str], log: Path) -> Path:
    """Configure and compile; returns the folder with programs and libraries."""
    print("2/3  compiling: libllama, llama-quantize, llama-server", flush=True)
    folder.mkdir()
    less = folder / "less_optimised.cmake"
    less.write_text(LESS_OPTIMISED)
    options = {**OPTIONS, "CMAKE_PROJECT_llama.cpp_INCLUDE": less}
    settings = [f"-D{name}={value}" for name, value in options.items()]
    configure = [tools["cmake"], "-S", str(sources), "-B", str(folder), "-G", "Ninja"]
    configure += [f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}", *settings]
    compile_all = [tools["ninja"], "-C", str(folder), *TARGETS]
    for command in (configure, compile_all):
        watch(command, log)
    return folder / "bin"


def watch(command: Sequence[str], log: Path) -> None:
    """Run a command into a log, with a line of progress every so often.

    Raises:
        SetupProblem: With the first error of the log, when the command fails.
    """
    start = last = time.monotonic()
    with log.open("a") as stream:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for line in process.stdout:
            stream.write(line)
            step = re.match(r"\[(\d+)/(\d+)\]", line)
            if step and time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                spent = f"{last - start:.0f} s"
                print(f"     {step[1]} of {step[2]} steps, {spent}", flush=True)
    if process.wait():
        raise SetupProblem(
            f"llama.cpp was not built: {first_error(log.read_text())} "
            f"The whole log is {log}."
        )


def first_error(log: str) -> str:
    """The line of a build log that says what went wrong."""
    lines = log.splitlines()
    for mark in ("Killed", "No space left", "error", "Error", "FAILED"):
        for line in lines:
            if mark in line:
                return line.strip()
    return lines[-1].strip() if lines else "its log is empty."


def assemble(package: Path, programs: Path, folder: Path) -> None:
    """Lay the folder out: programs, libraries and converter flat, bindings below."""
    print("3/3  putting the folder together", flush=True)
    sources = package / "vendor" / "llama.cpp"
    for name in KEPT_SOURCES:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (sources / name).is_dir():
            shutil.copytree(sources / name, target)
        else:
            shutil.copy2(sources / name, target)
    for path in programs.iterdir():
        if path.name.startswith(("lib", "llama-")):
            shutil.copy2(path, folder / path.name, follow_symlinks=False)
    bindings = folder / "bindings" / "llama_cpp"
    bindings.mkdir(parents=True)
    (bindings / "__init__.py").touch()  # theirs imports the rest of the package
    for name in KEPT_BINDINGS:
        shutil.copy2(package / "llama_cpp" / name, bindings / name)
    shutil.copy2(package / "LICENSE.md", bindings / "LICENSE.md")


def write_stamp(folder: Path) -> None:
    """Write down every file with its size: what is_prepared holds the folder to."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in files}
    (folder / STAMP).write_text(json.dumps(sizes, indent=0))


def prepare(target: Path) -> None:
    """Build in a folder beside the target and rename it when it is whole.

    Two processes that start at once: the second one waits for the first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".llama.cpp.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_prepared(target):
            return
        check_compiler()
        check_disk(target.parent)
        unfinished = Path(tempfile.mkdtemp(prefix=".llama.cpp-", dir=target.parent))
        try:
            prepare_in(unfinished, target.with_name(f"{target.name}.log"))
            shutil.rmtree(target, ignore_errors=True)  # a damaged one
            os.replace(unfinished / "whole", target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def prepare_in(work: Path, log: Path) -> None:
    """Fetch, build and lay out below `work`; the result is `work/whole`."""
    log.unlink(missing_ok=True)
    tools = find_build_tools(work / "tools")
    package = fetch_sources(work)
    sources = package / "vendor" / "llama.cpp"
    programs = build(sources, work / "build", tools, log)
    (work / "whole").mkdir()
    assemble(package, programs, work / "whole")
    write_stamp(work / "whole")


def check_disk(folder: Path, free_bytes: int | None = None) -> None:
    """Refuse a disk on which the build would stop halfway."""
    free = shutil.disk_usage(folder).free if free_bytes is None else free_bytes
    if free < NEEDED_DISK_GIB * 2**30:
        raise SetupProblem(
            f"{free / 2**30:.1f} GiB free where the cache lies, {NEEDED_DISK_GIB:.0f} "
            "GiB needed to build llama.cpp: free some, or set COURSE_CACHE elsewhere."
        )


def main() -> int:
    """Prepare the folder unless it is there; a problem is one line, status 1."""
    target, start = home(), time.monotonic()
    if is_prepared(target):
        return 0
    try:
        prepare(target)
    except SetupProblem as problem:
        print(f"llama.cpp is not ready: {problem}", file=sys.stderr)
        return 1
    print(f"llama.cpp is ready after {time.monotonic() - start:.0f} s: {target.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

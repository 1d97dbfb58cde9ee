"""Prepare llama.cpp, once: converter, its programs, its Python bindings.

The package llama-cpp-python carries the sources of llama.cpp on PyPI. They are built
here into one folder of the course's cache, laid out as Unsloth expects it. One build
gives the programs and the libraries, so that pip never compiles a second time.

    python tools/build_llama_cpp.py
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import install
from install import ROOT, SetupProblem, check_compiler

sys.path.insert(0, str(ROOT))
from course_utils.machine.toolchain import VERSION, install_folder
from course_utils.places import is_whole, made_once

SDIST_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
BUILD_TOOLS = {"cmake": "cmake==4.4.4", "ninja": "ninja==1.13.2"}  # when not on PATH
TARGETS = ("llama", "llama-quantize", "llama-perplexity", "llama-server")
SECONDS_BETWEEN_LINES = 20.0
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",  # the folder moves when it is whole
    "CMAKE_INSTALL_RPATH": "@loader_path" if sys.platform == "darwin" else "$ORIGIN",
    "BUILD_SHARED_LIBS": "ON",  # the bindings load libllama
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_USE_PREBUILT_UI": "OFF",  # it would be fetched from the network
}
LEFT_OUT = "CURL OPENSSL BUILD_TESTS BUILD_EXAMPLES BUILD_APP BUILD_UI ALL_WARNINGS"
OPTIONS |= {f"LLAMA_{name}": "OFF" for name in LEFT_OUT.split()}
# Most of the build is argument parsing, chat templates and HTTP. Optimising them less
# takes a quarter off the time; ggml, which computes, keeps the compiler's best. But no
# AMX: a virtual machine may list it, and end its first tile in an illegal instruction.
LESS_OPTIMISED = """
include(CheckCXXCompilerFlag)
function(optimise_less)
  check_cxx_compiler_flag(-mno-amx-tile KNOWS_AMX)
  if(KNOWS_AMX AND TARGET ggml-cpu)
    target_compile_options(ggml-cpu PRIVATE
      -mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
  endif()
  foreach(name llama llama-common mtmd server-context llama-server-impl
          llama-quantize-impl llama-perplexity-impl cpp-httplib)
    if(TARGET ${name})
      target_compile_options(${name} PRIVATE -O1)
    endif()
  endforeach()
endfunction()
cmake_language(DEFER CALL optimise_less)
"""
# What stays of the sources. Unsloth takes a folder for llama.cpp when it finds src,
# ggml and common in it; the converter imports conversion and gguf-py.
KEPT_FOLDERS = ("src", "ggml/include", "common", "conversion", "gguf-py")
KEPT_FILES = ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "LICENSE")
KEPT_BINDINGS = ("llama_cpp.py", "_ctypes_extensions.py")
check_disk = partial(
    install.check_disk,
    needed_gib=2,
    purpose="to build llama.cpp: free some, or set COURSE_CACHE elsewhere",
)


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
            "package index reachable? If hashes differ, the file is damaged or "
            "another one: `python -m pip cache purge`. Then run the same command again."
        )


def fetch_sources(folder: Path) -> Path:
    """Download the sdist and unpack it.

    pip holds it against its checksum first: even to read its metadata means to run code
    of the package.
    """
    print(f"1/3  llama.cpp's sources (llama-cpp-python {VERSION}, 77 MB)", flush=True)
    name, wanted = "llama-cpp-python", folder / "llama_cpp.txt"
    wanted.write_text(f"{name}=={VERSION} --hash=sha256:{SDIST_SHA256}\n")
    options = ("--require-hashes", "--no-deps", "--no-binary", name, "-d", str(folder))
    pip("download", *options, "-r", str(wanted))
    [archive] = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder, filter="data")
    archive.unlink()
    return folder / f"llama_cpp_python-{VERSION}"


def build(sources: Path, folder: Path, tools: dict[str, str], log: Path) -> Path:
    """Configure and compile; returns the folder with programs and libraries."""
    print(f"2/3  compiling: {', '.join(TARGETS)}", flush=True)
    folder.mkdir()
    less = folder / "less_optimised.cmake"
    less.write_text(LESS_OPTIMISED)
    options = {**OPTIONS, "CMAKE_PROJECT_llama.cpp_INCLUDE": less}
    settings = [f"-D{name}={value}" for name, value in options.items()]
    configure = [tools["cmake"], "-S", str(sources), "-B", str(folder), "-G", "Ninja"]
    configure += [f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}", *settings]
    watch(configure, log)
    watch([tools["ninja"], "-C", str(folder), *TARGETS], log)
    return folder / "bin"


def watch(command: Sequence[str], log: Path) -> None:
    """Run a command into a log, with a line of progress every so often."""
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
                done = f"{step[1]} of {step[2]} steps"
                print(f"     {done}, {last - start:.0f} s", flush=True)
    if process.wait():
        told = f"llama.cpp was not built: {first_error(log.read_text())}"
        raise SetupProblem(f"{told} The whole log is {log}.")


def first_error(log: str) -> str:
    """The line of a build log that says what went wrong."""
    lines = log.splitlines()
    marks = ("Killed", "No space left", "error", "Error", "FAILED")
    told = [line for mark in marks for line in lines if mark in line] or lines[-1:]
    return told[0].strip() if told else "its log is empty."


def assemble(package: Path, programs: Path, folder: Path) -> None:
    """Lay the folder out: programs, libraries and converter flat, bindings below."""
    print("3/3  putting the folder together", flush=True)
    sources = package / "vendor" / "llama.cpp"
    for name in KEPT_FOLDERS:
        shutil.copytree(sources / name, folder / name)
    for name in KEPT_FILES:
        shutil.copy2(sources / name, folder / name)
    for path in programs.iterdir():
        if path.name.startswith(("lib", "llama-")):
            shutil.copy2(path, folder / path.name, follow_symlinks=False)
    bindings = folder / "bindings" / "llama_cpp"
    bindings.mkdir(parents=True)
    (bindings / "__init__.py").touch()  # theirs imports the rest of the package
    for name in KEPT_BINDINGS:
        shutil.copy2(package / "llama_cpp" / name, bindings / name)
    shutil.copy2(package / "LICENSE.md", bindings / "LICENSE.md")


def make(folder: Path, log: Path) -> None:
    """Fetch, build and lay out into an empty folder."""
    check_compiler()
    check_disk(folder)
    log.unlink(missing_ok=True)
    work = folder / "work"
    work.mkdir()
    tools = find_build_tools(work / "tools")
    package = fetch_sources(work)
    programs = build(package / "vendor" / "llama.cpp", work / "build", tools, log)
    assemble(package, programs, folder)
    shutil.rmtree(work)


def main() -> int:
    """Prepare the folder unless it is whole; a problem is one line, status 1.

    Of two processes that start at once the second one waits for the first.
    """
    target, start = install_folder(), time.monotonic()
    if is_whole(target):
        return 0
    log = target.with_name(f"{target.name}.log")
    try:
        made_once(target, lambda folder: make(folder, log))
    except SetupProblem as problem:
        print(f"llama.cpp is not ready: {problem}", file=sys.stderr)
        return 1
    print(f"llama.cpp is ready after {time.monotonic() - start:.0f} s: {target.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

import io
import sys
import tarfile
import time

import build_llama_cpp as builder
import numpy as np
import psutil
import pytest
from install import SetupProblem

from course_utils import places
from course_utils.gguf import llama_cpp
from course_utils.gguf.llama_cpp import LlamaCppProblem
from course_utils.gguf.serving import serve
from course_utils.machine.toolchain import (
    BUILD,
    VERSION,
    install_folder,
    processor_mark,
    unsloth_environment,
)
from course_utils.model.bundled import bundled_gguf

CORPUS = (
    "In 2049 it cost 1,234.50 – twice!",
    "日本 🙂 niño\n\ttab",
    "<|im_start|>user\nhi<|im_end|>\n",
    "",
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fake_build(monkeypatch):
    """A build that writes one program, as often as it is asked."""
    asked = []

    def make(folder, log):
        asked.append(log.name)
        (folder / "llama-quantize").write_text("program")

    monkeypatch.setattr(builder, "make", make)
    return asked


def test_the_folder_says_which_version_it_is_for_which_processor(cache):
    name = install_folder().name
    assert name == f"llama.cpp-{VERSION}-{BUILD}-{processor_mark()}"
    assert len(processor_mark()) == 8


def test_what_is_whole_is_found_without_a_build(cache, fake_build):
    assert builder.main() == builder.main() == 0
    assert llama_cpp.build_if_missing() == install_folder() and len(fake_build) == 1
    assert fake_build == [f"{install_folder().name}.log"]


def test_a_damaged_folder_is_built_again(cache, fake_build):
    builder.main()
    program = install_folder() / "llama-quantize"
    program.write_text("prograM")  # its size is the same
    assert builder.main() == 0
    assert program.read_text() == "program" and len(fake_build) == 2


def test_a_build_that_fails_or_was_killed_leaves_no_rest(cache, monkeypatch):
    def fail(folder):
        (folder / "work").mkdir()
        raise SetupProblem("the compiler was killed")

    monkeypatch.setattr(builder, "check_compiler", lambda: None)
    monkeypatch.setattr(builder, "check_disk", fail)
    (cache / f".{install_folder().name}.partial-killed" / "work").mkdir(parents=True)
    assert builder.main() == 1
    assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []


TOP = f"llama_cpp_python-{VERSION}"
SOURCES = {
    "pyproject.toml": "[build-system]\nrequires=[]\nbuild-backend='backend'\n"
    "backend-path=['.']",
    "backend.py": f"""
import os, pathlib
open(os.environ["MARKER"], "w").close()
def prepare_metadata_for_build_wheel(folder, settings=None):
    info = pathlib.Path(folder, "{TOP}.dist-info")
    info.mkdir()
    text = "Metadata-Version: 2.1\\nName: llama-cpp-python\\nVersion: "
    (info / "METADATA").write_text(text + "{VERSION}\\n")
    return info.name
""",
}


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index with one package; its code leaves a mark when it runs."""
    archive = tmp_path / f"{TOP}.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        for name, text in SOURCES.items():
            entry = tarfile.TarInfo(f"{TOP}/{name}")
            entry.size = len(text)
            packed.addfile(entry, io.BytesIO(text.encode()))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("MARKER", str(tmp_path / "code has run"))
    (tmp_path / "into").mkdir()
    return archive


def test_a_download_that_is_not_the_tested_one_is_refused_before_its_code_runs(index):
    with pytest.raises(SetupProblem, match=r"pip download failed .*HASHES.* purge"):
        builder.fetch_sources(index.parent / "into")
    assert not (index.parent / "code has run").exists()


def test_the_tested_download_is_unpacked(index, monkeypatch):
    monkeypatch.setattr(builder, "SDIST_SHA256", places.sha256(index))
    folder = builder.fetch_sources(index.parent / "into")
    assert sorted(path.name for path in folder.iterdir()) == sorted(SOURCES)


def test_the_machines_own_cmake_is_preferred_to_one_from_pypi(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(builder, "pip", lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(
        builder.shutil, "which", lambda name: "/bin/cmake" if name == "cmake" else None
    )
    found = builder.find_build_tools(tmp_path)
    assert found == {"cmake": "/bin/cmake", "ninja": str(tmp_path / "bin" / "ninja")}
    assert asked == [("install", "--target", str(tmp_path), "ninja==1.13.2")]


def test_pip_failures_are_one_line_with_pips_own_reason(monkeypatch):
    with pytest.raises(SetupProblem, match=r"pip download failed \(ERROR: .*wheel"):
        builder.pip("download", "--no-index", "no-such-wheel==0.0.0")


def test_progress_is_told_now_and_then_and_the_log_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(builder, "SECONDS_BETWEEN_LINES", 0)
    code = "print('[1/9] Building', flush=True); print('error: no memory'); exit(1)"
    log = tmp_path / "build.log"
    with pytest.raises(SetupProblem, match=r"not built: error: no memory.*build\.log"):
        builder.watch([sys.executable, "-c", code], log)
    assert "1 of 9 steps" in capsys.readouterr().out
    assert "Building" in log.read_text()


def test_the_first_error_explains_a_long_log():
    log = "[1/2] ok\nx.cpp:3: error: no member\nerror: second\nninja: stopped"
    assert builder.first_error(log) == "x.cpp:3: error: no member"
    assert builder.first_error("c++: fatal error\nKilled by signal") == (
        "Killed by signal"
    )
    assert builder.first_error("last words") == "last words"


def test_a_full_disk_is_refused_before_the_download(tmp_path):
    with pytest.raises(SetupProblem, match=r"1\.0 GiB free .* 2 GiB needed"):
        builder.check_disk(tmp_path, free_bytes=2**30)


def test_a_problem_ends_the_tool_with_one_line_and_status_one(
    cache, monkeypatch, capsys
):
    def refuse(folder, log):
        raise SetupProblem("no compiler")

    monkeypatch.setattr(builder, "make", refuse)
    assert builder.main() == 1
    assert capsys.readouterr().err == "llama.cpp is not ready: no compiler\n"


def test_a_build_that_fails_in_a_notebook_says_why(cache, monkeypatch, tmp_path):
    (tmp_path / "tools").mkdir()
    script = tmp_path / "tools" / "build_llama_cpp.py"
    script.write_text("print('step'); print('no compiler found'); raise SystemExit(1)")
    monkeypatch.setattr(places, "PROJECT_ROOT", tmp_path)
    with pytest.raises(LlamaCppProblem, match="no compiler found"):
        llama_cpp.build_if_missing()


def test_unsloth_is_told_the_folder_and_to_fetch_nothing(cache):
    assert unsloth_environment() == {
        "UNSLOTH_LLAMA_CPP_PATH": str(install_folder()),
        "UNSLOTH_AUTO_INSTALL": "0",
    }


@pytest.mark.parametrize("program", ["llama-server", "bindings"])
def test_where_nothing_is_built_the_way_to_get_it_is_told(cache, program):
    with pytest.raises(LlamaCppProblem, match=f"{program} is not in .*make setup"):
        if program == "bindings":
            llama_cpp.tokenize_and_score(bundled_gguf(), texts=["a"])
        else:
            with serve(bundled_gguf()):
                pytest.fail("served by nothing")


@pytest.fixture
def exported(tmp_path):
    """A file with the digest that an export leaves beside it."""
    with places.whole_folder(tmp_path / "gguf") as folder:
        (folder / "q8_0.gguf").write_bytes(b"GGUF" + bytes(100))
    return tmp_path / "gguf" / "q8_0.gguf"


def test_a_file_with_a_flipped_bit_is_named_before_it_is_read(exported):
    assert llama_cpp.checked(exported) == exported.resolve()
    exported.write_bytes(b"GGUF" + bytes(99) + b"\x01")
    for use in (
        lambda: llama_cpp.tokenize_and_score(exported),
        lambda: serve(exported).__enter__(),
    ):
        with pytest.raises(LlamaCppProblem, match=r"q8_0\.gguf is not what its export"):
            use()


def test_a_file_that_would_take_long_or_has_no_digest_is_taken_as_it_is(
    exported, monkeypatch
):
    exported.with_name("mine.gguf").write_bytes(b"GGUF")
    llama_cpp.checked(exported.with_name("mine.gguf"))
    exported.write_bytes(b"GGUF" + bytes(99) + b"\x01")
    monkeypatch.setattr(llama_cpp, "CHECKED_BYTES", 103)
    llama_cpp.checked(exported)


def test_what_is_run_ends_with_its_block_and_gives_its_status(tmp_path):
    code = "import sys; print('words', flush=True); sys.exit(3)"
    log = tmp_path / "log"
    with llama_cpp.watched([sys.executable, "-c", code], log) as process:
        assert process.wait() == 3
    assert log.read_text() == "words\n"
    code = "import os; print(os.getpid(), flush=True); import time; time.sleep(600)"
    with llama_cpp.watched([sys.executable, "-c", code], log):
        while not log.read_text().endswith("\n"):
            time.sleep(0.02)
    assert not psutil.pid_exists(int(log.read_text()))


# What follows uses the real thing, and builds it when it is missing.


@pytest.fixture(scope="module")
def toolchain():
    return llama_cpp.build_if_missing()


def test_the_prepared_folder_holds_what_unsloth_asks_for(toolchain):
    for name in ("src", "ggml", "common", "conversion", "gguf-py"):
        assert (toolchain / name).is_dir()
    assert (toolchain / "convert_hf_to_gguf.py").is_file()
    assert (toolchain / "llama-quantize").stat().st_mode & 0o111


def test_llama_cpp_splits_text_as_the_tokenizer_does(toolchain, tokenizer):
    found, _ = llama_cpp.tokenize_and_score(bundled_gguf(), texts=CORPUS)
    assert found == [tokenizer(text)["input_ids"] for text in CORPUS]


def test_scores_of_a_row_do_not_depend_on_where_reading_them_starts(toolchain):
    row = [1, 4093, 198, 504, 2365]
    _, [whole, end] = llama_cpp.tokenize_and_score(
        bundled_gguf(), rows=[row, row], starts=[0, 3]
    )
    assert whole.shape == (5, 49152) and end.shape == (2, 49152)
    np.testing.assert_allclose(whole[3:], end, atol=1e-4)


def test_a_file_that_llama_cpp_refuses_does_not_end_this_process(toolchain, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(bundled_gguf().read_bytes()[:100_000])
    with pytest.raises(LlamaCppProblem, match=r"gave up on broken\.gguf"):
        llama_cpp.tokenize_and_score(broken, texts=["a"])

import io
import json
import sys
import tarfile
from pathlib import Path

import build_llama_cpp as builder
import numpy as np
import pytest
from install import SetupProblem

from course_utils import llama_cpp
from course_utils.embedded_model import embedded_gguf
from course_utils.llama_cpp import LlamaCppProblem

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


def write_whole(folder: Path, text: str = "program") -> None:
    folder.mkdir(parents=True)
    (folder / "llama-quantize").write_text(text)
    builder.write_stamp(folder)


def test_the_folder_says_which_version_it_is_for_which_processor(cache):
    name = llama_cpp.home().name
    assert name == f"llama.cpp-{llama_cpp.VERSION}-{llama_cpp.processor_mark()}"
    assert len(llama_cpp.processor_mark()) == 8


def test_only_a_folder_with_every_file_in_its_size_counts_as_prepared(tmp_path):
    folder = tmp_path / "llama.cpp"
    assert not llama_cpp.is_prepared(folder)
    write_whole(folder)
    assert llama_cpp.is_prepared(folder)
    (folder / "llama-quantize").write_text("cut")
    assert not llama_cpp.is_prepared(folder)
    (folder / "llama-quantize").unlink()
    assert not llama_cpp.is_prepared(folder)
    (folder / llama_cpp.STAMP).write_text("{half")
    assert not llama_cpp.is_prepared(folder)


def test_a_build_that_fails_leaves_neither_folder_nor_rest(tmp_path, monkeypatch):
    def fail(work, log):
        (work / "whole").mkdir()
        raise SetupProblem("the compiler was killed")

    monkeypatch.setattr(builder, "prepare_in", fail)
    with pytest.raises(SetupProblem):
        builder.prepare(tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == [".llama.cpp.lock"]


def test_a_damaged_folder_is_replaced_by_a_whole_one(tmp_path, monkeypatch):
    target = tmp_path / "target"
    write_whole(target)
    (target / "llama-quantize").unlink()
    monkeypatch.setattr(
        builder, "prepare_in", lambda work, log: write_whole(work / "whole", "new")
    )
    builder.prepare(target)
    assert llama_cpp.is_prepared(target)
    assert (target / "llama-quantize").read_text() == "new"


def test_a_whole_folder_is_not_built_again(tmp_path, monkeypatch):
    write_whole(tmp_path / "target")
    monkeypatch.setattr(
        builder, "prepare_in", lambda work, log: pytest.fail("built twice")
    )
    builder.prepare(tmp_path / "target")


def test_a_download_that_is_not_the_tested_one_is_refused(tmp_path, monkeypatch):
    def download(*arguments):
        with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as packed:
            packed.addfile(tarfile.TarInfo("file"), io.BytesIO())

    monkeypatch.setattr(builder, "pip", download)
    with pytest.raises(SetupProblem, match=r"other\.tar\.gz has SHA-256 .*expected"):
        builder.fetch_sources(tmp_path)


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
    def refuse(target):
        raise SetupProblem("no compiler")

    monkeypatch.setattr(builder, "prepare", refuse)
    assert builder.main() == 1
    assert capsys.readouterr().err == "llama.cpp is not ready: no compiler\n"


def test_what_is_prepared_is_found_without_a_build(cache):
    write_whole(llama_cpp.home())
    assert llama_cpp.ensure() == llama_cpp.home()
    assert builder.main() == 0


def test_a_build_that_fails_in_a_notebook_says_why(cache, monkeypatch, tmp_path):
    (tmp_path / "tools").mkdir()
    script = tmp_path / "tools" / "build_llama_cpp.py"
    script.write_text("print('step'); print('no compiler found'); raise SystemExit(1)")
    monkeypatch.setattr(llama_cpp, "PROJECT_ROOT", tmp_path)
    with pytest.raises(LlamaCppProblem, match="no compiler found"):
        llama_cpp.ensure()


def test_unsloth_is_told_the_folder_and_to_fetch_nothing(cache):
    assert llama_cpp.unsloth_environment() == {
        "UNSLOTH_LLAMA_CPP_PATH": str(llama_cpp.home()),
        "UNSLOTH_AUTO_INSTALL": "0",
    }


# What follows uses the real thing, and builds it when it is missing.


@pytest.fixture(scope="module")
def toolchain():
    return llama_cpp.ensure()


def test_the_prepared_folder_holds_what_unsloth_asks_for(toolchain):
    for name in ("src", "ggml", "common", "conversion", "gguf-py"):
        assert (toolchain / name).is_dir()
    assert (toolchain / "convert_hf_to_gguf.py").is_file()
    assert (toolchain / "llama-quantize").stat().st_mode & 0o111
    assert json.loads((toolchain / llama_cpp.STAMP).read_text())


def test_llama_cpp_splits_text_as_the_tokenizer_does(toolchain, tokenizer):
    found, _ = llama_cpp.ask(embedded_gguf(), texts=CORPUS)
    assert found == [tokenizer(text)["input_ids"] for text in CORPUS]


def test_scores_of_a_row_do_not_depend_on_where_reading_them_starts(toolchain):
    row = [1, 4093, 198, 504, 2365]
    _, [whole, end] = llama_cpp.ask(embedded_gguf(), rows=[row, row], starts=[0, 3])
    assert whole.shape == (5, 49152) and end.shape == (2, 49152)
    np.testing.assert_allclose(whole[3:], end, atol=1e-4)


def test_a_file_that_llama_cpp_refuses_does_not_end_this_process(toolchain, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(embedded_gguf().read_bytes()[:100_000])
    with pytest.raises(LlamaCppProblem, match=r"gave up on broken\.gguf"):
        llama_cpp.ask(broken, texts=["a"])

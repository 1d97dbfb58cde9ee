import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import gguf
import numpy as np
import pytest

from course_utils import places
from course_utils.gguf.export import (
    ExportProblem,
    export_gguf,
    levels_that_fit,
    needed_bytes,
)
from course_utils.gguf.file import LEVELS, bytes_and_bits, predicted_tensors
from course_utils.model.architectures import load_architectures

SMOLLM2 = load_architectures()["smollm2-135m"]
LLAMA_8B = load_architectures()["llama-3.1-8b"]


def write_gguf(path, level):
    """The smallest file that says it is of a level."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(gguf.LlamaFileType[LEVELS[level].file_type])
    writer.add_token_list(["a", "b"])
    writer.add_eos_token_id(1)
    writer.add_tensor("token_embd.weight", np.zeros((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class FakeModel:
    """Does what Unsloth does to a folder; goes wrong as it is told."""

    def __init__(self, *, on_gpu=False, fails=None, claims=None):
        self.on_gpu, self.fails, self.claims = on_gpu, fails, claims
        self.asked = None

    def save_pretrained_gguf(self, folder, tokenizer, quantization_method):
        self.asked = (tokenizer, quantization_method)
        # On a GPU the files lie beside the folder and are named after the base.
        place = Path(folder + ("_gguf" if self.on_gpu else ""))
        place.mkdir()
        (place / "merged.safetensors").write_text("16 GB")
        if self.on_gpu:  # its converter is given a bare name
            Path("llama-3.1-8b.F16.gguf").write_text("16 GB")
        paths = []
        for level in quantization_method:
            path = place / f"llama-3.1-8b.{level.upper()}.gguf"
            write_gguf(path, self.claims or level)
            paths.append(str(path))
        if self.fails:
            raise self.fails
        return {"gguf_files": paths} if self.on_gpu else paths


@pytest.fixture
def toolchain(tmp_path):
    folder = tmp_path / "llama.cpp"
    folder.mkdir()
    for name in ("convert_hf_to_gguf.py", "llama-quantize"):
        (folder / name).touch()
    return folder


@pytest.fixture
def export(tmp_path, toolchain):
    def run(model, levels=("q8_0",), name="runs/gguf", **options):
        options = {"toolchain": toolchain, "architecture": SMOLLM2, **options}
        return export_gguf(model, "tokenizer", tmp_path / name, levels, **options)

    return run


def left_in(folder):
    if not folder.exists():
        return []
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("on_gpu", [False, True], ids=["cpu", "gpu"])
def test_files_lie_together_under_the_names_of_their_levels(
    export, tmp_path, monkeypatch, on_gpu
):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    model = FakeModel(on_gpu=on_gpu)
    found = export(model, ("f16", "q4_k_m"))
    folder = tmp_path / "runs" / "gguf"
    assert found == {"f16": folder / "f16.gguf", "q4_k_m": folder / "q4_k_m.gguf"}
    assert left_in(folder) == ["f16.gguf", "q4_k_m.gguf", places.STAMP]
    assert left_in(folder.parent) == ["gguf"] and places.is_whole(folder)
    assert Path.cwd() == tmp_path / "notebooks" and left_in(Path.cwd()) == []
    assert model.asked == ("tokenizer", ["f16", "q4_k_m"])


@pytest.mark.parametrize("levels", [("q4_k",), ("Q8_0",), ("q8_0", "int4"), ()])
def test_a_wrong_quantization_name_is_refused_before_the_merge(export, levels):
    model = FakeModel()
    with pytest.raises(ExportProblem, match=r"Quantization .* expected some of f32"):
        export(model, levels)
    assert model.asked is None


def test_an_existing_target_is_left_as_it_is(export, tmp_path):
    kept = tmp_path / "runs" / "gguf" / "q8_0.gguf"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    model = FakeModel()
    with pytest.raises(ExportProblem, match=r"gguf/ exists .* q8_0\.gguf; nothing is"):
        export(model)
    assert kept.read_text() == "mine" and model.asked is None


@pytest.mark.parametrize("fails", [None, RuntimeError("killed")])
def test_an_old_export_is_kept_until_the_new_one_is_whole(export, tmp_path, fails):
    folder = tmp_path / "runs" / "gguf"
    export(FakeModel(), ("f16",))
    (folder / "Modelfile").write_text("mine")
    if fails:
        with pytest.raises(ExportProblem, match="killed"):
            export(FakeModel(fails=fails), replace=True)
        assert left_in(folder) == ["Modelfile", "f16.gguf", places.STAMP]
    else:
        export(FakeModel(), replace=True)
        assert left_in(folder) == ["q8_0.gguf", places.STAMP]
    assert left_in(folder.parent) == ["gguf"]


KILLED = """
import subprocess, sys, time
from pathlib import Path
from course_utils.gguf import export
from course_utils.model.architectures import load_architectures
class Model:
    def save_pretrained_gguf(self, folder, tokenizer, quantization_method):
        Path("half.gguf").write_text("16 GB")
        work = "import time; print('at work', flush=True); time.sleep(60); print('end')"
        subprocess.Popen([sys.executable, "-c", work])
        time.sleep(600)
export.export_gguf(
    Model(), "tokenizer", Path(sys.argv[1]), ["q8_0"],
    architecture=load_architectures()["smollm2-135m"], toolchain=Path(sys.argv[2]),
)
"""


def test_what_a_killed_export_left_is_ended_and_removed(export, tmp_path, toolchain):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "runs/gguf"), toolchain]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=places.PROJECT_ROOT
    ) as process:
        assert process.stdout.readline() == "at work\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert len(left_in(tmp_path / "runs")) == 1
        export(FakeModel())
        assert left_in(tmp_path / "runs") == ["gguf"]
        assert process.stdout.read() == ""  # the converter is gone, and was not done


def test_a_full_disk_is_refused_before_anything_is_written(export, tmp_path):
    model = FakeModel()
    with pytest.raises(ExportProblem, match=r"0\.1 GB of disk are free, .* 0\.7 GB"):
        export(model, free_bytes=1e8)
    assert model.asked is None and left_in(tmp_path / "runs") == []


def test_a_missing_converter_is_named_with_the_way_to_get_it(export, toolchain):
    (toolchain / "convert_hf_to_gguf.py").unlink()
    with pytest.raises(ExportProblem, match=r"convert_hf_to_gguf\.py not .*make setup"):
        export(FakeModel())
    shutil.rmtree(toolchain)
    with pytest.raises(ExportProblem, match="llama-quantize not found"):
        export(FakeModel())


CONVERTER = """Unsloth: Failed to convert model to GGUF with command `python convert`
--- converter stderr ---
INFO: Writing the following files
Traceback (most recent call last):
OSError: 6291456 requested and 4873248 written

Writing:   0%|          | 0.00/6.44M
"""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device"), r"no space left on the disk \(\d+ MB"),
        (RuntimeError(CONVERTER), r"no space .*OSError: 6291456 requested and 4873248"),
        (RuntimeError("killed"), "behind: killed$"),
        (MemoryError(), "behind: MemoryError$"),
    ],
)
def test_an_export_that_breaks_off_leaves_nothing_behind(export, tmp_path, error, told):
    with pytest.raises(ExportProblem, match="left nothing behind") as caught:
        export(FakeModel(fails=error))
    caught.match(told)
    assert caught.value.__cause__ is error and "Traceback" not in str(caught.value)
    assert left_in(tmp_path / "runs") == []


def test_an_interrupted_export_leaves_nothing_behind_either(export, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        export(FakeModel(fails=KeyboardInterrupt()))
    assert left_in(tmp_path / "runs") == []


def test_a_file_of_another_level_than_asked_is_not_kept(export, tmp_path):
    with pytest.raises(ExportProblem, match="MOSTLY_F16, not q8_0"):
        export(FakeModel(claims="f16"))
    assert left_in(tmp_path / "runs") == []


def test_a_level_that_unsloth_did_not_write_is_an_error(export, tmp_path):
    class Forgetful(FakeModel):
        def save_pretrained_gguf(self, *arguments, **options):
            return super().save_pretrained_gguf(*arguments, **options)[:1]

    with pytest.raises(ExportProblem, match="no file of q4_k_m among"):
        export(Forgetful(), ("q8_0", "q4_k_m"))
    assert left_in(tmp_path / "runs") == []


def test_the_disk_is_reckoned_with_staging_and_every_file():
    q8_0, q4_k_m = (
        bytes_and_bits(predicted_tensors(SMOLLM2, level))[0] + 20_000_000
        for level in ("q8_0", "q4_k_m")
    )
    assert needed_bytes(SMOLLM2, ["q8_0"]) == q8_0 + 4 * SMOLLM2.parameters
    # q4_k_m is made from a first file in 16 bits
    assert needed_bytes(SMOLLM2, ["q4_k_m"]) == q4_k_m + 6 * SMOLLM2.parameters
    both = needed_bytes(SMOLLM2, ["q8_0", "q4_k_m"])
    assert both == q8_0 + q4_k_m + 6 * SMOLLM2.parameters


COLAB_MEMORY = 12.7 * 2**30


def test_on_colab_the_16_bit_file_of_an_8b_model_is_left_out():
    fits = levels_that_fit(LLAMA_8B, free_bytes=70e9, memory_bytes=COLAB_MEMORY)
    assert fits["q8_0"] == fits["q4_k_m"] == ""
    assert fits["f16"] == "16.1 GB would not fit into memory"


def test_on_a_tight_disk_the_level_that_is_made_in_one_pass_is_kept():
    fits = levels_that_fit(LLAMA_8B, free_bytes=46e9, memory_bytes=COLAB_MEMORY)
    assert fits["q8_0"] == ""
    assert fits["q4_k_m"] == "62 GB of disk needed with the others, 46 free"


def test_where_nothing_fits_the_smallest_need_is_told():
    with pytest.raises(
        ExportProblem, match=r"20 GB of disk .* free, where q8_0 needs 41 and 11 GB"
    ):
        levels_that_fit(LLAMA_8B, free_bytes=20e9, memory_bytes=COLAB_MEMORY)


def test_a_fifth_of_the_free_memory_is_left_to_everything_but_the_weights():
    f16 = bytes_and_bits(predicted_tensors(SMOLLM2, "f16"))[0]
    for memory, reason in ((1.3 * f16, ""), (1.2 * f16, "0.3 GB would not fit into")):
        found = levels_that_fit(SMOLLM2, free_bytes=5e9, memory_bytes=memory)
        assert found["f16"].startswith(reason) and bool(found["f16"]) == bool(reason)


def test_a_small_model_is_exported_at_every_level():
    fits = levels_that_fit(SMOLLM2, free_bytes=5e9, memory_bytes=8e9)
    assert fits == {"f16": "", "q8_0": "", "q4_k_m": ""}


# Lesson 07 makes one more level; and what is free is measured where nobody says it.
def test_other_levels_can_be_asked_for_and_what_is_free_is_measured(monkeypatch):
    free = SimpleNamespace(free=5e9, available=8e9)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: free)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    assert levels_that_fit(SMOLLM2, ["q5_k_m"]) == {"q5_k_m": ""}
    free.available = 1e6
    with pytest.raises(ExportProblem, match="No level fits"):
        levels_that_fit(SMOLLM2, ["q5_k_m"])

import shutil
from pathlib import Path

import gguf
import pytest

from course_utils.architectures import load_architectures
from course_utils.export import (
    ExportProblem,
    export_gguf,
    levels_that_fit,
    needed_bytes,
)
from course_utils.gguf_file import LEVELS, bytes_and_bits, predicted_tensors

SMOLLM2 = load_architectures()["smollm2-135m"]
LLAMA_8B = load_architectures()["llama-3.1-8b"]


def write_gguf(path, level):
    """The smallest file that says it is of a level."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(gguf.LlamaFileType[LEVELS[level].file_type])
    writer.add_token_list(["a", "b"])
    writer.add_eos_token_id(1)
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
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("on_gpu", [False, True], ids=["cpu", "gpu"])
def test_files_lie_together_under_the_names_of_their_levels(export, tmp_path, on_gpu):
    model = FakeModel(on_gpu=on_gpu)
    found = export(model, ("f16", "q4_k_m"))
    folder = tmp_path / "runs" / "gguf"
    assert found == {"f16": folder / "f16.gguf", "q4_k_m": folder / "q4_k_m.gguf"}
    assert left_in(folder) == ["f16.gguf", "q4_k_m.gguf"]  # no merged weights
    assert left_in(folder.parent) == ["gguf"]  # and nothing beside it
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


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("killed")]
)
def test_an_export_that_breaks_off_leaves_nothing_behind(export, tmp_path, error):
    with pytest.raises(ExportProblem, match="left nothing behind") as caught:
        export(FakeModel(fails=error))
    assert str(error) in str(caught.value) and caught.value.__cause__ is error
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
        ExportProblem, match=r"20 GB of disk .* q8_0 needs 41 and 11 GB"
    ):
        levels_that_fit(LLAMA_8B, free_bytes=20e9, memory_bytes=COLAB_MEMORY)


def test_a_small_model_is_exported_at_every_level():
    fits = levels_that_fit(SMOLLM2, free_bytes=5e9, memory_bytes=8e9)
    assert fits == {"f16": "", "q8_0": "", "q4_k_m": ""}

import types

import pytest
import torch

from course_utils.machine import doctor as doctor_module
from course_utils.machine import profile as profile_module
from course_utils.machine.doctor import (
    ALL_LIBRARIES,
    check_machine,
    pinned_versions,
    refuse_unsupported,
    version_warnings,
)
from course_utils.machine.profile import Gpu, Profile, UnsupportedMachine, torch_drives
from course_utils.places import UnusableFolder

T4 = Gpu("Tesla T4", (7, 5), 14.74)
P100 = Gpu("Tesla P100-PCIE-16GB", (6, 0), 15.9)
H100 = Gpu("NVIDIA H100", (9, 0), 79.6)


def on(gpu: Gpu) -> Profile:
    return Profile("t4", "cuda", None, gpu)


def test_a_machine_without_gpu_is_a_cpu_profile(monkeypatch):
    monkeypatch.setattr(profile_module, "find_gpu", lambda: None)
    found = Profile.detect({})
    assert (found.name, found.device, found.compute_dtype) == (
        "cpu",
        "cpu",
        torch.float32,
    )


def test_a_gpu_makes_the_t4_profile_and_the_environment_overrides_it(monkeypatch):
    monkeypatch.setattr(profile_module, "find_gpu", lambda: T4)
    assert Profile.detect({}).name == "t4"
    chosen = Profile.detect({"COURSE_PROFILE": "nano", "COURSE_MODEL": "org/model"})
    assert (chosen.name, chosen.device, chosen.model_override) == (
        "nano",
        "cpu",
        "org/model",
    )
    assert chosen.gpu is None


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(
        UnsupportedMachine, match="'gpu'; expected one of nano, cpu, t4"
    ):
        Profile.detect({"COURSE_PROFILE": "gpu"})


def test_the_t4_profile_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(profile_module, "find_gpu", lambda: None)
    with pytest.raises(UnsupportedMachine, match="Change runtime type"):
        Profile.detect({"COURSE_PROFILE": "t4"})


def test_a_t4_computes_in_fp16_and_an_h100_in_bf16():
    assert on(T4).compute_dtype == torch.float16
    assert on(H100).compute_dtype == torch.bfloat16
    assert not on(T4).supports_bf16


def test_a_p100_is_refused_for_its_capability():
    with pytest.raises(
        UnsupportedMachine, match=r"6\.0.*asks for 7\.0.*COURSE_PROFILE=cpu"
    ):
        refuse_unsupported(on(P100))


def test_a_gpu_that_this_torch_cannot_drive_is_refused():
    undriven = Gpu("NVIDIA B300", (10, 3), 270.0, driven_by_this_torch=False)
    with pytest.raises(UnsupportedMachine, match="carries no code for NVIDIA B300"):
        refuse_unsupported(on(undriven))


@pytest.mark.parametrize(
    ("capability", "architectures", "driven"),
    [
        ((7, 5), ["sm_75", "sm_80", "sm_90"], True),
        ((8, 6), ["sm_75", "sm_80"], True),  # same major version, newer minor
        ((6, 0), ["sm_75", "sm_80"], False),
        ((12, 0), ["sm_75", "sm_90"], False),
        ((12, 0), ["sm_90", "compute_90"], True),  # PTX is compiled on loading
        ((10, 0), ["sm_75", "sm_100"], True),
    ],
)
def test_torch_drives_what_its_architectures_cover(capability, architectures, driven):
    assert torch_drives(capability, architectures) is driven


# memory and disk


def write_limit(folder, monkeypatch, said, held=""):
    path = folder / "memory.max"
    path.write_text(said)
    counts = folder / "memory.stat"
    counts.write_text(held)
    monkeypatch.setattr(profile_module, "CONTAINER_LIMITS", (path, folder / "none"))
    monkeypatch.setattr(profile_module, "CONTAINER_COUNTS", {counts: "anon"})


@pytest.fixture
def process(monkeypatch):
    """A process of 1 GiB on a machine with so much available."""

    def settle(available_gib):
        memory = types.SimpleNamespace(
            available=available_gib * 2**30, total=64 * 2**30
        )
        own = types.SimpleNamespace(
            memory_info=lambda: types.SimpleNamespace(rss=2**30)
        )
        monkeypatch.setattr(profile_module.psutil, "virtual_memory", lambda: memory)
        monkeypatch.setattr(profile_module.psutil, "Process", lambda: own)

    return settle


def test_a_container_has_the_memory_that_its_limit_allows(
    tmp_path, monkeypatch, process
):
    process(60)
    held = f"anon {5 * 2**29}\nfile {2**40}\n"  # files are kept for reuse only
    write_limit(tmp_path, monkeypatch, f"{3 * 2**30}\n", held)
    cpu = Profile("cpu", "cpu")
    assert cpu.memory_gib == 3.0 and cpu.free_gib == 3 - 2.5 + 1
    told = r"1\.5 GiB of 3\.0 GiB of memory are free.*needs 2\.5.*COURSE_MODEL"
    with pytest.raises(UnsupportedMachine, match=told):
        refuse_unsupported(cpu)


# 64 GiB in all, and other programs hold nearly all of it.
@pytest.mark.parametrize(("available", "refused"), [(1, True), (2, False)])
def test_memory_is_judged_by_what_is_free(
    available, refused, tmp_path, monkeypatch, process
):
    process(available)
    write_limit(tmp_path, monkeypatch, "max")
    assert Profile("cpu", "cpu").free_gib == available + 1
    if refused:
        with pytest.raises(UnsupportedMachine, match=r"2\.0 GiB of 64\.0 GiB"):
            refuse_unsupported(Profile("cpu", "cpu"))
    else:
        refuse_unsupported(Profile("cpu", "cpu"))


def card_with(monkeypatch, free_gib, own_gib):
    cuda = profile_module.torch.cuda
    monkeypatch.setattr(cuda, "mem_get_info", lambda: (free_gib * 2**30, 16 * 2**30))
    monkeypatch.setattr(cuda, "memory_reserved", lambda: own_gib * 2**30)


# A set-up cell that is run again, its model loaded, is no reason to refuse the card.
def test_a_cards_memory_that_this_process_holds_counts_as_free(monkeypatch):
    card_with(monkeypatch, free_gib=2, own_gib=6)
    assert on(T4).free_gib == 8
    refuse_unsupported(on(T4))
    card_with(monkeypatch, free_gib=14.6, own_gib=6)  # of a card held to a T4's
    assert on(T4).free_gib == 14.74


def test_another_notebooks_kernel_on_the_card_is_named(monkeypatch):
    card_with(monkeypatch, free_gib=1.5, own_gib=0)
    with pytest.raises(UnsupportedMachine, match=r"1\.5 GiB.*kernels of other notebo"):
        refuse_unsupported(on(T4))


@pytest.mark.parametrize(
    ("free", "model", "warned"),
    [(7.6, None, True), (7.6, "a/small-one", False), (14.5, None, False)],
)
def test_a_card_too_small_for_an_8b_runs_the_quickstart_and_is_told(
    free, model, warned, monkeypatch, capsys
):
    card_with(monkeypatch, free_gib=free, own_gib=0)
    found = Profile("t4", "cuda", model, T4)
    monkeypatch.setattr(Profile, "detect", classmethod(lambda cls: found))
    check_machine()
    printed = capsys.readouterr().out
    assert f"memory     {free} of 14.7 GiB free" in printed
    assert ("7 or 8B takes up to 9 GiB" in printed) is warned


# Kaggle gives 19.5 GiB to results; no lesson but the export of an 8B needs 20, and that
# one asks for itself.
@pytest.mark.parametrize(("free", "refused"), [(19.5, False), (7.5, True)])
def test_kaggles_disk_is_enough(free, refused, two_disks, monkeypatch):
    card_with(monkeypatch, free_gib=14.5, own_gib=0)
    disks(monkeypatch, runs=free, cache=free)
    if refused:
        with pytest.raises(UnsupportedMachine, match=r"'t4' needs 8\.0 GiB there"):
            refuse_unsupported(on(T4))
    else:
        refuse_unsupported(on(T4))


@pytest.mark.parametrize("unlimited", ["max", "9223372036854771712"])  # v2, v1
def test_a_container_without_a_limit_has_the_machines_memory(
    unlimited, tmp_path, monkeypatch
):
    write_limit(tmp_path, monkeypatch, unlimited)
    total = profile_module.psutil.virtual_memory().total
    assert Profile("cpu", "cpu").memory_gib == total / 2**30


def disks(monkeypatch, **free_gib):
    """A disk of its own for each variable's folder, with so much free."""

    def usage(place):
        name = next(name for name in free_gib if f"/{name}" in str(place))
        return types.SimpleNamespace(free=free_gib[name] * 2**30)

    monkeypatch.setattr(doctor_module.shutil, "disk_usage", usage)


@pytest.fixture
def two_disks(tmp_path, monkeypatch):
    for name in ("runs", "cache"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"COURSE_{name.upper()}", str(tmp_path / name / "new"))
    return tmp_path


@pytest.mark.parametrize(
    ("runs", "cache", "told"),
    [
        (1.4, 50, r"1\.4 GiB .*needs 2\.0 GiB there.*COURSE_RUNS"),
        (50, 0.4, r"0\.4 GiB .*needs 1\.0 GiB there.*COURSE_CACHE"),
    ],
)
def test_a_full_disk_is_refused_with_a_way_out(
    runs, cache, told, two_disks, monkeypatch
):
    disks(monkeypatch, runs=runs, cache=cache)
    with pytest.raises(UnsupportedMachine, match=told):
        refuse_unsupported(Profile("cpu", "cpu"))


def test_a_cache_that_holds_its_models_needs_no_room_for_them(two_disks, monkeypatch):
    disks(monkeypatch, runs=50, cache=0.5)
    weights = two_disks / "cache" / "new" / "smollm2" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    with weights.open("wb") as stream:
        stream.truncate(2**29)  # sparse: half a GiB that takes no room
    refuse_unsupported(Profile("cpu", "cpu"))


@pytest.mark.parametrize("variable", ["COURSE_RUNS", "COURSE_CACHE"])
@pytest.mark.parametrize("kind", ["file", "below a file", "dangling link"])
def test_a_place_that_is_no_folder_is_named(kind, variable, tmp_path, monkeypatch):
    place = tmp_path / "place"
    if kind == "dangling link":
        place.symlink_to(tmp_path / "gone")
    else:
        place.write_text("a file")
    monkeypatch.setenv(variable, str(place / "x" if kind == "below a file" else place))
    if kind == "dangling link":
        monkeypatch.setattr(doctor_module, "runs_folder", lambda: place)
        monkeypatch.setattr(doctor_module, "cache_folder", lambda: place)
        variable = "COURSE_RUNS"
    with pytest.raises(UnusableFolder, match=f"place is no folder. Point {variable}"):
        refuse_unsupported(Profile("nano", "cpu"))


def test_a_read_only_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_module.os, "access", lambda *_: False)
    with pytest.raises(UnusableFolder, match="is on a read-only disk"):
        refuse_unsupported(Profile("nano", "cpu"))


# versions


def test_versions_outside_the_tested_set_are_a_warning():
    assert version_warnings(pinned_versions()) == []
    warnings = version_warnings({**pinned_versions(), "trl": "0.22.2"})
    assert len(warnings) == 1 and "tested with 0.22.2" in warnings[0]


@pytest.mark.parametrize("missing", [*ALL_LIBRARIES])
def test_a_missing_library_is_a_warning(missing, monkeypatch, capsys):
    def version(name):
        if name == missing:
            raise doctor_module.metadata.PackageNotFoundError(name)
        return pinned_versions()[name]

    monkeypatch.setattr(doctor_module.metadata, "version", version)
    monkeypatch.setenv("COURSE_PROFILE", "nano")
    check_machine()
    assert f"warning    {missing} is missing, tested with" in capsys.readouterr().out


def test_the_doctor_prints_the_machine(capsys, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "nano")
    returned = check_machine()
    printed = capsys.readouterr().out
    assert returned.name == "nano"
    for word in ("profile", "device", "memory", "precision  float32", "unsloth"):
        assert word in printed

import pytest
import torch

from course_utils import profile as profile_module
from course_utils.doctor import (
    doctor,
    pinned_versions,
    refuse_unsupported,
    version_warnings,
)
from course_utils.profile import Gpu, Profile, UnsupportedMachine, torch_drives

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
        UnsupportedMachine, match=r"6\.0.*need 7\.0.*COURSE_PROFILE=cpu"
    ):
        refuse_unsupported(on(P100), memory_gib=16, disk_gib=100)


def test_bf16_on_a_t4_is_refused_and_on_an_h100_is_not():
    with pytest.raises(UnsupportedMachine, match=r"bf16 .* Tesla T4.*fp16"):
        refuse_unsupported(on(T4), bf16=True, memory_gib=14.7, disk_gib=100)
    refuse_unsupported(on(H100), bf16=True, memory_gib=79, disk_gib=100)


def test_a_gpu_that_this_torch_cannot_drive_is_refused():
    undriven = Gpu("NVIDIA B300", (10, 3), 270.0, driven_by_this_torch=False)
    with pytest.raises(UnsupportedMachine, match="carries no code for NVIDIA B300"):
        refuse_unsupported(on(undriven), disk_gib=100)


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


def test_too_little_memory_or_disk_is_refused_with_a_way_out():
    cpu = Profile("cpu", "cpu")
    with pytest.raises(UnsupportedMachine, match=r"3\.0 GiB of memory.*COURSE_MODEL"):
        refuse_unsupported(cpu, memory_gib=3.0, disk_gib=100)
    with pytest.raises(UnsupportedMachine, match=r"0\.4 GiB of disk.*COURSE_RUNS"):
        refuse_unsupported(cpu, memory_gib=16.0, disk_gib=0.4)


def test_versions_outside_the_tested_set_are_a_warning():
    assert version_warnings(pinned_versions()) == []
    warnings = version_warnings({**pinned_versions(), "trl": "0.22.2"})
    assert len(warnings) == 1 and "tested with 0.22.2" in warnings[0]


def test_the_doctor_prints_the_machine(capsys):
    returned = doctor(Profile("nano", "cpu"))
    printed = capsys.readouterr().out
    assert returned.name == "nano"
    for word in ("profile", "device", "memory", "precision  float32", "unsloth"):
        assert word in printed

import os
import subprocess
import sys
from pathlib import Path

import install
import pytest
import try_on_colab

ROOT = Path(__file__).parent.parent
REQUIREMENTS = """# heading
# [base]
torch>=2.8,<2.15   # comment
lm-eval[hf]>=0.4.13
# [no-deps] because
unsloth==2026.10.9
# [gpu] only there
xformers>=0.0.32
"""


def test_requirement_lines_are_read_by_section():
    assert install.read_sections(REQUIREMENTS) == {
        "base": ["torch>=2.8,<2.15", "lm-eval[hf]>=0.4.13"],
        "no-deps": ["unsloth==2026.10.9"],
        "gpu": ["xformers>=0.0.32"],
    }


# Of what Colab holds: its page speaks to ipywidgets 7 only, google-colab asks for
# ipykernel 6.17.1, and a numpy that changes on the disk breaks the kernel that has
# loaded the other one.
KEPT_ON_COLAB = [
    "torch",
    "matplotlib",
    "ipywidgets",
    "ipykernel",
    "psutil",
    "protobuf",
    "pyyaml",
    "numpy",
    "pandas",
    "scipy",
    "statsmodels",
    "sentencepiece",
    "safetensors",
    "lark",
    "pydantic",
    "filelock",
]


@pytest.mark.parametrize("name", KEPT_ON_COLAB)
def test_colab_keeps_what_its_kernel_and_its_page_have_loaded(name):
    from packaging.requirements import Requirement

    lines = map(Requirement, install.requirements()["base"])
    [wanted] = [line for line in lines if line.name.lower() == name]
    there = try_on_colab.pins(try_on_colab.LISTED.read_text("utf-8"))
    assert wanted.specifier.contains(there[name])  # pip leaves it, unless a pin says no
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert name not in install.names_of(install.hosted_constraints(pins).splitlines())


def test_what_trains_is_of_the_tested_set_on_colab_too():
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    kept = install.names_of(install.hosted_constraints(pins).splitlines())
    assert kept == install.OF_THE_TESTED_SET
    lines = "torch==2.13.0\nlm_eval==0.4.13\nsix==1\n"
    assert install.hosted_constraints(lines) == "lm_eval==0.4.13\n"


# Kaggle's API key stands in the environment of anyone who downloads data from there.
@pytest.mark.parametrize(
    ("variable", "hosted"),
    [
        ("COLAB_RELEASE_TAG", True),
        ("KAGGLE_KERNEL_RUN_TYPE", True),
        ("KAGGLE_KEY", False),
    ],
)
def test_colab_and_kaggle_are_known_by_what_only_they_set(
    variable, hosted, monkeypatch
):
    for name in install.HOSTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "x")
    assert install.is_hosted() is hosted


# The first `python` of the path once got the whole set, torch included.
def test_the_systems_own_python_is_refused(monkeypatch, capsys):
    for name in (*install.HOSTS, "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(install.sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(install, "install", lambda *_, **__: pytest.fail("too late"))
    assert install.main(["--here"]) == 1
    told = capsys.readouterr().err
    assert "the system's Python" in told and "`make setup`" in told
    monkeypatch.setenv("CONDA_PREFIX", "/opt/conda")
    install.check_environment()


def test_the_lab_is_installed_with_the_pins_and_nothing_else_is(monkeypatch):
    asked = []
    monkeypatch.setattr(install, "run_pip", lambda python, *words: asked.append(words))
    monkeypatch.setattr(install.subprocess, "run", lambda *_, **__: None)
    assert install.main(["--lab"]) == 0
    [(_, pins, wanted)] = asked
    assert wanted.startswith("jupyterlab") and pins == str(ROOT / "constraints.txt")


def test_the_lab_stays_out_of_what_every_set_up_installs(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(install, "run_pip", lambda python, *words: asked.extend(words))
    monkeypatch.setattr(install, "ask", lambda python, code: str(tmp_path))
    install.install(tmp_path, hosted=False)
    assert "jupyterlab" not in install.names_of(asked) and asked


def test_an_old_python_is_refused_in_one_line():
    with pytest.raises(install.SetupProblem, match=r"3\.10 found, 3\.11 or newer") as e:
        install.check_python((3, 10))
    assert "\n" not in str(e.value)
    install.check_python((3, 11))


def test_a_missing_compiler_is_refused_and_any_of_three_will_do():
    with pytest.raises(install.SetupProblem, match=r"No C\+\+ compiler.*apt-get"):
        install.check_compiler(which=lambda name: None)
    install.check_compiler(which=lambda name: name == "clang++")


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(install.SetupProblem, match=r"1\.0 GiB free.*6 GiB needed"):
        install.check_disk(tmp_path, free_bytes=2**30)
    install.check_disk(tmp_path, free_bytes=2**33)


def test_an_old_torch_gets_the_xformers_that_fits_it():
    lines = ["xformers>=0.0.32", "triton"]
    fitting = ["xformers==0.0.33.post1", "triton"]
    assert install.gpu_requirements(lines, "2.9.1+cu128 12.8") == fitting
    assert install.gpu_requirements(lines, "2.13.0 13.0") == lines


# The installer's own torch was once asked, and a CPU torch got a Triton that TRL finds.
@pytest.mark.parametrize(
    ("torch", "driver", "extra"),
    [
        ("2.13.0 13.0", "/usr/bin/nvidia-smi", True),
        ("2.13.0+cpu", "/usr/bin/nvidia-smi", False),
        ("2.13.0 13.0", None, False),
    ],
)
def test_kernels_for_cuda_go_where_torch_and_driver_can_use_them(
    torch, driver, extra, monkeypatch, tmp_path
):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncase \"$2\" in *torch*) echo '{torch}';; esac\n")
    python.chmod(0o755)
    wanted = []
    monkeypatch.setattr(install, "run_pip", lambda python, *words: wanted.extend(words))
    monkeypatch.setattr(install.shutil, "which", lambda name: driver)
    install.install(python, hosted=True)
    assert any(word.startswith("triton") for word in wanted) is extra


def test_a_torch_that_cannot_be_imported_is_one_line(tmp_path):
    with pytest.raises(install.SetupProblem, match="failed: ZeroDivisionError"):
        install.ask(Path(sys.executable), "1 / 0")


# Killed while pip was put in, it had a python and was taken for whole at each try.
@pytest.mark.parametrize(("status", "made"), [(0, []), (1, ["cleared"])])
def test_an_environment_without_a_working_pip_is_made_anew(
    status, made, tmp_path, monkeypatch
):
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\nexit {status}\n")
    python.chmod(0o755)
    calls = []

    def create(folder, with_pip, clear):
        calls.append("cleared" if with_pip and clear else "kept")

    monkeypatch.setattr(install.venv, "create", create)
    assert install.make_venv(tmp_path / ".venv") == python
    assert calls == made


# A notebook's first cell looks for this file, and sets up again without it.
def test_the_stamp_is_written_by_an_install_that_came_to_its_end(monkeypatch, tmp_path):
    def fail(python, *, hosted):
        raise install.SetupProblem("pip ended with status 1")

    monkeypatch.setattr(install, "STAMP", tmp_path / ".installed")
    for name in ("check_disk", "check_compiler"):
        monkeypatch.setattr(install, name, lambda *folder: None)
    monkeypatch.setattr(install, "install", fail)
    assert install.main(["--here"]) == 1 and not install.STAMP.exists()
    monkeypatch.setattr(install, "install", lambda python, *, hosted: None)
    assert install.main(["--here"]) == 0 and install.STAMP.exists()


def test_a_problem_ends_set_up_with_one_line_and_status_one(monkeypatch, capsys):
    def refuse():
        raise install.SetupProblem("no compiler")

    monkeypatch.setattr(install, "check_compiler", refuse)
    monkeypatch.setattr(install, "make_venv", lambda folder: pytest.fail("too late"))
    assert install.main([]) == 1
    assert capsys.readouterr().err == "set-up: no compiler\n"


def test_every_direct_dependency_is_pinned_and_inside_its_range():
    from packaging.requirements import Requirement

    sections = install.read_sections(
        (ROOT / "requirements.txt").read_text(encoding="utf-8")
    )
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    for section in ("base", "no-deps", "develop", "lab"):
        for line in sections[section]:
            wanted = Requirement(line)
            version = pins[wanted.name.lower().replace("_", "-")]
            assert wanted.specifier.contains(version), f"{line} against {version}"


# torch was removed and the stamp stayed: make then ran into a ModuleNotFoundError.
@pytest.mark.parametrize(("needed", "kept"), [("pytest", True), ("no_such", False)])
def test_make_fills_an_environment_again_that_lost_a_package(needed, kept, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".ready").touch()
    command = ["make", f"VENV={tmp_path}", f"NEEDED={needed}", "help"]
    environment = {**os.environ, "PYTHONPATH": str(Path(pytest.__file__).parent.parent)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert (tmp_path / ".ready").exists() is kept


def test_no_requirement_spells_out_an_address():
    for name in ("requirements.txt", "constraints.txt", "environment.yml"):
        assert "://" not in (ROOT / name).read_text(encoding="utf-8")


def test_conda_users_get_the_same_set():
    environment = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert "tools/install.py --here" in environment  # the same pins, the same steps
    assert "python=3.11" in environment and "cxx-compiler" in environment

from pathlib import Path

import install
import pytest

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


def test_colab_keeps_its_torch_and_gets_our_other_pins():
    direct = install.direct_names(install.read_sections(REQUIREMENTS))
    kept = install.colab_constraints("torch==2.13.0\nlm_eval==0.4.13\nsix==1\n", direct)
    assert kept == "lm_eval==0.4.13\n"


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
    assert install.gpu_requirements(["xformers>=0.0.32", "triton"], "2.9.1+cu128") == [
        "xformers==0.0.33.post1",
        "triton",
    ]
    assert install.gpu_requirements(["xformers>=0.0.32"], "2.13.0") == [
        "xformers>=0.0.32"
    ]


def test_a_problem_ends_set_up_with_one_line_and_status_one(monkeypatch, capsys):
    def refuse():
        raise install.SetupProblem("no compiler")

    monkeypatch.setattr(install, "check_compiler", refuse)
    monkeypatch.setattr(install, "make_venv", lambda folder: pytest.fail("too late"))
    assert install.main([]) == 1
    assert capsys.readouterr().err == "set-up stopped: no compiler\n"


ROOT = Path(__file__).parent.parent


def test_every_direct_dependency_is_pinned_and_inside_its_range():
    from packaging.requirements import Requirement

    sections = install.read_sections((ROOT / "requirements.txt").read_text())
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    for section in ("base", "no-deps", "develop"):
        for line in sections[section]:
            wanted = Requirement(line)
            version = pins[wanted.name.lower().replace("_", "-")]
            assert wanted.specifier.contains(version), f"{line} against {version}"


def test_no_requirement_spells_out_an_address():
    for name in ("requirements.txt", "constraints.txt", "environment.yml"):
        assert "://" not in (ROOT / name).read_text()


def test_conda_users_get_the_same_set():
    environment = (ROOT / "environment.yml").read_text()
    assert "tools/install.py --here" in environment  # the same pins, the same steps
    assert "python=3.11" in environment and "cxx-compiler" in environment

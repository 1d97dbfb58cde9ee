"""Rows of one's own, trained on the nano model."""

import pytest

from course_utils.machine.profile import Gpu, Profile
from course_utils.model.nano import nano_model_path
from course_utils.places import run_folder
from course_utils.projects.own.file import SAMPLE, read_source
from course_utils.projects.own.recipe import OwnProject
from course_utils.recipes.book import recipe_to_export
from course_utils.training.adapter import OtherAdapter, get_adapter


def made_of(path, profile):
    return get_adapter(OwnProject(read_source(path), profile).recipe, profile)


def test_own_rows_get_an_adapter_of_their_own_and_other_rows_do_not_take_it(
    profile, tmp_path, capsys
):
    rows = SAMPLE.with_name("tickets.csv").read_text(encoding="utf-8-sig")
    path = tmp_path / "mine.csv"
    path.write_text(rows)
    first = made_of(path, profile)
    assert first.folder == run_folder("mine", profile) and first.run.updates == 4
    assert "training it now" in capsys.readouterr().out
    assert made_of(path, profile).run == first.run
    assert "training it now" not in capsys.readouterr().out
    path.write_text("\n".join([*rows.splitlines()[:-5], "a,b"]))
    with pytest.raises(OtherAdapter, match="training rows"):
        made_of(path, profile)


def test_rows_that_are_too_long_are_left_out_of_training(profile, tmp_path):
    lines = [f"Message {at},{'word ' * (600 if at == 3 else 3)}" for at in range(12)]
    path = tmp_path / "long.csv"
    path.write_text("\n".join(["prompt,completion", *lines]))
    (recipe := tmp_path / "long.yaml").write_text(
        "data: long.csv\nmax_length: 64\nmax_steps: 1\nheld_out: 2"
    )
    made = made_of(recipe, profile)
    assert made.run.updates == 1 and made.run.rows in (9, 10)


def test_a_model_is_a_folder_beside_the_recipe_and_is_kept_on_every_machine(tmp_path):
    nano_model_path(tmp_path / "mine")
    path = tmp_path / "tickets.yaml"
    path.write_text(f"data: {SAMPLE.with_name('tickets.csv')}\nmodel: mine")
    own = OwnProject(read_source(path), Profile("cpu", "cpu"))
    for name in ("cpu", "t4"):
        assert own.recipe.plan_for(name).model.name == str(tmp_path / "mine")
    assert own.recipe.plan_for("nano").model.name == "nano"
    assert own.recipe.plan_for("t4").load_in_4bit  # of an unknown size
    assert own.architecture and own.architecture.hidden_size == 64
    card = Gpu("Tesla T4", (7, 5), 14.7)
    assert recipe_to_export(own.recipe, Profile("t4", "cuda", gpu=card)) is own.recipe

"""A recipe of one's own: its file, what rows and machine decide, and the report."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from course_utils import CourseError
from course_utils.data.datasets import load_rows
from course_utils.data.files import FaultyData
from course_utils.machine.profile import Gpu, Profile
from course_utils.memory.planner import MemoryPlan
from course_utils.model.architectures import load_architectures
from course_utils.model.generation import Generated
from course_utils.places import PROJECT_ROOT
from course_utils.projects.own import planning
from course_utils.projects.own.command import asked
from course_utils.projects.own.file import (
    SAMPLE,
    WrongRecipe,
    own_source,
    read_source,
    safe_name,
)
from course_utils.projects.own.recipe import OwnProject, TooFewRows
from course_utils.projects.own.report import report_on
from course_utils.projects.project import chosen_project, project_of
from course_utils.recipes.book import RECIPES
from course_utils.recipes.plan import Plan
from course_utils.stress.rates import met_by_part
from course_utils.stress.trials import judge_all

CPU, NANO = Profile("cpu", "cpu"), Profile("nano", "cpu")
FIELDS = set(Plan.__dataclass_fields__)


def rows_of(number, answer="Team: repairs | Order: {}"):
    return [(f"Message {at}: it leaks.", answer.format(at)) for at in range(number)]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes rows.csv and a recipe of some lines beside it; gives the recipe's path."""
    monkeypatch.chdir(tmp_path)

    def written(*lines, rows=None, name="tickets.yaml"):
        with (tmp_path / "rows.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerows([("prompt", "completion"), *(rows or rows_of(40))])
        path = tmp_path / name
        path.write_text("\n".join(["data: rows.csv", *lines]))
        return path

    return written


def settings_of(own, profile="cpu"):
    rows = own.recipe.comparison(profile)
    return {name: (here, reason) for name, _, here, reason in rows}


def test_data_alone_is_enough_and_every_other_number_has_its_reason(write):
    own = OwnProject(read_source(write()), CPU)
    assert own.recipe.name == "tickets" and own.recipe.title == "Own rows: rows.csv"
    found = settings_of(own)
    assert set(found) == FIELDS
    assert all(len(reason) > 5 for _, reason in found.values())
    assert found["dataset"][0] == "rows.csv"  # no path of this machine
    assert (len(own.training), len(own.held_out)) == (32, 8)  # a fifth


def test_what_the_file_says_is_never_changed_and_named_as_yours(write):
    lines = ("rank: 8", "learning_rate: 2e-4", "max_steps: 7", "held_out: 5")
    own = OwnProject(read_source(write(*lines, "title: Mine")), CPU)
    found = settings_of(own)
    for name, value in {
        "rank": "8",
        "learning_rate": "0.0002",
        "max_steps": "7",
    }.items():
        assert found[name] == (value, "set in your recipe")
    assert found["alpha"][0] == "8" and own.recipe.title == "Mine"
    assert len(own.held_out) == 5 and "yours" not in found["batch_size"][1]


def test_the_longest_row_sets_max_length_and_the_rows_set_the_updates(write):
    own = OwnProject(read_source(write()), CPU)
    longest, found = max(own.lengths), settings_of(own)
    assert int(found["max_length"][0]) == -(-longest // 64) * 64
    assert f"the longest of 32 rows has {longest}" in found["max_length"][1]
    assert found["epochs"] == ("2.0", "2 passes over 32 rows: 16 updates")
    assert found["warmup_steps"][0] == "1"  # a tenth of 16, at least one


def test_many_rows_are_cut_to_some_minutes_by_the_stated_speed(write):
    own = OwnProject(read_source(write(rows=rows_of(1500))), CPU)
    plan, mean = own.recipe.plan_for("cpu"), sum(own.lengths) / len(own.lengths)
    # 4 minutes at 1.8e10 parameters x tokens a second, 4 rows an update.
    assert plan.max_steps == int(240 * 1.8e10 / 134_515_008 / (4 * mean))
    reason = settings_of(own)["max_steps"][1]
    assert "4 minutes by estimate; 2 passes over 1460 rows take 730" in reason
    assert report_on(own).cost.minutes == pytest.approx(4, abs=0.6)


def test_rows_that_are_too_long_are_left_out_and_counted(write):
    rows = [*rows_of(40), *((f"{at} " + "very " * 1500, "Team: x") for at in range(10))]
    own = OwnProject(read_source(write(rows=rows)), CPU)
    longer = sum(length > 1024 for length in own.lengths)
    assert 0 < longer < 10
    value, reason = settings_of(own)["max_length"]
    assert value == "1024" and f"{longer} of 40 rows are longer" in reason
    report = report_on(own)
    assert report.too_long == longer and "Raise max_length" in str(report.warnings)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "learning_rat: 1",
            r"line 2, .*'learning_rat'.*(?s:.*)meant to be learning_rate",
        ),
        ("rank: many", r"line 2, rank: found 'many'"),
        ("epochs: -1", "line 2, epochs"),
        ("train: yes: no", "line 2, line"),
        ("data: other.csv", "the key 'data' twice"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_line_and_the_keys_there_are(
    write, line, told
):
    with pytest.raises(FaultyData, match=told):
        read_source(write(line))


def test_a_recipe_without_data_says_which_keys_there_are(tmp_path):
    (path := tmp_path / "empty.yaml").write_text("title: nothing")
    with pytest.raises(FaultyData, match=r"the key data(?s:.*)only `data` is needed"):
        read_source(path)


@pytest.mark.parametrize("key", ["data", "stress", "held_out"])
def test_a_missing_file_is_named_with_those_that_are_there(write, key):
    path, line = write(), f"{key}: nowhere.csv"
    path.write_text(line if key == "data" else f"data: rows.csv\n{line}")
    with pytest.raises(WrongRecipe, match=r"no such file.*rows\.csv, tickets\.yaml"):
        own = OwnProject(read_source(path), CPU)
        assert own.recipe and own.source.stress_prompts


def test_a_recipe_that_is_not_there_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(WrongRecipe, match="absolute path"):
        own_source({"COURSE_RECIPE": "recpie.yaml"})


def test_too_few_rows_are_refused_before_a_model_is_loaded(write):
    own = OwnProject(read_source(write(rows=rows_of(5))), CPU)
    with pytest.raises(TooFewRows, match=r"5 usable rows in rows\.csv.*at least 8"):
        _ = own.recipe


def test_course_recipe_takes_a_recipe_rows_or_the_name_of_a_project(write):
    path = write()
    for name in RECIPES:
        assert own_source({"COURSE_RECIPE": name}) is None
    assert own_source({}) is None and own_source({"COURSE_RECIPE": "infra"}) is None
    assert own_source({"COURSE_RECIPE": str(path)}).name == "tickets"
    assert own_source({"COURSE_RECIPE": "rows.csv"}).name == "rows"
    assert own_source({"COURSE_RECIPE": "org/set"}).data == "own:org/set"


def test_a_run_is_called_after_its_file_and_never_as_a_project_of_the_course():
    assert safe_name("my rows (2)") == "my-rows-2"
    assert safe_name("inframind") == "own-inframind"
    assert safe_name("../..") == "rows"


def test_a_file_of_held_out_rows_is_taken_and_its_requests_leave_training(write):
    path = write("held_out: later.jsonl")
    rows = [{"prompt": p, "completion": c} for p, c in rows_of(3)]
    text = "\n".join(map(json.dumps, rows))
    path.with_name("later.jsonl").write_text(text)
    own = OwnProject(read_source(path), CPU)
    assert (len(own.training), len(own.held_out)) == (37, 3)
    assert report_on(own).shared_requests == 0


def test_a_folder_with_a_validation_file_brings_its_own_split(tmp_path, write):
    write()
    for name, rows in {"train": rows_of(30), "validation": rows_of(9)[4:]}.items():
        lines = [json.dumps({"prompt": p, "completion": c}) for p, c in rows]
        (folder := tmp_path / "both").mkdir(exist_ok=True)
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    own = OwnProject(read_source(folder), CPU)
    assert (len(own.training), len(own.held_out)) == (25, 5)
    assert own.recipe.name == "both"


def test_a_plan_stays_the_same_when_its_file_is_moved(write, tmp_path, monkeypatch):
    facts = OwnProject(read_source(write()), NANO).recipe.plan_for("nano").facts()
    assert facts["dataset"]["name"] == "own:rows.csv"
    assert str(tmp_path) not in json.dumps(facts)


def test_the_rows_of_a_plan_are_those_of_its_recipe(write):
    own = OwnProject(read_source(write()), CPU)
    training, watched = load_rows(own.recipe.plan_for("cpu"))
    assert [row.id for row in training] == [row.id for row in own.training]
    assert [row.id for row in watched] == [row.id for row in own.held_out]


def test_the_report_says_what_will_happen_and_warns_of_what_should_not(
    write, monkeypatch
):
    own = OwnProject(read_source(write()), CPU)
    report = report_on(own)
    assert (report.training, report.held_out, report.shared_requests) == (32, 8, 0)
    assert report.cost.updates == 16 and report.cost.passes == pytest.approx(2)
    told = repr(report)
    for words in ("32 to train on, 8 held out", "an estimate", "GiB planned", "loss"):
        assert words in told
    assert not report.warnings and "WARNING" not in told
    monkeypatch.setattr(planning, "free_bytes", lambda profile: 2**20)
    tight = report_on(OwnProject(read_source(write()), CPU))
    assert tight.plan.batch_size == 1 and tight.plan.accumulation_steps == 4
    assert "batch_size: 1" in str(tight.warnings)
    leaking = replace(report, shared_requests=2)
    assert "2 training rows ask what a held-out row asks" in str(leaking.warnings)


def test_the_estimate_is_tokens_times_parameters_over_the_stated_speed(write):
    report = report_on(OwnProject(read_source(write("max_steps: 8")), CPU))
    trained = 8 * 4 / 32 * sum(report.lengths)
    least = trained * 134_515_008 / 1.8e10 / 60
    assert least < report.cost.minutes < 1.6 * least


def test_memory_is_planned_for_the_rows_and_for_the_bound(write):
    own = OwnProject(read_source(write("max_length: 512")), CPU)
    cost = report_on(own).cost
    assert isinstance(cost.memory, MemoryPlan) and isinstance(cost.bound, MemoryPlan)
    assert cost.memory.total_bytes < cost.bound.total_bytes
    assert cost.memory.weight_bytes == 4 * 134_515_008  # fp32 on a CPU


def test_a_project_of_own_rows_has_all_that_the_lessons_ask_for(write, monkeypatch):
    path = write("stress: mine.txt", "form: One line.")
    path.with_name("mine.txt").write_text("First prompt\n\n  second prompt \n")
    monkeypatch.setenv("COURSE_RECIPE", str(path))
    monkeypatch.setenv("COURSE_PROFILE", "nano")
    project = chosen_project()
    assert project.recipe.name == "tickets" and project.form_in_words == "One line.\n\n"
    suite = project.suite()
    assert set(suite.groups) == {"held_out", "own_prompts", "unasked"}
    asked_for = [prompt.request for prompt in suite.prompts]
    assert "First prompt" in asked_for and "second prompt" in asked_for
    names = [check.name for check in suite.checks]
    assert set(vars(suite.roles).values()) <= set(names)
    own = OwnProject(read_source(path), NANO)
    for row in [*own.training, *own.held_out]:
        assert project.follows_form(row.answer)
        assert all(passes(row, row.answer) for passes in project.answer_checks.values())
    for fault, text in project.broken_variants(row.answer).items():
        assert not project.follows_form(text), fault


def test_the_base_is_asked_bare_told_and_after_three_rows(write):
    own = OwnProject(read_source(write("form: One line.")), CPU)
    project = project_of(own)
    ways, first = project.ways(own.training), own.held_out[0]
    assert list(ways) == ["base", "told the form", "shown examples"]
    assert ways["base"][0] == [{"role": "user", "content": first.request}]
    assert ways["told the form"][0][-1]["content"] == "One line.\n\n" + first.request
    shown = ways["shown examples"][0]
    assert [turn["role"] for turn in shown] == ["user", "assistant"] * 3 + ["user"]
    assert shown[-1]["content"] == first.request


def test_the_parts_of_an_own_answer_are_counted_one_by_one():
    suite = project_of(OwnProject(read_source(SAMPLE), CPU)).suite()
    kept = tuple(p for p in suite.prompts if p.notes["group"] == "held_out")
    suite = replace(suite, prompts=kept)
    answers = [Generated(f"{p.notes['note']} | Issue: flood", True) for p in kept]
    answers[0] = Generated("Team: delivery", True)  # names one part of four
    by_part = met_by_part(judge_all(suite, answers, model="tuned"), suite)
    n, first = len(kept), "team: delivery" in kept[0].notes["note"].casefold()
    assert {name: (part.right, part.n) for name, part in by_part.items()} == {
        "team": (n - 1 + first, n),
        "product": (n - 1, n),
        "order": (n - 1, n),
        "issue": (0, n),
    }


def test_a_command_says_the_same_as_a_file(write, monkeypatch):
    write()
    monkeypatch.delenv("COURSE_RECIPE", raising=False)
    own, _, with_arc = asked(
        ["--data", "rows.csv", "--steps", "5", "--held-out", "0.25"]
    )
    assert own.file.max_steps == 5 and own.held_out == 0.25 and not with_arc
    assert asked(["--data", "rows.csv", "--held-out", "9"])[0].held_out == 9
    spelled_as_the_key = ["--data", "rows.csv", "--held_out", "9", "--max_steps", "5"]
    assert asked(spelled_as_the_key)[0].file.max_steps == 5
    assert asked(["--recipe", "tickets.yaml"])[0].name == "tickets"
    assert asked(["--recipe", "inframind"]) == (None, "inframind", True)
    with pytest.raises(WrongRecipe, match="max_steps without --data"):
        asked(["--steps", "5"])
    with pytest.raises(CourseError, match="'many'"):
        asked(["--data", "rows.csv", "--steps", "many"])


def test_the_courses_own_example_is_as_its_datasheet_says():
    own = OwnProject(read_source(SAMPLE), CPU)
    rows, _ = own.found
    assert len(rows.rows) + sum(rows.dropped.values()) == 200
    assert len({row.request.strip().casefold() for row in rows.rows}) == 194
    form = project_of(own).form
    assert form == "“Team: … | Product: … | Order: … | Issue: …”"
    assert len(own.source.stress_prompts) == 10
    sheet = Path(PROJECT_ROOT, "data", "own_project", "README.md").read_text("utf-8")
    for name in SAMPLE.parent.iterdir():
        assert name.name == "README.md" or f"`{name.name}`" in sheet


def test_dialogues_of_several_turns_are_read_from_sharegpt():
    own = OwnProject(read_source(SAMPLE.with_name("chats.json")), CPU)
    assert own.recipe.name == "chats" and len(own.training) + len(own.held_out) == 40
    assert max(len(row.messages) for row in own.training) >= 4


def test_of_several_answers_a_chat_each_is_learnt_unless_the_recipe_says_no(tmp_path):
    own = OwnProject(read_source(SAMPLE.with_name("chats.json")), CPU)
    assert settings_of(own)["train_on"][0] == "all_answers"
    assert report_on(own).trained_share == 1
    path = tmp_path / "last.yaml"
    data = SAMPLE.with_name("chats.json")
    path.write_text(f"data: {data}\ntrain_on: last_answer")
    report = report_on(OwnProject(read_source(path), CPU))
    assert report.trained_share < 1 and "train_on: all_answers" in str(report.warnings)


def test_a_model_that_cannot_be_had_is_named_with_the_likely_causes(write, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    own = OwnProject(read_source(write("model: no/such-model")), CPU)
    own.__dict__["location"] = "no/such-model"  # as model.loading would say
    with pytest.raises(WrongRecipe, match=r"tokenizer of no/such-model.*misspelt"):
        _ = own.recipe


def test_on_a_card_the_plan_is_of_what_unsloth_takes(write, monkeypatch):
    own = OwnProject(read_source(write()), CPU)
    card = Profile("t4", "cuda", gpu=Gpu("Tesla T4", (7, 5), 14.7))
    plan = replace(own.recipe.plan_for("t4"), load_in_4bit=True)
    llama = load_architectures()["llama-3.1-8b"]
    planned = planning.planned_memory(plan, llama, card, 512)
    assert planned.context_bytes > 0  # CUDA's, which the textbook's sum leaves out
    assert 5 * planning.GIB < planned.total_bytes < 14.7 * planning.GIB


def test_a_recipe_may_train_every_answer_of_a_chat_and_the_report_counts_it(tmp_path):
    recipe, data = tmp_path / "all.yaml", SAMPLE.with_name("chats.json")
    shares = []
    for choice in ("last_answer", "all_answers"):
        recipe.write_text(f"data: {data}\ntrain_on: {choice}\n")
        report = report_on(OwnProject(read_source(recipe), CPU))
        assert report.plan.train_on == choice
        warned = "earlier answers of a chat" in str(report.warnings)
        assert warned is (choice == "last_answer")
        shares.append(report.trained_share)
    assert shares[0] < shares[1] == 1


# Lesson 05 looked for the prompts of a group that a file of rows alone does not have.
@pytest.mark.parametrize("prompts", [[], ["stress: prompts.txt"]])
def test_each_check_of_own_rows_is_of_groups_that_have_prompts(write, prompts):
    path = write(*prompts)
    (path.parent / "prompts.txt").write_text("My tent leaks.\n")
    suite = project_of(OwnProject(read_source(path), NANO)).suite()
    named = {group for check in suite.checks for group in check.groups}
    assert named == set(suite.groups) and ("own_prompts" in named) == bool(prompts)

import dataclasses
import json
import re

import datasets
import pytest

from course_utils.data.datasets import every_kth, load_rows, load_split, load_splits
from course_utils.data.files import FaultyData
from course_utils.data.instructions import from_hub, load_instructions
from course_utils.places import DATA_FOLDER
from course_utils.recipes.book import ALPACA_MISTRAL, RECIPES
from course_utils.recipes.plan import Source

GOOD = {"id": "a", "instruction": "Add.", "input": "1 + 1", "output": "2"}


def write(folder, *rows):
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_becomes_a_chat_of_one_turn(tmp_path):
    bare = {"id": "b", "instruction": "Greet.", "input": "", "output": "Hello."}
    first, second = load_instructions(write(tmp_path, GOOD, bare))
    assert first.request == "Add.\n\n### Input:\n1 + 1" and first.answer == "2"
    assert second.request == "Greet." and second.answer == "Hello."
    assert first.notes == {"instruction": "Add.", "input": "1 + 1"}


def test_every_fault_is_named_with_line_and_field(tmp_path):
    rows = [
        GOOD,
        {"id": "b", "instruction": " ", "output": "x"},
        {"id": "c", "instruction": "Say.", "input": None, "output": "x"},
        {"id": "d", "instruction": "Say."},
        {**GOOD, "id": "e", "instruction": "add. "},
        {**GOOD, "instruction": "New."},
    ]
    with pytest.raises(FaultyData) as caught:
        load_instructions(write(tmp_path, *rows))
    found = [(fault.line, fault.field) for fault in caught.value.faults]
    assert found == [
        (2, "instruction"),
        (3, "input"),
        (4, "output"),
        (5, "request"),
        (6, "id"),
    ]
    message = "line 4, output: found nothing among the keys id, instruction, expected"
    assert message in str(caught.value)


def test_a_request_that_is_held_out_cannot_be_trained_on(tmp_path):
    path = write(tmp_path, GOOD)
    held_out = load_instructions(path)
    with pytest.raises(FaultyData, match="the request of held-out row 'a'"):
        load_instructions(path, held_out=held_out)


def test_a_prompt_that_is_asked_may_not_bring_its_answer(tmp_path):
    with pytest.raises(FaultyData, match="output: found an output"):
        load_instructions(write(tmp_path, GOOD), answered=False)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("instructions", (210, 32, 54)), ("iac", (180, 28, 50))],
)
def test_the_shipped_sets_load_and_have_their_sizes(name, sizes):
    sets = [
        load_split(DATA_FOLDER / name, s) for s in ("train", "validation", "stress")
    ]
    assert tuple(map(len, sets)) == sizes


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_each_recipe_has_its_rows_on_small_machines(recipe):
    for profile in ("cpu", "nano"):
        plan = recipe.plan_for(profile)
        training, validation = load_rows(plan)
        every, held_out = load_splits(plan)
        assert len(training) == (plan.rows or len(every))
        assert (
            20 <= len(validation) <= 40 <= len(every) and validation[0] == held_out[0]
        )


def test_validation_is_thinned_evenly():
    assert every_kth(list(range(80))) == list(range(0, 80, 2))
    assert every_kth(list(range(40))) == list(range(40))
    assert len(every_kth(list(range(81)))) == 27


COLUMNS = ("instruction", "input", "output", "text")


def hub(monkeypatch, rows, columns=COLUMNS, **odd):
    """A fake of the hub's client; returns the calls that it saw.

    `odd` gives columns another value in every fourth row.
    """
    calls = []

    def load_dataset(name, *, split, revision):
        calls.append((name, split, revision))
        made = [{c: f"{c} {n}" for c in columns} for n in range(rows)]
        for row in made[::4]:
            row.update(odd)
        return datasets.Dataset.from_list(made)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_the_authors_rows_come_from_the_hub_drawn_by_the_seed(monkeypatch):
    calls = hub(monkeypatch, 2000)
    plan = ALPACA_MISTRAL.plan_for("t4")
    training, validation = load_splits(plan)
    assert calls == [("tatsu-lab/alpaca", "train", None)]
    assert (len(training), len(validation)) == (1500, 80)
    ids = {row.request for row in training}
    assert len(ids) == 1500 and not ids & {row.request for row in validation}
    assert training[0].request != "instruction 0\n\n### Input:\ninput 0"
    assert load_splits(plan)[0][7].messages == training[7].messages
    assert "text" in training[0].notes and training[0].answer.startswith("output ")


@pytest.mark.parametrize(
    "odd",
    [
        {"output": ""},
        {"output": " \n"},
        {"output": None},
        {"instruction": None},
        {"instruction": "instruction 1", "input": "input 1"},  # as in another row
    ],
)
def test_rows_that_teach_nothing_are_replaced_by_others_and_counted(
    monkeypatch, capsys, odd
):
    hub(monkeypatch, 200)
    from_hub("org/set", 200, seed=3407)
    assert capsys.readouterr().out == ""
    hub(monkeypatch, 200, **odd)
    drawn = from_hub("org/set", 140, seed=3407)
    assert len({row.request for row in drawn}) == len(drawn) == 140
    assert all(row.answer.strip() for row in drawn)
    left_out = int(
        re.fullmatch(r"org/set: (\d+) rows .*\n", capsys.readouterr().out)[1]
    )
    assert drawn[-1].id == f"hub-{139 + left_out:05d}" and 20 <= left_out <= 50
    with pytest.raises(ValueError, match=r"200 rows, 15\d of them usable"):
        from_hub("org/set", 160, seed=3407)


def test_a_hub_row_may_have_no_input(monkeypatch):
    for columns, odd in ((("instruction", "output"), {}), (COLUMNS, {"input": None})):
        hub(monkeypatch, 20, columns, **odd)
        drawn = from_hub("org/set", 20, seed=0)
        bare = [row for row in drawn if row.request == row.notes["instruction"]]
        assert len(bare) == (5 if odd else 20)
        assert {row.notes["input"] for row in bare} == {""}


def test_a_data_set_of_other_columns_or_too_few_rows_is_refused(monkeypatch):
    hub(monkeypatch, 10)
    with pytest.raises(ValueError, match=r"10 rows, 10 of them usable; .* and 11 rows"):
        from_hub("org/set", 11, seed=0)
    hub(monkeypatch, 10, columns=("prompt", "completion"))
    with pytest.raises(ValueError, match="has columns prompt, completion"):
        from_hub("org/set", 2, seed=0)


def test_an_unknown_data_set_names_the_known_ones():
    plan = dataclasses.replace(ALPACA_MISTRAL.plan_for("cpu"), dataset=Source("poems"))
    with pytest.raises(KeyError, match="there are movies, instructions, iac"):
        load_rows(plan)

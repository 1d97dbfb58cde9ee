import dataclasses
import json

import datasets
import pytest

from course_utils.data.datasets import (
    TooFewRows,
    every_kth,
    load_instructions,
    load_rows,
    load_split,
    load_splits,
)
from course_utils.data.files import FaultyData
from course_utils.data.reading.sources import NoSuchData
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


@pytest.mark.parametrize("nothing", ["", " \n", None])
def test_the_authors_28_empty_outputs_do_not_stop_the_recipe(
    monkeypatch, capsys, nothing
):
    """tatsu-lab/alpaca has them; a draw of 1,580 of its rows meets one as a rule."""
    hub(monkeypatch, 2400, output=nothing)  # in every fourth row
    training, validation = load_splits(ALPACA_MISTRAL.plan_for("t4"))
    assert (len(training), len(validation)) == (1500, 80)
    assert all(row.answer.strip() for row in training + validation)
    assert "Left out: 600 with an empty answer." in capsys.readouterr().out


def test_a_set_with_fewer_rows_than_the_plan_asks_for_is_refused(monkeypatch):
    hub(monkeypatch, 1579)
    with pytest.raises(TooFewRows, match=r"1579 usable rows, 1499 of .*rows: 1500"):
        load_splits(ALPACA_MISTRAL.plan_for("t4"))


def test_a_tenth_of_a_small_file_is_for_validation(tmp_path):
    rows = [{"question": f"{n}?", "answer": f"{n}."} for n in range(40)]
    source = Source(str(write(tmp_path, *rows)))
    plan = dataclasses.replace(
        ALPACA_MISTRAL.plan_for("cpu"), dataset=source, rows=None
    )
    training, validation = load_splits(plan)
    assert (len(training), len(validation)) == (36, 4)
    few = dataclasses.replace(plan, rows=10)
    assert load_splits(few) == (training[:10], validation)


def test_an_unknown_data_set_names_the_known_ones():
    plan = dataclasses.replace(ALPACA_MISTRAL.plan_for("cpu"), dataset=Source("poems"))
    with pytest.raises(NoSuchData, match="movies, movie_search, instructions, iac"):
        load_rows(plan)

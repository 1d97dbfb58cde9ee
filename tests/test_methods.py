"""Methods of fine-tuning: one task, one budget, and what the runs left behind."""

import json
import math

import matplotlib.pyplot as plt
import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

from course_utils.data.conversation import Conversation
from course_utils.machine.profile import Profile
from course_utils.methods import plots, study
from course_utils.methods.book import METHODS
from course_utils.methods.drawing import COLOURS, draw_places
from course_utils.methods.results import Difference, Study, apart
from course_utils.model.architectures import Architecture, load_architectures
from course_utils.model.nano import cached_nano_path
from course_utils.places import BrokenFile

SEEDS = (3407, 3408, 3409)


def run(method, seed, nats, right="0011", parameters=2**20, **more):
    row = {
        "method": method,
        "seed": seed,
        "rate": 0.001,
        "parameters": parameters,
        "test_nats": nats,
        "exact": right.count("1"),
        "right": right,
        "saved_activation_mib": 100.0,
        "general_before": 3.0,
        "general_after": 3.1,
    }
    return row | more


@pytest.fixture
def kept(tmp_path):
    """Two methods and LoRA, written as the tool writes them."""
    tried = [("LoRA", 1e-3, 0.9), ("LoRA", 3e-3, 0.8), ("full", 1e-5, 1.0)]
    search = [
        {"method": name, "rate": rate, "seed": 3407, "validation_nats": nats}
        for name, rate, nats in [*tried, ("full", 3e-5, 1.2)]
    ]
    runs = []
    for number, seed in enumerate(SEEDS):
        runs.append(run("LoRA", seed, 0.5 + number, right="0011"))
        runs.append(run("full", seed, 1.5 + 2 * number, right="0101", parameters=2**24))
        runs.append(run("DoRA", seed, 0.2 + number))
    path = tmp_path / "peft_methods.json"
    seconds = {"LoRA": 0.5, "full": 1.0, "DoRA": 0.75}
    held = {"search": search, "runs": runs, "seconds_a_row": seconds}
    path.write_text(json.dumps(held))
    return Study.read(path)


@pytest.fixture(scope="module")
def nano():
    return str(cached_nano_path())


@pytest.fixture(scope="module")
def task(nano):
    return study.Task.on(Profile("nano", "cpu"))


def test_an_interval_of_three_seeds_is_students():
    d = Difference.of(torch.tensor([1.0, 2.0, 3.0]).numpy())
    half = 4.302653 / math.sqrt(3)  # t with two degrees of freedom, spread 1
    assert d.mean == 2 and d.each == (1, 2, 3)
    assert d.low == pytest.approx(2 - half, abs=1e-5)
    assert d.high == pytest.approx(2 + half, abs=1e-5)
    assert not d.is_seen and Difference.of(d.mean + torch.zeros(3).numpy()).is_seen
    assert str(d) == "+2.000 (-0.484 to +4.484)"


def test_one_seed_excludes_nothing():
    assert not Difference.of(torch.tensor([5.0]).numpy()).is_seen


def test_methods_are_held_against_lora_seed_by_seed(kept):
    assert kept.methods == ["DoRA", "LoRA", "full"] and kept.others == ["DoRA", "full"]
    assert kept.against("full").each == (1, 2, 3)
    assert kept.against("DoRA").mean == pytest.approx(-0.3)
    assert kept.against("DoRA").is_seen  # the same in each seed
    assert kept.against("LoRA", rival="full").mean == -2


def test_exact_answers_are_compared_on_the_same_requests(kept):
    pairs = kept.exact_against("full")
    assert [(p.n, p.gained, p.lost, p.both_right) for p in pairs] == [(4, 1, 1, 1)] * 3
    assert pairs[0].names == ("LoRA", "full")


def test_rates_memory_and_costs_follow_from_the_rows(kept):
    assert kept.rates_apart == pytest.approx(300)  # 3e-3 over 1e-5
    assert kept.memory.loc["full", "gradients and Adam"] == 16 * 12
    assert kept.memory.loc["LoRA"].tolist() == [100, 12]
    costs = kept.costs()
    assert costs.loc["DoRA"].tolist() == ["1.50", "+0.10, +0.10, +0.10"]
    assert kept.table().loc["LoRA", "minus LoRA (95 %)"] == "–"
    assert kept.table().loc["full", "trained numbers"] == "16,777,216"


def test_a_missing_file_says_how_it_is_made(tmp_path):
    with pytest.raises(BrokenFile, match=r"tools/measure_peft\.py"):
        Study.read(tmp_path / "none.json")


# Another model's loss that is held against the small model's.
def test_a_run_is_compared_with_the_kept_one_of_its_seed(kept, task, monkeypatch):
    mine = {"method": "LoRA", "seed": 3408, "test_nats": 1.75}
    assert math.isnan(apart(mine, task, kept))
    monkeypatch.setattr(
        "course_utils.methods.results.bundled_model_path", lambda: task.model
    )
    assert apart(mine, task, kept) == pytest.approx(0.25)


def test_the_model_is_the_machines_or_the_one_asked_for(nano, monkeypatch):
    assert study.model_for(Profile("nano", "cpu")) == nano
    assert study.model_for(Profile("cpu", "cpu", "own/model")) == "own/model"
    assert study.model_for(Profile("t4", "cuda")) == "Qwen/Qwen2.5-0.5B-Instruct"
    monkeypatch.setattr(study, "bundled_model_path", lambda: "unpacked")
    assert study.model_for(Profile("cpu", "cpu")) == "unpacked"


def test_a_row_carries_loss_on_its_query_and_the_end_alone(nano):
    tokenizer = AutoTokenizer.from_pretrained(nano)
    ask = {"role": "user", "content": "a western"}
    wish = Conversation("x", (ask,), {"query": {"genres": ["western"]}})
    [row] = study.encode(tokenizer, [study.answered(wish)])
    carried = [label for label in row["labels"] if label != -100]
    assert tokenizer.decode(carried) == ' {"genres": ["western"]}<|im_end|>'
    assert row["input_ids"][-len(carried) :] == carried
    assert len(row["input_ids"]) == len(row["labels"])
    before = row["input_ids"][: -len(carried)]
    assert tokenizer.decode(before) == "Request: a western\nQuery:"


# Loss of empty answers: the test file keeps its queries apart.
def test_every_test_wish_has_its_query_as_its_answer(task):
    assert task.test and all(wish.answer.startswith("{") for wish in task.test)
    right = [wish.answer for wish in task.test]
    assert study.exact(task.test, right) == [True] * len(right)
    assert study.exact(task.test, ["none"] * len(right)) == [False] * len(right)


def test_the_nano_model_gets_few_rows_and_another_all(task, nano):
    assert len(task.train) == len(task.test) == study.FEW
    whole = study.Task.read(nano)
    assert len(whole.train) == study.ROWS and len(whole.test) == study.HELD_OUT


@pytest.mark.parametrize("name", ["LoRA", "prompt tuning", "LoRA+"])
def test_training_moves_what_is_trained_and_leaves_the_base(name, task, tmp_path):
    set_seed(0)
    model = study.load(task.model, METHODS[name], 4)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    losses = study.train(
        model, task.tokenizer, task.train, METHODS[name], 1e-2, 0, tmp_path
    )
    assert len(losses) == len(task.train) // METHODS[name].batch_size
    for key, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[key]), key
    moved = [not torch.equal(p, before[n]) for n, p in model.named_parameters()]
    assert any(moved)


# What DoRA computes on the way and gives back was counted as kept, a little or a lot.
def test_activations_are_counted_that_are_still_held_after_the_forward_pass(nano):
    tokenizer = AutoTokenizer.from_pretrained(nano)
    rows = [{"input_ids": [5, 6, 7, 8], "labels": [-100, 6, 7, 8]}]
    kept = {}
    for name in ("LoRA", "DoRA"):
        model = study.load(nano, METHODS[name], 4)
        kept[name] = {study.saved_mib(model, tokenizer, rows) for _ in range(3)}
        assert len(kept[name]) == 1  # the same each time
    assert max(kept["DoRA"]) > max(kept["LoRA"])


# AdaLoRA that nobody calls keeps all of its ranks.
def test_adalora_takes_rank_away_while_it_is_trained(task, tmp_path):
    method = METHODS["AdaLoRA"]
    model = study.load(task.model, method, 16)
    rows = (task.train * 4)[:64]
    study.train(model, task.tokenizer, rows, method, 1e-2, 0, tmp_path)
    pattern = model.peft_config["default"].rank_pattern
    left = [sum(ranks) for ranks in pattern.values()]
    assert sum(left) == len(left) * method.rank


def test_every_method_trains_as_many_numbers_as_its_shapes_say(nano):
    base = AutoModelForCausalLM.from_pretrained(nano)
    shape = Architecture.from_config(base.config)
    for name in ("LoRA", "rank 1", "rank 128"):
        method = METHODS[name]
        config = method.config(nano, 40)
        counted, _ = get_peft_model(
            AutoModelForCausalLM.from_pretrained(nano), config
        ).get_nb_trainable_parameters()
        assert counted == shape.lora_parameters(method.rank)


def test_the_drawing_tells_every_methods_count():
    shape = load_architectures()["smollm2-135m"]
    counts = {name: 100 * (n + 1) for n, name in enumerate(COLOURS)}
    axes = draw_places(shape, counts | {"full": shape.parameters})
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(told) == len(COLOURS)
    assert told[0].endswith(f": {shape.parameters:,}") and told[1].endswith(": 200")
    assert "LoRA trains 200 numbers, full tuning 134,515,008" in axes.get_title()
    plt.close(axes.figure)


def test_the_plots_mark_the_best_rate_and_order_by_loss(kept):
    panels = plots.rate_curves(kept, title="t")
    titles = [axes.get_title() for axes in panels.flat][:2]
    assert titles == ["LoRA: 0.003", "full: 1e-05"]
    axes = plots.seeds_plot(kept, title="t")
    assert [t.get_text() for t in axes.get_yticklabels()] == kept.methods
    axes = plots.cost_plot(kept, title="t")
    assert [t.get_text() for t in axes.texts] == kept.methods
    axes = plots.memory_plot(kept, ["full", "LoRA"], title="t")
    assert [t.get_text().strip() for t in axes.texts] == ["292", "112"]
    plt.close("all")


# A run at a rate that lost, or one that was copied from another file.
def test_the_kept_runs_are_those_of_the_search_and_of_the_counts():
    found = Study.read()
    tried = found.search.sort_values("validation_nats").drop_duplicates("method")
    best = tried.set_index("method")["rate"]
    shape = load_architectures()["smollm2-135m"]
    numbers = {"full": shape.parameters, "prompt tuning": 11_520, "IA3": 57_600}
    assert {"full", "LoRA", "QLoRA", "prompt tuning"} <= {*found.methods}
    for name in found.methods:
        method, runs = METHODS[name], found.of(name)
        assert tuple(runs.index) == SEEDS, name
        rate = best[name] if method.rates else found.of("LoRA")["rate"].iloc[0]
        assert {*runs["rate"]} == {rate}, name
        assert {*runs["updates"]} == {study.ROWS // method.batch_size}, name
        assert [text.count("1") for text in runs["right"]] == [*runs["exact"]], name
        assert {len(text) for text in runs["right"]} == {study.HELD_OUT}, name
        if name in ("LoRA", "QLoRA", "PiSSA", "LoRA+", "rank 1", "rank 128"):
            numbers[name] = shape.lora_parameters(method.rank)
        if name in numbers:
            assert {*runs["parameters"]} == {numbers[name]}, name

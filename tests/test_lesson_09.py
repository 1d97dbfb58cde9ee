"""Lesson 09: its cells and the package say the same, and its toys do what it says."""

import ast
import inspect
import re

import notebook_cells as cells
import pytest
import torch
from transformers import AutoTokenizer

from course_utils.data.datasets import load_search
from course_utils.exercises.adapter import joined, plain_alpha
from course_utils.machine.profile import Profile
from course_utils.methods import study
from course_utils.methods.book import METHODS, VIRTUAL_TOKENS
from course_utils.methods.results import Study
from course_utils.model.architectures import load_architectures
from course_utils.model.nano import cached_nano_path
from course_utils.preference.study import served
from course_utils.projects.search.pattern import search_by_pattern
from course_utils.projects.search.query import write_query
from course_utils.projects.search.texts import as_rows

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("09")]


def cell_with(part):
    [found] = [code for code in cells.code_cells(LESSON) if part in code]
    return found


def call_of(code, name):
    """Keywords of the first call of that name, as written."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(name):
            return {k.arg: ast.unparse(k.value) for k in node.keywords}
    raise AssertionError(f"no call of {name}")


def configs():
    names = {"task": study.Task.on(Profile("nano", "cpu"))}
    for part in ("AdaLoraConfig, LoraConfig", 'configs["AdaLoRA"] =', "PrefixTuning"):
        exec(cell_with(part), names)
    return names["configs"], names["task"]


# A reader who learns other settings than those that were measured.
def test_the_configurations_in_view_are_those_of_the_study():
    in_view, task = configs()
    assert len(in_view) == 8
    for name, config in in_view.items():
        measured = METHODS[name].config(task.model, study.ROWS // 4)
        assert config.to_dict() == measured.to_dict(), name


def test_quantization_trainer_and_optimizer_are_set_as_in_the_study():
    load, train = inspect.getsource(study.load), inspect.getsource(study.train)
    packed = cell_with("nf4 = BitsAndBytesConfig(")
    for name in ("BitsAndBytesConfig", "prepare_model_for_kbit_training"):
        assert call_of(packed, name) == call_of(load, name)
    mine = call_of(cell_with("arguments = TrainingArguments("), "TrainingArguments")
    theirs = call_of(train, "TrainingArguments")
    assert mine.keys() == theirs.keys()
    different = {name for name in mine if mine[name] != theirs[name]}
    assert different == {"per_device_train_batch_size", "use_cpu"} | (
        different & {"learning_rate"}
    )
    assert mine["per_device_train_batch_size"] == str(METHODS["LoRA"].batch_size)
    ratio = call_of(cell_with("create_loraplus_optimizer("), "loraplus_optimizer")
    assert float(ratio["loraplus_lr_ratio"]) == METHODS["LoRA+"].rate_of_b


def test_a_row_in_view_is_encoded_as_in_the_study():
    tokenizer = AutoTokenizer.from_pretrained(cached_nano_path())
    names = {"tokenizer": tokenizer, "task": study.Task.on(Profile("nano", "cpu"))}
    exec(cell_with("def encoded("), names)
    wishes = load_search("validation")[:20]
    mine = [names["encoded"](r["prompt"], r["completion"]) for r in as_rows(wishes)]
    assert mine == study.encode(tokenizer, wishes)


def test_the_counts_that_the_lesson_predicts_are_smollms_and_those_measured():
    names = {"shape": load_architectures()["smollm2-135m"]}
    exec(cell_with("in_a_block = {"), names)
    predicted = names["predicted"]
    assert predicted["prompt tuning"] == VIRTUAL_TOKENS * 576 == 11_520
    assert predicted["prefix tuning"] == 20 * 30 * 2 * 192 == 230_400
    assert predicted["IA3"] == 30 * (192 + 192 + 1536) == 57_600
    assert (predicted["LoRA"], predicted["DoRA"]) == (4_884_480, 5_040_000)
    assert predicted["full"] == 134_515_008
    kept = Study.read().mean("parameters")
    for name in kept.index.intersection([*predicted]):
        assert kept[name] == predicted[name], name


def test_ia3_and_lora_of_the_toy_have_the_ranks_that_are_printed():
    names = {}
    exec(cell_with("factors = torch.tensor"), names)
    W, A, B = names["W"], names["A"], names["B"]
    assert torch.linalg.matrix_rank(B @ A) == 1
    assert A.numel() + B.numel() == 8 and names["factors"].numel() == 4
    # a row stays a multiple of what it was
    update = names["factors"][:, None] * W - W
    assert all(
        torch.linalg.matrix_rank(torch.stack([W[row], update[row]])) == 1
        for row in range(4)
    )


def test_capacity_grows_with_the_rank_as_the_lesson_says():
    names = {"torch": torch}
    exec(cell_with("def remembered("), names)
    share = {rank: names["remembered"](rank, 64) for rank in (1, 2, 8)}
    assert share[1] < 0.5 < share[2] <= share[8] == 1
    assert names["remembered"](2, 256) < share[2]


def test_with_alpha_fixed_progress_does_not_depend_on_the_rank():
    names = {"torch": torch}
    exec(cell_with("def left_after("), names)
    left = names["left_after"]
    fixed = [1 - left(rank, 16, 1e-4) for rank in (2, 16, 128)]
    doubled = [1 - left(rank, 2 * rank, 1e-4) for rank in (2, 16, 128)]
    assert max(fixed) < 1.5 * min(fixed)
    assert doubled[0] < doubled[1] / 3 and doubled[1] < doubled[2] / 3
    rates = [0.04 / 2**n for n in range(6)]
    best = {
        rank: min(rates, key=lambda rate, r=rank: left(r, 2 * r, rate))
        for rank in (16, 128)
    }
    assert best[128] < best[16]


@pytest.mark.parametrize("settings", [{"use_rslora": True}, {}])
def test_the_plain_alpha_of_the_exercise_gives_the_same_function(settings):
    from peft import LoraConfig, get_peft_model

    def update(**more):
        torch.manual_seed(0)
        base = torch.nn.Sequential(torch.nn.Linear(6, 4))
        config = LoraConfig(r=4, target_modules=["0"], init_lora_weights=False, **more)
        return (
            get_peft_model(base, config).base_model.model[0].get_delta_weight("default")
        )

    config = LoraConfig(r=4, lora_alpha=8, **settings)
    plain = plain_alpha(config)
    torch.testing.assert_close(
        update(lora_alpha=8, **settings), update(lora_alpha=plain)
    )


def test_the_joined_pair_is_the_exact_sum():
    draw = torch.Generator().manual_seed(0)
    A1, A2 = (torch.randn(3, 6, generator=draw) for _ in range(2))
    B1, B2 = (torch.randn(5, 3, generator=draw) for _ in range(2))
    A, B = joined(A1, B1, 0.5, A2, B2, 2.0)
    torch.testing.assert_close(B @ A, 0.5 * B1 @ A1 + 2.0 * B2 @ A2)


# A sentence about a budget that was changed since.
def test_the_text_tells_the_budget_of_the_study():
    text = " ".join(cells.prose(LESSON).split())
    assert (
        f"{study.ROWS} rows, one pass over them, {study.HELD_OUT} test requests" in text
    )
    assert f"the same {study.ROWS} rows, one pass, batches of 4" in text
    assert "three tries on half of the rows" in text
    assert study.SEARCH_ROWS * 2 == study.ROWS
    assert all(len(m.rates) in (0, 3) for m in METHODS.values())
    unsearched = {name for name, m in METHODS.items() if not m.rates}
    assert unsearched == {"QLoRA", "rank 1", "rank 128", "batches of 16"}


# A place that was left for a figure and forgotten.
def test_no_sentence_waits_for_its_figure():
    assert not re.findall(r"AWAITS.*", cells.prose(LESSON))


# A sentence that was true of the runs before.
def test_the_text_tells_full_tuning_and_lora_as_they_were_measured():
    text = " ".join(cells.prose(LESSON).split())
    kept = Study.read()
    d = kept.against("full")
    assert not d.is_seen and "three seeds do not tell the two apart" in text
    assert f"full tuning ends {-d.mean:.2f} nats below LoRA" in text
    assert f"from −{-d.low:.2f} to +{d.high:.2f}" in text
    lost = {
        name: kept.of(name)["general_after"] - kept.of(name)["general_before"]
        for name in ("full", "LoRA")
    }
    told = [f"{rows.min():.2f} to {rows.max():.2f}" for rows in lost.values()]
    assert f"lost {told[0]} nats under full tuning and {told[1]} under LoRA" in text
    saved = kept.mean("saved_activation_mib")
    ratio = saved["DoRA"] / saved["LoRA"]
    assert "DoRA keeps about twice LoRA's activations" in text and 1.7 < ratio < 2.3
    assert saved["prompt tuning"] > 0.9 * saved["LoRA"]  # "saves little"
    times = kept.of("LoRA")["rate"].iloc[0] / kept.of("full")["rate"].iloc[0]
    assert f"best rate is {times:.0f} times as high" in text


# The same, of the others.
def test_the_text_tells_who_is_told_apart_from_lora():
    text, kept = " ".join(cells.prose(LESSON).split()), Study.read()
    seen = {name for name in kept.others if kept.against(name).is_seen}
    behind = {"AdaLoRA", "prompt tuning", "prefix tuning", "P-tuning", "batches of 16"}
    assert seen == behind
    assert all(kept.against(name).mean > 0 for name in seen)
    assert "behind it are AdaLoRA and all that train a prompt: prompt, prefix" in text
    not_seen = (
        "Full tuning, LoRA+, DoRA, QLoRA, PiSSA, IA³ and both other ranks are not"
    )
    assert not_seen in text
    ranks = {"rank 1", "rank 128"}
    named = {"full", "LoRA+", "DoRA", "QLoRA", "PiSSA", "IA3"}
    assert {*kept.others} - seen == named | ranks


def lost(kept, *names):
    """Least and most that general text lost under these methods, in nats a token."""
    runs = kept.runs[kept.runs["method"].isin(names)]
    found = runs["general_after"] - runs["general_before"]
    return f"{found.min():.2f} to {found.max():.2f}"


def test_the_text_tells_what_general_text_lost():
    text, kept = " ".join(cells.prose(LESSON).split()), Study.read()
    least = lost(kept, "prompt tuning", "P-tuning", "full", "AdaLoRA")
    assert f"general text least, {least} nats" in text
    assert f"Prefix tuning cost it most, {lost(kept, 'prefix tuning')}" in text
    assert f"PiSSA, QLoRA and IA³ {lost(kept, 'PiSSA', 'QLoRA', 'IA3')}" in text
    most = kept.runs["general_after"] - kept.runs["general_before"]
    of = most.groupby(kept.runs["method"]).mean().sort_values()
    assert {*of.index[:4]} == {"prompt tuning", "P-tuning", "full", "AdaLoRA"}
    assert {*of.index[-4:]} == {"prefix tuning", "PiSSA", "QLoRA", "IA3"}


def test_the_text_tells_what_rank_and_batch_did():
    text, kept = " ".join(cells.prose(LESSON).split()), Study.read()
    low, high = kept.against("rank 1").mean, kept.against("rank 128").mean
    assert (
        f"rank 1, with a sixteenth of the numbers, ends {low:.2f} nats behind" in text
    )
    assert f"rank 128, with eight times as many, {abs(high):.2f} nats" in text
    assert METHODS["rank 128"].rank == 8 * METHODS["LoRA"].rank
    batches = kept.against("batches of 16")
    assert f"They end {batches.mean:.2f} nats behind batches of 4" in text


def test_the_text_tells_the_rates_of_lora_plus():
    text, kept = " ".join(cells.prose(LESSON).split()), Study.read()
    plain, of_a = (kept.of(name)["rate"].iloc[0] for name in ("LoRA", "LoRA+"))
    of_b = METHODS["LoRA+"].rate_of_b * of_a
    assert f"best rate is {of_a:g}, sixteen times that for B" in text
    assert f"B learns with {of_b:g} and A with a tenth of LoRA's {plain:g}" in text
    assert plain == pytest.approx(10 * of_a)
    kin = ("LoRA+", "DoRA", "QLoRA", "PiSSA", "AdaLoRA", "LoRA")
    assert kept.mean("test_nats")[[*kin]].idxmin() == "LoRA+"


def test_every_method_of_the_book_was_run_and_timed():
    kept = Study.read()
    assert {*kept.methods} == {*METHODS} == {*kept.seconds.index}


def shown(pattern):
    """What the published lesson printed, by the groups of a pattern."""
    page = cells.published(LESSON)
    printed = "".join(
        o.get("text", "") for c in page.cells for o in c.get("outputs", [])
    )
    return re.search(pattern, printed).groups()


# Figures of the published run in the text, which a new run may change.
def test_the_text_tells_what_the_published_lesson_printed():
    text = " ".join(cells.prose(LESSON).split())
    nats, right, of = shown(r"([\d.]+) nats a token, (\d+) of (\d+) exact\nthe adapter")
    assert right == "0" and f"none of {of} answers exact" in text
    assert f"three examples leave {float(nats):.2f} nats a token" in text


# A count of right answers without what a plain program reaches.
def test_both_lessons_tell_what_two_plain_programs_reach():
    tests = study.Task.on(Profile("cpu", "cpu")).test
    by_pattern = [write_query(search_by_pattern(wish.request)) for wish in tests]
    ways = {"empty": ["{}"] * len(tests), "patterns": by_pattern}
    exact = {way: sum(study.exact(tests, texts)) for way, texts in ways.items()}
    kept = {way: sum(served(tests, texts)) for way, texts in ways.items()}
    text = " ".join(cells.prose(LESSON).split())
    assert f"`{{}}` is exact in {exact['empty']} of the {len(tests)}" in text
    assert f"regular expressions in {exact['patterns']}. So" in text
    [other] = [path for path in cells.LESSONS if path.name.startswith("10")]
    text = " ".join(cells.prose(other).split())
    assert f"exact in {exact['empty']} and serve {kept['empty']}, lesson 08's" in text
    told = f"{exact['patterns']} and {kept['patterns']}"
    assert f"regular expressions {told}." in text

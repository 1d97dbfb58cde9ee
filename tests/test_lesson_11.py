"""Lesson 11: its cells and the package say the same, and its toys do what it says."""

import ast
import inspect
import math

import notebook_cells as cells
import pytest
import torch
from transformers import AutoTokenizer

from course_utils.exercises.loading import encode_word
from course_utils.machine.profile import Profile
from course_utils.methods import study
from course_utils.model.nano import cached_nano_path
from course_utils.pretraining import results, small

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("11")]
PAGES = {f"page {n}": f"Return the item at place {n} of the heap. " * 40
         for n in range(4)}  # fmt: skip


def cell_with(part):
    [found] = [code for code in cells.code_cells(LESSON) if part in code]
    return found


def call_of(code, name):
    """Keywords of the first call of that name, as written."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(name):
            return {k.arg: ast.unparse(k.value) for k in node.keywords}
    raise AssertionError(f"no call of {name}")


# A reader who learns other settings than those that were measured.
def test_the_model_in_view_is_the_packages_small_llama():
    names = {
        "tokenizer": small.learn_tokens(PAGES, 300),
        "small": small,
        "tokens": [],
        "set_seed": torch.manual_seed,
    }
    exec(cell_with("LlamaForCausalLM(LlamaConfig("), names)
    theirs = small.small_llama(128, len(names["tokenizer"]))
    assert names["model"].config.to_dict() == theirs.config.to_dict()


def test_the_trainer_in_view_is_set_as_in_the_package(tmp_path):
    names = {
        "profile": Profile("cpu", "cpu"),
        "budget": small.Budget(400),
        "small": small,
        "results": results,
        "tokens": [0],
        "run_folder": None,
    }
    exec("from transformers import TrainingArguments", names)
    code = cell_with("arguments = TrainingArguments(").split("\n\n", 1)[1]
    code = code.replace('run_folder("pretraining", profile)', repr(str(tmp_path)))
    exec(code, names)
    rate = results.rate_of_width(128)
    theirs = small.arguments_for(400, 3407, tmp_path, rate).to_dict()
    assert names["arguments"].to_dict() == theirs


def test_the_collator_and_the_tokenizer_in_view_are_the_packages():
    train = inspect.getsource(small.pretrain)
    mine = call_of(cell_with("trainer = Trainer("), "ForLanguageModeling")
    assert mine == call_of(train, "ForLanguageModeling") == {"mlm": "False"}
    cell = cell_with("train_new_from_iterator(")
    smol, learnt = small.bundled_tokenizer_path(), small.learn_tokens(PAGES)
    start = cell.index("tokenizer = ")
    names = {
        "smol": AutoTokenizer.from_pretrained(smol),
        "text": type("Text", (), {"train": PAGES}),
        "small": small,
    }
    exec(cell[start : cell.index("for one in")], names)
    assert names["tokenizer"].get_vocab() == learnt.get_vocab()
    assert names["tokenizer"].eos_token == learnt.eos_token == small.END_OF_PAGE


# Padding carries no loss, so an end that is the padding is never learnt.
def test_the_end_of_a_page_carries_a_loss_and_smollm2s_own_end_would_not():
    from transformers import DataCollatorForLanguageModeling

    learnt = small.learn_tokens(PAGES, 300)
    row = {"input_ids": [5, learnt.eos_token_id]}
    labels = DataCollatorForLanguageModeling(learnt, mlm=False)([row])["labels"]
    assert labels[0, 1] == learnt.eos_token_id
    smol = AutoTokenizer.from_pretrained(cached_nano_path())
    row = {"input_ids": [5, smol.eos_token_id]}
    labels = DataCollatorForLanguageModeling(smol, mlm=False)([row])["labels"]
    assert labels[0, 1] == -100


def test_the_toy_of_merges_and_the_exercise_are_one_algorithm():
    names = {}
    for part in ('"newest": 3', "def most_frequent(", "def merged("):
        exec(cell_with(part), names)
    learnt = []
    for _ in range(6):
        pair, _times = names["most_frequent"](names["words"])
        learnt.append(pair)
        names["words"] = {
            names["merged"](parts, pair): n for parts, n in names["words"].items()
        }
    for parts in names["words"]:
        assert encode_word("".join(parts), learnt) == list(parts)
    assert learnt[:2] == [("n", "e"), ("ne", "w")]  # the exercise's example


def test_the_share_of_words_counts_letters_and_spaces():
    names = {"pages": {}, "letters": 1}
    exec(cell_with("def share_of_words("), names)
    assert names["share_of_words"]("ab 1.") == 3 / 5


# The course's own cost of an example against a step of training.
def test_requests_until_even_are_three_times_the_tokens_over_those_saved():
    task = study.Task.on(Profile("nano", "cpu"))
    names = {"task": task}
    for part in ("def length_of(", "even = 6 * trained_on"):
        exec(cell_with(part), names)
    trained = sum(len(row["input_ids"]) for row in task.train)
    assert names["even"] == pytest.approx(3 * trained / names["examples"])
    assert names["examples"] > 0


def test_a_model_without_weights_starts_where_every_token_is_alike():
    torch.manual_seed(0)
    ids = torch.randint(300, (4, 64))
    model = small.small_llama(32, 300)
    with torch.no_grad():
        loss = float(model(ids, labels=ids).loss)
    assert loss == pytest.approx(math.log(300), abs=0.5)


# The last cell is what a reader takes home; nothing else runs it.
def test_the_cell_for_the_readers_project_trains_and_its_ends_carry_a_loss(tmp_path):
    names = {}
    exec(cell_with("def keep_pretraining("), names)
    texts = ["Return the item of the heap. " * 4, "Sorted, in place. " * 4]
    trainer = names["keep_pretraining"](str(cached_nano_path()), texts, length=16)
    end = trainer.model.config.eos_token_id
    rows = trainer.train_dataset
    assert rows["input_ids"] == rows["labels"]
    assert any(end in row for row in rows["labels"])
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    trainer.args.output_dir, trainer.args.save_strategy = str(tmp_path), "no"
    before = [p.clone() for p in trainer.model.parameters()]
    trainer.train()
    after = trainer.model.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))

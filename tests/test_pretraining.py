"""Pages, counts, and the small model of lesson 11."""

import json
import math
from itertools import product

import pytest
import torch

from course_utils.evidence.formulas import pretraining_runs
from course_utils.machine.profile import Profile
from course_utils.pretraining import corpus, results, small
from course_utils.pretraining.ngrams import NGrams

NANO = Profile("nano", "cpu")
LONG = "This paragraph has more than forty characters, and stands on two pages."


def library(folder):
    (folder / "tests").mkdir()
    (folder / "one.py").write_text('"""Of the module."""\ndef f():\n    """Of f."""\n')
    (folder / "tests" / "two.py").write_text('"""A test."""\n')
    (folder / "broken.py").write_text('"""Not closed\n')
    (folder / "latin.py").write_bytes(b'"""\xe9"""\n')
    (folder / "silent.py").write_text("x = 1\n")
    return folder


def test_a_page_has_the_docstrings_of_a_module_and_tests_and_bad_files_have_none(
    tmp_path,
):
    pages = corpus.python_pages(library(tmp_path))
    assert pages["one.py"] == "Of the module.\n\nOf f."
    assert {name for name in pages if not name.startswith("topic ")} == {"one.py"}
    assert "topic if" in pages  # the language's reference comes with every Python


def test_a_long_paragraph_is_kept_on_its_first_page_and_a_short_one_on_all():
    pages = {"a": f"Short.\n\n{LONG}", "b": f"Short.\n\n  {LONG}  ", "c": LONG}
    kept = corpus.without_repeats(pages)
    assert kept == {"a": f"Short.\n\n{LONG}", "b": "Short."}  # nothing is left of c


def test_what_the_test_has_in_common_with_the_training_text_is_found():
    spaced = LONG.replace(" ", "\n ")
    assert corpus.repeated_in([f"New.\n\n{spaced}"], [LONG]) == [spaced]
    assert corpus.repeated_in(["Short."], ["Short."]) == []
    assert corpus.repeated_in([LONG], ["another page"]) == []


def test_a_page_is_held_out_by_its_name_whatever_others_there_are():
    pages = {f"page {n}": str(n) for n in range(400)}
    whole = corpus.Corpus.split(pages)
    some = corpus.Corpus.split(dict(list(pages.items())[100:300]))
    assert some.held_out.keys() <= whole.held_out.keys()
    assert some.train.keys() <= whole.train.keys()
    assert not whole.train.keys() & whole.held_out.keys()
    assert 20 < len(whole.held_out) < 60  # a tenth of them, more or less


def test_the_split_pages_of_python_share_no_paragraph():
    pages = small.pages_within(small.Budget(1))
    assert not corpus.repeated_in(pages.held_out.values(), pages.train.values())
    assert sum(map(len, pages.train.values())) > 10 * sum(
        map(len, pages.held_out.values())
    )


def test_counts_of_one_token_are_shares_mixed_with_all_tokens_alike():
    counts = NGrams([0, 0, 1, 0], order=1, vocabulary=4)
    # 4 tokens of 2 kinds: trusted by 4/6, and 2/6 goes to a quarter each.
    assert counts.probability([], 0) == pytest.approx(3 / 6 + 2 / 6 / 4)
    assert counts.probability([], 3) == pytest.approx(2 / 6 / 4)


def test_counts_of_two_tokens_trust_what_followed_and_else_the_shorter_memory():
    counts = NGrams([0, 1, 0, 1, 0, 2], order=2, vocabulary=3)
    alone = NGrams([0, 1, 0, 1, 0, 2], order=1, vocabulary=3)
    # after 0 came 1, 1, 2: three times, two kinds
    assert counts.probability([0], 1) == pytest.approx(
        (2 + 2 * alone.probability([], 1)) / 5
    )
    assert counts.probability([2], 1) == alone.probability([], 1)  # 2 was the last


@pytest.mark.parametrize(
    "order, context", [*product((1, 2, 3), ([], [1], [0, 1], [2, 2]))]
)
def test_probabilities_after_any_context_add_up_to_one(order, context):
    counts = NGrams([0, 1, 2, 0, 1, 1, 0, 1, 2, 2], order, vocabulary=4)
    total = sum(counts.probability(context, token) for token in range(4))
    assert total == pytest.approx(1)


def test_the_loss_of_counts_is_the_mean_over_all_tokens_but_the_first():
    counts = NGrams([0, 1, 0, 1], order=2, vocabulary=2)
    by_hand = [counts.probability([0], 1), counts.probability([1], 1)]
    expected = -sum(map(math.log, by_hand)) / 2
    assert counts.nats_per_token([0, 1, 1]) == pytest.approx(expected)


def test_only_tokens_with_a_label_count_where_rows_have_labels():
    counts = NGrams([0, 1, 0, 1], order=2, vocabulary=2)
    row = {"input_ids": [0, 1, 1], "labels": [-100, -100, 1]}
    expected = -math.log(counts.probability([1], 1))
    assert counts.nats_where([row]) == pytest.approx(expected)


def test_counts_of_no_token_are_refused():
    with pytest.raises(ValueError, match="order of 0, expected 1"):
        NGrams([0], 0, 2)


@pytest.fixture(scope="module")
def pages():
    return {f"page {n}": f"Return the item at place {n} of the heap. " * 40
            for n in range(12)}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(pages):
    return small.learn_tokens(pages, vocabulary=300)


def test_a_learnt_tokenizer_gives_back_any_text_and_has_an_end_of_its_own(tokenizer):
    text = "Straße 電車 🚋 2026"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer) <= 300
    assert tokenizer.eos_token != tokenizer.pad_token  # else no loss on a page's end


def test_blocks_are_the_pages_in_one_row_with_an_end_after_each(tokenizer):
    pages = {"a": "Return the heap. " * 60, "b": "Sorted. " * 60}
    rows = small.blocks(tokenizer, pages)["input_ids"]
    whole = [
        token
        for text in pages.values()
        for token in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    ]
    flat = [token for row in rows for token in row]
    assert {len(row) for row in rows} == {small.LENGTH}
    assert flat == whole[: len(flat)] and len(whole) - len(flat) < small.LENGTH


def test_both_halves_of_the_held_out_blocks_share_none(tokenizer, pages):
    halves = small.halves(small.blocks(tokenizer, pages))
    first, second = (halves[name]["input_ids"] for name in ("stop", "test"))
    assert len(first) - len(second) in (0, 1) and second


def test_the_nano_budget_is_a_few_updates_on_a_few_pages():
    budget = small.Budget.on(NANO)
    assert budget.updates < 20 and len(small.pages_within(budget).train) == budget.pages
    assert small.Budget.on(Profile("cpu", "cpu")).pages is None


def test_the_count_of_numbers_is_as_the_lesson_predicts():
    a_block = 4 * 64**2 + 3 * 64 * 192 + 2 * 64
    assert small.small_llama(64, 300).num_parameters() == 300 * 64 + 4 * a_block + 64


def test_a_run_learns_what_it_sees_and_is_the_same_again(tokenizer, pages, tmp_path):
    rows = small.blocks(tokenizer, pages)
    held = small.halves(rows)
    arguments = small.arguments_for(12, 1, tmp_path)
    first, again = (
        small.pretrain(32, tokenizer, rows, held, arguments) for _ in range(2)
    )
    curves = small.held_out_curves(first.state.log_history)
    assert curves["update"] == list(range(1, 13))
    assert curves["test"][-1] < curves["test"][0] - 1
    assert curves == small.held_out_curves(again.state.log_history)
    measured = small.nats_per_token(first.model, held["test"])
    assert measured == pytest.approx(curves["test"][-1], abs=1e-4)


def test_the_mean_loss_counts_a_short_last_batch_by_its_size(tokenizer, pages):
    torch.manual_seed(0)
    model = small.small_llama(32, len(tokenizer))
    rows = small.blocks(tokenizer, pages)
    each = [small.nats_per_token(model, rows.select([n])) for n in range(len(rows))]
    assert len(each) % 32  # else nothing is tested
    assert small.nats_per_token(model, rows) == pytest.approx(sum(each) / len(each))


def file(tmp_path, **sections):
    path = tmp_path / "pretraining.json"
    path.write_text(json.dumps(sections))
    return path


def test_the_table_of_sizes_has_means_of_seeds_and_the_best_counts(tmp_path):
    run = {"part": 4, "width": 64, "parameters": 1000}
    path = file(
        tmp_path,
        scale=[run | {"seed": 1, "test_nats": 4.0}, run | {"seed": 2, "test_nats": 5}],
        counts=[{"part": 4, "order": n, "test_nats": 5.0 - n} for n in (1, 2)],
    )
    table = results.by_size(path)
    assert table.loc["1,000 numbers", "a quarter"] == 4.5
    assert table.loc["best counts", "a quarter"] == 3.0
    assert results.spread_of_seeds(path) == 1.0


def test_the_table_of_starts_has_mean_least_and_greatest_of_the_seeds(tmp_path):
    run = {"start": "random", "rows": 20, "passes": 1, "rate": 0.001}
    path = file(
        tmp_path,
        transfer=[run | {"seed": n, "test_nats": float(n)} for n in (1, 2, 6)],
        answer_counts=[{"rows": 20, "order": 1, "test_nats": 2.5}],
    )
    table = results.transfer_table(path)
    assert table.loc[("random", 20, 1)].tolist() == [3.0, 1.0, 6.0]
    assert table.loc[("best counts", 20, 1), "mean"] == 2.5
    assert results.rate_of("random", path) == 0.001


def test_a_missing_file_of_runs_says_how_to_make_it(tmp_path):
    from course_utils.places import BrokenFile

    with pytest.raises(BrokenFile, match=r"measure_pretraining\.py"):
        results.kept("scale", tmp_path / "none.json")
    assert results.sections(tmp_path / "none.json") == {}


def test_the_claim_on_starts_has_means_of_seeds_and_exact_answers(tmp_path):
    def runs(start, rows, passes, nats, exact=None):
        row = {"start": start, "rows": rows, "passes": passes, "rate": 0.001}
        marks = {"exact": exact, "exact_of": 80} if exact is not None else {}
        return [row | marks | {"seed": n, "test_nats": nats + n} for n in (0, 1, 2)]

    path = file(
        tmp_path,
        transfer=[
            *runs("pretrained", 20, 1, 1.0),
            *runs("pretrained", 160, 1, 0.5, 12),
            *runs("random", 20, 1, 8.0),
            *runs("random", 160, 1, 4.0, 0),
            *runs("random", 160, 8, 2.0, 11),
        ],
        answer_counts=[{"rows": 160, "order": n, "test_nats": 3.0 - n} for n in (1, 2)],
    )
    found = pretraining_runs.worth_of_a_trained_start(path)
    assert (found["trained_few"], found["trained_all"]) == (2.0, 1.5)
    assert (found["random_all"], found["random_eight"]) == (5.0, 3.0)
    assert (found["trained_exact"], found["random_eight_exact"]) == (12, 11)
    assert (found["counts_all"], found["seeds"], found["requests"]) == (1.0, 3, 80)


def test_the_claim_on_size_counts_seeds_with_which_more_numbers_are_worse(tmp_path):
    def run(part, width, seed, nats):
        return {
            "part": part,
            "width": width,
            "seed": seed,
            "test_nats": nats,
            "last_nats": nats + 1,
            "parameters": 1000 * width,
            "tokens": 1600 // part,
            "updates": 400,
        }

    little = [run(16, 64, n, 4.0) for n in (0, 1)]
    little += [run(16, 192, 0, 5.0), run(16, 192, 1, 3.5)]
    every = [run(1, width, n, 3.0 + n) for width in (64, 192) for n in (0, 1)]
    counts = [{"part": part, "order": 1, "test_nats": 2.0} for part in (1, 16)]
    path = file(tmp_path, scale=little + every, counts=counts)
    found = pretraining_runs.size_and_text(path)
    assert found["wide_worse_least"] == 1  # with seed 0 alone
    assert (found["narrow_least"], found["wide_least"]) == (4.0, 4.25)
    assert found["end_least"] == pytest.approx((5 + 5 + 6 + 4.5) / 4)
    assert found["seeds_apart"] == 1.5
    assert (found["tokens_least"], found["tokens_all"]) == (100, 1600)

"""Each board's solution passes, each mistake that it names is run, and none is rude."""

import inspect
import re
from itertools import product

import numpy as np
import pytest
from scipy.stats import norm

from course_utils.drill.whiteboard import TASKS, UnknownTask, task
from course_utils.drill.whiteboard.attention import kv_cache_step
from course_utils.drill.whiteboard.counts import mcnemar, wilson
from course_utils.drill.whiteboard.weights import NF4_LEVELS
from course_utils.exercises.checking import WrongAnswer
from course_utils.statistics.power import exact_p
from course_utils.statistics.shares import Share

TOPICS = {
    *("project", "memory", "quantization", "lora", "data", "training", "evaluation"),
    *("behaviour", "export", "design", "preference", "foundations", "serving"),
}
each = pytest.mark.parametrize("board", TASKS, ids=lambda board: board.slug)
MISTAKES = [
    pytest.param(board, message, wrong, id=f"{board.slug}-{number}")
    for board in TASKS
    for number, (message, wrong) in enumerate(board.exercise.mistakes.items(), start=1)
]


def written(source, board):
    """The function that a text defines, as a cell of a notebook would."""
    cell = {}
    exec(compile(source, "<cell>", "exec"), cell)
    return cell[board.exercise.solution.__name__]


def refusal(board, attempt):
    with pytest.raises(WrongAnswer) as caught:
        board.check(attempt)
    return str(caught.value)


@each
def test_the_text_of_the_solution_is_right(board):
    cases = len(board.exercise.cases)
    told = board.check(written(board.solution, board))
    assert told.endswith(f": right, in {cases} of {cases} cases.")


@pytest.mark.parametrize(("board", "message", "wrong"), MISTAKES)
@pytest.mark.filterwarnings("error")
def test_every_named_mistake_is_refused_with_its_message(board, message, wrong):
    wanted = inspect.signature(board.exercise.solution).parameters
    assert len(inspect.signature(wrong).parameters) == len(wanted)
    assert refusal(board, wrong).endswith(f": {message}")


@each
def test_a_board_is_short_and_says_what_it_is(board):
    sentences = re.findall(r"\.(?= |$)", board.task)
    assert 3 <= len(sentences) <= 6 and len(board.task.split()) <= 120
    assert len(board.hint.split()) <= 40 and board.minutes == 10
    assert board.topic in TOPICS
    lines = board.solution.splitlines()
    assert len(lines) <= 30 and max(map(len, lines)) <= 88
    assert len(board.exercise.cases) >= 2 and len(board.exercise.mistakes) >= 5


def test_slugs_and_names_of_functions_are_unique():
    assert len({board.slug for board in TASKS}) == len(TASKS) == 9
    assert len({board.exercise.solution.__name__ for board in TASKS}) == 9


@each
def test_a_board_shows_the_task_and_the_stub_and_not_the_answer(board):
    shown = repr(board)
    assert board.task in shown and board.stub in shown
    assert board.hint not in shown and board.solution not in shown
    answer = board.solution.splitlines()[-1]
    assert answer.strip().startswith("return") and answer not in shown


@each
def test_an_untouched_stub_lets_the_run_go_on(board):
    def not_yet(*arguments):
        raise NotImplementedError

    for attempt in (written(board.stub, board), not_yet):
        assert board.check(attempt).endswith(": not attempted yet. The run goes on.")


@each
def test_a_function_without_a_return_is_told_so(board):
    told = refusal(board, lambda *arguments: None)
    assert "gave nothing (is a `return` missing?), expected " in told


@each
def test_a_value_of_another_kind_is_told_and_raises_nothing_else(board):
    for value in (1.5, "text", [], (), [None], {}, (None,) * 4, np.zeros((2, 0))):
        told = refusal(board, lambda *arguments, value=value: value)
        assert " gave " in told


def test_an_exception_is_told_with_the_line_of_the_learners_code():
    def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
        return chosen @ rejected[:1]

    told = refusal(task("dpo-loss"), dpo_loss)
    assert "gave ValueError: matmul" in told
    line = dpo_loss.__code__.co_firstlineno + 1
    assert f", in line {line}, `return chosen @ rejected[:1]`, expected 0.69" in told


def test_a_notebook_shows_the_message_and_no_line_of_the_check():
    error = WrongAnswer("half(4) gave 8: you doubled it.")
    assert error._render_traceback_() == [
        "WrongAnswer: half(4) gave 8: you doubled it."
    ]


def test_too_few_arguments_and_a_result_in_place_of_a_function_are_told():
    assert "takes 1 positional argument but" in refusal(task("wilson"), lambda n: n)
    told = refusal(task("dpo-loss"), 0.69)
    assert told.startswith("check got float, expected a function.")
    assert "check(dpo_loss)" in told


def test_a_function_in_torch_that_gets_numpy_is_told_how_to_ask():
    told = refusal(task("grpo-advantages"), lambda rewards, scale: rewards.unsqueeze(0))
    assert "check(…, torch.tensor)" in told


def test_another_shape_is_told():
    grpo, cache = task("grpo-advantages"), task("kv-cache-step")
    told = refusal(grpo, lambda rewards, scale: np.zeros(8))
    assert told.endswith(" A shape is (8,), expected (2, 4).")
    told = refusal(cache, lambda *given: (given[0][0], *given[3:]))
    assert " A shape is (4,), expected (1, 4)." in told
    assert " A shape is (1, 2, 4), expected (1, 3, 4)." in told
    told = refusal(task("lora-layer"), lambda x, w, *rest: (x, w, w[:, :1], 0 * x.T))
    assert "'A nonzero of shape (2, 1), B zero of shape (2, 1)'" in told


def test_a_misspelled_slug_is_told_the_nearest_ones_and_a_strange_one_all():
    with pytest.raises(UnknownTask, match=r"'dpo'.*nearest tasks: dpo-loss\."):
        task("dpo")
    with pytest.raises(UnknownTask, match=r"tasks: lora-layer, .*, mcnemar, wilson\."):
        task("§")


def test_the_levels_of_nf4_are_the_quantiles_that_bitsandbytes_takes():
    """As its create_normal_map does: eight above zero, seven below, scaled to 1."""
    above = norm.ppf(np.linspace(0.9677083, 0.5, 9)[:-1])
    below = -norm.ppf(np.linspace(0.9677083, 0.5, 8)[:-1])
    quantiles = np.sort([*above, 0.0, *below])
    assert quantiles / quantiles.max() == pytest.approx(NF4_LEVELS, abs=5.1e-5)


def test_steps_with_a_cache_give_the_rows_of_full_causal_attention():
    rng = np.random.default_rng(5)
    queries, keys, values = rng.normal(size=(3, 2, 6, 4))  # (heads, seq, size)
    scores = queries @ keys.transpose(0, 2, 1) / 2
    scores[:, ~np.tri(6, dtype=bool)] = -np.inf
    weights = np.exp(scores)
    full = weights / weights.sum(axis=-1, keepdims=True) @ values
    past_keys, past_values = keys[:, :1], values[:, :1]
    for token in range(1, 6):
        new = queries[:, token], keys[:, token], values[:, token]
        output, past_keys, past_values = kv_cache_step(*new, past_keys, past_values)
        assert output == pytest.approx(full[:, token])


def test_mcnemars_p_is_that_of_the_course():
    for lost, gained in product(range(6), repeat=2):
        first = [True] * lost + [False] * gained + [True, False]
        second = [False] * lost + [True] * gained + [True, False]
        assert mcnemar(first, second) == pytest.approx(exact_p(lost, gained))


def test_wilsons_interval_is_that_of_the_course():
    z = norm.ppf(0.975)
    for right, n in [(0, 27), (5, 60), (12, 12), (1, 3)]:
        expected = Share(right, n).interval
        assert wilson(right, n, z) == pytest.approx(expected, abs=1e-12)

import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM

from course_utils.arc.evaluation import (
    METRICS,
    Evaluation,
    NotANumber,
    NotComparable,
    Prompt,
    ScoredQuestion,
    compare_evaluations,
    evaluate,
    paired_answers,
)
from course_utils.arc.task import (
    NANO_QUESTIONS,
    choose_benchmark,
    local_benchmark,
    stock_task,
)
from course_utils.data.files import FaultyData
from course_utils.data.questions import (
    EXAMPLES,
    QUESTIONS,
    ScienceQuestion,
    load_questions,
)
from course_utils.machine.profile import Profile
from course_utils.model.nano import nano_model_path
from course_utils.places import BrokenFile

ASKED = 12  # questions: enough for batches of several lengths


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def questions(folder):
    """Twelve of the course's questions, two of them as odd as ARC has them."""
    rows = [json.loads(line) for line in QUESTIONS.open(encoding="utf-8")][:ASKED]
    digits = rows[1]["choices"]
    rows[1]["answerKey"] = str(1 + digits["label"].index(rows[1]["answerKey"]))
    digits["label"] = ["1", "2", "3", "4"]
    wrong = next(x for x in rows[2]["choices"]["label"] if x != rows[2]["answerKey"])
    place = rows[2]["choices"]["label"].index(wrong)
    rows[2]["choices"] = {
        k: v[:place] + v[place + 1 :] for k, v in rows[2]["choices"].items()
    }
    path = folder / "questions.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def benchmark(questions, folder):
    return local_benchmark(questions, folder / "task")


@pytest.fixture(scope="module")
def nano(folder):
    path = nano_model_path(folder / "nano")
    return AutoModelForCausalLM.from_pretrained(path).eval()


@pytest.fixture(scope="module")
def result(nano, tokenizer, benchmark):
    return evaluate(nano, tokenizer, benchmark, "base")


def continuation_scores(model, tokenizer, question):
    """Log-likelihood of each choice after the prompt, one at a time."""
    prompt = f"Question: {question.question}\nAnswer:"
    start = len(tokenizer(prompt)["input_ids"])
    scores = []
    for choice in question.choices:
        tokens = tokenizer(f"{prompt} {choice}", return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logs = model(tokens).logits.float().log_softmax(-1)
        picked = logs[0, :-1].gather(-1, tokens[0, 1:, None])[start - 1 :]
        scores.append(picked.sum().item())
    return scores


# --- what lm-eval is asked -------------------------------------------------------


def test_on_a_gpu_the_real_set_is_asked_through_the_stock_task(tmp_path):
    found = choose_benchmark(Profile("t4", "cuda"), tmp_path, {})
    assert found.task == "arc_easy" and found.questions.startswith("allenai/ai2_arc")
    stock = yaml.safe_load((found.folder / "arc_easy.yaml").read_text())
    assert stock["task"] == found.task and stock["test_split"] == "test"
    known = TaskManager(include_path=found.folder, include_defaults=False).all_tasks
    assert found.task in known


def test_a_file_of_ones_own_is_asked_on_every_machine(tmp_path, questions):
    chosen = {"ARC_EASY_JSONL": str(questions)}
    for profile in (Profile("t4", "cuda"), Profile("cpu", "cpu")):
        found = choose_benchmark(profile, tmp_path, chosen)
        assert found.task == "arc_easy_local"
        assert found.questions.startswith("questions.jsonl, sha256 ")


def test_the_nano_model_is_asked_the_first_few_and_the_cpu_all(tmp_path):
    few = choose_benchmark(Profile("nano", "cpu"), tmp_path, {})
    asked = yaml.safe_load((few.folder / "arc_easy_local.yaml").read_text())
    path = Path(asked["dataset_kwargs"]["data_files"]["test"])
    assert load_questions(path) == load_questions()[:NANO_QUESTIONS]
    choose_benchmark(Profile("cpu", "cpu"), tmp_path, {})
    asked = yaml.safe_load((tmp_path / "arc_easy_local.yaml").read_text())
    assert asked["dataset_kwargs"]["data_files"]["test"] == str(QUESTIONS)


def test_the_local_task_changes_the_stock_task_only_in_where_the_questions_are(
    benchmark, questions
):
    stock = yaml.safe_load(stock_task().read_text())
    local = yaml.safe_load((benchmark.folder / "arc_easy_local.yaml").read_text())
    assert Path(local.pop("include")) == stock_task()
    changed = {key for key, value in local.items() if stock.get(key) != value}
    assert changed == {
        "task",
        "tag",
        "dataset_path",
        "dataset_name",
        "dataset_kwargs",
        "training_split",
        "validation_split",
        "fewshot_split",
    }
    files = local["dataset_kwargs"]["data_files"]
    assert files == {"test": str(questions), "examples": str(EXAMPLES)}


def test_a_faulty_file_is_refused_before_any_model_runs(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"id": "x"}')
    with pytest.raises(FaultyData, match="question: found nothing"):
        local_benchmark(path, tmp_path)


# --- what comes back -------------------------------------------------------------


def test_every_question_comes_back_once_in_the_files_order(result, questions):
    assert [a.question for a in result.answers] == load_questions(questions)


def test_the_scores_are_the_log_likelihoods_of_the_choices_by_hand(
    result, nano, tokenizer
):
    for answer in result.answers[:4]:  # among them digits as keys and three choices
        by_hand = continuation_scores(nano, tokenizer, answer.question)
        assert answer.log_likelihoods == pytest.approx(by_hand, abs=1e-3)


def test_our_pick_agrees_with_lm_evals_verdict_under_both_metrics(result):
    for answer in result.answers:
        for metric in METRICS:
            is_right = answer.pick(metric) == answer.question.answer
            assert is_right == answer.right[metric]


def test_acc_takes_the_sum_and_acc_norm_the_sum_per_character():
    question = ScienceQuestion("q", "Which?", ("ice", "a frozen lake"), 1)
    answer = ScoredQuestion(question, (-6.0, -13.0), {"acc": False, "acc_norm": True})
    assert answer.pick("acc") == 0  # -6 > -13
    assert answer.pick("acc_norm") == 1  # -6/3 = -2 < -1 = -13/13


def test_the_batch_size_changes_no_verdict(result, nano, tokenizer, benchmark):
    alone = evaluate(nano, tokenizer, benchmark, "base", batch_size=1)
    for one, other in zip(result.answers, alone.answers, strict=True):
        assert one.right == other.right
        assert one.log_likelihoods == pytest.approx(other.log_likelihoods, abs=1e-3)


def test_a_subset_is_asked_as_in_the_whole(result, nano, tokenizer, benchmark):
    some = evaluate(nano, tokenizer, benchmark, "base", only=[1, 5])
    ids = [answer.question.id for answer in some.answers]
    assert ids == [result.answers[i].question.id for i in (1, 5)]
    kept = result.subset(ids)
    assert [a.question.id for a in kept.answers] == ids
    for one, other in zip(some.answers, kept.answers, strict=True):
        assert one.log_likelihoods == pytest.approx(other.log_likelihoods, abs=1e-3)


def test_the_prompts_form_changes_the_scores_and_is_among_the_settings(
    result, nano, tokenizer, benchmark
):
    chat = Prompt(chat_template=True)
    shots = [Prompt(shots=2, seed=seed) for seed in (1, 2)]
    runs = [
        evaluate(nano, tokenizer, benchmark, "base", prompt=prompt, only=[0])
        for prompt in (chat, *shots)
    ]
    scores = [run.answers[0].log_likelihoods for run in runs]
    scores.append(result.answers[0].log_likelihoods)
    assert len(set(scores)) == 4
    asked = [(r.settings["chat_template"], r.settings["shots"]) for r in runs]
    assert asked == [(True, 0), (False, 2), (False, 2)]
    assert [r.settings["seed"] for r in runs[1:]] == [1, 2]


def test_settings_name_what_two_runs_must_share_and_no_folder(result, folder):
    settings = result.settings
    assert settings["task"] == "arc_easy_local" and settings["model"] == "nano"
    assert settings["dtype"] == settings["softmax_dtype"] == "float32"
    assert settings["lm_eval"] and settings["quantized"] is False
    assert str(folder) not in json.dumps(settings)


def test_a_saved_run_comes_back_as_it_was(result, tmp_path):
    path = result.save(tmp_path / "runs" / "arc_base.jsonl")
    assert Evaluation.load(path) == result
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    assert len(rows) == 1 + ASKED and "settings" in rows[0]


def one_answer(text="Which?", scores=(-1.0, -2.0, -3.0)):
    question = ScienceQuestion("q1", text, ("a", "b", "c"), 0)
    return ScoredQuestion(question, scores, {"acc": True, "acc_norm": True})


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0c", "\r"])
def test_a_question_may_hold_any_line_mark_of_unicode(tmp_path, mark):
    run = Evaluation("base", {}, (one_answer(f"Which{mark}one?"),))
    assert Evaluation.load(run.save(tmp_path / "run.jsonl")) == run


@pytest.mark.parametrize("score", [math.nan, -math.inf])
def test_scores_that_are_no_numbers_are_refused_and_the_question_named(tmp_path, score):
    with pytest.raises(NotANumber, match=f"q1: log-likelihoods .*{score}"):
        one_answer(scores=(-1.0, score, -3.0))
    path = Evaluation("base", {}, (one_answer(),)).save(tmp_path / "run.jsonl")
    path.write_text(path.read_text("utf-8").replace("-2.0", json.dumps(score)), "utf-8")
    with pytest.raises(BrokenFile, match="q1: log-likelihoods"):
        Evaluation.load(path)


def test_a_model_that_scores_nan_is_named_and_its_mode_comes_back(
    nano, tokenizer, benchmark
):
    overflow = nano.lm_head.register_forward_hook(lambda *call: call[-1] * math.nan)
    nano.train()
    with pytest.raises(NotANumber, match="fp16"):
        evaluate(nano, tokenizer, benchmark, "base", only=[0])
    assert nano.training
    overflow.remove()
    nano.eval()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: text[: text.rindex("{")],  # cut between two lines
        lambda text: '["no", "run"]\n',
        lambda text: text.replace('"choices"', '"answers"'),
        lambda text: text.replace('"settings"', '"options"'),
    ],
)
def test_a_run_that_is_cut_off_empty_or_something_else_is_named(tmp_path, damage):
    path = Evaluation("base", {}, (one_answer(), one_answer())).save(tmp_path / "a")
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    with pytest.raises(BrokenFile, match="Evaluate the model again"):
        Evaluation.load(path)
    path.unlink()
    with pytest.raises(BrokenFile, match="missing"):
        Evaluation.load(path)


@pytest.fixture(scope="module")
def log(nano, tokenizer, benchmark, folder):
    """What lm-eval writes with --log_samples: here by its own writer."""
    tracker = EvaluationTracker(output_path=str(folder / "logs"))
    tracker.general_config_tracker.model_name_sanitized = "own__model"
    tracker.date_id = "2026-11-26T00-00-00"
    found = simple_evaluate(
        model=HFLM(pretrained=nano, tokenizer=tokenizer, batch_size=16),
        tasks=[benchmark.task],
        task_manager=TaskManager(include_path=benchmark.folder, include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )
    tracker.save_results_samples(benchmark.task, found["samples"][benchmark.task])
    [path] = (folder / "logs" / "own__model").glob("samples_arc_easy_*.jsonl")
    return path


# Lesson 06 tells people to keep it, and it could not be compared: KeyError 'name'.
def test_a_log_that_lm_eval_wrote_is_compared_with_the_courses_own_run(log, result):
    theirs = Evaluation.load(log)
    assert theirs.name == "own__model" and len(theirs.answers) == ASKED
    for mine, other in paired_answers(result, theirs):
        assert other.question == mine.question and other.right == mine.right
        assert other.log_likelihoods == pytest.approx(mine.log_likelihoods, abs=1e-3)
    for metric in METRICS:
        paired = compare_evaluations(result, theirs, metric)
        assert paired.lost == paired.gained == 0
    again = Evaluation.load(theirs.save(log.parent / "kept.jsonl"))
    assert again == theirs


def test_a_log_of_other_questions_is_refused_with_their_ids(log, result, tmp_path):
    lines = log.read_text("utf-8").splitlines()
    other = tmp_path / log.name
    other.write_text("\n".join(lines[1:]), "utf-8")
    with pytest.raises(NotComparable, match=r"12 questions.* 11; not the same"):
        compare_evaluations(result, Evaluation.load(other), "acc")
    changed = lines[0].replace("?", " today?")
    other.write_text("\n".join([changed, *lines[1:]]), "utf-8")
    first = result.answers[0].question.id
    with pytest.raises(NotComparable, match=f"not the same in both: {first}"):
        compare_evaluations(result, Evaluation.load(other), "acc")


def test_a_log_of_another_task_is_named(tmp_path):
    path = tmp_path / "samples_hellaswag_2026.jsonl"
    path.write_text('{"doc_id": 0, "doc": {"query": "x"}, "acc": 1.0}\n', "utf-8")
    with pytest.raises(BrokenFile, match=r"samples_hellaswag.*no whole run.*choices"):
        Evaluation.load(path)


# On Colab each evaluating cell ended in git's "fatal: not a git repository".
def test_nothing_is_said_outside_of_a_git_repository(
    nano, tokenizer, benchmark, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    evaluate(nano, tokenizer, benchmark, "base", only=[0])
    assert "fatal" not in capfd.readouterr().err


def test_the_models_mode_and_the_random_states_are_left_alone(
    nano, tokenizer, benchmark
):
    modes = []
    nano.for_inference = lambda: modes.append("inference") or nano.eval()
    nano.for_training = lambda: modes.append("training") or nano.train()
    nano.train()
    before = torch.random.get_rng_state()
    evaluate(nano, tokenizer, benchmark, "base", only=[0])
    assert modes == ["inference", "training"] and nano.training
    assert torch.equal(torch.random.get_rng_state(), before)
    nano.eval()

"""Lesson 10: its calls are those of the kept runs, and its sentences tell them."""

import ast
import math
import re
from types import SimpleNamespace

import notebook_cells as cells
import numpy as np
import pytest
from test_published_figures import exact_p

from course_utils.data.datasets import load_search
from course_utils.preference import results, study
from course_utils.preference.rewards import verified_score
from course_utils.projects.search.query import as_query, read_query

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("10")]
CODE = "\n".join(cells.code_cells(LESSON))
PROSE = " ".join(re.sub(r"(?m)^#", "", cells.prose(LESSON)).split())
HELPERS = (cells.ROOT / "course_utils" / "preference" / "study.py").read_text()


def calls(code, name):
    """Keywords, as text, of each call of a name that takes the common settings too."""
    found = [
        {word.arg: ast.unparse(word.value) for word in node.keywords}
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name
    ]
    return [
        {key: value for key, value in it.items() if key} for it in found if None in it
    ]


# A lesson that shows one run and tells the figures of another.
@pytest.mark.parametrize(
    ("config", "names"),
    [
        ("SFTConfig", ["start", "sft"]),
        ("RewardConfig", ["reward_model"]),
        ("DPOConfig", ["dpo"]),
    ],
)
def test_the_lessons_settings_are_those_of_the_kept_runs(config, names):
    shown, kept = calls(CODE, config), calls(HELPERS, config)
    rates = [float(it.pop("learning_rate")) for it in shown]
    assert rates == [results.RATES[name] for name in names]
    for it in kept:
        assert it.pop("learning_rate") == "rate"
    assert shown == kept


def test_the_three_runs_of_grpo_are_set_as_the_kept_ones():
    assert calls(CODE, "GRPOConfig") == calls(HELPERS, "GRPOConfig")
    paid = re.findall(r"paid_and_logged = \[(\w+)_reward, ", CODE)
    settings = re.findall(r"grpo\(([\d.e-]+), (sizes\.updates[ /2]*), paid", CODE)
    assert paid == ["verified", "keyword", "form"]
    for name, (rate, updates) in zip(
        ("verified", "keywords", "form"), settings, strict=True
    ):
        assert float(rate) == results.RATES[name]
        whole = {"sizes.updates": 40, "sizes.updates // 2": 20}[updates]
        for run in of(name).values():
            assert len(run["log"]["loss"]) == whole


def test_the_settings_common_to_all_trainers_are_those_of_the_kept_runs():
    [cell] = [code for code in cells.code_cells(LESSON) if "common = dict(" in code]
    names = {"study": study, "folder": "here"}
    names["profile"] = SimpleNamespace(is_gpu=False)
    exec(cell, names)
    expected = study.shared("here", study.SEEDS[0])
    assert names["common"] == expected | {"use_cpu": True}


def test_the_toy_of_advantages_is_told_right():
    for hits, plain in ((1, 0.875), (4, 0.5)):
        spread = math.sqrt(hits * (8 - hits) / 8 / 7)
        assert f"{plain / spread:.2f}" in PROSE and f"{plain:g}" in PROSE
    assert f"{0.01**8 + 0.99**8:.0%}".replace("%", " %") in PROSE


def test_the_toy_of_the_loss_is_told_right():
    for margin in (0, 5, -5):
        assert f"{1 / (1 + math.exp(margin)):.3f}".rstrip("0") in PROSE


def test_the_judges_of_the_toy_are_told_right():
    assert "agrees with people in 90 of 100" in PROSE and "κ = 0. " in PROSE
    assert "agrees in 80, with κ = 0.6" in PROSE  # (0.8 - 0.5) / (1 - 0.5)


RUNS = results.kept_runs()
TESTS = load_search("test")[::2]


def of(name):
    """Runs under the chosen rate, by seed."""
    rate = results.RATES[name]
    return {r["seed"]: r for r in RUNS if (r["run"], r["rate"]) == (name, rate)}


def count(run, mark):
    return run["test"][mark].count("1")


def test_every_row_of_the_kept_runs_is_whole():
    for run in RUNS:
        assert {"run", "rate", "seed", "log", "pairs"} <= set(run)
        assert len(run["pairs"]) == 60
        if "test" in run:
            assert {len(run["test"][mark]) for mark in results.MARKS} == {len(TESTS)}
            assert len(run["test"]["texts"]) == len(TESTS)


def is_exact(text, query):
    found = read_query(text)
    return found is not None and found.parts == as_query(query).parts


def test_marks_of_the_kept_runs_are_those_of_their_answers():
    wishes = [study.answered(wish) for wish in TESTS]
    for run in RUNS:
        if "test" in run:
            texts, golds = run["test"]["texts"], [w.notes["query"] for w in TESTS]
            again = {
                "exact": map(is_exact, texts, golds),
                "served": study.served(wishes, texts),
            }
            for mark, each in again.items():
                assert run["test"][mark] == "".join("01"[it] for it in each)


def test_dpo_starts_at_ln_2_in_every_kept_run():
    for run in of("dpo").values():
        assert run["log"]["loss"][0] == pytest.approx(math.log(2), abs=2e-4)


SEED = study.SEEDS[0]
START = of("start")[SEED]


def test_the_start_is_told_right():
    told = [count(START, mark) for mark in results.MARKS]
    assert f"writes a query in {told[0]} of 80 answers" in PROSE
    assert f"{told[1]} are exact, and {told[2]} requests are served" in PROSE
    assert any("flicks" in text for text in START["test"]["texts"])


def test_the_best_constant_is_told_right():
    rows = study.Rows.read(study.Sizes()).rewarded
    paid = [verified_score("{}", row["right"]) for row in rows]
    assert f"At most {np.mean(paid):.2f}, for `{{}}`" in PROSE
    assert 1 / 6 < np.mean(paid) < 1 / 5 and "less than a fifth of full" in PROSE


def test_a_genre_that_is_written_twice_is_paid_in_full():
    assert verified_score('{"genres": ["war", "war"]}', '{"genres": ["war"]}') == 1


def moved(run):
    """Mean change of both answers' log p in nats, and how many chosen ones fell."""
    after, before = np.array(run["pairs"]), np.array(START["pairs"])
    return *(after - before).mean(0), int((after < before).sum(0)[0])


def against_start(run, mark):
    """Lost, gained and p of a run against the start."""
    pairs = list(zip(START["test"][mark], run["test"][mark], strict=True))
    lost, gained = pairs.count(("1", "0")), pairs.count(("0", "1"))
    return lost, gained, exact_p(lost, gained)


def ends(run, quantity):
    """Mean of the first five updates, and of the last five."""
    values = run["log"][quantity]
    return np.mean(values[:5]), np.mean(values[-5:])


def test_what_dpo_did_to_both_answers_is_told_right():
    chosen, rejected, fell = moved(of("dpo")[SEED])
    assert f"moved by {chosen:+.1f} nats on average, and {fell} of 60 became" in PROSE
    assert f"the rejected ones fell by {-rejected:.1f}" in PROSE
    assert chosen < 0 and rejected < chosen  # all of it by pushing down


def things(run):
    """How many single things a query asks for, on average."""
    queries = [read_query(text) for text in run["test"]["texts"]]
    return np.mean([len(query.parts) for query in queries if query is not None])


def test_what_the_verified_reward_did_is_told_right():
    run = of("verified")[SEED]
    silent = f"{np.mean(run['log']['silent']):.0%}".replace("%", " %")
    assert f"{silent} of the groups were silent" in PROSE
    valid, exact = (against_start(run, mark)[2] for mark in ("valid", "exact"))
    told = f"{count(run, 'valid')} answers are queries, where the start wrote "
    assert f"{told}{count(START, 'valid')} (p = {valid:.2g})" in PROSE
    told = f"{count(run, 'exact')} are exact in place of {count(START, 'exact')}"
    assert f"{told} (p = {exact:.2g})" in PROSE
    others = [of("verified")[seed] for seed in study.SEEDS[1:]]
    told = f"asks for {things(run):.2f} things now, where the start asked for "
    told += f"{things(START):.2f} (with the other seeds "
    assert told + "{:.2f} and {:.2f}".format(*map(things, others)) in PROSE
    assert 2 * len(run["log"]["loss"]) == 80 and "are 80 requests" in PROSE
    valid, exact = ([count(it, m) for it in others] for m in ("valid", "exact"))
    told = "{} and {} are queries, and {} and {} are exact: content was rather lost"
    assert told.format(*valid, *exact) in PROSE
    assert min(valid) > count(START, "valid") and max(exact) < count(START, "exact")


def test_what_the_keyword_reward_did_is_told_right():
    run = of("keywords")[SEED]
    (low, high), (true, end) = ends(run, "keywords"), ends(run, "verified")
    told = f"from {low:.2f} in the first five updates to {high:.2f} in the last five"
    assert told in PROSE and f"fell from {true:.2f} to {end:.2f}" in PROSE
    texts = run["test"]["texts"]
    assert sum("}, {" in text for text in texts) > len(texts) / 2  # one after another
    told = f"{count(run, 'valid')} are still one query, and none is exact"
    assert told in PROSE and count(run, "exact") == 0
    assert against_start(run, "exact")[2] < 0.01 > against_start(run, "served")[2]
    alone = results.left_alone(run["test"]["served"], TESTS)
    assert alone.right == alone.n
    told = f"{count(run, 'served')} requests count as served, among them all {alone.n}"
    assert told in PROSE


def test_what_the_form_reward_did_is_told_right():
    run, *others = (of("form")[seed] for seed in study.SEEDS)
    assert {*run["test"]["texts"]} == {"{}"}
    empty = [it["test"]["texts"].count("{}") for it in others]
    assert "(With the other seeds {} and {} are `{{}}`".format(*empty) in PROSE
    assert all(count(it, "valid") == len(TESTS) for it in (run, *others))
    silent, paid = run["log"]["silent"], run["log"]["form"]
    assert {*silent[3:]} == {1} == {*paid[3:]} and silent[2] < 1
    assert "it took four updates" in PROSE  # the fourth is the first without a signal
    told = f"{count(run, 'exact')} exact and {count(run, 'served')} requests served"
    assert f"valid, {told}" in PROSE
    verified = of("verified")[SEED]
    empty = verified["test"]["texts"].count("{}")
    assert (
        f"{count(verified, 'valid')} answers are queries and {empty} of them" in PROSE
    )


def test_what_dpo_wrote_is_told_right():
    run, taught = of("dpo")[SEED], of("sft")[SEED]
    better = [results.preferred(it["pairs"]).right for it in (run, START)]
    told = "in {:g} of 60 pairs, where the start did in {:g}, and writes no better"
    assert told.format(*better) in PROSE
    exact, served = ([count(it, m) for it in (run, START)] for m in ("exact", "served"))
    p = against_start(run, "served")[2]
    told = (
        f"{exact[0]} answers are exact in place of {exact[1]}, and {served[0]} requests"
    )
    assert f"{told} are served in place of {served[1]} (p = {p:.2g})" in PROSE
    empty = [it["test"]["texts"].count("{}") for it in (run, START)]
    assert "`{{}}` {} times, the start did {} times".format(*empty) in PROSE
    exact, served = count(taught, "exact"), count(taught, "served")
    p = against_start(taught, "served")[2]
    assert f"{exact} answers exact and serve {served} requests (p = {p:.2g})" in PROSE


def test_what_both_served_with_the_other_seeds_is_told_right():
    found = [count(of(k)[s], "served") for k in ("dpo", "sft") for s in study.SEEDS]
    told = "With two more seeds DPO serves {} and {}, more SFT {} and {}"
    assert told.format(*found[1:3], *found[4:]) in PROSE
    assert sum(served < count(START, "served") for served in found) == 5
    runs = [of(k)[s] for k in ("dpo", "sft") for s in study.SEEDS[1:]]
    chances = [against_start(run, "served")[2] for run in runs]
    assert f"(p from {min(chances):.2g} to {max(chances):.2g})" in PROSE


def test_the_rates_are_the_better_of_those_that_were_tried():
    for name in ("sft", "dpo"):
        tried = {r["rate"]: r for r in RUNS if (r["run"], r["seed"]) == (name, SEED)}
        assert len(tried) == 2
        kept = {x: r["validation"]["served"].count("1") for x, r in tried.items()}
        assert max(kept, key=lambda rate: kept[rate]) == results.RATES[name]
    lower = tried[min(tried)]
    assert min(tried) * 4 == results.RATES["dpo"] and "a quarter of its rate" in PROSE
    told = f"serves {count(lower, 'served')} and has moved by {lower['test']['kl']:.3f}"
    assert f"DPO {told} nats a token" in PROSE


# A lesson that says less than what was measured, or more.
def test_the_lesson_says_with_how_many_seeds_its_runs_were_made():
    for name in ("dpo", "sft", "reward_model", "form", "verified"):
        assert {*of(name)} == {*study.SEEDS}, name
    assert len(of("start")) == 1 and "three seeds from one start" in PROSE


def test_the_reward_model_is_told_right():
    scorers = [of("reward_model")[seed] for seed in study.SEEDS]
    own, wrong = (
        [results.preferred(scorer[key]).right for scorer in scorers]
        for key in ("pairs", "blind")
    )
    told = (
        f"right in {own[0]:g} of 60 pairs, and with the wrong requests in {wrong[0]:g}"
    )
    told += f" (with two more seeds in {own[1]:g} and {own[2]:g}, and "
    assert f"{told}{wrong[1]:g} and {wrong[2]:g})" in PROSE
    assert sum(own) - sum(wrong) <= 0.05 * sum(own)  # "nearly all of it"

# %% [markdown]
# # 06 · Did the science score change, or was it luck?
#
# <!-- colab badge -->
#
# A benchmark gives one number before fine-tuning and another one after it. Two runs
# never give the same number. Is the difference the training, or would other questions
# have said the opposite? And how many questions does it take to know?
#
# **You will be able to**
#
# - say what acc and acc_norm are, and compute both by hand,
# - call lm-eval from Python and from the command line, with an adapter, and keep every
#   answer,
# - say *before* a run how small a difference it can find,
# - compare two models by an exact paired test, and report n, interval and p,
# - name four ways in which a benchmark score goes up by itself.
#
# **Time and memory.** It takes about 40 minutes to read. It runs for about 7 minutes
# and needs 2 GiB on a CPU (processor time of one core; without a saved adapter 5 minutes
# more). On a T4 with the 8B model and the 2,376 questions of ARC-Easy about 40 minutes
# and 9 GiB of GPU memory; on a fresh machine, as its badge opens it, 15 more for set-up,
# download and the adapter: estimates, it has not been run there.

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: it imports unsloth
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# ## 1. The questions
#
# **ARC-Easy** has 5,197 science questions for school children; its test split, the part
# for reporting, has 2,376. They lie on the hub, and a machine with a GPU is asked them.
# Without a network the course asks questions of its own, written in the same columns;
# none is taken from ARC. If you have the test split as a file,
# `ARC_EASY_JSONL=/path/to/test.jsonl` asks it on every machine. What does a question
# look like?

# %% tags=["nbval-check-output"]
from course_utils.data.questions import load_questions

own = load_questions()
print(f"{len(own)} questions\n\n{own[0].question}")
for position, choice in enumerate(own[0].choices):
    print("→" if position == own[0].answer else " ", choice)

# %% [markdown]
# Four choices, one is right (→). Who guesses gets 25 %. The model under test is the
# adapter of lesson 03, on its base:

# %%
from course_utils.arc.task import choose_benchmark
from course_utils.projects.project import chosen_project
from course_utils.training.adapter import get_adapter

finetuned = get_adapter(chosen_project().recipe, profile)
plan, folder = finetuned.plan, finetuned.folder
benchmark = choose_benchmark(profile, folder / "lm_eval")
print(f"lm-eval's task {benchmark.task} over {benchmark.questions}")

# %% [markdown]
# ## 2. How a language model ticks a box
#
# It does not. It never sees the letters A to D or the list of choices. Each choice is
# put behind the question alone, and the model says how likely that text is. Its
# **log-likelihood** is a sum over the tokens of the choice $c_i$:
#
# $$S_i = \sum_{t \in c_i} \ln p(x_t \mid \text{question}, x_{<t})$$
#
# **acc** takes the choice with the largest $S_i$. A longer text has more factors below
# one, so acc favours short choices. **acc_norm** divides by the number of characters
# first. Predict what each of them takes here:

# %% tags=["nbval-check-output"]
import pandas as pd

toy = pd.DataFrame({"choice": ["ice", "a frozen lake"], "S": [-6.0, -13.0]})
toy["characters"] = toy["choice"].str.len()
toy["S / characters"] = toy["S"] / toy["characters"]
toy

# %% [markdown]
# acc takes “ice” (−6 > −13), acc_norm takes “a frozen lake” (−1 > −2): the same model,
# the same numbers, two answers.
#
# The usual tool is **lm-eval** (the *lm-evaluation-harness*). For it a benchmark is a
# YAML file that says where the questions lie and how they become text. What does the
# one of ARC-Easy say?

# %% tags=["nbval-check-output"]
import yaml

from course_utils.arc.task import stock_task

task = yaml.safe_load(stock_task().read_text())
for key in ("test_split", "output_type", "doc_to_text", "doc_to_choice"):
    print(f"{key:14} {task[key]!r}")

# %% [markdown]
# `{{question}}` is a column of the data. A task of your own is a file of this kind.
# Without a network the course changes only where the questions lie. Now the model:

# %%
import logging

import datasets

logging.getLogger("lm_eval").setLevel("ERROR")  # else advice on each setting
datasets.disable_progress_bars()
model, tokenizer = models.load_adapter(finetuned.adapter_folder, plan, profile)

# %% [markdown]
# lm-eval wants it in a wrapper of its own, which can also load it by name:

# %%
from lm_eval.models.huggingface import HFLM

harness = HFLM(
    pretrained=model,  # a loaded model, or the name of one
    tokenizer=tokenizer,
    batch_size=16,  # texts in one pass; it must not change the result
    softmax_dtype="float32",  # in fp16 a sum of logarithms loses digits
)

# %% [markdown]
# And it must know where our task is defined:

# %%
from lm_eval.tasks import TaskManager

manager = TaskManager(
    include_path=str(benchmark.folder),  # where the YAML of our task lies
    include_defaults=False,  # leave out lm-eval's own thousands of tasks
)

# %% [markdown]
# One call does the rest. First a single question: what comes back? (lm-eval also asks git
# for the commit of the folder that it is called in. On Colab that is no repository, and
# git says `fatal: not a git repository`; the result is the same.)

# %%
from lm_eval import simple_evaluate

results = simple_evaluate(
    model=harness,
    tasks=[benchmark.task],
    task_manager=manager,
    samples={benchmark.task: [0]},  # which questions; leave it out for all
    num_fewshot=0,  # solved examples before each question
    apply_chat_template=False,  # True: the question becomes a chat turn
    log_samples=True,  # keep each answer; a pair needs both
    bootstrap_iters=0,  # no error bars: section 5 has better ones
)
sample = results["samples"][benchmark.task][0]
for context, choice in sample["arguments"]:
    print(repr(context + choice))

# %% [markdown]
# One text for each choice. Look at this once for every benchmark: a missing space or a
# doubled template shows here. The sample also holds the scores. Are they what we find
# by hand? Tokens, logits, log-softmax, then the entries of the tokens that came, summed
# behind the prompt:

# %%
def log_likelihood(prompt: str, choice: str) -> float:
    tokens = tokenizer(prompt + choice, return_tensors="pt")["input_ids"]
    logits = models.logits_of(model, tokenizer, prompt + choice)  # (seq, vocab)
    logs = logits[:-1].log_softmax(-1).cpu()  # position t predicts token t + 1
    came = logs.gather(-1, tokens[0, 1:, None])
    return came[len(tokenizer(prompt)["input_ids"]) - 1 :].sum().item()


# %%
by_hand = pd.DataFrame({"choice": sample["doc"]["choices"]["text"]})
by_hand["S"] = [log_likelihood(*texts) for texts in sample["arguments"]]
by_hand["S / characters"] = by_hand["S"] / by_hand["choice"].str.len()
by_hand["lm-eval's S"] = [score for score, _ in sample["filtered_resps"]]
by_hand.round(3)

# %%
import numpy as np
import torch

step = torch.finfo(profile.compute_dtype).eps * by_hand["S"].abs().max()
rounding = max(1e-3, 8 * step)  # nats; fp16 on a GPU is coarser
theirs = by_hand["lm-eval's S"]
np.testing.assert_allclose(by_hand["S"], theirs, rtol=0, atol=rounding)

# %% [markdown]
# The same numbers, up to the rounding of the model's number format. There is no more to
# it. (No example and no chat template are lm-eval's defaults for this task.)
#
# ### ●○○ Exercise 1 · Mark a logged answer (5 minutes)
#
# *Why it matters: the log is all that is left of a run, and one paper's acc beside
# another one's acc_norm is the most common unfair comparison on leaderboards.*
#
# A logged sample has `sample["doc"]["choices"]` with the lists `"text"` and `"label"`,
# `sample["doc"]["answerKey"]`, the label of the right choice, and
# `sample["filtered_resps"]`, a pair for each choice whose first entry is $S_i$. Write
# `mark(sample, metric)` for the metrics `"acc"` and `"acc_norm"`: the label of the
# choice that wins, and whether it is the right one. Try it on `sample` as well.

# %% tags=["exercise"]
from course_utils.exercises import TODO, check


def mark(sample: dict, metric: str) -> tuple[str, bool]:
    """Label of the choice that wins under a metric, and whether it is right."""
    return TODO


# %% tags=["check"]
check(mark)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Make a list of scores first, divided or not; then `scores.index(max(scores))`. Labels
# are A to D in most questions and 1 to 4 in some.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def mark(sample: dict, metric: str) -> tuple[str, bool]:
#     choices = sample["doc"]["choices"]
#     scores = [score for score, _ in sample["filtered_resps"]]
#     if metric == "acc_norm":
#         scores = [s / len(t) for s, t in zip(scores, choices["text"])]
#     winner = choices["label"][scores.index(max(scores))]
#     return winner, winner == sample["doc"]["answerKey"]
# ```
#
# </details>
#
# ## 3. Pairs: only the questions on which two models differ
#
# Base and tuned answer the *same* questions. Where both are right, or both are wrong,
# the question says nothing about which model is better. What decides are the
# **discordant** questions: lost (right before, wrong after) or gained.
#
# Toy: 12 discordant questions, 3 lost and 9 gained. If the models were equally good,
# each of the 12 would fall to either side like a coin. How often do 12 coins fall 3 to
# 9, or more unevenly? At most 3 heads: 1 + 12 + 66 + 220 = 299 of 2¹² = 4,096 ways, and
# as many on the other side. This is **McNemar's exact test**, by hand and by two
# libraries:

# %% tags=["nbval-check-output"]
from math import comb

from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar

lost, gained = 3, 9
ways = sum(comb(lost + gained, k) for k in range(lost + 1))
by_libraries = [
    binomtest(lost, lost + gained).pvalue,
    mcnemar([[0, lost], [gained, 0]], exact=True).pvalue,
]
[round(float(p), 4) for p in (2 * ways / 2**12, *by_libraries)]

# %% [markdown]
# Three times as many gains as losses, and luck alone does it in one case of seven.
#
# ### ●●○ Exercise 2 · The exact test (6 minutes)
#
# *Why it matters: if you can write this on a whiteboard, you have understood paired
# comparisons.*
#
# Write `exact_p(lost, gained)`, the two-sided p-value, without scipy or statsmodels.

# %% tags=["exercise"]
def exact_p(lost: int, gained: int) -> float:
    """Two-sided p-value of McNemar's exact test."""
    return TODO


# %% tags=["check"]
check(exact_p)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Sum `comb(n, k)` for k from 0 to the smaller count, divide by `2**n`, double it, and
# cap the result at 1.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# from math import comb
#
#
# def exact_p(lost: int, gained: int) -> float:
#     n = lost + gained
#     ways = sum(comb(n, k) for k in range(min(lost, gained) + 1))
#     return min(1.0, 2 * ways / 2**n)
# ```
#
# </details>
#
# ## 4. The plan, before the run
#
# What could our questions find at all? **Power** is the chance that a test finds a
# difference that is there. It depends on three numbers: n, the true difference, and the
# share of discordant questions. Let us play 2,000 experiments with 260 questions, 10 %
# of them discordant, and a true gain of 5 points. Predict: in how many is p < 0.05?

# %% tags=["nbval-check-output"]
from course_utils.statistics import power

shares = [0.025, 0.075, 0.9]  # lost, gained, same: 7.5 % − 2.5 % = 5 points
played = np.random.default_rng(0).multinomial(260, shares, size=2000)
found = np.mean([power.exact_p(b, c) < 0.05 for b, c, _ in played])
exactly = power.mcnemar_power(260, discordant=0.10, difference=0.05)
print(f"found in {found:.0%} of the played experiments; exactly {exactly:.1%}")

# %% [markdown]
# (The package sums over all counts in place of playing.) In a third of the experiments
# a true gain of 5 points would be called “not significant”. How many questions find a
# difference in 80 % of the experiments, the usual goal?

# %% tags=["nbval-check-output"]
points, shares = (1, 2, 5), (0.05, 0.10, 0.20)
needed = power.needed_questions
pd.DataFrame(
    {f"{s:.0%} discordant": [needed(d / 100, s) for d in points]
     for s in shares},
    index=pd.Index([f"{d} points" for d in points], name="true difference"),
)

# %% [markdown]
# Half the difference needs four times the questions: one or two points on a few hundred
# questions are never news. Now our plan. The metric is **acc**. The discordant share is
# not known before the run, so we *assume* 10 %; taken from the run afterwards, it could
# no longer warn anybody. What can this benchmark see?

# %%
METRIC, ASSUMED = "acc", 0.10  # chosen now, before any model has answered
n = results["n-samples"][benchmark.task]["original"]
least = power.detectable_difference
limits = {size: 100 * least(size, ASSUMED) for size in (60, n, 10 * n)}
print(f"Plan: {METRIC}, n = {n:,}, exact test, p < 0.05.\nIf {ASSUMED:.0%} are")
print(f"discordant, {limits[n]:.1f} points are found with a power of 80 %.")

# %%
from course_utils.plots import line_plot

points = np.linspace(0, 1.5 * max(limits.values()), 60)
chance = power.mcnemar_power
curves = {
    f"n = {size:,}": [chance(size, ASSUMED, d / 100) for d in points]
    for size in limits
}
axes = line_plot(
    points, curves, x_label="true difference (percentage points)",
    y_label="chance that it is found", reference=("80 % power", 0.8),
    title=f"{n:,} questions find {limits[n]:.1f} points, not less",
)
for drawn, colour in zip(axes.lines, ("#d9d9d9", "#d9822b", "#8c8c8c")):
    drawn.set_color(colour)
axes.plot(limits[n], 0.8, "o", color="#d9822b")
axes.legend();

# %% [markdown]
# Orange is our benchmark. An adapter for films, instructions or Terraform should not
# *know* more science; a lower score would be forgetting. So the question of this run is
# whether science fell, and a fall smaller than the dot may well stay unseen.
#
# ## 5. Measure, pair, decide
#
# In a comparison everything except the model must be equal. So both runs go through one
# function, and the base is the same loaded model with its adapter switched off. From
# here on `evaluate` makes the calls of section 2 (a test holds them equal) and keeps
# every answer together with its settings.

# %%
from course_utils.arc.evaluation import evaluate

with model.disable_adapter():
    base = evaluate(model, tokenizer, benchmark, "base")
tuned = evaluate(model, tokenizer, benchmark, "tuned")
for run in (base, tuned):
    run.save(folder / f"arc_{run.name}.jsonl")

# %% [markdown]
# The same from a shell, where `BASE` is the base's id or folder and `ADAPTER` the
# adapter's folder; without `peft=` it is the base's run. (For a base in 4 bits say
# `dtype=float16,load_in_4bit=True`.) A test of the course runs this command and finds
# the same log-likelihoods:

# %% tags=["nbval-check-output"]
command = """
lm_eval --model hf
 --model_args pretrained=BASE,peft=ADAPTER,dtype=float32,softmax_dtype=float32
 --tasks arc_easy --num_fewshot 0 --batch_size 16
 --log_samples --output_path RESULTS
"""
print(command.strip().replace("\n", " \\\n "))

# %% [markdown]
# **Measure.** The two accuracies, each with the interval that it would have alone:

# %%
from course_utils.arc.evaluation import compare_evaluations

result = compare_evaluations(base, tuned, METRIC)
print(result.first, result.second, sep="\n")

# %% [markdown]
# Whether these two intervals overlap proves nothing. Each says how the accuracy would
# move on *other* questions, and there both models would move together, since a hard
# question is hard for both. **Pair.** What is left when the common part goes?

# %%
from course_utils.statistics.plots import outcome_mosaic

outcome_mosaic(
    [[result.both_right, result.lost], [result.gained, result.both_wrong]],
    names=result.names,
    title=f"{result.discordant} of {result.n} questions decide: "
    f"{result.lost} lost, {result.gained} gained, p = {result.p:.2g}",
);

# %% [markdown]
# The grey part is silent. **Decide**, by the rule that stood before the run:

# %%
low, change, high = result.points
verdict = "shown" if result.p < 0.05 else "not shown"
print(f"A difference is {verdict}: {change:+.1f} points ({METRIC}, n = {n}),")
print(f"95 % interval {low:+.1f} to {high:+.1f}, exact p = {result.p:.3f}.")
print(f"A fall of more than {max(0, -low):.1f} points does not fit these data.")
print(f"Assumed {ASSUMED:.0%} discordant, found {result.discordant / n:.1%}.")

# %% [markdown]
# The interval belongs to the exact test: it leaves 0 out exactly when p < 0.05.
# *“Not shown”* is not *“not there”*: every value inside the interval fits these data.
#
# A score is made of questions. Which of them flipped? Read them before you believe a
# story about what was learnt or lost.

# %%
from course_utils.arc.evaluation import paired_answers

pairs = paired_answers(base, tuned)
flipped = [(b, t) for b, t in pairs if b.right[METRIC] != t.right[METRIC]]
for before, after in flipped[:5]:
    asked, way = before.question, "gained" if after.right[METRIC] else "lost"
    picks = [asked.choices[answer.pick(METRIC)] for answer in (before, after)]
    print(f"{asked.question}\n   {way}: {picks[0]} → {picks[1]}")

# %% [markdown]
# ## 6. Four ways to a better score
#
# ### The wrong baseline
#
# Chance is 25 %. But somebody who sees the choices and not the question can do better,
# if wrong choices sound wrong by themselves. Three plain programs try it, and so does
# the base: a task of our own removes the question. Predict its score.

# %%
blind = {
    "include": str(benchmark.folder / f"{benchmark.task}.yaml"),
    "task": "choices_only",
    "tag": None,  # no group of tasks to belong to
    "doc_to_text": "Answer:",  # the question is gone
}
path = folder / "lm_eval" / "choices_only.yaml"
path.parent.mkdir(exist_ok=True)
path.write_text(yaml.safe_dump(blind));

# %%
from course_utils.arc.task import Benchmark

without = Benchmark("choices_only", path.parent, benchmark.questions)
with model.disable_adapter():
    choices_only = evaluate(model, tokenizer, without, "choices only")

# %%
from course_utils.statistics.shares import Share

programs = {
    "always the first": lambda lengths: 0,
    "the longest": lambda lengths: lengths.index(max(lengths)),
    "the shortest": lambda lengths: lengths.index(min(lengths)),
}
asked = [answer.question for answer in base.answers]
right = {
    name: [pick([len(c) for c in q.choices]) == q.answer for q in asked]
    for name, pick in programs.items()
}
for run in (choices_only, base, tuned):
    right[run.name] = [answer.right[METRIC] for answer in run.answers]
rates = [Share(sum(verdicts), n) for verdicts in right.values()]

# %%
from course_utils.statistics.plots import interval_plot

ends = [(r.interval[0], r.share, r.interval[1]) for r in rates]
blindly, with_question = rates[3].share, rates[4].share
interval_plot(
    list(right), 100 * np.array(ends),
    x_label=f"{METRIC} (% of {n:,} questions)",
    reference=("chance", 25.0), spelled="{1:.0f} %  [{0:.0f}, {2:.0f}]",
    title=f"Without the question {blindly:.0%}, with it {with_question:.0%}",
);

# %% [markdown]
# Grey lines include chance. Only what the base scores above *choices only* comes from
# the question. So measure this baseline once for each benchmark, and beware of one in
# which it comes near the score.
#
# ### Another prompt
#
# The tuned model learnt in a chat, and here it was asked in plain text. What happens to
# the untouched base when some questions come as a chat turn, or after one solved
# example (*one-shot*)? They are drawn by a seed. (lm-eval's `limit=30` takes the
# *first* 30, no random sample of a sorted file; its docstring keeps it for testing.)

# %%
from course_utils.arc.evaluation import Prompt

AGAIN = 30  # questions that are asked again; longer prompts take longer
drawn = sorted(np.random.default_rng(plan.seed).permutation(n)[:AGAIN])
forms = {
    "in a chat": Prompt(chat_template=True),
    "one-shot": Prompt(shots=1, seed=plan.seed),
}
with model.disable_adapter():
    others = [
        evaluate(model, tokenizer, benchmark, name, prompt=form, only=drawn)
        for name, form in forms.items()
    ]

# %%
some = base.subset([answer.question.id for answer in others[0].answers])
varied = ["chat_template", "shots", "seed"]  # what may differ between two runs
by_form = {
    run.name: compare_evaluations(some, run, METRIC, varied=varied)
    for run in others
}
for name, found in by_form.items():
    print(f"{name}: {found.discordant} of {found.n} verdicts change,", end=" ")
    print(f"{found.points[1]:+.1f} points, p = {found.p:.2f}")

# %% [markdown]
# The same weights and questions, but other verdicts, whether the average shows it or
# not. So a figure made with a template is not comparable to one without it; the same
# goes for shots, precision, the version of lm-eval and the data. (`compare_evaluations`
# refuses such pairs unless `varied` names the setting.)
#
# ### The metric and the moment that suit
#
# Nobody looks at a benchmark only once. Suppose that we had looked after each question,
# under both metrics, and stopped where p looks best:

# %%
counted = {}
for metric in ("acc", "acc_norm"):
    right = np.array([[a.right[metric] for a in pair] for pair in pairs], int)
    sums = [np.cumsum(np.diff(right) == sign) for sign in (-1, 1)]
    counted[metric] = [power.exact_p(b, c) for b, c in zip(*sums)]
smallest = min(map(min, counted.values()))

# %%
axes = line_plot(
    range(1, n + 1), counted, x_label="questions so far",
    y_label="exact McNemar p", reference=("p = 0.05", 0.05),
    title=f"At the best moment p = {smallest:.2f}, as planned {result.p:.2f}",
)
for drawn_line, colour in zip(axes.lines, ("#1f5fa8", "#d9822b")):
    drawn_line.set_color(colour)
axes.legend();

# %% [markdown]
# How often would such looking “find” something between two equally good models? 300
# played experiments with 260 questions, 10 % discordant and no true difference; one
# metric, and a look after each question from the twentieth on:

# %% tags=["nbval-check-output"]
from functools import cache

remembered = cache(power.exact_p)
shape, none = (300, 260), [0.05, 0.05, 0.9]  # lost, gained, same
drawn = np.random.default_rng(1).choice([-1, 1, 0], shape, p=none)
lost, gained = ((drawn == sign).cumsum(axis=1)[:, 19:] for sign in (-1, 1))
p = np.vectorize(lambda b, c: remembered(int(b), int(c)))(lost, gained)
at_end, at_best = (p[:, -1] < 0.05).mean(), (p.min(axis=1) < 0.05).mean()
print(f"p < 0.05 at the end: {at_end:.0%}, at the best moment: {at_best:.0%}")

# %% [markdown]
# The rule of 5 % holds at the planned end and nowhere else. So write the plan down,
# with its number of questions, and keep to it.
#
# ### Many benchmarks
#
# The same happens with four benchmarks in place of many moments: each test at 5 % may
# give a false alarm of its own. **Holm's correction** asks more of the smallest p.
#
# ### ●●○ Exercise 3 · Holm's correction (6 minutes)
#
# *Why it matters: “improved on two of four benchmarks” often does not survive it.*
#
# Write `survivors(p_values)`: how many of m p-values are significant at 5 %. The
# smallest must be at most 0.05 / m, the next at most 0.05 / (m − 1), and so on; the
# first that fails ends it.

# %% tags=["exercise"]
def survivors(p_values: list[float]) -> int:
    """Number of p-values that Holm's correction leaves significant at 5 %."""
    return TODO


# %% tags=["check"]
check(survivors)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Sort, then walk with `enumerate`: the one at position i is held against
# `0.05 / (m - i)`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def survivors(p_values: list[float]) -> int:
#     kept = 0
#     for i, p in enumerate(sorted(p_values)):
#         if p > 0.05 / (len(p_values) - i):
#             break
#         kept += 1
#     return kept
# ```
#
# </details>
#
# All comparisons of this lesson, corrected by the library:

# %%
from statsmodels.stats.multitest import multipletests

compared = {
    "tuned − base, acc": result,
    "tuned − base, acc_norm": compare_evaluations(base, tuned, "acc_norm"),
    **{f"{name} − plain, base": found for name, found in by_form.items()},
}
all_p = [found.p for found in compared.values()]
kept, corrected, *_ = multipletests(all_p, alpha=0.05, method="holm")
columns = {"n": [c.n for c in compared.values()], "p": all_p, "Holm": corrected}
pd.DataFrame(columns, index=list(compared)).round(3)

# %%
title = f"{sum(kept)} of {len(kept)} comparisons are significant after Holm"
interval_plot(
    [f"{name}\nn = {found.n:,}" for name, found in compared.items()],
    [found.points for found in compared.values()],
    x_label="percentage points", title=title,
);

# %% [markdown]
# Look at the widths first: a few questions leave room for almost anything.
#
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | your figure is far from the published one | another prompt (template, shots), acc against acc_norm, another split, `limit` | print one sample's `arguments` and the settings |
# | base and tuned give exactly the same numbers | the adapter was off in both runs, or never loaded | section 2's hand computation, adapter on and off |
# | every model scores about 25 % | wrong tokenizer, labels shifted by one | compute one question by hand |
# | `NotANumber` | a layer overflowed in fp16, or the adapter diverged | bf16 or fp32; lesson 04 on its curve |
# | `NotComparable` | settings or questions differ between the runs | ask again; `varied` if you mean it |
# | the score changes with the batch size | padding that the mask ignores; fp16 | ten questions with batch size 1 must agree |
# | two runs cannot be paired any more | only averages were kept | `log_samples=True`, and keep the file |
#
# ## In the interview
#
# Say the answer aloud before you unfold it. Its numbers were measured or computed by
# this course, or stand in a source that the bank names; how a published gain on ARC-Easy
# is taken apart stands in [proof 06](proofs/06_arc_easy_claims.ipynb).

# %%
from course_utils.evidence.cards import show_cards

show_cards("06")

# %% [markdown]
# ## The same on your project
#
# Base against adapter on any task of lm-eval, without the course's package. It returns
# n, the two discordant counts and p.

# %%
import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from scipy.stats import binomtest


def compare(base, adapter, task="arc_easy", metric="acc", manager=None):
    device, right = "cuda" if torch.cuda.is_available() else "cpu", []
    for peft in (None, adapter):
        given = {"pretrained": base, "peft": peft, "dtype": "float32"}
        harness = HFLM(**given, batch_size=16, device=device)
        results = simple_evaluate(
            model=harness, tasks=[task], task_manager=manager, log_samples=True
        )
        rows = results["samples"][task]
        right.append({row["doc_id"]: row[metric] for row in rows})
    before, after = right
    lost = sum(before[question] > after[question] for question in before)
    gained = sum(before[question] < after[question] for question in before)
    p = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    return len(before), lost, gained, p


# %% [markdown]
# ## You can now …

# %%
print("… compute acc and acc_norm of a question by hand,")
print(f"… say before a run that {n} questions find {limits[n]:.1f} points,")
print(f"… say that base and tuned differ on {result.discordant} of {result.n},")
print(f"… report {change:+.1f} points, {low:+.1f} to {high:+.1f}, with p,")
print(f"… ask what the choices alone score: here {blindly:.0%}.")

# %% [markdown]
# ## What this run does not show
#
# - That a model has or has not seen the questions. ARC is from 2018 and lies on the
#   web, so it may be in any training set. Such *contamination* lifts base and tuned
#   alike: it harms their level more than their difference.
# - Reasoning. A right choice may be recall, or simply the likelier phrase.
# - What the model would choose if it read all four choices together, as a person does.
#   That is another task, with other scores (arXiv:2412.17758).
# - The spread over training seeds. One adapter was compared; the interval is about
#   questions, not about training again.
# - A figure for a leaderboard, unless the 2,376 real questions were asked.
#
# ## Sources
#
# - lm-eval 0.4.13, installed source: `tasks/arc/arc_easy.yaml`, `evaluator.py` (its
#   docstring keeps `limit` for testing), `models/huggingface.py`, `api/task.py`.
# - Clark et al. 2018, *Think you have Solved Question Answering? Try ARC*,
#   arXiv:1803.05457 (abstract); the sizes of its splits stand in the dataset card.
# - Miller 2024, *Adding Error Bars to Evals*, arXiv:2411.00640 (abstract).
# - Fay and Lumbard 2021, *Confidence intervals for difference in proportions for
#   matched pairs compatible with exact McNemar's or sign tests* (summary).
# - McNemar 1947, Holm 1979: not opened here; the libraries' tests are scipy's and
#   statsmodels'.

# %% tags=["hide-input"]
from course_utils.machine.run_record import save_results


def spelled(rate):
    low, high = (100 * end for end in rate.interval)
    return f"{100 * rate.share:.1f} % ({low:.0f}–{high:.0f})"


def row(found):
    low, points, high = found.points
    return {
        "measure": f"science questions, {found.metric}",
        "base": spelled(found.first), "tuned": spelled(found.second),
        "n": found.n,
        "note": f"{points:+.1f} points ({low:+.1f} to {high:+.1f}), "
        f"exact McNemar p = {found.p:.2f}",
    }


both = list(compared.values())[:2]
save_results(folder, "06", [row(found) for found in both]);

# %% tags=["hide-input"]
from course_utils.evidence.ledger import Ledger

ledger = Ledger("06", profile, chosen_project().recipe.name)
ledger.record("C030", questions=result.n, points=change, low_points=low,
              high_points=high, p=result.p, planned_points=limits[n])
in_chat = by_form["in a chat"]
ledger.record("C045", questions=in_chat.n,
              verdicts_changed_share=in_chat.discordant / in_chat.n)
assert not ledger.missing()

# %%
from course_utils.machine.run_record import write_run_record

before, after = result.first, result.second
write_run_record(
    "06",
    profile,
    headline=f"{METRIC}: base {before.share:.1%}, tuned {after.share:.1%}, "
    f"n = {result.n}, p = {result.p:.2f}",
    seed=plan.seed,
)

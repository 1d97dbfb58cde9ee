# %% [markdown]
# # 06 · Did the science score change, or was it luck?
#
# <!-- colab badge -->
#
# A benchmark gives two numbers, one before fine-tuning and one after. They differ, as
# two numbers do. Is that the training, or would the next two hundred questions have
# said the opposite? And how many questions would it take to know?
#
# **You will be able to**
#
# - say what acc and acc_norm are, and compute both for a question by hand,
# - evaluate a base and a tuned model with lm-eval so that every question is paired,
# - report a difference with n, interval and p, by an exact McNemar test,
# - say which difference a benchmark could have seen, before you run it,
# - correct for the number of tests.
#
# **Time and memory.** About 5 minutes and 2.1 GiB on two CPU cores (measured). On a T4
# with the 8B model and the 2,376 questions of ARC-Easy about 35 minutes and 9 GiB of
# GPU memory (an estimate: the course has not been timed there).

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: unsloth patches the rest
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# The adapter is the movie recommender's of notebook 03, or of the project that
# COURSE_RECIPE chooses (three of the five interview sources, S0 to S4, bring one; S1's is
# `alpaca_mistral`). The benchmark is the one that S1 reports: ARC-Easy. The metric is
# chosen here, before anything has run; why that matters is shown in section 6.

# %%
from course_utils.evidence.ledger import Ledger
from course_utils.recipes.book import chosen_recipe

recipe = chosen_recipe()
plan = recipe.plan_for(profile.name, profile.model_override)
ledger = Ledger("06", profile, recipe.name)
METRIC = "acc"
AGAIN = 60  # questions that are asked a second time, in other forms

# %% [markdown]
# ## 1. The questions
#
# ARC-Easy lies on the hub: 5,197 grade-school science questions, split in three. Only
# the test split is for reporting.

# %%
arc_easy = {"train": 2251, "validation": 570, "test": 2376}  # its dataset card

# %% [markdown]
# Two words of the claim need care. *Easy* means: a question that a search engine or a
# count of word pairs could answer. And much of it is recall, not reasoning.
#
# A machine with a GPU is asked those 2,376 questions. Without a network there are
# questions in the same columns that were written for this course, none of them taken
# from ARC. What does one look like?

# %%
# NBVAL_CHECK_OUTPUT
from course_utils.data.questions import load_questions

own = load_questions()
print(f"{len(own)} questions\n\n{own[0].question}")
for position, choice in enumerate(own[0].choices):
    print("→" if position == own[0].answer else " ", choice)

# %% [markdown]
# Before a model is asked: what does somebody score who knows no science? Three tricks
# that need no reading, and the chance level of 25 %. With n questions each rate gets
# its Wilson interval, as in notebook 03.

# %%
tricks = {
    "always the\nfirst choice": lambda q: 0,
    "the longest": lambda q: max(range(4), key=lambda i: len(q.choices[i])),
    "the shortest": lambda q: min(range(4), key=lambda i: len(q.choices[i])),
}

# %%
hits = {name: sum(t(q) == q.answer for q in own) for name, t in tricks.items()}
hits

# %%
from course_utils.statistics.shares import Share
from course_utils.plots import grouped_bars

rates = [Share(right, len(own)) for right in hits.values()]
beaten = sum(rate.interval[0] > 0.25 for rate in rates)

# %%
axes = grouped_bars(
    list(tricks),
    {"no science": [rate.share for rate in rates]},
    y_label=f"share of {len(own)} questions",
    title=f"{beaten} of {len(rates)} tricks beat chance",
    intervals={"no science": [rate.interval for rate in rates]},
    reference=("chance, 25 %", 0.25),
)
axes.set_ylim(0, 0.6);

# %% [markdown]
# A set in which the longest choice is mostly right would measure how well a model spots
# long choices. (A first draft of this one did: the right choice was too often the
# longest or the shortest, this very plot showed it, and some wrong ones were reworded.)
#
# Have you the real test set as a file? `ARC_EASY_JSONL=/path/to/test.jsonl make
# notebook N=06` asks it, on every machine; the file is checked first, and what is wrong
# with it is said by line and field. What is asked in this run?

# %%
from course_utils.training.adapter import get_adapter
from course_utils.arc.task import choose_benchmark

finetuned = get_adapter(recipe, profile)
benchmark = choose_benchmark(profile, finetuned.folder / "lm_eval")
print(f"lm-eval's task {benchmark.task} over {benchmark.questions}")

# %% [markdown]
# ## 2. How a language model ticks a box
#
# It does not. It is never shown letters or the list of choices. Each choice is put
# behind the question by itself, and the model says how likely that text is:
#
# $$S_i = \sum_{t \in c_i} \ln p(x_t \mid \text{question}, x_{<t})$$
#
# **acc** takes the choice with the largest $S_i$. A longer text has more factors below
# one, so this favours short choices. **acc_norm** divides by the length in characters:
# the choice with the largest $S_i / |c_i|$. A toy with two choices, whole:

# %%
# NBVAL_CHECK_OUTPUT
import pandas as pd

toy = pd.DataFrame({"choice": ["ice", "a frozen lake"], "S": [-6.0, -13.0]})
toy["characters"] = toy["choice"].str.len()
toy["S / characters"] = toy["S"] / toy["characters"]
toy

# %% [markdown]
# By the sum “ice” wins, −6 > −13. By the character “a frozen lake” wins, −1 > −2. The
# same model, the same numbers, two answers.
#
# ### ●○○ Exercise 1 · Tick the box (4 minutes)
#
# *Why it matters: a comparison in which one paper used acc and the other acc_norm is
# the commonest apple and orange of leaderboards.*
#
# Write `tick(scores, choices, by_length)`: the position of the winning choice, under
# acc when `by_length` is False and under acc_norm when it is True.

# %% tags=["exercise"]
from course_utils.evidence.exercises import TODO, Case, check


def tick(scores: list[float], choices: list[str], by_length: bool) -> int:
    """Position of the choice that wins under acc, or by_length under acc_norm."""
    return TODO


# %% tags=["check"]
texts = ["ice", "a frozen lake", "hot steam"]
by_sum = Case(
    arguments=([-6.0, -13.0, -27.0], texts, False),
    expected=0,
    mistakes={
        1: "that is acc_norm: divide only when `by_length` is True.",
        2: "that is the least likely choice: log-likelihoods are negative, and the "
        "largest one wins.",
    },
)
by_character = Case(
    arguments=([-6.0, -13.0, -27.0], texts, True),
    expected=1,
    mistakes={
        0: "the sum decided: divide each score by the characters of its choice.",
        2: "multiplied, or the minimum taken: the largest score a character wins.",
    },
)
check(tick, by_sum, by_character)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Make a list of scores first, divided or not, then `max(range(...), key=...)`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def tick(scores: list[float], choices: list[str], by_length: bool) -> int:
#     lengths = [len(choice) if by_length else 1 for choice in choices]
#     return max(range(len(scores)), key=lambda i: scores[i] / lengths[i])
# ```
#
# </details>
#
# Now a real question and the real model, tuned in notebook 03. What does lm-eval say of
# the first question, and is it what we find by hand?

# %%
from course_utils.arc.evaluation import evaluate

model, tokenizer = models.load_adapter(finetuned.adapter_folder, plan, profile)
first = evaluate(model, tokenizer, benchmark, "tuned", only=[0]).answers[0]
first.question

# %% [markdown]
# By hand it is five lines: tokens of prompt and choice, logits, log-softmax, the
# entries of the tokens that came, and the sum over those behind the prompt.

# %%
def log_likelihood(prompt: str, choice: str) -> float:
    """Sum of the log-probabilities of the choice's tokens after the prompt."""
    tokens = tokenizer(f"{prompt} {choice}", return_tensors="pt")["input_ids"]
    logits = models.logits_of(model, tokenizer, f"{prompt} {choice}")  # (seq, vocab)
    logs = logits[:-1].log_softmax(-1).cpu()  # position t predicts token t + 1
    came = logs.gather(-1, tokens[0, 1:, None])
    return came[len(tokenizer(prompt)["input_ids"]) - 1 :].sum().item()


# %%
prompt = f"Question: {first.question.question}\nAnswer:"
by_hand = pd.DataFrame({"choice": first.question.choices})
by_hand["S"] = [log_likelihood(prompt, choice) for choice in by_hand["choice"]]

# %%
by_hand["characters"] = by_hand["choice"].str.len()
by_hand["S / characters"] = by_hand["S"] / by_hand["characters"]
by_hand["lm-eval's S"] = first.log_likelihoods
by_hand.round(3)

# %%
import numpy as np
import torch

steps = torch.finfo(profile.compute_dtype).eps * by_hand["S"].abs().max()
rounding = max(1e-3, 8 * steps)  # nats
theirs = first.log_likelihoods
np.testing.assert_allclose(by_hand["S"], theirs, rtol=0, atol=rounding)

# %%
ours = int(by_hand["S"].idxmax()), int(by_hand["S / characters"].idxmax())
for metric, pick in zip(("acc", "acc_norm"), ours):
    *_, second, best = sorted(first.scores(metric))
    if best - second > 2 * rounding:  # below that, rounding decides
        assert pick == first.pick(metric)

# %%
print(
    f"acc picks “{first.question.choices[ours[0]]}”, acc_norm picks "
    f"“{first.question.choices[ours[1]]}”,\n"
    f"right is “{first.question.choices[first.question.answer]}”"
)

# %% [markdown]
# The numbers are lm-eval's up to the rounding of the model's dtype, and so are the
# picks. There is no more to it.
#
# ## 3. Base and tuned, every question
#
# For a comparison, everything but the model must be equal. So both runs go through one
# function: lm-eval's own task, zero-shot, log-softmax in fp32 (in fp16 a sum of
# logarithms loses digits), and the base is the same loaded model with its adapter
# switched off. The equivalent command, for a model on disk:

# %%
import shlex
from pathlib import Path

from course_utils.arc.task import command_line

words = command_line(benchmark, "MODEL", Path("RESULTS"))
words[words.index("--include_path") + 1] = benchmark.folder.name
print(shlex.join(words).replace(" --", " \\\n  --"))

# %% [markdown]
# A test of the course holds the function to that command, question by question. Now the
# run: first the base, then the tuned model, with all answers kept.

# %%
with model.disable_adapter():
    base = evaluate(model, tokenizer, benchmark, "base")
base.save(finetuned.folder / "arc_base.jsonl").name

# %%
tuned = evaluate(model, tokenizer, benchmark, "tuned")
tuned.save(finetuned.folder / "arc_tuned.jsonl").name

# %% [markdown]
# What was kept are the log-likelihoods of every choice, and the settings that make the
# two runs comparable:

# %%
pd.Series(base.settings, name="base")

# %%
from course_utils.arc.evaluation import METRICS


def accuracy(run, metric):
    """Right answers of a run under a metric, with their error."""
    right = sum(answer.right[metric] for answer in run.answers)
    return Share(right, len(run.answers), run.name, metric)



# %%
scores = {m: (accuracy(base, m), accuracy(tuned, m)) for m in METRICS}
[score for pair in scores.values() for score in pair]

# %% [markdown]
# The standard error is $\sqrt{p(1-p)/(n-1)}$, the one that lm-eval prints behind its
# ±. At 50 % it is the largest; for n = 240 that is √(0.25 / 239) = 3.2 points. How do
# the four accuracies look with their intervals?

# %%
before, after = scores[METRIC]
(low_base, high_base), (low_tuned, high_tuned) = before.interval, after.interval
overlap = max(low_base, low_tuned) < min(high_base, high_tuned)
runs = ("base", "tuned")

# %%
axes = grouped_bars(
    list(METRICS),
    {run: [scores[m][i].share for m in METRICS] for i, run in enumerate(runs)},
    y_label=f"accuracy on {before.n} questions",
    title=f"Base {before.share:.1%}, tuned {after.share:.1%}: the intervals "
    + ("overlap" if overlap else "are apart"),
    intervals={
        run: [scores[m][i].interval for m in METRICS]
        for i, run in enumerate(runs)
    },
    reference=("chance, 25 %", 0.25),
)
axes.set_ylim(0, 1);

# %% [markdown]
# Two error bars that overlap prove nothing, either way. Each bar tells how the accuracy
# would move on *other* questions, and both models would move together: a harder
# question is harder for both. What is left when that common part goes is the topic of
# the next section.
#
# ## 4. Pairing: only the questions on which they differ
#
# Each question has one of four outcomes. Where both are right, or both are wrong, it
# says nothing about which model is better. The rest are the *discordant* questions: b
# went from right to wrong, c from wrong to right.
#
# Toy: 12 discordant questions, b = 3 and c = 9. Were the models equally good, each of
# the 12 would fall to either side like a coin. How often do 12 coins split 3 to 9 or
# worse? At most 3 heads: (1 + 12 + 66 + 220) / 2¹² = 299 / 4096, and as much on the
# other side.

# %%
# NBVAL_CHECK_OUTPUT
from math import comb

b, c = 3, 9
tail = sum(comb(b + c, k) for k in range(b + 1)) / 2 ** (b + c)
p = 2 * tail
round(p, 4)

# %% [markdown]
# Three times as many gains as losses, and it happens by luck in one case of seven. This
# is McNemar's exact test. By hand, by statsmodels and by scipy's binomial test:

# %%
# NBVAL_CHECK_OUTPUT
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar

theirs = mcnemar([[0, b], [c, 0]], exact=True).pvalue, binomtest(b, b + c).pvalue
[round(float(value), 4) for value in (p, *theirs)]

# %% [markdown]
# ### ●●○ Exercise 2 · The exact test (6 minutes)
#
# *Why it matters: who can write this down on a whiteboard has understood what a paired
# comparison rests on.*
#
# Write `exact_p(lost, gained)`: the two-sided p-value, for any order of the two counts.

# %% tags=["exercise"]
def exact_p(lost: int, gained: int) -> float:
    """Two-sided exact McNemar p-value of the discordant counts."""
    return TODO


# %% tags=["check"]
one_against_seven = Case(
    arguments=(7, 1),
    expected=0.0703125,
    mistakes={
        0.03515625: "one-sided: nobody knew which model would win. Double it.",
        1.9921875: "the tail of the larger count: sum up to the smaller one.",
        0.0625: "only the split 1 to 7 itself: add the more extreme, 0 to 8.",
        0.0625 / 2: "only one split, and only one side of it.",
    },
)
even = Case((4, 4), 1.0, {1.2734375: "a probability above 1: cap it, min(1, …)."})
check(exact_p, one_against_seven, even, Case((3, 9), 598 / 4096, {}))

# %% [markdown]
# <details><summary>Hint</summary>
#
# Sum `comb(n, k)` for k from 0 to `min(lost, gained)`, divide by `2 ** n`, double, and
# cap at 1.
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
#     tail = sum(comb(n, k) for k in range(min(lost, gained) + 1)) / 2**n
#     return min(1.0, 2 * tail)
# ```
#
# </details>
#
# Now our two runs. The package has no function that returns a bare difference; what it
# returns always shows n, metric, interval and p.

# %%
from course_utils.arc.evaluation import compare_evaluations

result = compare_evaluations(base, tuned, METRIC)
result

# %%
from course_utils.statistics.plots import outcome_mosaic

outcome_mosaic(
    [[result.both_right, result.lost], [result.gained, result.both_wrong]],
    names=result.names,
    title=f"{result.discordant} of {result.n} questions decide: "
    f"{result.lost} lost, {result.gained} gained, p = {result.p:.2g}",
);

# %% [markdown]
# The grey part, most of the area, is silent. What would other questions have
# given? A paired bootstrap says it: draw n questions with replacement, each with *both* of its answers, and
# take the difference; do that ten thousand times. In full:

# %%
from course_utils.arc.evaluation import paired_answers

pairs = paired_answers(base, tuned)
outcomes = np.array([[b.right[METRIC], t.right[METRIC]] for b, t in pairs], int)
change = outcomes[:, 1] - outcomes[:, 0]  # −1 lost, +1 gained

# %%
rng = np.random.default_rng(plan.seed)
draws = rng.choice(change, (2000, len(change))).mean(axis=1) * 100
low, high = np.percentile(draws, [2.5, 97.5])
print(f"{low:+.1f} to {high:+.1f} points by hand, with 2,000 draws")

# %%
from course_utils.plots import histogram

def bins_of_one_question(values, questions):
    """Edges between the values that so many questions can give, in percent."""
    step = 100 / questions
    return np.arange(min(values) - step / 2, max(values) + step, step)


# %%
includes = "includes" if low <= 0 <= high else "leaves out"
axes = histogram(
    {"tuned − base": draws}, bins=bins_of_one_question(draws, result.n),
    x_label="percentage points", y_label="bootstrap draws",
    title=f"The 95 % interval {includes} 0",
)
for edge in (low, high):
    axes.axvline(edge, color="#4d4d4d", linestyle="--")

# %% [markdown]
# The package prints another interval, a little wider, that leaves out 0 exactly when the
# test says p < 0.05; a bootstrap does not promise that at small counts. This is the course's own experiment on claim C030: does tuning on one kind of
# answer move science questions?

# %%
low_points, points, high_points = result.points
ledger.record(
    "C030",
    questions=result.n,
    points=points,
    low_points=low_points,
    high_points=high_points,
    p=result.p,
)

# %%
verdict = "no difference is shown" if result.p >= 0.05 else "a difference is shown"
print(
    f"{verdict}: {points:+.1f} points ({METRIC}, n = {result.n}, 95 % interval "
    f"{low_points:+.1f} to {high_points:+.1f}, p = {result.p:.3f}).\n"
    "“Not shown” is not “not there”: everything inside the interval fits these data."
)

# %% [markdown]
# An adapter that was trained on films, in a chat, cannot be expected to know more
# science, and if it scored worse that would be forgetting (notebook 04 measures it by
# loss). A score is made of questions; which of them flipped?

# %%
def told(base_answer, tuned_answer):
    """A flipped question: which way, and what was chosen."""
    asked = base_answer.question
    chosen = [asked.choices[a.pick(METRIC)] for a in (base_answer, tuned_answer)]
    way = "gained" if tuned_answer.right[METRIC] else "lost"
    return way, asked.question, asked.choices[asked.answer], *chosen


# %%
columns = ["", "question", "right", "base chose", "tuned chose"]
flipped = [told(*pair) for pair in pairs if len({a.right[METRIC] for a in pair}) == 2]
shown = pd.DataFrame(flipped, columns=columns).sort_values(["", "question"])
styled = shown.style.format(escape="html").hide(axis="index")
styled.set_properties(**{"text-align": "left"})

# %% [markdown]
# Read them before you believe a story about what was learnt or lost. How sure was the
# base of its pick on these? Its *lead* is the log-likelihood of the choice it took over
# that of the next.

# %%
best = [sorted(answer.log_likelihoods)[-2:] for answer, _ in pairs]
leads = pd.DataFrame(
    {
        "lead (nats)": [first - second for second, first in best],
        "verdict": np.where(change == 0, "same for both", "flipped"),
    }
)
leads.groupby("verdict").median().round(2)

# %% [markdown]
# Medians. Where the base was undecided, a small push in any direction flips the verdict;
# where its lead was large, almost nothing does.
#
# ## 5. What could these questions have seen?
#
# *Power* is the chance that a test finds a difference that is there. It depends on n,
# on the difference, and on how many questions are discordant: more of them are more
# noise. To see what the word means, let us play the experiment 2,000 times, with 240
# questions of which 10 % are discordant and a true difference of 5 points: 18 gained
# and 6 lost on average.

# %%
from course_utils.statistics.power import exact_p as mcnemar_p
from course_utils.statistics.power import mcnemar_power

gained_share, lost_share = 0.075, 0.025  # sum 10 %, difference 5 points
rng = np.random.default_rng(0)
played = rng.multinomial(240, [lost_share, gained_share, 0.9], size=2000)
played[:3]  # lost, gained, the rest

# %%
# NBVAL_CHECK_OUTPUT
found = np.mean([mcnemar_p(lost, gained) < 0.05 for lost, gained, _ in played])
exactly = mcnemar_power(240, discordant=0.10, difference=0.05)
print(f"found in {found:.0%} of the played experiments; exactly {exactly:.1%}")

# %% [markdown]
# The package sums over all possible counts in place of playing. In more than a third of
# the experiments a true gain of 5 points would have been reported as “no significant
# difference”. And ours, with the share of discordant questions that was measured?

# %%
from course_utils.plots import line_plot

discordant = result.discordant / result.n
differences = np.linspace(0, 12, 49)  # points
sizes = {f"n = {n:,}": n for n in (AGAIN, result.n, arc_easy["test"])}

# %%
power = {
    name: [mcnemar_power(n, discordant, d / 100) for d in differences]
    for name, n in sizes.items()
}

# %%
from course_utils.statistics.power import POWER, detectable_difference

limits = {n: 100 * detectable_difference(n, discordant) for n in sizes.values()}
limits

# %%
line_plot(
    differences, power, x_label="true difference (percentage points)",
    y_label="chance that it is found",
    title=f"{result.n} questions find {limits[result.n]:.1f} points, "
    f"{arc_easy['test']:,} find {limits[arc_easy['test']]:.1f}",
    reference=(f"{POWER:.0%} power", POWER),
);

# %% [markdown]
# (The difference cannot exceed the share of discordant questions; where a curve passes
# that share, it is raised along, hence the kink.) Say this number before the run, not
# after. A benchmark that can see six points cannot
# settle a question about one. The other way round: how many questions does it take?

# %%
# NBVAL_CHECK_OUTPUT
from course_utils.statistics.power import needed_questions

rows, shares = (1, 2, 5), (0.05, 0.10, 0.20)  # points; share discordant
pd.DataFrame(
    {
        f"{share:.0%} discordant": [needed_questions(d / 100, share) for d in rows]
        for share in shares
    },
    index=pd.Index([f"{d} points" for d in rows], name="true difference"),
)

# %% [markdown]
# Half the difference needs four times the questions. That is why a point or two on a
# few hundred questions is never news.
#
# ## 6. What else moves the score: metric, prompt, seed
#
# ### The metric
#
# acc and acc_norm read the same log-likelihoods. S1 reports that both rose, as if that
# were two witnesses. How often do their verdicts agree on the untouched model, and how
# often would two unrelated verdicts of the same accuracies?

# %%
verdicts = np.array([[a.right[m] for m in METRICS] for a in base.answers])
acc, acc_norm = verdicts.mean(axis=0)
same = (verdicts[:, 0] == verdicts[:, 1]).mean()
unrelated = acc * acc_norm + (1 - acc) * (1 - acc_norm)
f"{same:.0%} agree, unrelated ones would in {unrelated:.0%}"

# %% [markdown]
# They agree more often than unrelated verdicts would, since both read one set of
# numbers, and less than you might expect: picking the better-looking one afterwards
# is a real temptation. Where they part,
# it is over length. How long are the choices that each of them picks?

# %%
def mean_length(choices):
    """Mean number of characters."""
    return round(float(np.mean([len(choice) for choice in choices])), 1)


asked = [(answer, answer.question.choices) for answer in base.answers]
lengths = {"all choices": mean_length(c for _, own in asked for c in own)}
for metric in METRICS:
    lengths[metric] = mean_length(own[answer.pick(metric)] for answer, own in asked)
lengths

# %% [markdown]
# Mean characters. (A bias for the letter A cannot occur: the task never shows letters.
# Benchmarks that print “A) … B) …” and read a letter have it.) Does the answer to our
# question depend on the metric?

# %%
by_length = compare_evaluations(base, tuned, "acc_norm")
by_length

# %% [markdown]
# Report the metric that you chose before, and the other one beside it as what it is.
#
# ### The prompt
#
# The tuned model learnt in a chat. Here it was asked in plain text, which is how the
# public figures of ARC-Easy are made. What happens when the same questions come as a
# chat turn? Sixty of them, drawn by seed, for both models.

# %%
from course_utils.arc.evaluation import Prompt

rng = np.random.default_rng(plan.seed)
drawn = rng.choice(result.n, min(AGAIN, result.n), replace=False)
positions = sorted(drawn.tolist())

# %%
chat = Prompt(chat_template=True)
tuned_chat = evaluate(
    model, tokenizer, benchmark, "tuned in chat", prompt=chat, only=positions
)

# %%
with model.disable_adapter():
    base_chat = evaluate(
        model, tokenizer, benchmark, "base in chat", prompt=chat, only=positions
    )

# %% [markdown]
# First the untouched model against itself. The two runs differ in a setting, and the
# package refuses to compare them until that is said:

# %%
from course_utils.arc.evaluation import NotComparable

some = base.subset([a.question.id for a in base_chat.answers])
try:
    compare_evaluations(some, base_chat, METRIC)
except NotComparable as refusal:
    print(refusal)

# %%
by_prompt = compare_evaluations(
    some, base_chat, METRIC, varied=["chat_template"]
)
by_prompt

# %%
ledger.record(
    "C045",
    questions=by_prompt.n,
    verdicts_changed_share=by_prompt.discordant / by_prompt.n,
)

# %% [markdown]
# The same weights, the same questions, and some verdicts change, whether the averages
# show it or not. Figures made with and without the template cannot be laid side by
# side; nor can those of two numbers of shots, two precisions or two versions of the
# harness. And base against tuned, both asked in a chat?

# %%
in_chat = compare_evaluations(base_chat, tuned_chat, METRIC)
in_chat

# %% [markdown]
# ### The seed
#
# Zero-shot scoring draws nothing: run it again, and it gives the same numbers. Chance
# enters in two other places. The first is a solved example before the question
# (*one-shot*), because a seed chooses which. Two seeds, the same sixty questions, the
# base model:

# %%
with model.disable_adapter():
    one_shot = [
        evaluate(
            model, tokenizer, benchmark, f"base after example {seed}",
            prompt=Prompt(shots=1, seed=seed), only=positions,
        )
        for seed in (plan.seed, plan.seed + 1)
    ]

# %%
by_example = compare_evaluations(*one_shot, METRIC, varied=["seed"])
by_example

# %% [markdown]
# The second is larger and mostly forgotten: which questions were asked at all. Whoever
# evaluates with `limit=60` to save time draws sixty of all. What does the base score on
# a thousand such draws?

# %%
right = np.array([answer.right[METRIC] for answer in base.answers])
few = min(AGAIN, len(right) // 2)
subsets = [100 * rng.choice(right, few, replace=False).mean() for _ in range(1000)]
lowest, highest = np.percentile(subsets, [2.5, 97.5])

# %%
axes = histogram(
    {"base": subsets}, bins=bins_of_one_question(subsets, few),
    x_label=f"{METRIC} on {few} questions (%)", y_label="draws",
    title=f"One model, {few} questions: {lowest:.0f} to {highest:.0f} %",
)
axes.axvline(100 * right.mean(), color="#4d4d4d", linestyle="--");

# %% [markdown]
# All of it in one picture. Grey intervals contain “no difference”.

# %%
from course_utils.statistics.plots import interval_plot

lines = {
    f"tuned − base\nacc, n = {result.n}": result,
    f"tuned − base\nacc_norm, n = {by_length.n}": by_length,
    f"tuned − base\nacc, in a chat, n = {in_chat.n}": in_chat,
    f"chat − plain\nbase, acc, n = {by_prompt.n}": by_prompt,
    f"example seed\nbase, acc, n = {by_example.n}": by_example,
}
clear = sum(c.p < 0.05 for c in lines.values())

# %%
interval_plot(
    list(lines),
    [comparison.points for comparison in lines.values()],
    x_label="percentage points",
    title=f"{clear} of {len(lines)} comparisons have p < 0.05",
);

# %% [markdown]
# Look at the widths first. And mind that five comparisons are drawn here: one of them
# may be “significant” by luck alone, which is the topic of section 7.
#
# ## 7. More benchmarks, more luck
#
# S1 would add MMLU, HellaSwag and GSM8K. A good idea, with a price: each test at the
# 5 % level raises a false alarm in one of twenty cases. For four tests of a model that
# has not changed at all the chance of at least one is 1 − 0.95⁴:

# %%
from statsmodels.stats.multitest import multipletests

benchmarks, level = ["ARC-Easy", "MMLU", "HellaSwag", "GSM8K"], 0.05
made_up = [0.30, 0.030, 0.21, 0.011]  # p-values for the example
kept, *_ , smallest_must_be = multipletests(made_up, level, method="holm")

# %% [markdown]
# Holm's correction asks more of the smallest p, 0.05 / 4, a little less of the next,
# 0.05 / 3, and stops at the first that fails. Of the four made-up p-values two lie below
# 0.05; how many survive?

# %%
# NBVAL_CHECK_OUTPUT
pd.DataFrame({"benchmark": benchmarks, "p": made_up, "after Holm": kept})

# %% [markdown]
# ### ●●○ Exercise 3 · Holm's correction (6 minutes)
#
# *Why it matters: “improved on two of four benchmarks” is a sentence that this test
# often unmakes.*
#
# Write `survivors(p_values)`: how many are significant at 5 % after Holm. The smallest
# of m must be at most 0.05 / m, the next at most 0.05 / (m − 1), and so on; the first
# that fails ends it.

# %% tags=["exercise"]
def survivors(p_values: list[float]) -> int:
    """Number of p-values that are significant at 5 % after Holm's correction."""
    return TODO


# %% tags=["check"]
stops_early = Case(
    arguments=([0.30, 0.030, 0.045, 0.011],),
    expected=1,
    mistakes={
        3: "uncorrected: each p was held against 0.05.",
        2: "it went on after the first failure: 0.030 > 0.05 / 3 ends it.",
        0: "unsorted: begin with the smallest, not with the first of the list.",
    },
)
steps = Case(
    arguments=([0.012, 0.016, 0.9, 0.024],),
    expected=3,
    mistakes={1: "that is Bonferroni: hold the second against 0.05 / (m − 1)."},
)
check(survivors, stops_early, steps)

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
# The figures of this run go into the README's table, each with n, interval and p:

# %%
from course_utils.machine.run_record import save_results


def spelled(accuracy):
    """An accuracy with its 95 % interval, for a table."""
    low, high = accuracy.interval
    return f"{100 * accuracy.share:.1f} % ({100 * low:.0f}–{100 * high:.0f})"


def row(comparison):
    """A line of the README's table."""
    low, points, high = comparison.points
    return {
        "measure": f"science questions, {comparison.metric}",
        "base": spelled(comparison.first),
        "tuned": spelled(comparison.second),
        "n": comparison.n,
        "note": f"{points:+.1f} points ({low:+.1f} to {high:+.1f}), "
        f"exact McNemar p = {comparison.p:.2f}",
    }


# %%
save_results(finetuned.folder, "06", [row(result), row(by_length)]).name

# %% [markdown]
# What did the author of this recipe report, and what came out here? The last column says
# what a repetition would take; where it names another machine, the figure beside it is
# no repetition, only what this one measured.

# %%
measured = {
    f"{comparison.metric}, {name}": spelled(accuracy)
    for comparison in (result, by_length)
    for name, accuracy in (("base", comparison.first), ("tuned", comparison.second))
}
measured[f"{METRIC}, change"] = row(result)["note"]
columns = ["measure", "author", "here", "a repetition takes"]
table = pd.DataFrame(recipe.compare_with_author("06", measured), columns=columns)
styled = table.style.format(escape="html").hide(axis="index")
styled.set_properties(**{"text-align": "left"})

# %% [markdown]
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | your figure is far from the published one | other prompt (chat template, shots), acc against acc_norm, other split, `limit` | print the settings; compare one question's prompt and log-likelihoods |
# | base and tuned give exactly the same numbers | the adapter was off in both runs, or never loaded | section 2's hand computation with the adapter on and off |
# | every model scores about 25 % | wrong tokenizer, logits withheld or in fp16, labels shifted by one | compute one question by hand; `softmax_dtype=float32` |
# | `NotComparable` | settings or questions differ between the runs | ask one of them again; `varied` if you mean it |
# | accuracy changes with the batch size | padding on the wrong side with a mask that ignores it; fp16 | batch size 1 on ten questions must agree |
# | two runs cannot be paired any more | only the averages were kept | `log_samples=True`, and keep the file |
#
# ## In the interview
#
# Say the answer aloud before you unfold it. Its numbers are those that a cell of this
# course recorded.

# %%
from course_utils.evidence.cards import show_cards

show_cards("06", ledger)

# %%
assert not ledger.missing()

# %% [markdown]
# ## You can now …

# %%
print(
    f"… compute acc and acc_norm of a question by hand,\n"
    f"… say that base and tuned differ on {result.discordant} of {result.n} questions,"
    f"\n… report {points:+.1f} points, {low_points:+.1f} to {high_points:+.1f}, "
    f"p = {result.p:.2f}, and mean it,\n"
    f"… say that {result.n} questions find {result.detectable_points:.1f} points, not "
    f"less."
)

# %% [markdown]
# ## What this run does not show
#
# - That a model has or has not seen the questions. ARC is from 2018 and lies on the
#   web: it may be in any pretraining set. *Contamination* lifts base and tuned alike,
#   so their difference suffers less than their level. The course's own questions are
#   new, but they ask for facts that stand in every school book.
# - Reasoning. A right pick may be recall, or the likelier phrase.
# - What the same model would choose if it read all choices together, as a person does.
#   That is another task with other scores (arXiv:2412.17758).
# - The spread over training seeds: one adapter was compared. The interval is about the
#   questions, not about training again.
# - A figure for the leaderboard, unless the 2,376 real questions were asked.
#
# ## Sources
#
# - Clark et al. 2018, *Think you have solved question answering? Try ARC*,
#   arXiv:1803.05457, and the dataset card of `allenai/ai2_arc`.
# - lm-evaluation-harness 0.4.13: `arc_easy.yaml`, `api/task.py`, installed source.
# - McNemar 1947, *Note on the sampling error of the difference between correlated
#   proportions or percentages*; Connor 1987 for its power; Wilson 1927; Holm 1979.
# - Miller 2024, *Adding error bars to evals*, arXiv:2411.00640.
# - Efron and Tibshirani 1993, *An introduction to the bootstrap* (recalled).

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "06",
    profile,
    headline=f"{METRIC}: base {before.share:.1%}, tuned {after.share:.1%}, "
    f"n = {result.n}, p = {result.p:.2f}",
    seed=plan.seed,
)

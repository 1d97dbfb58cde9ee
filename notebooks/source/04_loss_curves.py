# %% [markdown]
# # 04 · What does a loss curve tell you, and what does it hide?
#
# <!-- colab badge -->
#
# Training wrote a few hundred numbers into a log. Which of them say that the run was
# normal, when it should have stopped, and what the model lost elsewhere while it
# gained here?
#
# **You will be able to**
#
# - read a curve: name six shapes, and tell each from the log alone,
# - turn a loss into perplexity and bits per byte, and refuse a wrong comparison,
# - stop on held-out loss, and choose a learning rate by it,
# - say whether your own curve is normal, by a band of several seeds,
# - measure forgetting beside the gain, each with its interval.
#
# **Time and memory.** Eight minutes and 3 GiB on two CPU cores (measured; without a
# saved adapter 3 minutes more). On a T4 with the 8B model about 25 minutes and 9 GiB of
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
# The run to be read is notebook 03's: of the movie recommender, or of the project that
# COURSE_RECIPE chooses. (The course answers five interview-preparation documents, called
# S0 to S4; three of them bring a project.) Its adapter is taken from the run folder, or
# trained now with the same function.

# %%
from course_utils.training.adapter import get_adapter
from course_utils.data.datasets import load_rows
from course_utils.evidence.ledger import Ledger
from course_utils.projects.project import chosen_project

project = chosen_project()
recipe = project.recipe
finetuned = get_adapter(recipe, profile)
plan, folder = finetuned.plan, finetuned.folder
ledger = Ledger("04", profile, recipe.name)

# %% [markdown]
# ## 1. The log
#
# What does a trainer write down? A row for each update and each validation, a summary:

# %%
import pandas as pd

history = finetuned.run.history
shown = ["step", "loss", "grad_norm", "learning_rate", "eval_loss", "train_loss"]
pd.DataFrame(history).reindex(columns=shown).iloc[[0, 1, 2, -2, -1]].round(5)

# %% [markdown]
# `loss` is the loss of that update's own batch, before the update. `eval_loss` is the
# mean over the held-out rows. Beware of the last row: its `train_loss` is the mean over
# the whole run, not where the run ended; people quote it as the final loss.
#
# ### Smoothing
#
# Batches of a few rows jump. A smoothed line helps the eye: a mean in which each older
# point weighs w times as much as the one after it. With w = 0.5 and the losses 4, 2, 2:
#
# $$s_t = \frac{\sum_k w^k\,x_{t-k}}{\sum_k w^k}$$

# %%
# NBVAL_CHECK_OUTPUT
w, x = 0.5, [4.0, 2.0, 2.0]
weights = [w**k for k in range(len(x))]  # 1 for the newest
smoothed = sum(a * b for a, b in zip(weights, reversed(x))) / sum(weights)
round(smoothed, 4)

# %% [markdown]
# (2 + 0.5 × 2 + 0.25 × 4) / 1.75 = 4 / 1.75 = 2.2857. The package's `smooth` does this
# for each point; a span n means w = 1 − 2/(n + 1), and by default n is an eighth of the
# run, nine updates at most. Do they agree?

# %%
# NBVAL_CHECK_OUTPUT
from course_utils.curves.losses import smooth

span = 2 / (1 - w) - 1
assert abs(smooth(x, span)[-1] - smoothed) < 1e-12
[round(float(value), 4) for value in smooth(x, span)]

# %% [markdown]
# Mind the price: the last two losses are both 2, and the smoothed line still says
# 2.29. It lags behind a falling curve, so never read a turning point off it.
#
# ### ●○○ Exercise 1 · The smoother that many write (5 minutes)
#
# *Why it matters: the short form s ← w·s + (1 − w)·x, started at zero, draws a first
# point near zero, and a reader sees a run that “started low and got worse”.*
#
# Write `smoothed_line(losses, w)`: all smoothed values, by the formula above.

# %% tags=["exercise"]
from course_utils.evidence.exercises import TODO, Case, check


def smoothed_line(losses: list[float], w: float) -> list[float]:
    """Weighted means; each older loss weighs w times the one after it."""
    return TODO


# %% tags=["check"]
short = Case(
    arguments=([4.0, 1.0], 0.5),
    expected=[4.0, 2.0],
    mistakes={
        (2.0, 1.5): "started at zero: divide by the sum of the weights, 1 − w^t.",
        (4.0, 3.0): "the weights are turned round: the newest loss weighs most.",
        (4.0, 2.5): "started at the first loss, which then weighs as much as all the "
        "points that were never there.",
    },
)
check(smoothed_line, short, Case(([3.0, 1.0, 2.0], 0.0), [3.0, 1.0, 2.0], {}))

# %% [markdown]
# <details><summary>Hint</summary>
#
# Keep two running sums: weighted losses and weights. Both shrink by w at each step
# before the newest is added.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def smoothed_line(losses: list[float], w: float) -> list[float]:
#     total = weight = 0.0
#     line = []
#     for loss in losses:
#         total, weight = w * total + loss, w * weight + 1
#         line.append(total / weight)
#     return line
# ```
#
# </details>
#
# ### The whole run at a glance
#
# A loss alone explains little. Its companions do: the length of the gradient before
# clipping, and the learning rate of the update. How did all three go?

# %%
from course_utils.curves.plots import run_plot
from course_utils.curves.losses import LossCurves

healthy = LossCurves.from_history(history)
start, end = healthy.validation.iloc[[0, -1]]
clipped = (healthy.grad_norm > 1).mean()
title = f"Validation {start:.2f} → {end:.2f} nats; {clipped:.0%} of updates clipped"
run_plot(healthy, title=title);

# %% [markdown]
# The fall comes after the warm-up, when the rate is near its peak; the flat end comes
# with a rate that goes to zero. So “it has settled” may also mean “the schedule has
# ended”: a flat end under a falling rate is no proof that nothing more could be learnt.
#
# ## 2. What does the number mean?
#
# ### Nats, perplexity, bits per byte
#
# The loss is a mean over tokens, in nats. Its highest sensible value is that of a model
# that finds all V tokens equally likely, ln V. For SmolLM2's 49,152 tokens:

# %%
# NBVAL_CHECK_OUTPUT
from course_utils.model.architectures import load_architectures
from course_utils.curves.losses import guess_level

vocabulary = load_architectures()["smollm2-135m"].vocab_size
f"ln {vocabulary:,} = {guess_level(vocabulary):.4f} nats per token"

# %% [markdown]
# A loss above that is worse than knowing nothing; we shall meet one. Perplexity is e to
# the loss: between how many equally likely tokens the model hesitates. What are the
# losses of the run in that unit?

# %%
from course_utils.curves.losses import perplexity

print(
    f"before: e^{start:.2f} = {perplexity(start):.1f} tokens\n"
    f"after:  e^{end:.2f} = {perplexity(end):.1f} tokens"
)

# %% [markdown]
# Now a model is needed, untouched, and texts to try it on: answers of our own task,
# held out; a story written for this course, which is in no training set; and the right
# choices of science questions, another task altogether. As a control, a wrong choice
# of each question.

# %%
from course_utils.data.questions import load_questions
from course_utils.curves.forgetting import answer_passages, general_passages
from course_utils.curves.forgetting import science_passages, wrong_passages

WATCHED = 8  # held-out rows; every evaluation below costs a pass over them
training, validation = load_rows(plan)
watched, questions = validation[:WATCHED], load_questions()[::10]
base, tokenizer = models.load_base(plan, profile)

# %%
texts = {
    "task": answer_passages(watched, tokenizer),
    "general": general_passages(),
    "science": science_passages(questions),
    "wrong": wrong_passages(questions),
}
{name: len(passages) for name, passages in texts.items()}

# %% [markdown]
# A passage is a text to be scored, after a context that is not:

# %%
# NBVAL_CHECK_OUTPUT
texts["science"][0]

# %% [markdown]
# This is the form of lm-eval's ARC-Easy, and notebook 06 will meet the same
# likelihoods. What does the base pay for each text?

# %%
from course_utils.curves.forgetting import ForgettingMeter

meter = ForgettingMeter(texts)
base_reading = meter.read(base, tokenizer)
base_reading

# %% [markdown]
# ### Who may be compared?
#
# Bits per byte divide the whole cost of a text by its length in bytes, which no
# tokenizer can change:
#
# $$\text{bits per byte} = \frac{\text{nats per token} \times \text{tokens}}
# {\ln 2 \times \text{bytes}}$$
#
# One model, one text, one probability, but spelled in three units. What is the
# “perplexity”?

# %%
import math

general = base_reading["general"]
story = "".join(passage.text for passage in texts["general"])
units = {"token": sum(general.tokens), "word": len(story.split()), "byte": len(story)}
spelled = {name: math.exp(sum(general.nats) / n) for name, n in units.items()}
{f"per {name}": round(value, 2) for name, value in spelled.items()}

# %% [markdown]
# Same model, same text. A tokenizer with longer tokens looks worse, one with shorter
# tokens better, and nothing about the model has changed. How far can that mislead? Take
# the simplest language model there is: a table that counts which letter follows which,
# on the very story that it is then tested on.

# %%
# NBVAL_CHECK_OUTPUT
from collections import Counter
from itertools import pairwise

pairs, firsts = Counter(pairwise(story)), Counter(story[:-1])
pair_cost = -sum(n * math.log(n / firsts[a]) for (a, _), n in pairs.items())
pair_nats = pair_cost / (len(story) - 1)  # per letter, and a letter is a byte here
pair_bits = pair_nats / math.log(2)
print(f"{math.exp(pair_nats):.2f} letters of perplexity, {pair_bits:.3f} bits per byte")

# %%
import matplotlib.pyplot as plt

from course_utils.plots import grouped_bars

_, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6))
names, sides = ["letter pairs", "language model"], {"table": left, "bits": right}
values = [math.exp(pair_nats), general.perplexity]
title = "By perplexity the table wins" if values[0] < values[1] else "Perplexity"
grouped_bars(names, {"": values}, y_label="perplexity", title=title, axes=left)
values = [pair_bits, general.bits_per_byte]
title = "By bits per byte the model does" if values[0] > values[1] else "Bits per byte"
grouped_bars(names, {"": values}, y_label="bits per byte", title=title, axes=right);

# %%
ledger.record(
    "C144",
    guess_nats=guess_level(vocabulary),
    model_perplexity=general.perplexity,
    model_bits=general.bits_per_byte,
    pair_perplexity=math.exp(pair_nats),
    pair_bits=pair_bits,
)

# %% [markdown]
# So: **nats per token and perplexity** compare runs with one tokenizer, on one text,
# with one label mask, such as the validation losses of this notebook. **Bits per byte**
# compare anything on one text. Nothing compares two texts: an easy text is no merit of
# the model.
#
# ### ●○○ Exercise 2 · From a paper's perplexity to bits per byte (4 minutes)
#
# *Why it matters: it is the only way to put two model cards side by side.*
#
# Write `paper_bits(perplexity, tokens, text)`: bits per byte of a text for which a
# paper reports a perplexity per token. Mind that letters and bytes differ outside of
# English.

# %% tags=["exercise"]
def paper_bits(perplexity: float, tokens: int, text: str) -> float:
    """Bits per byte of a text with so many tokens of that perplexity."""
    return TODO


# %% tags=["check"]
accents = Case(
    arguments=(16.0, 3, "déjà vu!"),  # 8 letters, 10 bytes, 4 bits a token
    expected=1.2,
    mistakes={
        1.5: "8 letters, but “é” and “à” take two bytes each: `text.encode()`.",
        0.83177662: "these are nats: divide by ln 2.",
        4.0: "this is per token: multiply by tokens, divide by bytes.",
        4.8: "the perplexity is e to the loss: take its logarithm first.",
    },
)
check(paper_bits, accents, Case((2.0, 4, "abcd"), 1.0, {}))

# %% [markdown]
# <details><summary>Hint</summary>
#
# log₂ of the perplexity is the number of bits for one token.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def paper_bits(perplexity: float, tokens: int, text: str) -> float:
#     import math
#
#     return math.log2(perplexity) * tokens / len(text.encode())
# ```
#
# </details>
#
# ## 3. The forgetting meter
#
# S0 says that freezing the base preserves what the model knows. The weights, yes. And
# the behaviour? Prediction: with the adapter on, the scores of a text about bridges and
# ferries move, although no row of training was about either; with it off they are the
# base's again, to the last digit. First the untouched base, then the tuned model:

# %%
sample = texts["general"][:3]
of_base = [models.logits_of(base, tokenizer, passage.text) for passage in sample]
del base
models.free_memory()
tuned, _ = models.load_adapter(finetuned.adapter_folder, plan, profile)

# %%
with tuned.disable_adapter():
    off = [models.logits_of(tuned, tokenizer, passage.text) for passage in sample]
on = [models.logits_of(tuned, tokenizer, passage.text) for passage in sample]


# %%
def largest_change(some, others) -> float:
    """Largest absolute difference between two lists of logits."""
    return max((a - b).abs().max().item() for a, b in zip(some, others))


moved = {"on": largest_change(on, of_base), "off": largest_change(off, of_base)}
moved

# %% [markdown]
# How often is the likeliest next token another one?

# %%
import torch

others = torch.cat([a.argmax(-1) != b.argmax(-1) for a, b in zip(on, of_base)])
print(f"{int(others.sum())} of {len(others)} positions")
ledger.record("C125", changed_choices=others.float().mean().item())

# %% [markdown]
# The function changed in places that training never visited. For better or worse? The
# meter says it in bits per byte, with a 95 % interval over the passages (Student's t on
# the pairs: the same passage before and after):

# %%
from course_utils.curves.forgetting import change

readings = {"base": base_reading, "healthy": meter.read(tuned, tokenizer)}
effect = {name: change(base_reading[name], readings["healthy"][name]) for name in texts}
for name, found in effect.items():
    print(f"{name:8} {found}")

# %%
ledger.record(
    "C012",
    logit_change_on=moved["on"],
    logit_change_off=moved["off"],
    general_base=effect["general"].before,
    general_tuned=effect["general"].after,
)

# %%
ledger.record(
    "C016",
    science_base=effect["science"].before,
    science_tuned=effect["science"].after,
    wrong_base=effect["wrong"].before,
    wrong_tuned=effect["wrong"].after,
)

# %% [markdown]
# A rise is forgetting, a fall a gain; an interval that holds zero says that these
# passages cannot tell. Look at the control before you cheer over science: do the wrong
# choices become likelier as well? Knowledge would be a growing lead of the right one.

# %%
import numpy as np
from scipy import stats


def lead(reading) -> np.ndarray:
    """By how many nats the right choice leads, one number a question."""
    return np.subtract(reading["wrong"].nats, reading["science"].nats)


leads = {name: lead(reading) for name, reading in readings.items()}
grown = leads["healthy"] - leads["base"]
low, high = stats.ttest_1samp(grown, 0).confidence_interval()
print(
    f"lead of the right choice: {leads['base'].mean():.2f} → "
    f"{leads['healthy'].mean():.2f} nats\nchange {grown.mean():+.2f}, 95 % interval "
    f"{low:+.2f} to {high:+.2f}, n = {len(grown)}"
)

# %% [markdown]
# A likely reason: a chat model is over-sure of how it would go on after “Answer:”, and
# further tuning on plain likelihood makes it less so, for right and wrong choices
# alike. So a likelihood that rises is not yet knowledge: compare with a control, or let the
# choices compete, as notebook 06 does.
#
# What tuning costs is to be read beside what it brings, and that will be a plot at the
# end, with more than one run on it.

# %%
del tuned, of_base, off, on
models.free_memory()

# %% [markdown]
# ## 4. Is my curve normal?
#
# One run is one draw: another seed orders the rows differently and starts A elsewhere.
# The course ships the curves of several seeds of the movie recommender. (For another
# recipe `tools/course.py reference` makes them; until then its band is empty.) Your own
# seed is left out, since a curve always agrees with itself. With n seeds, mean m and standard
# deviation s, one more seed lies in 95 % of cases within
#
# $$m \pm t_{n-1} \cdot s \cdot \sqrt{1 + 1/n}$$

# %%
from course_utils.curves.plots import band_plot
from course_utils.curves.reference import place_in_band, other_seeds

reference = other_seeds(recipe.name, plan.seed)
band = reference.validation_band()
told = place_in_band(healthy, band)
band_plot(healthy, reference.training_band(), band, title=told);

# %%
print(
    f"Band: {len(reference.seeds)} seeds on profile {reference.profile}; this run: "
    f"profile {profile.name}.\n{told}.\nUpdates outside: "
    f"{band.outside(healthy.validation) or 'none'}\n"
    f"Spread of the last validation between seeds: {band.last_spread:.4f} nats"
)

# %% [markdown]
# The band belongs to the small model of the cpu profile. On another profile the model
# differs, and a curve outside of it is what one expects; measure your own band there.
# On the same profile a curve outside says: other data, another plan, another model than
# you think. And the spread is a yardstick: a difference between two settings that is
# smaller than the difference between two seeds is none.
#
# ## 5. The shapes
#
# What does a curve look like when something is wrong? Six made ones first, whose story
# we know because we wrote it. The function `diagnose` gets the log alone:

# %%
updates = np.arange(1, 41)
fall = np.exp(-updates / 6)
jumps = 0.08 * np.sin(7.0 * updates)
settled = 2 + 2 * fall
made = {
    "settles": (settled + jumps, settled),
    "half way": (4 - updates / 40 + jumps, 4 - updates / 40),
    "no effect": (4 + jumps, 4 + 0 * fall),
    "learnt by heart": (0.2 + 3.8 * np.exp(-updates / 12), settled + updates / 40),
    "explodes": (np.where(updates < 12, settled, 9) + jumps, settled + updates / 6),
    "breaks": (np.where(updates < 25, settled, 0.0), settled),
}


# %%
# NBVAL_CHECK_OUTPUT
from course_utils.curves.diagnosis import diagnose


def as_log(training_loss, validation_loss):
    """The rows that a trainer would have written; validation at every eighth."""
    rows = [{"step": i + 1, "loss": float(x)} for i, x in enumerate(training_loss)]
    held_out = list(enumerate(validation_loss, start=1))[7::8]
    return rows + [{"step": i, "eval_loss": float(x)} for i, x in held_out]


verdicts = {name: diagnose(as_log(*losses)) for name, losses in made.items()}
{name: found.verdict for name, found in verdicts.items()}

# %%
from course_utils.curves.plots import loss_plot

figure, panels = plt.subplots(2, 3, figsize=(10.5, 5.4), sharex=True)
for axes, (name, losses) in zip(panels.flat, made.items()):
    drawn = LossCurves.from_history(as_log(*losses))
    loss_plot(drawn, title=f"{name}: {verdicts[name].verdict}", axes=axes)
    axes.set(ylabel="", ylim=(0, 10))
    axes.get_legend().remove()
figure.suptitle("blue: training, orange: validation", fontsize=10);

# %% [markdown]
# Each verdict comes with the numbers that led to it and a way out. The fourth is the
# one to remember: its training loss is the best of all six. And the last:

# %%
# NBVAL_CHECK_OUTPUT
print(verdicts["learnt by heart"], verdicts["breaks"], sep="\n\n")

# %% [markdown]
# The trainer writes a NaN as 0 into its log (`logging_nan_inf_filter`, on by default),
# so a broken run can look like a perfect one. What does the doctor say of our own run?

# %%
print(diagnose(healthy))

# %% [markdown]
# ## 6. Overfitting on purpose, and stopping in time
#
# Now real ones: four batches of rows, ten passes, all else as in the recipe. The
# adapter has millions of numbers for a few hundred answer tokens, so the prediction is:
# training loss goes on falling, validation loss falls while the form is learnt and
# rises when the rows are learnt by heart.
#
# One function trains from the base on and returns the curves and what the meter reads
# at the end:

# %%
import dataclasses
import shutil
import tempfile
from pathlib import Path

from course_utils.data.tokens import to_dataset
from course_utils.training.trainer import build_trainer, run_training

temporary = tempfile.TemporaryDirectory()  # gone when this kernel ends
scratch = Path(temporary.name)
readings_at_end, curves_of = dict(readings), {"healthy": healthy}


# %%
def train(name, changed, rows, *callbacks, resume=False, **choices):
    """One run from the base on; keeps its curves and the meter's reading."""
    models.free_memory()
    fresh, tokens = models.load_base(changed, profile)
    adapted = models.attach_lora(fresh, changed)
    sets = [to_dataset(some, tokens, plan.max_length) for some in (rows, watched)]
    where = scratch / name
    trainer = build_trainer(
        adapted, tokens, *sets, changed, profile, where, **choices
    )
    at_end = ForgettingMeter(texts)
    for callback in (at_end, *callbacks):
        trainer.add_callback(callback)
    run = run_training(trainer, recipe.name, profile, resume=resume)
    readings_at_end[name] = at_end.at_the_end or at_end.read(adapted, tokens)
    curves_of[name] = LossCurves.from_history(run.history)
    return curves_of[name]


# %% [markdown]
# ### A real early stop
#
# transformers brings the callback. It counts the validations without a new best, and
# stops when its patience is at an end. `keep_best` then loads the best checkpoint, so
# that the run does not end with the last, overfitted adapter.

# %%
from transformers import EarlyStoppingCallback

ROWS = 4 * plan.effective_batch  # few enough to be learnt by heart
EPOCHS, PATIENCE = 10, 2
few = dataclasses.replace(plan, max_steps=None, epochs=EPOCHS)
patience = EarlyStoppingCallback(early_stopping_patience=PATIENCE)
choices = {"evaluations": EPOCHS, "keep_best": True}
stopped = train("stopped", few, training[:ROWS], patience, **choices)

# %%
from course_utils.training.trainer import total_updates, updates_per_epoch

epoch = updates_per_epoch(ROWS, plan)
best_update, best_loss = stopped.best()
last_update = int(stopped.training.index[-1])
print(
    f"stopped after {last_update / epoch:.0f} of {EPOCHS} epochs; best validation "
    f"{best_loss:.2f} after {best_update / epoch:.0f}"
)

# %% [markdown]
# Was that right, or too early? The trainer left a checkpoint where it stopped, so the
# same run can go on, this time without the callback. What would the rest have brought?

# %%
shutil.copytree(scratch / "stopped", scratch / "overfit")
overfit = train("overfit", few, training[:ROWS], resume=True, evaluations=EPOCHS)
print(diagnose(overfit))

# %%
low_end = smooth(overfit.training)[-1]
title = f"Validation is best at update {best_update}; training falls to {low_end:.2f}"
axes = loss_plot(overfit, title=title, mark_best=True)
axes.axvline(last_update, color="#b5443c", linewidth=1.4, label="stopped here")
axes.legend(fontsize=9);

# %% [markdown]
# The training curve alone would have shown a run that gets better and better.

# %%
best_update, best_loss = overfit.best()
after_best = overfit.table["smoothed"]
training_fall = after_best[max(best_update, 1)] - after_best.iloc[-1]
overfit_rise = overfit.validation.iloc[-1] - best_loss
ledger.record(
    "C024", rows=ROWS, training_fall=training_fall, validation_rise=overfit_rise
)

# %% [markdown]
# S1 calls two epochs an “implicit early stopping”. Where would two epochs have ended?

# %%
two_epochs = overfit.validation[2 * epoch]
ledger.record(
    "C062",
    best_epoch=best_update / epoch,
    stopped_epoch=last_update / epoch,
    above_best_at_two=two_epochs - best_loss,
)

# %% [markdown]
# Two epochs are a number that was chosen before the run. It may be too few, as here, or
# too many; only a signal from held-out rows can know. S1 also trusts in gradient
# clipping. The default limit, and how often this run reached it:

# %%
from transformers import TrainingArguments

largest_norm = TrainingArguments.__dataclass_fields__["max_grad_norm"].default
overfit_clipped = (overfit.grad_norm > largest_norm).mean()
f"limit {largest_norm}, reached in {overfit_clipped:.0%} of {len(overfit.grad_norm)}"

# %% [markdown]
# Memorising needs no large gradients, so a bound on them is no protection. We come back
# to clipping where it does act.
#
# ### Does a low rank protect?
#
# “The low-rank bottleneck prevents overfitting”, says S1. The lowest rank is 1. Alpha
# stays, as LoRA's authors keep it, so that the update is scaled up as the rank goes
# down. How many numbers are left, and what does the same training do with them?

# %%
patience = EarlyStoppingCallback(early_stopping_patience=PATIENCE)  # counts anew
lowest = dataclasses.replace(few, rank=1)
rank_one = train("rank 1", lowest, training[:ROWS], patience, **choices)
rank_one_best, rank_one_end = rank_one.best()[1], rank_one.validation.iloc[-1]
rank_one.validation.round(2).to_dict()

# %% [markdown]
# Held against the run of the recipe's rank, at its best and when patience ended:

# %%
at_start, at_stop = overfit.validation[[0, last_update]]
rises = {"all": at_stop - best_loss, "one": rank_one_end - rank_one_best}
stages = {
    f"rank {plan.rank}": [at_start, best_loss, at_stop],
    "rank 1": [at_start, rank_one_best, rank_one_end],
}
grouped_bars(
    ["base", "at its best", "when stopped"], stages, value_format="{:.2f}",
    y_label="validation loss (nats a token)",
    title=f"Rises: rank {plan.rank} {rises['all']:.2f}, rank 1 {rises['one']:.2f} nats",
);

# %%
rows = to_dataset(training[:ROWS], tokenizer, plan.max_length)
answer_tokens = sum(label != -100 for labels in rows["labels"] for label in labels)
small_model = load_architectures()["smollm2-135m"]
rank_one_numbers = sum(small_model.lora_tensor_sizes(1))
mistral = load_architectures()["mistral-7b"]
ledger.record(
    "C063",
    mistral_numbers=sum(mistral.lora_tensor_sizes(plan.rank)),
    rank_1_numbers=rank_one_numbers,
    numbers_per_token=rank_one_numbers / answer_tokens,
)

# %%
ledger.record("C059", rank_16_rise=rises["all"], rank_1_rise=rises["one"])

# %% [markdown]
# Rank does not decide it; rows do. The best that these few rows reached, against the
# end of the run on the whole set, on the same held-out rows:

# %%
task_loss = readings_at_end["healthy"]["task"].nats_per_token
ledger.record("C044", few_rows=best_loss, all_rows=task_loss)

# %% [markdown]
# ### ●●○ Exercise 3 · When does it stop? (6 minutes)
#
# *Why it matters: “patience 2” is easy to say and easy to get wrong by one.*
#
# Write `stops_at(losses, patience)`: the index of the validation after which training
# stops, that is, the first at which `patience` validations in a row brought no new
# best; the last index if that never happens.

# %% tags=["exercise"]
def stops_at(losses: list[float], patience: int) -> int:
    """Index of the validation at which early stopping ends the run."""
    return TODO


# %% tags=["check"]
wavering = Case(
    arguments=([3.0, 2.5, 2.6, 2.4, 2.45, 2.41, 2.6], 2),
    expected=5,
    mistakes={
        3: "this is the best one: the stop comes `patience` validations later.",
        4: "the first without a new best; patience 2 waits for one more.",
        2: "one bad validation is not two.",
        6: "2.41 is better than the one before it, but no new best: compare with the "
        "best so far.",
    },
)
never = Case(([3.0, 2.0, 1.0], 1), 2, {})
counts_anew = Case(([3.0, 3.1, 2.0, 2.1, 2.2], 2), 4, {3: "count anew at each best."})
check(stops_at, wavering, never, counts_anew)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Keep the best so far and a counter that goes back to zero at each new best.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def stops_at(losses: list[float], patience: int) -> int:
#     best, waited = float("inf"), 0
#     for index, loss in enumerate(losses):
#         waited = 0 if loss < best else waited + 1
#         best = min(best, loss)
#         if waited == patience:
#             return index
#     return len(losses) - 1
# ```
#
# </details>
#
# ## 7. Which learning rate?
#
# A sweep: the recipe's rate, a tenth of it, ten times and a hundred times it. Same
# seed, same rows in the same order, a sixth of the run's updates, all four judged on
# the same held-out rows.

# %%
FACTORS = (0.1, 1, 10, 100)
updates_of_run = total_updates(plan.rows or len(training), plan)
SWEEP_UPDATES = max(2, 2 * (updates_of_run // 12))  # to rank rates, not to finish
short_plan = dataclasses.replace(plan, max_steps=SWEEP_UPDATES)
for factor in FACTORS:
    changed = dataclasses.replace(short_plan, learning_rate=factor * plan.learning_rate)
    train(f"rate × {factor:g}", changed, training, evaluations=2)

# %%
sweep = {name: c for name, c in curves_of.items() if name.startswith("rate")}
ends = {
    name: {
        "training, smoothed": smooth(c.training)[-1],
        "validation": c.validation.iloc[-1],
        "largest gradient norm": c.grad_norm.max(),
        "verdict": diagnose(c).verdict,
    }
    for name, c in sweep.items()
}
pd.DataFrame(ends).T

# %%
from course_utils.plots import line_plot

_, (left, right) = plt.subplots(1, 2, figsize=(10.4, 3.9))
guessing = ("guessing, ln V", guess_level(len(tokenizer)))
losses = pd.DataFrame({name: c.training for name, c in sweep.items()})
labels = {"x_label": "update", "y_label": "training loss (nats)"}
title = f"At most {losses.max().max():.1f} nats on the way"
line_plot(
    losses.index, dict(losses), **labels, title=title, reference=guessing, axes=left
)
rates = [factor * plan.learning_rate for factor in FACTORS]
final = pd.DataFrame(ends).T[["training, smoothed", "validation"]].astype(float)
labels = {"x_label": "learning rate", "y_label": "loss at the end (nats)"}
title = f"Best by validation: {final['validation'].idxmin()}"
line_plot(rates, dict(final), **labels, title=title, marker="o", axes=right)
right.set_xscale("log")
for axes in (left, right):
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")

# %% [markdown]
# A run above the dashed line knows less than nothing. Is the best really better than
# the second, or is that chance? The meter scored both on the same held-out answers, so
# they are compared in pairs:

# %%
second, winner = final["validation"].nlargest(len(FACTORS)).index[-2:]
gap = change(readings_at_end[second]["task"], readings_at_end[winner]["task"])
print(f"{winner} against {second}: {gap}")

# %% [markdown]
# That is a verdict on a sixth of a run, of this model and these rows; a longer run may
# choose a smaller rate, and one seed is one draw. What training loss would have chosen,
# over all runs of this notebook:

# %%
full_runs = {name: curves_of[name] for name in ("healthy", "stopped", "overfit")}
table = pd.DataFrame(
    {
        "training, smoothed": {n: smooth(c.training)[-1] for n, c in full_runs.items()},
        "task": {n: readings_at_end[n]["task"].nats_per_token for n in full_runs},
    }
)
table

# %% [markdown]
# The lowest training loss belongs to the run that is worst on held-out rows. That
# verdict is worth something only if the held-out rows are really held out:

# %%
both_sets = (training, validation)
requests = [{row.request for row in rows} for rows in both_sets]
subjects = [{project.subject(row.answer) for row in rows} for rows in both_sets]
chosen = {column: table["task"][table[column].idxmin()] for column in table}
ledger.record(
    "C169",
    shared_requests=len(requests[0] & requests[1]),
    shared_films=len(subjects[0] & subjects[1]),
    lost_by_training=chosen["training, smoothed"] - chosen["task"],
)

# %% [markdown]
# And the rate that was too high, where clipping did act:

# %%
exploded = sweep[f"rate × {FACTORS[-1]:g}"]
print(diagnose(exploded))
ledger.record(
    "C064",
    default_max_norm=largest_norm,
    overfit_clipped_share=overfit_clipped,
    diverged_clipped_share=(exploded.grad_norm > largest_norm).mean(),
)

# %% [markdown]
# It was clipped and went astray all the same: Adam divides each gradient by its own
# size, so the length of its step is set by the rate, clipped or not.
#
# ## 8. Gain against forgetting
#
# Now all runs on one picture: to the right what was gained on the task, upwards what
# was lost on general text, in one unit. The whiskers are 95 % intervals over the
# passages.

# %%
effects = {
    name: {text: change(base_reading[text], score) for text, score in reading.items()}
    for name, reading in readings_at_end.items()
}
worst = max(effects, key=lambda name: effects[name]["general"].rise)
points = {name: (found["task"], found["general"]) for name, found in effects.items()}
milder = {name: pair for name, pair in points.items() if name != worst}

# %%
from course_utils.curves.plots import trade_off

_, (left, right) = plt.subplots(1, 2, figsize=(10.8, 4.4))
label = "lost on general text (bits per byte)"
trade_off(points, title=f"{worst} forgets most", y_label=label, axes=left)
trade_off(milder, title="The other runs, enlarged", y_label=label, axes=right);

# %% [markdown]
# Right and low is good. The same adapter, with the same number of weights, can leave
# general text nearly alone or wreck it: the method limits what is forgotten only
# together with rate and updates. What did the winner of the sweep pay, and what the
# run with the recipe's rate that was given its time?

# %%
for name in (winner, "healthy"):
    for text in ("task", "general"):
        print(f"{name:10} {text:8} {effects[name][text]}")

# %% [markdown]
# A sweep that looks at the task alone does not see this price. And the other task?

# %%
points = {name: (found["task"], found["science"]) for name, found in effects.items()}
points.pop(worst)
label = "lost on science answers (bits per byte)"
trade_off(points, title="Gain on the task, cost on science answers", y_label=label);

# %%
low, recipes_own, high = (effects[f"rate × {f:g}"] for f in (0.1, 1, 100))
ledger.record(
    "C164",
    task_base=effect["task"].before,
    task_tuned=effect["task"].after,
    plan_rate_rise=recipes_own["general"].rise,
    high_rate_rise=high["general"].rise,
)

# %% [markdown]
# S4 advises very small rates against forgetting. In equal updates, what does a tenth of
# the rate keep of the gain, and what does it save?

# %%
ledger.record(
    "C165",
    low_rate_gain_share=low["task"].rise / recipes_own["task"].rise,
    low_rate_rise=low["general"].rise,
    plan_rate_rise=recipes_own["general"].rise,
)

# %% [markdown]
# It forgets less because it learns less. The question for a project is another one:
# among the runs with enough gain, which loses least?
#
# ## 9. Keep the results
#
# A plot in a notebook is gone with the next run. Picture, table and facts of each run
# go below the run folder, where a later run can be held against them:

# %%
from course_utils.curves.losses import save_curves

for name, found in curves_of.items():
    axes = loss_plot(found, title=name)
    facts = {
        "diagnosis": str(diagnose(found)),
        "bits_per_byte": {t: s.bits_per_byte for t, s in readings_at_end[name].items()},
    }
    file = name.replace(" ", "_").replace("×", "x")
    save_curves(folder / "curves", file, found, axes, facts)
    plt.close(axes.figure)
sorted(path.name for path in (folder / "curves").iterdir())[:6]

# %%
from course_utils.machine.run_record import save_results

names = {"task": "held-out answers", "general": "general text"}
names["science"] = "right answers of science questions"
names["wrong"] = "wrong answers of science questions (control)"
results = [
    {
        "measure": "validation loss (nats per answer token)",
        "base": f"{start:.2f}", "tuned": f"{end:.2f}",
        "n": len(validation), "note": told,
    }
]
results += [
    {
        "measure": f"{names[text]} (bits per byte)",
        "base": f"{found.before:.3f}", "tuned": f"{found.after:.3f}",
        "n": found.passages, "note": f"{found.low:+.3f} to {found.high:+.3f}",
    }
    for text, found in effect.items()
]

# %%
save_results(folder, "04", results)
pd.DataFrame(results).style.format(escape="html").hide(axis="index")

# %% [markdown]
# **Trackers.** Nothing leaves the machine unless you say so. With
# `COURSE_TRACKER=trackio` (local, `pip install trackio`) or `COURSE_TRACKER=wandb` in
# the environment, each trainer of the course reports there too; what is set now:

# %%
from course_utils.training.trainer import trainer_config

trainer_config(plan, profile, folder, SWEEP_UPDATES).report_to

# %% [markdown]
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | training loss exactly 0, gradient norm `nan` | the trainer hides NaN as 0 in its log | `diagnose`; smaller rate, longer warm-up, loss scaling in fp16 |
# | validation far below training from the start | training is logged before the update and with dropout, or the validation rows are among the training rows | count shared requests, as in section 7 |
# | validation falls, answers get worse | loss is no measure of form or facts | notebook 05 |
# | the general text gains a lot, or the sign depends on how it is cut | short pieces without context: their first tokens decide | read it as one text, as `follows=True` does; say how it was cut |
# | `EarlyStoppingCallback requires metric_for_best_model` | it was added without a metric and checkpoints | `keep_best=True` in `build_trainer`; saving and evaluating at the same steps |
# | perplexity “improved” after a change of tokenizer, template or label mask | another unit | bits per byte on the same text |
# | loss stuck near ln V | labels are shifted twice, the output head is random, or the run exploded | section 2; notebook 03's mask |
#
# ## In the interview
#
# Say the answer aloud before you unfold it. Its numbers are those that a cell of this
# course recorded.

# %%
from course_utils.evidence.cards import show_cards

show_cards("04", ledger)

# %%
assert not ledger.missing()

# %% [markdown]
# ## You can now …

# %%
print(
    f"… read a loss of {end:.2f} as a perplexity of {perplexity(end):.1f}, and general "
    f"text as {effect['general'].after:.2f} bits per byte,\n"
    f"… show a run whose validation rose by {overfit_rise:.2f} nats while training fell"
    f" by {training_fall:.2f},\n"
    f"… stop it after {last_update // epoch} epochs, by its held-out loss,\n"
    f"… say of your own curve: {told},\n"
    f"… report a gain of {-effect['task'].rise:.3f} bits per byte on the task, and "
    f"{effect['general'].rise:+.3f} on general text."
)

# %% [markdown]
# ## What this run does not show
#
# - That a sweep over a sixth of a run finds the best rate of a full run: it finds rates
#   that are out of the question.
# - Forgetting of anything but one story and some science answers. Code, other
#   languages and safety behaviour need texts of their own: pass them to the meter.
# - That the answers became better. Loss is about likelihood; notebook 05 asks for them.
# - Significance beyond these passages: ten held-out rows and eight paragraphs give wide
#   intervals, and they are printed for that reason.
#
# ## Sources
#
# - Biderman et al. 2024, *LoRA Learns Less and Forgets Less*, arXiv:2405.09673
#   (abstract).
# - Shuttleworth et al. 2024, *LoRA vs Full Fine-tuning: An Illusion of Equivalence*,
#   arXiv:2410.21228 (abstract).
# - Cochran 1977, *Sampling Techniques*, §6.4: the interval of a ratio (recalled).
# - transformers 5.17, `EarlyStoppingCallback`, `TrainingArguments`: installed source.
# - lm-eval 0.4.13, `arc_easy.yaml`: the form of a science passage; its log-likelihoods
#   and ours are held equal by a test.

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "04",
    profile,
    headline=f"validation {start:.2f} → {end:.2f} nats a token; general text "
    f"{effect['general'].rise:+.3f} bits per byte",
    seed=plan.seed,
)

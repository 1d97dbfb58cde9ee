# %% [markdown]
# # 03 · What does a language model learn from three hundred answers?
#
# <!-- colab badge -->
#
# A language model is given a few hundred conversations in which every answer has
# the same form: a bold title, three bullets, nothing after it. What does it learn
# from them, how can you tell, and what does it not learn at all?
#
# **You will be able to**
#
# - turn a conversation into tokens and say which of them carry loss,
# - work out updates, epochs and tokens before a run, and defend each hyperparameter,
# - train with validation and checkpoints, stop the run and resume it,
# - save an adapter, load it again and prove that it is the same function,
# - judge before and after by a check with an error bar, and name what was not learnt.
#
# **Time and memory.** About 7 minutes and 2.5 GiB on two CPU cores (measured). On a T4
# with the 8B model about 15 minutes and 9 GiB of GPU memory (an estimate: the course
# has not been timed there).

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: unsloth patches the rest
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# The course answers five interview-preparation documents, called S0 to S4, and three of
# them describe a project. The one that runs is S0's movie recommender, unless the
# variable COURSE_RECIPE says `alpaca_mistral` (S1) or `inframind` (S2): then the same
# cells work on that project's data, and what the text says of films is an example. (In a
# notebook: `%env COURSE_RECIPE=inframind` in a cell before this one.)

# %%
from course_utils.evidence.ledger import Ledger
from course_utils.projects.project import chosen_project

project = chosen_project()
recipe = project.recipe
plan = recipe.plan_for(profile.name, profile.model_override)
ledger = Ledger("03", profile, recipe.name)
print(f"{recipe.name}: {recipe.title} ({recipe.origin})")

# %% [markdown]
# Every number of the run stands in the recipe, with a reason:

# %%
import pandas as pd

columns = ["setting", "author", "here", "unit or reason"]
table = pd.DataFrame(recipe.comparison(profile.name), columns=columns)
styled = table.style.format(escape="html").hide(axis="index")
styled.set_properties(**{"text-align": "left"})

# %% [markdown]
# Left the author's value for a T4, right what runs on this machine. Rank, alpha,
# modules and seed are the same everywhere; what differs, differs for the reason given.
#
# Would the author's column fit a T4, which leaves 14.7 GiB to torch? By notebook 01's
# planner, with sequences of several lengths:

# %%
# NBVAL_CHECK_OUTPUT
from course_utils.model.architectures import load_architectures
from course_utils.memory.planner import plan_memory

architectures, author = load_architectures(), recipe.plan
for tokens in (256, 1024, author.max_length):
    planned = plan_memory(
        architectures[recipe.architecture], "qlora", rank=author.rank,
        batch_size=author.batch_size, sequence_length=tokens,
        optimizer=author.optimizer,
    )
    print(f"{tokens:5} tokens: {planned.total_bytes / 2**30:5.1f} GiB")

# %% [markdown]
# `max_length` is a bound, not a habit: what counts is how long the rows are, and section
# 2 counts them.
#
# ## 1. The data: which conversations?
#
# Three sets that share no request and no film: one to learn from, one to watch the
# learning with, one that stays closed until notebook 05.

# %%
# NBVAL_CHECK_OUTPUT
from course_utils.data.datasets import load_splits, every_kth

training, validation = load_splits(plan)
{"training": len(training), "validation": len(validation)}

# %% [markdown]
# What does one row look like?

# %%
# NBVAL_CHECK_OUTPUT
row = training[0]
print(row.request, row.answer, sep="\n\n")

# %% [markdown]
# The answer states facts that stand in a table of films, so that each can be checked.
# A loader that swallows a bad row teaches the model whatever was in it. This one names
# file, line and field, and loads all or nothing. What does it say of a broken file?

# %%
# NBVAL_CHECK_OUTPUT
import tempfile
from pathlib import Path

from course_utils.data.files import FaultyData
from course_utils.data.conversation import load_conversations

broken = Path(tempfile.mkdtemp()) / "broken.jsonl"
broken.write_text('{"id": "a", "messages": []}\n{"id": "a"\n')
try:
    load_conversations(broken)
except FaultyData as error:
    print(error)

# %% [markdown]
# Both faults at once, each with its place: you mend the file in one go.
#
# ## 2. From conversation to tokens
#
# ### The template
#
# A model knows no roles. It sees one row of tokens, and the chat template decides where
# a turn begins and ends. Which marks does this model's template use?

# %%
messages = list(row.messages)
base, tokenizer = models.load_base(plan, profile)
text = tokenizer.apply_chat_template(messages, tokenize=False)
print(text)

# %% [markdown]
# Each turn is wrapped in special tokens, and a system message was put in front that
# nobody wrote: templates do such things, so print yours. Instruct models are tuned on
# their own template; *Alpaca*, the format that many tutorials print, is not one of them.
# It is a data schema of 2023: instruction, input, output, joined under headings.

# %%
# NBVAL_CHECK_OUTPUT
from course_utils.data.templates import alpaca_prompt

print(alpaca_prompt("{instruction}", "{input}") + "{output}<end token>\n")
print(alpaca_prompt("{instruction}") + "{output}<end token>")

# %% [markdown]
# There are two forms, since the input is optional, and the end token at the end is not
# part of the text that tutorials print: leave it out and the model never learns to
# stop. Do these headings occur in the template of the model at hand? (The Alpaca recipe
# puts them there; the other two leave the model its own.)

# %%
marks = tokenizer.chat_template.count("### Instruction")
ledger.record("C068", alpaca_marks_in_template=marks)

# %% [markdown]
# Where the count is 0, an Alpaca heading is ordinary text for this model. It may cope
# with it; that must be tested, not assumed.
#
# ### The label mask
#
# Fine-tuning predicts each token from those before it. But which predictions count?
# The user's words are not what the model should learn to write. So the prompt's labels
# are set to −100, the value that PyTorch's cross-entropy ignores. By hand, on a toy of
# six tokens of which the first four are the prompt:

# %%
# NBVAL_CHECK_OUTPUT
IGNORE_INDEX = -100
toy_tokens = [11, 12, 13, 14, 21, 2]  # the 2 ends the answer
prompt_length = 4
toy_labels = [IGNORE_INDEX] * prompt_length + toy_tokens[prompt_length:]
list(zip(toy_tokens, toy_labels))

# %% [markdown]
# Two tokens carry loss, the answer's only word and the end token. The package does the
# same to a real row. Which of its tokens are blue?

# %%
from course_utils.plots import label_strip
from course_utils.data.tokens import tokenize_conversation

example = tokenize_conversation(row, tokenizer, plan.max_length)
spelled = [repr(tokenizer.decode([token]))[1:-1] for token in example["input_ids"]]
carries_loss = [label != IGNORE_INDEX for label in example["labels"]]
title = f"{sum(carries_loss)} of {len(spelled)} tokens carry loss: the answer, its end"
label_strip(spelled, carries_loss, title=title);

# %% [markdown]
# Grey is read, blue is learnt. The last blue tile is the end token: it is what teaches
# the model to stop. The strip is built by our own code, so it is held against the text
# itself: for every row, do the blue tokens spell exactly the answer?

# %%
from course_utils.data.tokens import to_dataset

training = training[: plan.rows]
train_rows = to_dataset(training, tokenizer, plan.max_length)
held_out = every_kth(validation)  # at most 40: enough to judge by, in less time
valid_rows = to_dataset(held_out, tokenizer, plan.max_length)
for source, tokens in zip(training, train_rows):
    learnt = [label for label in tokens["labels"] if label != IGNORE_INDEX]
    assert tokenizer.decode(learnt) == source.answer + tokenizer.eos_token

# %% [markdown]
# They do, in all rows. Counted over the whole set: how many prompt tokens carry loss,
# what share of all tokens does, and in how many rows is the end token learnt?

# %%
labels = [label for tokens in train_rows for label in tokens["labels"]]
supervised = sum(label != IGNORE_INDEX for label in labels)
ends = sum(t["labels"][-1] == tokenizer.eos_token_id for t in train_rows)
ledger.record("C053", rows_teaching_the_end=ends / len(train_rows))

# %%
ended = [source.answer + tokenizer.eos_token for source in training]
alone = tokenizer(ended, add_special_tokens=False)["input_ids"]
answer_tokens = sum(map(len, alone))
ledger.record(
    "C126",
    prompt_tokens_with_loss=supervised - answer_tokens,
    supervised_share=supervised / len(labels),
)

# %% [markdown]
# Tokenising the answers alone gives as many tokens as carry loss: no prompt token is
# among them. How long are the rows, and is `max_length` far enough away?

# %%
from course_utils.plots import histogram

lengths = [len(ids) for ids in train_rows["input_ids"]]
answers = [sum(x != IGNORE_INDEX for x in ids) for ids in train_rows["labels"]]
title = f"The longest row has {max(lengths)} tokens: none is cut at {plan.max_length}"
histogram(
    {"whole row": lengths, "tokens that carry loss": answers},
    bins=30, x_label="tokens", y_label="rows", title=title,
);

# %% [markdown]
# ### ●○○ Exercise 1 · Mask a conversation of several turns (4 minutes)
#
# *Why it matters: “all labels are −100” and “the model repeats my question” are the
# two most reported faults of fine-tuning notebooks, and both are a wrong mask.*
#
# Write `mask(tokens, spans)`: labels for `tokens` in which only the positions inside
# `spans` carry loss. A span `(start, stop)` includes `start` and excludes `stop`.

# %% tags=["exercise"]
from course_utils.evidence.exercises import TODO, Case, check


def mask(tokens: list[int], spans: list[tuple[int, int]]) -> list[int]:
    """Labels: the tokens inside the spans, -100 everywhere else."""
    return TODO


# %% tags=["check"]
two_turns = Case(
    arguments=([5, 6, 7, 8, 9], [(1, 2), (4, 5)]),
    expected=[-100, 6, -100, -100, 9],
    mistakes={
        (5, -100, 7, 8, -100): "the mask is inverted: spans are what carries loss.",
        (-100, 6, 7, -100, 9): "`stop` is excluded, as in Python's slices.",
        (-100, -100, -100, -100, 9): "only the last span survived: start from the "
        "labels so far, not from a fresh list.",
    },
)
check(mask, two_turns, Case(([1, 2], []), [-100, -100], {}))

# %% [markdown]
# <details><summary>Hint</summary>
#
# Begin with a list of −100 as long as the tokens and copy the spans into it.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def mask(tokens: list[int], spans: list[tuple[int, int]]) -> list[int]:
#     labels = [-100] * len(tokens)
#     for start, stop in spans:
#         labels[start:stop] = tokens[start:stop]
#     return labels
# ```
#
# </details>
#
# ### The loss
#
# What is computed from logits and labels? The mean negative log-likelihood of the blue
# tokens: position t predicts token t + 1, so both are shifted by one.
#
# $$L = -\frac{1}{|S|}\sum_{t \in S} \ln p(x_{t+1} \mid x_{\le t})$$

# %%
import torch
import torch.nn.functional as F


def toy_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    scores, targets = logits[:, :-1], labels[:, 1:]  # (batch, seq - 1, ...)
    return F.cross_entropy(scores.flatten(0, 1), targets.flatten())


# %% [markdown]
# A model that knows nothing gives each of V tokens the probability 1/V, so its loss is
# ln V. With V = 8 that is ln 8 = 2.079:

# %%
# NBVAL_CHECK_OUTPUT
uniform = torch.zeros(1, 6, 8)  # equal scores for eight tokens
toy_targets = torch.tensor([[-100, -100, -100, -100, 5, 2]])
round(toy_nll(uniform, toy_targets).item(), 3)

# %% [markdown]
# The package's `completion_nll` is the same with checks around it. Does it agree with
# what the model itself reports for a row?

# %%
from course_utils.data.tokens import completion_nll

batch = {name: torch.tensor([ids]) for name, ids in example.items()}
batch = {name: ids.to(base.device) for name, ids in batch.items()}
with torch.inference_mode():
    reported = base(**batch).loss
    scores = base(batch["input_ids"], attention_mask=batch["attention_mask"]).logits

# %%
ours = completion_nll(scores, batch["labels"])
torch.testing.assert_close(ours, reported.float(), rtol=2e-3, atol=1e-3)
print(f"ours {ours:.4f}, the model's {reported:.4f} nats per token")

# %% [markdown]
# They agree. This is the number that training pushes down; e to its power is the
# perplexity, the number of tokens that the model hesitates between.
#
# ## 3. The arithmetic of the run
#
# Before anything trains: how many updates, how many rows, how many passes? With batch
# b, accumulation a and N rows, an update sees b × a rows and an epoch takes
# ⌈N / (b × a)⌉ updates.

# %%
from course_utils.training.trainer import total_updates, updates_per_epoch

updates = total_updates(len(train_rows), plan)
epoch = updates_per_epoch(len(train_rows), plan)
print(
    f"{plan.batch_size} × {plan.accumulation_steps} = {plan.effective_batch} rows "
    f"an update\n{len(train_rows)} rows / {plan.effective_batch} → {epoch} updates an "
    f"epoch\n{updates} updates = {updates / epoch:.2f} epochs = "
    f"{updates * plan.effective_batch} rows seen"
)

# %% [markdown]
# S0 says “one epoch (60 steps)”. With its 2 × 4 = 8 rows an update, 60 steps see
# 60 × 8 = 480 rows. That is one epoch of a set of 480 rows and of no other: of
# Alpaca-cleaned with its 51,760 rows it is under one percent.

# %%
from course_utils.recipes.book import ALPACA_MISTRAL, MOVIE_RECOMMENDER

seed_plan = MOVIE_RECOMMENDER.plan
examples = seed_plan.max_steps * seed_plan.effective_batch
alpaca_cleaned_rows = 51_760
ledger.record(
    "C014",
    examples=examples,
    share_of_alpaca=examples / alpaca_cleaned_rows,
    alpaca_epoch_updates=updates_per_epoch(alpaca_cleaned_rows, seed_plan),
)

# %% [markdown]
# S1 states 1,500 rows, batch 8, accumulation 4, 2 epochs, and leaves the number of
# updates out. ⌈1500 / 8⌉ = 188 batches, ⌈188 / 4⌉ = 47 updates, twice: 94.

# %%
mistral = ALPACA_MISTRAL.plan
ledger.record(
    "C035",
    effective_batch=mistral.effective_batch,
    micro_batches=-(-mistral.rows // mistral.batch_size),
    updates_per_epoch=updates_per_epoch(mistral.rows, mistral),
    updates=total_updates(mistral.rows, mistral),
)

# %% [markdown]
# ### ●○○ Exercise 2 · Updates of a run (3 minutes)
#
# *Why it matters: an interviewer who hears “two epochs” asks for the number of updates.*
#
# Write `count_updates(rows, batch, accumulation, epochs)`. The last batch and the last
# update of an epoch may be smaller; they still count.

# %% tags=["exercise"]
def count_updates(rows: int, batch: int, accumulation: int, epochs: int) -> int:
    """Optimizer updates of a whole run."""
    return TODO


# %% tags=["check"]
s1 = Case(
    arguments=(1500, 8, 4, 2),
    expected=94,
    mistakes={
        92: "whole updates only: ⌊…⌋ drops the smaller last one, use ⌈…⌉.",
        376: "these are batches: four of them make one update.",
        47: "this is one epoch.",
        93: "this is not one long epoch: each ends with its own short update.",
    },
)
check(count_updates, s1, Case((320, 4, 1, 1), 80, {}), Case((9, 2, 4, 1), 2, {}))

# %% [markdown]
# <details><summary>Hint</summary>
#
# `-(-a // b)` is ⌈a / b⌉ in whole numbers.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def count_updates(rows: int, batch: int, accumulation: int, epochs: int) -> int:
#     batches = -(-rows // batch)
#     return epochs * -(-batches // accumulation)
# ```
#
# </details>
#
# ## 4. The hyperparameters, and why
#
# **Learning rate.** S0 calls 2e-4 “low”. Stanford's Alpaca tuned all weights with 2e-5.
# 2e-4 is ten times that, and a usual start for LoRA: “low” means something only within
# one method.

# %%
alpaca_full_tuning_rate = 2e-5  # Stanford Alpaca's training configuration
ledger.record(
    "C015",
    lora_rate=seed_plan.learning_rate,
    full_rate=alpaca_full_tuning_rate,
    factor=seed_plan.learning_rate / alpaca_full_tuning_rate,
)

# %% [markdown]
# **Defaults.** TRL's trainer brings its own: a rate meant for full tuning, and
# sequences cut at a length. Print them, and set your own.

# %%
from trl import SFTConfig

fields = SFTConfig.__dataclass_fields__.values()
defaults = {field.name: field.default for field in fields}
ledger.record(
    "C171",
    default_rate=defaults["learning_rate"],
    default_max_length=defaults["max_length"],
)

# %% [markdown]
# **Optimizer.** AdamW keeps two numbers for each trainable parameter, 8 bytes in fp32.
# With 8-bit states each number takes one byte, and every block of 256 shares a 4-byte
# scale: 2 × (1 + 4/256) = 2.03 bytes; tensors of under 4,096 numbers stay in fp32. Under
# LoRA only the adapter has states, so how much does that save?

# %%
# NBVAL_CHECK_OUTPUT
from course_utils.memory.formulas import optimizer_bytes

rank = seed_plan.rank
smollm2 = architectures["smollm2-135m"].lora_tensor_sizes(rank)
mistral_7b = architectures["mistral-7b"].lora_tensor_sizes(rank)
print(f"{sum(smollm2):,} and {sum(mistral_7b):,} numbers in the two adapters")

# %%
def saved_by_8_bit(sizes: list[int]) -> float:
    return optimizer_bytes(sizes, "adamw") - optimizer_bytes(sizes, "adamw_8bit")

# %%
whole_8b = [architectures["llama-3.1-8b"].parameters]
ledger.record(
    "C065",
    adam8bit_bytes=optimizer_bytes(smollm2, "adamw_8bit") / sum(smollm2),
    smollm2_saving_mb=saved_by_8_bit(smollm2) / 1e6,
    mistral_saving_gb=saved_by_8_bit(mistral_7b) / 1e9,
    full_saving_gb=saved_by_8_bit(whole_8b) / 1e9,
)

# %% [markdown]
# Little under LoRA, a graphics card under full tuning: an optimizer for large numbers of
# trainable parameters, which an adapter does not have.

# %% [markdown]
# **Weight decay.** AdamW shrinks a weight by rate × decay at each update, apart from
# the gradient. Under LoRA only A and B are in the optimizer, so it shrinks the update
# and never the base: 2e-4 × 0.01 = 2e-6 an update. That the base stays as it is will be
# measured after the run, on checksums of its tensors:

# %%
def checksums(model) -> dict[str, float]:
    frozen = (p for p in model.named_parameters() if "lora_" not in p[0])
    return {name: p.detach().sum(dtype=torch.float64).item() for name, p in frozen}


# %% [markdown]
# ## 5. Before: what does the base model answer?
#
# The first check of a project is the form of its answers. It is a function, so that
# nobody judges by eye. Is it strict enough?

# %%
# NBVAL_CHECK_OUTPUT
follows_form = project.follows_form
print("the form:", project.form)
written = [follows_form(row.answer) for row in training + validation]
print(f"{sum(written) / len(written):.1%} of the written answers have it")
# rows of the hub ("owner/name") were not written to this form; the course's were
assert all(written) or "/" in plan.dataset.name
{name: follows_form(text) for name, text in project.broken_variants(row.answer).items()}

# %% [markdown]
# The held-out requests are asked; none of them is in training. First the base:

# %%
requests = [conversation.request for conversation in held_out]
limits = {"max_new_tokens": project.suite().max_new_tokens}
before = models.answer(base, tokenizer, requests, **limits)
print(f"{sum(map(follows_form, before))} of {len(before)} in the form\n")
print(requests[0], before[0], sep="\n→ ")

# %% [markdown]
# The base talks, as it was taught to. Nobody told it our form.
#
# ## 6. Training
#
# The adapter of notebook 02 goes on, and the frozen base is summed up for later.

# %%
model = models.attach_lora(base, plan)
frozen_before = checksums(model)
model.print_trainable_parameters()

# %% [markdown]
# One callback looks at the gradients in each update: which share of their entries is
# exactly zero? Prediction: all of A's in the first update, because B = 0 lets no signal
# through to A; later none, since LoRA's updates are dense.

# %%
from transformers import TrainerCallback


class ZeroGradients(TrainerCallback):
    """Share of exact zeros in the gradients of A and B, update by update."""

    def __init__(self):
        self.shares = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        trained = [n for n in model.named_parameters() if n[1].requires_grad]
        share = {}
        for matrix in "AB":
            chosen = [p.grad for name, p in trained if f"lora_{matrix}" in name]
            zeros = sum((g == 0).sum().item() for g in chosen)
            share[matrix] = zeros / sum(g.numel() for g in chosen)
        self.shares.append(share)


# %% [markdown]
# And now the run: validation loss and a checkpoint four times on the way.

# %%
from course_utils.places import run_folder
from course_utils.training.trainer import build_trainer, run_training

folder = run_folder(recipe.name, profile)
trainer = build_trainer(
    model, tokenizer, train_rows, valid_rows, plan, profile, folder
)

# %%
zeros = ZeroGradients()
trainer.add_callback(zeros)
run = run_training(trainer, recipe.name, profile, rows=(training, held_out))

# %%
print(
    f"{run.updates} updates in {run.seconds / 60:.1f} minutes, validation included; "
    f"{run.tokens:,} tokens at {run.tokens_per_second:.0f} tokens a second"
)

# %% [markdown]
# How did the losses fall?

# %%
from course_utils.plots import line_plot

logged = pd.DataFrame(run.history).groupby("step").first()
valid = logged["eval_loss"].dropna()

# %%
start, end = valid.iloc[0], valid.iloc[-1]
title = f"Validation loss: from {start:.2f} to {end:.2f} nats a token"
axes = line_plot(
    logged.index,
    {"training, this batch": logged["loss"], "validation": logged["eval_loss"]},
    x_label="update", y_label="loss (nats per answer token)",
    title=title, marker=".",
)

# %% [markdown]
# The training line jumps from batch to batch; the validation line is the one to trust.
# The steep part is the form, which every row shares. What stays is what differs from
# row to row: titles, numbers, reasons. Notebook 04 reads such curves in earnest.
#
# And the gradients, in the first four updates?

# %%
pd.DataFrame(
    {
        "rate": logged["learning_rate"].dropna().to_numpy()[:4],
        "zeros in A's gradient": [share["A"] for share in zeros.shares[:4]],
        "zeros in B's gradient": [share["B"] for share in zeros.shares[:4]],
    },
    index=pd.Index(range(1, 5), name="update"),
).round(5)

# %% [markdown]
# The prediction was half right. A's gradient is zero in the first update, and in the
# second one too: a warm-up begins at the rate 0, so the first update moves nothing and B
# is still zero. From the third on both gradients are dense. And what rank has a
# finished update, ΔW = (α/r)·B·A?

# %%
layer = next(m for name, m in model.named_modules() if name.endswith("q_proj"))
factor_b, factor_a = layer.lora_B.default.weight, layer.lora_A.default.weight
delta = layer.scaling["default"] * factor_b @ factor_a  # (out, in)
update_rank = torch.linalg.matrix_rank(delta.float()).item()

# %%
first, later = zeros.shares[0], zeros.shares[2]
ledger.record(
    "C061",
    a_zero_share_first=first["A"],
    b_zero_share_first=first["B"],
    a_zero_share_later=later["A"],
    update_rank=update_rank,
)

# %% [markdown]
# ## 7. After: form, and facts
#
# The same requests to the tuned model:

# %%
after = models.answer(model, tokenizer, requests, **limits)
print(f"{sum(map(follows_form, after))} of {len(after)} in the form\n")
print(requests[0], after[0], sep="\n→ ")

# %% [markdown]
# A rate of n answers needs an interval. Wilson's 95 % interval stays honest near 0 and
# 1, where the simple one (± 1.96 standard errors) collapses to a point.

# %%
from statsmodels.stats.proportion import proportion_confint


def pass_rate(passed: list[bool]) -> tuple[float, tuple[float, float]]:
    """Share that passed, with its 95 % Wilson interval."""
    interval = proportion_confint(sum(passed), len(passed), method="wilson")
    return sum(passed) / len(passed), interval

# %%
form_before = pass_rate([follows_form(text) for text in before])
form_after = pass_rate([follows_form(text) for text in after])
form_before, form_after

# %% [markdown]
# Form is one thing. Does the film exist? Are its runtime and genres right? Does it meet
# what was asked for? The table of films answers for those that it knows; a film outside
# of it counts as not found, which is strict: some of those do exist. The checks of this
# project, on the answers of both models:

# %%
answers_of = {"base": before, "tuned": after}
checks = {
    name: {
        model_name: [check(row, text) for row, text in zip(held_out, answers)]
        for model_name, answers in answers_of.items()
    }
    for name, check in project.answer_checks.items()
}

# %%
rates = {
    model_name: [pass_rate(passed[model_name]) for passed in checks.values()]
    for model_name in answers_of
}
first, *_, last = checks
passes = {name: sum(checks[name]["tuned"]) for name in (first, last)}

# %%
from course_utils.plots import grouped_bars

named = {name: name.replace("\n", " ") for name in passes}
grouped_bars(
    list(checks),
    {name: [rate for rate, _ in found] for name, found in rates.items()},
    intervals={name: [ends for _, ends in found] for name, found in rates.items()},
    y_label=f"share of {len(after)} held-out requests",
    title=f"Tuned, of {len(after)}: {named[first]} {passes[first]}, "
    f"{named[last]} {passes[last]}",
);

# %% [markdown]
# (Facts are read out of answers in the form; an answer in another form states none.)
#
# The first bar is what was trained. The last is what many take for granted along with
# it. Supervised fine-tuning makes every token of the answers likelier, their content
# too; but a few hundred rows show a form three hundred times and each fact once. A
# model this small knew few of the facts before, and it invents the rest in good form,
# which makes them look true. Let us read some of them.

# %%
for request, answer, conversation in list(zip(requests, after, held_out))[:3]:
    print(f"{request}\n{answer}\n[written for it: {conversation.answer[:60]!r} …]\n")

# %% [markdown]
# All of them are kept beside the adapter, for the notebooks that follow:

# %%
import json

with (folder / "answers.jsonl").open("w", encoding="utf-8") as stream:
    for request, old, new in zip(requests, before, after):
        kept = {"request": request, "before": old, "after": new}
        stream.write(json.dumps(kept, ensure_ascii=False) + "\n")
sum(1 for _ in (folder / "answers.jsonl").open(encoding="utf-8"))

# %% [markdown]
# ## 8. Save it, load it, prove it
#
# The commonest complaint about saved adapters is that they come back as the base model.
# So: save, load again, and compare logits, not impressions. A run that is killed while
# it saves must not leave half an adapter: the new folder takes the old one's place at
# once, with the record of the run in it.

# %%
from course_utils.places import whole_folder

adapter_folder = folder / "adapter"
with whole_folder(adapter_folder) as new:
    model.save_pretrained(new)
    tokenizer.save_pretrained(new)
    run.save(new)
sizes = {path.name: path.stat().st_size for path in adapter_folder.iterdir()}
print(f"{sizes['adapter_model.safetensors'] / 1e6:.1f} MB of adapter")

# %%
trained = models.logits_of(model, tokenizer, text)
with model.disable_adapter():
    untouched = models.logits_of(model, tokenizer, text)
distance = {"base": (untouched - trained).abs().max().item()}
distance

# %% [markdown]
# That is how far training moved the scores of the next token. Did any tensor of the
# base change on the way?

# %%
frozen_after = checksums(model)
changed = sum(frozen_after[name] != frozen_before[name] for name in frozen_before)
ledger.record(
    "C060",
    decay_per_update=seed_plan.learning_rate * seed_plan.weight_decay,
    base_tensors_changed=changed,
)

# %% [markdown]
# None. Whatever the model does differently sits in the adapter's few megabytes. Now the
# model leaves memory, and comes back from the disk. As equal counts what differs by
# eight roundings of the largest logit, in the precision that this machine computes in.

# %%
del model, base, trainer, layer
models.free_memory()
reloaded, _ = models.load_adapter(adapter_folder, plan, profile)
again = models.logits_of(reloaded, tokenizer, text)
rounding = torch.finfo(profile.compute_dtype).eps * trained.abs().max().item()
distance["reloaded"] = (again - trained).abs().max().item()
assert distance["reloaded"] <= 8 * rounding < distance["base"]
distance

# %% [markdown]
# The reloaded adapter gives the same logits, and the base gives others: both halves of
# the proof are needed.
#
# ## 9. Stop it, resume it
#
# A free Colab session ends when it likes. Can a run go on as if nothing had happened?
# A drill of six updates: once in one go, once killed after three and resumed by a
# fresh model. Prediction: the losses are the same numbers.

# %%
import dataclasses

from course_utils.memory.measured import tensor_bytes
from course_utils.training.trainer import StopAfter

del reloaded

# %%
DRILL_UPDATES = 6  # enough to stop in the middle and see both halves
drill = dataclasses.replace(plan, max_steps=DRILL_UPDATES)
watched = valid_rows.select(range(plan.batch_size))
scratch = tempfile.TemporaryDirectory()  # gone when this kernel ends


# %%
def drill_run(name, load_in_4bit=plan.load_in_4bit, stop_after=None, resume=False):
    """Losses, speed and weight bytes of a drill with a fresh model."""
    models.free_memory()
    fresh, _ = models.load_base(drill, profile, load_in_4bit=load_in_4bit)
    adapted = models.attach_lora(fresh, drill)
    rows, where = (train_rows, watched), Path(scratch.name) / name
    trainer = build_trainer(adapted, tokenizer, *rows, drill, profile, where)
    if stop_after:
        trainer.add_callback(StopAfter(stop_after))
    run = run_training(trainer, recipe.name, profile, resume=resume)
    losses = [row["loss"] for row in run.history if "loss" in row]
    return losses, run.tokens_per_second, tensor_bytes(adapted).total_bytes


# %%
in_one_go, speed, weights = drill_run("in_one_go")
[round(loss, 4) for loss in in_one_go]

# %%
killed, *_ = drill_run("killed", stop_after=DRILL_UPDATES // 2)
[round(loss, 4) for loss in killed]

# %%
resumed, *_ = drill_run("killed", resume=True)
rtol = torch.finfo(profile.compute_dtype).eps ** 0.5  # fp32: 0.0003, fp16: 0.03
torch.testing.assert_close(resumed, in_one_go, rtol=rtol, atol=0)
[round(loss, 4) for loss in resumed]

# %% [markdown]
# The resumed run carries on with the same losses: a checkpoint holds the adapter, the
# optimizer's moments, the place in the schedule and the state of the random numbers. An
# adapter alone would have forgotten the last three. On Colab, put `runs/` on Drive, or
# the checkpoint dies with the machine.
#
# ## 10. The same on a 4-bit base
#
# QLoRA holds the frozen base in NF4 and trains the same adapter through it. (Where the
# recipe loads in 4 bits anyway, on a T4, the two lines below are the same thing.) What
# does it save, what does it cost, and does it train?

# %%
four_bit, four_bit_speed, four_bit_weights = drill_run("four_bit", load_in_4bit=True)
print(
    f"{weights / 1e6:.0f} MB of weights as in the recipe, "
    f"{four_bit_weights / 1e6:.0f} MB with a 4-bit base\n"
    f"training on the 4-bit base runs at {four_bit_speed / speed:.2f} times the speed"
)

# %%
line_plot(
    range(1, DRILL_UPDATES + 1),
    {"as in the recipe": in_one_go, "4-bit base": four_bit},
    x_label="update", y_label="loss (nats per answer token)", marker="o",
    title="QLoRA trains too: both losses fall",
);

# %% [markdown]
# It trains, from a start that is a little higher, since NF4 rounds the weights. What it
# saves is the base's bytes; what it costs is the unpacking in each pass. How much that
# is depends on the CPU: one with AVX-512 bears it well, others need twice the time or
# more. Mind that this small model's weights were 4-bit when they
# were published: here they are rounded a second time.
#
# ### ●●○ Exercise 3 · The schedule (5 minutes)
#
# *Why it matters: a loss that jumps in the first updates is often a missing warm-up.*
#
# Write `rate_at(step, total, warmup, peak)`: it rises in a line from 0 at step 0 to
# `peak` at step `warmup`, then falls in a line to 0 at step `total`.

# %% tags=["exercise"]
def rate_at(step: int, total: int, warmup: int, peak: float) -> float:
    """Learning rate of a step, with a linear warm-up and a linear fall."""
    return TODO


# %% tags=["check"]
halfway = Case(
    arguments=(60, 100, 20, 1.0),
    expected=0.5,
    mistakes={
        0.4: "the fall starts at `warmup`: (total − step) / (total − warmup).",
        0.6: "this is step / total: it rises, and ignores the warm-up.",
        3.0: "this is step / warmup: after the warm-up the rate must fall.",
    },
)
rising = Case((5, 100, 20, 1.0), 0.25, {0.0625: "squared: the rise is a line."})
check(rate_at, halfway, rising, Case((100, 100, 20, 1.0), 0.0, {}))

# %% [markdown]
# <details><summary>Hint</summary>
#
# Two cases: up to `warmup` it is `peak · step / warmup`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def rate_at(step: int, total: int, warmup: int, peak: float) -> float:
#     if step < warmup:
#         return peak * step / warmup
#     return peak * (total - step) / (total - warmup)
# ```
#
# </details>
#
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | “all labels are −100”, loss 0 or NaN | the mask's marks do not fit the template, or `max_length` cut the answer off | print the strip of section 2; look at the longest row |
# | the first word of answers is odd, after training on a prompt of your own | prompt and answer were tokenised in one piece: `### Response:` and `{` became one token, which no prompt ends with | tokenise the two apart, as `tokenize_conversation` does |
# | the model never stops | the end token is not among the labels, or pad and end token are confused in a collator that masks padding | last tile of the strip must be blue and be the end token |
# | loss falls, answers look like before | adapter not saved, or base loaded in its place | the two-sided logits test of section 8 |
# | NaN on a T4 | bf16 on a card without it, or fp16 without loss scaling | leave precision to the profile: fp16 with scaling there |
# | `unexpected keyword argument 'max_seq_length'` | TRL renamed it to `max_length` (and `tokenizer` to `processing_class`) | the names in `course_utils/training/trainer.py`; a test holds them to the pinned version |
# | the loss jumps back after a resume | only the adapter was loaded, not the checkpoint | `resume_from_checkpoint=True`, optimizer and schedule included |
#
# ## What only a source can tell
#
# | Claim | Verdict | What the source says |
# |---|---|---|
# | C017 · S0: SFT says “copy this style” | imprecise | it raises the likelihood of every labelled token, content as well as form (InstructGPT, §3; recalled) |
# | C105 · S2: many models are *pre-trained* on Alpaca's format | wrong | pretraining reads raw text; instruct models have templates of their own (tokenizer configurations) |
# | C106 · S2: the input field is optional | right | rows without one use the second template (Stanford Alpaca README; recalled) |
#
# ## In the interview
#
# Say the answer aloud before you unfold it. Its numbers are those that a cell of this
# course recorded.

# %%
from course_utils.evidence.cards import show_cards

show_cards("03", ledger)

# %%
assert not ledger.missing()

# %% [markdown]
# ## You can now …

# %%
print(
    f"… turn a conversation into {len(spelled)} tokens of which "
    f"{sum(carries_loss)} carry loss,\n"
    f"… say that this run made {run.updates} updates of {plan.effective_batch} rows,\n"
    f"… show a validation loss of {valid.iloc[0]:.2f} that fell to "
    f"{valid.iloc[-1]:.2f},\n"
    f"… prove that the reloaded adapter differs by {distance['reloaded']:.1g} in its "
    f"logits,\n"
    f"… report of {len(after)} held-out answers: {named[first]} {passes[first]}, "
    f"{named[last]} {passes[last]}."
)

# %% [markdown]
# ## What this run does not show
#
# - One seed. Another one gives another curve; notebook 04 measures the spread.
# - That the recommendations are good. The check sees form and a table's facts; taste,
#   and harder requests, are for notebook 05.
# - That nothing was forgotten. Notebook 04 measures it.
# - Anything on a T4 when it ran on a CPU: the precision, the model and the batch differ.
#
# ## Sources
#
# - Ouyang et al. 2022, *Training language models to follow instructions with human
#   feedback*, arXiv:2203.02155, §3 (recalled).
# - Hu et al. 2021, *LoRA*, arXiv:2106.09685, §4.1.
# - Loshchilov and Hutter 2017, *Decoupled weight decay regularization*,
#   arXiv:1711.05101 (recalled).
# - Wilson 1927, *Probable inference, the law of succession, and statistical inference*.
# - TRL 1.15 and transformers 5.17, `SFTConfig` and `Trainer`: installed source.

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "03",
    profile,
    headline=f"form check: base {sum(map(follows_form, before))} of {len(before)}, "
    f"tuned {passes[first]} of {len(after)}",
    seed=plan.seed,
)

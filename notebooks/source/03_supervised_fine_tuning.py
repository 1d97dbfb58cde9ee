# %% [markdown]
# # 03 · What does a language model learn from three hundred answers?
#
# <!-- colab badge -->
#
# SFT, supervised fine-tuning, means: go on training a language model on requests with
# the answers that you want. Here every answer has the same form. What does the model
# learn from a few hundred of them, how can you tell, and what does it not learn?
#
# **You will be able to**
#
# - turn a conversation into tokens and say which of them carry loss,
# - write `SFTConfig`, `SFTTrainer` and `train()`, with a reason for each argument,
# - count updates and epochs, stop a run and resume it,
# - save an adapter, load it and prove that it is the same function,
# - hold the tuned model against the base *with a good prompt*, with error bars.
#
# **Time and memory.** About 45 minutes to read, two thirds for the code. It runs 16
# minutes in 2.5 GiB on a CPU (processor time of one core; a good part of it passes
# before the training, while the base answers); on a T4 with the 8B model about 20 minutes in 9 GiB of GPU
# memory (estimated).

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: unsloth patches
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# What is tuned is the movie recommender, or the project that COURSE_RECIPE names (`%env
# COURSE_RECIPE=inframind` in a cell before this one). Its recipe gives each number,
# with a unit or a reason:

# %%
import pandas as pd

from course_utils.projects.project import chosen_project

project = chosen_project()
recipe = project.recipe
plan = recipe.plan_for(profile.name, profile.model_override)
columns = ["setting", "author, on a T4", "here", "unit or reason"]
table = pd.DataFrame(recipe.comparison(profile.name), columns=columns)
styled = table.style.format(escape="html").hide(axis="index")
styled.set_properties(**{"text-align": "left"})

# %% [markdown]
# ## 1. The data
#
# The rows are split into sets that share no request and no film: one to train on, one
# that is *held out*, never trained on. What does one row look like?

# %% tags=["nbval-check-output"]
from course_utils.data.datasets import load_rows

training, held_out = load_rows(plan)
row = training[0]
print(row.request, row.answer, sep="\n\n")

# %% [markdown]
# The first check is the form. It is a program, so that nobody judges by eye. Is it
# strict?

# %% tags=["nbval-check-output"]
follows_form = project.follows_form
print("the form:", project.form)
broken = project.broken_variants(row.answer)
{name: follows_form(text) for name, text in broken.items()}

# %% [markdown]
# Each broken variant fails.
#
# ## 2. Before: what does the base answer, and what does a good prompt do?
#
# Before they train anything, most people would describe the form in the prompt, or show
# examples. So the base is asked the held-out requests in three ways.

# %%
requests = [row.request for row in held_out]
described = [project.form_in_words + r for r in requests]
shown = [message for row in training[:3] for message in row.messages]
examples = [[*shown, {"role": "user", "content": r}] for r in requests]
print(described[0])

# %% [markdown]
# Predict three numbers: in how many of the answers is the form right?

# %%
import dataclasses

roomy = dataclasses.replace(plan, max_length=2048)  # examples are long
base, tokenizer = models.load_base(roomy, profile)
limits = {"max_new_tokens": project.suite().max_new_tokens, "batch_size": 40}
ways = {
    "base": requests,
    "told the form": described,
    "shown examples": examples,
}
answers, in_form = {}, {}
for name, asked in ways.items():
    answers[name] = models.answer(base, tokenizer, asked, **limits)
    in_form[name] = sum(map(follows_form, answers[name]))
    print(f"{name}: {in_form[name]} of {len(asked)} in the form\n")
    print(answers[name][0], "\n")

# %% [markdown]
# These are the numbers that training has to beat. On the small model the description
# does nothing, and three examples give the form in 39 of 40 answers, without any
# training. An adapter must then earn its place by something else: a much shorter
# prompt, the last of the forty, or the content.
#
# ## 3. From conversation to tokens
#
# ### The template
#
# A model sees one row of tokens and knows no roles. The tokenizer's *chat template*
# writes where a turn begins and ends. What does it write?

# %%
messages = list(row.messages)
print(tokenizer.apply_chat_template(messages, tokenize=False))

# %% [markdown]
# Each turn stands between special tokens, and the assistant's turn ends with the *end
# token*. Many templates also put in a system message that nobody wrote; so print yours.
#
# ### Which tokens carry loss?
#
# The user's words are not what the model should learn to write, so their labels are
# −100, the value that PyTorch's cross-entropy skips (`ignore_index`). On a toy of six
# tokens, of which four are prompt:

# %% tags=["nbval-check-output"]
toy_tokens = [11, 12, 13, 14, 21, 2]  # the 2 ends the answer
toy_labels = [-100] * 4 + toy_tokens[4:]
list(zip(toy_tokens, toy_labels))

# %% [markdown]
# Two tokens carry loss: the answer's only word and the end token. Which are they in our
# row? Prompt and answer are made into tokens apart, because the model will be asked
# with the prompt alone. `add_generation_prompt` adds the header of the assistant's
# turn; the template has written all marks, hence `add_special_tokens=False`.

# %%
def masked(prompt: str, answer: str) -> dict[str, list[int]]:
    """Tokens of prompt and answer; labels on the answer alone."""
    apart = tokenizer([prompt, answer], add_special_tokens=False)
    asked, said = apart["input_ids"]
    return {
        "input_ids": asked + said,
        "attention_mask": [1] * len(asked + said),  # 0 would be padding
        "labels": [-100] * len(asked) + said,
    }


def prompt_of(messages: list[dict[str, str]]) -> str:
    return tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )


prompt, ended = prompt_of(messages[:-1]), row.answer + tokenizer.eos_token

# %%
from course_utils.plots import label_strip

example = masked(prompt, ended)
spelled = [repr(tokenizer.decode([t]))[1:-1] for t in example["input_ids"]]
blue = [label != -100 for label in example["labels"]]
title = f"{sum(blue)} of {len(blue)} tokens carry loss: the answer and its end"
label_strip([text.replace(" ", "␣") for text in spelled], blue, title=title);

# %% [markdown]
# Grey is read, blue is learnt; ␣ is a space. The last blue tile is the end token, which
# teaches the model to stop. Does the same hold for all rows? The course's `to_dataset`
# makes the same mask with checks around it.

# %%
from course_utils.data.tokens import to_dataset

train_rows = to_dataset(training, tokenizer, plan.max_length)
valid_rows = to_dataset(held_out, tokenizer, plan.max_length)
for source, tokens in zip(training, train_rows):
    asked = prompt_of(list(source.messages[:-1]))
    assert tokens == masked(asked, source.answer + tokenizer.eos_token)
    assert tokens["labels"][-1] == tokenizer.eos_token_id
labels = [label for tokens in train_rows["labels"] for label in tokens]
learnt = sum(label != -100 for label in labels)
longest = max(map(len, train_rows["input_ids"]))
print(
    f"{learnt / len(labels):.0%} of the tokens carry loss; the longest row "
    f"has {longest}, the limit is {plan.max_length}"
)

# %% [markdown]
# All rows agree, and none is cut. `max_length` is only an upper limit; memory depends
# on the rows.
#
# ### ●○○ Exercise 1 · Mask a conversation of several turns (4 minutes)
#
# *Why it matters: “all labels are −100” and “the model repeats my question” are both a
# wrong mask.*
#
# Write `mask(tokens, spans)`: labels for `tokens` in which only the positions inside
# `spans` carry loss. A span `(start, stop)` includes `start` and excludes `stop`.

# %% tags=["exercise"]
from course_utils.exercises import TODO, check


def mask(tokens: list[int], spans: list[tuple[int, int]]) -> list[int]:
    """Labels: the tokens inside the spans, -100 everywhere else."""
    return TODO


# %% tags=["check"]
check(mask)

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
# The loss is the mean of −ln p over S, the blue tokens, in *nats* (lesson 01). Position
# t predicts token t + 1, so both are shifted by one:
#
# $$L = -\frac{1}{|S|}\sum_{t \in S} \ln p(x_{t+1} \mid x_{\le t})$$
#
# A model that knows nothing gives each of V tokens the probability 1/V; its loss is ln
# V, for V = 8 that is 2.079. How much does the masked part count?

# %% tags=["nbval-check-output"]
import torch
import torch.nn.functional as F


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    scores, targets = logits[:, :-1], labels[:, 1:]  # (batch, seq - 1, ...)
    return F.cross_entropy(scores.flatten(0, 1), targets.flatten())


logits = torch.zeros(1, 6, 8)  # equal scores for eight tokens
logits[0, 0, 1] = 9.0  # sure of a token of the prompt
whole = torch.tensor([[0, 1, 3, 4, 5, 2]])
answer_only = torch.tensor([[-100] * 4 + [5, 2]])
[round(loss_of(logits, labels).item(), 3) for labels in (whole, answer_only)]

# %% [markdown]
# With all labels the certain prompt token lowers the mean; with the mask only the
# answer counts, its end token included.
#
# ### Does another template hurt?
#
# Many tutorials print *Alpaca's* prompt of 2023: an instruction under the heading `###
# Instruction:`, the answer under `### Response:`. A common interview answer says that
# an instruct model “understands the Alpaca format”. How likely does the base find the
# held-out answers under three prompts?

# %%
from course_utils.data.templates import adds_bos, alpaca_prompt


def loss_under(model, prompt: str, answer: str) -> float:
    """The model's own loss of an answer, in nats per token."""
    tokens = masked(prompt, answer + tokenizer.eos_token).items()
    batch = {n: torch.tensor([ids], device=model.device) for n, ids in tokens}
    with torch.inference_mode():
        return model(**batch).loss.item()


begin = tokenizer.bos_token if adds_bos(tokenizer) else ""
under = {"the recipe's template": [], "Alpaca's prompt": [], "no template": []}
for r in held_out:
    own = prompt_of(list(r.messages[:-1]))
    texts = own, begin + alpaca_prompt(r.request), f"{begin}{r.request}\n"
    for losses, text in zip(under.values(), texts):
        losses.append(loss_under(base, text, r.answer))
pd.DataFrame(under).mean().rename("nats per answer token").round(3)

# %% [markdown]
# The lower, the likelier. On the small model the bare request costs as much as the
# template, 3.84 nats, and Alpaca's prompt a little more, 4.12. So the common answer is
# neither right nor wrong: it depends on the model, and likelihood is not yet behaviour.
# Measure it, and use the same prompt in training and afterwards.
#
# ### ●●○ Exercise 2 · Mend a template that loses its end token (6 minutes)
#
# *Why it matters: a model trained without its end token never stops, and the loss looks
# fine.*
#
# This template, without its line breaks, ends the user's turn and forgets the
# assistant's:
#
# ```
# {% for message in messages %}
#   <|im_start|>{{ message['role'] }}\n{{ message['content'] }}
#   {% if message['role'] == 'user' %}<|im_end|>\n{% endif %}
# {% endfor %}
# {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}
# ```
#
# Write `mend_template(template)`: it returns the template in which every turn ends with
# `<|im_end|>` and a line break. The check renders it with a real tokenizer.

# %% tags=["exercise"]
from course_utils.exercises.training import ENDLESS  # the template above


def mend_template(template: str) -> str:
    """The template, in which every turn ends with its end token."""
    return TODO


mend_template(ENDLESS)


# %% tags=["check"]
check(mend_template)

# %% [markdown]
# <details><summary>Hint</summary>
#
# What stands between `{% if … %}` and `{% endif %}` inside the loop should hold for both
# roles. `str.replace` is enough.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def mend_template(template: str) -> str:
#     only_user = "{% if message['role'] == 'user' %}<|im_end|>\n{% endif %}"
#     return template.replace(only_user, "<|im_end|>\n")
# ```
#
# </details>
#
# ## 4. The libraries make the same mask
#
# You will rarely write the mask yourself. TRL's trainer makes it from rows with
# `prompt` and `completion`, Unsloth's from whole texts. A trainer wants a model with an
# adapter, so that of lesson 02 goes on first; the frozen base is summed up, tensor by
# tensor, for section 8.

# %%
def checksums(model) -> dict[str, float]:
    frozen = (p for p in model.named_parameters() if "lora_" not in p[0])
    return {n: p.detach().sum(dtype=torch.float64).item() for n, p in frozen}


model = models.attach_lora(base, plan)
frozen_before = checksums(model)
model.print_trainable_parameters()

# %% [markdown]
# First the arguments that depend on the machine, then TRL's mask:
# `completion_only_loss=True` is the default for rows with a prompt and a completion.

# %%
machine = dict(
    fp16=profile.is_gpu and not profile.supports_bf16,  # a T4: with scaling
    bf16=profile.is_gpu and profile.supports_bf16,  # newer cards
    gradient_checkpointing=plan.gradient_checkpointing,
)

# %%
import tempfile

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

scratch = tempfile.TemporaryDirectory()  # gone when this kernel ends
pairs = [
    {"prompt": list(row.messages[:-1]), "completion": [row.messages[-1]]}
    for row in training
]
options = dict(output_dir=scratch.name, max_length=plan.max_length, **machine)
by_trl = SFTTrainer(
    model=model,
    processing_class=tokenizer,
    args=SFTConfig(completion_only_loss=True, **options),
    train_dataset=Dataset.from_list(pairs),
)

# %% [markdown]
# Unsloth searches each text for the marks that begin a user's and an assistant's turn,
# which it can read from the template:

# %%
from unsloth.chat_templates import train_on_responses_only
from unsloth_zoo.dataset_utils import get_chat_template_parts

asked_by, answered_by = get_chat_template_parts(tokenizer)
print(repr(asked_by), repr(answered_by))

# %%
whole = [
    {"text": tokenizer.apply_chat_template(list(r.messages), tokenize=False)}
    for r in training
]
by_unsloth = SFTTrainer(
    model=model,
    processing_class=tokenizer,
    args=SFTConfig(dataset_text_field="text", **options),
    train_dataset=Dataset.from_list(whole),
)
by_unsloth = train_on_responses_only(
    by_unsloth, instruction_part=asked_by, response_part=answered_by
)

# %% [markdown]
# Are the labels ours, token for token, up to the end token? And what comes after it?

# %%
from collections import Counter


def compared(theirs: Dataset) -> dict[str, int]:
    """Rows of the same tokens, where labels must agree; labels after them."""
    count = Counter(rows=len(theirs))
    for mine, other in zip(train_rows, theirs):
        end = len(mine["labels"])
        same = other["input_ids"][:end] == mine["input_ids"]
        assert not same or other["labels"][:end] == mine["labels"]
        count["of the same tokens"] += same
        beyond = [label for label in other["labels"][end:] if label != -100]
        count["labels after the end"] += len(beyond)
    return count


trainers = {"TRL": by_trl, "Unsloth": by_unsloth}
pd.DataFrame({n: compared(t.train_dataset) for n, t in trainers.items()})

# %% [markdown]
# Wherever the tokens are the same, so are the labels. Two differences are worth knowing:
#
# - ChatML, the template of SmolLM2 and Qwen, writes a line break after the end token.
#   TRL learns it too, one label a row. It does no harm: an answer stops before it.
# - The libraries tokenise prompt and answer in one piece. Under Alpaca's prompt an
#   answer that begins with `-` then shares a token `:-` with the heading `###
#   Response:`, and no prompt ends with that token.
#
# ### Padding
#
# Rows of a batch must have one length. The *collator* pads the shorter ones, on the
# right when training: with the pad token in the input, 0 in the attention mask, −100 in
# the labels.
#
# A trap: many tokenizers use the end token as pad token. A collator that masks *by
# token* then hides every end token from the loss. Of two rows, how many end tokens
# carry loss under either kind?

# %%
from transformers import DataCollatorForLanguageModeling as ByToken
from transformers import DataCollatorForSeq2Seq

tokenizer.padding_side = "right"
collator = DataCollatorForSeq2Seq(tokenizer)  # pads labels with -100
some = train_rows.select(range(2)).to_list()
two, bare = collator(some), [{"input_ids": r["input_ids"]} for r in some]
naive = ByToken(tokenizer, mlm=False)(bare)
found = [(b["labels"] == tokenizer.eos_token_id).sum() for b in (two, naive)]
print(f"pad {tokenizer.pad_token}, end {tokenizer.eos_token}")
print(f"by place: {found[0]} of 2, by token: {found[1]} of 2")

# %% [markdown]
# `DataCollatorForSeq2Seq` pads by place and keeps both end tokens. Where pad and end
# token are the same, the other one keeps none.
#
# ## 5. How many updates?
#
# An *update* is one change of the weights; an *epoch* is one pass over all rows. With
# batch b and accumulation a, an update adds the gradients of a passes of b rows each.
# So N rows make ⌈⌈N / b⌉ / a⌉ updates an epoch (⌈ ⌉ rounds up).

# %%
from course_utils.training.trainer import total_updates, updates_per_epoch

updates = total_updates(len(train_rows), plan)
epoch = updates_per_epoch(len(train_rows), plan)
told = f"{updates} updates of {plan.effective_batch} rows"
print(f"{told} = {updates / epoch:.2f} epochs of {len(train_rows)} rows")

# %% [markdown]
# Always state rows, effective batch (b × a) and updates together. A common answer, “one
# epoch (60 steps)”, is with 2 × 4 rows an update true of 480 rows only.
#
# ### ●○○ Exercise 3 · Updates of a run (3 minutes)
#
# *Why it matters: who hears “two epochs” asks for the number of updates.*
#
# Write `count_updates(rows, batch, accumulation, epochs)`. The last batch and the last
# update of an epoch may be smaller; they still count.

# %% tags=["exercise"]
def count_updates(rows: int, batch: int, accumulation: int, epochs: int) -> int:
    """Optimizer updates of a whole run."""
    return TODO


# %% tags=["check"]
check(count_updates)

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
# ## 6. The arguments, and the run
#
# First what the trainer watches: the loss on held-out rows before the first update and
# four times on the way, with a *checkpoint*, a folder from which the run can go on.

# %%
from course_utils.training.trainer import tracker

every = -(-updates // 4)
watching = dict(
    eval_strategy="steps",  # "no" is the default: nothing is held out
    eval_on_start=True,  # the base's loss, without which no fall can be seen
    eval_steps=every,  # updates
    save_steps=every,  # updates between two checkpoints
    save_total_limit=2,  # older ones are deleted
    logging_steps=1,  # 500 is the default: averages hide a bad start
    include_num_input_tokens_seen="non_padding",
    report_to=tracker(),  # "none", or what COURSE_TRACKER names
    dataloader_pin_memory=profile.is_gpu,  # faster copies to a GPU
)

# %% [markdown]
# Then what decides the result. TRL's defaults are meant for tuning *all* weights (a
# rate of 2e-5, rows cut at 1,024 tokens), so each is set:

# %%
from course_utils.places import run_folder

folder = run_folder(recipe.name, profile)
config = SFTConfig(
    output_dir=str(folder / "checkpoints"),
    per_device_train_batch_size=plan.batch_size,  # rows in one pass
    per_device_eval_batch_size=plan.batch_size,
    gradient_accumulation_steps=plan.accumulation_steps,  # passes an update
    num_train_epochs=plan.epochs,  # passes over the rows; ignored with …
    max_steps=plan.max_steps or -1,  # … a number of updates; -1: none
    learning_rate=plan.learning_rate,  # the peak of the schedule
    warmup_steps=plan.warmup_steps,  # updates from 0 up to the peak
    lr_scheduler_type=plan.schedule,  # how it falls to 0 afterwards
    optim=plan.optimizer,  # AdamW; adamw_8bit keeps its moments in a byte
    weight_decay=plan.weight_decay,  # shrinks A and B, never the base
    max_length=plan.max_length,  # tokens, an upper limit
    packing=False,  # one row a sequence, instead of several end to end
    dataset_kwargs={"skip_prepare_dataset": True},  # the rows are tokens
    seed=plan.seed,
    data_seed=plan.seed,  # of the rows' order
    **watching,
    **machine,
)

# %% [markdown]
# A rate of 2e-4 is a usual start for LoRA on a large model, about ten times one for
# full tuning. The warm-up is there because Adam's estimate of each gradient's size is
# poor in the first updates; the very first has the rate 0 and changes nothing. *Weight
# decay* shrinks a weight by rate × decay at each update, here A and B only.
#
# ### ●●○ Exercise 4 · The schedule (5 minutes)
#
# *Why it matters: a loss that jumps in the first updates is often a missing warm-up.*
#
# Write `rate_at(step, total, warmup, peak)`: a line from 0 at step 0 up to `peak` at
# step `warmup`, then a line down to 0 at step `total`.

# %% tags=["exercise"]
def rate_at(step: int, total: int, warmup: int, peak: float) -> float:
    """Learning rate of a step, with a linear warm-up and a linear fall."""
    return TODO


# %% tags=["check"]
check(rate_at)

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
# ### The trainer
#
# `RunRecorder` is a *callback* of the course: functions that the trainer calls at each
# update. What it notes is saved beside the adapter.

# %%
from course_utils.training.trainer import RunRecorder, TrainingRun

trainer = SFTTrainer(
    model=model,  # the base with its adapter
    processing_class=tokenizer,  # saved with each checkpoint
    args=config,
    train_dataset=train_rows,
    eval_dataset=valid_rows,  # watched, never trained on
    data_collator=collator,
    callbacks=[RunRecorder(plan, train_rows, valid_rows)],
)

# %%
from course_utils.places import locked

with locked(folder):  # another notebook of the course waits meanwhile
    trainer.train()

# %%
run = TrainingRun.of(trainer, recipe.name, profile, (training, held_out))
print(f"{run.updates} updates, {run.seconds / 60:.1f} minutes with validation;")
print(f"without it {run.tokens_per_second:.0f} tokens a second (no padding)")

# %%
from course_utils.plots import line_plot

logged = pd.DataFrame(run.history).groupby("step").first()
valid = logged["eval_loss"].dropna()
axes = line_plot(
    logged.index,
    {"training, one batch": logged["loss"], "validation": logged["eval_loss"]},
    x_label="update", y_label="loss (nats per answer token)", marker=".",
    title=f"Held-out answers: from {valid.iloc[0]:.2f} to {valid.iloc[-1]:.2f} "
    "nats a token",
)

# %% [markdown]
# The training line jumps from batch to batch; the validation line is the one to trust.
# What can be learnt fast is the form, which all rows share; what stays is what differs
# from row to row: titles, numbers, reasons. Lesson 04 reads such curves.
#
# ## 7. After: the form, and the facts
#
# The same requests to the tuned model, without any description or example:

# %%
from course_utils.places import write_jsonl

answers["tuned"] = models.answer(model, tokenizer, requests, **limits)
keys = "request", "before", "told", "shown", "after"
kept = [dict(zip(keys, row)) for row in zip(requests, *answers.values())]
write_jsonl(folder / "answers.jsonl", kept)
print(*(f"{k['request']}\n{k['after']}\n" for k in kept[:3]), sep="\n")

# %% [markdown]
# A share of a few dozen answers needs an interval; Wilson's stays honest near 0 and 1,
# where the simple one (± 1.96 standard errors) shrinks to a point. And form is one
# thing: does the answer fit the wish, does the course's table have a film of that title,
# and are then year, runtime (within three minutes) and genres right? The table has a few
# hundred films: one that it lacks fails the last two checks, although it may exist.

# %%
from statsmodels.stats.proportion import proportion_confint

checks, total = project.answer_checks, len(held_out)
passed = {}
for name, texts in answers.items():
    passed[name] = [sum(map(c, held_out, texts)) for c in checks.values()]

# %%
import matplotlib.pyplot as plt

from course_utils.plots import grouped_bars

ends = {
    name: [proportion_confint(c, total, method="wilson") for c in counts]
    for name, counts in passed.items()
}
shares = {name: [c / total for c in counts] for name, counts in passed.items()}
form, facts = passed["tuned"][0], passed["tuned"][-1]
last = list(checks)[-1].replace("\n", " ").capitalize()
grouped_bars(
    list(checks), shares, intervals=ends, value_format="{:.0%}",
    y_label=f"share of {total} held-out requests",
    axes=plt.figure(figsize=(9.5, 4.6)).add_subplot(),
    title=f"Tuned. Form: {form} of {total}. {last}: {facts} of {total}",
);

# %%
def prompt_tokens(chat):
    "Tokens that are read for one request."
    if isinstance(chat, str):
        chat = [{"role": "user", "content": chat}]
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])

counted = {n: pd.Series(map(prompt_tokens, a)) for n, a in ways.items()}
read = {name: int(tokens.median()) for name, tokens in counted.items()}
read["tuned"] = read["base"]
paid = run.tokens * (3 if plan.gradient_checkpointing else 2)
pays_after = paid / (read["shown examples"] - read["tuned"])
print(f"tokens of a prompt (median): {read}")
print(f"training = reading {paid:,} tokens of prompts,")
print(f"as much as {pays_after:.0f} requests with three examples cost more")

# %% [markdown]
# Hold blue against all three greys, not against the first alone. (An answer that repeats
# one of the three examples is in the table, with right facts.) Training showed the form
# hundreds of times, and each fact once: a few hundred rows teach no catalogue of films.
# A model that does not know a film fills the form all the same, which makes it look true.
# (An 8B model knows more films: there, read the bars.) A program of ten lines that fills
# the form from the table would be right in all four: where facts matter, look them up.
#
# And what does each way cost? Examples are read again for every request, training is
# paid once: a token of training costs about as much as reading two (forward, and
# backward through frozen weights; three with gradient checkpointing). After that many
# requests three examples have cost more than training did. A server that
# keeps the common beginning of its prompts reads the examples once, and then training
# saves next to no time. So say first what you want to save: time, or the last errors.
#
# ## 8. Save it, load it, prove it
#
# A common complaint about a saved adapter is that it comes back as the base model. So:
# save, load again, and compare logits, not impressions. `save_pretrained` writes the
# adapter alone; `whole_folder` leaves no half adapter if it is stopped.

# %%
from course_utils.places import whole_folder

with whole_folder(folder / "adapter") as new:
    model.save_pretrained(new)  # adapter_model.safetensors and its config
    tokenizer.save_pretrained(new)  # with the template it was trained with
    run.save(new)  # run.json: plan, rows, log, versions
sorted(path.name for path in (folder / "adapter").iterdir())

# %% [markdown]
# How far did training move the logits, did any tensor of the base change, and what rank
# has a finished update, B·A?

# %%
text = prompt + ended
trained = models.logits_of(model, tokenizer, text)
with model.disable_adapter():
    untouched = models.logits_of(model, tokenizer, text)
distance = {"base": (untouched - trained).abs().max().item()}
layer = next(m for n, m in model.named_modules() if n.endswith("q_proj"))
update = layer.lora_B.default.weight @ layer.lora_A.default.weight
update_rank = torch.linalg.matrix_rank(update.float()).item()
frozen_after = checksums(model)
changed = sum(frozen_after[n] != frozen_before[n] for n in frozen_before)
print(f"logits moved by up to {distance['base']:.3g}")
print(f"{changed} base tensors changed; an update has rank {update_rank}")

# %% [markdown]
# None did: whatever the model does differently sits in the adapter. Now the model
# leaves memory and comes back from the disk. Equal means: within eight roundings of the
# largest logit.

# %%
del model, trainer, layer, update, trainers, by_trl, by_unsloth
base = None
models.free_memory()
reloaded, _ = models.load_adapter(folder / "adapter", plan, profile)
again = models.logits_of(reloaded, tokenizer, text)
rounding = torch.finfo(profile.compute_dtype).eps * trained.abs().max().item()
distance["reloaded"] = (again - trained).abs().max().item()
assert distance["reloaded"] <= 8 * rounding < distance["base"]
distance

# %% [markdown]
# The reloaded adapter gives the same logits, and the base gives others. Both halves of
# the proof are needed.
#
# ## 9. Stop it, resume it
#
# A free Colab session ends when it likes. Can a run go on as if nothing had happened? A
# drill: the same run, stopped after three updates by `StopAfter`, a callback that saves
# and ends; then resumed by a fresh model. `build_trainer` is section 6 as a function.
# Prediction: the losses are those of section 6.

# %%
from pathlib import Path

from course_utils.training.trainer import StopAfter, build_trainer

del reloaded


def fresh_trainer(stop: int) -> SFTTrainer:
    models.free_memory()
    fresh = models.attach_lora(models.load_base(plan, profile)[0], plan)
    where = Path(scratch.name)
    rows = train_rows, valid_rows
    trainer = build_trainer(fresh, tokenizer, *rows, plan, profile, where)
    trainer.add_callback(StopAfter(stop))
    return trainer


# %%
stopped = fresh_trainer(3)
stopped.train()
del stopped
resumed = fresh_trainer(6)
resumed.train(resume_from_checkpoint=True)  # the newest one in output_dir
log = pd.DataFrame(resumed.state.log_history).groupby("step").first()
both = pd.DataFrame({"in one go": logged["loss"], "resumed": log["loss"]})
both = both.dropna().loc[:6]
rtol = torch.finfo(profile.compute_dtype).eps ** 0.5  # fp32 3e-4, fp16 0.03
torch.testing.assert_close(*both.T.values.tolist(), rtol=rtol, atol=0)
both.round(4)

# %% [markdown]
# The resumed run carries on with the same losses. A checkpoint holds the adapter, the
# optimizer's moments, the place in the schedule and the state of the random numbers.
#
# On Colab it must lie on Drive, or it dies with the machine. Put this into a cell of its
# own, the first of all, in each notebook of the course that you open:
#
# ```python
# from google.colab import drive
# drive.mount("/content/drive")
# %env COURSE_RUNS=/content/drive/MyDrive/course-runs
# ```
#
# A run that was cut off goes on there, and lessons 04 to 06 find its adapter instead of
# training one. (Leave it out in 07 for a 7 or 8B: its export of 75 GB fits no free Drive.
# If a cell waits there after a disconnect, delete the files that end in `.lock`.)
#
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | “all labels are −100”, loss 0 or NaN | the mask's marks do not fit the template, or `max_length` cut the answer off | print the strip; look at the longest row |
# | the first word of answers is odd | prompt and answer share a token | tokenise the two apart, as `masked` does |
# | the model never stops | the end token carries no loss: a template without it, or a collator that masks it as pad token | last tile of the strip must be a blue end token |
# | loss falls, answers look like before | adapter not saved, or base loaded in its place | the two-sided test of section 8 |
# | NaN on a T4 | bf16 on a card without it, or fp16 without loss scaling | fp16 with scaling: `fp16=True` |
# | `unexpected keyword argument 'max_seq_length'` | TRL renamed it (and `tokenizer`) | `max_length`, `processing_class` |
# | the loss jumps back after a resume | only the adapter was loaded, not the checkpoint | `resume_from_checkpoint=True` |
#
# ## In the interview
#
# Say the answer aloud before you unfold it.

# %%
from course_utils.evidence.cards import show_cards

show_cards("03")

# %% [markdown]
# ## The same on your project
#
# All of this lesson in one function. Your file holds a row a line: `{"prompt":
# [{"role": "user", "content": "…"}], "completion": [{"role": "assistant", "content":
# "…"}]}`.

# %%
from unsloth import FastLanguageModel, is_bfloat16_supported  # first
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer


def fine_tune(model_name: str, rows: str, folder: str, **options) -> None:
    model, tokenizer = FastLanguageModel.from_pretrained(model_name)
    model = FastLanguageModel.get_peft_model(model, r=16, lora_alpha=16)
    split = load_dataset("json", data_files=rows, split="train")
    split = split.train_test_split(0.1, seed=1)
    config = SFTConfig(
        output_dir=folder,
        per_device_train_batch_size=2, gradient_accumulation_steps=4,
        num_train_epochs=1, learning_rate=2e-4, warmup_steps=5,
        completion_only_loss=True, max_length=2048,
        eval_strategy="steps", eval_steps=20, logging_steps=1,
        bf16=is_bfloat16_supported(), fp16=not is_bfloat16_supported(),
        **options,
    )
    trainer = SFTTrainer(
        model=model, processing_class=tokenizer, args=config,
        train_dataset=split["train"], eval_dataset=split["test"],
    )
    trainer.train()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


# %% [markdown]
# ## You can now …

# %%
headline = ", ".join(f"{n} {c}" for n, c in in_form.items()) + f", tuned {form}"
print(
    f"… turn a conversation into {len(blue)} tokens of which {sum(blue)} carry "
    f"loss,\n… say that this run made {run.updates} updates of "
    f"{plan.effective_batch} rows,\n… show a validation loss of "
    f"{valid.iloc[0]:.2f} that fell to {valid.iloc[-1]:.2f},\n"
    f"… prove that the reloaded adapter is off by {distance['reloaded']:.1g},\n"
    f"… report of {total} answers in the form: {headline}."
)

# %% [markdown]
# ## What this run does not show
#
# - Another seed's curve, and what was forgotten: lesson 04 measures both.
# - That the recommendations are good: the checks see the form, and facts of films that
#   the table has. Harder requests: lesson 05.
# - Anything on a T4 when it ran on a CPU: precision, model and batch differ.
#
# ## Sources
#
# - TRL 1.15, installed source: docstring of `SFTConfig` (`completion_only_loss`,
#   `packing`), `trainer/sft_trainer.py` (labels from a completion mask).
# - unsloth_zoo 2026.10.9, installed source: `dataset_utils.py`,
#   `train_on_responses_only`, `get_chat_template_parts`.
# - transformers 5.17, installed source: `Trainer`, `data/data_collator.py`.
# - tatsu-lab/stanford_alpaca, `train.py`: `PROMPT_DICT`, the prompt of section 3.
# - Not opened here: Ouyang et al. 2022, arXiv:2203.02155 (InstructGPT); Loshchilov and
#   Hutter 2017, arXiv:1711.05101 (AdamW); Wilson 1927 (the interval).

# %% tags=["hide-input"]
from course_utils.evidence.ledger import Ledger
from course_utils.training.trainer import gradient_zeros

ledger = Ledger("03", profile, recipe.name)
ended = [row["labels"][-1] == tokenizer.eos_token_id for row in train_rows]
taught = sum(ended) / len(ended)
said = [r.answer + tokenizer.eos_token for r in training]
said = tokenizer(said, add_special_tokens=False)["input_ids"]
extra = learnt - sum(map(len, said))
means = [float(pd.Series(losses).mean()) for losses in under.values()]
ledger.record("C053", rows_teaching_the_end=taught)
ledger.record(
    "C126", prompt_tokens_with_loss=extra, supervised_share=learnt / len(labels)
)
ledger.record("C068", own_nll=means[0], alpaca_nll=means[1], bare_nll=means[2])
shrinks = recipe.plan.learning_rate * recipe.plan.weight_decay
ledger.record("C060", decay_per_update=shrinks, base_tensors_changed=changed)
zeros = gradient_zeros(resumed.model, two)
ledger.record(
    "C061", a_zero_share_first=zeros["A at the start"],
    b_zero_share_first=zeros["B at the start"],
    a_zero_share_later=zeros["A"], update_rank=update_rank,
)
assert not ledger.missing()

# %% tags=["hide-input"]
from course_utils.machine.run_record import save_results, write_run_record

results = [
    {"held-out answers": check.replace("\n", " "), **{
        name: f"{passed[name][row]} of {total} ({low:.0%}–{high:.0%})"
        for name, intervals in ends.items()
        for low, high in [intervals[row]]
    }}
    for row, check in enumerate(checks)
]
once = f"once, {paid:,} tokens: pays after {pays_after:,.0f} requests"
cost = {"the prompt": {way: f"{n:.0f} tokens" for way, n in read.items()}}
cost["training"] = dict.fromkeys(ways, "–") | {"tuned": once}
results += [{"held-out answers": f"cost: {c}", **cost[c]} for c in cost]
save_results(folder, "03", results)
told = f"in the form, of {total}: {headline}"
write_run_record("03", profile, headline=told, seed=plan.seed)

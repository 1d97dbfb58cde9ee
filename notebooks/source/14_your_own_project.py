# %% [markdown]
# # 14 · Your rows, your model, your machine: what will happen?
#
# <!-- colab badge -->
#
# The first thing that people ask after a fine-tuning course is: how do I do this with
# *my* data? Here a file with 200 rows goes the whole way, from a first look to a chat
# with the tuned model. Its faults are those of real exports. Put the name of your own
# file in, and the same cells run on it.
#
# **You will be able to**
#
# - read a file in any of the usual shapes, and say what was left out and why,
# - find the form of the answers, and hold the split against leaks,
# - say before the run what memory and which minutes it will take,
# - train, read the curve, and ask your own prompts before and after, with baselines,
# - ship one file, chat with it, and do all of it again without this course.
#
# **Time and memory.** It takes about 25 minutes to read. With the course's rows it runs
# for about 9 minutes and needs 2.3 GiB on a CPU (processor time of one core that other
# programs used as well); on a T4 about 8 minutes (estimated). With your rows the report
# of section 4 says it before anything is trained.

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: it imports unsloth
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# ## Which rows?
#
# Those of `COURSE_RECIPE`, when it names a file; else a CSV file that the course brings:
# messages to a shop, each with the line that a clerk would type into the ticket system.
# To take your own, put a cell before all others, and run the notebook from the top:
#
# ```
# %env COURSE_RECIPE=/path/to/rows.csv
# ```
#
# Rows alone are enough, since all else has a default. A *recipe* is a file of a few
# lines that says more: the model, a sentence about the form, prompts of your own, and
# any number of the run. The course's own:

# %%
from course_utils.projects.own.file import SAMPLE, own_source, read_source
from course_utils.projects.own.recipe import OwnProject

own = OwnProject(own_source() or read_source(SAMPLE), profile)
if own.source.recipe_file:
    print(own.source.recipe_file.read_text())

# %% [markdown]
# ## 1. Look at the rows
#
# Nobody should train on rows that they have not read. Read are JSON and JSONL, CSV and
# TSV, Parquet, each also as `.gz`, a folder, or a data set on the Hugging Face hub. The
# columns may be `prompt` and `completion`, `instruction`, `input` and `output`
# (Alpaca), `messages`, `conversations` (ShareGPT) and several more:

# %% tags=["nbval-check-output"]
found = own.found[0]
print(found)

# %%
import pandas as pd

table = pd.DataFrame(
    {"request": row.request[-300:], "answer": row.answer[:300]}
    for row in found.rows[:5]
)
styled = table.style.format(escape="html").hide(axis="index")
styled.set_properties(**{"text-align": "left"})

# %% [markdown]
# “Left out” are rows that teach nothing: an empty answer would teach the model to say
# nothing, and a row that stands there twice counts double. They are counted, so that
# nobody wonders later where they went.
#
# ## 2. Faults
#
# A row that cannot be understood is another matter. It is not guessed at, and not passed
# over: all faults come at once, each with its place. A toy of four rows, two of them
# wrong in their own way:

# %% tags=["nbval-check-output"]
import tempfile
from pathlib import Path

from course_utils import CourseError
from course_utils.data.own_rows import read_rows

scratch = tempfile.TemporaryDirectory()  # gone when this kernel ends
toy = Path(scratch.name, "toy.jsonl")
toy.write_text("""\
{"prompt": "The kettle leaks.", "completion": "Team: repairs"}
{"prompt": "Where is my tent?", "completion": "Team: delivery"}
{"prompt": "Cancel it.", "completion": "Team: orders"
{"promt": "A bill, please.", "completion": "Team: billing"}
""")
try:
    read_rows(toy)
except CourseError as problem:
    print(problem)

# %% [markdown]
# ### ●○○ Exercise 1 · A shape that nobody knows (6 minutes)
#
# *Why it matters: sooner or later a file comes with columns of its own.*
#
# A table has the columns `question`, `context` and `reply`; an empty cell is `None`.
# Write `as_messages(row)`: the user says the question and, after a blank line, the
# context if there is one; the assistant says the reply. Return `None` for a row that
# teaches nothing.

# %% tags=["exercise"]
from course_utils.exercises import TODO, check


def as_messages(row: dict) -> list[dict[str, str]] | None:
    """The row as two messages, or None."""
    return TODO


# %% tags=["check"]
check(as_messages)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `(text or "").strip()` is empty for `None` and for blanks alike.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def as_messages(row):
#     question, reply = row["question"] or "", row["reply"] or ""
#     if not question.strip() or not reply.strip():
#         return None
#     asked = f"{question}\n\n{row['context']}" if row["context"] else question
#     return [
#         {"role": "user", "content": asked},
#         {"role": "assistant", "content": reply},
#     ]
# ```
#
# </details>
#
# ## 3. What is the form?
#
# A model learns from a few hundred rows what they have in common. So what is it? The
# course's projects have checks that were written by hand. For rows of your own a program
# looks: are the answers a few labels, JSON objects with the same keys, lines with the
# same pieces, or is only their length alike? Three toys:

# %% tags=["nbval-check-output"]
from course_utils.projects.own.form import form_of

pieces = ["To: Ann | Re: tea", "To: Bob | Re: the old kettle"]
print(form_of(pieces).described)
print(form_of(["yes", "no", "no", "Yes.", "no", "yes"]).described)
print(form_of(['{"team": 1}', '{"team": 2}']).described)

# %% [markdown]
# And the rows here? The form is taken from the training rows alone, and then held
# against the others, which are *held out*: never trained on, and drawn by request, so
# that the same question cannot stand on both sides.

# %% tags=["nbval-check-output"]
from course_utils.projects.project import project_of

project, recipe = project_of(own), own.recipe
training, held_out = own.training, own.held_out
k = sum(project.follows_form(row.answer) for row in held_out)
print("the form:", project.form)
print(f"{k} of {len(held_out)} held-out answers have it")

# %% [markdown]
# Is that what you mean by the form of your answers? If it says “at most … words”, your
# answers have no form that a program finds. That is no fault; but then only you can
# judge what the model writes.
#
# ### ●○○ Exercise 2 · What does guessing reach? (4 minutes)
#
# *Why it matters: “90 % right” is nothing when nine in ten answers are the same.*
#
# Write `guessing_share(training, held_out)`: both are lists of answers. Which share of
# the held-out answers is right if one always writes the most frequent training answer?

# %% tags=["exercise"]
def guessing_share(training: list[str], held_out: list[str]) -> float:
    """Share right of the one most frequent training answer."""
    return TODO


# %% tags=["check"]
check(guessing_share)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `collections.Counter(training).most_common(1)`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# from collections import Counter
#
# def guessing_share(training, held_out):
#     guess = Counter(training).most_common(1)[0][0]
#     return held_out.count(guess) / len(held_out)
# ```
#
# </details>
#
# ## 4. What will happen?
#
# One report, before anything is trained. Its minutes are an estimate, by a rule that it
# states. Its memory is planned twice: for rows as long as yours are, and for the bound
# `max_length`, which no row may exceed.

# %%
from course_utils.projects.own.report import report_on

report = report_on(own)
report

# %%
from course_utils.plots import REFERENCE, histogram

longest = max(report.lengths)
axes = histogram(
    {"training rows": report.lengths}, bins=20,
    x_label="tokens of a row, template included", y_label="rows",
    title=f"The longest of {len(report.lengths)} rows has {longest} tokens; "
    f"left out: {report.too_long or 'none'}",
)
axes.axvline(report.max_length, label="max_length", **REFERENCE)
axes.legend();

# %% [markdown]
# A batch is as wide as its longest row, so a single long row can cost the memory of a
# whole batch. `max_length` is the bound; it is set by your rows and not by habit.
#
# Every number of the run, and why it is what it is. What you set in a recipe stands
# there as yours, and is never changed:

# %%
plan = recipe.plan_for(profile.name, profile.model_override)
columns = ["setting", "on a T4", "here", "unit or reason"]
numbers = pd.DataFrame(recipe.comparison(profile.name), columns=columns)
styled = numbers.style.format(escape="html").hide(axis="index")
styled.set_properties(**{"text-align": "left"})

# %% [markdown]
# ## 5. Before: what would you do instead?
#
# The held-out requests, the prompts of your own (of which nobody wrote the answer), and
# six requests of another kind are put to the base in three ways: as they are, with the
# form told in words, and after three training rows as examples. Training has to beat
# the best of these, since each of them costs nothing.

# %%
import dataclasses

suite, ways = project.suite(), project.ways(training)
roomy = dataclasses.replace(plan, max_length=max(2048, plan.max_length))
base, tokenizer = models.load_base(roomy, profile)
answers = {
    way: models.generate(base, tokenizer, chats,
                         max_new_tokens=suite.max_new_tokens)
    for way, chats in ways.items()
}
for way in ways:
    print(f"[{way}]\n{answers[way][0].text[:200]}\n")

# %% [markdown]
# ## 6. Train
#
# Rows come to a trainer through `datasets`. Each side is written as JSON lines, read by
# `load_dataset`, and made into tokens with labels on the answer alone (lesson 03):

# %%
import datasets
from datasets import load_dataset

from course_utils.data.datasets import load_rows
from course_utils.places import run_folder, write_jsonl
from course_utils.training.adapter import without_long_rows

datasets.disable_progress_bars()
folder = run_folder(recipe.name, profile)
sides, files = load_rows(plan), {}
for side, rows in zip(("train", "validation"), sides):
    kept = without_long_rows(rows, plan, tokenizer)
    lines = [{"id": row.id, "messages": list(row.messages)} for row in kept]
    files[side] = str(write_jsonl(folder / f"{side}.jsonl", lines))
chats = load_dataset("json", data_files=files)
{side: len(rows) for side, rows in chats.items()}

# %% [markdown]
# `tokenize_conversation` is the mask of lesson 03 with checks around it; the adapter is
# that of lesson 02.

# %%
from course_utils.data.conversation import Conversation
from course_utils.data.tokens import tokenize_conversation


def labelled(row):
    """Tokens of a chat, and labels on what is learnt."""
    chat = Conversation(row["id"], tuple(row["messages"]))
    limits = plan.max_length, plan.train_on  # longest row; which answers
    return tokenize_conversation(chat, tokenizer, *limits)


tokens = chats.map(labelled, remove_columns=["id", "messages"])
model = models.attach_lora(base, plan)
model.print_trainable_parameters()

# %% [markdown]
# The arguments are those of lesson 03; the numbers are the plan's.

# %%
from trl import SFTConfig, SFTTrainer

from course_utils.training.trainer import RunRecorder, TrainingRun, tracker

config = SFTConfig(
    output_dir=str(folder / "checkpoints"),
    per_device_train_batch_size=plan.batch_size,  # rows in one pass
    per_device_eval_batch_size=plan.batch_size,
    gradient_accumulation_steps=plan.accumulation_steps,
    num_train_epochs=plan.epochs, max_steps=plan.max_steps or -1,
    learning_rate=plan.learning_rate, lr_scheduler_type=plan.schedule,
    warmup_steps=plan.warmup_steps, weight_decay=plan.weight_decay,
    optim=plan.optimizer, max_length=plan.max_length, packing=False,
    gradient_checkpointing=plan.gradient_checkpointing,
    fp16=profile.is_gpu and not profile.supports_bf16,  # a T4
    bf16=profile.is_gpu and profile.supports_bf16,  # newer cards
    eval_strategy="steps", eval_on_start=True, logging_steps=1,
    eval_steps=-(-report.cost.updates // 4), save_strategy="no",
    report_to=tracker(), seed=plan.seed, data_seed=plan.seed,
    dataloader_pin_memory=profile.is_gpu,
    include_num_input_tokens_seen="non_padding",
    dataset_kwargs={"skip_prepare_dataset": True},  # rows are labelled
)

# %%
from course_utils.places import locked
from transformers import DataCollatorForSeq2Seq

trainer = SFTTrainer(
    model=model, processing_class=tokenizer, args=config,
    train_dataset=tokens["train"], eval_dataset=tokens["validation"],
    data_collator=DataCollatorForSeq2Seq(tokenizer),  # pads; labels by -100
    callbacks=[RunRecorder(plan, tokens["train"], tokens["validation"])],
)
with locked(folder):  # another notebook of the course waits meanwhile
    trainer.train()

# %% [markdown]
# Was the estimate any good? It assumes a core that nobody else uses: beside other
# programs the run takes as many times longer as they leave less of it.

# %%
run = TrainingRun.of(trainer, recipe.name, profile, sides)
took, reached = run.seconds / 60, run.tokens_per_second
print(f"minutes: {report.cost.minutes:.1f} planned, {took:.1f} taken")
print(f"tokens a second: {report.tokens_a_second:.0f} and {reached:.0f}")

# %%
from course_utils.places import whole_folder

with whole_folder(folder / "adapter") as new:  # whole, or not at all
    model.save_pretrained(new)
    tokenizer.save_pretrained(new)
    run.save(new)
sorted(path.name for path in (folder / "adapter").iterdir())

# %% [markdown]
# ## 7. Was the run healthy?
#
# Lesson 04 in one cell: the curve, the verdict, and what to do.

# %%
from course_utils.curves.diagnosis import diagnose
from course_utils.curves.losses import LossCurves
from course_utils.curves.plots import loss_plot

curves = LossCurves.from_history(run.history)
start, end = curves.validation.iloc[[0, -1]]
title = f"Held-out answers: {start:.2f} → {end:.2f} nats a token"
loss_plot(curves, title=title)
print(diagnose(curves))

# %% [markdown]
# “Still falling” means: more passes would bring more (`epochs: 4` in your recipe).
# “Overfit” means: fewer passes, or more rows.
#
# ## 8. After: your own prompts
#
# The same prompts to the tuned model, without a form in words and without examples.

# %%
from course_utils.stress.rates import pass_rates, spelled, verdict_table
from course_utils.stress.trials import failures, judge_all, save_trials

answers["tuned"] = models.generate(
    model, tokenizer, ways["base"], max_new_tokens=suite.max_new_tokens
)
trials = [
    t for way in answers for t in judge_all(suite, answers[way], model=way)
]
save_trials(trials, folder / "stress.jsonl")
verdicts = verdict_table(trials, suite)
rates = pass_rates(verdicts, ["model", "check"])
rates.apply(spelled, axis=1).unstack("model")[[*answers]]

# %%
from course_utils.stress.plots import rates_plot

wanted = [suite.roles.form, suite.roles.follows_request, suite.roles.is_correct]
main_rates = rates[rates.index.isin(wanted, level="check")]
right = {way: rates.loc[way, suite.roles.is_correct] for way in answers}
told = ", ".join(f"{way} {r.passed:.0f}" for way, r in right.items())
rates_plot(
    main_rates.loc[[*answers]], y_label="",
    x_label="share that passed; at the right passed / judged",
    title=f"The written answer, of {right['tuned'].n:.0f}: {told}",
);

# %% [markdown]
# On the small model three examples bring the form into 31 of 34 answers, and training
# into all of them. The written answer, with its team, product, number and issue, comes
# in 1 of 24 after three examples and in 8 of 24 after training.
#
# *As written* is a hard check, word for word but for case and the last full stop; it is
# fair where there is one right answer, as in a ticket line. *Half as written* is met by
# an answer that shares half of its words. What would guessing reach, and is the tuned
# model better than three examples by more than luck? And which parts of an answer are
# right, each for itself?

# %%
from collections import Counter

from course_utils.projects.own.suite import matches
from course_utils.stress.rates import compare_models

guess = Counter(row.answer for row in training).most_common(1)[0][0]
hits = sum(matches(row, guess) for row in held_out)
print(f"always the most frequent answer: {hits} of {len(held_out)} right\n")
pair = ("shown examples", "tuned")
print(compare_models(verdicts, suite.roles.is_correct, pair))

# %%
from course_utils.stress.rates import met_by_part

counted = {}
for way in answers:
    parts = met_by_part((t for t in trials if t.model == way), suite)
    counted[way] = {k: f"{it.right} of {it.n}" for k, it in parts.items()}
pd.DataFrame(counted)

# %% [markdown]
# On the small model the gain over three examples is 1 lost and 8 gained, p = 0.04: more
# than luck, barely, and far from finished. Product and order can be copied from the
# message: three examples get 18 and 17 of 24 right, training 22 and 24. Team and issue
# have to be understood: 5 and 2 after three examples, 13 and 19 after training. There
# the training pays. (Where answers name no parts, as labels and free texts do, the table
# is empty.)
#
# Now read. The prompts of your own first, with both answers: nobody wrote down what is
# right, so you judge. Then every answer of the tuned model that failed a check, folded
# by group; *unasked* are the six requests of another kind, where the form is wrong.

# %%
texts = {way: [a.text for a in answers[way]] for way in answers}
for n, prompt in enumerate(suite.prompts):
    if prompt.notes["group"] == "own_prompts":
        print(f"> {prompt.request}")
        print(f"  three examples: {texts['shown examples'][n][:160]}")
        print(f"  tuned:          {texts['tuned'][n][:160]}\n")

# %%
failures(trial for trial in trials if trial.model == "tuned")

# %% [markdown]
# No row says when *not* to write a ticket line, so “What is the capital of Japan?” gets
# one too: on the small model all six requests of another kind do, after three examples as
# well. If your users may ask such things, add rows that answer them: twenty are a
# start.
#
# ## 9. Ship one file, and chat with it
#
# The adapter is added to the base, and the sum becomes a GGUF file with tokenizer and
# template (lesson 07). llama.cpp is built once, where it is missing.

# %%
from course_utils.gguf import export, llama_cpp, serving

del trainer, model, base
models.free_memory()
llama_cpp.build_if_missing()
shipped = export.load_for_export(plan, profile, folder / "adapter")
architecture = own.architecture or export.Architecture.from_config(
    shipped[0].config
)
made = export.export_gguf(
    *shipped, folder / "gguf", ["q8_0"],
    architecture=architecture, replace=True,
)
gguf = made["q8_0"]
print(f"{gguf.name}: {gguf.stat().st_size / 1e6:.0f} MB")

# %%
request = held_out[0].request
with serving.serve(gguf) as server:
    reply = server.client().chat.completions.create(
        model="gguf", messages=[{"role": "user", "content": request}],
        temperature=0, max_tokens=suite.max_new_tokens,
    )
print(f"> {request}\n{reply.choices[0].message.content}")
print(f"written: {held_out[0].answer}")

# %% [markdown]
# To chat in a browser: `llama-server --model q8_0.gguf --port 8080`, then open
# `http://127.0.0.1:8080`. The program lies in the course's cache, and in every release
# of llama.cpp.
#
# The whole lesson is one command as well:
#
# ```
# python -m course_utils.pipeline --data rows.csv
# ```
#
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | many rows “left out” | the answers are empty, or rows were pasted twice | look at the file where the report says so |
# | “keys … found” | columns with names of their own | rename two of them, or exercise 1 |
# | `WARNING memory` | long rows, or a large model | `batch_size: 1`, a smaller `max_length`, a smaller model |
# | the form holds, the content is wrong | few rows, or facts that no row states | more rows; for facts put them into the prompt |
# | tuned is no better than three examples | the base can do it already | keep the prompt, and save the training |
# | `OtherAdapter` in a later lesson | the rows or the recipe changed after training | run this lesson again |
#
# ## In the interview
#
# Say the answer aloud before you unfold it.

# %%
from course_utils.evidence.cards import show_cards

show_cards("14")

# %% [markdown]
# ## The same on your project
#
# Without this course, for a CSV file with the columns `prompt` and `completion`. TRL
# makes the label mask itself from rows of this shape.

# %%
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer


def turn(role, text):
    return [{"role": role, "content": text}]


def tune(model, tokenizer, csv):
    """Train a model that has an adapter (lesson 02) on a CSV file."""
    rows = load_dataset("csv", data_files=csv, split="train")
    rows = rows.filter(lambda row: row["prompt"] and row["completion"])
    rows = rows.map(lambda row: {
        "prompt": turn("user", row["prompt"]),
        "completion": turn("assistant", row["completion"]),
    }).train_test_split(test_size=0.2, seed=0)
    config = SFTConfig(
        output_dir="my-run", num_train_epochs=2, learning_rate=2e-4,
        logging_steps=1, eval_strategy="epoch", report_to="none",
    )
    trainer = SFTTrainer(
        model=model, args=config, processing_class=tokenizer,
        train_dataset=rows["train"], eval_dataset=rows["test"],
    )
    trainer.train()
    return trainer


# %% [markdown]
# (It splits by row: where a request stands twice in your file, it can land on both
# sides. The course splits by request.)
#
# ## You can now …

# %%
ready = f"{len(found.rows)} rows read, {sum(found.dropped.values())} left out"
print(f"… bring rows of your own: {ready},")
print(f"… say beforehand: {report.cost.minutes:.1f} minutes,", end=" ")
print(f"{report.cost.in_gib}, {report.cost.updates} updates,")
for way in answers:
    print(f"… report “{suite.roles.is_correct}”, {way}: {spelled(right[way])},")
print(f"… and ship {gguf.stat().st_size / 1e6:.0f} MB that answer in a chat.")

# %% [markdown]
# ## What this run does not show
#
# - That more rows, another rate or a larger model would not do better: one run was made.
# - How another draw of the held-out rows would look. With two dozen of them the
#   intervals are wide.
# - Whether an answer without a written one is right: your own prompts are read, not
#   judged.
# - What the model forgot elsewhere (lessons 04 and 06 measure that).
#
# ## Sources
#
# - datasets 4.8, `load_dataset`; TRL 1.15, `SFTConfig`, `SFTTrainer`; transformers 5.17,
#   `DataCollatorForSeq2Seq`: installed source.
# - Wilson 1927 and McNemar 1947 for the intervals and the test (not opened here;
#   statsmodels computes both).

# %% tags=["hide-input"]
from course_utils.machine.run_record import save_results

shares = rates.apply(spelled, axis=1).unstack("model")[[*answers]]
kept = shares.reset_index().astype(str)
save_results(folder, "14", kept.to_dict("records"));

# %%
from course_utils.machine.run_record import write_run_record

headline = f"“{suite.roles.is_correct}”, of {right['tuned'].n:.0f}: {told}"
write_run_record("14", profile, headline=headline, seed=plan.seed)

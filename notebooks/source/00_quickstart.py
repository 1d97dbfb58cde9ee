# %% [markdown]
# # 00 · Can you fine-tune a model in five minutes, and what do you get?
#
# <!-- colab badge -->
#
# A language model answers in many forms. Your program needs one: the same four lines
# each time. This notebook trains a small model to answer in that form, once from end to
# end: load, ask, train, ask again, count, save, and chat with the file that is shipped.
# Every step is the library's own call, with the meaning of its arguments beside it.
# Lessons 01 to 07 explain why each step is done so; here you see where it belongs.
#
# **You will be able to**
#
# - write the calls of a fine-tuning run in their order,
# - say which tokens of a row a model learns from,
# - hold a tuned model against the prompt that you would write instead,
# - save the result twice, as an adapter and as a GGUF file (one file for a chat
#   program), and chat with it,
# - put your own rows, model and check in the place of these.
#
# **Time and memory.** About 19 minutes to read. On a CPU 5 minutes and 3 GiB (measured
# with one core), and once 4 minutes more where llama.cpp is not built. On a T4 8 minutes
# with that build, and 3 GiB of GPU memory (estimates: the course has not been timed
# there).
#
# The notebook always uses the movie rows, whatever the variable COURSE_RECIPE says.

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: it sets Unsloth up
from unsloth import FastLanguageModel
from course_utils.machine.doctor import check_machine
from course_utils.recipes.book import QUICKSTART

profile = check_machine()
plan = QUICKSTART.plan_for(profile.name, profile.model_override)

# %% [markdown]
# ## 1. Load a model
#
# A CPU gets SmolLM2-135M-Instruct, which comes with the course's packages; a GPU gets
# Qwen2.5-0.5B-Instruct from the Hugging Face hub (1 GB). *Instruct* means that the model
# was tuned to answer in a chat. Every number of this notebook stands in `plan`, and
# there in `data/recipes.yaml`, with its unit or its reason.

# %%
model, tokenizer = FastLanguageModel.from_pretrained(
    model_name=models.model_location(plan),  # a hub id, or a folder
    max_seq_length=plan.max_length,  # tokens of the longest text
    dtype=profile.compute_dtype,  # fp32 on a CPU, fp16 or bf16 on a GPU
    load_in_4bit=plan.load_in_4bit,  # True: weights in 4 bits, lesson 01
    use_exact_model_name=True)  # this one, no other copy of it

# %% [markdown]
# ## 2. Look at the rows
#
# What should the model learn? Each row of the training set is a conversation: somebody
# asks for a film, and the answer has one form. Two of them:

# %% tags=["nbval-check-output"]
import datasets
from course_utils.places import DATA_FOLDER, run_folder

datasets.disable_progress_bars()
rows = datasets.load_dataset("json", data_dir=str(DATA_FOLDER / "movies"))
for row in rows["train"].select(range(2)):
    print(*[m["content"] for m in row["messages"]], sep="\n", end="\n\n")

# %% [markdown]
# A bold title with the year, three bullets, and nothing after them: the form is the same
# in all 369 rows. The films differ.
#
# ## 3. Ask before training
#
# A model sees no messages, only one text. The tokenizer's *chat template* writes it: it
# wraps each message in marks that say who speaks and where a turn ends. To ask, the text
# stops after the mark that opens an answer (`add_generation_prompt`), and `generate`
# goes on from there, one token (a piece of a word) at a time. The cell shows the first
# row as the model sees it.
#
# The second cell asks twelve requests that no training row has. What would you do
# without training? You would put the form into the prompt. So the untrained model, the
# *base*, is asked twice: as it is, and told the form by an example, a row's answer. Row
# 13 was picked among a few on training requests, since a baseline should be as strong as
# you can make it; try others, the small model's answers change a lot. The first three
# requests, each with both answers:

# %%
def ask(model, requests):
    """The likeliest answer to each request, of at most 96 tokens."""
    FastLanguageModel.for_inference(model)  # faster; for_training undoes it
    chats = [[{"role": "user", "content": request}] for request in requests]
    prompts = tokenizer.apply_chat_template(
        chats,
        add_generation_prompt=True,  # end where an answer begins
        padding=True, tokenizer_kwargs={"padding_side": "left"},  # ends align
        return_dict=True, return_tensors="pt",
    ).to(model.device)
    tokens = model.generate(**prompts, max_new_tokens=96, do_sample=False)
    answers = tokens[:, prompts["input_ids"].shape[1] :]  # without the prompts
    return tokenizer.batch_decode(answers, skip_special_tokens=True)

chat = rows["train"]["messages"][0]
print(tokenizer.apply_chat_template(chat, tokenize=False))

# %%
example = rows["train"]["messages"][13][1]["content"]
form = "\n\nRecommend one film in exactly this form:\n" + example
requests = [chat[0]["content"] for chat in rows["validation"]["messages"]][::7]
before = ask(model, requests)
told = ask(model, [request + form for request in requests])
print(*map("\n→ ".join, zip(requests[:3], before, told)), sep="\n\n")

# %% [markdown]
# ## 4. Which tokens are learnt?
#
# Training makes each *label* likelier: the token that should come next. The request is
# not what the model should learn to write, so its labels are −100, a value that the loss
# skips. What carries loss is the answer, and the mark that ends it: without that mark the
# model would never learn to stop. Blue tiles are learnt, grey ones only read:

# %%
from course_utils.plots import label_strip

def labelled(row):
    """The tokens of a row, and labels on those of its answer alone."""
    text = tokenizer.apply_chat_template(row["messages"], tokenize=False)
    asked = tokenizer.apply_chat_template(
        row["messages"][:-1], tokenize=False, add_generation_prompt=True
    )
    pieces = [asked, text.removeprefix(asked).rstrip()]  # up to the end mark
    prompt, answer = tokenizer(pieces, add_special_tokens=False)["input_ids"]
    labels = [-100] * len(prompt) + answer
    return {"input_ids": prompt + answer, "labels": labels}

ids, labels = labelled(rows["train"][0]).values()
blue = [label != -100 for label in labels]
words = [repr(tokenizer.decode([token]))[1:-1] for token in ids]
label_strip(words, blue, title=f"{sum(blue)} of {len(ids)} tokens carry loss");

# %% [markdown]
# ## 5. Attach LoRA
#
# The model's own weights stay as they are. LoRA puts two thin matrices A and B beside
# each weight matrix W and trains those alone; the layer then computes with
# $W + \frac{\alpha}{r} B A$, where r, the *rank*, is the number of B's columns. B starts
# at zero, so at first nothing changes.

# %%
model = FastLanguageModel.get_peft_model(
    model, r=plan.rank, lora_alpha=plan.alpha,  # the update is alpha / r · B A
    target_modules=plan.target_modules,  # the seven matrices of each block
    use_gradient_checkpointing=plan.gradient_checkpointing,  # memory for time
    random_state=plan.seed,  # decides how A starts
)

# %% [markdown]
# ## 6. Train
#
# `SFTConfig` holds the numbers of the run, `SFTTrainer` puts model and rows together
# (SFT stands for supervised fine-tuning: learning from written answers). An *update*
# looks at one batch of rows, and moves A and B a small step in the direction that lowers
# its loss. How large a step is, is decided by the learning rate, the number that is most
# often set wrong.

# %%
from trl import SFTConfig, SFTTrainer

config = SFTConfig(
    output_dir=str(run_folder("quickstart", profile)),  # for checkpoints
    per_device_train_batch_size=plan.batch_size,  # rows behind an update
    max_steps=plan.max_steps,  # updates
    learning_rate=plan.learning_rate,  # at its peak
    lr_scheduler_type=plan.schedule, warmup_steps=plan.warmup_steps,  # its way
    optim=plan.optimizer, weight_decay=plan.weight_decay,  # AdamW, its decay
    gradient_checkpointing=plan.gradient_checkpointing,  # memory for time
    fp16=profile.is_gpu and not profile.supports_bf16,  # a T4
    bf16=profile.is_gpu and profile.supports_bf16,  # newer GPUs
    logging_steps=1, save_strategy="no", report_to="none", seed=plan.seed,
    dataset_kwargs={"skip_prepare_dataset": True},  # rows are labelled
)

# %%
from course_utils.plots import line_plot, use_course_style
from transformers import DataCollatorForSeq2Seq

learnt = rows["train"].map(labelled).select_columns(["input_ids", "labels"])
trainer = SFTTrainer(
    model=model, args=config, train_dataset=learnt, processing_class=tokenizer,
    data_collator=DataCollatorForSeq2Seq(tokenizer),  # pads; labels with -100
)
FastLanguageModel.for_training(model)
seconds = trainer.train().metrics["train_runtime"]
losses = [x["loss"] for x in trainer.state.log_history if "loss" in x]
first, last = (sum(part) / len(part) for part in (losses[:5], losses[-5:]))
use_course_style()
title = f"From {first:.1f} to {last:.1f} (means of five) in {seconds:.0f} s"
line_plot(range(1, len(losses) + 1), {"tuned": losses}, title=title,
          x_label="update", y_label="training loss (nats per token)");

# %% [markdown]
# Each point is the mean loss of one batch, so the curve is rough: some rows are harder
# than others. A *nat* is the unit of a natural logarithm: e to the power of the loss says
# between how many tokens the model hesitates. A falling curve shows that the rows are
# learnt. It does not show that held-out requests are answered better.
#
# ## 7. Ask again, and count
#
# The same twelve requests, three ways: the base as it is, the base told the form, and the
# tuned model, which is told nothing. *In the form* means exactly those four lines. The
# other checks hold what an answer states against the request, and against the course's
# table of 510 films. An answer that is not in the form fails them too; one that repeats
# the example word for word passes the last two. A film that the table lacks fails those
# two, although it may exist. The whiskers are 95 % Wilson intervals: with twelve requests
# they are wide.

# %%
from course_utils.data.datasets import load_movies
from course_utils.plots import grouped_bars
from course_utils.projects.project import PROJECTS
from course_utils.statistics.shares import Share

answers = {"base": before, "told the form": told, "tuned": ask(model, requests)}
checks = PROJECTS["movie_recommender"].answer_checks
held_out, number = load_movies("validation")[::7], len(requests)
counts = {way: [Share(sum(map(check, held_out, texts)), number)
                for check in checks.values()] for way, texts in answers.items()}
for way, texts in answers.items():
    print(f"{way}, in the form: {counts[way][0]}\n\n{texts[0]}\n")
grouped_bars(
    list(checks),
    {way: [each.share for each in found] for way, found in counts.items()},
    intervals={w: [each.interval for each in f] for w, f in counts.items()},
    y_label=f"share of {number} held-out requests", title=(
        f"Form: {counts['tuned'][0].right} of {number} tuned, "
        f"{counts['told the form'][0].right} told. "
        f"In the table, facts right: {counts['tuned'][-1].right}"
    ),
);

# %% [markdown]
# The small model learnt the form from 160 rows, but none of its films is in the
# course's table. (About films outside the table the check cannot say anything; lesson
# 05 looks closer, lesson 08 at what to do.)
#
# Was training needed? That is the comparison with the base that was told the form, not
# with the bare base. One example in the prompt goes a long way, and on a large model it
# may do as well as training; then it is the cheaper answer. Twelve requests are too few
# to tell two ways apart whose whiskers overlap widely: lesson 05 asks more of them, in
# pairs.
#
# ### ●○○ Exercise 1 · Change the form (5 minutes)
#
# *Why it matters: the form stands in the rows and nowhere else. Whoever wants other
# answers changes the rows.*
#
# Write `add_decade(answer)`: the answer with a fourth bullet, such as `- Decade: 1980s`,
# which follows from the year of the title.

# %% tags=["exercise"]
from course_utils.exercises import TODO, check

def add_decade(answer: str) -> str:
    """An answer with a fourth bullet, the decade of its film."""
    return TODO

# %% tags=["check", "nbval-check-output"]
check(add_decade)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The year stands in round brackets; a title can hold other digits. An f-string with
# `\n` begins a new line.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# import re
#
# def add_decade(answer: str) -> str:
#     year = re.search(r"\((\d{4})\)", answer)[1]
#     return f"{answer}\n- Decade: {year[:3]}0s"
# ```
#
# </details>
#
# To see it learnt, let `labelled` use the changed answer, and run the notebook again.
# Predict first: will the decade fit the year more often than the runtime fits the film?
#
# ## 8. Save it, load it, and chat with one file
#
# `save_pretrained` writes A and B, some megabytes, and the name of the base that they
# belong to; the tokenizer goes beside them. Loaded again, does the adapter give the same
# answers to all twelve requests?
#
# The second cell makes a GGUF file, which holds all that a chat program needs: weights
# with the adapter added to them, tokenizer, template, end mark. Unsloth makes it with
# llama.cpp, a program that runs such files; it is built now where it is missing. `q8_0`
# rounds each weight to about 8 bits. llama.cpp's server then speaks the protocol of
# OpenAI's API:

# %%
saved = str(run_folder("quickstart", profile) / "adapter")
model.save_pretrained(saved)
tokenizer.save_pretrained(saved)
again, _ = FastLanguageModel.from_pretrained(
    saved, plan.max_length, profile.compute_dtype, plan.load_in_4bit)
f"the same answers: {ask(again, requests) == answers['tuned']}"

# %%
from course_utils.gguf import llama_cpp, serving
from course_utils.machine.run_record import write_run_record

llama_cpp.build_if_missing()
folder = run_folder("quickstart", profile) / "gguf"
again.save_pretrained_gguf(str(folder), tokenizer, quantization_method="q8_0")
gguf = next(folder.parent.rglob("*.Q8_0.gguf"))
with serving.serve(gguf) as server:
    reply = server.client().chat.completions.create(
        model="gguf", messages=[{"role": "user", "content": requests[0]}],
        temperature=0, max_tokens=96)
print(f"{gguf.stat().st_size / 1e6:.0f} MB\n", reply.choices[0].message.content)
headline = f"{counts['tuned'][0].right} of {number} answers in the form"
write_run_record("00", profile, headline=headline, seed=plan.seed)

# %% [markdown]
# The file's answer may differ from the one of section 7: rounding can tip the choice
# between two tokens, and what follows changes with it. Lesson 07 measures how much is
# lost.
#
# ## The same on your project
#
# Three lines change. Everything else stays as it is.
#
# | Line | Here | Yours |
# |---|---|---|
# | the model, section 1 | `model_name=…` | a hub id, such as `"unsloth/Llama-3.2-1B-Instruct"` |
# | the rows, section 2 | `data_dir=…` | a folder with your `train.jsonl` and `validation.jsonl` |
# | the check, section 7 | `checks = …` | a function of yours that reads an answer and says yes or no |
#
# A row is one line of JSON: `{"messages": [{"role": "user", "content": "…"}, {"role":
# "assistant", "content": "…"}]}`. A few hundred answers in one form are enough to teach
# the form. If your rows are longer than `max_length`, raise it.
#
# **Where next?** Why does the loss fall, and is this curve normal: 03, 04. How much
# memory does a larger model take: 01. What is in A and B: 02. Is the tuned model really
# better: 05, 06. What does the file lose: 07.
#
# ## Sources
#
# - Unsloth 2026.10, `FastLanguageModel`; TRL 1.15, `SFTConfig` and `SFTTrainer`;
#   transformers 5.17, `DataCollatorForSeq2Seq`; datasets 4.8, `load_dataset`: installed
#   source.
# - Hu et al. 2021, *LoRA*, arXiv:2106.09685, for the sum $W + \frac{\alpha}{r} B A$.

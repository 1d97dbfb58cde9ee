# %% [markdown]
# # 09 · Which weights should you train?
#
# <!-- colab badge -->
#
# LoRA is one way among many: prompts that are trained, prefixes, factors, other starts,
# other rates, or simply all weights. Several of their papers report gains over LoRA. Here
# they get the same rows and the same number of tokens, a learning rate of their own,
# and three seeds. Is any of them better than LoRA by more than its spread?
#
# **You will be able to**
#
# - say where each method puts its numbers, and predict how many there are,
# - write PEFT's configuration for ten methods, and train with transformers' own trainer,
# - compare methods fairly: a rate for each, equal tokens, seeds, differences with spread,
# - weigh full tuning, LoRA and QLoRA by loss, memory, time and forgetting,
# - switch, mix, sum and swap adapters, and keep task A while you learn task B.
#
# **Time and memory.** About 45 minutes to read. It runs 9 minutes in 5 GiB on a CPU
# (processor time of one core); on a T4, with a model of 0.5 billion parameters, about 10
# minutes (estimated).

# %% tags=["first-cell"]
pass

# %%
from course_utils.machine.doctor import check_machine
from course_utils.methods import study
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()
task = study.Task.on(profile)

# %% [markdown]
# There is no Unsloth in this lesson: its fast path is made for LoRA and its variants.
# Transformers and PEFT run everywhere. The task is lesson 08's, a wish that becomes a
# query, without a chat template: 160 rows, one pass over them, 80 test requests.
#
# ## 1. Five places for new numbers
#
# A toy first, one matrix $W$ of four rows and four columns. **Full** tuning may change
# each of its 16 entries. **LoRA** of rank 1 adds a column times a row, 8 numbers. **IA³**
# multiplies each output by a factor, 4 numbers. What can the change of $W$ look like?

# %% tags=["nbval-check-output"]
import torch

W = torch.tensor([[2.0, 0, 1, 0], [0, 1, 0, 1], [1, 0, 2, 0], [0, 1, 0, 3]])
B, A = torch.tensor([[1.0], [0], [2], [-1]]), torch.tensor([[1.0, 0, 1, 0]])
factors = torch.tensor([1.0, 2, 1, 3])
for name, update in {"LoRA": B @ A, "IA3": factors[:, None] * W - W}.items():
    print(f"{name}, rank {torch.linalg.matrix_rank(update)}\n{update}")

# %% [markdown]
# LoRA's change is free in direction and poor in rank. IA³'s may have any rank, but each
# row stays a multiple of what it was: it can make an output louder, and cannot make it
# listen to something else.
#
# **DoRA** splits $W + BA$ into directions and lengths: one trained length for each row,
# $m \cdot (W + BA) / \lVert W + BA \rVert$. Its lengths start at those of $W$.

# %% tags=["nbval-check-output"]
def dora(B, A, lengths):
    moved = W + B @ A
    return lengths[:, None] * moved / moved.norm(dim=1, keepdim=True)


lengths = W.norm(dim=1)  # 4 numbers, beside the 8 of A and B
assert torch.allclose(dora(0 * B, A, lengths), W)  # B starts at zero
torch.stack([dora(B, A, lengths).norm(dim=1), lengths]).round(decimals=2)

# %% [markdown]
# With B = 0 it is W. After A and B moved, the rows point elsewhere and are as long as
# before (both lines are equal), until the lengths are trained as well.
#
# **rsLoRA** changes one number, the scale of the update: $\alpha/\sqrt r$ in place of
# $\alpha/r$. Other names change where training starts (**PiSSA**: A and B from the largest
# singular vectors of W, which are taken out of W), its rates (**LoRA+**: B learns faster
# than A), or which ranks are kept (**AdaLoRA**: $P\,\mathrm{diag}(\lambda)\,Q$, small λ are
# dropped).
#
# The last three leave all matrices alone. **Prompt tuning** trains vectors that stand
# before the text's; **P-tuning** makes them with a small network, which is dropped after
# training; **prefix tuning** trains keys and values for each block, as if there had been
# a text before yours that nobody wrote.
#
# ## 2. The calls
#
# Each method is a configuration of PEFT. LoRA and its kin:

# %%
from peft import AdaLoraConfig, LoraConfig

linear = ["q_proj", "k_proj", "v_proj", "o_proj"]
linear += ["gate_proj", "up_proj", "down_proj"]
lora = {"r": 16, "lora_alpha": 16, "target_modules": linear}
lora["task_type"] = "CAUSAL_LM"
configs = {
    "LoRA": LoraConfig(**lora),
    "DoRA": LoraConfig(use_dora=True, **lora),
    "PiSSA": LoraConfig(init_lora_weights="pissa_niter_4", **lora),
}

# %% [markdown]
# AdaLoRA starts above its budget and has to know how long the run is. After each update
# somebody must call `model.base_model.update_and_allocate(step)`, or no rank is ever
# taken away: in the course's runs a `TrainerCallback` does.

# %%
configs["AdaLoRA"] = AdaLoraConfig(
    init_r=24, target_r=16,  # ranks at the start, and on average at the end
    total_step=40, deltaT=2, tinit=5, tfinal=13,  # none in the last 13
    lora_alpha=24, target_modules=linear, task_type="CAUSAL_LM",
)

# %%
from peft import (
    IA3Config, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig,
)

configs["IA3"] = IA3Config(
    target_modules=["k_proj", "v_proj", "down_proj"],
    feedforward_modules=["down_proj"],  # scaled at its inputs
    task_type="CAUSAL_LM",
)
soft = {"num_virtual_tokens": 20, "task_type": "CAUSAL_LM"}
configs["prompt tuning"] = PromptTuningConfig(
    prompt_tuning_init="TEXT",
    prompt_tuning_init_text="Write the request as one line of JSON.",
    tokenizer_name_or_path=task.model, **soft,
)
configs["prefix tuning"] = PrefixTuningConfig(**soft)
configs["P-tuning"] = PromptEncoderConfig(encoder_hidden_size=128, **soft)

# %% [markdown]
# ### How many numbers?
#
# Predict, then count. Widths: the stream, keys or values, the MLP's inside. P-tuning's
# network has three layers with biases.

# %%
from transformers import AutoModelForCausalLM, set_seed
from transformers.utils import logging

from course_utils.model.architectures import Architecture

logging.disable_progress_bar()


def fresh_base():
    """The untouched model in fp32, on this machine's device."""
    base = AutoModelForCausalLM.from_pretrained(task.model, dtype=torch.float32)
    return base.to(profile.device)


base = fresh_base().eval()
shape = Architecture.from_config(base.config)

# %%
d, kv, inner = shape.hidden_size, shape.key_value_size, shape.intermediate_size
sides = [*shape.linear_shapes().values()]  # (inputs, outputs) of each matrix
network = (d + 1) * 128 + (128 + 1) * 128 + (128 + 1) * d
in_a_block = {
    "LoRA": sum(16 * (i + o) for i, o in sides),
    "DoRA": sum(16 * (i + o) + o for i, o in sides),
    "AdaLoRA": sum(24 * (i + o + 1) for i, o in sides),
    "IA3": kv + kv + inner,
    "prefix tuning": 20 * 2 * kv,
}
predicted = {name: shape.layers * n for name, n in in_a_block.items()}
predicted |= {"PiSSA": predicted["LoRA"], "prompt tuning": 20 * d}
predicted |= {"P-tuning": 20 * d + network, "full": shape.parameters}

# %% [markdown]
# And a second question: does an untrained method answer like the base? How far apart are
# the scores of the next token, at most?

# %%
from peft import get_peft_model

tokenizer = task.tokenizer
text = task.train[0]["input_ids"]
ids = torch.tensor([text], device=profile.device)
with torch.no_grad():
    untouched = base(ids).logits


def fresh(config):
    """Numbers that a method trains, and how far its scores are moved."""
    model = get_peft_model(fresh_base(), config).eval()
    with torch.no_grad():
        logits = model(ids).logits[:, -len(text):]  # behind a trained prompt
    counted, _ = model.get_nb_trainable_parameters()
    return counted, float((logits - untouched).abs().max())


# %%
import pandas as pd

found = {name: fresh(config) for name, config in configs.items()}
assert all(predicted[name] == count for name, (count, _) in found.items())
table = pd.DataFrame(found, index=["numbers", "scores moved by"]).T
table["numbers"] = table["numbers"].map("{:,.0f}".format)
table.round(6)

# %% [markdown]
# Every count as predicted. What is multiplied or added starts at one or zero, so LoRA,
# DoRA, AdaLoRA, IA³ and PiSSA begin as the base (PiSSA up to rounding: its start is an
# approximate decomposition and what is left of W). What stands before the text is there
# from the first moment, so prompts and prefixes first do harm and have to make up for it.

# %%
from course_utils.methods.drawing import draw_places

counts = {name: count for name, (count, _) in found.items()}
counts["full"] = base.num_parameters()
assert counts["full"] == predicted["full"]
draw_places(shape, counts);

# %% [markdown]
# ### ●●○ Exercise 1 · The same on Llama-3.1-8B (6 minutes)
#
# *Why it matters: “IA³ has fewer numbers than a prefix” is true or false by the widths.*
#
# Write `soft_numbers(method, width, kv, inner, blocks, positions)` for the methods
# `prompt tuning`, `prefix tuning` and `IA3` (as configured above): how many numbers are
# trained? Llama-3.1-8B has width 4,096, keys and values of 1,024, an MLP of 14,336 and 32
# blocks. Guess the order of the three for 20 positions before you compute it.

# %% tags=["exercise"]
from course_utils.exercises import TODO, check


def soft_numbers(
    method: str, width: int, kv: int, inner: int, blocks: int, positions: int
) -> int:
    """Numbers that a method without matrices trains."""
    return TODO


# %% tags=["check"]
check(soft_numbers)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A prompt stands at the input alone. A prefix has keys *and* values in *each* block, as
# wide as the model's keys are. IA³ scales the outputs of `k_proj` and `v_proj`, and the
# inputs of `down_proj`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def soft_numbers(method, width, kv, inner, blocks, positions):
#     in_a_block = {"prefix tuning": positions * 2 * kv, "IA3": 2 * kv + inner}
#     if method == "prompt tuning":
#         return positions * width
#     return blocks * in_a_block[method]
# ```
#
# </details>
#
# ### QLoRA and LoRA+
#
# QLoRA is no method of PEFT: it is `LoraConfig` on a base whose matrices are packed in
# four bits. LoRA+ is LoRA with another optimizer, in which B has a higher rate than A.

# %%
from peft import prepare_model_for_kbit_training
from transformers import BitsAndBytesConfig

nf4 = BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type="nf4",  # sixteen levels, placed for normal numbers
    bnb_4bit_use_double_quant=True,  # the scales are packed as well
    bnb_4bit_compute_dtype=torch.float32,
)
packed = AutoModelForCausalLM.from_pretrained(
    task.model, dtype=torch.float32, quantization_config=nf4
)
packed = prepare_model_for_kbit_training(
    packed, use_gradient_checkpointing=False
)
megabytes = {
    name: sum(p.nbytes for p in model.parameters()) / 1e6
    for name, model in {"fp32": base, "NF4": packed}.items()
}
print({name: f"{size:.0f} MB" for name, size in megabytes.items()})

# %%
from peft.optimizers import create_loraplus_optimizer

optimizer = create_loraplus_optimizer(
    get_peft_model(packed, configs["LoRA"]), torch.optim.AdamW,
    lr=1e-4, loraplus_lr_ratio=16,
)
sorted({g["lr"] for g in optimizer.param_groups if g["params"]})

# %% [markdown]
# (Of the packed model the embedding stays in fp32, a large share of a small model.)
#
# ### rsLoRA needs no run
#
# Its scale at rank 16 and α = 16 is 16/√16 = 4, where LoRA's is 16/16 = 1. Two adapters
# with the same random A and B, one with `use_rslora=True` at α = 16, one plain at α = 64
# (both of rank 16). How far apart are their scores?

# %%
@torch.no_grad()
def scores_of(**settings):
    """Scores with a random adapter: A and B are the same each time."""
    set_seed(0)
    config = LoraConfig(init_lora_weights=False, **{**lora, **settings})
    return get_peft_model(fresh_base(), config).eval()(ids).logits


by_root, by_alpha = scores_of(use_rslora=True), scores_of(lora_alpha=64)
print(f"moved by {(by_root - untouched).abs().max():.2g}", end=", ")
print(f"apart by {(by_root - by_alpha).abs().max():.2g}")
assert torch.equal(by_root, by_alpha)

# %% [markdown]
# Not at all: 16/√16 = 64/16. Whoever compares rsLoRA with LoRA at one rank and one alpha
# compares two scales, that is two learning rates. It is a rule for what to do *when the
# rank changes*.
#
# ### ●●○ Exercise 2 · Which of them is LoRA in disguise? (6 minutes)
#
# *Why it matters: a “better method” may be another alpha.*
#
# Write `plain_alpha(config)`: the `lora_alpha` with which plain LoRA of the same rank
# computes the same function from the same A and B, or `None` where no alpha does. The
# check gives you configurations with `use_rslora`, with `use_dora`, with both and with
# neither.

# %% tags=["exercise"]
from peft import LoraConfig


def plain_alpha(config: LoraConfig) -> float | None:
    """The alpha that makes plain LoRA equal to this configuration."""
    return TODO


# %% tags=["check"]
check(plain_alpha)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Set alpha'/r equal to the scale. DoRA divides by a length that depends on A and B.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def plain_alpha(config):
#     if config.use_dora:
#         return None
#     return config.lora_alpha * (config.r**0.5 if config.use_rslora else 1)
# ```
#
# </details>
#
# ## 3. One run in view
#
# Rows first: loss on the query and its end alone, which the label −100 says of all other
# tokens.

# %%
from course_utils.data.datasets import load_search
from course_utils.projects.search.texts import as_rows


def encoded(prompt, answer):
    """Token ids, and labels that count the answer and its end."""
    before = tokenizer(prompt)["input_ids"]
    after = tokenizer(answer, add_special_tokens=False)["input_ids"]
    after = [*after, tokenizer.eos_token_id]
    labels = [-100] * len(before) + after
    return {"input_ids": [*before, *after], "labels": labels}


texts = as_rows(load_search("train")[: len(task.train)])
rows = [encoded(row["prompt"], row["completion"]) for row in texts]
assert rows == task.train
print(texts[0]["prompt"] + texts[0]["completion"])

# %% [markdown]
# The study below trained LoRA with seed 3407. Here is the same run, call by call:

# %%
from transformers import TrainingArguments

from course_utils.methods.results import Study, apart
from course_utils.places import run_folder

results = Study.read()
rate, seed = float(results.of("LoRA")["rate"].iloc[0]), 3407
folder = run_folder("methods", profile)
arguments = TrainingArguments(
    output_dir=str(folder), per_device_train_batch_size=4,
    num_train_epochs=1, learning_rate=rate, warmup_steps=0.1,  # of the updates
    weight_decay=0.0, logging_steps=1, save_strategy="no", report_to="none",
    seed=seed, disable_tqdm=True, use_cpu=not profile.is_gpu,
)

# %%
from transformers import DataCollatorForSeq2Seq, PrinterCallback, Trainer

set_seed(seed)  # A starts at random
model = get_peft_model(fresh_base(), configs["LoRA"])
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=rows,
    data_collator=DataCollatorForSeq2Seq(tokenizer),  # pads, labels by -100
)
trainer.remove_callback(PrinterCallback)  # it would print each update
trainer.train()
losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
print(f"{len(losses)} updates, loss {losses[0]:.2f} → {losses[-1]:.2f} nats")

# %% [markdown]
# Two measures on the test requests: the loss of the written query, in nats a token, and
# how many greedy answers ask for exactly what is meant. Two programs to hold that against:
# always answering `{}` is exact in 11 of the 80, lesson 08's regular expressions in 75. So
# after 160 rows no method here is of use yet, and exact answers hardly tell them apart.

# %%
test_rows = study.encode(tokenizer, task.test)
answers = study.answers(model, tokenizer, [w.request for w in task.test])
run = {
    "method": "LoRA", "seed": seed,
    "test_nats": study.nats_per_token(model, tokenizer, test_rows),
    "right": study.exact(task.test, answers),
}
print(f"{run['test_nats']:.3f} nats a token,", end=" ")
print(f"{sum(run['right'])} of {len(answers)} exact; the first:\n{answers[0]}")
difference = apart(run, task, results)  # not a number on another model
assert not abs(difference) > 0.05, difference
f"minus the study's run of this seed: {difference:+.4f} nats"

# %% [markdown]
# And without any training? Three rows before each request, for the untouched base. Its
# first line is taken for the answer, since it goes on with requests of its own.

# %%
examples = "".join(f"{r['prompt']}{r['completion']}\n\n" for r in texts[:3])
held = as_rows(task.test)
asked = [encoded(examples + r["prompt"], r["completion"]) for r in held]
told = study.answers(
    base, tokenizer, [w.request for w in task.test[:40]], before=examples
)
told = study.exact(task.test[:40], [text.split("\n")[0] for text in told])
prompted = study.nats_per_token(base, tokenizer, asked, batch_size=8)
print(f"{prompted:.3f} nats a token, {sum(told)} of {len(told)} exact")
print(f"the adapter: {run['test_nats']:.3f} and {sum(run['right'][:40])}")

# %% [markdown]
# On the small model three examples leave 1.60 nats a token and make none of 40 answers
# exact: here a run of two minutes beats the prompt that costs nothing.
#
# The adapter's run is the study's, up to the order of additions. So what follows is read
# from a file (`data/reference/peft_methods.json`, by `tools/measure_peft.py`); whatever
# stands there, you can run.
#
# ## 4. One budget for all
#
# What “fair” means here, as the tool has it:
#
# - the same 160 rows, one pass, batches of 4;
# - a rate for each method: three tries on half of the rows, further ones while the best
#   is at the end of the list, chosen by the *validation* loss;
# - QLoRA, and in section 5 two other ranks and larger batches, take LoRA's rate: there
#   only one thing is to differ;
# - three seeds each, and the test requests are used once, at the end.
#
# A method takes 8 to 20 minutes of one core.
#
# A rate of its own is the point. What did the search find?

# %%
from course_utils.methods import plots

ratio = results.rates_apart
title = f"The best rates are {ratio:,.0f} times apart"
plots.rate_curves(results, title=title);

# %% [markdown]
# Had all methods been given one rate, the ranking would have been a ranking of how near
# that rate is to their own. Now the whole budget, three seeds:

# %%
means = results.mean("test_nats")
first = results.methods[0]
title = f"Lowest: {first}, {means[first]:.2f} nats; LoRA {means['LoRA']:.2f}"
plots.seeds_plot(results, title=title);

# %% [markdown]
# Points are seeds. Which of these differences are more than seeds? Method minus LoRA,
# seed by seed, with a 95 % interval of the mean difference (Student's t of three numbers,
# so it is wide), and the exact answers of each seed. A difference is *seen* where 0 lies
# outside of its interval.

# %% tags=["nbval-check-output"]
against = {name: results.against(name) for name in results.others}
seen = [name for name, d in against.items() if d.is_seen]
better = [name for name in seen if against[name].mean < 0]
print("seen to be better than LoRA:", ", ".join(better) or "none")
print("not told apart:", ", ".join(n for n in against if n not in seen))
results.table()

# %% [markdown]
# On the small model no method is seen to be better than LoRA. Seen to be behind it are
# AdaLoRA and all that train a prompt: prompt, prefix and P-tuning (and batches of 16, for
# section 5). Full tuning, LoRA+, DoRA, QLoRA, PiSSA, IA³ and both other ranks are not told
# apart from it by three seeds.
#
# LoRA+ looks best among LoRA's kin. Its best rate is 0.0003, sixteen times that for B: so B
# learns with 0.0048 and A with a tenth of LoRA's 0.003. AdaLoRA gives 40 updates to much
# besides the task: ranks are weighed and dropped, and a penalty keeps its matrices
# orthogonal. Whether more updates would let it catch up was not tried.
#
# Many comparisons are made here, and one in twenty intervals misses by chance alone; so a
# method that is ahead by a hair is an idea for a further test.
#
# ### Do more numbers help?

# %%
numbers = results.mean("parameters")
ranks = numbers.corr(means, method="spearman")
title = f"Do more numbers give a lower loss? Rank correlation {ranks:+.2f}"
plots.cost_plot(results, title=title);

# %% [markdown]
# At −1 each method with more numbers would have the lower loss; at 0 the count would say
# nothing. Look also at the column of points at 4.9 million: the same numbers, trained from
# other starts, at other rates or on another base.
#
# ### Memory
#
# During training a method needs, beside the weights, a gradient (4 bytes) and Adam's two
# moments (8) for each number that it trains, and the activations that the backward pass
# reads. The first two follow from the counts; activations were measured, one batch of
# four rows.

# %%
shown = ["full", "LoRA", "QLoRA", "DoRA", "IA3", "prompt tuning"]
total = results.memory.sum(axis=1)
share = total["LoRA"] / total["full"]
title = f"Beside the weights LoRA takes {share:.0%} of full tuning's memory"
plots.memory_plot(results, shown, title=title);

# %% [markdown]
# The optimizer's part shrinks with the trained numbers; the activations do not, since the
# backward pass goes through the same blocks. A prompt of 11,520 numbers saves little over
# LoRA there. DoRA keeps about twice LoRA's activations: to learn a length for each row it
# keeps what W and what the branch gave. Whoever needs less memory turns to the weights
# (QLoRA) and to the activations (checkpointing, lesson 02).
#
# ### Time and forgetting
#
# Processor seconds that training takes a row, all methods in turn on one shared machine,
# the least of three rounds. LoRA+ and PiSSA compute what LoRA computes, so their distance
# from 1 is noise. And what general text lost, in nats a token (lesson 04 measured it in
# bits a byte):

# %%
results.costs()

# %% [markdown]
# On the small model prompt tuning, P-tuning, full tuning and AdaLoRA cost the general text
# least, 0.03 to 0.13 nats. Prefix tuning cost it most, 1.96 to 4.61: keys and values that
# no text ever gave stand before every text. PiSSA, QLoRA and IA³ 0.51 to 1.13, and IA³
# trains 57,600 numbers: few numbers do not protect from forgetting. (Of QLoRA's loss 0.21 nats is the price of four bits
# before any training.) The rates were chosen by the task's loss alone; in lesson 04 a lower
# one forgot less, which was not tried here. (A general text of eight paragraphs is one
# sample of what a model knew.)
#
# ### Full tuning, LoRA, QLoRA
#
# The question that every interviewer asks. By loss; then by exact answers to the same 80
# requests, seed by seed, with McNemar's exact test:

# %% tags=["nbval-check-output"]
for pair in (("full", "LoRA"), ("QLoRA", "LoRA"), ("QLoRA", "full")):
    d = results.against(pair[0], rival=pair[1])
    print(" − ".join(pair), d, "nats:", "seen" if d.is_seen else "not seen")
for name in ("full", "QLoRA"):
    for pair in results.exact_against(name):
        print(f"{name}: +{pair.gained} −{pair.lost} exact, p = {pair.p:.2g}")

# %% [markdown]
# On the small model full tuning ends 0.06 nats below LoRA, and three seeds do not tell the
# two apart: the interval reaches from −0.13 to +0.01. It forgot less, too: general text
# lost 0.05 to 0.08 nats under full tuning and 0.18 to 0.43 under LoRA, whose best rate is
# 30 times as high. QLoRA, at LoRA's rate, is not told apart from LoRA in the
# task's loss: it starts from a worse base and learns what was lost.
#
# On a task of 160 rows a count of exact answers says little: 80 requests find only large
# differences. That is why the loss stands first here.
#
# ## 5. Rank, rows, rate, batch
#
# ### How much fits into a rank?
#
# LoRA can equal full tuning as long as what is to be learnt fits into it. A toy without
# any regularity, so that everything has to be remembered: a frozen random map of 64
# numbers to 64 classes, and N random pairs. How many of them does rank r learn by heart?

# %%
def remembered(rank, pairs):
    """Share of random pairs that an adapter of this rank has memorised."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(pairs, 64, generator=draw)
    wanted = torch.randint(64, (pairs,), generator=draw)
    W = torch.randn(64, 64, generator=draw) / 8
    A = (torch.randn(rank, 64, generator=draw) / 8).requires_grad_()
    B = torch.zeros(64, rank, requires_grad=True)
    optimizer = torch.optim.Adam([A, B], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        scores = x @ W.T + x @ A.T @ B.T
        torch.nn.functional.cross_entropy(scores, wanted).backward()
        optimizer.step()
    return float((scores.argmax(1) == wanted).float().mean())


# %%
from course_utils.plots import line_plot

sizes = (16, 32, 64, 128, 256)
shares = {r: [remembered(r, n) for n in sizes] for r in (1, 2, 4, 8)}
fits = {r: max([n for n, s in zip(sizes, of) if s > 0.99], default=0)
        for r, of in shares.items()}
line_plot(
    sizes, {f"rank {r}": of for r, of in shares.items()},
    x_label="random pairs to learn (log scale)", y_label="share remembered",
    title=f"Rank 2 remembers {fits[2]} pairs whole, rank 8 {fits[8]}",
    log_x=True, marker="o",
);

# %% [markdown]
# Capacity grows with the rank, and beyond it the share falls for everyone. Real rows are
# no random pairs: most of what they say, the base knows. Does the rank matter at 160 rows
# of our task, at LoRA's alpha and rate? And the size of a batch, at equal tokens?

# %%
for other in ("rank 1", "rank 128", "batches of 16"):
    print(f"{other} minus LoRA: {results.against(other)} nats a token")
tokens = sum(n != -100 for row in task.train for n in row["labels"])
print(f"rank 1 trains {numbers['rank 1']:,.0f} numbers;", end=" ")
print(f"{tokens:,} tokens carry loss")

# %% [markdown]
# On the small model rank 1, with a sixteenth of the numbers, ends 0.03 nats behind rank 16,
# and rank 128, with eight times as many, 0.00 nats. Three seeds tell neither apart from it:
# so few rows do not fill a rank.
#
# The same rows in batches of 16 are a quarter of the updates, each from a gradient with
# less noise. They end 0.19 nats behind batches of 4. Nothing was searched again for them,
# and a higher rate might win some of it back. At one rate and with few rows, updates are
# what is scarce.
#
# ### Rate, rank and alpha
#
# All ranks had α = 16, and one rate. May a rank be changed without a new search? A
# toy: an update of 128 × 128 is to be found, 20 updates of Adam, under both common rules.

# %%
def left_after(rank, alpha, rate, size=128):
    """Share of the squared error that 20 updates leave."""
    draw = torch.Generator().manual_seed(0)
    goal = torch.randn(size, size, generator=draw) / size**0.5
    A = torch.randn(rank, size, generator=draw) / size**0.5
    B = torch.zeros(size, rank, requires_grad=True)
    optimizer = torch.optim.Adam([A.requires_grad_(), B], lr=rate)
    for _ in range(20):
        optimizer.zero_grad()
        loss = (goal - alpha / rank * B @ A).square().sum()
        (loss / goal.square().sum()).backward()
        optimizer.step()
    return loss.item() / goal.square().sum().item()


# %%
rules = {"α = 16": lambda r: 16, "α = 2r": lambda r: 2 * r}
small = {
    name: {r: 1 - left_after(r, rule(r), 1e-4) for r in (2, 16, 128)}
    for name, rule in rules.items()
}
grid = [0.04 / 2**n for n in range(6)]
best_rates = {
    name: {r: min(grid, key=lambda x: left_after(r, rule(r), x))
           for r in (16, 128)}
    for name, rule in rules.items()
}
for name in rules:
    done = ", ".join(f"{share:.2%}" for share in small[name].values())
    print(f"{name}: at a rate of 0.0001 ranks 2, 16, 128 reach {done}")
    print(f"  best rates of ranks 16 and 128: {[*best_rates[name].values()]}")

# %% [markdown]
# With alpha fixed, a small rate makes the same progress at every rank: r terms add up, and
# the scale divides by r. With α = 2r progress grows with the rank, so the best rate falls
# when the rank rises. “Double the rank, double alpha” is a change of the learning rate
# too.
#
# ## 6. Adapters are parts
#
# A second task, so that there is something to switch: lesson 14's messages to a shop,
# which become tickets. An adapter of its own on the same base, 64 rows:

# %%
from course_utils.methods.book import METHODS
from course_utils.places import DATA_FOLDER

tickets = pd.read_csv(DATA_FOLDER / "own_project" / "tickets.csv")
of_shop = [
    encoded(f"Message: {asked}\nTicket:", f" {ticket}")
    for asked, ticket in tickets.itertuples(index=False)
]
some = len(task.train) * 2 // 5
to_learn, shop_test = of_shop[:some], of_shop[-40:]
print(*tickets.iloc[0], f"{some} rows to learn", sep="\n")
model.add_adapter("tickets", configs["LoRA"])
model.set_adapter("tickets")  # this one is trained, and used
losses = study.train(
    model, tokenizer, to_learn, METHODS["LoRA"], rate, seed, folder
)
model.save_pretrained(folder)  # the first in the folder, this one below it
print(f"{len(losses)} updates, loss {losses[0]:.2f} → {losses[-1]:.2f} nats")

# %% [markdown]
# `study.train` makes section 3's calls. Now one base that has both, as a server would load
# them, and each on both tasks:

# %%
from peft import PeftModel

model = PeftModel.from_pretrained(fresh_base(), folder, adapter_name="search")
model.load_adapter(folder / "tickets", adapter_name="tickets")


def on_both(model):
    """Test loss on both tasks, nats a token."""
    tests = {"search": test_rows[:40], "tickets": shop_test}
    loss = study.nats_per_token
    return {n: loss(model, tokenizer, held) for n, held in tests.items()}


with model.disable_adapter():
    told = {"base": on_both(model)}
for name in ("search", "tickets"):
    model.set_adapter(name)
    told[f"adapter {name}"] = on_both(model)
pd.DataFrame(told).T.round(2)

# %% [markdown]
# Each adapter is good at its own task. Switching is a name, no new weights.
#
# **One batch for several adapters.** `adapter_names` gives each row its own. Are the
# scores those of single calls?

# %%
names = ["search", "tickets", "__base__"]
model.eval()
with torch.no_grad():
    mixed = model(ids.repeat(3, 1), adapter_names=names).logits
    single = [untouched]
    for name in names[1::-1]:
        model.set_adapter(name)
        single.insert(0, model(ids).logits)
gap = (mixed - torch.cat(single)).abs().max()
f"mixed batch against single calls: {gap:.1g} apart at most"

# %% [markdown]
# Equal up to rounding: 100 customers with an adapter each are one base and 100 small
# files, and their requests share a batch.
#
# ### ●●○ Exercise 3 · Two adapters in one (8 minutes)
#
# *Why it matters: adding A to A and B to B is the first idea, and wrong.*
#
# Write `joined(A1, B1, scale1, A2, B2, scale2)`: one pair (A, B) whose product B @ A is
# exactly scale1 · B1 @ A1 + scale2 · B2 @ A2, with as few rows of A as the two have
# together. `torch.cat` is all that you need.

# %% tags=["exercise"]
from torch import Tensor


def joined(
    A1: Tensor, B1: Tensor, scale1: float, A2: Tensor, B2: Tensor, scale2: float
) -> tuple[Tensor, Tensor]:
    """(A, B) of one adapter that is the weighted sum of two."""
    return TODO


# %% tags=["check"]
check(joined)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Rows of A below each other, columns of B side by side: then each row of A meets its own
# column of B. Put the scale into one of the two.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# import torch
#
#
# def joined(A1, B1, scale1, A2, B2, scale2):
#     return torch.cat([A1, A2]), torch.cat([scale1 * B1, scale2 * B2], dim=1)
# ```
#
# </details>
#
# PEFT has this and others in `add_weighted_adapter`. The sum of both updates, three ways:

# %%
both = ["search", "tickets"]
gate = model.base_model.model.model.layers[0].mlp.gate_proj
wanted = sum(gate.get_delta_weight(name) for name in both)
for way in ("cat", "svd", "linear"):
    model.add_weighted_adapter(
        both, [1.0, 1.0], way, combination_type=way, svd_full_matrices=False
    )
    error = (gate.get_delta_weight(way) - wanted).norm() / wanted.norm()
    model.set_adapter(way)
    told[f"sum by {way}"] = on_both(model)
    print(f"{way:6} rank {gate.r[way]}, error of ΔW {error:.1g}")
pd.DataFrame(told).T.round(2)

# %% [markdown]
# `cat` is exact, with the ranks added. `svd` keeps the best update of the old rank.
# `linear` adds A to A and B to B; the product then has the cross terms B₁A₂ and B₂A₁,
# which nobody trained. An exact sum of updates is still not both tasks at once: each
# update was trained on a base without the other. On the small model it loses a little of
# the search and doubles the loss on tickets; and `linear`, most of whose change is wrong,
# does as well. An error of ΔW is not yet an error of the task.
#
# **AdapterFusion** learns the mixture instead: with base and adapters frozen, a small
# attention layer in each block weighs their outputs for each token. It needs rows of the
# joint task, and it cannot be merged into the base.
#
# **Hot swap.** A compiled or served model can take new numbers into an adapter's place,
# without a second slot:

# %%
from peft.utils.hotswap import hotswap_adapter

hotswap_adapter(model, folder / "tickets", adapter_name="search")
model.set_adapter("search")
with torch.no_grad():
    swapped = model(ids).logits
f"{(swapped - single[1]).abs().max():.1g} apart from the scores of “tickets”"

# %% [markdown]
# ### First A, then B
#
# What if the adapter of the search is trained on, with tickets? Is the search kept, and do
# a few old rows among the new help?

# %%
def then_tickets(replayed):
    """Go on from the search's adapter, with so many rows replayed from it."""
    model = PeftModel.from_pretrained(fresh_base(), folder, is_trainable=True)
    rows = to_learn[replayed:] + task.train[:replayed]
    study.train(model, tokenizer, rows, METHODS["LoRA"], rate, seed, folder)
    return on_both(model)


tenth = -(-some // 10)
told["search, then tickets"] = then_tickets(0)
told[f"the same, {tenth} of {some} rows replayed"] = then_tickets(tenth)
kept = [told[n]["search"] for n in ("adapter search", *[*told][-2:])]
forgot, replay = kept[1] - kept[0], kept[2] - kept[0]
print(f"the search lost {forgot:.2f} nats; with replay {replay:.2f}")
pd.DataFrame(told).T.round(2).iloc[[0, 1, 2, -2, -1]]

# %% [markdown]
# The base is frozen and safe; the *adapter* is overwritten. An adapter for each task
# forgets nothing, and needs somebody who chooses; replay keeps one adapter for all, and
# needs the old rows. (One seed each.)
#
# ## 7. Which, when?
#
# | You have | Try first | Measured in |
# |---|---|---|
# | a form, a few hundred rows, one machine | LoRA on all linear layers, its rate searched | 03, here |
# | the same, and the weights do not fit | QLoRA: look at loss and time on your machine | 02, here |
# | many tasks or customers on one base | an adapter for each, unmerged, in mixed batches | section 6 |
# | much data, a new language or domain, memory to spare | full tuning, or LoRA with a high rank and trained embeddings; hold them against each other | not here: 160 rows are not much data |
# | few requests, a strong model behind an API | a prompt with examples | 03, 05, 08 |
# | facts that change or that nobody can learn by heart | a look-up | 05, 08 |
#
# A prompt with three examples is the baseline that costs nothing: no method here deserves
# training before it was held against that (lesson 05).
#
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | one method far behind all others | it was given LoRA's rate | search a rate for each |
# | prompt tuning hardly moves | it has LoRA's rate | a rate many times higher: section 4 |
# | the loss of a prefix starts higher than the base's | a random prefix disturbs before it helps | expected; more updates, or a start from text |
# | AdaLoRA never prunes | nobody calls `update_and_allocate` | a callback after each optimizer step, before the gradients are cleared |
# | a PiSSA adapter on the plain base answers nonsense | its W was changed, and it was saved without its start | convert it when saving. PEFT repeats an exact `pissa` start when it loads it; `pissa_niter_4` is drawn anew and comes out different |
# | a sum of two adapters is worse than each at its own task | each was trained without the other | an adapter for each request, or one trained on both tasks |
#
# ## In the interview
#
# Say the answer aloud before you unfold it.

# %%
from course_utils.evidence.cards import show_cards

show_cards("09")

# %% [markdown]
# ## The same on your project
#
# A rate for a method, on your rows (each with `input_ids` and `labels`). Run it for each
# configuration that you consider, with the same seed.

# %%
from peft import get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments
from transformers import DataCollatorForSeq2Seq, set_seed


def losses_by_rate(name, tokenizer, config, rows, held_out, rates):
    "Held-out loss after one pass over the rows, for each learning rate."
    found = {}
    for rate in rates:
        set_seed(3407)
        base = AutoModelForCausalLM.from_pretrained(name)
        trainer = Trainer(
            model=get_peft_model(base, config),
            args=TrainingArguments(
                output_dir="tries", learning_rate=rate, num_train_epochs=1,
                per_device_train_batch_size=4, warmup_steps=0.1, seed=3407,
                save_strategy="no", report_to="none",
            ),
            train_dataset=rows, eval_dataset=held_out,
            data_collator=DataCollatorForSeq2Seq(tokenizer),
        )
        trainer.train()
        found[rate] = trainer.evaluate()["eval_loss"]
    return found


# %% [markdown]
# ## You can now …

# %%
print(f"""… predict a count: IA3 trains {counts['IA3']:,} numbers
… give each method its rate: the best are {ratio:,.0f} times apart
… compare with spread: full − LoRA {against['full']} nats
… say what is saved: beside the weights LoRA takes {share:.0%} of full tuning
… keep task A: {forgot:.2f} nats lost, with replay {replay:.2f}""")

# %% [markdown]
# ## What this run does not show
#
# - A large model, long training, or much data: 135 million parameters, 40 updates, 160
#   rows of one task. Orders can change with each of these.
# - That a method cannot do better: each had one set of arguments, and only its rate was
#   searched, with one seed and half of the rows.
# - Time on a GPU, where small products cost other shares.
# - Methods that PEFT has and this lesson leaves out; bottleneck adapters, which it lacks.
#
# ## Sources
#
# - Installed source: peft 0.21.2 (`tuners/lora`, `tuners/adalora/layer.py`,
#   `tuners/ia3`, `optimizers/loraplus.py`, `utils/hotswap.py`,
#   `LoraModel.add_weighted_adapter`), transformers 5.17 (`Trainer`).
# - The sentences on AdapterFusion rest on its abstract (arXiv:2005.00247), opened for this
#   course's proofs.
#
# ## Run record

# %% tags=["hide-input"]
from course_utils.machine.run_record import save_results, write_run_record

save_results(folder, "09", results.table().reset_index().to_dict("records"))
headline = f"lowest loss: {first}, {means[first]:.2f}; LoRA {means['LoRA']:.2f}"
write_run_record("09", profile, headline=headline, seed=seed)

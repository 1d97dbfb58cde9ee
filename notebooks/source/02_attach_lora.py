# %% [markdown]
# # 02 · What does LoRA add to a model, and what does it cost?
#
# <!-- colab badge -->
#
# LoRA puts two thin matrices beside each frozen weight matrix and trains only those.
# What is computed, how do rank and alpha act, and which promises about memory and speed
# hold when you measure them?
#
# **You will be able to**
#
# - write and train a LoRA layer yourself,
# - attach an adapter with `FastLanguageModel.get_peft_model`, explain each argument,
#   and predict what `print_trainable_parameters()` prints,
# - change rank or alpha without changing the learning rate by accident,
# - say what LoRA, QLoRA and gradient checkpointing save and cost,
# - merge an adapter, and show that it is the same function.
#
# **Time and memory.** About 48 minutes to read, two thirds for the code. It runs 8
# minutes in 5 GiB on two CPU cores (measured); on a T4 with the 8B model 8 minutes in 8
# GiB of GPU memory (estimated). Needed from lesson 01: a block's seven matrices, fp32,
# fp16, NF4.

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: it imports unsloth
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style
from course_utils.recipes.book import MOVIE_RECOMMENDER as recipe

use_course_style()
profile = check_machine()

# %% [markdown]
# ## 1. The idea, on a matrix that fits on the screen
#
# A linear layer multiplies its input $x$ (k numbers) by $W$ (d rows, k columns). Full
# tuning changes every entry of $W$. LoRA leaves $W$ as it is and learns an update made
# of two thin matrices:
#
# $$h = W x + \Delta W x, \qquad \Delta W = \frac{\alpha}{r}\, B\, A$$
#
# with $A$ of shape (r, k) and $B$ of shape (d, r). The rank r is small. Here d = 4, k =
# 6, r = 2 and α = 4, after some training. What is the update?

# %% tags=["nbval-check-output"]
import torch

W = torch.arange(24.0).reshape(4, 6)
A = torch.tensor([[1.0, 0, -1, 2, 0, 1], [0, 1, 1, 0, -1, 2]])
B = torch.tensor([[1.0, 0], [0, 1], [1, 1], [2, -1]])
delta_W = 4 / 2 * B @ A  # α/r · B A: (d, k)
delta_W

# %% [markdown]
# Nearly all 24 entries of W change, but not freely: each row of the update is a mix of
# the two rows of A. That is rank 2. Rows one and two are twice those of A (α/r is 2);
# row three is their sum.
#
# Is the cheap order, first A and then B, the same as adding ΔW to W?

# %% tags=["nbval-check-output"]
x = torch.tensor([1.0, 2, 3, 4, 5, 6])
beside = W @ x + 4 / 2 * (B @ (A @ x))
merged = (W + delta_W) @ x
print(beside, merged, sep="\n")

# %% [markdown]
# Equal. With the branch beside W an adapter is trained; with the update added to W it
# is *merged*.
#
# > **Two mistakes that interviewers listen for.** "h = Wx + BAx" drops α/r, here a
# > factor of two. "A is d × r and B is r × k" swaps the letters: BA then exists only
# > for a square layer, and is r × r.
#
# ## 2. Your own LoRA layer
#
# The whole method in ten lines: the base is frozen; A starts random, B at zero.

# %%
from torch import nn


class LoRALayer(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base.requires_grad_(False)  # W stays as it is
        start = torch.randn(rank, base.in_features) / base.in_features**0.5
        self.A = nn.Parameter(start)  # (r, k)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))  # (d, r)
        self.scale = alpha / rank

    def forward(self, x):  # (batch, k) -> (batch, d)
        return self.base(x) + self.scale * (x @ self.A.T @ self.B.T)


# %% [markdown]
# Can it learn the update of section 1, from 64 random inputs and the outputs of W + ΔW?
# First one backward pass. B is zero: which of the two matrices gets a gradient?

# %% tags=["nbval-check-output"]
base_layer = nn.Linear(6, 4, bias=False)
base_layer.weight.data = W.clone()
torch.manual_seed(0)
inputs = torch.randn(64, 6)
wanted = inputs @ (W + delta_W).T

layer = LoRALayer(base_layer, rank=2, alpha=4)
nn.functional.mse_loss(layer(inputs), wanted).backward()
print("all of A's gradient is zero:", bool((layer.A.grad == 0).all()))
print("any of B's gradient is zero:", bool((layer.B.grad == 0).any()))

# %% [markdown]
# Only B. With $g$ the gradient at the layer's output,
#
# $$\frac{\partial L}{\partial B} = \frac{\alpha}{r}\, g\,(A x)^\top, \qquad
# \frac{\partial L}{\partial A} = \frac{\alpha}{r}\, B^\top g\, x^\top .$$
#
# B's gradient contains A, which is random. A's contains B, so it is zero until B has
# moved. (If both started at zero, nothing would ever move.)
#
# Now 150 updates of Adam, with a rank that is too low and with the right one. Predict:
# which loss goes to zero?

# %%
def fit(rank):
    """Loss before each of 150 updates, and the layer."""
    layer = LoRALayer(base_layer, rank, alpha=4)
    optimizer = torch.optim.Adam([layer.A, layer.B], lr=0.05)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(layer(inputs), wanted)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, layer


# %%
from course_utils.plots import line_plot

curves = {f"rank {rank}": fit(rank) for rank in (2, 1)}
stuck = curves["rank 1"][0][-1]
line_plot(
    range(150),
    {name: losses for name, (losses, _) in curves.items()},
    x_label="update",
    y_label="mean squared error (log scale)",
    title=f"Rank 2 finds an update of rank 2; rank 1 stays at {stuck:.0f}",
    log_y=True,
);

# %% [markdown]
# Rank 1 fits one direction of the update and cannot reach the other. What has the layer
# of rank 2 learnt, beside what was hidden in the examples?

# %% tags=["nbval-check-output"]
learnt = curves["rank 2"][1]
found = (learnt.scale * learnt.B @ learnt.A).detach()
error = (found - delta_W).abs().max()
print("found:", bool(error < 0.05), "W kept:", learnt.base.weight.equal(W))
found.round(decimals=1) + 0

# %% [markdown]
# The update of section 1, and W is untouched. (A and B may be others: many pairs have
# the same product.)
#
# ## 3. The real layer
#
# The same in a language model. First the model as it is: the scores (*logits*) of each
# next token of a text.

# %%
from course_utils.data.datasets import load_movies

plan = recipe.plan_for(profile.name, profile.model_override)
text = "\n\n".join(row.answer for row in load_movies("train")[:4])
base, tokenizer = models.load_base(plan, profile)
base_logits = models.logits_of(base, tokenizer, text)  # (seq, vocab)
f"{plan.model.name}: {list(base_logits.shape)} scores"

# %% [markdown]
# Now the call of this lesson. It freezes the base and puts a branch beside each linear
# layer that it is told to adapt.

# %%
from unsloth import FastLanguageModel

model = FastLanguageModel.get_peft_model(
    base,
    r=plan.rank,  # rows of A and columns of B: how much the update can say
    lora_alpha=plan.alpha,  # the update is scaled by lora_alpha / r
    lora_dropout=plan.dropout,  # share of A's inputs dropped; 0 is fastest
    target_modules=list(plan.target_modules),  # which layers get a branch
    bias="none",  # train no bias
    use_gradient_checkpointing=plan.gradient_checkpointing and "unsloth",
    random_state=plan.seed,  # of A's random start
)
FastLanguageModel.for_training(model)
model.print_trainable_parameters()

# %% [markdown]
# `use_gradient_checkpointing` may be `False`, `True` (section 8) or `"unsloth"`, which
# also moves what is kept to the computer's main memory. Arguments left out here:
#
# | Argument | Default | Meaning |
# |---|---|---|
# | `use_rslora` | `False` | scale by α/√r in place of α/r |
# | `modules_to_save` | none | layers to train whole, such as the embedding when tokens were added |
# | `layers_to_transform` | all | adapt only these blocks |
# | `init_lora_weights` | `True` | A random, B zero; other starts have names |
#
#
# PEFT, the library below Unsloth, has replaced each layer by a wrapper that holds it.
# Are the shapes of its A and B (r, k) and (d, r)?

# %%
gate = model.get_submodule("base_model.model.model.layers.0.mlp.gate_proj")
A = gate.lora_A["default"].weight
B = gate.lora_B["default"].weight
print(f"A {tuple(A.shape)}, B {tuple(B.shape)}, α/r {gate.scaling['default']}")
print(f"base: {gate.in_features} inputs, {gate.out_features} outputs")

# %% [markdown]
# As in our own layer: A has the layer's inputs as columns, B its outputs as rows.
#
# ### How many numbers are trained?
#
# r·(inputs + outputs) for each adapted layer. Does the sum agree with what PEFT
# printed?

# %%
adapted = [m for m in model.modules() if hasattr(m, "lora_A")]
sides = sum(m.in_features + m.out_features for m in adapted)
trained, total = model.get_nb_trainable_parameters()
assert plan.rank * sides == trained
print(f"{len(adapted)} branches: {plan.rank} × {sides:,} = {trained:,}")
print(f"{trained / (total - trained):.2%} of the base")

# %% [markdown]
# It does. (PEFT divides by base *plus* adapter, people by the base.) At rank 16 on all
# seven layers the share is 3.6 % of SmolLM2-135M and 0.52 % of Llama-3.1-8B: the
# adapter grows with the *sides* of the matrices, the model with their *area*. Most of
# it sits in the MLP, which has the longest sides.
#
# ### ●○○ Exercise 1 · Count an adapter (3 minutes)
#
# *Why it matters: you will be asked for such a number.*
#
# One module, the same in each block. How many numbers does its adapter train?

# %% tags=["exercise"]
from course_utils.exercises import TODO, check


def adapter_parameters(
    inputs: int, outputs: int, rank: int, blocks: int
) -> int:
    """Trained numbers of one module's adapters, over all blocks."""
    return TODO


# %% tags=["check"]
check(adapter_parameters)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A has shape (rank, inputs) and B has shape (outputs, rank). Add their sizes, then
# count the blocks.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def adapter_parameters(inputs: int, outputs: int, rank: int, blocks: int) -> int:
#     return blocks * rank * (inputs + outputs)
# ```
# </details>
#
# ### ●●○ Exercise 2 · Attach it, and say the count before (8 minutes)
#
# *Why it matters: a right prediction shows that the adapter sits where you meant.*
#
# `LoraConfig` and `get_peft_model` are PEFT's own calls, which Unsloth's call uses.
# Attach LoRA to `q_proj` and `v_proj` alone. Return your prediction, computed from
# `base.config` (`hidden_size`, `num_hidden_layers`, `num_attention_heads`,
# `num_key_value_heads`), and the model. The check counts on small models of random
# weights.

# %% tags=["exercise"]
from peft import LoraConfig, get_peft_model
from torch import nn


def attach_to_query_and_value(base: nn.Module, rank: int):
    """(predicted number of trained parameters, model with the adapter)"""
    return TODO


# %% tags=["check"]
check(attach_to_query_and_value)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `q_proj` maps `hidden_size` to `hidden_size`; `v_proj` maps it to as many outputs as
# its `num_key_value_heads` heads are wide together.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from peft import LoraConfig, get_peft_model
# from torch import nn
#
#
# def attach_to_query_and_value(base: nn.Module, rank: int):
#     c = base.config
#     values = c.hidden_size * c.num_key_value_heads // c.num_attention_heads
#     block = rank * (2 * c.hidden_size) + rank * (c.hidden_size + values)
#     config = LoraConfig(r=rank, target_modules=["q_proj", "v_proj"])
#     return c.num_hidden_layers * block, get_peft_model(base, config)
# ```
# </details>
#
# ## 4. The first steps of training
#
# B is zero, so a fresh adapter should change nothing. How far apart are the scores of
# the bare model and of the model with its adapter?

# %%
fresh_logits = models.logits_of(model, tokenizer, text)
logit_difference = (fresh_logits - base_logits).abs().max()
f"largest difference of a score: {logit_difference:g}"

# %% [markdown]
# Zero in fp32 (in fp16 on a GPU other kernels may round otherwise): training starts
# from the base.
#
# Training needs a loss, the mean of $-\ln p$ of each next token, in nats (lesson 01).
# On a GPU `autocast` computes the products in 16 bits, and the scaler guards small
# gradients in fp16. The optimizer gets only what requires a gradient: A and B of every
# branch.

# %%
dtype = profile.compute_dtype
in_fp16 = dtype == torch.float16
scaler = torch.amp.GradScaler(profile.device, 1024.0, enabled=in_fp16)


def loss_of(model, tokens):
    """Mean loss of the next token, in nats; tokens are (batch, seq)."""
    with torch.autocast(profile.device, dtype=dtype, enabled=profile.is_gpu):
        logits = model(input_ids=tokens).logits  # (batch, seq, vocab)
    scores = logits[:, :-1].float().flatten(0, 1)
    return nn.functional.cross_entropy(scores, tokens[:, 1:].flatten())


def update(model, optimizer, tokens):
    """One step of training; the loss before it."""
    optimizer.zero_grad()
    loss = loss_of(model, tokens)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return loss.item()


def adamw(model, rate):
    """AdamW of all that is trained."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=rate)


# %% [markdown]
# One update on the beginning of the text: as in the toy, is A's whole gradient zero?

# %%
tokens = torch.tensor([tokenizer(text).input_ids[:128]], device=profile.device)
optimizer = adamw(model, plan.learning_rate)
losses = [update(model, optimizer, tokens)]
grads_A = [m.lora_A["default"].weight.grad.flatten() for m in adapted]
zero_A = (torch.cat(grads_A) == 0).float().mean()
f"{zero_A:.0%} of A's gradient is zero"

# %% [markdown]
# In every layer. Five more updates, and A has moved too. Does the formula give PEFT's
# own ΔW? And how many of its singular values, the strengths of a matrix's independent
# directions, are not zero? Rank r means r.

# %%
losses += [update(model, optimizer, tokens) for _ in range(5)]
with torch.no_grad():
    delta_W = plan.alpha / plan.rank * B @ A  # (d, k)
    delta_error = (delta_W - gate.get_delta_weight("default")).abs().max()
sizes = torch.linalg.svdvals(delta_W.float().cpu())[: 2 * plan.rank]
line_plot(
    range(1, len(sizes) + 1),
    {"ΔW of one gate projection": sizes.clamp(min=1e-12).numpy()},
    x_label="singular value, by size",
    y_label="size (log scale)",
    title=f"The trained update has rank {plan.rank}: the rest is rounding",
    log_y=True,
    marker="o",
)
print(f"difference to PEFT's: {delta_error:g}")

# %% [markdown]
# The values fall off a cliff after the rank: ΔW moves the outputs in r directions at
# most. The *update* is factorised, not W.
#
# With the adapter switched off, is the model the old one?

# %%
tuned_logits = models.logits_of(model, tokenizer, text)
with model.disable_adapter():
    off_logits = models.logits_of(model, tokenizer, text)
moved = (tuned_logits - base_logits).abs().max()
restored = (off_logits - base_logits).abs().max()
f"scores moved: adapter on, up to {moved:.2g}; off, up to {restored:.2g}"

# %% [markdown]
# Off, it is the base again: exactly in fp32, up to rounding in fp16. On, it is another
# function: frozen weights do not mean that nothing is forgotten (lesson 04).
#
# ## 5. Rank and alpha, measured
#
# Two rules are common: keep alpha, or keep α/r ("alpha is twice the rank"). A common
# answer says that with a fixed alpha a higher rank makes a *smaller* update, because
# α/r falls. But BA is a sum of r terms, and grows with r. In the toy, at width 64:
# which share of the loss does one update of Adam take away?

# %% tags=["nbval-check-output"]
def first_progress(rank, alpha):
    """Share of the loss that one update of our own layer takes away."""
    torch.manual_seed(0)
    inputs, change = torch.randn(256, 64), torch.randn(64, 64) / 8
    layer = LoRALayer(nn.Linear(64, 64, bias=False), rank, alpha)
    wanted = (layer.base(inputs) + inputs @ change).detach()
    before = nn.functional.mse_loss(layer(inputs), wanted)
    before.backward()
    torch.optim.Adam([layer.A, layer.B], lr=0.001).step()
    after = nn.functional.mse_loss(layer(inputs), wanted)
    return f"{(1 - after / before).item():.2%}"


ranks = [4, 16, 64]
print("α = 16:", {rank: first_progress(rank, alpha=16) for rank in ranks})
print("α = r: ", {rank: first_progress(rank, alpha=rank) for rank in ranks})

# %% [markdown]
# With α fixed the rank makes no difference: a quarter of the scale, but four times as
# many terms. With α/r fixed, four times the rank is four times the progress, as if the
# learning rate had been multiplied.
#
# Does that hold in a language model? Twelve updates of the small model for each rank
# and rule, on pieces of the movie answers; those of the validation rows are held out.

# %%
del model, base, adapted, optimizer
models.free_memory()
small = recipe.small_plan_for(profile.name, profile.model_override)
base, tokenizer = models.load_base(small, profile)


def pieces(split, number):
    """The answers of a split in a row, cut: (number, 2, 64) tokens."""
    answers = [row.answer + "\n\n" for row in load_movies(split)]
    rows = tokenizer(answers).input_ids
    ids = torch.tensor([token for row in rows for token in row])
    return ids[: number * 128].reshape(number, 2, 64).to(profile.device)


batches, held_out = pieces("train", 12), pieces("validation", 4)

# %%
def with_adapter(rank, alpha, load_in_4bit=False):
    """A fresh copy of the small model with an adapter, A from one seed."""
    base, _ = models.load_base(small, profile, load_in_4bit=load_in_4bit)
    model = FastLanguageModel.get_peft_model(
        base,
        r=rank,
        lora_alpha=alpha,
        target_modules=list(small.target_modules),
        use_gradient_checkpointing=False,
        random_state=small.seed,
    )
    FastLanguageModel.for_training(model, use_gradient_checkpointing=False)
    return model


# %%
from time import perf_counter


def train(model, rate=small.learning_rate):
    """Held-out loss before, and after every third update; seconds of one."""
    optimizer, losses, seconds = adamw(model, rate), [], []
    for number in range(13):
        if number % 3 == 0:
            with torch.no_grad():
                losses.append(loss_of(model, held_out.flatten(0, 1)).item())
        if number < 12:
            start = perf_counter()
            update(model, optimizer, batches[number])
            seconds.append(perf_counter() - start)
    return losses, min(seconds)


# %%
rules = {"α = 16": {r: train(with_adapter(r, alpha=16)) for r in ranks}}
rules["α = r"] = {r: train(with_adapter(r, alpha=r)) for r in (4, 64)}
rules["α = r"][16] = rules["α = 16"][16]  # the same run
spread = {}
for rule, runs in rules.items():
    last = {rank: round(runs[rank][0][-1], 3) for rank in ranks}
    spread[rule] = max(last.values()) - min(last.values())
    print(f"{rule:6} held-out loss after 12 updates, by rank: {last}")
times = {rank: round(rules["α = 16"][rank][1], 2) for rank in ranks}
rank_time = times[64] / times[16]
print(f"fastest update by rank, in seconds: {times}")

# %%
import matplotlib.pyplot as plt

_, panels = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
for axes, (rule, runs) in zip(panels, rules.items(), strict=True):
    line_plot(
        range(0, 13, 3),
        {f"rank {rank}": runs[rank][0] for rank in ranks},
        x_label="update",
        y_label="held-out loss, nats per token",
        title=f"{rule}: {spread[rule]:.2f} nats between the ranks",
        marker="o",
        axes=axes,
    )
    for line, style in zip(axes.lines, ("-", "--", ":")):
        line.set_linestyle(style)  # one may lie on another

# %% [markdown]
# On the small model the left panel's three lines lie on each other: with α fixed,
# sixteen times the rank changed nothing that one could see. On the right a high rank
# seems to learn faster, but what differs is α, and with it the size of the steps. So "a
# higher rank is better", measured at α = 2r, compares learning rates. (Time hardly
# differs: the branches are small.)
#
# ### ●●○ Exercise 3 · Double the rank, keep α/r (4 minutes)
#
# *Why it matters: without this step a comparison of ranks is one of learning rates.*
#
# A recipe works with some learning rate, rank and alpha. You change rank and alpha.
# Which learning rate leaves the progress of the first updates as it was?

# %% tags=["exercise"]
def matching_rate(
    rate: float, rank: int, alpha: float, new_rank: int, new_alpha: float
) -> float:
    """The learning rate for the new rank and alpha."""
    return TODO


# %% tags=["check"]
check(matching_rate)

# %% [markdown]
# <details><summary>Hint</summary>
#
# In the toy the rank alone changed nothing; when rank and alpha both grew by four, so
# did the progress.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def matching_rate(
#     rate: float, rank: int, alpha: float, new_rank: int, new_alpha: float
# ) -> float:
#     return rate * alpha / new_alpha
# ```
#
# The effective learning rate of the first updates is rate × α. Double the rank and keep
# α/r, and α doubles: so halve the rate.
# </details>
#
# Does a quarter of the rate bring the run of rank 64 with α = 64 back to the others?

# %%
quarter, _ = train(with_adapter(64, alpha=64), small.learning_rate / 4)
again = {"α = 16": rules["α = 16"][64][0], "α = 64": rules["α = r"][64][0]}
for name, losses in {**again, "α = 64, rate / 4": quarter}.items():
    print(f"{name:16}", *[f"{loss:.3f}" for loss in losses])
early, late = (quarter[i] - again["α = 16"][i] for i in (1, -1))
f"a quarter of the rate, against α = 16: {early:+.2f} early, {late:+.2f} late"

# %% [markdown]
# For the first updates it does: on the small model it was within a tenth of a nat after
# three, but well behind after twelve. Adam's steps of A and B are as large as the rate
# says; α only scales the product. So four times α makes up for a quarter of the rate in
# B, but A still moves at a quarter of its pace.
#
# What to do: keep alpha when you change the rank, and the rate that was right stays
# about right. If alpha changes, tune the rate again.
#
# ## 6. LoRA or QLoRA, after training
#
# QLoRA is the same adapter on a base in NF4. What does it save, and what does it cost?
# Both get the same twelve updates at rank 16, on the small model.

# %%
from course_utils.memory.measured import tensor_bytes

qlora = train(with_adapter(16, alpha=16, load_in_4bit=True))
arms = {"LoRA": rules["α = 16"][16], "QLoRA": qlora}
four_bit, _ = models.load_base(small, profile, load_in_4bit=True)
bases = {"LoRA": base, "QLoRA": four_bit}
for name, (losses, seconds) in arms.items():
    megabytes = tensor_bytes(bases[name]).total_bytes / 1e6
    print(
        f"{name:6} held-out {losses[0]:.3f} → {losses[-1]:.3f} nats,",
        f"{seconds:.2f} s an update, {megabytes:.0f} MB",
    )
start, end = (arms["QLoRA"][0][i] - arms["LoRA"][0][i] for i in (0, -1))
slower = arms["QLoRA"][1] / arms["LoRA"][1]
f"QLoRA is {start:.2f} nats behind before, {end:.2f} after; time {slower:.2f}"

# %% [markdown]
# The weights take much less memory (a CPU holds them in fp32; 16 bits would be half).
# On the small model, rounded to 4 bits for the second time, NF4 cost some loss, and
# training made up for most of it. For large models QLoRA's authors report no loss. So
# no fixed share, such as the common "99 % of the quality", can be right. Time depends
# on how fast a chip unpacks the weights.
#
# In which precision is the adapter of a 4-bit base? A common answer says fp16. Take NF4
# for the linear layers and bf16 for the rest, as in the paper's recipe:

# %%
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
packed = AutoModelForCausalLM.from_pretrained(
    models.model_location(small), dtype=torch.bfloat16, quantization_config=nf4
)
config = LoraConfig(r=16, target_modules=list(small.target_modules))
packed = get_peft_model(packed, config)
block = packed.base_model.model.model.layers[0]
thin, codes = block.mlp.gate_proj.lora_A["default"].weight, block.mlp.gate_proj
rest = packed.get_input_embeddings().weight
print(f"adapter {thin.dtype}, codes {codes.weight.dtype}, rest {rest.dtype}")

# %% [markdown]
# In fp32, beside packed codes (uint8) and a rest in bf16. With its gradient and Adam's
# two moments the adapter takes 16 bytes a number.
#
# `prepare_model_for_kbit_training`, PEFT's call for 4-bit bases, casts every frozen
# 16-bit number to fp32 (2.1 GB more on an 8B model) and lets gradients reach the
# inputs. Does training fail without it, as a common answer says? How many B matrices
# get a gradient?

# %%
unprepared = get_peft_model(four_bit, config).train()
scaler.scale(loss_of(unprepared, batches[0])).backward()
grads_B = [p.grad for n, p in unprepared.named_parameters() if "lora_B" in n]
alive = sum(g is not None and bool(g.abs().max() > 0) for g in grads_B)
f"{alive} of {len(grads_B)} B matrices have a gradient"

# %% [markdown]
# It trains without: only the older kind of checkpointing needs gradients at the inputs.
# Unsloth's `get_peft_model` leaves embedding and head as they were loaded.
#
# ## 7. What does it cost in time?
#
# "LoRA trains *much* faster" is a common answer. For each weight and token there are 2
# operations forward, 2 for the gradient of the activations, and 2 for that of the
# weight. LoRA saves only the last two: (2 + 2) / (2 + 2 + 2) = 0.67 of the work at
# best. Then comes the optimizer, which under full tuning updates every weight.
#
# The two models take turns, and the fastest of five rounds counts, since other programs
# can only slow a step down.

# %%
del four_bit, bases, packed, unprepared, base
models.free_memory()
whole, _ = models.load_base(small, profile)
whole.requires_grad_(True)
FastLanguageModel.for_training(whole, use_gradient_checkpointing=False)
tuned, tokens = with_adapter(16, alpha=16), batches[0].reshape(1, -1)


# %%
def work(model, optimizer=None):
    """Forward, backward and, where there is one, the optimizer's step."""
    model.zero_grad()
    loss = loss_of(model, tokens)
    loss.backward()
    if optimizer:
        optimizer.step()
    return loss.detach()


# %%
from functools import partial

from course_utils.machine.timing import fastest

tasks = {"full": partial(work, whole), "LoRA": partial(work, tuned)}
for name, network in {"full": whole, "LoRA": tuned}.items():
    still = adamw(network, rate=0.0)  # does its work, and moves nothing
    tasks[f"{name} and optimizer"] = partial(work, network, still)
taken = fastest(tasks, rounds=8)
print({name: f"{seconds:.2f} s" for name, seconds in taken.items()})
pass_ratio = taken["LoRA"] / taken["full"]
step_ratio = taken["LoRA and optimizer"] / taken["full and optimizer"]
f"LoRA / full: {pass_ratio:.2f}, with the optimizer {step_ratio:.2f}"

# %% [markdown]
# The branches' many small products push the ratio up; that full tuning writes a
# gradient for every weight, and updates it, pushes it down. So LoRA is faster, not
# "much" faster: its case is memory, and adapters that are easy to store and swap.
#
# ## 8. Gradient checkpointing
#
# Checkpointing keeps one tensor a block of the forward pass and computes the rest
# again. Some lists put it under "training stability". What must the gradients be?

# %%
def switched(on):
    """All gradients of a pass, with checkpointing on or off."""
    FastLanguageModel.for_training(tuned, use_gradient_checkpointing=on)
    work(tuned)
    grads = [p.grad for p in tuned.parameters() if p.requires_grad]
    return torch.cat([grad.flatten() for grad in grads])


del whole, network, tasks, still
models.free_memory()
gradient_difference = (switched(True) - switched(False)).abs().max()
f"largest difference of a gradient: {gradient_difference:g}"

# %% [markdown]
# In fp32 the same to the last bit, so it cannot make training more stable. What does it
# save? Kept are one hidden state a block, and a table of log-probabilities for the
# loss. For SmolLM2-135M in fp32: 30 × 128 × 576 × 4 B = 8.8 MB and 127 × 49,152 × 4 B =
# 25.0 MB, so about 34 MB. And measured?

# %%
from course_utils.memory.measured import saved_activation_bytes

kept = []
for on in (False, True):
    switched(on)
    forward = partial(loss_of, tuned, tokens)
    kept.append(saved_activation_bytes(forward, tuned) / 1e6)

# %%
from course_utils.plots import stacked_bars

table = (tokens.shape[1] - 1) * tuned.config.vocab_size * 4 / 1e6
saving = kept[0] / kept[1]
stacked_bars(
    ["stored", "recomputed"],
    {"log-probabilities": [table] * 2, "blocks": [x - table for x in kept]},
    x_label="kept for the backward pass, MB (128 tokens)",
    title=f"Checkpointing keeps {saving:.1f} times less; one table stays",
    total_format="{:.0f}",
);

# %% [markdown]
# On a CPU 34 MB, as predicted. The table of log-probabilities belongs to the plain loss
# that we wrote; on a GPU, Unsloth's trainer never builds it.
#
# The price is one more forward pass. In units of 2 operations, full tuning goes from 3
# to 4, so 4/3 of the time; LoRA from 2 to 3, so 3/2.

# %%
passes = {on: lambda on=on: switched(on)[0] for on in (False, True)}
taken = fastest(passes)
time_ratio = taken[True] / taken[False]
f"with checkpointing a pass takes {time_ratio:.2f} times as long"

# %% [markdown]
# "Five times the memory for 20 % of the speed" is a common answer, and one model's: the
# saving grows with depth and shrinks with the vocabulary, and LoRA pays 3/2 by the
# count, not 4/3.
#
# ## 9. Merging
#
# A merged model is the base with other numbers. After three updates, so that B is not
# zero, add each ΔW to a copy of the base:

# %%
FastLanguageModel.for_training(tuned, use_gradient_checkpointing=False)
optimizer = adamw(tuned, small.learning_rate)
losses = [update(tuned, optimizer, batch) for batch in batches[:3]]
by_hand, _ = models.load_base(small, profile)
with torch.no_grad():
    for name, branch in tuned.named_modules():
        if hasattr(branch, "lora_A"):
            twin = by_hand.get_submodule(name.removeprefix("base_model.model."))
            thin_A = branch.lora_A["default"].weight
            thin_B = branch.lora_B["default"].weight
            twin.weight += branch.scaling["default"] * (thin_B @ thin_A)

# %% [markdown]
# What does a merged and an unmerged model cost in time, for 128 tokens at once and for
# a single one, as in writing?

# %%
def read(network, length):
    """A pass over the first tokens, without gradients."""
    with torch.inference_mode():
        return network(input_ids=tokens[:, :length]).logits.sum()


FastLanguageModel.for_inference(tuned)
plain, _ = models.load_base(small, profile)
networks = {"base": plain, "merged": by_hand, "unmerged": tuned}
for network in networks.values():
    for parameter in network.parameters():
        parameter.data = parameter.data.clone()  # not the file's own pages
for length in (128, 1):
    passes = {n: partial(read, m, length) for n, m in networks.items()}
    taken = fastest(passes, rounds=15)
    relative = {name: taken[name] / taken["base"] for name in networks}
    told = ", ".join(f"{name} {ratio:.2f}" for name, ratio in relative.items())
    print(f"{length:3} at once, time in units of the base's: {told}")

# %% [markdown]
# Merged, the model runs at the base's speed, up to noise. Unmerged, each branch is two
# more small products a layer, which weighs most for a single token.
#
# PEFT merges in one call, `merge_and_unload()`, and takes the branches away. Is the
# result what we built by hand?

# %%
beside = models.logits_of(tuned, tokenizer, text)
merged = tuned.merge_and_unload()
for name, parameter in merged.named_parameters():
    torch.testing.assert_close(parameter, by_hand.get_parameter(name))
difference = (models.logits_of(merged, tokenizer, text) - beside).abs().max()
f"every parameter equal; scores moved by up to {difference:.1g}"

# %% [markdown]
# Equal up to rounding. Merging gives up the switch: several adapters over one base must
# stay unmerged. And merge only into 16 or 32 bits: in a 4-bit base a small ΔW is
# rounded away (lesson 07).
#
# ## When it goes wrong
#
# | Symptom | Cause | Way out |
# |---|---|---|
# | `Target modules {…} not found in the base model` | The names are another family's (`c_attn`, `query_key_value`) | `model.named_modules()` has yours |
# | The loss never moves | The adapter is frozen or was never attached | After one backward pass B must have a gradient |
# | Out of memory although the weights fit | Activations; the scores: batch × length × vocabulary × 4 bytes | Checkpointing, smaller batch, shorter rows |
# | A higher rank trains worse, or explodes | Alpha was raised with it | Keep alpha, or tune the rate again |
# | The merged model answers like the base | ΔW was rounded away by merging into 4-bit weights | Merge into 16 or 32 bits, then quantize |
#
# ## In the interview

# %%
from course_utils.evidence.cards import show_cards

show_cards("02")

# %% [markdown]
# ## The same on your project
#
# Lesson 03 gives the result to a trainer.

# %%
def load_with_adapter(name, rank=16, load_in_4bit=True):
    """A model of the hub, or a folder, with a fresh adapter."""
    modules = ["q_proj", "k_proj", "v_proj", "o_proj"]
    modules += ["gate_proj", "up_proj", "down_proj"]
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=name, max_seq_length=2048, load_in_4bit=load_in_4bit
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=rank,
        lora_alpha=16,  # stays when the rank changes; then tune the rate
        target_modules=modules,
        use_gradient_checkpointing="unsloth",
    )
    model.print_trainable_parameters()
    return model, tokenizer


yours = load_with_adapter(plain.name_or_path, rank=8, load_in_4bit=False)

# %% [markdown]
# ## You can now …

# %%
apart = " and ".join(f"{nats:.2f} ({rule})" for rule, nats in spread.items())
print(f"""… predict a count: {plan.rank} × {sides:,} = {trained:,} numbers
… change the rank: ranks 4 to 64 ended {apart} nats apart
… weigh QLoRA: {end:.2f} nats behind after equal updates, time × {slower:.2f}
… say what a LoRA step costs: {step_ratio:.2f} of a full one
… save memory with time: {saving:.1f} × less kept, time × {time_ratio:.2f}""")

# %% [markdown]
# ## What this run does not show
#
# - Whether the adapter learns anything useful: lesson 03.
# - Which rank is best: a low one can run out of room later in training.
# - LoRA against QLoRA on a large model.
# - The speed of Unsloth's GPU kernels. Times on a shared machine move by a tenth.
# - More than one seed, rate and text.
#
# ## Sources
#
# - TRL's guide to LoRA Without Regret (Schulman et al. 2025): huggingface/trl,
#   docs/source/lora_without_regret.md (67 % of the compute; all matrices; with 1/r the
#   best rate hardly depends on the rank), and the article itself.
# - The Hidden Power of Scaling Factor in LoRA Optimization: arXiv:2606.12883, abstract.
# - PEFT documentation, LoRA developer guide. Installed source: peft 0.21.2
#   (`tuners/lora/layer.py`, `prepare_model_for_kbit_training`,
#   `autocast_adapter_dtype`), unsloth 2026.10.9 (`FastLanguageModel.get_peft_model`).
#
# - LoRA, arXiv:2106.09685 (§4); QLoRA, arXiv:2305.14314 (§3, table 4). Not opened here:
#   checkpointing, arXiv:1604.06174.
#
# ## Run record

# %% tags=["hide-input"]
from course_utils.evidence.ledger import Ledger

ledger = Ledger("02", profile, recipe.name)
ledger.record("C037", flop_bound=(2 + 2) / (2 + 2 + 2), pass_ratio=pass_ratio)
ledger.record("C037", step_ratio=step_ratio)
ledger.record("C040", delta_error=delta_error)
ledger.record("C042", largest_gradient_difference=gradient_difference)
ledger.record("C080", time_ratio=slower)
ledger.record("C081", nf4_loss_increase=start, after_tuning=end)
ledger.record("C082", adapter_bytes=thin.itemsize, rest_bytes=rest.itemsize)
ledger.record("C091", a_rows=A.shape[0], a_columns=A.shape[1])
ledger.record("C091", b_rows=B.shape[0], b_columns=B.shape[1])
ledger.record("C128", fixed_alpha=spread["α = 16"], fixed_ratio=spread["α = r"])
ledger.record("C128", quarter_early=early, quarter_late=late, time_64=rank_time)
ledger.record("C099", branches_with_gradient=alive, branches=len(grads_B))
moments = [s for held in optimizer.state.values() for s in held.values()]
count = sum(p.numel() for p in optimizer.param_groups[0]["params"])
ledger.record("C132", adamw_bytes=sum(s.nbytes for s in moments) / count)
ledger.record("C133", saving_factor=saving, lora_time_ratio=time_ratio)
ledger.record("C133", full_time_theory=4 / 3, lora_time_theory=(2 + 1) / 2)
ledger.record("C161", logit_difference=logit_difference, a_zero_share=zero_A)
ledger.record("C162", merged_ratio=relative["merged"])
ledger.record("C162", unmerged_ratio=relative["unmerged"])
assert not ledger.missing(), ledger.missing()

# %%
from course_utils.machine.run_record import write_run_record

headline = f"ranks 4 to 64, α fixed: {spread['α = 16']:.2f} nats apart"
write_run_record("02", profile, headline=headline, seed=plan.seed)

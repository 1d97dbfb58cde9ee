# %% [markdown]
# # 02 · What does LoRA add to a model, and what does it cost?
#
# <!-- colab badge -->
#
# A LoRA puts two thin matrices beside each frozen weight matrix and trains only those.
# What exactly is computed, how many numbers are trained, and which of the well-known
# promises about memory and speed hold when you measure them?
#
# **You will be able to**
#
# - write ΔW = (α/r)·B·A with the right shapes, and say why nothing changes at first,
# - count trainable parameters for any model, rank and set of modules, and check a claim,
# - choose rank and alpha, and keep the scale when you change one of them,
# - merge an adapter and say when the merged model is the same function,
# - say where memory goes under full tuning, LoRA and QLoRA, and what checkpointing trades.
#
# **Time and memory.** About a minute and 4.4 GiB on two CPU cores (measured). On a T4
# with the 8B model about 5 minutes and 8 GiB of GPU memory (an estimate: the course has
# not been timed there).

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: unsloth patches the rest
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# The run uses the movie recommender's recipe. The claims come from five
# interview-preparation documents, called S0 to S4; the recipes are their projects.

# %%
from course_utils.evidence.ledger import Ledger
from course_utils.recipes.book import ALPACA_MISTRAL, INFRAMIND, MOVIE_RECOMMENDER

recipe = MOVIE_RECOMMENDER
plan = recipe.plan_for(profile.name, profile.model_override)
ledger = Ledger("02", profile)
f"rank {plan.rank}, alpha {plan.alpha}, {len(plan.target_modules)} modules"

# %% [markdown]
# ## 1. The idea, on a matrix that fits on the screen
#
# A linear layer multiplies its input $x$ (k numbers) by $W$ (d rows, k columns). Full
# fine-tuning changes every entry of $W$. LoRA leaves $W$ as it is and learns an update
# made of two thin matrices:
#
# $$h = W x + \Delta W x, \qquad \Delta W = \frac{\alpha}{r}\, B\, A$$
#
# with $A$ of shape (r, k) and $B$ of shape (d, r). The rank r is small. Here d = 4,
# k = 6, r = 2 and α = 4. What do the three matrices look like before training?

# %%
# NBVAL_CHECK_OUTPUT
import torch

d, k, r, alpha = 4, 6, 2, 4
W = torch.arange(24.0).reshape(d, k)
A = torch.tensor([[1.0, 0, -1, 2, 0, 1], [0, 1, 1, 0, -1, 2]])
B = torch.zeros(d, r)
print(W, A, B, sep="\n")

# %% [markdown]
# A starts random (small whole numbers here, so that you can follow by eye) and B starts
# at zero. The product is zero, so the layer still computes Wx. Now let training have
# moved B. What is the update?

# %%
# NBVAL_CHECK_OUTPUT
B = torch.tensor([[1.0, 0], [0, 1], [1, 1], [2, -1]])
delta_W = alpha / r * B @ A  # (d, k)
delta_W

# %% [markdown]
# All 24 entries of W may change, but not freely: each row is a mix of the two rows of
# A. That is what rank 2 means. Rows one and two are twice the rows of A (the scale α/r
# is 2), row three is their sum, row four twice the first minus the second.
#
# Nobody needs to build ΔW to use it. Is the cheap order, first A and then B, the same?

# %%
# NBVAL_CHECK_OUTPUT
x = torch.tensor([1.0, 2, 3, 4, 5, 6])
beside = W @ x + alpha / r * (B @ (A @ x))
merged = (W + delta_W) @ x
print(beside, merged, sep="\n")

# %% [markdown]
# Equal. The left form, with the branch beside W, is how an adapter is trained; the
# right form, with the update added into W, is a merged adapter.
#
# ### Two mistakes that interviews listen for
#
# The first is to drop the factor: "h = Wx + BAx". How far off is that for S2's project,
# which sets alpha to twice the rank?

# %%
scale = INFRAMIND.plan.alpha / INFRAMIND.plan.rank
missing = (scale * B @ A).norm() / (B @ A).norm()
ledger.record("C160", missing_factor=missing)

# %% [markdown]
# The second is to swap the shapes: A as (d, r), B as (r, k), and still ΔW = B·A. What
# comes out for a square layer of SmolLM2-135M, 576 × 576 with rank 16?

# %%
from course_utils.model.architectures import load_architectures

architectures = load_architectures()
side, _ = architectures["smollm2-135m"].linear_shapes()["q_proj"]
swapped_A = torch.empty(side, 16, device="meta")  # (d, r): the wrong way round
swapped_B = torch.empty(16, side, device="meta")  # (r, k)
result = swapped_B @ swapped_A
ledger.record("C159", result_side=result.shape[0], layer_side=side)

# %% [markdown]
# The product exists only because the layer is square, and then it has the side of the
# rank and not of the layer. Most layers are not square. Which is the flattest one in
# Qwen2.5-0.5B?

# %%
qwen = architectures["qwen2.5-0.5b"]
inputs, outputs = qwen.linear_shapes()["k_proj"]
ledger.record("C117", key_inputs=inputs, key_outputs=outputs)

# %% [markdown]
# Seven query heads share one key head there, so the key projection shrinks 896 inputs
# to 128 outputs. Formulas with "d × d" cannot describe it.
#
# ## 2. The real layer
#
# Now the same thing in a language model. First its answer as it is: the scores of the
# next token after each position of one short text.

# %%
from course_utils.data.datasets import load_movies

text = "\n\n".join(row.answer for row in load_movies("train")[:4])
base, tokenizer = models.load_base(plan, profile)
base_logits = models.logits_of(base, tokenizer, text)  # (seq, vocab)
list(base_logits.shape)

# %% [markdown]
# Then attach the adapter, and look at one layer from inside. PEFT has replaced the
# linear layer by a wrapper that holds it.

# %%
model = models.attach_lora(base, plan)
layer = model.get_submodule("base_model.model.model.layers.0.mlp.gate_proj")
layer

# %% [markdown]
# `base_layer` is the frozen W. Which shapes do A and B have, against (r, k) and (d, r)?

# %%
A = layer.lora_A["default"].weight  # (r, k)
B = layer.lora_B["default"].weight  # (d, r)
ledger.record(
    "C091",
    a_rows=A.shape[0],
    a_columns=A.shape[1],
    b_rows=B.shape[0],
    b_columns=B.shape[1],
)

# %% [markdown]
# The paper's letters, PEFT's and ours agree. And the scale that PEFT multiplies with?

# %%
ledger.record("C041", scale=layer.scaling["default"])

# %% [markdown]
# Alpha and rank are equal in this recipe, so the factor is one. In which precision are
# the new matrices, whatever the base is stored in?

# %%
ledger.record("C082", adapter_bytes=A.element_size())

# %% [markdown]
# Four bytes: fp32. (On a T4 the base computes in fp16 and the adapters stay in fp32.)
# "We add a layer on top", says S0. How many branches are there, and where?

# %%
adapted = [m for m in model.modules() if hasattr(m, "lora_A")]
assert len(adapted) == len(plan.target_modules) * model.config.num_hidden_layers
branches = {
    name: len(plan.target_modules) * architecture.layers
    for name, architecture in architectures.items()
}
ledger.record(
    "C013",
    llama_8b_branches=branches["llama-3.1-8b"],
    smollm2_branches=branches["smollm2-135m"],
)

# %% [markdown]
# One beside each of seven linear layers in each block, from the first to the last.
# Nothing sits on top. Are the outputs really untouched? Predict: B = 0, so exactly 0.

# %%
fresh_logits = models.logits_of(model, tokenizer, text)
logit_difference = (fresh_logits - base_logits).abs().max()
f"largest difference of a logit: {logit_difference:g}"

# %% [markdown]
# An adapter that has not been trained is no adapter. That is useful: training starts
# from the base model and not from a disturbed one.
#
# ## 3. The first steps of training
#
# Why does training start at all, when B is zero? Write the gradients down. With $g$ the
# gradient at the layer's output,
#
# $$\frac{\partial L}{\partial B} = \frac{\alpha}{r}\, g\,(A x)^\top, \qquad
# \frac{\partial L}{\partial A} = \frac{\alpha}{r}\, B^\top g\, x^\top .$$
#
# B's gradient contains A, which is random, so it is not zero. A's gradient contains B:
# it is zero, in every entry, until B has moved. Both zero, and nothing would ever move.
#
# A few steps by hand show it. The loss is the mean negative log-likelihood of the text.

# %%
from course_utils.data.tokens import completion_nll


def first_tokens(tokenizer, length=128):
    """The beginning of the text, where the model computes: (batch, seq)."""
    encoded = tokenizer(text, return_tensors="pt").input_ids[:, :length]
    return encoded.to(profile.device)


def loss_of(model, tokens):
    """Loss in nats per token, in the machine's own precision."""
    half = dict(dtype=profile.compute_dtype, enabled=profile.is_gpu)
    with torch.autocast(profile.device, **half):
        logits = model(input_ids=tokens).logits
    return completion_nll(logits, tokens)


tokens = first_tokens(tokenizer)
list(tokens.shape)

# %% [markdown]
# What does the backward pass leave on A and B before the first update?

# %%
loss_of(model, tokens).backward()
grads_A = [m.lora_A["default"].weight.grad.flatten() for m in adapted]
grads_B = [m.lora_B["default"].weight.grad.flatten() for m in adapted]
zero_A = (torch.cat(grads_A) == 0).float().mean()
zero_B = (torch.cat(grads_B) == 0).float().mean()
print(f"zero gradients: {zero_A:.0%} of A, {zero_B:.1%} of B")
ledger.record("C161", logit_difference=logit_difference, a_zero_share=zero_A)

# %% [markdown]
# In the first step only B learns, in every layer at once. What happens after that?
# AdamW makes six updates at the recipe's rate; each line keeps the two gradient norms.

# %%
def gradient_norm(name):
    """Of all A, or of all B, taken together as one long vector."""
    thin = [getattr(m, name)["default"].weight for m in adapted]
    return torch.stack([matrix.grad.norm() for matrix in thin]).norm().item()

# %%
def update(model, optimizer):
    """One step of training on the text; returns its loss."""
    optimizer.zero_grad()
    loss = loss_of(model, tokens)
    loss.backward()
    optimizer.step()
    return loss.item()


# %% [markdown]
# Only what requires a gradient goes to the optimizer: A and B of every branch.

# %%
trainable = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trainable, lr=plan.learning_rate)
history = {"loss": [], "A": [], "B": []}
for _ in range(6):
    history["loss"].append(update(model, optimizer))
    history["A"].append(gradient_norm("lora_A"))
    history["B"].append(gradient_norm("lora_B"))
[round(loss, 2) for loss in history["loss"]]

# %%
from course_utils.plots import line_plot

line_plot(
    range(6),
    {"A": history["A"], "B": history["B"]},
    x_label="update",
    y_label="gradient norm over all layers",
    title="In the first step only B has a gradient; A follows it",
    marker="o",
)

# %% [markdown]
# A's gradient starts at zero and grows as B grows. The text's loss falls meanwhile: on a
# single text that proves only that the gradients point the right way.
#
# ### Two moments for each trained number
#
# Adam keeps a running mean of the gradient and one of its square, both in fp32.
# Predict: 2 × 4 = 8 bytes for each trainable number, and none for the frozen ones.

# %%
states = [s for moments in optimizer.state.values() for s in moments.values()]
state_bytes = sum(s.numel() * s.element_size() for s in states)
trainable_count = sum(p.numel() for p in trainable)
ledger.record("C132", adamw_bytes=state_bytes / trainable_count)

# %% [markdown]
# ### What rank means in the trained update
#
# Is PEFT's own ΔW the product that the equation says?

# %%
with torch.no_grad():
    scale = plan.alpha / plan.rank
    delta_W = scale * B @ A  # (d, k)
    delta_error = (delta_W - layer.get_delta_weight("default")).abs().max()
ledger.record("C040", delta_error=delta_error)

# %% [markdown]
# It is, factor included. Every entry of W would change by it. How many directions does
# it use? Singular values tell: a matrix of rank r has r that are not zero.

# %%
singular_values = torch.linalg.svdvals(delta_W.float().cpu())[: 2 * plan.rank]
line_plot(
    range(1, len(singular_values) + 1),
    {"ΔW of one gate projection": singular_values.clamp(min=1e-12).numpy()},
    x_label="singular value, by size",
    y_label="size (log scale)",
    title=f"The trained update has rank {plan.rank}: what follows is rounding",
    log_y=True,
    marker="o",
)

# %% [markdown]
# The values fall off a cliff behind the rank. ΔW is dense, and yet it moves the outputs
# in at most r directions. The *update* is factorised; W itself is not decomposed.
#
# ### The adapter as a switch
#
# The base is frozen. So with the adapter off, must the model be the old one?

# %%
tuned_logits = models.logits_of(model, tokenizer, text)
with model.disable_adapter():
    off_logits = models.logits_of(model, tokenizer, text)
moved = (tuned_logits - base_logits).abs().max()
restored = (off_logits - base_logits).abs().max()
f"adapter on: logits moved by up to {moved:.2g}; off: by {restored:g}"

# %% [markdown]
# Off, the base is back to the last bit. On, it is another function: frozen weights do not
# mean that nothing is forgotten. Notebook 04 measures that.
#
# ## 4. Rank and alpha
#
# α/r is the size of the step from BA to ΔW. S2 says that alpha is "typically 2r". Which
# scales do known recipes use? QLoRA's authors had r = 64 and α = 16.

# %%
import inspect

defaults = inspect.signature(models.FastLanguageModel.get_peft_model).parameters
unsloth_scale = defaults["lora_alpha"].default / defaults["r"].default
double_rule = INFRAMIND.plan.alpha / INFRAMIND.plan.rank

# %%
ledger.record(
    "C095",
    double_rule_scale=double_rule,
    unsloth_scale=unsloth_scale,
    qlora_scale=16 / 64,
)

# %% [markdown]
# An eightfold range, and all of them work. It is a convention. What matters more is what
# happens when you change the rank and leave alpha alone: with α/r the scale falls as 1/r;
# rank-stabilised LoRA (rsLoRA) divides by √r instead. How far apart do they get?

# %%
# NBVAL_CHECK_OUTPUT
import pandas as pd

ranks = [4, 8, 16, 32, 64, 128, 256]
scales = pd.DataFrame({"r": ranks})
scales["16 / r"] = 16 / scales["r"]
scales["16 / √r"] = (16 / scales["r"] ** 0.5).round(2)
print(scales.to_string(index=False))

# %%
line_plot(
    ranks,
    {"α / r": scales["16 / r"], "α / √r (rsLoRA)": scales["16 / √r"]},
    x_label="rank r",
    y_label="scale of BA, for α = 16",
    title="Raising the rank with a fixed alpha shrinks the update",
    log_x=True,
    log_y=True,
    reference=("scale 1", 1.0),
    marker="o",
)

# %% [markdown]
# From rank 16 to 256 the ordinary scale falls sixteenfold, the other one fourfold. A
# "higher rank did not help" in someone's table may be this effect alone. So hold the
# scale fixed when you vary the rank.
#
# ### ●○○ Exercise 1 · Keep the scale (3 minutes)
#
# *Why it matters: without it, an experiment on rank is an experiment on the size of the
# update.*
#
# You have a recipe that works and want to try another rank. Which alpha keeps α/r as it
# was?

# %% tags=["exercise"]
from course_utils.evidence.exercises import TODO, Case, check


def alpha_for(new_rank: int, rank: int, alpha: float) -> float:
    """The alpha that gives `new_rank` the scale of `alpha / rank`."""
    return TODO


# %% tags=["check"]
kept = "alpha was left alone, so the scale changes with the rank."
inverted = "the ratio of the ranks is upside down."
rooted = "that keeps rsLoRA's α/√r; here α/r is asked for."
check(
    alpha_for,
    Case((64, 16, 16), 64.0, {16: kept, 4: inverted, 32: rooted}),
    Case((8, 32, 64), 16.0, {64: kept, 256: inverted, 32: rooted}),
)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Set the new scale equal to the old one, `new_alpha / new_rank = alpha / rank`, and
# solve for `new_alpha`.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def alpha_for(new_rank: int, rank: int, alpha: float) -> float:
#     """The alpha that gives `new_rank` the scale of `alpha / rank`."""
#     return alpha * new_rank / rank
# ```
# </details>
#
# ### The upper end of the rank
#
# A adds r·k numbers and B adds d·r, so a branch has r·(d + k). It is larger than W
# itself when r·(d + k) > d·k. The rank where both are equal is
#
# $$r^* = \frac{d\,k}{d + k}.$$
#
# For a square layer of 4096: 4096² / 8192 = 2048. For Qwen's key projection:
# 896 × 128 / 1024 = 112.

# %%
mistral = architectures["mistral-7b"]
ledger.record(
    "C093",
    break_even_square=mistral.break_even_rank("q_proj"),
    break_even_qwen_key=qwen.break_even_rank("k_proj"),
)

# %% [markdown]
# A rank of 128 sounds modest and is already past the point on that layer. S2's own
# example is a square matrix with rank 32. Predict: 4096² = 16,777,216 against
# 32 × 8192 = 262,144.

# %%
full = 4096 * 4096
lora = 32 * (4096 + 4096)
ledger.record(
    "C092", full_parameters=full, lora_parameters=lora, reduction=full / lora
)

# %% [markdown]
# That answer is right to the last digit.
#
# ## 5. How many parameters do you train?
#
# Sum r·(inputs + outputs) over the adapted layers of a block, times the number of
# blocks. Written out once for Qwen2.5-0.5B at rank 32: which shapes does a block have?

# %%
# NBVAL_CHECK_OUTPUT
rank = INFRAMIND.plan.rank
shapes = qwen.linear_shapes()
block = {module: rank * (i + o) for module, (i, o) in shapes.items()}
for module, (i, o) in shapes.items():
    print(f"{module:10}{i:5} → {o:5}   32 × {i + o:5} = {block[module]:8,}")
total = sum(block.values())
f"{total:,} a block × {qwen.layers} = {total * qwen.layers:,}"

# %% [markdown]
# S2 says "2,359,296 parameters, 0.48 %". Who is right? A formula can be wrong in the
# same way as its author, so build the model itself, without memory for its weights
# (torch's meta device), let PEFT attach the adapter, and count what it made trainable.

# %%
from transformers import Qwen2Config, Qwen2ForCausalLM

config = Qwen2Config(
    vocab_size=qwen.vocab_size,
    hidden_size=qwen.hidden_size,
    intermediate_size=qwen.intermediate_size,
    num_hidden_layers=qwen.layers,
    num_attention_heads=qwen.attention_heads,
    num_key_value_heads=qwen.key_value_heads,
    tie_word_embeddings=qwen.tied_embeddings,
)
with torch.device("meta"):
    empty = Qwen2ForCausalLM(config)
ledger.record("C100", parameters=empty.num_parameters())

# %% [markdown]
# The size of the base is as claimed, the tied embedding counted once. Now the adapter:

# %%
from peft import LoraConfig, get_peft_model

sevenfold = LoraConfig(
    r=rank,
    lora_alpha=INFRAMIND.plan.alpha,
    target_modules=list(INFRAMIND.plan.target_modules),
)

# %%
with torch.device("meta"):
    wrapped = get_peft_model(empty, sevenfold)
counted, with_adapter = wrapped.get_nb_trainable_parameters()
assert counted == qwen.lora_parameters(rank)
f"PEFT: {counted:,} trainable of {with_adapter:,}; our formula: the same"

# %% [markdown]
# What do the claims say, beside it?

# %%
query_value = qwen.lora_parameters(rank, ("q_proj", "v_proj"))
print(ledger.record("C102", share_of_base=counted / qwen.parameters))
ledger.record(
    "C101",
    all_seven_parameters=counted,
    trainable_share=counted / with_adapter,
    factor=counted / 2_359_296,
    query_value_parameters=query_value,
)

# %% [markdown]
# It is 17,596,416. Note the two shares: PEFT prints adapter over base *plus* adapter,
# people quote adapter over base. Where might 2,359,296 come from? Try all 127 sets of
# modules that this model offers, at the project's rank.

# %%
# NBVAL_CHECK_OUTPUT
from itertools import combinations

sets = [c for n in range(1, 8) for c in combinations(block, n)]
hits = [c for c in sets if qwen.lora_parameters(rank, c) == 2_359_296]
print(f"{len(hits)} of {len(sets)} sets give 2,359,296 at rank {rank}")
f"24 × 2 × 32 × (768 + 768) = {24 * 2 * 32 * (768 + 768):,}"

# %% [markdown]
# None does. The number is what two *square* layers of width 768 would give in 24 blocks:
# a formula for "d × d" layers, with the width of a smaller model. (The source does not
# say; four such layers in 12 blocks give it too.) The lesson is cheap: count on
# the model you use.
#
# The other project doubles as a check on PEFT's scale: α = 64 over r = 32.

# %%
first = wrapped.get_submodule("base_model.model.model.layers.0.mlp.up_proj")
ledger.record("C094", scaling=first.scaling["default"])

# %% [markdown]
# ### The same rank on other models
#
# How do size and share move with the model? Rank 16, all seven modules.

# %%
# NBVAL_CHECK_OUTPUT
names = [
    "smollm2-135m",
    "qwen2.5-0.5b",
    "mistral-7b",
    "llama-3.1-8b",
    "llama-2-70b",
]
chosen = [architectures[name] for name in names]
adapters = [architecture.lora_parameters(16) for architecture in chosen]
shares = [a / m.parameters for a, m in zip(adapters, chosen, strict=True)]
for name, count, share in zip(names, adapters, shares, strict=True):
    print(f"{name:14}{count:13,}   {share:.2%} of the base")

# %%
from course_utils.plots import grouped_bars

grouped_bars(
    names,
    {"rank 16, all linear layers": [100 * share for share in shares]},
    y_label="trained, % of the base",
    title="The same rank is a larger share of a smaller model",
    value_format="{:.2f}",
)

# %% [markdown]
# The adapter grows with the sides of the matrices, the model with their area. "99 %
# fewer" is true of 8B models and not of small ones. S0's claim and S1's:

# %%
smollm2, llama = architectures["smollm2-135m"], architectures["llama-3.1-8b"]
rank = MOVIE_RECOMMENDER.plan.rank
llama_lora = llama.lora_parameters(rank)
ledger.record(
    "C003",
    rank=rank,
    llama_8b_parameters=llama_lora,
    llama_8b_reduction=1 - llama_lora / llama.parameters,
    smollm2_reduction=1 - smollm2.lora_parameters(rank) / smollm2.parameters,
)

# %%
mistral_lora = mistral.lora_parameters(ALPACA_MISTRAL.plan.rank)
mistral_reduction = mistral.parameters / mistral_lora
ledger.record(
    "C034",
    lora_parameters=mistral_lora,
    share=mistral_lora / mistral.parameters,
    reduction=mistral_reduction,
)

# %% [markdown]
# S3 promises "10,000 times fewer". That is the LoRA paper's GPT-3: rank 4, on query and
# value only, in 96 blocks of width 12,288. Predict: 96 × 2 × 4 × 24,576 = 18,874,368 of
# 175 billion.

# %%
gpt3_lora = 96 * 2 * 4 * (12_288 + 12_288)
ledger.record(
    "C118",
    gpt3_reduction=175e9 / gpt3_lora,
    mistral_reduction=mistral_reduction,
    qwen_05b_reduction=qwen.parameters / counted,
    smollm2_reduction=smollm2.parameters / smollm2.lora_parameters(rank),
)

# %% [markdown]
# Even there it is nearer to 9,000. A reduction means nothing without model, rank and
# modules. How large is the file?

# %%
ledger.record(
    "C038",
    adapter_fp32_mb=mistral_lora * 4 / 1e6,
    adapter_16bit_mb=mistral_lora * 2 / 1e6,
    base_gb=mistral.parameters * 2 / 1e9,
)

# %% [markdown]
# ### Which modules carry the adapter?
#
# Attention is what people name first. Where do the trained numbers sit?

# %%
from course_utils.model.architectures import ATTENTION, MLP

from course_utils.plots import stacked_bars


def share_of(architecture, modules):
    """A group's part of an adapter on all seven; the rank cancels out."""
    whole = architecture.lora_parameters(1)
    return architecture.lora_parameters(1, modules) / whole


axes = stacked_bars(
    names,
    {
        "MLP": [100 * share_of(m, MLP) for m in chosen],
        "attention": [100 * share_of(m, ATTENTION) for m in chosen],
    },
    x_label="share of the LoRA parameters, %",
    title="On every model, most of the adapter sits in the MLP",
    total_format="",
)
axes.legend(loc="upper right", bbox_to_anchor=(1, -0.2), ncols=2)

# %%
ledger.record(
    "C097",
    qwen_05b_mlp_share=share_of(qwen, MLP),
    mistral_mlp_share=share_of(mistral, MLP),
)

# %% [markdown]
# "MLPs store facts" is a hypothesis of interpretability research; the share is a fact.
#
# ### ●○○ Exercise 2 · Count an adapter (3 minutes)
#
# *Why it matters: you will be asked for such a number, and a wrong one is easy to notice.*
#
# One module, the same in each block. How many parameters does its adapter train?

# %% tags=["exercise"]
def adapter_parameters(
    inputs: int, outputs: int, rank: int, blocks: int
) -> int:
    """Trained parameters of one module's adapters, over all blocks."""
    return TODO


# %% tags=["check"]
one_block = "that is one block; the module stands in every block."
base_layer = "that is W itself; A has rank × inputs, B outputs × rank."
only_A = "that is A alone; B adds outputs × rank."
check(
    adapter_parameters,
    Case(
        (896, 128, 32, 24),
        786_432,
        {32_768: one_block, 2_752_512: base_layer, 688_128: only_A},
    ),
    Case(
        (4096, 14_336, 16, 32),
        9_437_184,
        {294_912: one_block, 1_879_048_192: base_layer, 2_097_152: only_A},
    ),
)

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
#     """Trained parameters of one module's adapters, over all blocks."""
#     return rank * (inputs + outputs) * blocks
# ```
# </details>
#
# ## 6. What does it cost in arithmetic and in time?
#
# For one token, a linear layer takes 2·d·k floating-point operations, its branch
# 2·r·(d + k). The share of extra work is r·(d + k) / (d·k). For Mistral-7B at rank 16
# that is 41,943,040 / 6,979,321,856 = 0.60 %. S1 says that rank 32 needs more training
# time. How much more work is it?

# %%
ledger.record(
    "C058",
    rank_16_parameters=mistral.lora_parameters(16),
    rank_32_parameters=mistral.lora_parameters(32),
    rank_16_flop_share=mistral.lora_flops_share(16),
    rank_32_flop_share=mistral.lora_flops_share(32),
)

# %% [markdown]
# Twice the parameters, six operations more in a thousand. Next: "LoRA trains *much*
# faster, because only the small matrices are updated". Reckon for each weight and token:
# 2 operations forward, 2 for the gradient of the activations, 2 for the gradient of the
# weight. LoRA drops only the last two: (2 + 2) / (2 + 2 + 2) = 2/3 at best.
#
# To measure it we need a model that can be trained in full, so without 4-bit weights;
# and beside it the same model with its own weights frozen and an adapter attached.

# %%
small_plan = recipe.plan_for("cpu") if plan.load_in_4bit else plan
training_mode = models.FastLanguageModel.for_training
whole, small_tokenizer = models.load_base(small_plan, profile)
whole.requires_grad_(True)
training_mode(whole, use_gradient_checkpointing=False)

# %%
frozen, _ = models.load_base(small_plan, profile)
tuned = models.attach_lora(frozen, small_plan)
training_mode(tuned, use_gradient_checkpointing=False)
tokens = first_tokens(small_tokenizer)
f"{whole.num_parameters():,} parameters, {whole.dtype}"

# %% [markdown]
# A step here is forward and backward; the optimizer's work comes on top. Other programs
# can only slow a pass down, so the two take turns, and the fastest of five counts.

# %%
from time import perf_counter


def step(network):
    """Forward and backward on the text."""
    network.zero_grad()
    loss = loss_of(network, tokens)
    loss.backward()
    return loss.detach()


def fastest(functions, rounds=5):
    """Shortest wall time of each in seconds, taking turns after a warm-up."""
    times = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            start = perf_counter()
            float(function())  # waits until the device has finished
            times[name].append(perf_counter() - start)
    return {name: min(taken[1:]) for name, taken in times.items()}


# %%
steps = {"full": lambda: step(whole), "LoRA": lambda: step(tuned)}
seconds = fastest(steps)
print(", ".join(f"{name} {taken:.2f} s" for name, taken in seconds.items()))
step_ratio = seconds["LoRA"] / seconds["full"]
ledger.record(
    "C037",
    flop_bound=(2 + 2) / (2 + 2 + 2),
    step_time_ratio=step_ratio,
)

# %% [markdown]
# Not "much faster". Time follows the count of operations only roughly: the branches add
# many small products, which slows LoRA down, and a full step also has to write a gradient
# for each weight. LoRA's case is memory, and adapters that are easy to store and swap.
#
# ## 7. Gradient checkpointing
#
# The backward pass needs the activations of the forward pass. Checkpointing keeps one
# tensor a block and computes the rest a second time when it is needed. S1 lists it
# under "training stability". If it only recomputes, what must the gradients be?
# Predict: the same.

# %%
from course_utils.memory.measured import saved_activation_bytes


def switched_step(checkpointing):
    """One step of the small model, with checkpointing on or off."""
    training_mode(tuned, use_gradient_checkpointing=checkpointing)
    return step(tuned)


whole.zero_grad()  # gives the gradients of the full step back
gradients = []
for checkpointing in (False, True):
    switched_step(checkpointing)
    grads = [p.grad.flatten() for p in tuned.parameters() if p.requires_grad]
    gradients.append(torch.cat(grads))
difference = (gradients[0] - gradients[1]).abs().max()
ledger.record("C042", largest_gradient_difference=difference)

# %% [markdown]
# The same gradients, so it cannot make training more stable. What does it save? Predict
# what is kept with checkpointing: one fp32 hidden state a block and one table of
# log-probabilities. For SmolLM2-135M: 30 × 128 × 576 × 4 B = 8.8 MB and
# 128 × 49,152 × 4 B = 25.2 MB, so about 34 MB. And measured?

# %%
kept = {}
for name, checkpointing in {"stored": False, "checkpointed": True}.items():
    training_mode(tuned, use_gradient_checkpointing=checkpointing)
    kept[name] = saved_activation_bytes(lambda: loss_of(tuned, tokens), tuned)
{name: f"{count / 1e6:.1f} MB" for name, count in kept.items()}

# %% [markdown]
# What is the logits' part of each, which checkpointing does not touch?

# %%
logit_bytes = (tokens.shape[1] - 1) * whole.config.vocab_size * 4
saving = kept["stored"] / kept["checkpointed"]
stacked_bars(
    list(kept),
    {
        "logits": [logit_bytes / 1e6] * 2,
        "blocks": [(count - logit_bytes) / 1e6 for count in kept.values()],
    },
    x_label="kept for the backward pass, MB",
    title=f"Checkpointing keeps {saving:.1f} times less; the logits stay",
    total_format="{:.0f}",
)

# %% [markdown]
# The price is one more forward pass. In units of 2 operations a weight and token: full
# tuning takes 3, then 4, so 4/3; LoRA takes 2, then 3, so 3/2.

# %%
steps = {
    "stored": lambda: switched_step(False),
    "again": lambda: switched_step(True),
}
seconds = fastest(steps)
time_ratio = seconds["again"] / seconds["stored"]
ledger.record(
    "C133",
    saving_factor=saving,
    lora_time_ratio=time_ratio,
    full_time_theory=(3 + 1) / 3,
    lora_time_theory=(2 + 1) / 2,
)

# %% [markdown]
# "Five times" and "20 %" are one model's figures. The saving grows with depth and
# shrinks with the vocabulary, and by the count of operations LoRA pays more for it, in
# proportion, than full tuning does.
#
# ## 8. Merging
#
# W + ΔW has the shape of W, so a merged model is as fast as the base. Is it the same
# function? One layer first: its output, against W + ΔW built by hand. If the base is in
# 4 bits, W is what dequantising gives.

# %%
from peft.utils.integrations import dequantize_module_weight

with torch.no_grad():
    W = dequantize_module_weight(layer.base_layer).float()  # (d, k)
    x = torch.randn(8, W.shape[1]).to(model.device, profile.compute_dtype)
    by_hand = x.float() @ (W + delta_W.float()).T  # (8, d)
    error = (layer(x).float() - by_hand).abs().max() / by_hand.abs().max()
f"largest difference, relative to the largest output: {error:.1g}"

# %% [markdown]
# Equal up to the rounding of the precision that the layer computes in. Now a whole
# model. Give the small one three updates, so that B is not zero, and then add each ΔW
# into the W of the copy without an adapter, by hand:

# %%
training_mode(tuned, use_gradient_checkpointing=False)
thin = [p for p in tuned.parameters() if p.requires_grad]
thin_optimizer = torch.optim.AdamW(thin, lr=plan.learning_rate)
losses = [update(tuned, thin_optimizer) for _ in range(3)]

# %%
with torch.no_grad():
    for name, branch in tuned.named_modules():
        if hasattr(branch, "lora_A"):
            twin = whole.get_submodule(name.removeprefix("base_model.model."))
            twin.weight += branch.get_delta_weight("default")
f"loss {losses[0]:.2f} → {losses[-1]:.2f}, then merged"

# %% [markdown]
# (`merge_and_unload()` does the same in one call, and drops the branches.) Are the two
# models the same function?

# %%
whole.eval()
tuned.eval()
beside = models.logits_of(tuned, small_tokenizer, text)
merged = models.logits_of(whole, small_tokenizer, text)
merge_difference = (beside - merged).abs().max()
ledger.record("C162", merged_logit_difference=merge_difference)

# %% [markdown]
# Up to rounding, yes. And what does the branch cost in time, at 128 tokens and at one?

# %%
from functools import partial


def forward(network, length):
    """A pass over the first tokens of the text, without gradients."""
    with torch.inference_mode():
        return network(input_ids=tokens[:, :length]).logits.sum()


lengths = {"128 tokens": 128, "1 token": 1}
slower = []
for length in lengths.values():
    pair = {"unmerged": tuned, "merged": whole}
    passes = {name: partial(forward, m, length) for name, m in pair.items()}
    taken = fastest(passes)
    slower.append(taken["unmerged"] / taken["merged"])

# %%
grouped_bars(
    list(lengths),
    {"unmerged": slower, "merged": [1.0, 1.0]},
    y_label="time, merged = 1",
    title=f"Unmerged, one token takes {slower[1]:.1f} times as long here",
    value_format="{:.2f}",
)

# %% [markdown]
# Merged, LoRA adds no latency: there is nothing left to add any. Unmerged it costs time
# in every pass, since each branch is two more small products. What merging gives up is
# the switch: several adapters over one base stay unmerged. And merging *into a 4-bit
# base* rounds a small ΔW away; notebook 07 shows that, and the way out.
#
# ## 9. What prepares a 4-bit model for training?
#
# PEFT's `prepare_model_for_kbit_training` casts every frozen 16-bit parameter to fp32.
# Predict its cost on Llama-3.1-8B: embedding, head and norms have 1,050,939,392 numbers,
# each 2 bytes more: 2.10 GB. The same for three models:

# %%
def upcast_bytes(architecture):
    """What casting embedding, head, norms and biases from 16 to 32 bit adds."""
    rest = architecture.parameters - architecture.linear_parameters
    return 2 * rest

# %%
ledger.record(
    "C098",
    smollm2_mb=upcast_bytes(smollm2) / 1e6,
    llama_8b_gb=upcast_bytes(llama) / 1e9,
    qwen_05b_gb=upcast_bytes(qwen) / 1e9,
    qwen_05b_body_gb=qwen.linear_parameters * (4 + 32 / 64) / 8 / 1e9,
)

# %% [markdown]
# For Qwen2.5-0.5B that is more than its whole 4-bit body (4 bits a weight and an fp32
# scale for each 64). Does the real function do it? Load a model with NF4 linear layers
# and a 16-bit rest, and look at the bytes before and after.

# %%
from peft import prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

packed = AutoModelForCausalLM.from_pretrained(
    models.model_location(small_plan),
    dtype=torch.bfloat16,
    quantization_config=BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4"
    ),
)
{str(p.dtype): p.dtype.itemsize for p in packed.parameters()}

# %%
from course_utils.memory.measured import tensor_bytes

before = tensor_bytes(packed)
prepare_model_for_kbit_training(packed)
after = tensor_bytes(packed)
before_mb, after_mb = before.total_bytes / 1e6, after.total_bytes / 1e6
f"{before_mb:.1f} MB before, {after_mb:.1f} MB after"

# %%
stacked_bars(
    ["as loaded", "prepared by PEFT"],
    {
        "4-bit codes": [b.packed_bytes / 1e6 for b in (before, after)],
        "their scales": [b.scale_bytes / 1e6 for b in (before, after)],
        "embedding, head, norms": [b.rest_bytes / 1e6 for b in (before, after)],
    },
    x_label="parameters, MB",
    title=f"PEFT doubles what is not 4-bit: {after_mb - before_mb:.1f} MB more",
    total_format="{:.0f}",
)

# %% [markdown]
# As reckoned. Is it needed? S2 says that training "would fail" without it. Take a 4-bit
# base straight to PEFT, make one backward pass, and count the B matrices with a gradient.

# %%
four_bit, _ = models.load_base(small_plan, profile, load_in_4bit=True)
modules = list(small_plan.target_modules)
unprepared = get_peft_model(four_bit, LoraConfig(r=16, target_modules=modules))
step(unprepared.train())
grads = [p.grad for n, p in unprepared.named_parameters() if "lora_B" in n]
alive = sum(g is not None and bool(g.abs().max() > 0) for g in grads)
ledger.record("C099", branches_with_gradient=alive, branches=len(grads))

# %% [markdown]
# It trains. The gradients that the function switches on at the inputs matter for the
# reentrant kind of checkpointing, which drops a block whose inputs need none.
#
# What does Unsloth do in its place? Its source can be read without importing it. The
# function of the same name hands over to one of its own: with which settings?

# %%
import ast
from importlib.util import find_spec
from pathlib import Path

unsloth_folder = Path(find_spec("unsloth").origin).parent

# %%
# NBVAL_CHECK_OUTPUT
syntax = ast.parse((unsloth_folder / "models" / "_utils.py").read_text("utf-8"))
for node in ast.walk(syntax):
    name = getattr(node, "name", "")
    if name == "prepare_model_for_kbit_training":
        print(ast.unparse(node.body[-1]).replace(", ", ",\n    "))

# %% [markdown]
# `train_embedding = False, train_lm_head = False`: only A and B are brought to fp32, the
# frozen embedding and head stay as loaded. On an 8B that is the 2.1 GB. S0 says that
# Unsloth "manually optimises the backward pass". Which hand-written gradients and Triton
# kernels does the package hold?

# %%
def is_written_by_hand(node):
    """A class that derives its own backward pass."""
    if not isinstance(node, ast.ClassDef):
        return False
    return any("autograd.Function" in ast.unparse(base) for base in node.bases)

# %%
kernels = sorted((unsloth_folder / "kernels").rglob("*.py"))
trees = {path: ast.parse(path.read_text("utf-8")) for path in kernels}
nodes = [node for tree in trees.values() for node in ast.walk(tree)]
by_hand = sorted(node.name for node in nodes if is_written_by_hand(node))
print(*by_hand, sep="\n")

# %%
def decorators(tree):
    """Every decorator in a file, spelled out."""
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    return [ast.unparse(mark) for node in nodes for mark in node.decorator_list]

# %%
triton = [tree for tree in trees.values() if "triton.jit" in decorators(tree)]
for_lora = [name for name in by_hand if name.startswith("LoRA_")]
ledger.record("C020", lora_functions=len(for_lora), triton_files=len(triton))

# %% [markdown]
# Hand-derived backward passes for LoRA's MLP, its query-key-value group and the single
# matrix; Triton for norms, rotary positions, activations and cross-entropy. On a CPU none
# of them runs: there it is plain PyTorch.
#
# ## 10. Where does the memory go?
#
# Adam keeps two fp32 moments for each trained number, so full tuning of Llama-3.1-8B needs
# 8 × 8.03 = 64.2 GB for them alone.

# %%
moments = 4 + 4
ledger.record(
    "C116",
    bytes_per_parameter=moments,
    llama_8b_gb=llama.parameters * moments / 1e9,
)

# %% [markdown]
# "Mixed precision saves memory": count the static bytes of one parameter. In fp32:
# weight 4, gradient 4, moments 8. In mixed precision: weight 2, gradient 2, fp32 master
# copy 4, moments 8.

# %%
ledger.record(
    "C134", fp32_bytes=4 + 4 + moments, mixed_bytes=2 + 2 + 4 + moments
)

# %% [markdown]
# No byte saved: the master copy takes back what the halves gave. Activations shrink, and
# the arithmetic is faster. LoRA removes the gradients, the master copy and the moments of
# all frozen weights: how much is that on an 8B?

# %%
ledger.record(
    "C119",
    full_states_gb=llama.parameters * (2 + 4 + moments) / 1e9,
    lora_states_gb=llama_lora * (4 + 4 + moments) / 1e9,
)

# %% [markdown]
# From 112 GB to well under one. So what is left? The course's planner adds the parts up,
# activations and logits included (an estimate; notebook 01 holds its weights against a
# measurement). Batch 2 × 512 tokens, checkpointing on:

# %%
from course_utils.memory.planner import plan_memory

shared = {"rank": rank, "batch_size": 2, "sequence_length": 512}
methods = ("full", "lora", "qlora")
plans = {method: plan_memory(llama, method, **shared) for method in methods}
{name: f"{p.total_bytes / 2**30:.1f} GiB" for name, p in plans.items()}

# %%
import matplotlib.pyplot as plt
from course_utils.memory.widget import plot_memory_plans

figure, axes = plt.subplots(figsize=(8.5, 3.4))
plot_memory_plans(axes, plans)

# %% [markdown]
# Full tuning needs many cards. LoRA removes what training adds, and the 16-bit weights
# alone still fill a T4. Only the 4-bit base makes an 8B fit: on a free card it is
# *quantization*, not LoRA, that opens the door. S3 says that the weights are "the smallest
# part". Weights over weights + gradients + optimizer (adapter included):

# %%
shares = {name: p.weight_bytes / p.static_bytes for name, p in plans.items()}
ledger.record(
    "C131",
    full_share=shares["full"],
    lora_share=shares["lora"],
    qlora_share=shares["qlora"],
)

# %% [markdown]
# An eighth under full tuning, nearly everything under LoRA and QLoRA. Ask "under which
# method?" before you agree. Try your own model, rank and length (sliders in a live
# session; the picture above stays for readers on GitHub):

# %%
from course_utils.memory.widget import memory_planner

memory_planner(architectures)

# %% [markdown]
# ### ●●○ Exercise 3 · Will it fit? (5 minutes)
#
# *Why it matters: this is the question behind most memory questions in interviews.*
#
# How many static GB does a run with an adapter take? The base costs its bytes a parameter and nothing else; the adapter is in fp32
# with an fp32 gradient and Adam's two moments.

# %% tags=["exercise"]
def static_gigabytes(
    base_parameters: int, bytes_per_weight: float, adapter_parameters: int
) -> float:
    """Weights, adapter, gradients and Adam's states in GB (1e9 bytes)."""
    return TODO


# %% tags=["check"]
no_states = "the adapter's gradients and moments are missing: 4 + 4 + 8 bytes."
only_base = "that is the base alone."
trained_base = "the frozen base has no gradients and no moments."
check(
    static_gigabytes,
    Case(
        (8_000_000_000, 2, 40_000_000),
        16.64,
        {16.16: no_states, 16.0: only_base, 128.64: trained_base},
    ),
    Case(
        (8_000_000_000, 0.75, 40_000_000),
        6.64,
        {6.16: no_states, 6.0: only_base, 118.64: trained_base},
    ),
)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Two products: all base parameters times their stored bytes, and the adapter's
# parameters times 16. Divide by 1e9.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def static_gigabytes(
#     base_parameters: int, bytes_per_weight: float, adapter_parameters: int
# ) -> float:
#     """Weights, adapter, gradients and Adam's states in GB (1e9 bytes)."""
#     base = base_parameters * bytes_per_weight
#     adapter = adapter_parameters * (4 + 4 + 4 + 4)
#     return (base + adapter) / 1e9
# ```
# </details>
#
# ## What only a source can tell
#
# | Claim | Verdict | What the source says |
# |---|---|---|
# | C021, S0: Unsloth is twice as fast *because it reduces memory fragmentation* | wrong | The installed source shows fused kernels, hand-written gradients and the order of LoRA's products; chunked cross-entropy and offloaded checkpoints save memory. The vendor's table of January 2024 (Hugging Face blog) gives 1.5 to 2 times for 7B models on a T4 |
# | C096, S2: attention modules are the most important | wrong | QLoRA (arXiv:2305.14314, figure 2, recalled) needed every linear layer to match full tuning; LoRA Without Regret (2025, read in summary) and arXiv:2405.09673 find the MLP alone ahead of attention alone |
# | C163, S4: alpha is r or 2r, r from 4 to 128 | right | Unsloth's guide gives the same rule; QLoRA with r = 64, α = 16 (recalled) is the exception |
#
# ## When it goes wrong
#
# | Symptom | Cause | Way out |
# |---|---|---|
# | `Target modules {…} not found in the base model` | The names are another family's (`c_attn`, `query_key_value`) | Print `named_modules()` of the base and take the names from there |
# | The loss does not move from the first step on | Nothing requires a gradient: the base was wrapped twice, or set to evaluation with reentrant checkpointing | Count `requires_grad` parameters; after one backward pass B must have a gradient |
# | Out of memory although the weights fit | Logits: batch × length × vocabulary × 4 bytes, several times | Smaller batch, shorter sequences, accumulation; checkpointing does not help there |
# | A higher rank gives a worse result | Alpha stayed, so α/r shrank | Keep α/r, or use rsLoRA |
# | The merged model answers like the base | ΔW was rounded away by merging into 4-bit weights | Merge into 16- or 32-bit weights, then quantize (notebook 07) |
#
# ## In the interview

# %%
from course_utils.evidence.cards import show_cards

show_cards("02", ledger)

# %%
assert not ledger.missing(), ledger.missing()

# %% [markdown]
# ## You can now …

# %%
print(
    f"… write ΔW = (α/r)BA: B is {tuple(B.shape)}, A is {tuple(A.shape)}.\n"
    f"… say why a fresh adapter moves the logits by {logit_difference:g}.\n"
    f"… count: {trainable_count:,} trained numbers here,",
    f"{llama_lora:,} on an 8B.\n"
    f"… say what LoRA costs: a step took {step_ratio:.2f} of the time",
    "of a full step (2/3 of the arithmetic).\n"
    f"… trade memory for time: checkpointing kept {saving:.1f} times less",
    f"for {time_ratio:.2f} times the time.\n"
    f"… merge: logits moved by {merge_difference:.1g}; unmerged, one token",
    f"took {slower[1]:.1f} times as long.",
)

# %% [markdown]
# ## What this run does not show
#
# - Whether the adapter learns anything useful: a few steps on one text train nothing.
#   That is notebook 03.
# - Which rank is best: that needs held-out loss on a task (notebook 04).
# - The speed of Unsloth's kernels, which need a GPU. Times here are the fastest of
#   five passes on a shared machine; ratios move by a tenth or two from run to run.
# - Activations of the 8B: the planner estimates them, no measurement stands behind it
#   here.
#
# ## Sources
#
# - LoRA: arXiv:2106.09685 (recalled: §4.1 shapes, start and scale; §4.2 GPT-3).
# - QLoRA: arXiv:2305.14314 (recalled: r = 64, α = 16; figure 2).
# - rsLoRA: Kalajdzievski 2023, read in summary.
# - LoRA Without Regret, Thinking Machines 2025, read in summary (2/3 of the arithmetic).
# - Training Deep Nets with Sublinear Memory Cost: arXiv:1604.06174 (checkpointing).
# - ZeRO §3.1 (recalled: 16 bytes a parameter); Mixed Precision Training: arXiv:1710.03740.
# - Installed source of peft 0.21.2 and unsloth 2026.10.9.
#
# ## Run record

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "02",
    profile,
    headline=f"{counted:,} trained parameters on Qwen2.5-0.5B, not 2,359,296",
    seed=plan.seed,
)

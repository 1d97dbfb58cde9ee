# %% [markdown]
# # 01 · How many bytes does a language model need, and what do four bits cost?
#
# <!-- colab badge -->
#
# A model with 8 billion parameters does not fit on a free GPU in 16 bits; in 4 bits it
# does. What is stored, and how much worse does the model become?
#
# **You will be able to**
#
# - name the seven matrices of a transformer block, and choose between fp32, fp16 and
#   bf16,
# - derive NF4's code book and quantize a block of weights by hand,
# - predict the size of a 4-bit model from its config, within five percent,
# - load a model in any format with transformers and Unsloth, and ask it,
# - say which way of tuning fits on which card, and how far to trust the plan.
#
# **Time and memory.** About 45 minutes to read, two thirds for the code. It runs 3
# minutes in 2.7 GiB on two CPU cores (measured); on a T4 with the 8B model 8 minutes,
# mostly download, in 7 GiB of GPU memory (estimated).

# %% tags=["first-cell"]
pass

# %% [markdown]
# The course's project is a movie recommender. `plan` is its recipe on this machine: an
# 8B model on a GPU, on a CPU SmolLM2 with 135 million parameters.

# %%
from course_utils.model import loading as models  # first of all
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style
from course_utils.recipes.book import MOVIE_RECOMMENDER as recipe

use_course_style()
profile = check_machine()

# %%
plan = recipe.plan_for(profile.name, profile.model_override)
plan.model.name

# %% [markdown]
# ## 1. What there is to store
#
# A language model reads *tokens*, pieces of words. The **embedding** is a table with
# one row of numbers for each token. A token's row passes through equal **blocks**, and
# each adds something to it. At the end the **output head** compares the result with
# every token; the best match is the next one. What is inside a block?

# %%
from course_utils.model.architectures import load_architectures
from course_utils.model.drawing import draw_block

architectures = load_architectures()
llama = architectures["llama-3.1-8b"]
draw_block(llama);

# %% [markdown]
# Seven matrices. (A *norm* rescales the row; SiLU is a smooth switch.) In the
# **attention** part, q_proj, k_proj and v_proj make a *query*, a *key* and a *value* of
# each token; the query is compared with the keys of earlier tokens, their values are
# mixed, and o_proj brings the mixture back. In the **MLP** part, gate_proj and up_proj
# widen the row, and down_proj narrows it. Keys and values of earlier tokens are kept
# while a model writes: the **KV cache**.
#
# In many small models the output head *is* the embedding: it is **tied**, and takes
# memory once. This matters, since 4-bit loading packs the seven matrices only.
#
# ## 2. Number formats: range against precision
#
# A floating-point number has a sign, $e$ bits of exponent, which decide the *range*,
# and $m$ bits of fraction, which decide the *precision*, the step from 1 to the next
# number:
#
# $$\text{largest} = (2 - 2^{-m})\; 2^{\,2^{e-1}-1}, \qquad \text{step} = 2^{-m}.$$
#
# What does torch say of three formats?

# %% tags=["nbval-check-output"]
import torch

for dtype in [torch.float32, torch.bfloat16, torch.float16]:
    info = torch.finfo(dtype)
    print(f"{dtype}: largest {info.max:.3g}, step {info.eps:.2g},", end=" ")
    print(f"smallest of full precision {info.smallest_normal:.2g}")

# %% [markdown]
# bf16 is fp32 without its last 16 bits: the same range, coarse steps. fp16 has three
# bits fewer for the exponent and three more for the fraction. Predict: what happens
# beyond the largest number, below the smallest, and between two numbers?

# %% tags=["nbval-check-output"]
too_large = torch.tensor(70_000.0).to(torch.float16)
too_small = torch.tensor(0.000_000_02).to(torch.float16)
too_fine = torch.tensor(1 + 0.003).to(torch.bfloat16)
too_large.item(), too_small.item(), too_fine.item()

# %% [markdown]
# Infinity, zero and one. In fp16 a large number **overflows** and a small one
# **underflows**; bf16 loses the 0.003, because its step at 1 is 0.0078. How large is
# the step, relative to the number, at other sizes?

# %%
import numpy as np

from course_utils.plots import REFERENCE, framed

sizes = 2.0 ** np.arange(-24, 16)  # powers of two
spacing = np.spacing(sizes.astype(np.float16)).astype(float)
axes = framed(
    title="fp16 is finer between 0.00006 and 65,504, and fails outside",
    x_label="size of the number",
    y_label="step to the next number, relative",
)
axes.loglog(sizes, spacing / sizes, label="fp16", color="#8a5fb0")
axes.axhline(2**-7, label="bf16, from 1e-38 to 3e38", color="#3a8f5c")
edges = {2**-14: " less precise to the left", 65_504: "overflow "}
for (edge, told), side in zip(edges.items(), ("left", "right")):
    axes.axvline(edge, **REFERENCE)
    axes.text(edge, 0.02, told, ha=side, color="#4d4d4d")
axes.legend(loc="upper center");

# %% [markdown]
# Below 0.00006 fp16 loses precision step by step, and below 0.00000003 it rounds to
# zero. Many *gradients* are that small (how the error changes with each weight). So
# fp16 training multiplies its loss, the error, by a large factor, and divides the
# gradients again before the update (**loss scaling**). If a scaled gradient overflows,
# the update is skipped and the factor halved. bf16 needs no scaling.
#
# ### Are two or three digits enough?
#
# bf16 has no more. For *updating* a weight that is too few: a step smaller than half
# the distance to the next number is lost. Take bf16 weights of a usual spread, 0.02,
# and Adam, an optimizer whose step is about the learning rate. How many do not move at
# a rate of LoRA (which trains small added matrices), and at a tenth of it, usual for
# *full tuning* (of all weights)?

# %%
generator = torch.Generator().manual_seed(plan.seed)
weights = 0.02 * torch.randn(2**20, generator=generator).bfloat16()

for rate in (recipe.plan.learning_rate, recipe.plan.learning_rate / 10):
    still = weights - torch.tensor(rate).bfloat16() == weights
    print(f"rate {rate:.0e}: {still.float().mean():.1%} do not move")

# %% [markdown]
# At the lower rate most weights stay where they were. So *trained* numbers belong in
# fp32: all weights under full tuning (a "master copy"), or LoRA's small matrices.
# Frozen weights may be coarser. Which hardware has which format?
#
# | Card | CUDA capability | fp16 | bf16 | this course |
# |---|---|---|---|---|
# | P100 | 6.0 | yes | no | no: torch for CUDA 12.8 and newer lacks it |
# | T4 | 7.5 | fast | emulated, slow | fp16 |
# | A100, H100 | 8.0, 9.0 | fast | fast | bf16 |
# | CPU | – | slow | with AVX512-BF16, AMX or Arm BF16 | fp32 |
#
# `torch.cuda.is_bf16_supported()` says True on a T4: it counts emulation.
#
# ## 3. NF4 by hand
#
# ### The code book
#
# Four bits can name 16 values. INT4 takes evenly spaced ones. But trained weights lie
# close to a bell curve around zero. NF4 ("normal float") takes *quantiles* of the
# normal distribution: values between which about equally many weights fall, eight steps
# up from the middle, seven down and an exact zero, all divided by the largest. (The
# curve never ends: 1 − (1/30 + 1/32)/2 = 0.9677 stands for 1.) Are these the levels of
# bitsandbytes, the library behind 4-bit loading?

# %% tags=["nbval-check-output"]
from bitsandbytes.functional import get_4bit_type

outermost = 1 - (1 / 30 + 1 / 32) / 2
upper = torch.special.ndtri(torch.linspace(0.5, outermost, 9))  # quantiles
lower = torch.special.ndtri(torch.linspace(1 - outermost, 0.5, 8))
levels = torch.cat([lower, upper[1:]]) / upper.max()

nf4 = get_4bit_type("nf4", device="cpu")
torch.testing.assert_close(levels, nf4, rtol=0, atol=1e-6)
print([round(level, 4) for level in nf4.tolist()])

# %%
bell = torch.distributions.Normal(0, 1 / upper.max())
x = torch.linspace(-1.3, 1.3, 400)
axes = framed(
    title="NF4's levels are close together where normal weights are",
    x_label="weight, as a part of the largest weight of its block",
    y_label="density of normal weights",
)
density = bell.log_prob(x).exp()
axes.fill_between(x, density, color="#d9d9d9", label="normal weights")
heights = bell.log_prob(nf4).exp()
axes.vlines(nf4, 0, heights, color="#3a8f5c", label="levels of NF4")
style = {"color": "#8a5fb0", "markersize": 12}
evenly = torch.arange(-7, 8) / 7
axes.plot(evenly, [-0.06] * 15, "|", label="symmetric INT4", **style)
axes.legend(loc="upper left", fontsize=9);

# %% [markdown]
# They are, to six digits. "NF4 spends fewer bits on extreme values" is a common answer,
# and wrong: each code has four bits. What differs is the *gap* between two levels, 0.30
# at the left end and 0.08 beside zero.
#
# ### One block, printed whole
#
# Weights come in blocks, each divided by its largest absolute value, the *absmax*, to
# fit into −1 … 1. Stored are the number of the nearest level, 0 to 15, and the absmax
# as the block's *scale*. A toy block: weights, scaled, codes, back.

# %% tags=["nbval-check-output"]
w = torch.tensor([0.03, -0.11, 0.20, 0.00, -0.40, 0.07, -0.02, 0.31])
absmax = w.abs().max()
codes = (w[:, None] / absmax - nf4).abs().argmin(dim=1)  # (weights,)
back = absmax * nf4[codes]
for row in (w, w / absmax, codes, back):
    print([round(number, 3) for number in row.tolist()])

# %% [markdown]
# The largest, −0.40, comes back exactly, as does zero; 0.31 became 0.289. Two codes
# share a byte: eight weights take four bytes, and the absmax four more.
#
# ### The same on a matrix, against bitsandbytes
#
# How many of a million weights, in blocks of 64, does the library give back
# differently? (`bucketize` finds the nearest level by the middles between levels.)

# %%
def quantize(blocks, levels):
    """Each weight of (blocks, size) as its nearest level times the absmax."""
    middles = (levels[1:] + levels[:-1]) / 2
    absmax = blocks.abs().amax(dim=1, keepdim=True)  # (blocks, 1)
    return levels[torch.bucketize(blocks / absmax, middles)] * absmax


# %% tags=["nbval-check-output"]
from bitsandbytes.functional import dequantize_4bit, quantize_4bit

normal = torch.randn(2**14, 64, generator=generator)  # (blocks, 64)
packed, state = quantize_4bit(normal, blocksize=64, quant_type="nf4")
library = dequantize_4bit(packed, state)
print("that differ:", (library != quantize(normal, nf4)).sum().item())
print("bytes:", packed.numel(), "for codes,", state.absmax.nbytes, "for scales")

# %% [markdown]
# None. The codes take half a byte a weight, the scales four bytes a block. NF4 needs no
# calibration data (texts by which other methods choose their rounding).
#
# ### ●○○ Exercise 1 · Bits per weight (4 minutes)
#
# *Why it matters: a file name says "4-bit", the size on disk says something else.*
#
# A format stores codes of `code_bits` bits, and for each block of `block_size` weights
# `scales` numbers of `scale_bits` bits. How many bits is that a weight?

# %% tags=["exercise"]
from course_utils.exercises import TODO, check


def bits_per_weight(
    code_bits: int, block_size: int, scale_bits: int, scales: int = 1
) -> float:
    """Bits that one weight takes, its share of the block's scales included."""
    return TODO


# %% tags=["check"]
check(bits_per_weight)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A block of 64 weights with one 32-bit scale has 64 × 4 + 32 bits in all.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def bits_per_weight(
#     code_bits: int, block_size: int, scale_bits: int, scales: int = 1
# ) -> float:
#     return code_bits + scales * scale_bits / block_size
# ```
#
# NF4: 4 + 32/64 = 4.5 bits. Q4_1, in GGUF files: blocks of 32, a 16-bit scale and a
# 16-bit minimum, so 5 bits.
# </details>
#
# ### Is NF4 better than INT4?
#
# Only a comparison at *equal bits* is fair. Symmetric INT4 has levels from −7 to 7.
# *Affine* INT4 puts 16 even steps between a block's smallest and largest weight, and so
# stores two numbers. All scales count 16 bits here; the error is the root of the mean
# squared difference. Which method wins on normal numbers, and which on evenly spread
# ones?

# %%
def affine(blocks):
    """Sixteen even levels between the block's smallest and largest weight."""
    low, high = blocks.aminmax(dim=1, keepdim=True)
    step = (high - low) / 15
    return low + step * ((blocks - low) / step).round()


methods = {  # name: scales a block, and what becomes of the blocks
    "NF4": (1, lambda blocks: quantize(blocks, nf4)),
    "symmetric INT4": (1, lambda blocks: quantize(blocks, evenly)),
    "affine INT4": (2, affine),
}

# %%
def error(method, numbers, size):
    """Root mean squared error, in the units of the numbers."""
    blocks = numbers.view(-1, size)
    return (methods[method][1](blocks) - blocks).square().mean().sqrt().item()


# %% tags=["nbval-check-output"]
import pandas as pd

even = 2 * torch.rand(2**14, 64, generator=generator) - 1
cases = [(m, size) for m in methods for size in (128, 64, 32, 16)]
errors = pd.DataFrame(cases, columns=["method", "block"])
errors["bits"] = [4 + 16 * methods[m][0] / size for m, size in cases]
errors["on normal"] = [error(m, normal, size) for m, size in cases]
errors["on even"] = [error(m, even, size) for m, size in cases]
errors.query("bits in (4.5, 5)").sort_values("bits").round(3)

# %%
axes = framed(
    title="On normal weights NF4 leads with few bits, affine INT4 with many",
    x_label="bits a weight, scales included (blocks of 128 to 16)",
    y_label="error (standard deviations)",
)
colours = iter(["#3a8f5c", "#8a5fb0", "#d9822b"])
for method, points in errors.groupby("method", sort=False):
    style = {"marker": "o", "color": next(colours), "label": method}
    axes.plot(points["bits"], points["on normal"], **style)
axes.legend();

# %% [markdown]
# On normal numbers NF4 leads affine INT4 at 4.5 bits, 0.087 to 0.090, and trails at 5
# bits, 0.081 to 0.078. On evenly spread numbers INT4 wins. The answer depends on the
# numbers, and on the bits spent on scales.
#
# ### Double quantization
#
# Double quantization stores the scales in 8 bits, in blocks of 256 scales with one fp32
# scale each:
#
# $$4 + \frac{32}{64} = 4.5 \qquad\text{against}\qquad
# 4 + \frac{8}{64} + \frac{32}{64 \cdot 256} = 4.127 .$$
#
# Does bitsandbytes store exactly that, and what error does it add?

# %% tags=["nbval-check-output"]
codes, state = quantize_4bit(normal, quant_type="nf4", compress_statistics=True)
scales = [state.absmax, state.offset, state.state2.absmax]
stored_bits = 8 * (codes.nbytes + sum(tensor.nbytes for tensor in scales))
error_now = (dequantize_4bit(codes, state) - normal).square().mean().sqrt()
print(f"{stored_bits / normal.numel():.3f} bits, error {error_now:.3f}")

# %% [markdown]
# The same error to three digits, for 0.37 bit less: 3.2 GB on a model of 70 billion
# parameters.
#
# ## 4. From weights to models
#
# bitsandbytes packs the seven matrices; embedding, output head and norms stay in 16
# bit. So with $N$ packed weights out of $P$ parameters
#
# $$\text{bytes} = N \cdot \frac{\text{bits}}{8} + (P - N) \cdot 2 .$$
#
# For Llama-3.1-8B in NF4: 6,979,321,856 × 4.5 / 8 = 3.93 GB, and 1,050,939,392 × 2 =
# 2.10 GB. A GB is a billion bytes; a GiB is 2³⁰ bytes, 7 % more. A "16 GB" card has 16
# GiB; a T4 leaves you about 14.7, because error correction and the driver keep the
# rest.
#
# Is 4-bit four times smaller than 16-bit? Four models, predicted from their shapes:

# %% tags=["nbval-check-output"]
def predicted_bytes(architecture, bits, rest_bytes=2):
    """Weights of a model whose block matrices take `bits` each."""
    rest = architecture.parameters - architecture.linear_parameters
    return architecture.linear_parameters * bits / 8 + rest * rest_bytes


names = ["llama-3.1-8b", "mistral-7b", "qwen2.5-0.5b", "smollm2-135m"]
chosen = [architectures[name] for name in names]
bits = {"bf16": 16, "NF4": 4.5, "NF4 double": 4.127}
gigabytes = {
    label: [predicted_bytes(model, b) / 1e9 for model in chosen]
    for label, b in bits.items()
}
table = pd.DataFrame(gigabytes, index=[model.title for model in chosen])
table["bf16 / NF4"] = table["bf16"] / table["NF4"]
table.round(2)

# %% [markdown]
# No model shrinks to a quarter. What takes the space?

# %%
codes = [m.linear_parameters / 2 / predicted_bytes(m, 4.5) for m in chosen]
parts = {
    "4-bit codes": [100 * code for code in codes],
    "scales": [100 * code / 8 for code in codes],  # 4 bytes for 32 of codes
    "embedding, head, norms": [100 - 112.5 * code for code in codes],
}

# %%
from course_utils.plots import stacked_bars

axes = stacked_bars(
    [model.title for model in chosen],
    parts,
    x_label="share of the model's bytes in NF4 (%)",
    title="Half of a small “4-bit” model is not 4-bit",
    total_format="",
)
axes.set_xlim(0, 100)
axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3);

# %% [markdown]
# The embedding decides. Mistral-7B has 32,000 tokens, Qwen2.5-0.5B 151,936 for rows of
# only 896 numbers. A common answer, "half a byte for each parameter", gives 4.0 GB for
# Llama-3.1-8B and is a third too low.
#
# ### ●●○ Exercise 2 · Predict the model that you load next (10 minutes)
#
# *Why it matters: "how much memory will it take?" is asked before the download.*
#
# `config` is what `model.config` holds: `hidden_size`, `intermediate_size`,
# `num_hidden_layers`, `num_attention_heads`, `num_key_value_heads`, `head_dim`,
# `vocab_size`, `tie_word_embeddings`. Count the bytes of the model in NF4, at 4.5 bits
# a packed weight; all other numbers take `rest_bytes` each. The shapes are those of
# section 1's drawing; k_proj and v_proj have `num_key_value_heads × head_dim` outputs.
# Each block has two norms of `hidden_size` numbers, and there is one at the end.

# %% tags=["exercise"]
def nf4_bytes(config, rest_bytes: int) -> float:
    """Bytes of a model in NF4, its rest in numbers of `rest_bytes`."""
    return TODO


# %% tags=["check"]
check(nf4_bytes)

# %% [markdown]
# <details><summary>Hint</summary>
#
# q_proj and o_proj have hidden × heads × head_dim weights, k_proj and v_proj hidden ×
# key-value heads × head_dim, the three of the MLP hidden × intermediate.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def nf4_bytes(config, rest_bytes: int) -> float:
#     hidden, layers = config.hidden_size, config.num_hidden_layers
#     queries = config.num_attention_heads * config.head_dim
#     keys = config.num_key_value_heads * config.head_dim
#     mlp = 3 * hidden * config.intermediate_size
#     block = 2 * hidden * queries + 2 * hidden * keys + mlp
#     tables = 1 if config.tie_word_embeddings else 2
#     rest = tables * config.vocab_size * hidden + (2 * layers + 1) * hidden
#     return layers * block * 4.5 / 8 + rest * rest_bytes
# ```
# </details>
#
# ## 5. Predict, then measure
#
# Now a real model, SmolLM2-135M, with plain transformers, where you choose how to pack.
# Three sizes: your prediction (from exercise 2), every tensor counted, and what
# `get_memory_footprint()` says.

# %%
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

small_plan = recipe.small_plan_for(profile.name, profile.model_override)
location = models.model_location(small_plan)  # a folder with SmolLM2's files

nf4_settings = BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type="nf4",  # the other choice is "fp4"
    bnb_4bit_use_double_quant=False,  # True: the scales in 8 bits as well
    bnb_4bit_compute_dtype=profile.compute_dtype,  # what they are unpacked to
)
packed_model = AutoModelForCausalLM.from_pretrained(
    location,
    quantization_config=nf4_settings,  # None loads the weights as they are
    dtype=profile.compute_dtype,  # of all that is not packed
    device_map={"": profile.device},  # the whole model on one device
)

# %%
from course_utils.memory.measured import tensor_bytes

rest_bytes = profile.compute_dtype.itemsize
true_bytes = tensor_bytes(packed_model).total_bytes
print("predicted:", nf4_bytes(packed_model.config, rest_bytes))
print("counted:  ", true_bytes)
print("reported: ", packed_model.get_memory_footprint())

# %% [markdown]
# The reported number is too small: `get_memory_footprint()` does not see the scales,
# which bitsandbytes keeps in `weight.quant_state`. (On a CPU the rest is in fp32: four
# bytes a number.)
#
# ### How normal are real weights?
#
# *Excess kurtosis* says how heavy the tails of a distribution are; a bell curve has
# zero. And the small model's matrices?

# %%
del packed_model
models.free_memory()  # `del` alone does not give a GPU's memory back
full = AutoModelForCausalLM.from_pretrained(location, dtype=torch.float32)
kurtosis = []
for matrix in (p.detach() for n, p in full.named_parameters() if "_proj" in n):
    z = (matrix - matrix.mean()) / matrix.std()
    kurtosis.append(z.pow(4).mean().item() - 3)
median_kurtosis = torch.tensor(kurtosis).median().item()
del full
f"median {median_kurtosis:.1f}, largest {max(kurtosis):.1f}"

# %% [markdown]
# On SmolLM2 the median is about 1: roughly normal, with heavier tails. Besides, the
# course's copy came from a file in Q4_1, so what follows is the cost of going to 4 bits
# *again*.
#
# ### What each format costs
#
# Quality is measured as **loss** on a page of prose written for this course: the mean
# of −ln(p), where p is the probability that the model gave to the token that really
# came next. Its unit is the **nat**: 3.2 nats a token mean a (geometric) mean
# probability of $e^{-3.2}$ = 4 %, and 0.2 nats more a probability 18 % lower.

# %%
from transformers import AutoTokenizer

from course_utils.places import DATA_FOLDER

prose = (DATA_FOLDER / "text" / "general.txt").read_text(encoding="utf-8")
encoded = AutoTokenizer.from_pretrained(location)(prose, return_tensors="pt")
tokens = encoded.input_ids.to(profile.device)  # (1, seq)
tuple(tokens.shape)

# %% [markdown]
# Of five ways to load the model, which will be smaller than bf16, and which worse?

# %%
from copy import copy

nf4_double = copy(nf4_settings)
nf4_double.bnb_4bit_use_double_quant = True
ways = {  # how the matrices are packed, and the dtype of the rest
    "fp32": (None, torch.float32),
    "bf16": (None, torch.bfloat16),
    "INT8": (BitsAndBytesConfig(load_in_8bit=True), profile.compute_dtype),
    "NF4": (nf4_settings, profile.compute_dtype),
    "NF4 double": (nf4_double, profile.compute_dtype),
}

# %%
import logging

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a line a layer


@torch.inference_mode()
def cost_of(way):
    """True and reported megabytes, and the loss in nats a token."""
    config, dtype = ways[way]
    model = AutoModelForCausalLM.from_pretrained(
        location,
        quantization_config=config,
        dtype=dtype,
        device_map={"": profile.device},
    )
    sizes = tensor_bytes(model).total_bytes, model.get_memory_footprint()
    loss = model(input_ids=tokens, labels=tokens).loss.item()
    return [size / 1e6 for size in sizes] + [loss]


# %%
columns = ["true MB", "reported MB", "loss"]
costs = pd.DataFrame({way: cost_of(way) for way in ways}, index=columns).T
costs["worse by"] = costs["loss"] - costs.loc["fp32", "loss"]
costs.round(3)

# %%
increase = costs.loc["NF4", "worse by"]
axes = framed(
    title=f"On this small model NF4 costs {increase:+.2f} nats a token, bf16 "
    f"{costs.loc['bf16', 'worse by']:+.3f}",
    x_label="true size (MB)",
    y_label="loss above fp32 (nats a token)",
)
axes.scatter(costs["true MB"], costs["worse by"], s=60, color="#3a8f5c")
axes.axhline(0, **REFERENCE)
for way, row in costs.iterrows():
    side = "right" if way == "NF4 double" else "left"
    place = row["true MB"], row["worse by"]
    axes.text(*place, f"  {way}  ", ha=side, va="bottom")
axes.margins(0.2);

# %% [markdown]
# On SmolLM2 bf16 and INT8 are nearly free, NF4 is not, and double quantization adds
# nothing that you could see. For a large model this is pessimistic: small models suffer
# more from rounding, and these weights were 4-bit before. What matters more, the loss
# *after* LoRA tuning on the 4-bit base, is measured in lesson 02.
#
# **And speed?** Not measured here. Fewer bytes can make writing faster, because each
# new token needs every weight once. But NF4 weights are unpacked before each product,
# and LLM.int8, the table's INT8, quantizes its inputs in each call. A quantized model
# is always smaller, and only sometimes faster.
#
# ## 6. The course's model, in four bits
#
# Unsloth's loader packs, patches and brings the tokenizer in one call. Is the model (on
# a T4 the 8B) really packed, and does the rule of section 4 hold, at 4.127 bits a
# packed weight?

# %%
from unsloth import FastLanguageModel

model, tokenizer = FastLanguageModel.from_pretrained(
    model_name=models.model_location(plan),  # a hub id, or a folder
    max_seq_length=plan.max_length,  # longest sequence in tokens
    dtype=profile.compute_dtype,  # of activations, and of what is not packed
    load_in_4bit=True,  # NF4 with double quantization
    revision=plan.model.revision,  # a commit on the hub; None: the newest
    use_exact_model_name=True,  # else Unsloth may take its own 4-bit copy
)
FastLanguageModel.for_inference(model);

# %%
state = model.model.layers[0].mlp.down_proj.weight.quant_state
print(f"{state.quant_type}, blocks of {state.blocksize}, double {state.nested}")
count = sum(type(m).__name__ == "Linear4bit" for m in model.modules())
print(count, "of", 7 * model.config.num_hidden_layers, "matrices are packed")

# %%
from course_utils.model.architectures import Architecture

shapes = Architecture.from_config(model.config, plan.model.name)
rest_bytes = model.get_input_embeddings().weight.element_size()
predicted = predicted_bytes(shapes, bits["NF4 double"], rest_bytes)
true_size = tensor_bytes(model).total_bytes
deviation = predicted / true_size - 1
assert abs(deviation) < 0.05
print(f"predicted {predicted / 1e6:,.1f}, true {true_size / 1e6:,.1f} MB")

# %% [markdown]
# It does, within five percent; double quantization is on by itself. (Some of Unsloth's
# GPU repositories leave a few matrices in 16 bits on purpose.)
#
# ### Ask it
#
# The **chat template** turns a conversation into the text that the model was trained
# on, with marks for each turn; `add_generation_prompt` ends it where the answer begins:

# %%
from course_utils.data.datasets import load_movies

requests = [row.request for row in load_movies("validation")[1:5]]
chats = [[{"role": "user", "content": request}] for request in requests]
text = tokenizer.apply_chat_template(
    chats[0], tokenize=False, add_generation_prompt=True
)
print(text)

# %% [markdown]
# `generate` appends one token after the other, until the model writes its end token.
# Shorter prompts of a batch are filled up with **padding**, on the left, so that each
# prompt ends where its answer begins:

# %%
inputs = tokenizer.apply_chat_template(
    chats,
    add_generation_prompt=True,
    return_tensors="pt",
    return_dict=True,  # token ids, and a mask that hides the padding
    padding=True,
    tokenizer_kwargs={"padding_side": "left"},
).to(model.device)
output = model.generate(
    **inputs,
    max_new_tokens=96,  # a limit, if the model does not stop by itself
    do_sample=False,  # the likeliest token: the same answer each time
    pad_token_id=tokenizer.pad_token_id,
)
new = output[:, inputs["input_ids"].shape[1] :]  # (requests, new tokens)
answers = tokenizer.batch_decode(new, skip_special_tokens=True)

# %% [markdown]
# The application needs one form: a bold title with the year, then genre, runtime and
# reason as three bullets, and nothing else. How many answers have it?

# %%
from course_utils.projects.movies.films import follows_form

for request, answer in zip(requests, answers):
    print(f"› {request}\n{answer.strip()}\n")
in_form = sum(follows_form(answer.strip()) for answer in answers)
print(in_form, "of", len(answers), "answers in the form")

# %% [markdown]
# Fine-tuning starts there: lesson 03. Later lessons load and ask with
# `models.load_base` and `models.answer`, which do the same.

# %%
del model, state, output, inputs, new
models.free_memory()

# %% [markdown]
# ## 7. Will it train? The memory planner
#
# Training adds to each trained number its gradient and two *moments*, running means
# that Adam keeps. Under full tuning in mixed precision that is
#
# 2 (weights) + 2 (gradients) + 4 (fp32 copy) + 4 + 4 (moments) = 16 bytes
#
# a parameter. (transformers' `fp16=True` keeps fp32 weights: 4 + 4 + 4 + 4.) With LoRA
# the 16 bytes count for the *adapter*, the added matrices, only. Does the planner
# agree?

# %%
from course_utils.memory.formulas import weight_bytes
from course_utils.memory.planner import TRANSFORMERS_LOGITS, plan_memory

plans = {name: plan_memory(llama, name) for name in ("full", "lora", "qlora")}
assert plans["full"].static_bytes == 16 * llama.parameters
llama_nf4 = weight_bytes(llama, "nf4")
assert llama_nf4 == predicted_bytes(llama, 4.5)
for name, memory in plans.items():
    print(f"{name:5} {memory.static_bytes / 1e9:6.1f} GB before activations")

# %% [markdown]
# 128 GB under full tuning, 17 GB with LoRA, 7 GB with QLoRA (LoRA on a 4-bit base). On
# a T4 both halves of the name are needed: with LoRA alone the 16-bit weights (15.0 GiB)
# do not load, and 4-bit codes, which have no gradient, cannot be trained without an
# adapter.
#
# Add the *activations*, results of each layer that the gradients need, and the
# **logits**, one score for each of the 128,256 tokens at each position. transformers'
# own loss holds them in fp32, and their gradient: 3.9 GiB for two rows of 2,048 tokens.
# Unsloth's works through them in chunks. For the recipe as its author runs it on a T4:

# %%
author = recipe.plan
run = dict(
    rank=author.rank,
    batch_size=author.batch_size,  # sequences
    sequence_length=author.max_length,  # tokens, the longest row
    optimizer=author.optimizer,
    gradient_checkpointing=author.gradient_checkpointing,
)
run

# %%
own_loss = plan_memory(llama, logit_copies=TRANSFORMERS_LOGITS, **run)
plans = {
    "LoRA on bf16, with Unsloth": plan_memory(llama, "lora", **run),
    "QLoRA, transformers' own loss": own_loss,
    "QLoRA, with Unsloth": plan_memory(llama, **run),
}

# %% [markdown]
# Is the plan right? Unsloth's own notebooks have stored what such runs took: same card,
# settings and shapes, other rows.

# %%
import matplotlib.pyplot as plt

from course_utils.memory.published import load_peaks
from course_utils.memory.widget import plot_memory_plans

runs = [r for r in load_peaks().values() if r.architecture == llama.name]
peaks = [r.peak_gib for r in runs]
planned = plans["QLoRA, with Unsloth"].total_bytes / 2**30
print(f"planned {planned:.1f} GiB, reported {min(peaks)} to {max(peaks)} GiB")
_, axes = plt.subplots(figsize=(9, 3.6))
reported = {"QLoRA, with Unsloth": peaks}
plot_memory_plans(axes, plans, reported_gib=reported);

# %% [markdown]
# The plan is no upper limit: the highest reported peak, of a run on long conversations,
# is a fifth above it. Weights and states are exact, activations estimates. So leave 2
# GiB free.
#
# **Gradient checkpointing** saves more than any other setting: it keeps one tensor a
# block and computes the rest again when the gradients need it. What if it is off? (In a
# running notebook, sliders stand below.)

# %%
from IPython.display import Image, display

from course_utils.memory.widget import memory_planner, plan_picture

without = run | {"gradient_checkpointing": False}
display(Image(plan_picture(plan_memory(llama, **without))))
memory_planner(architectures)

# %% [markdown]
# Without checkpointing the activations alone would not fit.
#
# ## When it goes wrong
#
# | Symptom | Cause | Way out |
# |---|---|---|
# | The memory count does not change with double quantization | `get_memory_footprint()` does not see the scales | Count `quant_state` too |
# | "4-bit" has the size of 16 bit | Layers narrower than 64 or a failed probe: on a CPU Unsloth then loads 16 bit, with a message only | Count `Linear4bit` in `model.modules()` |
# | The model is 5 % larger than predicted | A repository named `…-unsloth-bnb-4bit` leaves sensitive layers in 16 bit | `use_exact_model_name=True` |
# | Out of memory at the second model | `del model` alone keeps the memory with torch | `gc.collect()`, `torch.cuda.empty_cache()` |
# | Answers of a batch differ from single ones | Padding stands between prompt and answer | `padding_side="left"` |
#
# ## In the interview

# %%
from course_utils.evidence.cards import show_cards

show_cards("01")

# %% [markdown]
# ## The same on your project
#
# Without this course: give a hub id or a folder of yours. (The small model's answers
# are not always true.)

# %%
from unsloth import FastLanguageModel


def load_and_ask(model_name: str, question: str) -> str:
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=model_name, max_seq_length=2048, load_in_4bit=True
    )
    FastLanguageModel.for_inference(model)
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    ).to(model.device)
    output = model.generate(**inputs, max_new_tokens=64, do_sample=False)
    new = output[0, inputs["input_ids"].shape[1] :]
    return tokenizer.decode(new, skip_special_tokens=True)


print(load_and_ask(location, "What is a byte? Answer in one sentence."))

# %% [markdown]
# ## You can now …

# %%
print(
    f"… choose a format: this machine computes in {profile.compute_dtype}.\n"
    f"… quantize by hand: NF4 has an error of {error('NF4', normal, 32):.3f}",
    f"at 4.5 bits, affine INT4 {error('affine INT4', normal, 64):.3f}.\n"
    f"… predict: {predicted / 1e6:,.0f} MB for {plan.model.name},",
    f"{abs(deviation):.1%} from the true size.\n"
    f"… measure: NF4 costs the small model {increase:+.2f} nats a token.\n"
    f"… plan: QLoRA of an 8B model needs about {planned:.1f} GiB with Unsloth;",
    f"public runs took up to {max(peaks):.1f}.",
)

# %% [markdown]
# ## What this run does not show
#
# - What NF4 costs a large model, or one never quantized before.
# - Speed, and what a 4-bit base costs after tuning (lesson 02).
# - GPTQ and AWQ; GGUF comes in lesson 07.
# - Peak memory of our own on a T4: the marks are other people's runs, with older
#   releases.
#
# ## Sources
#
# - QLoRA, arXiv:2305.14314 (§3; derived and compared with the library).
# - Installed source: bitsandbytes 0.50 (`functional.create_normal_map`,
#   `quantize_4bit`, `autograd/_functions.py`), Unsloth 2026.10.9 (`models/llama.py` for
#   the fused loss, `unsloth_zoo/cpu/loader.py`).
# - Opened: PyTorch documentation, Automatic Mixed Precision, "Gradient Scaling";
#   github.com/unslothai/notebooks at bdda2ef, folder nb, for a T4's peaks and memory
#   (`data/memory_peaks.yaml`); github.com/YugalSingh624/LLM-Finetuning at 4e6b036,
#   mistral-7b.ipynb: Unsloth 2025.5.9 on a P100.
# - config.json of each model in `data/architectures.yaml`.

# %% tags=["hide-input"]
from course_utils.evidence.ledger import Ledger

ledger = Ledger("01", profile, recipe.name)
ledger.record(
    "C085",
    median_excess_kurtosis=median_kurtosis,
    largest_excess_kurtosis=max(kurtosis),
)
assert not ledger.missing(), ledger.missing()

# %% [markdown]
# ## Run record

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "01",
    profile,
    headline=f"Llama-3.1-8B in NF4: {llama_nf4 / 1e9:.2f} GB, not 4",
    seed=plan.seed,
)

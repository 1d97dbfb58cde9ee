# %% [markdown]
# # 01 · How many bytes does a language model need, and what do four bits cost?
#
# <!-- colab badge -->
#
# A model with 8 billion parameters does not fit on a free GPU in 16 bits, and in 4 bits
# it does. What is stored then, how large is it really, and how much worse does the model
# become?
#
# **You will be able to**
#
# - name the seven matrices of a transformer block and count a model's parameters,
# - choose between fp32, fp16 and bf16 for a given machine, and say why,
# - derive the code book of NF4 and quantize a block of weights by hand,
# - predict the size of a 4-bit model from its config, within five percent,
# - load a model in any format with transformers and with Unsloth, and ask it,
# - say which way of tuning fits on which card, and how far to trust the plan.
#
# **Time and memory.** It takes about 50 minutes to read. It runs about 3
# minutes and takes 2.7 GiB on two CPU cores (measured). On a T4 with the 8B model it
# takes about 8 minutes and 7 GiB of GPU memory, most of the time for the download (an
# estimate: the course has not been timed there).

# %% tags=["first-cell"]
pass

# %% [markdown]
# The course's project is a movie recommender. Its recipe says which model is tuned, and
# `plan` is what this machine makes of the recipe: an 8B model on a GPU, a model of 135
# million parameters, SmolLM2, on a CPU.

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
# A language model reads *tokens*, pieces of words. The **embedding** is a table with one
# row of numbers for each token of the vocabulary. The row then passes through a stack of
# equal **blocks**, and each block adds something to it. At the end the **output head**
# compares the result with every token, and the best match is the next token.
#
# What is inside a block? The shapes of eight models ship with the course.

# %%
from course_utils.model.architectures import load_architectures
from course_utils.model.drawing import draw_block

architectures = load_architectures()
llama = architectures["llama-3.1-8b"]
draw_block(llama);

# %% [markdown]
# Seven matrices. In the **attention** part, q_proj, k_proj and v_proj make a *query*, a
# *key* and a *value* of each token; the query is compared with the keys of earlier
# tokens, their values are mixed, and o_proj brings the mixture back. In the **MLP** part,
# gate_proj and up_proj widen the row, and down_proj narrows it again. While a model
# writes, keys and values of earlier tokens are kept, so that they are not computed again
# for each new token: this is the **KV cache**.
#
# The two tables of Llama-3.1, 128,256 × 4,096 numbers each, are an eighth of the model.
# In many small models the output head *is* the embedding: the embedding is **tied** and
# takes memory only once. This will matter below, since 4-bit loading packs the seven
# matrices and nothing else.
#
# ## 2. Number formats: range against precision
#
# How many bytes has one parameter? A floating-point number has a sign, some bits for the
# exponent and some for the fraction. The exponent decides the *range*. The fraction
# decides the *precision*: the step from 1 to the next number. With $e$ exponent bits and
# $m$ fraction bits
#
# $$\text{largest} = (2 - 2^{-m})\; 2^{\,2^{e-1}-1}, \qquad \text{step} = 2^{-m}.$$
#
# What does torch say of the formats that you meet in training code?

# %% tags=["nbval-check-output"]
import torch

for dtype in [torch.float32, torch.bfloat16, torch.float16]:
    info = torch.finfo(dtype)
    print(f"{dtype}: largest {info.max:.3g}, step {info.eps:.2g},", end=" ")
    print(f"smallest of full precision {info.smallest_normal:.2g}")

# %% [markdown]
# bf16 is fp32 without its last 16 bits: the same range, coarse steps. fp16 has three
# bits fewer for the exponent and three more for the fraction. What happens beyond the
# largest number, below the smallest, and between two numbers? Predict all three.

# %% tags=["nbval-check-output"]
too_large = torch.tensor(70_000.0).to(torch.float16)
too_small = torch.tensor(0.000_000_02).to(torch.float16)
too_fine = torch.tensor(1 + 0.003).to(torch.bfloat16)
too_large.item(), too_small.item(), too_fine.item()

# %% [markdown]
# Infinity, zero and one. In fp16 a large number **overflows** and a small one
# **underflows**; bf16 loses the 0.003, because its step at 1 is 0.0078. The next plot
# shows the step to the next number, relative to the number, for all sizes.

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
for edge, told in ((2**-14, " precision falls to the left"), (65_504, "")):
    axes.axvline(edge, **REFERENCE)
    axes.text(edge, 0.02, told, color="#4d4d4d")
axes.legend(loc="upper center");

# %% [markdown]
# Below 0.00006 fp16 loses precision step by step, and below 0.00000003 it rounds to
# zero. Many gradients are that small. That is why fp16 training multiplies its loss by a
# large factor, so that no gradient underflows, and divides the gradients again before
# the update (**loss scaling**). If a scaled gradient overflows, the update is skipped
# and the factor is halved. bf16 has two to three decimal digits at every size and needs
# no scaling.
#
# ### Are two or three digits enough?
#
# For *updating* a weight they are not: a step smaller than half the distance to the next
# number leaves the weight where it was. Take bf16 weights of a usual spread, 0.02, and
# Adam, whose step is about the learning rate. Which share of the weights does not move
# at a LoRA rate, and at a tenth of it, a usual rate of full tuning?

# %%
generator = torch.Generator().manual_seed(plan.seed)
weights = 0.02 * torch.randn(2**20, generator=generator).bfloat16()

for rate in (recipe.plan.learning_rate, recipe.plan.learning_rate / 10):
    still = weights - torch.tensor(rate).bfloat16() == weights
    print(f"rate {rate:.0e}: {still.float().mean():.1%} do not move")

# %% [markdown]
# At the lower rate most weights stay where they were. So numbers that are *trained*
# belong in fp32: all weights under full tuning (a "master copy"), and the two small
# matrices of a LoRA adapter. Weights that are not trained may be stored coarsely, as
# long as the answers stay good.
#
# ### Which hardware has which?
#
# | Card | CUDA capability | fp16 | bf16 | this course |
# |---|---|---|---|---|
# | P100 | 6.0 | no tensor cores | no | no: torch for CUDA 12.8 and newer has no code for it |
# | T4 | 7.5 | tensor cores | emulated, slow | fp16 |
# | A100, H100 | 8.0, 9.0 | tensor cores | tensor cores | bf16 |
# | CPU | – | slow | only with AVX512-BF16, AMX or Arm BF16 | fp32 |
#
# Native bf16 starts at capability 8.0, but `torch.cuda.is_bf16_supported()` says True on
# a T4: it counts emulation. (Does Unsloth run on a P100? It did once: a public log of
# 2025 shows it, with the torch of that year.)
#
# ## 3. NF4 by hand
#
# ### The code book
#
# Four bits can name 16 values. Which 16? INT4 takes evenly spaced ones. But trained
# weights lie close to a bell curve around zero. NF4 ("normal float") takes *quantiles* of
# the normal distribution: values between which about equally many weights fall. There
# are eight steps up from the middle, seven steps down, an exact zero, and all are divided
# by the largest. The outermost quantile cannot be 1, because the curve never ends; the
# library takes 1 − (1/30 + 1/32)/2 = 0.9677. Four lines make the levels, and the
# assertion holds them against the code book of bitsandbytes, the library behind 4-bit
# loading:

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
# Equal to six digits.
#
# "NF4 spends fewer bits on extreme values" is a common way to say it, and it is wrong:
# each code has four bits. What differs is the *gap* between two levels, 0.30 at the left
# end and 0.08 beside zero.
#
# ### One block, printed whole
#
# Weights come in blocks, and each block is divided by its largest absolute value, the
# *absmax*, so that it fits into −1 … 1. Each scaled weight takes the nearest level.
# Stored are the number of that level, 0 to 15, and the absmax. A toy block of eight:

# %% tags=["nbval-check-output"]
w = torch.tensor([0.03, -0.11, 0.20, 0.00, -0.40, 0.07, -0.02, 0.31])
absmax = w.abs().max()
codes = (w[:, None] / absmax - nf4).abs().argmin(dim=1)  # (weights,)
back = absmax * nf4[codes]
for row in (w, w / absmax, codes, back):
    print([round(number, 3) for number in row.tolist()])

# %% [markdown]
# −0.40, the largest, comes back exactly, and so does zero. 0.31 became 0.289. Two codes
# share a byte, so the eight weights take four bytes, and the absmax four more.
#
# ### The same on a matrix, against bitsandbytes
#
# Now a million weights in blocks of 64, as bitsandbytes does it. The nearest level is
# found by comparing with the middles between levels, which is the same and faster. How
# many weights does the library give back differently?

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
# None. Half a byte a weight for the codes, and one fp32 scale for 64 weights. The
# function took a tensor and nothing else: NF4 needs no calibration data.
#
# ### ●○○ Exercise 1 · Bits per weight (4 minutes)
#
# *Why it matters: a file name says "4-bit" or "q4", and the size on disk says something
# else. The block size explains it.*
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
#     """Bits that one weight takes, its share of the block's scales included."""
#     return code_bits + scales * scale_bits / block_size
# ```
#
# NF4 is 4 + 32/64 = 4.5 bits. GGUF's Q4_1, blocks of 32 with a 16-bit scale and a
# 16-bit minimum, is 5 bits. The course's small model comes in that format.
# </details>
#
# ### Is NF4 better than INT4?
#
# Only a comparison at *equal bits* is fair. Symmetric INT4 has levels from −7 to 7.
# *Affine* INT4 puts 16 even steps between the smallest and the largest weight of a
# block, and so stores two numbers a block. Smaller blocks follow the weights better and
# cost more bits. All scales count 16 bits here, as GGUF stores them. The error is the
# root of the mean squared difference, on normal numbers, which NF4 was made for, and on
# evenly spread ones. Predict which method wins where.

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
# On normal numbers at 4.5 bits NF4 has an error of 0.087 and affine INT4 of 0.090; at 5
# bits the order is reversed, 0.081 against 0.078. On evenly spread numbers INT4 always
# wins. So "NF4 is more accurate than INT4 with the same 4 bits" depends on the numbers
# and on the bits that are spent on scales.
#
# ### Double quantization
#
# One fp32 scale for 64 weights is half a bit a weight. Double quantization stores the
# scales themselves in 8 bits, in blocks of 256 scales with one fp32 scale each:
#
# $$4 + \frac{32}{64} = 4.5 \qquad\text{against}\qquad
# 4 + \frac{8}{64} + \frac{32}{64 \cdot 256} = 4.127 .$$
#
# Does bitsandbytes store exactly that? Count the bytes of the million weights, with
# everything that is needed to get them back, and the error that it adds.

# %% tags=["nbval-check-output"]
codes, state = quantize_4bit(normal, quant_type="nf4", compress_statistics=True)
scales = [state.absmax, state.offset, state.state2.absmax]
stored_bits = 8 * (codes.nbytes + sum(tensor.nbytes for tensor in scales))
error_now = (dequantize_4bit(codes, state) - normal).square().mean().sqrt()
print(f"{stored_bits / normal.numel():.3f} bits, error {error_now:.3f}")

# %% [markdown]
# The same error to three digits, for 0.37 bit less. On a model of 70 billion parameters
# that is 3.2 GB. (Two small tables that each matrix carries are left out: 1,088 bytes.)
#
# ## 4. From weights to models
#
# bitsandbytes packs the seven matrices of each block. The embedding, the output head and
# the norms stay in 16 bit. So with $N$ packed weights out of $P$ parameters
#
# $$\text{bytes} = N \cdot \frac{\text{bits}}{8} + (P - N) \cdot 2 .$$
#
# For Llama-3.1-8B in NF4: 6,979,321,856 × 4.5 / 8 = 3.93 GB, and 1,050,939,392 × 2 =
# 2.10 GB. Say which unit you mean: a GB is a billion bytes, a GiB is 2³⁰ bytes, 7 %
# more. Files are given in GB. Memory is built in powers of two, so a "16 GB" card has
# 16 GiB; a T4 leaves you about 14.7 of them, because error correction and the driver
# keep the rest.
#
# Does 4-bit make a model four times smaller than 16-bit? Four models, predicted from
# their shapes alone, without a download:

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
# The embedding decides. Mistral-7B has 32,000 tokens, and nearly all of its weight is in
# the blocks; Qwen2.5-0.5B has 151,936 tokens for rows of only 896 numbers. A common
# interview answer, "half a byte for each parameter", gives 4.0 GB for Llama-3.1-8B and
# is a third too low.
#
# ### ●●○ Exercise 2 · Predict the model that you load next (10 minutes)
#
# *Why it matters: "how much memory will it take?" is the first question before any run,
# and a model's config answers it before a single byte is downloaded.*
#
# `config` is what `model.config` holds: `hidden_size`, `intermediate_size`,
# `num_hidden_layers`, `num_attention_heads`, `num_key_value_heads`, `head_dim`,
# `vocab_size`, `tie_word_embeddings`. Count the bytes of the model in NF4, at 4.5 bits a
# packed weight; all other numbers take `rest_bytes` each. The drawing of section 1 shows
# the shapes: k_proj and v_proj have `num_key_value_heads × head_dim` outputs. Each block
# has two norms of `hidden_size` numbers, and there is one at the end.

# %% tags=["exercise"]
def nf4_bytes(config, rest_bytes: int) -> float:
    """Bytes of a model in NF4, its rest in numbers of `rest_bytes`."""
    return TODO


# %% tags=["check"]
check(nf4_bytes)

# %% [markdown]
# <details><summary>Hint</summary>
#
# One block: q_proj and o_proj have hidden × heads × head_dim weights each, k_proj and
# v_proj hidden × key-value heads × head_dim, and the three of the MLP hidden ×
# intermediate.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def nf4_bytes(config, rest_bytes: int) -> float:
#     """Bytes of a model in NF4, its rest in numbers of `rest_bytes`."""
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
# Now a real model, small enough to be held in every format on every machine:
# SmolLM2-135M. It is loaded with plain transformers here, because there each format can
# be chosen. `BitsAndBytesConfig` says how to pack. How large is the model then? Three
# numbers: your prediction, every tensor counted, and what `get_memory_footprint()` says.

# %%
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

small_plan = recipe.plan_for({"t4": "cpu"}.get(profile.name, profile.name))
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
# which bitsandbytes keeps in `weight.quant_state`. On a CPU the course computes in fp32,
# so there the rest takes four bytes a number and not two.
#
# ### How normal are real weights?
#
# NF4 assumes a bell curve. *Excess kurtosis* says how heavy the tails of a distribution
# are; it is zero for a normal one. What is it for the matrices of the small model?

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
# On SmolLM2 the median is about 1: roughly normal, with heavier tails than NF4 assumes,
# and one matrix is far off. These weights have one more property. The course's copy came
# from a file in Q4_1, so they have been 4-bit once before. What is measured next is the
# cost of quantizing *again*, on another grid.
#
# ### What each format costs
#
# Quality is measured as **loss** on a page of prose that was written for this course.
# The loss is the mean of −ln(p), where p is the probability that the model gave to the
# token that really came next. Its unit is the **nat**: 3.2 nats a token mean a
# probability of $e^{-3.2}$ = 4 % for the right token (as a geometric mean), and 0.2 nats
# more mean a probability 18 % lower.

# %%
from transformers import AutoTokenizer

from course_utils.places import DATA_FOLDER

prose = (DATA_FOLDER / "text" / "general.txt").read_text(encoding="utf-8")
encoded = AutoTokenizer.from_pretrained(location)(prose, return_tensors="pt")
tokens = encoded.input_ids.to(profile.device)  # (1, seq)
tuple(tokens.shape)

# %% [markdown]
# Five ways to load the same model. Which of them will be smaller than bf16 on this
# machine, and which of them worse?

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
    f"{costs.loc['bf16', 'worse by']:+.2f}",
    x_label="true size (MB)",
    y_label="loss above fp32 (nats a token)",
)
axes.scatter(costs["true MB"], costs["worse by"], s=60, color="#3a8f5c")
axes.axhline(0, **REFERENCE)
for way, row in costs.iterrows():
    side = "top" if way == "NF4 double" else "bottom"
    axes.text(row["true MB"], row["worse by"], f"  {way}", va=side)
axes.margins(0.2);

# %% [markdown]
# On SmolLM2 bf16 and INT8 are nearly free, and NF4 is not. Double quantization adds
# nothing that you could see. Two things make these numbers pessimistic for a large
# model: small models suffer more from rounding, and these weights sat on another 4-bit
# grid before. One page of text is also a small sample. Lesson 02 asks the question that
# matters more: how much worse is the model *after* LoRA tuning on the 4-bit base?
#
# **And speed?** It is not measured here. Fewer bytes can make writing faster, because
# each new token needs every weight once. But the time depends on the *kernel*, the
# program that multiplies. NF4 weights are unpacked to 16 or 32 bit before each product.
# LLM.int8 multiplies in 8 bits, but has to quantize the activations in each call and to
# rescale the result. So a quantized model is always smaller, and only sometimes faster.
#
# ## 6. The course's model, in four bits
#
# Fine-tuning goes through Unsloth, whose loader packs, patches and brings the tokenizer
# in one call. On a T4 this is the 8B model. Is it really packed, and how? And does the
# rule of section 4 hold for it, at 4.127 bits a packed weight?

# %%
from unsloth import FastLanguageModel

model, tokenizer = FastLanguageModel.from_pretrained(
    model_name=models.model_location(plan),  # a hub id, or a folder
    max_seq_length=plan.max_length,  # longest sequence in tokens
    dtype=profile.compute_dtype,  # of activations, and of what is not packed
    load_in_4bit=True,  # NF4 with double quantization
    revision=plan.model.revision,  # a commit on the hub; None: the newest
)
FastLanguageModel.for_inference(model);

# %%
state = model.model.layers[0].mlp.up_proj.weight.quant_state
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
# It does, within five percent. Double quantization is on without being asked for: the
# loader sets it. (On a GPU some of Unsloth's repositories leave a few matrices in 16
# bits on purpose; the count then says so.)
#
# ### Ask it
#
# Three steps make an answer. The **chat template** turns a conversation into the text
# that the model was trained on, with marks for each turn. `generate` appends one token
# after the other, until the model writes its end token. `batch_decode` turns the new
# tokens into text. Four requests of people who want a film; what does one prompt look
# like?

# %%
from course_utils.data.datasets import load_movies

requests = [row.request for row in load_movies("validation")[1:5]]
chats = [[{"role": "user", "content": request}] for request in requests]
text = tokenizer.apply_chat_template(
    chats[0], tokenize=False, add_generation_prompt=True
)
print(text)

# %% [markdown]
# `add_generation_prompt` adds the beginning of the assistant's turn at the end, so that
# the model goes on there. Shorter prompts of a batch are filled up with **padding**, on
# the left, so that each prompt ends where its answer begins.

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
# That is where fine-tuning starts. Lesson 03 trains the form. What it can and cannot do
# about the facts is measured in lesson 05. Later lessons load and ask with
# `models.load_base` and `models.answer`, which do the same; a test holds them equal. The
# model is not needed any more:

# %%
del model, state, output, inputs, new
models.free_memory()

# %% [markdown]
# ## 7. Will it train? The memory planner
#
# Weights are only the first part. Training adds a gradient and optimizer states for each
# number that is trained. Under full tuning in mixed precision with Adam that is
#
# 2 (weights) + 2 (gradients) + 4 (fp32 copy) + 4 + 4 (two moments) = 16 bytes
#
# a parameter. transformers' Trainer with `fp16=True` keeps fp32 weights instead and
# arrives at 16 as well: 4 + 4 + 4 + 4. With LoRA the 16 bytes count for the adapter
# only. The planner adds it up for any architecture, with estimates of activations. Does
# it agree with the sixteen bytes, and with this lesson's rule for 4-bit weights?

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
# 128 GB under full tuning, 17 GB with LoRA, 7 GB with QLoRA (LoRA on a 4-bit base). Is
# LoRA what makes an 8B model trainable on a T4? Only half: with LoRA alone the 16-bit
# weights (15.0 GiB) do not load, and a 4-bit model cannot be trained without an adapter,
# because codes have no gradient. Both are needed.
#
# One part can be saved by the library. The **logits** are one score for each of the
# 128,256 tokens at each position. transformers' own loss holds them in fp32, and their
# gradient: 3.9 GiB for two rows of 2,048 tokens. Unsloth's loss works through them in
# chunks and never holds them all. The whole picture, for the recipe as its author runs
# it on a T4:

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
# Is the plan right? Others have published what such runs took: the stored outputs of
# Unsloth's own notebooks, same card, same settings, same shapes, other rows.

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
# The plan is of the right size and no upper limit: the highest reported peak, of a run
# on long conversations, is a fifth above it. What the planner leaves out takes that
# room: fragments between tensors, matrices that are unpacked for a moment, chunks of
# logits. So leave 2 GiB free. Weights and states are exact; activations are estimates
# for rows of full length, and memory depends on how long your rows really are.
#
# One setting saves more than all others: **gradient checkpointing** keeps one tensor a
# block and computes the rest again in the backward pass. What if it is off? Below the
# picture are the sliders, when the notebook runs. Try a longer sequence or another
# model: which part grows first?

# %%
from IPython.display import Image, display

from course_utils.memory.widget import memory_planner, plan_picture

without = run | {"gradient_checkpointing": False}
display(Image(plan_picture(plan_memory(llama, **without))))
memory_planner(architectures)

# %% [markdown]
# ## When it goes wrong
#
# | Symptom | Cause | Way out |
# |---|---|---|
# | A memory count that does not change with double quantization | `get_memory_footprint()` does not see the scales | Count `quant_state` too: `tensor_bytes` |
# | "4-bit" was asked for, the size is that of 16 bit | Layers narrower than 64 or a failed probe: Unsloth on a CPU then loads 16 bit, with a message only | Count `Linear4bit` in `model.modules()` |
# | A few matrices are not packed, the model is 5 % larger than predicted | A repository named `…-unsloth-bnb-4bit` leaves sensitive layers in 16 bit; Unsloth may choose it for you | Look at `model.config.quantization_config`, or pass `use_exact_model_name=True` |
# | The size jumps by tens of percent before training | PEFT's `prepare_model_for_kbit_training` turns embedding and norms into fp32 | Plan with 4 bytes for the rest, or use Unsloth's own function |
# | Out of memory when the second model is loaded | `del model` alone keeps the memory with torch | `gc.collect()` and `torch.cuda.empty_cache()`: `models.free_memory()` |
# | Answers of a batch differ from single ones, or are cut | Padding on the right stands between prompt and answer | `padding_side="left"` for `generate` |
#
# ## In the interview

# %%
from course_utils.evidence.cards import show_cards

show_cards("01")

# %% [markdown]
# ## The same on your project
#
# Nothing of this course is needed for it. Change the name to a model of yours, a hub id
# or a folder. Here the small model answers, and what it says is not always true.

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
# - What NF4 costs a model that was never quantized: SmolLM2's weights were 4-bit before,
#   and it is small. The QLoRA paper's parity is for far larger models.
# - Speed, on a CPU or a GPU.
# - What a 4-bit base costs after tuning: lesson 02.
# - GPTQ and AWQ at work; GGUF comes in lesson 07.
# - Peak memory of a run of our own on a T4: the marks are other people's runs, of other
#   rows and of older releases.
#
# ## Sources
#
# - QLoRA, arXiv:2305.14314: NF4 and double quantization (not opened here; derived and
#   compared with the library above).
# - bitsandbytes 0.50, installed source: `functional.create_normal_map` (the quantiles),
#   `functional.quantize_4bit`, `autograd/_functions.py` (NF4 is unpacked before the
#   product; LLM.int8 quantizes the activations and multiplies in 8 bits).
# - PyTorch documentation, Automatic Mixed Precision, "Gradient Scaling": opened. Small
#   gradients "will flush to zero"; scaling the loss prevents it.
# - Unsloth 2026.10.9, installed source: `models/llama.py` (the fused loss),
#   `unsloth_zoo/cpu/loader.py`.
# - github.com/unslothai/notebooks at bdda2ef, folder nb, stored outputs: peaks on a T4,
#   14.741 and 14.748 GiB of memory. Opened; `data/memory_peaks.yaml` lists them.
# - github.com/YugalSingh624/LLM-Finetuning at 4e6b036, mistral-7b.ipynb, stored outputs:
#   Unsloth 2025.5.9 on a P100, CUDA capability 6.0. Opened.
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

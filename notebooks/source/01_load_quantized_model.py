# %% [markdown]
# # 01 · How many bytes does a language model need, and what do four bits cost?
#
# <!-- colab badge -->
#
# An 8B model does not fit on a free GPU in 16 bits, and in 4 bits it does. What is
# stored then, how large is it really, and what is lost in quality and in speed?
#
# **You will be able to**
#
# - choose between fp32, fp16 and bf16 for a given machine, and say why,
# - quantize a block of weights to NF4 by hand and get bitsandbytes' bytes,
# - predict the size of a 4-bit model from its architecture, within five percent,
# - measure true bytes, loss and time of each format instead of trusting a table,
# - say which way of tuning fits on which card.
#
# **Time and memory.** About 2 minutes and 3.4 GiB on two CPU cores (measured). On a T4
# with the 8B model about 8 minutes and 7 GiB of GPU memory, most of the time for the
# download (an estimate: the course has not been timed there).

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: unsloth patches the rest
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# The run uses the movie recommender's recipe. Claims are cited from five
# interview-preparation documents, the interview sources, called S0 to S4.

# %%
from course_utils.evidence.ledger import Ledger
from course_utils.recipes.book import MOVIE_RECOMMENDER

recipe = MOVIE_RECOMMENDER
plan = recipe.plan_for(profile.name, profile.model_override)
ledger = Ledger("01", profile)
plan.model.name

# %% [markdown]
# ## 1. Number formats: range against precision
#
# A floating-point number has a sign, some bits for the exponent and some for the
# digits. The exponent decides the *range*, the digits decide the *step*: the distance
# from 1 to the next number. With $e$ exponent bits and $m$ digit bits
#
# $$\text{largest} = (2 - 2^{-m})\; 2^{\,2^{e-1}-1}, \qquad \text{step} = 2^{-m}.$$
#
# What does this give for the formats that you meet in training code?

# %%
# NBVAL_CHECK_OUTPUT
formats = {"fp32": (8, 23), "tf32": (8, 10), "bf16": (8, 7), "fp16": (5, 10)}
for name, (e, m) in formats.items():
    largest = (2 - 2**-m) * 2.0 ** (2 ** (e - 1) - 1)
    print(f"{name}  {1 + e + m:2} bits  largest {largest:8.3g}  step {2**-m:.2g}")

# %% [markdown]
# bf16 is fp32 with the last sixteen digits cut off: the same range, coarse steps. fp16
# spends three of those exponent bits on digits. tf32 is no way to store a number: it is
# how an A100 multiplies fp32 matrices. fp8 exists in two forms, e4m3 and e5m2, and the
# first of them bends the formula to gain range. Does torch agree on all that it has?

# %%
# NBVAL_CHECK_OUTPUT
import torch

for name in ["float32", "bfloat16", "float16", "float8_e5m2", "float8_e4m3fn"]:
    info = torch.finfo(getattr(torch, name))
    print(f"{name:13} {info.bits:2} bits  max {info.max:8.3g}  step {info.eps:.2g}")

# %% [markdown]
# It does. "bf16 has the range of fp32", says S2. In powers of ten:

# %%
from math import exp, floor, log2, log10

exponent = {t: floor(log10(torch.finfo(t).max)) for t in (torch.bfloat16, torch.float)}
ledger.record(
    "C075",
    fp16_max=torch.finfo(torch.float16).max,
    bf16_decimal_exponent=exponent[torch.bfloat16],
    fp32_decimal_exponent=exponent[torch.float],
)

# %% [markdown]
# What happens beyond the range, and between two steps? Predict both: 70,000 in fp16,
# and 1 + 0.003 in bf16, where the step is 0.0078.

# %%
# NBVAL_CHECK_OUTPUT
too_large = torch.tensor(70_000.0).to(torch.float16)
too_fine = torch.tensor(1 + 0.003).to(torch.bfloat16)
too_large.item(), too_fine.item()

# %% [markdown]
# fp16 overflows to infinity; that is why fp16 training scales its loss. bf16 swallows
# the 0.003 without a word. Where does each format hold up, over all magnitudes? The
# curve shows the distance to the next number, relative to the number.

# %%
def relative_step(values, dtype):
    """Distance to the next larger number of a 16-bit format, over the number."""
    stored = values.to(dtype)
    following = (stored.view(torch.int16) + 1).view(dtype).float()
    return torch.where(following.isfinite(), following / stored.float() - 1, torch.nan)


magnitudes = 2.0 ** torch.arange(-24, 21)  # powers of two
steps = {
    "bf16": relative_step(magnitudes, torch.bfloat16),
    "fp16": relative_step(magnitudes, torch.float16),
}

# %%
from course_utils.plots import line_plot

line_plot(
    magnitudes,
    steps,
    x_label="size of the number",
    y_label="step to the next number, relative",
    title="fp16 is finer where it reaches; bf16 is the same everywhere",
    log_x=True,
    log_y=True,
);

# %% [markdown]
# Below 0.0001, where many gradients live, fp16 loses digits one by one and then the
# number. bf16 has two to three digits at every size.
#
# ### Two or three digits: enough?
#
# For products of activations they usually are. For *updating* a weight they are not: a
# step smaller than half the distance to the next number leaves the weight where it was.
# Take weights of a usual spread, 0.02, and Adam, whose step is about the learning rate.
# Which share of the weights does not move at all?

# %%
generator = torch.Generator().manual_seed(plan.seed)
weights = 0.02 * torch.randn(2**20, generator=generator).bfloat16()


def frozen_share(step):
    """Share of bf16 weights that `weight - step` rounds back to themselves."""
    return (weights - torch.tensor(step).bfloat16() == weights).float().mean().item()


lora_step = recipe.plan.learning_rate
full_step = lora_step / 10  # full tuning takes about a tenth of a LoRA rate
ledger.record(
    "C076",
    bf16_epsilon=torch.finfo(torch.bfloat16).eps,
    full_step=full_step,
    frozen_share_full_step=frozen_share(full_step),
    frozen_share_lora_step=frozen_share(lora_step),
)

# %% [markdown]
# And between and around these two rates?

# %%
rates = [2.0**power for power in range(-20, -10)]
line_plot(
    rates,
    {"bf16 weights": [100 * frozen_share(rate) for rate in rates]},
    x_label="size of the update",
    y_label="weights that do not move (%)",
    title="Small updates vanish in bf16 weights",
    log_x=True,
    reference=("half of the weights", 50),
    marker="o",
);

# %% [markdown]
# So numbers that are trained belong in fp32: the weights' master copy under full
# tuning, A and B under LoRA. Frozen weights can be as coarse as the model bears.
#
# ### Which hardware has which?
#
# | Card | CUDA capability | fp32 | fp16 | bf16 | tf32 | fp8 |
# |---|---|---|---|---|---|---|
# | P100 | 6.0 | yes | yes, no tensor cores | no | no | no |
# | T4 | 7.5 | yes | tensor cores | emulated | no | no |
# | A100 | 8.0 | yes | tensor cores | tensor cores | yes | no |
# | H100 | 9.0 | yes | tensor cores | tensor cores | yes | yes |
# | CPU | – | yes | slow | with AVX512-BF16, AMX or Arm BF16 | – | no |
#
# Two borders decide, and the course's `doctor` knows both: Triton, and so Unsloth,
# starts at 7.0; native bf16 starts at 8.0. S1 says that its project ran Unsloth in
# "FP16/BF16" on a P100. On which side is that card?

# %%
from course_utils.machine.doctor import MINIMUM_CAPABILITY
from course_utils.machine.profile import BF16_CAPABILITY

capabilities = {"P100": (6, 0), "T4": (7, 5), "A100": (8, 0), "H100": (9, 0)}
as_number = {card: major + minor / 10 for card, (major, minor) in capabilities.items()}
as_number

# %%
ledger.record(
    "C032",
    p100_capability=as_number["P100"],
    required_capability=MINIMUM_CAPABILITY[0] + MINIMUM_CAPABILITY[1] / 10,
)

# %%
ledger.record(
    "C033",
    bf16_capability=BF16_CAPABILITY[0] + BF16_CAPABILITY[1] / 10,
    t4_capability=as_number["T4"],
)

# %% [markdown]
# Below both, so neither Unsloth nor bf16 as they are today. Beware of one function:
# `torch.cuda.is_bf16_supported()` says True on a T4, because it counts emulation. And
# the processor of this machine, which bf16 units has it?

# %%
features = torch.cpu.get_capabilities()
units = [name for name, there in features.items() if "bf16" in name and there]
f"bf16 units of this processor: {', '.join(units) or 'none'}"

# %% [markdown]
# Remember the answer: it decides the bf16 times in section 5.
#
# ## 2. NF4 by hand
#
# ### The code book
#
# Four bits can name 16 values. Which 16? INT4 takes evenly spaced ones. Trained
# weights lie close to a bell curve around zero, so NF4 takes 16 *quantiles* of the
# normal distribution, scaled to −1 … 1, with an exact zero. These are they:

# %%
# NBVAL_CHECK_OUTPUT
from bitsandbytes.functional import get_4bit_type

nf4 = get_4bit_type("nf4", device="cpu")
print([round(level, 4) for level in nf4.tolist()])

# %%
ledger.record(
    "C083",
    levels=len(nf4),
    negative_levels=(nf4 < 0).sum(),
    positive_levels=(nf4 > 0).sum(),
)

# %% [markdown]
# "NF4 spends fewer bits on extreme values", says S2. Every code has the same number of
# bits. What differs is the gap to the next level:

# %%
gaps = nf4.diff()
ledger.record(
    "C084",
    code_bits=log2(len(nf4)),
    edge_gap=gaps[0],
    centre_gap=gaps[7],
)

# %% [markdown]
# Wide gaps where weights are rare, narrow ones where they crowd. Beside it the other
# two code books: FP4, a tiny floating-point number, and symmetric INT4, −7 … 7.

# %%
from course_utils.plots import new_axes

fp4 = get_4bit_type("fp4", device="cpu")
int4 = torch.arange(-7, 8) / 7
books = {"NF4": nf4, "FP4": fp4, "INT4 symmetric": int4}
axes = new_axes()
axes.eventplot([book.tolist() for book in books.values()], linelengths=0.6)
axes.set_yticks(range(len(books)), list(books))
axes.set_xlabel("level, as a part of the block's largest absolute weight")
axes.set_title("NF4 puts its levels where normal weights are")
axes.invert_yaxis();

# %% [markdown]
# ### One block, printed whole
#
# Weights come in blocks, and each block is divided by its largest absolute value, the
# *absmax*, so that it fits into −1 … 1. Eight weights as a toy block:

# %%
# NBVAL_CHECK_OUTPUT
w = torch.tensor([0.03, -0.11, 0.20, 0.00, -0.40, 0.07, -0.02, 0.31])
absmax = w.abs().max()
scaled = w / absmax
scaled

# %% [markdown]
# Each scaled weight takes the nearest level. Stored is the number of that level, 0 to
# 15, and the absmax. Which codes are these, and what comes back?

# %%
# NBVAL_CHECK_OUTPUT
codes = (scaled[:, None] - nf4).abs().argmin(dim=1)  # (weights,)
back = absmax * nf4[codes]
print(codes.tolist(), [round(weight, 3) for weight in back.tolist()], sep="\n")

# %% [markdown]
# −0.40, the largest, comes back exactly, and so does zero. 0.31 became 0.289. Two codes
# share a byte, so the eight weights take four bytes, and the absmax four more.
#
# ### The same on a matrix, against bitsandbytes
#
# Now a matrix in blocks of 64, as bitsandbytes does it. The nearest level is found by
# comparing with the middles between levels, which is the same and faster.

# %%
def quantize(blocks, levels):
    """Each weight of (blocks, 64) replaced by its nearest level times the absmax."""
    levels = levels.unique()  # sorted; FP4 has a zero of either sign
    middles = (levels[1:] + levels[:-1]) / 2
    absmax = blocks.abs().amax(dim=1, keepdim=True)  # (blocks, 1)
    return levels[torch.bucketize(blocks / absmax, middles)] * absmax


gaussian = torch.randn(2**14, 64, generator=generator)  # (blocks, 64)
by_hand = quantize(gaussian, nf4)
by_hand[0, :4]

# %% [markdown]
# A million weights. How many of them does bitsandbytes give back differently?

# %%
# NBVAL_CHECK_OUTPUT
from bitsandbytes.functional import dequantize_4bit, quantize_4bit

packed, state = quantize_4bit(gaussian, blocksize=64, quant_type="nf4")
library = dequantize_4bit(packed, state)
print("weights that differ:", (library != by_hand).sum().item())
print("bytes:", packed.numel(), "for codes,", state.absmax.nbytes, "for scales")

# %% [markdown]
# None. Half a byte a weight for the codes, and one fp32 scale for 64 weights. The
# function took a tensor and nothing else: NF4 needs no calibration data.
#
# ### Is NF4 better than INT4?
#
# The error is the root of the mean squared difference. Symmetric INT4 uses the same
# function with other levels. *Affine* INT4 fits its 16 even steps between the smallest
# and the largest weight of the block, and so has to store two numbers a block.

# %%
def quantize_affine(blocks):
    """Sixteen even levels between the block's smallest and largest weight."""
    low, high = blocks.aminmax(dim=1, keepdim=True)
    step = (high - low) / 15
    return low + step * ((blocks - low) / step).round()


def errors(blocks):
    """Root mean squared error of each method, in the units of the weights."""
    restored = {
        "NF4": quantize(blocks, nf4),
        "FP4": quantize(blocks, fp4),
        "INT4 symmetric": quantize(blocks, int4),
        "INT4 affine": quantize_affine(blocks),
    }
    return {
        name: (back - blocks).square().mean().sqrt().item()
        for name, back in restored.items()
    }


# %% [markdown]
# On which data? NF4 was made for normal numbers, so test it on those and on evenly
# spread ones. Predict which method wins where.

# %%
# NBVAL_CHECK_OUTPUT
uniform = 2 * torch.rand(2**14, 64, generator=generator) - 1
on_gaussian, on_uniform = errors(gaussian), errors(uniform)
for method in on_gaussian:
    print(f"{method:15} {on_gaussian[method]:.3f} {on_uniform[method]:.3f}")

# %%
from course_utils.plots import grouped_bars

grouped_bars(
    list(on_gaussian),
    {
        "normal, spread 1": list(on_gaussian.values()),
        "even, −1 to 1": list(on_uniform.values()),
    },
    y_label="root mean squared error",
    title="NF4 beats symmetric INT4 on normal data only",
    value_format="{:.3f}",
);

# %% [markdown]
# On normal numbers NF4 beats symmetric INT4 and FP4. Affine INT4 is ahead even there,
# for a second number in each block, and on even numbers every INT4 wins. So "NF4 is
# more accurate than INT4" needs two conditions: which INT4, and which numbers.

# %%
ledger.record(
    "C086",
    nf4_rmse=on_gaussian["NF4"],
    int4_symmetric_rmse=on_gaussian["INT4 symmetric"],
    int4_affine_rmse=on_gaussian["INT4 affine"],
    uniform_error_ratio=on_uniform["INT4 symmetric"] / on_uniform["NF4"],
)

# %% [markdown]
# ### Double quantization
#
# One fp32 scale for 64 weights is half a bit a weight. Double quantization stores the
# scales themselves in 8 bits, in blocks of 256 scales with one fp32 scale each:
#
# $$4 + \frac{32}{64} = 4.5 \qquad\text{against}\qquad
# 4 + \frac{8}{64} + \frac{32}{64 \cdot 256} = 4.127 .$$
#
# What is that on a large model? The shapes of eight models ship with the course.

# %%
from course_utils.model.architectures import load_architectures

architectures = load_architectures()
list(architectures)

# %%
single_bits = 4 + 32 / 64
double_bits = 4 + 8 / 64 + 32 / (64 * 256)
saving_bits = single_bits - double_bits
ledger.record(
    "C087",
    single_bits=single_bits,
    double_bits=double_bits,
    saving_bits=saving_bits,
    llama_70b_saving_gb=architectures["llama-2-70b"].linear_parameters
    * saving_bits
    / 8e9,
)

# %% [markdown]
# Does bitsandbytes store exactly that? Count the bytes of the million weights, with
# everything that is needed to get them back, and the error that it adds.

# %%
# NBVAL_CHECK_OUTPUT
packed, state = quantize_4bit(gaussian, quant_type="nf4", compress_statistics=True)
scales = [state.absmax, state.offset, state.state2.absmax]
stored = packed.nbytes + sum(tensor.nbytes for tensor in scales)
double_error = (dequantize_4bit(packed, state) - gaussian).square().mean().sqrt()
print(f"{8 * stored / gaussian.numel():.3f} bits a weight, error {double_error:.3f}")

# %% [markdown]
# The same error to three digits, for 0.37 bit less. Left out here are two small tables
# that each matrix carries (16 and 256 numbers): 1,088 bytes, which only matter for tiny
# matrices.
#
# ### ●○○ Exercise 1 · Bits per weight (4 minutes)
#
# *Why it matters: a file name says "4-bit" or "q4", and the size on disk says something
# else. The block size explains it.*
#
# A format stores codes of `code_bits` bits, and for each block of `block_size` weights
# `scales` numbers of `scale_bits` bits. How many bits is that a weight?

# %%
from course_utils.evidence.exercises import TODO, Case, check

# %% tags=["exercise"]
def bits_per_weight(
    code_bits: int, block_size: int, scale_bits: int, scales: int = 1
) -> float:
    """Bits that one weight takes, its share of the block's scales included."""
    return TODO


# %% tags=["check"]
forgotten = "the scales are missing."
whole = "a block shares its scales: divide their bits by the block size."
one_scale = "this format stores two numbers a block, a scale and a zero point."
check(
    bits_per_weight,
    Case((4, 64, 32), 4.5, {4: forgotten, 36: whole}),
    Case((4, 32, 16, 2), 5.0, {4: forgotten, 36: whole, 4.5: one_scale}),
)

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
# The second case is GGUF's Q4_1, blocks of 32 with a 16-bit scale and minimum: five
# bits a weight. The course's small model comes in that format.
# </details>
#
# ## 3. From weights to models
#
# ### What is not quantized
#
# bitsandbytes packs the linear layers inside the blocks. The embedding, the output head
# and the norms stay in 16 bit. So with $N$ linear weights out of $P$ parameters
#
# $$\text{bytes} = N \cdot \frac{\text{bits}}{8} + (P - N) \cdot 2 .$$
#
# For Llama-3.1-8B in NF4: 6,979,321,856 × 4.5 / 8 = 3.93 GB, and 1,050,939,392 × 2 =
# 2.10 GB. (GB is a billion bytes, GiB is 2³⁰; cards are sold in GB and filled in GiB.)

# %%
def predicted_bytes(architecture, bits, rest_bytes=2):
    """Weights of a model whose block linears take `bits` each, the rest 16 bit."""
    rest = architecture.parameters - architecture.linear_parameters
    return architecture.linear_parameters * bits / 8 + rest * rest_bytes


GIB = 2**30
llama = architectures["llama-3.1-8b"]
rest_gb = predicted_bytes(llama, 0) / 1e9
ledger.record(
    "C009",
    linear_gb=predicted_bytes(llama, single_bits) / 1e9 - rest_gb,
    rest_gb=rest_gb,
    nf4_gb=predicted_bytes(llama, single_bits) / 1e9,
    nf4_dq_gb=predicted_bytes(llama, double_bits) / 1e9,
)

# %% [markdown]
# S0 says "half a byte for each weight, so about 5.5 GB". Half a byte for each would be
# 4.0 GB; the figure is nearer to the truth than its own reason. In 16 bits, where
# nothing needs a scale:

# %%
llama_bf16 = predicted_bytes(llama, 16)
ledger.record("C008", bf16_gb=llama_bf16 / 1e9, bf16_gib=llama_bf16 / GIB)

# %% [markdown]
# ### Four models, predicted
#
# The same rule for four models, from their shapes alone, without a download:

# %%
# NBVAL_CHECK_OUTPUT
import pandas as pd

names = ["llama-3.1-8b", "mistral-7b", "qwen2.5-0.5b", "smollm2-135m"]
chosen = [architectures[name] for name in names]
formats = {"bf16": 16, "NF4": single_bits, "NF4 double": double_bits}
gigabytes = {
    label: [predicted_bytes(model, bits) / 1e9 for model in chosen]
    for label, bits in formats.items()
}
table = pd.DataFrame(gigabytes, index=[model.title for model in chosen])
table.round(3)

# %% [markdown]
# Never a quarter. What fills a 4-bit model?

# %%
def shares(part):
    """Percentage of a part's bytes in the NF4 size of each chosen model."""
    sizes = [predicted_bytes(model, single_bits) for model in chosen]
    return [100 * part(model) / size for model, size in zip(chosen, sizes)]


parts = {
    "4-bit codes": shares(lambda model: model.linear_parameters / 2),
    "scales": shares(lambda model: model.linear_parameters * 4 / 64),
    "embedding, head, norms": shares(lambda model: predicted_bytes(model, 0)),
}
[round(share) for share in parts["embedding, head, norms"]]

# %%
from course_utils.plots import stacked_bars

axes = stacked_bars(
    [model.title for model in chosen],
    parts,
    x_label="share of the model's bytes in NF4 (%)",
    title="Half of a small “4-bit” model is not 4-bit",
    total_format="",
)
axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3);

# %% [markdown]
# The embedding decides. Mistral-7B has 32,000 tokens and nearly all of its weight is in
# the blocks; Qwen2.5-0.5B has 151,936 tokens for a width of 896. The factors follow:

# %%
def factor(name, bits=single_bits, from_bytes=2):
    """How many times smaller than with `from_bytes` for every parameter."""
    model = architectures[name]
    return model.parameters * from_bytes / predicted_bytes(model, bits)


ledger.record(
    "C050",
    linear_factor=16 / single_bits,
    mistral_factor=factor("mistral-7b"),
    llama_8b_factor=factor("llama-3.1-8b"),
    smollm2_factor=factor("smollm2-135m"),
)

# %% [markdown]
# "Four times" is for the codes alone. Against fp32 the factor looks better, but nobody
# ships a language model in fp32:

# %%
ledger.record(
    "C078",
    linear_factor=32 / single_bits,
    smollm2_factor=factor("smollm2-135m", from_bytes=4),
    smollm2_bf16_factor=factor("smollm2-135m"),
)

# %% [markdown]
# Do larger models save more, as S2 says?

# %%
large = architectures["llama-2-70b"]
ledger.record(
    "C090",
    qwen_05b_factor=factor("qwen2.5-0.5b"),
    llama_8b_factor=factor("llama-3.1-8b"),
    llama_70b_factor=factor("llama-2-70b"),
    llama_70b_nf4_gb=predicted_bytes(large, single_bits) / 1e9,
)

# %% [markdown]
# They do, since the embedding grows with the width and the blocks with its square. But
# 70B ends near 40 GB and not at 35.
#
# ### Claims about particular models
#
# S2's project: is Qwen2.5-0.5B 0.92 GB in 16 bits, and 0.23 GB in 4?

# %%
qwen = architectures["qwen2.5-0.5b"]
qwen_bf16, qwen_nf4 = (predicted_bytes(qwen, bits) for bits in (16, single_bits))
ledger.record("C088", bf16_gib=qwen_bf16 / GIB, bf16_gb=qwen_bf16 / 1e9)

# %%
ledger.record(
    "C089",
    embedding_share=qwen.embedding_parameters / qwen.parameters,
    nf4_gib=qwen_nf4 / GIB,
    saving=1 - qwen_nf4 / qwen_bf16,
    prepared_gib=predicted_bytes(qwen, single_bits, rest_bytes=4) / GIB,
)

# %% [markdown]
# Right in GiB for the first; the second is half of the truth. The last value is what PEFT's
# `prepare_model_for_kbit_training` makes of it: it turns everything that is not packed
# into fp32. Next, S1: "Mistral-7B has 7 billion parameters".

# %%
mistral = architectures["mistral-7b"]
ledger.record(
    "C031", parameters=mistral.parameters, shortfall=1 - 7e9 / mistral.parameters
)

# %% [markdown]
# S2 again: "a 7B model takes 14 GB with LoRA and 4 GB with QLoRA".

# %%
qwen_7b = architectures["qwen2.5-7b"]
ledger.record(
    "C079",
    mistral_bf16_gb=predicted_bytes(mistral, 16) / 1e9,
    mistral_nf4_gb=predicted_bytes(mistral, single_bits) / 1e9,
    qwen_7b_bf16_gb=predicted_bytes(qwen_7b, 16) / 1e9,
    qwen_7b_nf4_gb=predicted_bytes(qwen_7b, single_bits) / 1e9,
)

# %% [markdown]
# True for the weights of one 7B model and half as much again for another. S4: "28 GB
# in fp32, 7 GB in INT8". LLM.int8 keeps one fp32 scale for each output row:

# %%
rows = sum(outputs for _, outputs in mistral.linear_shapes().values())
int8_bytes = predicted_bytes(mistral, 8) + 4 * rows * mistral.layers
ledger.record(
    "C149",
    fp32_gb=predicted_bytes(mistral, 32, rest_bytes=4) / 1e9,
    int8_gb=int8_bytes / 1e9,
)

# %% [markdown]
# S3: "QLoRA fine-tunes Llama-65B on one 48 GB card". Full tuning counts 12 bytes a
# parameter in that paper.

# %%
llama_65b = architectures["llama-1-65b"]
ledger.record(
    "C121",
    nf4_dq_gb=predicted_bytes(llama_65b, double_bits) / 1e9,
    full_gb=12 * llama_65b.parameters / 1e9,
)

# %% [markdown]
# It fits, with 13 GB left for adapter and activations. And S2 on the model that you are
# about to load: "bf16 halves memory against fp32".

# %%
smollm2 = architectures["smollm2-135m"]
ledger.record(
    "C073",
    fp32_mb=predicted_bytes(smollm2, 32, rest_bytes=4) / 1e6,
    bf16_mb=predicted_bytes(smollm2, 16) / 1e6,
)

# %% [markdown]
# ### ●○○ Exercise 2 · How large is the download? (5 minutes)
#
# *Why it matters: this is the first question before any run, and the usual answer, half
# a byte for each parameter, is too low by a quarter to a half.*
#
# A model has `parameters` in all, `quantized` of them in linear layers that NF4 packs
# (4.5 bits each). The rest stays in 16 bit. How many GB?

# %% tags=["exercise"]
def nf4_gigabytes(parameters: int, quantized: int) -> float:
    """Size of the weights in GB (1e9 bytes)."""
    return TODO


# %% tags=["check"]
half_byte = "that is half a byte for every parameter."
no_scales = "the scales are missing: 4.5 bits, not 4."
all_packed = "embedding, head and norms are not packed: 2 bytes each."
check(
    nf4_gigabytes,
    Case(
        (8_000_000_000, 7_000_000_000),
        5.9375,
        {4.0: half_byte, 5.5: no_scales, 4.5: all_packed},
    ),
    Case(
        (500_000_000, 360_000_000),
        0.4825,
        {0.25: half_byte, 0.46: no_scales, 0.28125: all_packed},
    ),
)

# %% [markdown]
# <details><summary>Hint</summary>
#
# 7 billion × 4.5 bits are 3.94 GB. How many parameters are left, and how many bytes has
# each of them?
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def nf4_gigabytes(parameters: int, quantized: int) -> float:
#     """Size of the weights in GB (1e9 bytes)."""
#     packed = quantized * 4.5 / 8
#     rest = (parameters - quantized) * 2
#     return (packed + rest) / 1e9
# ```
# </details>
#
# ## 4. Predict, then measure
#
# Now a real model, small enough to be held in every format on every machine:
# SmolLM2-135M. It is loaded with plain transformers here, because there each format can
# be chosen. One model after the other:

# %%
import logging

from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils.logging import disable_progress_bar

small_plan = recipe.plan_for({"t4": "cpu"}.get(profile.name, profile.name))
location = models.model_location(small_plan)
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a line a layer in INT8
disable_progress_bar()


def load(dtype=profile.compute_dtype, **quantization):
    """The small model, in evaluation mode, quantized as the keywords say."""
    config = BitsAndBytesConfig(bnb_4bit_compute_dtype=dtype, **quantization)
    return AutoModelForCausalLM.from_pretrained(
        location,
        dtype=dtype,
        quantization_config=config if quantization else None,
        device_map={"": profile.device},
    ).eval()


# %% [markdown]
# ### A look at the weights first
#
# NF4 assumes normal weights. Excess kurtosis says how heavy the tails are; it is zero
# for a normal distribution. How far are the real matrices from that?

# %%
full = load(torch.float32)
matrices = [p for name, p in full.named_parameters() if "_proj" in name]
kurtosis = []
for matrix in matrices:
    z = (matrix - matrix.mean()) / matrix.std()
    kurtosis.append(z.pow(4).mean().item() - 3)
ledger.record(
    "C085",
    median_excess_kurtosis=torch.tensor(kurtosis).median(),
    largest_excess_kurtosis=max(kurtosis),
)

# %% [markdown]
# Roughly normal, with heavier tails. There is a second thing to know about *these*
# weights. Take blocks of 32 neighbours: how many different values are in a block?

# %%
blocks = full.model.layers[0].mlp.up_proj.weight.detach().view(-1, 32)[:2000]
distinct = max(len(block.unique()) for block in blocks)
f"at most {distinct} different values in a block of 32 weights"

# %% [markdown]
# Sixteen at most, on SmolLM2: its weights have been 4-bit before. They came from a GGUF
# file in Q4_1 and were unpacked. (The random nano model of the tests has 32.) So what
# is measured below is the cost of quantizing *again*, on another grid. Keep this in
# mind with every loss in section 5.
#
# ### Bytes
#
# Six ways to load it. `rest` is the format of what is not packed: on a CPU the course
# computes in fp32, so there the rest takes four bytes and not two.

# %%
nf4_settings = dict(load_in_4bit=True, bnb_4bit_quant_type="nf4")
ways = {
    "fp32": dict(dtype=torch.float32),
    "bf16": dict(dtype=torch.bfloat16),
    "INT8": dict(load_in_8bit=True),
    "NF4": nf4_settings,
    "NF4 double": nf4_settings | dict(bnb_4bit_use_double_quant=True),
    "FP4": dict(load_in_4bit=True, bnb_4bit_quant_type="fp4"),
}
bits = dict(zip(ways, [32, 16, 8, single_bits, double_bits, single_bits]))
bits

# %% [markdown]
# For each way three numbers: predicted from the architecture, counted tensor by tensor,
# and what `get_memory_footprint()` reports. Which of them differ?

# %%
from course_utils.model.architectures import Architecture
from course_utils.memory.measured import tensor_bytes

shapes = Architecture.from_config(full.config)


def megabytes(way):
    """Predicted, true and reported size of the small model, loaded that way."""
    model = load(**ways[way])
    rest_bytes = model.get_input_embeddings().weight.element_size()
    predicted = predicted_bytes(shapes, bits[way], rest_bytes)
    true, reported = tensor_bytes(model).total_bytes, model.get_memory_footprint()
    return [size / 1e6 for size in (predicted, true, reported)]


columns = ["predicted", "true", "reported"]
sizes = pd.DataFrame([megabytes(way) for way in ways], index=[*ways], columns=columns)
sizes.round(1)

# %% [markdown]
# The prediction is close everywhere. `get_memory_footprint()` is not: it says the same
# with and without double quantization, because it does not see the scales at all.
# Is the planner's rule within five percent in each format?

# %%
del full
deviation = (sizes["predicted"] / sizes["true"] - 1).abs()
assert (deviation < 0.05).all(), deviation
f"largest deviation {deviation.max():.2%}, in {deviation.idxmax()}"

# %% [markdown]
# ## 5. What does it cost?
#
# ### In quality
#
# Loss in nats a token on a page of general prose, written for this course, and
# perplexity, which is $e^{\text{loss}}$. How much worse does each format predict it?

# %%
from course_utils.places import DATA_FOLDER

prose = (DATA_FOLDER / "text" / "general.txt").read_text(encoding="utf-8")
small_tokenizer = AutoTokenizer.from_pretrained(location)
tokens = small_tokenizer(prose, return_tensors="pt").input_ids  # (1, seq)
tokens = tokens.to(profile.device)
tuple(tokens.shape)

# %%
from course_utils.data.tokens import completion_nll


@torch.inference_mode()
def loss_of(model):
    """Mean loss of the prose, in nats a token."""
    return completion_nll(model(tokens).logits, tokens).item()


# %% [markdown]
# ### In time
#
# Two times matter. *Reading* a prompt is limited by arithmetic, since many tokens share
# each weight. *Writing* one token is limited by fetching the weights, since each is used
# once. So fewer bytes could help writing, if the kernel computes on packed weights.

# %%
import time


def seconds(call, repeats):
    """Fastest of several calls: what else the machine does can only add time."""
    call()  # the first call also warms up
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


# %%
@torch.inference_mode()
def speed_of(model, prompt=tokens[:, :256]):
    """Seconds to read a prompt, and to write one token after half of it."""

    def next_token(**inputs):
        return model(**inputs, logits_to_keep=1).logits.argmax().item()

    half = prompt.shape[1] // 2
    cache = model(prompt[:, :half]).past_key_values
    step = dict(input_ids=prompt[:, half : half + 1], past_key_values=cache)
    reading = seconds(lambda: next_token(input_ids=prompt), repeats=6)
    return reading, seconds(lambda: next_token(**step), repeats=40)


# %% [markdown]
# bitsandbytes brings one special kernel for CPUs with AVX512-BF16: in evaluation it
# repacks the 4-bit weights in place and multiplies them as they are. Unsloth turns it
# off, since gradients through repacked weights come out wrong. So it is off here too,
# and measured by itself as a last row: what does a kernel made for the format change?

# %%
def use_special_kernel(model, wanted):
    """Keep or switch off bitsandbytes' AVX512-BF16 kernel, where there is one."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu") and not wanted:
            module.support_avx512bf16_for_cpu = False


def cost_of(way, special_kernel=False):
    """Loss and both times of the small model, loaded that way."""
    model = load(**ways[way])
    use_special_kernel(model, special_kernel)
    return [loss_of(model), *speed_of(model)]


# %%
columns = ["loss", "reading", "writing"]
measured = {way: cost_of(way) for way in ways}
measured["NF4, special kernel"] = cost_of("NF4", special_kernel=True)
costs = pd.DataFrame(measured, index=columns).T
costs["perplexity"] = costs["loss"].map(exp)
costs.round(3)

# %% [markdown]
# Quality first: how many nats does each format add, and what is that as perplexity?

# %%
loss = costs["loss"]
increase = loss["NF4"] - loss["fp32"]
(loss - loss["fp32"]).round(3)

# %%
axes = grouped_bars(
    list(ways),
    {"perplexity": costs["perplexity"][list(ways)].tolist()},
    y_label="perplexity on general prose",
    title=f"On this model NF4 changes the loss by {increase:+.2f} nats a token",
    reference=("fp32", costs["perplexity"]["fp32"]),
    value_format="{:.4g}",
)
axes.margins(y=0.3);

# %%
ledger.record(
    "C081", nf4_loss_increase=increase, nf4_perplexity_ratio=exp(increase)
)

# %% [markdown]
# On SmolLM2, bf16 and INT8 are close to free, the 4-bit formats are not, and double
# quantization adds nothing that you could see. Two reasons make this an upper bound for
# larger models: small models suffer more from rounding, and these weights sat on
# another 4-bit grid before. One page of text is also a small sample.
#
# Now time, relative to fp32. A bar above the dashed line is slower than fp32.

# %%
relative = costs[["reading", "writing"]] / costs.loc["fp32", ["reading", "writing"]]
relative.round(2)

# %%
axes = grouped_bars(
    [way.replace(", ", ",\n") for way in relative.index],
    {
        "reading 256 tokens": relative["reading"].tolist(),
        "writing one token": relative["writing"].tolist(),
    },
    y_label="time, relative to fp32",
    title="Fewer bits are no promise of less time",
    reference=("fp32", 1.0),
    value_format="{:.2f}",
)
axes.margins(y=0.3)
axes.tick_params(axis="x", labelsize=8)

# %% [markdown]
# Times of a shared machine: read ratios, and only large ones. "bf16 is faster on modern
# hardware", says S2; what your processor's units make of it:

# %%
ledger.record("C074", bf16_prefill_ratio=relative["reading"]["bf16"])

# %% [markdown]
# Without bf16 units each product is emulated and the ratio rises to about five (measured
# on another CPU, while this course was written). "QLoRA is slightly slower than LoRA":
# the price of unpacking while a prompt is read is small, since many tokens share it.

# %%
ledger.record("C080", nf4_prefill_ratio=relative["reading"]["NF4"])

# %% [markdown]
# And "quantized models answer faster", S4, when one token is written?

# %%
ledger.record(
    "C147",
    nf4_decode_ratio=relative["writing"]["NF4"],
    int8_decode_ratio=relative["writing"]["INT8"],
)

# %% [markdown]
# NF4 and INT8 move fewer bytes, but without a special kernel each weight is unpacked
# for each token, and that eats the gain. Compare the last two bars of the plot: the
# same bytes under a kernel that computes on packed weights (where this processor has
# one; elsewhere both rows are the same). Speed belongs to the kernel, not to the format.
#
# ## 6. The course's model, in four bits, as it is today
#
# From here on models are loaded by the course's own function, which goes through
# Unsloth. On a T4 this is the 8B model. Does Unsloth use double quantization?

# %%
model, tokenizer = models.load_base(plan, profile, load_in_4bit=True)
state = model.model.layers[0].mlp.up_proj.weight.quant_state
f"{state.quant_type}, blocks of {state.blocksize}, double quantization {state.nested}"

# %% [markdown]
# It does, without being asked: the setting is fixed in its loaders. (A repository whose
# name ends in `-bnb-4bit` is packed already and brings its own setting.) So it is 4.127
# bits that must be compared with:

# %%
shapes = Architecture.from_config(model.config, plan.model.name)
rest_bytes = model.get_input_embeddings().weight.element_size()
predicted = predicted_bytes(
    shapes, double_bits if state.nested else single_bits, rest_bytes
)
true = tensor_bytes(model)
deviation = predicted / true.total_bytes - 1
assert abs(deviation) < 0.05
print(f"predicted {predicted / 1e6:,.1f} MB, true {true.total_bytes / 1e6:,.1f} MB")
print(f"reported  {model.get_memory_footprint() / 1e6:,.1f} MB")
true

# %% [markdown]
# The rule holds for the model that you will use, too. The scales, which
# `get_memory_footprint()` leaves out, are the difference between the last two.
#
# ### The baseline
#
# What does the model answer before any training? Four requests of people who want a
# film. The recipe decides the precision in which it will be tuned, so it is loaded
# again as the recipe says.

# %%
from course_utils.projects.movies.films import follows_form
from course_utils.data.datasets import load_movies

requests = [row.request for row in load_movies("validation")[1:5]]
requests

# %%
del model
models.free_memory()
base, tokenizer = models.load_base(plan, profile)
answers = models.answer(base, tokenizer, requests)
for request, answer in zip(requests, answers):
    print(f"› {request}\n{answer}\n")

# %% [markdown]
# Whatever it says, it is not what the application needs: a bold title with the year,
# then genre, runtime and reason as three bullets, and nothing else. How many of the
# four answers have this form?

# %%
in_form = sum(follows_form(answer) for answer in answers)
f"{in_form} of {len(answers)} answers in the form that the application needs"

# %% [markdown]
# That is the baseline. Notebook 03 trains the form; what it can and cannot do about the
# facts is measured in notebook 05.
#
# ## 7. Will it train? The memory planner
#
# Weights are only the first part. Training adds gradients and optimizer states for each
# number that is trained. Under full tuning in mixed precision with Adam:
#
# 2 (weights) + 2 (gradients) + 4 (fp32 copy) + 4 + 4 (two moments) = 16 bytes.
#
# S0 says "about 100 GB or more for an 8B model". With which recipe?

# %%
bytes_each = {
    "mixed precision": 2 + 2 + 4 + 4 + 4,
    "no fp32 copy": 2 + 2 + 4 + 4,
    "all bf16": 2 + 2 + 2 + 2,
    "bf16, 8-bit Adam": 2 + 2 + 1 + 1,
}
static_gb = {name: llama.parameters * n / 1e9 for name, n in bytes_each.items()}
ledger.record(
    "C001",
    mixed_gb=static_gb["mixed precision"],
    no_master_gb=static_gb["no fp32 copy"],
    bf16_gb=static_gb["all bf16"],
    adam8bit_gb=static_gb["bf16, 8-bit Adam"],
)

# %% [markdown]
# Anything from 48 to 128 GB. Against a card with 24 GiB, the largest for consumers for
# a long time:

# %%
rtx_4090_bytes = 24 * GIB
smallest_bytes = static_gb["bf16, 8-bit Adam"] * 1e9
ledger.record("C002", rtx_4090_cards=smallest_bytes / rtx_4090_bytes)

# %% [markdown]
# The planner does this reckoning for any architecture and method, and adds estimates of
# activations and logits. Does it agree with the sixteen bytes, and with this notebook's
# rule for 4-bit weights?

# %%
from course_utils.memory.planner import plan_memory
from course_utils.memory.formulas import weight_bytes

full_plan = plan_memory(llama, "full")
assert full_plan.static_bytes == llama.parameters * bytes_each["mixed precision"]
assert weight_bytes(llama, "nf4") == predicted_bytes(llama, single_bits)
print(full_plan.table())

# %% [markdown]
# S0: "LoRA cuts memory by about 70 %". Counting weights, gradients and states:

# %%
lora, qlora = (plan_memory(llama, method, rank=16) for method in ("lora", "qlora"))
ledger.record(
    "C004",
    lora_gb=lora.static_bytes / 1e9,
    lora_saving=1 - lora.static_bytes / full_plan.static_bytes,
    qlora_gb=qlora.static_bytes / 1e9,
    qlora_saving=1 - qlora.static_bytes / full_plan.static_bytes,
)

# %% [markdown]
# Much more than 70 % of the static memory. And still: is LoRA what makes an 8B model
# trainable on a T4? The card offers 14.741 GiB (public logs of notebooks on it).

# %%
from course_utils.memory.widget import T4_USABLE_BYTES

T4_USABLE_BYTES / GIB

# %%
ledger.record(
    "C005",
    bf16_gib=weight_bytes(llama, "bf16") / GIB,
    t4_gib=T4_USABLE_BYTES / GIB,
    nf4_gib=weight_bytes(llama, "nf4") / GIB,
    nf4_dq_gib=weight_bytes(llama, "nf4_double_quant") / GIB,
)

# %% [markdown]
# The 16-bit weights alone are larger than the card, before any adapter. The 4-bit base
# makes it possible, and LoRA then keeps the rest small. How much room is left?

# %%
adapter_states = qlora.static_bytes - qlora.weight_bytes
ledger.record(
    "C011",
    headroom_gib=(T4_USABLE_BYTES - qlora.weight_bytes) / GIB,
    adapter_states_gb=adapter_states / 1e9,
)

# %% [markdown]
# The whole picture, for the recipe as its author runs it: batch 2, sequences of up to
# 2,048 tokens, checkpointing, 8-bit Adam.

# %%
author = recipe.plan
run = dict(
    rank=author.rank,
    batch_size=author.batch_size,
    sequence_length=author.max_length,
    optimizer=author.optimizer,
    gradient_checkpointing=author.gradient_checkpointing,
)
run

# %%
import matplotlib.pyplot as plt

from course_utils.memory.widget import plot_memory_plans

plans = {name: plan_memory(llama, name.lower(), **run) for name in ("LoRA", "QLoRA")}
plans["QLoRA, double quantization"] = plan_memory(
    llama, "qlora", weight_format="nf4_double_quant", **run
)
_, axes = plt.subplots(figsize=(9, 3.6))
plot_memory_plans(axes, plans);

# %% [markdown]
# Weights and states are exact, activations and logits are estimates for full-length
# sequences; the recipe's rows are far shorter. The logits are the part that surprises:
# 2 × 2048 × 128,256 numbers, in fp32 and with their gradient.
#
# The same picture with sliders, when the notebook runs. Try a longer sequence, another
# model, checkpointing off: which part grows first?

# %%
from course_utils.memory.widget import memory_planner

memory_planner(architectures)

# %% [markdown]
# ## What only a source can tell
#
# | Claim | Verdict | What the source says |
# |---|---|---|
# | C006, S0: a T4 has 16 GB | imprecise | The nominal size. Public notebook logs show 14.741 GiB, capability 7.5, no bf16 |
# | C007, S0: LoRA performs like full tuning | depends | Close for data of instruction-tuning size, below for continued pretraining on code or mathematics; LoRA forgets less (arXiv:2405.09673) |
# | C010, S0: 4-bit quantization is QLoRA | imprecise | QLoRA is NF4, double quantization, paged optimizers and LoRA on top (arXiv:2305.14314) |
# | C146, S4: parameters are stored in 32 bit, quantization reduces weights and activations | imprecise | Checkpoints come in bf16 or fp16 (model cards). NF4, GPTQ, AWQ and GGUF store weights in fewer bits and compute in 16 or 32 |
# | C148, S4: quantization after training uses calibration data | imprecise | GPTQ and AWQ do. `quantize_4bit` takes one tensor and no data, as section 2 shows |
# | C150, S4: GPTQ is layer by layer, with the Hessian, optimal brain compression | imprecise | It builds on OBQ, optimal brain *quantization*; 3 or 4 bits, a 175B model in about four GPU hours (arXiv:2210.17323, seen second-hand) |
#
# ## When it goes wrong
#
# | Symptom | Cause | Way out |
# |---|---|---|
# | A memory count that does not change with double quantization | `get_memory_footprint()` does not see the scales | Count `quant_state` too: `tensor_bytes` |
# | "4-bit" was asked for, the size is that of 16 bit | Layers narrower than 64 or a failed probe: Unsloth on a CPU then loads 16 bit, with a message only | Look for `Linear4bit` in `print(model)` |
# | Size jumps by tens of percent after preparing for training | PEFT's `prepare_model_for_kbit_training` turns embedding and norms into fp32 | Plan with 4 bytes for the rest, or use Unsloth's own function |
# | bf16 runs on a T4, slowly | `torch.cuda.is_bf16_supported()` counts emulation | Ask for the capability: 8.0 or more; the profile does |
# | NF4 adapters stop learning after the first evaluation on a CPU | bitsandbytes repacked the weights for its AVX512-BF16 kernel | Switch `support_avx512bf16_for_cpu` off, as Unsloth does |
#
# ## In the interview

# %%
from course_utils.evidence.cards import show_cards

show_cards("01", ledger)

# %%
assert not ledger.missing(), ledger.missing()

# %% [markdown]
# ## You can now …

# %%
print(
    f"… choose a format: this machine computes in {profile.compute_dtype}, and bf16",
    f"would take {relative['reading']['bf16']:.1f} times the fp32 time to read.\n"
    f"… quantize by hand: an error of {on_gaussian['NF4']:.3f} for NF4 and",
    f"{on_gaussian['INT4 affine']:.3f} for affine INT4 on normal numbers.\n"
    f"… predict: {predicted / 1e6:,.0f} MB for {plan.model.name},",
    f"{abs(deviation):.1%} from the true size.\n"
    f"… measure: NF4 changed the loss by {increase:+.2f} nats, and one token took",
    f"{relative['writing']['NF4']:.1f} times the fp32 time.\n"
    f"… plan: an 8B model takes {full_plan.static_bytes / 1e9:.0f} GB before",
    f"activations under full tuning, {qlora.static_bytes / 1e9:.1f} GB under QLoRA.",
)

# %% [markdown]
# ## What this run does not show
#
# - What NF4 costs a model that was never quantized: SmolLM2's weights were 4-bit before,
#   and it is small. The paper's parity is for far larger models.
# - Speed on a GPU. Ratios here belong to this processor and to bitsandbytes 0.50.
# - GPTQ, AWQ and GGUF at work; GGUF comes in notebook 07.
# - That activations are as estimated: the planner's weights are measured here, its
#   activations in notebook 02 on the small model only.
#
# ## Sources
#
# - QLoRA: arXiv:2305.14314 (§3 NF4 and double quantization; recalled: table 4).
# - NF4 Isn't Information Theoretically Optimal: arXiv:2306.06965 (abstract).
# - LoRA Learns Less and Forgets Less: arXiv:2405.09673 (abstract).
# - GPTQ: arXiv:2210.17323 (seen second-hand). ZeRO §3.1 (recalled: 16 bytes).
# - Raschka, Practical Tips for Finetuning LLMs Using LoRA, 2023 (recalled: QLoRA about
#   two fifths slower for a third less memory).
# - bitsandbytes 0.50, torch 2.13, unsloth and unsloth_zoo 2026.10.9, installed source.
# - config.json of each model in data/architectures.yaml.
# - Stored outputs of public Unsloth notebooks on a T4 (14.741 GiB, capability 7.5).
#
# ## Run record

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "01",
    profile,
    headline=f"Llama-3.1-8B in NF4: {weight_bytes(llama, 'nf4') / 1e9:.2f} GB, not 4",
    seed=plan.seed,
)

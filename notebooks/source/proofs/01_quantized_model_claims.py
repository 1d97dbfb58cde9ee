# %% [markdown]
# # Proof 01 · Which claims about loading and memory are right?
#
# <!-- colab badge -->
#
# "An 8B model needs 100 GB to fine-tune", "NF4 takes half a byte a weight", "QLoRA is
# 4-bit quantization": interview notes repeat such sentences. This notebook settles 31
# of them, by a computation where one can decide, else by a source that was opened.
#
# **For whom.** Interview candidates who want the number behind an answer, and readers
# who doubt the course's. No lesson needs it. Lesson 01 teaches the subject.
#
# **Who says so.** Five interview-preparation documents, S0 to S4, all found in public
# places. Three describe a project of their own: S0 a movie recommender (an 8B model on a
# Colab T4), S1 Mistral-7B tuned on Alpaca, S2 Qwen2.5-0.5B for Terraform. S3 and S4 are
# lists of questions on LoRA and on quantization. They are learners' notes, and the point
# mostly stands even where a figure does not. Where a project published its logs, they
# are used here, with thanks: they confirm the arithmetic.
#
# **Time and memory.** About 40 minutes to read whole; it is made to be looked up in. It
# runs in about 20 seconds and 0.5 GiB on two CPU cores, without any model; on a T4 it
# does the same work on the CPU.

# %% tags=["first-cell"]
pass

# %%
from course_utils.evidence.ledger import Ledger, load_claims
from course_utils.machine.doctor import check_machine
from course_utils.recipes.book import MOVIE_RECOMMENDER

profile, recipe = check_machine(), MOVIE_RECOMMENDER
ledger = Ledger("proofs/01", profile, recipe.name)

# %% [markdown]
# ### How a verdict is earned
#
# A cell computes what the claim is about, states as an `assert` what the verdict needs,
# and records the numbers. `ledger.record` holds each against the claim bank
# (`data/interview/claims.yaml`) and stops the run if one is outside its bounds. What it
# shows: the claim, the verdict, the numbers.
#
# - **right**: the claim holds. A round figure counts if it is within ten percent.
# - **imprecise**: the point stands, a figure or a word in it does not.
# - **depends**: right under some usual circumstances and wrong under others.
# - **wrong**: the point does not stand.
#
# GB is a billion bytes, GiB is 2³⁰ bytes.

# %%
from math import floor, log2, log10

import torch

GIB = 2**30


def is_about(value, claimed):
    """Whether a round figure is within ten percent of the value."""
    return abs(claimed / value - 1) <= 0.1


# %% [markdown]
# ## 1. Number formats
#
# "bfloat16 has float32's exponent range, so it does not overflow where float16 does."
# What becomes of 70,000?

# %%
fp16, bf16 = torch.finfo(torch.float16), torch.finfo(torch.bfloat16)
stored = torch.tensor(70_000.0).to(torch.bfloat16).item()
assert torch.tensor(70_000.0).to(torch.float16).isinf() and stored < bf16.max
ledger.record("C075", fp16_max=fp16.max,
              fp16_smallest_normal=fp16.smallest_normal,
              fp16_smallest=fp16.smallest_normal * fp16.eps,
              bf16_of_70000=stored,
              bf16_decimal_exponent=floor(log10(bf16.max)),
              fp32_decimal_exponent=floor(log10(torch.finfo().max)))

# %% [markdown]
# It is right. But fp16's other end is what training has to work around: gradients are
# small. What is left of a gradient of 10⁻⁸, and of the same one when the loss was
# multiplied by 65,536 before the backward pass?

# %% tags=["nbval-check-output"]
gradient = torch.tensor(1e-8)
lost = gradient.to(torch.float16).item()
kept = (gradient * 65_536).to(torch.float16).float().item() / 65_536
print(f"without scaling {lost:g}, with scaling {kept:.3g}")

# %% [markdown]
# So loss scaling is there against *underflow*. Overflow is its price: when a scaled
# gradient becomes infinite, the scaler skips the step and halves its factor.
#
# "bfloat16 costs minimal accuracy in inference and training." Suppose the weights
# themselves are stored in bf16 and take a step of about the learning rate, as Adam's
# are. Which share of the weights stays where it was?

# %%
generator = torch.Generator().manual_seed(recipe.plan.seed)
weights = 0.02 * torch.randn(2**20, generator=generator).bfloat16()


def frozen_share(step):
    """Share of bf16 weights that `weight - step` rounds back to themselves."""
    moved = weights - torch.tensor(step).bfloat16()
    return (moved == weights).float().mean().item()


# %%
rate = recipe.plan.learning_rate  # full tuning takes about a tenth of it
at_full, at_lora = frozen_share(rate / 10), frozen_share(rate)
assert at_full > 0.5 > at_lora  # hence imprecise: it is wrong for full tuning
ledger.record("C076", bf16_epsilon=bf16.eps, full_step=rate / 10,
              frozen_share_full_step=at_full, frozen_share_lora_step=at_lora)

# %% [markdown]
# With fp32 master weights, or an fp32 adapter, the sentence is fine. With pure bf16
# weights more than half of them ignore a full-tuning step.
#
# ### The P100
#
# "The project ran Unsloth on a Tesla P100." S1's notebook is public
# (YugalSingh624/LLM-Finetuning, `mistral-7b.ipynb`), and its log settles the past: the
# line below, then 94 of 94 updates in 56:47. What does the torch that is installed here
# say to such a card?

# %%
import inspect
import re
from types import SimpleNamespace

from torch._inductor.exc import GPUTooOldForTriton

logged = "Torch: 2.6.0+cu124. CUDA: 6.0. CUDA Toolkit: 12.4. Triton: 3.2.0"
p100 = float(re.search(r"CUDA: ([\d.]+\d)", logged)[1])
card = SimpleNamespace(name="Tesla P100", major=int(p100), minor=0)
refusal = str(GPUTooOldForTriton(card, inspect.currentframe()))
refusal

# %%
required = float(re.search(r"Capability >= ([\d.]+\d)", refusal)[1])
assert p100 < required  # it ran then, torch.compile refuses it now: depends
ledger.record("C032", p100_capability=p100, required_capability=required)

# %% [markdown]
# It ran in June 2025, and a user of Unsloth's issue 2816 had Llama 3.2 running on one
# in the same month while Gemma 3, which needs `torch.compile`, stopped with this message.
# Torch's builds for CUDA 12.8 and newer have no code for the card; those for 12.6 still
# do. So ask of such a sentence: which release?
#
# "Mixed precision in FP16 or BF16 was used on that P100." Which cards have bf16 of their
# own? `torch.cuda.is_bf16_supported` can be asked for cards that are not here:

# %%
from unittest.mock import patch


def native_bf16(capability):
    """torch's answer for a card of this capability, emulation not counted."""
    fakes = dict(
        is_available=lambda: True,
        current_device=lambda: 0,
        get_device_properties=lambda _: SimpleNamespace(major=int(capability)),
    )
    with patch.multiple(torch.cuda, **fakes):
        return torch.cuda.is_bf16_supported(including_emulation=False)


# %% tags=["nbval-check-output"]
capability = {"P100": p100, "V100": 7.0, "T4": 7.5, "A100": 8.0, "H100": 9.0}
native = {name: native_bf16(number) for name, number in capability.items()}
print(native)
assert not native["P100"] and not native["T4"]
first = min(capability[name] for name, has_it in native.items() if has_it)
ledger.record("C033", bf16_capability=first, t4_capability=capability["T4"])

# %% [markdown]
# So it was one of the two. The training code asks for bf16 if it is supported and for
# fp16 otherwise; Unsloth makes torch leave emulation out, and the log says
# `Bfloat16 = FALSE`: fp16. The evaluation's files do say `torch.bfloat16`, emulated.
#
# ## 2. NF4
#
# "NF4 has levels that follow the Gaussian distribution of the weights." Then they can be
# computed without the library. Take the normal distribution's quantiles at evenly spaced
# probabilities, eight steps on the positive side and seven on the negative, add zero,
# and divide by the largest. The outermost probability leaves a tail of half a step, the
# mean of 1/32 (for 16 steps) and 1/30 (for 15).

# %%
from bitsandbytes.functional import get_4bit_type

nf4 = get_4bit_type("nf4", device="cpu")
tail = (1 / 32 + 1 / 30) / 2
quantile = torch.distributions.Normal(0.0, 1.0).icdf
positive = quantile(torch.linspace(1 - tail, 0.5, 9)[:-1])
negative = -quantile(torch.linspace(1 - tail, 0.5, 8)[:-1])
levels = torch.cat([positive, negative, torch.zeros(1)]).sort().values
levels /= levels.max()

# %% tags=["nbval-check-output"]
for ours, theirs in zip(levels.tolist(), nf4.tolist(), strict=True):
    print(f"{ours:6.3f} {theirs:6.3f}")

# %%
deviation = (levels - nf4).abs().max()
assert deviation < 1e-6  # levels of another rule would be off by hundredths
ledger.record("C083", levels=len(nf4), negative_levels=(nf4 < 0).sum(),
              positive_levels=(nf4 > 0).sum(), largest_deviation=deviation)

# %% [markdown]
# Sixteen times the same number: right. "Of the weights" is one step too far, though.
# The levels are constants; nothing is fitted to the model that is quantized.
#
# "NF4 uses fewer bits for extreme values." What differs at the edge, the bits or the
# distance to the next level?

# %%
gaps, bits = nf4.diff(), log2(len(nf4))
assert gaps[0] > gaps[7] and bits == 4  # distance, not bits: wrong
ledger.record("C084", code_bits=bits, edge_gap=gaps[0], centre_gap=gaps[7])

# %% [markdown]
# ### Is NF4 more accurate than INT4 with the same 4 bits?
#
# Three kinds of INT4 are in use. *Symmetric*: fifteen even levels, −7 to 7, one scale a
# block. *Signed*: sixteen levels, −8 to 7, where −8 stands for the block's largest
# weight whatever its sign (GGUF's Q4_0). *Affine*: sixteen levels between the block's
# smallest and largest weight, which takes two numbers a block (GGUF's Q4_1).

# %%
def nearest_level(blocks, scale_dtype, levels):
    """Each weight by its nearest level times the block's largest size."""
    middles = (levels[1:] + levels[:-1]) / 2
    largest = blocks.abs().amax(1, keepdim=True).to(scale_dtype).float()
    return levels[torch.bucketize(blocks / largest, middles)] * largest


# %%
def signed_int4(blocks, scale_dtype):
    """Levels -8 to 7, of which -8 is the weight of the largest size."""
    place = blocks.abs().argmax(1, keepdim=True)
    step = (blocks.gather(1, place) / -8).to(scale_dtype).float()
    return (blocks / step).round().clamp(-8, 7) * step


def affine_int4(blocks, scale_dtype):
    """Sixteen levels from the block's smallest weight to its largest."""
    low, high = blocks.aminmax(dim=1, keepdim=True)
    step = ((high - low) / 15).to(scale_dtype).float()
    low = low.to(scale_dtype).float()
    return low + step * ((blocks - low) / step).round().clamp(0, 15)


# %%
from functools import partial

methods = {
    "NF4": partial(nearest_level, levels=nf4),
    "INT4 symmetric": partial(nearest_level, levels=torch.arange(-7, 8) / 7),
    "INT4 signed": signed_int4,
    "INT4 affine": affine_int4,
}
stored_numbers = {name: 1 + (name == "INT4 affine") for name in methods}

# %% [markdown]
# First in blocks of 64 with fp32 scales, as bitsandbytes has them, on a million normal
# numbers and a million evenly spread ones. The error is the root of the mean square.

# %%
normal = torch.randn(2**20, generator=generator)
even = 2 * torch.rand(2**20, generator=generator) - 1


def error(method, numbers, block=64, scale_dtype=torch.float32):
    """Root mean squared error of a method, in the unit of the numbers."""
    blocks = numbers.view(-1, block)
    restored = methods[method](blocks, scale_dtype)
    return (restored - blocks).square().mean().sqrt().item()


# %% tags=["nbval-check-output"]
on_normal = {name: error(name, normal) for name in methods}
on_even = {name: error(name, even) for name in methods}
for name, numbers in stored_numbers.items():
    print(f"{name:15} {4 + 32 * numbers / 64} bits", end="  ")
    print(f"{on_normal[name]:.3f} {on_even[name]:.3f}")

# %% [markdown]
# On even numbers all INT4 win. On normal numbers NF4 beats two of the three; affine INT4
# is ahead with half a bit more. "The same 4 bits" asks for the same bits, scales
# included. So give each method 16-bit scales and a block size for each budget:

# %%
budgets = [4.0625, 4.125, 4.25, 4.5, 5.0]  # bits a weight


def errors_at(bits):
    """Error of each method on normal numbers, with that many bits a weight."""
    per_number = int(16 / (bits - 4))  # weights that pay for one 16-bit number
    return {
        name: error(name, normal, per_number * numbers, torch.float16)
        for name, numbers in stored_numbers.items()
    }


by_budget = {bits: errors_at(bits) for bits in budgets}

# %%
from bitsandbytes.functional import dequantize_4bit, quantize_4bit

packed, state = quantize_4bit(
    normal, quant_type="nf4", compress_statistics=True
)
tensors = [packed, state.absmax, state.offset, state.state2.absmax]
stored_bits = 8 * sum(tensor.nbytes for tensor in tensors) / normal.numel()
restored = dequantize_4bit(packed, state)
double_error = (restored - normal).square().mean().sqrt().item()

# %%
from course_utils.plots import line_plot, use_course_style

use_course_style()
axes = line_plot(
    budgets,
    {name: [by_budget[b][name] for b in budgets] for name in methods},
    x_label="bits a weight, 16-bit scales included",
    y_label="error on normal numbers (standard deviations)",
    title="NF4 wins with few bits for scales, INT4 with many",
    marker="o",
)
axes.plot(stored_bits, double_error, "k*", label="NF4, double quantization")
axes.legend();

# %%
best = {b: min(by_budget[b], key=by_budget[b].get) for b in budgets}
few, many = 4.125, 5.0
int4 = [name for name in methods if name != "NF4"]
assert best[few] == "NF4" != best[many]  # so it depends, even at equal bits
assert max(on_even[name] for name in int4) < on_even["NF4"]
ledger.record("C086", nf4_rmse=on_normal["NF4"],
              int4_symmetric_rmse=on_normal["INT4 symmetric"],
              int4_affine_rmse=on_normal["INT4 affine"],
              uniform_error_ratio=on_even["INT4 symmetric"] / on_even["NF4"],
              few_bits=few, nf4_few_bits_rmse=by_budget[few]["NF4"],
              int4_few_bits_rmse=min(by_budget[few][name] for name in int4),
              many_bits=many, nf4_many_bits_rmse=by_budget[many]["NF4"],
              int4_many_bits_rmse=min(by_budget[many][name] for name in int4))

# %% [markdown]
# So it depends even at equal bits. The lines cross at about 4.4 bits: above, GGUF's two
# forms of INT4 catch up, since a small block is rarely bell-shaped up to its own largest
# weight. Below, NF4 is clearly ahead, and that is where it is used: with double
# quantization (the star) it keeps blocks of 64 for an eighth of a bit.
#
# ### Double quantization
#
# "It stores the scales in 8 bits and saves about 0.4 bit per parameter." By the formula,
# and in the bytes that bitsandbytes just stored (its two small tables a matrix left out):

# %%
from course_utils.model.architectures import load_architectures

architectures = load_architectures()
weights_70b = architectures["llama-2-70b"].linear_parameters
single_bits, double_bits = 4 + 32 / 64, 4 + 8 / 64 + 32 / (64 * 256)
saving = single_bits - double_bits
assert is_about(single_bits - stored_bits, 0.4)
ledger.record("C087", single_bits=single_bits, double_bits=double_bits,
              saving_bits=saving, stored_bits=stored_bits,
              error_increase=double_error / on_normal["NF4"] - 1,
              llama_70b_saving_gb=weights_70b * saving / 8e9)

# %% [markdown]
# Right, and the error hardly notices. "Post-training quantization uses calibration
# data", says S4. What did this function take?

# %% tags=["nbval-check-output"]
list(inspect.signature(quantize_4bit).parameters)

# %% [markdown]
# A tensor and settings, no data. GPTQ and AWQ do calibrate: see the table in section 5.
#
# ## 3. How large is a model?
#
# bitsandbytes packs the linear layers inside the blocks. Embedding, output head and
# norms stay in 16 bit. The shapes of the models ship with the course; their sums are
# checked against the published numbers of parameters when they are loaded.

# %%
def loaded_bytes(name, bits, rest_bytes=2):
    """Bytes with `bits` a weight of the block linears; 16 bit for the rest."""
    model = architectures[name]
    rest = model.parameters - model.linear_parameters
    return model.linear_parameters * bits / 8 + rest * rest_bytes


def factor(name, bits=single_bits, from_bytes=2):
    """How many times smaller than with `from_bytes` for every parameter."""
    original = architectures[name].parameters * from_bytes
    return original / loaded_bytes(name, bits)


# %% [markdown]
# "bfloat16 halves memory against float32", on the course's small model:

# %%
fp32_mb = loaded_bytes("smollm2-135m", 32, rest_bytes=4) / 1e6
bf16_mb = loaded_bytes("smollm2-135m", 16) / 1e6
assert fp32_mb == 2 * bf16_mb
ledger.record("C073", fp32_mb=fp32_mb, bf16_mb=bf16_mb)

# %% [markdown]
# "Float16 is the standard; an 8B model takes about 16 GB."

# %%
llama_bf16 = loaded_bytes("llama-3.1-8b", 16)
assert is_about(llama_bf16 / 1e9, 16)
ledger.record("C008", bf16_gb=llama_bf16 / 1e9, bf16_gib=llama_bf16 / GIB)

# %% [markdown]
# "Mistral-7B has 7 billion parameters."

# %%
mistral = architectures["mistral-7b"]
count = mistral.parameters
assert is_about(count, 7e9) and count != 7e9
ledger.record("C031", parameters=count, shortfall=1 - 7e9 / count)

# %% [markdown]
# Fine as a name. In a fraction it shows: S1's own log prints "41,943,040/7,000,000,000
# (0.60% trained)", and the share of all its 7,283,675,136 parameters is 0.58 %.
#
# "4-bit NF4 takes 0.5 byte per weight, so an 8B model is about 5.5 GB."

# %% tags=["nbval-check-output"]
llama = architectures["llama-3.1-8b"]
half_byte_gb = llama.parameters / 2 / 1e9
rest_gb = loaded_bytes("llama-3.1-8b", 0) / 1e9
nf4_gb = loaded_bytes("llama-3.1-8b", single_bits) / 1e9
nf4_dq_gb = loaded_bytes("llama-3.1-8b", double_bits) / 1e9
assert not is_about(half_byte_gb, 5.5)  # the reason fails, whatever the figure
ledger.record("C009", half_byte_gb=half_byte_gb, linear_gb=nf4_gb - rest_gb,
              rest_gb=rest_gb, nf4_gb=nf4_gb, nf4_dq_gb=nf4_dq_gb)

# %% [markdown]
# The figure is about right, the reason given is not. An outside check: the 4-bit file
# that Unsloth's public notebook downloads for this model has 5.70 GB.
#
# "4-bit quantization reduces memory four times."

# %%
factors = {name: factor(name) for name in architectures}
assert max(factors.values()) < 16 / single_bits < 4
ledger.record("C050", linear_factor=16 / single_bits,
              mistral_factor=factors["mistral-7b"],
              llama_8b_factor=factors["llama-3.1-8b"],
              smollm2_factor=factors["smollm2-135m"])

# %% [markdown]
# No model of the course's list gets there, and not even a linear layer does. "INT8 is
# 4x, INT4 and NF4 are 8x smaller than FP32": LLM.int8 keeps one fp32 scale for each row
# of outputs.

# %%
rows = sum(outputs for _, outputs in mistral.linear_shapes().values())
int8_bytes = loaded_bytes("mistral-7b", 8) + 4 * rows * mistral.layers
int8_factor = 4 * count / int8_bytes
small_factor = factor("smollm2-135m", from_bytes=4)
assert is_about(int8_factor, 4) and not is_about(small_factor, 8)
ledger.record("C078", mistral_int8_factor=int8_factor,
              linear_factor=32 / single_bits, smollm2_factor=small_factor,
              smollm2_bf16_factor=factors["smollm2-135m"])

# %% [markdown]
# The first figure holds for a large model. The second is nominal, and it is counted from
# a format in which hardly any language model is published.
#
# "A 7B model is 28 GB in FP32 and 7 GB in INT8."

# %%
fp32_gb = 4 * count / 1e9
assert is_about(fp32_gb, 28) and is_about(int8_bytes / 1e9, 7)
ledger.record("C149", fp32_gb=fp32_gb, int8_gb=int8_bytes / 1e9)

# %% [markdown]
# Right within the ten percent. (LLM.int8 is no mere storage format. It rounds the
# activations of each call to 8 bits as well and multiplies in INT8; only the product is
# turned back.)
#
# "Larger models save even more: 70B goes from 140 to 35 GB."

# %%
bf16_70b, nf4_70b = (
    loaded_bytes("llama-2-70b", bits) / 1e9 for bits in (16, single_bits)
)
small, medium, big = (
    factors[name] for name in ("qwen2.5-0.5b", "llama-3.1-8b", "llama-2-70b")
)
assert small < medium < big
assert is_about(bf16_70b, 140) and not is_about(nf4_70b, 35)
ledger.record("C090", qwen_05b_factor=small, llama_8b_factor=medium,
              llama_70b_factor=big, llama_70b_bf16_gb=bf16_70b,
              llama_70b_nf4_gb=nf4_70b)

# %% [markdown]
# The direction is right: a model's blocks grow with the square of its width, the
# embedding with the width. The 35 GB are half a byte for each weight again.
#
# "Qwen2.5-0.5B takes 0.92 GB in FP16", and "in 4 bits 0.23 GB, which saves 75 %":

# %%
qwen = architectures["qwen2.5-0.5b"]
qwen_bf16, qwen_nf4 = (
    loaded_bytes("qwen2.5-0.5b", bits) for bits in (16, single_bits)
)
assert is_about(qwen_bf16 / GIB, 0.92)
ledger.record("C088", bf16_gib=qwen_bf16 / GIB, bf16_gb=qwen_bf16 / 1e9)

# %% tags=["nbval-check-output"]
prepared = loaded_bytes("qwen2.5-0.5b", single_bits, rest_bytes=4)
assert not is_about(qwen_nf4 / GIB, 0.23)
ledger.record("C089",
              embedding_share=qwen.embedding_parameters / qwen.parameters,
              nf4_gib=qwen_nf4 / GIB, saving=1 - qwen_nf4 / qwen_bf16,
              prepared_gib=prepared / GIB)

# %% [markdown]
# The first is right, in GiB. The second is half of the truth: more than a quarter of
# this model is its embedding, which nobody packs. The last value is what PEFT's
# `prepare_model_for_kbit_training` makes of it, as it turns the rest into fp32.
#
# "A 7B model takes 14 GB with LoRA and 4 GB with QLoRA." S1's log has numbers to hold
# the rule against: a 4-bit checkpoint of 4.13 GB, and 4.02 GiB in use before training,
# with a rank-16 adapter in fp32 beside it.

# %%
formats = [16, single_bits, double_bits]
mistral_gb = [loaded_bytes("mistral-7b", bits) / 1e9 for bits in formats]
qwen_gb = [loaded_bytes("qwen2.5-7b", bits) / 1e9 for bits in formats]
adapter_gb = 4 * mistral.lora_parameters(recipe.plan.rank) / 1e9
start_gib = (mistral_gb[2] + adapter_gb) * 1e9 / GIB
print(f"checkpoint {mistral_gb[2]:.2f} GB, at the start {start_gib:.2f} GiB")

# %%
assert abs(start_gib / 4.02 - 1) < 0.01  # the rule against the log
assert is_about(mistral_gb[0], 14) and is_about(mistral_gb[2], 4)
assert not is_about(qwen_gb[1], 4)  # so: depends
ledger.record("C079", mistral_bf16_gb=mistral_gb[0],
              mistral_nf4_gb=mistral_gb[1], mistral_nf4_dq_gb=mistral_gb[2],
              mistral_start_gib=start_gib, qwen_7b_bf16_gb=qwen_gb[0],
              qwen_7b_nf4_gb=qwen_gb[1])

# %% [markdown]
# Right for Mistral-7B with double quantization, as QLoRA has it, and the rule meets the
# log within one percent. Qwen2.5-7B has a vocabulary almost five times as large and takes
# 5.9 GB in 4 bits. Adapter states and activations come on top of either.
#
# "QLoRA fine-tunes Llama-65B on a single 48 GB GPU." Cards are built in powers of two,
# so 48 GB are 48 GiB, of which the driver keeps a little.

# %%
nf4_65b = loaded_bytes("llama-1-65b", double_bits)
left_gib, bf16_gib = 48 - nf4_65b / GIB, loaded_bytes("llama-1-65b", 16) / GIB
assert left_gib > 8 and bf16_gib > 48  # room to train, and only in 4 bits
ledger.record("C121", nf4_dq_gb=nf4_65b / 1e9, nf4_dq_gib=nf4_65b / GIB,
              left_gib=left_gib, bf16_gib=bf16_gib,
              full_gb=12 * architectures["llama-1-65b"].parameters / 1e9)

# %% [markdown]
# ## 4. What does training need?
#
# "Full fine-tuning of an 8B model needs about 100 GB of GPU memory or more." The usual
# reason is 16 bytes a parameter, as ZeRO counts them: 16-bit weights and gradients, an
# fp32 copy and two fp32 moments, 2 + 2 + 4 + 4 + 4. Does a run with transformers'
# Trainer keep the same? `fp16=True` and `bf16=True` wrap the forward pass in autocast.
# One layer and one step of AdamW, counted tensor by tensor:

# %%
def bytes_per_parameter(dtype, autocast):
    """What weight, gradient and Adam's moments take after one step."""
    layer = torch.nn.Linear(64, 64, bias=False, dtype=dtype)
    optimizer = torch.optim.AdamW(layer.parameters())
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = layer(torch.ones(1, 64, dtype=dtype))
    output.sum().backward()
    optimizer.step()
    states = optimizer.state[layer.weight]
    moments = [states["exp_avg"], states["exp_avg_sq"]]
    kept = [layer.weight, layer.weight.grad, *moments]
    return sum(tensor.nbytes for tensor in kept) / layer.weight.numel()


# %% tags=["nbval-check-output"]
autocast_bytes = bytes_per_parameter(torch.float32, autocast=True)
bf16_bytes = bytes_per_parameter(torch.bfloat16, autocast=False)
f"fp32 weights, autocast: {autocast_bytes:.0f}; bf16 weights: {bf16_bytes:.0f}"

# %% [markdown]
# The same 16, from other parts: under autocast weights and gradients stay in fp32,
# 4 + 4 + 4 + 4, and a 16-bit copy comes and goes (transformers' page on GPU memory counts
# it: 18). Weights that are *loaded* in bf16 are trained in bf16 with all that belongs to
# them: 8 bytes. transformers 5 loads most checkpoints so by default; TRL, given a model's
# name, loads fp32.

# %%
bytes_each = {
    "mixed precision": 16,
    "no fp32 copy": 12,
    "all bf16": bf16_bytes,
    "bf16, 8-bit Adam": 2 + 2 + 1 + 1,
}
static_gb = {way: llama.parameters * n / 1e9 for way, n in bytes_each.items()}
assert min(static_gb.values()) < 100 < max(static_gb.values())  # so: depends
ledger.record("C001", mixed_gb=static_gb["mixed precision"],
              no_master_gb=static_gb["no fp32 copy"],
              bf16_gb=static_gb["all bf16"],
              adam8bit_gb=static_gb["bf16, 8-bit Adam"],
              autocast_bytes=autocast_bytes, bf16_bytes=bf16_bytes)

# %% [markdown]
# "… is impossible on consumer hardware." torchtune publishes the peak of its recipe for
# Llama-3.1-8B on one RTX 4090, a card of 24 GiB: 18.9 GiB. Can that be? The recipe keeps
# the 8-bit moments in the CPU's memory and applies each gradient as soon as it is there.
# Then the card holds the weights and the largest gradient, that of the embedding.

# %%
card_gib, torchtune_full_gib = 24, 18.9
smallest_gib = static_gb["bf16, 8-bit Adam"] * 1e9 / GIB
largest_gradient = 2 * llama.vocab_size * llama.hidden_size
resident_gib = (llama_bf16 + largest_gradient) / GIB
assert resident_gib < torchtune_full_gib < card_gib  # it was done: wrong
ledger.record("C002", rtx_4090_cards=smallest_gib / card_gib,
              resident_gib=resident_gib, torchtune_peak_gib=torchtune_full_gib)

# %% [markdown]
# It can: 16 GiB, and 3 for activations. Impossible only if everything has to stay on the
# card.
#
# "LoRA cuts memory by about 70 %." Than what? Weights, gradients and Adam's states,
# against the largest and the smallest of the four recipes above, and torchtune's peaks
# with full tuning and with LoRA on that same card:

# %%
states = 16 * llama.lora_parameters(recipe.plan.rank)  # fp32: 4 + 4 + 8
lora_bytes = llama_bf16 + states
qlora_bytes = loaded_bytes("llama-3.1-8b", single_bits) + states
lora_gb, qlora_gb = lora_bytes / 1e9, qlora_bytes / 1e9
savings = {way: 1 - lora_gb / size for way, size in static_gb.items()}
{way: round(saving, 3) for way, saving in savings.items()}

# %%
least, most = min(savings.values()), max(savings.values())
assert least < 0.7 < most  # any figure between can be had: depends
ledger.record("C004", lora_gb=lora_gb, lora_saving=most,
              least_lora_saving=least, qlora_gb=qlora_gb,
              qlora_saving=1 - qlora_gb / static_gb["mixed precision"],
              torchtune_lora_saving=1 - 16.2 / torchtune_full_gib,
              left_of_100_gb=100 * (1 - 0.7))

# %% [markdown]
# From 65 to 87 percent, and 14 between two lean runs. The last value takes S0 at its own
# word: 70 % off 100 GB leaves 30 GB, which no T4 holds. (70 % is also what Unsloth's
# README promises for this model, for Unsloth and not for LoRA.)
#
# "LoRA is what allows an 8B model to be trained on a free Tesla T4." A T4 shows 14.741
# to 14.748 GiB. Try each half of QLoRA alone. Can codes be trained without an adapter?

# %% tags=["nbval-check-output"]
try:
    packed.requires_grad_()
except RuntimeError as problem:
    print(problem)

# %%
t4_gib = 14.741
nf4_gib = loaded_bytes("llama-3.1-8b", single_bits) / GIB
assert qlora_bytes / GIB < t4_gib < lora_bytes / GIB  # it takes both
ledger.record("C005", bf16_gib=llama_bf16 / GIB, lora_gib=lora_bytes / GIB,
              t4_gib=t4_gib, nf4_gib=nf4_gib,
              nf4_dq_gib=loaded_bytes("llama-3.1-8b", double_bits) / GIB,
              qlora_gib=qlora_bytes / GIB)

# %% [markdown]
# Half right. LoRA on 16-bit weights does not load, 4 bits without LoRA do not train;
# together they fit with room to spare.
#
# "The 4-bit model leaves room on the T4 for gradients and the batch." How much? In the
# log of Unsloth's Llama-3.1-8B notebook, the same recipe on a T4 with short rows, the
# peak is 7.922 of 14.748 GiB.

# %%
headroom_gib, logged_free_gib = t4_gib - nf4_gib, 14.748 - 7.922
assert states / GIB < headroom_gib and logged_free_gib > 0
ledger.record("C011", headroom_gib=headroom_gib, adapter_states_gb=states / 1e9,
              adapter_states_gib=states / GIB, logged_free_gib=logged_free_gib)

# %% [markdown]
# Right. The adapter's states are a fifteenth of the room; rows and batch decide how much
# of the rest is used, and lesson 01's planner shows that.
#
# ## 5. What only a source can tell
#
# | Claim | Verdict | What the source says | Where it was read |
# |---|---|---|---|
# | C006, S0: "a Tesla T4 has 16 GB" | imprecise | 16 GiB are on the board. The T4 ships with error correction on, which takes a sixteenth of GDDR memory; 15 GiB remain, logs show 14.741 to 14.748 | NVIDIA's T4 board manual (copy at manualmachine.com); NVIDIA forum, thread 173099; outputs of unslothai/notebooks |
# | C007, S0: "LoRA performs like full fine-tuning" | depends | Close for data of instruction-tuning size; below it when pretraining continues on code or mathematics; LoRA forgets less | arXiv:2405.09673, §4, in a reprint (hackernoon); LoRA Without Regret in summary (gregbruss.io) |
# | C010, S0: "4-bit quantization is QLoRA" | imprecise | QLoRA is NF4, double quantization, paged optimizers, and LoRA on top | arXiv:2305.14314, abstract |
# | C146, S4: "parameters are stored in 32 bit; quantization reduces weights and activations" | imprecise | Almost all checkpoints are bf16 or fp16. NF4, GPTQ, AWQ and GGUF reduce weights only; LLM.int8 also activations, at run time | huggingface.co pages of Llama-3.1-8B ("Tensor type BF16"); bitsandbytes documentation 0.50; abstract of GPTQ; Keras' guide to AWQ |
# | C148, S4: "quantization after training uses calibration data" | imprecise | GPTQ and AWQ need it. NF4, LLM.int8 and plain rounding do not | `quantize_4bit` above; wiki of ModelCloud/GPTQModel; llm-compressor documentation, AWQ |
# | C150, S4: "GPTQ: layer by layer, Hessian, optimal brain compression" | imprecise | The first two are right. The third is the paper before it, whose quantization part (OBQ) GPTQ makes fast; 3 or 4 bits, 175B parameters in about four GPU hours | abstracts of arXiv:2210.17323 and 2208.11580; that it builds on OBQ: second-hand |
#
# ## The verdicts

# %% tags=["nbval-check-output"]
from collections import Counter

claims = [c for c in load_claims().values() if c.notebook == ledger.notebook]
verdicts = Counter(claim.verdict for claim in claims)
dict(verdicts.most_common())

# %% [markdown]
# Three habits make most of the errors: half a byte for each weight; a saving without its
# baseline; a unit that is not said.
#
# ## What this does not show
#
# - Quality and speed of a quantized model. Lesson 01 measures them on a small one.
# - That a run fits: activations are left out here. The published peaks above have them.
# - The papers' full texts. Only what the table and the list below name was opened.
#
# ## Sources
#
# Read in November 2026, from stored copies of the pages.
#
# - YugalSingh624/LLM-Finetuning at 4e6b036, the project behind S1: `mistral-7b.ipynb`
#   with outputs, `baseline.json`, `finetuned.json`.
# - unslothai/notebooks at bdda2ef, `nb/Llama3.1_(8B)-Alpaca.ipynb`, outputs of a T4.
# - pytorch/torchtune at 0031bfb, README, "Memory and training speed".
# - unslothai/unsloth at 000252c, README (capability 7.0; "GTX 1070, 1080 works, but is
#   slow"; 70 % less); its issues 813 and 2816.
# - pytorch/pytorch, issues 157517, 172352, 190385: which build has code for which card.
# - PyTorch documentation, torch.amp, "Gradient Scaling". transformers documentation, "GPU
#   memory usage". bitsandbytes documentation 0.50, LLM.int8().
# - Installed: torch 2.13 (`_inductor`, `cuda`), bitsandbytes 0.50 (`functional`), peft
#   0.21, transformers 5.17, accelerate 1.15, unsloth 2026.10.9.
# - config.json of each model, as data/architectures.yaml names it.
# - ZeRO (arXiv:1910.02054, §3.1: 2 + 2 + 12 bytes), QLoRA (arXiv:2305.14314), and of
#   Yoshida's note on NF4 (arXiv:2306.06965) the abstract.
#
# ## Run record

# %%
from course_utils.machine.run_record import write_run_record

assert not ledger.missing(), ledger.missing()
write_run_record(
    "proofs/01",
    profile,
    headline=f"{len(claims)} claims: {verdicts['right']} right, "
    f"{verdicts['imprecise']} imprecise, {verdicts['depends']} depend, "
    f"{verdicts['wrong']} wrong",
    seed=recipe.plan.seed,
)

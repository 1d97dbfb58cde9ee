# %% [markdown]
# # 07 · Is the file that you ship the model that you trained?
#
# <!-- colab badge -->
#
# An adapter is trained, tested and measured. What reaches a user is something else: one
# file, merged, converted and rounded, run by another program. Is it still the same
# model, and how would you know?
#
# **You will be able to**
#
# - say why merging into a 4-bit base loses the adapter, and show it in two numbers,
# - choose between the two right ways of merging, and name the function each keeps,
# - predict type, size and bits a weight of a GGUF before it is made,
# - load the file in llama.cpp and measure what each level lost, with an interval,
# - serve it, and ask it through an OpenAI client.
#
# **Time and memory.** About 3 minutes and 3.5 GiB on two CPU cores (measured), and once
# 4 minutes more where llama.cpp is not built yet. On a T4 with the 8B model about 45
# minutes, 9 GiB of GPU memory, 16 GB of download and 62 GB of disk (estimates: the
# course has not been timed there).

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: unsloth patches the rest
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %%
from course_utils.evidence.ledger import Ledger
from course_utils.projects.project import chosen_project

project = chosen_project()
recipe = project.recipe
plan = recipe.plan_for(profile.name, profile.model_override)
ledger = Ledger("07", profile, recipe.name)

# %% [markdown]
# Two things must be there: the adapter of notebook 03 (trained now when it is not), and
# llama.cpp, the program that reads GGUF files. Its converter, its quantizer, its server
# and its library come from one commit, built once into the course's cache.

# %%
from course_utils.gguf import llama_cpp
from course_utils.machine.toolchain import VERSION
from course_utils.training.adapter import get_adapter

finetuned = get_adapter(recipe, profile)
adapter = finetuned.adapter_folder
llama_folder = llama_cpp.build_if_missing()
print(f"llama.cpp of llama-cpp-python {VERSION}:", llama_folder.name)

# %% [markdown]
# How many rows to compare on? Held-out ones, from the validation set. llama.cpp computes
# on the CPU on every machine here, so a large model gets fewer.

# %%
from course_utils.data.datasets import load_rows
from course_utils.model.architectures import Architecture
from course_utils.gguf.fidelity import row_budget, scored_rows
from course_utils.data.tokens import to_dataset

model, tokenizer = models.load_base(plan, profile)
architecture = Architecture.from_config(model.config)
_, validation = load_rows(plan)
held_out = validation[: row_budget(architecture, 16)]
scored = scored_rows(to_dataset(held_out, tokenizer, plan.max_length))
f"{len(scored.rows)} answers, {scored.positions} tokens to predict"

# %%
del model
models.free_memory()

# %% [markdown]
# ## 1. What merging means, and where it can go wrong
#
# An adapter is a sum that is not yet carried out: $h = W_0x + \frac{\alpha}{r}BAx$.
# Merging carries it out once, $W = W_0 + \frac{\alpha}{r}BA$, and the two small products
# of every layer are gone. In 16 bits that is all there is to it.
#
# A weight in 4 bits is different. It cannot take any value, only those of its grid, and
# it sits exactly on a grid point. What happens to an update that is smaller than half a
# step? Eight weights, a grid of whole numbers, updates of a tenth:

# %%
# NBVAL_CHECK_OUTPUT
weights = [-3, -1, 0, 0, 1, 2, 2, 4]  # on the grid: what a 4-bit code can say
updates = [0.1, -0.2, 0.1, 0.3, -0.1, 0.2, -0.3, 0.1]
sums = [weight + update for weight, update in zip(weights, updates)]
rounded_back = [round(total) for total in sums]
print("summed      ", [round(total, 1) for total in sums])
print("rounded back", rounded_back, "as before:", rounded_back == weights)

# %% [markdown]
# Every sum rounds to the weight it came from. Nothing is wrong with a single step of
# this, no error is raised, and the update is gone.
#
# How small is small? NF4 places 16 levels between −1 and 1 of a block's largest weight.
# Notebook 01 found the narrowest gap, in the centre, at 0.080. A block of 64 normal
# numbers has its largest at about 2.4 standard deviations σ, so the finest step is
# about 0.080 × 2.4 = 0.19 σ, half of it 0.10 σ. An update must reach about a tenth of
# σ to be sure of moving even a weight near zero. On normal numbers, with bitsandbytes'
# own rounding:

# %%
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit

generator = torch.Generator().manual_seed(plan.seed)
matrix = torch.randn(512, 512, generator=generator)  # σ = 1
on_grid = dequantize_4bit(*quantize_4bit(matrix, quant_type="nf4"))
direction = torch.randn(512, 512, generator=generator)


def survival(size: float) -> tuple[float, float]:
    """Shares: of weights that move by a code, of the update that is kept."""
    packed, state = quantize_4bit(on_grid + size * direction, quant_type="nf4")
    moved = dequantize_4bit(packed, state) - on_grid
    kept = (moved * direction).sum() / (size * direction**2).sum()
    return (moved.abs() > 0.05).float().mean().item(), kept.item()


# %%
from course_utils.plots import line_plot

sizes = [2.0**power for power in range(-10, 1)]
moved, kept = zip(*map(survival, sizes))
below = kept[sizes.index(2.0**-6)]

# %%
line_plot(
    sizes,
    {"of weights that change their code": moved, "of the update that is kept": kept},
    x_label="size of the update, in standard deviations of the weights",
    y_label="share", log_x=True, marker="o",
    title=f"Below 1/64 σ, {below:.0%} of an update survives rounding to NF4",
);

# %% [markdown]
# The little that is kept on the left is no code: a block's scale is its largest weight,
# and that one weight keeps its update, since the scale is not rounded to the grid. (A
# scale that moves drags its block along, by far less than a step.)
#
# Where does a trained adapter lie on this axis? Predicted from notebook 03: an update
# moves a weight by less than a percent of its spread. If that holds, the curve says
# that merging into a 4-bit base loses it. So: the course's adapter, live on an NF4 base.

# %%
from course_utils.gguf import merging
from course_utils.gguf.fidelity import compare_distributions, model_log_probabilities

model = merging.load_unmerged(plan, profile, adapter, four_bit=True)
layers = merging.adapted_layers(model)
relative = [merging.relative_update(layer) for layer in layers.values()]
codes_before = merging.copied(merging.packed_codes(layers))
median = sorted(relative)[len(relative) // 2]
print(
    f"update / weight, median of {len(layers)} layers: {median:.2%}\n"
    f"of such an update normal numbers in NF4 keep {survival(median)[1]:.1%}"
)

# %%
on_4bit = model_log_probabilities(model, scored)
with model.disable_adapter():
    without = model_log_probabilities(model, scored)

# %% [markdown]
# Now the line that tutorials print, `merge_and_unload()`. How many of the 4-bit codes
# are different afterwards?

# %%
merged = merging.merge(model)
layers = {name: merged.get_submodule(name) for name in layers}
changed = merging.count_changed_codes(codes_before, merging.packed_codes(layers))
print(f"{changed.changed:,} of {changed.total:,} codes changed ({changed.share:.1e})")

# %% [markdown]
# And what does that do to the model? The distance between two models is measured where
# they act: at every position of the held-out answers, how far is one distribution over
# the next token from the other? In nats, averaged over positions:
#
# $$\mathrm{KL}(p \,\|\, q) = \sum_v p_v \, (\ln p_v - \ln q_v)$$
#
# By hand for two tokens, p = (0.5, 0.5) and q = (0.9, 0.1):
# 0.5 · ln(0.5/0.9) + 0.5 · ln(0.5/0.1) = −0.294 + 0.805 = 0.511.

# %%
# NBVAL_CHECK_OUTPUT
import numpy as np

from course_utils.gguf.fidelity import divergence

log_p, log_q = np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])
by_hand = (np.exp(log_p) * (log_p - log_q)).sum()
print(f"{by_hand:.3f} here, {divergence(log_p, log_q)[0]:.3f} by the package")

# %%
found = model_log_probabilities(merged, scored)
in_codes = compare_distributions(on_4bit, found, scored)
no_adapter = compare_distributions(on_4bit, without, scored)
lost = in_codes.kl / no_adapter.kl
print(
    f"live model to the merged one: {in_codes.kl:.3g} nats a token\n"
    f"live model to the base without adapter: {no_adapter.kl:.3g}\n"
    f"so {lost:.0%} of the adapter's effect is gone"
)

# %%
del model, merged, layers, codes_before
models.free_memory()

# %% [markdown]
# ## 2. The two right ways
#
# **Dequantize, then merge.** The 4-bit base is unpacked to the numbers it computes with,
# and the update is added to those. The result is the function that runs live on the
# 4-bit base: if the adapter was trained there (QLoRA), the very function that was
# trained.
#
# **Merge into the plain base.** The update is added to the weights as they were before
# anybody quantized them, in 16 bits on a GPU, in fp32 here. This is what Unsloth does
# and what is usually shipped. It is the function that was trained only if the adapter
# was trained on the plain base; otherwise it is a close relative without NF4's error.
#
# Which of the five forms fit into this machine's memory?

# %%
ways = merging.ways_to_run(plan, profile, adapter, architecture)
trained_on = "the 4-bit base" if plan.load_in_4bit else "the plain base"
print(f"this adapter was trained on {trained_on}; forms that fit:", *ways, sep="\n  ")

# %% [markdown]
# Each is loaded, scored and let go. Prediction: each merged form agrees with the live
# form on its own base to rounding, except the one in 4-bit codes.

# %%
scores = {}
for name, load in ways.items():
    form = load()
    scores[name] = model_log_probabilities(form, scored)
    del form
    models.free_memory()

# %%
import pandas as pd

references = [name for name in scores if name.startswith("live")]
distance = {
    f"to {live}": [
        compare_distributions(scores[live], s, scored).kl for s in scores.values()
    ]
    for live in references
}
pd.DataFrame(distance, index=list(scores)).map("{:.2g}".format)

# %%
from course_utils.plots import grouped_bars

labels = [name.replace(" the ", "\nthe ").replace(", ", ",\n") for name in scores]
grouped_bars(
    labels, distance, y_label="KL divergence (nats per token)", value_format="{:.2g}",
    title=f"Merging into 4-bit codes loses {lost:.0%} of the adapter's effect",
);

# %% [markdown]
# Each right way has a zero in its own column, and only there: it keeps one function,
# and the other column is the distance between the two bases, which no merge can close.
# (It is NF4's error in this model; the weights were in 4 bits once before, so here NF4
# rounds a second time. Expect less on a larger model.) The form in 4-bit codes keeps
# neither function.

# %%
plain = [found for name, found in scores.items() if "plain" in name]
exact = compare_distributions(*plain, scored).kl if plain else float("nan")
ledger.record(
    "C112",
    codes=changed.total,
    codes_changed=changed.changed,
    kl_no_adapter=no_adapter.kl,
    kl_4bit_merge=in_codes.kl,
    kl_16bit_merge=exact,
)

# %% [markdown]
# ### ●○○ Exercise 1 · Merge on a grid (4 minutes)
#
# *Why it matters: “it raised no error” is how most adapters are lost.*
#
# Write `merge_on_grid(weights, updates, step)`: add each update to its weight and round
# the sum to the nearest multiple of `step`.

# %% tags=["exercise"]
from course_utils.evidence.exercises import TODO, Case, check


def merge_on_grid(
    weights: list[float], updates: list[float], step: float
) -> list[float]:
    """Weights after a merge into a format that knows multiples of step only."""
    return TODO


# %% tags=["check"]
three = Case(
    arguments=([0.5, 1.0, -1.5], [0.2, 0.3, -0.2], 0.5),
    expected=[0.5, 1.5, -1.5],
    mistakes={
        (0.7, 1.3, -1.7): "these are the sums; the format cannot hold them.",
        (1.0, 1.0, -2.0): "round in units of the step: round(sum / step) * step.",
        (0.5, 1.0, -1.5): "here the updates were rounded before they were added: add "
        "first. The second one is lost otherwise.",
    },
)
check(merge_on_grid, three, Case(([2.0], [0.4], 1.0), [2.0], {}))

# %% [markdown]
# <details><summary>Hint</summary>
#
# `round(x / step) * step` is the multiple of `step` nearest to x.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def merge_on_grid(
#     weights: list[float], updates: list[float], step: float
# ) -> list[float]:
#     sums = [weight + update for weight, update in zip(weights, updates)]
#     return [round(total / step) * step for total in sums]
# ```
#
# </details>
#
# ## 3. What merging buys
#
# S3 says that a merged adapter adds no latency and an unmerged one a small one. In
# arithmetic the adapter of Mistral-7B at rank 16 has 41,943,040 numbers beside
# 6,979,321,856 in the linear layers: 0.6 % more work. But it is 2 more products in each
# of 7 × 32 = 224 layers, and starting a product has a price of its own. Prediction: more
# than arithmetic says, which for this run's model is:

# %%
share = architecture.lora_flops_share(plan.rank)
f"{share:.1%} more work in the linear layers of the model at hand"

# %% [markdown]
# To be measured: reading a prompt in one pass, and writing token by token. The best of
# several tries is taken, since other programs can only slow one down.

# %%
import time


def best_seconds(action, repeats: int = 4) -> float:
    """Shortest time of several tries, after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times[1:])


# %%
WRITTEN = 16  # tokens; enough passes for a steady mean
prompt = torch.tensor([(scored.rows[0] * 4)[:128]])


def latency(model) -> dict[str, float]:
    """Seconds to read 128 tokens, and to write some after a short prompt."""
    tokens = prompt.to(model.device)
    length = {"max_new_tokens": WRITTEN, "min_new_tokens": WRITTEN}
    mask = torch.ones_like(tokens[:, :8])
    with torch.inference_mode():
        # .item() waits for a GPU, which works on while Python goes ahead
        read = best_seconds(lambda: model(tokens).logits[0, -1, 0].item())
        write = best_seconds(
            lambda: model.generate(tokens[:, :8], attention_mask=mask, **length)
        )
    return {"reading": read, "writing": write}


# %%
model, _ = models.load_adapter(adapter, plan, profile)
seconds = {"unmerged": latency(model)}
model = merging.merge(model)  # on a 4-bit base the values are wrong, the time is right
seconds["merged"] = latency(model)
del model
models.free_memory()

# %%
model, _ = models.load_base(plan, profile)
seconds["base"] = latency(model)
del model
models.free_memory()

# %%
ratios = {
    name: [seconds[name][act] / seconds["base"][act] for act in ("reading", "writing")]
    for name in ("merged", "unmerged")
}
axes = grouped_bars(
    ["reading 128 tokens", f"writing {WRITTEN} tokens"], ratios,
    y_label="time / time of the base", reference=("base", 1.0), value_format="{:.2f}",
    title=f"Unmerged writes in {ratios['unmerged'][1]:.2f} × the base's time, "
    f"merged in {ratios['merged'][1]:.2f} ×",
)
axes.set_ylim(0, 1.3 * max(map(max, ratios.values())))
axes.legend(ncols=3, loc="upper left");

# %% [markdown]
# Merged is the base's speed, up to the noise of the machine, because it has the base's
# shapes. Unmerged costs more than its share of the arithmetic: small products are
# dear to start.

# %%
from course_utils.model.architectures import ALL_LINEAR, load_architectures
from course_utils.recipes.book import ALPACA_MISTRAL

shapes = load_architectures()
mistral, rank = shapes["mistral-7b"], ALPACA_MISTRAL.plan.rank
ledger.record(
    "C139",
    flops_share=mistral.lora_flops_share(rank),
    extra_products=2 * mistral.layers * len(ALL_LINEAR),
    prompt_ratio=seconds["unmerged"]["reading"] / seconds["merged"]["reading"],
    generation_ratio=seconds["unmerged"]["writing"] / seconds["merged"]["writing"],
)

# %% [markdown]
# The price is size. Merged, Mistral-7B is 7.24 billion × 2 bytes = 14.5 GB. Its NF4 base
# takes 4.45 GB (notebook 01), with the adapter in 16 bits 0.08 GB more.

# %%
from course_utils.memory.formulas import WeightFormat, weight_bytes

nf4 = weight_bytes(mistral, WeightFormat.NF4)
ledger.record(
    "C120",
    merged_over_base=seconds["merged"]["writing"] / seconds["base"]["writing"],
    merged_16bit_gb=2 * mistral.parameters / 1e9,
    nf4_and_adapter_gb=(nf4 + 2 * mistral.lora_parameters(rank)) / 1e9,
)

# %% [markdown]
# ## 4. What a GGUF will be, before it is made
#
# GGUF is one file with everything in it: weights, tokenizer, chat template, end token.
# Its quantized types pack weights in blocks with a scale. A block of Q8_0 has 32 weights
# in one byte each and a 16-bit scale: 8 · (32 + 2) / 32 = 8.5 bits a weight. A K-quant
# packs 256 weights with scales of two levels; Q4_K takes 144 bytes for them:
# 8 · 144 / 256 = 4.5.

# %%
# NBVAL_CHECK_OUTPUT
from course_utils.gguf.file import bits_per_weight

{kind: bits_per_weight(kind) for kind in ("F16", "Q8_0", "Q6_K", "Q5_0", "Q4_K")}

# %% [markdown]
# A *level* such as q4_k_m is a rule over these types: Q4_K for most matrices, Q6_K for
# `v_proj` and `down_proj` of about half of the blocks and for the output head, fp32 for
# norms. And a row must be a whole number of blocks. 4096 is 16 × 256; SmolLM2's 576 is
# 2.25 × 256, so Q4_K is replaced by Q5_0 and Q6_K by Q8_0, whose blocks have 32 weights.
# What follows for the two models?

# %%
# NBVAL_CHECK_OUTPUT
from course_utils.gguf.file import bytes_and_bits, count_types, predicted_tensors

for name in ("llama-3.1-8b", "smollm2-135m"):
    tensors = predicted_tensors(shapes[name], "q4_k_m")
    size, bits = bytes_and_bits(tensors)
    print(f"{name}: {size / 1e9:.3f} GB, {bits:.2f} bits a weight")
    print(" ", count_types(tensors))

# %% [markdown]
# The same level is 4.9 bits on one and 6.2 on the other. “Q4” on a small model is a
# polite fiction: most of its matrices have more than five bits.
#
# ### ●●○ Exercise 2 · The type in the file (5 minutes)
#
# *Why it matters: it explains a q4_k_m file that is a third larger than expected.*
#
# Write `type_in_file(row_length, favoured)`: the type that a matrix gets at level q4_k_m.
# Favoured matrices want Q6_K, others Q4_K; where the row is no multiple of 256, Q6_K
# becomes Q8_0 and Q4_K becomes Q5_0.

# %% tags=["exercise"]
def type_in_file(row_length: int, favoured: bool) -> str:
    """Type of a matrix at level q4_k_m."""
    return TODO


# %% tags=["check"]
narrow = Case(
    arguments=(576, False),
    expected="Q5_0",
    mistakes={
        "Q4_K": "576 = 2.25 × 256: the row is no whole number of blocks.",
        "Q8_0": "that is the fallback of Q6_K, which only favoured matrices want.",
        "Q4_0": "llama.cpp falls back upwards, to the next larger type.",
    },
)
down = Case((1536, True), "Q6_K", {"Q8_0": "1536 = 6 × 256 fits: no fallback."})
check(type_in_file, narrow, down, Case((896, True), "Q8_0", {}))

# %% [markdown]
# <details><summary>Hint</summary>
#
# `row_length % 256 == 0` says whether it fits.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def type_in_file(row_length: int, favoured: bool) -> str:
#     if row_length % 256 == 0:
#         return "Q6_K" if favoured else "Q4_K"
#     return "Q8_0" if favoured else "Q5_0"
# ```
#
# </details>
#
# ## 5. Export
#
# Which levels fit here? An export takes more disk than its result: besides the files
# 4 bytes a parameter (merged in fp32 on a CPU; on a GPU the 16-bit base, which is
# downloaded, and the merged model), and 2 more for a first GGUF where a level is made
# from another one. And a file that is to be compared must fit into 80 % of the memory
# that is free now. On a free T4 with its 12.7 GiB that leaves out the 16-bit file of an
# 8B model at least.

# %%
import shutil

import psutil

from course_utils.gguf.export import export_gguf, levels_that_fit, load_for_export

fits = levels_that_fit(
    architecture,
    free_bytes=shutil.disk_usage(finetuned.folder).free,
    memory_bytes=psutil.virtual_memory().available,
)
levels = [level for level, reason in fits.items() if not reason]
shipped = "q8_0" if "q8_0" in levels else levels[-1]
fits

# %% [markdown]
# The model that goes into the export is scored first: it is what every file will be held
# against. (On a CPU that is the adapter on the plain base. On a T4 it is the live 4-bit
# model; Unsloth then merges into the 16-bit base, so the distances there contain the one
# between the two bases as well.)

# %%
model, tokenizer = load_for_export(plan, profile, adapter)
reference = model_log_probabilities(model, scored)

# %% [markdown]
# Unsloth's `save_pretrained_gguf` does the work. The course's `export_gguf` stands around
# it: it refuses before minutes are spent, lets everything happen in a folder beside the
# target, and renames that at the end. So the target holds every file or does not exist;
# the files of an earlier run stay until the new ones are whole.

# %%
target = finetuned.folder / "gguf"
files = export_gguf(
    model, tokenizer, target, levels, architecture=architecture, replace=True
)
{path.name: f"{path.stat().st_size / 1e6:.1f} MB" for path in files.values()}

# %%
del model
models.free_memory()

# %% [markdown]
# ## 6. The round trip: is it all in the file?
#
# **Types and sizes.** Each tensor of each file against the prediction, by name, type,
# numbers and bytes:

# %%
from course_utils.gguf.file import read_gguf

facts = {level: read_gguf(path) for level, path in files.items()}
predicted = {level: predicted_tensors(architecture, level) for level in files}
assert all(facts[level].tensors == predicted[level] for level in files)
overhead = {k: (f.size_bytes - f.tensor_bytes) / 1e6 for k, f in facts.items()}
pd.DataFrame(
    {
        "file type": {level: fact.file_type for level, fact in facts.items()},
        "predicted bits": {k: bytes_and_bits(p)[1] for k, p in predicted.items()},
        "bits a weight": {level: fact.bits_per_weight for level, fact in facts.items()},
        "MB": {level: fact.size_bytes / 1e6 for level, fact in facts.items()},
        "of it tokenizer": overhead,
    }
).round(3)

# %%
from course_utils.plots import stacked_bars

kinds = sorted({kind for fact in facts.values() for kind in fact.types})
megabytes = {
    kind: [
        sum(t.bytes for t in fact.tensors.values() if t.type == kind) / 1e6
        for fact in facts.values()
    ]
    for kind in kinds
}
smallest = facts[levels[-1]]
stacked_bars(
    list(facts), megabytes, x_label="MB of weights", total_format="{:.0f}",
    title=f"{levels[-1]} is {smallest.bits_per_weight:.1f} bits a weight here, "
    f"in {len(smallest.types)} types",
);

# %% [markdown]
# **Tokenizer.** The file splits text by itself. A converter that takes the tokenizer for
# another kind gives a model that talks nonsense in good faith. So: a corpus with digits,
# emoji, other scripts and the template, split by llama.cpp and by the tokenizer that the
# model was trained with.

# %%
chat = [{"role": "user", "content": held_out[0].request}]
prompt_text = tokenizer.apply_chat_template(
    chat, tokenize=False, add_generation_prompt=True
)
corpus = [
    "In 2049 it cost 1,234.50 – twice!", "日本 🙂 niño\n\ttab  spaces",
    prompt_text, *(row.answer for row in held_out),
]

# %%
ours = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in corpus]
for level, path in files.items():
    theirs, _ = llama_cpp.tokenize_and_score(path, texts=corpus)
    assert theirs == ours, level
f"{len(corpus)} texts, {sum(map(len, ours))} tokens: equal in {len(files)} files"

# %% [markdown]
# **End token and template.** Without the first the model never stops; without the second
# a server makes up a template. Whether the template in the file is the right one shows
# when the file is served, section 7.

# %%
for level, fact in facts.items():
    assert fact.end_token == tokenizer.eos_token, level
    assert fact.chat_template, f"{level} has no chat template"
fact.end_token, fact.tokenizer_model, fact.tokenizer_pre

# %% [markdown]
# **Scores.** Now the heart of it: llama.cpp reads the same held-out answers from each
# file, and its distributions are compared with those of the model before the export.
# Prediction: f16 differs by rounding alone, and the distance grows as bits go down.

# %%
from course_utils.gguf.fidelity import gguf_log_probabilities

fidelity = {
    level: compare_distributions(
        reference, gguf_log_probabilities(path, scored), scored
    )
    for level, path in files.items()
}
{level: f"{found.kl:.2g} nats a token" for level, found in fidelity.items()}

# %% [markdown]
# The interval of the divergence comes from resampling whole answers, since the tokens of
# one answer hang together. Agreement counts the positions where both put the same token
# first; its interval is Wilson's. Perplexity is that of the held-out answers. Mind the
# difference: perplexity looks at one token a position and can even fall by luck, the
# divergence looks at all of them and cannot.

# %%
def spread(interval: tuple[float, float], form: str) -> str:
    """An interval in words."""
    return " … ".join(form.format(end) for end in interval)


table = pd.DataFrame(
    {
        level: {
            "MB": f"{facts[level].size_bytes / 1e6:.0f}",
            "bits a weight": f"{facts[level].bits_per_weight:.2f}",
            "KL, nats a token": f"{f.kl:.2g} ({spread(f.kl_interval, '{:.2g}')})",
            "same first token": f"{f.agreement:.1%} "
            f"({spread(f.agreement_interval, '{:.1%}')})",
            "perplexity": f"{f.perplexity:.2f} (× {f.perplexity_ratio:.3f})",
        }
        for level, f in fidelity.items()
    }
).T
table

# %%
worst = levels[-1]
axes = grouped_bars(
    [f"{level}\n{facts[level].bits_per_weight:.1f} bits" for level in levels],
    {"tuned": [found.kl for found in fidelity.values()]},
    intervals={"tuned": [found.kl_interval for found in fidelity.values()]},
    y_label="KL to the model before export\n(nats per token)",
    title=f"{worst}: {fidelity[worst].kl:.2g} nats, "
    f"{1 - fidelity[worst].agreement:.0%} of first tokens differ",
)
axes.set_yscale("symlog", linthresh=1e-5);

# %%
small = predicted_tensors(shapes["smollm2-135m"], "q4_k_m")
wanted = ("Q5_0", "Q8_0")  # what Q4_K and Q6_K become where rows do not fit
fallbacks = [
    name for name, tensor in small.items()
    if tensor.type in wanted and name.startswith("blk.")
]
size, bits = bytes_and_bits(predicted_tensors(shapes["llama-3.1-8b"], "q4_k_m"))
left_out = {level: float("nan") for level in fits}  # not a number where none was made
kl = left_out | {level: found.kl for level, found in fidelity.items()}

# %%
from course_utils.gguf.file import K_BLOCK

ledger.record(
    "C113",
    k_block=K_BLOCK,
    fallback_matrices=len(fallbacks),
    smollm2_q4_k_m_bits=bytes_and_bits(small)[1],
    llama_8b_q4_k_m_bits=bits,
    llama_8b_q4_k_m_gb=size / 1e9,
    q8_0_kl=kl["q8_0"],
    q4_k_m_kl=kl["q4_k_m"],
)

# %% [markdown]
# ## 7. Serve it, and ask it
#
# llama.cpp's server speaks OpenAI's protocol, so any client of that API can talk to the
# file. Here it runs on a free port of this machine for as long as the block lasts, and
# not a moment longer. By hand it is one line:

# %%
print(
    "llama-server --model q8_0.gguf --port 8080 --ctx-size 4096   # on the CPU\n"
    "llama-server --model q8_0.gguf --port 8080 --n-gpu-layers 99 # layers on a GPU"
)

# %%
from course_utils.gguf.serving import same_prompt, serve

longest = project.suite().max_new_tokens
with serve(files[shipped]) as server:
    client = server.client()  # openai.OpenAI(base_url=…/v1)
    reply = client.chat.completions.create(
        model="gguf", messages=chat, max_tokens=longest, temperature=0
    )
    trained_prompt = same_prompt(server, tokenizer, chat)
print(reply.choices[0].message.content)

# %% [markdown]
# Does the served model see the prompt that it was trained on? What counts is the token
# ids. Texts may differ where ids do not: on a GPU Unsloth takes the mark at the beginning
# out of the file's template, and llama-server puts it in front of the text.

# %%
assert trained_prompt, "the server makes other token ids of a chat than the tokenizer"
reply.choices[0].finish_reason, reply.usage.completion_tokens

# %% [markdown]
# Ollama reads the same file through a Modelfile, which has a template language of its
# own. Rather than written by hand, it is the tokenizer's template rendered with Ollama's
# names in the place of the texts, so the two cannot differ:

# %%
from course_utils.gguf.serving import modelfile

print(modelfile(files[shipped].name, tokenizer))

# %%
from course_utils.places import write_whole

write_whole(target / "Modelfile", modelfile(files[shipped].name, tokenizer))
called = recipe.name.replace("_", "-")
f"ollama create {called} -f Modelfile && ollama run {called}"

# %% [markdown]
# **Does the trained form survive?** Distances are one thing; this model was trained to
# answer in a form. The same held-out requests to each file, and the speed for one chat.
# What a low level says word for word is not looked at: one flipped token changes the
# rest of an answer without making it worse.

# %%
follows_form = project.follows_form
requests = [row.request for row in validation[: row_budget(architecture, 12)]]
answers, speed = {}, {}
for level, path in files.items():
    with serve(path) as server:
        answers[level] = server.answers(requests, max_new_tokens=longest)
        speed[level] = server.tokens_per_second()

# %%
from statsmodels.stats.proportion import proportion_confint

in_form = {k: sum(follows_form(a.text) for a in found) for k, found in answers.items()}
form_interval = {
    level: proportion_confint(passed, len(requests), method="wilson")
    for level, passed in in_form.items()
}
pd.DataFrame(
    {
        "in the form": {k: f"{n} of {len(requests)}" for k, n in in_form.items()},
        "95 % interval": {k: spread(i, "{:.0%}") for k, i in form_interval.items()},
        "ended by itself": {k: sum(a.stopped for a in f) for k, f in answers.items()},
        "speed / first": {k: f"{v / speed[levels[0]]:.2f}" for k, v in speed.items()},
    }
)

# %%
grouped_bars(
    levels, {"tuned": [in_form[level] / len(requests) for level in levels]},
    intervals={"tuned": [form_interval[level] for level in levels]},
    y_label=f"share of {len(requests)} held-out requests in the form",
    title=f"The form at {worst}: {in_form[worst]} of {len(requests)} answers",
);

# %% [markdown]
# The whiskers are wide: with so few answers only a collapse would show. That is why the
# scores above are the test, and the form is a check that nothing broke. A smaller file
# tends to write faster, since each token means reading every weight once. But packed
# weights must be unpacked, so the smallest file need not be the fastest.
#
# ## 8. What must not happen
#
# An export takes minutes and gigabytes, and it fails in the middle of the night. Five
# ways in which it can, each tried here. Is the message clear, is the old file untouched,
# is nothing half-written left?

# %%
from course_utils.training.adapter import OtherAdapter, refuse_other_adapter
from course_utils.gguf.export import ExportProblem

before = {path: path.stat().st_mtime_ns for path in target.iterdir()}


def told(action) -> str:
    """The message of a refusal."""
    try:
        action()
    except (ExportProblem, OtherAdapter) as problem:
        return f"{type(problem).__name__}: {problem}"
    raise AssertionError("it was not refused")


def attempt(place: str = "other", levels=("q8_0",), **options) -> str:
    """Try an export that must be refused before the model is touched."""
    where, options = finetuned.folder / place, {"architecture": architecture, **options}
    return told(lambda: export_gguf(None, tokenizer, where, levels, **options))


# %% [markdown]
# A wrong name of a level, a target that exists, a disk that is too small, a converter
# that is not there:

# %%
# NBVAL_CHECK_OUTPUT
print(attempt(levels=("int4",)))

# %%
print(attempt(place="gguf"))

# %%
print(attempt(free_bytes=1e6))

# %%
print(attempt(toolchain=finetuned.folder))

# %% [markdown]
# And an adapter that was trained on another base. Shapes may fit by chance, and then the
# merge is nonsense without an error; the record inside the adapter tells.

# %%
print(told(lambda: refuse_other_adapter(adapter, ALPACA_MISTRAL.plan)))

# %%
assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == before
left = [path.name for path in finetuned.folder.glob(".*.partial-*")]
assert not left, f"an export left {', '.join(left)} in {finetuned.folder}"
f"{len(before)} files as they were, nothing beside them"

# %% [markdown]
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | the merged model answers like the base | merged into a 4-bit base | dequantize first, or merge into the 16-bit base; compare logits, section 1 |
# | the GGUF talks nonsense, the model before it did not | tokenizer taken for another kind, template or end token lost | the three checks of section 6 |
# | answers never end in Ollama | no `PARAMETER stop`, or a template written by hand | the Modelfile of section 7 |
# | q4_k_m is larger than 4.5 bits say | rows that are no multiple of 256, and layers that get six bits | predict it, section 4 |
# | “No space left on device” after ten minutes | an export needs the merged model and a first GGUF beside the result | ask `levels_that_fit` first; fewer levels |
# | `llama-server` ends at once | a file that was cut off, or a port in use | its log below `runs/logs/` |
# | Unsloth fetches or wipes a llama.cpp folder | it found none that it takes for whole | set `UNSLOTH_LLAMA_CPP_PATH` and `UNSLOTH_AUTO_INSTALL=0` before the import, as `course_utils.model.loading` does |
#
# ## In the interview
#
# Say the answer aloud before you unfold it. Its numbers are those that a cell of this
# course recorded.

# %%
from course_utils.evidence.cards import show_cards

show_cards("07", ledger)

# %%
assert not ledger.missing()

# %% [markdown]
# ## You can now …

# %%
print(
    f"… say that merging into 4-bit codes changed {changed.changed:,} of "
    f"{changed.total:,} codes and lost {lost:.0%} of the adapter,\n"
    f"… name the function that each right way keeps,\n"
    f"… predict {worst} at {bytes_and_bits(predicted[worst])[1]:.2f} bits a weight\n"
    f"  and find {facts[worst].bits_per_weight:.2f} in the file,\n"
    f"… report {shipped} at {fidelity[shipped].kl:.1g} and {worst} at "
    f"{fidelity[worst].kl:.1g} nats a token from the model before export,\n"
    f"… serve {shipped}: {in_form[shipped]} of {len(requests)} answers in the form."
)

# %% [markdown]
# The rows for the course's results table:

# %%
from course_utils.machine.run_record import save_results

rows = [
    {
        "file": level,
        "MB": f"{facts[level].size_bytes / 1e6:.0f}",
        "bits a weight": f"{facts[level].bits_per_weight:.2f}",
        "KL, nats a token": f"{f.kl:.2g} ({spread(f.kl_interval, '{:.2g}')})",
        "perplexity": f"{f.perplexity:.2f} ({f.perplexity_ratio:.3f} ×)",
        "same first token": f"{f.agreement:.1%} of {f.positions}",
        "in the form": f"{in_form[level]} of {len(requests)} "
        f"({spread(form_interval[level], '{:.0%}')})",
    }
    for level, f in fidelity.items()
]
save_results(finetuned.folder, "07", rows)

# %% [markdown]
# ## What this run does not show
#
# - What a large model loses. This one is small and was in 4 bits before it came here;
#   an 8B has more room for rounding errors to cancel.
# - Levels below four bits, and importance matrices, which choose what to round well.
# - Ollama itself: the Modelfile is held against the tokenizer, not run.
# - Speed on a GPU. llama.cpp was built for the CPU, with `--n-gpu-layers` it needs
#   another build.
# - Whether a user would notice. Distances say that two models are alike; notebook 05's
#   blind test is the way to ask whether the difference matters.
#
# ## Sources
#
# - PEFT 0.21, `tuners/lora/bnb.py` (merging into bitsandbytes' layers, and its warning);
#   Unsloth 2026.10, `save_pretrained_gguf`; unsloth_zoo, `saving_utils.py`, for the merge
#   into the 16-bit base: installed source.
# - llama.cpp, `src/llama-quant.cpp` (which tensor gets which type, and fallbacks) and
#   `tools/server/README.md`: the sources inside llama-cpp-python 0.3.36.
# - gguf 0.19, `GGML_QUANT_SIZES`: the blocks.
# - Dettmers et al. 2023, *QLoRA*, arXiv:2305.14314, §3, for NF4.

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "07",
    profile,
    headline=f"{worst}: {fidelity[worst].kl:.2g} nats a token from the merged model, "
    f"form {in_form[worst]} of {len(requests)}",
    seed=plan.seed,
)

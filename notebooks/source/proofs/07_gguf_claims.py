# %% [markdown]
# # 07 · What does an unmerged adapter cost, and what does a merged one?
#
# <!-- colab badge -->
#
# Two sentences of interview answers about serving an adapter, each quoted, and settled by
# arithmetic and by timing one model in three states: without its adapter, with the
# adapter beside it, and merged. It is for whoever prepares an interview, or doubts an
# answer of the cards. No lesson needs it: lesson 07 settles what needs an exported file.
#
# **Time and memory.** About 18 minutes to read; about three minutes and 2 GiB on a busy CPU
# (without a saved adapter 4 minutes more). On a T4 with the 8B model about 3 minutes (an
# estimate).

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: it imports unsloth
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# **The source** is S3, a general list of interview questions. A folded cell at the end
# holds every number against the claim bank. The adapter is the one of lesson 03; which
# adapter it is does not matter for the time, only its rank.

# %%
from course_utils.projects.project import chosen_project
from course_utils.training.adapter import get_adapter

recipe = chosen_project().recipe
finetuned = get_adapter(recipe, profile)
plan = finetuned.plan

# %% [markdown]
# ## 1. Two ways to compute one function
#
# With its adapter beside it, a layer computes W·x + (α/r)·B·(A·x): three products.
# Merging adds the update to the weight once, W + (α/r)·B·A, and leaves one product. By
# hand, for two numbers, rank 1 and α/r = 2:

# %% tags=["nbval-check-output"]
import numpy as np

W, A, B = np.eye(2), np.array([[0.5, -1.0]]), np.array([[1.0], [2.0]])
x, scale = np.array([1.0, 1.0]), 2.0
beside, merged_weight = W @ x + scale * B @ (A @ x), W + scale * B @ A
print("beside:", beside, " merged:", merged_weight @ x)

# %% [markdown]
# The same result, (0, −1). In 16 or 32 bits the two ways differ by rounding alone. Into
# 4-bit codes an update cannot be merged without loss, as lesson 07 shows; for the *time*
# below that makes no difference.
#
# ## 2. “An unmerged adapter has a small overhead”
#
# (S3. It depends: small in arithmetic, less so in time.) How much more work is it? A
# product costs two operations for each weight and token, so the share is one of
# parameters: those of A and B over those of the layer beside them. At rank 16:

# %% tags=["nbval-check-output"]
from course_utils.model.architectures import ALL_LINEAR, load_architectures
from course_utils.recipes.book import ALPACA_MISTRAL

shapes, rank = load_architectures(), ALPACA_MISTRAL.plan.rank
for name in ("mistral-7b", "smollm2-135m"):
    shape = shapes[name]
    lora, linear = shape.lora_parameters(rank), shape.linear_parameters
    print(f"{name:12} {lora:10,} beside {linear:13,}: {lora / linear:.2%}")

# %% [markdown]
# 0.60 % on Mistral-7B. A narrower model pays more, since A and B grow with the width and
# the layer with its square. The *number* of products grows more than their size:

# %% tags=["nbval-check-output"]
mistral = shapes["mistral-7b"]
extra_products = 2 * mistral.layers * len(ALL_LINEAR)
f"{extra_products} more products a pass, beside {extra_products // 2}"

# %% [markdown]
# Each product has a price of its own: a call in Python, memory for its result, on a GPU
# the start of a kernel. So predict, for the model at hand: arithmetic says at most the
# following, and the clock will say more, above all when writing, where one token at a
# time makes every product small.

# %%
from course_utils.model.architectures import Architecture

model, _ = models.load_base(plan, profile)
at_hand = Architecture.from_config(model.config)
share = at_hand.lora_flops_share(plan.rank)
f"at most {1 + share:.3f} × the base's time, if arithmetic were all"

# %% [markdown]
# Two times are taken: reading a prompt of 128 tokens in one pass, and writing 16 tokens
# one by one. Which tokens they are does not matter.

# %%
import torch

from course_utils.machine.timing import fastest

READ, WRITTEN = 128, 16  # tokens
generator = torch.Generator().manual_seed(plan.seed)
prompt = torch.randint(at_hand.vocab_size, (1, READ), generator=generator)
exactly = {"max_new_tokens": WRITTEN, "min_new_tokens": WRITTEN, "do_sample": False}


# %%
def seconds_of(model):
    """Seconds to read READ tokens at once, and to write WRITTEN after eight."""
    tokens = prompt.to(model.device)
    begun = tokens[:, :8]
    begun = {"input_ids": begun, "attention_mask": torch.ones_like(begun)}
    actions = {
        "reading": lambda: model(tokens).logits[0, -1, 0],
        "writing": lambda: model.generate(**begun, **exactly)[0, -1],
    }
    with torch.inference_mode():
        return fastest(actions, rounds=1)  # after one that warms up


# %% [markdown]
# The adapter is put beside the base by PEFT's own call. For the last question below,
# note first which linear layers the base has.

# %%
def linear_layers(model):
    """Kind and shape of each linear layer, by its name."""
    linear = [m for m in model.named_modules() if isinstance(m[1], torch.nn.Linear)]
    return {name: (type(layer), *layer.weight.shape) for name, layer in linear}


# %%
from peft import PeftModel

layers_of_base = linear_layers(model)
model = PeftModel.from_pretrained(model, finetuned.adapter_folder)

# %% [markdown]
# One model, three states: adapter off, adapter on, adapter merged for a while. Other
# programs can only slow a run down, and do so for seconds on end. So the states take
# turns, and the fastest of four turns counts.

# %%
from contextlib import contextmanager, nullcontext


@contextmanager
def merged_for_now():
    """Merge the adapter into the weights, and take it out again."""
    model.merge_adapter()
    yield
    model.unmerge_adapter()


off, on = model.disable_adapter, nullcontext
states = {"base": off, "unmerged": on, "merged": merged_for_now}

# %%
import warnings

import pandas as pd

warnings.filterwarnings("ignore", "(Merge|Unmerge) lora module")  # NF4 rounds
turns = {name: [] for name in states}

# %%
for _ in range(4):
    for name, state in states.items():
        with state():
            turns[name].append(seconds_of(model))
seconds = {name: pd.DataFrame(taken).min() for name, taken in turns.items()}
pd.DataFrame(seconds).round(3)

# %%
adapted = sum(hasattr(layer, "lora_A") for layer in model.modules())
layers_when_merged = linear_layers(model.merge_and_unload())
f"{adapted} layers had an adapter beside them"

# %%
ratios = {
    name: [seconds[name][act] / seconds["base"][act] for act in ("reading", "writing")]
    for name in ("merged", "unmerged")
}
pd.DataFrame(ratios, index=["reading", "writing"]).round(2)

# %%
from course_utils.plots import ACCENT, TUNED, grouped_bars

axes = grouped_bars(
    [f"reading {READ} tokens at once", f"writing {WRITTEN} tokens one by one"],
    ratios, y_label="time / time of the base", value_format="{:.2f}",
    reference=("base", 1.0),
    title=f"Unmerged writes in {ratios['unmerged'][1]:.2f} × the base's time, "
    f"merged in {ratios['merged'][1]:.2f} ×",
)
for bars, colour in zip(axes.containers, (TUNED, ACCENT)):
    for bar in bars:
        bar.set_color(colour)
axes.set_ylim(0, 1.3 * max(map(max, ratios.values())))
axes.legend(ncols=3, loc="upper left");

# %% [markdown]
# How much of that is arithmetic? Take the time that the adapter adds to each written
# token, and hold it against the share of the work:

# %%
per_token = {name: taken["writing"] / WRITTEN for name, taken in seconds.items()}
added = per_token["unmerged"] - per_token["merged"]
print(
    f"a token: merged {1e3 * per_token['merged']:.1f} ms, "
    f"unmerged {1e3 * added:.1f} ms more\n"
    f"of it arithmetic, at most {1e3 * share * per_token['merged']:.1f} ms\n"
    f"an adapted layer: {1e6 * added / adapted:.0f} µs"
)

# %% [markdown]
# Like is held against like here: the share of the work and the times are of one model.
# (A merged ratio far from 1 is the noise of a busy machine: run the notebook again.) On the small model most of the added time is the price of starting
# products, not of computing them. A larger model computes longer for each start, a GPU
# starts them faster; so neither ratio carries over. Others measured on an H100 and on
# a phone: the adapters that are called "under 1 %" cost up to 2.5 times the base's time
# (zFLoRA, abstract), and the cause on GPUs is the many separate calls (GAWS, abstract).
# Servers for many adapters, such as vLLM, compute the adapters of a whole batch in one
# kernel for that reason (Punica).
#
# ## 3. “LoRA has no inference latency once it is merged”
#
# (S3; the paper's abstract says “no additional inference latency”. Right.) The reason
# needs no clock: a merged model is the base with other numbers in it.

# %% tags=["nbval-check-output"]
assert layers_when_merged == layers_of_base
"merged and base have the same linear layers, in kind and shape"

# %% [markdown]
# So if the merged ratios in the plot are not 1.00, that is the noise of this machine, and
# a scale for the others. What the sentence leaves out is the size. An adapter that was
# trained on a 4-bit base is merged into 16 bits. For Mistral-7B:

# %% tags=["nbval-check-output"]
from course_utils.memory.formulas import WeightFormat, weight_bytes

GB = 1e9
adapter_gb = 2 * mistral.lora_parameters(rank) / GB
merged_gb = 2 * mistral.parameters / GB
nf4_gb = weight_bytes(mistral, WeightFormat.NF4) / GB
print(f"merged, 16 bits: {merged_gb:.2f} GB")
apart_gb = nf4_gb + adapter_gb
print(f"NF4 base {nf4_gb:.2f} + adapter {adapter_gb:.2f} = {apart_gb:.2f} GB")

# %% [markdown]
# And with several tasks, each with an adapter of its own? Merged models share nothing;
# adapters share their base, in 4 bits or in 16.

# %% tags=["nbval-check-output"]
tasks = np.arange(1, 11)
needed = {
    "a merged 16-bit model for each": tasks * merged_gb,
    "one 16-bit base, adapters": merged_gb + tasks * adapter_gb,
    "one NF4 base, adapters": nf4_gb + tasks * adapter_gb,
}
for name, sizes in needed.items():
    print(f"{name:31} 1: {sizes[0]:5.1f} GB   10: {sizes[-1]:6.1f} GB")

# %%
from course_utils.plots import line_plot

merged_line, shared_line, _ = needed.values()
line_plot(
    tasks, needed, marker="o",
    x_label="tasks, each with its adapter", y_label="GB of weights",
    title=f"Ten tasks on Mistral-7B: {merged_line[-1]:.0f} GB merged, "
    f"{shared_line[-1]:.0f} GB on one base",
);

# %% [markdown]
# So merge when one model is served: the time is the base's, and nothing else has to be
# loaded. Keep adapters beside the base when several tasks share it, and measure the
# time on the machine that will serve them.
#
# ## What this notebook does not show
#
# - Any time on a GPU, unless you run it there: the published ratios are read, not run.
# - Many users at once. One chat at a time is the worst case for small products.
#
# ## Sources
#
# - Hu et al. 2021, *LoRA*, arXiv:2106.09685 (abstract).
# - Gowda et al. 2025, *zFLoRA: Zero-Latency Fused Low-Rank Adapters*, arXiv:2510.25784
#   (abstract: up to 2.5 times; H100 and Galaxy S25+).
# - *Grouped Adaptive Weight Sharing* (GAWS), ACL Anthology 2026 (abstract).
# - Punica, README on GitHub (punica-ai/punica); vLLM documentation, *Using LoRA adapters*.
# - PEFT 0.21, `tuners/lora/layer.py` and `bnb.py`: installed source.

# %% tags=["hide-input"]
from course_utils.evidence.ledger import Ledger

small, in_zflora = shapes["smollm2-135m"], 2.5  # of its abstract
read_ratio, write_ratio = (
    seconds["unmerged"][act] / seconds["merged"][act] for act in ("reading", "writing")
)
ledger = Ledger("proofs/07", profile, recipe.name)
ledger.record(
    "C139", flops_share=mistral.lora_flops_share(rank),
    smollm2_flops_share=small.lora_flops_share(rank), extra_products=extra_products,
    prompt_ratio=read_ratio, generation_ratio=write_ratio,
    published_ratio=in_zflora,
)
ledger.record(
    "C120", merged_over_base=ratios["merged"][1], merged_16bit_gb=merged_gb,
    nf4_and_adapter_gb=apart_gb,
)
assert not ledger.missing()

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "proofs/07",
    profile,
    headline=f"unmerged writes in {write_ratio:.2f} × the time of merged",
    seed=plan.seed,
)

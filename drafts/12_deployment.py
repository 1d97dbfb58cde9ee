# %% [markdown]
# # Draft for lesson 12 · What does it cost to serve the model?
#
# **A draft.** Nothing runs this file: no test, no `make` target, and no lesson imports
# it. It keeps the sections on latency and on the time of serving that stood in lesson 07
# until the lesson on deployment is written. It was not run in this form; run it by hand,
# from the project's root, after lessons 03 and 07 (it reads their adapter and their
# files). The two interview claims about latency are settled in
# `notebooks/source/proofs/07_gguf_claims.py`.
#
# What the lesson still needs: several chats at a time (throughput beside latency, with
# `serve(chats=…)`), time to the first token apart from time per token, the KV cache's
# memory beside the weights, several adapters on one base, and a GPU.

# %%
from course_utils.model import loading as models  # first: unsloth patches the rest
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %%
from course_utils.projects.project import chosen_project
from course_utils.training.adapter import get_adapter

recipe = chosen_project().recipe
finetuned = get_adapter(recipe, profile)
plan = finetuned.plan

# %% [markdown]
# ## 1. What merging buys
#
# A merged adapter adds no latency and an unmerged one a small one, says a common answer.
# In arithmetic the adapter of Mistral-7B at rank 16 has 41,943,040 numbers beside
# 6,979,321,856 in the linear layers: 0.6 % more work. But it is 2 more products in each
# of 7 × 32 = 224 layers, and starting a product has a price of its own. Prediction: more
# than arithmetic says, which for this run's model is:

# %%
from course_utils.model.architectures import Architecture

model, _ = models.load_base(plan, profile)
architecture = Architecture.from_config(model.config)
share = architecture.lora_flops_share(plan.rank)
f"{share:.1%} more work in the linear layers of the model at hand"

# %% [markdown]
# To be measured: reading a prompt in one pass, and writing token by token. The fastest
# of several tries counts, since other programs can only slow one down. (Proof 07 lets
# the three states take turns, which is steadier on a busy machine.)

# %%
import torch

from course_utils.machine.timing import fastest

WRITTEN = 16  # tokens; enough passes for a steady mean
generator = torch.Generator().manual_seed(plan.seed)
prompt = torch.randint(architecture.vocab_size, (1, 128), generator=generator)


def latency(model) -> dict[str, float]:
    """Seconds to read 128 tokens, and to write some after a short prompt."""
    tokens = prompt.to(model.device)
    short = {"input_ids": tokens[:, :8], "attention_mask": torch.ones_like(tokens[:, :8])}
    length = {"max_new_tokens": WRITTEN, "min_new_tokens": WRITTEN, "do_sample": False}
    with torch.inference_mode():
        return fastest(
            {
                "reading": lambda: model(tokens).logits[0, -1, 0],
                "writing": lambda: model.generate(**short, **length)[0, -1],
            },
            rounds=4,
        )


# %%
from peft import PeftModel

seconds = {"base": latency(model)}
model = PeftModel.from_pretrained(model, finetuned.adapter_folder)
seconds["unmerged"] = latency(model)
model = model.merge_and_unload()  # on a 4-bit base the values are wrong, the time is right
seconds["merged"] = latency(model)
del model
models.free_memory()

# %%
from course_utils.plots import ACCENT, TUNED, grouped_bars

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
for bars, colour in zip(axes.containers, (TUNED, ACCENT)):
    for bar in bars:
        bar.set_color(colour)
axes.set_ylim(0, 1.3 * max(map(max, ratios.values())))
axes.legend(ncols=3, loc="upper left");

# %% [markdown]
# Merged is the base's speed, up to the noise of the machine, because it has the base's
# shapes. Unmerged costs more than its share of the arithmetic, on the same model: most
# of the added time goes into starting small products.
#
# The price is size. Merged, Mistral-7B is 7.24 billion × 2 bytes = 14.5 GB. Its NF4 base
# takes 4.45 GB, with the adapter in 16 bits 0.08 GB more; ten merged tasks are 145 GB,
# ten adapters on one 16-bit base 15.3.
#
# ## 2. How fast does each level write?
#
# Writing one token means reading every weight once, so a smaller file should write
# faster. Packed weights must be unpacked, so the smallest need not be the fastest. Each
# file of lesson 07 is served, and writes 48 tokens in one chat, three times; the best
# counts.

# %%
from course_utils.gguf.serving import serve

files = {path.stem: path for path in sorted((finetuned.folder / "gguf").glob("*.gguf"))}
speed = {}
for level, path in files.items():
    with serve(path) as server:
        speed[level] = server.tokens_per_second()

# %%
import pandas as pd

table = pd.DataFrame(
    {
        "MB": {level: path.stat().st_size / 1e6 for level, path in files.items()},
        "tokens a second": speed,
    }
)
table["MB read a second"] = table["MB"] * table["tokens a second"]
table.round(1)

# %% [markdown]
# If reading the weights were all, the last column would be one number: the memory's
# bandwidth. Where it falls for a smaller file, unpacking is what takes the time.
#
# ## 3. The server
#
# llama.cpp's server speaks OpenAI's protocol. On the CPU, and with layers on a GPU:
#
# ```
# llama-server --model q8_0.gguf --port 8080 --ctx-size 4096
# llama-server --model q8_0.gguf --port 8080 --n-gpu-layers 99
# ```
#
# (`--n-gpu-layers` needs a build of llama.cpp for the GPU; the course's is for the CPU.)
#
# ## Sources
#
# - Gowda et al. 2025, *zFLoRA*, arXiv:2510.25784 (abstract: unmerged adapters take up to
#   2.5 times the base's time; H100 and a phone).
# - Punica, README on GitHub (punica-ai/punica): adapters of a batch in one kernel.
# - vLLM documentation, *Using LoRA adapters*.
# - llama.cpp, `tools/server/README.md`.

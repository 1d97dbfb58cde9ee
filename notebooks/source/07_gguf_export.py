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
# - show what `merge_and_unload()` makes of an adapter on a 4-bit base,
# - choose between the two right ways of merging, and name the function each keeps,
# - make a GGUF file step by step, and in one line; predict its types and its size,
# - measure what each level lost, with an interval,
# - serve the file, and check that it sees the prompt of its training.
#
# **Time and memory.** It takes about 37 minutes to read. It runs for about 5 minutes and
# needs 4 GiB on a CPU (processor time of one core; once 5 minutes more where llama.cpp is
# not built yet). On a T4 it ships a model of 0.5B: 20 minutes, 2 GB of download, 6 GB of
# disk. With the recipe's own 7 or 8B, if you ask for it: 90 minutes, 22 GB of download
# and 75 GB of disk, more than a free machine may have. Both are estimates, not run there.

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: it imports unsloth
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# What is shipped is the adapter of lesson 03, trained now where it is missing. On a GPU
# `recipe_to_export` puts Qwen2.5-0.5B in the place of a larger model, trained here by
# the same recipe. (To ship the large one, set `COURSE_MODEL` to the recipe's own model
# before the kernel starts.) llama.cpp, the program that reads GGUF files, is built once.

# %%
from course_utils.data.datasets import load_rows
from course_utils.gguf.llama_cpp import build_if_missing
from course_utils.projects.project import chosen_project
from course_utils.recipes.book import recipe_to_export
from course_utils.training.adapter import get_adapter

project = chosen_project()
recipe = recipe_to_export(project.recipe, profile)
finetuned = get_adapter(recipe, profile)
plan, adapter = finetuned.plan, finetuned.adapter_folder
_, validation = load_rows(plan)
llama_cpp = build_if_missing()
print(plan.model.name, [path.name for path in llama_cpp.glob("llama-*")])

# %% [markdown]
# ## 1. One line that loses the adapter
#
# An adapter is a sum that is not yet carried out: $h = W_0x + \frac{\alpha}{r}BAx$.
# *Merging* carries it out once, $W = W_0 + \frac{\alpha}{r}BA$. In 16 bits that is all
# there is to it. But a weight in 4 bits takes only the values of its grid. What happens
# to an update that is smaller than half a step? Eight weights, a grid of whole numbers:

# %% tags=["nbval-check-output"]
weights = [-3, -1, 0, 0, 1, 2, 2, 4]  # on the grid: what a code can say
updates = [0.1, -0.2, 0.1, 0.3, -0.1, 0.2, -0.3, 0.1]
sums = [weight + update for weight, update in zip(weights, updates)]
print("summed      ", [round(total, 1) for total in sums])
print("rounded back", [round(total) for total in sums])

# %% [markdown]
# Every weight is what it was before: the update is gone, and no error was raised.
#
# How large is a step of NF4? It places 16 levels between −1 and 1 of the largest weight
# of a block of 64. For normal weights with standard deviation σ:

# %% tags=["nbval-check-output"]
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit

generator = torch.Generator().manual_seed(0)
matrix = torch.randn(1024, 1024, generator=generator)  # σ = 1
codes, state = quantize_4bit(matrix, quant_type="nf4")
largest = matrix.reshape(-1, 64).abs().amax(dim=1).mean()
step = largest * state.code.sort().values.diff().min()
print(f"largest of 64: {largest:.1f} σ, finest step {step:.2f} σ")

# %% [markdown]
# So an update must reach half a step, about 0.1 σ, to move even a weight near zero for
# sure. How much of a smaller one survives bitsandbytes' own rounding?

# %%
on_grid = dequantize_4bit(codes, state)
direction = torch.randn(1024, 1024, generator=generator)


def share_kept(size):
    packed, scales = quantize_4bit(on_grid + size * direction, quant_type="nf4")
    moved = dequantize_4bit(packed, scales) - on_grid
    return ((moved * direction).sum() / (size * direction**2).sum()).item()


# %% [markdown]
# And where does a trained adapter lie? Ours, on its base in NF4:

# %%
import numpy as np

from course_utils.gguf import merging

model, tokenizer = models.load_adapter(
    adapter, plan, profile, load_in_4bit=True
)
layers = merging.packed_layers(model)
codes_before = merging.packed_codes(layers)
update = np.median([*map(merging.relative_update, layers.values())])

# %%
from course_utils.plots import REFERENCE, line_plot

sizes, kept = [2.0**power for power in range(-10, 1)], share_kept(update)
axes = line_plot(
    sizes, {"update that is kept": [share_kept(size) for size in sizes]},
    x_label="size of the update (standard deviations of the weights)",
    y_label="share that is kept", log_x=True, marker="o",
    title=f"Of an update of {update:.2%} of σ, NF4 keeps {kept:.1%}",
)
axes.axvline(update, label="our adapter, median of its layers", **REFERENCE)
axes.legend(loc="center left");

# %% [markdown]
# (What is kept on the left is no code: a block's scale is its largest weight, and that
# one weight keeps its update.)
#
# What does that do to the model? Two models are compared where they act: at each position
# of a text, how far is one distribution over the next token from the other? That is the
# *Kullback–Leibler divergence*, here in nats and averaged over positions, 0 for equals:
#
# $$\mathrm{KL}(p \,\|\, q) = \sum_v p_v \, (\ln p_v - \ln q_v)$$

# %% tags=["nbval-check-output"]
from course_utils.gguf import fidelity

log_p, log_q = np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])
by_hand = (np.exp(log_p) * (log_p - log_q)).sum()
[by_package] = fidelity.divergence(log_p, log_q)
print(f"{by_hand:.3f} by hand, {by_package:.3f} by the package")

# %% [markdown]
# We compare on held-out answers. (llama.cpp will read them on the CPU, so a large model
# gets fewer.) First the live model, and the base without its adapter:

# %%
from course_utils.data.tokens import to_dataset
from course_utils.model.architectures import Architecture

architecture = Architecture.from_config(model.config, "this model")
held_out = validation[: fidelity.row_budget(architecture, 16)]
scored = fidelity.scored_rows(to_dataset(held_out, tokenizer, plan.max_length))

# %%
scores_of = fidelity.model_log_probabilities  # at each position, of each token
scores = {"live on the 4-bit base": scores_of(model, scored)}
with model.disable_adapter():
    scores["4-bit base, no adapter"] = scores_of(model, scored)

# %% [markdown]
# KL grows with the *square* of a small shift. So if the share `kept` of the update
# survives, a rough prediction is (1 − kept)² of the base's distance. Now the line of the
# tutorials:

# %%
import warnings

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    merged = model.merge_and_unload()  # W ← W + (α/r)·B·A, in W's own format
merging.unpack_to(merged, profile.compute_dtype)  # PEFT left fp32 there
print(*{str(w.message) for w in said if "4-bit" in str(w.message)})

# %%
scores["merged into 4-bit codes"] = scores_of(merged, scored)
changed, total = merging.changed_codes(codes_before, merged)
print(f"{changed:,} of {total:,} codes changed")
del model, merged, layers
models.free_memory()

# %%
live, bare, in_codes = scores.values()
no_adapter = fidelity.compare_distributions(live, bare, scored).kl
kl_4bit_merge = fidelity.compare_distributions(live, in_codes, scored).kl
predicted = (1 - kept) ** 2 * no_adapter
print(f"no adapter: {no_adapter:.3g} nats a token from the live model")
print(f"merged: {predicted:.3g} predicted, {kl_4bit_merge:.3g} measured")

# %% [markdown]
# So the merged model is nearly as far from the trained one as the base that was never
# trained. The only sign was a warning of “rounding errors”.
#
# ### ●○○ Exercise 1 · Merge on a grid (4 minutes)
#
# *Why it matters: “it raised no error” is how most adapters are lost.*
#
# Write `merge_on_grid(weights, updates, step)`: add each update to its weight, and round
# the sum to the nearest multiple of `step`. A weight need not lie on the grid.

# %% tags=["exercise"]
from course_utils.exercises import TODO, check


def merge_on_grid(
    weights: list[float], updates: list[float], step: float
) -> list[float]:
    """Weights after a merge into a format that knows multiples of step only."""
    return TODO


# %% tags=["check"]
check(merge_on_grid)

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
# ## 2. The two right ways
#
# **Dequantize, then merge.** The update is added to the numbers that the 4-bit base
# computes with. The result is the function that runs live on that base: what was
# trained, if it was trained there (QLoRA).
#
# **Merge into the plain base.** The update is added to the weights as they were before
# anybody quantized them. This is what Unsloth writes and what is usually shipped. It is
# what was trained only if the adapter was trained there, as here; else a close relative.

# %%
from peft import PeftModel


def dequantized_then_merged():
    base, _ = models.load_base(plan, profile, load_in_4bit=True)
    plain = base.dequantize()  # transformers: codes become numbers
    return PeftModel.from_pretrained(plain, adapter).merge_and_unload()


def live_on_plain():
    return models.load_adapter(adapter, plan, profile, load_in_4bit=False)[0]


# %% [markdown]
# Prediction: each merged form agrees to rounding with the live form on its own base, and
# with no other.

# %%
forms = {
    "dequantized, then merged": dequantized_then_merged,
    "live on the plain base": live_on_plain,
    "plain base, merged": lambda: live_on_plain().merge_and_unload(),
}
for name, make in merging.forms_that_fit(forms, architecture, profile).items():
    scores[name] = scores_of(make(), scored)
    models.free_memory()

# %%
import pandas as pd

distance = {
    f"to {name}": {
        other: fidelity.compare_distributions(live, found, scored).kl
        for other, found in scores.items()
    }
    for name, live in scores.items() if name.startswith("live")
}
pd.DataFrame(distance).map("{:.2g}".format)

# %% [markdown]
# Nats a token. Each right way has its zero in one column: it keeps one function, and the
# other column is the distance of the two bases, which no merge can close. The form in
# 4-bit codes keeps neither. (SmolLM2 comes to this course unpacked from a 4-bit file, so
# NF4 rounds a second time: expect another distance on another model.)
#
# ## 3. What a GGUF will be, before it is made
#
# GGUF is one file with everything in it: weights, tokenizer, chat template, end token.
# Its quantized *types* pack weights in blocks with a scale. A block of Q8_0 has 32
# weights in a byte each and a 16-bit scale: 8 · (32 + 2) / 32 = 8.5 bits a weight. A
# *K-quant* packs 256 weights with scales of two levels; Q4_K takes 144 bytes for them:
# 8 · 144 / 256 = 4.5.
#
# A *level* such as q4_k_m is a rule over types: Q4_K for most matrices; Q6_K for the
# *favoured* ones, `v_proj` and `down_proj` of about half of the blocks and the output
# head; fp32 for norms. And a row must be a whole number of blocks. 4096 is 16 × 256;
# SmolLM2's 576 is 2.25 × 256, so Q4_K is replaced by Q5_0 and Q6_K by Q8_0, whose blocks
# have 32 weights. What follows for two models?

# %% tags=["nbval-check-output"]
from course_utils.gguf.file import bytes_and_bits, count_types
from course_utils.gguf.file import predicted_tensors
from course_utils.model.architectures import load_architectures

shapes = load_architectures()
for name in ("llama-3.1-8b", "smollm2-135m"):
    tensors = predicted_tensors(shapes[name], "q4_k_m")
    size, bits = bytes_and_bits(tensors)
    print(f"{name}: {size / 1e9:.3f} GB, {bits:.2f} bits a weight")
    print(" ", count_types(tensors))

# %% [markdown]
# The same level has 4.9 bits on one model and 6.2 on the other, where “Q4” is a name
# only.
#
# ### ●●○ Exercise 2 · Predict q5_k_m (6 minutes)
#
# *Why it matters: it explains a file that is a third larger than its name says.*
#
# At q5_k_m a favoured matrix wants Q6_K, any other Q5_K. Where its row is no multiple of
# 256, Q6_K becomes Q8_0 and Q5_K becomes Q5_1. Write `type_in_file(row_length,
# favoured)`. In section 4 you make that file and see who was right.

# %% tags=["exercise"]
def type_in_file(row_length: int, favoured: bool) -> str:
    """Type of a matrix at level q5_k_m."""
    return TODO


# %% tags=["check"]
check(type_in_file)

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
#         return "Q6_K" if favoured else "Q5_K"
#     return "Q8_0" if favoured else "Q5_1"
# ```
#
# </details>
#
# ## 4. Make it
#
# What does it take? At its fullest moment the disk holds the merged model and a first
# file beside the results; and to be compared, a file must fit into memory.

# %%
from course_utils.gguf.export import levels_that_fit, needed_bytes

LEVELS = ["f16", "q8_0", "q5_k_m", "q4_k_m"]
fits = levels_that_fit(architecture, LEVELS)
levels = [level for level, reason in fits.items() if not reason]
shipped, worst = levels[-3:][0], levels[-1]  # q8_0, where it fits, and q4_k_m
for shape in (architecture, shapes[recipe.architecture]):
    print(f"{shape.title}: {needed_bytes(shape, LEVELS) / 1e9:.1f} GB of disk")
{level: reason or "fits" for level, reason in fits.items()}

# %% [markdown]
# **Step 1: a merged folder in 16 bits**, for the converter, for transformers, for vLLM
# or for the hub (there `push_to_hub_merged`). If the model is loaded in 4 bits, Unsloth
# fetches the 16-bit base for it:

# %%
import shutil

from course_utils.gguf.export import load_for_export
from course_utils.places import make_folder

work = finetuned.folder / "export"
shutil.rmtree(work, ignore_errors=True)  # of an earlier run
model, tokenizer = load_for_export(plan, profile, adapter)
model.save_pretrained_merged(
    str(make_folder(work) / "merged"),
    tokenizer,  # saved beside it, with its template
    save_method="merged_16bit",  # "lora" would save the adapter alone
);

# %% [markdown]
# **Step 2: convert.** llama.cpp's script writes f32, f16, bf16 or q8_0:

# %%
import subprocess
import sys


def run(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]
    return done.stdout


# %%
run(
    sys.executable, llama_cpp / "convert_hf_to_gguf.py", work / "merged",
    "--outfile", work / "f16.gguf", "--outtype", "f16",
)
shutil.rmtree(work / "merged")

# %% [markdown]
# **Step 3: quantize**, each level from the file in 16 bits:

# %%
files = {level: work / f"{level}.gguf" for level in LEVELS}
for level in LEVELS[1:]:
    run(llama_cpp / "llama-quantize", files["f16"], files[level], level.upper())
{level: f"{path.stat().st_size / 1e6:.1f} MB" for level, path in files.items()}

# %% [markdown]
# Is it what was predicted? Each tensor of each file by name, type, numbers and bytes;
# then three types of q5_k_m, for your exercise. (Rows of `ffn_down` have the inner width
# of the MLP, the other two the model's; block 0 is among the favoured.)

# %%
from course_utils.gguf.file import read_gguf

facts = {level: read_gguf(path) for level, path in files.items()}
for level, fact in facts.items():
    assert fact.tensors == predicted_tensors(architecture, level), level
for name in ("attn_q", "attn_v", "ffn_down"):
    print(name, facts["q5_k_m"].tensors[f"blk.0.{name}.weight"].type)
for level in {*LEVELS} - {*levels}:  # too large to be compared here
    files.pop(level).unlink()

# %% [markdown]
# **All steps in one line**: Unsloth's `save_pretrained_gguf`, for one level or a list.
# Does it give the same?

# %%
import contextlib

with contextlib.chdir(make_folder(work / "one line")):
    model.save_pretrained_gguf(
        str(work / "one line" / "model"),  # merged; the GGUF lies near it
        tokenizer,  # goes into the file, with template and end token
        quantization_method="q8_0",  # llama.cpp's names, in lower case
    )
[by_unsloth] = (work / "one line").rglob("*.Q8_0.gguf")
assert read_gguf(by_unsloth).tensors == facts["q8_0"].tensors
shutil.rmtree(work / "one line")
del model

# %% [markdown]
# The same tensors, types and bytes. (Not every weight: on a CPU Unsloth goes from 32 bits
# to q8_0 at once, our steps went by way of 16. And on a GPU it writes where the program
# stands, hence `chdir`.)
#
# ## 5. Is everything in the file?
#
# **Tokenizer.** The file splits text by itself. A converter that takes the tokenizer for
# another kind gives a model that talks nonsense. So: a corpus with digits, emoji, other
# scripts and the template, split by llama.cpp and by the tokenizer of the training.
# **End token**: without it the model never stops. **Template**: without it a server makes
# one up.

# %%
chat = [{"role": "user", "content": held_out[0].request}]
corpus = ["In 2049 it cost 1,234.50 – twice!", "日本 🙂 niño\n\ttab  spaces"]
corpus += [tokenizer.apply_chat_template(chat, tokenize=False)]
corpus += [row.answer for row in held_out]
ours = [tokenizer(x, add_special_tokens=False)["input_ids"] for x in corpus]

# %%
from course_utils.gguf.llama_cpp import tokenize_and_score

for level, path in files.items():
    assert tokenize_and_score(path, texts=corpus)[0] == ours, level
    assert facts[level].end_token == tokenizer.eos_token, level
    assert facts[level].chat_template, f"{level} has no chat template"
f"{sum(map(len, ours))} tokens, end, template: right in {len(files)} files"

# %% [markdown]
# Is the template the *right* one? That shows in section 7.
#
# ## 6. What did it lose?
#
# llama.cpp reads the held-out answers from each file, and its distributions are held
# against those of the model before the export. What would you do instead of a GGUF? Ship
# the NF4 base with the adapter beside it: that is the yardstick. Predict the order.

# %%
nf4 = scores["live on the 4-bit base"]
before = scores.get("live on the plain base", nf4)
found = {level: fidelity.gguf_log_probabilities(files[level], scored)
         for level in levels}
lost = {
    name: fidelity.compare_distributions(before, other, scored)
    for name, other in [*found.items(), ("NF4 and adapter", nf4)]
}
del scores, found

# %% [markdown]
# Two numbers stand beside the divergence. *Top-1*: at how many positions do both put the
# same token first? *Perplexity* looks at one token a position, and can even fall by luck.
# Each interval comes from resampling whole answers: the tokens of one answer hang
# together, and to count them one by one would make it too short.

# %%
pd.DataFrame({name: found.as_row() for name, found in lost.items()}).T

# %%
from course_utils.plots import TUNED, framed

nf4 = lost.pop("NF4 and adapter")
axes = framed(
    x_label="size of the file (MB)", y_label="KL (nats a token, log scale)",
    title=f"{worst}: {lost[worst].kl:.2g} nats, NF4 with adapter: {nf4.kl:.2g}",
)
megabytes = [facts[level].size_bytes / 1e6 for level in lost]
values = np.array([found.kl for found in lost.values()])
ends = np.array([found.kl_interval for found in lost.values()]).T
style = {"fmt": "o", "color": TUNED, "capsize": 4}
axes.errorbar(megabytes, values, abs(ends - values), **style)
for level, *point in zip(lost, megabytes, values):
    axes.annotate(f"  {level}", point)
axes.axhline(nf4.kl, label="NF4 base with adapter", **REFERENCE)
axes.set_yscale("log")
axes.margins(x=0.12)
axes.legend(loc="center right");

# %% [markdown]
# Do more bits always lose less? On the small model q5_k_m loses *more* than q4_k_m. It
# comes to this course unpacked from a file in Q4_1, so its weights lie on a grid
# already, and the steps of Q5_1 meet that grid badly. On normal numbers Q5_1 rounds
# better than Q5_0 (an error of 0.038 against 0.043 σ), on numbers from Q4_1 worse
# (0.045). Whether that is all of it, we did not test. A level is chosen by measuring.
#
# **The standard tool** is `llama-perplexity`. It reads a text, keeps the distributions of
# a first file, and holds a second one against them:

# %%
text, chunks = work / "text.txt", fidelity.row_budget(architecture, 4)
text.write_text("".join(
    tokenizer.apply_chat_template(row.messages, tokenize=False)
    for row in validation[:24]
))
program = [llama_cpp / "llama-perplexity", "--file", text, "--chunks", chunks]
program += ["--ctx-size", 256, "--kl-divergence-base", work / "base.bin"]
run(*program, "--model", files[levels[0]])
told = run(*program, "--model", files[worst], "--kl-divergence").splitlines()
(work / "base.bin").unlink()
print(*[t for t in told if t.startswith(("Mean    KLD", "Same top"))], sep="\n")

# %% [markdown]
# It scores other tokens, the second half of each window of 256 with requests included,
# and its ± counts them as independent. For Llama 3 8B, llama.cpp's README lists 0.0014
# nats for q8_0, 0.011 for q5_k_m and 0.031 for q4_k_m (on Wikitext, against f16).
#
# ## 7. Serve it, and ask it
#
# llama.cpp's server speaks OpenAI's protocol. By hand:
#
# ```
# llama-server --model q8_0.gguf --port 8080 --ctx-size 4096
# llama-server --model q8_0.gguf --port 8080 --n-gpu-layers 99   # a build for a GPU
# ```
#
# Here `serve` starts it on a free port, for as long as the block lasts. Does the model
# see the prompt of its training? What counts is the token ids. We also compare them with
# those of a template that has one blank too many, at its end.

# %%
import copy

from openai import DefaultHttpxClient, OpenAI

from course_utils.gguf.serving import same_prompt, serve

longest = project.suite().max_new_tokens
spoiled = copy.deepcopy(tokenizer)
spoiled.chat_template = tokenizer.chat_template + " "

# %%
with serve(files[shipped]) as server:
    client = OpenAI(
        base_url=f"{server.url}/v1", api_key="not needed",
        http_client=DefaultHttpxClient(trust_env=False),  # past any proxy
    )
    reply = client.chat.completions.create(
        model="any", messages=chat, max_tokens=longest, temperature=0
    )
    seen = [same_prompt(server, t, chat) for t in (tokenizer, spoiled)]
assert seen == [True, False]
print(reply.choices[0].message.content)

# %% [markdown]
# The ids are those of the training. With one blank more they are not, and no other check
# would tell: a template is there, its words and end tokens are right.
#
# ### ●●○ Exercise 3 · Break it quietly (6 minutes)
#
# *Why it matters: “the GGUF is worse than my model” is often the template, not the
# level.*
#
# Write `break_quietly(template)`: change a chat template so that each word and each end
# token is still there, and the model sees other ids. The check renders it with SmolLM2's
# tokenizer; the template ends in `…<|im_start|>assistant\n{% endif %}`.

# %% tags=["exercise"]
def break_quietly(template: str) -> str:
    """The template, changed so that only the model sees it."""
    return TODO


# %% tags=["check"]
check(break_quietly)

# %% [markdown]
# <details><summary>Hint</summary>
#
# What stands between the role and the text that follows it?
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def break_quietly(template: str) -> str:
#     return template.replace("assistant\n", "assistant ")
# ```
#
# </details>
#
# **Ollama** reads the same file through a *Modelfile*, which has a template language of
# its own. The course makes it from the tokenizer's template, with Ollama's names in the
# place of the texts; a test renders one turn of it. Ollama itself was not run here. It
# lies beside the GGUF file:

# %%
from course_utils.gguf.serving import modelfile

text = modelfile(files[shipped].name, tokenizer)
(work / "Modelfile").write_text(text)
print(text)

# %% [markdown]
# Two commands do the rest:
#
# ```
# ollama create my-model -f Modelfile
# ollama run my-model "Something short, please."
# ```
#
# **Does the trained form survive?** The same held-out requests to two files:

# %%
from statsmodels.stats.proportion import proportion_confint

asked, form = validation[: fidelity.row_budget(architecture, 12)], {}
for level in dict.fromkeys([shipped, worst]):
    with serve(files[level]) as server:
        answers = server.answers(
            [row.request for row in asked], max_new_tokens=longest
        )
    right = sum(project.follows_form(answer.text) for answer in answers)
    low, high = proportion_confint(right, len(asked), method="wilson")
    form[level] = f"{right} of {len(asked)} ({low:.0%} … {high:.0%})"
form

# %% [markdown]
# With so few answers only a collapse would show: the divergence is the test.
#
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | the merged model answers like the base | merged into a 4-bit base | section 2; compare logits |
# | the GGUF talks nonsense, the model before it did not | tokenizer taken for another kind, template or end token lost | the checks of sections 5 and 7 |
# | answers never end in Ollama | no `PARAMETER stop`, or a template written by hand | the Modelfile of section 7 |
# | `NotImplementedError: merging LoRA into a 4-bit model` | Unsloth's export on a CPU | load with `load_in_4bit=False` |
# | “No space left on device” after ten minutes | merged model and first GGUF stand beside the result | `needed_bytes` first; fewer levels |
# | `llama-quantize` refuses | a K-quant from q8_0, or an unknown name | start from f16 or bf16 |
# | Unsloth fetches or wipes a llama.cpp folder | it found none that it takes for whole | `UNSLOTH_LLAMA_CPP_PATH`, before the import |
#
# ## In the interview
#
# Say the answer aloud before you unfold it. Its numbers were measured or computed by
# this course, or stand in a source that the bank names.

# %%
from course_utils.evidence.cards import show_cards

show_cards("07")

# %% [markdown]
# ## The same on your project
#
# From an adapter folder to two files, without the course's package. `llama_cpp` is a
# folder with its converter and `llama-quantize`.

# %%
from unsloth import FastLanguageModel


def ship(adapter_folder, target, llama_cpp):
    model, tokenizer = FastLanguageModel.from_pretrained(
        adapter_folder, load_in_4bit=False
    )
    merged, f16 = f"{target}/merged", f"{target}/F16.gguf"
    model.save_pretrained_merged(merged, tokenizer, save_method="merged_16bit")
    convert = [sys.executable, f"{llama_cpp}/convert_hf_to_gguf.py", merged]
    subprocess.run([*convert, "--outfile", f16, "--outtype", "f16"], check=True)
    for level in ("Q8_0", "Q4_K_M"):
        quantize = [f"{llama_cpp}/llama-quantize", f16]
        subprocess.run([*quantize, f"{target}/{level}.gguf", level], check=True)


# %% [markdown]
# ## You can now …

# %%
print(
    f"… say that merging into NF4 changed {changed:,} of {total:,} codes\n"
    f"  and ended {kl_4bit_merge:.2f} nats a token from the live model,\n"
    f"  where the base without adapter is {no_adapter:.2f} away,\n"
    f"… predict {worst} at {facts[worst].bits_per_weight:.2f} bits a weight,\n"
    f"… report {shipped} at {lost[shipped].kl:.1g} and {worst} at "
    f"{lost[worst].kl:.1g} nats,\n"
    f"… serve {shipped}: {form[shipped]} in the form."
)

# %% [markdown]
# ## What this run does not show
#
# - What another model loses. Bits a weight differ, and so does what rounding does.
# - Levels below four bits, and importance matrices, which choose what to round well.
# - Ollama itself, and chats of several turns in it.
# - Speed: a smaller file need not be the faster.
# - Whether a user would notice: lesson 05's blind test asks that.
#
# ## Sources
#
# - PEFT 0.21, `tuners/lora/bnb.py` (merging into bitsandbytes' layers, its warning);
#   Unsloth 2026.10, `save.py`; unsloth_zoo, `cpu/loader.py`: installed source.
# - llama.cpp inside llama-cpp-python 0.3.36: `src/llama-quant.cpp` (which tensor gets
#   which type), `tools/perplexity/README.md` (its table for Llama 3 8B) and
#   `perplexity.cpp`, `tools/server/README.md`.
# - gguf 0.19, `GGML_QUANT_SIZES`: the blocks.
# - Dettmers et al. 2023, *QLoRA*, arXiv:2305.14314, for NF4 (§3).

# %% tags=["hide-input"]
from course_utils.machine.run_record import save_results

results = [
    {
        "file": level,
        "MB": f"{facts[level].size_bytes / 1e6:.0f}",
        "bits a weight": f"{facts[level].bits_per_weight:.2f}",
        **found.as_row(),
        "in the form": form.get(level, "not asked"),
    }
    for level, found in lost.items()
]
save_results(finetuned.folder, "07", results);

# %% tags=["hide-input"]
from course_utils.evidence.ledger import Ledger
from course_utils.gguf.file import K_BLOCK

nan = float("nan")  # not measured on this machine
plain = distance.get("to live on the plain base", {"plain base, merged": nan})
kl = dict.fromkeys(LEVELS, nan) | {k: found.kl for k, found in lost.items()}
small = predicted_tensors(shapes["smollm2-135m"], "q4_k_m")
large = bytes_and_bits(predicted_tensors(shapes["llama-3.1-8b"], "q4_k_m"))
fallbacks = [
    name for name, tensor in small.items()
    if tensor.type in ("Q5_0", "Q8_0") and name.startswith("blk.")
]
ledger = Ledger("07", profile, recipe.name)
ledger.record("C112", codes=total, codes_changed=changed,
              kl_no_adapter=no_adapter, kl_4bit_merge=kl_4bit_merge,
              kl_16bit_merge=plain["plain base, merged"])
ledger.record("C113", k_block=K_BLOCK, fallback_matrices=len(fallbacks),
              smollm2_q4_k_m_bits=bytes_and_bits(small)[1],
              llama_8b_q4_k_m_bits=large[1], llama_8b_q4_k_m_gb=large[0] / 1e9,
              q8_0_kl=kl["q8_0"], q5_k_m_kl=kl["q5_k_m"],
              q4_k_m_kl=kl["q4_k_m"])
assert not ledger.missing()

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "07",
    profile,
    headline=f"{worst}: {lost[worst].kl:.2g} nats a token from the model "
    f"before export, form {form[worst]}",
    seed=plan.seed,
)

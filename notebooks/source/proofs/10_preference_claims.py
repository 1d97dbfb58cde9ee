# %% [markdown]
# # 10 · What is in a preference loss, and what does the library do?
#
# <!-- colab badge -->
#
# Seven sentences of interview answers about preference tuning, each quoted. Three are
# settled by code: a loss computed by hand and by TRL, and TRL's own defaults. Four can
# only be read. It is for whoever prepares an interview, or doubts an answer of the
# cards. No lesson needs it.
#
# **Time and memory.** About 12 minutes to read; one minute and 1 GiB on a busy CPU,
# most of it imports. The model is a random one with two layers, on every machine, since
# a loss is the same function of any model. So a T4 makes no difference.

# %% tags=["first-cell"]
pass

# %%
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# **The sources** are S0, notes of one project; S2, about a project named *InfraMind*; and
# S4, a general list of questions. A folded cell at the end holds every number against
# the claim bank. What is pure arithmetic (groups without signal, pairs of a ranking,
# memory, estimators of the KL) stands in `course_utils/evidence/formulas`.
#
# ## 1. “DPO skips the reward model and reinforcement learning”
#
# (S4. Right.) It compares how far two answers have moved from a *reference*, the model
# as it was before. With π for the policy, and a chosen and a rejected answer to x:
#
# $$L = -\ln \sigma\left(\beta\left[\ln\frac{\pi(\text{chosen}|x)}{\pi_0(\text{chosen}|x)}
# - \ln\frac{\pi(\text{rejected}|x)}{\pi_0(\text{rejected}|x)}\right]\right)$$
#
# No reward model, no sampling. But is a second model needed for π₀? And does TRL compute
# this? One pair, and a model that is small enough to look at:

# %%
import torch
from course_utils.model.nano import cached_nano_path
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

disable_progress_bar()

# %%
folder = cached_nano_path()
base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(folder)
pair = {
    "prompt": "A short film, please.",
    "chosen": ' {"runtime": {"max": 90}}',
    "rejected": " What a lovely idea! Here is a film that you will surely like.",
}

# %% [markdown]
# TRL 1.15 computes the log-probabilities in a kernel of its own for GPUs. Plain torch
# takes its place here, on every machine; the loss around it stays TRL's.

# %%
from torch.nn.functional import linear
from trl.trainer import utils as trl_utils


class PlainHead:
    """Log-probability, entropy, mean logit and top choice of each token, by torch."""

    @staticmethod
    def apply(hidden, weight, bias, targets, temperature, *_):
        logits = linear(hidden, weight, bias) / temperature
        logs = logits.log_softmax(-1)
        found = logs.gather(-1, targets[:, None])[:, 0]
        entropy = -(logs.exp() * logs).sum(-1)
        return found, entropy, None, logits.mean(-1), logits.argmax(-1) == targets


trl_utils._ChunkedLogProbFunction = PlainHead

# %%
import tempfile

from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer

disable_progress_bars()

# %%
scratch = tempfile.TemporaryDirectory()  # gone when this kernel ends
settings = DPOConfig(
    scratch.name, max_steps=5, learning_rate=1e-2, per_device_train_batch_size=1,
    use_cpu=True, bf16=False, gradient_checkpointing=False,
    save_strategy="no", report_to="none", disable_tqdm=True, seed=0,
)

# %%
trainer = DPOTrainer(
    base, args=settings, train_dataset=Dataset.from_list([pair]),
    processing_class=tokenizer, peft_config=LoraConfig(target_modules="all-linear"),
)
trainer.remove_callback(PrinterCallback)

# %% tags=["nbval-check-output"]
policy, batch = trainer.model, next(iter(trainer.get_train_dataloader()))
{name: tuple(tensor.shape) for name, tensor in batch.items()}

# %% [markdown]
# Two rows: the chosen answer with its prompt, then the rejected one. The mask marks the
# tokens of the answer. By hand: add up their log-probabilities, once with the adapter
# and once without, and take the loss of the difference.

# %%
def log_probability(model):
    """Of both answers in the batch, in nats, summed over their tokens."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logs = model(**inputs).logits[:, :-1].log_softmax(-1)
    found = logs.gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    return (found * batch["completion_mask"][:, 1:]).sum(-1)


# %%
@torch.no_grad()
def moved():
    """How much likelier than in the reference each answer has become, in nats."""
    with policy.disable_adapter():
        reference = log_probability(policy)
    return log_probability(policy) - reference


# %%
from torch.nn.functional import softplus

beta, lengths = settings.beta, batch["completion_mask"].sum(-1)


def by_hand():
    """Four losses of the pair; -ln σ(z) is softplus(-z)."""
    chosen, rejected = moved()
    margin = chosen - rejected
    a_token = chosen / lengths[0] - rejected / lengths[1]
    return {
        "sigmoid": softplus(-beta * margin).item(),
        "hinge": max(0.0, (1 - beta * margin).item()),
        "ipo": ((a_token - 1 / (2 * beta)) ** 2).item(),
        "sigmoid_norm": softplus(-beta * a_token).item(),
    }


# %% [markdown]
# The first is DPO's; the other three are relatives that section 3 needs. TRL's own
# function is asked for each in turn:

# %%
@torch.no_grad()
def by_trl():
    """The same four losses from DPOTrainer."""
    found = {}
    for name in by_hand():
        trainer.loss_types = [name]
        found[name] = trainer._compute_loss(policy, batch, False).item()
    trainer.loss_types = settings.loss_type
    return found


# %% tags=["nbval-check-output"]
import pandas as pd

before = pd.DataFrame({"by hand": by_hand(), "TRL": by_trl()})
print(before.round(4).to_string())
print("models kept for the reference:", 0 if trainer.ref_model is None else 1)

# %% [markdown]
# DPO's loss is 0.6931 = ln 2: the adapter starts at zero, nothing has moved, and σ(0) is
# one half. TRL holds no second model. Like our own cell, it switches the adapter off for
# the reference. Is that still so after five updates, when the numbers are not trivial?

# %%
trainer.train()
policy.eval()
after = pd.DataFrame({"by hand": by_hand(), "TRL": by_trl()})
chosen_moved, rejected_moved = moved().tolist()
print(after.round(4).to_string())
print(f"chosen {chosen_moved:+.1f} nats, rejected {rejected_moved:+.1f} nats")

# %%
largest_gap = max(
    (table["by hand"] - table["TRL"]).abs().max() for table in (before, after)
)
assert largest_gap < 1e-4
assert after.loc["sigmoid", "TRL"] < before.loc["sigmoid", "TRL"]
f"largest difference: {largest_gap:.6f}"

# %% [markdown]
# So the sentence holds, with two things added: a reference is needed, and with LoRA it
# costs time and no memory. The loss fell here for two reasons, one answer up and the
# other down. It would also fall if both went down, the rejected one further.
#
# ## 2. “The policy maximises the reward less β times the KL to the reference”
#
# (S4. Right, as the objective of RLHF.) Does the library that you install do so when you
# say nothing? Its settings can be asked:

# %%
from dataclasses import fields

from trl import GRPOConfig

grpo = {field.name: field for field in fields(GRPOConfig)}
dpo = {field.name: field for field in fields(DPOConfig)}

# %% tags=["nbval-check-output"]
for name in ("beta", "num_generations", "loss_type", "scale_rewards"):
    print(f"GRPO {name:16} {grpo[name].default}")
print(f"DPO  {'beta':16} {dpo['beta'].default}")

# %% [markdown]
# GRPO's β is 0: no KL is computed, and no reference is loaded. The documentation gives
# recent studies as the reason. So a run that “follows the textbook” has to say so. The
# drift is held by clipping, by few updates for each batch and by a small learning rate;
# whoever wants to see it has to log it.
#
# ## 3. “Alternatives to RLHF are DPO, AI feedback, other RL algorithms, offline RL”
#
# (S4. Imprecise: the list is old and names few.) What does one library offer today? The names stand in
# the help of the settings:

# %%
import re

import trl

dpo_losses = re.findall(r"'(\w+)'", dpo["loss_type"].metadata["help"])
grpo_help = grpo["loss_type"].metadata["help"]
grpo_losses = re.findall(r"'(\w+)'", grpo_help.split(". ")[1])
trainers = [name for name in trl.__all__ if name.endswith("Trainer")]

# %% tags=["nbval-check-output"]
print(f"{len(dpo_losses)} losses of DPO:", *dpo_losses)
print(f"{len(grpo_losses)} losses of GRPO:", *grpo_losses)
print(f"{len(trainers)} trainers:", *trainers)

# %% [markdown]
# No PPO among them. What do three of DPO's losses want, by the margin between the
# answers? (Hinge and IPO in their plain form, over the same margin, β = 0.1.)

# %%
import numpy as np
from course_utils.plots import REFERENCE, line_plot

margin = np.linspace(-20, 30, 201)
target = 1 / (2 * beta)

# %%
axes = line_plot(
    margin,
    {
        "DPO": np.log1p(np.exp(-beta * margin)),
        "hinge": np.maximum(0, 1 - beta * margin),
        "IPO, a fiftieth": (margin - target) ** 2 / 50,
    },
    x_label="margin: how much further the chosen answer moved (nats)",
    y_label="loss", title=f"DPO always wants more, IPO wants {target:.0f} nats",
)
axes.axvline(target, **REFERENCE)
axes.set_ylim(0, 4)
axes.legend();

# %% [markdown]
# DPO's curve falls for ever, ever more slowly; hinge is content from a margin of 1/β on;
# IPO pushes back beyond 1/(2β). In TRL, IPO takes the margin in the mean over tokens,
# as the table of section 1 showed.
#
# ## 4. Four sentences that can only be read
#
# What was opened, and where:
#
# | Claim | Verdict | What the source says |
# |---|---|---|
# | C018, S0: RLHF trains a reward model, and the reward model trains the LLM | imprecise | the reward model scores; PPO changes the policy, with a KL penalty on each token. Labelers agreed with one another in 72.6 % of the comparisons (InstructGPT, §3.4 and §3.5) |
# | C019, S0: RLHF is for safety and alignment | imprecise | the aim is helpful, honest and harmless, and in training helpfulness was put first. Preferred to GPT-3 85 % of the time, to GPT-3 with examples 71 %; worse on some public tests (InstructGPT, §1 and §3.4) |
# | C103, S2: SFT, RLHF and GRPO are three signals: pairs, human rankings, a reward function | imprecise | GRPO is PPO without a value model, the group's mean as its baseline; it was published with a learned reward model (DeepSeekMath, §4.1) |
# | C178, S4: trl originally focused on RLHF, as with PPO, and on DPO | imprecise | PPO alone until July 2023, when DPO came; GRPO came in January 2025, PPO left the main package in February 2026 (history of huggingface/trl) |
#
# ## What this notebook does not show
#
# - That DPO or GRPO help: the model is random, and one pair is no data set.
# - What happens to log p of the chosen answers in a real run; lesson 10 measures it.
# - TRL's GPU kernel: plain torch stood in for it.
#
# ## Sources
#
# - Rafailov et al. 2023, *Direct Preference Optimization*, arXiv:2305.18290 (abstract).
# - Ouyang et al. 2022, *Training language models to follow instructions with human
#   feedback*, arXiv:2203.02155 (§1, §3.4 to §3.6).
# - Shao et al. 2024, *DeepSeekMath*, arXiv:2402.03300 (§4.1).
# - TRL 1.15, `trainer/dpo_trainer.py`, `dpo_config.py`, `grpo_config.py`: installed
#   source. Documentation and history of huggingface/trl.

# %% tags=["hide-input"]
from importlib.metadata import version

from course_utils.evidence.ledger import Ledger
from course_utils.recipes.book import chosen_recipe

start, end = (table.loc["sigmoid", "TRL"] for table in (before, after))
ledger = Ledger("proofs/10", profile, chosen_recipe().name)
ledger.record(
    "C151", loss_at_start=start, loss_after=end, largest_gap=largest_gap,
    reference_copies=0 if trainer.ref_model is None else 1,
)
ledger.record(
    "C154", trl_release=float(".".join(version("trl").split(".")[:2])),
    grpo_beta=grpo["beta"].default, grpo_answers=grpo["num_generations"].default,
    dpo_beta=dpo["beta"].default,
)
ledger.record(
    "C157", dpo_losses=len(dpo_losses), grpo_losses=len(grpo_losses),
    trainers=len(trainers),
)
assert not ledger.missing()

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "proofs/10",
    profile,
    headline=f"DPO by hand and by TRL: {start:.4f}, after five updates {end:.2f}",
    seed=settings.seed,
)

# %% [markdown]
# # 04 · Which sentences about loss, perplexity and forgetting are right?
#
# <!-- colab badge -->
#
# Five sentences from interview answers, each quoted, each settled by a cell: by a
# measurement of the tuned model, by arithmetic, or by the installed source. It is for
# whoever prepares an interview, or doubts an answer of the cards. No lesson needs it;
# lesson 04 settles the rest of its claims on the way, since they need its training runs.
#
# **Time and memory.** About 17 minutes to read; about a minute and 2 GiB on two CPU cores
# (measured; without a saved adapter 4 minutes more).

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: it imports unsloth
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# **The sources** are five interview-preparation documents, S0 to S4. A cell ends in
# `ledger.record(…)`: it refuses a number outside the bounds of the claim bank, and shows
# the claim, the verdict and the numbers. The tuned model is the one of lesson 03.

# %%
from course_utils.evidence.ledger import Ledger
from course_utils.projects.project import chosen_project
from course_utils.training.adapter import get_adapter

recipe = chosen_project().recipe
finetuned = get_adapter(recipe, profile)
plan = finetuned.plan
ledger = Ledger("proofs/04", profile, recipe.name)

# %% [markdown]
# ## 1. “The base is frozen, so its knowledge is preserved”
#
# *“Freezing the base preserves the model's core knowledge”* (S0), *“PEFT freezes the
# weights, so the original knowledge is preserved”* (S3). The weights are preserved. Is
# the function? A text about bridges and ferries, of which no training row speaks, is
# read by the base, by the tuned model, and by the tuned model with its adapter off.

# %%
from course_utils.curves.forgetting import general_passages

story = [passage.text for passage in general_passages()]


def scores(model, tokenizer):
    """Next-token scores after each position of the story's first paragraphs."""
    return [models.logits_of(model, tokenizer, text) for text in story[:3]]


# %%
from course_utils.curves.forgetting import score_passages

base, tokenizer = models.load_base(plan, profile)
of_base = scores(base, tokenizer)
general = {"base": score_passages(base, tokenizer, general_passages())}
del base
models.free_memory()

# %%
tuned, _ = models.load_adapter(finetuned.adapter_folder, plan, profile)
with tuned.disable_adapter():
    off = scores(tuned, tokenizer)
on = scores(tuned, tokenizer)
general["tuned"] = score_passages(tuned, tokenizer, general_passages())
del tuned
models.free_memory()


# %%
def largest_change(some, others) -> float:
    """Largest absolute difference between two lists of scores."""
    return max((a - b).abs().max().item() for a, b in zip(some, others))


# %%
moved = {"on": largest_change(on, of_base), "off": largest_change(off, of_base)}
moved

# %% [markdown]
# With the adapter off the base is back. With it on, the scores move on a text that
# training never visited. How often is the likeliest next token another one? A number
# like that needs a yardstick: how many first choices change when the *same base*, not
# tuned at all, is loaded in 4 bits (NF4)? (Where the base is in NF4 already, as on a T4,
# the second number is 0 by construction.)

# %%
in_nf4, _ = models.load_base(plan, profile, load_in_4bit=True)
of_nf4 = scores(in_nf4, tokenizer)
del in_nf4
models.free_memory()

# %%
import torch


def changed_choices(some, others) -> float:
    """Share of positions whose likeliest next token is another one."""
    differs = [a.argmax(-1) != b.argmax(-1) for a, b in zip(some, others)]
    return torch.cat(differs).float().mean().item()


# %%
by_tuning, by_nf4 = (changed_choices(some, of_base) for some in (on, of_nf4))
ledger.record("C125", changed_choices=by_tuning, nf4_choices=by_nf4)

# %% [markdown]
# On the small model the two shares are alike: merely storing the base in 4 bits changes
# as many first choices as tuning does. A changed choice is a change, not a loss. What
# was lost, in bits per byte of the same text, with its 95 % interval over the
# paragraphs?

# %%
from course_utils.curves.forgetting import change

effect = change(general["base"], general["tuned"])
print(effect)

# %%
ledger.record(
    "C012",
    logit_change_on=moved["on"],
    logit_change_off=moved["off"],
    general_base=effect.before,
    general_tuned=effect.after,
    general_low=effect.low,
    general_high=effect.high,
)

# %% [markdown]
# So “preserved” is imprecise in both directions. The function changed; and on the small
# model nothing measurable was *forgotten* in this run, since the interval includes 0.
# Lesson 04 shows a run of the same adapter, at a far too high rate, that wrecks the text.
#
# ## 2. “A lower perplexity means a better language model”
#
# (S4.) Perplexity is e to the loss per token. Its natural zero point: a model that finds
# all V tokens equally likely pays ln V.

# %% tags=["nbval-check-output"]
from course_utils.curves.losses import guess_level
from course_utils.model.architectures import load_architectures

architectures = load_architectures()
vocabulary = architectures["smollm2-135m"].vocab_size
f"ln {vocabulary:,} = {guess_level(vocabulary):.4f} nats per token"

# %% [markdown]
# Now the simplest language model there is: a table that counts which letter follows
# which, on the very story that it is then tested on.

# %% tags=["nbval-check-output"]
import math
from collections import Counter
from itertools import pairwise

text = "".join(passage.text for passage in general_passages())
pairs, firsts = Counter(pairwise(text)), Counter(text[:-1])
cost = -sum(n * math.log(n / firsts[a]) for (a, _), n in pairs.items())
pair_nats = cost / (len(text) - 1)  # per letter, and a letter is a byte here
pair_bits = pair_nats / math.log(2)
print(f"{math.exp(pair_nats):.2f} letters of perplexity, {pair_bits:.3f} bits per byte")

# %%
import matplotlib.pyplot as plt

from course_utils.plots import grouped_bars

_, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6))
names, model = ["letter pairs", "language model"], general["base"]
for axes, unit, table, bits in (
    (left, "perplexity", math.exp(pair_nats), model.perplexity),
    (right, "bits per byte", pair_bits, model.bits_per_byte),
):
    lower = names[0] if table < bits else names[1]
    title = f"Lower in {unit}: the {lower}"
    grouped_bars(names, {"": [table, bits]}, y_label=unit, title=title, axes=axes)

# %%
ledger.record(
    "C144",
    guess_nats=guess_level(vocabulary),
    model_perplexity=model.perplexity,
    model_bits=model.bits_per_byte,
    pair_perplexity=math.exp(pair_nats),
    pair_bits=pair_bits,
)

# %% [markdown]
# On the small model the table has the lower perplexity and cannot write a word. One
# letter is easier to guess than one token. Bits per byte divide by the same thing for
# both, the length of the text, and turn the order round. Neither unit compares two
# *texts*: an easy text is no merit of the model.
#
# ## 3. “LoRA's low-rank bottleneck prevents overfitting”
#
# (S1, whose adapter of rank 16 sits on Mistral-7B.) How many trainable numbers has that
# adapter, and how many has the lowest possible rank on SmolLM2?

# %% tags=["nbval-check-output"]
from course_utils.recipes.book import ALPACA_MISTRAL

adapters = {
    "Mistral-7B": (architectures["mistral-7b"], ALPACA_MISTRAL.plan.rank),
    "SmolLM2": (architectures["smollm2-135m"], 1),
}
numbers = {name: sum(a.lora_tensor_sizes(r)) for name, (a, r) in adapters.items()}
numbers

# %% [markdown]
# And how many tokens of answers had lesson 04's overfitting run to learn by heart?

# %%
from course_utils.data.datasets import load_rows
from course_utils.data.tokens import to_dataset

few = load_rows(plan)[0][: 4 * plan.effective_batch]
labels = to_dataset(few, tokenizer, plan.max_length)["labels"]
answer_tokens = sum(label != -100 for row in labels for label in row)
ledger.record(
    "C063",
    mistral_numbers=numbers["Mistral-7B"],
    rank_1_numbers=numbers["SmolLM2"],
    numbers_per_token=numbers["SmolLM2"] / answer_tokens,
)

# %% [markdown]
# The bottleneck is hundreds of numbers wide for each token: no bottleneck for so few
# rows. Lesson 04 trains both ranks on them, and both overfit. It limits what can be
# learnt from *many* rows; it prevents nothing.
#
# ## 4. “Training for two epochs is an implicit early stopping”
#
# (S1.) Early stopping is a decision during the run, by a signal from held-out rows. What
# does the library's callback demand before it starts?

# %% tags=["nbval-check-output"]
import inspect

from transformers import EarlyStoppingCallback

demands = inspect.getsource(EarlyStoppingCallback.on_train_begin)
[word for word in ("metric_for_best_model", "eval_strategy") if word in demands]

# %% [markdown]
# A metric and evaluations. Two epochs have neither: they are a fixed budget, chosen
# before the run. The sentence is wrong by definition, so no number is recorded for it.
#
# ## 5. “The loss is in the log, so I would have seen a NaN”
#
# (Nobody's claim, and everybody's habit.) The trainer's `logging_nan_inf_filter`, on by
# default, keeps NaN out of the log. What stands there instead? A toy of one weight and
# eight rows, with a NaN in the seventh:

# %%
from transformers import PrinterCallback, Trainer, TrainingArguments


class OneWeight(torch.nn.Module):
    """Predicts w · x; its loss is the squared distance from 1."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return {"loss": (self.w * x - 1).square().mean()}


rows = [{"x": 1.0}] * 6 + [{"x": float("nan")}, {"x": 1.0}]

# %%
import tempfile


def log_with(logging_steps):
    """Train the one weight on the rows, in order; return the log."""
    config = TrainingArguments(
        output_dir=tempfile.mkdtemp(), max_steps=8, learning_rate=0.05,
        optim="sgd", lr_scheduler_type="constant", logging_steps=logging_steps,
        per_device_train_batch_size=1, train_sampling_strategy="sequential",
        report_to="none", disable_tqdm=True, dataloader_pin_memory=False,
        save_strategy="no",
    )
    trainer = Trainer(OneWeight(), config, train_dataset=rows)
    trainer.remove_callback(PrinterCallback)  # it would print each row
    trainer.train()
    return [row for row in trainer.state.log_history if "loss" in row]


# %% tags=["nbval-check-output"]
for steps in (1, 4):
    log = log_with(steps)
    losses = {row["step"]: round(row["loss"], 2) for row in log}
    print(f"logging_steps={steps}: {losses}, gradient {log[-1]['grad_norm']}")

# %% [markdown]
# Logged at each update, a NaN becomes exactly 0: it looks like a perfect run. Logged
# every four updates it is worse: the filter fills the place of a NaN with the mean of the
# window so far, so the window in which the run breaks shows 0.50, the best value yet.
# (Windows after it, all NaN, would show 0.) The gradient norm is `nan` in both.

# %%
assert not ledger.missing()

# %% [markdown]
# ## Sources
#
# - transformers 5.17, installed source: `trainer.py` (`logging_nan_inf_filter`),
#   `trainer_callback.py` (`EarlyStoppingCallback`).
# - Biderman et al. 2024, *LoRA Learns Less and Forgets Less*, arXiv:2405.09673
#   (abstract).

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "proofs/04",
    profile,
    headline=f"{by_tuning:.0%} of first choices differ after tuning, {by_nf4:.0%} "
    "after NF4 alone",
    seed=plan.seed,
)

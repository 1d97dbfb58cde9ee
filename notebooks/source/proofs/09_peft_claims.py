# %% [markdown]
# # 09 · What do the PEFT methods train, and what becomes of it?
#
# <!-- colab badge -->
#
# Interview answers name a dozen methods: prompt, prefix and P-tuning, IA³, AdaLoRA,
# DoRA, PiSSA, adapters that are added, fused and switched. This notebook quotes what is
# said of them, and settles it with PEFT itself, on a model without weights where
# counting is enough and on a random one of two layers where something has to run. It is
# for whoever prepares an interview, or doubts an answer of the cards. No lesson needs it.
#
# **Time and memory.** About 25 minutes to read; under a minute of one CPU core and 1 GiB
# (measured). No model is downloaded, and a T4 computes the same, on its CPU.

# %% tags=["first-cell"]
pass

# %%
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# **The sources** are five interview-preparation documents: S0 and S1 describe a project
# of their author, S3 and S4 are general lists of questions. A cell ends in
# `ledger.record(…)`: it refuses a number outside the bounds of the claim bank, and shows
# the claim, the verdict and the numbers. Unsloth is not imported: it knows LoRA alone.

# %%
import warnings

import torch
from torch import nn

from course_utils.evidence.ledger import Ledger
from course_utils.model.architectures import Architecture, load_architectures

warnings.filterwarnings("ignore", category=UserWarning)
warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern")  # section 8
ledger = Ledger("proofs/09", profile)
shape = load_architectures()["smollm2-135m"]
modules = list(shape.target_modules)
modules

# %% [markdown]
# ## 1. Where the parameters sit, and how many there are
#
# *"Prompt tuning trains soft vectors at the input"* (S3). *"Prefix tuning trains keys
# and values in every layer"* (S3), or *"adds trainable prefix tokens"* (S1). *"In
# P-tuning an LSTM or MLP makes the soft prompt"* (S3). *"IA³, AdaLoRA and prompt tuning
# are PEFT methods"* (S1). Each sentence predicts a number. SmolLM2-135M is d = 576 wide,
# has 30 blocks, keys and values of 192, an MLP of 1,536; take 20 positions, and 128 for
# the width inside P-tuning's encoder.

# %% tags=["nbval-check-output"]
positions, hidden = 20, 128
d, blocks, kv = shape.hidden_size, shape.layers, shape.key_value_size
mlp = (d + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * d
predicted = {
    "prompt": positions * d,
    "prefix": positions * blocks * 2 * kv,
    "P-tuning, MLP": positions * d + mlp,
    "IA3": blocks * (kv + kv + shape.intermediate_size),
    "LoRA": shape.lora_parameters(16),
}
predicted

# %% [markdown]
# The LSTM reads in both directions through two layers, each with four gates that have
# two biases; a head of two layers follows. AdaLoRA writes an update as P·Λ·Q, so each
# matrix of rank r has r numbers more, and by default sits on query and value. DoRA adds
# a magnitude for each output.

# %% tags=["nbval-check-output"]
both = 2 * hidden
lstm = 2 * 4 * hidden * (d + hidden + 2) + 2 * 4 * hidden * (both + hidden + 2)
head = (both + 1) * both + (both + 1) * d
sides = {name: sum(shape.linear_shapes()[name]) for name in ("q_proj", "v_proj")}
outputs = sum(outside for _, outside in shape.linear_shapes().values())
predicted |= {
    "P-tuning, LSTM": positions * d + lstm + head,
    "AdaLoRA": blocks * 12 * sum(side + 1 for side in sides.values()),
    "DoRA": predicted["LoRA"] + blocks * outputs,
}
{name: predicted[name] for name in ("P-tuning, LSTM", "AdaLoRA", "DoRA")}

# %% [markdown]
# And PEFT? It wraps a model without memory for its weights (torch's meta device).

# %%
from peft import (
    AdaLoraConfig, IA3Config, LoraConfig, PrefixTuningConfig,
    PromptEncoderConfig, PromptTuningConfig, get_peft_model,
)
from transformers import LlamaConfig, LlamaForCausalLM


def trained_by_peft(config):
    """Trainable numbers that PEFT counts on SmolLM2-135M; takes no memory."""
    widths = LlamaConfig(
        vocab_size=shape.vocab_size, hidden_size=d, num_hidden_layers=blocks,
        intermediate_size=shape.intermediate_size, tie_word_embeddings=True,
        num_attention_heads=shape.attention_heads,
        num_key_value_heads=shape.key_value_heads,
    )
    with torch.device("meta"):
        model = get_peft_model(LlamaForCausalLM(widths), config)
    return model.get_nb_trainable_parameters()[0]


# %%
soft = {"task_type": "CAUSAL_LM", "num_virtual_tokens": positions}
encoder = {**soft, "encoder_hidden_size": hidden}
lora = {"task_type": "CAUSAL_LM", "target_modules": modules}
ranks = {"init_r": 12, "target_r": 8, "total_step": 100}
configs = {
    "prompt": PromptTuningConfig(**soft),
    "prefix": PrefixTuningConfig(**soft),
    "P-tuning, MLP": PromptEncoderConfig(**encoder),
    "P-tuning, LSTM": PromptEncoderConfig(
        **encoder, encoder_reparameterization_type="LSTM"
    ),
    "IA3": IA3Config(task_type="CAUSAL_LM"),
    "AdaLoRA": AdaLoraConfig(task_type="CAUSAL_LM", **ranks),
    "LoRA": LoraConfig(r=16, **lora),
    "DoRA": LoraConfig(r=16, use_dora=True, **lora),
}

# %% tags=["nbval-check-output"]
counted = {name: trained_by_peft(config) for name, config in configs.items()}
assert counted == predicted
for name, number in sorted(counted.items(), key=lambda item: item[1]):
    print(f"{name:15} {number:9,}  {number / shape.parameters:.3%} of the base")

# %% [markdown]
# All eight to the last number.

# %%
from course_utils.plots import TUNED, new_axes

by_size = sorted(counted, key=counted.get)
axes = new_axes()
bars = axes.barh(by_size, [counted[name] for name in by_size], color=TUNED)
axes.bar_label(bars, labels=[f"{counted[name]:,}" for name in by_size], padding=4)
axes.set(xscale="log", xlim=(5e3, 5e7), xlabel="trained numbers on SmolLM2-135M")
ratio = counted["DoRA"] / counted["prompt"]
axes.set_title(f"“PEFT” spans a factor of {ratio:.0f}");

# %% tags=["nbval-check-output"]
ledger.record("C123", parameters=counted["prompt"])

# %% tags=["nbval-check-output"]
ledger.record(
    "C048", prompt_parameters=counted["prompt"], prefix_parameters=counted["prefix"],
    ratio=counted["prefix"] / counted["prompt"],
)

# %% [markdown]
# S1's sentence describes prompt tuning. The prefix has no tokens that pass through the
# blocks: each block gets keys and values of its own. Since SmolLM2's nine query heads
# share three key heads, they are 192 wide and not 576.

# %% tags=["nbval-check-output"]
ledger.record(
    "C055", prompt=counted["prompt"], ia3=counted["IA3"],
    adalora=counted["AdaLoRA"], lora=counted["LoRA"],
)

# %% [markdown]
# ### What is kept of P-tuning
#
# The encoder has up to 116 times as many numbers as the prompt that it makes. Is it
# needed to answer? Look at what PEFT saves, on a random model of two blocks, 64 wide:

# %%
from peft import get_peft_model_state_dict

from course_utils.model.nano import nano_model


def nano():
    """A random Llama of two blocks; always the same weights."""
    return nano_model(vocabulary=64).eval()


# %% tags=["nbval-check-output"]
in_training = get_peft_model(nano(), PromptEncoderConfig(**encoder))
saved = get_peft_model_state_dict(in_training)
kept = sum(tensor.numel() for tensor in saved.values())
assert kept == positions * nano().config.hidden_size
ledger.record(
    "C135", mlp_parameters=counted["P-tuning, MLP"],
    lstm_parameters=counted["P-tuning, LSTM"], kept_parameters=counted["prompt"],
    numbers_saved=kept / nano().config.hidden_size,
)

# %% [markdown]
# Twenty vectors, as with prompt tuning: the encoder is run once, and dropped.
#
# ## 2. What a prefix cannot do
#
# *"Prefix tuning is more expressive than prompt tuning"* (S3). It has more numbers; it
# still cannot do what LoRA can. A prefix adds keys beside those of the text. All
# attention that goes to it is taken from the text in proportion. So within a layer, how
# the text attends *to itself* stays the same (Petrov et al. 2023). First layer, weights
# of the text alone, made to sum to one:

# %%
text = torch.arange(3, 15)[None]  # (1, tokens)


def attention(model, inputs=text):
    """(heads, tokens, keys) of the first layer."""
    ones = torch.ones_like(inputs)
    told = model(input_ids=inputs, attention_mask=ones, output_attentions=True)
    return told.attentions[0][0].detach()


# %%
def visible():
    """The random model, with attention that can be looked at."""
    model = nano()
    model.set_attn_implementation("eager")
    return model


# %%
plain = attention(visible())
torch.manual_seed(0)
with_prefix = attention(get_peft_model(visible(), PrefixTuningConfig(**soft)))
to_text = with_prefix[..., positions:]
among_text = to_text / to_text.sum(-1, keepdim=True)

# %% [markdown]
# And LoRA, on the query projection alone, with random numbers in B:

# %%
def with_random_b(model, seed=0):
    """An adapter as if it had been trained: B is no longer zero."""
    torch.manual_seed(seed)
    for name, tensor in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(tensor)
    return model


# %%
on_query = LoraConfig(r=8, target_modules=["q_proj"])
with_lora = attention(with_random_b(get_peft_model(visible(), on_query)))

# %%
ledger.record(
    "C124", parameters=counted["prefix"],
    share_taken=1 - to_text.sum(-1).mean().item(),
    change_by_prefix=(among_text - plain).abs().max().item(),
    change_by_lora=(with_lora - plain).abs().max().item(),
)

# %% [markdown]
# The prefix took most of the attention, and left the pattern among the text's tokens as
# it was, to seven digits. LoRA changed it. So a prefix can call up what a model has
# learnt, and it is a poor tool for what needs a new pattern of attention. (Above the
# first layer the inputs differ, so there the numbers do, too.)
#
# ## 3. AdaLoRA spends a budget
#
# *"AdaLoRA allocates the rank adaptively"* (S1). Train it for 41 updates on rows of a
# small task, here only so that there are gradients: a row starts anywhere and counts on
# by a step that its first token names.

# %%
VALUES = 31  # numbers to count with; the tokens above them name a step


def rows(step, number, seed):
    """(number, 11): the token of the step, then ten numbers, modulo VALUES."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(VALUES, (number, 1), generator=generator)
    counting = (start + step * torch.arange(10)) % VALUES
    return torch.cat([torch.full_like(start, VALUES + step), counting], dim=1)


# %%
def loss_of(model, ids):
    """Nats a token, of all that follows from the first two."""
    labels = ids.clone()
    labels[:, :2] = -100
    return model(ids, labels=labels).loss


# %%
def train(model, batches, rate, after_update=lambda update: None):
    """One pass over the batches with AdamW; the model itself is changed."""
    trained = [tensor for tensor in model.parameters() if tensor.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate)
    for update, batch in enumerate(batches):
        loss_of(model, batch).backward()
        optimizer.step()
        after_update(update)
        optimizer.zero_grad()


# %%
ranks = {"init_r": 12, "target_r": 8, "total_step": 40, "tinit": 5, "tfinal": 10}
torch.manual_seed(0)
adaptive = get_peft_model(nano(), AdaLoraConfig(target_modules=modules, **ranks))
before, _ = adaptive.get_nb_trainable_parameters()
batches = [rows(1, 20, seed) for seed in range(41)]
train(adaptive, batches, 5e-3, adaptive.base_model.update_and_allocate)
after, _ = adaptive.get_nb_trainable_parameters()

# %%
pattern = adaptive.peft_config["default"].rank_pattern
left = [sum(kept) for kept in pattern.values()]

# %% tags=["nbval-check-output"]
ledger.record(
    "C049", matrices=len(left), ranks_at_start=12 * len(left), ranks_at_end=sum(left),
    parameters_in_memory=after / before,
)

# %%
names = [name.partition(".lora_")[0].rpartition(".")[2] for name in pattern]
axes = new_axes()
axes.bar(range(len(left)), left, color=TUNED)
axes.axhline(8, color="black", lw=1, ls="--", label="the same for all")
axes.set_xticks(range(len(left)), names, rotation=60, ha="right")
axes.set_ylabel("rank that is left")
axes.set_ylim(0, 15)
axes.set_title(f"AdaLoRA left ranks from {min(left)} to {max(left)}")
axes.legend(loc="upper right");

# %% [markdown]
# Right: the budget of 14 × 8 ranks went where the gradients were. What the sentence
# leaves out: it starts *above* the budget, and pruned ranks are set to zero, so the
# numbers in memory stay. They leave when the adapter is saved.
#
# ## 4. LoRA's relatives: what does each change?
#
# **DoRA** splits a weight into directions and a magnitude for each output. At the start
# the magnitudes are the rows' own norms, so nothing changes:

# %%
@torch.inference_mode()
def logits(model, inputs=text, **given):
    """(rows, tokens, vocabulary)"""
    return model(inputs, **given).logits


def gate(model):
    """The first gate projection under an adapter."""
    return model.base_model.model.model.layers[0].mlp.gate_proj


# %%
untouched = logits(nano())
weight = nano().model.layers[0].mlp.gate_proj.weight

# %%
dora = get_peft_model(nano(), LoraConfig(r=8, use_dora=True, target_modules=modules))
magnitude = gate(dora).lora_magnitude_vector["default"].weight
ledger.record(
    "C210", dora_parameters=counted["DoRA"], lora_parameters=counted["LoRA"],
    change_at_start=(logits(dora) - untouched).abs().max().item(),
    magnitude_minus_norm=(magnitude - weight.norm(dim=1)).abs().max().item(),
)

# %% [markdown]
# **rsLoRA** divides alpha by √r. Is that more than another alpha? Two adapters with the
# same numbers in A and B:

# %%
def random_lora(**settings):
    """The random model with an adapter of rank 16; the same A and B each time."""
    torch.manual_seed(0)
    config = LoraConfig(r=16, target_modules=modules, **settings)
    return with_random_b(get_peft_model(nano(), config))


# %%
stabilised = random_lora(lora_alpha=16, use_rslora=True)
other_alpha = random_lora(lora_alpha=64)

# %% tags=["nbval-check-output"]
scale = gate(stabilised).scaling["default"]
ledger.record(
    "C211", scale_at_16=scale, equal_alpha=scale * stabilised.peft_config["default"].r,
    difference=(logits(stabilised) - logits(other_alpha)).abs().max().item(),
)

# %% [markdown]
# At one rank it is another alpha. It differs from LoRA only where the rank is changed
# and alpha is left alone.
#
# **PiSSA** starts A and B at the largest singular vectors of the weight, and takes their
# product out of the frozen weight.

# %%
def pissa(init):
    """The random model with rank 8 of PiSSA, by an exact or a fast decomposition."""
    settings = {"r": 8, "target_modules": modules}
    return get_peft_model(nano(), LoraConfig(init_lora_weights=init, **settings))


# %%
exact_start = pissa("pissa")
residual = gate(exact_start).base_layer.weight
share_moved = ((residual - weight).norm() / weight.norm()).item()
change_at_start = (logits(exact_start) - untouched).abs().max().item()
print(f"a logit moves by {change_at_start:.0e}, {share_moved:.0%} of the weight moved")

# %% [markdown]
# The output is the base's up to rounding, but the *frozen* part is not the base's any
# more. So no second adapter of that base fits beside it, and PEFT warns of that
# (`_check_new_adapter_config`). Can the saved adapter be put on the base again? While
# it loads, PEFT repeats the decomposition:

# %%
import tempfile

from peft import PeftModel


def error_after_loading(model):
    """Largest error of a logit when a trained adapter is saved and loaded again."""
    with torch.no_grad():
        gate(model).lora_B["default"].weight.mul_(1.5)  # as if it had been trained
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        loaded = PeftModel.from_pretrained(nano(), folder).eval()
    return (logits(loaded) - logits(model)).abs().max().item()


# %%
torch.manual_seed(0)
ledger.record(
    "C212", change_at_start=change_at_start, share_in_adapter=share_moved,
    error_when_loaded=error_after_loading(exact_start),
    error_when_loaded_fast=error_after_loading(pissa("pissa_niter_4")),
)

# %% [markdown]
# With the exact decomposition that works. The fast one (`pissa_niter_4`) starts from
# random numbers and finds other vectors the second time, so A and B meet a residual that
# they were not trained with. Save the whole model, or convert the adapter into plain
# LoRA (`path_initial_model_for_weight_conversion`).
#
# **LoRA+** gives B a higher rate than A. PEFT has the optimizer for it:

# %% tags=["nbval-check-output"]
from peft.optimizers import create_loraplus_optimizer

model = get_peft_model(nano(), LoraConfig(r=8, target_modules=modules))
optimizer = create_loraplus_optimizer(
    model, torch.optim.AdamW, lr=1e-4, loraplus_lr_ratio=16
)
rates = sorted({g["lr"] for g in optimizer.param_groups if g["params"]})
ledger.record("C213", rate_ratio=rates[1] / rates[0], groups=len(rates))

# %% [markdown]
# ## 5. Two adapters on one base
#
# *"Adapters can be switched per task"* (S1). Two adapters with different random numbers:

# %%
def two_adapters():
    """The random model with adapters `a` and `b`; the same ones each time."""
    torch.manual_seed(0)
    config = {"r": 8, "lora_alpha": 16, "target_modules": modules}
    model = get_peft_model(nano(), LoraConfig(**config), adapter_name="a")
    model.add_adapter("b", LoraConfig(**config))
    return with_random_b(model).eval()


# %%
model, alone = two_adapters(), {"__base__": untouched}
for name in ("a", "b"):
    model.set_adapter(name)
    alone[name] = logits(model)

# %%
mixed = logits(model, text.repeat(3, 1), adapter_names=["a", "b", "__base__"])
apart = [
    (mixed[row] - alone[name][0]).abs().max().item()
    for row, name in enumerate(["a", "b", "__base__"])
]
with model.disable_adapter():
    off = (logits(model) - untouched).abs().max().item()
ledger.record(
    "C039", difference_in_a_mixed_batch=max(apart), difference_when_off=off,
    difference_of_adapters=(alone["a"] - alone["b"]).abs().max().item(),
)

# %% [markdown]
# Right, and more: one batch can hold rows for a, for b and for the bare base.
#
# *"Adapters can be combined by a weighted sum"* (S3). A sum of what? Half of each
# update is ½·B₁A₁ + ½·B₂A₂. PEFT's `add_weighted_adapter` knows several ways:

# %%
def updates(model, *names):
    """The update of the first gate projection by each adapter."""
    return [gate(model).get_delta_weight(name).detach() for name in names]


# %%
wanted = sum(0.5 * update for update in updates(model, "a", "b"))
errors, ranks = {}, {}
for way in ("cat", "svd", "linear"):
    model.add_weighted_adapter(["a", "b"], [0.5, 0.5], way, combination_type=way)
    [made] = updates(model, way)
    errors[way] = ((made - wanted).norm() / wanted.norm()).item()
    ranks[way] = gate(model).r[way]

# %%
ledger.record(
    "C129", cat_error=errors["cat"], svd_error=errors["svd"],
    linear_error=errors["linear"], rank=gate(model).r["a"], cat_rank=ranks["cat"],
)

# %% [markdown]
# `cat` puts the matrices side by side: exact, and the rank is the sum. `svd`, the
# default, keeps the best update of the old rank. `linear` adds A to A and B to B, and
# the product of two sums has cross terms, B₁A₂ and B₂A₁, which nobody trained: here
# their error is as large as the update itself. (Random adapters share nothing. Two that
# started from the same A, or were trained on like tasks, can come out better.)
#
# ## 6. First A, then B
#
# What is left of task A after tuning on B? A base is trained to count by 1, 2, 3 and 5,
# an adapter on it by 7 (A), and then by 11 (B). The first token says which is meant, so
# one model *can* do both.

# %%
import copy

base = nano()
learnt_first = [
    torch.cat([rows(step, 8, 100 * seed + step) for step in (1, 2, 3, 5)])
    for seed in range(300)
]
train(base, learnt_first, 3e-3)
task_a, task_b = 7, 11
held_out = {"A": rows(task_a, 200, seed=7), "B": rows(task_b, 200, seed=11)}

# %%
@torch.inference_mode()
def losses(model):
    """Nats a token on rows of each task."""
    return {task: loss_of(model, ids).item() for task, ids in held_out.items()}


# %%
torch.manual_seed(0)
config = {"r": 8, "lora_alpha": 16, "target_modules": modules}
after_a = get_peft_model(base, LoraConfig(**config), adapter_name="a")
train(after_a, [rows(task_a, 20, seed) for seed in range(60)], 5e-3)
told = {"after A": losses(after_a)}

# %% [markdown]
# Now B, in three ways: the same adapter, the same adapter with a tenth of the rows from
# A, and an adapter of its own beside the first.

# %%
def rows_of_b(replayed):
    """60 batches of 20 rows, `replayed` of each from task A."""
    return [
        torch.cat([rows(task_b, 20 - replayed, s), rows(task_a, replayed, 900 + s)])
        for s in range(60)
    ]


# %%
for name, replayed in (("then B", 0), ("then B, 10 % replay", 2)):
    continued = copy.deepcopy(after_a)
    train(continued, rows_of_b(replayed), 5e-3)
    told[name] = losses(continued)

# %%
after_a.add_adapter("b", LoraConfig(**config))
after_a.set_adapter("b")
train(after_a, rows_of_b(0), 5e-3)
told["b of its own"] = losses(after_a)
after_a.set_adapter("a")
told["and back to a"] = losses(after_a)

# %%
import pandas as pd

pd.DataFrame(told).T.round(3)

# %% tags=["nbval-check-output"]
assert told["and back to a"] == told["after A"]
"adapter a answers as before, to the last bit"

# %%
ledger.record(
    "C214", a_before=told["after A"]["A"], a_after_b=told["then B"]["A"],
    a_with_replay=told["then B, 10 % replay"]["A"],
    b_after_b=told["then B"]["B"], b_with_replay=told["then B, 10 % replay"]["B"],
    change_of_own_adapter=told["and back to a"]["A"] - told["after A"]["A"],
)

# %% [markdown]
# LoRA does not protect a task that LoRA itself has learnt: the frozen base is safe, the
# adapter is overwritten. A few old rows keep most of it, an adapter for each task keeps
# all, and then something has to choose among them. This is a toy on a random model of
# two blocks, one seed: it shows the mechanism and no size.
#
# ## 7. New tokens
#
# *"For completely new domains, full tuning is needed: DNA, ancient scripts"* (S3).
# What LoRA on the linear layers cannot train is the embedding. Three new tokens, all
# rows of the embedding, or only the three:

# %% tags=["nbval-check-output"]
whole = LoraConfig(r=16, modules_to_save=["embed_tokens"], **lora)
three = LoraConfig(r=16, trainable_token_indices=[0, 1, 2], **lora)
ledger.record(
    "C215", lora_parameters=counted["LoRA"],
    whole_table=trained_by_peft(whole) - counted["LoRA"],
    three_rows=trained_by_peft(three) - counted["LoRA"],
)

# %% [markdown]
# Either can be trained together with LoRA. So the domain decides less than the
# tokenizer and the number of tokens at hand. (On a tied model such as this the output
# head is the same table.)
#
# ## 8. A mixture of experts
#
# Mixtral-8x7B, whose shape is the default of `MixtralConfig`: eight experts a block,
# two for each token. The usual list of seven names, and PEFT's own `all-linear`:

# %%
from transformers import MixtralConfig, MixtralForCausalLM

mixtral = Architecture.from_config(MixtralConfig())


def on_mixtral(target):
    """Trainable numbers at rank 16, and the kinds of parameters that are adapted."""
    with torch.device("meta"):
        model = MixtralForCausalLM(MixtralConfig())
        model = get_peft_model(model, LoraConfig(r=16, target_modules=target))
    adapted = [name for name, _ in model.named_parameters() if "lora_A" in name]
    return model.get_nb_trainable_parameters()[0], " ".join(adapted)


# %% tags=["nbval-check-output"]
by_names, adapted_by_names = on_mixtral(modules)
by_kind, adapted_by_kind = on_mixtral("all-linear")
assert "experts" not in adapted_by_names
assert "experts" in adapted_by_kind and "mlp.gate" in adapted_by_kind
ledger.record(
    "C216", parameters=mixtral.parameters, active=mixtral.active_parameters,
    by_names=by_names, by_all_linear=by_kind, ratio=by_kind / by_names,
)

# %% [markdown]
# The seven names meet the attention alone: in transformers 5 the experts of a block are
# one three-dimensional parameter and no linear layers. `all-linear` of PEFT 0.21 finds
# them, with a low-rank update for each of the eight (at twice the rank where gate and up
# are one), and the router (`mlp.gate`) as well. Whoever wants the router frozen has to
# say so. Memory goes by all 46.7 billion parameters, arithmetic by the 12.9 billion that
# a token meets.
#
# ## 9. What the library has
#
# *"PEFT implements QLoRA and Adapters"* (S4). How many methods are there, and is a
# bottleneck adapter among them, as Houlsby or Pfeiffer built it?

# %% tags=["nbval-check-output"]
from pathlib import Path

import peft

methods = [method.value for method in peft.PeftType]
like_qlora = [name for name in methods if "QLORA" in name]
ledger.record("C170", methods=len(methods), named_qlora=len(like_qlora))

# %% tags=["nbval-check-output"]
package = Path(peft.__file__).parent
source = "".join(file.read_text("utf-8") for file in package.rglob("*.py"))
[word for word in ("houlsby", "pfeiffer") if word in source.lower()]

# %% [markdown]
# No method is called QLoRA: it is `LoraConfig` on a model that bitsandbytes loaded in 4
# bits. Of bottleneck adapters PEFT has none; LLaMA-Adapter (`ADAPTION_PROMPT`) is a
# soft prompt with a gate. They are in the library `adapters`, and AdapterFusion is, too.
#
# ## 10. What only a source can tell
#
# | Claim | Verdict | What was read, and where |
# |---|---|---|
# | C130, S3: AdapterFusion learns to combine adapters | right | two stages: adapters for each task, then, with all of them frozen, a layer that combines their outputs (arXiv:2005.00247, abstract); the block's own output asks, adapters' outputs are keys and values (a summary of it) |
# | C137, S3: full tuning for completely new domains | depends | ahead of LoRA in continued pretraining on code and mathematics (arXiv:2405.09673); section 7 for new tokens |
# | C138, S3: PEFT reaches comparable performance | depends | equal on small and medium instruction sets with a tuned rate and all layers (*LoRA Without Regret*); behind in continued pretraining (2405.09673, §4.1); prompt tuning for models of billions only (2104.08691) |
# | C158, S4: PEFT needs less training time | imprecise | a step is cheaper, lesson 02 measures it; at best two thirds of a pass (*LoRA Without Regret*); the number of steps is another matter (2405.09673, §4.7) |
# | C167, S4: LoRA is within a few percent of full tuning | depends | the same two sources: it depends on task, rows and rate |
# | C217: a tuned rate makes the variants equal | right | four variants and LoRA, each with a rate of its own, end within 1 to 2 % of each other (arXiv:2602.04998, abstract) |

# %%
assert not ledger.missing(), ledger.missing()

# %% [markdown]
# ## What this notebook does not show
#
# - Which method is better. Counting and identities say nothing about that; lesson 09
#   trains them on one task.
# - Anything about a real model's adapters: those here are random, or learnt to count.
#
# ## Sources
#
# - Lester et al. 2021 (arXiv:2104.08691), Li and Liang 2021 (2101.00190), Liu et al. 2021
#   (2103.10385), Petrov et al. 2023 (2310.19698), Liu et al. 2022 (2205.05638), Zhang et
#   al. 2023 (2303.10512), Liu et al. 2024 (2402.09353), Meng et al. 2024 (2404.02948),
#   Hayou et al. 2024 (2402.12354), Kalajdzievski 2023 (2312.03732): abstracts.
# - Pfeiffer et al. 2020, *AdapterFusion* (2005.00247), abstract; Lee et al. 2026,
#   *Learning Rate Matters* (2602.04998), abstract.
# - Schulman and Thinking Machines Lab 2025, *LoRA Without Regret*; Biderman et al. 2024,
#   *LoRA Learns Less and Forgets Less* (2405.09673).
# - Installed: peft 0.21.2, transformers 5.17.

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "proofs/09",
    profile,
    headline=f"prompt tuning trains {counted['prompt']:,} numbers, "
    f"DoRA {counted['DoRA']:,}",
    seed=0,
)

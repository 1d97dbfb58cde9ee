# %% [markdown]
# # 10 · What should a model be rewarded for?
#
# <!-- colab badge -->
#
# Lesson 08's model copied right answers. But often nobody can write *the* right answer:
# people can only say which of two they like better, or a program can only check what
# came out. Both can train a model. It then learns what the signal pays for, and that
# need not be what you wanted.
#
# **You will be able to**
#
# - write the losses of a reward model and of DPO, and say where each starts and stops,
# - train with `RewardTrainer`, `DPOTrainer` and `GRPOTrainer`, and read their logs,
# - hold preference tuning against more of plain fine-tuning on the same pairs,
# - compute GRPO's advantages, and see when a group teaches nothing,
# - break a reward before a model does, and mend it,
# - place PPO, RLHF, KTO, ORPO, SimPO and distillation on one map.
#
# **Time and memory.** About 35 minutes to read. It runs 34 minutes in 6 GiB on a CPU
# (processor time of one core, most of it in seven trainings). On a T4 about 15 minutes
# (estimated).

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: it imports unsloth
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style
from course_utils.preference import study

use_course_style()
study.hide_progress_bars()
profile = check_machine()

# %% [markdown]
# The task is lesson 08's: a wish becomes one line of JSON. Here it is plain text without a
# chat template. Which rows are there?

# %%
from course_utils.places import run_folder
from course_utils.recipes.book import MOVIE_SEARCH

folder = run_folder("preferences", profile)
sizes = study.SIZES[profile.name]
rows = study.Rows.read(sizes)
rows.start[1], rows.counts

# %% [markdown]
# ## 1. The start
#
# Preference tuning does not begin with a base model. It begins where a model already
# does the task now and then: a reward for something that never happens is never paid.
# So there is one short pass over half of lesson 08's rows, a LoRA of rank 16 on all seven
# matrices. These arguments are common to all trainers of this lesson:

# %%
SEED = study.SEEDS[0]
common = dict(
    output_dir=str(folder), num_train_epochs=1, per_device_train_batch_size=4,
    warmup_steps=0.1,  # a share of the updates
    logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
    gradient_checkpointing=False, bf16=False,  # the weights are fp32
    use_cpu=not profile.is_gpu, seed=SEED,
)

# %%
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers import PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

plan = MOVIE_SEARCH.plan_for(profile.name, profile.model_override)
location = models.model_location(plan)
tokenizer = AutoTokenizer.from_pretrained(location)


def lora(task: str = "CAUSAL_LM") -> LoraConfig:
    return LoraConfig(
        r=16, lora_alpha=16, target_modules=list(study.LINEAR), task_type=task
    )


# %%
set_seed(SEED)
trainer = SFTTrainer(
    AutoModelForCausalLM.from_pretrained(location, dtype=torch.float32),
    args=SFTConfig(**common, learning_rate=1e-3),
    train_dataset=Dataset.from_list(rows.start),
    processing_class=tokenizer,
    peft_config=lora(),
)
trainer.remove_callback(PrinterCallback)  # it would print every update
trainer.train()
log = study.log_of(trainer)
first, last = log["loss"].iloc[[0, -1]]
print(f"{len(log)} updates, loss {first:.2f} → {last:.2f} nats a token")

# %% [markdown]
# The adapter is merged, so that what follows is an adapter of its own on top: switched
# off, it leaves this start. Three counts over the test requests: answers that are a query
# at all (*valid*), that ask for exactly what was meant (*exact*), and that serve the user
# by lesson 08's measure (*served*: the look-up gives a film that meets the wish, or none
# where none is wanted). Here the whole text has to be the query.

# %%
from course_utils.preference import results

start, start_folder = trainer.model.merge_and_unload(), folder / "start"
start.save_pretrained(start_folder)
tokenizer.save_pretrained(start_folder)
found = {"start": study.measure(start, tokenizer, rows.tests)}
for wish, text in zip(rows.tests[:3], found["start"]["texts"]):
    print(f"> {wish.request[:70]}\n  {text[:70]}")
results.marks_table(found, rows.tests)

# %% [markdown]
# The start writes a query in 69 of 80 answers; most of the others name a genre that the
# table does not have, such as “flicks”. 23 are exact, and 42 requests are served. Always
# answering `{}` would be exact in 11 and serve 24, lesson 08's regular expressions 75 and
# 75. So the start is worth more than silence and far less than a plain program; each count
# below has to be read beside these two.
#
# ## 2. Which of two?
#
# `data/preferences` has 180 pairs to train on and 60 held out: a request, a better
# answer and a worse one. There are three groups. What does each ask for?

# %%
from course_utils.data.datasets import load_preferences

shown = {pair.group: pair for pair in load_preferences("train")}
for pair in shown.values():
    print(f"{pair.group}\n> {pair.request}\n  + {pair.chosen}")
    print(f"  - {pair.rejected}\n  ({pair.why})\n")

# %% [markdown]
# ### A toy: the loss of one pair
#
# A *reward model* gives each answer a number, its score. Bradley and Terry's model of
# comparisons says how likely the first then wins: σ(Δ), where Δ is the difference of the
# scores and σ(x) = 1 / (1 + e⁻ˣ). The loss of a pair is −ln σ(Δ). Its slope says how hard
# the pair still pushes: σ(−Δ).

# %% tags=["nbval-check-output"]
import numpy as np
import pandas as pd
from scipy.special import expit as sigma

d = np.array([-5, 0, 1, 5])
toy = {"wins with": sigma(d), "loss": -np.log(sigma(d)), "push": sigma(-d)}
pd.DataFrame(toy, index=[f"Δ = {each}" for each in d]).round(3)

# %% [markdown]
# At Δ = 0 the loss is ln 2 = 0.693 and the push 0.5. At a lead of 5 the push is 0.007: a
# pair that is ranked rightly soon stops teaching. At −5 it is 0.993, so a pair whose
# label is wrong pushes hardest of all. And only differences count: add 10 to all scores
# and nothing changes.
#
# ### The real one
#
# `AutoModelForSequenceClassification` replaces the layer that scores tokens by one that
# gives a single number, read at the last token. The trainer scores both answers of a
# pair. (The new layer is trained as a whole; the rest gets a LoRA.)

# %%
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer

set_seed(SEED)
scorer = AutoModelForSequenceClassification.from_pretrained(
    start_folder, num_labels=1, dtype=torch.float32
)
scorer.config.pad_token_id = tokenizer.pad_token_id
trainer = RewardTrainer(
    scorer,
    args=RewardConfig(**common, learning_rate=5e-4),
    train_dataset=Dataset.from_list(rows.pairs),
    processing_class=tokenizer, peft_config=lora("SEQ_CLS"),
)
trainer.remove_callback(PrinterCallback)
trainer.train();

# %% [markdown]
# How often does it score the better answer higher, in pairs that it has not seen? That
# number needs rivals. A ruler (the shorter answer wins) and a program (what reads as a
# query wins) need no training; the start's own probability of each answer needs none
# either. And the reward model itself, with each pair under the request of the next one:
# what it still gets right there, it knows from the answers alone. (Where a judge cannot
# tell the two apart, half a point is counted.)

# %%
from course_utils.projects.search.query import read_query

pairs = rows.held_out
others = study.dealt_anew(pairs)  # each with the request of the next pair
scored = [study.scores(trainer.model, tokenizer, k) for k in (pairs, others)]
both = [(pair.chosen, pair.rejected) for pair in pairs]
before = study.pair_log_probs(start, tokenizer, pairs)
judges = {
    "shorter wins": [(-len(a), -len(b)) for a, b in both],
    "a query wins": [[read_query(t) is not None for t in ts] for ts in both],
    "likelier for the start": before.tolist(),
    "reward model": scored[0].tolist(),
    "… wrong request": scored[1].tolist(),
}
results.judges_table(judges, pairs)

# %% [markdown]
# On the small model the reward model is right in 45 of 60 pairs, and with the wrong
# requests in 46 (with two more seeds in 47 and 45, and 43 and 43). Is it above both
# programs, and do the intervals leave room for doubt? With 60 pairs they are twenty points
# wide. The last line tells how much of its accuracy needs no request: here nearly all of it.
# Talk around a query always loses, and a judge can learn that from the answers. A reward
# model's accuracy means little without such a line.
#
# ## 3. DPO: the reward model that is not there
#
# RLHF trains the reward model first, and then a policy against it, with a penalty for
# leaving the reference. *Direct preference optimization* solves that second problem on
# paper. Under the penalty β the best policy has, for each answer,
#
# $$r = \beta \ln \frac{\pi(\text{answer})}{\pi_\text{ref}(\text{answer})} + \text{a constant of the prompt}$$
#
# so the policy *is* a reward model. Put this r into the loss of section 2 and the
# constant drops out:
#
# $$-\ln \sigma\Big(\beta \Big[\ln\frac{\pi(\text{chosen})}{\pi_\text{ref}(\text{chosen})} - \ln\frac{\pi(\text{rejected})}{\pi_\text{ref}(\text{rejected})}\Big]\Big)$$
#
# Four log-probabilities, and nothing is sampled. One of them by hand:

# %%
def log_p(model, prompt: str, text: str) -> float:
    """Log-probability of a text and its end after a prompt, in nats."""
    asked = len(tokenizer(prompt)["input_ids"])
    whole = prompt + text + tokenizer.eos_token
    ids = tokenizer(whole, return_tensors="pt")["input_ids"].to(model.device)
    with torch.no_grad():
        log_probs = model(ids).logits[0].float().log_softmax(-1)
    targets = ids[0, asked:, None]  # what stands at i is predicted at i - 1
    return log_probs[asked - 1 : -1].gather(1, targets).sum().item()


prompt = study.as_prompt(pairs[0].request)
by_hand = [log_p(start, prompt, f" {text}") for text in both[0]]
by_hand, before[0].tolist()

# %% [markdown]
# ### ●○○ Exercise 1 · DPO's loss (6 minutes)
#
# *Why it matters: whoever can write this line can say what DPO does, and what it does
# not hold fast.*
#
# Write `dpo_loss(policy, reference, beta)`: both are (log p of chosen, log p of rejected)
# in nats; the result is the loss of the pair in nats.

# %% tags=["exercise"]
from course_utils.exercises import TODO, check


def dpo_loss(
    policy: tuple[float, float], reference: tuple[float, float], beta: float
) -> float:
    """Loss of one pair, in nats."""
    return TODO


# %% tags=["check"]
check(dpo_loss)

# %% [markdown]
# <details><summary>Hint</summary>
#
# First how much likelier each answer became, policy minus reference; then the difference
# of the two, times β; then −ln σ.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# from math import exp, log
#
# def dpo_loss(policy, reference, beta):
#     chosen = policy[0] - reference[0]
#     rejected = policy[1] - reference[1]
#     return log(1 + exp(-beta * (chosen - rejected)))
# ```
#
# (−ln σ(x) is ln(1 + e⁻ˣ).)
#
# </details>
#
# ### The real thing
#
# No reference model is passed: with an adapter, TRL switches it off to ask the reference.

# %%
from trl import DPOConfig, DPOTrainer

set_seed(SEED)
trainer = DPOTrainer(
    AutoModelForCausalLM.from_pretrained(start_folder, dtype=torch.float32),
    args=DPOConfig(**common, learning_rate=2e-4, beta=0.1),
    train_dataset=Dataset.from_list(rows.pairs),
    processing_class=tokenizer,
    peft_config=lora(),
)
trainer.remove_callback(PrinterCallback)
trainer.train()
log, policy = study.log_of(trainer), trainer.model
print(f"first loss {log['loss'][0]:.4f}, ln 2 is {np.log(2):.4f}")

# %% [markdown]
# At first the policy is the reference, so each ratio is 1 and the loss ln 2, whatever the
# pair. A run of DPO that starts elsewhere has a wrong reference. And now? How far did the
# answers of the held-out pairs move, and on the way those of each batch? (A batch is
# measured before its update and no pair comes twice, so these are unseen pairs as well.
# `rewards/chosen` of the log is β times the log-ratio.)

# %%
from course_utils.preference import plots

after = study.pair_log_probs(policy, tokenizer, pairs)
with policy.disable_adapter():  # off: the start, and so the reference
    off = study.pair_log_probs(policy, tokenizer, pairs[:1])
assert torch.allclose(off, before[:1], atol=0.01)
moved = (after - before).mean(0).tolist()
title = "DPO moved the chosen answers by {:+.1f} nats, the rejected by {:+.1f}"
plots.log_ratios_plot(log, beta=0.1, title=title.format(*moved))
fell = (after < before).sum(0).tolist()
print(f"less likely than before: {fell} of {len(pairs)} held-out answers")

# %% [markdown]
# On the small model the chosen answers moved by -0.2 nats on average, and 27 of 60 became
# less likely; the rejected ones fell by 10.9. So all of the margin comes from pushing
# down. DPO's loss asks for the difference alone: both answers may fall, and what
# stands in neither of them is not looked at. Does the model *write* better now?
#
# ### Against what a user would do instead
#
# The pairs hold right answers. Whoever has them can fine-tune on these as in lesson 03:
# the fair baseline is as many updates on the same 180 requests with their chosen answers.

# %%
set_seed(SEED)
rows_of_chosen = [
    {"prompt": row["prompt"], "completion": row["chosen"]} for row in rows.pairs
]
trainer = SFTTrainer(
    AutoModelForCausalLM.from_pretrained(start_folder, dtype=torch.float32),
    args=SFTConfig(**common, learning_rate=5e-4),
    train_dataset=Dataset.from_list(rows_of_chosen),
    processing_class=tokenizer,
    peft_config=lora(),
)
trainer.remove_callback(PrinterCallback)
trainer.train()
assert len(study.log_of(trainer)) == len(log)

# %% [markdown]
# Does each now find the better answer likelier, and what does it answer? *Left alone* are
# the test requests that want no film; *KL to the start* is the distance of the next
# token's law from the start's, along the model's own answers; *general
# text* is lesson 04's measure of forgetting. All were asked the same requests, so
# differences are tested in pairs.

# %%
taught = study.pair_log_probs(trainer.model, tokenizer, pairs)
likelier = {"start": before, "more SFT": taught, "DPO": after}
results.judges_table({n: k.tolist() for n, k in likelier.items()}, pairs)

# %%
from course_utils.curves.forgetting import general_passages, score_passages

ways = {"start": start, "more SFT": trainer.model, "DPO": policy}
for way in ("more SFT", "DPO"):
    found[way] = study.measure(ways[way], tokenizer, rows.tests)
text = general_passages()
general = {w: score_passages(m, tokenizer, text) for w, m in ways.items()}
table = results.marks_table(found, rows.tests)
nats = [f"{score.nats_per_token:.3f}" for score in general.values()]
table.loc["general text, nats"] = nats
table

# %%
for rival in ("start", "more SFT"):
    for mark in ("exact", "served"):
        test = results.compared(found, rival, "DPO", mark)
        print(f"{mark:6}, DPO against {rival}: lost {test.lost}, "
              f"gained {test.gained}, p = {test.p:.2g}")

# %% [markdown]
# One seed is one draw. `tools/measure_preferences.py` made the same runs with three, and
# `data/reference/preferences.json` keeps them. Does the run above agree with its own?

# %%
apart = results.apart_from_kept(found, profile, SEED)
assert all(count <= len(rows.tests) / 4 for count in apart.values())
print("served otherwise than in the kept run:", apart)

# %% [markdown]
# On the small model DPO finds the better answer likelier in 45 of 60 pairs, where the start
# did in 44, and writes no better: 18 answers are exact in place of 23, and 36 requests are
# served in place of 42 (p = 0.26). It answers `{}` 18 times, the start did 5 times. As many
# updates on the chosen answers alone make 22 answers exact and serve 43 requests (p = 1).
# So neither changed what is written by more than chance, and the plain baseline is the
# cheaper of the two.
#
# The rates were chosen on validation requests, the better of two for each. At a quarter of
# its rate DPO serves 41 and has moved by 0.001 nats a token: a run that does no harm may be
# one that does nothing. With two more seeds DPO serves 34 and 33, more SFT 38 and 36 (p
# from 0.078 to 0.52): each of the six runs but one serves fewer than the start.
#
# Accuracy on pairs says which of two answers a model finds likelier; what it writes may be
# a third one. TRL can add a cross-entropy term on the chosen answers (`loss_type=["sigmoid",
# "sft"]`), which was not tried here.
#
# ## 4. GRPO: a reward from a program
#
# For this task a program can check an answer, since each request has a right query. Then
# no pairs are needed: the model writes several answers to one request, each gets a
# reward, and those above the group's mean are made likelier. *Group relative policy
# optimization* uses that mean where PPO trains a second model, the critic.
#
# ### A toy: advantages
#
# Eight answers, some of them right. The advantage is the reward less the group's mean; by
# default it is also divided by the group's spread. And for a share p of right answers, how
# many groups agree?

# %% tags=["nbval-check-output"]
for hits in (1, 4, 8):
    rewards = np.repeat([1.0, 0.0], [hits, 8 - hits])
    centred = (rewards - rewards.mean())[0]  # of a right answer
    divided = centred / (rewards.std(ddof=1) + 1e-4)  # n - 1, as in TRL
    print(f"{hits} of 8 right: {divided:.2f} divided, {centred:.3f} not")
{p: f"{p**8 + (1 - p) ** 8:.1%}" for p in (0.5, 0.3, 0.1, 0.01)}

# %% [markdown]
# One right answer in eight counts 2.47, one of four right ones 0.94: division by the
# spread makes rare successes loud, and a group that agrees nearly always louder than one
# that is in doubt. Without division (Dr. GRPO) they count 0.875 and 0.5. And where all
# eight agree, nothing is left: the group is *silent*. The last line says how often that
# happens: at one success in a hundred, 92 % of the groups teach nothing. So the start of
# section 1 decides whether GRPO can begin.
#
# The next choice is how much one token counts. Two answers, 10 and 40 tokens long, with
# advantages +1 and −1, in three loss types of TRL:

# %% tags=["nbval-check-output"]
lengths, limit = np.array([10, 40]), 40
pd.DataFrame({
    "grpo": 1 / lengths / 2,  # mean of each answer, then over answers
    "dapo": np.ones(2) / lengths.sum(),  # mean over all tokens
    "dr_grpo": np.ones(2) / limit / 2,  # the same constant for every batch
}, index=["short, right", "long, wrong"]).round(4)

# %% [markdown]
# Under `grpo` a token of the long wrong answer counts a quarter of a token of the short
# one, so being wrong at length is cheap. The other two count all tokens alike; TRL's
# default is `dapo`.
#
# ### A reward that can be checked
#
# What should be paid for? Not only the whole query, since exact answers are rare at
# first. The reward here is a *gate* times a *share*: 0 unless the text is one query;
# then the parts that are asked for rightly, of all that are asked for or meant.
#
# ### ●●○ Exercise 2 · A reward that cannot be bribed (10 minutes)
#
# *Why it matters: a reward function is a few lines of Python, and training looks for every
# hole in them.*
#
# Write `reward(text, right)`: `text` is what the model wrote, `right` the right query as
# text. `read_query(text)` gives a query or None; `.parts` of a query is the set of single
# things that it asks for. Where both ask for nothing, the answer is right.

# %% tags=["exercise"]
def reward(text: str, right: str) -> float:
    """0 to 1: a gate times a share."""
    return TODO


# %% tags=["check"]
check(reward)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `a & b` are the parts that two sets share, `a | b` all of them. What would a model write
# if you divided by the parts of the right query alone?
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# from course_utils.projects.search.query import read_query
#
# def reward(text, right):
#     asked, meant = read_query(text.strip()), read_query(right).parts
#     if asked is None:
#         return 0.0
#     either = asked.parts | meant
#     return len(asked.parts & meant) / len(either) if either else 1.0
# ```
#
# (If you divide by what was meant, a query with all nineteen genres is paid in full.)
#
# </details>
#
# ### The real thing
#
# The trainer calls a reward function with the completions and with the columns of the
# data set, here `right`. `verified_score` is the exercise's solution. The other functions
# will have weight 0: they are only logged, and become important in section 5.
#
# Two prompts an update, eight answers each, and a light penalty β for leaving the start.
# The answers are drawn at temperature 0.7, nearer to the greedy ones that are counted in
# the end.

# %%
from course_utils.preference.rewards import (
    form_score, keyword_score, verified_score,
)


def verified_reward(completions, right, **_):
    return [verified_score(t, r) for t, r in zip(completions, right)]


def keyword_reward(completions, **_):
    return [keyword_score(text) for text in completions]


def form_reward(completions, **_):
    return [form_score(text) for text in completions]


# %%
from trl import GRPOConfig, GRPOTrainer

two = {"per_device_train_batch_size": 2 * sizes.completions, "warmup_steps": 0}


def grpo(rate: float, updates: int, rewards: list) -> GRPOTrainer:
    """A trainer that pays for the first reward; the others are logged."""
    set_seed(SEED)
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(start_folder, dtype=torch.float32),
        args=GRPOConfig(
            **common | two, learning_rate=rate, lr_scheduler_type="constant",
            max_steps=updates, num_generations=sizes.completions,
            max_completion_length=sizes.new_tokens, temperature=0.7, beta=0.01,
            reward_weights=[1.0] + [0.0] * (len(rewards) - 1),
        ),
        train_dataset=Dataset.from_list(rows.rewarded),
        processing_class=tokenizer, peft_config=lora(), reward_funcs=rewards,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


# %%
paid_and_logged = [verified_reward, keyword_reward, form_reward]
trainer = grpo(2e-4, sizes.updates, paid_and_logged)
trainer.train()
logs = {"verified": study.log_of(trainer)}
found["verified paid"] = study.measure(trainer.model, tokenizer, rows.tests)

# %%
paid = logs["verified"]["rewards/verified_reward/mean"]
halves = np.array_split(paid, 2)
title = "GRPO: mean reward {:.2f} in the first half of the run, then {:.2f}"
plots.watched_plot(logs["verified"], title=title.format(*map(np.mean, halves)))
quiet = logs["verified"]["frac_reward_zero_std"].mean()
print(f"groups without signal: {quiet:.0%}")
for mark in results.MARKS:
    test = results.compared(found, "start", "verified paid", mark)
    print(f"{mark}: lost {test.lost}, gained {test.gained}, p = {test.p:.2g}")

# %% [markdown]
# On the small model the form was learnt and the content was not: 76 answers are queries,
# where the start wrote 69 (p = 0.016), and 21 are exact in place of 23 (p = 0.73). With two
# more seeds 75 and 74 are queries, and 16 and 15 are exact: content was rather lost. The
# curve of the reward says little, since each update draws two other requests.
#
# Where does it get stuck? Forty updates are 80 requests, and an answer brings one number;
# the rows of section 1 brought the right token at each place. 20 % of the groups were
# silent. And half of a query earns half, so what is left out cannot be wrong: a query asks
# for 1.18 things now, where the start asked for 1.65 (with the other seeds 1.72 and 1.07).
# (On a T4 the lesson makes 200 updates; that was not measured.)
#
# ## 5. A reward made of words
#
# A published project trained a model to write Terraform with GRPO. Its reward counts
# words and signs: a block's name, an equals sign, a line break. The accuracy that it
# reports is that same reward, above a threshold. Three words and a sign on two lines, with
# no block and no brace, get full marks.
#
# The same idea for our query: five words and signs that a query has.

# %% tags=["nbval-check-output"]
from course_utils.preference.rewards import WORDS

right = '{"genres": ["western"], "minutes": "<120"}'
attempts = {
    "right": right,
    "too much": '{"genres": ["war"], "minutes": ">1", "years": ">1"}',
    "nonsense": "{ years minutes genres }",
}
print(WORDS)
pd.DataFrame({
    name: {"words": keyword_score(t), "verified": verified_score(t, right)}
    for name, t in attempts.items()
}).T

# %% [markdown]
# The right answer gets 0.8, and nonsense gets full marks. Predict: what will a model do
# that is paid by it? The same start and the same requests. A higher rate shows in half of
# the updates where it leads:

# %%
paid_and_logged = [keyword_reward, verified_reward, form_reward]
trainer = grpo(5e-4, sizes.updates // 2, paid_and_logged)
trainer.train()
logs["keyword"] = study.log_of(trainer)
found["words paid"] = study.measure(trainer.model, tokenizer, rows.tests)

# %%
for number, wish in enumerate(rows.tests[:4]):
    print(f"> {wish.request[:74]}")
    for way in ("start", "words paid"):
        print(f"  {way:10} {found[way]['texts'][number][:64]}")

# %% [markdown]
# On the small model the keyword reward rose from 0.69 in the first five updates to 0.83 in
# the last five, and the verified reward of the same answers fell from 0.25 to 0.02. Look at
# the answers: one query after another, with bounds that nobody asked for, until the room is
# full. Of 80 test answers 17 are still one query, and none is exact. Even so 13 requests
# count as served, among them all 7 that want no film: who writes no query imposes nothing.
# A second measure can be fooled as well.
#
# ### A reward for the form alone
#
# The verified reward has a gate: is the whole text one query? Paid alone, that gate is a
# reward which nonsense cannot get. Predict: how is it earned most surely?

# %%
paid_and_logged = [form_reward, verified_reward, keyword_reward]
trainer = grpo(5e-4, sizes.updates // 2, paid_and_logged)
trainer.train()
logs["form"] = study.log_of(trainer)
found["form paid"] = study.measure(trainer.model, tokenizer, rows.tests)

# %%
shown = {name: logs[name] for name in plots.REWARDS}
plots.rewards_plot(
    shown, title="Three rewards, one start: what each run was paid"
);

# %%
ways = ("start", "words paid", "form paid", "verified paid")
for way in ways[1:]:
    test = results.compared(found, "start", way, "served")
    print(f"{way}: {test.gained} gained, {test.lost} lost, p = {test.p:.2g}")
results.marks_table({way: found[way] for way in ways}, rows.tests)

# %% [markdown]
# On the small model it took four updates. Since then every answer is `{}`, the shortest
# query there is: the form reward stays at 1, all groups are silent, and nothing can lead
# the model out again. All 80 test answers are valid, 11 exact and 24 requests served, just
# what always answering `{}` is worth. (With the other seeds 80 and 51 are `{}`, and again
# all are valid.)
#
# So each reward found what it paid for. Words: write all that fits. Form: write next to
# nothing. Neither needs a look at the request. The content does, and comes slowest; the
# cheap part of a reward is learnt first. As a factor the same gate does not lead there: paid
# for the verified reward, 76 answers are queries and 4 of them empty.
#
# ### And what still gets through?
#
# The verified reward has a model's own way out too: an answer that never reads the
# request. Which constant is paid best, on the requests that are rewarded?

# %% tags=["nbval-check-output"]
golds = [row["right"] for row in study.Rows.read(study.Sizes()).rewarded]
paid = {
    text: np.mean([verified_score(text, gold) for gold in golds])
    for text in {*golds}
}
pd.Series(paid).nlargest(3).round(2).to_dict()

# %% [markdown]
# At most 0.18, for `{}`: a mood cannot be looked up, and moods are common among the rows.
# Who answers nothing else earns less than a fifth of full marks, so this cheat does not pay
# for long. Others do get through: a genre that is written twice is paid in full, a wrong
# label is paid as a right one, and half of a query earns half, so that a model may settle
# for the genre and leave the harder bound. *Verified* means that a program decided. It
# does not mean that the program asked what you wanted to know.
#
# ### The same ladder for code
#
# For Terraform there are four rungs: keywords, which pay for a soup of words; brackets
# that close; the verdicts of a parser and a schema, added up; and the same with gates that
# multiply. What do the last three pay for four answers to “a bucket for logs, please”?

# %% tags=["nbval-check-output"]
from course_utils.projects.inframind.code.schema import load_schema
from course_utils.projects.inframind.reward import reward_of
from course_utils.recipes.book import INFRAMIND

code = {
    "nonsense": 'resource "versioning" "a" { aws_s3_bucket = "encryption" }',
    "`name` for `bucket`": 'resource "aws_s3_bucket" "a" { name = "logs" }',
    "another subject": "locals { a = 1 }",
    "a bucket": 'resource "aws_s3_bucket" "a" { bucket = "logs" }',
}
wanted = {"language": "terraform", "resources": ["aws_s3_bucket"], "values": []}
schema, weight = load_schema(), pd.Series(INFRAMIND.reward_weights)
judged = [reward_of(text, wanted, schema) for text in code.values()]
parts = pd.DataFrame([r.parts for r in judged]).astype(float).fillna(1)
ladder = {
    "closed": [text.count("{") == text.count("}") for text in code.values()],
    "added up": (parts * weight).sum(axis=1) / weight.sum(),
    "gated": [r.total(INFRAMIND.reward_weights) for r in judged],
}
pd.DataFrame(ladder).set_axis([*code]).round(2)

# %% [markdown]
# Each rung stops a cheat of the one before. Brackets do not stop nonsense; the sum still
# gives 0.95 to an
# argument that Terraform refuses, and 0.60 to code that creates nothing. The gates stop
# both. What no rung sees: whether the cloud would accept it, and whether it is what
# somebody wanted and did not say.
#
# ### Does the KL penalty save us?
#
# With reference probabilities π₀ and reward r, the best policy under a penalty of weight
# β is known in closed form:
#
# $$\pi_\beta(x) = \frac{\pi_0(x)\, e^{r(x)/\beta}}{\sum_y \pi_0(y)\, e^{r(y)/\beta}}$$
#
# A toy with four answers to one request, and nothing trained: prose, the right query,
# one that asks too much, and nonsense. The words are paid, and we watch what is right:

# %%
from course_utils.plots import ACCENT, REFERENCE, line_plot

answers = ["A western, sure!", *attempts.values()]
reference = np.array([0.33, 0.45, 0.20, 0.02])
words = np.array([keyword_score(text) for text in answers])
truth = np.array([verified_score(text, right) for text in answers])


weights = reference * np.exp(words / np.geomspace(10, 0.03, 60)[:, None])
best = weights / weights.sum(axis=1, keepdims=True)  # (60 of β, 4 answers)
kl, true = (best * np.log(best / reference)).sum(axis=1), best @ truth
top = kl[true.argmax()]
axes = line_plot(
    kl, {"true reward": true, "keyword reward": best @ words},
    x_label="distance from the reference (KL, nats)", y_label="mean reward",
    title=f"Past {top:.2f} nats more keyword reward means worse answers",
)
axes.lines[1].set_color(ACCENT)
axes.axvline(top, **REFERENCE)
axes.legend();

# %% [markdown]
# The keyword reward only rises. The true one rises at first, since prose is left behind,
# and then falls. There is one best β, and whoever sees the keyword reward alone cannot
# find it. A better reward does more than a better-chosen penalty.
#
# ## 6. A judge that is a model
#
# Where no program can check, another model is asked: *RLAIF* if its verdicts train the
# policy. It sees more than a list of words. It also has habits:
#
# | Bias | What was found | What helps |
# |---|---|---|
# | position | the verdict changes when the answers change places | ask in both orders, count what agrees |
# | length | longer answers win more often | compare at like length, or model the length |
# | self-preference | a model likes texts of its own family | a judge of another family, people for a sample |
#
# Pairs are shown *blind*: without the models' names, in a drawn order. Here is a real
# judge, the untuned model of this lesson, for the 60 held-out pairs, in both orders. It is
# asked for a letter; the difference of the two letters' logits says which, and how surely.
# Predict: how often does it say A?

# %%
FORM = """Request: {}

Answer A: {}

Answer B: {}

Which answer fits the request better? Reply with A or B."""
judge = AutoModelForCausalLM.from_pretrained(location, dtype=torch.float32)
judge = judge.to(profile.device).eval()
letters = [tokenizer(letter)["input_ids"][-1] for letter in "AB"]


@torch.no_grad()
def lead_of_a(request: str, a: str, b: str) -> float:
    """Logit of the letter A less that of B."""
    turn = {"role": "user", "content": FORM.format(request, a, b)}
    ids = tokenizer.apply_chat_template([turn], add_generation_prompt=True)
    ids = torch.tensor([ids["input_ids"]], device=judge.device)
    of_a, of_b = judge(ids).logits[0, -1, letters].tolist()
    return of_a - of_b


# %%
said = np.array([
    (lead_of_a(p.request, *sides), lead_of_a(p.request, *sides[::-1]))
    for p, sides in zip(pairs, both)
])  # the better answer first, and last
firsts, lasts = (said > 0).sum(axis=0)  # the better answer; the other one
print(f"the first answer in {firsts + lasts} of {said.size} questions")
print(f"right: {firsts} with the better one first,", end=" ")
print(f"{len(said) - lasts} with it last")
added_up = results.preferred(said)
"both orders added up: " + results.spelled(added_up)

# %% [markdown]
# On the small model the judge says A in all 120 questions, whatever stands there. It agrees
# with itself on no pair, and both orders added up leave 31 of 60: a coin. A model of 135
# million parameters is an extreme case. But look what a report would say that had asked
# once, with the better answer always first: right in 60 of 60.
#
# Larger judges lean less, so ask in both orders, and count a verdict that flips as a tie.
# That does not cure a love of length: such a judge agrees with itself in every order.
#
# ### ●●○ Exercise 3 · Two orders, one verdict (4 minutes)
#
# *Why it matters: most code that calls a judge lacks these three lines.*
#
# The judge answers “first”, “second” or “tie”. In `order_one` the tuned answer stood
# first, in `order_two` the base. Write `combine(order_one, order_two)`: “tuned” or “base”
# when both orders name that model, else “tie”.

# %% tags=["exercise"]
def combine(order_one: str, order_two: str) -> str:
    """tuned, base or tie."""
    return TODO


# %% tags=["check"]
check(combine)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def combine(order_one, order_two):
#     one = {"first": "tuned", "second": "base"}.get(order_one, "tie")
#     two = {"first": "base", "second": "tuned"}.get(order_two, "tie")
#     return one if one == two else "tie"
# ```
#
# </details>
#
# How far may you trust it? Let people judge a sample, and compare beyond chance. Cohen's
# κ = (agreement − agreement by chance) / (1 − agreement by chance). Two judges, each on
# 100 pairs that people judged too:

# %% tags=["nbval-check-output"]
# Rows: people say tuned, base; columns: the judge does.
for table in ([[90, 0], [10, 0]], [[40, 10], [10, 40]]):
    share = np.array(table) / np.sum(table)
    agreed, by_chance = np.trace(share), share.sum(0) @ share.sum(1)
    kappa = (agreed - by_chance) / (1 - by_chance)
    print(f"agreement {agreed:.0%}, κ = {kappa:.1f}")

# %% [markdown]
# The first judge always says “tuned”, agrees with people in 90 of 100, and knows nothing:
# κ = 0. The second agrees in 80, with κ = 0.6.
#
# ## 7. The map
#
# Three choices that are often told as one: where the signal comes from, which optimiser
# uses it, and what keeps the model near its start.
#
# | Name | Signal | Optimiser | Held near the start by |
# |---|---|---|---|
# | SFT | right answers | cross-entropy | few updates, a small rate |
# | RLHF with PPO | pairs of people → reward model | clipped policy gradient with a critic | KL penalty, clipping |
# | RLAIF | pairs of a model → reward model | as RLHF | as RLHF |
# | DPO | pairs | −ln σ of the log-ratios | the reference in the ratio, β |
# | IPO | pairs | squared distance to a target margin | the target 1 / 2β |
# | KTO | single answers, good or bad | a value function of the log-ratio | the reference |
# | ORPO | pairs | cross-entropy plus an odds ratio, one stage | the cross-entropy |
# | SimPO | pairs | −ln σ of means over tokens, minus a margin γ | nothing; no reference |
# | GRPO | any reward | clipped policy gradient, the group's mean as baseline | clipping, KL if β > 0 |
# | RLVR | a program that verifies | GRPO, RLOO or PPO | as its optimiser |
#
# RLHF has three stages: SFT on written answers, a reward model on pairs (section 2), and
# PPO against it. PPO needs four models: policy, critic, reference and reward model.
#
# ### Each loss as a curve
#
# The losses of a pair over its margin m: the difference of the log-ratios in nats, for
# SimPO (β = 2, γ = 1) that of the two answers themselves. IPO's is scaled to fit in.
# ORPO's odds ratio is missing, since it depends on the levels as well as on the margin.

# %%
margin = np.linspace(-20, 40, 241)
losses = {
    "DPO": np.logaddexp(0, -0.1 * margin),  # -ln σ(βm), β = 0.1
    "IPO": 0.01 * (margin - 1 / (2 * 0.1)) ** 2,
    "KTO, chosen": 1 / (1 + np.exp(0.1 * margin)),  # its KL term at 0
    "SimPO": np.logaddexp(0, -(2 * margin / 10 - 1)),  # of 10 tokens each
}
target = margin[losses["IPO"].argmin()]
axes = line_plot(
    [*margin], losses,
    x_label="margin, nats", y_label="loss of the pair",
    title=f"Only IPO has a goal: {target:.0f} nats; the others never stop",
)
axes.set_ylim(0, 4);

# %% [markdown]
# IPO's loss is a parabola: too large a margin costs as well. The others fall for ever,
# only more and more slowly, and none of them asks *how* the margin grew: both answers may
# become less likely.
#
# ### Three estimators of the KL
#
# A trainer estimates the distance to the reference from the tokens that were sampled.
# With r = π_ref / π of such a token: k1 = −ln r, k2 = (ln r)² / 2, k3 = r − 1 − ln r.
# Exactly, for one pair of laws over three tokens:

# %% tags=["nbval-check-output"]
pi, ref = np.array([0.6, 0.3, 0.1]), np.array([0.5, 0.3, 0.2])
r = ref / pi
k = np.stack([-np.log(r), np.log(r) ** 2 / 2, r - 1 - np.log(r)])  # (k, token)
spread = np.sqrt((k - (k @ pi)[:, None]) ** 2 @ pi)
told = {"mean": k @ pi, "KL": pi @ np.log(pi / ref), "spread": spread}
pd.DataFrame(told | {"least": k.min(axis=1)}, index=["k1", "k2", "k3"]).round(3)

# %% [markdown]
# k1 and k3 are right on average, and k2 is not. k1 can be negative for a token and
# spreads most; k3 never is, and spreads less as long as the two laws are near each other.
# TRL's GRPO uses k3.
#
# ### Distillation: forward or reverse
#
# A large model can also teach directly: the student matches its probabilities. In which
# direction is the distance measured? A teacher with two bumps, and a student that has
# only one:

# %%
from scipy.stats import entropy, norm

places = np.arange(41)
shapes = [(m, w) for m in places for w in range(1, 16)]
students = [norm.pdf(places, *shape) + 1e-12 for shape in shapes]
students = [student / student.sum() for student in students]
teacher = 0.6 * norm.pdf(places, 10, 2) + 0.4 * norm.pdf(places, 30, 2) + 1e-12
forward = min(students, key=lambda student: entropy(teacher, student))  # KL
reverse = min(students, key=lambda student: entropy(student, teacher))
valley = slice(16, 25)
axes = line_plot(
    places, {"teacher": teacher, "forward": forward, "reverse": reverse},
    x_label="answer", y_label="probability",
    title=(f"Forward KL puts {forward[valley].sum():.0%} where the teacher has "
           f"{teacher[valley].sum():.0%}; reverse KL takes one bump"),
);

# %% [markdown]
# Forward KL, KL(teacher ‖ student), asks the student to cover whatever the teacher says,
# so it puts mass between the bumps, on answers that nobody gave. Reverse KL asks that
# what the student says be likely for the teacher: it takes one bump and forgets the other.
# SFT on a teacher's answers is the forward kind. *On-policy distillation* is the reverse
# kind: the student writes, the teacher scores each token, so the student learns on its
# own mistakes. It differs from GRPO in the signal: a number a token instead of one an
# answer.
#
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | DPO's first loss is not 0.693 | the reference is another model, or the template differs | check the log-probabilities of one pair by hand |
# | margins grow, answers get worse | log p of the chosen answers falls too | a smaller rate, fewer updates, a cross-entropy term on the chosen |
# | GRPO's loss is 0 and nothing moves | all groups silent: everything right, or nothing | a better start, easier prompts, parts in the reward |
# | reward rises, users complain | the reward is not what you meant | read twenty samples; hold a second measure that is not trained on |
# | answers get long | length pays: a mean for each answer, or a judge | `dapo` or `dr_grpo`; look at length beside reward |
# | entropy falls to 0 | the model writes one answer only | a smaller rate, KL, higher temperature |
# | every answer is the same and short | a constant is paid well | compute what each constant earns before you train; multiply the form by the content |
#
# ## In the interview
#
# Say the answer aloud before you unfold it. Seven more cards, on rewards, judges and what
# a success is, stand at the end of lesson 15.

# %%
from course_utils.evidence.cards import show_cards

show_cards("10")

# %% [markdown]
# ## The same on your project
#
# Without this course: pairs or a reward of your own, any model of the hub. (TRL needs a
# GPU here, or Unsloth imported first.)

# %%
def preference_trainer(model: str, rows: list[dict], reward=None):
    "DPO on rows of prompt, chosen, rejected; with a reward, GRPO on prompts."
    from datasets import Dataset
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

    data = Dataset.from_list(rows)
    adapter = LoraConfig(r=16, lora_alpha=16, target_modules="all-linear")
    if reward is None:
        settings = DPOConfig("out", beta=0.1, learning_rate=1e-4)
        return DPOTrainer(
            model, args=settings, train_dataset=data, peft_config=adapter
        )
    settings = GRPOConfig("out", num_generations=8, learning_rate=1e-4)
    return GRPOTrainer(
        model, args=settings, train_dataset=data, peft_config=adapter,
        reward_funcs=reward,  # reward(completions, **columns) -> numbers
    )


# %% [markdown]
# ## You can now …

# %%
print(f"… say why DPO started at {log['loss'][0]:.4f} nats,")
print(f"… and that it moved the better answers by {moved[0]:+.1f} nats,")
for way, marks in found.items():
    told = results.spelled(results.share(marks["served"]))
    print(f"… report for “{way}” {told} served,")
print("… and name the cheat that a reward pays for.")

# %% [markdown]
# ## What this run does not show
#
# - That one method is better: one small model, one task, a few minutes, three seeds from
#   one start. At the size of these test sets only large differences can be seen.
# - How good a rate can be: those of SFT and DPO were the better of two on validation
#   requests. GRPO's were not: the lower one of the verified reward was taken after test
#   answers of the higher one had been seen, so its numbers flatter it.
# - Preferences of people: a language model wrote the pairs.
# - PPO, KTO, ORPO, SimPO and a judge as reward were not run.
# - A model that reasons before it answers, for which GRPO became known.
#
# ## Sources
#
# - TRL 1.15, installed source: `dpo_trainer.py`, `grpo_trainer.py`, `grpo_config.py`,
#   `reward_trainer.py`.
# - Abstracts: Rafailov et al. 2023, *Direct Preference Optimization*, arXiv:2305.18290;
#   Zheng et al. 2023, *Judging LLM-as-a-Judge*, arXiv:2306.05685; Shi et al., *Judging the
#   Judges*, arXiv:2406.07791; Dubois et al. 2024, *Length-Controlled AlpacaEval*,
#   arXiv:2404.04475; Gao et al., *Scaling Laws for Reward Model Overoptimization*,
#   arXiv:2210.10760.
# - The other texts that the cards rest on are listed in `data/interview/sources.yaml`.
#
# ## Run record

# %% tags=["hide-input"]
from course_utils.evidence.ledger import Ledger
from course_utils.machine.run_record import save_results, write_run_record

ledger = Ledger("10", profile)
ledger.record(
    "C240", questions=said.size, said_first=firsts + lasts, right_first=firsts,
    right_last=len(said) - lasts, right_added_up=added_up.right,
    pairs=len(said),
)
assert not ledger.missing()
table = results.marks_table(found, rows.tests)
save_results(folder, "10", [{"way": w, **table[w]} for w in found])
headline = f"served: {table.loc['served', 'words paid']} when words were paid"
write_run_record("10", profile, headline=headline, seed=SEED)

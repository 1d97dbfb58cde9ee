# %% [markdown]
# # Draft for lesson 10 · What should a model be rewarded for?
#
# **A draft.** Nothing runs this file: no test, no `make` target, and no lesson imports
# it. It keeps the sections on judges and rewards that stood in lesson 05 until the
# lesson on preference tuning is written. Each cell ran when it was written; run it by
# hand, from the project's root. What the interview sources claim about these things is
# settled in `notebooks/source/proofs/05_stress_test_claims.py`.
#
# What the lesson still needs: preference pairs (chosen, rejected) from the answers of
# lesson 05; `trl.DPOTrainer` on the small model, with its β; the reward and the true
# reward of *that* model along the run, in place of the toy's curve; the model's own
# search for a hole in the summed reward of section 3.

# %%
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# ## 1. A judge that is a model
#
# A second LLM reads thirty pairs in a minute and sees more than a list of words does.
# What would it see that no check of ours sees?

# %%
from course_utils.model.generation import Generated
from course_utils.projects.project import chosen_project

suite = chosen_project().suite()
sample = suite.demonstration
asked = suite.prompt(sample.prompt_id)
print(sample.nonsense)

# %%
passed = suite.judge(asked, Generated(sample.nonsense, stopped=True))
f"passes {sum(passed.values())} of {len(passed)} checks"

# %% [markdown]
# A real film, right facts, perfect form, and a reason that is none: every check passes.
# This is what judges are for. But they come with habits:
#
# | Bias | What was found | What helps |
# |---|---|---|
# | position | the verdict changes when the two answers change places (Zheng et al., abstract; Shi et al. measured 15 judges, abstract) | ask in both orders, count what agrees |
# | length | longer answers win more often (Dubois et al., abstract) | compare at like length, or model the length |
# | self-preference | a model likes texts of its own family (Zheng et al., abstract) | a judge of another family, and people for a sample |
# | confidence | asked for a reason, it finds one for either side (to be measured here) | fixed criteria, known answers mixed in |
#
# The course uses no judge so far: it would need a model that is much stronger than the
# one under test, and this one has to run offline. The protocol can be done by hand.
#
# ### Swap the order: a toy
#
# Six pairs. d is how much better the tuned answer really is. Our judge sees d, and gives
# the answer that stands first a bonus of 1. It says “first” when d + 1 > 0 with the tuned
# answer first, and when −d + 1 > 0 with the base first.

# %%
import pandas as pd

difference = [3.0, 2.0, 0.5, 0.4, -0.5, -2.0]  # tuned minus base, by hand
BONUS = 1.0
tuned_first = ["tuned" if d + BONUS > 0 else "base" for d in difference]
base_first = ["base" if -d + BONUS > 0 else "tuned" for d in difference]
pd.DataFrame({"d": difference, "tuned first": tuned_first, "base first": base_first})

# %% [markdown]
# Who wins? Shown first, the tuned model wins 5 of 6; shown second, 2 of 6. Both figures
# come from the same judge and the same answers. Counted only where both orders agree:

# %%
from collections import Counter

agreed = [a for a, b in zip(tuned_first, base_first) if a == b]
Counter(agreed), f"{len(difference) - len(agreed)} verdicts hang on the order"

# %% [markdown]
# Two wins, one loss, three ties: that is what this judge knows. Does swapping also cure
# the love of length? A judge that takes the longer answer looks at no position, so it
# agrees with itself in every order. Whom would it choose in the pairs that lesson 05
# kept? (Empty where lesson 05 has not run yet.)

# %%
from course_utils.places import runs_folder

kept = runs_folder() / f"{chosen_project().recipe.name}-{profile.name}" / "stress.jsonl"
rows = pd.read_json(kept, lines=True) if kept.exists() else pd.DataFrame()
if len(rows):
    greedy = rows[rows["decoding"] == "greedy"]
    letters = greedy.assign(letters=greedy["answer"].str.len())
    pairs = letters.pivot(index="prompt", columns="model", values="letters")
    print(f"the base is longer in {(pairs['base'] > pairs['tuned']).mean():.0%}")

# %% [markdown]
# It would choose whoever talks longer, with perfect consistency. Agreement in both
# orders shows the absence of one bias, not of all.
#
# ### ●●○ Exercise · Two orders, one verdict (4 minutes)
#
# *Why it matters: this is the smallest piece of a judge that you can trust, and most
# code that calls a judge lacks it.*
#
# The judge answers “first”, “second” or “tie”. In `order_one` the tuned answer stood
# first, in `order_two` the base. Write `combine(order_one, order_two)`: “tuned” or
# “base” when both orders name that model, else “tie”.
#
# (For the package, `course_utils/exercises/preferences.py`: first, second → tuned, with
# the mistakes “tie”, which compares the places, and “base”, which takes order one for
# the base's; first, first → tie, mistake “tuned”; first, tie → tie, mistake “tuned”;
# second, first → base.)
#
# <details><summary>Solution</summary>
#
# ```python
# def combine(order_one: str, order_two: str) -> str:
#     one = {"first": "tuned", "second": "base"}.get(order_one, "tie")
#     two = {"first": "base", "second": "tuned"}.get(order_two, "tie")
#     return one if one == two else "tie"
# ```
#
# </details>
#
# ## 2. A reward made of keywords
#
# Checks that report are one thing; as soon as a model is trained on a check, it searches
# for the holes. Be that model. The first rung, keywords:

# %%
KEYWORDS = ("resource", "aws_s3_bucket", "versioning", "encryption")


def keyword_score(text: str) -> float:
    """Share of the keywords that occur."""
    return sum(word in text for word in KEYWORDS) / len(KEYWORDS)


soup = 'resource "aws_s3_bucket versioning {{ encryption'
keyword_score(soup)

# %% [markdown]
# Full marks, and no parser takes it. The second rung: braces and quotes must close, in
# order.

# %%
def is_balanced(text: str) -> bool:
    """Whether braces and quotes close; braces inside quotes do not count."""
    depth, quoted = 0, False
    for character in text:
        quoted ^= character == '"'
        depth += 0 if quoted else (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0 and not quoted


nonsense = 'resource "versioning" "encryption" { aws_s3_bucket = "encryption" }'
print(is_balanced(soup), is_balanced(nonsense))

# %% [markdown]
# The second rung stops the soup, and the next string passes it; it even parses. It takes
# a schema to say that there is no resource type `versioning`.
#
# ## 3. A reward that adds its parts up, and one with gates
#
# The third rung is the course's reward for infrastructure code: a parser, and the names
# of 156 resource types with their arguments.

# %%
from course_utils.projects.inframind.code.schema import load_schema
from course_utils.projects.inframind.reward import reward_of
from course_utils.recipes.book import INFRAMIND

attempts = {
    "keyword soup": soup,
    "nonsense that parses": nonsense,
    "`name` for `bucket`": 'resource "aws_s3_bucket" "logs" { name = "logs" }',
    "an invented type": 'resource "aws_s3_bucket_versioning_policy" "logs" {}',
    "an invented function": "status = aws_versioning::versioning()",
    "another subject": "locals { a = 1 }",
    "a bucket": 'resource "aws_s3_bucket" "logs" { bucket = "logs" }',
}
wanted = {"language": "terraform", "resources": ["aws_s3_bucket"], "values": []}

# %%
schema = load_schema()
rewards = {name: reward_of(text, wanted, schema) for name, text in attempts.items()}
for name, reward in rewards.items():
    print(f"{name:21} invented: {', '.join(reward.invented) or 'nothing'}")
table = pd.DataFrame({name: reward.parts for name, reward in rewards.items()}).T
weights = pd.Series(INFRAMIND.reward_weights)
added_up = (table.astype(float).fillna(1) * weights).sum(axis="columns") / weights.sum()
gated = [reward.total(INFRAMIND.reward_weights) for reward in rewards.values()]
table.assign(added_up=added_up.round(2), gated=[round(value, 2) for value in gated])

# %% [markdown]
# The lesson of the column *added up*: it was this course's reward until somebody
# attacked it. `name` in a bucket got 0.95, and `terraform validate` refuses that
# argument; `locals { a = 1 }` got 0.60, for code that creates nothing. A fatal fault
# cost only its own weight, and a part of which nothing was asked counted as met. The
# gates multiply: a tenth where Terraform would refuse the code, and the share of
# resources that are the ones asked for. A learner may find them alone: give the sum,
# let them attack it, then let them write the gate (an exercise on the real reward).
#
# What no rung sees: whether the cloud accepts it (that a bucket's name is taken shows at
# `apply`, neither at `validate` nor at `plan`), and whether it is what somebody wanted
# and did not write into the expectation.
#
# ## 4. Does the KL penalty save us?
#
# Preference tuning pulls the model towards reward and holds it near where it was. With
# reference probabilities π₀ and reward r, the best policy under a penalty of weight β is
#
# $$\pi_\beta(x) = \frac{\pi_0(x)\, e^{r(x)/\beta}}{\sum_y \pi_0(y)\, e^{r(y)/\beta}}$$
#
# A toy with four answers: prose, a valid bucket, a valid bucket with versioning, and the
# soup. r is the keyword score, the true reward is 1 for code in which the schema finds
# no fault.

# %%
import numpy as np

bucket = attempts["a bucket"]
versioned = (
    f'{bucket}\nresource "aws_s3_bucket_versioning" "logs" {{\n  bucket = "logs"\n'
    '  versioning_configuration { status = "Enabled" }\n}'
)
answers = ["Use the console for that.", bucket, versioned, soup]
choices = pd.DataFrame({"reference": [0.33, 0.45, 0.20, 0.02]})
choices["keywords"] = [keyword_score(text) for text in answers]
choices["truth"] = [int(reward_of(a, wanted, schema).valid) for a in answers]
choices

# %%
def under_penalty(beta: float, reward: pd.Series) -> tuple[float, float, float]:
    """(KL to the reference in nats, keyword reward, true reward) of the policy."""
    weighted = choices["reference"] * np.exp(reward / beta)
    policy = weighted / weighted.sum()
    seen = policy[policy > 0]
    kl = (seen * np.log(seen / choices["reference"])).sum()
    means = (float(policy @ choices[name]) for name in ("keywords", "truth"))
    return float(kl), *means


# %%
from course_utils.plots import ACCENT, REFERENCE, line_plot

betas = np.geomspace(10, 0.03, 60)
keywords = choices["keywords"]
kl, proxy, truth = np.transpose([under_penalty(b, keywords) for b in betas])
best = truth.argmax()
axes = line_plot(
    kl,
    {"true reward": truth, "keyword reward": proxy},
    x_label="distance from the reference (KL, nats)",
    y_label="mean reward",
    title=f"Past {kl[best]:.2f} nats the reward rises and the answers get worse",
)
axes.lines[1].set_color(ACCENT)
axes.axvline(kl[best], **REFERENCE)
axes.legend();

# %% [markdown]
# There is one best β, and you cannot find it if you see only the keyword reward. What if
# the hole is closed instead, by giving unbalanced text 0?

# %%
closed = keywords * [is_balanced(text) for text in answers]
{beta: round(under_penalty(beta, closed)[2], 3) for beta in (1, 0.3, 0.1, 0.05)}

# %% [markdown]
# Now the true reward only rises. A better reward does more than a better-chosen β, until
# somebody finds the next hole (the balanced nonsense: proof 05 adds it to the toy).
#
# ## Sources
#
# - Zheng et al. 2023, *Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena*,
#   arXiv:2306.05685 (abstract).
# - Shi et al., *Judging the Judges*, arXiv:2406.07791 (abstract).
# - Dubois et al. 2024, *Length-Controlled AlpacaEval*, arXiv:2404.04475 (abstract).
# - Gao, Schulman and Hilton, *Scaling Laws for Reward Model Overoptimization*,
#   arXiv:2210.10760 (abstract).
# - Terraform documentation, *validate command*; plugin framework, *RPCs*.

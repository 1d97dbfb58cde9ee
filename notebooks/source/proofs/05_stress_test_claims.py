# %% [markdown]
# # 05 · Can a check, a reward or a judge be fooled?
#
# <!-- colab badge -->
#
# Six sentences of interview answers about automatic checks, rewards and LLM judges, each
# quoted, and each settled by a cell or by a source that was opened. Most cells attack:
# they look for the worst answer that still gets full marks. It is for whoever prepares
# an interview, or doubts an answer of the cards. No lesson needs it.
#
# **Time and memory.** About 22 minutes to read; a few seconds and under 1 GiB on two CPU
# cores (measured). No model is loaded, so a T4 makes no difference.

# %% tags=["first-cell"]
pass

# %%
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# **The sources** are two of five interview-preparation documents: S2, about a project
# named *InfraMind* that tunes a small model for Terraform code, and S4, a general list of
# questions. A folded cell at the end holds every number against the claim bank.
#
# ## 1. “Keywords and balanced braces make an automatic metric”
#
# (S2, for generated infrastructure code. Imprecise.) A check that only reports can be
# simple. As soon as a model is trained on a check, training searches for its holes. Do
# the same by hand. The first rung is the share of the keywords that occur:

# %%
KEYWORDS = ("resource", "aws_s3_bucket", "versioning", "encryption")


def keyword_score(text):
    """Share of the keywords that occur."""
    return sum(word in text for word in KEYWORDS) / len(KEYWORDS)


# %% tags=["nbval-check-output"]
soup = 'resource "aws_s3_bucket versioning {{ encryption'
keyword_score(soup)

# %% [markdown]
# Full marks for a text that no parser takes. The second rung: braces and quotes must
# close, in order. And a second string, made to pass it:

# %%
def is_balanced(text):
    """Whether braces and quotes close; braces inside quotes do not count."""
    depth, quoted = 0, False
    for character in text:
        quoted ^= character == '"'
        depth += 0 if quoted else (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0 and not quoted


# %% tags=["nbval-check-output"]
nonsense = 'resource "versioning" "encryption" { aws_s3_bucket = "encryption" }'
rungs = {
    "soup, keywords": keyword_score(soup),
    "soup, keywords and balance": keyword_score(soup) * is_balanced(soup),
    "nonsense, both": keyword_score(nonsense) * is_balanced(nonsense),
}
rungs

# %% [markdown]
# The second rung stops the soup. The next string passes it, and even parses as
# Terraform; only a list of what exists says that there is no resource type `versioning`.
#
# ## 2. A parser and a schema, added up
#
# The third rung is the course's reward for infrastructure code: a parser, and the names
# of 156 resource types with their arguments. It has six parts, each from 0 to 1; a dash
# says that nothing of the kind was asked for or needed. Seven answers to “an S3 bucket
# for logs”:

# %%
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

# %% tags=["nbval-check-output"]
import pandas as pd
from course_utils.projects.inframind.code.schema import load_schema
from course_utils.projects.inframind.reward import reward_of

schema = load_schema()
rewards = {name: reward_of(text, wanted, schema) for name, text in attempts.items()}
parts = pd.DataFrame({name: reward.parts for name, reward in rewards.items()}).T
print(parts.astype(float).to_string(na_rep="–"))

# %% [markdown]
# A common reward adds the parts up, with weights. What does the sum say, with the
# weights of the course's recipe?

# %% tags=["nbval-check-output"]
from course_utils.recipes.book import INFRAMIND

weights = pd.Series(INFRAMIND.reward_weights)
nothing_asked_is_met = parts.astype(float).fillna(1)
added_up = (nothing_asked_is_met * weights).sum(axis="columns") / weights.sum()
print(weights.to_dict(), added_up.round(2).to_string(), sep="\n\n")

# %% [markdown]
# `name` for `bucket` gets 0.95, and Terraform would refuse it: the provider has no such
# argument. `locals { a = 1 }` gets 0.60 for code that creates nothing. A sum has two
# holes. A fatal fault costs no more than its own weight. And a part of which nothing
# was asked counts as met: here nobody asked for values, so no value is wrong.
#
# The mend is a *gate*: a factor that no other part can make up for. The course's reward
# leaves out what was not asked, keeps a tenth of the mean where Terraform would refuse
# the code, and multiplies by the share of resources that are the ones asked for:

# %% tags=["nbval-check-output"]
gated = pd.Series(
    {name: reward.total(INFRAMIND.reward_weights) for name, reward in rewards.items()}
)
print(pd.DataFrame({"added up": added_up, "gated": gated}).round(2).to_string())

# %%
from course_utils.plots import ACCENT, TUNED, grouped_bars

refused = gated.drop(["a bucket"])
axes = grouped_bars(
    [name.replace(" ", "\n", 1) for name in refused.index],
    {"added up": added_up[refused.index], "gated": refused},
    y_label="reward (full marks: 1)", value_format="{:.2f}",
    reference=("a bucket", gated["a bucket"]),
    title=f"A sum pays wrong answers up to {added_up[refused.index].max():.2f}, "
    f"with gates {refused.max():.2f}",
)
for bars, colour in zip(axes.containers, (ACCENT, TUNED)):
    for bar in bars:
        bar.set_color(colour)
axes.set_ylim(0, 1.35)
axes.legend(ncols=3, loc="upper right")
axes.figure.set_size_inches(9.6, 3.8);

# %%
assert gated["a bucket"] == 1
assert refused.max() < 0.5 < added_up[refused.index].max()

# %% [markdown]
# Is that the end of it? Look for the next hole. Say that the request was “an S3 bucket
# for logs, *with versioning*”, and that whoever wrote the expectation listed the bucket
# only. What do the bucket alone, and the bucket with versioning, get?

# %%
bucket = attempts["a bucket"]
versioned = (
    f'{bucket}\nresource "aws_s3_bucket_versioning" "logs" {{\n  bucket = "logs"\n'
    '  versioning_configuration { status = "Enabled" }\n}'
)
both = ["aws_s3_bucket", "aws_s3_bucket_versioning"]
expectations = {"incomplete": wanted, "complete": wanted | {"resources": both}}

# %% tags=["nbval-check-output"]
def paid(text, expectation):
    """What the course's reward gives, rounded."""
    reward = reward_of(text, expectation, schema)
    return round(reward.total(INFRAMIND.reward_weights), 2)


hole = pd.DataFrame(
    {name: [paid(bucket, e), paid(versioned, e)] for name, e in expectations.items()},
    index=["bucket alone", "with versioning"],
)
print(hole.to_string())

# %%
assert hole.loc["bucket alone", "incomplete"] == 1
assert hole.loc["with versioning", "complete"] == 1

# %% [markdown]
# With the incomplete expectation the wrong answer gets full marks, and the right one
# half of them. A reward is no better than what its author wrote down for each request,
# and that part nobody can compute. So the sentence of section 1 is imprecise: each rung
# makes the attack harder, and each can be attacked.
#
# ## 3. “`terraform validate` proves that the code works”
#
# (S2; and *“`kubectl apply --dry-run` tells whether the output works”*. Both imprecise,
# and neither program is run here.) What was read, and where:
#
# | Claim | Verdict | What the source says |
# |---|---|---|
# | C108, S2: `kubectl apply --dry-run` tells whether the output works | imprecise | the flag takes `client` or `server`. Client prints the object that would be sent, and sends nothing. Server lets the API server set defaults, validate and run admission, and stores nothing; controllers do not act and no pod starts (kubectl's help text; Knative, *Validating Resource Using Server-Side Dry Run*) |
# | C109, S2: `terraform validate` proves that the code actually works | imprecise | a check of syntax, names and types that needs no state and calls no cloud API. It does ask the provider *plugin*, which `init` has installed: for its schema, and to validate each resource (Terraform, *validate command*; plugin framework, *RPCs*) |
#
# In an interview keep four things apart. `validate` asks the installed plugin whether
# names, types and the plugin's own rules are met: it refuses `name` in the bucket above.
# `plan` configures the provider, reads what exists, and computes a difference. Only
# `apply` finds out that a bucket's name is taken, since names are unique among all
# customers and nothing asks for them before. And none of the three says that this is the
# infrastructure which somebody wanted.
#
# ## 4. “The KL penalty mitigates reward hacking”
#
# (S4. Right, if “mitigates” is meant.) Preference tuning pulls a model towards reward and
# holds it near the reference model, where it began. With reference probabilities π₀ and
# reward r, the best policy under a penalty of weight β is
#
# $$\pi_\beta(x) = \frac{\pi_0(x)\, e^{r(x)/\beta}}{\sum_y \pi_0(y)\, e^{r(y)/\beta}}$$
#
# A toy with four answers: prose, a valid bucket, a valid bucket with versioning, and the
# soup. The reward that is trained on is the keyword score; the true reward is 1 for code
# in which the parser and the schema find no fault.

# %%
import numpy as np

answers = ["Use the console for that.", bucket, versioned, soup]

# %% tags=["nbval-check-output"]
choices = pd.DataFrame({"reference": [0.33, 0.45, 0.20, 0.02]})
choices["keywords"] = [keyword_score(text) for text in answers]
judged = [reward_of(text, wanted, schema) for text in answers]
choices["truth"] = [int(found.valid) for found in judged]
choices

# %%
def under_penalty(beta, table, reward):
    """(KL to the reference in nats, trained reward, true reward) of the policy."""
    weighted = table["reference"] * np.exp(table[reward] / beta)
    policy = weighted / weighted.sum()
    seen = policy[policy > 0]
    kl = (seen * np.log(seen / table["reference"][seen.index])).sum()
    return kl, policy @ table[reward], policy @ table["truth"]


# %% [markdown]
# A strong penalty leaves the policy where it is, a weak one lets it run. What happens to
# the two rewards on the way?

# %%
from course_utils.plots import REFERENCE, line_plot

betas = np.geomspace(10, 0.03, 60)
kl, proxy, truth = np.transpose([under_penalty(b, choices, "keywords") for b in betas])
best = truth.argmax()
axes = line_plot(
    kl, {"true reward": truth, "keyword reward": proxy},
    x_label="distance from the reference (KL, nats)", y_label="mean reward",
    title=f"Past {kl[best]:.2f} nats the reward rises and the answers get worse",
)
axes.lines[1].set_color(ACCENT)
axes.axvline(kl[best], **REFERENCE)
axes.legend();

# %% tags=["nbval-check-output"]
start = choices["reference"] @ choices["truth"]
_, weak_proxy, weak_truth = under_penalty(0.05, choices, "keywords")
print(f"true reward: {start:.2f} at the start, {truth[best]:.2f} at best,")
print(f"{weak_truth:.2f} with β = 0.05, where the keyword reward is {weak_proxy:.2f}")
assert weak_truth < start < truth[best]

# %% [markdown]
# There is one best β, and you cannot find it if you see only the keyword reward, which
# rises all the way. What if the hole is closed instead? Give unbalanced text 0. And
# then let the policy know one answer more, the balanced nonsense:

# %% tags=["nbval-check-output"]
choices["balanced"] = choices["keywords"] * [is_balanced(text) for text in answers]
known = choices.assign(reference=0.98 * choices["reference"])
known.loc[4] = {"reference": 0.02, "keywords": 1, "truth": 0, "balanced": 1}
for beta in (1, 0.3, 0.1, 0.05):
    closed, attacked = (under_penalty(beta, t, "balanced")[2] for t in (choices, known))
    print(f"β = {beta:4}: true reward {closed:.2f}, with the nonsense {attacked:.2f}")

# %% [markdown]
# Without the nonsense the true reward only rises: a better reward does more than a
# better-chosen β. With it the curve turns down again, since the nonsense is the next
# hole. So the penalty slows the search for holes and closes none. Over learned reward
# models the same turn was measured at scale (Gao et al.).
#
# ## 5. “An LLM judge is more nuanced than keyword matching”
#
# (S4 and S2. Right.) What can a reader see that no check of ours sees? Every test of the
# recommender has a made-up answer in perfect form with right facts, and with a reason
# that is none:

# %%
from course_utils.model.generation import Generated
from course_utils.projects.project import chosen_project

suite = chosen_project().suite()
example = suite.demonstration
asked = suite.prompt(example.prompt_id)
print(asked.request, example.nonsense, sep="\n\n")

# %%
verdicts = suite.judge(asked, Generated(example.nonsense, stopped=True))
passed = sum(verdicts.values())
assert passed == len(verdicts), verdicts
f"passes {passed} of the {len(verdicts)} checks that apply"

# %% [markdown]
# Every check passes, and any reader laughs. That is what a judge is for: the things that
# nobody wrote a rule for. What a judge brings along is the next claim.
#
# ## 6. “LLM judges inherit the biases of their training data”
#
# (S4. Right, and they add their own.) Three are named in the paper that made the method
# known (Zheng et al.): a judge prefers a *position*, *length*, and texts of its own
# family. How much does one of them matter? Six pairs. `d` is how much better the tuned
# answer really is; our judge sees it, and gives the answer that stands first a bonus of
# 1.

# %% tags=["nbval-check-output"]
BONUS = 1.0
toy = pd.DataFrame({"d": [3.0, 2.0, 0.5, 0.4, -0.5, -2.0]})
toy["tuned first"] = ["tuned" if d + BONUS > 0 else "base" for d in toy["d"]]
toy["base first"] = ["base" if -d + BONUS > 0 else "tuned" for d in toy["d"]]
agreed = toy.loc[toy["tuned first"] == toy["base first"], "tuned first"]
toy

# %% tags=["nbval-check-output"]
wins = {order: (toy[order] == "tuned").sum() for order in ("tuned first", "base first")}
wins["in both orders"] = (agreed == "tuned").sum()
print({order: f"{count} of {len(toy)}" for order, count in wins.items()})
f"{len(toy) - len(agreed)} verdicts hang on the order"

# %% [markdown]
# The same judge and the same answers give 5 of 6 or 2 of 6. Asked in both orders, and
# counted only where the two agree, it knows two wins, one loss and three ties. So ask in
# both orders. Does that cure every bias? A second judge takes whichever is longer, in
# words:

# %% tags=["nbval-check-output"]
toy["tuned words"] = [30, 32, 28, 31, 25, 27]
toy["base words"] = [90, 28, 75, 80, 84, 60]
longer = toy["tuned words"] > toy["base words"]  # in either order
longer_right = (longer == (toy["d"] > 0)).sum()
f"agrees with itself in {len(toy)} of {len(toy)}, is right in {longer_right}"

# %% [markdown]
# It agrees with itself in every order and is right in half of the pairs, as a coin would
# be. Agreement in both orders shows the absence of one bias. Against the others: compare
# answers of like length or model the length (Dubois et al.), take a judge of another
# family, and mix in pairs whose answer you know.
#
# ## What this notebook does not show
#
# - That the gated reward is safe to train on: nobody trained on it here.
# - What Terraform or a cluster says: both were read about, not run.
# - How biased a real judge is today: the toy's bonus of 1 is a choice.
#
# ## Sources
#
# - Terraform documentation: *terraform validate command* (versions 1.5 and current), and
#   plugin framework, *RPCs and framework functionality*.
# - Kubernetes: `kubectl`'s help text of `--dry-run`; KEP-576; Knative documentation,
#   *Validating Resource Using Server-Side Dry Run*.
# - Gao, Schulman and Hilton, *Scaling Laws for Reward Model Overoptimization*,
#   arXiv:2210.10760 (abstract).
# - Zheng et al. 2023, *Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena*,
#   arXiv:2306.05685 (abstract).
# - Dubois et al. 2024, *Length-Controlled AlpacaEval*, arXiv:2404.04475 (abstract).
# - S2: saikiranrallabandi/inframind on GitHub, `docs/Training/interview_questions.md`.

# %% tags=["hide-input"]
from course_utils.evidence.ledger import Ledger
from course_utils.recipes.book import chosen_recipe

ledger = Ledger("proofs/05", profile, chosen_recipe().name)
ledger.record(
    "C107",
    keyword_score_of_soup=rungs["soup, keywords"],
    balance_score_of_soup=rungs["soup, keywords and balance"],
    balance_score_of_nonsense=rungs["nonsense, both"],
    wrong_argument_added_up=added_up["`name` for `bucket`"],
    wrong_argument_gated=gated["`name` for `bucket`"],
)
ledger.record("C110", checks=len(verdicts), checks_passed=passed)
ledger.record(
    "C152", pairs=len(toy), wins_when_first=wins["tuned first"],
    wins_when_second=wins["base first"], wins_in_both=wins["in both orders"],
    longer_is_right=longer_right,
)
ledger.record(
    "C156", answers=len(choices), true_at_start=start, true_at_best=truth[best],
    true_at_weak_penalty=weak_truth, proxy_at_weak_penalty=weak_proxy,
)
assert not ledger.missing()

# %%
from course_utils.machine.run_record import write_run_record

refused_pays = [table["`name` for `bucket`"] for table in (added_up, gated)]
write_run_record(
    "proofs/05",
    profile,
    headline=f"a reward that adds up pays refused code {refused_pays[0]:.2f}, "
    f"with gates {refused_pays[1]:.2f}",
)

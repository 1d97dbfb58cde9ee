# %% [markdown]
# # 15 · Could you say it aloud?
#
# <!-- colab badge -->
#
# You have computed it, and you understood it. In an interview somebody asks, and you have
# a minute: for the answer, for the number behind it, and then for the question that comes
# after your answer. That is a skill of its own, and reading does not train it. This lesson
# does: it asks, you speak, and what you missed comes back.
#
# **You will be able to**
#
# - judge a claim that sounds right, and name what is wrong with it,
# - say a number before you compute it,
# - answer aloud in a minute, and go on when they ask on,
# - repeat what you forget and leave alone what you know,
# - write a loss on a whiteboard in ten minutes.
#
# **Time and memory.** About 25 minutes to read, without the drill itself. It runs in less
# than a minute on any machine, in 1 GiB: no model is loaded. Ten minutes of drill a day
# are enough.

# %% tags=["first-cell"]
pass

# %%
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# ## What can be asked?
#
# The course collected interview questions from five documents that learners wrote about
# their fine-tuning projects. It answers them with *cards*, and it judged the *claims* that
# stand in the documents. How much of that is settled?

# %%
from course_utils.evidence.coverage import coverage, load_seeds

covered = coverage()
print(covered)

# %%
import matplotlib.pyplot as plt

from course_utils.plots import ACCENT, PALE, TUNED, stacked_bars

topics = {name: seed.topic for name, seed in load_seeds().items()}
counts = {
    extent: [topics[name] for name in getattr(covered, extent)]
    for extent in ("full", "part", "none")
}
order = sorted({*topics.values()}, key=[*topics.values()].count)[::-1]
axes = plt.figure(figsize=(8, 4.6)).add_subplot()
axes.set_prop_cycle(color=[TUNED, ACCENT, PALE])
stacked_bars(
    order, {how: [counts[how].count(t) for t in order] for how in counts},
    x_label="questions of the five documents", total_format="{:.0f}", axes=axes,
    title=f"{len(covered.full)} of {len(topics)} questions are answered in full"
    f", {len(covered.part)} in part",
)
axes.legend(loc="lower right");

# %% [markdown]
# Where a bar is grey, the lesson that answers it is not written yet. The drill asks only
# what is settled: cards to answer, claims to judge, numbers to predict.
#
# ## 1. Spot the mistake
#
# Most claims in such documents are nearly right, and that is what makes them dangerous.
# One of them, printed whole. Read the claim and stop: is it right, imprecise (the
# direction holds, a number or a limit is off), does it depend on a condition that it does
# not name, or is it wrong?

# %%
from course_utils.drill.session import load_bank

bank = load_bank()
toy = next(i for i in bank.spot if "gain on ARC-Easy shows" in i.claim)
print(toy.claim)

# %% [markdown]
# The gain in question: a model answered 79.80 % of 2,376 questions before and 81.19 %
# after fine-tuning. Would two models that are equally good differ by so much?

# %% tags=["nbval-check-output"]
from statsmodels.stats.proportion import proportions_ztest

questions = 2376
right = [round(share * questions) for share in (0.8119, 0.7980)]
z, p = proportions_ztest(right, [questions, questions])
print(f"{right[0] - right[1]} questions more, z = {z:.2f}, p = {p:.3f}")

# %% [markdown]
# Equally good models would differ by so much, or more, in about one comparison in four or
# five. So the gain is not shown, and it is not refuted. Here is what the course's bank
# says about the claim, with the value that it rests on:

# %%
print(toy.verdict)
print(toy.right)
for number in toy.numbers[:2]:
    print(f"- {number.what}: {number.text} ({number.kind})")
print(toy.place)

# %% [markdown]
# Your turn. (A reader of the published notebook sees no buttons here: they need a running
# one. The line below names the command that does the same in a terminal.)

# %%
from course_utils.drill.widgets import spot_view

spot_view(topic="evaluation", number=5)

# %% [markdown]
# `spot_view()` without a topic asks about everything. At the end it tells which claims
# have fooled you so far.
#
# ### Why a number alone does not guard a sentence
#
# Each number in the bank was recorded by a cell, computed by a tested function, or read
# in a source that is named; none is typed into an answer. The sentence
# around a number can still be false: “the price is time, 1.00 times as much” has a right
# number in it. So every judgement also stands there as a *predicate* over recorded
# values, and a test evaluates it. That of the toy:

# %%
from course_utils.evidence.claims import load_claims, load_evidence
from course_utils.evidence.sentences import holds

evidence = load_evidence()
claim_id = toy.id.removeprefix("claim:")
predicates = load_claims()[claim_id].holds
for predicate in predicates:
    print(f"{holds(predicate, evidence)}: {predicate}")

# %% [markdown]
# Let the value be another one, as if the test had come out clearly. The text would still
# say “not shown”, with the new number filled in. The predicate is what notices:

# %% tags=["nbval-check-output"]
clear = evidence | {claim_id: evidence[claim_id] | {"p": 0.003}}
holds(predicates[0], clear)

# %% [markdown]
# In the course's own checks this is an error, and the sentence has to be written anew.
# The same idea helps you in an interview: before you say “hardly”, “most” or “better”,
# know which comparison would make it false.
#
# ## 2. Predict, then compute
#
# “How many parameters does your adapter have?” Nobody expects eight digits. Expected is
# that you get near, and that you know what to multiply. First say a number:

# %%
item = next(i for i in bank.predict if "rank 16 train in Llama-3.1" in i.ask)
print(item.ask)
print("Reckon with:", item.hint)

# %% [markdown]
# Then compute it. A matrix of m × n gets r (m + n) parameters, seven matrices a block:

# %% tags=["nbval-check-output"]
rank, blocks, wide, kv, mlp = 16, 32, 4096, 1024, 14336
shapes = [(wide, wide), (wide, kv), (wide, kv), (wide, wide)]
shapes += [(wide, mlp), (wide, mlp), (mlp, wide)]
parameters = blocks * sum(rank * (m + n) for m, n in shapes)
print(f"{parameters:,}, and the bank has {item.value:,.0f}")

# %% [markdown]
# How near is near enough? The bank's own tolerance counts as known, and so does an error
# of 2 %, which arithmetic in the head may have. Within a fifth it is partly known. A
# number may be typed as people write it:

# %% tags=["nbval-check-output"]
from course_utils.drill.questions import number_said

for said in ("41.9 million", "42 million", "4e7", "20M"):
    number = number_said(said, item.unit)
    print(f"{said:>12} = {number:12,.0f}  {item.grade(number)}")

# %%
from course_utils.drill.widgets import predict_view

predict_view(number=5)

# %% [markdown]
# ## 3. Say it
#
# People who listen follow about 140 words a minute. A written number is longer than it
# looks, since it is read out:

# %% tags=["nbval-check-output"]
from course_utils.evidence.sentences import WORDS_PER_MINUTE, spoken_words

for text in ("41,943,040", "42 million", "0.52 %", "half a percent"):
    print(f"{text:>14}: {spoken_words(text)} words")

# %% [markdown]
# How long is your own answer? Write here what you would say to “What does LoRA train?”,
# then run the cell. (The text that stands there is a poor one, on purpose.)

# %%
mine = """
LoRA trains 41,943,040 of 8,072,204,288 parameters of Llama-3.1-8B, which is
0.5196 %, at rank 16 on all seven linear layers.
"""
seconds = 60 * spoken_words(mine) / WORDS_PER_MINUTE
print(f"{spoken_words(mine)} words, {seconds:.0f} seconds")

# %% [markdown]
# A sentence of digits takes as long as a third of a good answer, and nobody remembers
# it. A card of the bank is built to be spoken: a *hook* that can stand alone after ten
# seconds, an *answer* that ends within a minute and has at most four numbers, the *trap*
# that others fall into, and two questions that come next.
#
# Now aloud, really: a thought that was never said is not yet an answer. The view shows a
# question and a bar that fills in the time of the model answer. When you have spoken,
# turn the card. Tick what you said, answer what they ask next, and grade yourself.

# %%
from course_utils.drill.widgets import cards_view

cards_view(number=5)

# %% [markdown]
# ## 4. When does it come back?
#
# What you missed comes back in ten minutes, what you knew in days, and the pauses grow.
# The times come from `fsrs`, a library that models how memory fades: it predicts when the
# chance that you still know something falls to 90 %, and asks then. These are its calls,
# as the drill makes them:

# %% tags=["nbval-check-output"]
from datetime import UTC, datetime, timedelta

import fsrs

scheduler = fsrs.Scheduler(
    learning_steps=(timedelta(minutes=10),),  # after the first miss
    relearning_steps=(timedelta(minutes=10),),  # after a later one
    enable_fuzzing=False,  # else pauses vary a little, by chance
)
monday = datetime(2026, 1, 5, 9, tzinfo=UTC)
for rating in (fsrs.Rating.Again, fsrs.Rating.Hard, fsrs.Rating.Good):
    card = fsrs.Card(card_id=1, due=monday)
    card, _ = scheduler.review_card(card, rating, monday)
    print(f"{rating.name:5} comes back after {card.due - monday}")

# %% [markdown]
# The drill's *missed*, *partly* and *knew* are `Again`, `Hard` and `Good`. Each review
# takes the card as the last one left it. What do six reviews in a row give?

# %% tags=["nbval-check-output"]
def pauses(ratings):
    """Days until a card comes back, after each of some reviews."""
    card, now, days = fsrs.Card(card_id=1, due=monday), monday, []
    for rating in ratings:
        card, _ = scheduler.review_card(card, rating, now)
        days.append((card.due - now) / timedelta(days=1))
        now = card.due
    return days


again, hard, good = fsrs.Rating.Again, fsrs.Rating.Hard, fsrs.Rating.Good
series = {
    "knew each time": pauses([good] * 6),
    "twice, then partly each time": pauses([good] * 2 + [hard] * 4),
    "missed once, at the fourth": pauses([good] * 3 + [again] + [good] * 2),
}
{name: [round(day, 2) for day in days] for name, days in series.items()}

# %%
from course_utils.plots import line_plot

known, missed = series["knew each time"], series["missed once, at the fourth"]
axes = line_plot(
    range(1, 7), series, log_y=True, marker="o",
    x_label="review", y_label="until it comes back (log)",
    title=f"Four reviews give a pause of {known[3]:.0f} days, "
    f"a miss one of {24 * 60 * missed[3]:.0f} minutes",
)
days = {"10 minutes": 1 / 144, "1 day": 1, "1 week": 7, "1 month": 30}
days["1 year"] = 365
axes.set_yticks([*days.values()], [*days])
axes.minorticks_off()
axes.legend(loc="upper left");

# %% [markdown]
# What you know asks for six reviews in about two years, and the next pause is longer
# still. After a miss the pauses start small and grow again. All of that rests on one
# thing, that you are honest with three buttons.
#
# All of that is kept in one small file. Here is one, in a folder that is thrown away, after
# two answers at a fixed time:

# %% tags=["nbval-check-output"]
import tempfile
from pathlib import Path

from course_utils.drill.progress import Grade, Progress, in_words

scratch = tempfile.TemporaryDirectory()  # gone when this kernel ends
kept = Progress(Path(scratch.name, "drill.json"), clock=lambda: monday)
for name, grade in ((toy.id, Grade.KNEW), (item.id, Grade.MISSED)):
    memory = kept.review(name, grade)
    print(f"{grade}: it comes back {in_words(memory.due - monday)}")

# %% [markdown]
# The views above keep yours in `runs/drill.json`, or in the file that the variable
# `COURSE_DRILL` names, and so does the terminal. It is written after each answer.
#
# ## 5. The interview
#
# A mock interview has five questions, each with two follow-ups, and fifteen minutes. What
# is drawn depends on the job: an inference engineer is asked other things than somebody
# who trains models. A seed draws the same interview again:

# %%
import pandas as pd

from course_utils.drill.mock import ROLES, draw

pd.DataFrame({
    role.title: [item.card.topic for item in draw(bank.cards, role, seed=15)]
    for role in ROLES.values()
})

# %% [markdown]
# What would a candidate get who has learnt every card by heart and says each point of the
# model answer, but has nothing to say when they ask on? Let us simulate that one.

# %%
from course_utils.drill.mock import Answered, Sheet


def by_heart(item):
    """The answer complete in its time, both follow-ups missed."""
    said = item.said
    ticks = (True,) * len(said.rubric) + (False,) * len(said.followups)
    return Answered(item=item, ticks=ticks, seconds=(said.seconds, 0, 0))


role = ROLES["applied"]
sheet = Sheet(role, [by_heart(item) for item in draw(bank.cards, role, 15)])
print(", ".join(answered.grade for answered in sheet.answered))
pd.DataFrame(sheet.questions())

# %% [markdown]
# Not one of the five counts as known. The follow-ups are where an interviewer finds out
# whether you have *done* it, so practise them as seriously as the answers. The sheet also
# says which cells to run again (numbered as they are when all are run):

# %%
to_run = [place for place in sheet.places() if place.endswith("]")]
print("\n".join(to_run))

# %%
from course_utils.drill.widgets import mock_view

mock_view()

# %% [markdown]
# ## 6. The whiteboard
#
# “Write it down, please, without the library.” Nine tasks of ten minutes each, with
# checks that name the mistake:

# %% tags=["nbval-check-output"]
from course_utils.drill.whiteboard import TASKS

for one in TASKS:
    print(f"{one.slug:23}{one.topic:14}{one.title}")

# %% [markdown]
# Two of them here. For each other one write `task("kv-cache-step")` in a cell of your own:
# it shows the task and a stub. `.check(your_function)` tries it, and `.hint` and
# `.solution` are there when you need them.
#
# ### ●●○ Exercise 1 · The loss, by hand (10 minutes)
#
# *Why it matters: shift and mask are the two places where home-made training goes wrong,
# and both mistakes still give a loss that falls.*
#
# Compute the loss of a causal language model without the library's function. Logits are
# (batch, seq, vocabulary) and labels are (batch, seq). A label is the id of the token at
# its own position, or -100 where the token carries no loss; so labels are not shifted yet.
# Return one number, in nats: the mean over all tokens of the batch that carry loss. Logits
# may be as large as a thousand.

# %% tags=["exercise"]
import numpy as np

from course_utils.exercises import TODO


def masked_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean loss in nats over the tokens that carry loss.

    logits is (batch, seq, vocabulary); labels is (batch, seq), -100 where
    there is no loss.
    """
    return TODO


# %% tags=["check"]
from course_utils.drill.whiteboard import task

task("masked-cross-entropy").check(masked_cross_entropy)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The logits at a position speak of the next token. Write the logarithm of a softmax as a
# difference, not as the logarithm of a quotient.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# import numpy as np
#
#
# def masked_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
#     """Mean loss in nats over the tokens that carry loss.
#
#     logits is (batch, seq, vocabulary); labels is (batch, seq), -100 where
#     there is no loss.
#     """
#     logits, labels = logits[:, :-1], labels[:, 1:]
#     shifted = logits - logits.max(axis=-1, keepdims=True)
#     log_sums = np.log(np.exp(shifted).sum(axis=-1))
#     kept = labels != -100
#     targets = np.where(kept, labels, 0)
#     chosen = np.take_along_axis(shifted, targets[..., None], axis=-1)[..., 0]
#     return float((log_sums - chosen)[kept].mean())
# ```
#
# </details>
#
# ### ●●○ Exercise 2 · The loss of DPO (10 minutes)
#
# *Why it matters: it is asked whenever preference tuning stands in a job's title.*
#
# Write the loss of direct preference optimization. You get four arrays (batch,) of summed
# log-probabilities: of the chosen and the rejected answer under the model in training,
# and of the same two under the reference. An answer's implicit reward is beta times what
# its log-probability has over the reference's. The loss of a pair is minus the
# log-sigmoid of the chosen answer's reward minus the rejected one's. Return the mean over
# the pairs. That difference may be a thousand either way.

# %% tags=["exercise"]
import numpy as np


def dpo_loss(
    chosen: np.ndarray,
    rejected: np.ndarray,
    reference_chosen: np.ndarray,
    reference_rejected: np.ndarray,
    beta: float,
) -> float:
    """Mean loss over the pairs, in nats.

    Each array is (batch,): the summed log-probability of an answer's tokens,
    under the model in training or under the reference.
    """
    return TODO


# %% tags=["check"]
from course_utils.drill.whiteboard import task

task("dpo-loss").check(dpo_loss)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Minus log-sigmoid(z) is log(1 + exp(-z)); a library has it in a form that does not
# overflow. While the model is the reference, the loss is ln 2.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# import numpy as np
#
#
# def dpo_loss(
#     chosen: np.ndarray,
#     rejected: np.ndarray,
#     reference_chosen: np.ndarray,
#     reference_rejected: np.ndarray,
#     beta: float,
# ) -> float:
#     """Mean loss over the pairs, in nats.
#
#     Each array is (batch,): the summed log-probability of an answer's tokens,
#     under the model in training or under the reference.
#     """
#     margin = (chosen - reference_chosen) - (rejected - reference_rejected)
#     return float(np.logaddexp(0, -beta * margin).mean())
# ```
#
# </details>
#
# ## 7. Take it along
#
# - **In a terminal**: `python -m course_utils.drill` says what is due; with `spot`,
#   `cards`, `predict` or `mock` it asks. With `whiteboard` it writes a stub for your own
#   editor, and checks it while the clock runs. `--topic lora`, `--level 3` and
#   `--number 5` choose.
# - **On a phone**: `make anki` writes a deck for Anki into `runs/interview/`, and a page to
#   print for each topic. A card keeps its identity when its text is mended, so your
#   reviews in Anki stay.
# - **On another machine**: copy the file, then
#   `python -m course_utils.drill --join drill.json` takes over what it knows. Of each item
#   the later review counts, so it may go back and forth.
# - **On Colab** the folder `runs/` is gone with the machine. Put `COURSE_DRILL` to a file
#   on your Drive, in a cell before all others (lesson 03 mounts one):
#   `%env COURSE_DRILL=/content/drive/MyDrive/drill.json`
#
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | a line of text in place of buttons | no kernel is running, or the page was opened again | run the cell again; or the terminal |
# | buttons that do nothing | the kernel was restarted | run the notebook from the top |
# | “is no whole file of progress” | a copy was cut off | the old file is kept beside the new one: mend it, then `--join` |
# | “has version …, this course reads …” | a newer course wrote the file | `git pull` |
# | “… can be read in two ways” | a decimal comma | write decimals with a point |
# | “In your run it is otherwise” below a card | your run recorded something else | trust your run, say so, and find out why |
# | “5 s? … say it aloud” | the card was turned too early | speak first; a thought is faster than a sentence |
#
# ## In the interview
#
# The cards of no single lesson: the project as a whole. Say each aloud before you unfold
# it.

# %%
from course_utils.evidence.cards import show_cards

show_cards("15")

# %% [markdown]
# And the second half of lesson 10's, on rewards, judges and what a success is:

# %%
show_cards("10_rewards")

# %% [markdown]
# ## The same on your project
#
# Questions about *your* project are the likeliest of all, and no course knows them. Write
# ten, with the number behind each, and drill them without this course:

# %%
import json
from datetime import UTC, datetime
from pathlib import Path

import fsrs


def drill(cards, file, now, ask=input):
    """Ask what is due of question -> answer; keep when each comes back."""
    path, scheduler = Path(file), fsrs.Scheduler(enable_fuzzing=False)
    kept = json.loads(path.read_text()) if path.exists() else {}
    for number, (question, answer) in enumerate(cards.items()):
        card = fsrs.Card(card_id=number, due=now)
        if question in kept:
            card = fsrs.Card.from_json(kept[question])
        if card.due > now:
            continue
        ask(f"{question} (aloud, then Enter) ")
        known = ask(f"{answer}\nKnown? y/n ") == "y"
        rating = fsrs.Rating.Good if known else fsrs.Rating.Again
        card, _ = scheduler.review_card(card, rating, now)
        kept[question] = card.to_json()
        path.write_text(json.dumps(kept))
    return {question: json.loads(kept[question])["due"] for question in kept}


# %% [markdown]
# Call it with `datetime.now(UTC)`. Here it is answered by a script, one known and one not:

# %% tags=["nbval-check-output"]
ours = {"How many rows?": "300", "What beat the tuned model?": "a regex"}
answers = iter(["", "y", "", "n"])
drill(ours, f"{scratch.name}/own.json", monday, ask=lambda _: next(answers))

# %% [markdown]
# ## You can now …

# %%
print(f"… judge {len(bank.spot)} claims, by their sentences and their numbers,")
print(f"… predict {len(bank.predict)} numbers, {parameters:,} among them,")
longest = max(item.said.seconds for item in bank.cards)
print(f"… answer {len(bank.cards)} questions in {longest:.0f} s or less,")
told = ", ".join(f"{days:.0f}" for days in known[:3])
print(f"… repeat what you know after {told} … days, what you missed today,")
print(f"… and write {len(TASKS)} things on a whiteboard.")

# %% [markdown]
# ## What this run does not show
#
# - That who drills here does better in an interview: nobody measured it.
# - That the pauses fit *your* memory. They are the library's defaults, fitted to many
#   other learners of other things.
# - That an answer which makes all points is a good one: you tick them yourself, and a
#   friend who asks is worth more than a timer.
# - That interviewers ask these questions. They come from five documents of learners; where
#   those are silent, so is the bank.
#
# ## Sources
#
# - fsrs 6.3, `Scheduler`, `Card`, `review_card`: installed source.
# - statsmodels, `proportions_ztest`: installed source.
# - What each claim and card rests on stands in `data/interview/`, with the place that was
#   opened.

# %%
from course_utils.machine.run_record import write_run_record

headline = f"{len(covered.full)} of {len(topics)} interview questions in full"
write_run_record("15", profile, headline=headline)

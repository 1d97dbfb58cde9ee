# %% [markdown]
# # 11 · What does a model know before you tune it?
#
# <!-- colab badge -->
#
# Every lesson so far began with a model that somebody else had trained. Here you train
# one from nothing: text, tokens, random weights, one objective. Then you hold it against
# a table of counts, give it more numbers and more text, and measure what it would have
# cost you to start your own task without the model that was there.
#
# **You will be able to**
#
# - prepare text for pretraining: split it, find what is repeated, count what a rule drops,
# - learn a tokenizer, and compare models whose tokens differ, in bits per byte,
# - say what causal and masked language modelling ask, and where their losses stand,
# - pretrain a small Llama with `LlamaConfig` and `Trainer`, against counts as a rival,
# - weigh parameters, tokens and compute: C = 6ND, and 20 tokens a parameter,
# - measure what transfer is worth, and say when a prompt is enough.
#
# **Time and memory.** About 35 minutes to read. It runs 4 minutes in 4 GiB on a CPU
# (processor time of one core). On a T4 about 5 minutes (estimated).

# %% tags=["first-cell"]
pass

# %%
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style
from course_utils.pretraining import corpus, results, small

use_course_style()
profile = check_machine()
budget = small.Budget.on(profile)

# %% [markdown]
# There is no Unsloth in this lesson: nothing here has an adapter. Transformers does it all.
#
# ## 1. Which text?
#
# Models are pretrained on trillions of tokens of the web. This lesson has two million
# characters that every Python brings along: the docstrings of its standard library and the
# reference of the language. A *page* is a module, or a topic of the reference.

# %%
pages = corpus.python_pages()
letters = sum(map(len, pages.values()))
print(f"{len(pages)} pages, {letters / 1e6:.2f} million characters")
print(pages["heapq.py"][:310])

# %% [markdown]
# A tenth of the pages is held out. They are whole pages, chosen by their names alone, so
# that none of their text can be learnt. Is that true? Before you look: which share of the
# held-out text stands, word for word, on another page as well? Paragraphs of 40 characters
# or more are compared, spaces aside.

# %%
raw = corpus.Corpus.split(pages)
leaks = corpus.repeated_in(raw.held_out.values(), raw.train.values())
held_letters = sum(map(len, raw.held_out.values()))
leaked = sum(map(len, leaks)) / held_letters
print(f"{len(leaks)} paragraphs, {leaked:.1%} of the held-out text:")
print(leaks[0])

# %% [markdown]
# Docstrings are copied from class to class, as pages of the web are. A model would be
# praised for what it learnt by heart. So each paragraph is kept once, and the split is made
# after that:

# %%
clean = corpus.Corpus.split(corpus.without_repeats(pages))
assert not corpus.repeated_in(clean.held_out.values(), clean.train.values())
left = sum(len(t) for part in (clean.train, clean.held_out)
           for t in part.values())
f"{1 - left / letters:.1%} of all text was a repeat"

# %% [markdown]
# This finds copies that are equal. Near copies (a name changed) need n-grams in common, or a
# fingerprint of these (MinHash); lesson 14 looks for shared word sequences in your own rows.
#
# **Quality** is mostly rules like these: drop a page with too few letters, with long words,
# with lines that come again. What would the rule “at least 80 % letters and spaces” drop?

# %%
def share_of_words(text):
    "Letters and spaces among all characters."
    return sum(c.isalpha() or c.isspace() for c in text) / len(text)

# %%
marks = {name: share_of_words(text) for name, text in pages.items()}
dropped = sorted((m, n) for n, m in marks.items() if m < 0.8)
lost = sum(len(pages[name]) for _, name in dropped) / letters
print(f"{len(dropped)} pages, {lost:.1%} of the text, the first of them:")
for mark, name in dropped[:5]:
    print(f"{mark:.0%}  {name:28}{pages[name][:34]!r}")

# %% [markdown]
# Among them is some of the best that there is: tables of operators and of string formats
# are poor in letters. A rule is cheap and blind, so look at what it drops. No rule was
# applied here; the repeats alone were taken out.
#
# ## 2. From text to tokens
#
# Byte-pair encoding begins with single characters and joins, again and again, the pair that
# is most frequent. Five words with their counts, and six merges:

# %% tags=["nbval-check-output"]
from collections import Counter
from itertools import pairwise

counts = {"new": 6, "newer": 4, "newest": 3, "low": 5, "lowest": 2}
words = {tuple(word): n for word, n in counts.items()}
words

# %% tags=["nbval-check-output"]
def most_frequent(words):
    "The pair of neighbours that stands in the text most often."
    pairs = Counter()
    for parts, n in words.items():
        for pair in pairwise(parts):
            pairs[pair] += n
    return pairs.most_common(1)[0]


most_frequent(words)

# %%
def merged(parts, pair):
    "The parts of a word with each such pair joined."
    text = " ".join(parts)  # no part has a space
    joined = f" {text} ".replace(f" {' '.join(pair)} ", f" {''.join(pair)} ")
    return tuple(joined.split())

# %% [markdown]
# Each round joins the most frequent pair everywhere, then all pairs are counted again.

# %% tags=["nbval-check-output"]
for _ in range(6):
    pair, n = most_frequent(words)
    words = {merged(parts, pair): k for parts, k in words.items()}
    print(f"{n:2} × {pair[0]} + {pair[1]}")
print([*words])

# %% [markdown]
# Frequent words have become one token, rarer ones a few. Nothing can be *unknown*: whatever
# was not merged is still there as characters, or as bytes in the models of this course.
#
# ### ●●○ Exercise 1 · Write with the merges (8 minutes)
#
# *Why it matters: a tokenizer that applies its merges in another order writes ids that the
# model never saw.*
#
# Write `encode_word(word, merges)`: begin with single characters, and apply the merges in
# the order in which they were learnt, each wherever it fits. Return the parts as a list.
# `merges` is a list of pairs, such as `[("n", "e"), ("ne", "w")]`.

# %% tags=["exercise"]
from course_utils.exercises import TODO, check


def encode_word(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """The parts of a word under the merges of a tokenizer."""
    return TODO

# %% tags=["check"]
check(encode_word)

# %% [markdown]
# <details><summary>Hint</summary>
#
# One loop over the merges. In it, walk over the parts from the left: where two neighbours
# are the pair, put them together and go on behind them.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def encode_word(word, merges):
#     parts = list(word)
#     for pair in merges:
#         done, at = [], 0
#         while at < len(parts):
#             size = 2 if tuple(parts[at : at + 2]) == tuple(pair) else 1
#             done.append("".join(parts[at : at + size]))
#             at += size
#         parts = done
#     return parts
# ```
#
# </details>
#
# The real thing is one call. The rules by which text is split before any merge (words keep
# the space before them, digits stay alone) are SmolLM2's; the merges are learnt from our
# pages, until there are 1,024 tokens.

# %%
from course_utils.model.bundled import bundled_tokenizer_path
from transformers import AutoTokenizer

smol = AutoTokenizer.from_pretrained(bundled_tokenizer_path())
text = small.pages_within(budget)  # fewer pages for a test of the code
tokenizer = smol.train_new_from_iterator(
    text.train.values(), vocab_size=small.VOCABULARY, show_progress=False
)
tokenizer.eos_token = "<|endoftext|>"  # ends a page; see “When it goes wrong”
for one in (smol, tokenizer):
    print(f"{len(one):6,}", one.tokenize("Return a sorted iterator in 2026."))

# %% [markdown]
# A larger vocabulary writes shorter. How many bytes does a token carry, and does what comes
# back equal what went in?

# %%
import math

import pandas as pd

samples = {
    "held-out pages": "\n\n".join(clean.held_out.values())[:20_000],
    "German": "Die Straßenbahn fährt über die Brücke, wenn es nicht schneit.",
    "Japanese": "電車は雪が降らなければ橋を渡ります。",
    "digits": "31415926535",
}

# %%
table = {}
for kind, sample in samples.items():
    for name, one in {"SmolLM2": smol, "ours": tokenizer}.items():
        ids = one(sample, verbose=False)["input_ids"]
        assert one.decode(ids) == sample
        table[kind, name] = len(sample.encode()) / len(ids)
pd.Series(table).unstack()[["SmolLM2", "ours"]].loc[[*samples]].round(2)

# %% [markdown]
# All of it comes back. The price differs: what the tokenizer has seen often is short, and
# another script is paid by the byte. That is why a model for another language or for DNA
# begins with the tokenizer, and why 1,000 tokens of context are not 1,000 tokens to all.
#
# It also means that *nats per token* of two tokenizers do not compare: fewer, longer tokens
# are harder each. Nats per token × tokens / bytes / ln 2 gives **bits per byte**, which do.
#
# ## 3. One objective
#
# **Causal language modelling** asks at each position for the next token, seeing only what
# stands before. **Masked** language modelling (BERT, an older model) hides some tokens and asks
# for these, seeing both sides. What do they make of one sentence?

# %%
import torch
from transformers import DataCollatorForLanguageModeling, set_seed

ids = smol("Return the smallest item of the heap, which stays a heap.")

# %% [markdown]
# The masked model's collator puts a mark in the place of some tokens, here of 15 % of them,
# and keeps the hidden ones as labels. (BERT leaves some as they are; here all are hidden.)

# %%
set_seed(1)
smol.add_special_tokens({"mask_token": "[MASK]"})  # it has none
masks = DataCollatorForLanguageModeling(
    smol, mlm_probability=0.15, mask_replace_prob=1, random_replace_prob=0
)
hidden = masks([ids])
print("masked sees:", smol.decode(hidden["input_ids"][0]))
asked = hidden["labels"][0]
print("and is asked for:", smol.convert_ids_to_tokens(asked[asked != -100]))

# %%
causal = DataCollatorForLanguageModeling(smol, mlm=False)([ids])
seen = causal["input_ids"][0]
for at in (2, 5, 9):
    asked_for = smol.decode(seen[at])
    print(f"causal sees {smol.decode(seen[:at])!r}, asked for {asked_for!r}")
shares = {"causal": (len(seen) - 1) / len(seen), "masked": 0.15}
f"tokens with a loss: causal {shares['causal']:.0%}, masked about 15%"

# %% [markdown]
# The causal model gets a loss at every token but the first, from one pass. And it can
# write, since what it is asked for is what comes next. The masked one reads both sides,
# which helps to classify and to find; it cannot write a text from left to right. An
# encoder–decoder (T5) reads one text with both sides in view and writes another.
#
# What keeps a causal model from looking ahead is a mask over its attention:

# %%
from course_utils.pretraining import plots

first = smol.convert_ids_to_tokens(ids["input_ids"][:8])
plots.who_sees_whom([token.replace("Ġ", " ") for token in first]);

# %% [markdown]
# No label had to be written by anyone: the text is its own answer. That is all that
# *self-supervised* means, and why there are trillions of tokens to learn from.
#
# How good could one be at this? Before training anything, the plainest rival: a table of
# what followed what in the text, with shorter memories for what was never seen. “Counts of 3
# tokens” look at two and say the third.

# %%
from course_utils.pretraining.ngrams import NGrams

rows = small.blocks(tokenizer, text.train)  # 128 tokens each
held = small.halves(small.blocks(tokenizer, text.held_out))
tokens = [token for row in rows["input_ids"] for token in row]

# %%
rivals = {}
for order in (1, 2, 3):
    table = NGrams(tokens, order, len(tokenizer))
    nats = [table.nats_per_token(row) for row in held["test"]["input_ids"]]
    rivals[order] = sum(nats) / len(nats)
    print(f"counts of {order} token(s): {rivals[order]:.2f} nats a token")

# %% [markdown]
# Knowing nothing costs ln 1,024 = 6.93 nats. Counting tokens alone saves a nat; knowing
# the one before saves almost two more. That is what a network has to beat.
#
# ## 4. Pretrain one
#
# A Llama of four blocks, 128 wide. How many numbers? The embedding is the output layer too;
# each block has four matrices of 128 × 128 in its attention (no shared keys here), three
# of 128 × 384 in its MLP, and two norms of 128; one norm ends it.

# %%
from transformers import LlamaConfig, LlamaForCausalLM

width, inner = 128, 384
set_seed(3407)
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=len(tokenizer), hidden_size=width, intermediate_size=inner,
    num_hidden_layers=4, num_attention_heads=4,
    max_position_embeddings=small.LENGTH,
    tie_word_embeddings=True,  # one matrix in and out
    initializer_range=0.06,  # spread of the start, for so narrow a model
))

# %%
a_block = 4 * width**2 + 3 * width * inner + 2 * width
predicted = len(tokenizer) * width + 4 * a_block + width
assert model.num_parameters() == predicted
f"{predicted:,} numbers, {len(tokens):,} tokens to learn from"

# %% [markdown]
# Most arguments are those of fine-tuning. Four differ: the rate, about a hundred times as high
# and searched for each width; *weight decay*, which pulls every weight a little towards zero
# at each update; a shorter memory of Adam; and a rate that falls along a cosine to zero.

# %%
from course_utils.places import run_folder
from transformers import TrainingArguments

folder = run_folder("pretraining", profile)
arguments = TrainingArguments(
    output_dir=str(folder), max_steps=budget.updates,
    per_device_train_batch_size=16,  # × 128 tokens
    learning_rate=results.rate_of_width(128),  # by the search
    lr_scheduler_type="cosine", warmup_steps=0.05,  # of the updates
    weight_decay=0.1, adam_beta2=0.95,
    eval_strategy="steps", eval_steps=max(1, budget.updates // 16),
    per_device_eval_batch_size=32, logging_steps=10,
    save_strategy="no", report_to="none", seed=3407,
    disable_tqdm=True, use_cpu=not profile.is_gpu,
)

# %%
seen_tokens = budget.updates * 16 * small.LENGTH
f"{seen_tokens:,} tokens, {seen_tokens / len(tokens):.1f} passes"

# %% [markdown]
# The collator makes the labels, and the model moves them by one place. What will a model of
# random weights cost? About what all tokens alike cost, 6.93 nats.

# %%
from transformers import PrinterCallback, Trainer

trainer = Trainer(
    model=model, args=arguments, train_dataset=rows, eval_dataset=held,
    data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
)
trainer.remove_callback(PrinterCallback)  # it would print each evaluation

# %%
before = trainer.evaluate()["eval_test_loss"]
trainer.train()
curve = small.held_out_curves(trainer.state.log_history)
f"held out: {before:.2f} nats a token before, {curve['test'][-1]:.2f} after"

# %% [markdown]
# And the tables of counts?

# %%
title = f"After {budget.updates} updates {curve['test'][-1]:.2f} nats; "
title += f"counts of three tokens have {rivals[3]:.2f}"
plots.curve_and_counts(curve, rivals, title);

# %% [markdown]
# On the small model it starts at 7.15, a little above 6.93: to be wrong and sure costs more
# than to be unsure. After 400 updates it is about as good as a table of what followed *one*
# token. The table of two tokens before is half a nat ahead, and was made in seconds. It stores each context that it saw; the network has a million numbers and
# read the text 1.2 times. Nothing here shows where the network would overtake.
#
# What does it write?

# %%
def goes_on(model, tokenizer, start, length=40):
    "A drawn continuation, the same one each time."
    set_seed(0)
    ids = tokenizer(start, return_tensors="pt").to(model.device)
    drawn = model.generate(
        **ids, max_new_tokens=length, do_sample=True, temperature=0.7,
        pad_token_id=tokenizer.eos_token_id,
    )
    return tokenizer.decode(drawn[0], skip_special_tokens=True)

# %%
print(goes_on(model.eval(), tokenizer, "Return the list of"))

# %% [markdown]
# Words and line breaks are those of a docstring, and the text means nothing.
#
# And a model that saw two trillion tokens, and instructions after them? SmolLM2-135M-Instruct
# reads the same blocks (on a T4 Qwen2.5-0.5B-Instruct does, whatever a label says; the text
# tells of the CPU). Tokens differ, so the comparison is in bits per byte. (Documentation of
# Python was probably among its texts, and perhaps these very pages: that would flatter it.)

# %%
from course_utils.methods import study
from transformers import AutoModelForCausalLM
from transformers.utils import logging

logging.disable_progress_bar()

task = study.Task.on(profile)
large = AutoModelForCausalLM.from_pretrained(task.model, dtype=torch.float32)
large = large.to(profile.device).eval()

# %%
texts = tokenizer.batch_decode(
    [*held["test"]["input_ids"]], skip_special_tokens=True
)
total, n_large = 0.0, 0
for one in texts:  # block by block, as ours reads them
    ids = task.tokenizer(one, return_tensors="pt")["input_ids"]
    ids = ids.to(large.device)
    with torch.no_grad():
        total += float(large(ids, labels=ids).loss) * ids.shape[1]
    n_large += ids.shape[1]

# %% [markdown]
# Nats a token, times tokens, by bytes: the same text for all.

# %%
from course_utils.curves.losses import bits_per_byte

size = len("".join(texts).encode())
n_small = sum(map(len, held["test"]["input_ids"]))
bits = {
    "any token": bits_per_byte(math.log(len(tokenizer)), n_small, size),
    "counts of 1": bits_per_byte(rivals[1], n_small, size),
    "counts of 3": bits_per_byte(rivals[3], n_small, size),
    "small Llama": bits_per_byte(curve["test"][-1], n_small, size),
    "SmolLM2": bits_per_byte(total / n_large, n_large, size),
}

# %%
title = f"SmolLM2 needs {bits['SmolLM2']:.2f} bits a byte, "
title += f"our minutes of training {bits['small Llama']:.2f}"
plots.bits_bars(bits, title);

# %% [markdown]
# Three hundred million times the operations and 134 million more numbers bring it to 1.4 bits
# a byte, where the table of three tokens needs 2.1 and the lesson's model 2.4.
#
# ## 5. More numbers, or more text?
#
# What helps: a larger model, or more text? `tools/measure_pretraining.py` ran the cell above
# for three widths on a sixteenth, a quarter and all of the pages, 400 updates each, three
# seeds, with heads 32 wide. Every 25 updates it looks at held-out blocks. Of a run the best
# look counts, chosen on other blocks of the same held-out pages than those reported.
# Guess first: with a sixteenth of the text, what does the largest model do?

# %%
title = "A little text is soon learnt by heart"
plots.curves_by_text(192, title);

# %% [markdown]
# The same for all three widths, means of the seeds. The last line is the best of the tables
# of counts.

# %%
means = results.by_size()
means.round(2)

# %% [markdown]
# With a sixteenth of the text the largest model is the *worst*, with each of the seeds: its
# best look comes after 100 to 125 updates, and at the end it knows the text by heart. Four
# times the text brings 0.8 to 1.1 nats. Four times that brings the widest 0.10 nats, with each
# seed, and the others less than their seeds lie apart (0.24 and 0.16). Text is no longer what
# is scarce then: in 400 updates a quarter of the pages is read almost five times, and all of
# them once. Numbers, text, updates: each helps as long as it is the one that is missing.
#
# (Size and rate change together here: the widest model was trained with 0.003, the others with
# 0.01, by a search of 200 updates on all pages with one seed. These runs do not separate them.)

# %%
best = means.iloc[:-1].min()
title = f"Best with a sixteenth {best.iloc[0]:.2f}, a quarter "
title += f"{best.iloc[1]:.2f}, all pages {best.iloc[2]:.2f} nats"
plots.loss_by_size(title);

# %% [markdown]
# ### The same at the scale of the world
#
# Training costs about **C = 6ND** operations: N parameters, D tokens, two operations a
# weight forward and four back. Hoffmann et al. (2022, “Chinchilla”) found that for a given
# C both should grow alike, which comes to about 20 tokens a parameter. Who follows that?

# %% tags=["nbval-check-output"]
models_of = {  # parameters, tokens of pretraining (sources below)
    "Chinchilla": (70e9, 1.4e12),
    "Llama-3-8B": (8.03e9, 15e12),
    "SmolLM2-135M": (134.5e6, 2e12),
}
for name, (n, d) in models_of.items():
    flops = 6 * n * d
    print(f"{name:13} {d / n:8,.0f} tokens a parameter, {flops:.1e} operations")

# %% [markdown]
# The two later ones go far beyond 20: training is paid once and each answer again, so a
# smaller model that has read more is cheaper. “20 tokens a parameter” answers the question
# which model is best for one training budget, and no other. Our own run?

# %%
per_number = seen_tokens / model.num_parameters()
distinct = len(tokens) / model.num_parameters()
flops = 6 * model.num_parameters() * seen_tokens
print(f"{per_number:.2f} tokens a parameter, {distinct:.2f} of them different;")
times = 6 * 134.5e6 * 2e12 / flops
print(f"{flops:.1e} operations; SmolLM2 had {times:.0e} times as many")

# %% [markdown]
# ### ●○○ Exercise 2 · Spend a budget (6 minutes)
#
# *Why it matters: “how large a model can we train?” is asked in money.*
#
# Write `compute_optimal(flops, tokens_per_parameter)`: how many parameters N and tokens D
# use the budget C = 6ND when D is so many times N? Return `(N, D)`. How large is the model
# for Chinchilla's 5.9e23 at 20?

# %% tags=["exercise"]
def compute_optimal(
    flops: float, tokens_per_parameter: float = 20
) -> tuple[float, float]:
    """Parameters and tokens that a budget of operations pays for."""
    return TODO

# %% tags=["check"]
check(compute_optimal)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Put D = k · N into C = 6ND and solve for N.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def compute_optimal(flops, tokens_per_parameter=20):
#     parameters = (flops / (6 * tokens_per_parameter)) ** 0.5
#     return parameters, tokens_per_parameter * parameters
# ```
#
# </details>
#
# **What makes pretraining hard**, then, is seen here in small: text that repeats, text that
# leaks into the test, a rate and a start that decide whether anything is learnt, and above
# all C. At the scale of the world come machines that fail during a run of weeks, numbers
# that overflow, and the question which of the web's text you may use.
#
# ## 6. What is a trained start worth?
#
# **Transfer**: what was learnt from one text serves another task. The task is lesson 08's,
# a wish that becomes a query. The same architecture twice, once with the weights of
# SmolLM2, once with random ones, all of them trained (no adapter: beside random weights
# there is nothing to adapt). 40 rows, one pass. What do you expect of ten updates?

# %%
import gc

from course_utils.methods.book import METHODS
from transformers import AutoConfig

full, few = METHODS["full"], task.train[:40]
test_rows = study.encode(task.tokenizer, task.test)


def after(model, rate):
    "Test loss after one pass over the rows, nats a token of the query."
    study.train(model, task.tokenizer, few, full, rate, 3407, folder)
    return study.nats_per_token(model, task.tokenizer, test_rows)

# %%
untrained = study.nats_per_token(large, task.tokenizer, test_rows)
scores = {"pretrained": after(large, 1e-4)}
del large, trainer  # of a GPU's memory two such models take too much
gc.collect()
set_seed(3407)
shape = AutoConfig.from_pretrained(task.model)
blank = AutoModelForCausalLM.from_config(shape, dtype=torch.float32)
scores["random"] = after(blank, results.rate_of("random"))
print(f"SmolLM2 before any row: {untrained:.2f} nats")
print({name: f"{nats:.2f}" for name, nats in scores.items()})

# %% [markdown]
# The trained start has lesson 09's rate, the best and highest of three there; the random one the
# best of four after 160 rows. Neither was searched again for other amounts. Is it only that
# ten updates are few? The tool ran 20 to 160 rows, three seeds, and for the random start
# eight passes over the 160 as well. The rival: counts on the same rows.

# %%
table = results.transfer_table()
least, most = table.loc["pretrained", 20, 1], table.loc["random", 160, 1]
title = f"20 rows from trained weights: {least['mean']:.2f} nats; "
title += f"160 from random ones: {most['mean']:.2f}"
plots.loss_by_rows(title);

# %%
table.round(2)

# %% [markdown]
# On the small model 20 rows from SmolLM2's weights are worth more than 160 rows from random
# ones, read eight times over. One pass from random weights is behind a table of counts, eight
# passes are a little ahead of it. Exact answers do not tell the starts apart: 10 to 13 of 80
# from SmolLM2's weights, 5 to 11 after eight passes from random ones, where always answering
# `{}` has 11 (lesson 09: 160 rows are not enough to be of use). The loss does. And three
# examples in SmolLM2's prompt, with no training, leave 1.60 nats there on half of these
# requests: 20 rows are a little ahead of that. What transfers
# is paid for by somebody else: two trillion tokens, and the tuning on instructions after them.
#
# ## 7. What comes after, and what may be left out
#
# | Stage | Text | How much | What it is for |
# |---|---|---|---|
# | pretraining | pages, code, books: whatever is there | 10⁹ to 10¹³ tokens | language, facts, patterns |
# | continued pretraining | pages of one domain or language | 10⁷ to 10¹¹ tokens | its words and facts |
# | supervised fine-tuning | requests with answers, loss on the answers | 10² to 10⁶ rows | the form of an answer: 03, 08 |
# | preference tuning, rewards | pairs, or a program that checks | 10² to 10⁶ pairs | which of two answers: 10 |
#
# The amounts are rough orders of magnitude, and nothing here measures them. Data for
# fine-tuning comes in a few kinds, and each has an example here:
#
# | Kind | A row has | Here |
# |---|---|---|
# | instructions | a request, an answer | `data/instructions`, `data/movies` |
# | chats | turns by role | `data/own_project/chats.json` |
# | text to structure | a text, a query or labels | `data/movie_search`, `tickets.csv` |
# | code | a task, a file that a program can check | `data/iac` |
# | questions with choices | a question, choices, the right one | `data/science` |
# | preferences | a request, a better and a worse answer | `data/preferences` |
#
# People write such rows, or a program does from a table, or a model does. **Self-Instruct**
# (2022) let GPT-3 write tasks for *itself* from 175 written by hand, and kept what was not
# too similar; Alpaca (2023) took the idea and a stronger model as the writer. Whatever a
# model wrote has its errors, so it needs a check that is none of its own.
#
# ### Do you need to train at all?
#
# Three examples in the prompt cost tokens in each request, training costs once. How many
# requests until they are even? A token costs 2N operations to read and 6N to train on, so N
# cancels out. Rows and examples of the search:

# %%
from course_utils.data.datasets import load_search
from course_utils.projects.search.texts import as_rows


def length_of(text):
    "Tokens."
    return len(task.tokenizer(text)["input_ids"])


shown = as_rows(load_search("train")[:3])
examples = sum(length_of(r["prompt"] + r["completion"]) for r in shown)
trained_on = sum(len(row["input_ids"]) for row in task.train)
even = 6 * trained_on / (2 * examples)
print(f"{trained_on:,} tokens to train on, {examples} saved in a request:")
print(f"even after {even:,.0f} requests")

# %% [markdown]
# About a hundred requests: in operations, one pass over so few rows is cheap. They are not
# enough for the task (lesson 08 makes three passes over 645), and no search is counted. But
# operations are not what decides. The examples can be read once and kept (a cached prefix
# costs memory, and the attention over it, but no second reading), the rows have to be written,
# and somebody has to test each new version. The order of trial stays: prompt, then examples, then a look-up for facts, then training, and
# pretraining only if the language itself is missing.
#
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | held-out loss far lower than expected | the held-out text stands in the training text | compare paragraphs before the split: section 1 |
# | held-out loss rises while training loss falls | the text was passed too often | more text, or stop at the lowest: section 5 |
# | the loss stays near ln V | few updates at the rate of fine-tuning | a higher rate with warm-up, a larger start |
# | no text ever ends | the padding is the end token, and the collator puts no loss on padding | another token for one of them: section 2 |
# | two models' losses per token differ, and nobody knows what it means | their tokenizers differ | bits per byte |
# | the loss goes to zero in a few updates | labels that are not shifted (it copies), or a mask that lets it look ahead | decode a label beside its input; change a later token: earlier scores must stay |
# | the loss stays far above the counts | labels shifted twice, by you and by the model | pass labels equal to the ids |
# | a model from `from_config` answers noise after fine-tuning | no weights were loaded | `from_pretrained`, and look at the first loss |
#
# ## In the interview
#
# Say the answer aloud before you unfold it.

# %%
from course_utils.evidence.cards import show_cards

show_cards("11")

# %% [markdown]
# ## The same on your project
#
# Continued pretraining: your own texts, a model that exists, loss on every token. It is the
# one thing between this lesson and lesson 03 that you may really need. Hold out texts of the
# old kind too, to see what is forgotten.

# %%
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers import Trainer, TrainingArguments


def keep_pretraining(name, texts, length=512, rate=1e-5):
    "A trainer that goes on pretraining a model on your own texts."
    tokenizer = AutoTokenizer.from_pretrained(name)
    ids = [i for text in texts
           for i in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
    ends = range(length, len(ids) + 1, length)
    blocks = [ids[end - length : end] for end in ends]
    rows = [{"input_ids": block, "labels": block} for block in blocks]
    return Trainer(
        model=AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32),
        args=TrainingArguments("out", learning_rate=rate, report_to="none"),
        train_dataset=Dataset.from_list(rows),  # equal lengths: no padding
    )

# %% [markdown]
# ## You can now …

# %%
print(f"… find what leaks: {leaked:.1%} of the held-out text", end=" ")
print("was in the training text")
print(f"… pretrain: {before:.2f} → {curve['test'][-1]:.2f} nats,", end=" ")
print(f"counts of three {rivals[3]:.2f}")
print(f"… compare tokenizers: {bits['small Llama']:.2f} and", end=" ")
print(f"{bits['SmolLM2']:.2f} bits a byte")
print(f"… price a start: after 40 rows {scores['pretrained']:.2f},", end=" ")
print(f"random {scores['random']:.2f}")
print(f"… weigh training against a prompt: even after {even:,.0f} requests")

# %% [markdown]
# ## What this run does not show
#
# - A large test: 8,192 tokens out of about 20 held-out pages.
# - How pretraining behaves at scale: a million numbers, less than a million tokens, one kind
#   of text. The orders of section 5 hold for 400 updates at one rate.
# - That counts are better than networks: they are, until there is enough text and compute.
# - What a masked model or an encoder–decoder learns: none was trained.
# - That random weights cannot learn the task: they had 160 rows, and at most 320 updates.
# - Whether SmolLM2 had read the held-out pages before.
#
# ## Sources
#
# - Abstracts: Hoffmann et al. 2022, *Training Compute-Optimal Large Language Models*,
#   arXiv:2203.15556 (size and tokens in equal proportions); Wang et al. 2022,
#   *Self-Instruct*, arXiv:2212.10560.
# - The 20 tokens a parameter and 1.4 trillion tokens: Epoch AI, *Chinchilla Scaling: A
#   Replication Attempt*. Llama 3's “15T+” tokens: its model card. SmolLM2-135M's two
#   trillion: the card of its Instruct model. Masks of 15 %: google-research/bert, README.
# - Installed source: transformers 5.17 (`DataCollatorForLanguageModeling`, `LlamaConfig`,
#   `Trainer`, `train_new_from_iterator`), tokenizers.
# - The text: docstrings and `pydoc_data.topics` of the Python that runs this notebook.
#
# ## Run record

# %% tags=["hide-input"]
from course_utils.evidence.ledger import Ledger
from course_utils.machine.run_record import save_results, write_run_record

ledger = Ledger("11", profile)
ledger.record(
    "C252", leaked_share=leaked, repeated_share=1 - left / letters,
    small_bits=bits["small Llama"], counts_bits=bits["counts of 3"],
    smollm_bits=bits["SmolLM2"], tokens_saved=examples, even_requests=even,
)
assert not ledger.missing()
save_results(folder, "11", table.reset_index().to_dict("records"))
headline = f"{bits['small Llama']:.2f} bits a byte, "
headline += f"SmolLM2 {bits['SmolLM2']:.2f}"
write_run_record("11", profile, headline=headline, seed=3407)

# %% [markdown]
# # 11 · What do order, masks, tokens, norms and budgets do?
#
# <!-- colab badge -->
#
# Ten sentences of interview answers about pretraining, each quoted. Five are settled by
# code on small random models and two tokenizer libraries, two by arithmetic that is
# plotted here, and three can only be read. It is for whoever prepares an interview, or
# doubts an answer of the cards. No lesson needs it.
#
# **Time and memory.** About 20 minutes to read; under a minute of one CPU core and 1
# GiB, most of it imports. No model is downloaded, nothing is trained but two
# tokenizers, and a T4 computes the same, on its CPU.

# %% tags=["first-cell"]
pass

# %%
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# **The sources** are S1, the interview sheet of one project, and S3 and S4, two general
# lists of questions. A cell ends in `ledger.record(…)`: it refuses a number outside the
# bounds of the claim bank, and shows the claim, the verdict and the numbers.

# %%
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from course_utils.evidence.ledger import Ledger
from course_utils.model.nano import nano_model
from course_utils.recipes.book import chosen_recipe

ledger = Ledger("proofs/11", profile, chosen_recipe().name)


# %%
def furthest(one, other):
    """Largest distance of two tensors, over the spread of the first."""
    return ((one - other).abs().max() / one.std()).item()


# %% [markdown]
# ## 1. “Attention weighs words regardless of their position”
#
# (S4, question P2. Imprecise.) Take it at its word: shuffle the input. If position
# plays no part, the outputs are the same ones, shuffled. First attention alone, as
# torch computes it, on random queries, keys and values of 64 tokens:

# %% tags=["nbval-check-output"]
torch.manual_seed(0)
query, key, value = torch.randn(3, 1, 4, 64, 32)  # row, heads, tokens, width
order = torch.randperm(64)


def attended(places):
    """Attention of every token to every token, in a chosen order."""
    parts = (part[:, :, places] for part in (query, key, value))
    return scaled_dot_product_attention(*parts)


in_order = attended(torch.arange(64))
alone = furthest(in_order[:, :, order], attended(order))
print("attention alone sees no order:", alone < 1e-5)

# %% [markdown]
# So it is even worse than the sentence says: without help, attention *cannot* tell “dog
# bites man” from “man bites dog”. Real models help it in two ways, and each can be
# switched off in transformers' own Llama layer. Rotary positions (RoPE) turn each query
# and key by an angle that grows with the position: with all positions 0 they turn
# nothing. And the causal mask hides what comes later. (Random weights, made larger than
# at the start of training, so that attention is not nearly even.)

# %%
llama = nano_model(vocabulary=64).eval().requires_grad_(False)
layer = llama.model.layers[0].self_attn
torch.manual_seed(0)
for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
    nn.init.normal_(layer.get_submodule(name).weight, std=0.2)
states = torch.randn(1, 64, llama.config.hidden_size)
counted, zero = torch.arange(64)[None], torch.zeros(1, 64, dtype=torch.long)


# %%
def moved_by_shuffling(positions, causal):
    """How far the layer's outputs are from the shuffled ones, in spreads."""
    layer.is_causal, outputs = causal, []
    for inputs in (states, states[:, order]):
        turned = llama.model.rotary_emb(inputs, positions)
        outputs.append(layer(inputs, turned, attention_mask=None)[0])
    return furthest(outputs[0][:, order], outputs[1])


# %%
shuffled = {
    "neither": moved_by_shuffling(zero, False),
    "RoPE": moved_by_shuffling(counted, False),
    "causal mask": moved_by_shuffling(zero, True),
    "both": moved_by_shuffling(counted, True),
}
{name: f"{moved:.1g}" for name, moved in shuffled.items()}

# %% [markdown]
# Without positions and without a mask: the same outputs up to rounding. RoPE breaks the
# tie, and so does the causal mask by itself, since the third token sees three and the
# tenth ten. “Without positions a transformer knows no order” therefore holds for models
# that look both ways, such as BERT, and only for these.
#
# Second, what does it cost that every token looks at every token? The scores are a
# square table for each head. Ask the layer to keep them:

# %%
llama.set_attn_implementation("eager")
kept = {}
for tokens in (128, 256, 512, 1024):
    ids = torch.zeros(1, tokens, dtype=torch.long)
    kept[tokens] = llama(ids, output_attentions=True).attentions[0].nbytes

# %% tags=["nbval-check-output"]
{tokens: f"{size / 2**20:.2f} MiB" for tokens, size in kept.items()}

# %%
from course_utils.plots import BASE, TUNED, new_axes

axes = new_axes()
lengths = list(kept)
axes.plot(lengths, [kept[n] / 2**20 for n in lengths], "o-", color=TUNED)
straight = [kept[128] / 2**20 * n / 128 for n in lengths]
axes.plot(lengths, straight, "--", color=BASE)
axes.annotate("if it grew with the length", (1024, straight[-1]), (560, 2.1))
axes.set(xlabel="tokens", ylabel="MiB of scores in one layer")
axes.set_title("Twice the tokens, four times the scores");

# %%
ledger.record(
    "C140", alone=alone, neither=shuffled["neither"], rope=shuffled["RoPE"],
    causal_mask=shuffled["causal mask"], growth=kept[1024] / kept[512],
)

# %% [markdown]
# The *work* grows so in any case. The memory need not: fused kernels such as
# FlashAttention compute the scores in blocks and throw them away.
#
# ## 2. “Masked models look both ways, causal ones to the left”
#
# (S4, P3. Right.) Change token 20 of 32, and see which scores move. A random BERT and a
# random Llama:

# %%
from transformers import BertConfig, BertForMaskedLM
from transformers.utils import logging

logging.set_verbosity_error()
torch.manual_seed(0)
widths = {
    "vocab_size": 64, "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.1,
}
bert = BertForMaskedLM(BertConfig(**widths)).eval().requires_grad_(False)
llama = nano_model(vocabulary=64).eval().requires_grad_(False)

# %%
text = torch.arange(3, 35)[None]  # 32 tokens
other = text.clone()
other[0, 20] = 60


# %%
def moved_before(model):
    """Largest change among the scores of the 20 tokens before, in spreads."""
    one, two = (model(ids).logits[0, :20] for ids in (text, other))
    return furthest(one, two)


# %% tags=["nbval-check-output"]
seen = {"causal": moved_before(llama), "masked": moved_before(bert)}
{name: "move" if moved > 1e-5 else "stay" for name, moved in seen.items()}

# %% [markdown]
# And what does each learn from a text? Both objectives are in one collator, the
# function that makes a batch. 400 rows of 512 random tokens; SmolLM2's tokenizer gets a
# mask token for it. A label of -100 means: no loss here.

# %%
from course_utils.model.bundled import bundled_tokenizer_path
from transformers import AutoTokenizer, DataCollatorForLanguageModeling

# %%
smollm = AutoTokenizer.from_pretrained(bundled_tokenizer_path())
with_mask = AutoTokenizer.from_pretrained(bundled_tokenizer_path())
with_mask.add_special_tokens({"mask_token": "[MASK]"})
torch.manual_seed(0)
random_ids = torch.randint(100, 49_152, (400, 512)).tolist()
rows = [{"input_ids": row} for row in random_ids]

# %%
masked = DataCollatorForLanguageModeling(with_mask)(rows)
causal = DataCollatorForLanguageModeling(with_mask, mlm=False)(rows)
chosen = masked["labels"] != -100
hidden = masked["input_ids"][chosen] == with_mask.mask_token_id
# Token n is predicted from those before it: the first of a row is never asked for.
asked = (causal["labels"][:, 1:] != -100).sum() / causal["labels"].numel()

# %%
ledger.record(
    "C141", causal_moved=seen["causal"], masked_moved=seen["masked"],
    masked_share=chosen.float().mean().item(), causal_share=asked.item(),
    hidden_share=hidden.float().mean().item(),
)

# %% [markdown]
# The share of 15 % is BERT's. Of the chosen tokens, four in five turn into the mask;
# the others become a random token or stay, as no text has a mask when the model is
# used. So a causal model gets more than six times as many predictions to learn from out
# of one text, and each of them has less to go on.
#
# ## 3. “Subword algorithms: BPE, WordPiece, SentencePiece”
#
# (S4, P5. Imprecise.) Is SentencePiece a third algorithm? Ask it for two, and ask
# another library, Hugging Face's tokenizers, for the same two. All four get the film
# requests of lesson 08 and 400 pieces.

# %%
import io

import sentencepiece
from course_utils.places import DATA_FOLDER, read_jsonl

# %%
file = DATA_FOLDER / "movie_search" / "train.jsonl"
rows_of_08 = read_jsonl(file, "Restore it from git.")
lines = [row["request"].lower() for row in rows_of_08]


# %%
def by_sentencepiece(algorithm):
    """A trained splitter of words."""
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=made, vocab_size=400,
        model_type=algorithm, minloglevel=2, num_threads=1,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())


# %%
from tokenizers import Tokenizer, models, pre_tokenizers, trainers


def by_tokenizers(model, trainer):
    """The same in Hugging Face's library."""
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(lines, trainer)
    return made


# %%
marks = {"vocab_size": 400, "special_tokens": ["<unk>"], "show_progress": False}
pieces = {name: by_sentencepiece(name) for name in ("bpe", "unigram")}
face = {
    "bpe": by_tokenizers(models.BPE(), trainers.BpeTrainer(**marks)),
    "unigram": by_tokenizers(
        models.Unigram(), trainers.UnigramTrainer(unk_token="<unk>", **marks)
    ),
}

# %%
words = {word for line in lines for word in line.split() if word.isalpha()}

# %%
splits = {
    f"{algorithm}, {library}": {word: cut(word) for word in words}
    for algorithm in ("bpe", "unigram")
    for library, cut in (
        ("SentencePiece", pieces[algorithm].encode_as_pieces),
        ("tokenizers", lambda word, a=algorithm: face[a].encode(word).tokens),
    )
}

# %%
{name: " ".join(cuts["shorter"]) for name, cuts in splits.items()}


# %%
def same(one, other):
    """Share of the words that two tokenizers cut alike."""
    return sum(splits[one][w] == splits[other][w] for w in words) / len(words)


# %%
bpe, unigram = "bpe, SentencePiece", "unigram, SentencePiece"
ledger.record(
    "C142", words=len(words), same_algorithm=same(bpe, "bpe, tokenizers"),
    same_library=same(bpe, unigram),
)

# %% [markdown]
# One library, two algorithms, two results. BPE in SentencePiece agrees with BPE in
# another library far more often than with SentencePiece's own Unigram. The list mixes
# names of algorithms (BPE, WordPiece, Unigram) with the name of a program.
#
# ## 4. “Subwords handle words that are not in the vocabulary”
#
# (S4, P5. It depends.) The pieces of SmolLM2's tokenizer are made of bytes, those of
# SentencePiece above of letters. One sentence about a film in seven languages, and
# texts that no vocabulary expects: keys struck at random, emoji, invisible signs,
# ligatures.

# %%
sentences = {
    "English": "The film is short and I like it.",
    "German": "Der Film ist kurz und gefällt mir.",
    "Greek": "Η ταινία είναι σύντομη και μου αρέσει.",
    "Russian": "Фильм короткий, и он мне нравится.",
    "Arabic": "الفيلم قصير ويعجبني.",
    "Hindi": "फ़िल्म छोटी है और मुझे पसंद है।",
    "Chinese": "这部电影很短，我很喜欢。",
}
strange = ["qwrtzplk", "👩‍👩‍👧 🎬", "\u200b\x00", "ﬁlm ½ Å"]

# %% tags=["nbval-check-output"]
import pandas as pd


def ids_of(text):
    return smollm(text, add_special_tokens=False)["input_ids"]


cost = pd.DataFrame({
    "bytes": {name: len(text.encode()) for name, text in sentences.items()},
    "tokens": {name: len(ids_of(text)) for name, text in sentences.items()},
})
cost["bytes a token"] = (cost["bytes"] / cost["tokens"]).round(2)
cost

# %%
texts = [*sentences.values(), *strange]
whole = sum(smollm.decode(ids_of(text)) == text for text in texts)


def unknown(language):
    """Unknown pieces of a sentence by the Unigram vocabulary of section 3."""
    letters = pieces["unigram"]
    return letters.encode(sentences[language].lower()).count(letters.unk_id())


# %% tags=["nbval-check-output"]
ledger.record(
    "C143", texts=len(texts), whole=whole, unknown=unknown("Hindi"),
    unknown_english=unknown("English"), digits=len(ids_of("12345678901")),
    hindi_words=len(sentences["Hindi"].split()),
    english_tokens=cost["tokens"]["English"],
    hindi_tokens=cost["tokens"]["Hindi"],
    english_bytes=cost["bytes a token"]["English"],
    hindi_bytes=cost["bytes a token"]["Hindi"],
)

# %% [markdown]
# Byte-level BPE gets every text back, since each of the 256 bytes is a piece. The price
# is length: a digit is a token, and the Hindi sentence takes four times the tokens of
# the English one, so it costs four times as much and fills the context four times as
# fast. A vocabulary of *letters* has no piece for a letter that it never saw: each word
# of Hindi becomes “unknown”. Rare words are safe with both, another script with bytes
# only. (SentencePiece can fall back on bytes, too, if it is told to.)
#
# ## 5. “Layer normalization stabilises training”
#
# (S1. Imprecise: Llama, Mistral and Qwen have no layer norm.) They have RMSNorm. What
# is left out?

# %%
from transformers import MistralConfig, MistralForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

width = 4096
layer_norm, rms_norm = nn.LayerNorm(width), LlamaRMSNorm(width)
torch.manual_seed(0)
inputs = torch.randn(8, width)
norms = {"LayerNorm": layer_norm, "RMSNorm": rms_norm}

# %% tags=["nbval-check-output"]
for name, norm in norms.items():
    numbers = sum(tensor.numel() for tensor in norm.parameters())
    shift = furthest(norm(inputs), norm(inputs + 2))
    scale = furthest(norm(inputs), norm(100 * inputs))
    print(f"{name:9} has {numbers:,} numbers; its output moves when the input")
    print(f"          gets + 2: {shift > 0.1}, and × 100: {scale > 0.1}")

# %% [markdown]
# Both take the scale out, only LayerNorm the mean. RMSNorm subtracts nothing and adds
# nothing: x, over the root of the mean of its squares, times a learnt weight. And
# Mistral? A copy without memory for its weights:

# %%
with torch.device("meta"):
    mistral = MistralForCausalLM(MistralConfig())
named = [type(part).__name__ for part in mistral.modules()]
tensors = [name for name, _ in mistral.named_parameters()]
biases = [name for name in tensors if name.endswith("bias")]
rms_norms, layer_norms = (
    named.count(kind) for kind in ("MistralRMSNorm", "LayerNorm")
)
print(f"{rms_norms} RMSNorm, {layer_norms} LayerNorm, {len(biases)} biases")

# %% [markdown]
# Is the other half of the sentence right, does a norm stabilise? 32 blocks, each adds a
# random product of what comes in, as a model does before training:

# %%
torch.manual_seed(0)
plain = normed = torch.randn(8, 256)
norm, grown = LlamaRMSNorm(256), {"no norm": [], "RMSNorm": []}
for _ in range(32):
    weight = torch.randn(256, 256) / 16
    plain = plain + plain @ weight
    normed = normed + norm(normed) @ weight
    grown["no norm"].append(plain.std().item())
    grown["RMSNorm"].append(normed.std().item())

# %%
from course_utils.plots import line_plot

line_plot(
    range(1, 33), grown, log_y=True, x_label="block",
    y_label="spread of the stream (log scale)",
    title="A norm keeps 32 random blocks in range",
);

# %%
ledger.record(
    "C047", layer_norm_numbers=sum(t.numel() for t in layer_norm.parameters()),
    rms_norm_numbers=sum(t.numel() for t in rms_norm.parameters()),
    layer_norm_shift=furthest(layer_norm(inputs), layer_norm(inputs + 2)),
    rms_norm_shift=furthest(rms_norm(inputs), rms_norm(inputs + 2)),
    rms_norms=rms_norms, layer_norms=layer_norms, biases=len(biases),
    plain_spread=grown["no norm"][-1], normed_spread=grown["RMSNorm"][-1],
)

# %% [markdown]
# It does, for the forward pass at least: without a norm the spread multiplies in each
# block, with one before each block it grows like a root.
#
# ## 6. “Chinchilla explains 7B”, “performance improves with scale”
#
# (S1: imprecise. S4, P9: right.) The arithmetic stands in
# `course_utils/evidence/formulas`; here is what it says. Tokens of pretraining for each
# parameter:

# %% tags=["nbval-check-output"]
from course_utils.evidence.formulas import foundations

ratios = foundations.tokens_a_parameter()
budget = foundations.what_a_budget_pays_for()
billions = ratios["mistral_tokens"] / 1e9
print(f"20 tokens a parameter are {billions:.0f} billion for Mistral-7B")
for name in ("chinchilla", "llama", "smollm"):
    print(f"{name:10} {ratios[f'{name}_ratio']:8,.0f} tokens a parameter")

# %% [markdown]
# Chinchilla's question is: a training budget C = 6ND is given, which N and D reach the
# lowest loss? Its answer, about 20, does not single out 7B, and models of that size do
# not follow it. Whoever serves a model pays for N with each answer, and for D once.
#
# How firm is the 20? Hoffmann et al. fitted L = E + A/N^α + B/D^β. Besiroglu et al.
# fitted the same form again, on points taken from the paper's figure. At Chinchilla's
# budget:

# %% tags=["nbval-check-output"]
for name in ("printed", "unrounded", "refitted"):
    print(f"{name:10} {budget[f'{name}_ratio']:5.1f} tokens a parameter")

# %%
import numpy as np

spent = budget["smollm_budget"] * 1e21
sizes = np.geomspace(1e8, 1e11, 200)
tokens = spent / 6 / sizes
laws = {"as printed": foundations.PRINTED, "fitted again": foundations.REFITTED}
axes = line_plot(
    tokens / sizes, {n: law.loss(sizes, tokens) for n, law in laws.items()},
    x_label="tokens a parameter", y_label="predicted loss (nats a token)",
    title="One budget, SmolLM2-135M's, spent in different ways",
)
axes.set_xscale("log")
for name, ratio in (("20", 20), ("SmolLM2", ratios["smollm_ratio"])):
    axes.axvline(ratio, color=BASE, linestyle=":")
    axes.text(ratio * 0.85, 2.6, name, ha="right");

# %% [markdown]
# The minimum is flat: from 10 to 100 tokens a parameter the prediction changes by 0.02
# nats or so. And the constants as printed contradict the paper's own 20, even with all
# their digits; the refit agrees with it. Its authors name two causes, an optimizer that
# stopped too early, and rounding. Left of 20 the model is too large for its text. Far
# right, SmolLM2-135M gives up loss, and is 27 times smaller to serve than the model of
# 3.7 billion that 20 would ask for. (15,000 lies far outside the runs behind both laws:
# the direction can be trusted, the digits cannot.)
#
# ## 7. Three sentences that can only be read
#
# What was opened, and where:
#
# | Claim | Verdict | What the source says |
# |---|---|---|
# | C127, S3: Pretraining teaches language and facts, fine-tuning behaviour and format | imprecise | a good rule: lesson 03's model learnt the form, and hardly any fact. No law: examples with new facts are learnt more slowly, and once they are, the model makes up more (Gekhman et al. 2024, abstract) |
# | C136, S3: In Self-Instruct a strong model (GPT-4) writes instructions for a weak one; it is Alpaca's method | wrong | GPT-3 (`davinci`) writes data for itself, from 175 seed tasks: 52 thousand instructions. Alpaca took a stronger writer, `text-davinci-003`, for LLaMA-7B; GPT-4 wrote such data in 2023 (READMEs, abstracts) |
# | C166, S4: The Alpaca data set was generated by Self-Instruct with GPT-3 | imprecise | `text-davinci-003` instead of Self-Instruct's `davinci`; OpenAI lists it in the GPT-3.5 series, trained with PPO (Alpaca's README; model index for researchers) |
#
# ## What this notebook does not show
#
# - What a trained model does with order, masks or norms: all weights are random.
# - That a norm is needed: careful starts and other designs can do without.
# - A measured scaling law. Lesson 11 trains small models; the constants here are read.
#
# ## Sources
#
# - Hoffmann et al. 2022, *Training Compute-Optimal Large Language Models*,
#   arXiv:2203.15556 (abstract). Besiroglu et al. 2024, *Chinchilla Scaling: A
#   Replication Attempt*: Epoch AI's page, and the notebook of
#   epoch-research/analyzing-chinchilla.
# - Model cards: Llama 3 (meta-llama/llama3), SmolLM2-135M-Instruct.
# - Su et al. 2021, *RoFormer*, arXiv:2104.09864; Zhang and Sennrich 2019, *Root Mean
#   Square Layer Normalization*; Gekhman et al. 2024, arXiv:2405.05904; Wang et al.
#   2022, *Self-Instruct*, arXiv:2212.10560; Peng et al. 2023, arXiv:2304.03277
#   (abstracts).
# - READMEs of google-research/bert, google/sentencepiece, yizhongw/self-instruct and
#   tatsu-lab/stanford_alpaca; OpenAI, *Model index for researchers*, January 2023.
# - transformers 5.17, torch 2.13, tokenizers, sentencepiece: installed, and run here.

# %%
assert not ledger.missing()

# %%
from course_utils.machine.run_record import write_run_record

write_run_record(
    "proofs/11",
    profile,
    headline=f"Hindi {cost['tokens']['Hindi']} tokens, English "
    f"{cost['tokens']['English']}, for one sentence of SmolLM2's tokenizer",
    seed=0,
)

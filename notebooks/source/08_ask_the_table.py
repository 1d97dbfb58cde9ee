# %% [markdown]
# # 08 · Can a small model be right?
#
# <!-- colab badge -->
#
# The recommender of lesson 03 writes a perfect form around films that do not exist.
# Should you train it longer, take a larger model, or ask it for something else? Here it
# no longer names a film. It turns a wish into a *query*, one line of JSON, and a program
# looks the film up: that is what “tool calling” means.
#
# **You will be able to**
#
# - split a task into what a model reads and what a program knows,
# - design an answer that a model can copy instead of compute,
# - write down what success would be before you look, and keep to it,
# - hold a tuned model against a prompt *and* against a plain program,
# - run a server that writes nothing but queries.
#
# **Time and memory.** About 35 minutes to read. It runs 17 minutes in 2.5 GiB on a
# CPU with a saved adapter (processor time of one core); training that adapter takes 25 to
# 30 more, the longest of this course, so start the lesson and read on. On a T4, with a
# model of 0.5 billion parameters, about 15 minutes (estimated).

# %% tags=["first-cell"]
pass

# %%
from course_utils.model import loading as models  # first: it imports unsloth
from course_utils.machine.doctor import check_machine
from course_utils.plots import use_course_style

use_course_style()
profile = check_machine()

# %% [markdown]
# This lesson has a recipe of its own, whatever COURSE_RECIPE says:

# %%
from course_utils.projects.project import PROJECTS
from course_utils.recipes.book import MOVIE_SEARCH

recipe, project = MOVIE_SEARCH, PROJECTS["movie_search"]
plan = recipe.plan_for(profile.name, profile.model_override)

# %% [markdown]
# ## 1. Form without facts
#
# In lesson 05 the tuned recommender kept its form in 35 of 36 answers to a wish, and one
# of them named a film of the course's table. No number of rows mends that: 320 answers
# show a film once each, and the next user asks for one that was never shown. A fact that
# has to be *remembered* must have been learnt; a fact that is *looked up* need not.
#
# So the work is split. The model reads the request, which needs language; a table
# answers it, which needs facts. A toy, with a query that a person wrote:

# %% tags=["nbval-check-output"]
from course_utils.projects.movies.films import load_films
from course_utils.projects.search import query as search

films = load_films()
request = "a western under two hours, from before 1960"
written = '{"genres": ["western"], "minutes": "<120", "years": "<1960"}'
found = search.matching(search.read_query(written), films.values())
[f"{film.name}, {film.runtime_minutes} min" for film in found]

# %% [markdown]
# Each is a film of the table, with the table's runtime, genres and year. Where none fits,
# “none” is an answer too. The table can be wrong; a model that only writes queries cannot
# add a film to it.
#
# Models that were trained for tools do the same in other clothes. A template such as
# Qwen's lists your functions in the system's turn, and the model answers with a call,
# which a program runs:
#
# ```
# <tool_call>
# {"name": "search_films", "arguments": {"genres": ["western"], "minutes": "<120"}}
# </tool_call>
# ```
#
# Here there is one tool, so its name is left out.
#
# ## 2. An answer that can be copied
#
# What should the model write for *under two hours*? The table needs a number,
# `max_minutes = 119`. A first try taught that, and the small model wrote 90 for “under
# 90” and a longest runtime where a shortest was meant. Then the answer was changed: the
# model copies sign and number as they are said, `<120`, and the program subtracts. Let
# the program do whatever a program can do.

# %% tags=["nbval-check-output"]
said = ["<120", "<=120", ">=90", "95-114", ">60 <90"]
bounds = [search.as_query({"minutes": text}).asked for text in said]
dict(zip(said, bounds))

# %% [markdown]
# ### ●○○ Exercise 1 · The program's half (5 minutes)
#
# *Why it matters: off-by-one errors belong into code with a test, not into a model.*
#
# Write `years_of(text)`: the first and the last year, both inclusive, that a text such
# as `<1985`, `<=1985`, `>=2010`, `1984` or `1980s` means. Where a side is open, it is
# `None`. (Spans such as `1984-1990` are not asked for.)

# %% tags=["exercise"]
from course_utils.exercises import TODO, check


def years_of(text: str) -> tuple[int | None, int | None]:
    """First and last year, inclusive; None where there is no bound."""
    return TODO


# %% tags=["check"]
check(years_of)

# %% [markdown]
# <details><summary>Hint</summary>
#
# First the decade, which ends in s. Then `text.lstrip("<>=")` is the number; ask whether
# there is an `=`, since `"<=1985".startswith("<")` is true as well.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def years_of(text):
#     if text.endswith("s"):
#         first = int(text[:-1])
#         return first, first + 9
#     year = int(text.lstrip("<>="))
#     strict = "=" not in text  # True counts as 1 below
#     if text.startswith("<"):
#         return None, year - strict
#     if text.startswith(">"):
#         return year + strict, None
#     return year, year
# ```
#
# </details>
#
# ## 3. The rows
#
# Wishes with the query that each means; half of the training rows are lesson 03's
# requests with new answers. What groups are there, and how does one of each look?

# %%
import pandas as pd

from course_utils.data.datasets import load_search

splits = {name: load_search(name) for name in ("train", "validation")}
rows = [
    (row.notes["group"], row.request[:75], row.answer)
    for row in {r.notes["group"]: r for r in splits["train"]}.values()
]
table = pd.DataFrame(rows, columns=["group", "request", "answer"])
styled = table.style.format(escape="html").hide(axis="index")
styled.set_properties(**{"text-align": "left"})

# %% tags=["nbval-check-output"]
asked = [key for row in splits["train"] for key in row.notes["query"]]
print({name: len(rows) for name, rows in splits.items()})
pd.Series(asked).value_counts().to_dict()

# %% [markdown]
# A mood cannot be looked up: its query is `{}`. “Not too long” says nothing that a
# table could check, so it is left out. And somebody who wants no film gets `{"no_wish":
# true}`, since lesson 05's model imposed its form on everyone. The guide for such
# decisions is in the data sheet (`data/movie_search/README.md`).
#
# Two more files stay closed: 160 test and 60 stress requests. Another author wrote them,
# who had not seen the training rows; runtimes in digits and single years are others than
# there. A second labeller, who saw the guide and the requests alone, gave the same query
# to all 220, three of them with a doubt. (Authors and labeller were language models.)
#
# ## 4. What would be success?
#
# If you look first and choose the measure afterwards, you will find one that improved.
# So this was written, and committed, before any model was asked one of the 220:

# %% tags=["nbval-check-output"]
import yaml

from course_utils.places import DATA_FOLDER

folder = DATA_FOLDER / "movie_search"
text = (folder / "preregistered.yaml").read_text()
criterion = yaml.safe_load(text)
print(text)

# %% [markdown]
# Two rivals, and the second one is easily forgotten. A programmer would not train
# anything: they would write regular expressions, with the training rows at hand. How far
# do they get on the validation rows, and how far does the laziest answer, always `{}`?

# %%
from course_utils.projects.search.pattern import search_by_pattern


def exact(queries, rows):
    """How many queries ask for exactly what the written ones do."""
    meant = [search.read_query(row.answer).parts for row in rows]
    return sum(q.parts == m for q, m in zip(queries, meant, strict=True))


validation = splits["validation"]
by_pattern = [search_by_pattern(row.request) for row in validation]
lazy = [search.Query()] * len(validation)
for name, queries in {"patterns": by_pattern, "always {}": lazy}.items():
    print(f"{name}: {exact(queries, validation)} of {len(validation)} exact")

# %% [markdown]
# 147 of 160. Validation and training rows come from the same authors, though. Predict:
# how will the patterns do on requests of somebody else, with typing errors, in French,
# in a story of a hundred words?
#
# ## 5. Training
#
# The calls are those of lesson 03. `get_adapter` makes them, or takes the saved adapter
# if it is this plan's. On the small model three trainings were tried on the validation
# rows (`data/movie_search/attempts.yaml`). With bounds to compute, 54 of 160 queries were
# exact. With numbers as they are said, in smaller batches and one pass more, 106; what
# each of the three changes did was not tried apart. Twice the rate was stopped early,
# behind at its first evaluation. So 106 stand against the patterns' 147 before anything
# is opened. Predict the verdict.

# %%
from course_utils.training.adapter import get_adapter

finetuned = get_adapter(recipe, profile)
run = finetuned.run
print(f"{run.updates} updates on {run.rows} rows of the plan:")
settings = ("epochs", "batch_size", "rank", "learning_rate")
print({name: run.plan[name] for name in settings})

# %%
from course_utils.curves.losses import LossCurves
from course_utils.curves.plots import loss_plot

curves = LossCurves.from_history(run.history)
start, end = curves.validation.iloc[[0, -1]]
title = f"Validation queries: {start:.2f} → {end:.2f} nats a token"
loss_plot(curves, title=title);

# %% [markdown]
# ## 6. A server that writes nothing but queries
#
# Base and tuned model each become a GGUF file (lesson 07), so that what is judged is
# what would be shipped:

# %%
from course_utils.gguf import export, llama_cpp, serving
from course_utils.model.architectures import Architecture

llama_cpp.build_if_missing()
loaders = {
    "base": lambda: models.load_base(plan, profile),
    "tuned": lambda: export.load_for_export(
        plan, profile, finetuned.adapter_folder
    ),
}
files = {}
for name, load in loaders.items():
    model, tokenizer = load()
    shape = Architecture.from_config(model.config)
    target = finetuned.folder / "gguf" / name
    made = export.export_gguf(
        model, tokenizer, target, ["q8_0"], architecture=shape, replace=True
    )
    files[name] = made["q8_0"]
    del model
    models.free_memory()

# %% [markdown]
# A model writes one token after the other, and a server may forbid some of them. A
# *grammar* says which texts are allowed; llama.cpp's are written like this, one rule a
# line:

# %% tags=["nbval-check-output"]
grammar = (folder / "query.gbnf").read_text()
print("\n".join(line[:78] for line in grammar.splitlines()))

# %% [markdown]
# `root` is what may be written: nothing asked for, no wish, or fields in their order.
# The last rule, cut here, lists the 19 genres. One request, without the grammar and with
# it, to the base that was never told of any format:

# %%
question = [{"role": "user", "content": "a short western, please"}]
with serving.serve(files["base"]) as server, server.client() as client:
    for rule in ("", grammar):
        reply = client.chat.completions.create(
            model="gguf",  # the server has one
            messages=question,
            temperature=0,  # the likeliest token each time
            max_tokens=72,  # cut there if it does not stop
            extra_body={"grammar": rule},  # llama.cpp's own argument
        )
        print(repr(reply.choices[0].message.content[:150]))

# %% [markdown]
# Under the grammar an answer is a query, unless the limit cuts it off. It need not be a
# right one: a grammar only forbids, and among what is allowed the model has to choose.
#
# ## 7. The closed files are opened
#
# All ways, each asked all 220 requests. *Shown examples* are three training rows in the
# prompt; the description is the schema in words. One way was not in the criterion, and
# is here as the best prompt that we could think of: description, six rows of six groups,
# and the grammar.

# %%
from course_utils.projects.search.stress import held_out_suite
from course_utils.model.generation import Generated

suite = held_out_suite(profile)
requests = [prompt.request for prompt in suite.prompts]
shown = [turn for row in splits["train"][:3] for turn in row.messages]
examples = [[*shown, {"role": "user", "content": r}] for r in requests]
described = [project.form_in_words + r for r in requests]

# %%
by_group = {row.notes["group"]: row for row in splits["train"]}
six = [*by_group.values()][-6:]  # minutes to no_wish, as in the table above
first, *later = [dict(turn) for row in six for turn in row.messages]
first["content"] = project.form_in_words + first["content"]
turns = [{"role": "user", "content": request} for request in requests]
fullest = [[first, *later, turn] for turn in turns]

# %%
by_pattern = [search_by_pattern(r) for r in requests]
answers = {
    "always {}": [Generated("{}", True)] * len(requests),
    "patterns": [Generated(search.write_query(q), True) for q in by_pattern],
}

# %%
import time

asking = {
    "told the form": ("base", described, None),
    "shown examples": ("base", examples, None),
    "examples, grammar": ("base", examples, grammar),
    "fullest prompt": ("base", fullest, grammar),
    "tuned": ("tuned", requests, None),
    "tuned, grammar": ("tuned", requests, grammar),
}

# %%
seconds = {}
for way, (model, chats, rule) in asking.items():
    with serving.serve(files[model]) as server:
        started = time.perf_counter()
        answers[way] = server.answers(
            chats, max_new_tokens=suite.max_new_tokens, grammar=rule
        )
        seconds[way] = (time.perf_counter() - started) / len(chats)

# %%
from course_utils.stress.rates import pass_rates, spelled, verdict_table
from course_utils.stress.trials import judge_all, save_trials

trials = [t for w in answers for t in judge_all(suite, answers[w], model=w)]
save_trials(trials, finetuned.folder / "search.jsonl")
verdicts = verdict_table(trials, suite)
rates = pass_rates(verdicts, ["model", "check"])
wanted = ["a query", "as meant", "no film looked up", "served"]
shown_rates = rates.apply(spelled, axis=1).unstack("check")
shown_rates.loc[[*answers], wanted]

# %% [markdown]
# *Served* is the criterion's measure: a film that meets the wish, or none where none
# exists or none is wanted. The film is drawn by lot from those that the query finds, so a
# wrong query can serve by luck, and `{}` does now and then. Where no film is wanted, an
# answer that is no query at all counts as served too: nothing is looked up. That favours
# the base.

# %%
served = {way: rates.loc[(way, "served")] for way in answers}
best = max(served, key=lambda way: served[way].passed)
told = ", ".join(
    f"{way} {served[way].passed:.0f}"
    for way in ("shown examples", "tuned", "patterns")
)

# %%
from course_utils.plots import BASE, TUNED
from course_utils.statistics.plots import interval_plot

ends = [100 * row[["low", "rate", "high"]] for row in served.values()]
axes = interval_plot(
    [*answers], ends,
    reference=("patterns", 100 * served["patterns"].rate),
    spelled="{1:.0f} %",
    x_label="served, % of the requests (95 % interval)",
    title=f"Served, of {served['tuned'].n:.0f}: {told}",
)
for number, line in enumerate(axes.lines[: 2 * len(answers)]):
    way = [*answers][number // 2]  # a line and a point each
    line.set_color(TUNED if "tuned" in way else BASE)

# %% [markdown]
# ### The verdict
#
# The criterion named the test: pairs, exact, the two p-values raised by Holm's method.

# %%
from course_utils.stress.rates import compare_models
from statsmodels.stats.multitest import multipletests

rivals = ("shown examples", "patterns")
pairs = [compare_models(verdicts, "served", (r, "tuned")) for r in rivals]
raised = multipletests([pair.p for pair in pairs], method="holm")[1]
for pair, p in zip(pairs, raised):
    low, middle, high = pair.points
    print(f"{pair.names[0]:15} lost {pair.lost:3}, "
          f"gained {pair.gained:3}:", end=" ")
    print(f"{middle:+.1f} points ({low:+.1f} to {high:+.1f}), p = {p:.2g}")
level = criterion["significance"]
beaten = [bool(pair.gained > pair.lost and p < level)
          for pair, p in zip(pairs, raised)]
print("success" if all(beaten) else "failure", dict(zip(rivals, beaten)))

# %% [markdown]
# On the small model the outcome is *failure*, in the criterion's own words. The tuned
# model serves 158 of 220. Three examples serve 56, and the fullest prompt 45: training did
# what none of these prompts did. But the regular expressions serve 172. Tuned gains 32 requests over
# them and loses 46, p = 0.14, so that neither is shown to be better. Under the grammar
# it serves 165, since answers that were no query become one.
#
# Would another seed say the same? The criterion named two more. Their answers, on the
# small model, are kept with the data (`tools/measure_search.py` trains and asks):

# %%
import json

lines = (folder / "seeds.jsonl").read_text().splitlines()
for seed, group in pd.DataFrame(map(json.loads, lines)).groupby("seed"):
    texts = group.set_index("id")["text"]
    given = [Generated(texts[prompt.id], True) for prompt in suite.prompts]
    again = [t.verdicts["served"] for t in judge_all(suite, given, model="x")]
    print(f"seed {seed}: {sum(again)} of {len(again)} served")
print("rivals of this run:", {r: int(served[r].passed) for r in rivals})

# %% [markdown]
# On the small model the other seeds serve 166 and 163: all three are on the same side of
# both rivals. Eight requests lie between two seeds of one recipe, and four chats at a
# time, which llama.cpp batches as they come, moved a second run of the same model by one:
# so do not make much of the 14 between this model and the patterns.
#
# ## 8. Where it is wrong
#
# One number hides which requests each of them fails. By group:

# %%
from course_utils.stress.plots import verdict_matrix

by_group = pass_rates(verdicts, ["model", "check", "group"])
kept = pd.concat({"served": by_group.xs("served", level="check")})
# The plot's names: here a row, its `check`, is a way of answering.
kept.index.names = ["model", "check", "group"]
by_way = kept["rate"].unstack("check").loc["served"]
ahead = [*by_way.index[by_way["tuned"] > by_way["patterns"]]]
title = (f"Served: tuned ahead of the patterns in {len(ahead)} "
         f"of {len(by_way)} groups")
verdict_matrix(kept, ("served",), title=title)
print("ahead in:", ", ".join(ahead) or "none")
behind = by_way.index[by_way["tuned"] < by_way["patterns"]]
print("behind in:", ", ".join(behind) or "none")

# %% [markdown]
# (Groups of six or eight differ by one request easily.) And by field, in the bounds that
# the program makes of `minutes` and `years`: of what it asks for, how much was meant (*precision*), and of what was
# meant, how much does it ask for (*recall*)?

# %%
from course_utils.projects.search.scores import by_field

fields = {
    way: by_field(suite.prompts, [a.text for a in answers[way]])
    for way in ("shown examples", "patterns", "tuned")
}
pd.concat(fields, axis=1)

# %% [markdown]
# Where the patterns find a bound, it is nearly always the right one; the tuned model's is
# in about two of three cases. It also takes moods for no wish: it serves 7 of 15. It leads
# where nobody had a pattern: typing errors (5 of 8 against 1), orders in a quoted text (9
# of 12 against 5), requests without a wish (21 of 27 against 11). Of
# six requests in languages that no row was written in, it serves one, the patterns none.
#
# Five answers of the tuned model that are not what was meant:

# %%
wrong = [
    t for t in trials
    if t.model == "tuned" and not t.verdicts.get("as meant", 1)
]
for trial in wrong[:: max(1, len(wrong) // 5)][:5]:
    print(f"> {trial.prompt.request[:150]}")
    print(f"  meant {trial.prompt.notes['query']}")
    print(f"  wrote {trial.answer.text}\n")

# %% [markdown]
# ## 9. The look-up in action
#
# Request, query, film. This is all that a user would see of it:

# %%
said = [
    "something animated under 80 minutes, the kids are cranky",
    "war film from the sixties, no romance",
    "a western from 2050",
    "what is the capital of Peru?",
]
with serving.serve(files["tuned"]) as server:
    queries = server.answers(said, grammar=grammar)
for request, answer in zip(said, queries):
    query = search.read_query(answer.text)
    film, searched = search.look_up(query, films, request)
    none = "none meets it" if searched else "no film wanted"
    print(f"> {request}\n  {answer.text}\n  {film.name if film else none}\n")

# %% [markdown]
# ## 10. What it costs
#
# A prompt with a description or examples is read for every request, and whoever was not
# taught where to stop writes more; training is paid once. After how many requests does it
# pay?

# %%
def prompt_tokens(chats):
    """Tokens of a chat as the server reads it, median."""
    turns = [
        [{"role": "user", "content": c}] if isinstance(c, str) else c
        for c in chats
    ]
    texts = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return pd.Series(map(len, ids)).median()


# %%
lengths = {way: prompt_tokens(chats) for way, (_, chats, _) in asking.items()}
started = time.perf_counter()
_ = [search_by_pattern(request) for request in requests]
seconds["patterns"] = (time.perf_counter() - started) / len(requests)
cost = pd.DataFrame({"prompt tokens": lengths, "seconds a request": seconds})
cost.round(4)

# %%
saved = seconds["shown examples"] - seconds["tuned"]
pays = run.seconds / saved if saved > 0 else float("inf")
print(
    f"training {run.seconds:.0f} s, saved {saved:.2f} s a request against three"
)
print(f"examples: in time alone it pays after {pays:.0f} requests")

# %% [markdown]
# (Seconds of this machine, four requests at a time. A server keeps the part of a prompt
# that all requests share, so a long description costs less than its tokens suggest.) The
# patterns cost the time of whoever writes and tests them.
#
# ### Both
#
# Patterns fail where they find nothing. What if the model is asked only then? This was
# thought of after the files were opened, so it is an idea for a next test, no result:

# %%
def first_patterns(pattern, text):
    """The patterns' query, or the model's where the patterns found nothing."""
    return search.write_query(pattern) if pattern.asked else text


texts = [answer.text for answer in answers["tuned, grammar"]]
both = [Generated(first_patterns(*p), True) for p in zip(by_pattern, texts)]
again = [t.verdicts["served"] for t in judge_all(suite, both, model="both")]
print(f"patterns first, then the model: {sum(again)} of {len(again)} served")

# %% [markdown]
# On the small model that is 183 of 220, more than each alone.
#
#
# ### ●●○ Exercise 2 · Break the grammar (8 minutes)
#
# *Why it matters: “it always returns valid JSON” is not “it always returns a sensible
# query”.*
#
# Write `break_it(field)` for the fields `minutes` and `years`: a text which the grammar
# allows and the look-up reads, and whose two bounds in that field contradict each other,
# so that no film of any table meets it.

# %% tags=["exercise"]
def break_it(field: str) -> str:
    """A query that the grammar allows and no film can meet."""
    return TODO


# %% tags=["check"]
check(break_it)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A grammar sees characters, not what two numbers mean together.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def break_it(field):
#     crossed = {"minutes": "100-90", "years": "1990-1980"}[field]
#     return f'{{"{field}": "{crossed}"}}'
# ```
#
# (A genre that is asked for and ruled out contradicts itself as well.)
#
# </details>
#
# ### A project · A field of your own (an hour, and the training)
#
# *Why it matters: every real search has one more field than yours.*
#
# Users say “the newest one”, “whichever is shortest”. Add `order`, one of `newest`,
# `oldest`, `shortest`, `longest`: a rule in the grammar, and twenty rows, of which four
# say such a word without meaning it (“my oldest friend”). Behind the model, take `order`
# out of the parsed object before `as_query` reads the rest, and sort what `matching`
# finds. Write ten requests first; then train, export as in section 6, and ask them.
#
# ```python
# from course_utils.data.conversation import Conversation
# from course_utils.training.adapter import fine_tune
#
# said = {"the newest horror film you have": '{"genres": ["horror"], "order": "newest"}'}
# mine = [  # and 19 more
#     Conversation(f"mine-{n}", (
#         {"role": "user", "content": request},
#         {"role": "assistant", "content": query},
#     ))
#     for n, (request, query) in enumerate(said.items())
# ]
# rows = [*splits["train"], *mine], validation[:40]
# again = fine_tune(
#     recipe.name, plan, profile, finetuned.folder / "with_order", rows=rows
# )
# ```
#
# ## 11. Tune, prompt, program or retrieve?
#
# | You have | Try first |
# |---|---|
# | wordings that you can list, and numbers | a program, with tests |
# | few requests a day, and a large model behind an API | a prompt with schema and examples, under a grammar |
# | many requests, a small model of your own, free wordings | a tuned model under a grammar, held against the program |
# | facts that change, or that nobody can learn by heart | a look-up, whoever writes the query |
#
# (Advice, of which this lesson measured the small model's part.)
#
# ## When it goes wrong
#
# | You see | Likely cause | Way out |
# |---|---|---|
# | numbers are off by one, or a known round one | the answer asks for arithmetic | let the model copy, and the program compute |
# | always the same query | too few updates, or one query that fits most rows | count the queries in your rows; train longer |
# | every request becomes a search | no row says that nothing is wanted | rows without a wish |
# | valid JSON, wrong query | a grammar forbids, it does not understand | judge by what the look-up gives |
# | worse under the grammar | its spacing or order differs from the rows' | write grammar and rows from one schema |
#
# ## In the interview
#
# Say the answer aloud before you unfold it.

# %%
from course_utils.evidence.cards import show_cards

show_cards("08")

# %% [markdown]
# ## The same on your project
#
# Without this course: any server that speaks OpenAI's protocol and takes a JSON schema,
# as llama.cpp's does, and a table that answers.

# %%
import json

SPAN = {"type": "string", "pattern": "^(<|<=|>|>=)[0-9]{1,3}$"}
FIELDS = {"genre": {"enum": ["comedy", "war"]}, "minutes": SPAN}
SCHEMA = {"type": "object", "properties": FIELDS, "additionalProperties": False}


def find(client, model, request, table):
    "Rows of a table of dictionaries that meet a request; a fault is raised."
    reply = client.chat.completions.create(
        model=model, temperature=0, max_tokens=72,
        messages=[{"role": "user", "content": request}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "query", "schema": SCHEMA},
        },
    )
    query = json.loads(reply.choices[0].message.content)
    span, kept = query.pop("minutes", ">0"), query.items()
    number, strict = int(span.lstrip("<>=")), "=" not in span
    side = 1 if span.startswith("<") else -1  # a longest runtime, or a shortest
    return [
        row for row in table
        if kept <= row.items() and side * (number - row["minutes"]) >= strict
    ]


# %% [markdown]
# ## You can now …

# %%
print(f"… say what would be success before you look: {criterion['measure']},")
for way in ("always {}", "shown examples", "patterns", "tuned"):
    print(f"… report for “{way}” {spelled(served[way])} served,")
print(f"… and say which was highest, chosen after looking: {best}.")

# %% [markdown]
# ## What this run does not show
#
# - That no better patterns or prompts exist: one program and four prompts were tried.
# - Requests of real users: a language model wrote the 220, with a guide.
# - A larger model: none was asked.
# - Another look-up: a table of 510 films forgives many a wrong bound.
#
# ## Sources
#
# - llama.cpp, sources in the wheel of llama-cpp-python 0.3.36: `grammars/README.md` (GBNF),
#   `tools/server/README.md` (`grammar`, `response_format`).
# - Qwen2.5's chat template, as transformers renders `tools` (its form is quoted above).
# - statsmodels, installed source: `multipletests`.

# %% tags=["hide-input"]
from course_utils.machine.run_record import save_results, write_run_record

against = {
    pair.names[0]: f"tuned gained {pair.gained}, lost {pair.lost}, p = {p:.2g}"
    for pair, p in zip(pairs, raised)
}
against["tuned"] = "success" if all(beaten) else "failure"
kept = [
    {
        "way": way, **shown_rates.loc[way, wanted],
        "against tuned": against.get(way, ""),
    }
    for way in answers
]
save_results(finetuned.folder, "08", kept)
headline = f"served, of {served['tuned'].n:.0f}: {told}"
write_run_record("08", profile, headline=headline, seed=plan.seed)

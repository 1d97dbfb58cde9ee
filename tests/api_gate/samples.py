"""Pieces of source that the gate must catch, and a notebook that it must let pass."""

# Accident: (source, part of the fault's message)
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
from course_utils.plots import curves

# %%
axes = curves([1], {"a": [1]}, x_label="x", y_label="y", title="of no library here")
axes.legend(loc="upper center", ncols=3)

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

"""Gates over the lessons of the second edition: the library first, only the lesson."""

import ast
import re

import notebook_cells as cells
import pytest

MOST_CELLS = {"00": 26, "14": 60}  # else 85
# What a reader must have seen written out in the lesson that teaches it; one of those
# that a bar parts is enough.
CALLS = {
    "00": [
        "FastLanguageModel.from_pretrained(",
        "FastLanguageModel.get_peft_model(",
        "apply_chat_template(",
        "SFTConfig(",
        "SFTTrainer(",
        ".train(",
        ".generate(",
        ".save_pretrained(",
        "save_pretrained_gguf(",
    ],
    "01": [
        "FastLanguageModel.from_pretrained(",
        "BitsAndBytesConfig(",
        "apply_chat_template(",
        ".generate(",
    ],
    "02": [
        "FastLanguageModel.get_peft_model(",
        "LoraConfig(",
        "merge_and_unload(",
        "disable_adapter(",
    ],
    "03": [
        "SFTConfig(",
        "SFTTrainer(",
        ".train(",
        "resume_from_checkpoint=",
        ".save_pretrained(",
        "completion_only_loss",
        "train_on_responses_only",
    ],
    "04": ["EarlyStoppingCallback(", "load_best_model_at_end", "log_history"],
    "05": ["apply_chat_template(", ".generate(", "disable_adapter(", "mcnemar("],
    "06": ["HFLM(", "simple_evaluate(", "TaskManager(", "log_samples=True", "peft="],
    "07": [
        "merge_and_unload(",
        "save_pretrained_merged(",
        "save_pretrained_gguf(",
        "convert_hf_to_gguf.py",
        "llama-quantize",
        "--kl-divergence",
        "OpenAI(",
        "modelfile(",
    ],
    "08": ["chat.completions.create(", "extra_body=", "matching("],
    "09": [
        "LoraConfig(",
        "use_dora=True",
        'init_lora_weights="pissa_niter_4"',
        "use_rslora=True",
        "create_loraplus_optimizer(",
        "AdaLoraConfig(",
        "IA3Config(",
        "PromptTuningConfig(",
        "PrefixTuningConfig(",
        "PromptEncoderConfig(",
        "BitsAndBytesConfig(",
        "get_peft_model(",
        "TrainingArguments(",
        "DataCollatorForSeq2Seq(",
        "Trainer(",
        "trainer.train(",
        "load_adapter(",
        "set_adapter(",
        "adapter_names=",
        "add_weighted_adapter(",
        "hotswap_adapter(",
    ],
    "10": [
        "SFTTrainer(",
        "AutoModelForSequenceClassification.from_pretrained(",
        "RewardConfig(",
        "RewardTrainer(",
        "DPOConfig(",
        "DPOTrainer(",
        "GRPOConfig(",
        "GRPOTrainer(",
        "reward_funcs=",
        "merge_and_unload(",
        "disable_adapter(",
        "trainer.train(",
    ],
    "11": [
        "train_new_from_iterator(",
        "DataCollatorForLanguageModeling(",
        "mlm_probability=",
        "mlm=False",
        "LlamaConfig(",
        "LlamaForCausalLM(",
        "TrainingArguments(",
        "Trainer(",
        "trainer.train(",
        "trainer.evaluate(",
        ".generate(",
        "AutoModelForCausalLM.from_pretrained(",
        "AutoModelForCausalLM.from_config(",
    ],
    "14": [
        "load_dataset(",
        "DataCollatorForSeq2Seq(",
        "SFTConfig(",
        "SFTTrainer(",
        ".train(",
        ".save_pretrained(",
        "chat.completions.create(",
    ],
    "15": [
        "fsrs.Scheduler(",
        "fsrs.Card(",
        "review_card(",
        "proportions_ztest(",
        "spoken_words(",
        "cards_view(",
    ],
}
each_lesson = pytest.mark.parametrize(
    "path", cells.NEW_LESSONS, ids=lambda path: path.stem
)


def test_these_lessons_have_the_second_editions_form():
    assert [path.name[:2] for path in cells.NEW_LESSONS] == list(CALLS)


def code_of(path):
    return [c for c in cells.source_notebook(path).cells if c.cell_type == "code"]


# A lesson that nobody reads to its end.
@each_lesson
def test_a_lesson_is_short_and_half_of_it_is_text(path):
    every = cells.source_notebook(path).cells
    assert len(every) <= MOST_CELLS.get(path.name[:2], 85)
    assert sum(cell.cell_type == "markdown" for cell in every) >= 0.4 * len(every)


# A graduate who has never seen the call that the lesson is about.
@each_lesson
def test_the_calls_that_a_lesson_teaches_stand_in_its_cells(path):
    code = "\n".join(cell.source for cell in code_of(path))
    for call in CALLS[path.name[:2]]:
        assert call in code, f"{path.name} never writes out {call}"


# A lesson that audits documents which no reader has.
@each_lesson
def test_the_ledger_stands_in_one_folded_cell_and_no_document_is_named(path):
    ledger = [cell for cell in code_of(path) if re.search(r"\bledger\b", cell.source)]
    assert len(ledger) <= 1
    for cell in ledger:
        assert "hide-input" in cells.tags(cell)
    for cell in cells.source_notebook(path).cells:
        if cell not in ledger:
            assert not re.search(r"\bS[0-4]\b|\bC\d{3}\b", cell.source), cell.source


@each_lesson
def test_lines_of_code_have_80_columns_and_marks_for_nbval_are_tags(path):
    for cell in code_of(path):
        assert "# NBVAL" not in cell.source
        if "first-cell" not in cells.tags(cell):
            for line in cell.source.splitlines():
                assert len(line) <= 80, line


# A reader who can only go on with our helpers.
@each_lesson
def test_the_last_code_of_a_lesson_works_without_the_courses_package(path):
    every = cells.source_notebook(path).cells
    [start] = [
        number
        for number, cell in enumerate(every)
        if "## The same on your project" in cell.source
    ]
    if path.name.startswith("00"):
        return  # all of its calls are the library's
    code = next(cell for cell in every[start:] if cell.cell_type == "code")
    assert "course_utils" not in code.source
    ast.parse(code.source)


@each_lesson
def test_a_lesson_says_how_long_it_is_read_and_runs(path):
    assert re.search(r"\d+ minutes to read", cells.prose(path))
    assert "recalled" not in cells.prose(path)


@each_lesson
def test_no_repr_of_a_plot_is_shown(path):
    for cell in cells.published(path).cells:
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/plain", "")
            if "image/png" not in output.get("data", {}):
                assert not re.match(r"<(Axes|matplotlib|Figure size)", text), text

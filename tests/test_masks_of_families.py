"""Chat templates of the model families, as TRL ships them, on the nano tokenizer."""

import re
from functools import cache
from pathlib import Path

import pytest
import trl

from course_utils.data.conversation import Conversation
from course_utils.data.templates import fitted, rendered, takes_system, use_template
from course_utils.data.tokens import (
    IGNORE_INDEX,
    UnusableRows,
    row_lengths,
    to_dataset,
    tokenize_conversation,
    trained_share,
)
from course_utils.model.nano import nano_tokenizer

FOLDER = Path(trl.__file__).parent / "chat_templates"
ENDS = {
    "llama3": "<|eot_id|>",
    "llama3_1": "<|eot_id|>",
    "llama3_2": "<|eot_id|>",
    "qwen2_5": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "qwen3_instruct_2507": "<|im_end|>",
    "gemma": "<end_of_turn>",
    "gemma3": "<end_of_turn>",
    "phi3": "<|end|>",
    "phi3_5": "<|end|>",
    "gptoss": "<|return|>",
    "lfm2": "<|im_end|>",
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "deepseek_r1_distill": "<｜end▁of▁sentence｜>",
    "deepseekv3": "<｜end▁of▁sentence｜>",
}
_MARK = re.compile(r"<[|｜][^<>]{1,40}[|｜]>|<(?:start|end)_of_turn>")


def bare(name, end="<|endoftext|>"):
    """The tokenizer of a family, or of a base model with another end token."""
    tokenizer = nano_tokenizer()
    tokenizer.chat_template = (FOLDER / f"{name}.jinja").read_text("utf-8")
    marks = sorted(set(_MARK.findall(tokenizer.chat_template)) | {ENDS.get(name)})
    tokenizer.add_special_tokens({"additional_special_tokens": [*filter(None, marks)]})
    tokenizer.eos_token = end
    return tokenizer


@cache
def family(name, template="chat"):
    """The tokenizer of a family as a plan with that template has it."""
    tokenizer = bare(name)
    use_template(tokenizer, template)
    return tokenizer


def row(*texts, system=None, name="r-7"):
    roles = ("user", "assistant") * len(texts)
    pairs = zip(roles, texts, strict=False)
    turns = [{"role": role, "content": text} for role, text in pairs]
    head = [{"role": "system", "content": system}] if system else []
    return Conversation(name, tuple(head + turns))


def learnt(tokens, tokenizer):
    return tokenizer.decode([n for n in tokens["labels"] if n != IGNORE_INDEX])


SINGLE, TWICE = row("What is hot?", "Fire."), row("A?", "Ice.", "B?", "Fire.")


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize(
    "said", [SINGLE, TWICE, row("A?", "Fire.", system="Be short.")], ids="123"
)
def test_the_labels_end_in_the_answer_and_the_mark_that_stops_the_model(name, said):
    tokenizer = family(name)
    tokens = tokenize_conversation(said, tokenizer, 512)
    assert tokenizer.eos_token == ENDS[name]
    assert tokens["labels"][-1] == tokenizer.eos_token_id
    assert learnt(tokens, tokenizer).endswith(f"Fire.{ENDS[name]}")
    assert "Ice" not in learnt(tokens, tokenizer)
    asked = fitted(tokenizer, said.messages[:-1])
    prompt = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_dict=False
    )
    assert tokens["input_ids"][: len(prompt)] == prompt
    assert tokens["labels"][: len(prompt)] == [IGNORE_INDEX] * len(prompt)


def test_a_base_models_end_token_gives_way_to_the_templates_mark_and_is_told(capsys):
    """Qwen2.5's base ends in <|endoftext|>; tuned with ChatML it never stops."""
    tokenizer = bare("qwen2_5")
    with pytest.raises(UnusableRows, match=r"'r-7' ends in .*a model tuned so never"):
        tokenize_conversation(row("A?", "B"), tokenizer, 99)
    use_template(tokenizer, "chat")
    told = capsys.readouterr().out
    assert "ends an answer with <|im_end|>" in told and "was <|endoftext|>" in told
    assert learnt(tokenize_conversation(SINGLE, tokenizer, 99), tokenizer) == (
        "Fire.<|im_end|>"
    )


@pytest.mark.parametrize("name", ["qwen2_5", "llama3", "alpaca"])
def test_an_end_token_that_the_template_writes_stays(name, capsys):
    end = ENDS.get(name, "<|endoftext|>")
    tokenizer = bare(name if name != "alpaca" else "qwen2_5", end)
    use_template(tokenizer, "alpaca" if name == "alpaca" else "chat")
    assert tokenizer.eos_token == end and capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["deepseek_r1_distill", "deepseekv3"])
def test_a_prefilled_thought_is_taken_out_of_the_prompt_and_told(name, capsys):
    asked = [{"role": "user", "content": "A?"}]
    tokenizer = bare(name)
    assert rendered(tokenizer, asked, add_generation_prompt=True).endswith("<think>\n")
    with pytest.raises(UnusableRows, match=r"'r-7' begins otherwise .*'training'"):
        tokenize_conversation(SINGLE, tokenizer, 99)
    use_template(tokenizer, "chat")
    assert "began each new answer with '<think>\\n'" in capsys.readouterr().out
    assert rendered(tokenizer, asked, True).endswith("<｜Assistant｜>")


THOUGHT = "<think>\nHeat.\n</think>\n\nFire."


@pytest.mark.parametrize("name", ["deepseek_r1_distill", "deepseekv3"])
def test_a_thought_that_the_template_drops_is_a_fault_and_training_keeps_it(name):
    thinking = row("What is hot?", THOUGHT)
    with pytest.raises(UnusableRows, match=r"'r-7' is written without .*'training'"):
        tokenize_conversation(thinking, family(name), 99)
    if name == "deepseek_r1_distill":  # TRL's version of V3 drops it too
        tokenizer = family(name, "training")
        tokens = tokenize_conversation(thinking, tokenizer, 99)
        assert learnt(tokens, tokenizer) == f"Heat.\n</think>\n\nFire.{ENDS[name]}"


def test_a_refused_system_message_goes_in_front_of_the_request_and_is_counted(capsys):
    tokenizer, plain = family("gemma"), row("Be short.\n\nA?", "Fire.")
    said = row("A?", "Fire.", system="Be short.")
    capsys.readouterr()
    assert not takes_system(tokenizer) and takes_system(family("gemma3"))
    made = to_dataset([said, SINGLE, said], tokenizer, 99)
    assert "2 system messages stand in front" in capsys.readouterr().out
    assert made[0] == tokenize_conversation(plain, tokenizer, 99)


@pytest.mark.parametrize("name", [n for n in ENDS if n not in ("qwen3", "gptoss")])
def test_every_answer_can_carry_loss(name):
    tokenizer, end = family(name), ENDS[name]
    tokens = tokenize_conversation(TWICE, tokenizer, 512, "all_answers")
    assert learnt(tokens, tokenizer) == f"Ice.{end}Fire.{end}"
    last = tokenize_conversation(TWICE, tokenizer, 512)
    both = (tokenizer.decode(made["input_ids"]) for made in (tokens, last))
    assert len(set(both)) == 1
    assert tokens["labels"][-3:] == last["labels"][-3:]


@pytest.mark.parametrize("name", ["qwen3", "gptoss"])
def test_turns_that_the_template_rewrites_are_refused_and_training_learns_them(name):
    with pytest.raises(UnusableRows, match=r"'r-7' has earlier answers: .*'last"):
        tokenize_conversation(TWICE, family(name), 512, "all_answers")
    if name == "qwen3":  # gpt-oss ends earlier answers with another mark in any case
        tokenizer = family(name, "training")
        tokens = tokenize_conversation(TWICE, tokenizer, 512, "all_answers")
        assert re.search(r"Ice\..*Fire\.", learnt(tokens, tokenizer), re.S)


@pytest.mark.parametrize("name", ["llama3", "qwen2_5", "qwen3", "lfm2"])
def test_the_mask_is_that_of_trls_marks_around_what_is_generated(name):
    marked = bare(name)
    marked.chat_template = (FOLDER / f"{name}_training.jinja").read_text("utf-8")
    theirs = marked.apply_chat_template(
        list(TWICE.messages), return_dict=True, return_assistant_tokens_mask=True
    )
    chosen = zip(theirs["input_ids"], theirs["assistant_masks"], strict=True)
    tokenizer = family(name, "training")
    ours = tokenize_conversation(TWICE, tokenizer, 512, "all_answers")
    wanted = tokenizer.decode([n for n, learns in chosen if learns])
    assert "".join(learnt(ours, tokenizer).split()) == "".join(wanted.split())


CALLS = [{"type": "function", "function": {"name": "clock", "arguments": {"z": "UTC"}}}]
WITH_TOOLS = Conversation(
    "r-8",
    (
        {"role": "user", "content": "Time?"},
        {"role": "assistant", "content": "", "tool_calls": CALLS},
        {"role": "tool", "content": "12:00"},
        {"role": "assistant", "content": "Noon."},
    ),
    {"tools": [{"type": "function", "function": {"name": "clock"}}]},
)


def test_calls_of_tools_are_learnt_where_the_template_writes_them():
    tokenizer = family("qwen2_5")
    tokens = tokenize_conversation(WITH_TOOLS, tokenizer, 512, "all_answers")
    assert "Tools" in tokenizer.decode(tokens["input_ids"])
    call, answer, _ = learnt(tokens, tokenizer).split("<|im_end|>")
    assert '"clock"' in call and answer == "Noon."


@pytest.mark.parametrize("name", ["llama3", "gemma", "phi3"])
def test_calls_of_tools_are_refused_by_name_where_the_template_drops_them(name):
    with pytest.raises(UnusableRows, match="2 rows: this template leaves them out"):
        to_dataset([WITH_TOOLS, SINGLE, WITH_TOOLS], family(name), 512)


def test_the_share_of_the_assistants_tokens_that_carry_loss_is_counted():
    tokenizer = family("qwen2_5")
    rows = [row("A?", "one two three", "B?", "four"), row("C?", "five six")]
    counts = [len(tokenizer(t)["input_ids"]) for t in ("one two three", "four")]
    five = len(tokenizer("five six")["input_ids"])
    share = (counts[1] + five) / (sum(counts) + five)
    assert trained_share(rows, tokenizer) == pytest.approx(share)
    assert trained_share(rows, tokenizer, "all_answers") == 1
    assert row_lengths(rows, tokenizer) == [
        len(tokenize_conversation(r, tokenizer, None)["input_ids"]) for r in rows
    ]


def test_an_unknown_choice_of_answers_is_refused():
    with pytest.raises(ValueError, match="train_on is 'all', expected last_answer or"):
        tokenize_conversation(SINGLE, family("qwen2_5"), 99, "all")


def test_a_template_without_trls_version_says_so():
    tokenizer = bare("qwen2_5")
    tokenizer.chat_template += " "
    with pytest.raises(ValueError, match="TRL has no version of this template"):
        use_template(tokenizer, "training")

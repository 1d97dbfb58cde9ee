import pytest

from course_utils.data import Conversation
from course_utils.nano import nano_tokenizer
from course_utils.ollama import chat_pieces
from course_utils.templates import (
    ALPACA,
    CHAT,
    alpaca_prompt,
    join_input,
    use_template,
)
from course_utils.tokens import tokenize_conversation


@pytest.fixture
def tokenizer():
    made = nano_tokenizer()
    use_template(made, ALPACA)
    return made


def chat(instruction, given="", answer=None):
    messages = [{"role": "user", "content": join_input(instruction, given)}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return messages


@pytest.mark.parametrize("given", ["", "a b", "two\nlines", 'it\'s "quoted" {{ x }}'])
def test_the_jinja_template_writes_alpacas_prompt_to_the_letter(tokenizer, given):
    text = tokenizer.apply_chat_template(
        chat("Do 'it', please.", given), tokenize=False, add_generation_prompt=True
    )
    assert text == alpaca_prompt("Do 'it', please.", given)


def test_both_forms_are_those_of_stanford_alpaca():
    head = "Below is an instruction that describes a task"
    assert alpaca_prompt("I") == (
        f"{head}. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nI\n\n### Response:"
    )
    assert alpaca_prompt("I", "X") == (
        f"{head}, paired with an input that provides further context. Write a "
        "response that appropriately completes the request.\n\n"
        "### Instruction:\nI\n\n### Input:\nX\n\n### Response:"
    )


@pytest.mark.parametrize("given", ["", "two\nlines"])
def test_loss_lies_on_the_answer_and_its_end_alone(tokenizer, given):
    row = Conversation("x", tuple(chat("Name a fruit.", given, "Plum.")))
    tokens = tokenize_conversation(row, tokenizer, 200)
    learnt = [label for label in tokens["labels"] if label != -100]
    assert tokenizer.decode(learnt) == "Plum." + tokenizer.eos_token


def test_a_second_turn_follows_the_end_of_the_first(tokenizer):
    two = [*chat("A", "", "B"), *chat("C")]
    text = tokenizer.apply_chat_template(two, tokenize=False)
    assert text == f"{alpaca_prompt('A')}B{tokenizer.eos_token}\n\n{alpaca_prompt('C')}"


def test_a_system_message_comes_before_all(tokenizer):
    messages = [{"role": "system", "content": "S"}, *chat("A")]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert text == f"S\n\n{alpaca_prompt('A')}"


def test_the_mark_at_the_beginning_is_written_where_the_tokenizer_writes_one():
    marked = nano_tokenizer()
    marked.add_bos_token = True
    first = marked("a")["input_ids"][0]
    use_template(marked, ALPACA)
    ids = marked.apply_chat_template(chat("A"), return_dict=False)
    begins_marked = first == marked.bos_token_id
    assert (ids[0] == marked.bos_token_id) == begins_marked
    assert nano_tokenizer()("a")["input_ids"][0] != marked.bos_token_id


def test_the_template_can_be_taken_apart_for_ollama(tokenizer):
    pieces = chat_pieces(tokenizer)
    assert pieces.turn.endswith("{{ .Prompt }}\n\n### Response:")
    assert pieces.end == f"{tokenizer.eos_token}\n\n" and pieces.default is None


def test_chat_leaves_the_tokenizers_own_template():
    own, kept = nano_tokenizer(), nano_tokenizer()
    use_template(kept, CHAT)
    assert kept.chat_template == own.chat_template


def test_a_template_that_is_not_there_is_refused():
    bare = nano_tokenizer()
    with pytest.raises(ValueError, match="'vicuna' found, expected 'chat' or 'alpaca'"):
        use_template(bare, "vicuna")
    bare.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        use_template(bare, CHAT)

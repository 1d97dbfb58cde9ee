import pytest

from course_utils.data.conversation import Conversation
from course_utils.data.templates import (
    ALPACA,
    CHAT,
    adds_bos,
    alpaca_prompt,
    join_input,
    use_template,
)
from course_utils.data.tokens import tokenize_conversation
from course_utils.gguf.serving import chat_pieces
from course_utils.model.nano import nano_tokenizer


@pytest.fixture(scope="module", params=[False, True], ids=["no bos", "bos"])
def tokenizer(request):
    made = nano_tokenizer(bos=request.param)
    use_template(made, ALPACA)
    return made


def ids(tokenizer, messages, **options):
    """What the model sees."""
    options = {"return_dict": False, **options}
    return tokenizer.apply_chat_template(messages, **options)


def chat(instruction, given="", answer=None):
    messages = [{"role": "user", "content": join_input(instruction, given)}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return messages


@pytest.mark.parametrize("given", ["", "a b", "two\nlines", 'it\'s "quoted" {{ x }}'])
def test_the_jinja_template_writes_alpacas_prompt_to_the_letter(tokenizer, given):
    found = ids(tokenizer, chat("Do it", given), add_generation_prompt=True)
    assert found == tokenizer(alpaca_prompt("Do it", given))["input_ids"]


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
    text = f"{alpaca_prompt('A')}B{tokenizer.eos_token}\n\n{alpaca_prompt('C')}"
    assert ids(tokenizer, two) == tokenizer(text)["input_ids"]


def test_a_system_message_comes_before_all(tokenizer):
    messages = [{"role": "system", "content": "S"}, *chat("A")]
    expected = tokenizer(f"S\n\n{alpaca_prompt('A')}")["input_ids"]
    assert ids(tokenizer, messages) == expected


@pytest.mark.parametrize("bos", [False, True])
def test_only_a_tokenizer_that_writes_a_mark_before_texts_is_said_to(bos):
    made = nano_tokenizer(bos)
    assert adds_bos(made) is bos and made.bos_token is not None
    made.bos_token = None
    assert not adds_bos(made)


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
    with pytest.raises(ValueError, match="'vicuna' found, expected 'chat', 'training'"):
        use_template(bare, "vicuna")
    bare.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        use_template(bare, CHAT)

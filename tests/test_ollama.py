import copy

import pytest

from course_utils.gguf.serving import (
    PROMPT,
    RESPONSE,
    SYSTEM,
    chat_pieces,
    modelfile,
    ollama_template,
)

BARE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ALWAYS = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\n<|im_end|>\n{% endif %}"
    + BARE
)
TURNS = [("hi", "hello"), ("and then?", None)]


def as_ollama_writes(tokenizer, system=None, turns=TURNS):
    """Ollama repeats the template a turn, the system's text in the first one only."""
    pieces = chat_pieces(tokenizer)
    template, text = ollama_template(pieces), ""
    system = system or pieces.default
    for prompt, response in turns:
        opened, _, rest = template.partition("{{ if .System }}")
        turn, _, after = rest.partition("{{ end }}")
        written = opened + (turn if system else "") + after if rest else template
        if response is None:  # the open turn: nothing stands behind the answer yet
            written = written[: written.index(RESPONSE)]
        for name, value in ((SYSTEM, system), (PROMPT, prompt), (RESPONSE, response)):
            written = written.replace(name, value or "")
        text, system = text + written, None
    return text


def as_the_tokenizer_writes(tokenizer, system=None, turns=TURNS):
    messages = [{"role": "system", "content": system}] if system else []
    for prompt, response in turns:
        messages.append({"role": "user", "content": prompt})
        if response is not None:
            messages.append({"role": "assistant", "content": response})
    return tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )


def with_template(tokenizer, template):
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    return other


@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("turns", [TURNS[1:], TURNS], ids=["one turn", "two turns"])
@pytest.mark.parametrize("template", [None, BARE], ids=["own", "without a default"])
def test_ollama_writes_what_the_tokenizer_writes(tokenizer, template, turns, system):
    if template:
        tokenizer = with_template(tokenizer, template)
    expected = as_the_tokenizer_writes(tokenizer, system, turns)
    assert as_ollama_writes(tokenizer, system, turns) == expected


def test_the_systems_default_text_is_found_where_there_is_one(tokenizer):
    assert chat_pieces(tokenizer).default.startswith("You are a helpful AI assistant")
    assert chat_pieces(with_template(tokenizer, BARE)).default is None


def test_a_template_that_writes_an_empty_systems_turn_keeps_it(tokenizer):
    other = with_template(tokenizer, ALWAYS)
    assert chat_pieces(other).default == ""
    one_turn = TURNS[1:]
    expected = as_the_tokenizer_writes(other, turns=one_turn)
    assert as_ollama_writes(other, turns=one_turn) == expected


def test_a_first_token_that_the_tokenizer_adds_is_not_written_twice(tokenizer):
    from tokenizers.processors import TemplateProcessing

    other = with_template(tokenizer, "<|im_start|>" + BARE)
    other._tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    assert chat_pieces(other).system.startswith("<|im_start|>system")


def test_a_template_that_rewrites_earlier_turns_is_refused(tokenizer):
    forgetful = with_template(tokenizer, "{{ messages[-1].content }}")
    with pytest.raises(ValueError, match="cannot be taken apart"):
        chat_pieces(forgetful)


def test_a_modelfile_names_the_file_the_template_and_each_stop_once(tokenizer):
    text = modelfile("q8_0.gguf", tokenizer, stops=["<|im_end|>", "###"])
    lines = text.splitlines()
    assert lines[0] == "FROM ./q8_0.gguf"
    assert f'TEMPLATE """{ollama_template(chat_pieces(tokenizer))}"""' in text
    assert f'SYSTEM """{chat_pieces(tokenizer).default}"""' in text
    assert [line for line in lines if "PARAMETER stop" in line] == [
        'PARAMETER stop "<|im_end|>"',
        'PARAMETER stop "###"',
    ]
    assert lines[-1] == "PARAMETER temperature 0" and text.endswith("\n")

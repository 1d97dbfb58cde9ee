"""Prompt templates that no tokenizer brings: the two forms of Alpaca.

A tokenizer renders every chat through its Jinja template. So a project that was
trained on another prompt replaces that template, and training, generation, GGUF and
server all follow: there is one place to get it right.
"""

from __future__ import annotations

import json

from transformers import PreTrainedTokenizerBase

CHAT, ALPACA = "chat", "alpaca"
INPUT_HEADING = "\n\n### Input:\n"
# Wording and blank lines of Stanford Alpaca's train.py, PROMPT_DICT.
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that "
    "provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)


def join_input(instruction: str, given: str) -> str:
    """Instruction and input as one user message; the instruction alone without one.

    The heading between them is the one that Alpaca's template has there, so that the
    template can tell the two forms apart and any chat API can send both.
    """
    return f"{instruction}{INPUT_HEADING}{given}" if given else instruction


def alpaca_prompt(instruction: str, given: str = "") -> str:
    """The prompt of Stanford Alpaca, word for word.

    Args:
        instruction: What is to be done.
        given: What it is to be done with; empty for the form without an input.

    Source: tatsu-lab/stanford_alpaca, train.py, `PROMPT_DICT`.
    """
    form = WITH_INPUT if given else WITHOUT_INPUT
    return form.format(instruction=instruction, input=given)


def _alpaca_template(begin: str) -> str:
    """The same as Jinja over messages; each answer ends in the tokenizer's end token.

    A blank line follows an answer and a system message. The marks carry no loss.

    Args:
        begin: What the tokenizer puts before every text, often nothing.
    """
    with_input, without = (
        form.partition("### Instruction:")[0] for form in (WITH_INPUT, WITHOUT_INPUT)
    )
    text = """\
{{ BEGIN }}{% for message in messages %}\
{% if message['role'] == 'system' %}{{ message['content'] + BREAK }}\
{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + BREAK }}\
{% else %}\
{{ WITH_INPUT if INPUT_HEADING in message['content'] else WITHOUT_INPUT }}\
{{ '### Instruction:' + LINE + message['content'] + BREAK + '### Response:' }}\
{% endif %}{% endfor %}"""
    texts = {
        "WITHOUT_INPUT": without,
        "WITH_INPUT": with_input,
        "INPUT_HEADING": INPUT_HEADING,
        "BEGIN": begin,
        "BREAK": "\n\n",
        "LINE": "\n",
    }
    for name, value in texts.items():
        text = text.replace(name, json.dumps(value))
    return text


def use_template(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Give a tokenizer the prompt template of a plan, in place.

    Args:
        tokenizer: Its own template stays for `chat`.
        name: `chat` or `alpaca`.

    Raises:
        ValueError: If the name is unknown, or `chat` is asked of a tokenizer that has
            no template of its own.
    """
    if name == ALPACA:
        first = tokenizer("a")["input_ids"][0]
        marked = tokenizer.bos_token is not None and first == tokenizer.bos_token_id
        begin = tokenizer.bos_token if marked else ""
        tokenizer.chat_template = _alpaca_template(begin)
    elif name != CHAT:
        raise ValueError(
            f"Prompt template {name!r} found, expected {CHAT!r} or {ALPACA!r}. Is the "
            "recipe's `template` misspelt?"
        )
    elif tokenizer.chat_template is None:
        raise ValueError(
            "This tokenizer has no chat template, and the plan asks for it. A base "
            "model has none: choose its instruct version, or the template 'alpaca'."
        )

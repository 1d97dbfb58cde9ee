"""Prompt templates that no tokenizer brings: the two forms of Alpaca.

A tokenizer renders every chat through its Jinja template. So a project that was
trained on another prompt replaces that template, and training, generation, GGUF and
server all follow: there is one place to get it right.
"""

from __future__ import annotations

import json

from transformers import PreTrainedTokenizerBase

CHAT, ALPACA = "chat", "alpaca"
_INPUT_HEADING = "\n\n### Input:\n"
_TASK = "Below is an instruction that describes a task"
_REQUEST = "Write a response that appropriately completes the request.\n\n"
_WITHOUT_INPUT = f"{_TASK}. {_REQUEST}"
_WITH_INPUT = f"{_TASK}, paired with an input that provides further context. {_REQUEST}"
# Jinja over messages: a blank line follows an answer and a system message, and each
# answer ends in the tokenizer's end token. The marks carry no loss.
_ALPACA_TEMPLATE = """\
{{ BEGIN }}{% for message in messages %}\
{% if message['role'] == 'system' %}{{ message['content'] + BREAK }}\
{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + BREAK }}\
{% else %}{{ WITH_INPUT if INPUT_HEADING in message['content'] else WITHOUT_INPUT }}\
{{ '### Instruction:' + LINE + message['content'] + BREAK + '### Response:' }}\
{% endif %}{% endfor %}"""


def join_input(instruction: str, given: str) -> str:
    """Instruction and input as one user message; the instruction alone without one.

    The heading between them is the one that Alpaca's template has there, so that the
    template can tell the two forms apart and any chat API can send both.
    """
    return f"{instruction}{_INPUT_HEADING}{given}" if given else instruction


def alpaca_prompt(instruction: str, given: str = "") -> str:
    """The prompt of Stanford Alpaca, word for word; without `given` its shorter form.

    Source: tatsu-lab/stanford_alpaca, train.py, `PROMPT_DICT`.
    """
    introduction = _WITH_INPUT if given else _WITHOUT_INPUT
    request = join_input(instruction, given)
    return f"{introduction}### Instruction:\n{request}\n\n### Response:"


def adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer puts its `bos_token` before every text by itself.

    Llama's and Mistral's do. SmolLM2 and Qwen have such a token and do not add it.
    """
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token is not None and ids[0] == tokenizer.bos_token_id


def use_template(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Give a tokenizer the prompt template of a plan, `chat` (its own) or `alpaca`.

    In place. ValueError for another name, or if it has no template of its own.
    """
    if name == ALPACA:
        texts = {
            "WITHOUT_INPUT": _WITHOUT_INPUT,
            "WITH_INPUT": _WITH_INPUT,
            "INPUT_HEADING": _INPUT_HEADING,
            "BEGIN": tokenizer.bos_token if adds_bos(tokenizer) else "",
            "BREAK": "\n\n",
            "LINE": "\n",
        }
        template = _ALPACA_TEMPLATE
        for constant, text in texts.items():
            template = template.replace(constant, json.dumps(text))
        tokenizer.chat_template = template
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

"""Prompt templates: the tokenizer's own, made fit to train on, and Alpaca's two.

A tokenizer renders every chat through its Jinja template. So a project that was
trained on another prompt replaces that template, and training, generation, GGUF and
server all follow: there is one place to get it right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, cast

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

CHAT, TRAINING, ALPACA = "chat", "training", "alpaca"
_REQUESTED, _ANSWER = "⟨request⟩", "⟨answer⟩"  # no text that a template has
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


def rendered(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool = False,
    tools: Sequence[Any] | None = None,
) -> str:
    """What the tokenizer's template writes for a chat."""
    written = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        tools=list(tools) if tools else None,
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
    )
    return cast(str, written)


def use_template(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Give a tokenizer the prompt template of a plan, in place.

    `chat` is its own one, made fit to be trained on: the end token becomes the mark
    that ends an answer, and a beginning that the template puts before new answers and
    drops from old ones (DeepSeek's `<think>`) is taken out; a line says so. `training`
    is TRL's version of it, which keeps what the model thinks in every answer. `alpaca`
    is Stanford's. ValueError for another name, or if there is none.
    """
    if name == ALPACA:
        tokenizer.chat_template = _alpaca_template(tokenizer)
        return
    if name not in (CHAT, TRAINING):
        raise ValueError(
            f"Prompt template {name!r} found, expected {CHAT!r}, {TRAINING!r} or "
            f"{ALPACA!r}. Is the recipe's `template` misspelt?"
        )
    if tokenizer.chat_template is None:
        raise ValueError(
            "This tokenizer has no chat template, and the plan asks for it. A base "
            "model has none: choose its instruct version, or the template 'alpaca'."
        )
    if name == TRAINING:
        _use_training_version(tokenizer)
    else:
        _take_out_prefill(tokenizer)
    _end_with_its_mark(tokenizer)


def _alpaca_template(tokenizer: PreTrainedTokenizerBase) -> str:
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
    return template


def _use_training_version(tokenizer: PreTrainedTokenizerBase) -> None:
    """TRL's template, without its marks for masks, which other programs do not read."""
    from trl.chat_template_utils import get_training_chat_template

    try:
        made = get_training_chat_template(tokenizer) or str(tokenizer.chat_template)
    except ValueError as error:
        raise ValueError(
            f"TRL has no version of this template to train on: {error} Choose 'chat', "
            "the template as it is, or 'alpaca'."
        ) from None
    made = re.sub(r"(\{%-?\s*)generation(\s*-?%\})", r"\1if true\2", made)
    made = re.sub(r"(\{%-?\s*)endgeneration(\s*-?%\})", r"\1endif\2", made)
    tokenizer.chat_template = made


def _take_out_prefill(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let prompts end where answers begin, if the template writes more there."""
    asked, whole = _asked_and_answered(tokenizer)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(asked, whole, strict=False))
    more = asked[len(list(same)) :]
    template = str(tokenizer.chat_template)
    literal = more.replace("\n", "\\n")
    if not more.strip() or template.count(literal) != 1:
        return
    tokenizer.chat_template = template.replace(literal, "")
    if _asked_and_answered(tokenizer)[1] != whole:
        tokenizer.chat_template = template
        return
    print(
        f"The template began each new answer with {more!r} and dropped it afterwards. "
        "It is taken out, so that the model is asked as it is trained: to answer at "
        "once. To train on what it thinks, choose the template 'training'."
    )


def _end_with_its_mark(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let the end token be the mark with which the template ends an answer."""
    mark = end_mark(tokenizer)
    if mark and mark != tokenizer.eos_token:
        print(
            f"The template ends an answer with {mark}, and the tokenizer's end token "
            f"was {tokenizer.eos_token}: it is {mark} now, or the model would learn no "
            "end and never stop."
        )
        tokenizer.eos_token = mark


def end_mark(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The special token that ends an answer in the template, or None.

    The tokenizer's end token, if the template ends every answer with it; else the first
    mark behind an answer. (Phi's template writes its end token behind a chat alone.)
    """
    chat = [
        {"role": "user", "content": _REQUESTED},
        {"role": "assistant", "content": _ANSWER},
    ]
    behind = rendered(tokenizer, chat).rpartition(_ANSWER)[2]
    later = rendered(tokenizer, [*chat, chat[0]]).partition(_ANSWER)[2]
    earlier = later.partition(_REQUESTED)[0]
    end = tokenizer.eos_token
    if end and end in behind and end in earlier:
        return end
    marks = [token.content for token in tokenizer.added_tokens_decoder.values()]
    there = [mark for mark in marks if mark in behind]
    return min(there, key=lambda mark: (behind.index(mark), -len(mark)), default=None)


def _asked_and_answered(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """What the template writes for a request, and for the request and its answer."""
    chat = [{"role": "user", "content": _REQUESTED}]
    asked = rendered(tokenizer, chat, add_generation_prompt=True)
    return asked, rendered(
        tokenizer, [*chat, {"role": "assistant", "content": _ANSWER}]
    )


def takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the template writes a system message; Gemma's refuses it."""
    chat = [{"role": "system", "content": _ANSWER}]
    try:
        written = rendered(tokenizer, [*chat, {"role": "user", "content": _REQUESTED}])
    except TemplateError:
        return False
    return _ANSWER in written


def fitted(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The messages as the template takes them.

    Where it knows no system message, that text is put in front of the first request,
    with a blank line between them.
    """
    said = [dict(message) for message in messages]
    if not said or said[0]["role"] != "system" or takes_system(tokenizer):
        return said
    system, first, *rest = said
    return [first | {"content": f"{system['content']}\n\n{first['content']}"}, *rest]

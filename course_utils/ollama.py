"""An Ollama Modelfile for a GGUF: the template, the system text and the stops.

Ollama has a template language of its own. It is not written by hand here: the
tokenizer's chat template is rendered with Ollama's names in the place of the texts,
and the pieces are taken from what it writes. So the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

SYSTEM, PROMPT, RESPONSE = "{{ .System }}", "{{ .Prompt }}", "{{ .Response }}"


class ChatPieces(NamedTuple):
    """A chat template, taken apart."""

    system: str  # the system's turn, once at the beginning
    turn: str  # a user's turn and the header of the answer
    end: str  # what follows an answer
    default: str | None  # the system text that nobody gave; None: no turn without one


def modelfile(
    gguf_name: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    stops: Sequence[str] = (),
    temperature: float = 0.0,
) -> str:
    """A Modelfile: the file, the template, the system text, where to stop.

    Args:
        gguf_name: File beside the Modelfile.
        tokenizer: Brings the chat template and the end token.
        stops: More tokens that end an answer.
        temperature: 0 takes the likeliest token each time.
    """
    pieces = chat_pieces(tokenizer)
    lines = [f"FROM ./{gguf_name}", f'TEMPLATE """{ollama_template(pieces)}"""']
    if pieces.default:
        lines.append(f'SYSTEM """{pieces.default}"""')
    for stop in dict.fromkeys([tokenizer.eos_token, *stops]):
        lines.append(f'PARAMETER stop "{stop}"')
    return "\n".join([*lines, f"PARAMETER temperature {temperature:g}", ""])


def ollama_template(pieces: ChatPieces) -> str:
    """The template of one turn; Ollama repeats it for each turn of a chat.

    It fills the system's text in the first turn only, hence the condition. Where a
    template writes an empty system's turn by itself, there is none.
    """
    system = pieces.system
    if pieces.default != "":
        system = f"{{{{ if .System }}}}{system}{{{{ end }}}}"
    return f"{system}{pieces.turn}{RESPONSE}{pieces.end}"


def chat_pieces(tokenizer: PreTrainedTokenizerBase) -> ChatPieces:
    """Take a chat template apart, by what it writes for chats of known texts.

    Raises:
        ValueError: If a longer chat does not begin with the shorter one, so that
            the template has no such pieces.
    """
    system = {"role": "system", "content": SYSTEM}
    user = {"role": "user", "content": PROMPT}
    answer = {"role": "assistant", "content": RESPONSE}
    bare, asked = _text(tokenizer, [user]), _text(tokenizer, [system, user])
    again = _text(tokenizer, [system, user, answer, user])
    answered = _text(tokenizer, [system, user, answer], add_generation_prompt=False)
    turn = again.removeprefix(answered)
    fits = again.startswith(answered) and answered.startswith(asked + RESPONSE)
    if not (fits and asked.endswith(turn)):
        raise ValueError(
            "The chat template writes earlier turns differently once others follow, so "
            "it cannot be taken apart. Write the Modelfile's template by hand and hold "
            "it against apply_chat_template."
        )
    before, _, after = asked.partition(SYSTEM)
    return ChatPieces(
        system=asked.removesuffix(turn),
        turn=turn,
        end=answered.removeprefix(asked + RESPONSE),
        default=None if bare == turn else bare.removeprefix(before).removesuffix(after),
    )


def _text(
    tokenizer: PreTrainedTokenizerBase,
    messages: list[dict[str, str]],
    add_generation_prompt: bool = True,
) -> str:
    """What the template writes, less a first token that the tokenizer itself adds.

    llama.cpp and Ollama add it themselves then.
    """
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=add_generation_prompt
    )
    first = tokenizer("a")["input_ids"][0]
    marked = tokenizer.bos_token is not None and first == tokenizer.bos_token_id
    return text.removeprefix(tokenizer.bos_token) if marked else text

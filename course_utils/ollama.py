"""What Ollama needs beside a GGUF: a Modelfile with the template and the stops.

Ollama has a template language of its own. It is not written by hand here: the
tokenizer's chat template is rendered with Ollama's names in the place of the texts,
and the pieces are taken from what it writes. So the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

SYSTEM, PROMPT, RESPONSE = "{{ .System }}", "{{ .Prompt }}", "{{ .Response }}"


@dataclass(frozen=True)
class ChatPieces:
    """A chat template, taken apart.

    Attributes:
        system: The system's turn, once at the beginning.
        turn: A user's turn and the header of the answer.
        end: What follows an answer.
        default: The system text where nobody gives one; None where the template
            then leaves the system's turn out.
    """

    system: str
    turn: str
    end: str
    default: str | None


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
    asked = _text(tokenizer, [system, user], add_generation_prompt=True)
    answered = _text(tokenizer, [system, user, answer])
    again = _text(tokenizer, [system, user, answer, user], add_generation_prompt=True)
    turn = again.removeprefix(answered)
    fits = again.startswith(answered) and answered.startswith(asked + RESPONSE)
    if not (fits and asked.endswith(turn)):
        raise ValueError(
            "The chat template writes earlier turns differently once others follow, so "
            "it cannot be taken apart. Write the Modelfile's template by hand and hold "
            "it against apply_chat_template."
        )
    return ChatPieces(
        system=asked.removesuffix(turn),
        turn=turn,
        end=answered.removeprefix(asked + RESPONSE),
        default=_default_system(
            asked, _text(tokenizer, [user], add_generation_prompt=True), turn
        ),
    )


def _default_system(asked: str, bare: str, turn: str) -> str | None:
    """The system text in a chat to which nobody gave one."""
    if bare == turn:
        return None
    before, _, after = asked.partition(SYSTEM)
    return bare.removeprefix(before).removesuffix(after)


def _text(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], **options: bool
) -> str:
    """What the template writes, without the mark at the beginning of every text.

    Where the tokenizer adds such a mark, llama.cpp and Ollama add it themselves.
    """
    text = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    first = tokenizer("a")["input_ids"][0]
    marked = tokenizer.bos_token is not None and first == tokenizer.bos_token_id
    return text.removeprefix(tokenizer.bos_token) if marked else text

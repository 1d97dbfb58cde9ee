"""Rows of one's own, in any of the field's shapes -> conversations; two sides of them.

    own = read_rows("rows.csv")          # or .json, .jsonl, .parquet, .gz, org/set
    training, held_out = hold_out(own.rows, 0.1, seed=3407)

Read are `messages`, ShareGPT (`conversations`, from and value), `prompt` and
`completion` (texts or messages), Alpaca's and Dolly's columns, and any table with a
column that asks and one that answers. What teaches nothing is left out and counted;
what cannot be understood is a fault, and all faults come at once.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from course_utils import CourseError
from course_utils.data.conversation import Conversation, request_key
from course_utils.data.files import Fault, FaultyData, spelled
from course_utils.data.reading.shapes import (
    ANSWERS,
    CHATS,
    MEDIA,
    REQUESTS,
    UNANSWERED,
    Shape,
    Unusable,
    Wrong,
    plain_key,
    shape_of,
)
from course_utils.data.reading.sources import Entries, entries_of

_EXPECTED_KEYS = (
    "messages or conversations; or one key that asks (instruction, prompt, question …) "
    "and one that answers (output, response, completion, answer …)"
)
_OTHER_ENDS = {  # keys of rows that are made for something else
    "rejected": "Pairs of a chosen and a rejected answer are for preference tuning "
    "(DPO). To imitate the chosen ones, keep those alone, under the key output or as "
    "the last turn of a chat.",
    "text": "A single text has no request to mask: part it into prompt and completion.",
}
_WAY_OUT = (
    "Mend these rows and load them again, or leave them out: read_rows(…, "
    "skip_faulty=True) counts them."
)


class CannotHoldOut(CourseError, ValueError):
    """The rows cannot be parted so that each side has requests of its own."""


@dataclass(frozen=True)
class OwnRows:
    """What a file, a folder or the hub holds, as conversations; and what was done."""

    rows: list[Conversation]
    shape: str  # such as "Alpaca columns" or "ShareGPT"
    dropped: Mapping[str, int]  # rows left out, by the reason in words
    noticed: tuple[str, ...]  # sentences: other keys' case, ids made, …

    def __str__(self) -> str:
        head = f"{len(self.rows):,} rows, read as {self.shape}."
        left = ", ".join(f"{n:,} {reason}" for reason, n in self.dropped.items())
        lines = [head, f"Left out: {left}." if left else "", *self.noticed]
        return "\n".join(filter(None, lines))


def read_rows(
    source: str | Path,
    *,
    revision: str | None = None,
    split: str = "train",
    skip_faulty: bool = False,
) -> OwnRows:
    """Rows of a file, of a folder's `split`, or of a data set on the hub, as chats.

    Args:
        source: A path; or a hub id, `org/set` or `org/set:configuration`.
        revision: Of a data set on the hub.
        split: `train` or `validation`, where there are several.
        skip_faulty: Leave faulty rows out and count them, instead of raising.

    Raises:
        FaultyData: With every fault; the first ones are shown.
        sources.NoSuchData: If there is neither such a file nor such a data set.
    """
    entries = entries_of(source, revision, split)
    if not entries.objects and entries.faults:
        raise FaultyData(entries.faults, entries.way_out)
    rows = [{plain_key(k): v for k, v in row.items()} for _, row in entries.objects]
    shape = shape_of(rows)
    if shape is None or any("rejected" in row for row in rows):
        raise _unknown_shape(entries, rows)
    names, numbered = _names(rows)
    chats, faults, dropped = _chats(entries, rows, names, shape)
    if faults and skip_faulty:
        dropped[f"faulty (the first one: {faults[0]})"] = len(faults)
    elif faults:
        raise FaultyData(faults, entries.way_out or _WAY_OUT)
    if not chats:
        found = ", ".join(f"{number:,} rows {why}" for why, number in dropped.items())
        raise FaultyData([entries.fault(1, "file", found, "rows that answer")])
    told = (*entries.noticed, *_other_case(entries, shape), *numbered)
    told += (*_unread(rows, shape), *_cut_off(chats), *_again(chats))
    return OwnRows(chats, shape.name, dict(dropped), told)


def _chats(
    entries: Entries, rows: Sequence[dict], names: Sequence[str], shape: Shape
) -> tuple[list[Conversation], list[Fault], Counter[str]]:
    """The chats, each once; the faults; and what was left out, by its reason."""
    chats: dict[str, Conversation] = {}
    faults, dropped = list(entries.faults), Counter[str]()
    for (place, _), row, name in zip(entries.objects, rows, names, strict=True):
        try:
            chat = shape.conversation(_with_keys(row, shape), name)
            if chats.setdefault(_digest(chat), chat) is not chat:
                raise Unusable("that stand there before, word for word")
        except Unusable as reason:
            dropped[str(reason)] += 1
        except Wrong as wrong:
            faults.append(entries.fault(place, *wrong.args[0]))
    return list(chats.values()), faults, dropped


def _digest(chat: Conversation) -> str:
    return json.dumps(chat.messages, ensure_ascii=False, sort_keys=True, default=str)


def _with_keys(row: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """The row, if it has the keys that its file's shape needs, and is for imitation."""
    if row.get("label") is False:  # of rows for KTO
        raise Unusable("that their label calls bad")
    if media := next((key for key in MEDIA if row.get(key)), None):
        raise Wrong((media, spelled(row[media]), "rows of text alone"))
    lacking = next((key for key in shape.needed if key not in row), None)
    if lacking is None:
        return row
    near = get_close_matches(lacking, row, n=1, cutoff=0.7)
    hint = f": is {near[0]!r} a typing error?" if near else ""
    found = f"nothing among the keys {', '.join(row) or 'none':.80}"
    raise Wrong((lacking, found, f"the key {lacking}{hint}"))


def _unknown_shape(entries: Entries, rows: Sequence[Mapping]) -> FaultyData:
    """One fault for a file whose keys say nothing, with the likely renaming."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    known = (*CHATS, *REQUESTS, *ANSWERS)
    near = {key: get_close_matches(key, known, n=1, cutoff=0.8) for key in keys}
    ways = [
        f"{key} to {to[0]}"
        for key, to in near.items()
        if to and to[0] != key and len(key) - len(to[0]) < 3  # no question_id
    ]
    told = [f"A typing error? Rename {', '.join(ways)}."] if ways else []
    told += [why for key, why in _OTHER_ENDS.items() if key in keys]
    fault = entries.fault(1, "keys", ", ".join(keys[:20]) or "none", _EXPECTED_KEYS)
    return FaultyData([fault], " ".join(told or ["Rename what asks and what answers."]))


def _names(rows: Sequence[Mapping]) -> tuple[list[str], list[str]]:
    """An id for each row, its own where it has one; and a sentence if it was made."""
    found = [row.get("id") for row in rows]
    names = [str(n).strip() if isinstance(n, str | int) else "" for n in found]
    own = [name for name in names if name]
    if len(own) == len(rows) == len(set(own)):
        return names, []
    if len(set(own)) < len(own):
        told, names = "Ids stand twice, so rows are numbered", [""] * len(rows)
    else:
        told = f"{len(rows) - len(own):,} rows have no id, so they are numbered"
    made = [name or f"row-{at}" for at, name in enumerate(names, start=1)]
    return made, [f"{told}: row-1 is the first one."]


def _other_case(entries: Entries, shape: Shape) -> list[str]:
    """A sentence on keys that are read though they are written otherwise."""
    keys = dict.fromkeys(key for _, row in entries.objects for key in row)
    used = {*shape.needed, shape.given}
    read = [f"{k} as {to}" for k in keys if (to := plain_key(k)) in used and to != k]
    return [f"Keys are read without their case: {', '.join(read)}."] if read else []


def _unread(rows: Sequence[Mapping], shape: Shape) -> list[str]:
    """A sentence on columns that hold something and do not reach the model."""
    keys = dict.fromkeys(key for row in rows for key in row if row[key])
    left = [key for key in keys if key not in (*shape.read, *shape.needed)]
    more = ", …" if len(left) > 8 else ""
    return [f"Columns that are not read: {', '.join(left[:8])}{more}."] if left else []


def _cut_off(chats: Sequence[Conversation]) -> list[str]:
    """A sentence on last turns without an answer."""
    number = sum(UNANSWERED in chat.notes for chat in chats)
    return [f"Last turns of the user left out: {number:,}."] if number else []


def _again(chats: Sequence[Conversation]) -> list[str]:
    """A sentence on requests that come again with another answer."""
    again = len(chats) - len({request_key(chat) for chat in chats})
    told = f"Rows that begin as an earlier one: {again:,}; hold_out does not part them."
    return [told] if again else []


def hold_out(
    rows: Sequence[Conversation], share_or_count: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """Rows to train on and rows held out, both in an order that the seed decides.

    A request lies on one side only, whatever its case and spaces; see `request_key`.

    Args:
        rows: At least two, of two requests.
        share_or_count: A share of the rows below 1, or a number of rows.
        seed: Of the draw.

    Raises:
        CannotHoldOut: If either side would be empty.
    """
    share = 0 < share_or_count < 1
    wanted = max(1, round(share_or_count * len(rows))) if share else share_or_count
    groups: dict[str, list[Conversation]] = {}
    for row in rows:
        groups.setdefault(request_key(row), []).append(row)
    drawn = list(groups.values())
    random.Random(seed).shuffle(drawn)
    sides: tuple[list[Conversation], list[Conversation]] = [], []
    for group in drawn:
        sides[len(sides[1]) + len(group) <= wanted].extend(group)
    training, held_out = sides
    if not held_out or not training:
        raise CannotHoldOut(
            f"{share_or_count} of {len(rows)} rows, which have {len(groups)} requests, "
            f"would leave {len(training)} to train on and {len(held_out)} held out. "
            "Each side needs requests of its own: more rows, or another share?"
        )
    return training, held_out


def shared_requests(
    training: Sequence[Conversation], held_out: Sequence[Conversation]
) -> list[tuple[str, str]]:
    """Ids of training rows, each with a held-out row that has the same request."""
    theirs = {request_key(row): row.id for row in held_out}
    keys = [(row.id, request_key(row)) for row in training]
    return [(name, theirs[key]) for name, key in keys if key in theirs]

"""Blind A/B rating: shuffled sides, votes in a file, and what they say together.

The rater sees two answers and not whose they are. Each vote is written at once, so
that a closed notebook loses nothing. See `rating_widget` for the buttons.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils.rating_report import RatingReport

CHOICES = ("left", "tie", "right")


class OtherAnswers(ValueError):
    """A file of votes belongs to other answers, or cannot be read."""


@dataclass(frozen=True)
class Pair:
    """Two answers to one request; which is whose stays hidden from the rater.

    Attributes:
        id: Unique among the pairs.
        request: What was asked.
        first: Answer of the reference, such as the base model.
        second: Answer of the model that is tried.
    """

    id: str
    request: str
    first: str
    second: str

    @property
    def digest(self) -> str:
        """Of all texts: a vote counts for these answers and for no others."""
        whole = json.dumps([self.request, self.first, self.second])
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ShownPair:
    """A pair as the rater sees it."""

    id: str
    request: str
    left: str
    right: str


class BlindRating:
    """Pairs in a shuffled order, with shuffled sides, and the votes so far.

    Args:
        pairs: At least one, with unique ids.
        votes_path: JSON lines, one a vote; made when missing, gone on with when not.
        seed: Of order and sides. It is stored with each vote.
        names: Of the first and the second answer of each pair.

    Raises:
        ValueError: If there is no pair, or an id stands twice.
        OtherAnswers: If the file holds votes on other answers or another shuffle.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        votes_path: Path,
        *,
        seed: int,
        names: tuple[str, str] = ("base", "tuned"),
    ):
        ids = {pair.id for pair in pairs}
        if not pairs or len(ids) < len(pairs):
            raise ValueError(
                f"{len(pairs)} pairs with {len(ids)} different ids: expected at least "
                "one pair, and each id once."
            )
        self.path = votes_path
        self.seed = seed
        self.names = names
        shuffled = random.Random(seed)
        self.pairs = {p.id: p for p in shuffled.sample(list(pairs), len(pairs))}
        self._second_is_left = {name: shuffled.random() < 0.5 for name in self.pairs}
        self.votes = self._read_votes()

    def _read_votes(self) -> dict[str, str]:
        """Votes by pair; a half-written last line is what a crash leaves: drop it."""
        if not self.path.exists():
            return {}
        *lines, rest = self.path.read_text(encoding="utf-8").split("\n")
        if rest:
            self.path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        votes: dict[str, str] = {}
        for number, line in enumerate(lines, start=1):
            pair, choice = self._check_vote(number, line)
            votes.pop(pair, None)  # a later vote replaces an earlier one
            if choice is not None:
                votes[pair] = choice
        return votes

    def _check_vote(self, number: int, line: str) -> tuple[str, str | None]:
        where = f"{self.path.name}, line {number}"
        try:
            vote = json.loads(line)
            found = vote["pair"], vote["digest"], vote["seed"]
            choice = vote["choice"]
        except (json.JSONDecodeError, KeyError, TypeError):
            raise OtherAnswers(
                f"{where}: found {line[:40]!r}, expected a vote with pair, digest, "
                "seed and choice. Was it edited by hand? Mend the line, or move the "
                "file away and rate again."
            ) from None
        pair = self.pairs.get(found[0])
        if pair is None or found[1:] != (pair.digest, self.seed):
            raise OtherAnswers(
                f"{where}: a vote on pair {found[0]!r} with other answers or another "
                "seed than now. Was the model trained or asked anew since? Votes do "
                "not carry over: move the file away and rate again."
            )
        if choice is not None and choice not in CHOICES:
            raise OtherAnswers(
                f"{where}: found choice {choice!r}, expected left, tie, right or null."
            )
        return pair.id, choice

    @property
    def current(self) -> ShownPair | None:
        """The next pair without a vote; None when all are rated."""
        left_over = (name for name in self.pairs if name not in self.votes)
        name = next(left_over, None)
        return None if name is None else self.show(name)

    def show(self, pair_id: str) -> ShownPair:
        """A pair as the rater sees it."""
        pair = self.pairs[pair_id]
        sides = pair.first, pair.second
        left, right = reversed(sides) if self._second_is_left[pair_id] else sides
        return ShownPair(pair.id, pair.request, left, right)

    def vote(self, choice: str) -> None:
        """Vote on the current pair; it is in the file before this returns.

        Args:
            choice: `left`, `right` or `tie`.

        Raises:
            ValueError: If the choice is another, or every pair is rated.
        """
        shown = self.current
        if choice not in CHOICES or shown is None:
            raise ValueError(
                f"choice is {choice!r} with {len(self.votes)} of {len(self.pairs)} "
                f"pairs rated; expected one of {', '.join(CHOICES)}, and a pair left."
            )
        self._append(shown.id, choice)
        self.votes[shown.id] = choice

    def take_back(self) -> None:
        """Withdraw the last vote; the file keeps both lines."""
        if self.votes:
            name = next(reversed(self.votes))
            self._append(name, None)
            del self.votes[name]

    def _append(self, pair_id: str, choice: str | None) -> None:
        vote = {
            "pair": pair_id,
            "digest": self.pairs[pair_id].digest,
            "seed": self.seed,
            "choice": choice,
            "for": None if choice is None else self._name_of(pair_id, choice),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(vote, ensure_ascii=False) + "\n")

    def _name_of(self, pair_id: str, choice: str) -> str:
        """Whose answer was voted for: one of the names, or `tie`."""
        if choice == "tie":
            return choice
        return self.names[(choice == "left") == self._second_is_left[pair_id]]

    def report(self) -> RatingReport:
        """What the votes so far say."""
        cast = [self._name_of(name, choice) for name, choice in self.votes.items()]
        return RatingReport(
            names=self.names,
            wins=cast.count(self.names[1]),
            losses=cast.count(self.names[0]),
            ties=cast.count("tie"),
            left=list(self.votes.values()).count("left"),
            pairs=len(self.pairs),
        )

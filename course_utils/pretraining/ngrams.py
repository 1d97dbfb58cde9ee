"""The plain rival of a language model: a table of what followed what."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

_IGNORED = -100  # the label of a token that carries no loss


class NGrams:
    """How often each token followed the last few, mixed with shorter memories.

    Witten and Bell's rule: a context that was seen n times, with t different tokens
    after it, trusts its own counts by n / (n + t) and the shorter context by the rest;
    the shortest of all holds every token of the vocabulary equally likely. So no token
    has probability 0, and the probabilities after any context add up to 1.

    Args:
        tokens: Token ids to learn from.
        order: Tokens of a pattern: 1 counts tokens alone, 3 what followed two.
        vocabulary: Number of different tokens that may come.
    """

    def __init__(self, tokens: Sequence[int], order: int, vocabulary: int) -> None:
        if order < 1:
            raise ValueError(f"Found an order of {order}, expected 1 or more.")
        self.order, self.vocabulary = order, vocabulary
        self._after: list[defaultdict[tuple[int, ...], Counter[int]]]
        self._after = [defaultdict(Counter) for _ in range(order)]
        for memory, table in enumerate(self._after):
            for place in range(memory, len(tokens)):
                context = tuple(tokens[place - memory : place])
                table[context][tokens[place]] += 1

    def probability(self, context: Sequence[int], token: int) -> float:
        """Of a token after a context, of which the last `order` − 1 tokens count."""
        chance = 1 / self.vocabulary
        for memory, table in enumerate(self._after[: len(context) + 1]):
            seen = table.get(tuple(context[len(context) - memory :]))
            if seen is None:
                break  # a longer context was not seen either
            kinds, times = len(seen), seen.total()
            chance = (seen[token] + kinds * chance) / (times + kinds)
        return chance

    def nats_per_token(self, tokens: Sequence[int]) -> float:
        """Mean of −ln p over all tokens but the first."""
        memory = self.order - 1
        chances = (
            self.probability(tokens[max(0, at - memory) : at], tokens[at])
            for at in range(1, len(tokens))
        )
        return -sum(map(math.log, chances)) / (len(tokens) - 1)

    def nats_where(self, rows: Sequence[dict[str, list[int]]]) -> float:
        """The same over rows' tokens that carry a label (any but −100)."""
        memory = self.order - 1
        chances = [
            self.probability(row["input_ids"][max(0, at - memory) : at], label)
            for row in rows
            for at, label in enumerate(row["labels"])
            if at and label != _IGNORED
        ]
        return -sum(map(math.log, chances)) / len(chances)

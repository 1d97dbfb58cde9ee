"""Precision and recall of queries, field by field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from course_utils.data.conversation import Conversation
from course_utils.projects.search.query import Query, as_query, find_query


def by_field(prompts: Iterable[Conversation], texts: Sequence[str]) -> pd.DataFrame:
    """How much of what is asked for was meant, and how much of what was meant is asked.

    Args:
        prompts: With the query that each means in its notes.
        texts: One answer a prompt; one without a query asks for nothing.

    Returns:
        A row a field: `precision` and `recall`, each as `k of n`. Every genre of a list
        counts on its own, and a bound counts where its number is exactly the one meant.
    """
    right, asked, meant = Counter(), Counter(), Counter()
    for prompt, text in zip(prompts, texts, strict=True):
        gold = as_query(prompt.notes["query"]).parts
        found = (find_query(text) or Query()).parts
        right.update(name for name, _ in gold & found)
        asked.update(name for name, _ in found)
        meant.update(name for name, _ in gold)
    fields = [name for name in Query.model_fields if name in meant or name in asked]
    return pd.DataFrame(
        {
            "precision": {f: f"{right[f]} of {asked[f]}" for f in fields},
            "recall": {f: f"{right[f]} of {meant[f]}" for f in fields},
        }
    )

"""Values of claims that lesson 11's kept runs carry: a trained start, size and text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from course_utils.pretraining import results


def worth_of_a_trained_start(path: Path = results.RESULTS) -> dict[str, float]:
    """Lesson 08's task from trained and from random weights: means over the seeds.

    Nats a token of the query; `counts` is the best order of n-grams on the same rows,
    `random_eight` the random start after eight passes. Exact answers of the test
    requests, means too.
    """
    runs = results.kept("transfer", path)
    table = results.transfer_table(path)["mean"]
    few, all_rows = int(runs["rows"].min()), int(runs["rows"].max())
    exact = runs.dropna(subset="exact").groupby(["start", "passes"])["exact"].mean()
    return {
        "seeds": float(runs["seed"].nunique()),
        "rows_few": float(few),
        "rows_all": float(all_rows),
        "requests": float(runs["exact_of"].max()),
        "trained_few": float(table["pretrained", few, 1]),
        "trained_all": float(table["pretrained", all_rows, 1]),
        "random_few": float(table["random", few, 1]),
        "random_all": float(table["random", all_rows, 1]),
        "random_eight": float(table["random", all_rows, 8]),
        "counts_all": float(table["best counts", all_rows, 1]),
        "trained_exact": float(exact["pretrained", 1]),
        "random_eight_exact": float(exact["random", 8]),
    }


def size_and_text(path: Path = results.RESULTS) -> dict[str, float]:
    """Small Llamas on a sixteenth and on all of Python's pages, and counts beside them.

    Nats a token of held-out pages, means over the seeds. `wide` and `narrow` are the
    models of most and fewest numbers; `wide_worse_least` counts the seeds with which
    the wide one is behind on the least text; `seeds_apart` is the greatest distance of
    two seeds.
    """
    scale = results.kept("scale", path)
    means = scale.groupby(["part", "width"])["test_nats"].mean()
    ends = scale.groupby("part")["last_nats"].mean()
    least, narrow, wide = 16, scale["width"].min(), scale["width"].max()
    tokens = scale.groupby("part")["tokens"].first()
    counts = results.best_counts(path)
    parameters = scale.groupby("width")["parameters"].first()
    by_seed = scale.pivot_table("test_nats", ["part", "seed"], "width")
    little = by_seed.loc[least]
    return {
        "seeds": float(scale["seed"].nunique()),
        "updates": float(scale["updates"].max()),
        "narrow_numbers": float(parameters[narrow]),
        "wide_numbers": float(parameters[wide]),
        "tokens_least": float(tokens[least]),
        "tokens_all": float(tokens[1]),
        "narrow_least": float(means[least, narrow]),
        "wide_least": float(means[least, wide]),
        "narrow_all": float(means[1, narrow]),
        "wide_all": float(means[1, wide]),
        "wide_worse_least": float((little[wide] > little[narrow]).sum()),
        "end_least": float(ends[least]),
        "counts_least": float(counts[least]),
        "counts_all": float(counts[1]),
        "seeds_apart": results.spread_of_seeds(path),
    }


FORMULAS: dict[str, Callable[[], dict[str, float]]] = {
    "C250": worth_of_a_trained_start,
    "C251": size_and_text,
}

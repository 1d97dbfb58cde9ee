"""What `python -m course_utils.pipeline` understands."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from pydantic import ValidationError

from course_utils.projects.own.file import (
    VARIABLE,
    OwnFile,
    OwnSource,
    WrongRecipe,
    own_source,
    source_of,
)
from course_utils.recipes.book import RECIPES

_OPTIONS = {  # of one's own rows, by the key of a recipe file
    "data": "your rows: a file, a folder, or a data set on the hub",
    "model": "a hub id, or the folder of a model",
    "held_out": "rows kept out of training: a number, a share below 1, a file",
    "max_steps": "updates; by default they follow from the rows",
    "form": "an answer's form in words, for the base that is told",
    "stress": "a file of your own prompts, one a line",
}


def asked(words: Sequence[str] | None = None) -> tuple[OwnSource | None, str, bool]:
    """What is to be run: own rows, or None; a recipe's name; and whether ARC is asked.

    WrongRecipe where options exclude each other.
    """
    parser = argparse.ArgumentParser(description="The whole course on one page.")
    parser.add_argument("--recipe", help=f"{', '.join(RECIPES)}, or a file of your own")
    for key, told in _OPTIONS.items():
        name = "--steps" if key == "max_steps" else f"--{key.replace('_', '-')}"
        both = dict.fromkeys([name, f"--{key}"])  # the key of a recipe file will do
        parser.add_argument(*both, dest=key, help=told, metavar="…")
    told = "science questions before and after; not with own rows by default"
    parser.add_argument("--arc", action=argparse.BooleanOptionalAction, help=told)
    options = vars(parser.parse_args(words))
    recipe = options.pop("recipe") or os.environ.get(VARIABLE, "")
    arc = options.pop("arc")
    said = {key: value for key, value in options.items() if value is not None}
    own = _of_options(said) if said else own_source({VARIABLE: recipe})
    return own, recipe, own is None if arc is None else arc


def _of_options(said: dict[str, str]) -> OwnSource:
    if "data" not in said:
        raise WrongRecipe(
            f"{', '.join(said)} without --data: these belong to rows of your own. "
            "Write them into the recipe file, or give --data; a recipe of the course "
            "takes another model by COURSE_MODEL."
        )
    held_out = said.get("held_out", "")
    if held_out.replace(".", "", 1).isdecimal():
        number = float(held_out)
        said |= {"held_out": int(number) if number >= 1 else number}  # pyrefly: ignore
    try:
        return source_of(OwnFile(**said))  # pyrefly: ignore
    except ValidationError as error:
        first = error.errors()[0]
        names = {"max_steps": "steps", "held_out": "held-out"}
        option = names.get(key := str(first["loc"][0]), key)
        raise WrongRecipe(
            f"--{option} is {first['input']!r}: {first['msg'].lower()}. Is it a typing "
            "error? `--help` says what each option takes."
        ) from None

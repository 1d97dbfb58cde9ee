"""The projects of the course, as data/recipes.yaml states them.

A recipe holds the hyperparameters that its author stated, each with a unit or a
reason, and beside them what a smaller machine scales down and why. Which number
is used where is decided there and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from course_utils import CourseError
from course_utils.machine.profile import Profile
from course_utils.places import DATA_FOLDER
from course_utils.recipes.plan import OWN, AuthorResult, Recipe, Settings, Source


class UnknownRecipe(CourseError, KeyError):
    """COURSE_RECIPE names no recipe."""

    def __str__(self) -> str:
        return self.args[0]


def _recipe(name: str, settings, scales, results=(), **texts) -> Recipe:
    return Recipe(
        name=name,
        settings=_settings(settings),
        scales={profile: _settings(changes) for profile, changes in scales.items()},
        results=tuple(AuthorResult(**result) for result in results),
        **texts,
    )


def _settings(entries: Mapping[str, tuple[Any, str]]) -> Settings:
    """Values of YAML as a plan takes them: sources, and tuples for lists."""
    settings = {}
    for name, (value, reason) in entries.items():
        if name in ("model", "dataset"):
            value = Source(value)
        settings[name] = (tuple(value) if isinstance(value, list) else value, reason)
    return settings


_ENTRIES = yaml.safe_load((DATA_FOLDER / "recipes.yaml").read_text(encoding="utf-8"))
RECIPES = {name: _recipe(name, **entry) for name, entry in _ENTRIES["recipes"].items()}
MOVIE_RECOMMENDER = RECIPES["movie_recommender"]
ALPACA_MISTRAL = RECIPES["alpaca_mistral"]
INFRAMIND = RECIPES["inframind"]
MOVIE_SEARCH = RECIPES["movie_search"]
# Notebook 00's, whatever COURSE_RECIPE says: it is no project of its own.
QUICKSTART = _recipe("quickstart", **_ENTRIES["quickstart"])
# What a recipe of one's own begins with; `projects.own` makes it fit rows and machine.
OWN_DEFAULTS = _recipe("own", **_ENTRIES["own"])
_TO_EXPORT = _settings(_ENTRIES["export"])


def chosen_recipe(environment: Mapping[str, str] = os.environ) -> Recipe:
    """The recipe of the course that COURSE_RECIPE names; else the movie recommender.

    A file of one's own is `projects.project.chosen_project`'s to read.
    """
    name = environment.get("COURSE_RECIPE", "").strip() or MOVIE_RECOMMENDER.name
    if name not in RECIPES:
        raise UnknownRecipe(
            f"COURSE_RECIPE is {name!r}; there are {', '.join(RECIPES)}, or the path "
            "of a file of your own (such as recipe.yaml or rows.csv). Set it to one of "
            "these, or leave it out for the movie recommender."
        )
    return RECIPES[name]


def recipe_to_export(recipe: Recipe, profile: Profile) -> Recipe:
    """The recipe whose model notebook 07 ships here: on a GPU one with a small model.

    To merge, convert and score 7 to 8 billion parameters takes a free GPU machine
    hours and most of its disk. So a smaller model is trained by the same recipe, under
    a name of its own. A COURSE_MODEL is kept: with the recipe's own model in it, that
    one is shipped. So is the model of a recipe of one's own.
    """
    plan, small = recipe.plan_for(profile.name), _TO_EXPORT["model"][0]
    is_meant = profile.model_override or plan.dataset.name.startswith(OWN)
    if not profile.is_gpu or is_meant or plan.model == small:
        return recipe
    settings = {**recipe.settings, **_TO_EXPORT}
    return replace(recipe, name=f"{recipe.name}-small", settings=settings)

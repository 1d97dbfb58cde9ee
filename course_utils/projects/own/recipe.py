"""From own rows and a machine to a recipe: every number with the reason for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from course_utils import CourseError
from course_utils.data.conversation import Conversation
from course_utils.data.datasets import Splits, load_own
from course_utils.data.own_rows import OwnRows
from course_utils.data.templates import ALPACA, use_template
from course_utils.data.tokens import row_lengths
from course_utils.machine.profile import Profile
from course_utils.model.architectures import Architecture, load_architectures
from course_utils.model.bundled import bundled_tokenizer_path
from course_utils.model.nano import cached_nano_path
from course_utils.projects.own.file import OwnSource, WrongRecipe
from course_utils.projects.own.planning import cost_of, speed
from course_utils.recipes.book import OWN_DEFAULTS, QUICKSTART
from course_utils.recipes.plan import (
    BUNDLED_MODEL,
    NANO_MODEL,
    Plan,
    Recipe,
    Settings,
    Source,
)
from course_utils.training.trainer import total_updates

_Some = dict[str, tuple[Any, str]]  # some of a recipe's settings
FEWEST_ROWS = 8
MOST_ROWS = 4_000  # by default; a recipe may ask for more
_YOURS = "set in your recipe"
_ROUNDED_TO = 64  # tokens
# By profile: tokens of the longest row that is kept, and minutes of training at most.
_LONGEST = {"nano": 1024, "cpu": 1024, "t4": 2048}
_MINUTES = {"nano": 4, "cpu": 4, "t4": 20}
_FEWEST_UPDATES = 10
_GPU_SEQUENCES = 8  # behind an update


class TooFewRows(CourseError, ValueError):
    """There are not enough rows to train on some and hold others out."""


@dataclass(frozen=True)
class OwnProject:
    """Own rows on this machine, and the recipe that follows from both."""

    source: OwnSource
    profile: Profile

    @cached_property
    def found(self) -> tuple[OwnRows, Splits]:
        """The rows as they were read, and both sides of the split.

        Raises:
            TooFewRows: If fewer than FEWEST_ROWS are usable, or a side has none.
        """
        rows, splits = load_own(_plan({**OWN_DEFAULTS.settings, **self._of_data()}))
        if len(rows.rows) < FEWEST_ROWS or not all(splits):
            dropped = ", ".join(f"{n} {why}" for why, n in rows.dropped.items())
            raise TooFewRows(
                f"{len(rows.rows)} usable rows in {Path(self.source.file.data).name}, "
                f"{len(splits[1])} of them held out; dropped: {dropped or 'none'}. "
                f"Expected at least {FEWEST_ROWS}, and some on either side. A form "
                "takes about a hundred rows to be learnt: write more, or change "
                "`held_out`."
            )
        return rows, splits

    @cached_property
    def training(self) -> list[Conversation]:
        """The rows to train on."""
        return self.found[1][0][: self.source.file.rows or MOST_ROWS]

    @property
    def held_out(self) -> list[Conversation]:
        """Rows that no training sees."""
        return self.found[1][1]

    @cached_property
    def recipe(self) -> Recipe:
        """Every number with its reason.

        Lengths are counted with this machine's tokenizer, for all profiles.
        """
        source = self.source
        start = replace(
            OWN_DEFAULTS,
            name=source.name,
            title=source.file.title or f"Own rows: {Path(source.file.data).name}",
            settings={**OWN_DEFAULTS.settings, **self._said_for("t4")},
            scales={
                name: {**scale, **self._said_for(name)}
                for name, scale in OWN_DEFAULTS.scales.items()
            },
        )
        scales = {n: {**s, **self._fitted(start, n)} for n, s in start.scales.items()}
        settings = {**start.settings, **self._fitted(start, "t4")}
        return replace(start, settings=settings, scales=scales)

    def _of_data(self) -> _Some:
        held_out = self.source.held_out
        why = "rows that are kept apart; " + _YOURS
        if held_out is None:
            why = "None: a folder's validation file, or a fifth of the rows, 40 at most"
        dataset = Source(self.source.data)
        return {"dataset": (dataset, "your rows"), "held_out": (held_out, why)}

    def _said_for(self, profile_name: str) -> _Some:
        """What the file says, model and rows included."""
        given: _Some = {k: (v, _YOURS) for k, v in self.source.numbers().items()}
        if "rank" in given:
            given.setdefault("alpha", (given["rank"][0], "alpha / rank = 1"))
        if "max_steps" in given:
            given["epochs"] = (1.0, "ignored, since max_steps is set")
        model = self.source.model
        if model and profile_name != "nano":
            given["model"] = (Source(model), _YOURS)
        elif not model and profile_name == "t4":  # the default one is small
            given.setdefault("load_in_4bit", QUICKSTART.settings["load_in_4bit"])
        return self._of_data() | given

    def _fitted(self, start: Recipe, profile_name: str) -> _Some:
        """What rows and machine decide: template, length, rows, batch, updates."""
        length = self._max_length(profile_name)
        fitted: _Some = {"template": self._template, "max_length": length}
        if profile_name == "nano":
            return fitted
        if not self.source.file.rows and len(self.found[1][0]) > MOST_ROWS:
            fitted["rows"] = (MOST_ROWS, "rows, the first drawn; `rows` takes more")
        settings = {**start.settings, **start.scales.get(profile_name, {}), **fitted}
        if not self.source.file.batch_size and profile_name == self.profile.name:
            fitted |= self._batch(_plan(settings))
        fitted |= self._updates(_plan({**settings, **fitted}), profile_name)
        return fitted

    @cached_property
    def _template(self) -> tuple[str, str]:
        chosen = self.source.file.template
        if chosen:
            return chosen, _YOURS
        if self._bare_tokenizer.chat_template is None:
            return ALPACA, "Alpaca's prompt: this model brings no template of its own"
        return OWN_DEFAULTS.settings["template"]

    def _max_length(self, profile_name: str) -> tuple[int, str]:
        if chosen := self.source.file.max_length:
            return chosen, _YOURS
        longest, most = max(self.lengths), _LONGEST[profile_name]
        if longest <= most:
            told = f"tokens; the longest of {len(self.lengths)} rows has {longest}"
            return -(-longest // _ROUNDED_TO) * _ROUNDED_TO, f"{told}, rounded up"
        longer = sum(length > most for length in self.lengths)
        return (
            most,
            f"tokens; {longer} of {len(self.lengths)} rows are longer: left out",
        )

    def _batch(self, plan: Plan) -> _Some:
        """The largest batch that the planner allows, for as many rows an update."""
        wanted = _GPU_SEQUENCES if self.profile.is_gpu else plan.batch_size
        size, told = 1, "sequence: the planner does not know this model's shapes"
        for tried in (wanted, wanted // 2, wanted // 4) if self.architecture else ():
            size = max(1, tried)
            changed = replace(plan, batch_size=size)
            cost = cost_of(changed, self.architecture, self.profile, self.lengths)
            told = f"sequences in a pass: {cost.in_gib} planned"
            if cost.fits:
                break
        if self.source.file.accumulation_steps:
            return {"batch_size": (size, told)}
        passes = wanted // size
        together = f"passes; {size} x {passes} = {wanted} sequences behind an update"
        return {"batch_size": (size, told), "accumulation_steps": (passes, together)}

    def _updates(self, plan: Plan, profile_name: str) -> _Some:
        """Passes over the rows, fewer where they would take long; never the file's."""
        lengths = [n for n in self.lengths if n <= plan.max_length]
        if not lengths:
            raise TooFewRows(
                f"All {len(self.lengths)} rows are longer than max_length, which is "
                f"{plan.max_length} tokens. Raise `max_length`, or shorten the rows."
            )
        updates = total_updates(len(lengths), plan)
        warm_up = max(1, min(5, updates // 10))
        fitted: _Some = {
            "warmup_steps": (warm_up, "updates; a tenth of all, 5 at most")
        }
        if self.source.file.max_steps or self.source.file.epochs:
            return fitted
        minutes = _MINUTES[profile_name]
        a_second = speed(self.architecture, on_gpu=profile_name == "t4")
        an_update = plan.effective_batch * sum(lengths) / len(lengths)
        most = max(_FEWEST_UPDATES, int(60 * minutes * a_second / an_update))
        passes = f"{plan.epochs:g} passes over {len(lengths)} rows"
        if updates <= most:
            return fitted | {"epochs": (plan.epochs, f"{passes}: {updates} updates")}
        told = f"updates: {minutes} minutes by estimate; {passes} take {updates}"
        return fitted | {"max_steps": (most, told)}

    @cached_property
    def _loaded(self) -> Plan:
        """A plan that names the model which is loaded on this machine."""
        name = self.profile.name
        scale = OWN_DEFAULTS.scales.get(name, {})
        plan = _plan({**OWN_DEFAULTS.settings, **scale, **self._said_for(name)})
        override = self.profile.model_override
        return replace(plan, model=Source(override)) if override else plan

    @cached_property
    def location(self) -> str:
        """Where this machine's model lies: a hub id, or a folder."""
        if self._loaded.model.name == NANO_MODEL:
            return str(cached_nano_path())
        from course_utils.model.loading import model_location  # imports unsloth

        return model_location(self._loaded)

    @cached_property
    def _bare_tokenizer(self) -> PreTrainedTokenizerBase:
        bundled = self._loaded.model.name == BUNDLED_MODEL  # no need of its weights
        place = bundled_tokenizer_path() if bundled else self.location
        try:
            return cast(PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(place))
        except (OSError, ValueError) as error:
            told = str(error).partition("\n")[0]
            raise WrongRecipe(
                f"The tokenizer of {self.location} cannot be loaded: {told} Is the "
                "model's name misspelt, is it behind a login (`hf auth login`), or is "
                "there no network? The folder of a model needs none."
            ) from None

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Of this machine's model, with the template of the plan."""
        use_template(self._bare_tokenizer, self._template[0])
        return self._bare_tokenizer

    @cached_property
    def architecture(self) -> Architecture | None:
        """Shapes of this machine's model; None where the course cannot read them."""
        if self._loaded.model.name == BUNDLED_MODEL:
            return load_architectures()["smollm2-135m"]
        try:
            config = AutoConfig.from_pretrained(self.location)
            return Architecture.from_config(config, Path(self.location).name)
        except (OSError, ValueError):
            return None

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each training row, template included."""
        return row_lengths(self.training, self.tokenizer)


def _plan(settings: Settings) -> Plan:
    return Plan(**{name: value for name, (value, _) in settings.items()})


def longest_answer(
    rows: Sequence[Conversation], tokenizer: PreTrainedTokenizerBase
) -> int:
    """Tokens of the longest answer, without its end mark."""
    texts = [row.answer for row in rows]
    return max(map(len, tokenizer(texts, add_special_tokens=False)["input_ids"]))

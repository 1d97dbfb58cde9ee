"""The stress test of InfraMind: does the code parse, and is it what was asked for?

Every verdict is read off `rewards.score`. Code is parsed and never run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property

from course_utils.answer_reading import Reading
from course_utils.iac.prompts import load_prompts
from course_utils.iac.schema import Schema, load_schema
from course_utils.rewards import Reward, score, writes_code
from course_utils.stress import (
    Check,
    Demonstration,
    Roles,
    StressSuite,
    general_checks,
)

CODE_WANTED = (
    "one_resource",
    "named_values",
    "two_resources",
    "s3_versioning",
    "one_kind",
    "named_values_kubernetes",
    "two_kinds",
)
NO_CODE = ("off_topic",)


@dataclass(frozen=True)
class CodeReading(Reading):
    """An answer with its reward.

    Attributes:
        schema: The names that are known.
    """

    schema: Schema

    @cached_property
    def reward(self) -> Reward:
        """Of the answer, by what its prompt expects."""
        return score(self.text, self.prompt.notes["expect"], self.schema)

    @property
    def is_right(self) -> bool:
        """Whether every part is whole; words around the code may stand."""
        parts = self.reward.parts
        return all(parts[name] == 1 for name in parts if name != "complete")


FIRST = re.compile(r'^resource "(\w+)"|^kind: *(\w+)', re.M)
PARSED = "code is asked for; base and tuned may put it into a fence"
NAMED = "the request, or the provider, says what must be there"
STOPS, REPEATS_LITTLE = general_checks((*CODE_WANTED, *NO_CODE))
CHECKS = (
    STOPS,
    Check(
        "syntax valid",
        "Does the code parse as the language asked for?",
        CODE_WANTED,
        PARSED,
        lambda reading: reading.reward.syntax == 1,
    ),
    Check(
        "code and nothing else",
        "Parsed, ended, and no word around it?",
        CODE_WANTED,
        "every training answer is code alone",
        lambda reading: reading.stopped and reading.reward.complete == 1,
    ),
    REPEATS_LITTLE,
    Check(
        "right resource",
        "Are the types or kinds there that were asked for?",
        CODE_WANTED,
        NAMED,
        lambda reading: reading.reward.resource == 1,
    ),
    Check(
        "required there",
        "Has each block what the provider requires?",
        CODE_WANTED,
        NAMED,
        lambda reading: reading.reward.required == 1,
    ),
    Check(
        "no invented name",
        "Does the schema know every name, of code that parses?",
        CODE_WANTED,
        "an invented resource or argument fails at the first plan",
        lambda reading: reading.reward.known == 1,
    ),
    Check(
        "values as asked",
        "Right resource, and the given values in their places?",
        CODE_WANTED,
        NAMED,
        lambda reading: reading.reward.resource * reading.reward.values == 1,
    ),
    Check(
        "all of it right",
        "Every one of these at once?",
        CODE_WANTED,
        "this is the answer that somebody could use",
        lambda reading: reading.is_right,
    ),
    Check(
        "no code imposed",
        "Does it answer without code?",
        NO_CODE,
        "nobody asked for code",
        lambda reading: bool(reading.text) and not writes_code(reading.text),
    ),
)


@cache
def iac_suite() -> StressSuite:
    """The 28 held-out requests with their checks."""
    schema = load_schema()
    return StressSuite(
        prompts=tuple(load_prompts(schema=schema)),
        checks=CHECKS,
        read=lambda prompt, text, stopped: CodeReading(prompt, text, stopped, schema),
        roles=Roles(
            form="code and nothing else",
            listens="values as asked",
            substance="all of it right",
            restraint="no code imposed",
        ),
        parts=(),
        demonstration=_demonstration(),
        shown={
            "first": "tf-stress-14",
            "unasked": "k8s-stress-11",
            "unusual": "k8s-stress-09",
            "edge": "k8s-stress-10",
        },
        trap="s3_versioning",
        subject=_first_block,
        max_new_tokens=192,  # a quarter more than the longest written answer, 155
    )


def _first_block(text: str) -> str | None:
    """Type or kind of the first block of an answer."""
    found = FIRST.search(text)
    return found and (found[1] or found[2])


def _demonstration() -> Demonstration:
    bucket = 'resource "aws_s3_bucket" "scans" {\n  bucket = "orchid-scans"\n}'
    versioning = (
        'resource "aws_s3_bucket_versioning" "scans" {\n'
        "  bucket = aws_s3_bucket.scans.id\n\n"
        '  versioning_configuration {\n    status = "Enabled"\n  }\n}'
    )
    good = f"{bucket}\n\n{versioning}"
    open_to_all = (
        'resource "aws_s3_bucket_public_access_block" "scans" {\n'
        "  bucket                  = aws_s3_bucket.scans.id\n"
        "  block_public_acls       = false\n"
        "  block_public_policy     = false\n"
        "  ignore_public_acls      = false\n"
        "  restrict_public_buckets = false\n}"
    )
    return Demonstration(
        prompt_id="tf-stress-14",  # a bucket with versioning
        good=good,
        spoilt={
            "cut off by the limit": (good, False),
            "a brace is missing": (good[:-1], True),
            "words around the code": (f"Sure!\n```hcl\n{good}\n```", True),
            "`name` for `bucket`": (good.replace("bucket =", "name   =", 1), True),
            "a resource nobody made": (
                good.replace("bucket_versioning", "bucket_versioning_policy"),
                True,
            ),
            "aws_versioning::versioning()": (
                f"{bucket}\n\naws_versioning::versioning()",
                True,
            ),
            "another bucket": (good.replace("orchid-scans", "scans"), True),
            "no versioning": (bucket, True),
        },
        nonsense=f"{good}\n\n{open_to_all}",  # valid, as asked, and open to the world
    )

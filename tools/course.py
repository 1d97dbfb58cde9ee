"""The course's commands, as the Makefile calls them."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

import bank
import handouts
import publish
from execution import convert, executed, inherited, settings, write_notebook
from project import is_proof, key_of, name_of, notebook_of, sources
from schedule import MOST_JOBS, jobs, side_by_side, threads_for

from course_utils import CourseError
from course_utils.evidence.ledger import PUBLISHED_RECIPE
from course_utils.machine.doctor import describe, refuse_unsupported
from course_utils.machine.profile import Profile
from course_utils.places import (
    DATA_FOLDER,
    PROJECT_ROOT,
    make_folder,
    read_json,
    runs_folder,
)
from course_utils.projects.own.file import own_source
from course_utils.recipes.book import RECIPES, chosen_recipe

LINE = "{:36}  {:>7}  {:11}  {}"
FOLLOW_THE_RECIPE = ["03", "04", "05", "06", "07"]
OWN_ROWS = ["05", "14"]  # of a file of rows: the stress test, and its own lesson
OF_OWN = ["tickets.csv", "chats.json"]  # a table, and ShareGPT with several turns
# A random model whose tokenizer adds a token of its own in front of each text, as
# Llama's and Mistral's do: what training and export make of that, nothing else shows.
WITH_BOS = "nano-bos"
NEEDED_WITH_BOS = ["03", "06"]


Row = tuple[str, ...]  # notebook, minutes, status, headline


async def run_one(source: Path, profile: Profile, folder: Path, threads: dict) -> Row:
    """Execute one notebook, keep a copy in a folder, return its row of the table."""
    print(f"{name_of(source)} …", flush=True)
    notebook = convert(source)
    try:
        outcome = await executed(notebook, {"COURSE_PROFILE": profile.name, **threads})
    finally:
        write_notebook(folder / f"{name_of(source)}.ipynb", notebook)
    print(f"{name_of(source)}: {outcome}", flush=True)
    minutes = f"{outcome.seconds / 60:.1f} min"
    if outcome.error:
        return name_of(source), minutes, "failed", outcome.error
    record = runs_folder() / f"records-{profile.name}" / f"{key_of(source)}.json"
    told = read_json(record, "")["headline"] if record.exists() else "—"
    return name_of(source), minutes, "ok", told


def run(numbers: list[str]) -> int:
    """Run notebooks, two at a time where the machine allows; print what came out."""
    chosen, profile, own = sources(numbers), Profile.detect(), own_source()
    if own:  # a proof settles claims by the course's rows
        chosen = [source for source in chosen if not is_proof(source)]
    refuse_unsupported(profile)
    recipe, number = (own or chosen_recipe()).name, jobs(profile)
    number = min(number, len(chosen))
    print("\n".join([*describe(profile), f"recipe     {recipe}"]), flush=True)
    of_recipe = "" if recipe == PUBLISHED_RECIPE else f"-{recipe}"
    folder = make_folder(runs_folder() / f"notebooks-{profile.name}{of_recipe}")
    rows: dict[Path, Row] = {}

    async def keep(source: Path) -> None:
        rows[source] = await run_one(source, profile, folder, threads_for(number))

    try:
        asyncio.run(side_by_side(chosen, keep, number))
    finally:
        table = [("notebook", "minutes", "status", "headline number")]
        table += [rows[source] for source in chosen if source in rows]
        print("\n" + "\n".join(LINE.format(*row) for row in table))
        print(f"\nExecuted notebooks: {folder}")
        print(f"Adapters and logs:  {runs_folder() / f'{recipe}-{profile.name}'}")
    return int(any(row[2] == "failed" for row in rows.values()))


def nbval(numbers: list[str]) -> int:
    """Run committed notebooks cell by cell on nano; two of them with a BOS as well.

    `--nbval-lax` compares only the cells marked NBVAL_CHECK_OUTPUT: facts that depend
    neither on machine nor on profile. Results go to a folder that is thrown away.
    """
    chosen = sources(numbers)

    async def all_of_them(folder: str) -> int:
        environment = {**inherited(), **settings("nano", PUBLISHED_RECIPE)}
        environment |= {"COURSE_RUNS": folder, **threads_for(MOST_JOBS)}
        environment["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
        work = partial(validate, environment=environment)
        return max(await side_by_side(chosen, work, MOST_JOBS))

    with tempfile.TemporaryDirectory() as folder:
        status = asyncio.run(all_of_them(folder))
    if status or numbers:
        return status
    return asyncio.run(run_chain(PUBLISHED_RECIPE, NEEDED_WITH_BOS, WITH_BOS))


async def validate(source: Path, environment: dict[str, str]) -> int:
    """Run one committed notebook under nbval; what it printed comes at its end."""
    command = ["-m", "pytest", "--nbval-lax", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["--nbval-current-env", str(notebook_of(source))]
    status, told = await output_of([sys.executable, *command], environment)
    print(f"{name_of(source)}\n{told}", flush=True)
    return status


async def output_of(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Status and output of a program; it is ended when we are cancelled."""
    where, pipe = {"cwd": PROJECT_ROOT, "env": environment}, asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, **where, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
    return process.returncode, told.decode(errors="backslashreplace")


def chains(recipes: list[str]) -> int:
    """Run notebooks 03 to 07 with each other recipe on nano, 14 with own files.

    Nothing is compared: that the name of a recipe or a file alone chooses the project,
    and all cells run, is the test.
    """
    others = [name for name in RECIPES if name != PUBLISHED_RECIPE]
    files = [str(DATA_FOLDER / "own_project" / name) for name in OF_OWN]
    chosen = recipes or [*others, *files]

    async def side_by_side() -> list[int]:
        numbers = {n: FOLLOW_THE_RECIPE if n in RECIPES else OWN_ROWS for n in chosen}
        return await asyncio.gather(*(run_chain(*pair) for pair in numbers.items()))

    return max(asyncio.run(side_by_side()))


async def run_chain(recipe: str, numbers: list[str], model: str = "") -> int:
    """Run notebooks in order, in one runs folder that is thrown away."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        environment = {"COURSE_RUNS": folder, "OMP_NUM_THREADS": "1"}  # a core each
        environment |= settings("nano", recipe, model)
        for source in sources(numbers):
            outcome = await executed(convert(source), environment)
            print(f"{recipe} {model} {source.stem}: {outcome}", flush=True)
            failed |= bool(outcome.error)
    return failed


def reference(seeds: list[int]) -> int:
    """Measure what a normal curve of COURSE_RECIPE looks like, with these seeds.

    Each seed trains on the cpu profile once (three to eight minutes on two cores) and
    is added to data/reference/; one that is there already is skipped.
    """
    from measure_reference import measure_seeds  # it imports unsloth: 15 seconds

    measure_seeds(chosen_recipe(), seeds)
    return 0


COMMANDS = {
    run: "N",
    publish.publish: "N",
    publish.prose: "N",
    publish.address: "word",
    publish.recipes: "recipe",
    publish.adopt: "N",
    nbval: "N",
    chains: "recipe",
    reference: "seed",
    bank.card: "slug",
    handouts.anki: "",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command. A problem is one line on stderr, status 1; interrupted: 130."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # the locale may know ASCII only
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(metavar="command", required=True)
    for command, word in COMMANDS.items():
        told, kind = command.__doc__.partition("\n")[0], int if word == "seed" else str
        added = commands.add_parser(command.__name__, help=told, description=told)
        added.set_defaults(command=command)
        added.add_argument("words", metavar=word, nargs="*", type=kind)
    chosen = parser.parse_args(arguments)
    try:
        return chosen.command(chosen.words)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except CourseError as problem:
        print(f"stopped: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())

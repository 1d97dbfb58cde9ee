"""Lesson 05's cells do what the package does; its figures follow from its trials."""

import json
import re
import statistics
from collections import Counter
from math import comb

import notebook_cells as cells
import pytest
import torch

from course_utils.data.conversation import Conversation
from course_utils.model import generation
from course_utils.model.generation import Generated, Sampling, end_tokens
from course_utils.model.nano import nano_model, nano_tokenizer
from course_utils.projects.movies.films import broken_constraints, parse_answer
from course_utils.projects.movies.stress import CONSTRAINTS
from course_utils.projects.project import PROJECTS
from course_utils.stress.suite import StressSuite

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("05")]
REQUESTS = ["a film", "", "something short for a rainy Sunday, please", "a western"]
# Every answer of the published run with its verdicts, kept by `make publish`.
RESULTS = cells.ROOT / "notebooks" / "results"
TRIALS = RESULTS / "trials"
TABLES = json.loads((RESULTS / "05.json").read_text())["tables"]  # by recipe


def cell_with(text):
    return next(code for code in cells.code_cells(LESSON) if text in code)


@pytest.fixture(scope="module")
def lesson():
    """The names that the cells of asking define, on the nano model."""
    project = PROJECTS["movie_recommender"]
    names = {"model": nano_model().eval(), "tokenizer": nano_tokenizer()}
    names |= {"suite": project.suite(), "Generated": Generated}
    exec(cell_with("def write("), names)
    exec(cell_with("def ask("), names)
    for cell in ("GREEDY = ", "DRAWN = "):
        [line] = [code for code in cells.code_cells(LESSON) if cell in code]
        settings = line[line.index(cell) :]
        exec(settings[: settings.index("}") + 1], names)
    return names


# A reader learns to ask in another way than the course asks in its other lessons.
def test_the_lesson_asks_as_the_package_does(lesson):
    model, tokenizer, suite = (lesson[it] for it in ("model", "tokenizer", "suite"))
    chats = [[{"role": "user", "content": text}] for text in REQUESTS]
    limits = {"max_new_tokens": suite.max_new_tokens, "batch_size": 2}
    lesson |= {"BATCH_SIZE": 2, "FIRST": 1}
    expected = generation.generate(model, tokenizer, REQUESTS, **limits)
    assert lesson["ask"](chats, **lesson["GREEDY"]) == expected
    drawn, limits = lesson["DRAWN"], limits | {"batch_size": len(REQUESTS)}
    sampling = Sampling(drawn["temperature"], drawn["top_p"], seed=5)
    expected = generation.generate(
        model, tokenizer, REQUESTS, sampling=sampling, **limits
    )
    torch.manual_seed(5)
    new = lesson["write"](chats, **drawn)
    texts = tokenizer.batch_decode(new, skip_special_tokens=True)
    assert [text.strip() for text in texts] == [given.text for given in expected]


def test_an_answer_that_the_model_ends_is_told_from_one_that_was_cut_off(lesson):
    ends = sorted(end_tokens(lesson["model"], lesson["tokenizer"]))
    words = lesson["tokenizer"]("one two")["input_ids"]
    rows = [[*words, ends[0]], words + words[:1]]
    written = {**lesson, "write": lambda chats, **decoding: torch.tensor(rows)}
    exec(cell_with("def ask("), written)
    ended, cut = written["ask"]([[], []])  # in one batch, in the order of the chats
    assert ended.stopped and not cut.stopped
    assert cut.text.startswith(ended.text) and ended.text


def test_examples_are_turns_and_come_before_the_request():
    names = {"prompts": PROJECTS["movie_recommender"].suite().prompts}
    project = PROJECTS["movie_recommender"]
    names |= {"project": project, "plan": project.recipe.plan_for("cpu")}
    exec(cell_with("ways = {"), names)
    for way, chats in names["ways"].items():
        assert len(chats) == len(names["prompts"])
        for prompt, chat in zip(names["prompts"], chats, strict=True):
            roles = [message["role"] for message in chat]
            assert roles == ["user", "assistant"] * (len(chat) // 2) + ["user"]
            assert len(chat) == (7 if way == "shown examples" else 1)
            assert chat[-1]["content"].endswith(prompt.request)


def wilson(k: int, n: int) -> tuple[float, float]:
    """By hand; see the lesson's section 3."""
    z2 = 1.959964**2
    centre, spread = k + z2 / 2, (z2 * (k * (n - k) / n + z2 / 4)) ** 0.5
    return max(0.0, (centre - spread) / (n + z2)), min(
        1.0, (centre + spread) / (n + z2)
    )


def exact_p(lost: int, gained: int) -> float:
    """Two-sided sign test by hand."""
    n, least = lost + gained, min(lost, gained)
    return min(1.0, 2 * sum(comb(n, i) for i in range(least + 1)) / 2**n)


def holm(p_values: list[float]) -> list[float]:
    """By hand: the k-th smallest times what is left, never falling."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    raised, highest = [0.0] * len(order), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        raised[index] = highest
    return raised


def published_rows(recipe: str = "movie_recommender") -> list[dict]:
    text = (TRIALS / recipe / "05_stress.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def verdicts_of(
    rows: list[dict], suite: StressSuite
) -> dict[tuple[str, str, str], bool | None]:
    """(way, check, prompt) -> judged anew; None where the check could not judge."""
    found = {}
    for row in rows:
        if row["seed"] is None:
            prompt = suite.prompt(row["prompt"])
            verdicts = suite.judge(prompt, Generated(row["answer"], row["stopped"]))
            for check in suite.checks:
                if row["group"] in check.groups:
                    key = row["model"], check.name, row["prompt"]
                    found[key] = verdicts.get(check.name)
    return found


each_table = pytest.mark.parametrize("recipe", TABLES)


@each_table
def test_the_published_trials_have_the_verdicts_that_the_checks_give_today(recipe):
    suite = PROJECTS[recipe].suite()
    for row in published_rows(recipe):
        prompt = suite.prompt(row["prompt"])
        assert prompt.request == row["request"]
        answer = Generated(row["answer"], row["stopped"])
        assert suite.judge(prompt, answer) == row["verdicts"], row


@each_table
def test_every_rate_of_the_published_table_follows_from_the_trials(recipe):
    suite = PROJECTS[recipe].suite()
    verdicts = verdicts_of(published_rows(recipe), suite)
    table = TABLES[recipe]
    assert len(table) == len(suite.checks) - len(suite.parts)
    for row in table:
        check = row["measure"].partition(":")[0]
        for way in ("base", "told the form", "shown examples", "tuned"):
            of = [v for (w, c, _), v in verdicts.items() if (w, c) == (way, check)]
            counted = Counter(of)
            k, n = counted[True], counted[True] + counted[False]
            assert row["n"] == len(of)
            told = f"not judged: {counted[None]}" if counted[None] else ""
            if n:
                low, high = wilson(k, n)
                rate = f"{k} of {n} [{low:.0%}–{high:.0%}]"
                assert row[way] == ", ".join(filter(None, [rate, told]))
            else:
                assert row[way] == f"nothing to judge, {told}"


@each_table
def test_every_p_value_of_the_published_table_follows_from_the_trials(recipe):
    suite = PROJECTS[recipe].suite()
    verdicts = verdicts_of(published_rows(recipe), suite)
    table = TABLES[recipe]
    names = [row["measure"].partition(":")[0] for row in table]
    tests = {}
    for way in ("base", "shown examples"):
        for check in names:
            asked = [p for (w, c, p) in verdicts if (w, c) == (way, check)]
            pairs = [
                (verdicts[way, check, p], verdicts["tuned", check, p]) for p in asked
            ]
            judged = Counter(pair for pair in pairs if None not in pair)
            if judged:
                tests[way, check] = exact_p(judged[True, False], judged[False, True])
    raised = dict(zip(tests, holm(list(tests.values())), strict=True))
    for row, check in zip(table, names, strict=True):
        for way in ("base", "shown examples"):
            if (way, check) in raised:
                assert f"{way} {raised[way, check]:.2g}" in row["note"], row


# Parts that say something else than the verdict which they are the parts of.
@each_table
def test_a_request_is_followed_where_every_part_of_it_is_met(recipe):
    suite = PROJECTS[recipe].suite()
    check = suite.check(suite.roles.follows_request)
    for row in published_rows(recipe):
        if row["group"] in check.groups:
            prompt = suite.prompt(row["prompt"])
            answer = suite.in_context(prompt, row["answer"], row["stopped"])
            parts = suite.request_parts(answer).values()
            assert row["verdicts"][check.name] == (False not in parts), row


def printed() -> str:
    """All that the published lesson prints, one cell after the other."""
    texts = []
    for cell in cells.published(LESSON).cells:
        for output in cell.get("outputs", []):
            texts.append(output.get("text") or output["data"].get("text/plain", ""))
    return "\n".join(texts)


def greedy_answers(way: str) -> list[tuple[Conversation, Generated]]:
    suite = PROJECTS["movie_recommender"].suite()
    return [
        (suite.prompt(row["prompt"]), Generated(row["answer"], row["stopped"]))
        for row in published_rows()
        if row["model"] == way and row["seed"] is None
    ]


def test_the_requests_met_and_those_met_by_luck_follow_from_the_trials():
    suite = PROJECTS["movie_recommender"].suite()
    check = suite.check(suite.roles.follows_request)
    pairs = [p for p in greedy_answers("tuned") if p[0].notes["group"] in check.groups]

    def meets(prompt, given):
        return check.passes(suite.in_context(prompt, given.text, given.stopped))

    met = sum(meets(prompt, given) for prompt, given in pairs)
    n = len(pairs)
    by_luck = sum(meets(a, given) for a, _ in pairs for _, given in pairs) / n
    told = re.search(rf"{met} of {n} requests met; .* shuffled (\S+) on", printed())
    assert told and float(told[1]) == pytest.approx(by_luck, abs=0.1)


def test_the_split_by_constraint_follows_from_the_trials():
    met, asked = Counter(), Counter()
    for prompt, given in greedy_answers("tuned"):
        wish, stated = prompt.notes["constraints"], parse_answer(given.text)
        if prompt.notes["expected"] and wish:  # it can be met
            broken = broken_constraints(stated, wish) if stated else wish
            asked.update([*wish])
            met.update(name for name in wish if name not in broken)
    assert sum(asked.values()) > 30
    for name, n in asked.items():
        assert re.search(rf"{CONSTRAINTS[name]} +{met[name]} of +{n} ", printed()), name


def test_what_the_answers_have_in_common_follows_from_the_trials():
    answers = greedy_answers("tuned")
    stated = [parse_answer(given.text) for _, given in answers]
    titles = Counter(it.title for it in stated if it)
    told = f"{len(titles)} different ones in {titles.total()} answers in the form"
    assert told in printed()
    runtimes = Counter(it.runtime_minutes for it in stated if it)
    most = max(runtimes.values())
    assert re.search(rf"how often stated: \(\d+, {most}\)", printed())


def test_the_interval_over_prompts_follows_from_the_trials():
    suite = PROJECTS["movie_recommender"].suite()
    check = suite.check(suite.roles.follows_request)
    passed = {}
    for row in published_rows():
        drawn = row["model"] == "tuned" and row["seed"] is not None
        if drawn and row["group"] in check.groups:
            passed.setdefault(row["prompt"], []).append(row["verdicts"][check.name])
    shares = [statistics.mean(verdicts) for verdicts in passed.values()]
    mean = statistics.mean(shares)
    half = 1.96 * statistics.pstdev(shares) / len(shares) ** 0.5
    found = re.search(
        rf"{len(shares)} prompts, 3 draws each +(\S+)%, (\S+)% to (\S+)%", printed()
    )
    told = [float(share) / 100 for share in found.groups()]
    assert told == pytest.approx([mean, mean - half, mean + half], abs=0.02)

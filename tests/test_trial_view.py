import dataclasses

from course_utils.data.conversation import Conversation
from course_utils.model.generation import Generated
from course_utils.places import PROJECT_ROOT
from course_utils.projects.movies.films import load_films, write_answer
from course_utils.projects.movies.stress import movie_suite
from course_utils.stress.trials import Trial, failures, judge_all

FILMS = load_films()
SUITE = movie_suite()
ANSWERS = [Generated(f"<i>answer</i> to {row.id}", True) for row in SUITE.prompts]
TRIALS = judge_all(SUITE, ANSWERS, model="tuned")


def test_every_failure_is_shown_in_full_and_no_success_is():
    shown = failures(TRIALS)
    failed = [trial for trial in TRIALS if trial.failed]
    assert 0 < len(failed) < len(TRIALS)
    page, ids = shown._repr_html_(), repr(shown).replace("\n", " ").split()
    for trial in TRIALS:
        answer = trial.answer.text.split("> ")[-1].split("</i>")[-1]
        assert (answer in page) == bool(trial.failed), trial.prompt.id
    named = [word for word in ids if not word.endswith(":")]
    assert sorted(named) == sorted(trial.prompt.id for trial in failed)


def test_failures_are_folded_by_group_with_their_number():
    html = failures(TRIALS)._repr_html_()
    assert html.count("<details>") == len(SUITE.groups) - 2  # off topic, empty: passed
    assert "several constraints: 6" in html and "<i>answer" not in html


def test_markup_in_a_group_or_an_id_is_shown_and_not_obeyed():
    prompt = Conversation(
        "<b>id", ({"role": "user", "content": "<b>"},), {"group": "<b>_x"}
    )
    trial = Trial(prompt, "tuned", None, Generated("<b>", True), {"<b>check": False})
    html = failures([trial])._repr_html_()
    assert html.count("&lt;b&gt;") == 5 and html.count("<b>") == 1


def test_no_table_of_a_notebook_obeys_the_markup_in_its_texts():
    for path in (PROJECT_ROOT / "notebooks" / "source").glob("*.py"):
        code = path.read_text(encoding="utf-8")
        assert code.count(".style.") == code.count('.style.format(escape="html")'), path


def test_an_answer_that_fails_nothing_is_left_out():
    text = write_answer(FILMS["High Noon (1952)"], "One man, one clock.")
    western = dataclasses.replace(SUITE, prompts=SUITE.prompts[2:3])
    good = judge_all(western, [Generated(text, True)], model="tuned")
    assert failures(good).trials == () and repr(failures(good)) == ""

import pytest

from course_utils.data.conversation import Conversation
from course_utils.data.datasets import load_splits
from course_utils.model.generation import Generated
from course_utils.projects.project import PROJECTS, chosen_project
from course_utils.recipes.book import RECIPES

EVERY = pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)


def splits(project):
    return load_splits(project.recipe.plan_for("cpu"))


def test_every_recipe_has_its_project():
    assert list(PROJECTS) == list(RECIPES)
    assert chosen_project().recipe.name == "movie_recommender"


@EVERY
def test_every_written_answer_is_in_the_form_and_each_fault_is_not(project):
    training, validation = splits(project)
    assert all(project.follows_form(row.answer) for row in [*training, *validation])
    for fault, text in project.broken_variants(training[0].answer).items():
        assert not project.follows_form(text), fault


@EVERY
def test_no_check_raises_a_false_alarm_on_a_written_answer(project):
    _, validation = splits(project)
    for row in validation:
        for name, passes in project.answer_checks.items():
            assert passes(row, row.answer), (row.id, name)


@EVERY
def test_the_checks_of_an_answer_can_fail(project):
    _, validation = splits(project)
    for name, passes in project.answer_checks.items():
        assert not passes(validation[0], "I am sorry, I cannot do that. " * 20), name


def test_a_row_whose_own_answer_is_no_code_is_named():
    said = (("user", "?"), ("assistant", "No"))
    messages = tuple({"role": role, "content": text} for role, text in said)
    passes = PROJECTS["inframind"].answer_checks["no invented\nname"]
    with pytest.raises(ValueError, match="x: the written answer 'No' is no code"):
        passes(Conversation("x", messages), 'kind: "Pod"')


@EVERY
def test_training_and_validation_share_no_subject(project):
    sets = [{project.subject(row.answer) for row in rows} for rows in splits(project)]
    assert None not in sets[0] | sets[1]
    # one-word answers, such as labels, may come twice
    assert not {text for text in sets[0] & sets[1] if len(text.split()) > 3}


@EVERY
def test_no_stress_prompt_was_trained_on(project):
    asked = {" ".join(p.request.lower().split()) for p in project.suite().prompts}
    trained = {" ".join(r.request.lower().split()) for s in splits(project) for r in s}
    assert not asked & trained - {""}


@EVERY
def test_a_suite_is_whole(project):
    suite = project.suite()
    names = [check.name for check in suite.checks]
    assert len(set(names)) == len(names) and len(suite.prompts) >= 24
    groups = {prompt.notes["group"] for prompt in suite.prompts}
    assert groups == set(suite.groups) and suite.trap in groups
    assert all(set(check.groups) <= groups for check in suite.checks)
    assert {*vars(suite.roles).values(), *suite.parts} <= set(names)
    assert all(suite.prompt(identity) for identity in suite.shown.values())
    restrained = set(suite.check(suite.roles.stays_out).groups)
    assert suite.prompt(suite.shown["unasked"]).notes["group"] in restrained
    assert not restrained & set(suite.check(suite.roles.follows_request).groups)


@EVERY
def test_the_good_answer_passes_and_every_fault_is_seen(project):
    suite = project.suite()
    sample = suite.demonstration
    prompt = suite.prompt(sample.prompt_id)
    for text in (sample.good, sample.nonsense):
        assert all(suite.judge(prompt, Generated(text, True)).values())
    for fault, (text, stopped) in sample.broken_variants.items():
        verdicts = suite.judge(prompt, Generated(text, stopped))
        assert not all(verdicts.values()), fault


@EVERY
def test_silence_and_small_talk_meet_no_request(project):
    suite = project.suite()
    for prompt in suite.prompts:
        for text in ("", "Certainly! I would be happy to help you with that."):
            verdicts = suite.judge(prompt, Generated(text, True))
            assert not verdicts.get(suite.roles.follows_request), prompt.id
            assert not verdicts.get(suite.roles.is_correct), prompt.id


@EVERY
def test_a_name_that_is_not_there_is_named(project):
    with pytest.raises(KeyError, match="No check 'rhymes'; there are"):
        project.suite().check("rhymes")
    with pytest.raises(KeyError, match="No stress prompt 'x'"):
        project.suite().prompt("x")

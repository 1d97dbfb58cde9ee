import pytest
import torch

from course_utils.arc.evaluation import compare_evaluations, evaluate
from course_utils.arc.task import local_benchmark
from course_utils.data.questions import EXAMPLES
from course_utils.model import loading as models


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    return local_benchmark(EXAMPLES, tmp_path_factory.mktemp("task"))


def scores(run):
    return torch.tensor([answer.log_likelihoods for answer in run.answers])


# What the notebook calls base is the tuned model with its adapter switched off.
def test_with_the_adapter_off_the_base_model_answers_and_with_it_on_another(
    plan, profile, benchmark
):
    base, tokenizer = models.load_base(plan, profile)
    untouched = evaluate(base, tokenizer, benchmark, "untouched")
    model = models.attach_lora(base, plan)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.5)
    with model.disable_adapter():
        off = evaluate(model, tokenizer, benchmark, "adapter off")
    on = evaluate(model, tokenizer, benchmark, "adapter on")
    torch.testing.assert_close(scores(off), scores(untouched))
    assert (scores(on) - scores(off)).abs().max() > 0.1
    assert model.training  # as attach_lora left it
    same = compare_evaluations(untouched, off, "acc")
    assert same.discordant == 0 and same.n == 12
    assert (
        compare_evaluations(off, on, "acc").n == 12
    )  # the settings are those of one base

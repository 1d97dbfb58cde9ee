"""What lesson 09's claims count, by hand; its study, on a file of four runs."""

import json

import pytest

from course_utils import CourseError
from course_utils.evidence.formulas import (
    bits_of_rewards,
    entropy_of_pass_or_fail,
    full_against_lora,
    peft_methods_compared,
)


@pytest.mark.parametrize(("rate", "bits"), [(0.5, 1), (0.25, 0.8113), (0, 0), (1, 0)])
def test_a_verdict_carries_a_bit_at_most_and_nothing_when_it_is_certain(rate, bits):
    assert entropy_of_pass_or_fail(rate) == pytest.approx(bits, abs=1e-4)


def test_a_small_run_teaches_fewer_bits_than_rank_one_has_numbers():
    found = bits_of_rewards()
    tenth = 0.1 * 3.321928 + 0.9 * 0.152003  # log2 of 10, and of 10/9
    assert found["bits_of_run"] == pytest.approx(80_000 * tenth, rel=1e-5)
    # inputs and outputs of q, k, v, o, gate, up and down, in each of 32 blocks
    sides = 2 * 8192 + 2 * 5120 + 3 * (4096 + 14336)
    assert found["rank_1_parameters"] == 32 * sides


def run(method, seed, nats, **more):
    rate = 3e-5 if method == "full" else 1e-3
    usual = {"general_before": 3.0, "general_after": 3.5, "saved_activation_mib": 100}
    usual |= {"exact": 10, "exact_of": 80, "rate": rate}
    return {"method": method, "seed": seed, "test_nats": nats, **usual, **more}


def write(path, runs):
    seconds = {"LoRA": 0.5, "full": 0.75}
    path.write_text(json.dumps({"runs": runs, "seconds_a_row": seconds}))
    return path


def test_full_tuning_and_lora_are_paired_by_seed(tmp_path):
    runs = [
        run("full", 2, 0.9, general_after=4.0),
        run("LoRA", 1, 0.5, exact=20),
        run("full", 1, 0.6),
        run("LoRA", 2, 0.7, exact=30),
    ]
    found = full_against_lora(write(tmp_path / "runs.json", runs))
    assert (found["seeds"], found["requests"]) == (2, 80)
    assert found["least_apart"] == pytest.approx(0.1)  # seed 1: 0.6 - 0.5
    assert found["most_apart"] == pytest.approx(0.2)  # seed 2: 0.9 - 0.7
    assert found["nats_apart"] == pytest.approx(0.15)
    assert found["step_ratio"] == pytest.approx(2 / 3)
    assert (found["lora_exact"], found["full_exact"]) == (25, 10)
    assert found["lora_forgotten"] == pytest.approx(0.5)
    assert found["full_forgotten"] == pytest.approx(0.75)
    assert found["rate_ratio"] == pytest.approx(1e-3 / 3e-5)


def test_a_variant_is_held_against_the_spread_of_seeds(tmp_path):
    others = ("PiSSA", "LoRA+", "IA3", "prefix tuning", "P-tuning", "rank 128")
    nats = dict.fromkeys(others, (0.6, 0.6))  # 0.02 above, 0.02 below
    nats |= {"LoRA": (0.58, 0.62), "DoRA": (0.60, 0.64), "QLoRA": (0.5, 0.5)}
    nats |= {
        "prompt tuning": (1.48, 1.52),
        "AdaLoRA": (0.48, 0.52),
        "rank 1": (0.7, 0.8),
    }
    runs = [run(k, seed, pair[seed - 1]) for k, pair in nats.items() for seed in (1, 2)]
    found = peft_methods_compared(write(tmp_path / "runs.json", runs))
    assert found["variants_apart"] == pytest.approx(0.1)  # QLoRA: 0.5 against 0.6
    assert found["seeds_apart"] == pytest.approx(0.04)
    assert found["rank_1_nats"] == 0.75
    # the same difference with both seeds: DoRA and prompt tuning, and AdaLoRA below
    assert (found["seen_behind"], found["seen_better"]) == (2, 1)
    assert found["empty_exact"] == 11
    assert found["prompt_exact"] == 10


def test_a_method_that_was_not_measured_is_named_with_what_is_there(tmp_path):
    path = write(tmp_path / "runs.json", [run("LoRA", 1, 0.5)])
    with pytest.raises(CourseError, match=r"no run of 'full'.*found runs of: LoRA"):
        full_against_lora(path)

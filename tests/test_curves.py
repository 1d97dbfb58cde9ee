import json
import math

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from course_utils.curves.diagnosis import FEWEST_POINTS, WAY_OUT, diagnose
from course_utils.curves.forgetting import Change
from course_utils.curves.losses import (
    LossCurves,
    bits_per_byte,
    guess_level,
    perplexity,
    smooth,
    span_for,
)
from course_utils.curves.plots import (
    band_plot,
    loss_panels,
    loss_plot,
    run_plot,
    trade_off,
)
from course_utils.curves.practice import made_logs, unlabelled_logs
from course_utils.curves.reference import (
    load_reference,
    other_seeds,
    place_in_band,
    points_in_band,
)
from course_utils.machine.profile import Profile
from course_utils.places import BrokenFile


def history(training, validation=None, **columns):
    """A trainer's log: one row an update, then the validations by step."""
    rows = [{"step": i + 1, "loss": float(x)} for i, x in enumerate(training)]
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    steps = (validation or {}).items()
    return rows + [{"step": step, "eval_loss": value} for step, value in steps]


def falling(updates=80, start=4.0, end=2.0, tau=12.0, jump=0.1, seed=0):
    """A made training loss: an exponential fall with jumps."""
    noise = np.random.default_rng(seed).normal(0, jump, updates)
    steps = np.arange(updates)
    return end + (start - end) * np.exp(-steps / tau) + noise


ON_CPU, OTHER_MODEL = Profile("cpu", "cpu"), Profile("cpu", "cpu", "some/model")
SETTLED = {0: 4.0, 20: 2.3, 40: 2.12, 60: 2.09, 80: 2.08}


# units


def test_a_loss_of_ln_two_is_a_choice_between_two_tokens_and_one_bit():
    assert perplexity(math.log(2)) == pytest.approx(2)
    assert bits_per_byte(math.log(2), tokens=3, utf8_bytes=3) == pytest.approx(1)


def test_the_same_text_has_the_same_bits_per_byte_in_any_tokenizer():
    nats = 30.0
    coarse = bits_per_byte(nats / 10, tokens=10, utf8_bytes=40)
    fine = bits_per_byte(nats / 40, tokens=40, utf8_bytes=40)
    assert coarse == pytest.approx(fine) == pytest.approx(30 / 40 / math.log(2))
    assert perplexity(nats / 10) > 9 * perplexity(nats / 40)


def test_a_text_without_bytes_is_refused():
    with pytest.raises(ValueError, match="0 bytes"):
        bits_per_byte(1.0, 1, 0)


def test_guessing_among_all_tokens_of_smollm2_costs_ten_point_eight_nats():
    assert guess_level(49_152) == pytest.approx(10.8027, abs=1e-4)


# smoothing


def test_smoothing_starts_at_the_data_and_weighs_the_newest_most():
    # span 3: each weight is half of the one after it
    assert smooth([1.0, 4.0], span=3) == pytest.approx([1.0, (0.5 * 1 + 4) / 1.5])


def test_a_span_of_one_leaves_the_line_as_it_is():
    assert smooth([3.0, 1.0, 2.0], span=1) == pytest.approx([3.0, 1.0, 2.0])


def test_a_short_run_is_smoothed_less_than_a_long_one():
    line = np.arange(80.0)
    assert [span_for(n) for n in (7, 12, 31, 32, 80, 800)] == [1, 1, 3, 4, 9, 9]
    assert smooth(line) == pytest.approx(smooth(line, span=9))
    assert smooth(line[:32]) == pytest.approx(smooth(line[:32], span=4))
    assert smooth(line[:7]) == pytest.approx(line[:7])


# reading a log


def test_a_log_is_read_in_any_order_with_gaps_and_the_final_summary():
    rows = [*history([3.0, 2.0], {2: 2.5})[::-1], {"step": 2, "train_loss": 2.5}]
    curves = LossCurves.from_history(rows)
    assert curves.training.to_dict() == {1: 3.0, 2: 2.0}
    assert curves.validation.to_dict() == {2: 2.5}
    assert curves.grad_norm.empty and curves.learning_rate.empty


def test_a_step_logged_twice_after_a_resume_counts_as_logged_last():
    rows = [{"step": 1, "loss": 3.0}, {"step": 1, "loss": 2.9}]
    assert LossCurves.from_history(rows).training.to_dict() == {1: 2.9}


def test_a_history_without_losses_names_the_keys_that_it_has():
    with pytest.raises(ValueError, match=r"train_runtime.*logging_strategy"):
        LossCurves.from_history([{"step": 1, "train_runtime": 2.0}])
    with pytest.raises(ValueError, match="0 rows"):
        LossCurves.from_history([])


def test_the_best_validation_is_its_lowest_finite_value():
    curves = LossCurves.from_history(history([1.0], {0: math.nan, 4: 2.0, 8: 2.5}))
    assert curves.best() == (4, 2.0)
    with pytest.raises(ValueError, match="eval_dataset"):
        LossCurves.from_history(history([1.0])).best()


# diagnosis on made curves


def verdict(*arguments, **columns):
    return diagnose(history(*arguments, **columns)).verdict


@pytest.mark.parametrize("seed", range(5))
def test_a_settled_run_is_healthy_whatever_its_jumps(seed):
    assert verdict(falling(seed=seed), SETTLED) == "healthy"


def test_a_validation_loss_that_turns_while_training_falls_is_overfit():
    turning = {0: 4.0, 20: 2.6, 40: 2.5, 60: 2.8, 80: 3.2}
    found = diagnose(history(falling(end=0.2, tau=25), turning))
    assert found.verdict == "overfit"
    assert "best at update 40 (2.50) and ended at 3.20" in str(found)


def test_overfitting_from_the_first_update_on_is_seen_too():
    assert verdict(falling(end=0.1), {0: 2.0, 40: 2.4, 80: 2.9}) == "overfit"


def test_a_validation_loss_that_wavers_is_not_called_overfit():
    assert verdict(falling(), {**SETTLED, 80: 2.11}) == "healthy"


def test_a_loss_that_jumps_up_and_stays_there_has_diverged():
    exploded = np.concatenate([falling(updates=10), np.full(30, 7.0)])
    assert verdict(exploded, {0: 4.0, 20: 7.2, 40: 7.0}) == "diverged"


def test_a_loss_that_loses_most_of_its_gain_has_diverged():
    back = np.concatenate([falling(updates=40), np.full(40, 3.5)])
    assert verdict(back) == "diverged"


def test_a_loss_that_ends_far_above_its_start_has_diverged_however_it_jumps():
    wild = [3.9, 3.9, 3.6, 8.1, 14.2, 28.7, 39.2, 64.7, 48.6, 34.0, 16.9, 14.6]
    assert verdict(wild) == verdict(wild[1::2]) == "diverged"


def test_one_outlier_at_the_end_is_no_divergence():
    lonely = falling()
    lonely[-1] += 0.8
    assert verdict(lonely, SETTLED) == "healthy"


def test_a_loss_that_stays_where_it_was_is_flat():
    level = np.random.default_rng(0).normal(4.0, 0.1, 60)
    assert verdict(level, {0: 4.0, 30: 4.0, 60: 3.99}) == "flat"
    assert verdict(np.full(40, 2.0)) == "flat"


def test_a_small_fall_that_batches_hide_is_seen_on_held_out_rows():
    wild = np.random.default_rng(0).normal(3.9, 0.2, 16)
    assert verdict(wild) == "too short"
    assert verdict(wild, {0: 3.78, 8: 3.67, 16: 3.58}) == "still falling"


def test_a_loss_that_is_on_its_way_is_still_falling():
    line = {0: 4.0, 20: 3.5, 40: 3.0, 60: 2.5, 80: 2.0}
    found = diagnose(history(np.linspace(4, 2, 80), line))
    assert found.verdict == "still falling"
    assert "fell by 2.00 in all and by 0.50" in str(found)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_a_loss_that_is_no_number_wins_over_everything_else(value):
    losses = falling()
    losses[50:] = value
    found = diagnose(history(losses, SETTLED))
    assert found.verdict == "not a number"
    assert "update 51" in str(found)
    assert ("writes NaN as 0" in str(found)) == (value == 0)


def test_a_validation_loss_that_is_no_number_is_found_too():
    found = diagnose(history(falling(), {**SETTLED, 80: math.nan}))
    assert "validation loss at update 80" in str(found)


def test_a_skipped_update_of_fp16_is_a_caveat_and_no_verdict():
    norms = np.ones(80)
    norms[:2] = math.inf
    found = diagnose(history(falling(), SETTLED, grad_norm=norms))
    assert found.verdict == "healthy"
    assert "2 updates had a gradient that was not finite" in str(found)


def test_without_validation_the_diagnosis_says_what_it_cannot_see():
    found = diagnose(history(falling(end=0.1)))
    assert found.verdict in ("healthy", "still falling")
    assert "overfitting cannot be seen" in str(found)


@pytest.mark.parametrize("points", range(1, FEWEST_POINTS))
def test_a_few_points_are_no_trend(points):
    assert verdict([4.0, 3.0, 2.0][:points]) == "too short"


# Rate x 0.1 of lesson 04's sweep, which was once called diverged: its last batch is
# no better than its first, and with twelve updates nothing is smoothed.
def test_the_gentlest_run_has_not_diverged():
    found = diagnose(unlabelled_logs()["B"])
    assert found.verdict == "still falling"
    assert "validation loss fell by" in str(found)


def test_a_short_log_without_validation_is_not_judged_by_single_batches():
    logged = [row for row in unlabelled_logs()["B"] if "eval_loss" not in row]
    found = diagnose(logged)
    assert found.verdict == "too short"
    assert "12 training losses are too few" in str(found)


def test_a_loss_is_never_called_diverged_while_validation_falls():
    losing = np.concatenate([falling(updates=40), np.full(40, 3.5)])
    assert verdict(losing, {0: 4.0, 40: 3.8, 80: 3.6}) == "still falling"
    assert verdict(losing, {0: 4.0, 40: 3.6, 80: 3.8}) == "diverged"


def test_a_nan_that_the_window_of_the_log_hides_is_seen_in_the_gradient():
    hidden = [
        {"step": step, "loss": loss, "grad_norm": norm}
        for step, loss, norm in ((5, 3.0, 0.9), (10, 2.5, 0.8), (15, 2.2, math.nan))
    ]
    found = diagnose(hidden)
    assert found.verdict == "not a number"
    assert "gradient norm at update 15" in str(found)


def test_the_logs_to_practise_on_have_the_diseases_that_the_lesson_names():
    named = {name: diagnose(log).verdict for name, log in made_logs().items()}
    assert list(named.values()) == [
        *("healthy", "still falling", "flat", "overfit", "diverged", "not a number")
    ]
    real = {name: diagnose(log).verdict for name, log in unlabelled_logs().items()}
    assert real == {"A": "overfit", "B": "still falling", "C": "not a number"}
    losses = [row["loss"] for row in unlabelled_logs()["C"] if "loss" in row]
    assert all(np.isfinite(losses)) and min(losses) > 0  # the log itself hides it


def test_a_log_of_every_tenth_update_gives_the_same_verdict():
    every = [row for row in history(falling(), SETTLED) if row["step"] % 10 == 0]
    assert diagnose(every).verdict == "healthy"


def test_a_log_with_validation_only_is_too_short_to_judge():
    assert diagnose([{"step": 0, "eval_loss": 2.0}]).verdict == "too short"


def test_every_verdict_has_a_way_out_and_is_spoken_first():
    found = diagnose(history(falling(), SETTLED))
    assert str(found).startswith("HEALTHY.")
    assert found.way_out == WAY_OUT["healthy"] and found.way_out in str(found)


# plots


def test_a_band_is_drawn_as_wide_as_it_is(tmp_path):
    reference = made_reference(tmp_path)
    band = reference.validation_band()
    curves = LossCurves.from_history(history([3.0, 2.0], {0: 4.0, 2: 2.0}))
    panels = band_plot(curves, reference.training_band(), band, title="made")
    corners = panels[1].collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(-band.half_width[1])
    assert list(panels[1].lines[-1].get_ydata()) == pytest.approx([0.0, 0.0])


def test_without_seeds_the_run_is_drawn_alone():
    none = other_seeds("poems", 1, ON_CPU)
    curves = LossCurves.from_history(history([3.0, 2.0], {0: 4.0, 2: 2.0}))
    bands = none.training_band(), none.validation_band()
    [panel] = band_plot(curves, *bands, title=place_in_band(curves, bands[1]))
    assert panel.get_title() == "No seeds of this model and recipe to compare with"


# A column and a curve were once called "smoothed" that were single batches.
def test_a_short_run_is_not_drawn_as_smoothed():
    short, long = (LossCurves.from_history(history(falling(n))) for n in (12, 80))
    labels = [
        [line.get_label() for line in loss_plot(curves, title="made").lines]
        for curves in (short, long)
    ]
    assert labels == [["training, raw"], ["training, raw", "training, smoothed"]]


def test_logs_are_drawn_side_by_side_from_zero_up():
    panels = loss_panels(made_logs(), title="made")
    assert panels.shape == (2, 3) and panels[1, 2].get_title() == "breaks"
    assert all(axes.get_ylim()[0] == 0 for axes in panels.flat)


def test_gain_points_to_the_right_and_forgetting_upwards():
    task = Change(before=1.7, after=0.9, low=-0.9, high=-0.7, passages=8)
    general = Change(before=1.1, after=1.3, low=0.1, high=0.3, passages=8)
    points = {"run": (task, general)}
    axes = trade_off(points, title="made", y_label="lost (bits per byte)")
    [line] = [drawn for drawn in axes.lines if drawn.get_marker() == "o"]
    assert (line.get_xdata()[0], line.get_ydata()[0]) == pytest.approx((0.8, 0.2))


def test_the_glance_shows_loss_gradient_and_rate_over_one_axis():
    rows = history([3.0, 2.0], {2: 2.5}, grad_norm=[0.5, 2], learning_rate=[0, 1])
    panels = run_plot(LossCurves.from_history(rows), title="made")
    assert list(panels[1].lines[0].get_ydata()) == [0.5, 2.0]
    assert list(panels[2].lines[0].get_ydata()) == [0.0, 1.0]


# reference bands


def made_reference(tmp_path, **changes):
    found = {
        "recipe": "made",
        "profile": "cpu",
        "seeds": [1, 2, 3],
        "steps": [1, 2],
        "loss": [[3.0, 2.0], [3.0, 2.2], [3.0, 2.4]],
        "eval_steps": [0, 2],
        "eval_loss": [[4.0, 1.0], [4.0, 2.0], [4.0, 3.0]],
        **changes,
    }
    path = tmp_path / "made-cpu.json"
    path.write_text(json.dumps(found))
    return load_reference("made", path)


def test_the_band_holds_a_further_seed_by_students_t(tmp_path):
    band = made_reference(tmp_path).validation_band()
    assert band.mean == pytest.approx([4.0, 2.0])
    assert band.spread == pytest.approx([0.0, 1.0])
    # t of 2 degrees of freedom is 4.3027; a new seed and the mean both scatter
    assert band.half_width == pytest.approx([0, 4.3027 * math.sqrt(4 / 3)], rel=1e-4)


def test_a_curve_is_told_where_it_leaves_the_band(tmp_path):
    band = made_reference(tmp_path).validation_band()  # half width 4.968 at update 2
    inside = LossCurves.from_history(history([3.0], {0: 4.0, 2: 6.9}))
    outside = LossCurves.from_history(history([3.0], {0: 4.0, 2: 7.0}))
    elsewhere = LossCurves.from_history(history([3.0], {1: 4.0}))
    assert band.excess(inside.validation).to_dict() == pytest.approx(
        {2: -0.0684}, abs=1e-3
    )
    assert band.excess(outside.validation)[2] == pytest.approx(0.0317, abs=1e-3)
    assert place_in_band(inside, band) == "1 of 1 points inside the band of 3 seeds"
    told = "0 of 1 points inside the band of 3 seeds; outside: update 2"
    assert place_in_band(outside, band) == told
    assert "nothing to compare" in place_in_band(elsewhere, band)


# Held against the whole width, a point that leaves the band by a hair is outside.
def test_no_tolerance_is_hidden_in_the_band_and_update_0_does_not_count(tmp_path):
    same = made_reference(tmp_path, eval_loss=[[4.0, 2.0]] * 3).validation_band()
    rounded = LossCurves.from_history(history([3.0], {0: 4.00004, 2: 2.0001}))
    assert same.excess(rounded.validation).to_dict() == pytest.approx({2: 1e-4})


def test_the_courses_own_run_leaves_the_band_at_one_of_four_points():
    reference = load_reference("movie_recommender")
    own = reference.eval_loss.loc[3407]
    beyond = reference.without(3407).validation_band().excess(own)
    assert beyond.index[beyond > 0].tolist() == [60]
    assert beyond[60] == pytest.approx(0.0004, abs=1e-4)


def test_the_points_are_told_with_the_chance_that_a_normal_run_is_outside():
    reference = load_reference("movie_recommender")
    band = reference.without(3407).validation_band()
    log = history([3.0], reference.eval_loss.loc[3407].to_dict())
    told = points_in_band(LossCurves.from_history(log), band).splitlines()
    assert told[2] == "update 60: 0.0004 nats outside"
    assert told[4].startswith(
        "A normal run is outside at one or more of 4 points in 19%"
    )
    empty = other_seeds("poems", 1, ON_CPU).validation_band()
    assert "No seeds" in points_in_band(LossCurves.from_history(log), empty)


def test_a_nan_never_lies_in_a_band(tmp_path):
    band = made_reference(tmp_path).validation_band()
    broken = LossCurves.from_history(history([3.0], {2: math.nan}))
    assert band.excess(broken.validation)[2] == math.inf


def test_a_seed_is_left_out_and_a_spread_needs_two(tmp_path):
    reference = made_reference(tmp_path).without(3)
    assert reference.seeds == [1, 2]
    assert reference.validation_band().mean == pytest.approx([4.0, 1.5])
    with pytest.raises(ValueError, match=r"course\.py reference"):
        reference.without(2).training_band()


def test_a_reference_that_is_missing_or_edited_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"course\.py reference"):
        load_reference("nothing", tmp_path / "nothing-cpu.json")
    lines = [[3.0, 2.0], [3.0, 2.2]]
    for change in (
        {"seeds": [1, 2]},
        {"loss": [*lines, [3.0]]},
        {"eval_loss": lines},
        {"steps": None},
        {"steps": [1, 2, 3]},
        {"loss": [*lines, "ab"]},
    ):
        with pytest.raises(BrokenFile, match=r"made-cpu\.json .*edited"):
            made_reference(tmp_path, **change)
    whole = (tmp_path / "made-cpu.json").read_text()
    (tmp_path / "made-cpu.json").write_text(whole[:-20])
    with pytest.raises(BrokenFile, match="stopped while it wrote"):
        load_reference("made", tmp_path / "made-cpu.json")


def test_the_shipped_reference_belongs_to_the_recipe_as_it_stands():
    from course_utils.recipes.book import MOVIE_RECOMMENDER

    plan = MOVIE_RECOMMENDER.plan_for("cpu")
    reference = load_reference(MOVIE_RECOMMENDER.name)
    assert len(set(reference.seeds)) >= 4 and plan.seed in reference.seeds
    assert list(reference.loss) == list(range(1, plan.max_steps + 1))
    for runs in (reference.loss, reference.eval_loss):
        assert (np.isfinite(runs) & (runs > 0)).all(axis=None)
    for seed, losses in reference.loss.iterrows():
        log = history(losses, reference.eval_loss.loc[seed].to_dict())
        assert diagnose(log).verdict == "healthy", seed


def test_without_seeds_of_its_own_model_a_run_has_an_empty_band_that_says_so(tmp_path):
    missing = other_seeds("poems", 1, ON_CPU, tmp_path / "poems-cpu.json")
    assert missing.seeds == []
    for profile in (Profile("t4", "cuda"), Profile("nano", "cpu"), OTHER_MODEL):
        assert other_seeds("movie_recommender", 3407, profile).seeds == []
    assert len(other_seeds("movie_recommender", 3407, ON_CPU).seeds) == 4
    curves = LossCurves.from_history(history([3.0], {1: 4.0}))
    assert "No seeds" in place_in_band(curves, missing.validation_band())
    assert math.isnan(missing.validation_band().last_spread)


def test_too_few_other_seeds_are_none(tmp_path):
    path = tmp_path / "poems-cpu.json"
    table = {"recipe": "poems", "profile": "cpu", "seeds": [1, 2], "steps": [1]}
    table |= {"loss": [[2.0], [3.0]], "eval_steps": [1], "eval_loss": [[2.0], [3.0]]}
    path.write_text(json.dumps(table))
    assert other_seeds("poems", 3, ON_CPU, path).seeds == [1, 2]
    assert other_seeds("poems", 2, ON_CPU, path).seeds == []

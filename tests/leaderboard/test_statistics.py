from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from harness.leaderboard.statistics import (
    half_widths,
    holm,
    mean_ranks,
    paired_difference,
    paired_p,
    resolved,
    signed_rank,
    smallest_difference,
    smallest_p,
    step,
    summaries,
    summary,
    trimmed_mean,
    untold,
)

accuracies = st.lists(st.floats(0, 100), min_size=2, max_size=20)


@given(accuracies)
def test_summary_is_numpys_mean_and_sample_deviation(values):
    found = summary(values)
    assert found.n == len(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.std == pytest.approx(np.std(values, ddof=1), abs=1e-6)


def test_summary_of_one_value_has_no_deviation_and_of_none_no_mean():
    assert summary([3.0]).mean == 3.0
    assert math.isnan(summary([3.0]).std)
    assert summary([]).n == 0
    assert math.isnan(summary([]).mean)


def test_missing_values_are_left_out():
    assert summary([1.0, math.nan, 3.0]).n == 2
    assert summary([1.0, math.nan, 3.0]).mean == 2.0


def test_groups_are_summarised_apart_and_an_empty_one_stays():
    frame = pandas.DataFrame({"g": ["b", "b", "a", "c"], "v": [1.0, 3.0, 5.0, math.nan]})
    found = summaries(frame, ["g"], "v")
    assert list(found.index) == ["b", "a", "c"]
    assert list(found["n"]) == [2, 1, 0]
    assert found["mean"].tolist()[:2] == [2.0, 5.0]
    assert found["std"].iloc[0] == pytest.approx(math.sqrt(2))


def test_paired_difference_agrees_with_scipy_and_leaves_out_unpaired_seeds():
    first = {0: 91.0, 1: 92.5, 2: 93.1, 7: 12.0}
    second = {0: 90.0, 1: 90.9, 2: 92.8, 9: 50.0}
    found = paired_difference(first, second, confidence=0.9)
    expected = stats.ttest_rel([91.0, 92.5, 93.1], [90.0, 90.9, 92.8]).confidence_interval(0.9)
    assert found.n == 3
    assert found.mean == pytest.approx((1.0 + 1.6 + 0.3) / 3)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.confidence == 0.9


def test_one_pair_has_a_difference_and_no_interval():
    found = paired_difference({0: 3.0}, {0: 1.0})
    assert (found.n, found.mean) == (1, 2.0)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_equal_differences_are_known_to_the_step_of_what_they_are_of():
    found = paired_difference({0: 3.0, 1: 4.0}, {0: 1.0, 1: 2.0})
    assert (found.mean, found.std) == (2.0, 0.0)
    half = stats.t.ppf(0.975, 1) * math.sqrt(2 / 12) / math.sqrt(2)
    assert (found.low, found.high) == (pytest.approx(2.0 - half), pytest.approx(2.0 + half))


@given(st.integers(2, 60_000), st.lists(st.integers(0, 100), min_size=2, max_size=20), st.integers(1, 9))
def test_the_step_of_accuracies_is_an_image_or_as_many_as_all_differ_by(images, counts, times):
    values = [100 * (times * count) / images for count in counts]
    expected = 100 * times * math.gcd(*(count - counts[0] for count in counts)) / images
    assert step(values) == pytest.approx(expected)


def test_what_is_read_in_no_steps_has_none():
    assert step(np.random.default_rng(0).standard_normal(12)) < 1e-5
    assert step([70.0, 70.0]) == step([70.0]) == step([]) == 0.0


def test_no_spread_is_known_to_be_less_than_that_of_the_readings():
    assert resolved([0.0, 0.5, math.nan], [0.6, 0.6, 0.6])[:2] == pytest.approx([0.6 / math.sqrt(6), 0.5])
    assert math.isnan(resolved(math.nan, 1.0))
    assert resolved(0.0, 0.0) == 0.0


def test_untold_are_the_best_and_what_no_test_corrected_over_all_groups_tells_from_it():
    draws = np.random.default_rng(3)
    levels = [{"a": 80.0, "b": 79.0, "c": 60.0}, {"x": 51.0, "y": 51.0}]
    groups = [{name: dict(enumerate(level + draws.standard_normal(5))) for name, level in group.items()} for group in levels]
    best = [max(group, key=lambda name: np.mean([*group[name].values()])) for group in groups]
    pairs = [(top, name) for group, top in zip(groups, best, strict=True) for name in group if name != top]
    runs = {name: [*seeds.values()] for group in groups for name, seeds in group.items()}
    p = multipletests([stats.ttest_rel(runs[top], runs[name]).pvalue for top, name in pairs], method="holm")[1]
    told = {name for (_, name), value in zip(pairs, p, strict=True) if value < 0.05}
    assert untold(groups) == [tuple(name for name in group if name not in told) for group in groups]
    assert told == {"c"}
    assert untold([{"a": {0: 1.0}, "b": {0: 90.0}, "none": {}}, {}]) == [("a", "b"), ()]


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_a_confidence_outside_0_to_1_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence"):
        paired_difference({0: 1.0}, {0: 1.0}, confidence=confidence)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_that_of_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_what_is_not_known_is_not_counted_by_holm():
    assert holm([0.01, math.nan, 0.04])[[0, 2]] == pytest.approx([0.02, 0.04])
    assert math.isnan(holm([0.01, math.nan])[1])


@given(st.lists(st.integers(-1000, 1000).filter(bool), min_size=2, max_size=12, unique_by=abs))
def test_signed_rank_is_that_of_scipy(differences):
    assert signed_rank(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


@pytest.mark.parametrize("differences", [[1, 1, 2, -1], [3, -3, 3, 3, 2], [-1, -1, -1, 2, 2, 3]])
def test_signed_rank_counts_ties_exactly(differences):
    every_sign = stats.wilcoxon(differences, method=stats.PermutationMethod()).pvalue
    assert signed_rank(differences) == pytest.approx(every_sign)


@pytest.mark.parametrize("pairs", [1, 3, 5, 6, 10])
def test_the_smallest_p_is_what_differences_of_one_sign_give(pairs):
    assert smallest_p(pairs) == pytest.approx(signed_rank(range(1, pairs + 1)))


def test_differences_of_nothing_have_no_signed_rank():
    assert math.isnan(signed_rank([0.0, 1e-14]))


@pytest.mark.parametrize("pairs", [3, 5, 10, 40])
def test_the_smallest_difference_is_that_of_statsmodels(pairs):
    effect = TTestPower().solve_power(nobs=pairs, alpha=0.05, power=0.8)
    assert smallest_difference(2.5, pairs) == pytest.approx(2.5 * effect, rel=2e-3)


def test_a_single_pair_or_no_spread_tells_no_difference():
    assert math.isnan(smallest_difference(1.0, 1))
    assert math.isnan(smallest_difference(math.nan, 5))


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=10).filter(lambda values: np.std(values) > 1e-6))
def test_the_paired_p_is_that_of_scipy(differences):
    p = paired_p([len(differences)], [np.mean(differences)], [np.std(differences, ddof=1)])
    assert p[0] == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue, abs=1e-9)


def test_differences_without_spread_are_told_unless_they_are_0():
    assert paired_p([3, 3], [0.0, 0.5], [0.0, 1e-15]).tolist() == [1.0, 0.0]
    assert math.isnan(paired_p([1], [0.5], [math.nan])[0])


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_the_truth_as_often_as_they_say(n):
    boards = int(os.environ.get("GIFTBENCH_BOARDS", "2000"))
    draws = np.random.default_rng(n).normal(70.0, 2.0, (boards, n))
    half = half_widths(np.full(boards, n), draws.std(axis=1, ddof=1))
    covered = np.mean(np.abs(draws.mean(axis=1) - 70.0) <= half)
    assert 0.93 <= covered <= 0.97


rows_of_values = st.integers(1, 9).flatmap(
    lambda width: st.lists(st.lists(st.integers(-3, 3), min_size=width, max_size=width), min_size=1, max_size=5)
)


@given(rows_of_values)
def test_mean_ranks_and_trimmed_means_are_those_of_scipy(rows):
    values = np.array(rows, dtype="float64")
    np.testing.assert_array_equal(mean_ranks(values), stats.rankdata(values, axis=1))
    for share in (0.0, 0.1, 0.25):
        np.testing.assert_allclose(trimmed_mean(values, share), stats.trim_mean(values, share, axis=1), atol=1e-12)


def test_drawing_a_leaderboard_does_not_import_scipys_statistics():
    program = (
        "import sys, numpy; from harness.leaderboard import render, summary, statistics; "
        "statistics.signed_rank([1.0, 2.0]); statistics.trimmed_mean(numpy.ones((2, 3)), 0.25); "
        "print('scipy.stats' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]

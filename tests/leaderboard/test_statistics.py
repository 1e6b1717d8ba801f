from __future__ import annotations

import math

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.leaderboard.statistics import paired_difference, summaries, summary

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


def test_equal_differences_give_an_interval_without_width():
    found = paired_difference({0: 3.0, 1: 4.0}, {0: 1.0, 1: 2.0})
    assert (found.low, found.high) == (2.0, 2.0)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_a_confidence_outside_0_to_1_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence"):
        paired_difference({0: 1.0}, {0: 1.0}, confidence=confidence)

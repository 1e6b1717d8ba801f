"""What seeds can tell, by the spread in planted records."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from harness.leaderboard.power import reach


def test_the_spread_is_that_of_differences_by_seed_and_not_of_accuracies(planter):
    draws = np.random.default_rng(0)
    of_seed, own = draws.normal(70, 20, 6), draws.normal(0, 1, 6)
    planter.cell(*of_seed, loss="kl")
    planter.cell(*(of_seed + own), loss="gift")
    told = reach(planter.records, 6)
    assert (told.seeds, told.pairs) == (6, 1)
    assert told.std == pytest.approx(np.std(own, ddof=1))
    assert told.difference == pytest.approx(told.std * TTestPower().solve_power(nobs=6, alpha=0.05, power=0.8), rel=2e-3)


def test_settings_are_pooled_by_their_degrees_of_freedom_and_never_mixed(planter):
    planter.cell(1.0, 2.0, loss="kl", optimizer="sgd")
    planter.cell(2.0, 5.0, loss="gift", optimizer="sgd")  # differences 1, 3
    planter.cell(50.0, 50.0, 50.0, loss="kl", optimizer="adamw")
    planter.cell(50.0, 51.0, 52.0, loss="gift", optimizer="adamw")  # differences 0, 1, 2
    told = reach(planter.records, 3)
    assert told.pairs == 2
    assert told.std == pytest.approx(math.sqrt((2.0 + 2 * 1.0) / 3))


def test_one_loss_or_one_seed_shows_no_spread(planter):
    planter.cell(80.0, 82.0, loss="kl")
    planter.cell(80.0, loss="gift")
    told = reach(planter.records, 3)
    assert told.pairs == 0 and math.isnan(told.difference)

"""An optimizer that cannot make a step with what it was given is told before anything is trained."""

from __future__ import annotations

import pytest
import torch

from harness import optimizers
from harness.core.errors import BadOption
from harness.core.spec import Spec
from harness.optimizers.probe import probe_small


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("sgd", {"lr": -1.0}, "sgd(lr=-1.0)' cannot make a step: ValueError"),
        ("adamw", {"beta1": 2.0}, "cannot make a step: ValueError"),
        ("lion", {"betas": [0.9, 3.0]}, "cannot make a step"),
    ],
)
def test_what_an_optimizer_refuses_is_its_own_line(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(BadOption) as refusal:
        probe_small(optimizers.resolve(Spec(name=name, options=options)))
    assert said in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lamb", "rmsprop"])
def test_a_probe_passes_what_can_run_and_draws_nothing_from_the_callers_stream(name: str) -> None:
    state = torch.get_rng_state()
    probe_small(optimizers.resolve(name))
    assert bool((torch.get_rng_state() == state).all())

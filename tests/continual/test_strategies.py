"""Avalanche's strategies and plugins by name, and which of their parameters a board may set."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.continual import strategies
from harness.core.errors import BadOption, UnknownName
from harness.core.spec import Spec


@pytest.mark.parametrize(("asked", "name"), [("gdumb", "GDumb"), ("NAIVE", "Naive"), ("replay", "Replay")])
def test_upper_and_lower_case_are_one(asked: str, name: str) -> None:
    assert strategies.resolve(asked) == Spec(name=name)


def test_options_are_checked_and_those_that_were_given_are_kept() -> None:
    found = strategies.resolve("ewc(ewc_lambda=1)")
    assert (found.name, found.options) == ("EWC", {"ewc_lambda": 1})
    assert strategies.label(found) == "EWC(ewc_lambda=1)"


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ("BiC(T=1.5)", {"T": 1.5}),
        ("SCR(temperature=0.5)", {"temperature": 0.5}),
        ("LwFPlugin(temperature=1.5)", {"temperature": 1.5}),
        ("BiC(lamb=0.5)", {"lamb": 0.5}),
        ("FeatureDistillationPlugin(alpha=0.5)", {"alpha": 0.5}),
        ("Replay(mem_size=20.0)", {"mem_size": 20}),
    ],
)
def test_a_share_or_a_temperature_may_have_a_fraction_whatever_its_default(asked: str, options: dict[str, object]) -> None:
    assert strategies.resolve(asked).options == options


@pytest.mark.parametrize("asked", ["BiC(stage_2_epochs=1.5)", "Replay(mem_size=20.5)", "RWalkPlugin(delta_t=0.5)"])
def test_a_count_may_not(asked: str, refused) -> None:
    with refused(BadOption, "must be a whole number"):
        strategies.resolve(asked)


def test_parameters_that_the_protocol_decides_cannot_be_set(refused) -> None:
    assert not strategies.OURS & set(strategies.parameters(strategies.load("EWC")))
    with refused(BadOption, "strategy 'EWC' has no parameter 'train_epochs'"):
        strategies.resolve("ewc(train_epochs=3, ewc_lambda=1)")


def test_an_unknown_name_is_answered_with_the_nearest(refused) -> None:
    with refused(UnknownName, "'Replya'", "did you mean", "'Replay'"):
        strategies.resolve("Replya")


@pytest.mark.parametrize("name", strategies.REFUSED)
def test_what_no_stream_of_distilled_images_can_run_is_refused_with_the_reason(name: str, refused) -> None:
    with refused(BadOption, name, strategies.REFUSED[name]):
        strategies.load(name)


def test_the_usual_names_are_resolved_without_avalanche() -> None:
    program = "import sys; from harness.continual.strategies import resolve; resolve('gdumb'); print('avalanche' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"

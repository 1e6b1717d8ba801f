"""Avalanche's strategies and plugins by name, and which of their parameters a board may set."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
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
        ("DER(beta=1)", {"beta": 1.0}),
        ("LwFPlugin(temperature=1.5)", {"temperature": 1.5}),
        ("GEM(patterns_per_exp=4, memory_strength=1)", {"patterns_per_exp": 4, "memory_strength": 1.0}),
        ("FeatureDistillationPlugin(alpha=0.5)", {"alpha": 0.5}),
        ("Replay(mem_size=20.0)", {"mem_size": 20}),
    ],
)
def test_a_share_or_a_temperature_may_have_a_fraction_whatever_its_default(asked: str, options: dict[str, object]) -> None:
    assert strategies.resolve(asked).options == options


@pytest.mark.parametrize("asked", ["ER_ACE(batch_size_mem=1.5)", "Replay(mem_size=20.5)", "RWalkPlugin(delta_t=0.5)"])
def test_a_count_may_not(asked: str, refused) -> None:
    with refused(BadOption, "must be a whole number"):
        strategies.resolve(asked)


def test_parameters_that_the_protocol_decides_cannot_be_set(refused) -> None:
    with refused(BadOption, "strategy 'EWC' has no parameter 'train_epochs'"):
        strategies.resolve("ewc(train_epochs=3, ewc_lambda=1)")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("EWC", "strategy 'EWC' needs ewc_lambda, as EWC(ewc_lambda=…)"),
        ("EWC(ewc_lambda=much)", "strategy 'EWC': ewc_lambda must be a number, not 'much'"),
        ("EWC(ewc_lambda=1, mode=onlin)", "mode must be 'separate' or 'online', not 'onlin'"),
        ("EWC(ewc_lambda=1, mode=online)", "needs decay_factor where mode is online"),
        ("GDumb(mem_size=0)", "strategy 'GDumb': mem_size must be 1 or more, not 0"),
        ("AGEM(patterns_per_exp=2.5)", "patterns_per_exp must be a whole number, not 2.5"),
        ("AGEM(patterns_per_exp=-1)", "patterns_per_exp must be 1 or more, not -1"),
        ("ICaRL(memory_size=many)", "memory_size must be a whole number, not 'many'"),
        ("ICaRL(feature_extractor=x)", "strategy 'ICaRL' has no parameter 'feature_extractor'"),
    ],
)
def test_a_value_that_a_parameter_cannot_have_is_refused(asked: str, words: str, refused) -> None:
    with refused(BadOption, words):
        strategies.resolve(asked)


def test_an_unknown_name_is_answered_with_the_nearest(refused) -> None:
    with refused(UnknownName, "'Replya'", "did you mean", "'Replay'"):
        strategies.resolve("Replya")


@pytest.mark.parametrize("name", strategies.REFUSED)
def test_what_no_stream_of_distilled_images_can_run_is_refused_with_the_reason(name: str, refused) -> None:
    reason = strategies.REFUSED[name]
    with refused(
        BadOption, f"strategy '{name}' cannot be used here: ", strategies.REFUSED.get(reason.removeprefix("see "), reason)
    ):
        strategies.resolve(name)


def test_every_strategy_and_plugin_of_avalanche_can_be_used_or_is_refused() -> None:
    """A new release of Avalanche that brings another one fails here, not in a trial."""
    assert not strategies.USABLE.keys() & strategies.REFUSED.keys()
    assert shipped_with_avalanche() == strategies.USABLE.keys() | strategies.REFUSED.keys()


@pytest.mark.parametrize("name", strategies.USABLE)
def test_what_can_be_set_is_avalanches_own_with_its_defaults(name: str) -> None:
    strategy, signature = strategies.strategy(name), inspect.signature(strategies.load(name)).parameters
    for option, default in strategy.parameters.items():
        theirs = signature[option].default
        assert theirs is inspect.Parameter.empty if isinstance(default, type) else theirs == default, option
    assert {strategy.memory, strategy.replayed} - {""} <= signature.keys()
    taken = {p for p in signature if p in ("mem_size", "memory_size", "patterns_per_exp", "patterns_per_experience")}
    assert taken <= strategy.settable.keys()  # whoever has a memory can be told its size


def test_lists_name_those_that_can_be_used_and_why_the_others_cannot() -> None:
    summaries = {entry.name: entry.summary for entry in strategies.describe()}
    assert summaries.keys() == strategies.USABLE.keys() | strategies.REFUSED.keys()
    for name, summary in summaries.items():
        assert summary.startswith("cannot be used: ") == (name in strategies.REFUSED), name


def test_a_batch_that_the_memory_never_fills_is_refused(refused) -> None:
    strategies.check_replay(strategies.resolve("ER_ACE(batch_size_mem=4)"), 4)
    strategies.check_replay(strategies.resolve("ER_ACE"), 1)
    with refused(BadOption, "strategy 'ER_ACE': batch_size_mem 4 is more than the 3 images in memory after the first step"):
        strategies.check_replay(strategies.resolve("ER_ACE(batch_size_mem=4)"), 3)


def test_a_comparison_that_no_step_of_the_stream_reaches_is_refused(refused) -> None:
    strategies.check_iterations(strategies.resolve("RWalkPlugin(delta_t=2)"), 2)
    strategies.check_iterations(strategies.resolve("Naive"), 1)
    with refused(BadOption, "delta_t 10 is more than the 2 steps of training", "give RWalkPlugin(delta_t=2) or less"):
        strategies.check_iterations(strategies.resolve("RWalkPlugin"), 2)


@pytest.mark.parametrize(
    "text", ["AGEM(patterns_per_exp=2, sample_size={})", "AGEMPlugin(patterns_per_experience=2, sample_size={})"]
)
def test_a_sample_that_holds_no_image_of_each_step_is_refused(refused, text: str) -> None:
    strategies.check_sample(strategies.resolve(text.format(4)), 5)
    strategies.check_sample(strategies.resolve("GEM(patterns_per_exp=1)"), 5)
    with refused(BadOption, "sample_size 3 is less than one image of each of the 4 steps before the last; give 4 or more"):
        strategies.check_sample(strategies.resolve(text.format(3)), 5)


def shipped_with_avalanche() -> set[str]:
    """Return the names of Avalanche's supervised strategies and of their plugins."""
    from avalanche.training import plugins, supervised
    from avalanche.training.plugins import SupervisedPlugin
    from avalanche.training.templates import SupervisedTemplate

    names = set()
    for package, base in ((supervised, SupervisedTemplate), (plugins, SupervisedPlugin)):
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            classes = [thing for thing in vars(module).values() if inspect.isclass(thing) and thing.__module__ == module.__name__]
            names |= {thing.__name__ for thing in classes if issubclass(thing, base) and not thing.__name__.startswith("_")}
    return names


def test_names_are_resolved_without_avalanche() -> None:
    names = "resolve('gdumb'); resolve('ewc(ewc_lambda=1)'); resolve('icarl'); describe()"
    program = f"import sys; from harness.continual.strategies import *; {names}; print('avalanche' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"

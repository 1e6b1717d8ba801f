"""In which order and in which bundles trials are handed out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import pytest

from harness import Outcome, Scenario, scenarios
from harness.boards.trial import Trial
from harness.core.spec import Spec
from harness.running import scheduling
from harness.running.costs import Costs, Facts
from harness.running.scheduling import BESIDE, Bundle, Needed, bundles, finish, share
from tests.simulated_boards import BOARDS, COSTS, MODELS, crossed, streams, trial


def cost(bundle: Sequence[Trial]) -> float:
    return sum(map(COSTS, bundle))


def ids(given: Sequence[Sequence[Trial]]) -> list[str]:
    return sorted(trial.id for bundle in given for trial in bundle)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("stack", [1, 4, 6])
def test_every_trial_is_handed_out_once(board: str, stack: int) -> None:
    made = bundles(BOARDS[board], COSTS, "cpu", stack)
    assert ids(made) == ids([BOARDS[board]])
    passes = [Counter(trial.setup.together for trial in bundle) for bundle in made]
    assert max(count for counts in passes for count in counts.values()) <= stack
    assert max(map(len, passes)) <= BESIDE


def test_what_trials_come_in_changes_neither_bundles_nor_their_number() -> None:
    trials = BOARDS["several sizes"]
    one, other = (bundles(given, COSTS, "cpu", 3) for given in (trials, trials[::-1]))
    assert sorted(map(len, one)) == sorted(map(len, other))
    assert sorted(map(cost, one)) == pytest.approx(sorted(map(cost, other)))


def test_every_student_scenario_loss_and_optimizer_is_tried_before_any_is_repeated_and_the_dearest_first() -> None:
    trials = crossed(model=MODELS[:3], loss=("gift", "ce")) + crossed(optimizer=[Spec(name="sgd")]) + streams((5,))
    order = [bundle[0] for bundle in bundles(trials, COSTS, "cpu", 1)]
    names = [{f"{one.scenario} {one.model}", one.loss.name, one.optimizer.name} for one in order]
    everything = set().union(*names)
    tried: set[str] = set()
    for count, name in enumerate(names):
        if tried == everything:
            break
        assert name - tried, f"trial {count} tries nothing new"
        tried |= name
    costs = [COSTS(one) for one in order[:count]]
    assert costs == sorted(costs, reverse=True)
    assert 4 <= count <= 8


def test_what_follows_shares_datasets_teachers_steps_and_sets_and_goes_from_long_to_short() -> None:
    costs = Costs("cpu", {name: Facts((1, 16, 16), 10, 500) for name in ("one", "two")})
    trials = [
        trial(model, seed, images, epochs=epochs, dataset={"name": name, "digest": name}, teacher=(f"teacher of {name}",))
        for seed in range(6)
        for images in (50, 100)
        for model in MODELS[:2]
        for name, epochs in (("one", 10), ("two", 20))
    ]
    order = [bundle[0] for bundle in bundles(trials, costs, "cpu", 1)]
    rest = order[4:]  # two students on two datasets come first

    def changes(*parts: str) -> int:
        return len(list(groupby(rest, key=lambda one: [str(getattr(one, part)) for part in parts])))

    assert changes("dataset") == 2
    assert changes("dataset", "teacher") == 2
    assert changes("dataset", "teacher", "model") == 4
    assert changes("dataset", "teacher", "model", "distilled") == 8
    assert rest[0].dataset.name == "two"  # whose trials are longer
    for _, group in groupby(rest, key=lambda one: (one.dataset.digest, str(one.model))):
        given = [costs(one) for one in group]
        assert given == sorted(given, reverse=True)


def test_trials_that_can_be_stacked_are_bundled_up_to_the_limit_and_evenly() -> None:
    made = bundles(crossed(loss=("gift", "kl", "mse", "soft_ce")), COSTS, "cpu", 5)
    assert sorted(map(len, made)) == [4, 4, 4]
    assert all(len(bundle) == 1 for bundle in bundles(crossed(loss=("gift", "kl")), COSTS, "cpu", 1))


def test_a_stack_does_not_depend_on_what_is_missing() -> None:
    trials = crossed(loss=("gift", "kl", "mse", "soft_ce"))
    whole = bundles(trials, COSTS, "cpu", 5)
    left = [trials[0], trials[-1]]
    again = bundles(left, COSTS, "cpu", 5, trials)
    assert len(again) == 2 < len(whole)
    assert all(bundle in whole for bundle in again)
    assert {one.id for one in left} <= {one.id for bundle in again for one in bundle}
    alone = bundles(left, COSTS, "cpu", 1, trials)
    assert sorted(one.id for bundle in alone for one in bundle) == sorted(one.id for one in left)


def test_passes_of_one_seed_that_are_given_the_same_are_bundled_on_a_cpu() -> None:
    optimizers = [Spec(name="sgd"), Spec(name="lamb"), Spec(name="adamw", options={"lr": 0.01})]
    trials = crossed(loss=("gift", "kl", "mse"), optimizer=optimizers)
    made = bundles(trials, COSTS, "cpu", 0)
    assert ids(made) == ids([trials])
    assert max(map(len, made)) > 3
    for bundle in made:
        assert len({(one.setup.stream, one.seed) for one in bundle if one.optimizer.name == "lamb"}) <= 1
        assert len({one.setup.stream for one in bundle}) == 1
    alone = bundles([one for one in trials if one.optimizer.name == "lamb"], COSTS, "cpu", 0)
    assert all(len({one.seed for one in bundle}) == 1 for bundle in alone)
    assert all(len(bundle) == 1 for bundle in bundles(trials, COSTS, "cpu", 1))
    many = bundles(trials, COSTS, "cpu", 0, workers=1000)
    assert max(map(len, many)) <= 6  # the stacks, which do not depend on who takes them


def test_no_bundle_holds_two_stacks_of_one_kind_or_more_than_a_part_of_a_workers_share() -> None:
    trials = crossed(loss=("gift", "kl", "mse", "soft_ce"), optimizer=[Spec(name="sgd"), Spec(name="adam")])
    made = bundles(trials, COSTS, "cpu", 0, workers=2)
    stacks = [Counter(one.setup.together for one in bundle) for bundle in made]
    assert max(count for counts in stacks for count in counts.values()) <= 6
    most = cost(trials) / 6
    assert all(cost(bundle) <= most for bundle, counts in zip(made, stacks, strict=True) if len(counts) > 1)


def test_a_scenario_that_trains_seeds_together_gets_them_together_and_whole() -> None:
    class Together(Scenario):
        def run_bundle(self, trials: Sequence[Trial], workbench: Any) -> Iterator[Outcome]:
            raise NotImplementedError

    scenarios.register("together")(Together)
    try:
        trials = crossed(scenario=("together",), loss=("gift", "kl"))
        made = bundles(trials, COSTS, "cpu", 0)
    finally:
        scenarios.remove("together")
    assert [len(bundle) for bundle in made] == [3, 3]
    assert all(len({one.setup.hash for one in bundle}) == 1 for bundle in made)


def test_streams_that_ask_a_teacher_the_same_are_handed_out_together_and_others_one_by_one() -> None:
    names = ("GDumb", "Cumulative", "Naive", "LwF", "Replay")
    trials = [one for loss in ("gift", "kl", "ce") for one in streams((5, 10), names, loss=loss)]
    made = bundles(trials, COSTS, "cpu", 0)
    assert ids(made) == ids([trials])
    together = {frozenset((str(one.options["strategy"]["name"]), one.loss.name) for one in bundle) for bundle in made}
    assert frozenset({(name, loss) for name in ("GDumb", "Cumulative") for loss in ("gift", "kl")}) in together
    assert frozenset({(name, loss) for name in ("Naive", "LwF") for loss in ("gift", "kl")}) in together
    assert frozenset({("Replay", "gift"), ("Replay", "kl")}) in together
    assert frozenset({("GDumb", "ce")}) in together
    for bundle in made:
        assert len({(one.seed, one.options["steps"]) for one in bundle}) == 1


def test_streams_that_a_gpu_may_have_side_by_side_are_handed_out_together_there_as_far_as_they_are_missing() -> None:
    trials = [one for loss in ("gift", "kl", "ce") for one in streams((5, 10), ("GDumb", "Naive"), loss=loss)]
    made = bundles(trials, COSTS, "cuda:0", 0)
    assert ids(made) == ids([trials])
    assert all(len({one.setup.together for one in bundle}) == 1 for bundle in made)
    assert {len({one.seed for one in bundle}) for bundle in made} == {len({one.seed for one in trials})}
    assert {frozenset(one.loss.name for one in bundle) for bundle in made} == {frozenset({"gift", "kl"}), frozenset({"ce"})}
    missing = trials[1:]  # what has a record is not made again: each gives what it gives alone
    assert ids(bundles(missing, COSTS, "cuda:0", 0, trials)) == ids([missing])
    assert all(len(bundle) == 1 for bundle in bundles(trials, COSTS, "cuda:0", 1))


def test_trials_in_turn_are_taken_for_as_dear_as_they_are_when_the_teacher_is_asked_once() -> None:
    large = Costs("cpu", COSTS.datasets, {("teacher",): [Spec(name="resnet18")]}, COSTS.trainings)
    dear = [one for loss in ("gift", "kl", "mse", "kd") for one in streams((5,), images=100, loss=loss) if one.seed == 0]
    alone = trial(images=100, scenario="class-incremental", options={"steps": 5, "strategy": {"name": "GDumb"}}, epochs=300)
    in_turn = large(dear[0]) + 3 * (large(dear[0]) - large.asked(dear[0]))
    assert in_turn < large(alone) < 4 * large(dear[0])
    made = bundles([*dear, alone, *streams((2, 3, 10), epochs=400)], large, "cpu", 0)
    assert made.index([alone]) < next(number for number, bundle in enumerate(made) if len(bundle) == 4)


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize("stack", [1, 0])
def test_shares_are_the_board_in_whole_bundles_and_none_has_a_trial_of_anothers(count: int, stack: int) -> None:
    trials = BOARDS["one kind"]
    shares = [share(trials, COSTS, "cpu", stack, index, count) for index in range(count)]
    assert sorted(one.id for part in shares for one in part) == sorted(one.id for one in trials)
    order = bundles(trials, COSTS, "cpu", stack, workers=count)
    for index, part in enumerate(shares):
        assert {one.id for one in part} == {one.id for bundle in order[index::count] for one in bundle}
        assert part == [one for one in trials if one in part]


def test_workers_that_become_free_take_the_next() -> None:
    assert finish([4.0, 1.0, 2.0, 1.0], [0.0, 0.5]) == [4.0, 1.5, 3.5, 4.5]


def test_what_no_bundle_needs_any_more_can_be_let_go() -> None:
    first, second = [trial(images=10)], [trial(images=20, loss="ce")]
    needed = Needed([first, second])
    needed.take(first)
    assert "teacher" not in needed
    assert "set of 10" not in needed
    assert "digits" in needed
    needed.put(first)
    assert "teacher" in needed


def test_a_thousand_trials_are_ordered_without_asking_for_a_cost_more_than_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, usual = 0, Costs.__call__

    def counted(self: Costs, given: Trial) -> float:
        nonlocal calls
        calls += 1
        return usual(self, given)

    monkeypatch.setattr(Costs, "__call__", counted)
    trials = [trial(seed=seed, loss=loss) for loss in ("gift", "ce") for seed in range(500)]
    assert len(bundles(trials, COSTS, "cpu", 1)) == 1000
    assert calls <= 2 * len(trials)


def test_bundles_that_ask_the_same_are_not_begun_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers begin two seeds, not the halves of one; what shares nothing has its place in the first turn."""
    given = [Bundle((), cost) for cost in (1.0, 2.0, 3.0, 4.0, 5.0)]
    seeds = {1.0: "a", 2.0: "a", 3.0: "b", 4.0: "b", 5.0: None}
    monkeypatch.setattr(scheduling, "_shared_with", lambda bundle, *_: (seeds[bundle.cost], 0.0))
    assert [bundle.cost for bundle in scheduling._apart(given, COSTS, 0)] == [1.0, 3.0, 5.0, 4.0, 2.0]
    assert [*scheduling._apart([], COSTS, 0)] == []

"""Random streams follow from a seed and a role; those that all code shares are begun anew, and put back."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import numpy
import pytest
import torch

from harness.core import seeds


def draws() -> list[float]:
    """Return a number from each of the streams that all code shares."""
    return [random.random(), float(numpy.random.rand()), float(torch.rand(()))]


@pytest.fixture(autouse=True)
def _left_alone() -> Iterator[None]:
    with seeds.kept():
        yield


def test_a_seed_and_a_role_give_the_same_stream_everywhere() -> None:
    assert seeds.derive(0, "init") == 1519069808562059438
    numbers = {seeds.derive(seed, role) for seed in range(20) for role in ("init", "order")}
    assert len(numbers) == 40
    assert all(0 <= number < 1 << 63 for number in numbers)
    first, again, other = (torch.rand(3, generator=seeds.generator(1, role)) for role in ("order", "order", "init"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_streams_that_all_code_shares_begin_anew() -> None:
    found = []
    for seed, role in ((0, "init"), (0, "init"), (1, "init"), (0, "dropout")):
        draws()
        seeds.begin(seed, role)
        found.append(draws())
    assert found[0] == found[1]
    assert all(len({values[stream] for values in found}) == 3 for stream in range(3))


def test_what_is_drawn_inside_is_not_missed_outside() -> None:
    seeds.begin(0, "test")
    expected = draws()
    seeds.begin(0, "test")
    with seeds.kept():
        seeds.begin(7, "init")
        draws()
    assert draws() == expected
    seeds.begin(0, "test")
    with pytest.raises(RuntimeError, match="planted"), seeds.kept():
        draws()
        raise RuntimeError("planted")
    assert draws() == expected


def test_a_derived_seed_is_the_first_63_bits_of_a_hash() -> None:
    expected = int(hashlib.sha256(b"3/init").hexdigest()[:16], 16) >> 1
    assert seeds.derive(3, "init") == expected
    assert seeds.derive(0, "order").bit_length() <= 63


def test_seeds_and_roles_have_streams_of_their_own() -> None:
    pairs = [(seed, role) for seed in range(20) for role in ("init", "order", "augmentation")]
    assert len({seeds.derive(*pair) for pair in pairs}) == len(pairs)


def test_a_generator_draws_what_its_derived_seed_says_and_leaves_torchs_own_alone() -> None:
    before = torch.random.get_rng_state()
    drawn = torch.rand(4, generator=seeds.generator(3, "init"))
    assert torch.equal(drawn, torch.rand(4, generator=torch.Generator().manual_seed(seeds.derive(3, "init"))))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_who_takes_turns_draws_what_it_would_draw_alone() -> None:
    def draws() -> tuple[float, float, float]:
        return float(torch.rand(1)), float(numpy.random.rand()), random.random()

    expected = {}
    for seed in (1, 2):
        seeds.begin(seed, "dropout")
        expected[seed] = [draws() for _ in range(3)]
    turns = {}
    for seed in (1, 2):
        seeds.begin(seed, "dropout")
        turns[seed] = seeds.Place()
    outside = []
    drawn: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    for _ in range(3):
        for seed, turn in turns.items():
            with turn:
                drawn[seed].append(draws())
        outside.append(draws())
    assert drawn == expected
    assert outside == expected[2]  # where the streams were, as if nobody had taken a turn


@pytest.mark.parametrize("stream", [numpy.random.MT19937, numpy.random.PCG64])
def test_of_a_pair_of_normal_numbers_the_second_waits_for_whose_turn_it_is(stream: type) -> None:
    """Two uniform numbers leave a Mersenne Twister's memory as a pair of normal ones does: what numpy keeps tells them apart."""
    of_normal, of_uniform = (numpy.random.RandomState(stream(3)) for _ in range(2))
    before = numpy.random.get_bit_generator()
    numpy.random.set_bit_generator(stream(3))
    try:
        normal, uniform = seeds.Place(), seeds.Place()
        with uniform:
            assert [*numpy.random.rand(2)] == [*of_uniform.rand(2)]
        with normal:
            assert numpy.random.randn() == of_normal.randn()
        for _ in range(3):
            with normal:
                assert numpy.random.randn() == of_normal.randn()
            with uniform:
                assert numpy.random.randn() == of_uniform.randn()
    finally:
        numpy.random.set_bit_generator(before)


def test_turns_in_which_numpy_draws_nothing_do_not_ask_it_for_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [seeds.Place() for _ in range(2)]
    asked: list[str] = []
    monkeypatch.setattr(numpy.random, "get_state", lambda **_: asked.append("asked"))
    monkeypatch.setattr(numpy.random, "set_state", lambda _: asked.append("set"))
    for _ in range(3):
        for place in places:
            with place:
                torch.rand(1)
    assert not asked

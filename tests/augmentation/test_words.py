"""How boards write augmentation and mixing: what may stand there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from torch import Tensor

from harness.augmentation.draws import Streams, uniforms
from harness.augmentation.steps import registry
from harness.augmentation.words import draws_cutout, for_factor, known_augmentation, planned, plugged
from harness.boards.board import Board, TeacherSpec
from harness.core.errors import BadOption, GiftbenchError, PluginError, UnknownName


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("color_crop_cutout_flip_scale_rotate", "color_crop_cutout_flip_scale_rotate"),
        ("none", "none"),
        ("flip", "flip"),
        ("pad-crop", "pad-crop(padding=4)"),
        ("random-resized-crop + flip", "random-resized-crop(min_scale=0.08)+flip"),
        ("random-resized-crop(min_scale=1)+flip", "random-resized-crop(min_scale=1.0)+flip"),
        ("random-resized-crop(min_scale=1e+0)+flip", "random-resized-crop(min_scale=1.0)+flip"),
        ("dsa", "dsa(strategy=color_crop_cutout_flip_scale_rotate, mode=multiple)"),
        ("dsa(mode=single, strategy=flip_crop)", "dsa(strategy=flip_crop, mode=single)"),
        ("patch-shuffle+mosaic-crop(factor=3)", "patch-shuffle(factor=0)+mosaic-crop(factor=3)"),
    ],
)
def test_a_pipeline_is_kept_with_every_parameter_filled_in(text: str, kept: str) -> None:
    assert known_augmentation(text) == kept
    assert known_augmentation(kept) == kept


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pad-crop+cutmix", "no augmentation step 'cutmix'"),
        ("flip+", "cannot read ''"),
        ("pad-crop(pading=4)", "augmentation step 'pad-crop' has no parameter 'pading'; did you mean 'padding'?"),
        ("pad-crop(padding=1.5)", "augmentation step 'pad-crop': padding must be a whole number, not 1.5"),
        ("pad-crop(padding=-1)", "augmentation step 'pad-crop': padding must be at least 0, not -1"),
        ("patch-shuffle(factor=-2)", "augmentation step 'patch-shuffle': factor must be at least 1, or 0 for the distilled"),
        ("random-resized-crop(min_scale=0)", "augmentation step 'random-resized-crop': min_scale must be above 0 and at most 1"),
        ("dsa(mode=S)", "augmentation step 'dsa': mode must be multiple or single, not 'S'"),
        ("dsa(strategy=flop)", "augmentation 'flop': no word 'flop'; valid: color, crop"),
        ("dsa(strategy=flip_flip)", "augmentation 'flip_flip': 'flip' comes twice"),
        ("flip(p=1)", "augmentation step 'flip' has no parameter 'p'; valid: none"),
        ("flip_colour", "unknown DSA operation 'colour'; did you mean 'color'?"),
    ],
)
def test_what_cannot_be_is_answered_in_one_line(text: str, message: str) -> None:
    with pytest.raises(GiftbenchError) as raised:
        known_augmentation(text)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_boards_and_teachers_take_pipelines(tiny: Any) -> None:
    board: Board = tiny(protocol={"name": "smoke", "augmentation": "pad-crop+flip", "mixing": "cutmix"})
    assert (board.protocol.augmentation, board.protocol.mixing) == ("pad-crop(padding=4)+flip", "cutmix(alpha=1.0)")
    spec = TeacherSpec.model_validate({"model": "convnet1", "augmentation": "pad-crop+flip"})
    assert spec.augmentation == "pad-crop(padding=4)+flip"


@pytest.mark.parametrize(
    ("text", "factor", "expected"),
    [
        ("patch-shuffle+flip", 2, "patch-shuffle(factor=2)+flip"),
        ("patch-shuffle+pad-crop", 1, "pad-crop(padding=4)"),
        ("patch-shuffle(factor=3)+mosaic-crop", 2, "patch-shuffle(factor=3)+mosaic-crop(factor=2)"),
        ("mosaic-crop", 1, "none"),
        ("flip_crop", 2, "flip_crop"),
    ],
)
def test_the_factor_of_the_set_is_filled_in(text: str, factor: int, expected: str) -> None:
    assert for_factor(text, factor) == expected


# -- steps that plugins bring -------------------------------------------------------------------------------------------------


@pytest.fixture
def noise() -> Iterator[None]:
    """A step of a plugin."""

    @registry.register("my-noise")
    def my_noise(batch: Tensor, generator: Streams, *, strength: float = 0.1, factor: int = 0) -> Tensor:
        """Add noise."""
        return batch + strength * uniforms(*batch.shape, device=batch.device, generator=generator)

    yield
    registry.remove("my-noise")


@pytest.mark.parametrize(
    "text", ["my-noise", "noise", "my_noise", "flip+my-noise(strength=0.3)", "my-noise(strength=1, factor=2)"]
)
def test_a_step_of_a_plugin_that_is_not_here_is_kept_as_it_is_written(text: str) -> None:
    """A record, or a board, is read where its plugin is not, or not yet."""
    assert known_augmentation(text) == text
    assert not draws_cutout(text)
    (step,) = plugged(text)
    assert step.name in ("my-noise", "noise", "my_noise")
    with pytest.raises(UnknownName, match="no augmentation"):
        planned(text)


def test_a_plan_fills_in_every_parameter_of_a_plugins_step(noise: None) -> None:
    assert planned("flip+my-noise(strength=0.3)") == "flip+my-noise(strength=0.3, factor=0)"
    assert planned("my-noise") == "my-noise(strength=0.1, factor=0)"
    assert known_augmentation("my-noise") == "my-noise"
    with pytest.raises(BadOption, match="augmentation 'my-noise' has no parameter 'strenght'; did you mean 'strength'"):
        planned("my-noise(strenght=1)")


@pytest.mark.parametrize("factor", [1, 2])
def test_a_factor_of_a_plugins_step_is_the_sets(noise: None, factor: int) -> None:
    assert for_factor(planned("my-noise"), factor) == f"my-noise(strength=0.1, factor={factor})"


@pytest.mark.parametrize(("text", "near"), [("pad-crop+flop", "flip"), ("random-resized-crops", "random-resized-crop")])
def test_a_name_that_nothing_has_is_answered_with_the_nearest(text: str, near: str) -> None:
    with pytest.raises(UnknownName, match=f"no augmentation '{text.split('+')[-1]}'; did you mean '{near}'"):
        planned(text)


@pytest.mark.parametrize("name", ["flip", "color", "dsa", "mixup", "pad-crop"])
def test_what_ships_cannot_be_replaced(name: str) -> None:
    with pytest.raises(PluginError, match=f"two augmentations are named '{name}'"):
        registry.register(name)(lambda batch, generator: batch)

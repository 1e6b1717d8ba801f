"""Swin-V2-Tiny, and the patch and window that it meets an image with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from harness import models
from harness.core.errors import BadOption
from harness.models.fitting import Resized
from harness.models.swin import settings
from harness.teachers.key_styles import torchvision_swin


def test_the_published_model_is_unchanged_and_of_its_published_size() -> None:
    with torch.device("meta"):
        model = models.build("swin-v2-tiny", (3, 256, 256), 1000)
    assert models.adaptation(model) == ""
    assert models.parameters_count(model) == pytest.approx(28.35e6, rel=1e-3)


def test_the_table_of_patches_and_windows_is_what_is_built(docstring_table: Callable[[Any], list[list[str]]]) -> None:
    for pixels, tokens, patch, window, recorded in docstring_table(settings):
        side = int(pixels)
        with torch.device("meta"):
            model = models.build("swin-v2-tiny", (1, side, side), 10)
            assert models.adaptation(model) == recorded, pixels
            inner: Any = model.model if isinstance(model, Resized) else model
            seen = _tokens_at_each_stage(model, inner, torch.empty(2, 1, side, side))
        assert seen == [int(n) for n in tokens.split()], pixels
        assert inner.patch_embed.patch_size == (int(patch), int(patch)), pixels
        windows = [stage.blocks[0].window_size for stage in inner.layers]
        assert windows == [(min(int(window), n),) * 2 for n in seen], pixels


def _tokens_at_each_stage(model: nn.Module, inner: Any, images: torch.Tensor) -> list[int]:
    seen: list[int] = []
    for stage in inner.layers:
        stage.register_forward_hook(lambda module, args, out: seen.append(out.shape[1]))
    assert model(images).shape == (2, 10)
    return seen


@pytest.mark.parametrize("width", [None, 64])
def test_every_size_leaves_two_tokens_to_the_last_stage_and_whole_patches(width: int | None) -> None:
    for side in range(1, 300):
        height, across = side, width or side
        chosen = settings(height, across)
        assert chosen.size[0] >= height and chosen.size[1] >= across
        assert all(pixels % chosen.patch == 0 for pixels in chosen.size), side
        grids = [-(-pixels // (chosen.patch * 2**stage)) for pixels in chosen.size for stage in range(4)]
        assert min(grids) >= 2, side
        uneven = [grid for grid in grids if grid > chosen.window and grid % chosen.window]
        assert chosen.padded == bool(uneven), side


def test_a_patch_that_is_given_is_used_and_recorded() -> None:
    with torch.device("meta"):
        model = models.build("swin-v2-tiny(patch=2)", (1, 16, 16), 10)
        assert models.adaptation(model) == "patch 2"
        assert model(torch.empty(2, 1, 16, 16)).shape == (2, 10)
        assert models.adaptation(models.build("swin-v2-tiny(patch=4)", (3, 32, 32), 10)) == ""


def test_an_oblong_image_with_padded_windows_trains() -> None:
    with torch.device("meta"):
        model = models.build("swin-v2-tiny", (3, 30, 64), 10)
        assert models.adaptation(model) == "patch 2, windows padded"
        model(torch.empty(2, 3, 30, 64)).sum().backward()


@pytest.mark.parametrize(("spec", "last"), [("swin-v2-tiny", 0.1), ("swin-v2-tiny(drop_path=0.3)", 0.3)])
def test_stochastic_depth_is_timms_unless_it_is_set(spec: str, last: float) -> None:
    with torch.device("meta"):
        model: Any = models.build(spec, (3, 32, 32), 10)
    assert model.layers[-1].blocks[-1].drop_path1.drop_prob == pytest.approx(last)


def test_a_window_of_one_token_has_finite_tables_under_a_timm_that_divides_by_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def poisoned(*arguments: Any, **options: Any) -> nn.Module:
        model = create(*arguments, **options)
        model.layers[3].blocks[0].attn.relative_coords_table.fill_(torch.nan)
        return model

    monkeypatch.setattr(timm, "create_model", poisoned)
    model = models.build("swin-v2-tiny(patch=2)", (1, 16, 16), 10)
    assert all(buffer.isfinite().all() for buffer in model.buffers())


def scrambled() -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.swin_v2_t(weights=None, num_classes=10)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) if parameter.ndim == 1 else 0)
    return network.eval()


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 72, 48), (3, 260, 260)])
def test_padded_windows_compute_what_torchvisions_network_does_with_its_weights(shape: models.Shape) -> None:
    """The grids are below, between and above whole windows; 260 px leaves 65, 33, 17 and 9 tokens a side, all shifted."""
    network, images = scrambled(), torch.randn(1, *shape)
    with torch.no_grad():
        wanted = network(images)
    apart = {}
    for windows in ("pad", "shrink"):
        ours = models.build(f"swin-v2-tiny(patch=4, windows={windows})", shape, 10).eval()
        state = torchvision_swin(network.state_dict(), ours)
        assert state is not None
        ours.load_state_dict(state)
        with torch.no_grad():
            apart[windows] = float((ours(images) - wanted).abs().max() / wanted.abs().max())
    assert apart["pad"] < 1e-5 and apart["shrink"] > 0.05, apart


def test_padded_windows_are_recorded_and_train() -> None:
    with torch.device("meta"):
        model = models.build("swin-v2-tiny(windows=pad)", (3, 64, 64), 10)
        assert models.adaptation(model) == "windows padded"
        model(torch.empty(2, 3, 64, 64)).sum().backward()
        assert models.adaptation(models.build("swin-v2-tiny(windows=pad)", (3, 256, 256), 10)) == ""


@pytest.mark.parametrize(
    ("spec", "side", "remark"),
    [
        ("swin-v2-tiny", 64, "windows=shrink: "),
        ("swin-v2-tiny", 224, "windows=shrink: "),
        ("swin-v2-tiny", 260, "windows=shrink: "),
        ("swin-v2-tiny(windows=pad)", 64, "windows=pad: "),
        ("swin-v2-tiny", 256, ""),
        ("swin-v2-tiny(windows=pad)", 256, ""),
    ],
)
def test_who_loads_published_weights_is_told_what_becomes_of_the_windows_where_it_matters(
    spec: str, side: int, remark: str
) -> None:
    with torch.device("meta"):
        remarks = models.remarks(models.build(spec, (3, side, side), 10))
    assert len(remarks) == bool(remark) and all(line.startswith(remark) for line in remarks)


def test_another_word_for_windows_is_refused() -> None:
    with pytest.raises(BadOption, match="windows must be 'shrink' or 'pad', not 'padded'"):
        models.build("swin-v2-tiny(windows=padded)", (3, 64, 64), 10)

"""`timm/NAME`: any classifier of timm, fitted to its images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch

from harness import models
from harness.core.errors import BadOption
from harness.models.any_timm import settings


def test_the_table_of_settings_is_what_is_built(docstring_table: Callable[[Any], list[list[str]]]) -> None:
    for name, pixels, recorded in docstring_table(settings):
        side = int(pixels)
        with torch.device("meta"):
            model = models.build(f"timm/{name}", (1, side, side), 7)
            assert models.adaptation(model) == recorded, (name, pixels)
            assert model(torch.empty(2, 1, side, side)).shape == (2, 7), (name, pixels)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 28, 20)])
def test_a_model_of_another_family_trains_on_small_images(name: str, shape: tuple[int, int, int]) -> None:
    model = models.build(f"timm/{name}", shape, 5)
    images = torch.randn(3, *shape)
    model(images).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.eval()(images).shape == (3, 5)


def test_trying_sizes_leaves_the_random_stream_alone() -> None:
    torch.manual_seed(3)
    ours = models.build("timm/resnet10t", (3, 32, 32), 10).state_dict()
    torch.manual_seed(3)
    plain = timm.create_model("resnet10t", in_chans=3, num_classes=10).state_dict()
    assert ours.keys() == plain.keys()
    assert all(torch.equal(ours[k], plain[k]) for k in plain)


def test_stochastic_depth_reaches_the_model() -> None:
    layers: list[Any] = list(models.build("timm/test_vit(drop_path=0.2)", (3, 32, 32), 10).modules())
    rates = [layer.drop_prob for layer in layers if hasattr(layer, "drop_prob")]
    assert max(rates) == pytest.approx(0.2)


def test_a_model_that_works_at_no_size_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[int, int]] = []

    def refuse(name: str, shape: models.Shape, keywords: dict[str, Any], candidate: Any) -> None:
        tried.append(candidate.size)
        raise AssertionError(f"no good at {candidate.size[0]}")

    monkeypatch.setattr("harness.models.any_timm._try", refuse)
    with pytest.raises(BadOption, match=r"'timm/resnet10t' takes no images of shape .* no good at 40"):
        models.build("timm/resnet10t", (3, 40, 40), 10)
    assert tried == [(40, 40), (64, 64), (96, 96), (128, 128), (160, 160), (176, 176)]


def test_a_model_that_is_no_classifier_is_refused() -> None:
    with pytest.raises(BadOption, match=r"^model 'timm/deepseek_vit_412m_enc' is no image classifier"):
        models.build("timm/deepseek_vit_412m_enc", (3, 56, 56), 10)


def test_no_image_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[int, int]] = []

    def refuse(name: str, shape: models.Shape, keywords: dict[str, Any], candidate: Any) -> None:
        tried.append(candidate.size)
        raise AssertionError("no good")

    monkeypatch.setattr("harness.models.any_timm._try", refuse)
    with pytest.raises(BadOption, match="no good"):
        models.build("timm/resnet10t", (3, 200, 20), 10)
    assert tried == [(200, 20)]

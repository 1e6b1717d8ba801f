"""The convolutional students that timm provides."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

from harness import models

PUBLISHED = {  # torchvision's tables of 1000-class models
    "resnet18": 11_689_512,
    "resnet101": 44_549_160,
    "efficientnet-b0": 5_288_548,
    "mobilenet-v2": 3_504_872,
}


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_a_standard_model_has_its_published_size(name: str, count: int) -> None:
    with torch.device("meta"):
        model = models.build(name, (3, 224, 224), 1000)
    assert models.parameters_count(model) == count
    assert models.adaptation(model) == ""


@pytest.mark.parametrize("name", ["resnet18", "resnet101"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_modified_resnet_differs_in_its_stem_alone(name: str, channels: int) -> None:
    with torch.device("meta"):
        standard = models.build(name, (channels, 32, 32), 10)
        modified = models.build(f"{name}-modified", (channels, 32, 32), 10)
    stem = modified.get_submodule("conv1")
    assert isinstance(stem, nn.Conv2d)
    assert (stem.kernel_size, stem.stride, stem.padding, stem.bias) == ((3, 3), (1, 1), (1, 1), None)
    assert any(isinstance(m, nn.MaxPool2d) for m in standard.modules())
    assert not any(isinstance(m, nn.MaxPool2d) for m in modified.modules())
    assert models.parameters_count(standard) - models.parameters_count(modified) == 64 * channels * (7 * 7 - 3 * 3)
    rest = {k: v.shape for k, v in standard.state_dict().items() if k != "conv1.weight"}
    assert rest == {k: v.shape for k, v in modified.state_dict().items() if k != "conv1.weight"}


@pytest.mark.parametrize(("name", "side"), [("resnet18", 8), ("resnet18-modified", 32)])
def test_the_first_stage_sees_the_image_at_the_size_its_stem_leaves(name: str, side: int) -> None:
    with torch.device("meta"):
        model = models.build(name, (3, 32, 32), 10)
        sides: list[int] = []
        model.get_submodule("layer1").register_forward_pre_hook(lambda module, args: sides.append(args[0].shape[-1]))
        model(torch.empty(2, 3, 32, 32))
    assert sides == [side]


def test_resnet_blocks_start_with_open_residual_branches() -> None:
    model = models.build("resnet18", (3, 32, 32), 10)
    assert all(torch.all(v == 1) for k, v in model.named_parameters() if k.endswith("bn2.weight"))


@pytest.mark.parametrize("name", [*PUBLISHED, "resnet18-modified", "swin-v2-tiny", "timm/resnet10t"])
def test_no_student_is_pretrained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    create = timm.create_model

    def watched(*args: Any, **keywords: Any) -> nn.Module:
        asked.append(keywords)
        return create(*args, **keywords)

    monkeypatch.setattr(timm, "create_model", watched)
    with torch.device("meta"):
        models.build(name, (3, 32, 32), 10)
    assert asked
    assert all(keywords["pretrained"] is False for keywords in asked)


@pytest.mark.parametrize("spec", ["mobilenet-v2(dropout=0.5)", "efficientnet-b0(dropout=0.5)", "efficientnet-b0(drop_path=0.5)"])
def test_a_rate_that_is_set_makes_training_random_and_its_default_does_not(spec: str) -> None:
    images = torch.randn(8, 3, 16, 16)
    for given, repeats in ((spec, False), (spec.partition("(")[0], True)):
        torch.manual_seed(0)
        model = models.build(given, (3, 16, 16), 10)
        with torch.no_grad():
            assert torch.equal(model(images), model(images)) is repeats, given

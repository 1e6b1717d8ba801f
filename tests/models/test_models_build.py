"""The registry of students: names, laziness, what `build` refuses and what it records."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from harness import models
from harness.core.errors import BadOption, DataError, PluginError, UnknownName


@pytest.fixture
def entered() -> Iterator[str]:
    yield "my-model"
    models.registry.remove("my-model")


def test_every_student_of_the_protocol_has_a_name() -> None:
    expected = {f"convnet{depth}" for depth in range(1, 9)} | {
        *("resnet18", "resnet18-modified", "resnet101", "resnet101-modified"),
        *("efficientnet-b0", "mobilenet-v2", "swin-v2-tiny", "timm/*"),
    }
    assert expected <= set(models.names())


def test_listing_and_describing_models_imports_neither_torch_nor_timm() -> None:
    code = (
        "import sys; from harness import models\n"
        "told = [models.describe(name) for name in models.names()]\n"
        "assert all(d.summary for d in told), told\n"
        "assert models.describe('convnet3').parameters == {'width': '128', 'norm': 'batch', 'padding': '1'}, told\n"
        "assert not {'torch', 'timm', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("spec", "error", "hint"),
    [
        ("convnt3", UnknownName, "convnet3"),
        ("resnet-18-modified", UnknownName, "resnet18-modified"),
        ("convnet3(widht=64)", BadOption, "'width'"),
        ("convnet3(width=wide)", BadOption, "a whole number"),
        ("convnet3(width=0)", BadOption, "at least 1"),
        ("convnet3(norm=instanse)", BadOption, "'instance'"),
        ("resnet18(width=64)", BadOption, "no parameter 'width'"),
        ("mobilenet-v2(dropout=1.5)", BadOption, r"dropout must be in \[0, 1\)"),
        ("efficientnet-b0(drop_path=-1)", BadOption, r"drop_path must be in \[0, 1\)"),
        ("swin-v2-tiny(drop_path=1)", BadOption, r"drop_path must be in \[0, 1\)"),
        ("swin-v2-tiny(patch=64)", BadOption, "from 1 to 32 px"),
        ("timm/resnet10x", UnknownName, "'resnet10t'"),
        ("timm/resnet18.a1_in1k", UnknownName, "'resnet18'"),
        ("timm/hf-hub:timm/resnet18", UnknownName, "timm has no model"),
        ("timm/*", UnknownName, "timm/resnet10t"),
        ("timm/vgg11(drop_path=0.1)", BadOption, "no parameter 'drop_path'"),
        ("timm/resnet10t(drop_path=much)", BadOption, r"drop_path must be in \[0, 1\)"),
        ("timm/resnet10t(width=3)", BadOption, "'drop_path'|no parameter 'width'"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_would_be_right(spec: str, error: type[Exception], hint: str) -> None:
    with pytest.raises(error, match=hint):
        models.build(spec, (3, 32, 32), 10)


@pytest.mark.parametrize(("shape", "classes"), [((32, 32), 10), ((3, 0, 32), 10), ((3, 32, 32), 0)])
def test_a_shape_that_no_image_has_is_refused(shape: tuple[int, int, int], classes: int) -> None:
    with pytest.raises(DataError, match="channels, height, width"):
        models.build("convnet1", shape, classes)


def test_a_registered_model_is_built_with_its_options_and_has_an_adaptation(entered: str) -> None:
    @models.register(entered)
    def mine(shape: models.Shape, classes: int, *, bias: bool = True) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes, bias=bias)).eval()

    model = models.build({"name": entered, "bias": False}, (1, 4, 6), 3)
    assert model(torch.ones(2, 1, 4, 6)).shape == (2, 3)
    assert models.parameters_count(model) == 1 * 4 * 6 * 3
    assert model.giftbench_adaptation == ""
    assert model.training


def test_a_registered_function_that_makes_no_module_is_named(entered: str) -> None:
    models.register(entered)(lambda shape, classes: "a string")
    with pytest.raises(PluginError, match="'my-model' made a str"):
        models.build(entered, (1, 4, 4), 2)


def test_parameters_count_leaves_out_what_is_frozen() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    model[1].requires_grad_(False)
    assert models.parameters_count(model) == 3 * 2 + 2

"""The convolutional students that timm provides."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.layers import DropPath
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from harness import models
from harness.core.errors import BadOption
from harness.teachers.key_styles import torchvision_network, torchvision_swin

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


#: What the released code of papers takes from torchvision, and the same student here.
OF_TORCHVISION = {
    "efficientnet_b0": "efficientnet-b0(dropout=0.2, drop_path=0.2, init=torchvision)",
    "mobilenet_v2": "mobilenet-v2(dropout=0.2, init=torchvision)",
    "swin_v2_t": "swin-v2-tiny(drop_path=0.2, init=torchvision, windows=pad)",
}


def theirs(name: str) -> nn.Module:
    network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=200)
    return network


def in_our_names(network: nn.Module, ours: nn.Module) -> dict[str, Tensor]:
    """Return what torchvision's network learns under the names of ours."""
    state = network.state_dict()
    named = torchvision_network(state, ours) or torchvision_swin(state, ours)
    assert named is not None
    learned = {name for name, _ in ours.named_parameters()}
    assert learned == {name for name in named if "running" not in name and "num_batches" not in name}
    return {name: named[name] for name in learned}


@pytest.mark.parametrize(("name", "spec"), OF_TORCHVISION.items())
def test_initial_weights_of_torchvision_have_its_mean_and_width_in_every_tensor(name: str, spec: str) -> None:
    torch.manual_seed(0)
    ours = models.build(spec, (3, 64, 64), 200)
    wanted = in_our_names(theirs(name), ours)
    for layer, parameter in ours.named_parameters():
        values, other = parameter.detach(), wanted[layer]
        assert values.shape == other.shape, layer
        if values.numel() < 200 or not float(other.std()):  # constants are equal to the bit; of a few numbers nothing is told
            assert values.numel() < 200 or torch.equal(values, other), layer
            continue
        slack = 6 / values.numel() ** 0.5  # six times the deviation of a mean and of a width
        assert float((values.mean() - other.mean()).abs()) < slack * 1.5 * float(other.std()), layer
        assert float(values.std() / other.std()) == pytest.approx(1, abs=slack), layer


@pytest.mark.parametrize(("name", "spec"), OF_TORCHVISION.items())
def test_a_name_without_parameters_starts_as_timm_does(name: str, spec: str) -> None:
    """The widest difference between both: what `init` is there for."""
    torch.manual_seed(0)
    ours = models.build(spec.partition("(")[0], (3, 64, 64), 200)
    wanted = in_our_names(theirs(name), ours)
    apart = [
        float((values.std() + values.mean().abs()) / (wanted[layer].std() + wanted[layer].mean().abs()))
        for layer, values in ours.state_dict().items()
        if layer in wanted and values.numel() >= 200 and float(wanted[layer].abs().max())
    ]
    assert max(apart) > 30 if name != "swin_v2_t" else sum(ratio == 0 for ratio in apart) >= 16


def test_all_norms_of_a_swin_with_torchvisions_weights_start_at_one() -> None:
    def started_at(value: float, spec: str) -> int:
        network = models.build(spec, (3, 64, 64), 10)
        norms = [layer for layer in network.modules() if isinstance(layer, nn.LayerNorm)]
        return sum(bool((norm.weight == value).all()) for norm in norms)

    assert (started_at(0, "swin-v2-tiny"), started_at(0, OF_TORCHVISION["swin_v2_t"])) == (24, 0)
    assert started_at(1, "swin-v2-tiny") + 24 == started_at(1, OF_TORCHVISION["swin_v2_t"])


@pytest.mark.parametrize(("name", "spec"), OF_TORCHVISION.items())
def test_rates_of_dropout_and_stochastic_depth_are_torchvisions(name: str, spec: str) -> None:
    with torch.device("meta"):
        ours: Any = models.build(spec, (3, 64, 64), 200)
        other = theirs(name)
    if name == "swin_v2_t":  # theirs calls one layer twice a block, ours has two
        depths = [layer.p for layer in other.modules() if isinstance(layer, StochasticDepth) for _ in range(2)]
        mine = [layer.drop_prob for layer in ours.modules() if isinstance(layer, DropPath)]
    else:  # both have some in blocks without a shortcut, where they are not called
        blocks = [block for block in other.modules() if getattr(block, "use_res_connect", False)]
        depths = [block.stochastic_depth.p for block in blocks if hasattr(block, "stochastic_depth")]
        paths = [block.drop_path for block in ours.modules() if getattr(block, "has_skip", False)]
        mine = [path.drop_prob for path in paths if isinstance(path, DropPath)]
    assert mine == pytest.approx([rate for rate in depths if rate])
    assert bool(mine) == (name != "mobilenet_v2")
    dropped = max([layer.p for layer in other.modules() if isinstance(layer, nn.Dropout)])
    assert (ours.head.drop.p if name == "swin_v2_t" else ours.drop_rate) == dropped


@pytest.mark.parametrize(("name", "spec"), OF_TORCHVISION.items())
def test_torchvisions_weights_compute_what_they_compute_there_at_64_pixels(name: str, spec: str) -> None:
    torch.manual_seed(1)
    other = theirs(name)
    with torch.no_grad():
        for parameter in other.parameters():  # none is left at a constant that would hide what it does
            parameter.add_(0.1 * torch.randn_like(parameter) if parameter.ndim == 1 else 0)
        other.train()(torch.randn(2, 3, 64, 64))  # batch norms see something else than 0 and 1
    ours = models.build(spec, (3, 64, 64), 200)
    state = torchvision_network(other.state_dict(), ours) or torchvision_swin(other.state_dict(), ours)
    assert state is not None
    ours.load_state_dict(state)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted, logits = other.eval()(images), ours.eval()(images)
    assert float((logits - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())


@pytest.mark.parametrize("name", ["efficientnet-b0", "mobilenet-v2", "swin-v2-tiny"])
def test_an_unknown_init_is_refused_with_the_words_that_there_are(name: str) -> None:
    with pytest.raises(BadOption, match="init must be 'timm' or 'torchvision', not 'torchvison'"):
        models.build(f"{name}(init=torchvison)", (3, 64, 64), 10)


@pytest.mark.parametrize("name", ["efficientnet-b0", "mobilenet-v2", "swin-v2-tiny"])
def test_trials_keep_init_only_where_it_is_not_timms(name: str) -> None:
    """Records that were made before there was a choice keep their ids."""
    plain, said = models.registry.resolve(name), models.registry.resolve(f"{name}(init=timm)")
    assert plain.spec == said.spec == models.registry.as_written(name)
    assert "init" not in plain.spec.options and plain.label == said.label == name
    other = models.registry.resolve(f"{name}(init=torchvision)")
    assert other.spec.options["init"] == "torchvision" and other.label == f"{name}(init=torchvision)"
    assert models.registry.resolve(other.spec).label == other.label

"""Students, losses and optimizers resolved: checked by being tried once, with what a trial holds of them filled in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from harness import losses, models, optimizers
from harness.core.errors import BadOption, BoardError, GiftbenchError, PluginError
from harness.planning import resolution
from harness.planning.resolution import check_lone_batch, check_schedule, resolve_loss, resolve_model, resolve_optimizer

SHAPE, CLASSES = (1, 16, 16), 10
Shape = tuple[int, int, int]


# -- students ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def plugins() -> Iterator[list[str]]:
    """Students that compute while they are built, cannot be built, are none, and are adapted; where the first one was built."""
    devices: list[str] = []

    @models.register("computing")
    def computing(shape: Shape, classes: int) -> nn.Module:
        devices.append(torch.empty(0).device.type)
        rates = [rate.item() for rate in torch.rand(2)]  # impossible on the meta device
        size = shape[0] * shape[1] * shape[2]
        return nn.Sequential(nn.Flatten(), nn.Dropout(rates[1]), nn.Linear(size, classes))

    @models.register("hopeless")
    def hopeless(shape: Shape, classes: int) -> nn.Module:
        raise RuntimeError("no luck")

    @models.register("number")
    def number(shape: Shape, classes: int) -> int:
        return classes

    @models.register("adapted")
    def adapted(shape: Shape, classes: int) -> nn.Module:
        network = nn.Linear(1, classes)
        network.giftbench_adaptation = f"stride {shape[1] // 8}"  # type: ignore[assignment]
        return network

    yield devices
    for name in ("computing", "hopeless", "number", "adapted"):
        models.registry.remove(name)


def test_a_student_has_every_parameter_filled_in_and_a_label_of_those_that_are_not_usual() -> None:
    student = resolve_model("convnet1(width=8)", SHAPE, CLASSES)
    later = {"padding"}  # which trials have only where it is not at its default
    assert student.spec.options.keys() == models.registry.parameters("convnet1").keys() - later
    assert resolve_model("convnet1(padding=3)", SHAPE, CLASSES).spec.options.keys() > later
    assert (student.spec.options["width"], student.label) == (8, "convnet1(width=8)")
    usual = models.registry.parameters("convnet1")["width"]
    assert resolve_model(f"convnet1(width={usual})", SHAPE, CLASSES).label == "convnet1"


@pytest.mark.usefixtures("plugins")
def test_a_student_says_what_was_changed_to_meet_images_of_this_size() -> None:
    large, small = (resolve_model("adapted", shape, CLASSES) for shape in ((3, 224, 224), (3, 32, 32)))
    assert (large.adaptation, small.adaptation) == ("stride 28", "stride 4")
    assert large.spec == small.spec
    assert resolve_model("convnet1", SHAPE, CLASSES).adaptation == ""


def test_a_student_is_built_once_for_images_of_a_size_and_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []
    build = models.build

    def watched(*arguments: Any) -> nn.Module:
        network = build(*arguments)
        devices.extend({weight.device.type for weight in network.parameters()})
        return network

    monkeypatch.setattr(models, "build", watched)
    resolution._built.cache_clear()
    for name in ("convnet1(width=8)", "convnet1( width = 8 )", "convnet1(width=8)"):
        resolve_model(name, SHAPE, CLASSES)
    assert devices == ["meta"]
    resolve_model("convnet1(width=8)", SHAPE, CLASSES + 1)
    assert devices == ["meta", "meta"]


def test_a_student_that_computes_while_it_is_built_is_built_again_and_draws_from_nobodys_stream(
    plugins: list[str],
) -> None:
    state = torch.get_rng_state()
    assert resolve_model("computing", SHAPE, CLASSES).spec.name == "computing"
    assert torch.equal(torch.get_rng_state(), state)
    assert plugins == ["meta", "cpu"]


@pytest.mark.usefixtures("plugins")
def test_a_student_that_cannot_be_built_is_named_with_its_images_and_its_error() -> None:
    message = r"model 'hopeless' cannot be built for images \(1, 16, 16\): RuntimeError: no luck"
    with pytest.raises(PluginError, match=message):
        resolve_model("hopeless", SHAPE, CLASSES)


@pytest.mark.usefixtures("plugins")
def test_what_the_project_itself_says_of_a_student_is_passed_on_as_it_is() -> None:
    with pytest.raises(GiftbenchError) as raised:
        resolve_model("number", SHAPE, CLASSES)
    assert str(raised.value) == "model 'number' made a int, not a torch.nn.Module"


# -- losses ------------------------------------------------------------------------------------------------------------------


def test_a_loss_that_fails_is_named_before_anything_is_trained() -> None:
    @losses.register("failing")
    def failing(logits: Any, targets: Any) -> Any:
        raise RuntimeError("no luck")

    try:
        with pytest.raises(PluginError, match="loss 'failing' fails on a small batch: RuntimeError: no luck"):
            resolve_loss("failing")
    finally:
        losses.registry.remove("failing")


def test_a_loss_that_returns_no_scalar_is_refused() -> None:
    losses.register("vector")(lambda logits, targets: logits)
    try:
        with pytest.raises(GiftbenchError, match="loss 'vector' must return a scalar tensor"):
            resolve_loss("vector")
    finally:
        losses.registry.remove("vector")


@pytest.mark.parametrize(("loss", "needs", "uses"), [("ce", False, False), ("gift", True, True), ("kl(rescale)", True, True)])
def test_what_a_loss_takes_is_found_out_by_calling_it(loss: str, needs: bool, uses: bool) -> None:
    found = resolve_loss(loss).looks
    assert (found.needs_soft, found.soft) == (needs, uses)


def test_a_loss_is_tried_once_however_it_is_spelt() -> None:
    batches: list[int] = []

    @losses.register("counted")
    def counted(logits: Any, targets: Any, *, scale: float = 2.0) -> Any:
        batches.append(len(logits))
        return scale * logits.square().mean()

    try:
        first = resolve_loss("counted")
        tries = len(batches)
        assert resolve_loss("counted(scale=2.0)") is first
        assert len(batches) == tries > 0
        assert resolve_loss("counted(scale=3)").label == "counted(scale=3.0)"
        assert len(batches) == 2 * tries
    finally:
        losses.registry.remove("counted")


# -- optimizers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["swin-v2-tiny", "timm/swin_tiny_patch4_window7_224", "timm/vit_tiny_patch16_224"])
def test_adamw_takes_the_papers_rate_on_transformers_unless_set(model: str) -> None:
    assert resolve_optimizer("adamw", model).spec.options["lr"] == 1e-4
    assert resolve_optimizer("adamw", model).label == "adamw"
    assert resolve_optimizer("adamw(lr=0.001)", model).spec.options["lr"] == 1e-3
    assert resolve_optimizer("adam", model).spec.options["lr"] == 1e-3
    assert resolve_optimizer("adamw", "convnet3").spec.options["lr"] == 1e-3


def test_a_rate_that_the_board_does_not_state_is_no_part_of_the_label() -> None:
    for name in ("adamw", "adamw-weights-only", "adamw(weight_decay=0.1)"):
        filled, usual = (resolve_optimizer(name, model) for model in ("timm/vit_tiny_patch16_224", "convnet3"))
        assert filled.label == usual.label == name
        assert filled.options == usual.options | {"lr": 1e-4}


def test_a_student_whose_batch_norm_sees_one_value_a_channel_is_refused_a_batch_of_one(refused) -> None:
    check_lone_batch(resolve_model("convnet1(width=4)", (1, 16, 16), 10), (1, 16, 16), 10)
    with refused(BoardError, "model 'resnet18' cannot train on a batch of one image", "one value of each channel"):
        check_lone_batch(resolve_model("resnet18", (1, 16, 16), 10), (1, 16, 16), 10)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [("multistep(milestones=['x'])", "a milestone is a fraction"), ("warmup-cosine(start=2)", "start in")],
)
def test_a_schedule_is_made_once_before_anything_is_trained(schedule: str, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        check_schedule(optimizers.schedules.resolve(schedule), 3)
    for name in optimizers.schedules.names():
        check_schedule(optimizers.schedules.resolve(name), 1)

"""`check_model`: what giftbench expects of a student."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from harness import models
from harness.core.options import keyword_defaults
from harness.core.registry import Registry
from harness.core.resolved import Resolved
from harness.core.spec import Spec
from harness.testing.checks import expect, no_waiting, works

Shape = tuple[int, int, int]
BATCH = 4


@dataclass(frozen=True)
class _Model:
    """A student to be: how to build it and what to call it."""

    name: str
    registry: Registry[object]
    spec: Resolved[object]
    builder: Callable[[Shape, int], object]
    classes: int

    def build(self, shape: Shape, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(), works(self.name, f"to build for images {list(shape)}"):
            torch.manual_seed(seed)
            model = self.builder(shape, self.classes)
        kind = type(model).__name__
        expect(
            isinstance(model, nn.Module), self.name, f"is built as a {kind} for images {list(shape)}; return a torch.nn.Module"
        )
        assert isinstance(model, nn.Module)
        return model.train()

    def logits(self, model: nn.Module, images: Tensor, where: str) -> Tensor:
        with torch.random.fork_rng(), works(self.name, f"on images {list(images.shape)} {where}"):
            torch.manual_seed(0)
            logits = model(images)
        wanted = (len(images), self.classes)
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        right = isinstance(logits, Tensor) and logits.shape == wanted
        expect(right, self.name, f"returns {shape} {where}; return one row of logits an image, {list(wanted)}")
        assert isinstance(logits, Tensor)
        expect(bool(logits.isfinite().all()), self.name, f"returns logits that are not finite {where}")
        return logits


def check_model(
    model: str | Callable[..., nn.Module], *, shape: Shape = (1, 16, 16), classes: int = 10, **options: object
) -> None:
    """Check that a student keeps what giftbench expects of one.

    It is built for images of one and three channels, of the size in `shape` and of twice that; it returns finite logits
    [B, classes] in train and eval mode, in float32 and under bf16 autocast, without waiting for the device; its gradient reaches
    every parameter; its weights come from torch's global random stream and travel in its state_dict; and every parameter that a
    board can set shows in its label.

    Args:
        model: a registered name, with parameters perhaps, such as "convnet3(width=64)", or the function
            `model(shape, classes, *, option=default)` itself.
        shape: (channels, height, width) in pixels of the images that it is looked at most closely with.
        classes: width of the logits.
        options: parameters of the model, by name.
    Raises: CheckFailed, in one sentence, at the first thing that is not so. UnknownName or BadOption for a model or a parameter
        that there is not.
    """
    student = _made(model, options, classes)
    for each in _shapes(shape):
        _returns_logits(student, each)
    _has_a_gradient_at_every_parameter(student, shape)
    _takes_its_weights_from_the_seed(student, shape)
    _keeps_its_weights_in_its_state(student, shape)
    _works_under_autocast(student, shape)
    _does_not_wait(student, shape)
    _shows_its_parameters(student)


def _made(model: str | Callable[..., nn.Module], options: dict[str, object], classes: int) -> _Model:
    entry = models.registry.get(models.registry.resolve(model, **options).name) if isinstance(model, str) else model
    remedy = "register a function model(shape, classes, *, option=default) that returns an instance"
    expect(not isinstance(entry, type), f"model {getattr(entry, '__name__', '')!r}", f"is a class; {remedy}")
    if isinstance(model, str):
        spec = models.registry.resolve(model, **options)
        return _Model(f"model {spec.label!r}", models.registry, spec, partial(models.build, spec), classes)
    registry: Registry[models.MakeModel] = Registry("model")
    name = getattr(model, "__name__", "model")
    registry.register(name)(model)
    resolved = registry.resolve(Spec(name=name), **options)
    return _Model(f"model {resolved.label!r}", registry, resolved, resolved.create(), classes)


def _shapes(shape: Shape) -> Iterator[Shape]:
    channels, height, width = shape
    for scale in (1, 2):
        for count in sorted({1, 3, channels}):
            yield count, scale * height, scale * width


def _images(shape: Shape, count: int = BATCH) -> Tensor:
    images = torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))
    return images.contiguous(memory_format=torch.channels_last)


def _returns_logits(student: _Model, shape: Shape) -> None:
    model = student.build(shape)
    student.logits(model, _images(shape), "in train mode")
    model.eval()
    with torch.inference_mode():
        student.logits(model, _images(shape, 1), "in eval mode")
        first = student.logits(model, _images(shape), "in eval mode")
        alike = first.equal(student.logits(model, _images(shape), "in eval mode"))
    expect(alike, student.name, "gives two answers to the same images in eval mode; leave randomness to train mode")


def _has_a_gradient_at_every_parameter(student: _Model, shape: Shape) -> None:
    model = student.build(shape)
    logits = student.logits(model, _images(shape), "in train mode")
    with works(student.name, "in its backward pass"):
        torch.autograd.backward((logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))).sum())
    for name, parameter in model.named_parameters():
        problem = f"has a parameter that no gradient reaches, {name}; use it in forward(), or register it as a buffer"
        expect(parameter.grad is not None or not parameter.requires_grad, student.name, problem)
        finite = parameter.grad is None or bool(parameter.grad.isfinite().all())
        expect(finite, student.name, f"has a gradient that is not finite at {name}")
    learns = any(parameter.requires_grad for parameter in model.parameters())
    expect(learns, student.name, "has no parameter that learns; assign torch modules or nn.Parameter to its attributes")


def _takes_its_weights_from_the_seed(student: _Model, shape: Shape) -> None:
    first, again, other = (student.build(shape, seed).state_dict() for seed in (0, 0, 1))
    same = first.keys() == again.keys() and all(first[key].equal(again[key]) for key in first)
    remedy = "draw weights from torch's global random stream alone"
    expect(same, student.name, f"has other weights when it is built again after the same torch.manual_seed; {remedy}")
    differ = any(not first[key].equal(other[key]) for key in first)
    expect(differ, student.name, f"has the same weights after another torch.manual_seed; {remedy}")


def _keeps_its_weights_in_its_state(student: _Model, shape: Shape) -> None:
    trained, fresh = student.build(shape, 0), student.build(shape, 1)
    student.logits(trained, _images(shape), "in train mode")  # running statistics are state too
    with works(student.name, "to take back its own state_dict"):
        fresh.load_state_dict(trained.state_dict())
    with torch.inference_mode():
        kept, loaded = (student.logits(model.eval(), _images(shape), "in eval mode") for model in (trained, fresh))
    remedy = "keep all weights in parameters and buffers"
    expect(kept.equal(loaded), student.name, f"answers otherwise once its state_dict is loaded into another; {remedy}")


def _works_under_autocast(student: _Model, shape: Shape) -> None:
    """Gradients need not be finite here: a deep network's batch norms may blow up over a few bf16 values of a one-pixel map."""
    model = student.build(shape)
    with torch.autocast("cpu", torch.bfloat16):
        logits = student.logits(model, _images(shape), "under bf16 autocast")
    with works(student.name, "in its backward pass under bf16 autocast"):
        torch.autograd.backward(logits.float().square().mean())


def _does_not_wait(student: _Model, shape: Shape) -> None:
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        model, images = student.build(shape).to(device), _images(shape).to(device)
        for mode in (True, False):
            model.train(mode)
            with torch.random.fork_rng(), works(student.name, f"on the device {device}"), no_waiting(student.name):
                model(images)


def _shows_its_parameters(student: _Model) -> None:
    usual = student.spec.label
    for option, default in keyword_defaults(student.registry.get(student.spec.name)).items():
        given = student.spec.options.get(option, default)
        changed = Spec(name=student.spec.name, options={**student.spec.options, option: _another(given, default)})
        shown = student.registry.label(changed) != usual
        expect(shown, student.name, f"has the same label whatever {option} is; give it a default that compares by its value")


def _another(value: object, default: object) -> object:
    """Return another value of the same type; nothing is built with it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, (list, tuple)):
        return [*value, 1]
    return f"{value}x" if isinstance(value, str) else 1

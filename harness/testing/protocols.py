"""`check_protocol`: what giftbench expects of a protocol."""

from __future__ import annotations

from harness import optimizers
from harness.boards.protocol import Protocol
from harness.boards.recipes import registry
from harness.testing.checks import expect, works

#: Sets of all sizes: images, dataset, classes, mosaic factor.
CASES = (
    (10, "cifar10", 10, 1),
    (500, "cifar10", 10, 1),
    (1000, "cifar100", 100, 2),
    (10_000, "imagenet-1k", 1000, 2),
    (5, "mine", 5, 1),
)


def check_protocol(protocol: str) -> None:
    """Check that a protocol keeps what giftbench expects of one.

    For sets of any size it states at least one epoch, batches of at least one image, an optimizer, a schedule, an augmentation
    and a mixing that are there, with parameters that these have; the same ones each time.

    Args:
        protocol: its name, as boards write it.
    Raises: CheckFailed (an AssertionError) of one sentence; UnknownName for a name that there is not.
    """
    registry.resolve(protocol)
    name = f"protocol {protocol!r}"
    for images, dataset, classes, factor in CASES:
        where = f"for {images} images of {dataset}"
        with works(name, where):
            whole = Protocol.model_validate(protocol).resolved(images, dataset, classes=classes, factor=factor, model="convnet3")
        expect(whole.batch_size <= max(images, 1000), name, f"has batches of {whole.batch_size} {where}")
        with works(name, f"to name an optimizer and a schedule {where}"):
            optimizers.resolve(whole.own_optimizer)
            optimizers.schedules.resolve(whole.schedule)
        with works(name, where):
            again = Protocol.model_validate(protocol).resolved(images, dataset, classes=classes, factor=factor, model="convnet3")
        expect(whole == again, name, f"states something else the second time {where}")

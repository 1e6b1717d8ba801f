"""Templates of `giftbench new`: for each kind a plugin that works as it stands, and its test. Nothing heavy loads with one."""

from __future__ import annotations

LOSS = '''\
"""The loss {name}, a plugin of giftbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import losses

if TYPE_CHECKING:
    from harness import Targets
    from torch import Tensor


# A board sets what stands after the *, as "{name}(weight=0.5)".
@losses.register("{name}")
def {stem}(logits: Tensor, targets: Targets, *, weight: float = 1.0) -> Tensor:
    """Mean squared error between the logits, times a weight.

    Args:
        logits: student outputs, [B, C].
        targets: soft labels, [B, C]; see the comments below for the other ways to ask.
        weight: what the loss is multiplied by.
    Returns: a scalar.
    Raises: MissingTargets when soft labels are absent.
    """
    # targets.logits() and targets.probabilities(temperature) are the soft labels,
    # [B, C], detached; targets.labels() are the hard ones, [B]. Each says when they
    # are missing.
    return weight * (logits - targets.logits()).square().mean()
'''

LOSS_TEST = '''\
"""The loss {name} keeps what giftbench expects of a loss."""

from pathlib import Path

from harness import plugins
from harness.testing import check_loss

plugins.load_file(Path(__file__).with_name("{stem}.py"))


def test_{stem}_conforms() -> None:
    check_loss("{name}")


def test_{stem}_conforms_with_another_weight() -> None:
    check_loss("{name}", weight=0.5)
'''

SCENARIO = '''\
"""The scenario {name}, a plugin of giftbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import Scenario, ScenarioOptions, scenarios

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Plan, Trial


@scenarios.register("{name}")
class {title}(Scenario):
    """Accuracy against the number of epochs."""

    version = 1  # raise it whenever a score would change under the same name
    columns = "epochs"  # the label that makes a table's columns; rows are losses

    class Options(ScenarioOptions):
        # What a board may say: [[scenarios]] name = "{name}", epochs = [5, 50]
        epochs: tuple[int, ...] = (2, 4)

    def trials(self, view: Plan, options: Options) -> Iterator[Trial]:
        for epochs in options.epochs:
            # A trial for every set, loss and seed of the board. What a protocol, model,
            # optimizer, … cannot say goes into options={{…}}: the trial's id rests on it.
            # The label keeps all epochs in one table, not one table a protocol.
            yield from self.vary(
                view,
                protocol={{"epochs": epochs}},
                labels={{"protocol": view.protocol.label}},
            )

    # Override run(self, trial, workbench) to do something else than train one student
    # and test it, and tables(self, records) for tables that are no rows by columns.
'''

SCENARIO_TEST = '''\
"""The scenario {name} keeps what giftbench expects of a scenario."""

from pathlib import Path

from harness import plugins
from harness.testing import check_scenario

plugins.load_file(Path(__file__).with_name("{stem}.py"))


def test_{stem}_conforms() -> None:
    # The first value of an option is what the board says; the others must change it.
    check_scenario("{name}", options={{"epochs": [[1, 2], [3]]}})
'''


OPTIMIZER = '''\
"""The optimizer {name}, a plugin of giftbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import optimizers

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


# A board sets what stands after the *, as "{name}(lr=0.01)".
@optimizers.register("{name}")
def {stem}(
    model: nn.Module,
    *,
    lr: float = 0.05,
    momentum: float = 0.9,
) -> Optimizer:
    """SGD with Nesterov momentum and no weight decay.

    Args:
        model: the network, all of whose parameters are to be stepped.
        lr: learning rate; schedules change it in the optimizer's param_groups.
        momentum: in [0, 1).
    """
    from torch.optim import SGD

    return SGD(model.parameters(), lr, momentum, nesterov=momentum > 0)
'''

OPTIMIZER_TEST = '''\
"""The optimizer {name} keeps what giftbench expects of an optimizer."""

from pathlib import Path

from harness import plugins
from harness.testing import check_optimizer

plugins.load_file(Path(__file__).with_name("{stem}.py"))


def test_{stem}_conforms() -> None:
    check_optimizer("{name}")


def test_{stem}_conforms_without_momentum() -> None:
    check_optimizer("{name}", momentum=0.0)
'''

SCHEDULE = '''\
"""The schedule {name}, a plugin of giftbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import schedules

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


# A board sets what stands after the *, as "{name}(power=1.0)".
@schedules.register("{name}")
def {stem}(
    optimizer: Optimizer,
    epochs: int,
    *,
    power: float = 2.0,
) -> LRScheduler:
    """Let the learning rate fall to 0 along a power of the epochs that are left.

    Args:
        optimizer: whose rates are changed; it is stepped once after every epoch.
        epochs: of the training, at least 1.
        power: 1 is a straight line, 2 falls faster at first.
    """
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, lambda epoch: max(1 - epoch / epochs, 0) ** power)
'''

SCHEDULE_TEST = '''\
"""The schedule {name} keeps what giftbench expects of a schedule."""

from pathlib import Path

from harness import plugins
from harness.testing import check_schedule

plugins.load_file(Path(__file__).with_name("{stem}.py"))


def test_{stem}_conforms() -> None:
    check_schedule("{name}")


def test_{stem}_conforms_as_a_straight_line() -> None:
    check_schedule("{name}", power=1.0)
'''

AUGMENTATION = '''\
"""The augmentation step {name}, a plugin of giftbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import augmentations

if TYPE_CHECKING:
    from torch import Tensor


# A protocol has it between other steps: "flip+{name}(strength=0.2)".
@augmentations.register("{name}")
def {stem}(
    batch: Tensor,
    generator: augmentations.Streams,
    *,
    strength: float = 0.1,
) -> Tensor:
    """Make each image brighter or darker as a whole.

    Args:
        batch: normalised images, [B, C, H, W], on the student's device.
        generator: what all draws come from; uniforms takes it as it is.
        strength: the most that is added, in units of the normalised images.
    Returns: a new batch, [B, C, H, W].
    """
    draws = augmentations.uniforms(
        len(batch), 1, 1, 1, device=batch.device, generator=generator
    )
    return batch + strength * (2 * draws - 1)
'''

AUGMENTATION_TEST = '''\
"""The augmentation step {name} keeps what giftbench expects of one."""

from pathlib import Path

from harness import plugins
from harness.testing import check_augmentation

plugins.load_file(Path(__file__).with_name("{stem}.py"))


def test_{stem}_conforms() -> None:
    check_augmentation("{name}")


def test_{stem}_conforms_after_another_step() -> None:
    check_augmentation("pad-crop+{name}(strength=0.5)")
'''

MODEL = '''\
"""The student {name}, a plugin of giftbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import models

if TYPE_CHECKING:
    from torch import nn


# A board sets what stands after the *, as "{name}(width=64)".
@models.register("{name}")
def {stem}(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 16,
) -> nn.Module:
    """Two convolutions and a classifier, for images of any size.

    Args:
        shape: (channels, height, width) of the images.
        classes: how many logits an image has.
        width: channels of the first convolution.
    Returns: a network from scratch, [B, *shape] in and [B, classes] out.
    """
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(shape[0], width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, classes),
    )
'''

MODEL_TEST = '''\
"""The student {name} keeps what giftbench expects of a student."""

from pathlib import Path

from harness import plugins
from harness.testing import check_model

plugins.load_file(Path(__file__).with_name("{stem}.py"))


def test_{stem}_conforms() -> None:
    check_model("{name}")


def test_{stem}_conforms_in_colour_and_another_width() -> None:
    check_model("{name}", shape=(3, 32, 32), width=8)
'''

DATASET = '''\
"""The dataset {name}, a plugin of giftbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import datasets

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Dataset


# A board sets what stands after the *, as "{name}(size=32)".
@datasets.register("{name}")
def {stem}(data_dir: Path | None, *, size: int = 16) -> Dataset:
    """Grey bars that stand or lie, in noise: 200 train and 100 test images.

    Args:
        data_dir: the folder of the datasets' files, which this one needs none of.
        size: pixels a side.
    """
    import torch
    from harness import Dataset, Split

    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 2
    bars = 200 * (torch.arange(size) % 4 < 2).expand(size, size)
    clean = torch.stack([bars if label else bars.T for label in labels])[:, None]
    noise = torch.randint(0, 56, clean.shape, generator=draws)
    images = (clean + noise).to(torch.uint8)
    # The normalisation is of pixels in [0, 1], a number a channel.
    return Dataset(
        "{name}",
        Split(images[:200], labels[:200]),
        Split(images[200:], labels[200:]),
        classes=("lying", "standing"),
        mean=(0.5,),
        std=(0.4,),
    )
'''

DATASET_TEST = '''\
"""The dataset {name} is whole, and the same each time."""

from pathlib import Path

from harness import datasets, plugins

plugins.load_file(Path(__file__).with_name("{stem}.py"))


def test_{stem}_has_images_and_classes() -> None:
    dataset = datasets.load("{name}")
    assert dataset.shape == (1, 16, 16)
    assert (len(dataset.train), len(dataset.test)) == (200, 100)
    assert set(dataset.test.labels.tolist()) == set(range(len(dataset.classes)))


def test_{stem}_is_the_same_each_time() -> None:
    digest = datasets.load("{name}").digest
    assert digest == datasets.load("{name}").digest
    assert digest != datasets.load("{name}(size=32)").digest
'''

DISTILLER = '''\
"""The distiller {name}, a plugin of giftbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import distillers

if TYPE_CHECKING:
    from harness import DistilledSet, Source


# A board sets what stands after the *: [[sets]] method = "{name}", keep = 0.5.
@distillers.register("{name}")
def {stem}(source: Source, *, keep: float = 0.0) -> DistilledSet:
    """Means of real images, as many a class as are asked for.

    Args:
        source: the dataset, source.ipc, source.seed, source.device; source.teacher is
            trained when it is asked for.
        keep: the share of a single image that each mean is mixed with.
    """
    import torch
    from harness import DistilledSet, seeds

    source.check_ipc()
    train, classes = source.dataset.train, len(source.dataset.classes)
    images = []
    for label in range(classes):
        members = (train.labels == label).nonzero()[:, 0]
        stream = seeds.generator(source.seed, f"{name}/{{label}}")
        order = members[torch.randperm(len(members), generator=stream)]
        for part in order.tensor_split(source.ipc):
            pixels = train.images[part].float()
            images.append(keep * pixels[0] + (1 - keep) * pixels.mean(0))
    return DistilledSet(
        torch.stack(images).round().to(torch.uint8),
        torch.arange(classes).repeat_interleave(source.ipc),
        dataset=source.dataset.name,
        method="{name}",
        classes=classes,
        provenance={{"seed": source.seed, "keep": keep}},
        known_dataset=False,
    )
'''

DISTILLER_TEST = '''\
"""The distiller {name} makes whole sets, the same each time."""

from pathlib import Path

from harness import Source, datasets, distillers, plugins

plugins.load_file(Path(__file__).with_name("{stem}.py"))
DIGITS = datasets.load("digits")


def test_{stem}_makes_as_many_images_a_class_as_are_asked_for() -> None:
    made = distillers.create("{name}")(Source(DIGITS, ipc=2))
    assert made.labels.bincount().tolist() == [2] * 10
    assert made.shape == DIGITS.shape


def test_{stem}_makes_the_same_set_of_the_same_seed_alone() -> None:
    digests = [
        distillers.create("{name}")(Source(DIGITS, ipc=2, seed=seed)).digest
        for seed in (0, 0, 1)
    ]
    assert digests[0] == digests[1] != digests[2]
'''

READER = '''\
"""The reader {name}, a plugin of giftbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import readers

if TYPE_CHECKING:
    from harness import DistilledSet, Reading


# giftbench import "{name}(largest=255.0)" PATH --dataset cifar10 -o FILE
@readers.register("{name}")
def {stem}(reading: Reading, *, largest: float = 1.0) -> DistilledSet:
    """One .npz file of pixels, images [N, C, H, W], and of classes, labels [N].

    Args:
        reading: the path, the dataset's card, and reading.say for what was assumed.
        largest: the value of white.
    Raises: DataError that names the file.
    """
    import numpy
    from harness import DataError, DistilledSet

    try:
        with numpy.load(reading.path, allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{{reading.path}}: no images and labels ({{error}})") from None
    reading.say(f"{{reading.path}}: pixels in [0, {{largest:g}}]")
    try:
        return DistilledSet(
            images.astype("float32") / largest,
            labels,
            dataset=reading.card.name,
            method="{name}",
            classes=reading.card.classes,
            known_dataset=False,
        )
    except DataError as error:
        raise DataError(f"{{reading.path}}: {{error}}") from None
'''

READER_TEST = '''\
"""The reader {name} reads what it is for, and names what it cannot."""

from pathlib import Path

import numpy
import pytest
from harness import DataError, Reading, datasets, plugins, readers

plugins.load_file(Path(__file__).with_name("{stem}.py"))
CARD = datasets.card("digits")


def test_{stem}_reads_images_and_labels(tmp_path: Path) -> None:
    images = numpy.random.default_rng(0).random((10, *CARD.shape))
    numpy.savez(tmp_path / "set.npz", images=images, labels=numpy.arange(10))
    read = readers.create("{name}")(Reading(tmp_path / "set.npz", CARD))
    assert read.labels.tolist() == list(range(10))
    assert numpy.allclose(read.images.numpy(), images, atol=1e-6)


def test_{stem}_names_a_file_that_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no images and labels"):
        readers.create("{name}")(Reading(tmp_path / "set.npz", CARD))
'''

EXECUTOR = '''\
"""The executor {name}, a plugin of giftbench."""

from __future__ import annotations

from harness import executors


# giftbench run BOARD --plugin {stem}.py --executor "{name}(workers=2)"
@executors.register("{name}")
def {stem}(
    errand: executors.Errand,
    *,
    workers: int = 1,
) -> executors.Executor:
    """Worker processes on this machine, so many and no more.

    Args:
        errand: the board, and in errand.settings what workers are told.
        workers: how many bundles of trials are trained at once.
    """
    # What an executor of another kind has to do: harness/running/executors/protocol.py
    return executors.Workers(errand.settings, workers)
'''

EXECUTOR_TEST = '''\
"""The executor {name} is made, and carries as many bundles as it says."""

from pathlib import Path

from harness import executors, plugins

plugins.load_file(Path(__file__).with_name("{stem}.py"))


def test_{stem}_has_as_many_workers_as_it_is_given(tmp_path: Path) -> None:
    settings = executors.Settings("cpu", 1, tmp_path)
    errand = executors.Errand(settings, 0, tmp_path / "board.toml", ())
    assert executors.create("{name}")(errand).jobs == 1
    with executors.create("{name}(workers=2)")(errand) as executor:
        assert executor.jobs == 2
'''

PROTOCOL = '''\
"""The protocol {name}, a plugin of giftbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import protocols

if TYPE_CHECKING:
    from harness import Case, NativeProtocol


# A board names it, and may say any field otherwise:
# protocol = {{ name = "{name}", epochs = 50 }}
@protocols.register("{name}")
def {stem}(case: Case) -> NativeProtocol:
    """AdamW, crops and flips; shorter for large sets.

    Args:
        case: images, dataset, classes, ipc, factor and provenance of the set, and the
            student's name, case.model.
    Returns: epochs, batch size, optimizer, schedule, augmentation, mixing; see
        harness/boards/cases.py for the others.
    """
    from harness import NativeProtocol

    return NativeProtocol(
        epochs=200 if case.ipc <= 10 else 100,
        batch_size=min(100, case.images),
        optimizer="adamw(lr=0.001, weight_decay=0.01)",
        schedule="cosine",
        augmentation="random-resized-crop(min_scale=0.25)+flip",
        mixing="cutmix(alpha=1.0)",
    )
'''

PROTOCOL_TEST = '''\
"""The protocol {name} keeps what giftbench expects of a protocol."""

from pathlib import Path

from harness import Case, plugins, protocols
from harness.testing import check_protocol

plugins.load_file(Path(__file__).with_name("{stem}.py"))


def test_{stem}_conforms() -> None:
    check_protocol("{name}")


def test_{stem}_is_shorter_for_large_sets() -> None:
    small, large = (Case(10 * ipc, "cifar10", 10) for ipc in (1, 50))
    ask = protocols.registry.create("{name}")
    assert ask(small).epochs > ask(large).epochs
'''

#: kind: (what lists call it, the plugin, its test)
KINDS = {
    "loss": ("losses", LOSS, LOSS_TEST),
    "scenario": ("scenarios", SCENARIO, SCENARIO_TEST),
    "optimizer": ("optimizers", OPTIMIZER, OPTIMIZER_TEST),
    "schedule": ("schedules", SCHEDULE, SCHEDULE_TEST),
    "augmentation": ("augmentations", AUGMENTATION, AUGMENTATION_TEST),
    "model": ("models", MODEL, MODEL_TEST),
    "dataset": ("datasets", DATASET, DATASET_TEST),
    "distiller": ("distillers", DISTILLER, DISTILLER_TEST),
    "reader": ("readers", READER, READER_TEST),
    "executor": ("executors", EXECUTOR, EXECUTOR_TEST),
    "protocol": ("protocols", PROTOCOL, PROTOCOL_TEST),
}

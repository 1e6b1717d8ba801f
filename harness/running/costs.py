"""What a trial costs before any has run: the operations of its networks, times the images that pass through them.

The unit is about a second of one CPU core or of a GPU. What matters is how trials compare: `harness.running.estimate` learns the
rest from those that have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import TYPE_CHECKING

from harness.core.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.boards.trial import Trial
    from harness.datasets.base import Dataset
    from harness.planning.artefacts import Artefacts

Shape = tuple[int, int, int]
#: Tells which trainings a trial consists of: how many images each trains on, and how many it tests in all. Takes the trial and
#: how many images the dataset's test split has.
Trainings = Callable[["Trial", int], Iterable[tuple[float, float]]]


@dataclass(frozen=True)
class Facts:
    """What costs depend on of a dataset: the shape of its images, how many classes, how many test images."""

    shape: Shape
    classes: int
    tests: int


@dataclass(frozen=True)
class Operations:
    """A network's forward pass: multiply-adds and numbers written, both of one image; kernel calls of a batch; weights."""

    multiplications: float
    elements: float
    calls: float
    parameters: float


@dataclass(frozen=True)
class Rates:
    """How many of each a device does in a second, how many images a test batch has, and a training's share of a stack's time."""

    multiplications: float
    elements: float
    calls: float
    parameters: float
    test_batch: int
    stacked: float

    def forward(self, operations: Operations, images: float, batches: float) -> float:
        """Return the seconds of a forward pass over images that come in so many batches."""
        each = operations.multiplications / self.multiplications + operations.elements / self.elements
        return images * each + batches * operations.calls / self.calls


#: Fitted, for the CPU, to the training steps of seven students at 16 and 32 px on one core of an EPYC: all within 0.78 and 1.23.
RATES = {"cpu": Rates(5e10, 1.2e9, 2.8e4, 2.4e8, 200, 0.7), "cuda": Rates(2e13, 2e11, 1e5, 2e10, 1000, 0.2)}
#: A training step: forward, and backward through inputs and weights.
PASSES = 3
#: Networks of so many weights at most are run on the CPU to be counted; torch takes seconds to load what the meta device needs.
SMALL = 5_000_000
#: Bytes of a weight in training, in float32: itself, its gradient, and what an optimizer of the Adam family notes of it.
HELD_A_WEIGHT = 16
#: What a step has beside its networks: augmentation, loss and bookkeeping in kernel calls, and numbers written a pixel.
STEP_CALLS, STEP_ELEMENTS = 60, 20


class Costs:
    """Tells what trials cost on a device.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        datasets: facts of every dataset that the trials name, by digest.
        teachers: the models of every teacher that they name.
        trainings: tells what a trial trains and tests.
    """

    def __init__(
        self,
        device: str,
        datasets: Mapping[str, Facts],
        teachers: Mapping[tuple[str, ...], Sequence[Spec]] | None = None,
        trainings: Trainings | None = None,
    ) -> None:
        self.rates = RATES["cpu" if device == "cpu" else "cuda"]
        self.datasets, self.teachers, self.trainings = datasets, teachers or {}, trainings or one_training
        self._known: dict[Hashable, float] = {}
        self._held: dict[Hashable, float] = {}

    @classmethod
    def of(
        cls, trials: Iterable[Trial], datasets: Iterable[Dataset], artefacts: Artefacts, device: str, trainings: Trainings
    ) -> Costs:
        """Return the costs of trials on these datasets, whose teachers lie among the artefacts."""
        from harness.teachers.files import from_trial, read_header

        def models(teacher: tuple[str, ...]) -> list[Spec]:
            files = [read_header(artefacts.find("teacher", digest))[0] for digest in from_trial(teacher)[0]]
            return [Spec.model_validate(file.blueprint["model"]) for file in files]

        facts = {data.digest: Facts(data.shape, len(data.classes), len(data.test)) for data in datasets}
        taught = {teacher: models(teacher) for teacher in {trial.teacher for trial in trials}}
        return cls(device, facts, taught, trainings)

    def __call__(self, trial: Trial) -> float:
        """Return the cost of a trial, above 0. Trials of one workload cost the same."""
        key = trial.workload
        if key not in self._known:
            self._known[key] = self._cost(trial)
        return self._known[key]

    def held(self, trial: Trial) -> float:
        """Return the bytes that a student's weights take in training, with their gradients and two moments of each."""
        key = trial.workload
        if key not in self._held:
            facts = self.datasets[trial.dataset.digest]
            self._held[key] = HELD_A_WEIGHT * operations(trial.model.model_dump_json(), facts.shape, facts.classes).parameters
        return self._held[key]

    def given(self, trial: Trial) -> float:
        """Return the part of a trial's cost that what its student is given takes: batches, and what the teacher says of them."""
        step, teachers = self._given(trial)
        return self._passes(trial, [step, *teachers])

    def asked(self, trial: Trial) -> float:
        """Return the part of a trial's cost that asking its teacher takes."""
        return self._passes(trial, self._given(trial)[1])

    def _passes(self, trial: Trial, made: Sequence[Operations]) -> float:
        """Return the cost of operations that are made of every batch of every training."""
        facts, protocol = self.datasets[trial.dataset.digest], trial.protocol
        cost = 0.0
        for images, _ in self.trainings(trial, facts.tests):
            steps = protocol.epochs * ceil(images / max(1, protocol.batch_size))
            cost += sum(self.rates.forward(each, protocol.epochs * images, steps) for each in made)
        return cost

    def _given(self, trial: Trial) -> tuple[Operations, list[Operations]]:
        """Return the operations of a step beside its networks, and of each network of the teacher that is asked."""
        facts = self.datasets[trial.dataset.digest]
        taught = self.teachers.get(trial.teacher, ()) if trial.protocol.labels != "fixed" else ()
        channels, height, width = facts.shape
        step = Operations(0.0, STEP_ELEMENTS * channels * height * width, STEP_CALLS, 0.0)
        return step, [operations(model.model_dump_json(), facts.shape, facts.classes) for model in taught]

    def _cost(self, trial: Trial) -> float:
        facts, protocol, rates = self.datasets[trial.dataset.digest], trial.protocol, self.rates
        student = operations(trial.model.model_dump_json(), facts.shape, facts.classes)
        step, teachers = self._given(trial)
        cost = 0.0
        for images, tests in self.trainings(trial, facts.tests):
            steps = protocol.epochs * ceil(images / max(1, protocol.batch_size))
            seen = protocol.epochs * images
            cost += PASSES * rates.forward(student, seen, steps) + rates.forward(step, seen, steps)
            labelled = protocol.soft_epochs / max(1, protocol.epochs)
            cost += labelled * sum(rates.forward(teacher, seen, steps) for teacher in teachers)
            cost += steps * student.parameters / rates.parameters
            cost += rates.forward(student, tests, tests / rates.test_batch)
        return max(cost, 1e-9)


def one_training(trial: Trial, tests: int) -> Iterator[tuple[float, float]]:
    """Yield the one training that most trials are: images of the distilled set, and tests in all of its evaluations."""
    yield float(trial.labels.images or 1), float(tests * trial.protocol.evaluations * trial.protocol.networks_tested)


def operations(model: str, shape: Shape, classes: int) -> Operations:
    """Return the operations of a student's forward pass.

    Args:
        model: the JSON of its Spec.
    A model that does not run on two images is taken for one that uses each of its weights once a pixel of a small image.
    """
    counted, weights = _operations(model, shape, classes)
    return counted or Operations(weights * 50.0, 100.0 * shape[0] * shape[1] * shape[2], 100.0, weights)


def forward_operations(model: str, shape: Shape, classes: int) -> float:
    """Return the floating-point operations of a student's forward pass on one image; infinity where they cannot be counted.

    Args:
        model: the JSON of its Spec.
    """
    counted, _ = _operations(model, shape, classes)
    return 2 * counted.multiplications if counted is not None else float("inf")


@cache
def _operations(model: str, shape: Shape, classes: int) -> tuple[Operations | None, float]:
    """Count a student's forward pass by running it: on torch's meta device, which computes nothing, unless it is small.

    Returns: the count, None where the model does not run on two images of zeros, and how many weights it has.
    """
    import torch

    from harness import models

    spec, weights = Spec.model_validate_json(model), 0.0
    device = "meta"
    try:
        with torch.device("meta"):
            network = models.build(spec, shape, classes)
    except Exception:  # a plugin's model may look at its numbers, of which the meta device has none
        device = "cpu"
    try:
        with torch.random.fork_rng(devices=[]):
            if device == "cpu" or models.parameters_count(network) <= SMALL:
                device, network = "cpu", models.build(spec, shape, classes)
            weights = float(models.parameters_count(network))
            return _counted(network, torch.zeros(2, *shape, device=device)), weights
    except Exception:  # a plugin's model may not run on zeros; the order of trials then rests on its weights
        return None, weights


def _counted(network: nn.Module, images: Tensor) -> Operations:
    """Run a network in train mode on images that come in a batch of two, as batch norm wants it, and count layer by layer.

    A layer with weights multiplies each of them with every place of its output; what is computed outside of layers is left out.
    Torch's own counter sees that too, and takes seconds to load.
    """
    import torch

    counts = {"multiplications": 0.0, "elements": 0.0, "calls": 0.0}

    def note(layer: nn.Module, given: object, output: object) -> None:
        if not isinstance(output, torch.Tensor):
            return
        counts["calls"] += 1
        counts["elements"] += output.numel()
        weight = getattr(layer, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.dim() > 1:
            counts["multiplications"] += output.numel() * weight[0].numel()

    for layer in network.modules():
        if not any(layer.children()):
            layer.register_forward_hook(note)
    with torch.no_grad():
        network(images)
    each = {name: count / len(images) for name, count in counts.items()} | {"calls": counts["calls"]}
    return Operations(**each, parameters=sum(parameter.numel() for parameter in network.parameters()))

"""What ships computes, as numbers: `python -m tests.golden` writes those that are new, or of a version that was raised.

A trial's id holds what ships by name and version. So a loss, a model, a distiller, an optimizer, a schedule or an augmentation
that computes something else under its name needs another version: `Registry.add(…, version=2)`, `register(…, version=2)`, or
`VERSIONS` of `harness.augmentation.words`. `tests/golden.json` has what each computed at which version, and the command refuses
to put other values into it under the same one. A thing that is gone is taken out.

Random numbers come from torch's CPU generator, sums in another order differ in the last digits: tolerances are far above that.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness import losses, models, optimizers
from harness.augmentation.mixing import mixing
from harness.augmentation.pipeline import augmentation
from harness.augmentation.words import BORDER, INNER, MIXES, MODES, STEPS, VERSIONS, WORDS, Cutout
from harness.core.errors import BadOption, DataError
from harness.core.registry import Registry
from harness.core.spec import render
from harness.datasets.base import Dataset
from harness.datasets.split import Split
from harness.distilled import distillers
from harness.distilled.source import Source
from harness.losses.targets import Targets
from harness.teachers.teacher import Teacher

FILE = Path(__file__).with_name("golden.json")
#: By how much values may differ, as a share of the largest of their row, by kind.
TOLERANCES = {"loss": 1e-5, "model": 2e-3, "optimizer": 1e-4, "schedule": 1e-6, "distiller": 5e-3, "augmentation": 1e-3}
#: Words that a parameter may be beside its default.
OTHER_WORDS = {"smoothing": "off-target", "norm": "instance", "mode": "single", "native": "soft_ce", "init": "torchvision"}
#: Models that are quick enough to be made with every parameter changed.
VARIED = ("convnet3", "efficientnet-b0")

Values = dict[str, list[float]]


def numbers(*shape: int, step: float = 1.0) -> Tensor:
    """Return numbers in [-1, 1] that no generator draws."""
    count = int(torch.tensor(shape).prod())
    return torch.sin(step * torch.arange(1, count + 1, dtype=torch.float64) ** 1.3).view(shape)


def projected(rows: Tensor, places: int = 3) -> list[float]:
    """Return a few sums of each row [N, ...], each with other weights."""
    flat = rows.detach().double().reshape(len(rows), -1)
    weights = torch.stack([numbers(flat.shape[1], step=0.7 + place) for place in range(places)], 1)
    return [float(f"{value:.8g}") for value in (flat @ weights / flat.shape[1] ** 0.5).flatten().tolist()]


# -- what each kind computes --------------------------------------------------------------------------------------------------


def loss(name: str, options: dict[str, Any]) -> list[float]:
    """Value and gradient on a small batch, whose logits lie apart and close by."""
    logits = (3 * numbers(6, 5)).requires_grad_()
    value = losses.create(render(name, options))(logits, Targets(torch.arange(6) % 5, 4 * numbers(6, 5, step=0.4)))
    value.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    return [*projected(value.view(1, 1), 1), *projected(logits.grad)]


def model(name: str, options: dict[str, Any]) -> list[float]:
    """Logits of two images by fresh weights, how many there are, and what does not show in logits: rates, momenta, epsilons."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.build(render("timm/resnet10t" if name == "timm/*" else name, options), (3, 32, 32), 10).eval()
    with torch.no_grad():
        logits = network(numbers(2, 3, 32, 32).float())
    modules = [*network.modules()]
    facts = [sum(float(getattr(m, word, 0) or 0) for m in modules) for word in ("p", "drop_prob", "momentum")]
    epsilons = sum(1e5 * float(getattr(m, "eps", 0) or 0) for m in modules)
    size = float(sum(parameter.numel() for parameter in network.parameters())) / 1e6
    scale = float(logits.abs().max())
    return [*projected(logits / scale, 5), *projected(torch.tensor([[scale]]), 1), *facts, epsilons, size]


def optimizer(name: str, options: dict[str, Any]) -> list[float]:
    """Parameters after four steps."""
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).double()
    for number, parameter in enumerate(network.parameters()):
        parameter.data = numbers(*parameter.shape, step=1.0 + number)
    stepping = optimizers.create(render(name, options), network)
    for step in range(4):
        for number, parameter in enumerate(network.parameters()):
            parameter.grad = numbers(*parameter.shape, step=0.3 + number + step)
        stepping.step()
    return projected(torch.cat([parameter.flatten() for parameter in network.parameters()]).view(1, -1), 6)


def schedule(name: str, options: dict[str, Any]) -> list[float]:
    """The learning rate of each of ten epochs, of which a third is no whole number."""
    stepping = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    made, rates = optimizers.create_schedule(render(name, options), stepping, 10), []
    for _ in range(10):
        rates.append(float(f"{stepping.param_groups[0]['lr']:.10g}"))
        stepping.step()
        made.step()
    return rates


def distiller(name: str, options: dict[str, Any]) -> list[float]:
    """Images and labels of a set of two images a class, chosen by a small network of fixed weights."""
    images = (127 * (1 + numbers(24, 3, 16, 16, step=0.05))).to(torch.uint8)
    split = Split(images, torch.arange(24) % 3)
    dataset = Dataset("golden", split, split, ("a", "b", "c"), (0.5,) * 3, (0.25,) * 3, min_scale=0.3)
    network = nn.Sequential(nn.Conv2d(3, 4, 5, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    for number, parameter in enumerate(network.parameters()):
        parameter.data = numbers(*parameter.shape, step=1.0 + number).float()
    teacher = Teacher("golden", (network,), ("",), (0.0,), dataset.mean, dataset.std)
    made = distillers.create(render(name, options))(Source(dataset, 2, 0, "cpu", lambda: teacher))
    return [*projected(made.images.double() / 255), *projected(made.labels.double().view(1, -1), 1)]


def augmented(text: str, cutout: Cutout = BORDER) -> list[float]:
    """A batch after an augmentation, or a mixing."""
    images, draws = numbers(6, 3, 16, 16, step=0.1).float(), torch.Generator().manual_seed(0)
    mix = mixing(text) if text.partition("(")[0] in MIXES else None
    if mix is not None:
        drawn = mix.draw(6, 16, 16, generator=draws)
        return [*projected(drawn.apply(images)), float(drawn.share)]
    made = augmentation(text, factor=2, cutout=cutout, statistics=((0.5,) * 3, (0.25,) * 3))
    return projected(made(images, generator=draws))


# -- everything ---------------------------------------------------------------------------------------------------------------

KINDS: dict[str, tuple[Registry[Any], Callable[[str, dict[str, Any]], list[float]]]] = {
    "loss": (losses.registry, loss),
    "model": (models.registry, model),
    "optimizer": (optimizers.registry, optimizer),
    "schedule": (optimizers.schedules, schedule),
    "distiller": (distillers, distiller),
}


def variants(registry: Registry[Any], name: str) -> Iterator[dict[str, Any]]:
    """Yield no parameters, and each parameter that has a number, a flag or a word of `OTHER_WORDS` with another value."""
    yield {}
    for option, default in registry.parameters(name).items():
        if option in OTHER_WORDS:
            yield {option: OTHER_WORDS[option]}
        elif isinstance(default, bool):
            yield {option: not default}
        elif isinstance(default, int):
            yield {option: default + 1}
        elif isinstance(default, float):
            yield {option: round(0.5 * default + 0.07, 6)}


def of_name(kind: str, name: str) -> Values:
    """Return what a name computes, by its parameters; a value that it refuses gives none. Most models have defaults only."""
    registry, compute = KINDS[kind]
    values = {}
    for options in [{}] if kind == "model" and name not in VARIED else variants(registry, name):
        try:
            values[render(name, options)] = compute(name, options)
        except (BadOption, DataError):
            assert options, f"{kind} {name} refuses its defaults"
    return values


def _augmentations() -> dict[str, list[str]]:
    """Return by name what is computed of each operation, step and mixing."""
    words = {f"dsa:{word}": [word] for word in WORDS}
    steps = {name: [render(name, {})] if name not in WORDS else ["flip+pad-crop"] for name in STEPS}
    steps["dsa"] = [render("dsa", {"mode": mode}) for mode in MODES] + ["_".join(WORDS), "none"]
    steps["rand-augment"] = ["rand-m6-n2-mstd1.0", "rand-m9-n1-inc1"]
    return words | steps | {name: [name, f"{name}(alpha=0.5)"] for name in MIXES}


def everything() -> dict[str, tuple[int, Callable[[], Values]]]:
    """Return all that ships, by kind and name: its version, and what gives its values."""
    shipped = {
        f"{kind} {name}": (registry.version(name), partial(of_name, kind, name))
        for kind, (registry, _) in KINDS.items()
        for name in registry.names()
        if registry.origin(name) == "giftbench"
    }
    for name, texts in _augmentations().items():
        shipped[f"augmentation {name}"] = (VERSIONS.get(name, 1), partial(_each, texts))
    inner = partial(augmented, cutout=INNER)
    shipped[f"augmentation squares, {INNER}"] = (1, lambda: {text: inner(text) for text in ("cutout", "_".join(WORDS))})
    return shipped


def _each(texts: list[str]) -> Values:
    return {text: augmented(text) for text in texts}


def differing(kind: str, before: Values, now: Values) -> list[str]:
    """Return what is computed otherwise than before, or no longer, or not yet."""
    wrong = [*(before.keys() ^ now.keys())]
    for label in before.keys() & now.keys():
        old, new = torch.tensor(before[label]).double(), torch.tensor(now[label]).double()
        near = old.shape == new.shape and bool(((old - new).abs() <= TOLERANCES[kind] * old.abs().max().clamp(min=1e-3)).all())
        wrong += [] if near else [label]
    return sorted(wrong)


def write() -> int:
    """Write the file; return 1, and say which, where values changed under a version that has not.

    Values of a parameter that there was not before are put beside the others: its default is what there was.
    """
    known: dict[str, Any] = json.loads(FILE.read_text("utf-8")) if FILE.is_file() else {}
    content, refused = {}, []
    for key, (version, values) in everything().items():
        before, now = known.get(key), values()
        kept = before is not None and before["version"] == version
        differ = differing(key.partition(" ")[0], before["values"], now) if kept else []
        wrong = [label for label in differ if label in before["values"]]
        refused += [f"{key}: {', '.join(wrong)}: other values under version {version}"] if wrong else []
        content[key] = {"version": version, "values": now | before["values"] if kept else now}
    for line in refused:
        print(line, file=sys.stderr)
    if refused:
        return 1
    lines = [f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in sorted(content.items())]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(write())

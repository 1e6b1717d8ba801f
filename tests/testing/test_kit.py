"""The conformance kit says in one sentence what is wrong with a plugin that is bad in one way, and lets good ones pass."""

from __future__ import annotations

import itertools
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy
import pytest
import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from harness import Measure, Outcome, Scenario, ScenarioOptions, losses, scenarios
from harness.core.errors import BadOption, BoardError, UnknownName
from harness.losses.targets import Targets
from harness.testing import CheckFailed, check_loss, check_model, check_scenario


@dataclass
class Fails:
    """Expects a check to fail with one sentence that holds these words."""

    words: str

    def __call__(self, check: Callable[..., None], *given: Any, **options: Any) -> None:
        with pytest.raises(CheckFailed, match=re.escape(self.words)) as failure:
            check(*given, **options)
        assert "\n" not in str(failure.value)


def test_what_fails_is_an_assertion_and_the_kit_needs_no_test_framework() -> None:
    assert issubclass(CheckFailed, AssertionError)
    program = "import sys, harness.testing; assert not {'pytest', '_pytest', 'hypothesis'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120, check=False).returncode == 0


# -- losses --------------------------------------------------------------------------------------------------------------


def good(logits: Tensor, targets: Targets, *, weight: float = 1.0) -> Tensor:
    return weight * (logits - targets.logits()).square().mean()


def in_float32(logits: Tensor, targets: Targets) -> Tensor:
    return good(logits.float(), targets)


def holding_its_weights(logits: Tensor, targets: Targets) -> Tensor:
    weights = logits.softmax(1).detach()
    return (weights * (logits - targets.logits()).square()).mean()


class Twice(torch.autograd.Function):
    """Twice the gradient of what it is."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class Looking(Twice):
    """Looks at a number in its backward pass."""

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient if gradient.sum().item() < 1e9 else 0 * gradient


calls = itertools.count()


def with_item(z: Tensor, t: Targets) -> Tensor:
    return good(z, t) + 0 * z.detach().max().item()


def with_an_if(z: Tensor, t: Targets) -> Tensor:
    return good(z, t) if z.sum() > -1e9 else z.mean()


def with_a_mask(z: Tensor, t: Targets) -> Tensor:
    return (z - t.logits())[z < 1e9].square().mean()


def with_a_list(z: Tensor, t: Targets) -> Tensor:
    return good(z, t) + 0 * len(z.detach().tolist())


def with_numpy(z: Tensor, t: Targets) -> Tensor:
    return good(z, t) + 0 * float(z.detach().float().numpy().sum())


def changing_logits(z: Tensor, t: Targets) -> Tensor:
    with torch.no_grad():
        z.sub_(z.mean(dim=1, keepdim=True))
    return good(z, t)


def changing_soft(z: Tensor, t: Targets) -> Tensor:
    t.logits().mul_(0.5)
    return t.probabilities().mul(z).sum(1).square().mean()


def changing_hard(z: Tensor, t: Targets) -> Tensor:
    t.labels().zero_()
    return good(z, t)


def drawing(z: Tensor, t: Targets) -> Tensor:
    return good(z, t) + 0 * torch.rand(())


def refusing_probabilities(z: Tensor, t: Targets) -> Tensor:
    if t.kind != "logits":
        raise NotImplementedError("logits, please")
    return good(z, t)


BAD_LOSSES: dict[str, tuple[Callable[[Tensor, Targets], Any], str]] = {
    "a vector": (lambda z, t: (z - t.logits()).square().mean(1), "returns [4] on logits [4, 10]"),
    "a number": (lambda z, t: 1.0, "returns float on logits [4, 10]"),
    "whole numbers": (lambda z, t: z.argmax(), "return a scalar tensor, such as the mean over the batch"),
    "a batch of one": (lambda z, t: good(z, t) + z.std(dim=0).mean(), "is not finite on logits [1, 2]"),
    "two classes": (lambda z, t: good(z, t) + z.topk(3, dim=1).values.mean(), "fails on logits [1, 2]"),
    "no gradient": (lambda z, t: good(z.detach(), t), "does not depend on the student's logits"),
    "zero gradient": (lambda z, t: 0 * good(z, t), "has a gradient of zero"),
    "soft labels alone": (lambda z, t: torch.ones((), requires_grad=True) + 0, "has no gradient at the student's logits"),
    "large logits": (
        lambda z, t: -(z.softmax(1).log() * t.probabilities()).sum(1).mean(),
        "on logits of ±1e4 in float32",
    ),
    "bf16": (lambda z, t: good(z, t) if z.dtype != torch.bfloat16 else good(z, t) / 0, "on logits of ±1e4 in bf16"),
    "part detached": (lambda z, t: good(z, t) * z.detach().square().mean(), "another gradient than finite differences"),
    "wrong backward": (lambda z, t: good(Twice.apply(z), t), "another gradient than finite differences"),
    "a taught teacher": (lambda z, t: good(z, t) + (z - t.soft).square().mean(), "has a gradient at soft labels that are logits"),
    "item": (with_item, "makes the host wait for the device (item(), or an if on a tensor)"),
    "if": (with_an_if, "makes the host wait for the device (item(), or an if on a tensor)"),
    "item in backward": (lambda z, t: good(Looking.apply(z), t), "makes the host wait for the device (item()"),
    "mask": (with_a_mask, "makes the host wait for the device (indexing by a mask)"),
    "tolist": (with_a_list, "makes the host wait for the device (tolist())"),
    "numpy": (with_numpy, "makes the host wait for the device (numpy())"),
    "cpu": (lambda z, t: good(z.cpu(), t), "makes the host wait for the device (cpu())"),
    "memory": (lambda z, t: good(z, t) + next(calls), "gives two values for the same input"),
    "random": (drawing, "draws from torch's global random stream"),
    "logits in place": (changing_logits, "changes the student's logits in place"),
    "soft in place": (changing_soft, "changes the soft labels in place"),
    "hard in place": (changing_hard, "changes the hard labels in place"),
    "soft unasked": (lambda z, t: (z - t.soft.detach()).square().mean(), "without soft labels; ask for them by targets.logits()"),
    "hard unasked": (lambda z, t: good(z, t) + z[:, 0].mul(len(t.hard)).mean(), "ask for them by targets.labels()"),
    "probabilities": (refusing_probabilities, "with soft labels that are probabilities: NotImplementedError: logits, please"),
}


@pytest.mark.parametrize("what", BAD_LOSSES)
def test_a_bad_loss_is_told_what_is_wrong(what: str) -> None:
    loss, words = BAD_LOSSES[what]
    Fails(words)(check_loss, loss)


def test_good_losses_pass() -> None:
    check_loss(good)
    check_loss(good, weight=0.1)
    check_loss(in_float32)
    check_loss("gift(gamma=0.2)", alpha=0.0)
    check_loss("ce")


def test_what_a_loss_holds_constant_on_purpose_is_declared_and_the_rest_still_checked() -> None:
    Fails("say stop_gradient=True")(check_loss, holding_its_weights)
    check_loss(holding_its_weights, stop_gradient=True)

    def wrong_besides(z: Tensor, t: Targets) -> Tensor:
        return holding_its_weights(Twice.apply(z), t)

    Fails("another gradient than finite differences")(check_loss, wrong_besides, stop_gradient=True)


def test_a_loss_is_named_with_its_parameters_and_leaves_no_trace() -> None:
    with pytest.raises(UnknownName, match="did you mean 'gift'"):
        check_loss("gfit")
    with pytest.raises(BadOption, match="has no parameter 'gama'"):
        check_loss("gift", gama=1)

    @losses.register("kit-loss")
    def vector(logits: Tensor, targets: Targets, *, power: float = 2.0) -> Tensor:
        return (logits - targets.logits()).abs().pow(power).mean(1)

    try:
        Fails("loss 'kit-loss(power=3.0)' returns [4]")(check_loss, "kit-loss", power=3)
    finally:
        losses.registry.remove("kit-loss")
    state = torch.get_rng_state()
    check_loss(good)
    assert state.equal(torch.get_rng_state())


# -- models --------------------------------------------------------------------------------------------------------------


class Small(nn.Module):
    """A student that is good in every way."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(shape[0], 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.head = nn.Linear(16, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).flatten(1))
        return logits


def building(network: type[nn.Module]) -> Callable[..., nn.Module]:
    """Return a function that makes such networks."""
    return lambda shape, classes: network(shape, classes)


def small(shape: tuple[int, int, int], classes: int, *, width: int = 4, rates: Any = (0.1, 0.2)) -> nn.Module:
    return Small(shape, classes)


class Wide(Small):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).repeat(1, 2)


class Gray(Small):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images[:, :2])


class Sixteen(Small):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes)
        self.head = nn.Linear(4 * 16 * 16, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body[:3](images).flatten(1))  # type: ignore[no-any-return]


class Idle(Small):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes)
        self.idle = nn.Linear(2, 2)


class Frozen(Small):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes)
        self.requires_grad_(False)
        self.scale = torch.ones((), requires_grad=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * super().forward(images)


class Unseeded(Small):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes)
        weights = numpy.random.default_rng().standard_normal((classes, 16))
        self.head.weight.data.copy_(torch.from_numpy(weights))


class Constant(Small):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.1)


class Hiding(Small):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes)
        self.hidden = torch.randn(classes)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + self.hidden.to(images.device)


class Wavering(Small):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + torch.randn(len(images), 1)


class Single(Small):
    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return torch.zeros_like(logits, dtype=torch.float32).index_add(0, torch.arange(len(logits)), logits)


class Infinite(Small):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + (0 if self.training else torch.inf)


class Steep(Small):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + (self.head.bias - self.head.bias.detach()).sqrt()


class Waiting(Small):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if images.mean() > 0 else -images)


class Same(tuple[float, ...]):
    """Rates that are equal to all others."""

    __hash__ = tuple.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


SAME = Same((0.1, 0.2))


def shameless(shape: tuple[int, int, int], classes: int, *, rates: Any = SAME) -> nn.Module:
    return Small(shape, classes)


BAD_MODELS: dict[str, tuple[Callable[..., Any], str]] = {
    "no module": (lambda shape, classes: "network", "is built as a str for images [1, 16, 16]"),
    "no builder": (lambda shape: Small(shape, 10), "fails to build for images [1, 16, 16]: TypeError"),
    "too wide": (Wide, "returns [4, 20] in train mode; return one row of logits an image, [4, 10]"),
    "two channels": (Gray, "on images [4, 3, 16, 16] in train mode: RuntimeError"),
    "one size": (Sixteen, "on images [4, 1, 32, 32] in train mode: RuntimeError"),
    "an idle layer": (Idle, "has a parameter that no gradient reaches, idle.weight"),
    "nothing learns": (Frozen, "has no parameter that learns"),
    "no seed": (Unseeded, "has other weights when it is built again after the same torch.manual_seed"),
    "one seed": (Constant, "has the same weights after another torch.manual_seed"),
    "outside the state": (Hiding, "answers otherwise once its state_dict is loaded into another"),
    "float32 alone": (Single, "under bf16 autocast: RuntimeError"),
    "not finite": (Infinite, "returns logits that are not finite in eval mode"),
    "infinite gradient": (Steep, "has a gradient that is not finite at head.bias"),
    "waiting": (Waiting, "makes the host wait for the device (item(), or an if on a tensor)"),
    "one label": (shameless, "has the same label whatever rates is"),
}


@pytest.mark.parametrize("what", BAD_MODELS)
def test_a_bad_model_is_told_what_is_wrong(what: str) -> None:
    model, words = BAD_MODELS[what]
    Fails(words)(check_model, building(model) if isinstance(model, type) else model)


def test_randomness_in_eval_mode_is_told() -> None:
    with pytest.raises(CheckFailed, match="gives two answers to the same images in eval mode"):
        check_model(building(Alternating))


class Alternating(Small):
    """Counts its calls; the global random stream would be the same for each."""

    calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(images) + self.calls % 2


def test_good_models_pass_by_name_and_as_functions() -> None:
    check_model(small)
    check_model(small, width=8, classes=3, shape=(3, 8, 8))
    check_model("convnet1(width=4)", norm="instance")
    Fails("model 'Small' is a class; register a function model(shape, classes, *, option=default)")(check_model, Small)
    with pytest.raises(BadOption, match="has no parameter 'depth'"):
        check_model(small, depth=3)


# -- scenarios -----------------------------------------------------------------------------------------------------------

TAUGHT_BY_NOBODY = {"losses": ["ce"], "model": "convnet1(width=4)"}  # no teacher to train
TEACHER = {"name": "smoke", "labels": "teacher"}
HALF = {"accuracy": 50.0, "best_accuracy": 50.0, "top5_accuracy": 90.0}


class Good(Scenario):
    """A scenario that is good in every way, and trains nothing, to be quick."""

    name = "good"
    columns = "size"

    class Options(ScenarioOptions):
        sizes: tuple[int, ...] = (1, 2)

    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        for size in options.sizes:
            yield from self.vary(view, options={"size": size}, labels={"size": size})

    def run(self, trial: Any, workbench: Any) -> Any:
        return Outcome(dict(HALF), [{"epoch": 1, **HALF}], timing={"train": 1.0})


class Undescribed(Scenario):
    name = "undescribed"


class Unversioned(Good):
    version = "2"  # type: ignore[assignment]


class Unread(Good):
    paper = "arXiv 2405.14736"  # type: ignore[assignment]


class Unmeasured(Good):
    measure = 3  # type: ignore[assignment]


class Axeless(Good):
    columns = None  # type: ignore[assignment]


class Ranked(Good):
    measure = Measure("forgetting", lowest=True)


class Taken(Good):
    class Options(Good.Options):
        model: str = ""


class Empty(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        return iter(())


class Aged(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        for trial in super().trials(view, options):
            yield trial.model_copy(update={"version": 7})


class Stranger(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        for trial in super().trials(view, options):
            yield trial.model_copy(update={"scenario": "another"})


class NoTrial(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        yield {"seed": 0}


class Doubled(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        yield from self.vary(view)
        yield from self.vary(view)


class Dicing(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        yield from self.vary(view, options={"draw": random.random()})


class Listing(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        yield from self.vary(view, labels={"size": {1, 2}})


class NotJson(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        yield from self.vary(view, options={"size": {1, 2}})


class Eager(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        layer = nn.Linear(1, 1)
        layer(torch.ones(1)).sum().backward()
        torch.optim.SGD(layer.parameters(), 0.1).step()
        yield from super().trials(view, options)


class Making(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        view.preparation.artefacts.folder.mkdir(parents=True, exist_ok=True)
        (view.preparation.artefacts.folder / "notes.txt").write_text("mine")
        yield from super().trials(view, options)


class Seedless(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        yield from self.vary(view, seeds=[0])


class Deaf(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        for size in options.sizes:
            yield from self.vary(view, model=f"convnet1(width={3 if size else 4})", seeds=view.seeds)
            return


class Easy(Good):
    class Options(Good.Options):
        model_config = ConfigDict(extra="ignore")


class Broken(Good):
    def run(self, trial: Any, workbench: Any) -> Any:
        raise RuntimeError("no luck\nat all")


class Dictionary(Good):
    def run(self, trial: Any, workbench: Any) -> Any:
        return {"accuracy": 1.0}


class Silent(Good):
    def run_bundle(self, trials: Any, workbench: Any) -> Iterator[Any]:
        return iter(())


def giving(**metrics: Any) -> type[Scenario]:
    """Return a scenario whose outcomes hold these metrics."""

    class Giving(Good):
        def run(self, trial: Any, workbench: Any) -> Any:
            return Outcome({name: value for name, value in {**HALF, **metrics}.items() if value is not None})

    return Giving


class Wandering(Good):
    def run(self, trial: Any, workbench: Any) -> Any:
        return Outcome({**HALF, "top5_accuracy": random.random()})


class BadHistory(Good):
    def run(self, trial: Any, workbench: Any) -> Any:
        return Outcome(dict(HALF), [{"epoch": 1, "weights": torch.ones(2)}])  # type: ignore[dict-item]


class NeedsRecords(Good):
    def tables(self, records: Any) -> Any:
        records["accuracy"].max()
        return super().tables(records)


class NeedsMetrics(Good):
    def tables(self, records: Any) -> Any:
        if len(records):
            records["top5_accuracy"].max()
        return super().tables(records)


class NeedsSuccess(Good):
    def tables(self, records: Any) -> Any:
        return super().tables(records[records["status"] == "done"]) if len(records) else []


class Marking(Good):
    def tables(self, records: Any) -> Any:
        if len(records):
            records["accuracy"] = 0.0
        return super().tables(records)


class Ordered(Good):
    def tables(self, records: Any) -> Any:
        made = super().tables(records)
        for table in made:
            table.notes.append(f"First: {records['size'].iloc[0]}.")
        return made


class Markdown(Good):
    def tables(self, records: Any) -> Any:
        return ["| a | b |"]


class Painting(Good):
    def figures(self, tables: Any) -> Any:
        return "figure.png"


class Sketching(Good):
    def figures(self, tables: Any) -> Any:
        return ["figure.png"]


BAD_SCENARIOS: dict[str, tuple[type[Scenario], str]] = {
    "no docstring": (Undescribed, "has no docstring, whose first line lists and leaderboards show"),
    "no version": (Unversioned, "has version '2'; make it a whole number from 1"),
    "no paper": (Unread, "has paper = 'arXiv 2405.14736'; make it a harness.Paper, or None"),
    "no measure": (Unmeasured, "has measure = 3; make it a metric's name, or a harness.Measure"),
    "no axes": (Axeless, "has rows and columns ('loss', None); make them labels"),
    "a measure that is not there": (Ranked, "gives no metric 'forgetting', which its measure says that it ranks by"),
    "an option of every entry": (Taken, "every entry of a board has the key 'model'; rename the option"),
    "no trial": (Empty, "plans no trial on the tiny board"),
    "another version": (Aged, "plans a trial of ('good', 7), not of ('good', 1)"),
    "another name": (Stranger, "plans a trial of ('another', 1), not of ('good', 1)"),
    "something else": (NoTrial, "plans a trial of {'seed': 0}"),
    "twins": (Doubled, "plans 1 trials twice; put what differs between them into their options"),
    "dice": (Dicing, "plans other trials the second time"),
    "labels": (Listing, "board: scenarios[0]: label 'size' must be text, a finite number, true, false or none, not {1, 2}"),
    "options": (NotJson, "options that JSON can hold: TypeError"),
    "training in a plan": (Eager, "trains something while it plans"),
    "files in a plan": (Making, "makes artefacts, notes.txt while it plans"),
    "no seeds": (Seedless, "plans the same trials for another seed"),
    "an option unheard": (Deaf, "plans the same trials with sizes = [3]"),
    "any option": (Easy, "takes the option 'no_such_option'"),
    "an error": (Broken, "fails to run a trial of loss ce, model convnet1(width=4): RuntimeError: no luck at all"),
    "a dictionary": (Dictionary, "returns a dict from run(); return a harness.Outcome"),
    "no outcome": (Silent, "gives 0 outcomes for one trial"),
    "no accuracy": (giving(accuracy=None), "gives no accuracy where metrics['accuracy'] must be in percent"),
    "an accuracy too high": (giving(accuracy=120.0), "gives 120.0 where metrics['accuracy'] must be in percent"),
    "an accuracy that is no number": (giving(accuracy="high"), "gives high where metrics['accuracy'] must be in percent"),
    "a metric that is not finite": (giving(gain=float("nan")), "gives the metric gain = nan"),
    "a metric that is no number": (giving(gain="much"), "gives the metric gain = 'much'"),
    "a history with tensors": (BadHistory, "history and timing that JSON can hold: TypeError"),
    "numbers that wander": (Wandering, "for the same trial; take random numbers from harness.seeds"),
    "no records": (NeedsRecords, "fails to make tables on no records: KeyError"),
    "metrics that failed": (NeedsMetrics, "fails to make tables on one record that failed: KeyError"),
    "failures left out": (NeedsSuccess, "makes no table of one record that failed"),
    "records changed": (Marking, "changes the records that tables() is given on all records"),
    "order": (Ordered, "makes other tables of all records in another order"),
    "no tables": (Markdown, "return a list of harness.Table"),
    "no list of figures": (Painting, "returns 'figure.png' from figures()"),
    "no figures": (Sketching, "return a list of harness.Figure"),
}


@pytest.mark.parametrize("what", BAD_SCENARIOS)
def test_a_bad_scenario_is_told_what_is_wrong(what: str) -> None:
    scenario, words = BAD_SCENARIOS[what]
    options = {"sizes": [[1, 2], [3]]} if scenario is Deaf else {}
    Fails(words)(check_scenario, scenario, options=options, board=TAUGHT_BY_NOBODY)


def test_a_good_scenario_passes_as_class_instance_and_name() -> None:
    check_scenario(Good, options={"sizes": [[1, 2], [3]]}, board=TAUGHT_BY_NOBODY)
    check_scenario(Good(), board=TAUGHT_BY_NOBODY)

    @scenarios.register("kit-scenario")
    class Registered(Good):
        name = ""

        def trials(self, view: Any, options: Any) -> Iterator[Any]:
            assert self.name == "kit-scenario"
            yield from super().trials(view, options)

    try:
        check_scenario(Registered, board=TAUGHT_BY_NOBODY)
        check_scenario("kit-scenario", board=TAUGHT_BY_NOBODY)
    finally:
        scenarios.remove("kit-scenario")


def test_a_scenarios_options_and_its_entry_on_the_board_are_heard() -> None:
    heard: list[tuple[Any, ...]] = []

    class Heard(Good):
        def trials(self, view: Any, options: Any) -> Iterator[Any]:
            heard.append((options.sizes, tuple(map(str, view.losses)), view.seeds))
            yield from super().trials(view, options)

    entry = {"name": "good", "losses": ["mse"], "sizes": [9]}
    check_scenario(Heard, options={"sizes": [[5], [6]]}, board={**TAUGHT_BY_NOBODY, "scenarios": [entry], "protocol": TEACHER})
    assert heard[0] == ((5,), ("mse",), (0,))
    assert ((6,), ("mse",), (0,)) in heard
    assert {seeds for _, _, seeds in heard} == {(0,), (1,)}


def test_a_scenario_that_is_none_and_a_board_that_is_wrong_are_named() -> None:
    with pytest.raises(CheckFailed, match=r"is not a scenario; derive it from harness\.Scenario"):
        check_scenario(int)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="did you mean 'cross-optimizer'"):
        check_scenario("cross-optimiser")
    with pytest.raises(BoardError, match="board: sedes: unknown key; did you mean 'seeds'"):
        check_scenario(Good, board={"sedes": 3})


def test_an_option_that_the_scenario_does_not_read_is_named() -> None:
    Fails("has no option 'colours'")(check_scenario, Good, options={"colours": [1]}, board=TAUGHT_BY_NOBODY)

"""Avalanche's strategies and plugins by name: those that a board may use, with their parameters, and why the others cannot be."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from harness.core.errors import BadOption, UnknownName, suggest
from harness.core.options import check_type, filled
from harness.core.registry import Description
from harness.core.spec import Named, Spec, read, render, write

#: What a strategy that trains by a loss of its own has in the place of the board's; its trials name cross-entropy.
OWN_LOSS = "its own"

#: How a strategy takes a student: as it is; so that its features can be read; with nearest class means in the place of the last
#: layer at test; or in two parts, the features and the last layer.
Student = Literal["whole", "features", "means", "parts"]


@dataclass(frozen=True, eq=False)
class Strategy:
    """A strategy of Avalanche, or a plugin that is put on the naive one, as it can be used here.

    Attributes:
        summary: one line.
        parameters: {parameter: default} of those that a board may set, the defaults Avalanche's own; a type stands where there is
            none, and the board has to give a value of it (`object`: of any).
        memory: its parameter that says how many images it may keep, which the scenario gives unless the board does; or "".
        replayed: its parameter that says how many images it replays a step, from batches that are never smaller; or "".
        keeps: whether every step but the first trains on images of earlier steps, too.
        own_loss: whether it trains by a loss of its own.
        student: how it takes the student.
        plain: whether its step is the plain one, so that it can be captured: no hook of a plugin does anything between the batch
            and the optimizer's step. What there is to a strategy then lies in which images it trains on, and from which weights.
        goes_on: whether all that it remembers after a step of the stream follows from the weights at the end of each, so that a
            stream that was cut off can be taken up.
    """

    summary: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    memory: str = ""
    replayed: str = ""
    keeps: bool = False
    own_loss: bool = False
    student: Student = "whole"
    plain: bool = False
    goes_on: bool = True

    @property
    def settable(self) -> dict[str, object]:
        """{parameter: default, or its type} of everything that a board may set; numbers of images are whole."""
        return {**self.parameters, **{name: 1 for name in (self.memory, self.replayed) if name}}


#: What EWC does with the importances of several steps.
MODES = ("separate", "online")
_EWC = {"ewc_lambda": float, "mode": "separate", "decay_factor": None, "keep_importance_data": False}
_MAS = {"lambda_reg": 1.0, "alpha": 0.5}
_REPLAY = {"batch_size": None, "batch_size_mem": None, "task_balanced_dataloader": False}
_SI = {"si_lambda": float, "eps": 1e-07}
_PER_STEP = {"patterns_per_experience": int}
_OWN = "Trains by a loss of its own on memory that is not augmented."

#: Those that take a student whose memory is in channels-last order.
USUAL = ("GDumb", "Naive", "Replay", "Cumulative")
#: Every strategy and plugin that a board may use.
USABLE: Mapping[str, Strategy] = MappingProxyType(
    {
        "GDumb": Strategy("Trains anew at every step, on its memory alone.", memory="mem_size", keeps=True, plain=True),
        "Naive": Strategy("Goes on with the network it has, on the images of the step alone.", plain=True),
        "Replay": Strategy(
            "Goes on with the network it has, on the step's images and its memory.", memory="mem_size", keeps=True, plain=True
        ),
        "Cumulative": Strategy("Goes on with the network it has, on the images of all steps so far.", keeps=True, plain=True),
        "FromScratchTraining": Strategy("Trains anew at every step, on the images of the step alone.", plain=True),
        "ICaRL": Strategy(
            "Replay and distillation by a loss of its own, and nearest class means at test (Rebuffi et al., 2017).",
            memory="memory_size",
            keeps=True,
            own_loss=True,
            student="parts",
        ),
        "DER": Strategy(
            f"Dark experience replay, with beta DER++ (Buzzega et al., 2020). {_OWN}",
            {"alpha": 0.1, "beta": 0.5},
            memory="mem_size",
            replayed="batch_size_mem",
            own_loss=True,
        ),
        "ER_ACE": Strategy(
            f"Replay with asymmetric cross-entropy (Caccia et al., 2022). {_OWN}",
            memory="mem_size",
            replayed="batch_size_mem",
            own_loss=True,
        ),
        "MIR": Strategy(
            "Adds the loss of the images in memory that a step would harm most (Aljundi et al., 2019).",
            {"subsample": int, "batch_size_mem": 1},
            memory="mem_size",
        ),
        "AGEM": Strategy(
            "Projects gradients that would harm its memory (Chaudhry et al., 2019).", {"patterns_per_exp": int, "sample_size": 64}
        ),
        "GEM": Strategy(
            "Projects gradients that would harm any step before (Lopez-Paz and Ranzato, 2017).",
            {"patterns_per_exp": int, "memory_strength": 0.5},
        ),
        "EWC": Strategy("Holds weights that mattered to steps before (Kirkpatrick et al., 2017).", _EWC),
        "SynapticIntelligence": Strategy("Holds weights that brought the loss down (Zenke et al., 2017).", _SI, goes_on=False),
        "MAS": Strategy("Holds weights that outputs are sensitive to (Aljundi et al., 2018).", _MAS),
        "LwF": Strategy(
            "Distils from the network of the step before (Li and Hoiem, 2016).", {"alpha": object, "temperature": float}
        ),
        "CWRStar": Strategy("Trains the last layer alone after the first step, and consolidates it (Lomonaco et al., 2020)."),
        "ReplayPlugin": Strategy("Replay as a plugin.", _REPLAY, memory="mem_size", keeps=True, plain=True),
        "GDumbPlugin": Strategy("GDumb as a plugin.", memory="mem_size", keeps=True, plain=True),
        "MIRPlugin": Strategy("MIR as a plugin.", {"batch_size_mem": int, "subsample": 200}, memory="mem_size"),
        "AGEMPlugin": Strategy("AGEM as a plugin.", {**_PER_STEP, "sample_size": int}),
        "GEMPlugin": Strategy("GEM as a plugin.", {**_PER_STEP, "memory_strength": float}),
        "EWCPlugin": Strategy("EWC as a plugin.", _EWC),
        "SynapticIntelligencePlugin": Strategy(
            "Synaptic Intelligence as a plugin.", {**_SI, "excluded_parameters": None}, goes_on=False
        ),
        "MASPlugin": Strategy("MAS as a plugin.", _MAS),
        "LwFPlugin": Strategy("LwF as a plugin.", {"alpha": 1.0, "temperature": 2.0}),
        "RWalkPlugin": Strategy(
            "EWC and path integrals, compared every delta_t steps of training (Chaudhry et al., 2018).",
            {"ewc_lambda": 0.1, "ewc_alpha": 0.9, "delta_t": 10},
            goes_on=False,
        ),
        "CWRStarPlugin": Strategy("CWR* as a plugin.", {"freeze_remaining_model": True}),
        "FeatureDistillationPlugin": Strategy(
            "Holds features near those of the network of the step before.", {"alpha": 1.0}, student="features"
        ),
        "CurrentDataNCMUpdate": Strategy("Nearest class means at test, each of its own step.", student="means"),
        "MemoryNCMUpdate": Strategy("Nearest class means at test, of a memory.", memory="mem_size", student="means"),
        "NCMOracle": Strategy("Nearest class means at test, of all images so far.", student="means"),
    }
)

_GENERATIVE = "it replays images of a generator that would have to be trained beside the student"
_FECAM = "it fits a covariance of features to each class, which takes more images than a distilled memory has"
_PROTOCOL = "the protocol decides on that"
#: Those that no stream of distilled images can run, and why.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "JointTraining": "it trains on the whole stream at once; use Cumulative",
        "AR1": "it brings a pretrained network of its own, which it downloads",
        "ER_AML": "it draws full batches of each class's memory, and waits for ever where a class has fewer images; use ER_ACE",
        "BiC": "it holds distilled images back, cannot put the others in their place in Avalanche 0.6, and corrects its bias in "
        "Avalanche's own evaluation alone; use Replay or ICaRL",
        "BiCPlugin": "see BiC",
        "CoPE": "it makes one step of training a step of the stream, and answers with prototypes in Avalanche's own evaluation "
        "alone; use ICaRL or MemoryNCMUpdate",
        "CoPEPlugin": "see CoPE",
        "CurrentDataFeCAMUpdate": f"{_FECAM}; use CurrentDataNCMUpdate",
        "MemoryFeCAMUpdate": f"{_FECAM}; use MemoryNCMUpdate",
        "FeCAMOracle": f"{_FECAM}; use NCMOracle",
        "FeatureReplay": "it replays features in the place of images; use Replay",
        "GSS_greedy": "its memory holds images as they were augmented, chosen by a pass backwards for each; use Replay",
        "GSS_greedyPlugin": "see GSS_greedy",
        "SCR": "it trains a contrastive network of its own kind; use ICaRL",
        "StreamingLDA": "it fits a classifier to the features of a pretrained network, and trains none; use NCMOracle",
        "LFL": "it wants a network with get_features; use FeatureDistillationPlugin",
        "LFLPlugin": "it wants a network with get_features; use FeatureDistillationPlugin",
        "PackNet": "it wants a network of its own kind, and to be told which step an image is of",
        "PNNStrategy": "it wants a network of its own kind, and to be told which step an image is of",
        "ExpertGateStrategy": "it wants a network of its own kind, with a pretrained AlexNet in it",
        "LearningToPrompt": "it prompts a pretrained vision transformer, which it downloads",
        "RARPlugin": "it reads the network by torch.fx, which those that fit themselves to an image's size do not allow",
        "GenerativeReplay": _GENERATIVE,
        "GenerativeReplayPlugin": _GENERATIVE,
        "TrainGeneratorAfterExpPlugin": _GENERATIVE,
        "AETraining": "it trains an autoencoder, and no classifier",
        "VAETraining": "it trains an autoencoder, and no classifier",
        "ObjectDetectionTemplate": "it detects objects, and does not classify",
        "EarlyStoppingPlugin": f"it ends a training early; {_PROTOCOL}",
        "LRSchedulerPlugin": f"it schedules the learning rate; {_PROTOCOL}",
        "Clock": "it counts, and changes nothing",
    }
)
_NAMES = {name.lower(): name for name in (*USABLE, *REFUSED)}


def resolve(given: Named) -> Spec:
    """Return a strategy's name as Avalanche spells it, with the options that were given.

    Args:
        given: `gdumb`, `EWC(ewc_lambda=0.4)`, or any of `USABLE`; upper and lower case are one. A plugin is put on the naive
            strategy.
    Raises: UnknownName, BadOption.
    """
    asked, options = read(given)
    name = _spelled(asked)
    settable = strategy(name).settable
    defaults = {option: inspect.Parameter.empty if isinstance(default, type) else default for option, default in settable.items()}
    kinds = {option: default if isinstance(default, type) else type(default) for option, default in settable.items()}
    annotations = {option: kind.__name__ for option, kind in kinds.items() if kind in (int, float)}
    full = filled("strategy", name, defaults, options, annotations)
    for option in options:
        _check(f"strategy {name!r}: {option}", settable[option], full[option])
    if full.get("mode") == "online" and full["decay_factor"] is None:
        raise BadOption(f"strategy {name!r} needs decay_factor where mode is online")
    return Spec(name=name, options={option: full[option] for option in options})


def label(spec: Spec) -> str:
    """Return the short form of a resolved strategy."""
    return render(spec.name, dict(spec.options))


def strategy(name: str) -> Strategy:
    """Return what a board may say of a strategy. Raises UnknownName with a suggestion, BadOption with the reason."""
    name = _spelled(name)
    if name in REFUSED:
        reason = REFUSED[name]
        first = reason.removeprefix("see ")
        raise BadOption(f"strategy {name!r} cannot be used here: {REFUSED.get(first, reason)}")
    return USABLE[name]


def load(name: str) -> type:
    """Return Avalanche's class of this name. Raises as `strategy` does."""
    strategy(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from avalanche.training import plugins, supervised
    kind: type = getattr(supervised if hasattr(supervised, name) else plugins, name)
    return kind


def check_stored(spec: Spec, stored: bool) -> None:
    """Raise BadOption where a strategy would have to look at the labels that are stored with augmentations, and looks at none."""
    if stored and strategy(spec.name).own_loss:
        raise BadOption(
            f"strategy {label(spec)!r} trains by a loss of its own, which looks at no soft labels, and augmentations are stored "
            'for these; give the protocol labels = "hard"'
        )


def check_replay(spec: Spec, images: int) -> None:
    """Raise BadOption where a strategy would replay more images a step than its memory holds after the first: none, that is.

    Args:
        spec: what `resolve` returns.
        images: that the memory holds after the first step of the stream.
    """
    parameter = strategy(spec.name).replayed
    asked = spec.options.get(parameter)
    if isinstance(asked, int) and asked > images:
        raise BadOption(
            f"strategy {spec.name!r}: {parameter} {asked} is more than the {images} image{'s' if images > 1 else ''} in memory "
            "after the first step, so that nothing would be replayed"
        )


def check_iterations(spec: Spec, iterations: int) -> None:
    """Raise BadOption where a strategy compares weights less often than a step of the stream ends, which gives NaN.

    Args:
        spec: what `resolve` returns.
        iterations: steps of training in the shortest step of the stream.
    """
    every = {**strategy(spec.name).parameters, **spec.options}.get("delta_t")
    if isinstance(every, int) and every > iterations:
        raise BadOption(
            f"strategy {spec.name!r}: delta_t {every} is more than the {iterations} steps of training in a step of the stream; "
            f"give {spec.name}(delta_t={iterations}) or less"
        )


def check_sample(spec: Spec, steps: int) -> None:
    """Raise BadOption where a strategy would draw fewer images of its memory than the steps before the last, one of each.

    Args:
        spec: what `resolve` returns.
        steps: of the stream.
    """
    size = {**strategy(spec.name).parameters, **spec.options}.get("sample_size")
    if isinstance(size, int) and size < steps - 1:
        raise BadOption(
            f"strategy {spec.name!r}: sample_size {size} is less than one image of each of the {steps - 1} steps before the "
            f"last; give {steps - 1} or more"
        )


def learns_of_one(spec: Spec) -> bool:
    """Whether a strategy learns from one image of its memory at a time, in the second step of a stream at the latest."""
    return any(spec.options.get(name) == 1 for name in ("patterns_per_exp", "patterns_per_experience", "sample_size"))


def describe() -> list[Description]:
    """Return what lists show: every strategy that can be used, then those that cannot, with the reason."""
    usable = [Description(name, "avalanche", entry.summary, _shown(entry)) for name, entry in USABLE.items()]
    refused = [Description(name, "avalanche", f"cannot be used: {reason}") for name, reason in REFUSED.items()]
    return usable + refused


def _check(place: str, default: object, value: object) -> None:
    """Raise BadOption for a value that is not of its parameter's type, for a count below one, and for a mode that is none."""
    if default in (int, float):
        check_type(place, 1 if default is int else 1.0, value, "int" if default is int else "float")
    counts = default is int or (type(default) is int)
    if counts and isinstance(value, int) and value < 1:
        raise BadOption(f"{place} must be 1 or more, not {value}")
    if place.endswith(": mode") and value not in MODES:
        raise BadOption(f"{place} must be {' or '.join(map(repr, MODES))}, not {value!r}")


def _shown(entry: Strategy) -> dict[str, str]:
    given = {name: "…" if isinstance(default, type) else write(default) for name, default in entry.settable.items()}
    return given | {name: "the scenario's" for name in (entry.memory, entry.replayed) if name}


def _spelled(name: str) -> str:
    if name.lower() not in _NAMES:
        near = difflib.get_close_matches(name.lower(), _NAMES, n=2, cutoff=0.6)
        names = [_NAMES[key] for key in near or _NAMES]
        hint = "did you mean " + " or ".join(map(repr, names)) + "?" if near else suggest(name, USABLE)
        raise UnknownName(f"no Avalanche strategy or plugin {name!r}; {hint}")
    return _NAMES[name.lower()]

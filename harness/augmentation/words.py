"""How boards write augmentation and mixing: what may stand there, checked without torch.

An augmentation is a DSA strategy (`color_crop_cutout_flip_scale_rotate`), `none`, or steps joined by "+", which are done from
left to right: `rand-m6-n2-mstd1.0+random-resized-crop(min_scale=0.08)+flip`, those of plugins among them. Mixing is `none`,
`cutmix(alpha=1.0)` or `mixup(alpha=0.8)`, of every batch or, `cutmix(alpha=1.0, probability=0.5)`, of such a share of them.
`harness.augmentation` makes what is written here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from harness.augmentation.steps import SHIPPED, is_plugged, registry
from harness.core.errors import BadOption, UnknownName, suggest
from harness.core.options import filled
from harness.core.spec import Spec, parse

#: The operations of DSA.
WORDS = ("color", "crop", "cutout", "flip", "scale", "rotate")
MODES = ("multiple", "single")
#: Steps of a pipeline and their parameters. A factor of 0 is the distilled set's own.
STEPS: dict[str, dict[str, Any]] = {
    "patch-shuffle": {"factor": 0},
    "mosaic-crop": {"factor": 0},
    "random-resized-crop": {"min_scale": 0.08},
    "pad-crop": {"padding": 4},
    "flip": {},
    "torchvision-rand-augment": {"operations": 2, "magnitude": 9},
    "color-jitter": {"strength": 0.4},
    "lighting": {"deviation": 0.1},
    "dsa": {"strategy": "_".join(WORDS), "mode": "multiple"},
}
MIXES: dict[str, dict[str, Any]] = {
    "cutmix": {"alpha": 1.0, "probability": 1.0},
    "mixup": {"alpha": 0.8, "probability": 1.0},
}
#: Parameters of a mixing that trials do not keep at their defaults: there were none at first.
MIXES_LATER = {"probability": 1.0}
#: How timm writes RandAugment, and what its parts mean; a bare `rand` is magnitude 10, two rounds, each with probability 0.5.
RAND_AUGMENT = "rand-"
RAND_PARTS = {"m": "magnitude", "n": "rounds", "p": "probability", "mstd": "deviation", "mmax": "highest", "inc": "increasing"}
#: Steps that work on pixels.
PIXELS = ("torchvision-rand-augment", "color-jitter", "lighting")
#: Versions above 1: of steps, mixings and operations of DSA, `dsa:cutout`, that once drew or computed something else.
VERSIONS: dict[str, int] = {}
#: What a protocol says in place of an augmentation or a mixing that comes with the distilled set.
STORED = "stored"
#: What it says where the protocol of a set's authors fills in.
NATIVE = "native"
#: Where DSA's squares are centred: `border` on every whole pixel from one edge of the image to the other, as DSA's authors draw
#: them; `inner` never on the last row or column, as squares were drawn here at first.
Cutout = Literal["border", "inner"]
BORDER: Cutout = "border"
INNER: Cutout = "inner"

#: What each parameter may be: a test, and the words for it.
_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "factor": (lambda value: value >= 0, "at least 1, or 0 for the distilled set's own"),
    "padding": (lambda value: value >= 0, "at least 0"),
    "min_scale": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "alpha": (lambda value: value > 0, "above 0"),
    "probability": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "operations": (lambda value: value >= 1, "at least 1"),
    "magnitude": (lambda value: 0 <= value <= 30, "a whole number from 0 to 30"),
    "strength": (lambda value: 0 <= value <= 1, "from 0 to 1"),
    "deviation": (lambda value: value >= 0, "at least 0"),
    "mode": (lambda value: value in MODES, " or ".join(MODES)),
}


@dataclass(frozen=True)
class Policy:
    """What RandAugment does: operations an image, `rounds` of them, each done with a `probability`, and how strongly.

    `magnitude` is of 10 in timm's, plus normal noise of a `deviation` (infinite: uniform from 0), at most `highest`; of 30 in
    torchvision's. `increasing` has timm's operations all grow with it. `text` is how trials keep it.
    """

    text: str
    magnitude: float = 10.0
    rounds: int = 2
    probability: float = 0.5
    deviation: float = 0.0
    highest: float = 10.0
    increasing: bool = False
    torchvision: bool = False


@lru_cache(maxsize=256)
def rand_augment(text: str) -> Policy:
    """Read timm's string, `rand-m6-n2-mstd1.0`. Raises BadOption, in one line, for what it does not say."""
    values: dict[str, float] = {}
    for part in text.removeprefix(RAND_AUGMENT).split("-"):
        form = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)", part)
        if form is None or form[1] not in RAND_PARTS or RAND_PARTS[form[1]] in values:
            wanted = ", ".join(RAND_PARTS)
            raise BadOption(f"augmentation {text!r}: cannot read {part!r}; parts are a number after one of {wanted}, each once")
        values[RAND_PARTS[form[1]]] = float(form[2])
    for name in ("magnitude", "rounds", "highest"):
        if not values.get(name, 1.0).is_integer():
            raise BadOption(f"augmentation {text!r}: {name} must be a whole number, not {values[name]:g}")
    if not (values.get("probability", 1.0) <= 1 and values.get("rounds", 2.0) >= 1 and values.get("increasing", 0.0) in (0, 1)):
        raise BadOption(f"augmentation {text!r}: n must be at least 1, p at most 1 and inc 0 or 1")
    deviation = values.get("deviation", 0.0)
    return Policy(
        text,
        values.get("magnitude", 10.0),
        int(values.get("rounds", 2.0)),
        values.get("probability", 0.5),
        float("inf") if deviation > 100 else deviation,
        values.get("highest") or 10.0,
        bool(values.get("increasing", 0.0)),
    )


def changes_pixels(text: str) -> bool:
    """Tell whether an augmentation, as trials keep it, works on pixels, which whitened images do not have."""
    if text in (STORED, NATIVE) or not is_pipeline(text):
        return False
    return any(step.name in PIXELS or step.name.startswith(RAND_AUGMENT) for step in steps(text))


def dsa_words(strategy: str) -> tuple[str, ...]:
    """Return the words of a DSA strategy in the order of `WORDS`: the order of writing changes nothing. Raises BadOption."""
    if strategy in ("", "none"):
        return ()
    words = strategy.split("_")
    for word in words:
        if word not in WORDS:
            raise BadOption(
                f"augmentation {strategy!r}: no word {word!r}; valid: {', '.join(WORDS)}, joined by '_', or 'none' alone"
            )
        if words.count(word) > 1:
            raise BadOption(f"augmentation {strategy!r}: {word!r} comes twice; each word once is right")
    return tuple(word for word in WORDS if word in words)


def is_pipeline(text: str) -> bool:
    """Tell a pipeline of steps from a DSA strategy; `flip` alone, which is both and does the same, counts as DSA.

    What has no word of DSA's in it is the name of a step, which a plugin may bring.
    """
    if any(mark in text for mark in "+(-") or (text in STEPS and text not in WORDS) or is_plugged(text):
        return True
    return text not in ("", "none", STORED, NATIVE) and not {*WORDS} & {*text.split("_")}


@lru_cache(maxsize=256)
def draws_cutout(text: str) -> bool:
    """Tell whether an augmentation cuts squares out. What comes with the distilled set, or is not filled in yet, does not."""
    if text in (STORED, NATIVE):
        return False
    strategies = [step.options["strategy"] for step in steps(text) if step.name == "dsa"] if is_pipeline(text) else [text]
    return any("cutout" in dsa_words(strategy) for strategy in strategies)


def steps(text: str) -> list[Spec]:
    """Return the steps of a pipeline, of those that ship with every parameter filled in; of others as they are written.

    Whether a plugin brings these, `planned` tells: a record, or a board, is read where its plugin is not.

    Raises: BadOption in one line.
    """
    pieces = re.split(r"\+(?![^(]*\))", text)  # a plus in brackets belongs to a number: 1e+0
    pipeline = [_step(piece) for piece in pieces]
    for step in pipeline:
        if step.name == "dsa":
            dsa_words(step.options["strategy"])
    return pipeline


def _step(piece: str) -> Spec:
    if piece.strip().startswith(RAND_AUGMENT):
        return Spec(name=rand_augment(piece.strip()).text)
    return _read("augmentation step", STEPS, piece, beside=True)


def ships(step: Spec) -> bool:
    """Whether a step is one of giftbench's own."""
    return step.name in STEPS or step.name.startswith(RAND_AUGMENT)


def mixing(text: str) -> Spec | None:
    """Return the mixing with every parameter filled in, None when nothing is mixed. Raises UnknownName and BadOption."""
    return None if text in ("", "none") else _read("mixing", MIXES, text, {*MIXES, "none"})


def known_augmentation(text: str) -> str:
    """Return an augmentation as boards keep it: a DSA strategy as it is, of a pipeline all parameters of what ships filled in."""
    if is_pipeline(text):
        return _written(steps(text))
    for word in text.split("_") if text not in ("", "none") else ():
        if word not in WORDS:
            raise UnknownName(f"unknown DSA operation {word!r}; {suggest(word, {*WORDS, *STEPS})}")
    return text


def planned(text: str) -> str:
    """Return an augmentation as trials keep it: every parameter of its steps filled in, those of plugins too.

    Raises: UnknownName and BadOption, with suggestions, where no step is called so, or has no such parameter.
    """
    if not is_pipeline(text):
        return known_augmentation(text)
    return _written([step if ships(step) else registry.resolve(step).spec for step in steps(text)])


def plugged(text: str) -> list[Spec]:
    """Return the steps of an augmentation that plugins bring, here or where it was written."""
    return [step for step in steps(text) if not ships(step)] if text not in ("", STORED, NATIVE) and is_pipeline(text) else []


def known_mixing(text: str) -> str:
    """Return a mixing as trials keep it, every parameter filled in."""
    step = mixing(text)
    if step is None:
        return "none"
    options = {name: value for name, value in step.options.items() if MIXES_LATER.get(name) != value}
    return str(Spec(name=step.name, options=options))


def for_factor(text: str, factor: int) -> str:
    """Return an augmentation with the distilled set's mosaic `factor` filled in, without steps that factor 1 makes idle."""
    if not is_pipeline(text):
        return text
    pipeline = []
    for step in steps(text):
        if step.options.get("factor") == 0:
            step = Spec(name=step.name, options=step.options | {"factor": factor})
            if factor == 1 and step.name in STEPS:
                continue
        pipeline.append(step)
    return _written(pipeline)


def versions(augmentation: str, mixed: str = "none") -> dict[str, int]:
    """Return the versions above 1 of what an augmentation and a mixing, as trials keep them, are made of."""
    names: set[str] = set()
    if augmentation != STORED:
        operations = steps(augmentation) if is_pipeline(augmentation) else [Spec(name="dsa", options={"strategy": augmentation})]
        names |= {"rand-augment" if step.name.startswith(RAND_AUGMENT) else step.name for step in operations}
        names |= {f"dsa:{word}" for step in operations if step.name == "dsa" for word in dsa_words(step.options["strategy"])}
    mix = mixing(mixed) if mixed != STORED else None
    names |= {mix.name} if mix is not None else set()
    return {f"augmentation {name}": VERSIONS[name] for name in sorted(names) if VERSIONS.get(name, 1) > 1}


def _written(pipeline: list[Spec]) -> str:
    return "+".join(map(str, pipeline)) or "none"


def _read(
    kind: str, known: Mapping[str, Mapping[str, object]], text: str, names: set[str] | None = None, beside: bool = False
) -> Spec:
    """Return a name and its parameters, all of those that are `known` filled in; `beside` these others may be named."""
    name, given = parse(text)
    if name not in known and beside and name not in SHIPPED:
        return Spec(name=name, options=dict(given))
    if name not in known:
        raise UnknownName(f"no {kind} {name!r}; {suggest(name, names or known)}")
    types = {option: type(default).__name__ for option, default in known[name].items()}  # a whole default is a count
    options = filled(kind, name, known[name], given, types)
    for option in given:
        fits, words = _RANGES.get(option, (lambda value: True, ""))
        if not fits(options[option]):
            raise BadOption(f"{kind} {name!r}: {option} must be {words}, not {options[option]!r}")
    return Spec(name=name, options=options)

"""Published weights: found in a file of tensors, named as our networks name them, every shape checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from harness import models
from harness.core.errors import DataError
from harness.files import paths, safetensors
from harness.models.convnet import ConvNet
from harness.models.fitting import Resized
from harness.teachers.key_styles import COUNTER, STYLES, State, looks_like

MAX_BYTES = 8 << 30
#: Where a saved dict keeps the weights, most telling first; averaged ones last.
PLACES = ("model", "state_dict", "net", "model_state_dict", "network", "teacher", "model_ema", "state_dict_ema", "ema")
#: What training wraps a network in; torchvision, timm and ours begin no name so.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
#: Counters that tools add to a state dict, without use for the network.
COUNTERS = ("n_averaged", "total_ops", "total_params")
_DEPTH = 4


@dataclass(frozen=True)
class Weights:
    """A state dict that a network loads strictly, and what was done to get it, in words."""

    state: State
    notes: tuple[str, ...] = ()


def read(path: Path) -> State:
    """Return the named tensors of a published checkpoint: torch-saved or .safetensors, bare or within a dict, prefixes taken off.

    Raises: DataError, one line, when the file is absent, too large, damaged, holds more than tensors and plain data, or no state
        dict. Nothing in it is executed.
    """
    content = _safetensors(path) if path.suffix == ".safetensors" else _saved(path)
    state = _state(content)
    if state is None:
        keys = [" ".join(str(key)[:40].split()) for key in list(content)[:8]] if isinstance(content, Mapping) else None
        held = type(content).__name__ if keys is None else ", ".join(keys)
        raise DataError(f"{path}: no state dict in it ({held or 'empty'}); expected one bare or under {', '.join(PLACES)}")
    for name in state:
        if not re.fullmatch(r"[\w.\-]{1,200}", name):
            raise DataError(f"{path}: a tensor is named {name[:40]!a}, as no layer is")
    return _bare(state)


def _saved(path: Path) -> object:
    from harness.files.tensors import load_tensors

    return load_tensors(path, limit=MAX_BYTES)


def _safetensors(path: Path) -> object:
    paths.size(path, MAX_BYTES)
    return safetensors.load(path)[1]


def _state(content: object, depth: int = 0) -> State | None:
    """Return the state dict in `content`: the one under a usual name, else the content's own tensors."""
    if not isinstance(content, Mapping) or depth > _DEPTH:
        return None
    for place in PLACES:
        state = _state(content.get(place), depth + 1)
        if state is not None:
            return state
    own = {name: tensor for name, tensor in content.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
    return own if any(tensor.dim() > 1 for tensor in own.values()) else None


def _bare(state: State) -> State:
    """Return the state without counters and without the prefixes that all of its names have."""
    state = {name: tensor for name, tensor in state.items() if name.rpartition(".")[2] not in COUNTERS}
    while prefix := next((p for p in PREFIXES if state and all(name.startswith(p) for name in state)), ""):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def fit(path: Path, state: State, network: nn.Module, label: str, classes: Sequence[int] = ()) -> Weights:
    """Return the weights of a checkpoint for `network`, which has the head that it needs.

    Args:
        path: the file, for messages.
        state: as `read` returns it.
        network: one of `harness.models`, built for the images and the number of classes.
        label: what messages call it.
        classes: which rows of a head with more classes are taken, in order; the first ones by default, as RDED does.
    Raises: DataError, one line naming file, tensor and shapes, with a guess, when a name or a shape does not fit.
    """
    inner = network.model if isinstance(network, Resized) else network
    wanted = inner.state_dict()
    named = _named(path, state, inner, label)
    notes = _cut(path, named, inner, label, classes)
    for name, tensor in wanted.items():
        if name.endswith(COUNTER):
            named.setdefault(name, torch.zeros_like(tensor))
        _check(path, name, named[name], tensor, _padding(name, named[name], tensor, inner) or _guess(state, label), label)
    prefix = "model." if inner is not network else ""
    fitting = {prefix + name: named[name].to(tensor.dtype).clone() for name, tensor in wanted.items()}
    return Weights(fitting, (*notes, *models.remarks(network)))


def _named(path: Path, state: State, network: nn.Module, label: str) -> State:
    """Return the state under the network's own names. Raises DataError that says what is missing and what is too much."""
    ours = network.state_dict()
    wanted = _counted(ours)
    best = state
    for style in STYLES:
        named = style(state, network)
        if named is None:
            continue
        if _counted(named) == wanted:
            return {name: tensor for name, tensor in named.items() if name in ours}
        best = min(best, named, key=lambda known: len(_counted(known) ^ wanted))
    missing, more = sorted(wanted - _counted(best)), sorted(_counted(best) - wanted)
    parts = [f"it has no {missing[0]}" if missing else "", f"it has {more[0]} too many" if more else ""]
    guess = _guess(state, label) or "; is it another network?"
    raise DataError(f"{path}: does not fit {label}: {', and '.join(p for p in parts if p)}{guess}")


def _counted(state: State) -> set[str]:
    """Return the names that a network cannot do without."""
    return {name for name in state if not name.endswith(COUNTER)}


def _cut(path: Path, state: State, network: nn.Module, label: str, classes: Sequence[int]) -> tuple[str, ...]:
    """Cut the head in `state` to the network's classes; return what was done, in words."""
    heads = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    if not heads:
        return ()
    name, rows = f"{heads[-1][0]}.weight", heads[-1][1].out_features
    own_classes = len(state[name]) if state[name].dim() else 0
    if own_classes < rows:
        raise DataError(f"{path}: {name} is {list(state[name].shape)}, for {own_classes} classes where the dataset has {rows}")
    if own_classes == rows:
        return ()
    taken = list(classes) or list(range(rows))
    if len(taken) != rows or max(taken) >= own_classes or min(taken) < 0:
        raise DataError(f"{path}: {label} needs the {rows} classes {taken[:5]}… of the {own_classes} that {name} has")
    for part in (name, f"{heads[-1][0]}.bias"):
        if part in state and state[part].dim() and len(state[part]) == own_classes:
            state[part] = state[part][torch.tensor(taken)]
    return (f"{'the first ' if taken == list(range(rows)) else ''}{rows} of the {own_classes} classes of its head",)


def _check(path: Path, name: str, tensor: Tensor, wanted: Tensor, guess: str, label: str) -> None:
    if tensor.shape != wanted.shape:
        shapes = f"{name} is {list(tensor.shape)}, {label} has {list(wanted.shape)} there"
        raise DataError(f"{path}: {shapes}{guess or _meaning(tensor, wanted)}")
    if tensor.is_floating_point() != wanted.is_floating_point() or tensor.is_complex():
        raise DataError(f"{path}: {name} is {tensor.dtype}, expected {wanted.dtype}")
    if tensor.is_floating_point() and not bool(tensor.to(wanted.dtype).isfinite().all()):
        raise DataError(f"{path}: {name} has values that are not finite")


def _guess(state: State, label: str) -> str:
    """Return a clause that names the network which the file seems to hold, or "" when it is `label` or unknown."""
    guess = looks_like(state)
    if not guess or guess == _looks(label.removeprefix("timm/")):
        return ""
    (name, _, options), (own, _, given) = guess.partition("("), label.partition("(")
    other = "norm" if name == own and ("norm=" in options) != ("norm=" in given) else "model name"
    return f"; wrong {other}? It looks like {guess}"


def _looks(label: str) -> str:
    """Return a label with those parameters alone that shapes tell of."""
    name, _, options = label.removesuffix(")").partition("(")
    told = [option for option in options.split(", ") if option.startswith(("width=", "norm="))]
    return f"{name}({', '.join(told)})" if told else name


def _padding(name: str, tensor: Tensor, wanted: Tensor, network: nn.Module) -> str:
    """Return a clause on the first convolution of a ConvNet for one channel where its classifier sees another map, or ""."""
    first = network.features[0] if isinstance(network, ConvNet) else None
    grey = isinstance(first, nn.Conv2d) and first.in_channels == 1
    if not grey or name != "classifier.weight" or tensor.shape == wanted.shape:
        return ""
    return "; wrong image size, or padding? Images of one channel are padded by 3 in the code of DC, DSA, DM, MTT and DATM"


def _meaning(tensor: Tensor, wanted: Tensor) -> str:
    """Return a clause that says what a layer of another shape may mean."""
    if tensor.dim() == wanted.dim() == 4 and tensor.shape[1] != wanted.shape[1]:
        return f"; was it trained on images of {tensor.shape[1]} channels?"
    if tensor.dim() == wanted.dim() == 2 and tensor.shape[0] == wanted.shape[0]:
        return f"; wrong image size? It wants {math.sqrt(tensor.shape[1] / wanted.shape[1]):.3g} times the pixels a side"
    return "; wrong model name, or another width of it?"

"""`timm/NAME`: any classifier of timm, and the settings with which it meets an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from torch import nn

from harness.core.errors import BadOption, UnknownName, suggest
from harness.models import Shape
from harness.models.fitting import checked_rate, fit, next_multiple

TOKENS = 8  # whole patches a side that a small image keeps
STRIDE = 32  # pixels that most networks of timm turn into one, and so the grain of resized images


@dataclass(frozen=True)
class Settings:
    """How a model of timm sees an image: its size once resized, the keywords that say so, and what was changed."""

    size: tuple[int, int]
    keywords: dict[str, Any] = field(default_factory=dict)
    change: str = ""


def any_timm(name: str, shape: Shape, classes: int, *, drop_path: float | None = None) -> nn.Module:
    """Any image classifier of timm, from scratch, fitted to the image.

    Args:
        name: as timm.list_models() has it, without a pretrained tag.
        shape: (channels, height, width) of the images; `settings` says what they change.
        classes: width of the logits.
        drop_path: rate of stochastic depth, in [0, 1); the model's own when not given.
    Raises: UnknownName for a name timm does not have; BadOption for a model without stochastic depth that is given some, and
        for one that works at none of the sizes tried.
    """
    if name not in timm.list_models():  # timm.create_model would also fetch "hf-hub:…" and read "local-dir:…"
        raise UnknownName(f"timm has no model {name!r}; {suggest(name.partition('.')[0], timm.list_models())}")
    keywords: dict[str, Any] = {"in_chans": shape[0], "num_classes": classes}
    if drop_path is not None:
        keywords["drop_path_rate"] = checked_rate(f"model 'timm/{name}': drop_path", drop_path)
    chosen = settings(name, shape, keywords)
    model = timm.create_model(name, pretrained=False, **keywords, **chosen.keywords)
    return fit(model, shape[1:], chosen.size, chosen.change)


def settings(name: str, shape: Shape, keywords: dict[str, Any]) -> Settings:
    """Decide how timm's model `name` meets an image, by trying on the meta device, which computes shapes and nothing else.

    The first of these that turns two images into two rows of logits in train mode:

    1. The image as it is. A model of fixed size is made for it (`img_size`), with its own patch where that leaves 8 tokens
       a side, else with the largest power of two that does, or 1; the image is upsampled to a multiple of the patch.
    2. For a model of fixed size whose patch cannot be set: the image upsampled until it leaves 8 tokens a side.
    3. The image upsampled to the next multiple of 32 px, and on in steps of 32 up to the size the model was published
       for, then that size itself.

    | model | pixels | recorded |
    | --- | ---: | --- |
    | resnet10t | 16 | |
    | vgg11 | 16 | input upsampled 16 -> 32 px |
    | xcit_nano_12_p16_224 | 32 | input upsampled 32 -> 128 px |
    | vit_tiny_patch16_224 | 16 | patch 2 |
    | vit_tiny_patch16_224 | 32 | patch 4 |
    | vit_tiny_patch16_224 | 50 | patch 4, input upsampled 50 -> 52 px |
    | vit_tiny_patch16_224 | 64 | patch 8 |
    | vit_tiny_patch16_224 | 224 | |

    Raises: BadOption when none works, with the first reason why.
    """
    failure: Exception | None = None
    for candidate in _candidates(name, shape, keywords):
        try:
            _try(name, shape, keywords, candidate)
        except BadOption:
            raise
        except Exception as error:  # models refuse a size in every way there is
            failure = failure or error
        else:
            return candidate
    raise BadOption(f"model 'timm/{name}' takes no images of shape {shape}, upsampled or not: {failure}")


def _candidates(name: str, shape: Shape, keywords: dict[str, Any]) -> Iterator[Settings]:
    published = timm.get_pretrained_cfg(name)
    fixed = published is not None and published.fixed_input_size
    image, own = shape[1:], _patch(name, keywords)

    def at(size: tuple[int, int]) -> Settings:
        return Settings(size, {"img_size": size} if fixed else {})

    if not fixed or own is None:
        yield at(image)
    elif min(image) // own >= TOKENS or own == 1:
        yield at(next_multiple(image, own))
    else:
        patch = _smaller(own, min(image))
        size = next_multiple(image, patch)
        yield Settings(size, {"img_size": size, "patch_size": patch}, f"patch {patch}")
        enlarge = -(-TOKENS * own // min(image))
        yield at(next_multiple((image[0] * enlarge, image[1] * enlarge), own))

    top = (224, 224) if published is None else (int(published.input_size[1]), int(published.input_size[2]))
    steps = [next_multiple((image[0] + step, image[1] + step), STRIDE) for step in range(0, max(top), STRIDE)]
    for size in dict.fromkeys([*(s for s in steps if max(s) <= max(top)), top]):
        if size != image and size[0] >= image[0] and size[1] >= image[1]:
            yield at(size)


def _try(name: str, shape: Shape, keywords: dict[str, Any], candidate: Settings) -> None:
    """Raise unless the model, made as the candidate says, returns logits; BadOption when it returns something else."""
    with torch.device("meta"), torch.no_grad():
        model = timm.create_model(name, pretrained=False, **keywords, **candidate.keywords)
        logits = model.train()(torch.empty(2, shape[0], *candidate.size))
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, keywords["num_classes"]):
        raise BadOption(f"model 'timm/{name}' is no image classifier: it does not return one row of logits an image")


def _patch(name: str, keywords: dict[str, Any]) -> int | None:
    """Return the side in pixels of the patches that a model cuts its images into, or None."""
    with torch.device("meta"):
        try:
            model = timm.create_model(name, pretrained=False, **keywords)
        except TypeError as error:
            if "drop_path_rate" in keywords and "drop_path_rate" in str(error):
                raise BadOption(f"model 'timm/{name}' has no parameter 'drop_path'") from None
            raise
    cut = getattr(model, "patch_embed", None) or getattr(model, "stem", None)
    patch = getattr(cut, "patch_size", None)
    if isinstance(patch, int):
        return patch
    return int(patch[0]) if isinstance(patch, (tuple, list)) and len(set(patch)) == 1 else None


def _smaller(own: int, side: int) -> int:
    """Return the largest power of two below `own` that leaves TOKENS whole patches along `side` pixels, or 1."""
    patch = 1
    while patch * 2 < own and side // (patch * 2) >= TOKENS:
        patch *= 2
    return patch

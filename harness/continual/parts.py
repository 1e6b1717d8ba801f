"""A student in two parts, the features and the last layer, as strategies want it that look at features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.core.errors import BoardError


class Parts(nn.Module):
    """A student taken apart: `classifier(feature_extractor(images))` is what it was, weights and all.

    Raises: BoardError for a student whose logits are not those of a linear layer, the last thing that it does.
    """

    def __init__(self, student: nn.Module, shape: tuple[int, int, int]) -> None:
        super().__init__()
        linear = [name for name, module in student.named_modules() if isinstance(module, nn.Linear)]
        if not linear or not linear[-1]:
            raise BoardError("the model has no last linear layer behind its features")
        place = next(student.parameters())
        images = torch.zeros((1, *shape), device=place.device, dtype=place.dtype)
        parent, _, name = linear[-1].rpartition(".")
        holder = student.get_submodule(parent)
        before = _answer(student, images)
        self.classifier = getattr(holder, name)
        setattr(holder, name, nn.Identity())
        self.feature_extractor = student
        features = _answer(student, images)
        if features.dim() != 2 or features.shape[1] != self.classifier.in_features:
            raise BoardError("the model's last linear layer is not the last thing that it does")
        after = self.classifier(features)
        if after.shape != before.shape or not (before.is_meta or torch.allclose(after, before, atol=1e-5)):
            raise BoardError("the model's last linear layer is not the last thing that it does")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images [B, C, H, W], [B, classes]."""
        logits: Tensor = self.classifier(self.feature_extractor(images))
        return logits


@torch.no_grad()
def _answer(network: nn.Module, images: Tensor) -> Tensor:
    training = network.training
    answer: Tensor = network.eval()(images)
    network.train(training)
    return answer

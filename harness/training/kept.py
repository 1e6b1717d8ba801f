"""What teachers have said, kept by what they were asked: of trainings that see the same, the first alone asks.

A batch is known again by its numbers, however it came about, so that whatever makes batches may do as it likes: what is read is
what the teacher would say, to the bit, and what has not been asked yet, is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor

#: Bytes of soft labels that a process keeps, at most.
MOST = 256 * 2**20
#: What an answer takes beside its numbers, in bytes: its name, and a tensor's own.
AROUND = 600

Teacher = Callable[[Tensor], Tensor]


@dataclass
class _Answers:
    """What has been said in trainings that are given the same, by the digest of what was asked."""

    by_digest: dict[bytes, Tensor] = field(default_factory=dict)
    size: int = 0


class KeptLabels:
    """Soft labels in the memory of a process, in as many bytes as there may be; those longest not used go first.

    Those of a stream that is being used do not make room for others of it: a training goes through all of them in their order,
    and would find none of them any more. Of one that does not fit the beginning is kept.

    Args:
        most: bytes of soft labels, those of all streams together.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most, self.size = most, 0
        self._streams: dict[Hashable, _Answers] = {}  # the one longest not used first

    def __len__(self) -> int:
        """How many batches there are answers about."""
        return sum(len(answers.by_digest) for answers in self._streams.values())

    def hold(self, streams: Collection[Hashable]) -> None:
        """Forget all streams but these."""
        for stream in [stream for stream in self._streams if stream not in streams]:
            self.size -= self._streams.pop(stream).size

    def teacher(self, stream: Hashable, teacher: Teacher) -> Teacher:
        """Return a teacher that says what this one says, images [B, C, H, W] -> logits [B, K], and is asked once a batch.

        Args:
            stream: the same for trainings that ask the same teacher; in another, nothing that was said in this one is looked for.
            teacher: on the CPU; what it says follows from the images of a batch.
        """

        def said(images: Tensor) -> Tensor:
            answers = self._used(stream)
            digest = of_batch(images)
            logits = answers.by_digest.get(digest)
            if logits is not None:
                return logits.clone()  # whoever is given it may write into it
            logits = teacher(images)
            self._keep(stream, answers, digest, logits)
            return logits

        return said

    def _used(self, stream: Hashable) -> _Answers:
        answers = self._streams.pop(stream, None) or _Answers()
        self._streams[stream] = answers
        return answers

    def _keep(self, stream: Hashable, answers: _Answers, digest: bytes, logits: Tensor) -> None:
        needed = logits.numel() * logits.element_size() + AROUND
        for other in [other for other in self._streams if other != stream]:
            if self.size + needed <= self.most:
                break
            self.size -= self._streams.pop(other).size
        if self.size + needed <= self.most:
            answers.by_digest[digest] = logits.detach().clone()
            answers.size += needed
            self.size += needed


def of_batch(images: Tensor) -> bytes:
    """Return a digest of images on the CPU: of their numbers, how they lie in memory, and what they would be computed in."""
    images = images.detach()
    laid = images.permute(0, 2, 3, 1) if images.dim() == 4 and not images.is_contiguous() else images
    precision = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
    digest = hashlib.sha256(f"{[*images.shape]} {images.stride()} {images.dtype} {precision}".encode(), usedforsecurity=False)
    digest.update(laid.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.digest()

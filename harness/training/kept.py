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

from harness.training.label_files import LabelFiles

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
    #: The name that they have among files, and how many of them lie there; none without one.
    name: str = ""
    filed: int = 0


class KeptLabels:
    """Soft labels in the memory of a process, in as many bytes as there may be; those longest not used go first.

    Those of a stream that is being used do not make room for others of it: a training goes through all of them in their order,
    and would find none of them any more. Of one that does not fit the beginning is kept.

    Args:
        most: bytes of soft labels, those of all streams together.
        files: where those of streams that have a name there are read first, and written by `settle`.
    """

    def __init__(self, most: int = MOST, files: LabelFiles | None = None) -> None:
        self.most, self.size, self.files = most, 0, files
        self._streams: dict[Hashable, _Answers] = {}  # the one longest not used first

    def __len__(self) -> int:
        """How many batches there are answers about."""
        return sum(len(answers.by_digest) for answers in self._streams.values())

    def hold(self, streams: Collection[Hashable]) -> None:
        """Forget all streams but these."""
        for stream in [stream for stream in self._streams if stream not in streams]:
            self.size -= self._streams.pop(stream).size

    def settle(self) -> None:
        """Write what has been said since, of streams that have a name among the files."""
        for answers in self._streams.values():
            if self.files is not None and answers.name and len(answers.by_digest) > answers.filed:
                self.files.write(answers.name, answers.by_digest)
                answers.filed = len(answers.by_digest)

    def teacher(self, stream: Hashable, teacher: Teacher, name: str = "") -> Teacher:
        """Return a teacher that says what this one says, images [B, C, H, W] -> logits [B, K], and is asked once a batch.

        Args:
            stream: the same for trainings that ask the same teacher; in another, nothing that was said in this one is looked for.
            teacher: on the CPU; what it says follows from the images of a batch.
            name: of the stream among the files, which tells all that its answers depend on; none for one that stays in memory.
        """

        def said(images: Tensor) -> Tensor:
            answers = self._used(stream, name)
            digest = of_batch(images)
            logits = answers.by_digest.get(digest)
            if logits is not None:
                return logits.clone()  # whoever is given it may write into it
            logits = teacher(images)
            self._keep(stream, answers, digest, logits.detach().clone())
            return logits

        return said

    def _used(self, stream: Hashable, name: str) -> _Answers:
        answers = self._streams.pop(stream, None)
        self._streams[stream] = answers or _Answers(name=name)
        if answers is None and name and self.files is not None:
            for digest, logits in self.files.read(name).items():
                self._keep(stream, self._streams[stream], digest, logits)
            self._streams[stream].filed = len(self._streams[stream].by_digest)
        return self._streams[stream]

    def _keep(self, stream: Hashable, answers: _Answers, digest: bytes, logits: Tensor) -> None:
        needed = logits.numel() * logits.element_size() + AROUND
        for other in [other for other in self._streams if other != stream]:
            if self.size + needed <= self.most:
                break
            self.size -= self._streams.pop(other).size
        if self.size + needed <= self.most:
            answers.by_digest[digest] = logits
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

"""What a student gets right of a test split. Nothing here waits for a GPU before the last batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from harness.boards.protocol import Precision
from harness.training.devices import arithmetic, autocast
from harness.training.folding import Fold, Folded, Watch
from harness.training.values import NOT_FINITE, Material

#: Batches from which on it pays to look for what can be folded.
FOLDED_FROM = 6
#: A margin is doubtful up to so many times the largest change that folding has made of one in the first batch, which is taken to
#: be no less than what rounding may change the largest logit by, as a share of that.
DOUBT: dict[Precision, float] = {"float32": 64.0, "bf16": 3.0}
UNIT: dict[Precision, float] = {"float32": 2**-24, "bf16": 2**-9}
#: How large that change may be, as a share of the largest logit, and which share of the first images may be in doubt.
NOISE: dict[Precision, float] = {"float32": 1e-4, "bf16": 0.1}
DOUBTFUL_AT_MOST = 0.3
#: Images of the first batch that are asked about again beside those in doubt, at least.
WITNESSES = 16
#: What `hits` returns of some images.
Answers = tuple[Tensor, Tensor]


class Tests(Protocol):
    """What tells which images a student gets right: `hits`, or what does the same another way."""

    def __call__(
        self,
        student: nn.Module,
        material: Material,
        index: Tensor | None = None,
        *,
        precision: Precision = "float32",
        batch_size: int = 0,
    ) -> tuple[Tensor, Tensor]: ...


def evaluate(
    student: nn.Module,
    material: Material,
    precision: Precision = "float32",
    batch_size: int = 0,
    tests: Tests | None = None,
) -> dict[str, float]:
    """Return top-1 and top-5 accuracy of a student in eval mode, in percent: {"accuracy", "top5_accuracy"}.

    `NOT_FINITE` stands beside them where there are images whose logits are not all finite: how many.

    `batch_size` of 0 takes what `at_once` says. `tests` is asked in the place of `hits`.
    """
    right, finite = (tests or hits)(student, material, precision=precision, batch_size=batch_size)
    top1, top5, odd = torch.cat([100 * right.sum(0).double() / len(material.labels), (~finite).sum()[None]]).tolist()
    return {"accuracy": top1, "top5_accuracy": top5, **({NOT_FINITE: odd} if odd else {})}


def hits(
    student: nn.Module,
    material: Material,
    index: Tensor | None = None,
    *,
    precision: Precision = "float32",
    batch_size: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return which images a student in eval mode gets right, top-1 and among its first five, [N, 2] bool on the device.

    Beside it, of which images all logits are finite, [N] bool: no answer is right that others are not.

    On the CPU, batch norm is folded into convolutions where that is faster (`harness.training.folding`). It changes logits by
    float noise and no answer: images whose answer such a change could turn are asked about again, as the student is.

    Args:
        index: which of the material's images, [N] int64 on the device; all of them by default.
        batch_size: as in `evaluate`.
    """
    device = material.images.device
    batch_size = batch_size or at_once(device)
    index = torch.arange(len(material.labels), device=device) if index is None else index
    parts = torch.split(index, batch_size)
    student.eval()
    with torch.inference_mode(), arithmetic(device, precision):
        tested = Tested(student, material, precision)
        foldable = device.type == "cpu" and batch_size > WITNESSES and len(index) >= FOLDED_FROM * batch_size
        return (tested.folded(parts) if foldable else None) or tested.answers(parts)


def judged(logits: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Return which logits, [B, C], are right about labels, [B]: top-1 and among five, [B, 2]; and which are finite, [B]."""
    finite = logits.isfinite().all(1)
    right = logits.topk(min(5, logits.shape[1]), dim=1).indices == true[:, None]
    return torch.stack([right[:, 0], right.any(1)], dim=1) & finite[:, None], finite


def at_once(device: torch.device) -> int:
    """Return how many images are tested at once: 200 on the CPU, where more are no faster and take more memory, else 1000."""
    return 200 if device.type == "cpu" else 1000


@dataclass(frozen=True)
class Tested:
    """A student in eval mode and the images that it is asked about."""

    student: nn.Module
    material: Material
    precision: Precision

    def logits(self, part: Tensor) -> Tensor:
        """Return the logits, [N, C] float, of the images at `part`, [N] int64."""
        with autocast(part.device, self.precision)():
            logits: Tensor = self.student(self.material.batch(part))
        return logits.float()

    def answers(self, parts: Sequence[Tensor]) -> Answers:
        """Return what the student says of the images of some parts, each of which it is given at once."""
        return joined([judged(self.logits(part), self.labels(part)) for part in parts])

    def labels(self, part: Tensor) -> Tensor:
        return self.material.labels.index_select(0, part)

    def folded(self, parts: Sequence[Tensor]) -> Answers | None:
        """Return what `answers` would, of parts on the CPU, mostly by folded passes; None where the student has to be asked.

        That is where nothing can be folded, where the student draws random numbers, where folding changes the logits of the first
        part, which is asked about both ways, beyond float noise, and where images are given other logits, to the last bit, among
        other images.
        """
        first = parts[0]
        alike = [part for part in parts if len(part) == len(first)]
        try:
            with torch.random.fork_rng([]):
                passes = self._passes(first)
            if passes is None:
                return None
            gaps = torch.cat([passes.gaps(self, part) for part in alike[1:]])
            index = torch.cat(alike[1:])
            doubtful = (~(gaps.abs() > passes.doubt).all(1)).nonzero()[:, 0]
            if len(doubtful) > 2 * DOUBTFUL_AT_MOST * len(gaps):
                return None
            again = self._again(index[doubtful], first, passes.plain)
        except Exception:  # whatever a student does that no folded pass can do; a fault of its own shows again without them
            return None
        labels = self.labels(index[doubtful])
        if again is None or bool((_change(gaps[doubtful], margins(again, labels)) > passes.doubt / 2).any()):
            return None
        right, finite = gaps > 0, torch.ones(len(gaps), dtype=torch.bool)
        right[doubtful], finite[doubtful] = judged(again, labels)
        others = [self.answers([part]) for part in parts[len(alike) :]]
        return joined([judged(passes.plain, self.labels(first)), (right, finite), *others])

    def _passes(self, first: Tensor) -> Passes | None:
        """Return what is needed of folded passes, found out on the images at `first`; None where there are to be none."""
        before = torch.get_rng_state()
        with Watch() as watch:
            plain = self.logits(first)
        folds = watch.folds()
        if not folds or not plain.isfinite().all() or not torch.equal(torch.get_rng_state(), before):
            return None
        with Folded(folds):
            logits = self.logits(first)
        labels, largest = self.labels(first), float(plain.abs().max())
        own = margins(plain, labels)
        change = float(_change(own, margins(logits, labels)).max())
        doubt = DOUBT[self.precision] * max(change, UNIT[self.precision] * largest)
        sure = (own.abs() > doubt).all(1).double().mean()
        if not logits.isfinite().all() or change > NOISE[self.precision] * largest or sure < 1 - DOUBTFUL_AT_MOST:
            return None
        return Passes(folds, plain, doubt)

    def _again(self, index: Tensor, first: Tensor, plain: Tensor) -> Tensor | None:
        """Return the student's own logits of the images at `index`, [N] int64, asked about in batches as large as the first.

        Each is filled up with images of the first; None where one of those does not get the logits of before, `plain`.
        """
        logits = [plain[:0]]
        for part in torch.split(index, len(first) - WITNESSES) if len(index) else ():
            said = self.logits(torch.cat([part, first[: len(first) - len(part)]]))
            if not torch.equal(said[len(part) :], plain[: len(first) - len(part)]):
                return None
            logits.append(said[: len(part)])
        return torch.cat(logits)


@dataclass(frozen=True)
class Passes:
    """Folded passes: what they fold, the student's own logits of the first part, the margin up to which an answer is doubtful."""

    folds: Sequence[Fold]
    plain: Tensor
    doubt: float

    def gaps(self, tested: Tested, part: Tensor) -> Tensor:
        """Return the margins, [N, 2], of the images at `part` in a folded pass; NaN where a logit is not finite."""
        with Folded(self.folds):
            logits = tested.logits(part)
        return margins(logits, tested.labels(part)).where(logits.isfinite().all(1, keepdim=True), torch.nan)


def joined(answers: Sequence[Answers]) -> Answers:
    """Return what is said of several parts as if of one."""
    right, finite = zip(*answers, strict=True)
    return torch.cat(right), torch.cat(finite)


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the logit of each image's own class is above the best of the others, and above their fifth, [N, 2].

    Infinite where there is no such other one. An answer is right where it is positive, and not where it is negative.
    """
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf).topk(min(5, logits.shape[1]), dim=1).values
    fifth = own - others[:, 4:5] if others.shape[1] == 5 else torch.full_like(own, torch.inf)
    return torch.cat([own - others[:, :1], fifth], dim=1)


def _change(before: Tensor, after: Tensor) -> Tensor:
    """Return how far margins are apart; 0 where both are infinite."""
    return (after - before).abs().nan_to_num(0.0)

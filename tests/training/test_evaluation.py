"""What a student gets right, against a count of ranks by hand, whatever its batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.boards.protocol import Precision
from harness.training import evaluation, folding
from harness.training.evaluation import evaluate, hits, margins
from harness.training.folding import Folded, Watch
from harness.training.values import Material

SHAPE = (1, 2, 2)


class Scores(nn.Module):
    """Answers each image, which holds its own number all over, with a row of a table; notes the batches that it is given."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table
        self.batches: list[list[int]] = []
        self.modes: set[tuple[bool, bool]] = set()

    def forward(self, images: Tensor) -> Tensor:
        numbers = images[:, 0, 0, 0].long()
        self.batches.append(numbers.tolist())
        self.modes.add((self.training, torch.is_grad_enabled()))
        return self.table[numbers]


def numbered(labels: list[int]) -> Material:
    images = torch.arange(len(labels), dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, *SHAPE)
    return Material(images.contiguous(), torch.tensor(labels))


def ranks(table: Tensor, labels: list[int]) -> list[int]:
    """Return how many classes each image's own one is behind, one comparison at a time; scores have no ties."""
    return [sum(float(score) > float(row[label]) for score in row) for row, label in zip(table, labels, strict=True)]


@pytest.fixture
def student() -> Scores:
    return Scores(torch.randn(23, 9, generator=torch.Generator().manual_seed(0)))


LABELS = [number % 9 for number in range(23)]


@pytest.mark.parametrize("batch_size", [0, 1, 5, 23, 100])
def test_accuracies_are_shares_of_all_images_however_they_are_batched(student: Scores, batch_size: int) -> None:
    behind = ranks(student.table, LABELS)
    measured = evaluate(student, numbered(LABELS), batch_size=batch_size)
    assert measured == {
        "accuracy": pytest.approx(100 * sum(rank < 1 for rank in behind) / 23),
        "top5_accuracy": pytest.approx(100 * sum(rank < 5 for rank in behind) / 23),
    }
    assert 0 < measured["accuracy"] < measured["top5_accuracy"] < 100


def test_the_student_is_asked_in_eval_mode_without_gradients_and_about_each_image_once(student: Scores) -> None:
    student.train()
    evaluate(student, numbered(LABELS), batch_size=10)
    assert student.modes == {(False, False)}
    assert student.batches == [list(range(10)), list(range(10, 20)), list(range(20, 23))]


def test_hits_are_those_of_the_images_at_the_index_in_its_order(student: Scores) -> None:
    index = [22, 3, 3, 17, 0]
    right, finite = hits(student, numbered(LABELS), torch.tensor(index), batch_size=2)
    behind = ranks(student.table, LABELS)
    assert right.tolist() == [[behind[number] < 1, behind[number] < 5] for number in index]
    assert right.dtype == torch.bool
    assert finite.all()


@pytest.mark.parametrize("classes", [1, 3, 5])
def test_of_five_classes_or_fewer_all_are_among_the_first_five(classes: int) -> None:
    table = torch.randn(6, classes, generator=torch.Generator().manual_seed(1))
    assert evaluate(Scores(table), numbered([number % classes for number in range(6)]))["top5_accuracy"] == 100


@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -torch.inf])
def test_no_answer_is_right_that_has_a_logit_which_is_not_finite_and_these_are_counted(odd: float) -> None:
    table = torch.tensor([[0.0, odd], [odd, 1.0], [odd, odd], [2.0, 1.0]])
    for label in (0, 1):
        right, finite = hits(Scores(table), numbered([label] * 4))
        assert right.tolist() == [[False, False]] * 3 + [[label == 0, True]]
        assert finite.tolist() == [False, False, False, True]
    assert evaluate(Scores(table), numbered([0] * 4)) == {"accuracy": 25.0, "top5_accuracy": 25.0, "not_finite": 3.0}


def test_images_that_are_normalised_by_batch_are_normalised() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, *SHAPE).contiguous()
    seen: list[Any] = []

    class Watching(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.extend(images[:, 0, 0, 0].tolist())
            return torch.zeros(len(images), 2)

    evaluate(Watching(), Material(pixels, torch.zeros(3, dtype=torch.int64), mean=(0.2,), std=(0.4,)))
    assert seen == pytest.approx([-0.5, 0.0, 2.0], abs=1e-6)


class Convolutional(nn.Module):
    """A convolution with its batch norm, and twelve classes."""

    def __init__(self) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(3)
        self.features = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(16, 12)
        norm = self.features[1]
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        with torch.no_grad():
            self.classifier.weight.copy_(torch.randn(12, 16, generator=stream))
            self.classifier.bias.zero_()
            norm.running_mean.copy_(torch.randn(16, generator=stream))
            norm.running_var.copy_(torch.rand(16, generator=stream) + 0.1)
            norm.weight.copy_(torch.randn(16, generator=stream))
        self.to(memory_format=torch.channels_last).eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let small maps be folded too, and note how many convolutions each folded pass has."""
    noted: list[int] = []

    class Noted(Folded):
        def __init__(self, folds: Any) -> None:
            super().__init__(folds)
            noted.append(len(folds))

    monkeypatch.setattr(folding, "LARGE", 1)
    monkeypatch.setattr(evaluation, "Folded", Noted)
    return noted


def photographs(count: int, seed: int = 0) -> Material:
    stream = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 6, 6, generator=stream) * (1 + 3 * torch.rand(count, 1, 1, 1, generator=stream))
    return Material(images.contiguous(memory_format=torch.channels_last), torch.randint(12, (count,), generator=stream))


def plainly(student: nn.Module, material: Material, precision: Precision, batch_size: int) -> list[tuple[Tensor, Tensor]]:
    """Return the answers of a student that is asked about every image as it is, and those that folded logits would give."""
    parts = torch.arange(len(material.labels)).split(batch_size)
    tested = evaluation.Tested(student.eval(), material, precision)
    with torch.inference_mode():
        with Watch() as watch:
            tested.logits(parts[0])
        plain = tested.answers(parts)
        with Folded(watch.folds()):
            folded = tested.answers(parts)
    return [plain, folded]


def borderline(student: nn.Module, precision: Precision, count: int) -> Material:
    """Return images that a student is of two minds about, to the last bit, labelled by what it says just before."""
    material = photographs(2 * count, seed=1)
    parts = torch.arange(2 * count).split(count)
    before, after = (material.images[part] for part in parts)
    low, high = torch.zeros(count), torch.ones(count)

    def between(shares: Tensor) -> Material:
        return Material(torch.lerp(before, after, shares[:, None, None, None]), material.labels[:count])

    with torch.inference_mode():
        said = evaluation.Tested(student, material, precision).logits(parts[0]).argmax(1)
        for _ in range(26):
            middle = (low + high) / 2
            same = evaluation.Tested(student, between(middle), precision).logits(parts[0]).argmax(1) == said
            low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    return Material(between(high).images.contiguous(memory_format=torch.channels_last), said)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_folding_turns_no_answer_however_near_a_border_images_are(folds: list[int], precision: Precision) -> None:
    """Folded logits alone turn answers of such images; what is counted is what the student itself says of them."""
    student, clear = Convolutional(), photographs(1_700)
    near = borderline(student, precision, 100)
    material = Material(torch.cat([clear.images, near.images]), torch.cat([clear.labels, near.labels]))
    (right, _), (turned, _) = plainly(student, material, precision, 200)
    assert (right != turned).any()
    with torch.inference_mode():
        counted = evaluation.Tested(student, material, precision).folded(torch.arange(1_800).split(200))
    assert counted is not None
    assert torch.equal(counted[0], right)
    assert torch.equal(hits(student, material, precision=precision)[0], right)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("seed", range(3))
def test_most_images_are_asked_about_in_folded_passes_alone(folds: list[int], precision: Precision, seed: int) -> None:
    student, material = Convolutional(), photographs(1_050, seed)
    (right, finite), _ = plainly(student, material, precision, 100)
    measured = hits(student, material, precision=precision, batch_size=100)
    assert torch.equal(measured[0], right)
    assert torch.equal(measured[1], finite)
    assert folds == [1] * 10  # the first of the ten whole batches is asked about both ways


def test_ties_are_broken_as_those_of_the_students_own_logits_are(folds: list[int]) -> None:
    """Two classes of the same weights, of which either is right of some images."""
    student, material = Convolutional(), photographs(700)
    with torch.no_grad():
        student.classifier.weight[6] = student.classifier.weight[0]
    (right, _), _ = plainly(student, material, "float32", 100)
    assert torch.equal(hits(student, material, batch_size=100)[0], right)
    assert len(folds) > 2


class Neighbours(Convolutional):
    """Answers by the mean of the batch that an image is in, too."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits - logits.mean(0)


class Wanders(Convolutional):
    """Reads its maps before they are normalised, of some batches: of those whose first pixel is bright."""

    def forward(self, images: Tensor) -> Tensor:
        convolution, norm, relu = self.features
        maps = convolution(images)
        bright = maps.mean((2, 3)) if bool(images[0, 0, 0, 0] > 0.5) else 0.0
        logits: Tensor = self.classifier(relu(norm(maps)).mean((2, 3)) + bright)
        return logits


class Bursts(Convolutional):
    """Gives images whose first pixel is very bright logits that are not finite."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / (images[:, 0, 0, 0] < 50.0)[:, None]


class Draws(Convolutional):
    """Leaves out some of what it sees in eval mode, too."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(images, 0.5, training=True))


@pytest.mark.parametrize("kind", [Neighbours, Wanders, Bursts, Draws])
def test_a_student_of_any_kind_has_the_answers_that_it_gives_batch_by_batch(folds: list[int], kind: type[Convolutional]) -> None:
    student, material = kind(), photographs(1_000)
    parts = torch.arange(1_000).split(100)
    material.images[-1, 0, 0, 0] = 100.0
    torch.manual_seed(0)
    with torch.inference_mode():
        plain = evaluation.Tested(student.eval(), material, "float32").answers(parts)
    torch.manual_seed(0)
    right, finite = hits(student, material, batch_size=100)
    assert torch.equal(right, plain[0])
    assert torch.equal(finite, plain[1])
    assert finite[:100].all()
    assert bool(finite.all()) == (kind is not Bursts)
    assert bool(folds) == (kind is not Draws)


def test_margins_are_those_of_the_own_class_above_the_best_other_and_above_the_fifth_other(student: Scores) -> None:
    labels = torch.tensor(LABELS)
    for classes in (9, 5, 6, 1):
        table = student.table[:, :classes]
        own = labels % classes
        for (best, fifth), row, label in zip(margins(table, own).tolist(), table.tolist(), own.tolist(), strict=True):
            others = sorted((score for number, score in enumerate(row) if number != label), reverse=True)
            assert best == (pytest.approx(row[label] - others[0]) if others else torch.inf)
            assert fifth == (pytest.approx(row[label] - others[4]) if len(others) > 4 else torch.inf)

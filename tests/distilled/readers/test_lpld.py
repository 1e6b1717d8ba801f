"""LPLD and LPQLD: what their code stores is read, and trained on as their code trains on it."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.datasets import ImageFolder

from harness import DistilledSet
from harness.core.errors import BadOption, DataError
from harness.distilled.order import Order
from harness.files.tensors import load_tensors
from tests.distilled.readers.published_files import DIGITS, write_folders
from tests.distilled.readers.retrained import CLASSES, IMAGES, SIZE, imported, reference, student, trained
from tests.distilled.readers.stored_labels import Written, rand_augment, rand_augmented, replayed, write_lp
from tests.training.small import weights


def published(folder: Path, name: str = "labels", **how: Any) -> list[Written]:
    write_folders("sre2l", folder / "images", DIGITS, 2)
    return write_lp(folder / name, IMAGES, CLASSES, SIZE, **how)


def epoch_stream(seed: int, number: int) -> torch.Generator:
    """The stream that a trial's seed gives the order of an epoch."""
    digest = hashlib.sha256(f"{seed}/order/{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def sampled(count: int, steps: int, epochs: int, seed: int) -> list[int]:
    """LPQLD: random.sample of all batches, an epoch."""
    return [b for n in range(1, epochs + 1) for b in torch.randperm(count, generator=epoch_stream(seed, n))[:steps].tolist()]


def drawn(count: int, steps: int, epochs: int, seed: int) -> list[int]:
    """LPLD: one batch after the other, of which the last of a stored epoch gives way to the one before it."""
    numbers: list[int] = []
    for number in range(1, epochs + 1):
        for batch in torch.randint(count, (steps,), generator=epoch_stream(seed, number)).tolist():
            numbers.append(batch - 1 if (batch + 1) % steps == 0 else batch)
    return numbers


def soft_target(parts: list[Any], fill: str, temperature: float) -> Tensor:
    """The authors' training code, over all classes."""
    values = parts[5].float()
    if len(parts) == 6:
        return (values / temperature).softmax(1)
    top = parts[6].long()
    if fill == "mrs":
        least = parts[7].float() if len(parts) == 8 else values.min(1, keepdim=True).values
        return (least.expand(len(values), CLASSES).clone().scatter_(1, top, values) / temperature).softmax(1)
    values = values if fill == "ms" else (values / temperature).softmax(1)
    return torch.zeros(len(values), CLASSES).scatter_(1, top, values)


def authors_loss(fill: str, temperature: float = 20.0) -> Callable[[Tensor, list[Any]], Tensor]:
    def value(logits: Tensor, parts: list[Any]) -> Tensor:
        return F.kl_div((logits / temperature).log_softmax(1), soft_target(parts, fill, temperature), reduction="batchmean")

    return value


@pytest.mark.parametrize("mix", ["cutmix", "mixup", "none"])
@pytest.mark.parametrize("flat", [True, False], ids=["flat", "by epoch"])
def test_every_batch_is_what_was_stored_for_these_images(tmp_path: Path, flat: bool, mix: str) -> None:
    stored = published(tmp_path, topk=3, flat=flat, mix=mix, batch=6, batches=5, drop_last=False)
    replay = imported(tmp_path / "labels").replay
    assert replay.epochs == 5 and replay.batch == 6 and replay.counts.tolist() == [6, 6, 6, 2, 6]
    for row, (index, parts) in enumerate((one.index, one.parts) for one in stored):
        coords, flips, partner, lam, box, values, top = parts
        here = slice(0, len(index))
        assert replay.index[row, here].tolist() == index
        assert torch.equal(replay.crops[row, here], coords.float()) and torch.equal(replay.flips[row, here], flips)
        assert torch.equal(replay.logits[row, here], values) and torch.equal(replay.topk[row, here], top)
        assert replay.partners[row, here].tolist() == (list(range(len(index))) if partner is None else partner.tolist())
        assert replay.boxes[row, 0].tolist() == ([-1] * 4 if box is None else [int(side) for side in box])
        whole = 1 - (int(box[2]) - int(box[0])) * (int(box[3]) - int(box[1])) / 256 if box else 1.0 if lam is None else lam
        assert float(replay.lam[row, 0]) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize(
    ("form", "how", "fill"),
    [
        ("lpld", {}, ""),
        ("lpld", {"flat": False, "batches": 8}, ""),
        ("lpqld", {"topk": 3}, "mr"),
        ("lpqld", {"topk": 3, "lowest": True}, "mrs"),
        ("lpqld", {"topk": 3}, "mrs"),
        ("lpqld", {"topk": 3, "probabilities": 20.0}, "ms"),
        ("lpqld", {"topk": 1}, "mr"),
        ("lpqld", {"topk": 3, "batch": 8, "batches": 6, "drop_last": False}, "mr"),
    ],
    ids=["pruned, flat", "pruned, by epoch", "MR", "MRS, stored", "MRS, smallest", "MS", "MR of one", "ragged"],
)
def test_training_is_the_authors_loop(tmp_path: Path, form: str, how: dict[str, Any], fill: str) -> None:
    stored = published(tmp_path, **how)
    made = imported(tmp_path / "labels", form=form, **({"fill": fill} if fill else {}))
    steps = IMAGES // how.get("batch", 4)
    orders = sampled if how.get("flat", True) else drawn
    order = orders(len(stored), steps, 3, seed=5)
    expected, seen = reference(made, stored, order, authors_loss(fill))
    found, batches = trained(made, "kl", 3, seed=5)
    assert [len(batch) for batch in batches] == [len(batch) for batch in seen]
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(batches, seen, strict=True))
    assert torch.allclose(found, expected, atol=1e-5) and not torch.allclose(found, weights(student()), atol=1e-5)
    assert not torch.equal(found, trained(made, "kl", 3, seed=6)[0])


@pytest.mark.parametrize(
    ("how", "fill", "epochs"),
    [({"topk": 3}, "mr", 15), ({"topk": 3, "lowest": True}, "mrs", 15), ({"topk": 3, "probabilities": 20.0}, "ms", 5)],
)
def test_the_native_loss_of_lpqld_moves_both_temperatures_as_the_authors_loop_does(
    tmp_path: Path, how: dict[str, Any], fill: str, epochs: int
) -> None:
    """A few epochs stand for 300: the temperature of the labels is that of the epochs 1, 21, 41 and so on, of fifteen.

    It is a tenth of the authors', for these labels are few: the student's is within what is searched.
    """
    stored, steps = published(tmp_path, **how), IMAGES // 4
    made = imported(tmp_path / "labels", fill=fill)
    searched: list[float] = [1.0]
    taken: list[Tensor] = []

    def value(logits: Tensor, parts: list[Any]) -> Tensor:
        epoch = 300 // epochs * (len(taken) // steps) + 1
        target = soft_target(parts, fill, max(0.2, 2 * 0.7 ** (epoch // 30)))
        taken.append(target)
        if len(taken) % steps == 0:  # an epoch's last: the next one has the temperature that is best here
            tried = numpy.linspace(0.01, 1, 100)
            with torch.no_grad():
                found = [F.kl_div((logits / t).log_softmax(1), target, reduction="batchmean").item() for t in tried]
            searched.append(float(tried[numpy.argmin(found)]))
        return F.kl_div((logits / searched[(len(taken) - 1) // steps]).log_softmax(1), target, reduction="batchmean")

    expected, _ = reference(made, stored, sampled(len(stored), steps, epochs, seed=5), value)
    assert made.native_loss == ("calibrated_kl(temperature=20.0, decay=1.0)" if fill == "ms" else "calibrated_kl")
    loss = made.native_loss if fill == "ms" else "calibrated_kl(temperature=2.0, lowest=0.2)"
    found, _ = trained(made, loss, epochs, seed=5)
    assert min(searched) < 1, searched
    assert torch.allclose(found, expected, atol=1e-4) and not torch.allclose(found, weights(student()), atol=1e-2)


@pytest.mark.parametrize("topk", [0, 3])
def test_rounds_of_rand_augment_are_replayed_as_timm_does_them(tmp_path: Path, topk: int) -> None:
    """Every operation is stored somewhere; where pixels move, those at the border of what is filled may be off."""
    said: list[str] = []
    stored = published(tmp_path, topk=topk, rounds=2, batches=15)
    made = imported(tmp_path / "labels", said)
    assert any("2 rounds of RandAugment, done where the stored draw is below 0.5" in line for line in said)
    assert torch.cat([one.parts[2][0][0] for one in stored]).unique().numel() > 10
    _, seen = trained(made, "kl", 3, seed=5)
    for batch, number in zip(seen, sampled(15, 5, 3, seed=5), strict=True):
        one = stored[number]
        whole = [rand_augmented(made.images[image], one.parts[2], place, 76) for place, image in enumerate(one.index)]
        pictures = (torch.stack(whole).float() / 255 - 0.3) / 0.3
        expected = replayed(pictures, Written([*range(len(whole))], [*one.parts[:2], *one.parts[3:]]))
        off = ((batch - expected).abs() > 2.5 / 255 / 0.3).float().mean()
        assert off < 0.03, (number, float(off))


def test_logits_left_out_stay_out_at_every_temperature(tmp_path: Path) -> None:
    stored = published(tmp_path, topk=3)
    made = imported(tmp_path / "labels", fill="mr")
    order = sampled(len(stored), 5, 1, seed=0)
    for temperature in (1.0, 4.0):
        expected, _ = reference(made, stored, order, authors_loss("mr", temperature))
        assert torch.allclose(trained(made, f"kl(temperature={temperature})", 1)[0], expected, atol=1e-5)


def test_what_is_assumed_is_said(tmp_path: Path) -> None:
    published(tmp_path, topk=3)
    for name, how, options, words in (
        ("plain", {}, {}, "the 3 largest of 10 soft labels are stored; fill = mr (assumed, as the authors recommend"),
        ("least", {"lowest": True}, {}, "fill = mrs (for the lowest logits are stored)"),
        ("shares", {"probabilities": 20.0}, {}, "fill = ms (assumed, for they are numbers in [0, 1]"),
        ("FKD_cutmix_MS-3", {"probabilities": 4.0}, {"temperature": 4.0}, "fill = ms (by the folder's name), probabilities at"),
        ("FKD_MRS3_ipc2", {}, {}, "fill = mrs (by the folder's name)"),
        ("asked_MR", {}, {"fill": "mrs"}, "fill = mrs (as asked for)"),
    ):
        said: list[str] = []
        write_lp(tmp_path / name, IMAGES, CLASSES, SIZE, topk=3, **how)  # type: ignore[arg-type]
        made = imported(tmp_path / name, said, **options)  # type: ignore[arg-type]
        assert any(words in line for line in said), said
        assert made.provenance["fill"] in words and made.replay.rule.fill == made.provenance["fill"]
    said = []
    write_lp(tmp_path / "unnamed", IMAGES, CLASSES, SIZE, flat=False, named=False)
    made = imported(tmp_path / "unnamed", said)
    assert "RandomSampler seeded 42 over the sorted files" in said[0] and "fill" not in made.provenance


def test_where_no_order_is_stored_it_is_the_samplers(tmp_path: Path) -> None:
    stored = published(tmp_path, flat=False, batches=9)
    (tmp_path / "labels" / "sampler_indices_epoch.json").unlink()
    assert imported(tmp_path / "labels").replay.index.tolist() == [one.index for one in stored]


def test_labels_go_with_their_classes_in_another_order(tmp_path: Path) -> None:
    """Where the dataset counts the folders in another order, the classes that are stored are called so too."""
    stored = published(tmp_path, topk=3)
    order = Order("order.txt", tuple(f"new{label:03d}" for label in (2, 0, 3, 1, 4, 5, 6, 7, 9, 8)))
    made = imported(tmp_path / "labels", order=order)
    place = [1, 3, 0, 2, 4, 5, 6, 7, 9, 8]  # of the files' class in that order
    for row, one in enumerate(stored):
        expected = [[place[label] for label in labels] for labels in one.parts[6].tolist()]
        assert made.replay.topk[row].tolist() == expected
        assert made.labels[made.replay.index[row]].tolist() == [place[image // 2] for image in one.index]
    turned = made.renumbered([*range(1, 10), 0])
    assert torch.equal(turned.replay.topk, (made.replay.topk + 1) % 10)


@pytest.mark.parametrize("uneven", [False, True])
def test_images_that_are_called_by_numbers_are_counted_as_their_names_are_sorted(tmp_path: Path, uneven: bool) -> None:
    """The set has 10.png after 9.png, torchvision's ImageFolder, by which the relabelling code counts, after 1.png."""
    for label in range(10):
        for number in range(12 - (uneven and label == 3)):
            file = tmp_path / "images" / str(label) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", SIZE[::-1], 2 * (12 * label + number)).save(file)
    samples = ImageFolder(tmp_path / "images").samples
    stored = write_lp(tmp_path / "labels", len(samples), CLASSES, SIZE, batches=30)
    made = imported(tmp_path / "labels", images_format=f"folder(uneven={str(uneven).lower()})")
    for row, one in enumerate(stored):
        for place, image in zip(made.replay.index[row].tolist(), one.index, strict=True):
            file, label = samples[image]
            grey = Image.open(file).getpixel((0, 0))
            assert int(made.images[place, 0, 0, 0]) == grey and int(made.labels[place]) == label


def test_fewer_batches_are_the_first_and_the_set_comes_back_from_its_file(tmp_path: Path) -> None:
    published(tmp_path, topk=3)
    whole, fewer = imported(tmp_path / "labels"), imported(tmp_path / "labels", batches=5)
    assert torch.equal(fewer.replay.logits, whole.replay.logits[:5])
    loaded = DistilledSet.load(whole.save(tmp_path / "file.safetensors"))
    assert loaded.digest == whole.digest != fewer.digest
    assert loaded.replay is not None and loaded.replay.rule == whole.replay.rule and loaded.metadata == whole.metadata
    assert torch.equal(trained(loaded, "kl", 1)[0], trained(whole, "kl", 1)[0])


def test_labels_cost_the_bytes_of_their_files(tmp_path: Path) -> None:
    from harness.distilled.files import read_set_header

    published(tmp_path, topk=3)
    made = imported(tmp_path / "labels")
    lie = sum(file.stat().st_size for file in (tmp_path / "labels").iterdir())
    pictures = sum(file.stat().st_size for file in (tmp_path / "images").rglob("*") if file.is_file())
    assert (made.image_bytes, made.label_bytes) == (pictures, lie)
    header = read_set_header(made.save(tmp_path / "file.safetensors"))
    assert header.stored_bytes() == {"image_bytes": pictures, "pixel_bytes": made.images.numel(), "label_bytes": lie}


def test_options_out_of_range_are_refused(tmp_path: Path) -> None:
    published(tmp_path)
    for options, words in (
        ({"fill": "mrz"}, "no fill 'mrz'; did you mean"),
        ({"batches": -1}, "batches must be how many to take"),
        ({"temperature": 0.0}, "temperature must be a finite number above 0"),
    ):
        with pytest.raises(BadOption, match=words):
            imported(tmp_path / "labels", **options)
    with pytest.raises(DataError, match="fill = 'mr' is for labels of which some are left out; all 10 are stored"):
        imported(tmp_path / "labels", fill="mr")
    with pytest.raises(DataError, match="labels: 6 batches, 7 are asked for"):
        imported(tmp_path / "labels", batches=7)
    with pytest.raises(DataError, match="labels: 4 batches of 4 images; an epoch of LPQLD takes 5"):
        imported(tmp_path / "labels", batches=4)


# -- damage ----------------------------------------------------------------------------------------------------------------


def altered(folder: Path, how: str) -> None:
    """Damage the second batch of a set whose three largest logits are stored, or what names its images."""
    file, names = folder / "batch_1.tar", folder / "sampler_indices_batch.json"
    parts: list[Any] = copy.deepcopy(load_tensors(file))  # type: ignore[assignment]
    named = json.loads(names.read_text())
    match how:
        case "batch gone":
            return file.unlink()
        case "names gone":
            return names.unlink()
        case "names cut":
            names.write_text(names.read_text()[:-5])
        case "names of a list":
            names.write_text("[1, 2]")
        case "names deep":
            names.write_text("[" * 100_000)
        case "batch unnamed":
            names.write_text(json.dumps({key: value for key, value in named.items() if key != "1"}))
        case "image named beyond":
            names.write_text(json.dumps(named | {"1": [*named["1"][:-1], 20]}))
        case "image named short":
            names.write_text(json.dumps(named | {"1": named["1"][:-1]}))
        case "image no number":
            names.write_text(json.dumps(named | {"1": [*named["1"][:-1], 1.0]}))
        case "class beyond":
            parts[6][0, 0] = 10
        case "class below":
            parts[6][0, 0] = -1
        case "class twice":
            parts[6][0, 0] = parts[6][0, 1]
        case "classes uneven":
            parts[6] = parts[6][:, :2]
        case "fewer classes":
            parts[5:7] = [parts[5][:, :2], parts[6][:, :2]]
        case "all classes":
            parts[5:] = [torch.zeros(4, 10).half()]
        case "nan":
            parts[5][0, 0] = float("nan")
        case "partner":
            parts[2] = parts[2] + 4
        case "box":
            parts[4] = [torch.tensor(side, dtype=torch.uint8) for side in (0, 0, 17, 8)]
        case "crop leaves":
            parts[0] = torch.full_like(parts[0], 0.6)
        case "too many parts":
            parts += [torch.zeros(4), 1, 2]
        case "rand augment":
            parts.insert(2, rand_augment(4, numpy.random.RandomState(0)))
        case "cutout":
            parts[1] = torch.zeros(4, 7)
        case "larger":
            parts = [torch.cat([part, part]) if isinstance(part, Tensor) else part for part in parts]
    if how.split()[0] not in ("names", "image", "batch"):
        torch.save(parts, file)
    return None


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("batch gone", "labels: batch_1 is missing; there are 5, up to batch_5"),
        ("names gone", "sampler_indices_batch.json: no such file; it says which images a batch is of"),
        ("names cut", "sampler_indices_batch.json: not JSON"),
        ("names of a list", "sampler_indices_batch.json: expected an object"),
        ("names deep", "sampler_indices_batch.json: not JSON"),
        ("batch unnamed", "sampler_indices_batch.json: it names no images for batch 1"),
        ("image named beyond", "batch_1.tar: index must lie in 0..19"),
        ("image named short", "batch_1.tar: 4 images, and the order of the images names 3 for it"),
        ("image no number", "sampler_indices_batch.json: 1: expected a list of the numbers of images"),
        ("class beyond", "batch_1.tar: classes must lie in 0..9"),
        ("class below", "batch_1.tar: classes must lie in 0..9"),
        ("class twice", "batch_1.tar: classes name one twice for an image"),
        ("classes uneven", "batch_1.tar: classes must be int16 or int32 or int64 [4, 3], not torch.int16 [4, 2]"),
        ("fewer classes", "batch_1.tar: 4 images' 2 soft labels each, where the first batch has 4 and 3"),
        ("all classes", "batch_1.tar: all classes' labels are stored in some of the files, in others the largest alone"),
        ("nan", "batch_1.tar: logits must be finite"),
        ("partner", "batch_1.tar: mix index must lie in 0..3"),
        ("box", "batch_1.tar: the box must be 4 whole numbers within 16x16 px"),
        ("crop leaves", "batch_1.tar: crops must be top, left, height and width within the image"),
        ("too many parts", "batch_1.tar: expected a list of crops"),
        ("rand augment", "batch_1.tar: 2 rounds of RandAugment, where the first batch has 0"),
        ("cutout", "batch_1.tar: its images were altered by Cutout (place 1), which is not replayed"),
        ("larger", "batch_1.tar: 8 images' 3 soft labels each, where the first batch has 4 and 3"),
    ],
)
def test_what_is_off_is_one_line_that_names_it(tmp_path: Path, how: str, words: str) -> None:
    published(tmp_path, topk=3)
    altered(tmp_path / "labels", how)
    with pytest.raises(DataError) as caught:
        imported(tmp_path / "labels")
    message = str(caught.value)
    assert "\n" not in message and words in message, message


def altered_epoch(folder: Path, how: str) -> None:
    """Damage the third batch of the second epoch of a set whose labels are stored by epoch and of all classes, or the order."""
    file, order = folder / "epoch_1" / "batch_2.tar", folder / "sampler_indices_epoch.json"
    parts: Any = copy.deepcopy(load_tensors(file))
    named = json.loads(order.read_text())
    match how:
        case "batch gone":
            return file.unlink()
        case "epoch gone":
            (folder / "epoch_1").rename(folder / "epoch_7")
            return None
        case "order cut":
            order.write_text(order.read_text()[:-9])
        case "order of words":
            order.write_text(json.dumps({"first": named["0"]}))
        case "order of one epoch":
            order.write_text(json.dumps({"0": named["0"]}))
        case "order short":
            order.write_text(json.dumps(named | {"1": named["1"][:9]}))
        case "order beyond":
            order.write_text(json.dumps(named | {"1": [20] * 20}))
        case "no list":
            parts = {"coords": parts[0]}
        case "parts":
            parts = parts[:4]
        case "uneven":
            parts[1] = parts[1][:3]
        case "classes":
            parts[5] = parts[5][:, :9]
        case "whole numbers":
            parts[5] = parts[5].long()
        case "huge":
            parts[5] = parts[5].float() + 1e6
        case "lam":
            parts[3:5] = [1.5, None]
        case "crop of nothing":
            parts[0] = parts[0] * torch.tensor([1.0, 1.0, 0.0, 1.0])
        case "truncated":
            file.write_bytes(file.read_bytes()[:700])
    if how.split()[0] != "order" and how != "truncated":
        torch.save(parts, file)
    return None


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("batch gone", "epoch_1: batch_2 is missing; there are 4, up to batch_4"),
        ("epoch gone", "labels: epoch_1 is missing; there are 3, up to epoch_7"),
        ("order cut", "sampler_indices_epoch.json: not JSON"),
        ("order of words", "sampler_indices_epoch.json: expected an object"),
        ("order of one epoch", "sampler_indices_epoch.json: it names no images for epoch 1"),
        ("order short", "epoch_1/batch_2.tar: 4 images, and the order of the images names 1 for it"),
        ("order beyond", "epoch_1/batch_0.tar: index must lie in 0..19"),
        ("no list", "epoch_1/batch_2.tar: expected a list of crops"),
        ("parts", "epoch_1/batch_2.tar: expected a list of crops"),
        ("uneven", "epoch_1/batch_2.tar: crops must be float32 or float64 or float16 [3, 4], not torch.float32 [4, 4]"),
        ("classes", "epoch_1/batch_2.tar: logits must be float16 or float32 [4, 10], not torch.float16 [4, 9]"),
        ("whole numbers", "epoch_1/batch_2.tar: logits must be float16 or float32 [4, 10], not torch.int64 [4, 10]"),
        ("huge", "epoch_1/batch_2.tar: logits must be finite in half precision; 40 values"),
        ("lam", "epoch_1/batch_2.tar: lam must be a number in [0, 1], not 1.5"),
        ("crop of nothing", "epoch_1/batch_2.tar: crops must be top, left, height and width within the image"),
        ("truncated", "epoch_1/batch_2.tar: damaged or truncated"),
    ],
)
def test_what_is_off_by_epoch_is_one_line_that_names_it(tmp_path: Path, how: str, words: str) -> None:
    published(tmp_path, flat=False, batches=13)
    altered_epoch(tmp_path / "labels", how)
    with pytest.raises(DataError) as caught:
        imported(tmp_path / "labels", form="lpld")
    message = str(caught.value)
    assert "\n" not in message and words in message, message


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, torch.full((4,), 15), "operations of RandAugment must lie in 0..14"),
        (0, torch.zeros(4), "operations of RandAugment must be int64 or int32 [4], not torch.float32 [4]"),
        (1, torch.zeros(3).half(), "draws of RandAugment must be float16 or float32 or float64 [4], not torch.float16 [3]"),
        (2, torch.full((4,), 300.0).half(), "argument of 'solarize' in RandAugment must lie in 0..256"),
        (2, torch.full((4,), float("nan")), "arguments of RandAugment must be finite"),
        (None, [torch.zeros(4)] * 2, "each round of RandAugment must be operations, draws and arguments of the images"),
    ],
)
def test_rounds_that_make_no_sense_are_refused(tmp_path: Path, place: int | None, value: Any, words: str) -> None:
    published(tmp_path, rounds=2)
    file = tmp_path / "labels" / "batch_1.tar"
    parts: Any = copy.deepcopy(load_tensors(file))
    parts[2][1] = [torch.full((4,), 5), torch.zeros(4).half(), torch.full((4,), 100)] if place is not None else value
    if place is not None:
        parts[2][1][place] = value
    torch.save(parts, file)
    with pytest.raises(DataError) as caught:
        imported(tmp_path / "labels")
    assert words in str(caught.value) and "\n" not in str(caught.value), str(caught.value)


def test_an_epoch_that_was_cut_off_is_the_last(tmp_path: Path) -> None:
    published(tmp_path, flat=False, batches=12)
    (tmp_path / "labels" / "epoch_1" / "batch_4.tar").unlink()
    with pytest.raises(DataError, match="epoch_1: 4 batches, epoch_0 has 5"):
        imported(tmp_path / "labels")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: neither batch_0.tar nor epoch_0 in it"):
        imported(tmp_path / "empty")


def test_numbers_that_do_not_go_with_the_rule_are_refused(tmp_path: Path) -> None:
    published(tmp_path, topk=3)
    with pytest.raises(DataError, match=r"batch_0.tar: fill = ms is for probabilities, which these are not"):
        imported(tmp_path / "labels", fill="ms")

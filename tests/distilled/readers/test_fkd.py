"""FKD: stored soft labels, written as the relabelling code of SRe2L and of G-VBSM writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

import harness
from harness import DistilledSet
from harness.core.errors import BadOption, DataError
from harness.core.spec import Spec
from harness.datasets.cards import Card
from harness.distilled.order import Order
from harness.files.tensors import load_tensors
from harness.planning.published_sets import read
from tests.distilled.readers.published_files import SMALL, write_labels

DIGITS = Card("digits", (1, 16, 16), 10)
IPC, BATCH, EPOCHS = 2, 8, 3


def images(folder: Path) -> Path:
    """SRe2L's layout; the grey value tells which image it is."""
    for label in range(10):
        place = folder / f"new{label:03d}"
        place.mkdir(parents=True)
        for i in range(IPC):
            Image.new("L", (16, 16), 10 * (label * IPC + i)).save(place / f"class{label:03d}_id{i:03d}.jpg", quality=100)
    return folder


def relabelled(
    folder: Path, mix: str = "cutmix", index: bool = False, batch: int = BATCH, classes: int = 10
) -> list[list[list[Any]]]:
    """Store what a DataLoader over the sorted files would: coords, flips, mix index, lam, box, logits (and index, as G-VBSM)."""
    generator = torch.Generator().manual_seed(42)
    sampler = torch.utils.data.RandomSampler(range(classes * IPC), generator=generator)
    loader = torch.utils.data.DataLoader(
        list(range(classes * IPC)),  # type: ignore[arg-type]
        batch_size=batch,
        sampler=sampler,
    )
    draws, everything = numpy.random.default_rng(0), []
    for epoch in range(EPOCHS):
        place = folder / f"epoch_{epoch}"
        place.mkdir(parents=True)
        stored = []
        for step, chosen in enumerate(loader):
            count = len(chosen)
            coords = torch.tensor(draws.uniform(0.1, 0.5, (count, 4)), dtype=torch.float32)
            flips = torch.tensor(draws.random(count) < 0.5)
            logits = torch.tensor(draws.normal(size=(count, classes)), dtype=torch.float16)
            partner = torch.tensor(draws.permutation(count))
            if mix == "cutmix":
                mixed = [partner, draws.beta(1, 1), [numpy.int64(2), numpy.int64(3), numpy.int64(10), numpy.int64(16)]]
            else:
                mixed = [partner, draws.beta(0.8, 0.8), None] if mix == "mixup" else [None, None, None]
            content = [coords, flips, *mixed, logits, *([chosen] if index else [])]
            torch.save(content, place / f"batch_{step}.tar")
            stored.append([chosen, *content])
        everything.append(stored)
    return everything


def imported(labels: Path, pictures: Path, ipc: int | None = None, **options: object) -> DistilledSet:
    spec = Spec(name="fkd", options={"images": str(pictures), **options})
    return read(spec, labels, DIGITS, ipc, lambda line: None, workers=1)


@pytest.mark.parametrize("mix", ["cutmix", "mixup", "none"])
@pytest.mark.parametrize("index", [False, True], ids=["sampler", "stored index"])
def test_every_batch_is_what_was_stored_for_these_images(tmp_path: Path, mix: str, index: bool) -> None:
    stored = relabelled(tmp_path / "labels", mix, index)
    made = imported(tmp_path / "labels", images(tmp_path / "images"))
    replay = made.replay
    assert replay is not None and replay.epochs == EPOCHS and replay.batch == BATCH
    assert made.labels.tolist() == [label for label in range(10) for _ in range(IPC)]
    for epoch, batches in enumerate(stored):
        for step, (chosen, coords, flips, partner, lam, box, logits, *_) in enumerate(batches):
            here = slice(step * BATCH, step * BATCH + len(chosen))
            assert torch.equal(replay.index[epoch, here], chosen)
            assert torch.equal(replay.crops[epoch, here], coords) and torch.equal(replay.flips[epoch, here], flips)
            assert torch.equal(replay.logits[epoch, here], logits)
            assert torch.equal(replay.partners[epoch, here], partner if partner is not None else torch.arange(len(chosen)))
            assert replay.boxes[epoch, step].tolist() == ([2, 3, 10, 16] if box is not None else [-1] * 4)
            kept = 1 - 8 * 13 / 256 if mix == "cutmix" else lam if mix == "mixup" else 1.0
            assert float(replay.lam[epoch, step]) == pytest.approx(kept, abs=1e-6)
    grey = made.images.float().mean((1, 2, 3))
    assert torch.allclose(grey, torch.arange(20) * 10.0, atol=1)


ZOO = ("zebra", "ant", "lynx", "Boar")
COUNTED = tuple(str(number) for number in range(12))  # as text, 10 stands between 1 and 2
NUMBERED = tuple(f"new{number:03d}" for number in range(4))


@pytest.mark.parametrize("index", [False, True], ids=["sampler", "stored index"])
@pytest.mark.parametrize(
    ("folders", "names", "lines", "column_of"),
    [
        (COUNTED, (), (), range(12)),
        (ZOO, ZOO, (), range(4)),
        (ZOO, (), ("lynx", "ant", "Boar", "zebra"), range(4)),
        (NUMBERED, (), ("new002", "new000", "new003", "new001"), (2, 0, 3, 1)),
    ],
    ids=["numbers", "names", "named, in a stated order", "numbered, in a stated order"],
)
def test_labels_go_with_their_images_whatever_the_order_of_the_classes(
    tmp_path: Path, index: bool, folders: Any, names: Any, lines: Any, column_of: Any
) -> None:
    """The relabelling code counts files as torchvision's ImageFolder does, here a second reader; a grey value names an image."""
    classes = len(folders)
    for number, folder in enumerate(folders):
        (tmp_path / "images" / folder).mkdir(parents=True)
        for i in range(IPC):
            name = f"class{int(folder.removeprefix('new')) if folder[-1].isdigit() else number:03d}_id{i:03d}.jpg"
            Image.new("L", (16, 16), 8 * (number * IPC + i)).save(tmp_path / "images" / folder / name, quality=100)
    stored = relabelled(tmp_path / "labels", index=index, classes=classes)
    order = Order("order.txt", lines) if lines else None
    spec = Spec(name="fkd", options={"images": str(tmp_path / "images")})
    card = Card("folder:zoo", (1, 16, 16), classes, names=names)
    imported = read(spec, tmp_path / "labels", card, None, lambda line: None, workers=1, order=order)
    counted = ImageFolder(tmp_path / "images").samples
    replay, called = imported.replay, lines or names or folders
    assert replay is not None
    for epoch, batches in enumerate(stored):
        for step, (chosen, *_, logits) in enumerate([[batch[0], batch[6]] for batch in batches]):
            here = slice(step * BATCH, step * BATCH + len(chosen))
            for place, original in zip(replay.index[epoch, here].tolist(), chosen.tolist(), strict=True):
                file = Path(counted[original][0])
                grey = float(numpy.asarray(Image.open(file), dtype=float).mean())
                assert float(imported.images[place].float().mean()) == pytest.approx(grey, abs=1)
                assert called[int(imported.labels[place])] == file.parent.name
            assert torch.equal(replay.logits[epoch, here], logits[:, list(column_of)])
    assert (imported.provenance.get("order") == "order.txt") == bool(lines)


def test_fewer_epochs_are_the_first_ones_and_the_set_comes_back_from_its_file(tmp_path: Path) -> None:
    relabelled(tmp_path / "labels")
    whole = imported(tmp_path / "labels", images(tmp_path / "images"))
    fewer = imported(tmp_path / "labels", tmp_path / "images", epochs=2)
    assert whole.replay is not None and fewer.replay is not None
    assert torch.equal(fewer.replay.logits, whole.replay.logits[:2])
    loaded = DistilledSet.load(whole.save(tmp_path / "file.safetensors"))
    assert loaded.digest == whole.digest != fewer.digest
    assert loaded.replay is not None and torch.equal(loaded.replay.logits, whole.replay.logits)


def test_labels_cost_the_bytes_of_their_files(tmp_path: Path) -> None:
    relabelled(tmp_path / "labels")
    whole = imported(tmp_path / "labels", images(tmp_path / "images"))
    first = imported(tmp_path / "labels", tmp_path / "images", epochs=1)
    lie = [
        sum(file.stat().st_size for file in (tmp_path / "labels" / name).iterdir()) for name in ("epoch_0", "epoch_1", "epoch_2")
    ]
    assert (first.label_bytes, whole.label_bytes) == (lie[0], sum(lie))


@pytest.mark.slow
def test_a_student_trains_on_it_under_its_soft_labels(tmp_path: Path) -> None:
    relabelled(tmp_path / "labels")
    made = imported(tmp_path / "labels", images(tmp_path / "images"))
    result = harness.evaluate(made, loss="kl", model="convnet1(width=4)", protocol="smoke", seeds=1)
    record = result.records[0]
    assert record.status == "done", record.error
    assert record.trial.teacher == () and record.trial.labels.batch_size == BATCH


def broken(folder: Path, how: str) -> None:
    file = folder / "epoch_1" / "batch_1.tar"
    coords, flips = torch.full((BATCH, 4), 0.5), torch.zeros(BATCH, dtype=torch.bool)
    partner, logits = torch.arange(BATCH), torch.zeros(BATCH, 10, dtype=torch.float16)
    content = [coords, flips, partner, 0.5, [0, 0, 8, 8], logits]
    match how:
        case "batch gone":
            file.unlink()
            return
        case "last batch gone":
            (folder / "epoch_1" / "batch_2.tar").unlink()
            return
        case "epoch gone":
            (folder / "epoch_1").rename(folder / "epoch_7")
            return
        case "short":
            content = [part[:5] if isinstance(part, torch.Tensor) else part for part in content]
        case "uneven":
            content[1] = flips[:5]
        case "classes":
            content[5] = logits[:, :9]
        case "dtype":
            content[5] = logits.long()
        case "nan":
            content[5] = logits + float("nan")
        case "huge":
            content[5] = logits.float() + 1e6
        case "partner":
            content[2] = partner + 1
        case "lam":
            content[3:5] = [1.5, None]
        case "box":
            content[4] = [0, 0, 17, 8]
        case "crops":
            content[0] = coords * 1.5
        case "crop leaves":
            content[0] = coords + torch.tensor([0.0, 0.2, 0.0, 0.0])
        case "crop of nothing":
            content[0] = coords * torch.tensor([1.0, 1.0, 0.0, 1.0])
        case "crop nan":
            content[0] = coords * float("nan")
        case "lam nan":
            content[3] = float("nan")
        case "index in one":
            content.append(torch.arange(BATCH))
        case "no box numbers":
            content[4] = [0, 0, 8.5, 8]
        case "nothing":
            content = [part[:0] if isinstance(part, torch.Tensor) else part for part in content]
        case "no list":
            torch.save({"coords": coords}, file)
            return
        case "parts":
            content = content[:4]
    torch.save(content, file)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("batch gone", ["epoch_1", "batch_1 is missing"]),
        ("last batch gone", ["epoch_1: 2 batches, 20 images in batches of 8 are 3"]),
        ("epoch gone", ["labels: epoch_1 is missing; there are 3, up to epoch_7"]),
        ("short", ["epoch_1/batch_1.tar: 5 images where the others make it 8"]),
        ("uneven", ["epoch_1/batch_1.tar: crops must be float32 or float64 [5, 4], not torch.float32 [8, 4]"]),
        ("classes", ["epoch_1/batch_1.tar: logits must be float16 or float32 [8, 10], not torch.float16 [8, 9]"]),
        ("dtype", ["epoch_1/batch_1.tar: logits must be float16", "not torch.int64"]),
        ("nan", ["epoch_1/batch_1.tar: logits must be finite"]),
        ("huge", ["epoch_1/batch_1.tar: logits must be finite in half precision; 80 values"]),
        ("partner", ["epoch_1/batch_1.tar: mix index must lie in 0..7; it reaches from 1 to 8"]),
        ("lam", ["epoch_1/batch_1.tar: lam must be a number in [0, 1], not 1.5"]),
        ("box", ["epoch_1/batch_1.tar: the box must be 4 whole numbers within 16x16 px"]),
        ("crops", ["epoch_1/batch_1.tar: crops must be top, left, height and width within the image"]),
        ("crop leaves", ["epoch_1/batch_1.tar: crops must be top, left, height and width within the image"]),
        ("crop of nothing", ["epoch_1/batch_1.tar: crops must be top, left, height and width within the image"]),
        ("crop nan", ["epoch_1/batch_1.tar: crops must be finite"]),
        ("lam nan", ["epoch_1/batch_1.tar: lam must be a number in [0, 1], not nan"]),
        ("index in one", ["epoch_1/batch_1.tar: only some of the files store the index"]),
        ("no box numbers", ["epoch_1/batch_1.tar: the box must be 4 whole numbers"]),
        ("nothing", ["epoch_1/batch_1.tar"]),
        ("no list", ["epoch_1/batch_1.tar: expected a list"]),
        ("parts", ["epoch_1/batch_1.tar: expected a list of crops"]),
    ],
)
def test_what_is_off_is_one_line_that_names_it(tmp_path: Path, how: str, words: list[str]) -> None:
    relabelled(tmp_path / "labels")
    broken(tmp_path / "labels", how)
    with pytest.raises(DataError) as caught:
        imported(tmp_path / "labels", images(tmp_path / "images"))
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


def test_the_order_goes_on_from_epoch_to_epoch_whatever_the_batch(tmp_path: Path) -> None:
    """RandomSampler draws a permutation an epoch, and one more that it takes nothing of."""
    images(tmp_path / "images")
    for batch in (5, 8, 20):
        generator = torch.Generator().manual_seed(42)
        drawn = [torch.randperm(10 * IPC, generator=generator) for _ in range(2 * EPOCHS)][::2]
        relabelled(tmp_path / f"labels{batch}", batch=batch)
        replay = imported(tmp_path / f"labels{batch}", tmp_path / "images").replay
        assert replay is not None and torch.equal(replay.index, torch.stack(drawn)), batch


def test_a_relative_folder_of_images_lies_beside_the_labels(tmp_path: Path) -> None:
    relabelled(tmp_path / "labels")
    images(tmp_path / "pictures")
    assert imported(tmp_path / "labels", Path("pictures")).provenance["images"]["folder"] == "pictures"


def test_an_index_that_names_an_image_twice_is_refused(tmp_path: Path) -> None:
    relabelled(tmp_path / "labels", index=True)
    file = tmp_path / "labels" / "epoch_1" / "batch_2.tar"
    content = [part.clone() if isinstance(part, torch.Tensor) else part for part in load_tensors(file)]
    content[-1][0] = content[-1][1]
    torch.save(content, file)
    with pytest.raises(DataError, match=r"labels: .*index must name every image once an epoch"):
        imported(tmp_path / "labels", images(tmp_path / "images"))


@pytest.mark.parametrize("name", ["epoch_01", "epoch_1x", "epoch_-1"])
def test_a_folder_that_is_no_epoch_is_none(tmp_path: Path, name: str) -> None:
    relabelled(tmp_path / "labels")
    (tmp_path / "labels" / name).mkdir()
    replay = imported(tmp_path / "labels", images(tmp_path / "images")).replay
    assert replay is not None and replay.epochs == EPOCHS


def test_more_epochs_than_there_are_and_a_negative_number_are_refused(tmp_path: Path) -> None:
    relabelled(tmp_path / "labels")
    images(tmp_path / "images")
    with pytest.raises(DataError, match="labels: 3 epochs, 4 are asked for"):
        imported(tmp_path / "labels", tmp_path / "images", epochs=4)
    with pytest.raises(BadOption, match="epochs"):
        imported(tmp_path / "labels", tmp_path / "images", epochs=-1)


def test_memory_is_taken_only_for_files_that_can_fill_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relabelled(tmp_path / "labels")
    (tmp_path / "labels" / "epoch_2" / "batch_1.tar").write_bytes(b"PK")

    def taken(*_: object) -> None:
        raise AssertionError("memory was taken")

    monkeypatch.setattr("harness.distilled.readers.fkd._room", taken)
    with pytest.raises(DataError, match=r"batch_1\.tar: too small for 8 images' soft labels of 10 classes"):
        imported(tmp_path / "labels", images(tmp_path / "images"))


def test_images_that_are_not_there_or_not_those_are_refused(tmp_path: Path) -> None:
    relabelled(tmp_path / "labels")
    with pytest.raises(DataError, match="images = 'nowhere': no such folder"):
        imported(tmp_path / "labels", Path("nowhere"))
    images(tmp_path / "images")
    with pytest.raises(DataError, match="10 images in batches of 8 are 2"):
        imported(tmp_path / "labels", tmp_path / "images", ipc=1)


def test_images_of_any_names_are_counted_as_imagefolder_sorts_them(tmp_path: Path) -> None:
    """Read by number, 0 to 10; the relabelling code has counted them by name: 0, 1, 10, 2, …"""
    from torchvision.transforms.functional import pil_to_tensor

    for label in range(2):
        for number in range(11):
            file = tmp_path / "images" / f"{label}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), 20 * number + label).save(file)
    write_labels(tmp_path / "labels", SMALL, 11)
    spec = Spec(name="fkd", options={"images": "images", "images_format": "folder"})
    made = read(spec, tmp_path / "labels", SMALL, None, lambda line: None, 1)
    assert made.replay is not None
    pictures = ImageFolder(str(tmp_path / "images"))
    sampler = torch.utils.data.RandomSampler(range(22), generator=torch.Generator().manual_seed(42))
    for epoch in range(2):
        wanted = torch.stack([pil_to_tensor(pictures[index][0].convert("L")) for index in sampler])
        assert torch.equal(made.images[made.replay.index[epoch]], wanted)

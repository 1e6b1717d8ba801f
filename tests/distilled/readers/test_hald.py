"""HALD: what its code stores is read, and trained on as its code trains on it."""

from __future__ import annotations

import copy
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harness import DistilledSet, optimizers
from harness.boards.stages import Stage
from harness.core.errors import BadOption, DataError
from harness.distilled.readers import hald
from harness.files.tensors import MAX_VALUES, load_tensors
from harness.losses.targets import Targets
from harness.training.batches import Batch
from harness.training.feed import Feed
from harness.training.values import Recipe
from tests.distilled.readers.published_files import DIGITS, write_folders
from tests.distilled.readers.retrained import CLASSES, IMAGES, SGD, SIZE, imported, material, reference, trained
from tests.distilled.readers.stored_labels import Written, permuted, replayed, write_hald

NAME = "FKD_bs4_slc6_ipc2"


def published(folder: Path, name: str = NAME, **how: Any) -> list[Written]:
    write_folders("sre2l", folder / "images", DIGITS, 2)
    return write_hald(folder / name, IMAGES, CLASSES, SIZE, **how)


def kl_of_probabilities(logits: Tensor, parts: list[Any]) -> Tensor:
    """The authors' loss: the stored probabilities as they are, the student at their temperature."""
    return F.kl_div((logits / 20).log_softmax(1), parts[5].float(), reduction="batchmean")


def test_every_batch_is_what_was_stored_for_these_images(tmp_path: Path) -> None:
    stored = published(tmp_path, batch=6, name="labels")
    replay = imported(tmp_path / "labels", form="hald").replay
    assert replay.epochs == 12 and replay.batch == 6 and replay.counts.tolist() == [6, 6, 6, 2] * 3
    assert replay.rule.kind == "probabilities" and replay.rule.temperature == 20
    for row, one in enumerate(stored):
        coords, flips, partner, _, box, soft = one.parts
        here = slice(0, len(one.index))
        assert replay.index[row, here].tolist() == one.index
        assert torch.equal(replay.crops[row, here], coords.float()) and torch.equal(replay.flips[row, here], flips)
        assert torch.equal(replay.partners[row, here], partner) and torch.equal(replay.logits[row, here], soft)
        assert replay.boxes[row, 0].tolist() == [int(side) for side in box]


@pytest.mark.parametrize("batch", [4, 6])
def test_training_is_the_authors_loop(tmp_path: Path, batch: int) -> None:
    """Seven epochs of three stored ones: the pool of all batches is gone through twice, and drawn a third time."""
    stored = published(tmp_path, batch=batch, name="labels")
    made = imported(tmp_path / "labels", form="hald")
    steps = -(-IMAGES // batch)
    order = [*chain.from_iterable(islice(permuted(len(stored), steps), 7))]
    expected, seen = reference(made, stored, order, kl_of_probabilities, truncated=True)
    found, batches = trained(made, "kl", 7)
    assert [len(one) for one in batches] == [len(one) for one in seen]
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(batches, seen, strict=True))
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(found, trained(made, "kl", 7, seed=3)[0])


@pytest.mark.parametrize("plan", ["soft 4, hard 5, soft 4", "hard 2, soft 7", "soft 3, soft 3, hard 1, soft 1"])
def test_every_stage_begins_a_permutation_of_its_own(tmp_path: Path, plan: str) -> None:
    """The authors' loop: a pool that each stage empties, and that epochs of hard labels take from too."""
    published(tmp_path)
    made = imported(tmp_path / NAME, form="hald")
    stages = [(kind, int(epochs)) for kind, epochs in (stage.split() for stage in plan.split(", "))]
    expected, times = [], 0
    for kind, epochs in stages:
        pool: list[int] = []
        for _ in range(epochs):
            if not pool:
                pool = torch.randperm(15, generator=torch.Generator().manual_seed(42 + times)).tolist()
                times += 1
            taken, pool = pool[:5], pool[5:]
            expected += [taken if kind == "soft" else []]
    schedule, optimizer = optimizers.schedules.resolve("constant"), optimizers.resolve(SGD)
    staged = tuple(Stage(**{kind: epochs}, augmentation="none", mixing="none") for kind, epochs in stages)
    feed = Feed(material(made), Recipe(len(expected), 4, optimizer, schedule, "stored", mixing="stored", stages=staged), [0])
    soft = [[batch.soft for batch in feed.epoch(number) if isinstance(batch, Batch)] for number in range(1, len(expected) + 1)]
    stored = [made.replay.logits[rows].float() for rows in expected]
    assert all(len(one) == len(other) for one, other in zip(soft, stored, strict=True))
    assert all(torch.equal(torch.stack(one), other) for one, other in zip(soft, stored, strict=True) if len(other))


def test_stages_of_soft_labels_are_those_that_are_stored_and_the_others_are_hard(tmp_path: Path) -> None:
    stored = published(tmp_path)
    made = imported(tmp_path / NAME, form="hald")
    order = torch.randperm(15, generator=torch.Generator().manual_seed(42)).tolist()[:5]
    after = torch.randperm(15, generator=torch.Generator().manual_seed(44)).tolist()[:5]
    stages = (Stage(soft=1), Stage(hard=1, smoothing=0.8, augmentation="none", mixing="none"), Stage(soft=1))
    _, seen = trained(made, "kl", 3, stages=stages)
    pictures = (made.images.float() / 255 - 0.3) / 0.3
    expected = [replayed(pictures, stored[number], truncated=True) for number in order + after]
    soft = [batch for batch in seen if len(batch) == 4]
    assert len(soft) == 10 and all(torch.allclose(one, other, atol=1e-4) for one, other in zip(soft, expected, strict=True))
    assert [len(batch) for batch in seen] == [4] * 5 + [20] + [4] * 5


def test_other_losses_are_given_the_teachers_logits_as_far_as_half_precision_tells() -> None:
    """softmax(z / 20) is kept in 11 bits: 20 log of it is z, less a constant, to a hundredth."""
    z = 5 * torch.randn(50, 100, generator=torch.Generator().manual_seed(0))
    kept = Targets(soft=(z / 20).softmax(1).half(), kind="probabilities", temperature=20.0)
    assert torch.allclose(kept.logits(), z - z.mean(1, keepdim=True), atol=0.02)
    for temperature in (1.0, 4.0, 20.0):
        assert torch.allclose(kept.probabilities(temperature), (z / temperature).softmax(1), rtol=0.02, atol=1e-4)
        assert torch.allclose(kept.log_probabilities(temperature), (z / temperature).log_softmax(1), atol=0.05)
    assert torch.equal(kept.probabilities(20.0), (z / 20).softmax(1).half().float())


def test_what_the_name_says_is_so_and_what_is_assumed_is_said(tmp_path: Path) -> None:
    published(tmp_path)
    said: list[str] = []
    made = imported(tmp_path / NAME, said, form="hald")
    assert "its name says 6 labels a class" in said[0] and "probabilities at temperature 20" in said[0]
    assert imported(tmp_path / NAME, form="hald", epochs=2).replay.epochs == 10
    assert imported(tmp_path / NAME, form="hald", temperature=4.0).replay.rule.temperature == 4
    assert made.label_bytes == sum(file.stat().st_size for file in (tmp_path / NAME).iterdir())
    loaded = DistilledSet.load(made.save(tmp_path / "file.safetensors"))
    assert loaded.digest == made.digest and loaded.replay is not None and loaded.replay.rule == made.replay.rule
    for name, words in (
        ("FKD_bs4_slc6_ipc3", "its name says 3 images a class, there are 2"),
        ("FKD_bs8_slc6_ipc2", "its name says 8 images a batch, there are 4"),
        ("FKD_bs4_slc8_ipc2", "its name says 8 labels a class, 4 epochs; there are 3"),
    ):
        (tmp_path / NAME).rename(tmp_path / name)
        with pytest.raises(DataError, match=words):
            imported(tmp_path / name, form="hald")
        (tmp_path / name).rename(tmp_path / NAME)


def test_an_order_may_hold_more_numbers_than_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 300 labels a class, ImageNet-1K's has 300,000; a file of batches has some thousand values."""
    published(tmp_path)
    asked: dict[str, object] = {}

    def noting(path: Path, **options: object) -> object:
        asked[path.name] = options.get("values")
        return load_tensors(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(hald, "load_tensors", noting)
    imported(tmp_path / NAME, form="hald")
    assert asked == {"sampler_indices_dict.pt": hald.MAX_NUMBERS} and hald.MAX_NUMBERS > 3 * MAX_VALUES
    with pytest.raises(DataError, match="nested too deeply"):
        load_tensors(tmp_path / NAME / "sampler_indices_dict.pt", values=60)


def test_options_out_of_range_are_refused(tmp_path: Path) -> None:
    published(tmp_path)
    for options, words in (({"epochs": -1}, "epochs must be"), ({"temperature": 0.0}, "temperature must be")):
        with pytest.raises(BadOption, match=words):
            imported(tmp_path / NAME, form="hald", **options)
    with pytest.raises(DataError, match="3 epochs, 4 are asked for"):
        imported(tmp_path / NAME, form="hald", epochs=4)


def altered(folder: Path, how: str) -> None:
    """Damage the second epoch, or the order of the images."""
    file, order = folder / "epoch_1.tar", folder / "sampler_indices_dict.pt"
    epoch: Any = copy.deepcopy(load_tensors(file))
    indices: Any = load_tensors(order)
    match how:
        case "order gone":
            return order.unlink()
        case "epoch gone":
            return file.unlink()
        case "order of two epochs":
            torch.save({"0": indices["0"], "2": indices["2"]}, order)
        case "order twice":
            torch.save(indices | {"1": [0, *indices["1"][1:-1], 0]}, order)
        case "order short":
            torch.save(indices | {"1": indices["1"][:-1]}, order)
        case "order of words":
            torch.save(indices | {"first": indices["1"]}, order)
        case "order of shares":
            torch.save(indices | {"1": [float(image) for image in indices["1"]]}, order)
        case "no list":
            epoch = {"batches": epoch}
        case "batch gone":
            epoch = epoch[:-1]
        case "parts":
            epoch[2] = epoch[2][:5]
        case "sum":
            epoch[2][5] = epoch[2][5] * 2
        case "below 0":
            epoch[2][5][0, :2] += torch.tensor([-1.0, 1.0])
        case "nan":
            epoch[2][5][0, 0] = float("nan")
        case "classes":
            epoch[2][5] = epoch[2][5][:, :9]
        case "partner":
            epoch[2][2] = epoch[2][2] + 1
        case "lam":
            epoch[2][3:5] = [numpy.float64(1.5), None]
        case "box":
            epoch[2][4] = [numpy.int64(0), numpy.int64(0), numpy.int64(17), numpy.int64(8)]
        case "object":
            epoch[2][3] = numpy.array([0.5])
    if how.split()[0] != "order":
        torch.save(epoch, file)
    return None


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("order gone", "sampler_indices_dict.pt: no such file"),
        ("epoch gone", "epoch_1 is missing; there are 2, up to epoch_2"),
        ("order of two epochs", "sampler_indices_dict.pt: it has no epoch 1"),
        ("order twice", "sampler_indices_dict.pt: epoch 1 does not name each of the 20 images once"),
        ("order short", "sampler_indices_dict.pt: epoch 1: expected a permutation of 20 images"),
        ("order of words", "sampler_indices_dict.pt: expected a dict from the numbers of epochs"),
        ("order of shares", "sampler_indices_dict.pt: epoch 1: expected a permutation of 20 images"),
        ("no list", "epoch_1.tar: expected a list of batches"),
        ("batch gone", "epoch_1.tar: batches of 4, 4, 4, 4 images, which are not 20 in batches of 4"),
        ("parts", "epoch_1.tar: batch 2: expected a list of crops"),
        ("sum", "epoch_1.tar: batch 2: probabilities must be 0 or more and sum to 1"),
        ("below 0", "epoch_1.tar: batch 2: probabilities must be 0 or more and sum to 1"),
        ("nan", "epoch_1.tar: batch 2: probabilities must be 0 or more and sum to 1"),
        ("classes", "epoch_1.tar: batch 2: probabilities must be float16 or float32 [4, 10], not torch.float16 [4, 9]"),
        ("partner", "epoch_1.tar: batch 2: mix index must lie in 0..3"),
        ("lam", "epoch_1.tar: batch 2: lam must be a number in [0, 1], not 1.5"),
        ("box", "epoch_1.tar: batch 2: the box must be 4 whole numbers within 16x16 px"),
        ("object", "epoch_1.tar: it asks for 'numpy._core.multiarray._reconstruct', which is no tensor"),
    ],
)
def test_what_is_off_is_one_line_that_names_it(tmp_path: Path, how: str, words: str) -> None:
    published(tmp_path)
    altered(tmp_path / NAME, how)
    with pytest.raises(DataError) as caught:
        imported(tmp_path / NAME, form="hald")
    message = str(caught.value)
    assert "\n" not in message and words in message, message

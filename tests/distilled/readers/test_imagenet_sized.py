"""A set of ImageNet-1K's size fits: 10,000 JPEG files of 224 px, imported by the command line in a process of its own.

And a parquet set of a thousand classes has its row beside random images under both neutral protocols.

Takes some minutes and 3.5 GB of disk: GIFTBENCH_LARGE=1 pytest tests/distilled/readers/test_imagenet_sized.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from PIL import Image

from harness import DistilledSet
from harness.boards.records import RecordStore
from harness.distilled.files import read_set_header

CLASSES, IPC, SIDE, DISTINCT = 1000, 10, 224, 20
MOST_PIXELS, MOST_MEMORY = 1.6e9, 4e9

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("GIFTBENCH_LARGE"), reason="takes minutes and gigabytes; GIFTBENCH_LARGE=1 runs it"),
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with the set in rded/; what was made is deleted at the end."""
    draws, made = np.random.default_rng(0), []
    for number in range(DISTINCT):
        coarse = Image.fromarray(draws.integers(0, 256, (28, 28, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        noise = draws.integers(-20, 21, (SIDE, SIDE, 3))
        made.append(tmp_path / f"{number}.jpg")
        Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8)).save(made[-1])
    for label in range(CLASSES):
        folder = tmp_path / "rded" / f"{label:05d}"
        folder.mkdir(parents=True)
        for image in range(IPC):
            (folder / f"class{label:05d}_id{image:05d}.jpg").hardlink_to(made[(label + image) % DISTINCT])
    yield tmp_path
    for file in sorted(tmp_path.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()


def peak(*command: str) -> int:
    """Run a command and return the most memory, in bytes, that any one of its processes held."""
    process = subprocess.Popen([sys.executable, "-c", "from harness.cli.main import main; main()", *command])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def test_ten_thousand_images_of_224_px_are_imported_within_4_gb(place: Path) -> None:
    file = place / "set.safetensors"
    memory = peak("import", "rded", str(place / "rded"), "--dataset", "imagenet-1k", "--ipc", str(IPC), "-o", str(file))
    print(f"import, peak memory of one process: {memory / 1e9:.2f} GB")
    assert memory < MOST_MEMORY
    assert read_set_header(file).metadata["factor"] == 2
    made = DistilledSet.load(file)
    assert made.images.shape == (CLASSES * IPC, 3, SIDE, SIDE)
    assert made.images.numel() * made.images.element_size() <= MOST_PIXELS
    assert made.labels.bincount().tolist() == [IPC] * CLASSES


BOARD = """
dataset = "imagenet-1k"
model = "convnet6(width=4)"
protocol = { name = "smoke", epochs = 1, labels = "hard" }
losses = ["ce"]
seeds = 1
sets = [{ format = "rded", path = "../rded", ipc = 10 }]
scenarios = [{ name = "cross-optimizer", optimizers = ["adamw"] }]
"""


def test_a_student_trains_an_epoch_on_it_within_8_gb(place: Path) -> None:
    for label in range(CLASSES):
        folder = place / "data" / "imagenet-1k" / "val" / f"n{label:08d}"
        folder.mkdir(parents=True)
        (folder / "ILSVRC2012_val_00000001.JPEG").hardlink_to(place / f"{label % DISTINCT}.jpg")
    (place / "board").mkdir()
    (place / "board" / "board.toml").write_text(BOARD)
    memory = peak("run", str(place / "board"), "--jobs", "1", "--data-dir", str(place / "data"))
    print(f"one epoch, peak memory of one process: {memory / 1e9:.2f} GB")
    (record,) = RecordStore(place / "board" / "records")
    assert record.status == "done" and record.metrics["steps"] == 100
    assert memory < 2 * MOST_MEMORY


NEUTRAL = """
dataset = "imagenet-1k"
model = "convnet6(width=4)"
teacher = { model = "resnet18", checkpoint = "../resnet18.pth" }
losses = ["kl"]
seeds = 1
sets = [{ format = "parquet", path = "../parquet", title = "published", ipc = 1 }, { method = "random", ipc = 1 }]

[[scenarios]]
name = "loss-comparison"
protocol = { name = "neutral:soft", epochs = 1, evaluations = 1 }

[[scenarios]]
name = "loss-comparison"
protocol = { name = "neutral:hard", epochs = 1, evaluations = 1 }
losses = ["ce"]
"""


def test_a_parquet_set_has_a_row_beside_random_under_both_neutral_protocols_within_8_gb(place: Path) -> None:
    import pyarrow
    import pyarrow.parquet
    import timm.data
    import torch

    images = [(place / f"{number}.jpg").read_bytes() for number in range(DISTINCT)]
    rows = [{"bytes": images[label % DISTINCT], "path": f"{label}.jpg"} for label in range(CLASSES)]
    (place / "parquet" / "data").mkdir(parents=True)
    labels = pyarrow.array(range(CLASSES), pyarrow.int32())
    file = place / "parquet" / "data" / "train-00000-of-00001-0123456789abcdef.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": rows, "class_id": labels}), file, row_group_size=100)
    info: Any = timm.data
    for number, name in enumerate(sorted(info.ImageNetInfo("imagenet-1k").label_names())):
        for split in ("train", "val"):
            folder = place / "data" / "imagenet-1k" / split / name
            folder.mkdir(parents=True)
            (folder / "ILSVRC2012_val_00000001.JPEG").hardlink_to(place / f"{(number + (split == 'val')) % DISTINCT}.jpg")
    torch.save(timm.create_model("resnet18").state_dict(), place / "resnet18.pth")
    (place / "board").mkdir()
    (place / "board" / "board.toml").write_text(NEUTRAL)
    data, made = ("--data-dir", str(place / "data")), str(place / "published.safetensors")
    peak("import", "parquet", str(place / "parquet"), "--dataset", "imagenet-1k", *data, "-o", made)
    peak("inspect", made)
    peak("doctor", str(place / "board"), *data)
    memory = peak("run", str(place / "board"), "--jobs", "1", *data)
    print(f"both neutral protocols, peak memory of one process: {memory / 1e9:.2f} GB")
    assert memory < 2 * MOST_MEMORY
    records = [*RecordStore(place / "board" / "records")]
    assert {(record.trial.labels.method, record.trial.labels.protocol.split("(")[0].strip()) for record in records} == {
        (name, protocol) for name in ("published", "random") for protocol in ("neutral:soft", "neutral:hard")
    }
    table = pandas.read_csv(place / "board" / "table.csv")
    pixels = CLASSES * 3 * SIDE**2
    weigh = sum(len(images[label % DISTINCT]) for label in range(CLASSES))
    assert {*zip(table["method"], table["image_bytes"], table["pixel_bytes"], strict=True)} == {
        ("published", weigh, pixels),
        ("random", pixels, pixels),
    }
    assert (table["label_bytes"] > 0).all() and (table["n"] == 1).all() and len(table) == 4

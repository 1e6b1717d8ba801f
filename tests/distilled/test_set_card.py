"""What is said of an exported set: its licence as stated, a card that YAML reads, metadata that Croissant's library reads."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.core.errors import BadOption
from harness.distilled import exporting
from harness.distilled.exporting import write
from harness.distilled.set_card import LICENCES, About, Licence, card, croissant
from tests.distilled.test_exporting import a_set

DAY = date(2026, 11, 29)


def front(text: str) -> Any:
    """Return the front matter of a card."""
    start, matter, rest = text.split("---\n", 2)
    assert start == "" and rest.startswith("\n# ")
    return yaml.safe_load(matter)


@pytest.mark.parametrize("text", ["mit", "MIT", "cc-by-4.0", "CC-BY-NC-SA-4.0", *LICENCES])
def test_a_known_licence_is_called_as_the_hub_calls_it(text: str) -> None:
    licence = Licence.of(text)
    assert licence.front_matter == {"license": text.casefold()}
    assert licence.url == f"https://spdx.org/licenses/{LICENCES[text.casefold()]}.html"


def test_another_licence_is_named_and_linked() -> None:
    licence = Licence.of("ImageNet terms https://image-net.org/download")
    assert licence.front_matter == {
        "license": "other",
        "license_name": "ImageNet terms",
        "license_link": "https://image-net.org/download",
    }
    assert licence.url == "https://image-net.org/download"
    assert Licence.of("ours alone").front_matter == {"license": "other", "license_name": "ours alone"}


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "https://a https://b", "x" * 400])
def test_what_is_no_licence_is_refused(text: str, refused) -> None:
    with refused(BadOption, "--licence", "mit"):
        Licence.of(text)


@pytest.mark.parametrize("kind", ["pixels", "whitened"])
def test_the_card_says_what_the_set_is(kind: str, tmp_path: Path) -> None:
    original = a_set(kind)
    about = About('Mine: "best" # of all\\', Licence.of("cc-by-4.0"), day=DAY, names=tuple(f"c: {i}" for i in range(10)))
    files = write(original, tmp_path / "data", about.names)
    text = card(original, files, about)
    matter = front(text)
    assert matter["license"] == "cc-by-4.0"
    assert matter["pretty_name"] == about.title
    assert matter["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*"}]
    assert matter["dataset_info"]["splits"] == [{"name": "train", "num_bytes": files[0].size, "num_examples": 6}]
    features = {feature["name"]: feature for feature in matter["dataset_info"]["features"]}
    assert features["label"]["dtype"]["class_label"]["names"]["3"] == "c: 3"
    assert set(features) == {"image", "label"} | ({"pixels", "soft_labels"} if kind == "whitened" else set())
    assert original.digest in text
    assert "`cifar10`, 10 classes" in text
    assert ("whitened (ZCA)" in text) == (kind == "whitened")


def test_the_command_on_the_card_has_the_mosaic_factor_that_reading_needs(tmp_path: Path) -> None:
    original = a_set("mosaic")
    text = card(original, write(original, tmp_path), About("x", Licence.of("mit")))
    assert 'giftbench import "parquet(factor=2)" FOLDER --dataset "cifar10"' in text


@pytest.mark.parametrize("kind", ["pixels", "logits", "normalised"])
def test_mlcroissant_reads_the_metadata_and_the_rows(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="Croissant's own library, of the test group, is not installed")
    monkeypatch.setattr(exporting, "GROUP", 4)
    monkeypatch.setattr(exporting, "SHARD", 1)
    original = a_set(kind)
    about = About("Mine of CIFAR-10", Licence.of("mit"), "https://example.org/mine", DAY)
    files = write(original, tmp_path / "data")
    (tmp_path / "croissant.json").write_text(croissant(original, files, about))
    read = mlcroissant.Dataset(jsonld=str(tmp_path / "croissant.json"))
    assert not read.metadata.ctx.issues.errors
    metadata = read.metadata.to_json()
    assert metadata["license"] == "https://spdx.org/licenses/MIT.html"
    assert metadata["name"] == "Mine-of-CIFAR-10"
    assert len(files) == 2
    rows = list(read.records(record_set="default"))
    assert sorted(row["default/label"] for row in rows) == original.labels.tolist()
    assert rows[0]["default/image"].size == (8, 8)
    if original.soft_labels is not None:
        assert list(rows[0]["default/soft_labels"]) == pytest.approx(original.soft_labels[0].tolist())
    assert ("default/pixels" in rows[0]) == (kind == "normalised")


def test_the_metadata_have_the_size_and_digest_of_each_file(tmp_path: Path) -> None:
    original = a_set()
    files = write(original, tmp_path / "data")
    described = json.loads(croissant(original, files, About("x", Licence.of("mit"), day=DAY)))
    (file, _) = described["distribution"]
    assert (file["sha256"], file["contentSize"]) == (files[0].sha256, f"{files[0].size} B")
    assert described["datePublished"] == "2026-11-29"
    assert "url" not in described

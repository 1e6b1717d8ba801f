"""What is said of an exported set beside its files: the card that the Hugging Face Hub shows, and Croissant's description."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from harness.core.errors import BadOption
from harness.distilled.exporting import Exported, lists, stored_as
from harness.distilled.set import DistilledSet

#: Licences that the Hub knows by these names, and what SPDX calls them.
LICENCES = {
    "apache-2.0": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "cc0-1.0": "CC0-1.0",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
    "gpl-3.0": "GPL-3.0-only",
    "mit": "MIT",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "pddl": "PDDL-1.0",
}
#: How the Hub counts the rows of a dataset.
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
#: Terms of Croissant 1.0 that are not schema.org's own.
_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format"),
    *("includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}


@dataclass(frozen=True)
class Licence:
    """The licence that whoever publishes a set states: an identifier as SPDX or the Hub has it, or any name; perhaps a link."""

    name: str
    link: str = ""

    @classmethod
    def of(cls, text: str) -> Licence:
        """Read a name, a link, or a name and a link in any order. Raises BadOption for no name and no link."""
        words = text.split()
        links = [word for word in words if re.fullmatch(r"https?://\S+", word)]
        name = " ".join(word for word in words if word not in links)
        if not words or len(links) > 1 or not text.isprintable() or len(text) > 300:
            raise BadOption(f"--licence {text[:40]!r}: state a licence, as mit, cc-by-4.0 or a name and a link; {_known()}")
        return cls(name or links[0], links[0] if links else "")

    @property
    def known(self) -> str:
        """The name by which the Hub knows it, "" where it does not."""
        folded = self.name.casefold()
        return next((own for own, spdx in LICENCES.items() if folded in (own, spdx.casefold())), "")

    @property
    def url(self) -> str:
        """A link to its text; of one that is neither known nor linked its name."""
        return self.link or (f"https://spdx.org/licenses/{LICENCES[self.known]}.html" if self.known else self.name)

    @property
    def front_matter(self) -> dict[str, str]:
        """What the Hub is told."""
        if self.known:
            return {"license": self.known}
        return {"license": "other", "license_name": self.name, **({"license_link": self.link} if self.link else {})}


def _known() -> str:
    return f"known by name: {', '.join(LICENCES)}"


@dataclass(frozen=True)
class About:
    """What is said of a set: its title, licence, address and date, the names of its classes where these are known."""

    title: str
    licence: Licence
    url: str = ""
    day: date = field(default_factory=date.today)
    names: tuple[str, ...] = ()


def card(distilled: DistilledSet, files: Sequence[Exported], about: About) -> str:
    """Return a dataset card: YAML front matter, every value of which is JSON, which YAML reads, and what the set is."""
    front: dict[str, object] = {
        **about.licence.front_matter,
        "pretty_name": about.title,
        "task_categories": ["image-classification"],
        "tags": ["dataset-distillation", "giftbench"],
        "size_categories": [next((words for limit, words in SIZES if len(distilled) < limit), "1M<n<10M")],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
        "dataset_info": {
            "features": _features(distilled, about.names),
            "splits": [{"name": "train", "num_bytes": sum(file.size for file in files), "num_examples": len(distilled)}],
        },
    }
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in front.items()]
    return "\n".join(["---", *lines, "---", "", f"# {about.title}", "", *_body(distilled, about), ""])


def _features(distilled: DistilledSet, names: Sequence[str]) -> list[dict[str, object]]:
    numbered = {str(index): name for index, name in enumerate(names)}
    label: object = {"class_label": {"names": numbered}} if names else "int64"
    features: list[dict[str, object]] = [{"name": "image", "dtype": "image"}, {"name": "label", "dtype": label}]
    return features + [{"name": name, "sequence": kind} for name, kind in _kinds(distilled).items()]


def _kinds(distilled: DistilledSet) -> dict[str, str]:
    """Return the columns of lists, with the type of the numbers in them."""
    return {name: stored_as(values) for name, values in lists(distilled).items()}


def _body(distilled: DistilledSet, about: About) -> list[str]:
    """Return what a reader of the card wants to know, as Markdown."""
    channels, height, width = distilled.shape
    soft = f"{distilled.soft_kind}, in the column `soft_labels`" if distilled.soft_labels is not None else "none stored"
    facts: Mapping[str, str] = {
        "dataset": f"`{distilled.dataset}`, {distilled.classes} classes",
        "method": f"`{distilled.method}`",
        "images": f"{len(distilled)} of {channels} x {height} x {width} ({distilled.ipc:g} a class)",
        "pixels": _pixels(distilled),
        "soft labels": soft,
        "mosaic factor": str(distilled.factor),
        "native loss": f"`{distilled.native_loss}`" if distilled.native_loss else "none stated",
        "bytes": f"images {distilled.image_bytes:,}, labels {distilled.label_bytes:,}",
        "licence": about.licence.name if about.licence.link == "" else f"[{about.licence.name}]({about.licence.link})",
        "digest": f"`{distilled.digest}`",
    }
    table = ["| | |", "| --- | --- |", *(f"| {name} | {_cell(value)} |" for name, value in facts.items())]
    option = f"parquet(factor={distilled.factor})" if distilled.factor > 1 else "parquet"
    return [
        f"A distilled set: {len(distilled)} images that stand for the train split of `{distilled.dataset}`.",
        "",
        *table,
        "",
        "Read back with the digest above, and evaluated beside others on the same dataset:",
        "",
        "```console",
        f'$ giftbench import "{option}" FOLDER --dataset "{distilled.dataset}" -o set.safetensors',
        "```",
    ]


def _pixels(distilled: DistilledSet) -> str:
    if "pixels" not in _kinds(distilled):
        return "8 bits, as the PNGs of the column `image`"
    what = "whitened (ZCA)" if distilled.whitening else "normalised" if distilled.normalised else "floats in [0, 1]"
    return f"{what}, in the column `pixels`, channel by channel and row by row; `image` is a picture of them"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def croissant(distilled: DistilledSet, files: Sequence[Exported], about: About) -> str:
    """Return Croissant 1.0 metadata of the files, as JSON-LD."""
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": f"data/{file.path.name}",
            "name": f"data/{file.path.name}",
            "contentUrl": f"data/{file.path.name}",
            "contentSize": f"{file.size} B",
            "encodingFormat": "application/x-parquet",
            "sha256": file.sha256,
        }
        for file in files
    ]
    parquet = {
        "@type": "cr:FileSet",
        "@id": "parquet",
        "name": "parquet",
        "encodingFormat": "application/x-parquet",
        "includes": "data/*.parquet",
    }
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": re.sub(r"[^\w-]+", "-", about.title).strip("-") or "distilled-set",
        "description": f"{about.title}: {len(distilled)} images of {distilled.classes} classes, distilled from the train split "
        f"of {distilled.dataset} by {distilled.method}.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": about.licence.url,
        **({"url": about.url} if about.url else {}),
        "version": "1.0.0",
        "datePublished": about.day.isoformat(),
        "keywords": ["dataset distillation", distilled.dataset, distilled.method],
        "distribution": [*objects, parquet],
        "recordSet": [_records(distilled)],
    }
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _records(distilled: DistilledSet) -> dict[str, object]:
    def column(name: str, kind: str, **more: object) -> dict[str, object]:
        source: dict[str, object] = {"fileSet": {"@id": "parquet"}, "extract": {"column": name}}
        if kind == "sc:ImageObject":
            source["transform"] = {"jsonPath": "bytes"}
        return {"@type": "cr:Field", "@id": f"default/{name}", "name": name, "dataType": kind, "source": source, **more}

    kinds = {name: "sc:Integer" if kind == "uint8" else "sc:Float" for name, kind in _kinds(distilled).items()}
    numbers = [column(name, kind, repeated=True) for name, kind in kinds.items()]
    fields = [column("image", "sc:ImageObject"), column("label", "sc:Integer"), *numbers]
    return {"@type": "cr:RecordSet", "@id": "default", "name": "default", "field": fields}

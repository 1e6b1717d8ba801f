"""From a published format to a `DistilledSet`: what `giftbench import` and boards that name a format share."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from harness import datasets
from harness.core.code import Code
from harness.core.digests import digest_json
from harness.core.errors import DataError
from harness.core.home import home
from harness.core.spec import Spec
from harness.datasets.cards import Card
from harness.distilled import places, readers
from harness.distilled.files import SetFile, read_set_header
from harness.distilled.order import Order
from harness.distilled.places import Place
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet
from harness.files import atomic, paths
from harness.files.hub import is_remote
from harness.planning.artefacts import Artefacts
from harness.planning.needs import read_places

Say = Callable[[str], None]
#: Raised whenever a reader would make another set of the same files.
VERSION = 5


def read(
    spec: Spec, path: Path, card: Card, ipc: int | None, say: Say, workers: int = 0, order: Order | None = None
) -> DistilledSet:
    """Return the set that a reader makes of `path`.

    Args:
        spec: the reader's name and options.
        path: a file or folder, a zip or tar archive of one, or a place on the Hub, `hub:USER/NAME[@REVISION][/FILE]`.
        ipc: images a class to take by the publisher's rule; None takes all.
        say: is told, a line each, what the reader assumed.
        order: of the set's classes, where the user states one.
    Raises: UnknownName and BadOption for the format; DataError, in one line, when the files are not such a set.
    """
    return _read(spec, places.fetched(path, say), card, ipc, say, workers, order)


def _read(
    spec: Spec, place: Place, card: Card, ipc: int | None, say: Say, workers: int = 0, order: Order | None = None
) -> DistilledSet:
    """Return the set of `read` from where it lies on this machine."""
    with places.unpacked(place, say) as here:
        distilled = readers.create(spec)(Reading(here.path, card, ipc, workers, say, order, place.path))
    if not isinstance(distilled, DistilledSet):
        raise DataError(f"reader {spec.name!r} returned {type(distilled).__name__}, not a DistilledSet")
    distilled.provenance |= here.facts
    distilled.check_fits(card.name, card.shape, card.classes)
    if order is not None and "order" not in distilled.provenance:  # a set that has numbers alone: no folders to put in order
        distilled = distilled.renumbered(order.numbering(card))
        distilled.provenance["order"] = order.way
    return distilled


def import_set(
    format_: str,
    path: Path,
    dataset: str,
    ipc: int | None = None,
    *,
    data_dir: Path | None = None,
    workers: int = 0,
    check: bool = True,
    teacher: Path | None = None,
    order: str = "",
    force: bool = False,
    say: Say = lambda line: None,
) -> DistilledSet:
    """Return the set of a published format, checked against the dataset's own images when these are at hand.

    Args:
        format_, dataset: names with options, as a board writes them.
        teacher: a teacher file of this project, asked whether it knows the images by their labels.
        order: of the set's classes, as `harness.distilled.order.Order.of` reads it; "" for none that is stated.
        force: whether a set is taken whose classes another order fits far better; it says so from then on.
        say: is told what was assumed and what the checks found, a line each.
    Raises: as `read`; DataError for a set that another order fits far better.
    """
    spec = Spec.model_validate(format_)
    readers.resolve(spec)
    card = datasets.card(dataset, data_dir)
    distilled = read(spec, path, card, ipc, say, workers, Order.of(order) if order else None)
    if not check:
        return distilled
    from harness import teachers
    from harness.planning import checking

    present, remedy = datasets.at_hand(dataset, data_dir)
    images = datasets.load(dataset, data_dir) if present else None
    if images is None:
        say(f"not compared with {card.name}: {remedy}")
    asked = None
    if teacher is not None:
        if images is None:
            raise DataError(f"--teacher: {card.name} is not at hand, and a teacher is read with it: {remedy}")
        asked = teachers.load([teachers.read_header(teacher)[0]], images, "cpu")
    for line in images.notes if images is not None else ():
        say(line)
    checked = checking.check(distilled.digest, lambda: distilled, card, images, asked)
    for line in checked.lines:
        say(line)
    checked.accept(str(path), "forced" if force else order, "State it by --classes, or take the set as it is by --force")
    if force and "order" not in distilled.provenance:
        distilled.provenance["order"] = "forced"
    return distilled


def kept(
    spec: Spec, path: Path, card: Card, ipc: int | None, artefacts: Artefacts, say: Say, order: Order | None = None
) -> SetFile:
    """Return the set of `read` beside a board, read at most once as long as the files stay as they are."""
    place = places.fetched(path, say)
    note = home() / "imports" / f"{_key(spec, place.path, card, ipc, order, say)}.json"
    try:
        known = json.loads(note.read_text("utf-8"))
        file = read_set_header(artefacts.find("set", known["digest"]))
        for line in known["said"]:
            say(line)
        return file
    except (OSError, ValueError, LookupError, TypeError):  # nothing known, or the set is gone: it is read again
        pass
    said: list[str] = []

    def both(line: str) -> None:
        said.append(line)
        say(line)

    file = artefacts.add(_read(spec, place, card, ipc, both, order=order))
    with suppress(OSError):  # a cache that cannot be written; the next run reads the set again
        atomic.make_folder(note.parent)
        atomic.write(note, json.dumps({"digest": file.digest, "said": said}))
    return file


def _key(spec: Spec, path: Path, card: Card, ipc: int | None, order: Order | None, say: Say) -> str:
    """Return a hash of what is read, how, and of the names, sizes and times of all its files."""
    named = [Path(value) for value in spec.options.values() if isinstance(value, str) and is_remote(Path(value))]
    about = [card.name, card.shape, card.classes, card.mean, card.std, card.names]
    stated = [order.way, order.lines] if order is not None else None
    facts = [VERSION, readers.resolve(spec).spec.model_dump(), about, ipc, stated]
    code = Code.of((readers.registry, spec)).facts
    facts += [code] if code else []
    facts += [places.fetched(remote, say).facts for remote in named]
    return digest_json([facts, [[str(place), *paths.stamps(place)] for place in read_places(spec, path)]])[:32]

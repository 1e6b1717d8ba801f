"""Class folders of images by any usual naming: D4M, CaO2, D3HR, VLCP, and what people make themselves."""

from __future__ import annotations

from harness.distilled.readers import image_folders
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet


def folder(
    reading: Reading, *, method: str = "folder", native_loss: str = "", factor: int = 1, uneven: bool = False
) -> DistilledSet:
    """Class folders of images of any file names; folders are numbers (0, 00000, new012), WordNet ids or the classes' names.

    Args:
        reading: its path is the set's folder, or one above it that leads to one only. The order of other folders, such as
            prompts, has to be stated. A lower IPC is the first files of each class, by number where all are called by one, else
            by name. Images of another size are resized, which is said.
        method: how tables call it.
        native_loss: the loss its authors train with.
        factor: tiles along one side of a mosaic.
        uneven: whether classes may have different numbers of images.
    Returns: uint8 images and hard labels.
    Raises: DataError that names the file or folder.
    """
    found = image_folders.read(
        reading, format="folder", native_loss=native_loss, factor=factor, kind="", method=method, free=True, uneven=uneven
    )
    facts = found.provenance
    reading.say(f"{facts['folder']}: {facts['files']} images, the order of the classes: {facts['assumed']['classes']}")
    return found

"""Files of what teachers have said, for trainings of other processes and later runs: bounded, never needed, made again."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from harness.core.digests import digest, digest_json
from harness.core.errors import GiftbenchError
from harness.files import safetensors

log = logging.getLogger("giftbench")
FORMAT = "giftbench soft labels 1"
#: Bytes of all files of a folder, at most.
ON_DISK = 4 << 30
#: Seconds after which a file that is still being written has lost its writer.
ABANDONED = 3600.0


class LabelFiles:
    """A folder of answers, a file for each stream of questions; those longest not read or written go first.

    What cannot be read or written is said, and done without: any number of processes may write, read and remove the same.

    Args:
        folder: made when something is written.
        most: bytes of all files.
    """

    def __init__(self, folder: Path, most: int = ON_DISK) -> None:
        self.folder, self.most = folder, most

    def path(self, stream: str) -> Path:
        """Return the file of a stream."""
        return self.folder / f"labels-{digest_json(stream)[:20]}.safetensors"

    def read(self, stream: str) -> dict[bytes, Tensor]:
        """Return what was said in a stream, [B, K] by the digest of what was asked; nothing where no sound file is there."""
        path = self.path(stream)
        if not path.is_file():
            return {}
        try:
            header, tensors = safetensors.load(path, "soft labels")
            if header.metadata.get("format") != FORMAT or header.metadata.get("digest") != digest(tensors, {"stream": stream}):
                raise ValueError("its content does not have the digest it states")
            names, sizes = tensors["asked"].numpy(), tensors["sizes"].tolist()
            answers = zip(names, torch.split(tensors["said"], sizes), strict=True)
            found = {name.tobytes(): said for name, said in answers}
        except Exception as error:  # whatever is wrong with it, the teacher is asked again
            log.info("%s: %s; passed over", path, error)
            return {}
        with suppress(OSError):  # somebody else may have removed it
            os.utime(path)
        return found

    def write(self, stream: str, answers: Mapping[bytes, Tensor]) -> None:
        """Keep what was said in a stream, whole or not at all, and remove what there is no room for any more.

        Answers have one width and one type; others than the first one's are left out.
        """
        first = next(iter(answers.values()))
        alike = {name: said for name, said in answers.items() if (said.shape[1:], said.dtype) == (first.shape[1:], first.dtype)}
        tensors = {
            "asked": torch.stack([torch.frombuffer(bytearray(name), dtype=torch.uint8) for name in alike]),
            "sizes": torch.tensor([len(said) for said in alike.values()]),
            "said": torch.cat([*alike.values()]),
        }
        if sum(tensor.nbytes for tensor in tensors.values()) > self.most:
            return
        try:
            words = {"format": FORMAT, "digest": digest(tensors, {"stream": stream})}
            safetensors.save(self.path(stream), tensors, words)
            self._make_room(self.path(stream))
        except (GiftbenchError, OSError) as error:
            log.info("%s: soft labels are not kept: %s", self.path(stream), error)

    def _make_room(self, latest: Path) -> None:
        for path in self.folder.glob(".labels-*.tmp"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > ABANDONED:  # by a process that was killed while it wrote
                    path.unlink()
        sizes: dict[Path, tuple[int, int]] = {}
        for path in self.folder.glob("labels-*.safetensors"):
            with suppress(OSError):
                status = path.stat()
                sizes[path] = status.st_mtime_ns, status.st_size
        total = sum(size for _, size in sizes.values())
        for path in sorted(sizes, key=lambda path: sizes[path][0]):
            if total <= self.most:
                return
            if path != latest:
                path.unlink(missing_ok=True)
                total -= sizes[path][1]

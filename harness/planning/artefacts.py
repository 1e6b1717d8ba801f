"""Distilled sets and teachers on disk, found by blueprint and checked by digest: beside a board, and in the user's cache."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.core.digests import digest_json
from harness.core.errors import DataError
from harness.core.home import home
from harness.distilled.files import SetFile, read_set_header
from harness.files import atomic, claims

if TYPE_CHECKING:
    from harness.distilled.set import DistilledSet
    from harness.teachers.files import TeacherFile


log = logging.getLogger("giftbench")
H = TypeVar("H")


class Artefacts:
    """The artefacts of one board. What is missing beside it is taken from the cache, else made; the cache keeps teachers too."""

    def __init__(self, folder: Path, cache: Path | None = None) -> None:
        self.folder = folder
        self.cache = cache if cache is not None else home() / "artefacts"
        self._passed: set[Path] = set()
        self._headers: dict[tuple[Path, int, int], SetFile] = {}

    def teacher(self, blueprint: dict[str, object], make: Callable[[Path], TeacherFile]) -> TeacherFile:
        """Return the teacher of a blueprint; `make` trains it into a folder when nobody has it."""
        from harness import teachers

        key = digest_json(blueprint)

        def known() -> TeacherFile | None:
            file = self.known_teacher(lambda _: key)
            return None if file is None else teachers.read_header(self._kept(file.path))[0]

        file = known()
        if file is not None:
            return file
        atomic.make_folder(self.cache)
        with claims.lock(self.cache / key[:20]):  # another process may train the same teacher
            return known() or teachers.read_header(self._kept(make(self.cache).path))[0]

    def known_teacher(self, key: Callable[[TeacherFile], str]) -> TeacherFile | None:
        """Return the teacher that is taken for a blueprint, beside the board or in the cache; None where it has to be made.

        Args:
            key: gives the hash of the blueprint that is looked for, which may take from a file what only the data would tell.
        Raises: DataError for a file beside the board, before it, that is no teacher; such a one in the cache is passed over.
        """
        from harness import teachers

        for path in self._files("teacher"):
            header = self._sound(path, teachers.read_header)
            if header is not None and header[1] == key(header[0]):
                return header[0]
        return None

    def distilled(
        self, blueprint: dict[str, object], teacher: Callable[[], list[str]], make: Callable[[], DistilledSet]
    ) -> SetFile:
        """Return the set of a blueprint; `teacher` gives the digests that a set made with a teacher must name."""
        key = digest_json(blueprint)
        file = self.known_set(lambda _: key, teacher)
        if file is not None:
            return read_set_header(self._kept(file.path))
        distilled = make()
        distilled.provenance["recipe"] = key
        return self.add(distilled)

    def known_set(self, key: Callable[[SetFile], str], teacher: Callable[[], Sequence[str]]) -> SetFile | None:
        """Return the set that is taken for a blueprint, as `known_teacher` does.

        `teacher` is asked only where a set of the blueprint was made with one, so that none is trained that none is made with.
        """
        for path in self._files("set"):
            file = self._sound(path, self._header)
            if file is None:
                continue
            provenance = file.metadata["provenance"]
            named = provenance.get("teacher_digest")
            if provenance.get("recipe") == key(file) and (named is None or named == list(teacher())):
                return file
        return None

    def _files(self, kind: str) -> Iterator[Path]:
        for folder in (self.folder, self.cache):
            yield from sorted(folder.glob(f"{kind}-*.safetensors"))

    def _sound(self, path: Path, read: Callable[[Path], H]) -> H | None:
        """Return a file's header; None for one in the cache that has none, which is said: others' artefacts lie there."""
        try:
            return read(path)
        except DataError as error:
            if path.parent != self.cache:
                raise
            if path not in self._passed:
                log.warning("%s; passed over", error)
            self._passed.add(path)
            return None

    def _header(self, path: Path) -> SetFile:
        """Return a set's header, read once as long as its file stays as it is: every search for a set looks at all of them."""
        try:
            status = path.stat()
        except OSError:
            return read_set_header(path)  # which says what is wrong with it
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._headers:
            self._headers[key] = read_set_header(path)
        return self._headers[key]

    def add(self, distilled: DistilledSet) -> SetFile:
        """Keep a set beside the board, by digest."""
        path = self.folder / f"set-{distilled.digest[:20]}.safetensors"
        if not path.exists():
            distilled.save(path)
        return read_set_header(path)

    def _kept(self, path: Path) -> Path:
        kept = self.folder / path.name
        if not kept.exists():
            atomic.make_folder(self.folder)
            with atomic.replacing(kept) as temporary:
                shutil.copyfile(path, temporary)
        return kept

    def find(self, kind: str, digest: str) -> Path:
        """Return the file of a digest; `kind` is `set` or `teacher`. Raises DataError when it is gone or holds another."""
        from harness import teachers

        path = self.folder / f"{kind}-{digest[:20]}.safetensors"
        if not path.is_file():
            raise DataError(f"{path}: gone; run the board again to make it")
        stated = read_set_header(path).digest if kind == "set" else teachers.read_header(path)[0].digest
        if stated != digest:
            raise DataError(f"{path}: holds the {kind} {stated[:20]}; delete it and run the board again")
        return path

    def check(self, kind: str, digest: str) -> None:
        """Read the file of a digest from end to end. Raises DataError when it is gone, damaged, or holds another."""
        from harness.distilled.set import DistilledSet
        from harness.teachers import files

        path = self.find(kind, digest)
        if kind == "teacher":
            files.check(files.read_header(path)[0])
            return
        try:
            DistilledSet.load(path)
        except DataError as error:
            raise DataError(f"{error}; restore it, or delete it and run the board again") from None

"""Files on the Hugging Face Hub, `hub:USER/NAME[@REVISION][/FILE]`: downloaded once for each revision, and checked. No torch."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import DataError, WriteError, suggest
from harness.files import atomic, paths

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Say = Callable[[str], None]
SCHEME = "hub:"
_FORM = re.compile(r"hub:([\w.-]{1,100})/([\w.-]{1,100})(?:@([\w.-]{1,100}))?(?:/(.+))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
#: Bytes and files that are downloaded at most, and seconds that an answer is waited for.
MAX_BYTES, MAX_FILES, SECONDS = 64 << 30, 2_000_000, 30
#: Files that are downloaded at once.
WORKERS = 8
#: What a repository is, the likeliest first.
KINDS = ("dataset", "model")
#: Files that are code, and what Git keeps beside the others.
_LEFT = (".py", ".ipynb", ".sh")


@dataclass(frozen=True)
class Remote:
    """A place on the Hub: a repository, a revision of it or "" for its latest, a file or folder in it or "" for all."""

    repository: str
    revision: str = ""
    file: str = ""

    @classmethod
    def of(cls, path: Path) -> Remote:
        """Read a place as it is written. Raises DataError for another form."""
        form = _FORM.fullmatch(str(path))
        if form is None or {"", ".", ".."} & {*(form[4] or "x").split("/"), form[1], form[2]}:
            raise DataError(f"{path}: a place on the Hub is written as hub:USER/NAME, hub:USER/NAME@REVISION or …/FILE")
        return cls(f"{form[1]}/{form[2]}", form[3] or "", form[4] or "")

    def __str__(self) -> str:
        return SCHEME + self.repository + (f"@{self.revision}" if self.revision else "") + (f"/{self.file}" if self.file else "")


@dataclass(frozen=True)
class Copy:
    """What lies on this machine of a place on the Hub, and that place with its revision's full name."""

    path: Path
    pinned: str


def is_remote(path: Path) -> bool:
    """Return whether a path is a place on the Hub."""
    return str(path).startswith(SCHEME)


def fetch(remote: Remote, cache: Path, say: Say) -> Copy:
    """Return a copy of a place on the Hub below `cache`, downloaded where it is not there.

    A revision that is a commit's full name is not asked for again once it is there; of any other the Hub is asked which commit it
    is, and where that cannot be, the one that was downloaded last is taken, which is said. Sizes, and the digests by which the
    Hub knows its files, are compared.

    Raises: DataError, in one line, for what is not there, cannot be reached, is too large, or is not what the Hub says.
    """
    if _COMMIT.fullmatch(remote.revision) and (copy := _kept(remote, cache, remote.revision)) is not None:
        return copy
    try:
        found = _asked(remote)
    except _Unreachable as error:
        copy = None if _COMMIT.fullmatch(remote.revision) else _latest(remote, cache)
        if copy is None:
            raise DataError(f"{remote}: the Hub cannot be reached ({error}), and there is no copy of it here") from None
        say(f"{remote}: the Hub cannot be reached; the copy that was downloaded last is taken: {copy.pinned}")
        return copy
    copy = _kept(remote, cache, found.commit)
    if copy is None:
        size = sum(file.size for file in found.files.values())
        say(f"{remote}: {len(found.files)} {'file' if len(found.files) == 1 else 'files'}, {size / 1e6:.3g} MB, are downloaded")
        copy = _downloaded(remote, found, cache)
    if copy.pinned != str(remote):
        say(f"{remote} is {copy.pinned} today; so written, it stays that")
    return copy


class _Unreachable(Exception):
    """The Hub does not answer, or must not be asked."""


@dataclass(frozen=True)
class _File:
    """A file as the Hub describes it: bytes, and the digest of its content, by Git or by SHA-256."""

    size: int
    sha256: str
    blob: str


@dataclass(frozen=True)
class _Found:
    """A repository's commit, and the files that are wanted of it."""

    kind: str
    commit: str
    files: Mapping[str, _File]


def _api() -> HfApi:
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise DataError(
            "the Hub is asked by huggingface_hub, which is not installed: pip install 'giftbench[huggingface]'"
        ) from None
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"))


def _asked(remote: Remote) -> _Found:
    """Return what the Hub says of a place."""
    api, answer = _api(), None
    for kind in KINDS:
        with _refusing(remote, absent=kind != KINDS[-1]):
            answer = api.repo_info(
                remote.repository, repo_type=kind, revision=remote.revision or None, files_metadata=True, timeout=SECONDS
            )
            break
    commit, siblings = str(getattr(answer, "sha", "")), getattr(answer, "siblings", None) or ()
    if not _COMMIT.fullmatch(commit):
        raise DataError(f"{remote}: the Hub calls its commit {paths.line(commit)[:60]!r}")
    if len(siblings) > MAX_FILES:
        raise DataError(f"{remote}: more than {MAX_FILES} files")
    try:
        described = {str(file.rfilename): _described(file) for file in siblings}
    except (AttributeError, TypeError, ValueError):
        raise DataError(f"{remote}: what the Hub answers describes no files") from None
    for name, file in described.items():
        if {"", ".", ".."} & {*name.split("/")} or "\\" in name or paths.UNFIT.search(name) or file.size < 0:
            raise DataError(f"{remote}: the name {name[:80]!a} in it is none that a file should have")
    wanted = {name: file for name, file in described.items() if _is_wanted(name, remote, described)}
    if not wanted:
        what = f"{remote.file!r} is not in it; {suggest(remote.file, list(described)[:1000])}"
        raise DataError(f"{remote}: {what if remote.file else 'it has no data'}")
    if (size := sum(file.size for file in wanted.values())) > MAX_BYTES:
        raise DataError(
            f"{remote}: {size / 2**30:.0f} GiB, above the limit of {MAX_BYTES >> 30} GiB; give a file or folder of it"
        )
    return _Found(kind, commit, wanted)


def _is_wanted(name: str, remote: Remote, described: Mapping[str, object]) -> bool:
    if remote.file in described:
        return name == remote.file
    stray = any(paths.stray(part) for part in name.split("/")) or name.casefold().endswith(_LEFT)
    return not stray and (not remote.file or name.startswith(f"{remote.file}/"))


def _described(file: Any) -> _File:
    lfs = file.lfs
    size = int(file.size if file.size is not None else -1)
    return _File(size, str(lfs.sha256) if lfs is not None else "", str(file.blob_id or ""))


@contextmanager
def _refusing(remote: Remote, absent: bool = False) -> Iterator[None]:
    """Say in one line what the Hub answers, or that it does not; with `absent`, that there is no such repository says nothing."""
    from huggingface_hub import errors

    try:
        yield
    except DataError:
        raise
    except errors.GatedRepoError:
        raise DataError(f"{remote}: the Hub asks for its terms to be accepted first; then: hf auth login") from None
    except errors.RepositoryNotFoundError:
        if not absent:
            raise DataError(f"{remote}: no such repository on the Hub, or a private one (hf auth login)") from None
    except errors.RevisionNotFoundError:
        raise DataError(f"{remote}: the repository has no revision {remote.revision!r}") from None
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise _Unreachable("offline" if isinstance(error, errors.OfflineModeIsEnabled) else type(error).__name__) from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        if status >= 500 or status == 429:
            raise _Unreachable(f"status {status}") from None
        raise DataError(f"{remote}: the Hub answers with status {status}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise WriteError(f"{remote}: cannot be kept: {error.filename}: {error.strerror}") from None
        raise _Unreachable(type(error).__name__) from None
    except Exception as error:  # of the HTTP library, which is not the same in all releases
        raise _Unreachable(type(error).__name__) from None


# -- copies ----------------------------------------------------------------------------------------------------------------


def _folder(remote: Remote, cache: Path) -> Path:
    return cache / remote.repository.replace("/", "--")


def _note(remote: Remote, folder: Path) -> Path:
    """Return the file that says what of a commit is there for a place; hidden, so that readers pass it over."""
    return folder / ".giftbench" / f"{hashlib.sha256(remote.file.encode()).hexdigest()[:20]}.json"


def _kept(remote: Remote, cache: Path, commit: str) -> Copy | None:
    """Return the copy of a commit, None where it is not there or not whole."""
    folder = _folder(remote, cache) / commit
    with suppress(OSError, ValueError, TypeError, AttributeError):
        sizes = json.loads(_note(remote, folder).read_text("utf-8"))
        if sizes and all(paths.inside(folder.resolve(), name).stat().st_size == size for name, size in sizes.items()):
            return _copy(remote, folder)
    return None


def _latest(remote: Remote, cache: Path) -> Copy | None:
    """Return the copy of the commit that was downloaded last."""
    with suppress(OSError):
        folders = [folder for folder in _folder(remote, cache).iterdir() if _note(remote, folder).is_file()]
        for folder in sorted(folders, key=lambda folder: _note(remote, folder).stat().st_mtime, reverse=True):
            if (copy := _kept(remote, cache, folder.name)) is not None:
                return copy
    return None


def _copy(remote: Remote, folder: Path) -> Copy:
    pinned = Remote(remote.repository, folder.name, remote.file)
    return Copy((folder / remote.file if remote.file else folder).resolve(), str(pinned))


def _downloaded(remote: Remote, found: _Found, cache: Path) -> Copy:
    folder = _folder(remote, cache) / found.commit
    atomic.make_folder(folder)
    place = folder.resolve()
    for name, file in found.files.items():  # what an earlier download or a user has left of one
        with suppress(OSError):
            if paths.inside(place, name).stat().st_size != file.size:
                paths.inside(place, name).unlink()
    try:
        with _refusing(remote), _quiet(), ThreadPoolExecutor(WORKERS) as pool:
            from huggingface_hub import hf_hub_download

            def download(name: str) -> None:
                hf_hub_download(
                    remote.repository,
                    name,
                    repo_type=found.kind,
                    revision=found.commit,
                    local_dir=folder,
                    etag_timeout=SECONDS,
                    endpoint=os.environ.get("HF_ENDPOINT"),
                )

            try:
                [*pool.map(download, found.files)]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    except _Unreachable as error:
        raise DataError(f"{remote}: the download broke off ({error}); the next one goes on from there") from None
    for name, file in found.files.items():
        _compare(remote, paths.inside(place, name), name, file)
    note = _note(remote, folder)
    atomic.make_folder(note.parent)
    atomic.write(note, json.dumps({name: file.size for name, file in found.files.items()}))
    return _copy(remote, folder)


def _compare(remote: Remote, path: Path, name: str, file: _File) -> None:
    """Raise DataError for a file that is not as the Hub describes it; it is removed, so that it is downloaded again."""
    try:
        size = path.stat().st_size
    except OSError:
        raise DataError(f"{remote}: {name} did not arrive") from None
    with path.open("rb") as stream:
        if file.sha256:
            own, stated = hashlib.file_digest(stream, "sha256").hexdigest(), file.sha256
        else:
            blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # as Git names a file's content
            while chunk := stream.read(1 << 20):
                blob.update(chunk)
            own, stated = blob.hexdigest(), file.blob
    if size != file.size or (stated and own != stated):
        with suppress(OSError):
            path.unlink()
        raise DataError(
            f"{remote}: {name} is not what the Hub says: {size} bytes of digest {own[:12]}, not {file.size} of {stated[:12]}"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's bars from being drawn; what is downloaded has been said."""
    bars: Any = import_module("huggingface_hub.utils")
    before = bars.are_progress_bars_disabled()
    bars.disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            bars.enable_progress_bars()

"""Many image files to one uint8 tensor, by as many processes as there are cores, straight into memory that they share."""

from __future__ import annotations

import json
import math
import mmap
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy

from harness.core.cores import cores
from harness.core.errors import DataError, WriteError
from harness.files import atomic
from harness.files.pixels import Done, Form, Item, Reader, fill

if TYPE_CHECKING:
    from torch import Tensor

Pixels = numpy.ndarray[Any, numpy.dtype[numpy.uint8]]
Progress = Callable[[int, int], None]  # images decoded, images in all

#: Below so many images a worker, starting it costs more than it saves.
IMAGES_PER_WORKER = 64
#: Images that a worker is asked for at once, and rows of one parquet row group.
CHUNK, GROUP_CHUNK = 32, 1000

#: Images decoded for this process since it began, by itself or by its workers.
decoded = 0


@dataclass(frozen=True)
class Decoded:
    """Images, [N, C, H, W] uint8, and the SHA-256 of each one's encoded bytes when they were asked for."""

    images: Tensor
    digests: list[str] = field(default_factory=list)


def decode(
    files: Sequence[Path],
    shape: tuple[int, int, int],
    *,
    resize: int = 0,
    workers: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Return the pixels of image files.

    Args:
        files: JPEG, PNG, BMP, WebP, PPM or TIFF, 8 bits a channel, at most 64 million pixels each.
        shape: (channels, height, width) of the result; 3 channels are RGB, 1 is grey.
        resize: 0 when every image has `shape` already; else the shorter side is brought to so many px (bilinear, antialiased)
            and the centre cropped. Equal, pixel by pixel, to torchvision's Resize(resize), CenterCrop((height, width)),
            PILToTensor().
        workers: processes; 0 takes one a core, 1 decodes in this one, and so does a short list.
        out: a file to hold the pixels, written whole or not at all; the result maps it, so that processes share its memory.
        progress: is told, now and then, how many are decoded and of how many.

    Returns: uint8 [N, C, H, W], held in memory once.
    Raises: DataError, in one line that names the first file that cannot be used.
    """
    return read([str(file) for file in files], Form(shape, resize), workers=workers, out=out, progress=progress).images


def read(
    items: Sequence[Item],
    form: Form,
    *,
    workers: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
    hashed: bool = False,
) -> Decoded:
    """Decode files or parquet rows; see `decode`. `hashed` asks for the SHA-256 of what was decoded."""
    import torch

    global decoded
    channels, height, width = form.shape
    if channels not in (1, 3) or min(height, width) < 1:
        raise DataError(f"images are decoded to 1 or 3 channels of at least 1 px, not to {channels}x{height}x{width}")
    if form.resize and form.resize < max(height, width):
        raise DataError(f"images whose shorter side is {form.resize} px do not hold a crop of {width}x{height} px")
    if not items:
        raise DataError("no images to decode")
    count = min(workers or cores(), len(items) // IMAGES_PER_WORKER)
    with _buffer((len(items), *form.shape), shared=count > 1, out=out) as (pixels, handle):
        done = _by_workers(items, pixels, handle, form, count, hashed, progress) if count > 1 else None
        if done is None:
            done = _here(items, pixels, form, hashed, progress)
        if done.error:
            raise DataError(done.error)
    decoded += len(items)
    return Decoded(mapped(out, (len(items), *form.shape)) if out is not None else torch.from_numpy(pixels), done.digests)


def mapped(file: Path, shape: tuple[int, ...]) -> Tensor:
    """Return a file of pixels as a tensor that shares the file's memory with other processes; changes to it stay private."""
    import torch

    return torch.from_numpy(numpy.memmap(file, numpy.uint8, "c", shape=shape))


@contextmanager
def _buffer(shape: tuple[int, ...], shared: bool, out: Path | None) -> Iterator[tuple[Pixels, int | str]]:
    """Give room for the pixels, and where a worker finds it: a descriptor that it inherits, or a path."""
    size = int(numpy.prod(shape, dtype=numpy.int64))
    if out is not None:
        with atomic.writing(out) as stream:
            _reserve(stream, size, out)
            room = mmap.mmap(stream.fileno(), size)
            yield numpy.frombuffer(room, numpy.uint8).reshape(shape), stream.name
            room.flush()
    elif not shared:
        yield numpy.empty(shape, numpy.uint8), 0
    elif hasattr(os, "memfd_create"):  # memory that nobody else can see and that needs no space on a disk
        descriptor = os.memfd_create("giftbench-pixels")
        try:
            os.ftruncate(descriptor, size)
            yield numpy.frombuffer(mmap.mmap(descriptor, size), numpy.uint8).reshape(shape), descriptor
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as stream:
            _reserve(stream, size, Path(stream.name))
            yield numpy.frombuffer(mmap.mmap(stream.fileno(), size), numpy.uint8).reshape(shape), stream.name


def _reserve(stream: IO[bytes], size: int, file: Path) -> None:
    """Take the room on the disk now: a mapped file that cannot grow later kills the process."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, size)
        else:
            os.ftruncate(stream.fileno(), size)
    except OSError as error:
        raise WriteError(f"{file}: no room for {size / 2**30:.1f} GiB of decoded images ({error.strerror})") from None


def _here(items: Sequence[Item], pixels: Pixels, form: Form, hashed: bool, progress: Progress | None) -> Done:
    digests: list[str] = []
    reader = Reader()
    flat, size = pixels.reshape(-1).data, math.prod(form.shape)
    for start, chunk in _chunks(items):

        def put(position: int, content: bytes, start: int = start) -> None:
            flat[(start + position) * size : (start + position + 1) * size] = content

        done = fill(chunk, put, form, hashed, reader)
        if done.error:
            return done
        digests += done.digests
        if progress is not None:
            progress(start + len(chunk), len(items))
    return Done(len(items), digests)


def _chunks(items: Sequence[Item]) -> Iterator[tuple[int, Sequence[Item]]]:
    """Cut items into runs, with the place of each one's first: rows of one parquet row group stay together."""
    start = 0
    while start < len(items):
        first, stop = items[start], start + 1
        if isinstance(first, str):
            stop = min(start + CHUNK, len(items))
        else:
            while stop < len(items) and stop - start < GROUP_CHUNK and items[stop][:2] == first[:2]:
                stop += 1
        yield start, items[start:stop]
        start = stop


#: What a worker runs: nothing is taken from the folder it starts in, nor from the program that starts it.
_PROGRAM = (
    "import sys; sys.path.insert(0, {root!r}); from harness.files.pixels import serve; serve(sys.stdin.buffer, sys.stdout.buffer)"
)


def _by_workers(
    items: Sequence[Item], pixels: Pixels, handle: int | str, form: Form, count: int, hashed: bool, progress: Progress | None
) -> Done:
    """Decode by `count` processes: a thread each hands its worker one run of images after the other."""
    setup = {"shape": pixels.shape, "buffer": handle, "resize": form.resize, "hashed": hashed}
    runs, turn, news = _chunks(items), threading.Lock(), queue.SimpleQueue[tuple[int, Done] | None]()
    ended = threading.Event()

    def attend(worker: _Worker) -> None:
        try:
            while not ended.is_set():
                with turn:
                    run = next(runs, None)
                if run is None:
                    return
                done = worker.ask(*run)
                if done.error:
                    ended.set()  # runs are handed out in order, so what comes before the first bad image is being decoded already
                news.put((run[0], done))
        finally:
            news.put(None)

    runs_done: dict[int, Done] = {}
    with ExitStack() as stack:
        for _ in range(count):
            worker = _Worker(setup)
            stack.callback(worker.close)
            thread = threading.Thread(target=attend, args=(worker,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(worker.end)  # first of the three, so that the thread waits for no answer
        finished = images = 0
        while finished < count:
            told = news.get()
            if told is None:
                finished += 1
                continue
            runs_done[told[0]] = told[1]
            images += told[1].images
            if progress is not None:
                progress(images, len(items))
    wrong = [start for start in sorted(runs_done) if runs_done[start].error]
    if wrong:
        return runs_done[wrong[0]]
    if images != len(items):  # a thread has ended otherwise than by `return`; what it met is printed
        raise RuntimeError(f"{len(items) - images} of {len(items)} images have not been decoded")
    return Done(len(items), [digest for start in sorted(runs_done) for digest in runs_done[start].digests])


#: Has glibc keep the memory of one image for the next: to be given it anew by the kernel takes a fifth of a worker's time.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 27), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}


class _Worker:
    """A fresh Python that loads Pillow alone; `close` ends it."""

    def __init__(self, setup: dict[str, object]) -> None:
        root = str(Path(__file__).resolve().parents[2])
        handle = setup["buffer"]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the worker)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM.format(root=root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=_KEEP_MEMORY | os.environ,
            pass_fds=(handle,) if isinstance(handle, int) else (),
        )
        self._send(setup)

    def end(self) -> None:
        """Stop it, whatever it is doing."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Stop it and let go of its pipes."""
        self.end()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with suppress(OSError):  # what it has not read
                stream.close()  # type: ignore[union-attr]

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended; the answer that does not come says so

    def ask(self, start: int, chunk: Sequence[Item]) -> Done:
        """Have a run of images decoded; a worker that dies of one is an error like any other."""
        assert self._process.stdout is not None
        self._send([start, chunk])
        answer = self._process.stdout.readline()
        if answer.endswith(b"\n"):
            return Done(*json.loads(answer))
        status = self._process.wait()
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().splitlines()[-1:]
        first = chunk[0] if isinstance(chunk[0], str) else chunk[0][0]
        reason = f"the process that decoded the {len(chunk)} images from here on ended with status {status}"
        return Done(0, [], " ".join([f"{first}: {reason}", *last]))

"""One encoded image to pixels, asked directly; many at once are tested with the decoding."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy
import pytest
from PIL import Image, ImageFile

from harness.core.errors import DataError
from harness.files import pixels
from harness.files.pixels import Form

GREY = numpy.arange(48, dtype=numpy.uint8).reshape(6, 8)
COLOUR = numpy.stack([GREY, GREY + 50, GREY + 100], axis=2)


def encoded(array: numpy.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def test_an_image_becomes_its_bytes_channel_by_channel() -> None:
    assert pixels.image(encoded(COLOUR), "x", Form((3, 6, 8))) == COLOUR.transpose(2, 0, 1).tobytes()
    assert pixels.image(encoded(GREY), "x", Form((1, 6, 8))) == GREY.tobytes()
    assert pixels.image(encoded(GREY), "x", Form((3, 6, 8))) == GREY.tobytes() * 3


def test_the_centre_is_taken_of_an_image_that_has_its_size_already() -> None:
    assert pixels.image(encoded(GREY), "x", Form((1, 4, 4), resize=6)) == GREY[1:5, 2:6].tobytes()


def test_dimensions_are_width_and_height_of_the_header() -> None:
    assert pixels.dimensions(encoded(COLOUR), "x") == (8, 6)


@pytest.mark.parametrize("content", [b"", b"no image", encoded(GREY)[:-12], encoded(GREY, "GIF")])
def test_what_is_no_whole_image_of_a_known_format_is_refused_by_its_place(content: bytes, refused) -> None:
    with pixels.strict(), refused(DataError, "shelf 3: not a readable image"):
        pixels.image(content, "shelf 3", Form((1, 6, 8)))


def test_strict_sets_pillows_leniency_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)
    with pixels.strict():
        assert ImageFile.LOAD_TRUNCATED_IMAGES is False
        assert Image.MAX_IMAGE_PIXELS == 2 * pixels.MAX_PIXELS
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    assert Image.MAX_IMAGE_PIXELS == 7


def test_filling_stops_at_the_first_image_that_fails(tmp_path: Path) -> None:
    for name, content in (("a", encoded(GREY)), ("b", b"broken"), ("c", encoded(GREY))):
        (tmp_path / name).write_bytes(content)
    parts: dict[int, bytes] = {}
    items = [str(tmp_path / name) for name in "abc"]
    done = pixels.fill(items, parts.__setitem__, Form((1, 6, 8)), True, pixels.Reader())
    assert parts == {0: GREY.tobytes()}
    assert (done.images, done.digests) == (1, [hashlib.sha256(encoded(GREY)).hexdigest()])
    assert done.error.startswith(f"{tmp_path / 'b'}: not a readable image")


def test_a_worker_writes_each_image_at_its_place_and_answers_a_line_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels.signal, "signal", lambda *_: None)
    (tmp_path / "a.png").write_bytes(encoded(GREY))
    (tmp_path / "shared").write_bytes(bytes(3 * 48))
    setup = {"shape": [3, 1, 6, 8], "buffer": str(tmp_path / "shared"), "resize": 0, "hashed": False}
    lines = [setup, [2, [str(tmp_path / "a.png")]], [0, [str(tmp_path / "absent.png")]]]
    answers = io.BytesIO()
    pixels.serve(io.BytesIO("".join(json.dumps(line) + "\n" for line in lines).encode()), answers)
    assert (tmp_path / "shared").read_bytes() == bytes(2 * 48) + GREY.tobytes()
    first, second = map(json.loads, answers.getvalue().splitlines())
    assert first == [1, [], ""]
    assert second[0] == 0
    assert "absent.png: not a readable image: no such file" in second[2]

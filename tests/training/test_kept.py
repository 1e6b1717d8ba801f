"""What teachers have said: read to the bit where the same is asked, asked where it is not, in no more bytes than allowed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harness.training.kept import KeptLabels

IMAGES = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=torch.channels_last)


class Teacher:
    """Says what follows from the images, and counts how often it is asked."""

    def __init__(self, classes: int = 10) -> None:
        self.calls, self.classes = 0, classes

    def __call__(self, images: Tensor) -> Tensor:
        self.calls += 1
        return images.flatten(1)[:, : self.classes] * 3


def other_number(images: Tensor) -> Tensor:
    changed = images.clone()
    changed[-1, -1, -1, -1] = changed[-1, -1, -1, -1].nextafter(torch.tensor(9.0))
    return changed


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "the last bit of the last number": other_number,
    "a sign of zero": lambda images: torch.cat([images[:-1], images[-1:] * 0.0 * -1]),
    "order": lambda images: images.flip(0).contiguous(memory_format=torch.channels_last),
    "fewer": lambda images: images[:-1],
    "layout": lambda images: images.contiguous(),
    "turned": lambda images: images.transpose(2, 3),
    "precision": lambda images: images.double(),
}


def test_what_was_said_is_said_again_without_asking_whatever_became_of_the_first_answer() -> None:
    teacher, kept = Teacher(), KeptLabels()
    said = kept.teacher("stream", teacher)
    expected = teacher(IMAGES)
    for _ in range(3):
        answer = said(IMAGES.clone(memory_format=torch.preserve_format))
        assert torch.equal(answer, expected)
        answer.zero_()
    assert teacher.calls == 2
    assert len(kept) == 1


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_else_is_asked_is_asked(change: Callable[[Tensor], Tensor]) -> None:
    teacher, kept = Teacher(), KeptLabels()
    said = kept.teacher("stream", teacher)
    base = torch.cat([IMAGES[:-1], torch.zeros_like(IMAGES[-1:])]) if change is CHANGES["a sign of zero"] else IMAGES
    said(base)
    assert torch.equal(said(change(base)), Teacher()(change(base)))
    assert teacher.calls == 2


def test_another_stream_or_another_precision_asks_anew() -> None:
    teacher, kept = Teacher(), KeptLabels()
    kept.teacher("one", teacher)(IMAGES)
    kept.teacher("other", teacher)(IMAGES)
    with torch.autocast("cpu", torch.bfloat16):
        kept.teacher("one", teacher)(IMAGES)
    assert teacher.calls == 3


def batches(count: int) -> list[Tensor]:
    return [IMAGES + number for number in range(count)]


def test_there_are_never_more_bytes_than_allowed_and_the_stream_longest_not_used_goes_first() -> None:
    teacher, kept = Teacher(), KeptLabels(most=9_000)  # some twelve answers
    for stream in ("one", "two", "one", "three"):
        said = kept.teacher(stream, teacher)
        for batch in batches(5):
            said(batch)
            assert kept.size <= kept.most
    asked = teacher.calls
    for batch in batches(5):
        kept.teacher("one", teacher)(batch)
        kept.teacher("three", teacher)(batch)
    assert teacher.calls == asked  # the second had to go
    kept.teacher("two", teacher)(IMAGES)
    assert teacher.calls == asked + 1


def test_of_a_stream_that_does_not_fit_the_beginning_is_read_again() -> None:
    teacher, kept = Teacher(), KeptLabels(most=9_000)
    said = kept.teacher("long", teacher)
    for _ in range(2):
        for batch in batches(40):
            assert torch.equal(said(batch), Teacher()(batch))
    assert 40 < teacher.calls < 80
    assert teacher.calls == 80 - len(kept)


def test_streams_that_nobody_follows_any_more_are_forgotten() -> None:
    teacher, kept = Teacher(), KeptLabels()
    for stream in ("one", "two"):
        kept.teacher(stream, teacher)(IMAGES)
    kept.hold({"two"})
    assert len(kept) == 1
    kept.teacher("two", teacher)(IMAGES)
    assert teacher.calls == 2
    kept.hold(())
    assert (len(kept), kept.size) == (0, 0)

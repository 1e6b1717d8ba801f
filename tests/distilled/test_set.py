"""The value: what a distilled set accepts, refuses and is identified by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness import DistilledSet
from harness.core.errors import DataError
from harness.distilled.files import class_bytes, read_set_header
from harness.distilled.inspection import describe
from harness.training.replay import Replay

N, CLASSES = 6, 3
PIXELS = torch.randint(0, 256, (N, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(N) % CLASSES
LOGITS = torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(1))


def made(images: Any = PIXELS, labels: Any = LABELS, soft_labels: Any = None, **changes: Any) -> DistilledSet:
    return DistilledSet(images, labels, soft_labels, **({"dataset": "digits", "method": "mine"} | changes))


def with_value(tensor: Tensor, value: float) -> Tensor:
    changed = tensor.clone()
    changed.view(-1)[0] = value
    return changed


def test_facts_of_a_set() -> None:
    distilled = made()
    assert len(distilled) == N
    assert distilled.shape == (3, 4, 4)
    assert (distilled.classes, distilled.ipc) == (CLASSES, 2)
    assert made(PIXELS[:5], LABELS[:5]).ipc == 1.67
    assert "6 images" in repr(distilled)


def test_number_of_classes_is_given_or_the_soft_labels_width_or_the_largest_label_and_one() -> None:
    assert made(labels=LABELS * 2).classes == 5
    assert made(soft_labels=torch.zeros(N, 7)).classes == 7
    assert made(classes=9).classes == 9


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_labels_of_any_integer_type_and_as_a_column_are_the_same_labels(dtype: torch.dtype) -> None:
    assert made(labels=LABELS.to(dtype)).digest == made().digest
    assert made(labels=LABELS.to(dtype)[:, None]).digest == made().digest


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_float_images_become_float32(dtype: torch.dtype) -> None:
    assert made(torch.full((N, 3, 4, 4), 0.5, dtype=dtype)).images.dtype == torch.float32


def test_a_set_does_not_follow_its_tensors_into_autograd() -> None:
    images = torch.rand(N, 3, 4, 4, requires_grad=True)
    soft = LOGITS.clone().requires_grad_()
    distilled = made(images, soft_labels=soft)
    assert not distilled.images.requires_grad
    assert distilled.soft_labels is not None
    assert not distilled.soft_labels.requires_grad


FLOATS = torch.rand(N, 3, 4, 4, generator=torch.Generator().manual_seed(2))
PROBABILITIES = torch.softmax(LOGITS, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"images": PIXELS.tolist()}, "images must be a torch tensor or a numpy array, not list"),
        ({"labels": LABELS.tolist()}, "labels must be a torch tensor or a numpy array, not list"),
        ({"soft_labels": "gift"}, "soft_labels must be a torch tensor or a numpy array"),
        ({"images": numpy.zeros((N, 3, 4, 4), dtype=str)}, "images cannot be numpy's"),
        ({"dataset": "digitz"}, "a distilled set's dataset: no dataset 'digitz'; did you mean 'digits'"),
        ({"images": torch.zeros(N, 8, 8, 4)}, "which looks like [N, H, W, C]"),
        ({"images": torch.full((N, 3, 4, 4), 1.01)}, "float pixels must lie in [0, 1], these in [1.00999999, 1.00999999]"),
        ({"images": torch.rand(N, 3, 4, 4), "mean": (0.5,) * 3}, "mean and std must be 3 numbers each"),
        ({"images": torch.rand(N, 3, 4, 4), "mean": (0.5,), "std": (0.5,)}, "mean and std must be 3 numbers each"),
        ({"images": torch.rand(N, 3, 4, 4), "mean": (0.5,) * 3, "std": (0.0,) * 3}, "std must be one finite number a channel"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, "uint8 images are pixels"),
        ({"images": PIXELS[0]}, "[N, C, H, W], not [3, 4, 4]"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, "[N, C, H, W], not [0, 3, 4, 4]"),
        ({"images": PIXELS.int()}, "uint8 or float, not torch.int32"),
        ({"images": PIXELS > 9}, "uint8 or float, not torch.bool"),
        ({"images": FLOATS.to(torch.float8_e4m3fn)}, "uint8 or float, not torch.float8"),
        ({"images": with_value(FLOATS, float("nan"))}, "finite; 1 values are not"),
        ({"images": with_value(FLOATS, float("inf")), "normalised": True}, "finite; 1 values are not"),
        ({"images": FLOATS.double() * 1e300, "normalised": True}, "finite"),
        ({"images": with_value(FLOATS, 1.01)}, "normalised=True"),
        ({"images": with_value(FLOATS, -0.01)}, "normalised=True"),
        ({"normalised": True}, "uint8 images are pixels"),
        ({"labels": LABELS[:5]}, "6 images and 5 hard labels"),
        ({"labels": LABELS.float()}, "integers [N], not torch.float32"),
        ({"labels": LABELS > 0}, "integers [N], not torch.bool"),
        ({"labels": LABELS.to(torch.complex128)}, "integers [N], not torch.complex128"),
        ({"labels": torch.zeros(N, CLASSES, dtype=torch.int64)}, "integers [N]"),
        ({"labels": torch.tensor(1)}, "integers [N]"),
        ({"labels": LABELS - 1}, "from -1 to 1"),
        ({"labels": LABELS, "classes": 2}, "0..1; these reach from 0 to 2"),
        ({"labels": LABELS + 1, "soft_labels": LOGITS}, "0..2; these reach from 1 to 3"),
        ({"soft_labels": LOGITS[:5]}, "floats [6, classes]"),
        ({"soft_labels": LOGITS[:, 0]}, "floats [6, classes]"),
        ({"soft_labels": LOGITS.int()}, "floats [6, classes], not torch.int32"),
        ({"soft_labels": LOGITS.to(torch.float8_e4m3fn)}, "floats [6, classes], not torch.float8"),
        ({"soft_labels": LOGITS, "classes": 4}, "3 columns for 4 classes"),
        ({"soft_labels": with_value(LOGITS, float("nan"))}, "soft labels must be finite"),
        ({"soft_labels": with_value(LOGITS, float("-inf"))}, "soft labels must be finite"),
        ({"soft_labels": LOGITS, "soft_kind": "percent"}, "'logits' or 'probabilities', not 'percent'"),
        ({"soft_labels": LOGITS, "soft_kind": "probabilities"}, "sum to 1"),
        ({"soft_labels": PROBABILITIES * 1.1, "soft_kind": "probabilities"}, "sum to 1"),
        ({"soft_labels": PROBABILITIES + torch.tensor([-1.0, 1.0, 0]), "soft_kind": "probabilities"}, "non-negative"),
        ({"factor": 0}, "factor must divide 4x4 px; 0 does not"),
        ({"factor": -2}, "-2 does not"),
        ({"factor": 3}, "3 does not"),
        ({"factor": 2.0}, "2.0 does not"),
        ({"images": PIXELS[:, :, :, :3], "factor": 2}, "4x3 px; 2 does not"),
        ({"images": PIXELS.to("meta")}, "images are on torch's meta device, which holds no numbers"),
        ({"labels": LABELS.to("meta")}, "labels are on torch's meta device"),
        ({"soft_labels": LOGITS.to("meta")}, "soft_labels are on torch's meta device"),
        ({"images": torch.nested.nested_tensor([*FLOATS])}, "images must be one tensor, not a nested one"),
        ({"provenance": {"when": object()}}, "provenance must be a mapping that JSON can hold"),
        ({"provenance": [1, 2]}, "provenance must be a mapping"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments: dict[str, Any], words: str, refused) -> None:
    with refused(DataError, words):
        made(**arguments)


@pytest.mark.parametrize(
    "other",
    [
        lambda tensor: tensor.to_sparse(),
        lambda tensor: torch._neg_view(-tensor),  # as gradients and imaginary parts come: negative by a bit, not by its numbers
        lambda tensor: torch.complex(tensor.double(), -tensor.double()).conj().imag.to(tensor.dtype),
        lambda tensor: tensor.expand(2, *tensor.shape)[1],
    ],
)
def test_sparse_and_negative_views_are_the_numbers_that_they_stand_for(other: Any, tmp_path: Path) -> None:
    plain, views = made(FLOATS, LABELS, LOGITS), made(other(FLOATS), other(LABELS), other(LOGITS))
    assert views.digest == plain.digest
    assert DistilledSet.load(views.save(tmp_path / "set.safetensors")).digest == plain.digest


def test_a_tensor_that_a_tracer_made_up_is_refused(refused) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        images = torch.rand(N, 3, 4, 4)
    with refused(DataError, "images are on torch's meta device"):
        made(images)


def test_what_is_at_the_edge_is_accepted() -> None:
    made(with_value(with_value(FLOATS, 0.0), 1.0))
    made(FLOATS * 5 - 2, normalised=True)
    made(soft_labels=PROBABILITIES, soft_kind="probabilities")
    made(soft_labels=PROBABILITIES.half(), soft_kind="probabilities")
    made(factor=4)


def test_digest_changes_with_everything_that_training_sees() -> None:
    floats = PIXELS.float() / 255
    variants = {
        "plain": made(),
        "a pixel": made(with_value(PIXELS, (int(PIXELS.view(-1)[0]) + 1) % 256)),
        "order": made(PIXELS.flip(0), LABELS.flip(0)),
        "a label": made(labels=with_value(LABELS, 1)),
        "shape": made(PIXELS.view(N, 3, 2, 8)),
        "factor": made(factor=2),
        "classes": made(classes=CLASSES + 1),
        "float": made(floats),
        "normalised": made(floats, normalised=True),
        "logits": made(soft_labels=PROBABILITIES),
        "probabilities": made(soft_labels=PROBABILITIES, soft_kind="probabilities"),
        "a soft label": made(soft_labels=with_value(PROBABILITIES, 0.5)),
        "soft precision": made(soft_labels=PROBABILITIES.half()),
    }
    assert len({distilled.digest for distilled in variants.values()}) == len(variants)


def test_digest_stays_when_only_the_story_changes() -> None:
    told = made(method="yours", dataset="cifar10", native_loss="kl", provenance={"seed": 3, "nested": [1, {"a": None}]})
    assert told.digest == made().digest
    assert made(soft_kind="probabilities").digest == made().digest  # no soft labels: their kind says nothing


@settings(max_examples=20, deadline=None)
@given(
    channels=st.sampled_from([1, 3]),
    side=st.tuples(st.integers(5, 12), st.integers(5, 12)),
    form=st.sampled_from(["uint8", "pixels", "normalised"]),
    array=st.booleans(),
)
def test_channels_may_come_last_and_arrays_be_numpys(channels: int, side: tuple[int, int], form: str, array: bool) -> None:
    images = torch.randint(0, 256, (N, channels, *side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = images if form == "uint8" else images.float() / 255 * (3 if form == "normalised" else 1)
    described = {"normalised": form == "normalised"}
    expected = made(images, soft_labels=LOGITS, **described)
    turned = images.permute(0, 2, 3, 1)
    given = [turned.numpy(), LABELS.numpy(), LOGITS.numpy()] if array else [turned, LABELS, LOGITS]
    assert made(*given, **described).digest == expected.digest
    assert made(images, **described).shape == (channels, *side)


def test_turning_and_clipping_are_said(caplog: pytest.LogCaptureFixture) -> None:
    made(torch.zeros(N, 8, 8, 3))
    assert "mine of digits: images [6, 8, 8, 3] are taken as [N, H, W, C], and turned" in caplog.text
    caplog.clear()
    rounded = made(torch.full((N, 3, 4, 4), 1 + 2e-7))
    assert float(rounded.images.max()) == 1
    assert "[1.00000024, 1.00000024], a rounding error outside [0, 1], are clipped" in caplog.text


@given(st.sampled_from([-1e-7, -9e-4, 1 + 1.2e-7, 1 + 9e-4]))
def test_a_rounding_error_outside_is_clipped_and_more_is_refused(value: float) -> None:
    assert made(with_value(FLOATS, value)).digest == made(with_value(FLOATS, round(value))).digest
    with pytest.raises(DataError, match="clip pixels that"):
        made(with_value(FLOATS, value * 2 if value > 1 else -0.01))


def test_a_mean_and_deviation_of_its_own_say_what_the_pixels_are(tmp_path: Path) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    own = (FLOATS - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    distilled = made(own, mean=mean, std=std)
    theirs = ((0.1, 0.2, 0.3), (0.9, 0.8, 0.7))
    expected = (FLOATS - torch.tensor(theirs[0]).view(3, 1, 1)) / torch.tensor(theirs[1]).view(3, 1, 1)
    assert torch.allclose(distilled.input(*theirs), expected, atol=1e-6)
    assert distilled.normalised and distilled.digest != made(own, normalised=True).digest
    loaded = DistilledSet.load(distilled.save(tmp_path / "set.safetensors"))
    assert (loaded.mean, loaded.std, loaded.digest) == (mean, std, distilled.digest)
    assert made(own, normalised=True).input(*theirs).equal(own)


def test_a_file_may_name_a_dataset_that_nobody_has_registered(tmp_path: Path) -> None:
    path = made(dataset="toy", known_dataset=False).save(tmp_path / "set.safetensors")
    assert DistilledSet.load(path).dataset == "toy"
    assert made(dataset="folder:my (odd) pets").dataset == "folder:my (odd) pets"


def test_classes_are_renumbered_in_labels_and_soft_labels() -> None:
    distilled = made(soft_labels=LOGITS).renumbered([2, 0, 1])
    assert distilled.labels.tolist() == [[2, 0, 1][label] for label in LABELS.tolist()]
    for own, other in enumerate([2, 0, 1]):
        assert torch.equal(distilled.soft_labels[:, other], LOGITS[:, own])
    assert made().renumbered([0, 1, 2]).digest == made().digest


def test_the_labels_of_stored_augmentations_are_renumbered_with_the_classes() -> None:
    replay = Replay(
        index=torch.arange(len(LABELS))[None],
        crops=torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, len(LABELS), 4),
        flips=torch.zeros(1, len(LABELS), dtype=torch.bool),
        partners=torch.arange(len(LABELS))[None],
        lam=torch.ones(1, 1),
        boxes=torch.full((1, 1, 4), -1),
        logits=torch.arange(3 * len(LABELS)).view(1, len(LABELS), 3).half(),
        batch=len(LABELS),
    )
    distilled = made(replay=replay).renumbered([2, 0, 1])
    assert distilled.replay is not None
    assert distilled.replay.logits[0, 0].tolist() == [1.0, 2.0, 0.0]
    assert distilled.labels.tolist() == [[2, 0, 1][label] for label in LABELS.tolist()]


def test_digest_does_not_depend_on_memory_format() -> None:
    assert made(PIXELS.contiguous(memory_format=torch.channels_last)).digest == made().digest


@pytest.mark.parametrize(
    ("shape", "classes", "words"),
    [
        ((3, 4, 4), 4, "3 classes, dataset toy has 4"),
        ((3, 4, 4), 2, "3 classes, dataset toy has 2"),
        ((1, 4, 4), 3, "3x4x4 (channels x height x width), dataset toy's are 1x4x4"),
        ((3, 8, 4), 3, "dataset toy's are 3x8x4"),
    ],
)
def test_a_set_for_another_dataset_is_refused(shape: tuple[int, int, int], classes: int, words: str, refused) -> None:
    made().check_fits("toy", (3, 4, 4), CLASSES)
    with refused(DataError, words):
        made().check_fits("toy", shape, classes)


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_the_bytes_of_a_set_are_those_of_its_tensors_in_memory_and_in_its_file(tmp_path: Path, floats: bool, soft: bool) -> None:
    images = PIXELS.float() / 255 if floats else PIXELS
    distilled = made(images, soft_labels=LOGITS if soft else None)
    assert distilled.image_bytes == PIXELS.numel() * (4 if floats else 1)
    assert distilled.label_bytes == len(LABELS) * 1 + (LOGITS.numel() * 4 if soft else 0)
    stored = read_set_header(distilled.save(tmp_path / "set.safetensors")).stored_bytes()
    assert distilled.pixel_bytes == PIXELS.numel()
    names = ("image_bytes", "pixel_bytes", "label_bytes")
    bytes_of_all = {name: getattr(distilled, name) for name in names}
    assert stored == (bytes_of_all if floats or soft else {})
    assert read_set_header(tmp_path / "set.safetensors").stored_bytes(plain=True) == bytes_of_all
    assert distilled.plain == (not floats and not soft)
    assert f"images {distilled.image_bytes:,}, labels {distilled.label_bytes:,}" in describe(distilled)
    assert (f"images as 8-bit pixels {PIXELS.numel():,}" in describe(distilled)) == floats
    assert [class_bytes(count) for count in (1, 2, 256, 257, 21_841, 65_537)] == [1, 1, 1, 2, 2, 3]

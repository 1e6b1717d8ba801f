"""SHA-256 of tensors and of JSON: what ids on disk rest on, so the numbers themselves are held."""

from __future__ import annotations

import hashlib

import pytest
import torch

from harness.core.digests import digest, digest_json

PIXELS = torch.arange(6, dtype=torch.uint8).view(2, 3)


def test_a_digest_is_that_of_facts_then_of_name_type_shape_and_bytes() -> None:
    content = b'{"a": 1}' + b'["x", "torch.uint8", [2, 3]]' + bytes(range(6))
    assert digest({"x": PIXELS}, {"a": 1}) == hashlib.sha256(content).hexdigest()


def test_a_digest_changes_with_everything_that_it_covers() -> None:
    variants = [
        ({"x": PIXELS}, {}),
        ({"y": PIXELS}, {}),
        ({"x": PIXELS.view(3, 2)}, {}),
        ({"x": PIXELS.view(torch.int8)}, {}),
        ({"x": PIXELS + 1}, {}),
        ({"x": PIXELS}, {"a": 1}),
        ({"x": PIXELS, "y": PIXELS[:0]}, {}),
    ]
    assert len({digest(tensors, facts) for tensors, facts in variants}) == len(variants)


def test_neither_order_nor_memory_layout_nor_gradients_change_it() -> None:
    floats = torch.rand(2, 3, 4, 4)
    expected = digest({"a": floats, "b": PIXELS}, {"x": 1, "y": 2})
    other = floats.to(memory_format=torch.channels_last).requires_grad_()
    assert digest({"b": PIXELS, "a": other}, {"y": 2, "x": 1}) == expected
    assert digest({"b": PIXELS, "a": torch._neg_view(-floats)}, {"x": 1, "y": 2}) == expected


@pytest.mark.parametrize("content", [{"b": [1, 2.5], "a": None}, {"a": None, "b": [1, 2.5]}])
def test_json_is_hashed_in_its_canonical_form(content: object) -> None:
    assert digest_json(content) == hashlib.sha256(b'{"a":null,"b":[1,2.5]}').hexdigest()

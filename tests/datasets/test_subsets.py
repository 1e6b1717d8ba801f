"""Named subsets of ImageNet-1K."""

from __future__ import annotations

from harness.datasets.subsets import SUBSETS


def test_named_subsets_are_ten_classes_each_in_the_order_of_imagenet() -> None:
    from harness.datasets.imagenet import synsets

    known = synsets()
    assert known == sorted(known)
    for name, classes in SUBSETS.items():
        assert len(classes) == 10, name
        assert list(classes) == sorted(classes), name
        assert list(classes.values()) == [known[place] for place in classes], name
